//! Pools, classes and tenants, from the wire's words to the ledger's and back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use headgate_ledger as ledger;
use headgate_ledger::{Amounts, Level, Levels, Name, PRIORITY_MAX, RESOURCES_MAX, Resource};
use headgate_proto::v1;

use crate::config::{
    KIND_CHARS_MAX, WEIGHT_MAX, check_time_zone, format_amount, format_level, format_queue_limit, implied_by_default,
    parse_amount, parse_level, parse_queue_limit,
};

use super::fault::Violations;
use super::parse::{quantities, span, tenant_path};
use super::words::{FromWire, Word as _};
use super::{rates, render};

/// Thousandths of a weight of one.
const THOUSANDTHS: f64 = 1000.0;

pub(super) fn word<W: FromWire>(wrong: &mut Violations, field: &str, number: i32) -> Option<W> {
    wrong.take(field, W::from_wire(number)).flatten()
}

/// The name of a class, which may be in capitals.
pub(super) fn class_name(wrong: &mut Violations, field: &str, name: &str) -> Option<Name> {
    wrong.take(field, Name::parse_class(name))
}

/// A pool, whole: what it does not say has its default. What of it is unavailable is not the message's to say.
pub(super) fn pool(
    wrong: &mut Violations,
    at: &str,
    wire: v1::Pool,
    source: ledger::Source,
    unavailable: Amounts,
) -> Option<ledger::Pool> {
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
        unavailable: _,
        source: _,
        resource_version: _,
    } = wire;
    let name = wrong.take(&format!("{at}.name"), Name::parse(&name));
    let cell = if cell.is_empty() {
        Some(ledger::default_cell())
    } else {
        wrong.take(&format!("{at}.cell"), Name::parse(&cell))
    };
    let capacity = quantities(wrong, &format!("{at}.capacity"), capacity);
    let implied = if implied.is_empty() {
        Some(implied_by_default())
    } else {
        quantities(wrong, &format!("{at}.implied"), implied)
    };
    let room = if max_queued_per_tenant.is_empty() {
        None
    } else {
        wrong.take(&format!("{at}.max_queued_per_tenant"), parse_queue_limit(&max_queued_per_tenant))
    };
    let default = ledger::Pool::new(name.clone()?);
    let mut or = |field: &str, said: Option<prost_types::Duration>, default: Duration| {
        span(wrong, &format!("{at}.{field}"), said).unwrap_or(default)
    };
    Some(ledger::Pool {
        cell: cell?,
        capacity: capacity?,
        unavailable,
        implied: implied?,
        half_life: or("half_life", half_life, default.half_life),
        age_step: or("age_step", age_step, default.age_step),
        hold_after: or("hold_after", hold_after, default.hold_after),
        hold_for: or("hold_for", hold_for, default.hold_for),
        max_wait: or("max_wait", max_wait, default.max_wait),
        grace: or("grace", grace, default.grace),
        min_runtime: or("min_runtime", min_runtime, default.min_runtime),
        lease_ttl: or("lease_ttl", lease_ttl, default.lease_ttl),
        confirm_within: or("confirm_within", confirm_within, default.confirm_within),
        ticket_ttl: or("ticket_ttl", ticket_ttl, default.ticket_ttl),
        max_queued: max_queued.unwrap_or(default.max_queued),
        max_queued_per_tenant: room.unwrap_or(default.max_queued_per_tenant),
        reclaim: reclaim.unwrap_or(default.reclaim),
        overcommit: overcommit.unwrap_or(default.overcommit),
        order: word(wrong, &format!("{at}.order"), order).unwrap_or_default(),
        share_of: word(wrong, &format!("{at}.share_of"), share_of).unwrap_or_default(),
        enforce: word(wrong, &format!("{at}.enforce"), enforce).unwrap_or_default(),
        paused,
        source,
        name: default.name,
    })
}

/// A pool, as it was set.
pub(crate) fn pool_wire(pool: &ledger::Pool, version: u64) -> v1::Pool {
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
        source,
    } = pool;
    v1::Pool {
        name: name.to_string(),
        cell: cell.to_string(),
        capacity: amount_texts(capacity),
        implied: amount_texts(implied),
        order: order.wire().into(),
        share_of: share_of.wire().into(),
        half_life: render::span(*half_life),
        age_step: render::span(*age_step),
        hold_after: render::span(*hold_after),
        hold_for: render::span(*hold_for),
        max_wait: render::span(*max_wait),
        max_queued: Some(*max_queued),
        max_queued_per_tenant: format_queue_limit(*max_queued_per_tenant),
        reclaim: Some(*reclaim),
        grace: render::span(*grace),
        min_runtime: render::span(*min_runtime),
        lease_ttl: render::span(*lease_ttl),
        confirm_within: render::span(*confirm_within),
        ticket_ttl: render::span(*ticket_ttl),
        overcommit: Some(*overcommit),
        enforce: enforce.wire().into(),
        paused: *paused,
        unavailable: amount_texts(unavailable),
        source: source.wire().into(),
        resource_version: version.to_string(),
    }
}

