//! Messages that were garbled on the way: whatever still decodes is parsed or refused, and nothing panics.

use std::collections::BTreeMap;

use headgate_ledger::{Amounts, Source};
use headgate_proto::v1;
use headgate_proto::v1::resource::AmountKind;
use prost::Message;

use super::fault::Violations;
use super::{objects, operations};
use crate::auth::{Caller, Limits, Share};

/// The same numbers every time (xorshift64*, Vigna 2016).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize
    }
}

/// Garbles a message again and again; `parse` gets what still decodes.
fn garble<M: Message + Default>(good: &M, mut parse: impl FnMut(M)) {
    const TIMES: usize = 20_000;
    let bytes = good.encode_to_vec();
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut decoded = 0;
    for _ in 0..TIMES {
        let mut garbled = bytes.clone();
        for _ in 0..=numbers.next() % 4 {
            let at = numbers.next() % garbled.len();
            match numbers.next() % 3 {
                0 => garbled[at] = numbers.next() as u8,
                1 => garbled[at] ^= 1 << (numbers.next() % 8),
                _ => garbled.insert(at, [0xff, 0x80, 0x7f, 0][numbers.next() % 4]),
            }
        }
        if let Ok(message) = M::decode(&*garbled) {
            decoded += 1;
            parse(message);
        }
    }
    assert!(decoded > TIMES / 20, "{decoded} of {TIMES} decoded: too few to say anything");
}

fn caller() -> Caller {
    Caller::unbound("test", &Limits::new(Share::ONE, Share::ALL))
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

#[test]
fn garbled_operations_are_parsed_or_refused() {
    use v1::operation::Operation;
    let ids = vec!["main-1".to_owned(), "main-2".to_owned()];
    let caller = caller();
    for operation in [
        Operation::Acquire(v1::AcquireRequest { request: Some(request()) }),
        Operation::Renew(v1::RenewRequest { ids: ids.clone(), holder: "runner".to_owned() }),
        Operation::Resize(v1::ResizeRequest { ids, resources: request().resources, ..Default::default() }),
    ] {
        garble(&v1::Operation { tag: 1, operation: Some(operation) }, |wire| {
            let _ = operations::operation(wire.operation, &caller);
        });
    }
}

#[test]
fn garbled_configuration_is_parsed_or_refused() {
    let texts = |text: &str| BTreeMap::from([("cpu".to_owned(), text.to_owned())]);
    let span = Some(prost_types::Duration { seconds: 60, nanos: 0 });
    let burst = Some(v1::Burst { r#for: span, cooldown: span });
    let pool = v1::Pool {
        name: "default".to_owned(),
        capacity: texts("64"),
        max_queued_per_tenant: "10%".to_owned(),
        grace: span,
        ..v1::Pool::default()
    };
    garble(&pool, |wire| {
        objects::pool(&mut Violations::default(), "pool", wire, Source::Api, Amounts::default());
    });
    let class = v1::Class { name: "SMALL".to_owned(), limit: texts("80%"), burst, ..v1::Class::default() };
    garble(&class, |wire| {
        objects::class(&mut Violations::default(), "class", wire, Source::Api);
    });
    let budget = v1::Budget {
        name: "monthly".to_owned(),
        resource: "jobs".to_owned(),
        amount: "10k".to_owned(),
        period: v1::Period::Month.into(),
        time_zone: "Europe/Berlin".to_owned(),
        on_exceed: v1::OnExceed::Queue.into(),
    };
    let quota = v1::Quota { class: "SMALL".to_owned(), guaranteed: texts("500m"), burst, ..v1::Quota::default() };
    let tenant = v1::Tenant {
        path: "acme/ml".to_owned(),
        weight: Some(1.5),
        quota: [("default".to_owned(), quota)].into(),
        budgets: vec![budget],
        members: Some(v1::Members { kind: "user".to_owned(), keep: span, ..v1::Members::default() }),
        ..v1::Tenant::default()
    };
    garble(&tenant, |wire| {
        objects::tenant(&mut Violations::default(), "tenant", wire, Source::Api);
    });
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
