//! What is persisted, to and from the ledger's words: the schema `headgate.journal.v1` on one side, entries on the
//! other.
//!
//! Both directions take every value apart by name, so that a field or a variant that is new on either side does not
//! compile until somebody has said what becomes of it here. What is read was written by this program or by another
//! version of it; all the same, every name and amount is checked as if a stranger had sent it, and an error says where
//! in the record it is wrong.
//!
//! What is written all day goes by hand (`writer`, `reader`), straight between the ledger's words and bytes; `known` has each
//! name in memory once. A field that is not as these write it sends the whole record to the library.

mod configuration;
mod entry;
mod error;
mod form;
mod known;
mod reader;
mod record;
mod request;
mod snapshot;
#[cfg(test)]
pub(crate) mod tests;
mod writer;

pub use error::RecordError;
pub use reader::RecordReader;
pub use record::{Origin, Record, Surface, What};
pub(crate) use snapshot::rewritten_by_library;
pub use snapshot::{SnapshotHeader, SnapshotReader, write_snapshot};
pub use writer::RecordWriter;
