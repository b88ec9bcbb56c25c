//! The `file` kind: a directory of append-only segments and snapshots, for one server.
//!
//! [`format`] describes the files, and what is told apart when they are not as they were written.
//!
//! An append is one write to the last segment and one sync (fdatasync). A write that failed is cut back, and may be
//! tried again; after a failed sync the journal takes nothing more until it is reopened, since what the system then
//! shows in memory need not be on the disk.

mod cell;
mod directory;
pub(in crate::store) mod disk;
mod format;
mod journal;
mod lock;
mod mark;
mod opening;
mod records;
mod segment;
mod snapshot;
mod tail;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cell::{Cell, OpenCells, Place, SharedJournal};
use directory::Directory;
use journal::FileJournal;
use lock::Lock;

use super::{CellName, Opened, Past, Repair, Store, StoreError};

/// How files are laid out. Any store can be opened with any options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileOptions {
    /// A segment is ended before it grows beyond so many bytes; one that would be empty takes a larger batch all the
    /// same. 64 MiB: some 250,000 entries, so that little more is kept than snapshots leave to be kept, and opening,
    /// which reads the last segment, stays well below a tenth of a second.
    pub segment_bytes_max: u64,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self { segment_bytes_max: 64 * 1024 * 1024 }
    }
}

/// A directory with cells in it, locked against other processes as long as this, or a journal or archive out of it,
/// lives.
pub struct FileStore {
    path: PathBuf,
    options: FileOptions,
    lock: Arc<Lock>,
    open: OpenCells,
}

impl FileStore {
    /// Locks the directory, making it where there is none. Refused while another process has it.
    pub fn open(path: &Path, options: FileOptions) -> Result<Self, StoreError> {
        disk::create_directory(path)?;
        let lock = Arc::new(Lock::exclusive(path)?);
        Ok(Self { path: path.to_owned(), options, lock, open: OpenCells::default() })
    }
}

impl Store for FileStore {
    fn open(&self, cell: &CellName) -> Result<Opened, StoreError> {
        let directory = Directory::new(&self.path, cell);
        let place = Place::take(&self.open, &directory)?;
        let cell = |id, journal| Cell {
            directory: directory.clone(),
            id,
            journal,
            _lock: Some(self.lock.clone()),
            _place: Some(place),
        };
        let (journal, repairs) = FileJournal::open(&directory, self.options.segment_bytes_max, cell)?;
        Ok(Opened { journal: Box::new(journal), repairs })
    }
}

/// A store opened to be looked at, as `headgate verify` does. Nothing is changed.
///
/// A store that a server has open is refused: the server deletes what it has folded, and goes on writing where a
/// reader would see an append half done. Several readers may look at once, and no server starts meanwhile, for the
/// same reasons. A server in service audits itself; to look at its store, look at a copy (of a file system's
/// snapshot, say).
pub struct ReadOnlyFileStore {
    path: PathBuf,
    lock: Option<Arc<Lock>>,
}

impl ReadOnlyFileStore {
    /// Locks the directory against servers.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        disk::list(path)?;
        Ok(Self { path: path.to_owned(), lock: Lock::shared(path)?.map(Arc::new) })
    }

    /// The cells in it, by name.
    pub fn cells(&self) -> Result<Vec<CellName>, StoreError> {
        let mut cells = Vec::new();
        for cell in disk::list(&self.path)?.iter().filter_map(|name| CellName::parse(name).ok()) {
            let directory = Directory::new(&self.path, &cell);
            if directory.is_whole() && !directory.is_new()? {
                cells.push(cell);
            }
        }
        Ok(cells)
    }

    /// A cell, and what opening it for service would put right. Its first record is the oldest that is kept, so that
    /// reading all checks every segment.
    pub fn past(&self, cell: &CellName) -> Result<(Arc<dyn Past>, Vec<Repair>), StoreError> {
        let directory = Directory::new(&self.path, cell);
        let found = opening::look(&directory)?;
        let journal = SharedJournal::new(found.extent());
        let cell = Cell { directory, id: found.tail.header.id, journal, _lock: self.lock.clone(), _place: None };
        Ok((Arc::new(cell), found.repairs))
    }
}
