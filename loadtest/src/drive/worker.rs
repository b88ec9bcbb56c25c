//! A generator: one thread that sends, receives and waits, and does nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::EventFd;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeSpec, TimeValLike as _};
use std::os::fd::AsFd as _;

use super::Clock;
use super::line::{Gone, Line};
use super::link::{Dial, Lost};
use super::work::{Window, Work};
use crate::fault::Fault;
use crate::schedule::Pace;
use crate::tally::Tally;
use crate::wire::http2::End;

/// How often a waiting thread looks around in any case.
const LOOK_NS: u64 = 500_000_000;
/// Shorter times are waited for to the nanosecond, longer ones to the millisecond.
const PRECISE_NS: u64 = 20_000_000;
/// Events that are taken at once.
const EVENTS_MAX: usize = 256;
/// Bytes that are read at once.
const READ_BYTES: usize = 256 << 10;
/// The event that somebody has something to say to this thread.
const WOKEN: u64 = u64::MAX;

/// What a generator is told.
#[derive(Clone, Debug)]
pub(super) enum Command {
    /// Take the leases that are held throughout.
    Fill,
    /// Run, and measure.
    Run { window: Window, pace: Option<Pace>, repetition: u64 },
    /// Release everything, and end.
    Finish,
}

/// What a generator has done.
#[derive(Debug)]
pub(super) enum Report {
    /// So many leases are held.
    Filled(usize),
    /// What was measured.
    Ran(Box<Ran>),
    /// What was held was released, as far as that could be.
    Finished,
}

/// What a generator measured.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) tally: Tally,
    /// The time that its thread was on a core within the measurement, in nanoseconds.
    pub(super) cpu_ns: u64,
    /// What of that was spent in an engine of our own.
    pub(super) deciding_ns: u64,
    /// When it stopped.
    pub(super) ended: u64,
}

/// A generator.
pub(super) struct Worker {
    pub(super) at: usize,
    pub(super) clock: Clock,
    pub(super) dial: Dial,
    pub(super) batch: usize,
    pub(super) work: Work,
    pub(super) lines: Vec<Line>,
    pub(super) wake: Arc<EventFd>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) commands: Receiver<Command>,
    pub(super) reports: Sender<(usize, Result<Report, Fault>)>,
}

impl Worker {
    /// Does what it is told until it is told to finish.
    pub(super) fn run(self) {
        let (at, reports) = (self.at, self.reports.clone());
        let ended = Loop::new(self).and_then(|mut running| running.obey());
        if let Err(fault) = ended {
            // Where nobody listens any more, the run is over anyhow.
            let _ = reports.send((at, Err(fault)));
        }
    }
}

struct Loop {
    worker: Worker,
    epoll: Epoll,
    events: Vec<EpollEvent>,
    buffer: Vec<u8>,
    next_line: usize,
    /// The time that was spent waiting, in nanoseconds.
    waited_ns: u64,
}

/// What a thread has spent, in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Spent {
    /// On a core.
    cpu: u64,
    /// Not waiting.
    awake: u64,
    /// In an engine of our own.
    deciding: u64,
}

impl Spent {
    /// On a core, and what of that was spent deciding: as large a part as of the time in which it did not wait.
    fn since(self, before: Self) -> (u64, u64) {
        let (cpu, awake) = (self.cpu - before.cpu, (self.awake - before.awake).max(1));
        let part = (self.deciding - before.deciding) as f64 / awake as f64;
        (cpu, (cpu as f64 * part.min(1.0)) as u64)
    }
}

impl Loop {
    fn new(worker: Worker) -> Result<Self, Fault> {
        // The kernel's own slack, 50 us, would be counted as the server's latency.
        let _ = nix::sys::prctl::set_timerslack(1);
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(system)?;
        epoll.add(&*worker.wake, EpollEvent::new(EpollFlags::EPOLLIN, WOKEN)).map_err(system)?;
        for (at, line) in worker.lines.iter().enumerate() {
            epoll.add(line, EpollEvent::new(EpollFlags::EPOLLIN, at as u64)).map_err(system)?;
        }
        let (events, buffer) = (vec![EpollEvent::empty(); EVENTS_MAX], vec![0; READ_BYTES]);
        Ok(Self { worker, epoll, events, buffer, next_line: 0, waited_ns: 0 })
    }

    fn obey(&mut self) -> Result<(), Fault> {
        loop {
            let report = match self.next_command()? {
                None => return Ok(()),
                Some(Command::Fill) => Report::Filled(self.fill()?),
                Some(Command::Run { window, pace, repetition }) => {
                    self.worker.work.begin(window, pace.as_ref(), repetition);
                    Report::Ran(Box::new(self.measure(window)?))
                }
                Some(Command::Finish) => {
                    self.finish()?;
                    let _ = self.worker.reports.send((self.worker.at, Ok(Report::Finished)));
                    return Ok(());
                }
            };
            if self.worker.reports.send((self.worker.at, Ok(report))).is_err() {
                return Ok(());
            }
        }
    }

