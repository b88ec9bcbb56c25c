//! A map by [`Id`] that never moves what it holds.
//!
//! Ids are given out in order, so 64 that follow one another share a page that tells where each one's record lies. A page is
//! looked up once for all of them; and where a table of records would have to be moved as it grows, for as long as that
//! takes, only the table of pages has to be. A record comes where the last one went, in memory that was used a moment ago.

use crate::ledger::Map;
use crate::request::Id;

/// Ids of one page, as a power of two.
const PAGE_BITS: u32 = 6;
const PAGE: usize = 1 << PAGE_BITS;
/// Bytes of one chunk of records, or a little less: allocators have places for just so many.
const CHUNK_BYTES: usize = 16 * 1024;
/// Nothing lies here.
const NOWHERE: u32 = u32::MAX;

/// Where what has an id lies: a number for each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    pages: Map<u64, Page>,
    len: usize,
}

/// Where the records of ids that follow one another lie.
#[derive(Clone, Debug)]
struct Page {
    places: Box<[u32; PAGE]>,
    used: u32,
}

fn page_of(id: Id) -> (u64, usize) {
    (id.0 >> PAGE_BITS, id.0 as usize % PAGE)
}

impl Places {
    pub(crate) fn get(&self, id: Id) -> Option<u32> {
        let (page, at) = page_of(id);
        let place = self.pages.get(&page)?.places[at];
        (place != NOWHERE).then_some(place)
    }

    /// It lies here from now on.
    pub(crate) fn set(&mut self, id: Id, place: u32) {
        let (page, at) = page_of(id);
        let page = self.pages.entry(page).or_insert_with(|| Page { places: Box::new([NOWHERE; PAGE]), used: 0 });
        if std::mem::replace(&mut page.places[at], place) == NOWHERE {
            page.used += 1;
            self.len += 1;
        }
    }

    /// It lies nowhere from now on; returns where it lay.
    pub(crate) fn remove(&mut self, id: Id) -> Option<u32> {
        let (number, at) = page_of(id);
        let page = self.pages.get_mut(&number)?;
        let place = std::mem::replace(&mut page.places[at], NOWHERE);
        if place == NOWHERE {
            return None;
        }
        page.used -= 1;
        if page.used == 0 {
            self.pages.remove(&number);
        }
        self.len -= 1;
        Some(place)
    }

    /// All ids, in no order.
    fn keys(&self) -> impl Iterator<Item = Id> + '_ {
        self.pages.iter().flat_map(|(page, Page { places, .. })| {
            let used = places.iter().enumerate().filter(|(_, place)| **place != NOWHERE);
            used.map(|(at, _)| Id((*page << PAGE_BITS) | at as u64))
        })
    }
}

/// A map by id, the same on every machine.
#[derive(Clone, Debug)]
pub(crate) struct IdMap<V> {
    places: Places,
    chunks: Vec<Vec<Option<V>>>,
    /// Places where there was something, the last one last.
    spare: Vec<u32>,
}

impl<V> Default for IdMap<V> {
    fn default() -> Self {
        Self { places: Places::default(), chunks: Vec::new(), spare: Vec::new() }
    }
}

impl<V> IdMap<V> {
    /// Records of one chunk.
    const CHUNK: usize = {
        let fit = CHUNK_BYTES / size_of::<Option<V>>();
        if fit == 0 { 1 } else { fit }
    };

    fn chunk_of(place: u32) -> (usize, usize) {
        (place as usize / Self::CHUNK, place as usize % Self::CHUNK)
    }

    pub(crate) fn get(&self, id: &Id) -> Option<&V> {
        let (chunk, at) = Self::chunk_of(self.places.get(*id)?);
        self.chunks[chunk][at].as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: &Id) -> Option<&mut V> {
        let (chunk, at) = Self::chunk_of(self.places.get(*id)?);
        self.chunks[chunk][at].as_mut()
    }

