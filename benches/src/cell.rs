//! Seeded ledgers of a given size, and what is done to them.

use std::sync::Arc;
use std::time::Duration;

use headgate_ledger::{
    Amounts, Change, Close, Decision, Entry, Explanation, Id, Ledger, Level, Levels, Name, Outcome, Pool, Quota,
    Request, RequestId, Resource, Settings, Tenant, TenantPath, Time, UtcDays,
};

/// How large a ledger is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Levels of tenants.
    pub levels: u32,
    /// Resources, of which every request asks for all.
    pub resources: u32,
    /// Tenants at the lowest level, as many under each above them as under any other, as far as they go.
    pub leaves: u32,
    /// Leases, spread over the leaves.
    pub leases: u32,
    /// Tickets, spread over the leaves.
    pub tickets: u32,
    /// Distinct shapes that the tickets ask for.
    pub shapes: u32,
}

impl Default for Size {
    fn default() -> Self {
        Self { levels: 4, resources: 4, leaves: 100, leases: 1_000, tickets: 0, shapes: 0 }
    }
}

/// A ledger of a size, at rest.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The ledger.
    pub ledger: Ledger,
    /// Its tenants of the lowest level.
    pub leaves: Vec<TenantPath>,
    pool: Name,
    /// One name each: whoever asks often has names ready.
    resources: Vec<Resource>,
    now: u64,
    asked: u64,
}

#[expect(clippy::expect_used, reason = "names and amounts that are written here")]
impl Cell {
    /// Builds one. With tickets the pool is full, and none of them fits.
    pub fn new(size: Size) -> Self {
        let held = u64::from(size.leases) + 1;
        let full = size.tickets > 0;
        let mut cell = Self::empty(size, |pool, resources| {
            pool.capacity = amounts(resources, &[if full { u64::from(size.leases) } else { held * 1000 }]);
        });
        // As many ended requests as there are leases are remembered, so that all stays as large as it is.
        let settings = Settings { remember: Duration::from_nanos(2 * held), ..Settings::default() };
        let configured = cell.ledger.configure(cell.time(), vec![Change::Settings(settings)]).expect("settings");
        cell.post(&configured.entry);
        for at in 0..size.leases {
            let request = cell.request(at as usize, 1);
            assert!(cell.acquire(&request).is_some(), "a lease that fits");
        }
        for at in 0..size.tickets {
            // The smallest asks for two, so that one release never is enough.
            let shape = spread(at % size.shapes.max(1), size.shapes).map(|more| 2 + more);
            let request = cell.request_of((at / size.shapes.clamp(1, 16)) as usize, &shape);
            assert!(cell.acquire(&request).is_none(), "a ticket that waits");
        }
        cell
    }

    /// Tenants, and a pool.
    fn empty(size: Size, change: impl FnOnce(&mut Pool, &[Resource])) -> Self {
        let name = Name::parse("default").expect("a name");
        let resources = resources(size.resources);
        let mut pool = Pool {
            hold_after: Duration::from_secs(86_400 * 365),
            max_wait: Duration::ZERO,
            max_queued: 10_000_000,
            max_queued_per_tenant: headgate_ledger::QueueLimit::Count(10_000_000),
            ..Pool::new(name.clone())
        };
        change(&mut pool, &resources);
        let mut changes = vec![Change::PutPool(pool)];
        let leaves = tree(size, &resources, &name, &mut changes);
        let mut cell = Self { ledger: Ledger::new(), leaves, pool: name, resources, now: 1, asked: 0 };
        let configured = cell.ledger.configure(cell.time(), changes).expect("a configuration");
        cell.post(&configured.entry);
        cell
    }

    /// Builds one in which as many claims stand as leases give way: every other tenant borrows all that the others are
    /// guaranteed, and those ask for it.
    pub fn reclaiming(claims: u32) -> Self {
        let mut cell = Self::empty(Size { leaves: claims, ..Size::default() }, |pool, resources| {
            pool.capacity = amounts(resources, &[u64::from(claims)]);
            pool.min_runtime = Duration::ZERO;
        });
        let owner = |leaf: usize| leaf.is_multiple_of(2);
        let guaranteed: Vec<_> = (0..cell.leaves.len()).filter(|leaf| owner(*leaf)).collect();
        let mut changes = Vec::new();
        for leaf in &guaranteed {
            let mut tenant = Tenant::new(cell.leaves[*leaf].clone());
            let levels = cell.resources.iter().map(|name| (name.clone(), Level::Units(2)));
            let quota = Quota { guaranteed: Some(Levels::new(levels).expect("levels")), ..Quota::default() };
            tenant.quotas.push((cell.pool.clone(), quota));
            changes.push(Change::PutTenant(tenant));
        }
        let configured = cell.ledger.configure(cell.time(), changes).expect("a configuration");
        cell.post(&configured.entry);
        for at in 0..claims as usize {
            let request = cell.request(at / 2 * 2 + 1, 1);
            assert!(cell.acquire(&request).is_some(), "a lease that borrows");
        }
        for at in 0..claims as usize {
            let request = cell.request(at / 2 * 2, 1);
            assert!(cell.acquire(&request).is_none(), "a ticket that claims");
            assert_eq!(cell.settle(), 1);
        }
        cell
    }

    /// The time of what is posted next.
    pub fn time(&self) -> Time {
        Time::from_nanos(self.now)
    }

    /// A request of a leaf, for so much of every resource.
    pub fn request(&mut self, leaf: usize, amount: u64) -> Arc<Request> {
        self.request_of(leaf, &[amount])
    }

