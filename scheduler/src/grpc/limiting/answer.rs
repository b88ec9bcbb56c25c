//! What a gateway is answered.

use std::time::Duration;

use headgate_ledger::{Amount, HitBound, HitPer, HitStanding, Period, Time};
use headgate_proto::envoy::rate_limit_response::rate_limit::Unit;
use headgate_proto::envoy::rate_limit_response::{Code, DescriptorStatus, RateLimit};
use headgate_proto::envoy::{HeaderValue, RateLimitResponse};

use crate::engine::HitAnswer;
use crate::grpc::render;
use crate::protobuf::Back;

/// The answer, a status for each descriptor in their order.
pub(super) fn response(answer: &HitAnswer, headers: bool) -> RateLimitResponse {
    let HitAnswer { time, allowed, hits } = answer;
    let one = |standing: &Option<HitStanding>| match standing {
        None => DescriptorStatus { code: Code::Ok.into(), ..DescriptorStatus::default() },
        Some(standing) => status(standing, *time),
    };
    let statuses: Vec<DescriptorStatus> = hits.iter().map(one).collect();
    let response_headers_to_add = if headers { tell(&statuses) } else { Vec::new() };
    RateLimitResponse { overall_code: code(*allowed).into(), statuses, response_headers_to_add }
}

/// Writes the answer, as the library writes it.
pub(in crate::grpc) fn write(answer: &HitAnswer, headers: bool, back: &mut Back) {
    if headers {
        return back.message(&response(answer, headers));
    }
    let HitAnswer { time, allowed, hits } = answer;
    for standing in hits.iter().rev() {
        let before = back.len();
        if let Some(bound) = standing.as_ref().and_then(|standing| standing.bound.as_ref()) {
            write_bound(bound, *time, back);
        }
        back.word(1, code(standing.as_ref().is_none_or(HitStanding::passes)).into());
        back.frame(2, before);
    }
    back.word(1, code(*allowed).into());
}

fn write_bound(bound: &HitBound, now: Time, back: &mut Back) {
    let before = back.len();
    if let Some(reset) = until(bound, now) {
        back.signed(2, reset.nanos.into());
        back.signed(1, reset.seconds);
        back.frame(4, before);
    }
    back.number(3, small(bound.left).into());
    let before = back.len();
    back.bytes(bound.name.as_str().as_bytes());
    back.byte(b':');
    back.bytes(bound.tenant.as_str().as_bytes());
    back.frame(3, before);
    let (unit, count) = unit(bound);
    back.word(2, unit.into());
    back.number(1, small(count).into());
    back.frame(2, before);
}

fn code(passes: bool) -> Code {
    if passes { Code::Ok } else { Code::OverLimit }
}

/// After how long all of a limit is there again, or what it stands against would pass.
fn until(bound: &HitBound, now: Time) -> Option<prost_types::Duration> {
    bound.until.and_then(|until| render::span(until.since(now)))
}

fn status(standing: &HitStanding, now: Time) -> DescriptorStatus {
    let bound = standing.bound.as_ref();
    DescriptorStatus {
        code: code(standing.passes()).into(),
        current_limit: bound.map(limit),
        limit_remaining: bound.map_or(0, |bound| small(bound.left)),
        duration_until_reset: bound.and_then(|bound| until(bound, now)),
    }
}

/// A limit in Envoy's words.
fn limit(bound: &HitBound) -> RateLimit {
    let (unit, count) = unit(bound);
    let HitBound { tenant, name, .. } = bound;
    RateLimit { requests_per_unit: small(count), unit: unit.into(), name: format!("{tenant}:{name}") }
}

/// The smallest of Envoy's units in which a whole number of a limit comes back, and the number.
fn unit(bound: &HitBound) -> (Unit, Amount) {
    const SECOND: Duration = Duration::from_secs(1);
    const UNITS: [(Unit, u32); 4] = [(Unit::Second, 1), (Unit::Minute, 60), (Unit::Hour, 3600), (Unit::Day, 86_400)];
    let HitBound { amount, per, .. } = bound;
    let whole = |per: Duration| {
        UNITS.into_iter().find_map(|(unit, seconds)| {
            let (span, per) = ((SECOND * seconds).as_nanos(), per.as_nanos().max(1));
            let product = u128::from(*amount).checked_mul(span)?;
            let count = Amount::try_from(product / per).ok()?;
            product.is_multiple_of(per).then_some((unit, count))
        })
    };
    match per {
        HitPer::Span(per) => whole(*per).unwrap_or((Unit::Unknown, *amount)),
        HitPer::Period(Period::Day) => (Unit::Day, *amount),
        // Envoy had no weeks for long, and takes what it does not know for no unit.
        HitPer::Period(Period::Week) => (Unit::Unknown, *amount),
        HitPer::Period(Period::Month) => (Unit::Month, *amount),
    }
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

#[cfg(test)]
mod tests {
    use headgate_ledger::{Enforce, Name, Reason, ReasonCode, TenantPath};
    use prost::Message as _;

    use super::{Duration, HitAnswer, HitBound, HitPer, HitStanding, Period, Time, response, write};
    use crate::protobuf::Back;

    fn bound(amount: u64, per: HitPer, left: u64, until: Option<Time>) -> HitBound {
        let (tenant, name) = (TenantPath::parse("acme/api").expect("a path"), Name::parse("calls").expect("a name"));
        HitBound { tenant, name, amount, per, left, until }
    }

    fn standings() -> Vec<Option<HitStanding>> {
        let reason = Reason {
            code: ReasonCode::RateExceeded,
            tenant: TenantPath::root(),
            resource: None,
            budget: None,
            rate: None,
            used: 0,
            requested: 0,
            limit: 0,
            until: None,
        };
        let mut all = vec![None];
        for bound in [
            None,
            Some(bound(3, HitPer::Span(Duration::from_secs(3600)), 1, Some(Time::from_nanos(1_200_000_000_007)))),
            Some(bound(7, HitPer::Span(Duration::from_millis(300)), 0, Some(Time::from_nanos(7)))),
            Some(bound(u64::MAX, HitPer::Period(Period::Week), u64::MAX, None)),
            Some(bound(0, HitPer::Period(Period::Month), 0, Some(Time::NEVER))),
        ] {
            for enforce in [Enforce::Deny, Enforce::Observe] {
                for reasons in [vec![], vec![reason.clone()]] {
                    all.push(Some(HitStanding { reasons, enforce, bound: bound.clone() }));
                }
            }
        }
        all
    }

    #[test]
    fn what_is_written_by_hand_is_what_the_library_writes() {
        let mut back = Back::default();
        let time = Time::from_nanos(7);
        let mut answers: Vec<_> =
            standings().into_iter().map(|one| HitAnswer { time, allowed: true, hits: vec![one] }).collect();
        answers.push(HitAnswer { time, allowed: false, hits: standings() });
        answers.push(HitAnswer { time, allowed: true, hits: vec![] });
        for answer in answers {
            for headers in [false, true] {
                back.clear();
                write(&answer, headers, &mut back);
                assert_eq!(back.written(), response(&answer, headers).encode_to_vec(), "{answer:?}");
            }
        }
    }
}
