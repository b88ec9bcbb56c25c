//! Calls as they lie on the wire: whatever comes, in whatever pieces, is answered as gRPC's documents say.

use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use headgate_proto::v1::{self, Decision};
use http::{HeaderMap, Request, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;

use crate::harness::{HALVES, Running, SOON, config, request, serve, start, waiting};

const CHECK: &str = "/headgate.v1.QuotaService/CheckQuota";
const ACQUIRE: &str = "/headgate.v1.QuotaService/Acquire";
const STREAM: &str = "/headgate.v1.QuotaService/AcquireStream";
const GRPC: (&str, &str) = ("content-type", "application/grpc");

/// A connection of bare HTTP/2.
struct Bare(SendRequest<Bytes>);

/// An answer as it came.
#[derive(Debug)]
struct Answered {
    status: StatusCode,
    /// Headers, and trailers after them.
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answered {
    fn code(&self) -> Code {
        let text = self.headers.get("grpc-status").expect("a status").to_str().expect("text");
        Code::from_i32(text.parse().expect("a number"))
    }

    fn says(&self) -> String {
        let text = self.headers.get("grpc-message").map(|value| value.to_str().expect("text")).unwrap_or_default();
        text.replace("%20", " ")
    }

    /// The messages in its body.
    fn messages<M: prost::Message + Default>(&self) -> Vec<M> {
        let (mut rest, mut messages) = (&self.body[..], Vec::new());
        while let Some(([0, a, b, c, d], after)) = rest.split_first_chunk::<5>() {
            let (message, after) = after.split_at(u32::from_be_bytes([*a, *b, *c, *d]) as usize);
            messages.push(M::decode(message).expect("a message"));
            rest = after;
        }
        assert!(rest.is_empty(), "{rest:?}");
        messages
    }

    fn decision(&self) -> Decision {
        assert_eq!((self.status, self.code()), (StatusCode::OK, Code::Ok), "{self:?}");
        let [response] = &self.messages::<v1::CheckQuotaResponse>()[..] else { panic!("{self:?}") };
        response.answer.as_ref().expect("an answer").decision()
    }
}

async fn bare(running: &Running) -> Bare {
    let stream = TcpStream::connect(running.server.grpc().expect("gRPC is served")).await.expect("connected");
    // As large as other clients have it: by its window the library counts how many small frames it takes at once.
    let handshake = h2::client::Builder::new().initial_connection_window_size(8 << 20).handshake(stream).await;
    let (send, connection) = handshake.expect("HTTP/2");
    tokio::spawn(connection);
    Bare(send)
}

impl Bare {
    async fn begin(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) -> (Answer, SendStream<Bytes>) {
        let mut request = Request::builder().method(method).uri(format!("http://localhost{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut ready = self.0.clone().ready().await.expect("open");
        let (response, send) = ready.send_request(request.body(()).expect("a request"), false).expect("sent");
        (Answer(response), send)
    }

    /// One call, its body in these frames.
    async fn call(&mut self, path: &str, headers: &[(&str, &str)], frames: &[&[u8]]) -> Answered {
        let (answer, mut send) = self.begin("POST", path, headers).await;
        for frame in frames {
            // Where it is refused before its end, it is not read to it.
            let _ = send.send_data(Bytes::copy_from_slice(frame), false);
        }
        let _ = send.send_data(Bytes::new(), true);
        answer.whole().await
    }
}

struct Answer(h2::client::ResponseFuture);

impl Answer {
    async fn whole(self) -> Answered {
        tokio::time::timeout(SOON, self.read()).await.expect("soon")
    }

    async fn read(self) -> Answered {
        let (parts, mut stream): (_, RecvStream) = self.0.await.expect("an answer").into_parts();
        let (mut headers, mut body) = (parts.headers, Vec::new());
        while let Some(data) = stream.data().await {
            let data = data.expect("data");
            stream.flow_control().release_capacity(data.len()).expect("taken");
            body.extend_from_slice(&data);
        }
        headers.extend(stream.trailers().await.expect("trailers").unwrap_or_default());
        Answered { status: parts.status, headers, body }
    }
}

fn framed(message: &impl prost::Message) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    [&[0][..], &(bytes.len() as u32).to_be_bytes(), &bytes].concat()
}

fn checking(tenant: &str, cores: u32) -> Vec<u8> {
    framed(&v1::CheckQuotaRequest { request: Some(request("", tenant, cores)) })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_may_come_in_any_pieces() {
    let running = serve(HALVES).await;
    let mut bare = bare(&running).await;
    let whole = checking("a", 1);
    assert_eq!(bare.call(CHECK, &[GRPC], &[&whole]).await.decision(), Decision::Allow);
    let bytes: Vec<_> = whole.chunks(1).collect();
    assert_eq!(bare.call(CHECK, &[GRPC], &bytes).await.decision(), Decision::Allow);
    for cut in [0, 1, 5, 6, whole.len() - 1] {
        let (first, rest) = whole.split_at(cut);
        let (answer, mut send) = bare.begin("POST", CHECK, &[GRPC]).await;
        send.send_data(Bytes::copy_from_slice(first), false).expect("sent");
        // Another call goes by between the two.
        assert_eq!(bare.call(CHECK, &[GRPC], &[&checking("a", 11)]).await.decision(), Decision::Deny);
        send.send_data(Bytes::copy_from_slice(rest), false).expect("sent");
        send.send_trailers(HeaderMap::new()).expect("sent");
        assert_eq!(answer.whole().await.decision(), Decision::Allow, "cut after {cut}");
    }
    let content = ("content-type", "application/grpc+proto");
    assert_eq!(bare.call(CHECK, &[content, ("te", "trailers")], &[&whole]).await.decision(), Decision::Allow);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_message_is_told_so() {
    let running = serve(HALVES).await;
    let mut bare = bare(&running).await;
    let whole = checking("a", 1);
    let mut compressed = whole.clone();
    compressed[0] = 1;
    let garbled = [&[0, 0, 0, 0, 3][..], &[0x0a, 9, 9]].concat();
    let long = [&[0, 0x7f, 0xff, 0xff, 0xff][..], &whole].concat();
    for path in [CHECK, ACQUIRE] {
        for (frames, code, says) in [
            (&[][..], Code::Unimplemented, "none came"),
            (&[&whole[..], &whole], Code::Unimplemented, "more came"),
            (&[&whole[..whole.len() - 1]], Code::Internal, "cut off"),
            (&[&whole[..3]], Code::Internal, "cut off"),
            (&[&compressed], Code::Internal, "does not say how"),
            (&[&[9, 0, 0, 0, 0]], Code::Internal, "begins with 9"),
            (&[&garbled], Code::Internal, "decode"),
            (&[&long], Code::InvalidArgument, "the limit is: 1048576 bytes"),
        ] {
            let answered = bare.call(path, &[GRPC], frames).await;
            assert_eq!((answered.status, answered.code()), (StatusCode::OK, code), "{answered:?}");
            assert!(answered.says().contains(says) && answered.body.is_empty(), "{answered:?}");
        }
    }
    assert_eq!(bare.call(CHECK, &[GRPC], &[&whole]).await.decision(), Decision::Allow, "it is served on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_call_is_told_so_in_words_of_http() {
    let running = serve(HALVES).await;
    let mut bare = bare(&running).await;
    for path in [CHECK, STREAM, "/headgate.v1.QuotaService/Get"] {
        for headers in [&[][..], &[("content-type", "application/json")], &[("content-type", "application/grpc+json")]]
        {
            let answered = bare.call(path, headers, &[b"{}"]).await;
            assert_eq!(answered.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{answered:?}");
            assert!(answered.says().contains("application/grpc"), "{answered:?}");
        }
        let (answer, mut send) = bare.begin("GET", path, &[GRPC]).await;
        // It may be answered by now, and then no more of it is wanted.
        let _ = send.send_data(Bytes::new(), true);
        assert_eq!(answer.whole().await.status, StatusCode::METHOD_NOT_ALLOWED);
    }
    let unknown = bare.call("/headgate.v1.QuotaService/Nothing", &[GRPC], &[&checking("a", 1)]).await;
    assert_eq!((unknown.status, unknown.code()), (StatusCode::OK, Code::Unimplemented));
    let unknown = bare.call("/", &[GRPC], &[&checking("a", 1)]).await;
    assert_eq!(unknown.code(), Code::Unimplemented);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_plain_about_a_call_goes_the_ordinary_way() {
    let running = serve(HALVES).await;
    let mut bare = bare(&running).await;
    let whole = checking("a", 1);
    let compressed = bare.call(CHECK, &[GRPC, ("grpc-encoding", "gzip")], &[&whole]).await;
    assert_eq!(compressed.code(), Code::Unimplemented, "{compressed:?}");
    assert!(compressed.headers.contains_key("grpc-accept-encoding"), "{compressed:?}");
    let identity = bare.call(CHECK, &[GRPC, ("grpc-encoding", "identity")], &[&whole]).await;
    assert_eq!(identity.decision(), Decision::Allow);
    for sampled in ["00", "01"] {
        let trace = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{sampled}");
        let traced = bare.call(CHECK, &[GRPC, ("traceparent", &trace)], &[&whole]).await;
        assert_eq!(traced.decision(), Decision::Allow);
    }
    let trace = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let operation = v1::operation::Operation::Check(v1::CheckQuotaRequest { request: Some(request("", "a", 1)) });
    let message = v1::AcquireStreamRequest { operations: vec![v1::Operation { tag: 7, operation: Some(operation) }] };
    let traced = bare.call(STREAM, &[GRPC, trace], &[&framed(&message)]).await;
    let results = traced.messages::<v1::AcquireStreamResponse>().remove(0).results;
    assert_eq!((traced.code(), results[0].tag), (Code::Ok, 7));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_message_does_not_come_ends_at_its_deadline() {
    let running = serve(HALVES).await;
    let mut bare = bare(&running).await;
    let (answer, mut send) = bare.begin("POST", CHECK, &[GRPC, ("grpc-timeout", "50m")]).await;
    send.send_data(Bytes::from_static(&[0, 0]), false).expect("sent");
    let answered = answer.whole().await;
    assert_eq!(answered.code(), Code::DeadlineExceeded, "{answered:?}");
    let (answer, _send) = bare.begin("POST", STREAM, &[GRPC, ("grpc-timeout", "50m")]).await;
    assert_eq!(answer.whole().await.code(), Code::DeadlineExceeded);
    let late = bare.call(CHECK, &[GRPC, ("grpc-timeout", "0n")], &[&checking("a", 1)]).await;
    assert_eq!(late.decision(), Decision::Allow, "what is known at once is told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_are_broken_off_are_nobody_elses_loss() {
    let running = serve(HALVES).await;
    let mut bare = bare(&running).await;
    let whole = framed(&v1::AcquireRequest { request: Some(request("broken-off", "a", 1)) });
    for cut in [0, 3, 20, whole.len()] {
        let (answer, mut send) = bare.begin("POST", ACQUIRE, &[GRPC]).await;
        send.send_data(Bytes::copy_from_slice(&whole[..cut]), false).expect("sent");
        send.send_reset(h2::Reason::CANCEL);
        drop(answer);
        let (answer, mut send) = bare.begin("POST", STREAM, &[GRPC]).await;
        send.send_data(Bytes::copy_from_slice(&whole[..cut]), false).expect("sent");
        send.send_reset(h2::Reason::CANCEL);
        drop(answer);
        assert_eq!(bare.call(CHECK, &[GRPC], &[&checking("a", 1)]).await.decision(), Decision::Allow);
    }
    let mut client = running.quota().await;
    client.acquire(request("broken-off", "a", 1)).await.expect("the same again, or the first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_have_a_limit() {
    let running = serve(HALVES).await;
    let mut bare = bare(&running).await;
    let within = "x".repeat(8 * 1024);
    let answered = bare.call(CHECK, &[GRPC, ("x-more", &within)], &[&checking("a", 1)]).await;
    assert_eq!(answered.decision(), Decision::Allow);
    let beyond = "x".repeat(20 * 1024);
    let answered = bare.call(CHECK, &[GRPC, ("x-more", &beyond)], &[&checking("a", 1)]).await;
    assert_eq!(answered.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    assert_eq!(bare.call(CHECK, &[GRPC], &[&checking("a", 1)]).await.decision(), Decision::Allow);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_is_seen_as_its_own_callers() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("token"), "a-token-of-some-length").expect("written");
    let auth = format!(
        "auth: {{callers: [{{match: {{token_file: {}/token}}, may: [check], tenants: [b], max_priority: 5}}]}}\n",
        dir.path().display()
    );
    let running = start(config(&format!("{auth}{HALVES}"))).await;
    let bare = bare(&running).await;
    let known = ("authorization", "Bearer a-token-of-some-length");
    let mut asking = tokio::task::JoinSet::new();
    for n in 0..64_u32 {
        let mut bare = Bare(bare.0.clone());
        asking.spawn(async move {
            let message = framed(&v1::AcquireRequest { request: Some(request(&format!("{n}"), "b", 0)) });
            match n % 4 {
                0 => assert_eq!(bare.call(CHECK, &[GRPC], &[&checking("a", 1)]).await.decision(), Decision::Allow),
                1 => {
                    let unseen = bare.call(CHECK, &[GRPC, known], &[&checking("a", 1)]).await;
                    assert_eq!(unseen.code(), Code::NotFound);
                    let seen = bare.call(CHECK, &[GRPC, known], &[&checking("b", 1)]).await;
                    assert_eq!(seen.decision(), Decision::Allow);
                    let high = v1::Request { priority: 6, ..request("", "b", 1) };
                    let high = framed(&v1::CheckQuotaRequest { request: Some(high) });
                    assert_eq!(bare.call(CHECK, &[GRPC, known], &[&high]).await.code(), Code::InvalidArgument);
                }
                2 => {
                    let may_not = bare.call(ACQUIRE, &[GRPC, known], &[&message]).await;
                    assert_eq!(may_not.code(), Code::PermissionDenied);
                    let operation =
                        v1::operation::Operation::Acquire(v1::AcquireRequest { request: Some(request("s", "b", 1)) });
                    let operations = vec![v1::Operation { tag: 1, operation: Some(operation) }];
                    let message = framed(&v1::AcquireStreamRequest { operations });
                    let streamed = bare.call(STREAM, &[GRPC, known], &[&message]).await;
                    let results = streamed.messages::<v1::AcquireStreamResponse>().remove(0).results;
                    assert_eq!(results[0].status.as_ref().map(|status| status.code), Some(7), "{results:?}");
                }
                _ => {
                    let unknown = ("authorization", "Bearer nobody's");
                    let answered = bare.call(CHECK, &[GRPC, unknown], &[&checking("a", 1)]).await;
                    assert_eq!(answered.code(), Code::Unauthenticated);
                }
            }
        });
    }
    while let Some(asked) = asking.join_next().await {
        asked.expect("as expected");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_come_together_are_each_answered_once() {
    let running = serve(&HALVES.replace("cpu: 10}", "cpu: 1000}").replace("cpu: 5}", "cpu: 500}")).await;
    let bare = bare(&running).await;
    let mut asking = tokio::task::JoinSet::new();
    const CALLS: usize = 600;
    for n in 0..CALLS {
        let mut bare = Bare(bare.0.clone());
        asking.spawn(async move {
            let tenant = if n % 2 == 0 { "a" } else { "b" };
            let message = framed(&v1::AcquireRequest { request: Some(waiting(&format!("r{n}"), tenant, 1)) });
            let answered = bare.call(ACQUIRE, &[GRPC, ("grpc-timeout", "9S")], &[&message]).await;
            assert_eq!(answered.code(), Code::Ok, "{answered:?}");
            let [response] = &answered.messages::<v1::AcquireResponse>()[..] else { panic!("{answered:?}") };
            let answer = response.answer.clone().expect("an answer");
            assert_eq!(answer.decision(), Decision::Allow, "{answer:?}");
            assert_eq!(answer.charged["cpu"], 1000);
            answer.lease_id
        });
    }
    let mut ids = std::collections::BTreeSet::new();
    while let Some(id) = asking.join_next().await {
        assert!(ids.insert(id.expect("answered")), "each has its own lease");
    }
    assert_eq!(ids.len(), CALLS);
    let mut client = running.quota().await;
    let ids: Vec<_> = ids.into_iter().collect();
    let released = client.0.release(v1::ReleaseRequest { ids: ids.clone(), holder: String::new() }).await;
    let outcomes = released.expect("released").into_inner().outcomes;
    assert!(outcomes.iter().map(|outcome| &outcome.id).eq(&ids), "in the order of the ids");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_a_stream_may_come_in_any_pieces() {
    let running = serve(HALVES).await;
    let mut bare = bare(&running).await;
    let message = |tags: &[u64]| {
        let check = || v1::CheckQuotaRequest { request: Some(request("", "a", 1)) };
        let operation =
            |tag: &u64| v1::Operation { tag: *tag, operation: Some(v1::operation::Operation::Check(check())) };
        framed(&v1::AcquireStreamRequest { operations: tags.iter().map(operation).collect() })
    };
    let all = [message(&[1]), message(&[2, 3]), message(&[]), message(&[0]), message(&[u64::MAX])].concat();
    let tags = |answered: &Answered| -> Vec<u64> {
        let messages = answered.messages::<v1::AcquireStreamResponse>();
        messages.into_iter().flat_map(|message| message.results).map(|result| result.tag).collect()
    };
    for size in [1, 7, 60, all.len()] {
        let frames: Vec<_> = all.chunks(size).collect();
        let answered = bare.call(STREAM, &[GRPC], &frames).await;
        assert_eq!((answered.code(), tags(&answered)), (Code::Ok, vec![1, 2, 3, 0, u64::MAX]), "in pieces of {size}");
    }
    // What came before something is wrong is answered; nothing of what is wrong is done.
    let undecodable = [&[0, 0, 0, 0, 4][..], &[0x0a, 2, 0x12, 9]].concat();
    for (wrong, code) in [
        (&all[..4], Code::Internal),
        (&undecodable[..], Code::Internal),
        (&[0, 0, 16, 0, 1][..], Code::InvalidArgument),
        (&[1, 0, 0, 0, 0][..], Code::Internal),
        (&message(&[9; 1025])[..], Code::InvalidArgument),
    ] {
        let answered = bare.call(STREAM, &[GRPC], &[&all, wrong]).await;
        assert_eq!((answered.code(), tags(&answered).len()), (code, 5), "{answered:?}");
    }
    let nothing = bare.call(STREAM, &[GRPC], &[]).await;
    assert_eq!((nothing.code(), nothing.body.len()), (Code::Ok, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_whose_answers_are_not_taken_is_not_read_any_further() {
    let running = serve(HALVES).await;
    let stream = TcpStream::connect(running.server.grpc().expect("gRPC is served")).await.expect("connected");
    // No room for a single byte of an answer.
    let handshake = h2::client::Builder::new().initial_window_size(0).handshake::<_, Bytes>(stream).await;
    let (send, connection) = handshake.expect("HTTP/2");
    tokio::spawn(connection);
    let mut bare = Bare(send);
    let (answer, mut send) = bare.begin("POST", STREAM, &[GRPC]).await;
    let check = v1::CheckQuotaRequest { request: Some(request("", "a", 1)) };
    let operation = v1::Operation { tag: 1, operation: Some(v1::operation::Operation::Check(check)) };
    let message = Bytes::from(framed(&v1::AcquireStreamRequest { operations: vec![operation; 512] }));
    let (mut rest, mut sent) = (Bytes::new(), 0);
    loop {
        if rest.is_empty() {
            rest = message.clone();
        }
        send.reserve_capacity(rest.len());
        let room = std::future::poll_fn(|context| send.poll_capacity(context));
        // It is waited for in vain in the end, and that is all the better the later it is.
        let Ok(room) = tokio::time::timeout(Duration::from_millis(500), room).await else { break };
        let part = rest.split_to(room.expect("open").expect("open").min(rest.len()));
        sent += part.len();
        send.send_data(part, false).expect("sent");
        assert!(sent < 64 << 20, "it reads on and on");
    }
    assert_eq!(answer.0.await.expect("its head").status(), StatusCode::OK);
    // Others are served meanwhile.
    let mut client = running.quota().await;
    assert_eq!(client.check(request("", "a", 1)).await.expect("checked").decision(), Decision::Allow);
}

/// What is read of a connection on which these bytes were said, until the server ends it.
async fn heard(running: &Running, said: &[u8]) -> Vec<u8> {
    let address = running.server.grpc().expect("gRPC is served");
    let mut stream = TcpStream::connect(address).await.expect("connected");
    // It may be ended before all was said.
    let _ = stream.write_all(said).await;
    let mut heard = Vec::new();
    let reading = tokio::time::timeout(SOON, stream.read_to_end(&mut heard)).await;
    let _ = reading.expect("it is ended soon");
    heard
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_http2_ends_its_own_connection_alone() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const GOAWAY: u8 = 7;
    let running = serve(HALVES).await;
    let mut client = running.quota().await;
    for said in
        [&b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0].repeat(4)]
    {
        heard(&running, said).await;
    }
    let settings = frame(4, 0, 0, &[]);
    for (what, wrong) in [
        ("data of no stream", frame(0, 0, 0, b"x")),
        ("data of a stream that was not begun", frame(0, 0, 1, b"x")),
        ("a stream of the server's", frame(1, 4, 2, &[0x82])),
        ("a frame that is too large", frame(0, 0, 1, &[0; 20_000])),
        ("headers that are no HPACK", frame(1, 5, 1, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff])),
        ("a continuation of nothing", frame(9, 4, 1, &[0x82])),
        ("settings of a wrong size", frame(4, 0, 0, &[1, 2, 3])),
        ("a window that overflows", frame(8, 0, 0, &[0x7f, 0xff, 0xff, 0xff])),
        ("a ping of a wrong size", frame(6, 0, 0, &[1])),
    ] {
        let heard = heard(&running, &[PREFACE, &settings, &wrong].concat()).await;
        let (mut rest, mut kinds) = (&heard[..], Vec::new());
        while let Some(([a, b, c, kind, ..], _)) = rest.split_first_chunk::<9>() {
            kinds.push(*kind);
            rest = &rest[9 + u32::from_be_bytes([0, *a, *b, *c]) as usize..];
        }
        assert_eq!(kinds.last(), Some(&GOAWAY), "{what}: {kinds:?}");
        assert_eq!(client.check(request("", "a", 1)).await.expect("checked").decision(), Decision::Allow);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_ended_in_order_when_the_server_ends() {
    let running = serve(HALVES).await;
    let stream = TcpStream::connect(running.server.grpc().expect("gRPC is served")).await.expect("connected");
    let (send, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    let ended = tokio::spawn(connection);
    let mut bare = Bare(send);
    assert_eq!(bare.call(CHECK, &[GRPC], &[&checking("a", 1)]).await.decision(), Decision::Allow);
    let (answer, mut half) = bare.begin("POST", CHECK, &[GRPC]).await;
    let whole = checking("a", 1);
    half.send_data(Bytes::copy_from_slice(&whole[..7]), false).expect("sent");
    assert_eq!(bare.call(CHECK, &[GRPC], &[&whole]).await.decision(), Decision::Allow);
    let stopping = tokio::spawn(running.server.stop());
    while bare.0.clone().ready().await.is_ok() {
        tokio::task::yield_now().await;
    }
    // What had begun is answered.
    half.send_data(Bytes::copy_from_slice(&whole[7..]), true).expect("sent");
    assert_eq!(answer.whole().await.decision(), Decision::Allow);
    tokio::time::timeout(SOON, ended).await.expect("soon").expect("ran").expect("it ends well");
    stopping.await.expect("stopped");
}
