//! Health, reflection and HTTP.

use headgate_scheduler::ready::Phase;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use crate::harness::{HALVES, request, serve, waiting};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_standard_health_service_says_whether_it_is_ready() {
    let running = serve(HALVES).await;
    let mut health = HealthClient::new(running.channel().await);
    let mut ask = async |service: &str| {
        let request = HealthCheckRequest { service: service.to_owned() };
        health.check(request).await.map(|response| response.into_inner().status())
    };
    for service in ["", "headgate.v1.QuotaService", "headgate.v1.AdminService"] {
        assert_eq!(ask(service).await.expect("known"), ServingStatus::Serving, "{service}");
    }
    assert!(ask("nothing").await.is_err());
    running.server.readiness().enter(Phase::StoreDown("it was unplugged".to_owned()));
    let mut seen = ask("").await.expect("known");
    for _ in 0..50 {
        if seen == ServingStatus::NotServing {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        running.server.readiness().enter(Phase::StoreDown("it was unplugged".to_owned()));
        seen = ask("").await.expect("known");
    }
    assert_eq!(seen, ServingStatus::NotServing);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wire_describes_itself() {
    let running = serve(HALVES).await;
    let mut reflection = ServerReflectionClient::new(running.channel().await);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers =
        reflection.server_reflection_info(tokio_stream::once(request)).await.expect("served").into_inner();
    let answer: ServerReflectionResponse = answers.message().await.expect("no error").expect("an answer");
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else { panic!("{answer:?}") };
    let names: Vec<_> = list.service.iter().map(|service| &service.name[..]).collect();
    for name in ["headgate.v1.QuotaService", "headgate.v1.AdminService", "grpc.health.v1.Health"] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_are_answered_by_http() {
    let running = serve(HALVES).await;
    assert_eq!(running.get("/healthz").await.0, 200);
    let (status, text) = running.get("/readyz").await;
    assert_eq!(status, 200, "{text}");
    running.server.readiness().enter(Phase::StoreDown("it was unplugged".to_owned()));
    let (status, text) = running.get("/readyz").await;
    assert!(status == 200 || text.contains("it was unplugged"), "{text}");
    assert_eq!(running.get("/nothing").await.0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_count_and_measure() {
    let running = serve(HALVES).await;
    let mut client = running.quota().await;
    client.take("a", 6, 1).await;
    client.acquire(request("d", "b", 11)).await.expect("decided");
    client.acquire(waiting("w", "a", 5)).await.expect("decided");
    let (status, text) = running.get("/metrics").await;
    assert_eq!(status, 200, "{text}");
    for line in [
        "headgate_decisions_total{pool=\"default\",decision=\"allow\",reason=\"\"} 1",
        "headgate_decisions_total{pool=\"default\",decision=\"deny\",reason=\"never-fits\"} 1",
        "headgate_decisions_total{pool=\"default\",decision=\"queue\",reason=\"no-capacity\"} 1",
        "headgate_usage{pool=\"default\",tenant=\"a\",resource=\"cpu\"} 6.0",
        "headgate_guaranteed{pool=\"default\",tenant=\"a\",resource=\"cpu\"} 5.0",
        "headgate_borrowed{pool=\"default\",tenant=\"a\",resource=\"cpu\"} 1.0",
        "headgate_limit{pool=\"default\",tenant=\"\",resource=\"cpu\"} 10.0",
        "headgate_weighted_share{pool=\"default\",tenant=\"a\"} 0.1",
        "headgate_queue_depth{pool=\"default\"} 1.0",
        "headgate_leases{pool=\"default\",state=\"active\"} 1.0",
        "headgate_store_up{cell=\"main\"} 1.0",
        "headgate_leader{cell=\"main\"} 1.0",
        "headgate_decision_duration_seconds_count 3",
        "headgate_invariant_violations_total{invariant=\"conservation\"} 0",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    for name in [
        "headgate_build_info",
        "headgate_journal_commit_seconds_bucket",
        "headgate_oldest_waiting_seconds",
        "headgate_held",
        "headgate_reclaims_total",
        "headgate_reclaim_blocked",
    ] {
        assert!(text.contains(name), "{name} in\n{text}");
    }
    let (_, none) = running.get("/metrics?depth=0").await;
    assert!(!none.contains("tenant=\"a\"") && none.contains("tenant=\"\""), "{none}");
    let (_, few) = running.get("/metrics?tenants_max=1&tenant=b").await;
    assert!(!few.contains("tenant=\"a\"") && few.contains("tenant=\"b\""), "{few}");
    let (_, cut) = running.get("/metrics?tenants_max=1").await;
    assert!(cut.contains("headgate_tenants_not_shown{pool=\"default\"} 1.0"), "{cut}");
    for bad in ["tenants_max=99999999", "tenant=A", "nonsense=1"] {
        assert_eq!(running.get(&format!("/metrics?{bad}")).await.0, 400, "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_level_of_the_logs_is_changed_while_it_runs() {
    let running = serve(HALVES).await;
    let put = |body: &str, host: &str| {
        format!(
            "PUT /loglevel HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    assert_eq!(running.http(&put("warn", "localhost")).await.0, 200);
    assert!(running.get("/loglevel").await.1.ends_with("warn\n"));
    for wrong in ["x=loud", "loud"] {
        assert_eq!(running.http(&put(wrong, "localhost")).await.0, 400, "{wrong}");
    }
    let (status, elsewhere) = running.get("/nowhere").await;
    assert_eq!((status, elsewhere.contains("/loglevel")), (404, true), "{elsewhere}");
    assert_eq!(running.http(&put("debug", "evil.example")).await.0, 403, "a page from elsewhere");
    assert_eq!(running.http(&put(&"x".repeat(10_000), "localhost")).await.0, 413);
    assert_eq!(running.http("GET /metrics HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n").await.0, 403);
    running.http(&put("info", "localhost")).await;
}
