//! gRPC: the wire's words in, the engine asked, the wire's words out. Nothing is decided here.
//!
//! - `parse` and `objects` take messages apart into the ledger's types; `render`, `words` and `differences` go the other way.
//! - `door` is what every call passes first; `deadline` and `trace` are what callers say of a call; `fault` is the errors.
//! - `limiting` is what Envoy asks.
//! - `operations` is what is done to leases and tickets, by a call of its own (`quota`) or by one of many (`stream`);
//!   `watching` tells what happens, `admin` configures and looks.
//! - `edge` is the connections: HTTP/2, and the fast way through it for what callers do all day; `batch` is what it and
//!   `stream` have decided together.
//! - `garbled` takes bytes that a stranger may send through all that parses.

mod admin;
mod batch;
mod changes;
mod deadline;
mod differences;
mod door;
mod edge;
mod fault;
pub(crate) mod garbled;
mod limiting;
mod looking;
mod objects;
mod operations;
mod parse;
mod quota;
mod rates;
mod render;
mod service;
mod stream;
mod trace;
mod watching;
mod words;

use std::num::NonZeroUsize;
use std::sync::Arc;

use headgate_proto::FILE_DESCRIPTOR_SET;
use headgate_proto::envoy::rate_limit_service_server::{RateLimitServiceServer, SERVICE_NAME as RATE_LIMIT};
use headgate_proto::limits::OPERATIONS_BYTES_MAX;
use headgate_proto::v1::admin_service_server::{AdminServiceServer, SERVICE_NAME as ADMIN};
use headgate_proto::v1::quota_service_server::{QuotaServiceServer, SERVICE_NAME as QUOTA};
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use arc_swap::ArcSwap;

use crate::auth::Registry;
use crate::engine::{Engine, EngineError};
use crate::gateway::Rules;
use crate::listen::{Certificates, Listening, Room};
use crate::ready::{Phase, Readiness};

use self::admin::Admin;
use self::door::Door;
use self::edge::{Edge, Ordinary};
use self::limiting::Limiting;
pub(crate) use self::objects::{class_wire, pool_wire, tenant_wire};
use self::quota::Quota;
use self::service::Service;

/// Bytes of a message that configures: as a configuration file.
const CONFIGURATION_BYTES_MAX: usize = crate::config::FILE_BYTES_MAX;
/// What the surface stands on.
#[derive(Clone, Debug)]
pub struct Surface {
    /// Who decides.
    pub engine: Arc<Engine>,
    /// Who is known.
    pub callers: Arc<Registry>,
    /// Whether the server is ready.
    pub readiness: Readiness,
    /// Whose the descriptors are that gateways send.
    pub rules: Arc<ArcSwap<Rules>>,
}

/// Why the surface ended.
#[derive(Debug, thiserror::Error)]
pub enum SurfaceError {
    /// The threads that serve connections.
    #[error("gRPC: its threads cannot be started: {0}")]
    Lanes(#[from] std::io::Error),
    /// The description of the wire cannot be served.
    #[error("gRPC reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Serves what is accepted, on so many threads, until the server is about to end, and then until what is under way has been
/// answered.
pub async fn serve(
    surface: Surface,
    listening: Listening,
    tls: Option<Arc<Certificates>>,
    threads: NonZeroUsize,
) -> Result<(), SurfaceError> {
    let Surface { engine, callers, readiness, rules } = surface;
    let service = Service { engine, door: Door::new(callers), readiness: readiness.clone() };
    let quota = QuotaServiceServer::new(Quota(service.clone())).max_decoding_message_size(OPERATIONS_BYTES_MAX);
    let limiting = Limiting { service: service.clone(), rules };
    let gateways = RateLimitServiceServer::new(limiting.clone()).max_decoding_message_size(OPERATIONS_BYTES_MAX);
    let admin = AdminServiceServer::new(Admin(service.clone())).max_decoding_message_size(CONFIGURATION_BYTES_MAX);
    let (health, health_server) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let routes = Routes::new(health_server).add_service(reflection).add_service(quota).add_service(admin);
    let routes = routes.add_service(gateways);
    let ordinary = Ordinary::new(routes);
    let edge = || Edge::new(service.clone(), limiting.clone(), ordinary.clone());
    let lanes = listening.on_lanes(tls.as_ref(), Room::GRPC, threads, edge)?;
    let reporting = tokio::spawn(report(health, readiness.clone()));
    lanes.serve(readiness.stopping()).await;
    reporting.abort();
    Ok(())
}

/// The code that an error of the engine has.
pub fn code(error: &EngineError) -> tonic::Code {
    fault::Fault::engine(error, "").code()
}

/// Tells the standard health service of every change.
async fn report(health: HealthReporter, readiness: Readiness) {
    let mut phases = readiness.subscribe();
    loop {
        let status = match &*phases.borrow_and_update() {
            Phase::Serving => ServingStatus::Serving,
            Phase::Recovering | Phase::StoreDown(_) | Phase::Stopping => ServingStatus::NotServing,
        };
        for name in ["", QUOTA, ADMIN, RATE_LIMIT] {
            health.set_service_status(name, status).await;
        }
        if phases.changed().await.is_err() {
            return;
        }
    }
}
