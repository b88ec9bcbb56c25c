//! When the journal is folded.
//!
//! A snapshot is written whole, however little has changed since the last. So the next is due when the journal since then is
//! as long as the last snapshot is, and as long as is set at least: no more is ever written for snapshots than for the
//! journal, and a large ledger is not written anew for every few changes. A start reads the last snapshot and about as much
//! again of the journal; more only as far as the folder is behind, and one that is behind does not give way to others.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the folder tells the committer of its snapshots.
#[derive(Debug)]
pub(super) struct Pace {
    /// No snapshot is due after fewer bytes of the journal.
    after_bytes: u64,
    /// Bytes of the last one.
    last: AtomicU64,
}

impl Pace {
    pub(super) fn new(after_bytes: usize, last: u64) -> Self {
        Self { after_bytes: after_bytes as u64, last: AtomicU64::new(last) }
    }

    /// A snapshot of so many bytes was written.
    pub(super) fn written(&self, bytes: u64) {
        self.last.store(bytes, Ordering::Relaxed);
    }

    /// Whether one is due so many bytes after the last was.
    pub(super) fn is_due(&self, journaled: u64) -> bool {
        journaled >= self.after_bytes.max(self.last.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;

    #[test]
    fn no_more_is_written_for_snapshots_than_for_the_journal() {
        let pace = Pace::new(1000, 0);
        let (mut ledger, mut since, mut journal, mut snapshots) = (0, 0, 0, 0);
        for _ in 0..10_000 {
            // Of ten bytes of the journal seven are in the ledger for good.
            (ledger, since, journal) = (ledger + 7, since + 10, journal + 10);
            assert_eq!(pace.is_due(since), since >= 1000 && since >= pace.last.load(super::Ordering::Relaxed));
            if pace.is_due(since) {
                pace.written(ledger);
                (snapshots, since) = (snapshots + ledger, 0);
            }
            assert!(since <= 1000.max(ledger) + 10 && snapshots <= 2 * journal, "{since} {snapshots} {journal}");
        }
        assert!(snapshots > journal / 4, "{snapshots} of {journal}");
    }
}
