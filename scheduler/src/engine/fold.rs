//! The folder: what lies sealed in the journal is folded onto the last snapshot, off the serving path.
//!
//! A snapshot is a recovery run early. Its ledger is built from what the store has, and must come to the digest that
//! the serving ledger had at the same point.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Instant;

use headgate_ledger::Name;

use super::SnapshotWritten;
use super::metrics::Metrics;
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
    pub(super) cell: Name,
    pub(super) archive: Arc<dyn Archive>,
    pub(super) folds: mpsc::Receiver<Fold>,
    pub(super) metrics: Arc<Metrics>,
    /// When the last snapshot was written.
    pub(super) written: SnapshotWritten,
}

impl Folder {
    /// Makes snapshots until nobody asks for them any more.
    pub(super) fn run(self) {
        while let Ok(mut fold) = self.folds.recv() {
            // The last will do.
            while let Ok(later) = self.folds.try_recv() {
                fold = later;
            }
            let started = Instant::now();
            match self.fold(fold) {
                Ok(records) => {
                    self.metrics.snapshots.increment();
                    *self.written.lock() = Some((fold.at, Instant::now()));
                    tracing::info!(cell = %self.cell, at = fold.at, records, took = ?started.elapsed(), "a snapshot was made");
                }
                Err(error @ RecoveryError::Digest { .. }) => {
                    self.metrics.snapshot_failures.increment();
                    self.metrics.invariant_violations.increment();
                    tracing::error!(cell = %self.cell, at = fold.at, %error, "replay came to another ledger: no more snapshots");
                    return;
                }
                Err(
                    error @ (RecoveryError::Store(_) | RecoveryError::Record { .. } | RecoveryError::NoSnapshot(_)),
                ) => {
                    self.metrics.snapshot_failures.increment();
                    tracing::error!(cell = %self.cell, at = fold.at, %error, "no snapshot could be made; the journal is kept");
                }
            }
        }
    }

    fn fold(&self, Fold { at, digest }: Fold) -> Result<u64, RecoveryError> {
        let recovered = recover::recover(&*self.archive, &self.cell, Some(at), |_| {})?;
        let found = recovered.ledger.digest();
        if found != digest {
            return Err(RecoveryError::Digest { sequence: at, expected: digest, found });
        }
        let header = SnapshotHeader { cell: self.cell.clone(), sequence: at, time: recovered.time, digest };
        let mut writer = self.archive.write_snapshot(Sequence(at))?;
        write_snapshot(&header, &recovered.ledger.snapshot(), |part| writer.write(part))?;
        writer.finish()?;
        self.archive.prune()?;
        Ok(recovered.replay.records)
    }
}
