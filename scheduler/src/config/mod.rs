//! The configuration: one YAML file, parsed at the edge into the ledger's words.
//!
//! [`Config::parse`] reads it, [`Config::to_changes`] is what a ledger is asked to take, [`check`] says all that is
//! wrong or hardly meant without starting anything. The shapes of pools, classes and tenants in it ([`PoolShape`],
//! [`ClassShape`], [`TenantShape`]) are the same everywhere; they convert both ways.

mod amount;
mod calendar;
mod every;
mod gateway;
mod rate;
mod read;
mod server;
mod shape;
mod span;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path as FilePath;

use headgate_ledger::{
    Amounts, Change, Class, Enforce as LedgerEnforce, Ledger, Lifecycles, Name, Pool, Resource, Settings, Source,
    Tenant, TenantPath, Time,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use amount::{
    format_amount, format_level, format_queue_limit, is_cpu, parse_amount, parse_level, parse_queue_limit,
};
pub use calendar::{CivilCalendar, check_time_zone, format_instant, parse_instant};
pub use gateway::{DescriptorShape, DomainShape};
pub(crate) use gateway::{KEYS_MAX, WORD_BYTES_MAX};
pub(crate) use rate::RATE_PER;
pub use rate::RateShape;
pub use read::{
    ALIASES_MAX, At, FILE_BYTES_MAX, NESTING_MAX, NODES_MAX, Place, Problem, Problems, Text, TextError,
    UNFOLDED_NODES_MAX, read_file, read_yaml, write_yaml,
};
pub(crate) use read::{decimal, nearest, shown};
pub use server::{
    Address, Anonymous, Auth, Caller, Durability, Jwt, Listen, Log, LogFormat, LogLevel, Match, OnStoreFailure,
    Permission, Store, StoreKind, StoreShape, Subtree, Threads, Tls, exposed, is_loopback,
};
pub use shape::{
    AmountMap, BudgetShape, BurstShape, ClassName, ClassShape, Enforce, KIND_CHARS_MAX, Kind, Label, LevelMap,
    Lifecycle, MembersShape, OnExceed, Order, Part, Path, Period, PoolShape, Priority, QueueRoom, QuotaShape,
    ResourceName, ShareOf, Span, TenantChange, TenantShape, WEIGHT_MAX, Weight, Zone,
};
pub use span::{format_span, parse_span};

/// The configuration that serves where none is given.
pub const EMBEDDED: &str = include_str!("../../../deploy/examples/headgate.yaml");
/// The presets STARTER to XLARGE.
pub const EMBEDDED_CLASSES: &str = include_str!("../../../deploy/examples/classes.yaml");

/// The file as it is written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Headgate's configuration")]
pub struct ConfigShape {
    /// Where each surface listens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<Listen>,
    /// Certificates and keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Who may call, and do what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Where what was decided is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<At<StoreShape>>,
    /// When an answer is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub durability: Option<Durability>,
    /// What becomes of admission when the store fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_store_failure: Option<At<OnStoreFailure>>,
    /// What is logged, and how.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<Log>,
    /// How long the ids of ended requests are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remember: Option<Span>,
    /// How much of its quota a tenant has in each lifecycle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifecycles: Option<LifecyclesShape>,
    /// Resources that no lifecycle scales.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_resources: Option<Vec<ResourceName>>,
    /// The pools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<PoolShape>,
    /// Named quotas.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub classes: BTreeMap<String, At<ClassShape>>,
    /// The tenants at the top, with those under them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<TenantShape>,
    /// Whose the descriptors are that gateways send: Envoy's `RateLimitService`, where gRPC is served.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rate_limit_service: Vec<DomainShape>,
}

/// The parts of a quota that remain in each lifecycle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Lifecycles")]
pub struct LifecyclesShape {
    /// Of an active tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<Part>,
    /// In maintenance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<Part>,
    /// Suspended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspended: Option<Part>,
    /// Archived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived: Option<Part>,
}

/// A configuration, parsed.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where each surface listens.
    pub listen: Listen,
    /// Certificates and keys.
    pub tls: Option<Tls>,
    /// Who may call, and do what.
    pub auth: Auth,
    /// Where what was decided is kept.
    pub store: Store,
    /// When an answer is given.
    pub durability: Durability,
    /// What becomes of admission when the store fails.
    pub on_store_failure: OnStoreFailure,
    /// What is logged, and how.
    pub log: Log,
    /// Pools, classes and tenants.
    pub objects: Objects,
    /// Whose the descriptors are that gateways send.
    pub gateways: Vec<crate::gateway::Domain>,
}

