//! A cell: one ledger, what decides on it, and what is published of it.
//!
//! Three threads and a task work on it beside those who ask:
//!
//! ```text
//!  callers ──lock──▶ writer: ask, post, what is due ──cut──▶ committer ──▶ store ──durable──▶ callers are answered
//!  timer   ──lock──▶                                   └───▶ publisher ──▶ mirror ──▶ readers
//!                                                                      └─▶ hub ──▶ watchers
//!                                                            folder ◀── marks      snapshots, audits
//! ```
//!
//! The lock is held for as long as it takes to ask and to post; never across an await, a system call or a log line.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use headgate_ledger::{Calendar, Entry, Ledger, Name, Time};
use headgate_sync::{Mirror, Sequence};
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::Notify;

use super::clock::Clock;
use super::error::{EngineError, Outage};
use super::health::{Health, StoreHealth};
use super::hub::Hub;
use super::log::{Batch, Log};
use super::metrics::Metrics;
use super::places::Places;
use super::settings::{Durability, EngineSettings};
use super::view::View;
use super::writer::{Standing, Writer};
use crate::persist::Origin;

/// When to ask again while the store is down: it is being reopened all the while.
const RETRY_DOWN: Duration = Duration::from_secs(1);
/// When to ask again while the store does not keep up: a few commits later.
const RETRY_BUSY: Duration = Duration::from_millis(100);

/// What readers see.
pub(super) struct Shown {
    pub(super) ledger: Ledger,
    /// The number of the last record that is in it.
    pub(super) sequence: u64,
    /// The time of that record.
    pub(super) time: Time,
}

/// A cell.
pub(super) struct Cell {
    pub(super) name: Name,
    pub(super) settings: Arc<EngineSettings>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) calendar: Arc<dyn Calendar + Send + Sync>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) writer: Mutex<Writer>,
    /// Wakes the committer: something was posted, or it is over.
    pub(super) commit_ready: Condvar,
    /// Wakes the publisher: something was cut or has become durable, or it is over.
    pub(super) publish_ready: Condvar,
    /// Wakes the timer: something is due earlier than it knows, or it is over.
    pub(super) timer: Notify,
    /// How far the store has it.
    pub(super) durable: Sequence,
    /// How far readers see it.
    pub(super) published: Sequence,
    /// A reader waits to see what is not shown yet.
    pub(super) wanted: AtomicBool,
    /// How far it was posted, for those who do not have the lock.
    posted: AtomicU64,
    pub(super) mirror: Mirror<Shown>,
    pub(super) hub: Arc<Hub>,
    pub(super) places: Places,
    pub(super) store: Mutex<StoreHealth>,
    /// When the commit that is under way began.
    pub(super) committing: Mutex<Option<Instant>>,
    /// How often its invariants were checked.
    pub(super) audits: Sequence,
}

/// How a cell begins.
pub(super) struct Beginning {
    pub(super) ledger: Ledger,
    pub(super) posted: u64,
    pub(super) time: Time,
    pub(super) ledger_origin: Arc<Origin>,
}

impl Cell {
    pub(super) fn new(
        name: Name,
        beginning: Beginning,
        hub: Hub,
        settings: Arc<EngineSettings>,
        clock: Arc<dyn Clock>,
        calendar: Arc<dyn Calendar + Send + Sync>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let Beginning { ledger, posted, time, ledger_origin } = beginning;
        let mirror = Mirror::new(Shown { ledger: ledger.clone(), sequence: posted, time });
        let log = match settings.durability {
            Durability::Journaled | Durability::Relaxed => Log::new(posted),
            Durability::Forgotten => Log::forgotten(posted),
        };
        Self {
            writer: Mutex::new(Writer::new(ledger, log, time, clock.jumps(), ledger_origin)),
            name,
            settings,
            clock,
            calendar,
            metrics,
            commit_ready: Condvar::new(),
            publish_ready: Condvar::new(),
            timer: Notify::new(),
            durable: Sequence::new(posted),
            published: Sequence::new(posted),
            wanted: AtomicBool::new(false),
            posted: AtomicU64::new(posted),
            mirror,
            hub: Arc::new(hub),
            places: Places::default(),
            store: Mutex::new(StoreHealth::default()),
            committing: Mutex::new(None),
            audits: Sequence::new(0),
        }
    }

