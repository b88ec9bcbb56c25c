//! Metrics, in OpenMetrics' text. They are read when they are asked for: the counters from the engine, how tenants stand
//! from its ledgers. Amounts are in base units, but cpu in cores; times in seconds.

use std::fmt;
use std::sync::{Arc, OnceLock};

use headgate_ledger::{Amount, Ledger, Name, ReasonCode, Resource, TenantPath, Time};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use serde::Deserialize;

use crate::config::is_cpu;
use crate::engine::{Engine, Health, Histogram, Metrics as Counted};

/// Tenants of one pool that are shown where nobody says: the larger ones, as those near the root are.
const TENANTS_DEFAULT: usize = 1_000;
/// Tenants of one pool that are shown at most: each makes about ten series for every resource.
const TENANTS_MAX: usize = 20_000;
/// Levels of the tree that are shown where nobody says: organizations and their teams.
const DEPTH_DEFAULT: usize = 2;

/// Which tenants have series of their own; the query of a scrape: `/metrics?tenant=acme&depth=3&tenants_max=5000`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// Those of this subtree. Left out: all.
    #[serde(default)]
    tenant: Option<String>,
    /// Down to so many levels.
    #[serde(default)]
    depth: Option<usize>,
    /// So many of a pool at most, in the order of their paths.
    #[serde(default)]
    tenants_max: Option<usize>,
}

/// What is wrong with a query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ShownError {
    /// Its tenant.
    #[error("tenant: {0}")]
    Tenant(#[from] headgate_ledger::NameError),
    /// How many it asks for.
    #[error("tenants_max: {0} is more than {TENANTS_MAX}, the most that are shown")]
    TooMany(usize),
}

/// [`Shown`], checked.
#[derive(Clone, Debug)]
struct Selection {
    under: TenantPath,
    depth: usize,
    tenants_max: usize,
}

impl Shown {
    fn check(&self) -> Result<Selection, ShownError> {
        let under = match self.tenant.as_deref() {
            None | Some("") => TenantPath::root(),
            Some(path) => TenantPath::parse(path)?,
        };
        let tenants_max = self.tenants_max.unwrap_or(TENANTS_DEFAULT);
        if tenants_max > TENANTS_MAX {
            return Err(ShownError::TooMany(tenants_max));
        }
        Ok(Selection { under, depth: self.depth.unwrap_or(DEPTH_DEFAULT), tenants_max })
    }
}

/// The metrics of a server: of its engine, as soon as it is open.
#[derive(Debug, Default)]
pub struct Metrics {
    engine: OnceLock<Arc<Engine>>,
}

impl Metrics {
    /// Shows an engine from now on.
    pub fn show(&self, engine: Arc<Engine>) {
        // One that is shown already stays: a server has one engine.
        let _ = self.engine.set(engine);
    }

    /// Invariants that were found broken since the start, and how often.
    pub(crate) fn broken(&self) -> Vec<(&'static str, u64)> {
        let Some(engine) = self.engine.get() else { return Vec::new() };
        engine.metrics().violations.counted().into_iter().filter(|(_, count)| *count > 0).collect()
    }

    /// The metrics, as OpenMetrics' text.
    pub(crate) fn text(&self, shown: &Shown) -> Result<String, ShownError> {
        let selection = shown.check()?;
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register_collector(Box::new(Scrape { engine: self.engine.get().cloned(), selection }));
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
        Ok(text)
    }
}

/// One reading of all there is.
#[derive(Debug)]
struct Scrape {
    engine: Option<Arc<Engine>>,
    selection: Selection,
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let build = [("version", env!("CARGO_PKG_VERSION"))];
        encoder.encode_descriptor("headgate_build", "The server", None, MetricType::Info)?.encode_info(&build)?;
        let Some(engine) = &self.engine else { return Ok(()) };
        encode_counted(&mut encoder, engine.metrics())?;
        let audits = [(Labels::new(), engine.audits())];
        encode_counter(&mut encoder, "headgate_audits", "How often invariants were checked", audits)?;
        let mut standings = Standings::new();
        let mut snapshot_age =
            Gauges::new("headgate_snapshot_age_seconds", "Since the last snapshot that this server has written");
        for cell in engine.cells() {
            // Every cell that is named is served.
            let _ = engine.survey(cell, |view| standings.read(view, view.now(), &self.selection));
            if let Some((_, written)) = engine.last_snapshot(cell) {
                snapshot_age.add(&of_cell(cell), written.elapsed().as_secs_f64());
            }
        }
        standings.encode(&mut encoder)?;
        snapshot_age.encode(&mut encoder)?;
        encode_health(&mut encoder, &engine.health())
    }
}

