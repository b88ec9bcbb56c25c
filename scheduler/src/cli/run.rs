//! `headgate run`: a command under a lease. Whatever ends first, the command, a signal or the lease, the lease is given
//! back.

use std::ffi::OsString;
use std::future::poll_fn;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use clap::Args;
use headgate_proto::{errors, v1};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tonic::Code;
use tonic_types::StatusExt as _;

use super::acquire::ask;
use super::connect::{Pauses, Server, ServerArgs};
use super::fault::{Fault, plain};
use super::output::complain;
use super::request::{Asking, RequestArgs, new_id, span};
use super::terminal::Foreground;
use super::waiting::{RENEW_EVERY, Waited, confirm, find, lease_life, renew_pause, wait};
use super::{FAILED, Outcome, text};

/// What a shell says of a command that cannot be run, and of one that is not there.
const CANNOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;
/// What a shell adds to the number of the signal that ended a command.
const SIGNALLED: u8 = 128;
/// Of a command whose lease was revoked.
const REVOKED: u8 = SIGNALLED + 15;
/// Between SIGTERM and SIGKILL where nothing else says: the notice that pools give by default.
const GRACE: Duration = Duration::from_secs(30);
/// How long a lease from the queue is tried to be confirmed: pools leave it a minute by default.
const CONFIRM_WITHIN: Duration = Duration::from_secs(60);
/// How long a lease is tried to be given back before it is left to end by itself.
const RELEASE_WITHIN: Duration = Duration::from_secs(30);
/// How often a lease that lives for ever is looked after: to learn of its end where the watch is broken.
const LOOK_EVERY: Duration = RENEW_EVERY;
/// How long a lease lives where the server did not tell.
const LIFE_ASSUMED: Duration = Duration::from_secs(60);
/// Between two attempts at a renewal that failed.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// What is run, and under what lease.
#[derive(Debug, Args)]
#[command(
    after_help = "It waits for the lease, then runs the command in its own process group and passes SIGINT, SIGTERM, \
    SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 on to it. The command finds HEADGATE_LEASE_ID, HEADGATE_TENANT, HEADGATE_POOL \
    and HEADGATE_COUNT in its environment. Exit status: the command's, 128+n where signal n ended it, 143 where the \
    lease was revoked or lost; 126 or 127 where the command cannot be run or found; 1 where it was denied or failed."
)]
pub(super) struct RunArgs {
    #[command(flatten)]
    request: RequestArgs,
    /// Do not queue: run at once, or fail
    #[arg(long, visible_alias = "now")]
    no_wait: bool,
    /// Between SIGTERM and SIGKILL when the lease is revoked. --grace, if not said, else the pool's notice
    #[arg(long, value_name = "DURATION", value_parser = span)]
    kill_after: Option<Duration>,
    /// The command, and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// How asking came out.
enum Asked {
    /// There is a lease, confirmed.
    Lease(Lease),
    /// There will be none: the exit status.
    Not(u8),
}

/// A lease that a command runs under.
#[derive(Clone, Debug)]
struct Lease {
    server: Server,
    id: String,
    pool: String,
    count: u32,
    /// How long it lives without being renewed; none for ever.
    life: Option<Duration>,
    /// Just before it was last renewed.
    renewed: Instant,
}

/// What is heard of a lease while its command runs.
#[derive(Clone, Debug, PartialEq)]
enum Notice {
    /// It must give way by then.
    Reclaiming { deadline: Option<prost_types::Timestamp>, notice: Option<Duration> },
    /// It need not give way (any more).
    Stays,
    /// It is gone, or must be taken for gone: why.
    Gone(String),
}

pub(super) async fn run(args: RunArgs, server: &ServerArgs) -> Outcome {
    let RunArgs { request, no_wait, kill_after, command } = args;
    let (named, grace) = (request.id.is_some(), kill_after.or(request.grace));
    let request = request.into_wire(Asking { wait: !no_wait, provisional: true, explain: false })?;
    let tenant = request.tenant.clone();
    let server = server.server()?;
    let mut signals = Signals::listen()?;
    let lease = match admit(&server, request, named, &mut signals).await? {
        Asked::Lease(lease) => lease,
        Asked::Not(status) => return Ok(status),
    };
    let mut environment = Command::new(&command[0]);
    environment
        .args(&command[1..])
        .env("HEADGATE_LEASE_ID", &lease.id)
        .env("HEADGATE_TENANT", &tenant)
        .env("HEADGATE_POOL", &lease.pool)
        .env("HEADGATE_COUNT", lease.count.to_string());
    let group = Arc::new(OnceLock::new());
    // A task of its own: whatever befalls it, what follows is done.
    let supervised = tokio::spawn(supervise(lease.clone(), environment, signals, grace, Arc::clone(&group))).await;
    let outcome = supervised.unwrap_or_else(|_| {
        if let Some(group) = group.get() {
            let _ = killpg(*group, Signal::SIGKILL); // gone already is fine
        }
        Err(Fault::Failed("the command was stopped: an error in headgate itself, told above".into()))
    });
    give_back(&lease).await;
    outcome
}

/// Asks, waits and confirms. A signal ends it, and whatever was taken until then is given back.
async fn admit(server: &Server, mut request: v1::Request, named: bool, signals: &mut Signals) -> Result<Asked, Fault> {
    loop {
        let asked = {
            let asking = ask(server, &request);
            tokio::pin!(asking);
            tokio::select! {
                asked = &mut asking => Ok(asked),
                signal = signals.next() => {
                    let _ = timeout(server.timeout(), &mut asking).await; // what came of it is asked below
                    Err(signal)
                }
            }
        };
        let answer = match asked {
            Ok(Ok(answer)) => answer,
            Ok(Err(fault)) => {
                if matches!(fault, Fault::Unreachable { .. }) {
                    // Hardly anything was taken, and it would end unconfirmed: asking once is enough.
                    let _ = try_withdraw(server, &request).await;
                } else if fault.passes() {
                    withdraw(server, &request).await;
                }
                return Err(fault);
            }
            Err(signal) => {
                withdraw(server, &request).await;
                return Ok(Asked::Not(signalled(signal)));
            }
        };
        let answer = match v1::Decision::try_from(answer.decision) {
            Ok(v1::Decision::Queue) => {
                complain(text::answer(&answer, false).trim_end());
                let waited = tokio::select! {
                    waited = wait(server, answer, None) => waited,
                    signal = signals.next() => {
                        withdraw(server, &request).await;
                        return Ok(Asked::Not(signalled(signal)));
                    }
                };
                match waited {
                    Ok(Waited::Admitted(answer)) => answer,
                    Ok(Waited::Over(answer) | Waited::Still(answer)) => {
                        complain(text::answer(&answer, false).trim_end());
                        return Ok(Asked::Not(FAILED));
                    }
                    Err(fault) => {
                        withdraw(server, &request).await;
                        return Err(fault);
                    }
                }
            }
            Ok(v1::Decision::Allow) if answer.state != i32::from(v1::State::Ended) => answer,
            Ok(v1::Decision::Allow | v1::Decision::Deny | v1::Decision::Unspecified) | Err(_) => {
                complain(text::answer(&answer, false).trim_end());
                return Ok(Asked::Not(FAILED));
            }
        };
        if answer.would_be != i32::from(v1::Decision::Unspecified) && answer.enforce == i32::from(v1::Enforce::Warn) {
            complain(text::answer(&answer, false).trim_end());
        }
        match start(server, &request, answer).await {
            Ok(lease) => return Ok(Asked::Lease(lease)),
            // The connection was broken for too long just when its turn came.
            Err(fault) if gone(&fault) && !named => {
                complain(&format!("{fault}; it is asked for again"));
                request.request_id = new_id();
            }
            Err(fault) => {
                withdraw(server, &request).await;
                return Err(fault);
            }
        }
    }
}

/// Confirms a lease, and learns how long it lives.
async fn start(server: &Server, request: &v1::Request, answer: v1::Answer) -> Result<Lease, Fault> {
    let id = answer.lease_id;
    let until = Instant::now() + CONFIRM_WITHIN;
    let mut pauses = Pauses::default();
    let (renewed, confirmed) = loop {
        let asked = Instant::now();
        match confirm(server, &id).await {
            Ok(answer) => break (asked, answer),
            Err(fault) if fault.passes() && Instant::now() < until => pauses.pause(fault.retry_after()).await,
            Err(fault) => return Err(fault),
        }
    };
    let life = match find(server, &id).await {
        Ok(v1::GetResponse { leases, .. }) => leases.first().map_or(Some(LIFE_ASSUMED), lease_life),
        Err(_) => Some(LIFE_ASSUMED),
    };
    let count = if confirmed.count > 0 { confirmed.count } else { answer.count.max(1) };
    Ok(Lease { server: server.clone(), id, pool: request.pool.clone(), count, life, renewed })
}

/// Ends whatever became of a request, by the id that was given to it.
async fn withdraw(server: &Server, request: &v1::Request) {
    let until = Instant::now() + RELEASE_WITHIN;
    let mut pauses = Pauses::default();
    loop {
        match try_withdraw(server, request).await {
            Ok(()) => return,
            Err(fault) if fault.code() == Some(Code::NotFound) => return,
            Err(fault) if fault.passes() && Instant::now() < until => pauses.pause(fault.retry_after()).await,
            Err(fault) => {
                let id = &request.request_id;
                complain(&format!("request {id} of {} could not be cancelled: {fault}", request.tenant));
                return;
            }
        }
    }
}

async fn try_withdraw(server: &Server, request: &v1::Request) -> Result<(), Fault> {
    let (tenant, request_ids) = (request.tenant.clone(), vec![request.request_id.clone()]);
    let message = v1::GetRequest { tenant, request_ids, ..Default::default() };
    let stands = server.answered(server.quota().get(server.soon(message)).await)?;
    let tickets = stands.tickets.into_iter().map(|ticket| ticket.ticket_id);
    let ids: Vec<String> = tickets.chain(stands.leases.into_iter().map(|lease| lease.lease_id)).collect();
    if !ids.is_empty() {
        let message = v1::CancelRequest { ids, holder: String::new() };
        server.answered(server.quota().cancel(server.soon(message)).await)?;
    }
    Ok(())
}

/// Releases a lease, for as long as that makes sense.
async fn give_back(lease: &Lease) {
    let until = Instant::now() + RELEASE_WITHIN;
    let mut pauses = Pauses::default();
    let mut told = false;
    loop {
        let message = v1::ReleaseRequest { ids: vec![lease.id.clone()], holder: String::new() };
        let server = &lease.server;
        let fault = match server.answered(server.quota().release(server.soon(message)).await) {
            Ok(_) => return,
            Err(fault) if fault.code() == Some(Code::NotFound) => return,
            Err(fault) => fault,
        };
        if !fault.passes() || Instant::now() >= until {
            let then = match lease.life {
                Some(life) => format!("it ends by itself within {}", text::short_span(life)),
                None => format!("it stays until `headgate release {}` succeeds", lease.id),
            };
            complain(&format!("lease {} could not be released: {fault}; {then}", lease.id));
            return;
        }
        if !told {
            complain(&format!("lease {} is not released yet: {fault}; it is tried for a while", lease.id));
            told = true;
        }
        pauses.pause(fault.retry_after()).await;
    }
}

/// Runs the command, and keeps the lease meanwhile.
async fn supervise(
    lease: Lease,
    mut command: Command,
    mut signals: Signals,
    grace: Option<Duration>,
    group: Arc<OnceLock<Pid>>,
) -> Outcome {
    let mut child = match command.process_group(0).kill_on_drop(true).spawn() {
        Ok(child) => child,
        Err(error) => {
            let name = command.as_std().get_program().display().to_string();
            complain(&format!("cannot run {name}: {}", plain(&error)));
            return Ok(if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { CANNOT_RUN });
        }
    };
    let leader = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let leader = *group.get_or_init(|| leader.unwrap_or(Pid::from_raw(0)));
    let pass = |signal| {
        if leader.as_raw() > 0 {
            let _ = killpg(leader, signal); // one that has just ended needs none
        }
    };
    let terminal = Foreground::hand_over(leader);
    let id = lease.id.clone();
    let (tell, mut notices) = mpsc::channel(16);
    let mut keepers = tokio::task::JoinSet::new();
    keepers.spawn(renew(lease.clone(), tell.clone()));
    keepers.spawn(watch(lease, tell));

    let mut lost = false;
    let mut kill_at: Option<Instant> = None;
    let mut notice_given = None;
    let mut deadline_told = None;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            signal = signals.next() => pass(signal),
            () = terminal.continued() => complain("a command is not suspended while it holds a lease: it goes on"),
            () = at(kill_at) => {
                complain("the command did not end in time: it is killed");
                pass(Signal::SIGKILL);
                break child.wait().await;
            }
            Some(notice) = notices.recv(), if !lost => match notice {
                Notice::Reclaiming { deadline, notice } => {
                    notice_given = notice.or(notice_given);
                    if deadline_told != Some(deadline) {
                        let by = deadline.as_ref().map(text::instant).unwrap_or_else(|| "soon".into());
                        complain(&format!("lease {id} is being reclaimed: it must give way by {by}"));
                        deadline_told = Some(deadline);
                    }
                }
                Notice::Stays => {
                    if deadline_told.take().is_some() {
                        complain(&format!("lease {id} need not give way any more"));
                    }
                }
                Notice::Gone(why) => {
                    let grace = grace.or(notice_given).unwrap_or(GRACE);
                    let left = text::short_span(grace);
                    complain(&format!("lease {id} {why}: the command is terminated, and killed in {left}"));
                    pass(Signal::SIGTERM);
                    pass(Signal::SIGCONT); // one that is stopped could not end
                    kill_at = Some(Instant::now() + grace);
                    lost = true;
                }
            },
        }
    };
    keepers.abort_all();
    drop(terminal);
    if lost {
        pass(Signal::SIGKILL); // nothing of it goes on without a lease
        return Ok(REVOKED);
    }
    status.map(exit_status).map_err(Fault::from)
}

