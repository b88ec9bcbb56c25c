//! Hits: what rates and budgets alone count, and what leaves nothing behind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use headgate_ledger::{Hit, HitDecision, HitStanding, Ledger, Name, Outcome, Time};

use super::Engine;
use super::caller::Caller;
use super::cell::{Cell, Turn};
use super::error::EngineError;
use super::view::View;
use crate::persist::Origin;

/// Hits that are decided before others have a turn in between.
const AT_ONCE_MAX: usize = 64;

/// The hits of one call. Of each, all that it may be meant for, in order: it is the first whose tenant there is, or is made
/// on first use, and where there is none it counts nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HitCall(pub Vec<Vec<Hit>>);

/// What became of the hits of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HitAnswer {
    /// When that was.
    pub time: Time,
    /// Whether all of them may pass.
    pub allowed: bool,
    /// Each, in their order; none: it counts nowhere.
    pub hits: Vec<Option<HitStanding>>,
}

/// What was decided, and may have to be durable before it is told.
pub struct HitDecided {
    answer: HitAnswer,
    relies_on: Option<(Arc<Cell>, u64)>,
}

impl HitDecided {
    /// The answer, where it may be told at once: a refusal counts nothing.
    pub fn known(self) -> Result<HitAnswer, Self> {
        match self.relies_on {
            None => Ok(self.answer),
            Some(_) => Err(self),
        }
    }

    /// The answer, when it may be told.
    pub async fn told(self) -> Result<HitAnswer, EngineError> {
        if let Some((cell, sequence)) = self.relies_on {
            cell.answerable(sequence).await?;
        }
        Ok(self.answer)
    }
}

/// What a cell is to decide: calls by their places, with what of them is still open.
struct Plan<'a> {
    cell: &'a Arc<Cell>,
    calls: Vec<(usize, Vec<&'a [Hit]>)>,
}

impl Engine {
    /// Decides the hits of many calls, each cell's under one lock: those of a call in one step, and counted where all of
    /// them may pass.
    pub fn hit(&self, caller: &Caller, calls: &[HitCall]) -> Vec<Result<HitDecided, EngineError>> {
        let started = Instant::now();
        let mut decided: Vec<Option<Result<HitDecided, EngineError>>> = Vec::new();
        decided.resize_with(calls.len(), || None);
        let mut plans: BTreeMap<&Name, Plan<'_>> = BTreeMap::new();
        for (place, HitCall(each)) in calls.iter().enumerate() {
            let each: Vec<_> = each.iter().map(|hit| self.of_one_cell(hit)).collect();
            match self.cell_of_hits(&each) {
                Ok(Some(cell)) => {
                    let plan = plans.entry(&cell.name).or_insert_with(|| Plan { cell, calls: Vec::new() });
                    plan.calls.push((place, each));
                }
                Ok(None) => decided[place] = Some(Ok(uncounted(each.len()))),
                Err(error) => decided[place] = Some(Err(error)),
            }
        }
        let origin = caller.origin("");
        for Plan { cell, calls } in plans.into_values() {
            let turn = cell.turn(|turn| {
                let (mut taken, mut over) = (0, None);
                let mut one = |(_, each): &(usize, Vec<&[Hit]>)| {
                    if taken >= AT_ONCE_MAX && over.is_none() {
                        (taken, over) = (0, turn.let_others().err());
                    }
                    taken += each.len();
                    over.clone().map_or_else(|| decide(turn, caller, &origin, each), Err)
                };
                calls.iter().map(&mut one).collect::<Vec<_>>()
            });
            match turn {
                Ok(each) => {
                    for ((place, _), one) in calls.into_iter().zip(each) {
                        decided[place] = Some(one.map(|Decided { meant, answer, relies_on }| {
                            self.count_hits(&meant, &answer, started);
                            let relies_on = relies_on.map(|sequence| (cell.clone(), sequence));
                            HitDecided { answer, relies_on }
                        }));
                    }
                }
                Err(error) => calls.into_iter().for_each(|(place, _)| decided[place] = Some(Err(error.clone()))),
            }
        }
        let every = |one: Option<_>| one.unwrap_or_else(|| unreachable!("every call is decided or refused"));
        decided.into_iter().map(every).collect()
    }

