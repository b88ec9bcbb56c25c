//! What an append costs, beside what the disk costs by itself.

use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use super::*;

const RECORD_BYTES: usize = 200;

/// `cargo test --release -p headgate-scheduler --lib store::tests::measure -- --ignored --nocapture`; HEADGATE_STORE
/// names a directory on the disk in question.
#[test]
#[ignore = "a measurement"]
fn appends_and_recovery() {
    let directory = match std::env::var("HEADGATE_STORE") {
        Ok(path) => TempDir::new_in(path).unwrap(),
        Err(_) => TempDir::new().unwrap(),
    };
    for records in [1, 64, 1024] {
        let bytes = 40 + records * (RECORD_BYTES + 8);
        let appends = if records == 1024 { 1500 } else { 3000 };
        let disk = raw(&directory.path().join("raw"), bytes, appends);
        let path = directory.path().join(format!("store-{records}"));
        let store = FileStore::open(&path, FileOptions::default()).unwrap();
        let mut journal = store.open(&cell()).unwrap().journal;
        let one = batch(vec![[7; RECORD_BYTES]; records]);
        let took = times(appends, || {
            journal.append(Epoch(1), journal.last(), &one).unwrap();
        });
        println!("{records:5} records a batch: {:9.0} records/s, {}", rate(records, &took), told(&took));
        println!("       raw write and sync: {:9.0} records/s, {}", rate(records, &disk), told(&disk));
        drop(journal);
        drop(store);
        let begun = Instant::now();
        let store = FileStore::open(&path, FileOptions::default()).unwrap();
        let journal = store.open(&cell()).unwrap().journal;
        let opened = begun.elapsed();
        let count = journal.archive().read_after(Sequence(0)).unwrap().map(Result::unwrap).count();
        let read = begun.elapsed() - opened;
        println!("       opened in {opened:?}; {count} records read in {read:?}");
        assert_eq!(count, records * appends);
    }
}

/// The disk by itself: a file that grows by one write, and a sync after each.
fn raw(path: &Path, bytes: usize, appends: usize) -> Vec<Duration> {
    let file = fs::File::create(path).unwrap();
    let bytes = vec![7; bytes];
    let mut offset = 0;
    times(appends, || {
        file.write_all_at(&bytes, offset).unwrap();
        file.sync_data().unwrap();
        offset += bytes.len() as u64;
    })
}

fn times(count: usize, mut run: impl FnMut()) -> Vec<Duration> {
    let mut took: Vec<_> = (0..count)
        .map(|_| {
            let begun = Instant::now();
            run();
            begun.elapsed()
        })
        .collect();
    took.sort();
    took
}

fn rate(records: usize, took: &[Duration]) -> f64 {
    (records * took.len()) as f64 / took.iter().sum::<Duration>().as_secs_f64()
}

fn told(took: &[Duration]) -> String {
    let at = |share: usize| took[took.len() * share / 1000];
    format!("p50 {:?}, p99 {:?}, p99.9 {:?}", at(500), at(990), at(999))
}
