//! The file kind's directory: its names, its lock, and files that do not belong.

use std::os::unix::fs::FileExt;

use super::super::{Holder, ReadOnlyFileStore, Repair};
use super::*;

/// A journal of three segments (1, 2 to 3, 4 to 5), with snapshots at 1 and 3, closed in good order.
fn three_segments() -> Place {
    let place = Place::new();
    let mut journal = place.journal();
    let archive = journal.archive();
    journal.lead(Epoch(1)).unwrap();
    for records in [&["one"][..], &["two", "three"], &["four", "five"]] {
        append(&mut *journal, records).unwrap();
        if records[0] != "four" {
            let at = journal.seal_now().unwrap();
            write_snapshot(&*archive, at.0, &[&format!("up to {}", records[records.len() - 1])]).unwrap();
        }
    }
    drop(archive);
    journal.close().unwrap();
    place
}

#[test]
fn the_directory_is_tidy() {
    let place = three_segments();
    assert_eq!(place.names("../"), ["LOCK", "main"]);
    assert_eq!(
        place.names("journal"),
        ["00000000000000000001.seg", "00000000000000000002.seg", "00000000000000000004.seg", "DURABLE"]
    );
    assert_eq!(place.names("snapshots"), ["00000000000000000001.snap", "00000000000000000003.snap"]);
    assert_eq!(place.recover().unwrap(), ["up to three", "four", "five"]);
    let archive = place.journal().archive();
    assert_eq!(texts(&*archive, 0).unwrap(), ["one", "two", "three", "four", "five"]);
}

#[test]
fn directories_that_are_missing_are_made() {
    let place = Place::new();
    let store = FileStore::open(&place.path().join("a/b"), place.options).unwrap();
    append(&mut *store.open(&cell()).unwrap().journal, &["one"]).unwrap();
    assert!(place.path().join("a/b/main/journal/00000000000000000001.seg").is_file());
}

#[test]
fn segments_end_at_their_size_but_take_any_batch() {
    let place = Place::with_segments_of(1000);
    let mut journal = place.journal();
    let large = "x".repeat(3000);
    for record in ["small", &large, "small", "small", &large, &large, "small"] {
        append(&mut *journal, &[record]).unwrap();
    }
    let archive = journal.archive();
    assert_eq!(texts(&*archive, 0).unwrap().len(), 7);
    let names = place.names("journal");
    let firsts: Vec<_> = names.iter().filter_map(|name| name.strip_suffix(".seg")?.parse::<u64>().ok()).collect();
    assert_eq!(firsts, [1, 2, 3, 5, 6, 7]);
    drop((archive, journal));
    assert_eq!(place.recover().unwrap().len(), 7);
}

#[test]
fn one_process_has_a_cell_open_once() {
    let place = Place::new();
    let store = place.store();
    let opened = store.open(&cell()).unwrap();
    let refused = store.open(&cell()).map(drop).unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!("{} is in use by this process already", place.path().join("main").display())
    );
    let archive = opened.journal.archive();
    drop(opened);
    assert!(store.open(&cell()).is_err(), "an archive of it is still there");
    drop(archive);
    store.open(&cell()).unwrap();
}

#[test]
fn one_server_has_a_store_open() {
    let place = Place::new();
    let journal = place.journal();
    let refused = FileStore::open(place.path(), place.options).map(drop).unwrap_err();
    let pid = std::process::id();
    let path = place.path().display().to_string();
    assert_eq!(refused.to_string(), format!("{path} is in use by process {pid}; stop it, or use another path"));
    let refused = ReadOnlyFileStore::open(place.path()).map(drop).unwrap_err();
    assert!(matches!(refused, StoreError::InUse { holder: Holder::Process { .. }, .. }), "{refused}");
    drop(journal);
    place.store();
}

