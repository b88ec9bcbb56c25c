//! Recovery: the last snapshot, the records after it posted, and every digest on the way compared.
//!
//! The same steps are taken when a cell is opened, when a snapshot is made, and when a store is verified: recovery is
//! exercised all day.

use headgate_ledger::{Ledger, Name, Time};

use super::events::{self, Happened};
use crate::persist::{Record, RecordError, RecordReader, SnapshotReader, What};
use crate::store::{Past, Sequence, StoreError};

/// Why a ledger could not be had from its store.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record was not understood.
    #[error("record {sequence}: {error}")]
    Record {
        /// Its number.
        sequence: u64,
        /// What is wrong in it.
        error: RecordError,
    },
    /// No snapshot could be read, and the records before the oldest are gone.
    #[error("no snapshot can be read: {0}")]
    NoSnapshot(String),
    /// What was replayed is not what was there.
    #[error(
        "replayed up to record {sequence}, the ledger's digest is {found:016x}, and it was {expected:016x}: the records are not \
         what was posted, or they were posted by rules that differ; use the version that wrote them"
    )]
    Digest {
        /// Up to which record.
        sequence: u64,
        /// As written down.
        expected: u64,
        /// As replayed.
        found: u64,
    },
}

/// A ledger as it was recovered.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) ledger: Ledger,
    /// The number of the last record.
    pub(super) sequence: u64,
    /// The time of that record.
    pub(super) time: Time,
    pub(super) replay: Replay,
}

/// What was read to recover a ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replay {
    /// Where the snapshot stands that was begun with; none: with the first record.
    pub snapshot: Option<u64>,
    /// Snapshots that could not be read, and why.
    pub unreadable: Vec<String>,
    /// Its bytes.
    pub snapshot_bytes: u64,
    /// Records that were read after it.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Digests that were compared.
    pub digests: u64,
}

/// Who is told what happened on the way, where somebody is.
pub(super) type Told<'a> = Option<&'a mut dyn FnMut(Happened)>;

/// Recovers a ledger up to `until`, or as far as there are records.
pub(super) fn recover(past: &dyn Past, cell: &Name, until: Option<u64>) -> Result<Recovered, RecoveryError> {
    let mut recovered = newest_snapshot(past, cell, until)?;
    replay(&mut recovered, past, until, None)?;
    Ok(recovered)
}

/// Where recovery begins.
pub(super) fn newest(past: &dyn Past, cell: &Name) -> Result<Recovered, RecoveryError> {
    newest_snapshot(past, cell, None)
}

/// Goes on from there as far as there are records.
pub(super) fn go_on(mut recovered: Recovered, past: &dyn Past, told: Told<'_>) -> Result<Recovered, RecoveryError> {
    replay(&mut recovered, past, None, told)?;
    Ok(recovered)
}

/// The newest snapshot that can be read and stands no later than `until`; an empty ledger where there is none.
fn newest_snapshot(past: &dyn Past, cell: &Name, until: Option<u64>) -> Result<Recovered, RecoveryError> {
    let mut unreadable = Vec::new();
    let snapshots = past.snapshots()?;
    for at in snapshots.iter().rev().filter(|at| until.is_none_or(|until| at.0 <= until)) {
        match read_snapshot(past, cell, *at) {
            Ok(mut recovered) => {
                recovered.replay.unreadable = unreadable;
                return Ok(recovered);
            }
            Err(error) => unreadable.push(format!("snapshot {at}: {error}")),
        }
    }
    if past.first().0 > 1 {
        return Err(RecoveryError::NoSnapshot(unreadable.join("; ")));
    }
    let replay = Replay { unreadable, ..Replay::default() };
    Ok(Recovered { ledger: Ledger::new(), sequence: 0, time: Time::EPOCH, replay })
}

/// The ledger of one snapshot.
pub(super) fn read_snapshot(past: &dyn Past, cell: &Name, at: Sequence) -> Result<Recovered, RecoveryError> {
    let wrong = |error| RecoveryError::Record { sequence: at.0, error };
    let (mut reader, mut snapshot_bytes) = (SnapshotReader::default(), 0);
    for part in past.read_snapshot(at)? {
        let part = part?;
        reader.take(&part).map_err(wrong)?;
        snapshot_bytes += part.len() as u64;
    }
    let (header, snapshot) = reader.finish().map_err(wrong)?;
    if header.cell != *cell || header.sequence != at.0 {
        return Err(RecoveryError::NoSnapshot(format!("it is one of cell {} at {}", header.cell, header.sequence)));
    }
    let ledger = Ledger::restore(snapshot);
    compare(at.0, header.digest, ledger.digest())?;
    let replay = Replay { snapshot: Some(at.0), snapshot_bytes, digests: 1, ..Replay::default() };
    Ok(Recovered { ledger, sequence: at.0, time: header.time, replay })
}

/// Posts the records that follow.
pub(super) fn replay(
    recovered: &mut Recovered,
    past: &dyn Past,
    until: Option<u64>,
    mut told: Told<'_>,
) -> Result<(), RecoveryError> {
    // A digest at a point that was marked comes later; the first point is marked by itself.
    let mut marked = recovered.replay.snapshot.map(|at| (at, recovered.ledger.digest()));
    let mut reader = RecordReader::default();
    for record in past.read_after(Sequence(recovered.sequence))? {
        let record = record?;
        let sequence = record.sequence.0;
        if until.is_some_and(|until| sequence > until) {
            break;
        }
        let Record { time, origin: _, what } =
            reader.read(&record.bytes).map_err(|error| RecoveryError::Record { sequence, error })?;
        match what {
            What::Entry(entry) => match &mut told {
                Some(tell) => {
                    let events = events::post(&mut recovered.ledger, time, &entry);
                    if !events.is_empty() {
                        tell(Happened { sequence, events });
                    }
                }
                None => recovered.ledger.post(time, &entry),
            },
            What::Digest { sequence: at, value: None } => marked = Some((at, recovered.ledger.digest())),
            What::Digest { sequence: at, value: Some(expected) } => {
                let found = match marked {
                    Some((point, digest)) if point == at => Some(digest),
                    Some(_) | None if at == recovered.sequence => Some(recovered.ledger.digest()),
                    Some(_) | None => None,
                };
                if let Some(found) = found {
                    compare(at, expected, found)?;
                    recovered.replay.digests += 1;
                }
            }
        }
        (recovered.sequence, recovered.time) = (sequence, time);
        recovered.replay.records += 1;
        recovered.replay.bytes += record.bytes.len() as u64;
    }
    Ok(())
}

fn compare(sequence: u64, expected: u64, found: u64) -> Result<(), RecoveryError> {
    if expected == found { Ok(()) } else { Err(RecoveryError::Digest { sequence, expected, found }) }
}
