//! gRPC over HTTP/2, as cheaply as a client can speak it.

pub(crate) mod hpack;
pub(crate) mod http2;
mod huffman;
pub(crate) mod message;
pub(crate) mod socket;
