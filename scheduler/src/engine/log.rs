//! What has been posted and is on its way: to the store, and to the readers.

use std::collections::VecDeque;
use std::sync::Arc;

use headgate_ledger::{Entry, Request, Resource};

use crate::persist::{Record, What};

/// Records that are shown together when nobody waits to see them: a tenth of a millisecond's work.
const MUCH: usize = 256;

/// Records that are shown in one portion, at least and, but where more belong together, at most: readers wait for some tens
/// or hundreds of microseconds. With fewer the publisher would wait more than it works, where many read.
const PORTION: std::ops::RangeInclusive<usize> = 32..=256;
/// Of a batch, a portion is one in so many: the further readers are behind, the larger the portions by which they catch up.
const PORTIONS: usize = 8;

/// Records that were posted one after another, cut off together.
#[derive(Debug)]
pub(super) struct Batch {
    /// The number of the first.
    pub(super) first: u64,
    pub(super) records: Vec<Record>,
    /// Where its portions end, the last with the batch.
    ends: Vec<usize>,
    /// About how many bytes they have in the journal.
    pub(super) bytes: usize,
}

impl Batch {
    /// The number of the last.
    pub(super) fn last(&self) -> u64 {
        self.first + self.records.len() as u64 - 1
    }

    /// The records with their numbers.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (u64, &Record)> {
        (self.first..).zip(&self.records)
    }

    /// The records in the portions in which they are shown, each with the number of its first: what follows from an entry
    /// at once is in one with it.
    pub(super) fn portions(&self) -> impl Iterator<Item = (u64, &[Record])> {
        let least = (self.records.len() / PORTIONS).clamp(*PORTION.start(), *PORTION.end());
        let mut start = 0;
        self.ends.iter().filter_map(move |end| {
            if *end < self.records.len() && *end < start + least {
                return None;
            }
            let portion = (self.first + start as u64, &self.records[start..*end]);
            start = *end;
            Some(portion)
        })
    }
}

/// What has been posted and is on its way. It is behind the writer's lock.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// The number of the last record.
    pub(super) posted: u64,
    /// Posted since the last cut.
    open: Vec<Record>,
    /// Where portions of it end.
    ends: Vec<usize>,
    open_bytes: usize,
    to_commit: VecDeque<Arc<Batch>>,
    to_publish: VecDeque<Arc<Batch>>,
    /// Bytes that the store has not taken yet.
    pub(super) unjournaled: usize,
    /// All up to this number is durable.
    pub(super) durable: u64,
    /// Nothing more is committed.
    pub(super) over: bool,
    /// Nothing is ever written down.
    forgotten: bool,
    /// The publisher lets more come together before it shows it.
    pub(super) gathers: bool,
}

impl Log {
    pub(super) fn new(posted: u64) -> Self {
        Self { posted, durable: posted, ..Self::default() }
    }

    /// The log of a cell of which nothing is ever written down.
    pub(super) fn forgotten(posted: u64) -> Self {
        Self { forgotten: true, ..Self::new(posted) }
    }

    pub(super) fn push(&mut self, record: Record) {
        self.posted += 1;
        if self.forgotten {
            self.durable = self.posted;
            self.open.push(record);
            return;
        }
        let bytes = about_bytes(&record);
        self.open_bytes += bytes;
        self.unjournaled += bytes;
        self.open.push(record);
    }

    /// Whether something was posted since the last cut.
    pub(super) fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Whether so much was posted since the last cut that it should be shown.
    pub(super) fn is_much(&self) -> bool {
        self.open.len() >= MUCH
    }

    /// All that follows at once from what was posted so far has been posted: readers may see it without what comes next.
    pub(super) fn settled(&mut self) {
        if self.open.len() >= self.ends.last().unwrap_or(&0) + PORTION.start() {
            self.ends.push(self.open.len());
        }
    }

    /// Sends what was posted since the last cut on its way. What was posted is settled.
    pub(super) fn cut(&mut self) {
        if self.open.is_empty() {
            return;
        }
        if self.ends.last() != Some(&self.open.len()) {
            self.ends.push(self.open.len());
        }
        let ends = std::mem::take(&mut self.ends);
        // As much room as this time was needed: the next cut is likely to be alike.
        let room = Vec::with_capacity(self.open.len());
        let records = std::mem::replace(&mut self.open, room);
        let bytes = std::mem::take(&mut self.open_bytes);
        let first = self.posted + 1 - records.len() as u64;
        let batch = Arc::new(Batch { first, records, ends, bytes });
        if !self.forgotten {
            self.to_commit.push_back(batch.clone());
        }
        self.to_publish.push_back(batch);
    }

    pub(super) fn take_to_commit(&mut self) -> VecDeque<Arc<Batch>> {
        std::mem::take(&mut self.to_commit)
    }

    /// The next batch to be shown; where that is `when_durable`, none that the store has not got.
    pub(super) fn take_to_publish(&mut self, when_durable: bool) -> Option<Arc<Batch>> {
        let durable = self.durable;
        self.to_publish.pop_front_if(|batch| !when_durable || batch.last() <= durable)
    }
}

