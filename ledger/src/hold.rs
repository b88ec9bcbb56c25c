//! Holds: what is freed gathers for a ticket that has waited long enough.

use std::collections::BTreeMap;

use crate::config::Order;
use crate::entry::{Entry, Place};
use crate::ledger::{Ledger, PoolIndex};
use crate::pool::{Ask, Leaf, NodeId, PoolState, ROOT, Set, Slot};
use crate::queue::Shape;
use crate::request::Id;
use crate::time::Time;

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
            for (slot, amount) in &ask.0 {
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
