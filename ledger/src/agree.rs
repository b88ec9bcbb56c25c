//! Whether two ledgers with one history have the same trees, however each came to them. Where assertions are on, small
//! ledgers take a change of configuration both ways, in place and by growing their trees anew, and must agree.

use std::fmt::Debug;

use crate::ledger::Ledger;
use crate::pool::{NodeId, PoolState, ROOT, Slot};
use crate::snapshot::place_of;

/// Leases, tickets and tenants up to which ledgers are compared.
const COMPARED_MAX: usize = 256;

impl Ledger {
    pub(crate) fn is_small(&self) -> bool {
        let roots = self.pools.iter().map(|pool| pool.node(ROOT));
        let held: u64 = roots.map(|root| root.running + root.waiting).sum();
        held as usize + self.tenants.len() <= COMPARED_MAX
    }

    /// # Panics
    ///
    /// Where something in the trees, or what waits for time, is not as it is in the other.
    pub(crate) fn assert_same_trees(&self, other: &Self) {
        same("timers", &self.timers, &other.timers);
        same("tenants", &self.by_path, &other.by_path);
        same("digests", &self.digest(), &other.digest());
        same("pools", &self.pools.len(), &other.pools.len());
        for (pool, other) in self.pools.iter().zip(&other.pools) {
            pool.assert_same_tree(other);
        }
    }
}

impl PoolState {
    fn assert_same_tree(&self, other: &Self) {
        same("pool", &self.spec, &other.spec);
        let known = |pool: &Self| pool.slots.iter().map(|(_, slot)| pool.known(*slot).cloned()).collect::<Vec<_>>();
        same("resources", &format!("{:?}", known(self)), &format!("{:?}", known(other)));
        let places = |pool: &Self, nodes: &dyn Fn(&Self) -> Vec<NodeId>| {
            let mut places: Vec<_> = nodes(pool).into_iter().map(|node| place_of(pool, node)).collect();
            places.sort_unstable();
            places
        };
        for (what, nodes) in [
            ("held", &(|pool: &Self| pool.held.iter().copied().collect()) as &dyn Fn(&Self) -> Vec<NodeId>),
            ("opened", &|pool: &Self| pool.opened.iter().copied().collect()),
            ("bursting", &|pool: &Self| pool.bursting.iter().copied().collect()),
            ("ends of bursts", &|pool: &Self| pool.burst_ends.iter().map(|(_, node)| *node).collect()),
        ] {
            same(what, &places(self, nodes), &places(other, nodes));
        }
        self.assert_same_nodes(ROOT, other, ROOT);
    }

    fn assert_same_nodes(&self, node: NodeId, other: &Self, twin: NodeId) {
        let (here, there) = (self.node(node), other.node(twin));
        let told = |pool: &Self, node: NodeId| {
            // Nobody asks for room in the root, and it is not kept there.
            let roomy = if node == ROOT { 0 } else { pool.node(node).roomy };
            let node = pool.node(node);
            let flags =
                [node.weightless, node.inactive, node.usable, node.budgeted, node.rated, node.bounded, node.made];
            let kept = [node.wide, node.stiff, node.varied, node.held_here, node.own];
            let counts = [node.running, node.waiting, node.reclaiming, node.marked];
            let rooms = (node.room, roomy, node.holds, node.oldest);
            (flags, kept, counts, rooms, (node.weight, node.max_priority, node.enforce, node.burst, node.bursting))
        };
        same(here.path.as_str(), &told(self, node), &told(other, twin));
        for (name, slot) in &self.slots {
            let Some(twin_slot) = other.slot(name.as_str()) else { continue };
            let has = |pool: &Self, node: NodeId, slot: Slot| {
                let here = pool.node(node);
                (*here.cell(slot), here.kept(slot), here.marked > 0 && here.plans.len() > usize::from(slot))
            };
            same(name.as_str(), &has(self, node, *slot), &has(other, twin, twin_slot));
        }
        same("children", &here.children.len(), &there.children.len());
        for (child, twin) in here.children.iter().zip(&there.children) {
            same("child", &place_of(self, *child), &place_of(other, *twin));
            self.assert_same_nodes(*child, other, *twin);
        }
    }
}

fn same<T: PartialEq + Debug>(what: &str, one: &T, other: &T) {
    assert_eq!(one, other, "{what}, taken in place and grown anew");
}
