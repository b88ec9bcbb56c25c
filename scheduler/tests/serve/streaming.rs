//! Many operations in one message.

use headgate_proto::v1::operation::Operation as What;
use headgate_proto::v1::operation_result::Result as Told;
use headgate_proto::v1::{self, Decision};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::harness::{Client, HALVES, SOON, request, serve, waiting};

type Answers = Streaming<v1::AcquireStreamResponse>;

async fn open(client: &mut Client) -> (mpsc::Sender<v1::AcquireStreamRequest>, Answers) {
    let (sender, receiver) = mpsc::channel(16);
    let answers = client.0.acquire_stream(ReceiverStream::new(receiver)).await.expect("a stream").into_inner();
    (sender, answers)
}

fn message(operations: impl IntoIterator<Item = What>) -> v1::AcquireStreamRequest {
    let tagged = (1_u64..).zip(operations).map(|(tag, what)| v1::Operation { tag, operation: Some(what) });
    v1::AcquireStreamRequest { operations: tagged.collect() }
}

fn acquire(request: v1::Request) -> What {
    What::Acquire(v1::AcquireRequest { request: Some(request) })
}

async fn results(answers: &mut Answers, count: usize) -> Vec<v1::OperationResult> {
    let mut results = Vec::new();
    while results.len() < count {
        let next = tokio::time::timeout(SOON, answers.message()).await.expect("soon").expect("no error");
        results.extend(next.expect("more to come").results);
    }
    results
}

async fn end(answers: &mut Answers) -> Result<(), Status> {
    while tokio::time::timeout(SOON, answers.message()).await.expect("soon")?.is_some() {}
    Ok(())
}

fn decision(result: &v1::OperationResult) -> Decision {
    match &result.result {
        Some(Told::Acquire(v1::AcquireResponse { answer: Some(answer) })) => answer.decision(),
        Some(Told::Check(v1::CheckQuotaResponse { answer: Some(answer) })) => answer.decision(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_are_done_in_order_and_answered_in_order_each_with_a_status() {
    let running = serve(HALVES).await;
    let mut client = running.quota().await;
    let (sender, mut answers) = open(&mut client).await;
    let check = What::Check(v1::CheckQuotaRequest { request: Some(request("", "a", 1)) });
    let gone = What::Renew(v1::RenewRequest { ids: vec!["main-99".into()], holder: String::new() });
    let empty = What::Release(v1::ReleaseRequest::default());
    sender
        .send(message([
            acquire(request("r", "a", 10)),
            check,
            acquire(waiting("s", "a", 1)),
            acquire(request("", "a", 1)),
            gone,
            empty,
            acquire(request("r", "a", 10)),
        ]))
        .await
        .expect("sent");
    let results = results(&mut answers, 7).await;
    assert_eq!(results.iter().map(|result| result.tag).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(decision(&results[0]), Decision::Allow);
    assert_eq!(decision(&results[1]), Decision::Deny, "it sees what was done before it");
    assert_eq!(decision(&results[2]), Decision::Queue);
    let status = |n: usize| results[n].status.clone().expect("a status");
    assert_eq!((status(3).code, &status(3).field_violations[0].field[..]), (3, "request.request_id"));
    assert_eq!(status(4).code, Code::NotFound as i32);
    assert_eq!(status(5).code, Code::InvalidArgument as i32);
    assert_eq!(decision(&results[6]), Decision::Allow, "the same request again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_messages_need_no_answer_before_the_next() {
    let running = serve(&HALVES.replace("cpu: 10}", "cpu: 1000000}").replace("cpu: 5}", "cpu: 500000}")).await;
    let mut client = running.quota().await;
    let (sender, mut answers) = open(&mut client).await;
    const MESSAGES: usize = 40;
    const EACH: usize = 256;
    let sending = tokio::spawn(async move {
        for n in 0..MESSAGES {
            let requests = (0..EACH).map(|m| acquire(request(&format!("{n}-{m}"), "a", 1)));
            sender.send(message(requests)).await.expect("sent");
        }
        // Half-closed: what is under way is answered before the stream ends.
    });
    let all = results(&mut answers, MESSAGES * EACH).await;
    assert!(all.iter().all(|result| decision(result) == Decision::Allow));
    let tags: Vec<_> = all.iter().map(|result| result.tag).collect();
    assert!(tags.chunks(EACH).all(|chunk| chunk.iter().copied().eq(1..=EACH as u64)), "in order");
    sending.await.expect("sent");
    end(&mut answers).await.expect("it ends well");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_too_large_does_nothing_and_ends_the_stream() {
    let running = serve(HALVES).await;
    let mut client = running.quota().await;
    let (sender, mut answers) = open(&mut client).await;
    sender.send(message([acquire(request("r", "a", 1))])).await.expect("sent");
    sender.send(message((0..1025).map(|n| acquire(request(&format!("s{n}"), "a", 0))))).await.expect("sent");
    results(&mut answers, 1).await;
    assert_eq!(end(&mut answers).await.expect_err("an error").code(), Code::InvalidArgument);

    let (sender, mut answers) = open(&mut client).await;
    let labels = (0..16).map(|n| (n.to_string(), "x".repeat(100_000))).collect();
    sender.send(message([acquire(v1::Request { labels, ..request("t", "a", 1) })])).await.expect("sent");
    let error = end(&mut answers).await.expect_err("an error");
    assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    let known = v1::GetRequest { tenant: "a".into(), request_ids: vec!["s0".into(), "t".into()], ..Default::default() };
    assert_eq!(client.0.get(known).await.expect("answered").into_inner(), v1::GetResponse::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explanations_keep_the_order() {
    let running = serve(HALVES).await;
    let mut client = running.quota().await;
    let (sender, mut answers) = open(&mut client).await;
    sender.send(message([acquire(v1::Request { explain: true, ..request("r", "a", 10) })])).await.expect("sent");
    sender.send(message([acquire(request("s", "a", 1))])).await.expect("sent");
    let results = results(&mut answers, 2).await;
    assert_eq!((decision(&results[0]), decision(&results[1])), (Decision::Allow, Decision::Deny));
    let Some(Told::Acquire(first)) = &results[0].result else { panic!("{results:?}") };
    assert!(first.answer.as_ref().is_some_and(|answer| answer.explanation.is_some()));
}
