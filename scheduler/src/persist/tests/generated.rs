//! Records of every kind, at random.

use std::sync::Arc;
use std::time::Duration;

use headgate_ledger::{
    AMOUNT_MAX, Amounts, Budget, Burst, Change, Class, Demand, End, Enforce, Entry, Found, Guarantee, Hit, Holder, Id,
    Level, Levels, Lifecycle, Lifecycles, Members, Name, OnExceed, Order, Period, Place, Pool, QueueLimit, Quota, Rate,
    ReasonCode, Request, RequestId, Resource, Settings, ShareOf, Source, Tenant, TenantPath, Time, Victim,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::{Just, Strategy, any};
use proptest::sample::select;
use proptest::{prop_compose, prop_oneof};

use crate::persist::{Origin, Record, Surface, What};

fn name() -> impl Strategy<Value = Name> {
    "[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?".prop_map(|text| Name::parse(&text).expect("a name"))
}

fn class_name() -> impl Strategy<Value = Name> {
    "[A-Za-z0-9]{1,6}".prop_map(|text| Name::parse_class(&text).expect("a class's name"))
}

fn path() -> impl Strategy<Value = TenantPath> {
    vec(name(), 1..4).prop_map(|names| {
        let names: Vec<_> = names.iter().map(Name::as_str).collect();
        TenantPath::parse(&names.join("/")).expect("a path")
    })
}

fn path_or_root() -> impl Strategy<Value = TenantPath> {
    prop_oneof![Just(TenantPath::root()), path()]
}

fn resource() -> impl Strategy<Value = Resource> {
    "[A-Za-z0-9._/:-]{1,12}".prop_map(|text| Resource::parse(&text).expect("a resource"))
}

pub(crate) fn holder() -> impl Strategy<Value = Holder> {
    "[ -~é]{1,12}".prop_map(|text| Holder::parse(&text).expect("a holder"))
}

fn span() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(Duration::ZERO), any::<u64>().prop_map(Duration::from_nanos)]
}

pub(crate) fn time() -> impl Strategy<Value = Time> {
    any::<u64>().prop_map(Time::from_nanos)
}

pub(crate) fn id() -> impl Strategy<Value = Id> {
    any::<u64>().prop_map(Id)
}

pub(crate) fn amounts() -> impl Strategy<Value = Amounts> {
    vec((resource(), 0..=AMOUNT_MAX), 0..4)
        .prop_filter_map("a resource named twice", |amounts| Amounts::new(amounts).ok())
}

fn levels() -> impl Strategy<Value = Levels> {
    let level = prop_oneof![(0..=AMOUNT_MAX).prop_map(Level::Units), any::<u32>().prop_map(Level::Part)];
    vec((resource(), level), 0..4).prop_filter_map("a resource named twice", |levels| Levels::new(levels).ok())
}

fn enforce() -> impl Strategy<Value = Enforce> {
    select(vec![Enforce::Deny, Enforce::Warn, Enforce::Observe])
}

fn source() -> impl Strategy<Value = Source> {
    select(vec![Source::File, Source::Api, Source::Kubernetes])
}

prop_compose! {
    pub(crate) fn request()(
        (id, tenant, pool, resources) in
            ("[ -~]{1,12}".prop_map(|id| RequestId::parse(&id).expect("an id")), path(), name(), amounts()),
        (count, min_count, priority) in any::<(u32, u32, i32)>(),
        (expected_duration, grace, ttl) in (of(span()), of(span()), of(span())),
        (wait, borrow, provisional) in any::<(bool, bool, bool)>(),
        holder in of(holder()),
        labels in vec(("[a-z]{0,4}", ".{0,4}"), 0..3),
        enforce in of(enforce()),
    ) -> Arc<Request> {
        let demand = Demand {
            tenant, pool, resources, count, min_count, priority, expected_duration, wait, borrow, grace, ttl,
            provisional, holder, labels, enforce,
        };
        Arc::new(Request { id, demand: Arc::new(demand) })
    }
}

