//! A flipped byte, at every place of every file: it is found and named, or does no harm.

use super::super::{Corruption, ReadOnlyFileStore, Repair};
use super::*;

/// Patterns a byte is flipped by: its lowest bit, its highest, all of them.
const FLIPS: [u8; 3] = [0x01, 0x80, 0xff];
/// No piece with a checksum of its own is larger in these small files.
const PIECE_BYTES_MAX: u64 = 128;

/// Reads all that is kept: every snapshot and every record.
fn look(place: &Place) -> Result<(Vec<String>, Vec<Repair>), StoreError> {
    let (past, repairs) = ReadOnlyFileStore::open(place.path()).unwrap().past(&cell())?;
    let mut all = Vec::new();
    for at in past.snapshots()? {
        all.extend(read_snapshot(&*past, at.0)?);
    }
    all.extend(texts(&*past, past.first().0 - 1)?);
    Ok((all, repairs))
}

/// Three segments, two snapshots; the last segment has three batches.
fn small() -> Place {
    let place = Place::new();
    let mut journal = place.journal();
    let archive = journal.archive();
    journal.lead(Epoch(1)).unwrap();
    append(&mut *journal, &["one", "two"]).unwrap();
    journal.seal_now().unwrap();
    write_snapshot(&*archive, 2, &["up to", "two"]).unwrap();
    append(&mut *journal, &["three"]).unwrap();
    journal.seal_now().unwrap();
    write_snapshot(&*archive, 3, &["up to three"]).unwrap();
    for records in [&["four"][..], &["", "six"], &["seven", "eight", "nine"]] {
        append(&mut *journal, records).unwrap();
    }
    drop(archive);
    journal.close().unwrap();
    place
}

/// Flips each byte of a file, one at a time, and hands what was found then to `check`.
fn flip_each(
    place: &Place,
    path: &Path,
    range: std::ops::Range<usize>,
    check: impl Fn(usize, Result<(Vec<String>, Vec<Repair>), StoreError>),
) {
    let bytes = fs::read(path).unwrap();
    for at in range {
        for flip in FLIPS {
            let mut flipped = bytes.clone();
            flipped[at] ^= flip;
            fs::write(path, &flipped).unwrap();
            check(at, look(place));
        }
    }
    fs::write(path, &bytes).unwrap();
}

fn expect_named(path: &Path, at: usize, found: Result<(Vec<String>, Vec<Repair>), StoreError>) {
    let (file, offset) = match found {
        Ok(found) => panic!("{} byte {at}: not found: {found:?}", path.display()),
        Err(StoreError::Corrupt(told)) => (told.path.clone(), told.offset),
        Err(StoreError::UnknownVersion { path, offset, .. }) => (path, offset),
        Err(other) => panic!("{} byte {at}: told as {other}", path.display()),
    };
    let at = at as u64;
    assert_eq!(file, path);
    assert!(offset <= at && at < offset + PIECE_BYTES_MAX, "byte {at} told as {offset}");
}

fn length(path: &Path) -> usize {
    fs::metadata(path).unwrap().len() as usize
}

#[test]
fn a_flipped_byte_is_found_and_named() {
    let place = small();
    for path in [place.segment(1), place.segment(3), place.segment(4), place.snapshot(2), place.snapshot(3)] {
        flip_each(&place, &path, 0..length(&path), |at, found| expect_named(&path, at, found));
    }
    assert_eq!(look(&place).unwrap().1, []);
}

#[test]
fn a_flipped_byte_of_the_last_append_is_found_even_when_the_mark_of_it_was_lost() {
    let place = small();
    let end = length(&place.segment(4));
    let last = end - (36 + 3 * 8 + 14 + 4);
    // The mark as it was before the last append, or none.
    let segment = fs::read(place.segment(4)).unwrap();
    let shorter = place.copy();
    put(&shorter.segment(4), &segment[..last]);
    fs::remove_file(shorter.mark()).unwrap();
    shorter.journal().close().unwrap();
    let older = fs::read(shorter.mark()).unwrap();
    for mark in [Some(older), None] {
        match mark {
            Some(mark) => put(&place.mark(), &mark),
            None => fs::remove_file(place.mark()).unwrap(),
        }
        let path = place.segment(4);
        flip_each(&place, &path, last..end, |at, found| expect_named(&path, at, found));
    }
}

