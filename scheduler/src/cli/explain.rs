//! Why it waits, and who holds what.

use clap::Args;
use headgate_proto::v1;
use headgate_proto::v1::explain_request::What;

use super::connect::{Server, ServerArgs};
use super::fault::Fault;
use super::get::{lease_table, ticket_table, usage_table};
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
    /// A tenant's path, or ticket/ID or lease/ID
    #[arg(value_name = "TENANT")]
    what: String,
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
    let target = target(&what).unwrap_or(What::Tenant(what));
    let answer = ask(&server.server()?, target, pool).await?;
    let v1::ExplainResponse { answer: decided, tenants, reclaiming, .. } = &answer;
    let reasons = decided.as_ref().map(|answer| text::reasons(&answer.reasons)).unwrap_or_default();
    out.print(
        || json::items(tenants, json::usage),
        || {
            let mut text = reasons;
            text.push_str(&usage_table(tenants, &[]));
            if !reclaiming.is_empty() {
                text.push_str("\ngiving way:\n");
                text.push_str(&lease_table(reclaiming));
            }
            text
        },
    )?;
    Ok(DONE)
}

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
            text.push_str(&text::answer(answer, false));
        } else {
            text.push_str(&text::reasons(&answer.reasons));
            if let Some(numbers) = &answer.explanation {
                text.push_str(&text::explanation(numbers));
            }
        }
    }
    if !reclaiming.is_empty() {
        text.push_str("\ngiving way:\n");
        text.push_str(&lease_table(reclaiming));
    }
    if !tenants.is_empty() {
        text.push_str("\nwho holds what:\n");
        text.push_str(&usage_table(tenants, &[]));
    }
    text
}