    /// A request of a leaf, for so much of each resource.
    fn request_of(&mut self, leaf: usize, shape: &[u64]) -> Arc<Request> {
        self.asked += 1;
        let id = RequestId::parse(&format!("r{}", self.asked)).expect("an id");
        let tenant = self.leaves[leaf % self.leaves.len()].clone();
        let mut request = Request::new(id, tenant, self.pool.clone(), amounts(&self.resources, shape));
        request.ttl = Some(Duration::ZERO);
        Arc::new(request)
    }

    /// The request, with so long to live.
    pub fn lasting(request: Arc<Request>, ttl: Duration) -> Arc<Request> {
        let mut request = Arc::unwrap_or_clone(request);
        request.ttl = Some(ttl);
        Arc::new(request)
    }

    /// Applies an entry.
    pub fn post(&mut self, entry: &Entry) {
        self.now += 1;
        self.ledger.post(self.time(), entry);
    }

    /// Posts what is due, and says how much that was.
    pub fn settle(&mut self) -> usize {
        let mut count = 0;
        while let Some(entry) = self.ledger.due(self.time(), &UtcDays) {
            self.post(&entry);
            count += 1;
        }
        count
    }

    /// Asks, and posts nothing.
    pub fn check(&self, request: &Arc<Request>) -> Decision {
        self.ledger.admit(self.time(), request).expect("a request that is well-formed")
    }

    /// Asks and posts; the lease, where it is allowed.
    pub fn acquire(&mut self, request: &Arc<Request>) -> Option<Id> {
        let decision = self.check(request);
        if let Some(entry) = &decision.entry {
            self.post(entry);
        }
        decision.id.filter(|_| decision.outcome == Outcome::Allow)
    }

    /// Asks and posts that a lease's holder was heard.
    pub fn renew(&mut self, id: Id) {
        let entry = self.ledger.renew(self.time(), id, None).expect("a lease");
        if let Some(entry) = entry {
            self.post(&entry);
        }
    }

    /// Asks and posts the end of a lease.
    pub fn release(&mut self, id: Id) {
        let entry = self.ledger.close(self.time(), id, Close::Release).expect("a lease");
        if let Some(entry) = entry {
            self.post(&entry);
        }
    }

    /// The numbers that a request would be decided from.
    pub fn explain(&self, request: &Arc<Request>) -> Explanation {
        self.ledger.explain(self.time(), request).expect("a request that is well-formed")
    }
}

/// So many names of resources.
#[expect(clippy::expect_used, reason = "names that are written here")]
fn resources(count: u32) -> Vec<Resource> {
    let known = ["cpu", "gpu", "memory", "storage"].map(str::to_owned).into_iter();
    let names = known.chain((4..).map(|number| format!("device{number}"))).take(count as usize);
    names.map(|name| Resource::parse(&name).expect("a resource")).collect()
}

/// So much of each resource, in turn.
#[expect(clippy::expect_used, reason = "amounts that are written here")]
fn amounts(resources: &[Resource], shape: &[u64]) -> Amounts {
    Amounts::new(resources.iter().cloned().zip(shape.iter().copied().cycle())).expect("amounts")
}

/// The shape of a number among so many, as small as can be in each of four resources.
fn spread(number: u32, shapes: u32) -> [u64; 4] {
    let base = (1u32..).find(|base| base.pow(4) >= shapes).unwrap_or(1);
    [0, 1, 2, 3].map(|place| u64::from(number / base.pow(place) % base))
}

/// Puts tenants on as many levels as there are to be, and says which are the lowest.
#[expect(clippy::expect_used, reason = "paths that are written here")]
fn tree(size: Size, resources: &[Resource], pool: &Name, changes: &mut Vec<Change>) -> Vec<TenantPath> {
    let Size { levels, leaves, .. } = size;
    let fan = (1u32..).find(|fan| fan.saturating_pow(levels) >= leaves).unwrap_or(1);
    let limit = resources.iter().map(|name| (name.clone(), Level::Units(1 << 50)));
    let limit = Levels::new(limit).expect("levels");
    let mut paths = vec![String::new()];
    for level in 1..=levels {
        let each = |parent: &String| {
            let slash = if parent.is_empty() { "" } else { "/" };
            (0..fan).map(|number| format!("{parent}{slash}t{level}-{number}")).collect::<Vec<_>>()
        };
        // No more than what lies below needs.
        let needed = leaves.div_ceil(fan.saturating_pow(levels - level));
        paths = paths.iter().flat_map(each).take(needed as usize).collect();
        for path in &paths {
            let mut tenant = Tenant::new(TenantPath::parse(path).expect("a path"));
            let quota = Quota { limit: Some(limit.clone()), ..Quota::default() };
            tenant.quotas.push((pool.clone(), quota));
            changes.push(Change::PutTenant(tenant));
        }
    }
    paths.iter().map(|path| TenantPath::parse(path).expect("a path")).collect()
}

#[cfg(test)]
mod tests {
    use super::{Cell, Size};

    #[test]
    fn a_full_pool_admits_one_for_enough_releases() {
        let mut cell = Cell::new(Size { leaves: 16, leases: 32, tickets: 64, shapes: 4, ..Size::default() });
        let leases: Vec<_> = cell.ledger.leases().map(|lease| lease.id).take(2).collect();
        cell.release(leases[0]);
        assert_eq!(cell.settle(), 0);
        cell.release(leases[1]);
        assert_eq!(cell.settle(), 1);
        assert!(cell.ledger.audit(headgate_ledger::Time::from_nanos(u64::MAX / 2), &[]).is_empty());
    }

    #[test]
    fn a_tree_has_its_levels_and_its_leaves() {
        for levels in [1, 2, 4, 8] {
            let cell = Cell::new(Size { levels, leaves: 10, resources: 16, ..Size::default() });
            assert_eq!(cell.leaves.len(), 10);
            assert!(cell.leaves.iter().all(|leaf| leaf.as_str().split('/').count() == levels as usize));
        }
    }
}
