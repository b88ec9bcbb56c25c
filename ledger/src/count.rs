//! What changes in a pool's tree: counters, and what is kept about tickets, holds and bursts, from a leaf up.
//!
//! Every change passes the nodes of one path, and each is told that it changed ([`Node::change`]): by that alone is known
//! what must be asked again.

use crate::ask::Ask;
use crate::average::Average;
use crate::book::Book;
use crate::bundle::{Bundles, WIDE};
use crate::burst::BurstState;
use crate::hold::Hold;
use crate::node::{Cell, Node};
use crate::pool::{CLIMB, NodeId, PoolState, ROOT, Set, Slot};
use crate::queue::{Queue, Shapes};
use crate::request::Id;
use crate::time::Time;

/// The place of a child where there was none.
const NOWHERE: u32 = u32::MAX;
/// How room in guarantees changes on the way up.
#[derive(Default)]
struct LeafRooms {
    /// In the leaf, by resource.
    leaf: [i32; CLIMB],
    /// In some of them it does.
    changed: bool,
    /// Nodes so far that have room now and had none, less those that had some.
    roomier: i32,
}

impl LeafRooms {
    /// After so much was raised at a node: how many more resources have room there. Counts in its cells the leaves that do.
    #[inline(never)]
    fn find(&mut self, cells: &mut [Cell], ask: &[(Slot, i64)], raised: impl Fn(usize) -> i64, is_leaf: bool) -> i32 {
        let mut more = 0;
        for (at, ((slot, _), leaf_room)) in ask.iter().zip(&mut self.leaf).enumerate() {
            let cell = &mut cells[usize::from(*slot)];
            let change = i32::from(cell.has_room()) - i32::from(cell.now.inner - raised(at) < cell.guarantee);
            more += change;
            if is_leaf {
                *leaf_room = change;
                self.changed |= change != 0;
            }
            cell.leaves_with_room = cell.leaves_with_room.wrapping_add_signed(*leaf_room);
        }
        more
    }

    /// Takes in that so many more resources have room at a node.
    fn pass(&mut self, node: &mut Node, more: i32) {
        if more != 0 {
            let room = node.room.wrapping_add_signed(more);
            self.roomier += i32::from(room > 0) - i32::from(node.room > 0);
            node.room = room;
        }
        node.roomy = node.roomy.wrapping_add_signed(self.roomier);
    }
}

impl Node {
    /// Something changed here or below; `from` is the place of the child that it comes from, and then its own.
    fn change(&mut self, from: &mut u32) {
        self.stamp += 1;
        if self.wide && *from != NOWHERE {
            self.bundles.touch(*from as usize, self.stamp);
        }
        *from = self.place;
    }
}

impl PoolState {
    /// Adds to what is held under a leaf, in the sets that are named, or takes away with a negative sign.
    ///
    /// Counts on the way where there is room in guarantees: a ticket can only claim by one with room, so whole
    /// subtrees without any need not be asked.
    pub(crate) fn add(&mut self, leaf: NodeId, ask: &Ask, sign: i64, now: bool, all: bool, owners: bool) {
        let mut next = Some(leaf);
        let mut raises: [[i64; 3]; crate::amount::RESOURCES_MAX + 32] = [[0; 3]; crate::amount::RESOURCES_MAX + 32];
        let used = [now, all, owners].map(i64::from);
        let mut roomier = 0i32;
        let mut leaf_rooms = [0i32; crate::amount::RESOURCES_MAX + 32];
        for (raise, (_, amount)) in raises.iter_mut().zip(ask.0.iter()) {
            *raise = used.map(|used| used * sign * amount);
        }
        let mut from = NOWHERE;
        while let Some(id) = next {
            let node = &mut self.nodes[id as usize];
            node.change(&mut from);
            for ((raise, leaf_room), (slot, amount)) in raises.iter_mut().zip(&mut leaf_rooms).zip(ask.0.iter()) {
                let had_room = node.cell(*slot).has_room();
                node.raise(*slot, raise, used.map(|used| used * sign * amount));
                let cell = node.cell_mut(*slot);
                if id == leaf {
                    *leaf_room = i32::from(cell.has_room()) - i32::from(had_room);
                }
                cell.leaves_with_room = cell.leaves_with_room.wrapping_add_signed(*leaf_room);
            }
            if id != ROOT {
                let room = node.rooms();
                roomier += i32::from(room > 0) - i32::from(node.room > 0);
                node.room = room;
                node.roomy = node.roomy.wrapping_add_signed(roomier);
            }
            next = (id != ROOT).then_some(node.parent);
        }
        self.claims.book.touch(&self.nodes, leaf, ask);
        self.open_holds(leaf);
    }

