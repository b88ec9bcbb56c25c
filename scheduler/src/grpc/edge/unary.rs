//! Calls of their own, decided together as they come.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;

use super::body::Gathering;
use super::limit::Limit;
use super::remembered::undecodable;
use super::way::Unary;
use super::{Edge, reply};
use crate::auth::{Admitted, Caller};
use crate::engine::{self, Done, EngineError, Operation};
use crate::grpc::batch::{Decided, Deciding};
use crate::grpc::deadline::Deadline;
use crate::grpc::door::Call;
use crate::grpc::fault::Fault;
use crate::grpc::limiting::Limited;
use crate::grpc::operations::{Parsed, Telling};
use crate::grpc::service::{Logged, asker};

/// A call that was parsed.
#[derive(Debug)]
pub(super) struct Asked {
    call: Call,
    what: What,
    respond: SendResponse<Bytes>,
}

/// What is asked.
#[derive(Debug)]
enum What {
    Operation(Parsed),
    Limit(Limited),
}

/// A call that waits for its answer.
#[derive(Debug)]
struct Waits {
    /// None where it has been answered already.
    respond: Option<SendResponse<Bytes>>,
    telling: Telling,
    deadline: Deadline,
}

/// Calls that wait for their answers together.
#[derive(Debug, Default)]
struct Together {
    asked: Vec<Operation>,
    waits: Vec<Waits>,
    /// Their room among all that is under way, where they did not get it with others.
    rooms: Vec<Admitted>,
}

impl Edge {
    /// Takes a call's message where it has come whole, as it mostly has with the head; else waits for it.
    pub(super) fn gather(
        self: &Arc<Self>,
        context: &mut Context<'_>,
        call: Call,
        unary: Unary,
        body: RecvStream,
        respond: SendResponse<Bytes>,
        asked: &mut Vec<Asked>,
    ) {
        let mut gathering = Gathering::new(body);
        match gathering.poll(context) {
            Poll::Ready(message) => self.parse(call, unary, message, respond, asked),
            Poll::Pending => {
                let edge = self.clone();
                tokio::spawn(async move {
                    let whole = poll_fn(|context| gathering.poll(context));
                    match call.deadline.bound(whole).await {
                        Ok(message) => {
                            let mut asked = Vec::with_capacity(1);
                            edge.parse(call, unary, message, respond, &mut asked);
                            edge.decide(&mut asked);
                        }
                        Err(fault) => reply::refuse(respond, fault),
                    }
                });
            }
        }
    }

    fn parse(
        &self,
        call: Call,
        unary: Unary,
        message: Result<Bytes, Fault>,
        respond: SendResponse<Bytes>,
        asked: &mut Vec<Asked>,
    ) {
        let what = message.and_then(|message| match unary {
            Unary::Operation(kind) => {
                let parsed = self.desk.lock().remembered.parse(kind, &message, &call.caller);
                parsed.unwrap_or_else(|error| Err(undecodable(&error))).map(What::Operation)
            }
            Unary::Limit => self.limiting.parse(&message).map(What::Limit),
        });
        match what {
            Ok(what) => asked.push(Asked { call, what, respond }),
            Err(fault) => reply::refuse(respond, fault),
        }
    }

    /// Has calls decided, those of one caller together, and answers them, at once or when what was decided is durable.
    pub(super) fn decide(self: &Arc<Self>, asked: &mut Vec<Asked>) {
        let mut rest = asked.drain(..).peekable();
        while let Some(first) = rest.peek() {
            let caller = first.call.caller.clone();
            let mine: Vec<_> =
                std::iter::from_fn(|| rest.next_if(|one| Arc::ptr_eq(&one.call.caller, &caller))).collect();
            self.decide_for(&caller, mine);
        }
    }

