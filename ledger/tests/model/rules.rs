//! Rules that the scenarios leave out, told to the model one by one.

use crate::model::config::{Amounts, Budget, Burst, Enforce, Lifecycle, OnExceed, Order, Pool, Quota, SECOND, Tenant};
use crate::model::{Cause, Code, Error, Outcome, Request, Standing};
use crate::story::{
    ALLOW, Story, allow, amounts, bare, cpu, deny_for, guaranteed, is_queue, lends, limited, open, pool, queue_for,
    reason, request, tenant,
};

fn ten() -> Pool {
    pool(&[("cpu", 10)])
}

fn ids(of: &str, numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(|n| format!("{of}-{n}")).collect()
}

#[test]
fn who_has_waited_longest_holds_and_then_the_next() {
    let pool = Pool { hold_after: 10 * SECOND, hold_for: 20 * SECOND, reclaim: false, ..ten() };
    let mut s = Story::of(pool, ["a", "b", "s", "z"].map(open).to_vec());
    s.ask("z1", "z", cpu(4));
    s.ask("z2", "z", cpu(6));
    s.ask("big1", "a", cpu(8));
    s.ask("big2", "b", cpu(8));
    s.at(9);
    assert_eq!(s.holder(""), None);
    s.at(10);
    assert_eq!(s.holder(""), Some("big1"));
    s.at(12);
    s.release("z2");
    assert_eq!(queue_for(s.ask("small", "s", cpu(1))), Code::HeldForAnother);
    s.at(30);
    assert_eq!((s.holder(""), s.admitted()), (Some("big2"), vec![]));
    s.at(50);
    assert_eq!((s.holder(""), s.admitted()), (Some("big1"), vec!["small"]));
    s.at(51);
    s.release("z1");
    assert_eq!((s.admitted(), s.holder("")), (vec!["big1"], Some("big2")));
}

#[test]
fn after_its_burst_a_tenant_borrows_no_more_until_it_has_cooled_down() {
    let burst = Burst { runs: 10 * SECOND, cooldown: 5 * SECOND };
    let quota = Quota { guaranteed: cpu(2), burst: Some(burst), ..Quota::default() };
    let mut s = Story::of(ten(), vec![tenant("t", quota)]);
    assert_eq!(allow(&s.repeat("t", "t", cpu(1), 4)), 4);
    s.at(9);
    assert_eq!(s.ask("c", "t", cpu(1)), ALLOW);
    s.at(10);
    assert_eq!(queue_for(s.ask("d", "t", cpu(1))), Code::BurstOver);
    s.at(12);
    for id in ["c", "t-1", "t-2"] {
        s.release(id);
    }
    assert_eq!(s.usage("t", "cpu"), 2);
    s.at(16);
    assert_eq!(s.running("t"), 2);
    s.at(17);
    assert_eq!(s.admitted(), ["d"]);
}

#[test]
fn one_past_its_burst_and_grace_gives_before_any_other() {
    let burst = Burst { runs: 10 * SECOND, cooldown: 5 * SECOND };
    let bounded = tenant("t", Quota { burst: Some(burst), ..Quota::default() });
    let pool = Pool { grace: 3 * SECOND, ..ten() };
    let mut s = Story::of(pool, vec![guaranteed("o", "cpu", 5), bounded, open("u")]);
    s.repeat("t", "t", cpu(1), 2);
    s.repeat("u", "u", cpu(1), 8);
    s.at(5);
    assert!(is_queue(&s.ask("o1", "o", cpu(1))));
    assert_eq!(s.reclaiming(), ["u-8"]);
    s.at(12);
    assert!(is_queue(&s.ask("o2", "o", cpu(1))));
    assert_eq!(s.reclaiming(), ["u-7"]);
    s.at(13);
    assert!(is_queue(&s.ask("o3", "o", cpu(1))));
    assert_eq!(s.reclaiming(), ["t-2", "u-7"]);
}

fn spends(path: &str, amount: i64, on_exceed: OnExceed) -> Tenant {
    let period_ends = vec![100 * SECOND, 200 * SECOND];
    let (name, resource) = ("spend".to_owned(), "cpu".to_owned());
    let budget = Budget { name, resource, amount, on_exceed, period_ends };
    Tenant { budgets: vec![budget], ..open(path) }
}

