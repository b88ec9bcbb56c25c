//! How a request is decided: where it goes, whether it was decided before, whether it is well-formed, and what stands
//! against it.

use std::sync::Arc;

use crate::amount::{AMOUNT_MAX, Amounts};
use crate::ask::{Ask, Terms};
use crate::config::Enforce;
use crate::decision::{Decision, Outcome, Refusal};
use crate::dispatch::{Asker, Finding};
use crate::ended::EndedRecord;
use crate::entry::Entry;
use crate::found::Found;
use crate::ledger::{Ledger, PoolIndex};
use crate::name::{Name, TenantPath};
use crate::node::Cell;
use crate::pool::{HELD_MAX, Leaf, NodeId, PoolState, ROOT, SLOTS_MAX, Slot, UNMADE, Unmade};
use crate::queue::TicketKey;
use crate::request::{COUNT_MAX, End, Id, PRIORITY_MAX, Reason, ReasonCode, Request, SPAN_MAX, State, check_labels};
use crate::requests::{RequestKey, TenantSerial};
use crate::time::Time;

/// Of what can still be counted of a resource without capacity, one request takes no more than one in so many.
const UNBOUNDED_PART: i64 = 1024;
/// So much can be counted as long as no more than half of all is.
const FEW: i64 = HELD_MAX / 2 / UNBOUNDED_PART;

impl Ledger {
    /// The pool and the leaf of a request.
    pub(crate) fn place(&self, request: &Request) -> Result<(PoolIndex, Leaf), Refusal> {
        let at = self.pool_index(request.pool.as_str()).ok_or_else(|| Refusal::NoPool(request.pool.clone()))?;
        let leaf = self.leaf(at, &request.tenant)?;
        Ok((at, leaf))
    }

    /// A tenant's leaf in a pool; of a member that is not made yet, what it would be.
    pub(crate) fn leaf(&self, at: PoolIndex, tenant: &TenantPath) -> Result<Leaf, Refusal> {
        let pool = self.pool_at(at);
        let no_quota = || Refusal::NoQuota(tenant.clone(), pool.spec.name.clone());
        if let Some(index) = self.by_path.get(tenant) {
            let node = pool.of_tenant[*index as usize].ok_or_else(no_quota)?;
            let here = pool.node(node);
            if !here.usable {
                return Err(no_quota());
            }
            return Ok(Leaf::at(here.own_child().unwrap_or(node)));
        }
        let no_tenant = || Refusal::NoTenant(tenant.clone());
        let parent = tenant.parent().filter(|parent| !parent.is_root()).ok_or_else(no_tenant)?;
        let above = self.tenant_index(parent.as_str()).ok_or_else(no_tenant)?;
        let state = self.tenant_at(above).ok_or_else(no_tenant)?;
        let members = state.spec.members.as_ref().ok_or_else(no_tenant)?;
        if state.members >= members.max {
            return Err(Refusal::MembersFull { tenant: parent, max: members.max });
        }
        let node = pool.of_tenant[above as usize].ok_or_else(no_quota)?;
        if !pool.node(node).usable {
            return Err(no_quota());
        }
        Ok(Leaf { node: UNMADE, unmade: Some(Box::new(self.unmade(at, node, tenant.clone(), members.class.as_ref()))) })
    }

