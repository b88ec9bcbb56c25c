//! Replays a trace in virtual time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use headgate_ledger::{
    Amount, Change, Demand, End, Id, Members, Name, Outcome, Quota, Request, RequestId, Resource, SPAN_MAX, Tenant,
    TenantPath, Time, Violation,
};

use super::summary::{JobOutcome, Summary, TenantOutcome, hundredths, summarize};
use super::timeline::Timeline;
use super::trace::{Job, Trace};
use crate::config::Objects;
use crate::scenario::{Turn, VirtualCell, Work};

/// With nothing running, and nothing admitted for so long, what waits will not be admitted any more.
const WAITING_IN_VAIN: Duration = Duration::from_secs(366 * 86_400);

/// How a trace is replayed.
#[derive(Clone, Debug)]
pub struct Replay {
    /// The pool that its jobs ask.
    pub pool: Name,
    /// Whether the ledger's invariants are checked after every instant. It takes many times as long.
    pub audits: bool,
}

impl Replay {
    /// Jobs ask the pool `default`, or where there is none of that name the only one; none where that is not clear.
    pub fn of(objects: &Objects) -> Option<Self> {
        let default = objects.pools.iter().find(|pool| pool.name.as_str() == "default");
        let only = if let [only] = &objects.pools[..] { Some(only) } else { None };
        let pool = default.or(only)?.name.clone();
        Some(Self { pool, audits: false })
    }
}

/// What a replay came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Replayed {
    /// The figures.
    pub summary: Summary,
    /// What broke an invariant, where they were checked; the replay stopped there.
    pub violations: Vec<Violation>,
    /// How it went over time.
    pub timelines: Timelines,
    /// Seconds that jobs waited, at each hundredth of them, from the least to the most; empty where none was admitted.
    pub waits_s: Vec<f64>,
}

/// How a replay went over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Timelines {
    /// Jobs that wait, jobs that run, then what is held of each resource of the pool's capacity.
    pub(super) line: Timeline,
    /// The pool's capacity, in the same order.
    capacity: Vec<(Resource, Amount)>,
}

/// Where in a timeline the resources start.
const RESOURCES: usize = 2;

impl Timelines {
    /// Jobs that wait.
    pub fn waiting(&self) -> Vec<f64> {
        self.line.averages(0)
    }

    /// Jobs that run.
    pub fn running(&self) -> Vec<f64> {
        self.line.averages(1)
    }

    /// What part of the capacity is held, by resource; without those that the pool has none of.
    pub fn utilisation(&self) -> Vec<(String, Vec<f64>)> {
        let some = self.capacity.iter().enumerate().filter(|(_, (_, capacity))| *capacity > 0);
        let part = |(at, (resource, capacity)): (usize, &(Resource, Amount))| {
            let held = self.line.averages(RESOURCES + at);
            (resource.to_string(), held.into_iter().map(|held| held / *capacity as f64).collect())
        };
        some.map(part).collect()
    }

    fn new(start: Time, capacity: Vec<(Resource, Amount)>) -> Self {
        Self { line: Timeline::new(start, RESOURCES + capacity.len()), capacity }
    }

    fn set(&mut self, time: Time, waiting: usize, running: usize, held: &BTreeMap<Resource, Amount>) {
        self.line.set(time, 0, waiting as u64);
        self.line.set(time, 1, running as u64);
        for (at, (resource, _)) in self.capacity.iter().enumerate() {
            self.line.set(time, RESOURCES + at, held.get(resource).copied().unwrap_or(0));
        }
    }
}

