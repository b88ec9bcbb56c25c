//! Operations on leases and tickets, from the wire's messages to the engine's and back: the same for a call of its own and
//! for one of many in a stream.

use std::sync::Arc;

use headgate_ledger::{Holder, Request};
use headgate_proto::v1;
use headgate_proto::v1::operation::Operation as WireOperation;
use headgate_proto::v1::operation_result::Result as WireResult;

use crate::auth::Caller;
use crate::config::Permission;
use crate::engine::{self, Done, EngineError, LeaseId, Target};

use super::fault::{Fault, Violations};
use super::parse::{self, Named, Which};
use super::render::Detail;
use super::service::Service;

/// What kind of operation it is: what its answer looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Acquire,
    Check,
    Confirm,
    Renew,
    Resize,
    Release,
    Cancel,
}

impl Kind {
    /// What a caller must be allowed to do.
    pub(super) fn permission(self) -> Permission {
        match self {
            Self::Check => Permission::Check,
            Self::Acquire | Self::Confirm | Self::Renew | Self::Resize | Self::Release | Self::Cancel => {
                Permission::Acquire
            }
        }
    }

    /// What its answers tell.
    pub(super) fn detail(self) -> Detail {
        match self {
            Self::Renew => Detail::Brief,
            Self::Acquire | Self::Check | Self::Confirm | Self::Resize | Self::Release | Self::Cancel => Detail::Whole,
        }
    }

    /// Where in its message the fields stand that the ledger names.
    fn fields_at(self) -> &'static str {
        match self {
            Self::Acquire | Self::Check => "request.",
            Self::Confirm | Self::Renew | Self::Resize | Self::Release | Self::Cancel => "",
        }
    }
}

/// An operation that was parsed.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) kind: Kind,
    /// What the engine is asked.
    pub(super) operation: engine::Operation,
    /// Ids that name nothing, and where among all of them they stood. Most calls have none.
    nothing: Vec<(usize, String)>,
    /// It names one id: its fault is the call's.
    single: bool,
}

impl Parsed {
    fn of(kind: Kind, operation: engine::Operation) -> Self {
        Self { kind, operation, nothing: Vec::new(), single: false }
    }

    /// Whether it is to be answered with the numbers that it was decided from.
    pub(super) fn explains(&self) -> bool {
        match &self.operation {
            engine::Operation::Acquire { explain, .. }
            | engine::Operation::Check { explain, .. }
            | engine::Operation::Resize { explain, .. } => *explain,
            engine::Operation::Confirm(_)
            | engine::Operation::Renew { .. }
            | engine::Operation::Release(_)
            | engine::Operation::Cancel(_) => false,
        }
    }

    /// The request that may queue, which takes a ticket of its caller's.
    pub(super) fn may_queue(&self) -> Option<&Request> {
        match &self.operation {
            engine::Operation::Acquire { request, .. } => Some(&**request).filter(|request| request.wait),
            engine::Operation::Check { .. }
            | engine::Operation::Confirm(_)
            | engine::Operation::Renew { .. }
            | engine::Operation::Resize { .. }
            | engine::Operation::Release(_)
            | engine::Operation::Cancel(_) => None,
        }
    }
}

/// Parses one operation of a stream.
pub(super) fn operation(wire: Option<WireOperation>, caller: &Caller) -> Result<Parsed, Fault> {
    let Some(wire) = wire else { return Err(Fault::field("operation", "it is missing, or newer than this server")) };
    let parsed = match wire {
        WireOperation::Acquire(request) => acquire(request, caller),
        WireOperation::Check(request) => check(request, caller),
        WireOperation::Confirm(request) => confirm(request),
        WireOperation::Renew(request) => renew(request),
        WireOperation::Resize(request) => resize(request),
        WireOperation::Release(request) => release(request),
        WireOperation::Cancel(request) => cancel(request),
    }?;
    permitted(parsed, caller)
}

/// What was parsed, where its caller may do it.
pub(super) fn permitted(parsed: Parsed, caller: &Caller) -> Result<Parsed, Fault> {
    if caller.may(parsed.kind.permission()) {
        Ok(parsed)
    } else {
        Err(Fault::forbidden(caller, parsed.kind.permission()))
    }
}

pub(super) fn acquire(wire: v1::AcquireRequest, caller: &Caller) -> Result<Parsed, Fault> {
    let v1::AcquireRequest { request } = wire;
    parse::request(request, Named::Required, caller).map(to_acquire)
}

