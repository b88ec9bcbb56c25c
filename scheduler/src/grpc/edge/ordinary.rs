//! The ordinary way: through the services that tonic made, on the runtime of the rest of the server.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http_body::{Body as _, Frame};
use tokio::runtime::Handle;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderValue, Request, Response};
use tonic::service::Routes;
use tower::Service as _;
use tracing::Instrument as _;

use super::reply;
use crate::auth::Peer;
use crate::grpc::deadline::{Arrival, Deadline};
use crate::grpc::trace;

/// The services, and where they run.
#[derive(Clone, Debug)]
pub(in crate::grpc) struct Ordinary {
    routes: Routes,
    runtime: Handle,
}

impl Ordinary {
    /// On the runtime of the one who calls this.
    pub(in crate::grpc) fn new(routes: Routes) -> Self {
        Self { routes: routes.prepare(), runtime: Handle::current() }
    }

    /// Answers a call, in its own time.
    pub(super) fn answer(
        &self,
        request: Request<RecvStream>,
        peer: Peer,
        arrival: Instant,
        mut respond: SendResponse<Bytes>,
    ) {
        let (mut parts, body) = request.into_parts();
        let span = trace::span(&parts);
        let deadline = Deadline::of(parts.headers.get("grpc-timeout").map(HeaderValue::as_bytes), arrival);
        parts.extensions.insert(peer);
        parts.extensions.insert(Arrival(arrival));
        let mut routes = self.routes.clone();
        let answering = async move {
            let answering = deadline.bound(routes.call(Request::from_parts(parts, Incoming(body))));
            let response = tokio::select! {
                biased;
                // Who has gone is not answered.
                _ = poll_fn(|context| respond.poll_reset(context)) => return,
                response = answering => match response {
                    Ok(Ok(response)) => name_too_large(response),
                    Ok(Err(never)) => match never {},
                    Err(fault) => return reply::refuse(respond, fault),
                },
            };
            // What fails here is that the caller has gone.
            let _ = send(response, respond).await;
        };
        self.runtime.spawn(answering.instrument(span));
    }
}

/// A message that is too large is malformed. The library refuses it before anybody here sees it, with a code that means
/// something else on this wire.
fn name_too_large<B>(mut response: Response<B>) -> Response<B> {
    const TOO_LARGE: &[u8] = b"Error,%20decoded%20message%20length%20too%20large";
    let headers = response.headers_mut();
    if headers.get("grpc-message").is_some_and(|message| message.as_bytes().starts_with(TOO_LARGE)) {
        headers.insert("grpc-status", HeaderValue::from(tonic::Code::InvalidArgument as i32));
    }
    response
}

/// Sends an answer as its body comes, and as fast as the caller takes it.
async fn send(response: Response<Body>, mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
    let (parts, body) = response.into_parts();
    let head = Response::from_parts(parts, ());
    if body.is_end_stream() {
        respond.send_response(head, true)?;
        return Ok(());
    }
    let mut send = respond.send_response(head, false)?;
    let mut body = pin!(body);
    loop {
        let next = poll_fn(|context| {
            if let Poll::Ready(reset) = send.poll_reset(context) {
                return Poll::Ready(Err(reset.map_or_else(|error| error, h2::Error::from)));
            }
            body.as_mut().poll_frame(context).map(Ok)
        });
        match next.await? {
            None => return send.send_data(Bytes::new(), true),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => send_data(&mut send, data).await?,
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        return send.send_trailers(trailers);
                    }
                }
            },
            Some(Err(_)) => {
                send.send_reset(Reason::INTERNAL_ERROR);
                return Ok(());
            }
        }
    }
}

/// Sends bytes as the caller makes room for them.
pub(super) async fn send_data(send: &mut SendStream<Bytes>, mut data: Bytes) -> Result<(), h2::Error> {
    while !data.is_empty() {
        send.reserve_capacity(data.len());
        while send.capacity() == 0 {
            match poll_fn(|context| send.poll_capacity(context)).await {
                Some(room) => room?,
                None => return Err(Reason::CANCEL.into()),
            };
        }
        let part = data.split_to(send.capacity().min(data.len()));
        send.send_data(part, false)?;
    }
    Ok(())
}

/// What a caller sends, as the services read it.
#[derive(Debug)]
struct Incoming(RecvStream);

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Self(body) = &mut *self;
        match ready!(body.poll_data(context)) {
            Some(Ok(data)) => {
                // What fails here is that the stream has ended, which is told next.
                let _ = body.flow_control().release_capacity(data.len());
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Some(Err(error)) => match error.reason() {
                Some(Reason::NO_ERROR | Reason::CANCEL) => Poll::Ready(None),
                Some(_) | None => Poll::Ready(Some(Err(Status::from_error(error.into())))),
            },
            None => match ready!(body.poll_trailers(context)) {
                Ok(trailers) => Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers)))),
                Err(error) => Poll::Ready(Some(Err(Status::from_error(error.into())))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}
