//! A server, from its configuration to its end: addresses are bound, the store is opened and what was decided is read
//! back, the configuration is taken up, and then it serves. While it does, certificates, tokens and keys are read again
//! when their files change, and all of the configuration on request; on request too it ends, and leaves nobody without an
//! answer.

mod draining;
mod files;
mod starting;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use headgate_ledger::{Name, default_cell};
use parking_lot::Mutex;
use tokio::task::JoinSet;

use crate::auth::{Callers, Limits, Registry, Share};
use crate::config::{self, Config, Problems};
use crate::engine::{self, Configure, Engine, EngineError};
use crate::gateway::Rules;
use crate::grpc::{self, SurfaceError};
use crate::http::{self, Metrics};
use crate::listen::lanes::as_many_as_cores;
use crate::listen::{Certificates, Listening, Room, install_crypto};
use crate::logs::Logs;
use crate::persist::Surface;
use crate::ready::{Phase, Readiness};
use crate::reconcile::reconcile;

pub use self::draining::{Draining, Left};
use self::files::Watched;
pub use self::starting::{StartError, run};

/// How long what is under way may take when the server ends: as long as the slowest commits, and less than what service
/// managers give before they kill.
const SHUTDOWN_MAX: Duration = Duration::from_secs(10);
/// How often the store is looked after, and files of certificates, tokens and keys.
const STORE_LOOK: Duration = Duration::from_millis(200);
/// See [`STORE_LOOK`].
const FILES_LOOK: Duration = Duration::from_secs(1);

/// A server that serves.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    grpc: Option<SocketAddr>,
    http: Option<SocketAddr>,
    /// The surfaces: none of them ends before the server does.
    surfaces: JoinSet<Result<(), ServeError>>,
    /// What looks after it.
    looking: JoinSet<()>,
}

/// What the server and those who look after it share.
#[derive(Debug)]
struct Shared {
    engine: Arc<Engine>,
    callers: Arc<Registry>,
    limits: Arc<Limits>,
    /// Whose the descriptors are that gateways send.
    rules: Arc<ArcSwap<Rules>>,
    certificates: Vec<Arc<Certificates>>,
    readiness: Readiness,
    logs: Logs,
    /// What is in force; held while it is being changed.
    config: tokio::sync::Mutex<Config>,
    /// The files that certificates, tokens and keys were read from.
    watched: Mutex<Watched>,
}

