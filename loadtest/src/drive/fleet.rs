//! The generators of one run against one target.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::eventfd::{EfdFlags, EventFd};
use parking_lot::Mutex;

use super::Clock;
use super::line::Line;
use super::link::{Dial, Link, Load};
use super::work::{Gaps, Shared, Window, Work};
use super::worker::{Command, Ran, Report, Worker, said};
use crate::calls::{About, CHECK, Calls, ID_BYTES, Kind, Mark, RATE_LIMIT, RELEASE, Said, read};
use crate::checker::Checker;
use crate::codes;
use crate::embedded::{Embedded, Requests};
use crate::fault::Fault;
use crate::process::{Usage, usage};
use crate::review;
use crate::scenario::Scenario;
use crate::schedule::Pace;
use crate::tally::Tally;
use crate::target::Protocol;
use crate::wire::http2::End;
use crate::wire::message::{Field, Fields, bytes};

/// From when a run is planned until it begins, so that every generator is there.
const HEAD_START_NS: u64 = 5_000_000;
/// How often a server's memory and handles are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// The id of a request that is made before any other.
const NOBODY: [u8; ID_BYTES] = [b'0'; ID_BYTES];
/// How much longer than a run its leases live, where it is killed and releases nothing.
const TTL_EXTRA_S: u64 = 600;

/// Ends runs early, from another thread: what was taken is given back all the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop {
    asked: Arc<AtomicBool>,
    wakes: Arc<Mutex<Vec<Arc<EventFd>>>>,
}

impl Stop {
    /// Asks for it.
    pub(crate) fn ask(&self) {
        self.asked.store(true, Relaxed);
        for wake in &*self.wakes.lock() {
            // It is full when it has been written to and nobody has looked yet, which will do.
            let _ = wake.write(1);
        }
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Relaxed)
    }
}

/// What it takes to start generators.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) dial: Dial,
    pub(crate) load: Load,
    pub(crate) scenario: Scenario,
    pub(crate) generators: usize,
    pub(crate) seen: Seen,
    /// How long all of it takes at most, in seconds, beyond which leases end by themselves.
    pub(crate) lasts_s: u64,
    pub(crate) stop: Stop,
}

/// Whose CPU, memory and handles are looked at.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    /// The server's processes, where they are on this machine; else none.
    Processes(Vec<u32>),
    /// An engine of our own.
    Embedded(Arc<Embedded>),
}

impl Seen {
    fn usage(&self) -> Option<Usage> {
        match self {
            Self::Processes(pids) => usage(pids),
            Self::Embedded(embedded) => embedded.usage(),
        }
    }
}

/// A look at the server, so many seconds into a measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) at_s: f64,
    pub(crate) usage: Usage,
}

/// What was measured in one run, by all generators.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) tallies: Vec<Tally>,
    /// How long the measurement was, in seconds.
    pub(crate) seconds: f64,
    /// The time that each generator was on a core, as a part of the measurement.
    pub(crate) busy: Vec<f64>,
    /// What of that, together, was spent in an engine of our own, where it is one.
    pub(crate) deciding: Option<f64>,
    /// The longest time without an answer, and when it began; in seconds.
    pub(crate) gap: (f64, f64),
    /// The server, at the beginning, every second, and at the end.
    pub(crate) looks: Vec<Look>,
}

/// What was found when everything had been given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leftover {
    /// Leases and tickets that the server still knew of.
    pub(crate) leases: u64,
}

struct Generator {
    commands: Sender<Command>,
    wake: Arc<EventFd>,
    thread: JoinHandle<()>,
}

/// The generators of one run.
pub(crate) struct Fleet {
    plan: Plan,
    mark: Mark,
    shared: Arc<Shared>,
    clock: Clock,
    generators: Vec<Generator>,
    reports: Receiver<(usize, Result<Report, Fault>)>,
    repetitions: u64,
}

