//! The wire's words, parsed into the ledger's. What is parsed here cannot be wrong any more in itself.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use headgate_ledger::{
    Amount, Amounts, COUNT_MAX, Demand, Holder, Name, PRIORITY_MAX, RESOURCES_MAX, Request, RequestId, Resource,
    SPAN_MAX, TenantPath, check_labels as check_ledger_labels,
};
use headgate_proto::limits::{IDS_MAX, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX};
use headgate_proto::v1;

use crate::auth::Caller;
use crate::config::parse_amount;

use super::fault::{Fault, Violations};

/// Whether a request must name its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// It takes something, and a retry must find it.
    Required,
    /// It only asks.
    Optional,
}

/// A request, and whether its answer explains itself.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) request: Arc<Request>,
    pub(super) explain: bool,
}

/// Parses a request of `caller`'s.
pub(super) fn request(wire: Option<v1::Request>, named: Named, caller: &Caller) -> Result<Asked, Fault> {
    let Some(wire) = wire else { return Err(Fault::field("request", "it is missing")) };
    let v1::Request {
        request_id,
        tenant,
        pool,
        resources,
        count,
        min_count,
        priority,
        expected_duration,
        wait,
        borrow,
        grace,
        ttl,
        provisional,
        holder,
        labels,
        explain,
    } = wire;
    let mut wrong = Violations::default();
    let id = match (request_id.is_empty(), named) {
        (true, Named::Optional) => Some(nameless()),
        (true, Named::Required) => {
            wrong.add("request.request_id", "it is missing: name the request, so that a retry finds its own answer");
            None
        }
        (false, Named::Required | Named::Optional) => wrong.take("request.request_id", RequestId::parse(&request_id)),
    };
    let tenant = tenant_path(&mut wrong, "request.tenant", &tenant);
    let pool = pool_name(&mut wrong, "request.pool", &pool);
    let resources = amounts(&mut wrong, "request.resources", resources);
    let count = if count == 0 { 1 } else { count };
    if count > COUNT_MAX {
        wrong.add("request.count", format!("{count} is more than {COUNT_MAX}, the most that are admitted together"));
    }
    let min_count = if min_count == 0 { count } else { min_count };
    if min_count > count {
        wrong.add("request.min_count", format!("{min_count} is more than count, {count}"));
    }
    if priority.unsigned_abs() > PRIORITY_MAX.unsigned_abs() {
        wrong.add("request.priority", format!("{priority} is not -{PRIORITY_MAX} to {PRIORITY_MAX}"));
    }
    if let Some(most) = caller.max_priority().filter(|most| priority > *most) {
        wrong.add("request.priority", format!("{priority} is above what this caller may ask for, {most}"));
    }
    let expected_duration = span(&mut wrong, "request.expected_duration", expected_duration);
    let grace = span(&mut wrong, "request.grace", grace);
    let ttl = span(&mut wrong, "request.ttl", ttl);
    let holder = holder_name(&mut wrong, "request.holder", &holder);
    check_labels(&mut wrong, "request.labels", &labels);
    let request = (|| {
        let demand = Demand {
            tenant: tenant?,
            pool: pool?,
            resources: resources?,
            count,
            min_count,
            priority,
            expected_duration,
            wait: wait.unwrap_or(false),
            borrow: borrow.unwrap_or(true),
            grace,
            ttl,
            provisional,
            holder,
            labels: labels.into_iter().collect(),
            enforce: None,
        };
        Some(Request { id: id?, demand: Arc::new(demand) })
    })();
    let request = Arc::new(wrong.or(request)?);
    Ok(Asked { request, explain })
}

/// An id that nobody gives a request: for one that only asks and names none.
pub(super) fn nameless() -> RequestId {
    static NAMELESS: OnceLock<RequestId> = OnceLock::new();
    let make = || {
        let text = format!("check-{}", uuid::Uuid::now_v7());
        RequestId::parse(&text).unwrap_or_else(|_| unreachable!("{text} is printable and short"))
    };
    NAMELESS.get_or_init(make).clone()
}

/// A tenant's path.
pub(super) fn tenant_path(wrong: &mut Violations, field: &str, path: &str) -> Option<TenantPath> {
    if path.is_empty() {
        wrong.add(field, "it is missing: name a tenant by its path, such as acme/ml");
        return None;
    }
    wrong.take(field, TenantPath::parse(path))
}

/// A pool's name; `default` where none is given.
pub(super) fn pool_name(wrong: &mut Violations, field: &str, name: &str) -> Option<Name> {
    const DEFAULT: &str = "default";
    wrong.take(field, Name::parse(if name.is_empty() { DEFAULT } else { name }))
}

/// A holder; none where none is named.
pub(super) fn holder_name(wrong: &mut Violations, field: &str, name: &str) -> Option<Holder> {
    if name.is_empty() { None } else { wrong.take(field, Holder::parse(name)) }
}

