//! What is shown of a ledger.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use crate::amount::Amount;
use crate::config::{Class, Pool, Settings, Tenant};
use crate::decision::{Explanation, Holding, LevelNumbers, Refusal, Standing};
use crate::dispatch::Asker;
use crate::ended::EndedRecord;
use crate::granted::Lease;
use crate::ledger::{Ledger, PoolIndex};
use crate::name::{Resource, TenantPath};
use crate::pool::{Counters, Leaf, NO_LIMIT, NodeId, ROOT, Set, Slot};
use crate::queue::TicketKey;
use crate::request::{Ended, Id, Request, State, Ticket};
use crate::requests::RequestKey;
use crate::rows::Rows;
use crate::share::Share;
use crate::time::Time;

/// An object of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object<'a> {
    /// A pool, by name.
    Pool(&'a str),
    /// A class, by name.
    Class(&'a str),
    /// A tenant, by path.
    Tenant(&'a str),
}

/// What of a budget is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetStanding {
    /// Charged in the running period.
    pub used: Amount,
    /// The amount per period.
    pub amount: Amount,
    /// When the period started.
    pub started: Time,
    /// When it ends.
    pub ends: Time,
}

/// A ticket's hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldFor {
    /// Where it has its hold; the root is the pool.
    pub tenant: TenantPath,
    /// What is kept free there for it just now, by resource: what it is blocked in, and what of that has come free.
    pub resources: Vec<(Resource, Amount)>,
}

/// How a rate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateStanding {
    /// How much may be taken now.
    pub left: Amount,
    /// When all of it is there again, if nothing is taken until then; now, where it is.
    pub whole_at: Time,
}

impl Ledger {
    /// A lease.
    pub fn lease(&self, id: Id) -> Option<&Lease> {
        self.leases.get(&id).map(|record| &record.lease)
    }

    /// A ticket that waits.
    pub fn ticket(&self, id: Id) -> Option<&Ticket> {
        self.tickets.get(&id).map(|record| &record.ticket)
    }

    /// A request that is gone and still known.
    pub fn ended(&self, id: Id) -> Option<Ended> {
        self.endings.get(id).map(EndedRecord::ended)
    }

    /// What was asked for by a lease, a ticket, or what is gone and still known.
    pub fn request(&self, id: Id) -> Option<&Request> {
        self.asked(id).map(|(_, request)| request)
    }

    /// Where a lease or ticket stands; none where it is not known (any more).
    pub fn state(&self, id: Id) -> Option<State> {
        if self.tickets.contains_key(&id) {
            return Some(State::Waiting);
        }
        let lease = self.lease(id).map(Lease::state);
        lease.or_else(|| self.endings.get(id).map(|ended| State::Ended(ended.end())))
    }

    /// The lease or ticket of a request, by the caller's id for it.
    pub fn find(&self, tenant: &TenantPath, request_id: &str) -> Option<Id> {
        let index = self.by_path.get(tenant)?;
        let key = RequestKey::of(self.tenant_at(*index)?.serial, request_id.as_bytes());
        self.known_as(key, request_id.as_bytes())
    }

