//! What came of scenarios, for people and for machines.

use std::fmt::Write as _;

use headgate_ledger::{Explanation, ReasonCode, Resource};
use serde::Serialize;

use crate::config::{Problem, format_amount, format_span};

/// What came of every scenario of every file.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Each scenario, in the order of the files.
    pub scenarios: Vec<Tested>,
    /// Files that could not be read.
    pub unreadable: Vec<String>,
}

/// A scenario, and what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Tested {
    /// Its file, as it was named.
    pub file: String,
    /// The line that it starts at.
    pub line: u64,
    /// Its name.
    pub scenario: String,
    /// What came of it.
    #[serde(flatten)]
    pub result: TestResult,
}

/// What came of a scenario.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "result", rename_all = "lowercase")]
pub enum TestResult {
    /// All came as expected.
    Passed,
    /// A step did not.
    Failed {
        /// Which, and how.
        failure: Box<Failure>,
    },
    /// It could not be run.
    Broken {
        /// Why not, a line each.
        problems: Vec<String>,
    },
}

/// A step that did not come out as expected. Those after it are not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The step's number, counted from 1.
    pub step: usize,
    /// The line that it starts at.
    pub line: u64,
    /// How long after the start.
    pub at: String,
    /// What it did.
    pub action: String,
    /// What was not as expected.
    pub mismatches: Vec<Mismatch>,
    /// Why the decision was as it was, laid out for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<String>,
}

/// Something that was not as expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// What.
    pub what: String,
    /// As expected.
    pub expected: String,
    /// As it was.
    pub got: String,
}

impl Report {
    /// Scenarios that passed.
    pub fn passed(&self) -> usize {
        self.scenarios.iter().filter(|tested| matches!(tested.result, TestResult::Passed)).count()
    }

    /// Scenarios that did not.
    pub fn failed(&self) -> usize {
        self.scenarios.len() - self.passed()
    }

    /// The exit status: 0 where all passed, 1 where one did not, 2 where a file could not be read or none was tested.
    pub fn exit_status(&self) -> u8 {
        match (self.unreadable.is_empty() && !self.scenarios.is_empty(), self.failed()) {
            (false, _) => 2,
            (true, 0) => 0,
            (true, _) => 1,
        }
    }

    /// Every failure, and what it comes to.
    pub fn for_people(&self) -> String {
        let mut text = String::new();
        for tested in &self.scenarios {
            tested.tell(&mut text);
        }
        for problem in &self.unreadable {
            let _ = writeln!(text, "{problem}");
        }
        let (total, plural) = (self.scenarios.len(), if self.scenarios.len() == 1 { "" } else { "s" });
        let _ = writeln!(text, "{total} scenario{plural}: {} passed, {} failed", self.passed(), self.failed());
        text
    }

    /// The same as one JSON object.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "scenarios": self.scenarios,
            "unreadable": self.unreadable,
            "total": self.scenarios.len(),
            "passed": self.passed(),
            "failed": self.failed(),
        })
    }
}

impl Tested {
    fn tell(&self, text: &mut String) {
        let Self { file, line, scenario, result } = self;
        // Writing to a string does not fail.
        match result {
            TestResult::Passed => {}
            TestResult::Broken { problems } => {
                let _ = writeln!(text, "BROKEN {file}:{line}: {scenario}");
                for problem in problems {
                    let _ = writeln!(text, "  {problem}");
                }
                text.push('\n');
            }
            TestResult::Failed { failure } => {
                let Failure { step, line: at_line, at, action, mismatches, explanation } = &**failure;
                let _ = writeln!(text, "FAILED {file}:{line}: {scenario}");
                let _ = writeln!(text, "  step {step}, line {at_line}, at {at}: {action}");
                for Mismatch { what, expected, got } in mismatches {
                    let _ = writeln!(text, "    {what}");
                    let _ = writeln!(text, "      expected  {expected}");
                    let _ = writeln!(text, "      got       {got}");
                }
                for line in explanation.iter().flat_map(|explanation| explanation.lines()) {
                    let _ = writeln!(text, "    {line}");
                }
                text.push('\n');
            }
        }
    }
}

/// Problems of a scenario as lines.
pub(super) fn broken(file: &str, problems: &[Problem]) -> TestResult {
    TestResult::Broken { problems: problems.iter().map(|problem| problem.in_file(file).to_string()).collect() }
}

/// The numbers of a decision, from the leaf to the pool, as a table.
pub(super) fn explained(of: &str, explanation: &Explanation) -> String {
    let Explanation { outcome, reasons, levels, position, expected_wait, reclaiming: _ } = explanation;
    let mut text = format!("why, of {of}: {}", outcome.word());
    if let Some(position) = position {
        let _ = write!(text, ", position {position}");
    }
    if let Some(wait) = expected_wait {
        let _ = write!(text, ", expected wait {}", format_span(*wait));
    }
    text.push('\n');
    for reason in reasons {
        let tenant = if reason.tenant.is_root() { "the pool" } else { reason.tenant.as_str() };
        let _ = write!(text, "  {} at {tenant}", reason.code.word());
        if let Some(resource) = &reason.resource {
            let amount = |amount| format_amount(amount, resource.as_str());
            let (used, requested, limit) = (amount(reason.used), amount(reason.requested), amount(reason.limit));
            // What never fits, whatever is in use: that has no say in it.
            let used = if reason.code == ReasonCode::NeverFits { String::new() } else { format!("{used} used, ") };
            let guarantee = matches!(reason.code, ReasonCode::WouldBorrow | ReasonCode::BurstOver);
            let bound = if guarantee { "guaranteed" } else { "at most" };
            let _ = write!(text, ": {resource} {used}{requested} requested, {limit} {bound}");
        }
        if let Some(budget) = &reason.budget {
            let _ = write!(text, " (budget {budget})");
        }
        if let Some(rate) = &reason.rate {
            let _ = write!(text, " (rate {rate})");
        }
        text.push('\n');
    }
    let mut rows = vec![
        ["node", "resource", "usage", "after", "guaranteed", "limit", "borrowed", "held", "share", ""]
            .map(String::from)
            .to_vec(),
    ];
    for level in levels {
        let standing = &level.standing;
        let node = if standing.tenant.is_root() { "the pool" } else { standing.tenant.as_str() };
        for (resource, after) in &level.usage_after {
            let Some(held) = standing.holdings.iter().find(|held| held.resource == *resource) else { continue };
            rows.push(row(node, resource, *after, held, standing, level.blocked.contains(resource)));
        }
    }
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        let _ = writeln!(text, "  {}", line.trim_end());
    }
    text
}

fn row(
    node: &str,
    resource: &Resource,
    after: u64,
    held: &headgate_ledger::Holding,
    standing: &headgate_ledger::Standing,
    blocked: bool,
) -> Vec<String> {
    let amount = |amount: u64| format_amount(amount, resource.as_str());
    vec![
        node.into(),
        resource.to_string(),
        amount(held.usage),
        amount(after),
        amount(held.guaranteed),
        held.limit.map_or("-".into(), amount),
        amount(held.borrowed),
        amount(held.held),
        format!("{:.3}", standing.share_millionths as f64 / 1e6),
        if blocked { "stands against it".into() } else { String::new() },
    ]
}
