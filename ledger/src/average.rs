//! The decayed average of usage that shares are taken of where a pool has a half-life.
//!
//! Fixed point, decayed at stated instants: a half-life has [`STEPS`] steps, counted from the epoch. At the end of a
//! step the average moves towards the mean usage of that step. Between changes usage is constant, so any number of
//! steps is one multiplication by a power, and a node is only touched when its usage changes or is looked at.

use std::time::Duration;

use crate::time::{Time, nanos_of};

/// Steps in a half-life.
const STEPS: u64 = 64;
/// Bits below the point of an average.
pub(crate) const AVERAGE_BITS: u32 = 10;
/// One, in the unit of factors.
const ONE: u128 = 1 << 62;
/// 2 to the power of -1/64, in the unit of factors, rounded down.
const FACTOR: u128 = 4_562_008_997_483_360_349;

/// One resource's average in one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Average {
    /// As of the end of the last whole step.
    value: i128,
    /// Usage times nanoseconds, since then.
    gathered: i128,
    /// When the last change was taken in.
    seen: u64,
}

fn power(steps: u64) -> u128 {
    let (mut result, mut base, mut left) = (ONE, FACTOR, steps);
    while left > 0 && result > 0 {
        if left & 1 == 1 {
            result = (result * base) >> 62;
        }
        base = (base * base) >> 62;
        left >>= 1;
    }
    result
}

/// `value` moved towards `target` for so many steps.
fn decayed(value: i128, target: i128, steps: u64) -> i128 {
    // The difference has at most 72 bits and the factor 62: split so that the product fits.
    let factor = power(steps) as i128;
    let difference = value - target;
    let (high, low) = (difference >> 40, difference & ((1 << 40) - 1));
    target + ((high * factor) >> 22) + ((low * factor) >> 62)
}

impl Average {
    /// Takes in that usage was `usage` until `now`.
    pub(crate) fn pass(&mut self, usage: i64, now: Time, half_life: Duration) {
        let step = (nanos_of(half_life) / STEPS).max(1);
        let now = now.nanos().max(self.seen);
        let (from, to) = (self.seen / step, now / step);
        let usage = i128::from(usage);
        if from == to {
            self.gathered += usage * i128::from(now - self.seen);
        } else {
            let first = self.gathered + usage * i128::from((from + 1) * step - self.seen);
            let mean = (first << AVERAGE_BITS) / i128::from(step);
            self.value = decayed(decayed(self.value, mean, 1), usage << AVERAGE_BITS, to - from - 1);
            self.gathered = usage * i128::from(now - to * step);
        }
        self.seen = now;
    }

    /// The average at `now`, where usage has been `usage` since the last change.
    pub(crate) fn at(mut self, usage: i64, now: Time, half_life: Duration) -> u128 {
        self.pass(usage, now, half_life);
        u128::try_from(self.value).unwrap_or(0)
    }

    /// What a snapshot keeps.
    pub(crate) fn parts(self) -> (i128, i128, u64) {
        (self.value, self.gathered, self.seen)
    }

    /// From what a snapshot kept.
    pub(crate) fn from_parts((value, gathered, seen): (i128, i128, u64)) -> Self {
        Self { value, gathered, seen }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{AVERAGE_BITS, Average};
    use crate::time::Time;

    const HALF: Duration = Duration::from_secs(64);

    fn second(n: u64) -> Time {
        Time::from_nanos(n * 1_000_000_000)
    }

    #[test]
    fn a_half_life_halves() {
        let mut average = Average::default();
        average.pass(0, second(64_000), HALF);
        average.pass(1000, second(64_000 + 64), HALF);
        let risen = average.at(1000, second(64_000 + 64), HALF) >> AVERAGE_BITS;
        assert!((499..=501).contains(&risen), "{risen}");
        let fallen = average.at(0, second(64_000 + 128), HALF) >> AVERAGE_BITS;
        assert!((249..=251).contains(&fallen), "{fallen}");
    }

    #[test]
    fn looking_changes_nothing() {
        let (mut once, mut often) = (Average::default(), Average::default());
        once.pass(7, second(1000), HALF);
        for n in 1..=1000 {
            let _ = often.at(7, second(n), HALF);
        }
        often.pass(7, second(1000), HALF);
        assert_eq!(once, often);
    }
}
