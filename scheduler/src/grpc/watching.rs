//! Watches: the present state, then what happens, for as long as the caller listens.

use std::time::Duration;

use headgate_ledger::{Id, Name, TenantPath, default_cell};
use headgate_proto::v1;
use headgate_proto::v1::watch_response::What;
use tokio::sync::mpsc;
use tonic::{Code, Status};

use crate::auth::Admitted;
use crate::engine::{Dropped, Filter, LeaseId, Stands, Told, Watch};

use super::door::Call;
use super::fault::{Fault, Violations};
use super::parse;
use super::render;
use super::service::{Service, asker};
use super::stream::stopping;

/// How often one hears that its watch is alive where nothing happens; a resume after it skips what was not for it.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(5);
/// Responses that the caller has not taken yet, beside what the engine keeps for it.
const RESPONSES_MAX: usize = 16;

/// What a caller asks to watch.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    cell: Name,
    filter: Filter,
    after: Option<u64>,
    /// Ids were named, whether or not they could be ids.
    ids_named: bool,
}

/// Parses what a caller asks to watch; it is seen through what the caller may see.
pub(super) fn parse(wire: v1::WatchRequest, call: &Call) -> Result<Asked, Fault> {
    let v1::WatchRequest { tenant, holder, ids, after_sequence, cell } = wire;
    let mut wrong = Violations::default();
    let cell = if cell.is_empty() { Some(default_cell()) } else { wrong.take("cell", Name::parse(&cell)) };
    let subtree: Option<TenantPath> =
        if tenant.is_empty() { None } else { wrong.take("tenant", TenantPath::parse(&tenant)) };
    let holder = parse::holder_name(&mut wrong, "holder", &holder);
    parse::check_ids(&mut wrong, "ids", &ids);
    let cell = wrong.or(cell)?;
    if let Some(subtree) = subtree.as_ref().filter(|subtree| !meets(call, subtree)) {
        return Err(Fault::not_found(format_args!("tenant {subtree}")));
    }
    let ids_named = !ids.is_empty();
    let parsed = ids.iter().filter_map(|id| LeaseId::parse(id).ok()).filter(|id| id.cell == cell);
    let ids: Vec<_> = parsed.map(|id| id.number).collect();
    if ids_named && ids.is_empty() {
        return Err(Fault::not_found("lease or ticket of these ids"));
    }
    let filter = Filter { tenant: subtree, holder, ids, scope: asker(&call.caller).scope };
    Ok(Asked { cell, filter, after: after_sequence, ids_named })
}

/// Whether a caller may see something of a subtree.
fn meets(call: &Call, subtree: &TenantPath) -> bool {
    let subtrees = call.caller.subtrees();
    call.caller.sees(subtree.as_str()) || subtrees.iter().any(|mine| subtree.covers(mine.as_str()))
}

/// Begins to watch; what is returned are the responses.
pub(super) async fn begin(
    service: Service,
    call: Call,
    asked: Asked,
    room: Admitted,
) -> Result<mpsc::Receiver<Result<v1::WatchResponse, Status>>, Fault> {
    let Asked { cell, filter, after, ids_named } = asked;
    // What was resumed may have ended meanwhile, and been forgotten.
    if ids_named && after.is_none() {
        let id = |number: &Id| LeaseId { cell: cell.clone(), number: *number };
        let ids: Vec<_> = filter.ids.iter().map(id).collect();
        if service.engine.get(&asker(&call.caller), &ids).await.is_empty() {
            return Err(Fault::not_found("lease or ticket of these ids"));
        }
    }
    let watch = call.deadline.bound(service.engine.watch(&cell, filter, after)).await?;
    let watch = watch.map_err(|error| Fault::engine(&error, ""))?;
    let (responses, receiver) = mpsc::channel(RESPONSES_MAX);
    tokio::spawn(async move {
        let end = tell(&service, &call, watch, &responses).await;
        if let Err(fault) = end {
            // Where nobody listens any more, there is nobody to tell.
            let _ = responses.send(Err(fault.into())).await;
        }
        drop(room);
    });
    Ok(receiver)
}

/// Tells until the caller stops listening (that is no fault), or until it cannot go on.
async fn tell(
    service: &Service,
    call: &Call,
    mut watch: Watch,
    responses: &mpsc::Sender<Result<v1::WatchResponse, Status>>,
) -> Result<(), Fault> {
    let cell = watch.cell().clone();
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    heartbeat.reset();
    loop {
        let response = tokio::select! {
            biased;
            () = responses.closed() => return Ok(()),
            () = call.deadline.passed() => return Err(Fault::deadline()),
            () = service.readiness.stopping() => return Err(stopping()),
            told = watch.next() => match told {
                Ok(told) => response(&cell, told),
                Err(Dropped::Slow) => return Err(Fault::new(
                    Code::ResourceExhausted,
                    "this watch did not keep up, and was cut off: resume after the last sequence that was received",
                )),
                Err(Dropped::Closing) => return Err(stopping()),
            },
            _ = heartbeat.tick() => match watch.up_to() {
                Some(sequence) => v1::WatchResponse { sequence, what: Some(What::Heartbeat(v1::Heartbeat {})) },
                None => continue,
            },
        };
        heartbeat.reset();
        let sent = tokio::select! {
            biased;
            sent = responses.send(Ok(response)) => sent,
            // A caller that takes nothing does not hold up the end of the server.
            () = service.readiness.stopping() => return Err(stopping()),
        };
        if sent.is_err() {
            return Ok(());
        }
    }
}

fn response(cell: &Name, told: Told) -> v1::WatchResponse {
    match told {
        Told::Present { sequence, stands, complete } => {
            let mut present = v1::Present { complete, ..v1::Present::default() };
            for one in &stands {
                match one {
                    Stands::Ticket { ticket, silent_at } => {
                        present.tickets.push(render::ticket(cell, ticket, *silent_at));
                    }
                    Stands::Lease(lease) => present.leases.push(render::lease(cell, lease)),
                    // The present state is of what is there.
                    Stands::Ended { .. } => {}
                }
            }
            v1::WatchResponse { sequence, what: Some(What::Present(present)) }
        }
        Told::Happened(happened) => v1::WatchResponse {
            sequence: happened.sequence,
            what: Some(What::Events(render::happened(cell, &happened))),
        },
    }
}
