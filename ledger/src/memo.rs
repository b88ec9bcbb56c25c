//! What a subtree would put forward, remembered for as long as nothing in it changes.
//!
//! Dispatch looks through the tree again after every change, and a change touches one path of it: the other subtrees
//! would say what they said before. This is only remembered, and never decides: whoever forgets it all loses time alone.

use std::sync::{Mutex, PoisonError};

use foldhash::fast::FixedState;

use crate::pool::NodeId;

/// A node, or a bundle of its children: its level, from 1, and its number.
pub(crate) type Part = (NodeId, usize, usize);

/// Answers that are kept for one part: one for each set of shapes that is asked for in turn.
const KEPT_MAX: usize = 4;
/// Shapes beyond which a set of them is not worth keeping.
pub(crate) const SHAPES_MAX: usize = 1024;

/// One answer.
#[derive(Clone, Debug)]
struct Kept<T> {
    stamp: u64,
    open: Vec<usize>,
    answer: T,
}

/// Answers by part of the tree.
#[derive(Debug)]
pub(crate) struct Memo<T>(Mutex<std::collections::HashMap<Part, Vec<Kept<T>>, FixedState>>);

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Clone for Memo<T> {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<T: Clone> Memo<T> {
    /// What a part answered for these shapes, if it has not changed since it had this stamp.
    pub(crate) fn get(&self, part: Part, stamp: u64, open: &[usize]) -> Option<T> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.get(&part)?;
        kept.iter().find(|kept| kept.stamp == stamp && kept.open == open).map(|kept| kept.answer.clone())
    }

    /// Keeps an answer, in place of the one before to the same question, of those that do not hold any more, or of the
    /// oldest.
    pub(crate) fn keep(&self, part: Part, stamp: u64, open: &[usize], answer: T) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.entry(part).or_default();
        kept.retain(|kept| kept.stamp == stamp && kept.open != open);
        if kept.len() >= KEPT_MAX {
            kept.remove(0);
        }
        kept.push(Kept { stamp, open: open.to_vec(), answer });
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT_MAX, Memo};

    #[test]
    fn the_last_answer_to_a_question_is_the_one_that_is_kept() {
        let memo = Memo::default();
        let part = (7, 0, 0);
        memo.keep(part, 1, &[1, 2], "first");
        memo.keep(part, 1, &[1], "other shapes");
        memo.keep(part, 1, &[1, 2], "second");
        assert_eq!((memo.get(part, 1, &[1, 2]), memo.get(part, 1, &[1])), (Some("second"), Some("other shapes")));
        assert_eq!((memo.get(part, 2, &[1, 2]), memo.get((7, 1, 0), 1, &[1, 2])), (None, None));
        memo.keep(part, 2, &[1], "after a change");
        assert_eq!((memo.get(part, 1, &[1, 2]), memo.get(part, 2, &[1])), (None, Some("after a change")));
        for shape in 0..=KEPT_MAX {
            memo.keep(part, 3, &[shape], "one of many");
        }
        assert_eq!((memo.get(part, 3, &[0]), memo.get(part, 3, &[KEPT_MAX])), (None, Some("one of many")));
    }
}
