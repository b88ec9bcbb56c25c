//! What is logged: structured lines to standard error, as text or JSON, with a level that can be changed while it runs.

use std::fmt;
use std::io::IsTerminal as _;
use std::sync::Arc;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::config::{Log, LogFormat, LogLevel};

/// Bytes of a filter: a level, and some for parts of the program.
const FILTER_BYTES_MAX: usize = 1024;
/// What the libraries below say at these levels is about them, not about the service.
const LIBRARIES: &str = "h2=warn,hyper=warn,hyper_util=warn,rustls=warn,tonic=warn,tower=warn";

type Swap = Arc<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>;

/// The handle by which the level is changed.
#[derive(Clone)]
pub struct Logs {
    /// None where the program that this library is in logs in its own way.
    swap: Option<Swap>,
    said: Arc<parking_lot::Mutex<String>>,
}

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logs").field("filter", &self.filter()).finish_non_exhaustive()
    }
}

/// Why a filter was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError(String);

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FilterError {}

impl Logs {
    /// Begins to log, where the process does not already.
    pub fn begin(log: Log) -> Self {
        let Log { level, format } = log;
        let said = level_word(level).to_owned();
        let (filter, handle) = reload::Layer::new(filter_of(&said).unwrap_or_default());
        let registry = Registry::default().with(filter);
        let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let begun = match format {
            LogFormat::Text => registry.with(layer.with_ansi(std::io::stderr().is_terminal())).try_init(),
            LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
        };
        let swap = begun.ok().map(|()| -> Swap { Arc::new(move |filter| handle.reload(filter)) });
        Self { swap, said: Arc::new(parking_lot::Mutex::new(said)) }
    }

    /// What is logged now: a level, or a filter.
    pub fn filter(&self) -> String {
        self.said.lock().clone()
    }

    /// Logs from now on what a filter lets through: a level (`debug`), or levels for parts of the program
    /// (`info,headgate_scheduler::grpc=debug`).
    pub fn set(&self, said: &str) -> Result<(), FilterError> {
        let filter = filter_of(said)?;
        if let Some(swap) = &self.swap {
            swap(filter).map_err(|error| FilterError(format!("the filter cannot be changed: {error}")))?;
        }
        *self.said.lock() = said.to_owned();
        Ok(())
    }

    /// Logs from now on what the configuration says.
    pub fn configure(&self, log: Log) -> Result<(), FilterError> {
        self.set(level_word(log.level))
    }
}

fn filter_of(said: &str) -> Result<EnvFilter, FilterError> {
    let refuse = |why: &dyn fmt::Display| {
        FilterError(format!("it is no filter ({why}): write a level, off, error, warn, info, debug or trace"))
    };
    if said.is_empty() || said.len() > FILTER_BYTES_MAX {
        return Err(refuse(&format_args!("it has {} bytes, 1 to {FILTER_BYTES_MAX} are read", said.len())));
    }
    // The library takes any single word for the name of a part, and then logs that part alone.
    if let Some(word) = said.split(',').map(str::trim).find(|part| !part.contains(['=', '[']) && !is_level(part)) {
        return Err(refuse(&format_args!("{word} is no level")));
    }
    // What is said comes last, and so counts where both name a library.
    EnvFilter::builder().parse(format!("{LIBRARIES},{said}")).map_err(|error| refuse(&error))
}

fn is_level(word: &str) -> bool {
    word.parse::<tracing_subscriber::filter::LevelFilter>().is_ok()
}

const fn level_word(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    }
}

#[cfg(test)]
mod tests {
    use super::filter_of;

    #[test]
    fn a_filter_is_a_level_or_levels_for_parts() {
        for good in ["info", "debug", "info,headgate_scheduler::grpc=trace", "off"] {
            assert!(filter_of(good).is_ok(), "{good}");
        }
        for bad in ["", "headgate_scheduler=loud", "a=b=c", "loud", "info,quiet", &"x".repeat(1025)] {
            assert!(filter_of(bad).is_err(), "{bad}");
        }
    }
}
