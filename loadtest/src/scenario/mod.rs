//! Scenarios: who asks for what, how often, and for how long. The same seed draws the same work.

mod draw;
mod file;
mod spread;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use headgate_ledger::TenantPath;
use headgate_scheduler::config::{Problems, Text, parse_amount, parse_span, read_file, read_yaml};
use headgate_scheduler::simulate::Trace;

pub(crate) use draw::{Draft, Drafts, Drawn};

use crate::random::{Random, Weighted};
use file::{File, PoolShape, TenantShape, TraceShape};
use spread::Spread;

/// Tenants of one scenario: ten times what the design is measured with.
const TENANTS_MAX: usize = 100_000;
/// Distinct sizes that are drawn from a distribution, beforehand: enough that its form is kept.
const SHAPES_DRAWN: usize = 256;
/// A lease that is held until the test is over.
pub(crate) const FOREVER: u64 = u64::MAX;

/// What is done where nothing else is said: pairs of acquire and release, of one core, by ten tenants.
pub(crate) const EMBEDDED: &str = "
scenario: pairs
pool: {capacity: {cpu: 1000000}}
tenants: [{path: loadtest/t, count: 10, limit: {cpu: 100000}}]
mix: {acquire: 1}
sizes: {cpu: 1}
holds: 0s
";

/// Amounts in base units, by resource.
pub(crate) type Amounts = BTreeMap<String, u64>;

/// A scenario.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) seed: u64,
    pub(crate) pool: Pool,
    pub(crate) tenants: Vec<Tenant>,
    /// What a request may ask for.
    pub(crate) shapes: Vec<Amounts>,
    /// How often each of [`Drawn::ALL`] is done.
    pub(crate) mix: [f64; 3],
    holds: Option<Spread<u64>>,
    pub(crate) population: u64,
    pub(crate) wait: bool,
    /// Jobs of a trace, in the order of submission. Empty: work is drawn.
    pub(crate) jobs: Vec<Job>,
}

/// The pool that the work is done in.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    pub(crate) name: String,
    /// Empty: not known.
    pub(crate) capacity: Amounts,
    pub(crate) reclaim: bool,
    /// For how long a lease is surely held once its notice is given, in nanoseconds.
    pub(crate) grace: u64,
    pub(crate) max_queued: Option<u32>,
    /// As the pool has them, in nanoseconds, where they are said.
    pub(crate) age_step: Option<u64>,
    pub(crate) hold_after: Option<u64>,
}

/// A tenant.
#[derive(Clone, Debug)]
pub(crate) struct Tenant {
    pub(crate) path: String,
    /// Its part of all requests.
    pub(crate) load: f64,
    pub(crate) guaranteed: Amounts,
    /// What it names is checked never to be exceeded.
    pub(crate) limit: Amounts,
    pub(crate) weight: Option<f64>,
}

/// A job of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    /// When it is submitted, in nanoseconds after the start.
    pub(crate) submit: u64,
    pub(crate) tenant: u32,
    pub(crate) shape: u32,
    /// For how long it holds its lease, in nanoseconds.
    pub(crate) hold: u64,
}

impl Scenario {
    /// Reads a file; none: what is done where nothing else is said.
    pub(crate) fn load(path: Option<&Path>) -> Result<Self, Problems> {
        match path {
            None => Self::parse("the embedded scenario", EMBEDDED, Path::new(".")),
            Some(path) => {
                let folder = path.parent().unwrap_or(Path::new("."));
                Self::parse(&path.display().to_string(), &read_file(path)?, folder)
            }
        }
    }

    /// Reads the text of a file; what it names beside itself is looked for in `folder`.
    pub(crate) fn parse(name: &str, text: &str, folder: &Path) -> Result<Self, Problems> {
        let file: File = read_yaml(name, text)?;
        Self::of(file, folder).map_err(|what| match what {
            Wrong::Here(what) => Problems::whole(name, what),
            Wrong::Trace(problems) => problems,
        })
    }

