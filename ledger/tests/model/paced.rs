//! Rates by themselves, of sizes from the smallest to the largest, held against what they promise.

use std::sync::Arc;
use std::time::Duration;

use headgate_ledger::{
    AMOUNT_MAX, Amounts, Change, Close, Enforce, Entry, Ledger, Level, Levels, Members, Name, OnExceed, Outcome, Pool,
    Quota, Rate, ReasonCode, Request, RequestId, Resource, SPAN_MAX, Tenant, TenantPath, Time, UtcDays,
};

use crate::model::rng::{Rng, seeds};

const SECOND: u64 = 1_000_000_000;

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

fn path(text: &str) -> TenantPath {
    TenantPath::parse(text).expect("a path")
}

fn calls(amount: u64) -> Amounts {
    Amounts::new([(Resource::parse("calls").expect("a resource"), amount)]).expect("amounts")
}

fn rate(amount: u64, per: Duration, burst: u64) -> Rate {
    let resource = Resource::parse("calls").expect("a resource");
    Rate { name: name("calls"), resource, amount, per, burst, on_exceed: OnExceed::Deny }
}

/// One tenant with rates, in a pool that bounds it by nothing else.
struct Gate {
    ledger: Ledger,
    asked: u64,
}

impl Gate {
    fn of(rates: Vec<Rate>) -> Self {
        let pool = Pool { capacity: calls(AMOUNT_MAX), lease_ttl: Duration::ZERO, ..Pool::new(name("default")) };
        let mut gate = Self { ledger: Ledger::new(), asked: 0 };
        gate.configure(Time::EPOCH, vec![Change::PutPool(pool), Change::PutTenant(tenant(rates))]);
        gate
    }

    fn configure(&mut self, now: Time, changes: Vec<Change>) {
        let configured = self.ledger.configure(now, changes).expect("a configuration");
        self.ledger.post(now, &configured.entry);
    }

    fn request(&self, tenant: &str, amount: u64) -> Request {
        let id = RequestId::parse(&format!("r{}", self.asked)).expect("an id");
        let mut request = Request::new(id, path(tenant), name("default"), calls(amount));
        request.wait = false;
        request
    }

    /// Whether so much would be admitted, and if not, from when.
    fn check(&self, now: Time, amount: u64) -> Result<(), (ReasonCode, Option<Time>)> {
        let decision = self.ledger.admit(now, &Arc::new(self.request("t", amount))).expect("a decision");
        match decision.outcome {
            Outcome::Allow => Ok(()),
            Outcome::Queue | Outcome::Deny => Err((decision.reasons[0].code, decision.reasons[0].until)),
        }
    }

    /// Takes so much, and releases it at once.
    fn take(&mut self, now: Time, tenant: &str, amount: u64) -> bool {
        let decision = self.ledger.admit(now, &Arc::new(self.request(tenant, amount))).expect("a decision");
        self.asked += 1;
        let Some(entry) = decision.entry else { return false };
        self.ledger.post(now, &entry);
        let id = decision.id.expect("a lease");
        let end = self.ledger.close(now, id, Close::Release).expect("a lease").expect("it has not ended");
        self.ledger.post(now, &end);
        true
    }

    fn left(&self, now: Time) -> u64 {
        self.ledger.rate(now, "t", "calls").expect("a rate").left
    }
}

fn tenant(rates: Vec<Rate>) -> Tenant {
    Tenant { quotas: vec![(name("default"), Quota::default())], rates, ..Tenant::new(path("t")) }
}

fn at(nanos: u64) -> Time {
    Time::from_nanos(nanos)
}

/// Amounts and spans whose logarithm is even: small ones are as frequent as large ones.
fn even(rng: &mut Rng, bits: i64) -> u64 {
    let most = 1i64 << rng.within(0..=bits);
    rng.within(1..=most) as u64
}

/// What passed: no window may have more of it than the burst and what came back meanwhile. One that is refused would have
/// broken that for some window that ends now; everything is counted in units times `per`, so that nothing is rounded.
fn breaks(passed: &[(u64, u64)], now: u64, amount: u64, rate: &Rate) -> bool {
    let per = rate.per.as_nanos();
    let mut sum = u128::from(amount) * per;
    let mut broken = amount > rate.burst;
    for (at, amount) in passed.iter().rev() {
        sum += u128::from(*amount) * per;
        broken |= sum > u128::from(rate.burst) * per + u128::from(now - at) * u128::from(rate.amount);
    }
    broken
}

