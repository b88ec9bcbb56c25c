//! Looking: get tenants, pools, classes, queue, leases, usage.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use headgate_proto::v1;

use super::connect::{Server, ServerArgs};
use super::fault::Fault;
use super::json::{self, word};
use super::output::{Output, Side, table};
use super::request::label;
use super::{DONE, Outcome, text};

/// Items of one page: as many as a server gives.
const PAGE: u32 = headgate_proto::limits::PAGE_SIZE_MAX;

/// What is listed.
#[derive(Debug, Subcommand)]
pub(super) enum GetVerb {
    /// Tenants and their quotas, by path
    #[command(visible_alias = "tenant")]
    Tenants {
        /// Only this tenant and all below it
        #[arg(value_name = "PATH")]
        tenant: Option<String>,
    },
    /// Pools and their capacity, by name
    #[command(visible_alias = "pool")]
    Pools,
    /// Classes, by name
    #[command(visible_alias = "class")]
    Classes,
    /// What waits in a pool, in the order of dispatch
    #[command(visible_alias = "tickets")]
    Queue(InPool),
    /// What is in use, by id
    #[command(visible_alias = "lease")]
    Leases(LeasesArgs),
    /// How tenants stand in a pool: what they use, and borrow
    Usage {
        #[command(flatten)]
        within: InPool,
        /// How many levels below; 0 is the tenant itself. All, if not said
        #[arg(long, value_name = "N")]
        depth: Option<u32>,
    },
}

/// A part of a pool.
#[derive(Debug, Args)]
pub(super) struct InPool {
    /// Only this tenant and all below it
    #[arg(value_name = "TENANT")]
    tenant: Option<String>,
    /// The pool
    #[arg(short, long, value_name = "NAME", default_value = "default")]
    pool: String,
}

/// Which leases.
#[derive(Debug, Args)]
pub(super) struct LeasesArgs {
    /// Only of this tenant and all below it
    #[arg(value_name = "TENANT")]
    tenant: Option<String>,
    /// Only of this pool
    #[arg(short, long, value_name = "NAME")]
    pool: Option<String>,
    /// Only of this holder
    #[arg(long, value_name = "NAME")]
    holder: Option<String>,
    /// Only with this label; may be given often
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Only in this state
    #[arg(long, value_parser = ["provisional", "active", "reclaiming"])]
    state: Option<String>,
}

pub(super) async fn get(verb: GetVerb, server: &ServerArgs, out: Output) -> Outcome {
    let server = server.server()?;
    match verb {
        GetVerb::Tenants { tenant } => {
            let tenants = tenants(&server, tenant.unwrap_or_default()).await?;
            out.print(|| json::items(&tenants, json::tenant), || tenant_table(&tenants))?;
        }
        GetVerb::Pools => {
            let pools = pages(async |page_token| {
                let message = v1::ListPoolsRequest { page_size: PAGE, page_token };
                let page = server.answered(server.admin().list_pools(server.soon(message)).await)?;
                Ok((page.pools, page.next_page_token))
            });
            let pools = pools.await?;
            out.print(|| json::items(&pools, json::pool), || pool_table(&pools))?;
        }
        GetVerb::Classes => {
            let classes = pages(async |page_token| {
                let message = v1::ListClassesRequest { page_size: PAGE, page_token };
                let page = server.answered(server.admin().list_classes(server.soon(message)).await)?;
                Ok((page.classes, page.next_page_token))
            });
            let classes = classes.await?;
            out.print(|| json::items(&classes, json::class), || class_table(&classes))?;
        }
        GetVerb::Queue(InPool { tenant, pool }) => {
            let tickets = list_queue(&server, tenant.unwrap_or_default(), pool).await?;
            out.print(|| json::items(&tickets, json::ticket), || ticket_table(&tickets))?;
        }
        GetVerb::Leases(LeasesArgs { tenant, pool, holder, labels, state }) => {
            let state = state.and_then(|word| v1::State::from_word(&word)).unwrap_or_default();
            let which = v1::ListLeasesRequest {
                pool: pool.unwrap_or_default(),
                subtree: tenant.unwrap_or_default(),
                holder: holder.unwrap_or_default(),
                labels: labels.into_iter().collect(),
                state: state.into(),
                ..Default::default()
            };
            let leases = list_leases(&server, which).await?;
            out.print(|| json::items(&leases, json::lease), || lease_table(&leases))?;
        }
        GetVerb::Usage { within: InPool { tenant, pool }, depth } => {
            let stands = list_usage(&server, tenant.unwrap_or_default(), pool, depth).await?;
            let v1::ListUsageResponse { usage, budgets, rates, next_page_token: _ } = &stands;
            out.print(
                || json::usage_items(usage, budgets, rates),
                || usage_table(usage) + &text::bounds(budgets, rates),
            )?;
        }
    }
    Ok(DONE)
}

