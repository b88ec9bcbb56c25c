//! Leases, tickets and what ended, by hand: of these a snapshot has as many as there are, and of all else a few.

use headgate_ledger::{Amounts, Ended, Id, Lease, LeaseParts, Ticket, TicketSnapshot, Time};

use crate::persist::form::Persisted as _;
use crate::persist::known::Known;
use crate::persist::reader::{request, said_word};
use crate::persist::writer::{write_amounts, write_request, write_word};
use crate::protobuf::{Back, Field, Fields, InOrder, NotPlain};

/// Where in a part they stand.
pub(super) const LEASES: u32 = 10;
pub(super) const TICKETS: u32 = 11;
pub(super) const ENDED: u32 = 12;

/// A part, with what was read of it by hand.
#[derive(Debug, Default)]
pub(super) struct Plain {
    pub(super) leases: Vec<(Lease, Option<Amounts>)>,
    pub(super) tickets: Vec<TicketSnapshot>,
    pub(super) ended: Vec<Ended>,
    /// The bytes of the rest.
    pub(super) rest: Vec<u8>,
}

impl Plain {
    /// None of it is read where something about it is out of the ordinary.
    pub(super) fn of(part: &[u8], known: &mut Known) -> Result<Self, NotPlain> {
        let mut plain = Self::default();
        let mut fields = Fields(part);
        loop {
            let before = fields.0;
            let Some(field) = fields.next() else { return Ok(plain) };
            match field? {
                (LEASES, Field::Bytes(bytes)) => plain.leases.push(lease(bytes, known)?),
                (TICKETS, Field::Bytes(bytes)) => plain.tickets.push(ticket(bytes, known)?),
                (ENDED, Field::Bytes(bytes)) => plain.ended.push(ended(bytes, known)?),
                _ => plain.rest.extend_from_slice(&before[..before.len() - fields.0.len()]),
            }
        }
    }
}

fn lease(bytes: &[u8], known: &mut Known) -> Result<(Lease, Option<Amounts>), NotPlain> {
    let mut fields = InOrder::new(bytes);
    let lease = LeaseParts {
        id: Id(fields.number(1)?),
        request: request(fields.message(2)?, known)?,
        resources: known.amounts(3, fields.all(3)?)?,
        count: fields.short(4)?,
        arrived: Time::from_nanos(fields.fixed(5)?),
        admitted: Time::from_nanos(fields.fixed(6)?),
        confirmed: fields.said_fixed(7)?.map(Time::from_nanos),
        holder: fields.said_bytes(8)?.map(|holder| known.holder(holder)).transpose()?,
        expires: fields.said_fixed(9)?.map_or(Time::NEVER, Time::from_nanos),
        deadline: fields.said_fixed(10)?.map(Time::from_nanos),
        observed: said_word(&mut fields, 11)?,
    };
    let charged = fields.said_bytes(12)?.map(|charged| known.amounts(1, charged)).transpose()?;
    fields.end()?;
    Ok((lease.into(), charged))
}

/// Writes a lease, as the library writes its form.
pub(super) fn write_lease(lease: &Lease, charged: Option<&Amounts>, back: &mut Back) {
    let LeaseParts { id, request, resources, count, arrived, admitted, confirmed, holder, expires, deadline, observed } =
        lease.parts();
    if let Some(charged) = charged {
        let before = back.len();
        write_amounts(1, charged, back);
        back.frame(12, before);
    }
    write_word(11, observed.as_ref(), back);
    back.said_fixed(10, deadline.map(Time::nanos));
    back.said_fixed(9, (expires != Time::NEVER).then(|| expires.nanos()));
    back.text(8, holder.as_ref().map_or("", |holder| holder.as_str()));
    back.said_fixed(7, confirmed.map(Time::nanos));
    back.fixed(6, admitted.nanos());
    back.fixed(5, arrived.nanos());
    back.number(4, count.into());
    write_amounts(3, &resources, back);
    write_request(2, &request, back);
    back.number(1, id.0);
}

fn ticket(bytes: &[u8], known: &mut Known) -> Result<TicketSnapshot, NotPlain> {
    let mut fields = InOrder::new(bytes);
    let ticket = Ticket {
        id: Id(fields.number(1)?),
        request: request(fields.message(2)?, known)?,
        resources: known.amounts(3, fields.all(3)?)?,
        arrived: Time::from_nanos(fields.fixed(4)?),
        holder: fields.said_bytes(5)?.map(|holder| known.holder(holder)).transpose()?,
        heard: Time::from_nanos(fields.fixed(6)?),
        silent: fields.flag(7)?,
    };
    let mut wide = InOrder::new(fields.message(8)?);
    let rank = i128::from(wide.zigzag(1)?) << 64 | i128::from(wide.fixed(2)?);
    wide.end()?;
    let turned = fields.said_fixed(9)?.map(Time::from_nanos);
    fields.end()?;
    Ok(TicketSnapshot { ticket, rank, turned })
}

/// Writes a ticket, as the library writes its form.
pub(super) fn write_ticket(snapshot: &TicketSnapshot, back: &mut Back) {
    let TicketSnapshot { ticket, rank, turned } = snapshot;
    let Ticket { id, request, resources, arrived, holder, heard, silent } = ticket;
    back.said_fixed(9, turned.map(Time::nanos));
    let before = back.len();
    let rank = super::wide(*rank);
    back.fixed(2, rank.low);
    back.zigzag(1, rank.high);
    back.frame(8, before);
    back.flag(7, *silent);
    back.fixed(6, heard.nanos());
    back.text(5, holder.as_ref().map_or("", |holder| holder.as_str()));
    back.fixed(4, arrived.nanos());
    write_amounts(3, resources, back);
    write_request(2, request, back);
    back.number(1, id.0);
}

fn ended(bytes: &[u8], known: &mut Known) -> Result<Ended, NotPlain> {
    let mut fields = InOrder::new(bytes);
    let ended = Ended {
        id: Id(fields.number(1)?),
        request: request(fields.message(2)?, known)?,
        end: said_word(&mut fields, 3)?.ok_or(NotPlain)?,
        admitted: fields.flag(4)?,
        at: Time::from_nanos(fields.fixed(5)?),
    };
    fields.end()?;
    Ok(ended)
}

/// Writes what ended, as the library writes its form.
pub(super) fn write_ended(ended: &Ended, back: &mut Back) {
    let Ended { id, request, end, admitted, at } = ended;
    back.fixed(5, at.nanos());
    back.flag(4, *admitted);
    back.word(3, end.form());
    write_request(2, request, back);
    back.number(1, id.0);
}