/// About how many bytes a record has in the journal: enough to bound memory by, without encoding it under the lock.
fn about_bytes(record: &Record) -> usize {
    const FRAME: usize = 64;
    const ITEM: usize = 32;
    let what = match &record.what {
        What::Digest { .. } => 0,
        What::Entry(entry) => match entry {
            Entry::Admitted { request, .. } | Entry::Queued { request, .. } => request_bytes(request),
            Entry::Configured(changes) => changes.len() * 512,
            Entry::Resized { resources, .. } => resources.len() * ITEM,
            Entry::Claimed { by, victims, .. } | Entry::ClaimExtended { by, victims, .. } => {
                (by.len() * 4 + victims.len()) * ITEM
            }
            Entry::HoldsPassed { turned, lost, held, .. } => (turned.len() + lost.len() + held.len() * 2) * ITEM,
            Entry::Renewed { holder, .. } => holder.as_ref().map_or(0, |holder| holder.as_str().len()),
            Entry::Hit { hits } => {
                hits.iter().map(|hit| ITEM + hit.tenant.as_str().len() + hit.resource.as_str().len()).sum()
            }
            Entry::BudgetTurned { tenant, .. }
            | Entry::BurstOver { tenant, .. }
            | Entry::MemberGone { tenant }
            | Entry::Drained { tenant } => ITEM + tenant.as_str().len(),
            Entry::Dispatched { .. }
            | Entry::Confirmed { .. }
            | Entry::Ended { .. }
            | Entry::ClaimDropped { .. }
            | Entry::LetOff { .. }
            | Entry::Silenced { .. }
            | Entry::Resumed => 0,
        },
    };
    FRAME + record.origin.actor.len() + record.origin.reason.len() + what
}

fn request_bytes(request: &Request) -> usize {
    const FIXED: usize = 96;
    let named = |resource: &Resource| resource.as_str().len() + 14;
    FIXED
        + request.id.as_str().len()
        + request.tenant.as_str().len()
        + request.holder.as_ref().map_or(0, |holder| holder.as_str().len())
        + request.resources.iter().map(|(resource, _)| named(resource)).sum::<usize>()
        + request.labels.iter().map(|(name, value)| name.len() + value.len() + 8).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use headgate_ledger::{Entry, Id, Time};

    use super::Log;
    use crate::engine::caller::ledger_origin;
    use crate::persist::{Record, What};

    fn record(id: u64) -> Record {
        Record { time: Time::EPOCH, origin: ledger_origin(), what: What::Entry(Entry::Confirmed { id: Id(id) }) }
    }

    #[test]
    fn what_was_posted_goes_both_ways_in_order_and_numbered() {
        let mut log = Log::new(10);
        log.cut();
        assert!(log.take_to_commit().is_empty());
        log.push(record(1));
        log.push(record(2));
        assert!(log.is_open());
        log.cut();
        log.push(record(3));
        log.cut();
        assert!(!log.is_open());
        let committed: Vec<_> = log.take_to_commit().iter().map(|batch| (batch.first, batch.last())).collect();
        assert_eq!(committed, [(11, 12), (13, 13)]);
        assert!(log.take_to_publish(true).is_none());
        log.durable = 12;
        let published = log.take_to_publish(true).expect("a batch");
        assert_eq!(published.numbered().map(|(number, _)| number).collect::<Vec<_>>(), [11, 12]);
        assert!(log.take_to_publish(true).is_none());
        assert_eq!(log.take_to_publish(false).map(|batch| batch.first), Some(13));
        assert_eq!((log.posted, log.take_to_publish(false).is_none()), (13, true));
        assert!(log.unjournaled > 0);
    }

    /// A batch, cut after steps of so many records each: the numbers of the first records of its portions, and their sizes.
    fn portions(steps: &[usize]) -> Vec<(u64, usize)> {
        let mut log = Log::new(0);
        for step in steps {
            (0..*step).for_each(|id| log.push(record(id as u64)));
            log.settled();
        }
        log.cut();
        let batch = log.take_to_publish(false).expect("a batch");
        batch.portions().map(|(first, records)| (first, records.len())).collect()
    }

    #[test]
    fn what_belongs_together_is_shown_together() {
        assert_eq!(portions(&[1]), [(1, 1)]);
        // As many of one entry each as make a portion, then one from which much follows, and a last one.
        let steps = [&[1; 32][..], &[100], &[1]].concat();
        assert_eq!(portions(&steps), [(1, 32), (33, 100), (133, 1)]);
    }

    #[test]
    fn the_more_there_is_to_show_the_more_is_shown_at_once() {
        let sizes = |records| portions(&vec![1; records]).into_iter().map(|(_, size)| size).collect::<Vec<_>>();
        assert_eq!(sizes(100), [32, 32, 32, 4]);
        assert_eq!(sizes(1024), [128; 8]);
        assert_eq!(sizes(4096), [256; 16]);
    }
}
