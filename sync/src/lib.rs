//! What of the service is made of atomics, apart from all that uses it: small enough that loom can walk every
//! interleaving of it (`RUSTFLAGS="--cfg loom" cargo test -p headgate-sync --release`), and without the libraries
//! that do not build there.
//!
//! - [`Sequence`]: a number that only grows, and those who wait until it has come to theirs.
//! - [`Mirror`]: a value that many read while it changes, and none of them half changed.

mod atomics;
mod mirror;
mod sequence;

pub use mirror::{Mirror, PATIENCE, Reading};
pub use sequence::{Interrupted, Reach, Sequence};
