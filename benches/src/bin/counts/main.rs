//! Counts the instructions of what the service does, and compares them with the record.
//!
//! Time says little on a machine that others use too; a count of instructions is the same on every run. `counts check`
//! fails where one has grown by more than a tenth, `counts record` writes down what they are now, and `counts run` does
//! one thing so many times over, for any tool that looks at a process.

mod callgrind;
mod file;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand};
use headgate_benches::counted::{THINGS, Thing};

use file::{Compared, Counts};

/// Counts the instructions of what the service does, and compares them with the record
#[derive(Parser)]
#[command(max_term_width = 120)]
struct Arguments {
    /// Where counts are recorded
    #[arg(long, global = true, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/counts.yaml"))]
    file: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Count everything, and fail where something has grown by more than a tenth
    Check,
    /// Count everything, and write it down
    Record,
    /// Do one thing so many times over, to be looked at by another tool
    Run {
        /// What
        #[arg(value_parser = PossibleValuesParser::new(THINGS.map(|thing| thing.name)))]
        name: String,
        /// How often
        times: usize,
    },
}

fn main() -> ExitCode {
    let Arguments { file, command } = Arguments::parse();
    let done = match command {
        Command::Check => check(&file),
        Command::Record => record(&file).map(|()| true),
        Command::Run { name, times } => run(&name, times).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("counts: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Says whether nothing has grown.
fn check(file: &std::path::Path) -> anyhow::Result<bool> {
    let recorded = Counts::read(file)?;
    let compared = Compared::new(&recorded, &count()?);
    print!("{compared}");
    Ok(compared.is_fine())
}

fn record(file: &std::path::Path) -> anyhow::Result<()> {
    let counts = count()?;
    std::fs::write(file, counts.to_string()).with_context(|| format!("cannot write {}", file.display()))?;
    print!("{counts}");
    Ok(())
}

/// Counts everything that is recorded.
fn count() -> anyhow::Result<Counts> {
    let things: Vec<_> = THINGS.into_iter().filter(|thing| thing.is_recorded).collect();
    callgrind::look()?;
    let instructions = callgrind::count(&things)?;
    Ok(Counts { toolchain: file::toolchain()?, architecture: std::env::consts::ARCH.to_owned(), instructions })
}

fn run(name: &str, times: usize) -> anyhow::Result<()> {
    let thing = Thing::of(name).with_context(|| format!("nothing is called {name}"))?;
    let most = thing.times_max;
    anyhow::ensure!(times <= most, "{name} can be done {most} times at most, and {times} are asked for");
    thing.run(times);
    Ok(())
}
