//! What it takes for a ledger to be as a configuration says.
//!
//! What is as it should be is left alone, so that a restart changes nothing, and versions stay. What others may set
//! whoever owns the object (whether a pool is paused, how it and its tenants are enforced, what of it cannot be had) stays
//! as it is, unless the file says otherwise than it did, or, at the start, otherwise than when nothing is said.

use headgate_ledger::{Change, Enforce, Ledger, Name, Pool, Source, Tenant, TenantPath};

use crate::config::Objects;

/// The changes by which `ledger` becomes as the file says; `before` is what the file said until now, where that is known.
pub fn reconcile(ledger: &Ledger, before: Option<&Objects>, now: &Objects) -> Vec<Change> {
    let mut all = now.to_changes();
    for change in &mut all {
        match change {
            Change::PutPool(pool) => {
                let said = before.and_then(|before| before.pools.iter().find(|said| said.name == pool.name));
                if let Some(stands) = ledger.pool(pool.name.as_str()) {
                    keep_of_pool(pool, said, stands);
                }
            }
            Change::PutTenant(tenant) => {
                let said = before.and_then(|before| before.tenants.iter().find(|said| said.path == tenant.path));
                if let Some(stands) = ledger.tenant(tenant.path.as_str()) {
                    keep_of_tenant(tenant, said, stands);
                }
            }
            Change::Settings(_)
            | Change::DeletePool(_)
            | Change::PutClass(_)
            | Change::DeleteClass(_)
            | Change::DeleteTenant { .. }
            | Change::Capacity { .. }
            | Change::Pause { .. }
            | Change::Enforce { .. } => {}
        }
    }
    let gone = prune(ledger, Source::File, &all, true);
    all.retain(|change| !is_so(ledger, change));
    all.extend(gone);
    all
}

fn keep_of_pool(pool: &mut Pool, said: Option<&Pool>, stands: &Pool) {
    let default = Pool::new(pool.name.clone());
    let said = said.unwrap_or(&default);
    if pool.paused == said.paused {
        pool.paused = stands.paused;
    }
    if pool.enforce == said.enforce {
        pool.enforce = stands.enforce;
    }
    if pool.unavailable == said.unavailable {
        pool.unavailable = stands.unavailable.clone();
    }
}

fn keep_of_tenant(tenant: &mut Tenant, said: Option<&Tenant>, stands: &Tenant) {
    for (pool, quota) in &mut tenant.quotas {
        let said: Option<Enforce> = said.and_then(|said| said.quota(pool.as_str())).and_then(|quota| quota.enforce);
        if let Some(stands) = stands.quota(pool.as_str()).filter(|_| quota.enforce == said) {
            quota.enforce = stands.enforce;
        }
    }
}

/// Whether an object stands as a change would put it, whoever it belongs to: then nobody's is changed.
pub fn leaves_alone(ledger: &Ledger, change: &Change) -> bool {
    let mut change = change.clone();
    let (source, stands) = match &mut change {
        Change::PutPool(put) => (&mut put.source, ledger.pool(put.name.as_str()).map(|pool| pool.source)),
        Change::PutClass(put) => {
            let stands = ledger.classes().find(|class| class.name == put.name);
            (&mut put.source, stands.map(|class| class.source))
        }
        Change::PutTenant(put) => (&mut put.source, ledger.tenant(put.path.as_str()).map(|tenant| tenant.source)),
        _ => return false,
    };
    let Some(stands) = stands else { return false };
    *source = stands;
    is_so(ledger, &change)
}

/// Whether a change changes nothing.
fn is_so(ledger: &Ledger, change: &Change) -> bool {
    match change {
        Change::Settings(settings) => ledger.settings() == settings,
        Change::PutPool(pool) => ledger.pool(pool.name.as_str()) == Some(pool),
        Change::PutClass(class) => ledger.classes().any(|known| known == class),
        Change::PutTenant(tenant) => {
            let path = tenant.path.as_str();
            ledger.tenant(path) == Some(tenant) && !ledger.is_member(path)
        }
        Change::DeletePool(_)
        | Change::DeleteClass(_)
        | Change::DeleteTenant { .. }
        | Change::Capacity { .. }
        | Change::Pause { .. }
        | Change::Enforce { .. } => false,
    }
}

