//! Changes of configuration: settings, pools, classes, tenants.

use std::time::Duration;

use headgate_ledger::{
    Amounts, Budget, Burst, Change, Class, Level, Levels, Lifecycle, Lifecycles, Members, Name, OnExceed, Order,
    Period, Pool, QueueLimit, Quota, Rate, Resource, Settings, ShareOf, Source, Tenant, TenantPath,
};
use headgate_proto::journal::v1 as journal;
use headgate_proto::journal::v1::change::Change as Form;

use super::error::{At, RecordError};
use super::form::{Persisted, forms, nanos, parse_all, parse_place, parse_said, parse_there, words};

words! {
    Lifecycle = Lifecycle {
        Active <=> Active,
        Maintenance <=> Maintenance,
        Suspended <=> Suspended,
        Archived <=> Archived,
    }
}

words! {
    Order = Order {
        Backfill <=> Backfill,
        Strict <=> Strict,
    }
}

words! {
    ShareOf = ShareOf {
        Borrowed <=> Borrowed,
        Usage <=> Usage,
    }
}

words! {
    Source = Source {
        File <=> File,
        Api <=> Api,
        Kubernetes <=> Kubernetes,
    }
}

words! {
    Period = Period {
        Day <=> Day,
        Week <=> Week,
        Month <=> Month,
    }
}

words! {
    OnExceed = OnExceed {
        Deny <=> Deny,
        Queue <=> Queue,
    }
}

/// The name of a class, which may be in capitals.
fn parse_class(form: Option<String>) -> Result<Option<Name>, RecordError> {
    form.map(|name| Name::parse_class(&name)).transpose().at("class")
}

impl Persisted for Lifecycles {
    type Form = journal::Lifecycles;

    fn form(&self) -> Self::Form {
        let Self { active, maintenance, suspended, archived } = *self;
        journal::Lifecycles { active, maintenance, suspended, archived }
    }

    fn parse(form: Self::Form) -> Result<Self, RecordError> {
        let journal::Lifecycles { active, maintenance, suspended, archived } = form;
        Ok(Self { active, maintenance, suspended, archived })
    }
}

impl Persisted for Settings {
    type Form = journal::Settings;

    fn form(&self) -> Self::Form {
        let Self { lifecycles, storage_resources, remember } = self;
        journal::Settings {
            lifecycles: Some(lifecycles.form()),
            storage_resources: forms(storage_resources),
            remember_ns: nanos(*remember),
        }
    }

    fn parse(form: Self::Form) -> Result<Self, RecordError> {
        let journal::Settings { lifecycles, storage_resources, remember_ns } = form;
        Ok(Self {
            lifecycles: parse_there(lifecycles, "lifecycles")?,
            storage_resources: parse_all::<Resource>(storage_resources, "storage_resources")?,
            remember: Duration::from_nanos(remember_ns),
        })
    }
}

impl Persisted for QueueLimit {
    type Form = journal::QueueLimit;

    fn form(&self) -> Self::Form {
        use journal::queue_limit::Limit;
        let limit = match self {
            Self::Count(count) => Limit::Count(*count),
            Self::Part(part) => Limit::Part(*part),
        };
        journal::QueueLimit { limit: Some(limit) }
    }

    fn parse(form: Self::Form) -> Result<Self, RecordError> {
        use journal::queue_limit::Limit;
        let journal::QueueLimit { limit } = form;
        Ok(match limit.ok_or_else(RecordError::missing)? {
            Limit::Count(count) => Self::Count(count),
            Limit::Part(part) => Self::Part(part),
        })
    }
}

impl Persisted for Pool {
    type Form = journal::Pool;

    fn form(&self) -> Self::Form {
        let Self {
            name,
            cell,
            capacity,
            unavailable,
            implied,
            order,
            share_of,
            half_life,
            age_step,
            hold_after,
            hold_for,
            max_wait,
            max_queued,
            max_queued_per_tenant,
            reclaim,
            grace,
            min_runtime,
            lease_ttl,
            confirm_within,
            ticket_ttl,
            overcommit,
            enforce,
            paused,
            source,
        } = self;
        journal::Pool {
            name: name.form(),
            cell: cell.form(),
            capacity: capacity.form(),
            unavailable: unavailable.form(),
            implied: implied.form(),
            order: order.form(),
            share_of: share_of.form(),
            half_life_ns: nanos(*half_life),
            age_step_ns: nanos(*age_step),
            hold_after_ns: nanos(*hold_after),
            hold_for_ns: nanos(*hold_for),
            max_wait_ns: nanos(*max_wait),
            max_queued: *max_queued,
            max_queued_per_tenant: Some(max_queued_per_tenant.form()),
            reclaim: *reclaim,
            grace_ns: nanos(*grace),
            min_runtime_ns: nanos(*min_runtime),
            lease_ttl_ns: nanos(*lease_ttl),
            confirm_within_ns: nanos(*confirm_within),
            ticket_ttl_ns: nanos(*ticket_ttl),
            overcommit: *overcommit,
            enforce: enforce.form(),
            paused: *paused,
            source: source.form(),
        }
    }

