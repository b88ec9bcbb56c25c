//! Decisions, and what keeps leases and tickets alive.

use headgate_proto::errors::{LEASE_GONE, MEMBERS_FULL, STILL_WAITING};
use headgate_proto::v1::{self, Answer, Decision, EndCause, Enforce, Reason, State};
use tonic::Code;

use crate::harness::{HALVES, charged, code, codes, fault, quantity, request, serve, state_of, waiting};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_allowed_queued_or_denied_and_says_why() {
    let running = serve(HALVES).await;
    let mut client = running.quota().await;
    let checked = client.check(request("", "a", 10)).await.expect("decided");
    assert_eq!((checked.decision(), state_of(&checked)), (Decision::Allow, State::Unspecified));
    assert!(checked.lease_id.is_empty() && checked.charged.is_empty());

    let allowed = client.acquire(request("r", "a", 10)).await.expect("decided");
    assert_eq!((allowed.decision(), state_of(&allowed)), (Decision::Allow, State::Active));
    assert_eq!((allowed.charged, allowed.count), (charged(&[("cpu", 10_000)]), 1));
    assert!(allowed.lease_id.starts_with("main-") && allowed.expires_at.is_some());

    let denied = client.acquire(request("s", "a", 1)).await.expect("decided");
    assert_eq!((denied.decision(), codes(&denied)), (Decision::Deny, vec![Reason::NoCapacity]));
    let reason = &denied.reasons[0];
    assert_eq!((&reason.resource[..], reason.used, reason.requested, reason.limit), ("cpu", 10_000, 1000, 10_000));
    assert!(denied.lease_id.is_empty() && denied.ticket_id.is_empty());

    let queued = client.acquire(waiting("t", "a", 1)).await.expect("decided");
    assert_eq!((queued.decision(), state_of(&queued), queued.position), (Decision::Queue, State::Waiting, 1));
    assert_eq!(codes(&queued), [Reason::NoCapacity]);
    assert!(!queued.ticket_id.is_empty() && queued.lease_id.is_empty() && queued.charged.is_empty());

    let never = client.acquire(waiting("u", "a", 11)).await.expect("decided");
    assert_eq!((never.decision(), codes(&never)), (Decision::Deny, vec![Reason::NeverFits]));
    assert_eq!(code(client.acquire(request("v", "nobody", 1)).await), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_made_again_finds_its_own_answer() {
    let running = serve(HALVES).await;
    let mut client = running.quota().await;
    let first = client.acquire(waiting("r", "a", 10)).await.expect("decided");
    let again = client.acquire(waiting("r", "a", 10)).await.expect("decided");
    assert_eq!((again.decision(), &again.lease_id, &again.charged), (Decision::Allow, &first.lease_id, &first.charged));
    assert_eq!(code(client.acquire(waiting("r", "a", 9)).await), Code::AlreadyExists);
    // Another tenant's requests have ids of their own.
    let queued = client.acquire(waiting("r", "b", 1)).await.expect("decided");
    assert_eq!(queued.decision(), Decision::Queue);
    assert_eq!(client.acquire(waiting("r", "b", 1)).await.expect("decided").ticket_id, queued.ticket_id);

    client.release(&first.lease_id).await.expect("released");
    let ended = client.acquire(waiting("r", "a", 10)).await.expect("decided");
    assert_eq!((ended.decision(), state_of(&ended)), (Decision::Allow, State::Ended));
    assert_eq!((ended.end_cause(), ended.lease_id), (EndCause::Released, first.lease_id));
    // A denial is not remembered.
    let denied = client.acquire(request("x", "a", 11)).await.expect("decided");
    assert_eq!(denied.decision(), Decision::Deny);
    assert_eq!(client.acquire(request("x", "a", 1)).await.expect("decided").decision(), Decision::Allow);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_gone_is_gone() {
    let running = serve(HALVES).await;
    let mut client = running.quota().await;
    let id = client.take("a", 10, 1).await.remove(0);
    let ticket = client.acquire(waiting("t", "a", 1)).await.expect("decided").ticket_id;
    for refused in [client.confirm(&ticket).await, client.resize(&ticket, "1").await] {
        assert_eq!(fault(refused), (Code::FailedPrecondition, STILL_WAITING.to_owned(), Vec::new()));
    }
    client.renew(&ticket, "").await.expect("a ticket is renewed");
    let cancelled = client.cancel(&ticket).await.expect("cancelled");
    assert_eq!((state_of(&cancelled), cancelled.end_cause()), (State::Ended, EndCause::Cancelled));

    let released = client.release(&id).await.expect("released");
    assert_eq!((state_of(&released), released.end_cause()), (State::Ended, EndCause::Released));
    client.release(&id).await.expect("releasing what is gone is fine");
    client.cancel(&id).await.expect("cancelling too");
    for refused in [client.confirm(&id).await, client.renew(&id, "").await, client.resize(&id, "1").await] {
        assert_eq!(fault(refused), (Code::FailedPrecondition, LEASE_GONE.to_owned(), Vec::new()));
    }
    for unknown in ["main-999", "other-1", "nonsense", "", "main-01"] {
        assert_eq!(code(client.release(unknown).await), Code::NotFound, "{unknown}");
        assert_eq!(code(client.get(unknown).await), Code::NotFound, "{unknown}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provisional_lease_is_confirmed_by_its_holder() {
    let running = serve(HALVES).await;
    let mut client = running.quota().await;
    let provisional = v1::Request { provisional: true, holder: "runner".to_owned(), ..request("r", "a", 1) };
    let lease = client.acquire(provisional).await.expect("decided");
    assert_eq!(state_of(&lease), State::Provisional);
    let confirmed = client.confirm(&lease.lease_id).await.expect("confirmed");
    assert_eq!(state_of(&confirmed), State::Active);
    assert_eq!(state_of(&client.confirm(&lease.lease_id).await.expect("confirmed again")), State::Active);
    let held = client.get(&lease.lease_id).await.expect("known").leases.remove(0);
    assert_eq!((held.state(), &held.holder[..]), (State::Active, "runner"));
    assert!(held.confirmed_at.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_by_another_hands_over() {
    let running = serve(HALVES).await;
    let mut client = running.quota().await;
    let held = v1::Request { holder: "one".to_owned(), ..request("r", "a", 1) };
    let id = client.acquire(held).await.expect("decided").lease_id;
    let renewed = client.renew(&id, "two").await.expect("renewed");
    assert!(renewed.charged.is_empty(), "what it holds is left out");
    assert_eq!(client.get(&id).await.expect("known").leases[0].holder, "two");
    client.renew(&id, "").await.expect("renewed");
    assert_eq!(client.get(&id).await.expect("known").leases[0].holder, "two", "it stays who it is");
    // Again with the first holder's request: who holds it is no part of what was asked for.
    let again = v1::Request { holder: "one".to_owned(), ..request("r", "a", 1) };
    assert_eq!(client.acquire(again).await.expect("decided").lease_id, id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_gets_smaller_always_and_larger_when_there_is_room() {
    let running = serve(HALVES).await;
    let mut client = running.quota().await;
    let id = client.take("a", 8, 1).await.remove(0);
    let larger = client.resize(&id, "10").await.expect("decided");
    assert_eq!((larger.decision(), larger.charged), (Decision::Allow, charged(&[("cpu", 10_000)])));
    let smaller = client.resize(&id, "2500m").await.expect("decided");
    assert_eq!((smaller.decision(), smaller.charged), (Decision::Allow, charged(&[("cpu", 2500)])));
    client.take("b", 7, 1).await;
    let refused = client.resize(&id, "4").await.expect("decided");
    assert_eq!((refused.decision(), codes(&refused)), (Decision::Deny, vec![Reason::NoCapacity]));
    assert_eq!(refused.charged, charged(&[("cpu", 2500)]), "it is as it was");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_a_holders_are_meant_in_one_call() {
    let running = serve(HALVES).await;
    let mut client = running.quota().await;
    for n in 0..3 {
        let held = v1::Request { holder: "runner".to_owned(), ..request(&format!("r{n}"), "a", 1) };
        client.acquire(held).await.expect("decided");
    }
    let held = v1::Request { holder: "runner".to_owned(), ..waiting("t", "a", 9) };
    let ticket = client.acquire(held).await.expect("decided").ticket_id;
    let runner = || "runner".to_owned();
    let renewed = client.0.renew(v1::RenewRequest { ids: Vec::new(), holder: runner() }).await.expect("renewed");
    assert_eq!(renewed.into_inner().outcomes.len(), 4, "leases and tickets");
    let got = client.0.get(v1::GetRequest { holder: runner(), ..v1::GetRequest::default() }).await.expect("known");
    let got = got.into_inner();
    assert_eq!((got.leases.len(), got.tickets.len()), (3, 1));
    let cancelled = client.0.cancel(v1::CancelRequest { ids: Vec::new(), holder: runner() }).await.expect("cancelled");
    let cancelled = cancelled.into_inner().outcomes;
    assert_eq!(cancelled.iter().map(|outcome| &outcome.id).collect::<Vec<_>>(), [&ticket], "its leases stay");
    let released = client.0.release(v1::ReleaseRequest { ids: Vec::new(), holder: runner() }).await.expect("released");
    assert_eq!(released.into_inner().outcomes.len(), 3);
    let nothing = client.0.release(v1::ReleaseRequest { ids: Vec::new(), holder: runner() }).await.expect("fine");
    assert_eq!(nothing.into_inner().outcomes, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_ids_each_has_a_status_of_its_own() {
    let running = serve(HALVES).await;
    let mut client = running.quota().await;
    let id = client.take("a", 1, 1).await.remove(0);
    let ids = vec!["main-777".to_owned(), id.clone(), "nonsense".to_owned()];
    let confirmed = client.0.confirm(v1::ConfirmRequest { ids: ids.clone(), holder: String::new() }).await;
    let outcomes = confirmed.expect("answered").into_inner().outcomes;
    assert_eq!(outcomes.iter().map(|outcome| outcome.id.clone()).collect::<Vec<_>>(), ids, "in the order of the ids");
    let codes: Vec<_> = outcomes.iter().map(|outcome| outcome.status.as_ref().map(|status| status.code)).collect();
    assert_eq!(codes, [Some(Code::NotFound as i32), None, Some(Code::NotFound as i32)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_enforced_is_allowed_and_marked() {
    let running = serve(
        "
pools: [{name: default, capacity: {cpu: 10}, implied: {}}]
tenants: [{name: a, quota: {default: {limit: {cpu: 1}, enforce: warn}}}]
",
    )
    .await;
    let mut client = running.quota().await;
    let allowed = client.acquire(waiting("r", "a", 2)).await.expect("decided");
    assert_eq!((allowed.decision(), allowed.would_be()), (Decision::Allow, Decision::Deny));
    assert_eq!((allowed.enforce(), codes(&allowed)), (Enforce::Warn, vec![Reason::NeverFits]));
    let lease = client.get(&allowed.lease_id).await.expect("known").leases.remove(0);
    assert_eq!(lease.observed(), Reason::NeverFits);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_explains_itself_with_the_numbers_of_every_level() {
    let running = serve(
        "
pools: [{name: default, capacity: {cpu: 10, gpu: 2}, implied: {}}]
tenants:
  - name: acme
    quota: {default: {guaranteed: {cpu: 6}}}
    budgets: [{name: daily, resource: cpu, amount: 8, period: day, on_exceed: queue}]
    tenants: [{name: ml, quota: {default: {guaranteed: {cpu: 4}, limit: {cpu: 5}}}}]
",
    )
    .await;
    let mut client = running.quota().await;
    client.take("acme/ml", 3, 1).await;
    let explained = v1::Request { explain: true, ..waiting("r", "acme/ml", 3) };
    let answer = client.acquire(explained).await.expect("decided");
    assert_eq!(codes(&answer), [Reason::ExceedsLimit]);
    let explanation = answer.explanation.expect("an explanation");
    let levels: Vec<_> = explanation.levels.iter().map(|level| &level.tenant[..]).collect();
    assert_eq!(levels, ["acme/ml", "acme", ""], "from the tenant to the root");
    let leaf = &explanation.levels[0].resources[0];
    assert_eq!((&leaf.resource[..], leaf.usage, leaf.limit, leaf.usage_after), ("cpu", 3000, Some(5000), Some(6000)));
    assert!(leaf.blocked && !explanation.levels[2].resources[0].blocked);
    assert_eq!(explanation.budgets[0].left, 5000);

    let request = v1::Request { explain: true, ..v1::Request::default() };
    let resources = vec![quantity("cpu", "7")];
    let over = v1::Request { request_id: "o".into(), tenant: "acme".into(), resources, wait: Some(true), ..request };
    let over = client.acquire(over).await.expect("decided");
    let budget = over.reasons.iter().find(|reason| reason.code() == Reason::BudgetUsedUp).expect("a budget's reason");
    assert_eq!((&budget.budget[..], budget.used, budget.limit), ("daily", 3000, 8000));
    assert!(budget.until.is_some(), "it says when the period turns");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_too_many_is_told_whose_rule_it_is() {
    let running = serve(
        "
pools: [{name: default, capacity: {cpu: 10}, implied: {}}]
tenants: [{name: a, quota: {default: {}}, members: {max: 1}}]
",
    )
    .await;
    let mut client = running.quota().await;
    client.take("a/first", 1, 1).await;
    for refused in [client.acquire(request("r", "a/second", 1)).await, client.check(request("", "a/second", 1)).await] {
        let status = refused.expect_err("there is no room");
        assert!(status.message().contains("members rule of tenant a allows 1 at once"), "{status:?}");
        assert!(status.message().contains("raise its max"), "{status:?}");
        assert_eq!(fault::<Answer>(Err(status)), (Code::FailedPrecondition, MEMBERS_FULL.to_owned(), Vec::new()));
    }
    let known = client.acquire(request("s", "a/first", 1)).await.expect("decided");
    assert_eq!(known.decision(), Decision::Allow, "who is there already stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_never_fits_is_told_with_what_could_be_had() {
    let running = serve(
        "
pools: [{name: default, capacity: {cpu: 10}, implied: {}}]
tenants:
  - {name: a, quota: {default: {guaranteed: {cpu: 2}}}}
  - {name: b, quota: {default: {guaranteed: {cpu: 5}, lendable: {cpu: 2}}}}
",
    )
    .await;
    let mut client = running.quota().await;
    client.take("b", 1, 1).await;
    let never = client.acquire(waiting("never", "a", 8)).await.expect("decided");
    let numbers = |reason: &v1::ReasonDetail| (reason.used, reason.requested, reason.limit);
    assert_eq!((never.decision(), codes(&never)), (Decision::Deny, vec![Reason::NeverFits]));
    assert_eq!((&never.reasons[0].tenant[..], numbers(&never.reasons[0])), ("", (0, 8000, 7000)), "b keeps three");
    let most = client.check(request("", "a", 7)).await.expect("decided");
    assert_eq!(most.decision(), Decision::Allow, "what is told can be had");

    let modest = v1::Request { borrow: Some(false), ..waiting("modest", "a", 3) };
    let modest = client.acquire(modest).await.expect("decided");
    assert_eq!((modest.decision(), codes(&modest)), (Decision::Deny, vec![Reason::NeverFits, Reason::WouldBorrow]));
    assert_eq!((&modest.reasons[0].tenant[..], numbers(&modest.reasons[0])), ("a", (0, 3000, 2000)));
}
