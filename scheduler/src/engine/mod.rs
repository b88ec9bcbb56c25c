//! The engine: where it all meets. It owns the cells' ledgers and is asked by every surface.
//!
//! A request is decided under its cell's one short lock: asked, posted, and what is due because of it posted too
//! ([`cell`]). Its answer waits outside the lock until the store has it ([`commit`]). Readers and watchers
//! take no lock of those who decide: they see what is published ([`publish`], [`view`], [`watch`]). What is posted is
//! written down ([`crate::persist`]), folded into snapshots ([`fold`]) and read back when the engine is opened
//! ([`recover`]). Surfaces parse their words into the ledger's, ask here, and translate the answer back.

mod caller;
mod cell;
mod clock;
mod commit;
mod configure;
mod due;
mod error;
mod events;
mod fold;
mod health;
mod hub;
mod id;
mod log;
mod metrics;
mod opening;
mod operate;
mod publish;
mod recover;
mod settings;
mod stands;
#[cfg(test)]
mod tests;
mod verify;
mod view;
mod watch;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use arc_swap::ArcSwap;
use headgate_ledger::{Amounts, Holder, Id, Name, Request, RequestId, TenantPath};
use parking_lot::Mutex;

pub use caller::{Caller, Scope};
pub use clock::{Clock, ManualClock, SystemClock};
pub use configure::{Configure, ObjectName, Reconfigured};
pub use error::{EngineError, Outage};
pub use events::{Event, EventKind, Happened};
pub use health::{Health, StoreHealth};
pub use hub::{Dropped, Filter, WATCHED_IDS_MAX};
pub use id::{LeaseId, LeaseIdError};
pub use metrics::{Counter, Histogram, Metrics, PoolMetrics};
pub use opening::{OpenError, Recovery};
pub use operate::{Answer, Done, Operation, Target};
pub use recover::{RecoveryError, Replay};
pub use settings::{Durability, EngineSettings, OnStoreFailure};
pub use stands::Stands;
pub use verify::{Report, verify};
pub use view::View;
pub use watch::{Told, Watch};

use cell::Cell;
use configure::Homes;
use operate::{Step, Stepped, Verb};

/// Where a cell's last snapshot stands, and when it was written.
type SnapshotWritten = Arc<Mutex<Option<(u64, Instant)>>>;

