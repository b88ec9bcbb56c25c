//! What one generator has seen of a run: counted, and timed in histograms.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer as _, V2Serializer};

use crate::calls::{Kind, REASONS};

/// The shortest time that is told from none, and the longest that is told from longer, in nanoseconds.
const LATENCY_NS: (u64, u64) = (64, 3_600_000_000_000);
const DIGITS: u8 = 3;
const SECOND_NS: u64 = 1_000_000_000;
/// Kinds of error that are told with an example.
const EXAMPLES_MAX: usize = 8;

/// An empty histogram of latencies.
pub(crate) fn histogram() -> Histogram<u64> {
    match Histogram::new_with_bounds(LATENCY_NS.0, LATENCY_NS.1, DIGITS) {
        Ok(histogram) => histogram,
        Err(_) => unreachable!("these bounds are good"),
    }
}

/// One second of a run: what was answered in it.
#[derive(Clone, Debug)]
pub(crate) struct Second {
    /// Counted from the beginning of the measurement.
    pub(crate) at: u64,
    pub(crate) errors: u64,
    /// Its latencies, in the compact form (V2) of HdrHistogram.
    pub(crate) latencies: Vec<u8>,
}

/// How an operation came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Allow,
    Queue,
    Deny(u8),
    Done,
    WithinLimit,
    OverLimit,
    /// What it failed with, in a word, and what was said of it.
    Failed(&'static str, String),
}

/// What is counted and timed.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    /// By the place of the kind in [`Kind::ALL`]: latencies from the intended start of what began within the measurement.
    pub(crate) latencies: Vec<Histogram<u64>>,
    /// How late operations were sent that there was room for, after the instant they were intended for.
    pub(crate) lag: Histogram<u64>,
    /// Operations that were answered within the measurement, by kind.
    pub(crate) answered: [u64; Kind::ALL.len()],
    pub(crate) allowed: u64,
    pub(crate) queued: u64,
    pub(crate) denied: [u64; REASONS],
    pub(crate) done: u64,
    pub(crate) within_limit: u64,
    pub(crate) over_limit: u64,
    pub(crate) errors: BTreeMap<&'static str, u64>,
    /// What was said of the first of each kind of error.
    pub(crate) examples: BTreeMap<&'static str, String>,
    /// Operations that were intended within the measurement, but never sent.
    pub(crate) unsent: u64,
    pub(crate) seconds: Vec<Second>,
    second: u64,
    second_errors: u64,
    now: Histogram<u64>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            latencies: Kind::ALL.iter().map(|_| histogram()).collect(),
            lag: histogram(),
            answered: [0; Kind::ALL.len()],
            allowed: 0,
            queued: 0,
            denied: [0; REASONS],
            done: 0,
            within_limit: 0,
            over_limit: 0,
            errors: BTreeMap::new(),
            examples: BTreeMap::new(),
            unsent: 0,
            seconds: Vec::new(),
            second: 0,
            second_errors: 0,
            now: histogram(),
        }
    }

    /// An operation was answered at `at`, counted from the beginning of the measurement, `latency` after its intended start.
    pub(crate) fn answered(&mut self, kind: Kind, at: u64, latency: u64, outcome: Outcome) {
        if at / SECOND_NS != self.second {
            self.turn(at / SECOND_NS);
        }
        self.latencies[kind as usize].saturating_record(latency);
        self.now.saturating_record(latency);
        self.answered[kind as usize] += 1;
        match outcome {
            Outcome::Allow => self.allowed += 1,
            Outcome::Queue => self.queued += 1,
            Outcome::Deny(reason) => self.denied[usize::from(reason)] += 1,
            Outcome::Done => self.done += 1,
            Outcome::WithinLimit => self.within_limit += 1,
            Outcome::OverLimit => self.over_limit += 1,
            Outcome::Failed(what, said) => self.failed(what, said),
        }
    }

    /// Something failed.
    pub(crate) fn failed(&mut self, what: &'static str, said: String) {
        self.second_errors += 1;
        *self.errors.entry(what).or_default() += 1;
        if self.examples.len() < EXAMPLES_MAX && !said.is_empty() {
            self.examples.entry(what).or_insert(said);
        }
    }

    /// Another second begins.
    fn turn(&mut self, second: u64) {
        if !self.now.is_empty() || self.second_errors > 0 {
            let mut latencies = Vec::new();
            // Writing to memory does not fail.
            let _ = V2Serializer::new().serialize(&self.now, &mut latencies);
            self.seconds.push(Second { at: self.second, errors: self.second_errors, latencies });
            self.now.reset();
        }
        (self.second, self.second_errors) = (second, 0);
    }

    /// The run is over.
    pub(crate) fn finish(mut self) -> Self {
        self.turn(u64::MAX);
        self
    }
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;
    use hdrhistogram::serialization::Deserializer;

    use super::{Outcome, Tally};
    use crate::calls::Kind;

    #[test]
    fn every_second_has_what_was_answered_in_it() {
        let mut tally = Tally::new();
        let second = 1_000_000_000;
        for (at, outcome) in [(1, Outcome::Allow), (2, Outcome::Deny(3)), (second * 3, Outcome::Allow)] {
            tally.answered(Kind::Acquire, at, 5_000, outcome);
        }
        tally.answered(Kind::Check, second * 3 + 1, 7_000, Outcome::Failed("UNAVAILABLE", "down".to_owned()));
        let tally = tally.finish();
        let seen: Vec<_> = tally
            .seconds
            .iter()
            .map(|second| {
                let read: Histogram<u64> =
                    Deserializer::new().deserialize(&mut second.latencies.as_slice()).expect("a histogram");
                (second.at, read.len(), second.errors)
            })
            .collect();
        assert_eq!(seen, [(0, 2, 0), (3, 2, 1)]);
        assert_eq!((tally.allowed, tally.denied[3], tally.errors["UNAVAILABLE"]), (2, 1, 1));
        assert_eq!(tally.examples["UNAVAILABLE"], "down");
        assert_eq!(tally.answered, [1, 3, 0, 0, 0, 0]);
    }
}
