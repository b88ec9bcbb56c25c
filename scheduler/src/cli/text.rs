//! Answers for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use headgate_proto::v1;
use prost_types::Timestamp;

use super::json::word;
use super::output::{Side, table};
use crate::config::{format_amount, format_span};

/// Base units of a resource, as people write them.
pub(super) fn amount(units: i64, resource: &str) -> String {
    let text = format_amount(units.unsigned_abs(), resource);
    if units < 0 { format!("-{text}") } else { text }
}

/// Several amounts: `cpu 2, memory 4Gi`.
pub(super) fn amounts(amounts: &BTreeMap<String, i64>) -> String {
    let each: Vec<String> = amounts.iter().map(|(name, units)| format!("{name} {}", amount(*units, name))).collect();
    if each.is_empty() { "nothing".into() } else { each.join(", ") }
}

/// A duration to the second, or finer where it is short.
pub(super) fn short_span(span: Duration) -> String {
    let rounded = if span >= Duration::from_secs(10) {
        Duration::from_secs(span.as_secs_f64().round() as u64)
    } else {
        Duration::from_millis(span.as_millis() as u64)
    };
    format_span(rounded)
}

/// A duration of the wire; none where it is negative.
pub(super) fn wire_span(span: Option<&prost_types::Duration>) -> Option<Duration> {
    span.and_then(|span| Duration::try_from(*span).ok())
}

/// How long until an instant, by this machine's clock; none where it has passed.
pub(super) fn until(at: &Timestamp) -> Option<Duration> {
    SystemTime::try_from(*at).ok()?.duration_since(SystemTime::now()).ok()
}

/// How long since an instant, by this machine's clock; empty where it is not known.
pub(super) fn age(at: Option<&Timestamp>) -> String {
    let since = at.and_then(|at| SystemTime::try_from(*at).ok()).map(|at| at.elapsed().unwrap_or_default());
    since.map(|since| format_span(Duration::from_secs(since.as_secs()))).unwrap_or_default()
}

/// An instant, and how far off it is.
pub(super) fn instant(at: &Timestamp) -> String {
    match until(at) {
        Some(left) => format!("{at} (in {})", short_span(left)),
        None => at.to_string(),
    }
}

/// A tenant's path; the root is the pool itself.
pub(super) fn tenant(path: &str) -> &str {
    if path.is_empty() { "the pool" } else { path }
}

/// A rule that stands against a request, as a sentence.
pub(super) fn reason(reason: &v1::ReasonDetail) -> String {
    let v1::ReasonDetail { code, tenant: path, resource, used, requested, limit, budget, until, rate } = reason;
    let mut text = format!("{} at {}", word!(Reason, *code).unwrap_or("not allowed"), tenant(path));
    if !resource.is_empty() {
        let amount = |units| amount(units, resource);
        let (used, requested, limit) = (amount(*used), amount(*requested), amount(*limit));
        // What never fits, whatever is in use: that has no say in it.
        let used = if *code == v1::Reason::NeverFits as i32 { String::new() } else { format!("{used} used, ") };
        let guarantee = [v1::Reason::WouldBorrow, v1::Reason::BurstOver].map(i32::from).contains(code);
        let bound = if guarantee { "guaranteed" } else { "at most" };
        let _ = write!(text, ": {resource} {used}{requested} requested, {limit} {bound}");
    }
    if !budget.is_empty() {
        let _ = write!(text, " (budget {budget})");
    }
    if !rate.is_empty() {
        let _ = write!(text, " (rate {rate})");
    }
    if let Some(until) = until {
        let _ = write!(text, "; until {}", instant(until));
    }
    text
}

/// Every rule that stands against a request, a line each.
pub(super) fn reasons(reasons: &[v1::ReasonDetail]) -> String {
    reasons.iter().fold(String::new(), |mut text, one| {
        let _ = writeln!(text, "  {}", reason(one));
        text
    })
}

/// What was decided of a request.
pub(super) fn answer(answer: &v1::Answer, checked: bool) -> String {
    let v1::Answer {
        decision,
        lease_id,
        ticket_id,
        state,
        charged,
        count,
        position,
        expected_wait,
        reasons: against,
        would_be,
        explanation: explained,
        end_cause,
        expires_at,
        deadline,
        enforce: _,
    } = answer;
    let mut text = String::new();
    match v1::Decision::try_from(*decision) {
        Ok(v1::Decision::Allow) if *state == i32::from(v1::State::Ended) => {
            let cause = word!(EndCause, *end_cause).unwrap_or("ended");
            let _ = write!(text, "ended: {cause}; nothing is held any more");
        }
        Ok(v1::Decision::Allow) if checked => text.push_str("would be allowed"),
        Ok(v1::Decision::Allow) => {
            let state = word!(State, *state).unwrap_or("active");
            let _ = write!(text, "allowed: lease {lease_id}, {state}, holds {}", amounts(charged));
            if *count > 1 {
                let _ = write!(text, " for {count} instances");
            }
            if let Some(at) = expires_at {
                let what = if state == "provisional" { "confirm" } else { "renew" };
                let _ = write!(text, "; {what} by {}", instant(at));
            }
            if let Some(at) = deadline {
                let _ = write!(text, "; must give way by {}", instant(at));
            }
        }
        Ok(v1::Decision::Queue) => {
            text.push_str(if checked { "would wait" } else { "queued" });
            if !ticket_id.is_empty() {
                let _ = write!(text, ": ticket {ticket_id}");
            }
            if *position > 0 {
                let _ = write!(text, ", position {position}");
            }
            if let Some(wait) = wire_span(expected_wait.as_ref()) {
                let _ = write!(text, ", expected wait {}", short_span(wait));
            }
        }
        Ok(v1::Decision::Deny) => text.push_str(if checked { "would be denied" } else { "denied" }),
        Ok(v1::Decision::Unspecified) | Err(_) => text.push_str("done"),
    }
    text.push('\n');
    if let Some(other) = word!(Decision, *would_be) {
        let _ = writeln!(text, "  not enforced: it would have been {other}");
    }
    text.push_str(&reasons(against));
    if let Some(explained) = explained {
        text.push_str(&explanation(explained));
    }
    text
}