fn place() -> impl Strategy<Value = Place> {
    (path_or_root(), any::<bool>()).prop_map(|(tenant, own)| Place { tenant, own })
}

fn guarantees() -> impl Strategy<Value = Vec<Guarantee>> {
    vec((place(), vec(resource(), 0..3)).prop_map(|(place, resources)| Guarantee { place, resources }), 0..3)
}

fn victims() -> impl Strategy<Value = Vec<Victim>> {
    vec((id(), time()).prop_map(|(lease, deadline)| Victim { lease, deadline }), 0..3)
}

prop_compose! {
    fn pool()(
        (name, cell) in (name(), name()),
        (capacity, unavailable, implied) in (amounts(), amounts(), amounts()),
        order in select(vec![Order::Backfill, Order::Strict]),
        share_of in select(vec![ShareOf::Borrowed, ShareOf::Usage]),
        spans in vec(span(), 10),
        max_queued in any::<u32>(),
        max_queued_per_tenant in
            prop_oneof![any::<u32>().prop_map(QueueLimit::Count), any::<u32>().prop_map(QueueLimit::Part)],
        (reclaim, overcommit, paused) in any::<(bool, bool, bool)>(),
        (enforce, source) in (enforce(), source()),
    ) -> Pool {
        Pool {
            name, cell, capacity, unavailable, implied, order, share_of,
            half_life: spans[0],
            age_step: spans[1],
            hold_after: spans[2],
            hold_for: spans[3],
            max_wait: spans[4],
            max_queued, max_queued_per_tenant, reclaim,
            grace: spans[5],
            min_runtime: spans[6],
            lease_ttl: spans[7],
            confirm_within: spans[8],
            ticket_ttl: spans[9],
            overcommit, enforce, paused, source,
        }
    }
}

prop_compose! {
    fn quota()(
        class in of(class_name()),
        (guaranteed, limit, lendable) in (of(levels()), of(levels()), of(levels())),
        burst in of((span(), span()).prop_map(|(span, cooldown)| Burst { span, cooldown })),
        enforce in of(enforce()),
    ) -> Quota {
        Quota { class, guaranteed, limit, lendable, burst, enforce }
    }
}

prop_compose! {
    fn budget()(
        (name, resource, amount) in (name(), resource(), any::<u64>()),
        period in select(vec![Period::Day, Period::Week, Period::Month]),
        time_zone in "[A-Za-z/]{0,8}",
        on_exceed in select(vec![OnExceed::Deny, OnExceed::Queue]),
    ) -> Budget {
        Budget { name, resource, amount, period, time_zone, on_exceed }
    }
}

prop_compose! {
    fn rate()(
        (name, resource, amount, per, burst) in (name(), resource(), any::<u64>(), span(), any::<u64>()),
        on_exceed in select(vec![OnExceed::Deny, OnExceed::Queue]),
    ) -> Rate {
        Rate { name, resource, amount, per, burst, on_exceed }
    }
}

prop_compose! {
    fn hit()((pool, tenant, resource, amount) in (name(), path(), resource(), any::<u64>())) -> Hit {
        Hit { pool, tenant, resource, amount }
    }
}

prop_compose! {
    fn tenant()(
        (path, kind, weight) in (path(), "[a-z]{0,6}", any::<u32>()),
        lifecycle in
            select(vec![Lifecycle::Active, Lifecycle::Maintenance, Lifecycle::Suspended, Lifecycle::Archived]),
        quotas in vec((name(), quota()), 0..3),
        budgets in vec(budget(), 0..2),
        rates in vec(rate(), 0..2),
        max_priority in of(any::<i32>()),
        members in of((".{0,4}", of(class_name()), any::<u32>(), span(), vec(rate(), 0..2))
            .prop_map(|(kind, class, max, keep, rates)| Members { kind, class, max, keep, rates })),
        draining in any::<bool>(),
        source in source(),
    ) -> Tenant {
        Tenant { path, kind, weight, lifecycle, quotas, budgets, rates, max_priority, members, draining, source }
    }
}

