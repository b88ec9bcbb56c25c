//! Holds: what is freed gathers for a ticket that has waited long enough.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::ask::Ask;
use crate::bundle::{Bundle, Bundles};
use crate::config::Order;
use crate::entry::{Entry, Place};
use crate::ledger::{Ledger, Map, PoolIndex};
use crate::pool::{Leaf, NodeId, PoolState, ROOT, Set, Slot};
use crate::queue::{Line, Shape};
use crate::request::Id;
use crate::time::Time;

/// Tickets up to which what is remembered is found out the long way too where that is checked.
const CHECKED_MAX: usize = 64;

/// Who waits longest of some who ask for the same.
#[derive(Clone, Copy, Debug)]
struct Longest {
    waits: (Time, Id),
    /// Some of them may have had their turn, and waited longer than that tells.
    turned: bool,
}

impl Longest {
    fn longer(self, other: Self) -> Self {
        Self { waits: self.waits.min(other.waits), turned: self.turned || other.turned }
    }
}

/// Who stands where in a subtree.
#[derive(Debug)]
pub(crate) struct Standers {
    /// It holds before this.
    until: Time,
    /// It can be told without looking at every ticket.
    exact: bool,
    /// Nodes where another has to have the hold than has it, or nobody.
    changes: Vec<(NodeId, Option<Id>)>,
    /// By the numbers of shapes: who is blocked nowhere in it.
    open: Vec<(usize, Longest)>,
}

impl Default for Standers {
    fn default() -> Self {
        Self { until: Time::NEVER, exact: true, changes: Vec::new(), open: Vec::new() }
    }
}

/// What was gathered of who stands where.
#[derive(Default)]
struct Gathered {
    standing: Standers,
    /// Who is blocked nowhere yet.
    open: Map<usize, Longest>,
}

impl Gathered {
    fn take_open(&mut self, shape: usize, longest: Longest) {
        let known = self.open.entry(shape).or_insert(longest);
        *known = known.longer(longest);
    }

    /// Takes in a part of the tree.
    fn take(&mut self, part: &Standers) {
        self.standing.until = self.standing.until.min(part.until);
        self.standing.exact &= part.exact;
        self.standing.changes.extend_from_slice(&part.changes);
        part.open.iter().for_each(|(shape, longest)| self.take_open(*shape, *longest));
    }
}

/// A ticket's hold at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) ticket: Id,
    /// Since when without a break.
    pub(crate) since: Time,
    /// By what it comes before others: its arrival, or when its last turn here was over.
    pub(crate) waits: (Time, Id),
}

impl Ledger {
    /// Who has his hold where, once the pool is at rest: where that changes, all of it together.
    ///
    /// Holds are decided at rest, and kept while tickets are admitted: else a hold would be lost in the very moment
    /// in which what it waited for comes free.
    pub(crate) fn judge_holds(&self, at: PoolIndex, now: Time) -> Option<Entry> {
        let pool = self.pool_at(at);
        let ripe = pool.arrivals.first().is_some_and(|(arrived, _)| arrived.after(pool.spec.hold_after) <= now);
        if !ripe && pool.held.is_empty() {
            return None;
        }
        let over = |(since, _): &(Time, NodeId)| since.after(pool.spec.hold_for) <= now;
        let turn = !pool.spec.hold_for.is_zero() && pool.turns.first().is_some_and(over);
        // What an ask raises above a guarantee that is not lendable depends on where it is made.
        if turn || !ripe || pool.node(ROOT).stiff {
            return self.sweep_holds(at, now, ripe);
        }
        let standing = self.standers(at, ROOT, now);
        if !standing.exact {
            return self.sweep_holds(at, now, ripe);
        }
        let mut changes = standing.changes.clone();
        changes.sort_unstable_by_key(|(node, _)| *node);
        let hold = |(node, _): &(NodeId, Option<Id>)| pool.node(*node).hold.map(|hold| hold.ticket);
        let lost: Vec<Id> = changes.iter().filter_map(hold).collect();
        let place = |(node, id): &(NodeId, Option<Id>)| {
            let node = pool.node(*node);
            Some(((*id)?, Place { tenant: node.path.clone(), own: node.own }))
        };
        let held: Vec<(Id, Place)> = changes.iter().filter_map(place).collect();
        let judged = (!changes.is_empty()).then(|| Entry::HoldsPassed {
            pool: pool.spec.name.clone(),
            turned: Vec::new(),
            lost,
            held,
        });
        debug_assert!(pool.node(ROOT).waiting > CHECKED_MAX as u64 || judged == self.sweep_holds(at, now, ripe));
        judged
    }