/// What a ledger is configured with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Objects {
    /// What holds for every pool.
    pub settings: Settings,
    /// The pools, in the order of the file.
    pub pools: Vec<Pool>,
    /// The classes, by name.
    pub classes: Vec<Class>,
    /// The tenants, parents before those under them.
    pub tenants: Vec<Tenant>,
    /// Where each stands in the file, as `pool default` or `tenant acme/ml`.
    places: BTreeMap<String, Place>,
}

/// The parts of a file that say what a ledger is configured with; what scenario files share with configurations.
#[derive(Clone, Debug, Default)]
pub(crate) struct ObjectsShape {
    pub(crate) remember: Option<Span>,
    pub(crate) lifecycles: Option<LifecyclesShape>,
    pub(crate) storage_resources: Option<Vec<ResourceName>>,
    pub(crate) pools: Vec<PoolShape>,
    pub(crate) classes: BTreeMap<String, At<ClassShape>>,
    pub(crate) tenants: Vec<TenantShape>,
}

/// What a pool adds to each instance where nothing is said: one job.
pub fn implied_by_default() -> Amounts {
    let job = Resource::parse("jobs").map(|jobs| (jobs, 1));
    Amounts::new(job).unwrap_or_default()
}

impl ObjectsShape {
    /// Parses all of it, for pools that imply `implied` where they say nothing.
    pub(crate) fn parse(self, implied: &Amounts) -> Result<Objects, Vec<Problem>> {
        let Self { remember, lifecycles, storage_resources, pools, classes, tenants } = self;
        let source = Source::File;
        let mut objects = Objects { settings: settings(remember, lifecycles, storage_resources), ..Objects::default() };
        let mut problems = Vec::new();
        for shape in pools {
            let name = shape.name.clone();
            if objects.pools.iter().any(|pool| pool.name == name.value.0) {
                problems.push(name.problem(format!("pool {} is given twice", name.value.0)));
                continue;
            }
            let pool = Pool { implied: implied.clone(), source, ..Pool::new(name.value.0.clone()) };
            objects.pools.push(shape.over(pool));
            objects.stands(format!("pool {}", name.value.0), name.place);
        }
        for (name, shape) in classes {
            let place = shape.place;
            match Name::parse_class(&name) {
                Err(error) => problems.push(Problem { place, what: error.to_string() }),
                Ok(name) => {
                    objects.stands(format!("class {name}"), place);
                    objects.classes.push(shape.value.into_class(name, source));
                }
            }
        }
        let mut flat = Vec::new();
        shape::flatten_all(tenants, &TenantPath::root(), source, &mut flat, &mut problems);
        for (tenant, name) in flat {
            objects.stands(format!("tenant {}", tenant.path), name.place);
            objects.tenants.push(tenant);
        }
        if problems.is_empty() { Ok(objects) } else { Err(problems) }
    }
}

fn settings(
    remember: Option<Span>,
    lifecycles: Option<LifecyclesShape>,
    storage_resources: Option<Vec<ResourceName>>,
) -> Settings {
    let default = Settings::default();
    let LifecyclesShape { active, maintenance, suspended, archived } = lifecycles.unwrap_or_default();
    let part = |said: Option<Part>, else_: u32| said.map_or(else_, |Part(part)| part);
    let parts = default.lifecycles;
    Settings {
        lifecycles: Lifecycles {
            active: part(active, parts.active),
            maintenance: part(maintenance, parts.maintenance),
            suspended: part(suspended, parts.suspended),
            archived: part(archived, parts.archived),
        },
        storage_resources: storage_resources
            .map_or(default.storage_resources, |names| names.into_iter().map(|ResourceName(name)| name).collect()),
        remember: remember.map_or(default.remember, |Span(span)| span),
    }
}

impl Objects {
    /// What a ledger is asked to take: settings, pools, classes, then tenants, parents first.
    pub fn to_changes(&self) -> Vec<Change> {
        std::iter::once(Change::Settings(self.settings.clone()))
            .chain(self.pools.iter().cloned().map(Change::PutPool))
            .chain(self.classes.iter().cloned().map(Change::PutClass))
            .chain(self.tenants.iter().cloned().map(Change::PutTenant))
            .collect()
    }

    fn stands(&mut self, object: String, place: Option<Place>) {
        if let Some(place) = place {
            self.places.insert(object, place);
        }
    }

