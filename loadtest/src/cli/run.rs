//! `run`: one target, driven.

use std::time::SystemTime;

use clap::Args;

use super::driving::{Driving, Pacing};
use super::write::Writing;
use crate::drive::fleet::Stop;
use crate::fault::Fault;
use crate::interrupt;
use crate::target::Target;

const HELP: &str = "\
A TIME is 250ms, 10s or 5m; a RATE is a number of operations a second, as 5000 or 5_000. The exit status is 0, 1 where something \
             failed or does not hold as asserted, and 2 where it was asked for in a way that cannot be.

Examples:
  headgate-loadtest run http://127.0.0.1:7070 --setup
  headgate-loadtest run http://127.0.0.1:7070 --setup --rate 5000 --assert 'p99<5ms' --report page.html
  headgate-loadtest run 'stream+http://127.0.0.1:7070?batch=256&in-flight=4096' --setup
  headgate-loadtest run https://headgate.example:7070 --setup --ca ca.pem --token-file token --scenario crowd.yaml
  headgate-loadtest run review+https://127.0.0.1:7443/validate --ca ca.pem --call review --rate 500
  headgate-loadtest run 'embedded?batch=64' --call check";

/// One target, driven.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct Run {
    /// What is driven: http://HOST:PORT, stream+http://HOST:PORT?batch=64, ratelimit+http://HOST:PORT,
    /// review+https://HOST:PORT/PATH, a webhook, or embedded, the engine as a library in this process; embedded:FILE has a
    /// server's configuration
    target: Target,
    #[command(flatten)]
    driving: Driving,
    #[command(flatten)]
    pacing: Pacing,
    /// How often it is measured
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: u32,
    #[command(flatten)]
    writing: Writing,
}

impl Run {
    pub(super) fn go(self) -> Result<(), Fault> {
        let Self { target, driving, pacing, repeat, writing } = self;
        let pace = pacing.pace()?;
        writing.one_target()?;
        let stop = Stop::default();
        interrupt::listen(&stop)?;
        let mut driven = driving.begin(&target, driving.lasts_s(repeat), &stop)?;
        let began = SystemTime::now();
        let mut broken = None;
        for _ in 0..repeat {
            if stop.is_asked() {
                break;
            }
            if let Err(fault) = driven.measure(driving.duration, pace.as_ref()) {
                broken = Some(fault);
                break;
            }
        }
        let finished = driven.finish();
        if let Some(fault) = broken {
            return Err(fault);
        }
        let (mut outcome, mut failures) = finished;
        outcome.pace = pace;
        failures.extend(writing.write(&outcome, began)?);
        if stop.is_asked() {
            failures.push("it was interrupted; what had been taken was given back".to_owned());
        }
        super::all_of(failures)
    }
}
