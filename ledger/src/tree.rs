//! From the configuration to a pool's tree: nodes, effective guarantees, limits.

use std::collections::{BTreeMap, BTreeSet};

use crate::amount::Level;
use crate::burst::BurstState;
use crate::config::{Burst, Class, Enforce, Lifecycle, Lifecycles, Pool, Quota, Settings, Tenant};
use crate::found::layout_of;
use crate::ledger::{Map, TenantIndex, TenantState};
use crate::name::{Name, Resource};
use crate::node::Node;
use crate::pool::{Known, NO_LIMIT, NodeId, PoolState, ROOT, Set, Slot};
use crate::rows::Rows;

/// A quota with its class filled in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Resolved<'a> {
    own: Option<&'a Quota>,
    class: Option<&'a Quota>,
}

impl<'a> Resolved<'a> {
    pub(crate) fn new(quota: Option<&'a Quota>, classes: &'a BTreeMap<Name, (Class, u64)>) -> Self {
        let class = quota.and_then(|quota| quota.class.as_ref());
        Self { own: quota, class: class.and_then(|name| classes.get(name)).map(|(class, _)| &class.quota) }
    }

    /// From a quota and its class.
    pub(crate) fn of(own: Option<&'a Quota>, class: Option<&'a Quota>) -> Self {
        Self { own, class }
    }

    fn pick<T>(&self, field: impl Fn(&'a Quota) -> Option<T>) -> Option<T> {
        self.own.and_then(&field).or_else(|| self.class.and_then(&field))
    }

    pub(crate) fn guaranteed(&self, resource: &str) -> Option<Level> {
        self.pick(|quota| quota.guaranteed.as_ref()).and_then(|levels| levels.get(resource))
    }

    pub(crate) fn limit(&self, resource: &str) -> Option<Level> {
        self.pick(|quota| quota.limit.as_ref()).and_then(|levels| levels.get(resource))
    }

    pub(crate) fn lendable(&self, resource: &str) -> Option<Level> {
        self.pick(|quota| quota.lendable.as_ref()).and_then(|levels| levels.get(resource))
    }

    pub(crate) fn burst(&self) -> Option<Burst> {
        self.pick(|quota| quota.burst)
    }

    pub(crate) fn enforce(&self) -> Option<Enforce> {
        self.pick(|quota| quota.enforce)
    }

    /// Every resource that it names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a Resource> {
        [self.pick(|q| q.guaranteed.as_ref()), self.pick(|q| q.limit.as_ref()), self.pick(|q| q.lendable.as_ref())]
            .into_iter()
            .flatten()
            .flat_map(|levels| levels.iter().map(|(name, _)| name))
    }
}

/// What nodes say of one resource; of those that are not named, nothing.
type Said = Map<NodeId, i128>;

/// What a node is told by the configuration, besides how much it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    weight: u32,
    weightless: bool,
    inactive: bool,
    usable: bool,
    budgeted: bool,
    rated: bool,
    burst: Option<Burst>,
    bounded: bool,
    enforce: Option<Enforce>,
    max_priority: i32,
    made: bool,
}

impl Told {
    /// What the child is told that stands for an inner tenant's own requests.
    pub(crate) fn for_own(self) -> Self {
        Self { weight: Tenant::WEIGHT_ONE, burst: None, ..self }
    }
}

impl Node {
    pub(crate) fn take(&mut self, told: Told) {
        let Told { weight, weightless, inactive, usable, budgeted, rated, burst, bounded, enforce, max_priority, made } =
            told;
        (self.weight, self.weightless, self.max_priority) = (weight, weightless, max_priority);
        (self.inactive, self.usable, self.made) = (inactive, usable, made);
        (self.budgeted, self.rated) = (budgeted, rated);
        (self.burst, self.bounded, self.enforce) = (burst, bounded, enforce);
    }
}

/// What a pool's tree is made of.
pub(crate) struct Ground<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) classes: &'a BTreeMap<Name, (Class, u64)>,
    pub(crate) tenants: &'a [Option<TenantState>],
    /// In the order of paths.
    pub(crate) order: &'a [TenantIndex],
}