    /// Of what a hit may be meant for, that in one cell. Where it is several cells', it is looked for in what they show:
    /// no two of them are asked at one time.
    fn of_one_cell<'a>(&self, hits: &'a [Hit]) -> &'a [Hit] {
        let home = |hit: &Hit| self.home(&hit.pool).map(|cell| &cell.name);
        let Some((first, rest)) = hits.split_first() else { return hits };
        let cell = home(first);
        if rest.iter().all(|hit| matches!((home(hit), &cell), (Ok(a), Ok(b)) if a == *b)) {
            return hits;
        }
        // Of a pool that there is not, whoever decides says so.
        let meant = |hit: &Hit| self.home(&hit.pool).map_or(true, |cell| is_somebody(&View::of(cell), hit));
        let meant = hits.iter().position(meant);
        meant.map_or(&[], |at| &hits[at..=at])
    }

    /// One step is one cell's. None, where nothing is counted.
    fn cell_of_hits(&self, each: &[&[Hit]]) -> Result<Option<&Arc<Cell>>, EngineError> {
        let mut pools = each.iter().filter_map(|hits| hits.first()).map(|hit| &hit.pool);
        let Some(first) = pools.next() else { return Ok(None) };
        let cell = self.home(first)?;
        for pool in pools {
            let other = self.home(pool)?;
            if other.name != cell.name {
                let why = format!(
                    "pool {first} is in cell {}, pool {pool} in cell {}: what is decided together is of pools of one cell",
                    cell.name, other.name
                );
                return Err(EngineError::Invalid { field: "hits", why });
            }
        }
        Ok(Some(cell))
    }

    fn count_hits(&self, meant: &[Option<Hit>], answer: &HitAnswer, started: Instant) {
        for (hit, standing) in meant.iter().zip(&answer.hits) {
            let (Some(hit), Some(standing)) = (hit, standing) else { continue };
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

/// What a cell decided of one call.
struct Decided {
    /// What each of its hits was found to be.
    meant: Vec<Option<Hit>>,
    answer: HitAnswer,
    /// The record that the answer relies on, where it counts.
    relies_on: Option<u64>,
}

/// Decides the hits of one call.
fn decide(turn: &mut Turn<'_>, caller: &Caller, origin: &Arc<Origin>, each: &[&[Hit]]) -> Result<Decided, EngineError> {
    let ledger = turn.ledger();
    let meant = |hits: &&[Hit]| hits.iter().find(|hit| is_somebody(ledger, hit)).cloned();
    let meant: Vec<Option<Hit>> = each.iter().map(meant).collect();
    let hits: Vec<Hit> = meant.iter().flatten().cloned().collect();
    if hits.is_empty() {
        return Ok(Decided { meant, answer: uncounted(each.len()).answer, relies_on: None });
    }
    if let Some(hit) = hits.iter().find(|hit| !caller.scope.covers(&hit.tenant)) {
        return Err(EngineError::NoTenant(hit.tenant.clone()));
    }
    let time = turn.now();
    let HitDecision { allowed, entry, hits: standings } =
        ledger.hit(time, &hits).map_err(|refusal| EngineError::from_refusal(refusal, &turn.cell.name))?;
    let relies_on = entry.map(|entry| {
        turn.post(origin, entry);
        turn.posted()
    });
    let mut standings = standings.into_iter();
    let hits = meant.iter().map(|hit| hit.as_ref().and_then(|_| standings.next())).collect();
    Ok(Decided { meant, answer: HitAnswer { time, allowed, hits }, relies_on })
}

/// Whether a hit's tenant is there, or is made on first use.
fn is_somebody(ledger: &Ledger, hit: &Hit) -> bool {
    let is_made = || ledger.tenant(hit.tenant.parent()?.as_str())?.members.as_ref();
    ledger.tenant(hit.tenant.as_str()).is_some() || is_made().is_some()
}

/// Of so many that count nowhere.
fn uncounted(count: usize) -> HitDecided {
    let answer = HitAnswer { time: Time::EPOCH, allowed: true, hits: vec![None; count] };
    HitDecided { answer, relies_on: None }
}
