//! Time: monotonic inside the process, the wall clock's in entries.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use headgate_ledger::Time;
use tokio::sync::Notify;

/// A clock that never goes back.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time, which is never before what was answered earlier.
    fn now(&self) -> Time;

    /// How often time has passed in which nobody could do anything: the machine slept, or its clock was set.
    fn jumps(&self) -> u64;

    /// From now on it is no earlier than `floor`, and goes on from there.
    fn raise(&self, floor: Time);

    /// Waits until it is `at`.
    fn sleep_until(&self, at: Time) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The wall clock is this much ahead at once: more than any correction of it, less than any time to live that is of
/// use. Whoever had to renew in between could not.
const JUMP: Duration = Duration::from_secs(10);

/// The system's clock: the wall clock as it was at the start, and what has passed since on the monotonic clock. Where the
/// wall clock is ahead of that, it is followed; where it is behind, it is not.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
    /// What is added to the time since the start, in nanoseconds since the epoch. It only grows.
    base: AtomicU64,
    jumps: AtomicU64,
}

impl SystemClock {
    /// A clock that starts now.
    pub fn new() -> Self {
        Self { start: Instant::now(), base: AtomicU64::new(wall()), jumps: AtomicU64::new(0) }
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

fn wall() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

impl Clock for SystemClock {
    fn now(&self) -> Time {
        let elapsed = self.elapsed();
        let base = wall().saturating_sub(elapsed);
        let before = self.base.load(Ordering::Relaxed);
        if base > before {
            let before = self.base.fetch_max(base, Ordering::Relaxed);
            if Duration::from_nanos(base.saturating_sub(before)) > JUMP {
                self.jumps.fetch_add(1, Ordering::Release);
            }
        }
        Time::from_nanos(self.base.load(Ordering::Relaxed).saturating_add(elapsed))
    }

    fn jumps(&self) -> u64 {
        self.jumps.load(Ordering::Acquire)
    }

    fn raise(&self, floor: Time) {
        self.base.fetch_max(floor.nanos().saturating_sub(self.elapsed()), Ordering::Relaxed);
    }

    fn sleep_until(&self, at: Time) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            // A sleep has an end that can be written; whoever sleeps longer wakes up, and looks again.
            const LONGEST: Duration = Duration::from_secs(86_400);
            tokio::time::sleep(at.since(self.now()).min(LONGEST)).await;
        })
    }
}

/// A clock that stands still until it is told to go on.
#[derive(Debug)]
pub struct ManualClock {
    now: AtomicU64,
    moved: Notify,
}

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn new(now: Time) -> Self {
        Self { now: AtomicU64::new(now.nanos()), moved: Notify::new() }
    }

    /// Goes on by `span`, and wakes those who slept until then.
    pub fn advance(&self, span: Duration) {
        let span = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        self.now.fetch_add(span, Ordering::AcqRel);
        self.moved.notify_waiters();
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Time {
        Time::from_nanos(self.now.load(Ordering::Acquire))
    }

    fn jumps(&self) -> u64 {
        0
    }

    fn raise(&self, floor: Time) {
        self.now.fetch_max(floor.nanos(), Ordering::AcqRel);
        self.moved.notify_waiters();
    }

    fn sleep_until(&self, at: Time) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            loop {
                let mut moved = std::pin::pin!(self.moved.notified());
                moved.as_mut().enable();
                if self.now() >= at {
                    return;
                }
                moved.await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use headgate_ledger::Time;

    use super::{Clock, ManualClock, SystemClock, wall};

    #[test]
    fn the_system_clock_follows_the_wall_clock_and_never_goes_back() {
        let clock = SystemClock::new();
        let first = clock.now();
        assert!(Time::from_nanos(wall()).since(first) < Duration::from_secs(5));
        assert!(clock.now() >= first);
        assert_eq!(clock.jumps(), 0);
    }

    #[test]
    fn a_raised_clock_goes_on_from_where_it_was_raised_to() {
        let clock = SystemClock::new();
        let ahead = clock.now().after(Duration::from_secs(3600));
        clock.raise(ahead);
        let now = clock.now();
        assert!(now >= ahead && now.since(ahead) < Duration::from_secs(5));
        clock.raise(Time::EPOCH);
        assert!(clock.now() >= now);
        assert_eq!(clock.jumps(), 0, "it was raised on purpose");
    }

    #[test]
    fn a_wall_clock_far_ahead_is_a_jump() {
        let clock = SystemClock::new();
        // As if it had started a minute behind.
        clock.base.fetch_sub(60_000_000_000, std::sync::atomic::Ordering::Relaxed);
        clock.now();
        clock.now();
        assert_eq!(clock.jumps(), 1);
    }

    #[tokio::test]
    async fn a_manual_clock_wakes_who_slept_until_then() {
        let clock = Arc::new(ManualClock::new(Time::EPOCH));
        let sleeper = {
            let clock = clock.clone();
            tokio::spawn(async move { clock.sleep_until(Time::from_nanos(10)).await })
        };
        clock.advance(Duration::from_nanos(4));
        clock.advance(Duration::from_nanos(6));
        sleeper.await.expect("woken");
        clock.sleep_until(Time::from_nanos(10)).await;
    }
}
