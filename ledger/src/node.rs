//! One node of a pool's tree: what it is told, what it has, and what is held there.

use std::collections::BTreeMap;

use crate::average::Average;
use crate::bundle::Bundles;
use crate::burst::BurstState;
use crate::config::{Burst, Enforce};
use crate::hold::Hold;
use crate::ledger::TenantIndex;
use crate::name::TenantPath;
use crate::pool::{CLIMB, NO_LIMIT, NodeId, Set, Slot, UNMADE};
use crate::prefetch::prefetch;
use crate::queue::Queue;
use crate::request::Id;
use crate::requests::TenantSerial;
use crate::time::Time;
use crate::victims::Victims;

/// One resource in one node, counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// What the leases in the subtree hold.
    pub(crate) usage: i64,
    /// Own leases and what is occupied in the children.
    pub(crate) inner: i64,
}

impl Tally {
    pub(crate) fn occupied(self, cell: &Cell) -> i64 {
        self.inner.max(cell.unlendable)
    }
}

/// One resource in one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    /// The effective guarantee.
    pub(crate) guarantee: i64,
    /// [`NO_LIMIT`] where there is none.
    pub(crate) limit: i64,
    /// What of the guarantee others may not use.
    pub(crate) unlendable: i64,
    /// What is held now; the plans are kept apart.
    pub(crate) now: Tally,
    /// Leaves in the subtree, itself included, with room in their guarantee.
    pub(crate) leaves_with_room: u32,
}

impl Cell {
    /// Whether less is held than is guaranteed.
    pub(crate) fn has_room(&self) -> bool {
        self.now.inner < self.guarantee
    }

    pub(crate) const EMPTY: Self =
        Self { guarantee: 0, limit: NO_LIMIT, unlendable: 0, now: Tally { usage: 0, inner: 0 }, leaves_with_room: 0 };
}

/// One node of a pool's tree: the pool, a tenant, or the child that stands for an inner tenant's own requests.
///
/// What every admission and release looks at comes first, in this order: two lines of the processor's cache, of which a
/// question takes the first alone. With many tenants what a decision costs is how many lines it fetches.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(crate) struct Node {
    pub(crate) parent: NodeId,
    /// Its place among its parent's children.
    pub(crate) place: u32,
    /// The least `max_priority` here and above.
    pub(crate) max_priority: i32,
    /// The child that stands for an inner tenant's own requests; [`UNMADE`] where there is none.
    pub(crate) own_child: NodeId,
    pub(crate) serial: TenantSerial,
    /// The child that stands for an inner tenant's own requests.
    pub(crate) own: bool,
    /// Archived or draining, itself or above.
    pub(crate) inactive: bool,
    /// It, or one above it, has a quota in the pool.
    pub(crate) usable: bool,
    /// A budget is charged for what is admitted here.
    pub(crate) budgeted: bool,
    /// A rate counts what is admitted here.
    pub(crate) rated: bool,
    /// A burst is bounded here or above.
    pub(crate) bounded: bool,
    /// It is a member that was made on first use, or one above it is.
    pub(crate) made: bool,
    /// Somebody has a hold here.
    pub(crate) held_here: bool,
    /// It has so many children that they are taken in bundles.
    pub(crate) wide: bool,
    /// Something in the subtree is not lendable.
    pub(crate) stiff: bool,
    /// As said here or by the nearest above.
    pub(crate) enforce: Option<Enforce>,
    pub(crate) cells: Vec<Cell>,

    /// Of a leaf: leases that may be taken back, the first to go first.
    pub(crate) victims: Victims,
    /// Grows with every change in the subtree.
    pub(crate) stamp: u64,
    /// Leases in the subtree.
    pub(crate) running: u64,
    /// Claims and leases that give way in the subtree; where there are none, the plans are the same as now.
    pub(crate) marked: u64,
    /// Resources in which the plan of owners' claims leaves room in its guarantee.
    pub(crate) room: u32,
    /// Nodes in the subtree, itself included, that have such room.
    pub(crate) roomy: u32,

    /// None for the pool itself.
    pub(crate) tenant: Option<TenantIndex>,
    /// By path, the one for own requests first.
    pub(crate) children: Vec<NodeId>,
    /// Tickets in the subtree.
    pub(crate) waiting: u64,
    /// Of the tickets in the subtree, the one that waits longest.
    pub(crate) oldest: Option<(Time, Id)>,
    pub(crate) weight: u32,
    /// Its weight is zero, or one above it is.
    pub(crate) weightless: bool,
    /// Holds in the subtree.
    pub(crate) holds: u32,
    pub(crate) bundles: Bundles,
    /// A budget, a rate or a bounded burst is in the subtree or above it: what it would put forward changes with time.
    pub(crate) varied: bool,
    /// What the plans hold, of all claims and of owners' alone; kept while something in the subtree is marked.
    pub(crate) plans: Vec<[Tally; 2]>,
    /// What is occupied in the children where nothing is held: what is not lendable in the subtree, but for its own.
    pub(crate) kept_below: Vec<i64>,
    /// Leases in the subtree that give way.
    pub(crate) reclaiming: u64,
    /// What claims in the subtree ask for, by resource.
    pub(crate) claimed: BTreeMap<(Slot, i64), u32>,
    /// Of a leaf: its tickets.
    pub(crate) queue: Queue,
    /// The ticket that has its hold here.
    pub(crate) hold: Option<Hold>,
    pub(crate) burst: Option<Burst>,
    pub(crate) bursting: BurstState,
    pub(crate) averages: Vec<Average>,
    pub(crate) path: TenantPath,
}

