//! The ledger as a subject: driven by the same operations as the model.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use headgate_ledger as ledger;
use ledger::{
    Amounts, Calendar, Change, Close, End, Entry, Id, Ledger, Level, Levels, Name, Outcome as Decided, Period, Refusal,
    RequestId, Resource, TenantPath,
};

use super::config::{self, Config};
use super::subject::{Numbers, Observed, Op, Subject};
use super::{Cause, Code, Error, Event, Hit, Outcome, PutTenant, Reason, Request, Standing};

/// A ledger in virtual time, with the journal of what was posted to it.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) ledger: Ledger,
    pub(crate) now: config::Time,
    pub(crate) journal: Vec<(ledger::Time, Entry)>,
    config: Config,
    tenants: BTreeMap<String, TenantPath>,
    events: Vec<(config::Time, Event)>,
    /// What does not hold, found by the ledger's own audit.
    pub(crate) violations: Vec<String>,
    admitted: Vec<Id>,
}

/// Budgets' periods of so many nanoseconds, which their time zone says.
struct Lengths;

impl Calendar for Lengths {
    fn period(&self, _period: Period, time_zone: &str, now: ledger::Time) -> (ledger::Time, ledger::Time) {
        let (length, times) = time_zone.split_once('x').expect("length and number of periods");
        let (length, times): (u64, u64) = (length.parse().expect("a length"), times.parse().expect("a number"));
        let period = now.nanos() / length;
        let start = ledger::Time::from_nanos(period.min(times) * length);
        let end = if period >= times { ledger::Time::NEVER } else { ledger::Time::from_nanos((period + 1) * length) };
        (start, end)
    }
}

impl Cell {
    pub(crate) fn new(config: &Config) -> Self {
        let mut cell = Self {
            ledger: Ledger::new(),
            now: 0,
            journal: Vec::new(),
            config: config.clone(),
            tenants: BTreeMap::new(),
            events: Vec::new(),
            violations: Vec::new(),
            admitted: Vec::new(),
        };
        let settings = ledger::Settings {
            lifecycles: ledger::Lifecycles {
                active: config.lifecycles.active as u32 * 1000,
                maintenance: config.lifecycles.maintenance as u32 * 1000,
                suspended: config.lifecycles.suspended as u32 * 1000,
                archived: config.lifecycles.archived as u32 * 1000,
            },
            storage_resources: config.storage.iter().map(|name| resource(name)).collect(),
            remember: Duration::from_nanos(config.remember),
        };
        let mut changes = vec![Change::Settings(settings)];
        changes.extend(config.pools.iter().map(|pool| Change::PutPool(pool_of(pool))));
        changes.extend(config.tenants.iter().map(|tenant| Change::PutTenant(tenant_of(tenant))));
        cell.configure(changes).expect("a configuration that the model takes");
        cell.settle();
        cell
    }

    fn time(&self) -> ledger::Time {
        ledger::Time::from_nanos(self.now)
    }

    fn post(&mut self, entry: Entry) {
        let now = self.time();
        let mut note = |event| self.events.push((self.now, event));
        let name = |ledger: &Ledger, id: Id| name_of(ledger, id);
        match &entry {
            Entry::Dispatched { id, count } => {
                note(Event::Admitted { id: name(&self.ledger, *id), count: i64::from(*count) });
                self.admitted.push(*id);
            }
            Entry::Admitted { id, .. } => self.admitted.push(*id),
            Entry::Ended { id, end } => {
                note(Event::Ended { id: name(&self.ledger, *id), cause: cause(*end) });
            }
            Entry::Claimed { id, victims, .. } => {
                note(Event::Claimed { ticket: name(&self.ledger, *id) });
                for victim in victims {
                    note(Event::Reclaiming { id: name(&self.ledger, victim.lease), deadline: victim.deadline.nanos() });
                }
            }
            Entry::ClaimExtended { victims, .. } => {
                for victim in victims {
                    note(Event::Reclaiming { id: name(&self.ledger, victim.lease), deadline: victim.deadline.nanos() });
                }
            }
            Entry::ClaimDropped { id } => note(Event::ClaimDropped { ticket: name(&self.ledger, *id) }),
            Entry::LetOff { lease } => note(Event::LetOff { id: name(&self.ledger, *lease) }),
            Entry::Configured(_)
            | Entry::Queued { .. }
            | Entry::Confirmed { .. }
            | Entry::Renewed { .. }
            | Entry::Resized { .. }
            | Entry::HoldsPassed { .. }
            | Entry::Silenced { .. }
            | Entry::BudgetTurned { .. }
            | Entry::BurstOver { .. }
            | Entry::MemberGone { .. }
            | Entry::Drained { .. }
            | Entry::Hit { .. }
            | Entry::Resumed => {}
        }
        self.ledger.post(now, &entry);
        self.journal.push((now, entry));
    }

