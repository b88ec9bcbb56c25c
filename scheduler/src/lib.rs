//! The service around the ledger: engine, journal and stores, configuration, gRPC, HTTP, command line.

pub mod auth;
pub mod cli;
pub mod config;
pub mod engine;
#[doc(hidden)]
pub mod fuzz;
pub mod gateway;
pub mod grpc;
pub mod http;
pub mod listen;
pub mod logs;
pub mod persist;
mod protobuf;
pub mod ready;
pub mod reconcile;
pub mod scenario;
pub mod serve;
pub mod simulate;
pub mod store;