    fn of(file: File, folder: &Path) -> Result<Self, Wrong> {
        let File { scenario, seed, pool, tenants, mix, sizes, holds, population, wait, trace } = file;
        let mut random = Random::new(seed, u64::MAX);
        let mut made = Self {
            name: scenario,
            seed,
            pool: pool_of(pool)?,
            tenants: tenants_of(tenants)?,
            shapes: shapes_of(&sizes, &mut random)?,
            mix: [mix.check, mix.acquire, mix.renew],
            holds: holds_of(holds)?,
            population,
            wait,
            jobs: Vec::new(),
        };
        if !made.mix.iter().all(|weight| (0.0..=1e9).contains(weight)) {
            return Err(Wrong::Here("mix: a weight is from 0 to 1000000000".to_owned()));
        }
        match trace {
            Some(trace) => made.replay(&trace, folder)?,
            None => made.check_drawn()?,
        }
        Ok(made)
    }

    fn check_drawn(&self) -> Result<(), String> {
        if self.mix.iter().sum::<f64>() <= 0.0 {
            return Err("mix: nothing is done: give check, acquire or renew a weight above 0".to_owned());
        }
        if self.tenants.iter().map(|tenant| tenant.load).sum::<f64>() <= 0.0 {
            return Err("tenants: nobody asks: name one whose load is above 0".to_owned());
        }
        if self.shapes.iter().all(Amounts::is_empty) {
            return Err("sizes: nothing is asked for: name a resource, such as {cpu: 1}".to_owned());
        }
        if self.mix[2] > 0.0 && self.population == 0 {
            return Err("mix: there is nothing to renew: say a population of leases that are held".to_owned());
        }
        Ok(())
    }

    /// Takes the jobs of a trace, each under `loadtest/`.
    fn replay(&mut self, trace: &TraceShape, folder: &Path) -> Result<(), Wrong> {
        let TraceShape { file, faster } = trace;
        if !(1e-3..=1e9).contains(faster) {
            return Err(Wrong::Here(format!("trace: faster: {faster} is not from 0.001 to 1000000000")));
        }
        let read = Trace::read(&folder.join(file)).map_err(Wrong::Trace)?;
        let (mut tenants, mut shapes) = (BTreeMap::new(), BTreeMap::new());
        let first = read.jobs.first().map(|job| job.submit).unwrap_or_default();
        self.shapes.clear();
        for job in &read.jobs {
            let path = format!("{OWN}/{}", job.tenant);
            let count = self.tenants.len();
            let tenant = *tenants.entry(path.clone()).or_insert_with(|| {
                self.tenants.push(Tenant::named(path, 0.0));
                count as u32
            });
            let amounts: Amounts = job.resources.iter().map(|(name, amount)| (name.to_string(), amount)).collect();
            let count = self.shapes.len();
            let shape = *shapes.entry(amounts.clone()).or_insert_with(|| {
                self.shapes.push(amounts);
                count as u32
            });
            let scaled = |span: std::time::Duration| (span.as_nanos() as f64 / faster) as u64;
            let (submit, hold) = (scaled(job.submit - first), scaled(job.duration));
            self.jobs.push(Job { submit, tenant, shape, hold });
        }
        Ok(check_count(self.tenants.len())?)
    }

    /// Every tenant that must be there, above and including those that ask, parents first.
    pub(crate) fn paths(&self) -> BTreeSet<&str> {
        let mut paths = BTreeSet::new();
        for tenant in &self.tenants {
            paths.extend(ancestors(&tenant.path));
        }
        paths
    }

    /// The tenants that are named, by their paths.
    pub(crate) fn by_path(&self) -> BTreeMap<&str, &Tenant> {
        self.tenants.iter().map(|tenant| (tenant.path.as_str(), tenant)).collect()
    }

    /// Names of all that is asked for or bounded.
    pub(crate) fn resources(&self) -> BTreeSet<&str> {
        let limits = self.tenants.iter().map(|tenant| &tenant.limit);
        let all = self.shapes.iter().chain(limits).chain([&self.pool.capacity]);
        all.flat_map(|amounts| amounts.keys().map(String::as_str)).collect()
    }