    fn settle(&mut self) {
        let mut steps = 0;
        while let Some(entry) = self.ledger.due(self.time(), &Lengths) {
            self.post(entry);
            steps += 1;
            assert!(steps < 10_000, "the ledger does not come to rest: {:?}", &self.journal[self.journal.len() - 20..]);
        }
        let admitted = std::mem::take(&mut self.admitted);
        let found = self.ledger.audit(self.time(), &admitted);
        self.violations.extend(found.iter().map(ToString::to_string));
    }

    fn advance(&mut self, to: config::Time) {
        while let Some(next) = self.ledger.next_due(self.time()).filter(|next| next.nanos() <= to) {
            self.now = next.nanos();
            self.settle();
        }
        self.now = to;
    }

    fn configure(&mut self, changes: Vec<Change>) -> Result<(), Error> {
        match self.ledger.configure(self.time(), changes) {
            Ok(configured) => {
                self.post(configured.entry);
                Ok(())
            }
            Err(_) => Err(Error::Invalid),
        }
    }

    /// The ledger made anew from its journal.
    pub(crate) fn replayed(&self) -> Ledger {
        let mut ledger = Ledger::new();
        for (at, entry) in &self.journal {
            ledger.post(*at, entry);
        }
        ledger
    }

    fn id(&self, id: &str) -> Option<Id> {
        let tenant = self.tenants.get(id)?;
        self.ledger.find(tenant, id)
    }

    fn acquire(&mut self, request: &Request) -> Outcome {
        let request = Arc::new(request_of(request));
        self.tenants.insert(request.id.as_str().to_owned(), request.tenant.clone());
        match self.ledger.admit(self.time(), &request) {
            Err(refusal) => Outcome::Error(error(&refusal)),
            Ok(decision) => {
                if let Some(state) = decision.known {
                    return Outcome::Known(standing(state));
                }
                let count = match &decision.entry {
                    Some(Entry::Admitted { count, .. }) => i64::from(*count),
                    _ => 0,
                };
                let reason = decision.reasons.first().map(reason);
                if let Some(entry) = decision.entry {
                    self.post(entry);
                }
                match decision.outcome {
                    Decided::Allow => Outcome::Allow { count, observed: reason },
                    Decided::Queue => Outcome::Queue(reason.expect("a reason to queue")),
                    Decided::Deny => Outcome::Deny(reason.expect("a reason to deny")),
                }
            }
        }
    }

    fn hit(&mut self, hits: &[Hit]) -> Outcome {
        let hit = |hit: &Hit| ledger::Hit {
            pool: name(&hit.pool),
            tenant: TenantPath::parse(&hit.tenant).expect("a path"),
            resource: resource(&hit.resource),
            amount: hit.amount as u64,
        };
        let hits: Vec<_> = hits.iter().map(hit).collect();
        match self.ledger.hit(self.time(), &hits) {
            Err(refusal) => Outcome::Error(error(&refusal)),
            Ok(decision) => {
                if let Some(entry) = decision.entry {
                    self.post(entry);
                }
                let reasons = decision.hits.iter().map(|standing| standing.reasons.first().map(reason));
                Outcome::Hits { pass: decision.allowed, reasons: reasons.collect() }
            }
        }
    }

    fn operate(
        &mut self,
        id: &str,
        ask: impl Fn(&Ledger, ledger::Time, Id) -> Result<Option<Entry>, Refusal>,
    ) -> Outcome {
        let Some(id) = self.id(id) else { return Outcome::Error(Error::NotFound) };
        match ask(&self.ledger, self.time(), id) {
            Ok(entry) => {
                if let Some(entry) = entry {
                    self.post(entry);
                }
                Outcome::Done
            }
            Err(refusal) => Outcome::Error(error(&refusal)),
        }
    }

    fn resize(&mut self, id: &str, resources: &config::Amounts) -> Outcome {
        let Some(id) = self.id(id) else { return Outcome::Error(Error::NotFound) };
        match self.ledger.amend(self.time(), id, &amounts(resources)) {
            Ok(amendment) => {
                let reason = amendment.reasons.first().map(reason);
                let changed = amendment.entry.is_some();
                if let Some(entry) = amendment.entry {
                    self.post(entry);
                }
                match reason {
                    Some(reason) if !changed => Outcome::Deny(reason),
                    observed => {
                        let count = self.ledger.lease(id).map_or(0, |lease| i64::from(lease.count()));
                        Outcome::Allow { count, observed }
                    }
                }
            }
            Err(refusal) => Outcome::Error(error(&refusal)),
        }
    }

