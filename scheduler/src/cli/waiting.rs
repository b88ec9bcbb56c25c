//! Waiting for a ticket, and keeping it alive meanwhile. What breaks on the way is taken up again.

use std::time::{Duration, SystemTime};

use headgate_proto::v1;
use tokio::time::{Instant, sleep};
use tonic::Code;

use super::connect::{Pauses, Server};
use super::fault::Fault;
use super::output::complain;
use super::request::wire_span;

/// How long one question may hang before it is asked anew: shorter than what proxies between leave alone.
const AWAIT_FOR: Duration = Duration::from_secs(50);
/// How much later than that an answer may come.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How often what does not say how long it lives is renewed: a third of the least time to live that pools have by
/// default.
pub(super) const RENEW_EVERY: Duration = Duration::from_secs(20);
/// The shortest pause between two renewals.
const RENEW_PAUSE_MIN: Duration = Duration::from_millis(100);

/// How waiting came out.
#[derive(Debug)]
pub(super) enum Waited {
    /// It has its lease.
    Admitted(v1::Answer),
    /// It has ended without one.
    Over(v1::Answer),
    /// It waits still, for longer than it was meant to.
    Still(v1::Answer),
}

/// Waits until a ticket is admitted or has ended, at most for so long.
pub(super) async fn wait(server: &Server, ticket: v1::Answer, at_most: Option<Duration>) -> Result<Waited, Fault> {
    let id = ticket.ticket_id.clone();
    let until = at_most.map(|span| Instant::now() + span);
    let mut stands = ticket;
    let mut pauses = Pauses::default();
    let mut silent = false;
    let keep = keep_ticket(server, &id);
    tokio::pin!(keep);
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Ok(Waited::Still(stands));
        }
        let hang = left.map_or(AWAIT_FOR, |left| left.min(AWAIT_FOR));
        let message = v1::AwaitRequest { id: id.clone(), timeout: wire_span(hang), ..Default::default() };
        let mut quota = server.quota();
        let call = quota.r#await(server.within(message, hang + ANSWER_WITHIN));
        let answered = tokio::select! {
            answered = call => server.answered(answered),
            never = &mut keep => match never {},
        };
        match answered {
            Ok(v1::AwaitResponse { answer }) => {
                if silent {
                    complain("the server is there again; waiting goes on");
                }
                (silent, pauses) = (false, Pauses::default());
                stands = answer.unwrap_or_default();
                match v1::State::try_from(stands.state) {
                    Ok(v1::State::Waiting) => {}
                    Ok(v1::State::Provisional | v1::State::Active | v1::State::Reclaiming) => {
                        return Ok(Waited::Admitted(stands));
                    }
                    Ok(v1::State::Ended | v1::State::Unspecified) | Err(_) => return Ok(Waited::Over(stands)),
                }
            }
            Err(fault) if fault.passes() || fault.code() == Some(Code::ResourceExhausted) => {
                if !silent {
                    complain(&format!("{fault}; ticket {id} keeps its place, and is waited for still"));
                    silent = true;
                }
                let pause = pauses.pause(fault.retry_after());
                match left {
                    Some(left) => {
                        let _ = tokio::time::timeout(left, pause).await; // then its time is over
                    }
                    None => pause.await,
                }
            }
            Err(fault) => return Err(fault),
        }
    }
}

/// Renews a ticket for as long as it is waited for, where it lives only for so long. Whether it still waits, others
/// find out.
async fn keep_ticket(server: &Server, id: &str) -> std::convert::Infallible {
    let mut lives = None;
    let mut pauses = Pauses::default();
    loop {
        if lives.is_none() {
            lives = match find(server, id).await {
                Ok(v1::GetResponse { tickets, .. }) => Some(tickets.first().and_then(ticket_life)),
                Err(_) => {
                    pauses.pause(None).await;
                    continue;
                }
            };
        }
        let Some(Some(life)) = lives else { return std::future::pending().await };
        sleep(renew_pause(life)).await;
        let message = v1::RenewRequest { ids: vec![id.to_owned()], holder: String::new() };
        let _ = server.quota().renew(server.soon(message)).await; // waiting tells what is wrong
    }
}

/// How a ticket or lease stands.
pub(super) async fn find(server: &Server, id: &str) -> Result<v1::GetResponse, Fault> {
    let call = || {
        let message = v1::GetRequest { ids: vec![id.to_owned()], ..Default::default() };
        let (mut quota, message) = (server.quota(), server.soon(message));
        async move { quota.get(message).await }
    };
    server.call(call).await
}

/// Confirms a lease that came from the queue.
pub(super) async fn confirm(server: &Server, id: &str) -> Result<v1::Answer, Fault> {
    let call = || {
        let message = v1::ConfirmRequest { ids: vec![id.to_owned()], holder: String::new() };
        let (mut quota, message) = (server.quota(), server.soon(message));
        async move { quota.confirm(message).await }
    };
    let outcome = server.call(call).await?.outcomes.into_iter().next().unwrap_or_default();
    Ok(outcome.answer.unwrap_or_default())
}

/// How long a ticket lives without being renewed. Both ends are of the server's clock: this machine's does not matter.
fn ticket_life(ticket: &v1::Ticket) -> Option<Duration> {
    between(ticket.arrived_at.as_ref(), ticket.expires_at.as_ref())
}

/// How long a lease lives without being renewed, just after it was confirmed; none for ever.
pub(super) fn lease_life(lease: &v1::Lease) -> Option<Duration> {
    between(lease.confirmed_at.as_ref().or(lease.admitted_at.as_ref()), lease.expires_at.as_ref())
}

fn between(from: Option<&prost_types::Timestamp>, to: Option<&prost_types::Timestamp>) -> Option<Duration> {
    let (from, to) = (SystemTime::try_from(*from?).ok()?, SystemTime::try_from(*to?).ok()?);
    to.duration_since(from).ok()
}

/// The pause between two renewals of what lives for so long: two may fail.
pub(super) fn renew_pause(life: Duration) -> Duration {
    (life / 3).max(RENEW_PAUSE_MIN)
}
