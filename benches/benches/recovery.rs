//! How long a start takes: records replayed, and a snapshot read, each checked and audited as when a server starts.

use std::cell::LazyCell;
use std::convert::Infallible;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use headgate_benches::{Cell, Served, Size, main_cell, sizes};
use headgate_ledger::{Ledger, Time, UtcDays};
use headgate_scheduler::engine::{EngineSettings, verify};
use headgate_scheduler::persist::{SnapshotHeader, SnapshotReader, write_snapshot};
use headgate_scheduler::store::{CellName, FileOptions, FileStore, ReadOnlyFileStore};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// So many leases are acquired at once, as by callers who come together; and so many of them released.
const ACQUIRED: u64 = 100;
const RELEASED: u64 = 90;

/// A store with a journal of so many records or a few more, and no snapshot.
fn journal(records: u64) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    Runtime::new().expect("a runtime").block_on(async {
        let store = FileStore::open(directory.path(), FileOptions::default()).expect("a store");
        let settings = EngineSettings { snapshot_after_bytes: usize::MAX, ..EngineSettings::default() };
        let served = Served::open(settings, &store).await;
        for round in 0..records.div_ceil(ACQUIRED + RELEASED) {
            let mut held = served.acquire(0, round * ACQUIRED, ACQUIRED).await;
            held.truncate(RELEASED as usize);
            served.release(held).await;
        }
        served.engine.shutdown().await;
    });
    directory
}

/// Every record since the beginning, read, posted and compared; and what comes of it, audited.
fn replay(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("replay");
    group.sample_size(10);
    for records in sizes([1_000, 10_000, 100_000, 1_000_000], 100) {
        let directory = LazyCell::new(|| journal(records));
        group.throughput(Throughput::Elements(records));
        group.bench_function(BenchmarkId::new("records", records), |bencher| {
            let store = ReadOnlyFileStore::open(directory.path()).expect("a store");
            let (past, _) = store.past(&CellName::parse("main").expect("a name")).expect("a cell");
            bencher.iter(|| {
                let report = verify(&*past, &main_cell(), &UtcDays).expect("recovered");
                assert!(report.is_sound() && report.replay.records >= records, "{report:?}");
            });
        });
    }
    group.finish();
}

/// A snapshot of so many leases, from its parts to a ledger whose digest is as it was.
fn restore(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("restore");
    group.sample_size(10);
    for leases in sizes([1_000, 10_000, 100_000, 1_000_000], 100) {
        let snapshot = LazyCell::new(|| snapshot(leases));
        group.throughput(Throughput::Elements(u64::from(leases)));
        group.bench_function(BenchmarkId::new("leases", leases), |bencher| {
            let (parts, digest) = &*snapshot;
            bencher.iter(|| {
                let mut reader = SnapshotReader::default();
                parts.iter().for_each(|part| reader.take(part).expect("a part"));
                let (_, snapshot) = reader.finish().expect("a snapshot");
                assert_eq!(Ledger::restore(snapshot).digest(), *digest);
            });
        });
    }
    group.finish();
}

/// The parts of a snapshot, and its ledger's digest.
fn snapshot(leases: u32) -> (Vec<Vec<u8>>, u64) {
    let size = Size { leaves: leases / 10, leases, ..Size::default() };
    let ledger = Cell::new(size).ledger;
    let digest = ledger.digest();
    let header = SnapshotHeader { cell: main_cell(), sequence: 1, time: Time::from_nanos(1), digest };
    let mut parts = Vec::new();
    let taken: Result<(), Infallible> = write_snapshot(&header, &ledger.snapshot(), |part| {
        parts.push(part.to_vec());
        Ok(())
    });
    taken.expect("there is room");
    (parts, digest)
}

criterion_group!(benches, replay, restore);
criterion_main!(benches);
