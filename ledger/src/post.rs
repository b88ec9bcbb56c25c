//! What is posted: the only thing that changes a ledger, and cannot fail.

use crate::book::Book;
use crate::config::Order;
use crate::entry::{Entry, Place};
use crate::ledger::{ENDED_MAX, Ledger, PoolIndex, Timer};
use crate::pool::{Leaf, NodeId, Set};
use crate::reclaim::Claim;
use crate::request::{End, Id};
use crate::requests::RequestKey;
use crate::time::Time;

/// Of what is to be forgotten, so much goes whenever something ends: more than comes.
const FORGOTTEN_AT_ONCE: usize = 2;

impl Ledger {
    /// Applies an entry. It must be one that a question answered with, in the state that the question was asked in;
    /// of what is not there (any more) an entry says nothing, and changes nothing.
    pub fn post(&mut self, now: Time, entry: &Entry) {
        self.posted += 1;
        // A queued ticket tries at once: when claims have been judged, and before anything else.
        if !matches!(entry, Entry::ClaimDropped { .. } | Entry::ClaimExtended { .. }) {
            self.pools.iter_mut().for_each(|pool| pool.fresh = None);
        }
        self.revoking = match entry {
            Entry::Ended { id, end: End::Revoked } => {
                let deadline = self.leases.get(id).and_then(|record| record.lease.deadline());
                self.revoking || deadline.is_some_and(|at| self.timers.contains(&(at, Timer::AtOnce(*id))))
            }
            _ => false,
        };
        match entry {
            Entry::Configured(changes) => self.reconfigure(now, changes),
            Entry::Admitted { id, request, count, observed, found } => {
                self.admit_new(now, *id, request, *count, *observed, *found);
            }
            Entry::Queued { id, request } => self.queue_new(now, *id, request),
            Entry::Dispatched { id, count } => self.dispatch(now, *id, *count),
            Entry::Confirmed { id } => self.confirm_lease(now, *id),
            Entry::Renewed { id, holder } => self.hear(now, *id, holder.as_ref()),
            Entry::Resized { id, resources, observed } => self.resize(now, *id, resources, *observed),
            Entry::Ended { id, end } => self.end(now, *id, *end),
            Entry::Claimed { id, owner, by, victims } => self.claim(now, *id, *owner, by, victims),
            Entry::ClaimExtended { id, by, victims } => self.extend_claim(now, *id, by, victims),
            Entry::ClaimDropped { id } => self.drop_claim(*id, true),
            Entry::LetOff { lease } => self.let_off(*lease),
            Entry::HoldsPassed { pool: _, turned, lost, held } => {
                turned.iter().for_each(|id| self.turn(now, *id));
                lost.iter().for_each(|id| {
                    self.lose_hold(*id);
                });
                held.iter().for_each(|(id, place)| self.hold(now, *id, place));
            }
            Entry::Silenced { id } => self.silence(*id),
            Entry::BudgetTurned { tenant, budget, started, ends } => {
                self.turn_budget(tenant, budget.as_str(), *started, *ends);
            }
            Entry::BurstOver { pool, tenant } => {
                let place = Place { tenant: tenant.clone(), own: false };
                if let Some(at) = self.pool_index(pool.as_str())
                    && let Some(node) = self.node_of(at, &place)
                {
                    self.pools[at].end_burst(node, now);
                }
            }
            Entry::MemberGone { tenant } => self.remove_member(tenant),
            Entry::Drained { tenant } => {
                self.draining.remove(tenant);
                self.remove_tenants(now, tenant);
            }
            Entry::Hit { hits } => self.count_hits(now, hits),
            Entry::Resumed => self.resume(now),
        }
        self.settle_claims(now);
        self.settle_holds();
        self.settle_rates(now);
    }

    /// Leaves alone the holds whose tickets are blocked still.
    fn settle_holds(&mut self) {
        for at in 0..self.pools.len() {
            if self.pools[at].opened.is_empty() {
                continue;
            }
            let pool = &self.pools[at];
            // Where it is blocked further up, what frees it does not come by here.
            let blocked = |node: &NodeId| {
                let record = pool.node(*node).hold.and_then(|hold| self.tickets.get(&hold.ticket));
                record.is_some_and(|record| {
                    let blocked = pool.blocked(&Set::Now, &Leaf::at(record.leaf), &record.shape.ask);
                    let above: Vec<NodeId> = pool.up(*node).skip(1).collect();
                    blocked.iter().any(|(at, _)| !above.contains(at))
                })
            };
            let opened = pool.opened.iter().copied().filter(|node| !blocked(node)).collect();
            self.pools[at].opened = opened;
        }
    }

