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

impl Health {
    /// Why the store does not take what it is given just now; none where it does.
    pub fn store_fails(&self) -> Option<String> {
        match (&self.store, self.stalled_for) {
            (StoreHealth::Down { cause, .. } | StoreHealth::Detached { cause, .. }, _) => Some(cause.clone()),
            (StoreHealth::Up, Some(stalled)) => Some(format!("a commit has taken {} s", stalled.as_secs())),
            (StoreHealth::Up, None) => None,
        }
    }

    /// Why nobody should ask this cell just now; none where it answers.
    pub fn why_not_ready(&self) -> Option<String> {
        let why = match &self.store {
            StoreHealth::Up | StoreHealth::Down { .. } => self.store_fails(),
            // Decisions go on in memory, as was asked for.
            StoreHealth::Detached { .. } => None,
        };
        let why = why.or_else(|| (!self.serving).then(|| "it decides nothing".to_owned()));
        why.map(|why| format!("cell {}: {why}", self.cell))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use headgate_ledger::default_cell;

    use super::{Health, StoreHealth};

    #[test]
    fn a_cell_is_not_ready_while_its_store_takes_nothing() {
        let health = |serving, store, stalled_for| Health {
            cell: default_cell(),
            serving,
            store,
            stalled_for,
            posted: 0,
            durable: 0,
            published: 0,
            unjournaled_bytes: 0,
        };
        let (since, cause) = (Instant::now(), "disk full".to_owned());
        let down = StoreHealth::Down { since, cause: cause.clone() };
        let detached = StoreHealth::Detached { since, cause, given_up: false };
        let stalled = Some(Duration::from_secs(6));
        let long = "a commit has taken 6 s";
        for (health, fails, why) in [
            (health(true, StoreHealth::Up, None), None, None),
            (health(false, down, None), Some("disk full"), Some("cell main: disk full")),
            (health(true, detached, None), Some("disk full"), None),
            (health(true, StoreHealth::Up, stalled), Some(long), Some("cell main: a commit has taken 6 s")),
            (health(false, StoreHealth::Up, None), None, Some("cell main: it decides nothing")),
        ] {
            assert_eq!(health.store_fails().as_deref(), fails, "{health:?}");
            assert_eq!(health.why_not_ready().as_deref(), why, "{health:?}");
        }
    }
}
