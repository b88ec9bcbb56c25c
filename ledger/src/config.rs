//! What administrators say: pools, classes and tenants, as plain words.
//!
//! Everything here is checked as a whole by [`Ledger::configure`](crate::Ledger::configure).

use std::time::Duration;

use crate::amount::{Amount, Amounts, Levels};
use crate::name::{Name, Resource, TenantPath};
use crate::time::Time;

/// What holds for every pool of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How much of its quota a tenant has in each lifecycle.
    pub lifecycles: Lifecycles,
    /// Resources that no lifecycle scales: what is stored stays stored.
    pub storage_resources: Vec<Resource>,
    /// How long the ids of ended requests are known.
    pub remember: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lifecycles: Lifecycles::default(),
            storage_resources: ["requests.storage", "storage"]
                .iter()
                .filter_map(|name| Resource::parse(name).ok())
                .collect(),
            remember: Duration::from_secs(3600),
        }
    }
}

/// The parts of a quota that remain in each lifecycle, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifecycles {
    /// Of an active tenant.
    pub active: u32,
    /// In maintenance.
    pub maintenance: u32,
    /// Suspended.
    pub suspended: u32,
    /// Archived.
    pub archived: u32,
}

impl Lifecycles {
    /// All of it, in the unit of the fields.
    pub const WHOLE: u32 = 1_000_000;

    /// The part that remains in `lifecycle`.
    pub fn part(&self, lifecycle: Lifecycle) -> u32 {
        match lifecycle {
            Lifecycle::Active => self.active,
            Lifecycle::Maintenance => self.maintenance,
            Lifecycle::Suspended => self.suspended,
            Lifecycle::Archived => self.archived,
        }
    }
}

impl Default for Lifecycles {
    fn default() -> Self {
        Self { active: Self::WHOLE, maintenance: Self::WHOLE / 2, suspended: Self::WHOLE / 10, archived: 0 }
    }
}

/// A tenant's state of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Lifecycle {
    /// In ordinary use.
    #[default]
    Active,
    /// Being worked on.
    Maintenance,
    /// Nearly stopped.
    Suspended,
    /// Ended: nothing new is admitted.
    Archived,
}

/// Which tickets of one tenant may pass each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Order {
    /// A later request that fits passes an earlier one that does not.
    #[default]
    Backfill,
    /// A tenant's tickets are admitted in line.
    Strict,
}

/// What a share is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum ShareOf {
    /// What is held above guarantee.
    #[default]
    Borrowed,
    /// All that is held: classic dominant resource fairness.
    Usage,
}

/// What becomes of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Enforce {
    /// It holds.
    #[default]
    Deny,
    /// What would have been queued or denied is allowed, and the caller is told.
    Warn,
    /// The same, silently.
    Observe,
}

/// Who an object belongs to: only its own source changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Source {
    /// The configuration file.
    #[default]
    File,
    /// The API.
    Api,
    /// Custom resources.
    Kubernetes,
}

/// A body of capacity, and the rules by which it is queued for, shared and taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: Name,
    /// The cell that decides on it.
    pub cell: Name,
    /// Capacity per resource.
    pub capacity: Amounts,
    /// What of the capacity is not available just now (cordoned, lost).
    pub unavailable: Amounts,
    /// Added to each instance that does not name it.
    pub implied: Amounts,
    /// Order of a tenant's own tickets.
    pub order: Order,
    /// What a share is made of.
    pub share_of: ShareOf,
    /// Half-life of the average of usage that shares are taken of; zero: none.
    pub half_life: Duration,
    /// How much earlier one point of priority counts; zero: priority first, then arrival.
    pub age_step: Duration,
    /// From when freed capacity is held for a waiting ticket.
    pub hold_after: Duration,
    /// When the turn of a hold is over; zero: never.
    pub hold_for: Duration,
    /// When a ticket ends with deny; zero: never.
    pub max_wait: Duration,
    /// Tickets that may wait in the pool.
    pub max_queued: u32,
    /// Tickets of its own that a tenant may have waiting.
    pub max_queued_per_tenant: QueueLimit,
    /// Whether borrowed capacity is taken back.
    pub reclaim: bool,
    /// Notice before a lease is revoked.
    pub grace: Duration,
    /// A lease younger than this is nobody's victim.
    pub min_runtime: Duration,
    /// Time to live of a lease, renewed by its holder; zero: until released.
    pub lease_ttl: Duration,
    /// Life of a provisional lease; zero: as long as any.
    pub confirm_within: Duration,
    /// A ticket whose holder is silent so long is passed over, and ends after ten times as long; zero: never.
    pub ticket_ttl: Duration,
    /// Whether tenants may be guaranteed more than their parent is.
    pub overcommit: bool,
    /// What becomes of a decision.
    pub enforce: Enforce,
    /// Nothing new is admitted; what runs stays.
    pub paused: bool,
    /// Who the pool belongs to.
    pub source: Source,
}

