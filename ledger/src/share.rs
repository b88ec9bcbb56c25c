//! Weighted dominant shares: exact rationals, so that ties are ties and no float decides anything.

use std::cmp::Ordering;

/// A non-negative rational. Compared exactly, by cross multiplication.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    num: u128,
    den: u128,
}

impl Share {
    pub(crate) const ZERO: Self = Self { num: 0, den: 1 };

    /// `amount ÷ capacity ÷ weight`, the weight in thousandths. A weight of zero counts as one, a capacity of zero
    /// counts for nothing.
    pub(crate) fn new(amount: u128, capacity: i64, weight: u32) -> Self {
        let capacity = u128::from(capacity.unsigned_abs());
        if capacity == 0 || amount == 0 {
            return Self::ZERO;
        }
        let weight = if weight == 0 { 1000 } else { weight };
        Self { num: amount.saturating_mul(1000), den: capacity * u128::from(weight) }
    }

    /// In millionths, rounded down.
    pub(crate) fn millionths(self) -> u64 {
        let whole = self.num / self.den;
        let rest = (self.num % self.den).saturating_mul(1_000_000) / self.den;
        u64::try_from(whole.saturating_mul(1_000_000).saturating_add(rest)).unwrap_or(u64::MAX)
    }
}

/// The 256-bit product, high half first.
fn product(a: u128, b: u128) -> (u128, u128) {
    const LOW: u128 = u64::MAX as u128;
    let (a1, a0, b1, b0) = (a >> 64, a & LOW, b >> 64, b & LOW);
    let low = a0 * b0;
    let (mid, carry) = (a1 * b0).overflowing_add(a0 * b1);
    let (low, carry_low) = low.overflowing_add(mid << 64);
    (a1 * b1 + (mid >> 64) + (u128::from(carry) << 64) + u128::from(carry_low), low)
}

impl Ord for Share {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.den == other.den {
            return self.num.cmp(&other.num);
        }
        product(self.num, other.den).cmp(&product(other.num, self.den))
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

#[cfg(test)]
mod tests {
    use super::{Share, product};

    #[test]
    fn equal_parts_of_different_resources_tie() {
        assert_eq!(Share::new(3, 9, 1000), Share::new(6, 18, 1000));
        assert_eq!(Share::new(9, 12, 3000), Share::new(3, 12, 1000));
        assert_eq!(Share::new(3, 10, 300), Share::new(10, 10, 1000));
        assert_eq!(Share::new(5, 0, 1000), Share::ZERO);
        assert_eq!(Share::new(5, 10, 0), Share::new(5, 10, 1000));
    }

    #[test]
    fn one_unit_tells_large_shares_apart() {
        let large = 1i64 << 60;
        assert!(Share::new(large as u128 - 1, large, 1000) < Share::new(large as u128, large, 1000));
        assert_eq!(Share::new(2, 3, 1000).millionths(), 666_666);
    }

    #[test]
    fn products_are_whole() {
        assert_eq!(product(u128::MAX, u128::MAX), (u128::MAX - 1, 1));
        assert_eq!(product(1 << 100, 1 << 100), (1 << 72, 0));
        assert_eq!(product(7, 9), (0, 63));
    }
}
