//! Invariants, as plain functions: used by tests, the simulator and the running server alike.

use crate::ask::Ask;
use crate::decision::Violation;
use crate::dispatch::Asker;
use crate::ledger::{Ledger, PoolIndex, TicketRecord};
use crate::node::Tally;
use crate::pool::{Counters, Leaf, NodeId, PoolState, ROOT, Set, Slot};
use crate::request::Id;
use crate::time::Time;

impl Ledger {
    /// Checks the invariants that can be checked of a state: `conservation` and `work-conserving`, and
    /// `no-over-admission` of what was just admitted. To be asked when nothing is due.
    pub fn audit(&self, now: Time, admitted: &[Id]) -> Vec<Violation> {
        let mut violations = Vec::new();
        for at in 0..self.pools.len() {
            self.audit_conservation(at, &mut violations);
        }
        let mut tickets: Vec<&TicketRecord> = self.tickets.values().collect();
        tickets.sort_unstable_by_key(|record| (record.pool, record.key));
        tickets.into_iter().for_each(|record| violations.extend(self.audit_ticket(record, now)));
        self.audit_rates(&mut violations);
        for id in admitted {
            self.audit_admission(*id, &mut violations);
        }
        violations
    }

    /// Checks `conservation` of one pool: a part of [`audit`](Self::audit), for those who hold something up meanwhile.
    pub fn audit_pool(&self, pool: &str) -> Vec<Violation> {
        let mut violations = Vec::new();
        if let Some(at) = self.pool_index(pool) {
            self.audit_conservation(at, &mut violations);
        }
        violations
    }

    /// Checks `work-conserving` of some tickets, those among them that wait: another part. To be asked when nothing is due.
    pub fn audit_tickets(&self, now: Time, tickets: &[Id]) -> Vec<Violation> {
        let records = tickets.iter().filter_map(|id| self.tickets.get(id));
        records.filter_map(|record| self.audit_ticket(record, now)).collect()
    }

    /// Every ticket, in no order.
    pub fn ticket_ids(&self) -> Vec<Id> {
        self.tickets.keys().collect()
    }

    /// What was admitted exceeds no limit of its path, but where what it holds was not lendable to others anyway.
    fn audit_admission(&self, id: Id, violations: &mut Vec<Violation>) {
        let Some(record) = self.leases.get(&id) else { return };
        if record.lease.observed().is_some() {
            return;
        }
        let pool = self.pool_at(record.pool());
        for node in pool.up(record.leaf) {
            for (slot, _) in record.ask().0.iter() {
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
        let mut sums = Sums::of(pool);
        let mut running = 0;
        for record in self.leases.values().filter(|record| record.pool() == at) {
            running += 1;
            // In the plans it is gone where it gives way.
            let planned = i64::from(record.victim().is_none());
            sums.add(record.leaf, record.ask(), [1, planned, planned]);
        }
        for (key, claim) in &pool.claims.order {
            sums.add(claim.leaf, &claim.ask, [0, 1, i64::from(!key.borrower)]);
        }
        let waiting = self.tickets.values().filter(|record| record.pool == at).count() as u64;
        if (pool.node(ROOT).running, pool.node(ROOT).waiting) != (running, waiting) {
            violations.push(Violation {
                invariant: "conservation",
                what: format!(
                    "pool {} counts {} leases and {} tickets, there are {running} and {waiting}",
                    pool.spec.name,
                    pool.node(ROOT).running,
                    pool.node(ROOT).waiting
                ),
            });
        }
        sums.compare(pool, ROOT, violations);
        violations.append(&mut sums.astray);
    }

    /// A waiting ticket could not be admitted, but for what is held or spoken for.
    fn audit_ticket(&self, record: &TicketRecord, now: Time) -> Option<Violation> {
        if record.ticket.silent {
            return None;
        }
        let leaf = Leaf::at(record.leaf);
        let asker = Asker::waiting(record, &leaf);
        self.findings(record.pool, &asker, now, true).is_empty().then(|| Violation {
            invariant: "work-conserving",
            what: format!(
                "ticket {} of {} waits, and nothing stands against it",
                record.ticket.id,
                name(self.pool_at(record.pool), record.leaf)
            ),
        })
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
            for (name, amount) in lease.resources().iter() {
                sum.text(name.as_str());
                sum.number(amount);
            }
            sum.number(u64::from(lease.count()));
            for at in
                [Some(lease.arrived), Some(lease.admitted), lease.confirmed(), Some(lease.expires), lease.deadline()]
            {
                sum.number(at.map_or(0, Time::nanos));
            }
            sum.text(lease.holder().map_or("", |holder| holder.as_str()));
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
            for rate in &tenant.rates {
                sum.bytes(&rate.taken.parts.to_le_bytes());
                sum.number(rate.taken.at.nanos());
            }
        }
        sum.0
    }
}

/// What leases and claims sum to, in each of the three sets, by leaf and resource: as many numbers as the nodes have cells,
/// filled in one pass, and taken up the tree in another. Nothing of the pool is copied.
struct Sums {
    /// Where a node's cells begin; one more than there are nodes.
    begins: Vec<usize>,
    own: Vec<[i64; 3]>,
    /// What stands in no cell.
    astray: Vec<Violation>,
}

impl Sums {
    fn of(pool: &PoolState) -> Self {
        let mut begins = Vec::with_capacity(pool.nodes.len() + 1);
        let mut cells = 0;
        for node in &pool.nodes {
            begins.push(cells);
            cells += node.cells.len();
        }
        begins.push(cells);
        Self { begins, own: vec![[0; 3]; cells], astray: Vec::new() }
    }

