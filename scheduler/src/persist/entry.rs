//! Entries.

use headgate_ledger::{Amounts, Entry, Found, Guarantee, Hit, Id, Name, Place, Resource, TenantPath, Time, Victim};
use headgate_proto::journal::v1 as journal;
use headgate_proto::journal::v1::entry::Entry as Form;

use super::error::{At, RecordError};
use super::form::{Persisted, forms, parse_all, parse_place, parse_said, parse_there};

impl Persisted for Place {
    type Form = journal::Place;

    fn form(&self) -> Self::Form {
        let Self { tenant, own } = self;
        journal::Place { tenant: tenant.form(), own: *own }
    }

    fn parse(form: Self::Form) -> Result<Self, RecordError> {
        let journal::Place { tenant, own } = form;
        Ok(Self { tenant: parse_place(&tenant).at("tenant")?, own })
    }
}

impl Persisted for Guarantee {
    type Form = journal::Guarantee;

    fn form(&self) -> Self::Form {
        let Self { place, resources } = self;
        journal::Guarantee { place: Some(place.form()), resources: forms(resources) }
    }

    fn parse(form: Self::Form) -> Result<Self, RecordError> {
        let journal::Guarantee { place, resources } = form;
        Ok(Self { place: parse_there(place, "place")?, resources: parse_all::<Resource>(resources, "resources")? })
    }
}

impl Persisted for Victim {
    type Form = journal::Victim;

    fn form(&self) -> Self::Form {
        let Self { lease, deadline } = self;
        journal::Victim { lease: lease.0, deadline_ns: deadline.form() }
    }

    fn parse(form: Self::Form) -> Result<Self, RecordError> {
        let journal::Victim { lease, deadline_ns } = form;
        Ok(Self { lease: Id(lease), deadline: Time::parse(deadline_ns)? })
    }
}

impl Persisted for Hit {
    type Form = journal::Hit;

    fn form(&self) -> Self::Form {
        let Self { pool, tenant, resource, amount } = self;
        journal::Hit { pool: pool.form(), tenant: tenant.form(), resource: resource.form(), amount: *amount }
    }

    fn parse(form: Self::Form) -> Result<Self, RecordError> {
        let journal::Hit { pool, tenant, resource, amount } = form;
        Ok(Self {
            pool: Name::parse(&pool).at("pool")?,
            tenant: TenantPath::parse(&tenant).at("tenant")?,
            resource: Resource::parse(&resource).at("resource")?,
            amount,
        })
    }
}

impl Persisted for Entry {
    type Form = journal::Entry;

    fn form(&self) -> Self::Form {
        let entry = match self {
            Self::Configured(changes) => Form::Configured(journal::Configured { changes: forms(changes) }),
            Self::Admitted { id, request, count, observed, found: _ } => Form::Admitted(journal::Admitted {
                id: id.0,
                request: Some(request.form()),
                count: *count,
                observed: observed.as_ref().map(Persisted::form),
            }),
            Self::Queued { id, request } => Form::Queued(journal::Queued { id: id.0, request: Some(request.form()) }),
            Self::Dispatched { id, count } => Form::Dispatched(journal::Dispatched { id: id.0, count: *count }),
            Self::Confirmed { id } => Form::Confirmed(journal::Confirmed { id: id.0 }),
            Self::Renewed { id, holder } => {
                Form::Renewed(journal::Renewed { id: id.0, holder: holder.as_ref().map(Persisted::form) })
            }
            Self::Resized { id, resources, observed } => Form::Resized(journal::Resized {
                id: id.0,
                resources: resources.form(),
                observed: observed.as_ref().map(Persisted::form),
            }),
            Self::Ended { id, end } => Form::Ended(journal::Ended { id: id.0, end: end.form() }),
            Self::Claimed { id, owner, by, victims } => {
                Form::Claimed(journal::Claimed { id: id.0, owner: *owner, by: forms(by), victims: forms(victims) })
            }
            Self::ClaimExtended { id, by, victims } => {
                Form::ClaimExtended(journal::ClaimExtended { id: id.0, by: forms(by), victims: forms(victims) })
            }
            Self::ClaimDropped { id } => Form::ClaimDropped(journal::ClaimDropped { id: id.0 }),
            Self::LetOff { lease } => Form::LetOff(journal::LetOff { lease: lease.0 }),
            Self::HoldsPassed { pool, turned, lost, held } => Form::HoldsPassed(journal::HoldsPassed {
                pool: pool.form(),
                turned: turned.iter().map(|id| id.0).collect(),
                lost: lost.iter().map(|id| id.0).collect(),
                held: held
                    .iter()
                    .map(|(id, place)| journal::HeldPlace { id: id.0, place: Some(place.form()) })
                    .collect(),
            }),
            Self::Silenced { id } => Form::Silenced(journal::Silenced { id: id.0 }),
            Self::BudgetTurned { tenant, budget, started, ends } => Form::BudgetTurned(journal::BudgetTurned {
                tenant: tenant.form(),
                budget: budget.form(),
                started_ns: started.form(),
                ends_ns: ends.form(),
            }),
            Self::BurstOver { pool, tenant } => {
                Form::BurstOver(journal::BurstOver { pool: pool.form(), tenant: tenant.form() })
            }
            Self::MemberGone { tenant } => Form::MemberGone(journal::MemberGone { tenant: tenant.form() }),
            Self::Drained { tenant } => Form::Drained(journal::Drained { tenant: tenant.form() }),
            Self::Hit { hits } => Form::Hits(journal::Hits { hits: forms(hits) }),
            Self::Resumed => Form::Resumed(journal::Resumed {}),
        };
        journal::Entry { entry: Some(entry) }
    }

