//! Reaching a server.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use headgate_proto::v1::admin_service_client::AdminServiceClient;
use headgate_proto::v1::quota_service_client::QuotaServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Response, Status};

use super::fault::{Fault, plain};
use super::request::span;

/// To connect at all; a server that is there answers far sooner.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How often a silent connection is tried, and how long it may take to answer: long watches end soon after the network.
const ALIVE_EVERY: Duration = Duration::from_secs(15);
const ALIVE_WITHIN: Duration = Duration::from_secs(10);
/// A page of a thousand tenants with all that can be said of them.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Attempts at one call, where the server asks to be called again.
const ATTEMPTS_MAX: u32 = 4;
/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Where the server is, and who calls.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Server")]
pub(super) struct ServerArgs {
    /// The server
    #[arg(long, global = true, env = "HEADGATE_SERVER", value_name = "URL", default_value = "http://127.0.0.1:7070")]
    pub(super) server: String,
    /// Who signed the server's certificate (PEM). Without it, whoever this system trusts
    #[arg(long, global = true, env = "HEADGATE_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The caller's certificate (PEM)
    #[arg(long, global = true, env = "HEADGATE_CERT", value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The key of the caller's certificate (PEM)
    #[arg(long, global = true, env = "HEADGATE_KEY", value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// The file with the caller's token, read anew for every call
    #[arg(long, global = true, env = "HEADGATE_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How long a call may take; those that wait or watch are not bounded by it
    #[arg(long, global = true, env = "HEADGATE_TIMEOUT", value_name = "DURATION", default_value = "10s", value_parser = span)]
    pub(super) timeout: Duration,
}

/// Adds the caller's token to every call.
#[derive(Clone, Debug)]
pub(super) struct Token(Option<PathBuf>);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(path) = &self.0 {
            let token = read_token(path).map_err(|why| Status::unauthenticated(format!("no token was sent: {why}")))?;
            request.metadata_mut().insert("authorization", token);
        }
        Ok(request)
    }
}

fn read_token(path: &Path) -> Result<MetadataValue<Ascii>, String> {
    let text = fs::read_to_string(path)
        .map_err(|error| format!("{} cannot be read: {}; --token-file names another", path.display(), plain(&error)))?;
    format!("Bearer {}", text.trim())
        .parse()
        .map(|mut value: MetadataValue<Ascii>| {
            value.set_sensitive(true);
            value
        })
        .map_err(|_| format!("what {} holds is no token: it must be one line of plain characters", path.display()))
}

/// A server that is called. It is connected to on the first call, and again whenever the connection is lost.
#[derive(Clone, Debug)]
pub(super) struct Server {
    channel: Channel,
    token: Token,
    url: String,
    timeout: Duration,
}

/// Decisions, leases and tickets.
pub(super) type Quota = QuotaServiceClient<InterceptedService<Channel, Token>>;
/// Configuration and listings.
pub(super) type Admin = AdminServiceClient<InterceptedService<Channel, Token>>;

impl ServerArgs {
    /// A server to be called; it is not connected to yet.
    pub(super) fn server(&self) -> Result<Server, Fault> {
        let Self { server, ca, cert, key, token_file, timeout } = self;
        let url = if server.contains("://") { server.clone() } else { format!("http://{server}") };
        let wrong = |why: &str| Fault::Usage(format!("{server} is no server: {why}, such as http://127.0.0.1:7070"));
        let endpoint = Endpoint::from_shared(url.clone()).map_err(|_| wrong("it must be a URL"))?;
        let endpoint = match endpoint.uri().scheme_str() {
            Some("http") if ca.is_some() || cert.is_some() => {
                return Err(Fault::Usage(format!("{url} is reached without TLS: --ca and --cert go with https")));
            }
            Some("http") => endpoint,
            Some("https") => {
                let mut tls = match ca {
                    Some(ca) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca)?)),
                    // What the system trusts, and no list of our own: who runs a private authority adds it there.
                    None => ClientTlsConfig::new().with_native_roots(),
                };
                if let (Some(cert), Some(key)) = (cert, key) {
                    tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
                }
                endpoint.tls_config(tls).map_err(|error| unusable(ca.is_some(), &error))?
            }
            Some(_) | None => return Err(wrong("it must begin with http:// or https://")),
        };
        let channel = endpoint
            .connect_timeout(CONNECT_WITHIN)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(ALIVE_EVERY)
            .keep_alive_timeout(ALIVE_WITHIN)
            .keep_alive_while_idle(true)
            .user_agent(concat!("headgate/", env!("CARGO_PKG_VERSION")))
            .map_err(|_| wrong("it must be a URL"))?
            .connect_lazy();
        Ok(Server { channel, token: Token(token_file.clone()), url, timeout: *timeout })
    }
}

fn unusable(named: bool, error: &tonic::transport::Error) -> Fault {
    let why = innermost(error);
    let help = if named { "" } else { "; --ca names the file of whoever signed the server's" };
    Fault::Failed(format!("the certificates cannot be used: {why}{help}"))
}

fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    fs::read(path).map_err(|error| Fault::Failed(format!("{} cannot be read: {}", path.display(), plain(&error))))
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

impl Server {
    /// What decides, and keeps leases and tickets.
    pub(super) fn quota(&self) -> Quota {
        QuotaServiceClient::with_interceptor(self.channel.clone(), self.token.clone())
            .max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// What configures and lists.
    pub(super) fn admin(&self) -> Admin {
        AdminServiceClient::with_interceptor(self.channel.clone(), self.token.clone())
            .max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// How long an ordinary call may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// A message with the deadline of an ordinary call.
    pub(super) fn soon<T>(&self, message: T) -> Request<T> {
        self.within(message, self.timeout)
    }

    /// A message with a deadline of its own.
    pub(super) fn within<T>(&self, message: T, timeout: Duration) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(timeout);
        request
    }

    /// The answer, or why there is none.
    pub(super) fn answered<T>(&self, answer: Result<Response<T>, Status>) -> Result<T, Fault> {
        answer.map(Response::into_inner).map_err(|status| self.fault(status))
    }

    /// Why a call failed.
    pub(super) fn fault(&self, status: Status) -> Fault {
        Fault::of(status, &self.url)
    }

    /// Calls until there is an answer, or an error that does not pass by itself, or one too many. Every call here may
    /// be repeated: requests have ids, and the rest is idempotent. Nobody is waited for who cannot be reached at all.
    pub(super) async fn call<T, F>(&self, mut call: impl FnMut() -> F) -> Result<T, Fault>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let mut pauses = Pauses::default();
        for _ in 1..ATTEMPTS_MAX {
            match self.answered(call().await) {
                Err(fault) if fault.passes() && !matches!(fault, Fault::Unreachable { .. }) => {
                    pauses.pause(fault.retry_after()).await;
                }
                answered => return answered,
            }
        }
        self.answered(call().await)
    }
}

/// Pauses that grow from one attempt to the next.
#[derive(Debug)]
pub(super) struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(Duration::from_millis(100))
    }
}

impl Pauses {
    /// Waits for as long as the server asked, else for twice as long as the last time.
    pub(super) async fn pause(&mut self, asked: Option<Duration>) {
        tokio::time::sleep(asked.unwrap_or(self.0).min(PAUSE_MAX)).await;
        self.0 = (self.0 * 2).min(PAUSE_MAX);
    }
}
