//! What a decision costs, and how that grows with tenants, leases, levels, resources, tickets and claims.

use std::cell::{LazyCell, RefCell};
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Bencher, BenchmarkId, Criterion, criterion_group, criterion_main};
use headgate_benches::{Cell, Size, is_test, sizes};
use headgate_ledger::Id;

/// As few at a time as whoever asks has at hand: what is asked was just read.
const BATCH: u64 = 64;

/// Ledgers in which there is room for everything, by what they are called: by tenants and leases, by the depth of the tree
/// and by the number of resources.
fn roomy() -> Vec<(BenchmarkId, Size)> {
    let measured = [(100, 1_000), (10_000, 100_000), (100_000, 1_000_000)];
    let of = |(leaves, leases)| {
        let id = BenchmarkId::new("tenants_leases", format!("{leaves}_{leases}"));
        (id, Size { leaves, leases, ..Size::default() })
    };
    let by_size = sizes(measured, (16, 32)).into_iter().map(of);
    let (leaves, leases) = if is_test() { (16, 32) } else { (1_000, 10_000) };
    let deep = |levels| (BenchmarkId::new("levels", levels), Size { levels, leaves, leases, ..Size::default() });
    let by_depth = sizes([1, 2, 4, 8], 8).into_iter().map(deep);
    let wide =
        |resources| (BenchmarkId::new("resources", resources), Size { resources, leaves, leases, ..Size::default() });
    let by_width = sizes([1, 4, 16, 32], 32).into_iter().map(wide);
    by_size.chain(by_depth).chain(by_width).collect()
}

/// One admission, asked and posted.
fn admit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("admit");
    for (id, size) in roomy() {
        // Made only where it is not filtered out.
        let cell = LazyCell::new(|| RefCell::new(Cell::new(size)));
        let (mut next, admitted) = (0usize, RefCell::new(Vec::new()));
        group.bench_function(id, |bencher| {
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
    for (id, size) in roomy() {
        let cell = LazyCell::new(|| RefCell::new(Cell::new(size)));
        let mut next = 0usize;
        group.bench_function(id, |bencher| {
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

/// What is told of a request that would be admitted, and of a ticket that waits among others.
fn explain(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("explain");
    for (id, size) in roomy() {
        let cell = LazyCell::new(|| {
            let mut cell = Cell::new(size);
            let request = cell.request(7, 1);
            (cell, request)
        });
        group.bench_function(id, |bencher| bencher.iter(|| cell.0.explain(black_box(&cell.1))));
    }
    for tickets in sizes([100, 1_000, 10_000, 100_000], 32) {
        let cell = LazyCell::new(|| {
            let size = Size { leaves: tickets / 10, leases: 1_000, tickets, shapes: 16, ..Size::default() };
            let cell = Cell::new(size);
            let ticket = cell.ledger.tickets().map(|ticket| ticket.id).nth(tickets as usize / 2);
            (cell, ticket.expect("a ticket"))
        });
        group.bench_function(BenchmarkId::new("tickets", tickets), |bencher| {
            bencher.iter(|| cell.0.ledger.explain_id(cell.0.time(), black_box(cell.1)).expect("a ticket"));
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
    for (leaves, tickets) in sizes([(10_000, 10_000), (10_000, 100_000), (10_000, 1_000_000)], (16, 64)) {
        let size = Size { leaves, leases: if is_test() { 32 } else { 2_000 }, tickets, shapes: 16, ..Size::default() };
        group.bench_function(BenchmarkId::new("tenants_tickets", format!("{leaves}_{tickets}")), releases(size));
    }
    group.finish();
}

/// The same, with as many tenants waiting as there are shapes: whoever is next is found among heads that do not fit.
fn next_ticket(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("next_ticket");
    group.sample_size(10);
    for heads in sizes([10, 100, 1_000, 10_000, 100_000], 16) {
        let leases = if is_test() { 32 } else { 2_000 };
        let size = Size { leaves: heads, leases, tickets: heads, shapes: heads, ..Size::default() };
        group.bench_function(BenchmarkId::new("heads", heads), releases(size));
    }
    group.finish();
}

/// Releases of all leases of a ledger, one after another.
fn releases(size: Size) -> impl FnMut(&mut Bencher<'_>) {
    let cell = LazyCell::new(move || Cell::new(size));
    let leases = |cell: &Cell| cell.ledger.leases().map(|lease| lease.id).collect();
    move |bencher| bencher.iter_custom(|times| each_lease(times, || Cell::clone(&cell), leases, release_and_settle))
}

/// Holders that release early what was to be taken back, each for the first of many claims.
fn release_a_victim(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("release_a_victim");
    group.sample_size(10);
    for claims in sizes([100, 1_000, 10_000], 40) {
        let cell = LazyCell::new(|| Cell::reclaiming(claims));
        let victims = |cell: &Cell| {
            let victims = cell.ledger.leases().filter(|lease| lease.deadline().is_some());
            victims.map(|lease| lease.id).take(claims as usize / 2).collect()
        };
        group.bench_function(BenchmarkId::new("claims", claims), |bencher| {
            bencher.iter_custom(|times| each_lease(times, || Cell::clone(&cell), victims, release_and_settle));
        });
    }
    group.finish();
}

criterion_group!(benches, admit, release, explain, release_admits_one, next_ticket, release_a_victim);
criterion_main!(benches);
