//! Answers, written straight into the bytes that are sent.
//!
//! They are written from their end to their beginning: so a message's length is known where it is to be written, before
//! the message. What answers mostly say is written by hand; one that explains itself is made by `render`, and written by
//! the library. A test holds the one against the other.

use bytes::{Bytes, BytesMut};
use headgate_ledger::{Amount, State};
use headgate_proto::limits::OPERATIONS_BYTES_MAX;
use headgate_proto::v1;
use headgate_proto::v1::operation_result::Result as WireResult;

use super::body::PREFIX_BYTES;
use crate::engine::{Answer, Done, EngineError, Footing, HitAnswer, LeaseId};
use crate::grpc::batch::{AllTold, Said, Told};
use crate::grpc::fault::Fault;
use crate::grpc::limiting;
use crate::grpc::operations::{self, Kind, Telling};
use crate::grpc::render::{self, Detail};
use crate::grpc::service::Service;
use crate::grpc::words::Word as _;
use crate::protobuf::Back;

/// Bytes that answers are put into, many small ones into one piece of memory.
const PIECE_BYTES: usize = 16 * 1024;

/// Writes answers.
#[derive(Debug, Default)]
pub(super) struct Answers {
    back: Back,
    /// What was written is handed out from here, and comes back when it has been sent.
    out: BytesMut,
}

impl Answers {
    /// The answer of a call of its own, with its prefix.
    pub(super) fn unary(
        &mut self,
        service: &Service,
        telling: Telling,
        done: Result<Done, EngineError>,
    ) -> Result<Bytes, Fault> {
        self.back.clear();
        match plain(&telling, &done) {
            Some(plain) => plain.write(&mut self.back),
            None => match telling.tell(service, done)? {
                WireResult::Acquire(response) => self.back.message(&response),
                WireResult::Check(response) => self.back.message(&response),
                WireResult::Confirm(response) => self.back.message(&response),
                WireResult::Renew(response) => self.back.message(&response),
                WireResult::Resize(response) => self.back.message(&response),
                WireResult::Release(response) => self.back.message(&response),
                WireResult::Cancel(response) => self.back.message(&response),
            },
        }
        Ok(self.hand_out())
    }

    /// The answer to a gateway, with its prefix.
    pub(super) fn limited(&mut self, answer: &HitAnswer, headers: bool) -> Bytes {
        self.back.clear();
        limiting::write(answer, headers, &mut self.back);
        self.hand_out()
    }

    /// The results of operations of a stream, with their prefixes: in as many messages as it takes for none to be larger
    /// than what callers' libraries take.
    pub(super) fn results(&mut self, service: &Service, results: AllTold) -> Vec<Bytes> {
        self.parts(results, |told, back| write_result(service, told, back))
    }

    fn parts<T>(&mut self, results: impl DoubleEndedIterator<Item = T>, write: impl Fn(T, &mut Back)) -> Vec<Bytes> {
        const RESULTS: u32 = 1;
        let mut parts = Vec::with_capacity(1);
        self.back.clear();
        for result in results.rev() {
            let before = self.back.len();
            write(result, &mut self.back);
            self.back.frame(RESULTS, before);
            if self.back.len() > OPERATIONS_BYTES_MAX && before > 0 {
                // It is the last of the part before this one.
                let first = self.back.take_first(self.back.len() - before);
                parts.push(self.hand_out());
                self.back.clear();
                self.back.bytes(&first);
            }
        }
        parts.push(self.hand_out());
        parts.reverse();
        parts
    }

    fn hand_out(&mut self) -> Bytes {
        let written = self.back.written();
        if self.out.capacity() < PREFIX_BYTES + written.len() {
            self.out.reserve(PIECE_BYTES.max(PREFIX_BYTES + written.len()));
        }
        // Longer ones than its prefix can say are not made: a call names a limited number of leases.
        let length = u32::try_from(written.len()).unwrap_or(u32::MAX);
        self.out.extend_from_slice(&[0]);
        self.out.extend_from_slice(&length.to_be_bytes());
        self.out.extend_from_slice(written);
        self.out.split().freeze()
    }
}

/// Writes the result of one operation of a stream.
fn write_result(service: &Service, told: Told, back: &mut Back) {
    const TAG: u32 = 1;
    let Told { tag, said } = told;
    let told = match said {
        Said::Refused(fault) => Err(fault),
        Said::Done(telling, done) => {
            if let Some(plain) = plain(&telling, &done) {
                let before = back.len();
                plain.write(back);
                back.frame(result_field(telling.kind()), before);
                back.number(TAG, tag);
                return;
            }
            telling.tell(service, done)
        }
    };
    back.message(&operations::result(tag, told));
}

