//! What is asked for again and again, kept once.
//!
//! Most of what is asked for has one of a few shapes. Each lease that keeps its own takes memory for it, fetches that when
//! it goes, and has it made when it comes.

use std::sync::Arc;

use crate::ask::Ask;
use crate::pool::Slot;

/// So many are kept, each in the one place where it can be.
const KEPT: usize = 64;

/// What was asked for lately.
#[derive(Debug)]
pub(crate) struct Asks(Box<[Ask]>);

impl Default for Asks {
    fn default() -> Self {
        Self(vec![Ask::default(); KEPT].into())
    }
}

/// A copy shares nothing: it may be another thread's, and two that count references to one thing wait for each other.
impl Clone for Asks {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Asks {
    /// The same as it was asked for before, or for the first time.
    pub(crate) fn share(&mut self, terms: &[(Slot, i64)]) -> Ask {
        // Amounts are round numbers: what tells them apart may be in any of their bits.
        let mixed = terms.iter().fold(0u64, |mixed, (slot, amount)| {
            (mixed.rotate_left(9) ^ (*amount as u64) ^ u64::from(*slot)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        });
        let kept = &mut self.0[(mixed >> 58) as usize % KEPT];
        if *kept.0 != *terms {
            *kept = Ask(Arc::from(terms));
        }
        kept.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Asks, KEPT};

    #[test]
    fn what_is_asked_for_again_is_the_same() {
        let mut asks = Asks::default();
        let first = asks.share(&[(0, 1 << 30), (3, 2)]);
        assert_eq!(*first.0, [(0, 1 << 30), (3, 2)]);
        assert!(Arc::ptr_eq(&first.0, &asks.share(&[(0, 1 << 30), (3, 2)]).0));
        assert!(asks.share(&[]).0.is_empty());
        // However many there are, each is what was asked for.
        for amount in 0..10 * KEPT as i64 {
            let terms = [(1, amount), (2, amount << 20)];
            assert_eq!(*asks.share(&terms).0, terms);
        }
        let mut copy = asks.clone();
        let terms = [(1, 7), (2, 7 << 20)];
        assert!(!Arc::ptr_eq(&copy.share(&terms).0, &asks.share(&terms).0));
    }
}