impl Ground<'_> {
    fn tenant(&self, index: TenantIndex) -> &TenantState {
        match &self.tenants[index as usize] {
            Some(tenant) => tenant,
            None => unreachable!("only tenants that are there are in the order"),
        }
    }

    pub(crate) fn quota(&self, index: TenantIndex, pool: &str) -> Resolved<'_> {
        Resolved::new(self.tenant(index).spec.quota(pool), self.classes)
    }

    pub(crate) fn stored(&self, resource: &str) -> bool {
        self.settings.storage_resources.iter().any(|name| name.as_str() == resource)
    }

    /// The resources that the configuration names in a pool.
    pub(crate) fn configured_names(&self, spec: &Pool) -> BTreeSet<Resource> {
        let mut names = BTreeSet::new();
        let mut add = |name: &Resource| {
            if !names.contains(name) {
                names.insert(name.clone());
            }
        };
        spec.capacity.iter().chain(spec.implied.iter()).for_each(|(name, _)| add(name));
        for Tenant { quotas, budgets, .. } in self.tenants.iter().flatten().map(|tenant| &tenant.spec) {
            let quota = quotas.iter().find(|(pool, _)| *pool == spec.name).map(|(_, quota)| quota);
            Resolved::new(quota, self.classes).names().for_each(&mut add);
            budgets.iter().for_each(|budget| add(&budget.resource));
        }
        let tenants = self.tenants.iter().flatten();
        tenants.flat_map(|tenant| tenant.spec.rates()).for_each(|rate| add(&rate.resource));
        names
    }

    /// The pool's tree without a lease, a ticket or a claim; `named` are resources that leases and tickets name.
    pub(crate) fn grow(&self, spec: Pool, named: &BTreeSet<Resource>) -> PoolState {
        let mut names: BTreeSet<Resource> = named.clone();
        let configured = self.configured_names(&spec);
        names.extend(configured.iter().cloned());
        let known: Vec<_> = names
            .iter()
            .map(|name| {
                Some(Known {
                    name: name.clone(),
                    capacity: spec.capacity.get(name.as_str()).map(|amount| amount as i64),
                    stored: self.stored(name.as_str()),
                    configured: configured.contains(name),
                    named: 0,
                    awaited: 0,
                })
            })
            .collect();
        let slots = names.into_iter().enumerate().map(|(at, name)| (name, at as Slot)).collect();
        let layout = layout_of(&spec.name);
        let mut pool = PoolState {
            spec,
            layout,
            known,
            slots,
            asks: Default::default(),
            nodes: vec![Node::new(ROOT, crate::name::TenantPath::root(), false)],
            of_tenant: vec![None; self.tenants.len()],
            shapes: Default::default(),
            memo: Default::default(),
            standers: Default::default(),
            claims: Default::default(),
            fresh: None,
            held: BTreeSet::new(),
            opened: BTreeSet::new(),
            turns: BTreeSet::new(),
            bursting: BTreeSet::new(),
            burst_ends: BTreeSet::new(),
            arrivals: Rows::default(),
            admissions: Rows::default(),
            declared: (0, 0),
            observed_length: None,
            spare: Vec::new(),
        };
        for index in self.order {
            self.plant(&mut pool, *index);
        }
        self.level(&mut pool, ROOT);
        pool
    }

    /// Adds the node of a tenant whose parent's is there.
    pub(crate) fn plant(&self, pool: &mut PoolState, index: TenantIndex) -> NodeId {
        let tenant = self.tenant(index);
        let parent = tenant.parent.and_then(|parent| pool.of_tenant[parent as usize]).unwrap_or(ROOT);
        let told = self.told(pool.node(parent), index, &pool.spec.name);
        let mut node = Node::new(parent, tenant.spec.path.clone(), false);
        node.tenant = Some(index);
        node.serial = tenant.serial;
        node.take(told);
        let id = self.attach(pool, parent, node);
        if pool.of_tenant.len() <= index as usize {
            pool.of_tenant.resize(index as usize + 1, None);
        }
        pool.of_tenant[index as usize] = Some(id);
        if tenant.spec.members.is_some() || tenant.children > 0 {
            let mut own = Node::new(id, tenant.spec.path.clone(), true);
            own.tenant = Some(index);
            own.serial = tenant.serial;
            own.take(told.for_own());
            pool.nodes[id as usize].own_child = self.attach(pool, id, own);
        }
        pool.pass_layout(id, true);
        id
    }

    /// What a tenant's node is told, under another.
    pub(crate) fn told(&self, above: &Node, index: TenantIndex, pool: &Name) -> Told {
        let tenant = self.tenant(index);
        let quota = self.quota(index, pool.as_str());
        let spec = &tenant.spec;
        let burst = quota.burst();
        Told {
            weight: spec.weight,
            weightless: above.weightless || spec.weight == 0,
            inactive: above.inactive || spec.draining || spec.lifecycle == Lifecycle::Archived,
            usable: above.usable || spec.quota(pool.as_str()).is_some(),
            budgeted: above.budgeted || !tenant.budgets.is_empty(),
            rated: above.rated || !tenant.rates.is_empty(),
            burst,
            bounded: above.bounded || burst.is_some(),
            enforce: quota.enforce().or(above.enforce),
            max_priority: spec.max_priority.map_or(above.max_priority, |most| most.min(above.max_priority)),
            made: above.made || tenant.made,
        }
    }

    fn attach(&self, pool: &mut PoolState, parent: NodeId, node: Node) -> NodeId {
        let at = pool.node(parent).children.partition_point(|child| {
            let child = pool.node(*child);
            (!child.own, &child.path) < (!node.own, &node.path)
        });
        let id = match pool.spare.pop() {
            Some(id) => {
                // What is remembered of the node that was here must not be taken for this one's.
                let stamp = pool.node(id).stamp + 1;
                pool.nodes[id as usize] = Node { stamp, ..node };
                id
            }
            None => {
                pool.nodes.push(node);
                (pool.nodes.len() - 1) as NodeId
            }
        };
        pool.nodes[parent as usize].children.insert(at, id);
        id
    }

    /// What the nodes under one say of a resource, before any lifecycle: configured, else the sum of their children's.
    /// Says what that one says.
    fn hear(&self, pool: &PoolState, node: NodeId, resource: &str, capacity: i64, said: &mut Said) -> i128 {
        let here = pool.node(node);
        let mut sum = 0;
        for child in here.children.iter().filter(|child| !pool.node(**child).own) {
            let says = self.hear(pool, *child, resource, capacity, said);
            sum += if self.made(pool, *child) { 0 } else { says };
        }
        let quota = here.tenant.filter(|_| !here.own).map(|index| self.quota(index, pool.spec.name.as_str()));
        let level = quota.and_then(|quota| quota.guaranteed(resource));
        let says = level.map_or(sum, |level| level.of(capacity.unsigned_abs()).into());
        if says != 0 {
            said.insert(node, says);
        }
        says
    }

    /// Whether a node is a member's, made on first use.
    fn made(&self, pool: &PoolState, node: NodeId) -> bool {
        pool.node(node).tenant.is_some_and(|index| self.tenant(index).made)
    }

    /// Sets guarantees, limits and what is not lendable, from a node down.
    pub(crate) fn level(&self, pool: &mut PoolState, from: NodeId) {
        for slot in 0..pool.known.len() as Slot {
            if pool.known(slot).is_some_and(|known| known.configured) {
                self.level_one(pool, from, slot);
            }
        }
        pool.rebase(from);
    }

    /// The same of one resource.
    pub(crate) fn level_one(&self, pool: &mut PoolState, from: NodeId, slot: Slot) {
        let Some(known) = pool.known(slot).cloned() else { return };
        let mut said = Said::default();
        if let Some(capacity) = known.capacity {
            self.hear(pool, from, known.name.as_str(), capacity, &mut said);
        }
        self.level_below(pool, from, slot, &known, &said);
    }

    fn level_below(&self, pool: &mut PoolState, from: NodeId, slot: Slot, known: &Known, heard: &Said) {
        let Known { name, capacity, stored, .. } = known;
        let (capacity, stored) = (*capacity, *stored);
        if from == ROOT {
            let unavailable = pool.spec.unavailable.get(name.as_str()).unwrap_or(0) as i64;
            let (guarantee, limit) = match capacity {
                Some(capacity) => (capacity, (capacity - unavailable).max(0)),
                None => (0, NO_LIMIT),
            };
            pool.set_level(ROOT, slot, guarantee, limit, 0);
        }
        let part = |index: TenantIndex, lifecycles: &Lifecycles| {
            if stored { Lifecycles::WHOLE } else { lifecycles.part(self.tenant(index).spec.lifecycle) }
        };
        let scale = |amount: i128, part: u32| amount * i128::from(part) / i128::from(Lifecycles::WHOLE);
        let children: Vec<NodeId> = pool.node(from).children.clone();
        let has = i128::from(pool.node(from).cell(slot).guarantee);
        let mut wants: Vec<(NodeId, i128, i128)> = Vec::new();
        for child in &children {
            let here = pool.node(*child);
            let Some(index) = here.tenant.filter(|_| !here.own) else { continue };
            let said = heard.get(child).copied().unwrap_or(0);
            wants.push((*child, said, scale(said, part(index, &self.settings.lifecycles))));
        }
        let effective = apportion(&wants.iter().map(|(_, _, want)| *want).collect::<Vec<_>>(), has);
        let given: i128 = effective.iter().sum();
        for ((child, said, _), guarantee) in wants.iter().zip(&effective) {
            let Some(index) = pool.node(*child).tenant else { continue };
            let quota = self.quota(index, pool.spec.name.as_str());
            let part = part(index, &self.settings.lifecycles);
            let whole = capacity.unwrap_or(0).unsigned_abs();
            let limit = match quota.limit(name.as_str()) {
                Some(level) => scale(i128::from(level.of(whole)), part),
                None if self.tenant(index).spec.lifecycle != Lifecycle::Active && capacity.is_some() => {
                    scale(i128::from(whole), part)
                }
                None => i128::from(NO_LIMIT),
            };
            let lendable = match quota.lendable(name.as_str()) {
                Some(level) if *said > 0 => i128::from(level.of(whole)) * guarantee / said,
                Some(_) => 0,
                None => *guarantee,
            };
            let unlendable = (guarantee - lendable).max(0);
            pool.set_level(*child, slot, *guarantee as i64, limit as i64, unlendable as i64);
        }
        for child in &children {
            if pool.node(*child).own {
                // The shared pool: what the inner tenant has beyond its children.
                pool.set_level(*child, slot, (has - given).max(0) as i64, NO_LIMIT, 0);
            } else if !pool.node(*child).children.is_empty() {
                self.level_below(pool, *child, slot, known, heard);
            }
        }
    }
}

