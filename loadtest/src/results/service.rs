//! A server that is driven: by calls, by streams, by a schedule, beside others, and with a peer's workload.

use std::collections::BTreeMap;

use super::found::Found;
use super::part::Name;
use super::record::{Record, Row, Value};
use super::servers::{Kind, Server};
use super::session::{Came, Session};

/// The parts of the highest rate, in hundredths, that a schedule asks of the first kind of call.
const PARTS: [u32; 5] = [10, 20, 40, 60, 80];
/// The part that it asks of all, and of the yardstick beside them.
const OF_THE_HIGHEST: u32 = 60;

/// How a server is asked.
struct Asked {
    what: &'static str,
    /// Before the address.
    scheme: &'static str,
    /// After it.
    query: &'static str,
    call: &'static str,
}

const CHECK: Asked = Asked { what: "`CheckQuota`", scheme: "http", query: "", call: "check" };
const ACQUIRE: Asked = Asked { what: "`Acquire`, `Release`", scheme: "http", query: "", call: "acquire" };
/// With as much in flight as fills messages.
const STREAMS: [Asked; 6] = [
    stream("checks, 1 a message", "?in-flight=1024&batch=1", "check"),
    stream("checks, 64 a message", "?in-flight=1024&batch=64", "check"),
    stream("checks, 256 a message", "?in-flight=4096&batch=256", "check"),
    stream("acquires and releases, 1 a message", "?in-flight=1024&batch=1", "acquire"),
    stream("acquires and releases, 64 a message", "?in-flight=1024&batch=64", "acquire"),
    stream("acquires and releases, 256 a message", "?in-flight=4096&batch=256", "acquire"),
];

const fn stream(what: &'static str, query: &'static str, call: &'static str) -> Asked {
    Asked { what, scheme: "stream+http", query, call }
}

impl Asked {
    /// Operations that come of each that is begun: an acquire is followed by its release.
    fn follow(&self) -> f64 {
        if self.call == ACQUIRE.call { 2.0 } else { 1.0 }
    }

    fn target(&self, server: &Server) -> String {
        format!("{}://{}{}", self.scheme, server.address, self.query)
    }
}

/// The words that say how long, of a comparison.
fn compare<'a>(session: &Session, a: &'a str, b: &'a str, call: &'a str) -> Vec<&'a str> {
    let lasting = session.lasting();
    let timed = ["--pairs", lasting.pairs, "--duration", lasting.seconds, "--warm-up", lasting.warm_up];
    [&["compare", a, b, "--setup", "--call", call], &timed[..]].concat()
}

/// A server beside another that does nothing.
async fn beside(session: &Session, server: &Server, other: &Server, name: &str, asked: &Asked, found: &mut Found) {
    let (a, b) = (asked.target(server), asked.target(other));
    // What does nothing cannot be set up; but what is asked is the same.
    let came = session.loadtest(&compare(session, &a, &b, asked.call), &[server, other]).await;
    found.compared(asked.what, name, came);
}

/// The engine as a library, asked so many things at once.
async fn embedded(session: &Session, batches: &[u32], found: &mut Found) {
    let lasting = session.lasting();
    let timed = ["--repeat", lasting.pairs, "--duration", lasting.seconds, "--warm-up", lasting.warm_up];
    for (call, calls) in [(CHECK.call, "checks"), (ACQUIRE.call, "acquires and releases")] {
        for batch in batches {
            let target = if *batch == 1 { "embedded".to_owned() } else { format!("embedded?batch={batch}") };
            let came = session.loadtest(&[&["run", &target, "--call", call], &timed[..]].concat(), &[]).await;
            found.outcome(&format!("the engine, embedded: {calls}, {batch} a call"), came);
        }
    }
}

pub(crate) async fn calls(session: &Session, found: &mut Found) {
    embedded(session, &[1], found).await;
    let Some(server) = found.server(session, Kind::Memory).await else { return };
    for (kind, name) in [(Kind::YardstickH2, "the yardstick, on h2"), (Kind::YardstickTonic, "the yardstick, on tonic")]
    {
        let Some(yardstick) = found.server(session, kind).await else { continue };
        for asked in [CHECK, ACQUIRE] {
            beside(session, &server, &yardstick, name, &asked, found).await;
        }
        yardstick.end().await;
    }
    server.end().await;
}

pub(crate) async fn streams(session: &Session, found: &mut Found) {
    embedded(session, &[64, 256], found).await;
    let Some(server) = found.server(session, Kind::Memory).await else { return };
    if let Some(yardstick) = found.server(session, Kind::YardstickH2).await {
        for asked in STREAMS {
            beside(session, &server, &yardstick, "the yardstick, on h2", &asked, found).await;
        }
        yardstick.end().await;
    }
    server.end().await;
}

