//! The shapes of a tenant's budgets, and of a rule for members.

use std::time::Duration;

use headgate_ledger as ledger;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scalar::{ClassName, Kind, Label, ResourceName, Span, Zone};
use super::words::{OnExceed, Period};
use crate::config::amount::{format_amount, parse_amount};
use crate::config::rate::RateShape;
use crate::config::read::{At, Problem, Text};

/// An amount per calendar period, charged when work is admitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Budget")]
pub struct BudgetShape {
    /// Its name, unique in its tenant.
    pub name: At<Label>,
    /// What is counted: a request's own amounts of it.
    pub resource: ResourceName,
    /// The amount per period.
    pub amount: At<Text>,
    /// The period.
    pub period: Period,
    /// The time zone whose calendar turns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<Zone>,
    /// What becomes of a request that exceeds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_exceed: Option<OnExceed>,
}

impl BudgetShape {
    pub(super) fn into_budget(self) -> Result<ledger::Budget, Problem> {
        let Self { name, resource: ResourceName(resource), amount, period, time_zone, on_exceed } = self;
        Ok(ledger::Budget {
            amount: parse_amount(&amount.value.0, resource.as_str())
                .map_err(|error| amount.problem(error.to_string()))?,
            name: name.value.0,
            resource,
            period: period.into(),
            time_zone: time_zone.map_or_else(|| "UTC".into(), |Zone(zone)| zone),
            on_exceed: on_exceed.map_or(ledger::OnExceed::Deny, Into::into),
        })
    }
}

impl From<&ledger::Budget> for BudgetShape {
    fn from(budget: &ledger::Budget) -> Self {
        let ledger::Budget { name, resource, amount, period, time_zone, on_exceed } = budget.clone();
        Self {
            name: Label(name).into(),
            amount: Text(format_amount(amount, resource.as_str())).into(),
            resource: ResourceName(resource),
            period: period.into(),
            time_zone: Some(Zone(time_zone)),
            on_exceed: Some(on_exceed.into()),
        }
    }
}

/// Tenants under this one are made when a request of theirs is first admitted or queued.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Members")]
pub struct MembersShape {
    /// Their kind; `user`, if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// The class of their quota in every pool that their parent may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<ClassName>,
    /// How many there may be at once; 1,000, if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    /// They go after holding nothing for so long; an hour, if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<Span>,
    /// The rates of each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rates: Option<Vec<RateShape>>,
}

/// Members that a tenant may have where nothing is said.
const MEMBERS_MAX: u32 = 1000;
/// How long members are kept where nothing is said.
const MEMBERS_KEPT: Duration = Duration::from_secs(3600);

impl MembersShape {
    pub(super) fn into_members(self, problems: &mut Vec<Problem>) -> ledger::Members {
        let Self { kind, class, max, keep, rates } = self;
        ledger::Members {
            kind: kind.map_or_else(|| "user".into(), |Kind(kind)| kind),
            class: class.map(|ClassName(class)| class),
            max: max.unwrap_or(MEMBERS_MAX),
            keep: keep.map_or(MEMBERS_KEPT, |Span(keep)| keep),
            rates: RateShape::into_rates(rates.unwrap_or_default(), problems),
        }
    }
}

impl From<ledger::Members> for MembersShape {
    fn from(ledger::Members { kind, class, max, keep, rates }: ledger::Members) -> Self {
        Self {
            kind: Some(Kind(kind)),
            class: class.map(ClassName),
            max: Some(max),
            keep: Some(Span(keep)),
            rates: RateShape::of(&rates),
        }
    }
}
