//! One connection: a socket, and HTTP/2 on it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::unreachable::{closed_early, expected, is_closed, plain, scheme, unreachable};
use crate::calls::{Kind, STREAM};
use crate::embedded::Embedded;
use crate::target::{Protocol, Target};
use crate::wire::hpack::{Content, Encoder};
use crate::wire::http2::{Answers, Broken, End, Http2};
use crate::wire::socket::Socket;

/// The token of a stream of operations, which is no operation's own.
pub(crate) const STREAM_TOKEN: u32 = u32::MAX;
/// Bytes that a server has not taken yet, after which nothing more is sent to it.
const UNTAKEN_BYTES_MAX: usize = 1 << 20;

/// What it takes to connect.
#[derive(Clone, Debug)]
pub(crate) struct Dial {
    pub(crate) target: Target,
    /// The engine, where it is one of our own.
    pub(crate) embedded: Option<Arc<Embedded>>,
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
    /// What is said in `authorization`.
    pub(crate) authorization: Option<String>,
    /// How long a server may say nothing while it is waited for.
    pub(crate) patience: Duration,
    /// Calls after which a connection is replaced by another.
    pub(crate) calls_max: u32,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Link {
    socket: Socket,
    pub(crate) http2: Http2,
    /// The numbers of the paths of the calls, by kind; and of the stream's.
    paths: [usize; Kind::ALL.len() + 1],
    /// Operations that may be under way at once.
    pub(crate) room_max: usize,
    /// The stream of operations, where one is open.
    pub(crate) stream: Option<u32>,
    /// Operations on the stream that are not answered yet, in order.
    pub(crate) fifo: VecDeque<u32>,
    /// Whether the socket takes nothing more just now.
    pub(crate) blocked: bool,
    /// Whether it is waited for that the socket takes more.
    pub(crate) awaited: bool,
    /// Whether more may have been read from the socket than was asked for.
    pub(crate) buffers: bool,
    calls_max: u32,
}

impl Link {
    /// Connects, and waits until the server has said that it speaks HTTP/2.
    pub(crate) fn open(dial: &Dial, room_max: usize) -> Result<Self, String> {
        let Dial { target, embedded: _, tls, authorization, patience, calls_max } = dial;
        let url = target.url();
        let socket = Socket::connect(&target.host, target.port, tls.as_ref(), *patience)
            .map_err(|error| unreachable(target, &error, *patience))?;
        let content = if target.protocol == Protocol::Review { Content::Json } else { Content::Grpc };
        let mut encoder = Encoder::new(target.tls, &target.authority(), authorization.as_deref(), content);
        let paths = std::array::from_fn(|at| {
            encoder.path(Kind::ALL.get(at).map_or(STREAM, |kind| kind.path().unwrap_or(&target.path)))
        });
        let http2 = Http2::new(encoder, content);
        let mut link = Self {
            socket,
            http2,
            paths,
            room_max,
            stream: None,
            fifo: VecDeque::new(),
            blocked: false,
            awaited: false,
            buffers: target.tls,
            calls_max: *calls_max,
        };
        link.wait_until(Instant::now() + *patience, &mut Deaf, |link, _| link.http2.is_agreed()).map_err(|why| {
            match why {
                Lost::Silent => format!(
                    "{url} takes connections, but has said nothing in {} s: is it {}, and is it alive?",
                    patience.as_secs_f64(),
                    expected(target)
                ),
                Lost::Closed => closed_early(target),
                Lost::Io(error) => unreachable(target, &error, *patience),
                Lost::Broken(broken) => {
                    format!("{url} {broken}: is it {}, and is {} right?", expected(target), scheme(target))
                }
            }
        })?;
        Ok(link)
    }

    /// Operations that may be sent now.
    pub(crate) fn room(&self) -> usize {
        if self.http2.out.len() > UNTAKEN_BYTES_MAX || self.is_used_up() {
            return 0;
        }
        let under_way = if self.stream.is_some() { self.fifo.len() } else { self.http2.open() };
        self.room_max.saturating_sub(under_way)
    }

    /// Whether it has made all the calls that a connection makes.
    fn is_used_up(&self) -> bool {
        self.stream.is_none() && self.http2.is_used_up(self.calls_max)
    }

    /// Whether it is to be replaced by another now.
    pub(crate) fn is_over(&self) -> bool {
        self.is_used_up() && self.http2.open() == 0
    }

    /// Sends one operation as a call of its own.
    pub(crate) fn call(&mut self, kind: Kind, token: u32, write: impl FnOnce(&mut Vec<u8>)) {
        self.http2.call(self.paths[kind as usize], token, true, write);
    }

    /// Sends one message of operations.
    pub(crate) fn operations(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let path = self.paths[Kind::ALL.len()];
        let stream = *self.stream.get_or_insert_with(|| self.http2.begin(path, STREAM_TOKEN));
        self.http2.message(stream, false, write);
    }

