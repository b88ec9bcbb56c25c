//! Service.

pub mod store;
