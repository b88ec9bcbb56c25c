//! Invariants, as plain functions: used by tests, the simulator and the running server alike.

use crate::decision::Violation;
use crate::ledger::{Ledger, PoolIndex};
use crate::pool::{Counters, Leaf, NodeId, PoolState, ROOT, Set, Slot};
use crate::reclaim::Plan;
use crate::request::Id;
use crate::time::Time;

impl Ledger {
    /// Checks the invariants that can be checked of a state: `conservation` and `work-conserving`, and
    /// `no-over-admission` of what was just admitted. To be asked when nothing is due.
    pub fn audit(&self, now: Time, admitted: &[Id]) -> Vec<Violation> {
        let mut violations = Vec::new();
        for at in 0..self.pools.len() {
            self.audit_conservation(at, &mut violations);
            self.audit_work(at, now, &mut violations);
        }
        for id in admitted {
            self.audit_admission(*id, &mut violations);
        }
        violations
    }

    /// What was admitted exceeds no limit of its path, but where what it holds was not lendable to others anyway.
    fn audit_admission(&self, id: Id, violations: &mut Vec<Violation>) {
        let Some(record) = self.leases.get(&id) else { return };
        if record.lease.observed.is_some() {
            return;
        }
        let pool = self.pool_at(record.pool);
        for node in pool.up(record.leaf) {
            for (slot, _) in &record.ask.0 {
                let cell = pool.node(node).cell(*slot);
                let tally = Set::Now.tally(pool, node, *slot);
                if tally.occupied(cell) > cell.limit && tally.usage > cell.limit {
                    violations.push(Violation {
                        invariant: "no-over-admission",
                        what: format!(
                            "{id} was admitted, and {} occupies {} of {} with a limit of {}",
                            name(pool, node),
                            tally.occupied(cell),
                            resource(pool, *slot),
                            cell.limit
                        ),
                    });
                }
            }
        }
    }

    /// Every counter of what is held equals the sum over the leases.
    fn audit_conservation(&self, at: PoolIndex, violations: &mut Vec<Violation>) {
        let pool = self.pool_at(at);
        let mut fresh = pool.clone();
        fresh.forget_held();
        let mut leases: Vec<_> = self.leases.values().filter(|record| record.pool == at).collect();
        leases.sort_unstable_by_key(|record| record.lease.id);
        let mut running = 0;
        for record in &leases {
            fresh.add(record.leaf, &record.ask, 1, true, true, true);
            running += 1;
        }
        let mut plans = [Plan::on(Set::Now), Plan::on(Set::Now)];
        for record in leases.iter().filter(|record| record.victim.is_some()) {
            plans.iter_mut().for_each(|plan| plan.add(&fresh, record.leaf, &record.ask, -1));
        }
        for (key, claim) in &pool.claims.order {
            plans[0].add(&fresh, claim.leaf, &claim.ask, 1);
            if !key.borrower {
                plans[1].add(&fresh, claim.leaf, &claim.ask, 1);
            }
        }
        let tickets = self.tickets.values().filter(|record| record.pool == at).count() as u64;
        if (pool.node(ROOT).running, pool.node(ROOT).waiting) != (running, tickets) {
            violations.push(Violation {
                invariant: "conservation",
                what: format!(
                    "pool {} counts {} leases and {} tickets, there are {running} and {tickets}",
                    pool.spec.name,
                    pool.node(ROOT).running,
                    pool.node(ROOT).waiting
                ),
            });
        }
        let in_use = |node: &NodeId| !pool.spare.contains(node);
        for node in (0..pool.nodes.len() as NodeId).filter(in_use) {
            for slot in 0..pool.node(node).cells.len() as Slot {
                let counted = [Set::Now, Set::All, Set::Owners].map(|set| set.tally(pool, node, slot));
                let expected = [
                    Set::Now.tally(&fresh, node, slot),
                    plans[0].tally(&fresh, node, slot),
                    plans[1].tally(&fresh, node, slot),
                ];
                if counted != expected {
                    violations.push(Violation {
                        invariant: "conservation",
                        what: format!(
                            "{} counts {counted:?} of {}, its leases and claims sum to {expected:?}",
                            name(pool, node),
                            resource(pool, slot)
                        ),
                    });
                }
            }
        }
    }

