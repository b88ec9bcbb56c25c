//! One connection, plain or over TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;

use crate::auth::Peer;

/// A connection that was accepted; it knows its peer.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    peer: Peer,
    /// What it has to say first, until it has.
    opening: Option<Opening>,
    heard: Heard,
    /// Its place among those that may be open at once.
    _place: OwnedSemaphorePermit,
}

/// So many bytes must come by then, or the connection is ended.
#[derive(Debug)]
struct Opening {
    missing: usize,
    until: Pin<Box<Sleep>>,
}

/// Tells whether anything has come on a connection.
#[derive(Clone, Debug, Default)]
pub struct Heard(Arc<AtomicU64>);

impl Heard {
    /// A number that differs from what it was before where something has come since.
    pub fn mark(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    pub(super) fn plain(stream: TcpStream, address: SocketAddr, place: OwnedSemaphorePermit) -> Self {
        Self::new(Stream::Plain(stream), Peer::plain(Some(address)), place)
    }

    pub(super) fn tls(stream: TlsStream<TcpStream>, address: SocketAddr, place: OwnedSemaphorePermit) -> Self {
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let peer = match certificate {
            Some(certificate) => Peer::certified(Some(address), certificate),
            None => Peer::plain(Some(address)),
        };
        Self::new(Stream::Tls(Box::new(stream)), peer, place)
    }

    fn new(stream: Stream, peer: Peer, place: OwnedSemaphorePermit) -> Self {
        Self { stream, peer, opening: None, heard: Heard::default(), _place: place }
    }

    /// The same, which is ended where so many bytes have not come within this time.
    pub(super) fn opened_by(self, bytes: usize, within: Duration) -> Self {
        let until = Box::pin(tokio::time::sleep(within));
        Self { opening: (bytes > 0).then_some(Opening { missing: bytes, until }), ..self }
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Whether anything comes on it, for those who have given the connection away.
    pub fn heard(&self) -> Heard {
        self.heard.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let polled = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        let came = buffer.filled().len() - before;
        if came > 0 {
            this.heard.0.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(opening) = &mut this.opening {
            opening.missing = opening.missing.saturating_sub(came);
            if opening.missing == 0 {
                this.opening = None;
            } else if polled.is_pending() && opening.until.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        polled
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