    fn parse(form: Self::Form) -> Result<Self, RecordError> {
        let journal::Pool {
            name,
            cell,
            capacity,
            unavailable,
            implied,
            order,
            share_of,
            half_life_ns,
            age_step_ns,
            hold_after_ns,
            hold_for_ns,
            max_wait_ns,
            max_queued,
            max_queued_per_tenant,
            reclaim,
            grace_ns,
            min_runtime_ns,
            lease_ttl_ns,
            confirm_within_ns,
            ticket_ttl_ns,
            overcommit,
            enforce,
            paused,
            source,
        } = form;
        Ok(Self {
            name: Name::parse(&name).at("name")?,
            cell: Name::parse(&cell).at("cell")?,
            capacity: Amounts::parse(capacity).at("capacity")?,
            unavailable: Amounts::parse(unavailable).at("unavailable")?,
            implied: Amounts::parse(implied).at("implied")?,
            order: Order::parse(order).at("order")?,
            share_of: ShareOf::parse(share_of).at("share_of")?,
            half_life: Duration::from_nanos(half_life_ns),
            age_step: Duration::from_nanos(age_step_ns),
            hold_after: Duration::from_nanos(hold_after_ns),
            hold_for: Duration::from_nanos(hold_for_ns),
            max_wait: Duration::from_nanos(max_wait_ns),
            max_queued,
            max_queued_per_tenant: parse_there(max_queued_per_tenant, "max_queued_per_tenant")?,
            reclaim,
            grace: Duration::from_nanos(grace_ns),
            min_runtime: Duration::from_nanos(min_runtime_ns),
            lease_ttl: Duration::from_nanos(lease_ttl_ns),
            confirm_within: Duration::from_nanos(confirm_within_ns),
            ticket_ttl: Duration::from_nanos(ticket_ttl_ns),
            overcommit,
            enforce: Persisted::parse(enforce).at("enforce")?,
            paused,
            source: Source::parse(source).at("source")?,
        })
    }
}

impl Persisted for Levels {
    type Form = journal::Levels;

    fn form(&self) -> Self::Form {
        use journal::level::Level as Said;
        let level = |(resource, level): (&Resource, Level)| {
            let said = match level {
                Level::Units(units) => Said::Units(units),
                Level::Part(part) => Said::Part(part),
            };
            journal::Level { resource: resource.form(), level: Some(said) }
        };
        journal::Levels { levels: self.iter().map(level).collect() }
    }

    fn parse(form: Self::Form) -> Result<Self, RecordError> {
        use journal::level::Level as Said;
        let journal::Levels { levels } = form;
        let level = |(index, journal::Level { resource, level }): (usize, journal::Level)| {
            let resource = Resource::parse(&resource).at("resource").at_item("levels", index)?;
            let level = match level.ok_or_else(RecordError::missing).at("level").at_item("levels", index)? {
                Said::Units(units) => Level::Units(units),
                Said::Part(part) => Level::Part(part),
            };
            Ok::<_, RecordError>((resource, level))
        };
        Ok(Self::new(levels.into_iter().enumerate().map(level).collect::<Result<Vec<_>, _>>()?)?)
    }
}

impl Persisted for Burst {
    type Form = journal::Burst;

    fn form(&self) -> Self::Form {
        let Self { span, cooldown } = *self;
        journal::Burst { span_ns: nanos(span), cooldown_ns: nanos(cooldown) }
    }

    fn parse(form: Self::Form) -> Result<Self, RecordError> {
        let journal::Burst { span_ns, cooldown_ns } = form;
        Ok(Self { span: Duration::from_nanos(span_ns), cooldown: Duration::from_nanos(cooldown_ns) })
    }
}

impl Persisted for Quota {
    type Form = journal::Quota;

