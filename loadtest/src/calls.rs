//! What is said on the wire, and what is read of its answers.
//!
//! What requests have in common is written once for each tenant and each size; a request is these, and an id between.

use headgate_proto::v1::Reason;

use crate::review::Reviews;
use crate::scenario::Scenario;
use crate::wire::message::{Field, Fields, bytes, number, varint, varint_bytes};

/// The paths of the calls.
pub(crate) const CHECK: &str = "/headgate.v1.QuotaService/CheckQuota";
pub(crate) const ACQUIRE: &str = "/headgate.v1.QuotaService/Acquire";
pub(crate) const RELEASE: &str = "/headgate.v1.QuotaService/Release";
pub(crate) const RENEW: &str = "/headgate.v1.QuotaService/Renew";
pub(crate) const STREAM: &str = "/headgate.v1.QuotaService/AcquireStream";
pub(crate) const RATE_LIMIT: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// Bytes of a request's id: all of one length, so that nothing around it moves.
pub(crate) const ID_BYTES: usize = 24;
/// Bytes of that field of a request.
const NAMED_BYTES: usize = 2 + ID_BYTES;
/// The most kinds of reason for a denial.
pub(crate) const REASONS: usize = Reason::ALL.len() + 1;

/// What is done by one call, or by one operation of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    Check,
    Acquire,
    Release,
    Renew,
    RateLimit,
    Review,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] =
        [Self::Check, Self::Acquire, Self::Release, Self::Renew, Self::RateLimit, Self::Review];

    /// Where it is asked; none: where the target says.
    pub(crate) fn path(self) -> Option<&'static str> {
        match self {
            Self::Check => Some(CHECK),
            Self::Acquire => Some(ACQUIRE),
            Self::Release => Some(RELEASE),
            Self::Renew => Some(RENEW),
            Self::RateLimit => Some(RATE_LIMIT),
            Self::Review => None,
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Acquire => "acquire",
            Self::Release => "release",
            Self::Renew => "renew",
            Self::RateLimit => "rate-limit",
            Self::Review => "review",
        }
    }

    /// Its field in an operation of a stream.
    fn field(self) -> u8 {
        match self {
            Self::Acquire => 2,
            Self::Check => 3,
            Self::Renew => 5,
            Self::Release => 7,
            Self::RateLimit | Self::Review => unreachable!("a stream limits no rates, and reviews nothing"),
        }
    }
}

/// What an operation is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum About<'a> {
    /// A request of a tenant and a size, by their places, with an id of its own where something is taken: a check takes
    /// nothing that would have to be found again.
    Request { tenant: u32, shape: u32, id: Option<&'a [u8; ID_BYTES]> },
    /// A lease or ticket, by its id.
    Lease(&'a [u8]),
}

/// Requests, written beforehand.
#[derive(Clone, Debug)]
pub(crate) struct Calls {
    tenants: Vec<Vec<u8>>,
    shapes: Vec<Vec<u8>>,
    /// Whole calls of Envoy's, by tenant.
    limits: Vec<Vec<u8>>,
    reviews: Reviews,
}

/// How the requests of a run are told from others.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    /// Who holds everything that the run takes.
    pub(crate) holder: String,
    /// After how many seconds a lease ends that nobody released: the run was killed.
    pub(crate) ttl_s: u64,
}

impl Calls {
    pub(crate) fn new(scenario: &Scenario, mark: &Mark) -> Self {
        let tenant = |path: &str| {
            let mut out = Vec::new();
            bytes(2, path.as_bytes(), &mut out);
            bytes(3, scenario.pool.name.as_bytes(), &mut out);
            if scenario.wait {
                number(9, 1, &mut out);
            }
            let mut ttl = Vec::new();
            number(1, mark.ttl_s, &mut ttl);
            bytes(12, &ttl, &mut out);
            bytes(14, mark.holder.as_bytes(), &mut out);
            out
        };
        let shape = |amounts: &crate::scenario::Amounts| {
            let mut out = Vec::new();
            for (name, amount) in amounts {
                let mut resource = Vec::new();
                bytes(1, name.as_bytes(), &mut resource);
                number(3, *amount, &mut resource);
                bytes(4, &resource, &mut out);
            }
            out
        };
        let limit = |path: &str| {
            let (mut entry, mut descriptor, mut out) = (Vec::new(), Vec::new(), Vec::new());
            bytes(1, b"tenant", &mut entry);
            bytes(2, path.as_bytes(), &mut entry);
            bytes(1, &entry, &mut descriptor);
            bytes(1, crate::scenario::OWN.as_bytes(), &mut out);
            bytes(2, &descriptor, &mut out);
            number(3, 1, &mut out);
            out
        };
        let paths = || scenario.tenants.iter().map(|one| one.path.as_str());
        Self {
            tenants: paths().map(tenant).collect(),
            shapes: scenario.shapes.iter().map(shape).collect(),
            limits: paths().map(limit).collect(),
            reviews: Reviews::new(scenario),
        }
    }

