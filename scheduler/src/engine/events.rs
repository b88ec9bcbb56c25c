//! What is told of what happened: events, derived from entries as they are posted.

use headgate_ledger::{End, Entry, Holder, Id, Ledger, Time, Victim};

use super::stands::Stands;

/// All that happened to leases and tickets at one number of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// The record's number.
    pub sequence: u64,
    /// In order.
    pub events: Vec<Event>,
}

/// Something that happened to a lease or a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub kind: EventKind,
    /// When.
    pub time: Time,
    /// Where the request stands after it.
    pub after: Stands,
    /// Who held it before, where that changed: who had it is told too.
    pub held_before: Option<Holder>,
}

/// What happened to a lease or a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// The request was queued.
    Queued,
    /// It was admitted, at once or from the queue.
    Admitted,
    /// The provisional lease was confirmed.
    Confirmed,
    /// It has another holder.
    HandedOver,
    /// The lease holds other amounts.
    Resized,
    /// The lease must give way by its deadline.
    Reclaiming,
    /// The lease need not give way after all.
    LetOff,
    /// It ended by its holder's word, or waited in vain.
    Ended,
    /// The lease was revoked at its deadline.
    Revoked,
    /// The lease was not renewed or not confirmed in time.
    Expired,
}

/// Posts an entry, and says what there is to tell of it.
pub(super) fn post(ledger: &mut Ledger, time: Time, entry: &Entry) -> Vec<Event> {
    let before = Before::of(ledger, time, entry);
    ledger.post(time, entry);
    before.and_after(ledger, time, entry)
}

/// What must be looked up before an entry is posted.
enum Before {
    Nothing,
    Ending(Option<Stands>),
    Renewing { holder: Option<Holder>, provisional: bool },
}

impl Before {
    fn of(ledger: &Ledger, time: Time, entry: &Entry) -> Self {
        match entry {
            Entry::Ended { id, end } => Self::Ending(Stands::ending(ledger, *id, *end, time)),
            Entry::Renewed { id, .. } => match (ledger.lease(*id), ledger.ticket(*id)) {
                (Some(lease), _) => {
                    Self::Renewing { holder: lease.holder().cloned(), provisional: lease.confirmed().is_none() }
                }
                (None, Some(ticket)) => Self::Renewing { holder: ticket.holder.clone(), provisional: false },
                (None, None) => Self::Nothing,
            },
            Entry::Configured(_)
            | Entry::Admitted { .. }
            | Entry::Queued { .. }
            | Entry::Dispatched { .. }
            | Entry::Confirmed { .. }
            | Entry::Resized { .. }
            | Entry::Claimed { .. }
            | Entry::ClaimExtended { .. }
            | Entry::ClaimDropped { .. }
            | Entry::LetOff { .. }
            | Entry::HoldsPassed { .. }
            | Entry::Silenced { .. }
            | Entry::BudgetTurned { .. }
            | Entry::BurstOver { .. }
            | Entry::MemberGone { .. }
            | Entry::Drained { .. }
            | Entry::Hit { .. }
            | Entry::Resumed => Self::Nothing,
        }
    }

    fn and_after(self, ledger: &Ledger, time: Time, entry: &Entry) -> Vec<Event> {
        let tell = |kind, id: Id, held_before| {
            let after = Stands::of(ledger, id)?;
            Some(Event { kind, time, after, held_before })
        };
        let one = |kind, id: Id| tell(kind, id, None).into_iter().collect();
        match entry {
            Entry::Admitted { id, .. } | Entry::Dispatched { id, .. } => one(EventKind::Admitted, *id),
            Entry::Queued { id, .. } => one(EventKind::Queued, *id),
            Entry::Confirmed { id } => one(EventKind::Confirmed, *id),
            Entry::Resized { id, .. } => one(EventKind::Resized, *id),
            Entry::Claimed { victims, .. } | Entry::ClaimExtended { victims, .. } => {
                victims.iter().filter_map(|Victim { lease, .. }| tell(EventKind::Reclaiming, *lease, None)).collect()
            }
            Entry::LetOff { lease } => one(EventKind::LetOff, *lease),
            Entry::Ended { end, .. } => match self {
                Self::Ending(Some(after)) => {
                    vec![Event { kind: kind_of_end(*end), time, after, held_before: None }]
                }
                Self::Ending(None) | Self::Nothing | Self::Renewing { .. } => Vec::new(),
            },
            Entry::Renewed { id, .. } => {
                let Self::Renewing { holder, provisional } = self else { return Vec::new() };
                let confirmed = provisional.then(|| tell(EventKind::Confirmed, *id, None)).flatten();
                let handed_over = tell(EventKind::HandedOver, *id, holder.clone())
                    .filter(|event| event.after.holder() != holder.as_ref());
                confirmed.into_iter().chain(handed_over).collect()
            }
            Entry::Configured(_)
            | Entry::ClaimDropped { .. }
            | Entry::HoldsPassed { .. }
            | Entry::Silenced { .. }
            | Entry::BudgetTurned { .. }
            | Entry::BurstOver { .. }
            | Entry::MemberGone { .. }
            | Entry::Drained { .. }
            | Entry::Hit { .. }
            | Entry::Resumed => Vec::new(),
        }
    }
}

fn kind_of_end(end: End) -> EventKind {
    match end {
        End::Released | End::Cancelled | End::WaitedTooLong | End::Silent => EventKind::Ended,
        End::Revoked => EventKind::Revoked,
        End::Expired | End::Unconfirmed => EventKind::Expired,
    }
}