    /// A problem that a ledger found, with its place in the file.
    pub fn located(&self, problem: &headgate_ledger::Problem) -> Problem {
        Problem { place: self.places.get(&problem.object).copied(), what: problem.to_string() }
    }
}

impl Config {
    /// Reads and parses a file.
    pub fn load(path: &FilePath) -> Result<Self, Problems> {
        Self::parse(&path.display().to_string(), &read_file(path)?)
    }

    /// Parses a configuration; `file` is what it is called in errors.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        let shape: ConfigShape = every::read_yaml_to_the_end(file, text)?;
        shape.parse().map_err(|mut problems| {
            problems.sort();
            Problems { file: file.to_owned(), problems }
        })
    }

    /// The configuration that serves where none is given.
    pub fn embedded() -> Result<Self, Problems> {
        Self::parse("the embedded configuration", EMBEDDED)
    }

    /// What a ledger is asked to take.
    pub fn to_changes(&self) -> Vec<Change> {
        self.objects.to_changes()
    }
}

impl ConfigShape {
    fn parse(self) -> Result<Config, Vec<Problem>> {
        let Self {
            listen,
            tls,
            auth,
            store,
            durability,
            on_store_failure,
            log,
            remember,
            lifecycles,
            storage_resources,
            pools,
            classes,
            tenants,
            rate_limit_service,
        } = self;
        let mut problems = Vec::new();
        let listen = listen.unwrap_or_default();
        let auth = auth.unwrap_or_default();
        problems.extend(exposed(&listen, tls.as_ref(), &auth));
        problems.extend(server::clashing(&listen));
        problems.extend(server::check_callers(&auth, tls.as_ref()));
        let store = store.map_or_else(|| Ok(Store::default()), At::into_store).unwrap_or_else(|problem| {
            problems.push(problem);
            Store::default()
        });
        let gateways = gateway::domains(rate_limit_service, &mut problems);
        let objects = ObjectsShape { remember, lifecycles, storage_resources, pools, classes, tenants };
        match objects.parse(&implied_by_default()) {
            Ok(objects) if problems.is_empty() => Ok(Config {
                listen,
                tls,
                auth,
                store,
                durability: durability.unwrap_or_default(),
                on_store_failure: on_store_failure.map(|said| said.value).unwrap_or_default(),
                log: log.unwrap_or_default(),
                objects,
                gateways,
            }),
            Ok(_) => Err(problems),
            Err(found) => Err(problems.into_iter().chain(found).collect()),
        }
    }
}

/// What `headgate config check` found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The file, as it was named.
    pub file: String,
    /// Why it cannot be used.
    pub errors: Vec<Problem>,
    /// What is allowed, but hardly meant.
    pub warnings: Vec<Problem>,
}

impl Checked {
    /// The exit status: 0 where there are no errors, else 1.
    pub fn exit_status(&self) -> u8 {
        u8::from(!self.errors.is_empty())
    }

    /// A line for each error, then for each warning, then what it comes to.
    pub fn for_people(&self) -> String {
        let line = |kind: &'static str| move |problem: &Problem| format!("{kind}: {}\n", problem.in_file(&self.file));
        let lines = self.errors.iter().map(line("error")).chain(self.warnings.iter().map(line("warning")));
        let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let sum = format!(
            "{}: {}, {}\n",
            self.file,
            count(self.errors.len(), "error"),
            count(self.warnings.len(), "warning")
        );
        lines.chain([sum]).collect()
    }
}

/// Checks a configuration without starting anything; `file` is what it is called in errors.
pub fn check(file: &str, text: &str) -> Checked {
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    match Config::parse(file, text) {
        Err(problems) => errors = problems.problems,
        Ok(config) => {
            match Ledger::new().configure(Time::EPOCH, config.to_changes()) {
                Ok(configured) => {
                    warnings.extend(configured.warnings.iter().map(|problem| config.objects.located(problem)));
                }
                Err(problems) => errors.extend(problems.iter().map(|problem| config.objects.located(problem))),
            }
            warnings.extend(hardly_meant(&config));
        }
    }
    errors.sort();
    warnings.sort();
    Checked { file: file.to_owned(), errors, warnings }
}

