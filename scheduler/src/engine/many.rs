//! Many operations at once: what each cell is to do, and what became of each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use headgate_ledger::{Explanation, Id, Name};

use super::caller::Caller;
use super::cell::Cell;
use super::error::EngineError;
use super::id::LeaseId;
use super::operate::{self, Answer, Done, Operation, Step, Stepped, Target, Verb};
use super::stands::Stands;
use super::{Each, Engine};

/// What a cell is to do, each step with the operation that it is of.
struct Plan<'a> {
    cell: &'a Arc<Cell>,
    steps: Vec<(usize, Step<'a>)>,
}

impl Engine {
    /// Does many operations in order, in each cell under one lock and at one time, and answers all when they are durable.
    pub async fn operate(&self, caller: &Caller, operations: Vec<Operation>) -> Vec<Result<Done, EngineError>> {
        let mut gathered = Gathered::new(&operations);
        self.explain_before(caller, &operations, &mut gathered).await;
        let started = Instant::now();
        let mut waits = Vec::new();
        for Plan { cell, steps } in self.plan(&operations, &mut gathered) {
            let plain: Vec<_> = steps.iter().map(|(_, step)| *step).collect();
            match operate::take_steps(cell, caller, &caller.origin(""), &plain) {
                Ok((done, relies_on)) => {
                    for ((place, _), stepped) in steps.into_iter().zip(done) {
                        gathered.take(place, cell, stepped);
                    }
                    waits.push((cell, relies_on));
                }
                Err(error) => {
                    for (place, step) in steps {
                        gathered.fail(place, cell, step, &error);
                    }
                }
            }
        }
        self.count(&operations, &gathered, started);
        for (cell, relies_on) in waits {
            if relies_on > 0
                && let Err(error) = cell.answerable(relies_on).await
            {
                gathered.withhold(cell, &error);
            }
        }
        self.place(&mut gathered).await;
        self.explain_after(&operations, &mut gathered).await;
        gathered.finish()
    }

    /// What each cell is to do, in order.
    fn plan<'a>(&'a self, operations: &'a [Operation], gathered: &mut Gathered) -> Vec<Plan<'a>> {
        let mut plans: BTreeMap<&Name, Plan<'_>> = BTreeMap::new();
        let mut add = |cell: &'a Arc<Cell>, place, step| {
            plans.entry(&cell.name).or_insert_with(|| Plan { cell, steps: Vec::new() }).steps.push((place, step));
        };
        for (place, operation) in operations.iter().enumerate() {
            let (verb, target) = match operation {
                Operation::Acquire { request, .. } | Operation::Check { request, .. } => {
                    match self.home(&request.pool) {
                        Ok(cell) if matches!(operation, Operation::Acquire { .. }) => {
                            add(cell, place, Step::Acquire(request));
                        }
                        Ok(cell) => add(cell, place, Step::Check(request)),
                        Err(error) => gathered.results[place].decided = Some(Err(error)),
                    }
                    continue;
                }
                Operation::Confirm(target) => (Verb::Confirm, target),
                Operation::Renew { target, holder } => (Verb::Renew(holder.as_ref()), target),
                Operation::Resize { target, resources, .. } => (Verb::Resize(resources), target),
                Operation::Release(target) => (Verb::Release, target),
                Operation::Cancel(target) => (Verb::Cancel, target),
            };
            match target {
                Target::Holder(holder) => {
                    for cell in self.cells.values() {
                        add(cell, place, Step::Holder(verb, holder));
                    }
                }
                Target::Ids(ids) => {
                    for id in ids {
                        match self.cells.get(&id.cell) {
                            Some(cell) => add(cell, place, Step::One(verb, id.number)),
                            None => {
                                let error = EngineError::NoLease(id.clone());
                                gathered.results[place].each.push((id.clone(), Err(error)));
                            }
                        }
                    }
                }
            }
        }
        plans.into_values().collect()
    }

    /// The explanations of requests that were asked for, from what is published just before.
    async fn explain_before(&self, caller: &Caller, operations: &[Operation], gathered: &mut Gathered) {
        for (operation, result) in operations.iter().zip(&mut gathered.results) {
            let (Operation::Acquire { request, explain: true } | Operation::Check { request, explain: true }) =
                operation
            else {
                continue;
            };
            let Ok(cell) = self.home(&request.pool) else { continue };
            if caller.scope.covers(&request.tenant) {
                let view = cell.look().await;
                result.explanation = view.explain(view.now(), request).ok().map(Box::new);
            }
        }
    }

    /// The explanations of leases that were asked for, as they stand after their change.
    async fn explain_after(&self, operations: &[Operation], gathered: &mut Gathered) {
        for (operation, result) in operations.iter().zip(&mut gathered.results) {
            let Operation::Resize { explain: true, .. } = operation else { continue };
            for (id, answer) in &mut result.each {
                let (Ok(answer), Some(cell)) = (answer, self.cells.get(&id.cell)) else { continue };
                let view = cell.look().await;
                answer.explanation = view.explain_id(view.now(), id.number).map(Box::new);
            }
        }
    }

    fn count(&self, operations: &[Operation], gathered: &Gathered, started: Instant) {
        for (operation, result) in operations.iter().zip(&gathered.results) {
            let (Operation::Acquire { request, .. }, Some(Ok(answer))) = (operation, &result.decided) else { continue };
            if answer.repeated {
                continue;
            }
            let reason = answer.reasons.first().map(|reason| reason.code);
            self.metrics.pool(&request.pool).decided(answer.outcome, reason, answer.would_be);
            self.metrics.decision.record(started.elapsed());
        }
    }

    /// Tells those that wait their places.
    async fn place(&self, gathered: &mut Gathered) {
        for cell in self.cells.values() {
            let waiting =
                |answer: &&mut Answer| answer.cell == cell.name && matches!(answer.stands, Some(Stands::Ticket { .. }));
            if !gathered.answers().any(|answer| waiting(&answer)) {
                continue;
            }
            let mut view = cell.look().await;
            for answer in gathered.answers().filter(waiting) {
                let Some(Stands::Ticket { ticket, .. }) = &answer.stands else { continue };
                if let Some(place) = cell.places.of(&mut view, &ticket.request.pool, ticket.id) {
                    (answer.position, answer.expected_wait) = (Some(place.position), place.wait);
                }
            }
        }
    }
}

