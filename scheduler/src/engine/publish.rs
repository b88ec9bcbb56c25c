//! The publisher: what was posted is shown to readers and told to watchers, when it may be.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use headgate_ledger::{Entry, Lease, Ledger, Time};

use super::cell::{Cell, Shown};
use super::commit::is_mark;
use super::events::{self, Happened};
use super::fold::Fold;
use super::log::Batch;
use super::settings::Durability;
use crate::persist::{Record, What};

/// For how long more may come together before it is shown, where nobody waits to see it.
const GATHERED_FOR: Duration = Duration::from_millis(1);

/// What there is for the publisher to do.
enum Next {
    /// A batch is to be shown.
    Batch(Arc<Batch>),
    /// All up to this number is durable.
    Durable(u64),
    /// It is over.
    Over,
}

/// However the publisher ends, nobody shall wait for it any more.
struct NothingIsPublished(Arc<Cell>);

impl Drop for NothingIsPublished {
    fn drop(&mut self) {
        self.0.stand_down_if_panicking();
        self.0.hub.close();
        self.0.published.interrupt();
    }
}

/// The publisher's thread.
pub(super) struct Publisher {
    cell: Arc<Cell>,
    /// To the folder: where a snapshot can be made.
    folder: mpsc::Sender<Fold>,
    /// Shown, and not yet told because it is not durable: what happened, and up to where.
    untold: Vec<Happened>,
    /// The last point that was marked: a snapshot can stand there.
    marked: Option<u64>,
    /// Digests of such points that were written down, and are not durable yet.
    folds: Vec<(u64, Fold)>,
}

impl Publisher {
    pub(super) fn new(cell: Arc<Cell>, folder: mpsc::Sender<Fold>) -> Self {
        Self { cell, folder, untold: Vec::new(), marked: None, folds: Vec::new() }
    }

    /// Publishes until it is over.
    pub(super) fn run(mut self) {
        let _over = NothingIsPublished(self.cell.clone());
        loop {
            match self.next() {
                Next::Batch(batch) => self.publish(&batch),
                Next::Durable(last) => self.tell(last),
                Next::Over => break,
            }
        }
    }

    /// What there is to do next. Where nobody waits for the store it cuts batches itself.
    fn next(&self) -> Next {
        let cell = &self.cell;
        let durability = cell.settings.durability;
        // Whether it shows what is durable only; and whether it tells of what was shown when that is durable.
        let shows_later = durability == Durability::Journaled;
        let tells_later = durability == Durability::Relaxed;
        // Where nobody waits, neither for the store nor to see it, more may come together first: to be woken for each
        // posting would cost as much as the posting.
        let until = Instant::now() + GATHERED_FOR;
        let mut gathers = durability == Durability::Forgotten && !cell.hub.is_watched();
        let mut writer = cell.writer.lock();
        loop {
            if gathers && writer.log.is_open() && !writer.log.is_much() && !writer.log.over {
                writer.log.gathers = true;
                // Who wants to see it knocks without the lock: one who comes between the look and the wait has to wait as
                // long as this does.
                gathers = !cell.wanted.swap(false, Ordering::AcqRel)
                    && !cell.publish_ready.wait_until(&mut writer, until).timed_out();
                writer.log.gathers = false;
                continue;
            }
            if !shows_later && writer.log.is_open() {
                // Nobody waits for the store here. Marks are the committer's to set.
                writer.log.cut();
                if tells_later {
                    cell.commit_ready.notify_one();
                }
            }
            if let Some(batch) = writer.log.take_to_publish(shows_later) {
                return Next::Batch(batch);
            }
            if tells_later && writer.log.durable > cell.hub.told() {
                return Next::Durable(writer.log.durable);
            }
            if writer.log.over {
                return Next::Over;
            }
            cell.publish_ready.wait(&mut writer);
        }
    }

