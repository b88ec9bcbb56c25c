//! What instructions are counted of: one thing at a time, done so many times over.
//!
//! All that is needed is prepared for the most times that a thing can be done, whatever is asked for. So two runs differ
//! by what the thing itself costs.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use headgate_ledger::{Id, Request};
use headgate_scheduler::persist::{Record, RecordReader, RecordWriter};

use crate::{Cell, Size, record};

/// Does it once more; told how often it was done before.
type Once = Box<dyn FnMut(usize)>;

/// A thing to be counted.
#[derive(Clone, Copy, Debug)]
pub struct Thing {
    /// What it is called, here and where counts are recorded.
    pub name: &'static str,
    /// The most times that it can be done.
    pub times_max: usize,
    /// Whether its count is recorded: what takes minutes to prepare is counted by hand.
    pub is_recorded: bool,
    size: Size,
    prepare: fn(Size, usize) -> Once,
}

const fn recorded(name: &'static str, size: Size, prepare: fn(Size, usize) -> Once) -> Thing {
    Thing { name, times_max: 1_000, is_recorded: true, size, prepare }
}

const fn by_hand(name: &'static str, size: Size, prepare: fn(Size, usize) -> Once) -> Thing {
    Thing { name, times_max: 10_000, is_recorded: false, size, prepare }
}

/// All things.
pub const THINGS: [Thing; 13] = [
    recorded("admit", SMALL, admit),
    recorded("check", SMALL, check),
    recorded("explain", SMALL, explain),
    recorded("explain_what_waits", WAITING, explain_what_waits),
    recorded("renew", SMALL, renew),
    recorded("release", SMALL, release),
    recorded("release_admits_one", WAITING, release),
    recorded("release_a_victim", Size { leaves: 1_200, ..SMALL }, release_a_victim),
    recorded("encode_a_record", SMALL, encode),
    recorded("decode_a_record", SMALL, decode),
    by_hand("release_admits_one_of_a_million", Size { tickets: 1_000_000, shapes: 16, ..LARGE }, release),
    by_hand("release_a_victim_of_many", Size { leaves: 12_000, ..LARGE }, release_a_victim),
    by_hand("release_among_shapes", Size { tickets: 1_000_000, shapes: 1_000_000, ..LARGE }, release),
];

/// Small enough to be prepared under valgrind in seconds, and deep and wide enough that all is gone through.
const SMALL: Size = Size { levels: 4, resources: 4, leaves: 500, leases: 2_000, tickets: 0, shapes: 0 };
/// Every other release makes room for one of the tickets that wait; none of the others fits.
const WAITING: Size = Size { tickets: 2_000, shapes: 16, ..SMALL };
const LARGE: Size = Size { leaves: 10_000, leases: 20_000, ..SMALL };

impl Thing {
    /// The thing of a name.
    pub fn of(name: &str) -> Option<Self> {
        THINGS.into_iter().find(|thing| thing.name == name)
    }

    /// Does it so many times, at most [`Thing::times_max`].
    pub fn run(&self, times: usize) {
        let mut once = (self.prepare)(self.size, self.times_max);
        (0..times.min(self.times_max)).for_each(&mut once);
        // Nor is counted what becomes of it all.
        std::mem::forget(once);
    }
}

fn requests(cell: &mut Cell, times: usize) -> Vec<Arc<Request>> {
    (0..times).map(|nth| cell.request(nth * 7, 1)).collect()
}

fn admit(size: Size, times: usize) -> Once {
    let mut cell = Cell::new(size);
    let requests = requests(&mut cell, times);
    Box::new(move |nth| {
        black_box(cell.acquire(&requests[nth]));
    })
}

fn check(size: Size, times: usize) -> Once {
    let mut cell = Cell::new(size);
    let requests = requests(&mut cell, times);
    Box::new(move |nth| {
        black_box(cell.check(&requests[nth]));
    })
}

/// Of what would be admitted.
fn explain(size: Size, times: usize) -> Once {
    let mut cell = Cell::new(size);
    let requests = requests(&mut cell, times);
    Box::new(move |nth| {
        black_box(cell.explain(&requests[nth]));
    })
}

/// Of tickets in a full pool, behind others.
fn explain_what_waits(size: Size, times: usize) -> Once {
    let cell = Cell::new(size);
    let tickets: Vec<_> = cell.ledger.tickets().map(|ticket| ticket.id).take(times).collect();
    Box::new(move |nth| {
        black_box(cell.ledger.explain_id(cell.time(), tickets[nth]));
    })
}

fn renew(size: Size, times: usize) -> Once {
    let mut cell = Cell::new(size);
    let leases: Vec<_> = requests(&mut cell, times)
        .into_iter()
        .filter_map(|request| cell.acquire(&Cell::lasting(request, Duration::from_secs(60))))
        .collect();
    Box::new(move |nth| cell.renew(leases[nth]))
}

/// Whoever waits is admitted as soon as there is room.
fn release(size: Size, _: usize) -> Once {
    let mut cell = Cell::new(size);
    let leases: Vec<_> = cell.ledger.leases().map(|lease| lease.id).collect();
    Box::new(move |nth| release_and_settle(&mut cell, leases[nth]))
}

/// A holder gives up early what was to be taken back: the first claim's ticket is admitted. Every leaf claims or gives way.
fn release_a_victim(size: Size, _: usize) -> Once {
    let mut cell = Cell::reclaiming(size.leaves);
    let victims: Vec<_> =
        cell.ledger.leases().filter(|lease| lease.deadline().is_some()).map(|lease| lease.id).collect();
    Box::new(move |nth| release_and_settle(&mut cell, victims[nth]))
}

#[inline(never)]
fn release_and_settle(cell: &mut Cell, lease: Id) {
    cell.release(lease);
    black_box(cell.settle());
}

fn records(size: Size, times: usize) -> Vec<Record> {
    let mut cell = Cell::new(size);
    (0..times).map(|nth| record(&mut cell, nth)).collect()
}

fn encode(size: Size, times: usize) -> Once {
    let records = records(size, times);
    let mut writer = RecordWriter::default();
    // Its room is there before.
    black_box(writer.write(&records[0]));
    Box::new(move |nth| {
        black_box(writer.write(&records[nth]));
    })
}

fn decode(size: Size, times: usize) -> Once {
    let written = |record: Record| {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        bytes
    };
    let records: Vec<_> = records(size, times).into_iter().map(written).collect();
    let mut reader = RecordReader::default();
    // The names are known before, as they mostly are.
    records.iter().for_each(|record| drop(black_box(reader.read(record))));
    Box::new(move |nth| {
        black_box(reader.read(&records[nth]).is_ok());
    })
}

#[cfg(test)]
mod tests {
    use super::{Size, THINGS};

    #[test]
    fn everything_can_be_done() {
        for thing in THINGS {
            let Size { tickets, shapes, .. } = thing.size;
            let size = Size { leaves: 20, leases: 40, tickets: tickets.min(40), shapes: shapes.min(4), ..thing.size };
            let mut once = (thing.prepare)(size, 20);
            (0..20).for_each(&mut once);
        }
    }

    #[test]
    fn names_are_told_apart() {
        let names: std::collections::BTreeSet<_> = THINGS.iter().map(|thing| thing.name).collect();
        assert_eq!(names.len(), THINGS.len());
    }
}
