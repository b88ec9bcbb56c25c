//! Service.

pub mod engine;
pub mod persist;
pub mod store;