    fn decide_for(self: &Arc<Self>, caller: &Arc<Caller>, asked: Vec<Asked>) {
        let asker = asker(caller);
        let meter = caller.meter();
        let mut room = meter.operations_at_once(asked.len());
        let (mut checks, mut operations) = (Together::default(), Together::default());
        let mut limits = Vec::new();
        let logged = Logged::now();
        for Asked { call, what, respond } in asked {
            let entered = match room {
                Some(_) => Ok(None),
                None => meter.operation().map(Some).map_err(Fault::from),
            };
            let entered = entered.and_then(|own| match &what {
                What::Operation(parsed) => self.service.check_room(caller, parsed).map(|()| own),
                What::Limit(_) => Ok(own),
            });
            let own = match entered {
                Ok(own) => own,
                Err(fault) => {
                    reply::refuse(respond, fault);
                    continue;
                }
            };
            let parsed = match what {
                What::Operation(parsed) => parsed,
                What::Limit(limited) => {
                    limits.push(Limit { limited, respond, deadline: call.deadline, room: own });
                    continue;
                }
            };
            let explains = parsed.explains();
            let (operation, telling) = parsed.part();
            let waits = Waits { respond: Some(respond), telling, deadline: call.deadline };
            if let Operation::Check { .. } = &operation {
                match self.check(&asker, &operation) {
                    Poll::Ready(done) => self.tell(caller, logged, waits, done),
                    Poll::Pending => checks.add(operation, waits, own),
                }
            } else if explains {
                // For its numbers it waits before it is decided: nobody waits with it.
                let mut alone = Together::default();
                alone.add(operation, waits, own);
                self.begin(caller, &asker, alone, &mut room);
            } else {
                operations.add(operation, waits, own);
            }
        }
        if !operations.asked.is_empty() {
            self.begin(caller, &asker, operations, &mut room);
        }
        if !limits.is_empty() {
            self.limit(&asker, limits, &mut room);
        }
        if !checks.asked.is_empty() {
            let (edge, asker) = (self.clone(), asker.clone());
            let asked = std::mem::take(&mut checks.asked);
            let deciding = Box::pin(async move {
                let mut decided = Vec::with_capacity(asked.len());
                for operation in &asked {
                    decided.push(edge.checked(&asker, operation).await);
                }
                decided
            });
            self.wait(caller, checks, deciding, &mut room);
        }
    }

    /// Checks, where what is published is new enough: it mostly is.
    fn check(&self, asker: &engine::Caller, operation: &Operation) -> Poll<Result<Done, EngineError>> {
        pin!(self.checked(asker, operation)).poll(&mut Context::from_waker(Waker::noop()))
    }

    async fn checked(&self, asker: &engine::Caller, operation: &Operation) -> Result<Done, EngineError> {
        match operation {
            Operation::Check { request, explain } => {
                self.service.engine.check(asker, request.clone(), *explain).await.map(Done::Decided)
            }
            Operation::Acquire { .. }
            | Operation::Confirm(_)
            | Operation::Renew { .. }
            | Operation::Resize { .. }
            | Operation::Release(_)
            | Operation::Cancel(_) => unreachable!("what takes something is done, and not checked"),
        }
    }

    /// Has operations done, and answers them when they are.
    fn begin(
        self: &Arc<Self>,
        caller: &Arc<Caller>,
        asker: &engine::Caller,
        mut together: Together,
        room: &mut Option<Admitted>,
    ) {
        let (engine, asker, asked) = (self.service.engine.clone(), asker.clone(), std::mem::take(&mut together.asked));
        let mut deciding: Deciding = Box::pin(async move { engine.operate(&asker, asked).await });
        // The engine decides when it is first asked, and waits for the store after.
        match deciding.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(decided) => self.tell_all(caller, together.waits, decided),
            Poll::Pending => self.wait(caller, together, deciding, room),
        }
    }

    /// Answers calls when they are decided, each by its deadline.
    fn wait(
        self: &Arc<Self>,
        caller: &Arc<Caller>,
        together: Together,
        mut deciding: Deciding,
        room: &mut Option<Admitted>,
    ) {
        let Together { asked: _, mut waits, rooms } = together;
        let kept = room.as_mut().and_then(|room| room.split(waits.len()));
        let (edge, caller) = (self.clone(), caller.clone());
        tokio::spawn(async move {
            let decided: Decided = loop {
                let unanswered = waits.iter().filter(|one| one.respond.is_some());
                let next = unanswered.filter_map(|one| one.deadline.at()).min();
                let Some(next) = next else { break deciding.await };
                match tokio::time::timeout_at(next.into(), &mut deciding).await {
                    Ok(decided) => break decided,
                    Err(_) => {
                        for one in waits.iter_mut().filter(|one| one.deadline.at().is_some_and(|at| at <= next)) {
                            if let Some(respond) = one.respond.take() {
                                reply::refuse(respond, Fault::deadline());
                            }
                        }
                    }
                }
            };
            edge.tell_all(&caller, waits, decided);
            drop((kept, rooms));
        });
    }

    fn tell_all(&self, caller: &Caller, waits: Vec<Waits>, decided: Decided) {
        let logged = Logged::now();
        for (waits, done) in waits.into_iter().zip(decided) {
            self.tell(caller, logged, waits, done);
        }
    }

    fn tell(&self, caller: &Caller, logged: Logged, waits: Waits, done: Result<Done, EngineError>) {
        let Waits { respond, telling, deadline: _ } = waits;
        self.service.took(caller, logged, telling.request.as_deref(), &done);
        let Some(respond) = respond else { return };
        let written = self.desk.lock().answers.unary(&self.service, telling, done);
        match written {
            Ok(message) => reply::answer(respond, message),
            Err(fault) => reply::refuse(respond, fault),
        }
    }
}

impl Together {
    fn add(&mut self, operation: Operation, waits: Waits, room: Option<Admitted>) {
        self.asked.push(operation);
        self.waits.push(waits);
        self.rooms.extend(room);
    }
}