impl Node {
    pub(crate) fn new(parent: NodeId, path: TenantPath, own: bool) -> Self {
        Self {
            parent,
            path,
            tenant: None,
            serial: TenantSerial::default(),
            own_child: UNMADE,
            own,
            children: Vec::new(),
            weight: 1000,
            weightless: false,
            held_here: false,
            wide: false,
            place: 0,
            bundles: Bundles::default(),
            holds: 0,
            inactive: false,
            usable: false,
            stiff: false,
            budgeted: false,
            rated: false,
            bounded: false,
            burst: None,
            bursting: BurstState::default(),
            enforce: None,
            max_priority: i32::MAX,
            made: false,
            cells: Vec::new(),
            plans: Vec::new(),
            kept_below: Vec::new(),
            averages: Vec::new(),
            room: 0,
            roomy: 0,
            stamp: 0,
            varied: false,
            oldest: None,
            running: 0,
            waiting: 0,
            reclaiming: 0,
            marked: 0,
            claimed: BTreeMap::new(),
            victims: Victims::default(),
            queue: Queue::default(),
            hold: None,
        }
    }

    /// The counters of the first resources will be looked at soon.
    pub(crate) fn announce_cells(&self) {
        self.cells.iter().take(CLIMB / 2).for_each(prefetch);
    }

    /// The child that stands for an inner tenant's own requests.
    pub(crate) fn own_child(&self) -> Option<NodeId> {
        (self.own_child != UNMADE).then_some(self.own_child)
    }

    /// Resources in which the plan of owners' claims leaves room in its guarantee.
    pub(crate) fn rooms(&self) -> u32 {
        let room = |(slot, cell): (usize, &Cell)| self.held(Set::Owners, slot as Slot).inner < cell.guarantee;
        self.cells.iter().enumerate().filter(|cell| room(*cell)).count() as u32
    }

    /// What is held of a resource in a set.
    pub(crate) fn held(&self, set: Set, slot: Slot) -> Tally {
        let plan = match set {
            Set::Now => None,
            Set::All => self.plans.get(usize::from(slot)).map(|plan| plan[0]),
            Set::Owners => self.plans.get(usize::from(slot)).map(|plan| plan[1]),
        };
        // Where the plans are not kept they are the same as now.
        plan.unwrap_or(self.cell(slot).now)
    }

    /// What is held of a resource in each set, to be changed; as many of them as are kept.
    fn held_mut(&mut self, slot: Slot) -> (&mut Cell, &mut [Tally]) {
        self.cell_mut(slot);
        let at = usize::from(slot);
        (&mut self.cells[at], self.plans.get_mut(at).map_or(&mut [], |plan| plan.as_mut_slice()))
    }

    /// Adds so much to what is held in each set, and leaves in `raises` by how much that raises what is occupied.
    pub(crate) fn raise(&mut self, slot: Slot, raises: &mut [i64; 3], usages: [i64; 3]) {
        let (cell, plans) = self.held_mut(slot);
        let unlendable = cell.unlendable;
        let mut raise = |tally: &mut Tally, set: usize| {
            let before = tally.inner.max(unlendable);
            tally.inner += raises[set];
            tally.usage += usages[set];
            raises[set] = tally.inner.max(unlendable) - before;
        };
        raise(&mut cell.now, 0);
        if let [all, owners] = plans {
            raise(all, 1);
            raise(owners, 2);
        } else {
            *raises = [raises[0]; 3];
        }
    }

    /// What is occupied of a resource where nothing is held.
    pub(crate) fn kept(&self, slot: Slot) -> i64 {
        self.kept_below(slot).max(self.cell(slot).unlendable)
    }

    /// The same without what is not lendable of its own.
    pub(crate) fn kept_below(&self, slot: Slot) -> i64 {
        self.kept_below.get(usize::from(slot)).copied().unwrap_or(0)
    }

    pub(crate) fn cell(&self, slot: Slot) -> &Cell {
        self.cells.get(usize::from(slot)).unwrap_or(&Cell::EMPTY)
    }

    pub(crate) fn cell_mut(&mut self, slot: Slot) -> &mut Cell {
        &mut self.cells_to(slot)[usize::from(slot)]
    }

    /// The cells of all resources, at least up to this one.
    pub(crate) fn cells_to(&mut self, top: Slot) -> &mut [Cell] {
        if self.cells.len() <= usize::from(top) {
            self.widen(usize::from(top) + 1);
        }
        &mut self.cells
    }

    #[cold]
    fn widen(&mut self, slots: usize) {
        self.cells.resize(slots, Cell::EMPTY);
        if self.marked > 0 {
            self.plans.resize(slots, [Tally::default(); 2]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::{Cell, Node};

    /// What comes first in a node is what is looked at most: this fails where a field has pushed it apart.
    #[test]
    fn a_question_takes_one_line_of_a_node_and_a_change_two() {
        assert_eq!(offset_of!(Node, cells) + size_of::<Vec<Cell>>(), 64);
        assert_eq!((offset_of!(Node, victims), offset_of!(Node, tenant)), (64, 128));
    }
}
