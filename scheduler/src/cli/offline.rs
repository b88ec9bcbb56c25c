//! Verbs that need no server: test, simulate, config, completions, man.

use std::fs;
use std::io::{self, Read as _};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use clap_complete::Shell;
use headgate_ledger::{Name, NameError};
use serde_json::json;

use super::fault::{Fault, plain};
use super::output::{Output, complain, line, raw};
use super::{DONE, FAILED, Outcome};
use crate::config::{self, Checked, Config, FILE_BYTES_MAX, Problem};
use crate::scenario;
use crate::simulate::{Replay, Trace, replay};

/// What is tested.
#[derive(Debug, Args)]
pub(super) struct TestArgs {
    /// Scenario files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// What is replayed.
#[derive(Debug, Args)]
pub(super) struct SimulateArgs {
    /// The configuration whose pools, classes and tenants count. Without one, the embedded one
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The jobs: in the Standard Workload Format (.swf, .swf.gz), or comma-separated
    #[arg(short, long, value_name = "FILE")]
    trace: PathBuf,
    /// The pool that they ask
    #[arg(short, long, value_name = "NAME", default_value = "default", value_parser = name)]
    pool: Name,
    /// Check the ledger's invariants after every instant; takes many times as long
    #[arg(long)]
    audit: bool,
}

/// What is done with configurations.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigVerb {
    /// Say all that is wrong with a configuration, without starting anything
    Check {
        /// The configuration; - is standard input
        file: PathBuf,
    },
    /// Print the JSON Schema of the configuration
    Schema,
}

/// For whom completions are.
#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Where manual pages go.
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Write a page for every verb into this folder
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

pub(super) fn test(args: &TestArgs, out: Output) -> Outcome {
    let report = scenario::test_files(&args.files);
    out.print(|| report.to_json(), || report.for_people())?;
    Ok(report.exit_status())
}

pub(super) fn simulate(args: SimulateArgs) -> Outcome {
    let SimulateArgs { config, trace, pool, audit } = args;
    let failed = |problems: config::Problems| Fault::Failed(problems.to_string());
    let config = config.as_deref().map_or_else(Config::embedded, Config::load).map_err(failed)?;
    let trace = Trace::read(&trace).map_err(failed)?;
    let replayed = replay(&config.objects, &trace, &Replay { pool, audits: audit }).map_err(Fault::Failed)?;
    let summary = serde_json::to_value(&replayed.summary).map_err(|error| Fault::Failed(error.to_string()))?;
    line(&format!("{summary:#}"))?;
    for violation in &replayed.violations {
        complain(&violation.to_string());
    }
    Ok(if replayed.violations.is_empty() { DONE } else { FAILED })
}

/// A pool's name, as clap takes it.
fn name(text: &str) -> Result<Name, NameError> {
    Name::parse(text)
}

pub(super) fn config(verb: ConfigVerb, out: Output) -> Outcome {
    match verb {
        ConfigVerb::Check { file } => {
            let checked = check(&file);
            out.print(|| checked_json(&checked), || checked.for_people())?;
            Ok(checked.exit_status())
        }
        ConfigVerb::Schema => {
            line(&format!("{:#}", config::schema()))?;
            Ok(DONE)
        }
    }
}

fn check(file: &std::path::Path) -> Checked {
    let name = file.display().to_string();
    let text = if name == "-" {
        let mut text = String::new();
        let read = io::stdin().lock().take(FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text);
        read.map(|_| text).map_err(|error| vec![Problem::whole(format!("it cannot be read: {}", plain(&error)))])
    } else {
        config::read_file(file).map_err(|problems| problems.problems)
    };
    match text {
        Ok(text) => config::check(&name, &text),
        Err(errors) => Checked { file: name, errors, warnings: Vec::new() },
    }
}

fn checked_json(checked: &Checked) -> serde_json::Value {
    let problem = |problem: &Problem| {
        let mut json = json!({"problem": problem.what});
        if let Some(place) = problem.place {
            json["line"] = place.line.into();
            json["column"] = place.column.into();
        }
        json
    };
    json!({
        "file": checked.file,
        "errors": checked.errors.iter().map(problem).collect::<Vec<_>>(),
        "warnings": checked.warnings.iter().map(problem).collect::<Vec<_>>(),
    })
}

pub(super) fn completions(args: &CompletionsArgs, _out: Output) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(None), "headgate", &mut script);
    raw(&script)?;
    Ok(DONE)
}

pub(super) fn man(args: &ManArgs, _out: Output) -> Outcome {
    match &args.dir {
        Some(dir) => {
            let write = || {
                fs::create_dir_all(dir)?;
                clap_mangen::generate_to(super::command(None), dir)
            };
            write().map_err(|error| {
                Fault::Failed(format!("the manual pages cannot be written to {}: {}", dir.display(), plain(&error)))
            })?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(super::command(None)).render(&mut page)?;
            raw(&page)?;
        }
    }
    Ok(DONE)
}