    /// Keeps the connections alive until there is something to do; none: there never will be.
    fn next_command(&mut self) -> Result<Option<Command>, Fault> {
        loop {
            match self.worker.commands.try_recv() {
                Ok(command) => return Ok(Some(command)),
                Err(std::sync::mpsc::TryRecvError::Disconnected) => return Ok(None),
                Err(std::sync::mpsc::TryRecvError::Empty) => {}
            }
            self.flush()?;
            self.wait(LOOK_NS)?;
        }
    }

    fn fill(&mut self) -> Result<usize, Fault> {
        self.worker.work.fill();
        self.go(u64::MAX, |work, _| work.is_filled() && work.under_way() == 0)?;
        self.worker.work.close(0);
        Ok(self.worker.work.leases.len())
    }

    fn measure(&mut self, window: Window) -> Result<Ran, Fault> {
        let Window { from, until, .. } = window;
        self.go(from, |work, now| now >= from || work.is_over())?;
        let before = self.spent()?;
        self.go(until, |work, now| now >= until || work.is_over())?;
        let (cpu_ns, deciding_ns) = self.spent()?.since(before);
        let ended = self.worker.clock.now().min(until);
        // What was to begin just before the end is late, but it was asked for.
        self.worker.work.slow_down();
        self.issue(ended.min(until - 1));
        self.worker.work.close(ended);
        self.drain()?;
        Ok(Ran { tally: self.worker.work.end(), cpu_ns, deciding_ns, ended })
    }

    fn spent(&self) -> Result<Spent, Fault> {
        let deciding = self.worker.lines.iter().map(Line::spent_ns).sum();
        Ok(Spent { cpu: cpu_ns()?, awake: self.worker.clock.now().saturating_sub(self.waited_ns), deciding })
    }

    /// Waits for what is under way.
    fn drain(&mut self) -> Result<(), Fault> {
        let deadline = self.worker.clock.now() + self.patience_ns() * 2;
        self.go_on(deadline, |work, now| work.under_way() == 0 || now >= deadline)
    }

    fn patience_ns(&self) -> u64 {
        self.worker.dial.patience.as_nanos() as u64
    }

    fn finish(&mut self) -> Result<(), Fault> {
        loop {
            let before = self.worker.work.leases.len();
            let now = self.worker.clock.now();
            self.worker.work.leases.leave_all(now);
            self.drain()?;
            let left = self.worker.work.leases.len();
            // What failed to be released is tried once more, as long as that helps.
            if left == 0 || left >= before {
                return Ok(());
            }
        }
    }

    /// Goes on until it is done, or the whole run is to stop.
    fn go(&mut self, until: u64, done: impl Fn(&Work, u64) -> bool) -> Result<(), Fault> {
        let stop = self.worker.stop.clone();
        self.go_on(until, |work, now| done(work, now) || stop.load(Relaxed))
    }

    fn go_on(&mut self, until: u64, done: impl Fn(&Work, u64) -> bool) -> Result<(), Fault> {
        let mut now = self.worker.clock.now();
        self.worker.work.hear_from(now);
        loop {
            if done(&self.worker.work, now) {
                return Ok(());
            }
            self.replace_lines()?;
            self.issue(now);
            self.flush()?;
            // What is answered already is heard before anything is waited for.
            if self.hear_news()? {
                now = self.worker.clock.now();
                continue;
            }
            let next = self.worker.work.next_at(now);
            // What could begin now, but did not, waits for room, which only an answer gives.
            let timer = if next > now { next.min(until) } else { until };
            self.wait(timer.saturating_sub(now).min(LOOK_NS))?;
            now = self.worker.clock.now();
            if self.worker.work.silent_for(now) > self.patience_ns() {
                let (url, count) = (self.worker.dial.target.url(), self.worker.work.under_way());
                let seconds = self.worker.dial.patience.as_secs_f64();
                return Err(Fault::Failed(format!(
                    "{url} has not answered for {seconds} s, with {count} operations under way"
                )));
            }
        }
    }

    /// Sends what is to begin by now, as far as there is room for it, on one connection after another.
    fn issue(&mut self, now: u64) {
        let Worker { work, lines, batch, .. } = &mut self.worker;
        let count = lines.len();
        let mut full = 0;
        while full < count {
            let line = &mut lines[self.next_line];
            self.next_line = if self.next_line + 1 == count { 0 } else { self.next_line + 1 };
            if line.room() < *batch {
                full += 1;
                continue;
            }
            if !line.issue(work, *batch, now) {
                break;
            }
            full = 0;
        }
        work.issued(full == count);
    }

