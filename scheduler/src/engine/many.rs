//! Many operations at once: what each cell is to do, and what became of each.
//!
//! Mostly all are of one cell, and each is about one request, lease or ticket. Then they are done as they stand there;
//! else each cell has its part, and what became of the parts is gathered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use headgate_ledger::{Explanation, Id, Name};

use super::caller::Caller;
use super::cell::Cell;
use super::error::EngineError;
use super::id::LeaseId;
use super::operate::{self, Answer, Done, Operation, Step, Stepped, Target};
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
        if let Some(cell) = self.cell_of_all(&operations) {
            return self.operate_in(cell, caller, &operations).await;
        }
        let explanations = self.explain_before(caller, &operations).await;
        let started = Instant::now();
        let mut gathered = Gathered::new(&operations);
        let mut waits = Vec::new();
        for Plan { cell, steps } in self.plan(&operations, &mut gathered) {
            let in_order = steps.iter().copied();
            match operate::take_steps(cell, caller, in_order, |place, stepped| gathered.take(place, cell, stepped)) {
                Ok(relies_on) => waits.push((cell, relies_on)),
                Err(error) => {
                    for (place, step) in steps {
                        gathered.fail(place, step, &error);
                    }
                }
            }
        }
        let mut done = gathered.finish(&operations);
        self.count(&operations, &done, started);
        for (cell, relies_on) in waits {
            answerable(cell, relies_on, &mut done).await;
        }
        for (at, explanation) in explanations {
            if let Some(answer) = answers(&mut done[at]).next() {
                answer.explanation = Some(explanation);
            }
        }
        self.place(&mut done).await;
        self.explain_after(&operations, &mut done).await;
        done
    }

    /// The cell that all of them are of, where each is about one thing there, and none is to be explained.
    pub(super) fn cell_of_all(&self, operations: &[Operation]) -> Option<&Arc<Cell>> {
        let of = |operation: &Operation| match operation {
            Operation::Acquire { request, explain: false } | Operation::Check { request, explain: false } => {
                self.home(&request.pool).ok()
            }
            Operation::Confirm(Target::One(id))
            | Operation::Renew { target: Target::One(id), .. }
            | Operation::Resize { target: Target::One(id), explain: false, .. }
            | Operation::Release(Target::One(id))
            | Operation::Cancel(Target::One(id)) => self.cells.get(&id.cell),
            Operation::Acquire { .. }
            | Operation::Check { .. }
            | Operation::Confirm(_)
            | Operation::Renew { .. }
            | Operation::Resize { .. }
            | Operation::Release(_)
            | Operation::Cancel(_) => None,
        };
        let (first, rest) = operations.split_first()?;
        let cell = of(first)?;
        rest.iter().all(|operation| of(operation).is_some_and(|other| Arc::ptr_eq(other, cell))).then_some(cell)
    }

    /// Does operations of one cell, each about one thing there.
    async fn operate_in(
        &self,
        cell: &Arc<Cell>,
        caller: &Caller,
        operations: &[Operation],
    ) -> Vec<Result<Done, EngineError>> {
        let started = Instant::now();
        let mut done = Vec::with_capacity(operations.len());
        let checked = operate::check_steps(cell, caller, operations, &mut done);
        let (rest, mut relies_on) = (&operations[checked..], 0);
        if !rest.is_empty() {
            let steps = rest.iter().filter_map(|operation| Some((operation, Step::of(operation)?)));
            let taken = operate::take_steps(cell, caller, steps, |operation, stepped| {
                if let Stepped::One(result) = stepped {
                    done.push(told(operation, result));
                }
            });
            match taken {
                Ok(last) => relies_on = last,
                Err(error) => done.extend(rest.iter().map(|operation| told(operation, Err(error.clone())))),
            }
        }
        self.count(operations, &done, started);
        answerable(cell, relies_on, &mut done).await;
        self.place(&mut done).await;
        done
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
            let asked = match operation {
                Operation::Acquire { request, .. } => Some((request, Step::Acquire(request))),
                Operation::Check { request, .. } => Some((request, Step::Check(request))),
                _ => None,
            };
            if let Some((request, step)) = asked {
                match self.home(&request.pool) {
                    Ok(cell) => add(cell, place, step),
                    Err(error) => gathered.take_one(place, Err(error)),
                }
            }
            let Some((verb, target)) = operation.verb() else { continue };
            match target {
                Target::One(id) => match self.cells.get(&id.cell) {
                    Some(cell) => add(cell, place, Step::One(verb, id.number)),
                    None => gathered.take_one(place, Err(EngineError::NoLease(id.clone()))),
                },
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

    /// The explanations of requests that were asked for, by their operations, from what is published just before.
    async fn explain_before(&self, caller: &Caller, operations: &[Operation]) -> Vec<(usize, Box<Explanation>)> {
        let mut explanations = Vec::new();
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
                explanations.extend(explanation.map(|explanation| (at, explanation)));
            }
        }
        explanations
    }

    /// The explanations of leases that were asked for, as they stand after their change.
    async fn explain_after(&self, operations: &[Operation], done: &mut [Result<Done, EngineError>]) {
        for (operation, done) in operations.iter().zip(done) {
            let Operation::Resize { explain: true, .. } = operation else { continue };
            for answer in answers(done) {
                let Some(cell) = self.cells.get(&answer.cell) else { continue };
                let Some(number) = answer.stands.as_ref().map(Footing::id) else { continue };
                let view = cell.look().await;
                answer.explanation = view.explain_id(view.now(), number).map(Box::new);
            }
        }
    }

    fn count(&self, operations: &[Operation], done: &[Result<Done, EngineError>], started: Instant) {
        let took = started.elapsed();
        let mut pools = self.metrics.by_pool();
        for (operation, done) in operations.iter().zip(done) {
            let (Operation::Acquire { request, .. }, Ok(Done::Decided(answer))) = (operation, done) else { continue };
            if answer.repeated {
                continue;
            }
            let reason = answer.reasons.first().map(|reason| reason.code);
            pools.of(&request.pool).decided(answer.outcome, reason, answer.would_be);
            self.metrics.decision.record(took);
        }
    }

    /// Tells those that wait their places.
    async fn place(&self, done: &mut [Result<Done, EngineError>]) {
        let waits = |answer: &&mut Answer| matches!(answer.stands, Some(Footing::Ticket { .. }));
        if !done.iter_mut().flat_map(answers).any(|answer| waits(&answer)) {
            return;
        }
        for cell in self.cells.values() {
            let waits_here = |answer: &&mut Answer| answer.cell == cell.name && waits(answer);
            if !done.iter_mut().flat_map(answers).any(|answer| waits_here(&answer)) {
                continue;
            }
            let mut view = cell.look().await;
            for answer in done.iter_mut().flat_map(answers).filter(waits_here) {
                let Some(Footing::Ticket { id, pool, .. }) = &answer.stands else { continue };
                if let Some(place) = cell.places.of(&mut view, pool, *id) {
                    (answer.position, answer.expected_wait) = (Some(place.position), place.wait);
                }
            }
        }
    }
}

