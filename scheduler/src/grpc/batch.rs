//! Operations of a stream that are decided together.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use crate::auth::Admitted;
use crate::engine::{self, Done, EngineError};

use super::door::Call;
use super::fault::Fault;
use super::operations::{Parsed, Telling};
use super::service::{Logged, Service, asker};

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

    /// Adds what so many operations are made of, all of them or none: what `take` added before it failed is taken out.
    pub(super) fn add_all<E>(&mut self, count: usize, take: impl FnOnce(&mut Self) -> Result<(), E>) -> Result<(), E> {
        let (plans, asked, explains) = (self.plans.len(), self.asked.len(), self.explains);
        self.plans.reserve(count);
        self.asked.reserve(count);
        let taken = take(self);
        if taken.is_err() {
            self.plans.truncate(plans);
            self.asked.truncate(asked);
            self.explains = explains;
        }
        taken
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
    pub(super) async fn told(self, service: &Service, call: &Call) -> Result<AllTold, Fault> {
        let Self { plans, decisions, _room } = self;
        let decided = match decisions {
            Decisions::Known(decided) => decided,
            Decisions::Awaited(deciding) => call.deadline.bound(deciding).await?,
        };
        let asked = plans.iter().filter_map(|(_, plan)| match plan {
            Plan::Asked(telling) => Some(telling),
            Plan::Refused(_) => None,
        });
        let logged = Logged::now();
        for (telling, done) in asked.zip(&decided) {
            service.took(&call.caller, logged, telling.request.as_deref(), done);
        }
        Ok(AllTold { plans: plans.into_iter(), decided: decided.into_iter() })
    }
}

/// What there is to say of each operation, from the first to the last or from the last to the first.
#[derive(Debug)]
pub(super) struct AllTold {
    plans: std::vec::IntoIter<(u64, Plan)>,
    decided: std::vec::IntoIter<Result<Done, EngineError>>,
}

impl AllTold {
    fn told((tag, plan): (u64, Plan), decided: impl FnOnce() -> Option<Result<Done, EngineError>>) -> Told {
        let said = match plan {
            Plan::Refused(fault) => Said::Refused(fault),
            Plan::Asked(telling) => match decided() {
                Some(done) => Said::Done(telling, done),
                None => unreachable!("every operation is answered"),
            },
        };
        Told { tag, said }
    }
}

impl Iterator for AllTold {
    type Item = Told;

    fn next(&mut self) -> Option<Told> {
        self.plans.next().map(|planned| Self::told(planned, || self.decided.next()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.plans.size_hint()
    }
}

impl DoubleEndedIterator for AllTold {
    fn next_back(&mut self) -> Option<Told> {
        self.plans.next_back().map(|planned| Self::told(planned, || self.decided.next_back()))
    }
}