    fn put_tenant(&mut self, put: &PutTenant) -> Outcome {
        let path = TenantPath::parse(&put.path).expect("a path");
        let mut tenant = self.ledger.tenant(&put.path).cloned().unwrap_or_else(|| ledger::Tenant::new(path));
        if let Some(weight) = put.weight {
            tenant.weight = weight as u32;
        }
        if let Some(lifecycle) = put.lifecycle {
            tenant.lifecycle = lifecycle_of(lifecycle);
        }
        for (pool, quota) in &put.quota {
            tenant.quotas.retain(|(name, _)| name.as_str() != pool);
            tenant.quotas.push((name(pool), quota_of(quota)));
        }
        tenant.quotas.sort_by(|a, b| a.0.cmp(&b.0));
        match self.configure(vec![Change::PutTenant(tenant)]) {
            Ok(()) => {
                if self.config.tenant(&put.path).is_none() {
                    self.config.tenants.push(config::Tenant::new(&put.path));
                }
                Outcome::Done
            }
            Err(error) => Outcome::Error(error),
        }
    }

    fn observed(&self, outcome: Outcome, from: usize) -> Observed {
        let mut observed = Observed {
            outcome,
            events: self.events[from..].to_vec(),
            tenants: BTreeMap::new(),
            standings: BTreeMap::new(),
            counts: BTreeMap::new(),
            reclaiming: BTreeMap::new(),
            claims: Vec::new(),
            holds: BTreeMap::new(),
        };
        let ids = self.ledger.tickets().map(|ticket| ticket.id).chain(self.ledger.leases().map(|lease| lease.id));
        for id in ids {
            let state = self.ledger.state(id).expect("it is there");
            observed.standings.insert(name_of(&self.ledger, id), standing(state));
        }
        for lease in self.ledger.leases() {
            let name = lease.request.id.as_str().to_owned();
            observed.counts.insert(name.clone(), i64::from(lease.count()));
            if let Some(deadline) = lease.deadline() {
                observed.reclaiming.insert(name, deadline.nanos());
            }
        }
        for pool in self.ledger.snapshot().pools {
            let name = pool.spec.name.as_str().to_owned();
            observed.claims.extend(pool.claims.iter().map(|claim| name_of(&self.ledger, claim.ticket)));
            for hold in &pool.holds {
                let slash = if hold.place.own { "/" } else { "" };
                let node = format!("{}{slash}", hold.place.tenant);
                observed.holds.insert((name.clone(), node), name_of(&self.ledger, hold.ticket));
            }
            for tenant in &self.config.tenants {
                let standing = self.ledger.standing(self.time(), &name, &tenant.path).expect("a tenant");
                for holding in standing.holdings {
                    let numbers = Numbers {
                        usage: holding.usage as i64,
                        borrowed: holding.borrowed as i64,
                        guaranteed: holding.guaranteed as i64,
                    };
                    if (numbers.usage, numbers.borrowed, numbers.guaranteed) != (0, 0, 0) {
                        let key = (name.clone(), tenant.path.clone(), holding.resource.as_str().to_owned());
                        observed.tenants.insert(key, numbers);
                    }
                }
            }
        }
        observed
    }
}

impl Subject for Cell {
    fn apply(&mut self, op: &Op) -> Observed {
        let from = self.events.len();
        let outcome = match op {
            Op::Advance { to } => {
                self.advance(*to);
                Outcome::Done
            }
            Op::Acquire(request) => self.acquire(request),
            Op::Hit(hits) => self.hit(hits),
            Op::Confirm { id } => self.operate(id, |ledger, now, id| ledger.confirm(now, id)),
            Op::Renew { id } => self.operate(id, |ledger, now, id| ledger.renew(now, id, None)),
            Op::Release { id } => self.operate(id, |ledger, now, id| ledger.close(now, id, Close::Release)),
            Op::Cancel { id } => self.operate(id, |ledger, now, id| ledger.close(now, id, Close::Release)),
            Op::Resize { id, resources } => self.resize(id, resources),
            Op::SetCapacity { pool, capacity, unavailable } => {
                let change = Change::Capacity {
                    pool: name(pool),
                    capacity: amounts(capacity),
                    unavailable: amounts(unavailable),
                };
                self.configure(vec![change]).map_or_else(Outcome::Error, |()| Outcome::Done)
            }
            Op::PutTenant(put) => self.put_tenant(put),
            Op::SetLifecycle { path, lifecycle } => {
                self.put_tenant(&PutTenant { path: path.clone(), lifecycle: Some(*lifecycle), ..PutTenant::default() })
            }
            Op::Pause { pool, paused } => self
                .configure(vec![Change::Pause { pool: name(pool), paused: *paused }])
                .map_or_else(Outcome::Error, |()| Outcome::Done),
        };
        self.settle();
        self.observed(outcome, from)
    }
}