    fn form(&self) -> Self::Form {
        let Self { class, guaranteed, limit, lendable, burst, enforce } = self;
        journal::Quota {
            class: class.as_ref().map(Persisted::form),
            guaranteed: guaranteed.as_ref().map(Persisted::form),
            limit: limit.as_ref().map(Persisted::form),
            lendable: lendable.as_ref().map(Persisted::form),
            burst: burst.as_ref().map(Persisted::form),
            enforce: enforce.as_ref().map(Persisted::form),
        }
    }

    fn parse(form: Self::Form) -> Result<Self, RecordError> {
        let journal::Quota { class, guaranteed, limit, lendable, burst, enforce } = form;
        Ok(Self {
            class: parse_class(class)?,
            guaranteed: parse_said(guaranteed, "guaranteed")?,
            limit: parse_said(limit, "limit")?,
            lendable: parse_said(lendable, "lendable")?,
            burst: parse_said(burst, "burst")?,
            enforce: parse_said(enforce, "enforce")?,
        })
    }
}

impl Persisted for Class {
    type Form = journal::Class;

    fn form(&self) -> Self::Form {
        let Self { name, quota, source } = self;
        journal::Class { name: name.form(), quota: Some(quota.form()), source: source.form() }
    }

    fn parse(form: Self::Form) -> Result<Self, RecordError> {
        let journal::Class { name, quota, source } = form;
        Ok(Self {
            name: Name::parse_class(&name).at("name")?,
            quota: parse_there(quota, "quota")?,
            source: Source::parse(source).at("source")?,
        })
    }
}

impl Persisted for Budget {
    type Form = journal::Budget;

    fn form(&self) -> Self::Form {
        let Self { name, resource, amount, period, time_zone, on_exceed } = self;
        journal::Budget {
            name: name.form(),
            resource: resource.form(),
            amount: *amount,
            period: period.form(),
            time_zone: time_zone.clone(),
            on_exceed: on_exceed.form(),
        }
    }

    fn parse(form: Self::Form) -> Result<Self, RecordError> {
        let journal::Budget { name, resource, amount, period, time_zone, on_exceed } = form;
        Ok(Self {
            name: Name::parse(&name).at("name")?,
            resource: Resource::parse(&resource).at("resource")?,
            amount,
            period: Period::parse(period).at("period")?,
            time_zone,
            on_exceed: OnExceed::parse(on_exceed).at("on_exceed")?,
        })
    }
}

impl Persisted for Rate {
    type Form = journal::Rate;

    fn form(&self) -> Self::Form {
        let Self { name, resource, amount, per, burst, on_exceed } = self;
        journal::Rate {
            name: name.form(),
            resource: resource.form(),
            amount: *amount,
            per_ns: nanos(*per),
            burst: *burst,
            on_exceed: on_exceed.form(),
        }
    }

    fn parse(form: Self::Form) -> Result<Self, RecordError> {
        let journal::Rate { name, resource, amount, per_ns, burst, on_exceed } = form;
        Ok(Self {
            name: Name::parse(&name).at("name")?,
            resource: Resource::parse(&resource).at("resource")?,
            amount,
            per: Duration::from_nanos(per_ns),
            burst,
            on_exceed: OnExceed::parse(on_exceed).at("on_exceed")?,
        })
    }
}

impl Persisted for Members {
    type Form = journal::Members;

    fn form(&self) -> Self::Form {
        let Self { kind, class, max, keep, rates } = self;
        journal::Members {
            kind: kind.clone(),
            class: class.as_ref().map(Persisted::form),
            max: *max,
            keep_ns: nanos(*keep),
            rates: forms(rates),
        }
    }

    fn parse(form: Self::Form) -> Result<Self, RecordError> {
        let journal::Members { kind, class, max, keep_ns, rates } = form;
        Ok(Self {
            kind,
            class: parse_class(class)?,
            max,
            keep: Duration::from_nanos(keep_ns),
            rates: parse_all(rates, "rates")?,
        })
    }
}

impl Persisted for Tenant {
    type Form = journal::Tenant;

    fn form(&self) -> Self::Form {
        let Self { path, kind, weight, lifecycle, quotas, budgets, rates, max_priority, members, draining, source } =
            self;
        let quota = |(pool, quota): &(Name, Quota)| journal::PoolQuota { pool: pool.form(), quota: Some(quota.form()) };
        journal::Tenant {
            path: path.form(),
            kind: kind.clone(),
            weight: *weight,
            lifecycle: lifecycle.form(),
            quotas: quotas.iter().map(quota).collect(),
            budgets: forms(budgets),
            rates: forms(rates),
            max_priority: *max_priority,
            members: members.as_ref().map(Persisted::form),
            draining: *draining,
            source: source.form(),
        }
    }

