//! The leases of a leaf that may be taken back, in the order in which they would be.

use std::cmp::Reverse;

use crate::granted::Lease;
use crate::request::Id;
use crate::rows::Rows;
use crate::time::Time;

/// A lease's place among those of its leaf that may be taken back, the last to go first: the highest priority, then the
/// oldest. Of those admitted in one instant the younger has the greater number, as numbers are given out in the order of
/// arrival.
pub(crate) type VictimKey = (Reverse<i32>, Time, Id);

/// The leases of a leaf that may be taken back. The one that comes is the youngest, which mostly would go first: the last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Victims(Rows<VictimKey>);

impl Victims {
    /// One is about to come.
    pub(crate) fn announce(&self) {
        self.0.announce();
    }

    /// Takes one in, once.
    pub(crate) fn insert(&mut self, key: VictimKey) {
        self.0.insert(key);
    }

    /// Lets one go, where it is here.
    pub(crate) fn remove(&mut self, key: &VictimKey) {
        self.0.remove(key);
    }

    /// All, the first to go first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Id> + '_ {
        self.0.iter().rev().map(|(_, _, id)| *id)
    }
}

/// A lease's place among those that may be taken back; none where it may not.
pub(crate) fn victim_key(lease: &Lease) -> Option<VictimKey> {
    let may = lease.observed().is_none() && lease.request.borrow && lease.deadline().is_none();
    may.then_some((Reverse(lease.request.priority), lease.admitted, lease.id))
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use super::Victims;
    use crate::request::Id;
    use crate::time::Time;

    #[test]
    fn the_lowest_priority_goes_first_then_the_youngest() {
        let mut victims = Victims::default();
        let key = |priority, admitted, id| (Reverse(priority), Time::from_nanos(admitted), Id(id));
        for (priority, admitted, id) in [(1, 5, 2), (0, 5, 3), (0, 5, 4), (0, 6, 1), (-1, 1, 9)] {
            victims.insert(key(priority, admitted, id));
        }
        assert!(victims.iter().eq([9, 1, 4, 3, 2].map(Id)));
        victims.remove(&key(0, 6, 1));
        victims.remove(&key(0, 6, 9));
        assert!(victims.iter().eq([9, 4, 3, 2].map(Id)));
    }
}
