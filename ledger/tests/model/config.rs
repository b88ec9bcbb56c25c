//! What is configured: pools, the tree of tenants, quotas, budgets, rates; and what of it is refused.

use std::collections::BTreeMap;

/// Nanoseconds since the start of the stream or story.
pub(crate) type Time = u64;
/// Whole base units by resource.
pub(crate) type Amounts = BTreeMap<String, i64>;

pub(crate) const SECOND: Time = 1_000_000_000;
/// Weights and lifecycles are in thousandths.
pub(crate) const ONE: u64 = 1000;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    pub(crate) pools: Vec<Pool>,
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) lifecycles: Lifecycles,
    /// Resources that no lifecycle scales.
    pub(crate) storage: Vec<String>,
    /// How long the ids of what has ended are known.
    pub(crate) remember: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifecycles {
    pub(crate) active: u64,
    pub(crate) maintenance: u64,
    pub(crate) suspended: u64,
    pub(crate) archived: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    Active,
    Maintenance,
    Suspended,
    Archived,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Strict,
    Backfill,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShareOf {
    Borrowed,
    Usage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Enforce {
    Deny,
    Warn,
    Observe,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pool {
    pub(crate) name: String,
    pub(crate) capacity: Amounts,
    pub(crate) unavailable: Amounts,
    pub(crate) implied: Amounts,
    pub(crate) order: Order,
    pub(crate) share_of: ShareOf,
    pub(crate) age_step: Time,
    pub(crate) hold_after: Time,
    /// 0: never.
    pub(crate) hold_for: Time,
    /// 0: never.
    pub(crate) max_wait: Time,
    pub(crate) max_queued: usize,
    pub(crate) max_queued_per_tenant: usize,
    pub(crate) reclaim: bool,
    pub(crate) grace: Time,
    pub(crate) min_runtime: Time,
    /// 0: until released.
    pub(crate) lease_ttl: Time,
    pub(crate) confirm_within: Time,
    /// 0: tickets need no holder that speaks.
    pub(crate) ticket_ttl: Time,
    pub(crate) overcommit: bool,
    pub(crate) enforce: Enforce,
    pub(crate) paused: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tenant {
    pub(crate) path: String,
    /// In thousandths.
    pub(crate) weight: u64,
    pub(crate) lifecycle: Lifecycle,
    /// By pool.
    pub(crate) quota: BTreeMap<String, Quota>,
    pub(crate) budgets: Vec<Budget>,
    pub(crate) rates: Vec<Rate>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Quota {
    pub(crate) guaranteed: Amounts,
    pub(crate) limit: Amounts,
    pub(crate) lendable: Amounts,
    pub(crate) burst: Option<Burst>,
    pub(crate) enforce: Option<Enforce>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Burst {
    pub(crate) runs: Time,
    pub(crate) cooldown: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnExceed {
    Deny,
    Queue,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Budget {
    pub(crate) name: String,
    pub(crate) resource: String,
    pub(crate) amount: i64,
    pub(crate) on_exceed: OnExceed,
    /// The instants at which a period ends and the next begins, in order.
    pub(crate) period_ends: Vec<Time>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rate {
    pub(crate) name: String,
    pub(crate) resource: String,
    pub(crate) amount: i64,
    pub(crate) per: Time,
    pub(crate) burst: i64,
    pub(crate) on_exceed: OnExceed,
}

impl Default for Lifecycles {
    fn default() -> Self {
        Lifecycles { active: 1000, maintenance: 500, suspended: 100, archived: 0 }
    }
}

impl Pool {
    /// A pool as it is where a configuration says no more than its capacity.
    pub(crate) fn new(name: &str, capacity: Amounts) -> Pool {
        Pool {
            name: name.to_owned(),
            capacity,
            unavailable: Amounts::new(),
            implied: Amounts::new(),
            order: Order::Backfill,
            share_of: ShareOf::Borrowed,
            age_step: 600 * SECOND,
            hold_after: 300 * SECOND,
            hold_for: 3600 * SECOND,
            max_wait: 86_400 * SECOND,
            max_queued: 100_000,
            max_queued_per_tenant: 10_000,
            reclaim: true,
            grace: 30 * SECOND,
            min_runtime: 0,
            lease_ttl: 60 * SECOND,
            confirm_within: 60 * SECOND,
            ticket_ttl: 0,
            overcommit: false,
            enforce: Enforce::Deny,
            paused: false,
        }
    }
}

impl Tenant {
    pub(crate) fn new(path: &str) -> Tenant {
        Tenant {
            path: path.to_owned(),
            weight: ONE,
            lifecycle: Lifecycle::Active,
            quota: BTreeMap::new(),
            budgets: Vec::new(),
            rates: Vec::new(),
        }
    }
}

/// The path of the tenant above; "" is the root.
pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(above, _)| above)
}

/// The tenant itself and all above it, lowest first, without the root.
pub(crate) fn lineage(path: &str) -> Vec<&str> {
    let mut above = Vec::new();
    let mut at = path;
    while !at.is_empty() {
        above.push(at);
        at = parent(at);
    }
    above
}

impl Config {
    pub(crate) fn pool(&self, name: &str) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.name == name)
    }

    pub(crate) fn tenant(&self, path: &str) -> Option<&Tenant> {
        self.tenants.iter().find(|tenant| tenant.path == path)
    }

    /// The paths of the tenants right under this one (or under the root, ""), in order.
    pub(crate) fn children(&self, path: &str) -> Vec<&str> {
        let mut paths: Vec<&str> =
            self.tenants.iter().map(|tenant| tenant.path.as_str()).filter(|child| parent(child) == path).collect();
        paths.sort_unstable();
        paths
    }

    pub(crate) fn quota(&self, pool: &str, path: &str) -> Option<&Quota> {
        self.tenant(path)?.quota.get(pool)
    }

    /// "A tenant without an entry in a pool (nor an ancestor with one) may not use it."
    pub(crate) fn may_use(&self, pool: &str, path: &str) -> bool {
        lineage(path).iter().any(|above| self.quota(pool, above).is_some())
    }

    /// What is configured to be guaranteed: "as configured; an inner node that says nothing of r
    /// has the sum of its children's configured ones".
    pub(crate) fn configured(&self, pool: &str, path: &str, resource: &str) -> i64 {
        let own = self.quota(pool, path).and_then(|quota| quota.guaranteed.get(resource));
        own.copied().unwrap_or_else(|| self.configured_below(pool, path, resource))
    }

    fn configured_below(&self, pool: &str, path: &str, resource: &str) -> i64 {
        self.children(path).iter().map(|child| self.configured(pool, child, resource)).sum()
    }

    /// The nearest word on it, from the tenant up to the pool.
    pub(crate) fn enforce(&self, pool: &str, path: &str) -> Enforce {
        let said = lineage(path).iter().find_map(|above| self.quota(pool, above)?.enforce);
        said.or_else(|| self.pool(pool).map(|pool| pool.enforce)).unwrap_or(Enforce::Deny)
    }

    /// "A tenant's lifecycle scales its guarantee, limit and lendable: … rounded down, for every
    /// resource but those configured as storage."
    pub(crate) fn scaled(&self, path: &str, resource: &str, amount: i64) -> i64 {
        if self.storage.iter().any(|storage| storage == resource) {
            return amount;
        }
        let factor = self.tenant(path).map_or(ONE, |tenant| self.lifecycles.of(tenant.lifecycle));
        (i128::from(amount) * i128::from(factor) / i128::from(ONE)) as i64
    }

    /// "A configuration where children sum to more than their parent guarantees or may hold, where
    /// lendable is above guaranteed, or guaranteed above limit, is refused; the first is allowed
    /// where the pool says overcommit: true, and at the root … it is a warning."
    pub(crate) fn refused(&self) -> Option<String> {
        for tenant in &self.tenants {
            let path = tenant.path.as_str();
            if !parent(path).is_empty() && self.tenant(parent(path)).is_none() {
                return Some(format!("{path}: no tenant above it"));
            }
            for (pool, quota) in &tenant.quota {
                let Some(in_pool) = self.pool(pool) else {
                    return Some(format!("{path}: no pool {pool}"));
                };
                for resource in quota.guaranteed.keys().chain(quota.limit.keys()).chain(quota.lendable.keys()) {
                    let guaranteed = self.configured(pool, path, resource);
                    let limit = quota.limit.get(resource).copied().unwrap_or(i64::MAX);
                    if quota.lendable.get(resource).is_some_and(|lendable| *lendable > guaranteed) {
                        return Some(format!("{path}: lendable above guaranteed in {resource}"));
                    }
                    // Where nothing is said of it, what children sum to is all that there is to it, and that
                    // overcommit allows.
                    if guaranteed > limit && quota.guaranteed.contains_key(resource) {
                        return Some(format!("{path}: guaranteed above limit in {resource}"));
                    }
                    if !in_pool.overcommit && self.configured_below(pool, path, resource) > guaranteed.min(limit) {
                        return Some(format!("{path}: children sum to more in {resource}"));
                    }
                }
            }
        }
        None
    }
}

impl Lifecycles {
    fn of(&self, lifecycle: Lifecycle) -> u64 {
        match lifecycle {
            Lifecycle::Active => self.active,
            Lifecycle::Maintenance => self.maintenance,
            Lifecycle::Suspended => self.suspended,
            Lifecycle::Archived => self.archived,
        }
    }
}