/// What is allowed, but hardly meant, by the configuration itself.
fn hardly_meant(config: &Config) -> Vec<Problem> {
    let Objects { pools, classes, tenants, places, .. } = &config.objects;
    let at =
        |object: String, why: &str| Problem { place: places.get(&object).copied(), what: format!("{object}: {why}") };
    let mut found = Vec::new();
    for pool in pools {
        let object = format!("pool {}", pool.name);
        // Calls that pass a gateway take no capacity.
        let takes = !config.gateways.iter().flat_map(|domain| &domain.rules).any(|rule| rule.pool == pool.name);
        if pool.capacity.is_empty() && takes {
            found.push(at(object.clone(), "it has no capacity: nobody is guaranteed anything, and only limits bound"));
        }
        if pool.paused {
            found.push(at(object.clone(), "it is paused: nothing is admitted until it is resumed"));
        }
        if pool.enforce != LedgerEnforce::Deny {
            found.push(at(object.clone(), "decisions are not enforced: what would wait or be denied is allowed"));
        }
        if !tenants.iter().any(|tenant| tenant.quota(pool.name.as_str()).is_some()) {
            found.push(at(object, "no tenant has a quota in it: nobody may use it"));
        }
    }
    let named: BTreeSet<&Name> = tenants
        .iter()
        .flat_map(|tenant| {
            let members = tenant.members.iter().filter_map(|members| members.class.as_ref());
            tenant.quotas.iter().filter_map(|(_, quota)| quota.class.as_ref()).chain(members)
        })
        .collect();
    if !tenants.is_empty() {
        for class in classes.iter().filter(|class| !named.contains(&class.name)) {
            found.push(at(format!("class {}", class.name), "no tenant names it"));
        }
    }
    // All that has a quota, and all that it stands under.
    let holders = tenants.iter().filter(|tenant| !tenant.quotas.is_empty()).map(|tenant| &tenant.path);
    let holders: BTreeSet<TenantPath> = holders.cloned().collect();
    let above: BTreeSet<TenantPath> = holders.iter().flat_map(up).collect();
    for tenant in tenants {
        let path = &tenant.path;
        if !above.contains(path) && !up(path).any(|path| holders.contains(&path)) {
            let why = "it has no quota in any pool, nor has one above it: it may use nothing";
            found.push(at(format!("tenant {path}"), why));
        }
    }
    for path in config.tls.iter().flat_map(|tls| [Some(&tls.cert), Some(&tls.key), tls.client_ca.as_ref()]).flatten() {
        if let Err(error) = std::fs::metadata(path) {
            found.push(Problem::whole(format!("tls: {} cannot be read: {error}", path.display())));
        }
    }
    found.extend(gateways_hardly_meant(config));
    if config.listen.webhook.is_some() {
        found.push(Problem::whole("listen: this program has no webhook yet: nothing is started there"));
    }
    if matches!(config.store, Store::Redis { .. }) {
        found.push(Problem::whole(
            "store: this program has no store of kind redis yet, and will not start: use file or memory",
        ));
    }
    if matches!(config.store, Store::Redis { .. }) && config.on_store_failure == OnStoreFailure::Continue {
        found.push(Problem::whole(
            "on_store_failure: continue decides without the store that leadership hangs on: two servers may decide at once",
        ));
    }
    found
}

/// What of the descriptors of gateways leads nowhere, as far as this file tells.
fn gateways_hardly_meant(config: &Config) -> Vec<Problem> {
    let Objects { pools, tenants, .. } = &config.objects;
    let mut found = Vec::new();
    if !config.gateways.is_empty() && config.listen.grpc.is_none() {
        found.push(Problem::whole("rate_limit_service: it is served where gRPC is, and that is not started"));
    }
    for domain in &config.gateways {
        let mut warn = |what: String| {
            found.push(Problem::whole(format!("rate_limit_service: domain {}: {what}", domain.name)));
        };
        for rule in &domain.rules {
            if !pools.iter().any(|pool| pool.name == rule.pool) {
                warn(format!("there is no pool {} in this file", rule.pool));
            }
            let Some(path) = rule.only_tenant() else { continue };
            let there = |path: &TenantPath| tenants.iter().find(|tenant| tenant.path == *path);
            let makes = |parent: TenantPath| there(&parent).is_some_and(|tenant| tenant.members.is_some());
            if there(&path).is_none() && !path.parent().is_some_and(makes) {
                warn(format!(
                    "there is no tenant {path} in this file, and its descriptors match nothing until there is"
                ));
            }
        }
    }
    found
}

/// A path, and all that it stands under.
fn up(path: &TenantPath) -> impl Iterator<Item = TenantPath> {
    std::iter::successors(Some(path.clone()), TenantPath::parent).filter(|path| !path.is_root())
}

/// The JSON Schema of the file, as `headgate config schema` prints it.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(ConfigShape).to_value()
}

#[cfg(test)]
mod tests;
