//! How long a tenant has been bursting. Only this, the order of arrival, and what budgets were
//! charged cannot be counted anew from what runs and waits.

use super::Model;
use super::config::{Burst, Time};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BurstClock {
    /// Bursting without a break.
    since: Option<Time>,
    over: Option<Time>,
    /// Within its guarantee again, while its burst is over.
    within: Option<Time>,
}

impl Model {
    /// "after `for` without a break, no further borrowing until it has been within guarantee for
    /// `cooldown`". Read as: what falls on one instant counts when all of it is applied; after that
    /// every change counts, however short.
    pub(crate) fn watch_bursts(&mut self) {
        let now = self.now;
        for pool in self.pool_names() {
            for (path, burst, bursting) in self.bursting(&pool) {
                let clock = self.bursts.entry((pool.clone(), path)).or_default();
                let Some(burst) = burst else {
                    // A burst that comes to be bounded counts from then.
                    *clock = BurstClock::default();
                    continue;
                };
                clock.since = bursting.then(|| clock.since.unwrap_or(now));
                let ends = clock.since.map(|since| since + burst.runs);
                clock.over = clock.over.or(ends.filter(|ends| *ends <= now));
                let cools = clock.over.is_some() && !bursting;
                clock.within = cools.then(|| clock.within.unwrap_or(now));
                if clock.within.is_some_and(|within| within + burst.cooldown <= now) {
                    (clock.over, clock.within) = (None, None);
                }
            }
        }
    }

    /// Each tenant, with its bound and whether it is bursting just now.
    fn bursting(&self, pool: &str) -> Vec<(String, Option<Burst>, bool)> {
        let view = self.actual(pool);
        let paths = self.config.tenants.iter().map(|tenant| tenant.path.clone());
        let tenants = paths.map(|path| {
            let node = view.tree.node(&path).expect("a configured tenant");
            let burst = self.config.quota(pool, &path).and_then(|quota| quota.burst);
            (path, burst, view.is_bursting(node))
        });
        tenants.collect()
    }

    pub(crate) fn burst_is_over(&self, pool: &str, node: &str) -> bool {
        self.bursts.get(&(pool.to_owned(), node.to_owned())).is_some_and(|clock| clock.over.is_some())
    }

    /// "once the pool's grace has passed too, it is the first to give back"
    pub(crate) fn is_past_burst_and_grace(&self, pool: &str, node: &str) -> bool {
        let clock = self.bursts.get(&(pool.to_owned(), node.to_owned()));
        let over = clock.and_then(|clock| clock.over);
        over.is_some_and(|over| over + self.pool(pool).grace <= self.now)
    }

    /// When a clock's rule next has something to say.
    pub(crate) fn burst_instants(&self) -> Vec<Time> {
        let mut instants = Vec::new();
        for ((pool, tenant), clock) in &self.bursts {
            let Some(burst) = self.config.quota(pool, tenant).and_then(|quota| quota.burst) else {
                continue;
            };
            instants.extend(clock.since.map(|since| since + burst.runs));
            instants.extend(clock.over.map(|over| over + self.pool(pool).grace));
            instants.extend(clock.within.map(|within| within + burst.cooldown));
        }
        instants
    }
}
