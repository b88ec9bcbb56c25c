//! Reading one segment, batch by batch, every checksum and every link of the chain verified.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::disk::DiskFile;
use super::format::{
    BATCH_END, BATCH_HEADER_BYTES, BatchHeader, FILE_HEADER_BYTES, FileHeader, FileKind, RECORD_HEADER_BYTES, hex,
    record_checksum, u32_at,
};
use crate::store::{Epoch, Record, Sequence, StoreError};

/// Read from a segment at once, at least: enough to make system calls rare, little enough to have one for each
/// reader.
const WINDOW_BYTES: usize = 1024 * 1024;

/// Where in a segment one stands: after a batch, before the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) offset: u64,
    /// The last record before it.
    pub(super) last: Sequence,
    /// The epoch of the batch before it.
    pub(super) epoch: Epoch,
    /// The chain value of the batch before it.
    pub(super) chain: u32,
}

/// The batches of a segment. Holds one of them in memory.
pub(super) struct Batches {
    window: Window,
    header: FileHeader,
    position: Position,
    /// Where the records of the last batch lie.
    records: Range<u64>,
}

/// What stands at a position.
pub(super) enum Step {
    /// A batch, whole; [`Batches::records`] has what is in it.
    Batch(BatchHeader),
    /// Nothing more, or nothing but zeros.
    End,
    /// Something else.
    Damage(Damage),
}

/// Bytes that are no batch as it was written.
#[derive(Debug)]
pub(super) struct Damage {
    /// Where the bytes are wrong.
    pub(super) offset: u64,
    /// Which record should stand there.
    pub(super) sequence: Sequence,
    pub(super) expected: String,
    pub(super) found: String,
}

/// The header that a segment begins with.
pub(super) fn read_header(file: &DiskFile) -> Result<FileHeader, StoreError> {
    let length = file.len()?.min(FILE_HEADER_BYTES as u64);
    let mut bytes = vec![0; length as usize];
    file.read(0, &mut bytes)?;
    FileHeader::decode(FileKind::Segment, &bytes, file.path())
}

impl Batches {
    /// Opens a segment, to be read up to `end`, or to the end of its file.
    pub(super) fn open(path: PathBuf, end: Option<u64>) -> Result<Self, StoreError> {
        let file = DiskFile::open(path, false)?;
        let header = read_header(&file)?;
        let end = match end {
            Some(end) => end,
            None => file.len()?,
        };
        let position = Position {
            offset: FILE_HEADER_BYTES as u64,
            last: Sequence(header.sequence.0.saturating_sub(1)),
            epoch: header.epoch,
            chain: header.chain,
        };
        Ok(Self { window: Window { file, end, at: 0, bytes: Vec::new() }, header, position, records: 0..0 })
    }

    pub(super) fn header(&self) -> &FileHeader {
        &self.header
    }

    pub(super) fn path(&self) -> &Path {
        self.window.file.path()
    }

    /// Where reading ends.
    pub(super) fn end(&self) -> u64 {
        self.window.end
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// The records of the batch that [`Batches::step`] returned last, to be taken apart by [`take_record`].
    pub(super) fn records(&self) -> &[u8] {
        self.window.held(&self.records)
    }

    /// Reads on. Damage is not passed over: what comes after it is only for [`Batches::rest`].
    pub(super) fn step(&mut self) -> Result<Step, StoreError> {
        let here = self.position;
        let Some(header) = self.header_here()? else {
            if self.rest()?.iter().all(|byte| *byte == 0) {
                return Ok(Step::End);
            }
            let found = self.window.read(here.offset, BATCH_HEADER_BYTES)?;
            let found = format!("{} bytes: {}", found.len(), hex(found));
            return Ok(Step::Damage(here.damage("a batch, or nothing but zeros to the end".to_owned(), found)));
        };
        if let Some(damage) = here.refuse(&header) {
            return Ok(Step::Damage(damage));
        }
        let batch = self.window.read(here.offset, header.extent())?;
        if batch.len() < header.extent() {
            let expected = format!("a batch of {} bytes", header.extent());
            return Ok(Step::Damage(here.damage(expected, format!("{} bytes", batch.len()))));
        }
        let chain = match check_records(&header, here, batch) {
            Ok(chain) => chain,
            Err(damage) => return Ok(Step::Damage(damage)),
        };
        let records = here.offset + BATCH_HEADER_BYTES as u64;
        self.records = records..records + header.length as u64;
        self.position = Position {
            offset: here.offset + header.extent() as u64,
            last: Sequence(here.last.0 + u64::from(header.count)),
            epoch: header.epoch,
            chain,
        };
        Ok(Step::Batch(header))
    }

    /// The header of the batch at the present position, if it is whole in itself.
    pub(super) fn header_here(&mut self) -> Result<Option<BatchHeader>, StoreError> {
        let bytes = self.window.read(self.position.offset, BATCH_HEADER_BYTES)?;
        Ok(BatchHeader::decode(self.header.id, bytes))
    }

    /// All bytes from the present position to the end.
    pub(super) fn rest(&mut self) -> Result<&[u8], StoreError> {
        self.window.read(self.position.offset, usize::MAX)
    }
}

/// The part of a file that is in memory.
struct Window {
    file: DiskFile,
    /// Nothing is read from here on.
    end: u64,
    at: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// `length` bytes from `offset` on, or those that are left before the end.
    fn read(&mut self, offset: u64, length: usize) -> Result<&[u8], StoreError> {
        let left = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = offset..offset + length.min(left) as u64;
        if wanted.start < self.at || wanted.end > self.at + self.bytes.len() as u64 {
            self.at = offset;
            self.bytes.resize(length.max(WINDOW_BYTES).min(left), 0);
            self.file.read(offset, &mut self.bytes)?;
        }
        Ok(self.held(&wanted))
    }

