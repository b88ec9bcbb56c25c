//! Messages as a stranger may send them: whatever decodes is parsed or refused, and what was parsed is told as it was said.

use std::sync::Arc;
use std::time::Instant;

use headgate_ledger::{Amounts, Source};
use headgate_proto::v1;
use prost::Message;

use super::deadline::Deadline;
use super::door::Call;
use super::edge::Desk;
use super::fault::Violations;
use super::{limiting, objects, operations, watching};
use crate::auth::{Caller, Limits, Share};

/// Takes bytes for a message of the kind that the first of them stands for.
pub(crate) fn message(bytes: &[u8]) {
    let Some((kind, message)) = bytes.split_first() else { return };
    match kind % 6 {
        0 => {
            decoded(message, operation);
            remembered(message);
        }
        1 => decoded(message, pool),
        2 => decoded(message, class),
        3 => decoded(message, tenant),
        4 => decoded(message, watch),
        _ => limiting::garbled(message),
    }
}

fn decoded<M: Message + Default>(bytes: &[u8], parse: impl FnOnce(M)) {
    if let Ok(message) = M::decode(bytes) {
        parse(message);
    }
}

fn caller() -> Caller {
    Caller::unbound("stranger", &Limits::new(Share::ONE, Share::ALL))
}

fn operation(wire: v1::Operation) {
    if let Ok(parsed) = operations::operation(wire.operation, &caller()) {
        parsed.part();
    }
}

/// What is looked at before it is parsed, and remembered after, is parsed as it is without.
fn remembered(bytes: &[u8]) {
    let caller = caller();
    let wire = v1::Operation::decode(bytes).ok();
    let expected = wire.map(|v1::Operation { tag, operation }| (tag, operations::operation(operation, &caller)));
    let mut desk = Desk::default();
    for _ in 0..3 {
        let found = desk.operation(bytes, &caller).ok();
        assert_eq!(format!("{found:?}"), format!("{expected:?}"));
    }
}

fn pool(wire: v1::Pool) {
    let parse = |wire, unavailable| {
        let mut wrong = Violations::default();
        let pool = objects::pool(&mut wrong, "pool", wire, Source::Api, unavailable);
        wrong.or(pool).ok()
    };
    let Some(pool) = parse(wire, Amounts::default()) else { return };
    let again = parse(objects::pool_wire(&pool, 1), pool.unavailable.clone());
    assert_eq!(again.as_ref(), Some(&pool));
}

fn class(wire: v1::Class) {
    let parse = |wire| {
        let mut wrong = Violations::default();
        let class = objects::class(&mut wrong, "class", wire, Source::Api);
        wrong.or(class).ok()
    };
    let Some(class) = parse(wire) else { return };
    assert_eq!(parse(objects::class_wire(&class, 1)).as_ref(), Some(&class));
}

fn tenant(wire: v1::Tenant) {
    let parse = |wire| {
        let mut wrong = Violations::default();
        let tenant = objects::tenant(&mut wrong, "tenant", wire, Source::Api);
        wrong.or(tenant).ok()
    };
    let Some(tenant) = parse(wire) else { return };
    assert_eq!(parse(objects::tenant_wire(&tenant, 1, false)).as_ref(), Some(&tenant));
}

fn watch(wire: v1::WatchRequest) {
    let deadline = Deadline::of(None, Instant::now());
    // What is refused is refused; nothing is watched here.
    let _ = watching::parse(wire, &Call { caller: Arc::new(caller()), deadline });
}

#[cfg(test)]
pub(crate) mod tests {
    //! Messages that are whole, to begin with.

    use std::collections::BTreeMap;

    use headgate_ledger::Source;
    use headgate_proto::v1;
    use headgate_proto::v1::resource::AmountKind;
    use prost::Message;

    use super::super::fault::Violations;
    use super::super::{limiting, objects};

