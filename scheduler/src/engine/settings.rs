//! What an engine is told when it is opened.

use std::time::Duration;

/// When a decision is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durability {
    /// When the store has it.
    #[default]
    Journaled,
    /// At once; what the store has not yet taken is lost in a crash.
    Relaxed,
    /// At once, and it is never written down: the process ends, and all is forgotten. There is no journal to keep up with, and
    /// nothing to make snapshots of.
    Forgotten,
}

/// What becomes of decisions when the store fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnStoreFailure {
    /// Nothing is decided until it is back.
    #[default]
    Stop,
    /// Decisions go on in memory, and the engine says so. What was decided meanwhile is written when the store is back, as
    /// far as there is room to remember it.
    Continue,
}

/// How an engine runs.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// When a decision is answered.
    pub durability: Durability,
    /// What becomes of decisions when the store fails.
    pub on_store_failure: OnStoreFailure,
    /// Bytes that may be posted and not yet taken by the store; then new requests are turned away. A store that stalls
    /// for a second at a hundred thousand decisions of three hundred bytes needs half of the default.
    pub journal_buffer_bytes_max: usize,
    /// Records that readers may be behind what was decided, as memory must hold them; then new requests are turned away. As a
    /// decision is not answered before readers are within a quarter of it, it takes more under way at once than the rest: three
    /// times what the server admits by itself.
    pub unpublished_max: u64,
    /// Bytes to remember, under [`OnStoreFailure::Continue`], for when the store is back. Beyond that the journal is given
    /// up until a restart.
    pub detached_bytes_max: usize,
    /// Bytes of the journal after which a snapshot is made, where the last one has no more than that; else as many as that
    /// has. A restart reads about so much: seconds.
    pub snapshot_after_bytes: usize,
    /// How often the invariants of what is served are checked, beside those of every snapshot. While it lasts, it takes one
    /// processor; often enough that a fault is found in the hour it came.
    pub audit_every: Duration,
    /// Events kept for watchers who resume: some seconds of full load, some hours of ordinary load.
    pub recent_events_max: usize,
    /// Messages that a watcher may be behind before it is cut off.
    pub watcher_messages_max: usize,
    /// The first and the longest wait between attempts to reopen a store that failed.
    pub reopen_after: (Duration, Duration),
    /// A commit that takes longer than this is shown as a stall on the health endpoint.
    pub store_stalls_after: Duration,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            on_store_failure: OnStoreFailure::default(),
            journal_buffer_bytes_max: 64 * 1024 * 1024,
            unpublished_max: 262_144,
            detached_bytes_max: 256 * 1024 * 1024,
            snapshot_after_bytes: 64 * 1024 * 1024,
            audit_every: Duration::from_secs(600),
            recent_events_max: 65_536,
            watcher_messages_max: 1024,
            reopen_after: (Duration::from_millis(50), Duration::from_secs(2)),
            store_stalls_after: Duration::from_secs(5),
        }
    }
}
