//! Figures of a run by their names, as they are asserted and compared.

use super::figures::{Latency, Run};

/// A figure of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    Mean,
    P50,
    P90,
    P99,
    P999,
    P9999,
    Max,
    Gap,
    ServerCpu,
    Rate,
    Errors,
}

impl Figure {
    pub(crate) const ALL: [Self; 11] = [
        Self::Mean,
        Self::P50,
        Self::P90,
        Self::P99,
        Self::P999,
        Self::P9999,
        Self::Max,
        Self::Gap,
        Self::ServerCpu,
        Self::Rate,
        Self::Errors,
    ];
    /// Of which a ratio of two targets says something.
    pub(crate) const COMPARED: [Self; 6] = [Self::Rate, Self::ServerCpu, Self::Mean, Self::P50, Self::P99, Self::P999];

    /// What it is called.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P99 => "p99",
            Self::P999 => "p99.9",
            Self::P9999 => "p99.99",
            Self::Max => "max",
            Self::Gap => "gap",
            Self::ServerCpu => "server-cpu",
            Self::Rate => "rate",
            Self::Errors => "errors",
        }
    }

    /// The one of a name.
    pub(crate) fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|figure| figure.word() == word)
    }

    /// Whether it is a time.
    pub(crate) fn is_time(self) -> bool {
        !matches!(self, Self::Rate | Self::Errors)
    }

    /// Of the latencies of one kind of operation; none where it is no latency.
    pub(crate) fn of_latency(self, latency: &Latency) -> Option<f64> {
        Some(match self {
            Self::Mean => latency.mean_us,
            Self::P50 => latency.p50_us,
            Self::P90 => latency.p90_us,
            Self::P99 => latency.p99_us,
            Self::P999 => latency.p999_us,
            Self::P9999 => latency.p9999_us,
            Self::Max => latency.max_us,
            Self::Gap | Self::ServerCpu | Self::Rate | Self::Errors => return None,
        })
    }

    /// Of a run, times in microseconds; none where it was not measured.
    pub(crate) fn of(self, run: &Run) -> Option<f64> {
        match self {
            Self::Gap => Some(run.longest_gap_s * 1e6),
            Self::Rate => Some(run.rate),
            Self::Errors => Some(run.failures() as f64),
            Self::ServerCpu => run.server.as_ref().map(|server| server.cpu_us_per_operation),
            latency => latency.of_latency(&run.latency),
        }
    }
}