#[test]
fn a_flipped_byte_of_the_mark_does_no_harm() {
    let place = small();
    let all = look(&place).unwrap().0;
    let half = Repair::Mark { path: place.mark(), was: "half unreadable" };
    flip_each(&place, &place.mark(), 0..1024, |at, found| {
        assert_eq!(found.unwrap(), (all.clone(), vec![half.clone()]), "byte {at}");
    });
    fs::write(place.mark(), [0; 1024]).unwrap();
    let told = corruption(look(&place));
    assert_eq!(told.path, place.mark());
    assert!(told.help.starts_with("remove the file if no other is damaged"), "{}", told.help);
    fs::remove_file(place.mark()).unwrap();
    assert_eq!(look(&place).unwrap().0, all);
    assert_eq!(place.open().unwrap().repairs, [Repair::Mark { path: place.mark(), was: "missing" }]);
    assert_eq!(look(&place).unwrap(), (all, vec![]));
}

#[test]
fn a_flipped_byte_of_the_lock_does_no_harm() {
    let place = small();
    let lock = place.path().join("LOCK");
    flip_each(&place, &lock, 0..length(&lock), |_, found| drop(found.unwrap()));
}

#[test]
fn a_flipped_byte_in_the_zeros_ahead_does_no_harm() {
    let place = Place::with_segments_of(800);
    let mut journal = place.journal();
    append(&mut *journal, &["one", "two"]).unwrap();
    drop(journal);
    let end = 128 + 36 + 2 * 8 + 6 + 4;
    assert_eq!(length(&place.segment(1)), 800);
    flip_each(&place, &place.segment(1), end..800, |at, found| {
        let (all, repairs) = found.unwrap();
        assert_eq!(all, ["one", "two"]);
        let Repair::TornTail { offset, bytes, .. } = repairs[0] else { panic!("{repairs:?}") };
        assert_eq!((offset, bytes), (end as u64, (at - end + 1) as u64));
    });
}

#[test]
fn batches_dropped_repeated_or_moved_are_found() {
    let place = small();
    let path = place.segment(4);
    let bytes = fs::read(&path).unwrap();
    let ends = [128, 128 + 52, 128 + 52 + 59, bytes.len()];
    let piece = |index: usize| &bytes[ends[index]..ends[index + 1]];
    for (order, offset, expected) in [
        (&[1, 2][..], ends[0], "sequence 4"),
        (&[0, 2], ends[1], "sequence 5"),
        (&[0, 0, 1, 2], ends[1], "sequence 5"),
        (&[0, 1, 1, 2], ends[2], "sequence 7"),
        (&[1, 0, 2], ends[0], "sequence 4"),
        (&[0, 1, 2, 2], ends[3], "sequence 10"),
    ] {
        let mut moved = bytes[..128].to_vec();
        order.iter().for_each(|index| moved.extend_from_slice(piece(*index)));
        fs::write(&path, &moved).unwrap();
        let told = corruption(look(&place));
        assert_eq!((told.offset, told.expected.as_str()), (offset as u64, expected), "{order:?}");
    }
}

#[test]
fn another_continuation_of_the_same_journal_is_found() {
    let place = small();
    let fork = place.copy();
    append(&mut *place.journal(), &["ten"]).unwrap();
    let mut other = fork.journal();
    append(&mut *other, &["TEN"]).unwrap();
    append(&mut *other, &["ELEVEN"]).unwrap();
    drop(other);
    fs::copy(fork.segment(4), place.segment(4)).unwrap();
    let told = corruption(look(&place));
    assert!(told.expected.ends_with("which was acknowledged"), "{told}");
}

#[test]
fn a_batch_must_go_on_from_the_one_before_it() {
    let place = Place::new();
    append(&mut *place.journal(), &["one"]).unwrap();
    let fork = place.copy();
    for (place, record) in [(&place, "two"), (&fork, "TWO")] {
        let mut journal = place.journal();
        append(&mut *journal, &[record]).unwrap();
        append(&mut *journal, &["three"]).unwrap();
        journal.close().unwrap();
    }
    let third = 128 + 2 * 51;
    let mut spliced = fs::read(place.segment(1)).unwrap();
    spliced.truncate(third);
    spliced.extend_from_slice(&fs::read(fork.segment(1)).unwrap()[third..]);
    put(&place.segment(1), &spliced);
    fs::remove_file(place.mark()).unwrap();
    let told = corruption(look(&place));
    assert_eq!((told.offset, told.sequence), (third as u64, Some(Sequence(3))));
    assert!(told.expected.starts_with("the batch that follows chain value "), "{told}");
}

