//! Keeping leases and tickets, and giving them back: confirm, renew, resize, release, cancel.

use clap::Args;
use headgate_proto::v1;

use super::connect::ServerArgs;
use super::fault::Fault;
use super::output::{Output, complain};
use super::request::ResourceArgs;
use super::{DONE, FAILED, json, text};

/// Leases or tickets, by their ids or all of a holder's.
#[derive(Debug, Args)]
pub(super) struct Named {
    /// The leases or tickets
    #[arg(value_name = "ID", required_unless_present = "holder", conflicts_with = "holder")]
    ids: Vec<String>,
    /// All of this holder's
    #[arg(long, value_name = "NAME")]
    holder: Option<String>,
}

/// What is renewed, and for whom.
#[derive(Debug, Args)]
pub(super) struct RenewArgs {
    /// The leases and tickets
    #[arg(value_name = "ID", required_unless_present = "holder")]
    ids: Vec<String>,
    /// All of this holder's; with ids: who keeps them alive from now on
    #[arg(long, value_name = "NAME")]
    holder: Option<String>,
}

/// What is resized, and to what.
#[derive(Debug, Args)]
pub(super) struct ResizeArgs {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    resources: ResourceArgs,
    /// Say what it was decided from
    #[arg(long)]
    explain: bool,
}

pub(super) async fn confirm(Named { ids, holder }: Named, server: &ServerArgs, out: Output) -> super::Outcome {
    let server = server.server()?;
    let message = v1::ConfirmRequest { ids, holder: holder.unwrap_or_default() };
    let call = || {
        let (mut quota, request) = (server.quota(), server.soon(message.clone()));
        async move { quota.confirm(request).await }
    };
    tell(&server.call(call).await?.outcomes, "confirmed", out)
}

pub(super) async fn renew(RenewArgs { ids, holder }: RenewArgs, server: &ServerArgs, out: Output) -> super::Outcome {
    let server = server.server()?;
    let message = v1::RenewRequest { ids, holder: holder.unwrap_or_default() };
    let call = || {
        let (mut quota, request) = (server.quota(), server.soon(message.clone()));
        async move { quota.renew(request).await }
    };
    tell(&server.call(call).await?.outcomes, "renewed", out)
}

pub(super) async fn resize(args: ResizeArgs, server: &ServerArgs, out: Output) -> super::Outcome {
    let ResizeArgs { named: Named { ids, holder }, resources, explain } = args;
    let resources = resources.into_wire()?;
    if resources.is_empty() {
        return Err(Fault::Usage("nothing is said of what each instance is to hold: --cpu 2, for example".into()));
    }
    let server = server.server()?;
    let message = v1::ResizeRequest { ids, holder: holder.unwrap_or_default(), resources, explain };
    let call = || {
        let (mut quota, request) = (server.quota(), server.soon(message.clone()));
        async move { quota.resize(request).await }
    };
    tell(&server.call(call).await?.outcomes, "resized", out)
}

pub(super) async fn release(Named { ids, holder }: Named, server: &ServerArgs, out: Output) -> super::Outcome {
    let server = server.server()?;
    let message = v1::ReleaseRequest { ids, holder: holder.unwrap_or_default() };
    let call = || {
        let (mut quota, request) = (server.quota(), server.soon(message.clone()));
        async move { quota.release(request).await }
    };
    tell(&server.call(call).await?.outcomes, "released", out)
}

pub(super) async fn cancel(Named { ids, holder }: Named, server: &ServerArgs, out: Output) -> super::Outcome {
    let server = server.server()?;
    let message = v1::CancelRequest { ids, holder: holder.unwrap_or_default() };
    let call = || {
        let (mut quota, request) = (server.quota(), server.soon(message.clone()));
        async move { quota.cancel(request).await }
    };
    tell(&server.call(call).await?.outcomes, "cancelled", out)
}

/// Prints what became of each. One that failed, or was denied, makes the whole a failure.
fn tell(outcomes: &[v1::Outcome], done: &str, out: Output) -> super::Outcome {
    out.print(
        || json::outcomes(outcomes),
        || outcomes.iter().map(|outcome| format!("{}\n", text::outcome(outcome, done))).collect(),
    )?;
    if outcomes.is_empty() {
        complain("nothing was found that it could be done with: the holder has none");
    }
    let denied = |answer: &v1::Answer| answer.decision == i32::from(v1::Decision::Deny);
    let failed = |outcome: &v1::Outcome| outcome.status.is_some() || outcome.answer.as_ref().is_some_and(denied);
    Ok(if outcomes.iter().any(failed) { FAILED } else { DONE })
}
