//! The server's own verbs: serve, verify.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use headgate_ledger::Name;
use serde_json::{Value, json};

use super::fault::Fault;
use super::output::Output;
use super::{DONE, FAILED, Outcome};
use crate::config::{CivilCalendar, Config, Store};
use crate::engine::{Report, verify as verify_cell};
use crate::store::{CellName, ReadOnlyFileStore, StoreError};

/// What is served.
#[derive(Debug, Args)]
#[command(
    after_help = "SIGHUP has it read the file again; SIGTERM and SIGINT end it, and what is under way is answered first."
)]
pub(super) struct ServeArgs {
    /// The configuration. Without one: example tenants on this machine, kept in ./headgate-data
    #[arg(short, long, env = "HEADGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What is verified.
#[derive(Debug, Args)]
#[command(after_help = "Nothing is written. A server that uses the store must be stopped first.")]
pub(super) struct VerifyArgs {
    /// The configuration that names the store. Without one: ./headgate-data
    #[arg(short, long, env = "HEADGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn serve(args: &ServeArgs) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // Errors of ours say what they come from: with their sources beside them, all is said twice.
    runtime.block_on(crate::serve::run(args.config.as_deref())).map_err(|error| Fault::Failed(error.to_string()))?;
    Ok(DONE)
}

pub(super) fn verify(args: &VerifyArgs, out: Output) -> Outcome {
    let config = args.config.as_deref().map_or_else(Config::embedded, Config::load);
    let config = config.map_err(|problems| Fault::Failed(problems.to_string()))?;
    let path = match &config.store {
        Store::File { path } => path,
        Store::Memory => return Err(Fault::Failed("a store in memory leaves nothing to verify".into())),
        Store::Redis { .. } => return Err(Fault::Failed("a store in Redis cannot be verified yet".into())),
    };
    if !path.exists() {
        let help = "--config names the configuration of the one that is meant";
        return Err(Fault::Failed(format!("there is no store in {}: {help}", path.display())));
    }
    let broken = |error: StoreError| Fault::Failed(error.to_string());
    let store = ReadOnlyFileStore::open(path).map_err(broken)?;
    let mut cells = Vec::new();
    for cell in store.cells().map_err(broken)? {
        cells.push(verified(&store, cell));
    }
    out.print(
        || json!({"items": cells.iter().map(Verified::json).collect::<Vec<_>>()}),
        || {
            if cells.is_empty() {
                format!("{}: it holds no cell\n", path.display())
            } else {
                cells.iter().map(Verified::text).collect()
            }
        },
    )?;
    Ok(if cells.iter().all(Verified::is_sound) { DONE } else { FAILED })
}

/// What came of verifying a cell.
struct Verified {
    cell: String,
    repairs: Vec<String>,
    found: Result<Report, String>,
}

fn verified(store: &ReadOnlyFileStore, cell: CellName) -> Verified {
    let name = cell.to_string();
    let found = store.past(&cell).map_err(|error| error.to_string()).and_then(|(past, repairs)| {
        let named = Name::parse(&name).map_err(|error| error.to_string())?;
        let report = verify_cell(&*past, &named, &CivilCalendar).map_err(|error| error.to_string())?;
        Ok((report, repairs.iter().map(ToString::to_string).collect()))
    });
    match found {
        Ok((report, repairs)) => Verified { cell: name, repairs, found: Ok(report) },
        Err(why) => Verified { cell: name, repairs: Vec::new(), found: Err(why) },
    }
}

impl Verified {
    fn is_sound(&self) -> bool {
        self.found.as_ref().is_ok_and(Report::is_sound)
    }

    fn json(&self) -> Value {
        let Self { cell, repairs, found } = self;
        match found {
            Err(error) => json!({"cell": cell, "sound": false, "error": error}),
            Ok(report) => {
                let broken: Vec<_> = report.violations.iter().map(ToString::to_string).collect();
                let unreadable: Vec<_> = report.replay.unreadable.iter().map(ToString::to_string).collect();
                json!({
                    "cell": cell,
                    "sound": report.is_sound(),
                    "sequence": report.sequence,
                    "records": report.replay.records,
                    "digests": report.replay.digests,
                    "snapshots_compared": report.snapshots_compared,
                    "leases": report.leases,
                    "tickets": report.tickets,
                    "violations": broken,
                    "unreadable": unreadable,
                    "repairs": repairs,
                })
            }
        }
    }

    fn text(&self) -> String {
        let Self { cell, repairs, found } = self;
        let mut text = String::new();
        // Writing to a string does not fail.
        match found {
            Err(error) => {
                let _ = writeln!(text, "cell {cell}: broken: {error}");
            }
            Ok(report) => {
                let sound = if report.is_sound() { "sound" } else { "broken" };
                let Report { sequence, leases, tickets, snapshots_compared, replay, violations, .. } = report;
                let _ = writeln!(
                    text,
                    "cell {cell}: {sound}, up to number {sequence}: {leases} leases, {tickets} tickets; {} records replayed, \
                     {} digests and {snapshots_compared} snapshots compared",
                    replay.records, replay.digests
                );
                for violation in violations {
                    let _ = writeln!(text, "  {violation}");
                }
                for unreadable in &replay.unreadable {
                    let _ = writeln!(text, "  a snapshot cannot be read: {unreadable}");
                }
            }
        }
        for repair in repairs {
            let _ = writeln!(text, "  to be put right when it is next served: {repair}");
        }
        text
    }
}
