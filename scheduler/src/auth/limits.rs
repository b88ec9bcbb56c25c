//! What one caller may use of the server, and all of them together.
//!
//! A caller's own share is looked at first, and is less than the whole: so nobody takes the server from the others. Who asks
//! for more than its share with a call of its own is refused at once, and told when to come again; on a stream it is
//! simply not read any further until there is room.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::engine::LeaseId;

/// What is used at once by one caller, or by all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Operations that are being decided, or wait for the store.
    pub operations_max: usize,
    /// Streams of operations, and watches.
    pub streams_max: usize,
    /// Calls that wait for a ticket's admission.
    pub awaits_max: usize,
}

impl Share {
    /// All callers together: each operation keeps some kilobytes, a watch up to its buffer.
    pub const ALL: Self = Self { operations_max: 65_536, streams_max: 4_096, awaits_max: 100_000 };
    /// One caller: a quarter, so that one alone does not fill the server.
    pub const ONE: Self = Self { operations_max: 16_384, streams_max: 1_024, awaits_max: 25_000 };
}

/// Operations of one caller in a second: more than the engine decides of any one's in that time, so it stops who asks in
/// a loop, and nobody who works.
const OPERATIONS_PER_SECOND_MAX: u64 = 1_000_000;
/// Tickets that one caller has waiting: as many as a pool takes if not told otherwise.
const TICKETS_MAX: usize = 100_000;

/// The limits in force, and what all callers use.
#[derive(Debug)]
pub struct Limits {
    one: Share,
    operations_per_second_max: u64,
    tickets_max: usize,
    all: Uses,
}

impl Limits {
    /// Limits for one caller and for all.
    pub fn new(one: Share, all: Share) -> Arc<Self> {
        Self::with(one, all, OPERATIONS_PER_SECOND_MAX, TICKETS_MAX)
    }

    /// As [`Limits::new`], with the limits that only one caller has.
    pub fn with(one: Share, all: Share, operations_per_second_max: u64, tickets_max: usize) -> Arc<Self> {
        let operations_per_second_max = operations_per_second_max.clamp(1, 1_000_000_000);
        Arc::new(Self { one, operations_per_second_max, tickets_max, all: Uses::new(all) })
    }
}

/// Semaphores of a [`Share`].
#[derive(Debug)]
struct Uses {
    operations: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    awaits: Arc<Semaphore>,
}

impl Uses {
    fn new(share: Share) -> Self {
        let Share { operations_max, streams_max, awaits_max } = share;
        Self {
            operations: Arc::new(Semaphore::new(operations_max)),
            streams: Arc::new(Semaphore::new(streams_max)),
            awaits: Arc::new(Semaphore::new(awaits_max)),
        }
    }
}

/// There is no room just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Busy {
    /// What there is too much of, and whose.
    pub what: &'static str,
    /// When to come again.
    pub retry_after: Duration,
}

/// Room that was given; it is given back when this is dropped.
#[derive(Debug)]
pub struct Admitted {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Admitted {
    /// Parts room for so many from this one; what is not there is not parted.
    pub fn split(&mut self, count: usize) -> Option<Self> {
        Some(Self { _own: self._own.split(count)?, _all: self._all.split(count)? })
    }
}

/// How long to wait when all room is taken: a few commits.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// What one caller uses of the server.
#[derive(Debug)]
pub struct Meter {
    limits: Arc<Limits>,
    own: Uses,
    rate: Rate,
    tickets: Mutex<Tickets>,
}

#[derive(Debug)]
struct Tickets {
    /// Those that were given out, and may still wait; each counts once, however often it is asked for.
    waiting: HashSet<LeaseId>,
    looked_at: Option<Instant>,
}

impl Meter {
    /// For a caller that uses nothing yet.
    pub fn new(limits: &Arc<Limits>) -> Arc<Self> {
        Arc::new(Self {
            limits: limits.clone(),
            own: Uses::new(limits.one),
            rate: Rate::new(limits.operations_per_second_max),
            tickets: Mutex::new(Tickets { waiting: HashSet::new(), looked_at: None }),
        })
    }