/// Scales wants down in proportion where they sum to more than there is: rounded down, what is left over to the
/// largest remainders, ties to the first.
pub(crate) fn apportion(wants: &[i128], has: i128) -> Vec<i128> {
    let sum: i128 = wants.iter().sum();
    if sum <= has {
        return wants.to_vec();
    }
    let mut given: Vec<i128> = wants.iter().map(|want| want * has / sum).collect();
    let mut left = has - given.iter().sum::<i128>();
    let mut order: Vec<usize> = (0..wants.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(wants[*at] * has % sum));
    for at in order {
        if left == 0 {
            break;
        }
        given[at] += 1;
        left -= 1;
    }
    given
}

impl PoolState {
    /// Sets what a node has of a resource, and takes in what that changes above.
    pub(crate) fn set_level(&mut self, node: NodeId, slot: Slot, guarantee: i64, limit: i64, unlendable: i64) {
        let at = &mut self.nodes[node as usize];
        let marked = at.marked > 0;
        let cell = at.cell_mut(slot);
        let same = (cell.guarantee, cell.limit) == (guarantee, limit);
        (cell.guarantee, cell.limit) = (guarantee, limit);
        if (marked && !same) || cell.unlendable != unlendable {
            self.claims.book.spoil();
        }
        if self.node(node).cell(slot).unlendable == unlendable {
            return;
        }
        let sets = [Set::Now, Set::All, Set::Owners];
        let before = sets.map(|set| self.occupied(set, node, slot));
        self.nodes[node as usize].cell_mut(slot).unlendable = unlendable;
        let mut raises = sets.map(|set| self.occupied(set, node, slot));
        raises.iter_mut().zip(before).for_each(|(after, before)| *after -= before);
        let mut next = (node != ROOT).then(|| self.node(node).parent);
        while let Some(id) = next {
            self.nodes[id as usize].raise(slot, &mut raises, [0; 3]);
            next = (id != ROOT).then(|| self.node(id).parent);
        }
    }

