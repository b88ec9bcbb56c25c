//! `merge`: outcomes of generators that ran at once, as one.

use std::path::PathBuf;
use std::time::SystemTime;

use clap::Args;

use super::write::Writing;
use crate::fault::Fault;
use crate::outcome::{Outcome, merge};

const HELP: &str = "\
Rates are added, and histograms put together, so percentiles are of all operations.

Example:
  headgate-loadtest run http://server:7070 --rate 5000 --duration 60s -o json > one.json    # on each machine
  headgate-loadtest merge one.json two.json --assert 'p99<5ms'";

/// Outcomes as one.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct Merge {
    /// What each wrote with -o json
    #[arg(required = true, value_name = "FILE.json")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    writing: Writing,
}

impl Merge {
    pub(super) fn go(self) -> Result<(), Fault> {
        self.writing.one_target()?;
        let outcomes: Vec<Outcome> = self.files.iter().map(read).collect::<Result<_, _>>()?;
        let merged = merge::merge(&outcomes).map_err(Fault::Usage)?;
        let mut failures = self.writing.write(&merged, SystemTime::now())?;
        if merged.checked.violations > 0 {
            failures.push(format!("{} violations were found", merged.checked.violations));
        }
        super::all_of(failures)
    }
}

fn read(path: &PathBuf) -> Result<Outcome, Fault> {
    let refuse = |what: String| Fault::Usage(format!("{} is no outcome of a run: {what}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| refuse(error.to_string()))
}