    /// A lease comes, or goes with a negative sign: as `add` and `count` do it, in one climb.
    pub(crate) fn count_lease(&mut self, leaf: NodeId, ask: &Ask, sign: i64) {
        let (first, rest) = ask.0.split_at(ask.0.len().min(CLIMB));
        self.count_some(leaf, first, sign, sign);
        // More of them than can be taken up at once are rare.
        rest.chunks(CLIMB).for_each(|some| self.count_some(leaf, some, sign, 0));
        self.claims.book.touch(&self.nodes, leaf, ask);
        self.open_holds(leaf);
    }

    /// The book of claims, to be written in.
    pub(crate) fn write(&mut self, write: impl FnOnce(&mut Book, &Self)) {
        let mut book = std::mem::take(&mut self.claims.book);
        write(&mut book, self);
        self.claims.book = book;
    }

    fn count_some(&mut self, leaf: NodeId, ask: &[(Slot, i64)], sign: i64, running: i64) {
        let ask = &ask[..ask.len().min(CLIMB)];
        let top = ask.iter().map(|(slot, _)| *slot).max().unwrap_or(0);
        let mut rooms = LeafRooms::default();
        let (mut id, mut from) = (leaf, NOWHERE);
        loop {
            let node = &mut self.nodes[id as usize];
            // Above a node where the plans are kept apart, or where something is not lendable, it is so too.
            if node.marked > 0 || node.stiff {
                break;
            }
            node.change(&mut from);
            node.running = node.running.wrapping_add_signed(running);
            let cells = node.cells_to(top);
            let mut crossed = false;
            for (slot, amount) in ask {
                let cell = &mut cells[usize::from(*slot)];
                let (before, after) = (cell.now.inner, cell.now.inner + sign * amount);
                cell.now.inner = after;
                cell.now.usage += sign * amount;
                crossed |= (before < cell.guarantee) != (after < cell.guarantee);
            }
            // Most change nothing about room.
            let raised = |at: usize| ask.get(at).map_or(0, |(_, amount)| sign * amount);
            let room = if crossed || rooms.changed { rooms.find(cells, ask, raised, id == leaf) } else { 0 };
            if id == ROOT {
                return;
            }
            rooms.pass(node, room);
            id = node.parent;
        }
        self.count_stiff((id, from), leaf, ask, sign, running, rooms);
    }

    /// The rest of a climb, where something is not lendable: what is taken up by that raises nothing further up.
    fn count_stiff(
        &mut self,
        (mut id, mut from): (NodeId, u32),
        leaf: NodeId,
        ask: &[(Slot, i64)],
        sign: i64,
        running: i64,
        mut rooms: LeafRooms,
    ) {
        let top = ask.iter().map(|(slot, _)| *slot).max().unwrap_or(0);
        let mut raises = [0i64; CLIMB];
        for (raise, (_, amount)) in raises.iter_mut().zip(ask) {
            *raise = sign * amount;
        }
        while self.nodes[id as usize].marked == 0 {
            let node = &mut self.nodes[id as usize];
            node.change(&mut from);
            node.running = node.running.wrapping_add_signed(running);
            let cells = node.cells_to(top);
            let came = raises;
            for ((slot, amount), raise) in ask.iter().zip(&mut raises) {
                let cell = &mut cells[usize::from(*slot)];
                let (before, after) = (cell.now.inner, cell.now.inner + *raise);
                cell.now.inner = after;
                cell.now.usage += sign * amount;
                *raise = after.max(cell.unlendable) - before.max(cell.unlendable);
            }
            let room = rooms.find(cells, ask, |at| came[at], id == leaf);
            if id == ROOT {
                return;
            }
            rooms.pass(node, room);
            id = node.parent;
        }
        self.count_marked((id, from), leaf, ask, raises, sign, running, rooms);
    }

