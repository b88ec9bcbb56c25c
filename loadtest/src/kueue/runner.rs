//! Job runners: each asks for its workload when it is created, waits until it is admitted, runs, and releases.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use headgate_proto::v1::quota_service_client::QuotaServiceClient;
use headgate_proto::v1::{self, Decision, EventKind};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Streaming};

use super::measure::{Fared, Outcome};
use super::workload::{Class, Job, Workload};
use crate::checker::Checker;
use crate::drive::fleet::Stop;
use crate::fault::Fault;
use crate::process::usage;
use crate::target::Target;

/// How long a workload may wait beyond all others: then something is stuck.
const WAIT_MAX: Duration = Duration::from_secs(1800);
/// From the first call until the first creation, so that all runners are there.
const HEAD_START: Duration = Duration::from_millis(100);
/// How long leases live that nobody releases.
const TTL: Duration = Duration::from_secs(600);

type Client = QuotaServiceClient<InterceptedService<Channel, Shown>>;

/// What is shown on every call.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) authorization: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Shown {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        Ok(request)
    }
}

/// What the runners share.
struct Runners {
    workload: Workload,
    checker: Checker,
    /// Of tickets that were admitted, or are waited for.
    tickets: Tickets,
    holder: String,
    start: Instant,
}

/// Who waits for which ticket, and which were admitted before anybody did.
#[derive(Default)]
struct Tickets(Mutex<HashMap<String, Ticket>>);

enum Ticket {
    Awaited(oneshot::Sender<()>),
    Admitted,
}

impl Tickets {
    /// A ticket was admitted.
    fn admitted(&self, id: String) {
        let mut tickets = self.0.lock();
        if let Some(Ticket::Awaited(waiting)) = tickets.insert(id, Ticket::Admitted) {
            // One that waits no more has failed already, and said so.
            let _ = waiting.send(());
        }
    }

    /// What tells when a ticket is admitted; none: it was.
    fn wait(&self, id: &str) -> Option<oneshot::Receiver<()>> {
        let mut tickets = self.0.lock();
        if let Some(Ticket::Admitted) = tickets.get(id) {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        tickets.insert(id.to_owned(), Ticket::Awaited(sender));
        Some(receiver)
    }

    fn forget(&self, id: &str) {
        self.0.lock().remove(id);
    }
}

/// Drives the whole workload. What it needs must have been set up.
pub(crate) fn drive(
    target: &Target,
    reached: (Endpoint, Shown),
    workload: Workload,
    pids: &[u32],
    stop: &Stop,
) -> Result<Outcome, Fault> {
    let refuse = |error: std::io::Error| Fault::Failed(format!("there is no runtime: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(refuse)?;
    runtime.block_on(run(target, reached, workload, pids, stop))
}

async fn run(
    target: &Target,
    (endpoint, shown): (Endpoint, Shown),
    workload: Workload,
    pids: &[u32],
    stop: &Stop,
) -> Result<Outcome, Fault> {
    let url = target.url();
    let channel = endpoint.connect().await;
    let channel = channel.map_err(|error| Fault::Failed(format!("{url} cannot be reached: {}", innermost(&error))))?;
    let holder = format!("loadtest-kueue-{}", std::process::id());
    let mut client = QuotaServiceClient::with_interceptor(channel, shown);
    let failed = |status: tonic::Status| Fault::Failed(format!("{url}: {}", status.message()));
    let asked = v1::WatchRequest { holder: holder.clone(), ..v1::WatchRequest::default() };
    let events = client.watch(asked).await.map_err(failed)?.into_inner();
    let jobs = workload.jobs();
    let checker = Checker::new(&workload.scenario);
    let start = Instant::now() + HEAD_START;
    let runners = Arc::new(Runners { checker, workload, tickets: Tickets::default(), holder, start });
    let (complete, watching) = watch::channel(false);
    let mut listening = tokio::spawn(listen(runners.clone(), client.clone(), events, complete));
    let before = usage(pids);
    let mut running = JoinSet::new();
    for (at, job) in jobs.into_iter().enumerate() {
        let (runners, client, watching) = (runners.clone(), client.clone(), watching.clone());
        running.spawn(async move { runners.run(at, job, client, watching).await });
    }
    let fared = gather(&mut running, &mut listening, stop).await;
    listening.abort();
    let after = usage(pids);
    if fared.is_err() {
        give_back(&mut client, &runners.holder).await;
    }
    let fared = fared.map_err(|why| Fault::Failed(format!("{url}: {why}")))?;
    let mut outcome = Outcome::of(target.to_string(), &runners.workload, &fared);
    outcome.violations = runners.checker.found();
    if let (Some(before), Some(after)) = (before, after) {
        outcome.server_cpu_us = Some((after.cpu_s - before.cpu_s) * 1e6 / fared.len() as f64);
        outcome.server_rss_bytes = Some(after.rss_bytes);
    }
    Ok(outcome)
}

/// Waits for all runners, or for the first that fails.
async fn gather(
    running: &mut JoinSet<Result<Fared, String>>,
    listening: &mut tokio::task::JoinHandle<String>,
    stop: &Stop,
) -> Result<Vec<Fared>, String> {
    let mut fared = Vec::new();
    let mut look = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            done = running.join_next() => match done {
                None => return Ok(fared),
                Some(Ok(done)) => fared.push(done?),
                Some(Err(error)) => return Err(format!("a runner panicked: {error}")),
            },
            why = &mut *listening => return Err(why.unwrap_or_else(|error| format!("nobody listens any more: {error}"))),
            _ = look.tick() => if stop.is_asked() {
                return Err("it was interrupted; what had been taken was given back".to_owned());
            },
        }
    }
}

/// Tells runners of their admissions; returns why it cannot any more. One that was cut off, as it did not keep up, goes on
/// after what it heard last.
async fn listen(
    runners: Arc<Runners>,
    mut client: Client,
    mut events: Streaming<v1::WatchResponse>,
    complete: watch::Sender<bool>,
) -> String {
    let mut heard = None;
    loop {
        match events.message().await {
            Ok(Some(response)) => {
                heard = Some(response.sequence);
                runners.hear(response, &complete);
            }
            Ok(None) => return "the watch ended".to_owned(),
            Err(status) if status.code() == Code::ResourceExhausted && *complete.borrow() => {
                let holder = runners.holder.clone();
                let asked = v1::WatchRequest { holder, after_sequence: heard, ..v1::WatchRequest::default() };
                match client.watch(asked).await {
                    Ok(response) => events = response.into_inner(),
                    Err(status) => return format!("the watch did not go on: {}", status.message()),
                }
            }
            Err(status) => return format!("the watch ended: {}", status.message()),
        }
    }
}

impl Runners {
    fn hear(&self, response: v1::WatchResponse, complete: &watch::Sender<bool>) {
        match response.what {
            Some(v1::watch_response::What::Present(present)) if present.complete => {
                complete.send_replace(true);
            }
            Some(v1::watch_response::What::Events(events)) => {
                for event in events.events {
                    if let (EventKind::Admitted, Some(v1::event::After::Lease(lease))) = (event.kind(), event.after) {
                        self.tickets.admitted(lease.lease_id);
                    }
                }
            }
            Some(v1::watch_response::What::Present(_) | v1::watch_response::What::Heartbeat(_)) | None => {}
        }
    }

