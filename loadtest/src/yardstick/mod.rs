//! A server that does nothing: it reads what it is asked, and allows it. What a server can reach at all on a machine, and
//! so what `compare` measures others by.
//!
//! It is built in one of two ways. Bare HTTP/2, a thread with a runtime of its own for each core, and connections handed
//! out to them in turn, as the kernel may put all of few on one: that is the least that a call costs. And as services are
//! ordinarily written.

mod review;
mod tonic;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::TcpSocket;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::calls::{ACQUIRE, CHECK, RATE_LIMIT, STREAM};
use crate::fault::Fault;
use crate::wire::message::{Field, Fields, bytes, number};

/// Calls of one connection at once, and bytes on the way: as Headgate's own.
const CALLS_PER_CONNECTION_MAX: u32 = 4_096;
const CALL_WINDOW_BYTES: u32 = 2 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// Connections that wait to be accepted: a herd that comes at once is not turned away by the kernel.
const BACKLOG: u32 = 4_096;
/// What gRPC puts before a message.
const PREFIX_BYTES: usize = 5;

/// Leases are numbered, so that no two have the same id.
static LEASES: AtomicU64 = AtomicU64::new(0);

/// How it is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Built {
    /// On bare HTTP/2, with a runtime for each thread
    H2,
    /// With tonic, on one runtime of all threads
    Tonic,
}

/// A server that serves.
#[derive(Debug)]
pub(crate) struct Yardstick {
    address: SocketAddr,
    accepting: std::thread::JoinHandle<io::Error>,
}

impl Yardstick {
    /// Listens, with so many threads.
    pub(crate) fn start(listen: SocketAddr, threads: usize, built: Built) -> Result<Self, Fault> {
        let refuse = |error: io::Error| Fault::Failed(format!("the yardstick cannot listen on {listen}: {error}"));
        let listener = listening(listen).map_err(refuse)?;
        let address = listener.local_addr().map_err(refuse)?;
        if built == Built::Tonic {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            let runtime = runtime.worker_threads(threads).enable_all().build().map_err(refuse)?;
            let accepting = std::thread::Builder::new().name("accept".to_owned());
            let accepting = accepting.spawn(move || runtime.block_on(tonic::serve(listener))).map_err(refuse)?;
            return Ok(Self { address, accepting });
        }
        let mut servers = Vec::new();
        for at in 0..threads {
            let (sender, connections) = unbounded_channel();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(refuse)?;
            let serving = move || runtime.block_on(serve(connections));
            std::thread::Builder::new().name(format!("yardstick-{at}")).spawn(serving).map_err(refuse)?;
            servers.push(sender);
        }
        let accepting =
            std::thread::Builder::new().name("accept".to_owned()).spawn(move || accept(&listener, &servers));
        Ok(Self { address, accepting: accepting.map_err(refuse)? })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until it cannot any more.
    pub(crate) fn wait(self) -> Result<(), Fault> {
        let why = self.accepting.join().map_or_else(|_| "its thread panicked".to_owned(), |error| error.to_string());
        Err(Fault::Failed(format!("the yardstick takes no more connections: {why}")))
    }
}

/// A listener that blocks, with room for a herd.
fn listening(address: SocketAddr) -> io::Result<TcpListener> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = runtime.block_on(async {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)?.into_std()
    })?;
    listener.set_nonblocking(false)?;
    Ok(listener)
}

fn accept(listener: &TcpListener, servers: &[UnboundedSender<std::net::TcpStream>]) -> io::Error {
    for at in 0.. {
        let accepted = listener.accept().and_then(|(stream, _)| {
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        });
        match accepted {
            // Its server ends with the process alone.
            Ok(stream) => drop(servers[at % servers.len()].send(stream)),
            // That caller is gone already.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => return error,
        }
    }
    unreachable!("there are more numbers than connections")
}

async fn serve(mut connections: UnboundedReceiver<std::net::TcpStream>) {
    while let Some(stream) = connections.recv().await {
        if let Ok(stream) = tokio::net::TcpStream::from_std(stream) {
            tokio::spawn(connection(stream));
        }
    }
}

