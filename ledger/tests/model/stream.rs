//! Seeded small configurations and streams of operations, with small numbers and many ties on
//! purpose. Each stream draws first which of the rules it is about, so that one that fails is about
//! few of them.

use std::collections::BTreeMap;

use super::config::{
    Amounts, Budget, Burst, Config, Enforce, Lifecycle, Lifecycles, OnExceed, Order, Pool, Quota, Rate, SECOND,
    ShareOf, Tenant, Time,
};
use super::rng::Rng;
use super::subject::Op;
use super::{Hit, PutTenant, Request};

#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) config: Config,
    pub(crate) ops: Vec<Op>,
}

/// The rules that a stream is about.
#[derive(Clone, Copy, Debug)]
struct About {
    resources: i64,
    unnamed: bool,
    priorities: bool,
    counts: bool,
    lives: bool,
    holds: bool,
    budgets: bool,
    rates: bool,
    bursts: bool,
    observed: bool,
    reconfigured: bool,
    resized: bool,
    unlendable: bool,
    pools: i64,
}

impl Stream {
    pub(crate) fn of(seed: u64) -> Stream {
        let mut rng = Rng::new(seed);
        let about = About {
            resources: rng.within(1..=2),
            unnamed: rng.chance(20),
            priorities: rng.chance(50),
            counts: rng.chance(30),
            lives: rng.chance(30),
            holds: rng.chance(50),
            budgets: rng.chance(20),
            rates: rng.chance(20),
            bursts: rng.chance(20),
            observed: rng.chance(15),
            reconfigured: rng.chance(40),
            resized: rng.chance(25),
            unlendable: rng.chance(40),
            pools: if rng.chance(10) { 2 } else { 1 },
        };
        let config = about.config(&mut rng);
        let ops = about.ops(&mut rng, &config);
        Stream { config, ops }
    }
}

fn seconds(rng: &mut Rng, range: std::ops::RangeInclusive<i64>) -> Time {
    rng.within(range) as Time * SECOND
}

