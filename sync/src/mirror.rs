//! A value that many read while one changes it, a portion at a time.
//!
//! There is one copy, behind a reader-writer lock. The one who changes it does so in short portions, each of which leaves
//! it whole; between two of them those come in who wait to read. So a reader waits for one portion at most. Three rules
//! keep the changer from waiting for long, and readers from waiting for each other:
//!
//! - Where the changer waits or works, readers queue with it before a turnstile, in the order in which they came: it needs
//!   only those gone who read already.
//! - A reading that takes long says so. The changer cannot come in beside it, so meanwhile others pass the turnstile by.
//! - Whoever has stood there for [`PATIENCE`] passes by as well: one who reads does not get on, as when its thread has lost
//!   its processor.
//!
//! Two copies, of which one is changed while the other is read (the left-right scheme), would spare readers that wait, at the
//! price of every change made twice, and of another copy in memory. But whoever reads what was just decided has to wait
//! until it is shown anyway, and that is what it doubles: beside a busy writer checks took twice as long so, and their
//! slowest three times.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::atomics::{AtomicBool, AtomicUsize, PassingReadGuard, PassingRwLock, RwLock, RwLockReadGuard, unlock_fair};

/// For how long a reader stands behind the changer: longer than portions take, and less than anybody notices.
pub const PATIENCE: Duration = Duration::from_micros(500);

/// A value that many read while one changes it.
pub struct Mirror<T> {
    /// Readers need not wait for a changer who waits itself.
    value: PassingRwLock<T>,
    /// Where they do all the same, in order. The changer has it while it waits and works.
    turnstile: RwLock<()>,
    /// Whether the changer waits or works: else nobody need go through the turnstile.
    changes: AtomicBool,
    /// Long readings that are under way.
    long: AtomicUsize,
}

impl<T> Mirror<T> {
    /// Shows a value.
    pub fn new(value: T) -> Self {
        Self {
            value: PassingRwLock::new(value),
            turnstile: RwLock::new(()),
            changes: AtomicBool::new(false),
            long: AtomicUsize::new(0),
        }
    }

    /// What is shown, for a short look: the changer waits for it.
    pub fn read(&self) -> Reading<'_, T> {
        let _turn = self.turn();
        Reading { long: None, value: self.value.read(), readings: &self.long }
    }

    /// What is shown, for a short look; none where the changer is at a portion that takes long.
    pub fn try_read(&self) -> Option<Reading<'_, T>> {
        let _turn = self.turn();
        Some(Reading { long: None, value: self.value.try_read()?, readings: &self.long })
    }

    /// What is shown, for a reading that takes long: the changer waits for it, and meanwhile others pass by. Not to be begun by
    /// a thread that reads already: the changer might wait for it, and it for the changer.
    pub fn read_long(&self) -> Reading<'_, T> {
        let _turn = self.turnstile.read();
        let value = self.value.read();
        // Not before it is in: as long as the changer may be the first to come in, nobody passes it.
        Reading { long: Some(Long::new(&self.long)), value, readings: &self.long }
    }

    /// Changes the value by one portion, which must leave it whole; waits for those who read it. Afterwards those come in
    /// first who wait to read it. Only one changes it.
    pub fn change<R>(&self, portion: impl FnOnce(&mut T) -> R) -> R {
        self.changes.store(true, Ordering::Relaxed);
        let turn = self.turnstile.write();
        let result = portion(&mut self.value.write());
        self.changes.store(false, Ordering::Relaxed);
        unlock_fair(turn);
        result
    }

    /// Stands behind the changer, as far as that is of use. It is kept until the value is had: so the changer is not the
    /// first again.
    fn turn(&self) -> Option<RwLockReadGuard<'_, ()>> {
        let waits = self.changes.load(Ordering::Relaxed) && self.long.load(Ordering::Relaxed) == 0;
        if waits { self.turnstile.try_read_for(PATIENCE) } else { None }
    }
}

impl<T> fmt::Debug for Mirror<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror").field("changes", &self.changes).field("long", &self.long).finish_non_exhaustive()
    }
}

/// What a [`Mirror`] shows. It does not change while it is read.
pub struct Reading<'a, T> {
    /// First, so that nobody passes by any more when the value is let go.
    long: Option<Long<'a>>,
    value: PassingReadGuard<'a, T>,
    /// Long readings that are under way.
    readings: &'a AtomicUsize,
}

impl<T> Reading<'_, T> {
    /// Says of a reading that was begun for a short look that it takes long after all.
    pub fn takes_long(&mut self) {
        if self.long.is_none() {
            self.long = Some(Long::new(self.readings));
        }
    }
}

/// A long reading, counted for as long as it lasts.
struct Long<'a>(&'a AtomicUsize);

impl<'a> Long<'a> {
    fn new(readings: &'a AtomicUsize) -> Self {
        readings.fetch_add(1, Ordering::Relaxed);
        Self(readings)
    }
}

