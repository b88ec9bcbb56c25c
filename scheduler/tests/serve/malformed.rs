//! Whatever is sent is answered, and names what is wrong with it.

use headgate_proto::v1;
use tonic::Code;

use crate::harness::{HALVES, fault, quantity, request, serve};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_field_of_a_request_is_looked_at() {
    let running = serve(HALVES).await;
    let mut client = running.quota().await;
    type Change = fn(&mut v1::Request);
    let cases: [(Change, &str); 16] = [
        (|r| r.request_id.clear(), "request.request_id"),
        (|r| r.request_id = "x".repeat(129), "request.request_id"),
        (|r| r.request_id = "a\u{7}b".into(), "request.request_id"),
        (|r| r.tenant.clear(), "request.tenant"),
        (|r| r.tenant = "a/../b".into(), "request.tenant"),
        (|r| r.pool = "POOL".into(), "request.pool"),
        (|r| r.resources.clear(), "request.resources"),
        (|r| r.resources = vec![quantity("cpu", "0")], "request.resources"),
        (|r| r.resources = vec![quantity("cpu", "1e300")], "request.resources[0].quantity"),
        (|r| r.resources = vec![quantity("cpu", "0.0001")], "request.resources[0].quantity"),
        (|r| r.count = u32::MAX, "request.count"),
        (|r| r.min_count = 2, "request.min_count"),
        (|r| r.priority = i32::MAX, "request.priority"),
        (|r| r.holder = "\n".into(), "request.holder"),
        (|r| drop(r.labels.insert("x".repeat(257), String::new())), "request.labels"),
        (|r| r.ttl = Some(prost_types::Duration { seconds: i64::MIN, nanos: i32::MIN }), "request.ttl"),
    ];
    for (change, field) in cases {
        let mut wire = request("r", "a", 1);
        change(&mut wire);
        let expected = (Code::InvalidArgument, String::new(), vec![field.to_owned()]);
        assert_eq!(fault(client.acquire(wire).await), expected);
    }
    let huge =
        v1::Request { count: 1_000_000, resources: vec![quantity("cpu", "1000000000000")], ..request("r", "a", 1) };
    assert_eq!(fault(client.acquire(huge).await).2, ["request.resources"], "all instances together");
    assert_eq!(fault(client.0.acquire(v1::AcquireRequest { request: None }).await).2, ["request"]);
    assert_eq!(fault(client.0.check_quota(v1::CheckQuotaRequest { request: None }).await).2, ["request"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_on_leases_name_ids_or_a_holder() {
    let running = serve(HALVES).await;
    let mut client = running.quota().await;
    let ids = || vec!["main-1".to_owned()];
    let neither = client.0.confirm(v1::ConfirmRequest::default()).await;
    assert_eq!(fault(neither).2, ["ids"]);
    let both = client.0.release(v1::ReleaseRequest { ids: ids(), holder: "h".into() }).await;
    assert_eq!(fault(both).2, ["holder"]);
    let many = client.0.cancel(v1::CancelRequest { ids: vec!["main-1".into(); 1025], holder: String::new() }).await;
    assert_eq!(fault(many).2, ["ids"]);
    let holder = client.0.renew(v1::RenewRequest { ids: ids(), holder: "x".repeat(200) }).await;
    assert_eq!(fault(holder).2, ["holder"]);
    let nothing = client.0.resize(v1::ResizeRequest { ids: ids(), ..Default::default() }).await;
    assert_eq!(fault(nothing).2, ["resources"]);
    let nothing = client.0.get(v1::GetRequest::default()).await;
    assert_eq!(fault(nothing).2, ["ids"]);
    let both = v1::GetRequest { ids: ids(), tenant: "a".into(), request_ids: ids(), ..Default::default() };
    assert_eq!(fault(client.0.get(both).await).2, ["ids"]);
    let watch = v1::WatchRequest { tenant: "A".into(), holder: "\u{1}".into(), cell: "M".into(), ..Default::default() };
    assert_eq!(fault(client.watch(watch).await.map(|_| ())).2, ["cell", "tenant", "holder"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_field_of_a_configuration_is_looked_at() {
    let running = serve(HALVES).await;
    let mut admin = running.admin().await;
    let tenant = v1::Tenant {
        path: "a/UP".into(),
        kind: "x".repeat(64),
        weight: Some(0.0001),
        lifecycle: 99,
        quota: [("default".into(), v1::Quota { limit: [("cpu".into(), "x".into())].into(), ..Default::default() })]
            .into(),
        budgets: vec![v1::Budget::default()],
        rates: vec![v1::Rate { amount: "1".to_owned(), burst: "-1".to_owned(), ..v1::Rate::default() }],
        ..v1::Tenant::default()
    };
    let put = admin.put_tenant(v1::PutTenantRequest { tenant: Some(tenant), ..Default::default() }).await;
    let (code, _, fields) = fault(put);
    assert_eq!(code, Code::InvalidArgument);
    let expected = [
        "tenant.path",
        "tenant.kind",
        "tenant.weight",
        "tenant.lifecycle",
        "tenant.quota.default.limit.cpu",
        "tenant.budgets[0].resource",
        "tenant.budgets[0].name",
        "tenant.budgets[0].period",
        "tenant.rates[0].burst",
        "tenant.rates[0].resource",
        "tenant.rates[0].name",
    ];
    for field in expected {
        assert!(fields.iter().any(|found| found == field), "{field} in {fields:?}");
    }
    for weight in [f64::NAN, f64::INFINITY, -1.0, 1e300, f64::MIN_POSITIVE] {
        let tenant = v1::Tenant { path: "c".into(), weight: Some(weight), ..v1::Tenant::default() };
        let put = admin.put_tenant(v1::PutTenantRequest { tenant: Some(tenant), ..Default::default() }).await;
        assert_eq!(fault(put).2, ["tenant.weight"], "{weight}");
    }
    let pool = v1::Pool {
        name: String::new(),
        capacity: [("cpu".into(), "-1".into())].into(),
        max_queued_per_tenant: "101x".into(),
        grace: Some(prost_types::Duration { seconds: -5, nanos: 0 }),
        ..v1::Pool::default()
    };
    let (_, _, fields) = fault(admin.put_pool(v1::PutPoolRequest { pool: Some(pool), ..Default::default() }).await);
    assert!(fields.contains(&"pool.capacity.cpu".to_owned()) && fields.contains(&"pool.name".to_owned()), "{fields:?}");
    for size in [1001, u32::MAX] {
        let list = admin.list_tenants(v1::ListTenantsRequest { page_size: size, ..Default::default() }).await;
        assert_eq!(fault(list).2, ["page_size"]);
    }
    let token = admin.list_queue(v1::ListQueueRequest { page_token: "x".into(), ..Default::default() }).await;
    assert_eq!(fault(token).2, ["page_token"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_too_large_is_malformed() {
    let running = serve(HALVES).await;
    let mut client = running.quota().await;
    let huge = v1::Request { holder: "x".repeat(2 << 20), ..request("r", "a", 1) };
    let refused = client.acquire(huge).await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert!(refused.message().contains("the limit is: 1048576 bytes"), "{refused}");
}