    /// Room for one operation of a call of its own.
    pub fn operation(&self) -> Result<Admitted, Busy> {
        self.rate
            .take(1, Instant::now())
            .map_err(|retry_after| Busy { what: "this caller's operations in a second", retry_after })?;
        self.now(
            &self.own.operations,
            &self.limits.all.operations,
            "this caller's operations under way",
            "operations under way",
        )
    }

    /// Room for so many operations together, each a call of its own; none, where there is not room for all.
    pub fn operations_at_once(&self, count: usize) -> Option<Admitted> {
        let permits = u32::try_from(count).ok()?;
        let own = self.own.operations.clone().try_acquire_many_owned(permits).ok()?;
        let all = self.limits.all.operations.clone().try_acquire_many_owned(permits).ok()?;
        self.rate.take(permits.into(), Instant::now()).ok()?;
        Some(Admitted { _own: own, _all: all })
    }

    /// Room for the operations of one message of a stream; waits until there is some.
    pub async fn operations(&self, count: usize) -> Option<Admitted> {
        // A message of more than all the room has the room to itself.
        let most = self.limits.one.operations_max.min(count).max(1);
        let permits = u32::try_from(most).unwrap_or(u32::MAX);
        while let Err(wait) = self.rate.take(permits.into(), Instant::now()) {
            tokio::time::sleep(wait).await;
        }
        let own = self.own.operations.clone().acquire_many_owned(permits).await.ok()?;
        let all = self.limits.all.operations.clone().acquire_many_owned(permits).await.ok()?;
        Some(Admitted { _own: own, _all: all })
    }

    /// Room for a stream.
    pub fn stream(&self) -> Result<Admitted, Busy> {
        self.now(&self.own.streams, &self.limits.all.streams, "this caller's streams", "streams")
    }

    /// Room for one who waits for a ticket.
    pub fn wait(&self) -> Result<Admitted, Busy> {
        self.now(
            &self.own.awaits,
            &self.limits.all.awaits,
            "this caller's calls that wait for tickets",
            "calls that wait for tickets",
        )
    }

    fn now(
        &self,
        own: &Arc<Semaphore>,
        all: &Arc<Semaphore>,
        of_own: &'static str,
        of_all: &'static str,
    ) -> Result<Admitted, Busy> {
        let busy = |what| Busy { what, retry_after: RETRY_AFTER };
        let own = own.clone().try_acquire_owned().map_err(|_| busy(of_own))?;
        let all = all.clone().try_acquire_owned().map_err(|_| busy(of_all))?;
        Ok(Admitted { _own: own, _all: all })
    }

    /// Whether it may have another ticket; `waits` tells of a ticket whether it still waits, and is asked only when
    /// there seem to be too many.
    pub fn may_queue(&self, waits: impl Fn(&LeaseId) -> bool) -> Result<(), Busy> {
        let most = self.limits.tickets_max;
        let mut tickets = self.tickets.lock();
        if tickets.waiting.len() < most {
            return Ok(());
        }
        let fresh = tickets.looked_at.is_some_and(|at| at.elapsed() < RETRY_AFTER);
        if !fresh {
            tickets.waiting.retain(|id| waits(id));
            tickets.looked_at = Some(Instant::now());
        }
        if tickets.waiting.len() < most {
            return Ok(());
        }
        Err(Busy { what: "this caller's tickets that wait", retry_after: Duration::from_secs(1) })
    }

    /// It was given a ticket.
    pub fn queued(&self, id: LeaseId) {
        self.tickets.lock().waiting.insert(id);
    }
}

/// So many in a second, and as many at once after a second of rest: a generic cell rate algorithm (ITU-T I.371).
#[derive(Debug)]
struct Rate {
    begun: Instant,
    nanos_each: u64,
    /// When all that was taken would have come in at the even rate, in nanoseconds since it was begun.
    paid: AtomicU64,
}

const SECOND_NANOS: u64 = 1_000_000_000;

impl Rate {
    fn new(per_second: u64) -> Self {
        Self { begun: Instant::now(), nanos_each: (SECOND_NANOS / per_second.max(1)).max(1), paid: AtomicU64::new(0) }
    }

