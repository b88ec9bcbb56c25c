//! Rates in the tree: who is counted by which, what stands against an asker, and who waits for one.

use std::collections::BTreeMap;

use crate::amount::Amount;
use crate::ask::Ask;
use crate::config::{OnExceed, Rate};
use crate::decision::Violation;
use crate::dispatch::Finding;
use crate::hit::Hit;
use crate::ledger::{Ledger, PoolIndex, TenantIndex, TicketRecord};
use crate::name::Resource;
use crate::pool::{Leaf, NodeId, UNMADE};
use crate::rate::RateState;
use crate::request::ReasonCode;
use crate::time::Time;

/// A rate's place: its tenant's, and its number there.
pub(crate) type RateIndex = (TenantIndex, usize);

/// A rate that stands against an asker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exceeded {
    pub(crate) index: RateIndex,
    /// From when it lets it pass.
    pub(crate) until: Time,
}

impl Ledger {
    pub(crate) fn rate_at(&self, (tenant, number): RateIndex) -> Option<&RateState> {
        self.tenant_at(tenant)?.rates.get(number)
    }

    fn rate_at_mut(&mut self, (tenant, number): RateIndex) -> Option<&mut RateState> {
        self.tenants.get_mut(tenant as usize)?.as_mut()?.rates.get_mut(number)
    }

    /// Every rate from a tenant up that counts some of what is asked for.
    fn each_rate(
        &self,
        tenant: Option<TenantIndex>,
        asked: impl Fn(&Resource) -> Amount,
        mut visit: impl FnMut(RateIndex, &RateState, Amount),
    ) {
        let mut next = tenant;
        while let Some(index) = next {
            let Some(tenant) = self.tenant_at(index) else { return };
            for (number, rate) in tenant.rates.iter().enumerate() {
                let amount = asked(&rate.spec.resource);
                if amount > 0 {
                    visit((index, number), rate, amount);
                }
            }
            next = tenant.parent;
        }
    }

    /// The same, of what is asked for in a pool, from a node up.
    fn each_rate_of(&self, at: PoolIndex, start: NodeId, ask: &Ask, visit: impl FnMut(RateIndex, &RateState, Amount)) {
        let pool = self.pool_at(at);
        let asked = |resource: &Resource| pool.slot(resource.as_str()).map_or(0, |slot| ask.of(slot).unsigned_abs());
        self.each_rate(pool.node(start).tenant, asked, visit);
    }

    /// Rates on the path that would be exceeded, from the leaf up.
    pub(crate) fn rates_against(&self, at: PoolIndex, leaf: &Leaf, ask: &Ask, now: Time) -> Vec<Finding> {
        self.rates_refusing(at, leaf, ask, ReasonCode::RateExceeded, |rate, amount| rate.refuses(now, amount))
    }

    /// Rates on the path that an ask is larger than by itself.
    pub(crate) fn rates_never_letting(&self, at: PoolIndex, leaf: &Leaf, ask: &Ask) -> Vec<Finding> {
        self.rates_refusing(at, leaf, ask, ReasonCode::NeverFits, |rate, amount| {
            (amount > rate.spec.burst).then_some((Time::NEVER, 0))
        })
    }

    /// Those of which `refuses` says until when, and how much of them is used.
    fn rates_refusing(
        &self,
        at: PoolIndex,
        leaf: &Leaf,
        ask: &Ask,
        code: ReasonCode,
        refuses: impl Fn(&RateState, Amount) -> Option<(Time, Amount)>,
    ) -> Vec<Finding> {
        let pool = self.pool_at(at);
        let mut found = Vec::new();
        let finding = |node: NodeId, rate: &Rate, amount: Amount, used: Amount| Finding {
            slot: pool.slot(rate.resource.as_str()),
            used: used as i64,
            requested: amount as i64,
            limit: rate.burst as i64,
            ..Finding::of(code, node)
        };
        // Of a member's own rates nothing is taken before it is made: they bound what comes at once.
        for rate in self.rates_of_unmade(at, leaf) {
            let amount = pool.slot(rate.resource.as_str()).map_or(0, |slot| ask.of(slot).unsigned_abs());
            if amount > rate.burst {
                found.push(finding(UNMADE, rate, amount, 0));
            }
        }
        let start = leaf.unmade.as_ref().map_or(leaf.node, |unmade| unmade.parent);
        if !pool.node(start).rated {
            return found;
        }
        self.each_rate_of(at, start, ask, |index, rate, amount| {
            let Some((until, used)) = refuses(rate, amount) else { return };
            let node = pool.of_tenant.get(index.0 as usize).copied().flatten().unwrap_or(start);
            let exceeded = Some(Exceeded { index, until });
            found.push(Finding { rate: exceeded, ..finding(node, &rate.spec, amount, used) });
        });
        found
    }

    /// The rates that a member would have.
    fn rates_of_unmade(&self, at: PoolIndex, leaf: &Leaf) -> &[Rate] {
        let Some(unmade) = &leaf.unmade else { return &[] };
        let parent = self.pool_at(at).node(unmade.parent).tenant.and_then(|index| self.tenant_at(index));
        parent.and_then(|parent| parent.spec.members.as_ref()).map_or(&[], |members| &members.rates)
    }

