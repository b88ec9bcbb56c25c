//! What a generator does next, and what comes of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use headgate_scheduler::engine::{Done, EngineError, Operation};
use parking_lot::Mutex;

use super::link::STREAM_TOKEN;
use crate::calls::{About, Calls, ID_BYTES, Kind, Said, read, read_results};
use crate::checker::Checker;
use crate::codes;
use crate::embedded::{Requests, answered};
use crate::leases::Leases;
use crate::review;
use crate::scenario::{Draft, Drafts, Drawn, FOREVER, Scenario};
use crate::schedule::{Pace, Schedule};
use crate::tally::{Outcome, Tally};
use crate::target::Protocol;
use crate::wire::http2::{Answers, End};

/// What is measured: from and until when, on the clock of all generators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// When operations begin.
    pub(crate) start: u64,
    /// From when they are measured: after the warm-up.
    pub(crate) from: u64,
    pub(crate) until: u64,
}

/// What all generators of a run share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) scenario: Scenario,
    pub(crate) calls: Calls,
    /// The same, where they are for an engine of our own.
    pub(crate) requests: Option<Requests>,
    pub(crate) checker: Checker,
    pub(crate) gaps: Gaps,
    pub(crate) protocol: Protocol,
    /// What every request's id begins with.
    pub(crate) run: u32,
}

/// The longest time without an answer to anybody.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    last: AtomicU64,
    longest: Mutex<(u64, u64)>,
}

impl Gaps {
    /// Forgets what was, at the beginning of a measurement.
    pub(crate) fn begin(&self, from: u64) {
        self.last.store(from, Relaxed);
        *self.longest.lock() = (0, from);
    }

    /// Something was answered.
    fn answered(&self, now: u64) {
        let last = self.last.fetch_max(now, Relaxed);
        let gap = now.saturating_sub(last);
        // Most are far shorter than any that counts.
        if gap > 1_000_000 {
            let mut longest = self.longest.lock();
            *longest = (*longest).max((gap, last));
        }
    }

    /// The longest, and when it began; the time since the last answer counts too.
    pub(crate) fn longest(&self, until: u64) -> (u64, u64) {
        let last = self.last.load(Relaxed);
        (*self.longest.lock()).max((until.saturating_sub(last), last))
    }
}

/// Where the next operations come from.
#[derive(Debug)]
enum Source {
    /// Nothing begins.
    None,
    /// Leases are taken that are held throughout, so many still.
    Residents(u64),
    /// Whenever there is room.
    Closed,
    /// At the instants of a schedule.
    Open(Box<Schedule>),
    /// As a trace says.
    Trace,
}

/// An operation that is under way.
#[derive(Clone, Copy, Debug)]
struct Asked {
    kind: Kind,
    tag: u64,
    tenant: u32,
    shape: u32,
    hold: u64,
    /// What it is done to, where that is a lease.
    lease: u32,
    intended: u64,
    settled: bool,
}

/// One generator's work.
#[derive(Debug)]
pub(crate) struct Work {
    shared: Arc<Shared>,
    drafts: Drafts,
    source: Source,
    at: usize,
    of: usize,
    asked: Vec<Asked>,
    free: Vec<u32>,
    pub(crate) leases: Leases,
    pub(crate) tally: Tally,
    window: Window,
    sequence: u64,
    /// When the last answer came.
    heard: u64,
    /// Whether what is to begin now has waited for room.
    was_full: bool,
}

impl Work {
    /// Of generator `at` of `of`.
    pub(crate) fn new(shared: Arc<Shared>, at: usize, of: usize) -> Self {
        Self {
            drafts: Drafts::new(&shared.scenario, at, of),
            source: Source::None,
            at,
            of,
            asked: Vec::new(),
            free: Vec::new(),
            leases: Leases::default(),
            tally: Tally::new(),
            window: Window { start: u64::MAX, from: u64::MAX, until: u64::MAX },
            sequence: 0,
            heard: 0,
            was_full: false,
            shared,
        }
    }