/// What `source` set before and is not among `changes` is removed: of tenants those at the top of what goes, then classes
/// and pools.
pub fn prune(ledger: &Ledger, source: Source, changes: &[Change], drain: bool) -> Vec<Change> {
    let puts_pool =
        |name: &Name| changes.iter().any(|change| matches!(change, Change::PutPool(pool) if pool.name == *name));
    let puts_class =
        |name: &Name| changes.iter().any(|change| matches!(change, Change::PutClass(class) if class.name == *name));
    let paths: std::collections::BTreeSet<&TenantPath> = changes
        .iter()
        .filter_map(|change| if let Change::PutTenant(tenant) = change { Some(&tenant.path) } else { None })
        .collect();
    let mut gone: Vec<TenantPath> = Vec::new();
    for tenant in ledger.tenants().filter(|tenant| tenant.source == source) {
        let path = &tenant.path;
        let goes = !paths.contains(path) && !tenant.draining && !ledger.is_member(path.as_str());
        // In the order of their paths, those above come first.
        if goes && !gone.iter().any(|above| above.covers(path.as_str())) {
            gone.push(path.clone());
        }
    }
    let tenants = gone.into_iter().map(|path| Change::DeleteTenant { path, drain });
    let classes = ledger.classes().filter(|class| class.source == source && !puts_class(&class.name));
    let pools = ledger.pools().filter(|pool| pool.source == source && !puts_pool(&pool.name));
    tenants
        .chain(classes.map(|class| Change::DeleteClass(class.name.clone())))
        .chain(pools.map(|pool| Change::DeletePool(pool.name.clone())))
        .collect()
}

#[cfg(test)]
mod tests {
    use headgate_ledger::{Change, Enforce, Ledger, Name, TenantPath, Time};

    use super::reconcile;
    use crate::config::{Config, Objects};

    fn objects(yaml: &str) -> Objects {
        Config::parse("test.yaml", yaml).expect("a configuration").objects
    }

    fn apply(ledger: &mut Ledger, changes: Vec<Change>) {
        let configured = ledger.configure(Time::EPOCH, changes).expect("allowed");
        ledger.post(Time::EPOCH, &configured.entry);
    }

    const BASE: &str = "
pools: [{name: default, capacity: {cpu: 10}}]
classes: {SMALL: {limit: {cpu: 2}}}
tenants:
  - {name: acme, quota: {default: {}}, tenants: [{name: ml, quota: {default: {class: SMALL}}}]}
  - {name: other, quota: {default: {limit: {cpu: 1}}}}
";

    fn started() -> Ledger {
        let mut ledger = Ledger::new();
        let changes = reconcile(&ledger, None, &objects(BASE));
        apply(&mut ledger, changes);
        ledger
    }

    #[test]
    fn what_is_as_it_should_be_is_left_alone() {
        let ledger = started();
        assert_eq!(reconcile(&ledger, None, &objects(BASE)), []);
        let other = BASE.replace("limit: {cpu: 1}", "limit: {cpu: 3}");
        let changes = reconcile(&ledger, None, &objects(&other));
        let [Change::PutTenant(tenant)] = &changes[..] else { panic!("{changes:?}") };
        assert_eq!(tenant.path.as_str(), "other");
    }

    #[test]
    fn what_is_not_in_the_file_any_more_goes() {
        let ledger = started();
        let changes = reconcile(&ledger, None, &objects("pools: [{name: default, capacity: {cpu: 10}}]"));
        let path = |text| TenantPath::parse(text).expect("a path");
        let expected = [
            Change::DeleteTenant { path: path("acme"), drain: true },
            Change::DeleteTenant { path: path("other"), drain: true },
            Change::DeleteClass(Name::parse_class("SMALL").expect("a name")),
        ];
        assert_eq!(changes, expected);
    }

    #[test]
    fn what_others_set_stays_until_the_file_says_otherwise_than_it_did() {
        let mut ledger = started();
        let pool = Name::parse("default").expect("a name");
        let tenant = TenantPath::parse("other").expect("a path");
        apply(
            &mut ledger,
            vec![
                Change::Pause { pool: pool.clone(), paused: true },
                Change::Enforce { pool: pool.clone(), tenant, enforce: Some(Enforce::Observe) },
            ],
        );
        assert_eq!(reconcile(&ledger, None, &objects(BASE)), [], "after a restart");
        let paused = objects(&BASE.replace("{cpu: 10}}", "{cpu: 10}, paused: true}"));
        assert_eq!(reconcile(&ledger, None, &paused), []);
        let changes = reconcile(&ledger, Some(&paused), &objects(BASE));
        let [Change::PutPool(put)] = &changes[..] else { panic!("{changes:?}") };
        assert!(!put.paused, "the file said so, and does not any more");
    }
}
