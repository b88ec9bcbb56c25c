//! Does one thing so many times over, to be counted by an instruction counter.
//!
//! `counts NAME TIMES`: what it takes to set up is the same for any number of times, so the difference between two runs
//! is what the thing itself costs.

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;

use headgate_benches::{Cell, Size};
use headgate_ledger::{Id, Request};

/// Requests that are made before they are asked: whoever asks has just read what it asks.
const BATCH: usize = 64;
const NAMES: &str =
    "admit_and_release, release_a_victim, release_admits_one, release_admits_one_of_a_million, release_among_shapes";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (name, times) = (arguments.next(), arguments.next().and_then(|times| times.parse().ok()));
    match (name.as_deref(), times) {
        (Some("admit_and_release"), Some(times)) => admit_and_release(times),
        (Some("release_a_victim"), Some(times)) => release_victims(times),
        (Some("release_among_shapes"), Some(times)) => release_and_admit(times, 1_000_000, 1_000_000),
        (Some("release_admits_one"), Some(times)) => release_and_admit(times, 20_000, 16),
        (Some("release_admits_one_of_a_million"), Some(times)) => release_and_admit(times, 1_000_000, 16),
        _ => {
            eprintln!("usage: counts NAME TIMES, where NAME is one of: {NAMES}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn admit_and_release(times: usize) {
    let mut cell = Cell::new(Size { leaves: 10_000, leases: 20_000, tickets: 0, shapes: 0 });
    for round in 0..times.div_ceil(BATCH) {
        let requests: Vec<_> = (0..BATCH).map(|at| cell.request((round * BATCH + at) * 7, 1)).collect();
        requests.iter().for_each(|request| pair(&mut cell, request));
    }
}

#[inline(never)]
fn pair(cell: &mut Cell, request: &Arc<Request>) {
    if let Some(id) = cell.acquire(request) {
        cell.release(black_box(id));
    }
}

/// A holder gives up early what was to be taken back: the first claim's ticket is admitted.
fn release_victims(times: usize) {
    let mut cell = Cell::reclaiming(10_000);
    let victims: Vec<_> = cell.ledger.leases().filter(|lease| lease.deadline.is_some()).map(|lease| lease.id).collect();
    for victim in victims.into_iter().take(times) {
        release_victim(&mut cell, victim);
    }
}

#[inline(never)]
fn release_victim(cell: &mut Cell, victim: Id) {
    cell.release(victim);
    assert_eq!(cell.settle(), 1);
}

/// Releases, of which every so many make room for one of the tickets that wait; none of the others fits.
fn release_and_admit(times: usize, tickets: u32, shapes: u32) {
    let mut cell = Cell::new(Size { leaves: 10_000, leases: 20_000, tickets, shapes });
    let leases: Vec<_> = cell.ledger.leases().map(|lease| lease.id).collect();
    for lease in leases.into_iter().take(times) {
        release_and_settle(&mut cell, lease);
    }
}

#[inline(never)]
fn release_and_settle(cell: &mut Cell, lease: Id) {
    cell.release(lease);
    black_box(cell.settle());
}
