//! Outcomes for people, as text.

use std::fmt::Write as _;

use headgate_scheduler::config::format_amount;

use super::figures::{Latency, Run};
use super::{Checked, Median, Outcome};
use crate::watchers::Watched;

// Writing to a string does not fail: its results are of no interest below.

/// An outcome, whole.
pub(crate) fn of(outcome: &Outcome) -> String {
    let mut text = heading(outcome);
    let mut line = |name: &str, what: &str| {
        let _ = writeln!(text, "  {name:<13} {what}");
    };
    if let Some(rate) = outcome.median(|run| run.rate) {
        let asked = outcome.runs.first().and_then(|run| run.asked_rate);
        let asked = asked.map_or_else(String::new, |asked| format!(", begun by a schedule of {}/s", count(asked)));
        line("rate", &format!("{}/s{asked}{}", count(rate.median), spread(rate, outcome.runs.len(), count)));
    }
    if let Some(run) = middle(outcome) {
        line("latency", &latency(&run.latency));
        if run.kinds.len() > 1 {
            for (kind, of) in &run.kinds {
                line("", &format!("{kind}: {} · {}", count(of.count as f64), latency(of)));
            }
        }
        line("decisions", &counts(&run.decisions));
        line("errors", &errors(run));
        line(
            "longest gap",
            &format!("{} without an answer, {:.1} s in", time(run.longest_gap_s * 1e6), run.longest_gap_at_s),
        );
        if let Some(server) = &run.server {
            let cpu = outcome.median(|run| run.server.as_ref().map_or(0.0, |server| server.cpu_us_per_operation));
            let cpu = cpu.map_or(0.0, |cpu| cpu.median);
            let (cores, mebibytes, handles) = (server.cores, server.rss_bytes >> 20, server.handles);
            match server.deciding_us_per_operation {
                None => line(
                    "server",
                    &format!("{} of CPU each, {cores:.2} cores; {mebibytes} MiB, {handles} handles", time(cpu)),
                ),
                Some(deciding) => {
                    let (cpu, deciding) = (time(cpu), time(deciding));
                    line(
                        "engine",
                        &format!(
                            "{cpu} of CPU each, {deciding} of it deciding, the rest its own threads; {cores:.2} cores"
                        ),
                    );
                    line(
                        "",
                        &format!("{mebibytes} MiB, {handles} handles, with the driving, which is one process with it"),
                    );
                }
            }
        }
        let client = &run.client;
        let late =
            if client.lag.count > 0 { format!("; sent late: p99 {}", time(client.lag.p99_us)) } else { String::new() };
        let what = format!(
            "{} of CPU each, {:.2} cores, the busiest thread {:.0} %{late}",
            time(client.cpu_us_per_operation),
            client.cores,
            client.busiest * 100.0
        );
        line("client", &what);
    }
    if let Some(watched) = &outcome.watched {
        let Watched { watchers, present_s, events, delay, cut_off, .. } = watched;
        let what = format!(
            "{} watchers, told all within {}; {} events, each after p50 {} · p99 {} · max {}; {cut_off} cut off",
            count(*watchers as f64),
            time(present_s * 1e6),
            count(*events as f64),
            time(delay.p50_us),
            time(delay.p99_us),
            time(delay.max_us)
        );
        line("watched", &what);
    }
    line("checked", &checked(&outcome.checked));
    for told in &outcome.checked.told {
        line("", told);
    }
    for remark in outcome.remarks() {
        let _ = writeln!(text, "  note: {remark}");
    }
    text
}

/// What was run against what, in a line.
pub(crate) fn heading(outcome: &Outcome) -> String {
    let Outcome { target, scenario, load, generators, pace, runs, .. } = outcome;
    let how = if pace.is_some() { "open loop" } else { "closed loop" };
    let embedded = runs.first().is_some_and(Run::is_embedded);
    let (over, together) = if embedded { ("callers", "a call") } else { ("connections", "a message") };
    let batch = if load.batch > 1 { format!(", {} in {together}", load.batch) } else { String::new() };
    let seconds = runs.first().map_or(0.0, |run| run.seconds);
    format!(
        "{target}: {scenario}, {how}, {} in flight over {} {over}{batch}, {generators} threads, {seconds:.1} s × {}\n",
        load.in_flight,
        load.connections,
        runs.len()
    )
}

