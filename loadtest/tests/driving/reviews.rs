//! Webhooks, driven as an API server asks them.

use std::net::TcpListener;

use bytes::Bytes;
use h2::server::SendResponse;
use http::Response;
use serde_json::{Value, json};

use crate::harness::{Ran, Yardstick, drive, run};

/// A webhook that answers each review as it likes, with a status of HTTP.
fn webhook(answer: fn(&Value) -> (u16, String)) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    listener.set_nonblocking(true).expect("it does not block");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::spawn(one(request, respond, answer));
                    }
                });
            }
        });
    });
    address.to_string()
}

async fn one(
    request: http::Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    answer: fn(&Value) -> (u16, String),
) {
    let (head, mut body) = request.into_parts();
    assert_eq!((head.method.as_str(), head.headers["content-type"].as_bytes()), ("POST", &b"application/json"[..]));
    let mut read = Vec::new();
    while let Some(Ok(chunk)) = body.data().await {
        body.flow_control().release_capacity(chunk.len()).expect("it is ours");
        read.extend_from_slice(&chunk);
    }
    let (status, said) = match head.uri.path() {
        "/validate" => answer(&serde_json::from_slice(&read).expect("a review")),
        _ => (404, "no such page".to_owned()),
    };
    let response = Response::builder().status(status).body(()).expect("a response");
    if let Ok(mut send) = respond.send_response(response, false) {
        // Whoever asked may have gone.
        let _ = send.send_data(said.into(), true);
    }
}

fn answered(review: &Value, response: Value) -> (u16, String) {
    let mut answer = json!({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response});
    answer["response"]["uid"] = review["request"]["uid"].clone();
    (200, answer.to_string())
}

/// Allows who has an even number.
fn by_half(review: &Value) -> (u16, String) {
    let namespace = review["request"]["namespace"].as_str().expect("a namespace");
    assert_eq!(review["request"]["object"]["spec"]["containers"][0]["resources"]["requests"], json!({"cpu": "1"}));
    let allowed = namespace.ends_with(['0', '2', '4', '6', '8']);
    answered(review, json!({"allowed": allowed, "status": {"code": 403, "message": "exceeded quota"}}))
}

fn fine(ran: &Ran) -> Value {
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    ran.json()
}

#[test]
fn pods_are_allowed_and_denied_and_both_are_counted() {
    let target = format!("review+http://{}", webhook(by_half));
    for more in [&[][..], &["--call", "review", "-r", "200"], &["--call", "check", "--calls-per-connection", "5"]] {
        let outcome = fine(&drive(&target, &[&["-o", "json", "--assert", "errors=0"], more].concat()));
        let run = &outcome["runs"][0];
        let [allowed, denied] = ["allow", "deny"].map(|word| run["decisions"][word].as_u64().unwrap_or_default());
        assert!(allowed > 0 && denied > 0, "{outcome}");
        assert_eq!(run["kinds"]["review"]["count"].as_u64(), Some(allowed + denied), "{outcome}");
        assert_eq!((outcome["checked"]["violations"].as_u64(), &run["errors"]), (Some(0), &json!({})), "{outcome}");
    }
}

#[test]
fn what_does_nothing_answers_reviews_too_and_is_compared() {
    let server = Yardstick::start("h2");
    let [calls, reviews] = ["http", "review+http"].map(|scheme| format!("{scheme}://{}", server.url));
    let briefly = ["-d", "150ms", "--warm-up", "20ms", "--pairs", "2", "--call", "check", "-o", "json"];
    let ran = run(&[&["compare", &reviews, &calls], &briefly[..]].concat());
    assert!(fine(&ran)["a"]["runs"][0]["decisions"]["allow"].as_u64() > Some(0), "{}", ran.out);
}

#[test]
fn what_is_no_answer_is_an_error_of_its_kind() {
    // The first review is answered as it should be: what comes after is what is driven.
    fn is_first(review: &Value) -> bool {
        review["request"]["uid"] == json!("00000000-0000-4000-8000-000000000000")
    }
    fn down(review: &Value) -> (u16, String) {
        if is_first(review) { answered(review, json!({"allowed": true})) } else { (503, "come back".to_owned()) }
    }
    fn confused(review: &Value) -> (u16, String) {
        let uid = json!("00000000-0000-4000-8000-000000000000");
        let response = json!({"uid": uid, "allowed": true});
        (200, json!({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response}).to_string())
    }
    fn silly(review: &Value) -> (u16, String) {
        if is_first(review) { answered(review, json!({"allowed": true})) } else { (200, "yes".to_owned()) }
    }
    for (answer, kind, expected) in [
        (down as fn(&Value) -> (u16, String), "HTTP 5xx", "503 come back"),
        (confused, "wrong uid", "it answers about"),
        (silly, "garbled", "it answers no AdmissionReview"),
    ] {
        let ran = drive(&format!("review+http://{}", webhook(answer)), &["-o", "json"]);
        assert_eq!(ran.code, Some(1), "{kind}: {}", ran.err);
        assert!(ran.err.contains("did nothing of what it was asked") && ran.err.contains(expected), "{}", ran.err);
        assert!(ran.json()["runs"][0]["errors"][kind].as_u64() > Some(0), "{kind}: {}", ran.out);
    }
}

#[test]
fn what_cannot_be_asked_of_a_webhook_is_said() {
    let address = webhook(|review| answered(review, json!({"allowed": true})));
    let [here, elsewhere] = ["", "/nowhere"].map(|path| format!("review+http://{address}{path}"));
    let calls = format!("http://{address}");
    for (target, more, code, expected) in [
        (&here, &["--call", "acquire"][..], 2, "nothing is held, renewed or released there: use --call review"),
        (&here, &["--watchers", "1"], 2, "has nothing to watch"),
        (&calls, &["--call", "review"], 2, "--call review is for a webhook"),
        (&elsewhere, &[], 1, "has nothing at /nowhere that reviews (status 404 of HTTP)"),
    ] {
        let ran = drive(target, more);
        assert_eq!(ran.code, Some(code), "{target}: {}{}", ran.out, ran.err);
        assert!(ran.err.contains(expected), "{target}: {}", ran.err);
    }
    // A gRPC server is no webhook.
    let server = Yardstick::start("tonic");
    let ran = drive(&format!("review+http://{}", server.url), &[]);
    assert_eq!(ran.code, Some(1), "{}", ran.out);
    assert!(ran.err.contains("status 415 of HTTP") || ran.err.contains("reviews nothing"), "{}", ran.err);
}