    /// Leases and tickets of a holder, by number.
    pub fn held_by(&self, holder: &str) -> impl Iterator<Item = Id> + '_ {
        self.holders.get(holder).into_iter().flat_map(Rows::iter).copied()
    }

    /// Every lease, by number.
    pub fn leases(&self) -> impl Iterator<Item = &Lease> + '_ {
        let mut leases: Vec<_> = self.leases.values().map(|record| &record.lease).collect();
        leases.sort_unstable_by_key(|lease| lease.id);
        leases.into_iter()
    }

    /// Every ticket, by number.
    pub fn tickets(&self) -> impl Iterator<Item = &Ticket> + '_ {
        let mut tickets: Vec<_> = self.tickets.values().map(|record| &record.ticket).collect();
        tickets.sort_unstable_by_key(|ticket| ticket.id);
        tickets.into_iter()
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Every pool, by name.
    pub fn pools(&self) -> impl Iterator<Item = &Pool> + '_ {
        self.pools.iter().map(|pool| &pool.spec)
    }

    /// A pool.
    pub fn pool(&self, name: &str) -> Option<&Pool> {
        self.pool_index(name).map(|at| &self.pools[at].spec)
    }

    /// Every class, by name.
    pub fn classes(&self) -> impl Iterator<Item = &Class> + '_ {
        self.classes.values().map(|(class, _)| class)
    }

    /// Every tenant, by path; those made on first use too.
    pub fn tenants(&self) -> impl Iterator<Item = &Tenant> + '_ {
        self.order().into_iter().filter_map(|index| self.tenant_at(index)).map(|tenant| &tenant.spec)
    }

    /// A tenant.
    pub fn tenant(&self, path: &str) -> Option<&Tenant> {
        self.tenant_index(path).and_then(|index| self.tenant_at(index)).map(|tenant| &tenant.spec)
    }

    /// Whether a tenant is a member, made on first use.
    pub fn is_member(&self, path: &str) -> bool {
        self.tenant_index(path).and_then(|index| self.tenant_at(index)).is_some_and(|tenant| tenant.made)
    }

    /// When an object of the configuration was last changed: the number of the posting that did it, which grows.
    pub fn revision(&self, object: Object<'_>) -> Option<u64> {
        match object {
            Object::Pool(name) => self.pool_revisions.get(name).copied(),
            Object::Class(name) => self.classes.get(name).map(|(_, revision)| *revision),
            Object::Tenant(path) => self.tenant_at(self.tenant_index(path)?).map(|tenant| tenant.revision),
        }
    }

    /// What of a budget is used, and of how much.
    pub fn budget(&self, tenant: &str, budget: &str) -> Option<BudgetStanding> {
        let tenant = self.tenant_at(self.tenant_index(tenant)?)?;
        let budget = tenant.budgets.iter().find(|state| state.spec.name.as_str() == budget)?;
        Some(BudgetStanding {
            used: budget.used,
            amount: budget.spec.amount,
            started: budget.started,
            ends: budget.ends,
        })
    }

    /// How a rate stands.
    pub fn rate(&self, now: Time, tenant: &str, rate: &str) -> Option<RateStanding> {
        let tenant = self.tenant_at(self.tenant_index(tenant)?)?;
        tenant.rates.iter().find(|state| state.spec.name.as_str() == rate).map(|state| state.standing(now))
    }

    /// A node of a pool's tree as things stand; the root's path is empty.
    pub fn standing(&self, now: Time, pool: &str, tenant: &str) -> Option<Standing> {
        let at = self.pool_index(pool)?;
        let node =
            if tenant.is_empty() { ROOT } else { self.pools[at].of_tenant[self.tenant_index(tenant)? as usize]? };
        Some(self.standing_of(now, at, node))
    }

    fn standing_of(&self, now: Time, at: PoolIndex, node: NodeId) -> Standing {
        let pool = self.pool_at(at);
        let here = pool.node(node);
        let share = pool.share_shown(node, now);
        let sisters = &pool.node(here.parent).children;
        let smaller = sisters.iter().filter(|sister| pool.share_shown(**sister, now) < share).count();
        let held = self.held_at(at, node);
        let holdings = pool
            .slots
            .iter()
            .map(|(name, slot)| {
                let cell = here.cell(*slot);
                let usage = Set::Now.tally(pool, node, *slot).usage;
                Holding {
                    resource: name.clone(),
                    usage: units(usage),
                    guaranteed: units(cell.guarantee),
                    limit: (cell.limit < NO_LIMIT).then(|| units(cell.limit)),
                    lendable: units(cell.guarantee - cell.unlendable),
                    borrowed: units(pool.borrowed(&Set::Now, node, *slot)),
                    held: held.iter().find(|(other, _)| other == slot).map_or(0, |(_, amount)| units(*amount)),
                }
            })
            .collect();
        Standing {
            tenant: here.path.clone(),
            running: here.running,
            waiting: here.waiting,
            reclaiming: here.reclaiming,
            share_millionths: share.millionths(),
            rank: if node == ROOT { 1 } else { smaller as u32 + 1 },
            sisters: if node == ROOT { 1 } else { sisters.len() as u32 },
            holdings,
        }
    }

    /// What a hold or claims keep free at a node just now.
    fn held_at(&self, at: PoolIndex, node: NodeId) -> Vec<(Slot, i64)> {
        let pool = self.pool_at(at);
        let mut held = Vec::new();
        for (_, slot) in &pool.slots {
            let by_hold = pool.node(node).hold.is_some_and(|hold| self.hold_blocked(pool, node, &hold).contains(slot));
            if by_hold || self.claim_blocked_at(pool, node, *slot) {
                held.push((*slot, pool.free(node, *slot)));
            }
        }
        held
    }

    /// Whether a ticket has a claim: what it asks for is being reclaimed, or on its way already.
    pub fn claims(&self, id: Id) -> bool {
        self.tickets.get(&id).is_some_and(|record| record.claim.is_some())
    }

    /// The leases that give way which a ticket's claim waits for, in the order chosen: those that it counts on, and that
    /// hold what it is blocked in, where it is blocked. None where it has no claim, or waits for what ends by itself.
    pub fn claimed(&self, id: Id) -> Vec<Id> {
        let Some(record) = self.tickets.get(&id) else { return Vec::new() };
        let pool = self.pool_at(record.pool);
        let Some(claim) = record.claim.and_then(|key| pool.claims.order.get(&key)) else { return Vec::new() };
        let blocked = pool.blocked(&Set::Now, &Leaf::at(record.leaf), &record.shape.ask);
        let counted = pool.claims.victims.range(..claim.counts_on).map(|(_, lease)| *lease);
        let awaited = |lease: &Id| {
            self.leases.get(lease).is_some_and(|victim| {
                pool.up(victim.leaf)
                    .any(|node| blocked.iter().any(|(at, slot)| *at == node && victim.ask().of(*slot) > 0))
            })
        };
        counted.filter(awaited).collect()
    }

    /// Where a ticket has its hold, and what is kept free there; none where it has none.
    pub fn held_for(&self, id: Id) -> Option<HeldFor> {
        let record = self.tickets.get(&id)?;
        let node = record.hold?;
        let pool = self.pool_at(record.pool);
        let blocked = pool.node(node).hold.map(|hold| self.hold_blocked(pool, node, &hold)).unwrap_or_default();
        let named =
            blocked.iter().filter_map(|slot| Some((pool.known(*slot)?.name.clone(), units(pool.free(node, *slot)))));
        Some(HeldFor { tenant: pool.node(node).path.clone(), resources: named.collect() })
    }

    /// Tickets of a pool in the order in which they would be dispatched as things stand: those with a claim, those
    /// with a hold, then as their tenants stand just now.
    pub fn queue(&self, now: Time, pool: &str) -> Vec<Id> {
        let Some(at) = self.pool_index(pool) else { return Vec::new() };
        let pool = self.pool_at(at);
        let mut shares: std::collections::HashMap<NodeId, Share, foldhash::fast::FixedState> = Default::default();
        let mut groups: std::collections::BTreeMap<_, Vec<Queued>> = Default::default();
        for record in self.tickets.values().filter(|record| record.pool == at) {
            let hold = record.hold.and_then(|node| pool.node(node).hold).map(|hold| hold.waits);
            let first = match (record.claim, hold) {
                (Some(claim), _) => (0, Some(claim), None),
                (None, Some(waits)) => (1, None, Some(waits)),
                (None, None) => (2, None, None),
            };
            let leaf = Leaf::at(record.leaf);
            let mut path: Vec<_> = pool
                .up(record.leaf)
                .take_while(|node| *node != ROOT)
                .map(|node| {
                    let within = pool.within(&Set::Now, &leaf, &record.shape.ask, node, |_| true);
                    let share = *shares.entry(node).or_insert_with(|| pool.share(node, now));
                    (node, (!within, pool.node(node).weight == 0, share))
                })
                .collect();
            path.reverse();
            groups.entry((record.ticket.silent, first)).or_default().push(Queued { path, key: record.key });
        }
        groups.into_values().flat_map(|group| merged(group, 0)).map(|ticket| ticket.key.id).collect()
    }

    /// A ticket's place in its pool by dispatch order, counted from 1.
    pub fn position(&self, now: Time, id: Id) -> Option<u64> {
        let record = self.tickets.get(&id)?;
        let name = self.pools[record.pool].spec.name.clone();
        self.queue(now, name.as_str()).iter().position(|other| *other == id).map(|place| place as u64 + 1)
    }

    /// How long a ticket will probably wait, where that can be told: as many leases must end as tickets come before
    /// it, and they end as often as their declared lengths say, else as those that ended lived.
    pub fn expected_wait(&self, now: Time, id: Id) -> Option<Duration> {
        let record = self.tickets.get(&id)?;
        let position = self.position(now, id)?;
        self.wait_at(record.pool, position)
    }

    /// How long the ticket at a position will probably wait.
    pub(crate) fn wait_at(&self, at: PoolIndex, position: u64) -> Option<Duration> {
        let pool = self.pool_at(at);
        let running = pool.node(ROOT).running;
        if running == 0 {
            return None;
        }
        let (declared, sum) = pool.declared;
        let length = if declared > 0 { sum / u128::from(declared) } else { u128::from(pool.observed_length?) };
        let nanos = length * u128::from(position) / u128::from(running);
        Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    /// Why a request would be decided as it would be now; of one that was decided, why it stands where it does.
    pub fn explain(&self, now: Time, request: &Arc<Request>) -> Result<Explanation, Refusal> {
        let (at, leaf) = self.place(request)?;
        let resources = self.with_implied(at, &request.resources);
        let ask = self.pool_at(at).ask_of(&resources, request.min_count);
        let decision = self.decide(now, at, &leaf, request, &resources, &ask, Id(self.next_id));
        let mut explanation = self.levels(now, at, &leaf, request);
        explanation.outcome = decision.would_be.unwrap_or(decision.outcome);
        explanation.reasons = decision.reasons;
        Ok(explanation)
    }

    /// Why a lease or a ticket stands where it does.
    pub fn explain_id(&self, now: Time, id: Id) -> Option<Explanation> {
        if let Some(record) = self.tickets.get(&id) {
            let leaf = Leaf::at(record.leaf);
            let asker = Asker::waiting(record, &leaf);
            let findings = self.findings(record.pool, &asker, now, false);
            let mut explanation = self.levels(now, record.pool, &leaf, &record.ticket.request);
            explanation.outcome = crate::decision::Outcome::Queue;
            explanation.reasons = findings.iter().map(|finding| self.reason(record.pool, &leaf, finding)).collect();
            explanation.position = self.position(now, id);
            explanation.expected_wait = explanation.position.and_then(|place| self.wait_at(record.pool, place));
            explanation.reclaiming = if record.claim.is_some() {
                self.claimed(id)
            } else {
                self.pools[record.pool].claims.victims.values().copied().collect()
            };
            return Some(explanation);
        }
        let record = self.leases.get(&id)?;
        Some(self.levels(now, record.pool(), &Leaf::at(record.leaf), &record.lease.request))
    }

    fn levels(&self, now: Time, at: PoolIndex, leaf: &Leaf, request: &Request) -> Explanation {
        let pool = self.pool_at(at);
        let resources = self.with_implied(at, &request.resources);
        let ask = pool.ask_of(&resources, request.min_count);
        let mut levels: Vec<(NodeId, LevelNumbers)> = Vec::new();
        let _: ControlFlow<()> = pool.climb(&Set::Now, leaf, &ask, |node, effect| {
            if node == crate::pool::UNMADE || pool.node(node).own {
                return ControlFlow::Continue(());
            }
            if levels.last().is_none_or(|(last, _)| *last != node) {
                let standing = self.standing_of(now, at, node);
                let numbers =
                    LevelNumbers { standing, usage_after: Vec::new(), borrowed_after: Vec::new(), blocked: Vec::new() };
                levels.push((node, numbers));
            }
            if let (Some((_, numbers)), Some(known)) = (levels.last_mut(), pool.known(effect.slot)) {
                numbers.usage_after.push((known.name.clone(), units(effect.usage + effect.amount)));
                let borrowed = if known.capacity.is_some() { effect.occupied_after - effect.guarantee } else { 0 };
                numbers.borrowed_after.push((known.name.clone(), units(borrowed)));
                if !effect.fits() {
                    numbers.blocked.push(known.name.clone());
                }
            }
            ControlFlow::Continue(())
        });
        Explanation {
            outcome: crate::decision::Outcome::Allow,
            reasons: Vec::new(),
            levels: levels.into_iter().map(|(_, numbers)| numbers).collect(),
            position: None,
            expected_wait: None,
            reclaiming: Vec::new(),
        }
    }
}

