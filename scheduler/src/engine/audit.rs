//! The audit: the running server looks at its own ledgers, and says so where what must always hold does not.
//!
//! Two are looked at, by the ledger's own functions, and both off the serving path: the one that every snapshot is made of,
//! and from time to time the one that is served. The first was replayed, and tells of the journal and the rules; its
//! counters are younger than the serving ones. So the second is looked at too, as readers see it: it has posted what the
//! writer posted, one by one, since the start.
//!
//! A broken invariant is loud, but stops nothing: most of what is decided is sound still, and a restart, which derives
//! every counter anew, is for people to choose.

use headgate_ledger::{Ledger, Name, Time, Violation};

use super::cell::Cell;

/// What is said of one audit: one fault often breaks an invariant in many places.
const SAID_MAX: usize = 10;

/// Tickets that are looked at in one reading: each is asked as when it is dispatched, which takes microseconds.
const TICKETS_AT_ONCE: usize = 64;

/// Looks at what readers see, in many readings, as the publisher waits for whoever reads: the counters of a pool in a long
/// one, for they must be of one moment, and then tickets, some at a time. Nothing is copied. What is broken stays so, and
/// is found in whichever reading it falls.
pub(super) fn of_published(cell: &Cell) -> Vec<Violation> {
    let pools: Vec<Name> = cell.mirror.read().ledger.pools().map(|pool| pool.name.clone()).collect();
    let mut violations = Vec::new();
    for pool in &pools {
        violations.extend(cell.mirror.read_long().ledger.audit_pool(pool.as_str()));
    }
    let tickets = cell.mirror.read_long().ledger.ticket_ids();
    for some in tickets.chunks(TICKETS_AT_ONCE) {
        let shown = cell.mirror.read();
        violations.extend(shown.ledger.audit_tickets(shown.time, some));
    }
    tell(cell, "what is served", &violations);
    violations
}

/// Looks at a ledger to which nothing is due at `time`; what is broken is counted and told.
pub(super) fn of(cell: &Cell, which: &'static str, ledger: &Ledger, time: Time) -> Vec<Violation> {
    let violations = ledger.audit(time, &[]);
    tell(cell, which, &violations);
    violations
}

/// Counts what is broken, and says so.
fn tell(cell: &Cell, which: &'static str, violations: &[Violation]) {
    for violation in violations {
        cell.metrics.violations.count(violation.invariant);
    }
    for Violation { invariant, what } in violations.iter().take(SAID_MAX) {
        tracing::error!(cell = %cell.name, ledger = which, invariant, "an invariant is broken: {what}");
    }
    if violations.len() > SAID_MAX {
        let more = violations.len() - SAID_MAX;
        tracing::error!(cell = %cell.name, ledger = which, more, "and more invariants are broken");
    }
    cell.audits.advance(cell.audits.reached() + 1);
}
