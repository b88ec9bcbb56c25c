//! gRPC: the wire's words in, the engine asked, the wire's words out. Nothing is decided here.
//!
//! - `parse` and `objects` take messages apart into the ledger's types; `render` and `words` go the other way.
//! - `fault` is the errors; `ids` what leases and tickets are called outside.

mod deadline;
mod differences;
mod door;
mod fault;
mod ids;
mod objects;
mod parse;
mod render;
mod trace;
mod words;
