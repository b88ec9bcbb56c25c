//! What is asked for again and again, kept once.
//!
//! Most of what is asked for has one of a few shapes. Each lease that keeps its own takes memory for it, fetches that when
//! it goes, and has it made when it comes.

use std::sync::Arc;

use crate::amount::Amounts;
use crate::ask::Ask;
use crate::granted::Held;
use crate::pool::Slot;

/// So many are kept, each in the one place where it can be.
const KEPT: usize = 64;

/// What was asked for and held lately.
#[derive(Debug)]
pub(crate) struct Asks {
    asked: Box<[Ask]>,
    held: Box<[Arc<Held>]>,
}

impl Default for Asks {
    fn default() -> Self {
        let nothing = Arc::new(Held::default());
        Self { asked: vec![Ask::default(); KEPT].into(), held: vec![nothing; KEPT].into() }
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
        let kept = &mut self.asked[place(terms)];
        if *kept.0 != *terms {
            *kept = Ask(Arc::from(terms));
        }
        kept.clone()
    }

    /// The same as it was held before, or for the first time: so much per instance, of so many, in these terms.
    pub(crate) fn share_held(&mut self, terms: &[(Slot, i64)], resources: &Amounts, count: u32) -> Arc<Held> {
        let kept = &mut self.held[place(terms)];
        if kept.count != count || *kept.ask.0 != *terms || kept.resources != *resources {
            *kept = Arc::new(Held { resources: resources.clone(), count, ask: Ask(Arc::from(terms)) });
        }
        Arc::clone(kept)
    }
}

/// The one place where terms can be kept.
fn place(terms: &[(Slot, i64)]) -> usize {
    // Amounts are round numbers: what tells them apart may be in any of their bits.
    let mixed = terms.iter().fold(0u64, |mixed, (slot, amount)| {
        (mixed.rotate_left(9) ^ (*amount as u64) ^ u64::from(*slot)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    });
    (mixed >> 58) as usize % KEPT
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Asks, KEPT};
    use crate::amount::Amounts;

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
        let held = |asks: &mut Asks, count| asks.share_held(&[(1, 6)], &Amounts::default(), count);
        let (first, again, other) = (held(&mut asks, 2), held(&mut asks, 2), held(&mut asks, 3));
        assert!(Arc::ptr_eq(&first, &again) && (first.count, other.count) == (2, 3));
        assert_eq!((&*other.ask.0, &other.resources), (&[(1, 6)][..], &Amounts::default()));
        let mut copy = asks.clone();
        let terms = [(1, 7), (2, 7 << 20)];
        assert!(!Arc::ptr_eq(&copy.share(&terms).0, &asks.share(&terms).0));
    }
}
