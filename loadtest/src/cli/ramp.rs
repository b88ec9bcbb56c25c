//! `ramp`: the highest rate at which a latency still holds.

use std::time::SystemTime;

use clap::Args;

use super::driving::{Driving, rate};
use super::write::{Form, Writing, print, print_json};
use crate::drive::fleet::Stop;
use crate::fault::Fault;
use crate::interrupt;
use crate::outcome::assertion::micros;
use crate::outcome::text::{count, time};
use crate::schedule::{Arrivals, Pace};
use crate::target::Target;

const HELP: &str = "\
Each rate is driven for --duration after --warm-up. It holds where its p99 does, everything was sent, and nothing failed.

Example:
  headgate-loadtest ramp http://127.0.0.1:7070 --setup --p99 1ms --duration 5s";

/// The highest rate at which a latency still holds.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct Ramp {
    /// What is driven, as for run
    target: Target,
    /// The latency that 99 of 100 operations must hold
    #[arg(long, value_name = "TIME", default_value = "5ms", value_parser = limit)]
    p99: f64,
    /// The rate to begin with; without it, what a closed loop reaches, halved
    #[arg(long, value_name = "RATE", value_parser = rate)]
    from: Option<f64>,
    /// How near the rate that holds must be to one that does not, as a part of it
    #[arg(long, default_value_t = 0.02)]
    within: f64,
    /// How operations come
    #[arg(long, value_enum, default_value_t = Arrivals::Poisson)]
    arrivals: Arrivals,
    #[command(flatten)]
    driving: Driving,
    #[command(flatten)]
    writing: Writing,
}

/// Rates that are tried at most: doubling and halving come to an end long before.
const TRIES_MAX: u32 = 40;

#[derive(serde::Serialize)]
struct Tried {
    rate: f64,
    answered: f64,
    p99_us: f64,
    holds: bool,
}

impl Ramp {
    pub(super) fn go(self) -> Result<(), Fault> {
        self.writing.one_target()?;
        let stop = Stop::default();
        interrupt::listen(&stop)?;
        if !(0.001..=0.5).contains(&self.within) {
            return Err(Fault::Usage(format!("--within {} is not from 0.001 to 0.5", self.within)));
        }
        let lasts = self.driving.lasts_s(TRIES_MAX + 1);
        let mut driven = self.driving.begin(&self.target, lasts, &stop)?;
        let began = SystemTime::now();
        let mut tried = Vec::new();
        let searched = self.search(&mut driven, &stop, &mut tried);
        let finished = driven.finish();
        let best = searched?;
        let (mut outcome, _) = finished;
        // The runs in which it did not hold were to be driven too fast: of them nothing is to be said but that.
        outcome.runs = best.and_then(|at| outcome.runs.get(at).cloned()).into_iter().collect();
        outcome.pace =
            outcome.runs.first().and_then(|run| run.asked_rate).map(|rate| Pace::constant(rate, self.arrivals));
        let mut failures = self.writing.write_ramp(&outcome, &tried, self.p99, began)?;
        if outcome.checked.violations > 0 {
            failures.push(format!(
                "{} violations were found: {}",
                outcome.checked.violations,
                outcome.checked.told.join("; ")
            ));
        }
        super::all_of(failures)
    }

    /// Doubles until it does not hold, and halves what is between. The place of the best run.
    fn search(
        &self,
        driven: &mut super::driving::Driven,
        stop: &Stop,
        tried: &mut Vec<Tried>,
    ) -> Result<Option<usize>, Fault> {
        let mut runs = 0;
        let mut rate = match self.from {
            Some(rate) => rate,
            None => {
                runs += 1;
                driven.measure(self.driving.duration, None)?.rate / 2.0
            }
        };
        let (mut holds, mut fails): (Option<(f64, usize)>, Option<f64>) = (None, None);
        for _ in 0..TRIES_MAX {
            if stop.is_asked() {
                break;
            }
            let run = driven.measure(self.driving.duration, Some(&Pace::constant(rate, self.arrivals)))?;
            let fine = run.latency.p99_us <= self.p99 && run.unsent == 0 && run.failures() == 0 && run.operations > 0;
            tried.push(Tried { rate, answered: run.rate, p99_us: run.latency.p99_us, holds: fine });
            if self.writing.form() == Form::Text {
                let mark = if fine { "holds" } else { "too much" };
                print(&format!("  {:>10}/s   p99 {:<10} {mark}\n", count(rate), time(run.latency.p99_us)))?;
            }
            if fine {
                holds = Some((rate, runs));
            } else {
                fails = Some(rate);
            }
            runs += 1;
            rate = match (holds, fails) {
                (Some((low, _)), Some(high)) if high - low <= low * self.within => break,
                (Some((low, _)), Some(high)) => (low + high) / 2.0,
                (Some((low, _)), None) => low * 1.5,
                (None, _) if rate < 1.0 => break,
                (None, _) => rate / 2.0,
            };
        }
        Ok(holds.map(|(_, at)| at))
    }
}

impl Writing {
    fn write_ramp(
        &self,
        outcome: &crate::outcome::Outcome,
        tried: &[Tried],
        p99_us: f64,
        began: SystemTime,
    ) -> Result<Vec<String>, Fault> {
        let best = tried.iter().filter(|one| one.holds).map(|one| one.rate).fold(0.0, f64::max);
        let said = format!("{} holds p99 {} up to {}/s\n", outcome.target, time(p99_us), count(best));
        match self.form() {
            Form::Text => print(&format!("{said}{}", crate::outcome::text::of(outcome)))?,
            Form::Json => print_json(
                &serde_json::json!({"highest_rate": best, "p99_us": p99_us, "tried": tried, "outcome": outcome}),
            )?,
        }
        self.files(std::slice::from_ref(outcome), &said, began)?;
        if best == 0.0 {
            return Ok(vec![format!("{} holds p99 {} at no rate that was tried", outcome.target, time(p99_us))]);
        }
        Ok(self.unmet(outcome, None))
    }
}

fn limit(text: &str) -> Result<f64, String> {
    micros(text)
        .filter(|micros| *micros > 0.0)
        .ok_or_else(|| format!("{text} is no time: write one such as 5ms or 800us"))
}
