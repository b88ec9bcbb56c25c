//! What must always hold, by the names it has. Written from the definitions by path alone, with
//! none of the code that decides.

use super::config::{Amounts, Lifecycle, Order, lineage, parent};
use super::decide::Asking;
use super::view::{asked_for, times};
use super::{Lease, Model, Request, Ticket};

/// `no-over-admission`: "after an admission: occupied ≤ limit (or as \"fits\" says) at every node
/// of its path in every resource it asked for". Asked just before it is posted.
pub(crate) fn no_over_admission(model: &Model, pool: &str, leaf: usize, more: &Amounts) -> Option<String> {
    let tenant = model.tree(pool).tenant(leaf).to_owned();
    let count = Count { model, pool, more: None };
    let after = Count { model, pool, more: Some((&tenant, more)) };
    over(&count, &after, &tenant, more)
}

fn over(count: &Count<'_>, after: &Count<'_>, tenant: &str, more: &Amounts) -> Option<String> {
    for path in lineage(tenant).into_iter().chain([""]) {
        for (resource, _) in more.iter().filter(|(_, amount)| **amount > 0) {
            let Some(limit) = count.limit(path, resource) else {
                continue;
            };
            let occupied = after.occupied(path, resource);
            let raised = occupied > count.occupied(path, resource);
            if occupied > limit && (raised || after.usage(path, resource) > limit) {
                return Some(format!("{path:?} {resource}: {occupied} occupied of {limit}"));
            }
        }
    }
    None
}

/// `work-conserving`: "after every step no waiting ticket (under strict: no tenant's first) could
/// be admitted, but for what is held or spoken for".
pub(crate) fn work_conserving(model: &Model) -> Option<String> {
    for ticket in &model.tickets {
        let request = &ticket.request;
        let pool = model.config.pool(&request.pool)?;
        let kept = pool.paused || is_silent(model, ticket) || (pool.order == Order::Strict && !is_first(model, ticket));
        if kept || is_held_or_spoken_for(model, ticket) {
            continue;
        }
        let asks = asked(model, request);
        let count = Count { model, pool: &request.pool, more: None };
        let after = Count { model, pool: &request.pool, more: Some((&request.tenant, &asks)) };
        let archived =
            |path: &&str| model.config.tenant(path).is_some_and(|tenant| tenant.lifecycle == Lifecycle::Archived);
        let stands_against = over(&count, &after, &request.tenant, &asks).is_some()
            || lineage(&request.tenant).iter().any(archived)
            || is_budget_exceeded(model, &request.tenant, &asks)
            || !model.exceeded_rates(&model.asking_of(ticket)).is_empty()
            || (!request.borrow && !after.is_owner(&request.tenant, &asks))
            || model.burst_over(&model.asking_of(ticket)).is_some();
        if !stands_against {
            return Some(format!("{} waits, and nothing stands against it", request.id));
        }
    }
    None
}

/// `guarantee`: "a request within its leaf's guarantee … waits for no borrower and no borrower's
/// hold longer than grace plus one dispatch …, while capacity, limits and guarantees stay as they
/// are and victims can be had": an owner that claimed has what it claimed by the last deadline of
/// the victims that it counted on.
pub(crate) fn guarantee(model: &Model) -> Option<String> {
    let late = model.claims.iter().find(|claim| claim.owner && claim.notice <= model.now)?;
    Some(format!("{} claimed as an owner, its notice was over at {}, and it still waits", late.ticket, late.notice))
}

/// Every claim stands, no victim could be let off, and nobody who waits could claim: what a
/// dispatch leaves behind.
pub(crate) fn at_rest(model: &Model) -> Option<String> {
    let mut again = model.clone();
    again.settle();
    let before = (model.log.len(), model.leases.len(), model.tickets.len(), model.claims.len());
    let after = (again.log.len(), again.leases.len(), again.tickets.len(), again.claims.len());
    (before != after).then(|| format!("a second dispatch at once did {:?}", &again.log[model.log.len()..]))
}

/// `guarantee`, for those without a claim: an owner that its plan has no room for waits without one
/// only where it would still be blocked with every lease gone that could give way to it. Those are
/// looked for the crude way: all that borrow anything it asks for, at each node up to where its
/// path begins. That says nothing where leases are too young to give way: while they keep its team
/// above the team's own guarantee, nobody beside the team has to give.
pub(crate) fn owner_left_waiting(model: &Model) -> Option<String> {
    let left = |ticket: &&Ticket| {
        let Asking { leaf, ask, pool, .. } = model.asking_of(ticket);
        let claims = model.claims.iter().any(|claim| claim.ticket == ticket.request.id);
        let plan = model.owners_plan(&pool);
        let young = model.config.pool(&pool).is_some_and(|pool| pool.min_runtime > 0);
        if young || claims || !model.may_claim(ticket) || !plan.within_in_all(leaf, leaf, &ask) {
            return false;
        }
        let path = plan.tree.path(leaf);
        let stays = |lease: &Lease| {
            let of_lease = plan.tree.path(plan.tree.leaf(&lease.request.tenant)).into_iter();
            let mut beside = of_lease.take_while(|node| !path.contains(node)).peekable();
            let gives =
                beside.peek().is_some() && beside.all(|node| asked_for(&ask).any(|r| plan.borrowed(node, r) > 0));
            lease.victim.is_none() && !(gives && model.may_give_way(lease))
        };
        let all_gone = model.owners_plan_with(&pool, |lease| !stays(lease));
        !plan.fits(leaf, &ask) && all_gone.fits(leaf, &ask)
    };
    let left = model.tickets.iter().find(left)?;
    Some(format!("{} is an owner and waits without a claim", left.request.id))
}

