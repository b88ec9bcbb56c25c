//! Scenario files, as they are written.

use std::collections::BTreeMap;

use headgate_scheduler::config::Text;
use serde::Deserialize;

use super::spread::Spread;

/// A file, whole.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// What it is called in reports.
    pub(super) scenario: String,
    /// The same seed draws the same work.
    #[serde(default = "one")]
    pub(super) seed: u64,
    #[serde(default)]
    pub(super) pool: PoolShape,
    #[serde(default)]
    pub(super) tenants: Vec<TenantShape>,
    #[serde(default)]
    pub(super) mix: Mix,
    /// What a request asks for, by resource.
    #[serde(default)]
    pub(super) sizes: BTreeMap<String, Spread<Text>>,
    /// How long a lease is held; `forever`: until the test is over.
    pub(super) holds: Option<Spread<Text>>,
    /// Leases that are taken before the measurement and held throughout: what renewals are of.
    #[serde(default)]
    pub(super) population: u64,
    /// Whether requests may wait.
    #[serde(default)]
    pub(super) wait: bool,
    pub(super) trace: Option<TraceShape>,
}

/// The pool that the work is done in.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PoolShape {
    pub(super) name: String,
    /// Known, it is checked that no more is allowed.
    pub(super) capacity: BTreeMap<String, Text>,
    /// Whether it takes back what is borrowed: then a lease is only surely held for the grace.
    pub(super) reclaim: bool,
    pub(super) grace: Text,
    pub(super) max_queued: Option<u32>,
    /// How much earlier one point of priority counts; 0s: priority first.
    pub(super) age_step: Option<Text>,
    /// From when what is freed is held for one that waits.
    pub(super) hold_after: Option<Text>,
}

impl Default for PoolShape {
    fn default() -> Self {
        let capacity = BTreeMap::new();
        let (name, grace) = ("loadtest".to_owned(), Text("30s".to_owned()));
        Self { name, capacity, reclaim: false, grace, max_queued: None, age_step: None, hold_after: None }
    }
}

/// One tenant, or many alike.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TenantShape {
    pub(super) path: String,
    /// So many of them, with the path followed by -0, -1, …
    pub(super) count: Option<u32>,
    /// How much of all requests come from these.
    #[serde(default = "all")]
    pub(super) load: f64,
    /// How unequally the load is spread over them: Zipf's exponent; 0: equally.
    #[serde(default)]
    pub(super) zipf: f64,
    #[serde(default)]
    pub(super) guaranteed: BTreeMap<String, Text>,
    /// Known, it is checked that it is never exceeded.
    #[serde(default)]
    pub(super) limit: BTreeMap<String, Text>,
    pub(super) weight: Option<f64>,
}

/// How often each kind of operation is done. Releases follow what was acquired.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Mix {
    pub(super) check: f64,
    pub(super) acquire: f64,
    pub(super) renew: f64,
}

/// Jobs as they were submitted somewhere, instead of drawn ones.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TraceShape {
    /// Beside the scenario's own file.
    pub(super) file: String,
    /// So many times as fast as it was.
    #[serde(default = "all")]
    pub(super) faster: f64,
}

fn one() -> u64 {
    1
}

fn all() -> f64 {
    1.0
}
