//! The ledger: what it is asked. What is posted to it is in `post`, what is shown of it in `views`.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;

use crate::amount::{AMOUNT_MAX, Amount, Amounts};
use crate::config::{Budget, Calendar, Class, Enforce, Settings, Tenant};
use crate::decision::{Amendment, Decision, Outcome, Refusal};
use crate::dispatch::{Asker, Finding};
use crate::entry::Entry;
use crate::found::Found;
use crate::ids::IdMap;
use crate::name::{Holder, Name, TenantPath};
use crate::pool::{Ask, Cell, HELD_MAX, Leaf, NodeId, PoolState, ROOT, SLOTS_MAX, Slot, Terms, UNMADE, Unmade};
use crate::queue::{Shape, TicketKey};
use crate::rate::RateState;
use crate::rated::RateIndex;
use crate::reclaim::ClaimKey;
use crate::request::{
    COUNT_MAX, End, Ended, Id, Lease, PRIORITY_MAX, Reason, ReasonCode, Request, SPAN_MAX, State, Ticket, check_labels,
};
use crate::requests::{RequestKey, Requests, TenantSerial};
use crate::time::Time;

/// A pool's place in the ledger's table.
pub(crate) type PoolIndex = usize;
/// A tenant's place in the ledger's table.
pub(crate) type TenantIndex = u32;
/// A map without randomness: the same on every machine.
pub(crate) type Map<K, V> = HashMap<K, V, FixedState>;

/// Ended requests that are remembered at once; beyond that the oldest are forgotten before their time.
pub(crate) const ENDED_MAX: usize = 1_000_000;

/// Of what can still be counted of a resource without capacity, one request takes no more than one in so many.
const UNBOUNDED_PART: i64 = 1024;
/// So much can be counted as long as no more than half of all is.
const FEW: i64 = HELD_MAX / 2 / UNBOUNDED_PART;

/// How a holder gives something up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Close {
    /// Its work is done.
    Release,
    /// It does not want it any more.
    Cancel,
}

/// A lease, and where it stands in its pool.
#[derive(Clone, Debug)]
pub(crate) struct LeaseRecord {
    pub(crate) lease: Lease,
    pub(crate) pool: PoolIndex,
    pub(crate) leaf: NodeId,
    pub(crate) ask: Ask,
    /// What was charged for it, where a budget was.
    pub(crate) charged: Option<Amounts>,
    /// Its number among the victims of its pool, where it gives way.
    pub(crate) victim: Option<u64>,
}

/// A ticket, and where it stands in its pool.
#[derive(Clone, Debug)]
pub(crate) struct TicketRecord {
    pub(crate) ticket: Ticket,
    pub(crate) pool: PoolIndex,
    pub(crate) leaf: NodeId,
    pub(crate) shape: Shape,
    pub(crate) key: TicketKey,
    pub(crate) claim: Option<ClaimKey>,
    /// Where it has its hold.
    pub(crate) hold: Option<NodeId>,
    /// When its last turn of a hold was over.
    pub(crate) turned: Option<Time>,
}

impl TicketRecord {
    /// By what holds tell who waits longest: its arrival, or as if it had arrived when its last turn was over.
    pub(crate) fn waits(&self) -> (Time, Id) {
        (self.turned.unwrap_or(self.ticket.arrived), self.ticket.id)
    }
}

/// A budget, and what is charged to it.
#[derive(Clone, Debug)]
pub(crate) struct BudgetState {
    pub(crate) spec: Budget,
    pub(crate) used: Amount,
    pub(crate) started: Time,
    pub(crate) ends: Time,
}

