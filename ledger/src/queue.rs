//! A leaf's tickets: lines of tickets that ask for the same, in the order of tickets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::ask::Ask;
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
    /// The pool's number for what they ask for.
    pub(crate) shape: usize,
    /// Those without a claim.
    pub(crate) open: BTreeSet<TicketKey>,
    /// The same by how long they wait, as holds tell it.
    pub(crate) waits: BTreeSet<(Time, Id)>,
    /// Some of them may have had their turn of a hold: they have waited longer than that tells.
    pub(crate) turned: bool,
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
    pub(crate) fn open(&mut self, shapes: &mut Shapes, shape: &Shape, key: TicketKey, waits: (Time, Id)) {
        let turned = waits.0 != key.arrived;
        let line = match self.lines.get_mut(shape) {
            Some(line) => line,
            None => {
                let number = shapes.take(shape);
                self.lines.entry(shape.clone()).or_insert(Line { shape: number, ..Line::default() })
            }
        };
        line.open.insert(key);
        line.waits.insert(waits);
        line.turned |= turned;
    }

    /// Takes a ticket out of its line: it has a claim now, is passed over or gone.
    pub(crate) fn shut(&mut self, shapes: &mut Shapes, shape: &Shape, key: TicketKey, waits: (Time, Id)) {
        if let Some(line) = self.lines.get_mut(shape) {
            line.open.remove(&key);
            line.waits.remove(&waits);
            if line.open.is_empty() {
                self.lines.remove(shape);
                shapes.leave(shape);
            }
        }
    }
}

/// The distinct shapes that wait in a pool, each with a number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shapes {
    /// Each with its number, and how many leaves have a line of it.
    known: BTreeMap<Shape, (usize, u32)>,
    numbered: Vec<Option<Shape>>,
    spare: Vec<usize>,
}

impl Shapes {
    fn take(&mut self, shape: &Shape) -> usize {
        if let Some((number, lines)) = self.known.get_mut(shape) {
            *lines += 1;
            return *number;
        }
        let number = match self.spare.pop() {
            Some(number) => {
                self.numbered[number] = Some(shape.clone());
                number
            }
            None => {
                self.numbered.push(Some(shape.clone()));
                self.numbered.len() - 1
            }
        };
        self.known.insert(shape.clone(), (number, 1));
        number
    }

    fn leave(&mut self, shape: &Shape) {
        if let Some((number, lines)) = self.known.get_mut(shape) {
            *lines -= 1;
            if *lines == 0 {
                self.numbered[*number] = None;
                self.spare.push(*number);
                self.known.remove(shape);
            }
        }
    }

    /// The shape of a number.
    pub(crate) fn get(&self, number: usize) -> Option<&Shape> {
        self.numbered.get(number)?.as_ref()
    }

    /// Every shape that waits somewhere, by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Shape)> {
        self.numbered.iter().enumerate().filter_map(|(number, shape)| Some((number, shape.as_ref()?)))
    }
}
