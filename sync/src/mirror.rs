//! A value that many read while it changes, and none of them half changed.
//!
//! There are two copies. Readers read the one that is shown; the one who changes the value works on the other, which is
//! hidden, and then shows it. Every change is so made twice, once to each copy. It is the left-right scheme of Ramalhete
//! and Correia (2015), built from two reader-writer locks that nobody contends for: a reader takes the shown copy's read
//! lock, which the changer holds only in the instant after a turn, when the reader finds the other copy shown. So
//! a reader never waits for a change, however long that takes; the changer waits for readers who still sit on the copy
//! that was shown before. Striped epoch counters, the other way to build it, would spare readers from writing to one
//! cache line, but need code that the compiler cannot check; a read costs tens of nanoseconds either way, what is done
//! with it microseconds.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::Ordering;

use crate::atomics::{AtomicUsize, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A value that many read while one changes it.
pub struct Mirror<T> {
    copies: [RwLock<T>; 2],
    shown: AtomicUsize,
}

impl<T> Mirror<T> {
    /// Two copies of a value; the first is shown.
    pub fn new(shown: T, hidden: T) -> Self {
        Self { copies: [RwLock::new(shown), RwLock::new(hidden)], shown: AtomicUsize::new(0) }
    }

    /// What is shown. Keep it for a short while only: it holds up the turn after the next.
    pub fn read(&self) -> Reading<'_, T> {
        loop {
            let shown = self.shown.load(Ordering::Acquire);
            // A copy that was read-locked before this second look, and is shown at it, is shown unchanged until it is
            // let go; one that is not shown may be ahead, and the next reading would fall behind it.
            if let Some(copy) = self.copies[shown].try_read()
                && self.shown.load(Ordering::Acquire) == shown
            {
                return Reading(copy);
            }
            // It has been turned since: look again.
            #[cfg(loom)]
            loom::thread::yield_now();
        }
    }

    /// The hidden copy, to be changed and then shown; waits for those who still read it. Only one may have it: another
    /// would wait for the first.
    pub fn hidden(&self) -> Hidden<'_, T> {
        let hidden = 1 - self.shown.load(Ordering::Acquire);
        Hidden { mirror: self, hidden, copy: self.copies[hidden].write() }
    }
}

impl<T> fmt::Debug for Mirror<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror").field("shown", &self.shown).finish_non_exhaustive()
    }
}

/// What a [`Mirror`] shows, as it is at one moment.
pub struct Reading<'a, T>(RwLockReadGuard<'a, T>);

impl<T> Deref for Reading<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for Reading<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// The hidden copy of a [`Mirror`]. It is locked for as long as it is hidden, so that a reader who is late, and takes
/// it for the shown one, finds out.
pub struct Hidden<'a, T> {
    mirror: &'a Mirror<T>,
    hidden: usize,
    copy: RwLockWriteGuard<'a, T>,
}

impl<T> Hidden<'_, T> {
    /// Shows it. The copy that was shown is hidden from now on, and has yet to be changed in the same way.
    pub fn show(self) {
        let Self { mirror, hidden, copy } = self;
        drop(copy);
        mirror.shown.store(hidden, Ordering::Release);
    }
}

impl<T> Deref for Hidden<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.copy
    }
}

impl<T> DerefMut for Hidden<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.copy
    }
}

impl<T> fmt::Debug for Hidden<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hidden").field("hidden", &self.hidden).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Mirror;

    #[test]
    fn changes_are_seen_when_they_are_shown() {
        let mirror = Mirror::new(vec![1], vec![1]);
        let mut hidden = mirror.hidden();
        hidden.push(2);
        assert_eq!(*mirror.read(), [1]);
        hidden.show();
        assert_eq!(*mirror.read(), [1, 2]);
        let mut hidden = mirror.hidden();
        assert_eq!(*hidden, [1]);
        hidden.push(2);
        hidden.push(3);
        hidden.show();
        assert_eq!(*mirror.read(), [1, 2, 3]);
    }

    #[test]
    fn a_reader_keeps_what_it_read_while_the_next_is_shown() {
        let mirror = Mirror::new(1, 1);
        std::thread::scope(|scope| {
            let early = mirror.read();
            let turns = scope.spawn(|| {
                let mut hidden = mirror.hidden();
                *hidden = 2;
                hidden.show();
                // Comes back only when `early` is gone.
                let _hidden = mirror.hidden();
            });
            while *mirror.read() == 1 {
                std::hint::spin_loop();
            }
            assert_eq!((*early, *mirror.read()), (1, 2), "nobody waits for the early reader but the changer");
            assert!(!turns.is_finished());
            drop(early);
        });
    }
}

#[cfg(all(test, loom))]
mod walks {
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicUsize, Ordering};
    use loom::thread;

    use super::Mirror;

    /// A change in two steps: a reader who saw the state between them would see unequal halves.
    fn change(halves: &mut (usize, usize)) {
        halves.0 += 1;
        thread::yield_now();
        halves.1 += 1;
    }

    #[test]
    fn no_reader_sees_half_a_change() {
        loom::model(|| {
            let mirror = Arc::new(Mirror::new((0, 0), (0, 0)));
            let reads = {
                let mirror = mirror.clone();
                thread::spawn(move || {
                    let seen = *mirror.read();
                    assert_eq!(seen.0, seen.1);
                })
            };
            let mut hidden = mirror.hidden();
            change(&mut hidden);
            hidden.show();
            let mut hidden = mirror.hidden();
            change(&mut hidden);
            change(&mut hidden);
            hidden.show();
            reads.join().expect("a reader");
            assert_eq!(*mirror.read(), (2, 2));
        });
    }

    /// What is not shown yet is seen by nobody, however late a reader is with the copy that it takes.
    #[test]
    fn no_reader_sees_what_is_not_shown() {
        loom::model(|| {
            let mirror = Arc::new(Mirror::new(0, 0));
            // Raised before each turn: the most that anybody may see.
            let shown = Arc::new(AtomicUsize::new(0));
            let reads = {
                let (mirror, shown) = (mirror.clone(), shown.clone());
                thread::spawn(move || {
                    let seen = *mirror.read();
                    assert!(seen <= shown.load(Ordering::SeqCst));
                })
            };
            for number in 1..=2 {
                let mut hidden = mirror.hidden();
                *hidden = number;
                shown.store(number, Ordering::SeqCst);
                hidden.show();
            }
            reads.join().expect("a reader");
        });
    }

    /// Three turns: one who is late with the copy of the first could find it on the point of being shown again.
    #[test]
    fn no_reader_falls_behind_what_it_has_read() {
        loom::model(|| {
            let mirror = Arc::new(Mirror::new(0, 0));
            let reads = {
                let mirror = mirror.clone();
                thread::spawn(move || {
                    let first = *mirror.read();
                    assert!(first <= *mirror.read());
                })
            };
            for number in 1..=3 {
                let mut hidden = mirror.hidden();
                *hidden = number;
                hidden.show();
            }
            reads.join().expect("a reader");
        });
    }
}