async fn connection(stream: tokio::net::TcpStream) -> Result<(), h2::Error> {
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(CALLS_PER_CONNECTION_MAX)
        .initial_window_size(CALL_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    let mut connection = builder.handshake(stream).await?;
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted?;
        tokio::spawn(answer(request, respond));
    }
    Ok(())
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
    let (head, mut body) = request.into_parts();
    if head.headers.get("content-type").is_some_and(|kind| kind == "application/json") {
        return review::answer(body, respond).await;
    }
    let mut response = Response::new(());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    let path = head.uri.path();
    if path == STREAM {
        let send = respond.send_response(response, false)?;
        return answer_stream(body, send).await;
    }
    while let Some(chunk) = body.data().await {
        let length = chunk?.len();
        body.flow_control().release_capacity(length)?;
    }
    let mut message = vec![0; PREFIX_BYTES];
    write_answer(path, &mut message);
    let mut send = respond.send_response(response, false)?;
    send.send_data(framed(message), false)?;
    send.send_trailers(done())
}

/// Answers every operation as soon as its message is there.
async fn answer_stream(mut body: RecvStream, mut send: h2::SendStream<Bytes>) -> Result<(), h2::Error> {
    let mut waiting = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        waiting.extend_from_slice(&chunk);
        let mut used = 0;
        while let Some(whole) = whole_message(&waiting[used..]) {
            let mut message = vec![0; PREFIX_BYTES];
            write_results(&waiting[used + PREFIX_BYTES..used + whole], &mut message);
            send.send_data(framed(message), false)?;
            used += whole;
        }
        waiting.drain(..used);
    }
    send.send_trailers(done())
}

/// The bytes of the message that these begin with, its prefix included, where it is whole.
fn whole_message(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_be_bytes(*bytes.get(1..PREFIX_BYTES)?.first_chunk()?) as usize + PREFIX_BYTES;
    (bytes.len() >= length).then_some(length)
}

fn framed(mut message: Vec<u8>) -> Bytes {
    let length = (message.len() - PREFIX_BYTES) as u32;
    message[1..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
    message.into()
}

fn done() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers
}

fn write_answer(path: &str, out: &mut Vec<u8>) {
    match path {
        CHECK => bytes(1, &[1 << 3, 1], out),
        ACQUIRE => write_lease(out),
        RATE_LIMIT => number(1, 1, out),
        // Of all else an empty message says that it was done.
        _ => {}
    }
}

fn next_lease() -> String {
    format!("yard-{}", LEASES.fetch_add(1, Relaxed) + 1)
}

/// An allowed acquire, with a lease of its own.
fn write_lease(out: &mut Vec<u8>) {
    let id = next_lease();
    let mut answer = vec![1 << 3, 1];
    bytes(2, id.as_bytes(), &mut answer);
    bytes(1, &answer, out);
}

/// One result for each operation: of the same kind, and allowed.
fn write_results(message: &[u8], out: &mut Vec<u8>) {
    let operations = Fields(message).filter_map(|(_, value)| match value {
        Field::Bytes(operation) => Some(operation),
        Field::Number(_) | Field::Fixed => None,
    });
    for operation in operations {
        let mut result = Vec::with_capacity(48);
        for (field, value) in Fields(operation) {
            match (field, value) {
                (1, Field::Number(tag)) => number(1, tag, &mut result),
                // The results have the order of the operations, one further on.
                (kind, Field::Bytes(_)) => {
                    let mut answer = Vec::with_capacity(32);
                    match kind {
                        2 => write_lease(&mut answer),
                        3 => bytes(1, &[1 << 3, 1], &mut answer),
                        _ => {}
                    }
                    bytes(kind as u8 + 1, &answer, &mut result);
                }
                (_, Field::Number(_) | Field::Fixed) => {}
            }
        }
        bytes(1, &result, out);
    }
}
