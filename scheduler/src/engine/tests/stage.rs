//! A stage for stories: an engine with one pool and two tenants, and words to ask it with.

use std::sync::Arc;
use std::time::Duration;

use headgate_ledger::{
    Amounts, Budget, Burst, Change, Class, Level, Levels, Members, Name, OnExceed, Outcome, Period, Pool, Quota, Rate,
    Request, RequestId, Resource, Source, State, Tenant, TenantPath, Time, UtcDays,
};

use crate::engine::{
    Answer, Caller, Clock, Configure, Engine, EngineError, EngineSettings, LeaseId, ManualClock, Recovery, Target,
};
use crate::persist::Surface;
use crate::store::Store;

/// 2026-01-01T00:00:00Z.
pub(super) const START: Time = Time::from_nanos(1_767_225_600_000_000_000);

pub(super) struct Stage {
    pub(super) engine: Arc<Engine>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) caller: Caller,
}

pub(super) fn main_cell() -> Name {
    name("main")
}

pub(super) fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

pub(super) fn path(text: &str) -> TenantPath {
    TenantPath::parse(text).expect("a path")
}

pub(super) fn cpu(amount: u64) -> Amounts {
    Amounts::new([(Resource::parse("cpu").expect("a resource"), amount)]).expect("amounts")
}

fn levels(amount: u64) -> Option<Levels> {
    Levels::new([(Resource::parse("cpu").expect("a resource"), Level::Units(amount))]).ok()
}

/// A request for some cpu, which may wait.
pub(super) fn request(tenant: &str, id: &str, amount: u64) -> Request {
    Request::new(RequestId::parse(id).expect("an id"), path(tenant), name("default"), cpu(amount))
}

/// Ten of cpu, of which `a` and `b` have five each.
pub(super) fn configuration() -> Vec<Change> {
    let mut pool = Pool::new(name("default"));
    pool.capacity = cpu(10);
    pool.lease_ttl = Duration::from_secs(60);
    let tenant = |path_: &str| {
        let mut tenant = Tenant::new(path(path_));
        tenant.quotas = vec![(name("default"), Quota { guaranteed: levels(5), ..Quota::default() })];
        Change::PutTenant(tenant)
    };
    vec![Change::PutPool(pool), tenant("a"), tenant("b")]
}