    /// What a member would have, as its sisters stand.
    pub(crate) fn unmade(&self, at: PoolIndex, parent: NodeId, path: TenantPath, class: Option<&Name>) -> Unmade {
        let pool = self.pool_at(at);
        let quota = class.and_then(|name| self.classes.get(name)).map(|(class, _)| &class.quota);
        let resolved = crate::tree::Resolved::new(quota, &self.classes);
        let above = pool.node(parent);
        let mut cells = vec![Cell::EMPTY; pool.known.len()];
        for (slot, cell) in cells.iter_mut().enumerate() {
            let Some(known) = pool.known(slot as Slot) else { continue };
            let name = known.name.as_str();
            let whole = known.capacity.unwrap_or(0).unsigned_abs();
            if let Some(level) = resolved.limit(name) {
                cell.limit = level.of(whole) as i64;
            }
            let wants = match (resolved.guaranteed(name), known.capacity) {
                (Some(level), Some(_)) => level.of(whole) as i64,
                _ => continue,
            };
            let has = above.cell(slot as Slot).guarantee;
            let sisters: i64 = above
                .children
                .iter()
                .filter(|child| !pool.node(**child).own)
                .map(|child| pool.node(*child).cell(slot as Slot).guarantee)
                .sum();
            cell.guarantee = if sisters + wants <= has {
                wants
            } else {
                (i128::from(wants) * i128::from(has) / i128::from((sisters + wants).max(1))) as i64
            };
            if let Some(level) = resolved.lendable(name) {
                let lendable = i128::from(level.of(whole)) * i128::from(cell.guarantee) / i128::from(wants.max(1));
                cell.unlendable = (cell.guarantee - lendable as i64).max(0);
            }
        }
        Unmade { parent, path, cells, inactive: above.inactive }
    }

    /// What a caller's id stands for: where it was used again after what it stood for was forgotten, the last.
    pub(crate) fn known_as(&self, key: RequestKey, request: &[u8]) -> Option<Id> {
        let is_asked_for = |id: &Id| {
            let asked = self.asked(*id);
            asked.is_some_and(|(tenant, known)| tenant == key.tenant() && known.id.as_bytes() == request)
        };
        self.requests.candidates(key).filter(is_asked_for).max()
    }

    /// What was asked for by a lease, a ticket or what ended, and whose it is.
    pub(crate) fn asked(&self, id: Id) -> Option<(TenantSerial, &Request)> {
        let at = |pool: PoolIndex, leaf| self.pool_at(pool).node(leaf).serial;
        if let Some(record) = self.leases.get(&id) {
            return Some((at(record.pool(), record.leaf), &record.lease.request));
        }
        if let Some(record) = self.tickets.get(&id) {
            return Some((at(record.pool, record.leaf), &record.ticket.request));
        }
        self.endings.get(id).map(|record| (record.tenant(), &**record.request()))
    }

    /// The answer to a request that was decided before.
    pub(crate) fn decided(
        &self,
        now: Time,
        leaf: &Leaf,
        at: PoolIndex,
        request: &Request,
        key: RequestKey,
    ) -> Result<Option<Decision>, Refusal> {
        let Some(id) = self.known_as(key, request.id.as_bytes()) else { return Ok(None) };
        let (known, earlier) = if let Some(record) = self.tickets.get(&id) {
            (State::Waiting, &record.ticket.request)
        } else if let Some(record) = self.leases.get(&id) {
            (record.lease.state(), &record.lease.request)
        } else if let Some(ended) = self.remembered(now, id) {
            (State::Ended(ended.end()), ended.request())
        } else {
            return Ok(None);
        };
        if !earlier.same_contents(request) {
            return Err(Refusal::Exists(id));
        }
        let outcome = match known {
            State::Waiting => Outcome::Queue,
            State::Provisional | State::Active | State::Reclaiming => Outcome::Allow,
            State::Ended(_) if self.endings.get(id).is_some_and(EndedRecord::admitted) => Outcome::Allow,
            State::Ended(_) => Outcome::Deny,
        };
        let reasons = match known {
            State::Ended(End::WaitedTooLong) => {
                vec![self.reason(at, leaf, &Finding::of(ReasonCode::WaitedTooLong, leaf.node))]
            }
            _ => Vec::new(),
        };
        let enforce = self.enforced(at, leaf, request);
        Ok(Some(Decision { outcome, id: Some(id), known: Some(known), entry: None, reasons, would_be: None, enforce }))
    }

