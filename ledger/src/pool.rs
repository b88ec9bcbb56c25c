//! A pool's tree and its counters: what fits, what stays within a guarantee, what is borrowed.
//!
//! Every node counts three times over: what is held *now*, and what is held in the two *plans* of reclaim, in which
//! what is being reclaimed is gone and what tickets with a claim ask for is held: *all* claims, or *owners'* alone.
//! Where nothing under a node is claimed or gives way the plans are the same as now, and are not kept.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::amount::{AMOUNT_MAX, Amount, Amounts};
use crate::asks::Asks;
use crate::average::Average;
use crate::bundle::Bundles;
use crate::burst::BurstState;
use crate::config::{Burst, Enforce, Order, Pool, ShareOf};
use crate::dispatch::{Candidate, Rank};
use crate::hold::{Hold, Standers};
use crate::ledger::TenantIndex;
use crate::memo::Memo;
use crate::name::{Resource, TenantPath};
use crate::prefetch::prefetch;
use crate::queue::{Queue, Shapes};
use crate::reclaim::Claims;
use crate::request::{Id, Request};
use crate::requests::TenantSerial;
use crate::share::Share;
use crate::time::Time;
use crate::victims::Victims;

/// A node of a pool's tree; 0 is the root.
pub(crate) type NodeId = u32;
/// The root: the pool itself.
pub(crate) const ROOT: NodeId = 0;
/// The leaf of a member that is not made yet.
pub(crate) const UNMADE: NodeId = u32::MAX;
/// A resource's place in the tables of a pool.
pub(crate) type Slot = u16;
/// What a pool's leases may hold of a resource altogether, so that counters cannot overflow.
pub(crate) const HELD_MAX: i64 = 2 * AMOUNT_MAX as i64;
/// No limit: above every one that can be configured, and as much as can be held, so that neither what is admitted from
/// the queue nor a plan counts beyond that.
pub(crate) const NO_LIMIT: i64 = HELD_MAX;
/// Resources that are taken up the tree together.
pub(crate) const CLIMB: usize = 8;
/// Names of resources that a pool knows at once: a pool's nodes have a counter for each that they hold.
pub(crate) const SLOTS_MAX: usize = 1024;

/// What is asked for or held, of all instances together: by resource, in the order of names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ask(pub(crate) Arc<[(Slot, i64)]>);

impl Ask {
    pub(crate) fn of(&self, slot: Slot) -> i64 {
        self.0.iter().find(|(s, _)| *s == slot).map_or(0, |(_, amount)| *amount)
    }

    /// Of `count` times as many instances.
    pub(crate) fn times(&self, count: u32) -> Self {
        Self(self.0.iter().map(|(slot, amount)| (*slot, amount.saturating_mul(i64::from(count)))).collect())
    }
}

/// The same of a few resources, where it is needed for a moment only.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terms {
    few: [(Slot, i64); CLIMB],
    len: usize,
}

impl Terms {
    /// Adds a resource; none where nothing is asked of it, or there is no room for it.
    fn push(&mut self, slot: Slot, amount: Amount, count: u32) -> Option<()> {
        let term = self.few.get_mut(self.len).filter(|_| amount > 0)?;
        *term = (slot, (amount as i64).saturating_mul(count.into()));
        self.len += 1;
        Some(())
    }

    pub(crate) fn as_slice(&self) -> &[(Slot, i64)] {
        self.few.get(..self.len).unwrap_or(&[])
    }
}

