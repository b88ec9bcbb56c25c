//! What stands against a request, and who is admitted next.

use std::collections::HashSet;
use std::ops::{ControlFlow, Range};

use foldhash::fast::FixedState;

use crate::ask::Ask;
use crate::bundle::Bundles;
use crate::config::{Lifecycle, OnExceed, Order};
use crate::entry::Entry;
use crate::ledger::{Ledger, PoolIndex, TicketRecord};
use crate::node::Node;
use crate::pool::{Counters, Effect, Empty, Leaf, NodeId, PoolState, ROOT, Set, Slot, UNMADE};
use crate::queue::{Line, Shape, TicketKey};
use crate::rated::Exceeded;
use crate::reclaim::{ClaimKey, Plan};
use crate::request::{Id, ReasonCode};
use crate::share::Share;
use crate::time::Time;

/// Who asks.
#[derive(Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub(crate) leaf: &'a Leaf,
    pub(crate) ask: &'a Ask,
    pub(crate) borrow: bool,
    /// By what holds tell who came later; the number is that of its ticket.
    pub(crate) waits: (Time, Id),
    /// Its place in the order of tickets; none where it asks for more of what it has.
    pub(crate) key: Option<TicketKey>,
    /// It has a claim, and only claims before that stand against it.
    pub(crate) claim: Option<ClaimKey>,
    /// A claim of its own that ends with its admission: what it asks for is not held against it.
    pub(crate) own_claim: Option<ClaimKey>,
}

/// One rule that stands against an asker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finding {
    pub(crate) code: ReasonCode,
    pub(crate) node: NodeId,
    pub(crate) slot: Option<Slot>,
    pub(crate) budget: Option<(u32, usize)>,
    pub(crate) rate: Option<Exceeded>,
    pub(crate) used: i64,
    pub(crate) requested: i64,
    pub(crate) limit: i64,
}

impl<'a> Asker<'a> {
    /// A ticket, which stands at this leaf.
    pub(crate) fn waiting(record: &'a TicketRecord, leaf: &'a Leaf) -> Self {
        let Shape { ask, borrow } = &record.shape;
        let (waits, key, claim) = (record.waits(), Some(record.key), record.claim);
        Self { leaf, ask, borrow: *borrow, waits, key, claim, own_claim: None }
    }
}

impl Finding {
    pub(crate) fn of(code: ReasonCode, node: NodeId) -> Self {
        Self { code, node, slot: None, budget: None, rate: None, used: 0, requested: 0, limit: 0 }
    }

    /// Of what an ask would do at a node.
    pub(crate) fn at(code: ReasonCode, node: NodeId, effect: &Effect) -> Self {
        Self::effect(code, node, effect, effect.limit)
    }

    fn effect(code: ReasonCode, node: NodeId, effect: &Effect, limit: i64) -> Self {
        let (used, requested) = (effect.occupied, effect.amount);
        Self { slot: Some(effect.slot), used, requested, limit, ..Self::of(code, node) }
    }
}

/// Nodes and resources at which the claims seen so far are blocked.
type Blocked = HashSet<(NodeId, Slot), FixedState>;

/// A ticket that a node would put forward.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    key: TicketKey,
    leaf: NodeId,
    /// It would hold more than its leaf's guarantee.
    borrows: bool,
}

/// By what dispatch chooses among children, the least first: whether its ticket would borrow there, whether its weight
/// is zero, its share, its ticket.
pub(crate) type Rank = (bool, bool, Share, TicketKey);

/// What the nodes of a path leave open, for tickets that nothing lets pass.
struct Gate {
    /// The numbers of the shapes that fit, and against which nothing is held; sorted.
    open: Vec<usize>,
    /// Every node up to the root has its say in it: what else stands against a ticket is in its own subtree.
    whole: bool,
    /// There are claims: a leaf's guarantee may let its tickets pass.
    claims: bool,
    /// Resources that are held: room in a leaf's guarantee of one lets its tickets pass.
    held: Vec<Slot>,
    /// Of the holds, the one that waits least: who waits longer may pass it.
    since: Option<(Time, Id)>,
}