    /// One turn under the lock: time comes to now, what is due is posted, and then it is the caller's turn.
    pub(super) fn turn<R>(&self, work: impl FnOnce(&mut Turn<'_>) -> R) -> Result<R, EngineError> {
        let writer = self.writer.lock();
        self.may_ask(&writer)?;
        let before = writer.log.posted;
        let mut turn = Turn { cell: self, writer };
        let result = self.unbroken(
            &mut turn,
            |turn| &mut turn.writer,
            |turn| {
                turn.writer.catch_up(&*self.clock, &*self.calendar);
                work(turn)
            },
        );
        self.leave(turn.writer, before);
        Ok(result)
    }

    /// Works on the writer. Where that panics, what is in memory may be half changed: nothing more is decided on it.
    pub(super) fn unbroken<T, R>(
        &self,
        on: &mut T,
        writer: impl FnOnce(&mut T) -> &mut Writer,
        work: impl FnOnce(&mut T) -> R,
    ) -> R {
        match std::panic::catch_unwind(AssertUnwindSafe(|| work(on))) {
            Ok(result) => result,
            Err(panic) => {
                writer(on).standing = Standing::Over(Outage::Broken { cell: self.name.clone() });
                // What was posted before is as it should be, and is committed still.
                self.commit_ready.notify_one();
                std::panic::resume_unwind(panic)
            }
        }
    }

    /// Lets go of the lock, and wakes those for whom there is something to do.
    pub(super) fn leave(&self, mut writer: MutexGuard<'_, Writer>, before: u64) {
        let posted = writer.log.posted != before;
        let oversleeps = writer.oversleeps();
        let gathers = writer.log.gathers && !writer.log.is_much();
        self.posted.store(writer.log.posted, Ordering::Release);
        drop(writer);
        if posted {
            match self.settings.durability {
                // What is to be published is cut by the committer.
                Durability::Journaled => self.commit_ready.notify_one(),
                Durability::Relaxed => {
                    self.commit_ready.notify_one();
                    self.publish_ready.notify_one()
                }
                Durability::Forgotten => !gathers && self.publish_ready.notify_one(),
            };
        }
        if oversleeps {
            self.timer.notify_one();
        }
    }

    /// Whether anything is decided just now.
    pub(super) fn may_ask(&self, writer: &Writer) -> Result<(), EngineError> {
        match &writer.standing {
            Standing::Serving => {}
            Standing::Down(why) | Standing::Over(why) => {
                return Err(EngineError::Unavailable { why: why.clone(), retry_after: RETRY_DOWN });
            }
        }
        let unpublished = writer.log.posted.saturating_sub(self.published.reached());
        if writer.log.unjournaled >= self.settings.journal_buffer_bytes_max
            || unpublished >= self.settings.unpublished_max
        {
            self.metrics.shed.increment();
            let why = Outage::Overloaded { cell: self.name.clone() };
            return Err(EngineError::Unavailable { why, retry_after: RETRY_BUSY });
        }
        Ok(())
    }

    /// Waits until what was decided up to `sequence` may be told.
    pub(super) async fn answerable(&self, sequence: u64) -> Result<(), EngineError> {
        match self.settings.durability {
            Durability::Relaxed | Durability::Forgotten => {}
            Durability::Journaled => match self.durable.reach(sequence).await {
                Ok(()) => {}
                Err(headgate_sync::Interrupted) => return Err(self.outage()),
            },
        }
        // Where the publisher lags, callers go on as fast as it does, and need not be turned away. Where it is gone,
        // nobody waits for it.
        let lag = self.settings.unpublished_max / 4;
        let _ = self.published.reach(sequence.saturating_sub(lag)).await;
        Ok(())
    }

    /// Why nothing is answered just now.
    fn outage(&self) -> EngineError {
        let why = match &self.writer.lock().standing {
            Standing::Down(why) | Standing::Over(why) => why.clone(),
            // It came back this instant; what was not answered may be asked again.
            Standing::Serving => Outage::Overloaded { cell: self.name.clone() },
        };
        EngineError::Unavailable { why, retry_after: RETRY_DOWN }
    }

    /// How far what was decided may have been told to anybody.
    pub(super) fn answered(&self) -> u64 {
        match self.settings.durability {
            Durability::Relaxed | Durability::Forgotten => self.posted.load(Ordering::Acquire),
            Durability::Journaled => self.durable.reached(),
        }
    }

    /// Waits until readers see what has been answered by now: nobody finds less than it was told.
    pub(super) async fn fresh(&self) {
        let answered = self.answered();
        if self.published.reached() < answered {
            self.wanted.store(true, Ordering::Release);
            self.publish_ready.notify_one();
        }
        // While nothing can be published, what is published will do.
        let _ = self.published.reach(answered).await;
    }

    /// Looks at what is published, as soon as all that has been answered by now is. While the publisher is at something that
    /// takes long, the thread has time for others.
    pub(super) async fn look(&self) -> View<'_> {
        loop {
            self.fresh().await;
            // Before the look: whatever keeps it out is published after this.
            let published = self.published.reached();
            if let Some(view) = View::at_once(self) {
                return view;
            }
            if self.published.reach(published + 1).await.is_err() {
                return View::of(self);
            }
        }
    }