/// The repetition whose rate is the median, or next to it.
pub(crate) fn middle(outcome: &Outcome) -> Option<&Run> {
    let mut runs: Vec<&Run> = outcome.runs.iter().collect();
    runs.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    runs.get(runs.len() / 2).copied()
}

fn spread(of: Median, runs: usize, show: impl Fn(f64) -> String) -> String {
    if runs < 2 {
        return String::new();
    }
    format!(" (median of {runs}; {} to {})", show(of.least), show(of.most))
}

fn latency(of: &Latency) -> String {
    let Latency { p50_us, p90_us, p99_us, p999_us, max_us, .. } = of;
    let named = [("p50", p50_us), ("p90", p90_us), ("p99", p99_us), ("p99.9", p999_us), ("max", max_us)];
    named.map(|(name, value)| format!("{name} {}", time(*value))).join(" · ")
}

fn counts(of: &std::collections::BTreeMap<String, u64>) -> String {
    let named: Vec<_> = of.iter().map(|(what, number)| format!("{what} {}", count(*number as f64))).collect();
    if named.is_empty() { "none".to_owned() } else { named.join(" · ") }
}

fn errors(run: &Run) -> String {
    let said = |what: &str| run.examples.get(what).map_or_else(String::new, |said| format!(" ({said})"));
    let named: Vec<_> =
        run.errors.iter().map(|(what, number)| format!("{what} {}{}", count(*number as f64), said(what))).collect();
    if named.is_empty() { "none".to_owned() } else { named.join(" · ") }
}

fn checked(of: &Checked) -> String {
    let Checked { limits, violations, nearest, left, .. } = of;
    let near = nearest.as_ref().map_or_else(String::new, |near| {
        let whose = if near.tenant.is_empty() { "the pool" } else { &near.tenant };
        let amount = |amount: i64| format_amount(amount.unsigned_abs(), &near.resource);
        let (most, limit) = (amount(near.most), amount(near.limit));
        format!("; nearest to its own: {whose} with {most} of {limit} {}", near.resource)
    });
    let found = if *violations == 0 { "no violation".to_owned() } else { format!("{violations} VIOLATIONS") };
    let left = if *left == 0 { "nothing left".to_owned() } else { format!("{left} leases left") };
    format!("{limits} limits{near}; {found}, {left}")
}

/// Microseconds, in the unit that reads best.
pub(crate) fn time(micros: f64) -> String {
    let digits = |value: f64| {
        if value < 9.995 {
            2
        } else if value < 99.95 {
            1
        } else {
            0
        }
    };
    let (value, unit) = match micros {
        _ if micros < 1.0 => (micros * 1e3, "ns"),
        _ if micros < 1e3 => (micros, "us"),
        _ if micros < 1e6 => (micros / 1e3, "ms"),
        _ => (micros / 1e6, "s"),
    };
    format!("{value:.*} {unit}", digits(value))
}

/// A number, its thousands apart.
pub(crate) fn count(number: f64) -> String {
    if number < 100.0 && number.fract() != 0.0 {
        return format!("{number:.1}");
    }
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{count, time};

    #[test]
    fn numbers_read_well() {
        for (micros, expected) in
            [(0.25, "250 ns"), (3.456, "3.46 us"), (45.67, "45.7 us"), (1234.5, "1.23 ms"), (2.5e6, "2.50 s")]
        {
            assert_eq!(time(micros), expected);
        }
        for (number, expected) in
            [(0.0, "0"), (12.5, "12.5"), (999.0, "999"), (1_000.4, "1,000"), (1_234_567.0, "1,234,567")]
        {
            assert_eq!(count(number), expected);
        }
    }
}
