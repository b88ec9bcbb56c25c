//! What is counted. Plain atomics, to be read by whoever exposes them; nothing here waits or allocates once a pool is known.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use headgate_ledger::{Name, Outcome, ReasonCode};
use parking_lot::Mutex;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds several.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of a histogram's buckets double from a microsecond to more than a minute; the last has none.
const BUCKETS: usize = 28;

/// How long things took, in buckets that double.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_nanos: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; BUCKETS], sum_nanos: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Takes one in.
    pub fn record(&self, span: Duration) {
        let micros = u64::try_from(span.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - micros.saturating_sub(1).leading_zeros()) as usize;
        self.buckets[bucket.min(BUCKETS - 1)].fetch_add(1, Ordering::Relaxed);
        self.sum_nanos.fetch_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Upper bounds, each with how many took no longer; the last, without a bound, is the count of all.
    pub fn cumulative(&self) -> Vec<(Option<Duration>, u64)> {
        let mut so_far = 0;
        let counted = self.buckets.iter().enumerate().map(|(nth, bucket)| {
            so_far += bucket.load(Ordering::Relaxed);
            ((nth + 1 < BUCKETS).then(|| Duration::from_micros(1 << nth)), so_far)
        });
        counted.collect()
    }

    /// How long all took together.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_nanos.load(Ordering::Relaxed))
    }
}

/// What is counted of one pool.
#[derive(Debug, Default)]
pub struct PoolMetrics {
    /// Without a reason, then by each.
    decisions: [[Counter; ReasonCode::ALL.len() + 1]; 3],
    /// Allowed under `warn` or `observe` where it would have been queued or denied, by reason.
    would_deny: [Counter; ReasonCode::ALL.len()],
    /// How long tickets waited until they were admitted.
    pub queue_wait: Histogram,
    /// Leases that were told to give way.
    pub reclaims: Counter,
    /// Of these, those that need not after all.
    pub let_off: Counter,
}

impl PoolMetrics {
    pub(super) fn decided(&self, outcome: Outcome, reason: Option<ReasonCode>, would_be: Option<Outcome>) {
        let place = reason.map_or(0, |reason| place_of(reason) + 1);
        self.decisions[outcome_place(outcome)][place].increment();
        if let (Some(_), Some(reason)) = (would_be, reason) {
            self.would_deny[place_of(reason)].increment();
        }
    }

    /// Decisions, by outcome and the reason that decided, where there are any.
    pub fn decisions(&self) -> impl Iterator<Item = (Outcome, Option<ReasonCode>, u64)> + '_ {
        let reasons = || std::iter::once(None).chain(ReasonCode::ALL.into_iter().map(Some));
        [Outcome::Allow, Outcome::Queue, Outcome::Deny]
            .into_iter()
            .flat_map(move |outcome| {
                let counters = self.decisions[outcome_place(outcome)].iter();
                reasons().zip(counters).map(move |(reason, counter)| (outcome, reason, counter.count()))
            })
            .filter(|(_, _, count)| *count > 0)
    }

    /// What was allowed though a reason stood against it, where there is any.
    pub fn would_deny(&self) -> impl Iterator<Item = (ReasonCode, u64)> + '_ {
        let counted = ReasonCode::ALL.into_iter().zip(&self.would_deny);
        counted.map(|(reason, counter)| (reason, counter.count())).filter(|(_, count)| *count > 0)
    }
}

fn place_of(reason: ReasonCode) -> usize {
    ReasonCode::ALL.iter().position(|each| *each == reason).unwrap_or_default()
}

fn outcome_place(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Allow => 0,
        Outcome::Queue => 1,
        Outcome::Deny => 2,
    }
}

/// Invariants that a state can break. Their counters are there from the start: who waits for one to grow must have seen it.
const INVARIANTS: [&str; 3] = ["conservation", "durability", "work-conserving"];

