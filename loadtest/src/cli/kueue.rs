//! `kueue`: the workload of Kueue's own scheduler benchmark.

use clap::Args;

use super::credentials::{Credentials, processes};
use super::write::{Form, print, print_json};
use crate::drive::fleet::Stop;
use crate::fault::Fault;
use crate::interrupt;
use crate::kueue::{Workload, drive};
use crate::setup::{Setup, guard};
use crate::target::{Protocol, Target};

/// How long the server may say nothing while what runners need is set up, in seconds.
const PATIENCE_S: f64 = 10.0;

const HELP: &str = "\
It takes as long as the workloads run: minutes where --part is 1. A server of its own is best, as all that its cores do counts.

Example:
  headgate-loadtest kueue http://127.0.0.1:7070 --part 0.1";

/// The workload of Kueue's own scheduler benchmark.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct Kueue {
    /// Where it listens: http://HOST:PORT or https://HOST:PORT. Its pool and tenants are made there, and removed after
    target: Target,
    /// Cohorts: tenants whose quota is shared by those under them
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    cohorts: u32,
    /// Queues of each cohort: tenants under it, of 500 workloads each
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=100))]
    queues: u32,
    /// The part of each queue's workloads that is made, from 0.001 to 100
    #[arg(long, default_value_t = 1.0)]
    part: f64,
    /// Whose CPU and memory are read; found by its port where it is on this machine
    #[arg(long, value_name = "PID")]
    server_pid: Vec<u32>,
    #[command(flatten)]
    credentials: Credentials,
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    output: Form,
}

impl Kueue {
    pub(super) fn go(self) -> Result<(), Fault> {
        let Self { target, cohorts, queues, part, server_pid, credentials, output } = self;
        if target.protocol != Protocol::Quota {
            return Err(Fault::Usage("runners speak to http://HOST:PORT or https://HOST:PORT alone".to_owned()));
        }
        if !(0.001..=100.0).contains(&part) {
            return Err(Fault::Usage(format!("--part {part} is not from 0.001 to 100")));
        }
        let workload = Workload::new(cohorts, queues, part)?;
        guard(&workload.scenario, true, false)?;
        let stop = Stop::default();
        interrupt::listen(&stop)?;
        let dial = credentials.dial(&target, PATIENCE_S)?;
        let reached = credentials.endpoint(&target)?;
        let setup = Setup::make(&dial, &workload.scenario)?;
        let driven = drive(&target, reached, workload, &processes(&server_pid, &target), &stop);
        let removed = setup.remove();
        let outcome = driven?;
        match output {
            Form::Text => print(&outcome.text())?,
            Form::Json => print_json(&outcome)?,
        }
        if outcome.violations > 0 {
            return Err(Fault::Failed(format!("{} violations were found", outcome.violations)));
        }
        removed
    }
}
