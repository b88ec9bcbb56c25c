//! Changes of configuration that leave everybody at their places, taken in where they are.
//!
//! A tree that is grown anew counts every lease again, and holds up for as long whoever is decided on. Most changes need
//! not: capacity comes and goes, a quota or a weight is another, a tenant comes. Then the tree stays; what its nodes are
//! told and what they have is set anew, from the root down, and what is held stays counted as it is.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{Change, Pool, Tenant};
use crate::configure::Draft;
use crate::found::layout_of;
use crate::ledger::{Ledger, TenantIndex, Timer};
use crate::name::TenantPath;
use crate::pool::{NodeId, PoolState, ROOT};
use crate::time::Time;
use crate::tree::{Ground, Told};

impl Ledger {
    /// Takes in changes in place, where that can be; says whether it could.
    pub(crate) fn adjust(&mut self, now: Time, changes: &[Change]) -> bool {
        let Some(mut draft) = self.draft_of_some(changes) else { return false };
        for change in changes {
            // What was asked for and posted in the same state is not refused.
            let _ = draft.apply(change, |_| false);
        }
        if !self.keeps_places(&draft) {
            return false;
        }
        changes.iter().for_each(|change| self.revise(change));
        self.take_settings(draft.settings, draft.classes, changes);
        let rates = self.tenants.iter_mut().flatten().flat_map(|tenant| &mut tenant.rates);
        rates.for_each(|rate| rate.retell(now));
        let mut new = Vec::new();
        for (path, (spec, _)) in draft.tenants {
            match self.by_path.get(&path).copied() {
                Some(index) => {
                    if let Some(tenant) = &mut self.tenants[index as usize] {
                        tenant.spec = spec;
                    }
                }
                None => new.push(self.insert_tenant(spec, false)),
            }
        }
        for index in &new {
            let budgets = self.tenant_at(*index).map_or(0, |tenant| tenant.budgets.len());
            // Their first period begins at once.
            let turn = |number| (Time::EPOCH, Timer::BudgetTurn(*index, number as u32));
            self.timers.extend((0..budgets).map(turn));
        }
        let Self { settings, classes, tenants, pools, .. } = self;
        let ground = Ground { settings, classes, tenants, order: &[] };
        for pool in pools {
            if let Some(spec) = draft.pools.remove(&pool.spec.name) {
                pool.spec = spec;
            }
            ground.adjust(pool, &new, now);
        }
        true
    }

    /// A draft of the objects that changes name; none where that may not be all that they change.
    pub(crate) fn draft_of_some(&self, changes: &[Change]) -> Option<Draft> {
        let mut tenants = BTreeMap::new();
        let mut draft_tenant = |path: &TenantPath| {
            let tenant = self.tenant_index(path.as_str()).and_then(|index| self.tenant_at(index));
            tenants.extend(tenant.map(|tenant| (path.clone(), (tenant.spec.clone(), tenant.made))));
        };
        for change in changes {
            match change {
                Change::PutTenant(Tenant { path, .. }) | Change::Enforce { tenant: path, .. } => draft_tenant(path),
                Change::Settings(_)
                | Change::PutPool(_)
                | Change::PutClass(_)
                | Change::DeleteClass(_)
                | Change::Capacity { .. }
                | Change::Pause { .. } => {}
                Change::DeletePool(_) | Change::DeleteTenant { .. } => return None,
            }
        }
        Some(Draft { tenants, ..Draft::without_tenants(self) })
    }

    /// Whether what is drafted changes neither where anybody stands, nor what waits for time.
    fn keeps_places(&self, draft: &Draft) -> bool {
        let same_pool = |after: &Pool| {
            let Some(at) = self.pool_index(after.name.as_str()) else { return false };
            let Pool { capacity, unavailable, enforce, paused, source, .. } = after.clone();
            Pool { capacity, unavailable, enforce, paused, source, ..self.pool_at(at).spec.clone() } == *after
        };
        let is_inner = |tenant: &Tenant, children: u32| tenant.members.is_some() || children > 0;
        let same_place = |(path, (after, made)): (&TenantPath, &(Tenant, bool))| {
            if let Some(before) = self.tenant_index(path.as_str()).and_then(|index| self.tenant_at(index)) {
                let Tenant { budgets, rates, members, draining, .. } = &before.spec;
                return (budgets, rates, members) == (&after.budgets, &after.rates, &after.members)
                    && (*draining, before.made) == (after.draining, *made);
            }
            // The requests of one that has had no children would go elsewhere from now on.
            let Some(parent) = path.parent().filter(|parent| !parent.is_root()) else { return !after.draining };
            let above = self.tenant_index(parent.as_str()).and_then(|index| self.tenant_at(index));
            let above =
                above.map_or(draft.tenants.contains_key(&parent), |above| is_inner(&above.spec, above.children));
            above && !after.draining
        };
        draft.pools.values().all(same_pool) && draft.tenants.iter().all(same_place)
    }
}

