//! Children by bundles: of a node with thousands of children a change touches one, and what the others would say need not
//! be asked again. Children are taken by the dozen, bundles by the dozen again, and each bundle has a stamp that grows with
//! every change below it.

use std::ops::Range;

use crate::request::Id;
use crate::time::Time;

/// Children, or bundles, in a bundle; with fewer children there are none. Where things are checked there are few, so that
/// small trees have bundles of bundles too.
pub(crate) const WIDE: usize = if cfg!(debug_assertions) { 2 } else { 32 };

/// Some children.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bundle {
    /// That of the node, when one of these children changed last.
    pub(crate) stamp: u64,
    /// Of the tickets below, the one that waits longest.
    pub(crate) oldest: Option<(Time, Id)>,
}

/// A node's bundles, from those of children up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bundles(Vec<Vec<Bundle>>);

impl Bundles {
    /// Of so many children, as they are at a stamp; each with who waits longest below it.
    pub(crate) fn new(stamp: u64, oldest: &[Option<(Time, Id)>]) -> Self {
        let mut levels = Vec::new();
        let mut below = oldest.to_vec();
        while below.len() > WIDE {
            below = below.chunks(WIDE).map(|some| some.iter().flatten().min().copied()).collect();
            levels.push(below.iter().map(|oldest| Bundle { stamp, oldest: *oldest }).collect());
        }
        Self(levels)
    }

    /// A child changed.
    pub(crate) fn touch(&mut self, place: usize, stamp: u64) {
        let mut at = place;
        for level in &mut self.0 {
            at /= WIDE;
            if let Some(bundle) = level.get_mut(at) {
                bundle.stamp = stamp;
            }
        }
    }

    /// Who waits longest in the bundle of a child changed: it is this one now. Who waits longest below the node.
    pub(crate) fn pass_oldest(&mut self, place: usize, oldest: Option<(Time, Id)>) -> Option<(Time, Id)> {
        let (mut at, mut oldest) = (place, oldest);
        for level in 0..self.0.len() {
            at /= WIDE;
            if let Some(bundle) = self.0[level].get_mut(at) {
                bundle.oldest = oldest;
            }
            let sisters = Self::range(at / WIDE, self.0[level].len());
            oldest = self.0[level][sisters].iter().filter_map(|bundle| bundle.oldest).min();
        }
        oldest
    }

    /// How many levels there are; children are below the first.
    pub(crate) fn levels(&self) -> usize {
        self.0.len()
    }

    /// The bundles of a level, from 1.
    pub(crate) fn level(&self, level: usize) -> &[Bundle] {
        level.checked_sub(1).and_then(|level| self.0.get(level)).map_or(&[], Vec::as_slice)
    }

    /// What of so many is in a bundle.
    pub(crate) fn range(bundle: usize, many: usize) -> Range<usize> {
        (bundle * WIDE).min(many)..((bundle + 1) * WIDE).min(many)
    }
}

#[cfg(test)]
mod tests {
    use super::{Bundles, WIDE};
    use crate::request::Id;
    use crate::time::Time;

    #[test]
    fn bundles_tell_who_waits_longest() {
        let many = WIDE * WIDE * 2 + 5;
        let waits = |at: usize| (Time::from_nanos((at as u64 * 7919) % 1_000_003), Id(at as u64));
        let mut oldest: Vec<_> = (0..many).map(|at| (at % 3 > 0).then(|| waits(at))).collect();
        let mut bundles = Bundles::new(1, &oldest);
        assert!(bundles.levels() >= 2);
        for step in 0..many {
            let place = (step * 31) % many;
            oldest[place] = if step % 2 == 0 { None } else { Some(waits(step)) };
            let some = oldest[Bundles::range(place / WIDE, many)].iter().flatten().min().copied();
            assert_eq!(bundles.pass_oldest(place, some), oldest.iter().flatten().min().copied());
            bundles.touch(place, 2 + step as u64);
            assert_eq!(bundles.level(1)[place / WIDE].stamp, 2 + step as u64);
            assert_eq!(bundles.level(2)[place / WIDE / WIDE].stamp, 2 + step as u64);
        }
        assert_eq!(Bundles::range(1, WIDE + 1), WIDE..WIDE + 1);
    }
}
