//! The engine's answers, in the wire's words.

use std::collections::BTreeMap;
use std::time::Duration;

use headgate_ledger as ledger;
use headgate_ledger::{Amount, Amounts, Id, Ledger, LevelNumbers, Name, State, Time};
use headgate_proto::v1;

use crate::engine::{Answer, Event, EventKind, Footing, Happened, LeaseId, Stands};

use super::rates;
use super::words::Word;

/// Amounts on the wire are signed; no ledger holds more than that takes.
pub(super) fn units(amount: Amount) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

pub(super) fn time(time: Time) -> Option<prost_types::Timestamp> {
    const SECOND: u64 = 1_000_000_000;
    if time == Time::NEVER {
        return None;
    }
    // Both fit: there are 18 thousand million seconds in 64 bits of nanoseconds.
    let seconds = i64::try_from(time.nanos() / SECOND).unwrap_or(i64::MAX);
    let nanos = i32::try_from(time.nanos() % SECOND).unwrap_or(0);
    Some(prost_types::Timestamp { seconds, nanos })
}

pub(super) fn span(span: Duration) -> Option<prost_types::Duration> {
    span.try_into().ok()
}

fn amounts(amounts: &Amounts) -> BTreeMap<String, i64> {
    amounts.iter().map(|(name, amount)| (name.to_string(), units(amount))).collect()
}

/// What so many instances take together.
fn together(each: &Amounts, count: u32) -> BTreeMap<String, i64> {
    let all = |amount: Amount| units(amount.saturating_mul(count.into()));
    each.iter().map(|(name, amount)| (name.to_string(), all(amount))).collect()
}

fn labels(labels: &[(String, String)]) -> BTreeMap<String, String> {
    labels.iter().cloned().collect()
}

fn holder(holder: Option<&ledger::Holder>) -> String {
    holder.map(ToString::to_string).unwrap_or_default()
}

pub(super) fn reasons(reasons: &[ledger::Reason]) -> Vec<v1::ReasonDetail> {
    reasons.iter().map(reason).collect()
}