fn settings() -> impl Strategy<Value = Settings> {
    (any::<[u32; 4]>(), vec(resource(), 0..3), span()).prop_map(|(parts, storage_resources, remember)| {
        let [active, maintenance, suspended, archived] = parts;
        Settings { lifecycles: Lifecycles { active, maintenance, suspended, archived }, storage_resources, remember }
    })
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        settings().prop_map(Change::Settings),
        pool().prop_map(Change::PutPool),
        name().prop_map(Change::DeletePool),
        (class_name(), quota(), source()).prop_map(|(name, quota, source)| Change::PutClass(Class {
            name,
            quota,
            source
        })),
        class_name().prop_map(Change::DeleteClass),
        tenant().prop_map(Change::PutTenant),
        (path(), any::<bool>()).prop_map(|(path, drain)| Change::DeleteTenant { path, drain }),
        (name(), amounts(), amounts()).prop_map(|(pool, capacity, unavailable)| Change::Capacity {
            pool,
            capacity,
            unavailable
        }),
        (name(), any::<bool>()).prop_map(|(pool, paused)| Change::Pause { pool, paused }),
        (name(), path_or_root(), of(enforce())).prop_map(|(pool, tenant, enforce)| Change::Enforce {
            pool,
            tenant,
            enforce
        }),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    prop_oneof![
        vec(change(), 0..4).prop_map(Entry::Configured),
        (id(), request(), any::<u32>(), of(select(ReasonCode::ALL.to_vec()))).prop_map(
            |(id, request, count, observed)| Entry::Admitted { id, request, count, observed, found: Found::default() }
        ),
        (id(), request()).prop_map(|(id, request)| Entry::Queued { id, request }),
        (id(), any::<u32>()).prop_map(|(id, count)| Entry::Dispatched { id, count }),
        id().prop_map(|id| Entry::Confirmed { id }),
        (id(), of(holder())).prop_map(|(id, holder)| Entry::Renewed { id, holder }),
        (id(), amounts(), of(select(ReasonCode::ALL.to_vec()))).prop_map(|(id, resources, observed)| Entry::Resized {
            id,
            resources,
            observed
        }),
        (id(), select(End::ALL.to_vec())).prop_map(|(id, end)| Entry::Ended { id, end }),
        (id(), any::<bool>(), guarantees(), victims()).prop_map(|(id, owner, by, victims)| Entry::Claimed {
            id,
            owner,
            by,
            victims
        }),
        (id(), guarantees(), victims()).prop_map(|(id, by, victims)| Entry::ClaimExtended { id, by, victims }),
        id().prop_map(|id| Entry::ClaimDropped { id }),
        id().prop_map(|lease| Entry::LetOff { lease }),
        (name(), vec(id(), 0..3), vec(id(), 0..3), vec((id(), place()), 0..3))
            .prop_map(|(pool, turned, lost, held)| Entry::HoldsPassed { pool, turned, lost, held }),
        (name(), path()).prop_map(|(pool, tenant)| Entry::BurstOver { pool, tenant }),
        id().prop_map(|id| Entry::Silenced { id }),
        (path(), name(), time(), time()).prop_map(|(tenant, budget, started, ends)| Entry::BudgetTurned {
            tenant,
            budget,
            started,
            ends
        }),
        path().prop_map(|tenant| Entry::MemberGone { tenant }),
        path().prop_map(|tenant| Entry::Drained { tenant }),
        vec(hit(), 0..3).prop_map(|hits| Entry::Hit { hits }),
        Just(Entry::Resumed),
    ]
}

/// A record of any kind.
pub(crate) fn record() -> impl Strategy<Value = Record> {
    let what = prop_oneof![
        9 => entry().prop_map(What::Entry),
        1 => (any::<u64>(), of(any::<u64>())).prop_map(|(sequence, value)| What::Digest { sequence, value }),
    ];
    (time(), "[ -~]{0,8}", select(Surface::ALL.to_vec()), ".{0,8}", what).prop_map(
        |(time, actor, surface, reason, what)| Record {
            time,
            origin: Arc::new(Origin { actor: actor.into(), surface, reason: reason.into() }),
            what,
        },
    )
}
