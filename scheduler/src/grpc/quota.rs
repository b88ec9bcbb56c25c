//! `QuotaService`: decisions, and what keeps leases and tickets alive.

use std::pin::Pin;
use std::time::Duration;

use headgate_ledger::{Holder, Id, Name, RequestId, TenantPath};
use headgate_proto::v1;
use headgate_proto::v1::operation_result::Result as Told;
use headgate_proto::v1::quota_service_server::QuotaService;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::config::Permission;
use crate::engine::{Answer, EngineError, LeaseId, Stands, View};

use super::door::Call;
use super::fault::{Fault, Violations};
use super::operations;
use super::parse;
use super::render::{self, Detail};
use super::service::{Service, asker};
use super::{stream, watching};

/// Tickets of one answer up to which each is told why it waits: to find that out takes a walk of its pool.
const EXPLAINED_MAX: usize = 8;

/// `QuotaService`, on the engine.
#[derive(Clone, Debug)]
pub(super) struct Quota(pub(super) Service);

/// A call of its own that is one operation.
macro_rules! one {
    ($self:ident, $request:ident, $permission:ident, $caller:ident => $parsed:expr, $told:ident) => {{
        let call = $self.0.door.enter(&$request, Permission::$permission)?;
        let $caller = &call.caller;
        let message = $request.into_inner();
        let parsed = $parsed(message)?;
        match $self.0.operate(&call, parsed).await? {
            Told::$told(response) => Ok(Response::new(response)),
            _ => Err(Status::internal("the answer is not of the call's kind")),
        }
    }};
}

#[tonic::async_trait]
impl QuotaService for Quota {
    async fn check_quota(
        &self,
        request: Request<v1::CheckQuotaRequest>,
    ) -> Result<Response<v1::CheckQuotaResponse>, Status> {
        let call = self.0.door.enter(&request, Permission::Check)?;
        Ok(Response::new(self.check(&call, request.into_inner()).await?))
    }

    async fn acquire(&self, request: Request<v1::AcquireRequest>) -> Result<Response<v1::AcquireResponse>, Status> {
        one!(self, request, Acquire, caller => |message| operations::acquire(message, caller), Acquire)
    }

    type AcquireStreamStream = Pin<Box<dyn Stream<Item = Result<v1::AcquireStreamResponse, Status>> + Send>>;

    async fn acquire_stream(
        &self,
        request: Request<Streaming<v1::AcquireStreamRequest>>,
    ) -> Result<Response<Self::AcquireStreamStream>, Status> {
        // What each operation takes is seen where it is parsed.
        let call = self.0.door.enter(&request, Permission::Check)?;
        let room = call.caller.meter().stream().map_err(Fault::from)?;
        let answers = stream::begin(self.0.clone(), call, room, request.into_inner());
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn confirm(&self, request: Request<v1::ConfirmRequest>) -> Result<Response<v1::ConfirmResponse>, Status> {
        one!(self, request, Acquire, _caller => operations::confirm, Confirm)
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        one!(self, request, Acquire, _caller => operations::renew, Renew)
    }

    async fn resize(&self, request: Request<v1::ResizeRequest>) -> Result<Response<v1::ResizeResponse>, Status> {
        one!(self, request, Acquire, _caller => operations::resize, Resize)
    }

    async fn release(&self, request: Request<v1::ReleaseRequest>) -> Result<Response<v1::ReleaseResponse>, Status> {
        one!(self, request, Acquire, _caller => operations::release, Release)
    }

    async fn cancel(&self, request: Request<v1::CancelRequest>) -> Result<Response<v1::CancelResponse>, Status> {
        one!(self, request, Acquire, _caller => operations::cancel, Cancel)
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::GetResponse>, Status> {
        let call = self.0.door.enter(&request, Permission::Check)?;
        Ok(Response::new(self.get_any(&call, request.into_inner()).await?))
    }

    async fn r#await(&self, request: Request<v1::AwaitRequest>) -> Result<Response<v1::AwaitResponse>, Status> {
        let call = self.0.door.enter(&request, Permission::Check)?;
        Ok(Response::new(self.wait(&call, request.into_inner()).await?))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::WatchResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let call = self.0.door.enter(&request, Permission::Check)?;
        let room = call.caller.meter().stream().map_err(Fault::from)?;
        let asked = watching::parse(request.into_inner(), &call)?;
        let responses = watching::begin(self.0.clone(), call, asked, room).await?;
        Ok(Response::new(Box::pin(ReceiverStream::new(responses))))
    }
}

/// What one `Get` names.
enum Named {
    Ids(Vec<String>),
    Requests(TenantPath, Vec<String>),
    Holder(Holder),
}

impl Quota {
    /// A check of its own takes no lock: it reads what is published.
    async fn check(&self, call: &Call, wire: v1::CheckQuotaRequest) -> Result<v1::CheckQuotaResponse, Fault> {
        let _room = call.caller.meter().operation()?;
        let v1::CheckQuotaRequest { request } = wire;
        let parse::Asked { request, explain } = parse::request(request, parse::Named::Optional, &call.caller)?;
        let pool = request.pool.clone();
        let asker = asker(&call.caller);
        let answer = call.deadline.bound(self.0.engine.check(&asker, request, explain)).await?;
        let answer = answer.map_err(|error| Fault::engine(&error, "request."))?;
        Ok(v1::CheckQuotaResponse { answer: Some(self.0.answer(&answer, Detail::Whole, Some(&pool))) })
    }

