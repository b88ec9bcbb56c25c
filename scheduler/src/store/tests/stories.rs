//! What every kind does.

use super::super::{MemoryStore, SNAPSHOT_CHUNK_BYTES_MAX};
use super::*;

/// Tells a story to each kind. The store is asked for a cell as often as the story likes.
fn check(story: impl Fn(&dyn Store)) {
    story(&MemoryStore::default());
    let place = Place::with_segments_of(300);
    story(&place.store());
}

fn journal(store: &dyn Store) -> Box<dyn Journal> {
    store.open(&cell()).unwrap().journal
}

#[test]
fn what_was_appended_is_read_back_in_order() {
    check(|store| {
        let mut journal = journal(store);
        assert_eq!((journal.last(), journal.epoch()), (Sequence(0), Epoch(0)));
        assert_eq!(append(&mut *journal, &["one", "two"]).unwrap(), Sequence(2));
        assert_eq!(append(&mut *journal, &[]).unwrap(), Sequence(2));
        assert_eq!(append(&mut *journal, &["", "four"]).unwrap(), Sequence(4));
        let archive = journal.archive();
        assert_eq!(texts(&*archive, 0).unwrap(), ["one", "two", "", "four"]);
        assert_eq!(texts(&*archive, 3).unwrap(), ["four"]);
        assert_eq!(texts(&*archive, 4).unwrap(), [""; 0]);
        assert_eq!((archive.first(), archive.last()), (Sequence(1), Sequence(4)));
    });
}

#[test]
fn it_is_all_there_after_opening_again() {
    check(|store| {
        let mut first = journal(store);
        first.lead(Epoch(3)).unwrap();
        append(&mut *first, &["one", "two"]).unwrap();
        drop(first);
        let mut second = journal(store);
        assert_eq!((second.last(), second.epoch()), (Sequence(2), Epoch(3)));
        append(&mut *second, &["three"]).unwrap();
        second.close().unwrap();
        assert_eq!(texts(&*journal(store).archive(), 0).unwrap(), ["one", "two", "three"]);
    });
}

#[test]
fn an_older_epoch_and_another_sequence_are_refused() {
    check(|store| {
        let mut journal = journal(store);
        journal.append(Epoch(2), Sequence(0), &batch(["one"])).unwrap();
        assert_eq!(journal.epoch(), Epoch(2));
        let stale = journal.append(Epoch(1), Sequence(1), &batch(["no"])).unwrap_err();
        assert_eq!(stale.to_string(), "epoch 1 no longer leads: the journal is in epoch 2");
        assert!(matches!(journal.lead(Epoch(1)), Err(StoreError::StaleEpoch { .. })));
        journal.lead(Epoch(2)).unwrap();
        journal.lead(Epoch(5)).unwrap();
        assert!(matches!(journal.append(Epoch(2), Sequence(1), &batch(["no"])), Err(StoreError::StaleEpoch { .. })));
        for after in [0, 2] {
            let stale = journal.append(Epoch(5), Sequence(after), &batch(["no"])).unwrap_err();
            let told = format!("cannot append after sequence {after}: the journal ends at sequence 1");
            assert_eq!(stale.to_string(), told);
        }
        assert_eq!(texts(&*journal.archive(), 0).unwrap(), ["one"]);
    });
}

#[test]
fn a_claimed_epoch_outlives_the_one_who_claimed_it() {
    check(|store| {
        journal(store).lead(Epoch(7)).unwrap();
        let mut journal = journal(store);
        assert_eq!(journal.epoch(), Epoch(7));
        assert!(matches!(journal.append(Epoch(6), Sequence(0), &batch(["no"])), Err(StoreError::StaleEpoch { .. })));
    });
}

#[test]
fn records_say_in_whose_epoch_they_were_appended() {
    check(|store| {
        let mut journal = journal(store);
        journal.append(Epoch(1), Sequence(0), &batch(["one", "two"])).unwrap();
        journal.append(Epoch(4), Sequence(2), &batch(["three"])).unwrap();
        let records = journal.archive().read_after(Sequence(0)).unwrap();
        let epochs: Vec<_> = records.map(|record| record.unwrap().epoch.0).collect();
        assert_eq!(epochs, [1, 1, 4]);
    });
}

#[test]
fn of_two_leaders_only_the_later_one_can_append() {
    let store = MemoryStore::default();
    let (mut old, mut new) = (journal(&store), journal(&store));
    old.lead(Epoch(1)).unwrap();
    append(&mut *old, &["one"]).unwrap();
    new.lead(Epoch(2)).unwrap();
    let refused = old.append(Epoch(1), Sequence(1), &batch(["late"])).unwrap_err();
    assert!(matches!(refused, StoreError::StaleEpoch { .. }));
    append(&mut *new, &["two"]).unwrap();
    assert_eq!(texts(&*old.archive(), 0).unwrap(), ["one", "two"]);
}

#[test]
fn cells_have_nothing_to_do_with_each_other() {
    check(|store| {
        let other = CellName::parse("other").unwrap();
        let (mut a, mut b) = (journal(store), store.open(&other).unwrap().journal);
        append(&mut *a, &["a"]).unwrap();
        append(&mut *b, &["b", "c"]).unwrap();
        assert_eq!(texts(&*a.archive(), 0).unwrap(), ["a"]);
        assert_eq!(texts(&*b.archive(), 0).unwrap(), ["b", "c"]);
    });
}