fn of_cell(cell: &Name) -> Labels {
    vec![("cell", cell.to_string())]
}

/// How the cells are.
fn encode_health(encoder: &mut DescriptorEncoder<'_>, cells: &[Health]) -> fmt::Result {
    let mut store_up = Gauges::new("headgate_store_up", "Whether the store takes what it is given");
    let mut leader = Gauges::new("headgate_leader", "Whether this server decides on the cell");
    let mut unjournaled = Gauges::new("headgate_journal_buffer_bytes", "Decided, and not yet taken by the store");
    for health @ Health { cell, serving, unjournaled_bytes, .. } in cells {
        let up = health.store_fails().is_none();
        store_up.add(&of_cell(cell), if up { 1.0 } else { 0.0 });
        leader.add(&of_cell(cell), if *serving { 1.0 } else { 0.0 });
        unjournaled.add(&of_cell(cell), *unjournaled_bytes as f64);
    }
    store_up.encode(encoder)?;
    leader.encode(encoder)?;
    unjournaled.encode(encoder)
}

type Labels = Vec<(&'static str, String)>;

/// One family of gauges.
#[derive(Debug)]
struct Gauges {
    name: &'static str,
    help: &'static str,
    samples: Vec<(Labels, f64)>,
}

impl Gauges {
    fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, help, samples: Vec::new() }
    }

    fn add(&mut self, labels: &Labels, value: f64) {
        self.samples.push((labels.clone(), value));
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = encoder.encode_descriptor(self.name, self.help, None, MetricType::Gauge)?;
        for (labels, value) in &self.samples {
            family.encode_family(labels)?.encode_gauge(value)?;
        }
        Ok(())
    }
}

/// How the pools of one ledger stand.
#[derive(Debug)]
struct Standings {
    usage: Gauges,
    guaranteed: Gauges,
    limit: Gauges,
    borrowed: Gauges,
    weighted_share: Gauges,
    held: Gauges,
    queue_depth: Gauges,
    oldest_waiting: Gauges,
    leases: Gauges,
    reclaim_blocked: Gauges,
    not_shown: Gauges,
}

impl Standings {
    fn new() -> Self {
        Self {
            usage: Gauges::new("headgate_usage", "What the leases of a tenant's subtree hold"),
            guaranteed: Gauges::new("headgate_guaranteed", "The effective guarantee of a tenant"),
            limit: Gauges::new("headgate_limit", "What a tenant never exceeds"),
            borrowed: Gauges::new("headgate_borrowed", "What a tenant occupies above its guarantee"),
            weighted_share: Gauges::new("headgate_weighted_share", "Weighted dominant share, as dispatch compares it"),
            held: Gauges::new("headgate_held", "What is kept idle for tickets that have a hold or a claim"),
            queue_depth: Gauges::new("headgate_queue_depth", "Tickets that wait"),
            oldest_waiting: Gauges::new("headgate_oldest_waiting_seconds", "How long the longest-waiting ticket has"),
            leases: Gauges::new("headgate_leases", "Leases, by whether they must give way"),
            reclaim_blocked: Gauges::new("headgate_reclaim_blocked", "Leases that hold on beyond their deadline"),
            not_shown: Gauges::new("headgate_tenants_not_shown", "Tenants of the selection beyond the most shown"),
        }
    }

    fn read(&mut self, ledger: &Ledger, now: Time, selection: &Selection) {
        for pool in ledger.pools() {
            self.read_pool(ledger, now, &pool.name, selection);
        }
        self.read_oldest(ledger, now);
        self.read_blocked(ledger, now);
    }

