//! Service.
pub mod config;
pub mod scenario;
