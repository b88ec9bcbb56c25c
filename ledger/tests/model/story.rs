//! How stories are told to the model: each step is followed by the invariants, and leases are
//! confirmed when they are admitted, unless they ask to be provisional.

use std::collections::BTreeMap;

use crate::model::config::{Amounts, Config, Lifecycle, Lifecycles, Pool, Quota, SECOND, Tenant, Time};
use crate::model::share::Share;
use crate::model::{Cause, Code, Event, Model, Outcome, PutTenant, Reason, Request, audit};

/// Cpu in whole units.
pub(crate) fn cpu(amount: i64) -> Amounts {
    amounts(&[("cpu", amount)])
}

pub(crate) fn amounts(amounts: &[(&str, i64)]) -> Amounts {
    amounts.iter().map(|(resource, amount)| ((*resource).to_owned(), *amount)).collect()
}

pub(crate) fn pool(capacity: &[(&str, i64)]) -> Pool {
    Pool { lease_ttl: 0, ..Pool::new("default", amounts(capacity)) }
}

/// A tenant without a quota of its own.
pub(crate) fn bare(path: &str) -> Tenant {
    Tenant::new(path)
}

pub(crate) fn tenant(path: &str, quota: Quota) -> Tenant {
    Tenant { quota: BTreeMap::from([("default".to_owned(), quota)]), ..bare(path) }
}

/// A tenant with a quota that says nothing.
pub(crate) fn open(path: &str) -> Tenant {
    tenant(path, Quota::default())
}

pub(crate) fn guaranteed(path: &str, resource: &str, amount: i64) -> Tenant {
    tenant(path, Quota { guaranteed: amounts(&[(resource, amount)]), ..Quota::default() })
}

pub(crate) fn limited(path: &str, amount: i64) -> Tenant {
    tenant(path, Quota { limit: cpu(amount), ..Quota::default() })
}

pub(crate) fn lends(path: &str, guaranteed: i64, lendable: i64) -> Tenant {
    tenant(path, Quota { guaranteed: cpu(guaranteed), lendable: cpu(lendable), ..Quota::default() })
}

pub(crate) fn request(id: &str, tenant: &str, resources: Amounts) -> Request {
    Request {
        id: id.to_owned(),
        tenant: tenant.to_owned(),
        pool: "default".to_owned(),
        resources,
        count: 1,
        min_count: None,
        priority: 0,
        wait: true,
        borrow: true,
        provisional: false,
        ttl: Some(0),
        grace: None,
    }
}

pub(crate) struct Story {
    pub(crate) model: Model,
    /// Where the log stood before the last step that moved time or acted.
    from: usize,
    /// Which leases run out by themselves so long after their admission.
    pub(crate) runs: BTreeMap<String, Time>,
    ends: BTreeMap<Time, Vec<String>>,
}

impl Story {
    pub(crate) fn of(pool: Pool, tenants: Vec<Tenant>) -> Story {
        let config = Config {
            pools: vec![pool],
            tenants,
            lifecycles: Lifecycles::default(),
            storage: Vec::new(),
            remember: 3600 * SECOND,
        };
        Story { model: Model::new(config), from: 0, runs: BTreeMap::new(), ends: BTreeMap::new() }
    }

    /// One step: leases are confirmed when they are admitted, and the invariants hold after it.
    pub(crate) fn step<T>(&mut self, act: impl FnOnce(&mut Model) -> T) -> T {
        self.from = self.model.log.len();
        let done = act(&mut self.model);
        self.after();
        done
    }

    fn after(&mut self) {
        let now = self.model.now;
        let unconfirmed: Vec<String> = self
            .model
            .leases
            .iter()
            .filter(|lease| !lease.confirmed && !lease.request.provisional)
            .map(id_of)
            .collect();
        for id in unconfirmed {
            self.model.confirm(now, &id);
        }
        for lease in &self.model.leases {
            if let Some(runs) = self.runs.remove(&lease.request.id) {
                self.ends.entry(lease.admitted + runs).or_default().push(lease.request.id.clone());
            }
        }
        assert_eq!(audit::work_conserving(&self.model), None);
        assert_eq!(audit::at_rest(&self.model), None);
        assert_eq!(audit::guarantees_add_up(&self.model), None);
    }

    pub(crate) fn at(&mut self, seconds: u64) {
        self.from = self.model.log.len();
        let to = seconds * SECOND;
        while let Some((ends, ids)) = self.ends.first_key_value().map(|(ends, ids)| (*ends, ids.clone())) {
            if ends > to {
                break;
            }
            self.ends.remove(&ends);
            for id in ids {
                self.model.release(ends, &id);
                self.after();
            }
        }
        self.model.advance(to);
        self.after();
    }

    pub(crate) fn acquire(&mut self, request: Request) -> Outcome {
        self.step(|model| model.acquire(model.now, &request))
    }

