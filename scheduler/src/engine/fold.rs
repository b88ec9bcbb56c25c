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

/// The folder's thread.
pub(super) struct Folder {
    pub(super) cell: Arc<Cell>,
    pub(super) archive: Arc<dyn Archive>,
    pub(super) folds: mpsc::Receiver<Fold>,
    /// When the last snapshot was written.
    pub(super) written: SnapshotWritten,
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
        while let Ok(later) = self.folds.try_recv() {
            fold = later;
        }
        let cell = &self.cell.name;
        let metrics = &self.cell.metrics;
        let started = Instant::now();
        match self.fold(fold) {
            Ok(records) => {
                metrics.snapshots.increment();
                *self.written.lock() = Some((fold.at, Instant::now()));
                tracing::info!(%cell, at = fold.at, records, took = ?started.elapsed(), "a snapshot was made");
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

    fn fold(&self, Fold { at, digest }: Fold) -> Result<u64, RecoveryError> {
        let cell = &self.cell;
        let recovered = recover::recover(&*self.archive, &cell.name, Some(at), |_| {})?;
        let found = recovered.ledger.digest();
        if found != digest {
            return Err(RecoveryError::Digest { sequence: at, expected: digest, found });
        }
        let header = SnapshotHeader { cell: cell.name.clone(), sequence: at, time: recovered.time, digest };
        let mut writer = self.archive.write_snapshot(Sequence(at))?;
        write_snapshot(&header, &recovered.ledger.snapshot(), |part| writer.write(part))?;
        writer.finish()?;
        self.archive.prune()?;
        // Last, as it keeps nobody from a snapshot: that holds what was posted, and nothing that is counted.
        audit::of(cell, "the snapshot's", &recovered.ledger, recovered.time);
        Ok(recovered.replay.records)
    }
}
