//! A pool's tree with what each node has: effective guarantee, limit, what is not lendable.
//! Evaluated whole from the configuration, whenever that changes.

use std::collections::{BTreeMap, BTreeSet};

use super::config::{Amounts, Config, Lifecycle, ONE};

pub(crate) const ROOT: usize = 0;

/// Nodes stand in the order of their paths, the root first.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) nodes: Vec<Node>,
    pub(crate) capacity: Amounts,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// A tenant's path; "" for the root. "An inner tenant's own requests stand beside its children
    /// as one more child": this one has the tenant's path and a slash, so that it comes after its
    /// tenant and before the other children.
    pub(crate) name: String,
    pub(crate) parent: usize,
    pub(crate) children: Vec<usize>,
    pub(crate) weight: u64,
    guaranteed: Amounts,
    unlendable: Amounts,
    limit: Amounts,
    /// The limit with nothing unavailable; another one at the root only.
    whole: Amounts,
}

impl Tree {
    pub(crate) fn of(config: &Config, pool: &str) -> Tree {
        let capacity = config.pool(pool).map(|pool| pool.capacity.clone()).unwrap_or_default();
        let mut names = BTreeSet::from([String::new()]);
        for tenant in &config.tenants {
            names.insert(tenant.path.clone());
            if !config.children(&tenant.path).is_empty() {
                names.insert(format!("{}/", tenant.path));
            }
        }
        let names: Vec<String> = names.into_iter().collect();
        let mut nodes: Vec<Node> = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let parent = names.iter().position(|other| other == above(name)).unwrap_or(ROOT);
            if index != ROOT {
                nodes[parent].children.push(index);
            }
            nodes.push(Node {
                name: name.clone(),
                parent,
                children: Vec::new(),
                weight: weight(config, name),
                guaranteed: Amounts::new(),
                unlendable: Amounts::new(),
                limit: limit(config, pool, name, Less::Unavailable),
                whole: limit(config, pool, name, Less::Nothing),
            });
        }
        let mut tree = Tree { nodes, capacity };
        for resource in tree.capacity.clone().keys() {
            tree.guarantee(config, pool, resource);
        }
        tree
    }

    /// Root's first, then downwards. "the root has the pool's capacity"
    fn guarantee(&mut self, config: &Config, pool: &str, resource: &str) {
        self.nodes[ROOT].guaranteed.insert(resource.to_owned(), self.capacity[resource]);
        for node in 0..self.nodes.len() {
            let has = self.nodes[node].guaranteed[resource];
            let children = self.nodes[node].children.clone();
            let (own, tenants): (Vec<usize>, Vec<usize>) =
                children.into_iter().partition(|child| self.nodes[*child].name.ends_with('/'));
            let asked: Vec<i64> = tenants
                .iter()
                .map(|child| {
                    let path = self.nodes[*child].name.as_str();
                    config.scaled(path, resource, config.configured(pool, path, resource))
                })
                .collect();
            let get = in_proportion(&asked, has);
            // "whose guarantee is the shared pool"
            for own in own {
                self.nodes[own].guaranteed.insert(resource.to_owned(), has - get.iter().sum::<i64>());
            }
            for (child, gets) in tenants.into_iter().zip(get) {
                let unlendable = unlendable(config, pool, &self.nodes[child].name, resource, gets);
                self.nodes[child].guaranteed.insert(resource.to_owned(), gets);
                self.nodes[child].unlendable.insert(resource.to_owned(), unlendable);
            }
        }
    }

    pub(crate) fn node(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.name == name)
    }

    /// "Its leaf is its tenant or, for an inner tenant's own requests, the child they stand for."
    pub(crate) fn leaf(&self, tenant: &str) -> usize {
        let node = self.node(tenant).expect("a configured tenant");
        let mut children = self.nodes[node].children.iter();
        let own = children.find(|child| self.nodes[**child].name.ends_with('/'));
        own.copied().unwrap_or(node)
    }

    pub(crate) fn is_leaf(&self, node: usize) -> bool {
        self.nodes[node].children.is_empty()
    }

    /// From the leaf up to the root.
    pub(crate) fn path(&self, leaf: usize) -> Vec<usize> {
        let mut path = vec![leaf];
        let mut at = leaf;
        while at != ROOT {
            at = self.nodes[at].parent;
            path.push(at);
        }
        path
    }

    pub(crate) fn sisters(&self, node: usize) -> Vec<usize> {
        if node == ROOT {
            return Vec::new();
        }
        let children = &self.nodes[self.nodes[node].parent].children;
        children.iter().copied().filter(|child| *child != node).collect()
    }

    /// The tenant that a node stands for; "" is the root.
    pub(crate) fn tenant(&self, node: usize) -> &str {
        self.nodes[node].name.trim_end_matches('/')
    }

    /// "A resource that the pool's capacity does not name … has no guarantee, no borrowing and no
    /// share".
    pub(crate) fn is_named(&self, resource: &str) -> bool {
        self.capacity.contains_key(resource)
    }

    pub(crate) fn guaranteed(&self, node: usize, resource: &str) -> i64 {
        self.nodes[node].guaranteed.get(resource).copied().unwrap_or(0)
    }

    pub(crate) fn unlendable(&self, node: usize, resource: &str) -> i64 {
        self.nodes[node].unlendable.get(resource).copied().unwrap_or(0)
    }

    pub(crate) fn limit(&self, node: usize, resource: &str, less: Less) -> Option<i64> {
        let limits = match less {
            Less::Unavailable => &self.nodes[node].limit,
            Less::Nothing => &self.nodes[node].whole,
        };
        limits.get(resource).copied()
    }

    /// "Weight zero (its own or above)".
    pub(crate) fn is_weightless(&self, leaf: usize) -> bool {
        self.path(leaf).iter().any(|node| self.nodes[*node].weight == 0)
    }
}

