//! The publisher: what was posted is shown to readers and told to watchers, when it may be.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use headgate_ledger::{Entry, Time};

use super::cell::{Cell, Shown};
use super::commit::is_mark;
use super::events::{self, Event, EventKind, Happened};
use super::fold::Fold;
use super::log::Batch;
use super::settings::Durability;
use super::stands::Stands;
use crate::persist::What;

/// For how long more may come together before it is shown, where nobody waits to see it.
const GATHERED_FOR: Duration = Duration::from_millis(1);

/// What there is for the publisher to do.
enum Next {
    /// A batch was cut.
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

    /// Publishes until it is over. Journaled, a batch is prepared while the store takes it, and shown when it has.
    pub(super) fn run(mut self) {
        let cell = self.cell.clone();
        let _over = NothingIsPublished(cell.clone());
        // Whether it waits until a batch is durable, before it shows it, and whether it tells of it only then.
        let (waits, later) = match cell.settings.durability {
            Durability::Journaled => (true, false),
            Durability::Relaxed => (false, true),
            Durability::Forgotten => (false, false),
        };
        let mut owed: Option<Arc<Batch>> = None;
        'batches: loop {
            // The copy that is hidden now lacks what was shown last.
            let mut hidden = cell.mirror.hidden();
            if let Some(batch) = owed.take() {
                repeat(&mut hidden, &batch);
            }
            let batch = loop {
                match self.next(!waits, later) {
                    Next::Batch(batch) => break batch,
                    Next::Durable(last) => self.tell(last),
                    Next::Over => break 'batches,
                }
            };
            self.post(&mut hidden, &batch);
            if waits && !self.wait_until_durable(batch.last()) {
                break;
            }
            if !waits && !later {
                // It is as durable as it will ever be.
                cell.durable.advance(batch.last());
            }
            hidden.show();
            cell.published.advance(batch.last());
            if !later {
                self.tell(batch.last());
            }
            if batch.records.last().is_some_and(|record| is_mark(&record.what)) {
                self.take_digest(batch.last());
            }
            owed = Some(batch);
        }
    }

    /// What there is to do next. Where nobody waits for the store it `cuts` batches itself; what is told `later` is told when
    /// it is durable.
    fn next(&self, cuts: bool, later: bool) -> Next {
        let cell = &self.cell;
        // Where nobody waits, neither for the store nor to see it, more may come together first: to be woken for each
        // posting would cost as much as the posting.
        let until = Instant::now() + GATHERED_FOR;
        let mut gathers = cuts && !later && !cell.hub.is_watched();
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
            if cuts && writer.log.is_open() {
                // Nobody waits for the store here. Marks are the committer's to set.
                writer.log.cut();
                if later {
                    cell.commit_ready.notify_one();
                }
            }
            if let Some(batch) = writer.log.take_to_publish() {
                return Next::Batch(batch);
            }
            if later && writer.log.durable > cell.hub.told() {
                return Next::Durable(writer.log.durable);
            }
            if writer.log.over {
                return Next::Over;
            }
            cell.publish_ready.wait(&mut writer);
        }
    }

    /// Waits until the store has it; says whether it has.
    fn wait_until_durable(&self, last: u64) -> bool {
        let mut writer = self.cell.writer.lock();
        loop {
            if writer.log.durable >= last {
                return true;
            }
            if writer.log.over {
                return false;
            }
            self.cell.publish_ready.wait(&mut writer);
        }
    }

    /// Posts a batch for the first time, and finds out what there is to tell.
    fn post(&mut self, shown: &mut Shown, batch: &Batch) {
        for (sequence, record) in batch.numbered() {
            match &record.what {
                What::Entry(entry) => {
                    let happened = events::post(&mut shown.ledger, record.time, entry);
                    self.count(record.time, entry, &happened);
                    if !happened.is_empty() {
                        self.untold.push(Happened { sequence, events: happened });
                    }
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

    fn count(&self, time: Time, entry: &Entry, happened: &[Event]) {
        for event in happened {
            let Stands::Lease(lease) = &event.after else { continue };
            let metrics = || self.cell.metrics.pool(&lease.request.pool);
            match event.kind {
                EventKind::Admitted if matches!(entry, Entry::Dispatched { .. }) => {
                    metrics().queue_wait.record(time.since(lease.arrived));
                }
                EventKind::Reclaiming => metrics().reclaims.increment(),
                EventKind::LetOff => metrics().let_off.increment(),
                EventKind::Queued
                | EventKind::Admitted
                | EventKind::Confirmed
                | EventKind::HandedOver
                | EventKind::Resized
                | EventKind::Ended
                | EventKind::Revoked
                | EventKind::Expired => {}
            }
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
        let digest = self.cell.mirror.read().ledger.digest();
        let mut writer = self.cell.writer.lock();
        let before = writer.log.posted;
        writer.digest(at, Some(digest));
        self.cell.leave(writer, before);
    }
}

/// Posts a batch to the other copy.
fn repeat(shown: &mut Shown, batch: &Batch) {
    for (sequence, record) in batch.numbered() {
        match &record.what {
            What::Entry(entry) => shown.ledger.post(record.time, entry),
            What::Digest { .. } => {}
        }
        (shown.sequence, shown.time) = (sequence, record.time);
    }
}