impl Drop for Long<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<T> Deref for Reading<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Reading<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;

    use super::Mirror;

    /// Waits until the changer is in the turnstile.
    fn wait_for_the_changer<T>(mirror: &Mirror<T>) {
        while mirror.turnstile.try_read().is_some() {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn what_is_changed_is_shown() {
        let mirror = Mirror::new(vec![1]);
        assert_eq!(mirror.change(|value| value.pop()), Some(1));
        mirror.change(|value| value.extend([2, 3]));
        assert_eq!((&**mirror.read(), &**mirror.read_long()), (&[2, 3][..], &[2, 3][..]));
        assert_eq!(mirror.try_read().map(|value| value.len()), Some(2));
    }

    #[test]
    fn others_read_beside_a_long_reading_that_the_changer_waits_for() {
        let mirror = Mirror::new(1);
        std::thread::scope(|scope| {
            let mut long = mirror.read();
            long.takes_long();
            let changes = scope.spawn(|| mirror.change(|value| *value = 2));
            wait_for_the_changer(&mirror);
            assert_eq!((*mirror.read(), mirror.try_read().as_deref()), (1, Some(&1)));
            assert!(!changes.is_finished());
            drop(long);
            changes.join().expect("a changer");
            assert_eq!(*mirror.read(), 2);
        });
    }

    #[test]
    fn nobody_waits_for_ever_behind_one_who_does_not_get_on() {
        let mirror = Mirror::new(1);
        std::thread::scope(|scope| {
            let stuck = mirror.read();
            scope.spawn(|| mirror.change(|value| *value = 2));
            wait_for_the_changer(&mirror);
            assert_eq!((*mirror.read(), mirror.try_read().as_deref()), (1, Some(&1)));
            drop(stuck);
        });
    }

    #[test]
    fn a_portion_that_takes_long_is_not_waited_for_by_those_who_can_do_something_else() {
        let mirror = Mirror::new(1);
        let (begun, begins) = mpsc::channel();
        let (end, ends) = mpsc::channel();
        std::thread::scope(|scope| {
            let mirror = &mirror;
            scope.spawn(move || {
                mirror.change(|value| {
                    begun.send(()).expect("somebody waits for it");
                    ends.recv().expect("told");
                    *value = 2;
                });
            });
            begins.recv().expect("it begins");
            assert!(mirror.try_read().is_none());
            end.send(()).expect("it waits");
            assert_eq!(*mirror.read(), 2);
        });
    }

    /// Readers who overlap without a gap, each short: the changer comes in all the same.
    #[test]
    fn readers_who_keep_coming_do_not_keep_the_changer_out() {
        let mirror = Mirror::new(0);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        assert!(*mirror.read() <= 1_000);
                    }
                });
            }
            for number in 1..=1_000 {
                mirror.change(|value| *value = number);
            }
            done.store(true, Ordering::Relaxed);
        });
        assert_eq!(*mirror.read(), 1_000);
    }
}

#[cfg(all(test, loom))]
mod walks {
    use loom::sync::Arc;
    use loom::thread;

    use super::Mirror;
    use crate::Sequence;

    /// A change in two steps: a reader who saw the state between them would see unequal halves.
    fn change(halves: &mut (u64, u64)) {
        halves.0 += 1;
        thread::yield_now();
        halves.1 += 1;
    }

    #[test]
    fn no_reader_sees_half_a_portion() {
        loom::model(|| {
            let mirror = Arc::new(Mirror::new((0, 0)));
            let reads = {
                let mirror = mirror.clone();
                thread::spawn(move || {
                    let seen = *mirror.read();
                    assert_eq!(seen.0, seen.1);
                    if let Some(again) = mirror.try_read() {
                        assert!(again.0 == again.1 && again.0 >= seen.0, "nor less than before");
                    }
                })
            };
            mirror.change(change);
            mirror.change(change);
            reads.join().expect("a reader");
            assert_eq!(*mirror.read_long(), (2, 2));
        });
    }

    /// What is waited for is told when it can be read.
    #[test]
    fn who_waited_for_a_portion_reads_it() {
        loom::model(|| {
            let shown = Arc::new((Mirror::new(0), Sequence::new(0)));
            let reads = {
                let shown = shown.clone();
                thread::spawn(move || {
                    loom::future::block_on(shown.1.reach(1)).expect("it comes");
                    assert!(*shown.0.read() >= 1);
                })
            };
            for number in 1..=2 {
                shown.0.change(|value| *value = number);
                shown.1.advance(number);
            }
            reads.join().expect("a reader");
        });
    }

    /// Who finds the changer at work, and waits for what comes after all it had seen told, is woken: else it would wait
    /// for ever.
    #[test]
    fn who_was_not_let_in_is_told_when_it_can_be() {
        loom::model(|| {
            let shown = Arc::new((Mirror::new(0), Sequence::new(0)));
            let reads = {
                let shown = shown.clone();
                thread::spawn(move || {
                    // Before the look, so that what it is not let in for comes after it.
                    let told = shown.1.reached();
                    if shown.0.try_read().is_none() {
                        loom::future::block_on(shown.1.reach(told + 1)).expect("it comes");
                        assert!(*shown.0.read() > told);
                    }
                })
            };
            shown.0.change(|value| *value = 1);
            shown.1.advance(1);
            reads.join().expect("a reader");
        });
    }
}
