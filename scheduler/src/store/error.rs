//! What can go wrong in a store, and what was put right.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::{SNAPSHOT_CHUNK_BYTES_MAX, Sequence, words::Epoch};

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused. Nothing has changed; trying again may help.
    #[error("cannot {operation} {}: {source}{}", path.display(), advice(source))]
    Io {
        /// What was tried.
        operation: Operation,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else leads the cell by now.
    #[error("epoch {given} no longer leads: the journal is in epoch {current}")]
    StaleEpoch {
        /// The caller's.
        given: Epoch,
        /// The journal's.
        current: Epoch,
    },
    /// The append does not follow the journal's last record.
    #[error("cannot append after sequence {after}: the journal ends at sequence {last}")]
    StaleSequence {
        /// What the caller took for the last.
        after: Sequence,
        /// What is the last.
        last: Sequence,
    },
    /// An append failed in such a way that nobody can tell what of it is durable; nothing more is taken until the
    /// journal has been reopened.
    #[error("the journal takes nothing more until it is reopened: {cause}; all up to sequence {durable} is durable")]
    Poisoned {
        /// What is certainly durable.
        durable: Sequence,
        /// What had failed.
        cause: String,
    },
    /// Somebody else has it open.
    #[error("{} is in use by {holder}", path.display())]
    InUse {
        /// The store's directory, or the cell's.
        path: PathBuf,
        /// By whom.
        holder: Holder,
    },
    /// It was written by another version of this program.
    #[error(
        "{} has format version {found} (byte {offset}), and this program knows versions up to {known}; \
         use the version that wrote it",
        path.display()
    )]
    UnknownVersion {
        /// The file.
        path: PathBuf,
        /// Where in it the version stands.
        offset: u64,
        /// The version there.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// What was written is not what is there.
    #[error(transparent)]
    Corrupt(Box<Corruption>),
    /// Records that have been folded into a snapshot and deleted.
    #[error("records after sequence {after} were asked for, but those before sequence {first} have been deleted")]
    Pruned {
        /// After which was asked.
        after: Sequence,
        /// The first that is still there.
        first: Sequence,
    },
    /// A snapshot that would not be a step forward.
    #[error("no snapshot can stand at sequence {at}: the newest stands at {newest}, and the journal ends at {last}")]
    SnapshotOutOfPlace {
        /// Where it was to stand.
        at: Sequence,
        /// Where the newest stands.
        newest: Sequence,
        /// The last durable record.
        last: Sequence,
    },
    /// A snapshot that is not there.
    #[error("there is no snapshot at sequence {at}")]
    NoSnapshot {
        /// Where it was to stand.
        at: Sequence,
    },
    /// A chunk beyond the limit.
    #[error("a snapshot's chunk of {bytes} bytes is too large; the largest has {SNAPSHOT_CHUNK_BYTES_MAX}")]
    ChunkTooLarge {
        /// Its size.
        bytes: usize,
    },
}

impl From<Corruption> for StoreError {
    fn from(corruption: Corruption) -> Self {
        Self::Corrupt(Box::new(corruption))
    }
}

/// Damage that no interrupted write explains, or that touches what was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is damaged at byte {offset}{}: expected {expected}, found {found}; {help}",
    path.display(),
    sequence.map(|s| format!(", sequence {s}")).unwrap_or_default()
)]
pub struct Corruption {
    /// The file.
    pub path: PathBuf,
    /// The first byte of what is wrong in it.
    pub offset: u64,
    /// The record that stands, or should stand, there.
    pub sequence: Option<Sequence>,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub found: String,
    /// What an operator can do.
    pub help: String,
}

/// What was asked of the operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Make a file or directory.
    Create,
    /// Open a file.
    Open,
    /// Lock a file.
    Lock,
    /// List a directory.
    List,
    /// Read from a file.
    Read,
    /// Write to a file.
    Write,
    /// Make a file or directory durable.
    Sync,
    /// Set a file's length.
    Truncate,
    /// Rename a file.
    Rename,
    /// Delete a file.
    Remove,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Open => "open",
            Self::Lock => "lock",
            Self::List => "list",
            Self::Read => "read",
            Self::Write => "write to",
            Self::Sync => "sync",
            Self::Truncate => "set the length of",
            Self::Rename => "rename",
            Self::Remove => "remove",
        })
    }
}

/// Who has a store open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Another server.
    Process {
        /// Its process id.
        pid: u32,
    },
    /// Another server that has not said its process id.
    UnknownProcess,
    /// Somebody who only reads, such as `headgate verify`.
    Reader,
    /// This process: a journal or archive of the cell has not been dropped.
    ThisProcess,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { pid } => write!(f, "process {pid}; stop it, or use another path"),
            Self::UnknownProcess => f.write_str("another process; stop it, or use another path"),
            Self::Reader => f.write_str("a process that reads it, such as headgate verify; wait for it, or stop it"),
            Self::ThisProcess => f.write_str("this process already"),
        }
    }
}

/// What opening found and put right without loss: to be logged, not to be acted upon. Read only, it stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// An append that was interrupted, and never acknowledged, was cut off.
    TornTail {
        /// The segment.
        path: PathBuf,
        /// Where it now ends.
        offset: u64,
        /// How much was cut, up to the last byte that was written.
        bytes: u64,
        /// The last record before the cut.
        last: Sequence,
    },
    /// The mark of what was acknowledged was missing, or half of it was unreadable.
    Mark {
        /// The mark.
        path: PathBuf,
        /// What was wrong with it.
        was: &'static str,
    },
    /// A file that was never finished.
    Unfinished {
        /// The file.
        path: PathBuf,
    },
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TornTail { path, offset, bytes, last } => write!(
                f,
                "{}: {bytes} bytes of an interrupted, unacknowledged append cut off at byte {offset}, after sequence {last}",
                path.display()
            ),
            Self::Mark { path, was } => write!(f, "{}: was {was}, written anew", path.display()),
            Self::Unfinished { path } => write!(f, "{}: was never finished, removed", path.display()),
        }
    }
}

/// What helps against the errors that people meet.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; make room there",
        io::ErrorKind::FileTooLarge => "; raise the limit on the size of files that the server runs under (ulimit -f)",
        io::ErrorKind::ReadOnlyFilesystem => "; the store needs a place that can be written to",
        io::ErrorKind::PermissionDenied => "; the store's directory must belong to the user that the server runs as",
        _ => "",
    }
}