    fn read_pool(&mut self, ledger: &Ledger, now: Time, pool: &Name, selection: &Selection) {
        let Selection { under, depth, tenants_max } = selection;
        let of_pool = vec![("pool", pool.to_string())];
        if let Some(root) = ledger.standing(now, pool.as_str(), "") {
            self.queue_depth.add(&of_pool, root.waiting as f64);
            let state = |word: &str| vec![("pool", pool.to_string()), ("state", word.to_owned())];
            self.leases.add(&state("active"), root.running.saturating_sub(root.reclaiming) as f64);
            self.leases.add(&state("reclaiming"), root.reclaiming as f64);
            for holding in &root.holdings {
                let labels = vec![("pool", pool.to_string()), ("resource", holding.resource.to_string())];
                self.held.add(&labels, shown(&holding.resource, holding.held));
            }
            self.read_tenant(pool, &root);
        }
        let near = |path: &TenantPath| path.depth() <= *depth && under.covers(path.as_str());
        let mut selected = ledger.tenants().map(|tenant| &tenant.path).filter(|path| near(path));
        for path in selected.by_ref().take(*tenants_max) {
            if let Some(standing) = ledger.standing(now, pool.as_str(), path.as_str()) {
                self.read_tenant(pool, &standing);
            }
        }
        self.not_shown.add(&of_pool, selected.count() as f64);
    }

    fn read_tenant(&mut self, pool: &Name, standing: &headgate_ledger::Standing) {
        const MILLION: f64 = 1e6;
        let node = vec![("pool", pool.to_string()), ("tenant", standing.tenant.to_string())];
        self.weighted_share.add(&node, standing.share_millionths as f64 / MILLION);
        for holding in &standing.holdings {
            let mut labels = node.clone();
            labels.push(("resource", holding.resource.to_string()));
            let value = |amount: Amount| shown(&holding.resource, amount);
            self.usage.add(&labels, value(holding.usage));
            self.guaranteed.add(&labels, value(holding.guaranteed));
            self.borrowed.add(&labels, value(holding.borrowed));
            if let Some(limit) = holding.limit {
                self.limit.add(&labels, value(limit));
            }
        }
    }

    fn read_oldest(&mut self, ledger: &Ledger, now: Time) {
        let mut oldest = std::collections::BTreeMap::<&Name, Time>::new();
        for ticket in ledger.tickets() {
            let arrived = oldest.entry(&ticket.request.pool).or_insert(ticket.arrived);
            *arrived = (*arrived).min(ticket.arrived);
        }
        for pool in ledger.pools() {
            let waited = oldest.get(&pool.name).map_or(0.0, |arrived| now.since(*arrived).as_secs_f64());
            self.oldest_waiting.add(&vec![("pool", pool.name.to_string())], waited);
        }
    }

    fn read_blocked(&mut self, ledger: &Ledger, now: Time) {
        let mut blocked = std::collections::BTreeMap::<&Name, u32>::new();
        for lease in ledger.leases() {
            if lease.deadline().is_some_and(|deadline| deadline < now) {
                *blocked.entry(&lease.request.pool).or_default() += 1;
            }
        }
        for pool in ledger.pools() {
            let count = blocked.get(&pool.name).copied().unwrap_or_default();
            self.reclaim_blocked.add(&vec![("pool", pool.name.to_string())], count.into());
        }
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Self {
            usage,
            guaranteed,
            limit,
            borrowed,
            weighted_share,
            held,
            queue_depth,
            oldest_waiting,
            leases,
            reclaim_blocked,
            not_shown,
        } = self;
        for gauges in [
            usage,
            guaranteed,
            limit,
            borrowed,
            weighted_share,
            held,
            queue_depth,
            oldest_waiting,
            leases,
            reclaim_blocked,
            not_shown,
        ] {
            gauges.encode(encoder)?;
        }
        Ok(())
    }
}

/// An amount as it is shown: cpu in cores, all else in base units.
fn shown(resource: &Resource, amount: Amount) -> f64 {
    const MILLICORES: f64 = 1000.0;
    if is_cpu(resource.as_str()) { amount as f64 / MILLICORES } else { amount as f64 }
}

