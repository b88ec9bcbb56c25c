//! Changes of configuration: all of it or nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::amount::{AMOUNT_MAX, Level};
use crate::config::{Budget, Change, Class, Pool, Quota, Rate, Settings, Tenant};
use crate::decision::{Configured, Problem};
use crate::entry::Entry;
use crate::ledger::Ledger;
use crate::name::{LEVELS_MAX, Name, Resource, TenantPath};
use crate::pool::SLOTS_MAX;
use crate::request::SPAN_MAX;
use crate::time::Time;
use crate::tree::Resolved;

/// Pools of one cell: every decision of the cell looks after all of them.
pub const POOLS_MAX: usize = 64;
/// Tenants of one cell.
pub const TENANTS_MAX: usize = 2_000_000;
/// Budgets of one tenant: a decision looks at each.
pub const BUDGETS_MAX: usize = 16;
/// Rates of one tenant, and of each of its members: a decision looks at each.
pub const RATES_MAX: usize = 16;
/// The largest weight, in thousandths.
pub const WEIGHT_MAX: u32 = 1_000_000_000;
/// Tickets that a pool may have waiting.
pub const QUEUED_MAX: u32 = 10_000_000;
/// The shortest turn of a hold, where one is ever over: whatever ends, ends more seldom.
pub(crate) const HOLD_FOR_MIN: Duration = Duration::from_secs(1);

/// The whole configuration, as it is being changed.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) settings: Settings,
    pub(crate) classes: BTreeMap<Name, Class>,
    pub(crate) pools: BTreeMap<Name, Pool>,
    /// With whether it is a member, made on first use.
    pub(crate) tenants: BTreeMap<TenantPath, (Tenant, bool)>,
}

impl Draft {
    pub(crate) fn of(ledger: &Ledger) -> Self {
        let tenants = ledger.tenants.iter().flatten();
        let tenants = tenants.map(|tenant| (tenant.spec.path.clone(), (tenant.spec.clone(), tenant.made)));
        Self { tenants: tenants.collect(), ..Self::without_tenants(ledger) }
    }

    pub(crate) fn without_tenants(ledger: &Ledger) -> Self {
        Self {
            settings: ledger.settings.clone(),
            classes: ledger.classes.iter().map(|(name, (class, _))| (name.clone(), class.clone())).collect(),
            pools: ledger.pools.iter().map(|pool| (pool.spec.name.clone(), pool.spec.clone())).collect(),
            tenants: BTreeMap::new(),
        }
    }

