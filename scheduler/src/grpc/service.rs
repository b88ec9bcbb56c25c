//! What both services stand on.

use std::sync::Arc;

use headgate_ledger::{Name, TenantPath};
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

impl Service {
    /// Does one operation of a call of its own.
    pub(super) async fn operate(&self, call: &Call, parsed: Parsed) -> Result<v1::operation_result::Result, Fault> {
        let meter = call.caller.meter();
        let _room = meter.operation()?;
        if parsed.may_queue {
            self.may_queue(&call.caller)?;
        }
        let (operation, telling) = parsed.part();
        let asker = asker(&call.caller);
        let done = call.deadline.bound(self.engine.operate(&asker, vec![operation])).await?.pop();
        let done = done.unwrap_or_else(|| unreachable!("one operation has one answer"));
        self.took(&call.caller, &done);
        telling.tell(self, done)
    }

    /// Whether a caller may have another ticket.
    pub(super) fn may_queue(&self, caller: &Caller) -> Result<(), Fault> {
        let waits =
            |id: &engine::LeaseId| self.engine.peek(&id.cell, |view| view.ticket(id.number).is_some()).unwrap_or(false);
        Ok(caller.meter().may_queue(waits)?)
    }

    /// Notes what a caller was given, and logs it where its trace is sampled.
    pub(super) fn took(&self, caller: &Caller, done: &Result<Done, EngineError>) {
        let Ok(Done::Decided(answer)) = done else { return };
        let Answer { outcome, stands, reasons, would_be, .. } = answer;
        if let Some(engine::Stands::Ticket { .. }) = stands
            && let Some(id) = answer.id()
        {
            caller.meter().queued(id);
        }
        if tracing::Span::current().is_none() && !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let id = answer.id().map(|id| id.to_string()).unwrap_or_default();
        let tenant = stands.as_ref().map(|stands| stands.tenant().to_string()).unwrap_or_default();
        let reason = reasons.first().map_or("", |reason| reason.code.word());
        let would_be = would_be.map_or("", headgate_ledger::Outcome::word);
        let decision = outcome.word();
        if tracing::Span::current().is_none() {
            tracing::debug!(caller = &**caller.name(), decision, id, tenant, reason, would_be, "decided");
        } else {
            tracing::info!(caller = &**caller.name(), decision, id, tenant, reason, would_be, "decided");
        }
    }

    /// An answer, with its explanation where it has one; of a request for `pool`, where it stands nowhere.
    pub(super) fn answer(&self, answer: &Answer, detail: Detail, pool: Option<&Name>) -> v1::Answer {
        let turns = |tenant: &TenantPath, budget: &Name| {
            let ends = |view: &engine::View<'_>| Some(view.budget(tenant.as_str(), budget.as_str())?.ends);
            self.engine.peek(&answer.cell, ends).ok().flatten()
        };
        let explanation = answer.explanation.as_deref().and_then(|explanation| {
            let pool = answer.stands.as_ref().map(render::pool_of).or(pool)?;
            self.engine.peek(&answer.cell, |view| render::explanation(view, pool, explanation)).ok()
        });
        v1::Answer { explanation, ..render::answer(answer, detail, &turns) }
    }
}
