//! Asking: check and acquire.

use std::time::Duration;

use clap::Args;
use headgate_proto::v1;

use super::connect::{Server, ServerArgs};
use super::fault::Fault;
use super::output::{Output, complain};
use super::request::{Asking, RequestArgs, span};
use super::waiting::{Waited, confirm, wait};
use super::{DONE, FAILED, QUEUED, json, text};

/// What is checked.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    request: RequestArgs,
    /// Say what is decided of a request that may not wait
    #[arg(long, visible_alias = "now")]
    no_wait: bool,
    /// Say what it is decided from
    #[arg(long)]
    explain: bool,
}

/// What is asked for.
#[derive(Debug, Args)]
#[command(
    after_help = "It may wait in the queue: without --wait it is answered at once, with a ticket and exit status 3, \
                        and the ticket keeps its place. With --no-wait it is allowed or denied."
)]
pub(super) struct AcquireArgs {
    #[command(flatten)]
    request: RequestArgs,
    /// Where it is queued, wait until it is admitted, and confirm the lease; at most so long, where said. The ticket
    /// keeps its place when that is over
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, value_parser = span)]
    wait: Option<Option<Duration>>,
    /// Do not queue: be allowed or denied
    #[arg(long, visible_alias = "now", conflicts_with = "wait")]
    no_wait: bool,
    /// Take a lease that must be confirmed before it is active
    #[arg(long)]
    provisional: bool,
    /// Say what it was decided from
    #[arg(long)]
    explain: bool,
}

pub(super) async fn check(args: CheckArgs, server: &ServerArgs, out: Output) -> super::Outcome {
    let CheckArgs { request, no_wait, explain } = args;
    let mut request = request.into_wire(Asking { wait: !no_wait, provisional: false, explain })?;
    request.request_id.clear(); // nothing is taken that it could name
    let server = server.server()?;
    let call = || {
        let message = v1::CheckQuotaRequest { request: Some(request.clone()) };
        let (mut quota, message) = (server.quota(), server.soon(message));
        async move { quota.check_quota(message).await }
    };
    let answer = server.call(call).await?.answer.unwrap_or_default();
    out.print(|| json::answer(&answer), || text::answer(&answer, true))?;
    Ok(status(&answer))
}

pub(super) async fn acquire(args: AcquireArgs, server: &ServerArgs, out: Output) -> super::Outcome {
    let AcquireArgs { request, wait: waits, no_wait, provisional, explain } = args;
    let request = request.into_wire(Asking { wait: !no_wait, provisional, explain })?;
    let server = server.server()?;
    let mut answer = ask(&server, &request).await?;
    if let (Some(at_most), true) = (waits, answer.decision == i32::from(v1::Decision::Queue)) {
        complain(text::answer(&answer, false).trim_end());
        let ticket = answer.ticket_id.clone();
        answer = match wait(&server, answer, at_most).await? {
            Waited::Still(answer) | Waited::Over(answer) => answer,
            Waited::Admitted(answer) if provisional => answer,
            Waited::Admitted(_) => confirm(&server, &ticket).await?,
        };
    }
    out.print(|| json::answer_to(&request.request_id, &answer), || text::answer(&answer, false))?;
    Ok(status(&answer))
}

/// Asks, as often as the server wishes. Where no answer came, the request may have been decided all the same: its id
/// finds it again.
pub(super) async fn ask(server: &Server, request: &v1::Request) -> Result<v1::Answer, Fault> {
    let call = || {
        let message = v1::AcquireRequest { request: Some(request.clone()) };
        let (mut quota, message) = (server.quota(), server.soon(message));
        async move { quota.acquire(message).await }
    };
    let response = server.call(call).await.map_err(|fault| match fault {
        Fault::Refused(_) if fault.passes() => {
            fault.but(format!("ask again with --id {} to find its answer", request.request_id))
        }
        fault => fault,
    })?;
    Ok(response.answer.unwrap_or_default())
}

/// The exit status that tells of an answer.
fn status(answer: &v1::Answer) -> u8 {
    match v1::Decision::try_from(answer.decision) {
        Ok(v1::Decision::Allow) if answer.state == i32::from(v1::State::Ended) => FAILED,
        Ok(v1::Decision::Allow) => DONE,
        Ok(v1::Decision::Queue) => QUEUED,
        Ok(v1::Decision::Deny | v1::Decision::Unspecified) | Err(_) => FAILED,
    }
}