/// Where in a result of a stream the response of a kind stands.
fn result_field(kind: Kind) -> u32 {
    match kind {
        Kind::Acquire => 3,
        Kind::Check => 4,
        Kind::Confirm => 5,
        Kind::Renew => 6,
        Kind::Resize => 7,
        Kind::Release => 8,
        Kind::Cancel => 9,
    }
}

/// A response that is written by hand: it holds answers that do not explain themselves, and nothing that failed.
#[derive(Clone, Copy, Debug)]
enum Plain<'a> {
    Decided(&'a Answer),
    Each(&'a [(LeaseId, Result<Answer, EngineError>)], Detail),
}

fn plain<'a>(telling: &Telling, done: &'a Result<Done, EngineError>) -> Option<Plain<'a>> {
    let plain = |answer: &Answer| {
        let Answer { reasons, expected_wait, explanation, .. } = answer;
        reasons.is_empty() && expected_wait.is_none() && explanation.is_none()
    };
    match (done, telling.kind()) {
        (Ok(Done::Decided(answer)), Kind::Acquire | Kind::Check) => plain(answer).then_some(Plain::Decided(answer)),
        (
            Ok(done @ (Done::One(_) | Done::Each(_))),
            kind @ (Kind::Confirm | Kind::Renew | Kind::Resize | Kind::Release | Kind::Cancel),
        ) if telling.names_all() => {
            let each = done.each();
            each.iter().all(|(_, answer)| answer.as_ref().is_ok_and(plain)).then_some(Plain::Each(each, kind.detail()))
        }
        (Ok(_) | Err(_), _) => None,
    }
}

impl Plain<'_> {
    /// Writes a response: each of them has its answer, or its outcomes, in its first field.
    fn write(self, back: &mut Back) {
        const FIRST: u32 = 1;
        match self {
            Self::Decided(answer) => {
                let before = back.len();
                write_answer(answer, Detail::Whole, back);
                back.frame(FIRST, before);
            }
            Self::Each(each, detail) => {
                const ID: u32 = 1;
                const ANSWER: u32 = 3;
                for (id, answer) in each.iter().rev() {
                    let Ok(answer) = answer else { continue };
                    let before = back.len();
                    write_answer(answer, detail, back);
                    back.frame(ANSWER, before);
                    back.id(ID, &id.cell, id.number);
                    back.frame(FIRST, before);
                }
            }
        }
    }
}

/// Writes an answer that does not explain itself, as [`render::answer`] tells it.
fn write_answer(answer: &Answer, detail: Detail, back: &mut Back) {
    let Answer {
        cell,
        outcome,
        stands,
        repeated: _,
        reasons: _,
        would_be,
        enforce,
        position,
        expected_wait: _,
        explanation: _,
    } = answer;
    back.word(15, enforce.wire().into());
    let (mut deadline, mut expires, mut end) = (None, None, 0);
    let (mut lease, mut ticket, mut count, mut charged, mut state) = (None, None, 0, None, 0);
    match stands {
        None => {}
        Some(Footing::Ticket { id, pool: _, count: asked, silent_at }) => {
            (ticket, count, expires) = (Some(*id), *asked, *silent_at);
            state = v1::State::Waiting.into();
        }
        Some(Footing::Lease { id, resources, count: held, state: stands, expires: at, deadline: by }) => {
            (lease, count, expires) = (Some(*id), *held, Some(*at));
            state = stands.wire().into();
            charged = (detail == Detail::Whole).then_some(resources);
            deadline = match stands {
                State::Reclaiming => *by,
                State::Waiting | State::Provisional | State::Active | State::Ended(_) => None,
            };
        }
        Some(Footing::Ended { id, end: cause, admitted }) => {
            (state, end) = (v1::State::Ended.into(), cause.wire().into());
            *if *admitted { &mut lease } else { &mut ticket } = Some(*id);
        }
    }
    back.time(14, deadline);
    back.time(13, expires);
    back.word(12, end);
    back.word(10, would_be.map_or(0, |would_be| would_be.wire().into()));
    back.number(7, position.unwrap_or_default());
    back.number(6, count.into());
    if let Some(resources) = charged {
        let all = |amount: Amount| render::units(amount.saturating_mul(count.into()));
        // By name, which is the order that amounts have too.
        for (name, amount) in resources.iter().rev() {
            let before = back.len();
            back.signed(2, all(amount));
            back.text(1, name.as_str());
            back.frame(5, before);
        }
    }
    back.word(4, state);
    for (field, number) in [(3, ticket), (2, lease)] {
        if let Some(number) = number {
            back.id(field, cell, number);
        }
    }
    back.word(1, outcome.wire().into());
}

#[cfg(test)]
mod tests;