impl About {
    fn named(self) -> Vec<&'static str> {
        if self.resources == 1 { vec!["cpu"] } else { vec!["cpu", "memory"] }
    }

    fn config(self, rng: &mut Rng) -> Config {
        let mut config = Config {
            pools: Vec::new(),
            tenants: Vec::new(),
            lifecycles: Lifecycles::default(),
            storage: if rng.chance(10) { vec!["memory".to_owned()] } else { Vec::new() },
            remember: if rng.chance(50) { seconds(rng, 1..=30) } else { 3600 * SECOND },
        };
        for name in ["default", "other"].into_iter().take(self.pools as usize) {
            config.pools.push(self.pool(rng, name));
        }
        for path in paths(rng) {
            let tenant = self.tenant(rng, &config, &path);
            config.tenants.push(tenant);
            if config.refused().is_some() {
                for quota in config.tenants.last_mut().expect("pushed above").quota.values_mut() {
                    *quota = Quota::default();
                }
            }
        }
        config
    }

    fn pool(self, rng: &mut Rng, name: &str) -> Pool {
        let capacity = self.named().into_iter().map(|r| (r.to_owned(), rng.within(4..=12))).collect();
        let implied = rng.chance(10).then(|| ("cpu".to_owned(), 1));
        let mut pool = Pool {
            implied: implied.into_iter().collect(),
            order: if rng.chance(30) { Order::Strict } else { Order::Backfill },
            share_of: if rng.chance(20) { ShareOf::Usage } else { ShareOf::Borrowed },
            age_step: *rng.pick(&[0, SECOND, 10 * SECOND]),
            hold_after: 86_400 * SECOND,
            hold_for: 0,
            max_wait: 0,
            max_queued: if rng.chance(10) { rng.within(1..=4) as usize } else { 1000 },
            max_queued_per_tenant: if rng.chance(10) { rng.within(1..=2) as usize } else { 1000 },
            reclaim: rng.chance(90),
            grace: *rng.pick(&[0, SECOND, 5 * SECOND, 10 * SECOND]),
            min_runtime: if rng.chance(20) { seconds(rng, 1..=10) } else { 0 },
            lease_ttl: 0,
            confirm_within: 86_400 * SECOND,
            overcommit: rng.chance(20),
            ..Pool::new(name, capacity)
        };
        if self.holds {
            (pool.hold_after, pool.hold_for) = (seconds(rng, 0..=8), *rng.pick(&[0, 3 * SECOND, 10 * SECOND]));
        }
        if self.lives {
            pool.lease_ttl = *rng.pick(&[0, 10 * SECOND, 20 * SECOND]);
            pool.confirm_within = seconds(rng, 1..=10);
            pool.ticket_ttl = *rng.pick(&[0, 2 * SECOND, 5 * SECOND]);
            pool.max_wait = *rng.pick(&[0, 10 * SECOND, 30 * SECOND]);
        }
        if self.observed {
            pool.enforce = *rng.pick(&[Enforce::Deny, Enforce::Deny, Enforce::Warn, Enforce::Observe]);
        }
        pool
    }

    fn tenant(self, rng: &mut Rng, config: &Config, path: &str) -> Tenant {
        let mut quota = BTreeMap::new();
        for pool in &config.pools {
            if rng.chance(97) {
                quota.insert(pool.name.clone(), self.quota(rng));
            }
        }
        Tenant {
            weight: *rng.pick(&[1000, 1000, 1000, 2000, 500, 0]),
            lifecycle: if rng.chance(5) { Lifecycle::Maintenance } else { Lifecycle::Active },
            quota,
            budgets: if self.budgets && rng.chance(40) { vec![self.budget(rng)] } else { Vec::new() },
            rates: if self.rates { self.rates(rng) } else { Vec::new() },
            ..Tenant::new(path)
        }
    }

    fn quota(self, rng: &mut Rng) -> Quota {
        let mut quota = Quota::default();
        for resource in self.named() {
            if rng.chance(65) {
                let guaranteed = rng.within(0..=5);
                quota.guaranteed.insert(resource.to_owned(), guaranteed);
                if self.unlendable && rng.chance(50) {
                    quota.lendable.insert(resource.to_owned(), rng.within(0..=guaranteed));
                }
            }
            if rng.chance(25) {
                quota.limit.insert(resource.to_owned(), rng.within(3..=10));
            }
        }
        if self.unnamed && rng.chance(60) {
            quota.limit.insert("licences".to_owned(), rng.within(0..=4));
        }
        if self.bursts && rng.chance(50) {
            quota.burst = Some(Burst { runs: seconds(rng, 1..=8), cooldown: seconds(rng, 0..=5) });
        }
        if self.observed && rng.chance(30) {
            quota.enforce = Some(*rng.pick(&[Enforce::Deny, Enforce::Warn, Enforce::Observe]));
        }
        quota
    }

    fn budget(self, rng: &mut Rng) -> Budget {
        let length = seconds(rng, 5..=20);
        Budget {
            name: "spend".to_owned(),
            resource: "cpu".to_owned(),
            amount: rng.within(2..=12),
            on_exceed: *rng.pick(&[OnExceed::Deny, OnExceed::Queue]),
            period_ends: (1..=6).map(|period| period * length).collect(),
        }
    }

    /// What comes back in a second is mostly no whole number.
    fn rates(self, rng: &mut Rng) -> Vec<Rate> {
        let names = ["first", "second"].into_iter().take(rng.within(0..=2) as usize);
        let rate = |name: &str| Rate {
            name: name.to_owned(),
            resource: (*rng.pick(&self.named())).to_owned(),
            amount: rng.within(1..=5),
            per: seconds(rng, 1..=7),
            burst: rng.within(1..=6),
            on_exceed: *rng.pick(&[OnExceed::Deny, OnExceed::Queue, OnExceed::Queue]),
        };
        names.map(rate).collect()
    }

    fn resources(self, rng: &mut Rng) -> Amounts {
        let mut resources = Amounts::new();
        for resource in self.named() {
            if rng.chance(75) {
                resources.insert(resource.to_owned(), *rng.pick(&[0, 1, 1, 2, 2, 3, 4]));
            }
        }
        if self.unnamed && rng.chance(40) {
            resources.insert("licences".to_owned(), rng.within(1..=2));
        }
        if resources.values().all(|amount| *amount == 0) {
            resources.insert("cpu".to_owned(), rng.within(1..=3));
        }
        resources
    }

    /// Those who have little guaranteed tend to ask first, and borrow what the others then ask for.
    fn asking(self, rng: &mut Rng, config: &Config, early: bool) -> String {
        let mut two = [rng.pick(&config.tenants), rng.pick(&config.tenants)];
        let guaranteed = |tenant: &&Tenant| {
            let quota = tenant.quota.get("default");
            quota.map_or(0, |quota| quota.guaranteed.values().sum::<i64>())
        };
        if rng.chance(70) {
            two.sort_by_key(guaranteed);
        }
        two[if early { 0 } else { 1 }].path.clone()
    }

    fn request(self, rng: &mut Rng, config: &Config, number: usize) -> Request {
        let count = if self.counts { rng.within(1..=3) } else { 1 };
        Request {
            id: format!("r{number}"),
            tenant: self.asking(rng, config, number < 8),
            pool: rng.pick(&config.pools).name.clone(),
            resources: self.resources(rng),
            count,
            min_count: (self.counts && rng.chance(50)).then(|| rng.within(1..=count)),
            priority: if self.priorities { rng.within(-1..=2) } else { 0 },
            wait: rng.chance(85),
            borrow: rng.chance(85),
            provisional: self.lives && rng.chance(30),
            ttl: (self.lives && rng.chance(20)).then(|| *rng.pick(&[0, 5 * SECOND])),
            grace: rng.chance(10).then(|| *rng.pick(&[0, 2 * SECOND, 60 * SECOND])),
        }
    }

    fn ops(self, rng: &mut Rng, config: &Config) -> Vec<Op> {
        let mut asked: Vec<Request> = Vec::new();
        let mut now = 0;
        let length = rng.within(20..=60);
        (0..length).map(|_| self.op(rng, config, &mut asked, &mut now)).collect()
    }

    fn op(self, rng: &mut Rng, config: &Config, asked: &mut Vec<Request>, now: &mut Time) -> Op {
        let roll = rng.within(0..=99);
        if asked.is_empty() || roll < if asked.len() < 10 { 70 } else { 42 } {
            return Op::Acquire(self.ask(rng, config, asked));
        }
        if (self.rates || self.budgets) && rng.chance(10) {
            return Op::Hit(self.hits(rng, config));
        }
        let recent = asked.len().saturating_sub(10);
        let id = rng.pick(&asked[recent..]).id.clone();
        match roll {
            ..=64 => {
                *now += seconds(rng, 0..=6);
                Op::Advance { to: *now }
            }
            65..=77 => Op::Release { id },
            78..=80 => Op::Cancel { id },
            81..=84 if self.lives => Op::Renew { id },
            85..=87 if self.lives => Op::Confirm { id },
            81..=87 if self.resized => Op::Resize { id, resources: self.resources(rng) },
            88..=99 if self.reconfigured => self.reconfigure(rng, config),
            _ => Op::Acquire(self.ask(rng, config, asked)),
        }
    }

    fn hits(self, rng: &mut Rng, config: &Config) -> Vec<Hit> {
        let pool = rng.pick(&config.pools).name.clone();
        let mut hit = || Hit {
            pool: pool.clone(),
            tenant: rng.pick(&config.tenants).path.clone(),
            resource: (*rng.pick(&self.named())).to_owned(),
            amount: *rng.pick(&[0, 1, 1, 1, 2, 3, 9]),
        };
        let count = if hit().amount > 1 { 1 } else { 3 };
        (0..count).map(|_| hit()).collect()
    }

    /// Mostly something new; sometimes an id again, with the same contents or with others.
    fn ask(self, rng: &mut Rng, config: &Config, asked: &mut Vec<Request>) -> Request {
        if !asked.is_empty() && rng.chance(4) {
            let mut again = rng.pick(asked).clone();
            if rng.chance(30) {
                again.resources = self.resources(rng);
            }
            return again;
        }
        let request = self.request(rng, config, asked.len());
        asked.push(request.clone());
        request
    }

    fn reconfigure(self, rng: &mut Rng, config: &Config) -> Op {
        let pool = rng.pick(&config.pools).name.clone();
        let path = rng.pick(&config.tenants).path.clone();
        match rng.within(0..=5) {
            0 | 1 => {
                let resource = (*rng.pick(&self.named())).to_owned();
                let amount = Amounts::from([(resource, rng.within(0..=12))]);
                let (capacity, unavailable) =
                    if rng.chance(50) { (amount, Amounts::new()) } else { (Amounts::new(), amount) };
                Op::SetCapacity { pool, capacity, unavailable }
            }
            2 | 3 => {
                let path = if rng.chance(10) { format!("{path}/new") } else { path };
                let weight = rng.chance(30).then(|| *rng.pick(&[0, 1000, 3000]));
                let quota = if rng.chance(80) { BTreeMap::from([(pool, self.quota(rng))]) } else { BTreeMap::new() };
                Op::PutTenant(PutTenant { path, weight, lifecycle: None, quota })
            }
            4 => {
                let all = [Lifecycle::Active, Lifecycle::Maintenance, Lifecycle::Suspended, Lifecycle::Archived];
                Op::SetLifecycle { path, lifecycle: *rng.pick(&all) }
            }
            _ => Op::Pause { pool, paused: rng.chance(50) },
        }
    }
}

/// Two to six tenants or so, on one to three levels.
pub(crate) fn paths(rng: &mut Rng) -> Vec<String> {
    let mut paths = Vec::new();
    for top in ["a", "b", "c", "d"].into_iter().take(rng.within(2..=4) as usize) {
        paths.push(top.to_owned());
        if !rng.chance(40) {
            continue;
        }
        for child in ["x", "y", "z"].into_iter().take(rng.within(1..=3) as usize) {
            paths.push(format!("{top}/{child}"));
            if rng.chance(20) {
                paths.extend(["u", "v"].map(|grandchild| format!("{top}/{child}/{grandchild}")));
            }
        }
    }
    paths
}