fn amount_texts(amounts: &Amounts) -> BTreeMap<String, String> {
    amounts.iter().map(|(name, amount)| (name.to_string(), format_amount(amount, name.as_str()))).collect()
}

fn level_texts(levels: Option<&Levels>) -> BTreeMap<String, String> {
    let text = |(name, level): (&Resource, Level)| (name.to_string(), format_level(level, name.as_str()));
    levels.map(|levels| levels.iter().map(text).collect()).unwrap_or_default()
}

/// Levels by resource; an empty map says nothing.
fn levels(wrong: &mut Violations, field: &str, texts: BTreeMap<String, String>) -> Option<Levels> {
    if texts.is_empty() {
        return None;
    }
    if texts.len() > RESOURCES_MAX {
        wrong.add(field, format!("{} resources are named, at most {RESOURCES_MAX} may be", texts.len()));
        return None;
    }
    let mut parsed = Vec::with_capacity(texts.len());
    for (name, text) in texts {
        let at = format!("{field}.{name}");
        let level = wrong.take(&at, parse_level(&text, &name));
        let name = wrong.take(&at, Resource::parse(&name));
        if let (Some(name), Some(level)) = (name, level) {
            parsed.push((name, level));
        }
    }
    wrong.take(field, Levels::new(parsed))
}

