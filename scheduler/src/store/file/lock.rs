//! The lock on a store's directory: one server, or any number of readers.
//!
//! It is the kernel's (flock), so it goes with the process however that ends. The process id in it is only for
//! people.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::Path;

use super::disk::failed;
use crate::store::{Holder, Operation, StoreError};

const NAME: &str = "LOCK";

/// Held as long as it lives.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl Lock {
    /// A server's: nobody else may have the store open.
    pub(super) fn exclusive(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join(NAME);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|source| failed(Operation::Open, &path, source))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::InUse { path: directory.to_owned(), holder: holder(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(failed(Operation::Lock, &path, source)),
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(|source| failed(Operation::Write, &path, source))?;
        Ok(Self { file })
    }

    /// A reader's: no server may have the store open, nor be started until it is done. A store that no server has
    /// ever locked, as a copy may be, needs none.
    pub(super) fn shared(directory: &Path) -> Result<Option<Self>, StoreError> {
        let path = directory.join(NAME);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed(Operation::Open, &path, source)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(Self { file })),
            Err(TryLockError::WouldBlock) => {
                Err(StoreError::InUse { path: directory.to_owned(), holder: holder(&mut file) })
            }
            Err(TryLockError::Error(source)) => Err(failed(Operation::Lock, &path, source)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file would do, but for a child process that has a copy of it until it has started its program.
        let _ = self.file.unlock();
    }
}

/// Who holds a lock that could not be had. Readers write nothing into it, so what stands there is a server's only
/// when nobody else may read.
fn holder(file: &mut File) -> Holder {
    if file.try_lock_shared().is_ok() {
        return Holder::Reader;
    }
    let mut text = String::new();
    match file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok()) {
        Some(pid) => Holder::Process { pid },
        None => Holder::UnknownProcess,
    }
}