/// A tenant of the tree that all pools share.
#[derive(Clone, Debug)]
pub(crate) struct TenantState {
    pub(crate) spec: Tenant,
    pub(crate) parent: Option<TenantIndex>,
    /// Tenants right under it.
    pub(crate) children: u32,
    /// Members among them, made on first use.
    pub(crate) members: u32,
    /// It is a member, made on first use.
    pub(crate) made: bool,
    pub(crate) budgets: Vec<BudgetState>,
    pub(crate) rates: Vec<RateState>,
    pub(crate) serial: TenantSerial,
    /// Since when a member has held nothing.
    pub(crate) idle: Option<Time>,
    pub(crate) revision: u64,
}

/// What happens to something when its time comes; what falls on one instant goes in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A lease's time to live, or to be confirmed.
    LeaseEnd(Id),
    /// A lease that gives way is revoked.
    Deadline(Id),
    /// A ticket waited as long as one may.
    TicketEnd(Id),
    /// A ticket's holder was silent for too long.
    SilentEnd(Id),
    /// A ticket is passed over.
    Silence(Id),
    /// A budget's period turns.
    BudgetTurn(TenantIndex, u32),
    /// A member goes.
    MemberEnd(TenantIndex),
    /// A lease that gives way without notice is revoked, once what it gave way for has come to rest.
    AtOnce(Id),
}

/// One cell: its pools, tenants and budgets, the leases and the tickets.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub(crate) settings: Settings,
    /// Each with the number of the posting that changed it last.
    pub(crate) classes: BTreeMap<Name, (Class, u64)>,
    /// By name.
    pub(crate) pools: Vec<PoolState>,
    pub(crate) pool_revisions: BTreeMap<Name, u64>,
    pub(crate) tenants: Vec<Option<TenantState>>,
    pub(crate) by_path: Map<TenantPath, TenantIndex>,
    /// Tenants that go when they are empty.
    pub(crate) draining: BTreeSet<TenantPath>,
    pub(crate) leases: IdMap<LeaseRecord>,
    pub(crate) tickets: IdMap<TicketRecord>,
    pub(crate) ended: IdMap<Ended>,
    /// By when they ended; with what they are known by.
    pub(crate) endings: VecDeque<(Time, Id, RequestKey)>,
    /// Leases, tickets and ended requests by the callers' ids.
    pub(crate) requests: Requests,
    /// The serial of the next tenant.
    pub(crate) next_serial: u64,
    pub(crate) holders: Map<Holder, BTreeSet<Id>>,
    pub(crate) timers: BTreeSet<(Time, Timer)>,
    /// Rates that tickets wait for, by when they let pass one more; what is over is not found out yet.
    pub(crate) rate_turns: BTreeSet<(Time, RateIndex)>,
    /// Leases that give way without notice are being revoked, all of one instant before anything is decided.
    pub(crate) revoking: bool,
    pub(crate) next_id: u64,
    /// Entries posted.
    pub(crate) posted: u64,
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new()
    }
}

impl Ledger {
    /// An empty ledger.
    pub fn new() -> Self {
        Self {
            settings: Settings::default(),
            classes: BTreeMap::new(),
            pools: Vec::new(),
            pool_revisions: BTreeMap::new(),
            tenants: Vec::new(),
            by_path: Map::default(),
            draining: BTreeSet::new(),
            leases: IdMap::default(),
            tickets: IdMap::default(),
            ended: IdMap::default(),
            endings: VecDeque::new(),
            requests: Requests::default(),
            next_serial: 0,
            holders: Map::default(),
            timers: BTreeSet::new(),
            rate_turns: BTreeSet::new(),
            revoking: false,
            next_id: 1,
            posted: 0,
        }
    }

    pub(crate) fn pool_at(&self, at: PoolIndex) -> &PoolState {
        &self.pools[at]
    }

    pub(crate) fn pool_index(&self, name: &str) -> Option<PoolIndex> {
        self.pools.binary_search_by(|pool| pool.spec.name.as_str().cmp(name)).ok()
    }

    pub(crate) fn tenant_at(&self, index: TenantIndex) -> Option<&TenantState> {
        self.tenants.get(index as usize).and_then(Option::as_ref)
    }