    fn texts(text: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("cpu".to_owned(), text.to_owned())])
    }

    fn request() -> v1::Request {
        let resource = |name: &str, kind| v1::Resource { name: name.to_owned(), amount_kind: Some(kind) };
        let span = Some(prost_types::Duration { seconds: 60, nanos: 1 });
        v1::Request {
            request_id: "r-1".to_owned(),
            tenant: "acme/ml/train".to_owned(),
            pool: "default".to_owned(),
            resources: vec![
                resource("cpu", AmountKind::Quantity("500m".to_owned())),
                resource("memory", AmountKind::Quantity("16Gi".to_owned())),
                resource("nvidia.com/gpu", AmountKind::Amount(8)),
            ],
            count: 3,
            min_count: 2,
            priority: -7,
            expected_duration: span,
            wait: Some(true),
            borrow: Some(false),
            grace: span,
            ttl: span,
            provisional: true,
            holder: "runner".to_owned(),
            labels: [("a".to_owned(), "b".to_owned())].into(),
            explain: true,
        }
    }

    fn operations() -> impl Iterator<Item = v1::Operation> {
        use v1::operation::Operation;
        let ids = vec!["main-1".to_owned(), "main-2".to_owned()];
        let operations = [
            Operation::Acquire(v1::AcquireRequest { request: Some(request()) }),
            Operation::Renew(v1::RenewRequest { ids: ids.clone(), holder: "runner".to_owned() }),
            Operation::Resize(v1::ResizeRequest { ids, resources: request().resources, ..Default::default() }),
        ];
        operations.into_iter().map(|operation| v1::Operation { tag: 1, operation: Some(operation) })
    }

    fn pool() -> v1::Pool {
        v1::Pool {
            name: "default".to_owned(),
            capacity: texts("64"),
            max_queued_per_tenant: "10%".to_owned(),
            grace: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
            ..v1::Pool::default()
        }
    }

    fn burst() -> Option<v1::Burst> {
        let span = Some(prost_types::Duration { seconds: 60, nanos: 0 });
        Some(v1::Burst { r#for: span, cooldown: span })
    }

    fn class() -> v1::Class {
        v1::Class { name: "SMALL".to_owned(), limit: texts("80%"), burst: burst(), ..v1::Class::default() }
    }

    fn tenant() -> v1::Tenant {
        let budget = v1::Budget {
            name: "monthly".to_owned(),
            resource: "jobs".to_owned(),
            amount: "10k".to_owned(),
            period: v1::Period::Month.into(),
            time_zone: "Europe/Berlin".to_owned(),
            on_exceed: v1::OnExceed::Queue.into(),
        };
        let rate = v1::Rate {
            name: "starts".to_owned(),
            resource: "jobs".to_owned(),
            amount: "10".to_owned(),
            per: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
            burst: "20".to_owned(),
            on_exceed: v1::OnExceed::Queue.into(),
        };
        let keep = Some(prost_types::Duration { seconds: 60, nanos: 0 });
        let quota =
            v1::Quota { class: "SMALL".to_owned(), guaranteed: texts("500m"), burst: burst(), ..v1::Quota::default() };
        v1::Tenant {
            path: "acme/ml".to_owned(),
            weight: Some(1.5),
            quota: [("default".to_owned(), quota)].into(),
            budgets: vec![budget],
            rates: vec![rate],
            members: Some(v1::Members { kind: "user".to_owned(), keep, ..v1::Members::default() }),
            ..v1::Tenant::default()
        }
    }

    fn watch() -> v1::WatchRequest {
        v1::WatchRequest {
            tenant: "acme".to_owned(),
            holder: "runner".to_owned(),
            ids: vec!["main-1".to_owned()],
            after_sequence: Some(7),
            ..v1::WatchRequest::default()
        }
    }

    /// Whole messages of every kind, as [`super::message`] takes them.
    pub(crate) fn messages() -> Vec<Vec<u8>> {
        let of_kind = |kind: u8, message: Vec<u8>| [vec![kind], message].concat();
        let operations = operations().map(|operation| of_kind(0, operation.encode_to_vec()));
        let others = [
            of_kind(1, pool().encode_to_vec()),
            of_kind(2, class().encode_to_vec()),
            of_kind(3, tenant().encode_to_vec()),
            of_kind(4, watch().encode_to_vec()),
            of_kind(5, limiting::whole().encode_to_vec()),
        ];
        operations.chain(others).collect()
    }

    #[test]
    fn what_is_set_is_told_as_it_was_said() {
        let mut wrong = Violations::default();
        let quota = v1::Quota {
            class: "SMALL".to_owned(),
            limit: [("cpu".to_owned(), "1500m".to_owned()), ("memory".to_owned(), "80%".to_owned())].into(),
            enforce: v1::Enforce::Warn.into(),
            ..v1::Quota::default()
        };
        let said = v1::Tenant {
            path: "acme".to_owned(),
            weight: Some(0.125),
            lifecycle: v1::Lifecycle::Suspended.into(),
            quota: [("default".to_owned(), quota)].into(),
            max_priority: Some(3),
            source: v1::Source::Api.into(),
            resource_version: "7".to_owned(),
            ..v1::Tenant::default()
        };
        let tenant = objects::tenant(&mut wrong, "tenant", said.clone(), Source::Api);
        let tenant = wrong.or(tenant).expect("a tenant");
        assert_eq!(objects::tenant_wire(&tenant, 7, false), said);
    }
}