    async fn get_any(&self, call: &Call, wire: v1::GetRequest) -> Result<v1::GetResponse, Fault> {
        let _room = call.caller.meter().operation()?;
        let asker = asker(&call.caller);
        let engine = &self.0.engine;
        let (single, found) = match named(wire)? {
            Named::Ids(texts) => {
                let ids: Vec<_> = texts.iter().filter_map(|text| LeaseId::parse(text).ok()).collect();
                let found = call.deadline.bound(engine.get(&asker, &ids)).await?;
                let single = (texts.len() == 1).then(|| format!("lease or ticket {:.80}", texts[0]));
                (single, found)
            }
            Named::Holder(holder) => (None, call.deadline.bound(engine.get_held(&asker, &holder)).await?),
            Named::Requests(tenant, texts) => {
                let mut found = Vec::with_capacity(texts.len());
                for text in &texts {
                    let Ok(id) = RequestId::parse(text) else { continue };
                    match call.deadline.bound(engine.get_request(&asker, &tenant, &id)).await? {
                        Ok(known) => found.push(known),
                        Err(EngineError::NoRequest { .. }) => {}
                        Err(error) => return Err(Fault::engine(&error, "")),
                    }
                }
                let single = (texts.len() == 1).then(|| format!("request {:.80} of tenant {tenant}", texts[0]));
                (single, found)
            }
        };
        if let (Some(what), []) = (single, &found[..]) {
            return Err(Fault::not_found(what));
        }
        Ok(self.told(found))
    }

    fn told(&self, mut found: Vec<(LeaseId, Stands)>) -> v1::GetResponse {
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found.dedup_by(|a, b| a.0 == b.0);
        let mut response = v1::GetResponse::default();
        let mut tickets: Vec<(Name, v1::Ticket, Id)> = Vec::new();
        for (LeaseId { cell, number }, stands) in &found {
            match stands {
                Stands::Ticket { ticket, silent_at } => {
                    tickets.push((cell.clone(), render::ticket(cell, ticket, *silent_at), *number));
                }
                Stands::Lease(lease) => response.leases.push(render::lease(cell, lease)),
                Stands::Ended { ended, holder } => {
                    response.ended.push(render::ended(cell, ended, holder.as_ref()));
                }
            }
        }
        let explained = tickets.len() <= EXPLAINED_MAX;
        for (cell, ticket, number) in &mut tickets {
            if explained {
                // A cell that is gone meanwhile tells nothing more.
                let _ = self.0.engine.peek(cell, |view| complete(view, *number, ticket));
            }
        }
        response.tickets = tickets.into_iter().map(|(_, ticket, _)| ticket).collect();
        response
    }

