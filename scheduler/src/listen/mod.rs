//! Where callers come in: sockets, TLS and the certificates that are shown on them.
//!
//! A [`Listening`] socket is bound before anything is served, so that an address that cannot be had is told before the
//! start. What it accepts is a [`Connection`], plain or over TLS, which knows its [`Peer`](crate::auth::Peer).

mod certificates;
mod connection;
pub mod http;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;

pub use self::certificates::{Certificates, Read, TlsError, install_crypto};
pub use self::connection::Connection;

/// gRPC's connections at once: each takes a descriptor, of which a process often has no more.
pub const GRPC_CONNECTIONS_MAX: usize = 16_384;
/// HTTP's connections at once: probes, scrapers and people who look.
pub const HTTP_CONNECTIONS_MAX: usize = 1_024;
/// How long a TLS handshake may take.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Connections that were accepted and are not served yet.
const ACCEPTED_MAX: usize = 64;
/// How long nothing is accepted after the system refused.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why a surface does not listen.
#[derive(Debug, thiserror::Error)]
#[error("{surface} cannot listen on {address}: {source}{}", advice(source, *address))]
pub struct ListenError {
    /// Which surface.
    pub surface: &'static str,
    /// Where it was to listen.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

fn advice(error: &io::Error, address: SocketAddr) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "; another process listens there (ss -ltnp 'sport = :{}' shows which): stop it, or choose another port under \
             listen in the configuration",
            address.port()
        ),
        io::ErrorKind::AddrNotAvailable => {
            "; this machine has no such address: choose one of its own under listen in the configuration".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need a privilege: choose a higher one under listen in the configuration".to_owned()
        }
        _ => String::new(),
    }
}

/// A socket that listens.
#[derive(Debug)]
pub struct Listening {
    surface: &'static str,
    listener: TcpListener,
    address: SocketAddr,
}

impl Listening {
    /// Binds an address for a surface.
    pub async fn bind(surface: &'static str, address: SocketAddr) -> Result<Self, ListenError> {
        let refuse = |source| ListenError { surface, address, source };
        let listener = TcpListener::bind(address).await.map_err(refuse)?;
        let address = listener.local_addr().map_err(refuse)?;
        Ok(Self { surface, listener, address })
    }

    /// Where it listens; the port is the real one where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to accept, over TLS where there are certificates, so many connections at once: more wait with the system.
    /// Dropping what is returned ends it.
    pub fn accept(self, tls: Option<Arc<Certificates>>, connections_max: usize) -> Accepting {
        let Self { surface, listener, address: _ } = self;
        let (accepted, connections) = mpsc::channel(ACCEPTED_MAX);
        tokio::spawn(accept(surface, listener, tls, accepted, connections_max));
        Accepting { connections }
    }
}

/// Connections as they come in.
#[derive(Debug)]
pub struct Accepting {
    connections: mpsc::Receiver<Connection>,
}

impl tokio_stream::Stream for Accepting {
    type Item = io::Result<Connection>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.connections.poll_recv(context).map(|connection| connection.map(Ok))
    }
}

async fn accept(
    surface: &'static str,
    listener: TcpListener,
    tls: Option<Arc<Certificates>>,
    accepted: mpsc::Sender<Connection>,
    connections_max: usize,
) {
    let room = Arc::new(Semaphore::new(connections_max));
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { return };
        let stream = tokio::select! {
            stream = listener.accept() => stream,
            () = accepted.closed() => return,
        };
        match stream {
            Ok((stream, address)) => {
                tokio::spawn(welcome(surface, stream, address, tls.clone(), accepted.clone(), place));
            }
            Err(error) => {
                tracing::warn!(surface, %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Shakes hands, where there is TLS, and hands the connection on.
async fn welcome(
    surface: &'static str,
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<Arc<Certificates>>,
    accepted: mpsc::Sender<Connection>,
    place: OwnedSemaphorePermit,
) {
    // Answers are small, and each is waited for.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(surface, %address, %error, "a connection keeps its delay");
    }
    let connection = match tls {
        None => Connection::plain(stream, address, place),
        Some(certificates) => {
            let handshake = TlsAcceptor::from(certificates.now()).accept(stream);
            match tokio::time::timeout(HANDSHAKE_MAX, handshake).await {
                Ok(Ok(stream)) => Connection::tls(stream, address, place),
                Ok(Err(error)) => return tracing::debug!(surface, %address, %error, "a TLS handshake failed"),
                Err(_) => return tracing::debug!(surface, %address, "a TLS handshake took too long"),
            }
        }
    };
    // Where nobody takes it any more, the server is about to end.
    let _ = accepted.send(connection).await;
}
