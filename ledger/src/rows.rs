//! A set in order, close together.
//!
//! What is kept in order here mostly comes as the last, as times and numbers do, and a tree of the standard library stays
//! half empty then. Here elements lie in rows: what comes last fills the last one up, and whatever goes leaves its row in
//! the time that it takes to move a kilobyte. A set of a few is one row, and nothing else.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;

use crate::prefetch::prefetch;

/// Elements of a row: a kilobyte or two, moved in the time of a lookup in a tree.
const ROW: usize = 64;
/// A row with fewer goes into the next one, where that has room.
const SPARSE: usize = ROW / 4;

/// A set in order.
#[derive(Clone)]
pub(crate) struct Rows<T> {
    /// The greatest; empty only where there are none at all.
    last: Vec<T>,
    /// Those before, each by what is no greater than any in it, and greater than all in the one before.
    #[expect(clippy::box_collection, reason = "most sets are one row, and there are as many as tenants")]
    before: Option<Box<BTreeMap<T, Vec<T>>>>,
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self { last: Vec::new(), before: None }
    }
}

impl<T: Ord + Copy> Rows<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    /// The least.
    pub(crate) fn first(&self) -> Option<&T> {
        match &self.before {
            None => self.last.first(),
            Some(before) => before.first_key_value().and_then(|(_, row)| row.first()),
        }
    }

    /// One that will be the greatest is about to come.
    pub(crate) fn announce(&self) {
        if let Some(last) = self.last.last() {
            prefetch(last);
        }
    }

    pub(crate) fn contains(&self, element: &T) -> bool {
        self.from(*element).next() == Some(element)
    }

    /// Takes one in, once.
    pub(crate) fn insert(&mut self, element: T) {
        // Mostly it is the greatest of all: then nothing but the end of the last row is looked at.
        if self.last.last().is_none_or(|last| *last < element) {
            if self.last.len() == ROW {
                let full = std::mem::replace(&mut self.last, Vec::with_capacity(ROW));
                self.put_before(full);
            }
            self.last.push(element);
        } else if self.is_in_last(&element) {
            let Err(at) = self.last.binary_search(&element) else { return };
            if let Some(upper) = put(&mut self.last, at, element) {
                let lower = std::mem::replace(&mut self.last, upper);
                self.put_before(lower);
            }
        } else {
            self.insert_before(element);
        }
    }

    /// Whether it belongs into the last row.
    fn is_in_last(&self, element: &T) -> bool {
        self.before.is_none() || self.last.first().is_some_and(|first| first <= element)
    }

    /// A row goes before the last.
    fn put_before(&mut self, row: Vec<T>) {
        if let Some(least) = row.first() {
            self.before.get_or_insert_default().insert(*least, row);
        }
    }

    fn insert_before(&mut self, element: T) {
        let Some(before) = &mut self.before else { return };
        let Some((_, row)) = before.range_mut(..=element).next_back() else {
            // It is less than all: the first row is known by it from now on.
            if let Some((_, mut row)) = before.pop_first() {
                let upper = put(&mut row, 0, element);
                before.insert(element, row);
                upper.into_iter().for_each(|upper| self.put_before(upper));
            }
            return;
        };
        let Err(at) = row.binary_search(&element) else { return };
        if at < ROW {
            let upper = put(row, at, element);
            upper.into_iter().for_each(|upper| self.put_before(upper));
            return;
        }
        // Behind a full row: so those of one kind that come in order fill rows up, wherever they belong.
        let next = before.range((Bound::Excluded(element), Bound::Unbounded)).next();
        match next.map(|(key, row)| (*key, row.len())) {
            None if self.last.len() < ROW => self.last.insert(0, element),
            Some((key, len)) if len < ROW => {
                if let Some(mut row) = before.remove(&key) {
                    row.insert(0, element);
                    before.insert(element, row);
                }
            }
            None | Some(_) => self.put_before(vec![element]),
        }
    }

    /// Lets one go, where it is here.
    pub(crate) fn remove(&mut self, element: &T) {
        if self.last.last() == Some(element) {
            self.last.pop();
        } else if self.is_in_last(element) {
            if let Ok(at) = self.last.binary_search(element) {
                self.last.remove(at);
            }
        } else {
            self.remove_before(element);
            return;
        }
        if self.last.is_empty() {
            let row = self.before.as_mut().and_then(|before| before.pop_last());
            self.last = row.map(|(_, row)| row).unwrap_or_default();
            self.drop_empty();
        }
    }

    fn remove_before(&mut self, element: &T) {
        let Some(before) = &mut self.before else { return };
        let Some((key, row)) = before.range_mut(..=*element).next_back() else { return };
        let Ok(at) = row.binary_search(element) else { return };
        row.remove(at);
        if row.len() >= SPARSE {
            return;
        }
        let (key, few) = (*key, row.len());
        if few == 0 {
            before.remove(&key);
            self.drop_empty();
        } else if !self.join(key) {
            let previous = self.before.iter().find_map(|before| before.range(..key).next_back()).map(|(key, _)| *key);
            previous.into_iter().for_each(|previous| {
                self.join(previous);
            });
        }
    }

    /// Makes one of a row and the next, where both are well below what is split, so that nothing goes back and forth.
    fn join(&mut self, key: T) -> bool {
        let Some(before) = &mut self.before else { return false };
        let mut rows = before.range(key..);
        let few = rows.next().map_or(0, |(_, row)| row.len());
        let next = rows.next().map(|(key, row)| (*key, row.len()));
        if next.map_or(self.last.len(), |(_, len)| len) + few > ROW * 3 / 4 {
            return false;
        }
        let Some(mut row) = before.remove(&key) else { return false };
        match next {
            None => {
                row.append(&mut self.last);
                self.last = row;
                self.drop_empty();
            }
            Some((next, _)) => {
                row.extend(before.remove(&next).into_iter().flatten());
                before.insert(key, row);
            }
        }
        true
    }

    fn drop_empty(&mut self) {
        if self.before.as_ref().is_some_and(|before| before.is_empty()) {
            self.before = None;
        }
    }

    /// All, in order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.before.iter().flat_map(|before| before.values().flatten()).chain(&self.last)
    }

    /// From `least` on, in order.
    pub(crate) fn from(&self, least: T) -> impl Iterator<Item = &T> {
        let in_last = self.is_in_last(&least);
        let before = self.before.as_deref().filter(|_| !in_last);
        let row = before.and_then(|before| before.range(..=least).next_back());
        let later = before.map(|before| match row {
            Some((key, _)) => before.range((Bound::Excluded(*key), Bound::Unbounded)),
            None => before.range(..),
        });
        let part = |row: &'_ [T]| row.partition_point(|element| *element < least);
        let first = row.map_or(&[][..], |(_, row)| &row[part(row)..]);
        let last = if in_last { &self.last[part(&self.last)..] } else { &self.last[..] };
        first.iter().chain(later.into_iter().flatten().flat_map(|(_, row)| row)).chain(last)
    }
}