/// Every item of every page.
async fn pages<T>(mut page: impl AsyncFnMut(String) -> Result<(Vec<T>, String), Fault>) -> Result<Vec<T>, Fault> {
    let mut all = Vec::new();
    let mut token = String::new();
    loop {
        let (items, next) = page(token).await?;
        all.extend(items);
        if next.is_empty() {
            return Ok(all);
        }
        token = next;
    }
}

async fn tenants(server: &Server, subtree: String) -> Result<Vec<v1::Tenant>, Fault> {
    pages(async |page_token| {
        let message = v1::ListTenantsRequest { subtree: subtree.clone(), page_size: PAGE, page_token };
        let page = server.answered(server.admin().list_tenants(server.soon(message)).await)?;
        Ok((page.tenants, page.next_page_token))
    })
    .await
}

/// What waits in a pool of a tenant and those below it, in the order of dispatch.
pub(super) async fn list_queue(server: &Server, subtree: String, pool: String) -> Result<Vec<v1::Ticket>, Fault> {
    pages(async |page_token| {
        let (pool, subtree) = (pool.clone(), subtree.clone());
        let message = v1::ListQueueRequest { pool, subtree, page_size: PAGE, page_token };
        let page = server.answered(server.admin().list_queue(server.soon(message)).await)?;
        Ok((page.tickets, page.next_page_token))
    })
    .await
}

/// How a tenant and those below it stand in a pool, with their budgets and rates: all pages in one.
pub(super) async fn list_usage(
    server: &Server,
    subtree: String,
    pool: String,
    depth: Option<u32>,
) -> Result<v1::ListUsageResponse, Fault> {
    let (mut budgets, mut rates) = (Vec::new(), Vec::new());
    let usage = pages(async |page_token| {
        let (pool, subtree) = (pool.clone(), subtree.clone());
        let message = v1::ListUsageRequest { pool, subtree, depth, page_size: PAGE, page_token };
        let page = server.answered(server.admin().list_usage(server.soon(message)).await)?;
        budgets.extend(page.budgets);
        rates.extend(page.rates);
        Ok((page.usage, page.next_page_token))
    });
    let usage = usage.await?;
    Ok(v1::ListUsageResponse { usage, budgets, rates, next_page_token: String::new() })
}

/// The leases that match, by id.
pub(super) async fn list_leases(server: &Server, which: v1::ListLeasesRequest) -> Result<Vec<v1::Lease>, Fault> {
    pages(async |page_token| {
        let message = v1::ListLeasesRequest { page_size: PAGE, page_token, ..which.clone() };
        let page = server.answered(server.admin().list_leases(server.soon(message)).await)?;
        Ok((page.leases, page.next_page_token))
    })
    .await
}

/// Quantities: `cpu 2, memory 4Gi`; a dash for none.
fn quantities(quantities: &BTreeMap<String, String>) -> String {
    let each: Vec<String> = quantities.iter().map(|(name, text)| format!("{name} {text}")).collect();
    if each.is_empty() { "-".into() } else { each.join(", ") }
}