    /// Whether what exceeds a rate is denied.
    pub(crate) fn rate_denies(&self, over: Exceeded) -> bool {
        self.rate_at(over.index).is_some_and(|rate| rate.spec.on_exceed == OnExceed::Deny)
    }

    /// Takes what an ask takes of the rates on its path.
    pub(crate) fn take_rates(&mut self, now: Time, at: PoolIndex, leaf: NodeId, ask: &Ask) {
        if !self.pools[at].node(leaf).rated {
            return;
        }
        let mut taken = Vec::new();
        self.each_rate_of(at, leaf, ask, |index, _, amount| taken.push((index, amount)));
        self.take_each(now, taken);
    }

    /// Takes what a hit takes of the rates of a tenant and all above it.
    pub(crate) fn take_hit(&mut self, now: Time, tenant: TenantIndex, hit: &Hit) {
        let asked = |resource: &Resource| if *resource == hit.resource { hit.amount } else { 0 };
        let mut taken = Vec::new();
        self.each_rate(Some(tenant), asked, |index, _, amount| taken.push((index, amount)));
        self.take_each(now, taken);
    }

    fn take_each(&mut self, now: Time, each: Vec<(RateIndex, Amount)>) {
        for (index, amount) in each {
            if let Some(RateState { spec, taken, .. }) = self.rate_at_mut(index) {
                taken.take(now, amount, spec);
            }
            self.doubt_turn(index);
        }
    }

    // Who waits.

    /// A ticket that asks for this waits from now on, or does not any more.
    pub(crate) fn wait_for_rates(&mut self, at: PoolIndex, leaf: NodeId, ask: &Ask, waits: bool) {
        if !self.pools[at].node(leaf).rated {
            return;
        }
        let mut changed = Vec::new();
        self.each_rate_of(at, leaf, ask, |index, _, amount| changed.push((index, amount)));
        for (index, amount) in changed {
            let Some(rate) = self.rate_at_mut(index) else { continue };
            let count = rate.waiting.entry(amount).or_insert(0);
            *count = if waits { *count + 1 } else { count.saturating_sub(1) };
            if *count == 0 {
                rate.waiting.remove(&amount);
            }
            self.doubt_turn(index);
        }
    }

    /// Something changed that a rate's turn depends on: it is found out when it is needed.
    fn doubt_turn(&mut self, index: RateIndex) {
        let turn = self.rate_at(index).filter(|rate| !rate.waiting.is_empty()).map(|_| Time::EPOCH);
        self.set_turn(index, turn);
    }

    fn set_turn(&mut self, index: RateIndex, turn: Option<Time>) {
        let Some(rate) = self.rate_at_mut(index) else { return };
        let before = std::mem::replace(&mut rate.turn, turn);
        if before == turn {
            return;
        }
        if let Some(at) = before {
            self.rate_turns.remove(&(at, index));
        }
        if let Some(at) = turn {
            self.rate_turns.insert((at, index));
        }
    }

    /// Finds out the turns that are in doubt, or over.
    pub(crate) fn settle_rates(&mut self, now: Time) {
        while let Some((_, index)) = self.rate_turns.first().copied().filter(|(at, _)| *at <= now) {
            let turn = self.rate_at(index).and_then(|rate| rate.next_turn(now));
            self.set_turn(index, turn);
        }
    }

    /// The first instant after `now` at which a rate lets a ticket pass that it does not let pass now.
    pub(crate) fn next_rate_turn(&self, now: Time) -> Option<Time> {
        let later = self.rate_turns.range((now, (TenantIndex::MAX, usize::MAX))..).next().map(|(at, _)| *at);
        let doubted = self.rate_turns.iter().take_while(|(at, _)| *at <= now);
        doubted.filter_map(|(_, index)| self.rate_at(*index)?.next_turn(now)).chain(later).min()
    }

    /// Nobody waits: tickets are counted anew.
    pub(crate) fn forget_turns(&mut self) {
        self.rate_turns.clear();
        for rate in self.tenants.iter_mut().flatten().flat_map(|tenant| &mut tenant.rates) {
            rate.waiting.clear();
            rate.turn = None;
        }
    }

    /// Who waits for a rate is counted as the tickets say.
    pub(crate) fn audit_rates(&self, violations: &mut Vec<Violation>) {
        let mut waiting: BTreeMap<RateIndex, BTreeMap<Amount, u32>> = BTreeMap::new();
        let rated = |record: &&TicketRecord| self.pool_at(record.pool).node(record.leaf).rated;
        for record in self.tickets.values().filter(rated) {
            self.each_rate_of(record.pool, record.leaf, &record.shape.ask, |index, _, amount| {
                *waiting.entry(index).or_default().entry(amount).or_insert(0) += 1;
            });
        }
        for (index, tenant) in self.tenants.iter().enumerate() {
            let Some(tenant) = tenant else { continue };
            for (number, rate) in tenant.rates.iter().enumerate() {
                let expected = waiting.remove(&(index as TenantIndex, number)).unwrap_or_default();
                if rate.waiting != expected {
                    let what = format!(
                        "rate {} of {} counts that {:?} wait for it, its tickets sum to {expected:?}",
                        rate.spec.name, tenant.spec.path, rate.waiting
                    );
                    violations.push(Violation { invariant: "conservation", what });
                }
            }
        }
    }
}
