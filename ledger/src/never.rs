//! What could never be admitted, because it asked not to borrow and is guaranteed too little for ever.

use std::ops::ControlFlow;

use crate::amount::Amount;
use crate::ask::Ask;
use crate::dispatch::Finding;
use crate::ledger::{Ledger, PoolIndex};
use crate::name::Name;
use crate::pool::{Empty, Leaf, NodeId, ROOT, Slot, UNMADE};
use crate::request::ReasonCode;
use crate::tree::Resolved;

impl Ledger {
    /// Of a request not to borrow: what it asks for beyond what its leaf could ever be guaranteed, as things are
    /// configured. Whatever ends, it would borrow, and so it would wait in vain.
    pub(crate) fn never_within(&self, at: PoolIndex, leaf: &Leaf, ask: &Ask) -> Vec<Finding> {
        let pool = self.pool_at(at);
        let mut found = Vec::new();
        let _: ControlFlow<()> = pool.climb(&Empty, leaf, ask, |node, effect| {
            if node != leaf.node {
                return ControlFlow::Break(());
            }
            let short = pool.capacity(effect.slot).is_some() && !effect.within();
            let most = if short { self.most_guaranteed(at, leaf, node, effect.slot) } else { i64::MAX };
            if effect.amount > most {
                let never = Finding { used: 0, limit: most, ..Finding::at(ReasonCode::NeverFits, node, &effect) };
                found.push(never);
            }
            ControlFlow::Continue(())
        });
        // The rule that stands against it is named too: it may help to borrow.
        found.extend(found.first().map(|never| Finding { code: ReasonCode::WouldBorrow, ..*never }));
        found
    }

    /// The most that a node could be guaranteed of a resource, as things are configured: what it is now, but under
    /// a `members` rule, where members that come and go share what is guaranteed with it.
    fn most_guaranteed(&self, at: PoolIndex, leaf: &Leaf, node: NodeId, slot: Slot) -> i64 {
        let pool = self.pool_at(at);
        let above = match &leaf.unmade {
            Some(unmade) if node == UNMADE => unmade.parent,
            _ => pool.node(node).parent,
        };
        let varies = pool.up(above).any(|node| {
            let tenant = pool.node(node).tenant.and_then(|index| self.tenant_at(index));
            tenant.is_some_and(|tenant| tenant.spec.members.is_some())
        });
        if node != UNMADE && (node == ROOT || !varies) {
            return pool.node(node).cell(slot).guarantee;
        }
        if node != UNMADE && pool.node(node).own {
            // All that its tenant has could be shared.
            return self.most_guaranteed(at, leaf, above, slot);
        }
        let Some(known) = pool.known(slot) else { return 0 };
        let said = self.quota_of(leaf, node, &pool.spec.name, above, at);
        let whole: Amount = known.capacity.unwrap_or(0).unsigned_abs();
        match said.guaranteed(known.name.as_str()) {
            Some(level) => level.of(whole) as i64,
            // An inner tenant that says nothing has what its children say.
            None if node != UNMADE && !pool.node(node).children.is_empty() => i64::MAX,
            None => 0,
        }
    }

    /// What a tenant's quota says in a pool; of a member that is not made yet, its class.
    fn quota_of(&self, leaf: &Leaf, node: NodeId, name: &Name, above: NodeId, at: PoolIndex) -> Resolved<'_> {
        let pool = self.pool_at(at);
        let quota = if leaf.unmade.is_some() && node == UNMADE {
            let parent = pool.node(above).tenant.and_then(|index| self.tenant_at(index));
            let class = parent.and_then(|parent| parent.spec.members.as_ref()?.class.as_ref());
            class.and_then(|class| self.classes.get(class)).map(|(class, _)| &class.quota)
        } else {
            let tenant = pool.node(node).tenant.and_then(|index| self.tenant_at(index));
            tenant.and_then(|tenant| tenant.spec.quota(name.as_str()))
        };
        Resolved::new(quota, &self.classes)
    }
}
