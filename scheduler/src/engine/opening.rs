//! Opening: every cell is recovered, checked, and begins to serve.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use headgate_ledger::{Calendar, Name, Violation};
use parking_lot::Mutex;

use super::caller::ledger_origin;
use super::cell::{Beginning, Cell};
use super::clock::Clock;
use super::commit::Committer;
use super::due;
use super::events::Happened;
use super::fold::Folder;
use super::hub::Hub;
use super::metrics::Metrics;
use super::pace::Pace;
use super::publish::Publisher;
use super::recover::{self, RecoveryError, Replay};
use super::settings::EngineSettings;
use super::{Engine, Homes};
use crate::store::{CellName, Repair, Store, StoreError};

/// Why an engine was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A cell's store could not be opened.
    #[error("cell {cell}: {error}")]
    Store {
        /// Which.
        cell: Name,
        /// What the store said.
        error: StoreError,
    },
    /// A cell could not be recovered.
    #[error("cell {cell} cannot be recovered: {error}")]
    Recovery {
        /// Which.
        cell: Name,
        /// What is wrong.
        error: RecoveryError,
    },
    /// What was recovered breaks an invariant.
    #[error("cell {cell} was recovered, and breaks what must always hold: {}", said(.violations))]
    Violated {
        /// Which.
        cell: Name,
        /// What is broken.
        violations: Vec<Violation>,
    },
    /// The system gave no thread.
    #[error("cell {cell}: cannot start a thread: {error}")]
    Thread {
        /// For which cell.
        cell: Name,
        /// What the system said.
        error: std::io::Error,
    },
}

fn said(violations: &[Violation]) -> String {
    violations.iter().take(10).map(Violation::to_string).collect::<Vec<_>>().join("; ")
}

/// How a cell was recovered.
#[derive(Clone, Debug)]
pub struct Recovery {
    /// Which.
    pub cell: Name,
    /// The number of the last record.
    pub sequence: u64,
    /// What was read.
    pub replay: Replay,
    /// What was put right in the store on the way.
    pub repairs: Vec<Repair>,
}

/// What the cells share.
struct Shared {
    settings: Arc<EngineSettings>,
    clock: Arc<dyn Clock>,
    calendar: Arc<dyn Calendar + Send + Sync>,
    metrics: Arc<Metrics>,
}

/// A cell that has begun.
struct Begun {
    cell: Arc<Cell>,
    written: super::SnapshotWritten,
    threads: Vec<JoinHandle<()>>,
    recovery: Recovery,
}

impl Engine {
    /// Opens the cells of a store and begins to serve. Must be called on a runtime; it reads for as long as recovery takes.
    pub fn open(
        settings: EngineSettings,
        store: &dyn Store,
        cells: &[Name],
        clock: Arc<dyn Clock>,
        calendar: Arc<dyn Calendar + Send + Sync>,
    ) -> Result<(Arc<Self>, Vec<Recovery>), OpenError> {
        let metrics = Arc::new(Metrics::default());
        let shared = Shared { settings: Arc::new(settings), clock, calendar, metrics: metrics.clone() };
        let mut engine = Self {
            cells: BTreeMap::new(),
            homes: ArcSwap::default(),
            metrics,
            snapshots: BTreeMap::new(),
            threads: Mutex::default(),
        };
        let mut recoveries = Vec::new();
        let mut homes = Homes::new();
        for name in cells {
            let Begun { cell, written, threads, recovery } = begin(&shared, store, name)?;
            homes.extend(cell.mirror.read().ledger.pools().map(|pool| (pool.name.clone(), name.clone())));
            engine.cells.insert(name.clone(), cell);
            engine.snapshots.insert(name.clone(), written);
            engine.threads.get_mut().extend(threads);
            recoveries.push(recovery);
        }
        engine.homes.store(Arc::new(homes));
        Ok((Arc::new(engine), recoveries))
    }
}