    pub(crate) fn tenant_index(&self, path: &str) -> Option<TenantIndex> {
        self.by_path.get(path).copied()
    }

    // What may be asked.

    /// Asks whether a request may start. The same request again is answered by where it stands.
    pub fn admit(&self, now: Time, request: &Arc<Request>) -> Result<Decision, Refusal> {
        let (at, leaf) = self.place(request)?;
        let pool = self.pool_at(at);
        pool.announce(&leaf);
        // Of a member that is not made yet nothing is known.
        let made = leaf.unmade.is_none().then(|| pool.node(leaf.node));
        let key = made.map(|node| RequestKey::of(node.serial, request.id.as_str()));
        if let Some(key) = key
            && let Some(known) = self.decided(now, &leaf, at, request, key)?
        {
            return Ok(known);
        }
        self.check_request(at, &leaf, request)?;
        let mut decision = match self.plainly(at, &leaf, request) {
            Some(allowed) => allowed,
            None => {
                let resources = self.with_implied(at, &request.resources);
                check_total("resources", &resources, request.count)?;
                let ask = pool.ask_of(&resources, request.min_count);
                self.check_countable(at, &resources, request.count, &ask)?;
                self.decide(now, at, &leaf, request, &resources, &ask, Id(self.next_id))
            }
        };
        if let (Some(Entry::Admitted { found, .. }), Some(key)) = (&mut decision.entry, key) {
            *found = self.found(at, leaf.node, key);
        }
        Ok(decision)
    }

    /// Asks for the confirmation of a lease; nothing to post where it was confirmed before.
    pub fn confirm(&self, now: Time, id: Id) -> Result<Option<Entry>, Refusal> {
        let record = self.live_lease(now, id)?;
        Ok(record.lease.confirmed.is_none().then_some(Entry::Confirmed { id }))
    }

    /// Asks for the renewal of a lease or ticket, by its holder or by another who takes it over.
    pub fn renew(&self, now: Time, id: Id, holder: Option<&Holder>) -> Result<Option<Entry>, Refusal> {
        if !self.tickets.contains_key(&id) {
            self.live_lease(now, id)?;
        }
        Ok(Some(Entry::Renewed { id, holder: holder.cloned() }))
    }

    /// Asks for the end of a lease or a ticket; nothing to post where it has ended.
    pub fn close(&self, now: Time, id: Id, how: Close) -> Result<Option<Entry>, Refusal> {
        if self.tickets.contains_key(&id) {
            return Ok(Some(Entry::Ended { id, end: End::Cancelled }));
        }
        if self.leases.contains_key(&id) {
            let end = match how {
                Close::Release => End::Released,
                Close::Cancel => End::Cancelled,
            };
            return Ok(Some(Entry::Ended { id, end }));
        }
        if self.remembered(now, id).is_some() { Ok(None) } else { Err(Refusal::NoLease(id)) }
    }

