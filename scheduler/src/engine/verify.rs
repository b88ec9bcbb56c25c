//! Verification: a store is loaded as recovery would load it, and everything about it is checked.

use headgate_ledger::{Calendar, Ledger, Name, Time, Violation};

use super::recover::{self, Recovered, RecoveryError, Replay};
use crate::store::{Past, Sequence};

/// What was found in one cell of a store.
#[derive(Debug)]
pub struct Report {
    /// Which cell.
    pub cell: Name,
    /// The number of the last record.
    pub sequence: u64,
    /// What was read.
    pub replay: Replay,
    /// Snapshots that what lies before them was replayed up to.
    pub snapshots_compared: u64,
    /// Leases there are.
    pub leases: usize,
    /// Tickets there are.
    pub tickets: usize,
    /// Invariants that do not hold.
    pub violations: Vec<Violation>,
}

impl Report {
    /// Whether all is as it must be.
    pub fn is_sound(&self) -> bool {
        self.violations.is_empty() && self.replay.unreadable.is_empty()
    }
}

/// Loads a cell, rebuilds every counter and checks every invariant. Every snapshot is compared with what the records
/// before it come to, as far as these are still there.
pub fn verify(past: &dyn Past, cell: &Name, calendar: &dyn Calendar) -> Result<Report, RecoveryError> {
    let recovered = recover::recover(past, cell, None)?;
    let snapshots_compared = compare_snapshots(past, cell)?;
    let Recovered { mut ledger, sequence, time, replay } = recovered;
    // The last of what was due at the end may not have been written.
    while let Some(entry) = ledger.due(time, calendar) {
        ledger.post(time, &entry);
    }
    Ok(Report {
        cell: cell.clone(),
        sequence,
        replay,
        snapshots_compared,
        leases: ledger.leases().count(),
        tickets: ledger.tickets().count(),
        violations: ledger.audit(time, &[]),
    })
}

fn compare_snapshots(past: &dyn Past, cell: &Name) -> Result<u64, RecoveryError> {
    let mut compared = 0;
    let mut before = (past.first() == Sequence(1)).then(|| Recovered {
        ledger: Ledger::new(),
        sequence: 0,
        time: Time::EPOCH,
        replay: Replay::default(),
    });
    for at in past.snapshots()? {
        let snapshot = recover::read_snapshot(past, cell, at)?;
        if let Some(mut before) = before.take() {
            recover::replay(&mut before, past, Some(at.0), None)?;
            let (expected, found) = (snapshot.ledger.digest(), before.ledger.digest());
            if expected != found {
                return Err(RecoveryError::Digest { sequence: at.0, expected, found });
            }
            compared += 1;
        }
        before = Some(snapshot);
    }
    Ok(compared)
}
