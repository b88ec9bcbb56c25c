//! The scenarios, told to the model.

use crate::model::config::{Amounts, Lifecycle, Order, Pool, Quota, SECOND, ShareOf, Tenant};
use crate::model::{Code, Error, Outcome, Request, Standing};
use crate::story::{
    ALLOW, Story, allow, amounts, bare, cpu, denied, deny_for, guaranteed, is_queue, lends, limited, of, open, pool,
    queue, queue_for, queued, reason, request, tenant,
};

#[test]
fn what_a_neighbour_leaves_idle_is_borrowed_and_given_back_when_the_neighbour_asks() {
    let mut s = Story::of(pool(&[("cpu", 10)]), vec![guaranteed("a", "cpu", 5), guaranteed("b", "cpu", 5)]);
    assert_eq!(allow(&s.repeat("a", "a", cpu(1), 8)), 8);
    assert_eq!((s.borrowed("a", "cpu"), s.borrowed("b", "cpu"), s.share("a")), (3, 0, of(3, 10)));
    s.at(10);
    assert_eq!(queue_for(s.ask("b", "b", cpu(4))), Code::NoCapacity);
    assert_eq!(s.reclaiming(), ["a-7", "a-8"]);
    s.at(39);
    assert_eq!((s.running("a"), s.running("b")), (8, 0));
    s.at(40);
    assert_eq!((s.revoked(), s.admitted()), (vec!["a-7", "a-8"], vec!["b"]));
    assert_eq!((s.running("a"), s.running("b"), s.borrowed("a", "cpu")), (6, 1, 1));
}

#[test]
fn nobody_is_reclaimed_from_within_their_own_guarantee() {
    let mut s = Story::of(pool(&[("cpu", 10)]), vec![guaranteed("a", "cpu", 6), guaranteed("b", "cpu", 4)]);
    assert_eq!(allow(&s.repeat("a", "a", cpu(1), 6)), 6);
    let b = s.repeat("b", "b", cpu(1), 6);
    assert_eq!((allow(&b), queue(&b)), (4, 2));
    assert!(s.reclaiming().is_empty());
}

#[test]
fn what_is_not_lendable_stays_with_its_owner() {
    let mut s = Story::of(pool(&[("cpu", 10)]), vec![open("a"), lends("b", 5, 2)]);
    let a = s.repeat("a", "a", cpu(1), 9);
    assert_eq!((allow(&a), queue(&a)), (7, 2));
    assert_eq!(s.ask("b", "b", cpu(3)), ALLOW);
}

#[test]
fn one_large_lease_that_gives_way_serves_all_who_may_claim() {
    let mut s = Story::of(pool(&[("cpu", 20)]), vec![guaranteed("a", "cpu", 10), open("b")]);
    s.repeat("b", "b", cpu(10), 2);
    assert_eq!(queue(&s.repeat("a", "a", cpu(1), 10)), 10);
    assert_eq!(s.reclaiming(), ["b-2"]);
    s.at(30);
    assert_eq!(s.admitted(), ["a-1", "a-2", "a-3", "a-4", "a-5", "a-6", "a-7", "a-8", "a-9", "a-10"]);
    assert_eq!(s.revoked(), ["b-2"]);
}

#[test]
fn what_comes_free_elsewhere_saves_victims() {
    let mut s = Story::of(pool(&[("cpu", 4)]), vec![guaranteed("a", "cpu", 2), open("b")]);
    s.repeat("b", "b", cpu(1), 4);
    assert_eq!(queue_for(s.ask("a", "a", cpu(2))), Code::NoCapacity);
    assert_eq!(s.reclaiming(), ["b-3", "b-4"]);
    s.at(10);
    s.release("b-1");
    assert_eq!((s.reclaiming(), s.model.standing("b-3")), (vec!["b-4".to_owned()], Some(Standing::Active)));
    s.at(40);
    assert_eq!((s.admitted(), s.revoked()), (vec!["a"], vec!["b-4"]));
    assert_eq!((s.running("a"), s.running("b")), (1, 2));
}

