//! How a server starts, and how a process runs one.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use headgate_ledger::{Name, default_cell};
use tokio::signal::unix::{SignalKind, signal};

use crate::auth::AuthError;
use crate::config::{self, CivilCalendar, Config, Problems};
use crate::engine::{Durability, Engine, EngineSettings, OnStoreFailure, OpenError, Recovery, SystemClock};
use crate::listen::{ListenError, TlsError};
use crate::logs::Logs;
use crate::store::{FileOptions, FileStore, MemoryStore, Store, StoreError};

use super::{ReloadError, Reloaded, ServeError, Server, draining, named};

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its configuration.
    #[error("{0}")]
    Config(Problems),
    /// It would be open to others without protection.
    #[error("{0}")]
    Exposed(String),
    /// Its callers.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// Its certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Its store.
    #[error("store: {0}")]
    Store(#[from] StoreError),
    /// A kind of store that this program does not have.
    #[error("store: this program has no store of kind {0}: use file or memory")]
    NoSuchStore(&'static str),
    /// What the store holds.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The ledgers do not take the configuration.
    #[error("{0}")]
    Refused(ReloadError),
    /// The process.
    #[error("{0}")]
    System(#[from] std::io::Error),
}

/// The cells that a server serves: those of its pools, and the one of pools that name none.
pub(super) fn cells(config: &Config) -> BTreeSet<Name> {
    config.objects.pools.iter().map(|pool| pool.cell.clone()).chain([default_cell()]).collect()
}

/// Opens the store and reads back what was decided.
pub(super) async fn open(config: &Config) -> Result<Arc<Engine>, StartError> {
    let settings = EngineSettings {
        durability: match (&config.store, config.durability) {
            (config::Store::Memory, _) => Durability::Forgotten,
            (config::Store::File { .. } | config::Store::Redis { .. }, durability) => match durability {
                config::Durability::Journaled => Durability::Journaled,
                config::Durability::Relaxed => Durability::Relaxed,
            },
        },
        on_store_failure: match config.on_store_failure {
            config::OnStoreFailure::Stop => OnStoreFailure::Stop,
            config::OnStoreFailure::Continue => OnStoreFailure::Continue,
        },
        ..EngineSettings::default()
    };
    let (store, cells) = (config.store.clone(), cells(config));
    // It reads for as long as it takes, and not among those who answer.
    let opening = tokio::task::spawn_blocking(move || {
        let store: Box<dyn Store> = match &store {
            config::Store::File { path } => Box::new(FileStore::open(path, FileOptions::default())?),
            config::Store::Memory => Box::new(MemoryStore::default()),
            config::Store::Redis { .. } => return Err(StartError::NoSuchStore("redis")),
        };
        let cells: Vec<_> = cells.into_iter().collect();
        Ok(Engine::open(settings, &*store, &cells, Arc::new(SystemClock::new()), Arc::new(CivilCalendar))?)
    });
    let (engine, recoveries) = opening.await.map_err(std::io::Error::other)??;
    for Recovery { cell, sequence, replay, repairs } in &recoveries {
        for repair in repairs {
            tracing::warn!(%cell, "the store was put right: {repair}");
        }
        for unreadable in &replay.unreadable {
            tracing::warn!(%cell, "a snapshot could not be read, and an older one was taken: {unreadable}");
        }
        tracing::info!(%cell, sequence, records = replay.records, digests = replay.digests, "recovered");
    }
    Ok(engine)
}

/// Runs a server until it is told to end (SIGTERM, SIGINT); SIGHUP has it read its configuration again. With no file, it
/// serves the embedded configuration.
pub async fn run(path: Option<&Path>) -> Result<(), anyhow::Error> {
    let file = named(path).display().to_string();
    let config = load(path).map_err(StartError::Config)?;
    let logs = Logs::begin(config.log);
    // From here on, a signal is not lost.
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut hung_up = signal(SignalKind::hangup())?;
    let told = About::of(&config);
    let mut server = tokio::select! {
        started = Server::start(config, &file, logs) => started?,
        _ = terminated.recv() => return Ok(()),
        _ = interrupted.recv() => return Ok(()),
    };
    if let Err(error) = told.print(&server) {
        // Whoever started it may have gone, as `headgate serve | head -1` has: those who call have not.
        tracing::warn!(%error, "where it serves was told to nobody");
    }
    let failed: Option<ServeError> = loop {
        tokio::select! {
            _ = terminated.recv() => break None,
            _ = interrupted.recv() => break None,
            error = server.failed() => break Some(error),
            _ = hung_up.recv() => reload(&server, path, &file).await,
        }
    };
    tracing::info!("stopping: what is under way is answered first");
    server.stop().await;
    match failed {
        None => Ok(()),
        Some(error) => Err(error.into()),
    }
}

fn load(path: Option<&Path>) -> Result<Config, Problems> {
    path.map_or_else(Config::embedded, Config::load)
}

async fn reload(server: &Server, path: Option<&Path>, file: &str) {
    let read = match load(path) {
        Ok(config) => server.reload(config, file).await,
        Err(problems) => Err(ReloadError::Problems(problems)),
    };
    match read {
        Ok(Reloaded { restart, draining }) => {
            tracing::info!(file, draining = draining.len(), "the configuration was read again, and is in force");
            draining::tell(file, &draining);
            if !restart.is_empty() {
                tracing::warn!(file, "these have changed, and count after a restart: {}", restart.join(", "));
            }
        }
        Err(ReloadError::Problems(Problems { file, problems })) => {
            for problem in &problems {
                tracing::error!("{}", problem.in_file(&file));
            }
            tracing::error!(file, "the configuration cannot be used, and the one before is still in force");
        }
        Err(error @ (ReloadError::Files(_) | ReloadError::Engine(_))) => {
            tracing::error!(file, "the configuration was not taken up, and the one before is still in force: {error}");
        }
    }
}

/// What a server says of itself when it serves.
struct About {
    store: String,
    tls: bool,
    tenant: Option<String>,
}

impl About {
    fn of(config: &Config) -> Self {
        let store = match &config.store {
            config::Store::File { path } => format!("in {}", path.display()),
            config::Store::Redis { url: _, prefix } => format!("in Redis, under {prefix}"),
            config::Store::Memory => "in memory only: a restart forgets".to_owned(),
        };
        // The first that is nobody's parent: its requests say the most.
        let tenants = &config.objects.tenants;
        let leaf = tenants
            .iter()
            .find(|tenant| !tenants.iter().any(|other| other.path.parent().as_ref() == Some(&tenant.path)));
        Self { store, tls: config.tls.is_some(), tenant: leaf.map(|tenant| tenant.path.to_string()) }
    }

    /// Where it serves, and the next command to try.
    fn print(&self, server: &Server) -> std::io::Result<()> {
        let scheme = if self.tls { "https" } else { "http" };
        let mut out = std::io::stdout().lock();
        writeln!(out, "headgate {} serves", env!("CARGO_PKG_VERSION"))?;
        for (name, address) in [("gRPC", server.grpc()), ("HTTP", server.http())] {
            if let Some(address) = address {
                writeln!(out, "  {name}  {scheme}://{address}")?;
            }
        }
        writeln!(out, "and keeps what it decides {}", self.store)?;
        if let (Some(tenant), Some(address)) = (&self.tenant, server.grpc()) {
            let default = address.port() == 7070 && address.ip().is_loopback() && !self.tls;
            let server = if default { String::new() } else { format!(" --server {scheme}://{address}") };
            writeln!(out, "try: headgate acquire --tenant {tenant} --cpu 1{server}")?;
        }
        out.flush()
    }
}