    /// Connects anew where a connection has made all its calls.
    fn replace_lines(&mut self) -> Result<(), Fault> {
        for at in 0..self.worker.lines.len() {
            let line = &self.worker.lines[at];
            if !line.is_over() {
                continue;
            }
            let fresh = Line::open(&self.worker.dial, line.room_max()).map_err(Fault::Failed)?;
            self.epoll.delete(line).map_err(system)?;
            self.epoll.add(&fresh, EpollEvent::new(EpollFlags::EPOLLIN, at as u64)).map_err(system)?;
            self.worker.lines[at] = fresh;
        }
        Ok(())
    }

    /// Takes in what is answered already; whether there was any.
    fn hear_news(&mut self) -> Result<bool, Fault> {
        let mut any = false;
        for at in 0..self.worker.lines.len() {
            if self.worker.lines[at].has_news() {
                self.receive(at)?;
                any = true;
            }
        }
        Ok(any)
    }

    fn flush(&mut self) -> Result<(), Fault> {
        for at in 0..self.worker.lines.len() {
            let Line::Wire(link) = &mut self.worker.lines[at] else { continue };
            if let Err(error) = link.flush() {
                return Err(self.lost(&Lost::of(error)));
            }
            if link.blocked != link.awaited {
                link.awaited = link.blocked;
                let wanted =
                    if link.blocked { EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT } else { EpollFlags::EPOLLIN };
                self.epoll.modify(&**link, &mut EpollEvent::new(wanted, at as u64)).map_err(system)?;
            }
        }
        Ok(())
    }

    /// Waits for at most so long, and takes in what came.
    fn wait(&mut self, timeout_ns: u64) -> Result<(), Fault> {
        let began = self.worker.clock.now();
        let count = self.wait_for_events(timeout_ns)?;
        self.waited_ns += self.worker.clock.now() - began;
        for event in 0..count {
            match self.events[event].data() {
                // That it woke up is all there is to it.
                WOKEN => drop(self.worker.wake.read()),
                at => self.receive(at as usize)?,
            }
        }
        Ok(())
    }

    /// How many events there are.
    fn wait_for_events(&mut self, timeout_ns: u64) -> Result<usize, Fault> {
        let timeout = if timeout_ns < PRECISE_NS {
            if timeout_ns > 0 {
                let mut polled = [PollFd::new(self.epoll.0.as_fd(), PollFlags::POLLIN)];
                match ppoll(&mut polled, Some(TimeSpec::nanoseconds(timeout_ns as i64)), None) {
                    Ok(0) => return Ok(0),
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(error) => return Err(system(error)),
                }
            }
            EpollTimeout::ZERO
        } else {
            EpollTimeout::try_from(timeout_ns / 1_000_000).unwrap_or(EpollTimeout::ZERO)
        };
        match self.epoll.wait(&mut self.events, timeout) {
            Ok(count) => Ok(count),
            Err(Errno::EINTR) => Ok(0),
            Err(error) => Err(system(error)),
        }
    }

    fn receive(&mut self, at: usize) -> Result<(), Fault> {
        let Worker { work, lines, clock, .. } = &mut self.worker;
        lines[at].receive(work, *clock, &mut self.buffer).map_err(|gone| match gone {
            Gone::Lost(lost) => self.lost(&lost),
            Gone::Over(said) => {
                Fault::Failed(format!("{} ended the stream of operations: {said}", self.worker.dial.target.url()))
            }
        })
    }

    fn lost(&self, lost: &Lost) -> Fault {
        let count = self.worker.work.under_way();
        Fault::Failed(format!("{} {lost}, with {count} operations under way", self.worker.dial.target.url()))
    }
}

/// How a call ended, for people.
pub(crate) fn said(end: &End) -> String {
    match end {
        End::Status(code, text) if text.is_empty() => crate::codes::name(*code).to_owned(),
        End::Status(code, text) => format!("{}, {text}", crate::codes::name(*code)),
        End::Reset(code) => format!("it reset the call (code {code} of HTTP/2)"),
        End::NotGrpc(what) => format!("it does not speak gRPC there ({what})"),
        End::Http(status, text) if text.is_empty() => format!("it answered with status {status} of HTTP"),
        End::Http(status, text) => format!("it answered with status {status} of HTTP, {text}"),
    }
}

fn cpu_ns() -> Result<u64, Fault> {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).map_err(system)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(micros.unsigned_abs() * 1000)
}

fn system(error: Errno) -> Fault {
    Fault::Failed(format!("the system refuses: {}", error.desc().to_lowercase()))
}