#[test]
fn who_may_claim_does_so_before_anybody_borrows() {
    let mut s = Story::of(pool(&[("cpu", 6)]), vec![guaranteed("a", "cpu", 3), open("b"), open("c")]);
    s.repeat("b", "b", cpu(2), 3);
    assert!(is_queue(&s.ask("c", "c", cpu(2))));
    assert!(is_queue(&s.ask("a", "a", cpu(3))));
    assert_eq!(s.reclaiming(), ["b-2", "b-3"]);
    s.at(10);
    s.release("b-1");
    assert_eq!((s.admitted(), s.reclaiming()), (vec![], vec!["b-3".to_owned()]));
    s.at(30);
    assert_eq!((s.admitted(), s.revoked(), s.model.waiting("default", "c")), (vec!["a"], vec!["b-3"], 1));
}

#[test]
fn what_is_not_lendable_counts_as_taken_so_who_fills_the_rest_of_a_team_is_borrowing() {
    let mut s = Story::of(
        pool(&[("cpu", 12)]),
        vec![bare("team"), lends("team/x", 5, 0), guaranteed("team/y", "cpu", 1), guaranteed("other", "cpu", 6)],
    );
    assert_eq!(allow(&s.repeat("y", "team/y", cpu(1), 7)), 7);
    assert_eq!((s.usage("team", "cpu"), s.borrowed("team", "cpu"), s.borrowed("team/y", "cpu")), (7, 6, 6));
    assert_eq!(queue_for(s.ask("o", "other", cpu(1))), Code::NoCapacity);
    assert_eq!(s.reclaiming(), ["y-7"]);
}

#[test]
fn what_does_not_fit_is_told_so_and_only_what_would_fit_is_told_that_it_is_held() {
    let pool = Pool { hold_after: 60 * SECOND, reclaim: false, ..pool(&[("cpu", 5)]) };
    let mut s = Story::of(pool, vec![open("a"), limited("b", 1)]);
    s.ask("a", "a", cpu(4));
    assert_eq!(queue_for(s.ask("big", "a", cpu(3))), Code::NoCapacity);
    s.at(120);
    assert_eq!(queue_for(s.ask("b1", "b", cpu(1))), Code::HeldForAnother);
    assert_eq!(queue_for(s.ask("a2", "a", cpu(2))), Code::NoCapacity);
    s.release("a");
    assert_eq!(s.admitted(), ["big", "b1"]);
}

#[test]
fn an_owner_takes_idle_room_that_is_spoken_for_by_a_borrower_of_its_own_team() {
    let mut s = Story::of(
        pool(&[("cpu", 12)]),
        vec![guaranteed("team", "cpu", 12), guaranteed("team/x", "cpu", 3), open("team/y"), open("z")],
    );
    s.repeat("z", "z", cpu(1), 10);
    assert!(is_queue(&s.ask("y", "team/y", cpu(12))));
    assert_eq!(s.acquire(Request { wait: false, ..request("x", "team/x", cpu(2)) }), ALLOW);
}

#[test]
fn the_example_of_the_drf_paper() {
    let pool = Pool { share_of: ShareOf::Usage, ..pool(&[("cpu", 0), ("memory", 0)]) };
    let mut s = Story::of(pool, vec![open("a"), open("b")]);
    let a = |s: &mut Story, id: &str| s.repeat(id, "a", amounts(&[("cpu", 1), ("memory", 4)]), 10);
    assert_eq!(denied(&a(&mut s, "a"), Code::NeverFits), 10);
    let capacity = amounts(&[("cpu", 9), ("memory", 18)]);
    s.capacity(capacity.clone(), Amounts::new());
    assert_eq!(s.ask("full", "a", capacity), ALLOW);
    assert_eq!(queued(&a(&mut s, "a2"), Code::NoCapacity), 10);
    assert_eq!(queue(&s.repeat("b2", "b", amounts(&[("cpu", 3), ("memory", 1)]), 10)), 10);
    s.release("full");
    assert_eq!((s.running("a"), s.running("b")), (3, 2));
    assert_eq!((s.usage("a", "cpu"), s.usage("a", "memory")), (3, 12));
    assert_eq!((s.usage("b", "cpu"), s.usage("b", "memory")), (6, 2));
    assert_eq!((s.share("a"), s.share("b")), (of(2, 3), of(2, 3)));
}

