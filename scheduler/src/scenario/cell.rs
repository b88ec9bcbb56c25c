//! A cell in virtual time: a ledger, a clock that jumps from instant to instant, and the journal of what was posted.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use headgate_ledger::{
    Amendment, Amounts, Change, Close, Configured, Decision, End, Entry, Hit, HitDecision, Holder, Id, Ledger, Outcome,
    Problem, Refusal, Request, Time, Violation,
};

use crate::config::CivilCalendar;

/// Entries that may be due at one instant. A ledger that has more does not come to rest.
const DUE_ENTRIES_MAX: usize = 1_000_000;

/// What the work does that a lease is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Whether its holder confirms that it started, as soon as it is admitted.
    pub confirm: bool,
    /// How long it runs, and then releases its lease; none: until somebody does.
    pub runs: Option<Duration>,
}

/// A ledger in virtual time. What is due is posted as time passes and after everything that changes it, so between
/// calls nothing is due any more.
#[derive(Debug)]
pub struct VirtualCell {
    ledger: Ledger,
    now: Time,
    journal: Vec<(Time, Entry)>,
    /// What tickets are for that wait.
    waiting: HashMap<Id, Work>,
    /// When running work is done.
    done: BinaryHeap<Reverse<(Time, Id)>>,
    audits: bool,
    admitted: Vec<Id>,
    violations: Vec<Violation>,
}

impl VirtualCell {
    /// An empty cell at `start`; with `audits`, invariants are checked whenever nothing is due any more.
    pub fn new(start: Time, audits: bool) -> Self {
        Self {
            ledger: Ledger::new(),
            now: start,
            journal: Vec::new(),
            waiting: HashMap::new(),
            done: BinaryHeap::new(),
            audits,
            admitted: Vec::new(),
            violations: Vec::new(),
        }
    }

    /// The ledger as it stands.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The present instant.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Everything posted so far, or since it was last taken.
    pub fn journal(&self) -> &[(Time, Entry)] {
        &self.journal
    }

    /// Takes the journal, so that it does not grow without end; afterwards there is nothing to restart from.
    pub fn take_journal(&mut self) -> Vec<(Time, Entry)> {
        std::mem::take(&mut self.journal)
    }

    /// Takes what broke an invariant.
    pub fn take_violations(&mut self) -> Vec<Violation> {
        std::mem::take(&mut self.violations)
    }

    /// Changes the configuration.
    pub fn configure(&mut self, changes: Vec<Change>) -> Result<Vec<Problem>, Vec<Problem>> {
        let Configured { entry, warnings } = self.ledger.configure(self.now, changes)?;
        self.post(entry);
        self.settle();
        Ok(warnings)
    }

    /// Asks for a lease or a ticket, and takes it.
    pub fn acquire(&mut self, request: &Arc<Request>, work: Work) -> Result<Decision, Refusal> {
        let decision = self.ledger.admit(self.now, request)?;
        if let (Some(entry), Some(id)) = (decision.entry.clone(), decision.id) {
            self.post(entry);
            match decision.outcome {
                Outcome::Allow => self.started(id, work),
                Outcome::Queue => {
                    self.waiting.insert(id, work);
                }
                Outcome::Deny => {}
            }
            self.settle();
        }
        Ok(decision)
    }

    /// Asks whether hits may pass, and counts them where they may.
    pub fn hit(&mut self, hits: &[Hit]) -> Result<HitDecision, Refusal> {
        let decision = self.ledger.hit(self.now, hits)?;
        self.post_and_settle(decision.entry.clone());
        Ok(decision)
    }

    /// Confirms a lease.
    pub fn confirm(&mut self, id: Id) -> Result<(), Refusal> {
        let entry = self.ledger.confirm(self.now, id)?;
        self.post_and_settle(entry);
        Ok(())
    }

    /// Renews a lease or a ticket.
    pub fn renew(&mut self, id: Id, holder: Option<&Holder>) -> Result<(), Refusal> {
        let entry = self.ledger.renew(self.now, id, holder)?;
        self.post_and_settle(entry);
        Ok(())
    }

    /// Gives up a lease or a ticket.
    pub fn close(&mut self, id: Id, how: Close) -> Result<(), Refusal> {
        let entry = self.ledger.close(self.now, id, how)?;
        self.post_and_settle(entry);
        Ok(())
    }

    /// Changes a lease's size.
    pub fn amend(&mut self, id: Id, resources: &Amounts) -> Result<Amendment, Refusal> {
        let amendment = self.ledger.amend(self.now, id, resources)?;
        self.post_and_settle(amendment.entry.clone());
        Ok(amendment)
    }

    /// The next instant at which something happens by itself.
    pub fn next_instant(&self) -> Option<Time> {
        let done = self.done.peek().map(|Reverse((time, _))| *time);
        let due = self.ledger.next_due(self.now).filter(|due| *due > self.now);
        [done, due].into_iter().flatten().min()
    }