    fn held(&self, range: &Range<u64>) -> &[u8] {
        if range.is_empty() {
            return &[];
        }
        &self.bytes[(range.start - self.at) as usize..(range.end - self.at) as usize]
    }
}

impl Position {
    fn damage(&self, expected: String, found: String) -> Damage {
        Damage { offset: self.offset, sequence: self.last.next(), expected, found }
    }

    /// What is wrong with a header here that is whole in itself.
    fn refuse(&self, header: &BatchHeader) -> Option<Damage> {
        let (expected, found) = if header.first != self.last.next() {
            (format!("sequence {}", self.last.next()), format!("a batch from sequence {} on", header.first))
        } else if header.previous != self.chain {
            (
                format!("the batch that follows chain value {:08x}", self.chain),
                format!("one that follows {:08x}", header.previous),
            )
        } else if header.epoch < self.epoch {
            (format!("epoch {} or later", self.epoch), format!("epoch {}", header.epoch))
        } else {
            return None;
        };
        Some(self.damage(expected, found))
    }
}

/// Checks the records and the end of a batch; returns its chain value.
fn check_records(header: &BatchHeader, at: Position, batch: &[u8]) -> Result<u32, Damage> {
    let records_end = BATCH_HEADER_BYTES + header.length;
    let mut chain = header.checksum;
    let mut sequence = header.first;
    let mut cursor = BATCH_HEADER_BYTES;
    let damage = |cursor: usize, sequence: Sequence, expected: String, found: String| Damage {
        offset: at.offset + cursor as u64,
        sequence,
        expected,
        found,
    };
    for _ in 0..header.count {
        let left = records_end - cursor;
        let length = if left < RECORD_HEADER_BYTES { left } else { u32_at(batch, cursor) as usize };
        if length + RECORD_HEADER_BYTES > left {
            let expected = format!("a record of {left} bytes or less, with its header");
            return Err(damage(cursor, sequence, expected, format!("one of {}", length + RECORD_HEADER_BYTES)));
        }
        let start = cursor + RECORD_HEADER_BYTES;
        chain = record_checksum(chain, sequence, &batch[start..start + length]);
        let stored = u32_at(batch, cursor + 4);
        if stored != chain {
            let expected = format!("a record with checksum {stored:08x}");
            return Err(damage(cursor, sequence, expected, format!("one with {chain:08x}")));
        }
        cursor = start + length;
        sequence = sequence.next();
    }
    let end = &batch[records_end..];
    if cursor != records_end || end != BATCH_END {
        let expected = format!("the batch's end, {}, at byte {}", hex(&BATCH_END), at.offset + records_end as u64);
        let found = format!("{} there, and {} bytes before it", hex(end), records_end - cursor);
        return Err(damage(cursor, sequence, expected, found));
    }
    Ok(chain)
}

/// Takes one record from `records` at `cursor`, which moves on behind it. They have been checked.
pub(super) fn take_record(records: &[u8], cursor: &mut usize, sequence: Sequence, epoch: Epoch) -> Option<Record> {
    if *cursor >= records.len() {
        return None;
    }
    let start = *cursor + RECORD_HEADER_BYTES;
    let end = start + u32_at(records, *cursor) as usize;
    *cursor = end;
    Some(Record { sequence, epoch, bytes: records[start..end].to_vec() })
}
