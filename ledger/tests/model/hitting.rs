//! Hits by themselves: what is told of them, and the members that they make.

use std::sync::Arc;
use std::time::Duration;

use headgate_ledger::{
    AMOUNT_MAX, Amounts, Budget, Change, Entry, HITS_MAX, Hit, HitDecision, HitPer, Ledger, Level, Levels, Members,
    Name, OnExceed, Period, Pool, Quota, Rate, ReasonCode, Refusal, Request, RequestId, Resource, Tenant, TenantPath,
    Time, UtcDays,
};

const SECOND: Duration = Duration::from_secs(1);
const START: Time = Time::from_nanos(1_000_000_000_000_000_000);

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

fn path(text: &str) -> TenantPath {
    TenantPath::parse(text).expect("a path")
}

fn calls() -> Resource {
    Resource::parse("calls").expect("a resource")
}

fn rate(name_: &str, amount: u64, per: Duration) -> Rate {
    Rate { name: name(name_), resource: calls(), amount, per, burst: amount, on_exceed: OnExceed::Deny }
}

fn hit(tenant: &str, amount: u64) -> Hit {
    Hit { pool: name("default"), tenant: path(tenant), resource: calls(), amount }
}

fn tenant(path_: &str, rates: Vec<Rate>) -> Tenant {
    Tenant { quotas: vec![(name("default"), Quota::default())], rates, ..Tenant::new(path(path_)) }
}

struct Gate {
    ledger: Ledger,
    now: Time,
}

impl Gate {
    fn of(tenants: Vec<Tenant>) -> Self {
        let mut gate = Self { ledger: Ledger::new(), now: START };
        let mut changes = vec![Change::PutPool(Pool::new(name("default")))];
        changes.extend(tenants.into_iter().map(Change::PutTenant));
        let configured = gate.ledger.configure(START, changes).expect("a configuration");
        gate.post(&configured.entry);
        gate
    }

    fn post(&mut self, entry: &Entry) {
        self.ledger.post(self.now, entry);
        while let Some(due) = self.ledger.due(self.now, &UtcDays) {
            self.ledger.post(self.now, &due);
        }
    }

    fn hit(&mut self, hits: &[Hit]) -> HitDecision {
        let decision = self.ledger.hit(self.now, hits).expect("a decision");
        if let Some(entry) = &decision.entry {
            self.post(entry);
        }
        assert_eq!(self.ledger.audit(self.now, &[]), []);
        decision
    }

    fn passes(&mut self, tenant: &str, amount: u64) -> bool {
        self.hit(&[hit(tenant, amount)]).allowed
    }

    fn left(&self, tenant: &str, rate: &str) -> u64 {
        self.ledger.rate(self.now, tenant, rate).expect("a rate").left
    }

    fn wait(&mut self, span: Duration) {
        let to = self.now.after(span);
        while let Some(next) = self.ledger.next_due(self.now).filter(|next| *next <= to) {
            self.now = next;
            while let Some(due) = self.ledger.due(self.now, &UtcDays) {
                self.ledger.post(self.now, &due);
            }
        }
        self.now = to;
    }
}

#[test]
fn where_one_is_refused_none_is_counted() {
    let rates = |amount| vec![rate("r", amount, SECOND)];
    let mut gate = Gate::of(vec![tenant("a", rates(5)), tenant("b", rates(1))]);
    let both = [hit("a", 1), hit("b", 1)];
    assert!(gate.hit(&both).allowed);
    let refused = gate.hit(&both);
    assert!(!refused.allowed && refused.entry.is_none());
    let reasons: Vec<_> = refused.hits.iter().map(|hit| hit.reasons.first().map(|reason| reason.code)).collect();
    assert_eq!(reasons, [None, Some(ReasonCode::RateExceeded)], "each is told apart");
    assert_eq!(gate.left("a", "r"), 4, "what was refused for b costs a nothing");
}

#[test]
fn hits_of_one_step_see_each_other() {
    let mut gate =
        Gate::of(vec![tenant("a", vec![rate("r", 5, SECOND)]), tenant("a/x", vec![]), tenant("a/y", vec![])]);
    let refused = gate.hit(&[hit("a/x", 3), hit("a/y", 3)]);
    assert_eq!((refused.allowed, refused.hits[0].passes(), refused.hits[1].passes()), (false, true, false));
    assert!(gate.hit(&[hit("a/x", 3), hit("a/y", 2)]).allowed);
    assert_eq!(gate.left("a", "r"), 0);
}

