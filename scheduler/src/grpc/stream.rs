//! Many operations in one message: decided together as they come, answered in order, each when it is durable.
//!
//! One side reads messages and has their operations decided; the other waits until they are durable, and answers. So the
//! next message is decided while the store takes the last. Between the two there is room for some messages; when it is
//! taken, nothing more is read, and the caller is held up by the transport.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use headgate_proto::limits::{OPERATIONS_BYTES_MAX, OPERATIONS_MAX};
use headgate_proto::v1;
use prost::Message as _;
use tokio::sync::mpsc;
use tonic::{Code, Status, Streaming};

use crate::auth::Admitted;
use crate::engine::{self, Done, EngineError};

use super::door::Call;
use super::fault::Fault;
use super::operations::{self, Telling};
use super::service::{Service, asker};

/// Messages that were decided and are not answered yet, of one stream: several commits' worth.
const MESSAGES_MAX: usize = 8;
/// Answers that the caller has not taken yet.
const ANSWERS_MAX: usize = 2;

type Decided = Vec<Result<Done, EngineError>>;
type Deciding = Pin<Box<dyn Future<Output = Decided> + Send>>;

/// A message that is being decided, or was: how each of its operations will be answered, in order.
struct Message {
    plans: Vec<(u64, Plan)>,
    deciding: Decisions,
    /// Its room among all that is under way.
    room: Option<Admitted>,
}

/// What there is to say of one operation.
enum Plan {
    /// It was malformed, or not allowed.
    Refused(Fault),
    /// What the engine says next.
    Asked(Telling),
}

/// Decisions that are waited for.
enum Decisions {
    Known(Decided),
    Awaited(Deciding),
}

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
    decided: mpsc::Sender<Result<Message, Fault>>,
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
async fn decide(service: &Service, call: &Call, message: v1::AcquireStreamRequest) -> Result<Message, Fault> {
    let v1::AcquireStreamRequest { operations } = message;
    if operations.len() > OPERATIONS_MAX {
        return Err(Fault::field(
            "operations",
            format!("{} are in one message, at most {OPERATIONS_MAX} may be: nothing of it was done", operations.len()),
        ));
    }
    let room = call.caller.meter().operations(operations.len()).await;
    let mut plans = Vec::with_capacity(operations.len());
    let mut asked = Vec::with_capacity(operations.len());
    for v1::Operation { tag, operation } in operations {
        let parsed = operations::operation(operation, &call.caller).and_then(|parsed| {
            if parsed.may_queue {
                service.may_queue(&call.caller)?;
            }
            Ok(parsed)
        });
        let plan = match parsed {
            Err(fault) => Plan::Refused(fault),
            Ok(parsed) => {
                let (operation, telling) = parsed.part();
                asked.push(operation);
                Plan::Asked(telling)
            }
        };
        plans.push((tag, plan));
    }
    let explains = asked.iter().any(|operation| match operation {
        engine::Operation::Acquire { explain, .. }
        | engine::Operation::Check { explain, .. }
        | engine::Operation::Resize { explain, .. } => *explain,
        engine::Operation::Confirm(_)
        | engine::Operation::Renew { .. }
        | engine::Operation::Release(_)
        | engine::Operation::Cancel(_) => false,
    });
    let (engine, asker) = (service.engine.clone(), asker(&call.caller));
    let mut deciding: Deciding = Box::pin(async move { engine.operate(&asker, asked).await });
    // The engine decides when it is first asked, and waits for the store after; but for explanations it waits before. So
    // what comes in order is decided in order.
    let first = std::future::poll_fn(|context| Poll::Ready(deciding.as_mut().poll(context))).await;
    let deciding = match first {
        Poll::Ready(decided) => Decisions::Known(decided),
        Poll::Pending if explains => Decisions::Known(deciding.await),
        Poll::Pending => Decisions::Awaited(deciding),
    };
    Ok(Message { plans, deciding, room })
}

/// Answers messages in order, each when all of it is durable.
async fn answer(
    service: Service,
    call: Call,
    mut messages: mpsc::Receiver<Result<Message, Fault>>,
    answers: mpsc::Sender<Result<v1::AcquireStreamResponse, Status>>,
) {
    while let Some(message) = messages.recv().await {
        let told = match message {
            Ok(message) => tell(&service, &call, message).await,
            Err(fault) => Err(fault),
        };
        match told {
            Ok(results) => {
                for results in parts(results) {
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

async fn tell(service: &Service, call: &Call, message: Message) -> Result<Vec<v1::OperationResult>, Fault> {
    let Message { plans, deciding, room } = message;
    let decided = match deciding {
        Decisions::Known(decided) => decided,
        Decisions::Awaited(deciding) => call.deadline.bound(deciding).await?,
    };
    drop(room);
    let mut decided = decided.into_iter();
    let results = plans.into_iter().map(|(tag, plan)| {
        let told = match plan {
            Plan::Refused(fault) => Err(fault),
            Plan::Asked(telling) => match decided.next() {
                Some(done) => {
                    service.took(&call.caller, &done);
                    telling.tell(service, done)
                }
                None => unreachable!("every operation is answered"),
            },
        };
        operations::result(tag, told)
    });
    Ok(results.collect())
}
