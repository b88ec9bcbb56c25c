//! Changes of configuration: who may make them, what they do, and why one was refused.

use std::collections::BTreeSet;

use headgate_ledger as ledger;
use headgate_ledger::{Change, Name, Problem, Source, TenantPath};
use headgate_proto::{errors, v1};

use crate::auth::Caller;
use crate::engine::{self, Configure, EngineError, ObjectName, Reconfigured, View};
use crate::persist::Surface;

use super::differences::{class_fields, difference, pool_fields, tenant_fields};
use super::door::Call;
use super::fault::{Fault, Violations};
use super::objects;
use super::render;
use super::service::{Service, asker};
use super::words::FromWire;

/// Bytes of a reason: some sentences.
const REASON_BYTES_MAX: usize = 1024;

/// How a change is asked for.
#[derive(Clone, Debug)]
pub(super) struct Asking {
    pub(super) asker: engine::Caller,
    pub(super) reason: String,
    pub(super) validate_only: bool,
    pub(super) expected: Vec<(ObjectName, u64)>,
}

impl Asking {
    /// Checks for whom a caller changes something, and why.
    pub(super) fn of(
        wrong: &mut Violations,
        caller: &Caller,
        source: i32,
        reason: String,
        validate_only: bool,
    ) -> Self {
        let mut asker = asker(caller);
        let source = wrong.take("source", Source::from_wire(source)).flatten();
        match source {
            None | Some(Source::Api) => {}
            // Nobody speaks for the file: what it does not say, its next reading would undo or leave behind.
            Some(Source::File) => {
                wrong.add("source", "what the configuration file sets is set there: change it, and have it read again");
            }
            // A controller may run apart from the server.
            Some(Source::Kubernetes) if caller.sees_all() => asker.surface = Surface::Controller,
            Some(Source::Kubernetes) => {
                wrong.add("source", "only who administers all tenants changes something for custom resources");
            }
        }
        if reason.len() > REASON_BYTES_MAX {
            wrong.add("reason", format!("it is longer than {REASON_BYTES_MAX} bytes"));
        }
        if !reason.chars().all(ledger::is_shown) {
            wrong.add("reason", "it has a control or invisible character: write it in one line");
        }
        Self { asker, reason, validate_only, expected: Vec::new() }
    }

    /// The version that an object must be of, where one was given.
    pub(super) fn expect(&mut self, wrong: &mut Violations, field: &str, object: Option<ObjectName>, version: &str) {
        if version.is_empty() {
            return;
        }
        match (version.parse(), object) {
            (Ok(version), Some(object)) => self.expected.push((object, version)),
            (Ok(_), None) => {}
            (Err(_), _) => wrong.add(field, "it is no version that was given out here"),
        }
    }
}

/// What pools and classes are is for all: to change them takes who administers all tenants.
pub(super) fn for_all(call: &Call) -> Result<(), Fault> {
    if call.caller.sees_all() {
        return Ok(());
    }
    let message =
        format!("{} administers some tenants only, and this is for all: it takes tenants \"*\"", call.caller.name());
    Err(Fault::new(tonic::Code::PermissionDenied, message))
}

/// Whether a caller may change a tenant: it stands below one that the caller administers. What that one has is set by
/// those above it, or everybody would set their own limits.
pub(super) fn may_change(call: &Call, path: &TenantPath) -> Result<(), Fault> {
    if call.caller.sees_all() || call.caller.sees_above(path) {
        Ok(())
    } else if call.caller.sees(path.as_str()) {
        let message = format!("{} administers what is below {path}, and not {path} itself", call.caller.name());
        Err(Fault::new(tonic::Code::PermissionDenied, message))
    } else {
        Err(Fault::not_found(format_args!("tenant {path}")))
    }
}