/// The engine.
pub struct Engine {
    cells: BTreeMap<Name, Arc<Cell>>,
    /// The cell of each pool, where there are several.
    homes: ArcSwap<Homes>,
    metrics: Arc<Metrics>,
    /// When each cell's last snapshot was written.
    snapshots: BTreeMap<Name, SnapshotWritten>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Engine {
    // Deciding.

    /// Decides a request, and takes: a lease or a ticket. Answered when the decision is durable.
    pub async fn acquire(&self, caller: &Caller, request: Arc<Request>, explain: bool) -> Result<Answer, EngineError> {
        self.one(caller, Operation::Acquire { request, explain }).await.and_then(decided)
    }

    /// Says what would be decided now, and reserves nothing.
    pub async fn check(&self, caller: &Caller, request: Arc<Request>, explain: bool) -> Result<Answer, EngineError> {
        let cell = self.home(&request.pool)?;
        if !caller.scope.covers(&request.tenant) {
            return Err(EngineError::NoTenant(request.tenant.clone()));
        }
        cell.fresh().await;
        let view = View::of(cell);
        let refused = |refusal| EngineError::from_refusal(refusal, &cell.name);
        let decision = view.admit(view.now(), &request).map_err(refused)?;
        let mut answer = Answer::decided(&cell.name, decision, None);
        if explain {
            answer.explanation = Some(Box::new(view.explain(view.now(), &request).map_err(refused)?));
        }
        Ok(answer)
    }

    /// Confirms provisional leases.
    pub async fn confirm(&self, caller: &Caller, target: Target) -> Result<Each, EngineError> {
        self.one(caller, Operation::Confirm(target)).await.map(each)
    }

    /// Gives leases and tickets their whole time to live again; with a holder, hands them over to it.
    pub async fn renew(&self, caller: &Caller, target: Target, holder: Option<Holder>) -> Result<Each, EngineError> {
        self.one(caller, Operation::Renew { target, holder }).await.map(each)
    }

    /// Changes what each instance of leases holds.
    pub async fn resize(
        &self,
        caller: &Caller,
        target: Target,
        resources: Amounts,
        explain: bool,
    ) -> Result<Each, EngineError> {
        self.one(caller, Operation::Resize { target, resources, explain }).await.map(each)
    }

    /// Ends leases.
    pub async fn release(&self, caller: &Caller, target: Target) -> Result<Each, EngineError> {
        self.one(caller, Operation::Release(target)).await.map(each)
    }

    /// Ends tickets; of one that was admitted, the lease.
    pub async fn cancel(&self, caller: &Caller, target: Target) -> Result<Each, EngineError> {
        self.one(caller, Operation::Cancel(target)).await.map(each)
    }

    async fn one(&self, caller: &Caller, operation: Operation) -> Result<Done, EngineError> {
        match self.operate(caller, vec![operation]).await.pop() {
            Some(done) => done,
            None => unreachable!("one operation has one answer"),
        }
    }

    /// Does many operations in order, in each cell under one lock and at one time, and answers all when they are durable.
    pub async fn operate(&self, caller: &Caller, operations: Vec<Operation>) -> Vec<Result<Done, EngineError>> {
        let started = Instant::now();
        let explanations = self.explain_before(caller, &operations).await;
        let mut gathered = Gathered::new(&operations);
        let mut waits = Vec::new();
        for (cell, steps) in self.plan(&operations, &mut gathered) {
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
        gathered.finish(explanations)
    }

    /// What each cell is to do, in order.
    fn plan<'a>(
        &'a self,
        operations: &'a [Operation],
        gathered: &mut Gathered,
    ) -> Vec<(&'a Arc<Cell>, Vec<(usize, Step<'a>)>)> {
        let mut plans: BTreeMap<&Name, (&Arc<Cell>, Vec<(usize, Step<'_>)>)> = BTreeMap::new();
        let mut add = |cell: &'a Arc<Cell>, place, step| {
            plans.entry(&cell.name).or_insert_with(|| (cell, Vec::new())).1.push((place, step));
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

    /// The explanations that were asked for, from what is published just before: nobody waits while one is made.
    async fn explain_before(
        &self,
        caller: &Caller,
        operations: &[Operation],
    ) -> Vec<Option<Box<headgate_ledger::Explanation>>> {
        let mut explanations = Vec::new();
        explanations.resize_with(operations.len(), || None);
        for (operation, explanation) in operations.iter().zip(&mut explanations) {
            let (Operation::Acquire { request, explain: true } | Operation::Check { request, explain: true }) =
                operation
            else {
                continue;
            };
            let Ok(cell) = self.home(&request.pool) else { continue };
            if caller.scope.covers(&request.tenant) {
                cell.fresh().await;
                let view = View::of(cell);
                *explanation = view.explain(view.now(), request).ok().map(Box::new);
            }
        }
        explanations
    }

    fn count(&self, operations: &[Operation], gathered: &Gathered, started: Instant) {
        for (operation, result) in operations.iter().zip(&gathered.results) {
            let (Operation::Acquire { request, .. }, Some(Ok(answer))) = (operation, &result.decided) else { continue };
            let reason = answer.reasons.first().map(|reason| reason.code);
            self.metrics.pool(&request.pool).decided(answer.outcome, reason, answer.would_be);
            self.metrics.decision.record(started.elapsed());
        }
    }

    /// Tells those that wait their places.
    async fn place(&self, gathered: &mut Gathered) {
        for cell in self.cells.values() {
            let waiting = |answer: &Answer| match &answer.stands {
                Some(Stands::Ticket { ticket, .. }) if answer.cell == cell.name => {
                    Some((ticket.id, ticket.request.pool.clone()))
                }
                Some(Stands::Ticket { .. } | Stands::Lease(_) | Stands::Ended { .. }) | None => None,
            };
            let tickets: Vec<_> = gathered.answers().filter_map(|answer| waiting(answer)).collect();
            if tickets.is_empty() {
                continue;
            }
            cell.fresh().await;
            let places = View::of(cell).places(&tickets);
            for answer in gathered.answers() {
                if let Some(place) = waiting(answer).and_then(|(id, _)| places.get(&id)) {
                    (answer.position, answer.expected_wait) = (Some(place.position), place.wait);
                }
            }
        }
    }

    // Configuring.

    /// Changes the configuration, all of it or nothing; or says what would come of it.
    pub async fn configure(&self, caller: &Caller, asked: Configure) -> Result<Reconfigured, EngineError> {
        let homes = self.homes.load_full();
        let posted = configure::configure(&self.cells, &homes, caller, &asked)?;
        if !asked.dry_run {
            for (cell, sequence) in posted.cells {
                cell.answerable(sequence).await?;
            }
            self.find_homes().await;
        }
        Ok(posted.reconfigured)
    }

    async fn find_homes(&self) {
        let mut homes = Homes::new();
        for cell in self.cells.values() {
            cell.fresh().await;
            homes.extend(View::of(cell).pools().map(|pool| (pool.name.clone(), cell.name.clone())));
        }
        self.homes.store(Arc::new(homes));
    }

    // Looking.

    /// The cells that are served here, by name.
    pub fn cells(&self) -> impl Iterator<Item = &Name> {
        self.cells.keys()
    }

    /// The cell of a pool.
    pub fn cell_of(&self, pool: &Name) -> Result<&Name, EngineError> {
        self.home(pool).map(|cell| &cell.name)
    }

    fn home(&self, pool: &Name) -> Result<&Arc<Cell>, EngineError> {
        // With one cell alone, its ledger says that there is no such pool.
        if self.cells.len() == 1
            && let Some(cell) = self.cells.values().next()
        {
            return Ok(cell);
        }
        let homes = self.homes.load();
        homes.get(pool).and_then(|cell| self.cells.get(cell)).ok_or_else(|| EngineError::NoPool(pool.clone()))
    }

    fn cell(&self, name: &Name) -> Result<&Arc<Cell>, EngineError> {
        self.cells.get(name).ok_or_else(|| EngineError::NoCell(name.clone()))
    }

    /// Looks at a cell's ledger. It shows all that had been answered when this was called.
    pub async fn read<R>(&self, cell: &Name, look: impl FnOnce(&View<'_>) -> R) -> Result<R, EngineError> {
        let cell = self.cell(cell)?;
        cell.fresh().await;
        Ok(look(&View::of(cell)))
    }

    /// Looks at a cell's ledger as it was published last, without waiting for anything.
    pub fn peek<R>(&self, cell: &Name, look: impl FnOnce(&View<'_>) -> R) -> Result<R, EngineError> {
        Ok(look(&View::of(self.cell(cell)?)))
    }

    /// Where leases and tickets stand, in the order of the ids. What is not known, or may not be seen, is left out.
    pub async fn get(&self, caller: &Caller, ids: &[LeaseId]) -> Vec<(LeaseId, Stands)> {
        let mut found = Vec::new();
        for cell in self.cells.values() {
            let mine: Vec<_> = ids.iter().enumerate().filter(|(_, id)| id.cell == cell.name).collect();
            if mine.is_empty() {
                continue;
            }
            cell.fresh().await;
            let view = View::of(cell);
            for (place, id) in mine {
                let stands = view.stands(id.number).filter(|stands| caller.scope.covers(stands.tenant()));
                found.extend(stands.map(|stands| (place, id.clone(), stands)));
            }
        }
        found.sort_by_key(|(place, _, _)| *place);
        found.into_iter().map(|(_, id, stands)| (id, stands)).collect()
    }

    /// Where all of a holder's leases and tickets stand.
    pub async fn get_held(&self, caller: &Caller, holder: &Holder) -> Vec<(LeaseId, Stands)> {
        let mut found = Vec::new();
        for cell in self.cells.values() {
            cell.fresh().await;
            let view = View::of(cell);
            let held = view.held_by_holder(holder).into_iter().filter(|stands| caller.scope.covers(stands.tenant()));
            found.extend(held.map(|stands| (view.id(stands.id()), stands)));
        }
        found
    }

    /// Where a request stands, by the caller's id for it.
    pub async fn get_request(
        &self,
        caller: &Caller,
        tenant: &TenantPath,
        request: &RequestId,
    ) -> Result<(LeaseId, Stands), EngineError> {
        if caller.scope.covers(tenant) {
            for cell in self.cells.values() {
                cell.fresh().await;
                let view = View::of(cell);
                if let Some(stands) = view.find_request(tenant, request) {
                    return Ok((view.id(stands.id()), stands));
                }
            }
        }
        Err(EngineError::NoRequest { tenant: tenant.clone(), request: request.to_string() })
    }

    /// Waits until a ticket is admitted or has ended; answers at once where it is or has.
    pub async fn wait_for(&self, caller: &Caller, id: &LeaseId) -> Result<Answer, EngineError> {
        let unknown = || EngineError::NoLease(id.clone());
        let cell = self.cells.get(&id.cell).ok_or_else(unknown)?;
        let filter = Filter { ids: vec![id.number], ..Filter::all(caller.scope.clone()) };
        loop {
            let mut watch = Watch::from_now(cell, filter.clone()).await?;
            let mut known = false;
            loop {
                match watch.next().await {
                    Ok(Told::Present { stands, complete, .. }) => {
                        known |= !stands.is_empty();
                        if let Some(stands) = stands.into_iter().find(Stands::is_decided) {
                            return Ok(Answer::standing(&cell.name, stands));
                        }
                        if complete && !known {
                            return Err(unknown());
                        }
                    }
                    Ok(Told::Happened(happened)) => {
                        let after = happened.events.into_iter().map(|event| event.after);
                        if let Some(stands) = after.into_iter().find(Stands::is_decided) {
                            return Ok(Answer::standing(&cell.name, stands));
                        }
                    }
                    Err(Dropped::Slow) => break,
                    Err(Dropped::Closing) => {
                        let retry_after = std::time::Duration::from_secs(1);
                        return Err(EngineError::Unavailable { why: Outage::Closing, retry_after });
                    }
                }
            }
        }
    }

    /// Watches a cell: the present state and then what happens, or what happened after a number and what happens.
    pub async fn watch(&self, cell: &Name, filter: Filter, after: Option<u64>) -> Result<Watch, EngineError> {
        if filter.ids.len() > WATCHED_IDS_MAX {
            let why = format!("{} ids are named, at most {WATCHED_IDS_MAX} may be", filter.ids.len());
            return Err(EngineError::Invalid { field: "ids", why });
        }
        let cell = self.cell(cell)?;
        match after {
            None => Watch::from_now(cell, filter).await,
            Some(after) => Watch::resumed(cell, filter, after),
        }
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// How each cell is.
    pub fn health(&self) -> Vec<Health> {
        self.cells.values().map(|cell| cell.health()).collect()
    }

    /// When a cell's last snapshot was written since the start, and at which number.
    pub fn last_snapshot(&self, cell: &Name) -> Option<(u64, Instant)> {
        self.snapshots.get(cell).and_then(|written| *written.lock())
    }

    /// Checks the invariants of what is published: those of a state.
    pub async fn audit(&self) -> Vec<(Name, headgate_ledger::Violation)> {
        let mut found = Vec::new();
        for cell in self.cells.values() {
            cell.fresh().await;
            let view = View::of(cell);
            let violations = view.audit(view.shown_time(), &[]);
            found.extend(violations.into_iter().map(|violation| (cell.name.clone(), violation)));
        }
        self.metrics.invariant_violations.add(found.len() as u64);
        found
    }

    /// Stops: nothing new is decided, what was decided is committed and answered, watchers are told.
    pub async fn shutdown(&self) {
        for cell in self.cells.values() {
            cell.close();
        }
        let threads = std::mem::take(&mut *self.threads.lock());
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a thread of the engine had panicked");
                }
            }
        });
        if joined.await.is_err() {
            tracing::error!("the engine's threads were not waited for");
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Without a shutdown, the threads end by themselves.
        for cell in self.cells.values() {
            cell.close();
        }
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("cells", &self.cells.keys()).finish_non_exhaustive()
    }
}

/// What became of each lease or ticket of an operation.
pub type Each = Vec<(LeaseId, Result<Answer, EngineError>)>;

fn decided(done: Done) -> Result<Answer, EngineError> {
    match done {
        Done::Decided(answer) => Ok(answer),
        Done::Each(_) => unreachable!("a request is decided"),
    }
}

fn each(done: Done) -> Each {
    match done {
        Done::Each(each) => each,
        Done::Decided(_) => unreachable!("leases and tickets are answered one by one"),
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
            Gathering { order, decided: None, each: Vec::new() }
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

    fn finish(
        self,
        explanations: Vec<Option<Box<headgate_ledger::Explanation>>>,
    ) -> Vec<Result<Done, EngineError>> {
        let finish = |(result, explanation): (Gathering, Option<_>)| {
            let Gathering { order, decided, mut each } = result;
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
        self.results.into_iter().zip(explanations).map(finish).collect()
    }
}
