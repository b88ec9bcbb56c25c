//! What came of runs: for programs (JSON), for people (text), and as one page with plots.

pub(crate) mod assertion;
pub(crate) mod figures;
pub(crate) mod log;
pub(crate) mod merge;
pub(crate) mod named;
pub(crate) mod page;
pub(crate) mod plot;
pub(crate) mod ratio;
pub(crate) mod text;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::checker::Nearest;
use crate::drive::link::Load;
use crate::schedule::Pace;
use crate::watchers::Watched;
use figures::Run;

/// The version of the form; another one is refused.
pub(crate) const VERSION: u32 = 1;

/// All runs against one target.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Outcome {
    pub(crate) version: u32,
    pub(crate) target: String,
    pub(crate) scenario: String,
    pub(crate) seed: u64,
    #[serde(flatten)]
    pub(crate) load: Load,
    pub(crate) generators: usize,
    /// None: a closed loop.
    pub(crate) pace: Option<Pace>,
    /// Each repetition.
    pub(crate) runs: Vec<Run>,
    pub(crate) checked: Checked,
    /// What watchers beside the load saw, where there were any.
    pub(crate) watched: Option<Watched>,
}

/// What the checker found.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Checked {
    /// How many limits were checked.
    pub(crate) limits: usize,
    pub(crate) violations: u64,
    /// Some of them, in words.
    pub(crate) told: Vec<String>,
    /// The limit that came nearest to being exceeded.
    pub(crate) nearest: Option<Nearest>,
    /// Leases and tickets that were left in the end.
    pub(crate) left: u64,
}

/// The middle one, and the least and the most.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Median {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Median {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let even = values.len().is_multiple_of(2);
        let median = if even { (values[middle - 1] + values[middle]) / 2.0 } else { values[middle] };
        Some(Self { median, least, most })
    }
}

impl Outcome {
    /// What is to be known before the figures are believed, each thing once.
    pub(crate) fn remarks(&self) -> BTreeSet<&str> {
        self.runs.iter().flat_map(|run| &run.remarks).map(String::as_str).collect()
    }

    /// A figure of each repetition, together.
    pub(crate) fn median(&self, figure: impl Fn(&Run) -> f64) -> Option<Median> {
        Median::of(self.runs.iter().map(figure))
    }
}

#[cfg(test)]
mod tests {
    use super::Median;

    #[test]
    fn the_median_is_in_the_middle() {
        for (values, expected) in
            [(&[3.0, 1.0, 2.0][..], Some((2.0, 1.0, 3.0))), (&[4.0, 1.0, 2.0, 3.0], Some((2.5, 1.0, 4.0))), (&[], None)]
        {
            let got = Median::of(values.iter().copied()).map(|of| (of.median, of.least, of.most));
            assert_eq!(got, expected);
        }
    }
}