#[test]
fn what_counts_a_hit_tells_how_it_stands() {
    let daily = Budget {
        name: name("daily"),
        resource: calls(),
        amount: 4,
        period: Period::Day,
        time_zone: "UTC".into(),
        on_exceed: OnExceed::Deny,
    };
    let spends = Tenant { budgets: vec![daily], ..tenant("a", vec![rate("all", 100, SECOND)]) };
    let mut gate = Gate::of(vec![spends, tenant("a/x", vec![rate("own", 3, SECOND * 10)]), tenant("free", vec![])]);
    let told = |decision: HitDecision| decision.hits[0].bound.clone().expect("something counts it");
    let bound = told(gate.hit(&[hit("a/x", 2)]));
    assert_eq!((bound.tenant.as_str(), bound.name.as_str(), bound.left), ("a/x", "own", 1), "what leaves least");
    assert_eq!((bound.amount, bound.per), (3, HitPer::Span(SECOND * 10)));
    let whole = START.after(Duration::from_nanos(6_666_666_667));
    assert_eq!(bound.until, Some(whole), "when all of it is there again");
    let bound = told(gate.hit(&[hit("a/x", 2)]));
    let passes = START.after(Duration::from_nanos(3_333_333_334));
    assert_eq!((bound.name.as_str(), bound.left, bound.until), ("own", 1, Some(passes)), "from when it would pass");
    gate.wait(SECOND * 20);
    let bound = told(gate.hit(&[hit("a/x", 3)]));
    assert_eq!((bound.name.as_str(), bound.left, bound.per), ("daily", 2, HitPer::Period(Period::Day)));
    let asked = gate.hit(&[hit("a/x", 0)]);
    assert!(asked.allowed && asked.entry.is_none(), "nothing is counted nowhere");
    let free = gate.hit(&[hit("free", 7)]);
    assert!(free.allowed && free.entry.is_none() && free.hits[0].bound.is_none(), "nor where nothing counts it");
    let other = Hit { resource: Resource::parse("others").expect("a resource"), ..hit("a/x", 9) };
    assert!(gate.hit(&[other]).entry.is_none());
    let never = gate.hit(&[hit("a/x", 5)]);
    assert_eq!(never.hits[0].reasons[0].code, ReasonCode::NeverFits);
    assert_eq!(told(never).until, None, "it never passes");
}

fn users(max: u32) -> Tenant {
    let rates = vec![rate("each", 2, SECOND)];
    let members = Members { kind: "user".into(), class: None, max, keep: SECOND * 10, rates };
    Tenant { members: Some(members), ..tenant("users", vec![rate("all", 10, SECOND)]) }
}

#[test]
fn a_hit_makes_a_member_that_goes_when_it_has_rested() {
    let mut gate = Gate::of(vec![users(100)]);
    assert!(!gate.passes("users/ann", 3), "more than a member may at once");
    assert!(gate.ledger.tenant("users/ann").is_none(), "what is refused makes nobody");
    assert!(gate.passes("users/ann", 2) && !gate.passes("users/ann", 1) && gate.passes("users/ben", 2));
    assert_eq!((gate.left("users", "all"), gate.left("users/ann", "each")), (6, 0));
    gate.wait(SECOND * 8);
    assert!(gate.passes("users/ann", 1));
    gate.wait(SECOND * 2);
    assert!(gate.ledger.tenant("users/ben").is_none() && gate.ledger.tenant("users/ann").is_some());
    let restored = Ledger::restore(gate.ledger.snapshot());
    assert_eq!(
        (restored.digest(), restored.next_due(gate.now)),
        (gate.ledger.digest(), gate.ledger.next_due(gate.now))
    );
    gate.wait(SECOND * 8);
    assert!(gate.ledger.tenant("users/ann").is_none());
    assert_eq!(gate.ledger.next_due(gate.now), None);
}

#[test]
fn two_hits_of_one_step_share_the_member_that_they_make() {
    let mut gate = Gate::of(vec![users(100)]);
    assert!(!gate.hit(&[hit("users/ann", 2), hit("users/ann", 1)]).allowed);
    assert!(gate.hit(&[hit("users/ann", 1), hit("users/ann", 1)]).allowed);
    assert_eq!(gate.left("users/ann", "each"), 0);
}

#[test]
fn where_there_is_no_room_for_a_member_its_hits_are_its_parents() {
    let mut gate = Gate::of(vec![users(2)]);
    assert!(gate.hit(&[hit("users/ann", 1), hit("users/ben", 1), hit("users/cis", 1)]).allowed);
    assert_eq!((gate.left("users", "all"), gate.ledger.tenant("users/cis").is_some()), (7, false));
    assert!(gate.passes("users/dan", 7) && !gate.passes("users/eve", 1), "all of them together are bounded");
}