    /// Takes this generator's part of the leases that are held throughout.
    pub(crate) fn fill(&mut self) {
        let (population, at, of) = (self.shared.scenario.population, self.at as u64, self.of as u64);
        self.source = Source::Residents(population * (at + 1) / of - population * at / of);
    }

    /// Begins a measured run.
    pub(crate) fn begin(&mut self, window: Window, pace: Option<&Pace>, repetition: u64) {
        self.window = window;
        self.tally = Tally::new();
        self.source = if !self.shared.scenario.jobs.is_empty() {
            Source::Trace
        } else if let Some(pace) = pace {
            let seed = self.shared.scenario.seed.wrapping_add(repetition << 16);
            Source::Open(Box::new(Schedule::new(pace, seed, self.at, self.of)))
        } else {
            Source::Closed
        };
    }

    /// Nothing more begins only because there is room.
    pub(crate) fn slow_down(&mut self) {
        if let Source::Closed = self.source {
            self.source = Source::None;
        }
    }

    /// Nothing more begins but releases. What was to begin before `until` and did not is counted.
    pub(crate) fn close(&mut self, until: u64) {
        let Window { start, from, .. } = self.window;
        if let Source::Open(schedule) = &mut self.source {
            while start + schedule.next_at() < until {
                self.tally.unsent += u64::from(start + schedule.next_at() >= from);
                schedule.take();
            }
        }
        self.source = Source::None;
    }

    /// What was measured. What is still under way was never answered.
    pub(crate) fn end(&mut self) -> Tally {
        for _ in 0..self.under_way() {
            self.tally.failed("unanswered", String::new());
        }
        self.window = Window { start: u64::MAX, from: u64::MAX, until: u64::MAX };
        std::mem::replace(&mut self.tally, Tally::new()).finish()
    }

    /// Operations that are not answered.
    pub(crate) fn under_way(&self) -> usize {
        self.asked.len() - self.free.len()
    }

    /// Whether all leases that are held throughout have been asked for.
    pub(crate) fn is_filled(&self) -> bool {
        matches!(self.source, Source::Residents(0) | Source::None)
    }

    /// For how long nothing has been answered, while something was under way.
    pub(crate) fn silent_for(&self, now: u64) -> u64 {
        if self.under_way() == 0 { 0 } else { now.saturating_sub(self.heard) }
    }