    /// Shows a batch, a portion at a time, and tells of it as far as that may be.
    fn publish(&mut self, batch: &Batch) {
        let cell = self.cell.clone();
        let durability = cell.settings.durability;
        for (first, records) in batch.portions() {
            let last = first + records.len() as u64 - 1;
            cell.mirror.change(|shown| {
                // While nobody sees it: who is to be told of what comes after what it sees has said so before it looks.
                let noted = cell.hub.notes(last);
                self.post(shown, first, records, noted);
            });
            if durability == Durability::Forgotten {
                // It is as durable as it will ever be.
                cell.durable.advance(last);
            }
            cell.published.advance(last);
            if durability != Durability::Relaxed {
                self.tell(last);
            }
        }
        if batch.records.last().is_some_and(|record| is_mark(&record.what)) {
            self.take_digest(batch.last());
        }
    }

    /// Posts a portion; what there is to tell of it is `noted`, where anybody may want to know.
    fn post(&mut self, shown: &mut Shown, first: u64, records: &[Record], noted: bool) {
        for (sequence, record) in (first..).zip(records) {
            match &record.what {
                What::Entry(entry) if noted => {
                    let events = events::post(&mut shown.ledger, record.time, entry);
                    if !events.is_empty() {
                        self.untold.push(Happened { sequence, events });
                    }
                    self.count(&shown.ledger, record.time, entry);
                }
                What::Entry(entry) => {
                    shown.ledger.post(record.time, entry);
                    self.count(&shown.ledger, record.time, entry);
                }
                What::Digest { value: None, .. } => self.marked = Some(sequence),
                What::Digest { sequence: at, value: Some(value) } => {
                    if self.marked == Some(*at) {
                        self.folds.push((sequence, Fold { at: *at, digest: *value }));
                    }
                }
            }
            (shown.sequence, shown.time) = (sequence, record.time);
        }
    }

    /// Counts what happened by itself.
    fn count(&self, ledger: &Ledger, time: Time, entry: &Entry) {
        let metrics = |lease: &Lease| self.cell.metrics.pool(&lease.request.pool);
        match entry {
            Entry::Dispatched { id, .. } => {
                if let Some(lease) = ledger.lease(*id) {
                    metrics(lease).queue_wait.record(time.since(lease.arrived));
                }
            }
            Entry::Claimed { victims, .. } | Entry::ClaimExtended { victims, .. } => {
                for lease in victims.iter().filter_map(|victim| ledger.lease(victim.lease)) {
                    metrics(lease).reclaims.increment();
                }
            }
            Entry::LetOff { lease } => {
                if let Some(lease) = ledger.lease(*lease) {
                    metrics(lease).let_off.increment();
                }
            }
            Entry::Configured(_)
            | Entry::Admitted { .. }
            | Entry::Queued { .. }
            | Entry::Confirmed { .. }
            | Entry::Renewed { .. }
            | Entry::Resized { .. }
            | Entry::Ended { .. }
            | Entry::ClaimDropped { .. }
            | Entry::HoldsPassed { .. }
            | Entry::Silenced { .. }
            | Entry::BudgetTurned { .. }
            | Entry::BurstOver { .. }
            | Entry::MemberGone { .. }
            | Entry::Drained { .. }
            | Entry::Hit { .. }
            | Entry::Resumed => {}
        }
    }

    /// Tells what is durable.
    fn tell(&mut self, durable: u64) {
        let later = self.untold.partition_point(|happened| happened.sequence <= durable);
        let rest = self.untold.split_off(later);
        let told = std::mem::replace(&mut self.untold, rest);
        self.cell.metrics.watchers_dropped.add(self.cell.hub.tell(told, durable));
        let later = self.folds.partition_point(|(sequence, _)| *sequence <= durable);
        for (_, fold) in self.folds.drain(..later) {
            // Where there is no folder, there are no snapshots.
            let _ = self.folder.send(fold);
        }
    }

    /// Takes the digest of what is shown, which is the ledger at a mark, and has it written down.
    fn take_digest(&self, at: u64) {
        let digest = self.cell.mirror.read_long().ledger.digest();
        let mut writer = self.cell.writer.lock();
        let before = writer.log.posted;
        writer.digest(at, Some(digest));
        self.cell.leave(writer, before);
    }
}
