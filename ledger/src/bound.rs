//! What counts a hit, and how that stands.

use std::time::Duration;

use crate::amount::Amount;
use crate::config::{Period, Rate};
use crate::ledger::{BudgetState, TenantIndex};
use crate::name::{Name, TenantPath};
use crate::rate::RateState;
use crate::request::ReasonCode;
use crate::time::Time;

/// A rate or a budget that counts a hit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HitBound {
    /// Whose.
    pub tenant: TenantPath,
    /// Its name there.
    pub name: Name,
    /// How much there is, in how long.
    pub amount: Amount,
    /// See `amount`.
    pub per: HitPer,
    /// How much is left of it, the hits counted where they pass.
    pub left: Amount,
    /// Where the hit is refused: from when time alone will let it pass. Else: when all of it is there again.
    pub until: Option<Time>,
}

/// In how long a bound's amount is there again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HitPer {
    /// A rate's time.
    Span(Duration),
    /// A budget's period.
    Period(Period),
}

/// What counts a hit: a member's own rate, before there is that member, or what there is.
#[derive(Clone, Copy)]
pub(crate) enum Counter<'a> {
    Unmade(&'a TenantPath, &'a Rate),
    Rate(TenantIndex, &'a RateState),
    Budget(TenantIndex, &'a BudgetState),
}

/// What tells one counter from another, in one step.
pub(crate) type Key<'a> = (&'a str, bool, &'a str);

impl Counter<'_> {
    pub(crate) fn name(&self) -> &Name {
        match self {
            Self::Unmade(_, rate) => &rate.name,
            Self::Rate(_, rate) => &rate.spec.name,
            Self::Budget(_, budget) => &budget.spec.name,
        }
    }

    /// The most that it ever lets pass at once.
    pub(crate) fn most(&self) -> Amount {
        match self {
            Self::Unmade(_, rate) => rate.burst,
            Self::Rate(_, rate) => rate.spec.burst,
            Self::Budget(_, budget) => budget.spec.amount,
        }
    }

    pub(crate) fn code(&self) -> ReasonCode {
        match self {
            Self::Unmade(..) | Self::Rate(..) => ReasonCode::RateExceeded,
            Self::Budget(..) => ReasonCode::BudgetUsedUp,
        }
    }

    /// How much it lets pass now.
    pub(crate) fn left(&self, now: Time) -> Amount {
        match self {
            Self::Unmade(_, rate) => rate.burst,
            Self::Rate(_, rate) => rate.standing(now).left,
            Self::Budget(_, budget) => budget.spec.amount.saturating_sub(budget.used),
        }
    }

    /// From when it lets so much pass.
    pub(crate) fn lets_at(&self, now: Time, amount: Amount) -> Time {
        match self {
            Self::Unmade(_, rate) => RateState::new((*rate).clone()).lets_at(now, amount),
            Self::Rate(_, rate) => rate.lets_at(now, amount),
            Self::Budget(_, budget) => budget.ends,
        }
    }

    /// When all of it is there again, after so much was taken.
    pub(crate) fn whole_at(&self, now: Time, amount: Amount) -> Time {
        match self {
            Self::Unmade(_, rate) => RateState::new((*rate).clone()).whole_at(now, amount),
            Self::Rate(_, rate) => rate.whole_at(now, amount),
            Self::Budget(_, budget) => budget.ends,
        }
    }
}
