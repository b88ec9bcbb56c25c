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
    /// What is to be done about holds once the pool is at rest: one is lost, its turn is over, or a ticket gets it.
    ///
    /// Holds are decided at rest, and kept while tickets are admitted: else a hold would be lost in the very moment
    /// in which what it waited for comes free.
    pub(crate) fn judge_holds(&self, at: PoolIndex, now: Time) -> Option<Entry> {
        let pool = self.pool_at(at);
        let ripe = pool.arrivals.first().is_some_and(|(arrived, _)| arrived.after(pool.spec.hold_after) <= now);
        if !ripe && pool.held.is_empty() {
            return None;
        }
        let mut wanted = BTreeMap::new();
        if ripe {
            self.gather_standing(at, ROOT, now, &mut wanted);
        }
        for node in &pool.held {
            let hold = pool.node(*node).hold?;
            if wanted.get(node) != Some(&hold.waits) {
                return Some(Entry::HoldLost { id: hold.ticket });
            }
            if !pool.spec.hold_for.is_zero() && hold.since.after(pool.spec.hold_for) <= now {
                return Some(Entry::HoldTurned { id: hold.ticket });
            }
        }
        let (node, (_, id)) = wanted.into_iter().find(|(node, _)| pool.node(*node).hold.is_none())?;
        let node = pool.node(node);
        Some(Entry::Held { id, place: Place { tenant: node.path.clone(), own: node.own } })
    }

    /// Of the tickets that stand at each node: the one that waits longest.
    fn gather_standing(&self, at: PoolIndex, node: NodeId, now: Time, wanted: &mut BTreeMap<NodeId, (Time, Id)>) {
        let pool = self.pool_at(at);
        let here = pool.node(node);
        if here.waiting == 0 || here.weightless || here.inactive {
            return;
        }
        for child in &here.children {
            self.gather_standing(at, *child, now, wanted);
        }
        let leaf = Leaf::at(node);
        let mut take = |shape: &Shape, tickets: &mut dyn Iterator<Item = (Time, Id)>| {
            if !self.could_ever(at, &leaf, shape, now) {
                return;
            }
            let Some((stands, _)) = pool.blocked(&Set::Now, &leaf, &shape.ask).first().copied() else { return };
            for (arrived, id) in tickets {
                if arrived.after(pool.spec.hold_after) > now {
                    break;
                }
                let turned = self.tickets.get(&id).and_then(|record| record.turned);
                let waits = match turned {
                    Some((node, turned)) if node == stands => (turned, id),
                    _ => (arrived, id),
                };
                let best = wanted.entry(stands).or_insert(waits);
                *best = waits.min(*best);
                if waits.0 == arrived {
                    break; // those behind it in its line arrived later
                }
            }
        };
        match pool.spec.order {
            Order::Backfill => {
                for (shape, line) in &here.queue.lines {
                    take(shape, &mut line.arrivals.iter().copied());
                }
            }
            Order::Strict => {
                if let Some(record) = here.queue.order.first().and_then(|key| self.tickets.get(&key.id))
                    && record.claim.is_none()
                {
                    take(&record.shape, &mut std::iter::once((record.ticket.arrived, record.ticket.id)));
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
