//! The `memory` kind: nothing survives the process. For tests, scenarios and simulation, and the reference for what
//! any kind does.
//!
//! Several journals of one cell may be open at once, as several servers would have them: only the epoch and the
//! sequence keep them apart.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{
    Archive, Batch, CellName, Chunks, Epoch, Journal, Opened, Past, Record, Records, Repair, SNAPSHOT_CHUNK_BYTES_MAX,
    Sequence, SnapshotWriter, Store, StoreError,
};

/// Cells in memory, shared by its clones.
#[derive(Clone, Default)]
pub struct MemoryStore {
    cells: Arc<Mutex<HashMap<CellName, Arc<Mutex<Cell>>>>>,
}

#[derive(Default)]
struct Cell {
    /// Deleted records are those up to here.
    pruned: Sequence,
    records: VecDeque<Record>,
    last: Sequence,
    epoch: Epoch,
    snapshots: BTreeMap<Sequence, Vec<Vec<u8>>>,
}

impl Cell {
    fn refuse(&self, epoch: Epoch) -> Result<(), StoreError> {
        if epoch < self.epoch {
            return Err(StoreError::StaleEpoch { given: epoch, current: self.epoch });
        }
        Ok(())
    }
}

impl Store for MemoryStore {
    fn open(&self, cell: &CellName) -> Result<Opened, StoreError> {
        let cell = self.cells.lock().entry(cell.clone()).or_default().clone();
        Ok(Opened { journal: Box::new(MemoryJournal(cell)), repairs: Vec::new() })
    }
}

struct MemoryJournal(Arc<Mutex<Cell>>);

impl Journal for MemoryJournal {
    fn last(&self) -> Sequence {
        self.0.lock().last
    }

    fn epoch(&self) -> Epoch {
        self.0.lock().epoch
    }

    fn lead(&mut self, epoch: Epoch) -> Result<(), StoreError> {
        let mut cell = self.0.lock();
        cell.refuse(epoch)?;
        cell.epoch = epoch;
        Ok(())
    }

    fn append(&mut self, epoch: Epoch, after: Sequence, batch: &Batch) -> Result<Sequence, StoreError> {
        let mut cell = self.0.lock();
        cell.refuse(epoch)?;
        if after != cell.last {
            return Err(StoreError::StaleSequence { after, last: cell.last });
        }
        if !batch.is_empty() {
            cell.epoch = epoch;
        }
        for bytes in batch.iter() {
            let sequence = cell.last.next();
            cell.records.push_back(Record { sequence, epoch, bytes: bytes.to_vec() });
            cell.last = sequence;
        }
        Ok(cell.last)
    }

    fn seal_now(&mut self) -> Result<Sequence, StoreError> {
        Ok(self.last())
    }

    fn reopen(&mut self) -> Result<Vec<Repair>, StoreError> {
        Ok(Vec::new())
    }

    fn archive(&self) -> Arc<dyn Archive> {
        Arc::new(MemoryArchive(self.0.clone()))
    }

    fn close(self: Box<Self>) -> Result<(), StoreError> {
        Ok(())
    }
}

struct MemoryArchive(Arc<Mutex<Cell>>);

impl Past for MemoryArchive {
    fn first(&self) -> Sequence {
        self.0.lock().pruned.next()
    }

    fn last(&self) -> Sequence {
        self.0.lock().last
    }

    fn snapshots(&self) -> Result<Vec<Sequence>, StoreError> {
        Ok(self.0.lock().snapshots.keys().copied().collect())
    }

    fn read_snapshot(&self, at: Sequence) -> Result<Chunks, StoreError> {
        let chunks = self.0.lock().snapshots.get(&at).cloned().ok_or(StoreError::NoSnapshot { at })?;
        Ok(Box::new(chunks.into_iter().map(Ok)))
    }

    fn read_after(&self, after: Sequence) -> Result<Records, StoreError> {
        let first = self.first();
        if after.next() < first {
            return Err(StoreError::Pruned { after, first });
        }
        let (cell, last) = (self.0.clone(), self.last());
        let mut next = after.next();
        Ok(Box::new(std::iter::from_fn(move || {
            let cell = cell.lock();
            if next > last {
                return None;
            }
            let Some(index) = next.0.checked_sub(cell.pruned.next().0) else {
                let (after, first) = (Sequence(next.0 - 1), cell.pruned.next());
                next = last.next();
                return Some(Err(StoreError::Pruned { after, first }));
            };
            next = next.next();
            cell.records.get(index as usize).cloned().map(Ok)
        })))
    }
}

impl Archive for MemoryArchive {
    fn write_snapshot(&self, at: Sequence) -> Result<Box<dyn SnapshotWriter>, StoreError> {
        let cell = self.0.lock();
        let newest = cell.snapshots.last_key_value().map(|(at, _)| *at).unwrap_or_default();
        if at <= newest || at > cell.last {
            return Err(StoreError::SnapshotOutOfPlace { at, newest, last: cell.last });
        }
        Ok(Box::new(MemorySnapshot { cell: self.0.clone(), at, chunks: Vec::new() }))
    }

    fn prune(&self) -> Result<(), StoreError> {
        let mut cell = self.0.lock();
        let Some(kept) = cell.snapshots.keys().nth_back(1).copied() else {
            return Ok(());
        };
        cell.snapshots = cell.snapshots.split_off(&kept);
        while cell.records.front().is_some_and(|record| record.sequence <= kept) {
            cell.records.pop_front();
        }
        cell.pruned = cell.pruned.max(kept);
        Ok(())
    }
}

struct MemorySnapshot {
    cell: Arc<Mutex<Cell>>,
    at: Sequence,
    chunks: Vec<Vec<u8>>,
}

impl SnapshotWriter for MemorySnapshot {
    fn write(&mut self, chunk: &[u8]) -> Result<(), StoreError> {
        if chunk.len() > SNAPSHOT_CHUNK_BYTES_MAX {
            return Err(StoreError::ChunkTooLarge { bytes: chunk.len() });
        }
        if !chunk.is_empty() {
            self.chunks.push(chunk.to_vec());
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), StoreError> {
        self.cell.lock().snapshots.insert(self.at, self.chunks);
        Ok(())
    }
}