/// Replays a trace under a configuration.
///
/// Tenants of the trace that the configuration does not name are made: those at the top with an empty quota, those
/// under others as members of these.
///
/// A lease that is revoked asks again at once, for all of its run time: nothing is known of checkpoints, so what it
/// had done is lost. Its wait is all the time from its first submission that its last run does not account for.
pub fn replay(objects: &Objects, trace: &Trace, options: &Replay) -> Result<Replayed, String> {
    let start = trace.start.unwrap_or(Time::EPOCH);
    let mut cell = VirtualCell::new(start, options.audits);
    let changes = objects.to_changes().into_iter().chain(made(objects, trace, &options.pool)).collect();
    cell.configure(changes).map_err(|problems| {
        let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
        told.join("\n")
    })?;
    let Some(pool) = cell.ledger().pool(options.pool.as_str()).cloned() else {
        return Err(format!("there is no pool {}: name one of the configuration's", options.pool));
    };
    let first = trace.jobs.first().map_or(start, |job| start.after(job.submit));
    let mut simulator = Simulator {
        cell,
        start,
        trace,
        pool: &options.pool,
        jobs: vec![Progress::default(); trace.jobs.len()],
        at: HashMap::new(),
        unfinished: trace.jobs.len(),
        running: 0,
        held: BTreeMap::new(),
        used: BTreeMap::new(),
        timelines: Timelines::new(first, pool.capacity.iter().map(|(name, amount)| (name.clone(), amount)).collect()),
        reclaims: 0,
        entries: 0,
    };
    let clock = Instant::now();
    let violations = simulator.run();
    let seconds = clock.elapsed().as_secs_f64();
    let Simulator { jobs, used, timelines, reclaims, entries, .. } = simulator;
    let mut tenants: BTreeMap<TenantPath, TenantOutcome> = BTreeMap::new();
    for (job, progress) in trace.jobs.iter().zip(&jobs) {
        let outcome = progress
            .finished
            .map(|finished| JobOutcome { took: finished.since(start.after(job.submit)), ran: job.duration });
        tenants.entry(job.tenant.clone()).or_default().jobs.push(outcome);
    }
    for (tenant, used) in used {
        if let Some(tenant) = tenants.get_mut(&tenant) {
            tenant.used = used;
        }
    }
    let weights: HashMap<&TenantPath, u32> =
        objects.tenants.iter().map(|tenant| (&tenant.path, tenant.weight)).collect();
    for (path, outcome) in &mut tenants {
        outcome.weight = weight(&weights, path);
    }
    let last = jobs.iter().filter_map(|progress| progress.finished).max().unwrap_or(first);
    let events_per_second = if seconds > 0.0 { entries as f64 / seconds } else { 0.0 };
    let waits_s = hundredths(tenants.values().flat_map(|tenant| tenant.jobs.iter().flatten()));
    let summary = summarize(&tenants, &pool.capacity, last.since(first), reclaims, events_per_second);
    Ok(Replayed { summary, violations, timelines, waits_s })
}

/// The product of a tenant's weight and those above it. What the configuration does not name weighs one, and so does
/// zero, as in shares.
fn weight(weights: &HashMap<&TenantPath, u32>, path: &TenantPath) -> f64 {
    std::iter::successors(Some(path.clone()), TenantPath::parent)
        .filter_map(|path| weights.get(&path).copied().filter(|weight| *weight > 0))
        .map(|weight| f64::from(weight) / f64::from(Tenant::WEIGHT_ONE))
        .product()
}

/// The tenants that a trace needs and the configuration does not name.
fn made(objects: &Objects, trace: &Trace, pool: &Name) -> Vec<Change> {
    let mut tenants: BTreeMap<&TenantPath, Tenant> =
        objects.tenants.iter().map(|tenant| (&tenant.path, tenant.clone())).collect();
    let mut changed: BTreeSet<TenantPath> = BTreeSet::new();
    let needed: Vec<TenantPath> = trace.tenants().into_iter().cloned().collect();
    let mut new: BTreeMap<TenantPath, Tenant> = BTreeMap::new();
    let members = Members {
        kind: "user".into(),
        class: None,
        max: u32::try_from(needed.len()).unwrap_or(u32::MAX),
        keep: SPAN_MAX,
        rates: Vec::new(),
    };
    for path in &needed {
        if tenants.contains_key(path) {
            continue;
        }
        let parents = std::iter::successors(path.parent(), TenantPath::parent).filter(|parent| !parent.is_root());
        let mut above: Vec<TenantPath> = parents.collect();
        if above.is_empty() {
            above.push(path.clone()); // it stands at the top itself
        }
        for parent in above.iter().rev() {
            if !tenants.contains_key(parent) && !new.contains_key(parent) {
                let quotas = if parent.depth() == 1 { vec![(pool.clone(), Quota::default())] } else { Vec::new() };
                let kind = if parent == path { "user" } else { "group" };
                new.insert(parent.clone(), Tenant { kind: kind.into(), quotas, ..Tenant::new(parent.clone()) });
            }
        }
        let Some(parent) = path.parent().filter(|parent| !parent.is_root()) else { continue };
        let parent_tenant = new.get_mut(&parent).or_else(|| tenants.get_mut(&parent));
        if let Some(tenant) = parent_tenant.filter(|tenant| tenant.members.is_none()) {
            tenant.members = Some(members.clone());
            changed.insert(parent);
        }
    }
    let changed = tenants.into_values().filter(|tenant| changed.contains(&tenant.path));
    changed.chain(new.into_values()).map(Change::PutTenant).collect()
}

/// How far a job has come.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// How often it has asked.
    asked: u32,
    finished: Option<Time>,
}

/// What a lease holds, and since when.
struct Held {
    since: Time,
    amounts: Vec<(Resource, Amount)>,
}