    /// Whether no operation ever begins by itself again: a trace is over.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.source, Source::Trace)
            && self.drafts.next_submit().is_none()
            && self.leases.next_due().is_none()
            && self.under_way() == 0
    }

    /// When something is to begin next; now, where only room is waited for.
    pub(crate) fn next_at(&self, now: u64) -> u64 {
        let begins = match &self.source {
            Source::None => u64::MAX,
            Source::Residents(0) => u64::MAX,
            Source::Residents(_) => now,
            Source::Closed => now,
            Source::Open(schedule) => self.window.start.saturating_add(schedule.next_at()),
            Source::Trace => self.drafts.next_submit().map_or(u64::MAX, |at| self.window.start.saturating_add(at)),
        };
        begins.min(self.leases.next_due().unwrap_or(u64::MAX))
    }

    /// The next operation that is to begin by now: its token.
    pub(crate) fn next(&mut self, now: u64) -> Option<u32> {
        while let Some((tenant, shape)) = self.leases.doubtful(now) {
            self.shared.checker.gave(tenant, shape);
        }
        if let Some((due, at)) = self.leases.next_ready(now) {
            if self.leases.uncount(at) {
                let lease = self.leases.get(at);
                self.shared.checker.gave(lease.tenant, lease.shape);
            }
            return Some(self.ask(Kind::Release, Draft { kind: Drawn::Renew, tenant: 0, shape: 0, hold: 0 }, at, due));
        }
        let (draft, intended) = self.draw(now)?;
        let kind = match draft.kind {
            _ if self.shared.protocol == Protocol::RateLimit => Kind::RateLimit,
            _ if self.shared.protocol == Protocol::Review => Kind::Review,
            Drawn::Check => Kind::Check,
            Drawn::Acquire => Kind::Acquire,
            Drawn::Renew => Kind::Renew,
        };
        let mut lease = 0;
        if kind == Kind::Renew {
            let drafts = &mut self.drafts;
            match self.leases.renew(|bound| drafts.below(bound)) {
                Some(at) => lease = at,
                // Nothing is held: what is to be renewed must be there first.
                None if self.leases.len() == 0 => return Some(self.ask(Kind::Acquire, draft, 0, intended)),
                // All are under way: it waits its turn, as a renewal of another.
                None => return None,
            }
        }
        Some(self.ask(kind, draft, lease, intended))
    }

    fn draw(&mut self, now: u64) -> Option<(Draft, u64)> {
        match &mut self.source {
            Source::None | Source::Residents(0) => None,
            Source::Residents(left) => {
                *left -= 1;
                Some((self.drafts.resident(), now))
            }
            Source::Closed if now < self.window.until => Some((self.drafts.next(), now)),
            Source::Closed => None,
            Source::Open(schedule) => {
                let intended = self.window.start + schedule.next_at();
                if intended > now || intended >= self.window.until {
                    return None;
                }
                schedule.take();
                self.begin_late(now, intended);
                Some((self.drafts.next(), intended))
            }
            Source::Trace => {
                let intended = self.window.start + self.drafts.next_submit()?;
                if intended > now || intended >= self.window.until {
                    return None;
                }
                self.begin_late(now, intended);
                self.drafts.next_job().map(|draft| (draft, intended))
            }
        }
    }

    /// Notes how late something begins. What waited for room was kept waiting by the server, and not by this client.
    fn begin_late(&mut self, now: u64, intended: u64) {
        if intended >= self.window.from {
            self.tally.lag.saturating_record(if self.was_full { 0 } else { now - intended });
        }
    }

    /// All that was to begin has begun, or there is no room for more of it.
    pub(crate) fn issued(&mut self, full: bool) {
        self.was_full = full;
    }

    fn ask(&mut self, kind: Kind, draft: Draft, lease: u32, intended: u64) -> u32 {
        let Draft { tenant, shape, hold, .. } = draft;
        if self.under_way() == 0 {
            // From now on an answer is waited for.
            self.heard = self.heard.max(intended);
        }
        self.sequence += 1;
        let asked = Asked { kind, tag: self.sequence, tenant, shape, hold, lease, intended, settled: false };
        match self.free.pop() {
            Some(token) => {
                self.asked[token as usize] = asked;
                token
            }
            None => {
                self.asked.push(asked);
                self.asked.len() as u32 - 1
            }
        }
    }

    /// Waits for answers from now on, and not from when the last ones came.
    pub(crate) fn hear_from(&mut self, now: u64) {
        self.heard = now;
    }

    /// What kind of operation a token is.
    pub(crate) fn kind(&self, token: u32) -> Kind {
        self.asked[token as usize].kind
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.shared.protocol
    }

    /// An operation, as an engine of our own takes it.
    pub(crate) fn operation(&self, token: u32) -> Operation {
        let asked = &self.asked[token as usize];
        let id = self.id(asked.tag);
        let Some(requests) = &self.shared.requests else { unreachable!("they are made for an engine of our own") };
        requests.operation(asked.kind, self.about(asked, &id))
    }

    /// An engine of our own has decided an operation.
    pub(crate) fn decided(&mut self, token: u32, done: &Result<Done, EngineError>, now: u64) {
        answered(done, |said| self.settle(token, said, now));
        self.release(token);
    }

    /// Writes an operation as a call of its own.
    pub(crate) fn write(&self, token: u32, out: &mut Vec<u8>) {
        let asked = &self.asked[token as usize];
        let id = self.id(asked.tag);
        self.shared.calls.write(asked.kind, self.about(asked, &id), out);
    }

    /// Writes an operation of a stream.
    pub(crate) fn write_operation(&self, token: u32, out: &mut Vec<u8>) {
        let asked = &self.asked[token as usize];
        let id = self.id(asked.tag);
        self.shared.calls.write_operation(asked.tag, asked.kind, self.about(asked, &id), out);
    }

    fn about<'a>(&'a self, asked: &Asked, id: &'a [u8; ID_BYTES]) -> About<'a> {
        match asked.kind {
            Kind::Release | Kind::Renew => About::Lease(&self.leases.get(asked.lease).id),
            Kind::Acquire | Kind::Review => About::Request { tenant: asked.tenant, shape: asked.shape, id: Some(id) },
            Kind::Check | Kind::RateLimit => About::Request { tenant: asked.tenant, shape: asked.shape, id: None },
        }
    }

    /// An id that nobody else gives: of the run, the generator and the operation.
    fn id(&self, sequence: u64) -> [u8; ID_BYTES] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut id = [0; ID_BYTES];
        let mut write = |from: usize, until: usize, mut number: u64| {
            for at in (from..until).rev() {
                id[at] = HEX[(number & 15) as usize];
                number >>= 4;
            }
        };
        write(0, 8, u64::from(self.shared.run));
        write(8, 11, self.at as u64);
        write(11, ID_BYTES, sequence);
        id
    }

    /// An operation was answered.
    fn settle(&mut self, token: u32, said: Said<'_>, now: u64) {
        let asked = &mut self.asked[token as usize];
        if std::mem::replace(&mut asked.settled, true) {
            let word = asked.kind.word();
            return self.shared.checker.violated(|| format!("a {word} was answered twice"));
        }
        let asked = *asked;
        let outcome = match said {
            Said::Allow(id) => {
                if asked.kind == Kind::Acquire {
                    self.take(&asked, id, true, now);
                }
                Outcome::Allow
            }
            Said::Queue(id) => {
                if asked.kind == Kind::Acquire {
                    self.take(&asked, id, false, now);
                }
                Outcome::Queue
            }
            Said::Deny(reason) => Outcome::Deny(reason),
            Said::Done => Outcome::Done,
            Said::WithinLimit => Outcome::WithinLimit,
            Said::OverLimit => Outcome::OverLimit,
            Said::Ended => Outcome::Failed("ended", "a request that was new had ended already".to_owned()),
            Said::Failed(code, said) => Outcome::Failed(codes::name(code), String::from_utf8_lossy(said).into_owned()),
            Said::Garbled => Outcome::Failed("garbled", "an answer could not be understood".to_owned()),
        };
        let gone = matches!(said, Said::Failed(codes::NOT_FOUND | codes::FAILED_PRECONDITION, _));
        self.afterwards(&asked, outcome == Outcome::Done, gone, now);
        self.count(&asked, outcome, now);
    }

    fn count(&mut self, asked: &Asked, outcome: Outcome, now: u64) {
        self.heard = now;
        let Window { from, until, .. } = self.window;
        if (from..until).contains(&now) {
            self.shared.gaps.answered(now);
        }
        if (from..until).contains(&asked.intended) {
            self.tally.answered(asked.kind, now - from, now - asked.intended, outcome);
        } else if let Outcome::Failed(what, said) = outcome {
            self.tally.failed(what, said);
        }
    }

    /// What was done to a lease, or not.
    fn afterwards(&mut self, asked: &Asked, done: bool, gone: bool, now: u64) {
        match asked.kind {
            Kind::Release if done || gone => self.leases.drop(asked.lease),
            Kind::Release => self.leases.stays(asked.lease),
            Kind::Renew if gone => {
                if self.leases.uncount(asked.lease) {
                    let lease = self.leases.get(asked.lease);
                    self.shared.checker.gave(lease.tenant, lease.shape);
                }
                self.leases.drop(asked.lease);
            }
            Kind::Renew => self.leases.renewed(asked.lease, now),
            Kind::Check | Kind::Acquire | Kind::RateLimit | Kind::Review => {}
        }
    }

    fn take(&mut self, asked: &Asked, id: &[u8], allowed: bool, now: u64) {
        let shared = &self.shared;
        if id.is_empty() {
            return shared.checker.violated(|| "something was allowed or queued without an id".to_owned());
        }
        let due = if asked.hold == FOREVER { FOREVER } else { now.saturating_add(asked.hold) };
        let (at, fresh) = self.leases.take(id, asked.tenant, asked.shape, allowed, due);
        if !fresh {
            let id = String::from_utf8_lossy(id).into_owned();
            shared.checker.violated(|| format!("two requests were given the same id, {id}"));
        }
        if allowed {
            shared.checker.took(asked.tenant, asked.shape);
            if shared.scenario.pool.reclaim {
                self.leases.doubt_after(at, now.saturating_add(shared.scenario.pool.grace));
            }
        }
    }

    /// A call of its own is over.
    fn ended(&mut self, token: u32, end: End, now: u64) {
        if !self.asked[token as usize].settled {
            match end {
                End::Status(0, _) => self.settle(token, Said::Garbled, now),
                End::Status(code, said) => self.settle(token, Said::Failed(code, said.as_bytes()), now),
                End::Reset(code) => {
                    self.lose(token, "reset", format!("the server reset calls (code {code} of HTTP/2)"), now)
                }
                End::NotGrpc(what) => self.lose(token, "not gRPC", what, now),
                End::Http(status, said) => self.lose(token, http_error(status), format!("{status} {said}"), now),
            }
        }
        self.release(token);
    }

    /// A review was answered.
    fn reviewed(&mut self, token: u32, body: &[u8], now: u64) {
        let id = self.id(self.asked[token as usize].tag);
        match review::read(body, &id) {
            Ok(true) => self.settle(token, Said::Allow(b""), now),
            Ok(false) => self.settle(token, Said::Deny(0), now),
            Err((what, said)) => self.lose(token, what, said, now),
        }
    }

    /// An operation will never be answered.
    fn lose(&mut self, token: u32, what: &'static str, said: String, now: u64) {
        let asked = self.asked[token as usize];
        self.asked[token as usize].settled = true;
        self.afterwards(&asked, false, false, now);
        self.count(&asked, Outcome::Failed(what, said), now);
    }

    fn release(&mut self, token: u32) {
        self.free.push(token);
    }
}