    /// No waiting ticket could be admitted, but for what is held or spoken for.
    fn audit_work(&self, at: PoolIndex, now: Time, violations: &mut Vec<Violation>) {
        let pool = self.pool_at(at);
        let mut tickets: Vec<_> =
            self.tickets.values().filter(|record| record.pool == at && !record.ticket.silent).collect();
        tickets.sort_unstable_by_key(|record| record.key);
        for record in tickets {
            let leaf = Leaf::at(record.leaf);
            let asker = crate::dispatch::Asker {
                leaf: &leaf,
                ask: &record.shape.ask,
                borrow: record.shape.borrow,
                waits: record
                    .hold
                    .and_then(|node| pool.node(node).hold)
                    .map_or((record.ticket.arrived, record.ticket.id), |hold| hold.waits),
                key: Some(record.key),
                claim: record.claim,
            };
            if self.findings(at, &asker, now, true).is_empty() {
                violations.push(Violation {
                    invariant: "work-conserving",
                    what: format!(
                        "ticket {} of {} waits, and nothing stands against it",
                        record.ticket.id,
                        name(pool, record.leaf)
                    ),
                });
            }
        }
    }

    /// A number that is the same for the same state, on every machine.
    pub fn digest(&self) -> u64 {
        let mut sum = Digest::new();
        sum.number(self.next_id);
        for lease in self.leases() {
            sum.number(lease.id.0);
            sum.text(lease.request.tenant.as_str());
            sum.text(lease.request.pool.as_str());
            sum.text(lease.request.id.as_str());
            for (name, amount) in lease.resources.iter() {
                sum.text(name.as_str());
                sum.number(amount);
            }
            sum.number(u64::from(lease.count));
            for at in [Some(lease.arrived), Some(lease.admitted), lease.confirmed, Some(lease.expires), lease.deadline]
            {
                sum.number(at.map_or(0, Time::nanos));
            }
            sum.text(lease.holder.as_ref().map_or("", |holder| holder.as_str()));
        }
        for ticket in self.tickets() {
            sum.number(ticket.id.0);
            sum.text(ticket.request.tenant.as_str());
            sum.text(ticket.request.id.as_str());
            sum.number(ticket.arrived.nanos());
            sum.number(ticket.heard.nanos());
            sum.number(u64::from(ticket.silent));
        }
        for pool in &self.pools {
            for (key, claim) in &pool.claims.order {
                sum.number(u64::from(key.borrower));
                sum.number(claim.ticket.0);
                sum.number(claim.counts_on);
            }
            for (number, lease) in &pool.claims.victims {
                sum.number(*number);
                sum.number(lease.0);
            }
            let mut held: Vec<_> = pool.held.iter().filter_map(|node| pool.node(*node).hold).collect();
            held.sort_unstable_by_key(|hold| hold.ticket);
            for hold in held {
                sum.number(hold.ticket.0);
                sum.number(hold.since.nanos());
            }
        }
        for index in self.order() {
            let Some(tenant) = self.tenant_at(index) else { continue };
            sum.text(tenant.spec.path.as_str());
            for budget in &tenant.budgets {
                sum.number(budget.used);
                sum.number(budget.ends.nanos());
            }
        }
        sum.0
    }
}

/// FNV-1a, 64 bits: plain, and the same on every machine.
struct Digest(u64);

impl Digest {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.bytes(text.as_bytes());
    }
}

fn name(pool: &PoolState, node: NodeId) -> String {
    let here = pool.node(node);
    match (here.path.is_root(), here.own) {
        (true, _) => format!("pool {}", pool.spec.name),
        (false, true) => format!("tenant {} itself", here.path),
        (false, false) => format!("tenant {}", here.path),
    }
}

fn resource(pool: &PoolState, slot: Slot) -> String {
    pool.known(slot).map_or_else(|| format!("resource {slot}"), |known| known.name.to_string())
}
