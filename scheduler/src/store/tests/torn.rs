//! Appends that were interrupted, at every byte. What was acknowledged is there, what was not is cut.

use super::super::{ReadOnlyFileStore, Repair};
use super::*;

/// A journal of five batches in one segment, and what its files were after each append.
struct Told {
    place: Place,
    /// The whole segment, without the zeros ahead.
    segment: Vec<u8>,
    /// After so many batches: the records so far, the segment's length, the mark.
    after: Vec<(usize, usize, Vec<u8>)>,
}

fn told() -> Told {
    let place = Place::new();
    let store = place.store();
    let mut journal = store.open(&cell()).unwrap().journal;
    let large = "large ".repeat(300);
    let mut after = vec![(0, 128, fs::read(place.mark()).unwrap())];
    for records in [&["one"][..], &["two", "", "three"], &[&large], &["four", "five"], &["six"]] {
        append(&mut *journal, records).unwrap();
        let (count, length, _) = after.last().unwrap();
        let bytes: usize = 36 + records.iter().map(|record| record.len() + 8).sum::<usize>() + 4;
        after.push((count + records.len(), length + bytes, fs::read(place.mark()).unwrap()));
    }
    drop(journal);
    let mut segment = fs::read(place.segment(1)).unwrap();
    segment.truncate(after.last().unwrap().1);
    Told { place, segment, after }
}

impl Told {
    /// Lays the files out anew.
    fn lay(&self, segment: &[u8], mark: Option<&[u8]>) {
        put(&self.place.segment(1), segment);
        match mark {
            Some(mark) => put(&self.place.mark(), mark),
            None => drop(fs::remove_file(self.place.mark())),
        }
    }

    fn look(&self) -> Result<(Vec<String>, Vec<Repair>), StoreError> {
        let (past, repairs) = ReadOnlyFileStore::open(self.place.path()).unwrap().past(&cell())?;
        Ok((recover(&*past)?, repairs))
    }

    /// How many batches lie wholly before a length.
    fn whole(&self, length: usize) -> usize {
        self.after.iter().rposition(|(_, end, _)| *end <= length).unwrap()
    }
}

#[test]
fn cut_at_every_byte_it_opens_with_all_that_was_acknowledged_by_then() {
    let told = told();
    let all = told.look().unwrap().0;
    for length in 128..=told.segment.len() {
        let whole = told.whole(length);
        let (records, end, mark) = &told.after[whole];
        // As a kill would leave it, or a power cut, which may take what was not synced of the mark.
        let older = (whole > 0).then(|| &told.after[whole - 1].2[..]);
        for mark in [Some(&mark[..]), older, None] {
            told.lay(&told.segment[..length], mark);
            let (found, repairs) = told.look().unwrap();
            assert_eq!(found, all[..*records], "cut to {length} bytes");
            let torn: Vec<_> = repairs.iter().filter(|repair| matches!(repair, Repair::TornTail { .. })).collect();
            let bytes = told.segment[..length].iter().rposition(|byte| *byte != 0).unwrap() + 1;
            let expected = (bytes > *end).then(|| Repair::TornTail {
                path: told.place.segment(1),
                offset: *end as u64,
                bytes: (bytes - end) as u64,
                last: Sequence(*records as u64),
            });
            assert_eq!(torn, expected.iter().collect::<Vec<_>>(), "cut to {length} bytes");
        }
        if length % 7 == 0 {
            let mut journal = told.place.journal();
            append(&mut *journal, &["on it goes"]).unwrap();
            drop(journal);
            let found = told.place.recover().unwrap();
            assert_eq!((found.len(), found.last().unwrap().as_str()), (*records + 1, "on it goes"));
        }
    }
}

#[test]
fn zeros_from_any_byte_on_are_an_interrupted_append_too() {
    let told = told();
    let all = told.look().unwrap().0;
    for length in 128..told.segment.len() {
        let whole = told.whole(length);
        let (records, _, mark) = &told.after[whole];
        let mut segment = told.segment[..length].to_vec();
        segment.resize(told.segment.len() + 5000, 0);
        for mark in [Some(&mark[..]), None] {
            told.lay(&segment, mark);
            assert_eq!(told.look().unwrap().0, all[..*records], "zeros from {length} on");
        }
    }
}