impl Ground<'_> {
    /// Sets a tree to what is configured now, with tenants that are new.
    fn adjust(&self, pool: &mut PoolState, new: &[TenantIndex], now: Time) {
        let mut slots: BTreeSet<_> = pool.configured().collect();
        self.name_configured(pool);
        slots.extend(pool.configured());
        for index in new {
            self.plant(pool, *index);
        }
        pool.layout = layout_of(&pool.spec.name);
        self.tell(pool, ROOT);
        slots.into_iter().for_each(|slot| self.level_one(pool, ROOT, slot));
        pool.rebase(ROOT);
        pool.forget_unnamed();
        // A guarantee that changed may start or end a burst.
        for node in 0..pool.nodes.len() as NodeId {
            if pool.node(node).burst.is_some() {
                pool.pass_bursts(node, now);
            }
        }
        pool.opened = pool.held.clone();
        pool.claims.book.spoil();
    }

    /// Makes the resources that are configured now known as such, and the others not.
    fn name_configured(&self, pool: &mut PoolState) {
        let configured = self.configured_names(&pool.spec);
        for name in &configured {
            if pool.slot(name.as_str()).is_none() {
                pool.know(name.clone());
            }
        }
        let spec = &pool.spec;
        for known in pool.known.iter_mut().flatten() {
            known.configured = configured.contains(&known.name);
            known.capacity = spec.capacity.get(known.name.as_str()).map(|amount| amount as i64);
            known.stored = self.stored(known.name.as_str());
        }
    }

    /// Tells the tenants under a node what they are, and counts where they stand.
    fn tell(&self, pool: &mut PoolState, above: NodeId) {
        for at in 0..pool.node(above).children.len() {
            let child = pool.node(above).children[at];
            let Some(index) = pool.node(child).tenant.filter(|_| !pool.node(child).own) else { continue };
            let told = self.told(pool.node(above), index, &pool.spec.name);
            pool.retell(child, told);
            if let Some(own) = pool.node(child).own_child() {
                pool.retell(own, told.for_own());
            }
            pool.pass_layout(child, true);
            self.tell(pool, child);
        }
    }
}