/// How often which invariant was found broken. A digest that differs breaks `durability`.
#[derive(Debug)]
pub struct Violations(Mutex<BTreeMap<&'static str, u64>>);

impl Default for Violations {
    fn default() -> Self {
        Self(Mutex::new(INVARIANTS.map(|invariant| (invariant, 0)).into()))
    }
}

impl Violations {
    pub(super) fn count(&self, invariant: &'static str) {
        *self.0.lock().entry(invariant).or_default() += 1;
    }

    /// Every invariant by its name, with how often it was found broken.
    pub fn counted(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().clone()
    }
}

/// What is counted of the engine.
#[derive(Debug, Default)]
pub struct Metrics {
    pools: ArcSwap<HashMap<Name, Arc<PoolMetrics>>>,
    /// From a request's arrival at the engine to its decision, without the wait for the store.
    pub decision: Histogram,
    /// How long the store took for a commit.
    pub commit: Histogram,
    /// Records that were committed.
    pub records: Counter,
    /// Commits.
    pub commits: Counter,
    /// Requests that were turned away because the store did not keep up.
    pub shed: Counter,
    /// Commits that failed.
    pub store_failures: Counter,
    /// Watchers that were cut off because they did not keep up.
    pub watchers_dropped: Counter,
    /// Invariants found broken.
    pub violations: Violations,
    /// Snapshots written.
    pub snapshots: Counter,
    /// Snapshots that failed.
    pub snapshot_failures: Counter,
}

impl Metrics {
    /// What is counted of a pool that the ledger knows.
    pub fn pool(&self, name: &Name) -> Arc<PoolMetrics> {
        if let Some(pool) = self.pools.load().get(name) {
            return pool.clone();
        }
        self.pools.rcu(|pools| {
            let mut pools = HashMap::clone(pools);
            pools.entry(name.clone()).or_default();
            pools
        });
        self.pools.load().get(name).cloned().unwrap_or_default()
    }

    /// What is counted of one pool after the other, where they mostly are the same.
    pub(super) fn by_pool(&self) -> ByPool<'_> {
        ByPool { metrics: self, last: None }
    }

    /// Every pool of which anything was counted.
    pub fn pools(&self) -> Vec<(Name, Arc<PoolMetrics>)> {
        let mut pools: Vec<_> = self.pools.load().iter().map(|(name, pool)| (name.clone(), pool.clone())).collect();
        pools.sort_by(|a, b| a.0.cmp(&b.0));
        pools
    }
}

/// Pools, the last of them at hand.
pub(super) struct ByPool<'a> {
    metrics: &'a Metrics,
    last: Option<(Name, Arc<PoolMetrics>)>,
}

impl ByPool<'_> {
    /// What is counted of a pool.
    pub(super) fn of(&mut self, name: &Name) -> &PoolMetrics {
        let last = self.last.take().filter(|(last, _)| last == name);
        let (_, pool) = self.last.insert(last.unwrap_or_else(|| (name.clone(), self.metrics.pool(name))));
        pool
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use headgate_ledger::{Name, Outcome, ReasonCode};

    use super::{Histogram, Metrics};

    #[test]
    fn spans_fall_into_the_bucket_that_holds_them() {
        let histogram = Histogram::default();
        for nanos in [0, 1, 1000, 1001, 2000, 2001] {
            histogram.record(Duration::from_nanos(nanos));
        }
        histogram.record(Duration::from_secs(1000));
        let counted = histogram.cumulative();
        assert_eq!(counted[0], (Some(Duration::from_micros(1)), 3));
        assert_eq!(counted[1], (Some(Duration::from_micros(2)), 5));
        assert_eq!(counted[2], (Some(Duration::from_micros(4)), 6));
        assert_eq!(counted.last(), Some(&(None, 7)));
        assert_eq!(histogram.sum(), Duration::from_nanos(6003) + Duration::from_secs(1000));
    }

    #[test]
    fn decisions_are_counted_by_pool_outcome_and_reason() {
        let metrics = Metrics::default();
        let name = Name::parse("default").expect("a name");
        let pool = metrics.pool(&name);
        pool.decided(Outcome::Allow, None, None);
        pool.decided(Outcome::Deny, Some(ReasonCode::NeverFits), None);
        metrics.pool(&name).decided(Outcome::Allow, Some(ReasonCode::NoCapacity), Some(Outcome::Queue));
        let counted: Vec<_> = pool.decisions().collect();
        assert_eq!(
            counted,
            [
                (Outcome::Allow, None, 1),
                (Outcome::Allow, Some(ReasonCode::NoCapacity), 1),
                (Outcome::Deny, Some(ReasonCode::NeverFits), 1)
            ]
        );
        assert_eq!(pool.would_deny().collect::<Vec<_>>(), [(ReasonCode::NoCapacity, 1)]);
        assert_eq!(metrics.pools().len(), 1);
    }
}