    fn parse(form: Self::Form) -> Result<Self, RecordError> {
        let journal::Tenant {
            path,
            kind,
            weight,
            lifecycle,
            quotas,
            budgets,
            rates,
            max_priority,
            members,
            draining,
            source,
        } = form;
        let quota = |(index, journal::PoolQuota { pool, quota }): (usize, journal::PoolQuota)| {
            let pool = Name::parse(&pool).at("pool").at_item("quotas", index)?;
            let quota = parse_there(quota, "quota").at_item("quotas", index)?;
            Ok::<_, RecordError>((pool, quota))
        };
        Ok(Self {
            path: TenantPath::parse(&path).at("path")?,
            kind,
            weight,
            lifecycle: Lifecycle::parse(lifecycle).at("lifecycle")?,
            quotas: quotas.into_iter().enumerate().map(quota).collect::<Result<_, _>>()?,
            budgets: parse_all(budgets, "budgets")?,
            rates: parse_all(rates, "rates")?,
            max_priority,
            members: parse_said(members, "members")?,
            draining,
            source: Source::parse(source).at("source")?,
        })
    }
}

impl Persisted for Change {
    type Form = journal::Change;

    fn form(&self) -> Self::Form {
        let change = match self {
            Self::Settings(settings) => Form::Settings(settings.form()),
            Self::PutPool(pool) => Form::PutPool(pool.form()),
            Self::DeletePool(name) => Form::DeletePool(name.form()),
            Self::PutClass(class) => Form::PutClass(class.form()),
            Self::DeleteClass(name) => Form::DeleteClass(name.form()),
            Self::PutTenant(tenant) => Form::PutTenant(tenant.form()),
            Self::DeleteTenant { path, drain } => {
                Form::DeleteTenant(journal::DeleteTenant { path: path.form(), drain: *drain })
            }
            Self::Capacity { pool, capacity, unavailable } => Form::Capacity(journal::SetCapacity {
                pool: pool.form(),
                capacity: capacity.form(),
                unavailable: unavailable.form(),
            }),
            Self::Pause { pool, paused } => Form::Pause(journal::SetPaused { pool: pool.form(), paused: *paused }),
            Self::Enforce { pool, tenant, enforce } => Form::Enforce(journal::SetEnforce {
                pool: pool.form(),
                tenant: tenant.form(),
                enforce: enforce.as_ref().map(Persisted::form),
            }),
        };
        journal::Change { change: Some(change) }
    }

    fn parse(form: Self::Form) -> Result<Self, RecordError> {
        let journal::Change { change } = form;
        match change.ok_or_else(RecordError::missing)? {
            Form::Settings(form) => Settings::parse(form).map(Self::Settings).at("settings"),
            Form::PutPool(form) => Pool::parse(form).map(Self::PutPool).at("put_pool"),
            Form::DeletePool(form) => Ok(Self::DeletePool(Name::parse(&form).at("delete_pool")?)),
            Form::PutClass(form) => Class::parse(form).map(Self::PutClass).at("put_class"),
            Form::DeleteClass(form) => Ok(Self::DeleteClass(Name::parse_class(&form).at("delete_class")?)),
            Form::PutTenant(form) => Tenant::parse(form).map(Self::PutTenant).at("put_tenant"),
            Form::DeleteTenant(journal::DeleteTenant { path, drain }) => {
                Ok(Self::DeleteTenant { path: TenantPath::parse(&path).at("path").at("delete_tenant")?, drain })
            }
            Form::Capacity(form) => set_capacity(form).at("capacity"),
            Form::Pause(journal::SetPaused { pool, paused }) => {
                Ok(Self::Pause { pool: Name::parse(&pool).at("pool").at("pause")?, paused })
            }
            Form::Enforce(form) => set_enforce(form).at("enforce"),
        }
    }
}

fn set_capacity(form: journal::SetCapacity) -> Result<Change, RecordError> {
    let journal::SetCapacity { pool, capacity, unavailable } = form;
    Ok(Change::Capacity {
        pool: Name::parse(&pool).at("pool")?,
        capacity: Amounts::parse(capacity).at("capacity")?,
        unavailable: Amounts::parse(unavailable).at("unavailable")?,
    })
}

fn set_enforce(form: journal::SetEnforce) -> Result<Change, RecordError> {
    let journal::SetEnforce { pool, tenant, enforce } = form;
    Ok(Change::Enforce {
        pool: Name::parse(&pool).at("pool")?,
        tenant: parse_place(&tenant).at("tenant")?,
        enforce: parse_said(enforce, "enforce")?,
    })
}