    /// Writes the message of a call of its own.
    pub(crate) fn write(&self, kind: Kind, about: About<'_>, out: &mut Vec<u8>) {
        match about {
            About::Request { tenant, .. } if kind == Kind::RateLimit => {
                out.extend_from_slice(&self.limits[tenant as usize]);
            }
            About::Request { tenant, shape, id } if kind == Kind::Review => {
                let Some(id) = id else { unreachable!("a review is told by its id") };
                self.reviews.write(tenant, shape, id, out);
            }
            About::Request { tenant, shape, id } => {
                let (tenant, shape) = (&self.tenants[tenant as usize], &self.shapes[shape as usize]);
                out.push(1 << 3 | 2);
                varint((id.map_or(0, |_| NAMED_BYTES) + tenant.len() + shape.len()) as u64, out);
                if let Some(id) = id {
                    bytes(1, id, out);
                }
                out.extend_from_slice(tenant);
                out.extend_from_slice(shape);
            }
            About::Lease(id) => bytes(1, id, out),
        }
    }

    /// Writes an operation of a stream.
    pub(crate) fn write_operation(&self, tag: u64, kind: Kind, about: About<'_>, out: &mut Vec<u8>) {
        let message = self.length(about);
        let operation = 1 + varint_bytes(tag) + 1 + varint_bytes(message as u64) + message;
        out.push(1 << 3 | 2);
        varint(operation as u64, out);
        number(1, tag, out);
        out.push(kind.field() << 3 | 2);
        varint(message as u64, out);
        self.write(kind, about, out);
    }

    fn length(&self, about: About<'_>) -> usize {
        let framed = |length: usize| 1 + varint_bytes(length as u64) + length;
        match about {
            About::Request { tenant, shape, id } => framed(
                id.map_or(0, |_| NAMED_BYTES) + self.tenants[tenant as usize].len() + self.shapes[shape as usize].len(),
            ),
            About::Lease(id) => framed(id.len()),
        }
    }
}

/// What was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said<'a> {
    /// Allowed; with the lease's id, where something was taken.
    Allow(&'a [u8]),
    /// Queued; with the ticket's id, where something was taken.
    Queue(&'a [u8]),
    /// Denied, for a reason.
    Deny(u8),
    /// It stands no more: the request had been made before.
    Ended,
    /// Done: released, renewed.
    Done,
    /// A rate was within its limit.
    WithinLimit,
    /// A rate was over its limit.
    OverLimit,
    /// It failed, with a code of gRPC, and what was said of it.
    Failed(i32, &'a [u8]),
    /// Nothing that could be understood.
    Garbled,
}

/// Reads the message that answers a call of its own.
pub(crate) fn read(kind: Kind, message: &[u8]) -> Said<'_> {
    match kind {
        Kind::Check | Kind::Acquire => match Fields(message).next() {
            Some((1, Field::Bytes(answer))) => read_answer(answer),
            _ => Said::Garbled,
        },
        Kind::Release | Kind::Renew => read_outcome(message),
        Kind::RateLimit => match Fields(message).find(|(field, _)| *field == 1) {
            Some((_, Field::Number(1))) => Said::WithinLimit,
            Some((_, Field::Number(2))) => Said::OverLimit,
            _ => Said::Garbled,
        },
        // What it must be about is known to whoever asked alone.
        Kind::Review => Said::Garbled,
    }
}

/// Reads the results of a message of a stream: each tag, and what was answered.
pub(crate) fn read_results(message: &[u8]) -> impl Iterator<Item = (u64, Said<'_>)> {
    Fields(message).filter_map(|(field, value)| match value {
        Field::Bytes(result) if field == 1 => Some(read_result(result)),
        _ => None,
    })
}

fn read_result(result: &[u8]) -> (u64, Said<'_>) {
    let (mut tag, mut said) = (0, Said::Garbled);
    for (field, value) in Fields(result) {
        match (field, value) {
            (1, Field::Number(number)) => tag = number,
            (2, Field::Bytes(status)) => said = read_status(status),
            (3 | 4, Field::Bytes(message)) => said = read(Kind::Acquire, message),
            (6 | 8, Field::Bytes(message)) => said = read_outcome(message),
            _ => {}
        }
    }
    (tag, said)
}

fn read_status(status: &[u8]) -> Said<'_> {
    let (mut code, mut message): (i32, &[u8]) = (2, &[]);
    for (field, value) in Fields(status) {
        match (field, value) {
            (1, Field::Number(number)) => code = number as i32,
            (2, Field::Bytes(text)) => message = text,
            _ => {}
        }
    }
    Said::Failed(code, message)
}

