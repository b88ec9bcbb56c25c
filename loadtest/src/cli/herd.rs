//! `herd`: many clients that connect at once, as they do when a server comes back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use http::Request;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::credentials::{Credentials, processes};
use super::driving::seconds;
use super::write::{Form, print, print_json};
use crate::calls::CHECK;
use crate::drive::unreachable::unreachable;
use crate::fault::Fault;
use crate::handles;
use crate::outcome::figures::Latency;
use crate::outcome::text::{count, time};
use crate::process::usage;
use crate::tally::histogram;
use crate::target::{Protocol, Target};

const HELP: &str = "\
Each client connects, over TLS shakes hands anew, and makes one call; the times are from when all of them began. Clients and \
             server share the machine's cores where they are on one: with TLS, a client has as much to do as the server.

Examples:
  headgate-loadtest herd http://127.0.0.1:7070 --connections 10000
  headgate-loadtest herd https://127.0.0.1:7070 --ca ca.pem --cert me.pem --key me.key";

/// Many clients that connect at once.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct Herd {
    /// Where it listens: http://HOST:PORT or https://HOST:PORT
    target: Target,
    /// Clients, each with a connection and one call
    #[arg(short, long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    connections: u32,
    /// How often they all come back
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How long each waits for its answer
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = seconds)]
    patience: f64,
    /// Whose CPU, memory and handles are read; found by its port where it is on this machine
    #[arg(long, value_name = "PID")]
    server_pid: Vec<u32>,
    #[command(flatten)]
    credentials: Credentials,
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    output: Form,
}

/// What came of one round.
#[derive(serde::Serialize)]
struct Round {
    /// From the beginning of the round until each could ask: it was connected, and over TLS had shaken hands.
    connected: Latency,
    /// From the beginning of the round until each was answered.
    answered: Latency,
    failed: u32,
    /// Why the first of these did.
    why: Option<String>,
    /// The server, where it runs on this machine.
    server: Option<Used>,
}

/// What the server used in a round.
#[derive(serde::Serialize)]
struct Used {
    /// Of each client that was answered.
    cpu_us_per_client: f64,
    rss_bytes: u64,
    handles: u64,
}

/// What each client of a herd does.
#[derive(Clone)]
struct Client {
    target: Target,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    authorization: Option<String>,
    patience: Duration,
}

impl Herd {
    pub(super) fn go(self) -> Result<(), Fault> {
        let Self { target, connections, rounds, patience, server_pid, credentials, output } = self;
        if target.protocol != Protocol::Quota {
            return Err(Fault::Usage("a herd comes to http://HOST:PORT or https://HOST:PORT alone".to_owned()));
        }
        let client = Client::new(&target, &credentials, patience)?;
        handles::allow(connections as usize)?;
        let pids = processes(&server_pid, &target);
        let refuse = |error: std::io::Error| Fault::Failed(format!("there is no runtime: {error}"));
        // Where hands are shaken, a client has as much to do as the server.
        let mut runtime = match target.tls {
            true => tokio::runtime::Builder::new_multi_thread(),
            false => tokio::runtime::Builder::new_current_thread(),
        };
        let runtime = runtime.enable_all().build().map_err(refuse)?;
        let mut told = Vec::new();
        for _ in 0..rounds {
            let before = usage(&pids);
            let mut round = runtime.block_on(round(&client, connections, Duration::from_secs_f64(patience)));
            round.server = before.zip(usage(&pids)).map(|(before, after)| Used {
                cpu_us_per_client: (after.cpu_s - before.cpu_s) * 1e6 / (round.answered.count as f64).max(1.0),
                rss_bytes: after.rss_bytes,
                handles: after.handles,
            });
            if output == Form::Text {
                print(&round.text(connections))?;
            }
            told.push(round);
        }
        if output == Form::Json {
            print_json(&told)?;
        }
        match told.iter().find_map(|round| round.why.as_ref().map(|why| (round.failed, why))) {
            Some((failed, why)) => {
                Err(Fault::Failed(format!("{failed} of {connections} clients failed at {}: {why}", target.url())))
            }
            None => Ok(()),
        }
    }
}

