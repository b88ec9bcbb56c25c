//! Reclaim: claims, the plan they are decided in, and who gives way.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use foldhash::fast::FixedState;

use crate::ask::Ask;
use crate::book::Book;
use crate::dispatch::Asker;
use crate::entry::{Entry, Guarantee, Place, Victim};
use crate::ledger::{Ledger, PoolIndex};
use crate::node::Tally;
use crate::pool::{Counters, Effect, Leaf, NodeId, PoolState, ROOT, Set, Slot};
use crate::request::Id;
use crate::share::Share;
use crate::time::Time;

/// Claims, or victims, up to which what the book says is found out the long way too where that is checked.
const CHECKED_MAX: usize = 32;

/// A claim's place in the order of claims: owners' first, then by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ClaimKey {
    pub(crate) borrower: bool,
    pub(crate) made: u64,
}

/// A ticket that is spoken for.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) ticket: Id,
    pub(crate) leaf: NodeId,
    pub(crate) ask: Ask,
    /// May its ticket borrow; else it claims no more than its leaf's guarantee.
    pub(crate) borrow: bool,
    /// The guarantees that it claims by.
    pub(crate) by: Vec<(NodeId, Vec<Slot>)>,
    /// It counts on the victims chosen before this number.
    pub(crate) counts_on: u64,
}

/// The claims and the victims of a pool.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims {
    pub(crate) order: BTreeMap<ClaimKey, Claim>,
    /// Leases that give way, in the order chosen.
    pub(crate) victims: BTreeMap<u64, Id>,
    /// The number of the next claim, and of the next victim.
    pub(crate) next_claim: u64,
    pub(crate) next_victim: u64,
    /// What follows from them.
    pub(crate) book: Book,
}

/// A plan that is tried out: the counters of a base, with changes on top.
#[derive(Clone)]
pub(crate) struct Plan {
    base: Set,
    changed: std::collections::HashMap<(NodeId, Slot), Tally, FixedState>,
}

impl Counters for Plan {
    fn tally(&self, pool: &PoolState, node: NodeId, slot: Slot) -> Tally {
        match self.changed.get(&(node, slot)) {
            Some(tally) => *tally,
            None => self.base.tally(pool, node, slot),
        }
    }
}

impl Plan {
    pub(crate) fn on(base: Set) -> Self {
        Self { base, changed: Default::default() }
    }

    /// Adds to what is held under a leaf, or takes away with a negative sign.
    pub(crate) fn add(&mut self, pool: &PoolState, leaf: NodeId, ask: &Ask, sign: i64) {
        let mut raises: Vec<i64> = ask.0.iter().map(|(_, amount)| sign * amount).collect();
        for node in pool.up(leaf) {
            for (raise, (slot, amount)) in raises.iter_mut().zip(ask.0.iter()) {
                let cell = pool.node(node).cell(*slot);
                let mut tally = self.tally(pool, node, *slot);
                let before = tally.occupied(cell);
                tally.inner += *raise;
                tally.usage += sign * amount;
                *raise = tally.occupied(cell) - before;
                self.changed.insert((node, *slot), tally);
            }
        }
    }
}

/// What a ticket found when it tried to claim.
pub(crate) struct Found {
    pub(crate) by: Vec<(NodeId, Vec<Slot>)>,
    pub(crate) victims: Vec<Id>,
}

impl Ledger {
    /// What is to be done about the claims of a pool as they stand: to drop one, or to let one take further victims.
    pub(crate) fn judge_claims(&self, at: PoolIndex, now: Time) -> Option<Entry> {
        let pool = self.pool_at(at);
        if pool.claims.order.is_empty() {
            return None;
        }
        let book = &pool.claims.book;
        let may = |key| pool.claims.order.get(&key).is_none_or(|claim| self.may_claim(at, claim.ticket, now));
        let active = pool.spec.reclaim && !pool.spec.paused;
        if active && book.is_open() && book.all_stand(pool) && book.wary().all(may) {
            debug_assert!(pool.claims.order.len() > CHECKED_MAX || self.sweep_claims(at, now).is_none());
            return None;
        }
        self.sweep_claims(at, now)
    }

