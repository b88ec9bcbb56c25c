//! When operations are to start: the open loop. Latency is counted from these instants, whatever keeps an operation from
//! being sent at its own.

use crate::random::Random;

const SECOND: f64 = 1e9;

/// How operations come within a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Arrivals {
    /// One after another, evenly.
    Constant,
    /// As independent callers come: the time between two is exponential.
    Poisson,
}

/// A rate, for so long.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Step {
    /// Operations in a second.
    pub(crate) rate: f64,
    /// For how long, in seconds; the last step lasts as long as the test.
    #[serde(deserialize_with = "seconds_or_forever")]
    pub(crate) seconds: f64,
}

/// JSON has no infinity: it is written as null.
fn seconds_or_forever<'de, D: serde::Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let read: Option<f64> = serde::Deserialize::deserialize(from)?;
    Ok(read.unwrap_or(f64::INFINITY))
}

/// Operations that come all at once, on top of the rate.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Bursts {
    /// How many.
    pub(crate) size: u64,
    /// How often, in seconds.
    pub(crate) every_s: f64,
}

/// What is asked of all generators together.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Pace {
    pub(crate) steps: Vec<Step>,
    pub(crate) bursts: Option<Bursts>,
    pub(crate) arrivals: Arrivals,
}

impl Pace {
    /// One rate throughout.
    pub(crate) fn constant(rate: f64, arrivals: Arrivals) -> Self {
        Self { steps: vec![Step { rate, seconds: f64::INFINITY }], bursts: None, arrivals }
    }

    /// How many operations are to start in so many seconds from `from` on, on average.
    pub(crate) fn asked(&self, from_s: f64, until_s: f64) -> f64 {
        let mut asked = 0.0;
        let mut begin = 0.0;
        for (at, step) in self.steps.iter().enumerate() {
            let end = if at + 1 == self.steps.len() { f64::INFINITY } else { begin + step.seconds };
            asked += step.rate * (until_s.min(end) - from_s.max(begin)).max(0.0);
            begin = end;
        }
        let burst = |bursts: &Bursts| {
            let until = |time: f64| (time / bursts.every_s).floor();
            (until(until_s) - until(from_s)) * bursts.size as f64
        };
        asked + self.bursts.as_ref().map_or(0.0, burst)
    }
}

/// One generator's part of it: instants that never run back, in nanoseconds after the start.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    pace: Pace,
    part: f64,
    random: Random,
    /// The next by the rate.
    at: f64,
    step: usize,
    step_ends: f64,
    /// The next burst, and how many of its operations are still to come.
    burst_at: f64,
    burst_left: u64,
    burst_size: u64,
}

impl Schedule {
    /// Of generator `at` of `of`.
    pub(crate) fn new(pace: &Pace, seed: u64, at: usize, of: usize) -> Self {
        let share = |bursts: &Bursts| {
            let until = |at: usize| bursts.size * at as u64 / of as u64;
            until(at + 1) - until(at)
        };
        let burst_size = pace.bursts.as_ref().map_or(0, share);
        let mut schedule = Self {
            pace: pace.clone(),
            part: 1.0 / of as f64,
            random: Random::new(seed, at as u64 | 1 << 32),
            at: 0.0,
            step: 0,
            step_ends: 0.0,
            burst_at: pace.bursts.as_ref().map_or(f64::INFINITY, |bursts| bursts.every_s * SECOND),
            burst_left: burst_size,
            burst_size,
        };
        schedule.step_ends = schedule.end_of_step(0.0);
        // Evenly spaced generators take turns.
        let first = match pace.arrivals {
            Arrivals::Constant => (at + 1) as f64 / of as f64,
            Arrivals::Poisson => schedule.random.exponential(),
        };
        schedule.advance(first);
        schedule
    }

    /// When the next is to start.
    pub(crate) fn next_at(&self) -> u64 {
        self.at.min(if self.burst_size > 0 { self.burst_at } else { f64::INFINITY }) as u64
    }

    /// Takes the next.
    pub(crate) fn take(&mut self) {
        if self.burst_size > 0 && self.burst_at <= self.at {
            self.burst_left -= 1;
            if self.burst_left == 0 {
                self.burst_left = self.burst_size;
                self.burst_at += self.pace.bursts.as_ref().map_or(f64::INFINITY, |bursts| bursts.every_s * SECOND);
            }
            return;
        }
        let work = match self.pace.arrivals {
            Arrivals::Constant => 1.0,
            Arrivals::Poisson => self.random.exponential(),
        };
        self.advance(work);
    }

