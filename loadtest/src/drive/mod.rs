//! The driver: connections, what is under way on them, and the threads that keep both going.
//!
//! A generator is one thread with its own connections and its own part of the work (`worker`). What it does next, and what
//! an answer means, is `work`; what it asks on is a `line`, which mostly is a connection, a `link`. The generators of one run are a `fleet`.

pub(crate) mod fleet;
pub(crate) mod line;
pub(crate) mod link;
pub(crate) mod unreachable;
mod work;
mod worker;

use std::time::Instant;

pub(crate) use worker::said;

/// One clock for all generators of a process: nanoseconds since it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(&self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}