fn burst(wrong: &mut Violations, field: &str, wire: Option<v1::Burst>) -> Option<ledger::Burst> {
    let v1::Burst { r#for, cooldown } = wire?;
    if r#for.is_none() {
        wrong.add(format!("{field}.for"), "it is missing: say for how long it may borrow");
    }
    let span = |wrong: &mut Violations, name: &str, said| span(wrong, &format!("{field}.{name}"), said);
    Some(ledger::Burst {
        span: span(wrong, "for", r#for).unwrap_or_default(),
        cooldown: span(wrong, "cooldown", cooldown).unwrap_or_default(),
    })
}

fn burst_wire(burst: ledger::Burst) -> v1::Burst {
    let ledger::Burst { span, cooldown } = burst;
    v1::Burst { r#for: render::span(span), cooldown: render::span(cooldown) }
}

/// A class, whole.
pub(super) fn class(
    wrong: &mut Violations,
    at: &str,
    wire: v1::Class,
    source: ledger::Source,
) -> Option<ledger::Class> {
    let v1::Class { name, guaranteed, limit, lendable, burst: bursts, enforce, source: _, resource_version: _ } = wire;
    let name = class_name(wrong, &format!("{at}.name"), &name);
    let quota = ledger::Quota {
        class: None,
        guaranteed: levels(wrong, &format!("{at}.guaranteed"), guaranteed),
        limit: levels(wrong, &format!("{at}.limit"), limit),
        lendable: levels(wrong, &format!("{at}.lendable"), lendable),
        burst: burst(wrong, &format!("{at}.burst"), bursts),
        enforce: word(wrong, &format!("{at}.enforce"), enforce),
    };
    Some(ledger::Class { name: name?, quota, source })
}

/// A class, as it was set.
pub(crate) fn class_wire(class: &ledger::Class, version: u64) -> v1::Class {
    let ledger::Class { name, quota, source } = class;
    let ledger::Quota { class: _, guaranteed, limit, lendable, burst, enforce } = quota;
    v1::Class {
        name: name.to_string(),
        guaranteed: level_texts(guaranteed.as_ref()),
        limit: level_texts(limit.as_ref()),
        lendable: level_texts(lendable.as_ref()),
        burst: burst.map(burst_wire),
        enforce: enforce.map_or(v1::Enforce::Unspecified, |enforce| enforce.wire()).into(),
        source: source.wire().into(),
        resource_version: version.to_string(),
    }
}

/// A tenant, whole.
pub(super) fn tenant(
    wrong: &mut Violations,
    field: &str,
    wire: v1::Tenant,
    source: ledger::Source,
) -> Option<ledger::Tenant> {
    let v1::Tenant {
        path,
        kind,
        weight,
        lifecycle,
        quota,
        budgets,
        rates,
        max_priority,
        members: makes,
        source: _,
        resource_version: _,
        member: _,
        draining: _,
    } = wire;
    let at = |part: &str| format!("{field}.{part}");
    let path = tenant_path(wrong, &at("path"), &path);
    check_kind(wrong, &at("kind"), &kind);
    let weight = match weight {
        None => Some(ledger::Tenant::WEIGHT_ONE),
        Some(weight) => wrong.take(&at("weight"), thousandths(weight)),
    };
    let lifecycle = word(wrong, &at("lifecycle"), lifecycle).unwrap_or_default();
    let quotas = quotas(wrong, &at("quota"), quota);
    let budgets = budget_list(wrong, &at("budgets"), budgets);
    let rates = rates::rates(wrong, &at("rates"), rates);
    if let Some(priority) = max_priority.filter(|priority| priority.unsigned_abs() > PRIORITY_MAX.unsigned_abs()) {
        wrong.add(at("max_priority"), format!("{priority} is not -{PRIORITY_MAX} to {PRIORITY_MAX}"));
    }
    let members = makes.map(|makes| members(wrong, &at("members"), makes));
    Some(ledger::Tenant {
        path: path?,
        kind,
        weight: weight?,
        lifecycle,
        quotas,
        budgets,
        rates,
        max_priority,
        members,
        draining: false,
        source,
    })
}

fn check_kind(wrong: &mut Violations, field: &str, kind: &str) {
    if kind.chars().count() > KIND_CHARS_MAX || !kind.chars().all(ledger::is_shown) {
        wrong.add(
            field,
            format!("it is longer than {KIND_CHARS_MAX} characters, or has a control or invisible character"),
        );
    }
}

/// A weight in whole thousandths; what is finer is refused, so that no float decides anything.
fn thousandths(weight: f64) -> Result<u32, String> {
    let whole = (weight * THOUSANDTHS).round();
    let nearest = whole / THOUSANDTHS;
    if !(0.0..=f64::from(WEIGHT_MAX)).contains(&weight) || nearest != weight {
        return Err(format!("{weight} is no number from 0 to {WEIGHT_MAX} with up to 3 decimals, such as 1 or 0.5"));
    }
    Ok(whole as u32) // it is whole, and within the bounds
}

fn quotas(wrong: &mut Violations, field: &str, wire: BTreeMap<String, v1::Quota>) -> Vec<(Name, ledger::Quota)> {
    if wire.len() > ledger::POOLS_MAX {
        wrong.add(field, format!("{} pools are named, at most {} may be", wire.len(), ledger::POOLS_MAX));
        return Vec::new();
    }
    let mut quotas = Vec::with_capacity(wire.len());
    for (pool, v1::Quota { class, guaranteed, limit, lendable, burst: bursts, enforce }) in wire {
        let at = format!("{field}.{pool}");
        let part = |part: &str| format!("{at}.{part}");
        let quota = ledger::Quota {
            class: if class.is_empty() { None } else { class_name(wrong, &part("class"), &class) },
            guaranteed: levels(wrong, &part("guaranteed"), guaranteed),
            limit: levels(wrong, &part("limit"), limit),
            lendable: levels(wrong, &part("lendable"), lendable),
            burst: burst(wrong, &part("burst"), bursts),
            enforce: word(wrong, &part("enforce"), enforce),
        };
        if let Some(pool) = wrong.take(&at, Name::parse(&pool)) {
            quotas.push((pool, quota));
        }
    }
    quotas.sort_by(|a, b| a.0.cmp(&b.0));
    quotas
}

fn budget_list(wrong: &mut Violations, field: &str, wire: Vec<v1::Budget>) -> Vec<ledger::Budget> {
    if wire.len() > ledger::BUDGETS_MAX {
        wrong.add(field, format!("{} are given, at most {} may be", wire.len(), ledger::BUDGETS_MAX));
        return Vec::new();
    }
    let mut seen = BTreeSet::new();
    let mut budgets = Vec::with_capacity(wire.len());
    for (n, v1::Budget { name, resource, amount, period, time_zone, on_exceed }) in wire.into_iter().enumerate() {
        let at = |part: &str| format!("{field}[{n}].{part}");
        if !seen.insert(name.clone()) {
            wrong.add(at("name"), format!("budget {name} is given twice"));
        }
        let amount = wrong.take(&at("amount"), parse_amount(&amount, &resource));
        let resource = wrong.take(&at("resource"), Resource::parse(&resource));
        let name = wrong.take(&at("name"), Name::parse(&name));
        let zone = if time_zone.is_empty() { "UTC".to_owned() } else { time_zone };
        wrong.take(&at("time_zone"), check_time_zone(&zone));
        let on_exceed = word(wrong, &at("on_exceed"), on_exceed).unwrap_or_default();
        let period = match wrong.take(&at("period"), ledger::Period::from_wire(period)) {
            Some(Some(period)) => Some(period),
            Some(None) => {
                wrong.add(at("period"), "it is missing: say day, week or month");
                None
            }
            None => None,
        };
        if let (Some(name), Some(resource), Some(amount), Some(period)) = (name, resource, amount, period) {
            budgets.push(ledger::Budget { name, resource, amount, period, time_zone: zone, on_exceed });
        }
    }
    budgets
}

fn members(wrong: &mut Violations, field: &str, wire: v1::Members) -> ledger::Members {
    /// As in a configuration file.
    const MAX: u32 = 1000;
    const KEPT: Duration = Duration::from_secs(3600);
    let v1::Members { kind, class, max, keep, rates } = wire;
    check_kind(wrong, &format!("{field}.kind"), &kind);
    ledger::Members {
        kind: if kind.is_empty() { "user".to_owned() } else { kind },
        class: if class.is_empty() { None } else { class_name(wrong, &format!("{field}.class"), &class) },
        max: max.unwrap_or(MAX),
        keep: span(wrong, &format!("{field}.keep"), keep).unwrap_or(KEPT),
        rates: rates::rates(wrong, &format!("{field}.rates"), rates),
    }
}

/// A tenant, as it was set.
pub(crate) fn tenant_wire(tenant: &ledger::Tenant, version: u64, member: bool) -> v1::Tenant {
    let ledger::Tenant {
        path,
        kind,
        weight,
        lifecycle,
        quotas,
        budgets,
        rates,
        max_priority,
        members,
        draining,
        source,
    } = tenant;
    v1::Tenant {
        path: path.to_string(),
        kind: kind.clone(),
        weight: Some(f64::from(*weight) / THOUSANDTHS),
        lifecycle: lifecycle.wire().into(),
        quota: quotas.iter().map(|(pool, quota)| (pool.to_string(), quota_wire(quota))).collect(),
        budgets: budgets.iter().map(budget_wire).collect(),
        rates: rates::wires(rates),
        max_priority: *max_priority,
        members: members.as_ref().map(members_wire),
        source: source.wire().into(),
        resource_version: version.to_string(),
        member,
        draining: *draining,
    }
}

fn quota_wire(quota: &ledger::Quota) -> v1::Quota {
    let ledger::Quota { class, guaranteed, limit, lendable, burst, enforce } = quota;
    v1::Quota {
        class: class.as_ref().map(ToString::to_string).unwrap_or_default(),
        guaranteed: level_texts(guaranteed.as_ref()),
        limit: level_texts(limit.as_ref()),
        lendable: level_texts(lendable.as_ref()),
        burst: burst.map(burst_wire),
        enforce: enforce.map_or(v1::Enforce::Unspecified, |enforce| enforce.wire()).into(),
    }
}

fn budget_wire(budget: &ledger::Budget) -> v1::Budget {
    let ledger::Budget { name, resource, amount, period, time_zone, on_exceed } = budget;
    v1::Budget {
        name: name.to_string(),
        resource: resource.to_string(),
        amount: format_amount(*amount, resource.as_str()),
        period: period.wire().into(),
        time_zone: time_zone.clone(),
        on_exceed: on_exceed.wire().into(),
    }
}

fn members_wire(members: &ledger::Members) -> v1::Members {
    let ledger::Members { kind, class, max, keep, rates } = members;
    v1::Members {
        kind: kind.clone(),
        class: class.as_ref().map(ToString::to_string).unwrap_or_default(),
        max: Some(*max),
        keep: render::span(*keep),
        rates: rates::wires(rates),
    }
}

/// The paths of a tenant's quotas that would let requests pass what is not theirs: where decisions are not enforced, the
/// limits of those above are not either.
pub(super) fn unenforced<'a>(
    tenant: &'a ledger::Tenant,
    class: impl Fn(&Name) -> Option<ledger::Enforce> + 'a,
) -> impl Iterator<Item = &'a Name> {
    let loose =
        |enforce: Option<ledger::Enforce>| matches!(enforce, Some(ledger::Enforce::Warn | ledger::Enforce::Observe));
    tenant
        .quotas
        .iter()
        .filter(move |(_, quota)| {
            let said = quota.enforce.or_else(|| quota.class.as_ref().and_then(&class));
            loose(said)
        })
        .map(|(pool, _)| pool)
}
