//! What a scenario needs in an engine of our own, made and removed as an administrator would.

use std::time::Duration;

use headgate_ledger::{Change, Level, Levels, Name, Pool, QueueLimit, Quota, Source, Tenant, TenantPath, WHOLE};
use headgate_scheduler::engine::Configure;

use super::Embedded;
use super::requests::amounts;
use crate::fault::Fault;
use crate::scenario::{self, Amounts, Scenario};

impl Embedded {
    /// Makes a scenario's pool and tenants.
    pub(crate) fn set_up(&self, scenario: &Scenario, reason: &str) -> Result<(), Fault> {
        let mut changes = vec![Change::PutPool(pool(scenario)?)];
        let known = scenario.by_path();
        for path in scenario.paths() {
            changes.push(Change::PutTenant(tenant(scenario, path, known.get(path).copied())?));
        }
        self.change(changes, reason)
    }

    /// Removes tenants, with all under them, and a pool.
    pub(crate) fn remove(&self, roots: &[String], pool: &str, reason: &str) -> Result<(), Fault> {
        let tenant = |path: &String| Ok(Change::DeleteTenant { path: named(TenantPath::parse(path))?, drain: false });
        let mut changes = roots.iter().map(tenant).collect::<Result<Vec<_>, Fault>>()?;
        changes.push(Change::DeletePool(named(Name::parse(pool))?));
        self.change(changes, reason)
    }

    fn change(&self, changes: Vec<Change>, reason: &str) -> Result<(), Fault> {
        let asked = Configure { changes, reason: reason.to_owned(), ..Configure::default() };
        let changed = self.runtime.block_on(self.engine.configure(&self.caller, asked));
        changed.map(drop).map_err(|error| Fault::Failed(format!("{} refuses to be set up: {error}", self.name)))
    }
}

fn named<T>(parsed: Result<T, headgate_ledger::NameError>) -> Result<T, Fault> {
    parsed.map_err(|error| Fault::Usage(error.to_string()))
}

fn pool(scenario: &Scenario) -> Result<Pool, Fault> {
    let of = &scenario.pool;
    let mut pool = Pool::new(named(Name::parse(&of.name))?);
    pool.capacity = amounts(&of.capacity)?;
    pool.reclaim = of.reclaim;
    pool.grace = Duration::from_nanos(of.grace);
    pool.age_step = of.age_step.map_or(pool.age_step, Duration::from_nanos);
    pool.hold_after = of.hold_after.map_or(pool.hold_after, Duration::from_nanos);
    pool.max_queued = of.max_queued.unwrap_or(pool.max_queued);
    pool.max_queued_per_tenant = QueueLimit::Part(WHOLE);
    pool.source = Source::Api;
    Ok(pool)
}

fn tenant(scenario: &Scenario, path: &str, known: Option<&scenario::Tenant>) -> Result<Tenant, Fault> {
    let mut tenant = Tenant::new(named(TenantPath::parse(path))?);
    tenant.kind = "load-test".to_owned();
    tenant.source = Source::Api;
    let mut quota = Quota::default();
    if let Some(known) = known {
        (quota.guaranteed, quota.limit) = (levels(&known.guaranteed)?, levels(&known.limit)?);
        if let Some(weight) = known.weight {
            tenant.weight = (weight * f64::from(Tenant::WEIGHT_ONE)).round() as u32;
        }
    }
    tenant.quotas = vec![(named(Name::parse(&scenario.pool.name))?, quota)];
    Ok(tenant)
}

fn levels(of: &Amounts) -> Result<Option<Levels>, Fault> {
    let amounts = amounts(of)?;
    let levels = Levels::new(amounts.iter().map(|(name, amount)| (name.clone(), Level::Units(amount))));
    let levels = levels.map_err(|error| Fault::Usage(error.to_string()))?;
    Ok((!levels.is_empty()).then_some(levels))
}