/// Sleeps until then; for ever where there is no then.
async fn at(then: Option<Instant>) {
    match then {
        Some(then) => sleep_until(then).await,
        None => std::future::pending().await,
    }
}

/// A command's exit status, as a shell tells it.
fn exit_status(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|number| i32::from(SIGNALLED) + number));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED)
}

fn signalled(signal: Signal) -> u8 {
    u8::try_from(signal as i32).map_or(FAILED, |number| SIGNALLED + number)
}

/// Whether an error says that a lease is no more.
fn gone(fault: &Fault) -> bool {
    match fault {
        Fault::Refused(status) => match status.code() {
            Code::NotFound => true,
            Code::FailedPrecondition => {
                status.get_details_error_info().is_some_and(|info| info.reason == errors::LEASE_GONE)
            }
            _ => false,
        },
        Fault::Usage(_) | Fault::Failed(_) | Fault::Broken(_) | Fault::Unreachable { .. } | Fault::Unread => false,
    }
}

/// Renews a lease in time, until it is gone or must be taken for gone.
async fn renew(lease: Lease, tell: mpsc::Sender<Notice>) {
    let Lease { server, id, life, mut renewed, .. } = lease;
    let every = life.map_or(LOOK_EVERY, renew_pause);
    let mut pause = every.saturating_sub(renewed.elapsed());
    let mut complained = false;
    loop {
        let left = |renewed: Instant| life.map(|life| life.saturating_sub(renewed.elapsed()));
        sleep(left(renewed).map_or(pause, |left| left.min(pause))).await;
        let asked = Instant::now();
        let within = left(renewed).map_or(server.timeout(), |left| left.min(server.timeout()));
        let message = v1::RenewRequest { ids: vec![id.clone()], holder: String::new() };
        let call = async { server.quota().renew(server.within(message, within)).await };
        // The deadline on the wire is kept by the server; this one holds whatever the network does.
        let fault = match timeout(within, call).await.map(|answered| server.answered(answered)) {
            Ok(Ok(v1::RenewResponse { outcomes })) => {
                (renewed, pause) = (asked, every);
                if std::mem::take(&mut complained) {
                    complain(&format!("lease {id} is renewed again"));
                }
                let answer = outcomes.into_iter().next().and_then(|outcome| outcome.answer).unwrap_or_default();
                let notice = if answer.state == i32::from(v1::State::Reclaiming) {
                    Notice::Reclaiming { deadline: answer.deadline, notice: None }
                } else {
                    Notice::Stays
                };
                if tell.send(notice).await.is_err() {
                    return;
                }
                continue;
            }
            Ok(Err(fault)) if gone(&fault) => {
                let _ = tell.send(Notice::Gone(format!("is gone ({fault})"))).await; // nobody asks any more
                return;
            }
            Ok(Err(fault)) => fault,
            Err(_) => Fault::Failed(format!("the server did not answer within {}", text::short_span(within))),
        };
        if left(renewed) == Some(Duration::ZERO) {
            let _ =
                tell.send(Notice::Gone(format!("was not renewed in time, and must be taken for lost ({fault})"))).await;
            return;
        }
        if !complained {
            complain(&format!("lease {id} could not be renewed: {fault}; it is tried again"));
            complained = true;
        }
        pause = RETRY_EVERY.min(every);
    }
}

