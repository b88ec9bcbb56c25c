//! Rates: so much in so long, and so much at once. A generic cell rate algorithm (ITU-T I.371), in whole numbers.
//!
//! What was taken of a rate comes back evenly. It is kept in parts of a unit: a unit has as many as `per` has
//! nanoseconds, so that in every nanosecond exactly `amount` parts come back, and nothing is ever rounded. A request
//! passes where what is taken, with its own, stays within `burst` units. So in no window does more pass than `burst`
//! and what comes back in it; and the instant at which one that is refused would pass is exact, to the nanosecond.
//!
//! The largest amount in the longest `per` is 2^122 parts: sums of some dozens fit 128 bits.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included};
use std::time::Duration;

use crate::amount::Amount;
use crate::config::Rate;
use crate::time::{Time, nanos_of};
use crate::views::RateStanding;

impl Rate {
    /// The parts of one unit.
    fn unit(&self) -> u128 {
        nanos_of(self.per).max(1).into()
    }

    fn parts(&self, amount: Amount) -> u128 {
        u128::from(amount) * self.unit()
    }

    /// How long it takes until all of it is there again; none where it never is.
    pub fn whole_after(&self) -> Option<Duration> {
        let nanos = self.parts(self.burst).div_ceil(u128::from(self.amount).max(1));
        let comes_back = self.amount > 0 || self.burst == 0;
        comes_back.then(|| u64::try_from(nanos).map_or(Duration::MAX, Duration::from_nanos))
    }
}

/// What is taken of a rate, as it was at an instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) parts: u128,
    pub(crate) at: Time,
}

impl Taken {
    /// What has not come back yet.
    fn by(self, now: Time, rate: &Rate) -> u128 {
        let back = u128::from(nanos_of(now.since(self.at))) * u128::from(rate.amount);
        self.parts.saturating_sub(back)
    }

    /// Whether so much may be taken.
    pub(crate) fn lets(self, now: Time, amount: Amount, rate: &Rate) -> bool {
        self.by(now, rate).saturating_add(rate.parts(amount)) <= rate.parts(rate.burst)
    }

    /// The first instant at which so much may be taken, if nothing is until then; never, where that is so.
    fn lets_at(self, amount: Amount, rate: &Rate) -> Time {
        if amount > rate.burst {
            return Time::NEVER;
        }
        let over = self.parts.saturating_add(rate.parts(amount)).saturating_sub(rate.parts(rate.burst));
        match (over, rate.amount) {
            (0, _) => self.at,
            (_, 0) => Time::NEVER,
            (over, back) => {
                let wait = u64::try_from(over.div_ceil(back.into())).map(Duration::from_nanos);
                wait.map_or(Time::NEVER, |wait| self.at.after(wait))
            }
        }
    }

    /// Takes so much. What passes though it exceeds the rate, because nothing is enforced, uses it up and leaves no debt:
    /// else nothing would pass for long once it is enforced.
    pub(crate) fn take(&mut self, now: Time, amount: Amount, rate: &Rate) {
        let before = self.by(now, rate);
        let after = before.saturating_add(rate.parts(amount));
        self.parts = after.min(before.max(rate.parts(rate.burst)));
        self.at = self.at.max(now);
    }

    /// How much may be taken.
    fn free(self, now: Time, rate: &Rate) -> Amount {
        let free = rate.parts(rate.burst).saturating_sub(self.by(now, rate)) / rate.unit();
        Amount::try_from(free).unwrap_or(rate.burst)
    }

    /// The same, of a rate that was changed: no more has come back by that. A part that is begun counts as whole.
    fn of_another(self, now: Time, old: &Rate, new: &Rate) -> Self {
        let parts = self.by(now, old);
        let (units, rest) = (parts / old.unit(), parts % old.unit());
        let parts = units.saturating_mul(new.unit()).saturating_add((rest * new.unit()).div_ceil(old.unit()));
        Self { parts, at: self.at.max(now) }
    }
}

/// A rate, what is taken of it, and who waits for it.
#[derive(Clone, Debug)]
pub(crate) struct RateState {
    pub(crate) spec: Rate,
    pub(crate) taken: Taken,
    /// What tickets under it ask for, with how many do.
    pub(crate) waiting: BTreeMap<Amount, u32>,
    /// Its place among the turns, where it has one.
    pub(crate) turn: Option<Time>,
}

impl RateState {
    pub(crate) fn new(spec: Rate) -> Self {
        Self { spec, taken: Taken::default(), waiting: BTreeMap::new(), turn: None }
    }

    /// With what is taken of the one that stood here before, where it counts the same.
    pub(crate) fn after(spec: Rate, old: &[Self], now: Time) -> Self {
        let same = |old: &&Self| old.spec.name == spec.name && old.spec.resource == spec.resource;
        let taken = old.iter().find(same).map(|old| old.taken.of_another(now, &old.spec, &spec));
        Self { taken: taken.unwrap_or_default(), ..Self::new(spec) }
    }

    /// What is taken is told as of now, as it is where the rate is put anew: so that it does not matter which way a change
    /// of configuration took.
    pub(crate) fn retell(&mut self, now: Time) {
        self.taken = self.taken.of_another(now, &self.spec, &self.spec);
    }

    /// Where it does not let so much pass: from when it does, and how much of it is used.
    pub(crate) fn refuses(&self, now: Time, amount: Amount) -> Option<(Time, Amount)> {
        let Self { spec, taken, .. } = self;
        let used = || spec.burst.saturating_sub(taken.free(now, spec));
        (!taken.lets(now, amount, spec)).then(|| (taken.lets_at(amount, spec), used()))
    }

    /// The first instant from `now` on at which it lets so much pass.
    pub(crate) fn lets_at(&self, now: Time, amount: Amount) -> Time {
        self.taken.lets_at(amount, &self.spec).max(now)
    }

    /// When all of it is there again, after so much is taken now.
    pub(crate) fn whole_at(&self, now: Time, amount: Amount) -> Time {
        let mut taken = self.taken;
        taken.take(now, amount, &self.spec);
        taken.lets_at(self.spec.burst, &self.spec).max(now)
    }

    pub(crate) fn standing(&self, now: Time) -> RateStanding {
        let Self { spec, taken, .. } = self;
        let left = taken.free(now, spec);
        RateStanding { left, whole_at: self.lets_at(now, spec.burst) }
    }

    /// The first instant after `now` at which it lets a ticket pass that it does not let pass now.
    pub(crate) fn next_turn(&self, now: Time) -> Option<Time> {
        let free = self.taken.free(now, &self.spec);
        let mut larger = self.waiting.range((Excluded(free), Included(self.spec.burst.max(free))));
        let (amount, _) = larger.next()?;
        Some(self.taken.lets_at(*amount, &self.spec)).filter(|at| *at != Time::NEVER)
    }
}