impl Gate {
    /// Whether nothing may let tickets of a node's subtrees pass.
    fn is_plain(&self, node: &Node) -> bool {
        !node.stiff && !self.claims && self.since.is_none() && self.held.is_empty()
    }

    /// Whether something may let tickets of a subtree pass, so that it must be looked through.
    fn lets_pass(&self, node: &Node) -> bool {
        node.stiff
            || self.since.is_some_and(|since| node.oldest.is_some_and(|oldest| oldest < since))
            || self.held.iter().any(|slot| node.cell(*slot).leaves_with_room > 0)
            || (self.claims && node.cells.iter().any(|cell| cell.leaves_with_room > 0))
    }
}

/// The one that ranks first.
fn best(found: impl Iterator<Item = (Rank, Candidate)>) -> Option<(Rank, Candidate)> {
    found.min_by(|a, b| a.0.cmp(&b.0))
}

impl Ledger {
    /// Whether plainly nothing stands against an asker: what is asked first, and is so of most.
    pub(crate) fn is_free(&self, at: PoolIndex, asker: &Asker<'_>, now: Time) -> bool {
        let pool = self.pool_at(at);
        asker.leaf.unmade.is_none()
            && pool.is_open(asker.leaf.node, asker.borrow, &asker.ask.0)
            && (!pool.node(asker.leaf.node).budgeted || self.budgets_against(at, asker.leaf.node, asker.ask).is_empty())
            && (!pool.node(asker.leaf.node).rated || self.rates_against(at, asker.leaf, asker.ask, now).is_empty())
    }

    /// Everything that stands against an asker just now, the one that decides first; or only that one.
    pub(crate) fn findings(&self, at: PoolIndex, asker: &Asker<'_>, now: Time, only_first: bool) -> Vec<Finding> {
        let mut found = Vec::new();
        let pool = self.pool_at(at);
        macro_rules! found {
            ($finding:expr) => {
                found.push($finding);
                if only_first {
                    return found;
                }
            };
        }
        let start = asker.leaf.unmade.as_ref().map_or(asker.leaf.node, |unmade| unmade.parent);
        let inactive = asker.leaf.unmade.as_ref().map_or(pool.node(start).inactive, |unmade| unmade.inactive);
        if inactive {
            let here = pool.up(start).find(|node| self.is_inactive(at, *node));
            found!(Finding::of(ReasonCode::Inactive, here.unwrap_or(start)));
        }
        if pool.node(start).budgeted {
            for finding in self.budgets_against(at, start, asker.ask) {
                found!(finding);
            }
        }
        if pool.node(start).rated || asker.leaf.unmade.is_some() {
            for finding in self.rates_against(at, asker.leaf, asker.ask, now) {
                found!(finding);
            }
        }
        if let Some(key) = asker.key
            && pool.spec.order == Order::Strict
            && asker.leaf.node != UNMADE
            && pool.node(asker.leaf.node).queue.order.first().is_some_and(|first| *first < key)
        {
            found!(Finding::of(ReasonCode::BehindEarlier, asker.leaf.node));
        }
        // One climb finds borrowing and what does not fit.
        let mut own = 0u64; // by resource: stays within the leaf's guarantee in it
        let mut within_leaf = true;
        let mut borrowing: Option<Finding> = None;
        let mut over: Option<Finding> = None;
        let mut unfit: Vec<Finding> = Vec::new();
        let mut number = 0u32;
        let bounded = pool.node(start).bounded;
        let _: ControlFlow<()> = pool.climb(&Set::Now, asker.leaf, asker.ask, |node, effect| {
            let counted = pool.capacity(effect.slot).is_some();
            let borrows = counted && !effect.within();
            if node == asker.leaf.node {
                if counted && !borrows {
                    own |= 1 << number;
                }
                number += 1;
                if borrows {
                    within_leaf = false;
                    if !asker.borrow && borrowing.is_none() {
                        borrowing = Some(Finding::effect(ReasonCode::WouldBorrow, node, &effect, effect.guarantee));
                    }
                }
            }
            if bounded && borrows && over.is_none() && node != UNMADE {
                let here = pool.node(node);
                if here.burst.is_some_and(|burst| here.bursting.is_over(burst, now)) {
                    over = Some(Finding::effect(ReasonCode::BurstOver, node, &effect, effect.guarantee));
                }
            }
            if !effect.fits() && (!only_first || unfit.is_empty()) {
                let code = if node == ROOT { ReasonCode::NoCapacity } else { ReasonCode::ExceedsLimit };
                unfit.push(Finding::effect(code, node, &effect, effect.limit));
            }
            ControlFlow::Continue(())
        });
        if let Some(finding) = borrowing {
            found!(finding);
        }
        // Nobody's burst keeps an owner from what is guaranteed.
        if let Some(finding) = over.filter(|_| !within_leaf) {
            found!(finding);
        }
        let fits = unfit.is_empty();
        for finding in unfit {
            found!(finding);
        }
        if fits {
            let guaranteed = |slot: Slot| {
                asker.ask.0.iter().position(|(s, _)| *s == slot).is_some_and(|number| own & (1 << number) != 0)
            };
            let against = match asker.claim {
                None => self
                    .claims_against(at, asker, &guaranteed, within_leaf)
                    .or_else(|| self.holds_against(at, asker.leaf, asker.ask, asker.waits, &guaranteed)),
                Some(claim) => self.earlier_claims_against(at, asker, claim),
            };
            if let Some((node, slot)) = against {
                let cell = if node == UNMADE { &crate::node::Cell::EMPTY } else { pool.node(node).cell(slot) };
                let used = if node == UNMADE {
                    0
                } else {
                    crate::pool::Counters::tally(&Set::Now, pool, node, slot).occupied(cell)
                };
                found!(Finding {
                    slot: Some(slot),
                    used,
                    requested: asker.ask.of(slot),
                    limit: cell.limit,
                    ..Finding::of(ReasonCode::HeldForAnother, node)
                });
            }
        }
        if pool.spec.paused {
            found!(Finding::of(ReasonCode::Paused, ROOT));
        }
        found
    }

