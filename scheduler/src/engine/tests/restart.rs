//! What a restart finds.

use std::sync::Arc;
use std::time::Duration;

use headgate_ledger::{Id, State, Time, UtcDays};

use super::stage::{Stage, begin, main_cell, open, request};
use crate::engine::{EngineSettings, LeaseId, Operation, Target, verify};
use crate::store::{CellName, FileOptions, FileStore, MemoryStore, ReadOnlyFileStore, Store};

/// Snapshots every few kilobytes.
fn often() -> EngineSettings {
    EngineSettings { snapshot_after_bytes: 20_000, ..EngineSettings::default() }
}

/// Requests and releases, in batches and alone, from a seed.
pub(super) async fn work(stage: &Stage, seed: u64, steps: u64) {
    let members = stage.engine.peek(&main_cell(), |view| view.tenant("a").is_some_and(|a| a.members.is_some()));
    let members = members.expect("a cell");
    let mut random = seed;
    let mut next = move |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    for step in 0..steps {
        let operations = (0..1 + next(5))
            .map(|nth| {
                let tenant = if next(2) == 0 { "a" } else { "b" };
                let member = if members && next(3) == 0 { "/someone" } else { "" };
                let tenant = &format!("{tenant}{member}");
                let mut asked = request(tenant, &format!("{seed}-{step}-{nth}"), 1 + next(4));
                asked.priority = next(3) as i32;
                let id = LeaseId { cell: main_cell(), number: Id(1 + next(step * 3 + 1)) };
                match next(4) {
                    0 => Operation::Release(Target::One(id)),
                    1 => Operation::Renew { target: Target::One(id), holder: None },
                    _ => Operation::Acquire { request: Arc::new(asked), explain: false },
                }
            })
            .collect();
        for done in stage.engine.operate(&stage.caller, operations).await {
            done.expect("done");
        }
        stage.pass(Duration::from_millis(next(5000)));
    }
}

