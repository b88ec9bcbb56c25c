//! The operating system's files, with errors that name the file and what was tried. Everything that changes the disk
//! passes here.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::store::{Operation, StoreError};

/// An open file that knows its name.
#[derive(Debug)]
pub(super) struct DiskFile {
    file: File,
    path: PathBuf,
}

impl DiskFile {
    /// Makes a file that must not exist yet.
    pub(super) fn create(path: PathBuf) -> Result<Self, StoreError> {
        change(&Change::Create { path: &path }, || {
            OpenOptions::new().read(true).write(true).create_new(true).open(&path)
        })
        .map_err(|source| failed(Operation::Create, &path, source))
        .map(|file| Self { file, path })
    }

    pub(super) fn open(path: PathBuf, write: bool) -> Result<Self, StoreError> {
        match OpenOptions::new().read(true).write(write).open(&path) {
            Ok(file) => Ok(Self { file, path }),
            Err(source) => Err(failed(Operation::Open, &path, source)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn len(&self) -> Result<u64, StoreError> {
        let metadata = self.file.metadata().map_err(|source| failed(Operation::Read, &self.path, source))?;
        Ok(metadata.len())
    }

    /// Fills `bytes` from `offset` on; fewer bytes there are an error.
    pub(super) fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), StoreError> {
        self.file.read_exact_at(bytes, offset).map_err(|source| failed(Operation::Read, &self.path, source))
    }

    /// Writes all of `bytes` at `offset`. After an error any part of them may be there.
    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let path = &self.path;
        change(&Change::Write { path, offset, bytes, file: &self.file }, || self.file.write_all_at(bytes, offset))
            .map_err(|source| failed(Operation::Write, path, source))
    }

    pub(super) fn set_len(&self, length: u64) -> Result<(), StoreError> {
        let path = &self.path;
        change(&Change::SetLen { path, length }, || self.file.set_len(length))
            .map_err(|source| failed(Operation::Truncate, path, source))
    }

    /// Makes contents durable, and what of the metadata is needed to read them (fdatasync).
    pub(super) fn sync_contents(&self) -> Result<(), StoreError> {
        change(&Change::Sync { path: &self.path }, || self.file.sync_data())
            .map_err(|source| failed(Operation::Sync, &self.path, source))
    }

    /// Makes everything durable, a shorter length too (fsync).
    pub(super) fn sync_all(&self) -> Result<(), StoreError> {
        change(&Change::Sync { path: &self.path }, || self.file.sync_all())
            .map_err(|source| failed(Operation::Sync, &self.path, source))
    }
}

/// Makes a directory where there is none, with those above it, and makes its name durable.
pub(super) fn create_directory(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_directory(parent)?;
    match change(&Change::CreateDirectory { path }, || fs::create_dir(path)) {
        // Somebody else made it just now.
        Err(_) if path.is_dir() => {}
        made => made.map_err(|source| failed(Operation::Create, path, source))?,
    }
    sync_directory(parent)
}

/// Makes names in a directory durable: of files made, renamed and removed.
pub(super) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    change(&Change::SyncDirectory { path }, || File::open(path)?.sync_all())
        .map_err(|source| failed(Operation::Sync, path, source))
}

/// Renames within a directory, over what bears the name already.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    change(&Change::Rename { from, to }, || fs::rename(from, to))
        .map_err(|source| failed(Operation::Rename, from, source))
}

/// Removes a file; that it is gone already is no error.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    match change(&Change::Remove { path }, || fs::remove_file(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(Operation::Remove, path, error)),
        _ => Ok(()),
    }
}

/// The names in a directory, sorted; those that are not UTF-8 are none of ours.
pub(super) fn list(path: &Path) -> Result<Vec<String>, StoreError> {
    let failed = |source| failed(Operation::List, path, source);
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        names.extend(entry.map_err(failed)?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

pub(super) fn failed(operation: Operation, path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { operation, path: path.to_owned(), source }
}

/// A change to the disk, as tests see it before it happens.
#[cfg_attr(not(test), expect(dead_code, reason = "what is in it is for tests to look at"))]
pub(in crate::store) enum Change<'a> {
    Create { path: &'a Path },
    CreateDirectory { path: &'a Path },
    Write { path: &'a Path, offset: u64, bytes: &'a [u8], file: &'a File },
    SetLen { path: &'a Path, length: u64 },
    Sync { path: &'a Path },
    SyncDirectory { path: &'a Path },
    Rename { from: &'a Path, to: &'a Path },
    Remove { path: &'a Path },
}

#[cfg(not(test))]
fn change<T>(_: &Change<'_>, perform: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    perform()
}

#[cfg(test)]
fn change<T>(change: &Change<'_>, perform: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    watch::ask(change)?;
    perform()
}

/// How tests watch a thread's changes to the disk, and make them fail.
#[cfg(test)]
pub(in crate::store) mod watch {
    use std::cell::RefCell;
    use std::io;

    use super::Change;

    type Watcher = Box<dyn FnMut(&Change<'_>) -> io::Result<()>>;

    thread_local! {
        static WATCHER: RefCell<Option<Watcher>> = const { RefCell::new(None) };
    }

    /// From here on `watcher` is asked before each change of this thread, and its error is the change's.
    pub(in crate::store) fn with(watcher: impl FnMut(&Change<'_>) -> io::Result<()> + 'static) {
        WATCHER.with_borrow_mut(|slot| *slot = Some(Box::new(watcher)));
    }

    pub(in crate::store) fn none() {
        WATCHER.with_borrow_mut(|slot| *slot = None);
    }

    pub(super) fn ask(change: &Change<'_>) -> io::Result<()> {
        WATCHER.with_borrow_mut(|slot| slot.as_mut().map_or(Ok(()), |watcher| watcher(change)))
    }
}