/// Of the pool's capacity, what is unavailable counts or it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Less {
    Unavailable,
    Nothing,
}

fn above(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(above, _)| above)
}

/// "one more child, of weight 1, without limit or burst"
fn weight(config: &Config, name: &str) -> u64 {
    config.tenant(name).map_or(ONE, |tenant| tenant.weight)
}

/// "as configured, else none (for a tenant that is not active: of the pool's capacity); the root's
/// is the capacity less what of it is unavailable just now"
fn limit(config: &Config, pool: &str, name: &str, less: Less) -> Amounts {
    let Some(pool) = config.pool(pool) else {
        return Amounts::new();
    };
    if name.is_empty() {
        let lost = |resource: &str| match less {
            Less::Unavailable => pool.unavailable.get(resource).copied().unwrap_or(0),
            Less::Nothing => 0,
        };
        return pool.capacity.iter().map(|(r, capacity)| (r.clone(), (capacity - lost(r)).max(0))).collect();
    }
    let Some(tenant) = config.tenant(name) else {
        return Amounts::new();
    };
    let mut limit = if tenant.lifecycle == Lifecycle::Active { Amounts::new() } else { pool.capacity.clone() };
    limit.extend(tenant.quota.get(&pool.name).into_iter().flat_map(|quota| quota.limit.clone()));
    limit.into_iter().map(|(r, amount)| (r.clone(), config.scaled(name, &r, amount))).collect()
}

/// "guaranteed(n) less lendable(n); lendable scales with the guarantee, rounded down. 0 where
/// nothing is said."
fn unlendable(config: &Config, pool: &str, path: &str, resource: &str, guaranteed: i64) -> i64 {
    let configured = config.configured(pool, path, resource);
    let said = config.quota(pool, path).and_then(|quota| quota.lendable.get(resource)).copied();
    match said {
        Some(lendable) if configured > 0 => {
            guaranteed - (i128::from(lendable) * i128::from(guaranteed) / i128::from(configured)) as i64
        }
        Some(_) | None => 0,
    }
}

/// "Wherever children … sum to more than their parent has …, their guarantees scale down in
/// proportion: rounded down, what is left over to the largest remainders, ties by path." What is
/// asked stands in the order of paths.
pub(crate) fn in_proportion(asked: &[i64], has: i64) -> Vec<i64> {
    let sum: i128 = asked.iter().map(|amount| i128::from(*amount)).sum();
    if sum <= i128::from(has) {
        return asked.to_vec();
    }
    let product = |index: usize| i128::from(asked[index]) * i128::from(has);
    let mut get: BTreeMap<usize, i64> = (0..asked.len()).map(|index| (index, (product(index) / sum) as i64)).collect();
    let left = has - get.values().sum::<i64>();
    let mut by_remainder: Vec<usize> = (0..asked.len()).collect();
    by_remainder.sort_by_key(|index| (-(product(*index) % sum), *index));
    for index in by_remainder.into_iter().take(left as usize) {
        *get.entry(index).or_default() += 1;
    }
    get.into_values().collect()
}