/// Amounts of named resources, each once.
pub(super) fn amounts(wrong: &mut Violations, field: &str, resources: Vec<v1::Resource>) -> Option<Amounts> {
    if resources.len() > RESOURCES_MAX {
        wrong.add(field, format!("{} are named, at most {RESOURCES_MAX} may be", resources.len()));
        return None;
    }
    let mut parsed = Vec::with_capacity(resources.len());
    for (n, v1::Resource { name, amount_kind }) in resources.into_iter().enumerate() {
        let at = |part: &str| format!("{field}[{n}].{part}");
        let amount = match amount_kind {
            None => {
                wrong.add(at("quantity"), "neither quantity nor amount is set");
                None
            }
            Some(v1::resource::AmountKind::Quantity(quantity)) => {
                wrong.take(&at("quantity"), parse_amount(&quantity, &name))
            }
            Some(v1::resource::AmountKind::Amount(amount)) => match Amount::try_from(amount) {
                Ok(amount) => Some(amount),
                Err(_) => {
                    wrong.add(at("amount"), format!("{amount} is negative: an amount is zero or more"));
                    None
                }
            },
        };
        let name = wrong.take(&at("name"), Resource::parse(&name));
        if let (Some(name), Some(amount)) = (name, amount) {
            parsed.push((name, amount));
        }
    }
    wrong.take(field, Amounts::new(parsed))
}

/// Quantities by resource.
pub(super) fn quantities(wrong: &mut Violations, field: &str, quantities: BTreeMap<String, String>) -> Option<Amounts> {
    if quantities.len() > RESOURCES_MAX {
        wrong.add(field, format!("{} are named, at most {RESOURCES_MAX} may be", quantities.len()));
        return None;
    }
    let mut parsed = Vec::with_capacity(quantities.len());
    for (name, quantity) in quantities {
        let at = format!("{field}.{name}");
        let amount = wrong.take(&at, parse_amount(&quantity, &name));
        let name = wrong.take(&at, Resource::parse(&name));
        if let (Some(name), Some(amount)) = (name, amount) {
            parsed.push((name, amount));
        }
    }
    wrong.take(field, Amounts::new(parsed))
}

/// A span of time, zero or more; none where none is given, or where it is wrong.
pub(super) fn span(wrong: &mut Violations, field: &str, span: Option<prost_types::Duration>) -> Option<Duration> {
    let prost_types::Duration { seconds, nanos } = span?;
    // By hand: the library's own conversion overflows at the ends of the range.
    let span = match (u64::try_from(seconds), u32::try_from(nanos)) {
        (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 => Ok(Duration::new(seconds, nanos)),
        (Ok(_), Ok(_)) => Err("its nanoseconds are a second or more"),
        (Err(_), Ok(_) | Err(_)) | (Ok(_), Err(_)) => Err("it is negative: a span is zero or more"),
    };
    let within = |span| if span > SPAN_MAX { Err("it is longer than a hundred years") } else { Ok(span) };
    wrong.take(field, span.and_then(within))
}

fn check_labels(wrong: &mut Violations, field: &str, labels: &BTreeMap<String, String>) {
    wrong.take(field, check_ledger_labels(labels.iter().map(|(key, value)| (key.as_str(), value.as_str()))));
}

/// Whose leases and tickets a call means: by ids, or all of a holder's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// These, as they were named.
    Ids(Vec<String>),
    /// All of this holder's.
    Holder(Holder),
}

/// Leases or tickets by ids or by holder, exactly one of the two.
pub(super) fn which(ids: Vec<String>, holder: &str) -> Result<Which, Fault> {
    let mut wrong = Violations::default();
    check_ids(&mut wrong, "ids", &ids);
    let which = match (ids.is_empty(), holder.is_empty()) {
        (true, true) => {
            wrong.add("ids", "neither ids nor a holder are named: name one of the two");
            None
        }
        (false, false) => {
            wrong.add("holder", "both ids and a holder are named: name one of the two");
            None
        }
        (false, true) => Some(Which::Ids(ids)),
        (true, false) => wrong.take("holder", Holder::parse(holder)).map(Which::Holder),
    };
    wrong.or(which)
}

/// At most as many ids as one call names.
pub(super) fn check_ids(wrong: &mut Violations, field: &str, ids: &[String]) {
    if ids.len() > IDS_MAX {
        wrong.add(field, format!("{} are named, at most {IDS_MAX} may be in one call", ids.len()));
    }
}

/// The size of a page.
pub(super) fn page_size(wrong: &mut Violations, size: u32) -> usize {
    let size = if size == 0 { PAGE_SIZE_DEFAULT } else { size };
    if size > PAGE_SIZE_MAX {
        wrong.add("page_size", format!("{size} is more than {PAGE_SIZE_MAX}, the most in a page"));
    }
    size.min(PAGE_SIZE_MAX) as usize
}

#[cfg(test)]
mod tests;
