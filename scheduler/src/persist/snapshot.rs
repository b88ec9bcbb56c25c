//! Snapshots: a ledger as it is kept between runs, cut into parts that are read and written one at a time.

use std::time::Duration;

use headgate_ledger::{
    Amounts, AverageSnapshot, BudgetSnapshot, BurstSnapshot, ClaimSnapshot, Ended, HoldSnapshot, Holder, Id, Lease,
    LeaseParts, Name, PoolSnapshot, RateSnapshot, Resource, Snapshot, TenantSnapshot, Ticket, TicketSnapshot, Time,
};
use headgate_proto::journal::v1 as journal;
use prost::Message as _;

use super::error::{At, RecordError};
use super::form::{Persisted, nanos, parse_all, parse_said, parse_there};
use super::known::Known;
use crate::protobuf::{Back, NotPlain};

mod plain;
#[cfg(test)]
mod tests;

use plain::{ENDED, LEASES, Plain, TICKETS, write_ended, write_lease, write_ticket};

/// The format that is written, and the only one that is read.
const FORMAT: u32 = 1;
/// A part is closed when it has so many bytes: well within what a store takes at once.
const PART_BYTES: usize = 1024 * 1024;

/// What a snapshot is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotHeader {
    /// The cell.
    pub cell: Name,
    /// The number of the last record that is in it.
    pub sequence: u64,
    /// The time of that record.
    pub time: Time,
    /// The ledger's digest.
    pub digest: u64,
}

/// Hands a snapshot's parts to `write`, in order.
pub fn write_snapshot<E>(
    header: &SnapshotHeader,
    snapshot: &Snapshot,
    write: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut parts = Parts::new(write);
    let SnapshotHeader { cell, sequence, time, digest } = header;
    let Snapshot { settings, classes, pools, tenants, leases, tickets, ended, next_id, posted } = snapshot;
    parts.part.header = Some(journal::SnapshotHeader {
        format: FORMAT,
        cell: cell.form(),
        sequence: *sequence,
        time_ns: time.form(),
        digest: *digest,
        next_id: *next_id,
        posted: *posted,
        settings: Some(settings.form()),
    });
    for (class, revision) in classes {
        let form = journal::ClassState { spec: Some(class.form()), revision: *revision };
        parts.add(form, |part| &mut part.classes)?;
    }
    for pool in pools {
        parts.add_pool(pool)?;
    }
    for tenant in tenants {
        parts.add(tenant.form(), |part| &mut part.tenants)?;
    }
    for (lease, charged) in leases {
        parts.add_by_hand(LEASES, |back| write_lease(lease, charged.as_ref(), back))?;
    }
    for ticket in tickets {
        parts.add_by_hand(TICKETS, |back| write_ticket(ticket, back))?;
    }
    for ended in ended {
        parts.add_by_hand(ENDED, |back| write_ended(ended, back))?;
    }
    parts.part.trailer = Some(journal::SnapshotTrailer { parts: parts.closed + 1 });
    parts.close()
}

/// A part as the library writes what it reads of it.
pub(crate) fn rewritten_by_library(part: &[u8]) -> Vec<u8> {
    journal::SnapshotPart::decode(part).map(|part| part.encode_to_vec()).unwrap_or_default()
}

/// The part that is being filled.
struct Parts<W> {
    part: journal::SnapshotPart,
    /// What is in it beside that, and stands between it and the trailer.
    by_hand: Vec<u8>,
    back: Back,
    bytes: usize,
    closed: u64,
    write: W,
}

impl<E, W: FnMut(&[u8]) -> Result<(), E>> Parts<W> {
    fn new(write: W) -> Self {
        let (part, by_hand, back) = (journal::SnapshotPart::default(), Vec::new(), Back::default());
        Self { part, by_hand, back, bytes: 0, closed: 0, write }
    }

    /// Adds what `write` writes to a field that stands after all that [`Parts::add`] adds to.
    fn add_by_hand(&mut self, field: u32, write: impl FnOnce(&mut Back)) -> Result<(), E> {
        self.back.clear();
        write(&mut self.back);
        self.bytes += self.back.len();
        self.back.frame(field, 0);
        self.by_hand.extend_from_slice(self.back.written());
        if self.bytes >= PART_BYTES { self.close() } else { Ok(()) }
    }