fn read_answer(answer: &[u8]) -> Said<'_> {
    let (mut decision, mut state, mut reason) = (0, 0, 0);
    let (mut lease, mut ticket): (&[u8], &[u8]) = (&[], &[]);
    for (field, value) in Fields(answer) {
        match (field, value) {
            (1, Field::Number(number)) => decision = number,
            (2, Field::Bytes(id)) => lease = id,
            (3, Field::Bytes(id)) => ticket = id,
            (4, Field::Number(number)) => state = number,
            (9, Field::Bytes(detail)) if reason == 0 => {
                reason = match Fields(detail).next() {
                    Some((1, Field::Number(code))) => code,
                    _ => 0,
                };
            }
            _ => {}
        }
    }
    match (decision, state) {
        (_, 5) => Said::Ended,
        (1, _) => Said::Allow(lease),
        (2, _) => Said::Queue(ticket),
        (3, _) => Said::Deny(reason.min(REASONS as u64 - 1) as u8),
        _ => Said::Garbled,
    }
}

/// The one outcome of a call that named one lease.
fn read_outcome(message: &[u8]) -> Said<'_> {
    let Some((1, Field::Bytes(outcome))) = Fields(message).next() else { return Said::Done };
    match Fields(outcome).find(|(field, _)| *field == 2) {
        Some((_, Field::Bytes(status))) => read_status(status),
        _ => Said::Done,
    }
}

#[cfg(test)]
mod tests {
    use headgate_proto::v1::{self, operation, operation_result};
    use prost::Message as _;

    use super::{About, Calls, ID_BYTES, Kind, Mark, Said, read, read_results};
    use crate::scenario::Scenario;

    fn calls() -> Calls {
        let yaml = "scenario: x\nwait: true\nmix: {acquire: 1}\nsizes: {cpu: 2, gpu: 1}\ntenants: [{path: loadtest/a}]";
        let scenario = Scenario::parse("x", yaml, std::path::Path::new(".")).expect("read");
        Calls::new(&scenario, &Mark { holder: "me".to_owned(), ttl_s: 300 })
    }

    const ID: [u8; ID_BYTES] = *b"0123456789abcdef01234567";

    #[test]
    fn what_is_written_is_what_is_meant() {
        let mut out = Vec::new();
        calls().write(Kind::Acquire, About::Request { tenant: 0, shape: 0, id: Some(&ID) }, &mut out);
        let request = v1::AcquireRequest::decode(out.as_slice()).expect("a request").request.expect("one");
        assert_eq!((request.request_id.as_bytes(), request.tenant.as_str()), (&ID[..], "loadtest/a"));
        assert_eq!((request.pool.as_str(), request.wait, request.holder.as_str()), ("loadtest", Some(true), "me"));
        assert_eq!(request.ttl.map(|ttl| ttl.seconds), Some(300));
        let amount = v1::resource::AmountKind::Amount;
        let resources: Vec<_> = request.resources.into_iter().map(|one| (one.name, one.amount_kind)).collect();
        assert_eq!(resources, [("cpu".to_owned(), Some(amount(2000))), ("gpu".to_owned(), Some(amount(1)))]);
    }