    /// The same, found out by going through all of them.
    fn sweep_claims(&self, at: PoolIndex, now: Time) -> Option<Entry> {
        let pool = self.pool_at(at);
        let claims = &pool.claims;
        let mut sweep = Sweep::new(self, pool);
        for claim in claims.order.values() {
            let leaf = Leaf::at(claim.leaf);
            if !self.may_claim(at, claim.ticket, now) || !sweep.at(claim.counts_on).keeps(pool, claim) {
                return Some(Entry::ClaimDropped { id: claim.ticket });
            }
            if !pool.fits(&sweep.plan, &leaf, &claim.ask) {
                let plan = sweep.at(u64::MAX).plan.clone();
                return Some(match self.find_victims(at, &plan, &leaf, &claim.ask, now) {
                    Some(found) => {
                        let mut by = claim.by.clone();
                        by.extend(found.by.into_iter().filter(|one| !claim.by.contains(one)));
                        Entry::ClaimExtended {
                            id: claim.ticket,
                            by: guarantees(pool, &by),
                            victims: self.notices(at, &found.victims, now),
                        }
                    }
                    None => Entry::ClaimDropped { id: claim.ticket },
                });
            }
            sweep.plan.add(pool, claim.leaf, &claim.ask, 1);
        }
        None
    }

    /// The last chosen of the victims whom no claim needs any more.
    pub(crate) fn judge_victims(&self, at: PoolIndex) -> Option<Entry> {
        let pool = self.pool_at(at);
        let sweep = || pool.claims.victims.keys().rev().copied().find(|number| self.stands_without(pool, *number));
        let spare = if pool.claims.book.is_open() {
            let spare = pool.claims.book.spare();
            debug_assert!(pool.claims.victims.len() > CHECKED_MAX || spare == sweep());
            spare
        } else {
            sweep()
        };
        spare.and_then(|number| pool.claims.victims.get(&number)).map(|lease| Entry::LetOff { lease: *lease })
    }

    /// Whether all claims still stand with one victim put back.
    fn stands_without(&self, pool: &PoolState, number: u64) -> bool {
        let mut sweep = Sweep::new(self, pool);
        sweep.spared = Some(number);
        pool.claims.order.values().all(|claim| {
            let leaf = Leaf::at(claim.leaf);
            let sweep = sweep.at(claim.counts_on);
            let stands = sweep.keeps(pool, claim) && pool.fits(&sweep.plan, &leaf, &claim.ask);
            sweep.plan.add(pool, claim.leaf, &claim.ask, 1);
            stands
        })
    }

    /// Whether a ticket may claim at all, whatever it finds.
    pub(crate) fn may_claim(&self, at: PoolIndex, ticket: Id, now: Time) -> bool {
        let pool = self.pool_at(at);
        let Some(ticket) = self.tickets.get(&ticket) else { return false };
        if !pool.spec.reclaim || pool.spec.paused || ticket.ticket.silent {
            return false;
        }
        let queue = &pool.node(ticket.leaf).queue;
        if pool.spec.order == crate::config::Order::Strict && queue.order.first() != Some(&ticket.key) {
            return false;
        }
        self.could_ever(at, &Leaf::at(ticket.leaf), &ticket.shape, now)
    }

    /// Tries a claim for a ticket; the entry to post where it makes one.
    pub(crate) fn try_claim(&self, at: PoolIndex, ticket: Id, now: Time) -> Option<Entry> {
        let pool = self.pool_at(at);
        let record = self.tickets.get(&ticket)?;
        let leaf = Leaf::at(record.leaf);
        let ask = &record.shape.ask;
        // Without room in a guarantee somewhere on its path there is nothing to claim by.
        if !self.could_claim_by(pool, &leaf, ask) || !self.may_claim(at, ticket, now) {
            return None;
        }
        let owner = pool.within(&Set::Owners, &leaf, ask, leaf.node, |_| true);
        if !record.shape.borrow && !owner {
            return None;
        }
        let set = if owner { Set::Owners } else { Set::All };
        let blocked = pool.blocked(&Set::Now, &leaf, ask);
        let found = if pool.fits(&set, &leaf, ask) {
            // Enough is on its way already.
            let (highest, _) = *blocked.last()?;
            let slots: Vec<Slot> = blocked.iter().filter(|(node, _)| *node == highest).map(|(_, slot)| *slot).collect();
            let below: Vec<NodeId> = pool.up(leaf.node).take_while(|node| *node != highest).collect();
            let by = below
                .into_iter()
                .rev()
                .find(|node| pool.within(&set, &leaf, ask, *node, |slot| slots.contains(&slot)))?;
            Some(Found { by: vec![(by, slots)], victims: Vec::new() })
        } else {
            self.find_victims(at, &Plan::on(set), &leaf, ask, now)
        }?;
        Some(Entry::Claimed {
            id: ticket,
            owner,
            by: guarantees(pool, &found.by),
            victims: self.notices(at, &found.victims, now),
        })
    }

