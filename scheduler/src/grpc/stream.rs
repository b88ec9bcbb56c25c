//! Many operations in one message: decided together as they come, answered in order, each when it is durable.
//!
//! One side reads messages and has their operations decided; the other waits until they are durable, and answers. So the
//! next message is decided while the store takes the last. Between the two there is room for some messages; when it is
//! taken, nothing more is read, and the caller is held up by the transport.

use headgate_proto::limits::{OPERATIONS_BYTES_MAX, OPERATIONS_MAX};
use headgate_proto::v1;
use prost::Message as _;
use tokio::sync::mpsc;
use tonic::{Code, Status, Streaming};

use crate::auth::Admitted;

use super::batch::{Batch, Said, Told, Underway};
use super::door::Call;
use super::fault::Fault;
use super::operations;
use super::service::Service;

/// Messages that were decided and are not answered yet, of one stream: several commits' worth.
pub(super) const MESSAGES_MAX: usize = 8;
/// Answers that the caller has not taken yet.
const ANSWERS_MAX: usize = 2;

/// Begins to take operations; what is returned are the answers.
pub(super) fn begin(
    service: Service,
    call: Call,
    room: Admitted,
    messages: Streaming<v1::AcquireStreamRequest>,
) -> mpsc::Receiver<Result<v1::AcquireStreamResponse, Status>> {
    let (answers, receiver) = mpsc::channel(ANSWERS_MAX);
    let (decided, deciding) = mpsc::channel(MESSAGES_MAX);
    let reading = read(service.clone(), call.clone(), messages, decided);
    let answering = answer(service, call, deciding, answers);
    let span = tracing::Span::current();
    tokio::spawn(tracing::Instrument::instrument(
        async move {
            tokio::join!(reading, answering);
            drop(room);
        },
        span,
    ));
    receiver
}

/// Reads messages until the caller closes its side, or something is wrong with one.
async fn read(
    service: Service,
    call: Call,
    mut messages: Streaming<v1::AcquireStreamRequest>,
    decided: mpsc::Sender<Result<Underway, Fault>>,
) {
    loop {
        let next = tokio::select! {
            biased;
            () = service.readiness.stopping() => Err(stopping()),
            () = call.deadline.passed() => Err(Fault::deadline()),
            () = decided.closed() => return,
            message = messages.message() => match message {
                Ok(Some(message)) => Ok(message),
                Ok(None) => return,
                Err(status) => Err(unreadable(&status)),
            },
        };
        let message = match next {
            Ok(message) => decide(&service, &call, message).await,
            Err(fault) => Err(fault),
        };
        let last = message.is_err();
        if decided.send(message).await.is_err() || last {
            return;
        }
    }
}

/// What ends a stream when the server does.
pub(super) fn stopping() -> Fault {
    /// By then another server has taken over, or this one is back.
    const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(1);
    Fault::unavailable("the server is stopping", RETRY_AFTER)
}

fn unreadable(status: &Status) -> Fault {
    match status.code() {
        // What the transport says of a message that is too large.
        Code::OutOfRange | Code::ResourceExhausted => Fault::new(
            Code::InvalidArgument,
            format!("the message is too large, and nothing of it was done: {}", status.message()),
        ),
        code => Fault::new(code, status.message()),
    }
}

/// Has the operations of one message decided, as far as that goes without waiting.
async fn decide(service: &Service, call: &Call, message: v1::AcquireStreamRequest) -> Result<Underway, Fault> {
    let v1::AcquireStreamRequest { operations } = message;
    check_count(operations.len())?;
    let room = call.caller.meter().operations(operations.len()).await;
    let mut batch = Batch::default();
    for v1::Operation { tag, operation } in operations {
        let parsed = operations::operation(operation, &call.caller);
        batch.add(tag, parsed.and_then(|parsed| service.check_room(&call.caller, &parsed).map(|()| parsed)));
    }
    Ok(batch.decide(service, call, room).await)
}

/// Checks that one message does not hold more operations than it may.
pub(super) fn check_count(count: usize) -> Result<(), Fault> {
    if count <= OPERATIONS_MAX {
        return Ok(());
    }
    let why = format!("{count} are in one message, at most {OPERATIONS_MAX} may be: nothing of it was done");
    Err(Fault::field("operations", why))
}

/// Answers messages in order, each when all of it is durable.
async fn answer(
    service: Service,
    call: Call,
    mut messages: mpsc::Receiver<Result<Underway, Fault>>,
    answers: mpsc::Sender<Result<v1::AcquireStreamResponse, Status>>,
) {
    while let Some(message) = messages.recv().await {
        let told = match message {
            Ok(message) => message.told(&service, &call).await,
            Err(fault) => Err(fault),
        };
        match told {
            Ok(told) => {
                for results in parts(told.map(|told| result(&service, told)).collect()) {
                    if answers.send(Ok(v1::AcquireStreamResponse { results })).await.is_err() {
                        return;
                    }
                }
            }
            Err(fault) => {
                // Where nobody listens any more, there is nobody to tell.
                let _ = answers.send(Err(fault.into())).await;
                return;
            }
        }
    }
}

/// Results in as many messages as it takes for none to be larger than what callers' libraries take.
fn parts(results: Vec<v1::OperationResult>) -> Vec<Vec<v1::OperationResult>> {
    let mut parts = Vec::new();
    let (mut part, mut bytes) = (Vec::with_capacity(results.len()), 0);
    for result in results {
        let more = result.encoded_len();
        if bytes + more > OPERATIONS_BYTES_MAX && !part.is_empty() {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes += more;
        part.push(result);
    }
    parts.push(part);
    parts
}

fn result(service: &Service, told: Told) -> v1::OperationResult {
    let Told { tag, said } = told;
    let told = match said {
        Said::Refused(fault) => Err(fault),
        Said::Done(telling, done) => telling.tell(service, done),
    };
    operations::result(tag, told)
}