async fn digest(stage: &Stage) -> (u64, Time) {
    // What was posted at the start is answered to nobody, and so not waited for.
    let cell = &stage.engine.cells[&main_cell()];
    let posted = cell.writer.lock().log.posted;
    cell.published.reach(posted).await.expect("published");
    stage.engine.read(&main_cell(), |view| (view.digest(), stage.now())).await.expect("a cell")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_is_there_after_a_restart() {
    let store = MemoryStore::default();
    let mut stage = begin(often(), &store).await;
    for round in 0..5 {
        work(&stage, round, 40).await;
        stage.check().await;
        let before: Vec<_> = stage
            .engine
            .read(&main_cell(), |view| view.leases().map(|lease| (lease.id, lease.count())).collect())
            .await
            .expect("a cell");
        stage.engine.shutdown().await;
        let (again, recoveries) = open(often(), &store, stage.clock.clone());
        assert!(recoveries[0].replay.digests > 0, "{recoveries:?}");
        let after: Vec<_> = again
            .engine
            .read(&main_cell(), |view| view.leases().map(|lease| (lease.id, lease.count())).collect())
            .await
            .expect("a cell");
        assert_eq!(before, after);
        again.check().await;
        stage = again;
    }
    let (first, _) = digest(&stage).await;
    let (second, _) = digest(&stage).await;
    assert_eq!(first, second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_are_made_off_the_serving_path_and_verify() {
    let directory = tempfile::tempdir().expect("a directory");
    {
        let store = FileStore::open(directory.path(), FileOptions::default()).expect("a store");
        let stage = begin(often(), &store).await;
        work(&stage, 7, 400).await;
        stage.check().await;
        stage.engine.shutdown().await;
        assert_eq!(stage.engine.metrics().violations.counted().values().sum::<u64>(), 0);
        assert!(stage.engine.metrics().snapshots.count() > 1);
        assert_eq!(stage.engine.metrics().snapshot_failures.count(), 0);
        assert!(stage.engine.last_snapshot(&main_cell()).is_some());
    }
    let store = ReadOnlyFileStore::open(directory.path()).expect("a store");
    let (past, repairs) = store.past(&CellName::parse("main").expect("a cell")).expect("a past");
    assert!(repairs.is_empty(), "{repairs:?}");
    let report = verify(&*past, &main_cell(), &UtcDays).expect("verified");
    assert!(report.is_sound(), "{report:?}");
    assert!(report.snapshots_compared > 0 && report.replay.snapshot.is_some(), "{report:?}");
    drop((past, store));

    let store = FileStore::open(directory.path(), FileOptions::default()).expect("a store");
    let (again, recoveries) = open(often(), &store, Arc::new(crate::engine::ManualClock::new(Time::EPOCH)));
    assert_eq!(recoveries[0].sequence, report.sequence);
    let leases = again.engine.read(&main_cell(), |view| view.leases().count()).await.expect("a cell");
    assert_eq!(leases, report.leases);
    assert!(again.now() >= super::stage::START, "time goes on from where it was");
    again.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_all_have_their_whole_time_to_live_again() {
    let store = MemoryStore::default();
    let stage = begin(EngineSettings::default(), &store).await;
    let lease = stage.allowed("a", "one", 1).await;
    stage.pass(Duration::from_secs(50));
    stage.engine.shutdown().await;
    // An hour in which no server could take a renewal.
    stage.pass(Duration::from_secs(3600));
    let (again, _) = open(EngineSettings::default(), &store, stage.clock.clone());
    assert_eq!(again.state(&lease).await, Some(State::Active));
    again.pass(Duration::from_secs(59));
    again.allowed("a", "two", 1).await;
    assert_eq!(again.state(&lease).await, Some(State::Active));
    again.pass(Duration::from_secs(2));
    again.until(&lease, State::Ended(headgate_ledger::End::Expired)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_was_tampered_with_is_refused() {
    use crate::persist::{Origin, Record, Surface, What};
    let store = MemoryStore::default();
    let stage = begin(EngineSettings::default(), &store).await;
    stage.allowed("a", "one", 1).await;
    stage.engine.shutdown().await;
    let mut journal = store.open(&CellName::parse("main").expect("a cell")).expect("opened").journal;
    let origin = Arc::new(Origin { actor: "".into(), surface: Surface::Ledger, reason: "".into() });
    let record =
        Record { time: stage.now(), origin, what: What::Digest { sequence: journal.last().0, value: Some(1) } };
    let mut batch = crate::store::Batch::default();
    batch.push_with(|bytes| record.encode(bytes)).expect("room");
    journal.append(journal.epoch(), journal.last(), &batch).expect("appended");
    drop(journal);
    let opened = crate::engine::Engine::open(
        EngineSettings::default(),
        &store,
        &[main_cell()],
        stage.clock.clone(),
        Arc::new(UtcDays),
    );
    let error = opened.expect_err("refused").to_string();
    assert!(error.contains("cell main cannot be recovered") && error.contains("digest"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_reads_back_as_the_ledger_that_it_was_taken_of() {
    use crate::persist::{SnapshotHeader, SnapshotReader, write_snapshot};
    for seed in 0..12 {
        let stage = begin(EngineSettings::default(), &MemoryStore::default()).await;
        if seed % 2 == 1 {
            // With averages, bursts, budgets, rates, classes and members too.
            stage.configure(super::stage::rich_configuration()).await;
        }
        work(&stage, seed, 60).await;
        let (digest, snapshot) =
            stage.engine.read(&main_cell(), |view| (view.digest(), view.snapshot())).await.expect("a cell");
        let header = SnapshotHeader { cell: main_cell(), sequence: 1, time: stage.now(), digest };
        let mut reader = SnapshotReader::default();
        write_snapshot(&header, &snapshot, |part| reader.take(part)).expect("parts that can be read");
        let (read_header, read) = reader.finish().expect("a whole snapshot");
        assert_eq!((read_header, &read), (header, &snapshot));
        assert_eq!(headgate_ledger::Ledger::restore(read).digest(), digest);
    }
}

#[test]
fn a_snapshot_that_is_not_whole_is_refused() {
    use crate::persist::{SnapshotHeader, SnapshotReader, write_snapshot};
    let ledger = headgate_ledger::Ledger::new();
    let header = SnapshotHeader { cell: main_cell(), sequence: 0, time: Time::EPOCH, digest: ledger.digest() };
    let mut parts = Vec::new();
    let written = write_snapshot(&header, &ledger.snapshot(), |part| {
        parts.push(part.to_vec());
        Ok::<_, std::convert::Infallible>(())
    });
    written.expect("written");
    assert!(SnapshotReader::default().finish().is_err(), "nothing");
    let mut twice = SnapshotReader::default();
    twice.take(&parts[0]).expect("a part");
    assert!(twice.take(&parts[0]).is_err(), "beyond its trailer");
    assert!(SnapshotReader::default().take(b"nonsense").is_err());
}