/// Whether a caller may set what a tenant is to have. Where decisions are not enforced, the limits of those above are not
/// either: only who administers all makes it so.
pub(super) fn may_set(call: &Call, view: &View<'_>, tenant: &ledger::Tenant) -> Result<(), Fault> {
    may_change(call, &tenant.path)?;
    if call.caller.sees_all() {
        return Ok(());
    }
    let class = |name: &Name| view.classes().find(|class| class.name == *name).and_then(|class| class.quota.enforce);
    let before: BTreeSet<Name> = view
        .tenant(tenant.path.as_str())
        .map(|before| objects::unenforced(before, class).cloned().collect())
        .unwrap_or_default();
    let loose = objects::unenforced(tenant, class).find(|pool| !before.contains(*pool)).map(ToString::to_string);
    let members = tenant
        .members
        .as_ref()
        .and_then(|members| members.class.as_ref())
        .filter(|name| matches!(class(name), Some(ledger::Enforce::Warn | ledger::Enforce::Observe)));
    match loose.or_else(|| members.map(ToString::to_string)) {
        None => Ok(()),
        Some(what) => Err(Fault::new(
            tonic::Code::PermissionDenied,
            format!("{} may not lift what is enforced ({what}): it takes tenants \"*\"", call.caller.name()),
        )),
    }
}

/// What a list of changes does, told from the ledger before it.
pub(super) fn differences(view: &View<'_>, changes: &[Change]) -> Vec<v1::Difference> {
    let mut found: Vec<_> = changes.iter().flat_map(|change| differences_of(view, change)).collect();
    found.sort_by(|a, b| a.object.cmp(&b.object));
    found
}

fn differences_of(view: &View<'_>, change: &Change) -> Vec<v1::Difference> {
    let pool = |name: &Name, after: Option<&ledger::Pool>| {
        let before = view.pool(name.as_str()).map(pool_fields);
        difference(format!("pool/{name}"), before, after.map(pool_fields))
    };
    let class = |name: &Name, after: Option<&ledger::Class>| {
        let before = view.classes().find(|class| class.name == *name).map(class_fields);
        difference(format!("class/{name}"), before, after.map(class_fields))
    };
    let tenant = |path: &TenantPath, after: Option<&ledger::Tenant>| {
        let before = view.tenant(path.as_str()).map(tenant_fields);
        difference(format!("tenant/{path}"), before, after.map(tenant_fields))
    };
    let one = |difference: Option<v1::Difference>| difference.into_iter().collect();
    match change {
        Change::Settings(_) => Vec::new(),
        Change::PutPool(after) => one(pool(&after.name, Some(after))),
        Change::DeletePool(name) => one(pool(name, None)),
        Change::PutClass(after) => one(class(&after.name, Some(after))),
        Change::DeleteClass(name) => one(class(name, None)),
        Change::PutTenant(after) => one(tenant(&after.path, Some(after))),
        Change::DeleteTenant { path, drain } => {
            if *drain && holds_something(view, path) {
                let after =
                    view.tenant(path.as_str()).map(|tenant| ledger::Tenant { draining: true, ..tenant.clone() });
                return one(tenant(path, after.as_ref()));
            }
            let below = view.tenants().filter(|other| path.covers(other.path.as_str()));
            below.filter_map(|other| tenant(&other.path, None)).collect()
        }
        Change::Capacity { pool: name, capacity, unavailable } => {
            let after = view.pool(name.as_str()).map(|pool| ledger::Pool {
                capacity: merged(&pool.capacity, capacity),
                unavailable: merged(&pool.unavailable, unavailable),
                ..pool.clone()
            });
            one(after.and_then(|after| pool(name, Some(&after))))
        }
        Change::Pause { pool: name, paused } => {
            let after = view.pool(name.as_str()).map(|pool| ledger::Pool { paused: *paused, ..pool.clone() });
            one(after.and_then(|after| pool(name, Some(&after))))
        }
        Change::Enforce { pool: name, tenant: path, enforce } if path.is_root() => {
            let enforce = enforce.unwrap_or_default();
            let after = view.pool(name.as_str()).map(|pool| ledger::Pool { enforce, ..pool.clone() });
            one(after.and_then(|after| pool(name, Some(&after))))
        }
        Change::Enforce { pool: name, tenant: path, enforce } => {
            let after = view.tenant(path.as_str()).map(|before| {
                let mut after = before.clone();
                for (_, quota) in after.quotas.iter_mut().filter(|(pool, _)| pool == name) {
                    quota.enforce = *enforce;
                }
                after
            });
            one(after.and_then(|after| tenant(path, Some(&after))))
        }
    }
}

/// Amounts, with what is named replaced.
fn merged(before: &ledger::Amounts, named: &ledger::Amounts) -> ledger::Amounts {
    let kept = before.iter().filter(|(name, _)| named.get(name.as_str()).is_none());
    let all = kept.chain(named.iter()).map(|(name, amount)| (name.clone(), amount));
    // More than there may be is refused by the ledger, and then nothing of this is told.
    ledger::Amounts::new(all).unwrap_or_default()
}

