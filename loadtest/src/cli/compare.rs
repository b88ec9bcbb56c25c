//! `compare`: two targets in turn, pair by pair.

use std::fmt::Write as _;
use std::time::SystemTime;

use clap::Args;

use super::driving::{Driving, Pacing};
use super::write::{Form, Writing, print, print_json};
use crate::drive::fleet::Stop;
use crate::fault::Fault;
use crate::interrupt;
use crate::outcome::figures::Run;
use crate::outcome::{Median, Outcome, text};
use crate::setup::Setup;
use crate::target::Target;

/// Two targets in turn, pair by pair.
#[derive(Args, Debug)]
pub(super) struct Compare {
    /// What is compared, as for run
    a: Target,
    /// With what
    b: Target,
    #[command(flatten)]
    driving: Driving,
    #[command(flatten)]
    pacing: Pacing,
    /// How many pairs are measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pairs: u32,
    #[command(flatten)]
    writing: Writing,
}

/// How a figure of A is to that of B, pair by pair.
#[derive(serde::Serialize)]
struct Ratio {
    figure: &'static str,
    #[serde(flatten)]
    ratio: Median,
}

/// A figure by its name.
type Figure = (&'static str, fn(&Run) -> f64);

const FIGURES: [Figure; 6] = [
    ("rate", |run| run.rate),
    ("server CPU each", |run| run.server.as_ref().map_or(f64::NAN, |server| server.cpu_us_per_operation)),
    ("mean", |run| run.latency.mean_us),
    ("p50", |run| run.latency.p50_us),
    ("p99", |run| run.latency.p99_us),
    ("p99.9", |run| run.latency.p999_us),
];

impl Compare {
    pub(super) fn go(self) -> Result<(), Fault> {
        let Self { a, b, driving, pacing, pairs, writing } = self;
        let pace = pacing.pace()?;
        let stop = Stop::default();
        interrupt::listen(&stop)?;
        let lasts = driving.lasts_s(pairs) * 2.0;
        let mut first = driving.begin(&a, lasts, &stop)?;
        let mut second = match driving.begin(&b, lasts, &stop) {
            Ok(second) => second,
            Err(fault) => {
                let _ = first.finish();
                return Err(fault);
            }
        };
        let began = SystemTime::now();
        let mut measured = Ok(());
        for pair in 0..pairs {
            if stop.is_asked() {
                break;
            }
            // Who goes first changes, so that nobody always has the warmer machine.
            let order = if pair % 2 == 0 { [&mut first, &mut second] } else { [&mut second, &mut first] };
            for driven in order {
                measured = measured.and_then(|()| driven.measure(driving.duration, pace.as_ref()).map(|_| ()));
            }
        }
        // Both may be one server, asked in two ways: what was set up there is needed until both have given back.
        let setups = (first.take_setup(), second.take_setup());
        let finished = [first.finish(), second.finish()];
        let removed = remove(setups);
        measured?;
        let [(mut first, mut failures), (mut second, more)] = finished;
        removed?;
        (first.pace, second.pace) = (pace.clone(), pace);
        failures.extend(more);
        let ratios = ratios(&first, &second);
        let said = said(&first, &second, &ratios);
        match writing.form() {
            Form::Text => print(&said)?,
            Form::Json => print_json(&serde_json::json!({"a": first, "b": second, "ratios": ratios}))?,
        }
        writing.files(&[first.clone(), second], &said, began)?;
        failures.extend(writing.assertions().iter().filter_map(|assertion| assertion.check(&first).err()));
        if stop.is_asked() {
            failures.push("it was interrupted; what had been taken was given back".to_owned());
        }
        super::all_of(failures)
    }
}

fn remove((first, second): (Option<Setup>, Option<Setup>)) -> Result<(), Fault> {
    let same = first.as_ref().zip(second.as_ref()).is_some_and(|(first, second)| first.is_with(second));
    let second = second.filter(|_| !same);
    first.into_iter().chain(second).try_for_each(Setup::remove)
}

fn ratios(a: &Outcome, b: &Outcome) -> Vec<Ratio> {
    let of = |(figure, value): &Figure| {
        let pairs = a.runs.iter().zip(&b.runs).map(|(a, b)| value(a) / value(b));
        let ratio = Median::of(pairs).filter(|ratio| ratio.least.is_finite() && ratio.most.is_finite())?;
        Some(Ratio { figure, ratio })
    };
    FIGURES.iter().filter_map(of).collect()
}

fn said(a: &Outcome, b: &Outcome, ratios: &[Ratio]) -> String {
    let mut said = format!(
        "A {}\nB {}\nA to B, the median of {} pairs, and the least and the most:\n",
        text::of(a),
        text::of(b),
        a.runs.len().min(b.runs.len())
    );
    for Ratio { figure, ratio } in ratios {
        // Writing to a string does not fail.
        let _ = writeln!(said, "  {figure:<16} {:>7.3}   ({:.3} to {:.3})", ratio.median, ratio.least, ratio.most);
    }
    said
}
