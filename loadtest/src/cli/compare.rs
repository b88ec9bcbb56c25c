//! `compare`: two targets in turn, pair by pair.

use std::fmt::Write as _;
use std::time::SystemTime;

use clap::Args;

use super::driving::{Driving, Pacing};
use super::write::{Form, Writing, print, print_json};
use crate::drive::fleet::Stop;
use crate::fault::Fault;
use crate::interrupt;
use crate::outcome::ratio::{CONFIDENCE, Ratio, ratios};
use crate::outcome::{Outcome, text};
use crate::setup::Setup;
use crate::target::Target;

const HELP: &str = "\
Both are measured in turn, as what else the machine does changes from minute to minute; who goes first changes too. A ratio \
             is of A to B: of rates above 1, and of times below 1, A is better.

Examples:
  headgate-loadtest compare http://127.0.0.1:7070 http://127.0.0.1:7171 --setup --call check
  headgate-loadtest compare embedded http://127.0.0.1:7070 --setup --assert 'ratio.server-cpu<0.5'
  headgate-loadtest compare http://127.0.0.1:7070 ratelimit+http://127.0.0.1:8081 --setup --call check";

/// Two targets in turn, pair by pair.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
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
            Form::Json => {
                print_json(&serde_json::json!({"a": first, "b": second, "confidence": CONFIDENCE, "ratios": ratios}))?;
            }
        }
        writing.files(&[first.clone(), second], &said, began)?;
        failures.extend(writing.unmet(&first, Some(&ratios)));
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

fn said(a: &Outcome, b: &Outcome, ratios: &[Ratio]) -> String {
    let pairs = a.runs.len().min(b.runs.len());
    let mut said = format!(
        "A {}\nB {}\nA to B, of {pairs} pairs: the mean; where it is, with {:.0} % confidence; the pairs' own:\n",
        text::of(a),
        text::of(b),
        CONFIDENCE * 100.0
    );
    for Ratio { figure, pairs, mean, within } in ratios {
        let within = within.map_or_else(
            || "of one pair, nobody knows".to_owned(),
            |within| format!("{:.3} to {:.3}", within.low, within.high),
        );
        // Writing to a string does not fail.
        let _ = writeln!(said, "  {figure:<13} {mean:>7.3}   {within:<18} {:.3} to {:.3}", pairs.least, pairs.most);
    }
    said
}
