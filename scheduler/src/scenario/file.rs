//! Scenario files: what they may say, and its parsing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use headgate_ledger::{Amounts, Demand, Holder, Name, Outcome, Request, RequestId, Resource, TenantPath, Time};
use serde::{Deserialize, Deserializer, de};

use super::cell::Work;
use super::expect::{Expect, ExpectFields, ExpectShape};
use super::hit::{HitShape, Hits};
use crate::config::{
    AmountMap, At, ClassShape, Enforce, LifecyclesShape, Objects, ObjectsShape, Path, Place, PoolShape, Priority,
    Problem, ResourceName, Span, TenantChange, TenantShape, Text, parse_amount, parse_instant, read_yaml,
};

/// Requests that one step may make: a scenario is a story, not a load.
pub const REPEAT_MAX: u32 = 100_000;
/// The pool that is meant where none is named.
pub(super) const DEFAULT_POOL: &str = "default";

/// A story of a policy: a configuration, and steps in virtual time.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) name: String,
    pub(super) start: Time,
    pub(super) objects: Objects,
    pub(super) steps: Vec<Step>,
}

/// One step: time passes, something is done, something is expected.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) line: u64,
    /// How long after the start; none: as before.
    pub(super) at: Option<Duration>,
    pub(super) action: Option<Action>,
    pub(super) expect: Expect,
}

/// What a step does.
#[derive(Clone, Debug)]
pub(super) enum Action {
    Acquire(Acquire),
    Hit(Hits),
    Confirm(String),
    Renew(String),
    Release(Vec<String>),
    Cancel(String),
    Resize { id: String, resources: Result<Amounts, String> },
    Capacity { pool: Name, capacity: Amounts, unavailable: Amounts },
    PutPool(Box<PoolShape>),
    PutTenant(Box<TenantChange>),
    DeleteTenant { path: TenantPath, drain: bool },
    Restart,
}

/// Requests of one step: their ids, and what all of them ask for.
#[derive(Clone, Debug)]
pub(super) struct Acquire {
    /// For people: ids, tenant and resources.
    pub(super) what: String,
    /// One request, or as many as are repeated; why not, where one is malformed.
    pub(super) requests: Result<Vec<(String, Arc<Request>)>, String>,
    pub(super) work: Work,
}

/// Outcomes in the order in which they are counted.
pub(super) const OUTCOMES: [Outcome; 3] = [Outcome::Allow, Outcome::Queue, Outcome::Deny];

/// A document of a scenario file: a scenario, or why it is none.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub(super) line: u64,
    pub(super) scenario: Result<Scenario, Vec<Problem>>,
}

/// Parses every document of a file. One that is broken does not hide the others.
pub(super) fn parse(text: &str) -> Vec<Document> {
    documents(text)
        .map(|(before, document)| {
            let parsed = read_yaml::<ScenarioShape>("", document)
                .map_err(|problems| problems.problems)
                .and_then(|shape| shape.parse(before));
            let scenario = parsed.map_err(|mut problems| {
                problems.sort();
                for place in problems.iter_mut().filter_map(|problem| problem.place.as_mut()) {
                    place.line += before;
                }
                problems
            });
            Document { line: before + 1, scenario }
        })
        .collect()
}

/// The documents of a file that say anything, each with the number of lines before it. A line that starts with `---`
/// or `...` ends a document wherever it stands: no YAML value may have one.
fn documents(text: &str) -> impl Iterator<Item = (u64, &str)> {
    let marks = |line: &str, mark| {
        line.strip_prefix(mark).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
    };
    let mut starts = vec![(0, 0)];
    let mut at = 0;
    for (number, line) in (0_u64..).zip(text.split_inclusive('\n')) {
        if marks(line, "---") {
            starts.push((number, at));
        } else if marks(line, "...") {
            starts.push((number + 1, at + line.len()));
        }
        at += line.len();
    }
    let ends: Vec<usize> = starts.iter().skip(1).map(|(_, at)| *at).chain([text.len()]).collect();
    let says = |line: &str| {
        let line = line.strip_prefix("---").unwrap_or(line).trim();
        !line.is_empty() && !line.starts_with(['#', '%']) && line != "..."
    };
    starts
        .into_iter()
        .zip(ends)
        .map(|((before, start), end)| (before, &text[start..end]))
        .filter(move |(_, document)| document.lines().any(says))
}

