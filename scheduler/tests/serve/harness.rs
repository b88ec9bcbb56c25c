//! A server of a test's own, and what it takes to ask it.

use std::collections::BTreeMap;
use std::time::Duration;

use headgate_proto::v1::admin_service_client::AdminServiceClient;
use headgate_proto::v1::quota_service_client::QuotaServiceClient;
use headgate_proto::v1::resource::AmountKind;
use headgate_proto::v1::{self, Answer, Decision, Reason, State};
use headgate_scheduler::config::Config;
use headgate_scheduler::logs::Logs;
use headgate_scheduler::serve::Server;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// How long a test waits for something that comes at once.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Two tenants with half of ten cores each.
pub(crate) const HALVES: &str = "
pools: [{name: default, capacity: {cpu: 10}, implied: {}, grace: 1s, hold_after: 1h}]
tenants:
  - {name: a, quota: {default: {guaranteed: {cpu: 5}}}}
  - {name: b, quota: {default: {guaranteed: {cpu: 5}}}}
";

/// A server that serves.
pub(crate) struct Running {
    pub(crate) server: Server,
}

/// Listens on free ports and keeps nothing.
pub(crate) fn config(objects: &str) -> Config {
    let head = "listen: {grpc: 127.0.0.1:0, http: 127.0.0.1:0}\nstore: {kind: memory}\n";
    parsed(&format!("{head}{objects}"))
}

pub(crate) fn parsed(yaml: &str) -> Config {
    Config::parse("test.yaml", yaml).unwrap_or_else(|problems| panic!("{problems}"))
}

pub(crate) fn logs() -> Logs {
    Logs::begin(headgate_scheduler::config::Log::default())
}

pub(crate) async fn serve(objects: &str) -> Running {
    start(config(objects)).await
}

pub(crate) async fn start(config: Config) -> Running {
    let server = Server::start(config, "test.yaml", logs()).await.unwrap_or_else(|error| panic!("{error}"));
    Running { server }
}

impl Running {
    pub(crate) fn address(&self) -> String {
        format!("http://{}", self.server.grpc().expect("gRPC is served"))
    }

    pub(crate) async fn channel(&self) -> Channel {
        Channel::from_shared(self.address()).expect("a URI").connect().await.expect("connected")
    }

    pub(crate) async fn quota(&self) -> Client {
        Client(QuotaServiceClient::new(self.channel().await))
    }

    pub(crate) async fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel().await)
    }

    /// What HTTP answers: the status, and all else as it came.
    pub(crate) async fn http(&self, request: &str) -> (u16, String) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let address = self.server.http().expect("HTTP is served");
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("connected");
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("read");
        let status = text.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        (status, text)
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        self.http(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")).await
    }
}

/// A client in the words of the tests.
#[derive(Clone)]
pub(crate) struct Client(pub(crate) QuotaServiceClient<Channel>);

impl Client {
    pub(crate) async fn acquire(&mut self, request: v1::Request) -> Result<Answer, Status> {
        let response = self.0.acquire(v1::AcquireRequest { request: Some(request) }).await?;
        Ok(response.into_inner().answer.expect("an answer"))
    }

    /// Acquires so many times, all allowed; returns the leases' ids.
    pub(crate) async fn take(&mut self, tenant: &str, cores: u32, times: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for n in 0..times {
            let answer = self.acquire(request(&format!("{tenant}-{n}"), tenant, cores)).await.expect("decided");
            assert_eq!(answer.decision(), Decision::Allow, "{answer:?}");
            ids.push(answer.lease_id);
        }
        ids
    }

    pub(crate) async fn check(&mut self, request: v1::Request) -> Result<Answer, Status> {
        let response = self.0.check_quota(v1::CheckQuotaRequest { request: Some(request) }).await?;
        Ok(response.into_inner().answer.expect("an answer"))
    }

    pub(crate) async fn release(&mut self, id: &str) -> Result<Answer, Status> {
        let request = v1::ReleaseRequest { ids: vec![id.to_owned()], holder: String::new() };
        Ok(only(self.0.release(request).await?.into_inner().outcomes))
    }

    pub(crate) async fn cancel(&mut self, id: &str) -> Result<Answer, Status> {
        let request = v1::CancelRequest { ids: vec![id.to_owned()], holder: String::new() };
        Ok(only(self.0.cancel(request).await?.into_inner().outcomes))
    }

    pub(crate) async fn confirm(&mut self, id: &str) -> Result<Answer, Status> {
        let request = v1::ConfirmRequest { ids: vec![id.to_owned()], holder: String::new() };
        Ok(only(self.0.confirm(request).await?.into_inner().outcomes))
    }

    pub(crate) async fn renew(&mut self, id: &str, holder: &str) -> Result<Answer, Status> {
        let request = v1::RenewRequest { ids: vec![id.to_owned()], holder: holder.to_owned() };
        Ok(only(self.0.renew(request).await?.into_inner().outcomes))
    }

