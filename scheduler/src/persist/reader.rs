//! Reading by hand what is written all day: requests that came and went. Everything else, and whatever is not plain about
//! these, is read by the library; what is wrong there is told by it too.

use std::sync::Arc;
use std::time::Duration;

use headgate_ledger::{Demand, Entry, Found, Hit, Id, Request, RequestId, Time};

use super::error::RecordError;
use super::form::Persisted;
use super::known::{Known, text};
use super::record::{Origin, Record, Surface, What};
use crate::protobuf::{InOrder, NotPlain};

/// Reads records, and knows the names that it has read.
#[derive(Debug, Default)]
pub struct RecordReader {
    known: Known,
}

impl RecordReader {
    /// What the bytes stand for.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Record, RecordError> {
        match self.plain(bytes) {
            Ok(record) => Ok(record),
            Err(NotPlain) => Record::by_library(bytes),
        }
    }

    /// A record about which nothing is out of the ordinary.
    pub(super) fn plain(&mut self, bytes: &[u8]) -> Result<Record, NotPlain> {
        let known = &mut self.known;
        let mut record = InOrder::new(bytes);
        let time = Time::from_nanos(record.fixed(1)?);
        let said = record.span(|record| {
            for field in [2, 3, 4] {
                record.said_bytes(field)?;
            }
            Ok(())
        })?;
        let origin = known.origin(said, || origin(said))?;
        let entry = entry(record.message(5)?, known)?;
        record.end()?;
        Ok(Record { time, origin, what: What::Entry(entry) })
    }
}

fn origin(said: &[u8]) -> Result<Origin, NotPlain> {
    let mut said = InOrder::new(said);
    let mut part = |field| text(said.said_bytes(field)?.unwrap_or_default());
    let (actor, surface, reason) = (part(2)?.into(), part(3)?, part(4)?.into());
    let surface = Surface::ALL.into_iter().find(|known| known.word() == surface).ok_or(NotPlain)?;
    Ok(Origin { actor, surface, reason })
}

/// An entry of one of the kinds that are written all day.
fn entry(bytes: &[u8], known: &mut Known) -> Result<Entry, NotPlain> {
    let mut fields = InOrder::new(bytes);
    let entry = if let Some(admitted) = fields.said_bytes(2)? {
        let mut admitted = InOrder::new(admitted);
        let id = Id(admitted.number(1)?);
        let request = request(admitted.message(2)?, known)?;
        let count = admitted.short(3)?;
        let observed = said_word(&mut admitted, 4)?;
        admitted.end()?;
        Entry::Admitted { id, request, count, observed, found: Found::default() }
    } else if let Some(queued) = fields.said_bytes(3)? {
        let mut queued = InOrder::new(queued);
        let (id, request) = (Id(queued.number(1)?), request(queued.message(2)?, known)?);
        queued.end()?;
        Entry::Queued { id, request }
    } else if let Some(dispatched) = fields.said_bytes(4)? {
        let mut dispatched = InOrder::new(dispatched);
        let (id, count) = (Id(dispatched.number(1)?), dispatched.short(2)?);
        dispatched.end()?;
        Entry::Dispatched { id, count }
    } else if let Some(confirmed) = fields.said_bytes(5)? {
        let mut confirmed = InOrder::new(confirmed);
        let id = Id(confirmed.number(1)?);
        confirmed.end()?;
        Entry::Confirmed { id }
    } else if let Some(renewed) = fields.said_bytes(6)? {
        let mut renewed = InOrder::new(renewed);
        let id = Id(renewed.number(1)?);
        let holder = renewed.said_bytes(2)?.map(|holder| known.holder(holder)).transpose()?;
        renewed.end()?;
        Entry::Renewed { id, holder }
    } else if let Some(ended) = fields.said_bytes(8)? {
        let mut ended = InOrder::new(ended);
        let (id, end) = (Id(ended.number(1)?), said_word(&mut ended, 2)?.ok_or(NotPlain)?);
        ended.end()?;
        Entry::Ended { id, end }
    } else {
        Entry::Hit { hits: hits(fields.message(20)?, known)? }
    };
    fields.end()?;
    Ok(entry)
}

fn hits(bytes: &[u8], known: &mut Known) -> Result<Vec<Hit>, NotPlain> {
    let mut fields = InOrder::new(bytes);
    let mut hits = Vec::new();
    while let Some(hit) = fields.said_bytes(1)? {
        let mut hit = InOrder::new(hit);
        let (pool, tenant) = (known.name(hit.message(1)?)?, known.tenant(hit.message(2)?)?);
        let (resource, amount) = (known.resource(hit.message(3)?)?, hit.number(4)?);
        hit.end()?;
        hits.push(Hit { pool, tenant, resource, amount });
    }
    fields.end()?;
    Ok(hits)
}

pub(super) fn request(bytes: &[u8], known: &mut Known) -> Result<Arc<Request>, NotPlain> {
    let mut fields = InOrder::new(bytes);
    let id = RequestId::kept(text(fields.message(1)?)?).map_err(|_| NotPlain)?;
    let demand = known.demand(fields.rest(), demand)?;
    Ok(Arc::new(Request { id, demand }))
}

/// All of a request that stands after its id.
fn demand(bytes: &[u8], known: &mut Known) -> Result<Demand, NotPlain> {
    let mut fields = InOrder::new(bytes);
    let tenant = known.tenant(fields.message(2)?)?;
    let pool = known.name(fields.message(3)?)?;
    let resources = known.amounts(4, fields.all(4)?)?;
    let (count, min_count, priority) = (fields.short(5)?, fields.short(6)?, fields.short_zigzag(7)?);
    let expected_duration = said_span(&mut fields, 8)?;
    let (wait, borrow) = (fields.flag(9)?, fields.flag(10)?);
    let (grace, ttl) = (said_span(&mut fields, 11)?, said_span(&mut fields, 12)?);
    let provisional = fields.flag(13)?;
    let holder = fields.said_bytes(14)?.map(|holder| known.holder(holder)).transpose()?;
    let mut labels = Vec::new();
    while let Some(label) = fields.said_bytes(15)? {
        let mut label = InOrder::new(label);
        let mut part = |field| text(label.said_bytes(field)?.unwrap_or_default()).map(str::to_owned);
        labels.push((part(1)?, part(2)?));
        label.end()?;
    }
    let enforce = said_word(&mut fields, 16)?;
    fields.end()?;
    Ok(Demand {
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
    })
}

#[inline]
fn said_span(fields: &mut InOrder<'_>, field: u32) -> Result<Option<Duration>, NotPlain> {
    Ok(fields.said_number(field)?.map(Duration::from_nanos))
}

#[inline]
pub(super) fn said_word<T: Persisted<Form = i32>>(fields: &mut InOrder<'_>, field: u32) -> Result<Option<T>, NotPlain> {
    fields.said_word(field)?.map(|word| T::parse(word).map_err(|_| NotPlain)).transpose()
}