fn begin(shared: &Shared, store: &dyn Store, name: &Name) -> Result<Begun, OpenError> {
    let store_error = |error| OpenError::Store { cell: name.clone(), error };
    let recovery_error = |error| OpenError::Recovery { cell: name.clone(), error };
    let cell_name = match CellName::parse(name.as_str()) {
        Ok(cell_name) => cell_name,
        Err(_) => unreachable!("both are DNS labels"),
    };
    let opened = store.open(&cell_name).map_err(store_error)?;
    let (mut journal, repairs) = (opened.journal, opened.repairs);
    let archive = journal.archive();

    let settings = &shared.settings;
    let hub = Hub::new(0, settings.recent_events_max, settings.watcher_messages_max);
    let base = recover::newest(&*archive, name).map_err(recovery_error)?;
    hub.begin(base.sequence);
    let mut tell = |happened: Happened| {
        let sequence = happened.sequence;
        hub.tell(vec![happened], sequence);
    };
    let recovered = recover::go_on(base, &*archive, Some(&mut tell)).map_err(recovery_error)?;
    hub.tell(Vec::new(), recovered.sequence);
    // Those who watched before the start.
    hub.expect();
    let epoch = journal.epoch().next();
    journal.lead(epoch).map_err(store_error)?;
    shared.clock.raise(recovered.time);
    let recovery =
        Recovery { cell: name.clone(), sequence: recovered.sequence, replay: recovered.replay.clone(), repairs };
    let beginning = Beginning {
        ledger: recovered.ledger,
        posted: recovered.sequence,
        time: recovered.time,
        ledger_origin: ledger_origin(),
    };
    let cell = Arc::new(Cell::new(
        name.clone(),
        beginning,
        hub,
        settings.clone(),
        shared.clock.clone(),
        shared.calendar.clone(),
        shared.metrics.clone(),
    ));
    resume(&cell, recovery.sequence)?;

    let written = super::SnapshotWritten::default();
    let (folder, folds) = mpsc::channel();
    let pace = Arc::new(Pace::new(settings.snapshot_after_bytes, recovery.replay.snapshot_bytes));
    let folder_thread = Folder { cell: cell.clone(), archive, folds, written: written.clone(), pace: pace.clone() };
    // What was replayed waits to be folded still.
    let committer = Committer::new(cell.clone(), journal, epoch, pace, recovery.replay.bytes);
    let publisher = Publisher::new(cell.clone(), folder);
    let threads = vec![
        spawn(&cell, "commit", move || committer.run())?,
        spawn(&cell, "publish", move || publisher.run())?,
        spawn(&cell, "fold", move || folder_thread.run())?,
    ];
    tokio::spawn(due::run(cell.clone()));
    Ok(Begun { cell, written, threads, recovery })
}

/// No server could take a renewal until now. What is due is posted first, since the last of it may not have been
/// written: only then must all that always holds hold.
fn resume(cell: &Cell, recovered: u64) -> Result<(), OpenError> {
    let mut writer = cell.writer.lock();
    let before = writer.log.posted;
    writer.now = writer.now.max(cell.clock.now());
    if recovered > 0 {
        writer.resume(&*cell.calendar);
    }
    let violations = writer.ledger.audit(writer.now, &[]);
    if !violations.is_empty() {
        return Err(OpenError::Violated { cell: cell.name.clone(), violations });
    }
    cell.leave(writer, before);
    Ok(())
}

fn spawn(
    cell: &Arc<Cell>,
    what: &'static str,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, OpenError> {
    let name = cell.name.clone();
    // Names of threads are cut off after 15 bytes.
    let thread = std::thread::Builder::new().name(format!("{what} {}", cell.name)).spawn(move || {
        if std::panic::catch_unwind(AssertUnwindSafe(run)).is_err() {
            tracing::error!(cell = %name, thread = what, "a thread of the engine has panicked");
        }
    });
    thread.map_err(|error| OpenError::Thread { cell: cell.name.clone(), error })
}