    /// Lets time pass to the next instant at which something happens, if that is not after `limit`; says whether.
    pub fn step(&mut self, limit: Time) -> bool {
        match self.next_instant() {
            Some(next) if next <= limit => {
                self.now = self.now.max(next);
                self.settle();
                true
            }
            _ => false,
        }
    }

    /// Lets time pass, up to and including `to`.
    pub fn advance(&mut self, to: Time) {
        while self.violations.is_empty() && self.step(to) {}
        if to > self.now {
            self.now = to;
            self.settle();
        }
    }

    /// Throws the ledger away and makes it anew from the journal, as a server does that starts again.
    pub fn restart(&mut self) {
        let mut ledger = Ledger::new();
        for (time, entry) in &self.journal {
            ledger.post(*time, entry);
        }
        let (before, after) = (self.ledger.digest(), ledger.digest());
        if before != after {
            let what = format!("the journal makes another ledger: digest {after:016x}, was {before:016x}");
            self.violations.push(Violation { invariant: "durability", what });
        }
        self.ledger = ledger;
        self.post(Entry::Resumed);
        self.settle();
    }

    fn post_and_settle(&mut self, entry: Option<Entry>) {
        if let Some(entry) = entry {
            self.post(entry);
            self.settle();
        }
    }

    fn post(&mut self, entry: Entry) {
        self.ledger.post(self.now, &entry);
        match Turn::of(&entry) {
            Some(Turn::Admitted(id) | Turn::Dispatched(id)) => self.admitted.push(id),
            Some(Turn::Ended(id, _)) => {
                self.waiting.remove(&id);
            }
            None => {}
        }
        self.journal.push((self.now, entry));
    }

    /// Work was admitted.
    fn started(&mut self, id: Id, work: Work) {
        if work.confirm
            && let Ok(Some(entry)) = self.ledger.confirm(self.now, id)
        {
            self.post(entry);
        }
        if let Some(runs) = work.runs {
            self.done.push(Reverse((self.now.after(runs), id)));
        }
    }

    /// What falls on this instant: work that is done gives up its lease, then whatever is due, until nothing is.
    fn settle(&mut self) {
        let mut entries = 0;
        loop {
            while let Some(Reverse((time, id))) = self.done.peek().copied() {
                if time > self.now {
                    break;
                }
                self.done.pop();
                // It may be gone already: revoked, or released by a step.
                if let Ok(Some(entry)) = self.ledger.close(self.now, id, Close::Release) {
                    self.post(entry);
                }
            }
            while let Some(entry) = self.ledger.due(self.now, &CivilCalendar) {
                entries += 1;
                if entries > DUE_ENTRIES_MAX {
                    let what =
                        format!("more than {DUE_ENTRIES_MAX} entries are due at one instant; the last is {entry:?}");
                    return self.violations.push(Violation { invariant: "convergence", what });
                }
                let turn = Turn::of(&entry);
                self.post(entry);
                if let Some(Turn::Dispatched(id)) = turn
                    && let Some(work) = self.waiting.remove(&id)
                {
                    self.started(id, work);
                }
            }
            if self.done.peek().is_none_or(|Reverse((time, _))| *time > self.now) {
                break;
            }
        }
        let admitted = std::mem::take(&mut self.admitted);
        if self.audits {
            self.violations.extend(self.ledger.audit(self.now, &admitted));
        }
    }
}

/// What an entry means for the work that a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It may start, as it was asked for.
    Admitted(Id),
    /// It may start, after it waited.
    Dispatched(Id),
    /// It is over, or will not start.
    Ended(Id, End),
}

impl Turn {
    /// The turn that an entry is; none where work goes on as it was.
    pub fn of(entry: &Entry) -> Option<Self> {
        match entry {
            Entry::Admitted { id, .. } => Some(Self::Admitted(*id)),
            Entry::Dispatched { id, .. } => Some(Self::Dispatched(*id)),
            Entry::Ended { id, end } => Some(Self::Ended(*id, *end)),
            Entry::Configured(_)
            | Entry::Queued { .. }
            | Entry::Confirmed { .. }
            | Entry::Renewed { .. }
            | Entry::Resized { .. }
            | Entry::Claimed { .. }
            | Entry::ClaimExtended { .. }
            | Entry::ClaimDropped { .. }
            | Entry::LetOff { .. }
            | Entry::HoldsPassed { .. }
            | Entry::Silenced { .. }
            | Entry::BudgetTurned { .. }
            | Entry::BurstOver { .. }
            | Entry::MemberGone { .. }
            | Entry::Drained { .. }
            | Entry::Hit { .. }
            | Entry::Resumed => None,
        }
    }
}
