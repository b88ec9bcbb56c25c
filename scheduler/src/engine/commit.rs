//! The committer: what was posted goes to the store, many callers to one commit.
//!
//! When the store fails, what it has not taken is kept. Callers have not been answered; once the store has been reopened
//! and has checked its end, the same records are appended where it ends, so that nothing is lost, and nobody was told
//! anything that is not durable.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cell::{Cell, Taken};
use super::error::Outage;
use super::health::StoreHealth;
use super::log::Batch;
use super::pace::Pace;
use super::settings::OnStoreFailure;
use super::writer::Standing;
use crate::persist::{RecordWriter, What};
use crate::store::{self, Epoch, Journal, PushError, Sequence, StoreError};

/// The committer's thread.
pub(super) struct Committer {
    cell: Arc<Cell>,
    journal: Box<dyn Journal>,
    epoch: Epoch,
    /// What the store has not taken, in order.
    pending: VecDeque<Arc<Batch>>,
    pace: Arc<Pace>,
    /// Bytes journaled since the last mark.
    since_mark: u64,
    writer: RecordWriter,
    encoded: store::Batch,
    /// Decisions go on without the store.
    detached: Option<Detached>,
}

struct Detached {
    since: Instant,
    retry_at: Instant,
    retry_after: Duration,
    /// There was too much to remember: what is decided now is lost in a restart.
    given_up: bool,
}

/// Nothing more is committed.
struct Over;

/// Says so when it is dropped.
struct CommitsAreOver(Arc<Cell>);

impl Drop for CommitsAreOver {
    fn drop(&mut self) {
        self.0.stand_down_if_panicking();
        self.0.commits_are_over();
    }
}

/// Why a commit failed.
enum Failure {
    /// The store failed; it may come back.
    Store(String),
    /// Somebody else writes.
    Replaced(String),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::StaleEpoch { .. } => Self::Replaced(error.to_string()),
            StoreError::Io { .. }
            | StoreError::StaleSequence { .. }
            | StoreError::Poisoned { .. }
            | StoreError::InUse { .. }
            | StoreError::UnknownVersion { .. }
            | StoreError::Corrupt(_)
            | StoreError::Pruned { .. }
            | StoreError::SnapshotOutOfPlace { .. }
            | StoreError::NoSnapshot { .. }
            | StoreError::ChunkTooLarge { .. } => Self::Store(error.to_string()),
        }
    }
}

impl Committer {
    /// Goes on from where so many bytes were journaled since the last mark.
    pub(super) fn new(
        cell: Arc<Cell>,
        journal: Box<dyn Journal>,
        epoch: Epoch,
        pace: Arc<Pace>,
        since_mark: u64,
    ) -> Self {
        let (pending, writer, encoded) = (VecDeque::new(), RecordWriter::default(), store::Batch::default());
        Self { cell, journal, epoch, pending, pace, since_mark, writer, encoded, detached: None }
    }

    /// Commits until it is over, and all that was posted is with the store, if it can be.
    pub(super) fn run(mut self) {
        // However it ends, nobody shall wait for it any more.
        let _over = CommitsAreOver(self.cell.clone());
        while self.step().is_ok() {}
        if self.pending.is_empty()
            && let Err(error) = self.journal.close()
        {
            tracing::warn!(cell = %self.cell.name, %error, "the journal was not closed in good order");
        }
    }

    fn step(&mut self) -> Result<(), Over> {
        let retry_at = self.detached.as_ref().map(|detached| detached.retry_at);
        let due = self.pace.is_due(self.since_mark);
        if due {
            self.since_mark = 0;
        }
        match self.cell.take_to_commit(retry_at, due) {
            Taken::Batches(batches) => self.pending.extend(batches),
            Taken::Nothing => {}
            Taken::Over => {
                // One last attempt where decisions had gone on without the store.
                if self.detached.is_some() {
                    let _ = self.reopen();
                }
                return Err(Over);
            }
        }
        if self.detached.is_some() {
            self.go_on_without();
            return Ok(());
        }
        match self.append_pending() {
            Ok(()) => Ok(()),
            Err(failure) => self.fail(failure),
        }
    }

    /// Appends what the store has not got, in as few appends as its batches allow.
    fn append_pending(&mut self) -> Result<(), Failure> {
        loop {
            self.encoded.clear();
            let after = self.journal.last();
            let missing =
                self.pending.iter().flat_map(|batch| batch.numbered()).filter(|(number, _)| *number > after.0);
            for (_, record) in missing {
                match self.encoded.push(self.writer.write(record)) {
                    Ok(()) => {}
                    Err(PushError::BatchFull) => break,
                    // What could be too large is refused before it is posted.
                    Err(error @ PushError::RecordTooLarge { .. }) => return Err(Failure::Store(error.to_string())),
                }
            }
            if self.encoded.is_empty() {
                return Ok(());
            }
            let started = Instant::now();
            *self.cell.committing.lock() = Some(started);
            let appended = self.journal.append(self.epoch, after, &self.encoded);
            *self.cell.committing.lock() = None;
            let last = appended?;
            let metrics = &self.cell.metrics;
            metrics.commit.record(started.elapsed());
            metrics.commits.increment();
            metrics.records.add(self.encoded.len() as u64);
            self.since_mark += self.encoded.bytes() as u64;
            self.taken(last)?;
        }
    }