#[test]
fn no_window_has_more_than_the_burst_and_what_comes_back_in_it_and_nothing_else_is_refused() {
    for seed in seeds(400) {
        let mut rng = Rng::new(seed);
        let small = rng.chance(60);
        let (bits, span) = if small { (5, 5) } else { (60, 61) };
        let per = Duration::from_nanos(even(&mut rng, span)).min(SPAN_MAX);
        let rate = rate(even(&mut rng, bits), per, even(&mut rng, bits));
        let mut gate = Gate::of(vec![rate.clone()]);
        let (mut now, mut passed) = (0u64, Vec::new());
        for step in 0..30 {
            let amount = even(&mut rng, bits).min(rate.burst.saturating_add(1)).min(AMOUNT_MAX);
            let told = format!("seed {seed}, step {step}: {amount} at {now} of {rate:?}, after {passed:?}");
            let expected = !breaks(&passed, now, amount, &rate);
            match gate.check(at(now), amount) {
                Ok(()) => assert!(expected, "{told}: passes"),
                Err((ReasonCode::NeverFits, until)) => assert!(amount > rate.burst && until.is_none(), "{told}"),
                Err((code, until)) => {
                    assert_eq!((code, expected), (ReasonCode::RateExceeded, false), "{told}");
                    if let Some(until) = until {
                        assert!(until > at(now), "{told}: {until:?}");
                        assert!(gate.check(at(until.nanos() - 1), amount).is_err(), "{told}: just before {until:?}");
                        assert_eq!(gate.check(until, amount), Ok(()), "{told}: exactly at {until:?}");
                        if until.nanos() < 1 << 62 && rng.chance(30) {
                            now = until.nanos();
                        }
                    }
                }
            }
            let expected = !breaks(&passed, now, amount, &rate);
            assert_eq!(gate.take(at(now), "t", amount), expected, "{told}");
            if expected {
                passed.push((now, amount));
            }
            now += if rng.chance(30) { 0 } else { even(&mut rng, if small { 6 } else { 57 }) };
        }
    }
}

#[test]
fn a_refusal_says_the_instant_at_which_it_would_pass() {
    // Of three in seven seconds, one comes back in two and a third.
    let mut gate = Gate::of(vec![rate(3, Duration::from_secs(7), 3)]);
    assert!(gate.take(at(0), "t", 3));
    let third = 7 * SECOND / 3;
    assert_eq!(gate.check(at(0), 1), Err((ReasonCode::RateExceeded, Some(at(third + 1)))));
    assert_eq!(gate.check(at(third), 1), Err((ReasonCode::RateExceeded, Some(at(third + 1)))));
    assert_eq!(gate.check(at(third + 1), 1), Ok(()));
    assert_eq!(gate.check(at(third + 1), 3), Err((ReasonCode::RateExceeded, Some(at(7 * SECOND)))));
    assert_eq!(gate.check(at(7 * SECOND), 4), Err((ReasonCode::NeverFits, None)));
}

#[test]
fn a_check_takes_nothing_and_a_release_gives_nothing_back() {
    let mut gate = Gate::of(vec![rate(10, Duration::from_secs(1), 2)]);
    assert_eq!((gate.check(at(0), 2), gate.check(at(0), 2), gate.left(at(0))), (Ok(()), Ok(()), 2));
    assert!(gate.take(at(0), "t", 2));
    assert_eq!(gate.left(at(0)), 0);
    let standing = gate.ledger.rate(at(0), "t", "calls").expect("a rate");
    assert_eq!(standing.whole_at, at(SECOND / 5));
}

#[test]
fn what_passes_though_it_exceeds_a_rate_uses_it_up_and_leaves_no_debt() {
    let mut gate = Gate::of(vec![rate(1, Duration::from_secs(1), 2)]);
    let enforce = |enforce| Change::Enforce { pool: name("default"), tenant: TenantPath::root(), enforce };
    gate.configure(at(0), vec![enforce(Some(Enforce::Observe))]);
    for _ in 0..50 {
        assert!(gate.take(at(0), "t", 1));
    }
    gate.configure(at(0), vec![enforce(None)]);
    assert_eq!(gate.check(at(0), 1), Err((ReasonCode::RateExceeded, Some(at(SECOND)))));
}

