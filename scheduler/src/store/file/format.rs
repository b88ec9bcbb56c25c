//! # The files' format, version 1
//!
//! ```text
//! <path>/LOCK                                    locked while a server runs; holds its process id as text
//! <path>/<cell>/journal/DURABLE                  the mark: what has been acknowledged, at least
//! <path>/<cell>/journal/00000000000000000001.seg a segment, named by its first sequence
//! <path>/<cell>/snapshots/00000000000000000042.snap a snapshot, named by the sequence it stands at
//! ```
//!
//! A name that ends in `.new` is a file not yet finished; it gets its own name when it is whole and synced, and is
//! removed when it is found at opening. Integers are little-endian. A *checksum* is a CRC32C; `crc(seed; bytes)` is
//! that of `bytes` continued from `seed`. No byte is reserved, and every byte but those of LOCK is under a checksum
//! or compared.
//!
//! ## File header: the first 128 bytes of a segment and of a snapshot
//!
//! | at | bytes | what |
//! | --- | --- | --- |
//! | 0 | 8 | magic: `HGSEGMNT` or `HGSNAPSH` |
//! | 8 | 4 | format version. Magic and version stay where they are in every version |
//! | 12 | 4 | length of the cell's name |
//! | 16 | 16 | journal id: random, one for all files of a cell |
//! | 32 | 8 | segment: its first sequence; snapshot: the sequence it stands at |
//! | 40 | 8 | epoch when it was begun |
//! | 48 | 4 | segment: chain value of the batch before it, 0 if none; snapshot: 0 |
//! | 52 | 72 | the cell's name, filled up with zeros |
//! | 124 | 4 | `crc(0; bytes 0..124)` |
//!
//! ## Segment: the file header, then batches without anything between
//!
//! | at | bytes | what |
//! | --- | --- | --- |
//! | 0 | 4 | magic: `HGB{` |
//! | 4 | 4 | *length*: bytes of all records with their headers |
//! | 8 | 8 | sequence of the first record |
//! | 16 | 8 | epoch of the leader that appended it |
//! | 24 | 4 | number of records; 0 in a batch that only claims the epoch |
//! | 28 | 4 | chain value of the batch before it |
//! | 32 | 4 | `crc(crc(0; journal id); bytes 0..32)` |
//! | 36 | *length* | the records |
//! | 36 + *length* | 4 | end: `}BGH` |
//!
//! A record is: length (4 bytes), checksum (4 bytes), its bytes. Its sequence is the batch's first plus its place;
//! its checksum is `crc(the checksum before it; sequence as 8 bytes, length as 4 bytes, its bytes)`, where the
//! checksum before the first record's is the batch header's. The batch's *chain value* is its last record's checksum
//! (with no record: its header's). So a record or batch that is dropped, repeated or moved breaks the chain. The
//! journal id, which no client learns, keeps anybody from sending bytes that would pass for a batch when they lie in
//! a damaged one.
//!
//! The last segment may be longer than its batches: its file is grown by zeros ahead of use, since an append that
//! changes no file length is durable sooner. A segment that has a successor ends with its last batch.
//!
//! ## The mark: two slots of 512 bytes, at 0 and 512, written in turn
//!
//! | at | bytes | what |
//! | --- | --- | --- |
//! | 0 | 8 | magic: `HGDURABL` |
//! | 8 | 4 | format version |
//! | 12 | 16 | journal id |
//! | 28 | 8 | first sequence of the segment |
//! | 36 | 8 | offset in it of the end of the last acknowledged batch |
//! | 44 | 8 | sequence of its last record |
//! | 52 | 8 | epoch |
//! | 60 | 4 | chain value of that batch |
//! | 64 | 444 | zeros |
//! | 508 | 4 | `crc(0; bytes 0..508)` |
//!
//! It is written after each append has been synced, and not synced itself but when the journal is closed. So after a
//! kill it is exact; after a power cut it may be older, and never newer, than the journal.
//!
//! ## Snapshot: the file header, then chunks, then the end
//!
//! A chunk is: length (4 bytes, above 0), checksum (4 bytes), its bytes. Its checksum is `crc(the checksum before it;
//! length, its bytes)`, the first's before being the file header's. The end is 4 zero bytes, the number of chunks (8
//! bytes), the bytes in them (8 bytes), and the checksum of these 20, continued likewise. Nothing follows.
//!
//! # What is torn, and what is damaged
//!
//! An append is one write and one sync, and the next begins only when it is durable. So of all that lies in a journal
//! only the very last batch can be unacknowledged, and only it can have been interrupted. A batch that is not as it
//! was written is *damage*, and refused, if any of these holds:
//!
//! 1. it is in a segment that has a successor, or a valid batch header lies behind it;
//! 2. the mark says that it was acknowledged;
//! 3. it was *written whole*: its end is there, and no whole sector (512 bytes) of it is zero. A segment's space is
//!    zero before it is written, for segments are never reused and a failed append is cut back and synced before the
//!    next; and disks write whole sectors. So an interrupted append leaves a sector of zeros, or no end.
//!
//! Anything else at the journal's end is *torn*: it was never acknowledged, and is cut. And a mark that points beyond
//! the journal's end, or at something else than the end of its batch, is damage too: acknowledged records are
//! missing.
//!
//! What cannot be told apart: the very last batch, acknowledged at once before a power cut that also took the mark of
//! it, and then losing a whole sector, or its end, to zeros: it looks like an interrupted append, and is cut. A file
//! system that shows old contents of the disk in place of what it had not yet written can make an interrupted append
//! look like rule 3: then opening refuses, without loss, and says how to go on.

