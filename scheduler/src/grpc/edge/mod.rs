//! HTTP/2 as it comes from callers, and the fast way through it.
//!
//! Each connection is one task of its lane. It reads all that has come, takes the calls that are whole, and has them
//! decided together: one look at the clock, one turn of the engine, one write. So much for what callers do all day (checks,
//! acquires, what keeps leases alive, and what gateways ask); everything else, and whatever is not plain about a call, goes the ordinary way,
//! through the services that tonic made, on the runtime of the rest of the server: no lane waits for a long list.
//!
//! - `connection` is the task; `way` says which way a call goes, by its head; `ordinary` is that way.
//! - `body` gathers a message, `unary` has calls of their own decided, and `limit` those of gateways; `stream` the messages of a stream.
//! - `remembered` knows requests that were parsed before; `answers` writes answers, by `back`; `reply` sends them.

mod answers;
mod back;
mod body;
mod connection;
mod keepalive;
mod limit;
mod ordinary;
mod remembered;
mod reply;
mod stream;
mod unary;
mod way;

use std::sync::Arc;

use parking_lot::Mutex;

use super::limiting::Limiting;
use super::service::Service;
use crate::listen::Connection;
use crate::listen::lanes::Serve;

use self::answers::Answers;
pub(super) use self::ordinary::Ordinary;
use self::remembered::Remembered;

/// What a lane serves on its connections.
#[derive(Debug)]
pub(super) struct Edge {
    service: Service,
    limiting: Limiting,
    ordinary: Ordinary,
    /// What its connections share. The lane is one thread, so nobody ever waits for it.
    desk: Mutex<Desk>,
}

/// What is used again from one call to the next.
#[derive(Debug, Default)]
pub(super) struct Desk {
    remembered: Remembered,
    answers: Answers,
}

impl Edge {
    pub(super) fn new(service: Service, limiting: Limiting, ordinary: Ordinary) -> Self {
        Self { service, limiting, ordinary, desk: Mutex::default() }
    }
}

impl Serve for Edge {
    async fn serve(self: Arc<Self>, connection: Connection) {
        connection::serve(self, connection).await;
    }
}