fn units(amount: i64) -> Amount {
    Amount::try_from(amount).unwrap_or(0)
}

/// A ticket with how each node of its path stands for it, from the top.
struct Queued {
    path: Vec<(NodeId, (bool, bool, Share))>,
    key: TicketKey,
}

/// Tickets under a node, in the order of dispatch: each child is represented by the one that it puts forward next. By
/// themselves tickets have no order, since a later one of a line may stay within a guarantee that an earlier does not.
fn merged(mut tickets: Vec<Queued>, depth: usize) -> Vec<Queued> {
    use std::cmp::Reverse;
    if tickets.iter().all(|ticket| ticket.path.len() <= depth) {
        tickets.sort_unstable_by_key(|ticket| ticket.key);
        return tickets;
    }
    let mut children: std::collections::BTreeMap<NodeId, Vec<Queued>> = Default::default();
    for ticket in tickets {
        let child = ticket.path.get(depth).map_or(ROOT, |(node, _)| *node);
        children.entry(child).or_default().push(ticket);
    }
    let rank = |ticket: &Queued| (ticket.path.get(depth).map(|(_, rank)| *rank), ticket.key);
    let mut lines: Vec<_> =
        children.into_values().map(|child| merged(child, depth + 1).into_iter().peekable()).collect();
    let mut heads: std::collections::BinaryHeap<_> = lines
        .iter_mut()
        .enumerate()
        .filter_map(|(line, tickets)| Some(Reverse((rank(tickets.peek()?), line))))
        .collect();
    let mut order = Vec::new();
    while let Some(Reverse((_, line))) = heads.pop() {
        order.extend(lines[line].next());
        heads.extend(lines[line].peek().map(|ticket| Reverse((rank(ticket), line))));
    }
    order
}