impl PoolState {
    /// A node is told anew what it is; what is running in its burst goes on in the new one.
    fn retell(&mut self, node: NodeId, told: Told) {
        let here = &mut self.nodes[node as usize];
        let before = here.burst;
        here.take(told);
        if before == here.burst {
            return;
        }
        let state = std::mem::take(&mut here.bursting);
        self.bursting.remove(&node);
        if let Some(ends) = before.and_then(|burst| state.ends(burst)) {
            self.burst_ends.remove(&(ends, node));
        }
        self.set_burst(node, state);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::config::{Budget, Calendar, Change, Lifecycle, Members, Period, Pool, Quota, Tenant};
    use crate::name::{Name, RequestId, Resource, TenantPath};
    use crate::{Amounts, Ledger, Level, Levels, Outcome, Request, Time, UtcDays};

    fn name(text: &str) -> Name {
        Name::parse(text).expect("a name")
    }

    fn amounts(of: &[(&str, u64)]) -> Amounts {
        Amounts::new(of.iter().map(|(name, amount)| (Resource::parse(name).expect("a name"), *amount)))
            .expect("amounts")
    }

    fn tenant(path: &str, guaranteed: &[(&str, u64)]) -> Tenant {
        let levels = amounts(guaranteed);
        let levels = levels.iter().map(|(name, amount)| (name.clone(), Level::Units(amount)));
        let quota = Quota { guaranteed: Some(Levels::new(levels).expect("levels")), ..Quota::default() };
        let tenant = Tenant::new(TenantPath::parse(path).expect("a path"));
        Tenant { quotas: vec![(name("default"), quota)], ..tenant }
    }

    fn capacity(of: &[(&str, u64)]) -> Change {
        Change::Capacity { pool: name("default"), capacity: amounts(of), unavailable: Amounts::default() }
    }

    /// Two inner tenants with a team each, one that has borrowed from the other, and a ticket that claims.
    fn ledger() -> Ledger {
        let mut ledger = Ledger::new();
        let pool = Pool { capacity: amounts(&[("cpu", 8)]), ..Pool::new(name("default")) };
        let mut changes = vec![Change::PutPool(pool)];
        for (path, guaranteed) in [("a", 4), ("a/one", 4), ("b", 4), ("b/one", 2), ("lone", 0)] {
            changes.push(Change::PutTenant(tenant(path, &[("cpu", guaranteed)])));
        }
        configure(&mut ledger, changes);
        for (id, path, cpu, outcome) in [("r1", "a/one", 7, Outcome::Allow), ("r2", "b/one", 2, Outcome::Queue)] {
            let path = TenantPath::parse(path).expect("a path");
            let request =
                Request::new(RequestId::parse(id).expect("an id"), path, name("default"), amounts(&[("cpu", cpu)]));
            let decision = ledger.admit(Time::EPOCH, &Arc::new(request)).expect("well-formed");
            assert_eq!(decision.outcome, outcome);
            ledger.post(Time::EPOCH, &decision.entry.expect("new"));
            settle(&mut ledger, &UtcDays);
        }
        ledger
    }

    fn configure(ledger: &mut Ledger, changes: Vec<Change>) {
        let configured = ledger.configure(Time::EPOCH, changes).expect("a configuration");
        ledger.post(Time::EPOCH, &configured.entry);
        settle(ledger, &UtcDays);
    }

    fn settle(ledger: &mut Ledger, calendar: &dyn Calendar) {
        while let Some(entry) = ledger.due(Time::EPOCH, calendar) {
            ledger.post(Time::EPOCH, &entry);
        }
    }

    /// Posts the changes, which compares both ways, and says whether they could be taken in place.
    fn in_place(ledger: &mut Ledger, changes: Vec<Change>) -> bool {
        let in_place = ledger.clone().adjust(Time::EPOCH, &changes);
        configure(ledger, changes);
        assert_eq!(ledger.audit(Time::EPOCH, &[]), []);
        in_place
    }

    #[test]
    fn what_leaves_everybody_at_their_places_is_taken_in_place() {
        let mut ledger = ledger();
        let here = |ledger: &mut Ledger, change| assert!(in_place(ledger, vec![change]));
        here(&mut ledger, capacity(&[("cpu", 6)]));
        here(&mut ledger, capacity(&[("cpu", 12), ("gpu", 2)]));
        here(&mut ledger, Change::Pause { pool: name("default"), paused: true });
        here(&mut ledger, Change::Pause { pool: name("default"), paused: false });
        here(&mut ledger, Change::PutTenant(Tenant { weight: 0, ..tenant("a/one", &[("cpu", 3), ("disk", 9)]) }));
        here(
            &mut ledger,
            Change::PutTenant(Tenant { lifecycle: Lifecycle::Archived, ..tenant("b/one", &[("cpu", 1)]) }),
        );
        here(&mut ledger, Change::PutTenant(tenant("a/one", &[("cpu", 3)])));
        // New ones, and one under another that is new.
        here(&mut ledger, Change::PutTenant(tenant("a/two", &[("cpu", 1)])));
        let members = Members { class: None, kind: "user".into(), max: 5, keep: Default::default(), rates: Vec::new() };
        let budget = Budget {
            name: name("month"),
            resource: Resource::parse("cpu").expect("a name"),
            amount: 100,
            period: Period::Month,
            time_zone: "UTC".into(),
            on_exceed: Default::default(),
        };
        let club = Tenant { members: Some(members), budgets: vec![budget], ..tenant("club", &[("cpu", 1)]) };
        assert!(in_place(&mut ledger, vec![Change::PutTenant(club), Change::PutTenant(tenant("club/own", &[]))]));
        let before = ledger.tenants.iter().flatten().count();
        assert_eq!(before, 8);
    }

    #[test]
    fn what_moves_somebody_is_not() {
        let mut ledger = ledger();
        // Requests of its own would go to another leaf from now on.
        assert!(!in_place(&mut ledger, vec![Change::PutTenant(tenant("lone/one", &[]))]));
        assert!(!in_place(&mut ledger, vec![Change::PutPool(Pool::new(name("other")))]));
        let pool =
            Pool { capacity: amounts(&[("cpu", 8)]), max_wait: Default::default(), ..Pool::new(name("default")) };
        assert!(!in_place(&mut ledger, vec![Change::PutPool(pool)]));
        let path = TenantPath::parse("lone/one").expect("a path");
        assert!(!in_place(&mut ledger, vec![Change::DeleteTenant { path, drain: false }]));
    }
}
