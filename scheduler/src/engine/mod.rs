//! The engine: where it all meets. It owns the cells' ledgers and is asked by every surface.
//!
//! A request is decided under its cell's one short lock: asked, posted, and what is due because of it posted too (`cell`,
//! `writer`). Its answer waits outside the lock until the store has it (`commit`). Readers and watchers take no lock of
//! those who decide: they see what is published (`publish`, `view`, `watch`). What is posted is written down
//! ([`crate::persist`]), folded into snapshots (`fold`) and read back when the engine is opened (`recover`); what must always
//! hold is looked after all the while (`audit`). Surfaces parse their words into the ledger's, ask here, and translate the
//! answer back.

mod audit;
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
mod hit;
mod hub;
mod id;
mod log;
mod many;
mod metrics;
mod opening;
mod operate;
mod pace;
mod places;
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
use headgate_ledger::{Amounts, Holder, Name, Request, RequestId, TenantPath};
use parking_lot::Mutex;

pub use caller::{Caller, Scope};
pub use clock::{Clock, ManualClock, SystemClock};
pub use configure::{Configure, ObjectName, Reconfigured};
pub use error::{EngineError, Outage};
pub use events::{Event, EventKind, Happened};
pub use health::{Health, StoreHealth};
pub use hit::{HitAnswer, HitCall, HitDecided};
pub use hub::{Dropped, Filter, WATCHED_IDS_MAX};
pub use id::{LeaseId, LeaseIdError};
pub use metrics::{Counter, Histogram, Metrics, PoolMetrics};
pub use opening::{OpenError, Recovery};
pub use operate::{Answer, Done, Operation, Target};
pub use recover::{RecoveryError, Replay};
pub use settings::{Durability, EngineSettings, OnStoreFailure};
pub use stands::{Footing, Stands};
pub use verify::{Report, verify};
pub use view::View;
pub use watch::{Told, Watch};

use cell::Cell;
use configure::Homes;

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
    ///
    /// An explanation is of what is published just before: nobody waits while one is made.
    pub async fn acquire(&self, caller: &Caller, request: Arc<Request>, explain: bool) -> Result<Answer, EngineError> {
        self.one(caller, Operation::Acquire { request, explain }).await.and_then(decided)
    }

    /// Says what would be decided now, and reserves nothing.
    pub async fn check(&self, caller: &Caller, request: Arc<Request>, explain: bool) -> Result<Answer, EngineError> {
        let cell = self.home(&request.pool)?;
        let view = cell.look().await;
        let mut answer = operate::check(&view, view.now(), caller, &cell.name, &request)?;
        if explain {
            let refused = |refusal| EngineError::from_refusal(refusal, &cell.name);
            answer.explanation = Some(Box::new(view.explain(view.now(), &request).map_err(refused)?));
        }
        Ok(answer)
    }

    /// Confirms provisional leases.
    pub async fn confirm(&self, caller: &Caller, target: Target) -> Result<Each, EngineError> {
        self.one(caller, Operation::Confirm(target)).await.map(Done::into_each)
    }

    /// Gives leases and tickets their whole time to live again; with a holder, hands them over to it.
    pub async fn renew(&self, caller: &Caller, target: Target, holder: Option<Holder>) -> Result<Each, EngineError> {
        self.one(caller, Operation::Renew { target, holder }).await.map(Done::into_each)
    }

    /// Changes what each instance of leases holds.
    pub async fn resize(
        &self,
        caller: &Caller,
        target: Target,
        resources: Amounts,
        explain: bool,
    ) -> Result<Each, EngineError> {
        self.one(caller, Operation::Resize { target, resources, explain }).await.map(Done::into_each)
    }

    /// Ends leases.
    pub async fn release(&self, caller: &Caller, target: Target) -> Result<Each, EngineError> {
        self.one(caller, Operation::Release(target)).await.map(Done::into_each)
    }

    /// Ends tickets; of one that was admitted, the lease.
    pub async fn cancel(&self, caller: &Caller, target: Target) -> Result<Each, EngineError> {
        self.one(caller, Operation::Cancel(target)).await.map(Done::into_each)
    }

    async fn one(&self, caller: &Caller, operation: Operation) -> Result<Done, EngineError> {
        match self.operate(caller, vec![operation]).await.pop() {
            Some(done) => done,
            None => unreachable!("one operation has one answer"),
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
            homes.extend(cell.look().await.pools().map(|pool| (pool.name.clone(), cell.name.clone())));
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

    /// Looks at a cell's ledger, for as long as that takes. It shows all that had been answered when this was called.
    pub async fn read<R>(&self, cell: &Name, look: impl FnOnce(&View<'_>) -> R) -> Result<R, EngineError> {
        let cell = self.cell(cell)?;
        cell.fresh().await;
        Ok(look(&View::long(cell)))
    }

    /// Looks at a cell's ledger for a short while. It shows all that had been answered when this was called.
    pub async fn look<R>(&self, cell: &Name, look: impl FnOnce(&View<'_>) -> R) -> Result<R, EngineError> {
        Ok(look(&self.cell(cell)?.look().await))
    }

    /// Looks at a cell's ledger as it was published last, for a short while, and waits for no more than its publisher.
    pub fn peek<R>(&self, cell: &Name, look: impl FnOnce(&View<'_>) -> R) -> Result<R, EngineError> {
        Ok(look(&View::of(self.cell(cell)?)))
    }

    /// Looks through a cell's ledger as it was published last, for as long as that takes.
    pub fn survey<R>(&self, cell: &Name, look: impl FnOnce(&View<'_>) -> R) -> Result<R, EngineError> {
        Ok(look(&View::long(self.cell(cell)?)))
    }

    /// Where leases and tickets stand, in the order of the ids. What is not known, or may not be seen, is left out.
    pub async fn get(&self, caller: &Caller, ids: &[LeaseId]) -> Vec<(LeaseId, Stands)> {
        let mut found = Vec::new();
        for cell in self.cells.values() {
            let mine: Vec<_> = ids.iter().enumerate().filter(|(_, id)| id.cell == cell.name).collect();
            if mine.is_empty() {
                continue;
            }
            let view = cell.look().await;
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
            let view = View::long(cell);
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
                let view = cell.look().await;
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
                            return Ok(Answer::standing(cell.name.clone(), (&stands).into()));
                        }
                        if complete && !known {
                            return Err(unknown());
                        }
                    }
                    Ok(Told::Happened(happened)) => {
                        let mut after = happened.events.iter().map(|event| &event.after);
                        if let Some(stands) = after.find(|stands| stands.is_decided()) {
                            return Ok(Answer::standing(cell.name.clone(), stands.into()));
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

    /// Checks the invariants of what is published now: those of a state.
    pub async fn audit(&self) -> Vec<(Name, headgate_ledger::Violation)> {
        let mut found = Vec::new();
        for cell in self.cells.values() {
            cell.fresh().await;
            found.extend(audit::of_published(cell).into_iter().map(|violation| (cell.name.clone(), violation)));
        }
        found
    }

    /// How often invariants were checked, of all cells together.
    pub fn audits(&self) -> u64 {
        self.cells.values().map(|cell| cell.audits.reached()).sum()
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
        Done::One(_) | Done::Each(_) => unreachable!("a request is decided"),
    }
}
