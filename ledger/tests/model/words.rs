//! What the model speaks of: requests, what is answered, what happens, what runs and what waits.

use std::collections::BTreeMap;

use super::config::{Amounts, Lifecycle, Quota, Time};
use super::reclaim::Victim;
use super::view::times;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) id: String,
    pub(crate) tenant: String,
    pub(crate) pool: String,
    /// Per instance.
    pub(crate) resources: Amounts,
    pub(crate) count: i64,
    pub(crate) min_count: Option<i64>,
    pub(crate) priority: i64,
    pub(crate) wait: bool,
    pub(crate) borrow: bool,
    pub(crate) provisional: bool,
    /// In place of the pool's; 0: until released.
    pub(crate) ttl: Option<Time>,
    /// Notice it needs, up to the pool's.
    pub(crate) grace: Option<Time>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// How many instances; where it was only allowed because nothing is enforced, what stood
    /// against it.
    Allow {
        count: i64,
        observed: Option<Reason>,
    },
    Queue(Reason),
    Deny(Reason),
    /// Of hits: whether they pass, and what stood first against each.
    Hits {
        pass: bool,
        reasons: Vec<Option<Reason>>,
    },
    /// The same request id again: where it stands.
    Known(Standing),
    Done,
    Error(Error),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) code: Code,
    /// "" is the root.
    pub(crate) tenant: Option<String>,
    pub(crate) resource: Option<String>,
}

/// So much of a resource, which rates and budgets alone count.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hit {
    pub(crate) pool: String,
    pub(crate) tenant: String,
    pub(crate) resource: String,
    pub(crate) amount: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Inactive,
    NeverFits,
    BudgetUsedUp,
    RateExceeded,
    BehindEarlier,
    WouldBorrow,
    BurstOver,
    ExceedsLimit,
    NoCapacity,
    HeldForAnother,
    Paused,
    QueueFull,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    NotFound,
    Invalid,
    Exists,
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Waiting,
    Provisional,
    Active,
    Reclaiming,
    Gone,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// From the queue, and with how many instances.
    Admitted {
        id: String,
        count: i64,
    },
    Ended {
        id: String,
        cause: Cause,
    },
    Claimed {
        ticket: String,
    },
    ClaimDropped {
        ticket: String,
    },
    Reclaiming {
        id: String,
        deadline: Time,
    },
    LetOff {
        id: String,
    },
    Holds {
        ticket: String,
        node: String,
    },
    HoldsNoMore {
        ticket: String,
        node: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Released,
    Cancelled,
    Expired,
    Unconfirmed,
    Revoked,
    WaitedTooLong,
    Silent,
}

#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) request: Request,
    /// Per instance, as it is now.
    pub(crate) resources: Amounts,
    pub(crate) count: i64,
    pub(crate) arrived: Moment,
    pub(crate) admitted: Time,
    pub(crate) confirmed: bool,
    /// When its holder last spoke.
    pub(crate) heard: Time,
    /// Allowed only because nothing is enforced.
    pub(crate) observed: bool,
    pub(crate) victim: Option<Victim>,
}

#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    pub(crate) request: Request,
    /// Per instance.
    pub(crate) resources: Amounts,
    pub(crate) arrived: Moment,
    /// Its place in the order of tickets.
    pub(crate) place: Place,
    /// For holds: when it arrived, or when its last turn was over.
    pub(crate) stood: Moment,
    pub(crate) heard: Time,
}

/// An instant, and a number that tells apart what happens in one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    pub(crate) at: Time,
    pub(crate) number: u64,
}

/// "One comes before another by arrival minus priority times age_step (age_step: 0s: higher
/// priority, then arrival). It is fixed on arrival". Read as: where that is equal, the one that
/// arrived first comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) rank: i128,
    pub(crate) arrived: Moment,
}

#[derive(Clone, Debug)]
pub(crate) struct Hold {
    pub(crate) pool: String,
    pub(crate) node: String,
    pub(crate) ticket: String,
    pub(crate) resources: Vec<String>,
    pub(crate) since: Time,
}

#[derive(Clone, Debug)]
pub(crate) struct Gone {
    pub(crate) request: Request,
    pub(crate) at: Time,
}

/// "Budgets are charged at admission, never while waiting".
#[derive(Clone, Debug)]
pub(crate) struct Charge {
    pub(crate) tenant: String,
    pub(crate) budget: String,
    pub(crate) lease: String,
    pub(crate) at: Time,
    pub(crate) amount: i64,
}

/// What of a tenant is put; only what is named changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PutTenant {
    pub(crate) path: String,
    pub(crate) weight: Option<u64>,
    pub(crate) lifecycle: Option<Lifecycle>,
    pub(crate) quota: BTreeMap<String, Quota>,
}

impl Request {
    /// How many instances are admitted at least.
    pub(crate) fn least(&self) -> i64 {
        self.min_count.unwrap_or(self.count)
    }
}

impl Lease {
    pub(crate) fn holds(&self) -> Amounts {
        times(&self.resources, self.count)
    }

    pub(crate) fn standing(&self) -> Standing {
        match (&self.victim, self.confirmed) {
            (Some(_), _) => Standing::Reclaiming,
            (None, true) => Standing::Active,
            (None, false) => Standing::Provisional,
        }
    }
}

impl Reason {
    pub(crate) fn plain(code: Code) -> Reason {
        Reason { code, tenant: None, resource: None }
    }

    pub(crate) fn at(code: Code, tenant: &str, resource: &str) -> Reason {
        Reason { code, tenant: Some(tenant.to_owned()), resource: Some(resource.to_owned()) }
    }
}
