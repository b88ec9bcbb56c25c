//! `yardstick`: a server that does nothing.

use clap::Args;

use crate::fault::Fault;
use crate::yardstick::{self, Built};

const HELP: &str = "\
It serves until it is ended. What it is set up with is taken, and forgotten, where it is built with tonic.

Examples:
  headgate-loadtest yardstick &
  headgate-loadtest compare http://127.0.0.1:7070 http://127.0.0.1:7171 --setup --call check
  headgate-loadtest run review+http://127.0.0.1:7171";

/// A server that does nothing.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct Yardstick {
    /// Where it listens
    #[arg(long, default_value = "127.0.0.1:7171")]
    listen: std::net::SocketAddr,
    /// Threads, each with a runtime and a listener of its own; 0: one for each core
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1024))]
    threads: u32,
    /// How it is built; on h2 it is a webhook too, and allows every pod that it reviews
    #[arg(long, value_enum, default_value_t = Built::H2)]
    built: Built,
}

impl Yardstick {
    pub(super) fn go(self) -> Result<(), Fault> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if self.threads == 0 { cores } else { self.threads as usize };
        let serving = yardstick::Yardstick::start(self.listen, threads, self.built)?;
        super::write::print(&format!("a server that does nothing listens on {}\n", serving.address()))?;
        serving.wait()
    }
}
