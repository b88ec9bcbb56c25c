use headgate_proto::v1;
use headgate_proto::v1::resource::AmountKind;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::{Asked, Named, Which, page_size, request, which};
use crate::auth::{Caller, Limits, Share};
use crate::grpc::fault::{Fault, VIOLATIONS_MAX, Violations};

fn caller() -> Caller {
    Caller::unbound("test", &Limits::new(Share::ONE, Share::ALL))
}

fn quantity(name: &str, quantity: &str) -> v1::Resource {
    v1::Resource { name: name.to_owned(), amount_kind: Some(AmountKind::Quantity(quantity.to_owned())) }
}

fn good() -> v1::Request {
    v1::Request {
        request_id: "r-1".to_owned(),
        tenant: "acme/ml".to_owned(),
        resources: vec![quantity("cpu", "500m"), quantity("memory", "1Gi")],
        ..v1::Request::default()
    }
}

fn parsed(wire: v1::Request) -> Result<Asked, Fault> {
    request(Some(wire), Named::Required, &caller())
}

/// The fields that are named, after one change to a good request.
fn wrong(change: impl FnOnce(&mut v1::Request)) -> Vec<String> {
    let mut wire = good();
    change(&mut wire);
    let status = tonic::Status::from(parsed(wire).expect_err("refused"));
    assert_eq!(status.code(), Code::InvalidArgument);
    let violations = status.get_details_bad_request().expect("details").field_violations;
    assert!(violations.iter().all(|violation| !violation.description.is_empty()));
    violations.into_iter().map(|violation| violation.field).collect()
}

#[test]
fn what_is_not_said_has_its_default() {
    let asked = parsed(good()).expect("a request").request;
    assert_eq!((asked.pool.as_str(), asked.count, asked.min_count), ("default", 1, 1));
    assert_eq!((asked.wait, asked.borrow, asked.provisional), (false, true, false));
    assert_eq!((asked.resources.get("cpu"), asked.resources.get("memory")), (Some(500), Some(1 << 30)));
    let ten = parsed(v1::Request { count: 10, ..good() }).expect("a request").request;
    assert_eq!((ten.count, ten.min_count), (10, 10), "all or nothing");
}

#[test]
fn every_offending_field_is_named() {
    let fields = wrong(|wire| {
        wire.request_id.clear();
        wire.tenant = "acme//ml".to_owned();
        wire.pool = "Default".to_owned();
        wire.min_count = 2;
        wire.priority = i32::MIN;
        wire.grace = Some(prost_types::Duration { seconds: -1, nanos: 0 });
        wire.holder = "x".repeat(129);
    });
    let expected = ["request_id", "tenant", "pool", "min_count", "priority", "grace", "holder"];
    assert_eq!(fields, expected.map(|field| format!("request.{field}")));
}

#[test]
fn what_would_not_show_as_itself_is_refused() {
    for text in ["a\u{202e}b", "a\u{200b}", "a\nb", "\u{1b}[31m"] {
        assert_eq!(wrong(|wire| wire.request_id = text.to_owned()), ["request.request_id"], "{text:?}");
        assert_eq!(wrong(|wire| wire.holder = text.to_owned()), ["request.holder"], "{text:?}");
        let label = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
        assert_eq!(wrong(|wire| wire.labels = label(text, "x")), ["request.labels"], "{text:?}");
        assert_eq!(wrong(|wire| wire.labels = label("x", text)), ["request.labels"], "{text:?}");
    }
    assert_eq!(wrong(|wire| wire.labels = [(String::new(), "x".to_owned())].into()), ["request.labels"]);
    let named = v1::Request { labels: [("läuft".to_owned(), String::new())].into(), ..good() };
    assert!(parsed(named).is_ok(), "an empty value is one");
}

#[test]
fn amounts_are_told_by_their_place() {
    let resource = |name: &str, kind| v1::Resource { name: name.to_owned(), amount_kind: kind };
    for (resources, field) in [
        (vec![resource("cpu", None)], "request.resources[0].quantity"),
        (vec![resource("cpu", Some(AmountKind::Amount(-1)))], "request.resources[0].amount"),
        (vec![quantity("cpu", "1"), quantity("memory", "lots")], "request.resources[1].quantity"),
        (vec![quantity("cpu", "1"), quantity("c p u", "1")], "request.resources[1].name"),
        (vec![quantity("cpu", "1"), quantity("cpu", "1")], "request.resources"),
        (vec![resource("cpu", Some(AmountKind::Amount(i64::MAX)))], "request.resources"),
        ((0..33).map(|n| quantity(&format!("r{n}"), "1")).collect(), "request.resources"),
    ] {
        assert_eq!(wrong(|wire| wire.resources = resources), [field]);
    }
}

#[test]
fn spans_are_zero_or_more_and_not_too_long() {
    for (seconds, nanos) in [(-1, 0), (0, -1), (i64::MIN, i32::MIN), (i64::MAX, 0), (1, -1), (1, 1_000_000_000)] {
        let fields = wrong(|wire| wire.ttl = Some(prost_types::Duration { seconds, nanos }));
        assert_eq!(fields, ["request.ttl"], "{seconds} {nanos}");
    }
    let ttl = Some(prost_types::Duration::default());
    assert!(parsed(v1::Request { ttl, ..good() }).expect("a request").request.ttl.is_some(), "zero is said");
}

#[test]
fn a_malformed_message_costs_no_more_than_so_many_violations() {
    let fields = wrong(|wire| wire.resources = (0..32).map(|_| v1::Resource::default()).collect());
    assert_eq!(fields.len(), VIOLATIONS_MAX);
    let labels: Vec<_> = wrong(|wire| wire.labels = (0..17).map(|n| (n.to_string(), String::new())).collect());
    assert_eq!(labels, ["request.labels"]);
}

#[test]
fn a_check_needs_no_id_and_meets_nobodys() {
    let nameless = v1::Request { request_id: String::new(), ..good() };
    let asked = request(Some(nameless), Named::Optional, &caller()).expect("a request").request;
    assert!(asked.id.as_str().starts_with("check-"));
    assert!(request(None, Named::Optional, &caller()).is_err());
}

#[test]
fn leases_are_named_by_ids_or_by_holder() {
    assert_eq!(which(vec!["a".into()], "").expect("ids"), Which::Ids(vec!["a".into()]));
    assert!(matches!(which(Vec::new(), "runner"), Ok(Which::Holder(_))));
    assert!(which(Vec::new(), "").is_err());
    assert!(which(vec!["a".into()], "runner").is_err());
    assert!(which(vec!["a".into(); 1025], "").is_err());
    assert!(which(vec!["a".into(); 1024], "").is_ok());
}

#[test]
fn pages_have_a_size_and_a_limit() {
    let mut wrong = Violations::default();
    assert_eq!((page_size(&mut wrong, 0), page_size(&mut wrong, 1000)), (100, 1000));
    page_size(&mut wrong, 1001);
    assert!(wrong.or(Some(())).is_err());
}