/// Listens for what happens to a lease, so that it is known at once. Renewals find out too, later.
async fn watch(lease: Lease, tell: mpsc::Sender<Notice>) {
    let Lease { server, id, pool, .. } = lease;
    let message = v1::GetPoolRequest { name: pool };
    // Who may not look at pools watches the cell that nearly all of them are in.
    let pool = server.answered(server.admin().get_pool(server.soon(message)).await);
    let cell = pool.ok().and_then(|answer| answer.pool).map(|pool| pool.cell).unwrap_or_default();
    let mut pauses = Pauses::default();
    loop {
        let message = v1::WatchRequest { ids: vec![id.clone()], cell: cell.clone(), ..Default::default() };
        match server.answered(server.quota().watch(message).await) {
            Ok(mut stream) => {
                while let Ok(Some(response)) = stream.message().await {
                    pauses = Pauses::default();
                    for notice in notices(response) {
                        if tell.send(notice).await.is_err() {
                            return;
                        }
                    }
                }
            }
            Err(fault) if fault.passes() || fault.code() == Some(Code::ResourceExhausted) => {}
            Err(_) => return,
        }
        pauses.pause(None).await;
    }
}

/// What a part of a watch says of the one lease that is watched.
fn notices(response: v1::WatchResponse) -> Vec<Notice> {
    match response.what {
        Some(v1::watch_response::What::Present(v1::Present { leases, .. })) => leases
            .iter()
            .filter(|lease| lease.state == i32::from(v1::State::Reclaiming))
            .map(|lease| reclaiming(lease, None))
            .collect(),
        Some(v1::watch_response::What::Events(v1::Events { events })) => events.iter().filter_map(heard).collect(),
        Some(v1::watch_response::What::Heartbeat(v1::Heartbeat {})) | None => Vec::new(),
    }
}

