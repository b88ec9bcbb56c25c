//! The writer's end: one write and one sync for each batch.

use std::fmt::Display;
use std::sync::Arc;

use super::cell::{Cell, SharedJournal};
use super::directory::{Directory, unfinished};
use super::disk::{self, DiskFile};
use super::format::{FILE_HEADER_BYTES, FileHeader, FileKind, JournalId, encode_batch};
use super::mark::{self, Mark, Point};
use super::opening::{self, Found};
use super::segment::Position;
use super::tail;
use crate::store::{Archive, Batch, Epoch, Journal, Repair, Sequence, StoreError};

/// How far the file is grown ahead of use, with zeros. Until they are used up, a commit changes no metadata and takes
/// the disk half as long; they are written together with a batch.
const ZERO_AHEAD_BYTES: usize = 256 * 1024;

/// A batch larger than this gains nothing by it: it would write as many zeros as records.
const ZERO_AHEAD_BATCH_BYTES_MAX: usize = ZERO_AHEAD_BYTES / 4;

/// What of the buffer for encoding is kept after a large batch.
const BUFFER_BYTES_KEPT: usize = 1024 * 1024;

pub(super) struct FileJournal {
    cell: Arc<Cell>,
    segment_bytes_max: u64,
    active: Active,
    buffer: Vec<u8>,
    /// Why nothing more may be appended.
    poisoned: Option<String>,
}

/// The last segment, open for writing.
struct Active {
    file: DiskFile,
    file_length: u64,
    mark: Mark,
    end: Point,
}

impl FileJournal {
    /// Opens a cell, or makes a new one; `cell` completes what its readers share.
    pub(super) fn open(
        directory: &Directory,
        segment_bytes_max: u64,
        cell: impl FnOnce(JournalId, SharedJournal) -> Cell,
    ) -> Result<(Self, Vec<Repair>), StoreError> {
        directory.create()?;
        if directory.is_new()? {
            begin(directory)?;
        }
        let found = opening::look(directory)?;
        let active = Active::restore(directory, &found)?;
        let cell = cell(found.tail.header.id, SharedJournal::new(found.extent()));
        let (cell, buffer, poisoned) = (Arc::new(cell), Vec::new(), None);
        Ok((Self { cell, segment_bytes_max, active, buffer, poisoned }, found.repairs))
    }

    fn refuse(&self, epoch: Epoch) -> Result<(), StoreError> {
        if let Some(cause) = &self.poisoned {
            return Err(StoreError::Poisoned { durable: self.last(), cause: cause.clone() });
        }
        let current = self.epoch();
        if epoch < current {
            return Err(StoreError::StaleEpoch { given: epoch, current });
        }
        Ok(())
    }

    /// Writes a batch and makes it durable.
    fn commit(&mut self, epoch: Epoch, batch: &Batch) -> Result<(), StoreError> {
        let Position { last, chain, .. } = self.active.end.position;
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
        let chain = encode_batch(&mut self.buffer, self.cell.id, epoch, last, chain, batch);
        let extent = self.buffer.len() as u64;
        if self.active.end.position.offset + extent > self.segment_bytes_max {
            self.roll()?;
        }
        self.grow_ahead();
        let offset = self.active.end.position.offset;
        if let Err(error) = self.active.file.write(offset, &self.buffer) {
            return Err(self.cut_back(error));
        }
        if let Err(error) = self.active.file.sync_contents() {
            return Err(self.poison(&error));
        }
        self.active.file_length = self.active.file_length.max(offset + self.buffer.len() as u64);
        let last = Sequence(last.0 + batch.len() as u64);
        self.active.end.position = Position { offset: offset + extent, last, epoch, chain };
        self.cell.journal.advance(self.active.end);
        if let Err(error) = self.active.mark.write(&self.active.end) {
            // The batch is durable, so it is acknowledged; but the next one could not be told from it.
            self.poison(&error);
        }
        Ok(())
    }

    /// Adds zeros to the buffer where the batch in it would need a longer file.
    fn grow_ahead(&mut self) {
        let offset = self.active.end.position.offset;
        let end = offset + self.buffer.len() as u64;
        if end > self.active.file_length && self.buffer.len() <= ZERO_AHEAD_BATCH_BYTES_MAX {
            let ahead = (end + ZERO_AHEAD_BYTES as u64).min(self.segment_bytes_max).max(end);
            self.buffer.resize((ahead - offset) as usize, 0);
        }
    }

    /// Takes away what a failed write may have left, so that the next attempt finds zeros as every append does.
    fn cut_back(&mut self, error: StoreError) -> StoreError {
        let offset = self.active.end.position.offset;
        match self.active.file.set_len(offset).and_then(|()| self.active.file.sync_all()) {
            Ok(()) => {
                self.active.file_length = offset;
                error
            }
            Err(second) => self.poison(&format_args!("{error}; and then {second}")),
        }
    }

    /// After a failed sync the pages in memory count as clean although the disk does not have them, so that neither
    /// reading nor syncing again proves anything.
    fn poison(&mut self, cause: &dyn Display) -> StoreError {
        let (durable, cause) = (self.last(), cause.to_string());
        self.poisoned = Some(cause.clone());
        StoreError::Poisoned { durable, cause }
    }

