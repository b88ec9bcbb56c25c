//! `results`: all that there is to be measured, as a page.

use std::path::PathBuf;

use clap::Args;

use crate::fault::Fault;
use crate::results::{Name, Peer, Wanted, measure};

/// All that there is to be measured, as a page.
#[derive(Args, Debug)]
#[command(
    after_help = "Every part is written down as soon as it is done, and only those that are measured anew change. In the \
                        project's folder `just results` builds what it needs first."
)]
pub(super) struct Results {
    /// The page. Plots and figures are put in a folder beside it, of its name
    #[arg(long, value_name = "FILE.md", default_value = "benches/RESULTS.md")]
    page: PathBuf,
    /// Measure briefly: minutes instead of half an hour, and figures that are as rough
    #[arg(long)]
    quick: bool,
    /// Measure these parts alone
    #[arg(long, value_name = "PART,…", value_delimiter = ',')]
    only: Vec<Name>,
    /// Measure a server of others beside this one, which somebody has started: limitador=ratelimit+http://127.0.0.1:8081
    #[arg(long, value_name = "NAME=TARGET")]
    peer: Vec<Peer>,
    /// The server's binary; without it, the one beside this
    #[arg(long, value_name = "FILE")]
    headgate: Option<PathBuf>,
    /// Where servers keep what they keep in files, as it is this disk that is measured; without it, beside the page
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// A sentence that is told beside the machine, such as what else ran on it
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

impl Results {
    pub(super) fn go(self) -> Result<(), Fault> {
        let Self { page, quick, only, peer: peers, headgate, folder, note } = self;
        let wanted = Wanted { page, quick, only, peers, headgate, folder, note };
        let failed = measure(&wanted)?;
        super::write::print(&format!("{} is written\n", wanted.page.display()))?;
        super::all_of(failed)
    }
}
