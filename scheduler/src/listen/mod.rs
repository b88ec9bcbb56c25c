//! Where callers come in: sockets, TLS and the certificates that are shown on them.
//!
//! A [`Listening`] socket is bound before anything is served, so that an address that cannot be had is told before the
//! start. What it accepts is a [`Connection`], plain or over TLS, which knows its [`Peer`](crate::auth::Peer). They are had
//! one after the other ([`Accepting`]), or are handed out to threads that serve them ([`lanes`]).

mod certificates;
mod connection;
pub mod http;
pub mod lanes;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;

pub use self::certificates::{Certificates, Read, TlsError, install_crypto};
pub use self::connection::{Connection, Heard};

/// What a surface grants those who connect.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Connections at once: more wait with the system.
    pub connections_max: usize,
    /// Bytes with which every caller begins, after any TLS; 0 where the surface waits for its callers itself.
    pub opening_bytes: usize,
    /// How long these may take.
    pub opening_within: Duration,
}

impl Room {
    /// Each connection takes a descriptor, of which a process often has no more. HTTP/2 begins with a preface, for which the
    /// library waits for ever; from then on it asks whether callers live.
    pub const GRPC: Self = Self { connections_max: 16_384, opening_bytes: 24, opening_within: HANDSHAKE_MAX };
    /// Probes, scrapers and people who look.
    pub const HTTP: Self = Self { connections_max: 1_024, opening_bytes: 0, opening_within: HANDSHAKE_MAX };
}

/// How long a TLS handshake may take.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Connections that were accepted and are not served yet.
const ACCEPTED_MAX: usize = 64;
/// Connections that the system keeps until they are accepted: a fleet that reconnects at once finds room. The system may
/// keep fewer (net.core.somaxconn).
const BACKLOG: u32 = 4_096;
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

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A server that comes back finds connections of its forerunner that have not faded yet.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
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
        let listener = listen(address).map_err(refuse)?;
        let address = listener.local_addr().map_err(refuse)?;
        Ok(Self { surface, listener, address })
    }

    /// Where it listens; the port is the real one where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to accept, over TLS where there are certificates. Dropping what is returned ends it.
    pub fn accept(self, tls: Option<Arc<Certificates>>, room: Room) -> Accepting {
        let (accepted, connections) = mpsc::channel(ACCEPTED_MAX);
        tokio::spawn(accept(self.arriving(room), tls, accepted));
        Accepting { connections }
    }

    fn arriving(self, room: Room) -> Arriving {
        let Self { surface, listener, address: _ } = self;
        Arriving { surface, listener, places: Arc::new(Semaphore::new(room.connections_max)), room }
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

async fn accept(mut arriving: Arriving, tls: Option<Arc<Certificates>>, accepted: mpsc::Sender<Connection>) {
    loop {
        let arrived = tokio::select! {
            arrived = arriving.next() => arrived,
            () = accepted.closed() => return,
        };
        let (tls, accepted) = (tls.clone(), accepted.clone());
        tokio::spawn(async move {
            if let Some(connection) = arrived.welcome(tls).await {
                // Where nobody takes it any more, the server is about to end.
                let _ = accepted.send(connection).await;
            }
        });
    }
}

/// What a socket accepts, each with its place among those that may be open at once.
#[derive(Debug)]
struct Arriving {
    surface: &'static str,
    listener: TcpListener,
    places: Arc<Semaphore>,
    room: Room,
}

impl Arriving {
    /// The next, as soon as there is a place for it.
    async fn next(&mut self) -> Arrived {
        let Self { surface, listener, places, room } = self;
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return std::future::pending().await };
            match listener.accept().await {
                Ok((stream, address)) => return Arrived { surface, stream, address, place, room: *room },
                Err(error) => {
                    tracing::warn!(surface, %error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// A connection that was accepted, before anything was said on it.
#[derive(Debug)]
struct Arrived {
    surface: &'static str,
    stream: TcpStream,
    address: SocketAddr,
    place: OwnedSemaphorePermit,
    room: Room,
}

impl Arrived {
    /// Shakes hands, where there is TLS; none where that fails.
    async fn welcome(self, tls: Option<Arc<Certificates>>) -> Option<Connection> {
        let Self { surface, stream, address, place, room } = self;
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
                    Ok(Err(error)) => {
                        tracing::debug!(surface, %address, %error, "a TLS handshake failed");
                        return None;
                    }
                    Err(_) => {
                        tracing::debug!(surface, %address, "a TLS handshake took too long");
                        return None;
                    }
                }
            }
        };
        Some(connection.opened_by(room.opening_bytes, room.opening_within))
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::SocketAddr;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio_stream::StreamExt as _;

    use super::{Listening, Room};

    /// What is read of a caller who says this, and whether it was waited for in vain.
    async fn heard(said: &str, hangs_up: bool, opening_within: Duration) -> (String, Option<ErrorKind>) {
        let listening = Listening::bind("test", SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a port");
        let address = listening.address();
        let mut accepting = listening.accept(None, Room { opening_within, ..Room::GRPC });
        let mut caller = TcpStream::connect(address).await.expect("connected");
        caller.write_all(said.as_bytes()).await.expect("written");
        if hangs_up {
            caller.shutdown().await.expect("ended");
        }
        let mut connection = accepting.next().await.expect("a connection").expect("accepted");
        let mut text = String::new();
        let read = connection.read_to_string(&mut text).await;
        (text, read.err().map(|error| error.kind()))
    }

    #[tokio::test]
    async fn who_does_not_begin_is_let_go() {
        const SHORT: Duration = Duration::from_millis(20);
        for little in ["", "PRI * HTTP/2.0"] {
            assert_eq!(heard(little, false, SHORT).await.1, Some(ErrorKind::TimedOut), "{little}");
        }
        let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        assert_eq!(heard(preface, true, Duration::from_secs(86_400)).await, (preface.to_owned(), None));
    }
}
