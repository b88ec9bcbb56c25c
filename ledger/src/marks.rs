//! A table of numbers by 32 bits of a hash each, which stand in the order of those.
//!
//! Each has a home, where the order would have it if they were spread evenly, and stands there or as close behind as there is
//! room. So whoever looks for one passes few that come before it, and what is not here is told by the first that comes
//! after it; what goes leaves no trace; and a larger table is filled by one pass over the smaller. Twelve bytes each, and
//! three to four places of five are taken.

use crate::request::Id;

/// How far from its home one may stand. By chance none does, and whoever makes up ids whose hashes are alike shall not make
/// others pass by all of them.
const REACH: usize = 512;
/// Places at first.
const HOMES_MIN: usize = 16;

/// A part of the table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part {
    /// Behind the last home as many more as were needed.
    places: Vec<Place>,
    homes: usize,
    len: usize,
}

/// What stands at a place. The number is in halves, which need not be aligned as it would have to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    mark: u32,
    id: [u32; 2],
}

impl Place {
    /// Nothing stands here: no id is so large.
    const FREE: Self = Self { mark: u32::MAX, id: [u32::MAX; 2] };

    fn of(mark: u32, Id(id): Id) -> Self {
        Self { mark, id: [id as u32, (id >> 32) as u32] }
    }

    fn id(self) -> Id {
        let [low, high] = self.id;
        Id(u64::from(high) << 32 | u64::from(low))
    }

    fn is_free(self) -> bool {
        self.id == Self::FREE.id
    }
}

fn home(mark: u32, homes: usize) -> usize {
    ((u64::from(mark) * homes as u64) >> 32) as usize
}

impl Part {
    /// The first place that has no smaller mark.
    fn start(&self, mark: u32) -> usize {
        let home = home(mark, self.homes);
        home + self.places[home..].iter().take_while(|place| place.mark < mark).count()
    }

    /// All that stand by a mark.
    pub(crate) fn find(&self, mark: u32) -> impl Iterator<Item = Id> + '_ {
        let same = self.places[self.start(mark)..].iter().take_while(move |place| place.mark == mark);
        same.filter(|place| !place.is_free()).map(|place| place.id())
    }

    /// Takes one in, once; says whether there is a place within reach.
    pub(crate) fn insert(&mut self, mark: u32, id: Id) -> bool {
        if (self.len + 1) * 5 > self.homes * 4 {
            self.grow();
        }
        let (at, new) = (self.start(mark), Place::of(mark, id));
        let mut free = at;
        for place in self.places[at..].iter().take_while(|place| !place.is_free()) {
            if *place == new {
                return true;
            }
            free += 1;
        }
        if free > home(mark, self.homes) + REACH {
            return false;
        }
        if free == self.places.len() {
            self.places.push(Place::FREE);
        }
        self.places.copy_within(at..free, at + 1);
        self.places[at] = new;
        self.len += 1;
        true
    }

    /// Lets one go; says whether it was here.
    pub(crate) fn remove(&mut self, mark: u32, id: Id) -> bool {
        let start = self.start(mark);
        let same = self.places[start..].iter().take_while(|place| place.mark == mark);
        let Some(nth) = same.into_iter().position(|place| place.id() == id) else { return false };
        let at = start + nth;
        // Those behind it come closer to their homes, up to the first that is at home.
        let mut end = at + 1;
        while let Some(place) = self.places.get(end)
            && !place.is_free()
            && home(place.mark, self.homes) < end
        {
            end += 1;
        }
        self.places.copy_within(at + 1..end, at);
        self.places[end - 1] = Place::FREE;
        self.len -= 1;
        true
    }

    /// A quarter more.
    fn grow(&mut self) {
        let homes = (self.homes + self.homes / 4).max(HOMES_MIN);
        let mut places = Vec::with_capacity(homes + homes / 64 + HOMES_MIN);
        for place in self.places.iter().filter(|place| !place.is_free()) {
            places.resize(places.len().max(home(place.mark, homes)), Place::FREE);
            places.push(*place);
        }
        places.resize(places.len().max(homes), Place::FREE);
        (self.places, self.homes) = (places, homes);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Part, Place, REACH, home};
    use crate::request::Id;

    fn check(part: &Part, plain: &BTreeSet<(u32, Id)>) {
        let stands = |(at, place): (usize, &Place)| at.checked_sub(home(place.mark, part.homes));
        let taken = || part.places.iter().enumerate().filter(|(_, place)| !place.is_free());
        // Each in its order, not before its home, and with nothing free between.
        assert!(taken().is_sorted_by_key(|(_, place)| place.mark));
        for (at, place) in taken() {
            let far = stands((at, place)).expect("not before its home");
            assert!(part.places[at - far..at].iter().all(|before| !before.is_free()));
        }
        let all: BTreeSet<_> = taken().map(|(_, place)| (place.mark, place.id())).collect();
        assert!(all == *plain && part.len == plain.len());
    }

    #[test]
    fn it_is_a_table_whatever_its_marks_are() {
        // Spread over all, a few of many each, and at both ends.
        let marks: [fn(u64) -> u32; 3] = [
            |random| random as u32,
            |random| (random % 50) as u32 * 0x0500_0000,
            |random| {
                if random.is_multiple_of(2) { u32::MAX - (random % 9) as u32 } else { (random % 9) as u32 }
            },
        ];
        for mark_of in marks {
            let (mut part, mut plain) = (Part::default(), BTreeSet::new());
            let mut state = 7u64;
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                state >> 32
            };
            for step in 0..6_000u64 {
                let (mark, id) = (mark_of(next()), Id(next() % 4 + (u64::MAX - 4) * (next() % 2)));
                let known: BTreeSet<_> = part.find(mark).collect();
                assert!(known.iter().copied().eq(plain.range((mark, Id(0))..=(mark, Id(u64::MAX))).map(|(_, id)| *id)));
                if next() % 10 < if step < 3_000 { 7 } else { 2 } {
                    assert!(part.insert(mark, id) && part.insert(mark, id));
                    plain.insert((mark, id));
                } else {
                    assert_eq!(part.remove(mark, id), plain.remove(&(mark, id)));
                }
                if step % 50 == 0 {
                    check(&part, &plain);
                }
            }
            for (mark, id) in std::mem::take(&mut plain) {
                assert!(part.remove(mark, id));
            }
            check(&part, &plain);
        }
    }

    #[test]
    fn nobody_passes_by_more_than_are_within_reach() {
        let mut part = Part::default();
        let taken = (0..10 * REACH as u64).filter(|id| part.insert(7, Id(*id))).count();
        assert!((REACH..=REACH + 1).contains(&taken), "{taken}");
        assert!(part.insert(u32::MAX, Id(0)) && part.find(u32::MAX).eq([Id(0)]));
    }
}
