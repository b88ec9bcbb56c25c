//! What becomes of a claim, and of the leases that give way for it.

use crate::entry::{Guarantee, Place, Victim};
use crate::ledger::{Ledger, PoolIndex, Timer};
use crate::pool::{NodeId, PoolState, ROOT, Slot};
use crate::reclaim::{Claim, ClaimKey};
use crate::request::Id;
use crate::time::Time;
use crate::victims::victim_key;

impl Ledger {
    /// A ticket claims. A hold that it has is judged with the others', when the pool comes to rest: a claim that is
    /// dropped in the same instant is no break in its turn.
    pub(crate) fn claim(&mut self, now: Time, id: Id, owner: bool, by: &[Guarantee], victims: &[Victim]) {
        let Some(record) = self.tickets.get(&id) else { return };
        if record.claim.is_some() {
            return;
        }
        let (at, leaf, shape, key, waits) =
            (record.pool, record.leaf, record.shape.clone(), record.key, record.waits());
        self.choose(now, at, victims);
        let by = self.nodes_of(at, by);
        let pool = &mut self.pools[at];
        let claim_key = ClaimKey { borrower: !owner, made: pool.claims.next_claim };
        pool.claims.next_claim += 1;
        let counts_on = pool.claims.next_victim;
        let (queue, shapes) = pool.queue_of(leaf);
        queue.shut(shapes, &shape, key, waits);
        pool.pass_queue(leaf);
        take_claim(pool, claim_key, Claim { ticket: id, leaf, ask: shape.ask, borrow: shape.borrow, by, counts_on });
        if let Some(record) = self.tickets.get_mut(&id) {
            record.claim = Some(claim_key);
        }
        let wary = self.pools[at].claims.order.get(&claim_key).is_some_and(|claim| self.is_wary(at, claim));
        self.pools[at].write(|book, pool| {
            if let Some(claim) = pool.claims.order.get(&claim_key) {
                book.make(pool, claim_key, claim, wary);
            }
        });
    }

    pub(crate) fn extend_claim(&mut self, now: Time, id: Id, by: &[Guarantee], victims: &[Victim]) {
        let Some((at, key)) = self.tickets.get(&id).and_then(|record| Some((record.pool, record.claim?))) else {
            return;
        };
        self.choose(now, at, victims);
        let by = self.nodes_of(at, by);
        let claims = &mut self.pools[at].claims;
        let counts_on = claims.next_victim;
        if let Some(claim) = claims.order.get_mut(&key) {
            claim.by = by;
            claim.counts_on = counts_on;
        }
        self.pools[at].write(|book, pool| {
            if let Some(claim) = pool.claims.order.get(&key) {
                book.extend(pool, key, claim);
            }
        });
    }

    /// Ends a ticket's claim; `open` puts the ticket back into its line.
    pub(crate) fn drop_claim(&mut self, id: Id, open: bool) {
        let Some(record) = self.tickets.get_mut(&id) else { return };
        let Some(key) = record.claim.take() else { return };
        let pool = &mut self.pools[record.pool];
        if let Some(claim) = pool.claims.order.remove(&key) {
            pool.add(claim.leaf, &claim.ask, -1, false, true, !key.borrower);
            pool.unmark(claim.leaf);
            count_claimed(pool, &claim, -1);
            pool.write(|book, pool| book.end(pool, key, &claim));
        }
        if open && !record.ticket.silent {
            let (queue, shapes) = pool.queue_of(record.leaf);
            queue.open(shapes, &record.shape, record.key, record.waits());
            pool.pass_queue(record.leaf);
        }
    }

    /// Leases give way.
    fn choose(&mut self, now: Time, at: PoolIndex, victims: &[Victim]) {
        for Victim { lease, deadline } in victims {
            let number = self.pools[at].claims.next_victim;
            self.pools[at].claims.next_victim += 1;
            let timer = if *deadline > now { Timer::Deadline(*lease) } else { Timer::AtOnce(*lease) };
            self.give_way(*lease, *deadline, number, timer);
        }
    }

    /// A lease gives way, as the victim of that number.
    pub(crate) fn give_way(&mut self, lease: Id, deadline: Time, number: u64, timer: Timer) {
        let Some(record) = self.leases.get_mut(&lease) else { return };
        if record.victim().is_some() {
            return;
        }
        let pool = &mut self.pools[record.pool()];
        if let Some(key) = victim_key(&record.lease) {
            pool.nodes[record.leaf as usize].victims.remove(&key);
        }
        record.lease.set(|rare| (rare.victim, rare.deadline) = (Some(number), Some(deadline)));
        pool.claims.victims.insert(number, lease);
        pool.claims.book.choose(number);
        pool.mark(record.leaf);
        pool.add(record.leaf, record.ask(), -1, false, true, true);
        pool.count(record.leaf, 0, 0, 1);
        self.timers.insert((deadline, timer));
    }

    pub(crate) fn let_off(&mut self, lease: Id) {
        let Some(record) = self.leases.get_mut(&lease) else { return };
        let Some(number) = record.victim() else { return };
        if let Some(deadline) = record.lease.deadline() {
            self.timers.remove(&(deadline, Timer::Deadline(lease)));
            self.timers.remove(&(deadline, Timer::AtOnce(lease)));
        }
        record.lease.set(|rare| (rare.victim, rare.deadline) = (None, None));
        let pool = &mut self.pools[record.pool()];
        pool.claims.victims.remove(&number);
        pool.claims.book.lose(number);
        let (leaf, ask) = (record.leaf, record.ask());
        pool.write(|book, pool| book.put_back(pool, number, leaf, ask));
        pool.add(record.leaf, record.ask(), 1, false, true, true);
        pool.unmark(record.leaf);
        pool.count(record.leaf, 0, 0, -1);
        if let Some(key) = victim_key(&record.lease) {
            pool.nodes[record.leaf as usize].victims.insert(key);
        }
    }

    pub(crate) fn nodes_of(&self, at: PoolIndex, by: &[Guarantee]) -> Vec<(NodeId, Vec<Slot>)> {
        let pool = &self.pools[at];
        by.iter()
            .filter_map(|Guarantee { place, resources }| {
                let node = self.node_of(at, place)?;
                let slots = resources.iter().filter_map(|name| pool.slot(name.as_str())).collect();
                Some((node, slots))
            })
            .collect()
    }

    pub(crate) fn node_of(&self, at: PoolIndex, place: &Place) -> Option<NodeId> {
        if place.tenant.is_root() {
            return Some(ROOT);
        }
        let pool = &self.pools[at];
        let node = pool.of_tenant[*self.by_path.get(&place.tenant)? as usize]?;
        if !place.own {
            return Some(node);
        }
        pool.node(node).own_child()
    }
}

/// Adds a claim to a pool.
pub(crate) fn take_claim(pool: &mut PoolState, key: ClaimKey, claim: Claim) {
    pool.mark(claim.leaf);
    pool.add(claim.leaf, &claim.ask, 1, false, true, !key.borrower);
    count_claimed(pool, &claim, 1);
    pool.claims.order.insert(key, claim);
}

fn count_claimed(pool: &mut PoolState, claim: &Claim, sign: i32) {
    let path: Vec<NodeId> = pool.up(claim.leaf).collect();
    for node in path {
        let claimed = &mut pool.nodes[node as usize].claimed;
        for (slot, amount) in claim.ask.0.iter() {
            let count = claimed.entry((*slot, *amount)).or_insert(0);
            *count = count.wrapping_add_signed(sign);
            if *count == 0 {
                claimed.remove(&(*slot, *amount));
            }
        }
    }
}
