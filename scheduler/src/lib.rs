//! Service.

pub mod auth;
pub mod config;
pub mod engine;
pub mod grpc;
pub mod listen;
pub mod logs;
pub mod persist;
pub mod ready;
pub mod scenario;
pub mod store;
