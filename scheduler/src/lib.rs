//! Service.
pub mod config;
pub mod scenario;
pub mod simulate;