    /// The rest of a climb, where the plans are kept apart from now.
    #[expect(clippy::too_many_arguments, reason = "the second half of a loop, which has this much state")]
    fn count_marked(
        &mut self,
        (mut id, mut from): (NodeId, u32),
        leaf: NodeId,
        ask: &[(Slot, i64)],
        raises: [i64; CLIMB],
        sign: i64,
        running: i64,
        mut rooms: LeafRooms,
    ) {
        let mut raises = raises.map(|raise| [raise; 3]);
        loop {
            let node = &mut self.nodes[id as usize];
            node.change(&mut from);
            node.running = node.running.wrapping_add_signed(running);
            for ((raise, leaf_room), (slot, amount)) in raises.iter_mut().zip(&mut rooms.leaf).zip(ask) {
                let had_room = node.cell(*slot).has_room();
                node.raise(*slot, raise, [sign * amount; 3]);
                let cell = node.cell_mut(*slot);
                if id == leaf {
                    *leaf_room = i32::from(cell.has_room()) - i32::from(had_room);
                }
                cell.leaves_with_room = cell.leaves_with_room.wrapping_add_signed(*leaf_room);
            }
            if id == ROOT {
                return;
            }
            let room = node.rooms() as i32 - node.room as i32;
            rooms.pass(node, room);
            id = node.parent;
        }
    }

    /// From now on the plans are kept apart from now, from the leaf up; as often as they are marked.
    pub(crate) fn mark(&mut self, leaf: NodeId) {
        let mut next = Some(leaf);
        while let Some(id) = next {
            let node = &mut self.nodes[id as usize];
            if node.marked == 0 {
                node.plans = node.cells.iter().map(|cell| [cell.now; 2]).collect();
            }
            node.marked += 1;
            next = (id != ROOT).then_some(node.parent);
        }
    }

    pub(crate) fn unmark(&mut self, leaf: NodeId) {
        let mut next = Some(leaf);
        while let Some(id) = next {
            let node = &mut self.nodes[id as usize];
            node.marked -= 1;
            if node.marked == 0 {
                node.plans.clear();
            }
            next = (id != ROOT).then_some(node.parent);
        }
    }

    /// Counts tickets, leases and leases that give way, from the leaf up.
    pub(crate) fn count(&mut self, leaf: NodeId, running: i64, waiting: i64, reclaiming: i64) {
        let mut next = Some(leaf);
        while let Some(id) = next {
            let node = &mut self.nodes[id as usize];
            node.running = node.running.wrapping_add_signed(running);
            node.waiting = node.waiting.wrapping_add_signed(waiting);
            node.reclaiming = node.reclaiming.wrapping_add_signed(reclaiming);
            next = (id != ROOT).then_some(node.parent);
        }
    }

    /// Before usage changes under a leaf: takes in how long it was as it was.
    pub(crate) fn pass_averages(&mut self, leaf: NodeId, ask: &Ask, now: Time) {
        if self.spec.half_life.is_zero() {
            return;
        }
        let half_life = self.spec.half_life;
        let mut next = Some(leaf);
        while let Some(id) = next {
            let node = &mut self.nodes[id as usize];
            for (slot, _) in ask.0.iter() {
                let at = usize::from(*slot);
                if node.averages.len() <= at {
                    node.averages.resize(at + 1, Average::default());
                }
                let usage = node.cell(*slot).now.usage;
                node.averages[at].pass(usage, now, half_life);
            }
            next = (id != ROOT).then_some(node.parent);
        }
    }

    /// After usage changed under a leaf: starts and ends bursts.
    pub(crate) fn pass_bursts(&mut self, leaf: NodeId, now: Time) {
        if !self.node(leaf).bounded {
            return;
        }
        let mut next = Some(leaf);
        while let Some(id) = next {
            let node = self.node(id);
            next = (id != ROOT).then_some(node.parent);
            if let Some(burst) = node.burst {
                let above = (0..node.cells.len() as Slot).any(|slot| self.borrowed(&Set::Now, id, slot) > 0);
                let state = &mut self.nodes[id as usize].bursting;
                if let Some(ends) = state.ends(burst) {
                    self.burst_ends.remove(&(ends, id));
                }
                state.pass(above, burst, now);
                if let Some(ends) = state.ends(burst) {
                    self.burst_ends.insert((ends, id));
                }
                if state.is_idle(burst, now) {
                    *state = BurstState::default();
                    self.bursting.remove(&id);
                } else {
                    self.bursting.insert(id);
                }
            }
        }
    }