fn holds_something(view: &View<'_>, path: &TenantPath) -> bool {
    view.pools().any(|pool| {
        view.standing(view.now(), pool.name.as_str(), path.as_str())
            .is_some_and(|standing| standing.running > 0 || standing.waiting > 0)
    })
}

impl Service {
    /// Makes changes, all of them or none, or says what they would do.
    pub(super) async fn change(&self, call: &Call, asking: Asking, changes: Vec<Change>) -> Result<v1::Effect, Fault> {
        let _room = call.caller.meter().operation()?;
        let Asking { asker, reason, validate_only, expected } = asking;
        let mut told = Vec::new();
        for cell in self.engine.cells() {
            let found = self.engine.read(cell, |view| differences(view, &changes)).await;
            told.extend(found.map_err(|error| Fault::engine(&error, ""))?);
        }
        told.dedup_by(|a, b| a.object == b.object);
        let asked = Configure { changes: changes.clone(), reason, expected, dry_run: validate_only };
        let done = call.deadline.bound(self.engine.configure(&asker, asked)).await?;
        let Reconfigured { warnings, revisions: _, reclaimed } = match done {
            Ok(done) => done,
            Err(EngineError::Refused(problems)) => return Err(self.refused(&asker, &changes, &problems).await),
            Err(error) => return Err(Fault::engine(&error, "")),
        };
        let mut effect = v1::Effect {
            differences: told,
            reclaimed: Vec::new(),
            warnings: warnings.iter().map(Problem::to_string).collect(),
        };
        if validate_only {
            for id in reclaimed {
                let lease = self.engine.peek(&id.cell, |view| {
                    let lease = view.lease(id.number).filter(|lease| asker.scope.covers(&lease.request.tenant));
                    lease.map(|lease| render::lease(&id.cell, lease))
                });
                effect.reclaimed.extend(lease.ok().flatten());
            }
        }
        Ok(effect)
    }

    /// Why changes were refused: with a reason for programs, where there is one.
    async fn refused(&self, asker: &engine::Caller, changes: &[Change], problems: &[Problem]) -> Fault {
        let message = problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ");
        for cell in self.engine.cells() {
            let reason =
                self.engine.read(cell, |view| changes.iter().find_map(|change| reason_of(view, asker, change)));
            if let Ok(Some(reason)) = reason.await {
                return Fault::precondition(reason, message);
            }
        }
        Fault::problems(problems)
    }
}

/// The state of an object that stands against a change of it.
fn reason_of(view: &View<'_>, asker: &engine::Caller, change: &Change) -> Option<&'static str> {
    let other = |owner: Option<Source>| owner.filter(|owner| *owner != asker.source()).map(|_| errors::OTHER_SOURCE);
    let pool = |name: &Name| view.pool(name.as_str()).map(|pool| pool.source);
    let class = |name: &Name| view.classes().find(|class| class.name == *name).map(|class| class.source);
    let tenant = |path: &TenantPath| view.tenant(path.as_str()).map(|tenant| tenant.source);
    let holds = |pool: &Name| {
        view.standing(view.now(), pool.as_str(), "").is_some_and(|root| root.running > 0 || root.waiting > 0)
    };
    let named = |name: &Name| {
        view.tenants().any(|tenant| {
            let quotas = tenant.quotas.iter().filter_map(|(_, quota)| quota.class.as_ref());
            quotas.chain(tenant.members.iter().filter_map(|members| members.class.as_ref())).any(|class| class == name)
        })
    };
    match change {
        Change::PutPool(put) => other(pool(&put.name)),
        Change::PutClass(put) => other(class(&put.name)),
        Change::PutTenant(put) => other(tenant(&put.path)),
        Change::DeletePool(name) => other(pool(name)).or_else(|| holds(name).then_some(errors::NOT_EMPTY)),
        Change::DeleteClass(name) => other(class(name)).or_else(|| named(name).then_some(errors::IN_USE)),
        Change::DeleteTenant { path, drain } => {
            let empty = *drain || !holds_something(view, path);
            other(tenant(path)).or((!empty).then_some(errors::NOT_EMPTY))
        }
        Change::Settings(_) | Change::Capacity { .. } | Change::Pause { .. } | Change::Enforce { .. } => None,
    }
}
