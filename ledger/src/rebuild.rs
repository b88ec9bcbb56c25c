//! After a change of configuration: every tree is grown anew, and every counter derived anew from the leases.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{Change, Class, Pool, Settings};
use crate::configure::Draft;
use crate::ledger::{LeaseRecord, Ledger, TenantIndex, Timer};
use crate::name::{Name, Resource, TenantPath};
use crate::pool::NodeId;
use crate::rate::RateState;
use crate::rows::Rows;
use crate::snapshot::PoolSnapshot;
use crate::time::Time;
use crate::tree::Ground;

impl Ledger {
    pub(crate) fn reconfigure(&mut self, now: Time, changes: &[Change]) {
        #[cfg(debug_assertions)]
        let before = self.is_small().then(|| self.clone());
        if !self.adjust(now, changes) {
            self.reconfigure_whole(now, changes);
            return;
        }
        #[cfg(debug_assertions)]
        if let Some(mut long) = before {
            long.reconfigure_whole(now, changes);
            self.assert_same_trees(&long);
        }
    }

    /// The long way: whatever changes.
    fn reconfigure_whole(&mut self, now: Time, changes: &[Change]) {
        let mut draft = Draft::of(self);
        for change in changes {
            let holding: BTreeSet<TenantPath> = match change {
                Change::DeleteTenant { path, .. } if !self.is_empty_tenant(path) => [path.clone()].into(),
                _ => BTreeSet::new(),
            };
            // What was asked for and posted in the same state is not refused.
            let _ = draft.apply(change, |path| holding.contains(path));
            self.revise(change);
        }
        draft.rate_members();
        self.take_settings(draft.settings, draft.classes, changes);
        let gone: Vec<TenantPath> =
            self.by_path.keys().filter(|path| !draft.tenants.contains_key(*path)).cloned().collect();
        for path in gone {
            if let Some(index) = self.by_path.remove(&path) {
                self.tenants[index as usize] = None;
            }
        }
        for (path, (spec, made)) in draft.tenants {
            match self.by_path.get(&path).copied() {
                Some(index) => {
                    if let Some(tenant) = &mut self.tenants[index as usize] {
                        tenant.set_spec(spec, now);
                        tenant.made = made;
                    }
                }
                None => {
                    self.insert_tenant(spec, made);
                }
            }
        }
        self.pool_revisions.retain(|name, _| draft.pools.contains_key(name));
        self.rebuild(now, draft.pools.into_values().collect());
    }

    /// Takes the settings and the classes; those that were put are revised.
    pub(crate) fn take_settings(&mut self, settings: Settings, classes: BTreeMap<Name, Class>, changes: &[Change]) {
        self.settings = settings;
        let old: BTreeMap<Name, u64> = self.classes.iter().map(|(name, (_, at))| (name.clone(), *at)).collect();
        self.classes = classes
            .into_iter()
            .map(|(name, class)| {
                let same = |change: &Change| matches!(change, Change::PutClass(put) if put.name == name);
                let revision =
                    if changes.iter().any(same) { self.posted } else { old.get(&name).copied().unwrap_or(0) };
                (name, (class, revision))
            })
            .collect();
    }

    /// Removes a tenant and all under it, none of which holds anything.
    pub(crate) fn remove_tenants(&mut self, now: Time, path: &TenantPath) {
        let gone: Vec<TenantPath> = self.by_path.keys().filter(|other| path.covers(other.as_str())).cloned().collect();
        for path in gone {
            if let Some(index) = self.by_path.remove(&path) {
                self.tenants[index as usize] = None;
            }
        }
        self.rebuild(now, self.pools.iter().map(|pool| pool.spec.clone()).collect());
    }

    pub(crate) fn revise(&mut self, change: &Change) {
        match change {
            Change::PutPool(Pool { name, .. })
            | Change::Capacity { pool: name, .. }
            | Change::Pause { pool: name, .. } => {
                self.pool_revisions.insert(name.clone(), self.posted);
            }
            Change::Enforce { pool, tenant, .. } if tenant.is_root() => {
                self.pool_revisions.insert(pool.clone(), self.posted);
            }
            Change::Enforce { tenant: path, .. } | Change::DeleteTenant { path, .. } => self.revise_tenant(path),
            Change::PutTenant(tenant) => self.revise_tenant(&tenant.path),
            Change::Settings(_) | Change::DeletePool(_) | Change::PutClass(_) | Change::DeleteClass(_) => {}
        }
    }