    /// A cheap look ahead: whether some node of the path, below the root, has room in its guarantee for some of it.
    fn could_claim_by(&self, pool: &PoolState, leaf: &Leaf, ask: &Ask) -> bool {
        pool.climb(&Set::Owners, leaf, ask, |node, effect| {
            // A resource without guarantees is passed over by every test of them.
            if node != ROOT && (pool.capacity(effect.slot).is_none() || effect.within()) {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })
        .is_break()
    }

    /// Chooses victims one by one until the ask fits in the plan; none where too few can be had.
    fn find_victims(&self, at: PoolIndex, plan: &Plan, leaf: &Leaf, ask: &Ask, now: Time) -> Option<Found> {
        let pool = self.pool_at(at);
        let mut plan = plan.clone();
        let mut found = Found { by: Vec::new(), victims: Vec::new() };
        loop {
            let blocked = pool.blocked(&plan, leaf, ask);
            let Some((highest, _)) = blocked.last().copied() else { return Some(found) };
            let slots: Vec<Slot> = blocked.iter().filter(|(node, _)| *node == highest).map(|(_, slot)| *slot).collect();
            let below: Vec<NodeId> = pool.up(leaf.node).take_while(|node| *node != highest).collect();
            let (by, victim) = below.iter().rev().find_map(|node| {
                if !pool.within(&plan, leaf, ask, *node, |slot| slots.contains(&slot)) {
                    return None;
                }
                let parent = pool.node(*node).parent;
                let victim = self.give(at, &plan, parent, Some(*node), &slots, &found.victims, now)?;
                Some((*node, victim))
            })?;
            let one = (by, slots);
            if !found.by.contains(&one) {
                found.by.push(one);
            }
            let record = &self.leases[&victim];
            plan.add(pool, record.leaf, record.ask(), -1);
            found.victims.push(victim);
        }
    }

    /// The lease that gives way among the children of `parent`, but for `spared`.
    #[expect(clippy::too_many_arguments, reason = "one step of a search, which has this much state")]
    fn give(
        &self,
        at: PoolIndex,
        plan: &Plan,
        parent: NodeId,
        spared: Option<NodeId>,
        slots: &[Slot],
        taken: &[Id],
        now: Time,
    ) -> Option<Id> {
        let pool = self.pool_at(at);
        let borrows = |node: NodeId, slot: Slot| pool.capacity(slot).map_or(0, |_| pool.borrowed(plan, node, slot));
        let mut sisters: Vec<_> = pool
            .node(parent)
            .children
            .iter()
            .copied()
            .filter(|child| Some(*child) != spared && slots.iter().any(|slot| borrows(*child, *slot) > 0))
            .map(|child| {
                let node = pool.node(child);
                let past = node.burst.is_some_and(|burst| node.bursting.is_past(burst, pool.spec.grace, now));
                let share = slots
                    .iter()
                    .filter_map(|slot| {
                        let capacity = pool.capacity(*slot)?;
                        Some(Share::new(borrows(child, *slot).unsigned_abs().into(), capacity, node.weight))
                    })
                    .max()
                    .unwrap_or(Share::ZERO);
                // Children are in the order of their paths: the later one goes first.
                (past, node.weight == 0, share, child)
            })
            .collect();
        sisters.reverse();
        sisters.sort_by_key(|(past, weightless, share, _)| Reverse((*past, *weightless, *share)));
        sisters.into_iter().find_map(|(_, _, _, child)| {
            if pool.node(child).children.is_empty() {
                self.give_lease(at, child, slots, taken, now)
            } else {
                self.give(at, plan, child, None, slots, taken, now)
            }
        })
    }

    /// The lease of a leaf that gives way: of the lowest priority, then the youngest.
    fn give_lease(&self, at: PoolIndex, leaf: NodeId, slots: &[Slot], taken: &[Id], now: Time) -> Option<Id> {
        let pool = self.pool_at(at);
        pool.node(leaf).victims.iter().find(|id| {
            let record = &self.leases[id];
            record.lease.admitted.after(pool.spec.min_runtime) <= now
                && slots.iter().any(|slot| record.ask().of(*slot) > 0)
                && !taken.contains(id)
        })
    }

    fn notices(&self, at: PoolIndex, victims: &[Id], now: Time) -> Vec<Victim> {
        let most = self.pool_at(at).spec.grace;
        victims
            .iter()
            .map(|id| {
                let asked = self.leases.get(id).and_then(|record| record.lease.request.grace);
                Victim { lease: *id, deadline: now.after(asked.map_or(most, |asked| asked.min(most))) }
            })
            .collect()
    }

    /// Whether a claim stands against an asker without one: the node and the resource.
    pub(crate) fn claims_against(
        &self,
        at: PoolIndex,
        asker: &Asker<'_>,
        guaranteed: &dyn Fn(Slot) -> bool,
        within_leaf: bool,
    ) -> Option<(NodeId, Slot)> {
        let pool = self.pool_at(at);
        let Asker { leaf, ask, own_claim, .. } = *asker;
        if pool.claims.order.is_empty() {
            return None;
        }
        let set = if within_leaf { Set::Owners } else { Set::All };
        let unfit = |node: NodeId, effect: Effect| {
            if effect.fits() { ControlFlow::Continue(()) } else { ControlFlow::Break((node, effect.slot)) }
        };
        let own = own_claim.and_then(|key| Some((key, pool.claims.order.get(&key)?)));
        let against = match own {
            Some((key, claim)) if set == Set::All || !key.borrower => {
                let mut plan = Plan::on(set);
                plan.add(pool, claim.leaf, &claim.ask, -1);
                pool.climb(&plan, leaf, ask, unfit)
            }
            _ => pool.climb(&set, leaf, ask, unfit),
        };
        if let ControlFlow::Break(found) = against {
            return Some(found);
        }
        let start = leaf.unmade.as_ref().map_or(leaf.node, |unmade| unmade.parent);
        for node in pool.up(start) {
            for (slot, amount) in ask.0.iter() {
                if *amount > 0 && !guaranteed(*slot) && self.claim_blocked_at(pool, node, *slot) {
                    return Some((node, *slot));
                }
            }
        }
        None
    }

    /// Whether the ticket of some claim is blocked at a node in a resource.
    pub(crate) fn claim_blocked_at(&self, pool: &PoolState, node: NodeId, slot: Slot) -> bool {
        let at = pool.node(node);
        let Some(((_, largest), _)) = at.claimed.range((slot, 0)..=(slot, i64::MAX)).next_back() else {
            return false;
        };
        let cell = at.cell(slot);
        let tally = Set::Now.tally(pool, node, slot);
        if tally.occupied(cell).max(tally.usage) + largest <= cell.limit {
            return false;
        }
        if !at.stiff && tally.occupied(cell) + largest > cell.limit {
            return true;
        }
        // What is not lendable makes the effect of an ask depend on where in the subtree it stands.
        pool.claims.order.values().any(|claim| {
            pool.up(claim.leaf).any(|on| on == node)
                && pool.blocked(&Set::Now, &Leaf::at(claim.leaf), &claim.ask).contains(&(node, slot))
        })
    }
}

/// A sweep through the claims in their order, with the plan that each of them sees.
struct Sweep<'a> {
    ledger: &'a Ledger,
    pool: &'a PoolState,
    plan: Plan,
    /// Victims with a smaller number are gone from the plan.
    gone: u64,
    /// A victim that is put back.
    spared: Option<u64>,
}