    /// Adds what is asked for at a leaf, so many times in each set.
    fn add(&mut self, leaf: NodeId, ask: &Ask, times: [i64; 3]) {
        let leaf = leaf as usize;
        for (slot, amount) in ask.0.iter() {
            let cell = self.begins[leaf] + usize::from(*slot);
            if cell < self.begins[leaf + 1] {
                self.own[cell].iter_mut().zip(times).for_each(|(sum, times)| *sum += times * amount);
            } else {
                let what =
                    format!("node {leaf} does not count resource {slot}, and {amount} of it are held or claimed");
                self.astray.push(Violation { invariant: "conservation", what });
            }
        }
    }

    /// Compares a node and those below it with what they count. Returns, by resource, what is used and what is occupied.
    fn compare(&self, pool: &PoolState, node: NodeId, violations: &mut Vec<Violation>) -> Vec<[(i64, i64); 3]> {
        let here = pool.node(node);
        let own = &self.own[self.begins[node as usize]..self.begins[node as usize + 1]];
        let mut tallies: Vec<[Tally; 3]> =
            own.iter().map(|own| own.map(|held| Tally { usage: held, inner: held })).collect();
        for child in &here.children {
            let below = self.compare(pool, *child, violations);
            for (tallies, below) in tallies.iter_mut().zip(below) {
                for (tally, (usage, occupied)) in tallies.iter_mut().zip(below) {
                    tally.usage += usage;
                    tally.inner += occupied;
                }
            }
        }
        let mut sums = Vec::with_capacity(tallies.len());
        for (slot, expected) in tallies.into_iter().enumerate() {
            let slot = slot as Slot;
            let counted = [Set::Now, Set::All, Set::Owners].map(|set| set.tally(pool, node, slot));
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
            sums.push(expected.map(|tally| (tally.usage, tally.occupied(here.cell(slot)))));
        }
        sums
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Set, Slot};
    use crate::config::{Change, Pool, Quota, Tenant};
    use crate::name::{Name, RequestId, Resource, TenantPath};
    use crate::{Amounts, Ledger, Level, Levels, Request, Time, UtcDays};

    fn cpu(amount: u64) -> Amounts {
        Amounts::new([(Resource::parse("cpu").expect("a name"), amount)]).expect("amounts")
    }

    /// Two leases of `a/x` hold all ten that there are; `b` has claimed the four that it is guaranteed, and one waits.
    fn ledger() -> Ledger {
        let name = Name::parse("default").expect("a name");
        let pool = Pool { capacity: cpu(10), ..Pool::new(name.clone()) };
        let tenant = |path: &str, guaranteed: u64| {
            let level = Levels::new([(Resource::parse("cpu").expect("a name"), Level::Units(guaranteed))]);
            let quota = Quota { guaranteed: Some(level.expect("levels")), ..Quota::default() };
            let quotas = vec![(name.clone(), quota)];
            Change::PutTenant(Tenant { quotas, ..Tenant::new(TenantPath::parse(path).expect("a path")) })
        };
        let mut ledger = Ledger::new();
        let changes = vec![Change::PutPool(pool), tenant("a", 2), tenant("a/x", 1), tenant("b", 4)];
        let configured = ledger.configure(Time::EPOCH, changes).expect("a configuration");
        ledger.post(Time::EPOCH, &configured.entry);
        for (id, tenant, amount) in [("x1", "a/x", 6), ("x2", "a/x", 4), ("b", "b", 4), ("later", "a/x", 1)] {
            let (id, path) = (RequestId::parse(id).expect("an id"), TenantPath::parse(tenant).expect("a path"));
            let request = Arc::new(Request::new(id, path, name.clone(), cpu(amount)));
            let decision = ledger.admit(Time::EPOCH, &request).expect("decided");
            ledger.post(Time::EPOCH, &decision.entry.expect("taken"));
            while let Some(entry) = ledger.due(Time::EPOCH, &UtcDays) {
                ledger.post(Time::EPOCH, &entry);
            }
        }
        ledger
    }

    #[test]
    fn a_counter_that_is_wrong_is_found_wherever_it_is() {
        let sound = ledger();
        assert_eq!(sound.audit(Time::EPOCH, &[]), []);
        assert_eq!(sound.ticket_ids().len(), 2);
        let mut broken = 0;
        for node in 0..sound.pools[0].nodes.len() {
            for set in [Set::Now, Set::All, Set::Owners] {
                for part in 0..2 {
                    let mut ledger = sound.clone();
                    let here = &mut ledger.pools[0].nodes[node];
                    let tally = match set {
                        Set::Now => here.cells.first_mut().map(|cell| &mut cell.now),
                        Set::All => here.plans.first_mut().map(|plans| &mut plans[0]),
                        Set::Owners => here.plans.first_mut().map(|plans| &mut plans[1]),
                    };
                    let Some(tally) = tally else { continue };
                    let counter = if part == 0 { &mut tally.usage } else { &mut tally.inner };
                    *counter += 1;
                    broken += 1;
                    let found = ledger.audit_pool("default");
                    assert!(found.iter().all(|one| one.invariant == "conservation"), "{found:?}");
                    assert_eq!(found.len(), 1, "node {node}, {set:?}: {found:?}");
                }
            }
        }
        assert!(broken > 4 * 2 + 2 * 4, "all nodes count, and those with claims and victims plans: {broken}");
    }

    #[test]
    fn what_stands_in_no_counter_is_found() {
        let mut ledger = ledger();
        let id = ledger.leases.keys().next().expect("a lease");
        let lease = ledger.leases.get_mut(&id).expect("a lease");
        Arc::make_mut(&mut lease.lease.held).ask = crate::ask::Ask([(Slot::MAX, 1)].into());
        assert!(ledger.audit_pool("default").iter().any(|one| one.what.contains("does not count resource 65535")));
        assert_eq!(ledger.audit_pool("another"), []);
    }
}
