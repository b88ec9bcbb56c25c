//! Hits: each counted as it comes, and all of them undone where one is refused.

use super::config::{Amounts, Enforce, Lifecycle, Time, lineage};
use super::{Code, Error, Hit, Model, Outcome, Reason};

impl Model {
    /// "Several hits of one call are decided in one step: all are counted, or, where one of them is refused, none is."
    pub(crate) fn hit(&mut self, now: Time, hits: &[Hit]) -> Outcome {
        self.advance(now);
        for hit in hits {
            if self.config.pool(&hit.pool).is_none() || self.config.tenant(&hit.tenant).is_none() {
                return Outcome::Error(Error::NotFound);
            }
            if !self.config.may_use(&hit.pool, &hit.tenant) {
                return Outcome::Error(Error::Invalid);
            }
        }
        let before = self.clone();
        let mut pass = true;
        let mut reasons = Vec::new();
        for hit in hits {
            let reason = self.against_hit(hit);
            let passes = reason.is_none() || self.config.enforce(&hit.pool, &hit.tenant) != Enforce::Deny;
            if passes {
                self.charge(&hit.tenant, "", &asked(hit));
            }
            pass &= passes;
            reasons.push(reason);
        }
        if pass {
            self.settle();
        } else {
            *self = before;
        }
        Outcome::Hits { pass, reasons }
    }

    /// Read as: inactive, then what never fits, then budgets, then rates, then that the pool is paused; in each the lowest
    /// tenant first.
    fn against_hit(&self, hit: &Hit) -> Option<Reason> {
        let archived =
            |path: &&str| self.config.tenant(path).is_some_and(|tenant| tenant.lifecycle == Lifecycle::Archived);
        if let Some(tenant) = lineage(&hit.tenant).into_iter().find(archived) {
            return Some(Reason { code: Code::Inactive, tenant: Some(tenant.to_owned()), resource: None });
        }
        let (mut never, mut used_up) = (None, None);
        for path in lineage(&hit.tenant) {
            let tenant = self.config.tenant(path).expect("a configured tenant");
            let at = |code| Some(Reason::at(code, path, &hit.resource));
            for budget in tenant.budgets.iter().filter(|budget| budget.resource == hit.resource) {
                if hit.amount > budget.amount {
                    never = never.or_else(|| at(Code::NeverFits));
                } else if hit.amount > 0 && self.budget_used(path, &budget.name) + hit.amount > budget.amount {
                    used_up = used_up.or_else(|| at(Code::BudgetUsedUp));
                }
            }
            let too_large = |rate: &&super::config::Rate| rate.resource == hit.resource && hit.amount > rate.burst;
            if tenant.rates.iter().any(|rate| too_large(&rate)) {
                never = never.or_else(|| at(Code::NeverFits));
            }
        }
        let exceeded = self.exceeded_rates_of(&hit.tenant, &asked(hit));
        let exceeded = exceeded.first().map(|over| Reason::at(Code::RateExceeded, over.tenant, &hit.resource));
        let paused = || self.config.pool(&hit.pool)?.paused.then(|| Reason::plain(Code::Paused));
        never.or(used_up).or(exceeded).or_else(paused)
    }
}

fn asked(hit: &Hit) -> Amounts {
    Amounts::from([(hit.resource.clone(), hit.amount)])
}
