//! Looking at a cell's files before anything is changed.

use std::path::Path;

use super::cell::Extent;
use super::directory::Directory;
use super::disk::DiskFile;
use super::format::FileHeader;
use super::mark::{self, Point};
use super::segment;
use super::snapshot;
use super::tail::{self, Tail};
use crate::store::{Corruption, Repair, Sequence, StoreError};

/// A cell as it was found.
pub(super) struct Found {
    /// The first sequences of the segments, in order; never empty.
    pub(super) segments: Vec<Sequence>,
    pub(super) tail: Tail,
    pub(super) mark: mark::Found,
    /// What is to be put right.
    pub(super) repairs: Vec<Repair>,
}

impl Found {
    /// The journal's end.
    pub(super) fn end(&self) -> Point {
        Point { segment: self.tail.header.sequence, position: self.tail.position }
    }

    pub(super) fn extent(&self) -> Extent {
        Extent { segments: self.segments.clone(), end: self.end() }
    }
}

/// Looks at everything but the contents of snapshots and of segments before the last.
pub(super) fn look(directory: &Directory) -> Result<Found, StoreError> {
    let segments = directory.list_segments()?;
    let snapshots = directory.list_snapshots()?;
    let mark_path = directory.mark();
    let Some((&last_segment, earlier)) = segments.split_last() else {
        let wanted = snapshots.last().copied().unwrap_or_default().next();
        return Err(missing(directory, wanted, "no segment").into());
    };
    let last_path = directory.segment(last_segment);
    let header = segment::read_header(&DiskFile::open(last_path.clone(), false)?)?;
    let expected = FileHeader { cell: directory.cell().clone(), sequence: last_segment, ..header.clone() };
    header.refuse_stranger(&expected, &last_path, &last_path)?;
    refuse_strangers(directory, earlier, &snapshots, &expected)?;
    refuse_missing_start(directory, &segments, &snapshots)?;

    let mark = mark::read(mark_path.clone(), header.id, &last_path)?;
    if let Some(point) = mark.point().filter(|point| point.segment > last_segment) {
        let found = format!("no segment after {}", last_path.display());
        return Err(missing(directory, point.segment, &found).into());
    }
    let tail = tail::read(&last_path, mark.point(), &mark_path)?;
    if let Some(newest) = snapshots.last().filter(|newest| **newest > tail.position.last) {
        return Err(Corruption {
            path: last_path,
            offset: tail.position.offset,
            sequence: Some(tail.position.last.next()),
            expected: format!("all up to sequence {newest}, at which a snapshot stands"),
            found: format!("the journal's end, after sequence {}", tail.position.last),
            help: "restore the journal's files from a copy".to_owned(),
        }
        .into());
    }
    let mut repairs = directory.list_unfinished()?;
    repairs.extend(mark_repair(mark, &tail, &mark_path));
    repairs.extend(tail.torn.clone());
    Ok(Found { segments, tail, mark, repairs })
}

/// Every file must be of the cell and journal that the last segment is of, and what its name says.
fn refuse_strangers(
    directory: &Directory,
    segments: &[Sequence],
    snapshots: &[Sequence],
    last: &FileHeader,
) -> Result<(), StoreError> {
    let reference = directory.segment(last.sequence);
    for &first in segments {
        let path = directory.segment(first);
        let header = segment::read_header(&DiskFile::open(path.clone(), false)?)?;
        header.refuse_stranger(&FileHeader { sequence: first, ..last.clone() }, &path, &reference)?;
    }
    for &at in snapshots {
        let path = directory.snapshot(at);
        let header = snapshot::read_header(&DiskFile::open(path.clone(), false)?);
        let header = header.map_err(|error| snapshot::with_help(error, snapshot::fallback(at, snapshots, segments)))?;
        header.refuse_stranger(&FileHeader { sequence: at, ..last.clone() }, &path, &reference)?;
    }
    Ok(())
}

/// The journal must begin where the oldest snapshot stands, or at sequence 1.
fn refuse_missing_start(
    directory: &Directory,
    segments: &[Sequence],
    snapshots: &[Sequence],
) -> Result<(), StoreError> {
    let base = snapshots.first().copied().unwrap_or_default();
    match segments.first() {
        Some(first) if *first > base.next() => {
            let found = format!("{} as the first segment", directory.segment(*first).display());
            Err(missing(directory, base.next(), &found).into())
        }
        _ => Ok(()),
    }
}

/// A segment is missing that begins at `sequence`, or has it.
fn missing(directory: &Directory, sequence: Sequence, found: &str) -> Corruption {
    Corruption {
        path: directory.segment(sequence),
        offset: 0,
        sequence: Some(sequence),
        expected: format!("this segment, or one that begins before sequence {sequence} and has it"),
        found: found.to_owned(),
        help: format!("restore the files of {} from a copy", directory.journal().display()),
    }
}

fn mark_repair(mark: mark::Found, tail: &Tail, path: &Path) -> Option<Repair> {
    let was = match mark {
        mark::Found::Whole(_) => return None,
        mark::Found::Half(_) => "half unreadable",
        // A journal that was just made may not have got so far.
        mark::Found::Missing if tail.header.sequence == Sequence(1) && tail.last_batch.is_none() => return None,
        mark::Found::Missing => "missing",
    };
    Some(Repair::Mark { path: path.to_owned(), was })
}