/// Which counters are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    /// What is held.
    Now,
    /// The plan of all claims.
    All,
    /// The plan of owners' claims alone.
    Owners,
}

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
    fn announce_cells(&self) {
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
    fn held(&self, set: Set, slot: Slot) -> Tally {
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

/// A resource that a pool knows.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) name: Resource,
    /// None where the pool's capacity does not name it: then it has no guarantee, no borrowing and no share.
    pub(crate) capacity: Option<i64>,
    /// No lifecycle scales it.
    pub(crate) stored: bool,
    /// The configuration names it.
    pub(crate) configured: bool,
    /// Leases and tickets that name it.
    pub(crate) named: u64,
    /// What the tickets ask for, if each gets all that it would take.
    pub(crate) awaited: i128,
}

/// What one asker's amount would do to one node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effect {
    pub(crate) slot: Slot,
    /// What is asked for.
    pub(crate) amount: i64,
    pub(crate) usage: i64,
    pub(crate) occupied: i64,
    pub(crate) occupied_after: i64,
    pub(crate) guarantee: i64,
    pub(crate) limit: i64,
}

impl Effect {
    /// Of an amount, of which so much is not taken up by what is not lendable below.
    pub(crate) fn of(slot: Slot, amount: i64, raise: i64, cell: &Cell, tally: Tally) -> Self {
        Self {
            slot,
            amount,
            usage: tally.usage,
            occupied: tally.occupied(cell),
            occupied_after: (tally.inner + raise).max(cell.unlendable),
            guarantee: cell.guarantee,
            limit: cell.limit,
        }
    }

    pub(crate) fn fits(&self) -> bool {
        self.occupied_after <= self.limit
            || (self.occupied_after == self.occupied && self.usage + self.amount <= self.limit)
    }

    pub(crate) fn within(&self) -> bool {
        self.occupied_after <= self.guarantee
    }
}

/// Somewhere counters are read: the pool's own sets, or a plan that is tried out.
pub(crate) trait Counters {
    fn tally(&self, pool: &PoolState, node: NodeId, slot: Slot) -> Tally;
}

impl Counters for Set {
    fn tally(&self, pool: &PoolState, node: NodeId, slot: Slot) -> Tally {
        pool.nodes[node as usize].held(*self, slot)
    }
}

/// The counters of a ledger that holds nothing.
pub(crate) struct Empty;

impl Counters for Empty {
    fn tally(&self, pool: &PoolState, node: NodeId, slot: Slot) -> Tally {
        Tally { usage: 0, inner: pool.nodes[node as usize].kept_below(slot) }
    }
}

/// Where an asker stands in the tree.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    /// Its leaf; [`UNMADE`] for a member that is not made yet.
    pub(crate) node: NodeId,
    /// The member that would be made.
    pub(crate) unmade: Option<Box<Unmade>>,
}

/// A member that would be made.
#[derive(Clone, Debug)]
pub(crate) struct Unmade {
    pub(crate) parent: NodeId,
    pub(crate) path: TenantPath,
    pub(crate) cells: Vec<Cell>,
    pub(crate) inactive: bool,
}

impl Leaf {
    pub(crate) fn at(node: NodeId) -> Self {
        Self { node, unmade: None }
    }
}

/// A pool as it stands.
#[derive(Clone, Debug)]
pub(crate) struct PoolState {
    pub(crate) spec: Pool,
    pub(crate) known: Vec<Option<Known>>,
    /// Places by name.
    pub(crate) slots: Vec<(Resource, Slot)>,
    /// What is asked for again and again.
    pub(crate) asks: Asks,
    /// The same in all pools of this name where tenants have the same leaves.
    pub(crate) layout: u64,
    pub(crate) nodes: Vec<Node>,
    /// Nodes that are not in use.
    pub(crate) spare: Vec<NodeId>,
    /// Nodes by the place of their tenant in the ledger's table.
    pub(crate) of_tenant: Vec<Option<NodeId>>,
    /// What the tickets without a claim ask for.
    pub(crate) shapes: Shapes,
    pub(crate) memo: Memo<Option<(Rank, Candidate)>>,
    /// Who stands where, by node.
    pub(crate) standers: Memo<Arc<Standers>>,
    pub(crate) claims: Claims,
    /// The ticket that was just queued, and tries at once, and when that was.
    pub(crate) fresh: Option<(Id, Time)>,
    /// Nodes where somebody has a hold.
    pub(crate) held: BTreeSet<NodeId>,
    /// Of these, the ones where its ticket may not be blocked any more.
    pub(crate) opened: BTreeSet<NodeId>,
    /// By since when.
    pub(crate) turns: BTreeSet<(Time, NodeId)>,
    /// Nodes with a bounded burst that is running or over.
    pub(crate) bursting: BTreeSet<NodeId>,
    /// Those that are running, by when they are over.
    pub(crate) burst_ends: BTreeSet<(Time, NodeId)>,
    /// Tickets by arrival.
    pub(crate) arrivals: BTreeSet<(Time, Id)>,
    /// Leases by admission; kept only where `min_runtime` is.
    pub(crate) admissions: BTreeSet<(Time, Id)>,
    /// Running leases whose length was declared, and its sum in nanoseconds.
    pub(crate) declared: (u64, u128),
    /// Lengths of the leases that ended, as a running mean in nanoseconds; none before the first.
    pub(crate) observed_length: Option<u64>,
}

