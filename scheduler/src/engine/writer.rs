//! What is behind a cell's lock: the ledger that decides, and the log of what was posted to it.

use std::sync::Arc;

use headgate_ledger::{Calendar, Entry, Ledger, Time};

use super::clock::Clock;
use super::error::Outage;
use super::log::Log;
use crate::persist::{Origin, Record, What};

/// Entries that may be due one after another. Only a fault of the rules could make so many; it must not hold the lock
/// for ever.
const DUE_AT_ONCE_MAX: usize = 1_000_000;

/// Whether a cell decides.
#[derive(Clone, Debug)]
pub(super) enum Standing {
    /// It does.
    Serving,
    /// Not until the store is back.
    Down(Outage),
    /// Never again: somebody else does, or the server stops.
    Over(Outage),
}

/// The ledger that decides, and the log of what was posted to it.
pub(super) struct Writer {
    pub(super) ledger: Ledger,
    pub(super) log: Log,
    pub(super) standing: Standing,
    /// The time of what is asked and posted just now. It never goes back.
    pub(super) now: Time,
    /// When something is due next; found out anew when that is asked, where something was posted since.
    due_at: Option<Time>,
    due_is_stale: bool,
    /// Until when the timer sleeps.
    armed: Time,
    /// The timer has been sent away because there was no room, and wants to be told when there is.
    pub(super) timer_waits: bool,
    jumps: u64,
    ledger_origin: Arc<Origin>,
}

impl Writer {
    pub(super) fn new(ledger: Ledger, log: Log, now: Time, jumps: u64, ledger_origin: Arc<Origin>) -> Self {
        Self {
            ledger,
            log,
            standing: Standing::Serving,
            now,
            due_at: Some(now),
            due_is_stale: false,
            armed: Time::NEVER,
            timer_waits: false,
            jumps,
            ledger_origin,
        }
    }

    /// Lets time come to what the clock says, and posts what is due by then.
    pub(super) fn catch_up(&mut self, clock: &dyn Clock, calendar: &dyn Calendar) {
        // Before time goes on: what became due meanwhile is among it.
        let due_at = self.due_at();
        self.now = self.now.max(clock.now());
        let jumps = clock.jumps();
        if jumps != self.jumps {
            self.jumps = jumps;
            self.resume(calendar);
        } else if due_at.is_some_and(|at| at <= self.now) {
            self.settle(calendar);
        }
    }

    /// Nobody could renew until now: all have their whole time to live again. Then what is due is posted.
    pub(super) fn resume(&mut self, calendar: &dyn Calendar) {
        self.post_by_itself(Entry::Resumed);
        self.settle(calendar);
    }

    /// Posts what somebody caused, and what is due at once because of it.
    pub(super) fn post(&mut self, origin: &Arc<Origin>, entry: Entry, calendar: &dyn Calendar) {
        self.ledger.post(self.now, &entry);
        self.log.push(Record { time: self.now, origin: origin.clone(), what: What::Entry(entry) });
        self.settle(calendar);
    }

    /// Posts what is due, until nothing is.
    fn settle(&mut self, calendar: &dyn Calendar) {
        for _ in 0..DUE_AT_ONCE_MAX {
            match self.ledger.due(self.now, calendar) {
                Some(entry) => self.post_by_itself(entry),
                None => break,
            }
        }
        self.due_is_stale = true;
        self.log.settled();
    }

    /// When something is due next.
    fn due_at(&mut self) -> Option<Time> {
        if std::mem::take(&mut self.due_is_stale) {
            self.due_at = self.ledger.next_due(self.now);
        }
        self.due_at
    }

    fn post_by_itself(&mut self, entry: Entry) {
        self.ledger.post(self.now, &entry);
        self.log.push(Record { time: self.now, origin: self.ledger_origin.clone(), what: What::Entry(entry) });
    }

    /// Marks the point that a digest is to be taken of.
    pub(super) fn mark(&mut self) {
        self.digest(self.log.posted + 1, None);
    }

    /// Writes down what the ledger was.
    pub(super) fn digest(&mut self, sequence: u64, value: Option<u64>) {
        let what = What::Digest { sequence, value };
        self.log.push(Record { time: self.now, origin: self.ledger_origin.clone(), what });
    }

    /// Until when the timer shall sleep from now on.
    pub(super) fn arm(&mut self) -> Time {
        self.armed = self.due_at().unwrap_or(Time::NEVER);
        self.armed
    }

    /// Whether the timer sleeps too long, and must be woken.
    pub(super) fn oversleeps(&mut self) -> bool {
        self.due_at().is_some_and(|at| at < self.armed)
    }
}
