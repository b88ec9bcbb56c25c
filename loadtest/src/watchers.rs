//! Watchers beside a load: many streams that are told of everything, and how late they are told.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use serde::{Deserialize, Serialize};

use crate::drive::link::{Dial, Link};
use crate::drive::said;
use crate::fault::Fault;
use crate::outcome::figures::Latency;
use crate::scenario::OWN;
use crate::tally::histogram;
use crate::wire::http2::{Answers, End};
use crate::wire::message::{Field, Fields, bytes};

const WATCH: &str = "/headgate.v1.QuotaService/Watch";
/// Watchers of one connection: fewer than any server refuses.
const OF_CONNECTION: usize = 1000;
/// How long the present state of all of them may take to come.
const PRESENT_MAX: Duration = Duration::from_secs(120);

/// What the watchers saw.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Watched {
    pub(crate) watchers: usize,
    /// From the first call until all had been told the present state, in seconds.
    pub(crate) present_s: f64,
    /// Events that were told, to all watchers together.
    pub(crate) events: u64,
    /// From when something happened, by the server's clock, until it was read, by this machine's.
    pub(crate) delay: Latency,
    /// Watches that the server ended, as when they did not keep up.
    pub(crate) cut_off: u64,
    /// Responses whose sequence number ran back.
    pub(crate) out_of_order: u64,
}

/// Watchers that watch.
pub(crate) struct Watchers {
    thread: JoinHandle<Result<Watched, String>>,
    stop: Arc<AtomicBool>,
    wake: Arc<EventFd>,
}

impl Watchers {
    /// The connections that so many take.
    pub(crate) fn connections(count: usize) -> usize {
        count.div_ceil(OF_CONNECTION)
    }

    /// Starts so many, and waits until each has been told the present state.
    pub(crate) fn start(dial: &Dial, count: usize) -> Result<Self, Fault> {
        let url = dial.target.url();
        let began = Instant::now();
        let mut links = Vec::new();
        let mut left = count;
        while left > 0 {
            let of_link = left.min(OF_CONNECTION);
            let mut link = Link::open(dial, of_link).map_err(Fault::Failed)?;
            let path = link.http2.path(WATCH);
            for at in 0..of_link {
                link.http2.call(path, at as u32, true, |out| bytes(1, OWN.as_bytes(), out));
            }
            links.push((link, Watching::new(of_link)));
            left -= of_link;
        }
        for (link, watching) in &mut links {
            let done =
                |_: &Link, watching: &Watching| watching.present == watching.sequences.len() || watching.ended > 0;
            let told = link.wait_until(began + PRESENT_MAX, watching, done);
            told.map_err(|lost| {
                Fault::Failed(format!("{url} {lost} while {count} watchers wait for the present state"))
            })?;
            if let Some(end) = &watching.end {
                return Err(Fault::Failed(format!(
                    "{url} does not take {count} watchers: {end}; if that is a limit of it, use fewer --watchers"
                )));
            }
        }
        let refuse = |error: std::io::Error| Fault::Failed(format!("the system gives no thread: {error}"));
        let wake = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC);
        let wake = Arc::new(wake.map_err(|error| refuse(error.into()))?);
        let stop = Arc::new(AtomicBool::new(false));
        let (woken, stopped, present_s) = (wake.clone(), stop.clone(), began.elapsed().as_secs_f64());
        let watch = move || watch(links, &woken, &stopped).map(|watched| Watched { present_s, ..watched });
        let thread = std::thread::Builder::new().name("watchers".to_owned()).spawn(watch).map_err(refuse)?;
        Ok(Self { thread, stop, wake })
    }

    /// Ends them; returns what they saw.
    pub(crate) fn finish(self) -> Result<Watched, String> {
        self.stop.store(true, Relaxed);
        // It is full only when it has been written to, which will do.
        let _ = self.wake.write(1);
        self.thread.join().map_err(|_| "the watchers' thread panicked".to_owned())?
    }
}

/// The watchers of one connection.
struct Watching {
    /// The last number that each was told.
    sequences: Vec<u64>,
    present: usize,
    ended: u64,
    /// Why the first that ended did.
    end: Option<String>,
    out_of_order: u64,
    events: u64,
    delay: Histogram<u64>,
}

impl Watching {
    fn new(count: usize) -> Self {
        Self {
            sequences: vec![0; count],
            present: 0,
            ended: 0,
            end: None,
            out_of_order: 0,
            events: 0,
            delay: histogram(),
        }
    }
}

impl Answers for Watching {
    fn message(&mut self, token: u32, message: &[u8]) {
        for (field, value) in Fields(message) {
            match (field, value) {
                (1, Field::Number(sequence)) => {
                    let last = &mut self.sequences[token as usize];
                    self.out_of_order += u64::from(sequence < *last);
                    *last = sequence;
                }
                (2, Field::Bytes(present))
                    if Fields(present).any(|(field, value)| (field, value) == (3, Field::Number(1))) =>
                {
                    self.present += 1;
                }
                (3, Field::Bytes(events)) => {
                    for (_, event) in Fields(events) {
                        self.events += 1;
                        if let Field::Bytes(event) = event
                            && let Some(happened) = time_of(event)
                        {
                            self.delay.saturating_record(now_ns().saturating_sub(happened));
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn ended(&mut self, _: u32, end: End) {
        self.ended += 1;
        self.end.get_or_insert_with(|| said(&end));
    }
}

/// When an event happened, in nanoseconds since 1970.
fn time_of(event: &[u8]) -> Option<u64> {
    let (_, time) = Fields(event).find(|(field, _)| *field == 2)?;
    let Field::Bytes(time) = time else { return None };
    let number = |wanted: u32| {
        Fields(time).find_map(|(field, value)| match value {
            Field::Number(number) if field == wanted => Some(number),
            Field::Number(_) | Field::Bytes(_) | Field::Fixed => None,
        })
    };
    Some(number(1)? * 1_000_000_000 + number(2).unwrap_or(0))
}

fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

fn watch(mut links: Vec<(Link, Watching)>, wake: &EventFd, stop: &AtomicBool) -> Result<Watched, String> {
    let mut buffer = vec![0; 256 << 10];
    while !stop.load(Relaxed) {
        let mut polled: Vec<PollFd<'_>> = vec![PollFd::new(wake.as_fd(), PollFlags::POLLIN)];
        polled.extend(links.iter().map(|(link, _)| PollFd::new(link.as_fd(), PollFlags::POLLIN)));
        match poll(&mut polled, PollTimeout::from(500_u16)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(format!("the watchers cannot wait: {error}")),
        }
        let ready: Vec<bool> = polled.iter().skip(1).map(|one| one.any().unwrap_or(false)).collect();
        drop(polled);
        for ((link, watching), _) in links.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
            let lost = |lost| format!("watchers: the server {lost}");
            while let Some(read) = link.read(&mut buffer).map_err(lost)? {
                link.http2
                    .receive(&buffer[..read], watching)
                    .map_err(|broken| format!("watchers: the server {broken}"))?;
            }
            link.flush().map_err(|error| format!("watchers: {error}"))?;
        }
    }
    let (mut watched, mut delay) = (Watched::default(), histogram());
    for (_, watching) in &links {
        watched.watchers += watching.sequences.len();
        watched.events += watching.events;
        watched.cut_off += watching.ended;
        watched.out_of_order += watching.out_of_order;
        crate::outcome::figures::add(&mut delay, &watching.delay);
    }
    watched.delay = Latency::of(&delay);
    Ok(watched)
}