impl Fleet {
    /// Connects, makes sure that the target answers, and starts the generators. They wait for what they are told.
    pub(crate) fn launch(plan: Plan) -> Result<Self, Fault> {
        let run = fresh();
        let mark = Mark { holder: format!("loadtest-{run:08x}"), ttl_s: plan.lasts_s + TTL_EXTRA_S };
        let calls = Calls::new(&plan.scenario, &mark);
        let requests = plan.dial.embedded.as_ref().map(|_| Requests::new(&plan.scenario, &mark)).transpose()?;
        let mut lines = Vec::new();
        for at in 0..plan.load.connections {
            let opened = Line::open(&plan.dial, plan.load.room(at));
            let mut line = opened.map_err(|why| match at {
                0 => Fault::Failed(why),
                _ => Fault::Failed(format!(
                    "{why} {at} connections are open: does it take more? use fewer --connections"
                )),
            })?;
            if let Line::Wire(link) = &mut line {
                if at == 0 {
                    try_one(link, &plan, &calls)?;
                }
                check_streams(link, &plan)?;
            }
            lines.push(line);
        }
        if let (Some(embedded), Some(requests)) = (&plan.dial.embedded, &requests) {
            embedded.try_one(requests.request(asker(&plan.scenario), 0, None))?;
        }
        let shared = Arc::new(Shared {
            checker: Checker::new(&plan.scenario),
            scenario: plan.scenario.clone(),
            calls,
            requests,
            gaps: Gaps::default(),
            protocol: plan.dial.target.protocol,
            run,
        });
        let (sender, reports) = channel();
        let mut fleet =
            Self { mark, shared, clock: Clock::new(), generators: Vec::new(), reports, repetitions: 0, plan };
        fleet.start(lines, &sender)?;
        Ok(fleet)
    }

