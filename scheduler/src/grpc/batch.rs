//! Operations of a stream that are decided together.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use crate::auth::Admitted;
use crate::engine::{self, Done, EngineError};

use super::door::Call;
use super::fault::Fault;
use super::operations::{Parsed, Telling};
use super::service::{Service, asker};

pub(super) type Decided = Vec<Result<Done, EngineError>>;
pub(super) type Deciding = Pin<Box<dyn Future<Output = Decided> + Send>>;

/// Operations that came together, and what is to be said of each.
#[derive(Debug, Default)]
pub(super) struct Batch {
    plans: Vec<(u64, Plan)>,
    asked: Vec<engine::Operation>,
    explains: bool,
}

/// What there is to say of one operation.
#[derive(Debug)]
enum Plan {
    /// It was malformed, or not allowed.
    Refused(Fault),
    /// What the engine says next.
    Asked(Telling),
}

/// What there is to say of one operation, by its mark.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) tag: u64,
    pub(super) said: Said,
}

/// What there is to say of one operation.
#[derive(Debug)]
pub(super) enum Said {
    /// It was malformed, or not allowed.
    Refused(Fault),
    /// What became of it.
    Done(Telling, Result<Done, EngineError>),
}

impl Batch {
    /// How many operations are in it.
    pub(super) fn len(&self) -> usize {
        self.plans.len()
    }

    /// Adds one, or why it is refused.
    pub(super) fn add(&mut self, tag: u64, parsed: Result<Parsed, Fault>) {
        let plan = match parsed {
            Err(fault) => Plan::Refused(fault),
            Ok(parsed) => {
                self.explains |= parsed.explains();
                let (operation, telling) = parsed.part();
                self.asked.push(operation);
                Plan::Asked(telling)
            }
        };
        self.plans.push((tag, plan));
    }

    /// Has them decided, as far as that goes without waiting.
    pub(super) async fn decide(self, service: &Service, call: &Call, room: Option<Admitted>) -> Underway {
        let Self { plans, asked, explains } = self;
        let (engine, asker) = (service.engine.clone(), asker(&call.caller));
        let mut deciding: Deciding = Box::pin(async move { engine.operate(&asker, asked).await });
        // The engine decides when it is first asked, and waits for the store after; but for explanations it waits before.
        // So what comes in order is decided in order.
        let first = std::future::poll_fn(|context| Poll::Ready(deciding.as_mut().poll(context))).await;
        let decisions = match first {
            Poll::Ready(decided) => Decisions::Known(decided),
            Poll::Pending if explains => Decisions::Known(deciding.await),
            Poll::Pending => Decisions::Awaited(deciding),
        };
        Underway { plans, decisions, _room: room }
    }
}

/// Operations that are being decided, or were: how each of them will be answered, in order.
pub(super) struct Underway {
    plans: Vec<(u64, Plan)>,
    decisions: Decisions,
    /// Their room among all that is under way.
    _room: Option<Admitted>,
}

/// Decisions that are waited for.
enum Decisions {
    Known(Decided),
    Awaited(Deciding),
}

impl Underway {
    /// What there is to say of each, when all of them are durable.
    pub(super) async fn told(self, service: &Service, call: &Call) -> Result<Vec<Told>, Fault> {
        let Self { plans, decisions, _room } = self;
        let decided = match decisions {
            Decisions::Known(decided) => decided,
            Decisions::Awaited(deciding) => call.deadline.bound(deciding).await?,
        };
        let mut decided = decided.into_iter();
        let tell = |(tag, plan)| {
            let said = match plan {
                Plan::Refused(fault) => Said::Refused(fault),
                Plan::Asked(telling) => match decided.next() {
                    Some(done) => {
                        service.took(&call.caller, telling.request.as_deref(), &done);
                        Said::Done(telling, done)
                    }
                    None => unreachable!("every operation is answered"),
                },
            };
            Told { tag, said }
        };
        Ok(plans.into_iter().map(tell).collect())
    }
}
