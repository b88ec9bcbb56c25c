//! What is driven by a stream of operations and looked at after each one. The model is one subject;
//! the ledger that it is compared with is another.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::config::{Amounts, Config, Lifecycle, SECOND, Time};
use super::rng::seeds;
use super::stream::Stream;
use super::{Event, Hit, Model, Outcome, PutTenant, Request, Standing};

/// Operations happen at the instant to which the last `Advance` went; a stream begins at 0.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Op {
    Advance { to: Time },
    Acquire(Request),
    Hit(Vec<Hit>),
    Confirm { id: String },
    Renew { id: String },
    Release { id: String },
    Cancel { id: String },
    Resize { id: String, resources: Amounts },
    SetCapacity { pool: String, capacity: Amounts, unavailable: Amounts },
    PutTenant(PutTenant),
    SetLifecycle { path: String, lifecycle: Lifecycle },
    Pause { pool: String, paused: bool },
}

pub(crate) trait Subject {
    fn apply(&mut self, op: &Op) -> Observed;
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Observed {
    pub(crate) outcome: Outcome,
    /// What happened during the operation, in order, but for changes of holds.
    pub(crate) events: Vec<(Time, Event)>,
    /// By pool, tenant and resource, where any of them is above zero.
    pub(crate) tenants: BTreeMap<(String, String, String), Numbers>,
    /// Of what waits or runs.
    pub(crate) standings: BTreeMap<String, Standing>,
    /// Instances of each lease.
    pub(crate) counts: BTreeMap<String, i64>,
    /// The deadlines of those in reclaim.
    pub(crate) reclaiming: BTreeMap<String, Time>,
    /// The tickets that have a claim, pool by pool, in the order of claims.
    pub(crate) claims: Vec<String>,
    /// The tickets that have a hold, by pool and node ("" is the root; an inner tenant's own
    /// requests stand at its path with a slash behind it).
    pub(crate) holds: BTreeMap<(String, String), String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) usage: i64,
    pub(crate) borrowed: i64,
    pub(crate) guaranteed: i64,
}

impl Subject for Model {
    fn apply(&mut self, op: &Op) -> Observed {
        let from = self.log.len();
        let now = self.now;
        let outcome = match op {
            Op::Advance { to } => {
                self.advance(*to);
                Outcome::Done
            }
            Op::Acquire(request) => self.acquire(now, request),
            Op::Hit(hits) => self.hit(now, hits),
            Op::Confirm { id } => self.confirm(now, id),
            Op::Renew { id } => self.renew(now, id),
            Op::Release { id } => self.release(now, id),
            Op::Cancel { id } => self.cancel(now, id),
            Op::Resize { id, resources } => self.resize(now, id, resources),
            Op::SetCapacity { pool, capacity, unavailable } => self.set_capacity(now, pool, capacity, unavailable),
            Op::PutTenant(put) => self.put_tenant(now, put),
            Op::SetLifecycle { path, lifecycle } => self.set_lifecycle(now, path, *lifecycle),
            Op::Pause { pool, paused } => self.pause(now, pool, *paused),
        };
        self.observed(outcome, from)
    }
}

/// The model again, looked at every second: it must find nothing to do where nothing is due.
#[derive(Debug)]
pub(crate) struct EverySecond(pub(crate) Model);

impl Subject for EverySecond {
    fn apply(&mut self, op: &Op) -> Observed {
        let Op::Advance { to } = op else {
            return self.0.apply(op);
        };
        let from = self.0.log.len();
        while self.0.now < *to {
            self.0.advance((self.0.now + SECOND).min(*to));
            self.0.lapse();
            self.0.settle();
        }
        self.0.observed(Outcome::Done, from)
    }
}

impl Model {
    fn observed(&self, outcome: Outcome, from: usize) -> Observed {
        let is_told = |event: &Event| !matches!(event, Event::Holds { .. } | Event::HoldsNoMore { .. });
        let mut standings: BTreeMap<String, Standing> = BTreeMap::new();
        for request in self.tickets.iter().map(|t| &t.request).chain(self.leases.iter().map(|l| &l.request)) {
            standings.extend(self.standing(&request.id).map(|standing| (request.id.clone(), standing)));
        }
        let deadline = |lease: &super::Lease| Some((lease.request.id.clone(), lease.victim?.deadline));
        let claims = self.pool_names().into_iter().flat_map(|pool| {
            let claims = self.claims_in_order(&pool).into_iter();
            claims.map(|claim| claim.ticket.clone()).collect::<Vec<_>>()
        });
        let holds = self.holds.iter().map(|hold| ((hold.pool.clone(), hold.node.clone()), hold.ticket.clone()));
        Observed {
            outcome,
            events: self.log[from..].iter().filter(|(_, event)| is_told(event)).cloned().collect(),
            tenants: self.numbers_by_tenant(),
            standings,
            counts: self.leases.iter().map(|lease| (lease.request.id.clone(), lease.count)).collect(),
            reclaiming: self.leases.iter().filter_map(deadline).collect(),
            claims: claims.collect(),
            holds: holds.collect(),
        }
    }

