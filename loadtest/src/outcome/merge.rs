//! Several generators that ran at once, on as many machines: their outcomes as one.

use std::collections::BTreeMap;

use super::figures::{Client, Latency, Run, Second, add, packed, unpacked};
use super::{Checked, Outcome, VERSION};
use crate::tally::histogram;

/// Puts outcomes together that ran at the same time against one target.
pub(crate) fn merge(outcomes: &[Outcome]) -> Result<Outcome, String> {
    let first = outcomes.first().ok_or("nothing is named that could be merged")?;
    if let Some(other) = outcomes.iter().find(|other| other.version != VERSION) {
        return Err(format!("an outcome is of version {}, and only {VERSION} is known", other.version));
    }
    if let Some(other) = outcomes.iter().find(|other| other.scenario != first.scenario) {
        return Err(format!("{} and {} are different scenarios, which do not add up", first.scenario, other.scenario));
    }
    if outcomes.iter().any(|other| other.runs.len() != first.runs.len()) {
        return Err("some have more repetitions than others: run all with the same --repeat".to_owned());
    }
    let runs =
        (0..first.runs.len()).map(|at| merge_runs(&outcomes.iter().map(|one| &one.runs[at]).collect::<Vec<_>>()));
    let mut merged = Outcome { runs: runs.collect::<Result<_, _>>()?, ..first.clone() };
    merged.generators = outcomes.iter().map(|one| one.generators).sum();
    merged.load.connections = outcomes.iter().map(|one| one.load.connections).sum();
    merged.load.in_flight = outcomes.iter().map(|one| one.load.in_flight).sum();
    merged.checked = checked(outcomes);
    for run in &mut merged.runs {
        run.remarks.push("each generator checked limits against what it held itself".to_owned());
    }
    Ok(merged)
}

fn checked(outcomes: &[Outcome]) -> Checked {
    let all = || outcomes.iter().map(|one| &one.checked);
    Checked {
        limits: all().map(|one| one.limits).max().unwrap_or(0),
        violations: all().map(|one| one.violations).sum(),
        told: all().flat_map(|one| one.told.clone()).collect(),
        nearest: None,
        left: all().map(|one| one.left).sum(),
    }
}

fn merge_runs(runs: &[&Run]) -> Result<Run, String> {
    let broken = || "a histogram cannot be read: was the file changed?".to_owned();
    let mut total = histogram();
    let mut of_kinds: BTreeMap<&str, hdrhistogram::Histogram<u64>> = BTreeMap::new();
    for (kind, packed) in runs.iter().flat_map(|run| run.by_kind()) {
        add(of_kinds.entry(kind).or_insert_with(histogram), &unpacked(packed).ok_or_else(broken)?);
    }
    // Where one of them does not say how its kinds fared, nobody knows how they fared in all.
    if runs.iter().any(|run| run.operations > 0 && run.by_kind().count() < run.kinds.len().max(1)) {
        of_kinds.clear();
    }
    let mut seconds: BTreeMap<u64, (hdrhistogram::Histogram<u64>, u64)> = BTreeMap::new();
    for run in runs {
        add(&mut total, &unpacked(&run.histogram).ok_or_else(broken)?);
        for Second { at_s, errors, histogram: packed, .. } in &run.by_second {
            let (latencies, failed) = seconds.entry(*at_s).or_insert_with(|| (histogram(), 0));
            add(latencies, &unpacked(packed).ok_or_else(broken)?);
            *failed += errors;
        }
    }
    let sum = |of: &dyn Fn(&Run) -> f64| runs.iter().map(|run| of(run)).sum::<f64>();
    let most = |of: &dyn Fn(&Run) -> f64| runs.iter().map(|run| of(run)).fold(0.0, f64::max);
    let count = |of: &dyn Fn(&Run) -> &BTreeMap<String, u64>| {
        let mut all = BTreeMap::new();
        for (what, number) in runs.iter().flat_map(|run| of(run)) {
            *all.entry(what.clone()).or_default() += number;
        }
        all
    };
    let cores = sum(&|run| run.client.cores);
    let operations = runs.iter().map(|run| run.operations).sum();
    let second = |(at_s, (latencies, errors)): (u64, (hdrhistogram::Histogram<u64>, u64))| Second {
        at_s,
        errors,
        latency: Latency::of(&latencies),
        histogram: packed(&latencies),
    };
    Ok(Run {
        seconds: most(&|run| run.seconds),
        operations,
        rate: sum(&|run| run.rate),
        asked_rate: runs.iter().map(|run| run.asked_rate).sum(),
        unsent: runs.iter().map(|run| run.unsent).sum(),
        latency: Latency::of(&total),
        kinds: of_kinds.iter().map(|(kind, of)| ((*kind).to_owned(), Latency::of(of))).collect(),
        decisions: count(&|run| &run.decisions),
        errors: count(&|run| &run.errors),
        examples: runs.iter().flat_map(|run| run.examples.clone()).collect(),
        longest_gap_s: runs.iter().map(|run| run.longest_gap_s).fold(f64::INFINITY, f64::min),
        longest_gap_at_s: runs.first().map_or(0.0, |run| run.longest_gap_at_s),
        server: runs.iter().find_map(|run| run.server.clone()),
        client: Client {
            cpu_us_per_operation: cores * most(&|run| run.seconds) * 1e6 / (operations as f64).max(1.0),
            cores,
            busiest: most(&|run| run.client.busiest),
            lag: runs.first().map(|run| run.client.lag).unwrap_or_default(),
        },
        by_second: seconds.into_iter().map(second).collect(),
        remarks: runs.iter().flat_map(|run| run.remarks.clone()).collect(),
        histogram: packed(&total),
        kind_histograms: if of_kinds.len() < 2 {
            BTreeMap::new()
        } else {
            of_kinds.iter().map(|(kind, of)| ((*kind).to_owned(), packed(of))).collect()
        },
    })
}
