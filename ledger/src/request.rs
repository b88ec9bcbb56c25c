//! What is asked for, what comes of it, and what is kept of it.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use crate::amount::{Amount, Amounts};
use crate::config::Enforce;
use crate::name::{Holder, Name, RequestId, Resource, TenantPath, is_shown};
use crate::time::Time;

/// Instances that one request may ask for.
pub const COUNT_MAX: u32 = 1_000_000;
/// The largest priority, and with a minus sign the smallest.
pub const PRIORITY_MAX: i32 = 1_000_000_000;
/// Labels that a request may carry.
pub const LABELS_MAX: usize = 16;
/// Bytes of a label's name or value.
pub const LABEL_BYTES_MAX: usize = 256;
/// The longest time that anything may name: a hundred years.
pub const SPAN_MAX: Duration = Duration::from_secs(100 * 366 * 86_400);

/// Checks a request's labels: how many there are, how long, and that each shows as it is.
pub fn check_labels<'a>(labels: impl ExactSizeIterator<Item = (&'a str, &'a str)>) -> Result<(), String> {
    if labels.len() > LABELS_MAX {
        return Err(format!("{} are given, at most {LABELS_MAX} may be", labels.len()));
    }
    for (key, value) in labels {
        if key.is_empty() {
            return Err("a key is empty: give each a name, as in run=42".to_owned());
        }
        if key.len() > LABEL_BYTES_MAX || value.len() > LABEL_BYTES_MAX {
            return Err(format!("a key or value is longer than {LABEL_BYTES_MAX} bytes"));
        }
        if !key.chars().chain(value.chars()).all(is_shown) {
            let clean: String = key.chars().take(80).flat_map(char::escape_debug).collect();
            return Err(format!("\"{clean}\" or its value has a control or invisible character: leave it out"));
        }
    }
    Ok(())
}

/// A lease's or a ticket's number in its cell. A ticket's lease has the ticket's number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub u64);

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What somebody wants to start.
///
/// Callers ask the same again and again, each time by another id. So all but the id is kept apart, and whoever has it keeps
/// it once for all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The caller's id for it, unique in its tenant.
    pub id: RequestId,
    /// All else.
    pub demand: Arc<Demand>,
}

/// All of a request but its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// On whose quota.
    pub tenant: TenantPath,
    /// Out of which pool.
    pub pool: Name,
    /// Per instance.
    pub resources: Amounts,
    /// Instances, admitted together.
    pub count: u32,
    /// Fewer instances that will do; as many as `count` where all or nothing is asked.
    pub min_count: u32,
    /// Higher comes first.
    pub priority: i32,
    /// How long it is expected to run.
    pub expected_duration: Option<Duration>,
    /// May it queue.
    pub wait: bool,
    /// May it borrow; if not, it is never reclaimed.
    pub borrow: bool,
    /// Notice it needs, up to the pool's.
    pub grace: Option<Duration>,
    /// Time to live where it differs from the pool's; zero: until released.
    pub ttl: Option<Duration>,
    /// Whether an allowed lease is provisional too, as one from the queue always is.
    pub provisional: bool,
    /// Who keeps it alive.
    pub holder: Option<Holder>,
    /// Kept for listings, usage and cost.
    pub labels: Vec<(String, String)>,
    /// What becomes of the decision, where that is not as the pool or tenant says.
    pub enforce: Option<Enforce>,
}

impl Deref for Request {
    type Target = Demand;

    fn deref(&self) -> &Demand {
        &self.demand
    }
}

impl DerefMut for Request {
    /// Of a demand that others have too, a copy is changed.
    fn deref_mut(&mut self) -> &mut Demand {
        Arc::make_mut(&mut self.demand)
    }
}

impl Request {
    /// A request for one instance that may wait and borrow.
    pub fn new(id: RequestId, tenant: TenantPath, pool: Name, resources: Amounts) -> Self {
        Self { id, demand: Arc::new(Demand::new(tenant, pool, resources)) }
    }

    /// Whether this asks for the same thing: everything but who holds it.
    pub fn same_contents(&self, other: &Self) -> bool {
        self.id == other.id && (Arc::ptr_eq(&self.demand, &other.demand) || self.demand.same_contents(&other.demand))
    }
}

impl Demand {
    /// One instance, that may wait and borrow.
    pub fn new(tenant: TenantPath, pool: Name, resources: Amounts) -> Self {
        Self {
            tenant,
            pool,
            resources,
            count: 1,
            min_count: 1,
            priority: 0,
            expected_duration: None,
            wait: true,
            borrow: true,
            grace: None,
            ttl: None,
            provisional: false,
            holder: None,
            labels: Vec::new(),
            enforce: None,
        }
    }

    /// Whether this asks for the same thing: everything but who holds it.
    fn same_contents(&self, other: &Self) -> bool {
        let Self {
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
            provisional,
            holder: _,
            labels,
            enforce,
        } = self;
        *tenant == other.tenant
            && *pool == other.pool
            && *resources == other.resources
            && *count == other.count
            && *min_count == other.min_count
            && *priority == other.priority
            && *expected_duration == other.expected_duration
            && *wait == other.wait
            && *borrow == other.borrow
            && *grace == other.grace
            && *ttl == other.ttl
            && *provisional == other.provisional
            && *labels == other.labels
            && *enforce == other.enforce
    }
}