    /// Asks for another size of a lease, per instance; a resource not named stays as it is.
    pub fn amend(&self, now: Time, id: Id, resources: &Amounts) -> Result<Amendment, Refusal> {
        let record = self.live_lease(now, id)?;
        let held = &record.lease.resources;
        let merged: Vec<_> = held
            .iter()
            .filter(|(name, _)| resources.get(name.as_str()).is_none())
            .chain(resources.iter())
            .map(|(name, amount)| (name.clone(), amount))
            .collect();
        let wanted = Amounts::merged(merged);
        check_total("resources", &wanted, record.lease.count)?;
        if wanted == *held {
            return Ok(Amendment { entry: None, reasons: Vec::new() });
        }
        let more = Amounts::new(wanted.iter().filter_map(|(name, amount)| {
            let more = amount.saturating_sub(held.get(name.as_str()).unwrap_or(0));
            (more > 0).then(|| (name.clone(), more))
        }))
        .map_err(|error| invalid("resources", &error))?;
        let resized = |observed| Some(Entry::Resized { id, resources: wanted.clone(), observed });
        if more.is_empty() {
            return Ok(Amendment { entry: resized(None), reasons: Vec::new() });
        }
        let leaf = Leaf::at(record.leaf);
        let ask = self.pool_at(record.pool).ask_of(&more, record.lease.count);
        self.check_countable(record.pool, &more, record.lease.count, &ask)?;
        if record.victim.is_some() {
            let mut finding = Finding::of(ReasonCode::HeldForAnother, record.leaf);
            finding.slot = ask.0.first().map(|(slot, _)| *slot);
            let reasons = vec![self.reason(record.pool, &leaf, &finding)];
            return Ok(Amendment { entry: None, reasons });
        }
        let request = &record.lease.request;
        let next = Id(self.next_id);
        let asker = Asker {
            leaf: &leaf,
            ask: &ask,
            borrow: request.borrow,
            waits: (now, next),
            key: Some(TicketKey::new(now, request.priority, self.pool_at(record.pool).spec.age_step, next)),
            claim: None,
            own_claim: None,
        };
        let (findings, _) = self.against(record.pool, &asker, now);
        let reasons: Vec<_> = findings.iter().map(|finding| self.reason(record.pool, &leaf, finding)).collect();
        let enforced = self.enforced(record.pool, &leaf, request) == Enforce::Deny;
        let observed = reasons.first().map(|reason| reason.code);
        let entry = if observed.is_none() || !enforced { resized(observed) } else { None };
        Ok(Amendment { entry, reasons })
    }

    /// What follows from time and state alone, one entry at a time; to be posted, and asked again.
    pub fn due(&self, now: Time, calendar: &dyn Calendar) -> Option<Entry> {
        // What falls on this instant is applied first, then dispatched once.
        let first = self.timers.first().filter(|(at, _)| *at <= now);
        if let Some((at, timer)) = first
            && (*at < now || self.revoking || !matches!(timer, Timer::AtOnce(_)))
        {
            return Some(self.ring(*timer, now, calendar));
        }
        let over = self.pools.iter().find_map(|pool| {
            let (_, node) = pool.burst_ends.first().filter(|(ends, _)| *ends <= now)?;
            Some(Entry::BurstOver { pool: pool.spec.name.clone(), tenant: pool.node(*node).path.clone() })
        });
        if over.is_some() {
            return over;
        }
        if let Some(tenant) = self.draining.iter().find(|path| self.is_empty_tenant(path)) {
            return Some(Entry::Drained { tenant: tenant.clone() });
        }
        let dispatched = (0..self.pools.len()).find_map(|at| self.due_in_pool(at, now));
        dispatched.or_else(|| first.map(|(_, timer)| self.ring(*timer, now, calendar)))
    }

    /// The first instant after `now` at which something may be due.
    pub fn next_due(&self, now: Time) -> Option<Time> {
        let timers = self
            .timers
            .range((std::ops::Bound::Excluded((now, Timer::AtOnce(Id(u64::MAX)))), std::ops::Bound::Unbounded));
        let mut next: Option<Time> = timers.map(|(at, _)| *at).find(|at| *at > now);
        let mut earlier = |at: Time| {
            if at > now && at != Time::NEVER && next.is_none_or(|next| at < next) {
                next = Some(at);
            }
        };
        if let Some(at) = self.next_rate_turn(now) {
            earlier(at);
        }
        for pool in &self.pools {
            let spec = &pool.spec;
            let after = |set: &BTreeSet<(Time, Id)>, span: Duration| {
                let from = Time::from_nanos(now.nanos().saturating_sub(crate::time::nanos_of(span)));
                set.range((from, Id(0))..).map(|(at, _)| at.after(span)).find(|at| *at > now)
            };
            if let Some(at) = after(&pool.arrivals, spec.hold_after) {
                earlier(at);
            }
            if !spec.hold_for.is_zero() {
                let ends = pool.turns.iter().map(|(since, _)| since.after(spec.hold_for));
                ends.into_iter().find(|at| *at > now).into_iter().for_each(&mut earlier);
            }
            if pool.node(ROOT).waiting > 0
                && let Some(at) = after(&pool.admissions, spec.min_runtime)
            {
                earlier(at);
            }
            for node in &pool.bursting {
                let node = pool.node(*node);
                if let Some(at) = node.burst.and_then(|burst| node.bursting.next(burst, spec.grace, now)) {
                    earlier(at);
                }
            }
        }
        next
    }

