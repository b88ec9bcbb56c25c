//! A number that only grows, and those who wait for it.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use crate::atomics::{AtomicU64, Mutex};

/// A number that only grows, and those who wait until it has come to theirs.
///
/// One side advances it, a batch at a time; the other waits, each for a number of its own, and is woken once, when it
/// has come. Reading it takes no lock; nor does waiting for a number that has come already.
#[derive(Debug)]
pub struct Sequence {
    reached: AtomicU64,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// By what they wait for, then by when they came.
    wakers: BTreeMap<(u64, u64), Waker>,
    /// Tells those apart who wait for the same number.
    came: u64,
    /// Nothing is coming for now, and nobody shall wait for it.
    interrupted: bool,
}

/// The number does not grow for now: something in the way of it is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what is waited for is not coming for now")
    }
}

impl std::error::Error for Interrupted {}

impl Sequence {
    /// A sequence that has come to `reached`.
    pub fn new(reached: u64) -> Self {
        Self { reached: AtomicU64::new(reached), waiting: Mutex::new(Waiting::default()) }
    }

    /// How far it has come.
    pub fn reached(&self) -> u64 {
        self.reached.load(Ordering::Acquire)
    }

    /// Goes on to `to`, and wakes all who waited for that or less. It never goes back: a smaller number is passed over.
    pub fn advance(&self, to: u64) {
        let ready = {
            let mut waiting = self.waiting.lock();
            // Under the lock: whoever looks after this sees the number, and whoever looked before is in the list.
            if to > self.reached.load(Ordering::Relaxed) {
                self.reached.store(to, Ordering::Release);
            }
            match to.checked_add(1) {
                Some(beyond) => {
                    let rest = waiting.wakers.split_off(&(beyond, 0));
                    std::mem::replace(&mut waiting.wakers, rest)
                }
                None => std::mem::take(&mut waiting.wakers),
            }
        };
        // Outside the lock: who is woken may come back at once.
        ready.into_values().for_each(Waker::wake);
    }

    /// Sends away all who wait, and all who come, until [`resume`](Self::resume).
    pub fn interrupt(&self) {
        let all = {
            let mut waiting = self.waiting.lock();
            waiting.interrupted = true;
            std::mem::take(&mut waiting.wakers)
        };
        all.into_values().for_each(Waker::wake);
    }

    /// It grows again, and may be waited for.
    pub fn resume(&self) {
        self.waiting.lock().interrupted = false;
    }

    /// Waits until it has come to `to`.
    pub fn reach(&self, to: u64) -> Reach<'_> {
        Reach { sequence: self, to, place: None }
    }
}

/// Waits until a [`Sequence`] has come to a number. Dropped early, it leaves nothing behind.
#[derive(Debug)]
#[must_use = "nothing is waited for unless this is polled"]
pub struct Reach<'a> {
    sequence: &'a Sequence,
    to: u64,
    /// Where it stands among those who wait.
    place: Option<u64>,
}

impl Future for Reach<'_> {
    type Output = Result<(), Interrupted>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.sequence.reached() >= this.to {
            return Poll::Ready(Ok(()));
        }
        let mut waiting = this.sequence.waiting.lock();
        // Again: it may have advanced before the lock was had, and then nobody would wake this.
        if this.sequence.reached() >= this.to {
            return Poll::Ready(Ok(()));
        }
        if waiting.interrupted {
            return Poll::Ready(Err(Interrupted));
        }
        let place = match this.place {
            Some(place) => place,
            None => {
                waiting.came += 1;
                this.place = Some(waiting.came);
                waiting.came
            }
        };
        match waiting.wakers.get_mut(&(this.to, place)) {
            Some(waker) => waker.clone_from(context.waker()),
            None => {
                waiting.wakers.insert((this.to, place), context.waker().clone());
            }
        }
        Poll::Pending
    }
}

