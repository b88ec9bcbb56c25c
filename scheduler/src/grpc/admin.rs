//! `AdminService`: configuring tenants, pools and classes. Looking at how they stand is in `looking`.

use headgate_ledger as ledger;
use headgate_ledger::{Change, Name, Object, TenantPath};
use headgate_proto::v1;
use headgate_proto::v1::admin_service_server::AdminService;
use tonic::{Request, Response, Status};

use crate::config::Permission;
use crate::engine::{ObjectName, View};
use crate::reconcile;

use super::changes::{self, Asking};
use super::door::Call;
use super::fault::{Fault, Violations};
use super::looking;
use super::objects;
use super::parse;
use super::service::Service;
use super::words::FromWire as _;

/// `AdminService`, on the engine.
#[derive(Clone, Debug)]
pub(super) struct Admin(pub(super) Service);

/// A call: who calls is seen, and the message handed on.
macro_rules! call {
    ($self:ident, $request:ident, $permission:ident, $method:ident) => {{
        let call = $self.0.door.enter(&$request, Permission::$permission)?;
        Ok(Response::new($self.$method(&call, $request.into_inner()).await?))
    }};
    ($self:ident, $request:ident, looking $method:ident) => {{
        let call = $self.0.door.enter(&$request, Permission::Check)?;
        Ok(Response::new(looking::$method(&$self.0, &call, $request.into_inner()).await?))
    }};
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl AdminService for Admin {
    async fn put_tenant(&self, request: Request<v1::PutTenantRequest>) -> Answer<v1::PutTenantResponse> {
        call!(self, request, Admin, put_one_tenant)
    }

    async fn get_tenant(&self, request: Request<v1::GetTenantRequest>) -> Answer<v1::GetTenantResponse> {
        call!(self, request, looking tenant)
    }

    async fn list_tenants(&self, request: Request<v1::ListTenantsRequest>) -> Answer<v1::ListTenantsResponse> {
        call!(self, request, looking tenants)
    }

    async fn delete_tenant(&self, request: Request<v1::DeleteTenantRequest>) -> Answer<v1::DeleteTenantResponse> {
        call!(self, request, Admin, delete_one_tenant)
    }

    async fn put_pool(&self, request: Request<v1::PutPoolRequest>) -> Answer<v1::PutPoolResponse> {
        call!(self, request, Admin, put_one_pool)
    }

    async fn get_pool(&self, request: Request<v1::GetPoolRequest>) -> Answer<v1::GetPoolResponse> {
        call!(self, request, looking pool)
    }

    async fn list_pools(&self, request: Request<v1::ListPoolsRequest>) -> Answer<v1::ListPoolsResponse> {
        call!(self, request, looking pools)
    }

    async fn delete_pool(&self, request: Request<v1::DeletePoolRequest>) -> Answer<v1::DeletePoolResponse> {
        call!(self, request, Admin, delete_one_pool)
    }

    async fn put_class(&self, request: Request<v1::PutClassRequest>) -> Answer<v1::PutClassResponse> {
        call!(self, request, Admin, put_one_class)
    }

    async fn get_class(&self, request: Request<v1::GetClassRequest>) -> Answer<v1::GetClassResponse> {
        call!(self, request, looking class)
    }

    async fn list_classes(&self, request: Request<v1::ListClassesRequest>) -> Answer<v1::ListClassesResponse> {
        call!(self, request, looking classes)
    }

    async fn delete_class(&self, request: Request<v1::DeleteClassRequest>) -> Answer<v1::DeleteClassResponse> {
        call!(self, request, Admin, delete_one_class)
    }

    async fn apply(&self, request: Request<v1::ApplyRequest>) -> Answer<v1::ApplyResponse> {
        call!(self, request, Admin, apply_all)
    }

    async fn set_capacity(&self, request: Request<v1::SetCapacityRequest>) -> Answer<v1::SetCapacityResponse> {
        call!(self, request, Admin, set_a_capacity)
    }

    async fn set_paused(&self, request: Request<v1::SetPausedRequest>) -> Answer<v1::SetPausedResponse> {
        call!(self, request, Admin, set_a_pause)
    }

    async fn set_enforce(&self, request: Request<v1::SetEnforceRequest>) -> Answer<v1::SetEnforceResponse> {
        call!(self, request, Admin, set_an_enforcement)
    }

    async fn list_usage(&self, request: Request<v1::ListUsageRequest>) -> Answer<v1::ListUsageResponse> {
        call!(self, request, looking usage)
    }

    async fn list_queue(&self, request: Request<v1::ListQueueRequest>) -> Answer<v1::ListQueueResponse> {
        call!(self, request, looking queue)
    }

    async fn list_leases(&self, request: Request<v1::ListLeasesRequest>) -> Answer<v1::ListLeasesResponse> {
        call!(self, request, looking leases)
    }

    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Answer<v1::ExplainResponse> {
        call!(self, request, looking explain)
    }
}

impl Admin {
    async fn put_one_tenant(&self, call: &Call, wire: v1::PutTenantRequest) -> Result<v1::PutTenantResponse, Fault> {
        let v1::PutTenantRequest { tenant, validate_only, source, reason } = wire;
        let mut wrong = Violations::default();
        let mut asking = Asking::of(&mut wrong, &call.caller, source, reason, validate_only);
        let wire = tenant.ok_or_else(|| Fault::field("tenant", "it is missing"))?;
        let version = wire.resource_version.clone();
        let tenant = objects::tenant(&mut wrong, "tenant", wire, asking.asker.source());
        let name = tenant.as_ref().map(|tenant| ObjectName::Tenant(tenant.path.clone()));
        asking.expect(&mut wrong, "tenant.resource_version", name, &version);
        let mut tenant = wrong.or(tenant)?;
        let before = self.look(|view| {
            changes::may_set(call, view, &tenant)?;
            Ok(view.tenant(tenant.path.as_str()).map(|before| (before.source, before.draining)))
        });
        // That it is being removed is not taken back by setting it.
        tenant.draining = before.await?.is_some_and(|(_, draining)| draining);
        let path = tenant.path.clone();
        let would_be = tenant.clone();
        let effect = self.0.change(call, asking, vec![Change::PutTenant(tenant)]).await?;
        let tenant = if validate_only {
            objects::tenant_wire(&would_be, self.version(Object::Tenant(path.as_str())).await, false)
        } else {
            looking::tenant_at(&self.0, &path).await?
        };
        Ok(v1::PutTenantResponse { tenant: Some(tenant), effect: Some(effect) })
    }

    async fn delete_one_tenant(
        &self,
        call: &Call,
        wire: v1::DeleteTenantRequest,
    ) -> Result<v1::DeleteTenantResponse, Fault> {
        let v1::DeleteTenantRequest { path, resource_version, drain, validate_only, source, reason } = wire;
        let mut wrong = Violations::default();
        let mut asking = Asking::of(&mut wrong, &call.caller, source, reason, validate_only);
        let path = parse::tenant_path(&mut wrong, "path", &path);
        asking.expect(&mut wrong, "resource_version", path.clone().map(ObjectName::Tenant), &resource_version);
        let path = wrong.or(path)?;
        changes::may_change(call, &path)?;
        self.known(Object::Tenant(path.as_str())).await?;
        let effect = self.0.change(call, asking, vec![Change::DeleteTenant { path, drain }]).await?;
        Ok(v1::DeleteTenantResponse { effect: Some(effect) })
    }

    async fn put_one_pool(&self, call: &Call, wire: v1::PutPoolRequest) -> Result<v1::PutPoolResponse, Fault> {
        changes::for_all(call)?;
        let v1::PutPoolRequest { pool, validate_only, source, reason } = wire;
        let mut wrong = Violations::default();
        let mut asking = Asking::of(&mut wrong, &call.caller, source, reason, validate_only);
        let wire = pool.ok_or_else(|| Fault::field("pool", "it is missing"))?;
        let version = wire.resource_version.clone();
        let unavailable = self.unavailable(&wire.name).await;
        let pool = objects::pool(&mut wrong, "pool", wire, asking.asker.source(), unavailable);
        let name = pool.as_ref().map(|pool| ObjectName::Pool(pool.name.clone()));
        asking.expect(&mut wrong, "pool.resource_version", name, &version);
        let pool = wrong.or(pool)?;
        let would_be = pool.clone();
        let effect = self.0.change(call, asking, vec![Change::PutPool(pool)]).await?;
        let pool = if validate_only {
            objects::pool_wire(&would_be, self.version(Object::Pool(would_be.name.as_str())).await)
        } else {
            looking::pool_named(&self.0, &would_be.name).await?
        };
        Ok(v1::PutPoolResponse { pool: Some(pool), effect: Some(effect) })
    }

    async fn delete_one_pool(&self, call: &Call, wire: v1::DeletePoolRequest) -> Result<v1::DeletePoolResponse, Fault> {
        changes::for_all(call)?;
        let v1::DeletePoolRequest { name, resource_version, validate_only, source, reason } = wire;
        let mut wrong = Violations::default();
        let mut asking = Asking::of(&mut wrong, &call.caller, source, reason, validate_only);
        let name = wrong.take("name", Name::parse(&name));
        asking.expect(&mut wrong, "resource_version", name.clone().map(ObjectName::Pool), &resource_version);
        let name = wrong.or(name)?;
        self.known(Object::Pool(name.as_str())).await?;
        let effect = self.0.change(call, asking, vec![Change::DeletePool(name)]).await?;
        Ok(v1::DeletePoolResponse { effect: Some(effect) })
    }

    async fn put_one_class(&self, call: &Call, wire: v1::PutClassRequest) -> Result<v1::PutClassResponse, Fault> {
        changes::for_all(call)?;
        let v1::PutClassRequest { class, validate_only, source, reason } = wire;
        let mut wrong = Violations::default();
        let mut asking = Asking::of(&mut wrong, &call.caller, source, reason, validate_only);
        let wire = class.ok_or_else(|| Fault::field("class", "it is missing"))?;
        let version = wire.resource_version.clone();
        let class = objects::class(&mut wrong, "class", wire, asking.asker.source());
        let name = class.as_ref().map(|class| ObjectName::Class(class.name.clone()));
        asking.expect(&mut wrong, "class.resource_version", name, &version);
        let class = wrong.or(class)?;
        let would_be = class.clone();
        let effect = self.0.change(call, asking, vec![Change::PutClass(class)]).await?;
        let class = if validate_only {
            objects::class_wire(&would_be, self.version(Object::Class(would_be.name.as_str())).await)
        } else {
            looking::class_named(&self.0, &would_be.name).await?
        };
        Ok(v1::PutClassResponse { class: Some(class), effect: Some(effect) })
    }

    async fn delete_one_class(
        &self,
        call: &Call,
        wire: v1::DeleteClassRequest,
    ) -> Result<v1::DeleteClassResponse, Fault> {
        changes::for_all(call)?;
        let v1::DeleteClassRequest { name, resource_version, validate_only, source, reason } = wire;
        let mut wrong = Violations::default();
        let mut asking = Asking::of(&mut wrong, &call.caller, source, reason, validate_only);
        let name = objects::class_name(&mut wrong, "name", &name);
        asking.expect(&mut wrong, "resource_version", name.clone().map(ObjectName::Class), &resource_version);
        let name = wrong.or(name)?;
        self.known(Object::Class(name.as_str())).await?;
        let effect = self.0.change(call, asking, vec![Change::DeleteClass(name)]).await?;
        Ok(v1::DeleteClassResponse { effect: Some(effect) })
    }

    async fn apply_all(&self, call: &Call, wire: v1::ApplyRequest) -> Result<v1::ApplyResponse, Fault> {
        let v1::ApplyRequest { pools, classes, tenants, prune, drain, dry_run, source, reason } = wire;
        if !pools.is_empty() || !classes.is_empty() || prune {
            changes::for_all(call)?;
        }
        let mut wrong = Violations::default();
        let mut asking = Asking::of(&mut wrong, &call.caller, source, reason, dry_run);
        let source = asking.asker.source();
        let mut all = Vec::with_capacity(pools.len() + classes.len() + tenants.len());
        for (n, wire) in pools.into_iter().enumerate() {
            let (field, version) = (format!("pools[{n}]"), wire.resource_version.clone());
            let unavailable = self.unavailable(&wire.name).await;
            if let Some(pool) = objects::pool(&mut wrong, &field, wire, source, unavailable) {
                let name = ObjectName::Pool(pool.name.clone());
                asking.expect(&mut wrong, &format!("{field}.resource_version"), Some(name), &version);
                all.push(Change::PutPool(pool));
            }
        }
        for (n, wire) in classes.into_iter().enumerate() {
            let (field, version) = (format!("classes[{n}]"), wire.resource_version.clone());
            if let Some(class) = objects::class(&mut wrong, &field, wire, source) {
                let name = ObjectName::Class(class.name.clone());
                asking.expect(&mut wrong, &format!("{field}.resource_version"), Some(name), &version);
                all.push(Change::PutClass(class));
            }
        }
        let mut put = Vec::with_capacity(tenants.len());
        for (n, wire) in tenants.into_iter().enumerate() {
            let (field, version) = (format!("tenants[{n}]"), wire.resource_version.clone());
            if let Some(tenant) = objects::tenant(&mut wrong, &field, wire, source) {
                let name = ObjectName::Tenant(tenant.path.clone());
                asking.expect(&mut wrong, &format!("{field}.resource_version"), Some(name), &version);
                put.push(tenant);
            }
        }
        wrong.or(Some(()))?;
        // Parents before those under them.
        put.sort_by(|a, b| a.path.cmp(&b.path));
        if let Some(pair) = put.windows(2).find(|pair| pair[0].path == pair[1].path) {
            return Err(Fault::field("tenants", format!("tenant {} is given twice", pair[0].path)));
        }
        self.look(|view| put.iter().try_for_each(|tenant| changes::may_set(call, view, tenant))).await?;
        all.extend(put.into_iter().map(Change::PutTenant));
        if prune {
            let gone = self.look(|view| Ok(reconcile::prune(view, source, &all, drain))).await?;
            all.extend(gone);
        }
        let kept =
            |view: &View<'_>| all.iter().map(|change| !reconcile::leaves_alone(view, change)).collect::<Vec<_>>();
        let mut kept = self.look(|view| Ok(kept(view))).await?.into_iter();
        all.retain(|_| kept.next().unwrap_or(true));
        let effect = self.0.change(call, asking, all).await?;
        Ok(v1::ApplyResponse { effect: Some(effect) })
    }

    async fn set_a_capacity(
        &self,
        call: &Call,
        wire: v1::SetCapacityRequest,
    ) -> Result<v1::SetCapacityResponse, Fault> {
        changes::for_all(call)?;
        let v1::SetCapacityRequest { pool, capacity, unavailable, resource_version, validate_only, source, reason } =
            wire;
        let mut wrong = Violations::default();
        let mut asking = Asking::of(&mut wrong, &call.caller, source, reason, validate_only);
        let name = parse::pool_name(&mut wrong, "pool", &pool);
        let said = !capacity.is_empty();
        let capacity = parse::quantities(&mut wrong, "capacity", capacity);
        let unavailable = parse::quantities(&mut wrong, "unavailable", unavailable);
        asking.expect(&mut wrong, "resource_version", name.clone().map(ObjectName::Pool), &resource_version);
        let parsed = (|| Some((name?, capacity?, unavailable?)))();
        let (name, capacity, unavailable) = wrong.or(parsed)?;
        let before = looking::pool_spec(&self.0, &name).await?;
        if said && before.source != asking.asker.source() {
            let message = format!("pool {name} belongs to another source, which sets its capacity: change it there");
            return Err(Fault::precondition(headgate_proto::errors::OTHER_SOURCE, message));
        }
        let change = Change::Capacity { pool: name.clone(), capacity, unavailable };
        let effect = self.0.change(call, asking, vec![change]).await?;
        Ok(v1::SetCapacityResponse { pool: Some(looking::pool_named(&self.0, &name).await?), effect: Some(effect) })
    }

    async fn set_a_pause(&self, call: &Call, wire: v1::SetPausedRequest) -> Result<v1::SetPausedResponse, Fault> {
        changes::for_all(call)?;
        let v1::SetPausedRequest { pool, paused, reason } = wire;
        let mut wrong = Violations::default();
        let asking = Asking::of(&mut wrong, &call.caller, v1::Source::Unspecified.into(), reason, false);
        let name = parse::pool_name(&mut wrong, "pool", &pool);
        let name = wrong.or(name)?;
        looking::pool_spec(&self.0, &name).await?;
        self.0.change(call, asking, vec![Change::Pause { pool: name.clone(), paused }]).await?;
        Ok(v1::SetPausedResponse { pool: Some(looking::pool_named(&self.0, &name).await?) })
    }

    async fn set_an_enforcement(
        &self,
        call: &Call,
        wire: v1::SetEnforceRequest,
    ) -> Result<v1::SetEnforceResponse, Fault> {
        changes::for_all(call)?;
        let v1::SetEnforceRequest { pool, tenant, enforce, reason } = wire;
        let mut wrong = Violations::default();
        let asking = Asking::of(&mut wrong, &call.caller, v1::Source::Unspecified.into(), reason, false);
        let name = parse::pool_name(&mut wrong, "pool", &pool);
        let tenant = if tenant.is_empty() {
            Some(TenantPath::root())
        } else {
            parse::tenant_path(&mut wrong, "tenant", &tenant)
        };
        let enforce = wrong.take("enforce", ledger::Enforce::from_wire(enforce));
        let parsed = (|| Some((name?, tenant?, enforce?)))();
        let (pool, tenant, enforce) = wrong.or(parsed)?;
        looking::pool_spec(&self.0, &pool).await?;
        let effect = self.0.change(call, asking, vec![Change::Enforce { pool, tenant, enforce }]).await?;
        Ok(v1::SetEnforceResponse { effect: Some(effect) })
    }

    /// Looks at the first cell, which has every class and tenant.
    async fn look<R>(&self, look: impl FnOnce(&View<'_>) -> Result<R, Fault>) -> Result<R, Fault> {
        let cell = looking::first_cell(&self.0)?;
        self.0.engine.read(cell, look).await.map_err(|error| Fault::engine(&error, ""))?
    }

    async fn version(&self, object: Object<'_>) -> u64 {
        self.look(|view| Ok(view.revision(object).unwrap_or(0))).await.unwrap_or(0)
    }

    /// Whether there is such an object anywhere.
    async fn known(&self, object: Object<'_>) -> Result<(), Fault> {
        for cell in self.0.engine.cells() {
            let found = self.0.engine.look(cell, |view| view.revision(object).is_some()).await;
            if found.map_err(|error| Fault::engine(&error, ""))? {
                return Ok(());
            }
        }
        Err(match object {
            Object::Pool(name) => Fault::not_found(format_args!("pool {name}")),
            Object::Class(name) => Fault::not_found(format_args!("class {name}")),
            Object::Tenant(path) => Fault::not_found(format_args!("tenant {path}")),
        })
    }

    /// What of a pool cannot be had just now, which a put leaves as it is.
    async fn unavailable(&self, pool: &str) -> ledger::Amounts {
        let Ok(name) = Name::parse(pool) else { return ledger::Amounts::default() };
        looking::pool_spec(&self.0, &name).await.map(|pool| pool.unavailable).unwrap_or_default()
    }
}
