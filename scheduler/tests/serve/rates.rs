//! Rates over the wire: how they are set, what is told of them, and what they refuse.

use std::time::{Duration, SystemTime};

use headgate_proto::v1::explain_request::What;
use headgate_proto::v1::{self, Decision, Reason};

use crate::harness::{codes, quantity, request, serve, waiting};

const RATED: &str = "
pools: [{name: default, capacity: {cpu: 10}, implied: {jobs: 1}}]
tenants:
  - name: acme
    quota: {default: {}}
    rates: [{name: starts, resource: jobs, amount: 2, per: 1h}]
    tenants: [{name: ml, rates: [{name: cores, resource: cpu, amount: 3, per: 1h, burst: 4}]}]
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_exceeds_a_rate_is_told_from_when_it_would_pass() {
    let running = serve(RATED).await;
    let mut client = running.quota().await;
    let checked = client.check(request("r0", "acme/ml", 2)).await.expect("decided");
    assert_eq!(checked.decision(), Decision::Allow);
    let allowed = client.acquire(request("r1", "acme/ml", 2)).await.expect("decided");
    assert_eq!(allowed.decision(), Decision::Allow, "the check took nothing");
    let before = SystemTime::now();
    let denied = client.acquire(v1::Request { explain: true, ..request("r2", "acme/ml", 3) }).await.expect("decided");
    assert_eq!((denied.decision(), codes(&denied)), (Decision::Deny, vec![Reason::RateExceeded]));
    let v1::ReasonDetail { tenant, resource, rate, used, requested, limit, until, .. } = &denied.reasons[0];
    assert_eq!((&tenant[..], &resource[..], &rate[..]), ("acme/ml", "cpu", "cores"));
    assert_eq!((*requested, *limit), (3000, 4000));
    assert!((1..=2000).contains(used), "{used} has not come back of 2000");
    let until = SystemTime::try_from(until.expect("an instant")).expect("an instant");
    assert!(until > before && until < before + Duration::from_secs(1210), "one core comes back in twenty minutes");
    let explanation = denied.explanation.expect("an explanation");
    let stands: Vec<_> = explanation.rates.iter().map(|rate| (&rate.tenant[..], &rate.name[..], rate.burst)).collect();
    assert_eq!(stands, [("acme/ml", "cores", 4000), ("acme", "starts", 2)]);
    assert_eq!(explanation.rates[1].left, 1);
    client.acquire(request("r3", "acme", 1)).await.expect("decided");
    let denied = client.acquire(request("r4", "acme", 1)).await.expect("decided");
    assert_eq!((codes(&denied), &denied.reasons[0].rate[..]), (vec![Reason::RateExceeded], "starts"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rates_are_set_told_and_counted() {
    let running = serve(RATED).await;
    let mut admin = running.admin().await;
    let rate = v1::Rate {
        name: "starts".into(),
        resource: "jobs".into(),
        amount: "5".into(),
        per: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        burst: String::new(),
        on_exceed: v1::OnExceed::Queue.into(),
    };
    let members = v1::Members { rates: vec![v1::Rate { per: None, ..rate.clone() }], ..v1::Members::default() };
    let tenant = v1::Tenant {
        path: "globex".into(),
        quota: [("default".into(), v1::Quota::default())].into(),
        rates: vec![rate.clone()],
        members: Some(members),
        ..v1::Tenant::default()
    };
    let put = v1::PutTenantRequest { tenant: Some(tenant), ..Default::default() };
    admin.put_tenant(put).await.expect("put");
    let got = admin.get_tenant(v1::GetTenantRequest { path: "globex".into() }).await.expect("there").into_inner();
    let got = got.tenant.expect("a tenant");
    let whole = v1::Rate { burst: "5".into(), ..rate };
    assert_eq!(got.rates, std::slice::from_ref(&whole), "what was not said is told");
    let second = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    assert_eq!(got.members.expect("members").rates, [v1::Rate { per: second, ..whole }]);

    let mut client = running.quota().await;
    let request = v1::Request { resources: vec![quantity("cpu", "1")], count: 3, ..request("r", "globex/ann", 1) };
    client.acquire(request).await.expect("decided");
    let page = v1::ListUsageRequest { subtree: "globex".into(), ..Default::default() };
    let usage = admin.list_usage(page).await.expect("told").into_inner();
    let left: Vec<_> = usage.rates.iter().map(|rate| (&rate.tenant[..], rate.amount, rate.left)).collect();
    assert_eq!(left[0], ("globex", 5, 2));
    assert_eq!((left[1].0, left[1].1), ("globex/ann", 5), "each member has its own");
    let explain = v1::ExplainRequest { what: Some(What::Tenant("globex".into())), ..Default::default() };
    let explained = admin.explain(explain).await.expect("told").into_inner().answer.expect("an answer");
    assert_eq!(explained.explanation.expect("numbers").rates.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_rate_is_admitted_when_enough_has_come_back() {
    let running = serve(
        "
pools: [{name: default, capacity: {cpu: 10}, implied: {}}]
tenants: [{name: a, quota: {default: {}}, rates: [{name: r, resource: cpu, amount: 1, per: 300ms, on_exceed: queue}]}]
",
    )
    .await;
    let mut client = running.quota().await;
    client.take("a", 1, 1).await;
    let queued = client.acquire(waiting("r", "a", 1)).await.expect("decided");
    assert_eq!((queued.decision(), codes(&queued)), (Decision::Queue, vec![Reason::RateExceeded]));
    let admitted =
        client.0.r#await(v1::AwaitRequest { id: queued.ticket_id, ..Default::default() }).await.expect("answered");
    assert_eq!(admitted.into_inner().answer.expect("an answer").decision(), Decision::Allow);
}