impl Pool {
    /// A pool with no capacity and the rules that are the default.
    pub fn new(name: Name) -> Self {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 60 * MINUTE;
        Self {
            cell: default_cell(),
            name,
            capacity: Amounts::default(),
            unavailable: Amounts::default(),
            implied: Amounts::default(),
            order: Order::default(),
            share_of: ShareOf::default(),
            half_life: Duration::ZERO,
            age_step: Duration::from_secs(10 * MINUTE),
            hold_after: Duration::from_secs(5 * MINUTE),
            hold_for: Duration::from_secs(HOUR),
            max_wait: Duration::from_secs(24 * HOUR),
            max_queued: 100_000,
            max_queued_per_tenant: QueueLimit::Part(10_000),
            reclaim: true,
            grace: Duration::from_secs(30),
            min_runtime: Duration::ZERO,
            lease_ttl: Duration::from_secs(MINUTE),
            confirm_within: Duration::from_secs(MINUTE),
            ticket_ttl: Duration::ZERO,
            overcommit: false,
            enforce: Enforce::default(),
            paused: false,
            source: Source::default(),
        }
    }
}

/// The cell of pools that name none: `main`.
pub fn default_cell() -> Name {
    Name::parse("main").unwrap_or_else(|_| unreachable!("main is a DNS label"))
}

/// How many tickets of its own a tenant may have waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueueLimit {
    /// So many.
    Count(u32),
    /// Hundred-thousandths of the pool's `max_queued`, rounded up.
    Part(u32),
}

impl QueueLimit {
    /// The count, where the pool has room for `max_queued`.
    pub fn of(self, max_queued: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Part(part) => {
                let count = (u64::from(max_queued) * u64::from(part)).div_ceil(u64::from(crate::amount::WHOLE));
                u32::try_from(count).unwrap_or(u32::MAX)
            }
        }
    }
}

/// How long a tenant may stay above its guarantee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Burst {
    /// After so long without a break there is no further borrowing,
    pub span: Duration,
    /// until it has been within its guarantee for so long.
    pub cooldown: Duration,
}

/// What a tenant has in one pool. What is not said is taken from the class, else it is none.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Quota {
    /// A named quota; a field said here replaces the class's.
    pub class: Option<Name>,
    /// Its own.
    pub guaranteed: Option<Levels>,
    /// Never exceeded.
    pub limit: Option<Levels>,
    /// How much of its idle guarantee others may use; all, where nothing is said.
    pub lendable: Option<Levels>,
    /// How long it may borrow.
    pub burst: Option<Burst>,
    /// Where it differs from the pool's.
    pub enforce: Option<Enforce>,
}

/// A named quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Its name.
    pub name: Name,
    /// What it says; names no class itself.
    pub quota: Quota,
    /// Who the class belongs to.
    pub source: Source,
}

/// The calendar period of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Period {
    /// From midnight to midnight.
    Day,
    /// From Monday to Monday.
    Week,
    /// From the first to the first.
    Month,
}

/// What becomes of a request that exceeds a budget or a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum OnExceed {
    /// It is denied.
    #[default]
    Deny,
    /// It waits until the period turns, or enough has come back.
    Queue,
}

/// An amount per calendar period, charged when work is admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Its name, unique in its tenant.
    pub name: Name,
    /// What is counted: a request's own amounts of it.
    pub resource: Resource,
    /// The amount per period.
    pub amount: Amount,
    /// The period.
    pub period: Period,
    /// The time zone whose calendar turns it, as the tz database names it.
    pub time_zone: String,
    /// What becomes of a request that exceeds it.
    pub on_exceed: OnExceed,
}

/// So much in so long, and so much at once: counted when work is admitted, and never given back by its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Its name, unique in its tenant.
    pub name: Name,
    /// What is counted: a request's own amounts of it.
    pub resource: Resource,
    /// How much comes back
    pub amount: Amount,
    /// in so long.
    pub per: Duration,
    /// How much there is at most, and may be taken at once.
    pub burst: Amount,
    /// What becomes of a request that exceeds it.
    pub on_exceed: OnExceed,
}

