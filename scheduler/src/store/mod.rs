//! Where a cell's journal and snapshots are kept: bytes, in order, durable when it says so.
//!
//! A store knows nothing of ledgers. It keeps two things for each cell: the *journal*, records numbered 1, 2, 3, …
//! without a gap, and *snapshots*, each a blob that stands for all records up to its sequence. Three rules hold for
//! every kind:
//!
//! 1. What [`Journal::append`] has returned for is durable (as far as the kind can: `memory` promises nothing), and a
//!    batch is there wholly or not at all.
//! 2. An append names the leader's epoch and the sequence it follows. An older epoch, or another sequence, is refused
//!    together with the append, atomically: so a leader that was replaced can add nothing.
//! 3. What was acknowledged is read back as it was written, or the reading fails and says where.
//!
//! Everything here blocks. The engine's committer thread owns the [`Journal`]; the folder and other readers hold its
//! [`Archive`], which works beside it.
//!
//! ```
//! use headgate_scheduler::store::{Batch, CellName, MemoryStore, Store};
//!
//! let store = MemoryStore::default();
//! let mut journal = store.open(&CellName::parse("main")?)?.journal;
//! let archive = journal.archive();
//!
//! // Recovery: the newest snapshot, then the records after it.
//! let snapshot = archive.snapshots()?.last().copied();
//! for record in archive.read_after(snapshot.unwrap_or_default())? {
//!     println!("{}", record?.sequence);
//! }
//!
//! // Serving: claim the cell, then append batch after batch.
//! let epoch = journal.epoch().next();
//! journal.lead(epoch)?;
//! let mut batch = Batch::default();
//! batch.push(b"an entry")?;
//! let last = journal.append(epoch, journal.last(), &batch)?;
//! # assert_eq!(last, journal.last());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod batch;
mod error;
mod file;
mod memory;
#[cfg(test)]
mod tests;
mod words;

use std::sync::Arc;

pub use batch::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Batch, PushError, RECORD_BYTES_MAX};
pub use error::{Corruption, Holder, Operation, Repair, StoreError};
pub use file::{FileOptions, FileStore, ReadOnlyFileStore};
pub use memory::MemoryStore;
pub use words::{CellName, CellNameError, Epoch, Record, Sequence};

/// Largest chunk of a snapshot, in bytes. A reader holds one in memory, and Redis takes a value of this size in one
/// command without stalling its other clients for long.
pub const SNAPSHOT_CHUNK_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A snapshot's chunks as they were written, in order. The snapshot is whole only when the iterator has ended without
/// an error, so nothing may be served from it before.
pub type Chunks = Box<dyn Iterator<Item = Result<Vec<u8>, StoreError>> + Send>;

/// Records in order, without a gap. Ends after an error.
pub type Records = Box<dyn Iterator<Item = Result<Record, StoreError>> + Send>;

/// Where cells are kept.
pub trait Store: Send + Sync {
    /// Opens a cell for appending, making it where there is none.
    ///
    /// This checks the journal's end and repairs what an interrupted append has left there. What lies before is
    /// checked as it is read, which recovery must do before the first append.
    fn open(&self, cell: &CellName) -> Result<Opened, StoreError>;
}

/// A cell, opened.
pub struct Opened {
    /// The writer's end of it.
    pub journal: Box<dyn Journal>,
    /// What was put right on the way, to be logged.
    pub repairs: Vec<Repair>,
}

/// The writer's end of one cell's journal. Dropping it without [`Journal::close`] is what a killed process does.
pub trait Journal: Send {
    /// The last durable record; 0 where there is none.
    fn last(&self) -> Sequence;

    /// The highest epoch that has led this cell; 0 where none has.
    fn epoch(&self) -> Epoch;

    /// Claims the cell: from here on an older epoch is refused. Durable when it returns.
    fn lead(&mut self, epoch: Epoch) -> Result<(), StoreError>;

    /// Appends a batch whose first record gets the sequence after `after`; returns the last record's. Durable when it
    /// returns.
    ///
    /// After [`StoreError::Poisoned`] the batch may or may not have become durable: [`Journal::reopen`] finds out.
    /// After any other error nothing of it is there, and the append may be tried again.
    fn append(&mut self, epoch: Epoch, after: Sequence, batch: &Batch) -> Result<Sequence, StoreError>;

    /// Ends the present segment, if it holds records, and returns the last sequence, so that a snapshot made there
    /// can set free all that lies before it.
    fn seal_now(&mut self) -> Result<Sequence, StoreError>;

    /// Checks the journal's end anew and repairs it. Afterwards [`Journal::last`] is what is durable.
    fn reopen(&mut self) -> Result<Vec<Repair>, StoreError>;

    /// The readers' end.
    fn archive(&self) -> Arc<dyn Archive>;

    /// Ends it in good order.
    fn close(self: Box<Self>) -> Result<(), StoreError>;
}

/// What a cell has kept, to be read.
pub trait Past: Send + Sync {
    /// The first record that is still there (or will be, in an empty journal).
    fn first(&self) -> Sequence;

    /// The last durable record.
    fn last(&self) -> Sequence;

    /// The sequences that snapshots stand at, oldest first.
    fn snapshots(&self) -> Result<Vec<Sequence>, StoreError>;

    /// The snapshot that stands at `at`.
    fn read_snapshot(&self, at: Sequence) -> Result<Chunks, StoreError>;

    /// The records after `after`, up to what is durable now. Appends may go on meanwhile.
    fn read_after(&self, after: Sequence) -> Result<Records, StoreError>;
}

/// What a cell has kept, with the means to fold it. Works beside the [`Journal`], from other threads.
pub trait Archive: Past {
    /// Begins a snapshot that stands for all records up to `at`: durable already, and later than every other
    /// snapshot.
    fn write_snapshot(&self, at: Sequence) -> Result<Box<dyn SnapshotWriter>, StoreError>;

    /// Deletes what nothing needs: all snapshots but the newest two, and the records that the older of these stands
    /// for. With one snapshot alone no record is deleted: the generation before it is the whole journal.
    fn prune(&self) -> Result<(), StoreError>;
}

/// A snapshot being written. Dropped unfinished, it leaves nothing behind.
pub trait SnapshotWriter: Send {
    /// Adds a chunk of up to [`SNAPSHOT_CHUNK_BYTES_MAX`]. An empty one is left out.
    fn write(&mut self, chunk: &[u8]) -> Result<(), StoreError>;

    /// Makes the snapshot durable, and only then visible.
    fn finish(self: Box<Self>) -> Result<(), StoreError>;
}
