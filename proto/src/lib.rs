//! What crosses the wire and what is persisted, generated from the protos beside this crate's sources. Their
//! comments are the documentation of the API.
//!
//! [`v1`] is the wire: `QuotaService`, which decides and keeps leases and tickets, and `AdminService`. [`envoy`] is
//! what Envoy asks, in its own words.
//! [`journal::v1`] is what is persisted. The two share nothing, so that either may change alone. Nothing of
//! ours is imported here, and nothing decided: whoever reads a message parses it into the ledger's types.

pub mod errors;
pub mod limits;
mod words;

/// The wire: package `headgate.v1`.
pub mod v1 {
    #![allow(clippy::all, missing_docs, rust_2018_idioms, reason = "generated code answers for its protos alone")]
    tonic::include_proto!("headgate.v1");
}

/// What Envoy asks before it lets a call pass: package `envoy.service.ratelimit.v3`.
pub mod envoy {
    #![allow(clippy::all, missing_docs, rust_2018_idioms, reason = "generated code answers for its protos alone")]
    tonic::include_proto!("envoy.service.ratelimit.v3");
}

/// What is persisted, apart from what crosses the wire.
pub mod journal {
    /// Package `headgate.journal.v1`.
    pub mod v1 {
        #![allow(clippy::all, missing_docs, rust_2018_idioms, reason = "generated code answers for its protos alone")]
        tonic::include_proto!("headgate.journal.v1");
    }
}

/// The wire's description and all that it imports, as an encoded `google.protobuf.FileDescriptorSet`: for
/// reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("headgate_descriptor");
