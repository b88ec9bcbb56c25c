//! What is charged to budgets, and given back.

use crate::amount::{Amount, Amounts};
use crate::ask::Ask;
use crate::ledger::{BudgetState, Ledger, PoolIndex, TenantIndex, Timer};
use crate::name::TenantPath;
use crate::pool::NodeId;
use crate::time::Time;

impl Ledger {
    /// Every budget from a node up that an ask would be charged to.
    pub(crate) fn each_budget(
        &self,
        at: PoolIndex,
        start: NodeId,
        ask: &Ask,
        mut visit: impl FnMut(NodeId, TenantIndex, usize, &BudgetState, Amount),
    ) {
        let pool = self.pool_at(at);
        for node in pool.up(start) {
            let here = pool.node(node);
            let Some(index) = here.tenant.filter(|_| !here.own) else { continue };
            let Some(tenant) = self.tenant_at(index) else { continue };
            for (number, budget) in tenant.budgets.iter().enumerate() {
                let Some(slot) = pool.slot(budget.spec.resource.as_str()) else { continue };
                let amount = ask.of(slot).unsigned_abs();
                if amount > 0 {
                    visit(node, index, number, budget, amount);
                }
            }
        }
    }

    pub(crate) fn charge(&mut self, at: PoolIndex, leaf: NodeId, ask: &Ask) {
        if !self.pools[at].node(leaf).budgeted {
            return;
        }
        let mut charges = Vec::new();
        self.each_budget(at, leaf, ask, |_, index, number, _, amount| charges.push((index, number, amount)));
        for (index, number, amount) in charges {
            if let Some(tenant) = &mut self.tenants[index as usize] {
                let budget = &mut tenant.budgets[number];
                budget.used = budget.used.saturating_add(amount);
            }
        }
    }

    /// Gives back what was charged in the running period, to a lease that was never confirmed.
    pub(crate) fn refund(&mut self, at: PoolIndex, leaf: NodeId, charged: &Amounts, admitted: Time) {
        let charged = &self.pools[at].ask_of(charged, 1);
        let mut refunds = Vec::new();
        self.each_budget(at, leaf, charged, |_, index, number, budget, amount| {
            if admitted >= budget.started {
                refunds.push((index, number, amount));
            }
        });
        for (index, number, amount) in refunds {
            if let Some(tenant) = &mut self.tenants[index as usize] {
                let budget = &mut tenant.budgets[number];
                budget.used = budget.used.saturating_sub(amount);
            }
        }
    }

    pub(crate) fn turn_budget(&mut self, tenant: &TenantPath, name: &str, started: Time, ends: Time) {
        let Some(index) = self.by_path.get(tenant).copied() else { return };
        let Some(tenant) = &mut self.tenants[index as usize] else { return };
        let Some(number) = tenant.budgets.iter().position(|budget| budget.spec.name.as_str() == name) else { return };
        let budget = &mut tenant.budgets[number];
        self.timers.remove(&(budget.ends, Timer::BudgetTurn(index, number as u32)));
        (budget.used, budget.started, budget.ends) = (0, started, ends);
        self.timers.insert((ends, Timer::BudgetTurn(index, number as u32)));
    }

    /// What an ask names, by name.
    pub(crate) fn total(&self, at: PoolIndex, ask: &Ask) -> Amounts {
        let pool = &self.pools[at];
        Amounts::merged(
            ask.0
                .iter()
                .filter_map(|(slot, amount)| Some((pool.known(*slot)?.name.clone(), amount.unsigned_abs())))
                .collect(),
        )
    }
}
