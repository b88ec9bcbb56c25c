//! Hits: what is counted by rates and budgets alone, and leaves nothing behind. Calls that pass a gateway are hits.
//!
//! Several hits of one call are decided in one step: all are counted, or, where one of them is refused, none is. So what is
//! refused for one limit uses up no other.

use std::collections::BTreeMap;

use crate::amount::{AMOUNT_MAX, Amount};
use crate::bound::{Counter, HitBound, HitPer, Key};
use crate::config::{Enforce, Rate};
use crate::decision::Refusal;
use crate::entry::Entry;
use crate::ledger::{Ledger, TenantIndex, Timer};
use crate::name::{Name, Resource, TenantPath};
use crate::pool::ROOT;
use crate::request::{Reason, ReasonCode};
use crate::time::Time;

/// Hits that may be decided together.
pub const HITS_MAX: usize = 64;

/// So much of a resource, for a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Out of which pool: by its rules it is decided, and none of its capacity is taken.
    pub pool: Name,
    /// Whose rates and budgets count it, with those of all above.
    pub tenant: TenantPath,
    /// Of what.
    pub resource: Resource,
    /// How much; zero is counted nowhere, and only told how things stand.
    pub amount: Amount,
}

/// What became of hits that were decided together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HitDecision {
    /// Whether all of them may pass.
    pub allowed: bool,
    /// What to post; none where they may not, or nothing counts them.
    pub entry: Option<Entry>,
    /// Each, in their order.
    pub hits: Vec<HitStanding>,
}

/// What became of one hit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HitStanding {
    /// Every rule that stands against it, the one that decides first.
    pub reasons: Vec<Reason>,
    /// What becomes of that.
    pub enforce: Enforce,
    /// Of those that count it, the one that stands against it first, else the one that leaves least; none: nothing counts
    /// it.
    pub bound: Option<HitBound>,
}

impl HitStanding {
    /// Whether it may pass.
    pub fn passes(&self) -> bool {
        self.reasons.is_empty() || self.enforce != Enforce::Deny
    }
}

/// Whose a hit is.
enum Whose<'a> {
    /// A tenant's that there is.
    Made(TenantIndex),
    /// A member's that is to be made, under its parent.
    Unmade(TenantIndex, &'a [Rate]),
}

