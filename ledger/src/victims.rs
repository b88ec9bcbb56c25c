//! The leases of a leaf that may be taken back, in the order in which they would be.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::prefetch::prefetch;
use crate::request::{Id, Lease};
use crate::time::Time;

/// So many are kept in a row: a kilobyte or two, moved in the time of a lookup in a tree.
const FEW_MAX: usize = 48;

/// A lease's place among those of its leaf that may be taken back: the lowest priority, then the youngest.
pub(crate) type VictimKey = (i32, Reverse<Time>, Reverse<Time>, Reverse<Id>);

/// The leases of a leaf that may be taken back.
///
/// Mostly they are few, and the one that comes is the youngest, which would go first: a row with the first at its end takes
/// it without moving anything.
#[derive(Clone, Debug)]
pub(crate) enum Victims {
    /// The first to go last.
    Few(Vec<VictimKey>),
    /// The first to go first.
    Many(BTreeSet<VictimKey>),
}

impl Default for Victims {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Victims {
    /// One is about to come.
    pub(crate) fn announce(&self) {
        if let Self::Few(row) = self
            && let Some(last) = row.last()
        {
            prefetch(last);
        }
    }

    /// Takes one in, once.
    pub(crate) fn insert(&mut self, key: VictimKey) {
        match self {
            // Mostly it is the first to go of all: then nothing but the end of the row is looked at.
            Self::Few(row) if row.len() < FEW_MAX && row.last().is_none_or(|last| *last > key) => row.push(key),
            Self::Few(row) if row.len() < FEW_MAX => {
                let at = row.partition_point(|other| *other > key);
                if row.get(at) != Some(&key) {
                    row.insert(at, key);
                }
            }
            Self::Few(row) => {
                let mut many: BTreeSet<_> = row.drain(..).collect();
                many.insert(key);
                *self = Self::Many(many);
            }
            Self::Many(many) => {
                many.insert(key);
            }
        }
    }

    /// Lets one go, where it is here.
    pub(crate) fn remove(&mut self, key: &VictimKey) {
        match self {
            Self::Few(row) if row.last() == Some(key) => {
                row.pop();
            }
            Self::Few(row) => {
                if let Ok(at) = row.binary_search_by(|other| key.cmp(other)) {
                    row.remove(at);
                }
            }
            Self::Many(many) => {
                many.remove(key);
                // Far enough below that nothing goes back and forth.
                if many.len() < FEW_MAX / 4 {
                    *self = Self::Few(std::mem::take(many).into_iter().rev().collect());
                }
            }
        }
    }

    /// All, the first to go first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Id> + '_ {
        let (row, many) = match self {
            Self::Few(row) => (Some(row), None),
            Self::Many(many) => (None, Some(many)),
        };
        let row = row.into_iter().flat_map(|row| row.iter().rev());
        row.chain(many.into_iter().flatten()).map(|(_, _, _, Reverse(id))| *id)
    }
}

/// A lease's place among those that may be taken back; none where it may not.
pub(crate) fn victim_key(lease: &Lease) -> Option<VictimKey> {
    let may = lease.observed.is_none() && lease.request.borrow && lease.deadline.is_none();
    may.then_some((lease.request.priority, Reverse(lease.admitted), Reverse(lease.arrived), Reverse(lease.id)))
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::BTreeSet;

    use super::{FEW_MAX, VictimKey, Victims};
    use crate::request::Id;
    use crate::time::Time;

    fn key(number: u64) -> VictimKey {
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let at = Reverse(Time::from_nanos(mixed % 1000));
        ((mixed % 3) as i32, at, at, Reverse(Id(number)))
    }

    #[test]
    fn few_or_many_they_go_in_one_order() {
        let (mut victims, mut plain) = (Victims::default(), BTreeSet::new());
        let check = |victims: &Victims, plain: &BTreeSet<VictimKey>| {
            assert!(victims.iter().eq(plain.iter().map(|(_, _, _, Reverse(id))| *id)));
        };
        let all = 3 * FEW_MAX as u64;
        for number in 0..all {
            victims.insert(key(number));
            victims.insert(key(number));
            plain.insert(key(number));
            check(&victims, &plain);
        }
        assert!(matches!(victims, Victims::Many(_)));
        for number in (0..all).map(|number| number * 7 % all) {
            victims.remove(&key(number));
            victims.remove(&key(number));
            plain.remove(&key(number));
            check(&victims, &plain);
        }
        assert!(matches!(victims, Victims::Few(_)) && plain.is_empty());
    }
}
