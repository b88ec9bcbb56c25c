//! Closed systems: requests arrive once, nothing ends by itself, and whatever is reclaimed asks
//! again at once. Reclaim must come to rest.

use std::collections::BTreeMap;

use crate::model::config::{Amounts, Config, Lifecycles, Order, Pool, Quota, SECOND, Tenant};
use crate::model::rng::{Rng, seeds};
use crate::model::stream::paths;
use crate::model::{Cause, Event, Model, Outcome, Request, audit};

/// What is reclaimed more often than this, in a system of so few requests, does not come to rest.
const RECLAIMS_MAX: usize = 300;
/// Instants without any event but turns of holds, after which nothing more is waited for.
const QUIET_MAX: usize = 60;

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
    let resources: Vec<&str> = if rng.chance(50) {
        vec!["cpu"]
    } else {
        vec!["cpu", "memory"]
    };
    let capacity: Amounts = resources
        .iter()
        .map(|r| ((*r).to_owned(), rng.within(3..=16)))
        .collect();
    let pool = Pool {
        order: if rng.chance(30) {
            Order::Strict
        } else {
            Order::Backfill
        },
        age_step: *rng.pick(&[0, SECOND, 10 * SECOND]),
        hold_after: *rng.pick(&[0, 3 * SECOND, 86_400 * SECOND, 86_400 * SECOND]),
        hold_for: *rng.pick(&[0, 5 * SECOND]),
        grace: *rng.pick(&[0, SECOND, 5 * SECOND]),
        min_runtime: *rng.pick(&[0, 0, 0, 3 * SECOND]),
        max_wait: 0,
        lease_ttl: 0,
        confirm_within: 1_000_000 * SECOND,
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
                    quota
                        .lendable
                        .insert(resource.clone(), rng.within(0..=guaranteed));
                }
            }
            if rng.chance(15) {
                quota
                    .limit
                    .insert(resource.clone(), rng.within(1..=*capacity));
            }
        }
        let weight = *rng.pick(&[1000, 1000, 1000, 3000, 0]);
        let quota = BTreeMap::from([("default".to_owned(), quota)]);
        config.tenants.push(Tenant {
            weight,
            quota,
            ..Tenant::new(&path)
        });
        if config.refused().is_some() {
            let tenant = config.tenants.last_mut().expect("pushed above");
            tenant.quota = BTreeMap::from([("default".to_owned(), Quota::default())]);
        }
    }
    config
}

fn request(rng: &mut Rng, config: &Config, number: usize) -> Request {
    Request {
        id: format!("r{number}"),
        tenant: rng.pick(&config.tenants).path.clone(),
        pool: "default".to_owned(),
        resources: sizes(rng, config),
        count: 1,
        min_count: None,
        priority: if rng.chance(30) { rng.within(0..=2) } else { 0 },
        wait: true,
        borrow: rng.chance(95),
        provisional: false,
        ttl: None,
        grace: None,
    }
}

fn sizes(rng: &mut Rng, config: &Config) -> Amounts {
    let capacity = &config.pools[0].capacity;
    let mut sizes = Amounts::new();
    for (resource, capacity) in capacity {
        if rng.chance(80) {
            sizes.insert(resource.clone(), rng.within(1..=(capacity / 2).max(2)));
        }
    }
    if sizes.is_empty() {
        sizes.insert("cpu".to_owned(), 1);
    }
    sizes
}

/// Runs one system until it rests. An error says what it does instead.
fn run(seed: u64, again: Again) -> Result<Rest, String> {
    let mut rng = Rng::new(seed);
    let config = config(&mut rng);
    let mut model = Model::new(config.clone());
    let mut rest = Rest::default();
    // Those who have little guaranteed tend to come first, and borrow what the others then ask for.
    let mut requests: Vec<Request> = (1..=rng.within(6..=20))
        .map(|n| request(&mut rng, &config, n as usize))
        .collect();
    if rng.chance(70) {
        let guaranteed = |request: &Request| model.guaranteed("default", &request.tenant, "cpu");
        requests.sort_by_key(guaranteed);
    }
    for request in requests {
        rest.asked += 1;
        model.acquire(model.now, &request);
        if rng.chance(30) {
            model.advance(model.now + rng.within(0..=3) as u64 * SECOND);
        }
    }
    let mut read = 0;
    let mut quiet = 0;
    loop {
        let news = model.log[read..].to_vec();
        read = model.log.len();
        quiet += 1;
        for (_, event) in news {
            match event {
                Event::Holds { .. } | Event::HoldsNoMore { .. } => {}
                Event::Ended {
                    id,
                    cause: Cause::Revoked,
                } => {
                    quiet = 0;
                    rest.reclaims += 1;
                    rest.asked += 1;
                    ask_again(&mut model, &mut rng, &id, rest.asked, again);
                }
                _ => quiet = 0,
            }
        }
        if rest.reclaims > RECLAIMS_MAX {
            return Err(format!("reclaimed {} times and goes on", rest.reclaims));
        }
        let found = audit::work_conserving(&model).or_else(|| audit::guarantee(&model));
        if let Some(broken) = found {
            return Err(broken);
        }
        match model.next_due() {
            Some(next) if quiet < QUIET_MAX => model.advance(next),
            _ if model.log.len() > read => {}
            _ => return Ok(rest),
        }
    }
}

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
    for seed in seeds(150) {
        let repeat = format!(
            "HEADGATE_SEED={seed} cargo test -p headgate-ledger --test model {name} -- --nocapture"
        );
        let run = std::panic::catch_unwind(|| run(seed, again));
        match run {
            Ok(Ok(rest)) => {
                total += rest.reclaims;
                most = most.max((rest.reclaims, seed));
            }
            Ok(Err(what)) => panic!("seed {seed}: {what}\nto repeat: {repeat}"),
            Err(_) => panic!("seed {seed}\nto repeat: {repeat}"),
        }
    }
    println!(
        "reclaims: {total}, the most in one system {} (seed {})",
        most.0, most.1
    );
}

#[test]
fn closed_systems_come_to_rest_when_what_is_reclaimed_asks_again() {
    check(
        Again::TheSame,
        "closed_systems_come_to_rest_when_what_is_reclaimed_asks_again",
    );
}

#[test]
fn closed_systems_come_to_rest_when_what_is_reclaimed_asks_again_in_other_sizes() {
    check(
        Again::OtherSizes,
        "closed_systems_come_to_rest_when_what_is_reclaimed_asks_again_in_other_sizes",
    );
}
