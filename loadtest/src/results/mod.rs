//! Results: everything that is measured of Headgate, by one command, as a page that tells how.
//!
//! - `part` is what there is; `ledger`, `service`, `stores` and `memory` measure it, into what was `found`.
//! - `session` runs the commands, which are the ones that are shown; `servers` is what they are run against.
//! - `record` keeps the figures; `page` and `plots` show them.

mod found;
mod ledger;
mod machine;
mod memory;
mod page;
mod part;
mod plots;
mod record;
mod servers;
mod service;
mod session;
mod stores;

use std::path::{Path, PathBuf};

use tokio::signal::unix::{SignalKind, signal};

use crate::fault::Fault;
use found::Found;
use machine::{Busy, Machine};
use record::{Measured, Record};
use session::Session;

pub(crate) use part::Name;
pub(crate) use session::Peer;

/// What is to be measured, and where it is written.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The page. Its plots and its record are in a folder beside it that has its name.
    pub(crate) page: PathBuf,
    pub(crate) quick: bool,
    /// None: all.
    pub(crate) only: Vec<Name>,
    pub(crate) peers: Vec<Peer>,
    /// The server's binary; none: the one beside this.
    pub(crate) headgate: Option<PathBuf>,
    /// Where servers keep their files; none: beside the page.
    pub(crate) folder: Option<PathBuf>,
    pub(crate) note: Option<String>,
}

impl Wanted {
    /// Where plots and the record are.
    fn beside(&self) -> PathBuf {
        let stem = self.page.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
        self.page.with_file_name(stem)
    }
}

/// Measures what is wanted; returns what failed. What was measured is written down part by part.
pub(crate) fn measure(wanted: &Wanted) -> Result<Vec<String>, Fault> {
    let refuse = |error: std::io::Error| Fault::Failed(format!("there is no runtime: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(refuse)?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(refuse)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(refuse)?;
        // What it has started ends with it.
        let interrupted = || Fault::Failed("it was interrupted; the parts that were done are written down".to_owned());
        tokio::select! {
            done = measure_all(wanted) => done,
            _ = interrupt.recv() => Err(interrupted()),
            _ = terminate.recv() => Err(interrupted()),
        }
    })
}

async fn measure_all(wanted: &Wanted) -> Result<Vec<String>, Fault> {
    let beside = wanted.beside();
    std::fs::create_dir_all(&beside).map_err(|error| unwritable(&beside, &error))?;
    let at = beside.join("results.json");
    let mut record = Record::read(&at)?;
    let root = wanted.folder.as_deref().unwrap_or(&beside);
    let folder =
        tempfile::Builder::new().prefix("servers-").tempdir_in(root).map_err(|error| unwritable(root, &error))?;
    let session = session(wanted, folder.path())?;
    let mut failed = Vec::new();
    for part in Name::ALL.into_iter().filter(|part| wanted.only.is_empty() || wanted.only.contains(part)) {
        eprintln!("{}", part.title());
        let before = Busy::now();
        let Found { rows, remarks, skipped, failed: faults } = part.measure(&session, &record).await;
        failed.extend(faults.iter().map(|fault| format!("{}: {fault}", part.title())));
        // What a peer uses is nobody else's.
        let others = before.filter(|_| part != Name::Peers).and_then(Busy::others_until_now);
        let measured = Measured {
            machine: Machine::here(),
            revision: session.project.as_ref().and_then(|project| revision(project)),
            quick: wanted.quick,
            others,
            note: wanted.note.clone(),
            rows,
            remarks,
            skipped,
            failed: faults,
        };
        record.parts.insert(part, measured);
        record.write(&at)?;
        page::write(&record, &wanted.page, &beside)?;
    }
    Ok(failed)
}

fn session(wanted: &Wanted, folder: &Path) -> Result<Session, Fault> {
    let loadtest = std::env::current_exe()
        .map_err(|error| Fault::Failed(format!("this program's own file cannot be found: {error}")))?;
    let headgate = wanted.headgate.clone().unwrap_or_else(|| loadtest.with_file_name("headgate"));
    if !headgate.is_file() {
        return Err(Fault::Usage(format!(
            "there is no server at {}: build it (cargo build --release), or name it with --headgate",
            headgate.display()
        )));
    }
    let absolute = |path: &Path| std::path::absolute(path).map_err(|error| unwritable(path, &error));
    let project = std::env::current_dir().ok().filter(|here| here.join("benches/counts.yaml").is_file());
    Ok(Session {
        headgate: absolute(&headgate)?,
        loadtest,
        folder: absolute(folder)?,
        project,
        quick: wanted.quick,
        peers: wanted.peers.clone(),
    })
}

/// What a program says in a line; none: it is not there.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let ran = std::process::Command::new(program).args(arguments).stdin(std::process::Stdio::null()).output().ok()?;
    let said = String::from_utf8(ran.stdout).ok().filter(|_| ran.status.success())?;
    said.lines().next().map(str::to_owned)
}

fn revision(project: &Path) -> Option<String> {
    let project = project.to_str()?;
    said("git", &["-C", project, "describe", "--always", "--dirty", "--abbrev=10"])
}

fn write(path: &Path, text: &str) -> Result<(), Fault> {
    std::fs::write(path, text).map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Fault {
    Fault::Usage(format!("{} cannot be written: {error}", path.display()))
}