    /// Applies one change; `holding` tells whether a tenant has leases or tickets.
    pub(crate) fn apply(&mut self, change: &Change, holding: impl Fn(&TenantPath) -> bool) -> Result<(), Problem> {
        match change {
            Change::Settings(settings) => self.settings = settings.clone(),
            Change::PutPool(pool) => {
                let before = self.pools.insert(pool.name.clone(), pool.clone());
                // One that was set when shorter turns were allowed stays as it is.
                let said = before.is_none_or(|before| before.hold_for != pool.hold_for);
                if said && !pool.hold_for.is_zero() && pool.hold_for < HOLD_FOR_MIN {
                    let why = "hold_for is shorter than a second, and the journal would grow with every turn of a hold: \
                               say 1s or more, or 0s, where a turn is never over";
                    return Err(problem("pool", &pool.name, why));
                }
            }
            Change::DeletePool(name) => {
                self.pools.remove(name).ok_or_else(|| problem("pool", name, "there is none of that name"))?;
            }
            Change::PutClass(class) => {
                self.classes.insert(class.name.clone(), class.clone());
            }
            Change::DeleteClass(name) => {
                self.classes.remove(name).ok_or_else(|| problem("class", name, "there is none of that name"))?;
            }
            Change::PutTenant(tenant) => {
                self.tenants.insert(tenant.path.clone(), (tenant.clone(), false));
            }
            Change::DeleteTenant { path, drain } => {
                if !self.tenants.contains_key(path) {
                    return Err(problem("tenant", path, "there is none of that path"));
                }
                if !holding(path) {
                    self.tenants.retain(|other, _| !path.covers(other.as_str()));
                } else if *drain {
                    if let Some((tenant, _)) = self.tenants.get_mut(path) {
                        tenant.draining = true;
                    }
                } else {
                    return Err(problem("tenant", path, "it has leases or tickets: drain it, or end them first"));
                }
            }
            Change::Capacity { pool, capacity, unavailable } => {
                let spec = self.pool_mut(pool)?;
                let merge = |old: &crate::Amounts, new: &crate::Amounts| {
                    crate::Amounts::new(
                        old.iter()
                            .filter(|(name, _)| new.get(name.as_str()).is_none())
                            .chain(new.iter())
                            .map(|(name, amount)| (name.clone(), amount)),
                    )
                };
                spec.capacity = merge(&spec.capacity, capacity).map_err(|e| problem("pool", pool, &e.to_string()))?;
                spec.unavailable =
                    merge(&spec.unavailable, unavailable).map_err(|e| problem("pool", pool, &e.to_string()))?;
            }
            Change::Pause { pool, paused } => self.pool_mut(pool)?.paused = *paused,
            Change::Enforce { pool, tenant, enforce } => {
                if tenant.is_root() {
                    self.pool_mut(pool)?.enforce = enforce.unwrap_or_default();
                } else {
                    self.pool_mut(pool)?;
                    let (spec, _) = self
                        .tenants
                        .get_mut(tenant)
                        .ok_or_else(|| problem("tenant", tenant, "there is none of that path"))?;
                    let quota = spec.quotas.iter_mut().find(|(name, _)| name == pool);
                    let (_, quota) =
                        quota.ok_or_else(|| problem("tenant", tenant, &format!("it has no quota in pool {pool}")))?;
                    quota.enforce = *enforce;
                }
            }
        }
        Ok(())
    }

    /// Members have the rates that their parent says now.
    pub(crate) fn rate_members(&mut self) {
        let says = |tenant: &Tenant| tenant.members.as_ref().map(|members| members.rates.clone());
        let rates: BTreeMap<TenantPath, _> =
            self.tenants.iter().filter_map(|(path, (tenant, _))| Some((path.clone(), says(tenant)?))).collect();
        for (path, (tenant, _)) in self.tenants.iter_mut().filter(|(_, (_, made))| *made) {
            tenant.rates = path.parent().and_then(|parent| rates.get(&parent).cloned()).unwrap_or_default();
        }
    }

    fn pool_mut(&mut self, name: &Name) -> Result<&mut Pool, Problem> {
        self.pools.get_mut(name).ok_or_else(|| problem("pool", name, "there is none of that name"))
    }
}

fn problem(kind: &str, name: &impl std::fmt::Display, why: &str) -> Problem {
    Problem { object: format!("{kind} {name}"), why: why.to_owned() }
}

impl Ledger {
    /// Asks for a change of configuration: all of it or nothing.
    pub fn configure(&self, _now: Time, changes: Vec<Change>) -> Result<Configured, Vec<Problem>> {
        // What nobody says, but what comes and goes by itself, is no reason to refuse it.
        let shaped = changes.iter().any(|change| match change {
            Change::Settings(_)
            | Change::PutPool(_)
            | Change::DeletePool(_)
            | Change::PutClass(_)
            | Change::DeleteClass(_)
            | Change::PutTenant(_)
            | Change::DeleteTenant { .. } => true,
            Change::Capacity { .. } | Change::Pause { .. } | Change::Enforce { .. } => false,
        });
        let mut draft = match self.draft_of_some(&changes) {
            Some(draft) if !shaped => draft,
            _ => Draft::of(self),
        };
        let mut problems = Vec::new();
        for change in &changes {
            if let Err(problem) = draft.apply(change, |path| !self.is_empty_tenant(path)) {
                problems.push(problem);
            }
            if let Change::DeletePool(name) = change
                && let Some(at) = self.pool_index(name.as_str())
                && self.pool_at(at).node(crate::pool::ROOT).running + self.pool_at(at).node(crate::pool::ROOT).waiting
                    > 0
            {
                problems.push(problem("pool", name, "it has leases or tickets: end them first"));
            }
        }
        let mut check = Check { draft: &draft, problems, warnings: Vec::new() };
        check.sizes();
        if shaped {
            check.all();
        }
        if check.problems.is_empty() {
            Ok(Configured { entry: Entry::Configured(changes), warnings: check.warnings })
        } else {
            Err(check.problems)
        }
    }
}