    #[test]
    fn operations_of_a_stream_follow_each_other() {
        let (calls, mut out) = (calls(), Vec::new());
        calls.write_operation(300, Kind::Check, About::Request { tenant: 0, shape: 0, id: None }, &mut out);
        calls.write_operation(0, Kind::Release, About::Lease(b"main-7"), &mut out);
        let operations = v1::AcquireStreamRequest::decode(out.as_slice()).expect("a message").operations;
        assert_eq!(operations.iter().map(|one| one.tag).collect::<Vec<_>>(), [300, 0]);
        let Some(operation::Operation::Check(check)) = &operations[0].operation else { panic!("{operations:?}") };
        let request = check.request.as_ref().expect("a request");
        assert_eq!((request.request_id.as_str(), request.tenant.as_str()), ("", "loadtest/a"));
        let Some(operation::Operation::Release(release)) = &operations[1].operation else { panic!("{operations:?}") };
        assert_eq!(release.ids, ["main-7"]);
    }

    fn answer(decision: v1::Decision) -> v1::Answer {
        v1::Answer {
            decision: decision.into(),
            count: 1,
            charged: [("cpu".to_owned(), 5)].into(),
            ..v1::Answer::default()
        }
    }

    #[test]
    fn answers_are_read_as_they_are_meant() {
        let allowed = v1::Answer { lease_id: "main-7".to_owned(), ..answer(v1::Decision::Allow) };
        let queued = v1::Answer { ticket_id: "main-8".to_owned(), ..answer(v1::Decision::Queue) };
        let detail = v1::ReasonDetail { code: v1::Reason::NoCapacity.into(), ..v1::ReasonDetail::default() };
        let denied = v1::Answer { reasons: vec![detail], ..answer(v1::Decision::Deny) };
        let ended = v1::Answer { state: v1::State::Ended.into(), ..answer(v1::Decision::Allow) };
        for (answer, expected) in [
            (allowed, Said::Allow(b"main-7")),
            (queued, Said::Queue(b"main-8")),
            (denied, Said::Deny(3)),
            (ended, Said::Ended),
            (v1::Answer::default(), Said::Garbled),
        ] {
            let message = v1::AcquireResponse { answer: Some(answer) }.encode_to_vec();
            assert_eq!(read(Kind::Acquire, &message), expected);
        }
        assert_eq!(read(Kind::Check, b""), Said::Garbled);
        assert_eq!(read(Kind::RateLimit, &[8, 2, 18, 2, 8, 2]), Said::OverLimit);
    }

    #[test]
    fn results_are_read_one_by_one() {
        let status = v1::Status { code: 5, message: "no such tenant".to_owned(), ..v1::Status::default() };
        let outcome = v1::Outcome { id: "main-7".to_owned(), ..v1::Outcome::default() };
        let release = v1::ReleaseResponse { outcomes: vec![outcome.clone()] };
        let gone = v1::Outcome { status: Some(v1::Status { code: 9, ..status.clone() }), ..outcome };
        let renew = v1::RenewResponse { outcomes: vec![gone] };
        let check = v1::CheckQuotaResponse { answer: Some(answer(v1::Decision::Allow)) };
        let result = |tag, status, result| v1::OperationResult { tag, status, result };
        let results = vec![
            result(1, Some(status), None),
            result(2, None, Some(operation_result::Result::Release(release))),
            result(3, None, Some(operation_result::Result::Renew(renew))),
            result(4, None, Some(operation_result::Result::Check(check))),
        ];
        let message = v1::AcquireStreamResponse { results }.encode_to_vec();
        let expected = [
            (1, Said::Failed(5, b"no such tenant")),
            (2, Said::Done),
            (3, Said::Failed(9, b"no such tenant")),
            (4, Said::Allow(b"")),
        ];
        assert_eq!(read_results(&message).collect::<Vec<_>>(), expected);
    }
}