    /// Sums up what is occupied where nothing is held, in the subtree of a node and above it.
    pub(crate) fn rebase(&mut self, from: NodeId) {
        self.rebase_below(from);
        let above: Vec<NodeId> = self.up(from).skip(1).collect();
        for node in above {
            self.rebase_one(node);
        }
    }

    /// The same, where nothing changed below a node.
    pub(crate) fn rebase_path(&mut self, from: NodeId) {
        let path: Vec<NodeId> = self.up(from).collect();
        path.into_iter().for_each(|node| self.rebase_one(node));
    }

    fn rebase_below(&mut self, node: NodeId) {
        for at in 0..self.node(node).children.len() {
            let child = self.node(node).children[at];
            self.rebase_below(child);
        }
        self.rebase_one(node);
    }

    fn rebase_one(&mut self, node: NodeId) {
        let mut below = vec![0i64; self.known.len()];
        let mut stiff = false;
        let mut roomy = 0;
        let mut varied = self.node(node).budgeted || self.node(node).rated || self.node(node).bounded;
        let mut leaves = vec![0u32; self.known.len()];
        for child in &self.node(node).children {
            let child = self.node(*child);
            stiff |= child.stiff;
            roomy += child.roomy;
            varied |= child.varied;
            for (sum, cell) in leaves.iter_mut().zip(&child.cells) {
                *sum += cell.leaves_with_room;
            }
            for (slot, sum) in below.iter_mut().enumerate() {
                *sum += child.kept(slot as Slot);
            }
        }
        let is_leaf = self.node(node).children.is_empty();
        let here = &mut self.nodes[node as usize];
        for (slot, below) in below.iter().enumerate() {
            stiff |= *below > 0;
            if *below > 0 || slot < here.cells.len() {
                let cell = here.cell_mut(slot as Slot);
                stiff |= cell.unlendable > 0;
                cell.leaves_with_room = if is_leaf { u32::from(cell.has_room()) } else { leaves[slot] };
            }
        }
        here.kept_below = if below.iter().any(|kept| *kept > 0) { below } else { Vec::new() };
        here.stamp += 1;
        here.varied = varied;
        here.stiff = stiff;
        here.room = if node == ROOT { 0 } else { here.rooms() };
        here.roomy = roomy + u32::from(here.room > 0);
        self.bundle(node);
    }

    /// Forgets what is running in bursts that are not bounded any more.
    pub(crate) fn set_burst(&mut self, node: NodeId, state: BurstState) {
        if self.node(node).burst.is_some() && state != BurstState::default() {
            self.nodes[node as usize].bursting = state;
            self.bursting.insert(node);
            let here = self.node(node);
            if let Some(ends) = here.burst.and_then(|burst| here.bursting.ends(burst)) {
                self.burst_ends.insert((ends, node));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::apportion;

    #[test]
    fn what_is_left_over_goes_to_the_largest_remainders() {
        assert_eq!(apportion(&[1, 1, 1, 1], 3), [1, 1, 1, 0]);
        assert_eq!(apportion(&[5, 3, 2], 5), [3, 1, 1]);
        assert_eq!(apportion(&[5, 3, 2], 10), [5, 3, 2]);
        assert_eq!(apportion(&[0, 0], 0), [0, 0]);
        assert_eq!(apportion(&[7, 7], 0), [0, 0]);
    }
}
