//! The shapes of tenants: as a tree, and each at its path.

use std::collections::BTreeMap;

use headgate_ledger as ledger;
use headgate_ledger::{Name, TenantPath};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::budget::{BudgetShape, MembersShape};
use super::quota::QuotaShape;
use super::scalar::{Kind, Label, Path, Priority, Weight};
use super::words::Lifecycle;
use crate::config::rate::RateShape;
use crate::config::read::{At, Problem};

/// A node of the tree, with what stands under it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Tenant")]
pub struct TenantShape {
    /// The last name of its path.
    pub name: At<Label>,
    /// organization, team, project, user or any word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Its weight among its sisters; 1, if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
    /// Its state of life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
    /// What it has, by pool.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub quota: BTreeMap<Label, QuotaShape>,
    /// Its budgets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budgets: Option<Vec<BudgetShape>>,
    /// Its rates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rates: Option<Vec<RateShape>>,
    /// A request's higher priority is an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_priority: Option<Priority>,
    /// Whether tenants under it are made on first use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<MembersShape>,
    /// Those under it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<TenantShape>,
}

/// A tenant by its path. In a change only what is named changes, and a pool's quota is replaced whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "TenantAtPath")]
pub struct TenantChange {
    /// Its place in the tree.
    pub path: At<Path>,
    /// organization, team, project, user or any word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Its weight among its sisters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
    /// Its state of life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
    /// What it has, by pool.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub quota: BTreeMap<Label, QuotaShape>,
    /// Its budgets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budgets: Option<Vec<BudgetShape>>,
    /// Its rates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rates: Option<Vec<RateShape>>,
    /// A request's higher priority is an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_priority: Option<Priority>,
    /// Whether tenants under it are made on first use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<MembersShape>,
}

impl TenantChange {
    /// The tenant, with what is not said taken from `tenant`.
    pub fn over(self, mut tenant: ledger::Tenant) -> Result<ledger::Tenant, Vec<Problem>> {
        let Self { path: _, kind, weight, lifecycle, quota, budgets, rates, max_priority, members } = self;
        let mut problems = Vec::new();
        if let Some(Kind(kind)) = kind {
            tenant.kind = kind;
        }
        if let Some(Weight(weight)) = weight {
            tenant.weight = weight;
        }
        if let Some(lifecycle) = lifecycle {
            tenant.lifecycle = lifecycle.into();
        }
        for (Label(pool), quota) in quota {
            match tenant.quotas.binary_search_by(|(name, _)| name.cmp(&pool)) {
                Ok(at) => tenant.quotas[at].1 = quota.into(),
                Err(at) => tenant.quotas.insert(at, (pool, quota.into())),
            }
        }
        if let Some(budgets) = budgets {
            tenant.budgets.clear();
            for budget in budgets {
                let name = budget.name.clone();
                if tenant.budgets.iter().any(|other| other.name == name.value.0) {
                    problems.push(name.problem(format!("budget {} is given twice", name.value.0)));
                    continue;
                }
                match budget.into_budget() {
                    Ok(budget) => tenant.budgets.push(budget),
                    Err(problem) => problems.push(problem),
                }
            }
        }
        if let Some(rates) = rates {
            tenant.rates = RateShape::into_rates(rates, &mut problems);
        }
        if let Some(Priority(max)) = max_priority {
            tenant.max_priority = Some(max);
        }
        if let Some(members) = members {
            tenant.members = Some(members.into_members(&mut problems));
        }
        if problems.is_empty() { Ok(tenant) } else { Err(problems) }
    }
}