    /// The first tenant that is not the load test's own, where there is one.
    pub(crate) fn foreign(&self) -> Option<&str> {
        self.tenants.iter().map(|tenant| tenant.path.as_str()).find(|path| !is_own(path))
    }
}

impl Tenant {
    pub(crate) fn named(path: String, load: f64) -> Self {
        Self { path, load, guaranteed: Amounts::new(), limit: Amounts::new(), weight: None }
    }
}

/// The tenant under which everything is done, if not told otherwise.
pub(crate) const OWN: &str = "loadtest";

/// Whether a path is under a tenant that is a load test's own.
pub(crate) fn is_own(path: &str) -> bool {
    path.split('/').next().is_some_and(|first| first == OWN || first.starts_with("loadtest-"))
}

/// A path and all above it, the highest first.
pub(crate) fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at]).chain([path])
}

enum Wrong {
    Here(String),
    Trace(Problems),
}

impl From<String> for Wrong {
    fn from(what: String) -> Self {
        Self::Here(what)
    }
}

fn pool_of(shape: PoolShape) -> Result<Pool, String> {
    let PoolShape { name, capacity, reclaim, grace, max_queued, age_step, hold_after } = shape;
    let capacity = amounts_of("pool: capacity", &capacity)?;
    let time = |key: &str, text: &Text| span(&text.0).map_err(|what| format!("pool: {key}: {what}"));
    let grace = time("grace", &grace)?;
    let age_step = age_step.map(|text| time("age_step", &text)).transpose()?;
    let hold_after = hold_after.map(|text| time("hold_after", &text)).transpose()?;
    Ok(Pool { name, capacity, reclaim, grace, max_queued, age_step, hold_after })
}

fn tenants_of(shapes: Vec<TenantShape>) -> Result<Vec<Tenant>, String> {
    let mut tenants = Vec::new();
    for TenantShape { path, count, load, zipf, guaranteed, limit, weight } in shapes {
        if !(0.0..=1e9).contains(&load) || !(0.0..=10.0).contains(&zipf) {
            return Err(format!("tenant {path}: load is from 0 to 1000000000, and zipf from 0 to 10"));
        }
        let (guaranteed, limit) = (amounts_of(&path, &guaranteed)?, amounts_of(&path, &limit)?);
        let parts = Weighted::zipf(count.unwrap_or(1) as usize, zipf);
        check_count(tenants.len() + parts.len())?;
        let whole: f64 = parts.iter().sum();
        for (at, part) in parts.iter().enumerate() {
            let path = if count.is_some() { format!("{path}-{at}") } else { path.clone() };
            TenantPath::parse(&path).map_err(|error| format!("tenant {path}: {error}"))?;
            let (guaranteed, limit) = (guaranteed.clone(), limit.clone());
            tenants.push(Tenant { path, load: load * part / whole, guaranteed, limit, weight });
        }
    }
    let mut seen = BTreeSet::new();
    match tenants.iter().find(|tenant| !seen.insert(&tenant.path)) {
        Some(twice) => Err(format!("tenant {} is named twice", twice.path)),
        None => Ok(tenants),
    }
}

fn check_count(count: usize) -> Result<(), String> {
    if count > TENANTS_MAX {
        return Err(format!("{count} tenants are named, at most {TENANTS_MAX} may be"));
    }
    Ok(())
}

fn shapes_of(sizes: &BTreeMap<String, Spread<Text>>, random: &mut Random) -> Result<Vec<Amounts>, String> {
    let parse = |(resource, spread): (&String, &Spread<Text>)| {
        let parsed = spread.parse(|text| parse_amount(text, resource).map_err(|error| error.to_string()));
        Ok((resource.clone(), parsed.map_err(|what| format!("sizes: {resource}: {what}"))?))
    };
    let spreads = sizes.iter().map(parse).collect::<Result<Vec<_>, String>>()?;
    let count = if spreads.iter().all(|(_, spread)| spread.is_constant()) { 1 } else { SHAPES_DRAWN };
    // Nothing is asked for in parts of nothing.
    let drawn = |random: &mut Random| {
        spreads.iter().map(|(resource, spread)| (resource.clone(), spread.draw(random).max(1))).collect()
    };
    Ok((0..count).map(|_| drawn(random)).collect())
}

