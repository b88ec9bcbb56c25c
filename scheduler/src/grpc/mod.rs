//! gRPC: the wire's words in, the engine asked, the wire's words out. Nothing is decided here.
//!
//! - `parse` and `objects` take messages apart into the ledger's types; `render`, `words` and `differences` go the other way.
//! - `door` is what every call passes first; `deadline` and `trace` are what callers say of a call; `fault` is the errors.
//! - `operations` is what is done to leases and tickets, by a call of its own (`quota`) or by one of many (`stream`);
//!   `watching` tells what happens, `admin` configures and looks.

mod deadline;
mod differences;
mod door;
mod fault;
mod objects;
mod operations;
mod parse;
mod quota;
mod render;
mod service;
mod stream;
mod trace;
mod watching;
mod words;
