//! Whether the server is ready, and why not.

use std::sync::Arc;

use tokio::sync::watch;

/// Where a server is between its start and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It reads what was decided before.
    Recovering,
    /// It serves.
    Serving,
    /// Its store does not take anything just now.
    StoreDown(String),
    /// It is about to end.
    Stopping,
}

/// Whether the server is ready, told to all who ask and wait.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<watch::Sender<Phase>>);

impl Default for Readiness {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Phase::Recovering)))
    }
}

impl Readiness {
    /// Tells where it is. What is stopping stays so.
    pub fn enter(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let moves = *now != Phase::Stopping && *now != phase;
            if moves {
                *now = phase;
            }
            moves
        });
    }

    /// Where it is.
    pub fn phase(&self) -> Phase {
        self.0.borrow().clone()
    }

    /// Why it is not ready; none where it is.
    pub fn why_not(&self) -> Option<String> {
        match &*self.0.borrow() {
            Phase::Recovering => Some("it reads what was decided before".to_owned()),
            Phase::Serving => None,
            Phase::StoreDown(why) => Some(format!("the store takes nothing: {why}")),
            Phase::Stopping => Some("it is stopping".to_owned()),
        }
    }

    /// Told of every change from now on.
    pub fn subscribe(&self) -> watch::Receiver<Phase> {
        self.0.subscribe()
    }

    /// Waits until it is about to end.
    pub async fn stopping(&self) {
        let mut phases = self.0.subscribe();
        // The sender lives as long as this does.
        let _ = phases.wait_for(|phase| *phase == Phase::Stopping).await;
    }
}

#[cfg(test)]
mod tests {
    use super::{Phase, Readiness};

    #[test]
    fn what_is_stopping_does_not_serve_again() {
        let readiness = Readiness::default();
        assert!(readiness.why_not().is_some_and(|why| why.contains("decided before")));
        readiness.enter(Phase::Serving);
        assert_eq!(readiness.why_not(), None);
        readiness.enter(Phase::StoreDown("disk full".to_owned()));
        assert!(readiness.why_not().is_some_and(|why| why.contains("disk full")));
        readiness.enter(Phase::Stopping);
        readiness.enter(Phase::Serving);
        assert_eq!(readiness.phase(), Phase::Stopping);
    }
}
