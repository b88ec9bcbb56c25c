//! Closed systems: requests arrive once, nothing ends by itself, and whatever is reclaimed asks
//! again at once. Reclaim must come to rest.

use std::collections::BTreeMap;

use crate::model::config::{Amounts, Burst, Config, Lifecycles, Order, Pool, Quota, SECOND, ShareOf, Tenant};
use crate::model::rng::{Rng, seeds};
use crate::model::stream::paths;
use crate::model::{Cause, Event, Model, Outcome, Request, audit};

/// What is reclaimed more often than this, in a system of so few requests, does not come to rest.
const RECLAIMS_MAX: usize = 300;
/// Instants without any event but turns of holds, after which nothing more is waited for.
const QUIET_MAX: usize = 30;

/// Instants at which something happens, after which it is taken to do so for ever.
const INSTANTS_MAX: usize = 3000;

/// How what was reclaimed asks again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    TheSame,
    OtherSizes,
}

#[derive(Debug, Default)]
struct Rest {
    reclaims: usize,
    asked: usize,
}

fn config(rng: &mut Rng) -> Config {
    let resources: Vec<&str> = if rng.chance(50) { vec!["cpu"] } else { vec!["cpu", "memory"] };
    let capacity: Amounts = resources.iter().map(|r| ((*r).to_owned(), rng.within(3..=16))).collect();
    let pool = Pool {
        order: if rng.chance(30) { Order::Strict } else { Order::Backfill },
        age_step: *rng.pick(&[0, SECOND, 10 * SECOND]),
        hold_after: *rng.pick(&[0, 3 * SECOND, 86_400 * SECOND, 86_400 * SECOND]),
        hold_for: *rng.pick(&[0, 5 * SECOND]),
        share_of: if rng.chance(20) { ShareOf::Usage } else { ShareOf::Borrowed },
        grace: *rng.pick(&[0, SECOND, 5 * SECOND]),
        min_runtime: *rng.pick(&[0, 0, 0, 3 * SECOND]),
        max_wait: 0,
        lease_ttl: 0,
        ..Pool::new("default", capacity.clone())
    };
    let mut config = Config {
        pools: vec![pool],
        tenants: Vec::new(),
        lifecycles: Lifecycles::default(),
        storage: Vec::new(),
        remember: SECOND,
    };
    for path in paths(rng) {
        let mut quota = Quota::default();
        for (resource, capacity) in &capacity {
            if rng.chance(70) {
                let guaranteed = rng.within(0..=capacity / 2 + 1);
                quota.guaranteed.insert(resource.clone(), guaranteed);
                if rng.chance(15) {
                    quota.lendable.insert(resource.clone(), rng.within(0..=guaranteed));
                }
            }
            if rng.chance(15) {
                quota.limit.insert(resource.clone(), rng.within(1..=*capacity));
            }
        }
        if rng.chance(10) {
            quota.burst =
                Some(Burst { runs: rng.within(1..=5) as u64 * SECOND, cooldown: rng.within(0..=3) as u64 * SECOND });
        }
        let weight = *rng.pick(&[1000, 1000, 1000, 3000, 0]);
        let quota = BTreeMap::from([("default".to_owned(), quota)]);
        config.tenants.push(Tenant { weight, quota, ..Tenant::new(&path) });
        if config.refused().is_some() {
            let tenant = config.tenants.last_mut().expect("pushed above");
            tenant.quota = BTreeMap::from([("default".to_owned(), Quota::default())]);
        }
    }
    config
}

fn request(rng: &mut Rng, config: &Config, number: usize) -> Request {
    let count = if rng.chance(15) { rng.within(2..=3) } else { 1 };
    Request {
        id: format!("r{number}"),
        tenant: rng.pick(&config.tenants).path.clone(),
        pool: "default".to_owned(),
        resources: sizes(rng, config),
        count,
        min_count: rng.chance(50).then(|| rng.within(1..=count)),
        priority: if rng.chance(30) { rng.within(0..=2) } else { 0 },
        wait: true,
        borrow: rng.chance(95),
        provisional: false,
        ttl: None,
        grace: None,
    }
}

/// Of one resource alone, or of all of them.
fn sizes(rng: &mut Rng, config: &Config) -> Amounts {
    let capacity = &config.pools[0].capacity;
    let names: Vec<&String> = capacity.keys().collect();
    let only = rng.chance(40).then(|| *rng.pick(&names));
    let mut sizes = Amounts::new();
    for (resource, capacity) in capacity {
        if only.is_none_or(|only| only == resource) {
            sizes.insert(resource.clone(), rng.within(1..=(capacity / 3).max(2)));
        }
    }
    sizes
}