fn heard(event: &v1::Event) -> Option<Notice> {
    let gone = |why: &str| Some(Notice::Gone(why.into()));
    match v1::EventKind::try_from(event.kind) {
        Ok(v1::EventKind::Reclaiming) => match &event.after {
            Some(v1::event::After::Lease(lease)) => Some(reclaiming(lease, event.time.as_ref())),
            Some(v1::event::After::Ticket(_) | v1::event::After::Ended(_)) | None => None,
        },
        Ok(v1::EventKind::LetOff) => Some(Notice::Stays),
        Ok(v1::EventKind::Revoked) => gone("was revoked"),
        Ok(v1::EventKind::Expired) => gone("has expired"),
        Ok(v1::EventKind::Ended) => gone("was ended by somebody else"),
        Ok(
            v1::EventKind::Unspecified
            | v1::EventKind::Queued
            | v1::EventKind::Admitted
            | v1::EventKind::Confirmed
            | v1::EventKind::HandedOver
            | v1::EventKind::Resized,
        )
        | Err(_) => None,
    }
}

fn reclaiming(lease: &v1::Lease, since: Option<&prost_types::Timestamp>) -> Notice {
    let instant = |at: &prost_types::Timestamp| SystemTime::try_from(*at).ok();
    let notice = match (since.and_then(instant), lease.deadline.as_ref().and_then(instant)) {
        (Some(since), Some(deadline)) => deadline.duration_since(since).ok(),
        _ => None,
    };
    Notice::Reclaiming { deadline: lease.deadline, notice }
}

/// The signals that are passed on.
struct Signals(Vec<(Signal, unix::Signal)>);

impl Signals {
    fn listen() -> io::Result<Self> {
        let passed =
            [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];
        let listen = |signal: Signal| Ok((signal, unix::signal(SignalKind::from_raw(signal as i32))?));
        passed.into_iter().map(listen).collect::<io::Result<_>>().map(Self)
    }

    async fn next(&mut self) -> Signal {
        poll_fn(|context| {
            for (signal, stream) in &mut self.0 {
                if stream.poll_recv(context).is_ready() {
                    return Poll::Ready(*signal);
                }
            }
            Poll::Pending
        })
        .await
    }
}