/// The numbers that an answer was made from, from the leaf to the pool.
pub(super) fn explanation(explanation: &v1::Explanation) -> String {
    let v1::Explanation { levels, budgets, rates } = explanation;
    standings(levels) + &bounds(budgets, rates)
}

/// How nodes of a pool's tree stand, a row for each resource of each.
pub(super) fn standings(levels: &[v1::Usage]) -> String {
    let after = levels.iter().flat_map(|level| &level.resources).any(|held| held.usage_after.is_some());
    let mut columns = vec![("TENANT", Side::Left), ("RESOURCE", Side::Left), ("USAGE", Side::Right)];
    if after {
        columns.push(("AFTER", Side::Right));
    }
    for name in ["GUARANTEED", "LIMIT", "BORROWED", "HELD", "SHARE"] {
        columns.push((name, Side::Right));
    }
    columns.push(("", Side::Left));
    let rows = levels.iter().flat_map(|level| {
        level.resources.iter().map(move |held| {
            let name = held.resource.as_str();
            let mut row = vec![node(level), name.to_owned(), amount(held.usage, name)];
            if after {
                row.push(held.usage_after.map_or("-".into(), |units| amount(units, name)));
            }
            row.extend([
                amount(held.guaranteed, name),
                held.limit.map_or("-".into(), |units| amount(units, name)),
                amount(held.borrowed, name),
                amount(held.held, name),
                format!("{:.3}", level.weighted_share),
                if held.blocked { "stands against it".into() } else { String::new() },
            ]);
            row
        })
    });
    table(&columns, rows.collect())
}

/// What a node of the tree is called.
pub(super) fn node(usage: &v1::Usage) -> String {
    let path = tenant(&usage.tenant);
    if usage.own { format!("{path} (own)") } else { path.to_owned() }
}

/// How budgets and rates stand, where there are any: a table each, below what was told before.
pub(super) fn bounds(budgets: &[v1::BudgetUsage], rates: &[v1::RateUsage]) -> String {
    let mut text = String::new();
    if !budgets.is_empty() {
        text.push('\n');
        text.push_str(&budget_table(budgets));
    }
    if !rates.is_empty() {
        text.push('\n');
        text.push_str(&rate_table(rates));
    }
    text
}

fn rate_table(rates: &[v1::RateUsage]) -> String {
    let columns = [
        ("TENANT", Side::Left),
        ("RATE", Side::Left),
        ("RESOURCE", Side::Left),
        ("LEFT", Side::Right),
        ("BURST", Side::Right),
        ("AMOUNT", Side::Right),
        ("PER", Side::Right),
        ("WHOLE", Side::Left),
    ];
    let rows = rates.iter().map(|rate| {
        let of = |units| amount(units, &rate.resource);
        vec![
            rate.tenant.clone(),
            rate.name.clone(),
            rate.resource.clone(),
            of(rate.left),
            of(rate.burst),
            of(rate.amount),
            wire_span(rate.per.as_ref()).map_or("-".into(), format_span),
            if rate.left == rate.burst { "now".into() } else { rate.whole_at.as_ref().map_or("never".into(), instant) },
        ]
    });
    table(&columns, rows.collect())
}

fn budget_table(budgets: &[v1::BudgetUsage]) -> String {
    let columns = [
        ("TENANT", Side::Left),
        ("BUDGET", Side::Left),
        ("RESOURCE", Side::Left),
        ("USED", Side::Right),
        ("LEFT", Side::Right),
        ("AMOUNT", Side::Right),
        ("TURNS", Side::Left),
    ];
    let rows = budgets.iter().map(|budget| {
        let of = |units| amount(units, &budget.resource);
        vec![
            budget.tenant.clone(),
            budget.name.clone(),
            budget.resource.clone(),
            of(budget.used),
            of(budget.left),
            of(budget.amount),
            budget.turns_at.as_ref().map(instant).unwrap_or_default(),
        ]
    });
    table(&columns, rows.collect())
}

/// What became of one lease or ticket.
pub(super) fn outcome(outcome: &v1::Outcome, done: &str) -> String {
    let v1::Outcome { id, status, answer } = outcome;
    if let Some(status) = status {
        return format!("{id}: {}", status.message);
    }
    let Some(answer) = answer else { return format!("{id}: {done}") };
    let mut text = format!("{id}: ");
    if answer.decision == i32::from(v1::Decision::Deny) {
        text.push_str("denied");
        for against in &answer.reasons {
            let _ = write!(text, "\n  {}", reason(against));
        }
        return text;
    }
    text.push_str(done);
    if let Some(state) = word!(State, answer.state).filter(|state| *state != done && *state != "ended") {
        let _ = write!(text, ", {state}");
    }
    if !answer.charged.is_empty() {
        let _ = write!(text, ", holds {}", amounts(&answer.charged));
    }
    if let Some(at) = &answer.deadline {
        let _ = write!(text, "; must give way by {}", instant(at));
    } else if let Some(at) = &answer.expires_at {
        let _ = write!(text, "; renew by {}", instant(at));
    }
    text
}
