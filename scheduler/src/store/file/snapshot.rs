//! Snapshots: written aside and renamed when they are durable; read chunk by chunk.

use std::path::PathBuf;

use super::directory::unfinished;
use super::disk::{self, DiskFile};
use super::format::{FILE_HEADER_BYTES, FileHeader, FileKind, SNAPSHOT_END_BYTES, put, u32_at, u64_at};
use crate::store::{Corruption, SNAPSHOT_CHUNK_BYTES_MAX, Sequence, SnapshotWriter, StoreError};

const CHUNK_HEADER_BYTES: usize = 8;

/// Written and synced at once: a journal on the same disk waits behind no more than this.
const WRITE_BYTES: usize = 1024 * 1024;

/// A snapshot being written.
pub(super) struct FileSnapshotWriter {
    file: DiskFile,
    path: PathBuf,
    written: u64,
    buffer: Vec<u8>,
    checksum: u32,
    chunks: u64,
    bytes: u64,
    finished: bool,
}

impl FileSnapshotWriter {
    pub(super) fn create(path: PathBuf, header: &FileHeader) -> Result<Self, StoreError> {
        let file = DiskFile::create(unfinished(&path))?;
        let buffer = header.encode().to_vec();
        let checksum = u32_at(&buffer, FILE_HEADER_BYTES - 4);
        Ok(Self { file, path, written: 0, buffer, checksum, chunks: 0, bytes: 0, finished: false })
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        for part in self.buffer.chunks(WRITE_BYTES) {
            self.file.write(self.written, part)?;
            self.file.sync_contents()?;
            self.written += part.len() as u64;
        }
        self.buffer.clear();
        Ok(())
    }
}

impl SnapshotWriter for FileSnapshotWriter {
    fn write(&mut self, chunk: &[u8]) -> Result<(), StoreError> {
        if chunk.is_empty() {
            return Ok(());
        }
        if chunk.len() > SNAPSHOT_CHUNK_BYTES_MAX {
            return Err(StoreError::ChunkTooLarge { bytes: chunk.len() });
        }
        let length = (chunk.len() as u32).to_le_bytes();
        self.checksum = crc32c::crc32c_append(crc32c::crc32c_append(self.checksum, &length), chunk);
        self.buffer.extend_from_slice(&length);
        self.buffer.extend_from_slice(&self.checksum.to_le_bytes());
        self.buffer.extend_from_slice(chunk);
        self.chunks += 1;
        self.bytes += chunk.len() as u64;
        if self.buffer.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn finish(mut self: Box<Self>) -> Result<(), StoreError> {
        let mut end = [0; SNAPSHOT_END_BYTES];
        put(&mut end, 4, &self.chunks.to_le_bytes());
        put(&mut end, 12, &self.bytes.to_le_bytes());
        let checksum = crc32c::crc32c_append(self.checksum, &end[..20]);
        put(&mut end, 20, &checksum.to_le_bytes());
        self.buffer.extend_from_slice(&end);
        self.flush()?;
        self.file.sync_all()?;
        disk::rename(self.file.path(), &self.path)?;
        self.finished = true;
        match self.path.parent() {
            Some(directory) => disk::sync_directory(directory),
            None => Ok(()),
        }
    }
}

impl Drop for FileSnapshotWriter {
    fn drop(&mut self) {
        if !self.finished {
            // What cannot be removed now is removed at the next opening.
            let _ = disk::remove(self.file.path());
        }
    }
}

/// The chunks of a snapshot.
pub(super) struct FileChunks {
    file: DiskFile,
    length: u64,
    at: u64,
    checksum: u32,
    chunks: u64,
    bytes: u64,
    /// What recovery could begin from instead.
    fallback: Option<Sequence>,
    ended: bool,
}

pub(super) fn read_header(file: &DiskFile) -> Result<FileHeader, StoreError> {
    let length = file.len()?.min(FILE_HEADER_BYTES as u64);
    let mut bytes = vec![0; length as usize];
    file.read(0, &mut bytes)?;
    FileHeader::decode(FileKind::Snapshot, &bytes, file.path())
}

/// The snapshot before `at`, or 0 where the journal is there from its beginning: what recovery could begin from
/// instead.
pub(super) fn fallback(at: Sequence, snapshots: &[Sequence], segments: &[Sequence]) -> Option<Sequence> {
    let before = snapshots.iter().rev().find(|before| **before < at).copied();
    before.or((segments.first() == Some(&Sequence(1))).then_some(Sequence(0)))
}

/// Damage to a snapshot is no loss where the generation before it is still there; then this says how to use it.
pub(super) fn with_help(error: StoreError, fallback: Option<Sequence>) -> StoreError {
    match error {
        StoreError::Corrupt(mut corruption) => {
            corruption.help = match fallback {
                Some(Sequence(0)) => "remove it, without loss: the journal is there from its beginning".to_owned(),
                Some(at) => format!("remove it, without loss: the snapshot at {at} and the journal after it are there"),
                None => "restore the file from a copy".to_owned(),
            };
            StoreError::Corrupt(corruption)
        }
        error => error,
    }
}

impl FileChunks {
    pub(super) fn open(path: PathBuf, fallback: Option<Sequence>) -> Result<Self, StoreError> {
        let file = DiskFile::open(path, false)?;
        let header = read_header(&file).map_err(|error| with_help(error, fallback))?;
        let checksum = u32_at(&header.encode(), FILE_HEADER_BYTES - 4);
        let (length, at) = (file.len()?, FILE_HEADER_BYTES as u64);
        Ok(Self { file, length, at, checksum, chunks: 0, bytes: 0, fallback, ended: false })
    }

