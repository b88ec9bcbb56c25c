//! Why something asked of the engine got no answer.

use std::time::Duration;

use headgate_ledger::{Id, Name, Problem, Refusal, TenantPath};

use super::id::LeaseId;

/// Why something asked of the engine got no answer. Each names its object and says what would help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// There is no such tenant, or the caller may not see it.
    #[error("there is no tenant {0}")]
    NoTenant(TenantPath),
    /// There is no such pool.
    #[error("there is no pool {0}")]
    NoPool(Name),
    /// The tenant may not use the pool.
    #[error("tenant {0} has no quota in pool {1}, nor has one above it: give it one, {{}} will do")]
    NoQuota(TenantPath, Name),
    /// The tenant is none yet, and the one above it has as many members as it may have at once.
    #[error(
        "the members rule of tenant {tenant} allows {max} at once, and so many are there: raise its max, or come again when \
         one has gone, as it does after holding nothing for the rule's keep"
    )]
    MembersFull {
        /// Whose rule it is.
        tenant: TenantPath,
        /// As many as it allows.
        max: u32,
    },
    /// There is no such lease or ticket, or the caller may not see it.
    #[error("there is no lease or ticket {0}")]
    NoLease(LeaseId),
    /// There is no such request.
    #[error("tenant {tenant} has no request {request}, or none that is still known")]
    NoRequest {
        /// Whose.
        tenant: TenantPath,
        /// The caller's id for it.
        request: String,
    },
    /// No such cell is served here.
    #[error("there is no cell {0}")]
    NoCell(Name),
    /// A field is wrong.
    #[error("{field}: {why}")]
    Invalid {
        /// Which, as the wire names it.
        field: &'static str,
        /// Why, and what would help.
        why: String,
    },
    /// The same request id stands for other contents.
    #[error("the same request id stands for other contents (as {0}): use another id")]
    Exists(LeaseId),
    /// The lease is gone.
    #[error("lease {0} is gone: stop the work")]
    Gone(LeaseId),
    /// It is a ticket that still waits.
    #[error("{0} is a ticket that still waits: wait for its admission, or cancel it")]
    Waits(LeaseId),
    /// The object was changed by somebody else.
    #[error("{object} was changed meanwhile: it is at version {found}, not {expected}; look again, then change it")]
    Conflict {
        /// Which, as `tenant acme/ml`.
        object: String,
        /// What the caller had seen; 0: that there is none.
        expected: u64,
        /// What it is.
        found: u64,
    },
    /// The configuration cannot be changed so.
    #[error("{}", problems(.0))]
    Refused(Vec<Problem>),
    /// A watch cannot go on from there.
    #[error(
        "a watch cannot resume after {after}: {oldest} is the oldest that it can, and what was told last the newest; watch anew"
    )]
    OutOfRange {
        /// What was to be resumed after.
        after: u64,
        /// The oldest that can be.
        oldest: u64,
    },
    /// Nothing is decided just now. The same request may be asked again.
    #[error("{why}; try again in {} ms", retry_after.as_millis())]
    Unavailable {
        /// What is in the way.
        why: Outage,
        /// When to ask again.
        retry_after: Duration,
    },
}

fn problems(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ")
}

/// Why nothing is decided just now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Outage {
    /// The store does not take what was decided, so it may not be answered.
    #[error("the store of cell {cell} is down ({cause})")]
    StoreDown {
        /// Whose.
        cell: Name,
        /// What the store said.
        cause: String,
    },
    /// More was decided than the store has taken yet.
    #[error("the store of cell {cell} does not keep up")]
    Overloaded {
        /// Whose.
        cell: Name,
    },
    /// Somebody else leads the cell.
    #[error("cell {cell} is led by another server")]
    NotLeading {
        /// Which.
        cell: Name,
    },
    /// The server stops.
    #[error("the server is shutting down")]
    Closing,
    /// A fault of the program's own was met while something was decided: what is in memory may be wrong, what is in the
    /// store is right.
    #[error("cell {cell} met a fault of the program's own, and decides nothing until the server is restarted")]
    Broken {
        /// Which.
        cell: Name,
    },
}

impl EngineError {
    /// A refusal of the ledger of `cell`, in callers' terms.
    pub(super) fn from_refusal(refusal: Refusal, cell: &Name) -> Self {
        let named = |number: Id| LeaseId { cell: cell.clone(), number };
        match refusal {
            Refusal::NoTenant(path) => Self::NoTenant(path),
            Refusal::NoPool(name) => Self::NoPool(name),
            Refusal::NoQuota(path, pool) => Self::NoQuota(path, pool),
            Refusal::MembersFull { tenant, max } => Self::MembersFull { tenant, max },
            Refusal::NoLease(id) => Self::NoLease(named(id)),
            Refusal::Invalid { field, why } => Self::Invalid { field, why },
            Refusal::Exists(id) => Self::Exists(named(id)),
            Refusal::Gone(id) => Self::Gone(named(id)),
            Refusal::Waits(id) => Self::Waits(named(id)),
        }
    }
}
