//! The shape of a pool.

use std::time::Duration;

use headgate_ledger as ledger;
use headgate_ledger::Amounts;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::amounts::AmountMap;
use super::scalar::{Label, QueueRoom, Span};
use super::words::{Enforce, Order, ShareOf};
use crate::config::read::At;

/// A body of capacity, and the rules by which it is queued for, shared and taken back. What is not said is the
/// default, or in a change stays as it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Pool")]
pub struct PoolShape {
    /// Its name.
    pub name: At<Label>,
    /// The cell that decides on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cell: Option<Label>,
    /// Capacity per resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<AmountMap>,
    /// What of the capacity is not available just now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<AmountMap>,
    /// Added to each instance that does not name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub implied: Option<AmountMap>,
    /// Order of a tenant's own tickets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// What a share is made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_of: Option<ShareOf>,
    /// Above zero: shares are taken of decayed usage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub half_life: Option<Span>,
    /// How much earlier one point of priority counts; 0s: priority first, then arrival.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_step: Option<Span>,
    /// From when freed capacity is held for a waiting ticket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_after: Option<Span>,
    /// When the turn of a hold is over; 0s: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_for: Option<Span>,
    /// When a ticket ends with deny; 0s: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_wait: Option<Span>,
    /// Tickets that may wait in the pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_queued: Option<u32>,
    /// Tickets of its own that a tenant may have waiting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_queued_per_tenant: Option<QueueRoom>,
    /// Whether borrowed capacity is taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reclaim: Option<bool>,
    /// Notice before a lease is revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace: Option<Span>,
    /// A lease younger than this is nobody's victim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_runtime: Option<Span>,
    /// Time to live of a lease, renewed by its holder; 0s: until released.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_ttl: Option<Span>,
    /// Life of a provisional lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm_within: Option<Span>,
    /// Above zero: a ticket whose holder is silent so long is passed over, and ends after ten times as long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket_ttl: Option<Span>,
    /// Whether tenants may be guaranteed more than their parent is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overcommit: Option<bool>,
    /// What becomes of a decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforce: Option<Enforce>,
    /// Nothing new is admitted; what runs stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
}

impl PoolShape {
    /// The pool, with what is not said taken from `pool`.
    pub fn over(self, pool: ledger::Pool) -> ledger::Pool {
        let Self {
            name: _,
            cell,
            capacity,
            unavailable,
            implied,
            order,
            share_of,
            half_life,
            age_step,
            hold_after,
            hold_for,
            max_wait,
            max_queued,
            max_queued_per_tenant,
            reclaim,
            grace,
            min_runtime,
            lease_ttl,
            confirm_within,
            ticket_ttl,
            overcommit,
            enforce,
            paused,
        } = self;
        let span = |said: Option<Span>, else_: Duration| said.map_or(else_, |Span(span)| span);
        let amounts = |said: Option<AmountMap>, else_: Amounts| said.map_or(else_, |AmountMap(amounts)| amounts);
        ledger::Pool {
            cell: cell.map_or(pool.cell, |Label(cell)| cell),
            capacity: amounts(capacity, pool.capacity),
            unavailable: amounts(unavailable, pool.unavailable),
            implied: amounts(implied, pool.implied),
            order: order.map_or(pool.order, Into::into),
            share_of: share_of.map_or(pool.share_of, Into::into),
            half_life: span(half_life, pool.half_life),
            age_step: span(age_step, pool.age_step),
            hold_after: span(hold_after, pool.hold_after),
            hold_for: span(hold_for, pool.hold_for),
            max_wait: span(max_wait, pool.max_wait),
            max_queued: max_queued.unwrap_or(pool.max_queued),
            max_queued_per_tenant: max_queued_per_tenant.map_or(pool.max_queued_per_tenant, |QueueRoom(room)| room),
            reclaim: reclaim.unwrap_or(pool.reclaim),
            grace: span(grace, pool.grace),
            min_runtime: span(min_runtime, pool.min_runtime),
            lease_ttl: span(lease_ttl, pool.lease_ttl),
            confirm_within: span(confirm_within, pool.confirm_within),
            ticket_ttl: span(ticket_ttl, pool.ticket_ttl),
            overcommit: overcommit.unwrap_or(pool.overcommit),
            enforce: enforce.map_or(pool.enforce, Into::into),
            paused: paused.unwrap_or(pool.paused),
            name: pool.name,
            source: pool.source,
        }
    }
}

impl From<&ledger::Pool> for PoolShape {
    fn from(pool: &ledger::Pool) -> Self {
        let ledger::Pool {
            name,
            cell,
            capacity,
            unavailable,
            implied,
            order,
            share_of,
            half_life,
            age_step,
            hold_after,
            hold_for,
            max_wait,
            max_queued,
            max_queued_per_tenant,
            reclaim,
            grace,
            min_runtime,
            lease_ttl,
            confirm_within,
            ticket_ttl,
            overcommit,
            enforce,
            paused,
            source: _,
        } = pool.clone();
        Self {
            name: Label(name).into(),
            cell: Some(Label(cell)),
            capacity: Some(AmountMap(capacity)),
            unavailable: (!unavailable.is_empty()).then_some(AmountMap(unavailable)),
            implied: Some(AmountMap(implied)),
            order: Some(order.into()),
            share_of: Some(share_of.into()),
            half_life: Some(Span(half_life)),
            age_step: Some(Span(age_step)),
            hold_after: Some(Span(hold_after)),
            hold_for: Some(Span(hold_for)),
            max_wait: Some(Span(max_wait)),
            max_queued: Some(max_queued),
            max_queued_per_tenant: Some(QueueRoom(max_queued_per_tenant)),
            reclaim: Some(reclaim),
            grace: Some(Span(grace)),
            min_runtime: Some(Span(min_runtime)),
            lease_ttl: Some(Span(lease_ttl)),
            confirm_within: Some(Span(confirm_within)),
            ticket_ttl: Some(Span(ticket_ttl)),
            overcommit: Some(overcommit),
            enforce: Some(enforce.into()),
            paused: Some(paused),
        }
    }
}