    pub(crate) fn contains_key(&self, id: &Id) -> bool {
        self.places.len > 0 && self.places.get(*id).is_some()
    }

    /// Puts a record in; what was there before of this id is dropped.
    pub(crate) fn insert(&mut self, id: Id, value: V) {
        let before = self.places.get(id);
        let place = before.or_else(|| self.spare.pop()).unwrap_or_else(|| self.make_room());
        let (chunk, at) = Self::chunk_of(place);
        self.chunks[chunk][at] = Some(value);
        if before.is_none() {
            self.places.set(id, place);
        }
    }

    /// A place where there was nothing yet.
    fn make_room(&mut self) -> u32 {
        if self.chunks.last().is_none_or(|last| last.len() == Self::CHUNK) {
            self.chunks.push(Vec::with_capacity(Self::CHUNK));
        }
        let before = (self.chunks.len() - 1) * Self::CHUNK;
        let within = self.chunks.last_mut().map_or(0, |last| {
            last.push(None);
            last.len() - 1
        });
        (before + within) as u32
    }

    pub(crate) fn remove(&mut self, id: &Id) -> Option<V> {
        let place = self.places.remove(*id)?;
        self.spare.push(place);
        let (chunk, at) = Self::chunk_of(place);
        self.chunks[chunk][at].take()
    }

    /// All that it holds, in no order.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.chunks.iter().flatten().flatten()
    }

    pub(crate) fn into_values(self) -> impl Iterator<Item = V> {
        self.chunks.into_iter().flatten().flatten()
    }

    /// All ids, in no order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Id> + '_ {
        self.places.keys()
    }
}

impl<V> std::ops::Index<&Id> for IdMap<V> {
    type Output = V;

    /// The record of an id that is known to be here.
    fn index(&self, id: &Id) -> &V {
        match self.get(id) {
            Some(value) => value,
            None => unreachable!("{id:?} is looked up only where it is known"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{IdMap, PAGE};
    use crate::request::Id;

    const CHUNK: usize = IdMap::<u64>::CHUNK;

    #[test]
    fn it_is_a_map() {
        let (mut map, mut plain) = (IdMap::default(), BTreeMap::new());
        let mut state = 7u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        for step in 0..20 * CHUNK as u64 {
            // Grows for a while, and shrinks to nothing.
            let id = Id(next() % (3 * CHUNK as u64) * if step % 3 == 0 { 1 } else { PAGE as u64 });
            if next() % 20 < 10 + u64::from(step < 10 * CHUNK as u64) * 4 {
                map.insert(id, step);
                plain.insert(id, step);
            } else {
                assert_eq!(map.remove(&id), plain.remove(&id));
            }
            assert_eq!((map.get(&id), map.contains_key(&id)), (plain.get(&id), plain.contains_key(&id)));
            assert_eq!(map.places.len, plain.len());
        }
        for id in plain.keys().copied().collect::<Vec<_>>() {
            *map.get_mut(&id).expect("it is there") += 1;
            plain.entry(id).and_modify(|value| *value += 1);
        }
        let (mut ids, mut values): (Vec<_>, Vec<_>) = (map.keys().collect(), map.values().copied().collect());
        ids.sort_unstable();
        values.sort_unstable();
        let mut expected: Vec<_> = plain.values().copied().collect();
        expected.sort_unstable();
        assert!(ids.into_iter().eq(plain.keys().copied()) && values == expected);
        for id in plain.keys() {
            assert!(map.remove(id).is_some());
        }
        assert!(
            map.places.len == 0
                && map.places.pages.is_empty()
                && map.keys().next().is_none()
                && map.values().next().is_none()
        );
    }

    #[test]
    fn a_record_comes_where_the_last_one_went() {
        let mut map = IdMap::default();
        (0..10).for_each(|id| map.insert(Id(id), id));
        let place = map.places.get(Id(4));
        map.remove(&Id(4));
        map.insert(Id(10), 10);
        assert_eq!(map.places.get(Id(10)), place);
    }
}
