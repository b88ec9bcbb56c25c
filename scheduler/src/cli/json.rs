//! Answers as JSON: the wire's field names, short words for its enumerations. What is not set is left out; instants are
//! RFC 3339, durations seconds with an `s`, amounts whole base units, as protobuf's own JSON has them.

use std::collections::BTreeMap;

use headgate_proto::v1;
use prost_types::{Duration, Timestamp};
use serde_json::{Map, Value, json};
use tonic::Code;

use super::fault::code_word;

/// An object that leaves out what is not set.
#[derive(Default)]
struct Object(Map<String, Value>);

impl Object {
    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    fn some(self, name: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// A text, unless it is empty.
    fn text(self, name: &str, text: &str) -> Self {
        if text.is_empty() { self } else { self.with(name, text) }
    }

    /// A number, unless it is zero.
    fn count(self, name: &str, number: impl Into<u64>) -> Self {
        match number.into() {
            0 => self,
            number => self.with(name, number),
        }
    }

    /// True, or nothing.
    fn flag(self, name: &str, set: bool) -> Self {
        if set { self.with(name, true) } else { self }
    }

    fn instant(self, name: &str, at: Option<&Timestamp>) -> Self {
        self.some(name, at.map(ToString::to_string))
    }

    fn span(self, name: &str, span: Option<&Duration>) -> Self {
        self.some(name, span.map(ToString::to_string))
    }

    /// A map, unless it is empty.
    fn map<V: Clone + Into<Value>>(self, name: &str, map: &BTreeMap<String, V>) -> Self {
        if map.is_empty() { self } else { self.with(name, object(map)) }
    }

    /// A list, unless it is empty.
    fn list<T>(self, name: &str, items: &[T], one: impl Fn(&T) -> Value) -> Self {
        if items.is_empty() { self } else { self.with(name, list(items, one)) }
    }

    fn done(self) -> Value {
        Value::Object(self.0)
    }
}

fn object<V: Clone + Into<Value>>(map: &BTreeMap<String, V>) -> Value {
    Value::Object(map.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect())
}

fn list<T>(items: &[T], one: impl Fn(&T) -> Value) -> Value {
    Value::Array(items.iter().map(one).collect())
}

/// `{"items": […]}`.
pub(super) fn items<T>(items: &[T], one: impl Fn(&T) -> Value) -> Value {
    json!({"items": list(items, one)})
}

/// An enumeration's word; none where it is unspecified, or newer than this program.
macro_rules! word {
    ($enumeration:ident, $number:expr) => {
        match v1::$enumeration::try_from($number) {
            Ok(v1::$enumeration::Unspecified) | Err(_) => None,
            Ok(value) => Some(value.word()),
        }
    };
}
pub(super) use word;

/// What was decided.
pub(super) fn answer(answer: &v1::Answer) -> Value {
    let v1::Answer {
        decision,
        lease_id,
        ticket_id,
        state,
        charged,
        count,
        position,
        expected_wait,
        reasons,
        would_be,
        explanation: explained,
        end_cause,
        expires_at,
        deadline,
        enforce,
    } = answer;
    Object::default()
        .some("decision", word!(Decision, *decision))
        .text("lease_id", lease_id)
        .text("ticket_id", ticket_id)
        .some("state", word!(State, *state))
        .map("charged", charged)
        .count("count", *count)
        .count("position", *position)
        .span("expected_wait", expected_wait.as_ref())
        .with("reasons", list(reasons, reason))
        .some("would_be", word!(Decision, *would_be))
        .some("enforce", word!(Enforce, *enforce))
        .some("explanation", explained.as_ref().map(explanation))
        .some("end_cause", word!(EndCause, *end_cause))
        .instant("expires_at", expires_at.as_ref())
        .instant("deadline", deadline.as_ref())
        .done()
}

/// The same, under the request's id.
pub(super) fn answer_to(request_id: &str, to: &v1::Answer) -> Value {
    let mut value = answer(to);
    if let (Value::Object(fields), false) = (&mut value, request_id.is_empty()) {
        fields.insert("request_id".into(), request_id.into());
    }
    value
}

/// A rule that stands against a request. Its tenant is told always: empty is the root.
pub(super) fn reason(reason: &v1::ReasonDetail) -> Value {
    let v1::ReasonDetail { code, tenant, resource, used, requested, limit, budget, until, rate } = reason;
    Object::default()
        .some("code", word!(Reason, *code))
        .with("tenant", tenant.as_str())
        .text("resource", resource)
        .with("used", *used)
        .with("requested", *requested)
        .with("limit", *limit)
        .text("budget", budget)
        .text("rate", rate)
        .instant("until", until.as_ref())
        .done()
}

fn explanation(explanation: &v1::Explanation) -> Value {
    let v1::Explanation { levels, budgets, rates } = explanation;
    Object::default()
        .with("levels", list(levels, usage))
        .list("budgets", budgets, budget)
        .list("rates", rates, rate)
        .done()
}

/// How a node of a pool's tree stands.
pub(super) fn usage(usage: &v1::Usage) -> Value {
    let v1::Usage { tenant, pool, own, running, reclaiming, waiting, weighted_share, rank, sisters, resources } = usage;
    Object::default()
        .with("tenant", tenant.as_str())
        .text("pool", pool)
        .flag("own", *own)
        .with("running", *running)
        .with("reclaiming", *reclaiming)
        .with("waiting", *waiting)
        .with("weighted_share", *weighted_share)
        .count("rank", *rank)
        .count("sisters", *sisters)
        .with("resources", list(resources, resource_usage))
        .done()
}

fn resource_usage(usage: &v1::ResourceUsage) -> Value {
    let v1::ResourceUsage {
        resource,
        usage,
        guaranteed,
        limit,
        lendable,
        borrowed,
        held,
        usage_after,
        borrowed_after,
        blocked,
    } = usage;
    Object::default()
        .with("resource", resource.as_str())
        .with("usage", *usage)
        .with("guaranteed", *guaranteed)
        .some("limit", *limit)
        .with("lendable", *lendable)
        .with("borrowed", *borrowed)
        .with("held", *held)
        .some("usage_after", *usage_after)
        .some("borrowed_after", *borrowed_after)
        .flag("blocked", *blocked)
        .done()
}

/// How a budget stands.
pub(super) fn budget(budget: &v1::BudgetUsage) -> Value {
    let v1::BudgetUsage { tenant, name, resource, amount, used, left, started_at, turns_at } = budget;
    Object::default()
        .with("tenant", tenant.as_str())
        .with("name", name.as_str())
        .with("resource", resource.as_str())
        .with("amount", *amount)
        .with("used", *used)
        .with("left", *left)
        .instant("started_at", started_at.as_ref())
        .instant("turns_at", turns_at.as_ref())
        .done()
}

/// How a rate stands.
pub(super) fn rate(rate: &v1::RateUsage) -> Value {
    let v1::RateUsage { tenant, name, resource, amount, per, burst, left, whole_at } = rate;
    Object::default()
        .with("tenant", tenant.as_str())
        .with("name", name.as_str())
        .with("resource", resource.as_str())
        .with("amount", *amount)
        .span("per", per.as_ref())
        .with("burst", *burst)
        .with("left", *left)
        .instant("whole_at", whole_at.as_ref())
        .done()
}

/// A place in the queue.
pub(super) fn ticket(ticket: &v1::Ticket) -> Value {
    let v1::Ticket {
        ticket_id,
        request_id,
        tenant,
        pool,
        resources,
        count,
        min_count,
        priority,
        borrow,
        holder,
        labels,
        arrived_at,
        expires_at,
        silent,
        claims,
        holds_at,
        held,
        position,
        expected_wait,
        reasons,
    } = ticket;
    Object::default()
        .with("ticket_id", ticket_id.as_str())
        .with("request_id", request_id.as_str())
        .with("tenant", tenant.as_str())
        .with("pool", pool.as_str())
        .with("resources", object(resources))
        .with("count", *count)
        .with("min_count", *min_count)
        .with("priority", *priority)
        .with("borrow", *borrow)
        .text("holder", holder)
        .map("labels", labels)
        .instant("arrived_at", arrived_at.as_ref())
        .instant("expires_at", expires_at.as_ref())
        .flag("silent", *silent)
        .flag("claims", *claims)
        .some("holds_at", holds_at.as_deref())
        .map("held", held)
        .count("position", *position)
        .span("expected_wait", expected_wait.as_ref())
        .list("reasons", reasons, reason)
        .done()
}

/// Capacity in use.
pub(super) fn lease(lease: &v1::Lease) -> Value {
    let v1::Lease {
        lease_id,
        request_id,
        tenant,
        pool,
        state,
        resources,
        count,
        charged,
        priority,
        borrow,
        holder,
        labels,
        arrived_at,
        admitted_at,
        confirmed_at,
        expires_at,
        deadline,
        observed,
    } = lease;
    Object::default()
        .with("lease_id", lease_id.as_str())
        .with("request_id", request_id.as_str())
        .with("tenant", tenant.as_str())
        .with("pool", pool.as_str())
        .some("state", word!(State, *state))
        .with("resources", object(resources))
        .with("count", *count)
        .with("charged", object(charged))
        .with("priority", *priority)
        .with("borrow", *borrow)
        .text("holder", holder)
        .map("labels", labels)
        .instant("arrived_at", arrived_at.as_ref())
        .instant("admitted_at", admitted_at.as_ref())
        .instant("confirmed_at", confirmed_at.as_ref())
        .instant("expires_at", expires_at.as_ref())
        .instant("deadline", deadline.as_ref())
        .some("observed", word!(Reason, *observed))
        .done()
}

/// What is known of what is gone.
pub(super) fn ended(ended: &v1::Ended) -> Value {
    let v1::Ended { id, request_id, tenant, pool, holder, admitted, cause, ended_at } = ended;
    Object::default()
        .with("id", id.as_str())
        .with("request_id", request_id.as_str())
        .with("tenant", tenant.as_str())
        .with("pool", pool.as_str())
        .text("holder", holder)
        .with("admitted", *admitted)
        .some("cause", word!(EndCause, *cause))
        .instant("ended_at", ended_at.as_ref())
        .done()
}

/// What was done with each of several leases or tickets.
pub(super) fn outcomes(outcomes: &[v1::Outcome]) -> Value {
    json!({"outcomes": list(outcomes, outcome)})
}

fn outcome(outcome: &v1::Outcome) -> Value {
    let v1::Outcome { id, status: failed, answer: answered } = outcome;
    Object::default()
        .with("id", id.as_str())
        .some("status", failed.as_ref().map(status))
        .some("answer", answered.as_ref().map(answer))
        .done()
}

fn status(status: &v1::Status) -> Value {
    let v1::Status { code, message, reason, field_violations, retry_after } = status;
    Object::default()
        .with("code", code_word(Code::from_i32(*code)))
        .with("message", message.as_str())
        .text("reason", reason)
        .list(
            "field_violations",
            field_violations,
            |v1::FieldViolation { field, description }| json!({"field": field, "description": description}),
        )
        .span("retry_after", retry_after.as_ref())
        .done()
}

/// How tenants stand, with their budgets and rates.
pub(super) fn usage_items(levels: &[v1::Usage], budgets: &[v1::BudgetUsage], rates: &[v1::RateUsage]) -> Value {
    Object::default()
        .with("items", list(levels, usage))
        .list("budgets", budgets, budget)
        .list("rates", rates, rate)
        .done()
}

/// A pool, as it was set.
pub(super) fn pool(pool: &v1::Pool) -> Value {
    let v1::Pool {
        name,
        cell,
        capacity,
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
        unavailable,
        source,
        resource_version,
    } = pool;
    Object::default()
        .with("name", name.as_str())
        .text("cell", cell)
        .with("capacity", object(capacity))
        .map("implied", implied)
        .some("order", word!(Order, *order))
        .some("share_of", word!(ShareOf, *share_of))
        .span("half_life", half_life.as_ref())
        .span("age_step", age_step.as_ref())
        .span("hold_after", hold_after.as_ref())
        .span("hold_for", hold_for.as_ref())
        .span("max_wait", max_wait.as_ref())
        .some("max_queued", *max_queued)
        .text("max_queued_per_tenant", max_queued_per_tenant)
        .some("reclaim", *reclaim)
        .span("grace", grace.as_ref())
        .span("min_runtime", min_runtime.as_ref())
        .span("lease_ttl", lease_ttl.as_ref())
        .span("confirm_within", confirm_within.as_ref())
        .span("ticket_ttl", ticket_ttl.as_ref())
        .some("overcommit", *overcommit)
        .some("enforce", word!(Enforce, *enforce))
        .with("paused", *paused)
        .map("unavailable", unavailable)
        .some("source", word!(Source, *source))
        .text("resource_version", resource_version)
        .done()
}

/// A class, as it was set.
pub(super) fn class(class: &v1::Class) -> Value {
    let v1::Class { name, guaranteed, limit, lendable, burst: bursts, enforce, source, resource_version } = class;
    Object::default()
        .with("name", name.as_str())
        .map("guaranteed", guaranteed)
        .map("limit", limit)
        .map("lendable", lendable)
        .some("burst", bursts.as_ref().map(burst))
        .some("enforce", word!(Enforce, *enforce))
        .some("source", word!(Source, *source))
        .text("resource_version", resource_version)
        .done()
}

fn burst(burst: &v1::Burst) -> Value {
    let v1::Burst { r#for, cooldown } = burst;
    Object::default().span("for", r#for.as_ref()).span("cooldown", cooldown.as_ref()).done()
}

/// A tenant, as it was set.
pub(super) fn tenant(tenant: &v1::Tenant) -> Value {
    let v1::Tenant {
        path,
        kind,
        weight,
        lifecycle,
        quota: quotas,
        budgets,
        rates,
        max_priority,
        members: makes,
        source,
        resource_version,
        member,
        draining,
    } = tenant;
    let quotas: BTreeMap<String, Value> = quotas.iter().map(|(pool, of)| (pool.clone(), quota(of))).collect();
    Object::default()
        .with("path", path.as_str())
        .text("kind", kind)
        .some("weight", *weight)
        .some("lifecycle", word!(Lifecycle, *lifecycle))
        .map("quota", &quotas)
        .list("budgets", budgets, configured_budget)
        .list("rates", rates, configured_rate)
        .some("max_priority", *max_priority)
        .some("members", makes.as_ref().map(members))
        .some("source", word!(Source, *source))
        .text("resource_version", resource_version)
        .flag("member", *member)
        .flag("draining", *draining)
        .done()
}

fn quota(quota: &v1::Quota) -> Value {
    let v1::Quota { class, guaranteed, limit, lendable, burst: bursts, enforce } = quota;
    Object::default()
        .text("class", class)
        .map("guaranteed", guaranteed)
        .map("limit", limit)
        .map("lendable", lendable)
        .some("burst", bursts.as_ref().map(burst))
        .some("enforce", word!(Enforce, *enforce))
        .done()
}

fn configured_budget(budget: &v1::Budget) -> Value {
    let v1::Budget { name, resource, amount, period, time_zone, on_exceed } = budget;
    Object::default()
        .with("name", name.as_str())
        .with("resource", resource.as_str())
        .with("amount", amount.as_str())
        .some("period", word!(Period, *period))
        .text("time_zone", time_zone)
        .some("on_exceed", word!(OnExceed, *on_exceed))
        .done()
}

fn configured_rate(rate: &v1::Rate) -> Value {
    let v1::Rate { name, resource, amount, per, burst, on_exceed } = rate;
    Object::default()
        .with("name", name.as_str())
        .with("resource", resource.as_str())
        .with("amount", amount.as_str())
        .span("per", per.as_ref())
        .text("burst", burst)
        .some("on_exceed", word!(OnExceed, *on_exceed))
        .done()
}

fn members(members: &v1::Members) -> Value {
    let v1::Members { kind, class, max, keep, rates } = members;
    Object::default()
        .text("kind", kind)
        .text("class", class)
        .some("max", *max)
        .span("keep", keep.as_ref())
        .list("rates", rates, configured_rate)
        .done()
}

/// What a change does.
pub(super) fn effect(effect: &v1::Effect) -> Value {
    let v1::Effect { differences, reclaimed, warnings } = effect;
    json!({
        "differences": list(differences, |v1::Difference { object, kind, fields }| {
            Object::default()
                .with("object", object.as_str())
                .some("kind", word!(DifferenceKind, *kind))
                .list("fields", fields, |v1::FieldDifference { field, before, after }| {
                    json!({"field": field, "before": before, "after": after})
                })
                .done()
        }),
        "reclaimed": list(reclaimed, lease),
        "warnings": warnings,
    })
}

/// An answer with all the numbers that it was made from.
pub(super) fn explained(explained: &v1::ExplainResponse) -> Value {
    use v1::explain_response::Subject;
    let v1::ExplainResponse { subject, answer: decided, reclaiming, tenants } = explained;
    let (waits, holds) = match subject {
        Some(Subject::Ticket(of)) => (Some(ticket(of)), None),
        Some(Subject::Lease(of)) => (None, Some(lease(of))),
        None => (None, None),
    };
    Object::default()
        .some("ticket", waits)
        .some("lease", holds)
        .some("answer", decided.as_ref().map(answer))
        .list("reclaiming", reclaiming, lease)
        .list("tenants", tenants, usage)
        .done()
}

/// Something that happened, under its sequence number.
pub(super) fn event(sequence: u64, event: &v1::Event) -> Value {
    use v1::event::After;
    let v1::Event { kind, time, after } = event;
    let (name, value) = match after {
        Some(After::Ticket(of)) => ("ticket", Some(ticket(of))),
        Some(After::Lease(of)) => ("lease", Some(lease(of))),
        Some(After::Ended(of)) => ("ended", Some(ended(of))),
        None => ("ended", None),
    };
    Object::default()
        .with("sequence", sequence)
        .some("kind", word!(EventKind, *kind))
        .instant("time", time.as_ref())
        .some(name, value)
        .done()
}
