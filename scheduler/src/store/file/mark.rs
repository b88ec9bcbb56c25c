//! The mark of what has been acknowledged: a small file written after each append.

use std::io;
use std::path::{Path, PathBuf};

use super::directory::unfinished;
use super::disk::{self, DiskFile};
use super::format::{
    JournalId, SECTOR_BYTES, VERSION, array_at, put, refuse_other_journal, refuse_version, u32_at, u64_at,
};
use super::segment::Position;
use crate::store::{Corruption, Epoch, Sequence, StoreError};

const MAGIC: [u8; 8] = *b"HGDURABL";
const SLOTS: usize = 2;
const CHECKSUM_AT: usize = SECTOR_BYTES - 4;

/// A point in the journal: the end of an acknowledged batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    /// The first sequence of the segment.
    pub(super) segment: Sequence,
    pub(super) position: Position,
}

impl Point {
    /// Its place in the order of points.
    fn place(&self) -> (Sequence, u64) {
        (self.segment, self.position.offset)
    }
}

/// The mark, to be written.
pub(super) struct Mark {
    file: DiskFile,
    id: JournalId,
    slot: usize,
}

/// The mark as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// There is none: nothing is known to have been acknowledged.
    Missing,
    /// Acknowledged up to here, at least.
    Whole(Point),
    /// The same, from the slot that can still be read.
    Half(Point),
}

impl Found {
    pub(super) fn point(self) -> Option<Point> {
        match self {
            Self::Missing => None,
            Self::Whole(point) | Self::Half(point) => Some(point),
        }
    }
}

impl Mark {
    /// Makes a mark, or makes one anew, durable.
    pub(super) fn create(path: &Path, id: JournalId, point: &Point) -> Result<Self, StoreError> {
        let unfinished = unfinished(path);
        disk::remove(&unfinished)?;
        let file = DiskFile::create(unfinished)?;
        let slot = encode(id, point);
        file.write(0, &[slot, slot].concat())?;
        file.sync_all()?;
        disk::rename(file.path(), path)?;
        disk::sync_directory(path.parent().unwrap_or(Path::new(".")))?;
        Self::open(path, id)
    }

    pub(super) fn open(path: &Path, id: JournalId) -> Result<Self, StoreError> {
        Ok(Self { file: DiskFile::open(path.to_owned(), true)?, id, slot: 0 })
    }

    /// Writes, without waiting for the disk.
    pub(super) fn write(&mut self, point: &Point) -> Result<(), StoreError> {
        self.slot = (self.slot + 1) % SLOTS;
        self.file.write((self.slot * SECTOR_BYTES) as u64, &encode(self.id, point))
    }

    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_contents()
    }
}

/// Reads the mark of the journal with this id, which `reference` has.
pub(super) fn read(path: PathBuf, id: JournalId, reference: &Path) -> Result<Found, StoreError> {
    let file = match DiskFile::open(path, false) {
        Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(Found::Missing),
        file => file?,
    };
    let mut bytes = [0; SLOTS * SECTOR_BYTES];
    let length = usize::try_from(file.len()?).unwrap_or(usize::MAX).min(bytes.len());
    file.read(0, &mut bytes[..length])?;
    let (first, second) = bytes.split_at(SECTOR_BYTES);
    let first = decode(first, id, file.path(), 0, reference)?;
    let second = decode(second, id, file.path(), SECTOR_BYTES, reference)?;
    match (first, second) {
        (Some(a), Some(b)) => Ok(Found::Whole(if a.place() < b.place() { b } else { a })),
        (Some(point), None) | (None, Some(point)) => Ok(Found::Half(point)),
        (None, None) => Err(Corruption {
            path: file.path().to_owned(),
            offset: 0,
            sequence: None,
            expected: format!("one slot of {SLOTS} with a valid checksum"),
            found: "none".to_owned(),
            help: "remove the file if no other is damaged: it only guards the last batch of the journal".to_owned(),
        }
        .into()),
    }
}

fn encode(id: JournalId, point: &Point) -> [u8; SECTOR_BYTES] {
    let mut bytes = [0; SECTOR_BYTES];
    put(&mut bytes, 0, &MAGIC);
    put(&mut bytes, 8, &VERSION.to_le_bytes());
    put(&mut bytes, 12, &id.0);
    put(&mut bytes, 28, &point.segment.0.to_le_bytes());
    put(&mut bytes, 36, &point.position.offset.to_le_bytes());
    put(&mut bytes, 44, &point.position.last.0.to_le_bytes());
    put(&mut bytes, 52, &point.position.epoch.0.to_le_bytes());
    put(&mut bytes, 60, &point.position.chain.to_le_bytes());
    let checksum = crc32c::crc32c(&bytes[..CHECKSUM_AT]);
    put(&mut bytes, CHECKSUM_AT, &checksum.to_le_bytes());
    bytes
}

/// A slot that was interrupted, or is damaged, is `None`; one that is whole must be this journal's and of this
/// version.
fn decode(slot: &[u8], id: JournalId, path: &Path, at: usize, reference: &Path) -> Result<Option<Point>, StoreError> {
    if !slot.starts_with(&MAGIC) || crc32c::crc32c(&slot[..CHECKSUM_AT]) != u32_at(slot, CHECKSUM_AT) {
        return Ok(None);
    }
    refuse_version(u32_at(slot, 8), at + 8, path)?;
    refuse_other_journal(JournalId(array_at(slot, 12)), id, path, at as u64 + 12, reference)?;
    Ok(Some(Point {
        segment: Sequence(u64_at(slot, 28)),
        position: Position {
            offset: u64_at(slot, 36),
            last: Sequence(u64_at(slot, 44)),
            epoch: Epoch(u64_at(slot, 52)),
            chain: u32_at(slot, 60),
        },
    }))
}
