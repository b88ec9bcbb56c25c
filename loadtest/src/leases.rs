//! What one generator holds: leases and tickets, from their answers until their releases.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};
use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;

use crate::scenario::FOREVER;

/// A lease or ticket.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) id: Vec<u8>,
    pub(crate) tenant: u32,
    pub(crate) shape: u32,
    /// Whether the checker counts it: a ticket holds nothing.
    pub(crate) counted: bool,
    state: State,
    /// Its place among those that may be renewed.
    idle_at: usize,
    /// Told apart from what had its place before.
    turn: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    /// Held, and nothing is being done to it.
    Idle,
    /// Being renewed; and whether its time came meanwhile.
    Renewing(bool),
    /// Its release is due, or under way.
    Leaving,
}

/// All that is held.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    all: Vec<Lease>,
    free: Vec<u32>,
    /// Those that may be renewed.
    idle: Vec<u32>,
    /// When each is to be released.
    due: BinaryHeap<Reverse<(u64, u32, u32)>>,
    /// Those whose time has come, in its order, with when it came.
    ready: VecDeque<(u64, u32)>,
    /// Until when each is surely held, where the pool takes back.
    sure: VecDeque<(u64, u32, u32)>,
    /// The ids, by their hashes: no two leases have the same.
    ids: HashSet<u64, FixedState>,
    hashes: FixedState,
}

impl Leases {
    /// Takes in what was allowed or queued, to be released at `due`. False: an id that is held already.
    pub(crate) fn take(&mut self, id: &[u8], tenant: u32, shape: u32, counted: bool, due: u64) -> (u32, bool) {
        let at = self.free.pop().unwrap_or_else(|| {
            let id = Vec::with_capacity(id.len() + 8);
            self.all.push(Lease { id, tenant, shape, counted, state: State::Free, idle_at: 0, turn: 0 });
            self.all.len() as u32 - 1
        });
        let lease = &mut self.all[at as usize];
        lease.id.clear();
        lease.id.extend_from_slice(id);
        (lease.tenant, lease.shape, lease.counted) = (tenant, shape, counted);
        lease.turn = lease.turn.wrapping_add(1);
        let turn = lease.turn;
        self.rest(at);
        if due != FOREVER {
            self.due.push(Reverse((due, at, turn)));
        }
        let fresh = self.ids.insert(self.hashes.hash_one(id));
        (at, fresh)
    }

    /// Says that it is surely held only until `until`, which never runs back.
    pub(crate) fn doubt_after(&mut self, at: u32, until: u64) {
        self.sure.push_back((until, at, self.all[at as usize].turn));
    }

    /// The next that is not surely held any more.
    pub(crate) fn doubtful(&mut self, now: u64) -> Option<(u32, u32)> {
        while let Some(&(until, at, turn)) = self.sure.front().filter(|(until, ..)| *until <= now) {
            debug_assert!(until <= now);
            self.sure.pop_front();
            let lease = &mut self.all[at as usize];
            if lease.turn == turn && lease.counted {
                lease.counted = false;
                return Some((lease.tenant, lease.shape));
            }
        }
        None
    }

    pub(crate) fn get(&self, at: u32) -> &Lease {
        &self.all[at as usize]
    }

    /// No longer counted, from now on; true: it was.
    pub(crate) fn uncount(&mut self, at: u32) -> bool {
        std::mem::take(&mut self.all[at as usize].counted)
    }

    /// How many are held, or on their way out.
    pub(crate) fn len(&self) -> usize {
        self.all.len() - self.free.len()
    }

    /// Takes one to be renewed.
    pub(crate) fn renew(&mut self, choose: impl FnOnce(u64) -> u64) -> Option<u32> {
        if self.idle.is_empty() {
            return None;
        }
        let at = self.idle[choose(self.idle.len() as u64) as usize];
        self.stir(at, State::Renewing(false));
        Some(at)
    }

    /// It was renewed.
    pub(crate) fn renewed(&mut self, at: u32, now: u64) {
        match self.all[at as usize].state {
            State::Renewing(false) => self.rest(at),
            State::Renewing(true) => {
                self.all[at as usize].state = State::Leaving;
                self.ready.push_back((now, at));
            }
            State::Free | State::Idle | State::Leaving => {}
        }
    }

