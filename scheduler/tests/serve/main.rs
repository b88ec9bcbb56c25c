//! The server on real sockets, asked with the generated client.

mod administering;
mod callers;
mod deciding;
mod edge;
mod gateway;
mod harness;
mod lifecycle;
mod looking;
mod malformed;
mod rates;
mod streaming;
mod watching;