    /// Writes what is to be written, as far as the socket takes it.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if !self.http2.out.is_empty() {
            self.blocked = !self.socket.write(&mut self.http2.out)?;
        }
        Ok(())
    }

    /// Reads once. The number of bytes; none: there is nothing to be read now.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Lost> {
        loop {
            return match self.socket.read(buffer) {
                Ok(0) => Err(Lost::Closed),
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(Lost::of(error)),
            };
        }
    }

    /// Does nothing but this connection's own work until `done`, or the time is over.
    pub(crate) fn wait_until<A: Answers>(
        &mut self,
        deadline: Instant,
        answers: &mut A,
        done: impl Fn(&Self, &A) -> bool,
    ) -> Result<(), Lost> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            self.flush().map_err(Lost::of)?;
            if done(self, answers) {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Lost::Silent);
            }
            let wanted = if self.blocked { PollFlags::POLLIN | PollFlags::POLLOUT } else { PollFlags::POLLIN };
            let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.socket.as_fd(), wanted)], timeout) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(Lost::Io(error.into())),
            }
            while let Some(bytes) = self.read(&mut buffer)? {
                self.http2.receive(&buffer[..bytes], answers).map_err(Lost::Broken)?;
            }
        }
    }

    /// Makes one call, and waits for its answer: the message, or why there is none.
    pub(crate) fn ask(
        &mut self,
        path: &str,
        deadline: Instant,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Asked, Lost> {
        let path = self.http2.path(path);
        self.http2.call(path, 0, true, write);
        let mut asked = Asked::default();
        self.wait_until(deadline, &mut asked, |_, asked| asked.end.is_some())?;
        Ok(asked)
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What came of one call.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) message: Vec<u8>,
    pub(crate) end: Option<End>,
}

impl Answers for Asked {
    fn message(&mut self, _: u32, message: &[u8]) {
        self.message = message.to_vec();
    }

    fn ended(&mut self, _: u32, end: End) {
        self.end = Some(end);
    }
}

/// Hears nothing: before anything was asked.
struct Deaf;

impl Answers for Deaf {
    fn message(&mut self, _: u32, _: &[u8]) {}

    fn ended(&mut self, _: u32, _: End) {}
}

/// Why a connection is no more.
#[derive(Debug)]
pub(crate) enum Lost {
    /// Nothing came in time.
    Silent,
    /// The server closed it.
    Closed,
    /// The system says so.
    Io(io::Error),
    /// The server breaks the rules, or said that it ends.
    Broken(Broken),
}

impl Lost {
    /// What a socket says.
    pub(crate) fn of(error: io::Error) -> Self {
        if is_closed(&error) { Self::Closed } else { Self::Io(error) }
    }

    /// In a sentence about a server, and what was waited for when it was lost.
    pub(crate) fn said(&self, url: &str, when: &str, patience: Duration) -> String {
        match self {
            Self::Silent => format!(
                "{url} speaks HTTP/2, but has not answered for {} s when {when}: is it overloaded, or another server than is \
                 meant?",
                patience.as_secs_f64()
            ),
            Self::Closed | Self::Io(_) | Self::Broken(_) => format!("{url} {self} when {when}"),
        }
    }
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Silent => f.write_str("does not answer"),
            Self::Closed => f.write_str("closed the connection"),
            Self::Io(error) => write!(f, "lost the connection ({})", plain(error)),
            Self::Broken(broken) => broken.fmt(f),
        }
    }
}

/// How many connections, and operations on each, the words of a command line come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Load {
    pub(crate) connections: usize,
    pub(crate) in_flight: usize,
    /// Operations of one message of a stream.
    pub(crate) batch: usize,
}

/// What is said of that on a command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LoadAsked {
    pub(crate) connections: Option<usize>,
    pub(crate) in_flight: Option<usize>,
    pub(crate) batch: Option<usize>,
    /// Threads that generate.
    pub(crate) generators: usize,
}

/// Connections to a server, where nothing is said.
const CONNECTIONS: usize = 4;
/// Operations under way at once on a server, where nothing is said.
const IN_FLIGHT: usize = 256;

impl Load {
    /// What a target says of itself counts, then what was asked for, then what serves best: a server is kept busy, and of
    /// an engine of our own each thread is one caller that waits for its answer.
    pub(crate) fn of(asked: LoadAsked, target: &Target) -> Result<Self, String> {
        let batches = match target.protocol {
            Protocol::Stream | Protocol::Embedded => true,
            Protocol::Quota | Protocol::RateLimit | Protocol::Review => false,
        };
        let batch = if batches { target.batch.or(asked.batch).unwrap_or(1) } else { 1 };
        let embedded = target.protocol == Protocol::Embedded;
        let connections = if embedded { asked.generators } else { CONNECTIONS };
        let connections = target.connections.or(asked.connections).unwrap_or(connections);
        let in_flight = if embedded { connections * batch } else { IN_FLIGHT };
        let in_flight = target.in_flight.or(asked.in_flight).unwrap_or(in_flight);
        if in_flight < connections {
            return Err(format!(
                "{in_flight} in flight is less than one on each of {connections} connections: say --in-flight {connections}, \
                 or fewer --connections"
            ));
        }
        if batch > headgate_proto::limits::OPERATIONS_MAX {
            return Err(format!(
                "a message of a stream has at most {} operations, not {batch}",
                headgate_proto::limits::OPERATIONS_MAX
            ));
        }
        if in_flight / connections < batch {
            return Err(format!(
                "{in_flight} in flight over {connections} connections is less than one message of {batch} operations on each: \
                 say --in-flight {}, or a smaller --batch",
                connections * batch
            ));
        }
        Ok(Self { connections, in_flight, batch })
    }

    /// The operations that are under way at once on connection `at`.
    pub(crate) fn room(self, at: usize) -> usize {
        self.in_flight * (at + 1) / self.connections - self.in_flight * at / self.connections
    }
}