    /// Everything that makes a request malformed.
    pub(crate) fn check_request(&self, at: PoolIndex, leaf: &Leaf, request: &Request) -> Result<(), Refusal> {
        let bad = |field, why: String| Err(Refusal::Invalid { field, why });
        if request.resources.iter().all(|(_, amount)| amount == 0) {
            return bad("resources", "nothing is asked for: name at least one resource above zero".into());
        }
        if request.count == 0 || request.count > COUNT_MAX {
            return bad("count", format!("{} is not 1 to {COUNT_MAX}", request.count));
        }
        if request.min_count == 0 || request.min_count > request.count {
            return bad("min_count", format!("{} is not 1 to count, {}", request.min_count, request.count));
        }
        if request.priority.unsigned_abs() > PRIORITY_MAX.unsigned_abs() {
            return bad("priority", format!("{} is not -{PRIORITY_MAX} to {PRIORITY_MAX}", request.priority));
        }
        for (field, span) in
            [("expected_duration", request.expected_duration), ("grace", request.grace), ("ttl", request.ttl)]
        {
            if span.is_some_and(|span| span > SPAN_MAX) {
                return bad(field, "it is longer than a hundred years".into());
            }
        }
        if let Err(why) = check_labels(request.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()))) {
            return bad("labels", why);
        }
        let start = leaf.unmade.as_ref().map_or(leaf.node, |unmade| unmade.parent);
        let most = self.pool_at(at).node(start).max_priority;
        if request.priority > most {
            return bad(
                "priority",
                format!("{} is above what {} may ask for, {most}", request.priority, request.tenant),
            );
        }
        Ok(())
    }

    /// A request's amounts per instance, with what the pool adds.
    pub(crate) fn with_implied(&self, at: PoolIndex, resources: &Amounts) -> Amounts {
        let implied = &self.pool_at(at).spec.implied;
        if implied.iter().all(|(name, _)| resources.get(name.as_str()).is_some()) {
            return resources.clone();
        }
        let added = implied.iter().filter(|(name, _)| resources.get(name.as_str()).is_none());
        let merged: Vec<_> = resources.iter().chain(added).map(|(name, amount)| (name.clone(), amount)).collect();
        Amounts::merged(merged)
    }

    /// Whether so many instances can be counted in the pool's tables, where they are asked for in these terms.
    pub(crate) fn check_countable(
        &self,
        at: PoolIndex,
        resources: &Amounts,
        count: u32,
        ask: &Ask,
    ) -> Result<(), Refusal> {
        let pool = self.pool_at(at);
        let root = pool.node(ROOT);
        let few = |(slot, amount): &(Slot, i64)| is_few(pool, *slot, amount.saturating_mul(count.into()));
        if ask.0.len() == resources.len() && ask.0.iter().all(few) {
            return Ok(());
        }
        let invalid = |why: String| Err(Refusal::Invalid { field: "resources", why });
        let mut unknown = 0;
        for (name, amount) in resources.iter().filter(|(_, amount)| *amount > 0) {
            let total = (amount as i64).saturating_mul(count.into());
            let slot = pool.slot(name.as_str());
            unknown += usize::from(slot.is_none());
            let left = HELD_MAX - slot.map_or(0, |slot| root.cell(slot).now.usage);
            // What no capacity bounds nobody may use up for the others: a request takes a part of what is left, and what
            // waits counts as taken.
            let bounded = slot.is_some_and(|slot| pool.capacity(slot).is_some());
            let waits = slot.map_or(0, |slot| pool.awaited(slot));
            let most = if bounded { left } else { left.saturating_sub(waits).max(0) / UNBOUNDED_PART };
            if total > most {
                return invalid(format!(
                    "{total} of {name} are more than pool {} can count just now: ask for {most} at most",
                    pool.spec.name
                ));
            }
        }
        if pool.slots.len() + unknown > SLOTS_MAX {
            return invalid(format!(
                "pool {} knows {SLOTS_MAX} resources already, as many as it can: ask for those that it knows",
                pool.spec.name
            ));
        }
        Ok(())
    }

    /// How a decision is enforced for a request.
    pub(crate) fn enforced(&self, at: PoolIndex, leaf: &Leaf, request: &Request) -> Enforce {
        let pool = self.pool_at(at);
        let start = leaf.unmade.as_ref().map_or(leaf.node, |unmade| unmade.parent);
        request.enforce.or(pool.node(start).enforce).unwrap_or(pool.spec.enforce)
    }

    /// Of a request of which one climb tells that nothing stands against it, as it does of most: how the decision is
    /// enforced. None where it takes more to tell.
    pub(crate) fn plainly(&self, at: PoolIndex, leaf: &Leaf, request: &Request) -> Option<Enforce> {
        let pool = self.pool_at(at);
        let whole = leaf.unmade.is_none() && request.min_count == request.count;
        if !whole || pool.node(leaf.node).budgeted || pool.node(leaf.node).rated {
            return None;
        }
        let mut terms = Terms::default();
        pool.take_all_terms(&request.resources, request.count, &mut terms)?;
        let few = |(slot, amount): &(Slot, i64)| is_few(pool, *slot, *amount);
        if !terms.as_slice().iter().all(few) || !pool.is_open(leaf.node, request.borrow, terms.as_slice()) {
            return None;
        }
        Some(self.enforced(at, leaf, request))
    }

    /// Decides on a request that is well-formed and new, whose amounts with what the pool adds, and in its terms, are
    /// these.
    #[expect(clippy::too_many_arguments, reason = "all that was found out about one request")]
    pub(crate) fn decide(
        &self,
        now: Time,
        at: PoolIndex,
        leaf: &Leaf,
        request: &Arc<Request>,
        resources: &Amounts,
        ask: &Ask,
        id: Id,
    ) -> Decision {
        let pool = self.pool_at(at);
        let enforce = self.enforced(at, leaf, request);
        let key = TicketKey::new(now, request.priority, pool.spec.age_step, id);
        let asker =
            Asker { leaf, ask, borrow: request.borrow, waits: (now, id), key: Some(key), claim: None, own_claim: None };
        let (findings, hopeless) = self.against(at, &asker, now);
        if findings.is_empty() {
            let count = if request.min_count == request.count {
                request.count
            } else {
                let one = pool.ask_of(resources, 1);
                let counts = request.min_count..=request.count;
                self.most_of(at, &Asker { ask: &one, key: None, ..asker }, counts, now)
            };
            return allow(id, request, count, enforce);
        }
        let denied = hopeless || !request.wait || findings.iter().any(|finding| self.is_denied(finding));
        let mut reasons: Vec<Reason> = findings.iter().map(|finding| self.reason(at, leaf, finding)).collect();
        let full = !denied && self.queue_is_full(at, leaf);
        if full {
            // Where nothing is enforced, what it would have waited for says more than that it could not have.
            let first = if enforce == Enforce::Deny { 0 } else { reasons.len() };
            reasons.insert(first, self.reason(at, leaf, &Finding::of(ReasonCode::QueueFull, leaf.node)));
        }
        let outcome = if denied || full { Outcome::Deny } else { Outcome::Queue };
        match enforce {
            Enforce::Deny => {
                let queued = outcome == Outcome::Queue;
                Decision {
                    outcome,
                    id: queued.then_some(id),
                    known: None,
                    entry: queued.then(|| Entry::Queued { id, request: Arc::clone(request) }),
                    reasons,
                    would_be: None,
                    enforce,
                }
            }
            Enforce::Warn | Enforce::Observe => {
                let observed = reasons.first().map(|reason| reason.code);
                let entry = Entry::Admitted {
                    id,
                    request: Arc::clone(request),
                    count: request.count,
                    observed,
                    found: Found::default(),
                };
                let would_be = Some(outcome);
                Decision { entry: Some(entry), reasons, would_be, ..allow(id, request, request.count, enforce) }
            }
        }
    }

    /// All that stands against an asker, in the order in which rules decide, and whether it stands against it for
    /// good. Nothing, in most cases, and then only that is asked.
    pub(crate) fn against(&self, at: PoolIndex, asker: &Asker<'_>, now: Time) -> (Vec<Finding>, bool) {
        if self.is_free(at, asker, now) {
            return (Vec::new(), false);
        }
        let first = self.findings(at, asker, now, true);
        let Some(code) = first.first().map(|finding| finding.code) else { return (first, false) };
        if code == ReasonCode::Inactive {
            return (first, true);
        }
        let mut never = self.never_fits(at, asker.leaf, asker.ask);
        if !asker.borrow {
            never.extend(self.never_within(at, asker.leaf, asker.ask));
        }
        if never.is_empty() { (self.findings(at, asker, now, false), false) } else { (never, true) }
    }

    fn queue_is_full(&self, at: PoolIndex, leaf: &Leaf) -> bool {
        let pool = self.pool_at(at);
        let own = if leaf.node == UNMADE { 0 } else { pool.node(leaf.node).queue.len };
        pool.node(ROOT).waiting >= u64::from(pool.spec.max_queued)
            || own >= pool.spec.max_queued_per_tenant.of(pool.spec.max_queued)
    }

    /// A finding in the words of an answer.
    pub(crate) fn reason(&self, at: PoolIndex, leaf: &Leaf, finding: &Finding) -> Reason {
        let pool = self.pool_at(at);
        let budget = finding
            .budget
            .and_then(|(tenant, number)| Some((self.tenant_at(tenant)?, number)))
            .and_then(|(tenant, number)| Some((tenant, tenant.budgets.get(number)?)));
        Reason {
            code: finding.code,
            tenant: match budget {
                Some((tenant, _)) => tenant.spec.path.clone(),
                None => pool.path_of(leaf, finding.node).clone(),
            },
            resource: match budget {
                Some((_, budget)) => Some(budget.spec.resource.clone()),
                None => finding.slot.and_then(|slot| pool.known(slot)).map(|known| known.name.clone()),
            },
            budget: budget.map(|(_, budget)| budget.spec.name.clone()),
            rate: finding.rate.and_then(|over| self.rate_at(over.index)).map(|rate| rate.spec.name.clone()),
            used: finding.used.unsigned_abs(),
            requested: finding.requested.unsigned_abs(),
            limit: finding.limit.unsigned_abs(),
            until: match (finding.code, budget, finding.rate) {
                (ReasonCode::BudgetUsedUp, Some((_, budget)), _) => Some(budget.ends),
                (_, _, Some(over)) => Some(over.until),
                _ => None,
            }
            .filter(|until| *until != Time::NEVER),
        }
    }
}

