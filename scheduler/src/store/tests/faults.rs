//! A disk that fails: at every step, once or from then on, in the middle of a write, and in a sync.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use super::super::Repair;
use super::super::file::disk::{Change, watch};
use super::*;

/// What the disk answers to a change that fails.
fn refusal(change: &Change<'_>) -> io::Error {
    let kind = match change {
        Change::Create { .. } | Change::CreateDirectory { .. } | Change::Write { .. } | Change::SetLen { .. } => {
            io::ErrorKind::StorageFull
        }
        Change::Sync { .. } | Change::SyncDirectory { .. } | Change::Rename { .. } | Change::Remove { .. } => {
            return io::Error::from_raw_os_error(5);
        }
    };
    io::Error::from(kind)
}

fn name(change: &Change<'_>) -> &'static str {
    match change {
        Change::Create { .. } => "create",
        Change::CreateDirectory { .. } => "create directory",
        Change::Write { .. } => "write",
        Change::SetLen { .. } => "set length",
        Change::Sync { .. } => "sync",
        Change::SyncDirectory { .. } => "sync directory",
        Change::Rename { .. } => "rename",
        Change::Remove { .. } => "remove",
    }
}

/// Fails the changes that are counted in `range`; returns the counter.
fn fail(range: std::ops::Range<u64>) -> Rc<Cell<u64>> {
    let count = Rc::new(Cell::new(0));
    let counter = count.clone();
    watch::with(move |change| {
        let number = counter.get();
        counter.set(number + 1);
        if range.contains(&number) { Err(refusal(change)) } else { Ok(()) }
    });
    count
}

/// Fails the next change for which `wanted` says so.
fn fail_next(wanted: impl Fn(&Change<'_>) -> bool + 'static) {
    let mut failed = false;
    watch::with(move |change| {
        if failed || !wanted(change) {
            return Ok(());
        }
        failed = true;
        Err(refusal(change))
    });
}

/// A day in the life of a journal, in which every step may fail. Returns what was acknowledged.
fn live(place: &Place, patience: usize) -> Vec<String> {
    let mut acknowledged: Vec<String> = Vec::new();
    let mut attempts = 0..patience;
    let mut again = || attempts.next().is_some();
    let opened = loop {
        let opened = FileStore::open(place.path(), place.options).and_then(|store| store.open(&cell()));
        match opened {
            Ok(opened) => break opened,
            Err(error) if again() => told_well(&error),
            Err(error) => {
                told_well(&error);
                return acknowledged;
            }
        }
    };
    let mut journal = opened.journal;
    for number in 1..=9_u64 {
        let records = [format!("{number}, first"), "x".repeat(40 * number as usize)];
        while journal.last() < Sequence(2 * number) {
            let before = journal.last();
            match journal.append(Epoch(1), before, &batch(&records)) {
                Ok(last) => assert_eq!(last, journal.last()),
                Err(error) => {
                    told_well(&error);
                    assert_eq!(journal.last(), before, "what failed is not counted as durable");
                    if !again() {
                        return acknowledged;
                    }
                    if matches!(error, StoreError::Poisoned { .. }) {
                        while let Err(error) = journal.reopen() {
                            told_well(&error);
                            if !again() {
                                return acknowledged;
                            }
                        }
                    }
                }
            }
        }
        acknowledged.extend(records);
        if number % 3 == 0 {
            let archive = journal.archive();
            let folded = journal.seal_now().and_then(|at| {
                write_snapshot(&*archive, at.0, &acknowledged.iter().map(String::as_str).collect::<Vec<_>>())?;
                archive.prune()
            });
            folded.err().iter().for_each(told_well);
        }
    }
    if let Err(error) = journal.close() {
        told_well(&error);
    }
    acknowledged
}

/// Errors of the disk name what was tried, and on which file.
fn told_well(error: &StoreError) {
    let words = error.to_string();
    let cause = words.strip_prefix("the journal takes nothing more until it is reopened: ").unwrap_or(&words);
    let path = cause.split(' ').find(|word| word.starts_with('/'));
    assert!(cause.starts_with("cannot ") && path.is_some(), "{words}");
}

/// How many changes a whole life makes.
fn steps() -> u64 {
    let place = Place::with_segments_of(700);
    let count = fail(0..0);
    assert_eq!(live(&place, 0).len(), 18);
    watch::none();
    assert_eq!(place.recover().unwrap().len(), 18);
    count.get()
}

#[test]
fn a_disk_that_fails_once_at_any_step_loses_nothing_and_the_journal_goes_on() {
    let steps = steps();
    assert!(steps > 80, "{steps}");
    for step in 0..steps {
        let place = Place::with_segments_of(700);
        let count = fail(step..step + 1);
        let acknowledged = live(&place, 3);
        watch::none();
        assert!(count.get() > step);
        assert_eq!(acknowledged.len(), 18, "step {step}: it went on to the end");
        assert_eq!(place.recover().unwrap(), acknowledged, "step {step}");
        assert_eq!(place.recover().unwrap(), acknowledged, "step {step}, once more");
    }
}

#[test]
fn a_disk_that_fails_for_good_at_any_step_loses_nothing() {
    for step in 0..steps() {
        let place = Place::with_segments_of(700);
        fail(step..u64::MAX);
        let acknowledged = live(&place, 4);
        watch::none();
        let recovered = place.recover().unwrap();
        let (before, after) = recovered.split_at(acknowledged.len());
        assert_eq!(before, acknowledged, "step {step}");
        assert!(after.is_empty() || after.len() == 2, "step {step}: the last append wholly or not at all");
    }
}

#[test]
fn an_append_is_one_write_and_one_sync_and_then_the_mark() {
    let place = Place::new();
    let mut journal = place.journal();
    let done = Rc::new(RefCell::new(Vec::new()));
    let seen = done.clone();
    watch::with(move |change| {
        let (Change::Write { path, .. } | Change::Sync { path } | Change::SetLen { path, .. }) = change else {
            panic!("{}", name(change));
        };
        seen.borrow_mut().push((name(change), path.file_name().unwrap().to_str().unwrap().to_owned()));
        Ok(())
    });
    let expect = |expected: &[(&str, &str)]| {
        let done = done.take();
        assert_eq!(done.iter().map(|(change, file)| (*change, &file[..])).collect::<Vec<_>>(), expected);
    };
    let (segment, mark) = ("00000000000000000001.seg", "DURABLE");
    for records in [&["one"][..], &["two", "three"]] {
        append(&mut *journal, records).unwrap();
        expect(&[("write", segment), ("sync", segment), ("write", mark)]);
    }
    journal.close().unwrap();
    expect(&[("set length", segment), ("sync", segment), ("sync", mark)]);
    watch::none();
}

#[test]
fn a_write_that_stops_half_way_is_cut_back() {
    for part in [0, 1, 36, 50, 90] {
        let place = Place::new();
        let mut journal = place.journal();
        append(&mut *journal, &["one"]).unwrap();
        let done = Rc::new(RefCell::new(Vec::new()));
        let (seen, mut first) = (done.clone(), true);
        watch::with(move |change| {
            let first = std::mem::take(&mut first);
            seen.borrow_mut().push(name(change));
            match change {
                Change::Write { offset, bytes, file, .. } if first => {
                    file.write_all_at(&bytes[..part], *offset)?;
                    Err(io::ErrorKind::StorageFull.into())
                }
                _ => Ok(()),
            }
        });
        let error = append(&mut *journal, &[&"two".repeat(40)]).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("cannot write to {}: no storage space; make room there", place.segment(1).display())
        );
        assert_eq!(fs::metadata(place.segment(1)).unwrap().len(), 128 + 51);
        assert_eq!(done.take(), ["write", "set length", "sync"], "it is cut, and durably so, before anything else");
        append(&mut *journal, &["two, again"]).unwrap();
        watch::none();
        drop(journal);
        let opened = place.open().unwrap();
        assert_eq!(opened.repairs, []);
        assert_eq!(recover(&*opened.journal.archive()).unwrap(), ["one", "two, again"]);
    }
}

#[test]
fn after_a_failed_sync_it_takes_nothing_until_it_is_reopened() {
    let place = Place::new();
    let mut journal = place.journal();
    append(&mut *journal, &["one"]).unwrap();
    let segment = place.segment(1);
    fail_next(move |change| matches!(change, Change::Sync { path } if *path == segment));
    let told = format!(
        "the journal takes nothing more until it is reopened: cannot sync {}: Input/output error (os error 5); \
         all up to sequence 1 is durable",
        place.segment(1).display()
    );
    assert_eq!(append(&mut *journal, &["two"]).unwrap_err().to_string(), told);
    assert_eq!(append(&mut *journal, &["three"]).unwrap_err().to_string(), told);
    assert_eq!(journal.seal_now().unwrap_err().to_string(), told);
    assert_eq!(journal.lead(Epoch(9)).unwrap_err().to_string(), told);
    assert_eq!(journal.last(), Sequence(1));
    let archive = journal.archive();
    assert_eq!(texts(&*archive, 0).unwrap(), ["one"], "readers see nothing that is not durable");
    // The batch was read back whole; it is written once more and synced before it counts.
    let (written, synced) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
    let (seen_written, seen_synced, segment) = (written.clone(), synced.clone(), place.segment(1));
    watch::with(move |change| {
        match change {
            Change::Write { path, offset: 179, .. } if *path == segment => seen_written.set(true),
            Change::Sync { path } if *path == segment => seen_synced.set(seen_written.get()),
            _ => {}
        }
        Ok(())
    });
    assert_eq!(journal.reopen().unwrap(), []);
    watch::none();
    assert!(written.get() && synced.get());
    assert_eq!(journal.last(), Sequence(2));
    append(&mut *journal, &["three"]).unwrap();
    assert_eq!(texts(&*archive, 0).unwrap(), ["one", "two", "three"]);
}

#[test]
fn what_cannot_be_cut_back_is_cut_when_it_is_reopened() {
    let place = Place::new();
    let mut journal = place.journal();
    append(&mut *journal, &["one"]).unwrap();
    watch::with(move |change| match change {
        Change::Write { offset, bytes, file, .. } => {
            file.write_all_at(&bytes[..44], *offset)?;
            Err(io::ErrorKind::StorageFull.into())
        }
        _ => Err(io::Error::from_raw_os_error(5)),
    });
    let error = append(&mut *journal, &["two"]).unwrap_err();
    assert!(error.to_string().contains("; and then cannot set the length of"), "{error}");
    assert!(journal.reopen().is_err());
    assert!(matches!(append(&mut *journal, &["two"]), Err(StoreError::Poisoned { durable: Sequence(1), .. })));
    watch::none();
    let repairs = journal.reopen().unwrap();
    assert!(matches!(repairs[..], [Repair::TornTail { offset: 179, bytes: 44, .. }]), "{repairs:?}");
    append(&mut *journal, &["two, again"]).unwrap();
    drop(journal);
    assert_eq!(place.recover().unwrap(), ["one", "two, again"]);
}

#[test]
fn an_append_stands_though_its_mark_could_not_be_written() {
    let place = Place::new();
    let mut journal = place.journal();
    let mark = place.mark();
    fail_next(move |change| matches!(change, Change::Write { path, .. } if *path == mark));
    assert_eq!(append(&mut *journal, &["one"]).unwrap(), Sequence(1));
    assert!(matches!(append(&mut *journal, &["two"]), Err(StoreError::Poisoned { durable: Sequence(1), .. })));
    journal.reopen().unwrap();
    append(&mut *journal, &["two"]).unwrap();
    watch::none();
    drop(journal);
    assert_eq!(place.recover().unwrap(), ["one", "two"]);
}

#[test]
fn a_journal_that_lost_what_it_had_is_not_reopened() {
    let place = Place::new();
    let mut journal = place.journal();
    append(&mut *journal, &["one"]).unwrap();
    append(&mut *journal, &["two"]).unwrap();
    fs::OpenOptions::new().write(true).open(place.segment(1)).unwrap().set_len(179).unwrap();
    fs::remove_file(place.mark()).unwrap();
    let told = corruption(journal.reopen());
    assert_eq!(told.found, "the journal's end, after sequence 1");
    assert!(append(&mut *journal, &["three"]).is_err());
}