    /// Lets time pass until so many operations would have come on average.
    fn advance(&mut self, mut work: f64) {
        loop {
            let rate = self.pace.steps[self.step].rate * self.part / SECOND;
            let reached = if rate > 0.0 { self.at + work / rate } else { f64::INFINITY };
            if reached <= self.step_ends || self.step + 1 == self.pace.steps.len() {
                self.at = reached;
                return;
            }
            work -= rate * (self.step_ends - self.at);
            self.at = self.step_ends;
            self.step += 1;
            self.step_ends = self.end_of_step(self.at);
        }
    }

    fn end_of_step(&self, from: f64) -> f64 {
        let last = self.step + 1 == self.pace.steps.len();
        if last { f64::INFINITY } else { from + self.pace.steps[self.step].seconds * SECOND }
    }
}

#[cfg(test)]
mod tests {
    use super::{Arrivals, Bursts, Pace, Schedule, Step};

    fn instants(pace: &Pace, of: usize, until_s: f64) -> Vec<u64> {
        let mut all = Vec::new();
        for at in 0..of {
            let mut schedule = Schedule::new(pace, 1, at, of);
            while schedule.next_at() < (until_s * 1e9) as u64 {
                all.push(schedule.next_at());
                schedule.take();
            }
        }
        all.sort_unstable();
        all
    }

    #[test]
    fn even_generators_take_turns() {
        let pace = Pace::constant(1000.0, Arrivals::Constant);
        let instants = instants(&pace, 4, 1.0);
        assert!((999..=1000).contains(&instants.len()), "{}", instants.len());
        assert!(instants.windows(2).all(|pair| (pair[1] - pair[0]).abs_diff(1_000_000) < 10), "{instants:?}");
    }

    #[test]
    fn independent_callers_come_at_the_rate_and_unevenly() {
        let instants = instants(&Pace::constant(10_000.0, Arrivals::Poisson), 3, 2.0);
        assert!((19_500..20_500).contains(&instants.len()), "{}", instants.len());
        let gaps: Vec<f64> = instants.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1e5).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean - 1.0).abs() < 0.05 && (variance - 1.0).abs() < 0.1, "{mean} {variance}");
    }

    #[test]
    fn steps_follow_each_other_and_the_last_stays() {
        let steps = [(100.0, 1.0), (0.0, 1.0), (1000.0, 1.0)].map(|(rate, seconds)| Step { rate, seconds });
        let pace = Pace { steps: steps.to_vec(), bursts: None, arrivals: Arrivals::Constant };
        let instants = instants(&pace, 2, 4.0);
        let within = |from: f64, until: f64| {
            instants.iter().filter(|at| (from * 1e9..until * 1e9).contains(&(**at as f64))).count()
        };
        assert!((98..=101).contains(&within(0.0, 1.001)), "{}", within(0.0, 1.001));
        assert_eq!(within(1.001, 2.0), 0);
        assert!((1997..=2001).contains(&within(2.0, 4.0)), "{}", within(2.0, 4.0));
        assert_eq!((pace.asked(0.0, 4.0), pace.asked(0.5, 2.5)), (2100.0, 550.0));
    }

    #[test]
    fn a_burst_comes_at_once_on_top() {
        let bursts = Some(Bursts { size: 50, every_s: 0.5 });
        let pace = Pace { bursts, ..Pace::constant(10.0, Arrivals::Constant) };
        let instants = instants(&pace, 3, 1.1);
        let at = |time: u64| instants.iter().filter(|at| **at == time).count();
        assert!(at(500_000_000) >= 50 && at(1_000_000_000) >= 50, "{instants:?}");
        assert!((110..=111).contains(&instants.len()), "{}", instants.len());
        assert_eq!(pace.asked(0.0, 1.1), 111.0);
    }

    #[test]
    fn a_rate_that_lasts_reads_back_as_it_was_written() {
        let pace = Pace::constant(1000.0, Arrivals::Poisson);
        let text = serde_json::to_string(&pace).expect("JSON");
        assert_eq!(serde_json::from_str::<Pace>(&text).expect("a pace"), pace);
    }
}
