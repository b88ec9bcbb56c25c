//! Changes of configuration: all of it together, or nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use headgate_ledger::{Change, Entry, Ledger, Name, Object, Problem, Source, TenantPath, Victim};
use parking_lot::MutexGuard;

use super::caller::Caller;
use super::cell::Cell;
use super::error::EngineError;
use super::id::LeaseId;
use super::writer::Writer;
use crate::persist::{Origin, Record, What};
use crate::store::RECORD_BYTES_MAX;

/// A change of configuration that somebody asks for.
#[derive(Clone, Debug, Default)]
pub struct Configure {
    /// All of them together, or none.
    pub changes: Vec<Change>,
    /// Why, in the caller's words.
    pub reason: String,
    /// Objects as the caller has seen them; 0: there was none. Where one has been changed since, nothing is.
    pub expected: Vec<(ObjectName, u64)>,
    /// Whether to say only what would come of it.
    pub dry_run: bool,
}

/// An object of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectName {
    /// A pool.
    Pool(Name),
    /// A class.
    Class(Name),
    /// A tenant.
    Tenant(TenantPath),
}

impl ObjectName {
    fn object(&self) -> Object<'_> {
        match self {
            Self::Pool(name) => Object::Pool(name.as_str()),
            Self::Class(name) => Object::Class(name.as_str()),
            Self::Tenant(path) => Object::Tenant(path.as_str()),
        }
    }
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pool(name) => write!(f, "pool {name}"),
            Self::Class(name) => write!(f, "class {name}"),
            Self::Tenant(path) => write!(f, "tenant {path}"),
        }
    }
}

/// What came, or would come, of a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconfigured {
    /// What is allowed, but hardly meant.
    pub warnings: Vec<Problem>,
    /// Where the objects named are now; one that is gone is left out.
    pub revisions: Vec<(ObjectName, u64)>,
    /// Leases that must give way because of it, at once; later ones are not told.
    pub reclaimed: Vec<LeaseId>,
}

/// The objects that changes name.
fn named(changes: &[Change]) -> BTreeSet<ObjectName> {
    let names = changes.iter().filter_map(|change| match change {
        Change::Settings(_) => None,
        Change::PutPool(pool) => Some(ObjectName::Pool(pool.name.clone())),
        Change::PutClass(class) => Some(ObjectName::Class(class.name.clone())),
        Change::PutTenant(tenant) => Some(ObjectName::Tenant(tenant.path.clone())),
        Change::DeletePool(name) | Change::Capacity { pool: name, .. } | Change::Pause { pool: name, .. } => {
            Some(ObjectName::Pool(name.clone()))
        }
        Change::DeleteClass(name) => Some(ObjectName::Class(name.clone())),
        Change::DeleteTenant { path, .. } => Some(ObjectName::Tenant(path.clone())),
        Change::Enforce { pool, tenant, .. } if tenant.is_root() => Some(ObjectName::Pool(pool.clone())),
        Change::Enforce { tenant, .. } => Some(ObjectName::Tenant(tenant.clone())),
    });
    names.collect()
}

/// Which source an object belongs to, where there is one.
fn owner(ledger: &Ledger, object: &ObjectName) -> Option<Source> {
    match object {
        ObjectName::Pool(name) => ledger.pool(name.as_str()).map(|pool| pool.source),
        ObjectName::Class(name) => ledger.classes().find(|class| class.name == *name).map(|class| class.source),
        ObjectName::Tenant(path) => ledger.tenant(path.as_str()).map(|tenant| tenant.source),
    }
}

fn source_word(source: Source) -> &'static str {
    match source {
        Source::File => "the configuration file",
        Source::Api => "the API",
        Source::Kubernetes => "custom resources",
    }
}

/// What another source owns is not put or deleted here. Capacity, pause and enforcement are everybody's: they say how
/// things are, not what is configured.
fn foreign(ledger: &Ledger, changes: &[Change], source: Source) -> Vec<Problem> {
    let object = |change: &Change| match change {
        Change::PutPool(pool) => Some(ObjectName::Pool(pool.name.clone())),
        Change::PutClass(class) => Some(ObjectName::Class(class.name.clone())),
        Change::PutTenant(tenant) => Some(ObjectName::Tenant(tenant.path.clone())),
        Change::DeletePool(name) => Some(ObjectName::Pool(name.clone())),
        Change::DeleteClass(name) => Some(ObjectName::Class(name.clone())),
        Change::DeleteTenant { path, .. } => Some(ObjectName::Tenant(path.clone())),
        Change::Settings(_) | Change::Capacity { .. } | Change::Pause { .. } | Change::Enforce { .. } => None,
    };
    let owned = changes.iter().filter_map(object).filter_map(|object| {
        let owner = owner(ledger, &object).filter(|owner| *owner != source)?;
        let why = format!("it belongs to {}: change it there", source_word(owner));
        Some(Problem { object: object.to_string(), why })
    });
    owned.collect()
}