#[test]
fn shares_follow_weights_when_all_are_backlogged() {
    let gold = Tenant { weight: 3000, ..open("gold") };
    let mut s = Story::of(pool(&[("cpu", 12)]), vec![gold, open("tin")]);
    assert_eq!(s.ask("first", "tin", cpu(12)), ALLOW);
    assert_eq!(queue(&s.repeat("t", "tin", cpu(1), 20)), 20);
    assert_eq!(queue(&s.repeat("g", "gold", cpu(1), 20)), 20);
    s.release("first");
    assert_eq!((s.running("gold"), s.running("tin")), (9, 3));
    assert_eq!((s.share("gold"), s.share("tin")), (of(1, 4), of(1, 4)));
}

#[test]
fn within_a_guarantee_comes_before_any_borrowing_whatever_the_share() {
    let pool = Pool { reclaim: false, ..pool(&[("cpu", 10)]) };
    let mut s = Story::of(pool, vec![guaranteed("owner", "cpu", 6), open("guest")]);
    assert_eq!(s.ask("o", "owner", cpu(5)), ALLOW);
    assert_eq!(s.ask("g", "guest", cpu(5)), ALLOW);
    assert_eq!(queue(&s.repeat("g2", "guest", cpu(1), 3)), 3);
    assert_eq!(queue(&s.repeat("o2", "owner", cpu(1), 3)), 3);
    s.release("g");
    assert_eq!(s.admitted(), ["o2-1", "g2-1", "o2-2", "g2-2", "o2-3"]);
}

#[test]
fn a_large_request_is_not_starved_by_small_ones() {
    let pool = Pool { hold_after: 60 * SECOND, ..pool(&[("cpu", 10)]) };
    let mut s = Story::of(pool, vec![open("big"), open("small")]);
    s.runs = (1..=10).map(|n| (format!("s-{n}"), 100 * SECOND)).collect();
    assert_eq!(allow(&s.repeat("s", "small", cpu(1), 10)), 10);
    s.at(10);
    assert!(is_queue(&s.ask("big", "big", cpu(8))));
    s.at(20);
    s.release("s-1");
    assert_eq!(s.ask("early", "small", cpu(1)), ALLOW);
    s.at(70);
    s.release("s-2");
    assert_eq!(queue_for(s.ask("late", "small", cpu(1))), Code::HeldForAnother);
    s.at(100);
    assert_eq!(s.admitted(), ["big", "late"]);
}

#[test]
fn strict_order_keeps_a_tenants_own_queue_in_line_and_nobody_elses() {
    let pool = Pool { order: Order::Strict, age_step: 0, ..pool(&[("cpu", 10)]) };
    let mut s = Story::of(pool, vec![open("a"), open("b")]);
    assert_eq!(s.ask("a1", "a", cpu(8)), ALLOW);
    assert!(is_queue(&s.ask("a2", "a", cpu(4))));
    assert_eq!(queue_for(s.ask("a3", "a", cpu(1))), Code::BehindEarlier);
    assert_eq!(s.ask("b1", "b", cpu(1)), ALLOW);
    assert_eq!(s.acquire(Request { priority: 5, ..request("a4", "a", cpu(1)) }), ALLOW);
}

#[test]
fn a_teams_limit_comes_before_its_members() {
    let mut s =
        Story::of(pool(&[("cpu", 100)]), vec![limited("team", 6), limited("team/ann", 5), limited("team/ben", 5)]);
    assert_eq!(s.ask("x", "team/ann", cpu(6)), Outcome::Deny(reason(Code::NeverFits, "team/ann", "cpu")));
    assert_eq!(s.ask("a", "team/ann", cpu(4)), ALLOW);
    let refused = s.acquire(Request { wait: false, ..request("a2", "team/ann", cpu(2)) });
    assert_eq!(refused, Outcome::Deny(reason(Code::ExceedsLimit, "team/ann", "cpu")));
    assert_eq!(s.ask("b", "team/ben", cpu(3)), Outcome::Queue(reason(Code::ExceedsLimit, "team", "cpu")));
    s.release("a");
    assert_eq!(s.admitted(), ["b"]);
    assert_eq!(s.ask("b", "team/ben", cpu(3)), Outcome::Known(Standing::Active));
    assert_eq!(s.usage("team", "cpu"), 3);
    assert_eq!(s.ask("y", "nobody", cpu(1)), Outcome::Error(Error::NotFound));
}

