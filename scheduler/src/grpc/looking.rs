//! How pools, classes and tenants are set, and how tenants stand: one by one, in pages, and explained. Every caller sees
//! its own tenants; of the others only what is in the sums of those above.

use std::collections::BTreeMap;

use headgate_ledger as ledger;
use headgate_ledger::{Holder, Id, Name, Object, Standing, TenantPath};
use headgate_proto::v1;
use headgate_proto::v1::explain_request::What;

use crate::auth::Caller;
use crate::engine::{LeaseId, Stands, View};

use super::door::Call;
use super::fault::{Fault, Violations};
use super::objects;
use super::parse;
use super::quota::complete;
use super::rates;
use super::render::{self, Detail};
use super::service::{Service, asker};

/// Tickets of one page up to which each is told why it waits: to find that out takes a walk of its pool.
const EXPLAINED_MAX: usize = 8;
/// Tenants that an explanation names.
const EXPLAINED_TENANTS_MAX: usize = 100;
/// What a page of usage is resumed after when the root was the last of the one before.
const AFTER_ROOT: &str = "/";

/// The cell that has every class and tenant, as all have.
pub(super) fn first_cell(service: &Service) -> Result<&Name, Fault> {
    service
        .engine
        .cells()
        .next()
        .ok_or_else(|| Fault::unavailable("no cell is served here", std::time::Duration::from_secs(1)))
}

async fn read<R>(service: &Service, cell: &Name, look: impl FnOnce(&View<'_>) -> R) -> Result<R, Fault> {
    service.engine.read(cell, look).await.map_err(|error| Fault::engine(&error, ""))
}

// Tenants.

/// A tenant as it is set: its quotas are each in their pool's cell.
struct Found {
    tenant: ledger::Tenant,
    version: u64,
    member: bool,
}

fn found(view: &View<'_>, tenant: &ledger::Tenant) -> Found {
    let path = tenant.path.as_str();
    Found {
        version: view.revision(Object::Tenant(path)).unwrap_or(0),
        member: view.is_member(path),
        tenant: tenant.clone(),
    }
}

/// Puts together what the cells have of tenants.
fn merge(into: &mut BTreeMap<TenantPath, Found>, more: Vec<Found>) {
    for found in more {
        match into.get_mut(&found.tenant.path) {
            None => drop(into.insert(found.tenant.path.clone(), found)),
            Some(known) => {
                known.tenant.quotas.extend(found.tenant.quotas);
                known.tenant.quotas.sort_by(|a, b| a.0.cmp(&b.0));
                known.tenant.quotas.dedup_by(|a, b| a.0 == b.0);
                if known.tenant.budgets.is_empty() {
                    known.tenant.budgets = found.tenant.budgets;
                }
                if known.tenant.rates.is_empty() {
                    known.tenant.rates = found.tenant.rates;
                }
            }
        }
    }
}

pub(super) async fn tenant_at(service: &Service, path: &TenantPath) -> Result<v1::Tenant, Fault> {
    let mut all = BTreeMap::new();
    for cell in service.engine.cells() {
        let one = |view: &View<'_>| view.tenant(path.as_str()).map(|tenant| found(view, tenant)).into_iter().collect();
        merge(&mut all, read(service, cell, one).await?);
    }
    let Found { tenant, version, member } =
        all.remove(path).ok_or_else(|| Fault::not_found(format_args!("tenant {path}")))?;
    Ok(objects::tenant_wire(&tenant, version, member))
}

pub(super) async fn tenant(
    service: &Service,
    call: &Call,
    wire: v1::GetTenantRequest,
) -> Result<v1::GetTenantResponse, Fault> {
    let _room = call.caller.meter().operation()?;
    let v1::GetTenantRequest { path } = wire;
    let mut wrong = Violations::default();
    let path = parse::tenant_path(&mut wrong, "path", &path);
    let path = wrong.or(path)?;
    if !call.caller.sees(path.as_str()) {
        return Err(Fault::not_found(format_args!("tenant {path}")));
    }
    Ok(v1::GetTenantResponse { tenant: Some(tenant_at(service, &path).await?) })
}

/// The subtree that a page is of: the root, where none is named.
fn subtree(wrong: &mut Violations, path: &str) -> Option<TenantPath> {
    if path.is_empty() { Some(TenantPath::root()) } else { parse::tenant_path(wrong, "subtree", path) }
}

/// A subtree is known to a caller that sees it, or something below it.
fn check_subtree(caller: &Caller, subtree: &TenantPath) -> Result<(), Fault> {
    let below = || caller.subtrees().iter().any(|mine| subtree.covers(mine.as_str()));
    if subtree.is_root() || caller.sees(subtree.as_str()) || below() {
        Ok(())
    } else {
        Err(Fault::not_found(format_args!("tenant {subtree}")))
    }
}

pub(super) async fn tenants(
    service: &Service,
    call: &Call,
    wire: v1::ListTenantsRequest,
) -> Result<v1::ListTenantsResponse, Fault> {
    let _room = call.caller.meter().operation()?;
    let v1::ListTenantsRequest { subtree: under, page_size, page_token } = wire;
    let mut wrong = Violations::default();
    let size = parse::page_size(&mut wrong, page_size);
    let under = subtree(&mut wrong, &under);
    let after = after_path(&mut wrong, &page_token);
    let under = wrong.or(under)?;
    check_subtree(&call.caller, &under)?;
    let mut all = BTreeMap::new();
    for cell in service.engine.cells() {
        let page = |view: &View<'_>| {
            let paths = view.tenants().filter(|tenant| {
                let path = &tenant.path;
                after.as_ref().is_none_or(|after| path > after)
                    && under.covers(path.as_str())
                    && call.caller.sees(path.as_str())
            });
            paths.take(size + 1).map(|tenant| found(view, tenant)).collect()
        };
        merge(&mut all, read(service, cell, page).await?);
    }
    let more = all.len() > size;
    let tenants: Vec<_> = all
        .into_values()
        .take(size)
        .map(|Found { tenant, version, member }| objects::tenant_wire(&tenant, version, member))
        .collect();
    let last = tenants.last().filter(|_| more).map(|tenant| tenant.path.clone());
    Ok(v1::ListTenantsResponse { tenants, next_page_token: last.unwrap_or_default() })
}

