//! What a generator asks on: a connection to a server, or a caller of an engine in this process.

use std::os::fd::{AsFd, BorrowedFd};

use super::Clock;
use super::link::{Dial, Link, Lost};
use super::work::{Heard, Work};
use super::worker::said;
use crate::embedded::Desk;
use crate::target::Protocol;

/// What a generator asks on.
#[derive(Debug)]
pub(crate) enum Line {
    Wire(Box<Link>),
    Embedded(Box<Desk>),
}

impl Line {
    /// Opens one, for so many operations at once.
    pub(crate) fn open(dial: &Dial, room_max: usize) -> Result<Self, String> {
        match &dial.embedded {
            Some(embedded) => Ok(Self::Embedded(Box::new(Desk::new(embedded, room_max)?))),
            None => Ok(Self::Wire(Box::new(Link::open(dial, room_max)?))),
        }
    }

    /// Operations that may be sent now.
    pub(crate) fn room(&self) -> usize {
        match self {
            Self::Wire(link) => link.room(),
            Self::Embedded(desk) => desk.room(),
        }
    }

    pub(crate) fn room_max(&self) -> usize {
        match self {
            Self::Wire(link) => link.room_max,
            Self::Embedded(desk) => desk.room_max,
        }
    }

    /// Whether it is to be replaced by another now.
    pub(crate) fn is_over(&self) -> bool {
        match self {
            Self::Wire(link) => link.is_over(),
            Self::Embedded(_) => false,
        }
    }

    /// Asks what is to be asked by now, up to `batch` at once where several go together. False: nothing is.
    pub(crate) fn issue(&mut self, work: &mut Work, batch: usize, now: u64) -> bool {
        match self {
            Self::Wire(link) => match work.protocol() {
                Protocol::Stream => issue_message(link, work, batch, now),
                Protocol::Quota | Protocol::RateLimit | Protocol::Review | Protocol::Embedded => {
                    let Some(token) = work.next(now) else { return false };
                    link.call(work.kind(token), token, |out| work.write(token, out));
                    true
                }
            },
            Self::Embedded(desk) => {
                let mut tokens = Vec::with_capacity(batch);
                while tokens.len() < batch
                    && let Some(token) = work.next(now)
                {
                    tokens.push(token);
                }
                if tokens.is_empty() {
                    return false;
                }
                let operations = tokens.iter().map(|token| work.operation(*token)).collect();
                desk.ask(tokens, operations);
                true
            }
        }
    }

    /// Whether there is something to hear that needs no waiting for.
    pub(crate) fn has_news(&self) -> bool {
        match self {
            Self::Wire(_) => false,
            Self::Embedded(desk) => desk.has_news(),
        }
    }

    /// Takes in what came.
    pub(crate) fn receive(&mut self, work: &mut Work, clock: Clock, buffer: &mut [u8]) -> Result<(), Gone> {
        match self {
            Self::Wire(link) => receive(link, work, clock, buffer),
            Self::Embedded(desk) => {
                while let Some((tokens, decided)) = desk.hear() {
                    let now = clock.now();
                    for (token, done) in tokens.into_iter().zip(&decided) {
                        work.decided(token, done, now);
                    }
                }
                Ok(())
            }
        }
    }

    /// The time that was spent in an engine of our own, in nanoseconds.
    pub(crate) fn spent_ns(&self) -> u64 {
        match self {
            Self::Wire(_) => 0,
            Self::Embedded(desk) => desk.spent_ns,
        }
    }
}

/// Why nothing more can be asked on it.
pub(crate) enum Gone {
    Lost(Lost),
    /// The server ended the stream of operations.
    Over(String),
}

/// Sends one message of as many operations as are to begin, up to what a message may have.
fn issue_message(link: &mut Link, work: &mut Work, batch: usize, now: u64) -> bool {
    let first = link.fifo.len();
    while link.fifo.len() - first < batch
        && let Some(token) = work.next(now)
    {
        link.fifo.push_back(token);
    }
    if link.fifo.len() == first {
        return false;
    }
    let tokens: Vec<u32> = link.fifo.range(first..).copied().collect();
    link.operations(|out| tokens.iter().for_each(|token| work.write_operation(*token, out)));
    true
}

fn receive(link: &mut Link, work: &mut Work, clock: Clock, buffer: &mut [u8]) -> Result<(), Gone> {
    loop {
        let Some(bytes) = link.read(buffer).map_err(Gone::Lost)? else { return Ok(()) };
        let mut heard = Heard { work: &mut *work, fifo: &mut link.fifo, now: clock.now(), over: None };
        let received = link.http2.receive(&buffer[..bytes], &mut heard);
        let over = heard.over.take();
        received.map_err(|broken| Gone::Lost(Lost::Broken(broken)))?;
        if let Some(end) = over {
            return Err(Gone::Over(said(&end)));
        }
        if !link.buffers && bytes < buffer.len() {
            return Ok(());
        }
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Wire(link) => link.as_fd(),
            Self::Embedded(desk) => desk.as_fd(),
        }
    }
}