    fn numbers_by_tenant(&self) -> BTreeMap<(String, String, String), Numbers> {
        let mut all = BTreeMap::new();
        for pool in self.pool_names() {
            let view = self.actual(&pool);
            let mut resources: BTreeSet<String> = view.tree.capacity.keys().cloned().collect();
            resources.extend(self.leases.iter().flat_map(|lease| lease.resources.keys().cloned()));
            for tenant in &self.config.tenants {
                let node = view.tree.node(&tenant.path).expect("a configured tenant");
                for resource in &resources {
                    let numbers = Numbers {
                        usage: view.usage(node, resource),
                        borrowed: view.borrowed(node, resource),
                        guaranteed: view.tree.guaranteed(node, resource),
                    };
                    if (numbers.usage, numbers.borrowed, numbers.guaranteed) != (0, 0, 0) {
                        all.insert((pool.clone(), tenant.path.clone(), resource.clone()), numbers);
                    }
                }
            }
        }
        all
    }
}

/// Where two subjects first say something else of the same stream.
#[derive(Debug)]
pub(crate) struct Divergence {
    pub(crate) step: usize,
    pub(crate) op: Op,
    pub(crate) one: Observed,
    pub(crate) other: Observed,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "step {}: {:?}", self.step, self.op)?;
        let (one, other) = (&self.one, &self.other);
        differ(f, "outcome", &one.outcome, &other.outcome)?;
        differ(f, "events", &one.events, &other.events)?;
        differ(f, "tenants", &one.tenants, &other.tenants)?;
        differ(f, "standings", &one.standings, &other.standings)?;
        differ(f, "counts", &one.counts, &other.counts)?;
        differ(f, "reclaiming", &one.reclaiming, &other.reclaiming)?;
        differ(f, "claims", &one.claims, &other.claims)?;
        differ(f, "holds", &one.holds, &other.holds)
    }
}

fn differ<T: PartialEq + fmt::Debug>(f: &mut fmt::Formatter<'_>, what: &str, one: &T, other: &T) -> fmt::Result {
    if one == other {
        return Ok(());
    }
    writeln!(f, "{what}:\n  the model: {one:?}\n  the other: {other:?}")
}

pub(crate) fn first_divergence(one: &mut impl Subject, other: &mut impl Subject, ops: &[Op]) -> Option<Divergence> {
    for (step, op) in ops.iter().enumerate() {
        let (one, other) = (one.apply(op), other.apply(op));
        if one != other {
            let op = op.clone();
            return Some(Divergence { step, op, one, other });
        }
    }
    None
}

/// Drives the model and another subject through seeded streams. Where they part, the stream is made
/// as short as it still parts them, and told with the command that repeats it: `test` names this
/// test as `cargo test` wants it, `--test BINARY PATH`.
pub(crate) fn agree<S: Subject>(runs: u64, test: &str, make: impl Fn(&Config) -> S) {
    let parts = |config: &Config, ops: &[Op]| first_divergence(&mut Model::new(config.clone()), &mut make(config), ops);
    for seed in seeds(runs) {
        let Stream { config, ops } = Stream::of(seed);
        if parts(&config, &ops).is_some() {
            let ops = smallest(&config, &ops, |config, ops| parts(config, ops).is_some());
            let told = parts(&config, &ops).expect("it still parts them");
            panic!("seed {seed}: {told}\n{}", tell(&config, &ops, seed, test));
        }
    }
}

/// A stream that fails, and how to repeat it.
pub(crate) fn tell(config: &Config, ops: &[Op], seed: u64, test: &str) -> String {
    let mut told = String::new();
    for pool in &config.pools {
        told += &format!("{pool:?}\n");
    }
    for tenant in &config.tenants {
        told += &format!("{tenant:?}\n");
    }
    for (step, op) in ops.iter().enumerate() {
        told += &format!("{step}: {op:?}\n");
    }
    told + &format!("to repeat: HEADGATE_SEED={seed} cargo test -p headgate-ledger {test} -- --exact")
}

/// A shorter stream that still fails: operations are left out one by one, as long as it does.
pub(crate) fn smallest(config: &Config, ops: &[Op], fails: impl Fn(&Config, &[Op]) -> bool) -> Vec<Op> {
    let mut ops = ops.to_vec();
    loop {
        let before = ops.len();
        for index in (0..ops.len()).rev() {
            let mut fewer = ops.clone();
            fewer.remove(index);
            if fails(config, &fewer) {
                ops = fewer;
            }
        }
        if ops.len() == before {
            return ops;
        }
    }
}