    /// The store has all up to `last`.
    fn taken(&mut self, last: Sequence) -> Result<(), StoreError> {
        let mut bytes = 0;
        let mut marked = false;
        while let Some(batch) = self.pending.front().filter(|batch| batch.last() <= last.0) {
            bytes += batch.bytes;
            marked = batch.records.last().is_some_and(|record| is_mark(&record.what));
            self.pending.pop_front();
        }
        if last.0 > self.cell.durable.reached() {
            self.cell.committed(last.0, bytes);
        }
        if marked {
            // A snapshot stands at a mark; sealed there, all before it can go.
            self.journal.seal_now()?;
        }
        Ok(())
    }

    fn fail(&mut self, failure: Failure) -> Result<(), Over> {
        self.cell.metrics.store_failures.increment();
        let cause = match failure {
            Failure::Store(cause) => cause,
            Failure::Replaced(cause) => return Err(self.replaced(&cause)),
        };
        match self.cell.settings.on_store_failure {
            OnStoreFailure::Stop => self.ride_out(cause),
            OnStoreFailure::Continue => {
                tracing::error!(cell = %self.cell.name, %cause, "the store failed: decisions go on in memory");
                let now = Instant::now();
                let retry_after = self.cell.settings.reopen_after.0;
                let retry_at = now + retry_after;
                *self.cell.store.lock() = StoreHealth::Detached { since: now, cause, given_up: false };
                self.detached = Some(Detached { since: now, retry_at, retry_after, given_up: false });
                self.go_on_without();
                Ok(())
            }
        }
    }

    fn replaced(&self, cause: &str) -> Over {
        tracing::error!(cell = %self.cell.name, %cause, "another server leads the cell: nothing more is decided here");
        self.cell.stand_down(Standing::Over(Outage::NotLeading { cell: self.cell.name.clone() }));
        Over
    }

    /// Decides nothing until the store is back and has all that was posted.
    fn ride_out(&mut self, mut cause: String) -> Result<(), Over> {
        let since = Instant::now();
        let (mut wait, longest) = self.cell.settings.reopen_after;
        tracing::error!(cell = %self.cell.name, %cause, "the store failed: nothing is decided until it is back");
        loop {
            *self.cell.store.lock() = StoreHealth::Down { since, cause: cause.clone() };
            let outage = Outage::StoreDown { cell: self.cell.name.clone(), cause };
            self.cell.stand_down(Standing::Down(outage));
            if self.cell.wait_for_over(wait) {
                return Err(Over);
            }
            wait = (wait * 2).min(longest);
            match self.reopen() {
                Ok(()) => break,
                Err(Failure::Store(again)) => cause = again,
                Err(Failure::Replaced(cause)) => return Err(self.replaced(&cause)),
            }
        }
        tracing::info!(cell = %self.cell.name, after = ?since.elapsed(), "the store is back");
        *self.cell.store.lock() = StoreHealth::Up;
        self.cell.stand_up();
        Ok(())
    }

    /// Has the store check its end, and appends all that it has not got.
    fn reopen(&mut self) -> Result<(), Failure> {
        for repair in self.journal.reopen()? {
            tracing::info!(cell = %self.cell.name, %repair, "put right in the store");
        }
        let last = self.journal.last();
        let known = self.pending.back().map_or(self.cell.durable.reached(), |batch| batch.last());
        if last.0 > known {
            return Err(Failure::Replaced(format!("it has records up to {last}, and only {known} were posted here")));
        }
        let first_missing = self.pending.front().map_or(known + 1, |batch| batch.first);
        if last.0 + 1 < first_missing {
            return Err(Failure::Store(format!(
                "it ends at {last}, and had taken all before {first_missing}: restore what it has lost"
            )));
        }
        self.taken(last)?;
        self.append_pending()
    }

    /// Without the store, what was posted counts as it is; it is kept for when the store is back.
    fn go_on_without(&mut self) {
        let Some(detached) = &mut self.detached else { return };
        let reached = self.cell.durable.reached();
        let news = self.pending.iter().filter(|batch| batch.last() > reached);
        let bytes = news.map(|batch| batch.bytes).sum();
        if let Some(last) = self.pending.back().map(|batch| batch.last()).filter(|last| *last > reached) {
            self.cell.committed(last, bytes);
        }
        let kept: usize = self.pending.iter().map(|batch| batch.bytes).sum();
        if kept > self.cell.settings.detached_bytes_max && !detached.given_up {
            detached.given_up = true;
            if let StoreHealth::Detached { given_up, .. } = &mut *self.cell.store.lock() {
                *given_up = true;
            }
            tracing::error!(cell = %self.cell.name, bytes = kept, "the journal is given up: a restart loses what is decided now");
        }
        if detached.given_up {
            self.pending.clear();
            detached.retry_at = Instant::now() + Duration::from_secs(3600);
            return;
        }
        if Instant::now() < detached.retry_at {
            return;
        }
        match self.reopen() {
            Ok(()) => {
                if let Some(detached) = self.detached.take() {
                    tracing::info!(cell = %self.cell.name, after = ?detached.since.elapsed(), "the store is back");
                }
                *self.cell.store.lock() = StoreHealth::Up;
            }
            Err(Failure::Store(cause) | Failure::Replaced(cause)) => {
                if let Some(detached) = &mut self.detached {
                    detached.retry_after = (detached.retry_after * 2).min(self.cell.settings.reopen_after.1);
                    detached.retry_at = Instant::now() + detached.retry_after;
                    let since = detached.since;
                    *self.cell.store.lock() = StoreHealth::Detached { since, cause, given_up: false };
                }
            }
        }
    }
}

/// Whether a record marks the point that a digest is to be taken of.
pub(super) fn is_mark(what: &What) -> bool {
    matches!(what, What::Digest { value: None, .. })
}