    fn parse(form: Self::Form) -> Result<Self, RecordError> {
        let journal::Entry { entry } = form;
        match entry.ok_or_else(RecordError::missing)? {
            Form::Configured(journal::Configured { changes }) => {
                parse_all(changes, "changes").map(Self::Configured).at("configured")
            }
            Form::Admitted(form) => admitted(form).at("admitted"),
            Form::Queued(journal::Queued { id, request }) => {
                parse_there(request, "request").map(|request| Self::Queued { id: Id(id), request }).at("queued")
            }
            Form::Dispatched(journal::Dispatched { id, count }) => Ok(Self::Dispatched { id: Id(id), count }),
            Form::Confirmed(journal::Confirmed { id }) => Ok(Self::Confirmed { id: Id(id) }),
            Form::Renewed(journal::Renewed { id, holder }) => {
                parse_said(holder, "holder").map(|holder| Self::Renewed { id: Id(id), holder }).at("renewed")
            }
            Form::Resized(form) => resized(form).at("resized"),
            Form::Ended(journal::Ended { id, end }) => {
                Ok(Self::Ended { id: Id(id), end: Persisted::parse(end).at("end").at("ended")? })
            }
            Form::Claimed(form) => claimed(form).at("claimed"),
            Form::ClaimExtended(form) => claim_extended(form).at("claim_extended"),
            Form::ClaimDropped(journal::ClaimDropped { id }) => Ok(Self::ClaimDropped { id: Id(id) }),
            Form::LetOff(journal::LetOff { lease }) => Ok(Self::LetOff { lease: Id(lease) }),
            Form::HoldsPassed(form) => holds_passed(form).at("holds_passed"),
            Form::Silenced(journal::Silenced { id }) => Ok(Self::Silenced { id: Id(id) }),
            Form::BudgetTurned(form) => budget_turned(form).at("budget_turned"),
            Form::BurstOver(form) => burst_over(form).at("burst_over"),
            Form::MemberGone(journal::MemberGone { tenant }) => {
                Ok(Self::MemberGone { tenant: TenantPath::parse(&tenant).at("tenant").at("member_gone")? })
            }
            Form::Drained(journal::Drained { tenant }) => {
                Ok(Self::Drained { tenant: TenantPath::parse(&tenant).at("tenant").at("drained")? })
            }
            Form::Hits(journal::Hits { hits }) => parse_all(hits, "hits").map(|hits| Self::Hit { hits }).at("hits"),
            Form::Resumed(journal::Resumed {}) => Ok(Self::Resumed),
        }
    }
}

fn admitted(form: journal::Admitted) -> Result<Entry, RecordError> {
    let journal::Admitted { id, request, count, observed } = form;
    Ok(Entry::Admitted {
        id: Id(id),
        request: parse_there(request, "request")?,
        count,
        observed: parse_said(observed, "observed")?,
        found: Found::default(),
    })
}

fn resized(form: journal::Resized) -> Result<Entry, RecordError> {
    let journal::Resized { id, resources, observed } = form;
    Ok(Entry::Resized {
        id: Id(id),
        resources: Amounts::parse(resources).at("resources")?,
        observed: parse_said(observed, "observed")?,
    })
}

fn claimed(form: journal::Claimed) -> Result<Entry, RecordError> {
    let journal::Claimed { id, owner, by, victims } = form;
    Ok(Entry::Claimed { id: Id(id), owner, by: parse_all(by, "by")?, victims: parse_all(victims, "victims")? })
}

fn claim_extended(form: journal::ClaimExtended) -> Result<Entry, RecordError> {
    let journal::ClaimExtended { id, by, victims } = form;
    Ok(Entry::ClaimExtended { id: Id(id), by: parse_all(by, "by")?, victims: parse_all(victims, "victims")? })
}

fn holds_passed(form: journal::HoldsPassed) -> Result<Entry, RecordError> {
    let journal::HoldsPassed { pool, turned, lost, held } = form;
    let held = held.into_iter().enumerate().map(|(index, journal::HeldPlace { id, place })| {
        Ok::<_, RecordError>((Id(id), parse_there(place, "place").at_item("held", index)?))
    });
    Ok(Entry::HoldsPassed {
        pool: Name::parse(&pool).at("pool")?,
        turned: turned.into_iter().map(Id).collect(),
        lost: lost.into_iter().map(Id).collect(),
        held: held.collect::<Result<_, _>>()?,
    })
}

fn burst_over(form: journal::BurstOver) -> Result<Entry, RecordError> {
    let journal::BurstOver { pool, tenant } = form;
    Ok(Entry::BurstOver { pool: Name::parse(&pool).at("pool")?, tenant: TenantPath::parse(&tenant).at("tenant")? })
}

fn budget_turned(form: journal::BudgetTurned) -> Result<Entry, RecordError> {
    let journal::BudgetTurned { tenant, budget, started_ns, ends_ns } = form;
    Ok(Entry::BudgetTurned {
        tenant: TenantPath::parse(&tenant).at("tenant")?,
        budget: Name::parse(&budget).at("budget")?,
        started: Time::parse(started_ns)?,
        ends: Time::parse(ends_ns)?,
    })
}