#[test]
fn readers_stand_beside_each_other_and_before_a_server() {
    let place = three_segments();
    let (one, other) = (ReadOnlyFileStore::open(place.path()).unwrap(), ReadOnlyFileStore::open(place.path()).unwrap());
    let refused = FileStore::open(place.path(), place.options).map(drop).unwrap_err();
    assert!(matches!(refused, StoreError::InUse { holder: Holder::Reader, .. }), "{refused}");
    assert!(refused.to_string().ends_with("such as headgate verify; wait for it, or stop it"), "{refused}");
    let (past, repairs) = one.past(&cell()).unwrap();
    assert_eq!(repairs, []);
    assert_eq!(texts(&*past, 0).unwrap().len(), 5);
    drop((one, other));
    assert!(FileStore::open(place.path(), place.options).is_err(), "what came out of it still reads");
    drop(past);
    place.store();
}

#[test]
fn looking_changes_nothing() {
    let place = three_segments();
    let torn = fs::OpenOptions::new().write(true).open(place.segment(4)).unwrap();
    let length = torn.metadata().unwrap().len();
    torn.write_all_at(b"HGB{ half a batch", length).unwrap();
    put(&place.file("journal/00000000000000000006.new"), b"half a segment");
    put(&place.path().join("lost+found/x"), b"");
    fs::remove_file(place.path().join("LOCK")).unwrap();
    let before = files(place.path());
    let store = ReadOnlyFileStore::open(place.path()).unwrap();
    assert_eq!(store.cells().unwrap(), [cell()]);
    let (past, repairs) = store.past(&cell()).unwrap();
    assert_eq!(recover(&*past).unwrap(), ["up to three", "four", "five"]);
    assert!(matches!(&repairs[..], [Repair::Unfinished { .. }, Repair::TornTail { bytes: 17, .. }]), "{repairs:?}");
    assert_eq!(files(place.path()), before);
    drop((store, past));
    assert_eq!(place.open().unwrap().repairs, repairs, "opening for service puts right what looking told");
    assert_eq!(place.open().unwrap().repairs, []);
}

#[test]
fn what_is_not_there_is_not_made_by_looking() {
    let place = Place::new();
    let missing = ReadOnlyFileStore::open(&place.path().join("nowhere")).map(drop).unwrap_err();
    assert!(missing.to_string().starts_with("cannot list"), "{missing}");
    assert!(!place.path().join("nowhere").exists());
    let store = ReadOnlyFileStore::open(place.path()).unwrap();
    assert_eq!(store.cells().unwrap(), []);
    assert!(store.past(&cell()).is_err());
    assert_eq!(files(place.path()), []);
}

#[test]
fn an_interrupted_start_begins_again() {
    let place = Place::new();
    put(&place.file("journal/00000000000000000001.new"), b"HGSEGMNT");
    assert_eq!(ReadOnlyFileStore::open(place.path()).unwrap().cells().unwrap(), []);
    fs::create_dir(place.file("snapshots")).unwrap();
    assert_eq!(ReadOnlyFileStore::open(place.path()).unwrap().cells().unwrap(), []);
    let mut journal = place.journal();
    append(&mut *journal, &["one"]).unwrap();
    drop(journal);
    assert_eq!(place.names("journal"), ["00000000000000000001.seg", "DURABLE"]);
    // It got as far as the first segment, but not to the mark.
    let place = Place::new();
    drop(place.journal());
    fs::remove_file(place.mark()).unwrap();
    assert_eq!(place.open().unwrap().repairs, []);
}

#[test]
fn a_clean_close_leaves_no_zeros_behind() {
    let place = Place::new();
    let mut journal = place.journal();
    append(&mut *journal, &["one"]).unwrap();
    let length = || fs::metadata(place.segment(1)).unwrap().len();
    assert_eq!(length(), place.options.segment_bytes_max, "grown ahead");
    journal.close().unwrap();
    assert_eq!(length(), 128 + 36 + 8 + 3 + 4);
}