#[test]
fn a_budget_is_charged_at_admission_and_turns_with_its_period() {
    let mut s = Story::of(ten(), vec![spends("t", 3, OnExceed::Queue), open("t/u")]);
    assert_eq!(s.ask("a", "t", cpu(2)), ALLOW);
    let used_up = reason(Code::BudgetUsedUp, "t", "cpu");
    assert_eq!(s.ask("b", "t/u", cpu(2)), Outcome::Queue(used_up));
    assert_eq!(deny_for(s.ask("c", "t", cpu(4))), Code::NeverFits);
    assert_eq!(s.ask("d", "t/u", cpu(1)), ALLOW);
    s.release("a");
    assert_eq!(s.model.budget_used("t", "spend"), 3);
    assert_eq!(queue_for(s.ask("e", "t", cpu(1))), Code::BudgetUsedUp);
    s.at(100);
    assert_eq!(s.admitted(), ["e", "b"]);
}

#[test]
fn what_was_never_confirmed_is_given_back_to_its_budget() {
    let mut s = Story::of(ten(), vec![spends("t", 3, OnExceed::Deny)]);
    let provisional = Request { provisional: true, ..request("a", "t", cpu(2)) };
    assert_eq!(s.acquire(provisional), ALLOW);
    assert_eq!(deny_for(s.ask("b", "t", cpu(2))), Code::BudgetUsedUp);
    s.release("a");
    assert_eq!(s.ask("c", "t", cpu(2)), ALLOW);
    s.release("c");
    assert_eq!(deny_for(s.ask("d", "t", cpu(2))), Code::BudgetUsedUp);
}

#[test]
fn a_gang_takes_as_many_as_fit_above_its_least() {
    let mut s = Story::of(ten(), vec![open("a"), open("z")]);
    s.ask("z", "z", cpu(4));
    let gang = |id: &str, count, least| Request { count, min_count: Some(least), ..request(id, "a", cpu(1)) };
    let six = Outcome::Allow { count: 6, observed: None };
    assert_eq!(s.acquire(gang("first", 10, 2)), six);
    assert_eq!(queue_for(s.acquire(gang("second", 5, 2))), Code::NoCapacity);
    s.release("z");
    assert_eq!((s.admitted(), s.usage("a", "cpu")), (vec!["second"], 10));
}

#[test]
fn a_lease_gets_smaller_always_and_larger_like_a_request() {
    let mut s = Story::of(ten(), vec![limited("a", 8), guaranteed("o", "cpu", 5)]);
    assert_eq!(s.ask("a", "a", cpu(4)), ALLOW);
    assert_eq!(s.resize("a", cpu(6)), ALLOW);
    let refused = Outcome::Deny(reason(Code::ExceedsLimit, "a", "cpu"));
    assert_eq!(s.resize("a", cpu(9)), refused);
    assert_eq!(s.usage("a", "cpu"), 6);
    assert!(is_queue(&s.ask("o", "o", cpu(5))));
    assert_eq!(s.reclaiming(), ["a"]);
    assert_eq!(deny_for(s.resize("a", cpu(7))), Code::HeldForAnother);
    assert_eq!(s.resize("a", cpu(5)), ALLOW);
    assert_eq!((s.admitted(), s.reclaiming()), (vec!["o"], vec![]));
    assert_eq!(s.resize("none", cpu(1)), Outcome::Error(Error::NotFound));
}

#[test]
fn a_lease_lives_as_long_as_its_holder_speaks_for_it() {
    let pool = Pool { lease_ttl: 10 * SECOND, confirm_within: 5 * SECOND, ..ten() };
    let mut s = Story::of(pool, vec![open("a")]);
    let lives = |id: &str, provisional| Request { ttl: None, provisional, ..request(id, "a", cpu(1)) };
    s.acquire(lives("a", false));
    s.acquire(lives("p", true));
    s.at(5);
    assert_eq!(s.ended(), [("p", Cause::Unconfirmed)]);
    s.at(8);
    s.renew("a");
    s.at(17);
    assert_eq!(s.running("a"), 1);
    s.at(18);
    assert_eq!(s.ended(), [("a", Cause::Expired)]);
    assert_eq!(s.model.standing("a"), Some(Standing::Gone));
}