    fn revise_tenant(&mut self, path: &TenantPath) {
        let posted = self.posted;
        let index = self.by_path.get(path).copied();
        if let Some(tenant) = index.and_then(|index| self.tenants[index as usize].as_mut()) {
            tenant.revision = posted;
        }
    }

    /// Grows every tree anew, and counts everything anew.
    pub(crate) fn rebuild(&mut self, now: Time, specs: Vec<Pool>) {
        let mut kept: BTreeMap<Name, PoolSnapshot> =
            self.pools.iter().map(|pool| (pool.spec.name.clone(), self.pool_snapshot(pool))).collect();
        let pools = specs
            .into_iter()
            .map(|spec| match kept.remove(&spec.name) {
                Some(pool) => PoolSnapshot { spec, ..pool },
                None => PoolSnapshot::of(spec),
            })
            .collect();
        self.grow(pools);
        // A guarantee that changed may start or end a burst, and a member may be idle from now on.
        for at in 0..self.pools.len() {
            for node in 0..self.pools[at].nodes.len() as NodeId {
                if self.pools[at].node(node).burst.is_some() {
                    self.pools[at].pass_bursts(node, now);
                }
            }
        }
        let idle: Vec<TenantIndex> = (0..self.tenants.len() as TenantIndex)
            .filter(|index| self.tenant_at(*index).is_some_and(|tenant| tenant.made && tenant.idle.is_none()))
            .filter(|index| self.holding(*index) == 0)
            .collect();
        for index in idle {
            self.idle_from(index, now);
        }
    }

    /// Grows the trees of these pools, counts leases and tickets, and puts back what is not derived.
    pub(crate) fn grow(&mut self, mut pools: Vec<PoolSnapshot>) {
        pools.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
        let mut named: BTreeMap<Name, BTreeSet<Resource>> = BTreeMap::new();
        let leases = self.leases.values().map(|record| (&record.lease.request.pool, record.lease.resources()));
        let tickets = self.tickets.values().map(|record| (&record.ticket.request.pool, &record.ticket.resources));
        for (pool, resources) in leases.chain(tickets) {
            if !named.contains_key(pool) {
                named.insert(pool.clone(), BTreeSet::new());
            }
            let Some(names) = named.get_mut(pool) else { continue };
            for (name, amount) in resources.iter() {
                if amount > 0 && !names.contains(name) {
                    names.insert(name.clone());
                }
            }
        }
        self.retable();
        let order = self.order();
        let ground = Ground { settings: &self.settings, classes: &self.classes, tenants: &self.tenants, order: &order };
        let none = BTreeSet::new();
        self.pools = pools
            .iter()
            .map(|pool| ground.grow(pool.spec.clone(), named.get(&pool.spec.name).unwrap_or(&none)))
            .collect();
        self.timers = Rows::default();
        self.forget_turns();
        self.recount();
        for (at, pool) in pools.into_iter().enumerate() {
            self.take_pool(at, pool);
        }
    }

    /// Parents, children and what each tenant holds.
    fn retable(&mut self) {
        let parents: Vec<(TenantIndex, Option<TenantIndex>)> = self
            .by_path
            .iter()
            .map(|(path, index)| (*index, path.parent().and_then(|parent| self.by_path.get(&parent).copied())))
            .collect();
        for tenant in self.tenants.iter_mut().flatten() {
            (tenant.children, tenant.members) = (0, 0);
        }
        for (index, parent) in parents {
            let Some(tenant) = &mut self.tenants[index as usize] else { continue };
            tenant.parent = parent;
            let made = tenant.made;
            if let Some(above) = parent.and_then(|parent| self.tenants[parent as usize].as_mut()) {
                above.children += 1;
                above.members += u32::from(made);
            }
        }
        self.draining = self
            .tenants
            .iter()
            .flatten()
            .filter(|tenant| tenant.spec.draining)
            .map(|tenant| tenant.spec.path.clone())
            .collect();
    }