    /// Who stands where in a subtree, as far as that differs from who has his hold there; and of those who are not
    /// blocked in it, the ones that wait longest.
    fn standers(&self, at: PoolIndex, node: NodeId, now: Time) -> Arc<Standers> {
        let pool = self.pool_at(at);
        let here = pool.node(node);
        if !here.varied
            && let Some(known) = pool.standers.get((node, 0, 0), here.stamp, &[]).filter(|known| now < known.until)
        {
            return known;
        }
        let mut gathered = Gathered::default();
        if !here.weightless && !here.inactive {
            self.longest(at, node, now).into_iter().for_each(|(shape, longest)| gathered.take_open(shape, longest));
        }
        if here.wide && !here.varied {
            let levels = here.bundles.levels();
            self.gather_bundles(at, node, levels, 0..here.bundles.level(levels).len(), now, &mut gathered);
        } else {
            self.gather_children(at, &here.children, now, &mut gathered);
        }
        let Gathered { mut standing, open } = gathered;
        let mut stands: Option<Longest> = None;
        for (shape, longest) in open {
            let ask = &self.tickets[&longest.waits.1].shape.ask;
            if ask.0.iter().all(|(slot, amount)| {
                let cell = here.cell(*slot);
                cell.now.usage + amount <= cell.limit
            }) {
                standing.open.push((shape, longest));
            } else {
                stands = Some(stands.map_or(longest, |known| known.longer(longest)));
            }
        }
        let mut wants = None;
        if let Some(longest) = stands {
            let ripe = self.tickets[&longest.waits.1].ticket.arrived.after(pool.spec.hold_after);
            if ripe <= now {
                wants = Some(longest.waits.1);
            } else {
                standing.until = standing.until.min(ripe);
                // One that had its turn may have waited long enough, and be told as if it had just come.
                standing.exact &= !longest.turned;
            }
        }
        if wants != here.hold.map(|hold| hold.ticket) {
            standing.changes.push((node, wants));
        }
        let standing = Arc::new(standing);
        if !here.varied {
            pool.standers.keep((node, 0, 0), here.stamp, &[], standing.clone());
        }
        standing
    }

    /// Gathers who stands where under some children.
    fn gather_children(&self, at: PoolIndex, children: &[NodeId], now: Time, gathered: &mut Gathered) {
        let pool = self.pool_at(at);
        for child in children {
            let below = pool.node(*child);
            if below.oldest.is_some() || below.holds > 0 {
                gathered.take(&self.standers(at, *child, now));
            }
        }
    }