struct Simulator<'a> {
    cell: VirtualCell,
    start: Time,
    trace: &'a Trace,
    pool: &'a Name,
    jobs: Vec<Progress>,
    /// The job that a lease or ticket is for, and what it holds while it runs.
    at: HashMap<Id, (usize, Option<Held>)>,
    /// Jobs that are neither done nor denied.
    unfinished: usize,
    running: usize,
    /// What leases hold now.
    held: BTreeMap<Resource, Amount>,
    /// Nanoseconds times units, by tenant and resource.
    used: BTreeMap<TenantPath, BTreeMap<Resource, u128>>,
    timelines: Timelines,
    reclaims: u64,
    entries: u64,
}

impl Simulator<'_> {
    fn run(&mut self) -> Vec<Violation> {
        let trace = self.trace;
        for (number, job) in trace.jobs.iter().enumerate() {
            let submitted = self.start.after(job.submit);
            while self.cell.step(submitted) {
                self.look();
                if let Some(violations) = self.broken() {
                    return violations;
                }
            }
            self.cell.advance(submitted);
            self.submit(number);
            self.look();
        }
        let mut active = self.cell.now();
        while self.unfinished > 0 && self.cell.step(Time::NEVER) {
            let before = self.unfinished;
            self.look();
            if let Some(violations) = self.broken() {
                return violations;
            }
            if self.running > 0 || self.unfinished < before {
                active = self.cell.now();
            } else if self.cell.now().since(active) > WAITING_IN_VAIN {
                break;
            }
        }
        self.broken().unwrap_or_default()
    }

    fn broken(&mut self) -> Option<Vec<Violation>> {
        let violations = self.cell.take_violations();
        (!violations.is_empty()).then_some(violations)
    }

    fn submit(&mut self, number: usize) {
        let Job { tenant, submit: _, duration, declared, priority, resources } = &self.trace.jobs[number];
        let progress = &mut self.jobs[number];
        progress.asked += 1;
        let name = format!("{number}.{}", progress.asked);
        let Ok(id) = RequestId::parse(&name) else { return self.unfinished -= 1 };
        let demand = Demand {
            priority: *priority,
            expected_duration: Some(*declared),
            ttl: Some(Duration::ZERO),
            ..Demand::new(tenant.clone(), self.pool.clone(), resources.clone())
        };
        let request = Request { id, demand: Arc::new(demand) };
        match self.cell.acquire(&Arc::new(request), Work { confirm: true, runs: Some(*duration) }) {
            Ok(decision) if decision.outcome != Outcome::Deny => {
                if let Some(id) = decision.id {
                    self.at.insert(id, (number, None));
                }
            }
            // Denied, or an error: the tenant may not use the pool, or has as many members as it may.
            Ok(_) | Err(_) => self.unfinished -= 1,
        }
    }

    /// Takes in what was posted; what was revoked asks again.
    fn look(&mut self) {
        loop {
            let journal = self.cell.take_journal();
            if journal.is_empty() {
                return;
            }
            self.entries += journal.len() as u64;
            let mut again = Vec::new();
            for (time, entry) in &journal {
                match Turn::of(entry) {
                    Some(Turn::Admitted(id) | Turn::Dispatched(id)) => self.started(*time, id),
                    Some(Turn::Ended(id, end)) => again.extend(self.ended(*time, id, end)),
                    None => {}
                }
            }
            for number in again {
                self.submit(number);
            }
            let waiting = self.at.len() - self.running;
            self.timelines.set(self.cell.now(), waiting, self.running, &self.held);
        }
    }

    fn started(&mut self, time: Time, id: Id) {
        let Some((_, held)) = self.at.get_mut(&id) else { return };
        // A lease that is gone again by now held nothing for no time.
        let amounts = self.cell.ledger().lease(id).map_or_else(Vec::new, |lease| {
            let all = |(name, amount): (&Resource, Amount)| (name.clone(), amount.saturating_mul(lease.count().into()));
            lease.resources().iter().map(all).collect()
        });
        for (resource, amount) in &amounts {
            *self.held.entry(resource.clone()).or_default() += amount;
        }
        *held = Some(Held { since: time, amounts });
        self.running += 1;
    }

    /// The job that asks again, where one does.
    fn ended(&mut self, time: Time, id: Id, end: End) -> Option<usize> {
        let (number, held) = self.at.remove(&id)?;
        let Some(Held { since, amounts }) = held else {
            self.unfinished -= 1; // it was a ticket
            return None;
        };
        self.running -= 1;
        let used = self.used.entry(self.trace.jobs[number].tenant.clone()).or_default();
        for (resource, amount) in amounts {
            if let Some(held) = self.held.get_mut(&resource) {
                *held -= amount;
            }
            *used.entry(resource).or_default() += u128::from(amount) * time.since(since).as_nanos();
        }
        match end {
            End::Revoked => {
                self.reclaims += 1;
                Some(number)
            }
            End::Released | End::Cancelled | End::Expired | End::Unconfirmed | End::WaitedTooLong | End::Silent => {
                self.jobs[number].finished = Some(time);
                self.unfinished -= 1;
                None
            }
        }
    }
}