impl Ledger {
    /// Asks whether hits may pass, all together.
    pub fn hit(&self, now: Time, hits: &[Hit]) -> Result<HitDecision, Refusal> {
        check(hits)?;
        let mut taken: BTreeMap<Key<'_>, Amount> = BTreeMap::new();
        let mut standings = Vec::with_capacity(hits.len());
        let mut counted = Vec::new();
        for hit in hits {
            let at = self.pool_index(hit.pool.as_str()).ok_or_else(|| Refusal::NoPool(hit.pool.clone()))?;
            let whose = self.whose(hit)?;
            let (Whose::Made(index) | Whose::Unmade(index, _)) = whose;
            let pool = self.pool_at(at);
            let place = pool.of_tenant.get(index as usize).copied().flatten();
            let Some((place, node)) = place.map(|place| (place, pool.node(place))).filter(|(_, node)| node.usable)
            else {
                return Err(Refusal::NoQuota(hit.tenant.clone(), hit.pool.clone()));
            };
            let counters = self.counters(hit, &whose);
            let mut reasons = Vec::new();
            if node.inactive {
                let here = pool.up(place).find(|node| self.is_inactive(at, *node)).unwrap_or(place);
                reasons.push(plain(ReasonCode::Inactive, &pool.node(here).path));
            }
            for counter in &counters {
                let before = taken.get(&self.key(counter)).copied().unwrap_or(0);
                reasons.extend(self.stands_against(now, hit, counter, before));
            }
            // What never fits is told first, as of a request.
            reasons.sort_by_key(|reason| reason.code);
            if pool.spec.paused {
                reasons.push(plain(ReasonCode::Paused, &pool.node(ROOT).path));
            }
            let standing = HitStanding { reasons, enforce: node.enforce.unwrap_or(pool.spec.enforce), bound: None };
            if standing.passes() {
                for counter in &counters {
                    let sum = taken.entry(self.key(counter)).or_insert(0);
                    *sum = sum.saturating_add(hit.amount);
                }
                if !counters.is_empty() && hit.amount > 0 {
                    counted.push(hit.clone());
                }
            }
            standings.push((standing, counters));
        }
        let allowed = standings.iter().all(|(standing, _)| standing.passes());
        let hits = standings.into_iter().zip(hits).map(|((standing, counters), hit)| {
            let of = |counter: &Counter<'_>| {
                let taken = if allowed { taken.get(&self.key(counter)).copied().unwrap_or(0) } else { 0 };
                self.bound(now, hit, &standing, counter, taken)
            };
            let against = |bound: &HitBound| {
                let first = standing.reasons.iter().find(|reason| reason.budget.is_some() || reason.rate.is_some());
                first.is_some_and(|reason| {
                    reason.tenant == bound.tenant
                        && reason.budget.iter().chain(&reason.rate).any(|name| *name == bound.name)
                })
            };
            let bound = counters.iter().map(of).min_by_key(|bound| (!against(bound), bound.left));
            HitStanding { bound, ..standing }
        });
        let hits = hits.collect();
        let entry = (allowed && !counted.is_empty()).then_some(Entry::Hit { hits: counted });
        Ok(HitDecision { allowed, entry, hits })
    }

    /// Where there is no room for another member, a hit is its parent's alone: whoever makes up names gains nothing by it.
    fn whose<'a>(&'a self, hit: &Hit) -> Result<Whose<'a>, Refusal> {
        if let Some(index) = self.tenant_index(hit.tenant.as_str()) {
            return Ok(Whose::Made(index));
        }
        let parent = hit.tenant.parent().and_then(|parent| self.tenant_index(parent.as_str()));
        let above = parent.and_then(|index| Some((index, self.tenant_at(index)?)));
        let (index, state) = above.ok_or_else(|| Refusal::NoTenant(hit.tenant.clone()))?;
        let members = state.spec.members.as_ref().ok_or_else(|| Refusal::NoTenant(hit.tenant.clone()))?;
        Ok(if state.members < members.max { Whose::Unmade(index, &members.rates) } else { Whose::Made(index) })
    }

    /// All that counts a hit, from its tenant up.
    fn counters<'a>(&'a self, hit: &'a Hit, whose: &Whose<'a>) -> Vec<Counter<'a>> {
        let mut found = Vec::new();
        let mut next = match whose {
            Whose::Made(index) => Some(*index),
            Whose::Unmade(parent, rates) => {
                let counts = rates.iter().filter(|rate| rate.resource == hit.resource);
                found.extend(counts.map(|rate| Counter::Unmade(&hit.tenant, rate)));
                Some(*parent)
            }
        };
        while let Some((index, tenant)) = next.and_then(|index| Some((index, self.tenant_at(index)?))) {
            let budgets = tenant.budgets.iter().filter(|budget| budget.spec.resource == hit.resource);
            found.extend(budgets.map(|budget| Counter::Budget(index, budget)));
            let rates = tenant.rates.iter().filter(|rate| rate.spec.resource == hit.resource);
            found.extend(rates.map(|rate| Counter::Rate(index, rate)));
            next = tenant.parent;
        }
        found
    }

    fn path_of_counter<'a>(&'a self, counter: &Counter<'a>) -> Option<&'a TenantPath> {
        match *counter {
            Counter::Unmade(path, _) => Some(path),
            Counter::Rate(index, _) | Counter::Budget(index, _) => Some(&self.tenant_at(index)?.spec.path),
        }
    }

    fn key<'a>(&'a self, counter: &Counter<'a>) -> Key<'a> {
        let tenant = self.path_of_counter(counter).map_or("", TenantPath::as_str);
        match *counter {
            Counter::Unmade(_, rate) => (tenant, true, rate.name.as_str()),
            Counter::Rate(_, rate) => (tenant, true, rate.spec.name.as_str()),
            Counter::Budget(_, budget) => (tenant, false, budget.spec.name.as_str()),
        }
    }

    /// Whether a counter stands against a hit, after so much was taken of it in the same step.
    fn stands_against(&self, now: Time, hit: &Hit, counter: &Counter<'_>, before: Amount) -> Option<Reason> {
        let (most, left) = (counter.most(), counter.left(now));
        let code = match hit.amount {
            amount if amount > most => ReasonCode::NeverFits,
            amount if amount > 0 && before.saturating_add(amount) > left => counter.code(),
            _ => return None,
        };
        let until = (code != ReasonCode::NeverFits).then(|| counter.lets_at(now, before.saturating_add(hit.amount)));
        let name = Some(counter.name().clone());
        let is_rate = counter.code() == ReasonCode::RateExceeded;
        Some(Reason {
            code,
            tenant: self.path_of_counter(counter).cloned().unwrap_or_else(TenantPath::root),
            resource: Some(hit.resource.clone()),
            budget: name.clone().filter(|_| !is_rate),
            rate: name.filter(|_| is_rate),
            used: most.saturating_sub(left.saturating_sub(before)),
            requested: hit.amount,
            limit: most,
            until: until.filter(|until| *until != Time::NEVER),
        })
    }

    /// How a counter stands for a hit, after so much was taken of it.
    fn bound(&self, now: Time, hit: &Hit, standing: &HitStanding, counter: &Counter<'_>, taken: Amount) -> HitBound {
        let (amount, per) = match counter {
            Counter::Unmade(_, rate) => (rate.amount, HitPer::Span(rate.per)),
            Counter::Rate(_, rate) => (rate.spec.amount, HitPer::Span(rate.spec.per)),
            Counter::Budget(_, budget) => (budget.spec.amount, HitPer::Period(budget.spec.period)),
        };
        let until = if standing.passes() { counter.whole_at(now, taken) } else { counter.lets_at(now, hit.amount) };
        HitBound {
            tenant: self.path_of_counter(counter).cloned().unwrap_or_else(TenantPath::root),
            name: counter.name().clone(),
            amount,
            per,
            left: counter.left(now).saturating_sub(taken),
            until: Some(until).filter(|until| *until != Time::NEVER),
        }
    }

    /// Counts hits, which may pass.
    pub(crate) fn count_hits(&mut self, now: Time, hits: &[Hit]) {
        for hit in hits {
            let Some((mut index, makes)) = self.counted_by(hit) else { continue };
            if makes && self.make_member(&hit.tenant).is_some() {
                index = self.tenant_index(hit.tenant.as_str()).unwrap_or(index);
            }
            self.spend(index, hit);
            self.take_hit(now, index, hit);
            self.rest_members(now, index);
        }
    }

    /// The lowest tenant that counts a hit, and whether its member is to be made: where it has something to count by.
    fn counted_by(&self, hit: &Hit) -> Option<(TenantIndex, bool)> {
        match self.whose(hit).ok()? {
            Whose::Made(index) => Some((index, false)),
            Whose::Unmade(parent, rates) => Some((parent, rates.iter().any(|rate| rate.resource == hit.resource))),
        }
    }

    fn spend(&mut self, tenant: TenantIndex, hit: &Hit) {
        let mut next = Some(tenant);
        while let Some(tenant) = next.and_then(|index| self.tenants[index as usize].as_mut()) {
            for budget in tenant.budgets.iter_mut().filter(|budget| budget.spec.resource == hit.resource) {
                budget.used = budget.used.saturating_add(hit.amount);
            }
            next = tenant.parent;
        }
    }

    /// A member, and one above it, that hold nothing are kept for as long after a hit as after a lease.
    fn rest_members(&mut self, now: Time, tenant: TenantIndex) {
        let mut next = Some(tenant);
        while let Some(index) = next {
            let Some((parent, before)) = self.tenant_at(index).filter(|one| one.made).map(|one| (one.parent, one.idle))
            else {
                return;
            };
            if self.holding(index) == 0 {
                let keep = parent.and_then(|parent| self.member_keep(parent)).unwrap_or_default();
                if let Some(before) = before {
                    self.timers.remove(&(before.after(keep), Timer::MemberEnd(index)));
                }
                let since = before.unwrap_or(now).max(now);
                self.timers.insert((since.after(keep), Timer::MemberEnd(index)));
                if let Some(tenant) = self.tenants[index as usize].as_mut() {
                    tenant.idle = Some(since);
                }
            }
            next = parent;
        }
    }
}

fn check(hits: &[Hit]) -> Result<(), Refusal> {
    let bad = |why: String| Err(Refusal::Invalid { field: "hits", why });
    if hits.len() > HITS_MAX {
        return bad(format!("{} are given, at most {HITS_MAX} are decided together", hits.len()));
    }
    match hits.iter().find(|hit| hit.amount > AMOUNT_MAX) {
        Some(hit) => bad(format!("{} of {} is more than the largest amount, {AMOUNT_MAX}", hit.amount, hit.resource)),
        None => Ok(()),
    }
}

fn plain(code: ReasonCode, tenant: &TenantPath) -> Reason {
    let (resource, budget, rate, until) = (None, None, None, None);
    Reason { code, tenant: tenant.clone(), resource, budget, rate, used: 0, requested: 0, limit: 0, until }
}
