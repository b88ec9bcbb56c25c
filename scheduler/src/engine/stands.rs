//! Where a request stands, as it is told to callers and watchers.

use headgate_ledger::{Amounts, End, Ended, Holder, Id, Lease, Ledger, Name, Outcome, State, TenantPath, Ticket, Time};

/// Where a request stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stands {
    /// It waits.
    Ticket {
        /// Its place in the queue.
        ticket: Ticket,
        /// When it is passed over unless its holder is heard; none: never.
        silent_at: Option<Time>,
    },
    /// It holds its lease.
    Lease(Lease),
    /// It is gone.
    Ended {
        /// What is still known of it.
        ended: Ended,
        /// Who kept it alive at last, as far as that is known.
        holder: Option<Holder>,
    },
}

impl Stands {
    /// Where the lease or ticket of a number stands; none where it is not known.
    pub(super) fn of(ledger: &Ledger, id: Id) -> Option<Self> {
        if let Some(lease) = ledger.lease(id) {
            return Some(Self::Lease(lease.clone()));
        }
        if let Some(ticket) = ledger.ticket(id) {
            return Some(Self::ticket(ledger, ticket));
        }
        let ended = ledger.ended(id)?;
        let holder = ended.request.holder.clone();
        Some(Self::Ended { ended, holder })
    }

    pub(super) fn ticket(ledger: &Ledger, ticket: &Ticket) -> Self {
        Self::Ticket { ticket: ticket.clone(), silent_at: silent_at(ledger, ticket) }
    }

    /// Its number.
    pub fn id(&self) -> Id {
        match self {
            Self::Ticket { ticket, .. } => ticket.id,
            Self::Lease(lease) => lease.id,
            Self::Ended { ended, .. } => ended.id,
        }
    }

    /// Whose it is.
    pub fn tenant(&self) -> &TenantPath {
        match self {
            Self::Ticket { ticket, .. } => &ticket.request.tenant,
            Self::Lease(lease) => &lease.request.tenant,
            Self::Ended { ended, .. } => &ended.request.tenant,
        }
    }

    /// Who keeps it alive, or did at last.
    pub fn holder(&self) -> Option<&Holder> {
        match self {
            Self::Ticket { ticket, .. } => ticket.holder.as_ref(),
            Self::Lease(lease) => lease.holder(),
            Self::Ended { holder, .. } => holder.as_ref(),
        }
    }

    /// The word for it.
    pub fn state(&self) -> State {
        match self {
            Self::Ticket { .. } => State::Waiting,
            Self::Lease(lease) => lease.state(),
            Self::Ended { ended, .. } => State::Ended(ended.end),
        }
    }

    /// What became of the request, as it stands.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Ticket { .. } => Outcome::Queue,
            Self::Lease(_) => Outcome::Allow,
            Self::Ended { ended, .. } if ended.admitted => Outcome::Allow,
            Self::Ended { .. } => Outcome::Deny,
        }
    }

    /// Whether it waits no more: what [`wait_for`](super::Engine::wait_for) waits for.
    pub(super) fn is_decided(&self) -> bool {
        match self {
            Self::Ticket { .. } => false,
            Self::Lease(_) | Self::Ended { .. } => true,
        }
    }

    /// A lease or ticket that is about to end.
    pub(super) fn ending(ledger: &Ledger, id: Id, end: End, at: Time) -> Option<Self> {
        let (request, admitted, holder) = match (ledger.lease(id), ledger.ticket(id)) {
            (Some(lease), _) => (lease.request.clone(), true, lease.holder().cloned()),
            (None, Some(ticket)) => (ticket.request.clone(), false, ticket.holder.clone()),
            (None, None) => return None,
        };
        Some(Self::Ended { ended: Ended { id, request, end, admitted, at }, holder })
    }
}

/// When a ticket is passed over unless its holder is heard; none: never.
fn silent_at(ledger: &Ledger, ticket: &Ticket) -> Option<Time> {
    let ttl = ledger.pool(ticket.request.pool.as_str()).map(|pool| pool.ticket_ttl);
    ttl.filter(|ttl| !ttl.is_zero()).map(|ttl| ticket.heard.after(ttl))
}

/// Where a request stands, as far as an answer tells it to a caller who knows what it asked for. It is taken under the
/// cell's lock, so it is little.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Footing {
    /// It waits.
    Ticket {
        /// Its number.
        id: Id,
        /// The pool that it waits in.
        pool: Name,
        /// How many instances it asks for.
        count: u32,
        /// When it is passed over unless its holder is heard; none: never.
        silent_at: Option<Time>,
    },
    /// It holds its lease.
    Lease {
        /// Its number.
        id: Id,
        /// What each instance holds.
        resources: Amounts,
        /// How many there are.
        count: u32,
        /// How it stands: provisional, active or reclaiming.
        state: State,
        /// When it ends unless it is renewed.
        expires: Time,
        /// By when it must have given way, where it must.
        deadline: Option<Time>,
    },
    /// It is gone.
    Ended {
        /// Its number.
        id: Id,
        /// How it ended.
        end: End,
        /// Whether it had been admitted.
        admitted: bool,
    },
}

impl Footing {
    /// Where the lease or ticket of a number stands; none where it is not known.
    pub(super) fn of(ledger: &Ledger, id: Id) -> Option<Self> {
        if let Some(lease) = ledger.lease(id) {
            return Some(lease.into());
        }
        if let Some(ticket) = ledger.ticket(id) {
            return Some(Self::ticket(ticket, silent_at(ledger, ticket)));
        }
        ledger.ended(id).as_ref().map(Self::from)
    }

    /// Where a lease or ticket will stand that is about to end.
    pub(super) fn ending(ledger: &Ledger, id: Id, end: End) -> Self {
        Self::Ended { id, end, admitted: ledger.lease(id).is_some() }
    }

    fn ticket(ticket: &Ticket, silent_at: Option<Time>) -> Self {
        let request = &ticket.request;
        Self::Ticket { id: ticket.id, pool: request.pool.clone(), count: request.count, silent_at }
    }

    /// Its number.
    pub fn id(&self) -> Id {
        match self {
            Self::Ticket { id, .. } | Self::Lease { id, .. } | Self::Ended { id, .. } => *id,
        }
    }

    /// The word for it.
    pub fn state(&self) -> State {
        match self {
            Self::Ticket { .. } => State::Waiting,
            Self::Lease { state, .. } => *state,
            Self::Ended { end, .. } => State::Ended(*end),
        }
    }

    /// What became of the request, as it stands.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Ticket { .. } => Outcome::Queue,
            Self::Lease { .. } | Self::Ended { admitted: true, .. } => Outcome::Allow,
            Self::Ended { admitted: false, .. } => Outcome::Deny,
        }
    }
}

impl From<&Lease> for Footing {
    fn from(lease: &Lease) -> Self {
        Self::Lease {
            id: lease.id,
            resources: lease.resources().clone(),
            count: lease.count(),
            state: lease.state(),
            expires: lease.expires,
            deadline: lease.deadline(),
        }
    }
}

impl From<&Ended> for Footing {
    fn from(ended: &Ended) -> Self {
        Self::Ended { id: ended.id, end: ended.end, admitted: ended.admitted }
    }
}

impl From<&Stands> for Footing {
    fn from(stands: &Stands) -> Self {
        match stands {
            Stands::Ticket { ticket, silent_at } => Self::ticket(ticket, *silent_at),
            Stands::Lease(lease) => lease.into(),
            Stands::Ended { ended, holder: _ } => ended.into(),
        }
    }
}