    /// Ends the present segment and begins the next; does nothing to one without records.
    fn roll(&mut self) -> Result<(), StoreError> {
        let end = self.active.end;
        let next = end.position.last.next();
        if next == end.segment {
            return Ok(());
        }
        if self.active.file_length > end.position.offset {
            self.active.file.set_len(end.position.offset)?;
            self.active.file_length = end.position.offset;
            if let Err(error) = self.active.file.sync_all() {
                return Err(self.poison(&error));
            }
        }
        let directory = &self.cell.directory;
        prepare_segment(directory, &self.cell.header(FileKind::Segment, end, next))?;
        match publish_segment(directory, next) {
            Ok(file) => self.active.file = file,
            Err(error) => return Err(self.poison(&error)),
        }
        self.active.file_length = FILE_HEADER_BYTES as u64;
        self.active.end.segment = next;
        self.active.end.position.offset = FILE_HEADER_BYTES as u64;
        self.cell.journal.advance(self.active.end);
        Ok(())
    }
}

impl Journal for FileJournal {
    fn last(&self) -> Sequence {
        self.active.end.position.last
    }

    fn epoch(&self) -> Epoch {
        self.active.end.position.epoch
    }

    fn lead(&mut self, epoch: Epoch) -> Result<(), StoreError> {
        self.refuse(epoch)?;
        if epoch == self.epoch() {
            return Ok(());
        }
        self.commit(epoch, &Batch::default())
    }

    fn append(&mut self, epoch: Epoch, after: Sequence, batch: &Batch) -> Result<Sequence, StoreError> {
        self.refuse(epoch)?;
        let last = self.last();
        if after != last {
            return Err(StoreError::StaleSequence { after, last });
        }
        if !batch.is_empty() {
            self.commit(epoch, batch)?;
        }
        Ok(self.last())
    }

    fn seal_now(&mut self) -> Result<Sequence, StoreError> {
        self.refuse(self.epoch())?;
        self.roll()?;
        Ok(self.last())
    }

    fn reopen(&mut self) -> Result<Vec<Repair>, StoreError> {
        self.poisoned.get_or_insert_with(|| "it was not reopened to the end".to_owned());
        let found = opening::look(&self.cell.directory)?;
        let (before, end) = (self.active.end.position, found.end());
        if end.position.last < before.last {
            let path = self.cell.directory.segment(end.segment);
            return Err(tail::lost(&path, before, end.position, &self.cell.directory.mark()));
        }
        self.active = Active::restore(&self.cell.directory, &found)?;
        self.cell.journal.replace(found.extent());
        self.poisoned = None;
        Ok(found.repairs)
    }

    fn archive(&self) -> Arc<dyn Archive> {
        self.cell.clone()
    }

    fn close(self: Box<Self>) -> Result<(), StoreError> {
        self.refuse(self.epoch())?;
        let offset = self.active.end.position.offset;
        if self.active.file_length > offset {
            self.active.file.set_len(offset)?;
            self.active.file.sync_all()?;
        }
        self.active.mark.sync()
    }
}

impl Active {
    /// Puts right what was found, and makes sure that what is readable is also durable.
    fn restore(directory: &Directory, found: &Found) -> Result<Self, StoreError> {
        for repair in &found.repairs {
            if let Repair::Unfinished { path } = repair {
                disk::remove(path)?;
            }
        }
        let end = found.end();
        let file = DiskFile::open(directory.segment(end.segment), true)?;
        let file_length = end.position.offset;
        // What was read need not be on the disk, where a sync has failed before: the last batch is written once more,
        // and the length is set even where it seems to be right.
        if let Some(batch) = found.tail.last_batch.clone().filter(|_| found.mark.point() != Some(end)) {
            let mut bytes = vec![0; (batch.end - batch.start) as usize];
            file.read(batch.start, &mut bytes)?;
            file.write(batch.start, &bytes)?;
        }
        file.set_len(file_length)?;
        file.sync_all()?;
        disk::sync_directory(&directory.journal())?;
        let mark_path = directory.mark();
        let mark = match found.mark {
            mark::Found::Whole(_) => {
                let mut mark = Mark::open(&mark_path, found.tail.header.id)?;
                mark.write(&end)?;
                mark
            }
            mark::Found::Half(_) | mark::Found::Missing => Mark::create(&mark_path, found.tail.header.id, &end)?,
        };
        Ok(Self { file, file_length, mark, end })
    }
}

/// Makes a new cell's first segment.
fn begin(directory: &Directory) -> Result<(), StoreError> {
    let header = FileHeader {
        kind: FileKind::Segment,
        id: JournalId::random(),
        sequence: Sequence(1),
        epoch: Epoch(0),
        chain: 0,
        cell: directory.cell().clone(),
    };
    prepare_segment(directory, &header)?;
    publish_segment(directory, header.sequence).map(drop)
}

/// Makes a segment under a name that nobody reads yet.
fn prepare_segment(directory: &Directory, header: &FileHeader) -> Result<(), StoreError> {
    let path = unfinished(&directory.segment(header.sequence));
    disk::remove(&path)?;
    let file = DiskFile::create(path)?;
    file.write(0, &header.encode())?;
    file.sync_all()
}

/// Gives a segment its name.
fn publish_segment(directory: &Directory, first: Sequence) -> Result<DiskFile, StoreError> {
    let path = directory.segment(first);
    disk::rename(&unfinished(&path), &path)?;
    disk::sync_directory(&directory.journal())?;
    DiskFile::open(path, true)
}