    /// Looks at what is published, where that is all that has been posted, and nobody has to be waited for.
    pub(super) fn look_at_all(&self) -> Option<View<'_>> {
        let posted = self.posted.load(Ordering::Acquire);
        if self.published.reached() < posted { None } else { View::at_once(self) }
    }

    /// Nothing more is decided: the server stops. What was decided is committed still, and answered.
    pub(super) fn close(&self) {
        let mut writer = self.writer.lock();
        if let Standing::Serving = writer.standing {
            let (sequence, digest) = (writer.log.posted, writer.ledger.digest());
            writer.digest(sequence, Some(digest));
        }
        writer.standing = Standing::Over(Outage::Closing);
        drop(writer);
        self.commit_ready.notify_one();
        self.publish_ready.notify_one();
        self.timer.notify_one();
    }

    /// Nothing is decided from now on, until the store is back or for ever.
    pub(super) fn stand_down(&self, standing: Standing) {
        let mut writer = self.writer.lock();
        let keep = matches!(writer.standing, Standing::Over(_)) && !matches!(standing, Standing::Over(_));
        if !keep {
            writer.standing = standing;
        }
        drop(writer);
        self.durable.interrupt();
        self.timer.notify_one();
    }

    /// Where a thread of the cell ends by a panic, it cannot be done without: nothing more is decided.
    pub(super) fn stand_down_if_panicking(&self) {
        if std::thread::panicking() {
            self.stand_down(Standing::Over(Outage::Broken { cell: self.name.clone() }));
        }
    }

    /// Decides again. Nobody could renew meanwhile, which is written down first.
    pub(super) fn stand_up(&self) {
        // First, so that whoever is decided for from now on may wait.
        self.durable.resume();
        let mut writer = self.writer.lock();
        let before = writer.log.posted;
        if matches!(writer.standing, Standing::Down(_)) {
            writer.standing = Standing::Serving;
            writer.now = writer.now.max(self.clock.now());
            self.unbroken(&mut *writer, |writer| writer, |writer| writer.resume(&*self.calendar));
        }
        self.leave(writer, before);
        self.timer.notify_one();
    }

    /// The store has all up to `last`; with it went so many bytes.
    pub(super) fn committed(&self, last: u64, bytes: usize) {
        // First those who wait: the store was what they waited for.
        self.durable.advance(last);
        let mut writer = self.writer.lock();
        writer.log.durable = last;
        writer.log.unjournaled = writer.log.unjournaled.saturating_sub(bytes);
        let timer_waits = std::mem::take(&mut writer.timer_waits);
        drop(writer);
        self.publish_ready.notify_one();
        if timer_waits {
            self.timer.notify_one();
        }
    }

    /// Waits for something to commit; none when it is over. Where a mark is `due` it is set: it is the last of what is
    /// taken.
    pub(super) fn take_to_commit(&self, until: Option<Instant>, due: bool) -> Taken {
        let mut writer = self.writer.lock();
        if due {
            writer.mark();
            self.posted.store(writer.log.posted, Ordering::Release);
        }
        loop {
            writer.log.cut();
            let batches = writer.log.take_to_commit();
            if !batches.is_empty() {
                drop(writer);
                if self.settings.durability == Durability::Relaxed {
                    // It is shown before it is durable.
                    self.publish_ready.notify_one();
                }
                return Taken::Batches(batches.into());
            }
            if matches!(writer.standing, Standing::Over(_)) {
                return Taken::Over;
            }
            match until {
                None => self.commit_ready.wait(&mut writer),
                Some(until) => {
                    if self.commit_ready.wait_until(&mut writer, until).timed_out() {
                        return Taken::Nothing;
                    }
                }
            }
        }
    }

    /// Waits, but no longer than `span`; says whether it is over.
    pub(super) fn wait_for_over(&self, span: Duration) -> bool {
        let until = Instant::now() + span;
        let mut writer = self.writer.lock();
        loop {
            if matches!(writer.standing, Standing::Over(_)) {
                return true;
            }
            if self.commit_ready.wait_until(&mut writer, until).timed_out() {
                return false;
            }
        }
    }

    /// How it is.
    pub(super) fn health(&self) -> Health {
        let store = self.store.lock().clone();
        let limit = self.settings.store_stalls_after;
        let stalled_for = self.committing.lock().map(|since| since.elapsed()).filter(|span| *span > limit);
        let writer = self.writer.lock();
        Health {
            cell: self.name.clone(),
            serving: matches!(writer.standing, Standing::Serving),
            store,
            stalled_for,
            posted: writer.log.posted,
            durable: self.durable.reached(),
            published: self.published.reached(),
            unjournaled_bytes: writer.log.unjournaled,
        }
    }

    /// Nothing more is committed.
    pub(super) fn commits_are_over(&self) {
        self.writer.lock().log.over = true;
        self.publish_ready.notify_one();
        self.durable.interrupt();
    }
}

/// What there was to commit.
pub(super) enum Taken {
    Batches(Vec<Arc<Batch>>),
    /// Not until then.
    Nothing,
    Over,
}

/// A turn under the lock.
pub(super) struct Turn<'a> {
    pub(super) cell: &'a Cell,
    pub(super) writer: MutexGuard<'a, Writer>,
}

impl Turn<'_> {
    pub(super) fn ledger(&self) -> &Ledger {
        &self.writer.ledger
    }

    pub(super) fn now(&self) -> Time {
        self.writer.now
    }

    /// The number of the last record.
    pub(super) fn posted(&self) -> u64 {
        self.writer.log.posted
    }

    pub(super) fn post(&mut self, origin: &Arc<Origin>, entry: Entry) {
        self.writer.post(origin, entry, &*self.cell.calendar);
    }

    /// Lets others have a turn in between, in the order in which they came. Afterwards it may be over.
    pub(super) fn let_others(&mut self) -> Result<(), EngineError> {
        MutexGuard::bump(&mut self.writer);
        self.cell.may_ask(&self.writer)
    }
}
