//! What both services stand on.

use std::sync::Arc;

use headgate_ledger::{Name, Request};
use headgate_proto::v1;

use crate::auth::Caller;
use crate::engine::{self, Answer, Done, Engine, EngineError};
use crate::persist::Surface;
use crate::ready::Readiness;

use super::door::{Call, Door};
use super::fault::Fault;
use super::operations::Parsed;
use super::render::{self, Detail};

/// What both services stand on.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) engine: Arc<Engine>,
    pub(super) door: Door,
    pub(super) readiness: Readiness,
}

/// A caller, as the engine knows them: whose leases and tickets they may see and touch.
pub(super) fn asker(caller: &Caller) -> engine::Caller {
    let scope = if caller.sees_all() { engine::Scope::All } else { engine::Scope::Subtrees(caller.subtrees().clone()) };
    engine::Caller { actor: caller.name().clone(), surface: Surface::Grpc, scope }
}

/// Whether decisions are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Logged {
    Not,
    /// Debugging is on.
    Debugging,
    /// The trace that they belong to is sampled.
    Sampled,
}

impl Logged {
    /// What holds where this is asked, for all that is decided together there.
    pub(super) fn now() -> Self {
        if !tracing::Span::current().is_none() {
            Self::Sampled
        } else if tracing::enabled!(tracing::Level::DEBUG) {
            Self::Debugging
        } else {
            Self::Not
        }
    }
}

impl Service {
    /// Does one operation of a call of its own.
    pub(super) async fn operate(&self, call: &Call, parsed: Parsed) -> Result<v1::operation_result::Result, Fault> {
        let meter = call.caller.meter();
        let _room = meter.operation()?;
        self.check_room(&call.caller, &parsed)?;
        let (operation, telling) = parsed.part();
        let asker = asker(&call.caller);
        let done = call.deadline.bound(self.engine.operate(&asker, vec![operation])).await?.pop();
        let done = done.unwrap_or_else(|| unreachable!("one operation has one answer"));
        self.took(&call.caller, Logged::now(), telling.request.as_deref(), &done);
        telling.tell(self, done)
    }

    /// Checks that a caller may have another ticket, where one may come of it.
    pub(super) fn check_room(&self, caller: &Caller, parsed: &Parsed) -> Result<(), Fault> {
        let Some(request) = parsed.may_queue() else { return Ok(()) };
        let waits =
            |id: &engine::LeaseId| self.engine.peek(&id.cell, |view| view.ticket(id.number).is_some()).unwrap_or(false);
        let Err(busy) = caller.meter().may_queue(waits) else { return Ok(()) };
        // One that was made before takes no other ticket.
        let known = |view: &engine::View<'_>| view.find(&request.tenant, request.id.as_str()).is_some();
        let known = self.engine.cell_of(&request.pool).and_then(|cell| self.engine.peek(cell, known));
        if known.unwrap_or(false) { Ok(()) } else { Err(busy.into()) }
    }

    /// Notes what a caller was given, and logs it: where its trace is sampled, or debugging is.
    pub(super) fn took(
        &self,
        caller: &Caller,
        logged: Logged,
        asked: Option<&Request>,
        done: &Result<Done, EngineError>,
    ) {
        let Ok(Done::Decided(answer)) = done else { return };
        if let Some(engine::Footing::Ticket { .. }) = answer.stands
            && let Some(id) = answer.id()
        {
            caller.meter().queued(id);
        }
        if logged == Logged::Not {
            return;
        }
        let Answer { outcome, reasons, would_be, .. } = answer;
        let id = answer.id().map(|id| id.to_string()).unwrap_or_default();
        let (tenant, request_id) = asked.map(|asked| (asked.tenant.as_str(), asked.id.as_str())).unwrap_or_default();
        let reason = reasons.first().map_or("", |reason| reason.code.word());
        let would_be = would_be.map_or("", headgate_ledger::Outcome::word);
        let (caller, decision) = (&**caller.name(), outcome.word());
        if logged == Logged::Sampled {
            tracing::info!(decision, id, tenant, request_id, reason, would_be, caller, "decided");
        } else {
            tracing::debug!(decision, id, tenant, request_id, reason, would_be, caller, "decided");
        }
    }

    /// An answer, with its explanation where it has one; of a request for `pool`, where it stands nowhere.
    pub(super) fn answer(&self, answer: &Answer, detail: Detail, pool: Option<&Name>) -> v1::Answer {
        let explanation = answer.explanation.as_deref().and_then(|explanation| {
            let told = self.engine.peek(&answer.cell, |view| {
                let stands = answer.stands.as_ref().and_then(|stands| view.stands(stands.id()));
                let pool = stands.as_ref().map(render::pool_of).or(pool)?;
                Some(render::explanation(view, view.now(), pool, explanation))
            });
            told.ok().flatten()
        });
        v1::Answer { explanation, ..render::answer(answer, detail) }
    }
}
