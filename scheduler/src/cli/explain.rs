//! Why it waits, and who holds what.

use clap::Args;
use headgate_proto::v1;
use headgate_proto::v1::explain_request::What;

use super::connect::{Server, ServerArgs};
use super::fault::Fault;
use super::get::{lease_table, list_leases, list_queue, list_usage, ticket_table, usage_table};
use super::json;
use super::output::Output;
use super::{DONE, Outcome, text};

/// What is explained.
#[derive(Debug, Args)]
#[command(after_help = "A request that was not made yet is explained by `headgate check --explain`.")]
pub(super) struct ExplainArgs {
    /// tenant/PATH, ticket/ID or lease/ID
    #[arg(value_name = "KIND/NAME")]
    what: String,
    /// The pool in which a tenant is explained
    #[arg(short, long, value_name = "NAME", default_value = "default")]
    pool: String,
}

/// Of whom it is asked.
#[derive(Debug, Args)]
pub(super) struct WhyArgs {
    /// A tenant's path, or ticket/ID. The whole pool, if not said
    #[arg(value_name = "TENANT")]
    what: Option<String>,
    /// The pool
    #[arg(short, long, value_name = "NAME", default_value = "default")]
    pool: String,
}

/// What `tenant/…`, `ticket/…` and `lease/…` stand for; none where it is none of them.
fn target(text: &str) -> Option<What> {
    let (kind, name) = text.split_once('/')?;
    match kind {
        _ if name.is_empty() => None,
        "tenant" => Some(What::Tenant(name.to_owned())),
        "ticket" => Some(What::TicketId(name.to_owned())),
        "lease" => Some(What::LeaseId(name.to_owned())),
        _ => None,
    }
}

pub(super) async fn explain(ExplainArgs { what, pool }: ExplainArgs, server: &ServerArgs, out: Output) -> Outcome {
    let target = target(&what).ok_or_else(|| {
        Fault::Usage(format!(
            "{what} cannot be explained: name tenant/PATH, ticket/ID or lease/ID, such as tenant/acme/ml"
        ))
    })?;
    let answer = ask(&server.server()?, target, pool).await?;
    out.print(|| json::explained(&answer), || explained(&answer))?;
    Ok(DONE)
}

pub(super) async fn why(WhyArgs { what, pool }: WhyArgs, server: &ServerArgs, out: Output) -> Outcome {
    let server = server.server()?;
    let (tickets, mut tenants, reclaiming) = match what.as_deref().map(|what| (target(what), what)) {
        Some((Some(What::Tenant(tenant)), _)) => of_tenant(&server, tenant, pool).await?,
        Some((Some(ticket_or_lease), _)) => {
            let v1::ExplainResponse { subject, tenants, reclaiming, .. } = ask(&server, ticket_or_lease, pool).await?;
            let ticket = match subject {
                Some(v1::explain_response::Subject::Ticket(ticket)) => Some(ticket),
                Some(v1::explain_response::Subject::Lease(_)) | None => None,
            };
            (ticket.into_iter().collect(), tenants, reclaiming)
        }
        Some((None, tenant)) => of_tenant(&server, tenant.to_owned(), pool).await?,
        None => of_tenant(&server, String::new(), pool).await?,
    };
    tenants.retain(|tenant| !tenant.tenant.is_empty() && tenant.resources.iter().any(|held| held.usage > 0));
    tenants.sort_by(|a, b| {
        let above = |usage: &v1::Usage| usage.resources.iter().any(|held| held.borrowed > 0);
        (above(b).cmp(&above(a))).then(b.weighted_share.total_cmp(&a.weighted_share)).then(a.tenant.cmp(&b.tenant))
    });
    out.print(
        || json::items(&tenants, json::usage),
        || {
            let mut text = String::new();
            if !tickets.is_empty() {
                text.push_str("what waits:\n");
                text.push_str(&ticket_table(&tickets));
                text.push('\n');
            }
            if !reclaiming.is_empty() {
                text.push_str("what gives way:\n");
                text.push_str(&lease_table(&reclaiming));
                text.push('\n');
            }
            text.push_str("who holds what, above guarantee first:\n");
            text.push_str(&usage_table(&tenants));
            text
        },
    )?;
    Ok(DONE)
}

/// What a tenant waits for, everybody who holds something in the pool, and what gives way there.
async fn of_tenant(server: &Server, tenant: String, pool: String) -> Result<Standing, Fault> {
    let tickets = list_queue(server, tenant, pool.clone()).await?;
    let usage = list_usage(server, String::new(), pool.clone(), None).await?.usage;
    let reclaiming = v1::ListLeasesRequest { pool, state: v1::State::Reclaiming.into(), ..Default::default() };
    Ok((tickets, usage, list_leases(server, reclaiming).await?))
}

/// Tickets, who holds what, and leases that give way.
type Standing = (Vec<v1::Ticket>, Vec<v1::Usage>, Vec<v1::Lease>);

async fn ask(server: &Server, what: What, pool: String) -> Result<v1::ExplainResponse, Fault> {
    let message = v1::ExplainRequest { what: Some(what), pool };
    let call = || {
        let (mut admin, message) = (server.admin(), server.soon(message.clone()));
        async move { admin.explain(message).await }
    };
    server.call(call).await
}

fn explained(explained: &v1::ExplainResponse) -> String {
    use v1::explain_response::Subject;
    let v1::ExplainResponse { subject, answer, reclaiming, tenants } = explained;
    let mut text = String::new();
    match subject {
        Some(Subject::Ticket(ticket)) => text.push_str(&ticket_table(std::slice::from_ref(ticket))),
        Some(Subject::Lease(lease)) => text.push_str(&lease_table(std::slice::from_ref(lease))),
        None => {}
    }
    if let Some(answer) = answer {
        if subject.is_some() {
            text.push('\n');
        }
        match subject {
            Some(Subject::Ticket(_)) => text.push_str(&text::answer(answer, false)),
            // The table has said where a lease stands; a tenant asked for nothing.
            Some(Subject::Lease(_)) | None => {
                text.push_str(&text::reasons(&answer.reasons));
                if let Some(numbers) = &answer.explanation {
                    text.push_str(&text::explanation(numbers));
                }
            }
        }
    }
    if !reclaiming.is_empty() {
        text.push_str("\ngiving way:\n");
        text.push_str(&lease_table(reclaiming));
    }
    if !tenants.is_empty() {
        text.push_str("\nwho holds what:\n");
        text.push_str(&usage_table(tenants));
    }
    text
}
