//! The ledger: what it is asked and what is posted to it.

use std::sync::Arc;
use std::time::Duration;

use crate::amount::Amounts;
use crate::config::{Calendar, Change, Class, Pool, Settings, Tenant};
use crate::decision::{Amendment, Configured, Decision, Explanation, Problem, Refusal, Standing, Violation};
use crate::entry::Entry;
use crate::name::{Holder, TenantPath};
use crate::request::{Ended, Id, Lease, Request, State, Ticket};
use crate::time::Time;

/// How a holder gives something up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Close {
    /// Its work is done.
    Release,
    /// It does not want it any more.
    Cancel,
}

/// One cell: its pools, tenants and budgets, the leases and the tickets.
#[derive(Clone, Debug, Default)]
pub struct Ledger {}

#[allow(unused_variables, clippy::todo)]
impl Ledger {
    /// An empty ledger.
    pub fn new() -> Self {
        todo!()
    }

    // Questions.

    /// Asks for a change of configuration: all of it or nothing.
    pub fn configure(&self, now: Time, changes: Vec<Change>) -> Result<Configured, Vec<Problem>> {
        todo!()
    }

    /// Asks whether a request may start. The same request again is answered by where it stands.
    pub fn admit(&self, now: Time, request: &Arc<Request>) -> Result<Decision, Refusal> {
        todo!()
    }

    /// Asks for the confirmation of a lease; nothing to post where it was confirmed before.
    pub fn confirm(&self, now: Time, id: Id) -> Result<Option<Entry>, Refusal> {
        todo!()
    }

    /// Asks for the renewal of a lease or ticket, by its holder or by another who takes it over.
    pub fn renew(&self, now: Time, id: Id, holder: Option<&Holder>) -> Result<Option<Entry>, Refusal> {
        todo!()
    }

    /// Asks for the end of a lease or a ticket; nothing to post where it has ended.
    pub fn close(&self, now: Time, id: Id, how: Close) -> Result<Option<Entry>, Refusal> {
        todo!()
    }

    /// Asks for another size of a lease, per instance; a resource not named stays as it is.
    pub fn amend(&self, now: Time, id: Id, resources: &Amounts) -> Result<Amendment, Refusal> {
        todo!()
    }

    /// What follows from time and state alone, one entry at a time; to be posted, and asked again.
    pub fn due(&self, now: Time, calendar: &dyn Calendar) -> Option<Entry> {
        todo!()
    }

    /// The first instant after `now` at which something may be due.
    pub fn next_due(&self, now: Time) -> Option<Time> {
        todo!()
    }

    // The change.

    /// Applies an entry. It must be one that a question answered with, in the state that the question was asked in.
    pub fn post(&mut self, now: Time, entry: &Entry) {
        todo!()
    }

    // Views.

    /// A lease.
    pub fn lease(&self, id: Id) -> Option<&Lease> {
        todo!()
    }

    /// A ticket that waits.
    pub fn ticket(&self, id: Id) -> Option<&Ticket> {
        todo!()
    }

    /// A request that is gone and still known.
    pub fn ended(&self, id: Id) -> Option<&Ended> {
        todo!()
    }

    /// Where a lease or ticket stands; none where it is not known (any more).
    pub fn state(&self, id: Id) -> Option<State> {
        todo!()
    }

    /// The lease or ticket of a request, by the caller's id for it.
    pub fn find(&self, tenant: &TenantPath, request_id: &str) -> Option<Id> {
        todo!()
    }

    /// Leases and tickets of a holder, by number.
    pub fn held_by(&self, holder: &str) -> impl Iterator<Item = Id> + '_ {
        std::iter::empty()
    }

    /// Every lease, by number.
    pub fn leases(&self) -> impl Iterator<Item = &Lease> + '_ {
        std::iter::empty()
    }

    /// Every ticket, by number.
    pub fn tickets(&self) -> impl Iterator<Item = &Ticket> + '_ {
        std::iter::empty()
    }

    /// Tickets of a pool in the order in which they would be dispatched as things stand.
    pub fn queue(&self, now: Time, pool: &str) -> Vec<Id> {
        todo!()
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        todo!()
    }

    /// Every pool, by name.
    pub fn pools(&self) -> impl Iterator<Item = &Pool> + '_ {
        std::iter::empty()
    }

    /// A pool.
    pub fn pool(&self, name: &str) -> Option<&Pool> {
        todo!()
    }

    /// Every class, by name.
    pub fn classes(&self) -> impl Iterator<Item = &Class> + '_ {
        std::iter::empty()
    }

    /// Every tenant, by path; those made on first use too.
    pub fn tenants(&self) -> impl Iterator<Item = &Tenant> + '_ {
        std::iter::empty()
    }

    /// A tenant.
    pub fn tenant(&self, path: &str) -> Option<&Tenant> {
        todo!()
    }

    /// When a pool or tenant was last changed: the number of the posting that did it, which grows.
    pub fn revision(&self, object: Object<'_>) -> Option<u64> {
        todo!()
    }

    /// A node of a pool's tree as things stand; the root's path is empty.
    pub fn standing(&self, now: Time, pool: &str, tenant: &str) -> Option<Standing> {
        todo!()
    }

    /// What of a budget is used, and of how much.
    pub fn budget(&self, tenant: &str, budget: &str) -> Option<BudgetStanding> {
        todo!()
    }

    /// A ticket's place in its pool by dispatch order, counted from 1.
    pub fn position(&self, now: Time, id: Id) -> Option<u64> {
        todo!()
    }

    /// How long a ticket will probably wait, where that can be told.
    pub fn expected_wait(&self, now: Time, id: Id) -> Option<Duration> {
        todo!()
    }

    /// Why a request would be decided as it would be now.
    pub fn explain(&self, now: Time, request: &Arc<Request>) -> Result<Explanation, Refusal> {
        todo!()
    }

    /// Checks the invariants that can be checked of a state: `conservation` and `work-conserving`, and
    /// `no-over-admission` of what was just admitted.
    pub fn audit(&self, now: Time, admitted: &[Id]) -> Vec<Violation> {
        todo!()
    }

    /// A number that is the same for the same state, on every machine.
    pub fn digest(&self) -> u64 {
        todo!()
    }
}

/// An object of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object<'a> {
    /// A pool, by name.
    Pool(&'a str),
    /// A class, by name.
    Class(&'a str),
    /// A tenant, by path.
    Tenant(&'a str),
}

/// What of a budget is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetStanding {
    /// Charged in the running period.
    pub used: u64,
    /// The amount per period.
    pub amount: u64,
    /// When the period started.
    pub started: Time,
    /// When it ends.
    pub ends: Time,
}
