//! HTTP: whether it lives, whether it is ready, and its metrics.
//!
//! `/healthz` and `/readyz` answer everybody, as probes have no credentials. `/metrics` and `/loglevel` are for callers: the
//! first names tenants, so it is for those who may see all of them; the second is for those who may administer all.

mod metrics;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::auth::{Caller, Peer, Registry};
use crate::config::Permission;
use crate::listen::http::Patience;
use crate::listen::{self, Accepting};
use crate::logs::Logs;
use crate::ready::Readiness;

pub use self::metrics::{Metrics, Shown};

/// Bytes of a request's body: a filter of logs is the largest.
const BODY_BYTES_MAX: usize = 4096;
/// Names under which a browser on this machine reaches the loopback interface. A page from elsewhere that resolves its own
/// name to this machine says that name.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// What the surface shows.
#[derive(Clone, Debug)]
pub struct Surface {
    /// Whether the server is ready.
    pub readiness: Readiness,
    /// Who is known.
    pub callers: Arc<Registry>,
    /// The level of the logs.
    pub logs: Logs,
    /// The metrics.
    pub metrics: Arc<Metrics>,
}

/// Serves what is accepted until the server is about to end, and then until what is under way has been answered.
pub async fn serve(surface: Surface, connections: Accepting) {
    let readiness = surface.readiness.clone();
    listen::http::serve(router(surface), connections, Patience::default(), readiness.stopping()).await;
}

/// The routes.
fn router(surface: Surface) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(show_metrics))
        .route("/loglevel", get(show_level).put(set_level))
        .fallback(|| async { (StatusCode::NOT_FOUND, "there are /healthz, /readyz, /metrics and /loglevel here\n") })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(surface)
}

async fn ready(State(surface): State<Surface>) -> Response {
    said_of(surface.readiness.why_not(), &surface.metrics.broken()).into_response()
}

/// What probes and people are told. A broken invariant is for people: a probe that failed on it would end a server that
/// answers.
fn said_of(why_not: Option<String>, broken: &[(&'static str, u64)]) -> (StatusCode, String) {
    let (status, mut text) = match why_not {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
    };
    for (invariant, count) in broken {
        let times = if *count == 1 { "once".to_owned() } else { format!("{count} times") };
        text.push_str(&format!("an invariant was found broken: {invariant}, {times}; the log says where\n"));
    }
    (status, text)
}

async fn show_metrics(
    State(surface): State<Surface>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    headers: HeaderMap,
    shown: Result<Query<Shown>, QueryRejection>,
) -> Response {
    if let Err(refusal) = allow(&surface, &peer, &headers, Permission::Check) {
        return refusal.into_response();
    }
    let shown = match shown {
        Ok(Query(shown)) => shown,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{}\n", error.body_text())).into_response(),
    };
    let metrics = surface.metrics.clone();
    // It reads whole trees: not among those who answer requests.
    match tokio::task::spawn_blocking(move || metrics.text(&shown)).await {
        Ok(Ok(text)) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Ok(Err(error)) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics could not be read");
            (StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be read\n").into_response()
        }
    }
}

async fn show_level(
    State(surface): State<Surface>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    headers: HeaderMap,
) -> Response {
    match allow(&surface, &peer, &headers, Permission::Admin) {
        Ok(_) => format!("{}\n", surface.logs.filter()).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn set_level(
    State(surface): State<Surface>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let caller = match allow(&surface, &peer, &headers, Permission::Admin) {
        Ok(caller) => caller,
        Err(refusal) => return refusal.into_response(),
    };
    let said = String::from_utf8_lossy(&body).trim().to_owned();
    match surface.logs.set(&said) {
        Ok(()) => {
            tracing::info!(caller = &**caller.name(), filter = said, "the level of the logs was changed");
            format!("{said}\n").into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}

/// Who calls, where they may do this for all tenants; else the status of the refusal, and why.
fn allow(
    surface: &Surface,
    peer: &Peer,
    headers: &HeaderMap,
    permission: Permission,
) -> Result<Arc<Caller>, (StatusCode, String)> {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let refuse = |status: StatusCode, why: &str| (status, format!("{why}\n"));
    let authorization = text(header::AUTHORIZATION);
    if authorization.is_none() && headers.contains_key(header::AUTHORIZATION) {
        return Err(refuse(StatusCode::UNAUTHORIZED, "the authorization is no text"));
    }
    if authorization.is_none() && peer.names().is_none() && !text(header::HOST).is_some_and(is_local) {
        let why = "without credentials this is told on this machine only, by the name localhost or an address";
        return Err(refuse(StatusCode::FORBIDDEN, why));
    }
    let caller = surface
        .callers
        .now()
        .identify(peer, authorization)
        .map_err(|error| refuse(StatusCode::UNAUTHORIZED, &error.to_string()))?;
    if caller.may(permission) && caller.sees_all() {
        Ok(caller)
    } else {
        Err(refuse(StatusCode::FORBIDDEN, "this is for callers who may see every tenant"))
    }
}

fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    LOCAL_NAMES.contains(&name)
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::{is_local, said_of};

    #[test]
    fn a_broken_invariant_is_told_and_is_ready_all_the_same() {
        assert_eq!(said_of(None, &[]), (StatusCode::OK, "ready\n".to_owned()));
        let (status, text) = said_of(None, &[("conservation", 1), ("durability", 3)]);
        assert_eq!(status, StatusCode::OK);
        assert_eq!(
            text,
            "ready\nan invariant was found broken: conservation, once; the log says where\n\
             an invariant was found broken: durability, 3 times; the log says where\n"
        );
        let (status, text) = said_of(Some("disk full".to_owned()), &[]);
        assert_eq!((status, text.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "not ready: disk full\n"));
    }

    #[test]
    fn only_this_machines_own_names_are_local() {
        for local in ["localhost", "localhost:7080", "127.0.0.1:7080", "[::1]:7080", "[::1]"] {
            assert!(is_local(local), "{local}");
        }
        for other in ["evil.example:7080", "localhost.evil.example", "127.0.0.1.evil.example:80", "", ":7080"] {
            assert!(!is_local(other), "{other}");
        }
    }
}