fn is_held_or_spoken_for(model: &Model, ticket: &Ticket) -> bool {
    let asking = model.asking_of(ticket);
    match &asking.claim {
        Some(claim) => model.waits_for_claims_before(&asking, claim),
        None => model.is_held(&asking) || model.is_spoken_for(&asking),
    }
}

fn is_silent(model: &Model, ticket: &Ticket) -> bool {
    model.is_passed_over(ticket)
}

fn is_first(model: &Model, ticket: &Ticket) -> bool {
    let mut same = model
        .tickets
        .iter()
        .filter(|other| other.request.pool == ticket.request.pool && other.request.tenant == ticket.request.tenant);
    !same.any(|other| other.place < ticket.place && !is_silent(model, other))
}

fn asked(model: &Model, request: &Request) -> Amounts {
    let mut resources = model.config.pool(&request.pool).expect("a configured pool").implied.clone();
    resources.extend(request.resources.clone());
    times(&resources, request.min_count.unwrap_or(request.count))
}

fn is_budget_exceeded(model: &Model, tenant: &str, asks: &Amounts) -> bool {
    lineage(tenant).into_iter().any(|path| {
        let budgets = model.config.tenant(path).into_iter().flat_map(|tenant| &tenant.budgets);
        budgets.into_iter().any(|budget| {
            let asked = asks.get(&budget.resource).copied().unwrap_or(0);
            asked > 0 && model.budget_used(path, &budget.name) + asked > budget.amount
        })
    })
}

/// Sums over the leases, by path, and one request more where it is said.
struct Count<'a> {
    model: &'a Model,
    pool: &'a str,
    more: Option<(&'a str, &'a Amounts)>,
}

impl Count<'_> {
    fn at(&self, resource: &str, counts: impl Fn(&str) -> bool) -> i64 {
        let mut sum = 0;
        for lease in self.model.leases.iter().filter(|lease| lease.request.pool == self.pool) {
            if counts(&lease.request.tenant) {
                sum += lease.resources.get(resource).copied().unwrap_or(0) * lease.count;
            }
        }
        let more = self.more.filter(|(tenant, _)| counts(tenant));
        sum + more.map_or(0, |(_, amounts)| amounts.get(resource).copied().unwrap_or(0))
    }

    fn usage(&self, path: &str, resource: &str) -> i64 {
        self.at(resource, |tenant| path.is_empty() || lineage(tenant).contains(&path))
    }

    fn occupied(&self, path: &str, resource: &str) -> i64 {
        let own = self.at(resource, |tenant| tenant == path);
        let children = self.model.config.children(path);
        let held = own + children.into_iter().map(|child| self.occupied(child, resource)).sum::<i64>();
        held.max(self.unlendable(path, resource))
    }

    fn unlendable(&self, path: &str, resource: &str) -> i64 {
        let tree = self.model.tree(self.pool);
        tree.unlendable(tree.node(path).expect("a configured tenant"), resource)
    }

    fn guaranteed(&self, path: &str, resource: &str) -> i64 {
        let children = self.model.config.children(path);
        let below: i64 = children.into_iter().map(|child| self.model.guaranteed(self.pool, child, resource)).sum();
        let inner = !self.model.config.children(path).is_empty();
        self.model.guaranteed(self.pool, path, resource) - if inner { below } else { 0 }
    }

    /// After what is asked: within the guarantee of its leaf, in all it asks for.
    fn is_owner(&self, tenant: &str, asks: &Amounts) -> bool {
        let capacity = &self.model.config.pool(self.pool).expect("a configured pool").capacity;
        asks.iter().filter(|(resource, amount)| **amount > 0 && capacity.contains_key(*resource)).all(
            |(resource, _)| {
                let own = self.at(resource, |other| other == tenant);
                let inner = !self.model.config.children(tenant).is_empty();
                let occupied = if inner { own } else { own.max(self.unlendable(tenant, resource)) };
                occupied <= self.guaranteed(tenant, resource)
            },
        )
    }

    fn limit(&self, path: &str, resource: &str) -> Option<i64> {
        let pool = self.model.config.pool(self.pool)?;
        let capacity = pool.capacity.get(resource).copied();
        if path.is_empty() {
            return Some((capacity? - pool.unavailable.get(resource).copied().unwrap_or(0)).max(0));
        }
        let tenant = self.model.config.tenant(path)?;
        let said = tenant.quota.get(self.pool).and_then(|quota| quota.limit.get(resource)).copied();
        let of_pool = if tenant.lifecycle == Lifecycle::Active { None } else { capacity };
        Some(self.model.config.scaled(path, resource, said.or(of_pool)?))
    }
}

/// The guarantee of a tenant is never more than that of its parent leaves for it.
pub(crate) fn guarantees_add_up(model: &Model) -> Option<String> {
    for pool in &model.config.pools {
        for tenant in &model.config.tenants {
            for resource in pool.capacity.keys() {
                let above = parent(&tenant.path);
                let sisters = model.config.children(above);
                let sum: i64 = sisters.iter().map(|path| model.guaranteed(&pool.name, path, resource)).sum();
                let has = model.guaranteed(&pool.name, above, resource);
                if sum > has {
                    return Some(format!("under {above:?} {sum} of {resource} is guaranteed, and {has} is there"));
                }
            }
        }
    }
    None
}