#[test]
fn a_rate_that_is_changed_keeps_what_is_taken() {
    let mut gate = Gate::of(vec![rate(2, Duration::from_secs(1), 4)]);
    assert!(gate.take(at(0), "t", 4));
    // Half a second later three are out still, whatever they come back in from now on.
    let now = at(SECOND / 2);
    gate.configure(now, vec![Change::PutTenant(tenant(vec![rate(1, Duration::from_secs(60), 5)]))]);
    assert_eq!(gate.left(now), 2);
    assert_eq!(gate.check(now, 3), Err((ReasonCode::RateExceeded, Some(now.after(Duration::from_secs(60))))));
    // Of a smaller burst more is out than there is: that comes back first.
    gate.configure(now, vec![Change::PutTenant(tenant(vec![rate(1, Duration::from_secs(60), 1)]))]);
    assert_eq!(gate.check(now, 1), Err((ReasonCode::RateExceeded, Some(now.after(Duration::from_secs(180))))));
    // One of another name, or of another resource, is another one.
    let other = Rate { name: name("other"), ..rate(1, Duration::from_secs(60), 1) };
    gate.configure(now, vec![Change::PutTenant(tenant(vec![other]))]);
    assert_eq!(gate.check(now, 1), Ok(()));
}

#[test]
fn what_is_taken_is_rounded_up_where_a_rate_is_changed() {
    let mut gate = Gate::of(vec![rate(1, Duration::from_nanos(7), 1)]);
    assert!(gate.take(at(0), "t", 1));
    // Six sevenths are out: of three nanoseconds' parts that is two and four sevenths.
    gate.configure(at(1), vec![Change::PutTenant(tenant(vec![rate(1, Duration::from_nanos(3), 1)]))]);
    assert_eq!(gate.check(at(1), 1), Err((ReasonCode::RateExceeded, Some(at(4)))));
}

#[test]
fn the_time_of_what_is_posted_never_runs_back() {
    let mut gate = Gate::of(vec![rate(1, Duration::from_secs(1), 2)]);
    assert!(gate.take(at(10 * SECOND), "t", 2));
    assert!(gate.check(at(0), 1).is_err());
    assert_eq!(gate.check(at(11 * SECOND), 1), Ok(()));
}

#[test]
fn a_ticket_waits_for_a_rate_and_no_longer() {
    let queues = Rate { on_exceed: OnExceed::Queue, ..rate(3, Duration::from_secs(7), 3) };
    let mut gate = Gate::of(vec![queues]);
    assert!(gate.take(at(0), "t", 3));
    let mut request = gate.request("t", 2);
    request.wait = true;
    let request = Arc::new(request);
    let decision = gate.ledger.admit(at(0), &request).expect("a decision");
    assert_eq!((decision.outcome, decision.reasons[0].code), (Outcome::Queue, ReasonCode::RateExceeded));
    gate.ledger.post(at(0), &decision.entry.expect("a ticket"));
    let passes = 14 * SECOND / 3 + 1;
    let due = |now: u64| gate.ledger.due(at(now), &UtcDays);
    assert_eq!((due(0), due(passes - 1)), (None, None));
    assert_eq!(gate.ledger.next_due(at(0)), Some(at(passes)));
    let id = decision.id.expect("a ticket");
    assert_eq!(due(passes), Some(Entry::Dispatched { id, count: 1 }));
    assert_eq!(gate.ledger.audit(at(0), &[]), []);
}