#[test]
fn a_ticket_whose_holder_is_silent_is_passed_over_and_ends_at_last() {
    let pool = Pool { ticket_ttl: 5 * SECOND, max_wait: 52 * SECOND, ..ten() };
    let mut s = Story::of(pool, vec![open("a"), open("b"), open("z")]);
    s.ask("z", "z", cpu(10));
    s.ask("a", "a", cpu(4));
    s.ask("b", "b", cpu(4));
    s.ask("c", "b", cpu(9));
    s.at(4);
    s.renew("b");
    s.at(6);
    s.release("z");
    assert_eq!(s.admitted(), ["b"]);
    s.at(7);
    s.renew("a");
    assert_eq!(s.admitted(), ["a"]);
    s.at(50);
    assert_eq!(s.ended(), [("c", Cause::Silent)]);
    s.ask("d", "b", cpu(9));
    s.at(95);
    s.renew("d");
    s.at(102);
    assert_eq!(s.ended(), [("d", Cause::WaitedTooLong)]);
}

#[test]
fn what_was_only_observed_counts_and_is_nobodys_victim() {
    let quota = Quota { limit: cpu(2), enforce: Some(Enforce::Observe), ..Quota::default() };
    let mut s = Story::of(ten(), vec![guaranteed("o", "cpu", 8), tenant("u", quota)]);
    assert_eq!(s.ask("u1", "u", cpu(2)), ALLOW);
    let observed = Some(reason(Code::ExceedsLimit, "u", "cpu"));
    assert_eq!(s.ask("u2", "u", cpu(1)), Outcome::Allow { count: 1, observed });
    assert!(is_queue(&s.ask("o", "o", cpu(8))));
    assert_eq!(s.reclaiming(), ["u1"]);
}

#[test]
fn an_inner_tenants_own_requests_have_the_shared_pool() {
    let team = guaranteed("team", "cpu", 6);
    let tenants = vec![team, guaranteed("team/x", "cpu", 2), open("team/y"), open("z")];
    let mut s = Story::of(pool(&[("cpu", 12)]), tenants);
    s.repeat("z", "z", cpu(1), 12);
    assert!(is_queue(&s.ask("own", "team", cpu(4))));
    assert_eq!(s.reclaiming(), ids("z", [10, 11, 12, 9]));
    assert!(is_queue(&s.ask("x", "team/x", cpu(2))));
    assert_eq!(s.reclaiming().len(), 6);
    assert!(is_queue(&s.ask("y", "team/y", cpu(1))));
    assert_eq!(s.reclaiming().len(), 6);
    s.at(30);
    assert_eq!(s.admitted(), ["own", "x"]);
}

#[test]
fn an_inner_tenants_own_requests_get_the_shared_pool_back_from_a_child() {
    let team = guaranteed("team", "cpu", 6);
    let tenants = vec![team, guaranteed("team/x", "cpu", 2), guaranteed("z", "cpu", 6)];
    let mut s = Story::of(pool(&[("cpu", 12)]), tenants);
    s.repeat("z", "z", cpu(1), 6);
    s.repeat("x", "team/x", cpu(1), 6);
    assert!(is_queue(&s.ask("own", "team", cpu(3))));
    assert_eq!(s.reclaiming(), ids("x", [4, 5, 6]));
}

#[test]
fn in_a_pool_that_is_paused_nothing_is_reclaimed() {
    let mut s = Story::of(pool(&[("cpu", 4)]), vec![guaranteed("a", "cpu", 2), open("b")]);
    s.repeat("b", "b", cpu(1), 4);
    assert!(is_queue(&s.ask("a", "a", cpu(2))));
    assert_eq!(s.reclaiming(), ids("b", [3, 4]));
    s.pause(true);
    assert!(s.reclaiming().is_empty());
    s.at(60);
    s.release("b-1");
    assert_eq!(queue_for(s.ask("b", "b", cpu(1))), Code::Paused);
    s.pause(false);
    assert_eq!((s.admitted(), s.reclaiming()), (vec![], ids("b", [4])));
}