    fn ring(&self, timer: Timer, now: Time, calendar: &dyn Calendar) -> Entry {
        match timer {
            Timer::LeaseEnd(id) => {
                let confirmed = self.leases.get(&id).is_some_and(|record| record.lease.confirmed.is_some());
                Entry::Ended { id, end: if confirmed { End::Expired } else { End::Unconfirmed } }
            }
            Timer::Deadline(id) | Timer::AtOnce(id) => Entry::Ended { id, end: End::Revoked },
            Timer::TicketEnd(id) => Entry::Ended { id, end: End::WaitedTooLong },
            Timer::SilentEnd(id) => Entry::Ended { id, end: End::Silent },
            Timer::Silence(id) => Entry::Silenced { id },
            Timer::BudgetTurn(index, number) => {
                let tenant = &self.tenants[index as usize];
                let (path, budget) = match tenant.as_ref().and_then(|t| Some((t, t.budgets.get(number as usize)?))) {
                    Some((tenant, budget)) => (tenant.spec.path.clone(), &budget.spec),
                    None => unreachable!("a budget's timer goes with the budget"),
                };
                let (started, ends) = calendar.period(budget.period, &budget.time_zone, now);
                // A calendar that does not advance must not stop the ledger.
                let ends = if ends > now { ends } else { now.after(Duration::from_secs(1)) };
                Entry::BudgetTurned { tenant: path, budget: budget.name.clone(), started, ends }
            }
            Timer::MemberEnd(index) => match &self.tenants[index as usize] {
                Some(tenant) => Entry::MemberGone { tenant: tenant.spec.path.clone() },
                None => unreachable!("a member's timer goes with the member"),
            },
        }
    }

