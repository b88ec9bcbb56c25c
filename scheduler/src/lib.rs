//! Service.

pub mod persist;
pub mod store;
