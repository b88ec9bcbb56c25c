//! The command line: `headgate`, also installed as `kubectl-headgate`.
//!
//! A verb parses its arguments, asks a server or this crate's other modules, and prints the answer: for people, or with
//! `-o json` as one JSON object in the wire's field names and words. It decides nothing itself.

mod acquire;
mod admin;
mod connect;
mod elsewhere;
mod explain;
mod fault;
mod get;
mod json;
mod keep;
mod offline;
mod output;
mod request;
mod run;
mod serving;
mod terminal;
mod text;
mod waiting;
mod watch;

use std::ffi::OsString;
use std::future::Future;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use connect::ServerArgs;
use fault::Fault;
use output::{Format, Output};

/// Whoever asked is done, or is allowed.
const DONE: u8 = 0;
/// It was denied, or failed.
const FAILED: u8 = 1;
/// The command line was not understood.
const USAGE: u8 = 2;
/// It waits in the queue.
const QUEUED: u8 = 3;

/// What a verb comes to: its exit status, or why it failed.
type Outcome = Result<u8, Fault>;

/// Decides whether a piece of work may start: on which tenant's quota, with how much borrowed capacity, or behind
/// whom it waits
#[derive(Debug, Parser)]
#[command(name = "headgate", version, max_term_width = 100, after_help = EXITS)]
struct Cli {
    #[command(flatten)]
    server: ServerArgs,
    /// What is printed: text for people, or one JSON object in the wire's field names
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    #[command(subcommand)]
    verb: Verb,
}

const EXITS: &str =
    "Exit status: 0 done or allowed, 1 denied or failed, 2 usage, 3 queued (acquire without --wait, check)";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve: decide, and keep what was decided
    Serve(serving::ServeArgs),
    /// Say what would be decided of a request now; nothing is taken, and it is no permission to start
    Check(acquire::CheckArgs),
    /// Ask to start: takes a lease when it is allowed, a ticket when it is queued
    Acquire(acquire::AcquireArgs),
    /// Say that the work of provisional leases has started
    Confirm(keep::Named),
    /// Give leases and tickets their whole time to live again
    Renew(keep::RenewArgs),
    /// Change what each instance of a lease holds
    Resize(keep::ResizeArgs),
    /// End leases, and give back what they hold
    Release(keep::Named),
    /// End tickets; of one that was admitted, release the lease
    Cancel(keep::Named),
    /// Run a command under a lease: wait for it, renew it, give it back
    Run(run::RunArgs),
    /// Print how leases and tickets stand, then what happens to them
    Watch(watch::WatchArgs),
    /// List tenants, pools, classes, the queue, leases or usage
    #[command(subcommand)]
    Get(get::GetVerb),
    /// Say how a tenant stands, why a ticket waits, or what a lease holds, with all the numbers
    Explain(explain::ExplainArgs),
    /// Say who holds what a tenant or ticket waits for, above guarantee first
    Why(explain::WhyArgs),
    /// Set the pools, classes and tenants of a configuration file
    Apply(admin::ApplyArgs),
    /// Remove a tenant, pool or class
    Delete(admin::DeleteArgs),
    /// Stop a pool from admitting, or let it again
    Pause(admin::PauseArgs),
    /// Say what becomes of requests that would be queued or denied
    Enforce(admin::EnforceArgs),
    /// Load a store, rebuild every counter and check every invariant
    Verify(serving::VerifyArgs),
    /// Run scenario files in virtual time
    Test(offline::TestArgs),
    /// Replay a trace in virtual time, and print a JSON summary
    Simulate(offline::SimulateArgs),
    /// Look at configuration files
    #[command(subcommand)]
    Config(offline::ConfigVerb),
    /// Print a script that completes this command line in a shell
    Completions(offline::CompletionsArgs),
    /// Print the manual page, or write a page for each verb
    Man(offline::ManArgs),
}

/// Parses `args`, the first being the name that it was called by, does what they say, and returns the exit status.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match parse(&args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come here too, for standard output.
            let status = if error.use_stderr() { USAGE } else { DONE };
            let _ = error.print(); // whoever reads it is gone
            return status.into();
        }
    };
    let status = match perform(cli) {
        Ok(status) => status,
        Err(Fault::Unread) => DONE,
        Err(fault) => {
            output::complain(&fault.to_string());
            fault.status()
        }
    };
    status.into()
}

/// Parses a command line, in the name that it was called by.
fn parse(args: &[OsString]) -> Result<Cli, clap::Error> {
    let mut command = command(args.first());
    let mut matches = command.try_get_matches_from_mut(args)?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// The whole command line, as it is spelt when called by this name.
fn command(called: Option<&OsString>) -> clap::Command {
    let plugin = called.and_then(|name| Path::new(name).file_stem()).is_some_and(|name| name == "kubectl-headgate");
    let command = Cli::command();
    if plugin { command.bin_name("kubectl headgate") } else { command }
}

fn perform(Cli { server, output, verb }: Cli) -> Outcome {
    let out = Output::new(output);
    match verb {
        Verb::Serve(args) => serving::serve(&args),
        Verb::Check(args) => wait_for(acquire::check(args, &server, out)),
        Verb::Acquire(args) => wait_for(acquire::acquire(args, &server, out)),
        Verb::Confirm(args) => wait_for(keep::confirm(args, &server, out)),
        Verb::Renew(args) => wait_for(keep::renew(args, &server, out)),
        Verb::Resize(args) => wait_for(keep::resize(args, &server, out)),
        Verb::Release(args) => wait_for(keep::release(args, &server, out)),
        Verb::Cancel(args) => wait_for(keep::cancel(args, &server, out)),
        Verb::Run(args) => wait_for(run::run(args, &server)),
        Verb::Watch(args) => wait_for(watch::watch(args, &server, out)),
        Verb::Get(verb) => wait_for(get::get(verb, &server, out)),
        Verb::Explain(args) => wait_for(explain::explain(args, &server, out)),
        Verb::Why(args) => wait_for(explain::why(args, &server, out)),
        Verb::Apply(args) => wait_for(admin::apply(args, &server, out)),
        Verb::Delete(args) => wait_for(admin::delete(args, &server, out)),
        Verb::Pause(args) => wait_for(admin::pause(args, &server, out)),
        Verb::Enforce(args) => wait_for(admin::enforce(args, &server, out)),
        Verb::Verify(args) => serving::verify(&args, out),
        Verb::Test(args) => offline::test(&args, out),
        Verb::Simulate(args) => offline::simulate(args),
        Verb::Config(verb) => offline::config(verb, out),
        Verb::Completions(args) => offline::completions(&args, out),
        Verb::Man(args) => offline::man(&args, out),
    }
}

/// Runs a client's verb to its end: one thread is enough for one conversation.
fn wait_for(verb: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Fault::Broken)?;
    let outcome = runtime.block_on(verb);
    // A name that is still being looked up holds nobody.
    runtime.shutdown_background();
    outcome.map_err(elsewhere::looked_into)
}

#[cfg(test)]
mod tests;
