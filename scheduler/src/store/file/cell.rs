//! An open cell, as readers and the folder see it beside the journal.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;

use super::directory::Directory;
use super::disk;
use super::format::{FileHeader, FileKind, JournalId};
use super::lock::Lock;
use super::mark::Point;
use super::records::FileRecords;
use super::snapshot::{self, FileChunks, FileSnapshotWriter};
use crate::store::{Archive, CellName, Chunks, Holder, Past, Records, Sequence, SnapshotWriter, StoreError};

/// What the journal tells its readers. Locked for moments only, never across a system call.
#[derive(Clone)]
pub(super) struct SharedJournal(Arc<Mutex<Extent>>);

/// What of the journal is there and durable.
#[derive(Clone)]
pub(super) struct Extent {
    /// The first sequences of the segments, in order; never empty.
    pub(super) segments: Vec<Sequence>,
    /// In the last of them.
    pub(super) end: Point,
}

impl Extent {
    pub(super) fn first(&self) -> Sequence {
        self.segments.first().copied().unwrap_or_default()
    }
}

impl SharedJournal {
    pub(super) fn new(extent: Extent) -> Self {
        Self(Arc::new(Mutex::new(extent)))
    }

    pub(super) fn read(&self) -> Extent {
        self.0.lock().clone()
    }

    pub(super) fn replace(&self, extent: Extent) {
        *self.0.lock() = extent;
    }

    /// Moves the end, in the last segment or into a new one.
    pub(super) fn advance(&self, end: Point) {
        let mut extent = self.0.lock();
        if extent.end.segment != end.segment {
            extent.segments.push(end.segment);
        }
        extent.end = end;
    }

    fn end(&self) -> Point {
        self.0.lock().end
    }

    /// Takes away the segments that lie wholly before `base`, and returns them, oldest first.
    fn take_before(&self, base: Sequence) -> Vec<Sequence> {
        let segments = &mut self.0.lock().segments;
        let kept = segments.partition_point(|first| *first <= base.next()).saturating_sub(1);
        segments.drain(..kept).collect()
    }
}

/// An open cell. The store's lock and the cell's place among the open ones are held as long as it lives.
pub(super) struct Cell {
    pub(super) directory: Directory,
    pub(super) id: JournalId,
    pub(super) journal: SharedJournal,
    pub(super) _lock: Option<Arc<Lock>>,
    pub(super) _place: Option<Place>,
}

impl Cell {
    pub(super) fn header(&self, kind: FileKind, end: Point, sequence: Sequence) -> FileHeader {
        let chain = match kind {
            FileKind::Segment => end.position.chain,
            FileKind::Snapshot => 0,
        };
        let (id, cell, epoch) = (self.id, self.directory.cell().clone(), end.position.epoch);
        FileHeader { kind, id, sequence, epoch, chain, cell }
    }
}

impl Past for Cell {
    fn first(&self) -> Sequence {
        self.journal.read().first()
    }

    fn last(&self) -> Sequence {
        self.journal.end().position.last
    }

    fn snapshots(&self) -> Result<Vec<Sequence>, StoreError> {
        self.directory.list_snapshots()
    }

    fn read_snapshot(&self, at: Sequence) -> Result<Chunks, StoreError> {
        let snapshots = self.snapshots()?;
        if !snapshots.contains(&at) {
            return Err(StoreError::NoSnapshot { at });
        }
        let fallback = snapshot::fallback(at, &snapshots, &self.journal.read().segments);
        Ok(Box::new(FileChunks::open(self.directory.snapshot(at), fallback)?))
    }

    fn read_after(&self, after: Sequence) -> Result<Records, StoreError> {
        Ok(Box::new(FileRecords::new(self.directory.clone(), self.journal.clone(), after)?))
    }
}

impl Archive for Cell {
    fn write_snapshot(&self, at: Sequence) -> Result<Box<dyn SnapshotWriter>, StoreError> {
        let end = self.journal.end();
        let newest = self.snapshots()?.last().copied().unwrap_or_default();
        if at <= newest || at > end.position.last {
            return Err(StoreError::SnapshotOutOfPlace { at, newest, last: end.position.last });
        }
        let header = self.header(FileKind::Snapshot, end, at);
        Ok(Box::new(FileSnapshotWriter::create(self.directory.snapshot(at), &header)?))
    }

    fn prune(&self) -> Result<(), StoreError> {
        let snapshots = self.snapshots()?;
        let Some(kept) = snapshots.len().checked_sub(2) else {
            return Ok(());
        };
        // Oldest first, so that an interruption leaves no gap that matters.
        for &at in &snapshots[..kept] {
            disk::remove(&self.directory.snapshot(at))?;
        }
        disk::sync_directory(&self.directory.snapshots())?;
        for first in self.journal.take_before(snapshots[kept]) {
            disk::remove(&self.directory.segment(first))?;
        }
        disk::sync_directory(&self.directory.journal())
    }
}

/// The cells of a store that are open in this process.
pub(super) type OpenCells = Arc<Mutex<HashSet<CellName>>>;

/// A cell's place among them.
pub(super) struct Place {
    cells: OpenCells,
    cell: CellName,
}

impl Place {
    pub(super) fn take(cells: &OpenCells, directory: &Directory) -> Result<Self, StoreError> {
        let cell = directory.cell().clone();
        if cells.lock().insert(cell.clone()) {
            Ok(Self { cells: cells.clone(), cell })
        } else {
            Err(StoreError::InUse { path: directory.path().to_owned(), holder: Holder::ThisProcess })
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.cells.lock().remove(&self.cell);
    }
}
