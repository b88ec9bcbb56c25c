//! One state of a pool that a rule looks at: the ledger as it is, the plan of a claim, or a ledger
//! in which everything has ended. It is no more than a list of who holds what, and every number is
//! summed up from that list.

use super::config::{Amounts, ShareOf};
use super::share::Share;
use super::tree::{Less, Tree};

#[derive(Clone, Debug)]
pub(crate) struct View<'a> {
    pub(crate) tree: &'a Tree,
    /// Leaf, resource, and how much of it is held there.
    held: Vec<(usize, &'a str, i64)>,
}

/// A node that stands against a request, and the resources in which it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blocked {
    pub(crate) node: usize,
    pub(crate) resources: Vec<String>,
}

impl<'a> View<'a> {
    pub(crate) fn empty(tree: &'a Tree) -> View<'a> {
        View { tree, held: Vec::new() }
    }

    /// So many times these amounts more; or less, where that is below zero.
    pub(crate) fn hold(&mut self, leaf: usize, amounts: &'a Amounts, times: i64) {
        let held = amounts.iter();
        self.held.extend(held.map(|(resource, amount)| (leaf, resource.as_str(), amount * times)));
    }

    pub(crate) fn after<'b>(&self, leaf: usize, asked: &'b Amounts) -> View<'b>
    where
        'a: 'b,
    {
        let mut after: View<'b> = self.clone();
        after.hold(leaf, asked, 1);
        after
    }

    /// "what the leases in n's subtree hold"
    pub(crate) fn usage(&self, node: usize, resource: &str) -> i64 {
        let children = &self.tree.nodes[node].children;
        self.own(node, resource) + children.iter().map(|child| self.usage(*child, resource)).sum::<i64>()
    }

    fn own(&self, leaf: usize, resource: &str) -> i64 {
        let at_leaf = self.held.iter().filter(|(at, what, _)| *at == leaf && *what == resource);
        at_leaf.map(|(_, _, amount)| amount).sum()
    }

    /// "max(own leases + Σ occupied(children), unlendable(n))"
    pub(crate) fn occupied(&self, node: usize, resource: &str) -> i64 {
        let children = &self.tree.nodes[node].children;
        let held = self.own(node, resource) + children.iter().map(|child| self.occupied(*child, resource)).sum::<i64>();
        held.max(self.tree.unlendable(node, resource))
    }

    /// "max(0, occupied(n) − guaranteed(n))"
    pub(crate) fn borrowed(&self, node: usize, resource: &str) -> i64 {
        if !self.tree.is_named(resource) {
            return 0;
        }
        (self.occupied(node, resource) - self.tree.guaranteed(node, resource)).max(0)
    }

    /// "A tenant above its guarantee in any resource is bursting."
    pub(crate) fn is_bursting(&self, node: usize) -> bool {
        self.tree.capacity.keys().any(|resource| self.borrowed(node, resource) > 0)
    }

    /// Which nodes of the path stand against it, lowest first; nothing when it fits. "A request
    /// fits when for every node on its path, root included, and every resource it asks for,
    /// occupied after it stays within limit, or is not raised by it while usage after it stays
    /// within limit."
    pub(crate) fn blocked(&self, leaf: usize, asked: &Amounts, less: Less) -> Vec<Blocked> {
        let after = self.after(leaf, asked);
        let against = |node: usize, resource: &str| {
            let Some(limit) = self.tree.limit(node, resource, less) else {
                return false;
            };
            let occupied = after.occupied(node, resource);
            let raised = occupied > self.occupied(node, resource);
            occupied > limit && (raised || after.usage(node, resource) > limit)
        };
        let mut blocked = Vec::new();
        for node in self.tree.path(leaf) {
            let resources: Vec<String> =
                asked_for(asked).filter(|resource| against(node, resource)).map(str::to_owned).collect();
            if !resources.is_empty() {
                blocked.push(Blocked { node, resources });
            }
        }
        blocked
    }

    pub(crate) fn fits(&self, leaf: usize, asked: &Amounts) -> bool {
        self.blocked(leaf, asked, Less::Unavailable).is_empty()
    }

    /// "A ticket stays within a guarantee of a node in some resources when occupied after it does
    /// not exceed it in them." A resource that the capacity does not name is passed over.
    pub(crate) fn within<'r>(
        &self,
        node: usize,
        leaf: usize,
        asked: &Amounts,
        resources: impl IntoIterator<Item = &'r str>,
    ) -> bool {
        let after = self.after(leaf, asked);
        let mut named = resources.into_iter().filter(|resource| self.tree.is_named(resource));
        named.all(|resource| after.occupied(node, resource) <= self.tree.guaranteed(node, resource))
    }

    /// "in all it asks for"
    pub(crate) fn within_in_all(&self, node: usize, leaf: usize, asked: &Amounts) -> bool {
        self.within(node, leaf, asked, asked_for(asked))
    }

    /// "max over r of borrowed(r) ÷ capacity(r), ÷ weight … Weight zero counts as one here;
    /// capacity zero for nothing."
    pub(crate) fn share(&self, node: usize, share_of: ShareOf) -> Share {
        let amount = |resource: &str| match share_of {
            ShareOf::Borrowed => self.borrowed(node, resource),
            ShareOf::Usage => self.usage(node, resource),
        };
        let capacity = &self.tree.capacity;
        let parts = capacity.iter().map(|(resource, capacity)| (amount(resource), *capacity));
        Share::dominant(parts, self.tree.nodes[node].weight)
    }

    /// "weighted share of what it borrows in R"
    pub(crate) fn share_in(&self, node: usize, resources: &[String]) -> Share {
        let named = resources.iter().filter_map(|resource| Some((resource, *self.tree.capacity.get(resource)?)));
        let parts = named.map(|(resource, capacity)| (self.borrowed(node, resource), capacity));
        Share::dominant(parts, self.tree.nodes[node].weight)
    }

    pub(crate) fn borrows_any(&self, node: usize, resources: &[String]) -> bool {
        resources.iter().any(|resource| self.borrowed(node, resource) > 0)
    }
}

/// A resource of which nothing is asked is not asked for.
pub(crate) fn asked_for(asked: &Amounts) -> impl Iterator<Item = &str> {
    asked.iter().filter(|(_, amount)| **amount > 0).map(|(resource, _)| resource.as_str())
}

/// So many instances together.
pub(crate) fn times(amounts: &Amounts, count: i64) -> Amounts {
    amounts.iter().map(|(resource, amount)| (resource.clone(), amount.saturating_mul(count))).collect()
}