    pub(crate) fn ask(&mut self, id: &str, tenant: &str, resources: Amounts) -> Outcome {
        self.acquire(request(id, tenant, resources))
    }

    /// `repeat`: the ids get -1, -2, …
    pub(crate) fn repeat(&mut self, id: &str, tenant: &str, resources: Amounts, times: usize) -> Vec<Outcome> {
        (1..=times).map(|n| self.ask(&format!("{id}-{n}"), tenant, resources.clone())).collect()
    }

    pub(crate) fn release(&mut self, id: &str) {
        self.step(|model| model.release(model.now, id));
    }

    pub(crate) fn capacity(&mut self, capacity: Amounts, unavailable: Amounts) {
        self.step(|model| model.set_capacity(model.now, "default", &capacity, &unavailable));
    }

    pub(crate) fn put(&mut self, path: &str, lifecycle: Lifecycle) {
        let put = PutTenant { path: path.to_owned(), lifecycle: Some(lifecycle), ..PutTenant::default() };
        self.step(|model| model.put_tenant(model.now, &put));
    }

    pub(crate) fn pause(&mut self, paused: bool) {
        self.step(|model| model.pause(model.now, "default", paused));
    }

    pub(crate) fn renew(&mut self, id: &str) {
        self.step(|model| model.renew(model.now, id));
    }

    pub(crate) fn resize(&mut self, id: &str, resources: Amounts) -> Outcome {
        self.step(|model| model.resize(model.now, id, &resources))
    }

    /// Who has the hold at a node; "" is the root.
    pub(crate) fn holder(&self, node: &str) -> Option<&str> {
        let hold = self.model.holds.iter().find(|hold| hold.node == node)?;
        Some(&hold.ticket)
    }

    pub(crate) fn ended(&self) -> Vec<(&str, Cause)> {
        let events = self.model.log[self.from..].iter();
        let ended = events.filter_map(|(_, event)| match event {
            Event::Ended { id, cause } => Some((id.as_str(), *cause)),
            _ => None,
        });
        ended.collect()
    }

    pub(crate) fn admitted(&self) -> Vec<&str> {
        let events = self.model.log[self.from..].iter();
        let admitted = events.filter_map(|(_, event)| match event {
            Event::Admitted { id, .. } => Some(id.as_str()),
            _ => None,
        });
        admitted.collect()
    }

    pub(crate) fn revoked(&self) -> Vec<&str> {
        let events = self.model.log[self.from..].iter();
        let mut revoked: Vec<&str> = events
            .filter_map(|(_, event)| match event {
                Event::Ended { id, cause: Cause::Revoked } => Some(id.as_str()),
                _ => None,
            })
            .collect();
        revoked.sort_unstable();
        revoked
    }

    pub(crate) fn reclaiming(&self) -> Vec<String> {
        self.model.reclaiming().into_iter().collect()
    }

    pub(crate) fn usage(&self, tenant: &str, resource: &str) -> i64 {
        self.model.usage("default", tenant, resource)
    }

    pub(crate) fn borrowed(&self, tenant: &str, resource: &str) -> i64 {
        self.model.borrowed("default", tenant, resource)
    }

    pub(crate) fn share(&self, tenant: &str) -> Share {
        self.model.share("default", tenant)
    }

    pub(crate) fn running(&self, tenant: &str) -> usize {
        self.model.running("default", tenant)
    }
}

fn id_of(lease: &crate::model::Lease) -> String {
    lease.request.id.clone()
}

pub(crate) const ALLOW: Outcome = Outcome::Allow { count: 1, observed: None };

pub(crate) fn allow(outcomes: &[Outcome]) -> usize {
    outcomes.iter().filter(|outcome| **outcome == ALLOW).count()
}

pub(crate) fn queue(outcomes: &[Outcome]) -> usize {
    outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Queue(_))).count()
}

/// How many were queued for this reason.
pub(crate) fn queued(outcomes: &[Outcome], code: Code) -> usize {
    outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Queue(reason) if reason.code == code)).count()
}

pub(crate) fn denied(outcomes: &[Outcome], code: Code) -> usize {
    outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Deny(reason) if reason.code == code)).count()
}

pub(crate) fn is_queue(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Queue(_))
}

pub(crate) fn queue_for(outcome: Outcome) -> Code {
    match outcome {
        Outcome::Queue(reason) => reason.code,
        other => panic!("not queued: {other:?}"),
    }
}

pub(crate) fn deny_for(outcome: Outcome) -> Code {
    match outcome {
        Outcome::Deny(reason) => reason.code,
        other => panic!("not denied: {other:?}"),
    }
}

pub(crate) fn reason(code: Code, tenant: &str, resource: &str) -> Reason {
    Reason { code, tenant: Some(tenant.to_owned()), resource: Some(resource.to_owned()) }
}

pub(crate) fn of(parts: i128, of: i128) -> Share {
    Share { parts, of }
}
