//! How a cell is.

use std::time::{Duration, Instant};

use headgate_ledger::Name;

/// How a cell's store is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StoreHealth {
    /// It takes what it is given.
    #[default]
    Up,
    /// It failed, and nothing is decided.
    Down {
        /// Since when.
        since: Instant,
        /// What it said last.
        cause: String,
    },
    /// It failed, and decisions go on in memory.
    Detached {
        /// Since when.
        since: Instant,
        /// What it said last.
        cause: String,
        /// There was too much to remember: a restart loses what is decided now.
        given_up: bool,
    },
}

/// How a cell is.
#[derive(Clone, Debug)]
pub struct Health {
    /// Which.
    pub cell: Name,
    /// Whether it decides just now.
    pub serving: bool,
    /// How its store is.
    pub store: StoreHealth,
    /// How long the commit has taken that is under way, where that is longer than it should.
    pub stalled_for: Option<Duration>,
    /// The number of the last record that was posted.
    pub posted: u64,
    /// The number of the last that is durable.
    pub durable: u64,
    /// The number of the last that readers see.
    pub published: u64,
    /// Bytes that the store has not taken yet.
    pub unjournaled_bytes: usize,
}
