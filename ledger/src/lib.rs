//! The rules of admission and fair share, pure.
//!
//! A [`Ledger`] is asked, and posted to. Questions ([`admit`](Ledger::admit), [`hit`](Ledger::hit), [`confirm`](Ledger::confirm),
//! [`renew`](Ledger::renew), [`close`](Ledger::close), [`amend`](Ledger::amend), [`configure`](Ledger::configure),
//! [`due`](Ledger::due)) take `&self` and the time, and answer with a refusal or an [`Entry`];
//! [`post`](Ledger::post) is the only thing that changes anything, and cannot fail. [`due`](Ledger::due) is what
//! follows from time and state alone; [`next_due`](Ledger::next_due) says when to ask again. After every post, ask
//! `due` until it says nothing.
//!
//! There is no I/O, clock, randomness, async, logging or serialization here, and no float decides anything.

mod adjust;
#[cfg(debug_assertions)]
mod agree;
mod amount;
mod ask;
mod asks;
mod audit;
mod average;
mod book;
mod bound;
mod budget;
mod bundle;
mod burst;
mod claim;
mod config;
mod configure;
mod count;
mod decide;
mod decision;
mod dispatch;
mod due;
mod ended;
mod entry;
mod found;
mod granted;
mod hit;
mod hold;
mod ids;
mod lease;
mod ledger;
mod marks;
mod memo;
mod name;
mod never;
mod node;
mod page;
mod pool;
mod post;
mod prefetch;
mod queue;
mod rate;
mod rated;
mod rebuild;
mod reclaim;
mod request;
mod requests;
mod rows;
mod share;
mod snapshot;
mod tenants;
mod ticket;
mod time;
mod tree;
mod victims;
mod views;

pub use amount::{AMOUNT_MAX, Amount, Amounts, AmountsError, Level, Levels, RESOURCES_MAX, WHOLE};
pub use bound::{HitBound, HitPer};
pub use config::{
    Budget, Burst, Calendar, Change, Class, Enforce, Lifecycle, Lifecycles, Members, OnExceed, Order, Period, Pool,
    QueueLimit, Quota, Rate, Settings, ShareOf, Source, Tenant, UtcDays, default_cell,
};
pub use configure::{BUDGETS_MAX, POOLS_MAX, QUEUED_MAX, RATES_MAX, TENANTS_MAX, WEIGHT_MAX};
pub use decision::{
    Amendment, Configured, Decision, Explanation, Holding, LevelNumbers, Outcome, Problem, Refusal, Standing, Violation,
};
pub use entry::{Entry, Guarantee, Place, Victim};
pub use found::Found;
pub use granted::{Lease, LeaseParts};
pub use hit::{HITS_MAX, Hit, HitDecision, HitStanding};
pub use ledger::{Close, Ledger};
pub use name::{
    HOLDER_BYTES_MAX, Holder, LEVELS_MAX, NAME_BYTES_MAX, Name, NameError, REQUEST_ID_BYTES_MAX, RESOURCE_BYTES_MAX,
    RequestId, Resource, TenantPath, is_shown,
};
pub use request::{
    COUNT_MAX, Demand, End, Ended, Id, LABEL_BYTES_MAX, LABELS_MAX, PRIORITY_MAX, Reason, ReasonCode, Request,
    SPAN_MAX, State, Ticket, check_labels,
};
pub use snapshot::{
    AverageSnapshot, BudgetSnapshot, BurstSnapshot, ClaimSnapshot, HoldSnapshot, PoolSnapshot, RateSnapshot, Snapshot,
    TenantSnapshot, TicketSnapshot,
};
pub use time::Time;
pub use views::{BudgetStanding, HeldFor, Object, RateStanding};