/// A request is allowed, and nothing stands against it.
pub(crate) fn allow(id: Id, request: &Arc<Request>, count: u32, enforce: Enforce) -> Decision {
    let (request, found) = (Arc::clone(request), Found::default());
    let entry = Entry::Admitted { id, request, count, observed: None, found };
    Decision { id: Some(id), entry: Some(entry), ..Decision::allowed(enforce) }
}

/// Whether an amount is so far below all that can be counted that nothing more needs to be looked at.
fn is_few(pool: &PoolState, slot: Slot, amount: i64) -> bool {
    let counted = pool.node(ROOT).cell(slot).now.usage.saturating_add(pool.awaited(slot));
    amount <= FEW && counted <= HELD_MAX / 2
}

pub(crate) fn invalid(field: &'static str, error: &dyn std::fmt::Display) -> Refusal {
    Refusal::Invalid { field, why: error.to_string() }
}

/// All instances together must be countable.
pub(crate) fn check_total(field: &'static str, resources: &Amounts, count: u32) -> Result<(), Refusal> {
    for (name, amount) in resources.iter() {
        if amount.checked_mul(u64::from(count)).is_none_or(|total| total > AMOUNT_MAX) {
            return Err(Refusal::Invalid {
                field,
                why: format!("{count} times {amount} of {name} is more than the largest amount, {AMOUNT_MAX}"),
            });
        }
    }
    Ok(())
}
