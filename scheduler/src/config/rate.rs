//! Rates, as they stand in files.

use std::time::Duration;

use headgate_ledger as ledger;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::amount::{format_amount, parse_amount};
use super::read::{At, Problem, Text};
use super::shape::{Label, OnExceed, ResourceName, Span};

/// In how long a rate's amount comes back where nothing is said.
pub(crate) const RATE_PER: Duration = Duration::from_secs(1);

/// So much in so long, and so much at once: counted when work is admitted, and never given back by its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Rate")]
pub struct RateShape {
    /// Its name, unique in its tenant.
    pub name: At<Label>,
    /// What is counted: a request's own amounts of it.
    pub resource: ResourceName,
    /// How much comes back in every `per`. 0: nothing passes.
    pub amount: At<Text>,
    /// In how long; a second, if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per: Option<Span>,
    /// How much there is at most, and may come at once; the amount, if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<At<Text>>,
    /// What becomes of a request that exceeds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_exceed: Option<OnExceed>,
}

impl RateShape {
    fn into_rate(self) -> Result<ledger::Rate, Problem> {
        let Self { name, resource: ResourceName(resource), amount, per, burst, on_exceed } = self;
        let units = |text: At<Text>| {
            parse_amount(&text.value.0, resource.as_str()).map_err(|error| text.problem(error.to_string()))
        };
        let amount = units(amount)?;
        Ok(ledger::Rate {
            name: name.value.0,
            amount,
            per: per.map_or(RATE_PER, |Span(per)| per),
            burst: burst.map_or(Ok(amount), units)?,
            on_exceed: on_exceed.map_or(ledger::OnExceed::Deny, Into::into),
            resource,
        })
    }

    /// Rates, each of a name of its own.
    pub(super) fn into_rates(shapes: Vec<Self>, problems: &mut Vec<Problem>) -> Vec<ledger::Rate> {
        let mut rates: Vec<ledger::Rate> = Vec::with_capacity(shapes.len());
        for shape in shapes {
            let name = shape.name.clone();
            if rates.iter().any(|other| other.name == name.value.0) {
                problems.push(name.problem(format!("rate {} is given twice", name.value.0)));
                continue;
            }
            match shape.into_rate() {
                Ok(rate) => rates.push(rate),
                Err(problem) => problems.push(problem),
            }
        }
        rates
    }

    /// What stands in a file for rates; nothing where there are none.
    pub(super) fn of(rates: &[ledger::Rate]) -> Option<Vec<Self>> {
        (!rates.is_empty()).then(|| rates.iter().map(Into::into).collect())
    }
}

impl From<&ledger::Rate> for RateShape {
    fn from(rate: &ledger::Rate) -> Self {
        let ledger::Rate { name, resource, amount, per, burst, on_exceed } = rate.clone();
        Self {
            name: Label(name).into(),
            amount: Text(format_amount(amount, resource.as_str())).into(),
            per: Some(Span(per)),
            burst: Some(Text(format_amount(burst, resource.as_str())).into()),
            on_exceed: Some(on_exceed.into()),
            resource: ResourceName(resource),
        }
    }
}
