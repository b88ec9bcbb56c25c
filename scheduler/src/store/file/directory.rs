//! The names of a cell's files.

use std::path::{Path, PathBuf};

use super::disk;
use crate::store::{CellName, Repair, Sequence, StoreError};

const SEGMENT: &str = "seg";
const SNAPSHOT: &str = "snap";
const MARK: &str = "DURABLE";
const UNFINISHED: &str = "new";
/// As many digits as the largest sequence has, so that names sort as numbers do.
const DIGITS: usize = 20;

/// A cell's directory.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    path: PathBuf,
    cell: CellName,
}

impl Directory {
    pub(super) fn new(store: &Path, cell: &CellName) -> Self {
        Self { path: store.join(cell.as_str()), cell: cell.clone() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn cell(&self) -> &CellName {
        &self.cell
    }

    pub(super) fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    pub(super) fn snapshots(&self) -> PathBuf {
        self.path.join("snapshots")
    }

    pub(super) fn mark(&self) -> PathBuf {
        self.journal().join(MARK)
    }

    pub(super) fn segment(&self, first: Sequence) -> PathBuf {
        self.journal().join(format!("{first:0DIGITS$}.{SEGMENT}"))
    }

    pub(super) fn snapshot(&self, at: Sequence) -> PathBuf {
        self.snapshots().join(format!("{at:0DIGITS$}.{SNAPSHOT}"))
    }

    /// Makes the directories that are missing.
    pub(super) fn create(&self) -> Result<(), StoreError> {
        disk::create_directory(&self.journal())?;
        disk::create_directory(&self.snapshots())
    }

    /// Whether its directories are there.
    pub(super) fn is_whole(&self) -> bool {
        self.journal().is_dir() && self.snapshots().is_dir()
    }

    /// The first sequences of the segments, in order.
    pub(super) fn list_segments(&self) -> Result<Vec<Sequence>, StoreError> {
        list(&self.journal(), SEGMENT)
    }

    /// The sequences that snapshots stand at, in order.
    pub(super) fn list_snapshots(&self) -> Result<Vec<Sequence>, StoreError> {
        list(&self.snapshots(), SNAPSHOT)
    }

    /// Whether there is nothing yet: neither a journal nor anything that says there was one.
    pub(super) fn is_new(&self) -> Result<bool, StoreError> {
        let marked = disk::list(&self.journal())?.iter().any(|name| name == MARK);
        Ok(!marked && self.list_segments()?.is_empty() && self.list_snapshots()?.is_empty())
    }

    /// The files that were never finished.
    pub(super) fn list_unfinished(&self) -> Result<Vec<Repair>, StoreError> {
        let mut unfinished = Vec::new();
        for directory in [self.journal(), self.snapshots()] {
            let paths = disk::list(&directory)?.into_iter().map(|name| directory.join(name));
            unfinished.extend(
                paths
                    .filter(|path| path.extension().is_some_and(|extension| extension == UNFINISHED))
                    .map(|path| Repair::Unfinished { path }),
            );
        }
        Ok(unfinished)
    }
}

/// What a file is called until it is whole.
pub(super) fn unfinished(path: &Path) -> PathBuf {
    path.with_extension(UNFINISHED)
}

fn list(directory: &Path, extension: &str) -> Result<Vec<Sequence>, StoreError> {
    let names = disk::list(directory)?;
    Ok(names.iter().filter_map(|name| parse(name, extension)).collect())
}

fn parse(name: &str, extension: &str) -> Option<Sequence> {
    let digits = name.strip_suffix(extension)?.strip_suffix('.')?;
    let plain = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten().map(Sequence)
}
