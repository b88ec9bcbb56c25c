//! What readers see: the ledger as it was published last, whole and unchanging while they look.

use std::ops::Deref;

use headgate_ledger::{Holder, Id, Ledger, Name, RequestId, TenantPath, Time};
use headgate_sync::Reading;

use super::cell::{Cell, Shown};
use super::id::LeaseId;
use super::stands::Stands;

/// A cell's ledger as it was published last. It does not change while it is looked at: the publisher waits for its readers.
pub struct View<'a> {
    cell: &'a Name,
    shown: Reading<'a, Shown>,
    now: Time,
}

impl<'a> View<'a> {
    /// For a short look: some microseconds.
    pub(super) fn of(cell: &'a Cell) -> Self {
        Self::new(cell, cell.mirror.read())
    }

    /// For a short look; none where the publisher is at something that takes long.
    pub(super) fn at_once(cell: &'a Cell) -> Option<Self> {
        cell.mirror.try_read().map(|shown| Self::new(cell, shown))
    }

    /// For a look that takes as long as the ledger is large.
    pub(super) fn long(cell: &'a Cell) -> Self {
        Self::new(cell, cell.mirror.read_long())
    }

    fn new(cell: &'a Cell, shown: Reading<'a, Shown>) -> Self {
        let now = shown.time.max(cell.clock.now());
        Self { cell: &cell.name, shown, now }
    }

    /// The look takes longer than was thought.
    pub(super) fn takes_long(&mut self) {
        self.shown.takes_long();
    }

    /// The cell.
    pub fn cell(&self) -> &Name {
        self.cell
    }

    /// The number of the last record that is in it.
    pub fn sequence(&self) -> u64 {
        self.shown.sequence
    }

    /// The time to ask for.
    pub fn now(&self) -> Time {
        self.now
    }

    /// An id as callers know it.
    pub fn id(&self, number: Id) -> LeaseId {
        LeaseId { cell: self.cell.clone(), number }
    }

    /// Where a lease or ticket stands; none where it is not known.
    pub fn stands(&self, number: Id) -> Option<Stands> {
        Stands::of(self, number)
    }

    /// Where a request stands, by the caller's id for it.
    pub fn find_request(&self, tenant: &TenantPath, request: &RequestId) -> Option<Stands> {
        self.stands(self.find(tenant, request.as_str())?)
    }

    /// Where all of a holder's leases and tickets stand, by number.
    pub fn held_by_holder(&self, holder: &Holder) -> Vec<Stands> {
        self.held_by(holder.as_str()).filter_map(|number| self.stands(number)).collect()
    }
}

impl Deref for View<'_> {
    type Target = Ledger;

    fn deref(&self) -> &Ledger {
        &self.shown.ledger
    }
}

impl std::fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("cell", self.cell).field("sequence", &self.shown.sequence).finish_non_exhaustive()
    }
}