    fn add<F: prost::Message>(
        &mut self,
        form: F,
        list: impl FnOnce(&mut journal::SnapshotPart) -> &mut Vec<F>,
    ) -> Result<(), E> {
        self.bytes += form.encoded_len();
        list(&mut self.part).push(form);
        if self.bytes >= PART_BYTES { self.close() } else { Ok(()) }
    }

    fn add_pool(&mut self, pool: &PoolSnapshot) -> Result<(), E> {
        let PoolSnapshot {
            spec,
            revision,
            bursts,
            averages,
            holds,
            claims,
            victims,
            next_claim,
            next_victim,
            observed_length,
        } = pool;
        let name = || spec.name.form();
        let form = journal::PoolState {
            spec: Some(spec.form()),
            revision: *revision,
            next_claim: *next_claim,
            next_victim: *next_victim,
            observed_length_ns: observed_length.map(nanos),
        };
        self.add(form, |part| &mut part.pools)?;
        for BurstSnapshot { place, above, over, within } in bursts {
            let form = journal::BurstState {
                pool: name(),
                place: Some(place.form()),
                above_ns: above.map(Time::nanos),
                over_ns: over.map(Time::nanos),
                within_ns: within.map(Time::nanos),
            };
            self.add(form, |part| &mut part.bursts)?;
        }
        for AverageSnapshot { place, resource, value, gathered, seen } in averages {
            let form = journal::AverageUsage {
                pool: name(),
                place: Some(place.form()),
                resource: resource.form(),
                value: Some(wide(*value)),
                gathered: Some(wide(*gathered)),
                seen_ns: seen.form(),
            };
            self.add(form, |part| &mut part.averages)?;
        }
        for HoldSnapshot { place, ticket, since, waits } in holds {
            let form = journal::Hold {
                pool: name(),
                place: Some(place.form()),
                ticket: ticket.0,
                since_ns: since.form(),
                waits_ns: waits.form(),
            };
            self.add(form, |part| &mut part.holds)?;
        }
        for ClaimSnapshot { ticket, owner, made, by, counts_on } in claims {
            let form = journal::Claim {
                pool: name(),
                ticket: ticket.0,
                owner: *owner,
                made: *made,
                by: super::form::forms(by),
                counts_on: *counts_on,
            };
            self.add(form, |part| &mut part.claims)?;
        }
        for (number, lease) in victims {
            let form = journal::ChosenVictim { pool: name(), number: *number, lease: lease.0 };
            self.add(form, |part| &mut part.victims)?;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), E> {
        let mut part = std::mem::take(&mut self.part);
        let trailer = part.trailer.take();
        // A vector grows as it must.
        let mut bytes = part.encode_to_vec();
        bytes.append(&mut self.by_hand);
        journal::SnapshotPart { trailer, ..journal::SnapshotPart::default() }.encode_raw(&mut bytes);
        (self.write)(&bytes)?;
        self.bytes = 0;
        self.closed += 1;
        Ok(())
    }
}

/// Gathers a snapshot from its parts.
#[derive(Debug, Default)]
pub struct SnapshotReader {
    known: Known,
    header: Option<SnapshotHeader>,
    snapshot: Snapshot,
    parts: u64,
    whole: bool,
}

impl SnapshotReader {
    /// Takes the next part.
    pub fn take(&mut self, part: &[u8]) -> Result<(), RecordError> {
        match Plain::of(part, &mut self.known) {
            Ok(Plain { leases, tickets, ended, rest }) => {
                self.take_by_library(&rest)?;
                self.snapshot.leases.extend(leases);
                self.snapshot.tickets.extend(tickets);
                self.snapshot.ended.extend(ended);
                Ok(())
            }
            Err(NotPlain) => self.take_by_library(part),
        }
    }

