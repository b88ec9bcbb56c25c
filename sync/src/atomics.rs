//! The locks and atomics that are used here, or loom's where loom walks them.

#[cfg(not(loom))]
pub(crate) use parking_lot::{
    Mutex, RecursiveRwLock as PassingRwLock, RecursiveRwLockReadGuard as PassingReadGuard, RwLock, RwLockReadGuard,
    RwLockWriteGuard,
};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

#[cfg(loom)]
pub(crate) use self::mocked::{Mutex, PassingReadGuard, PassingRwLock, RwLock, RwLockReadGuard, unlock_fair};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

/// Lets go of a lock, to those who wait for it rather than to whoever comes next.
#[cfg(not(loom))]
pub(crate) fn unlock_fair<T>(held: RwLockWriteGuard<'_, T>) {
    RwLockWriteGuard::unlock_fair(held);
}

/// Loom's locks with `parking_lot`'s face: nothing is poisoned. There is no clock, and no order among those who wait: who
/// would wait for a while gives up at once, and whoever waits may be the next.
#[cfg(loom)]
mod mocked {
    pub(crate) use loom::sync::{MutexGuard, RwLockReadGuard, RwLockReadGuard as PassingReadGuard, RwLockWriteGuard};

    #[derive(Debug)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("not poisoned")
        }
    }

    #[derive(Debug)]
    pub(crate) struct RwLock<T>(loom::sync::RwLock<T>);

    pub(crate) use RwLock as PassingRwLock;

    impl<T> RwLock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::RwLock::new(value))
        }

        pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
            self.0.read().expect("not poisoned")
        }

        pub(crate) fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
            self.0.try_read().ok()
        }

        pub(crate) fn try_read_for(&self, _: std::time::Duration) -> Option<RwLockReadGuard<'_, T>> {
            self.try_read()
        }

        pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
            self.0.write().expect("not poisoned")
        }
    }

    pub(crate) fn unlock_fair<T>(held: RwLockWriteGuard<'_, T>) {
        drop(held);
    }
}
