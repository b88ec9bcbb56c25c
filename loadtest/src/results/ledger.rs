//! The ledger by itself: criterion's medians, and instructions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::found::Found;
use super::record::{Row, Value};
use super::session::{Session, quoted};

/// What is measured of the benchmark `ledger`.
const MEASURED: &str = "^(admit/tenants_leases|release/tenants_leases|release_admits_one|release_a_victim)/";
/// Files of criterion's that are looked at, at most.
const FOLDERS_MAX: usize = 10_000;

/// What criterion has found of one benchmark, in nanoseconds.
#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    point_estimate: f64,
    confidence_interval: Interval,
}

#[derive(Deserialize)]
struct Interval {
    lower_bound: f64,
    upper_bound: f64,
}

/// Which benchmark it is.
#[derive(Deserialize)]
struct Benchmark {
    full_id: String,
}

/// The record of instructions; what else is in it is not looked at.
#[derive(Deserialize)]
struct Counts {
    instructions: BTreeMap<String, u64>,
}

/// The project, where it is at hand.
fn project<'a>(session: &'a Session, found: &mut Found) -> Option<&'a Path> {
    if session.project.is_none() {
        found.skipped.push(
            "the project is not here, whose benchmarks these are: run it in the folder that has its Cargo.toml"
                .to_owned(),
        );
    }
    session.project.as_deref()
}

pub(crate) async fn benchmarks(session: &Session, found: &mut Found) {
    if project(session, found).is_none() {
        return;
    }
    let home = session.folder.join("criterion");
    let quick: &[&str] = if session.quick { &["--quick"] } else { &[] };
    let told = ["bench", "--locked", "--quiet", "-p", "headgate-benches", "--bench", "ledger", "--"];
    let arguments = [&told[..], quick, &["--noplot", MEASURED]].concat();
    eprintln!("  just bench ledger (a release build first, where there is none yet)");
    let ran = session.run(Path::new("cargo"), &arguments, Some(("CRITERION_HOME", &home))).await;
    if found.noted(ran).is_none() {
        return;
    }
    let words: Vec<_> = quick.iter().copied().chain([MEASURED]).map(quoted).collect();
    let shown = format!("just bench ledger {}", words.join(" "));
    let mut rows: Vec<Row> = folders(&home).iter().filter_map(|folder| row(folder, &shown)).collect();
    rows.sort_by(|a, b| order(&a.what).cmp(&order(&b.what)));
    if rows.is_empty() {
        found.failed.push(format!("`{shown}` has left no estimates"));
    }
    found.rows = rows;
}

/// The folders in which criterion has put the newest figures of a benchmark.
fn folders(home: &Path) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![home.to_path_buf()]);
    let mut looked = 0;
    while let Some(folder) = open.pop().filter(|_| looked < FOLDERS_MAX) {
        looked += 1;
        if folder.ends_with("new") {
            found.push(folder);
            continue;
        }
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        open.extend(entries.map(|entry| entry.path()).filter(|path| path.is_dir()));
    }
    found
}

fn row(folder: &Path, shown: &str) -> Option<Row> {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    let Benchmark { full_id } = serde_json::from_str(&read("benchmark.json")?).ok()?;
    let Estimates { median } = serde_json::from_str(&read("estimates.json")?).ok()?;
    let Interval { lower_bound, upper_bound } = median.confidence_interval;
    let within = Some((lower_bound / 1e3, upper_bound / 1e3));
    Some(Row::single(&full_id, shown, "median", Value { value: median.point_estimate / 1e3, within }))
}

/// The name of a benchmark with what follows it apart, and its numbers by their size.
fn order(id: &str) -> (&str, Vec<u64>) {
    let (group, sizes) = id.split_once('/').unwrap_or((id, ""));
    (group, numbers(sizes))
}

/// The numbers in a benchmark's name, in their order.
pub(crate) fn numbers(text: &str) -> Vec<u64> {
    text.split(|sign: char| !sign.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

pub(crate) async fn instructions(session: &Session, found: &mut Found) {
    let Some(project) = project(session, found) else { return };
    if super::said("valgrind", &["--version"]).is_none() {
        found.skipped.push("valgrind is missing, which counts instructions: install the package `valgrind`".to_owned());
        return;
    }
    let path = session.folder.join("counts.yaml");
    let Some(file) = path.to_str() else { return };
    let told = ["run", "--profile", "counts", "--locked", "--quiet", "-p", "headgate-benches", "--bin", "counts", "--"];
    eprintln!("  just counts (a build first, where there is none yet), in {}", project.display());
    let ran = session.run(Path::new("cargo"), &[&told[..], &["--file", file, "record"]].concat(), None).await;
    let counts = ran.and_then(|_| {
        let text = std::fs::read_to_string(&path).map_err(|error| format!("no counts were written: {error}"))?;
        headgate_scheduler::config::read_yaml::<Counts>("counts.yaml", &text).map_err(|problems| problems.to_string())
    });
    let Some(Counts { instructions }) = found.noted(counts) else { return };
    let row = |(what, count): (String, u64)| {
        Row::single(&what, "just counts --file counts.yaml record", "instructions", Value::exact(count as f64))
    };
    found.rows = instructions.into_iter().map(row).collect();
}

#[cfg(test)]
mod tests {
    use super::{folders, order, row};

    #[test]
    fn benchmarks_are_read_and_stand_in_order() {
        let home = tempfile::tempdir().expect("a folder");
        for (id, median) in [("admit/tenants_leases/10000_100000", 1000.0), ("admit/tenants_leases/100_1000", 700.0)] {
            let folder = home.path().join(id).join("new");
            std::fs::create_dir_all(&folder).expect("made");
            std::fs::write(folder.join("benchmark.json"), format!("{{\"full_id\": \"{id}\"}}")).expect("written");
            let interval = "{\"lower_bound\": 600.0, \"upper_bound\": 1100.0}";
            let estimates =
                format!("{{\"median\": {{\"point_estimate\": {median}, \"confidence_interval\": {interval}}}}}");
            std::fs::write(folder.join("estimates.json"), estimates).expect("written");
        }
        let mut rows: Vec<_> =
            folders(home.path()).iter().filter_map(|folder| row(folder, "just bench ledger")).collect();
        rows.sort_by(|a, b| order(&a.what).cmp(&order(&b.what)));
        let told: Vec<_> = rows.iter().map(|row| (row.what.as_str(), row.figures["median"].value)).collect();
        assert_eq!(told, [("admit/tenants_leases/100_1000", 0.7), ("admit/tenants_leases/10000_100000", 1.0)]);
    }
}