#[test]
fn each_member_has_its_own_rate_beside_its_parents() {
    let mut gate = Gate::of(Vec::new());
    let members = |amount| Members {
        kind: "user".to_owned(),
        class: None,
        max: 10,
        keep: Duration::from_secs(60),
        rates: vec![rate(amount, Duration::from_secs(1), amount)],
    };
    let with = |amount| Tenant { members: Some(members(amount)), ..tenant(vec![rate(3, Duration::from_secs(1), 3)]) };
    gate.configure(at(0), vec![Change::PutTenant(with(2))]);
    assert!(!gate.take(at(0), "t/ann", 3), "more than a member may at once, before there is one");
    assert!(gate.take(at(0), "t/ann", 2));
    assert!(!gate.take(at(0), "t/ann", 1));
    assert!(!gate.take(at(0), "t/ben", 2), "its parent has one left");
    assert!(gate.take(at(0), "t/ben", 1));
    // What the parent says counts for those that are there, too.
    gate.configure(at(SECOND), vec![Change::PutTenant(with(1))]);
    assert!(!gate.take(at(SECOND), "t/ann", 2));
    assert!(gate.take(at(SECOND), "t/ann", 1));
}

#[test]
fn what_no_rate_can_mean_is_refused() {
    let refused = |rate: Rate| {
        let changes = vec![Change::PutTenant(tenant(vec![rate]))];
        Gate::of(Vec::new()).ledger.configure(Time::EPOCH, changes).expect_err("refused")[0].to_string()
    };
    let second = Duration::from_secs(1);
    for (rate, expected) in [
        (rate(1, Duration::ZERO, 1), "rate calls is per no time at all: say per how long"),
        (rate(1, SPAN_MAX + second, 1), "rate calls is per longer than a hundred years"),
        (rate(AMOUNT_MAX + 1, second, 1), "rate calls is above 1152921504606846976"),
        (rate(1, second, AMOUNT_MAX + 1), "rate calls is above 1152921504606846976"),
        (rate(1, second, 0), "rate calls has a burst of 0"),
        (rate(0, second, 1), "rate calls is 0 with a burst above it"),
    ] {
        let why = refused(rate);
        assert!(why.starts_with(&format!("tenant t: {expected}")), "{why}");
    }
    assert_eq!(Gate::of(vec![rate(0, second, 0)]).check(at(0), 1), Err((ReasonCode::NeverFits, None)));
    let members = Members { kind: String::new(), class: None, max: 1, keep: second, rates: vec![rate(1, second, 2)] };
    let changes = vec![Change::PutTenant(Tenant { members: Some(members), ..tenant(Vec::new()) })];
    let why = Gate::of(Vec::new()).ledger.configure(Time::EPOCH, changes).expect_err("refused")[0].to_string();
    assert!(
        why.starts_with("tenant t: its members are kept for less than the 2 s that all of their rate calls"),
        "{why}"
    );
}

#[test]
fn growth_is_counted_and_what_shrinks_gives_nothing_back() {
    let mut gate = Gate::of(vec![rate(1, Duration::from_secs(1), 5)]);
    let decision = gate.ledger.admit(at(0), &Arc::new(gate.request("t", 2))).expect("a decision");
    gate.ledger.post(at(0), &decision.entry.expect("a lease"));
    let id = decision.id.expect("a lease");
    for (size, left) in [(4, Some(1)), (1, Some(1)), (2, Some(0)), (3, None)] {
        let amendment = gate.ledger.amend(at(0), id, &calls(size)).expect("a lease");
        assert_eq!(amendment.entry.is_some(), left.is_some(), "{size}");
        if let (Some(entry), Some(left)) = (amendment.entry, left) {
            gate.ledger.post(at(0), &entry);
            assert_eq!(gate.left(at(0)), left, "{size}");
        }
    }
}

#[test]
fn limits_and_rates_of_one_resource_stand_beside_each_other() {
    let limit = Levels::new([(Resource::parse("calls").expect("a resource"), Level::Units(1))]).expect("levels");
    let quota = Quota { limit: Some(limit), ..Quota::default() };
    let mut gate = Gate::of(Vec::new());
    let limited = Tenant { quotas: vec![(name("default"), quota)], ..tenant(vec![rate(1, Duration::from_secs(1), 2)]) };
    gate.configure(at(0), vec![Change::PutTenant(limited)]);
    let decision = gate.ledger.admit(at(0), &Arc::new(gate.request("t", 1))).expect("a decision");
    gate.asked += 1;
    gate.ledger.post(at(0), &decision.entry.expect("a lease"));
    assert_eq!(gate.check(at(0), 1), Err((ReasonCode::ExceedsLimit, None)), "it takes nothing of the rate");
    assert_eq!(gate.left(at(0)), 1);
}
