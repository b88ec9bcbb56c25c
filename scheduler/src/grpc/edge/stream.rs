//! Streams of operations: what has come is decided together, and answered in order, each when it is durable.
//!
//! One side takes messages apart and has their operations decided; the other waits until they are durable, and answers. So
//! the next are decided while the store takes the last. Between the two there is room for some; when it is taken, nothing
//! more is read, and the caller is held up by the transport. Messages that have come when the last was read are decided
//! together, and their results are sent together.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use headgate_proto::v1;
use prost::Message as _;
use tokio::sync::mpsc;
use tonic::codegen::http::HeaderValue;

use super::body::{Pieces, broken, release};
use super::ordinary::send_data;
use super::remembered::undecodable;
use super::{Desk, Edge, reply};
use crate::auth::{Admitted, Caller, Peer};
use crate::config::Permission;
use crate::grpc::batch::{Batch, Underway};
use crate::grpc::deadline::Deadline;
use crate::grpc::door::Call;
use crate::grpc::fault::Fault;
use crate::grpc::operations::{self, Kind, Parsed};
use crate::grpc::service::Service;
use crate::grpc::stream::{MESSAGES_MAX, check_count, stopping};
use crate::protobuf::{Field, Fields};

/// Operations from which on no further message is decided with them.
const TOGETHER: usize = 256;

/// Begins to take operations, and to answer them.
pub(super) fn begin(
    edge: &Arc<Edge>,
    peer: &Peer,
    authorization: Option<&HeaderValue>,
    deadline: Deadline,
    body: RecvStream,
    mut respond: SendResponse<Bytes>,
) {
    // What each operation takes is seen where it is parsed.
    let admitted = edge.service.door.admit(peer, authorization, Permission::Check, deadline);
    let admitted = admitted.and_then(|call| Ok((call.caller.meter().stream()?, call)));
    match admitted {
        Ok((room, call)) => match respond.send_response(reply::head(), false) {
            Ok(send) => drop(tokio::spawn(run(edge.clone(), call, room, body, send))),
            Err(error) => tracing::trace!(%error, "a caller had gone before its stream began"),
        },
        Err(fault) => reply::refuse(respond, fault),
    }
}

async fn run(edge: Arc<Edge>, call: Call, room: Admitted, body: RecvStream, send: SendStream<Bytes>) {
    let (decided, deciding) = mpsc::channel(MESSAGES_MAX);
    tokio::join!(read(&edge, &call, body, decided), answer(&edge, &call, deciding, send));
    drop(room);
}

/// Reads messages until the caller closes its side, or something is wrong with one.
async fn read(edge: &Edge, call: &Call, body: RecvStream, decided: mpsc::Sender<Result<Underway, Fault>>) {
    let mut messages = Messages { body, pieces: Pieces::default(), ends: None };
    let mut stops = pin!(edge.service.readiness.stopping());
    let mut passed = pin!(call.deadline.passed());
    let mut closed = pin!(decided.closed());
    loop {
        let mut batch = Batch::default();
        let next = poll_fn(|context| {
            if stops.as_mut().poll(context).is_ready() {
                return Poll::Ready(Some(Err(stopping())));
            }
            if passed.as_mut().poll(context).is_ready() {
                return Poll::Ready(Some(Err(Fault::deadline())));
            }
            if closed.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
            messages.poll(context, edge, &call.caller, &mut batch)
        });
        let message = match next.await {
            None => return,
            Some(Err(fault)) => Err(fault),
            Some(Ok(())) => {
                let room = call.caller.meter().operations(batch.len()).await;
                Ok(batch.decide(&edge.service, call, room).await)
            }
        };
        let last = message.is_err();
        if decided.send(message).await.is_err() || last {
            return;
        }
    }
}

/// Answers in order, each when all of it is durable.
async fn answer(
    edge: &Edge,
    call: &Call,
    mut messages: mpsc::Receiver<Result<Underway, Fault>>,
    mut send: SendStream<Bytes>,
) {
    while let Some(message) = messages.recv().await {
        let told = match message {
            Ok(message) => message.told(&edge.service, call).await,
            Err(fault) => Err(fault),
        };
        match told {
            Ok(told) => {
                let parts = edge.desk.lock().answers.results(&edge.service, told);
                for part in parts {
                    // A caller that has gone is told nothing more; whoever reads from it finds out too.
                    if send_data(&mut send, part).await.is_err() {
                        return;
                    }
                }
            }
            Err(fault) => return reply::end(&mut send, Some(fault)),
        }
    }
    reply::end(&mut send, None);
}

/// The messages of a stream.
struct Messages {
    body: RecvStream,
    pieces: Pieces,
    /// Nothing more comes: well, or because something is wrong.
    ends: Option<Result<(), Fault>>,
}

