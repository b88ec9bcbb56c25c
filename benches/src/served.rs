//! An engine over a store, with callers who acquire and release.

use std::sync::Arc;
use std::time::Duration;

use headgate_ledger::{
    Amounts, Change, Name, Pool, Quota, Request, RequestId, Resource, Tenant, TenantPath, Time, UtcDays,
};
use headgate_scheduler::engine::{
    Answer, Caller, Configure, Done, Engine, EngineSettings, LeaseId, Operation, SystemClock, Target,
};
use headgate_scheduler::persist::{Origin, Record, Surface, What};
use headgate_scheduler::store::Store;

use crate::Cell;

const TENANTS: u64 = 100;

/// An engine with one cell and one pool, in which everything fits.
#[derive(Clone, Debug)]
pub struct Served {
    /// The engine.
    pub engine: Arc<Engine>,
    caller: Caller,
}

#[expect(clippy::expect_used, reason = "names and amounts that are written here, and a store that works")]
impl Served {
    /// Opens one. Must be called on a runtime.
    pub async fn open(settings: EngineSettings, store: &dyn Store) -> Self {
        let clock = Arc::new(SystemClock::new());
        let opened = Engine::open(settings, store, &[main_cell()], clock, Arc::new(UtcDays));
        let (engine, _) = opened.expect("an engine");
        let mut pool = Pool::new(pool());
        pool.capacity = cpu(1_000_000_000);
        pool.lease_ttl = Duration::ZERO;
        let mut changes = vec![Change::PutPool(pool)];
        for nth in 0..TENANTS {
            let path = path(nth);
            if nth % 10 == 0 {
                changes.push(Change::PutTenant(Tenant::new(path.parent().expect("an organisation"))));
            }
            let quotas = vec![(self::pool(), Quota::default())];
            changes.push(Change::PutTenant(Tenant { quotas, ..Tenant::new(path) }));
        }
        let file = Caller::new("file", Surface::File);
        engine.configure(&file, Configure { changes, ..Configure::default() }).await.expect("configured");
        Self { engine, caller: Caller::new("caller", Surface::Grpc) }
    }

    /// What a worker asks for; nobody asks for the same twice.
    pub fn request(worker: u64, nth: u64) -> Arc<Request> {
        let id = RequestId::parse(&format!("{worker}-{nth}")).expect("an id");
        Arc::new(Request::new(id, path((worker * 31 + nth) % TENANTS), pool(), cpu(1)))
    }

    /// Acquires so many leases at once.
    pub async fn acquire(&self, worker: u64, first: u64, count: u64) -> Vec<LeaseId> {
        let operation = |nth| Operation::Acquire { request: Self::request(worker, nth), explain: false };
        let done = self.engine.operate(&self.caller, (first..first + count).map(operation).collect()).await;
        let held: Vec<_> = done.into_iter().filter_map(id).collect();
        assert_eq!(held.len() as u64, count, "everything fits");
        held
    }

    /// Releases leases at once.
    pub async fn release(&self, held: Vec<LeaseId>) {
        let each = self.engine.release(&self.caller, Target::Ids(held)).await.expect("released");
        assert!(each.iter().all(|(_, answer)| answer.is_ok()), "they were held");
    }

    /// A worker acquires and releases `batch` leases at once, again and again.
    pub async fn rounds(&self, worker: u64, rounds: std::ops::Range<u64>, batch: u64) {
        for round in rounds {
            let held = self.acquire(worker, round * batch, batch).await;
            self.release(held).await;
        }
    }
}

fn id(done: Result<Done, headgate_scheduler::engine::EngineError>) -> Option<LeaseId> {
    match done {
        Ok(Done::Decided(answer)) => Answer::id(&answer),
        Ok(Done::One(_) | Done::Each(_)) | Err(_) => None,
    }
}

/// The cell of these engines.
#[expect(clippy::expect_used, reason = "a name that is written here")]
pub fn main_cell() -> Name {
    Name::parse("main").expect("a name")
}

#[expect(clippy::expect_used, reason = "a name that is written here")]
fn pool() -> Name {
    Name::parse("default").expect("a name")
}

#[expect(clippy::expect_used, reason = "a path that is written here")]
fn path(tenant: u64) -> TenantPath {
    TenantPath::parse(&format!("org{}/team{tenant}", tenant / 10)).expect("a path")
}

#[expect(clippy::expect_used, reason = "an amount that is written here")]
fn cpu(amount: u64) -> Amounts {
    Amounts::new([(Resource::parse("cpu").expect("a resource"), amount)]).expect("amounts")
}

/// The record of a request that a ledger admits, as a caller of gRPC causes it.
#[expect(clippy::expect_used, reason = "a request that fits")]
pub fn record(cell: &mut Cell, nth: usize) -> Record {
    let request = cell.request(nth, 1);
    let entry = cell.check(&request).entry.expect("it fits");
    let origin = Origin { actor: "caller".into(), surface: Surface::Grpc, reason: "".into() };
    // 2026-01-01T00:00:00Z: a time is as long as times are.
    let time = Time::from_nanos(1_767_225_600_000_000_000 + nth as u64);
    Record { time, origin: Arc::new(origin), what: What::Entry(entry) }
}