    /// Takes `count`, or says how long to wait for them.
    fn take(&self, count: u64, now: Instant) -> Result<(), Duration> {
        let now = u64::try_from(now.saturating_duration_since(self.begun).as_nanos()).unwrap_or(u64::MAX);
        let cost = count.saturating_mul(self.nanos_each).min(SECOND_NANOS);
        let step = |paid: u64| {
            let next = paid.max(now).saturating_add(cost);
            (next.saturating_sub(now) <= SECOND_NANOS).then_some(next)
        };
        match self.paid.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step) {
            Ok(_) => Ok(()),
            Err(paid) => Err(Duration::from_nanos(paid.saturating_add(cost).saturating_sub(now) - SECOND_NANOS)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Limits, Meter, Rate, Share};
    use crate::engine::LeaseId;

    fn id(text: &str) -> LeaseId {
        LeaseId::parse(text).expect("an id")
    }

    #[test]
    fn a_rate_says_the_moment_at_which_it_would_pass() {
        let rate = Rate::new(10);
        let begun = Instant::now();
        assert_eq!((0..10).filter(|_| rate.take(1, begun).is_ok()).count(), 10, "a second's worth at once");
        let wait = rate.take(1, begun).expect_err("beyond the rate");
        assert!(wait > Duration::ZERO && wait <= Duration::from_millis(100), "{wait:?}");
        assert!(rate.take(1, begun + wait - Duration::from_nanos(1)).is_err(), "just before");
        assert!(rate.take(1, begun + wait).is_ok(), "exactly at it");
        assert!(Rate::new(10).take(1_000_000, Instant::now()).is_ok(), "more than a second's worth passes alone");
    }

    #[test]
    fn a_callers_own_share_is_looked_at_before_the_whole() {
        let one = Share { operations_max: 1, streams_max: 1, awaits_max: 1 };
        let limits = Limits::new(one, Share { operations_max: 2, streams_max: 1, awaits_max: 2 });
        let (a, b) = (Meter::new(&limits), Meter::new(&limits));
        let first = a.operation().expect("room");
        assert_eq!(a.operation().expect_err("no room").what, "this caller's operations under way");
        let _other = b.operation().expect("room for another");
        drop(first);
        let _again = a.operation().expect("room again");
        let _stream = a.stream().expect("room");
        assert_eq!(b.stream().expect_err("no room").what, "streams", "its own would do");
        assert_eq!(a.stream().expect_err("no room").what, "this caller's streams");
    }

    #[test]
    fn room_for_several_is_parted() {
        let limits = Limits::with(Share { operations_max: 3, ..Share::ONE }, Share::ALL, 1000, 2);
        let meter = Meter::new(&limits);
        assert!(meter.operations_at_once(4).is_none(), "all or none");
        let mut three = meter.operations_at_once(3).expect("room");
        let two = three.split(2).expect("two of three");
        assert!(three.split(2).is_none(), "one is left");
        drop(three);
        let _one = meter.operation().expect("room for one");
        assert!(meter.operation().is_err(), "two are kept");
        drop(two);
        assert!(meter.operation().is_ok());
    }

    #[test]
    fn tickets_count_for_as_long_as_they_wait() {
        let limits = Limits::with(Share::ONE, Share::ALL, 1000, 2);
        let meter = Meter::new(&limits);
        for text in ["main-1", "main-2"] {
            meter.may_queue(|_| true).expect("room");
            meter.queued(id(text));
        }
        assert_eq!(meter.may_queue(|_| true).expect_err("no room").what, "this caller's tickets that wait");
        assert!(meter.may_queue(|_| false).is_err(), "it is not looked again at once");
        std::thread::sleep(super::RETRY_AFTER);
        meter.may_queue(|waits| *waits == id("main-1")).expect("one was admitted");
    }

    #[tokio::test]
    async fn operations_of_a_stream_wait_for_room() {
        let one = Share { operations_max: 2, ..Share::ONE };
        let meter = Meter::new(&Limits::new(one, Share::ALL));
        let first = meter.operations(1000).await.expect("more than all the room has it to itself");
        let second = tokio::time::timeout(Duration::from_millis(10), meter.operations(1)).await;
        assert!(second.is_err(), "it waits");
        drop(first);
        assert!(meter.operations(1).await.is_some());
    }
}
