//! Service.

pub mod config;
pub mod engine;
pub mod persist;
pub mod scenario;
pub mod store;