#[test]
fn a_lifecycle_scales_the_quota() {
    let quota = Quota { guaranteed: cpu(8), limit: cpu(10), ..Quota::default() };
    let mut s = Story::of(pool(&[("cpu", 100)]), vec![tenant("p", quota)]);
    assert_eq!(s.ask("a", "p", cpu(8)), ALLOW);
    s.put("p", Lifecycle::Maintenance);
    assert_eq!(s.ask("b", "p", cpu(1)), Outcome::Queue(reason(Code::ExceedsLimit, "p", "cpu")));
    assert_eq!(deny_for(s.ask("c", "p", cpu(6))), Code::NeverFits);
    s.release("a");
    assert_eq!((s.admitted(), s.running("p")), (vec!["b"], 1));
    s.put("p", Lifecycle::Archived);
    assert_eq!(deny_for(s.ask("d", "p", cpu(1))), Code::Inactive);
}

#[test]
fn a_member_gets_its_guarantee_back_from_a_sister_also_where_the_team_itself_is_above_its_own() {
    let mut s = Story::of(
        pool(&[("cpu", 10)]),
        vec![bare("team"), guaranteed("team/x", "cpu", 5), guaranteed("team/y", "cpu", 5)],
    );
    assert_eq!(allow(&s.repeat("x", "team/x", cpu(1), 10)), 10);
    assert_eq!(queue_for(s.ask("y", "team/y", cpu(1))), Code::NoCapacity);
    assert_eq!(s.reclaiming(), ["x-10"]);
}

#[test]
fn victims_come_from_those_who_borrow_what_is_needed_not_from_the_largest_share_of_something_else() {
    let mut s = Story::of(
        pool(&[("cpu", 10), ("memory", 10)]),
        vec![guaranteed("org", "cpu", 5), guaranteed("org/x", "cpu", 5), open("org/y"), guaranteed("b", "cpu", 5)],
    );
    s.ask("m", "org/x", amounts(&[("memory", 8)]));
    s.repeat("x", "org/x", cpu(1), 5);
    s.repeat("y", "org/y", cpu(1), 4);
    assert!(is_queue(&s.ask("b", "b", cpu(2))));
    assert_eq!(s.reclaiming(), ["y-4"]);
}

#[test]
fn a_borrowers_hold_keeps_no_owner_from_what_is_guaranteed() {
    let pool = Pool { hold_after: 60 * SECOND, ..pool(&[("cpu", 10)]) };
    let mut s = Story::of(pool, vec![open("a"), open("s"), lends("b", 5, 2)]);
    assert_eq!(allow(&s.repeat("s", "s", cpu(1), 4)), 4);
    assert!(is_queue(&s.ask("big", "a", cpu(6))));
    s.at(1800);
    assert_eq!(queue_for(s.ask("s2", "s", cpu(1))), Code::HeldForAnother);
    assert_eq!(s.ask("b", "b", cpu(1)), ALLOW);
}

#[test]
fn guarantees_shrink_with_the_pool_to_the_last_unit() {
    let gpu = |amount| amounts(&[("nvidia.com/gpu", amount)]);
    let pool = Pool { grace: 0, ..pool(&[("nvidia.com/gpu", 4)]) };
    let tenants = ["a", "b", "c", "d"].map(|path| guaranteed(path, "nvidia.com/gpu", 1));
    let mut s = Story::of(pool, tenants.to_vec());
    s.capacity(gpu(3), Amounts::new());
    assert_eq!(allow(&s.repeat("d", "d", gpu(1), 3)), 3);
    assert_eq!(s.borrowed("d", "nvidia.com/gpu"), 3);
    assert!(is_queue(&s.ask("a", "a", gpu(1))));
    assert_eq!((s.revoked(), s.admitted()), (vec!["d-3"], vec!["a"]));
}

#[test]
fn a_node_that_is_cordoned_admits_less_and_shrinks_nobodys_guarantee() {
    let mut s = Story::of(pool(&[("cpu", 10)]), vec![guaranteed("a", "cpu", 6), guaranteed("b", "cpu", 4)]);
    assert_eq!(allow(&s.repeat("a", "a", cpu(1), 6)), 6);
    s.capacity(Amounts::new(), cpu(4));
    assert_eq!(queue_for(s.ask("b", "b", cpu(1))), Code::NoCapacity);
    assert!(s.reclaiming().is_empty());
    s.capacity(Amounts::new(), cpu(0));
    assert_eq!(s.admitted(), ["b"]);
}