pub(super) fn to_acquire(asked: parse::Asked) -> Parsed {
    let parse::Asked { request, explain } = asked;
    Parsed::of(Kind::Acquire, engine::Operation::Acquire { request, explain })
}

pub(super) fn check(wire: v1::CheckQuotaRequest, caller: &Caller) -> Result<Parsed, Fault> {
    let v1::CheckQuotaRequest { request } = wire;
    parse::request(request, Named::Optional, caller).map(to_check)
}

pub(super) fn to_check(asked: parse::Asked) -> Parsed {
    let parse::Asked { request, explain } = asked;
    Parsed::of(Kind::Check, engine::Operation::Check { request, explain })
}

pub(super) fn confirm(wire: v1::ConfirmRequest) -> Result<Parsed, Fault> {
    let v1::ConfirmRequest { ids, holder } = wire;
    targeted(Kind::Confirm, parse::which(ids, &holder)?, engine::Operation::Confirm)
}

pub(super) fn release(wire: v1::ReleaseRequest) -> Result<Parsed, Fault> {
    let v1::ReleaseRequest { ids, holder } = wire;
    targeted(Kind::Release, parse::which(ids, &holder)?, engine::Operation::Release)
}

pub(super) fn cancel(wire: v1::CancelRequest) -> Result<Parsed, Fault> {
    let v1::CancelRequest { ids, holder } = wire;
    targeted(Kind::Cancel, parse::which(ids, &holder)?, engine::Operation::Cancel)
}

/// With ids, a holder is who holds them from now on.
pub(super) fn renew(wire: v1::RenewRequest) -> Result<Parsed, Fault> {
    let v1::RenewRequest { ids, holder } = wire;
    if ids.is_empty() || holder.is_empty() {
        return targeted(Kind::Renew, parse::which(ids, &holder)?, |target| engine::Operation::Renew {
            target,
            holder: None,
        });
    }
    let mut wrong = Violations::default();
    parse::check_ids(&mut wrong, "ids", &ids);
    let holder: Option<Holder> = parse::holder_name(&mut wrong, "holder", &holder);
    let holder = wrong.or(holder)?;
    targeted(Kind::Renew, Which::Ids(ids), |target| engine::Operation::Renew { target, holder: Some(holder) })
}

pub(super) fn resize(wire: v1::ResizeRequest) -> Result<Parsed, Fault> {
    let v1::ResizeRequest { ids, holder, resources, explain } = wire;
    let which = parse::which(ids, &holder)?;
    let mut wrong = Violations::default();
    if resources.is_empty() {
        wrong.add("resources", "none are named: say what each instance is to hold");
    }
    let resources = parse::amounts(&mut wrong, "resources", resources);
    let resources = wrong.or(resources)?;
    targeted(Kind::Resize, which, |target| engine::Operation::Resize { target, resources, explain })
}

/// An operation on one lease or ticket, of which nothing is said but its id; none where more must be said.
pub(super) fn plain(kind: Kind, id: LeaseId) -> Option<Parsed> {
    let target = Target::One(id);
    let operation = match kind {
        Kind::Confirm => engine::Operation::Confirm(target),
        Kind::Renew => engine::Operation::Renew { target, holder: None },
        Kind::Release => engine::Operation::Release(target),
        Kind::Cancel => engine::Operation::Cancel(target),
        Kind::Acquire | Kind::Check | Kind::Resize => return None,
    };
    Some(Parsed { single: true, ..Parsed::of(kind, operation) })
}

fn targeted(kind: Kind, which: Which, operation: impl FnOnce(Target) -> engine::Operation) -> Result<Parsed, Fault> {
    match which {
        Which::Holder(holder) => Ok(Parsed::of(kind, operation(Target::Holder(holder)))),
        Which::Ids(texts) => {
            let single = texts.len() == 1;
            let mut nothing = Vec::new();
            let mut ids = Vec::with_capacity(texts.len());
            for (at, text) in texts.into_iter().enumerate() {
                match LeaseId::parse(&text) {
                    Ok(id) => ids.push(id),
                    Err(_) => nothing.push((at, text)),
                }
            }
            let target = match ids.pop_if(|_| single) {
                Some(id) => Target::One(id),
                None => Target::Ids(ids),
            };
            Ok(Parsed { nothing, single, ..Parsed::of(kind, operation(target)) })
        }
    }
}

/// What is left of a [`Parsed`] when the engine has its operation: how the answer is told.
#[derive(Debug)]
pub(super) struct Telling {
    kind: Kind,
    /// What was to be decided, if it is that.
    pub(super) request: Option<Arc<Request>>,
    nothing: Vec<(usize, String)>,
    single: bool,
}