    async fn wait(&self, call: &Call, wire: v1::AwaitRequest) -> Result<v1::AwaitResponse, Fault> {
        let _room = call.caller.meter().wait()?;
        let v1::AwaitRequest { id, tenant, request_id, timeout } = wire;
        let mut wrong = Violations::default();
        let timeout = parse::span(&mut wrong, "timeout", timeout);
        wrong.or(Some(()))?;
        let asker = asker(&call.caller);
        let engine = &self.0.engine;
        let id = match (id.is_empty(), request_id.is_empty()) {
            (false, true) if tenant.is_empty() => {
                LeaseId::parse(&id).map_err(|_| Fault::not_found(format_args!("lease or ticket {id:.80}")))?
            }
            (true, false) => {
                let mut wrong = Violations::default();
                let tenant = parse::tenant_path(&mut wrong, "tenant", &tenant);
                let request = wrong.take("request_id", RequestId::parse(&request_id));
                let (tenant, request) = wrong.or(tenant.zip(request))?;
                let known = call.deadline.bound(engine.get_request(&asker, &tenant, &request)).await?;
                known.map_err(|error| Fault::engine(&error, ""))?.0
            }
            (false, true | false) | (true, true) => {
                return Err(Fault::field("id", "name one of the two: an id, or a tenant and a request_id"));
            }
        };
        let waiting = call.deadline.bound(engine.wait_for(&asker, &id));
        let answer = tokio::select! {
            answer = waiting => Some(answer?),
            () = after(timeout) => None,
            () = self.0.readiness.stopping() => return Err(stream::stopping()),
        };
        let answer = match answer {
            Some(answer) => answer.map_err(|error| Fault::engine(&error, ""))?,
            None => self.standing(call, &id).await?,
        };
        Ok(v1::AwaitResponse { answer: Some(self.0.answer(&answer, Detail::Whole, None)) })
    }

    /// Where a ticket stands when nobody waits for it any longer.
    async fn standing(&self, call: &Call, id: &LeaseId) -> Result<Answer, Fault> {
        let known = self.0.engine.get(&asker(&call.caller), std::slice::from_ref(id)).await.pop();
        let (LeaseId { cell, number }, stands) =
            known.ok_or_else(|| Fault::not_found(format_args!("lease or ticket {id}")))?;
        let explained = match &stands {
            Stands::Ticket { .. } => {
                self.0.engine.peek(&cell, |view| view.explain_id(view.now(), number)).ok().flatten()
            }
            Stands::Lease(_) | Stands::Ended { .. } => None,
        };
        Ok(Answer {
            cell,
            outcome: stands.outcome(),
            position: explained.as_ref().and_then(|explained| explained.position),
            expected_wait: explained.as_ref().and_then(|explained| explained.expected_wait),
            reasons: explained.map(|explained| explained.reasons).unwrap_or_default(),
            stands: Some((&stands).into()),
            repeated: true,
            would_be: None,
            enforce: headgate_ledger::Enforce::default(),
            explanation: None,
        })
    }
}

/// Waits for a time; for ever where none is said.
async fn after(timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => tokio::time::sleep(timeout).await,
        None => std::future::pending().await,
    }
}

/// Tells of a ticket what changes with others': its place, why it waits, and what is spoken for it.
pub(super) fn complete(view: &View<'_>, id: Id, ticket: &mut v1::Ticket) {
    render::spoken_for(view, id, ticket);
    if let Some(explanation) = view.explain_id(view.now(), id) {
        ticket.position = explanation.position.unwrap_or_default();
        ticket.expected_wait = explanation.expected_wait.and_then(render::span);
        ticket.reasons = render::reasons(&explanation.reasons);
    }
}

fn named(wire: v1::GetRequest) -> Result<Named, Fault> {
    let v1::GetRequest { ids, tenant, request_ids, holder } = wire;
    let mut wrong = Violations::default();
    parse::check_ids(&mut wrong, "ids", &ids);
    parse::check_ids(&mut wrong, "request_ids", &request_ids);
    let by_request = !tenant.is_empty() || !request_ids.is_empty();
    let named = match (ids.is_empty(), by_request, holder.is_empty()) {
        (false, false, true) => Some(Named::Ids(ids)),
        (true, true, true) => {
            if request_ids.is_empty() {
                wrong.add("request_ids", "none are named: name the requests of the tenant that are meant");
            }
            parse::tenant_path(&mut wrong, "tenant", &tenant).map(|tenant| Named::Requests(tenant, request_ids))
        }
        (true, false, false) => wrong.take("holder", Holder::parse(&holder)).map(Named::Holder),
        (true, false, true) => {
            wrong.add("ids", "nothing is named: name ids, or a tenant and request_ids, or a holder");
            None
        }
        (false, _, _) | (true, true, false) => {
            wrong.add("ids", "more is named than one: name ids, or a tenant and request_ids, or a holder");
            None
        }
    };
    wrong.or(named)
}
