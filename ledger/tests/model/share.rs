//! Shares as exact fractions.

use std::cmp::Ordering;

use super::config::ONE;

/// A fraction with a denominator above zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    pub(crate) parts: i128,
    pub(crate) of: i128,
}

impl Share {
    pub(crate) const ZERO: Share = Share { parts: 0, of: 1 };

    /// The largest of amount ÷ capacity, ÷ weight. "Weight zero counts as one here; capacity zero
    /// for nothing."
    pub(crate) fn dominant(amounts: impl Iterator<Item = (i64, i64)>, weight: u64) -> Share {
        let weight = i128::from(if weight == 0 { ONE } else { weight });
        let shares = amounts.filter(|(_, capacity)| *capacity > 0).map(|(amount, capacity)| Share {
            parts: i128::from(amount) * i128::from(ONE),
            of: i128::from(capacity) * weight,
        });
        shares.max().unwrap_or(Share::ZERO)
    }
}

impl Ord for Share {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.parts * other.of).cmp(&(other.parts * self.of))
    }
}

impl PartialOrd for Share {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Share {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Share {}