    /// The same for some bundles of a level: each is gathered once as long as nothing changes.
    fn gather_bundles(
        &self,
        at: PoolIndex,
        node: NodeId,
        level: usize,
        range: Range<usize>,
        now: Time,
        gathered: &mut Gathered,
    ) {
        let pool = self.pool_at(at);
        let here = pool.node(node);
        for bundle in range {
            let part = (node, level, bundle);
            let Bundle { stamp, oldest } = here.bundles.level(level)[bundle];
            if oldest.is_none() && here.holds == 0 {
                continue;
            }
            let known = pool.standers.get(part, stamp, &[]).filter(|known| now < known.until);
            let below = known.unwrap_or_else(|| {
                let mut some = Gathered::default();
                if level == 1 {
                    let children = Bundles::range(bundle, here.children.len());
                    self.gather_children(at, &here.children[children], now, &mut some);
                } else {
                    let bundles = Bundles::range(bundle, here.bundles.level(level - 1).len());
                    self.gather_bundles(at, node, level - 1, bundles, now, &mut some);
                }
                let Gathered { mut standing, open } = some;
                standing.open = open.into_iter().collect();
                let standing = Arc::new(standing);
                pool.standers.keep(part, stamp, &[], standing.clone());
                standing
            });
            gathered.take(&below);
        }
    }

    /// Of a leaf's tickets, for every shape that could ever be admitted: the one that waits longest.
    fn longest(&self, at: PoolIndex, node: NodeId, now: Time) -> Vec<(usize, Longest)> {
        let pool = self.pool_at(at);
        let queue = &pool.node(node).queue;
        let leaf = Leaf::at(node);
        let could = |shape: &Shape| self.could_ever(at, &leaf, shape, now);
        match pool.spec.order {
            Order::Backfill => {
                let lines = queue.lines.iter().filter(|(shape, _)| could(shape));
                let longest = |line: &Line| Some(Longest { waits: *line.waits.first()?, turned: line.turned });
                lines.filter_map(|(_, line)| Some((line.shape, longest(line)?))).collect()
            }
            Order::Strict => {
                let first = queue.order.first().and_then(|key| self.tickets.get(&key.id));
                let first = first.filter(|record| record.claim.is_none() && could(&record.shape));
                let line = first.and_then(|record| Some((record, queue.lines.get(&record.shape)?.shape)));
                line.map(|(record, shape)| (shape, Longest { waits: record.waits(), turned: record.turned.is_some() }))
                    .into_iter()
                    .collect()
            }
        }
    }

    /// The same as is judged otherwise, found out by going through all lines; and whose turn is over.
    fn sweep_holds(&self, at: PoolIndex, now: Time, ripe: bool) -> Option<Entry> {
        let pool = self.pool_at(at);
        let holds: Vec<(NodeId, Hold)> =
            pool.held.iter().filter_map(|node| Some((*node, pool.node(*node).hold?))).collect();
        let over = |(node, hold): &&(NodeId, Hold)| {
            !pool.spec.hold_for.is_zero()
                && hold.since.after(pool.spec.hold_for) <= now
                && self.stands_at(at, hold, now) == Some(*node)
        };
        let turned: Vec<Id> = holds.iter().filter(over).map(|(_, hold)| hold.ticket).collect();
        let mut wanted = BTreeMap::new();
        if ripe {
            self.gather_standing(at, ROOT, now, &turned, &mut wanted);
        }
        let keeps = |(node, hold): &(NodeId, Hold)| {
            wanted.get(node).is_some_and(|(_, id)| *id == hold.ticket) && !turned.contains(&hold.ticket)
        };
        let lost: Vec<Id> = holds.iter().filter(|hold| !keeps(hold)).map(|(_, hold)| hold.ticket).collect();
        let held: Vec<(Id, Place)> = wanted
            .iter()
            .filter(|(node, _)| !holds.iter().any(|hold| hold.0 == **node && keeps(hold)))
            .map(|(node, (_, id))| {
                let node = pool.node(*node);
                (*id, Place { tenant: node.path.clone(), own: node.own })
            })
            .collect();
        if turned.is_empty() && lost.is_empty() && held.is_empty() {
            return None;
        }
        Some(Entry::HoldsPassed { pool: pool.spec.name.clone(), turned, lost, held })
    }

