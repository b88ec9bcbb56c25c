//! The parts that there are results of.

use serde::{Deserialize, Serialize};

use super::found::Found;
use super::record::Record;
use super::session::Session;
use super::{ledger, memory, service, stores};

/// A part, in the order of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Name {
    /// Decisions in one thread, by criterion
    Ledger,
    /// Instructions of each thing, by callgrind
    Instructions,
    /// Calls, as fast as they go
    Calls,
    /// Streams of many operations, as fast as they go
    Streams,
    /// Begun by a schedule, at parts of the highest rate
    Schedule,
    /// What durability costs
    Stores,
    /// Memory, by what is held
    Memory,
    /// The workload of Kueue's own benchmark
    Kueue,
    /// Servers of others beside this one
    Peers,
}

/// How a figure is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Microseconds.
    Time,
    Count,
    Mebibytes,
    Part,
}

/// A column of a table: its heading, the figure that stands in it, and how.
pub(crate) type Column = (&'static str, &'static str, Unit);

const DRIVEN: &[Column] = &[
    ("a second", "rate", Unit::Count),
    ("server's CPU, each", "server-cpu", Unit::Time),
    ("p50", "p50", Unit::Time),
    ("p99", "p99", Unit::Time),
    ("p99.9", "p99.9", Unit::Time),
];

impl Name {
    pub(crate) const ALL: [Self; 9] = [
        Self::Ledger,
        Self::Instructions,
        Self::Calls,
        Self::Streams,
        Self::Schedule,
        Self::Stores,
        Self::Memory,
        Self::Kueue,
        Self::Peers,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Ledger => "The ledger: a decision, in one thread",
            Self::Instructions => "Instructions",
            Self::Calls => "Calls, as fast as they go",
            Self::Streams => "Streams, as fast as they go",
            Self::Schedule => "Begun by a schedule, at parts of the highest rate",
            Self::Stores => "Durable before it is answered",
            Self::Memory => "Memory, by leases that are held",
            Self::Kueue => "Kueue's own benchmark",
            Self::Peers => "Servers of others",
        }
    }

    /// What is to be known to read it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Ledger => {
                "Medians, and where they are with 95 % confidence. Four resources, a tree of four levels. No wire, no lock, no \
                 journal: what the rules themselves cost, and how that grows."
            }
            Self::Instructions => {
                "Of each thing, once, as callgrind counts them: the figures that are the same on every run. What is not in them \
                 is waiting, for memory or a lock or a disk."
            }
            Self::Calls => {
                "One operation a call, 256 in flight over 4 connections, from one thread; the memory store. An acquire is \
                 followed by its release, and both count. The yardstick is a server that does nothing but answer: on bare h2, \
                 and with tonic as services are ordinarily written. Embedded is the engine as a library, asked one thing after \
                 another with no wire; its CPU is that of deciding and of the engine's own threads, without the driving."
            }
            Self::Streams => {
                "`AcquireStream`: many operations in a message. Beside the yardstick on bare h2, which answers each of them and \
                 decides none. Embedded is the engine as a library, asked as many together, with no wire."
            }
            Self::Schedule => {
                "An open loop: latency counts from when an operation was to start, so that a server which stalls is charged for \
                 all that waited. Callers are independent of each other (Poisson). Beside the yardstick at the same rate: what \
                 it takes, a machine takes that has to run client and server on the same cores."
            }
            Self::Stores => {
                "On files: `journaled` answers when the disk has it, `relaxed` first. The disk's own time is that of a block of 4 \
                 KiB appended, and fdatasync, one after the other."
            }
            Self::Memory => {
                "The server's resident memory while it holds so many leases, each of one resource, of 100 tenants, with an id and \
                 a holder."
            }
            Self::Kueue => {
                "The workload of its scheduler benchmark, with simulated runners: 5 cohorts of 6 queues, 500 workloads each. Its \
                 own figures are of another machine; what can be compared is how much of the quota is in use, and how long \
                 workloads wait."
            }
            Self::Peers => {
                "In turn with Headgate, pair by pair, in the same minutes. A peer was started by whoever ran this, as it says \
                 of itself that it is to be run. It is asked by Envoy's `RateLimitService`; Headgate is asked that too, and the \
                 questions of its own."
            }
        }
    }

    pub(crate) fn columns(self) -> &'static [Column] {
        match self {
            Self::Ledger => &[("median", "median", Unit::Time)],
            Self::Instructions => &[("instructions", "instructions", Unit::Count)],
            Self::Calls | Self::Streams | Self::Schedule | Self::Stores | Self::Peers => DRIVEN,
            Self::Memory => &[("resident", "resident", Unit::Mebibytes), ("bytes a lease", "each", Unit::Count)],
            Self::Kueue => &[
                ("of the quota in use", "in-use", Unit::Part),
                ("admissions a second", "rate", Unit::Count),
                ("total", "total", Unit::Time),
                ("at least", "floor", Unit::Time),
                ("server's CPU, each", "server-cpu", Unit::Time),
                ("small waits, mean", "small", Unit::Time),
                ("medium", "medium", Unit::Time),
                ("large", "large", Unit::Time),
            ],
        }
    }

    /// Measures it; `record` has what was measured before it.
    pub(crate) async fn measure(self, session: &Session, record: &Record) -> Found {
        let mut found = Found::default();
        match self {
            Self::Ledger => ledger::benchmarks(session, &mut found).await,
            Self::Instructions => ledger::instructions(session, &mut found).await,
            Self::Calls => service::calls(session, &mut found).await,
            Self::Streams => service::streams(session, &mut found).await,
            Self::Schedule => service::schedule(session, record, &mut found).await,
            Self::Stores => stores::stores(session, &mut found).await,
            Self::Memory => memory::memory(session, &mut found).await,
            Self::Kueue => service::kueue(session, &mut found).await,
            Self::Peers => service::peers(session, &mut found).await,
        }
        found
    }
}
