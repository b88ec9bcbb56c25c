//! Reclaim: claims, their victims, and what is spoken for. "Reclaim is decided in the plan: the
//! ledger as it will be, with all that is being reclaimed gone, and all that tickets with a claim
//! ask for held."

use std::cmp::Reverse;

use super::config::{Order, Time};
use super::decide::Asking;
use super::tree::{Less, Tree};
use super::view::{View, asked_for};
use super::{Event, Lease, Model, Ticket};

#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) ticket: String,
    /// "whose tickets stayed within their leaf's guarantee, in all they ask for, when they claimed"
    pub(crate) owner: bool,
    /// Its age.
    made: u64,
    /// The last victim "that had been chosen when it was made or last took more".
    counts_on: u64,
    /// "the guarantees that it claimed by"
    by: Vec<Guarantee>,
    /// When the last of the victims that it counted on then has its deadline.
    pub(crate) notice: Time,
}

/// A node within whose guarantee a ticket stays, in these resources.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Guarantee {
    node: String,
    resources: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Victim {
    pub(crate) chosen: u64,
    pub(crate) deadline: Time,
}

/// What a claim is made by: victims, in the order in which they are chosen, and guarantees.
#[derive(Debug, Default)]
struct Taking {
    victims: Vec<String>,
    by: Vec<Guarantee>,
}

impl Model {
    /// "Claims have an order: first owners', …; then by age." Read as: the age of the claim.
    pub(crate) fn claims_in_order(&self, pool: &str) -> Vec<&Claim> {
        let of_pool = |claim: &&Claim| self.ticket(&claim.ticket).request.pool == pool;
        let mut claims: Vec<&Claim> = self.claims.iter().filter(of_pool).collect();
        claims.sort_by_key(|claim| (!claim.owner, claim.made));
        claims
    }

    fn claim_of(&self, ticket: &str) -> Option<&Claim> {
        self.claims.iter().find(|claim| claim.ticket == ticket)
    }

    // Plans.