use std::path::Path;

use crate::store::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Batch, CellName, Corruption, Epoch, Sequence, StoreError};

/// The version that is written, and the newest that is read.
pub(super) const VERSION: u32 = 1;
/// Disks write no less than this.
pub(super) const SECTOR_BYTES: usize = 512;

pub(super) const FILE_HEADER_BYTES: usize = 128;
pub(super) const BATCH_HEADER_BYTES: usize = 36;
pub(super) const RECORD_HEADER_BYTES: usize = 8;
pub(super) const BATCH_END: [u8; 4] = *b"}BGH";
pub(super) const SNAPSHOT_END_BYTES: usize = 24;

const BATCH_MAGIC: [u8; 4] = *b"HGB{";
const BATCH_LENGTH_MAX: usize = BATCH_BYTES_MAX + BATCH_RECORDS_MAX * RECORD_HEADER_BYTES;
const VERSION_AT: usize = 8;
const CELL_AT: usize = 52;
const CELL_BYTES: usize = 72;

/// Tells one journal from another, of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JournalId(pub(super) [u8; 16]);

impl JournalId {
    pub(super) fn random() -> Self {
        Self(uuid::Uuid::now_v7().into_bytes())
    }

    fn seed(self) -> u32 {
        crc32c::crc32c(&self.0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    Segment,
    Snapshot,
}

impl FileKind {
    fn magic(self) -> [u8; 8] {
        match self {
            Self::Segment => *b"HGSEGMNT",
            Self::Snapshot => *b"HGSNAPSH",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Segment => "segment",
            Self::Snapshot => "snapshot",
        }
    }
}

/// What a segment or a snapshot begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) kind: FileKind,
    pub(super) id: JournalId,
    pub(super) sequence: Sequence,
    pub(super) epoch: Epoch,
    pub(super) chain: u32,
    pub(super) cell: CellName,
}

impl FileHeader {
    pub(super) fn encode(&self) -> [u8; FILE_HEADER_BYTES] {
        let mut bytes = [0; FILE_HEADER_BYTES];
        let cell = self.cell.as_str().as_bytes();
        put(&mut bytes, 0, &self.kind.magic());
        put(&mut bytes, VERSION_AT, &VERSION.to_le_bytes());
        put(&mut bytes, 12, &(cell.len() as u32).to_le_bytes());
        put(&mut bytes, 16, &self.id.0);
        put(&mut bytes, 32, &self.sequence.0.to_le_bytes());
        put(&mut bytes, 40, &self.epoch.0.to_le_bytes());
        put(&mut bytes, 48, &self.chain.to_le_bytes());
        put(&mut bytes, CELL_AT, cell);
        let checksum = crc32c::crc32c(&bytes[..FILE_HEADER_BYTES - 4]);
        put(&mut bytes, FILE_HEADER_BYTES - 4, &checksum.to_le_bytes());
        bytes
    }

