//! Envoy's `RateLimitService`, on the engine: descriptors are found their tenants, and decided together as hits.
//!
//! A descriptor that no rule of its domain matches, or whose tenant nobody is, counts nowhere and stands against nothing, as
//! gateways expect it; so does what no rate and no budget counts.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use headgate_ledger::{AMOUNT_MAX, Amount, HITS_MAX, Hit, HitBound, HitPer, HitStanding, Name, Period, Resource, Time};
use headgate_proto::envoy::rate_limit_response::rate_limit::Unit;
use headgate_proto::envoy::rate_limit_response::{Code, DescriptorStatus, RateLimit};
use headgate_proto::envoy::rate_limit_service_server::RateLimitService;
use headgate_proto::envoy::{HeaderValue, RateLimitDescriptor, RateLimitRequest, RateLimitResponse};
use tonic::{Request, Response, Status};

use crate::config::{KEYS_MAX, Permission, WORD_BYTES_MAX};
use crate::engine::{HitAnswer, View};
use crate::gateway::{Domain, Found, Rules};

use super::door::Call;
use super::fault::{Fault, Violations};
use super::render;
use super::service::{Service, asker};

/// Bytes of what a gateway says of a call by one word, such as its path.
const VALUE_BYTES_MAX: usize = 8192;
/// The most that one call may count: far more than anybody counts by calls, bytes of a body included.
const HITS_ADDEND_MAX: Amount = 1 << 40;
const _: () = assert!(HITS_ADDEND_MAX <= AMOUNT_MAX);

/// `RateLimitService`, on the engine.
#[derive(Clone, Debug)]
pub(super) struct Limiting {
    pub(super) service: Service,
    /// Swapped whole where the configuration is read again.
    pub(super) rules: Arc<ArcSwap<Rules>>,
}

#[tonic::async_trait]
impl RateLimitService for Limiting {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let call = self.service.door.enter(&request, Permission::Acquire)?;
        let rules = self.rules.load_full();
        if rules.is_empty() {
            return Err(Status::unimplemented("no domain is configured: name one under rate_limit_service"));
        }
        Ok(Response::new(self.answer(&call, &rules, request.into_inner()).await?))
    }
}

/// A descriptor that was looked at: how much it counts, and for whom; none: it counts nowhere.
type Sought = Option<Hit>;

impl Limiting {
    async fn answer(&self, call: &Call, rules: &Rules, wire: RateLimitRequest) -> Result<RateLimitResponse, Fault> {
        let _room = call.caller.meter().operation()?;
        check(&wire)?;
        let domain = rules.domain(&wire.domain);
        let mut sought: Vec<Sought> = Vec::with_capacity(wire.descriptors.len());
        for descriptor in &wire.descriptors {
            let found = match domain {
                Some(domain) => self.find(domain, descriptor).await,
                None => None,
            };
            sought.push(found.map(|Found { tenant, pool, resource }| Hit {
                pool: pool.clone(),
                tenant,
                resource: resource.clone(),
                amount: hits_addend(&wire, descriptor),
            }));
        }
        let hits: Vec<Hit> = sought.iter().flatten().cloned().collect();
        let answer = if hits.is_empty() {
            HitAnswer { time: Time::EPOCH, allowed: true, hits: Vec::new() }
        } else {
            let asker = asker(&call.caller);
            let decided = call.deadline.bound(self.service.engine.hit(&asker, &hits)).await?;
            decided.map_err(|error| Fault::engine(&error, ""))?
        };
        let headers = domain.is_some_and(|domain| domain.headers);
        Ok(response(&sought, &answer, headers))
    }

    /// Whose a descriptor is: the first that it may be taken for who is somebody, or is made on first use.
    async fn find<'a>(&self, domain: &'a Domain, descriptor: &'a RateLimitDescriptor) -> Option<Found<'a>> {
        let words = descriptor.entries.iter().map(|entry| (&entry.key[..], &entry.value[..])).collect();
        for found in domain.find(words) {
            let somebody = |view: &View<'_>| {
                let parent = found.tenant.parent().and_then(|parent| view.tenant(parent.as_str()));
                view.tenant(found.tenant.as_str()).is_some() || parent.is_some_and(|parent| parent.members.is_some())
            };
            let looked = match self.service.engine.cell_of(found.pool) {
                Ok(cell) => self.service.engine.read(cell, somebody).await,
                Err(error) => Err(error),
            };
            // Of a pool that there is not, whoever decides says so.
            if looked.unwrap_or(true) {
                return Some(found);
            }
        }
        None
    }
}

