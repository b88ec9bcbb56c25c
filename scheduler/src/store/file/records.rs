//! Reading the journal across its segments.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use super::cell::SharedJournal;
use super::directory::Directory;
use super::mark::Point;
use super::segment::{Batches, Position, Step, take_record};
use super::tail::corrupt;
use crate::store::{Corruption, Epoch, Record, Sequence, StoreError};

/// The records after a sequence, up to what was durable when the reading began.
pub(super) struct FileRecords {
    directory: Directory,
    journal: SharedJournal,
    after: Sequence,
    end: Point,
    /// Segments not yet opened.
    segments: VecDeque<Sequence>,
    batches: Option<Batches>,
    /// The records of the present batch: where the next begins, its sequence, and their epoch.
    cursor: usize,
    next: Sequence,
    epoch: Epoch,
    /// The segment before, and where it ended.
    before: Option<(Sequence, Position)>,
}

impl FileRecords {
    pub(super) fn new(directory: Directory, journal: SharedJournal, after: Sequence) -> Result<Self, StoreError> {
        let extent = journal.read();
        let first = extent.first();
        if after.next() < first {
            return Err(StoreError::Pruned { after, first });
        }
        let end = extent.end;
        let begin = extent.segments.partition_point(|first| *first <= after.next()).saturating_sub(1);
        let segments = extent.segments[begin..].iter().copied().collect();
        let (batches, before) = (None, None);
        let (cursor, next, epoch) = (0, Sequence::default(), Epoch::default());
        Ok(Self { directory, journal, after, end, segments, batches, cursor, next, epoch, before })
    }

    fn read(&mut self) -> Result<Option<Record>, StoreError> {
        loop {
            let Some(batches) = &mut self.batches else {
                let Some(first) = self.segments.pop_front() else {
                    return Ok(None);
                };
                self.batches = Some(self.open(first)?);
                continue;
            };
            if let Some(record) = take_record(batches.records(), &mut self.cursor, self.next, self.epoch) {
                self.next = self.next.next();
                if record.sequence > self.after {
                    return Ok(Some(record));
                }
                continue;
            }
            let here = batches.position();
            match batches.step()? {
                Step::Batch(header) => (self.cursor, self.next, self.epoch) = (0, header.first, header.epoch),
                Step::Damage(damage) => {
                    return Err(corrupt(batches.path(), here, damage, &self.directory.mark()).into());
                }
                Step::End if here.offset < batches.end() => {
                    return Err(zeros(batches.path(), here, batches.end()).into());
                }
                Step::End => {
                    self.before = Some((batches.header().sequence, here));
                    self.batches = None;
                }
            }
        }
    }

    /// Opens the segment that begins at `first`, which must go on where the one before ended.
    fn open(&self, first: Sequence) -> Result<Batches, StoreError> {
        let path = self.directory.segment(first);
        let end = (first == self.end.segment).then_some(self.end.position.offset);
        let batches = Batches::open(path.clone(), end).map_err(|error| self.gone(first, error))?;
        let Some((segment, before)) = self.before else {
            return Ok(batches);
        };
        if before.last.next() != first {
            return Err(gap(&self.directory, segment, before, first).into());
        }
        let found = batches.header().chain;
        if before.chain != found {
            return Err(Corruption {
                path,
                offset: 48,
                sequence: Some(first),
                expected: format!("the segment that follows chain value {:08x}", before.chain),
                found: format!("one that follows {found:08x}"),
                help: "this segment or the one before it belongs elsewhere: restore them from a copy".to_owned(),
            }
            .into());
        }
        Ok(batches)
    }

    /// A segment that is not there may have been deleted with leave, since the reading began.
    fn gone(&self, first: Sequence, error: StoreError) -> StoreError {
        match &error {
            StoreError::Io { source, path, .. } if source.kind() == io::ErrorKind::NotFound => {
                let kept = self.journal.read().first();
                if kept > first {
                    return StoreError::Pruned { after: self.after, first: kept };
                }
                Corruption {
                    path: path.clone(),
                    offset: 0,
                    sequence: Some(first),
                    expected: "this segment".to_owned(),
                    found: "no such file".to_owned(),
                    help: "restore the file from a copy".to_owned(),
                }
                .into()
            }
            _ => error,
        }
    }
}

impl Iterator for FileRecords {
    type Item = Result<Record, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.read();
        if record.is_err() {
            self.segments.clear();
            self.batches = None;
        }
        record.transpose()
    }
}

fn zeros(path: &Path, at: Position, end: u64) -> Corruption {
    Corruption {
        path: path.to_owned(),
        offset: at.offset,
        sequence: Some(at.last.next()),
        expected: "a batch, or the end of the file".to_owned(),
        found: format!("{} zero bytes", end - at.offset),
        help: "restore the file from a copy".to_owned(),
    }
}

/// A segment ends before the next one begins.
fn gap(directory: &Directory, segment: Sequence, end: Position, next: Sequence) -> Corruption {
    let wanted = end.last.next();
    Corruption {
        path: directory.segment(segment),
        offset: end.offset,
        sequence: Some(wanted),
        expected: format!("sequence {wanted}, since the next segment begins at {next}"),
        found: "the end of the segment".to_owned(),
        help: format!(
            "restore this file from a copy, or {} if that is the one that is missing",
            directory.segment(wanted).display()
        ),
    }
}