/// The same, with all that a ledger can be told to keep.
pub(super) fn rich_configuration() -> Vec<Change> {
    let mut changes = configuration();
    let class =
        Class { name: Name::parse_class("SMALL").expect("a name"), quota: Quota::default(), source: Source::File };
    for change in &mut changes {
        match change {
            Change::PutPool(pool) => {
                pool.half_life = Duration::from_secs(600);
                pool.hold_after = Duration::from_secs(5);
                pool.ticket_ttl = Duration::from_secs(300);
            }
            Change::PutTenant(tenant) => {
                tenant.quotas[0].1.burst =
                    Some(Burst { span: Duration::from_secs(20), cooldown: Duration::from_secs(5) });
                tenant.budgets = vec![Budget {
                    name: name("daily"),
                    resource: Resource::parse("cpu").expect("a resource"),
                    amount: 100,
                    period: Period::Day,
                    time_zone: "UTC".into(),
                    on_exceed: OnExceed::Queue,
                }];
                let class = Some(class.name.clone());
                tenant.rates = vec![Rate {
                    name: name("starts"),
                    resource: Resource::parse("cpu").expect("a resource"),
                    amount: 7,
                    per: Duration::from_secs(3),
                    burst: 9,
                    on_exceed: OnExceed::Queue,
                }];
                let (kind, keep, rates) = ("user".into(), Duration::from_secs(60), tenant.rates.clone());
                tenant.members = Some(Members { kind, class, max: 10, keep, rates });
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
    changes.insert(0, Change::PutClass(class));
    changes
}

/// Opens an engine.
pub(super) fn open(settings: EngineSettings, store: &dyn Store, clock: Arc<ManualClock>) -> (Stage, Vec<Recovery>) {
    let (engine, recoveries) =
        Engine::open(settings, store, &[main_cell()], clock.clone(), Arc::new(UtcDays)).expect("an engine");
    (Stage { engine, clock, caller: Caller::new("tester", Surface::Grpc) }, recoveries)
}

/// Opens an engine with [`configuration`].
pub(super) async fn begin(settings: EngineSettings, store: &dyn Store) -> Stage {
    let (stage, _) = open(settings, store, Arc::new(ManualClock::new(START)));
    stage.configure(configuration()).await;
    stage
}

impl Stage {
    pub(super) async fn configure(&self, changes: Vec<Change>) {
        let asked = Configure { changes, reason: "as the story goes".into(), ..Configure::default() };
        let caller = Caller::new("tester", Surface::File);
        self.engine.configure(&caller, asked).await.expect("configured");
    }

    pub(super) async fn try_acquire(&self, tenant: &str, id: &str, amount: u64) -> Result<Answer, EngineError> {
        self.engine.acquire(&self.caller, Arc::new(request(tenant, id, amount)), false).await
    }

    pub(super) async fn acquire(&self, tenant: &str, id: &str, amount: u64) -> Answer {
        self.try_acquire(tenant, id, amount).await.expect("decided")
    }

    /// Acquires what must be allowed; its id.
    pub(super) async fn allowed(&self, tenant: &str, id: &str, amount: u64) -> LeaseId {
        let answer = self.acquire(tenant, id, amount).await;
        assert_eq!(answer.outcome, Outcome::Allow, "{answer:?}");
        answer.id().expect("a lease")
    }

    /// Acquires what must be queued; its id.
    pub(super) async fn queued(&self, tenant: &str, id: &str, amount: u64) -> LeaseId {
        let answer = self.acquire(tenant, id, amount).await;
        assert_eq!(answer.outcome, Outcome::Queue, "{answer:?}");
        answer.id().expect("a ticket")
    }

    pub(super) async fn try_release(&self, id: &LeaseId) -> Result<Answer, EngineError> {
        let released = self.engine.release(&self.caller, Target::One(id.clone())).await;
        released.and_then(|mut each| each.pop().expect("one").1)
    }

    pub(super) async fn release(&self, id: &LeaseId) -> Answer {
        self.try_release(id).await.expect("released")
    }

    pub(super) async fn state(&self, id: &LeaseId) -> Option<State> {
        self.engine.read(&id.cell, |view| view.state(id.number)).await.expect("a cell")
    }

    /// Waits until readers see `id` in `state`, as entries that nobody asked for come to them.
    pub(super) async fn until(&self, id: &LeaseId, state: State) {
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while self.state(id).await != Some(state) {
            assert!(std::time::Instant::now() < deadline, "{id} is {:?}, not {state:?}", self.state(id).await);
            tokio::task::yield_now().await;
        }
    }

    /// Waits until watchers are told of all that has been answered: no answer waits for that.
    pub(super) async fn told(&self) {
        let cell = &self.engine.cells[&main_cell()];
        while cell.hub.told() < cell.answered() {
            tokio::task::yield_now().await;
        }
    }

    /// What a tenant uses.
    pub(super) async fn usage(&self, tenant: &str) -> u64 {
        let cell = main_cell();
        let usage = self.engine.read(&cell, |view| {
            let standing = view.standing(view.now(), "default", tenant).expect("a tenant");
            standing.holdings.iter().find(|holding| holding.resource.as_str() == "cpu").map(|holding| holding.usage)
        });
        usage.await.expect("a cell").unwrap_or(0)
    }

    pub(super) fn pass(&self, span: Duration) {
        self.clock.advance(span);
    }

    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }

    /// Nothing that must always hold is broken.
    pub(super) async fn check(&self) {
        let violations = self.engine.audit().await;
        assert!(violations.is_empty(), "{violations:?}");
    }
}
