//! Service.
pub mod auth;
pub mod config;
pub mod grpc;
pub mod listen;
pub mod logs;
pub mod ready;
