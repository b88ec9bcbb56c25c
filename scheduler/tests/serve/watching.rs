//! What happens: admissions from the queue, reclaims, and watches that go on where they stopped.

use std::time::Duration;

use headgate_proto::v1::{self, Decision, EndCause, EventKind, State};
use tonic::Code;

use crate::harness::{HALVES, SOON, code, lease_after, request, serve, state_of, waiting};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admission_from_the_queue_is_seen_by_who_awaits_and_who_watches() {
    let running = serve(HALVES).await;
    let mut client = running.quota().await;
    let id = client.take("a", 10, 1).await.remove(0);
    let ticket = client.acquire(waiting("t", "a", 1)).await.expect("decided").ticket_id;
    let mut watch =
        client.watch(v1::WatchRequest { tenant: "a".into(), ..Default::default() }).await.expect("watching");
    let (_, present) = watch.present().await;
    assert_eq!((present.leases.len(), present.tickets.len()), (1, 1));

    let mut other = client.clone();
    let awaited = ticket.clone();
    let awaiting = tokio::spawn(async move { other.wait(&awaited).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.release(&id).await.expect("released");
    let answer = tokio::time::timeout(SOON, awaiting).await.expect("soon").expect("ran").expect("answered");
    assert_eq!((answer.decision(), state_of(&answer)), (Decision::Allow, State::Provisional));
    assert_eq!(answer.lease_id, ticket, "a ticket's lease has the ticket's id");

    let ended = watch.until(EventKind::Ended).await;
    let Some(v1::event::After::Ended(ended)) = ended.after else { panic!("{ended:?}") };
    assert_eq!((ended.id, EndCause::try_from(ended.cause)), (id, Ok(EndCause::Released)));
    let admitted = watch.until(EventKind::Admitted).await;
    assert_eq!((&lease_after(&admitted).lease_id, lease_after(&admitted).state()), (&ticket, State::Provisional));
    // At once, where it is admitted already.
    assert_eq!(client.wait(&ticket).await.expect("answered").decision(), Decision::Allow);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_awaits_is_answered_in_time_and_loses_nothing() {
    let running = serve(HALVES).await;
    let mut client = running.quota().await;
    client.take("a", 10, 1).await;
    let ticket = client.acquire(waiting("t", "a", 1)).await.expect("decided").ticket_id;
    let by_request = v1::AwaitRequest {
        tenant: "a".into(),
        request_id: "t".into(),
        timeout: Some(prost_types::Duration { seconds: 0, nanos: 50_000_000 }),
        ..v1::AwaitRequest::default()
    };
    let answer = client.0.r#await(by_request).await.expect("answered").into_inner().answer.expect("an answer");
    assert_eq!((answer.decision(), answer.position, answer.ticket_id), (Decision::Queue, 1, ticket.clone()));
    client.cancel(&ticket).await.expect("cancelled");
    let ended = client.wait(&ticket).await.expect("answered");
    assert_eq!((state_of(&ended), ended.end_cause()), (State::Ended, EndCause::Cancelled));
    assert_eq!(code(client.wait("main-99").await), Code::NotFound);
    let neither = client.0.r#await(v1::AwaitRequest::default()).await;
    assert_eq!(code(neither), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_borrowed_is_reclaimed_for_its_owner_after_a_notice() {
    let running = serve(HALVES).await;
    let mut client = running.quota().await;
    let ids = client.take("a", 5, 2).await;
    let mut watch = client.watch(v1::WatchRequest { ids: ids.clone(), ..Default::default() }).await.expect("watching");
    watch.present().await;
    let ticket = client.acquire(waiting("t", "b", 5)).await.expect("decided");
    assert_eq!(ticket.decision(), Decision::Queue);
    let told = watch.until(EventKind::Reclaiming).await;
    let victim = lease_after(&told).clone();
    assert_eq!((victim.state(), &victim.lease_id), (State::Reclaiming, &ids[1]), "the youngest");
    assert!(victim.deadline.is_some());
    let renewed = client.renew(&victim.lease_id, "").await.expect("renewed");
    assert_eq!((state_of(&renewed), renewed.deadline), (State::Reclaiming, victim.deadline), "no deadline moves");
    let larger = client.resize(&victim.lease_id, "6").await.expect("decided");
    assert_eq!(larger.decision(), Decision::Deny);

    let revoked = watch.until(EventKind::Revoked).await;
    let Some(v1::event::After::Ended(ended)) = revoked.after else { panic!("{revoked:?}") };
    assert_eq!(EndCause::try_from(ended.cause), Ok(EndCause::Revoked));
    let admitted = tokio::time::timeout(SOON, client.wait(&ticket.ticket_id)).await.expect("soon").expect("answered");
    assert_eq!(admitted.decision(), Decision::Allow);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_goes_on_where_it_stopped_without_a_gap_or_a_repeat() {
    let running = serve(HALVES).await;
    let mut client = running.quota().await;
    let mut watch = client.watch(v1::WatchRequest::default()).await.expect("watching");
    let (since, present) = watch.present().await;
    assert!(present.leases.is_empty() && present.tickets.is_empty() && present.complete);
    client.take("a", 1, 3).await;
    let (first, events) = watch.events().await;
    assert!(first > since && events.len() == 1);
    drop(watch);
    client.take("b", 1, 1).await;

    let resumed = v1::WatchRequest { after_sequence: Some(first), ..v1::WatchRequest::default() };
    let mut watch = client.watch(resumed).await.expect("watching");
    let mut seen = Vec::new();
    let mut last = first;
    while seen.len() < 3 {
        let (sequence, events) = watch.events().await;
        assert!(sequence > last, "it only grows");
        last = sequence;
        seen.extend(events.iter().map(|event| lease_after(event).request_id.clone()));
    }
    assert_eq!(seen, ["a-1", "a-2", "b-0"]);
    let ahead = v1::WatchRequest { after_sequence: Some(last + 1000), ..v1::WatchRequest::default() };
    assert_eq!(code(client.watch(ahead).await.map(|_| ())), Code::OutOfRange);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_sees_what_matches_all_that_was_said() {
    let running = serve(HALVES).await;
    let mut client = running.quota().await;
    let watch = |request: v1::WatchRequest| {
        let mut client = client.clone();
        async move {
            let mut watch = client.watch(request).await.expect("watching");
            watch.present().await;
            watch
        }
    };
    let mut by_tenant = watch(v1::WatchRequest { tenant: "b".into(), ..Default::default() }).await;
    let mut by_holder = watch(v1::WatchRequest { holder: "two".into(), ..Default::default() }).await;
    let mut was_holder =
        watch(v1::WatchRequest { holder: "one".into(), tenant: "a".into(), ..Default::default() }).await;
    let held = v1::Request { holder: "one".into(), ..request("r", "a", 1) };
    let id = client.acquire(held).await.expect("decided").lease_id;
    client.renew(&id, "two").await.expect("handed over");
    client.take("b", 1, 1).await;
    assert_eq!(lease_after(&by_tenant.events().await.1[0]).tenant, "b");
    assert_eq!(by_holder.events().await.1[0].kind(), EventKind::HandedOver);
    assert_eq!(was_holder.events().await.1[0].kind(), EventKind::Admitted);
    assert_eq!(was_holder.events().await.1[0].kind(), EventKind::HandedOver, "seen by its old holder too");
    let unknown = client.watch(v1::WatchRequest { ids: vec!["main-99".into()], ..Default::default() }).await;
    assert_eq!(code(unknown.map(|_| ())), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_ends_at_its_calls_deadline() {
    let running = serve(HALVES).await;
    let mut client = running.quota().await;
    let mut request = tonic::Request::new(v1::WatchRequest::default());
    request.metadata_mut().insert("grpc-timeout", "300m".parse().expect("a value"));
    let mut stream = client.0.watch(request).await.expect("watching").into_inner();
    let end = tokio::time::timeout(SOON, async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it ends with a status"),
                Err(status) => return status,
            }
        }
    });
    assert_eq!(end.await.expect("soon").code(), Code::DeadlineExceeded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heartbeat_carries_the_sequence_past_what_was_not_watched() {
    let running = serve(HALVES).await;
    let mut client = running.quota().await;
    let mut watch =
        client.watch(v1::WatchRequest { tenant: "b".into(), ..Default::default() }).await.expect("watching");
    let (since, _) = watch.present().await;
    client.take("a", 1, 5).await;
    let beat = watch.next().await.expect("a response");
    assert!(matches!(beat.what, Some(v1::watch_response::What::Heartbeat(_))), "{beat:?}");
    assert!(beat.sequence >= since + 5, "{} after {since}", beat.sequence);
    client.take("b", 1, 1).await;
    let resumed = v1::WatchRequest { tenant: "b".into(), after_sequence: Some(beat.sequence), ..Default::default() };
    let mut watch = client.watch(resumed).await.expect("watching");
    assert_eq!(lease_after(&watch.events().await.1[0]).tenant, "b");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_keep_up_is_cut_off_and_goes_on_where_it_was() {
    let running = serve(&HALVES.replace("cpu: 10}", "cpu: 1000000}").replace("cpu: 5}", "cpu: 500000}")).await;
    let mut client = running.quota().await;
    let mut slow = client.watch(v1::WatchRequest::default()).await.expect("watching");
    const MESSAGES: usize = 12;
    const EACH: usize = 1000;
    let acquire = |n: usize, m: usize| {
        let labels = [("filling".to_owned(), "x".repeat(250))].into();
        let request = v1::Request { labels, ..request(&format!("{n}-{m}"), "a", 1) };
        let operation = v1::operation::Operation::Acquire(v1::AcquireRequest { request: Some(request) });
        v1::Operation { tag: 0, operation: Some(operation) }
    };
    let messages: Vec<_> = (0..MESSAGES)
        .map(|n| v1::AcquireStreamRequest { operations: (0..EACH).map(|m| acquire(n, m)).collect() })
        .collect();
    let mut answers = client.0.acquire_stream(tokio_stream::iter(messages)).await.expect("a stream").into_inner();
    let mut answered = 0;
    while let Some(response) = answers.message().await.expect("no error") {
        answered += response.results.len();
    }
    assert_eq!(answered, MESSAGES * EACH, "others are not held up");

    let (mut last, _) = slow.present().await;
    let mut seen = 0;
    let end = loop {
        match slow.next().await {
            Ok(response) => {
                assert!(response.sequence > last);
                last = response.sequence;
                seen += matches!(response.what, Some(v1::watch_response::What::Events(_))) as usize;
            }
            Err(status) => break status,
        }
    };
    assert_eq!(end.code(), Code::ResourceExhausted, "{end}");
    assert!(end.message().contains("did not keep up") && seen < MESSAGES * EACH, "{end} after {seen}");
    let resumed = v1::WatchRequest { after_sequence: Some(last), ..v1::WatchRequest::default() };
    let mut watch = client.watch(resumed).await.expect("watching");
    while seen < MESSAGES * EACH {
        let (sequence, events) = match tokio::time::timeout(SOON, watch.events()).await {
            Ok(events) => events,
            Err(_) => panic!("{seen} of {} were seen", MESSAGES * EACH),
        };
        assert_eq!((sequence, events.len()), (last + 1, 1), "without a gap or a repeat");
        last = sequence;
        seen += 1;
    }
}
