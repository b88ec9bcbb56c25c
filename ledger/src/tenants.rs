//! Tenants: who comes under them and leaves, and members, who come with their first request and go when they are idle.

use std::time::Duration;

use crate::config::Tenant;
use crate::ledger::{BudgetState, Ledger, PoolIndex, TenantIndex, TenantState, Timer};
use crate::name::{Holder, TenantPath};
use crate::pool::{NodeId, Slot};
use crate::rate::RateState;
use crate::request::{Id, Request};
use crate::requests::{RequestKey, TenantSerial};
use crate::time::Time;
use crate::tree::Ground;

impl Ledger {
    /// Where a request goes, and what it is known by; makes the member it is of.
    pub(crate) fn take_place(&mut self, request: &Request) -> Option<(PoolIndex, NodeId, RequestKey)> {
        let pool = self.pool_index(request.pool.as_str())?;
        let mut leaf = self.leaf(pool, &request.tenant).ok()?;
        if leaf.unmade.is_some() {
            self.make_member(&request.tenant)?;
            leaf = self.leaf(pool, &request.tenant).ok()?;
        }
        let serial = self.pools[pool].node(leaf.node).serial;
        Some((pool, leaf.node, RequestKey::of(serial, request.id.as_bytes())))
    }

    /// A request comes under its tenant and its holder.
    pub(crate) fn enter(&mut self, at: PoolIndex, leaf: NodeId, request: &Request, key: RequestKey, id: Id) {
        if let Some(holder) = &request.holder {
            self.holders.entry(holder.clone()).or_default().insert(id);
        }
        let node = self.pools[at].node(leaf);
        let (index, made) = (node.tenant, node.made);
        self.requests.insert(key, id);
        let mut next = index.filter(|_| made);
        while let Some(index) = next {
            let Some(tenant) = &mut self.tenants[index as usize] else { break };
            next = tenant.parent;
            if let Some(idle) = tenant.idle.take() {
                let keep = tenant.parent.and_then(|parent| self.member_keep(parent)).unwrap_or_default();
                self.timers.remove(&(idle.after(keep), Timer::MemberEnd(index)));
            }
        }
    }

    pub(crate) fn hand_over(&mut self, id: Id, old: Option<&Holder>, new: &Holder) {
        if let Some(old) = old {
            self.leave_holder(id, old);
        }
        self.holders.entry(new.clone()).or_default().insert(id);
    }

    pub(crate) fn leave_holder(&mut self, id: Id, holder: &Holder) {
        if let Some(held) = self.holders.get_mut(holder) {
            held.remove(&id);
            if held.is_empty() {
                self.holders.remove(holder);
            }
        }
    }

    /// A lease or a ticket left: a member that holds nothing any more goes after a while.
    pub(crate) fn leave_tenants(&mut self, now: Time, at: PoolIndex, leaf: NodeId) {
        let node = self.pools[at].node(leaf);
        let mut next = node.tenant.filter(|_| node.made);
        while let Some(index) = next {
            let idle = self.holding(index) == 0;
            let Some(tenant) = &mut self.tenants[index as usize] else { break };
            next = tenant.parent;
            if tenant.made && idle {
                tenant.idle = Some(now);
                let keep = next.and_then(|parent| self.member_keep(parent)).unwrap_or_default();
                self.timers.insert((now.after(keep), Timer::MemberEnd(index)));
            }
        }
    }

    /// Leases and tickets of a tenant's subtree, in every pool.
    pub(crate) fn holding(&self, index: TenantIndex) -> u64 {
        let nodes = self.pools.iter().filter_map(|pool| Some(pool.node((*pool.of_tenant.get(index as usize)?)?)));
        nodes.map(|node| node.running + node.waiting).sum()
    }

    pub(crate) fn is_empty_tenant(&self, path: &TenantPath) -> bool {
        self.tenant_index(path.as_str()).is_none_or(|index| self.holding(index) == 0)
    }

    pub(crate) fn member_keep(&self, parent: TenantIndex) -> Option<Duration> {
        self.tenant_at(parent)?.spec.members.as_ref().map(|members| members.keep)
    }