    fn plan<'m>(
        &'m self,
        pool: &str,
        gone: impl Fn(&Lease) -> bool,
        held: impl IntoIterator<Item = &'m Claim>,
    ) -> View<'m> {
        let mut plan = self.view_of(pool, |lease| !gone(lease));
        for claim in held {
            let ticket = self.ticket(&claim.ticket);
            plan.hold(plan.tree.leaf(&ticket.request.tenant), &ticket.resources, ticket.request.least());
        }
        plan
    }

    /// All victims gone, all claims held.
    fn whole_plan(&self, pool: &str) -> View<'_> {
        self.plan(pool, |lease| lease.victim.is_some(), self.claims_in_order(pool))
    }

    /// All victims gone. "the plan of owners' claims alone"
    pub(crate) fn owners_plan(&self, pool: &str) -> View<'_> {
        self.owners_plan_with(pool, |lease| lease.victim.is_some())
    }

    pub(crate) fn owners_plan_with(&self, pool: &str, gone: impl Fn(&Lease) -> bool) -> View<'_> {
        let owners = self.claims_in_order(pool).into_iter().filter(|claim| claim.owner);
        self.plan(pool, gone, owners)
    }

    /// "A claim sees only the claims before it in its plan", "victims chosen since not counted as
    /// gone".
    fn plan_of(&self, claim: &Claim) -> View<'_> {
        self.plan_with(claim, |lease| lease.victim.is_some_and(|victim| victim.chosen <= claim.counts_on))
    }

    fn plan_with(&self, claim: &Claim, gone: impl Fn(&Lease) -> bool) -> View<'_> {
        let pool = &self.ticket(&claim.ticket).request.pool;
        self.plan(pool, gone, self.claims_before(&claim.ticket))
    }

    fn claims_before(&self, ticket: &str) -> Vec<&Claim> {
        let claims = self.claims_in_order(&self.ticket(ticket).request.pool);
        claims.into_iter().take_while(|claim| claim.ticket != ticket).collect()
    }

    // Making a claim.

    /// A ticket that "could not be admitted just now whatever ended … makes no claim"; "under
    /// strict only a tenant's first"; "paused (then nothing is reclaimed either)". Read as: in a
    /// pool that is paused, or where nothing is reclaimed, nobody claims, and claims that there
    /// were are dropped.
    pub(crate) fn may_claim(&self, ticket: &Ticket) -> bool {
        let pool = self.pool(&ticket.request.pool);
        pool.reclaim
            && !pool.paused
            && !self.is_passed_over(ticket)
            && self.could_be_admitted(ticket)
            && (pool.order == Order::Backfill || self.is_in_line(ticket))
    }

    /// Answers whether it claims now. "A ticket that does not fit, or would not in the plan, claims
    /// when it fits in the plan once victims, chosen one by one, are gone from it too." Read as:
    /// that it stays within its leaf's guarantee when it claims is asked in the plan of owners'
    /// claims alone.
    pub(crate) fn try_to_claim(&mut self, id: &str) -> bool {
        let Some((owner, taking)) = self.claim_to_make(id) else {
            return false;
        };
        let made = self.number();
        self.note(Event::Claimed { ticket: id.to_owned() });
        let by = taking.by.clone();
        let claim = Claim { ticket: id.to_owned(), owner, made, counts_on: 0, by, notice: self.now };
        self.claims.push(claim);
        self.take(id, taking);
        true
    }

    fn claim_to_make(&self, id: &str) -> Option<(bool, Taking)> {
        let ticket = self.ticket(id);
        if self.claim_of(id).is_some() || !self.may_claim(ticket) {
            return None;
        }
        let asking = self.asking_of(ticket);
        let (leaf, ask) = (asking.leaf, &asking.ask);
        let owner = self.owners_plan(&asking.pool).within_in_all(leaf, leaf, ask);
        // "one that asked not to borrow only within its leaf's guarantee"
        if !asking.borrow && !owner {
            return None;
        }
        let plan = if owner { self.owners_plan(&asking.pool) } else { self.whole_plan(&asking.pool) };
        let blocked = self.actual(&asking.pool).blocked(leaf, ask, Less::Unavailable);
        match (blocked.last(), plan.fits(leaf, ask)) {
            (None, true) => None,
            (_, false) => self.victims_for(&asking, plan).map(|taking| (owner, taking)),
            // "A ticket that is blocked, and fits in the plan as it is because enough is on its way
            // already, claims without a victim where, below the highest node that blocks it, it
            // stays in the plan within a node's guarantee in what is blocked there." Read as: the
            // first such node down its path is the guarantee that it claims by.
            (Some(highest), true) => {
                let within = |node: &usize| plan.within(*node, leaf, ask, highest.resources.iter().map(String::as_str));
                let node = below(plan.tree, leaf, highest.node).into_iter().find(within)?;
                let by = vec![Guarantee { node: name(plan.tree, node), resources: highest.resources.clone() }];
                Some((owner, Taking { victims: Vec::new(), by }))
            }
        }
    }

    /// Victims are told. "A claim counts on the victims that had been chosen when it was made or
    /// last took more."
    fn take(&mut self, claimant: &str, taking: Taking) {
        for id in taking.victims {
            let chosen = self.number();
            let lease = self.leases.iter().find(|lease| lease.request.id == id).expect("a lease");
            // "Victims become reclaiming, and their holders are told the deadline (now plus
            // grace)"; "notice it needs, up to the pool's".
            let grace = self.pool(&lease.request.pool).grace;
            let deadline = self.now + lease.request.grace.unwrap_or(grace).min(grace);
            let lease = self.leases.iter_mut().find(|lease| lease.request.id == id).expect("a lease");
            lease.victim = Some(Victim { chosen, deadline });
            self.note(Event::Reclaiming { id, deadline });
        }
        let pool = &self.ticket(claimant).request.pool;
        let victims = self.leases.iter().filter(|lease| lease.request.pool == *pool).filter_map(|lease| lease.victim);
        let notice = victims.map(|victim| victim.deadline).max().unwrap_or(self.now);
        let counts_on = self.numbers;
        let claim = self.claims.iter_mut().find(|claim| claim.ticket == claimant).expect("its claim");
        (claim.counts_on, claim.notice) = (counts_on, notice);
    }

    // Choosing victims.

    /// "At each step let h be the highest node where it is blocked in the plan, and R the resources
    /// blocked there. Going down its path from h, take the first node c below h that has a sister
    /// borrowing in any of R, and within whose guarantee the ticket stays in R, both in the plan. …
    /// When there is no such c, there is no claim".
    fn victims_for(&self, asking: &Asking, plan: View<'_>) -> Option<Taking> {
        let (leaf, ask) = (asking.leaf, &asking.ask);
        let mut plan = plan;
        let mut taking = Taking::default();
        while let Some(highest) = plan.blocked(leaf, ask, Less::Unavailable).pop() {
            let resources = highest.resources;
            let chosen = below(plan.tree, leaf, highest.node).into_iter().find_map(|node| {
                if !plan.within(node, leaf, ask, resources.iter().map(String::as_str)) {
                    return None;
                }
                let sisters = plan.tree.sisters(node);
                let victim = self.victim_of_any(&asking.pool, &plan, sisters, &resources, &taking.victims)?;
                Some((node, victim))
            });
            let (node, victim) = chosen?;
            taking.by.push(Guarantee { node: name(plan.tree, node), resources });
            let lease = self.leases.iter().find(|lease| lease.request.id == victim).expect("a lease");
            plan.hold(plan.tree.leaf(&lease.request.tenant), &lease.resources, -lease.count);
            taking.victims.push(victim);
        }
        Some(taking)
    }

    /// "The sister that gives: one past its burst and grace before any other, then one of weight
    /// zero, then the largest weighted share of what it borrows in R; inside it again a child that
    /// borrows in R, by the same order, down to a leaf …, and so is \[left out\] a sister through
    /// which none can be had. Ties between sisters: the later path."
    fn victim_of_any(
        &self,
        pool: &str,
        plan: &View<'_>,
        sisters: Vec<usize>,
        resources: &[String],
        taken: &[String],
    ) -> Option<String> {
        let mut borrowing: Vec<usize> =
            sisters.into_iter().filter(|sister| plan.borrows_any(*sister, resources)).collect();
        borrowing.sort_by_key(|sister| {
            let node = &plan.tree.nodes[*sister];
            let past = self.is_past_burst_and_grace(pool, &node.name);
            Reverse((past, node.weight == 0, plan.share_in(*sister, resources), *sister))
        });
        borrowing.into_iter().find_map(|sister| {
            if plan.tree.is_leaf(sister) {
                return self.victim_at(pool, plan.tree, sister, resources, taken);
            }
            let children = plan.tree.nodes[sister].children.clone();
            self.victim_of_any(pool, plan, children, resources, taken)
        })
    }

    /// "of the leases that hold any of R, the one of the lowest priority, then the youngest
    /// (admission, then arrival). Leases under min_runtime, observed ones and those that asked not
    /// to borrow are left out".
    fn victim_at(
        &self,
        pool: &str,
        tree: &Tree,
        leaf: usize,
        resources: &[String],
        taken: &[String],
    ) -> Option<String> {
        let may_give = |lease: &&Lease| {
            lease.request.pool == pool
                && tree.leaf(&lease.request.tenant) == leaf
                && asked_for(&lease.resources).any(|held| resources.iter().any(|r| r == held))
                && self.may_give_way(lease)
                && !taken.contains(&lease.request.id)
        };
        let leases = self.leases.iter().filter(may_give);
        let youngest = leases.min_by_key(|lease| (lease.request.priority, Reverse((lease.admitted, lease.arrived))));
        youngest.map(|lease| lease.request.id.clone())
    }

    /// "Leases under min_runtime, observed ones and those that asked not to borrow are left out".
    pub(crate) fn may_give_way(&self, lease: &Lease) -> bool {
        let min_runtime = self.pool(&lease.request.pool).min_runtime;
        lease.admitted + min_runtime <= self.now && !lease.observed && lease.request.borrow && lease.victim.is_none()
    }

    // Judging claims.

    /// "It stands while in its plan … its ticket fits and stays within one of the guarantees that
    /// it claimed by. After every change, and every claim, claims are judged anew, in their order:
    /// one that keeps such a guarantee but does not fit takes further victims, and counts on all;
    /// one that finds too few, has lost the guarantees, or whose ticket may claim no more, is
    /// dropped."
    pub(crate) fn judge_claims(&mut self, pool: &str) {
        let ids: Vec<String> = self.claims_in_order(pool).iter().map(|claim| claim.ticket.clone()).collect();
        for id in ids {
            let claim = self.claim_of(&id).expect("its claim");
            let plan = self.plan_of(claim);
            if self.keeps_a_guarantee(claim, &plan) {
                if self.fits_in(claim, &plan) {
                    continue;
                }
                let all_gone = self.plan_with(claim, |lease| lease.victim.is_some());
                let asking = self.asking_of(self.ticket(&id));
                if let Some(taking) = self.victims_for(&asking, all_gone) {
                    let claim = self.claims.iter_mut().find(|claim| claim.ticket == id).expect("its claim");
                    let more = taking.by.iter().filter(|guarantee| !claim.by.contains(guarantee));
                    let more: Vec<Guarantee> = more.cloned().collect();
                    claim.by.extend(more);
                    self.take(&id, taking);
                    continue;
                }
            }
            self.claims.retain(|claim| claim.ticket != id);
            self.note(Event::ClaimDropped { ticket: id });
        }
    }

    pub(crate) fn stands(&self, claim: &Claim, plan: &View<'_>) -> bool {
        self.keeps_a_guarantee(claim, plan) && self.fits_in(claim, plan)
    }

    fn fits_in(&self, claim: &Claim, plan: &View<'_>) -> bool {
        let asking = self.asking_of(self.ticket(&claim.ticket));
        plan.fits(asking.leaf, &asking.ask)
    }

    fn keeps_a_guarantee(&self, claim: &Claim, plan: &View<'_>) -> bool {
        let ticket = self.ticket(&claim.ticket);
        let Asking { leaf, ask, borrow, .. } = self.asking_of(ticket);
        let within = |guarantee: &Guarantee| {
            let resources = guarantee.resources.iter().map(String::as_str);
            plan.tree.node(&guarantee.node).is_some_and(|node| plan.within(node, leaf, &ask, resources))
        };
        self.may_claim(ticket) && (borrow || plan.within_in_all(leaf, leaf, &ask)) && claim.by.iter().any(within)
    }

    /// "Then, before anybody is admitted, every victim with which put back all claims still stand
    /// is let off, the last chosen first."
    pub(crate) fn let_off(&mut self, pool: &str) {
        for id in self.victims_last_first(pool) {
            let all_stand = self.claims_in_order(pool).into_iter().all(|claim| {
                let gone = |lease: &Lease| {
                    let counted = lease.victim.is_some_and(|victim| victim.chosen <= claim.counts_on);
                    counted && lease.request.id != id
                };
                self.stands(claim, &self.plan_with(claim, gone))
            });
            if all_stand {
                let lease = self.leases.iter_mut().find(|lease| lease.request.id == id).expect("a victim");
                lease.victim = None;
                self.note(Event::LetOff { id });
            }
        }
    }

    fn victims_last_first(&self, pool: &str) -> Vec<String> {
        let mut victims: Vec<(u64, String)> = Vec::new();
        for lease in self.leases.iter().filter(|lease| lease.request.pool == pool) {
            victims.extend(lease.victim.map(|victim| (victim.chosen, lease.request.id.clone())));
        }
        victims.sort();
        victims.into_iter().rev().map(|(_, id)| id).collect()
    }

    // What is spoken for.

    /// "nobody without a claim is admitted who would not fit in the plan too (one within its leaf's
    /// guarantee: in the plan of owners' claims alone), nor, but within the guarantee of their own
    /// leaf in that resource, who asks at a node where a claim's ticket is blocked for a resource
    /// that it is blocked in there". Read as: what stays within its leaf's guarantee is asked of
    /// the ledger as it is, and so is where a claim's ticket is blocked.
    pub(crate) fn is_spoken_for(&self, asking: &Asking) -> bool {
        let (leaf, ask) = (asking.leaf, &asking.ask);
        let actual = self.actual(&asking.pool);
        let owner = actual.within_in_all(leaf, leaf, ask);
        let plan = if owner { self.owners_plan(&asking.pool) } else { self.whole_plan(&asking.pool) };
        let own = |resource: &str| actual.tree.is_named(resource) && actual.within(leaf, leaf, ask, [resource]);
        !plan.fits(leaf, ask) || self.asks_where_blocked(asking, &self.claims_in_order(&asking.pool), own)
    }

    /// "nor so a claim against those before it, whatever its leaf": so it is stopped where one
    /// before it is blocked. That it fits in the plan of those before it is what it stands by.
    pub(crate) fn waits_for_claims_before(&self, asking: &Asking, ticket: &str) -> bool {
        self.asks_where_blocked(asking, &self.claims_before(ticket), |_| false)
    }

    fn asks_where_blocked(&self, asking: &Asking, claims: &[&Claim], but: impl Fn(&str) -> bool) -> bool {
        let actual = self.actual(&asking.pool);
        let path = actual.tree.path(asking.leaf);
        claims.iter().any(|claim| {
            let other = self.asking_of(self.ticket(&claim.ticket));
            let blocked = actual.blocked(other.leaf, &other.ask, Less::Unavailable);
            blocked.iter().filter(|blocked| path.contains(&blocked.node)).any(|blocked| {
                let asked = |resource: &&String| asking.ask.get(*resource).is_some_and(|amount| *amount > 0);
                blocked.resources.iter().filter(asked).any(|resource| !but(resource))
            })
        })
    }
}

/// The nodes of a path below one of them, the highest first.
fn below(tree: &Tree, leaf: usize, node: usize) -> Vec<usize> {
    let mut path: Vec<usize> = tree.path(leaf).into_iter().take_while(|at| *at != node).collect();
    path.reverse();
    path
}

fn name(tree: &Tree, node: usize) -> String {
    tree.nodes[node].name.clone()
}
