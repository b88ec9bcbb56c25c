//! A load test: it drives Headgate, and peers that answer the same calls, says how fast they are, and checks on the way
//! that they keep what they promise.
//!
//! - `wire` is gRPC over HTTP/2, of our own: a client that measures must cost less than what it measures.
//! - `scenario` is who asks for what; `schedule` is when. Both are drawn, and the same for the same seed.
//! - `embedded` is the engine as a library, driven like a server that has no wire.
//! - `review` is what an API server asks a webhook.
//! - `drive` sends and receives; `calls` is what is said. `leases` is what is held, `checker` what must always hold.
//! - `tally` counts in each generator; `outcome` makes figures, text, JSON and pages of it.
//! - `kueue` is the workload of a peer's benchmark, with runners that ask, wait, run and release.
//! - `results` measures all of it, and more, and makes a page of that.
//! - `yardstick` is a server that does nothing.

mod calls;
mod checker;
mod cli;
mod codes;
mod drive;
mod embedded;
mod fault;
mod handles;
mod interrupt;
mod kueue;
mod leases;
mod outcome;
mod process;
mod random;
mod results;
mod review;
mod scenario;
mod schedule;
mod setup;
mod tally;
mod target;
mod watchers;
mod wire;
mod yardstick;

pub use cli::run;
