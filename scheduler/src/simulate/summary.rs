//! The figures of a replay.

use std::collections::BTreeMap;
use std::time::Duration;

use headgate_ledger::{Amounts, Resource, TenantPath};
use serde::Serialize;

/// A job shorter than this counts as so long in its slowdown: a second's wait for a second's job is no slowdown of two.
const SLOWDOWN_BOUND: Duration = Duration::from_secs(10);

/// What a replay came to. Two replays of the same trace under the same configuration differ in `events_per_second`
/// alone, which is last for that reason.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Jobs of the trace.
    pub jobs: usize,
    /// Those that ran to their end.
    pub admitted: usize,
    /// Those that were denied, at once or after waiting, or waited in vain.
    pub denied: usize,
    /// Seconds from the first submission to the last end.
    pub makespan_s: f64,
    /// The part of the capacity that leases held over that time, by resource.
    pub utilisation: BTreeMap<String, f64>,
    /// Seconds that jobs waited.
    pub wait_s: Spread,
    /// How many times as long as their run time jobs took.
    pub slowdown: Spread,
    /// The same by tenant.
    pub tenants: BTreeMap<String, TenantSummary>,
    /// Jain's index of tenants' mean slowdowns, each times the tenant's weight: 1 where all are the same.
    pub jain_index: f64,
    /// Leases that were taken back.
    pub reclaims: u64,
    /// Entries posted a second, by the clock on the wall.
    pub events_per_second: f64,
}

/// The figures of one tenant.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TenantSummary {
    /// Its jobs.
    pub jobs: usize,
    /// Those that ran to their end.
    pub admitted: usize,
    /// Those that did not.
    pub denied: usize,
    /// Seconds that they waited.
    pub wait_s: Spread,
    /// How many times as long as their run time they took.
    pub slowdown: Spread,
    /// Its dominant share: the largest part of any resource's capacity that its leases held over the whole time.
    pub share: f64,
}

/// A distribution; all zero where there is none. Percentiles are the nearest ranks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// What 95 of a hundred do not exceed.
    pub p95: f64,
    /// What 99 of a hundred do not exceed.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

/// What came of a tenant's jobs.
#[derive(Clone, Debug, Default)]
pub(super) struct TenantOutcome {
    /// None for each that did not run to its end.
    pub(super) jobs: Vec<Option<JobOutcome>>,
    /// Nanoseconds times units.
    pub(super) used: BTreeMap<Resource, u128>,
    pub(super) weight: f64,
}

/// A job that ran to its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct JobOutcome {
    /// From its submission to its end.
    pub(super) took: Duration,
    /// Its last run.
    pub(super) ran: Duration,
}

impl JobOutcome {
    fn wait(&self) -> f64 {
        self.took.saturating_sub(self.ran).as_secs_f64()
    }

    fn slowdown(&self) -> f64 {
        (self.took.as_secs_f64() / self.ran.max(SLOWDOWN_BOUND).as_secs_f64()).max(1.0)
    }
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let count = values.len();
        if count == 0 {
            return Self::default();
        }
        let rank = |hundredths: usize| values[(count * hundredths).div_ceil(100).clamp(1, count) - 1];
        Self {
            mean: rounded(values.iter().sum::<f64>() / count as f64),
            p50: rounded(rank(50)),
            p95: rounded(rank(95)),
            p99: rounded(rank(99)),
            max: rounded(rank(100)),
        }
    }
}

/// Seconds that jobs waited, at each hundredth of them.
pub(super) fn hundredths<'a>(jobs: impl Iterator<Item = &'a JobOutcome>) -> Vec<f64> {
    let mut waits: Vec<f64> = jobs.map(JobOutcome::wait).collect();
    waits.sort_by(f64::total_cmp);
    let Some(last) = waits.len().checked_sub(1) else { return waits };
    (0..=100).map(|hundredth| waits[last * hundredth / 100]).collect()
}

/// To a millionth: what comes after says nothing.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