/// What of the changes each cell is told.
fn route(cells: &BTreeMap<Name, Arc<Cell>>, changes: &[Change], homes: &Homes) -> Result<Routed, Vec<Problem>> {
    let mut homes = homes.clone();
    let mut problems = Vec::new();
    for change in changes {
        let Change::PutPool(pool) = change else { continue };
        let object = || format!("pool {}", pool.name);
        if !cells.contains_key(&pool.cell) {
            let why = format!("its cell {} is not served here: start the server with it", pool.cell);
            problems.push(Problem { object: object(), why });
        }
        match homes.insert(pool.name.clone(), pool.cell.clone()) {
            Some(before) if before != pool.cell => {
                let why = format!("it is in cell {before}, and cannot be moved to {}: delete it first", pool.cell);
                problems.push(Problem { object: object(), why });
            }
            Some(_) | None => {}
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut routed: Routed = BTreeMap::new();
    for name in cells.keys() {
        let mine: Vec<_> = changes.iter().filter_map(|change| part_of(change, name, &homes, cells.len())).collect();
        if !mine.is_empty() {
            routed.insert(name.clone(), mine);
        }
    }
    let split = changes.iter().filter_map(|change| match change {
        Change::PutTenant(tenant)
            if cells.len() > 1 && (!tenant.budgets.is_empty() || tenant.rates().next().is_some()) =>
        {
            let at: BTreeSet<_> = tenant.quotas.iter().map(|(pool, _)| homes.get(pool)).collect();
            let why = "a budget or a rate needs a quota in pools of one cell alone: it is kept there".to_owned();
            (at.len() != 1).then(|| Problem { object: format!("tenant {}", tenant.path), why })
        }
        _ => None,
    });
    problems.extend(split);
    if problems.is_empty() { Ok(routed) } else { Err(problems) }
}

/// What of a change concerns a cell.
fn part_of(change: &Change, cell: &Name, homes: &Homes, cells: usize) -> Option<Change> {
    let here = |pool: &Name| match homes.get(pool) {
        Some(home) => home == cell,
        // Of a pool that is nowhere, every cell says that there is none.
        None => true,
    };
    let mine = match change {
        Change::Settings(_) | Change::PutClass(_) | Change::DeleteClass(_) | Change::DeleteTenant { .. } => true,
        Change::PutPool(pool) => pool.cell == *cell,
        Change::DeletePool(pool)
        | Change::Capacity { pool, .. }
        | Change::Pause { pool, .. }
        | Change::Enforce { pool, .. } => here(pool),
        Change::PutTenant(tenant) if cells > 1 => {
            let mut tenant = tenant.clone();
            let had = tenant.quotas.len();
            tenant.quotas.retain(|(pool, _)| here(pool));
            if tenant.quotas.is_empty() && had > 0 {
                tenant.budgets.clear();
                tenant.rates.clear();
                tenant.members.iter_mut().for_each(|members| members.rates.clear());
            }
            return Some(Change::PutTenant(tenant));
        }
        Change::PutTenant(_) => true,
    };
    mine.then(|| change.clone())
}

/// The cell of each pool.
pub(super) type Homes = BTreeMap<Name, Name>;
type Routed = BTreeMap<Name, Vec<Change>>;

/// What is to be waited for before a change may be told.
pub(super) struct Posted {
    pub(super) cells: Vec<(Arc<Cell>, u64)>,
    pub(super) reconfigured: Reconfigured,
}

/// Changes the configuration of the cells, or says what would come of it.
pub(super) fn configure(
    cells: &BTreeMap<Name, Arc<Cell>>,
    homes: &Homes,
    caller: &Caller,
    asked: &Configure,
) -> Result<Posted, EngineError> {
    let routed = route(cells, &asked.changes, homes).map_err(EngineError::Refused)?;
    let origin = caller.origin(&asked.reason);
    // The locks of all cells that are concerned, in the order of their names.
    let concerned = routed.into_iter().filter_map(|(name, changes)| Some((cells.get(&name)?, changes)));
    let mut drafts = Vec::new();
    for (cell, changes) in concerned {
        let mut writer = cell.writer.lock();
        cell.may_ask(&writer)?;
        let before = writer.log.posted;
        cell.unbroken(&mut *writer, |writer| writer, |writer| writer.catch_up(&*cell.clock, &*cell.calendar));
        drafts.push(Draft { cell, writer, before, changes });
    }
    let outcome = decide(&mut drafts, caller, asked, &origin);
    let mut posted = Vec::new();
    for Draft { cell, writer, before, .. } in drafts {
        posted.push((cell.clone(), writer.log.posted));
        cell.leave(writer, before);
    }
    Ok(Posted { cells: posted, reconfigured: outcome? })
}

struct Draft<'a> {
    cell: &'a Arc<Cell>,
    writer: MutexGuard<'a, Writer>,
    /// The number of the last record before.
    before: u64,
    changes: Vec<Change>,
}

fn decide(
    drafts: &mut [Draft<'_>],
    caller: &Caller,
    asked: &Configure,
    origin: &Arc<Origin>,
) -> Result<Reconfigured, EngineError> {
    let mut problems = Vec::new();
    let mut reconfigured = Reconfigured::default();
    let mut entries = Vec::new();
    for Draft { writer, changes, .. } in drafts.iter() {
        for (object, expected) in &asked.expected {
            let found = writer.ledger.revision(object.object()).unwrap_or(0);
            if found != *expected {
                return Err(EngineError::Conflict { object: object.to_string(), expected: *expected, found });
            }
        }
        problems.extend(foreign(&writer.ledger, changes, caller.source()));
        match writer.ledger.configure(writer.now, changes.clone()) {
            Ok(configured) => {
                reconfigured.warnings.extend(configured.warnings);
                problems.extend(too_large(&configured.entry, writer, origin));
                entries.push(configured.entry);
            }
            Err(found) => problems.extend(found),
        }
    }
    if !problems.is_empty() {
        problems.dedup();
        return Err(EngineError::Refused(problems));
    }
    for (Draft { cell, writer, before, changes }, entry) in drafts.iter_mut().zip(entries) {
        let names = named(changes);
        let revisions = |ledger: &Ledger| -> Vec<_> {
            names.iter().filter_map(|name| Some((name.clone(), ledger.revision(name.object())?))).collect()
        };
        if asked.dry_run {
            let mut ledger = writer.ledger.clone();
            ledger.post(writer.now, &entry);
            let mut due = Vec::new();
            while let Some(entry) = ledger.due(writer.now, &*cell.calendar) {
                ledger.post(writer.now, &entry);
                due.push(entry);
            }
            reconfigured.reclaimed.extend(victims(due.iter(), &cell.name));
            reconfigured.revisions.extend(revisions(&writer.ledger));
        } else {
            *before = (*before).min(writer.log.posted);
            let reclaiming = reclaiming(&writer.ledger);
            cell.unbroken(&mut **writer, |writer| writer, |writer| writer.post(origin, entry, &*cell.calendar));
            let now_reclaiming = self::reclaiming(&writer.ledger);
            let news = now_reclaiming.difference(&reclaiming);
            reconfigured.reclaimed.extend(news.map(|id| LeaseId { cell: cell.name.clone(), number: *id }));
            reconfigured.revisions.extend(revisions(&writer.ledger));
        }
    }
    reconfigured.revisions.sort();
    reconfigured.revisions.dedup_by(|a, b| a.0 == b.0);
    Ok(reconfigured)
}

fn reclaiming(ledger: &Ledger) -> BTreeSet<headgate_ledger::Id> {
    ledger.leases().filter(|lease| lease.deadline().is_some()).map(|lease| lease.id).collect()
}

fn victims<'a>(entries: impl Iterator<Item = &'a Entry>, cell: &Name) -> Vec<LeaseId> {
    let mut leases = BTreeSet::new();
    for entry in entries {
        match entry {
            Entry::Claimed { victims, .. } | Entry::ClaimExtended { victims, .. } => {
                leases.extend(victims.iter().map(|Victim { lease, .. }| *lease));
            }
            Entry::LetOff { lease } => {
                leases.remove(lease);
            }
            _ => {}
        }
    }
    leases.into_iter().map(|number| LeaseId { cell: cell.clone(), number }).collect()
}

/// A change must fit a record: it is applied all together.
fn too_large(entry: &Entry, writer: &Writer, origin: &Arc<Origin>) -> Option<Problem> {
    let record = Record { time: writer.now, origin: origin.clone(), what: What::Entry(entry.clone()) };
    let bytes = record.encoded_len();
    (bytes > RECORD_BYTES_MAX).then(|| Problem {
        object: "configuration".to_owned(),
        why: format!("the changes have {bytes} bytes together, and at most {RECORD_BYTES_MAX} may be made at once"),
    })
}
