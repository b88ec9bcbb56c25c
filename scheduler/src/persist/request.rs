//! Requests, amounts, reasons and ends.

use std::sync::Arc;
use std::time::Duration;

use headgate_ledger::{
    Amounts, Demand, End, Enforce, Holder, Name, ReasonCode, Request, RequestId, Resource, TenantPath,
};
use headgate_proto::journal::v1 as journal;

use super::error::{At, RecordError};
use super::form::{Persisted, nanos, parse_said, words};

words! {
    ReasonCode = Reason {
        NeverFits <=> NeverFits,
        ExceedsLimit <=> ExceedsLimit,
        NoCapacity <=> NoCapacity,
        BehindEarlier <=> BehindEarlier,
        HeldForAnother <=> HeldForAnother,
        BurstOver <=> BurstOver,
        WouldBorrow <=> WouldBorrow,
        BudgetUsedUp <=> BudgetUsedUp,
        RateExceeded <=> RateExceeded,
        Inactive <=> Inactive,
        Paused <=> Paused,
        QueueFull <=> QueueFull,
        WaitedTooLong <=> WaitedTooLong,
    }
}

words! {
    End = End {
        Released <=> Released,
        Cancelled <=> Cancelled,
        Expired <=> Expired,
        Unconfirmed <=> Unconfirmed,
        Revoked <=> Revoked,
        WaitedTooLong <=> WaitedTooLong,
        Silent <=> Silent,
    }
}

words! {
    Enforce = Enforce {
        Deny <=> Deny,
        Warn <=> Warn,
        Observe <=> Observe,
    }
}

impl Persisted for Amounts {
    type Form = Vec<journal::Amount>;

    fn form(&self) -> Self::Form {
        self.iter().map(|(resource, amount)| journal::Amount { resource: resource.form(), amount }).collect()
    }

    fn parse(form: Self::Form) -> Result<Self, RecordError> {
        let amounts = form.into_iter().map(|journal::Amount { resource, amount }| {
            let resource = Resource::parse(&resource)?;
            Ok::<_, RecordError>((resource, amount))
        });
        Ok(Self::new(amounts.collect::<Result<Vec<_>, _>>()?)?)
    }
}

impl Persisted for Request {
    type Form = journal::Request;

    fn form(&self) -> Self::Form {
        let Self { id, demand } = self;
        let Demand {
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
            enforce,
        } = &**demand;
        journal::Request {
            id: id.form(),
            tenant: tenant.form(),
            pool: pool.form(),
            resources: resources.form(),
            count: *count,
            min_count: *min_count,
            priority: *priority,
            expected_duration_ns: expected_duration.map(nanos),
            wait: *wait,
            borrow: *borrow,
            grace_ns: grace.map(nanos),
            ttl_ns: ttl.map(nanos),
            provisional: *provisional,
            holder: holder.as_ref().map(Persisted::form),
            labels: labels
                .iter()
                .map(|(name, value)| journal::Label { name: name.clone(), value: value.clone() })
                .collect(),
            enforce: enforce.as_ref().map(Persisted::form),
        }
    }

    fn parse(form: Self::Form) -> Result<Self, RecordError> {
        let journal::Request {
            id,
            tenant,
            pool,
            resources,
            count,
            min_count,
            priority,
            expected_duration_ns,
            wait,
            borrow,
            grace_ns,
            ttl_ns,
            provisional,
            holder,
            labels,
            enforce,
        } = form;
        let id = RequestId::kept(&id).at("id")?;
        let demand = Demand {
            tenant: TenantPath::parse(&tenant).at("tenant")?,
            pool: Name::parse(&pool).at("pool")?,
            resources: Amounts::parse(resources).at("resources")?,
            count,
            min_count,
            priority,
            expected_duration: expected_duration_ns.map(Duration::from_nanos),
            wait,
            borrow,
            grace: grace_ns.map(Duration::from_nanos),
            ttl: ttl_ns.map(Duration::from_nanos),
            provisional,
            holder: parse_said::<Holder>(holder, "holder")?,
            labels: labels.into_iter().map(|journal::Label { name, value }| (name, value)).collect(),
            enforce: parse_said(enforce, "enforce")?,
        };
        Ok(Self { id, demand: Arc::new(demand) })
    }
}

impl Persisted for Arc<Request> {
    type Form = journal::Request;

    fn form(&self) -> Self::Form {
        (**self).form()
    }

    fn parse(form: Self::Form) -> Result<Self, RecordError> {
        Request::parse(form).map(Arc::new)
    }
}
