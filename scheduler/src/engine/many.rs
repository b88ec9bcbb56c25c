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
use super::stands::Footing;
use super::{Each, Engine};

/// What a cell is to do, each step with where its answer belongs.
struct Plan<'a> {
    cell: &'a Arc<Cell>,
    steps: Vec<(Place, Step<'a>)>,
}

/// Where an answer belongs.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// The operation.
    at: usize,
    /// Which of its ids.
    nth: usize,
}

impl Engine {
    /// Does many operations in order, in each cell under one lock and at one time, and answers all when they are durable.
    pub async fn operate(&self, caller: &Caller, operations: Vec<Operation>) -> Vec<Result<Done, EngineError>> {
        let mut gathered = Gathered::new(&operations);
        self.explain_before(caller, &operations, &mut gathered).await;
        let started = Instant::now();
        let mut waits = Vec::new();
        for Plan { cell, steps } in self.plan(&operations, &mut gathered) {
            match operate::take_steps(cell, caller, &steps, |place, stepped| gathered.take(place, cell, stepped)) {
                Ok(relies_on) => waits.push((cell, relies_on)),
                Err(error) => {
                    for (place, step) in steps {
                        gathered.fail(place, step, &error);
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
        gathered.finish(operations)
    }

    /// What each cell is to do, in order.
    fn plan<'a>(&'a self, operations: &'a [Operation], gathered: &mut Gathered) -> Vec<Plan<'a>> {
        let mut plans: BTreeMap<&Name, Plan<'_>> = BTreeMap::new();
        let mut add = |cell: &'a Arc<Cell>, place, step| {
            let plan = plans.entry(&cell.name);
            plan.or_insert_with(|| Plan { cell, steps: Vec::with_capacity(operations.len()) })
                .steps
                .push((place, step));
        };
        for (at, operation) in operations.iter().enumerate() {
            let place = Place { at, nth: 0 };
            let (verb, target) = match operation {
                Operation::Acquire { request, .. } | Operation::Check { request, .. } => {
                    match self.home(&request.pool) {
                        Ok(cell) if matches!(operation, Operation::Acquire { .. }) => {
                            add(cell, place, Step::Acquire(request));
                        }
                        Ok(cell) => add(cell, place, Step::Check(request)),
                        Err(error) => gathered.take_one(place, Err(error)),
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
                    for (nth, id) in ids.iter().enumerate() {
                        let place = Place { at, nth };
                        match self.cells.get(&id.cell) {
                            Some(cell) => add(cell, place, Step::One(verb, id.number)),
                            None => gathered.take_one(place, Err(EngineError::NoLease(id.clone()))),
                        }
                    }
                }
            }
        }
        plans.into_values().collect()
    }

    /// The explanations of requests that were asked for, from what is published just before.
    async fn explain_before(&self, caller: &Caller, operations: &[Operation], gathered: &mut Gathered) {
        for (at, operation) in operations.iter().enumerate() {
            let (Operation::Acquire { request, explain: true } | Operation::Check { request, explain: true }) =
                operation
            else {
                continue;
            };
            let Ok(cell) = self.home(&request.pool) else { continue };
            if caller.scope.covers(&request.tenant) {
                let view = cell.look().await;
                let explanation = view.explain(view.now(), request).ok().map(Box::new);
                gathered.explanations.extend(explanation.map(|explanation| (at, explanation)));
            }
        }
    }

    /// The explanations of leases that were asked for, as they stand after their change.
    async fn explain_after(&self, operations: &[Operation], gathered: &mut Gathered) {
        for (operation, result) in operations.iter().zip(&mut gathered.results) {
            let Operation::Resize { explain: true, .. } = operation else { continue };
            for answer in result.answers() {
                let Some(cell) = self.cells.get(&answer.cell) else { continue };
                let Some(number) = answer.stands.as_ref().map(Footing::id) else { continue };
                let view = cell.look().await;
                answer.explanation = view.explain_id(view.now(), number).map(Box::new);
            }
        }
    }

    fn count(&self, operations: &[Operation], gathered: &Gathered, started: Instant) {
        let took = started.elapsed();
        let mut pools = self.metrics.by_pool();
        for (operation, result) in operations.iter().zip(&gathered.results) {
            let (Operation::Acquire { request, .. }, Gathering::One(Some(Ok(answer)))) = (operation, result) else {
                continue;
            };
            if answer.repeated {
                continue;
            }
            let reason = answer.reasons.first().map(|reason| reason.code);
            pools.of(&request.pool).decided(answer.outcome, reason, answer.would_be);
            self.metrics.decision.record(took);
        }
    }

    /// Tells those that wait their places.
    async fn place(&self, gathered: &mut Gathered) {
        for cell in self.cells.values() {
            let waiting = |answer: &&mut Answer| {
                answer.cell == cell.name && matches!(answer.stands, Some(Footing::Ticket { .. }))
            };
            if !gathered.answers().any(|answer| waiting(&answer)) {
                continue;
            }
            let mut view = cell.look().await;
            for answer in gathered.answers().filter(waiting) {
                let Some(Footing::Ticket { id, pool, .. }) = &answer.stands else { continue };
                if let Some(place) = cell.places.of(&mut view, pool, *id) {
                    (answer.position, answer.expected_wait) = (Some(place.position), place.wait);
                }
            }
        }
    }
}

/// What became of operations, gathered from the cells.
struct Gathered {
    results: Vec<Gathering>,
    /// Of requests, by their operations.
    explanations: Vec<(usize, Box<Explanation>)>,
}

/// What became of an operation, as far as it has been told.
enum Gathering {
    /// Of one that is about one thing: a request, or the single id that it names.
    One(Option<Result<Answer, EngineError>>),
    /// Of one that names ids, in their order.
    Ids(Vec<Option<Result<Answer, EngineError>>>),
    /// Of one that names a holder: in the order of the cells, or why not all of it could be reached.
    Holder(Result<Each, EngineError>),
}

impl Gathering {
    fn of(operation: &Operation) -> Self {
        match operation {
            Operation::Acquire { .. } | Operation::Check { .. } => Self::One(None),
            Operation::Confirm(target)
            | Operation::Renew { target, .. }
            | Operation::Resize { target, .. }
            | Operation::Release(target)
            | Operation::Cancel(target) => match target {
                Target::Ids(ids) if ids.len() == 1 => Self::One(None),
                Target::Ids(ids) => Self::Ids(ids.iter().map(|_| None).collect()),
                Target::Holder(_) => Self::Holder(Ok(Vec::new())),
            },
        }
    }

    fn results(&mut self) -> impl Iterator<Item = &mut Result<Answer, EngineError>> {
        let (told, each) = match self {
            Self::One(result) => (std::slice::from_mut(result), &mut [][..]),
            Self::Ids(results) => (&mut results[..], &mut [][..]),
            Self::Holder(Ok(each)) => (&mut [][..], &mut each[..]),
            Self::Holder(Err(_)) => (&mut [][..], &mut [][..]),
        };
        told.iter_mut().flatten().chain(each.iter_mut().map(|(_, result)| result))
    }

    fn answers(&mut self) -> impl Iterator<Item = &mut Answer> {
        self.results().filter_map(|result| result.as_mut().ok())
    }
}

impl Gathered {
    fn new(operations: &[Operation]) -> Self {
        Self { results: operations.iter().map(Gathering::of).collect(), explanations: Vec::new() }
    }

    fn take(&mut self, place: Place, cell: &Cell, stepped: Stepped) {
        match stepped {
            Stepped::One(result) => self.take_one(place, result),
            Stepped::Each(each) => {
                let named = |number: Id| LeaseId { cell: cell.name.clone(), number };
                if let Gathering::Holder(Ok(all)) = &mut self.results[place.at] {
                    all.extend(each.into_iter().map(|(number, answer)| (named(number), answer)));
                }
            }
        }
    }

    fn take_one(&mut self, Place { at, nth }: Place, result: Result<Answer, EngineError>) {
        match &mut self.results[at] {
            Gathering::One(told) => *told = Some(result),
            Gathering::Ids(told) => told[nth] = Some(result),
            Gathering::Holder(_) => unreachable!("what is a holder's is told together"),
        }
    }

    /// A cell took none of its steps.
    fn fail(&mut self, place: Place, step: Step<'_>, error: &EngineError) {
        match step {
            Step::Acquire(_) | Step::Check(_) | Step::One(..) => self.take_one(place, Err(error.clone())),
            // Whatever it holds there was not reached: the operation as a whole has to be repeated.
            Step::Holder(..) => self.results[place.at] = Gathering::Holder(Err(error.clone())),
        }
    }

    /// What a cell decided may not be told.
    fn withhold(&mut self, cell: &Cell, error: &EngineError) {
        let mine = |answer: &Answer| answer.cell == cell.name && answer.stands.is_some();
        for result in self.results.iter_mut().flat_map(Gathering::results) {
            if result.as_ref().is_ok_and(mine) {
                *result = Err(error.clone());
            }
        }
    }

    fn answers(&mut self) -> impl Iterator<Item = &mut Answer> {
        self.results.iter_mut().flat_map(Gathering::answers)
    }

    fn finish(mut self, operations: Vec<Operation>) -> Vec<Result<Done, EngineError>> {
        for (at, explanation) in self.explanations {
            if let Some(answer) = self.results[at].answers().next() {
                answer.explanation = Some(explanation);
            }
        }
        operations.into_iter().zip(self.results).map(|(operation, gathering)| finish(operation, gathering)).collect()
    }
}

fn finish(operation: Operation, gathering: Gathering) -> Result<Done, EngineError> {
    let target = match operation {
        Operation::Acquire { .. } | Operation::Check { .. } => {
            let Gathering::One(told) = gathering else { unreachable!("a request is one thing") };
            return finished(told).map(Done::Decided);
        }
        Operation::Confirm(target)
        | Operation::Renew { target, .. }
        | Operation::Resize { target, .. }
        | Operation::Release(target)
        | Operation::Cancel(target) => target,
    };
    match (target, gathering) {
        (Target::Ids(ids), Gathering::One(told)) => {
            Ok(Done::Each(ids.into_iter().zip([told]).map(|(id, told)| (id, finished(told))).collect()))
        }
        (Target::Ids(ids), Gathering::Ids(told)) => {
            Ok(Done::Each(ids.into_iter().zip(told).map(|(id, told)| (id, finished(told))).collect()))
        }
        (Target::Holder(_), Gathering::Holder(each)) => each.map(|mut each| {
            each.sort_by(|a, b| a.0.cmp(&b.0));
            Done::Each(each)
        }),
        (Target::Ids(_), Gathering::Holder(_)) | (Target::Holder(_), Gathering::One(_) | Gathering::Ids(_)) => {
            unreachable!("it is gathered as it was asked for")
        }
    }
}

fn finished(told: Option<Result<Answer, EngineError>>) -> Result<Answer, EngineError> {
    told.unwrap_or_else(|| unreachable!("everything is decided or refused"))
}