#[test]
fn any_sectors_of_the_last_append_may_be_missing() {
    let told = told();
    let all = told.look().unwrap().0;
    let (start, end) = (told.after[2].1, told.after[3].1);
    let sectors: Vec<_> = (start / 512..=(end - 1) / 512).collect();
    assert!(sectors.len() > 3);
    for missing in 1..1 << sectors.len() {
        let mut segment = told.segment[..end].to_vec();
        for (bit, sector) in sectors.iter().enumerate() {
            if missing >> bit & 1 == 1 {
                segment[(sector * 512).max(start)..((sector + 1) * 512).min(end)].fill(0);
            }
        }
        segment.resize(end + 700, 0);
        told.lay(&segment, Some(&told.after[2].2));
        assert_eq!(told.look().unwrap().0, all[..told.after[2].0], "sectors {missing:b}");
        // Had it been acknowledged, it would be a loss.
        told.lay(&segment, Some(&told.after[3].2));
        let lost = corruption(told.look());
        assert_eq!(lost.path, told.place.segment(1));
    }
}

#[test]
fn sectors_missing_before_a_later_append_are_damage_whatever_the_mark_says() {
    let told = told();
    let (start, end) = (told.after[2].1, told.after[3].1);
    let mut segment = told.segment.clone();
    segment[start + 600..end].fill(0);
    for mark in [Some(&told.after[2].2[..]), None] {
        told.lay(&segment, mark);
        let damaged = corruption(told.look());
        assert_eq!((damaged.path, damaged.sequence), (told.place.segment(1), Some(Sequence(5))));
    }
}

#[test]
fn a_journal_shorter_than_what_was_acknowledged_is_refused() {
    let told = told();
    for length in 128..told.segment.len() {
        let (records, end, _) = &told.after[told.whole(length)];
        let (_, _, mark) = told.after.last().unwrap();
        told.lay(&told.segment[..length], Some(mark));
        let lost = corruption(told.look());
        assert_eq!((lost.path, lost.offset), (told.place.segment(1), *end as u64), "cut to {length} bytes");
        assert_eq!(lost.sequence, Some(Sequence(*records as u64 + 1)));
    }
    // Between batches nothing but the mark tells; and it says how to go on.
    told.lay(&told.segment[..told.after[3].1], Some(&told.after[4].2));
    let lost = corruption(told.look());
    assert_eq!(lost.expected, "all up to sequence 7, which was acknowledged, in 2163 bytes");
    assert_eq!(lost.found, "the journal's end, after sequence 5");
    let remove = format!("remove {}", told.place.mark().display());
    assert!(lost.help.ends_with(&remove), "{}", lost.help);
    fs::remove_file(told.place.mark()).unwrap();
    assert_eq!(told.place.recover().unwrap().len(), 5);
}

#[test]
fn a_header_cut_short_is_no_interrupted_append() {
    let told = told();
    for length in 0..128 {
        told.lay(&told.segment[..length], Some(&told.after[0].2));
        let damaged = corruption(told.look());
        assert_eq!((damaged.path, damaged.offset), (told.place.segment(1), 0));
    }
}

#[test]
fn what_is_written_behind_the_end_is_cut() {
    let told = told();
    let all = told.look().unwrap().0;
    let garbage = Random(1).bytes(700);
    for garbage in [&b"x"[..], b"HGB{", b"}BGH and so on", &garbage] {
        let mark = &told.after.last().unwrap().2;
        told.lay(&[&told.segment, garbage].concat(), Some(mark));
        let opened = told.place.open().unwrap();
        let cut = opened.repairs[0].to_string();
        let expected = format!(
            "{}: {} bytes of an interrupted, unacknowledged append cut off at byte {}, after sequence 8",
            told.place.segment(1).display(),
            garbage.len(),
            told.segment.len()
        );
        assert_eq!(cut, expected);
        assert_eq!(recover(&*opened.journal.archive()).unwrap(), all);
    }
}

#[test]
fn records_that_look_like_batches_are_none() {
    let other = told();
    let place = Place::new();
    let mut journal = place.journal();
    // Whole batches, but of another journal: what a client could know at best.
    let forged = other.segment[128..].to_vec();
    append(&mut *journal, &["one"]).unwrap();
    let mark = fs::read(place.mark()).unwrap();
    journal.append(Epoch(0), Sequence(1), &batch([&forged, &forged])).unwrap();
    drop(journal);
    let mut segment = fs::read(place.segment(1)).unwrap();
    segment[200..300].fill(0);
    segment.truncate(128 + 51 + 36 + forged.len() + 100);
    put(&place.segment(1), &segment);
    put(&place.mark(), &mark);
    assert_eq!(place.recover().unwrap(), ["one"]);
}
