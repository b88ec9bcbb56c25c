//! Starting, reading the configuration again, and ending.

use std::time::Duration;

use headgate_proto::v1::{self, Decision};
use headgate_scheduler::serve::{Reloaded, Server};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::harness::{HALVES, SOON, code, config, logs, parsed, request, serve, start, state_of, waiting};

fn in_directory(path: &std::path::Path) -> String {
    format!(
        "listen: {{grpc: 127.0.0.1:0, http: 127.0.0.1:0}}\nstore: {{kind: file, path: {}}}\n{HALVES}",
        path.display()
    )
}

async fn refused(yaml: &str) -> String {
    match Server::start(parsed(yaml), "test.yaml", logs()).await {
        Ok(_) => panic!("it started"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_is_there_after_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("data");
    let running = start(parsed(&in_directory(&path))).await;
    let mut client = running.quota().await;
    let ids = client.take("a", 1, 5).await;
    running.server.stop().await;

    let running = start(parsed(&in_directory(&path))).await;
    let mut client = running.quota().await;
    let again = client.acquire(request("a-0", "a", 1)).await.expect("decided");
    assert_eq!((again.decision(), &again.lease_id), (Decision::Allow, &ids[0]));
    let usage = running.admin().await.list_usage(v1::ListUsageRequest::default()).await.expect("a page").into_inner();
    assert_eq!(usage.usage[0].resources[0].usage, 5000);
    running.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_on_the_same_store_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let running = start(parsed(&in_directory(dir.path()))).await;
    let why = refused(&in_directory(dir.path())).await;
    assert!(why.contains("in use by") && why.contains(&dir.path().display().to_string()), "{why}");
    running.server.stop().await;
    start(parsed(&in_directory(dir.path()))).await.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_cannot_be_had_is_told_with_what_would_help() {
    let running = serve(HALVES).await;
    let taken = running.server.grpc().expect("an address");
    let why = refused(&format!("listen: {{grpc: \"{taken}\"}}\nstore: {{kind: memory}}\n{HALVES}")).await;
    assert!(why.contains(&format!("grpc cannot listen on {taken}")) && why.contains("another port"), "{why}");
    let open = format!("listen: {{http: \"192.0.2.1:1\"}}\nstore: {{kind: memory}}\n{HALVES}");
    let exposed = headgate_scheduler::config::Config::parse("test.yaml", &open);
    assert!(exposed.is_err(), "beyond loopback it takes TLS and callers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_cannot_be_written_to_is_told() {
    // Even root cannot make a directory below a file.
    let file = tempfile::NamedTempFile::new().expect("a file");
    let why = refused(&in_directory(&file.path().join("data"))).await;
    assert!(why.contains("cannot create") && why.contains(&file.path().display().to_string()), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_is_read_again_all_of_it_or_nothing() {
    let running = serve(HALVES).await;
    let mut client = running.quota().await;
    client.take("a", 10, 1).await;
    let larger = config(&HALVES.replace("cpu: 10}", "cpu: 12}"));
    assert_eq!(running.server.reload(larger, "test.yaml").await.expect("taken up"), Reloaded::default());
    assert_eq!(client.acquire(request("r", "b", 2)).await.expect("decided").decision(), Decision::Allow);

    // The tenants are guaranteed more than the limit of the one they stand under: all is as it was.
    let broken = HALVES.replace("cpu: 10}", "cpu: 100}").replace(
        "- {name: a, quota: {default: {guaranteed: {cpu: 5}}}}",
        "- {name: a, quota: {default: {guaranteed: {cpu: 5}, limit: {cpu: 4}}}}",
    );
    let error = running.server.reload(config(&broken), "test.yaml").await.expect_err("refused").to_string();
    let line = config_line(&broken, "name: a");
    assert!(error.contains(&format!("test.yaml:{}:", line)), "{error} names its line, as {line}");
    assert_eq!(client.acquire(request("s", "b", 1)).await.expect("decided").decision(), Decision::Deny);

    let elsewhere = HALVES.replace("- {name: b, quota: {default: {guaranteed: {cpu: 5}}}}", "");
    client.acquire(waiting("w", "b", 1)).await.expect("decided");
    let Reloaded { restart, draining } =
        running.server.reload(config(&elsewhere), "test.yaml").await.expect("taken up");
    assert!(restart.is_empty());
    let told: Vec<_> = draining.iter().map(ToString::to_string).collect();
    assert!(
        matches!(&told[..], [b] if b.starts_with("tenant b is not in the file") && b.contains(
            "1 lease and 1 ticket in pool default (holding cpu 2)"
        )),
        "{told:?}"
    );
    assert_eq!(code(client.acquire(request("t", "c", 1)).await), Code::NotFound);
    let drained = client.acquire(request("u", "b", 1)).await.expect("decided");
    assert_eq!(drained.reasons[0].code(), v1::Reason::Inactive, "what has leases is drained");
    running.server.reload(config(HALVES), "test.yaml").await.expect("taken up");
    let back = client.acquire(request("v", "b", 1)).await.expect("decided");
    assert_ne!(back.reasons[0].code(), v1::Reason::Inactive, "what is put back is not drained");
    let memory =
        parsed(&format!("listen: {{grpc: 127.0.0.1:1}}\nstore: {{kind: memory}}\ndurability: relaxed\n{HALVES}"));
    assert_eq!(running.server.reload(memory, "test.yaml").await.expect("taken up").restart, ["listen", "durability"]);
}

fn config_line(objects: &str, text: &str) -> usize {
    // Two lines of the harness's come before.
    2 + objects.lines().position(|line| line.contains(text)).expect("the line") + 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_it_ends_everybody_is_told() {
    let running = serve(HALVES).await;
    let mut client = running.quota().await;
    let mut watch = client.watch(v1::WatchRequest::default()).await.expect("watching");
    watch.present().await;
    client.take("a", 10, 1).await;
    let ticket = client.acquire(waiting("t", "a", 1)).await.expect("decided").ticket_id;
    let mut other = client.clone();
    let awaiting = tokio::spawn(async move { other.wait(&ticket).await });
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let operations = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut answers = client.0.acquire_stream(operations).await.expect("a stream").into_inner();
    let begun = std::time::Instant::now();
    running.server.stop().await;
    assert!(begun.elapsed() < SOON, "within a bound");
    let end = loop {
        match watch.next().await {
            Ok(_) => {}
            Err(status) => break status,
        }
    };
    let stream = answers.message().await.expect_err("it ends");
    let awaited = awaiting.await.expect("ran").expect_err("it ends");
    for status in [end, stream, awaited] {
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        assert!(status.get_details_retry_info().is_some(), "it says when to come again");
    }
    drop::<tokio::sync::mpsc::Sender<v1::AcquireStreamRequest>>(sender);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_before_the_end_holds_after_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let running = start(parsed(&in_directory(dir.path()))).await;
    let mut asking = tokio::task::JoinSet::new();
    for n in 0..8 {
        let mut client = running.quota().await;
        asking.spawn(async move {
            let mut answered = Vec::new();
            for m in 0.. {
                let id = format!("{n}-{m}");
                match client.acquire(waiting(&id, "b", 1)).await {
                    Ok(answer) => answered.push((id, answer.decision(), state_of(&answer))),
                    Err(_) => return answered,
                }
            }
            answered
        });
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    running.server.stop().await;
    let mut answered = Vec::new();
    while let Some(some) = asking.join_next().await {
        answered.extend(some.expect("ran"));
    }
    assert!(answered.len() > 10, "{}", answered.len());
    let running = start(parsed(&in_directory(dir.path()))).await;
    let mut client = running.quota().await;
    for (id, decision, _) in answered {
        let known = v1::GetRequest { tenant: "b".into(), request_ids: vec![id.clone()], ..Default::default() };
        let known = client.0.get(known).await.map(tonic::Response::into_inner);
        match decision {
            Decision::Allow => assert_eq!(known.expect("known").leases.len(), 1, "{id}"),
            Decision::Queue => assert_eq!(known.expect("known").tickets.len(), 1, "{id}"),
            Decision::Deny | Decision::Unspecified => panic!("{id} may wait"),
        }
    }
}
