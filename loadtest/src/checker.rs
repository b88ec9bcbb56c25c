//! What must always hold, as seen from outside: allowed and not released is never above a limit, every request is answered
//! once, and in the end everything is released.
//!
//! A lease counts from when its answer was read until its release is written. The server admitted it before, and can only
//! end it after, so what is counted is at most what the server held at that instant: what is above a limit is above it in
//! truth, however the calls lay on the wire.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use headgate_scheduler::config::format_amount;
use parking_lot::Mutex;

use crate::scenario::{Amounts, Scenario, ancestors};

/// Violations that are told one by one; more are counted.
const TOLD_MAX: usize = 20;

/// A bound on what may be held together.
#[derive(Debug)]
struct Bound {
    /// The tenant; empty is the pool itself.
    whose: String,
    resource: String,
    /// The resource's place among all.
    at: usize,
    limit: i64,
    held: AtomicI64,
    most: AtomicI64,
}

/// Watches all generators of a run.
#[derive(Debug)]
pub(crate) struct Checker {
    bounds: Vec<Bound>,
    /// By tenant: the bounds on its path.
    of_tenant: Vec<Vec<u32>>,
    /// By size: how much of each resource, in the order of the resources.
    amounts: Vec<Vec<i64>>,
    found: AtomicU64,
    told: Mutex<BTreeSet<String>>,
}

/// How near a bound came.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Nearest {
    /// The tenant; empty is the pool itself.
    pub(crate) tenant: String,
    pub(crate) resource: String,
    /// The most that was held at once, as seen from here.
    pub(crate) most: i64,
    pub(crate) limit: i64,
}