    /// Where the ticket of a hold stands, if it may hold still.
    fn stands_at(&self, at: PoolIndex, hold: &Hold, now: Time) -> Option<NodeId> {
        let pool = self.pool_at(at);
        let record = self.tickets.get(&hold.ticket)?;
        let here = pool.node(record.leaf);
        let first = pool.spec.order == Order::Backfill || here.queue.order.first() == Some(&record.key);
        let leaf = Leaf::at(record.leaf);
        let may = first && record.claim.is_none() && !here.weightless && self.could_ever(at, &leaf, &record.shape, now);
        let blocked = if may { pool.blocked(&Set::Now, &leaf, &record.shape.ask) } else { Vec::new() };
        blocked.first().map(|(node, _)| *node)
    }

    /// Of the tickets that stand at each node: the one that waits longest.
    fn gather_standing(
        &self,
        at: PoolIndex,
        node: NodeId,
        now: Time,
        turned: &[Id],
        wanted: &mut BTreeMap<NodeId, (Time, Id)>,
    ) {
        let pool = self.pool_at(at);
        let here = pool.node(node);
        if here.waiting == 0 || here.weightless || here.inactive {
            return;
        }
        for child in &here.children {
            self.gather_standing(at, *child, now, turned, wanted);
        }
        let leaf = Leaf::at(node);
        let mut take = |shape: &Shape, tickets: &mut dyn Iterator<Item = (Time, Id)>| {
            if !self.could_ever(at, &leaf, shape, now) {
                return;
            }
            let Some((stands, _)) = pool.blocked(&Set::Now, &leaf, &shape.ask).first().copied() else { return };
            let mut best = None;
            for (since, id) in tickets {
                let back = turned.contains(&id);
                if self.tickets[&id].ticket.arrived.after(pool.spec.hold_after) > now {
                    continue;
                }
                let waits = if back { (now, id) } else { (since, id) };
                best = Some(best.map_or(waits, |best: (Time, Id)| best.min(waits)));
                if !back {
                    break; // those behind it in its line have waited less
                }
            }
            if let Some(best) = best {
                let longest = wanted.entry(stands).or_insert(best);
                *longest = best.min(*longest);
            }
        };
        match pool.spec.order {
            Order::Backfill => {
                for (shape, line) in &here.queue.lines {
                    take(shape, &mut line.waits.iter().copied());
                }
            }
            Order::Strict => {
                if let Some(record) = here.queue.order.first().and_then(|key| self.tickets.get(&key.id))
                    && record.claim.is_none()
                {
                    take(&record.shape, &mut std::iter::once(record.waits()));
                }
            }
        }
    }

    /// Whether somebody's hold stands against an asker: the node and the resource.
    pub(crate) fn holds_against(
        &self,
        at: PoolIndex,
        leaf: &Leaf,
        ask: &Ask,
        waits: (Time, Id),
        guaranteed: &dyn Fn(Slot) -> bool,
    ) -> Option<(NodeId, Slot)> {
        let pool = self.pool_at(at);
        if pool.held.is_empty() {
            return None;
        }
        let start = leaf.unmade.as_ref().map_or(leaf.node, |unmade| unmade.parent);
        for node in pool.up(start) {
            let Some(hold) = pool.node(node).hold else { continue };
            if hold.ticket == waits.1 || hold.waits > waits {
                continue;
            }
            let blocked = self.hold_blocked(pool, node, &hold);
            for (slot, amount) in ask.0.iter() {
                if *amount > 0 && blocked.contains(slot) && !guaranteed(*slot) {
                    return Some((node, *slot));
                }
            }
        }
        None
    }

    /// The resources in which a hold's ticket is blocked where it has its hold.
    pub(crate) fn hold_blocked(&self, pool: &PoolState, node: NodeId, hold: &Hold) -> Vec<Slot> {
        let Some(record) = self.tickets.get(&hold.ticket) else { return Vec::new() };
        pool.blocked(&Set::Now, &Leaf::at(record.leaf), &record.shape.ask)
            .into_iter()
            .filter(|(at, _)| *at == node)
            .map(|(_, slot)| slot)
            .collect()
    }
}
