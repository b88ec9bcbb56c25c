//! What gateways ask before they let a call pass: Envoy's `RateLimitService`, asked on a real socket.

use headgate_proto::envoy::rate_limit_descriptor::{Entry, RateLimitOverride};
use headgate_proto::envoy::rate_limit_response::rate_limit::Unit;
use headgate_proto::envoy::rate_limit_response::{Code as Limited, DescriptorStatus};
use headgate_proto::envoy::rate_limit_service_client::RateLimitServiceClient;
use headgate_proto::envoy::{RateLimitDescriptor, RateLimitRequest, RateLimitResponse};
use headgate_proto::v1;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::harness::{Running, config, fault, parsed, serve, start};

/// A gateway with calls by path, by user and by address. What comes back takes longer than any test.
const GATEWAY: &str = "
pools: [{name: default}]
tenants:
  - name: acme
    quota: {default: {}}
    rates: [{name: all, resource: requests, amount: 100, per: 1h}]
    tenants:
      - {name: api, rates: [{name: calls, resource: requests, amount: 3, per: 1h, burst: 2}]}
      - {name: bytes, rates: [{name: sent, resource: bytes, amount: 1000, per: 1h}]}
      - {name: teams, tenants: [{name: ml}]}
      - name: users
        members: {max: 100, keep: 2h, rates: [{name: each, resource: requests, amount: 2, per: 1h}]}
      - {name: strangers, rates: [{name: few, resource: requests, amount: 1, per: 1d}]}
  - {name: free, quota: {default: {}}}