#[test]
fn what_others_never_lend_never_fits() {
    let mut s = Story::of(ten(), vec![open("a"), lends("b", 5, 2)]);
    let never = Outcome::Deny(reason(Code::NeverFits, "", "cpu"));
    assert_eq!(s.ask("a8", "a", cpu(8)), never);
    assert_eq!(s.ask("a7", "a", cpu(7)), ALLOW);
}

#[test]
fn who_asks_not_to_borrow_for_more_than_is_guaranteed_would_wait_in_vain() {
    let mut s = Story::of(ten(), vec![guaranteed("a", "cpu", 2), open("b")]);
    let modest = |id: &str, tenant: &str, n| Request { borrow: false, ..request(id, tenant, cpu(n)) };
    assert_eq!(s.acquire(modest("a3", "a", 3)), Outcome::Deny(reason(Code::NeverFits, "a", "cpu")));
    assert_eq!(s.acquire(modest("b1", "b", 1)), Outcome::Deny(reason(Code::NeverFits, "b", "cpu")));
    assert_eq!(s.acquire(modest("a2", "a", 2)), ALLOW);
    assert_eq!(queue_for(s.acquire(modest("a1", "a", 1))), Code::WouldBorrow);
    s.put("a", Lifecycle::Maintenance);
    assert_eq!(deny_for(s.acquire(modest("half", "a", 2))), Code::NeverFits);
    s.release("a2");
    assert_eq!(s.admitted(), ["a1"]);
}

#[test]
fn a_resource_without_capacity_is_bounded_by_limits_and_passes_no_hold() {
    let licences = |amount| amounts(&[("licences", amount)]);
    let team = tenant("team", Quota { limit: licences(3), ..Quota::default() });
    let mut w = open("team/w");
    w.quota.insert("default".to_owned(), Quota { guaranteed: licences(3), ..Quota::default() });
    let pool = Pool { hold_after: 10 * SECOND, ..ten() };
    let mut s = Story::of(pool, vec![team, open("team/x"), open("team/y"), w]);
    assert_eq!(s.ask("x", "team/x", licences(2)), ALLOW);
    assert_eq!(s.borrowed("team/x", "licences"), 0);
    let exceeds = Outcome::Queue(reason(Code::ExceedsLimit, "team", "licences"));
    assert_eq!(s.ask("y", "team/y", licences(2)), exceeds);
    assert!(s.reclaiming().is_empty());
    s.at(10);
    assert_eq!(s.holder("team"), Some("y"));
    assert_eq!(queue_for(s.ask("w", "team/w", licences(1))), Code::HeldForAnother);
    assert_eq!(s.ask("cpu", "team/w", cpu(1)), ALLOW);
}

#[test]
fn under_strict_only_a_tenants_first_claims() {
    let pool = Pool { order: Order::Strict, ..pool(&[("cpu", 6)]) };
    let mut s = Story::of(pool, vec![guaranteed("a", "cpu", 4), open("b")]);
    s.repeat("b", "b", cpu(1), 6);
    assert!(is_queue(&s.ask("a1", "a", cpu(2))));
    assert_eq!(queue_for(s.ask("a2", "a", cpu(2))), Code::BehindEarlier);
    assert_eq!(s.reclaiming(), ids("b", [5, 6]));
    s.at(30);
    assert_eq!((s.admitted(), s.reclaiming()), (vec!["a1"], ids("b", [3, 4])));
}

#[test]
fn a_young_lease_is_nobodys_victim() {
    let pool = Pool { min_runtime: 20 * SECOND, ..ten() };
    let mut s = Story::of(pool, vec![guaranteed("a", "cpu", 5), open("b")]);
    s.ask("b", "b", cpu(10));
    s.at(5);
    assert!(is_queue(&s.ask("a", "a", cpu(5))));
    s.at(19);
    assert!(s.reclaiming().is_empty());
    s.at(20);
    assert_eq!(s.reclaiming(), ["b"]);
    s.at(50);
    assert_eq!((s.revoked(), s.admitted()), (vec!["b"], vec!["a"]));
}