    pub(crate) async fn resize(&mut self, id: &str, cores: &str) -> Result<Answer, Status> {
        let request = v1::ResizeRequest {
            ids: vec![id.to_owned()],
            resources: vec![quantity("cpu", cores)],
            ..v1::ResizeRequest::default()
        };
        Ok(only(self.0.resize(request).await?.into_inner().outcomes))
    }

    pub(crate) async fn get(&mut self, id: &str) -> Result<v1::GetResponse, Status> {
        let request = v1::GetRequest { ids: vec![id.to_owned()], ..v1::GetRequest::default() };
        Ok(self.0.get(request).await?.into_inner())
    }

    pub(crate) async fn wait(&mut self, id: &str) -> Result<Answer, Status> {
        let request = v1::AwaitRequest { id: id.to_owned(), ..v1::AwaitRequest::default() };
        Ok(self.0.r#await(request).await?.into_inner().answer.expect("an answer"))
    }

    pub(crate) async fn watch(&mut self, request: v1::WatchRequest) -> Result<Watching, Status> {
        Ok(Watching(self.0.watch(request).await?.into_inner()))
    }
}

fn only(mut outcomes: Vec<v1::Outcome>) -> Answer {
    assert_eq!(outcomes.len(), 1, "{outcomes:?}");
    let v1::Outcome { id: _, status, answer } = outcomes.remove(0);
    assert_eq!(status, None, "a single id fails as its call does");
    answer.expect("an answer")
}

/// A request for so many cores, that does not wait.
pub(crate) fn request(id: &str, tenant: &str, cores: u32) -> v1::Request {
    v1::Request {
        request_id: id.to_owned(),
        tenant: tenant.to_owned(),
        resources: vec![quantity("cpu", &cores.to_string())],
        ..v1::Request::default()
    }
}

/// The same, that waits.
pub(crate) fn waiting(id: &str, tenant: &str, cores: u32) -> v1::Request {
    v1::Request { wait: Some(true), ..request(id, tenant, cores) }
}

pub(crate) fn quantity(name: &str, quantity: &str) -> v1::Resource {
    v1::Resource { name: name.to_owned(), amount_kind: Some(AmountKind::Quantity(quantity.to_owned())) }
}

pub(crate) fn charged(amounts: &[(&str, i64)]) -> BTreeMap<String, i64> {
    amounts.iter().map(|(name, amount)| ((*name).to_owned(), *amount)).collect()
}

pub(crate) fn codes(answer: &Answer) -> Vec<Reason> {
    answer.reasons.iter().map(v1::ReasonDetail::code).collect()
}

/// The code, the reason for programs, and the offending fields of an error.
pub(crate) fn fault<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String, Vec<String>) {
    let status = result.expect_err("refused");
    assert!(!status.message().is_empty(), "{status:?}");
    let reason = status.get_details_error_info().map(|info| {
        assert_eq!(info.domain, headgate_proto::errors::DOMAIN);
        info.reason
    });
    let violations = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    let fields = violations.into_iter().map(|violation| violation.field).collect();
    (status.code(), reason.unwrap_or_default(), fields)
}

pub(crate) fn code<T: std::fmt::Debug>(result: Result<T, Status>) -> Code {
    fault(result).0
}

/// A watch, read one response after the other.
pub(crate) struct Watching(tonic::Streaming<v1::WatchResponse>);

impl Watching {
    pub(crate) async fn next(&mut self) -> Result<v1::WatchResponse, Status> {
        let next = tokio::time::timeout(SOON, self.0.message()).await.expect("it comes soon")?;
        next.ok_or_else(|| Status::unknown("the watch ended"))
    }

    /// The present state, and its sequence.
    pub(crate) async fn present(&mut self) -> (u64, v1::Present) {
        let mut all = v1::Present::default();
        loop {
            let response = self.next().await.expect("a response");
            let Some(v1::watch_response::What::Present(part)) = response.what else { panic!("{response:?}") };
            all.tickets.extend(part.tickets);
            all.leases.extend(part.leases);
            if part.complete {
                all.complete = true;
                return (response.sequence, all);
            }
        }
    }

    /// The next events, heartbeats passed over, and their sequence.
    pub(crate) async fn events(&mut self) -> (u64, Vec<v1::Event>) {
        loop {
            let response = self.next().await.expect("a response");
            match response.what {
                Some(v1::watch_response::What::Events(events)) => return (response.sequence, events.events),
                Some(v1::watch_response::What::Heartbeat(_)) => {}
                Some(v1::watch_response::What::Present(_)) | None => panic!("{response:?}"),
            }
        }
    }

    /// The next event of this kind, others passed over.
    pub(crate) async fn until(&mut self, kind: v1::EventKind) -> v1::Event {
        loop {
            let (_, events) = self.events().await;
            if let Some(event) = events.into_iter().find(|event| event.kind() == kind) {
                return event;
            }
        }
    }
}

pub(crate) fn lease_after(event: &v1::Event) -> &v1::Lease {
    match &event.after {
        Some(v1::event::After::Lease(lease)) => lease,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn state_of(answer: &Answer) -> State {
    answer.state()
}
