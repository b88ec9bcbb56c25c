//! Records gathered for one append.

/// Largest record, in bytes. An entry is a few hundred; the largest is a tenant tree put at once. A reader needs a
/// bound that it can hold in memory.
pub const RECORD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Largest batch, in bytes of its records. Any record fits an empty batch, a reader holds one batch in memory, and
/// one batch keeps those behind it waiting for no more than its own write, some tens of milliseconds.
pub const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Most records in a batch: several times what comes together at the ledger's full rate while one batch is written,
/// and few enough that what is kept of each beside its bytes stays below 1 MiB.
pub const BATCH_RECORDS_MAX: usize = 64 * 1024;

/// Records in order, side by side in one buffer, so that gathering them allocates nothing once it has grown. What is
/// in a batch is within the limits.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// Why a record was not taken. The batch is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// No batch takes it.
    #[error("a record of {bytes} bytes is too large; the largest has {RECORD_BYTES_MAX}")]
    RecordTooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Append this batch, and push to an empty one.
    #[error(
        "the batch is full: no more than {BATCH_BYTES_MAX} bytes and {BATCH_RECORDS_MAX} records are appended at once"
    )]
    BatchFull,
}

impl Batch {
    /// Adds a record.
    pub fn push(&mut self, record: &[u8]) -> Result<(), PushError> {
        if record.len() > RECORD_BYTES_MAX {
            return Err(PushError::RecordTooLarge { bytes: record.len() });
        }
        self.push_with(|bytes| bytes.extend_from_slice(record))
    }

    /// Adds a record that is encoded straight into the batch: `encode` only appends to what it is given.
    pub fn push_with(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Result<(), PushError> {
        let start = self.bytes.len();
        encode(&mut self.bytes);
        debug_assert!(self.bytes.len() >= start, "encoding a record must only append");
        let bytes = self.bytes.len().saturating_sub(start);
        let refused = if bytes > RECORD_BYTES_MAX {
            Some(PushError::RecordTooLarge { bytes })
        } else if self.bytes.len() > BATCH_BYTES_MAX || self.ends.len() >= BATCH_RECORDS_MAX {
            Some(PushError::BatchFull)
        } else {
            None
        };
        match refused {
            Some(refusal) => {
                self.bytes.truncate(start);
                Err(refusal)
            }
            None => {
                self.ends.push(self.bytes.len());
                Ok(())
            }
        }
    }

    /// How many records it holds.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes of its records together.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The records.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }

    /// Empties it, keeping its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}
