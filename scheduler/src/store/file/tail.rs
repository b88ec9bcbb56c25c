//! The journal's end: where it is, and whether what lies behind it is an interrupted append or damage. The rules are
//! those at the end of the format's description.

use std::ops::Range;
use std::path::Path;

use super::format::{BATCH_END, BatchHeader, FileHeader, SECTOR_BYTES};
use super::mark::Point;
use super::segment::{Batches, Damage, Position, Step};
use crate::store::{Corruption, Repair, Sequence, StoreError};

/// The last segment, read to its end.
pub(super) struct Tail {
    pub(super) header: FileHeader,
    /// Where the next batch goes.
    pub(super) position: Position,
    /// The bytes of the batch before that.
    pub(super) last_batch: Option<Range<u64>>,
    /// What is to be cut off.
    pub(super) torn: Option<Repair>,
}

/// Reads the last segment. `acknowledged` is what the mark says, in this segment or an earlier one.
pub(super) fn read(path: &Path, acknowledged: Option<Point>, mark: &Path) -> Result<Tail, StoreError> {
    let mut batches = Batches::open(path.to_owned(), None)?;
    let acknowledged = acknowledged.filter(|point| point.segment == batches.header().sequence);
    let mut last_batch = None;
    let mut torn = None;
    loop {
        let here = batches.position();
        if let Some(point) = acknowledged.filter(|point| point.position.offset == here.offset) {
            refuse_other_history(path, point.position, here, mark)?;
        }
        match batches.step()? {
            Step::Batch(_) => last_batch = Some(here.offset..batches.position().offset),
            Step::End => break,
            Step::Damage(damage) => {
                let unacknowledged = acknowledged.is_none_or(|point| point.position.offset <= here.offset);
                match interrupted(&mut batches)? {
                    Some(bytes) if unacknowledged => {
                        let (offset, last) = (here.offset, here.last);
                        torn = Some(Repair::TornTail { path: path.to_owned(), offset, bytes, last });
                        break;
                    }
                    _ => return Err(corrupt(path, here, damage, mark).into()),
                }
            }
        }
    }
    let position = batches.position();
    match acknowledged {
        Some(point) if point.position.offset > position.offset => Err(lost(path, point.position, position, mark)),
        _ => Ok(Tail { header: batches.header().clone(), position, last_batch, torn }),
    }
}

/// Whether what stands at the end of the batches that can be read may be what an interrupted append left: then how
/// many bytes of it.
fn interrupted(batches: &mut Batches) -> Result<Option<u64>, StoreError> {
    let here = batches.position();
    let id = batches.header().id;
    let header = batches.header_here()?;
    let rest = batches.rest()?;
    let used = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let rest = &rest[..used];
    if BatchHeader::find(id, rest.get(1..).unwrap_or_default(), here.last).is_some() {
        return Ok(None);
    }
    let written_to_its_end = match header {
        Some(header) => rest.get(..header.extent()),
        None => rest.ends_with(&BATCH_END).then_some(rest),
    };
    let torn = written_to_its_end.is_none_or(|batch| has_zero_sector(here.offset, batch));
    Ok(torn.then_some(used as u64))
}

/// Whether `bytes`, which stand at `offset`, have nothing but zeros in some sector.
fn has_zero_sector(offset: u64, bytes: &[u8]) -> bool {
    let in_first = SECTOR_BYTES - (offset % SECTOR_BYTES as u64) as usize;
    let (first, others) = bytes.split_at(in_first.min(bytes.len()));
    let zero = |sector: &[u8]| !sector.is_empty() && sector.iter().all(|byte| *byte == 0);
    zero(first) || others.chunks(SECTOR_BYTES).any(zero)
}

/// Damage at `at` or in the batch that begins there, as it is told.
pub(super) fn corrupt(path: &Path, at: Position, damage: Damage, mark: &Path) -> Corruption {
    let help = format!(
        "restore the file from a copy; or, to go on without sequence {} and all that follows, cut the file to {} bytes, \
         remove all segments after it, and remove {}",
        at.last.next(),
        at.offset,
        mark.display()
    );
    Corruption {
        path: path.to_owned(),
        offset: damage.offset,
        sequence: Some(damage.sequence),
        expected: damage.expected,
        found: damage.found,
        help,
    }
}

/// The journal ends before what was acknowledged.
pub(super) fn lost(path: &Path, acknowledged: Position, end: Position, mark: &Path) -> StoreError {
    Corruption {
        path: path.to_owned(),
        offset: end.offset,
        sequence: Some(end.last.next()),
        expected: format!(
            "all up to sequence {}, which was acknowledged, in {} bytes",
            acknowledged.last, acknowledged.offset
        ),
        found: format!("the journal's end, after sequence {}", end.last),
        help: format!(
            "restore the file from a copy; or, to go on without what was acknowledged after sequence {}, remove {}",
            end.last,
            mark.display()
        ),
    }
    .into()
}

/// Refuses a journal that has something else where the mark says what was acknowledged.
fn refuse_other_history(path: &Path, acknowledged: Position, here: Position, mark: &Path) -> Result<(), StoreError> {
    if acknowledged == here {
        return Ok(());
    }
    let name = |position: Position| {
        let Sequence(last) = position.last;
        format!("the end of sequence {last}, epoch {}, chain value {:08x}", position.epoch, position.chain)
    };
    Err(Corruption {
        path: path.to_owned(),
        offset: here.offset,
        sequence: Some(here.last),
        expected: format!("{}, which was acknowledged", name(acknowledged)),
        found: name(here),
        help: format!("restore the file from a copy; or, to go on with what it has, remove {}", mark.display()),
    }
    .into())
}