#[test]
fn a_snapshot_stands_for_the_records_before_it() {
    check(|store| {
        let mut journal = journal(store);
        append(&mut *journal, &["one", "two"]).unwrap();
        let at = journal.seal_now().unwrap();
        assert_eq!(at, Sequence(2));
        assert_eq!(journal.seal_now().unwrap(), at, "sealing nothing is nothing");
        let archive = journal.archive();
        append(&mut *journal, &["three"]).unwrap();
        write_snapshot(&*archive, 2, &["on", "", "etwo"]).unwrap();
        assert_eq!(archive.snapshots().unwrap(), [Sequence(2)]);
        assert_eq!(read_snapshot(&*archive, 2).unwrap(), ["on", "etwo"]);
        assert_eq!(recover(&*archive).unwrap(), ["on", "etwo", "three"]);
        write_snapshot(&*archive, 3, &[]).unwrap();
        assert_eq!(recover(&*archive).unwrap(), [""; 0]);
        let missing = read_snapshot(&*archive, 1).unwrap_err();
        assert_eq!(missing.to_string(), "there is no snapshot at sequence 1");
    });
}

#[test]
fn a_snapshot_must_be_a_step_forward() {
    check(|store| {
        let mut journal = journal(store);
        append(&mut *journal, &["one", "two", "three"]).unwrap();
        let archive = journal.archive();
        write_snapshot(&*archive, 2, &["two"]).unwrap();
        for at in [0, 1, 2, 4] {
            let refused = archive.write_snapshot(Sequence(at)).map(drop).unwrap_err();
            assert_eq!(
                refused.to_string(),
                format!("no snapshot can stand at sequence {at}: the newest stands at 2, and the journal ends at 3")
            );
        }
    });
}

#[test]
fn a_snapshot_given_up_leaves_nothing_behind() {
    check(|store| {
        let mut journal = journal(store);
        append(&mut *journal, &["one"]).unwrap();
        let archive = journal.archive();
        let mut writer = archive.write_snapshot(Sequence(1)).unwrap();
        writer.write(b"half").unwrap();
        let large = writer.write(&vec![0; SNAPSHOT_CHUNK_BYTES_MAX + 1]).unwrap_err();
        assert_eq!(large.to_string(), "a snapshot's chunk of 8388609 bytes is too large; the largest has 8388608");
        drop(writer);
        assert_eq!(archive.snapshots().unwrap(), []);
        write_snapshot(&*archive, 1, &["whole"]).unwrap();
        assert_eq!(recover(&*archive).unwrap(), ["whole"]);
    });
}

#[test]
fn two_generations_are_kept() {
    check(|store| {
        let mut journal = journal(store);
        let archive = journal.archive();
        for (at, record) in ["one", "two", "three", "four"].iter().enumerate() {
            append(&mut *journal, &[record]).unwrap();
            journal.seal_now().unwrap();
            if at < 3 {
                write_snapshot(&*archive, at as u64 + 1, &[record]).unwrap();
            }
            archive.prune().unwrap();
            // With one snapshot the generation before it is the whole journal.
            let (snapshots, first): (&[u64], u64) = [(&[1][..], 1), (&[1, 2], 2), (&[2, 3], 3), (&[2, 3], 3)][at];
            let expected: Vec<_> = snapshots.iter().map(|at| Sequence(*at)).collect();
            assert_eq!(archive.snapshots().unwrap(), expected);
            assert_eq!(archive.first(), Sequence(first));
        }
        assert_eq!(recover(&*archive).unwrap(), ["three", "four"]);
        assert_eq!(texts(&*archive, 2).unwrap(), ["three", "four"]);
        let pruned = texts(&*archive, 1).unwrap_err();
        assert_eq!(
            pruned.to_string(),
            "records after sequence 1 were asked for, but those before sequence 3 have been deleted"
        );
    });
}

#[test]
fn a_reader_sees_what_was_durable_when_it_began() {
    check(|store| {
        let mut journal = journal(store);
        append(&mut *journal, &["one", "two"]).unwrap();
        let archive = journal.archive();
        let mut reader = archive.read_after(Sequence(0)).unwrap();
        assert_eq!(reader.next().unwrap().unwrap().bytes, b"one");
        for _ in 0..30 {
            append(&mut *journal, &["more"]).unwrap();
        }
        assert_eq!(reader.next().unwrap().unwrap().bytes, b"two");
        assert!(reader.next().is_none());
        assert_eq!(texts(&*archive, 30).unwrap().len(), 2);
    });
}

#[test]
fn a_reader_that_is_overtaken_by_pruning_is_told() {
    check(|store| {
        let mut journal = journal(store);
        let archive = journal.archive();
        for record in ["one", "two", "three"] {
            append(&mut *journal, &[record]).unwrap();
            journal.seal_now().unwrap();
        }
        let reader = archive.read_after(Sequence(0)).unwrap();
        write_snapshot(&*archive, 2, &["two"]).unwrap();
        write_snapshot(&*archive, 3, &["three"]).unwrap();
        archive.prune().unwrap();
        let last = reader.last().unwrap();
        assert!(matches!(last, Err(StoreError::Pruned { .. })), "{last:?}");
    });
}

#[test]
fn reopening_a_journal_that_is_well_changes_nothing() {
    check(|store| {
        let mut journal = journal(store);
        append(&mut *journal, &["one", "two"]).unwrap();
        let archive = journal.archive();
        assert_eq!(journal.reopen().unwrap(), []);
        assert_eq!(journal.last(), Sequence(2));
        append(&mut *journal, &["three"]).unwrap();
        assert_eq!(texts(&*archive, 0).unwrap(), ["one", "two", "three"]);
    });
}