impl<'a> Sweep<'a> {
    fn new(ledger: &'a Ledger, pool: &'a PoolState) -> Self {
        Self { ledger, pool, plan: Plan::on(Set::Now), gone: 0, spared: None }
    }

    /// Moves to the plan in which the victims before a number are gone.
    fn at(&mut self, number: u64) -> &mut Self {
        let (from, to, sign) = if number > self.gone { (self.gone, number, -1) } else { (number, self.gone, 1) };
        for (_, lease) in self.pool.claims.victims.range(from..to).filter(|(n, _)| Some(**n) != self.spared) {
            let record = &self.ledger.leases[lease];
            self.plan.add(self.pool, record.leaf, record.ask(), sign);
        }
        self.gone = number;
        self
    }

    /// Whether a claim stays within one of the guarantees that it claims by; of one that may not borrow, within its
    /// leaf's too.
    fn keeps(&self, pool: &PoolState, claim: &Claim) -> bool {
        let leaf = Leaf::at(claim.leaf);
        let one = |(node, slots): &(NodeId, Vec<Slot>)| {
            pool.within(&self.plan, &leaf, &claim.ask, *node, |slot| slots.contains(&slot))
        };
        (claim.borrow || pool.within(&self.plan, &leaf, &claim.ask, claim.leaf, |_| true)) && claim.by.iter().any(one)
    }
}

pub(crate) fn guarantees(pool: &PoolState, by: &[(NodeId, Vec<Slot>)]) -> Vec<Guarantee> {
    by.iter()
        .map(|(node, slots)| {
            let node = pool.node(*node);
            Guarantee {
                place: Place { tenant: node.path.clone(), own: node.own },
                resources: slots.iter().filter_map(|slot| pool.known(*slot).map(|known| known.name.clone())).collect(),
            }
        })
        .collect()
}