/// Tenants under this one are made when a request of theirs is first admitted or queued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    /// Their kind.
    pub kind: String,
    /// The class of their quota in every pool that their parent may use.
    pub class: Option<Name>,
    /// How many there may be at once.
    pub max: u32,
    /// They go after holding nothing for so long.
    pub keep: Duration,
    /// The rates of each.
    pub rates: Vec<Rate>,
}

/// A node of the tree, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its place in the tree.
    pub path: TenantPath,
    /// organization, team, project, user or any word.
    pub kind: String,
    /// Its weight among its sisters, in thousandths.
    pub weight: u32,
    /// Its state of life.
    pub lifecycle: Lifecycle,
    /// What it has, by pool, sorted by name.
    pub quotas: Vec<(Name, Quota)>,
    /// Its budgets.
    pub budgets: Vec<Budget>,
    /// Its rates.
    pub rates: Vec<Rate>,
    /// A request's higher priority is an error.
    pub max_priority: Option<i32>,
    /// Whether tenants under it are made on first use.
    pub members: Option<Members>,
    /// Nothing new is admitted, and it goes when it is empty.
    pub draining: bool,
    /// Who the tenant belongs to.
    pub source: Source,
}

impl Tenant {
    /// A weight of one, in the unit of the field.
    pub const WEIGHT_ONE: u32 = 1000;

    /// An active tenant of weight one that has nothing.
    pub fn new(path: TenantPath) -> Self {
        Self {
            path,
            kind: String::new(),
            weight: Self::WEIGHT_ONE,
            lifecycle: Lifecycle::default(),
            quotas: Vec::new(),
            budgets: Vec::new(),
            rates: Vec::new(),
            max_priority: None,
            members: None,
            draining: false,
            source: Source::default(),
        }
    }

    /// Its rates, and those of its members.
    pub fn rates(&self) -> impl Iterator<Item = &Rate> {
        self.rates.iter().chain(self.members.iter().flat_map(|members| &members.rates))
    }

    /// What it says of a pool.
    pub fn quota(&self, pool: &str) -> Option<&Quota> {
        self.quotas.iter().find(|(name, _)| name.as_str() == pool).map(|(_, quota)| quota)
    }
}

/// One change to a configuration. Several are applied together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Replaces the settings.
    Settings(Settings),
    /// Makes a pool, or replaces it whole.
    PutPool(Pool),
    /// Removes a pool without leases and tickets.
    DeletePool(Name),
    /// Makes a class, or replaces it whole.
    PutClass(Class),
    /// Removes a class that nobody names.
    DeleteClass(Name),
    /// Makes a tenant, or replaces it whole; its children stay.
    PutTenant(Tenant),
    /// Removes a tenant and all under it. While there are leases or tickets: refused, or with `drain` put off
    /// until there are none, with nothing new admitted.
    DeleteTenant {
        /// Which.
        path: TenantPath,
        /// Whether it may be put off.
        drain: bool,
    },
    /// Changes a pool's capacity; a resource not named stays as it is.
    Capacity {
        /// Which pool.
        pool: Name,
        /// The new capacity of what is named.
        capacity: Amounts,
        /// What of it is not available just now.
        unavailable: Amounts,
    },
    /// Stops or resumes admission.
    Pause {
        /// Which pool.
        pool: Name,
        /// Whether nothing new is admitted.
        paused: bool,
    },
    /// Changes what becomes of decisions, in a pool or for one tenant of it.
    Enforce {
        /// Which pool.
        pool: Name,
        /// Which tenant; the root for the whole pool.
        tenant: TenantPath,
        /// What becomes of decisions; none: as the pool says.
        enforce: Option<Enforce>,
    },
}

/// Where the calendar turns. The ledger is handed the bounds of periods: it knows no time zones.
pub trait Calendar {
    /// The start and the end of the period that `now` lies in.
    fn period(&self, period: Period, time_zone: &str, now: Time) -> (Time, Time);
}

/// The calendar of UTC's days only: enough where no budget names another zone or period.
#[derive(Clone, Copy, Debug, Default)]
pub struct UtcDays;

impl Calendar for UtcDays {
    fn period(&self, period: Period, _time_zone: &str, now: Time) -> (Time, Time) {
        const DAY: u64 = 86_400_000_000_000;
        let (length, offset) = match period {
            Period::Day => (DAY, 0),
            Period::Week => (7 * DAY, 3 * DAY), // 1970-01-01 was a Thursday
            Period::Month => (30 * DAY, 0),
        };
        let start = ((now.nanos() + offset) / length * length).saturating_sub(offset);
        (Time::from_nanos(start), Time::from_nanos((now.nanos() + offset) / length * length + length - offset))
    }
}