/// Waits until what a cell decided may be told; where it may not, it is withheld.
async fn answerable(cell: &Arc<Cell>, relies_on: u64, done: &mut [Result<Done, EngineError>]) {
    if relies_on == 0 {
        return;
    }
    let Err(error) = cell.answerable(relies_on).await else { return };
    let mine = |answer: &Answer| answer.cell == cell.name && answer.stands.is_some();
    for done in done {
        match done {
            Ok(Done::Decided(answer)) if mine(answer) => *done = Err(error.clone()),
            Ok(Done::Decided(_)) | Err(_) => {}
            Ok(done) => {
                for (_, result) in done.each_mut() {
                    if result.as_ref().is_ok_and(mine) {
                        *result = Err(error.clone());
                    }
                }
            }
        }
    }
}

/// The answers of an operation.
fn answers(done: &mut Result<Done, EngineError>) -> impl Iterator<Item = &mut Answer> {
    let (decided, each) = match done {
        Ok(Done::Decided(answer)) => (Some(answer), &mut [][..]),
        Ok(done) => (None, done.each_mut()),
        Err(_) => (None, &mut [][..]),
    };
    decided.into_iter().chain(each.iter_mut().filter_map(|(_, result)| result.as_mut().ok()))
}

/// What became of an operation that is about one thing.
fn told(operation: &Operation, result: Result<Answer, EngineError>) -> Result<Done, EngineError> {
    match operation.target() {
        Some(Target::One(id)) => Ok(Done::One((id.clone(), result))),
        Some(Target::Ids(_) | Target::Holder(_)) | None => result.map(Done::Decided),
    }
}

/// What became of operations, gathered from the cells.
struct Gathered(Vec<Gathering>);

/// What became of an operation, as far as it has been told.
enum Gathering {
    /// Of one that is about one thing.
    One(Option<Result<Answer, EngineError>>),
    /// Of one that names ids, in their order.
    Ids(Vec<Option<Result<Answer, EngineError>>>),
    /// Of one that names a holder: in the order of the cells, or why not all of it could be reached.
    Holder(Result<Each, EngineError>),
}

impl Gathered {
    fn new(operations: &[Operation]) -> Self {
        let of = |operation: &Operation| match operation.target() {
            None | Some(Target::One(_)) => Gathering::One(None),
            Some(Target::Ids(ids)) => Gathering::Ids(ids.iter().map(|_| None).collect()),
            Some(Target::Holder(_)) => Gathering::Holder(Ok(Vec::new())),
        };
        Self(operations.iter().map(of).collect())
    }

    fn take(&mut self, place: Place, cell: &Cell, stepped: Stepped) {
        match stepped {
            Stepped::One(result) => self.take_one(place, result),
            Stepped::Each(each) => {
                let named = |number: Id| LeaseId { cell: cell.name.clone(), number };
                if let Gathering::Holder(Ok(all)) = &mut self.0[place.at] {
                    all.extend(each.into_iter().map(|(number, answer)| (named(number), answer)));
                }
            }
        }
    }

    fn take_one(&mut self, Place { at, nth }: Place, result: Result<Answer, EngineError>) {
        match &mut self.0[at] {
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
            Step::Holder(..) => self.0[place.at] = Gathering::Holder(Err(error.clone())),
        }
    }

    fn finish(self, operations: &[Operation]) -> Vec<Result<Done, EngineError>> {
        operations.iter().zip(self.0).map(|(operation, gathering)| finish(operation, gathering)).collect()
    }
}

fn finish(operation: &Operation, gathering: Gathering) -> Result<Done, EngineError> {
    match (operation.target(), gathering) {
        (_, Gathering::One(result)) => told(operation, finished(result)),
        (Some(Target::Ids(ids)), Gathering::Ids(told)) => {
            Ok(Done::Each(ids.iter().cloned().zip(told.into_iter().map(finished)).collect()))
        }
        (_, Gathering::Holder(each)) => each.map(|mut each| {
            each.sort_by(|a, b| a.0.cmp(&b.0));
            Done::Each(each)
        }),
        (None | Some(Target::One(_) | Target::Holder(_)), Gathering::Ids(_)) => {
            unreachable!("it is gathered as it was asked for")
        }
    }
}

fn finished(told: Option<Result<Answer, EngineError>>) -> Result<Answer, EngineError> {
    told.unwrap_or_else(|| unreachable!("everything is decided or refused"))
}