    /// A burst is over.
    pub(crate) fn end_burst(&mut self, node: NodeId, now: Time) {
        let here = &mut self.nodes[node as usize];
        if let Some(ends) = here.burst.and_then(|burst| here.bursting.ends(burst)) {
            self.burst_ends.remove(&(ends, node));
            here.bursting.over = Some(now);
        }
    }

    /// Somebody has his hold at a node, or nobody.
    pub(crate) fn set_hold(&mut self, at: NodeId, hold: Option<Hold>) {
        let before = std::mem::replace(&mut self.nodes[at as usize].hold, hold);
        if let Some(before) = before {
            self.turns.remove(&(before.since, at));
            self.held.remove(&at);
            self.opened.remove(&at);
        }
        if let Some(hold) = hold {
            self.turns.insert((hold.since, at));
            self.held.insert(at);
            self.opened.insert(at);
        }
        self.nodes[at as usize].held_here = hold.is_some();
        let more = i32::from(hold.is_some()) - i32::from(before.is_some());
        let (mut next, mut from) = (Some(at), NOWHERE);
        while let Some(id) = next {
            let node = &mut self.nodes[id as usize];
            node.change(&mut from);
            node.holds = node.holds.wrapping_add_signed(more);
            next = (id != ROOT).then_some(node.parent);
        }
    }

    /// What is held under a leaf changed: holds on the way up may be blocked no more.
    fn open_holds(&mut self, leaf: NodeId) {
        if self.held.is_empty() {
            return;
        }
        let mut next = Some(leaf);
        while let Some(id) = next {
            let node = &self.nodes[id as usize];
            if node.held_here {
                self.opened.insert(id);
            }
            next = (id != ROOT).then_some(node.parent);
        }
    }

    /// After a leaf's tickets changed: who waits longest in the subtrees that it is in.
    pub(crate) fn pass_queue(&mut self, leaf: NodeId) {
        let lines = self.node(leaf).queue.lines.values();
        let mut oldest = lines.filter_map(|line| line.waits.first().copied()).min();
        let (mut next, mut from) = (Some(leaf), NOWHERE);
        while let Some(id) = next {
            let node = &mut self.nodes[id as usize];
            node.change(&mut from);
            let before = std::mem::replace(&mut node.oldest, oldest);
            next = (id != ROOT).then_some(node.parent);
            let Some(parent) = next else { break };
            let above = self.node(parent);
            oldest = if before == oldest {
                above.oldest
            } else if above.wide {
                self.pass_wide(parent, from)
            } else if above.oldest == before {
                // The children are only asked again where the one that waited longest is gone.
                above.children.iter().filter_map(|child| self.node(*child).oldest).min()
            } else {
                [above.oldest, oldest].into_iter().flatten().min()
            };
        }
    }

    /// After who waits longest under one of many children changed: who waits longest under them all.
    fn pass_wide(&mut self, parent: NodeId, place: u32) -> Option<(Time, Id)> {
        let above = self.node(parent);
        let sisters = Bundles::range(place as usize / WIDE, above.children.len());
        let oldest = above.children[sisters].iter().filter_map(|child| self.node(*child).oldest).min();
        self.nodes[parent as usize].bundles.pass_oldest(place as usize, oldest)
    }

    /// The children of a node have their places, and are taken in bundles where they are many.
    pub(crate) fn bundle(&mut self, node: NodeId) {
        let children = std::mem::take(&mut self.nodes[node as usize].children);
        for (place, child) in children.iter().enumerate() {
            self.nodes[*child as usize].place = place as u32;
        }
        let wide = children.len() > WIDE;
        let oldest: Vec<_> = children.iter().filter(|_| wide).map(|child| self.node(*child).oldest).collect();
        let here = &mut self.nodes[node as usize];
        here.bundles = Bundles::new(here.stamp, &oldest);
        (here.wide, here.children) = (wide, children);
    }

    /// A leaf's tickets, with the shapes of all that wait in the pool.
    pub(crate) fn queue_of(&mut self, leaf: NodeId) -> (&mut Queue, &mut Shapes) {
        (&mut self.nodes[leaf as usize].queue, &mut self.shapes)
    }
}