#[test]
fn who_is_archived_paused_or_nobody_is_not_let_pass() {
    let archived = Tenant { lifecycle: headgate_ledger::Lifecycle::Archived, ..tenant("old", vec![]) };
    let mut gate = Gate::of(vec![tenant("a", vec![]), archived, Tenant::new(path("none"))]);
    let first = |gate: &mut Gate, tenant: &str| gate.hit(&[hit(tenant, 1)]).hits[0].reasons[0].code;
    assert_eq!(first(&mut gate, "old"), ReasonCode::Inactive);
    assert_eq!(gate.ledger.hit(START, &[hit("nobody", 1)]), Err(Refusal::NoTenant(path("nobody"))));
    assert_eq!(gate.ledger.hit(START, &[hit("none", 1)]), Err(Refusal::NoQuota(path("none"), name("default"))));
    let other = Hit { pool: name("other"), ..hit("a", 1) };
    assert_eq!(gate.ledger.hit(START, &[other]), Err(Refusal::NoPool(name("other"))));
    let pause = Change::Pause { pool: name("default"), paused: true };
    let configured = gate.ledger.configure(START, vec![pause]).expect("configured");
    gate.post(&configured.entry);
    assert_eq!(first(&mut gate, "a"), ReasonCode::Paused);
}

#[test]
fn hits_have_limits() {
    let gate = Gate::of(vec![tenant("a", vec![rate("r", 5, SECOND)])]);
    let too = |hits: &[Hit]| matches!(gate.ledger.hit(START, hits), Err(Refusal::Invalid { field: "hits", .. }));
    assert!(too(&vec![hit("a", 1); HITS_MAX + 1]) && too(&[hit("a", AMOUNT_MAX + 1)]));
    let most = gate.ledger.hit(START, &vec![hit("a", AMOUNT_MAX); HITS_MAX]).expect("a decision");
    assert_eq!(most.hits[HITS_MAX - 1].reasons[0].code, ReasonCode::NeverFits);
    let unnamed = gate.ledger.hit(START, &[]).expect("a decision");
    assert!(unnamed.allowed && unnamed.entry.is_none());
}

#[test]
fn members_that_say_nothing_leave_their_sisters_what_they_have() {
    let calls_ = |amount| Levels::new([(calls(), Level::Units(amount))]).expect("levels");
    let guaranteed = |path: &str, amount, lendable| {
        let quota = Quota { guaranteed: Some(calls_(amount)), lendable: Some(calls_(lendable)), ..Quota::default() };
        Tenant { quotas: vec![(name("default"), quota)], ..tenant(path, vec![]) }
    };
    let parent = Tenant { members: users(5000).members, ..guaranteed("users", 60, 50) };
    let mut gate = Gate::of(vec![parent, guaranteed("users/fixed", 20, 5), guaranteed("other", 30, 30)]);
    let capacity = Amounts::new([(calls(), 100)]).expect("amounts");
    let pool = Change::PutPool(Pool { capacity, ..Pool::new(name("default")) });
    let configured = gate.ledger.configure(gate.now, vec![pool]).expect("configured");
    gate.post(&configured.entry);
    let told = |ledger: &Ledger, now: Time| -> Vec<_> {
        let paths = ledger.tenants().map(|tenant| tenant.path.clone());
        let paths: Vec<_> = paths.chain([TenantPath::root()]).collect();
        paths.iter().map(|path| ledger.standing(now, "default", path.as_str())).collect()
    };
    for round in 0..40 {
        // Every other one takes something, too, and all rest in between.
        let user = format!("users/u{}", round * 7 % 10);
        if round % 2 == 0 {
            assert!(gate.passes(&user, 1));
        } else {
            let id = RequestId::parse(&format!("r{round}")).expect("an id");
            let request =
                Request::new(id, path(&user), name("default"), Amounts::new([(calls(), 1)]).expect("amounts"));
            let decision = gate.ledger.admit(gate.now, &Arc::new(request)).expect("a decision");
            gate.post(&decision.entry.expect("it is admitted"));
        }
        gate.wait(SECOND * 3);
        let anew = Ledger::restore(gate.ledger.snapshot());
        assert_eq!(told(&gate.ledger, gate.now), told(&anew, gate.now), "round {round}");
        assert_eq!(gate.ledger.audit(gate.now, &[]), []);
    }
}