fn reason(reason: &ledger::Reason) -> v1::ReasonDetail {
    let ledger::Reason { code, tenant, resource, budget, rate, used, requested, limit, until } = reason;
    v1::ReasonDetail {
        code: code.wire().into(),
        tenant: tenant.to_string(),
        resource: resource.as_ref().map(ToString::to_string).unwrap_or_default(),
        used: units(*used),
        requested: units(*requested),
        limit: units(*limit),
        budget: budget.as_ref().map(ToString::to_string).unwrap_or_default(),
        until: until.and_then(time),
        rate: rate.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

fn id(cell: &Name, number: Id) -> String {
    LeaseId { cell: cell.clone(), number }.to_string()
}

/// A lease.
pub(super) fn lease(cell: &Name, lease: &ledger::Lease) -> v1::Lease {
    let ledger::LeaseParts {
        id: number,
        request,
        resources,
        count,
        arrived,
        admitted,
        confirmed,
        holder: held_by,
        expires,
        deadline,
        observed,
    } = lease.parts();
    v1::Lease {
        lease_id: id(cell, number),
        request_id: request.id.to_string(),
        tenant: request.tenant.to_string(),
        pool: request.pool.to_string(),
        state: lease.state().wire().into(),
        resources: amounts(&resources),
        count,
        charged: together(&resources, count),
        priority: request.priority,
        borrow: request.borrow,
        holder: holder(held_by.as_ref()),
        labels: labels(&request.labels),
        arrived_at: time(arrived),
        admitted_at: time(admitted),
        confirmed_at: confirmed.and_then(time),
        expires_at: time(expires),
        deadline: deadline.and_then(time),
        observed: observed.map_or(v1::Reason::Unspecified, Word::wire).into(),
    }
}

/// A ticket, without what changes with others'. It is passed over at `silent_at` unless its holder is heard.
pub(super) fn ticket(cell: &Name, ticket: &ledger::Ticket, silent_at: Option<Time>) -> v1::Ticket {
    let ledger::Ticket { id: number, request, resources, arrived, holder: held_by, heard: _, silent } = ticket;
    v1::Ticket {
        ticket_id: id(cell, *number),
        request_id: request.id.to_string(),
        tenant: request.tenant.to_string(),
        pool: request.pool.to_string(),
        resources: amounts(resources),
        count: request.count,
        min_count: request.min_count,
        priority: request.priority,
        borrow: request.borrow,
        holder: holder(held_by.as_ref()),
        labels: labels(&request.labels),
        arrived_at: time(*arrived),
        expires_at: silent_at.and_then(time),
        silent: *silent,
        claims: false,
        holds_at: None,
        held: BTreeMap::new(),
        position: 0,
        expected_wait: None,
        reasons: Vec::new(),
    }
}

/// Tells of a ticket what is on its way for it, and what is held for it.
pub(super) fn spoken_for(ledger: &Ledger, id: Id, ticket: &mut v1::Ticket) {
    ticket.claims = ledger.claims(id);
    if let Some(ledger::HeldFor { tenant, resources }) = ledger.held_for(id) {
        ticket.holds_at = Some(tenant.to_string());
        ticket.held = resources.iter().map(|(name, amount)| (name.to_string(), units(*amount))).collect();
    }
}

/// What is remembered of a request that is gone.
pub(super) fn ended(cell: &Name, ended: &ledger::Ended, held_by: Option<&ledger::Holder>) -> v1::Ended {
    let ledger::Ended { id: number, request, end, admitted, at } = ended;
    v1::Ended {
        id: id(cell, *number),
        request_id: request.id.to_string(),
        tenant: request.tenant.to_string(),
        pool: request.pool.to_string(),
        holder: holder(held_by),
        admitted: *admitted,
        cause: end.wire().into(),
        ended_at: time(*at),
    }
}

/// The pool that a request is for.
pub(super) fn pool_of(stands: &Stands) -> &Name {
    match stands {
        Stands::Ticket { ticket, silent_at: _ } => &ticket.request.pool,
        Stands::Lease(lease) => &lease.request.pool,
        Stands::Ended { ended, holder: _ } => &ended.request.pool,
    }
}

/// All that happened at one sequence number.
pub(super) fn happened(cell: &Name, happened: &Happened) -> v1::Events {
    let Happened { sequence: _, events } = happened;
    v1::Events { events: events.iter().map(|one| event(cell, one)).collect() }
}

fn event(cell: &Name, event: &Event) -> v1::Event {
    let Event { kind, time: at, after, held_before: _ } = event;
    let kind = match kind {
        EventKind::Queued => v1::EventKind::Queued,
        EventKind::Admitted => v1::EventKind::Admitted,
        EventKind::Confirmed => v1::EventKind::Confirmed,
        EventKind::HandedOver => v1::EventKind::HandedOver,
        EventKind::Resized => v1::EventKind::Resized,
        EventKind::Reclaiming => v1::EventKind::Reclaiming,
        EventKind::LetOff => v1::EventKind::LetOff,
        EventKind::Ended => v1::EventKind::Ended,
        EventKind::Revoked => v1::EventKind::Revoked,
        EventKind::Expired => v1::EventKind::Expired,
    };
    let after = match after {
        Stands::Ticket { ticket: one, silent_at } => v1::event::After::Ticket(ticket(cell, one, *silent_at)),
        Stands::Lease(one) => v1::event::After::Lease(lease(cell, one)),
        Stands::Ended { ended: one, holder } => v1::event::After::Ended(ended(cell, one, holder.as_ref())),
    };
    v1::Event { kind: kind.into(), time: time(*at), after: Some(after) }
}

/// How a node stands.
pub(super) fn usage(pool: &Name, standing: &ledger::Standing) -> v1::Usage {
    let ledger::Standing { tenant, running, waiting, reclaiming, share_millionths, rank, sisters, holdings } = standing;
    /// Of a whole, in the unit of the field.
    const MILLION: f64 = 1e6;
    v1::Usage {
        tenant: tenant.to_string(),
        pool: pool.to_string(),
        own: false,
        running: *running,
        reclaiming: *reclaiming,
        waiting: *waiting,
        weighted_share: *share_millionths as f64 / MILLION,
        rank: if tenant.is_root() { 0 } else { *rank },
        sisters: *sisters,
        resources: holdings.iter().map(holding).collect(),
    }
}

fn holding(holding: &ledger::Holding) -> v1::ResourceUsage {
    let ledger::Holding { resource, usage, guaranteed, limit, lendable, borrowed, held } = holding;
    v1::ResourceUsage {
        resource: resource.to_string(),
        usage: units(*usage),
        guaranteed: units(*guaranteed),
        limit: limit.map(units),
        lendable: units(*lendable),
        borrowed: units(*borrowed),
        held: units(*held),
        usage_after: None,
        borrowed_after: None,
        blocked: false,
    }
}

fn level(pool: &Name, level: &LevelNumbers) -> v1::Usage {
    let LevelNumbers { standing, usage_after, borrowed_after, blocked } = level;
    let mut usage = usage(pool, standing);
    for resource in &mut usage.resources {
        let named = |(name, _): &&(ledger::Resource, Amount)| name.as_str() == resource.resource;
        resource.usage_after = usage_after.iter().find(named).map(|(_, amount)| units(*amount));
        resource.borrowed_after = borrowed_after.iter().find(named).map(|(_, amount)| units(*amount));
        resource.blocked = blocked.iter().any(|name| name.as_str() == resource.resource);
    }
    usage
}

/// The numbers that an answer was made from. Every level is the request's tenant or one above it: what others hold is
/// in their sums alone.
pub(super) fn explanation(
    ledger: &Ledger,
    now: Time,
    pool: &Name,
    explanation: &ledger::Explanation,
) -> v1::Explanation {
    let ledger::Explanation { outcome: _, reasons: _, levels, position: _, expected_wait: _, reclaiming: _ } =
        explanation;
    v1::Explanation {
        levels: levels.iter().map(|one| level(pool, one)).collect(),
        budgets: levels.iter().flat_map(|one| budgets(ledger, one.standing.tenant.as_str())).collect(),
        rates: levels.iter().flat_map(|one| rates::usage(ledger, now, one.standing.tenant.as_str())).collect(),
    }
}

/// The budgets of a tenant, as they stand.
pub(super) fn budgets(ledger: &Ledger, tenant: &str) -> Vec<v1::BudgetUsage> {
    let spec = ledger.tenant(tenant).map(|tenant| &tenant.budgets[..]).unwrap_or_default();
    spec.iter()
        .filter_map(|budget| {
            let ledger::BudgetStanding { used, amount, started, ends } = ledger.budget(tenant, budget.name.as_str())?;
            Some(v1::BudgetUsage {
                tenant: tenant.to_owned(),
                name: budget.name.to_string(),
                resource: budget.resource.to_string(),
                amount: units(amount),
                used: units(used),
                left: units(amount.saturating_sub(used)),
                started_at: time(started),
                turns_at: time(ends),
            })
        })
        .collect()
}

/// What an answer tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// All of it.
    Whole,
    /// Not what a lease holds: for those who only keep it alive.
    Brief,
}

/// An answer, without its explanation.
pub(super) fn answer(answer: &Answer, detail: Detail) -> v1::Answer {
    let Answer {
        cell,
        outcome,
        stands,
        repeated: _,
        reasons: found,
        would_be,
        enforce,
        position,
        expected_wait,
        explanation: _,
    } = answer;
    let known = v1::Answer {
        decision: outcome.wire().into(),
        reasons: reasons(found),
        would_be: would_be.map_or(v1::Decision::Unspecified, Word::wire).into(),
        enforce: enforce.wire().into(),
        position: position.unwrap_or_default(),
        expected_wait: expected_wait.and_then(span),
        ..v1::Answer::default()
    };
    match stands {
        None => known,
        Some(Footing::Ticket { id: number, pool: _, count, silent_at }) => v1::Answer {
            ticket_id: id(cell, *number),
            state: v1::State::Waiting.into(),
            count: *count,
            expires_at: silent_at.and_then(time),
            ..known
        },
        Some(Footing::Lease { id: number, resources, count, state, expires, deadline }) => v1::Answer {
            lease_id: id(cell, *number),
            state: state.wire().into(),
            charged: match detail {
                Detail::Whole => together(resources, *count),
                Detail::Brief => BTreeMap::new(),
            },
            count: *count,
            expires_at: time(*expires),
            deadline: match state {
                State::Reclaiming => deadline.and_then(time),
                State::Waiting | State::Provisional | State::Active | State::Ended(_) => None,
            },
            ..known
        },
        Some(Footing::Ended { id: number, end, admitted }) => {
            let text = id(cell, *number);
            let known = v1::Answer { state: v1::State::Ended.into(), end_cause: end.wire().into(), ..known };
            if *admitted { v1::Answer { lease_id: text, ..known } } else { v1::Answer { ticket_id: text, ..known } }
        }
    }
}
