//! A pool's tree and its counters: what fits, what stays within a guarantee, what is borrowed.
//!
//! Every node counts three times over: what is held *now*, and what is held in the two *plans* of reclaim, in which
//! what is being reclaimed is gone and what tickets with a claim ask for is held: *all* claims, or *owners'* alone.
//! Where nothing under a node is claimed or gives way the plans are the same as now, and are not kept.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::amount::AMOUNT_MAX;
use crate::ask::Ask;
use crate::asks::Asks;
use crate::config::{Order, Pool, ShareOf};
use crate::dispatch::{Candidate, Rank};
use crate::hold::Standers;
use crate::memo::Memo;
use crate::name::{Resource, TenantPath};
use crate::node::{Cell, Node, Tally};
use crate::prefetch::prefetch;
use crate::queue::Shapes;
use crate::reclaim::Claims;
use crate::request::Id;
use crate::rows::Rows;
use crate::share::Share;
use crate::time::Time;

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
    pub(crate) arrivals: Rows<(Time, Id)>,
    /// Leases by admission; kept only where `min_runtime` is.
    pub(crate) admissions: Rows<(Time, Id)>,
    /// Running leases whose length was declared, and its sum in nanoseconds.
    pub(crate) declared: (u64, u128),
    /// Lengths of the leases that ended, as a running mean in nanoseconds; none before the first.
    pub(crate) observed_length: Option<u64>,
}

impl PoolState {
    pub(crate) fn node(&self, node: NodeId) -> &Node {
        &self.nodes[node as usize]
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
