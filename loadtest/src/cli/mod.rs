//! The command line.

mod compare;
mod credentials;
mod driving;
mod herd;
mod kueue;
mod merge;
mod ramp;
mod results;
mod run;
mod serve;
mod write;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::fault::Fault;

/// Drives Headgate, and its peers, and says how fast they are and whether they keep what they promise.
#[derive(Debug, Parser)]
#[command(name = "headgate-loadtest", version, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Drive one target, and say what came of it
    Run(run::Run),
    /// Find the highest rate at which a latency still holds
    Ramp(ramp::Ramp),
    /// Drive two targets in turn, pair by pair, and say how they compare
    Compare(compare::Compare),
    /// Drive the workload of Kueue's scheduler benchmark, with simulated job runners
    Kueue(kueue::Kueue),
    /// Let many clients connect at once, as when a server comes back
    Herd(herd::Herd),
    /// Put the outcomes of generators together that ran at once
    Merge(merge::Merge),
    /// Measure all that there is to be measured, and write it down as a page
    Results(results::Results),
    /// Serve answers that cost nothing: what a server can reach at all
    Yardstick(serve::Yardstick),
}

/// Does what the command line says; returns the exit status: 0 done, 1 failed or not as asserted, 2 usage.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nobody may be there to read it.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let done = match arguments.verb {
        Verb::Run(run) => run.go(),
        Verb::Ramp(ramp) => ramp.go(),
        Verb::Compare(compare) => compare.go(),
        Verb::Kueue(kueue) => kueue.go(),
        Verb::Herd(herd) => herd.go(),
        Verb::Merge(merge) => merge.go(),
        Verb::Results(results) => results.go(),
        Verb::Yardstick(yardstick) => yardstick.go(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("headgate-loadtest: {fault}");
            fault.exit()
        }
    }
}

/// Several sentences as one failure.
fn all_of(failures: Vec<String>) -> Result<(), Fault> {
    if failures.is_empty() { Ok(()) } else { Err(Fault::Failed(failures.join("\nheadgate-loadtest: "))) }
}