    fn start(&mut self, lines: Vec<Line>, reports: &Sender<(usize, Result<Report, Fault>)>) -> Result<(), Fault> {
        let of = self.plan.generators.min(lines.len());
        let mut shares: Vec<Vec<Line>> = (0..of).map(|_| Vec::new()).collect();
        for (at, line) in lines.into_iter().enumerate() {
            shares[at % of].push(line);
        }
        for (at, lines) in shares.into_iter().enumerate() {
            let refuse = |what: std::io::Error| Fault::Failed(format!("the system gives no thread: {what}"));
            let wake = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC);
            let wake = Arc::new(wake.map_err(|error| refuse(error.into()))?);
            self.plan.stop.wakes.lock().push(wake.clone());
            let (commands, receiver) = channel();
            let worker = Worker {
                at,
                clock: self.clock,
                dial: self.plan.dial.clone(),
                batch: self.plan.load.batch,
                work: Work::new(self.shared.clone(), at, of),
                lines,
                wake: wake.clone(),
                stop: self.plan.stop.asked.clone(),
                commands: receiver,
                reports: reports.clone(),
            };
            let thread =
                std::thread::Builder::new().name(format!("generator-{at}")).spawn(|| worker.run()).map_err(refuse)?;
            self.generators.push(Generator { commands, wake, thread });
        }
        Ok(())
    }

    /// Takes the leases that are held throughout; returns how many there are.
    pub(crate) fn fill(&mut self) -> Result<usize, Fault> {
        self.tell(&Command::Fill);
        let mut held = 0;
        for report in self.gather(Instant::now() + Duration::from_secs(3600), &mut |_| {})? {
            if let Report::Filled(count) = report {
                held += count;
            }
        }
        let asked = self.shared.scenario.population;
        if (held as u64) < asked && !self.plan.stop.is_asked() {
            return Err(Fault::Failed(format!(
                "{held} of {asked} leases could be taken that are to be held throughout: do the limits of the scenario allow \
                 for them?"
            )));
        }
        Ok(held)
    }

    /// Runs once: so long without measuring, then so long measured.
    pub(crate) fn measure(&mut self, warm_up: f64, seconds: f64, pace: Option<&Pace>) -> Result<Measured, Fault> {
        let start = self.clock.now() + HEAD_START_NS;
        let from = start + (warm_up * 1e9) as u64;
        let window = Window { start, from, until: from + (seconds * 1e9) as u64 };
        self.shared.gaps.begin(from);
        self.repetitions += 1;
        self.tell(&Command::Run { window, pace: pace.cloned(), repetition: self.repetitions });
        let seen = self.plan.seen.clone();
        let clock = self.clock;
        let mut looks = Vec::new();
        // The first look is when the measurement begins, the last when it ends.
        let mut look = |force: bool| {
            let now = clock.now();
            if now >= from
                && (force || now <= window.until + 20_000_000)
                && let Some(usage) = seen.usage()
            {
                looks.push(Look { at_s: (now - from) as f64 / 1e9, usage });
            }
        };
        let deadline = Instant::now() + Duration::from_secs_f64(warm_up + seconds + 30.0);
        let reports = self.gather_at(deadline, window, &mut look)?;
        let (mut tallies, mut busy, mut ended) = (Vec::new(), Vec::new(), from);
        let (mut cpu, mut deciding_ns) = (Vec::new(), 0);
        for report in reports {
            if let Report::Ran(ran) = report {
                let Ran { tally, cpu_ns, deciding_ns: deciding, ended: at } = *ran;
                deciding_ns += deciding;
                tallies.push(tally);
                cpu.push(cpu_ns);
                ended = ended.max(at);
            }
        }
        let lasted = (ended.saturating_sub(from) as f64 / 1e9).max(1e-9);
        busy.extend(cpu.into_iter().map(|cpu_ns| cpu_ns as f64 / 1e9 / lasted));
        let deciding = matches!(self.plan.seen, Seen::Embedded(_)).then_some(deciding_ns as f64 / 1e9 / lasted);
        let (gap, at) = self.shared.gaps.longest(ended);
        let gap = (gap as f64 / 1e9, at.saturating_sub(from) as f64 / 1e9);
        Ok(Measured { tallies, seconds: lasted, busy, deciding, gap, looks })
    }

    /// What is checked throughout.
    pub(crate) fn checker(&self) -> &Checker {
        &self.shared.checker
    }

    /// What the generators share: it outlives them.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// Gives back all that was taken, and asks the server whether anything is left.
    pub(crate) fn finish(mut self) -> Result<Leftover, Fault> {
        self.tell(&Command::Finish);
        let gathered = self.gather(Instant::now() + Duration::from_secs(600), &mut |_| {});
        let left = self.give_back();
        let mut generators = std::mem::take(&mut self.generators);
        for generator in generators.drain(..) {
            let Generator { commands, thread, wake } = generator;
            drop(commands);
            let _ = wake.write(1);
            // One that panicked has said so on standard error.
            let _ = thread.join();
        }
        gathered?;
        left
    }

    /// Cancels and releases whatever the run's holder still holds: also what was never answered.
    fn give_back(&self) -> Result<Leftover, Fault> {
        let leases = match (&self.plan.dial.embedded, self.plan.dial.target.protocol) {
            (Some(embedded), _) => embedded.give_back(&self.mark.holder)?,
            (None, Protocol::RateLimit | Protocol::Review) => 0,
            (None, Protocol::Quota | Protocol::Stream | Protocol::Embedded) => self.give_back_by_calls()?,
        };
        if leases > 0 {
            self.shared.checker.violated(|| format!("{leases} leases and tickets are left though all were released"));
        }
        Ok(Leftover { leases })
    }

    fn give_back_by_calls(&self) -> Result<u64, Fault> {
        let url = self.plan.dial.target.url();
        let help = format!("what is left of the run ends by itself within {} s", self.mark.ttl_s);
        let mut link = Link::open(&self.plan.dial, 1).map_err(|why| Fault::Failed(format!("{why}; {help}")))?;
        let mut ask = |path: &str, field: u8| {
            let write = |out: &mut Vec<u8>| bytes(field, self.mark.holder.as_bytes(), out);
            let asked = link.ask(path, Instant::now() + self.plan.dial.patience, write);
            let asked =
                asked.map_err(|lost| Fault::Failed(format!("{url} {lost} while everything was given back; {help}")))?;
            match asked.end {
                Some(End::Status(0, _)) => Ok(Some(asked.message)),
                // A peer may know nothing of holders.
                Some(End::Status(codes::UNIMPLEMENTED, _)) => Ok(None),
                Some(end) => {
                    Err(Fault::Failed(format!("{url} refuses what gives everything back: {}; {help}", said(&end))))
                }
                None => unreachable!("it is waited for"),
            }
        };
        let mut leases = u64::MAX;
        // A server that is asked to end very many at once may refuse some of them for now.
        loop {
            // Tickets first: a lease that is released may let one in, which then is a lease that nobody gives back.
            ask("/headgate.v1.QuotaService/Cancel", 2)?;
            ask(RELEASE, 2)?;
            let left = ask("/headgate.v1.QuotaService/Get", 4)?.unwrap_or_default();
            let left = Fields(&left).filter(|(field, value)| *field <= 2 && matches!(value, Field::Bytes(_))).count();
            let before = std::mem::replace(&mut leases, left as u64);
            if leases == 0 || leases >= before {
                break;
            }
        }
        Ok(leases)
    }

    fn tell(&self, command: &Command) {
        for generator in &self.generators {
            // One that is no more has reported why.
            let _ = generator.commands.send(command.clone());
            let _ = generator.wake.write(1);
        }
    }

    /// Takes every generator's report, looking at the server when the measurement begins, every second, and when it ends.
    fn gather_at(&self, deadline: Instant, window: Window, look: &mut impl FnMut(bool)) -> Result<Vec<Report>, Fault> {
        let begins = Duration::from_nanos(window.from.saturating_sub(self.clock.now()));
        let began = Instant::now() + begins;
        let ends = began + Duration::from_nanos(window.until - window.from);
        let mut next = began;
        let mut looking = |now: Instant| {
            if now < next {
                return next;
            }
            look(false);
            next = if now >= ends { now + Duration::from_secs(86_400) } else { (next + LOOK).min(ends) };
            next
        };
        let mut reports = Vec::new();
        while reports.len() < self.generators.len() {
            let wake = looking(Instant::now()).min(deadline);
            match self.reports.recv_timeout(wake.saturating_duration_since(Instant::now())) {
                Ok((_, report)) => reports.push(report?),
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(_) => return Err(self.stuck()),
            }
        }
        if Instant::now() < ends {
            look(true);
        }
        Ok(reports)
    }

    fn gather(&self, deadline: Instant, each: &mut impl FnMut(&Report)) -> Result<Vec<Report>, Fault> {
        let mut reports = Vec::new();
        while reports.len() < self.generators.len() {
            match self.reports.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok((_, report)) => {
                    let report = report?;
                    each(&report);
                    reports.push(report);
                }
                Err(_) => return Err(self.stuck()),
            }
        }
        Ok(reports)
    }

    fn stuck(&self) -> Fault {
        Fault::Failed(format!("the generators that drive {} did not come to an end", self.plan.dial.target.url()))
    }
}