    /// Budgets on the path that would be exceeded, from the leaf up.
    fn budgets_against(&self, at: PoolIndex, start: NodeId, ask: &Ask) -> Vec<Finding> {
        let mut found = Vec::new();
        self.each_budget(at, start, ask, |node, index, number, budget, amount| {
            if budget.used + amount > budget.spec.amount {
                found.push(Finding {
                    slot: self.pool_at(at).slot(budget.spec.resource.as_str()),
                    budget: Some((index, number)),
                    used: budget.used as i64,
                    requested: amount as i64,
                    limit: budget.spec.amount as i64,
                    ..Finding::of(ReasonCode::BudgetUsedUp, node)
                });
            }
        });
        found
    }

    /// Whether a budget or a rate says that what exceeds it is denied.
    pub(crate) fn is_denied(&self, finding: &Finding) -> bool {
        finding.budget.is_some_and(|budget| self.denies(budget))
            || finding.rate.is_some_and(|over| self.rate_denies(over))
    }

    /// Whether what exceeds a budget is denied.
    fn denies(&self, (tenant, number): (u32, usize)) -> bool {
        self.tenants[tenant as usize]
            .as_ref()
            .and_then(|tenant| tenant.budgets.get(number))
            .is_some_and(|budget| budget.spec.on_exceed == OnExceed::Deny)
    }