fn name_of(ledger: &Ledger, id: Id) -> String {
    let request =
        ledger.lease(id).map(|lease| &lease.request).or_else(|| ledger.ticket(id).map(|ticket| &ticket.request));
    request.expect("it is there").id.as_str().to_owned()
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

fn resource(text: &str) -> Resource {
    Resource::parse(text).expect("a resource")
}

fn amounts(amounts: &config::Amounts) -> Amounts {
    Amounts::new(amounts.iter().map(|(name, amount)| (resource(name), *amount as u64))).expect("amounts")
}

fn levels(amounts: &config::Amounts) -> Option<Levels> {
    let levels = amounts.iter().map(|(name, amount)| (resource(name), Level::Units(*amount as u64)));
    Some(Levels::new(levels).expect("levels"))
}

fn enforce_of(enforce: config::Enforce) -> ledger::Enforce {
    match enforce {
        config::Enforce::Deny => ledger::Enforce::Deny,
        config::Enforce::Warn => ledger::Enforce::Warn,
        config::Enforce::Observe => ledger::Enforce::Observe,
    }
}

fn lifecycle_of(lifecycle: config::Lifecycle) -> ledger::Lifecycle {
    match lifecycle {
        config::Lifecycle::Active => ledger::Lifecycle::Active,
        config::Lifecycle::Maintenance => ledger::Lifecycle::Maintenance,
        config::Lifecycle::Suspended => ledger::Lifecycle::Suspended,
        config::Lifecycle::Archived => ledger::Lifecycle::Archived,
    }
}

fn on_exceed_of(on_exceed: config::OnExceed) -> ledger::OnExceed {
    match on_exceed {
        config::OnExceed::Deny => ledger::OnExceed::Deny,
        config::OnExceed::Queue => ledger::OnExceed::Queue,
    }
}

fn pool_of(pool: &config::Pool) -> ledger::Pool {
    let span = Duration::from_nanos;
    ledger::Pool {
        capacity: amounts(&pool.capacity),
        unavailable: amounts(&pool.unavailable),
        implied: amounts(&pool.implied),
        order: match pool.order {
            config::Order::Strict => ledger::Order::Strict,
            config::Order::Backfill => ledger::Order::Backfill,
        },
        share_of: match pool.share_of {
            config::ShareOf::Borrowed => ledger::ShareOf::Borrowed,
            config::ShareOf::Usage => ledger::ShareOf::Usage,
        },
        age_step: span(pool.age_step),
        hold_after: span(pool.hold_after),
        hold_for: span(pool.hold_for),
        max_wait: span(pool.max_wait),
        max_queued: pool.max_queued as u32,
        max_queued_per_tenant: ledger::QueueLimit::Count(pool.max_queued_per_tenant as u32),
        reclaim: pool.reclaim,
        grace: span(pool.grace),
        min_runtime: span(pool.min_runtime),
        lease_ttl: span(pool.lease_ttl),
        confirm_within: span(pool.confirm_within),
        ticket_ttl: span(pool.ticket_ttl),
        overcommit: pool.overcommit,
        enforce: enforce_of(pool.enforce),
        paused: pool.paused,
        ..ledger::Pool::new(name(&pool.name))
    }
}

fn quota_of(quota: &config::Quota) -> ledger::Quota {
    ledger::Quota {
        class: None,
        guaranteed: levels(&quota.guaranteed),
        limit: levels(&quota.limit),
        lendable: levels(&quota.lendable),
        burst: quota.burst.map(|burst| ledger::Burst {
            span: Duration::from_nanos(burst.runs),
            cooldown: Duration::from_nanos(burst.cooldown),
        }),
        enforce: quota.enforce.map(enforce_of),
    }
}

fn tenant_of(tenant: &config::Tenant) -> ledger::Tenant {
    let budgets = tenant.budgets.iter().map(|budget| ledger::Budget {
        name: name(&budget.name),
        resource: resource(&budget.resource),
        amount: budget.amount as u64,
        period: Period::Day,
        time_zone: format!("{}x{}", budget.period_ends[0], budget.period_ends.len()),
        on_exceed: on_exceed_of(budget.on_exceed),
    });
    let rates = tenant.rates.iter().map(|rate| ledger::Rate {
        name: name(&rate.name),
        resource: resource(&rate.resource),
        amount: rate.amount as u64,
        per: Duration::from_nanos(rate.per),
        burst: rate.burst as u64,
        on_exceed: on_exceed_of(rate.on_exceed),
    });
    ledger::Tenant {
        weight: tenant.weight as u32,
        lifecycle: lifecycle_of(tenant.lifecycle),
        quotas: tenant.quota.iter().map(|(pool, quota)| (name(pool), quota_of(quota))).collect(),
        budgets: budgets.collect(),
        rates: rates.collect(),
        ..ledger::Tenant::new(TenantPath::parse(&tenant.path).expect("a path"))
    }
}

fn request_of(request: &Request) -> ledger::Request {
    let demand = ledger::Demand {
        count: request.count as u32,
        min_count: request.min_count.unwrap_or(request.count) as u32,
        priority: request.priority as i32,
        wait: request.wait,
        borrow: request.borrow,
        provisional: request.provisional,
        ttl: request.ttl.map(Duration::from_nanos),
        grace: request.grace.map(Duration::from_nanos),
        ..ledger::Demand::new(
            TenantPath::parse(&request.tenant).expect("a path"),
            name(&request.pool),
            amounts(&request.resources),
        )
    };
    ledger::Request { id: RequestId::parse(&request.id).expect("an id"), demand: Arc::new(demand) }
}

fn reason(reason: &ledger::Reason) -> Reason {
    let code = match reason.code {
        ledger::ReasonCode::Inactive => Code::Inactive,
        ledger::ReasonCode::NeverFits => Code::NeverFits,
        ledger::ReasonCode::BudgetUsedUp => Code::BudgetUsedUp,
        ledger::ReasonCode::RateExceeded => Code::RateExceeded,
        ledger::ReasonCode::BehindEarlier => Code::BehindEarlier,
        ledger::ReasonCode::WouldBorrow => Code::WouldBorrow,
        ledger::ReasonCode::BurstOver => Code::BurstOver,
        ledger::ReasonCode::ExceedsLimit => Code::ExceedsLimit,
        ledger::ReasonCode::NoCapacity => Code::NoCapacity,
        ledger::ReasonCode::HeldForAnother => Code::HeldForAnother,
        ledger::ReasonCode::Paused => Code::Paused,
        ledger::ReasonCode::QueueFull => Code::QueueFull,
        ledger::ReasonCode::WaitedTooLong => unreachable!("no decision says so"),
    };
    // The model says less: of some rules neither where nor of what.
    let (tenant, resource) = match code {
        Code::NeverFits | Code::ExceedsLimit | Code::NoCapacity | Code::BudgetUsedUp | Code::RateExceeded => {
            (true, true)
        }
        Code::Inactive | Code::BehindEarlier | Code::BurstOver => (true, false),
        Code::WouldBorrow | Code::HeldForAnother | Code::Paused | Code::QueueFull => (false, false),
    };
    Reason {
        code,
        tenant: tenant.then(|| reason.tenant.as_str().to_owned()),
        resource: resource.then(|| reason.resource.as_ref().map(|name| name.as_str().to_owned())).flatten(),
    }
}

fn cause(end: End) -> Cause {
    match end {
        End::Released => Cause::Released,
        End::Cancelled => Cause::Cancelled,
        End::Expired => Cause::Expired,
        End::Unconfirmed => Cause::Unconfirmed,
        End::Revoked => Cause::Revoked,
        End::WaitedTooLong => Cause::WaitedTooLong,
        End::Silent => Cause::Silent,
    }
}

fn standing(state: ledger::State) -> Standing {
    match state {
        ledger::State::Waiting => Standing::Waiting,
        ledger::State::Provisional => Standing::Provisional,
        ledger::State::Active => Standing::Active,
        ledger::State::Reclaiming => Standing::Reclaiming,
        ledger::State::Ended(_) => Standing::Gone,
    }
}

fn error(refusal: &Refusal) -> Error {
    match refusal {
        Refusal::NoTenant(_) | Refusal::NoPool(_) | Refusal::NoLease(_) => Error::NotFound,
        Refusal::NoQuota(..) | Refusal::Invalid { .. } | Refusal::MembersFull { .. } | Refusal::Waits(_) => {
            Error::Invalid
        }
        Refusal::Exists(_) => Error::Exists,
        Refusal::Gone(_) => Error::Gone,
    }
}