/// At parts of the highest rate: that of the parts before, or, where they were not measured, of a run before it.
pub(crate) async fn schedule(session: &Session, record: &Record, found: &mut Found) {
    let Some(server) = found.server(session, Kind::Memory).await else { return };
    let Some(yardstick) = found.server(session, Kind::YardstickH2).await else { return };
    let [.., many_checks, _, _, many_acquires] = STREAMS;
    let lasting = session.lasting();
    let timed = ["--repeat", lasting.pairs, "--duration", lasting.seconds, "--warm-up", lasting.warm_up];
    for (part, asked, parts) in [
        (Name::Calls, CHECK, &PARTS[..]),
        (Name::Calls, ACQUIRE, &[OF_THE_HIGHEST]),
        (Name::Streams, many_checks, &[OF_THE_HIGHEST]),
        (Name::Streams, many_acquires, &[OF_THE_HIGHEST]),
    ] {
        let (target, other) = (asked.target(&server), asked.target(&yardstick));
        let run = [&["run", &target, "--setup", "--call", asked.call], &timed[..]].concat();
        let known = record.figure(part, asked.what, "rate").map(|rate| rate.value);
        let highest = match known {
            Some(rate) => rate,
            None => {
                let came: Result<Came<crate::outcome::Outcome>, _> = session.loadtest(&run, &[&server]).await;
                let Some((of, _)) = found.came(came) else { continue };
                of.median(|run| run.rate).map_or(0.0, |rate| rate.median)
            }
        };
        for part in parts {
            let rate = format!("{:.0}", (highest * f64::from(*part) / 100.0 / asked.follow()).max(1.0));
            let what = format!("{}, at {part} %", asked.what);
            if *part == OF_THE_HIGHEST {
                let both = [&compare(session, &target, &other, asked.call)[..], &["--rate", &rate]].concat();
                found.compared(&what, "the yardstick, on h2", session.loadtest(&both, &[&server, &yardstick]).await);
            } else {
                found.outcome(&what, session.loadtest(&[&run[..], &["--rate", &rate]].concat(), &[&server]).await);
            }
        }
    }
    yardstick.end().await;
    server.end().await;
}

pub(crate) async fn peers(session: &Session, found: &mut Found) {
    if session.peers.is_empty() {
        found.skipped.push(
            "no peer was named: start one, and say --peer NAME=TARGET, such as limitador=ratelimit+http://127.0.0.1:8081"
                .to_owned(),
        );
        return;
    }
    let (Some(server), Some(gateway)) =
        (found.server(session, Kind::Memory).await, found.server(session, Kind::Gateway).await)
    else {
        return;
    };
    let limit = Asked { what: "`ShouldRateLimit`", scheme: "ratelimit+http", query: "", call: "check" };
    let [one, some, many, ..] = STREAMS;
    for peer in &session.peers {
        let theirs = peer.target.to_string();
        for (asked, server) in [
            (&limit, &gateway),
            (&CHECK, &server),
            (&ACQUIRE, &server),
            (&one, &server),
            (&some, &server),
            (&many, &server),
        ] {
            let ours = asked.target(server);
            let came = session.loadtest(&compare(session, &ours, &theirs, asked.call), &[server]).await;
            found.compared(&format!("Headgate: {}", asked.what), &peer.name, came);
        }
    }
    server.end().await;
    gateway.end().await;
}

/// What is read of the outcome of `kueue`.
#[derive(serde::Deserialize)]
struct Kueue {
    total_s: f64,
    floor_s: f64,
    admissions_per_second: f64,
    nominal_in_use: f64,
    server_cpu_us: Option<f64>,
    time_to_admission: BTreeMap<String, Waits>,
}

#[derive(serde::Deserialize)]
struct Waits {
    mean_s: f64,
}

pub(crate) async fn kueue(session: &Session, found: &mut Found) {
    let Some(server) = found.server(session, Kind::Memory).await else { return };
    let url = server.url();
    let part: &[&str] = if session.quick { &["--part", "0.1"] } else { &[] };
    let came = session.loadtest::<Kueue>(&[&["kueue", &url], part].concat(), &[&server]).await;
    if let Some((of, shown)) = found.came(came) {
        let mut figures = BTreeMap::from([
            ("in-use".to_owned(), of.nominal_in_use),
            ("rate".to_owned(), of.admissions_per_second),
            ("total".to_owned(), of.total_s * 1e6),
            ("floor".to_owned(), of.floor_s * 1e6),
        ]);
        figures.extend(of.server_cpu_us.map(|cpu| ("server-cpu".to_owned(), cpu)));
        figures.extend(of.time_to_admission.into_iter().map(|(class, waits)| (class, waits.mean_s * 1e6)));
        let figures = figures.into_iter().map(|(name, value)| (name, Value::exact(value))).collect();
        found.rows.push(Row { what: "Headgate".to_owned(), command: shown, is_ratio: false, figures });
    }
    server.end().await;
}