pub(super) fn summarize(
    tenants: &BTreeMap<TenantPath, TenantOutcome>,
    capacity: &Amounts,
    makespan: Duration,
    reclaims: u64,
    events_per_second: f64,
) -> Summary {
    // The part of a resource's capacity over the whole time; none where the pool has none of it.
    let part = |resource: &str, used: u128| {
        let all = u128::from(capacity.get(resource).unwrap_or(0)) * makespan.as_nanos();
        if all == 0 { 0.0 } else { used as f64 / all as f64 }
    };
    let share = |outcome: &TenantOutcome| {
        outcome.used.iter().map(|(resource, used)| part(resource.as_str(), *used)).fold(0.0, f64::max)
    };
    let finished = |outcomes: &mut dyn Iterator<Item = &Option<JobOutcome>>| {
        let finished: Vec<JobOutcome> = outcomes.flatten().copied().collect();
        let wait = Spread::of(finished.iter().map(JobOutcome::wait).collect());
        let slowdown = Spread::of(finished.iter().map(JobOutcome::slowdown).collect());
        (finished.len(), wait, slowdown)
    };
    let by_tenant: BTreeMap<String, TenantSummary> = tenants
        .iter()
        .map(|(path, outcome)| {
            let (admitted, wait_s, slowdown) = finished(&mut outcome.jobs.iter());
            let jobs = outcome.jobs.len();
            let share = rounded(share(outcome));
            (path.to_string(), TenantSummary { jobs, admitted, denied: jobs - admitted, wait_s, slowdown, share })
        })
        .collect();
    let (admitted, wait_s, slowdown) = finished(&mut tenants.values().flat_map(|outcome| &outcome.jobs));
    let jobs = tenants.values().map(|outcome| outcome.jobs.len()).sum();
    let weighted = tenants.values().zip(by_tenant.values()).filter(|(_, summary)| summary.admitted > 0);
    let jain_index = jain(weighted.map(|(outcome, summary)| summary.slowdown.mean * outcome.weight));
    let utilisation = capacity.iter().map(|(resource, _)| {
        let used = tenants.values().filter_map(|outcome| outcome.used.get(resource)).sum();
        (resource.to_string(), rounded(part(resource.as_str(), used)))
    });
    Summary {
        jobs,
        admitted,
        denied: jobs - admitted,
        makespan_s: rounded(makespan.as_secs_f64()),
        utilisation: utilisation.collect(),
        wait_s,
        slowdown,
        tenants: by_tenant,
        jain_index: rounded(jain_index),
        reclaims,
        events_per_second: events_per_second.round(),
    }
}

/// Jain, Chiu and Hawe's index of fairness: from 1 over their number to 1, where all are the same.
fn jain(values: impl Iterator<Item = f64>) -> f64 {
    let (count, sum, squares) = values
        .fold((0.0, 0.0, 0.0), |(count, sum, squares), value| (count + 1.0, sum + value, squares + value * value));
    if squares == 0.0 { 1.0 } else { sum * sum / (count * squares) }
}

#[cfg(test)]
mod tests {
    use super::{Spread, jain};

    #[test]
    fn percentiles_are_nearest_ranks() {
        let spread = Spread::of((1..=100).rev().map(f64::from).collect());
        assert_eq!((spread.mean, spread.p50, spread.p95, spread.p99, spread.max), (50.5, 50.0, 95.0, 99.0, 100.0));
        let one = Spread::of(vec![3.0]);
        assert_eq!((one.p50, one.p99, one.max), (3.0, 3.0, 3.0));
        assert_eq!(Spread::of(Vec::new()), Spread::default());
    }

    #[test]
    fn jains_index_is_one_where_all_are_the_same() {
        assert_eq!(jain([2.0, 2.0, 2.0].into_iter()), 1.0);
        assert_eq!(jain([1.0, 0.0, 0.0, 0.0].into_iter()), 0.25);
        assert_eq!(jain(std::iter::empty()), 1.0);
    }
}