    /// Takes the next part, as the library reads it.
    pub(crate) fn take_by_library(&mut self, part: &[u8]) -> Result<(), RecordError> {
        let part = journal::SnapshotPart::decode(part).map_err(|error| RecordError::new(error.to_string()))?;
        let journal::SnapshotPart {
            header,
            classes,
            pools,
            bursts,
            averages,
            holds,
            claims,
            victims,
            tenants,
            leases,
            tickets,
            ended,
            trailer,
        } = part;
        if self.whole {
            return Err(RecordError::new("goes on after its trailer"));
        }
        self.parts += 1;
        match (header, self.parts) {
            (Some(header), 1) => self.take_header(header).at("header")?,
            (None, 2..) => {}
            (Some(_), _) => return Err(RecordError::new("has a second header")),
            (None, _) => return Err(RecordError::missing()).at("header"),
        }
        for (index, journal::ClassState { spec, revision }) in classes.into_iter().enumerate() {
            let spec = parse_there(spec, "spec").at_item("classes", index)?;
            self.snapshot.classes.push((spec, revision));
        }
        for (index, pool) in pools.into_iter().enumerate() {
            self.snapshot.pools.push(pool_state(pool).at_item("pools", index)?);
        }
        for (index, burst) in bursts.into_iter().enumerate() {
            self.take_burst(burst).at_item("bursts", index)?;
        }
        for (index, average) in averages.into_iter().enumerate() {
            self.take_average(average).at_item("averages", index)?;
        }
        for (index, hold) in holds.into_iter().enumerate() {
            self.take_hold(hold).at_item("holds", index)?;
        }
        for (index, claim) in claims.into_iter().enumerate() {
            self.take_claim(claim).at_item("claims", index)?;
        }
        for (index, journal::ChosenVictim { pool, number, lease }) in victims.into_iter().enumerate() {
            self.pool(&pool).at("pool").at_item("victims", index)?.victims.push((number, Id(lease)));
        }
        self.snapshot.tenants.extend(parse_all::<TenantSnapshot>(tenants, "tenants")?);
        for (index, mut form) in leases.into_iter().enumerate() {
            let charged = form.charged.take().map(|journal::Amounts { amounts }| Amounts::parse(amounts));
            let charged = charged.transpose().at("charged").at_item("leases", index)?;
            self.snapshot.leases.push((Lease::parse(form).at_item("leases", index)?, charged));
        }
        self.snapshot.tickets.extend(parse_all::<TicketSnapshot>(tickets, "tickets")?);
        self.snapshot.ended.extend(parse_all::<Ended>(ended, "ended")?);
        if let Some(journal::SnapshotTrailer { parts }) = trailer {
            if parts != self.parts {
                return Err(RecordError::new(format!("has {} parts where {parts} were written", self.parts)));
            }
            self.whole = true;
        }
        Ok(())
    }

    /// The snapshot, which is whole.
    pub fn finish(self) -> Result<(SnapshotHeader, Snapshot), RecordError> {
        match self.header {
            Some(header) if self.whole => Ok((header, self.snapshot)),
            Some(_) | None => Err(RecordError::new("ends before its trailer")),
        }
    }

    fn take_header(&mut self, header: journal::SnapshotHeader) -> Result<(), RecordError> {
        let journal::SnapshotHeader { format, cell, sequence, time_ns, digest, next_id, posted, settings } = header;
        if format != FORMAT {
            return Err(RecordError::new(format!("{format} is not the format {FORMAT} that is known here")))
                .at("format");
        }
        self.snapshot.settings = parse_there(settings, "settings")?;
        (self.snapshot.next_id, self.snapshot.posted) = (next_id, posted);
        let cell = Name::parse(&cell).at("cell")?;
        self.header = Some(SnapshotHeader { cell, sequence, time: Time::parse(time_ns)?, digest });
        Ok(())
    }

    fn pool(&mut self, name: &str) -> Result<&mut PoolSnapshot, RecordError> {
        // Lists follow their pool.
        match self.snapshot.pools.iter_mut().rev().find(|pool| pool.spec.name.as_str() == name) {
            Some(pool) => Ok(pool),
            None => Err(RecordError::new(format!("there is no pool {name:?}"))),
        }
    }

    fn take_burst(&mut self, form: journal::BurstState) -> Result<(), RecordError> {
        let journal::BurstState { pool, place, above_ns, over_ns, within_ns } = form;
        let burst = BurstSnapshot {
            place: parse_there(place, "place")?,
            above: above_ns.map(Time::from_nanos),
            over: over_ns.map(Time::from_nanos),
            within: within_ns.map(Time::from_nanos),
        };
        self.pool(&pool).at("pool")?.bursts.push(burst);
        Ok(())
    }

