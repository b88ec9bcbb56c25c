//! gRPC: the wire's words in, the engine asked, the wire's words out. Nothing is decided here.
//!
//! - `parse` and `objects` take messages apart into the ledger's types; `render`, `words` and `differences` go the other way.
//! - `door` is what every call passes first; `deadline` and `trace` are what callers say of a call; `fault` is the errors.
//! - `operations` is what is done to leases and tickets, by a call of its own (`quota`) or by one of many (`stream`);
//!   `watching` tells what happens, `admin` configures and looks.
//! - `garbled` takes bytes that a stranger may send through all that parses.

mod admin;
mod changes;
mod deadline;
mod differences;
mod door;
mod fault;
pub(crate) mod garbled;
mod looking;
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

use std::sync::Arc;
use std::time::{Duration, Instant};

use headgate_proto::FILE_DESCRIPTOR_SET;
use headgate_proto::limits::OPERATIONS_BYTES_MAX;
use headgate_proto::v1::admin_service_server::{AdminServiceServer, SERVICE_NAME as ADMIN};
use headgate_proto::v1::quota_service_server::{QuotaServiceServer, SERVICE_NAME as QUOTA};
use tonic::codegen::http;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::auth::Registry;
use crate::engine::Engine;
use crate::listen::Accepting;
use crate::ready::{Phase, Readiness};

use self::admin::Admin;
use self::deadline::Arrival;
use self::door::Door;
pub(crate) use self::objects::{class_wire, pool_wire, tenant_wire};
use self::quota::Quota;
use self::service::Service;

/// Calls of one connection at once. A client that waits for more tickets than this opens another.
const CALLS_PER_CONNECTION_MAX: u32 = 4_096;
/// Bytes of a call's headers: a signed token is a few thousand.
const HEADERS_BYTES_MAX: u32 = 16 * 1024;
/// Bytes that a call, and a connection, may have on the way to us: two messages of a stream, and several such streams.
const CALL_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// See [`CALL_WINDOW_BYTES`].
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// Bytes of a message that configures: as a configuration file.
const CONFIGURATION_BYTES_MAX: usize = crate::config::FILE_BYTES_MAX;
/// How often a silent connection is asked whether it lives, and how long it has to answer.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));

/// What the surface stands on.
#[derive(Clone, Debug)]
pub struct Surface {
    /// Who decides.
    pub engine: Arc<Engine>,
    /// Who is known.
    pub callers: Arc<Registry>,
    /// Whether the server is ready.
    pub readiness: Readiness,
}

/// Why the surface ended.
#[derive(Debug, thiserror::Error)]
pub enum SurfaceError {
    /// The transport broke down.
    #[error("gRPC: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The description of the wire cannot be served.
    #[error("gRPC reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Serves what is accepted until the server is about to end, and then until what is under way has been answered.
pub async fn serve(surface: Surface, connections: Accepting) -> Result<(), SurfaceError> {
    let Surface { engine, callers, readiness } = surface;
    let service = Service { engine, door: Door::new(callers), readiness: readiness.clone() };
    let quota = QuotaServiceServer::new(Quota(service.clone())).max_decoding_message_size(OPERATIONS_BYTES_MAX);
    let admin = AdminServiceServer::new(Admin(service)).max_decoding_message_size(CONFIGURATION_BYTES_MAX);
    let (health, health_server) = tonic_health::server::health_reporter();
    let reporting = tokio::spawn(report(health, readiness.clone()));
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let served = Server::builder()
        .trace_fn(trace::span)
        .max_concurrent_streams(CALLS_PER_CONNECTION_MAX)
        .http2_max_header_list_size(HEADERS_BYTES_MAX)
        .initial_stream_window_size(CALL_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
        .layer(tower::util::MapRequestLayer::new(arrive))
        .layer(tower::util::MapResponseLayer::new(name_too_large))
        .add_service(health_server)
        .add_service(reflection)
        .add_service(quota)
        .add_service(admin)
        .serve_with_incoming_shutdown(connections, async move { readiness.stopping().await })
        .await;
    reporting.abort();
    Ok(served?)
}

/// Notes when a call arrived.
fn arrive<B>(mut request: http::Request<B>) -> http::Request<B> {
    request.extensions_mut().insert(Arrival(Instant::now()));
    request
}

/// A message that is too large is malformed. The library below refuses it before anybody here sees it, with a code that
/// means something else on this wire.
fn name_too_large<B>(mut response: http::Response<B>) -> http::Response<B> {
    const TOO_LARGE: &[u8] = b"Error,%20decoded%20message%20length%20too%20large";
    let headers = response.headers_mut();
    if headers.get("grpc-message").is_some_and(|message| message.as_bytes().starts_with(TOO_LARGE)) {
        headers.insert("grpc-status", http::HeaderValue::from(tonic::Code::InvalidArgument as i32));
    }
    response
}

/// Tells the standard health service of every change.
async fn report(health: HealthReporter, readiness: Readiness) {
    let mut phases = readiness.subscribe();
    loop {
        let status = match &*phases.borrow_and_update() {
            Phase::Serving => ServingStatus::Serving,
            Phase::Recovering | Phase::StoreDown(_) | Phase::Stopping => ServingStatus::NotServing,
        };
        for name in ["", QUOTA, ADMIN] {
            health.set_service_status(name, status).await;
        }
        if phases.changed().await.is_err() {
            return;
        }
    }
}
