//! Rates: all that was ever taken of one is kept, and what has not come back yet is counted anew from that whenever it
//! is asked for.

use super::Model;
use super::config::{Amounts, OnExceed, Rate, Time, lineage};
use super::decide::Asking;

/// "A rate counts what is admitted … and nothing is given back by a release."
#[derive(Clone, Debug)]
pub(crate) struct Take {
    pub(crate) tenant: String,
    pub(crate) rate: String,
    pub(crate) at: Time,
    pub(crate) amount: i64,
}

/// A rate on somebody's path, and how much of its resource is asked for.
pub(crate) struct Counted<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) rate: &'a Rate,
    pub(crate) asked: i64,
}

impl Model {
    /// Those on a tenant's path that count some of what it asks for, lowest tenant first.
    pub(crate) fn rates_counting<'a>(&'a self, tenant: &'a str, ask: &Amounts) -> Vec<Counted<'a>> {
        let mut found = Vec::new();
        for path in lineage(tenant) {
            for rate in self.config.tenant(path).into_iter().flat_map(|tenant| &tenant.rates) {
                let asked = ask.get(&rate.resource).copied().unwrap_or(0);
                if asked > 0 {
                    found.push(Counted { tenant: path, rate, asked });
                }
            }
        }
        found
    }

    pub(crate) fn exceeded_rates<'a>(&'a self, asking: &'a Asking) -> Vec<Counted<'a>> {
        self.exceeded_rates_of(&asking.tenant, &asking.ask)
    }

    pub(crate) fn exceeded_rates_of<'a>(&'a self, tenant: &'a str, ask: &Amounts) -> Vec<Counted<'a>> {
        let mut counting = self.rates_counting(tenant, ask);
        counting.retain(|counted| self.over(counted) > 0);
        counting
    }

    pub(crate) fn is_denied_by_a_rate(&self, asking: &Asking) -> bool {
        self.exceeded_rates(asking).iter().any(|counted| counted.rate.on_exceed == OnExceed::Deny)
    }

    /// The first instant after now at which one that is exceeded by this lets it pass.
    pub(crate) fn passes_at(&self, counted: &Counted<'_>) -> Option<Time> {
        let over = self.over(counted);
        let later = (over + i128::from(counted.rate.amount) - 1) / i128::from(counted.rate.amount);
        (over > 0 && counted.asked <= counted.rate.burst).then(|| self.now + later as Time)
    }

    /// By how much it would be exceeded. Everything here is in units times nanoseconds of `per`: `amount` of these come back
    /// in each nanosecond, and no division rounds anything.
    fn over(&self, counted: &Counted<'_>) -> i128 {
        let rate = counted.rate;
        self.taken(counted.tenant, rate) + units(rate, counted.asked) - units(rate, rate.burst)
    }

    /// What was taken and has not come back. "What passes though it exceeds a rate, because nothing is enforced, uses it up
    /// and leaves no debt."
    fn taken(&self, tenant: &str, rate: &Rate) -> i128 {
        let (mut taken, mut last) = (0, 0);
        let back = |taken: i128, span: Time| (taken - i128::from(span) * i128::from(rate.amount)).max(0);
        for take in self.takes.iter().filter(|take| take.tenant == tenant && take.rate == rate.name) {
            taken = back(taken, take.at - last);
            let full = taken.max(units(rate, rate.burst));
            taken = full.min(taken + units(rate, take.amount));
            last = take.at;
        }
        back(taken, self.now - last)
    }

    pub(crate) fn take_rates(&mut self, tenant: &str, amounts: &Amounts) {
        let counting = self.rates_counting(tenant, amounts);
        let takes: Vec<Take> = counting
            .into_iter()
            .map(|Counted { tenant, rate, asked }| Take {
                tenant: tenant.to_owned(),
                rate: rate.name.clone(),
                at: self.now,
                amount: asked,
            })
            .collect();
        self.takes.extend(takes);
    }
}

fn units(rate: &Rate, amount: i64) -> i128 {
    i128::from(amount) * i128::from(rate.per)
}