/// The place of a resource among those of the greatest names, which are what is left after it.
#[inline(never)]
fn skip_to(rest: &mut &[(Resource, Slot)], name: &Resource) -> Option<Slot> {
    let at = match rest {
        [_, (next, _), ..] if next == name => 1,
        _ => rest.binary_search_by(|(known, _)| known.cmp(name)).ok()?,
    };
    let slot = rest[at].1;
    *rest = &rest[at + 1..];
    Some(slot)
}

impl PoolState {
    pub(crate) fn node(&self, node: NodeId) -> &Node {
        &self.nodes[node as usize]
    }

    pub(crate) fn slot(&self, resource: &str) -> Option<Slot> {
        let at = self.slots.binary_search_by(|(name, _)| name.as_str().cmp(resource)).ok()?;
        Some(self.slots[at].1)
    }

    /// The places of resources, in the order of names; none for those that are not known.
    fn places<'a>(&'a self, resources: &'a Amounts) -> impl Iterator<Item = (Option<Slot>, Amount)> + 'a {
        let mut rest = self.slots.as_slice();
        resources.iter().map(move |(name, amount)| match rest {
            // Mostly the next that is asked for is the next that is known.
            [(next, slot), after @ ..] if next == name => {
                rest = after;
                (Some(*slot), amount)
            }
            _ => (skip_to(&mut rest, name), amount),
        })
    }

    /// What so many instances ask for. A resource that the pool does not know binds nobody, and is left out.
    pub(crate) fn ask_of(&self, resources: &Amounts, count: u32) -> Ask {
        let mut ask = Vec::with_capacity(resources.len());
        for (slot, amount) in self.places(resources) {
            if let Some(slot) = slot.filter(|_| amount > 0) {
                ask.push((slot, (amount as i64).saturating_mul(count.into())));
            }
        }
        Ask(ask.into())
    }

    /// Adds what so many instances ask for, in the order of names; none where a resource is not known, nothing is asked of
    /// it, or they are too many.
    fn take_terms(&self, resources: &Amounts, count: u32, terms: &mut Terms) -> Option<()> {
        for (slot, amount) in self.places(resources) {
            terms.push(slot?, amount, count)?;
        }
        Some(())
    }

    /// The same with what the pool adds, which comes last.
    pub(crate) fn take_all_terms(&self, resources: &Amounts, count: u32, terms: &mut Terms) -> Option<()> {
        self.take_terms(resources, count, terms)?;
        for (name, amount) in self.spec.implied.iter().filter(|(name, _)| resources.get(name.as_str()).is_none()) {
            terms.push(self.slot(name.as_str())?, amount, count)?;
        }
        Some(())
    }

