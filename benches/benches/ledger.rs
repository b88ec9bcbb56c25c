//! What a decision costs, and how that grows with tenants, leases, tickets and claims.

use std::cell::RefCell;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use headgate_benches::{Cell, Size};
use headgate_ledger::Id;

/// As few at a time as whoever asks has at hand: what is asked was just read.
const BATCH: u64 = 64;
/// Tenants and leases.
const SIZES: [(u32, u32); 3] = [(100, 1_000), (10_000, 100_000), (100_000, 1_000_000)];

/// One admission, asked and posted.
fn admit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("admit");
    for (leaves, leases) in SIZES {
        let cell = RefCell::new(Cell::new(Size { leaves, leases, tickets: 0, shapes: 0 }));
        let (mut next, admitted) = (0usize, RefCell::new(Vec::new()));
        group.bench_function(BenchmarkId::new("tenants_leases", format!("{leaves}_{leases}")), |bencher| {
            bencher.iter_batched(
                || {
                    let mut cell = cell.borrow_mut();
                    admitted.borrow_mut().drain(..).for_each(|id| cell.release(id));
                    next += 1;
                    cell.request(next * 7, 1)
                },
                |request| {
                    let id = cell.borrow_mut().acquire(&request);
                    admitted.borrow_mut().extend(id);
                    request
                },
                BatchSize::NumIterations(BATCH),
            );
        });
    }
    group.finish();
}

/// The release of what was just admitted.
fn release(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("release");
    for (leaves, leases) in SIZES {
        let cell = RefCell::new(Cell::new(Size { leaves, leases, tickets: 0, shapes: 0 }));
        let mut next = 0usize;
        group.bench_function(BenchmarkId::new("tenants_leases", format!("{leaves}_{leases}")), |bencher| {
            bencher.iter_batched(
                || {
                    let mut cell = cell.borrow_mut();
                    next += 1;
                    let request = cell.request(next * 7, 1);
                    cell.acquire(&request)
                },
                |id| id.map(|id| cell.borrow_mut().release(black_box(id))),
                BatchSize::NumIterations(BATCH),
            );
        });
    }
    group.finish();
}

/// Does something with the leases of a cell, one after another; with a new cell when they are used up.
fn each_lease(
    times: u64,
    cell: impl Fn() -> Cell,
    which: impl Fn(&Cell) -> Vec<Id>,
    what: impl Fn(&mut Cell, Id),
) -> Duration {
    let mut spent = Duration::ZERO;
    let mut left = times;
    while left > 0 {
        let mut cell = cell();
        let ids = which(&cell);
        // A copy remembers nothing: once before, as in a server that has run for a while.
        let (before, ids) = ids.split_at(ids.len() / 10);
        before.iter().for_each(|id| what(&mut cell, *id));
        let ids = &ids[..ids.len().min(left as usize)];
        let started = Instant::now();
        ids.iter().for_each(|id| what(&mut cell, *id));
        spent += started.elapsed();
        left -= ids.len() as u64;
    }
    spent
}

fn release_and_settle(cell: &mut Cell, id: Id) {
    cell.release(id);
    black_box(cell.settle());
}

/// Releases with many tickets waiting, of which every other one admits one, and no other fits.
fn release_admits_one(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("release_admits_one");
    group.sample_size(10);
    for (leaves, tickets) in [(10_000, 10_000), (10_000, 100_000), (10_000, 1_000_000)] {
        let cell = Cell::new(Size { leaves, leases: 2_000, tickets, shapes: 16 });
        let leases = |cell: &Cell| cell.ledger.leases().map(|lease| lease.id).collect();
        group.bench_function(BenchmarkId::new("tenants_tickets", format!("{leaves}_{tickets}")), |bencher| {
            bencher.iter_custom(|times| each_lease(times, || cell.clone(), leases, release_and_settle));
        });
    }
    group.finish();
}

/// Holders that release early what was to be taken back, each for the first of many claims.
fn release_a_victim(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("release_a_victim");
    group.sample_size(10);
    for claims in [100, 1_000, 10_000] {
        let cell = Cell::reclaiming(claims);
        let victims = |cell: &Cell| {
            let victims = cell.ledger.leases().filter(|lease| lease.deadline.is_some());
            victims.map(|lease| lease.id).take(claims as usize / 2).collect()
        };
        group.bench_function(BenchmarkId::new("claims", claims), |bencher| {
            bencher.iter_custom(|times| each_lease(times, || cell.clone(), victims, release_and_settle));
        });
    }
    group.finish();
}

criterion_group!(benches, admit, release, release_admits_one, release_a_victim);
criterion_main!(benches);