impl Drop for Reach<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place
            && self.sequence.reached() < self.to
        {
            self.sequence.waiting.lock().wakers.remove(&(self.to, place));
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Context, Poll, Wake, Waker};

    use super::{Interrupted, Sequence};

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn each_is_woken_once_when_its_number_has_come() {
        let sequence = Sequence::new(0);
        let [early, late] = [Arc::new(Woken::default()), Arc::new(Woken::default())];
        let [early_waker, late_waker] = [Waker::from(early.clone()), Waker::from(late.clone())];
        let mut first = pin!(sequence.reach(1));
        let mut second = pin!(sequence.reach(2));
        assert_eq!(first.as_mut().poll(&mut Context::from_waker(&early_waker)), Poll::Pending);
        assert_eq!(second.as_mut().poll(&mut Context::from_waker(&late_waker)), Poll::Pending);

        sequence.advance(1);
        assert_eq!((early.0.load(Ordering::Relaxed), late.0.load(Ordering::Relaxed)), (1, 0));
        assert_eq!(first.as_mut().poll(&mut Context::from_waker(&early_waker)), Poll::Ready(Ok(())));
        sequence.advance(1);
        sequence.advance(2);
        assert_eq!((early.0.load(Ordering::Relaxed), late.0.load(Ordering::Relaxed)), (1, 1));
        sequence.advance(1);
        assert_eq!(sequence.reached(), 2);
    }

    #[test]
    fn an_interruption_sends_all_away_until_it_is_over() {
        let sequence = Sequence::new(4);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut context = Context::from_waker(&waker);
        let mut waits = pin!(sequence.reach(5));
        assert_eq!(waits.as_mut().poll(&mut context), Poll::Pending);
        sequence.interrupt();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(waits.as_mut().poll(&mut context), Poll::Ready(Err(Interrupted)));
        assert_eq!(pin!(sequence.reach(5)).poll(&mut context), Poll::Ready(Err(Interrupted)));
        assert_eq!(pin!(sequence.reach(4)).poll(&mut context), Poll::Ready(Ok(())), "what has come stays so");
        sequence.resume();
        assert_eq!(pin!(sequence.reach(5)).poll(&mut context), Poll::Pending);
    }

    #[test]
    fn who_stops_waiting_leaves_nothing_behind() {
        let sequence = Sequence::new(0);
        let mut context = Context::from_waker(Waker::noop());
        {
            let mut waits = pin!(sequence.reach(1));
            assert!(waits.as_mut().poll(&mut context).is_pending());
            assert_eq!(sequence.waiting.lock().wakers.len(), 1);
            assert!(waits.as_mut().poll(&mut context).is_pending(), "polled again for no reason");
            assert_eq!(sequence.waiting.lock().wakers.len(), 1);
        }
        assert!(sequence.waiting.lock().wakers.is_empty());
    }
}

#[cfg(all(test, loom))]
mod walks {
    use loom::future::block_on;
    use loom::sync::Arc;
    use loom::thread;

    use super::{Interrupted, Sequence};

    /// A lost wake-up would leave the waiter blocked for ever, which loom reports.
    #[test]
    fn nobody_misses_its_wake_up() {
        loom::model(|| {
            let sequence = Arc::new(Sequence::new(0));
            let waits = {
                let sequence = sequence.clone();
                thread::spawn(move || {
                    block_on(sequence.reach(2)).expect("it comes");
                    assert!(sequence.reached() >= 2);
                })
            };
            sequence.advance(1);
            sequence.advance(2);
            waits.join().expect("a waiter");
        });
    }

    #[test]
    fn one_advance_wakes_all_who_wait_for_it() {
        loom::model(|| {
            let sequence = Arc::new(Sequence::new(0));
            let waits = [1, 2].map(|number| {
                let sequence = sequence.clone();
                thread::spawn(move || block_on(sequence.reach(number)).expect("it comes"))
            });
            sequence.advance(2);
            for wait in waits {
                wait.join().expect("a waiter");
            }
        });
    }

    /// One who waits is answered: that it has come, or that it does not come for now; and never that it has come
    /// when it has not.
    #[test]
    fn an_interruption_leaves_nobody_waiting() {
        loom::model(|| {
            let sequence = Arc::new(Sequence::new(0));
            let waits = {
                let sequence = sequence.clone();
                thread::spawn(move || match block_on(sequence.reach(2)) {
                    Ok(()) => assert!(sequence.reached() >= 2),
                    Err(Interrupted) => {}
                })
            };
            sequence.advance(1);
            sequence.interrupt();
            waits.join().expect("a waiter");
        });
    }

    /// After an interruption and its end, whoever kept waiting is woken by what comes then.
    #[test]
    fn who_waits_across_an_interruption_is_woken_after_it() {
        loom::model(|| {
            let sequence = Arc::new(Sequence::new(0));
            let waits = {
                let sequence = sequence.clone();
                thread::spawn(move || {
                    let _ = block_on(sequence.reach(1));
                })
            };
            sequence.interrupt();
            sequence.resume();
            sequence.advance(1);
            waits.join().expect("a waiter");
        });
    }

    /// What was written before an advance is seen by who was waiting for it.
    #[test]
    fn what_came_before_the_advance_is_seen_after_it() {
        use loom::sync::atomic::{AtomicU64, Ordering};
        loom::model(|| {
            let sequence = Arc::new(Sequence::new(0));
            let written = Arc::new(AtomicU64::new(0));
            let waits = {
                let (sequence, written) = (sequence.clone(), written.clone());
                thread::spawn(move || {
                    block_on(sequence.reach(1)).expect("it comes");
                    assert_eq!(written.load(Ordering::Relaxed), 7);
                })
            };
            written.store(7, Ordering::Relaxed);
            sequence.advance(1);
            waits.join().expect("a waiter");
        });
    }
}