    /// Counts resources that a lease or a ticket of so many instances names, and says what it asks for.
    pub(crate) fn name_resources(&mut self, resources: &Amounts, count: u32) -> Ask {
        let mut terms = Terms::default();
        let ask = match self.take_terms(resources, count, &mut terms) {
            Some(()) => self.asks.share(terms.as_slice()),
            None => {
                let asked = resources.iter().filter(|(_, amount)| *amount > 0).map(|(name, _)| name);
                let new: Vec<_> = asked.filter(|name| self.slot(name.as_str()).is_none()).collect();
                new.into_iter().for_each(|name| self.know(name.clone()));
                self.ask_of(resources, count)
            }
        };
        for (slot, _) in ask.0.iter() {
            if let Some(known) = &mut self.known[usize::from(*slot)] {
                known.named += 1;
            }
        }
        ask
    }

    /// The places of resources that the configuration names.
    pub(crate) fn configured(&self) -> impl Iterator<Item = Slot> + '_ {
        let known = (0..).zip(&self.known);
        known.filter(|(_, known)| known.as_ref().is_some_and(|known| known.configured)).map(|(slot, _)| slot)
    }

    /// Gives a place to a resource that was not known.
    pub(crate) fn know(&mut self, name: Resource) {
        let known =
            Known { name: name.clone(), capacity: None, stored: false, configured: false, named: 0, awaited: 0 };
        let slot = match self.known.iter().position(Option::is_none) {
            Some(free) => {
                self.known[free] = Some(known);
                free
            }
            None => {
                self.known.push(Some(known));
                self.known.len() - 1
            }
        };
        let before = self.slots.partition_point(|(other, _)| *other < name);
        self.slots.insert(before, (name, slot as Slot));
    }

    /// What was asked for is named no more; what nothing names any more is forgotten.
    pub(crate) fn unname_resources(&mut self, ask: &Ask) {
        for (slot, _) in ask.0.iter() {
            let Some(known) = &mut self.known[usize::from(*slot)] else { continue };
            known.named -= 1;
            if known.named == 0 && !known.configured {
                self.unknow(*slot);
            }
        }
    }

    /// What nothing names any more is forgotten.
    pub(crate) fn forget_unnamed(&mut self) {
        for slot in 0..self.known.len() as Slot {
            if self.known(slot).is_some_and(|known| known.named == 0 && !known.configured) {
                self.unknow(slot);
            }
        }
    }

    fn unknow(&mut self, slot: Slot) {
        self.known[usize::from(slot)] = None;
        self.slots.retain(|(_, other)| *other != slot);
    }

    /// Counts what a ticket asks for, or takes it away with a negative sign. `ask` is of its least.
    pub(crate) fn count_awaited(&mut self, ask: &Ask, request: &Request, sign: i128) {
        for (slot, amount) in ask.0.iter() {
            if let Some(known) = &mut self.known[usize::from(*slot)] {
                let each = i128::from(*amount) / i128::from(request.min_count.max(1));
                known.awaited += sign * each * i128::from(request.count);
            }
        }
    }

    /// What the tickets ask for of a resource.
    pub(crate) fn awaited(&self, slot: Slot) -> i64 {
        // Nothing to look up where nobody waits, as mostly.
        let awaited = if self.node(ROOT).waiting == 0 { 0 } else { self.known(slot).map_or(0, |known| known.awaited) };
        i64::try_from(awaited).unwrap_or(i64::MAX)
    }

    pub(crate) fn known(&self, slot: Slot) -> Option<&Known> {
        self.known.get(usize::from(slot)).and_then(Option::as_ref)
    }

    /// The capacity of a resource; none where the pool's capacity does not name it.
    pub(crate) fn capacity(&self, slot: Slot) -> Option<i64> {
        self.known(slot).and_then(|known| known.capacity)
    }

    /// From `node` up to the root.
    pub(crate) fn up(&self, node: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let mut next = if node == UNMADE { None } else { Some(node) };
        std::iter::from_fn(move || {
            let node = next?;
            next = (node != ROOT).then(|| self.nodes[node as usize].parent);
            Some(node)
        })
    }

    /// The path of a node, or of the member that would be made.
    pub(crate) fn path_of<'a>(&'a self, leaf: &'a Leaf, node: NodeId) -> &'a TenantPath {
        match &leaf.unmade {
            Some(unmade) if node == UNMADE => &unmade.path,
            _ => &self.node(node).path,
        }
    }

    /// Goes up from the leaf, and says at every node what the ask would do there, by resource in the order of names.
    pub(crate) fn climb<B>(
        &self,
        counters: &impl Counters,
        leaf: &Leaf,
        ask: &Ask,
        mut visit: impl FnMut(NodeId, Effect) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let mut raises = [0i64; crate::amount::RESOURCES_MAX + 32];
        for (raise, (_, amount)) in raises.iter_mut().zip(ask.0.iter()) {
            *raise = *amount;
        }
        let mut step = |node: NodeId, slot: Slot, amount: i64, raise: &mut i64, cell: &Cell, tally: Tally| {
            let effect = Effect::of(slot, amount, *raise, cell, tally);
            *raise = effect.occupied_after - effect.occupied;
            visit(node, effect)
        };
        let mut first = leaf.node;
        if let Some(unmade) = &leaf.unmade {
            for (raise, (slot, amount)) in raises.iter_mut().zip(ask.0.iter()) {
                let cell = unmade.cells.get(usize::from(*slot)).unwrap_or(&Cell::EMPTY);
                // Its parent does not count yet what the member would keep.
                let kept = cell.unlendable;
                step(UNMADE, *slot, *amount, raise, cell, Tally::default())?;
                *raise += kept;
            }
            first = unmade.parent;
        }
        for node in self.up(first) {
            let at = self.node(node);
            for (raise, (slot, amount)) in raises.iter_mut().zip(ask.0.iter()) {
                step(node, *slot, *amount, raise, at.cell(*slot), counters.tally(self, node, *slot))?;
            }
        }
        ControlFlow::Continue(())
    }

    /// A leaf will be looked at soon, and changed: memory is asked for it while other things are seen to. With many tenants
    /// that is a tenth of what a decision takes.
    pub(crate) fn announce(&self, leaf: &Leaf) {
        let Some(node) = self.nodes.get(leaf.node as usize) else { return };
        prefetch(&self.nodes[node.parent as usize]);
        node.announce_cells();
        node.victims.announce();
    }

    /// Whether one look is enough to tell that nothing but a budget stands against what a leaf asks for.
    pub(crate) fn is_open(&self, leaf: NodeId, borrow: bool, ask: &[(Slot, i64)]) -> bool {
        if self.spec.paused || !self.claims.order.is_empty() || !self.held.is_empty() {
            return false;
        }
        let here = self.node(leaf);
        let first = self.spec.order == Order::Backfill || here.queue.order.is_empty();
        borrow && !here.inactive && !here.bounded && first && self.has_room(leaf, ask)
    }

    /// Whether what is asked for stays within every limit from a node up.
    pub(crate) fn has_room(&self, leaf: NodeId, ask: &[(Slot, i64)]) -> bool {
        ask.chunks(CLIMB).all(|some| self.has_room_for(leaf, some))
    }

    fn has_room_for(&self, leaf: NodeId, ask: &[(Slot, i64)]) -> bool {
        let fits = |cells: &[Cell]| {
            // Where it has no cell nothing bounds it.
            let bound = |slot: &Slot| cells.get(usize::from(*slot));
            ask.iter().all(|(slot, amount)| bound(slot).is_none_or(|cell| cell.now.inner + amount <= cell.limit))
        };
        let mut id = leaf;
        while !self.node(id).stiff {
            let node = self.node(id);
            if !fits(&node.cells) {
                return false;
            }
            if id == ROOT {
                return true;
            }
            id = node.parent;
        }
        self.has_stiff_room(id, ask)
    }

    /// The same from a node up where something is not lendable: what is taken up by that raises nothing further up.
    fn has_stiff_room(&self, first: NodeId, ask: &[(Slot, i64)]) -> bool {
        let mut raises = [0i64; CLIMB];
        for (raise, (_, amount)) in raises.iter_mut().zip(ask) {
            *raise = *amount;
        }
        self.up(first).all(|id| {
            let cells = &self.node(id).cells;
            ask.iter().zip(&mut raises).all(|((slot, _), raise)| {
                let Some(cell) = cells.get(usize::from(*slot)) else { return true };
                let before = cell.now.inner;
                let after = (before + *raise).max(cell.unlendable);
                *raise = after - before.max(cell.unlendable);
                after <= cell.limit
            })
        })
    }

    /// Whether a request fits.
    pub(crate) fn fits(&self, counters: &impl Counters, leaf: &Leaf, ask: &Ask) -> bool {
        self.climb(
            counters,
            leaf,
            ask,
            |_, effect| {
                if effect.fits() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            },
        )
        .is_continue()
    }

    /// Whether it stays within the guarantee of `node` in the resources that `which` picks.
    pub(crate) fn within(
        &self,
        counters: &impl Counters,
        leaf: &Leaf,
        ask: &Ask,
        node: NodeId,
        which: impl Fn(Slot) -> bool,
    ) -> bool {
        self.climb(counters, leaf, ask, |at, effect| {
            if at == node && which(effect.slot) && self.capacity(effect.slot).is_some() && !effect.within() {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })
        .is_continue()
    }

    /// Where the request is blocked, from the leaf up.
    pub(crate) fn blocked(&self, counters: &impl Counters, leaf: &Leaf, ask: &Ask) -> Vec<(NodeId, Slot)> {
        let mut blocked = Vec::new();
        let _: ControlFlow<()> = self.climb(counters, leaf, ask, |node, effect| {
            if !effect.fits() {
                blocked.push((node, effect.slot));
            }
            ControlFlow::Continue(())
        });
        blocked
    }

    /// What is occupied at a node.
    pub(crate) fn occupied(&self, set: Set, node: NodeId, slot: Slot) -> i64 {
        let node = self.node(node);
        node.held(set, slot).occupied(node.cell(slot))
    }

    /// What of a node's limit nobody occupies just now.
    pub(crate) fn free(&self, node: NodeId, slot: Slot) -> i64 {
        (self.node(node).cell(slot).limit - self.occupied(Set::Now, node, slot)).max(0)
    }

    /// What a node holds above its guarantee.
    pub(crate) fn borrowed(&self, counters: &impl Counters, node: NodeId, slot: Slot) -> i64 {
        if self.capacity(slot).is_none() {
            return 0;
        }
        let cell = self.node(node).cell(slot);
        (counters.tally(self, node, slot).occupied(cell) - cell.guarantee).max(0)
    }

    /// The weighted dominant share by which dispatch chooses.
    pub(crate) fn share(&self, node: NodeId, now: Time) -> Share {
        self.share_of(node, now, !self.spec.half_life.is_zero())
    }

    /// The weighted dominant share as it is shown: of what is held just now.
    pub(crate) fn share_shown(&self, node: NodeId, now: Time) -> Share {
        self.share_of(node, now, false)
    }

    fn share_of(&self, node: NodeId, now: Time, averaged: bool) -> Share {
        let at = self.node(node);
        let mut share = Share::ZERO;
        for slot in 0..at.cells.len() as Slot {
            let Some(capacity) = self.capacity(slot) else { continue };
            let one = if averaged {
                let average = at.averages.get(usize::from(slot)).copied().unwrap_or_default();
                let usage = at.cell(slot).now.usage;
                let amount = average.at(usage, now, self.spec.half_life);
                Share::new(amount, capacity.saturating_mul(1 << crate::average::AVERAGE_BITS), at.weight)
            } else {
                let amount = match self.spec.share_of {
                    ShareOf::Borrowed => self.borrowed(&Set::Now, node, slot),
                    ShareOf::Usage => at.cell(slot).now.usage,
                };
                Share::new(amount.unsigned_abs().into(), capacity, at.weight)
            };
            share = share.max(one);
        }
        share
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
