//! The closed alphabet of changes to a ledger, as the journal keeps it.

use std::sync::Arc;

use crate::amount::Amounts;
use crate::config::Change;
use crate::found::Found;
use crate::hit::Hit;
use crate::name::{Holder, Name, Resource, TenantPath};
use crate::request::{End, Id, ReasonCode, Request};
use crate::time::Time;

/// A node of a pool's tree: a tenant, or the child that stands for an inner tenant's own requests.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The tenant; the root for the pool itself.
    pub tenant: TenantPath,
    /// Whether only its own requests are meant.
    pub own: bool,
}

/// A guarantee that a ticket claims by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guarantee {
    /// Whose.
    pub place: Place,
    /// In which resources.
    pub resources: Vec<Resource>,
}

/// A lease that must give way, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Victim {
    /// Which.
    pub lease: Id,
    /// When it is revoked.
    pub deadline: Time,
}

/// Something that happened. [`Ledger::post`](crate::Ledger::post) applies it, and nothing else changes a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The configuration changed, all of it together.
    Configured(Vec<Change>),
    /// A request was admitted as it arrived.
    Admitted {
        /// Its lease.
        id: Id,
        /// What was asked for.
        request: Arc<Request>,
        /// Instances.
        count: u32,
        /// Why it would have been queued or denied, had that been enforced.
        observed: Option<ReasonCode>,
        /// Where the question found its place.
        found: Found,
    },
    /// A request was queued.
    Queued {
        /// Its ticket.
        id: Id,
        /// What was asked for.
        request: Arc<Request>,
    },
    /// A ticket was admitted.
    Dispatched {
        /// The ticket, and its lease.
        id: Id,
        /// Instances.
        count: u32,
    },
    /// A lease's holder confirmed that its work started.
    Confirmed {
        /// The lease.
        id: Id,
    },
    /// A lease's or a ticket's holder was heard. The first such word confirms a provisional lease.
    Renewed {
        /// The lease or ticket.
        id: Id,
        /// Who holds it from now on; none: as before.
        holder: Option<Holder>,
    },
    /// A lease got larger or smaller.
    Resized {
        /// The lease.
        id: Id,
        /// Per instance.
        resources: Amounts,
        /// Why more would have been denied, had that been enforced.
        observed: Option<ReasonCode>,
    },
    /// A lease or a ticket ended.
    Ended {
        /// Which.
        id: Id,
        /// How.
        end: End,
    },
    /// A ticket claims: it is spoken for, and these leases give way.
    Claimed {
        /// The ticket.
        id: Id,
        /// Whether it stayed within its leaf's guarantee in all it asks for.
        owner: bool,
        /// The guarantees it claims by.
        by: Vec<Guarantee>,
        /// Leases that give way for it, in the order chosen.
        victims: Vec<Victim>,
    },
    /// A claim took further victims, and counts on all chosen so far.
    ClaimExtended {
        /// The ticket.
        id: Id,
        /// The guarantees it claims by from now on.
        by: Vec<Guarantee>,
        /// The further leases, in the order chosen.
        victims: Vec<Victim>,
    },
    /// A claim does not stand any more.
    ClaimDropped {
        /// The ticket.
        id: Id,
    },
    /// A lease need not give way after all.
    LetOff {
        /// The lease.
        lease: Id,
    },
    /// Holds of a pool passed on, all together.
    HoldsPassed {
        /// Where.
        pool: Name,
        /// Tickets whose turn is over: they go to the back of those who stand there.
        turned: Vec<Id>,
        /// Tickets that have no hold any more.
        lost: Vec<Id>,
        /// Tickets that have one from now on.
        held: Vec<(Id, Place)>,
    },
    /// A ticket's holder has been silent, and it is passed over until it is heard.
    Silenced {
        /// The ticket.
        id: Id,
    },
    /// A budget's period turned.
    BudgetTurned {
        /// Whose.
        tenant: TenantPath,
        /// Which.
        budget: Name,
        /// When the period started.
        started: Time,
        /// When it ends.
        ends: Time,
    },
    /// A tenant has been above its guarantee for as long as it may.
    BurstOver {
        /// Where.
        pool: Name,
        /// Who.
        tenant: TenantPath,
    },
    /// A member, made on first use, held nothing for as long as it is kept.
    MemberGone {
        /// Which.
        tenant: TenantPath,
    },
    /// A drained tenant is empty, and goes with all under it.
    Drained {
        /// Which.
        tenant: TenantPath,
    },
    /// Hits passed, all together.
    Hit {
        /// Those that something counts.
        hits: Vec<Hit>,
    },
    /// No server could take a renewal until now: every lease and ticket has its whole time to live again.
    Resumed,
}