/// What became of operations, gathered from the cells.
struct Gathered {
    results: Vec<Gathering>,
}

struct Gathering {
    /// For a holder, in the order of the ids; else as the ids were given.
    order: Option<Vec<LeaseId>>,
    decided: Option<Result<Answer, EngineError>>,
    each: Each,
    explanation: Option<Box<Explanation>>,
}

impl Gathered {
    fn new(operations: &[Operation]) -> Self {
        let gathering = |operation: &Operation| {
            let order = match operation {
                Operation::Acquire { .. } | Operation::Check { .. } => None,
                Operation::Confirm(target)
                | Operation::Renew { target, .. }
                | Operation::Resize { target, .. }
                | Operation::Release(target)
                | Operation::Cancel(target) => match target {
                    Target::Ids(ids) => Some(ids.clone()),
                    Target::Holder(_) => Some(Vec::new()),
                },
            };
            Gathering { order, decided: None, each: Vec::new(), explanation: None }
        };
        Self { results: operations.iter().map(gathering).collect() }
    }

    fn take(&mut self, place: usize, cell: &Cell, stepped: Stepped) {
        let result = &mut self.results[place];
        match stepped {
            Stepped::Decided(decided) => result.decided = Some(decided),
            Stepped::Each(each) => {
                let named = |number: Id| LeaseId { cell: cell.name.clone(), number };
                result.each.extend(each.into_iter().map(|(number, answer)| (named(number), answer)));
            }
        }
    }

    /// A cell took none of its steps.
    fn fail(&mut self, place: usize, cell: &Cell, step: Step<'_>, error: &EngineError) {
        let result = &mut self.results[place];
        match step {
            Step::Acquire(_) | Step::Check(_) => result.decided = Some(Err(error.clone())),
            Step::One(_, number) => {
                let id = LeaseId { cell: cell.name.clone(), number };
                result.each.push((id, Err(error.clone())));
            }
            // Whatever it holds there was not reached: the operation as a whole has to be repeated.
            Step::Holder(..) => result.decided = Some(Err(error.clone())),
        }
    }

    /// What a cell decided may not be told.
    fn withhold(&mut self, cell: &Cell, error: &EngineError) {
        for result in &mut self.results {
            let mine = |answer: &Answer| answer.cell == cell.name && answer.stands.is_some();
            if let Some(decided) = &mut result.decided
                && decided.as_ref().is_ok_and(mine)
            {
                *decided = Err(error.clone());
            }
            for (_, answer) in &mut result.each {
                if answer.as_ref().is_ok_and(mine) {
                    *answer = Err(error.clone());
                }
            }
        }
    }

    fn answers(&mut self) -> impl Iterator<Item = &mut Answer> {
        self.results.iter_mut().flat_map(|result| {
            let decided = result.decided.iter_mut().filter_map(|decided| decided.as_mut().ok());
            decided.chain(result.each.iter_mut().filter_map(|(_, answer)| answer.as_mut().ok()))
        })
    }

    fn finish(self) -> Vec<Result<Done, EngineError>> {
        let finish = |result: Gathering| {
            let Gathering { order, decided, mut each, explanation } = result;
            match (decided, order) {
                (Some(Ok(mut answer)), _) => {
                    answer.explanation = explanation;
                    Ok(Done::Decided(answer))
                }
                (Some(Err(error)), _) => Err(error),
                (None, Some(order)) if order.is_empty() => {
                    each.sort_by(|a, b| a.0.cmp(&b.0));
                    Ok(Done::Each(each))
                }
                (None, Some(order)) => {
                    let mut answers: BTreeMap<_, Vec<_>> = BTreeMap::new();
                    for (id, answer) in each.into_iter().rev() {
                        answers.entry(id).or_default().push(answer);
                    }
                    let found = order.into_iter().filter_map(|id| {
                        let answer = answers.get_mut(&id)?.pop()?;
                        Some((id, answer))
                    });
                    Ok(Done::Each(found.collect()))
                }
                (None, None) => unreachable!("every request is decided or refused"),
            }
        };
        self.results.into_iter().map(finish).collect()
    }
}