    // How a request is decided.

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
    fn unmade(&self, at: PoolIndex, parent: NodeId, path: TenantPath, class: Option<&Name>) -> Unmade {
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
    pub(crate) fn known_as(&self, key: RequestKey, request: &str) -> Option<Id> {
        let is_asked_for = |id: &Id| self.request(*id).is_some_and(|known| known.id.as_str() == request);
        self.requests.candidates(key).filter(is_asked_for).max()
    }

    /// What was asked for by a lease, a ticket or what ended.
    fn request(&self, id: Id) -> Option<&Request> {
        let lease = self.leases.get(&id).map(|record| &record.lease.request);
        let ticket = || self.tickets.get(&id).map(|record| &record.ticket.request);
        let request = lease.or_else(ticket).or_else(|| self.ended.get(&id).map(|ended| &ended.request))?;
        Some(request)
    }

    /// The answer to a request that was decided before.
    fn decided(
        &self,
        now: Time,
        leaf: &Leaf,
        at: PoolIndex,
        request: &Request,
        key: RequestKey,
    ) -> Result<Option<Decision>, Refusal> {
        let Some(id) = self.known_as(key, request.id.as_str()) else { return Ok(None) };
        let (known, earlier) = if let Some(record) = self.tickets.get(&id) {
            (State::Waiting, &record.ticket.request)
        } else if let Some(record) = self.leases.get(&id) {
            (record.lease.state(), &record.lease.request)
        } else if let Some(ended) = self.remembered(now, id) {
            (State::Ended(ended.end), &ended.request)
        } else {
            return Ok(None);
        };
        if !earlier.same_contents(request) {
            return Err(Refusal::Exists(id));
        }
        let outcome = match known {
            State::Waiting => Outcome::Queue,
            State::Provisional | State::Active | State::Reclaiming => Outcome::Allow,
            State::Ended(_) if self.ended.get(&id).is_some_and(|ended| ended.admitted) => Outcome::Allow,
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
    fn check_request(&self, at: PoolIndex, leaf: &Leaf, request: &Request) -> Result<(), Refusal> {
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
    fn check_countable(&self, at: PoolIndex, resources: &Amounts, count: u32, ask: &Ask) -> Result<(), Refusal> {
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

    /// The answer to a request of which one climb tells that nothing stands against it: most are. None where it takes
    /// more to tell.
    fn plainly(&self, at: PoolIndex, leaf: &Leaf, request: &Arc<Request>) -> Option<Decision> {
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
        let enforce = self.enforced(at, leaf, request);
        Some(allow(Id(self.next_id), request, request.count, enforce))
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
    fn against(&self, at: PoolIndex, asker: &Asker<'_>, now: Time) -> (Vec<Finding>, bool) {
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

    /// Every budget from a node up that an ask would be charged to.
    pub(crate) fn each_budget(
        &self,
        at: PoolIndex,
        start: NodeId,
        ask: &Ask,
        mut visit: impl FnMut(NodeId, TenantIndex, usize, &BudgetState, Amount),
    ) {
        let pool = self.pool_at(at);
        for node in pool.up(start) {
            let here = pool.node(node);
            let Some(index) = here.tenant.filter(|_| !here.own) else { continue };
            let Some(tenant) = self.tenant_at(index) else { continue };
            for (number, budget) in tenant.budgets.iter().enumerate() {
                let Some(slot) = pool.slot(budget.spec.resource.as_str()) else { continue };
                let amount = ask.of(slot).unsigned_abs();
                if amount > 0 {
                    visit(node, index, number, budget, amount);
                }
            }
        }
    }

    fn live_lease(&self, now: Time, id: Id) -> Result<&LeaseRecord, Refusal> {
        if let Some(record) = self.leases.get(&id) {
            return Ok(record);
        }
        if self.tickets.contains_key(&id) {
            return Err(Refusal::Waits(id));
        }
        Err(if self.remembered(now, id).is_some() { Refusal::Gone(id) } else { Refusal::NoLease(id) })
    }

    /// A request that is gone and still known.
    pub(crate) fn remembered(&self, now: Time, id: Id) -> Option<&Ended> {
        self.ended.get(&id).filter(|ended| ended.at.after(self.settings.remember) > now)
    }

    pub(crate) fn is_empty_tenant(&self, path: &TenantPath) -> bool {
        self.tenant_index(path.as_str()).is_none_or(|index| self.holding(index) == 0)
    }
}

/// A request is allowed, and nothing stands against it.
fn allow(id: Id, request: &Arc<Request>, count: u32, enforce: Enforce) -> Decision {
    Decision {
        outcome: Outcome::Allow,
        id: Some(id),
        known: None,
        entry: Some(Entry::Admitted {
            id,
            request: Arc::clone(request),
            count,
            observed: None,
            found: Found::default(),
        }),
        reasons: Vec::new(),
        would_be: None,
        enforce,
    }
}

/// Whether an amount is so far below all that can be counted that nothing more needs to be looked at.
fn is_few(pool: &PoolState, slot: Slot, amount: i64) -> bool {
    let counted = pool.node(ROOT).cell(slot).now.usage.saturating_add(pool.awaited(slot));
    amount <= FEW && counted <= HELD_MAX / 2
}

fn invalid(field: &'static str, error: &dyn std::fmt::Display) -> Refusal {
    Refusal::Invalid { field, why: error.to_string() }
}

/// All instances together must be countable.
fn check_total(field: &'static str, resources: &Amounts, count: u32) -> Result<(), Refusal> {
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
