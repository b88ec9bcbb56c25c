use std::sync::Arc;
use std::time::Duration;

use headgate_ledger as ledger;
use headgate_ledger::{
    Amounts, End, Enforce, Id, Name, Outcome, Request, RequestId, Resource, State, TenantPath, Time,
};
use headgate_proto::limits::OPERATIONS_BYTES_MAX;
use headgate_proto::v1;
use prost::Message as _;

use super::{Answers, Back, PREFIX_BYTES, Plain, plain};
use crate::engine::{Answer, Done, Footing, LeaseId, Operation, Target};
use crate::grpc::operations;
use crate::grpc::render::{self, Detail};

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

fn amounts(amounts: &[(&str, u64)]) -> Amounts {
    let parsed = amounts.iter().map(|(name, amount)| (Resource::parse(name).expect("a name"), *amount));
    Amounts::new(parsed).expect("amounts")
}

fn asked() -> Arc<Request> {
    let id = RequestId::parse("r").expect("an id");
    let tenant = TenantPath::parse("acme/ml").expect("a path");
    let mut request = Request::new(id, tenant, name("default"), amounts(&[("cpu", 1)]));
    request.count = 3;
    Arc::new(request)
}

fn at(nanos: u64) -> Time {
    Time::from_nanos(nanos)
}

/// Everywhere that a request may stand, with small and large numbers, and none.
fn everywhere() -> Vec<Option<Footing>> {
    let mut all = vec![None];
    for (number, resources, count, state, expires, deadline) in [
        (1, amounts(&[("cpu", 1)]), 1, State::Provisional, at(1), None),
        (
            u64::MAX,
            amounts(&[("cpu", 4000), ("jobs", 0), ("nvidia.com/gpu", 1 << 40)]),
            300,
            State::Active,
            Time::NEVER,
            None,
        ),
        (
            10,
            amounts(&[("memory", (1 << 60) - 1)]),
            u32::MAX,
            State::Reclaiming,
            at(1_700_000_000_999_999_999),
            Some(at(1 << 40)),
        ),
        (100, amounts(&[]), 0, State::Reclaiming, at(5_000_000_000), Some(Time::NEVER)),
    ] {
        all.push(Some(Footing::Lease { id: Id(number), resources, count, state, expires, deadline }));
    }
    for silent_at in [None, Some(at(0)), Some(at(3_000_000_000)), Some(Time::NEVER)] {
        all.push(Some(Footing::Ticket { id: Id(42), pool: name("default"), count: 3, silent_at }));
    }
    for end in End::ALL {
        for admitted in [false, true] {
            all.push(Some(Footing::Ended { id: Id(9), end, admitted }));
        }
    }
    all
}

fn answers() -> Vec<Answer> {
    let mut all = Vec::new();
    for stands in everywhere() {
        for outcome in [Outcome::Allow, Outcome::Queue, Outcome::Deny] {
            for enforce in [Enforce::Deny, Enforce::Warn, Enforce::Observe] {
                for (would_be, position) in
                    [(None, None), (Some(Outcome::Queue), Some(0)), (Some(outcome), Some(70_000))]
                {
                    all.push(Answer {
                        cell: name("eu-west-1"),
                        outcome,
                        stands: stands.clone(),
                        repeated: false,
                        reasons: Vec::new(),
                        would_be,
                        enforce,
                        position,
                        expected_wait: None,
                        explanation: None,
                    });
                }
            }
        }
    }
    all
}

fn by_the_library(answer: &Answer, detail: Detail) -> v1::Answer {
    render::answer(answer, detail)
}

fn by_hand(plain: Plain<'_>) -> Vec<u8> {
    let mut back = Back::default();
    plain.write(&mut back);
    back.written().to_vec()
}

