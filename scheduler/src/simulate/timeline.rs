//! How amounts went over time, in a bounded number of steps however long it takes.

use headgate_ledger::Time;

/// Steps of a timeline: more than a page has columns for.
const STEPS_MAX: u64 = 512;

/// Averages of several amounts over equal steps of time. Whenever time runs past the last step, steps become twice as
/// long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    start: Time,
    /// Nanoseconds of a step.
    width: u64,
    seen: Time,
    now: Vec<u64>,
    /// By step, then by amount: amount times nanoseconds.
    steps: Vec<Vec<u128>>,
}

impl Timeline {
    /// A timeline of so many amounts, all zero at the start.
    pub(super) fn new(start: Time, amounts: usize) -> Self {
        const SECOND: u64 = 1_000_000_000;
        Self { start, width: SECOND, seen: start, now: vec![0; amounts], steps: Vec::new() }
    }

    /// Sets an amount from `time` on.
    pub(super) fn set(&mut self, time: Time, which: usize, amount: u64) {
        self.pass(time);
        if let Some(now) = self.now.get_mut(which) {
            *now = amount;
        }
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, to: Time) {
        while to.nanos().saturating_sub(self.start.nanos()) > self.width.saturating_mul(STEPS_MAX) {
            self.width = self.width.saturating_mul(2);
            let pairs = self.steps.chunks(2).map(|pair| {
                let other = |at: usize| pair.get(1).map_or(0, |step| step[at]);
                pair[0].iter().enumerate().map(|(at, sum)| sum + other(at)).collect()
            });
            self.steps = pairs.collect();
        }
        while self.seen < to {
            let passed = self.seen.nanos() - self.start.nanos();
            let step = usize::try_from(passed / self.width).unwrap_or(usize::MAX);
            let end = self.start.nanos().saturating_add((passed / self.width + 1).saturating_mul(self.width));
            let until = end.min(to.nanos());
            while self.steps.len() <= step {
                self.steps.push(vec![0; self.now.len()]);
            }
            for (sum, now) in self.steps[step].iter_mut().zip(&self.now) {
                *sum += u128::from(*now) * u128::from(until - self.seen.nanos());
            }
            self.seen = Time::from_nanos(until);
        }
    }

    /// Seconds of one step.
    pub fn step_s(&self) -> f64 {
        self.width as f64 / 1e9
    }

    /// The averages of an amount, step by step.
    pub fn averages(&self, which: usize) -> Vec<f64> {
        let total = self.seen.nanos() - self.start.nanos();
        let width = |step: usize| total.saturating_sub(step as u64 * self.width).min(self.width).max(1);
        let average =
            |(step, sums): (usize, &Vec<u128>)| sums.get(which).map_or(0.0, |sum| *sum as f64 / width(step) as f64);
        self.steps.iter().enumerate().map(average).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use headgate_ledger::Time;
    use proptest::prelude::*;

    use super::{STEPS_MAX, Timeline};

    fn at(seconds: u64) -> Time {
        Time::EPOCH.after(Duration::from_secs(seconds))
    }

    #[test]
    fn steps_hold_averages() {
        let mut timeline = Timeline::new(at(100), 2);
        timeline.set(at(100), 0, 4);
        timeline.set(at(102), 0, 0);
        timeline.set(at(102), 1, 8);
        timeline.pass(Time::from_nanos(at(103).nanos() + 500_000_000));
        assert_eq!(timeline.averages(0), [4.0, 4.0, 0.0, 0.0]);
        assert_eq!(timeline.averages(1), [0.0, 0.0, 8.0, 8.0], "a step that is not over counts by what is over of it");
    }

    #[test]
    fn steps_get_longer_and_lose_nothing() {
        let mut timeline = Timeline::new(at(0), 1);
        timeline.set(at(0), 0, 1);
        timeline.set(at(1), 0, 0);
        timeline.pass(at(100_000));
        assert_eq!(timeline.step_s(), 256.0);
        assert!((timeline.averages(0)[0] - 1.0 / 256.0).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn all_that_was_is_in_the_steps(changes in prop::collection::vec((0..10_000_u64, 0..1000_u64), 1..50)) {
            let mut timeline = Timeline::new(at(0), 1);
            let (mut time, mut amount, mut expected) = (0, 0, 0);
            for (after, next) in changes {
                expected += after * amount;
                (time, amount) = (time + after, next);
                timeline.set(at(time), 0, amount);
            }
            prop_assert!(timeline.steps.len() as u64 <= STEPS_MAX);
            let sum: u128 = timeline.steps.iter().map(|step| step[0]).sum();
            prop_assert_eq!(sum, u128::from(expected) * 1_000_000_000);
        }
    }
}