impl Round {
    fn text(&self, connections: u32) -> String {
        let Self { connected, answered, failed, why: _, server } = self;
        let server = server.as_ref().map_or_else(String::new, |Used { cpu_us_per_client, rss_bytes, handles }| {
            let cpu = time(*cpu_us_per_client);
            format!("; server: {cpu} of CPU each, {} MiB, {handles} handles", rss_bytes >> 20)
        });
        format!(
            "{} of {connections} answered: p50 {} · p99 {} · the last {}; connected: p50 {} · the last {}; {failed} \
             failed{server}\n",
            count(answered.count as f64),
            time(answered.p50_us),
            time(answered.p99_us),
            time(answered.max_us),
            time(connected.p50_us),
            time(connected.max_us)
        )
    }
}

async fn round(client: &Client, connections: u32, patience: Duration) -> Round {
    let began = Instant::now();
    let mut herd = JoinSet::new();
    for _ in 0..connections {
        let client = client.clone();
        herd.spawn(async move {
            let mut connected = None;
            let done = tokio::time::timeout(patience, client.come(began, &mut connected)).await;
            let late = || format!("no answer came within {} s", patience.as_secs_f64());
            let answered = done.unwrap_or_else(|_| Err(late()));
            (connected, answered.map(|()| began.elapsed()))
        });
    }
    let (mut connected, mut answered, mut failed, mut why) = (histogram(), histogram(), 0, None);
    while let Some(done) = herd.join_next().await {
        let (ready, done) = done.unwrap_or_else(|error| (None, Err(error.to_string())));
        if let Some(after) = ready {
            connected.saturating_record(after.as_nanos() as u64);
        }
        match done {
            Ok(after) => answered.saturating_record(after.as_nanos() as u64),
            Err(what) => {
                failed += 1;
                why.get_or_insert(what);
            }
        }
    }
    Round { connected: Latency::of(&connected), answered: Latency::of(&answered), failed, why, server: None }
}

impl Client {
    fn new(target: &Target, credentials: &Credentials, patience: f64) -> Result<Self, Fault> {
        let dial = credentials.dial(target, patience)?;
        let tls = match dial.tls {
            None => None,
            Some(config) => {
                // Each is another client, and none has been here before.
                let mut config = (*config).clone();
                config.resumption = Resumption::disabled();
                let name = ServerName::try_from(target.host.clone());
                let name = name.map_err(|error| Fault::Usage(format!("{}: {error}", target.host)))?;
                Some((TlsConnector::from(Arc::new(config)), name))
            }
        };
        Ok(Self { target: target.clone(), tls, authorization: dial.authorization, patience: dial.patience })
    }

    /// Connects, asks once, and hears what it is told.
    async fn come(&self, began: Instant, connected: &mut Option<Duration>) -> Result<(), String> {
        let refused = |error: std::io::Error| unreachable(&self.target, &error, self.patience);
        let place = (self.target.host.as_str(), self.target.port);
        let stream = TcpStream::connect(place).await.map_err(refused)?;
        stream.set_nodelay(true).map_err(refused)?;
        match &self.tls {
            None => {
                *connected = Some(began.elapsed());
                self.ask(stream).await
            }
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await.map_err(refused)?;
                *connected = Some(began.elapsed());
                self.ask(stream).await
            }
        }
    }

    /// Asks once: any answer of gRPC is one.
    async fn ask(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<(), String> {
        let said = |error: h2::Error| match error.is_io() {
            true => "it closed the connection before it answered".to_owned(),
            false => format!("it does not speak HTTP/2 as it should ({error}): is it a gRPC server?"),
        };
        let (mut client, connection) = h2::client::handshake(stream).await.map_err(said)?;
        let driving = tokio::spawn(connection);
        let mut request = Request::post(format!("{}{CHECK}", self.target.url()))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let request = request.body(()).map_err(|error| error.to_string())?;
        let (response, mut send) = client.send_request(request, false).map_err(said)?;
        send.send_data(Bytes::from_static(&[0; 5]), true).map_err(said)?;
        let response = response.await.map_err(said)?;
        driving.abort();
        if response.headers().get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
            Ok(())
        } else {
            Err(format!("it does not speak gRPC there (status {} of HTTP)", response.status().as_u16()))
        }
    }
}
