//! A leaf's tickets: lines of tickets that ask for the same, in the order of tickets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::pool::Ask;
use crate::request::Id;
use crate::time::{Time, nanos_of};

/// A ticket's place in the order of tickets. Fixed on arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TicketKey {
    /// Arrival less priority times `age_step`; where that is zero, priority alone, the highest first.
    rank: i128,
    arrived: Time,
    pub(crate) id: Id,
}

impl TicketKey {
    pub(crate) fn new(arrived: Time, priority: i32, age_step: Duration, id: Id) -> Self {
        let priority = i128::from(priority);
        let rank = if age_step.is_zero() {
            -priority
        } else {
            i128::from(arrived.nanos()) - priority * i128::from(nanos_of(age_step))
        };
        Self { rank, arrived, id }
    }

    /// What a snapshot keeps of it.
    pub(crate) fn rank(&self) -> i128 {
        self.rank
    }

    /// From what a snapshot kept.
    pub(crate) fn from_rank(rank: i128, arrived: Time, id: Id) -> Self {
        Self { rank, arrived, id }
    }
}

/// What tickets of one line have in common: they can be admitted in the same states of the ledger, all or none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shape {
    /// Of as many instances as are admitted at least.
    pub(crate) ask: Ask,
    /// May it borrow.
    pub(crate) borrow: bool,
}

/// Tickets of one leaf that ask for the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    /// Those without a claim.
    pub(crate) open: BTreeSet<TicketKey>,
    /// The same by arrival.
    pub(crate) arrivals: BTreeSet<(Time, Id)>,
}

/// A leaf's tickets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    /// All but those passed over, with a claim or without.
    pub(crate) order: BTreeSet<TicketKey>,
    /// By what they ask for, without those passed over.
    pub(crate) lines: BTreeMap<Shape, Line>,
    /// All, those passed over included.
    pub(crate) len: u32,
}

impl Queue {
    /// Takes a ticket into its line.
    pub(crate) fn open(&mut self, shape: &Shape, key: TicketKey, arrived: Time) {
        let line = match self.lines.get_mut(shape) {
            Some(line) => line,
            None => self.lines.entry(shape.clone()).or_default(),
        };
        line.open.insert(key);
        line.arrivals.insert((arrived, key.id));
    }

    /// Takes a ticket out of its line: it has a claim now, is passed over or gone.
    pub(crate) fn shut(&mut self, shape: &Shape, key: TicketKey, arrived: Time) {
        if let Some(line) = self.lines.get_mut(shape) {
            line.open.remove(&key);
            line.arrivals.remove(&(arrived, key.id));
            if line.open.is_empty() {
                self.lines.remove(shape);
            }
        }
    }
}