impl Parsed {
    /// Parts the operation from how its answer is told.
    pub(super) fn part(self) -> (engine::Operation, Telling) {
        let Self { kind, operation, nothing, single } = self;
        let request = match &operation {
            engine::Operation::Acquire { request, .. } | engine::Operation::Check { request, .. } => {
                Some(request.clone())
            }
            engine::Operation::Confirm(_)
            | engine::Operation::Renew { .. }
            | engine::Operation::Resize { .. }
            | engine::Operation::Release(_)
            | engine::Operation::Cancel(_) => None,
        };
        (operation, Telling { kind, request, nothing, single })
    }
}

impl Telling {
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether all ids that were named are ids, so that the engine answers each.
    pub(super) fn names_all(&self) -> bool {
        self.nothing.is_empty()
    }

    /// The answer, in the wire's words.
    pub(super) fn tell(self, service: &Service, done: Result<Done, EngineError>) -> Result<WireResult, Fault> {
        let Self { kind, request, nothing, single } = self;
        let at = kind.fields_at();
        let outcomes = match done.map_err(|error| Fault::engine(&error, at))? {
            Done::Decided(answer) => {
                let answer =
                    Some(service.answer(&answer, Detail::Whole, request.as_ref().map(|request| &request.pool)));
                return match kind {
                    Kind::Acquire => Ok(WireResult::Acquire(v1::AcquireResponse { answer })),
                    Kind::Check => Ok(WireResult::Check(v1::CheckQuotaResponse { answer })),
                    Kind::Confirm | Kind::Renew | Kind::Resize | Kind::Release | Kind::Cancel => Err(mismatch()),
                };
            }
            done @ (Done::One(_) | Done::Each(_)) => {
                let each = done.into_each();
                let detail = kind.detail();
                let mut outcomes = Vec::with_capacity(each.len() + nothing.len());
                let mut each = each.into_iter();
                let mut nothing = nothing.into_iter().peekable();
                loop {
                    if let Some((_, text)) = nothing.next_if(|(at, _)| *at == outcomes.len()) {
                        outcomes
                            .push((text.clone(), Err(Fault::not_found(format_args!("lease or ticket {text:.80}")))));
                    } else if let Some((id, done)) = each.next() {
                        let answer = done.map_err(|error| Fault::engine(&error, at));
                        outcomes.push((id.to_string(), answer.map(|answer| service.answer(&answer, detail, None))));
                    } else {
                        break;
                    }
                }
                outcomes
            }
        };
        let outcomes = if single { one(outcomes)? } else { outcomes.into_iter().map(outcome).collect() };
        match kind {
            Kind::Confirm => Ok(WireResult::Confirm(v1::ConfirmResponse { outcomes })),
            Kind::Renew => Ok(WireResult::Renew(v1::RenewResponse { outcomes })),
            Kind::Resize => Ok(WireResult::Resize(v1::ResizeResponse { outcomes })),
            Kind::Release => Ok(WireResult::Release(v1::ReleaseResponse { outcomes })),
            Kind::Cancel => Ok(WireResult::Cancel(v1::CancelResponse { outcomes })),
            Kind::Acquire | Kind::Check => Err(mismatch()),
        }
    }
}

type Told = (String, Result<v1::Answer, Fault>);

/// The outcome of the single id that was named: where it failed, the call does.
fn one(outcomes: Vec<Told>) -> Result<Vec<v1::Outcome>, Fault> {
    outcomes
        .into_iter()
        .map(|(id, answer)| answer.map(|answer| v1::Outcome { id, status: None, answer: Some(answer) }))
        .collect()
}

fn outcome((id, answer): Told) -> v1::Outcome {
    match answer {
        Ok(answer) => v1::Outcome { id, status: None, answer: Some(answer) },
        Err(fault) => v1::Outcome { id, status: Some(fault.into_wire()), answer: None },
    }
}

/// The engine answered another question: it answers each in its kind.
fn mismatch() -> Fault {
    Fault::new(tonic::Code::Internal, "the engine's answer is not of the operation's kind")
}

/// The result of one operation among many.
pub(super) fn result(tag: u64, told: Result<WireResult, Fault>) -> v1::OperationResult {
    match told {
        Ok(result) => v1::OperationResult { tag, status: None, result: Some(result) },
        Err(fault) => v1::OperationResult { tag, status: Some(fault.into_wire()), result: None },
    }
}