#[test]
fn a_missing_segment_is_named() {
    for (first, recovers) in [(1, false), (2, true), (4, false)] {
        let place = three_segments();
        if first == 1 {
            // No snapshot to stand in for it.
            fs::remove_dir_all(place.file("snapshots")).unwrap();
        }
        fs::remove_file(place.segment(first)).unwrap();
        if recovers {
            // The newest snapshot stands for it; only the older generation is gone.
            assert_eq!(place.recover().unwrap().len(), 3);
            let archive = place.journal().archive();
            let told = corruption(texts(&*archive, 0));
            assert_eq!((told.path, told.sequence), (place.segment(1), Some(Sequence(2))));
            assert!(told.help.contains("00000000000000000002.seg"), "{}", told.help);
        } else {
            let told = corruption(place.recover());
            assert_eq!((told.path, told.sequence), (place.segment(first), Some(Sequence(first))));
        }
    }
}

#[test]
fn a_journal_that_is_gone_is_not_begun_anew() {
    let place = three_segments();
    for first in [1, 2, 4] {
        fs::remove_file(place.segment(first)).unwrap();
    }
    let told = corruption(place.open());
    assert_eq!(told.path, place.segment(4));
    fs::remove_dir_all(place.file("snapshots")).unwrap();
    let told = corruption(place.open());
    assert_eq!((told.path, told.found.as_str()), (place.segment(1), "no segment"));
}

#[test]
fn a_segment_cut_short_between_batches_is_a_gap() {
    let place = three_segments();
    fs::remove_dir_all(place.file("snapshots")).unwrap();
    let segment = fs::OpenOptions::new().write(true).open(place.segment(2)).unwrap();
    segment.set_len(128).unwrap();
    let told = corruption(place.recover());
    assert_eq!((told.path, told.offset, told.sequence), (place.segment(2), 128, Some(Sequence(2))));
    assert_eq!(told.expected, "sequence 2, since the next segment begins at 4");
}

#[test]
fn files_from_elsewhere_are_refused() {
    let (place, other) = (three_segments(), three_segments());
    let check = |from: &Path, name: &str, expected: &str| {
        let place = place.copy();
        let to = place.file(name);
        fs::copy(from, &to).unwrap();
        let told = corruption(place.open());
        assert!(told.expected.starts_with(expected), "{told}");
        (told.path == to, told.to_string().contains(to.to_str().unwrap()))
    };
    let segment = |first: u64| format!("journal/{first:020}.seg");
    let snapshot = |at: u64| format!("snapshots/{at:020}.snap");
    for (from, name, expected) in [
        (other.segment(2), segment(2), "the journal id of "),
        (other.snapshot(3), snapshot(3), "the journal id of "),
        (other.mark(), "journal/DURABLE".to_owned(), "the journal id of "),
        (place.segment(1), segment(2), "sequence 2"),
        (place.snapshot(1), snapshot(3), "sequence 3"),
        (place.snapshot(1), segment(1), "a segment"),
    ] {
        assert_eq!(check(&from, &name, expected), (true, true), "{name}");
    }
    // All are held against the last segment. If it is the stranger, it is named as the one of the two.
    assert_eq!(check(&other.segment(4), &segment(4), "the journal id of "), (false, true));
    // A whole cell under another's name.
    fs::rename(place.path().join("main"), place.path().join("gpu")).unwrap();
    let told = corruption(place.store().open(&CellName::parse("gpu").unwrap()));
    assert_eq!((told.expected.as_str(), told.found.as_str()), ("cell gpu", "cell main"));
}

#[test]
fn an_unknown_version_is_refused() {
    let segment = |first: u64| format!("journal/{first:020}.seg");
    let snapshot = format!("snapshots/{:020}.snap", 3);
    for name in [segment(1), segment(4), snapshot, "journal/DURABLE".to_owned()] {
        let place = three_segments();
        let mut bytes = fs::read(place.file(&name)).unwrap();
        bytes[8] = 2;
        if name.ends_with("DURABLE") {
            // Its slots are only looked into where their checksum is right.
            let checksum = crc32c::crc32c(&bytes[..508]);
            bytes[508..512].copy_from_slice(&checksum.to_le_bytes());
        }
        fs::write(place.file(&name), bytes).unwrap();
        assert_eq!(
            place.open().map(drop).unwrap_err().to_string(),
            format!(
                "{} has format version 2 (byte 8), and this program knows versions up to 1; use the version that wrote it",
                place.file(&name).display()
            )
        );
    }
}
