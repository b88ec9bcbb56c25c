//! The ledger's answers, in the wire's words.

use std::collections::BTreeMap;
use std::time::Duration;

use headgate_ledger as ledger;
use headgate_ledger::{Amount, Amounts, Id, Ledger, LevelNumbers, Name, State, Time};
use headgate_proto::v1;

use super::ids::{self, Cell};
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

fn holder(holder: &Option<ledger::Holder>) -> String {
    holder.as_ref().map(ToString::to_string).unwrap_or_default()
}

/// A reason, as `ledger` stands.
pub(super) fn reason(ledger: &Ledger, reason: &ledger::Reason) -> v1::ReasonDetail {
    let ledger::Reason { code, tenant, resource, budget, used, requested, limit } = reason;
    let turns = budget.as_ref().and_then(|budget| ledger.budget(tenant.as_str(), budget.as_str()));
    v1::ReasonDetail {
        code: code.wire().into(),
        tenant: tenant.to_string(),
        resource: resource.as_ref().map(ToString::to_string).unwrap_or_default(),
        used: units(*used),
        requested: units(*requested),
        limit: units(*limit),
        budget: budget.as_ref().map(ToString::to_string).unwrap_or_default(),
        until: turns.and_then(|budget| time(budget.ends)),
    }
}

pub(super) fn reasons(ledger: &Ledger, reasons: &[ledger::Reason]) -> Vec<v1::ReasonDetail> {
    reasons.iter().map(|one| reason(ledger, one)).collect()
}

/// A lease.
pub(super) fn lease(cell: &Cell, lease: &ledger::Lease) -> v1::Lease {
    let ledger::Lease {
        id,
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
    } = lease;
    v1::Lease {
        lease_id: ids::text(cell, *id),
        request_id: request.id.to_string(),
        tenant: request.tenant.to_string(),
        pool: request.pool.to_string(),
        state: lease.state().wire().into(),
        resources: amounts(resources),
        count: *count,
        charged: together(resources, *count),
        priority: request.priority,
        borrow: request.borrow,
        holder: holder(held_by),
        labels: labels(&request.labels),
        arrived_at: time(*arrived),
        admitted_at: time(*admitted),
        confirmed_at: confirmed.and_then(time),
        expires_at: time(*expires),
        deadline: deadline.and_then(time),
        observed: observed.map_or(v1::Reason::Unspecified, Word::wire).into(),
    }
}

/// When a ticket is passed over unless its holder is heard.
fn ticket_expires(ledger: &Ledger, ticket: &ledger::Ticket) -> Option<prost_types::Timestamp> {
    let ttl = ledger.pool(ticket.request.pool.as_str())?.ticket_ttl;
    if ttl.is_zero() { None } else { time(ticket.heard.after(ttl)) }
}

/// A ticket, without what changes with others'.
pub(super) fn ticket(cell: &Cell, ledger: &Ledger, ticket: &ledger::Ticket) -> v1::Ticket {
    let ledger::Ticket { id, request, resources, arrived, holder: held_by, heard: _, silent } = ticket;
    v1::Ticket {
        ticket_id: ids::text(cell, *id),
        request_id: request.id.to_string(),
        tenant: request.tenant.to_string(),
        pool: request.pool.to_string(),
        resources: amounts(resources),
        count: request.count,
        min_count: request.min_count,
        priority: request.priority,
        borrow: request.borrow,
        holder: holder(held_by),
        labels: labels(&request.labels),
        arrived_at: time(*arrived),
        expires_at: ticket_expires(ledger, ticket),
        silent: *silent,
        claims: false,
        holds_at: None,
        position: 0,
        expected_wait: None,
        reasons: Vec::new(),
    }
}

/// What is remembered of a request that is gone.
pub(super) fn ended(cell: &Cell, ended: &ledger::Ended) -> v1::Ended {
    let ledger::Ended { id, request, end, admitted, at } = ended;
    v1::Ended {
        id: ids::text(cell, *id),
        request_id: request.id.to_string(),
        tenant: request.tenant.to_string(),
        pool: request.pool.to_string(),
        holder: holder(&request.holder),
        admitted: *admitted,
        cause: end.wire().into(),
        ended_at: time(*at),
    }
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
pub(super) fn explanation(ledger: &Ledger, pool: &Name, explanation: &ledger::Explanation) -> v1::Explanation {
    let ledger::Explanation { outcome: _, reasons: _, levels, position: _, expected_wait: _, reclaiming: _ } =
        explanation;
    v1::Explanation {
        levels: levels.iter().map(|one| level(pool, one)).collect(),
        budgets: levels.iter().flat_map(|one| budgets(ledger, one.standing.tenant.as_str())).collect(),
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

/// What an answer tells of how a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// All of it.
    Whole,
    /// Not what a lease holds: for those who only keep it alive.
    Brief,
}

/// How a lease, ticket or ended request stands; none where it is not known.
pub(super) fn standing(ledger: &Ledger, cell: &Cell, id: Id, detail: Detail) -> Option<v1::Answer> {
    if let Some(lease) = ledger.lease(id) {
        return Some(lease_answer(cell, lease, detail));
    }
    if let Some(ticket) = ledger.ticket(id) {
        return Some(v1::Answer {
            decision: v1::Decision::Queue.into(),
            ticket_id: ids::text(cell, id),
            state: v1::State::Waiting.into(),
            count: ticket.request.count,
            expires_at: ticket_expires(ledger, ticket),
            ..v1::Answer::default()
        });
    }
    ledger.ended(id).map(|ended| ended_answer(cell, ended))
}

/// The answer of who has a lease.
pub(super) fn lease_answer(cell: &Cell, lease: &ledger::Lease, detail: Detail) -> v1::Answer {
    let state = lease.state();
    v1::Answer {
        decision: v1::Decision::Allow.into(),
        lease_id: ids::text(cell, lease.id),
        state: state.wire().into(),
        charged: match detail {
            Detail::Whole => together(&lease.resources, lease.count),
            Detail::Brief => BTreeMap::new(),
        },
        count: lease.count,
        expires_at: time(lease.expires),
        deadline: match state {
            State::Reclaiming => lease.deadline.and_then(time),
            State::Waiting | State::Provisional | State::Active | State::Ended(_) => None,
        },
        ..v1::Answer::default()
    }
}

/// The answer of who had a lease or a ticket: what was decided at last, and how it ended.
pub(super) fn ended_answer(cell: &Cell, ended: &ledger::Ended) -> v1::Answer {
    let ledger::Ended { id, request: _, end, admitted, at: _ } = ended;
    let text = ids::text(cell, *id);
    let answer = v1::Answer { state: v1::State::Ended.into(), end_cause: end.wire().into(), ..v1::Answer::default() };
    if *admitted {
        v1::Answer { decision: v1::Decision::Allow.into(), lease_id: text, ..answer }
    } else {
        // A ticket that ended by itself was denied in the end; its holder's own doing denies nothing.
        let decision = match end {
            ledger::End::WaitedTooLong => v1::Decision::Deny,
            ledger::End::Released
            | ledger::End::Cancelled
            | ledger::End::Expired
            | ledger::End::Unconfirmed
            | ledger::End::Revoked
            | ledger::End::Silent => v1::Decision::Queue,
        };
        v1::Answer { decision: decision.into(), ticket_id: text, ..answer }
    }
}
