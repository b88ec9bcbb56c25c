//! A connection, from its first frame to its last.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, SendResponse};
use tonic::codegen::http::Request;

use super::keepalive::KeepAlive;
use super::unary::Asked;
use super::way::{Head, Way};
use super::{Edge, reply, stream};
use crate::auth::Peer;
use crate::grpc::deadline::Deadline;
use crate::listen::Connection;

/// Calls of one connection at once. A client that waits for more tickets than this opens another.
const CALLS_PER_CONNECTION_MAX: u32 = 4_096;
/// Calls of one connection that are decided together: then others of the lane have their turn.
const CALLS_PER_TURN_MAX: usize = 256;
/// Bytes of a call's headers: a signed token is a few thousand.
const HEADERS_BYTES_MAX: u32 = 16 * 1024;
/// Bytes that a call, and a connection, may have on the way to us: two messages of a stream, and several such streams.
pub(super) const CALL_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// See [`CALL_WINDOW_BYTES`].
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// A call as it came in.
type Came = (Request<RecvStream>, SendResponse<Bytes>);

/// Serves a connection until its other end closes it, or until all has been answered after the server was told to end.
pub(super) async fn serve(edge: Arc<Edge>, connection: Connection) {
    let (peer, heard) = (connection.peer().clone(), connection.heard());
    let address = peer.address();
    let readiness = edge.service.readiness.clone();
    let mut stopping = pin!(readiness.stopping());
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(CALLS_PER_CONNECTION_MAX)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .initial_window_size(CALL_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    let begun = tokio::select! {
        begun = builder.handshake(connection) => begun,
        () = &mut stopping => return,
    };
    let mut http = match begun {
        Ok(http) => http,
        Err(error) => {
            tracing::debug!(?address, %error, "a connection did not begin with HTTP/2");
            return;
        }
    };
    let mut keepalive = KeepAlive::new(heard, http.ping_pong());
    let mut ends = false;
    let mut came = Vec::new();
    let mut asked = Vec::new();
    poll_fn(|context| {
        if !ends && stopping.as_mut().poll(context).is_ready() {
            ends = true;
            http.graceful_shutdown();
        }
        if keepalive.poll(context).is_ready() {
            tracing::debug!(?address, "a silent connection did not answer, and is ended");
            return Poll::Ready(());
        }
        loop {
            while came.len() < CALLS_PER_TURN_MAX {
                match http.poll_accept(context) {
                    Poll::Ready(Some(Ok(call))) => came.push(call),
                    Poll::Ready(Some(Err(error))) => {
                        tracing::debug!(?address, %error, "a connection was ended");
                        return Poll::Ready(());
                    }
                    Poll::Ready(None) => return Poll::Ready(()),
                    Poll::Pending => break,
                }
            }
            if came.is_empty() {
                return Poll::Pending;
            }
            let full = came.len() == CALLS_PER_TURN_MAX;
            edge.turn(context, &peer, &mut came, &mut asked);
            if full {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    })
    .await;
}

impl Edge {
    /// Has all calls that have come decided, each in its way.
    fn turn(self: &Arc<Self>, context: &mut Context<'_>, peer: &Peer, came: &mut Vec<Came>, asked: &mut Vec<Asked>) {
        let arrival = Instant::now();
        for (request, respond) in came.drain(..) {
            let (parts, body) = request.into_parts();
            let Head { way, timeout, authorization } = Head::of(&parts);
            let deadline = Deadline::of(timeout, arrival);
            match way {
                Way::Unary(unary) => match self.service.door.admit(peer, authorization, unary.permission(), deadline) {
                    Ok(call) => self.gather(context, call, unary, body, respond, asked),
                    Err(fault) => reply::refuse(respond, fault),
                },
                Way::Stream => stream::begin(self, peer, authorization, deadline, body, respond),
                Way::Ordinary => {
                    self.ordinary.answer(Request::from_parts(parts, body), peer.clone(), arrival, respond);
                }
                Way::NoCall(status) => reply::no_call(respond, status),
            }
        }
        self.decide(asked);
    }
}
