//! What a scenario needs on a server, made before and removed after: its pool and its tenants.

use std::sync::Arc;
use std::time::{Duration, Instant};

use headgate_proto::v1;
use headgate_scheduler::config::format_amount;
use prost::Message;

use crate::codes;
use crate::drive::link::{Dial, Link};
use crate::fault::Fault;
use crate::scenario::{Amounts, Scenario, Tenant, is_own};
use crate::wire::http2::End;

/// How long a change of the configuration may take for each tenant that it is about, beside the ordinary patience.
const CHANGE_OF_TENANT: Duration = Duration::from_millis(1);
const WHY: &str = "a load test";

/// What was made, to be removed again.
#[derive(Debug)]
pub(crate) struct Setup {
    dial: Dial,
    pool: String,
    /// The highest of the tenants, and how many there are.
    roots: Vec<String>,
    tenants: usize,
}

impl Setup {
    /// Makes a scenario's pool and tenants.
    pub(crate) fn make(dial: &Dial, scenario: &Scenario) -> Result<Self, Fault> {
        match &dial.embedded {
            Some(embedded) => embedded.set_up(scenario, WHY)?,
            None => apply(dial, scenario)?,
        }
        let paths = scenario.paths();
        let tenants = paths.len();
        let roots = paths.into_iter().filter(|path| !path.contains('/')).map(str::to_owned).collect();
        Ok(Self { dial: dial.clone(), pool: scenario.pool.name.clone(), roots, tenants })
    }

    /// Whether it is on the same server as another.
    pub(crate) fn is_with(&self, other: &Self) -> bool {
        match (&self.dial.embedded, &other.dial.embedded) {
            (None, None) => self.dial.target.authority() == other.dial.target.authority(),
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs),
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// Removes them.
    pub(crate) fn remove(self) -> Result<(), Fault> {
        let Self { dial, pool, roots, tenants } = self;
        if let Some(embedded) = &dial.embedded {
            return embedded.remove(&roots, &pool, WHY);
        }
        for path in roots {
            let delete = v1::DeleteTenantRequest { path, reason: WHY.to_owned(), ..v1::DeleteTenantRequest::default() };
            let _: v1::DeleteTenantResponse = ask(&dial, "DeleteTenant", tenants, &delete)?;
        }
        let delete = v1::DeletePoolRequest { name: pool, reason: WHY.to_owned(), ..v1::DeletePoolRequest::default() };
        let _: v1::DeletePoolResponse = ask(&dial, "DeletePool", tenants, &delete)?;
        Ok(())
    }
}

/// Makes them by a call.
fn apply(dial: &Dial, scenario: &Scenario) -> Result<(), Fault> {
    let known = scenario.by_path();
    let apply = v1::ApplyRequest {
        pools: vec![pool(scenario)],
        tenants: scenario.paths().into_iter().map(|path| tenant(scenario, path, known.get(path).copied())).collect(),
        reason: WHY.to_owned(),
        ..v1::ApplyRequest::default()
    };
    let _: v1::ApplyResponse = ask(dial, "Apply", apply.tenants.len(), &apply)?;
    Ok(())
}

/// Refuses to write where others work.
pub(crate) fn guard(scenario: &Scenario, makes: bool, production: bool) -> Result<(), Fault> {
    if production {
        return Ok(());
    }
    if let Some(path) = scenario.foreign() {
        return Err(Fault::Usage(format!(
            "tenant {path} is not the load test's own: name it loadtest/…, or say --yes-production if it is meant"
        )));
    }
    if makes && !is_own(&scenario.pool.name) {
        return Err(Fault::Usage(format!(
            "pool {} is not the load test's own and would be replaced: name it loadtest, or say --yes-production if that is \
             meant",
            scenario.pool.name
        )));
    }
    Ok(())
}

fn pool(scenario: &Scenario) -> v1::Pool {
    let pool = &scenario.pool;
    v1::Pool {
        name: pool.name.clone(),
        capacity: quantities(&pool.capacity),
        reclaim: Some(pool.reclaim),
        grace: Some(duration(pool.grace)),
        age_step: pool.age_step.map(duration),
        hold_after: pool.hold_after.map(duration),
        max_queued: pool.max_queued,
        max_queued_per_tenant: "100%".to_owned(),
        ..v1::Pool::default()
    }
}

fn tenant(scenario: &Scenario, path: &str, known: Option<&Tenant>) -> v1::Tenant {
    let quota = v1::Quota {
        guaranteed: known.map(|tenant| quantities(&tenant.guaranteed)).unwrap_or_default(),
        limit: known.map(|tenant| quantities(&tenant.limit)).unwrap_or_default(),
        ..v1::Quota::default()
    };
    v1::Tenant {
        path: path.to_owned(),
        kind: "load-test".to_owned(),
        weight: known.and_then(|tenant| tenant.weight),
        quota: [(scenario.pool.name.clone(), quota)].into(),
        ..v1::Tenant::default()
    }
}

fn duration(nanoseconds: u64) -> prost_types::Duration {
    let (seconds, nanos) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
    prost_types::Duration { seconds: seconds as i64, nanos: nanos as i32 }
}

fn quantities(amounts: &Amounts) -> std::collections::BTreeMap<String, String> {
    amounts.iter().map(|(name, amount)| (name.clone(), format_amount(*amount, name))).collect()
}

/// Makes a change that is about so many tenants.
fn ask<A: Message + Default>(dial: &Dial, call: &str, tenants: usize, request: &impl Message) -> Result<A, Fault> {
    let url = dial.target.url();
    let mut link = Link::open(dial, 1).map_err(Fault::Failed)?;
    let path = format!("/headgate.v1.AdminService/{call}");
    let write = |out: &mut Vec<u8>| {
        // Writing to memory does not fail.
        let _ = request.encode(out);
    };
    let patience = dial.patience + CHANGE_OF_TENANT * u32::try_from(tenants).unwrap_or(u32::MAX);
    let asked = link.ask(&path, Instant::now() + patience, write);
    let asked = asked.map_err(|lost| Fault::Failed(lost.said(&url, "it is set up", patience)))?;
    match asked.end {
        Some(End::Status(0, _)) => A::decode(asked.message.as_slice())
            .map_err(|_| Fault::Failed(format!("{url} answers {call}, but nothing that can be understood"))),
        Some(End::Status(codes::UNIMPLEMENTED, _)) => {
            Err(Fault::Failed(format!("{url} cannot be set up: it has no AdminService; run without --setup")))
        }
        Some(End::Status(code, text)) => {
            Err(Fault::Failed(format!("{url} refuses to be set up: {}: {text}", codes::name(code))))
        }
        Some(End::Reset(_) | End::NotGrpc(_) | End::Http(..)) | None => {
            Err(Fault::Failed(format!("{url} cannot be set up: it does not speak gRPC there")))
        }
    }
}
