//! Service.
pub mod config;