impl From<&ledger::Tenant> for TenantChange {
    fn from(tenant: &ledger::Tenant) -> Self {
        let ledger::Tenant {
            path,
            kind,
            weight,
            lifecycle,
            quotas,
            budgets,
            rates,
            max_priority,
            members,
            draining: _,
            source: _,
        } = tenant.clone();
        Self {
            path: Path(path).into(),
            kind: (!kind.is_empty()).then_some(Kind(kind)),
            weight: Some(Weight(weight)),
            lifecycle: Some(lifecycle.into()),
            quota: quotas.into_iter().map(|(pool, quota)| (Label(pool), quota.into())).collect(),
            budgets: (!budgets.is_empty()).then(|| budgets.iter().map(Into::into).collect()),
            rates: RateShape::of(&rates),
            max_priority: max_priority.map(Priority),
            members: members.map(Into::into),
        }
    }
}

impl TenantShape {
    /// This tenant and all under it, parents first.
    pub(in crate::config) fn flatten(
        self,
        parent: &TenantPath,
        source: ledger::Source,
        tenants: &mut Vec<(ledger::Tenant, At<Label>)>,
        problems: &mut Vec<Problem>,
    ) {
        let Self { name, kind, weight, lifecycle, quota, budgets, rates, max_priority, members, tenants: children } =
            self;
        let joined = if parent.is_root() { name.value.0.to_string() } else { format!("{parent}/{}", name.value.0) };
        let path = match TenantPath::parse(&joined) {
            Ok(path) => path,
            Err(error) => return problems.push(name.problem(error.to_string())),
        };
        let change = TenantChange {
            path: Path(path.clone()).into(),
            kind,
            weight,
            lifecycle,
            quota,
            budgets,
            rates,
            max_priority,
            members,
        };
        match change.over(ledger::Tenant { source, ..ledger::Tenant::new(path.clone()) }) {
            Ok(tenant) => tenants.push((tenant, name)),
            Err(found) => problems.extend(found),
        }
        flatten_all(children, &path, source, tenants, problems);
    }

    /// The tree of these tenants; one whose parent is not among them stands at the top, by its last name.
    pub fn tree<'a>(tenants: impl IntoIterator<Item = &'a ledger::Tenant>) -> Vec<Self> {
        let mut by_path: BTreeMap<TenantPath, Self> =
            tenants.into_iter().map(|tenant| (tenant.path.clone(), Self::alone(tenant))).collect();
        let mut top = Vec::new();
        // Deepest first, so that each is whole when it is handed to its parent.
        let mut paths: Vec<TenantPath> = by_path.keys().cloned().collect();
        paths.sort_by_key(|path| std::cmp::Reverse(path.depth()));
        for path in paths {
            let Some(mut shape) = by_path.remove(&path) else { continue };
            shape.tenants.sort_by(|a, b| a.name.value.cmp(&b.name.value));
            match path.parent().and_then(|parent| by_path.get_mut(&parent)) {
                Some(parent) => parent.tenants.push(shape),
                None => top.push(shape),
            }
        }
        top.sort_by(|a, b| a.name.value.cmp(&b.name.value));
        top
    }

    fn alone(tenant: &ledger::Tenant) -> Self {
        let TenantChange { path, kind, weight, lifecycle, quota, budgets, rates, max_priority, members } =
            tenant.into();
        let name = Name::parse(path.value.0.name()).unwrap_or_else(|_| unreachable!("a path is made of names"));
        Self {
            name: Label(name).into(),
            kind,
            weight,
            lifecycle,
            quota,
            budgets,
            rates,
            max_priority,
            members,
            tenants: Vec::new(),
        }
    }
}

/// All these tenants and those under them, parents first; sisters of one name are a problem.
pub(in crate::config) fn flatten_all(
    shapes: Vec<TenantShape>,
    parent: &TenantPath,
    source: ledger::Source,
    tenants: &mut Vec<(ledger::Tenant, At<Label>)>,
    problems: &mut Vec<Problem>,
) {
    let mut seen = std::collections::BTreeSet::new();
    for shape in shapes {
        if seen.insert(shape.name.value.clone()) {
            shape.flatten(parent, source, tenants, problems);
        } else {
            let under = if parent.is_root() { "at the top".into() } else { format!("under {parent}") };
            problems.push(shape.name.problem(format!("tenant {} is given twice {under}", shape.name.value.0)));
        }
    }
}