rate_limit_service:
  - domain: edge
    descriptors:
      - {match: {path: /api*}, tenant: acme/api}
      - {match: {path: /free}, tenant: free}
      - {match: {path: /upload}, tenant: acme/bytes, resource: bytes}
      - {match: {user: \"*\"}, tenant: \"acme/users/${user}\"}
      - {match: {team: \"*\"}, tenant: \"acme/teams/${team}\"}
      - {match: {team: \"*\"}, tenant: acme/strangers}
  - {domain: told, headers: true, descriptors: [{match: {path: /api}, tenant: acme/api}]}
";

type Client = RateLimitServiceClient<Channel>;

async fn client(running: &Running) -> Client {
    RateLimitServiceClient::new(running.channel().await)
}

fn descriptor(words: &[(&str, &str)]) -> RateLimitDescriptor {
    let entry = |(key, value): &(&str, &str)| Entry { key: (*key).to_owned(), value: (*value).to_owned() };
    RateLimitDescriptor { entries: words.iter().map(entry).collect(), ..RateLimitDescriptor::default() }
}

fn asks(descriptors: Vec<RateLimitDescriptor>) -> RateLimitRequest {
    RateLimitRequest { domain: "edge".to_owned(), descriptors, hits_addend: 0 }
}

async fn ask(client: &mut Client, request: RateLimitRequest) -> Result<RateLimitResponse, Status> {
    client.should_rate_limit(request).await.map(tonic::Response::into_inner)
}

/// What is answered to descriptors of one word each.
async fn says(client: &mut Client, words: &[(&str, &str)]) -> (Limited, Vec<Limited>) {
    let descriptors = words.iter().map(|word| descriptor(&[*word])).collect();
    let answer = ask(client, asks(descriptors)).await.expect("answered");
    (answer.overall_code(), answer.statuses.iter().map(DescriptorStatus::code).collect())
}

async fn left(running: &Running, tenant: &str) -> i64 {
    let page = v1::ListUsageRequest { subtree: tenant.to_owned(), depth: Some(0), ..Default::default() };
    let usage = running.admin().await.list_usage(page).await.expect("told").into_inner();
    usage.rates.iter().find(|rate| rate.tenant == tenant).expect("a rate").left
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_pass_until_a_limit_is_used_up() {
    let running = serve(GATEWAY).await;
    let mut client = client(&running).await;
    let path = || asks(vec![descriptor(&[("path", "/api/things")])]);
    let first = ask(&mut client, path()).await.expect("answered");
    assert_eq!(first.overall_code(), Limited::Ok);
    let status = &first.statuses[0];
    let limit = status.current_limit.as_ref().expect("a limit");
    assert_eq!((limit.requests_per_unit, limit.unit(), &limit.name[..]), (3, Unit::Hour, "acme/api:calls"));
    assert_eq!(status.limit_remaining, 1);
    let reset = status.duration_until_reset.expect("a time");
    assert_eq!(reset.seconds, 1200, "one of three an hour is out");
    assert_eq!(ask(&mut client, path()).await.expect("answered").overall_code(), Limited::Ok);
    let over = ask(&mut client, path()).await.expect("answered");
    assert_eq!((over.overall_code(), over.statuses[0].code()), (Limited::OverLimit, Limited::OverLimit));
    assert_eq!(over.statuses[0].limit_remaining, 0);
    let passes = over.statuses[0].duration_until_reset.expect("a time");
    assert!((1..=1200).contains(&passes.seconds), "it would pass when one has come back: {passes:?}");
    assert!(over.response_headers_to_add.is_empty());
    assert_eq!(left(&running, "acme").await, 98, "those above count what passed, and nothing else");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_descriptors_are_counted_or_none_is() {
    let running = serve(GATEWAY).await;
    let mut client = client(&running).await;
    let both = [("user", "ann"), ("path", "/api")];
    assert_eq!(says(&mut client, &both).await, (Limited::Ok, vec![Limited::Ok; 2]));
    assert_eq!(says(&mut client, &[("user", "ann")]).await.0, Limited::Ok);
    let refused = says(&mut client, &both).await;
    assert_eq!(refused, (Limited::OverLimit, vec![Limited::OverLimit, Limited::Ok]), "in their order");
    assert_eq!(says(&mut client, &[("path", "/api")]).await.0, Limited::Ok, "one was left there still");
    assert_eq!(says(&mut client, &[("path", "/api")]).await.0, Limited::OverLimit);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_value_has_a_tenant_of_its_own_that_is_made_on_first_use() {
    let running = serve(GATEWAY).await;
    let mut client = client(&running).await;
    for user in ["ann", "10.0.0.1", "ben@acme.example"] {
        for expected in [Limited::Ok, Limited::Ok, Limited::OverLimit] {
            assert_eq!(says(&mut client, &[("user", user)]).await.0, expected, "{user}");
        }
    }
    let list = v1::ListTenantsRequest { subtree: "acme/users".into(), ..Default::default() };
    let tenants = running.admin().await.list_tenants(list).await.expect("told").into_inner().tenants;
    let paths: Vec<_> = tenants.iter().filter(|tenant| tenant.member).map(|tenant| &tenant.path[..]).collect();
    assert_eq!((paths.len(), paths[1]), (3, "acme/users/ann"), "{paths:?}");
    assert!(paths[0].starts_with("acme/users/10-0-0-1-") && paths[2].starts_with("acme/users/ben-acme-"), "{paths:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_matches_nothing_stands_against_nothing() {
    let running = serve(GATEWAY).await;
    let mut client = client(&running).await;
    for words in [vec![("method", "GET")], vec![("path", "/")], vec![("path", "/free")]] {
        let answer = ask(&mut client, asks(vec![descriptor(&words)])).await.expect("answered");
        let ok = DescriptorStatus { code: Limited::Ok.into(), ..DescriptorStatus::default() };
        assert_eq!((answer.overall_code(), answer.statuses), (Limited::Ok, vec![ok]), "{words:?}");
    }
    let two = asks(vec![descriptor(&[("path", "/api"), ("method", "GET")])]);
    assert!(ask(&mut client, two).await.expect("answered").statuses[0].current_limit.is_none(), "it has other words");
    let elsewhere = RateLimitRequest { domain: "nowhere".into(), ..asks(vec![descriptor(&[("path", "/api")])]) };
    assert_eq!(ask(&mut client, elsewhere).await.expect("answered").overall_code(), Limited::Ok);
    // Of a team that there is not, the next descriptor has its say.
    assert_eq!(says(&mut client, &[("team", "ml")]).await.0, Limited::Ok);
    let stranger = ask(&mut client, asks(vec![descriptor(&[("team", "who")])])).await.expect("answered");
    assert_eq!(stranger.statuses[0].current_limit.as_ref().expect("a limit").name, "acme/strangers:few");
    assert_eq!(says(&mut client, &[("team", "else")]).await.0, Limited::OverLimit);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_counts_as_much_as_it_says() {
    let running = serve(GATEWAY).await;
    let mut client = client(&running).await;
    let upload = |hits_addend, own| {
        let descriptor = RateLimitDescriptor { hits_addend: own, ..descriptor(&[("path", "/upload")]) };
        RateLimitRequest { hits_addend, ..asks(vec![descriptor]) }
    };
    let status = |answer: RateLimitResponse| (answer.overall_code(), answer.statuses[0].limit_remaining);
    let mut said = async |request| status(ask(&mut client, request).await.expect("answered"));
    assert_eq!(said(upload(300, None)).await, (Limited::Ok, 700));
    assert_eq!(said(upload(1, Some(600))).await, (Limited::Ok, 100), "a descriptor's own comes first");
    assert_eq!(said(upload(1, Some(0))).await, (Limited::Ok, 100), "nothing is asked, and not counted");
    assert_eq!(said(upload(101, None)).await, (Limited::OverLimit, 100));
    assert_eq!(said(upload(100, None)).await, (Limited::Ok, 0));
    assert_eq!(said(upload(2000, None)).await, (Limited::OverLimit, 0), "more than ever passes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_malformed_is_told_by_its_field() {
    let running = serve(GATEWAY).await;
    let mut client = client(&running).await;
    let good = || descriptor(&[("path", "/api")]);
    let limit = Some(RateLimitOverride { requests_per_unit: 1, unit: Unit::Second.into() });
    let huge = RateLimitDescriptor { hits_addend: Some(u64::MAX), ..good() };
    let cases: [(RateLimitRequest, &str); 9] = [
        (RateLimitRequest { domain: String::new(), ..asks(vec![good()]) }, "domain"),
        (RateLimitRequest { domain: "d".repeat(257), ..asks(vec![good()]) }, "domain"),
        (asks(vec![]), "descriptors"),
        (asks(vec![good(); 65]), "descriptors"),
        (asks(vec![good(), descriptor(&[])]), "descriptors[1].entries"),
        (asks(vec![descriptor(&[("", "x")])]), "descriptors[0].entries[0].key"),
        (asks(vec![descriptor(&[("path", &"x".repeat(8193))])]), "descriptors[0].entries[0].value"),
        (asks(vec![RateLimitDescriptor { limit, ..good() }]), "descriptors[0].limit"),
        (asks(vec![huge]), "descriptors[0].hits_addend"),
    ];
    for (request, field) in cases {
        let (code, _, fields) = fault(ask(&mut client, request).await);
        assert_eq!((code, &fields[..]), (Code::InvalidArgument, &[field.to_owned()][..]));
    }
    assert_eq!(left(&running, "acme").await, 100, "nothing of it was counted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_tell_callers_how_they_stand_where_that_is_asked_for() {
    let running = serve(GATEWAY).await;
    let mut client = client(&running).await;
    let told = || RateLimitRequest { domain: "told".into(), ..asks(vec![descriptor(&[("path", "/api")])]) };
    let headers = |answer: RateLimitResponse| {
        let pairs = answer.response_headers_to_add.into_iter();
        pairs.map(|header| format!("{}: {}", header.key, header.value)).collect::<Vec<_>>()
    };
    let first = headers(ask(&mut client, told()).await.expect("answered"));
    assert_eq!(first, ["x-ratelimit-limit: 3, 3;w=3600", "x-ratelimit-remaining: 1", "x-ratelimit-reset: 1200"]);
    ask(&mut client, told()).await.expect("answered");
    let over = headers(ask(&mut client, told()).await.expect("answered"));
    assert_eq!(over[1], "x-ratelimit-remaining: 0");
    assert!(over[2].starts_with("x-ratelimit-reset: "), "{over:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_only_observed_passes_and_is_counted_as_such() {
    let running =
        serve(&GATEWAY.replace("pools: [{name: default}]", "pools: [{name: default, enforce: observe}]")).await;
    let mut client = client(&running).await;
    for _ in 0..5 {
        assert_eq!(says(&mut client, &[("path", "/api")]).await.0, Limited::Ok);
    }
    let (_, metrics) = running.get("/metrics").await;
    let counted = "headgate_would_deny_total{pool=\"default\",reason=\"rate-exceeded\"} 3";
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_domain_it_is_not_served_and_a_reload_changes_that() {
    let (objects, _) = GATEWAY.split_once("rate_limit_service").expect("two parts");
    let running = serve(objects).await;
    let mut client = client(&running).await;
    let asked = || asks(vec![descriptor(&[("path", "/api")])]);
    assert_eq!(ask(&mut client, asked()).await.expect_err("refused").code(), Code::Unimplemented);
    assert!(running.server.reload(config(GATEWAY), "test.yaml").await.expect("taken up").restart.is_empty());
    let answer = ask(&mut client, asked()).await.expect("answered");
    assert!(answer.statuses[0].current_limit.is_some());
}

/// On one connection, so that many of them are decided together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_calls_that_come_together_no_more_pass_than_may() {
    let running = serve(GATEWAY).await;
    let client = client(&running).await;
    let calls = (0..200).map(|nth| {
        let mut client = client.clone();
        tokio::spawn(async move {
            // The malformed, the unmatched and the refused stand between the others.
            let request = match nth % 4 {
                0 => asks(vec![descriptor(&[("user", "ann")])]),
                1 => asks(vec![descriptor(&[("path", "/free")])]),
                2 => asks(vec![]),
                _ => asks(vec![descriptor(&[("path", "/api")]), descriptor(&[("user", "ben")])]),
            };
            (nth % 4, ask(&mut client, request).await)
        })
    });
    let calls: Vec<_> = calls.collect();
    let mut passed = [0; 4];
    for call in calls {
        match call.await.expect("no panic") {
            (2, answer) => assert_eq!(answer.expect_err("refused").code(), Code::InvalidArgument),
            (kind, answer) => {
                passed[kind] += i32::from(answer.expect("answered").overall_code() == Limited::Ok);
            }
        }
    }
    assert_eq!(passed, [2, 50, 0, 2]);
    assert_eq!(left(&running, "acme").await, 100 - 2 - 2 * 2);
}

/// Traced, a call goes the ordinary way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_counts_the_same_whichever_way_it_goes() {
    let running = serve(GATEWAY).await;
    let mut client = client(&running).await;
    let traced = |request| {
        let mut request = Request::new(request);
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        request.metadata_mut().insert("traceparent", parent.parse().expect("a header"));
        request
    };
    let asked = || asks(vec![descriptor(&[("path", "/api")])]);
    let plain = client.should_rate_limit(asked()).await.expect("answered").into_inner();
    let other = client.should_rate_limit(traced(asked())).await.expect("answered").into_inner();
    assert_eq!((plain.statuses[0].limit_remaining, other.statuses[0].limit_remaining), (1, 0));
    assert_eq!(plain.statuses[0].current_limit, other.statuses[0].current_limit);
    for request in [Request::new(asked()), traced(asked())] {
        let refused = client.should_rate_limit(request).await.expect("answered").into_inner();
        assert_eq!((refused.overall_code(), refused.statuses[0].limit_remaining), (Limited::OverLimit, 0));
    }
    for request in [Request::new(asks(vec![])), traced(asks(vec![]))] {
        let (code, _, fields) = fault(client.should_rate_limit(request).await);
        assert_eq!((code, &fields[..]), (Code::InvalidArgument, &["descriptors".to_owned()][..]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_counted_is_counted_still_after_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let yaml =
        format!("listen: {{grpc: 127.0.0.1:0}}\nstore: {{kind: file, path: {}}}\n{GATEWAY}", dir.path().display());
    let running = start(parsed(&yaml)).await;
    let mut before = client(&running).await;
    for _ in 0..2 {
        assert_eq!(says(&mut before, &[("user", "ann")]).await.0, Limited::Ok);
    }
    running.server.stop().await;
    let running = start(parsed(&yaml)).await;
    let mut after = client(&running).await;
    assert_eq!(says(&mut after, &[("user", "ann")]).await.0, Limited::OverLimit);
    assert_eq!(left(&running, "acme").await, 98);
    running.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_asks_for_the_tenants_that_it_may_acquire_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name);
    for name in ["gateway", "looker"] {
        std::fs::write(at(name), format!("the-token-of-the-{name}")).expect("written");
    }
    let auth = format!(
        "
auth:
  anonymous: deny
  callers:
    - {{match: {{token_file: {}}}, may: [acquire], tenants: [acme/api]}}
    - {{match: {{token_file: {}}}, may: [check], tenants: [\"*\"]}}
",
        at("gateway").display(),
        at("looker").display()
    );
    let running = serve(&format!("{auth}{GATEWAY}")).await;
    let mut client = client(&running).await;
    let mut says = async |name: &str, word: (&str, &str)| {
        let mut request = Request::new(asks(vec![descriptor(&[word])]));
        let token = format!("Bearer the-token-of-the-{name}");
        request.metadata_mut().insert("authorization", token.parse().expect("a header"));
        client.should_rate_limit(request).await.map(|answer| answer.into_inner().overall_code()).map_err(|e| e.code())
    };
    assert_eq!(says("gateway", ("path", "/api")).await, Ok(Limited::Ok));
    assert_eq!(says("gateway", ("user", "ann")).await, Err(Code::NotFound), "who is not its own");
    assert_eq!(says("looker", ("path", "/api")).await, Err(Code::PermissionDenied));
    assert_eq!(says("nobody", ("path", "/api")).await, Err(Code::Unauthenticated));
}
