//! The simulator: `headgate simulate` replays a trace under a configuration, in virtual time.
//!
//! The rules are the server's own: a [`VirtualCell`](crate::scenario::VirtualCell) holds the same ledger. What comes
//! out depends on the trace and the configuration alone, but for one figure, which is told apart.

mod replay;
mod report;
mod summary;
mod timeline;
mod trace;

pub use replay::{Replay, Replayed, Timelines, replay};
pub use report::html;
pub use summary::{Spread, Summary, TenantSummary};
pub use timeline::Timeline;
pub use trace::{JOBS_MAX, Job, LINE_BYTES_MAX, TRACE_BYTES_MAX, Trace};

#[cfg(test)]
mod tests;
