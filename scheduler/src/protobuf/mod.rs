//! Messages of protobuf by hand, for what is read and written all day: the hot calls of gRPC, and the journal's records.
//!
//! - `fields` takes a message apart where it lies, `in_order` one whose fields are in their order; `back` writes one from
//!   its end to its beginning.
//!
//! They know only what is plain, and whoever uses them has the library do the rest.

mod back;
mod fields;
mod in_order;

pub(crate) use back::Back;
pub(crate) use fields::{Field, Fields, NotPlain, single};
pub(crate) use in_order::InOrder;
