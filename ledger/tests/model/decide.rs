//! "The decision, in this order, each a distinct reason in the answer". The same ladder stands
//! before a new request and before a waiting ticket.

use super::config::{Amounts, Lifecycle, OnExceed, Order, lineage};
use super::tree::{Less, ROOT};
use super::view::{View, asked_for};
use super::{Code, Model, Moment, Outcome, Place, Reason, Request, Ticket};

/// What asks to be admitted: a new request, a waiting ticket, or what a lease wants to have more.
#[derive(Clone, Debug)]
pub(crate) struct Asking {
    pub(crate) pool: String,
    pub(crate) tenant: String,
    pub(crate) leaf: usize,
    pub(crate) ask: Amounts,
    pub(crate) borrow: bool,
    pub(crate) place: Place,
    pub(crate) stood: Moment,
    /// The ticket of its claim.
    pub(crate) claim: Option<String>,
}

impl Model {
    /// The first rung that stands against it; none where it may be admitted.
    pub(crate) fn against(&self, asking: &Asking) -> Option<Reason> {
        self.inactive(asking)
            .or_else(|| self.never_fits(asking))
            .or_else(|| self.budget_used_up(asking))
            .or_else(|| self.rate_exceeded(asking))
            .or_else(|| self.behind_earlier(asking))
            .or_else(|| self.would_borrow(asking))
            .or_else(|| self.burst_over(asking))
            .or_else(|| self.does_not_fit(asking))
            .or_else(|| self.held_for_another(asking))
            .or_else(|| self.pool(&asking.pool).paused.then(|| Reason::plain(Code::Paused)))
    }

    /// "Archived, itself or above: deny, inactive."
    fn inactive(&self, asking: &Asking) -> Option<Reason> {
        let archived =
            |path: &&str| self.config.tenant(path).is_some_and(|tenant| tenant.lifecycle == Lifecycle::Archived);
        let tenant = lineage(&asking.tenant).into_iter().find(archived)?;
        Some(Reason { code: Code::Inactive, tenant: Some(tenant.to_owned()), resource: None })
    }

    /// "Larger by itself than a limit on its path, the pool's whole capacity, a budget's amount, a rate's
    /// burst, or than what others' unlendable guarantees could ever leave: deny, never-fits." Read as: tried
    /// in that order; limits lowest first.
    fn never_fits(&self, asking: &Asking) -> Option<Reason> {
        let tree = self.tree(&asking.pool);
        for node in tree.path(asking.leaf) {
            for resource in asked_for(&asking.ask) {
                if tree.limit(node, resource, Less::Nothing).is_some_and(|limit| asking.ask[resource] > limit) {
                    return Some(Reason::at(Code::NeverFits, tree.tenant(node), resource));
                }
            }
        }
        let larger = |amount: i64, _used: i64, asked: i64| asked > amount;
        if let Some((tenant, resource, _)) = self.budgets_against(asking, larger).into_iter().next() {
            return Some(Reason::at(Code::NeverFits, &tenant, &resource));
        }
        let mut counting = self.rates_counting(&asking.tenant, &asking.ask).into_iter();
        if let Some(counted) = counting.find(|counted| counted.asked > counted.rate.burst) {
            return Some(Reason::at(Code::NeverFits, counted.tenant, &counted.rate.resource));
        }
        let empty = View::empty(tree);
        if let Some(blocked) = empty.blocked(asking.leaf, &asking.ask, Less::Nothing).first() {
            return Some(Reason::at(Code::NeverFits, tree.tenant(blocked.node), &blocked.resources[0]));
        }
        // Where it asked not to borrow, and would whatever ended.
        let borrows = |resource: &&str| !empty.within(asking.leaf, asking.leaf, &asking.ask, [*resource]);
        let resource = asked_for(&asking.ask).filter(|_| !asking.borrow).find(borrows)?;
        Some(Reason::at(Code::NeverFits, tree.tenant(asking.leaf), resource))
    }

    /// "Exceeded is: used plus request above amount."
    fn budget_used_up(&self, asking: &Asking) -> Option<Reason> {
        let (tenant, resource, _) = self.exceeded_budgets(asking).into_iter().next()?;
        Some(Reason::at(Code::BudgetUsedUp, &tenant, &resource))
    }

    /// "A rate on its path would be exceeded: rate-exceeded".
    fn rate_exceeded(&self, asking: &Asking) -> Option<Reason> {
        let exceeded = self.exceeded_rates(asking);
        exceeded.first().map(|counted| Reason::at(Code::RateExceeded, counted.tenant, &counted.rate.resource))
    }

    fn exceeded_budgets(&self, asking: &Asking) -> Vec<(String, String, OnExceed)> {
        self.budgets_against(asking, |amount, used, asked| used + asked > amount)
    }

    /// Those on its path that are charged by it and stand against it, lowest tenant first.
    fn budgets_against(
        &self,
        asking: &Asking,
        against: impl Fn(i64, i64, i64) -> bool,
    ) -> Vec<(String, String, OnExceed)> {
        let mut found = Vec::new();
        for path in lineage(&asking.tenant) {
            for budget in self.config.tenant(path).into_iter().flat_map(|tenant| &tenant.budgets) {
                let asked = asking.ask.get(&budget.resource).copied().unwrap_or(0);
                if asked > 0 && against(budget.amount, self.budget_used(path, &budget.name), asked) {
                    found.push((path.to_owned(), budget.resource.clone(), budget.on_exceed));
                }
            }
        }
        found
    }