/// Runs one system until it rests. An error says what it does instead.
fn run(seed: u64, again: Again) -> Result<Rest, String> {
    let mut rng = Rng::new(seed);
    let config = config(&mut rng);
    let mut model = Model::new(config.clone());
    let mut rest = begin(&mut model, &mut rng, &config);
    let (mut read, mut quiet) = (0, 0);
    for _ in 0..INSTANTS_MAX {
        let news = model.log[read..].to_vec();
        read = model.log.len();
        quiet = if news.iter().any(|(_, event)| is_told(event)) { 0 } else { quiet + 1 };
        for id in news.iter().filter_map(|(_, event)| revoked(event)) {
            rest.reclaims += 1;
            rest.asked += 1;
            ask_again(&mut model, &mut rng, id, rest.asked, again);
        }
        confirm(&mut model);
        if rest.reclaims > RECLAIMS_MAX {
            return Err(format!("reclaimed {} times, and it goes on", rest.reclaims));
        }
        let broken = audit::work_conserving(&model)
            .or_else(|| audit::guarantee(&model))
            .or_else(|| audit::owner_left_waiting(&model));
        if let Some(broken) = broken {
            return Err(broken);
        }
        match model.next_due() {
            Some(next) if quiet < QUIET_MAX => model.advance(next),
            _ if model.log.len() > read => {}
            _ => return Ok(rest),
        }
    }
    Err("something happens for ever, though little is reclaimed".to_owned())
}

/// Those who have little guaranteed tend to come first, and borrow what the others then ask for.
fn begin(model: &mut Model, rng: &mut Rng, config: &Config) -> Rest {
    let count = rng.within(8..=22) as usize;
    let mut requests: Vec<Request> = (1..=count).map(|n| request(rng, config, n)).collect();
    if rng.chance(80) {
        requests.sort_by_key(|request| model.guaranteed("default", &request.tenant, "cpu"));
    }
    for request in requests {
        model.acquire(model.now, &request);
        if rng.chance(30) {
            model.advance(model.now + rng.within(0..=3) as u64 * SECOND);
        }
        confirm(model);
    }
    Rest { reclaims: 0, asked: count }
}

/// Nothing ends because nobody spoke for it.
fn confirm(model: &mut Model) {
    let unconfirmed = model.leases.iter().filter(|lease| !lease.confirmed);
    let ids: Vec<String> = unconfirmed.map(|lease| lease.request.id.clone()).collect();
    for id in ids {
        model.confirm(model.now, &id);
    }
}

fn is_told(event: &Event) -> bool {
    !matches!(event, Event::Holds { .. } | Event::HoldsNoMore { .. })
}

fn revoked(event: &Event) -> Option<&str> {
    match event {
        Event::Ended { id, cause: Cause::Revoked } => Some(id),
        _ => None,
    }
}

/// In other sizes and with another priority, and as it was where that is denied.
fn ask_again(model: &mut Model, rng: &mut Rng, id: &str, number: usize, again: Again) {
    let mut request = model.request_gone(id).expect("just revoked");
    request.id = format!("r{number}");
    if again == Again::OtherSizes {
        let mut other = request.clone();
        other.resources = sizes(rng, &model.config);
        other.priority = rng.within(0..=2);
        if !matches!(model.acquire(model.now, &other), Outcome::Deny(_)) {
            return;
        }
    }
    model.acquire(model.now, &request);
}

fn check(again: Again, name: &str) {
    let mut most = (0, 0);
    let mut total = 0;
    for seed in seeds(100) {
        let found = std::panic::catch_unwind(|| run(seed, again));
        match found.unwrap_or_else(|_| Err("it panics".to_owned())) {
            Ok(rest) => {
                total += rest.reclaims;
                most = most.max((rest.reclaims, seed));
            }
            Err(what) => panic!(
                "seed {seed}: {what}; to repeat: HEADGATE_SEED={seed} cargo test -p headgate-ledger \
                 --test model {name} -- --exact"
            ),
        }
    }
    let (most, seed) = most;
    println!("reclaimed {total} times, {most} in one system (seed {seed})");
}

#[test]
fn what_is_reclaimed_asks_again() {
    check(Again::TheSame, "closed::what_is_reclaimed_asks_again");
}

#[test]
fn what_is_reclaimed_asks_again_in_other_sizes() {
    check(Again::OtherSizes, "closed::what_is_reclaimed_asks_again_in_other_sizes");
}