/// A text, or a dash for none.
fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".into() } else { text.to_owned() }
}

fn tenant_table(tenants: &[v1::Tenant]) -> String {
    let columns = ["TENANT", "KIND", "WEIGHT", "STATE", "POOL", "CLASS", "GUARANTEED", "LIMIT", "SOURCE"];
    let columns = columns.map(|name| (name, if name == "WEIGHT" { Side::Right } else { Side::Left }));
    let rows = tenants.iter().flat_map(|tenant| {
        let state = match (tenant.draining, tenant.member) {
            (true, _) => "draining",
            (false, true) => "member",
            (false, false) => word!(Lifecycle, tenant.lifecycle).unwrap_or("active"),
        };
        let first = vec![
            tenant.path.clone(),
            or_dash(&tenant.kind),
            tenant.weight.map_or("1".into(), |weight| weight.to_string()),
            state.to_owned(),
        ];
        let source = word!(Source, tenant.source).unwrap_or("-");
        let quotas = tenant.quota.iter().map(|(pool, quota)| {
            [pool.clone(), or_dash(&quota.class), quantities(&quota.guaranteed), quantities(&quota.limit)]
        });
        let mut quotas: Vec<_> = quotas.collect();
        if quotas.is_empty() {
            quotas.push(["-", "-", "-", "-"].map(String::from));
        }
        quotas.into_iter().map(move |quota| {
            let mut row = first.clone();
            row.extend(quota);
            row.push(source.to_owned());
            row
        })
    });
    table(&columns, rows.collect())
}

fn pool_table(pools: &[v1::Pool]) -> String {
    let columns =
        ["POOL", "CELL", "CAPACITY", "UNAVAILABLE", "ORDER", "RECLAIM", "GRACE", "ENFORCE", "STATE", "SOURCE"];
    let columns = columns.map(|name| (name, if name == "GRACE" { Side::Right } else { Side::Left }));
    let rows = pools.iter().map(|pool| {
        vec![
            pool.name.clone(),
            if pool.cell.is_empty() { "main".into() } else { pool.cell.clone() },
            quantities(&pool.capacity),
            quantities(&pool.unavailable),
            word!(Order, pool.order).unwrap_or("backfill").to_owned(),
            if pool.reclaim.unwrap_or(true) { "yes".into() } else { "no".into() },
            text::wire_span(pool.grace.as_ref()).map_or("-".into(), text::short_span),
            word!(Enforce, pool.enforce).unwrap_or("deny").to_owned(),
            if pool.paused { "paused".into() } else { "open".into() },
            word!(Source, pool.source).unwrap_or("-").to_owned(),
        ]
    });
    table(&columns, rows.collect())
}

fn class_table(classes: &[v1::Class]) -> String {
    let columns = ["CLASS", "GUARANTEED", "LIMIT", "LENDABLE", "SOURCE"].map(|name| (name, Side::Left));
    let rows = classes.iter().map(|class| {
        vec![
            class.name.clone(),
            quantities(&class.guaranteed),
            quantities(&class.limit),
            quantities(&class.lendable),
            word!(Source, class.source).unwrap_or("-").to_owned(),
        ]
    });
    table(&columns, rows.collect())
}