/// How much a descriptor counts.
fn hits_addend(wire: &RateLimitRequest, descriptor: &RateLimitDescriptor) -> Amount {
    descriptor.hits_addend.unwrap_or_else(|| wire.hits_addend.max(1).into())
}

/// Everything that makes a call malformed.
fn check(wire: &RateLimitRequest) -> Result<(), Fault> {
    let mut wrong = Violations::default();
    let RateLimitRequest { domain, descriptors, hits_addend: _ } = wire;
    if domain.is_empty() || domain.len() > WORD_BYTES_MAX {
        wrong.add("domain", format!("it is not 1 to {WORD_BYTES_MAX} bytes long: name one that is configured"));
    }
    if descriptors.is_empty() || descriptors.len() > HITS_MAX {
        wrong.add("descriptors", format!("{} are given: 1 to {HITS_MAX} are decided together", descriptors.len()));
        return wrong.or(None);
    }
    for (nth, descriptor) in descriptors.iter().enumerate() {
        let at = |part: &str| format!("descriptors[{nth}].{part}");
        let RateLimitDescriptor { entries, limit, hits_addend: _ } = descriptor;
        if entries.is_empty() || entries.len() > KEYS_MAX {
            wrong.add(at("entries"), format!("{} are given: 1 to {KEYS_MAX} make a descriptor", entries.len()));
        }
        for (nth, entry) in entries.iter().enumerate().take(KEYS_MAX) {
            if entry.key.is_empty() || entry.key.len() > WORD_BYTES_MAX {
                wrong.add(at(&format!("entries[{nth}].key")), format!("it is not 1 to {WORD_BYTES_MAX} bytes long"));
            }
            if entry.value.len() > VALUE_BYTES_MAX {
                wrong.add(at(&format!("entries[{nth}].value")), format!("it is longer than {VALUE_BYTES_MAX} bytes"));
            }
        }
        if limit.is_some() {
            let why = "limits are the configuration's alone: leave it out, and configure another tenant for it";
            wrong.add(at("limit"), why);
        }
        let addend = hits_addend(wire, descriptor);
        if addend > HITS_ADDEND_MAX {
            wrong.add(at("hits_addend"), format!("{addend} is more than one call may count, {HITS_ADDEND_MAX}"));
        }
    }
    wrong.or(Some(()))
}

/// The answer, a status for each descriptor in their order.
fn response(sought: &[Sought], answer: &HitAnswer, headers: bool) -> RateLimitResponse {
    let mut standings = answer.hits.iter();
    let statuses: Vec<DescriptorStatus> = sought
        .iter()
        .map(|sought| match sought.as_ref().and_then(|_| standings.next()) {
            None => DescriptorStatus { code: Code::Ok.into(), ..DescriptorStatus::default() },
            Some(standing) => status(standing, answer.time),
        })
        .collect();
    let overall = if answer.allowed { Code::Ok } else { Code::OverLimit };
    let response_headers_to_add = if headers { tell(&statuses) } else { Vec::new() };
    RateLimitResponse { overall_code: overall.into(), statuses, response_headers_to_add }
}

fn status(standing: &HitStanding, now: Time) -> DescriptorStatus {
    let code = if standing.passes() { Code::Ok } else { Code::OverLimit };
    let bound = standing.bound.as_ref();
    DescriptorStatus {
        code: code.into(),
        current_limit: bound.map(limit),
        limit_remaining: bound.map_or(0, |bound| small(bound.left)),
        duration_until_reset: bound.and_then(|bound| bound.until).and_then(|until| render::span(until.since(now))),
    }
}