/// Why a server ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The gRPC surface.
    #[error(transparent)]
    Grpc(#[from] SurfaceError),
    /// The HTTP surface.
    #[error("HTTP: {0}")]
    Http(#[from] std::io::Error),
    /// Something was broken that only a fault of the program breaks.
    #[error("a surface ended: {0}")]
    Panicked(#[from] tokio::task::JoinError),
}

/// What became of a configuration that was taken up while the server served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// What of it counts only after a restart.
    pub restart: Vec<&'static str>,
    /// Tenants that it does not name any more, and that have leases or tickets still.
    pub draining: Vec<Draining>,
}

/// Why a configuration was not taken up. What was in force still is.
#[derive(Debug)]
pub enum ReloadError {
    /// The file, or what it says.
    Problems(Problems),
    /// Its certificates, tokens or keys.
    Files(String),
    /// The engine.
    Engine(EngineError),
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problems(problems) => problems.fmt(f),
            Self::Files(why) => f.write_str(why),
            Self::Engine(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReloadError {}

impl Server {
    /// Starts a server; `file` is what its configuration is called in errors. It serves when this returns.
    pub async fn start(config: Config, file: &str, logs: Logs) -> Result<Self, StartError> {
        Self::start_with(config, file, logs, Limits::new(Share::ONE, Share::ALL)).await
    }

    /// Starts a server with limits of its own.
    pub async fn start_with(config: Config, file: &str, logs: Logs, limits: Arc<Limits>) -> Result<Self, StartError> {
        install_crypto();
        if let Some(problem) = config::exposed(&config.listen, config.tls.as_ref(), &config.auth).into_iter().next() {
            return Err(StartError::Exposed(problem.what));
        }
        let callers = Callers::load(&config.auth, &limits, None)?;
        let watched = Watched::of(&config, &callers);
        let callers = Arc::new(Registry::new(callers));
        let mut certificates = Vec::new();
        let mut certified = |protocol| -> Result<Option<Arc<Certificates>>, StartError> {
            let Some(tls) = &config.tls else { return Ok(None) };
            let loaded = Arc::new(Certificates::load(tls, protocol)?);
            certificates.push(loaded.clone());
            Ok(Some(loaded))
        };
        let (grpc_tls, http_tls) = (certified(b"h2")?, certified(b"http/1.1")?);
        // All addresses before anything is touched: one that cannot be had is told first.
        let grpc_listening = bind("grpc", config.listen.grpc).await?;
        let http_listening = bind("http", config.listen.http).await?;

        let readiness = Readiness::default();
        let metrics = Arc::new(Metrics::default());
        let mut surfaces = JoinSet::new();
        let http_address = http_listening.as_ref().map(Listening::address);
        if let Some(listening) = http_listening {
            let surface = http::Surface {
                readiness: readiness.clone(),
                callers: callers.clone(),
                logs: logs.clone(),
                metrics: metrics.clone(),
            };
            let connections = listening.accept(http_tls, Room::HTTP);
            surfaces.spawn(async move {
                http::serve(surface, connections).await;
                Ok(())
            });
        }

        let engine = starting::open(&config).await?;
        if let Err(error) = take_up(&engine, None, &config, file).await {
            engine.shutdown().await;
            return Err(StartError::Refused(error));
        }
        draining::tell(file, &draining::draining(&engine).await);
        metrics.show(engine.clone());
        let rules = Arc::new(ArcSwap::from_pointee(Rules::new(config.gateways.clone())));
        let grpc_address = grpc_listening.as_ref().map(Listening::address);
        if let Some(listening) = grpc_listening {
            let surface = grpc::Surface {
                engine: engine.clone(),
                callers: callers.clone(),
                readiness: readiness.clone(),
                rules: rules.clone(),
            };
            let threads = config.listen.grpc_threads.map_or_else(as_many_as_cores, |config::Threads(threads)| threads);
            surfaces.spawn(async move { Ok(grpc::serve(surface, listening, grpc_tls, threads).await?) });
        }
        readiness.serve(engine.clone());

        let shared = Arc::new(Shared {
            engine,
            callers,
            limits,
            rules,
            certificates,
            readiness,
            logs,
            config: tokio::sync::Mutex::new(config),
            watched: Mutex::new(watched),
        });
        let mut looking = JoinSet::new();
        looking.spawn(look_after_store(shared.clone()));
        looking.spawn(look_after_files(shared.clone()));
        Ok(Self { shared, grpc: grpc_address, http: http_address, surfaces, looking })
    }

    /// Where gRPC is served.
    pub fn grpc(&self) -> Option<SocketAddr> {
        self.grpc
    }

    /// Where HTTP is served.
    pub fn http(&self) -> Option<SocketAddr> {
        self.http
    }

    /// The engine, for other surfaces.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.shared.engine
    }

    /// Who is known, for other surfaces.
    pub fn callers(&self) -> &Arc<Registry> {
        &self.shared.callers
    }

    /// Whether it is ready, for other surfaces.
    pub fn readiness(&self) -> &Readiness {
        &self.shared.readiness
    }

    /// Takes up another configuration: all of it, or nothing.
    pub async fn reload(&self, config: Config, file: &str) -> Result<Reloaded, ReloadError> {
        self.shared.reload(config, file).await
    }

    /// Waits until a surface ends by itself, which none should.
    pub async fn failed(&mut self) -> ServeError {
        match self.surfaces.join_next().await {
            None => std::future::pending().await,
            Some(Ok(Err(error))) => error,
            Some(Ok(Ok(()))) => {
                ServeError::Http(std::io::Error::other("a surface ended though the server had not been told to"))
            }
            Some(Err(error)) => ServeError::Panicked(error),
        }
    }

    /// Ends: nothing new is taken, streams and watches are told, what is under way is answered, and the store is closed.
    pub async fn stop(self) {
        let Self { shared, mut surfaces, mut looking, .. } = self;
        shared.readiness.enter(Phase::Stopping);
        looking.abort_all();
        let ended = async { while surfaces.join_next().await.is_some() {} };
        if tokio::time::timeout(SHUTDOWN_MAX, ended).await.is_err() {
            tracing::warn!("some connections did not end in {} s, and are cut off", SHUTDOWN_MAX.as_secs());
            surfaces.abort_all();
        }
        shared.engine.shutdown().await;
    }
}

async fn bind(surface: &'static str, address: Option<config::Address>) -> Result<Option<Listening>, StartError> {
    match address {
        None => Ok(None),
        Some(config::Address(address)) => Ok(Some(Listening::bind(surface, address).await?)),
    }
}

/// Makes the engine's ledgers as the configuration says.
async fn take_up(engine: &Engine, before: Option<&Config>, config: &Config, file: &str) -> Result<(), ReloadError> {
    let caller = engine::Caller::new(file, Surface::File);
    let cell = default_cell();
    let look = |view: &engine::View<'_>| reconcile(view, before.map(|before| &before.objects), &config.objects);
    let changes = engine.read(&cell, look).await.map_err(ReloadError::Engine)?;
    if changes.is_empty() {
        return Ok(());
    }
    let reason = if before.is_none() { "start" } else { "reload" }.to_owned();
    match engine.configure(&caller, Configure { changes, reason, ..Configure::default() }).await {
        Ok(done) => {
            for warning in &done.warnings {
                tracing::warn!("{}", config.objects.located(warning).in_file(file));
            }
            Ok(())
        }
        Err(EngineError::Refused(problems)) => {
            let problems = problems.iter().map(|problem| config.objects.located(problem)).collect();
            Err(ReloadError::Problems(Problems { file: file.to_owned(), problems }))
        }
        Err(error) => Err(ReloadError::Engine(error)),
    }
}

impl Shared {
    async fn reload(&self, config: Config, file: &str) -> Result<Reloaded, ReloadError> {
        let mut now = self.config.lock().await;
        // What can be refused first, and what cannot after.
        if let Some(problem) = config::exposed(&config.listen, config.tls.as_ref(), &config.auth).into_iter().next() {
            return Err(ReloadError::Problems(Problems { file: file.to_owned(), problems: vec![problem] }));
        }
        let mut restart = needs_restart(&now, &config);
        let callers = self.read_callers(&config)?;
        let certificates = self.read_certificates(&config)?;
        take_up(&self.engine, Some(&now), &config, file).await?;
        for (known, read) in self.certificates.iter().zip(certificates) {
            known.swap(read);
        }
        *self.watched.lock() = Watched::of(&config, &callers);
        self.callers.swap(callers);
        self.rules.store(Arc::new(Rules::new(config.gateways.clone())));
        if now.log.format != config.log.format {
            restart.push("log.format");
        }
        if let Err(error) = self.logs.configure(config.log) {
            tracing::error!(%error, "the level of the logs stays");
        }
        *now = config;
        Ok(Reloaded { restart, draining: draining::draining(&self.engine).await })
    }

    fn read_callers(&self, config: &Config) -> Result<Callers, ReloadError> {
        Callers::load(&config.auth, &self.limits, Some(&self.callers.now()))
            .map_err(|error| ReloadError::Files(error.to_string()))
    }

    fn read_certificates(&self, config: &Config) -> Result<Vec<crate::listen::Read>, ReloadError> {
        let Some(tls) = &config.tls else { return Ok(Vec::new()) };
        let read = self.certificates.iter().map(|known| known.read(tls));
        read.collect::<Result<_, _>>().map_err(|error| ReloadError::Files(error.to_string()))
    }

    /// Reads certificates, tokens and keys again, where their files have changed.
    async fn reread(&self) {
        let config = self.config.lock().await;
        let watched = Watched::of(&config, &self.callers.now());
        if *self.watched.lock() == watched {
            return;
        }
        // Also where they cannot be used: they are looked at again when they change again.
        *self.watched.lock() = watched;
        match (self.read_callers(&config), self.read_certificates(&config)) {
            (Ok(callers), Ok(certificates)) => {
                for (known, read) in self.certificates.iter().zip(certificates) {
                    known.swap(read);
                }
                self.callers.swap(callers);
                tracing::info!("certificates, tokens and keys were read again: their files had changed");
            }
            (Err(error), _) | (_, Err(error)) => {
                tracing::error!("files have changed, but cannot be used, and what was read before counts: {error}");
            }
        }
    }
}

/// What of a configuration counts only after a restart.
fn needs_restart(before: &Config, after: &Config) -> Vec<&'static str> {
    let cells = |config: &Config| -> std::collections::BTreeSet<Name> { starting::cells(config) };
    [
        ("listen", before.listen != after.listen),
        ("tls (whether there is any)", before.tls.is_some() != after.tls.is_some()),
        ("store", before.store != after.store),
        ("durability", before.durability != after.durability),
        ("on_store_failure", before.on_store_failure != after.on_store_failure),
        ("pools' cells", cells(before) != cells(after)),
    ]
    .into_iter()
    .filter_map(|(what, differs)| differs.then_some(what))
    .collect()
}

/// Tells whether the store takes what it is given, to those who are told and do not ask.
async fn look_after_store(shared: Arc<Shared>) {
    let mut looks = tokio::time::interval(STORE_LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        shared.readiness.look();
    }
}

async fn look_after_files(shared: Arc<Shared>) {
    let mut looks = tokio::time::interval(FILES_LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        shared.reread().await;
    }
}

/// The file that a server was started with, where there was one.
fn named(path: Option<&Path>) -> PathBuf {
    path.map_or_else(|| PathBuf::from("the embedded configuration"), Path::to_path_buf)
}
