//! The running server's own audit.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use headgate_ledger::{Entry, Id};
use parking_lot::Mutex;

use super::restart::work;
use super::stage::{Stage, begin, configuration, main_cell, request, rich_configuration};
use crate::engine::caller::ledger_origin;
use crate::engine::cell::Cell;
use crate::engine::{EngineSettings, audit};
use crate::http::{Metrics, Shown};
use crate::persist::{Record, What};
use crate::store::MemoryStore;

/// Audits, one after the other.
fn always() -> EngineSettings {
    EngineSettings { audit_every: Duration::from_millis(1), ..EngineSettings::default() }
}

fn cell(stage: &Stage) -> &Cell {
    &stage.engine.cells[&main_cell()]
}

/// Waits until a whole audit has been made from now on: the next to end may have begun before.
async fn audited(stage: &Stage) {
    let audits = &cell(stage).audits;
    audits.reach(audits.reached() + 2).await.expect("an audit");
}

fn broken(stage: &Stage) -> Vec<(&'static str, u64)> {
    let counted = stage.engine.metrics().violations.counted();
    counted.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// Posts a ticket for which there is room, as only a fault of the rules could, and waits until it is served.
async fn break_it(stage: &Stage) {
    let posted = post_a_stray_ticket(cell(stage));
    cell(stage).published.reach(posted).await.expect("published");
}

fn post_a_stray_ticket(cell: &Cell) -> u64 {
    let mut writer = cell.writer.lock();
    let (before, time) = (writer.log.posted, writer.now);
    let entry = Entry::Queued { id: Id(99), request: Arc::new(request("a", "stray", 1)) };
    writer.ledger.post(time, &entry);
    writer.log.push(Record { time, origin: ledger_origin(), what: What::Entry(entry) });
    cell.leave(writer, before);
    before + 1
}

/// What was logged.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<u8>>>);

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_all_holds_nothing_is_counted() {
    for changes in [configuration(), rich_configuration()] {
        let settings = EngineSettings { snapshot_after_bytes: 20_000, ..always() };
        let stage = begin(settings, &MemoryStore::default()).await;
        stage.configure(changes).await;
        for seed in 0..4 {
            work(&stage, seed, 40).await;
            audited(&stage).await;
        }
        assert_eq!(broken(&stage), []);
        stage.engine.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_snapshot_is_audited() {
    let settings = EngineSettings { snapshot_after_bytes: 20_000, ..EngineSettings::default() };
    let stage = begin(settings, &MemoryStore::default()).await;
    work(&stage, 1, 200).await;
    cell(&stage).audits.reach(1).await.expect("an audit");
    stage.engine.shutdown().await;
    assert_eq!(stage.engine.audits(), stage.engine.metrics().snapshots.count(), "and nothing else, for ten minutes");
    assert_eq!(broken(&stage), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_broken_is_counted_told_and_stops_nothing() {
    let stage = begin(EngineSettings::default(), &MemoryStore::default()).await;
    break_it(&stage).await;
    let told = Told::default();
    let writer = told.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    let found = tracing::subscriber::with_default(subscriber, || audit::of_published(cell(&stage)));
    assert_eq!(found.iter().map(|violation| violation.invariant).collect::<Vec<_>>(), ["work-conserving"]);
    assert_eq!(broken(&stage), [("work-conserving", 1)]);
    let text = String::from_utf8(told.0.lock().clone()).expect("text");
    for part in ["ERROR", "cell=main", "invariant=\"work-conserving\"", "ticket 99 of tenant a waits"] {
        assert!(text.contains(part), "{part} in {text}");
    }

    let metrics = Metrics::default();
    metrics.show(stage.engine.clone());
    assert_eq!(metrics.broken(), [("work-conserving", 1)]);
    let text = metrics.text(&Shown::default()).expect("metrics");
    for line in [
        "headgate_invariant_violations_total{invariant=\"conservation\"} 0",
        "headgate_invariant_violations_total{invariant=\"work-conserving\"} 1",
        "headgate_audits_total 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    stage.allowed("b", "another", 1).await;
    stage.engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_needs_to_ask_for_an_audit() {
    let stage = begin(always(), &MemoryStore::default()).await;
    break_it(&stage).await;
    audited(&stage).await;
    assert!(matches!(broken(&stage)[..], [("work-conserving", 1..)]));
    stage.engine.shutdown().await;
}