    fn read(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        let mut header = [0; CHUNK_HEADER_BYTES];
        self.take(0, &mut header, "a chunk or the end")?;
        let size = u32_at(&header, 0) as usize;
        if size == 0 {
            return self.read_end().map(|()| None);
        }
        if size > SNAPSHOT_CHUNK_BYTES_MAX {
            let expected = format!("a chunk of up to {SNAPSHOT_CHUNK_BYTES_MAX} bytes");
            return Err(self.damage(expected, format!("one of {size}")));
        }
        let mut chunk = vec![0; size];
        self.take(CHUNK_HEADER_BYTES, &mut chunk, "a chunk")?;
        let checksum = crc32c::crc32c_append(crc32c::crc32c_append(self.checksum, &header[..4]), &chunk);
        let stored = u32_at(&header, 4);
        if checksum != stored {
            let expected = format!("a chunk with checksum {stored:08x}");
            return Err(self.damage(expected, format!("one with {checksum:08x}")));
        }
        self.checksum = checksum;
        self.chunks += 1;
        self.bytes += size as u64;
        self.at += (CHUNK_HEADER_BYTES + size) as u64;
        Ok(Some(chunk))
    }

    fn read_end(&mut self) -> Result<(), StoreError> {
        let mut end = [0; SNAPSHOT_END_BYTES];
        self.take(0, &mut end, "the end")?;
        let checksum = crc32c::crc32c_append(self.checksum, &end[..20]);
        let whole = (u64_at(&end, 4), u64_at(&end, 12), u32_at(&end, 20)) == (self.chunks, self.bytes, checksum);
        if !whole {
            let expected = format!("the end, after {} chunks of {} bytes together", self.chunks, self.bytes);
            return Err(self.damage(expected, super::format::hex(&end)));
        }
        self.at += SNAPSHOT_END_BYTES as u64;
        match self.length - self.at {
            0 => Ok(()),
            more => Err(self.damage("the end of the file".to_owned(), format!("{more} bytes"))),
        }
    }

    /// Fills `bytes` from what stands `skip` bytes further on.
    fn take(&mut self, skip: usize, bytes: &mut [u8], what: &str) -> Result<(), StoreError> {
        let at = self.at + skip as u64;
        if at + bytes.len() as u64 > self.length {
            let expected = format!("{what}, of {} bytes", skip + bytes.len());
            return Err(self.damage(expected, format!("{} bytes", self.length - self.at)));
        }
        self.file.read(at, bytes)
    }

    fn damage(&self, expected: String, found: String) -> StoreError {
        let (path, offset) = (self.file.path().to_owned(), self.at);
        let corruption = Corruption { path, offset, sequence: None, expected, found, help: String::new() };
        with_help(corruption.into(), self.fallback)
    }
}

impl Iterator for FileChunks {
    type Item = Result<Vec<u8>, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let chunk = self.read();
        self.ended = !matches!(chunk, Ok(Some(_)));
        chunk.transpose()
    }
}