    /// Larger by itself than a limit on its path or the pool's whole capacity, than a budget's amount, a rate's burst, or
    /// than what others' unlendable guarantees could ever leave.
    pub(crate) fn never_fits(&self, at: PoolIndex, leaf: &Leaf, ask: &Ask) -> Vec<Finding> {
        let pool = self.pool_at(at);
        let (mut larger, mut unlendable) = (Vec::new(), Vec::new());
        let _: ControlFlow<()> = pool.climb(&Empty, leaf, ask, |node, mut effect| {
            if node == ROOT {
                // What is not available just now may come back.
                effect.limit = pool.capacity(effect.slot).unwrap_or(crate::pool::NO_LIMIT);
            }
            // Nothing is in use: what others do not lend is taken off what may be.
            let finding = Finding { used: 0, ..Finding::at(ReasonCode::NeverFits, node, &effect) };
            if effect.amount > effect.limit {
                larger.push(finding);
            } else if !effect.fits() {
                let most = (effect.amount - (effect.occupied_after - effect.limit)).max(0);
                unlendable.push(Finding { limit: most, ..finding });
            }
            ControlFlow::Continue(())
        });
        let mut found = larger;
        let start = leaf.unmade.as_ref().map_or(leaf.node, |unmade| unmade.parent);
        if pool.node(start).budgeted {
            self.each_budget(at, start, ask, |node, index, number, budget, amount| {
                if amount > budget.spec.amount {
                    found.push(Finding {
                        slot: pool.slot(budget.spec.resource.as_str()),
                        budget: Some((index, number)),
                        requested: amount as i64,
                        limit: budget.spec.amount as i64,
                        ..Finding::of(ReasonCode::NeverFits, node)
                    });
                }
            });
        }
        found.append(&mut self.rates_never_letting(at, leaf, ask));
        found.append(&mut unlendable);
        found
    }

