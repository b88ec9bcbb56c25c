//! Whether the server is ready, and why not.

use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

use crate::engine::{Engine, Health};

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
///
/// Once it serves, what its engine says of itself decides, as it does of the metrics: those who ask have it looked at
/// then, and are not told what was so a while ago.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    phase: watch::Sender<Phase>,
    /// What serves, as soon as it does.
    engine: OnceLock<Arc<Engine>>,
}

impl Default for Readiness {
    fn default() -> Self {
        Self(Arc::new(Inner { phase: watch::Sender::new(Phase::Recovering), engine: OnceLock::new() }))
    }
}

impl Readiness {
    /// Tells where it is. What is stopping stays so.
    pub fn enter(&self, phase: Phase) {
        self.move_to(|| phase);
    }

    /// It serves from now on, as long as this engine can.
    pub fn serve(&self, engine: Arc<Engine>) {
        // One that serves already stays: a server has one engine.
        let _ = self.0.engine.set(engine);
        self.enter(Phase::Serving);
        self.look();
    }

    /// Looks whether what serves can, and tells all who wait where that has changed.
    pub fn look(&self) {
        let Some(engine) = self.0.engine.get() else { return };
        let now = || {
            let down = engine.health().iter().find_map(Health::why_not_ready);
            down.map_or(Phase::Serving, Phase::StoreDown)
        };
        match self.move_to(now) {
            Some((Phase::StoreDown(_), Phase::Serving)) => tracing::info!("the store is back"),
            Some((Phase::Serving, Phase::StoreDown(why))) => tracing::error!("the store is down: {why}"),
            _ => {}
        }
    }

    /// Moves to what is found while nobody else moves it, and says from where to where where that is a change.
    fn move_to(&self, find: impl FnOnce() -> Phase) -> Option<(Phase, Phase)> {
        let mut moved = None;
        self.0.phase.send_if_modified(|now| {
            if *now == Phase::Stopping {
                return false;
            }
            let next = find();
            if *now != next {
                moved = Some((std::mem::replace(now, next.clone()), next));
            }
            moved.is_some()
        });
        moved
    }

    /// Where it is.
    pub fn phase(&self) -> Phase {
        self.look();
        self.0.phase.borrow().clone()
    }

    /// Why it is not ready; none where it is.
    pub fn why_not(&self) -> Option<String> {
        self.look();
        match &*self.0.phase.borrow() {
            Phase::Recovering => Some("it reads what was decided before".to_owned()),
            Phase::Serving => None,
            Phase::StoreDown(why) => Some(format!("the store takes nothing: {why}")),
            Phase::Stopping => Some("it is stopping".to_owned()),
        }
    }

    /// Told of every change from now on.
    pub fn subscribe(&self) -> watch::Receiver<Phase> {
        self.0.phase.subscribe()
    }

    /// Waits until it is about to end.
    pub async fn stopping(&self) {
        let mut phases = self.0.phase.subscribe();
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
