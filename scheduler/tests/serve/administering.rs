//! Configuring tenants, pools and classes, and looking at how they stand.

use headgate_proto::errors::{IN_USE, NOT_EMPTY, OTHER_SOURCE, VERSION_CHANGED};
use headgate_proto::v1::{self, Decision, DifferenceKind, Source, State};
use tonic::Code;

use crate::harness::{HALVES, charged, code, fault, request, serve, waiting};

fn tenant(path: &str, cpu: &str) -> v1::Tenant {
    let limit = [("cpu".to_owned(), cpu.to_owned())].into();
    let quota = v1::Quota { limit, ..v1::Quota::default() };
    v1::Tenant { path: path.into(), quota: [("default".to_owned(), quota)].into(), ..v1::Tenant::default() }
}

fn put(tenant: v1::Tenant) -> v1::PutTenantRequest {
    v1::PutTenantRequest { tenant: Some(tenant), reason: "a test".into(), ..v1::PutTenantRequest::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_is_put_changed_by_its_version_and_deleted() {
    let running = serve(HALVES).await;
    let mut admin = running.admin().await;
    let mut client = running.quota().await;
    let validated = v1::PutTenantRequest { validate_only: true, ..put(tenant("c", "2")) };
    let would = admin.put_tenant(validated).await.expect("allowed").into_inner();
    assert_eq!(would.effect.expect("an effect").differences[0].kind(), DifferenceKind::Made);
    assert_eq!(code(client.acquire(request("r", "c", 1)).await), Code::NotFound, "it was only checked");

    let made = admin.put_tenant(put(tenant("c", "2"))).await.expect("put").into_inner().tenant.expect("a tenant");
    assert_eq!((made.source(), made.weight), (Source::Api, Some(1.0)));
    let taken = client.acquire(request("r", "c", 2)).await.expect("decided");
    assert_eq!(taken.decision(), Decision::Allow);

    let stale = v1::Tenant { resource_version: "1".into(), ..tenant("c", "3") };
    assert_eq!(fault(admin.put_tenant(put(stale)).await).1, VERSION_CHANGED);
    let exists = v1::Tenant { resource_version: "0".into(), ..tenant("c", "3") };
    assert_eq!(fault(admin.put_tenant(put(exists)).await).1, VERSION_CHANGED);
    let fresh = v1::Tenant { resource_version: made.resource_version.clone(), ..tenant("c", "3") };
    let changed = admin.put_tenant(put(fresh)).await.expect("put").into_inner();
    let difference = changed.effect.expect("an effect").differences.remove(0);
    assert_eq!((&difference.object[..], difference.kind()), ("tenant/c", DifferenceKind::Changed));
    let field = &difference.fields[0];
    assert_eq!((&field.field[..], &field.before[..], &field.after[..]), ("quota.default.limit.cpu", "2", "3"));
    assert_ne!(changed.tenant.expect("a tenant").resource_version, made.resource_version);

    let delete = |drain| v1::DeleteTenantRequest { path: "c".into(), drain, ..v1::DeleteTenantRequest::default() };
    assert_eq!(fault(admin.delete_tenant(delete(false)).await).1, NOT_EMPTY);
    let drained = admin.delete_tenant(delete(true)).await.expect("drained").into_inner().effect.expect("an effect");
    assert_eq!(drained.differences[0].kind(), DifferenceKind::Drained);
    client.release(&taken.lease_id).await.expect("released");
    let get = || v1::GetTenantRequest { path: "c".into() };
    assert_eq!(code(admin.get_tenant(get()).await), Code::NotFound, "it went when it was empty");
    assert_eq!(code(admin.delete_tenant(delete(false)).await), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_source_set_is_its_own() {
    let running = serve(HALVES).await;
    let mut admin = running.admin().await;
    assert_eq!(fault(admin.put_tenant(put(tenant("a", "2"))).await).1, OTHER_SOURCE);
    for path in ["a", "new"] {
        let file = v1::PutTenantRequest { source: Source::File.into(), ..put(tenant(path, "2")) };
        let refused = fault(admin.put_tenant(file).await);
        assert_eq!((refused.0, &refused.2[..]), (Code::InvalidArgument, &["source".to_owned()][..]), "{path}");
    }
    let file = v1::ApplyRequest { source: Source::File.into(), prune: true, ..v1::ApplyRequest::default() };
    assert_eq!(fault(admin.apply(file).await).2, ["source"], "it would remove all that the file set");
    let custom = v1::PutTenantRequest { source: Source::Kubernetes.into(), ..put(tenant("k", "2")) };
    let made = admin.put_tenant(custom).await.expect("who administers all may").into_inner().tenant;
    assert_eq!(made.expect("a tenant").source(), Source::Kubernetes);
    assert_eq!(fault(admin.put_tenant(put(tenant("k", "3"))).await).1, OTHER_SOURCE);
    let capacity = || [("cpu".to_owned(), "20".to_owned())].into();
    let set = v1::SetCapacityRequest { capacity: capacity(), ..v1::SetCapacityRequest::default() };
    assert_eq!(fault(admin.set_capacity(set).await).1, OTHER_SOURCE);
    let lost = [("cpu".to_owned(), "9".to_owned())].into();
    let set = v1::SetCapacityRequest { unavailable: lost, ..v1::SetCapacityRequest::default() };
    let pool = admin.set_capacity(set).await.expect("whoever set it").into_inner().pool.expect("a pool");
    assert_eq!((&pool.unavailable["cpu"][..], &pool.capacity["cpu"][..]), ("9", "10"));
    let mut client = running.quota().await;
    assert_eq!(client.acquire(request("r", "b", 2)).await.expect("decided").decision(), Decision::Deny);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pools_and_classes_are_put_listed_and_deleted() {
    let running = serve(HALVES).await;
    let mut admin = running.admin().await;
    let class = v1::Class {
        name: "SMALL".into(),
        limit: [("cpu".to_owned(), "50%".to_owned())].into(),
        ..v1::Class::default()
    };
    admin.put_class(v1::PutClassRequest { class: Some(class), ..Default::default() }).await.expect("put");
    let quota = v1::Quota { class: "SMALL".into(), ..v1::Quota::default() };
    let small = v1::Tenant { path: "s".into(), quota: [("default".to_owned(), quota)].into(), ..Default::default() };
    admin.put_tenant(put(small)).await.expect("put");
    let mut client = running.quota().await;
    assert_eq!(client.check(request("", "s", 5)).await.expect("decided").decision(), Decision::Allow);
    assert_eq!(client.check(request("", "s", 6)).await.expect("decided").decision(), Decision::Deny);
    let delete = || v1::DeleteClassRequest { name: "SMALL".into(), ..Default::default() };
    assert_eq!(fault(admin.delete_class(delete()).await).1, IN_USE);
    let classes = admin.list_classes(v1::ListClassesRequest::default()).await.expect("a page").into_inner().classes;
    assert_eq!(classes[0].limit["cpu"], "50%");
    admin.delete_tenant(v1::DeleteTenantRequest { path: "s".into(), ..Default::default() }).await.expect("deleted");
    admin.delete_class(delete()).await.expect("deleted");

    let pool = v1::Pool { name: "other".into(), capacity: [("gpu".into(), "4".into())].into(), ..Default::default() };
    let made = admin.put_pool(v1::PutPoolRequest { pool: Some(pool), ..Default::default() }).await.expect("put");
    let made = made.into_inner().pool.expect("a pool");
    assert_eq!((made.max_queued, made.implied.get("jobs").map(String::as_str)), (Some(100_000), Some("1")));
    let first = admin.list_pools(v1::ListPoolsRequest { page_size: 1, ..Default::default() }).await.expect("a page");
    let first = first.into_inner();
    assert_eq!((&first.pools[0].name[..], &first.next_page_token[..]), ("default", "default"));
    let rest = v1::ListPoolsRequest { page_size: 1, page_token: first.next_page_token };
    let rest = admin.list_pools(rest).await.expect("a page").into_inner();
    assert_eq!((&rest.pools[0].name[..], &rest.next_page_token[..]), ("other", ""));
    admin.delete_pool(v1::DeletePoolRequest { name: "other".into(), ..Default::default() }).await.expect("deleted");
    let gone = admin.get_pool(v1::GetPoolRequest { name: "other".into() }).await;
    assert_eq!(code(gone), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_objects_are_applied_together_or_not_at_all() {
    let running = serve(HALVES).await;
    let mut admin = running.admin().await;
    // The child before its parent: they are checked as they will stand together.
    let apply = |tenants: Vec<v1::Tenant>, prune| v1::ApplyRequest { tenants, prune, ..v1::ApplyRequest::default() };
    let effect = admin.apply(apply(vec![tenant("c/d", "1"), tenant("c", "2")], false)).await.expect("applied");
    let objects: Vec<_> = effect.into_inner().effect.expect("an effect").differences;
    assert_eq!(objects.iter().map(|one| &one.object[..]).collect::<Vec<_>>(), ["tenant/c", "tenant/c/d"]);
    let wrong = apply(vec![tenant("e", "1"), tenant("nowhere/f", "1")], false);
    assert_eq!(code(admin.apply(wrong).await), Code::InvalidArgument);
    assert_eq!(code(admin.get_tenant(v1::GetTenantRequest { path: "e".into() }).await), Code::NotFound);
    let dry = v1::ApplyRequest { dry_run: true, ..apply(vec![tenant("c", "2")], true) };
    let dry = admin.apply(dry).await.expect("checked").into_inner().effect.expect("an effect").differences;
    assert_eq!((dry.len(), &dry[0].object[..], dry[0].kind()), (1, "tenant/c/d", DifferenceKind::Removed));
    admin.apply(apply(Vec::new(), true)).await.expect("pruned");
    let left = admin.list_tenants(v1::ListTenantsRequest::default()).await.expect("a page").into_inner().tenants;
    assert_eq!(left.iter().map(|one| &one.path[..]).collect::<Vec<_>>(), ["a", "b"], "the file's own stay");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_give_way_is_told_before() {
    let running = serve(HALVES).await;
    let mut client = running.quota().await;
    let ids = client.take("a", 5, 2).await;
    let small = v1::Tenant {
        quota: [(
            "default".to_owned(),
            v1::Quota { guaranteed: [("cpu".to_owned(), "1".to_owned())].into(), ..v1::Quota::default() },
        )]
        .into(),
        ..tenant("c", "1")
    };
    client.acquire(waiting("t", "b", 1)).await.expect("decided");
    // Everything that gives way, gives way already: another tenant's guarantee changes nothing.
    let validated = v1::PutTenantRequest { validate_only: true, ..put(small) };
    let refused_or_not = running.admin().await.put_tenant(validated).await;
    assert!(refused_or_not.is_ok(), "{refused_or_not:?}");
    let reclaiming = v1::ListLeasesRequest { state: State::Reclaiming.into(), ..v1::ListLeasesRequest::default() };
    let leases = running.admin().await.list_leases(reclaiming).await.expect("a page").into_inner().leases;
    assert_eq!(leases.iter().map(|lease| &lease.lease_id).collect::<Vec<_>>(), [&ids[1]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_is_paused_and_enforced_whoever_set_it() {
    let running = serve(HALVES).await;
    let mut admin = running.admin().await;
    let mut client = running.quota().await;
    let pause = |paused| v1::SetPausedRequest { paused, reason: "maintenance".into(), ..Default::default() };
    let pool = admin.set_paused(pause(true)).await.expect("paused").into_inner().pool.expect("a pool");
    assert!(pool.paused);
    let queued = client.acquire(waiting("r", "a", 1)).await.expect("decided");
    assert_eq!(queued.reasons[0].code(), v1::Reason::Paused);
    admin.set_paused(pause(false)).await.expect("goes on");
    assert_eq!(client.wait(&queued.ticket_id).await.expect("admitted").decision(), Decision::Allow);
    let observe = v1::SetEnforceRequest {
        tenant: "a".into(),
        enforce: v1::Enforce::Observe.into(),
        ..v1::SetEnforceRequest::default()
    };
    let effect = admin.set_enforce(observe).await.expect("set").into_inner().effect.expect("an effect");
    assert_eq!(effect.differences[0].fields[0].field, "quota.default.enforce");
    let allowed = client.acquire(request("s", "a", 20)).await.expect("decided");
    assert_eq!((allowed.decision(), allowed.would_be()), (Decision::Allow, Decision::Deny));
    let unknown = v1::SetPausedRequest { pool: "nowhere".into(), ..pause(true) };
    assert_eq!(code(admin.set_paused(unknown).await), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_queue_and_leases_come_in_pages() {
    let running = serve(HALVES).await;
    let mut admin = running.admin().await;
    let mut client = running.quota().await;
    let labelled = v1::Request {
        labels: [("team".to_owned(), "x".to_owned())].into(),
        holder: "runner".into(),
        ..request("l", "a", 4)
    };
    client.acquire(labelled).await.expect("decided");
    client.take("b", 3, 2).await;
    for n in 0..3 {
        client.acquire(waiting(&format!("w{n}"), "a", 4)).await.expect("decided");
    }
    let mut usage = Vec::new();
    let mut token = String::new();
    loop {
        let page = v1::ListUsageRequest { page_size: 1, page_token: token, ..v1::ListUsageRequest::default() };
        let page = admin.list_usage(page).await.expect("a page").into_inner();
        usage.extend(page.usage);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let told: Vec<_> = usage.iter().map(|one| (&one.tenant[..], one.running, one.resources[0].usage)).collect();
    assert_eq!(told, [("", 3, 10_000), ("a", 1, 4000), ("b", 2, 6000)], "the root first");
    assert_eq!(usage[2].resources[0].borrowed, 1000);

    let queue = |token: &str| v1::ListQueueRequest { page_size: 2, page_token: token.into(), ..Default::default() };
    let first = admin.list_queue(queue("")).await.expect("a page").into_inner();
    assert_eq!(first.tickets.iter().map(|ticket| ticket.position).collect::<Vec<_>>(), [1, 2]);
    assert!(!first.tickets[0].reasons.is_empty());
    let second = admin.list_queue(queue(&first.next_page_token)).await.expect("a page").into_inner();
    assert_eq!((second.tickets[0].position, &second.next_page_token[..]), (3, ""));

    let list = |request: v1::ListLeasesRequest| {
        let mut admin = admin.clone();
        async move { admin.list_leases(request).await.expect("a page").into_inner().leases.len() }
    };
    let all = v1::ListLeasesRequest::default;
    assert_eq!(list(all()).await, 3);
    assert_eq!(list(v1::ListLeasesRequest { subtree: "b".into(), ..all() }).await, 2);
    assert_eq!(list(v1::ListLeasesRequest { holder: "runner".into(), ..all() }).await, 1);
    assert_eq!(list(v1::ListLeasesRequest { labels: [("team".into(), "y".into())].into(), ..all() }).await, 0);
    assert_eq!(list(v1::ListLeasesRequest { labels: [("team".into(), "x".into())].into(), ..all() }).await, 1);
    assert_eq!(list(v1::ListLeasesRequest { state: State::Provisional.into(), ..all() }).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_can_be_explained() {
    let running = serve(HALVES).await;
    let mut admin = running.admin().await;
    let mut client = running.quota().await;
    let ids = client.take("a", 5, 2).await;
    let ticket = client.acquire(waiting("t", "b", 5)).await.expect("decided").ticket_id;
    let mut explain = async |what| {
        let request = v1::ExplainRequest { what: Some(what), pool: String::new() };
        admin.explain(request).await.map(tonic::Response::into_inner)
    };
    use v1::explain_request::What;
    let waits = explain(What::TicketId(ticket.clone())).await.expect("explained");
    assert!(matches!(&waits.subject, Some(v1::explain_response::Subject::Ticket(one)) if one.ticket_id == ticket));
    assert_eq!(waits.reclaiming.iter().map(|lease| &lease.lease_id).collect::<Vec<_>>(), [&ids[1]]);
    assert_eq!(waits.tenants.iter().map(|one| &one.tenant[..]).collect::<Vec<_>>(), ["a"], "who holds it");
    assert!(!waits.answer.expect("an answer").reasons.is_empty());
    let lease = explain(What::LeaseId(ids[0].clone())).await.expect("explained");
    assert!(matches!(lease.subject, Some(v1::explain_response::Subject::Lease(_))));
    let tenant = explain(What::Tenant("a".into())).await.expect("explained").answer.expect("an answer");
    assert_eq!(tenant.explanation.expect("an explanation").levels[0].resources[0].borrowed, 5000);
    let request = explain(What::Request(request("", "b", 5))).await.expect("explained");
    assert_eq!(request.answer.expect("an answer").decision(), Decision::Deny);
    for unknown in [What::Tenant("x".into()), What::TicketId("main-99".into()), What::LeaseId("x".into())] {
        assert_eq!(code(explain(unknown).await), Code::NotFound);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_spoken_for_a_ticket_is_told() {
    let running = serve(
        "
pools:
  - {name: default, capacity: {cpu: 10}, implied: {}, hold_after: 1h}
  - {name: open, capacity: {cpu: 10}, implied: {}, hold_after: 0s}
tenants:
  - {name: a, quota: {default: {guaranteed: {cpu: 5}}, open: {}}}
  - {name: b, quota: {default: {guaranteed: {cpu: 5}}, open: {}}}
",
    )
    .await;
    let mut admin = running.admin().await;
    let mut client = running.quota().await;
    let mut spoken_for = async |pool: &str, id: &str| {
        let what = Some(v1::explain_request::What::TicketId(id.to_owned()));
        let explained = admin.explain(v1::ExplainRequest { what, pool: String::new() }).await.expect("explained");
        let v1::ExplainResponse { subject, reclaiming, .. } = explained.into_inner();
        let Some(v1::explain_response::Subject::Ticket(ticket)) = subject else { panic!("{subject:?}") };
        let list = v1::ListQueueRequest { pool: pool.into(), ..Default::default() };
        let listed = admin.list_queue(list).await.expect("a page").into_inner().tickets;
        let told = |ticket: &v1::Ticket| (ticket.claims, ticket.holds_at.clone(), ticket.held.clone());
        assert!(listed.iter().any(|one| one.ticket_id == id && told(one) == told(&ticket)), "{listed:?}");
        (told(&ticket), reclaiming.into_iter().map(|lease| lease.lease_id).collect::<Vec<_>>())
    };
    let ids = client.take("a", 2, 5).await;
    let owner = client.acquire(waiting("owner", "b", 3)).await.expect("decided").ticket_id;
    let youngest = vec![ids[3].clone(), ids[4].clone()];
    let (told, mut gives_way) = spoken_for("default", &owner).await;
    gives_way.sort();
    assert_eq!((told, gives_way), ((true, None, [].into()), youngest.clone()));
    let borrower = client.acquire(waiting("borrower", "b", 6)).await.expect("decided").ticket_id;
    let (told, gives_way) = spoken_for("default", &borrower).await;
    assert_eq!((told, gives_way.len()), ((false, None, [].into()), 2), "without a claim: all that give way");

    let open = |id: &str, tenant, cores| v1::Request { pool: "open".into(), ..waiting(id, tenant, cores) };
    let large = client.acquire(open("large", "a", 6)).await.expect("decided").lease_id;
    let small = client.acquire(open("small", "a", 4)).await.expect("decided").lease_id;
    let waits = client.acquire(open("waits", "b", 8)).await.expect("decided").ticket_id;
    let later = client.acquire(open("later", "b", 1)).await.expect("decided").ticket_id;
    client.release(&small).await.expect("released");
    let held = charged(&[("cpu", 4000)]);
    assert_eq!(spoken_for("open", &waits).await, ((false, Some(String::new()), held), vec![]), "at the root");
    assert_eq!(spoken_for("open", &later).await, ((false, None, [].into()), vec![]));
    client.release(&large).await.expect("released");
    assert_eq!(client.wait(&waits).await.expect("admitted").decision(), Decision::Allow);
}
