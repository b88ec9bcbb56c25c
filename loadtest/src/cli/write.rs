//! Where outcomes go.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::{Args, ValueEnum};

use crate::fault::Fault;
use crate::outcome::assertion::Assertion;
use crate::outcome::ratio::Ratio;
use crate::outcome::{Outcome, log, page, text};

/// What is written, and what must hold.
#[derive(Args, Clone, Debug)]
pub(super) struct Writing {
    /// How the outcome is printed
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    output: Form,
    /// One page with plots
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// A log of HdrHistogram (version 2), a histogram a second
    #[arg(long, value_name = "FILE")]
    hdr_log: Option<PathBuf>,
    /// What must hold, else it fails: p99<5ms, acquire.p99.9<20ms, rate>=10000, gap<1s, server-cpu<10us, errors=0; of
    /// compare, ratio.rate>=3.5, which holds where all of its interval does
    #[arg(long, value_name = "WHAT")]
    assert: Vec<Assertion>,
}

/// How an outcome is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// For people
    Text,
    /// For programs
    Json,
}

impl Writing {
    /// Writes an outcome; returns which assertions do not hold.
    pub(super) fn write(&self, outcome: &Outcome, began: SystemTime) -> Result<Vec<String>, Fault> {
        let said = text::of(outcome);
        match self.output {
            Form::Text => print(&said)?,
            Form::Json => print_json(outcome)?,
        }
        self.files(std::slice::from_ref(outcome), &said, began)?;
        Ok(self.unmet(outcome, None))
    }

    /// How outcomes are printed.
    pub(super) fn form(&self) -> Form {
        self.output
    }

    /// Refuses what can only be asserted of two targets, before anything is driven.
    pub(super) fn one_target(&self) -> Result<(), Fault> {
        match self.assert.iter().find(|assertion| assertion.is_of_ratio()) {
            Some(assertion) => Err(Fault::Usage(format!("{assertion} is asserted of two targets: use compare"))),
            None => Ok(()),
        }
    }

    /// Which assertions do not hold; of two targets they are about the first, or about how it compares to the second.
    pub(super) fn unmet(&self, outcome: &Outcome, ratios: Option<&[Ratio]>) -> Vec<String> {
        let check = |assertion: &Assertion| match ratios.filter(|_| assertion.is_of_ratio()) {
            Some(ratios) => assertion.check_ratio(ratios),
            None => assertion.check(outcome),
        };
        self.assert.iter().filter_map(|assertion| check(assertion).err()).collect()
    }

    /// Writes the files that were asked for.
    pub(super) fn files(&self, outcomes: &[Outcome], said: &str, began: SystemTime) -> Result<(), Fault> {
        if let Some(path) = &self.report {
            let title = outcomes.iter().map(|one| one.target.as_str()).collect::<Vec<_>>().join(" and ");
            std::fs::write(path, page::of(&title, outcomes, said)).map_err(|error| unwritable(path, &error))?;
        }
        if let (Some(path), Some(first)) = (&self.hdr_log, outcomes.first()) {
            let file = std::fs::File::create(path).map_err(|error| unwritable(path, &error))?;
            let mut file = std::io::BufWriter::new(file);
            log::write(first, began, &mut file)
                .and_then(|()| file.flush())
                .map_err(|error| unwritable(path, &error))?;
        }
        Ok(())
    }
}

/// Prints to standard output.
pub(super) fn print(what: &str) -> Result<(), Fault> {
    let mut out = std::io::stdout().lock();
    match out.write_all(what.as_bytes()).and_then(|()| out.flush()) {
        // Nobody reads on: nothing is wrong.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Fault::Failed(format!("standard output cannot be written to: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// Prints one object.
pub(super) fn print_json(what: &impl serde::Serialize) -> Result<(), Fault> {
    let text =
        serde_json::to_string(what).map_err(|error| Fault::Failed(format!("no JSON can be made of it: {error}")))?;
    print(&format!("{text}\n"))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Fault {
    Fault::Failed(format!("{} cannot be written: {error}", path.display()))
}