#[test]
fn weight_zero_borrows_only_what_nobody_else_can_use_and_holds_nothing() {
    let pool = Pool { hold_after: 10 * SECOND, ..ten() };
    let none = Tenant { weight: 0, ..open("none") };
    let mut s = Story::of(pool, vec![none, open("none/of"), open("some"), open("z")]);
    s.ask("z", "z", cpu(10));
    s.ask("n", "none/of", cpu(1));
    s.repeat("s", "some", cpu(1), 10);
    s.at(10);
    assert_eq!(s.holder(""), Some("s-1"));
    s.release("z");
    assert_eq!(s.admitted().len(), 10);
    assert_eq!(s.model.standing("n"), Some(Standing::Waiting));
}

#[test]
fn a_lifecycle_scales_what_is_lendable_with_the_guarantee() {
    let mut s = Story::of(ten(), vec![lends("p", 8, 4), open("q")]);
    s.put("p", Lifecycle::Maintenance);
    assert_eq!(s.model.guaranteed("default", "p", "cpu"), 4);
    assert_eq!(deny_for(s.ask("q9", "q", cpu(9))), Code::NeverFits);
    assert_eq!(s.ask("q8", "q", cpu(8)), ALLOW);
}

#[test]
fn children_scale_down_to_what_their_parent_has() {
    let quota = |g| guaranteed("", "cpu", g).quota;
    let child = |path: &str, g| Tenant { quota: quota(g), ..bare(path) };
    let tenants = vec![bare("t"), child("t/x", 3), child("t/y", 3), child("t/z", 1)];
    let mut s = Story::of(ten(), tenants);
    let has = |s: &Story| ["t", "t/x", "t/y", "t/z"].map(|path| s.model.guaranteed("default", path, "cpu"));
    assert_eq!(has(&s), [7, 3, 3, 1]);
    s.put("t", Lifecycle::Maintenance);
    assert_eq!(has(&s), [3, 1, 1, 1], "9/7 and 9/7 and 3/7: the rest goes to the largest, z");
    s.capacity(cpu(2), Amounts::new());
    assert_eq!(has(&s), [2, 1, 1, 0], "6/7 and 6/7 and 2/7");
}

#[test]
fn a_request_id_is_known_where_it_stands_and_for_a_while_after() {
    let mut s = Story::of(ten(), vec![open("a")]);
    assert_eq!(s.ask("a", "a", cpu(6)), ALLOW);
    assert_eq!(s.ask("b", "a", cpu(6)), Outcome::Queue(reason(Code::NoCapacity, "", "cpu")));
    assert_eq!(s.ask("b", "a", cpu(6)), Outcome::Known(Standing::Waiting));
    assert_eq!(s.ask("a", "a", cpu(5)), Outcome::Error(Error::Exists));
    s.release("a");
    assert_eq!(s.ask("a", "a", cpu(6)), Outcome::Known(Standing::Gone));
    s.at(3600);
    assert!(is_queue(&s.ask("a", "a", cpu(5))));
}

#[test]
fn priority_counts_as_having_come_earlier() {
    let pool = Pool { age_step: 10 * SECOND, ..ten() };
    let mut s = Story::of(pool, vec![open("a"), open("z")]);
    s.ask("z", "z", cpu(10));
    let asks = |id: &str, priority| Request { priority, ..request(id, "a", cpu(1)) };
    s.acquire(asks("first", 0));
    s.at(5);
    s.acquire(asks("early", 1));
    s.at(12);
    s.acquire(asks("late", 1));
    s.release("z");
    assert_eq!(s.admitted(), ["early", "first", "late"]);
}

#[test]
fn a_borrowers_claim_that_loses_to_an_owner_is_dropped_and_its_victims_let_off() {
    let tenants = vec![guaranteed("team", "cpu", 12), guaranteed("team/x", "cpu", 3), open("team/y"), open("z")];
    let mut s = Story::of(pool(&[("cpu", 12)]), tenants);
    s.repeat("z", "z", cpu(1), 10);
    assert!(is_queue(&s.ask("y", "team/y", cpu(12))));
    assert_eq!(s.reclaiming().len(), 10);
    assert_eq!(s.ask("x", "team/x", cpu(2)), ALLOW);
    assert!(s.reclaiming().is_empty());
}
