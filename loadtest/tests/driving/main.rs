//! The binary against real servers: Headgate, one that does nothing, and some that misbehave.

mod broken;
mod embedded;
mod harness;
mod headgate;
mod liar;
mod results;
mod reviews;
mod strangers;