/// Why a request may not start now, in the order in which they are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReasonCode {
    /// The tenant, or one above it, is archived or being drained.
    Inactive,
    /// Larger by itself than what could ever be free.
    NeverFits,
    /// A budget would be exceeded.
    BudgetUsedUp,
    /// A rate would be exceeded.
    RateExceeded,
    /// The tenant's own earlier tickets come first.
    BehindEarlier,
    /// It asked not to borrow, and would.
    WouldBorrow,
    /// It would borrow, and its burst is over.
    BurstOver,
    /// A tenant's limit stands against it.
    ExceedsLimit,
    /// The pool is full.
    NoCapacity,
    /// It fits, but takes what is held or spoken for.
    HeldForAnother,
    /// The pool is paused.
    Paused,
    /// It would wait, but the queue has no room.
    QueueFull,
    /// It waited as long as a ticket may.
    WaitedTooLong,
}

impl ReasonCode {
    /// Every code.
    pub const ALL: [Self; 13] = [
        Self::Inactive,
        Self::NeverFits,
        Self::BudgetUsedUp,
        Self::RateExceeded,
        Self::BehindEarlier,
        Self::WouldBorrow,
        Self::BurstOver,
        Self::ExceedsLimit,
        Self::NoCapacity,
        Self::HeldForAnother,
        Self::Paused,
        Self::QueueFull,
        Self::WaitedTooLong,
    ];

    /// The word for it, the same everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::NeverFits => "never-fits",
            Self::BudgetUsedUp => "budget-used-up",
            Self::RateExceeded => "rate-exceeded",
            Self::BehindEarlier => "behind-earlier",
            Self::WouldBorrow => "would-borrow",
            Self::BurstOver => "burst-over",
            Self::ExceedsLimit => "exceeds-limit",
            Self::NoCapacity => "no-capacity",
            Self::HeldForAnother => "held-for-another",
            Self::Paused => "paused",
            Self::QueueFull => "queue-full",
            Self::WaitedTooLong => "waited-too-long",
        }
    }
}

/// One rule that stands against a request, with the numbers it was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Which rule.
    pub code: ReasonCode,
    /// The node that stands against it; the root is the pool.
    pub tenant: TenantPath,
    /// The resource, where one does.
    pub resource: Option<Resource>,
    /// The budget, where one does.
    pub budget: Option<Name>,
    /// The rate, where one does.
    pub rate: Option<Name>,
    /// What is in use there.
    pub used: Amount,
    /// What was asked for.
    pub requested: Amount,
    /// What may be in use there.
    pub limit: Amount,
    /// From when time alone will let it pass, where that is so: the turn of a budget's period, or the instant at which
    /// enough of a rate has come back.
    pub until: Option<Time>,
}

/// How a lease or a ticket ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// Its holder released the lease.
    Released,
    /// Its holder gave up the ticket, or what became of it.
    Cancelled,
    /// The lease's time to live ran out.
    Expired,
    /// The provisional lease was not confirmed in time.
    Unconfirmed,
    /// The lease was taken back at its deadline.
    Revoked,
    /// The ticket waited as long as one may.
    WaitedTooLong,
    /// The ticket's holder was silent for too long.
    Silent,
}

impl End {
    /// Every way to end.
    pub const ALL: [Self; 7] = [
        Self::Released,
        Self::Cancelled,
        Self::Expired,
        Self::Unconfirmed,
        Self::Revoked,
        Self::WaitedTooLong,
        Self::Silent,
    ];

    /// The word for it, the same everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Unconfirmed => "unconfirmed",
            Self::Revoked => "revoked",
            Self::WaitedTooLong => "waited-too-long",
            Self::Silent => "silent",
        }
    }
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It has a ticket.
    Waiting,
    /// It has a lease that its holder has not confirmed.
    Provisional,
    /// It has a lease.
    Active,
    /// Its lease must give way.
    Reclaiming,
    /// It is gone.
    Ended(End),
}

/// A ticket: a place in the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Its number; its lease's too.
    pub id: Id,
    /// What was asked for.
    pub request: Arc<Request>,
    /// Per instance, with what the pool adds.
    pub resources: Amounts,
    /// When it arrived.
    pub arrived: Time,
    /// Who keeps it alive.
    pub holder: Option<Holder>,
    /// When its holder was last heard.
    pub heard: Time,
    /// Whether it is passed over, because its holder has been silent.
    pub silent: bool,
}

/// A request that is gone, still known by its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its number.
    pub id: Id,
    /// What was asked for.
    pub request: Arc<Request>,
    /// How it ended.
    pub end: End,
    /// Whether it had been admitted.
    pub admitted: bool,
    /// When it ended.
    pub at: Time,
}