/// One call before anything is measured, so that what is wrong is said at once.
fn try_one(link: &mut Link, plan: &Plan, calls: &Calls) -> Result<(), Fault> {
    let target = &plan.dial.target;
    let (kind, path) = match target.protocol {
        Protocol::RateLimit => (Kind::RateLimit, RATE_LIMIT),
        Protocol::Review => (Kind::Review, &*target.path),
        Protocol::Quota | Protocol::Stream | Protocol::Embedded => (Kind::Check, CHECK),
    };
    let id = (kind == Kind::Review).then_some(&NOBODY);
    let about = About::Request { tenant: asker(&plan.scenario), shape: 0, id };
    let asked = link.ask(path, Instant::now() + plan.dial.patience, |out| calls.write(kind, about, out));
    let url = target.url();
    let asked = asked.map_err(|lost| Fault::Failed(lost.said(&url, "it is asked one thing", plan.dial.patience)))?;
    match asked.end {
        Some(End::Status(0, _)) if kind == Kind::Review => {
            let read = review::read(&asked.message, &NOBODY).map(drop);
            read.map_err(|(_, said)| Fault::Failed(format!("{url}{path} reviews nothing: {said}")))
        }
        Some(End::Http(status @ (404 | 405), _)) => Err(Fault::Failed(format!(
            "{url} has nothing at {path} that reviews (status {status} of HTTP): write the webhook's own path after the port"
        ))),
        Some(End::Status(0, _)) if read(kind, &asked.message) != Said::Garbled => Ok(()),
        Some(End::Status(0, _)) => {
            Err(Fault::Failed(format!("{url} answers {path}, but nothing that can be understood")))
        }
        Some(End::Status(codes::UNIMPLEMENTED, _)) => Err(Fault::Failed(format!(
            "{url} speaks gRPC, but not {path}: is it the right port, and the right protocol?"
        ))),
        Some(End::Status(codes::NOT_FOUND, text)) => Err(Fault::Failed(format!(
            "{url}: {text}: run with --setup, which makes what the scenario names, or configure it there"
        ))),
        Some(end) => Err(Fault::Failed(format!("{url} refuses what it is asked: {}", said(&end)))),
        None => unreachable!("it is waited for"),
    }
}

/// A tenant that asks for something.
fn asker(scenario: &Scenario) -> u32 {
    scenario.tenants.iter().position(|tenant| tenant.load > 0.0).unwrap_or(0) as u32
}

fn check_streams(link: &Link, plan: &Plan) -> Result<(), Fault> {
    let (most, wanted) = (link.http2.streams_max(), link.room_max);
    if plan.dial.target.protocol != Protocol::Stream && wanted > most {
        let connections = plan.load.in_flight.div_ceil(most.max(1));
        return Err(Fault::Failed(format!(
            "{} takes {most} calls at once on a connection, and {wanted} are asked for: use --connections {connections}",
            plan.dial.target.url()
        )));
    }
    Ok(())
}

/// A number that tells this run from others.
fn fresh() -> u32 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let mixed = now.as_nanos() as u64 ^ u64::from(std::process::id()) << 32;
    crate::random::Random::new(mixed, 0).next() as u32
}