    /// Reads a header of the kind from the first bytes of a file, which may be fewer than a header's.
    pub(super) fn decode(kind: FileKind, bytes: &[u8], path: &Path) -> Result<Self, StoreError> {
        let damaged = |offset: usize, expected: String, found: String| {
            StoreError::from(Corruption {
                path: path.to_owned(),
                offset: offset as u64,
                sequence: None,
                expected,
                found,
                help: "restore the file from a copy".to_owned(),
            })
        };
        let magic = kind.magic();
        if bytes.len() < FILE_HEADER_BYTES {
            let expected = format!("a {}'s header of {FILE_HEADER_BYTES} bytes", kind.name());
            return Err(damaged(0, expected, format!("{} bytes", bytes.len())));
        }
        if !bytes.starts_with(&magic) {
            return Err(damaged(0, format!("a {}", kind.name()), format!("{} at its start", hex(&bytes[..8]))));
        }
        refuse_version(u32_at(bytes, VERSION_AT), VERSION_AT, path)?;
        let computed = crc32c::crc32c(&bytes[..FILE_HEADER_BYTES - 4]);
        let stored = u32_at(bytes, FILE_HEADER_BYTES - 4);
        if computed != stored {
            let expected = format!("a header with checksum {stored:08x}");
            return Err(damaged(0, expected, format!("one with {computed:08x}")));
        }
        let length = (u32_at(bytes, 12) as usize).min(CELL_BYTES);
        let name = String::from_utf8_lossy(&bytes[CELL_AT..CELL_AT + length]);
        let cell =
            CellName::parse(&name).map_err(|error| damaged(CELL_AT, "a cell's name".to_owned(), error.to_string()))?;
        Ok(Self {
            kind,
            id: JournalId(array_at(bytes, 16)),
            sequence: Sequence(u64_at(bytes, 32)),
            epoch: Epoch(u64_at(bytes, 40)),
            chain: u32_at(bytes, 48),
            cell,
        })
    }

    /// Refuses a file that was put where another belongs; `expected` is held to be right because of `reference`.
    pub(super) fn refuse_stranger(&self, expected: &Self, path: &Path, reference: &Path) -> Result<(), StoreError> {
        let (offset, expected, found) = if self.cell != expected.cell {
            (CELL_AT, format!("cell {}", expected.cell), format!("cell {}", self.cell))
        } else if self.sequence != expected.sequence {
            (32, format!("sequence {}", expected.sequence), format!("sequence {}", self.sequence))
        } else {
            return refuse_other_journal(self.id, expected.id, path, 16, reference);
        };
        let (path, offset, sequence) = (path.to_owned(), offset as u64, None);
        let help = "this file belongs elsewhere: put back the one that belongs here".to_owned();
        Err(Corruption { path, offset, sequence, expected, found, help }.into())
    }
}

/// Refuses a file of another journal than `reference` is of.
pub(super) fn refuse_other_journal(
    found: JournalId,
    expected: JournalId,
    path: &Path,
    offset: u64,
    reference: &Path,
) -> Result<(), StoreError> {
    if found == expected {
        return Ok(());
    }
    Err(Corruption {
        path: path.to_owned(),
        offset,
        sequence: None,
        expected: format!("the journal id of {}, {}", reference.display(), hex(&expected.0)),
        found: hex(&found.0),
        help: "one of the two files belongs elsewhere: put back the one that belongs here".to_owned(),
    }
    .into())
}

/// What a batch begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchHeader {
    /// Bytes of the records with their headers.
    pub(super) length: usize,
    pub(super) first: Sequence,
    pub(super) epoch: Epoch,
    pub(super) count: u32,
    /// The chain value of the batch before.
    pub(super) previous: u32,
    pub(super) checksum: u32,
}