    fn take_average(&mut self, form: journal::AverageUsage) -> Result<(), RecordError> {
        let journal::AverageUsage { pool, place, resource, value, gathered, seen_ns } = form;
        let average = AverageSnapshot {
            place: parse_there(place, "place")?,
            resource: Resource::parse(&resource).at("resource")?,
            value: narrow(value).at("value")?,
            gathered: narrow(gathered).at("gathered")?,
            seen: Time::parse(seen_ns)?,
        };
        self.pool(&pool).at("pool")?.averages.push(average);
        Ok(())
    }

    fn take_hold(&mut self, form: journal::Hold) -> Result<(), RecordError> {
        let journal::Hold { pool, place, ticket, since_ns, waits_ns } = form;
        let hold = HoldSnapshot {
            place: parse_there(place, "place")?,
            ticket: Id(ticket),
            since: Time::parse(since_ns)?,
            waits: Time::parse(waits_ns)?,
        };
        self.pool(&pool).at("pool")?.holds.push(hold);
        Ok(())
    }

    fn take_claim(&mut self, form: journal::Claim) -> Result<(), RecordError> {
        let journal::Claim { pool, ticket, owner, made, by, counts_on } = form;
        let claim = ClaimSnapshot { ticket: Id(ticket), owner, made, by: parse_all(by, "by")?, counts_on };
        self.pool(&pool).at("pool")?.claims.push(claim);
        Ok(())
    }
}

fn pool_state(form: journal::PoolState) -> Result<PoolSnapshot, RecordError> {
    let journal::PoolState { spec, revision, next_claim, next_victim, observed_length_ns } = form;
    Ok(PoolSnapshot {
        spec: parse_there(spec, "spec")?,
        revision,
        bursts: Vec::new(),
        averages: Vec::new(),
        holds: Vec::new(),
        claims: Vec::new(),
        victims: Vec::new(),
        next_claim,
        next_victim,
        observed_length: observed_length_ns.map(Duration::from_nanos),
    })
}

#[allow(clippy::cast_possible_truncation, reason = "the two halves are cut out on purpose")]
fn wide(value: i128) -> journal::Wide {
    journal::Wide { high: (value >> 64) as i64, low: value as u64 }
}

fn narrow(form: Option<journal::Wide>) -> Result<i128, RecordError> {
    let journal::Wide { high, low } = form.ok_or_else(RecordError::missing)?;
    Ok((i128::from(high) << 64) | i128::from(low))
}

impl Persisted for TenantSnapshot {
    type Form = journal::TenantState;

    fn form(&self) -> Self::Form {
        let Self { spec, member, idle, revision, budgets, rates } = self;
        let budget = |BudgetSnapshot { name, used, started, ends }: &BudgetSnapshot| journal::BudgetState {
            name: name.form(),
            used: *used,
            started_ns: started.form(),
            ends_ns: ends.form(),
        };
        let rate = |RateSnapshot { name, taken, at }: &RateSnapshot| journal::RateState {
            name: name.form(),
            taken: Some(wide(i128::try_from(*taken).unwrap_or(i128::MAX))),
            at_ns: at.form(),
        };
        journal::TenantState {
            spec: Some(spec.form()),
            member: *member,
            idle_ns: idle.map(Time::nanos),
            revision: *revision,
            budgets: budgets.iter().map(budget).collect(),
            rates: rates.iter().map(rate).collect(),
        }
    }

    fn parse(form: Self::Form) -> Result<Self, RecordError> {
        let journal::TenantState { spec, member, idle_ns, revision, budgets, rates } = form;
        let budget = |(index, form): (usize, journal::BudgetState)| {
            let journal::BudgetState { name, used, started_ns, ends_ns } = form;
            Ok::<_, RecordError>(BudgetSnapshot {
                name: Name::parse(&name).at("name").at_item("budgets", index)?,
                used,
                started: Time::parse(started_ns)?,
                ends: Time::parse(ends_ns)?,
            })
        };
        let rate = |(index, form): (usize, journal::RateState)| {
            let journal::RateState { name, taken, at_ns } = form;
            let taken = narrow(taken).and_then(|taken| {
                u128::try_from(taken).map_err(|_| RecordError::new(format!("{taken} is less than nothing")))
            });
            Ok::<_, RecordError>(RateSnapshot {
                name: Name::parse(&name).at("name").at_item("rates", index)?,
                taken: taken.at("taken").at_item("rates", index)?,
                at: Time::parse(at_ns)?,
            })
        };
        Ok(Self {
            spec: parse_there(spec, "spec")?,
            member,
            idle: idle_ns.map(Time::from_nanos),
            revision,
            budgets: budgets.into_iter().enumerate().map(budget).collect::<Result<_, _>>()?,
            rates: rates.into_iter().enumerate().map(rate).collect::<Result<_, _>>()?,
        })
    }
}

impl Persisted for Lease {
    type Form = journal::Lease;

