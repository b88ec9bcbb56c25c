//! Readers who are far behind what is decided.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::stage::{Stage, begin, main_cell};
use crate::engine::cell::Cell;
use crate::engine::{Durability, EngineSettings, Filter, LeaseId, Scope, Target, Told};
use crate::store::MemoryStore;

/// Callers who are under way at once.
const CALLERS: u64 = 32;
/// Decisions of which readers may be behind: a quarter before anybody waits, and all who are under way fit in the rest.
const UNPUBLISHED_MAX: u64 = 64;

fn cell(stage: &Stage) -> Arc<Cell> {
    stage.engine.cells[&main_cell()].clone()
}

fn posted(cell: &Cell) -> u64 {
    cell.writer.lock().log.posted
}

async fn until(what: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !what() {
        assert!(Instant::now() < deadline, "it did not come to pass");
        tokio::task::yield_now().await;
    }
}

/// Each keeps its lease alive, so many times one after the other.
fn callers(stage: &Stage, lease: &LeaseId, times: usize) -> Vec<tokio::task::JoinHandle<()>> {
    let call = |_| {
        let (engine, caller, lease) = (stage.engine.clone(), stage.caller.clone(), lease.clone());
        tokio::spawn(async move {
            for _ in 0..times {
                let renewed = engine.renew(&caller, Target::One(lease.clone()), None).await.expect("renewed");
                assert!(renewed.iter().all(|(_, answer)| answer.is_ok()), "{renewed:?}");
            }
        })
    };
    (0..CALLERS).map(call).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_wait_for_readers_who_lag_and_nobody_is_turned_away() {
    for durability in [Durability::Journaled, Durability::Relaxed, Durability::Forgotten] {
        let settings = EngineSettings { durability, unpublished_max: UNPUBLISHED_MAX, ..EngineSettings::default() };
        let stage = begin(settings, &MemoryStore::default()).await;
        let lease = stage.allowed("a", "one", 1).await;
        let cell = cell(&stage);
        cell.published.reach(posted(&cell)).await.expect("published");
        let before = posted(&cell);

        let reading = cell.mirror.read();
        let callers = callers(&stage, &lease, 20);
        // As many are answered as readers may be behind; then every caller waits.
        let most = before + UNPUBLISHED_MAX / 4 + CALLERS;
        until(|| posted(&cell) == most).await;
        assert!(callers.iter().all(|caller| !caller.is_finished()));
        drop(reading);
        for caller in callers {
            caller.await.expect("all its calls were answered");
        }
        assert_eq!(stage.engine.metrics().shed.count(), 0, "{durability:?}");
        stage.check().await;
        stage.engine.shutdown().await;
    }
}

/// A long look keeps the publisher out, and neither those who decide nor those who look for a short while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_look_stops_neither_decisions_nor_short_looks() {
    let stage = begin(EngineSettings::default(), &MemoryStore::default()).await;
    let lease = stage.allowed("a", "one", 1).await;
    let cell = cell(&stage);
    cell.published.reach(posted(&cell)).await.expect("published");
    let published = cell.published.reached();
    let long = cell.mirror.read_long();
    for caller in callers(&stage, &lease, 10) {
        caller.await.expect("all its calls were answered");
    }
    for _ in 0..100 {
        let seen = stage.engine.peek(&main_cell(), |view| (view.sequence(), view.lease(lease.number).is_some()));
        assert_eq!(seen.expect("a cell"), (published, true));
    }
    drop(long);
    cell.published.reach(posted(&cell)).await.expect("published");
    stage.engine.shutdown().await;
}

/// With nobody to tell, nothing is kept; and who comes then is told everything from there on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_begins_to_watch_under_load_misses_nothing() {
    let settings = EngineSettings { recent_events_max: 4, watcher_messages_max: 10_000, ..EngineSettings::default() };
    let stage = begin(settings, &MemoryStore::default()).await;
    for nth in 0..10 {
        let lease = stage.allowed("a", &format!("early{nth}"), 1).await;
        stage.release(&lease).await;
    }
    stage.told().await;
    assert!(!cell(&stage).hub.notes(posted(&cell(&stage))), "nobody can resume");
    let (engine, caller) = (stage.engine.clone(), stage.caller.clone());
    let load = tokio::spawn(async move {
        for nth in 0..300 {
            let request = super::stage::request("b", &format!("r{nth}"), 1);
            let answer = engine.acquire(&caller, Arc::new(request), false).await.expect("decided");
            let id = answer.id().expect("it fits");
            engine.release(&caller, Target::One(id)).await.expect("released");
        }
    });
    let mut watch = stage.engine.watch(&main_cell(), Filter::all(Scope::All), None).await.expect("a watch");
    load.await.expect("all were decided");
    stage.told().await;
    let mut seen = None;
    while watch.up_to().is_none() {
        match watch.next().await.expect("told") {
            Told::Present { sequence, .. } => seen = Some(sequence),
            // Each lease is acquired at one number and released at the next.
            Told::Happened(happened) => {
                assert_eq!(seen.map(|seen| seen + 1), Some(happened.sequence), "nothing is missed");
                seen = Some(happened.sequence);
            }
        }
    }
    assert_eq!(seen, Some(posted(&cell(&stage))));
    stage.engine.shutdown().await;
}
