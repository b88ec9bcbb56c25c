//! The engine as a library, in this process: what a decision costs where there is no wire.
//!
//! A generator asks it as it asks a server, with no socket between (`desk`); what is said is the ledger's own words
//! (`requests`). What a scenario needs is set up as an administrator would (`setup`).
//!
//! Decisions are made on the threads of those who ask, so the engine's CPU is that of its own threads (which commit, publish
//! and fold) and a part of the generators': as large a part as the time they spent in the engine is of the time they did not
//! wait. Both times are taken with one clock, and whoever is put off a core meanwhile is put off in either; so the part is
//! right on average, and all of the process is in one of the two.

mod desk;
mod requests;
mod setup;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use headgate_ledger::{Holder, Request};
use headgate_scheduler::config::{Auth, Config, Listen, Log, LogLevel};
use headgate_scheduler::engine::{Caller, Engine, EngineError, Target};
use headgate_scheduler::logs::Logs;
use headgate_scheduler::persist::Surface;
use headgate_scheduler::serve::Server;
use tokio::runtime::Runtime;

pub(crate) use desk::Desk;
pub(crate) use requests::{Requests, answered};

use crate::fault::Fault;
use crate::process::{Usage, cpu_of_threads, threads, usage};

/// What is opened where no configuration is named.
const ALONE: &str = "store: {kind: memory}\n";

/// An engine of this process's own. It is shut down when it is dropped, which must not be on a runtime.
pub(crate) struct Embedded {
    /// As its target is written.
    name: String,
    /// Its timers, and what looks after its store.
    runtime: Runtime,
    /// None only while it is dropped.
    server: Option<Server>,
    engine: Arc<Engine>,
    caller: Caller,
    /// The threads that it started.
    threads: BTreeSet<u32>,
}

impl Embedded {
    /// Opens it, with a server's configuration of which all counts but where it listens; none: in memory, with nothing in it.
    pub(crate) fn open(name: &str, file: Option<&Path>) -> Result<Arc<Self>, Fault> {
        let mut config = match file {
            None => Config::parse("the embedded engine", ALONE)?,
            Some(path) => Config::load(path)?,
        };
        config.listen = Listen { grpc: None, http: None, webhook: None, grpc_threads: None };
        (config.tls, config.auth) = (None, Auth::default());
        let log = Log { level: LogLevel::Warn, ..config.log };
        let before = threads();
        let refuse = |error: &dyn std::fmt::Display| Fault::Failed(format!("{name} cannot be opened: {error}"));
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).thread_name("engine").enable_all().build();
        let runtime = runtime.map_err(|error| refuse(&error))?;
        let file = file.map_or_else(|| name.to_owned(), |path| path.display().to_string());
        let server = runtime.block_on(Server::start(config, &file, Logs::begin(log)));
        let server = server.map_err(|error| refuse(&error))?;
        let engine = server.engine().clone();
        let threads = threads().difference(&before).copied().collect();
        let caller = Caller::new("loadtest", Surface::Grpc);
        let server = Some(server);
        Ok(Arc::new(Self { name: name.to_owned(), runtime, server, engine, caller, threads }))
    }

    /// Makes sure that it answers, so that what is wrong is said at once.
    pub(crate) fn try_one(&self, request: Request) -> Result<(), Fault> {
        let checked = self.runtime.block_on(self.engine.check(&self.caller, Arc::new(request), false));
        checked.map(drop).map_err(|error| {
            let help = match error {
                EngineError::NoTenant(_) | EngineError::NoPool(_) => {
                    ": run with --setup, which makes what the scenario names, or configure it there"
                }
                _ => "",
            };
            Fault::Failed(format!("{}: {error}{help}", self.name))
        })
    }

    /// Cancels and releases whatever a holder still holds; returns how much is left.
    pub(crate) fn give_back(&self, holder: &str) -> Result<u64, Fault> {
        let refuse =
            |error: EngineError| Fault::Failed(format!("{} refuses what gives everything back: {error}", self.name));
        let holder = Holder::parse(holder).map_err(|error| Fault::Failed(error.to_string()))?;
        self.runtime.block_on(async {
            let (engine, caller) = (&self.engine, &self.caller);
            let mut left = usize::MAX;
            loop {
                // Tickets first: a lease that is released may let one in, which then is a lease that nobody gives back.
                engine.cancel(caller, Target::Holder(holder.clone())).await.map_err(refuse)?;
                engine.release(caller, Target::Holder(holder.clone())).await.map_err(refuse)?;
                let before = std::mem::replace(&mut left, engine.get_held(caller, &holder).await.len());
                if left == 0 || left >= before {
                    return Ok(left as u64);
                }
            }
        })
    }

    /// What the engine's own threads have used; memory and handles are all of this process's.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let whole = usage(&[std::process::id()])?;
        Some(Usage { cpu_s: cpu_of_threads(&self.threads), ..whole })
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server.stop());
        }
    }
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded").field("name", &self.name).finish_non_exhaustive()
    }
}
