//! The same nothing as a webhook: every pod is allowed.

use std::borrow::Cow;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderValue, Response, StatusCode};
use serde::Deserialize;
use serde_json::json;

/// Bytes of a review: more than an API server takes of an object.
const REVIEW_BYTES_MAX: usize = 4 << 20;

/// A review, as far as it must be read to answer it.
#[derive(Deserialize)]
struct Review<'a> {
    #[serde(borrow)]
    request: Request<'a>,
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    uid: Cow<'a, str>,
}

/// Reads a review, and allows what it is about.
pub(super) async fn answer(mut body: RecvStream, mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
    let mut read = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        if read.len() + chunk.len() > REVIEW_BYTES_MAX {
            return refuse(respond, StatusCode::PAYLOAD_TOO_LARGE, "a review has at most 4 MiB");
        }
        read.extend_from_slice(&chunk);
    }
    let review: Review<'_> = match serde_json::from_slice(&read) {
        Ok(review) => review,
        Err(error) => return refuse(respond, StatusCode::BAD_REQUEST, &format!("it is no AdmissionReview: {error}")),
    };
    let answer = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {"uid": review.request.uid, "allowed": true},
    });
    let mut response = Response::new(());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    respond.send_response(response, false)?.send_data(answer.to_string().into(), true)
}

fn refuse(mut respond: SendResponse<Bytes>, status: StatusCode, why: &str) -> Result<(), h2::Error> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    respond.send_response(response, false)?.send_data(why.to_owned().into(), true)
}