/// What waits, the first first.
pub(super) fn ticket_table(tickets: &[v1::Ticket]) -> String {
    let columns = [
        ("POSITION", Side::Right),
        ("TICKET", Side::Left),
        ("TENANT", Side::Left),
        ("EACH", Side::Left),
        ("COUNT", Side::Right),
        ("PRIORITY", Side::Right),
        ("WAITED", Side::Right),
        ("EXPECTED", Side::Right),
        ("WHY", Side::Left),
    ];
    let rows = tickets.iter().map(|ticket| {
        let mut why: Vec<String> = Vec::new();
        if ticket.silent {
            why.push("its holder is silent".into());
        }
        if ticket.claims {
            why.push("capacity is on its way".into());
        }
        if let Some(at) = &ticket.holds_at {
            why.push(format!("{} held for it at {}", text::amounts(&ticket.held), text::tenant(at)));
        }
        if let Some(reason) = ticket.reasons.first() {
            let code = word!(Reason, reason.code).unwrap_or("-");
            let resource = if reason.resource.is_empty() { String::new() } else { format!(" ({})", reason.resource) };
            why.push(format!("{code} at {}{resource}", text::tenant(&reason.tenant)));
        }
        vec![
            ticket.position.to_string(),
            ticket.ticket_id.clone(),
            ticket.tenant.clone(),
            text::amounts(&ticket.resources),
            if ticket.min_count < ticket.count && ticket.min_count > 0 {
                format!("{}-{}", ticket.min_count, ticket.count)
            } else {
                ticket.count.to_string()
            },
            ticket.priority.to_string(),
            text::age(ticket.arrived_at.as_ref()),
            text::wire_span(ticket.expected_wait.as_ref()).map_or("-".into(), text::short_span),
            why.join("; "),
        ]
    });
    let mut text = table(&columns, rows.collect());
    // A server finds the reasons of a few only: of a whole queue it tells none.
    if !tickets.is_empty() && tickets.iter().all(|ticket| ticket.reasons.is_empty()) {
        text.push_str("why each waits is told of few at once: name a tenant, or `headgate explain ticket/ID`\n");
    }
    text
}

/// What is in use.
pub(super) fn lease_table(leases: &[v1::Lease]) -> String {
    let columns = [
        ("LEASE", Side::Left),
        ("TENANT", Side::Left),
        ("POOL", Side::Left),
        ("STATE", Side::Left),
        ("HOLDS", Side::Left),
        ("PRIORITY", Side::Right),
        ("AGE", Side::Right),
        ("LEFT", Side::Right),
        ("HOLDER", Side::Left),
    ];
    let rows = leases.iter().map(|lease| {
        let ends = lease.deadline.as_ref().or(lease.expires_at.as_ref());
        let left = ends.map(|at| text::until(at).map_or("0s".into(), text::short_span));
        let state = word!(State, lease.state).unwrap_or("-");
        vec![
            lease.lease_id.clone(),
            lease.tenant.clone(),
            lease.pool.clone(),
            word!(Reason, lease.observed).map_or(state.into(), |reason| format!("{state}, despite {reason}")),
            text::amounts(&lease.charged),
            lease.priority.to_string(),
            text::age(lease.admitted_at.as_ref()),
            left.unwrap_or_else(|| "-".into()),
            or_dash(&lease.holder),
        ]
    });
    table(&columns, rows.collect())
}

/// How tenants stand, a row for each resource.
pub(super) fn usage_table(usage: &[v1::Usage]) -> String {
    let columns = [
        ("TENANT", Side::Left),
        ("RESOURCE", Side::Left),
        ("USAGE", Side::Right),
        ("GUARANTEED", Side::Right),
        ("LIMIT", Side::Right),
        ("BORROWED", Side::Right),
        ("HELD", Side::Right),
        ("SHARE", Side::Right),
        ("RUNNING", Side::Right),
        ("WAITING", Side::Right),
    ];
    let rows = usage.iter().flat_map(|level| {
        level.resources.iter().map(move |held| {
            let name = held.resource.as_str();
            let some = |units: i64| if units == 0 { "-".into() } else { text::amount(units, name) };
            vec![
                text::node(level),
                name.to_owned(),
                text::amount(held.usage, name),
                text::amount(held.guaranteed, name),
                held.limit.map_or("-".into(), |units| text::amount(units, name)),
                some(held.borrowed),
                some(held.held),
                format!("{:.3}", level.weighted_share),
                level.running.to_string(),
                level.waiting.to_string(),
            ]
        })
    });
    table(&columns, rows.collect())
}
