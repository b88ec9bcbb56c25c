//! What came of it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::workload::Workload;
use crate::outcome::text::{count, time};

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) target: String,
    pub(crate) workloads: usize,
    /// From the first creation until the last release.
    pub(crate) total_s: f64,
    /// How long it takes at least: all work, on all that there is.
    pub(crate) floor_s: f64,
    pub(crate) admissions_per_second: f64,
    /// The part of the nominal quotas that was in use on average.
    pub(crate) nominal_in_use: f64,
    /// The part of the nominal quotas that was at work on average: what is in use and not at work is a runner's own delay.
    pub(crate) nominal_at_work: f64,
    /// From creation until its runner knew that it was admitted, in seconds, by class.
    pub(crate) time_to_admission: BTreeMap<&'static str, Waits>,
    /// The server's CPU for each workload, in microseconds.
    pub(crate) server_cpu_us: Option<f64>,
    pub(crate) server_rss_bytes: Option<u64>,
    /// The most that any runner lagged behind its own timers, in seconds.
    pub(crate) lag_s: f64,
    pub(crate) violations: u64,
}

/// Times, in seconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Waits {
    pub(crate) count: usize,
    pub(crate) mean_s: f64,
    pub(crate) p50_s: f64,
    pub(crate) p99_s: f64,
    pub(crate) max_s: f64,
}

/// How one workload fared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fared {
    pub(crate) class: u32,
    pub(crate) created: Duration,
    pub(crate) admitted: Duration,
    pub(crate) released: Duration,
    /// How late its runner was at most.
    pub(crate) lag: Duration,
}

impl Waits {
    fn of(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        let at = |part: f64| {
            times.get(((times.len() as f64 * part) as usize).min(times.len().saturating_sub(1))).copied().unwrap_or(0.0)
        };
        let mean_s = times.iter().sum::<f64>() / (times.len() as f64).max(1.0);
        Self { count: times.len(), mean_s, p50_s: at(0.5), p99_s: at(0.99), max_s: at(1.0) }
    }
}

impl Outcome {
    pub(crate) fn of(target: String, workload: &Workload, fared: &[Fared]) -> Self {
        let total_s = fared.iter().map(|one| one.released.as_secs_f64()).fold(0.0, f64::max);
        let mut waits: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
        let mut held = 0.0;
        for one in fared {
            let class = &workload.classes[one.class as usize];
            waits.entry(class.name).or_default().push(one.admitted.saturating_sub(one.created).as_secs_f64());
            held += class.units as f64 * one.released.saturating_sub(one.admitted).as_secs_f64();
        }
        let nominal = workload.nominal() as f64;
        Self {
            target,
            workloads: fared.len(),
            total_s,
            floor_s: workload.work() / nominal,
            admissions_per_second: fared.len() as f64 / total_s,
            nominal_in_use: held / (nominal * total_s),
            nominal_at_work: workload.work() / (nominal * total_s),
            time_to_admission: waits.into_iter().map(|(class, times)| (class, Waits::of(times))).collect(),
            server_cpu_us: None,
            server_rss_bytes: None,
            lag_s: fared.iter().map(|one| one.lag.as_secs_f64()).fold(0.0, f64::max),
            violations: 0,
        }
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "{}: the workload of Kueue's scheduler benchmark, {} workloads\n  total         {:.1} s; {:.1} s at least, by work \
             alone\n  admissions    {}/s\n  in use        {:.1} % of nominal, and {:.1} % at work\n",
            self.target,
            count(self.workloads as f64),
            self.total_s,
            self.floor_s,
            count(self.admissions_per_second),
            self.nominal_in_use * 100.0,
            self.nominal_at_work * 100.0
        );
        for (class, waits) in &self.time_to_admission {
            let Waits { mean_s, p50_s, p99_s, max_s, .. } = waits;
            let [mean, p50, p99, max] = [mean_s, p50_s, p99_s, max_s].map(|seconds| time(seconds * 1e6));
            text.push_str(&format!(
                "  {class:<13} admitted after {mean} on average; p50 {p50} · p99 {p99} · max {max}\n"
            ));
        }
        if let (Some(cpu), Some(rss)) = (self.server_cpu_us, self.server_rss_bytes) {
            text.push_str(&format!("  server        {} of CPU a workload; {} MiB\n", time(cpu), rss >> 20));
        }
        text.push_str(&format!(
            "  runners       at most {} late\n  checked       {} violations\n",
            time(self.lag_s * 1e6),
            self.violations
        ));
        text
    }
}
