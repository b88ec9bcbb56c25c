//! What durability costs: files beside memory, answered after the disk has it and before.

use super::found::Found;
use super::machine::fdatasync;
use super::record::{Row, Value};
use super::servers::Kind;
use super::session::Session;

/// How often the disk is asked.
const SYNCS: u32 = 200;

pub(crate) async fn stores(session: &Session, found: &mut Found) {
    let times = if session.quick { SYNCS / 4 } else { SYNCS };
    let taken = fdatasync(&session.folder, times).map_err(|fault| fault.to_string());
    if let Some(taken) = found.noted(taken) {
        let mut row = Row { what: "the disk's own fdatasync".to_owned(), ..Row::default() };
        let figures =
            [("rate", 1e6 / taken.mean_us), ("p50", taken.p50_us), ("p99", taken.p99_us), ("p99.9", taken.p999_us)];
        row.figures = figures.map(|(name, value)| (name.to_owned(), Value::exact(value))).into();
        found.rows.push(row);
    }
    let (Some(journaled), Some(relaxed)) =
        (found.server(session, Kind::Journaled).await, found.server(session, Kind::Relaxed).await)
    else {
        return;
    };
    let lasting = session.lasting();
    let timed = ["--pairs", lasting.pairs, "--duration", lasting.seconds, "--warm-up", lasting.warm_up];
    for (what, scheme, query) in [
        ("calls", "http", ""),
        ("calls, one at a time", "http", "?connections=1&in-flight=1"),
        ("a stream, 64 a message", "stream+http", "?in-flight=1024&batch=64"),
    ] {
        let [a, b] = [&journaled, &relaxed].map(|server| format!("{scheme}://{}{query}", server.address));
        let compare = [&["compare", &a, &b, "--setup", "--call", "acquire"], &timed[..]].concat();
        let came = session.loadtest(&compare, &[&journaled, &relaxed]).await;
        found.compared(&format!("`journaled`: {what}"), &format!("`relaxed`: {what}"), came);
    }
    journaled.end().await;
    relaxed.end().await;
}