fn holds_of(holds: Option<Spread<Text>>) -> Result<Option<Spread<u64>>, String> {
    match holds {
        None => Ok(Some(Spread::Constant(0))),
        Some(Spread::Constant(Text(word))) if word == "forever" => Ok(None),
        Some(spread) => Ok(Some(spread.parse(span).map_err(|what| format!("holds: {what}"))?)),
    }
}

fn amounts_of(whose: &str, texts: &BTreeMap<String, Text>) -> Result<Amounts, String> {
    let parse = |(resource, text): (&String, &Text)| {
        let amount = parse_amount(&text.0, resource).map_err(|error| format!("{whose}: {error}"))?;
        Ok((resource.clone(), amount))
    };
    texts.iter().map(parse).collect()
}

/// Nanoseconds of a duration such as `250ms`, `30s`, `5m`.
pub(crate) fn span(text: &str) -> Result<u64, String> {
    let parsed = parse_span(text).map_err(|error| error.to_string())?;
    u64::try_from(parsed.as_nanos()).map_err(|_| format!("{text} is longer than a load test may be"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{EMBEDDED, Scenario};

    fn parsed(yaml: &str) -> Result<Scenario, String> {
        Scenario::parse("test.yaml", yaml, Path::new(".")).map_err(|problems| problems.to_string())
    }

    #[test]
    fn the_embedded_one_is_good_and_writes_only_under_its_own_tenant() {
        let scenario = parsed(EMBEDDED).expect("read");
        assert_eq!((scenario.tenants.len(), scenario.foreign()), (10, None));
        assert_eq!(scenario.paths().into_iter().take(2).collect::<Vec<_>>(), ["loadtest", "loadtest/t-0"]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let with = |more: &str| format!("scenario: x\nsizes: {{cpu: 1}}\ntenants: [{{path: loadtest/a}}]\n{more}\n");
        for (yaml, expected) in [
            (with("mix: {acquire: 1}\ncolour: red"), "test.yaml:5:1: unknown key \"colour\""),
            (with(""), "mix: nothing is done"),
            (with("mix: {renew: 1}"), "nothing to renew"),
            (with("mix: {acquire: 1}\nholds: {uniform: [2s, 1s]}"), "holds: uniform"),
            (with("mix: {acquire: 1}\nholds: soon"), "holds: "),
            (with("mix: {acquire: -1}"), "mix: a weight"),
            (with("mix: {acquire: 1}\ntrace: {file: nowhere.swf}"), "nowhere.swf: the file cannot be read"),
            ("scenario: x\nmix: {check: 1}\nsizes: {cpu: 1}".to_owned(), "tenants: nobody asks"),
            ("scenario: x\nmix: {check: 1}\ntenants: [{path: loadtest}]".to_owned(), "sizes: nothing"),
            ("scenario: x\ntenants: [{path: A}]".to_owned(), "tenant A: "),
            ("scenario: x\ntenants: [{path: a}, {path: a}]".to_owned(), "named twice"),
        ] {
            let refused = parsed(&yaml).expect_err(&yaml);
            assert!(refused.contains(expected), "{yaml}: {refused}");
        }
    }

    #[test]
    fn a_tenant_of_somebody_else_is_found() {
        for (path, foreign) in [("acme/ml", true), ("loadtestx", true), ("loadtest/a", false), ("loadtest-2/a", false)]
        {
            let yaml = format!("scenario: x\nmix: {{check: 1}}\nsizes: {{cpu: 1}}\ntenants: [{{path: {path}}}]");
            assert_eq!(parsed(&yaml).expect("read").foreign().is_some(), foreign, "{path}");
        }
    }
}
