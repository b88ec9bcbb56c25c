use headgate_ledger::{Amount, TenantPath};
use headgate_proto::v1;
use prost::Message as _;

use super::Remembered;
use crate::auth::{Caller, Limits, Share};
use crate::engine::Operation;
use crate::grpc::fault::Fault;
use crate::grpc::operations::{self, Kind, Parsed};

fn caller() -> Caller {
    Caller::unbound("somebody", &Limits::new(Share::ONE, Share::ALL))
}

fn message(request: v1::Request) -> Vec<u8> {
    v1::AcquireRequest { request: Some(request) }.encode_to_vec()
}

fn request(id: &str) -> v1::Request {
    v1::Request {
        request_id: id.into(),
        tenant: "acme/ml".into(),
        resources: vec![v1::Resource {
            name: "cpu".into(),
            amount_kind: Some(v1::resource::AmountKind::Quantity("500m".into())),
        }],
        priority: 3,
        wait: Some(true),
        holder: "runner".into(),
        labels: [("team".into(), "ml".into())].into(),
        ..v1::Request::default()
    }
}

/// What comes of it, as text: what was parsed, or why not.
fn shown(parsed: Result<Parsed, Fault>) -> String {
    match parsed {
        Ok(parsed) => format!("{parsed:?}"),
        Err(fault) => format!("{:?}", fault.into_wire()),
    }
}

fn by_the_parser(kind: Kind, message: &[u8], caller: &Caller) -> String {
    let parsed = match kind {
        Kind::Check => v1::CheckQuotaRequest::decode(message).map(|wire| operations::check(wire, caller)),
        Kind::Confirm => v1::ConfirmRequest::decode(message).map(operations::confirm),
        Kind::Renew => v1::RenewRequest::decode(message).map(operations::renew),
        Kind::Release => v1::ReleaseRequest::decode(message).map(operations::release),
        Kind::Cancel => v1::CancelRequest::decode(message).map(operations::cancel),
        Kind::Resize => v1::ResizeRequest::decode(message).map(operations::resize),
        Kind::Acquire => v1::AcquireRequest::decode(message).map(|wire| operations::acquire(wire, caller)),
    };
    parsed.map_or_else(|error| error.to_string(), shown)
}

fn remembered(remembered: &mut Remembered, kind: Kind, message: &[u8], caller: &Caller) -> String {
    remembered.parse(kind, message, caller).map_or_else(|error| error.to_string(), shown)
}

#[test]
fn ids_are_parsed_as_the_parser_parses_them() {
    let caller = caller();
    let mut known = Remembered::default();
    let ids = |ids: &[&str], holder: &str| v1::RenewRequest {
        ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        holder: holder.to_owned(),
    };
    let mut messages: Vec<_> = [
        ids(&["main-1"], ""),
        ids(&["main-18446744073709551615"], ""),
        ids(&["other-2"], ""),
        ids(&["main-01"], ""),
        ids(&["nothing"], ""),
        ids(&["main-1", "other-2"], ""),
        ids(&["main-1"], "runner"),
        ids(&[], "runner"),
        ids(&[], ""),
    ]
    .iter()
    .map(|message| message.encode_to_vec())
    .collect();
    let whole = messages[0].clone();
    for at in 0..whole.len() {
        messages.push(whole[..at].to_vec());
        for change in [1, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= change;
            messages.push(bytes);
        }
    }
    for kind in [Kind::Confirm, Kind::Renew, Kind::Resize, Kind::Release, Kind::Cancel] {
        for bytes in &messages {
            let expected = by_the_parser(kind, bytes, &caller);
            assert_eq!(remembered(&mut known, kind, bytes, &caller), expected, "{kind:?} {bytes:?}");
        }
    }
}

#[test]
fn whatever_comes_again_is_parsed_as_it_was_the_first_time() {
    let caller = caller();
    let mut known = Remembered::default();
    let whole = message(request("job-1"));
    let mut garbled = vec![whole.clone(), message(request("")), message(request("job-2")), Vec::new(), vec![10, 0]];
    for at in 0..whole.len() {
        garbled.push(whole[..at].to_vec());
        for change in [1, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= change;
            garbled.push(bytes);
        }
    }
    // A request that is said in two parts, has two ids, or has what this server does not know.
    garbled.push([whole.clone(), message(v1::Request { request_id: "other".into(), ..Default::default() })].concat());
    garbled.push([whole.clone(), vec![0x78, 1]].concat());
    let inner = request("job-1").encode_to_vec();
    for more in [&[10, 1, b'x'][..], &[10, 0], &[0xfa, 7, 1, 1], &[10, 2, 0xff, 0xfe]] {
        let request = [&inner[..], more].concat();
        garbled.push([&[10, request.len() as u8][..], &request].concat());
    }
    for _ in 0..3 {
        for kind in [Kind::Acquire, Kind::Check] {
            for bytes in &garbled {
                let expected = by_the_parser(kind, bytes, &caller);
                assert_eq!(remembered(&mut known, kind, bytes, &caller), expected, "{kind:?} {bytes:?}");
            }
        }
    }
}

#[test]
fn names_that_come_again_are_kept_once() {
    let caller = caller();
    let mut known = Remembered::default();
    let mut tenant = |id: &str| {
        let parsed = known.parse(Kind::Acquire, &message(request(id)), &caller).expect("decoded").expect("parsed");
        let Operation::Acquire { request, .. } = parsed.operation else { panic!("{:?}", parsed.operation) };
        (request.id.to_string(), request.tenant.clone())
    };
    let seen: Vec<(String, TenantPath)> = ["a", "b", "c", "d"].map(&mut tenant).into();
    assert_eq!(seen.iter().map(|(id, _)| &id[..]).collect::<String>(), "abcd", "each has its own id");
    let same = |a: &TenantPath, b: &TenantPath| std::ptr::eq(a.as_str(), b.as_str());
    assert!(!same(&seen[0].1, &seen[1].1), "what comes once is not remembered");
    assert!(same(&seen[2].1, &seen[3].1));
}

#[test]
fn each_caller_is_held_to_its_own_bounds() {
    let free = caller();
    let mut known = Remembered::default();
    for id in ["a", "b", "c"] {
        assert!(known.parse(Kind::Acquire, &message(request(id)), &free).expect("decoded").is_ok());
    }
    let least = Caller::at_most_priority(&free, 2);
    for id in ["d", "e"] {
        let bytes = message(request(id));
        assert_eq!(remembered(&mut known, Kind::Acquire, &bytes, &least), by_the_parser(Kind::Acquire, &bytes, &least));
        assert!(known.parse(Kind::Acquire, &bytes, &least).expect("decoded").is_err());
    }
    let enough = Caller::at_most_priority(&free, 3);
    assert!(known.parse(Kind::Acquire, &message(request("f")), &enough).expect("decoded").is_ok());
}

#[test]
fn amounts_are_those_of_the_same_bytes() {
    let caller = caller();
    let mut known = Remembered::default();
    for round in 0..3 {
        for millicores in [1_i64, 2, 1 << 40] {
            let resources = vec![v1::Resource {
                name: "cpu".into(),
                amount_kind: Some(v1::resource::AmountKind::Amount(millicores)),
            }];
            let bytes = message(v1::Request { resources, ..request(&format!("r{round}")) });
            let parsed = known.parse(Kind::Acquire, &bytes, &caller).expect("decoded").expect("parsed");
            let Operation::Acquire { request, .. } = parsed.operation else { panic!("{:?}", parsed.operation) };
            assert_eq!(request.resources.get("cpu"), Amount::try_from(millicores).ok());
        }
    }
}