/// The path that a page comes after; none for the first.
fn after_path(wrong: &mut Violations, token: &str) -> Option<TenantPath> {
    if token.is_empty() { None } else { wrong.take("page_token", TenantPath::parse(token).map_err(|_| NO_TOKEN)) }
}

const NO_TOKEN: &str = "it is no token that was given out here: begin without one";

// Pools.

async fn with_pool<R>(
    service: &Service,
    name: &Name,
    look: impl FnOnce(&View<'_>, &ledger::Pool) -> R,
) -> Result<R, Fault> {
    let unknown = || Fault::not_found(format_args!("pool {name}"));
    let cell = service.engine.cell_of(name).map_err(|_| unknown())?.clone();
    read(service, &cell, |view| view.pool(name.as_str()).map(|pool| look(view, pool))).await?.ok_or_else(unknown)
}

pub(super) async fn pool_spec(service: &Service, name: &Name) -> Result<ledger::Pool, Fault> {
    with_pool(service, name, |_, pool| pool.clone()).await
}

pub(super) async fn pool_named(service: &Service, name: &Name) -> Result<v1::Pool, Fault> {
    with_pool(service, name, pool_in).await
}

fn pool_in(view: &View<'_>, pool: &ledger::Pool) -> v1::Pool {
    objects::pool_wire(pool, view.revision(Object::Pool(pool.name.as_str())).unwrap_or(0))
}

pub(super) async fn pool(
    service: &Service,
    call: &Call,
    wire: v1::GetPoolRequest,
) -> Result<v1::GetPoolResponse, Fault> {
    let _room = call.caller.meter().operation()?;
    let v1::GetPoolRequest { name } = wire;
    let mut wrong = Violations::default();
    let name = wrong.take("name", Name::parse(&name));
    let name = wrong.or(name)?;
    Ok(v1::GetPoolResponse { pool: Some(pool_named(service, &name).await?) })
}

pub(super) async fn pools(
    service: &Service,
    call: &Call,
    wire: v1::ListPoolsRequest,
) -> Result<v1::ListPoolsResponse, Fault> {
    let _room = call.caller.meter().operation()?;
    let v1::ListPoolsRequest { page_size, page_token } = wire;
    let mut wrong = Violations::default();
    let size = parse::page_size(&mut wrong, page_size);
    wrong.or(Some(()))?;
    let mut all = Vec::new();
    for cell in service.engine.cells() {
        all.extend(read(service, cell, |view| view.pools().map(|pool| pool_in(view, pool)).collect::<Vec<_>>()).await?);
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    let (pools, next_page_token) = page_by_name(all, size, &page_token, |pool| &pool.name);
    Ok(v1::ListPoolsResponse { pools, next_page_token })
}

/// A page of what has names and is in their order.
fn page_by_name<T>(all: Vec<T>, size: usize, token: &str, name: impl Fn(&T) -> &String) -> (Vec<T>, String) {
    let mut rest = all.into_iter().skip_while(|one| !token.is_empty() && name(one).as_str() <= token);
    let page: Vec<T> = rest.by_ref().take(size).collect();
    let token = if rest.next().is_some() { page.last().map(|one| name(one).clone()) } else { None };
    (page, token.unwrap_or_default())
}

// Classes.

pub(super) async fn class_named(service: &Service, name: &Name) -> Result<v1::Class, Fault> {
    let class = read(service, first_cell(service)?, |view| {
        view.classes().find(|class| class.name == *name).map(|class| class_in(view, class))
    });
    class.await?.ok_or_else(|| Fault::not_found(format_args!("class {name}")))
}

fn class_in(view: &View<'_>, class: &ledger::Class) -> v1::Class {
    objects::class_wire(class, view.revision(Object::Class(class.name.as_str())).unwrap_or(0))
}

pub(super) async fn class(
    service: &Service,
    call: &Call,
    wire: v1::GetClassRequest,
) -> Result<v1::GetClassResponse, Fault> {
    let _room = call.caller.meter().operation()?;
    let v1::GetClassRequest { name } = wire;
    let mut wrong = Violations::default();
    let name = objects::class_name(&mut wrong, "name", &name);
    let name = wrong.or(name)?;
    Ok(v1::GetClassResponse { class: Some(class_named(service, &name).await?) })
}

pub(super) async fn classes(
    service: &Service,
    call: &Call,
    wire: v1::ListClassesRequest,
) -> Result<v1::ListClassesResponse, Fault> {
    let _room = call.caller.meter().operation()?;
    let v1::ListClassesRequest { page_size, page_token } = wire;
    let mut wrong = Violations::default();
    let size = parse::page_size(&mut wrong, page_size);
    wrong.or(Some(()))?;
    let all = read(service, first_cell(service)?, |view| {
        view.classes().map(|class| class_in(view, class)).collect::<Vec<_>>()
    });
    let (classes, next_page_token) = page_by_name(all.await?, size, &page_token, |class| &class.name);
    Ok(v1::ListClassesResponse { classes, next_page_token })
}

// Usage.

pub(super) async fn usage(
    service: &Service,
    call: &Call,
    wire: v1::ListUsageRequest,
) -> Result<v1::ListUsageResponse, Fault> {
    let _room = call.caller.meter().operation()?;
    let v1::ListUsageRequest { pool, subtree: under, depth, page_size, page_token } = wire;
    let mut wrong = Violations::default();
    let size = parse::page_size(&mut wrong, page_size);
    let pool = parse::pool_name(&mut wrong, "pool", &pool);
    let under = subtree(&mut wrong, &under);
    let after = if page_token == AFTER_ROOT { None } else { after_path(&mut wrong, &page_token) };
    let (pool, under) = wrong.or(pool.zip(under))?;
    check_subtree(&call.caller, &under)?;
    let deepest = depth.map_or(usize::MAX, |depth| under.depth().saturating_add(depth as usize));
    let with_root = under.is_root() && page_token.is_empty();
    let response = with_pool(service, &pool, |view, _| {
        let mut response = v1::ListUsageResponse::default();
        if with_root {
            response.usage.extend(view.standing(view.now(), pool.as_str(), "").map(|root| render::usage(&pool, &root)));
        }
        let shown = view.tenants().map(|tenant| &tenant.path).filter(|path| {
            after.as_ref().is_none_or(|after| *path > after)
                && under.covers(path.as_str())
                && path.depth() <= deepest
                && call.caller.sees(path.as_str())
        });
        for path in shown {
            let Some(standing) = view.standing(view.now(), pool.as_str(), path.as_str()) else { continue };
            if response.usage.len() == size {
                let last = response.usage.last().map(|last| last.tenant.clone()).unwrap_or_default();
                response.next_page_token = if last.is_empty() { AFTER_ROOT.to_owned() } else { last };
                break;
            }
            response.usage.push(render::usage(&pool, &standing));
            response.budgets.extend(render::budgets(view, path.as_str()));
            response.rates.extend(rates::usage(view, view.now(), path.as_str()));
        }
        response
    });
    response.await
}

// Tickets.

pub(super) async fn queue(
    service: &Service,
    call: &Call,
    wire: v1::ListQueueRequest,
) -> Result<v1::ListQueueResponse, Fault> {
    let _room = call.caller.meter().operation()?;
    let v1::ListQueueRequest { pool, subtree: under, page_size, page_token } = wire;
    let mut wrong = Violations::default();
    let size = parse::page_size(&mut wrong, page_size);
    let pool = parse::pool_name(&mut wrong, "pool", &pool);
    let under = subtree(&mut wrong, &under);
    // The order changes between pages: a page begins after so many of what the caller sees.
    let skipped: Option<usize> = if page_token.is_empty() {
        Some(0)
    } else {
        wrong.take("page_token", page_token.parse().map_err(|_| NO_TOKEN))
    };
    let parsed = (|| Some((pool?, under?, skipped?)))();
    let (pool, under, skipped) = wrong.or(parsed)?;
    check_subtree(&call.caller, &under)?;
    let response = with_pool(service, &pool, |view, _| {
        let seen = |id: &Id| {
            view.ticket(*id).is_some_and(|ticket| {
                let tenant = ticket.request.tenant.as_str();
                under.covers(tenant) && call.caller.sees(tenant)
            })
        };
        let mut rest = (1_u64..).zip(view.queue(view.now(), pool.as_str())).filter(|(_, id)| seen(id)).skip(skipped);
        let page: Vec<_> = rest.by_ref().take(size).collect();
        let more = rest.next().is_some();
        let mut tickets: Vec<_> = page.iter().filter_map(|(position, id)| ticket_at(view, *id, *position)).collect();
        if tickets.len() <= EXPLAINED_MAX {
            for ((_, id), ticket) in page.iter().zip(&mut tickets) {
                complete(view, *id, ticket);
            }
        }
        let next = if more { (skipped + page.len()).to_string() } else { String::new() };
        v1::ListQueueResponse { tickets, next_page_token: next }
    });
    response.await
}

fn ticket_at(view: &View<'_>, id: Id, position: u64) -> Option<v1::Ticket> {
    match view.stands(id)? {
        Stands::Ticket { ticket, silent_at } => {
            let mut wire = v1::Ticket { position, ..render::ticket(view.cell(), &ticket, silent_at) };
            render::spoken_for(view, id, &mut wire);
            Some(wire)
        }
        Stands::Lease(_) | Stands::Ended { .. } => None,
    }
}

// Leases.

pub(super) async fn leases(
    service: &Service,
    call: &Call,
    wire: v1::ListLeasesRequest,
) -> Result<v1::ListLeasesResponse, Fault> {
    let _room = call.caller.meter().operation()?;
    let v1::ListLeasesRequest { pool, subtree: under, holder, labels, state, page_size, page_token } = wire;
    let mut wrong = Violations::default();
    let size = parse::page_size(&mut wrong, page_size);
    let pool = if pool.is_empty() { None } else { wrong.take("pool", Name::parse(&pool)) };
    let under = subtree(&mut wrong, &under);
    let holder: Option<Holder> = parse::holder_name(&mut wrong, "holder", &holder);
    let state = match v1::State::try_from(state) {
        Ok(v1::State::Unspecified) => None,
        Ok(state) => Some(state),
        Err(_) => {
            wrong.add("state", format!("{state} is none of its words"));
            None
        }
    };
    let after = if page_token.is_empty() {
        None
    } else {
        wrong.take("page_token", LeaseId::parse(&page_token).map_err(|_| NO_TOKEN))
    };
    let under = wrong.or(under)?;
    check_subtree(&call.caller, &under)?;
    let matches = |lease: &ledger::Lease| {
        let request = &lease.request;
        let tenant = request.tenant.as_str();
        pool.as_ref().is_none_or(|pool| request.pool == *pool)
            && under.covers(tenant)
            && call.caller.sees(tenant)
            && holder.as_ref().is_none_or(|holder| lease.holder() == Some(holder))
            && state.is_none_or(|state| super::words::Word::wire(lease.state()) == state)
            && labels.iter().all(|(name, value)| request.labels.iter().any(|(n, v)| n == name && v == value))
    };
    let mut page = Vec::new();
    for cell in service.engine.cells() {
        let from = match &after {
            Some(LeaseId { cell: last, number }) => match cell.cmp(last) {
                std::cmp::Ordering::Less => continue,
                std::cmp::Ordering::Equal => number.0.saturating_add(1),
                std::cmp::Ordering::Greater => 0,
            },
            None => 0,
        };
        let room = size + 1 - page.len();
        page.extend(
            read(service, cell, |view| {
                let found = view.leases().filter(|lease| lease.id.0 >= from && matches(lease)).take(room);
                found.map(|lease| render::lease(cell, lease)).collect::<Vec<_>>()
            })
            .await?,
        );
        if page.len() > size {
            break;
        }
    }
    let more = page.len() > size;
    page.truncate(size);
    let last = page.last().filter(|_| more).map(|lease| lease.lease_id.clone());
    Ok(v1::ListLeasesResponse { leases: page, next_page_token: last.unwrap_or_default() })
}

// Explanations.

pub(super) async fn explain(
    service: &Service,
    call: &Call,
    wire: v1::ExplainRequest,
) -> Result<v1::ExplainResponse, Fault> {
    let _room = call.caller.meter().operation()?;
    let v1::ExplainRequest { what, pool } = wire;
    let mut wrong = Violations::default();
    let pool = parse::pool_name(&mut wrong, "pool", &pool);
    let pool = wrong.or(pool)?;
    match what {
        None => Err(Fault::field("what", "nothing is named: name a tenant, a ticket, a lease or a request")),
        Some(What::Tenant(path)) => explain_tenant(service, call, &pool, &path).await,
        Some(What::TicketId(id) | What::LeaseId(id)) => explain_id(service, call, &id).await,
        Some(What::Request(request)) => explain_request(service, call, request).await,
    }
}

async fn explain_tenant(service: &Service, call: &Call, pool: &Name, path: &str) -> Result<v1::ExplainResponse, Fault> {
    let mut wrong = Violations::default();
    let path = parse::tenant_path(&mut wrong, "tenant", path);
    let path = wrong.or(path)?;
    let unknown = || Fault::not_found(format_args!("tenant {path}"));
    if !call.caller.sees(path.as_str()) {
        return Err(unknown());
    }
    let response = with_pool(service, pool, |view, _| {
        view.tenant(path.as_str()).ok_or_else(unknown)?;
        let stands = |path: &str| view.standing(view.now(), pool.as_str(), path);
        let own = stands(path.as_str())
            .ok_or_else(|| Fault::not_found(format_args!("quota of tenant {path} in pool {pool}, nor one above it")))?;
        let above = std::iter::successors(path.parent(), TenantPath::parent).filter_map(|above| stands(above.as_str()));
        let levels: Vec<_> = std::iter::once(own).chain(above).collect();
        let explanation = v1::Explanation {
            levels: levels.iter().map(|level| render::usage(pool, level)).collect(),
            budgets: levels.iter().flat_map(|level| render::budgets(view, level.tenant.as_str())).collect(),
            rates: levels.iter().flat_map(|level| rates::usage(view, view.now(), level.tenant.as_str())).collect(),
        };
        let below = view.tenants().map(|tenant| &tenant.path).filter(|other| other.parent().as_ref() == Some(&path));
        let below = below.filter_map(|other| stands(other.as_str())).filter(|standing| standing.running > 0).collect();
        Ok(v1::ExplainResponse {
            answer: Some(v1::Answer { explanation: Some(explanation), ..v1::Answer::default() }),
            tenants: by_what_they_hold(pool, below),
            ..v1::ExplainResponse::default()
        })
    });
    response.await?
}

/// Those above guarantee first, then the largest weighted share.
fn by_what_they_hold(pool: &Name, mut standings: Vec<Standing>) -> Vec<v1::Usage> {
    let borrows = |standing: &Standing| standing.holdings.iter().any(|holding| holding.borrowed > 0);
    standings.sort_by(|a, b| {
        let place = |standing: &Standing| (!borrows(standing), std::cmp::Reverse(standing.share_millionths));
        place(a).cmp(&place(b)).then_with(|| a.tenant.cmp(&b.tenant))
    });
    standings.iter().take(EXPLAINED_TENANTS_MAX).map(|standing| render::usage(pool, standing)).collect()
}

/// Who holds what a request asks for: those that the caller sees by name, all of them together as the root.
fn holders(view: &View<'_>, caller: &Caller, pool: &Name, resources: &ledger::Amounts) -> Vec<v1::Usage> {
    let mut paths: Vec<&TenantPath> = view
        .leases()
        .filter(|lease| lease.request.pool == *pool)
        .filter(|lease| {
            lease.resources().iter().any(|(name, amount)| amount > 0 && resources.get(name.as_str()).is_some())
        })
        .map(|lease| &lease.request.tenant)
        .collect();
    paths.sort_unstable();
    paths.dedup();
    let stands = |path: &str| view.standing(view.now(), pool.as_str(), path);
    let seen = paths.into_iter().filter(|path| caller.sees(path.as_str()));
    let mut named = by_what_they_hold(pool, seen.filter_map(|path| stands(path.as_str())).collect());
    if !caller.sees_all() {
        named.truncate(EXPLAINED_TENANTS_MAX - 1);
        named.extend(stands("").map(|root| render::usage(pool, &root)));
    }
    named
}

async fn explain_id(service: &Service, call: &Call, text: &str) -> Result<v1::ExplainResponse, Fault> {
    let unknown = || Fault::not_found(format_args!("lease or ticket {text:.80}"));
    let id = LeaseId::parse(text).map_err(|_| unknown())?;
    let response = service.engine.read(&id.cell, |view| {
        let stands = view.stands(id.number).filter(|stands| call.caller.sees(stands.tenant().as_str()))?;
        let explanation = view.explain_id(view.now(), id.number)?;
        let pool = render::pool_of(&stands).clone();
        let (subject, resources) = match &stands {
            Stands::Ticket { ticket, silent_at } => {
                let mut wire = render::ticket(&id.cell, ticket, *silent_at);
                complete(view, id.number, &mut wire);
                (v1::explain_response::Subject::Ticket(wire), &ticket.resources)
            }
            Stands::Lease(lease) => {
                (v1::explain_response::Subject::Lease(render::lease(&id.cell, lease)), lease.resources())
            }
            Stands::Ended { .. } => return None,
        };
        let waits = matches!(stands, Stands::Ticket { .. });
        let reclaiming = explanation.reclaiming.iter().filter_map(|lease| view.lease(*lease));
        let answer = v1::Answer {
            decision: super::words::Word::wire(stands.outcome()).into(),
            position: explanation.position.unwrap_or_default(),
            expected_wait: explanation.expected_wait.and_then(render::span),
            reasons: render::reasons(&explanation.reasons),
            explanation: Some(render::explanation(view, view.now(), &pool, &explanation)),
            state: super::words::Word::wire(stands.state()).into(),
            ..v1::Answer::default()
        };
        Some(v1::ExplainResponse {
            reclaiming: reclaiming
                .filter(|lease| call.caller.sees(lease.request.tenant.as_str()))
                .map(|lease| render::lease(&id.cell, lease))
                .collect(),
            tenants: if waits { holders(view, &call.caller, &pool, resources) } else { Vec::new() },
            answer: Some(answer),
            subject: Some(subject),
        })
    });
    // Of a cell that is not served here, nothing is known either.
    response.await.ok().flatten().ok_or_else(unknown)
}

async fn explain_request(service: &Service, call: &Call, wire: v1::Request) -> Result<v1::ExplainResponse, Fault> {
    let parse::Asked { request, explain: _ } = parse::request(Some(wire), parse::Named::Optional, &call.caller)?;
    let (pool, resources) = (request.pool.clone(), request.resources.clone());
    let answer = call.deadline.bound(service.engine.check(&asker(&call.caller), request, true)).await?;
    let answer = answer.map_err(|error| Fault::engine(&error, "request."))?;
    let tenants = read(service, &answer.cell, |view| holders(view, &call.caller, &pool, &resources)).await?;
    Ok(v1::ExplainResponse {
        answer: Some(service.answer(&answer, Detail::Whole, Some(&pool))),
        tenants,
        ..v1::ExplainResponse::default()
    })
}