    /// The next whose time to be released has come, with when it came.
    pub(crate) fn next_ready(&mut self, now: u64) -> Option<(u64, u32)> {
        while let Some(&Reverse((due, at, turn))) = self.due.peek().filter(|Reverse((due, ..))| *due <= now) {
            self.due.pop();
            let lease = &mut self.all[at as usize];
            match lease.state {
                State::Idle if lease.turn == turn => {
                    self.stir(at, State::Leaving);
                    self.ready.push_back((due, at));
                }
                State::Renewing(_) if lease.turn == turn => lease.state = State::Renewing(true),
                State::Free | State::Idle | State::Renewing(_) | State::Leaving => {}
            }
        }
        self.ready.pop_front()
    }

    /// When the next is to be released.
    pub(crate) fn next_due(&self) -> Option<u64> {
        if let Some((due, _)) = self.ready.front() {
            return Some(*due);
        }
        self.due.peek().map(|Reverse((due, ..))| *due)
    }

    /// Takes all that is idle, or waits for its release, out of what is done by itself: it is to be released now.
    pub(crate) fn leave_all(&mut self, now: u64) {
        while let Some(&at) = self.idle.last() {
            self.stir(at, State::Leaving);
            self.ready.push_back((now, at));
        }
        self.due.clear();
    }

    /// It could not be released just now: it is to be once more.
    pub(crate) fn stays(&mut self, at: u32) {
        self.rest(at);
    }

    /// It is gone.
    pub(crate) fn drop(&mut self, at: u32) {
        let lease = &mut self.all[at as usize];
        if lease.state == State::Idle {
            self.stir(at, State::Leaving);
        }
        let lease = &mut self.all[at as usize];
        lease.state = State::Free;
        self.ids.remove(&self.hashes.hash_one(lease.id.as_slice()));
        self.free.push(at);
    }

    fn rest(&mut self, at: u32) {
        let lease = &mut self.all[at as usize];
        (lease.state, lease.idle_at) = (State::Idle, self.idle.len());
        self.idle.push(at);
    }

    fn stir(&mut self, at: u32, state: State) {
        let lease = &mut self.all[at as usize];
        lease.state = state;
        let place = lease.idle_at;
        self.idle.swap_remove(place);
        if let Some(moved) = self.idle.get(place) {
            self.all[*moved as usize].idle_at = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Leases;
    use crate::scenario::FOREVER;

    #[test]
    fn each_is_released_when_its_time_comes_and_not_before() {
        let mut leases = Leases::default();
        let (late, _) = leases.take(b"a", 0, 0, true, 20);
        let (early, _) = leases.take(b"b", 0, 0, true, 10);
        leases.take(b"c", 0, 0, true, FOREVER);
        assert_eq!((leases.next_ready(9), leases.next_due()), (None, Some(10)));
        assert_eq!((leases.next_ready(25), leases.next_ready(25)), (Some((10, early)), Some((20, late))));
        leases.drop(early);
        leases.drop(late);
        assert_eq!((leases.len(), leases.next_ready(u64::MAX - 1)), (1, None));
        leases.leave_all(30);
        assert_eq!(leases.next_ready(30), Some((30, 2)));
    }

    #[test]
    fn what_is_renewed_is_not_released_meanwhile() {
        let mut leases = Leases::default();
        let (at, _) = leases.take(b"a", 0, 0, true, 10);
        assert_eq!(leases.renew(|_| 0), Some(at));
        assert_eq!((leases.renew(|_| 0), leases.next_ready(15)), (None, None));
        leases.renewed(at, 16);
        assert_eq!(leases.next_ready(16), Some((16, at)));
    }

    #[test]
    fn an_id_that_is_held_twice_is_found_and_one_that_comes_again_is_not() {
        let mut leases = Leases::default();
        let (at, fresh) = leases.take(b"a", 0, 0, true, 10);
        assert!(fresh && !leases.take(b"a", 0, 0, true, 10).1);
        leases.drop(at);
        assert!(leases.take(b"a", 0, 0, true, 10).1);
    }

    #[test]
    fn what_may_be_taken_back_is_doubted_once() {
        let mut leases = Leases::default();
        let (at, _) = leases.take(b"a", 4, 5, true, FOREVER);
        leases.doubt_after(at, 30);
        assert_eq!((leases.doubtful(29), leases.doubtful(30), leases.doubtful(31)), (None, Some((4, 5)), None));
        assert!(!leases.uncount(at));
    }
}
