//! What a decision costs, and how that grows with tenants, leases and tickets.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use headgate_benches::{Cell, Size};

/// One admission, asked and posted, and its release.
fn admit_and_release(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("admit_and_release");
    for (leaves, leases) in [(100, 1_000), (10_000, 100_000), (100_000, 1_000_000)] {
        let cell = Cell::new(Size { leaves, leases, tickets: 0, shapes: 0 });
        let mut next = 0usize;
        let cell = std::cell::RefCell::new(cell);
        group.bench_function(BenchmarkId::new("tenants_leases", format!("{leaves}_{leases}")), |bencher| {
            bencher.iter_batched(
                || {
                    next += 1;
                    cell.borrow_mut().request(next * 7, 1)
                },
                |request| {
                    let mut cell = cell.borrow_mut();
                    if let Some(id) = cell.acquire(&request) {
                        cell.release(black_box(id));
                    }
                    request
                },
                // A few at a time: whoever asks has just read what it asks.
                BatchSize::NumIterations(64),
            );
        });
    }
    group.finish();
}

/// A release that admits one of many waiting tickets, of which no other fits.
fn release_admits_one(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("release_admits_one");
    group.sample_size(10);
    for (leaves, tickets) in [(100, 10_000), (1_000, 100_000)] {
        let cell = Cell::new(Size { leaves, leases: 1_000, tickets, shapes: 16 });
        group.bench_function(BenchmarkId::new("tenants_tickets", format!("{leaves}_{tickets}")), |bencher| {
            bencher.iter_batched(
                || {
                    let mut cell = cell.clone();
                    let leases: Vec<_> = cell.ledger.leases().map(|lease| lease.id).take(4).collect();
                    // Once before, as in a server that has run for a while: a copy remembers nothing.
                    for lease in &leases[..3] {
                        cell.release(*lease);
                        cell.settle();
                    }
                    (cell, leases[3])
                },
                |(mut cell, lease)| {
                    cell.release(lease);
                    assert_eq!(cell.settle(), 1);
                    cell
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, admit_and_release, release_admits_one);
criterion_main!(benches);
