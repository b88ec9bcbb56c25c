//! `headgate watch`: the present state, then what happens, a line each.

use clap::Args;
use headgate_proto::v1;
use serde_json::Value;
use tonic::Code;

use super::connect::{Pauses, ServerArgs};
use super::json::{self, word};
use super::output::{Format, Output, complain, line};
use super::{Outcome, text};

/// What is watched: that which matches all that is given.
#[derive(Debug, Args)]
#[command(
    after_help = "It goes on until it is interrupted, and takes up again where it was when the connection breaks."
)]
pub(super) struct WatchArgs {
    /// Leases and tickets
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// A tenant and all below it
    #[arg(short, long, value_name = "PATH")]
    tenant: Option<String>,
    /// What this holder keeps alive
    #[arg(long, value_name = "NAME")]
    holder: Option<String>,
    /// Go on after this sequence number, without the present state
    #[arg(long, value_name = "N")]
    after: Option<u64>,
    /// The cell; each has its own sequence numbers
    #[arg(long, value_name = "NAME", default_value = "main")]
    cell: String,
}

pub(super) async fn watch(args: WatchArgs, server: &ServerArgs, out: Output) -> Outcome {
    let WatchArgs { ids, tenant, holder, after, cell } = args;
    let server = server.server()?;
    let mut message = v1::WatchRequest {
        tenant: tenant.unwrap_or_default(),
        holder: holder.unwrap_or_default(),
        ids,
        after_sequence: after,
        cell,
    };
    let mut pauses = Pauses::default();
    let (mut connected, mut told) = (false, false);
    loop {
        let ended = match server.answered(server.quota().watch(message.clone()).await) {
            Ok(mut stream) => {
                if std::mem::take(&mut told) {
                    complain("the server is there again; the watch goes on");
                }
                connected = true;
                loop {
                    match stream.message().await {
                        Ok(Some(response)) => {
                            pauses = Pauses::default();
                            for text in lines(&response, out.format) {
                                line(&text)?;
                            }
                            // Until the present state is complete, there is nothing to go on after.
                            let complete = !matches!(
                                &response.what,
                                Some(v1::watch_response::What::Present(present)) if !present.complete
                            );
                            if complete {
                                message.after_sequence = Some(response.sequence);
                            }
                        }
                        Ok(None) => break None,
                        Err(status) => break Some(server.fault(status)),
                    }
                }
            }
            Err(fault) => Some(fault),
        };
        let code = ended.as_ref().and_then(super::fault::Fault::code);
        match ended {
            Some(fault) if code == Some(Code::OutOfRange) && connected => {
                complain(&format!("{fault}; it begins again with the present state"));
                message.after_sequence = None;
            }
            Some(fault) if !connected || !(fault.passes() || code == Some(Code::ResourceExhausted)) => {
                return Err(fault);
            }
            Some(fault) if !told => {
                complain(&format!("{fault}; the watch is taken up again"));
                told = true;
            }
            Some(_) | None => {}
        }
        pauses.pause(None).await;
    }
}

/// What a response says, a line for each lease, ticket or event.
fn lines(response: &v1::WatchResponse, format: Format) -> Vec<String> {
    use v1::watch_response::What;
    let sequence = response.sequence;
    match &response.what {
        Some(What::Present(v1::Present { tickets, leases, complete })) => {
            let tickets = tickets.iter().map(|ticket| match format {
                Format::Json => present(sequence, "ticket", json::ticket(ticket)),
                Format::Text => format!("{sequence}\tpresent\t{}", told_ticket(ticket)),
            });
            let leases = leases.iter().map(|lease| match format {
                Format::Json => present(sequence, "lease", json::lease(lease)),
                Format::Text => format!("{sequence}\tpresent\t{}", told_lease(lease)),
            });
            let end = (*complete && format == Format::Json)
                .then(|| serde_json::json!({"sequence": sequence, "complete": true}).to_string());
            tickets.chain(leases).chain(end).collect()
        }
        Some(What::Events(v1::Events { events })) => events.iter().map(|event| one(sequence, event, format)).collect(),
        Some(What::Heartbeat(v1::Heartbeat {})) | None => Vec::new(),
    }
}

fn present(sequence: u64, name: &str, value: Value) -> String {
    serde_json::json!({"sequence": sequence, "kind": "present", name: value}).to_string()
}

fn one(sequence: u64, event: &v1::Event, format: Format) -> String {
    use v1::event::After;
    if format == Format::Json {
        return json::event(sequence, event).to_string();
    }
    let after = match &event.after {
        Some(After::Ticket(ticket)) => told_ticket(ticket),
        Some(After::Lease(lease)) => told_lease(lease),
        Some(After::Ended(ended)) => {
            format!("{} of {}: {}", ended.id, ended.tenant, word!(EndCause, ended.cause).unwrap_or("ended"))
        }
        None => String::new(),
    };
    let time = event.time.as_ref().map(ToString::to_string).unwrap_or_default();
    format!("{sequence}\t{time}\t{}\t{after}", word!(EventKind, event.kind).unwrap_or("changed"))
}

fn told_ticket(ticket: &v1::Ticket) -> String {
    let v1::Ticket { ticket_id, tenant, resources, count, .. } = ticket;
    format!("ticket {ticket_id} of {tenant}: waits for {count} of {}", text::amounts(resources))
}

fn told_lease(lease: &v1::Lease) -> String {
    let state = word!(State, lease.state).unwrap_or("active");
    let mut told =
        format!("lease {} of {}: {state}, holds {}", lease.lease_id, lease.tenant, text::amounts(&lease.charged));
    if let Some(deadline) = &lease.deadline {
        told.push_str(&format!("; must give way by {}", text::instant(deadline)));
    }
    told
}