    pub(crate) fn make_member(&mut self, path: &TenantPath) -> Option<()> {
        let parent = self.tenant_index(path.parent()?.as_str())?;
        let members = self.tenant_at(parent)?.spec.members.clone()?;
        let mut spec = Tenant::new(path.clone());
        spec.kind = members.kind;
        spec.source = self.tenant_at(parent)?.spec.source;
        spec.rates = members.rates;
        if let Some(class) = members.class {
            let quota = crate::config::Quota { class: Some(class), ..Default::default() };
            spec.quotas = self.pools.iter().map(|pool| (pool.spec.name.clone(), quota.clone())).collect();
        }
        let says = !spec.quotas.is_empty();
        let index = self.insert_tenant(spec, true);
        let order = [];
        let Self { settings, classes, tenants, pools, .. } = self;
        let ground = Ground { settings, classes, tenants, order: &order };
        for pool in pools {
            let Some(above) = pool.of_tenant.get(parent as usize).copied().flatten() else { continue };
            let node = ground.plant(pool, index);
            // Of one that says nothing its sisters have what they had.
            if says { ground.level(pool, above) } else { pool.rebase_path(node) }
        }
        Some(())
    }

    /// Adds a tenant to the table.
    pub(crate) fn insert_tenant(&mut self, spec: Tenant, made: bool) -> TenantIndex {
        let parent = spec.path.parent().and_then(|path| self.tenant_index(path.as_str()));
        let path = spec.path.clone();
        let budgets = spec
            .budgets
            .iter()
            .map(|spec| BudgetState { spec: spec.clone(), used: 0, started: Time::EPOCH, ends: Time::EPOCH })
            .collect();
        let rates = spec.rates.iter().cloned().map(RateState::new).collect();
        let state = TenantState {
            spec,
            parent,
            children: 0,
            members: 0,
            made,
            budgets,
            rates,
            serial: TenantSerial(self.next_serial),
            idle: None,
            revision: self.posted,
        };
        let free =
            if self.by_path.len() < self.tenants.len() { self.tenants.iter().position(Option::is_none) } else { None };
        self.next_serial += 1;
        let index = match free {
            Some(free) => {
                self.tenants[free] = Some(state);
                free as TenantIndex
            }
            None => {
                self.tenants.push(Some(state));
                (self.tenants.len() - 1) as TenantIndex
            }
        };
        if let Some(parent) = parent.and_then(|parent| self.tenants[parent as usize].as_mut()) {
            parent.children += 1;
            parent.members += u32::from(made);
        }
        self.by_path.insert(path, index);
        index
    }

    pub(crate) fn remove_member(&mut self, path: &TenantPath) {
        let Some(index) = self.by_path.get(path).copied() else { return };
        let Some(state) = self.tenants[index as usize].take() else { return };
        self.by_path.remove(path);
        if let (Some(idle), Some(parent)) = (state.idle, state.parent) {
            let keep = self.member_keep(parent).unwrap_or_default();
            self.timers.remove(&(idle.after(keep), Timer::MemberEnd(index)));
        }
        if let Some(parent) = state.parent.and_then(|parent| self.tenants[parent as usize].as_mut()) {
            parent.children -= 1;
            parent.members -= u32::from(state.made);
        }
        let order = [];
        let Self { settings, classes, tenants, pools, .. } = self;
        let ground = Ground { settings, classes, tenants, order: &order };
        for pool in pools {
            let Some(node) = pool.of_tenant.get_mut(index as usize).and_then(Option::take) else { continue };
            let parent = pool.node(node).parent;
            pool.pass_layout(node, false);
            for slot in 0..pool.known.len() as Slot {
                pool.set_level(node, slot, 0, 0, 0);
            }
            pool.nodes[parent as usize].children.retain(|child| *child != node);
            pool.bursting.remove(&node);
            pool.burst_ends.retain(|(_, other)| *other != node);
            pool.spare.push(node);
            if state.spec.quotas.is_empty() { pool.rebase_path(parent) } else { ground.level(pool, parent) }
        }
    }
}
