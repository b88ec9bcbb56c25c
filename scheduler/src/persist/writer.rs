//! Writing by hand what is written all day, straight from what happened into its bytes. Everything else is written by the
//! library, and so would these be, to the byte: a test holds the one against the other.

use headgate_ledger::{Amounts, Demand, Entry, Hit, Request};

use super::form::{Persisted, nanos};
use super::record::{Origin, Record, What};
use crate::protobuf::Back;

/// Writes records.
#[derive(Debug, Default)]
pub struct RecordWriter {
    back: Back,
}

impl RecordWriter {
    /// The bytes that stand for a record.
    pub fn write(&mut self, record: &Record) -> &[u8] {
        let Record { time, origin, what } = record;
        let Origin { actor, surface, reason } = &**origin;
        let back = &mut self.back;
        back.clear();
        match what {
            What::Entry(said) => {
                entry(said, back);
                back.frame(5, 0);
            }
            What::Digest { sequence, value } => {
                back.said_fixed(2, *value);
                back.number(1, *sequence);
                back.frame(6, 0);
            }
        }
        back.text(4, reason);
        back.text(3, surface.word());
        back.text(2, actor);
        back.fixed(1, time.nanos());
        back.written()
    }
}

fn entry(entry: &Entry, back: &mut Back) {
    let before = back.len();
    match entry {
        Entry::Admitted { id, request, count, observed, found: _ } => {
            write_word(4, observed.as_ref(), back);
            back.number(3, (*count).into());
            write_request(2, request, back);
            back.number(1, id.0);
            back.frame(2, before);
        }
        Entry::Queued { id, request } => {
            write_request(2, request, back);
            back.number(1, id.0);
            back.frame(3, before);
        }
        Entry::Dispatched { id, count } => {
            back.number(2, (*count).into());
            back.number(1, id.0);
            back.frame(4, before);
        }
        Entry::Confirmed { id } => {
            back.number(1, id.0);
            back.frame(5, before);
        }
        Entry::Renewed { id, holder } => {
            back.text(2, holder.as_ref().map_or("", |holder| holder.as_str()));
            back.number(1, id.0);
            back.frame(6, before);
        }
        Entry::Ended { id, end } => {
            back.word(2, end.form());
            back.number(1, id.0);
            back.frame(8, before);
        }
        Entry::Hit { hits } => {
            for Hit { pool, tenant, resource, amount } in hits.iter().rev() {
                let before = back.len();
                back.number(4, *amount);
                back.text(3, resource.as_str());
                back.text(2, tenant.as_str());
                back.text(1, pool.as_str());
                back.frame(1, before);
            }
            back.frame(20, before);
        }
        Entry::Configured(_)
        | Entry::Resized { .. }
        | Entry::Claimed { .. }
        | Entry::ClaimExtended { .. }
        | Entry::ClaimDropped { .. }
        | Entry::LetOff { .. }
        | Entry::HoldsPassed { .. }
        | Entry::Silenced { .. }
        | Entry::BudgetTurned { .. }
        | Entry::BurstOver { .. }
        | Entry::MemberGone { .. }
        | Entry::Drained { .. }
        | Entry::Resumed => back.message(&entry.form()),
    }
}

/// Writes a request as a field.
pub(super) fn write_request(field: u32, request: &Request, back: &mut Back) {
    let Request { id, demand } = request;
    let Demand {
        tenant,
        pool,
        resources,
        count,
        min_count,
        priority,
        expected_duration,
        wait,
        borrow,
        grace,
        ttl,
        provisional,
        holder,
        labels,
        enforce,
    } = &**demand;
    let before = back.len();
    write_word(16, enforce.as_ref(), back);
    for (name, value) in labels.iter().rev() {
        let before = back.len();
        back.text(2, value);
        back.text(1, name);
        back.frame(15, before);
    }
    back.text(14, holder.as_ref().map_or("", |holder| holder.as_str()));
    back.flag(13, *provisional);
    back.said_number(12, ttl.map(nanos));
    back.said_number(11, grace.map(nanos));
    back.flag(10, *borrow);
    back.flag(9, *wait);
    back.said_number(8, expected_duration.map(nanos));
    back.zigzag(7, (*priority).into());
    back.number(6, (*min_count).into());
    back.number(5, (*count).into());
    write_amounts(4, resources, back);
    back.text(3, pool.as_str());
    back.text(2, tenant.as_str());
    back.text(1, id.as_str());
    back.frame(field, before);
}

/// Writes amounts as all of a field.
pub(super) fn write_amounts(field: u32, amounts: &Amounts, back: &mut Back) {
    for (resource, amount) in amounts.iter().rev() {
        let before = back.len();
        back.number(2, amount);
        back.text(1, resource.as_str());
        back.frame(field, before);
    }
}

pub(super) fn write_word<T: Persisted<Form = i32>>(field: u32, word: Option<&T>, back: &mut Back) {
    if let Some(word) = word {
        back.word(field, word.form());
    }
}