    /// "order: strict, and its tenant has waiting tickets that come before it". Read as: one that
    /// is passed over comes before nobody.
    fn behind_earlier(&self, asking: &Asking) -> Option<Reason> {
        if self.pool(&asking.pool).order == Order::Backfill {
            return None;
        }
        let before = |ticket: &&Ticket| {
            ticket.request.tenant == asking.tenant && ticket.place < asking.place && !self.is_passed_over(ticket)
        };
        self.tickets_in_order(&asking.pool).into_iter().find(before)?;
        Some(Reason { code: Code::BehindEarlier, tenant: Some(asking.tenant.clone()), resource: None })
    }

    /// "It asked not to borrow, and its leaf would: would-borrow."
    fn would_borrow(&self, asking: &Asking) -> Option<Reason> {
        let borrows = !asking.borrow && self.borrows_at_leaf(asking);
        borrows.then(|| Reason::plain(Code::WouldBorrow))
    }

    pub(crate) fn borrows_at_leaf(&self, asking: &Asking) -> bool {
        !self.actual(&asking.pool).within_in_all(asking.leaf, asking.leaf, &asking.ask)
    }

    /// "It would borrow, and its burst is over: burst-over." Read as: it would borrow at its leaf,
    /// and at a tenant of its path whose burst is over; so that nobody's burst keeps an owner from
    /// what is guaranteed.
    pub(crate) fn burst_over(&self, asking: &Asking) -> Option<Reason> {
        let tree = self.tree(&asking.pool);
        let mut over = tree.path(asking.leaf);
        over.retain(|node| self.burst_is_over(&asking.pool, &tree.nodes[*node].name));
        if over.is_empty() || !self.borrows_at_leaf(asking) {
            return None;
        }
        let view = self.actual(&asking.pool);
        let would = |node: &usize| !view.within_in_all(*node, asking.leaf, &asking.ask);
        let tenant = tree.tenant(over.into_iter().find(would)?).to_owned();
        Some(Reason { code: Code::BurstOver, tenant: Some(tenant), resource: None })
    }

    /// "exceeds-limit with the lowest node that stands against it (resources by name), or
    /// no-capacity where that is the root"
    fn does_not_fit(&self, asking: &Asking) -> Option<Reason> {
        let view = self.actual(&asking.pool);
        let blocked = view.blocked(asking.leaf, &asking.ask, Less::Unavailable);
        let lowest = blocked.first()?;
        let code = if lowest.node == ROOT { Code::NoCapacity } else { Code::ExceedsLimit };
        Some(Reason::at(code, view.tree.tenant(lowest.node), &lowest.resources[0]))
    }

    /// "It fits, but takes what is held for another". "Holds do not stop a claim."
    fn held_for_another(&self, asking: &Asking) -> Option<Reason> {
        let held = match &asking.claim {
            Some(claim) => self.waits_for_claims_before(asking, claim),
            None => self.is_spoken_for(asking) || self.is_held(asking),
        };
        held.then(|| Reason::plain(Code::HeldForAnother))
    }

    /// "Else queue, if request and pool allow waiting and the queue has room; else deny, for the
    /// reason found, or queue-full." A budget or a rate may say that it is denied; what is inactive or never
    /// fits is.
    pub(crate) fn queue_or_deny(&self, request: &Request, asking: &Asking, reason: Reason) -> Outcome {
        let denies = match reason.code {
            Code::Inactive | Code::NeverFits => true,
            Code::BudgetUsedUp | Code::RateExceeded => {
                self.exceeded_budgets(asking).iter().any(|(_, _, on_exceed)| *on_exceed == OnExceed::Deny)
                    || self.is_denied_by_a_rate(asking)
            }
            Code::BehindEarlier
            | Code::WouldBorrow
            | Code::BurstOver
            | Code::ExceedsLimit
            | Code::NoCapacity
            | Code::HeldForAnother
            | Code::Paused
            | Code::QueueFull => false,
        };
        if denies || !request.wait {
            return Outcome::Deny(reason);
        }
        let pool = self.pool(&request.pool);
        let queued = self.tickets_in_order(&request.pool);
        let own = queued.iter().filter(|ticket| ticket.request.tenant == request.tenant).count();
        if queued.len() >= pool.max_queued || own >= pool.max_queued_per_tenant {
            return Outcome::Deny(Reason::plain(Code::QueueFull));
        }
        Outcome::Queue(reason)
    }

    /// "under strict none but the tenant's first"
    pub(crate) fn is_in_line(&self, ticket: &Ticket) -> bool {
        self.behind_earlier(&self.asking_of(ticket)).is_none()
    }

    /// "A ticket that could not be admitted just now whatever ended (larger than a limit or than
    /// what of the capacity is available, an inactive tenant, a budget, a rate or a burst against it) holds
    /// nothing and makes no claim". Read as: what others' unlendable guarantees would leave counts
    /// too, and a request not to borrow that asks for more than is guaranteed.
    pub(crate) fn could_be_admitted(&self, ticket: &Ticket) -> bool {
        let asking = self.asking_of(ticket);
        let ended = View::empty(self.tree(&asking.pool));
        self.inactive(&asking).is_none()
            && self.exceeded_budgets(&asking).is_empty()
            && self.exceeded_rates(&asking).is_empty()
            && self.burst_over(&asking).is_none()
            && ended.fits(asking.leaf, &asking.ask)
            && (asking.borrow || ended.within_in_all(asking.leaf, asking.leaf, &asking.ask))
    }
}