#[test]
fn what_is_written_by_hand_is_what_the_library_writes() {
    for answer in answers() {
        let expected = v1::AcquireResponse { answer: Some(by_the_library(&answer, Detail::Whole)) };
        assert_eq!(by_hand(Plain::Decided(&answer)), expected.encode_to_vec(), "{answer:?}");
    }
    for detail in [Detail::Whole, Detail::Brief] {
        let each: Vec<_> = answers()
            .into_iter()
            .enumerate()
            .map(|(n, answer)| (LeaseId { cell: name("main"), number: Id(n as u64 + 1) }, Ok(answer)))
            .collect();
        let outcome = |(id, answer): &(LeaseId, Result<Answer, _>)| v1::Outcome {
            id: id.to_string(),
            status: None,
            answer: answer.as_ref().ok().map(|answer| by_the_library(answer, detail)),
        };
        let expected = v1::RenewResponse { outcomes: each.iter().map(outcome).collect() };
        assert_eq!(by_hand(Plain::Each(&each, detail)), expected.encode_to_vec());
    }
    assert_eq!(by_hand(Plain::Each(&Vec::new(), Detail::Whole)), [0; 0], "nobody's");
}

#[test]
fn what_explains_itself_or_failed_is_left_to_the_library() {
    let telling = || operations::to_check(crate::grpc::parse::Asked { request: asked(), explain: false }).part().1;
    let answer = answers().remove(0);
    let decided = |answer| Ok(Done::Decided(answer));
    assert!(plain(&telling(), &decided(answer.clone())).is_some());
    let reason = ledger::Reason {
        code: ledger::ReasonCode::NoCapacity,
        tenant: TenantPath::root(),
        resource: None,
        budget: None,
        rate: None,
        used: 0,
        requested: 0,
        limit: 0,
        until: None,
    };
    let reasoned = Answer { reasons: vec![reason], ..answer.clone() };
    assert!(plain(&telling(), &decided(reasoned)).is_none());
    let waits = Answer { expected_wait: Some(Duration::from_secs(1)), ..answer.clone() };
    assert!(plain(&telling(), &decided(waits)).is_none());

    let release = |ids: &[&str]| {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        operations::release(v1::ReleaseRequest { ids, holder: String::new() }).expect("parsed").part()
    };
    let (operation, telling) = release(&["main-1", "main-2"]);
    let Operation::Release(Target::Ids(ids)) = operation else { panic!("{operation:?}") };
    let each = |last| Ok(Done::Each(ids.iter().cloned().zip([Ok(answer.clone()), last]).collect()));
    assert!(plain(&telling, &each(Ok(answer.clone()))).is_some());
    let gone = crate::engine::EngineError::NoLease(ids[0].clone());
    assert!(plain(&telling, &each(Err(gone))).is_none());
    let (_, telling) = release(&["main-1", "nothing"]);
    assert!(plain(&telling, &each(Ok(answer.clone()))).is_none());
}

#[test]
fn results_come_in_order_and_in_messages_that_are_not_too_large() {
    let mut answers = Answers::default();
    let sizes: Vec<usize> = (0..12).map(|n| n * 50_000).collect();
    let result = |tag: usize, message: String| v1::OperationResult {
        tag: tag as u64,
        status: Some(v1::Status { message, ..v1::Status::default() }),
        result: None,
    };
    let results = sizes.iter().enumerate().map(|(n, size)| result(n, "x".repeat(*size)));
    let parts = answers.parts(results, |result, back| back.message(&result));
    assert!(parts.len() > 3, "{}", parts.len());
    let mut told = Vec::new();
    for part in &parts {
        let (prefix, message) = part.split_first_chunk::<PREFIX_BYTES>().expect("a prefix");
        assert_eq!(u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize, message.len());
        assert!(prefix[0] == 0 && message.len() <= OPERATIONS_BYTES_MAX);
        told.extend(v1::AcquireStreamResponse::decode(message).expect("a message").results);
    }
    let found: Vec<_> = told
        .iter()
        .map(|result| result.status.as_ref().map(|status| status.message.len()).unwrap_or_default())
        .collect();
    assert_eq!(found, sizes);
    // A single one is sent whole, however large it is, and what comes after does not suffer.
    let large = answers
        .parts(vec![result(1, "x".repeat(2 * OPERATIONS_BYTES_MAX))].into_iter(), |result, back| back.message(&result));
    assert_eq!(large.len(), 1);
    assert_eq!(answers.parts(std::iter::empty::<v1::OperationResult>(), |_, _| {}), [&[0; PREFIX_BYTES][..]], "none");
}