/// A limit in Envoy's words: in the smallest of its units in which a whole number of it comes back.
fn limit(bound: &HitBound) -> RateLimit {
    const SECOND: Duration = Duration::from_secs(1);
    const UNITS: [(Unit, u32); 4] = [(Unit::Second, 1), (Unit::Minute, 60), (Unit::Hour, 3600), (Unit::Day, 86_400)];
    let HitBound { tenant, name, amount, per, .. } = bound;
    let whole = |per: Duration| {
        UNITS.into_iter().find_map(|(unit, seconds)| {
            let (span, per) = ((SECOND * seconds).as_nanos(), per.as_nanos().max(1));
            let product = u128::from(*amount).checked_mul(span)?;
            let count = Amount::try_from(product / per).ok()?;
            product.is_multiple_of(per).then_some((unit, count))
        })
    };
    let (unit, count) = match per {
        HitPer::Span(per) => whole(*per).unwrap_or((Unit::Unknown, *amount)),
        HitPer::Period(Period::Day) => (Unit::Day, *amount),
        // Envoy had no weeks for long, and takes what it does not know for no unit.
        HitPer::Period(Period::Week) => (Unit::Unknown, *amount),
        HitPer::Period(Period::Month) => (Unit::Month, *amount),
    };
    RateLimit { requests_per_unit: small(count), unit: unit.into(), name: format!("{tenant}:{name}") }
}

fn small(amount: Amount) -> u32 {
    u32::try_from(amount).unwrap_or(u32::MAX)
}

/// Headers of the answer to the call, by draft-polli-ratelimit-headers-03: those of the limit that stands against it, else
/// of the one that leaves least.
fn tell(statuses: &[DescriptorStatus]) -> Vec<HeaderValue> {
    let limited = statuses.iter().filter(|status| status.current_limit.is_some());
    let Some(tightest) = limited.min_by_key(|status| (status.code() != Code::OverLimit, status.limit_remaining)) else {
        return Vec::new();
    };
    let header = |key: &str, value: String| HeaderValue { key: key.to_owned(), value };
    let limit = tightest.current_limit.clone().unwrap_or_default();
    let window = match limit.unit() {
        Unit::Unknown => None,
        Unit::Second => Some(1),
        Unit::Minute => Some(60),
        Unit::Hour => Some(3600),
        Unit::Day => Some(86_400),
        Unit::Month => Some(30 * 86_400),
        Unit::Year => Some(365 * 86_400),
    };
    let count = limit.requests_per_unit;
    let policy = window.map_or(String::new(), |window| format!(", {count};w={window}"));
    let mut headers = vec![
        header("x-ratelimit-limit", format!("{count}{policy}")),
        header("x-ratelimit-remaining", tightest.limit_remaining.to_string()),
    ];
    if let Some(reset) = tightest.duration_until_reset {
        // Whole seconds, rounded up: who waits so long does not come too early.
        let seconds = reset.seconds + i64::from(reset.nanos > 0);
        headers.push(header("x-ratelimit-reset", seconds.to_string()));
    }
    headers
}

/// Takes a request as a stranger may send it: what is well-formed is looked for in a domain that takes anything.
pub(super) fn garbled(wire: RateLimitRequest) {
    if check(&wire).is_err() {
        return;
    }
    let (Ok(pool), Ok(resource)) = (Name::parse("default"), Resource::parse("requests")) else { return };
    for descriptor in &wire.descriptors {
        let words: Vec<_> = descriptor.entries.iter().map(|entry| (&entry.key[..], &entry.value[..])).collect();
        let domain = Domain::taking_all(&words, &pool, &resource);
        for found in domain.find(words) {
            assert!(found.tenant.depth() > 0 && hits_addend(&wire, descriptor) <= HITS_ADDEND_MAX);
        }
    }
}

/// A request that is whole, to begin with.
#[cfg(test)]
pub(super) fn whole() -> RateLimitRequest {
    use headgate_proto::envoy::rate_limit_descriptor::Entry;
    let entry = |key: &str, value: &str| Entry { key: key.to_owned(), value: value.to_owned() };
    let entries = vec![entry("path", "/api"), entry("remote_address", "10.0.0.1")];
    let descriptor = RateLimitDescriptor { entries, limit: None, hits_addend: Some(3) };
    RateLimitRequest { domain: "edge".to_owned(), descriptors: vec![descriptor], hits_addend: 1 }
}
