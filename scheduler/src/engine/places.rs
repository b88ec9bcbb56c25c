//! Places in the queue, as those who wait are told them.
//!
//! The order of dispatch moves with every admission, and finding it out takes time that grows with the queue. So it is found out
//! once for all who ask of one state; and where that takes long, no more often than is worth it: then a place may be as
//! old as some of these times.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use headgate_ledger::{Id, Name};
use parking_lot::Mutex;

use super::view::View;

/// A ticket's place in its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Counted from 1.
    pub(super) position: u64,
    /// How long it will probably wait, where that can be told.
    pub(super) wait: Option<Duration>,
}

/// Finding out the order may take at most this part of the time: one in so many.
const WORTH: u32 = 10;

/// Places in the queues of a cell.
#[derive(Debug, Default)]
pub(super) struct Places {
    pools: Mutex<HashMap<Name, Order>>,
}

#[derive(Debug)]
struct Order {
    /// The state that it is of.
    sequence: u64,
    positions: HashMap<Id, u64>,
    /// How long the last will probably wait; waits grow evenly with the position.
    last_wait: Option<Duration>,
    found: Instant,
    took: Duration,
}

impl Places {
    /// A ticket's place; none where it does not wait.
    pub(super) fn of(&self, view: &mut View<'_>, pool: &Name, ticket: Id) -> Option<Place> {
        view.ticket(ticket)?;
        let mut pools = self.pools.lock();
        let fresh = |order: &Order| order.sequence == view.sequence() || order.found.elapsed() < order.took * WORTH;
        let known = pools.get(pool).is_some_and(fresh);
        if !known {
            view.takes_long();
            pools.insert(pool.clone(), Order::of(view, pool));
        }
        let order = pools.get(pool)?;
        let last = order.positions.len() as u64;
        // One who came after the order was found out is behind all of it, as far as is known.
        let position = order.positions.get(&ticket).copied().unwrap_or(last + 1);
        Some(Place { position, wait: order.last_wait.map(|wait| part(wait, position, last)) })
    }
}

impl Order {
    fn of(view: &View<'_>, pool: &Name) -> Self {
        let started = Instant::now();
        let queue = view.queue(view.now(), pool.as_str());
        let last_wait = queue.last().and_then(|last| view.expected_wait(view.now(), *last));
        let positions = queue.into_iter().zip(1..).collect();
        let found = Instant::now();
        Self { sequence: view.sequence(), positions, last_wait, found, took: found - started }
    }
}

/// The wait of a position, where the last waits so long.
fn part(last_wait: Duration, position: u64, last: u64) -> Duration {
    let nanos = last_wait.as_nanos() * u128::from(position) / u128::from(last.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::part;

    #[test]
    fn waits_grow_evenly() {
        let last = Duration::from_secs(100);
        assert_eq!(part(last, 1, 100), Duration::from_secs(1));
        assert_eq!(part(last, 100, 100), last);
        assert_eq!(part(last, 0, 0), Duration::ZERO);
    }
}