#[test]
fn a_segment_must_go_on_where_the_one_before_it_ended() {
    let place = Place::new();
    let mut journal = place.journal();
    append(&mut *journal, &["one"]).unwrap();
    drop(journal);
    let fork = place.copy();
    for (place, record) in [(&place, "two"), (&fork, "TWO")] {
        let mut journal = place.journal();
        append(&mut *journal, &[record]).unwrap();
        journal.seal_now().unwrap();
        append(&mut *journal, &["three"]).unwrap();
        journal.close().unwrap();
    }
    fs::copy(fork.segment(3), place.segment(3)).unwrap();
    fs::copy(fork.mark(), place.mark()).unwrap();
    let told = corruption(look(&place));
    assert_eq!((told.path, told.offset, told.sequence), (place.segment(3), 48, Some(Sequence(3))));
}

#[test]
fn the_words_say_what_and_where_and_what_would_help() {
    let place = small();
    let path = place.segment(4);
    let mut bytes = fs::read(&path).unwrap();
    let record = 128 + 52 + 36 + 8;
    bytes[record + 8] = b'S';
    fs::write(&path, &bytes).unwrap();
    let told = corruption(place.recover());
    let Corruption { expected, found, .. } = &told;
    assert_eq!(
        told.to_string(),
        format!(
            "{path} is damaged at byte {record}, sequence 6: expected {expected}, found {found}; restore the file from a \
             copy; or, to go on without sequence 5 and all that follows, cut the file to 180 bytes, remove all segments \
             after it, and remove {mark}",
            path = path.display(),
            mark = place.mark().display(),
        )
    );
    assert!(expected.starts_with("a record with checksum ") && found.starts_with("one with "), "{told}");
    // And it does help.
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(180).unwrap();
    fs::remove_file(place.mark()).unwrap();
    assert_eq!(place.recover().unwrap(), ["up to three", "four"]);
}

#[test]
fn a_damaged_snapshot_can_be_done_without() {
    let place = small();
    let flip = |at: u64| {
        let path = place.snapshot(at);
        let mut bytes = fs::read(&path).unwrap();
        bytes[130] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let told = corruption(place.recover());
        assert_eq!((&told.path, told.offset), (&path, 128));
        fs::remove_file(&path).unwrap();
        told.help
    };
    assert_eq!(flip(3), "remove it, without loss: the snapshot at 2 and the journal after it are there");
    assert_eq!(place.recover().unwrap()[..3], ["up to", "two", "three"]);
    assert_eq!(flip(2), "remove it, without loss: the journal is there from its beginning");
    assert_eq!(place.recover().unwrap().len(), 9);
}

#[test]
fn a_snapshot_cut_short_or_grown_is_damaged() {
    let place = small();
    let path = place.snapshot(3);
    let bytes = fs::read(&path).unwrap();
    for length in 0..bytes.len() {
        fs::write(&path, &bytes[..length]).unwrap();
        assert_eq!(corruption(look(&place)).path, path);
    }
    fs::write(&path, [&bytes[..], b"\0"].concat()).unwrap();
    let told = corruption(look(&place));
    assert_eq!((told.offset, told.expected.as_str()), (bytes.len() as u64, "the end of the file"));
}

#[test]
fn a_snapshot_beyond_the_journal_is_refused() {
    let place = small();
    let at_nine = {
        let mut journal = place.journal();
        append(&mut *journal, &["ten"]).unwrap();
        write_snapshot(&*journal.archive(), 10, &["up to ten"]).unwrap();
        journal.close().unwrap();
        fs::read(place.snapshot(10)).unwrap()
    };
    let place = {
        let copy = place.copy();
        fs::OpenOptions::new().write(true).open(copy.segment(4)).unwrap().set_len(180).unwrap();
        fs::remove_file(copy.mark()).unwrap();
        copy
    };
    put(&place.snapshot(10), &at_nine);
    let told = corruption(place.open());
    assert_eq!((told.path, told.offset), (place.segment(4), 180));
    assert_eq!(told.expected, "all up to sequence 10, at which a snapshot stands");
}