impl BatchHeader {
    /// Reads a header that is whole and of this journal.
    pub(super) fn decode(id: JournalId, bytes: &[u8]) -> Option<Self> {
        if bytes.len() < BATCH_HEADER_BYTES || !bytes.starts_with(&BATCH_MAGIC) {
            return None;
        }
        let checksum = u32_at(bytes, 32);
        let header = Self {
            length: u32_at(bytes, 4) as usize,
            first: Sequence(u64_at(bytes, 8)),
            epoch: Epoch(u64_at(bytes, 16)),
            count: u32_at(bytes, 24),
            previous: u32_at(bytes, 28),
            checksum,
        };
        let whole = crc32c::crc32c_append(id.seed(), &bytes[..32]) == checksum;
        (whole && header.length <= BATCH_LENGTH_MAX).then_some(header)
    }

    /// The first whole header in `bytes` of a batch that comes after `after`.
    pub(super) fn find(id: JournalId, bytes: &[u8], after: Sequence) -> Option<usize> {
        let mut at = 0;
        while let Some(step) = bytes[at..].iter().position(|byte| *byte == BATCH_MAGIC[0]) {
            at += step;
            if Self::decode(id, &bytes[at..]).is_some_and(|header| header.first > after) {
                return Some(at);
            }
            at += 1;
        }
        None
    }

    /// Bytes of the whole batch.
    pub(super) fn extent(&self) -> usize {
        BATCH_HEADER_BYTES + self.length + BATCH_END.len()
    }
}

/// Writes a batch to the end of `out`; returns its chain value.
pub(super) fn encode_batch(
    out: &mut Vec<u8>,
    id: JournalId,
    epoch: Epoch,
    after: Sequence,
    previous: u32,
    batch: &Batch,
) -> u32 {
    let start = out.len();
    let length = batch.bytes() + batch.len() * RECORD_HEADER_BYTES;
    let mut sequence = after.next();
    out.reserve(BATCH_HEADER_BYTES + length + BATCH_END.len());
    out.extend_from_slice(&BATCH_MAGIC);
    out.extend_from_slice(&(length as u32).to_le_bytes());
    out.extend_from_slice(&sequence.0.to_le_bytes());
    out.extend_from_slice(&epoch.0.to_le_bytes());
    out.extend_from_slice(&(batch.len() as u32).to_le_bytes());
    out.extend_from_slice(&previous.to_le_bytes());
    let mut chain = crc32c::crc32c_append(id.seed(), &out[start..]);
    out.extend_from_slice(&chain.to_le_bytes());
    for record in batch.iter() {
        chain = record_checksum(chain, sequence, record);
        out.extend_from_slice(&(record.len() as u32).to_le_bytes());
        out.extend_from_slice(&chain.to_le_bytes());
        out.extend_from_slice(record);
        sequence = sequence.next();
    }
    out.extend_from_slice(&BATCH_END);
    chain
}

pub(super) fn record_checksum(previous: u32, sequence: Sequence, record: &[u8]) -> u32 {
    let mut header = [0; 12];
    put(&mut header, 0, &sequence.0.to_le_bytes());
    put(&mut header, 8, &(record.len() as u32).to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(previous, &header), record)
}

pub(super) fn refuse_version(found: u32, at: usize, path: &Path) -> Result<(), StoreError> {
    if found == VERSION {
        return Ok(());
    }
    Err(StoreError::UnknownVersion { path: path.to_owned(), offset: at as u64, found, known: VERSION })
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

pub(super) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

pub(super) fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
