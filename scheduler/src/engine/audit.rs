//! The audit: the running server looks at its own ledgers, and says so where what must always hold does not.
//!
//! Two are looked at, by the ledger's own functions, and both off the serving path: the one that every snapshot is made of,
//! and from time to time the one that is served. The first was replayed, and tells of the journal and the rules; its
//! counters are younger than the serving ones. So the second is looked at too, as readers see it: it has posted what the
//! writer posted, one by one, since the start.
//!
//! A broken invariant is loud, but stops nothing: most of what is decided is sound still, and a restart, which derives
//! every counter anew, is for people to choose.

use headgate_ledger::{Ledger, Time, Violation};

use super::cell::Cell;

/// What is said of one audit: one fault often breaks an invariant in many places.
const SAID_MAX: usize = 10;

/// Looks at what readers see. It is copied first: the publisher waits for whoever reads, and a copy takes less than half as
/// long as an audit, and far less where many wait. The digest of a snapshot keeps it longer.
pub(super) fn of_published(cell: &Cell) -> Vec<Violation> {
    let (ledger, time) = {
        let shown = cell.mirror.read();
        (shown.ledger.clone(), shown.time)
    };
    of(cell, "what is served", &ledger, time)
}

/// Looks at a ledger to which nothing is due at `time`; what is broken is counted and told.
pub(super) fn of(cell: &Cell, which: &'static str, ledger: &Ledger, time: Time) -> Vec<Violation> {
    let violations = ledger.audit(time, &[]);
    for violation in &violations {
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
    violations
}