    /// The places of tenants in the order of their paths.
    pub(crate) fn order(&self) -> Vec<TenantIndex> {
        let mut order: Vec<_> = self.by_path.iter().collect();
        order.sort_unstable();
        order.into_iter().map(|(_, index)| *index).collect()
    }

    /// Counts leases and tickets anew, and sets their timers.
    fn recount(&mut self) {
        let mut leases: Vec<_> = std::mem::take(&mut self.leases).into_values().collect();
        leases.sort_unstable_by_key(|record| record.lease.id);
        for LeaseRecord { mut lease, charged, .. } in leases {
            let Some((pool, leaf)) = self.stands(&lease.request.pool, &lease.request.tenant) else {
                continue;
            };
            lease.held = self.pools[pool].hold_resources(lease.resources(), lease.count());
            if lease.rare().is_some() {
                let total = self.total(pool, &lease.held.ask);
                lease.set(|rare| {
                    rare.victim = None;
                    rare.charged.take_if(|charged| *charged == total);
                });
            }
            self.take_lease(LeaseRecord::new(lease, pool, leaf, charged));
        }
        let mut tickets: Vec<_> = std::mem::take(&mut self.tickets).into_values().collect();
        tickets.sort_unstable_by_key(|record| record.ticket.id);
        for mut record in tickets {
            let request = std::sync::Arc::clone(&record.ticket.request);
            let Some((pool, leaf)) = self.stands(&request.pool, &request.tenant) else { continue };
            (record.pool, record.leaf) = (pool, leaf);
            (record.claim, record.hold) = (None, None);
            record.shape.ask = self.pools[pool].name_resources(&record.ticket.resources, request.min_count);
            self.take_ticket(record);
        }
        for index in 0..self.tenants.len() {
            let holds = self.holding(index as TenantIndex) > 0;
            let Some(tenant) = &mut self.tenants[index] else { continue };
            for (number, budget) in tenant.budgets.iter().enumerate() {
                self.timers.insert((budget.ends, Timer::BudgetTurn(index as TenantIndex, number as u32)));
            }
            if holds {
                tenant.idle = None;
            }
            if let Some(idle) = tenant.idle {
                self.idle_from(index as TenantIndex, idle);
            }
        }
    }

    /// A member has held nothing since.
    fn idle_from(&mut self, index: TenantIndex, since: Time) {
        let Some(tenant) = &mut self.tenants[index as usize] else { return };
        tenant.idle = Some(since);
        let keep = tenant.parent.and_then(|parent| self.member_keep(parent)).unwrap_or_default();
        self.timers.insert((since.after(keep), Timer::MemberEnd(index)));
    }

    fn stands(&self, pool: &Name, tenant: &TenantPath) -> Option<(usize, NodeId)> {
        let at = self.pool_index(pool.as_str())?;
        let node = self.pools[at].of_tenant[*self.by_path.get(tenant)? as usize]?;
        Some((at, self.pools[at].node(node).own_child().unwrap_or(node)))
    }
}

impl crate::ledger::TenantState {
    /// Replaces what is configured; budgets and rates that are still there keep what is charged to them.
    fn set_spec(&mut self, spec: crate::config::Tenant, now: Time) {
        let rates = std::mem::take(&mut self.rates);
        self.rates = spec.rates.iter().map(|spec| RateState::after(spec.clone(), &rates, now)).collect();
        let old = std::mem::take(&mut self.budgets);
        self.budgets = spec
            .budgets
            .iter()
            .map(|spec| {
                let same = old.iter().find(|budget| {
                    budget.spec.name == spec.name
                        && budget.spec.resource == spec.resource
                        && budget.spec.period == spec.period
                        && budget.spec.time_zone == spec.time_zone
                });
                let (used, started, ends) =
                    same.map_or((0, Time::EPOCH, Time::EPOCH), |budget| (budget.used, budget.started, budget.ends));
                crate::ledger::BudgetState { spec: spec.clone(), used, started, ends }
            })
            .collect();
        self.spec = spec;
    }
}
