//! Limits of records and batches, and names of cells.

use super::super::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, PushError, RECORD_BYTES_MAX};
use super::*;

#[test]
fn a_batch_gives_back_what_was_pushed() {
    let mut batch = batch(["one", "", "three"]);
    batch.push_with(|bytes| bytes.extend_from_slice(b"four")).unwrap();
    assert_eq!(batch.iter().collect::<Vec<_>>(), [&b"one"[..], b"", b"three", b"four"]);
    assert_eq!((batch.len(), batch.bytes()), (4, 12));
    batch.clear();
    assert!(batch.is_empty());
    assert_eq!(batch.iter().count(), 0);
}

#[test]
fn what_is_too_large_is_refused_and_leaves_the_batch_as_it_was() {
    let mut batch = batch(["one"]);
    let large = vec![0; RECORD_BYTES_MAX + 1];
    let refusal = batch.push(&large).unwrap_err();
    assert_eq!(refusal, PushError::RecordTooLarge { bytes: RECORD_BYTES_MAX + 1 });
    assert_eq!(refusal.to_string(), "a record of 8388609 bytes is too large; the largest has 8388608");
    assert_eq!(batch.push_with(|bytes| bytes.extend_from_slice(&large)), Err(refusal));
    batch.push(&large[1..]).unwrap();
    assert_eq!(batch.push(&large[1..]), Err(PushError::BatchFull));
    let rest = BATCH_BYTES_MAX - batch.bytes();
    batch.push(&large[..rest]).unwrap();
    assert_eq!(batch.push(b"x"), Err(PushError::BatchFull));
    assert_eq!((batch.len(), batch.bytes()), (3, BATCH_BYTES_MAX));
}

#[test]
fn the_largest_batches_come_back() {
    let place = Place::new();
    let mut journal = place.journal();
    let large = vec![b'x'; RECORD_BYTES_MAX];
    journal.append(Epoch(0), Sequence(0), &batch([&large, &large])).unwrap();
    let mut many = Batch::default();
    while many.push(b"").is_ok() {}
    assert_eq!(many.len(), BATCH_RECORDS_MAX);
    journal.append(Epoch(0), Sequence(2), &many).unwrap();
    drop(journal);
    let last = place.journal().archive().read_after(Sequence(1)).unwrap().map(Result::unwrap).last().unwrap();
    assert_eq!((last.sequence.0, last.bytes.len()), (2 + BATCH_RECORDS_MAX as u64, 0));
}

#[test]
fn a_cell_is_named_by_a_dns_label() {
    for name in ["main", "a", "0", "gpu-1", &"x".repeat(63)] {
        assert_eq!(CellName::parse(name).unwrap().as_str(), name);
    }
    for name in ["", "-a", "a-", "A", "a.b", "a/b", "..", "ä", &"x".repeat(64)] {
        assert!(CellName::parse(name).is_err(), "{name:?}");
    }
}