/// A kind of error, of a status of HTTP.
fn http_error(status: u16) -> &'static str {
    match status / 100 {
        4 => "HTTP 4xx",
        5 => "HTTP 5xx",
        _ => "HTTP",
    }
}

/// Hears the answers on one connection.
pub(crate) struct Heard<'a> {
    pub(crate) work: &'a mut Work,
    pub(crate) fifo: &'a mut VecDeque<u32>,
    pub(crate) now: u64,
    /// How the stream of operations ended, where it did.
    pub(crate) over: Option<End>,
}

impl Answers for Heard<'_> {
    fn message(&mut self, token: u32, message: &[u8]) {
        if token != STREAM_TOKEN {
            let kind = self.work.kind(token);
            if kind == Kind::Review {
                return self.work.reviewed(token, message, self.now);
            }
            return self.work.settle(token, read(kind, message), self.now);
        }
        for (tag, said) in read_results(message) {
            match self.fifo.pop_front() {
                Some(token) => {
                    let expected = self.work.asked[token as usize].tag;
                    if tag != expected {
                        let told = move || format!("results came out of order on a stream: tag {tag}, not {expected}");
                        self.work.shared.checker.violated(told);
                    }
                    self.work.settle(token, said, self.now);
                    self.work.release(token);
                }
                None => self.work.shared.checker.violated(|| "a stream answered what nobody had asked".to_owned()),
            }
        }
    }

    fn ended(&mut self, token: u32, end: End) {
        if token == STREAM_TOKEN {
            self.over = Some(end);
        } else {
            self.work.ended(token, end, self.now);
        }
    }
}