/// Puts an element into a row; returns the upper half of one that was full.
fn put<T>(row: &mut Vec<T>, at: usize, element: T) -> Option<Vec<T>> {
    let mut upper = (row.len() >= ROW).then(|| row.split_off(ROW / 2));
    match &mut upper {
        Some(upper) if at > ROW / 2 => upper.insert(at - ROW / 2, element),
        Some(_) | None => row.insert(at, element),
    }
    upper
}

impl<T: Ord + Copy> Extend<T> for Rows<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, elements: I) {
        elements.into_iter().for_each(|element| self.insert(element));
    }
}

impl<T: Ord + Copy> PartialEq for Rows<T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<T: Ord + Copy + fmt::Debug> fmt::Debug for Rows<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{ROW, Rows, SPARSE};

    /// As it says of itself: in order, no row empty, too long or known by too much, and none sparse beside one with room.
    fn check(rows: &Rows<u64>, plain: &BTreeSet<u64>) {
        assert!(rows.iter().eq(plain) && rows.iter().rev().eq(plain.iter().rev()));
        assert_eq!((rows.first(), rows.is_empty()), (plain.first(), plain.is_empty()));
        assert!(rows.last.len() <= ROW && (!rows.last.is_empty() || rows.before.is_none()));
        let Some(before) = &rows.before else { return };
        assert!(!before.is_empty());
        assert!(before.iter().all(|(key, row)| row.len() <= ROW && row.first().is_some_and(|first| key <= first)));
    }

    fn numbers() -> impl FnMut() -> u64 {
        let mut state = 7u64;
        move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        }
    }

    #[test]
    fn it_is_a_set_in_order() {
        let (mut rows, mut plain, mut next) = (Rows::default(), BTreeSet::new(), numbers());
        let all = 30 * ROW as u64;
        for step in 0..4 * all {
            // It grows, it stays, and it shrinks to nothing.
            let element = next() % all;
            if next() % all < all * 3 / 4 - step / 6 {
                rows.insert(element);
                plain.insert(element);
            } else {
                rows.remove(&element);
                plain.remove(&element);
            }
            let from = next() % all;
            assert!(rows.from(from).take(3).eq(plain.range(from..).take(3)));
            assert_eq!(rows.contains(&from), plain.contains(&from));
            if step % 16 == 0 {
                check(&rows, &plain);
                assert!(rows.from(from).eq(plain.range(from..)));
            }
        }
        for element in 0..all {
            rows.remove(&(element * 7 % all));
            plain.remove(&(element * 7 % all));
            check(&rows, &plain);
        }
        assert!(rows.is_empty() && rows == Rows::default());
    }

    #[test]
    fn what_comes_in_order_fills_rows_up_and_what_goes_leaves_none_sparse() {
        let rows_of = |rows: &Rows<u64>| rows.before.as_ref().map_or(0, |before| before.len()) + 1;
        let mut rows = Rows::default();
        let all = 10 * ROW as u64;
        // Two kinds, each in order.
        for element in 0..all {
            rows.insert(element);
            rows.insert(all + element);
        }
        assert!(rows_of(&rows) <= 3 * 10, "{}", rows_of(&rows));
        let mut plain: BTreeSet<u64> = (0..2 * all).collect();
        check(&rows, &plain);
        for element in (0..2 * all).filter(|element| element % 16 != 0) {
            rows.remove(&element);
            plain.remove(&element);
        }
        check(&rows, &plain);
        assert!(rows_of(&rows) <= plain.len() / SPARSE + 1, "{}", rows_of(&rows));
        rows.extend(0..all);
        plain.extend(0..all);
        check(&rows, &plain);
        // Downward, between what is there, and before all that is there.
        let mut rows = Rows::default();
        rows.extend((0..3 * all).filter(|element| !(all..2 * all).contains(element)));
        (all..2 * all).rev().for_each(|element| rows.insert(element));
        check(&rows, &(0..3 * all).collect());
        assert!(rows_of(&rows) <= 2 * 30 + 1, "{}", rows_of(&rows));
    }
}