impl Messages {
    /// Takes the operations of all that has come; none where nothing more does. Where something is wrong with a message,
    /// what came before it is decided first.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        edge: &Edge,
        caller: &Caller,
        batch: &mut Batch,
    ) -> Poll<Option<Result<(), Fault>>> {
        let mut came = 0;
        while self.ends.is_none() && came.max(batch.len()) < TOGETHER {
            match self.poll_one(context) {
                Poll::Ready(Ok(Some(message))) => match edge.desk.lock().take(&message, &edge.service, caller, batch) {
                    Ok(()) => came += 1,
                    Err(fault) => self.ends = Some(Err(fault)),
                },
                Poll::Ready(Ok(None)) => self.ends = Some(self.pieces.end()),
                Poll::Ready(Err(fault)) => self.ends = Some(Err(fault)),
                Poll::Pending if came == 0 => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        match &self.ends {
            Some(ends) if came == 0 => Poll::Ready(ends.clone().err().map(Err)),
            Some(_) | None => Poll::Ready(Some(Ok(()))),
        }
    }

    /// The next message; none where nothing more comes.
    fn poll_one(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Fault>> {
        loop {
            if let Some(message) = self.pieces.next()? {
                return Poll::Ready(Ok(Some(message)));
            }
            match std::task::ready!(self.body.poll_data(context)) {
                Some(Ok(data)) => {
                    release(&mut self.body, data.len());
                    self.pieces.add(data);
                }
                Some(Err(error)) => return Poll::Ready(Err(broken(&error))),
                None => return Poll::Ready(Ok(None)),
            }
        }
    }
}

impl Desk {
    /// Parses the operations of a message, all of them or none.
    fn take(&mut self, message: &[u8], service: &Service, caller: &Caller, batch: &mut Batch) -> Result<(), Fault> {
        const OPERATIONS: u32 = 1;
        let mut count = 0;
        for field in Fields(message) {
            match field {
                Ok((OPERATIONS, Field::Bytes(_))) => count += 1,
                Ok(_) => {}
                Err(_) => return take_slowly(message, service, caller, batch),
            }
        }
        check_count(count)?;
        let taken = batch.add_all(count, |batch| {
            for field in Fields(message).flatten() {
                let (OPERATIONS, Field::Bytes(operation)) = field else { continue };
                let (tag, parsed) = self.operation(operation, caller)?;
                batch.add(tag, with_room(parsed, service, caller));
            }
            Ok(())
        });
        taken.map_err(|error| undecodable(&error))
    }

    /// Parses an operation; what does not decode is none.
    pub(in crate::grpc) fn operation(
        &mut self,
        operation: &[u8],
        caller: &Caller,
    ) -> Result<(u64, Result<Parsed, Fault>), prost::DecodeError> {
        if let Some((tag, kind, message)) = plain(operation) {
            let parsed = self.remembered.parse(kind, message, caller)?;
            return Ok((tag, parsed.and_then(|parsed| operations::permitted(parsed, caller))));
        }
        let v1::Operation { tag, operation } = v1::Operation::decode(operation)?;
        Ok((tag, operations::operation(operation, caller)))
    }
}

/// Parses what is not as anybody writes it: the library says what it is.
fn take_slowly(message: &[u8], service: &Service, caller: &Caller, batch: &mut Batch) -> Result<(), Fault> {
    let message = v1::AcquireStreamRequest::decode(message).map_err(|error| undecodable(&error))?;
    check_count(message.operations.len())?;
    for v1::Operation { tag, operation } in message.operations {
        batch.add(tag, with_room(operations::operation(operation, caller), service, caller));
    }
    Ok(())
}

/// What was parsed, where its caller may have the ticket that may come of it.
fn with_room(parsed: Result<Parsed, Fault>, service: &Service, caller: &Caller) -> Result<Parsed, Fault> {
    parsed.and_then(|parsed| service.check_room(caller, &parsed).map(|()| parsed))
}

/// An operation's mark, its kind and its own message, where each is said once and nothing else is.
fn plain(operation: &[u8]) -> Option<(u64, Kind, &[u8])> {
    const TAG: u32 = 1;
    let mut fields = Fields(operation);
    let (tag, what) = match fields.next()?.ok()? {
        (TAG, Field::Number(tag)) => (tag, fields.next()?.ok()?),
        other => (0, other),
    };
    let (kind, message) = match what {
        (2, Field::Bytes(message)) => (Kind::Acquire, message),
        (3, Field::Bytes(message)) => (Kind::Check, message),
        (4, Field::Bytes(message)) => (Kind::Confirm, message),
        (5, Field::Bytes(message)) => (Kind::Renew, message),
        (6, Field::Bytes(message)) => (Kind::Resize, message),
        (7, Field::Bytes(message)) => (Kind::Release, message),
        (8, Field::Bytes(message)) => (Kind::Cancel, message),
        _ => return None,
    };
    fields.next().is_none().then_some((tag, kind, message))
}
