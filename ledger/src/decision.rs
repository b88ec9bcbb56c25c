//! Answers: decisions, refusals and the numbers they were made from.

use std::fmt;
use std::time::Duration;

use crate::amount::Amount;
use crate::config::Enforce;
use crate::entry::Entry;
use crate::name::{Name, Resource, TenantPath};
use crate::request::{Id, Reason, State};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It may start: it has a lease.
    Allow,
    /// It waits: it has a ticket.
    Queue,
    /// It may not start.
    Deny,
}

impl Outcome {
    /// The word for it, the same everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Queue => "queue",
            Self::Deny => "deny",
        }
    }
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What becomes of it.
    pub outcome: Outcome,
    /// Its lease or ticket.
    pub id: Option<Id>,
    /// Where it stands, where the same request had been decided before.
    pub known: Option<State>,
    /// What to post; none for a denial and for what was decided before.
    pub entry: Option<Entry>,
    /// Every rule that stands against it, the one that decided first.
    pub reasons: Vec<Reason>,
    /// What it would have been, had that been enforced.
    pub would_be: Option<Outcome>,
    /// How the decision is enforced for this request.
    pub enforce: Enforce,
}

impl Decision {
    /// A request may start, and nothing is to come of that.
    pub(crate) fn allowed(enforce: Enforce) -> Self {
        let (outcome, reasons) = (Outcome::Allow, Vec::new());
        Self { outcome, id: None, known: None, entry: None, reasons, would_be: None, enforce }
    }
}

/// The answer to a change of size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amendment {
    /// What to post; none where it is refused, or changes nothing.
    pub entry: Option<Entry>,
    /// Every rule that stands against it.
    pub reasons: Vec<Reason>,
}

/// Why something asked got no decision. Each names its object and says what would help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such tenant.
    NoTenant(TenantPath),
    /// There is no such pool.
    NoPool(Name),
    /// The tenant may not use the pool: neither it nor one above it has a quota there.
    NoQuota(TenantPath, Name),
    /// The tenant is none yet, and the one above it has as many members as it may have at once.
    MembersFull {
        /// Whose rule it is.
        tenant: TenantPath,
        /// As many as it allows.
        max: u32,
    },
    /// There is no such lease or ticket.
    NoLease(Id),
    /// A field is wrong.
    Invalid {
        /// Which, as the wire names it.
        field: &'static str,
        /// Why, and what would help.
        why: String,
    },
    /// The same id was used for a request with other contents.
    Exists(Id),
    /// The lease is gone: stop the work.
    Gone(Id),
    /// It is a ticket that still waits.
    Waits(Id),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTenant(path) => write!(f, "there is no tenant {path}"),
            Self::NoPool(name) => write!(f, "there is no pool {name}"),
            Self::NoQuota(path, pool) => {
                write!(f, "tenant {path} has no quota in pool {pool}, nor has one above it: give it one, {{}} will do")
            }
            Self::MembersFull { tenant, max } => write!(
                f,
                "the members rule of tenant {tenant} allows {max} at once, and so many are there: raise its max, or come \
                 again when one has gone, as it does after holding nothing for the rule's keep"
            ),
            Self::NoLease(id) => write!(f, "there is no lease or ticket {id}"),
            Self::Invalid { field, why } => write!(f, "{field}: {why}"),
            Self::Exists(id) => {
                write!(f, "the same request id stands for other contents (as {id}): use another id")
            }
            Self::Gone(id) => write!(f, "lease {id} is gone: stop the work"),
            Self::Waits(id) => write!(f, "{id} is a ticket that still waits: wait for its admission, or cancel it"),
        }
    }
}

impl std::error::Error for Refusal {}

/// What is wrong with a change of configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The object, as `tenant acme/ml` or `pool default`.
    pub object: String,
    /// What is wrong with it, and what would help.
    pub why: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.why)
    }
}

/// The answer to a change of configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    /// What to post.
    pub entry: Entry,
    /// What is allowed, but hardly meant.
    pub warnings: Vec<Problem>,
}

/// What a node of a pool's tree has of one resource, as things stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The resource.
    pub resource: Resource,
    /// What the leases in its subtree hold.
    pub usage: Amount,
    /// The effective guarantee.
    pub guaranteed: Amount,
    /// What it may hold at most; none: no limit.
    pub limit: Option<Amount>,
    /// How much of the guarantee others may use while it is idle.
    pub lendable: Amount,
    /// What is held above guarantee.
    pub borrowed: Amount,
    /// What is being kept free for a ticket's claim or hold under it.
    pub held: Amount,
}

/// A node of a pool's tree, as things stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The tenant; the root for the pool itself.
    pub tenant: TenantPath,
    /// Leases in its subtree.
    pub running: u64,
    /// Tickets in its subtree.
    pub waiting: u64,
    /// Leases in its subtree that must give way.
    pub reclaiming: u64,
    /// Its weighted dominant share, in millionths, rounded down.
    pub share_millionths: u64,
    /// Its rank among its sisters by share, counted from 1.
    pub rank: u32,
    /// How many sisters there are, itself included.
    pub sisters: u32,
    /// Per resource, by name.
    pub holdings: Vec<Holding>,
}

/// One level of an explanation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelNumbers {
    /// The node as it stands.
    pub standing: Standing,
    /// Per resource asked for: what its usage would be after an admission.
    pub usage_after: Vec<(Resource, Amount)>,
    /// Per resource asked for: what it would hold above guarantee.
    pub borrowed_after: Vec<(Resource, Amount)>,
    /// Resources in which the node stands against the request.
    pub blocked: Vec<Resource>,
}

/// Why a decision is as it is: the numbers from the leaf to the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What would be decided now.
    pub outcome: Outcome,
    /// Every rule that stands against it.
    pub reasons: Vec<Reason>,
    /// From the leaf to the root.
    pub levels: Vec<LevelNumbers>,
    /// For a ticket: its place by dispatch order, counted from 1.
    pub position: Option<u64>,
    /// For a ticket: how long it will probably wait.
    pub expected_wait: Option<Duration>,
    /// For a ticket: the leases that give way which its claim waits for; without a claim, all that do in its pool.
    pub reclaiming: Vec<Id>,
}

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its name, as `no-over-admission`.
    pub invariant: &'static str,
    /// Where, and what was expected and found.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}
