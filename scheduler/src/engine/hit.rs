//! Hits: what rates and budgets alone count, and what leaves nothing behind.

use std::sync::Arc;
use std::time::Instant;

use headgate_ledger::{Hit, HitDecision, HitStanding, Outcome, Time};

use super::Engine;
use super::caller::Caller;
use super::cell::Cell;
use super::error::EngineError;

/// What became of hits that were decided together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HitAnswer {
    /// When that was.
    pub time: Time,
    /// Whether all of them may pass.
    pub allowed: bool,
    /// Each, in their order.
    pub hits: Vec<HitStanding>,
}

impl Engine {
    /// Decides hits in one step, and counts them where all may pass. Answered when that is durable; a refusal counts nothing,
    /// and is answered at once.
    pub async fn hit(&self, caller: &Caller, hits: &[Hit]) -> Result<HitAnswer, EngineError> {
        let started = Instant::now();
        let cell = self.cell_of_hits(hits)?;
        if let Some(hit) = hits.iter().find(|hit| !caller.scope.covers(&hit.tenant)) {
            return Err(EngineError::NoTenant(hit.tenant.clone()));
        }
        let origin = caller.origin("");
        let (answer, relies_on) = cell
            .turn(|turn| {
                let time = turn.now();
                let decided = turn.ledger().hit(time, hits);
                decided.map(|HitDecision { allowed, entry, hits }| {
                    let relies_on = entry.map(|entry| {
                        turn.post(&origin, entry);
                        turn.posted()
                    });
                    (HitAnswer { time, allowed, hits }, relies_on)
                })
            })?
            .map_err(|refusal| EngineError::from_refusal(refusal, &cell.name))?;
        self.count_hits(hits, &answer, started);
        if let Some(sequence) = relies_on {
            cell.answerable(sequence).await?;
        }
        Ok(answer)
    }

    /// One step is one cell's.
    fn cell_of_hits(&self, hits: &[Hit]) -> Result<&Arc<Cell>, EngineError> {
        let invalid = |why: String| EngineError::Invalid { field: "hits", why };
        let (first, rest) = hits.split_first().ok_or_else(|| invalid("none are given".to_owned()))?;
        let cell = self.home(&first.pool)?;
        for hit in rest {
            let other = self.home(&hit.pool)?;
            if other.name != cell.name {
                return Err(invalid(format!(
                    "pool {} is in cell {}, pool {} in cell {}: what is decided together is of pools of one cell",
                    first.pool, cell.name, hit.pool, other.name
                )));
            }
        }
        Ok(cell)
    }

    fn count_hits(&self, hits: &[Hit], answer: &HitAnswer, started: Instant) {
        for (hit, standing) in hits.iter().zip(&answer.hits) {
            let reason = standing.reasons.first().map(|reason| reason.code);
            let metrics = self.metrics.pool(&hit.pool);
            match (standing.passes(), answer.allowed) {
                (true, true) => metrics.decided(Outcome::Allow, reason, reason.map(|_| Outcome::Deny)),
                // It would have passed, but for another.
                (true, false) => {}
                (false, _) => metrics.decided(Outcome::Deny, reason, None),
            }
        }
        self.metrics.decision.record(started.elapsed());
    }
}
