//! Bursts that are bounded in time.

use std::time::Duration;

use crate::config::Burst;
use crate::time::Time;

/// Where a tenant's burst stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BurstState {
    /// Since when it has been above its guarantee without a break.
    pub(crate) above: Option<Time>,
    /// When the burst was over.
    pub(crate) over: Option<Time>,
    /// Since when it has been within its guarantee, after that.
    pub(crate) within: Option<Time>,
}

impl BurstState {
    /// Takes in whether the tenant is above its guarantee from now on.
    pub(crate) fn pass(&mut self, above: bool, burst: Burst, now: Time) {
        if !self.is_over(burst, now) {
            self.over = None;
            self.within = None;
        } else if self.over.is_none() {
            self.over = self.above.map(|since| since.after(burst.span));
        }
        if above {
            self.above = self.above.or(Some(now));
            self.within = None;
        } else {
            self.above = None;
            self.within = if self.over.is_some() { self.within.or(Some(now)) } else { None };
        }
    }

    /// Whether there is no further borrowing.
    pub(crate) fn is_over(&self, burst: Burst, now: Time) -> bool {
        match (self.over, self.within, self.above) {
            (Some(_), Some(within), _) => now < within.after(burst.cooldown),
            (Some(_), None, _) => true,
            (None, _, Some(above)) => now >= above.after(burst.span),
            (None, _, None) => false,
        }
    }

    /// Whether it is over, and the pool's grace has passed since.
    pub(crate) fn is_past(&self, burst: Burst, grace: Duration, now: Time) -> bool {
        let over = self.over.or_else(|| self.above.map(|since| since.after(burst.span)));
        self.is_over(burst, now) && over.is_some_and(|over| now >= over.after(grace))
    }

    /// Whether nothing of it need be remembered.
    pub(crate) fn is_idle(&self, burst: Burst, now: Time) -> bool {
        self.above.is_none() && !self.is_over(burst, now)
    }

    /// The first instant after `now` at which something of it changes by itself.
    pub(crate) fn next(&self, burst: Burst, grace: Duration, now: Time) -> Option<Time> {
        let over = self.over.or_else(|| self.above.map(|since| since.after(burst.span)));
        [over, over.map(|over| over.after(grace)), self.within.map(|since| since.after(burst.cooldown))]
            .into_iter()
            .flatten()
            .filter(|at| *at > now && *at != Time::NEVER)
            .min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::BurstState;
    use crate::config::Burst;
    use crate::time::Time;

    fn at(second: u64) -> Time {
        Time::from_nanos(second * 1_000_000_000)
    }

    const BURST: Burst = Burst { span: Duration::from_secs(30), cooldown: Duration::from_secs(10) };

    #[test]
    fn a_burst_is_over_after_its_span_and_until_its_cooldown() {
        let mut state = BurstState::default();
        state.pass(true, BURST, at(0));
        assert!(!state.is_over(BURST, at(29)) && state.is_over(BURST, at(30)));
        assert_eq!(state.next(BURST, Duration::from_secs(5), at(0)), Some(at(30)));
        assert!(!state.is_past(BURST, Duration::from_secs(5), at(34)));
        assert!(state.is_past(BURST, Duration::from_secs(5), at(35)));
        state.pass(false, BURST, at(40));
        assert!(state.is_over(BURST, at(49)) && !state.is_over(BURST, at(50)));
        state.pass(true, BURST, at(50));
        assert!(!state.is_over(BURST, at(79)));
    }

    #[test]
    fn a_break_begins_it_anew() {
        let mut state = BurstState::default();
        state.pass(true, BURST, at(0));
        state.pass(false, BURST, at(20));
        assert!(state.is_idle(BURST, at(20)));
        state.pass(true, BURST, at(21));
        assert!(!state.is_over(BURST, at(50)) && state.is_over(BURST, at(51)));
    }

    #[test]
    fn above_again_before_the_cooldown_is_no_cooldown() {
        let mut state = BurstState::default();
        state.pass(true, BURST, at(0));
        state.pass(false, BURST, at(31));
        state.pass(true, BURST, at(35));
        state.pass(false, BURST, at(36));
        assert!(state.is_over(BURST, at(45)) && !state.is_over(BURST, at(46)));
    }
}