    /// One workload, from its creation until its release.
    async fn run(
        &self,
        at: usize,
        job: Job,
        mut client: Client,
        mut watching: watch::Receiver<bool>,
    ) -> Result<Fared, String> {
        let class = self.workload.classes[job.class as usize];
        watching.wait_for(|complete| *complete).await.map_err(|_| "the watch never began".to_owned())?;
        tokio::time::sleep_until(self.start + job.created).await;
        let mut lag = self.now().saturating_sub(job.created);
        let request = Some(self.request(at, job, &class));
        let answer = client.acquire(v1::AcquireRequest { request }).await.map_err(|status| said(&status))?.into_inner();
        let answer = answer.answer.ok_or("an acquire was answered with nothing")?;
        let id = match answer.decision() {
            Decision::Allow => answer.lease_id,
            Decision::Queue => {
                if let Some(admitted) = self.tickets.wait(&answer.ticket_id) {
                    let waited = tokio::time::timeout(WAIT_MAX, admitted).await;
                    waited
                        .map_err(|_| format!("{} was not admitted in {} s", answer.ticket_id, WAIT_MAX.as_secs()))?
                        .map_err(|_| "nobody listens any more")?;
                }
                answer.ticket_id
            }
            Decision::Deny | Decision::Unspecified => {
                return Err(format!("a workload was denied: {:?}", answer.reasons));
            }
        };
        let admitted = self.now();
        self.checker.took(job.tenant, job.class);
        let runs_until = Instant::now() + class.runs;
        let ids = vec![id.clone()];
        // What it waited for must be confirmed; what was allowed at once is active, and stays so.
        client
            .confirm(v1::ConfirmRequest { ids: ids.clone(), holder: String::new() })
            .await
            .map_err(|status| said(&status))?;
        tokio::time::sleep_until(runs_until).await;
        lag = lag.max(Instant::now() - runs_until);
        self.checker.gave(job.tenant, job.class);
        client.release(v1::ReleaseRequest { ids, holder: String::new() }).await.map_err(|status| said(&status))?;
        self.tickets.forget(&id);
        Ok(Fared { class: job.class, created: job.created, admitted, released: self.now(), lag })
    }

    fn now(&self) -> Duration {
        Instant::now().saturating_duration_since(self.start)
    }

    fn request(&self, at: usize, job: Job, class: &Class) -> v1::Request {
        let duration = |time: Duration| prost_types::Duration {
            seconds: time.as_secs() as i64,
            nanos: time.subsec_nanos() as i32,
        };
        let amount = v1::resource::AmountKind::Amount(class.units as i64 * 1000);
        v1::Request {
            request_id: format!("{}-{at}", self.holder),
            tenant: self.workload.scenario.tenants[job.tenant as usize].path.clone(),
            pool: self.workload.scenario.pool.name.clone(),
            resources: vec![v1::Resource { name: "cpu".to_owned(), amount_kind: Some(amount) }],
            priority: class.priority,
            expected_duration: Some(duration(class.runs)),
            wait: Some(true),
            ttl: Some(duration(TTL)),
            holder: self.holder.clone(),
            ..v1::Request::default()
        }
    }
}

/// What an error came from in the first place.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn said(status: &tonic::Status) -> String {
    format!("{}: {}", crate::codes::name(status.code() as i32), status.message())
}

/// Gives back whatever is still held, where the runners did not come to their end.
async fn give_back(client: &mut Client, holder: &str) {
    let holder = holder.to_owned();
    let released = client.release(v1::ReleaseRequest { ids: Vec::new(), holder: holder.clone() }).await;
    let cancelled = client.cancel(v1::CancelRequest { ids: Vec::new(), holder }).await;
    if released.is_err() || cancelled.is_err() {
        eprintln!("headgate-loadtest: what is left of the run ends by itself within {} s", TTL.as_secs());
    }
}
