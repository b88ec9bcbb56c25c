//! The store's words: sequence, epoch, cell name, record.

use std::fmt;

/// A record's number in its journal: 1, 2, 3, … 0 stands before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The one after it.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a leader's reign over a cell; grows with each leader. 0 stands before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The one after it.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A cell's name: a DNS label, so that it can stand in a path or a key as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellName(String);

/// Why a name is no cell's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no name for a cell: 1 to {max} of a-z 0-9 -, a letter or digit at both ends", max = CellName::BYTES_MAX)]
pub struct CellNameError(String);

impl CellName {
    /// Longest name, in bytes: a DNS label's.
    pub const BYTES_MAX: usize = 63;

    /// Takes a DNS label.
    pub fn parse(name: &str) -> Result<Self, CellNameError> {
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = name.as_bytes();
        let ends = bytes.first().is_some_and(|b| letter(*b)) && bytes.last().is_some_and(|b| letter(*b));
        if ends && bytes.len() <= Self::BYTES_MAX && bytes.iter().all(|b| letter(*b) || *b == b'-') {
            Ok(Self(name.to_owned()))
        } else {
            Err(CellNameError(name.to_owned()))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CellName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A record as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub sequence: Sequence,
    /// The epoch of the leader that appended it.
    pub epoch: Epoch,
    /// What it says; the store does not look inside.
    pub bytes: Vec<u8>,
}
