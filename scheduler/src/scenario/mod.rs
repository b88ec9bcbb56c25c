//! Scenarios: stories of a policy in virtual time, and `headgate test`, which runs them.
//!
//! A scenario file has a configuration's pools, classes and tenants, then steps: time passes, something is asked for
//! or given back, something is expected. Every scenario runs on a [`VirtualCell`], the same rules as the server's with
//! a clock that jumps from instant to instant, and after every instant the ledger's invariants are checked.

mod cell;
mod expect;
mod file;
pub(crate) mod garbled;
mod hit;
mod report;
mod run;

use std::path::Path;

pub use cell::{Turn, VirtualCell, Work};
pub use file::REPEAT_MAX;
pub use report::{Failure, Mismatch, Report, TestResult, Tested};

use crate::config::read_file;

/// Runs every scenario of these files.
pub fn test_files<P: AsRef<Path>>(paths: &[P]) -> Report {
    let mut report = Report::default();
    for path in paths {
        let path = path.as_ref();
        match read_file(path) {
            Err(problems) => report.unreadable.push(problems.to_string()),
            Ok(text) => report.scenarios.extend(test_text(&path.display().to_string(), &text)),
        }
    }
    report
}

/// Runs every scenario of a text; `file` is what it is called in the report.
pub fn test_text(file: &str, text: &str) -> Vec<Tested> {
    let documents = file::parse(text);
    if documents.is_empty() {
        let problems = vec![format!("{file}: there is no scenario in this file")];
        let result = TestResult::Broken { problems };
        return vec![Tested { file: file.into(), line: 1, scenario: "(none)".into(), result }];
    }
    let tested = documents.into_iter().map(|file::Document { line, scenario }| {
        let (name, result) = match scenario {
            Err(problems) => ("(cannot be read)".into(), report::broken(file, &problems)),
            Ok(scenario) => {
                let result = match run::run(&scenario) {
                    run::Run::Passed => TestResult::Passed,
                    run::Run::Failed(failure) => TestResult::Failed { failure },
                    run::Run::Refused(mut problems) => {
                        for place in problems.iter_mut().filter_map(|problem| problem.place.as_mut()) {
                            place.line += line - 1;
                        }
                        report::broken(file, &problems)
                    }
                };
                (scenario.name, result)
            }
        };
        Tested { file: file.into(), line, scenario: name, result }
    });
    tested.collect()
}

#[cfg(test)]
mod tests;