/// A scenario, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScenarioShape {
    #[serde(default)]
    scenario: Option<String>,
    #[serde(default)]
    start: Option<At<Text>>,
    #[serde(default)]
    remember: Option<Span>,
    #[serde(default)]
    lifecycles: Option<LifecyclesShape>,
    #[serde(default)]
    storage_resources: Option<Vec<ResourceName>>,
    #[serde(default)]
    pools: Vec<PoolShape>,
    #[serde(default)]
    classes: BTreeMap<String, At<ClassShape>>,
    #[serde(default)]
    tenants: Vec<TenantShape>,
    #[serde(default)]
    steps: Vec<At<StepShape>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StepShape {
    #[serde(default)]
    at: Option<Span>,
    #[serde(default)]
    expect: Option<At<ExpectShape>>,
    #[serde(default)]
    acquire: Option<At<AcquireShape>>,
    #[serde(default)]
    hit: Option<HitShape>,
    #[serde(default)]
    confirm: Option<String>,
    #[serde(default)]
    renew: Option<String>,
    #[serde(default)]
    release: Option<Ids>,
    #[serde(default)]
    cancel: Option<String>,
    #[serde(default)]
    resize: Option<ResizeShape>,
    #[serde(default)]
    capacity: Option<CapacityShape>,
    #[serde(default)]
    put_pool: Option<PoolShape>,
    #[serde(default)]
    put_tenant: Option<TenantChange>,
    #[serde(default)]
    delete_tenant: Option<Deletion>,
    #[serde(default)]
    restart: Option<bool>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AcquireShape {
    id: String,
    tenant: String,
    #[serde(default)]
    pool: Option<String>,
    #[serde(default)]
    resources: BTreeMap<String, Text>,
    #[serde(default)]
    count: Option<u32>,
    #[serde(default)]
    min_count: Option<u32>,
    #[serde(default)]
    priority: Option<Priority>,
    #[serde(default)]
    expected_duration: Option<Span>,
    #[serde(default)]
    wait: Option<bool>,
    #[serde(default)]
    borrow: Option<bool>,
    #[serde(default)]
    grace: Option<Span>,
    #[serde(default)]
    ttl: Option<Span>,
    #[serde(default)]
    holder: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    enforce: Option<Enforce>,
    #[serde(default)]
    repeat: Option<At<u32>>,
    #[serde(default)]
    runs: Option<Span>,
    #[serde(default)]
    confirm: Option<bool>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResizeShape {
    id: String,
    #[serde(default)]
    resources: BTreeMap<String, Text>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CapacityShape {
    #[serde(default)]
    pool: Option<crate::config::Label>,
    #[serde(default)]
    resources: AmountMap,
    #[serde(default)]
    unavailable: AmountMap,
}

/// An id, or a list of ids.
#[derive(Clone, Debug)]
struct Ids(Vec<String>);

impl<'de> Deserialize<'de> for Ids {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> de::Visitor<'de> for OneOrMany {
            type Value = Ids;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id or a list of ids")
            }

            fn visit_str<E: de::Error>(self, id: &str) -> Result<Ids, E> {
                Ok(Ids(vec![id.to_owned()]))
            }

            fn visit_u64<E: de::Error>(self, id: u64) -> Result<Ids, E> {
                Ok(Ids(vec![id.to_string()]))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Ids, A::Error> {
                let mut ids = Vec::new();
                while let Some(Text(id)) = seq.next_element()? {
                    ids.push(id);
                }
                Ok(Ids(ids))
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

/// A tenant's path, or that and whether it is drained.
#[derive(Clone, Debug)]
struct Deletion {
    path: TenantPath,
    drain: bool,
}

impl<'de> Deserialize<'de> for Deletion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Whole {
            path: Path,
            #[serde(default)]
            drain: bool,
        }
        struct PathOrWhole;
        impl<'de> de::Visitor<'de> for PathOrWhole {
            type Value = Deletion;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a tenant's path, or {path: …, drain: true}")
            }

            fn visit_str<E: de::Error>(self, path: &str) -> Result<Deletion, E> {
                let path = TenantPath::parse(path).map_err(E::custom)?;
                Ok(Deletion { path, drain: false })
            }

            fn visit_u64<E: de::Error>(self, path: u64) -> Result<Deletion, E> {
                self.visit_str(&path.to_string())
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Deletion, A::Error> {
                let Whole { path: Path(path), drain } = Whole::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(Deletion { path, drain })
            }
        }
        deserializer.deserialize_any(PathOrWhole)
    }
}

impl ScenarioShape {
    /// Parses it all; `before` is how many lines of the file come before its document.
    fn parse(self, before: u64) -> Result<Scenario, Vec<Problem>> {
        let Self { scenario, start, remember, lifecycles, storage_resources, pools, classes, tenants, steps } = self;
        let mut problems = Vec::new();
        let start = match start {
            None => Time::EPOCH,
            Some(start) => parse_instant(&start.value.0).unwrap_or_else(|error| {
                problems.push(start.problem(error.to_string()));
                Time::EPOCH
            }),
        };
        let objects = ObjectsShape { remember, lifecycles, storage_resources, pools, classes, tenants };
        let objects = objects.parse(&Amounts::default()).unwrap_or_else(|found| {
            problems.extend(found);
            Objects::default()
        });
        let (mut parsed, mut time) = (Vec::new(), Duration::ZERO);
        for step in steps {
            let place = step.place;
            let refuse = |what: String| Problem { place, what };
            match step.value.parse(place, before) {
                Err(problem) => problems.push(problem),
                Ok(step) => {
                    if let Some(at) = step.at {
                        if at < time {
                            problems
                                .push(refuse("time never runs back: this step is earlier than the one before".into()));
                        }
                        time = at;
                    }
                    parsed.push(step);
                }
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Scenario { name: scenario.unwrap_or_else(|| "(no name)".into()), start, objects, steps: parsed })
    }
}

impl StepShape {
    fn parse(self, place: Option<Place>, before: u64) -> Result<Step, Problem> {
        let Self {
            at,
            expect,
            acquire,
            hit,
            confirm,
            renew,
            release,
            cancel,
            resize,
            capacity,
            put_pool,
            put_tenant,
            delete_tenant,
            restart,
        } = self;
        let refuse = |what: &str| Problem { place, what: what.into() };
        let actions = [
            acquire.map(AcquireShape::parse).transpose()?.map(Action::Acquire),
            hit.map(HitShape::parse).transpose()?.map(Action::Hit),
            confirm.map(Action::Confirm),
            renew.map(Action::Renew),
            release.map(|Ids(ids)| Action::Release(ids)),
            cancel.map(Action::Cancel),
            resize.map(|ResizeShape { id, resources }| Action::Resize { id, resources: amounts(&resources) }),
            capacity.map(CapacityShape::parse).transpose().map_err(|what| refuse(&what))?,
            put_pool.map(Box::new).map(Action::PutPool),
            put_tenant.map(Box::new).map(Action::PutTenant),
            delete_tenant.map(|Deletion { path, drain }| Action::DeleteTenant { path, drain }),
            match restart {
                Some(true) => Some(Action::Restart),
                Some(false) => return Err(refuse("restart: false does nothing: leave it out")),
                None => None,
            },
        ];
        let mut actions = actions.into_iter().flatten();
        let action = actions.next();
        if actions.next().is_some() {
            return Err(refuse("a step does one thing: make a step of each"));
        }
        if action.is_none() && expect.is_none() && at.is_none() {
            return Err(refuse("this step does nothing and expects nothing"));
        }
        let expect = expect.map_or_else(
            || Ok(ExpectFields::default().parse()),
            |said| {
                said.value.0.clone().check(action.as_ref()).map_err(|what| said.problem(what)).map(ExpectFields::parse)
            },
        )?;
        Ok(Step { line: before + place.map_or(0, |place| place.line), at: at.map(|Span(at)| at), action, expect })
    }
}

impl CapacityShape {
    fn parse(self) -> Result<Action, String> {
        let Self { pool, resources: AmountMap(capacity), unavailable: AmountMap(unavailable) } = self;
        let pool = match pool {
            Some(crate::config::Label(pool)) => pool,
            None => Name::parse(DEFAULT_POOL).map_err(|error| error.to_string())?,
        };
        Ok(Action::Capacity { pool, capacity, unavailable })
    }
}

impl AcquireShape {
    fn parse(this: At<Self>) -> Result<Acquire, Problem> {
        let repeat = this.value.repeat;
        if let Some(repeat) = repeat.filter(|repeat| !(1..=REPEAT_MAX).contains(&repeat.value)) {
            return Err(repeat.problem(format!("repeat is from 1 to {REPEAT_MAX}")));
        }
        let shape = &this.value;
        let ids: Vec<String> = match repeat {
            None => vec![shape.id.clone()],
            Some(repeat) => (1..=repeat.value).map(|n| format!("{}-{n}", shape.id)).collect(),
        };
        let said: Vec<String> = shape.resources.iter().map(|(name, Text(amount))| format!("{name} {amount}")).collect();
        let what = format!("{} on {}: {}", said_ids(&ids), shape.tenant, said.join(", "));
        let requests = ids.into_iter().map(|id| shape.request(&id).map(|request| (id, Arc::new(request)))).collect();
        let work = Work { confirm: shape.confirm != Some(false), runs: shape.runs.as_ref().map(|Span(runs)| *runs) };
        Ok(Acquire { what, requests, work })
    }

    /// The request, or why it is malformed: a step may expect that it is refused.
    fn request(&self, id: &str) -> Result<Request, String> {
        let Self {
            id: _,
            tenant,
            pool,
            resources,
            count,
            min_count,
            priority,
            expected_duration,
            wait,
            borrow,
            grace,
            ttl,
            holder,
            labels,
            enforce,
            repeat: _,
            runs: _,
            confirm,
        } = self;
        let said = |error: headgate_ledger::NameError| error.to_string();
        let span = |said: &Option<Span>| said.as_ref().map(|Span(span)| *span);
        let id = RequestId::parse(id).map_err(said)?;
        let new = Demand::new(
            TenantPath::parse(tenant).map_err(said)?,
            Name::parse(pool.as_deref().unwrap_or(DEFAULT_POOL)).map_err(said)?,
            amounts(resources)?,
        );
        let count = count.unwrap_or(new.count);
        let demand = Demand {
            count,
            min_count: min_count.unwrap_or(count),
            priority: priority.as_ref().map_or(new.priority, |Priority(priority)| *priority),
            expected_duration: span(expected_duration),
            wait: wait.unwrap_or(true),
            borrow: borrow.unwrap_or(true),
            grace: span(grace),
            ttl: Some(span(ttl).unwrap_or(Duration::ZERO)),
            provisional: *confirm == Some(false),
            holder: holder.as_deref().map(Holder::parse).transpose().map_err(said)?,
            labels: labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            enforce: enforce.map(Into::into),
            ..new
        };
        Ok(Request { id, demand: Arc::new(demand) })
    }
}

/// `a`, or `a-1 … a-8` for several.
fn said_ids(ids: &[String]) -> String {
    match ids {
        [first, .., last] => format!("{first} … {last}"),
        [one] => one.clone(),
        [] => String::new(),
    }
}

pub(super) fn amounts(said: &BTreeMap<String, Text>) -> Result<Amounts, String> {
    let parsed: Result<Vec<_>, String> = said
        .iter()
        .map(|(name, Text(amount))| {
            let resource = Resource::parse(name).map_err(|error| error.to_string())?;
            let amount = parse_amount(amount, name).map_err(|error| error.to_string())?;
            Ok((resource, amount))
        })
        .collect();
    Amounts::new(parsed?).map_err(|error| error.to_string())
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acquire(acquire) => write!(f, "acquire {}", acquire.what),
            Self::Hit(hits) => write!(f, "hit {}", hits.what),
            Self::Confirm(id) => write!(f, "confirm {id}"),
            Self::Renew(id) => write!(f, "renew {id}"),
            Self::Release(ids) => write!(f, "release {}", ids.join(", ")),
            Self::Cancel(id) => write!(f, "cancel {id}"),
            Self::Resize { id, resources: _ } => write!(f, "resize {id}"),
            Self::Capacity { pool, .. } => write!(f, "capacity of {pool}"),
            Self::PutPool(shape) => write!(f, "put_pool {}", shape.name.value.0),
            Self::PutTenant(change) => write!(f, "put_tenant {}", change.path.value.0),
            Self::DeleteTenant { path, drain: false } => write!(f, "delete_tenant {path}"),
            Self::DeleteTenant { path, drain: true } => write!(f, "delete_tenant {path}, drained"),
            Self::Restart => f.write_str("restart"),
        }
    }
}
