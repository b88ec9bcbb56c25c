//! What is sent on a stream of HTTP/2: answers, and errors as gRPC has them.

use bytes::Bytes;
use h2::SendStream;
use h2::server::SendResponse;
use tonic::codegen::http::header::CONTENT_TYPE;
use tonic::codegen::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use tonic::{Code, Status};

use crate::grpc::fault::Fault;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// The head of an answer.
pub(super) fn head() -> Response<()> {
    let mut response = Response::new(());
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response
}

/// What ends an answer that is one.
fn done() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(STATUS, HeaderValue::from_static("0"));
    trailers
}

/// Answers a call of its own with a message, its prefix included. An answer is small, and waits for the caller to make
/// room for it where that has none.
pub(super) fn answer(mut respond: SendResponse<Bytes>, message: Bytes) {
    let sent = respond.send_response(head(), false).and_then(|mut send| {
        send.send_data(message, false)?;
        send.send_trailers(done())
    });
    untold(sent);
}

/// Answers a call with an error alone.
pub(super) fn refuse(respond: SendResponse<Bytes>, fault: Fault) {
    alone(respond, StatusCode::OK, fault.into());
}

/// Answers what is no call of gRPC, so that other clients of HTTP understand it too.
pub(super) fn no_call(respond: SendResponse<Bytes>, status: StatusCode) {
    let why = if status == StatusCode::METHOD_NOT_ALLOWED {
        "a call of gRPC is a POST"
    } else {
        "this speaks gRPC with messages of protobuf: the content-type is to be application/grpc"
    };
    alone(respond, status, Status::new(Code::Internal, why));
}

fn alone(mut respond: SendResponse<Bytes>, status: StatusCode, error: Status) {
    let mut response = error.into_http::<()>();
    *response.status_mut() = status;
    untold(respond.send_response(response, true).map(drop));
}

/// Ends a stream of answers: well, or with an error.
pub(super) fn end(send: &mut SendStream<Bytes>, fault: Option<Fault>) {
    let trailers = match fault {
        None => done(),
        Some(fault) => {
            let mut trailers = HeaderMap::new();
            // Details that are no header would be a fault of the library's: the status itself always is.
            if Status::from(fault).add_header(&mut trailers).is_err() {
                trailers.insert(STATUS, HeaderValue::from(Code::Internal as i32));
            }
            trailers
        }
    };
    untold(send.send_trailers(trailers));
}

/// A caller that has gone is told nothing.
fn untold(sent: Result<(), h2::Error>) {
    if let Err(error) = sent {
        tracing::trace!(%error, "a caller had gone before its answer");
    }
}