/// Looks through a configuration for what is wrong with it.
struct Check<'a> {
    draft: &'a Draft,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

/// What the children of a node sum up to, of one resource.
#[derive(Clone, Copy)]
struct Sums {
    guaranteed: i128,
    made: i128,
}

impl Check<'_> {
    fn refuse(&mut self, kind: &str, name: &impl std::fmt::Display, why: &str) {
        self.problems.push(problem(kind, name, why));
    }

    fn warn(&mut self, kind: &str, name: &impl std::fmt::Display, why: &str) {
        self.warnings.push(problem(kind, name, why));
    }

    fn sizes(&mut self) {
        if self.draft.pools.len() > POOLS_MAX {
            self.refuse("cell", &"", &format!("it has more than {POOLS_MAX} pools"));
        }
        if self.draft.tenants.len() > TENANTS_MAX {
            self.refuse("cell", &"", &format!("it has more than {TENANTS_MAX} tenants"));
        }
    }

    fn all(&mut self) {
        let draft = self.draft;
        for (name, class) in &draft.classes {
            if class.quota.class.is_some() {
                self.refuse("class", name, "a class names no class itself");
            }
        }
        for (name, pool) in &draft.pools {
            self.pool(name, pool);
        }
        for (path, (tenant, _)) in &draft.tenants {
            self.tenant(path, tenant);
        }
        for pool in draft.pools.values() {
            self.tree(pool);
        }
    }

    fn pool(&mut self, name: &Name, pool: &Pool) {
        let spans = [
            ("half_life", pool.half_life),
            ("age_step", pool.age_step),
            ("hold_after", pool.hold_after),
            ("hold_for", pool.hold_for),
            ("max_wait", pool.max_wait),
            ("grace", pool.grace),
            ("min_runtime", pool.min_runtime),
            ("lease_ttl", pool.lease_ttl),
            ("confirm_within", pool.confirm_within),
            ("ticket_ttl", pool.ticket_ttl),
        ];
        for (field, span) in spans {
            if span > SPAN_MAX {
                self.refuse("pool", name, &format!("{field} is longer than a hundred years"));
            }
        }
        if pool.ticket_ttl > SPAN_MAX / 10 {
            self.refuse("pool", name, "ticket_ttl is longer than ten years, and a ticket ends after ten times as long");
        }
        if pool.half_life > Duration::ZERO && pool.half_life < Duration::from_secs(1) {
            self.refuse("pool", name, "half_life is shorter than a second");
        }
        if pool.max_queued > QUEUED_MAX {
            self.refuse("pool", name, &format!("max_queued is above {QUEUED_MAX}"));
        }
        for (resource, amount) in pool.unavailable.iter() {
            if pool.capacity.get(resource.as_str()).is_none_or(|capacity| amount > capacity) {
                self.warn("pool", name, &format!("more of {resource} is unavailable than there is capacity"));
            }
        }
    }

    fn tenant(&mut self, path: &TenantPath, tenant: &Tenant) {
        let draft = self.draft;
        if path.depth() > LEVELS_MAX {
            self.refuse("tenant", path, &format!("it has more than {LEVELS_MAX} levels"));
        }
        if let Some(parent) = path.parent().filter(|parent| !parent.is_root())
            && !draft.tenants.contains_key(&parent)
        {
            self.refuse("tenant", path, &format!("there is no tenant {parent} above it"));
        }
        if tenant.weight > WEIGHT_MAX {
            self.refuse("tenant", path, &format!("its weight is above {}", WEIGHT_MAX / Tenant::WEIGHT_ONE));
        }
        for (pool, quota) in &tenant.quotas {
            if !draft.pools.contains_key(pool) {
                self.refuse("tenant", path, &format!("it has a quota in pool {pool}, which there is not"));
            }
            self.class_is_there(path, quota.class.as_ref());
        }
        if let Some(pair) = tenant.quotas.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
            self.refuse(
                "tenant",
                path,
                &format!("its quotas are not in the order of pools, each once, at {}", pair[1].0),
            );
        }
        if tenant.budgets.len() > BUDGETS_MAX {
            self.refuse("tenant", path, &format!("it has more than {BUDGETS_MAX} budgets"));
        }
        for (at, Budget { name, amount, .. }) in tenant.budgets.iter().enumerate() {
            if tenant.budgets[..at].iter().any(|other| other.name == *name) {
                self.refuse("tenant", path, &format!("it has two budgets {name}"));
            }
            if *amount > crate::amount::AMOUNT_MAX {
                self.refuse("tenant", path, &format!("budget {name} is above {}", crate::amount::AMOUNT_MAX));
            }
        }
        self.rates(path, "", &tenant.rates);
        if let Some(members) = &tenant.members {
            self.rates(path, "its members' ", &members.rates);
            for rate in &members.rates {
                if let Some(span) = rate.whole_after().filter(|span| members.keep < *span) {
                    let why = format!(
                        "its members are kept for less than the {} s that all of their rate {} takes to come back: keep \
                         them for longer, so that none begins anew before that",
                        span.as_secs() + u64::from(span.subsec_nanos() > 0),
                        rate.name
                    );
                    self.refuse("tenant", path, &why);
                }
            }
            self.class_is_there(path, members.class.as_ref());
            if path.depth() >= LEVELS_MAX {
                self.refuse("tenant", path, &format!("its members would have more than {LEVELS_MAX} levels"));
            }
            if members.keep > SPAN_MAX {
                self.refuse("tenant", path, "its members are kept for longer than a hundred years");
            }
        }
    }

    fn rates(&mut self, path: &TenantPath, whose: &str, rates: &[Rate]) {
        if rates.len() > RATES_MAX {
            self.refuse("tenant", path, &format!("{whose}rates are {}, at most {RATES_MAX} may be", rates.len()));
        }
        for (at, Rate { name, resource: _, amount, per, burst, on_exceed: _ }) in rates.iter().enumerate() {
            let mut refuse = |why: &str| self.refuse("tenant", path, &format!("{whose}rate {name} {why}"));
            if rates[..at].iter().any(|other| other.name == *name) {
                refuse("is given twice");
            }
            if (*amount).max(*burst) > AMOUNT_MAX {
                refuse(&format!("is above {AMOUNT_MAX}"));
            }
            if per.is_zero() {
                refuse("is per no time at all: say per how long");
            }
            if *per > SPAN_MAX {
                refuse("is per longer than a hundred years");
            }
            match (*amount, *burst) {
                (0, 0) | (1.., 1..) => {}
                (0, 1..) => refuse("is 0 with a burst above it, which would never come back: let the burst be 0 too"),
                (1.., 0) => refuse("has a burst of 0, which nothing passes: say at least 1, or let the rate be 0 too"),
            }
        }
    }

    fn class_is_there(&mut self, path: &TenantPath, class: Option<&Name>) {
        if let Some(class) = class
            && !self.draft.classes.contains_key(class)
        {
            self.refuse("tenant", path, &format!("it names class {class}, which there is not"));
        }
    }

    fn quota<'a>(&self, draft: &'a Draft, tenant: &'a Tenant, pool: &Pool) -> (Option<&'a Quota>, Option<&'a Quota>) {
        let quota = tenant.quota(pool.name.as_str());
        let class = quota.and_then(|quota| quota.class.as_ref()).and_then(|name| draft.classes.get(name));
        (quota, class.map(|class| &class.quota))
    }

    /// What contradicts itself in a pool's tree.
    fn tree(&mut self, pool: &Pool) {
        let draft = self.draft;
        let mut names: std::collections::BTreeSet<&Resource> = pool.capacity.iter().map(|(name, _)| name).collect();
        let capacity_named = names.clone();
        for (tenant, _) in draft.tenants.values() {
            let (own, class) = self.quota(draft, tenant, pool);
            names.extend(Resolved::of(own, class).names());
        }
        if names.len() > SLOTS_MAX / 2 {
            self.refuse("pool", &pool.name, &format!("more than {} resources are named in it", SLOTS_MAX / 2));
            return;
        }
        for resource in names {
            self.resource(pool, resource, capacity_named.contains(resource));
        }
    }

    fn resource(&mut self, pool: &Pool, resource: &Resource, counted: bool) {
        let draft = self.draft;
        let name = resource.as_str();
        let capacity = pool.capacity.get(name).unwrap_or(0);
        // Children come after their parents in the order of paths: backwards, their sums are known first.
        let mut sums: BTreeMap<TenantPath, Sums> = BTreeMap::new();
        for (path, (tenant, made)) in draft.tenants.iter().rev() {
            let (own, class) = self.quota(draft, tenant, pool);
            let quota = Resolved::of(own, class);
            let units = |level: Option<Level>| level.map(|level| i128::from(level.of(capacity)));
            let children = sums.remove(path).unwrap_or(Sums { guaranteed: 0, made: 0 });
            let said = units(quota.guaranteed(name));
            let guaranteed = said.unwrap_or(children.guaranteed);
            let limit = units(quota.limit(name));
            if said.is_some() && !counted && !*made {
                self.warn(
                    "tenant",
                    path,
                    &format!("it is guaranteed {resource}, which the capacity of pool {} does not name", pool.name),
                );
            }
            if !pool.overcommit {
                if said.is_some_and(|said| children.guaranteed > said) {
                    let why = format!(
                        "its children are guaranteed {} of {resource} in pool {}, more than its own {guaranteed}: guarantee it more, them less, or say overcommit",
                        children.guaranteed, pool.name
                    );
                    self.refuse("tenant", path, &why);
                }
                if let Some(limit) = limit.filter(|limit| children.guaranteed > *limit) {
                    let why = format!(
                        "its children are guaranteed {} of {resource} in pool {}, more than its limit of {limit}",
                        children.guaranteed, pool.name
                    );
                    self.refuse("tenant", path, &why);
                }
            }
            if let (Some(said), Some(limit)) = (said, limit)
                && said > limit
            {
                let why =
                    format!("it is guaranteed {said} of {resource} in pool {}, above its limit of {limit}", pool.name);
                self.refuse("tenant", path, &why);
            }
            if let Some(lendable) = units(quota.lendable(name))
                && lendable > guaranteed
                && !*made
            {
                let why = format!(
                    "it lends {lendable} of {resource} in pool {}, more than the {guaranteed} it is guaranteed",
                    pool.name
                );
                self.refuse("tenant", path, &why);
            }
            if let Some(parent) = path.parent() {
                let above = sums.entry(parent).or_insert(Sums { guaranteed: 0, made: 0 });
                if *made {
                    above.made += guaranteed;
                } else {
                    above.guaranteed += guaranteed;
                }
            }
        }
        let top = sums.remove(&TenantPath::root()).map_or(0, |sums| sums.guaranteed);
        if counted && top > i128::from(capacity) {
            let why = format!("its tenants are guaranteed {top} of {resource}, more than its capacity of {capacity}");
            self.warn("pool", &pool.name, &why);
        }
    }
}