    /// Whether a ticket could be admitted just now if enough ended.
    pub(crate) fn could_ever(&self, at: PoolIndex, leaf: &Leaf, shape: &Shape, now: Time) -> bool {
        let pool = self.pool_at(at);
        let node = pool.node(leaf.node);
        if node.inactive || !pool.fits(&Empty, leaf, &shape.ask) {
            return false;
        }
        if !shape.borrow && !pool.within(&Empty, leaf, &shape.ask, leaf.node, |_| true) {
            return false;
        }
        if node.budgeted && !self.budgets_against(at, leaf.node, &shape.ask).is_empty() {
            return false;
        }
        if node.rated && !self.rates_against(at, leaf, &shape.ask, now).is_empty() {
            return false;
        }
        if !node.bounded || pool.within(&Set::Now, leaf, &shape.ask, leaf.node, |_| true) {
            return true;
        }
        pool.climb(&Set::Now, leaf, &shape.ask, |node, effect| {
            let here = pool.node(node);
            let borrows = pool.capacity(effect.slot).is_some() && !effect.within();
            if borrows && here.burst.is_some_and(|burst| here.bursting.is_over(burst, now)) {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })
        .is_continue()
    }

    /// Whether a node's own tenant is archived or being drained.
    pub(crate) fn is_inactive(&self, at: PoolIndex, node: NodeId) -> bool {
        let tenant = self.pool_at(at).node(node).tenant.and_then(|index| self.tenant_at(index));
        tenant.is_some_and(|tenant| tenant.spec.draining || tenant.spec.lifecycle == Lifecycle::Archived)
    }

    /// Whether a claim before this one stands against its ticket.
    fn earlier_claims_against(&self, at: PoolIndex, asker: &Asker<'_>, claim: ClaimKey) -> Option<(NodeId, Slot)> {
        let pool = self.pool_at(at);
        if asker.leaf.unmade.is_none() && pool.claims.book.is_open() {
            return pool.claims.book.earlier_against(pool, asker.leaf.node, asker.ask, claim);
        }
        let mut blocked = Blocked::default();
        for (key, earlier) in &pool.claims.order {
            if *key >= claim {
                break;
            }
            blocked.extend(pool.blocked(&Set::Now, &Leaf::at(earlier.leaf), &earlier.ask));
        }
        let start = asker.leaf.unmade.as_ref().map_or(asker.leaf.node, |unmade| unmade.parent);
        pool.up(start)
            .flat_map(|node| asker.ask.0.iter().map(move |(slot, _)| (node, *slot)))
            .find(|at| blocked.contains(at))
    }

    /// Whether a ticket may be admitted just now.
    fn admissible(&self, at: PoolIndex, record: &TicketRecord, waits: (Time, Id), now: Time) -> bool {
        let leaf = Leaf::at(record.leaf);
        let asker = Asker { waits, ..Asker::waiting(record, &leaf) };
        self.findings(at, &asker, now, true).is_empty()
    }

    /// What is to be done next in a pool, so that it comes to rest.
    pub(crate) fn due_in_pool(&self, at: PoolIndex, now: Time) -> Option<Entry> {
        let pool = self.pool_at(at);
        if pool.node(ROOT).waiting == 0 && pool.claims.victims.is_empty() && pool.claims.order.is_empty() {
            return self.judge_holds(at, now);
        }
        let fresh = |(id, queued)| if queued == now { self.try_claim(at, id, now) } else { None };
        let judged =
            self.judge_claims(at, now).or_else(|| pool.fresh.and_then(fresh)).or_else(|| self.judge_victims(at));
        if judged.is_some() {
            return judged;
        }
        let next = if pool.spec.paused { None } else { self.next_ticket(at, now) };
        // Before anybody borrows, and when nobody more can be admitted, whoever may claim does.
        if next.is_none_or(|next| next.borrows)
            && let Some(claim) = self.next_claim(at, now)
        {
            return Some(claim);
        }
        match next {
            Some(next) => {
                let record = &self.tickets[&next.key.id];
                Some(Entry::Dispatched { id: next.key.id, count: self.most(at, record, now) })
            }
            None => self.judge_holds(at, now),
        }
    }

    /// The ticket that is admitted next: of claims, in their order; of holds; then found from the root down.
    fn next_ticket(&self, at: PoolIndex, now: Time) -> Option<Candidate> {
        let pool = self.pool_at(at);
        if let Some(candidate) = self.next_claimed(at, now) {
            return Some(candidate);
        }
        let mut holds: Vec<_> = pool.opened.iter().filter_map(|node| pool.node(*node).hold).collect();
        holds.sort_unstable_by_key(|hold| hold.waits);
        for hold in holds {
            if let Some(record) = self.tickets.get(&hold.ticket)
                && record.claim.is_none()
                && !record.ticket.silent
                && self.admissible(at, record, hold.waits, now)
            {
                return Some(self.candidate(at, record));
            }
        }
        self.put_forward(at, ROOT, None, now)
    }

    /// The first claim, in their order, whose ticket can be admitted.
    fn next_claimed(&self, at: PoolIndex, now: Time) -> Option<Candidate> {
        let pool = self.pool_at(at);
        if pool.claims.book.is_open() {
            let ready = pool.claims.book.ready().filter_map(|key| pool.claims.order.get(&key));
            let mut records = ready.filter_map(|claim| self.tickets.get(&claim.ticket));
            let first = records.find(|record| self.admissible(at, record, record.waits(), now));
            return first.map(|record| self.candidate(at, record));
        }
        let mut blocked = Blocked::default();
        for (key, claim) in &pool.claims.order {
            let Some(record) = self.tickets.get(&claim.ticket) else { continue };
            let leaf = Leaf::at(claim.leaf);
            let mut stands = pool.blocked(&Set::Now, &leaf, &claim.ask);
            if stands.is_empty() {
                let against = pool
                    .up(claim.leaf)
                    .flat_map(|node| claim.ask.0.iter().map(move |(slot, _)| (node, *slot)))
                    .any(|at| blocked.contains(&at));
                // What is seen of claims here is seen by `findings` again: only for the one that is admitted.
                debug_assert_eq!(record.claim, Some(*key));
                if !against && self.admissible(at, record, record.waits(), now) {
                    return Some(self.candidate(at, record));
                }
            }
            blocked.extend(stands.drain(..));
        }
        None
    }

    fn candidate(&self, at: PoolIndex, record: &TicketRecord) -> Candidate {
        let leaf = Leaf::at(record.leaf);
        let within = self.pool_at(at).within(&Set::Now, &leaf, &record.shape.ask, record.leaf, |_| true);
        Candidate { key: record.key, leaf: record.leaf, borrows: !within }
    }

    /// The ticket that a node would put forward: one that can be admitted just now.
    ///
    /// `gate` says what the nodes above leave open; what is shut here is not looked for below.
    fn put_forward(&self, at: PoolIndex, node: NodeId, gate: Option<&Gate>, now: Time) -> Option<Candidate> {
        let pool = self.pool_at(at);
        let here = pool.node(node);
        if here.oldest.is_none() || here.inactive {
            return None;
        }
        if here.children.is_empty() {
            return self.put_forward_leaf(at, node, gate, now);
        }
        let gate = self.gate_at(pool, node, gate);
        let any = !gate.open.is_empty();
        let memo = gate.whole && gate.open.len() <= crate::memo::SHAPES_MAX && pool.spec.half_life.is_zero();
        let best = if here.wide && memo && !here.varied && gate.is_plain(here) {
            let levels = here.bundles.levels();
            if any { self.best_of(at, node, levels, 0..here.bundles.level(levels).len(), &gate, now) } else { None }
        } else {
            best(here.children.iter().filter_map(|child| {
                let below = pool.node(*child);
                if below.oldest.is_none() {
                    None
                } else if gate.lets_pass(below) {
                    self.ranked(at, *child, None, now)
                } else if !any {
                    None
                } else if !memo || below.varied {
                    self.ranked(at, *child, Some(&gate), now)
                } else {
                    self.ranked_before(at, *child, &gate, now)
                }
            }))
        };
        best.map(|(_, candidate)| candidate)
    }

    /// What some of many children, or of their bundles, would put forward.
    fn best_of(
        &self,
        at: PoolIndex,
        node: NodeId,
        level: usize,
        range: Range<usize>,
        gate: &Gate,
        now: Time,
    ) -> Option<(Rank, Candidate)> {
        let pool = self.pool_at(at);
        let here = pool.node(node);
        if level == 0 {
            let waiting = here.children[range].iter().filter(|child| pool.node(**child).oldest.is_some());
            return best(waiting.filter_map(|child| self.ranked_before(at, *child, gate, now)));
        }
        let bundles = here.bundles.level(level);
        let below = if level == 1 { here.children.len() } else { here.bundles.level(level - 1).len() };
        best(range.filter(|bundle| bundles[*bundle].oldest.is_some()).filter_map(|bundle| {
            let part = (node, level, bundle);
            let stamp = bundles[bundle].stamp;
            pool.memo.get(part, stamp, &gate.open).unwrap_or_else(|| {
                let found = self.best_of(at, node, level - 1, Bundles::range(bundle, below), gate, now);
                pool.memo.keep(part, stamp, &gate.open, found);
                found
            })
        }))
    }

    /// The same as `ranked`, found out once as long as nothing changes.
    fn ranked_before(&self, at: PoolIndex, child: NodeId, gate: &Gate, now: Time) -> Option<(Rank, Candidate)> {
        let pool = self.pool_at(at);
        let (part, stamp) = ((child, 0, 0), pool.node(child).stamp);
        pool.memo.get(part, stamp, &gate.open).unwrap_or_else(|| {
            let found = self.ranked(at, child, Some(gate), now);
            pool.memo.keep(part, stamp, &gate.open, found);
            found
        })
    }

    /// What a child would put forward, and where that stands among its sisters'.
    fn ranked(&self, at: PoolIndex, child: NodeId, gate: Option<&Gate>, now: Time) -> Option<(Rank, Candidate)> {
        let pool = self.pool_at(at);
        let candidate = self.put_forward(at, child, gate, now)?;
        let shape = &self.tickets[&candidate.key.id].shape;
        let within = pool.within(&Set::Now, &Leaf::at(candidate.leaf), &shape.ask, child, |_| true);
        let rank = (!within, pool.node(child).weight == 0, pool.share(child, now), candidate.key);
        Some((rank, candidate))
    }

    /// What a node leaves open, of what is open above it, for tickets that nothing lets pass.
    fn gate_at(&self, pool: &PoolState, node: NodeId, above: Option<&Gate>) -> Gate {
        let here = pool.node(node);
        let hold = here.hold;
        let claims = !pool.claims.order.is_empty();
        let held = hold.map_or_else(Vec::new, |hold| self.hold_blocked(pool, node, &hold));
        let mut gate = Gate {
            open: Vec::new(),
            whole: node == ROOT || above.is_some_and(|above| above.whole),
            claims,
            held: above.map_or_else(Vec::new, |above| above.held.clone()),
            since: above.and_then(|above| above.since).max(hold.map(|hold| hold.waits)),
        };
        let opens = |shape: &Shape| {
            // What names no resource with guarantees stays within them all, as owners do.
            let owns = claims && shape.ask.0.iter().all(|(slot, _)| pool.capacity(*slot).is_none());
            let plan = if owns { Set::Owners } else { Set::All };
            shape.ask.0.iter().all(|(slot, amount)| {
                let cell = here.cell(*slot);
                let fits = |set: Set| Effect::of(*slot, *amount, *amount, cell, set.tally(pool, node, *slot)).fits();
                fits(Set::Now)
                    && !held.contains(slot)
                    && (!claims || (fits(plan) && !self.claim_blocked_at(pool, node, *slot)))
            })
        };
        match above {
            None => gate.open.extend(pool.shapes.iter().filter(|(_, shape)| opens(shape)).map(|(number, _)| number)),
            Some(above) => {
                let open = above.open.iter().copied();
                gate.open.extend(open.filter(|number| pool.shapes.get(*number).is_some_and(opens)));
            }
        }
        gate.held.extend(held);
        gate
    }

    fn put_forward_leaf(&self, at: PoolIndex, node: NodeId, gate: Option<&Gate>, now: Time) -> Option<Candidate> {
        let pool = self.pool_at(at);
        let here = pool.node(node);
        if pool.spec.order == Order::Strict {
            let record = &self.tickets[&here.queue.order.first()?.id];
            let free = record.claim.is_none() && self.admissible(at, record, record.waits(), now);
            return free.then(|| self.candidate(at, record));
        }
        let leaf = Leaf::at(node);
        let mut best: Option<Candidate> = None;
        let all = here.queue.lines.iter();
        let lines: Vec<(&Shape, &Line)> = match gate {
            None => all.collect(),
            Some(gate) if gate.open.len() < here.queue.lines.len() => {
                let shapes = gate.open.iter().filter_map(|number| pool.shapes.get(*number));
                shapes.filter_map(|shape| here.queue.lines.get_key_value(shape)).collect()
            }
            Some(gate) => all.filter(|(_, line)| gate.open.binary_search(&line.shape).is_ok()).collect(),
        };
        for (shape, line) in lines {
            let Some(first) = line.open.first() else { continue };
            if best.is_some_and(|best| best.key < *first) {
                continue;
            }
            // A hold lets pass who arrived earlier: the line's eldest tells whether there is anybody to look for.
            let asker = |waits, key| Asker {
                leaf: &leaf,
                ask: &shape.ask,
                borrow: shape.borrow,
                waits,
                key: Some(key),
                claim: None,
                own_claim: None,
            };
            let Some(eldest) = line.waits.first() else { continue };
            if !self.findings(at, &asker(*eldest, *first), now, true).is_empty() {
                continue;
            }
            let passes = line.open.iter().find(|key| {
                let record = &self.tickets[&key.id];
                let waits = record.waits();
                waits == *eldest || self.findings(at, &asker(waits, **key), now, true).is_empty()
            });
            if let Some(key) = passes
                && best.is_none_or(|best| *key < best.key)
            {
                let within = pool.within(&Set::Now, &leaf, &shape.ask, node, |_| true);
                best = Some(Candidate { key: *key, leaf: node, borrows: !within });
            }
        }
        best
    }

    /// The claim of the first ticket, in the order of tickets, that may claim.
    fn next_claim(&self, at: PoolIndex, now: Time) -> Option<Entry> {
        let pool = self.pool_at(at);
        if !pool.spec.reclaim || pool.spec.paused || pool.node(ROOT).oldest.is_none() {
            return None;
        }
        let mut heads = Vec::new();
        let uncounted = pool.known.iter().flatten().any(|known| known.capacity.is_none());
        self.gather_heads(at, ROOT, uncounted, &mut heads);
        heads.sort_unstable();
        heads.into_iter().find_map(|key| self.try_claim(at, key.id, now))
    }

    /// The first of every line that may have something to claim by: room in a guarantee of its path (`above`: of a
    /// node above this one), or a resource without guarantees, which every test of them passes over.
    fn gather_heads(&self, at: PoolIndex, node: NodeId, above: bool, heads: &mut Vec<TicketKey>) {
        let pool = self.pool_at(at);
        let here = pool.node(node);
        let above = above || here.room > 0;
        if here.oldest.is_none() || here.inactive || !(above || here.roomy > 0) {
            return;
        }
        for child in &here.children {
            self.gather_heads(at, *child, above, heads);
        }
        match pool.spec.order {
            Order::Backfill => heads.extend(here.queue.lines.values().filter_map(|line| line.open.first())),
            Order::Strict => {
                let first = here.queue.order.first();
                heads.extend(first.filter(|key| self.tickets[&key.id].claim.is_none()));
            }
        }
    }

    /// As many instances as can be admitted, of those that a ticket asks for.
    fn most(&self, at: PoolIndex, record: &TicketRecord, now: Time) -> u32 {
        let request = &record.ticket.request;
        let (least, most) = (request.min_count, request.count);
        if least >= most {
            return most;
        }
        let leaf = Leaf::at(record.leaf);
        let one = self.pool_at(at).ask_of(&record.ticket.resources, 1);
        let asker = Asker {
            leaf: &leaf,
            ask: &one,
            borrow: request.borrow,
            waits: record.waits(),
            key: None,
            claim: None,
            own_claim: record.claim,
        };
        self.most_of(at, &asker, least..=most, now)
    }

    /// As many instances as fit and are not held, where the least that do are known to be.
    /// The asker asks for one.
    pub(crate) fn most_of(
        &self,
        at: PoolIndex,
        one: &Asker<'_>,
        counts: std::ops::RangeInclusive<u32>,
        now: Time,
    ) -> u32 {
        let (mut least, mut most) = counts.into_inner();
        while least < most {
            let middle = least + (most - least).div_ceil(2);
            let ask = one.ask.times(middle);
            let asker = Asker { ask: &ask, ..*one };
            let taken = one.ask.times(middle - 1);
            if self.findings(at, &asker, now, true).is_empty() && !self.is_last_held(at, &asker, &taken) {
                least = middle;
            } else {
                most = middle - 1;
            }
        }
        least
    }

    /// Whether the last of the instances that are asked for would be held for another once the others are taken: they
    /// may be what blocks a claim's ticket, or one that has its hold.
    fn is_last_held(&self, at: PoolIndex, asker: &Asker<'_>, taken: &Ask) -> bool {
        let pool = self.pool_at(at);
        if pool.claims.order.is_empty() && pool.held.is_empty() {
            return false;
        }
        let start = asker.leaf.unmade.as_ref().map_or(asker.leaf.node, |unmade| unmade.parent);
        let mut plan = Plan::on(Set::Now);
        plan.add(pool, start, taken, 1);
        let path: Vec<NodeId> = pool.up(start).collect();
        let own = |slot: Slot| {
            pool.capacity(slot).is_some()
                && pool.within(&Set::Now, asker.leaf, asker.ask, asker.leaf.node, |other| other == slot)
        };
        let stands = |leaf: NodeId, ask: &Ask, at: Option<NodeId>| {
            pool.blocked(&plan, &Leaf::at(leaf), ask).into_iter().any(|(node, slot)| {
                at.is_none_or(|at| at == node) && path.contains(&node) && asker.ask.of(slot) > 0 && !own(slot)
            })
        };
        let claims = pool.claims.order.iter().filter(|(key, _)| Some(**key) != asker.own_claim);
        let mut claims = claims.map(|(_, claim)| claim);
        claims.any(|claim| stands(claim.leaf, &claim.ask, None))
            || path.iter().any(|node| {
                let hold = pool.node(*node).hold.filter(|hold| hold.waits < asker.waits);
                let record = hold.and_then(|hold| self.tickets.get(&hold.ticket));
                record
                    .filter(|record| record.ticket.id != asker.waits.1)
                    .is_some_and(|record| stands(record.leaf, &record.shape.ask, Some(*node)))
            })
    }
}
