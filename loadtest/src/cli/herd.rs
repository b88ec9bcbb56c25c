//! `herd`: many clients that connect at once, as they do when a server comes back.

use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use http::Request;
use tokio::task::JoinSet;

use super::driving::seconds;
use super::write::{Form, print, print_json};
use crate::calls::CHECK;
use crate::fault::Fault;
use crate::outcome::figures::Latency;
use crate::outcome::text::{count, time};
use crate::tally::histogram;
use crate::target::{Protocol, Target};

/// Many clients that connect at once.
#[derive(Args, Debug)]
pub(super) struct Herd {
    /// Where it listens: http://HOST:PORT
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
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    output: Form,
}

/// What came of one round.
#[derive(serde::Serialize)]
struct Round {
    /// From the beginning of the round until each was answered.
    answered: Latency,
    failed: u32,
    /// Why the first of these did.
    why: Option<String>,
}

impl Herd {
    pub(super) fn go(self) -> Result<(), Fault> {
        let Self { target, connections, rounds, patience, output } = self;
        if target.protocol != Protocol::Quota || target.tls {
            return Err(Fault::Usage("a herd comes to http://HOST:PORT alone".to_owned()));
        }
        let refuse = |error: std::io::Error| Fault::Failed(format!("there is no runtime: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(refuse)?;
        let mut told = Vec::new();
        for _ in 0..rounds {
            let round = runtime.block_on(round(&target, connections, Duration::from_secs_f64(patience)));
            if output == Form::Text {
                let Round { answered, failed, .. } = &round;
                print(&format!(
                    "{} of {connections} answered: p50 {} · p99 {} · the last {}; {failed} failed\n",
                    count(answered.count as f64),
                    time(answered.p50_us),
                    time(answered.p99_us),
                    time(answered.max_us)
                ))?;
            }
            told.push(round);
        }
        if output == Form::Json {
            print_json(&told)?;
        }
        match told.iter().find_map(|round| round.why.as_ref().map(|why| (round.failed, why))) {
            Some((failed, why)) => {
                Err(Fault::Failed(format!("{}: {failed} of {connections} failed: {why}", target.url())))
            }
            None => Ok(()),
        }
    }
}

async fn round(target: &Target, connections: u32, patience: Duration) -> Round {
    let began = Instant::now();
    let mut herd = JoinSet::new();
    for _ in 0..connections {
        let target = target.clone();
        herd.spawn(async move {
            let answered = tokio::time::timeout(patience, one(&target)).await;
            answered.unwrap_or_else(|_| Err("no answer came in time".to_owned())).map(|()| began.elapsed())
        });
    }
    let (mut answered, mut failed, mut why) = (histogram(), 0, None);
    while let Some(done) = herd.join_next().await {
        match done.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(after) => answered.saturating_record(after.as_nanos() as u64),
            Err(what) => {
                failed += 1;
                why.get_or_insert(what);
            }
        }
    }
    Round { answered: Latency::of(&answered), failed, why }
}

/// Connects, asks once, and hears what it is told: any answer of gRPC is one.
async fn one(target: &Target) -> Result<(), String> {
    let plain = |error: std::io::Error| format!("it cannot be reached: {error}").to_lowercase();
    let stream = tokio::net::TcpStream::connect((target.host.as_str(), target.port)).await.map_err(plain)?;
    let said = |error: h2::Error| error.to_string();
    let (mut client, connection) = h2::client::handshake(stream).await.map_err(said)?;
    let driving = tokio::spawn(connection);
    let request = Request::post(format!("{}{CHECK}", target.url()))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .map_err(|error| error.to_string())?;
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