impl Checker {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let resources: Vec<&str> = scenario.resources().into_iter().collect();
        let mut bounds = Vec::new();
        let mut by_whose: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        let limits = scenario.tenants.iter().map(|tenant| (tenant.path.as_str(), &tenant.limit));
        for (whose, limit) in limits.chain([("", &scenario.pool.capacity)]) {
            for (resource, limit) in limit {
                by_whose.entry(whose).or_default().push(bounds.len() as u32);
                let at = resources.iter().position(|known| known == resource).unwrap_or(resources.len());
                let (whose, resource, limit) = (whose.to_owned(), resource.clone(), *limit as i64);
                bounds.push(Bound { whose, resource, at, limit, held: AtomicI64::new(0), most: AtomicI64::new(0) });
            }
        }
        let of_tenant = scenario.tenants.iter().map(|tenant| {
            ancestors(&tenant.path).chain([""]).filter_map(|path| by_whose.get(path)).flatten().copied().collect()
        });
        let amount = |shape: &Amounts| {
            resources.iter().map(|name| shape.get(*name).map_or(0, |amount| *amount as i64)).collect()
        };
        Self {
            of_tenant: of_tenant.collect(),
            bounds,
            amounts: scenario.shapes.iter().map(amount).collect(),
            found: AtomicU64::new(0),
            told: Mutex::default(),
        }
    }

    /// Something was allowed: its answer has just been read.
    pub(crate) fn took(&self, tenant: u32, shape: u32) {
        for (bound, amount) in self.touched(tenant, shape) {
            let held = bound.held.fetch_add(amount, Relaxed) + amount;
            if held > bound.most.load(Relaxed) {
                bound.most.fetch_max(held, Relaxed);
                if held > bound.limit {
                    self.violated(|| {
                        let Bound { whose, resource, limit, .. } = bound;
                        let whose = if whose.is_empty() { "the pool" } else { whose };
                        let limit = format_amount(limit.unsigned_abs(), resource);
                        format!("{whose}: more than its {limit} of {resource} was allowed and not released at once")
                    });
                }
            }
        }
    }

    /// Something is about to be released, or is not surely held any more.
    pub(crate) fn gave(&self, tenant: u32, shape: u32) {
        for (bound, amount) in self.touched(tenant, shape) {
            bound.held.fetch_sub(amount, Relaxed);
        }
    }

    fn touched(&self, tenant: u32, shape: u32) -> impl Iterator<Item = (&Bound, i64)> {
        let amounts = &self.amounts[shape as usize];
        let bounds = self.of_tenant[tenant as usize].iter().map(|at| &self.bounds[*at as usize]);
        bounds.map(|bound| (bound, amounts.get(bound.at).copied().unwrap_or(0))).filter(|(_, amount)| *amount > 0)
    }

    /// Something else that must never be.
    pub(crate) fn violated(&self, what: impl FnOnce() -> String) {
        self.found.fetch_add(1, Relaxed);
        let mut told = self.told.lock();
        if told.len() < TOLD_MAX {
            told.insert(what());
        }
    }

    /// How many violations were found.
    pub(crate) fn found(&self) -> u64 {
        self.found.load(Relaxed)
    }

    /// What was found, for people; at most some of it.
    pub(crate) fn told(&self) -> Vec<String> {
        self.told.lock().iter().cloned().collect()
    }

    /// The bounds that were checked.
    pub(crate) fn bounds(&self) -> usize {
        self.bounds.len()
    }

    /// The bound that came nearest to being exceeded.
    pub(crate) fn nearest(&self) -> Option<Nearest> {
        let seen = |bound: &Bound| Nearest {
            tenant: bound.whose.clone(),
            resource: bound.resource.clone(),
            most: bound.most.load(Relaxed),
            limit: bound.limit,
        };
        let part = |near: &Nearest| near.most as f64 / (near.limit as f64).max(1.0);
        self.bounds.iter().map(seen).max_by(|a, b| part(a).total_cmp(&part(b)))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Checker, Nearest};
    use crate::scenario::Scenario;

    fn checker() -> Checker {
        let yaml = "
scenario: x
pool: {capacity: {cpu: 4}}
mix: {acquire: 1}
sizes: {cpu: 1}
tenants:
  - {path: loadtest/team, load: 0, limit: {cpu: 3}}
  - {path: loadtest/team/a, limit: {cpu: 2}}
  - {path: loadtest/team/b}
  - {path: loadtest/free}
";
        Checker::new(&Scenario::parse("x", yaml, Path::new(".")).expect("read"))
    }

    #[test]
    fn what_is_within_every_limit_is_fine() {
        let checker = checker();
        for _ in 0..3 {
            for tenant in [1, 1, 2, 3] {
                checker.took(tenant, 0);
            }
            for tenant in [3, 2, 1, 1] {
                checker.gave(tenant, 0);
            }
        }
        assert_eq!((checker.found(), checker.told(), checker.bounds()), (0, Vec::new(), 3));
        let nearest = checker.nearest().expect("a bound");
        assert_eq!((nearest.most, nearest.limit), (nearest.limit, nearest.most));
    }

    #[test]
    fn a_limit_of_its_own_of_one_above_and_of_the_pool_is_each_found() {
        for (tenants, expected) in [
            (&[1, 1, 1][..], "loadtest/team/a: more than its 2 of cpu"),
            (&[2, 2, 2, 2], "loadtest/team: more than its 3 of cpu"),
            (&[3, 3, 3, 3, 3], "the pool: more than its 4 of cpu"),
        ] {
            let checker = checker();
            for tenant in tenants {
                assert_eq!(checker.found(), 0, "{expected}");
                checker.took(*tenant, 0);
            }
            assert!(checker.found() > 0 && checker.told()[0].starts_with(expected), "{:?}", checker.told());
        }
    }

    #[test]
    fn the_bound_that_came_nearest_is_named() {
        let checker = checker();
        checker.took(1, 0);
        let nearest = Nearest { tenant: "loadtest/team/a".into(), resource: "cpu".into(), most: 1000, limit: 2000 };
        assert_eq!(checker.nearest(), Some(nearest));
    }
}