    fn form(&self) -> Self::Form {
        let LeaseParts {
            id,
            request,
            resources,
            count,
            arrived,
            admitted,
            confirmed,
            holder,
            expires,
            deadline,
            observed,
        } = self.parts();
        journal::Lease {
            id: id.0,
            request: Some(request.form()),
            resources: resources.form(),
            count,
            arrived_ns: arrived.form(),
            admitted_ns: admitted.form(),
            confirmed_ns: confirmed.map(Time::nanos),
            holder: holder.as_ref().map(Persisted::form),
            expires_ns: (expires != Time::NEVER).then(|| expires.nanos()),
            deadline_ns: deadline.map(Time::nanos),
            observed: observed.as_ref().map(Persisted::form),
            charged: None,
        }
    }

    fn parse(form: Self::Form) -> Result<Self, RecordError> {
        let journal::Lease {
            id,
            request,
            resources,
            count,
            arrived_ns,
            admitted_ns,
            confirmed_ns,
            holder,
            expires_ns,
            deadline_ns,
            observed,
            charged: _, // a snapshot's, not the lease's
        } = form;
        let parts = LeaseParts {
            id: Id(id),
            request: parse_there(request, "request")?,
            resources: Amounts::parse(resources).at("resources")?,
            count,
            arrived: Time::parse(arrived_ns)?,
            admitted: Time::parse(admitted_ns)?,
            confirmed: confirmed_ns.map(Time::from_nanos),
            holder: parse_said::<Holder>(holder, "holder")?,
            expires: expires_ns.map_or(Time::NEVER, Time::from_nanos),
            deadline: deadline_ns.map(Time::from_nanos),
            observed: parse_said(observed, "observed")?,
        };
        Ok(parts.into())
    }
}

impl Persisted for TicketSnapshot {
    type Form = journal::Ticket;

    fn form(&self) -> Self::Form {
        let Self { ticket, rank, turned } = self;
        let Ticket { id, request, resources, arrived, holder, heard, silent } = ticket;
        journal::Ticket {
            id: id.0,
            request: Some(request.form()),
            resources: resources.form(),
            arrived_ns: arrived.form(),
            holder: holder.as_ref().map(Persisted::form),
            heard_ns: heard.form(),
            silent: *silent,
            rank: Some(wide(*rank)),
            turned_ns: turned.map(Time::nanos),
        }
    }

    fn parse(form: Self::Form) -> Result<Self, RecordError> {
        let journal::Ticket { id, request, resources, arrived_ns, holder, heard_ns, silent, rank, turned_ns } = form;
        Ok(Self {
            ticket: Ticket {
                id: Id(id),
                request: parse_there(request, "request")?,
                resources: Amounts::parse(resources).at("resources")?,
                arrived: Time::parse(arrived_ns)?,
                holder: parse_said::<Holder>(holder, "holder")?,
                heard: Time::parse(heard_ns)?,
                silent,
            },
            rank: narrow(rank).at("rank")?,
            turned: turned_ns.map(Time::from_nanos),
        })
    }
}

impl Persisted for Ended {
    type Form = journal::EndedRequest;

    fn form(&self) -> Self::Form {
        let Self { id, request, end, admitted, at } = self;
        journal::EndedRequest {
            id: id.0,
            request: Some(request.form()),
            end: end.form(),
            admitted: *admitted,
            at_ns: at.form(),
        }
    }

    fn parse(form: Self::Form) -> Result<Self, RecordError> {
        let journal::EndedRequest { id, request, end, admitted, at_ns } = form;
        Ok(Self {
            id: Id(id),
            request: parse_there(request, "request")?,
            end: Persisted::parse(end).at("end")?,
            admitted,
            at: Time::parse(at_ns)?,
        })
    }
}