    /// Takes in what changed for claims and victims.
    fn settle_claims(&mut self, now: Time) {
        for at in 0..self.pools.len() {
            let claims = &self.pools[at].claims;
            if claims.book.is_stale() {
                let wary = |claim: &Claim| self.is_wary(at, claim) || !self.may_claim(at, claim.ticket, now);
                let wary = claims.order.iter().filter(|(_, claim)| wary(claim)).map(|(key, _)| *key).collect();
                let book = Book::rewrite(&self.pools[at], &self.leases, &wary);
                self.pools[at].claims.book = book;
            } else if !claims.book.is_blank() {
                let Self { pools, leases, .. } = self;
                pools[at].write(|book, pool| book.settle(pool, leases));
            }
        }
    }

    /// Whether a claim's ticket may come to claim no more with time, or by what others of its tenant do; or may be kept
    /// from its admission by something else than what is held.
    pub(crate) fn is_wary(&self, at: PoolIndex, claim: &Claim) -> bool {
        let pool = self.pool_at(at);
        let node = pool.node(claim.leaf);
        let borrows = self.tickets.get(&claim.ticket).is_some_and(|record| record.shape.borrow);
        node.budgeted || node.rated || node.bounded || pool.spec.order == Order::Strict || !borrows
    }

    /// Forgets what ended long ago: a little whenever something ends, so that after an idle hour nobody waits for all of it
    /// to go.
    pub(crate) fn forget(&mut self, now: Time) {
        for _ in 0..FORGOTTEN_AT_ONCE {
            let Some(first) = self.endings.first() else { break };
            if first.at().after(self.settings.remember) > now && self.endings.len() <= ENDED_MAX {
                break;
            }
            if let Some(record) = self.endings.forget_first() {
                let key = RequestKey::of(record.tenant(), record.request().id.as_bytes());
                self.requests.remove(key, record.id());
            }
        }
    }

    // Claims.

    // Budgets.

    fn resume(&mut self, now: Time) {
        let leases: Vec<Id> = self.leases.keys().collect();
        for id in leases {
            self.prolong(now, id);
        }
        let tickets: Vec<Id> = self.tickets.keys().collect();
        for id in tickets {
            self.hear(now, id, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::FORGOTTEN_AT_ONCE;
    use crate::config::{Change, Pool, Quota, Tenant};
    use crate::name::{Name, RequestId, Resource, TenantPath};
    use crate::{Amounts, Close, Id, Ledger, Request, Time};

    /// Acquires and releases.
    fn pass(ledger: &mut Ledger, now: Time, id: &str) -> Id {
        let id = RequestId::parse(id).expect("an id");
        let tenant = TenantPath::parse("a").expect("a path");
        let cpu = Amounts::new([(Resource::parse("cpu").expect("a name"), 1)]).expect("amounts");
        let request = Request::new(id, tenant, Name::parse("default").expect("a name"), cpu);
        let decision = ledger.admit(now, &Arc::new(request)).expect("well-formed");
        ledger.post(now, &decision.entry.expect("new, and allowed"));
        let id = decision.id.expect("a lease");
        let released = ledger.close(now, id, Close::Release).expect("a lease");
        ledger.post(now, &released.expect("it ends"));
        id
    }

    #[test]
    fn what_ended_long_ago_is_forgotten_a_little_at_a_time() {
        let name = Name::parse("default").expect("a name");
        let tenant = Tenant::new(TenantPath::parse("a").expect("a path"));
        let tenant = Tenant { quotas: vec![(name.clone(), Quota::default())], ..tenant };
        let mut ledger = Ledger::new();
        let changes = vec![Change::PutPool(Pool::new(name)), Change::PutTenant(tenant)];
        let configured = ledger.configure(Time::EPOCH, changes).expect("a configuration");
        ledger.post(Time::EPOCH, &configured.entry);

        let many = 10 * FORGOTTEN_AT_ONCE;
        let old: Vec<Id> = (0..many).map(|nth| pass(&mut ledger, Time::EPOCH, &format!("old-{nth}"))).collect();
        let late = Time::EPOCH.after(2 * ledger.settings().remember);
        let known = |ledger: &Ledger| old.iter().filter(|id| ledger.ended(**id).is_some()).count();
        assert_eq!(known(&ledger), many);
        for round in 1..=10 {
            pass(&mut ledger, late, &format!("late-{round}"));
            assert_eq!(known(&ledger), many - round * FORGOTTEN_AT_ONCE);
        }
        // Its name is free again; what is young is kept.
        assert!(!old.contains(&pass(&mut ledger, late, "old-0")));
        assert_eq!((ledger.endings.iter().count(), ledger.endings.len()), (11, 11));
    }
}
