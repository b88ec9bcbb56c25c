//! Rates, in the wire's words and out of them.

use std::collections::BTreeSet;

use headgate_ledger as ledger;
use headgate_ledger::{Ledger, Name, Resource, Time};
use headgate_proto::v1;

use crate::config::{RATE_PER, format_amount, parse_amount};

use super::fault::Violations;
use super::objects::word;
use super::parse::span;
use super::render::{self, units};
use super::words::Word;

/// Rates, as they are set.
pub(super) fn rates(wrong: &mut Violations, field: &str, wire: Vec<v1::Rate>) -> Vec<ledger::Rate> {
    if wire.len() > ledger::RATES_MAX {
        wrong.add(field, format!("{} are given, at most {} may be", wire.len(), ledger::RATES_MAX));
        return Vec::new();
    }
    let mut seen = BTreeSet::new();
    let mut rates = Vec::with_capacity(wire.len());
    for (n, v1::Rate { name, resource, amount, per, burst, on_exceed }) in wire.into_iter().enumerate() {
        let at = |part: &str| format!("{field}[{n}].{part}");
        if !seen.insert(name.clone()) {
            wrong.add(at("name"), format!("rate {name} is given twice"));
        }
        let amount = wrong.take(&at("amount"), parse_amount(&amount, &resource));
        let burst = match &*burst {
            "" => amount,
            burst => wrong.take(&at("burst"), parse_amount(burst, &resource)),
        };
        let resource = wrong.take(&at("resource"), Resource::parse(&resource));
        let name = wrong.take(&at("name"), Name::parse(&name));
        let per = span(wrong, &at("per"), per).unwrap_or(RATE_PER);
        let on_exceed = word(wrong, &at("on_exceed"), on_exceed).unwrap_or_default();
        if let (Some(name), Some(resource), Some(amount), Some(burst)) = (name, resource, amount, burst) {
            rates.push(ledger::Rate { name, resource, amount, per, burst, on_exceed });
        }
    }
    rates
}

/// Rates, as they were set.
pub(super) fn wires(rates: &[ledger::Rate]) -> Vec<v1::Rate> {
    let wire = |rate: &ledger::Rate| {
        let ledger::Rate { name, resource, amount, per, burst, on_exceed } = rate;
        v1::Rate {
            name: name.to_string(),
            resource: resource.to_string(),
            amount: format_amount(*amount, resource.as_str()),
            per: render::span(*per),
            burst: format_amount(*burst, resource.as_str()),
            on_exceed: on_exceed.wire().into(),
        }
    };
    rates.iter().map(wire).collect()
}

/// The rates of a tenant, as they stand.
pub(super) fn usage(ledger: &Ledger, now: Time, tenant: &str) -> Vec<v1::RateUsage> {
    let spec = ledger.tenant(tenant).map(|tenant| &tenant.rates[..]).unwrap_or_default();
    let stands = |rate: &ledger::Rate| {
        let ledger::RateStanding { left, whole_at } = ledger.rate(now, tenant, rate.name.as_str())?;
        let ledger::Rate { name, resource, amount, per, burst, on_exceed: _ } = rate;
        Some(v1::RateUsage {
            tenant: tenant.to_owned(),
            name: name.to_string(),
            resource: resource.to_string(),
            amount: units(*amount),
            per: render::span(*per),
            burst: units(*burst),
            left: units(left),
            whole_at: render::time(whole_at),
        })
    };
    spec.iter().filter_map(stands).collect()
}
