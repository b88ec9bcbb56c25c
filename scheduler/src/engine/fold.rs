//! The folder: what lies sealed in the journal is folded onto the last snapshot, off the serving path.
//!
//! A snapshot is a recovery run early. Its ledger is built from what the store has, must come to the digest that the serving
//! ledger had at the same point, and is audited; between snapshots, what is served is.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Instant;

use super::SnapshotWritten;
use super::audit;
use super::cell::Cell;
use super::pace::Pace;
use super::recover::{self, RecoveryError};
use crate::persist::{SnapshotHeader, write_snapshot};
use crate::store::{Archive, Sequence};

/// A point of the journal at which a snapshot can stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fold {
    /// The number of the record.
    pub(super) at: u64,
    /// What the ledger's digest was there.
    pub(super) digest: u64,
}

/// What a snapshot was made of.
struct Folded {
    /// Records that were replayed.
    records: u64,
    /// Its own bytes.
    bytes: u64,
}

/// The folder's thread.
pub(super) struct Folder {
    pub(super) cell: Arc<Cell>,
    pub(super) archive: Arc<dyn Archive>,
    pub(super) folds: mpsc::Receiver<Fold>,
    /// When the last snapshot was written.
    pub(super) written: SnapshotWritten,
    /// Who asks for them hears how large they are.
    pub(super) pace: Arc<Pace>,
}

impl Folder {
    /// Makes snapshots and audits until nobody asks for snapshots any more.
    pub(super) fn run(self) {
        let every = self.cell.settings.audit_every;
        let mut audit_at = Instant::now() + every;
        let mut folds = true;
        loop {
            match self.folds.recv_timeout(audit_at.saturating_duration_since(Instant::now())) {
                Ok(fold) if folds => folds = self.fold_last(fold),
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if Instant::now() >= audit_at {
                audit::of_published(&self.cell);
                audit_at = Instant::now() + every;
            }
        }
    }

    /// Makes a snapshot where one was last asked for; says whether there may be more.
    fn fold_last(&self, mut fold: Fold) -> bool {
        let mut behind = false;
        while let Ok(later) = self.folds.try_recv() {
            (fold, behind) = (later, true);
        }
        let cell = &self.cell.name;
        let metrics = &self.cell.metrics;
        let started = Instant::now();
        match self.fold_apart(fold, behind) {
            Ok(Folded { records, bytes }) => {
                metrics.snapshots.increment();
                *self.written.lock() = Some((fold.at, Instant::now()));
                tracing::info!(%cell, at = fold.at, records, bytes, behind, took = ?started.elapsed(), "a snapshot was made");
                true
            }
            Err(error @ RecoveryError::Digest { .. }) => {
                metrics.snapshot_failures.increment();
                metrics.violations.count("durability");
                tracing::error!(%cell, at = fold.at, %error, "replay came to another ledger: no more snapshots");
                false
            }
            Err(error @ (RecoveryError::Store(_) | RecoveryError::Record { .. } | RecoveryError::NoSnapshot(_))) => {
                metrics.snapshot_failures.increment();
                tracing::error!(%cell, at = fold.at, %error, "no snapshot could be made; the journal is kept");
                true
            }
        }
    }

    /// Folds on a thread that gives way to those who serve, unless it is behind already.
    ///
    /// An audit of what is served must not give way so: the publisher waits for it.
    fn fold_apart(&self, fold: Fold, behind: bool) -> Result<Folded, RecoveryError> {
        let (cell, archive, pace) = (&*self.cell, &*self.archive, &*self.pace);
        std::thread::scope(|scope| {
            let work = move || {
                if !behind {
                    give_way();
                }
                make_snapshot(cell, archive, pace, fold)
            };
            match std::thread::Builder::new().name(format!("fold {}", cell.name)).spawn_scoped(scope, work) {
                Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                // It is done here then.
                Err(_) => make_snapshot(cell, archive, pace, fold),
            }
        })
    }
}

fn make_snapshot(
    cell: &Cell,
    archive: &dyn Archive,
    pace: &Pace,
    Fold { at, digest }: Fold,
) -> Result<Folded, RecoveryError> {
    let recovered = recover::recover(archive, &cell.name, Some(at))?;
    let found = recovered.ledger.digest();
    if found != digest {
        return Err(RecoveryError::Digest { sequence: at, expected: digest, found });
    }
    let header = SnapshotHeader { cell: cell.name.clone(), sequence: at, time: recovered.time, digest };
    let mut writer = archive.write_snapshot(Sequence(at))?;
    let mut bytes = 0;
    write_snapshot(&header, &recovered.ledger.snapshot(), |part| {
        bytes += part.len() as u64;
        writer.write(part)
    })?;
    writer.finish()?;
    pace.written(bytes);
    archive.prune()?;
    // Last, as it keeps nobody from a snapshot: that holds what was posted, and nothing that is counted.
    audit::of(cell, "the snapshot's", &recovered.ledger, recovered.time);
    Ok(Folded { records: recovered.replay.records, bytes })
}

/// Lets others have the processor first.
#[cfg(target_os = "linux")]
fn give_way() {
    /// Of two who want one processor, who is nicer by so much gets a tenth of it.
    const NICER: i32 = 10;
    if let Err(error) = rustix::process::nice(NICER) {
        tracing::debug!(%error, "a snapshot is made at the priority of all others");
    }
}

/// Elsewhere a thread has no priority of its own: it would be the process's.
#[cfg(not(target_os = "linux"))]
fn give_way() {}