fn encode_counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = (Labels, u64)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, count) in samples {
        if labels.is_empty() {
            family.encode_counter::<NoLabelSet, u64, u64>(&count, None)?;
        } else {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, u64>(&count, None)?;
        }
    }
    Ok(())
}

fn encode_histogram<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = (Labels, &'a Histogram)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for (labels, histogram) in samples {
        let mut before = 0;
        let buckets: Vec<(f64, u64)> = histogram
            .cumulative()
            .into_iter()
            .map(|(bound, so_far)| {
                let here = so_far - before;
                before = so_far;
                (bound.map_or(f64::INFINITY, |bound| bound.as_secs_f64()), here)
            })
            .collect();
        let sum = histogram.sum().as_secs_f64();
        if labels.is_empty() {
            family.encode_histogram::<NoLabelSet>(sum, before, &buckets, None)?;
        } else {
            family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, before, &buckets, None)?;
        }
    }
    Ok(())
}

/// The engine's counters.
fn encode_counted(encoder: &mut DescriptorEncoder<'_>, counted: &Counted) -> fmt::Result {
    let pools = counted.pools();
    let named = |name: &Name| vec![("pool", name.to_string())];
    let with = |name: &Name, label, word: &str| vec![("pool", name.to_string()), (label, word.to_owned())];
    let decisions = pools.iter().flat_map(|(name, pool)| {
        pool.decisions().map(|(outcome, reason, count)| {
            let mut labels = with(name, "decision", outcome.word());
            labels.push(("reason", reason.map_or("", ReasonCode::word).to_owned()));
            (labels, count)
        })
    });
    encode_counter(encoder, "headgate_decisions", "Decisions, by the reason that decided", decisions)?;
    let would_deny = pools
        .iter()
        .flat_map(|(name, pool)| pool.would_deny().map(|(reason, count)| (with(name, "reason", reason.word()), count)));
    encode_counter(encoder, "headgate_would_deny", "Allowed, but only because it is not enforced", would_deny)?;
    let reclaims = pools.iter().map(|(name, pool)| (named(name), pool.reclaims.count()));
    encode_counter(encoder, "headgate_reclaims", "Leases that were told to give way", reclaims)?;
    let let_off = pools.iter().map(|(name, pool)| (named(name), pool.let_off.count()));
    encode_counter(encoder, "headgate_let_off", "Of these, those that need not after all", let_off)?;
    let waits = pools.iter().map(|(name, pool)| (named(name), &pool.queue_wait));
    encode_histogram(encoder, "headgate_queue_wait_seconds", "How long tickets waited until admitted", waits)?;
    let whole = |histogram| [(Labels::new(), histogram)];
    encode_histogram(
        encoder,
        "headgate_decision_duration_seconds",
        "From a request's arrival at the engine to its decision, without the store",
        whole(&counted.decision),
    )?;
    encode_histogram(
        encoder,
        "headgate_journal_commit_seconds",
        "What the store took for a commit",
        whole(&counted.commit),
    )?;
    let violations = counted.violations.counted();
    let violations =
        violations.into_iter().map(|(invariant, count)| (vec![("invariant", invariant.to_owned())], count));
    encode_counter(encoder, "headgate_invariant_violations", "Invariants found broken", violations)?;
    for (name, help, counter) in [
        ("headgate_journal_records", "Records that were committed", &counted.records),
        ("headgate_journal_commits", "Commits", &counted.commits),
        ("headgate_shed", "Requests turned away because the store did not keep up", &counted.shed),
        ("headgate_store_failures", "Commits that failed", &counted.store_failures),
        ("headgate_watchers_dropped", "Watchers cut off because they did not keep up", &counted.watchers_dropped),
        ("headgate_snapshots", "Snapshots written", &counted.snapshots),
        ("headgate_snapshot_failures", "Snapshots that failed", &counted.snapshot_failures),
    ] {
        encode_counter(encoder, name, help, [(Labels::new(), counter.count())])?;
    }
    Ok(())
}
