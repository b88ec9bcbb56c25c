//! What is posted: the only thing that changes a ledger, and cannot fail.

use std::sync::Arc;
use std::time::Duration;

use crate::amount::Amounts;
use crate::book::Book;
use crate::config::{Order, Tenant};
use crate::entry::{Entry, Guarantee, Place, Victim};
use crate::found::Found;
use crate::hold::Hold;
use crate::ledger::{
    BudgetState, ENDED_MAX, LeaseRecord, Ledger, PoolIndex, TenantIndex, TenantState, TicketRecord, Timer,
};
use crate::name::{Holder, TenantPath};
use crate::pool::{Ask, Leaf, NodeId, PoolState, ROOT, Set, Slot};
use crate::queue::{Shape, TicketKey};
use crate::rate::RateState;
use crate::reclaim::{Claim, ClaimKey};
use crate::request::{End, Ended, Id, Lease, ReasonCode, Request, Ticket};
use crate::requests::{RequestKey, TenantSerial};
use crate::time::Time;
use crate::tree::Ground;
use crate::victims::victim_key;

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
                let deadline = self.leases.get(id).and_then(|record| record.lease.deadline);
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
    fn is_wary(&self, at: PoolIndex, claim: &Claim) -> bool {
        let pool = self.pool_at(at);
        let node = pool.node(claim.leaf);
        let borrows = self.tickets.get(&claim.ticket).is_some_and(|record| record.shape.borrow);
        node.budgeted || node.rated || node.bounded || pool.spec.order == Order::Strict || !borrows
    }

    /// Forgets what ended long ago: a little whenever something ends, so that after an idle hour nobody waits for all of it
    /// to go.
    fn forget(&mut self, now: Time) {
        for _ in 0..FORGOTTEN_AT_ONCE {
            let Some((at, id, key)) = self.endings.front().copied() else { break };
            if at.after(self.settings.remember) > now && self.endings.len() <= ENDED_MAX {
                break;
            }
            self.endings.pop_front();
            self.ended.remove(&id);
            self.requests.remove(key, id);
        }
    }

    // Requests.

    fn admit_new(
        &mut self,
        now: Time,
        id: Id,
        request: &Arc<Request>,
        count: u32,
        observed: Option<ReasonCode>,
        found: Found,
    ) {
        let Some((pool, leaf, key)) = self.found_again(found, request).or_else(|| self.take_place(request)) else {
            return;
        };
        self.next_id = self.next_id.max(id.0 + 1);
        let resources = self.with_implied(pool, &request.resources);
        let ask = self.pools[pool].name_resources(&resources, count);
        let confirmed = (!request.provisional).then_some(now);
        let lease = Lease {
            id,
            request: Arc::clone(request),
            resources,
            count,
            arrived: now,
            admitted: now,
            confirmed,
            holder: request.holder.clone(),
            expires: Time::NEVER,
            deadline: None,
            observed,
        };
        self.enter(pool, leaf, request, key, id);
        self.grant(now, pool, leaf, lease, ask);
    }

    fn queue_new(&mut self, now: Time, id: Id, request: &Arc<Request>) {
        let Some((pool, leaf, known)) = self.take_place(request) else { return };
        self.next_id = self.next_id.max(id.0 + 1);
        let resources = self.with_implied(pool, &request.resources);
        let ask = self.pools[pool].name_resources(&resources, request.min_count);
        let key = TicketKey::new(now, request.priority, self.pools[pool].spec.age_step, id);
        let ticket = Ticket {
            id,
            request: Arc::clone(request),
            resources,
            arrived: now,
            holder: request.holder.clone(),
            heard: now,
            silent: false,
        };
        self.enter(pool, leaf, request, known, id);
        self.pools[pool].fresh = Some((id, now));
        let shape = Shape { ask, borrow: request.borrow };
        self.take_ticket(TicketRecord { ticket, pool, leaf, shape, key, claim: None, hold: None, turned: None });
    }

    /// Puts a ticket into its queue, and counts it.
    pub(crate) fn take_ticket(&mut self, record: TicketRecord) {
        let (id, arrived) = (record.ticket.id, record.ticket.arrived);
        self.wait_for_rates(record.pool, record.leaf, &record.shape.ask, true);
        let pool = &mut self.pools[record.pool];
        pool.count(record.leaf, 0, 1, 0);
        pool.count_awaited(&record.shape.ask, &record.ticket.request, 1);
        pool.arrivals.insert((arrived, id));
        let (queue, shapes) = pool.queue_of(record.leaf);
        queue.len += 1;
        if !record.ticket.silent {
            queue.order.insert(record.key);
            queue.open(shapes, &record.shape, record.key, record.waits());
        }
        self.pools[record.pool].pass_queue(record.leaf);
        for (at, timer) in ticket_timers(&self.pools[record.pool], &record.ticket) {
            self.timers.insert((at, timer));
        }
        self.tickets.insert(id, record);
    }

    /// Takes a ticket out of its queue, with its claim and its hold.
    fn leave_ticket(&mut self, id: Id) -> Option<TicketRecord> {
        // What ends mostly is a lease.
        if !self.tickets.contains_key(&id) {
            return None;
        }
        self.lose_hold(id);
        self.drop_claim(id, false);
        let record = self.tickets.remove(&id)?;
        for (at, timer) in ticket_timers(&self.pools[record.pool], &record.ticket) {
            self.timers.remove(&(at, timer));
        }
        self.wait_for_rates(record.pool, record.leaf, &record.shape.ask, false);
        let pool = &mut self.pools[record.pool];
        pool.count(record.leaf, 0, -1, 0);
        pool.count_awaited(&record.shape.ask, &record.ticket.request, -1);
        pool.arrivals.remove(&(record.ticket.arrived, id));
        let (queue, shapes) = pool.queue_of(record.leaf);
        queue.len -= 1;
        queue.order.remove(&record.key);
        queue.shut(shapes, &record.shape, record.key, record.waits());
        pool.pass_queue(record.leaf);
        Some(record)
    }

    fn dispatch(&mut self, now: Time, id: Id, count: u32) {
        let Some(record) = self.leave_ticket(id) else { return };
        let Ticket { id, request, resources, arrived, holder, .. } = record.ticket;
        let lease = Lease {
            id,
            request,
            resources,
            count,
            arrived,
            admitted: now,
            confirmed: None,
            holder,
            expires: Time::NEVER,
            deadline: None,
            observed: None,
        };
        let ask = self.pools[record.pool].ask_of(&lease.resources, count);
        self.grant(now, record.pool, record.leaf, lease, ask);
    }

    /// Counts a new lease, and charges it.
    fn grant(&mut self, now: Time, pool: PoolIndex, leaf: NodeId, mut lease: Lease, ask: Ask) {
        lease.expires = expiry(&self.pools[pool], &lease, now);
        self.charge(pool, leaf, &ask);
        self.take_rates(now, pool, leaf, &ask);
        self.pools[pool].pass_averages(leaf, &ask, now);
        let charged = self.pools[pool].node(leaf).budgeted.then(|| self.total(pool, &ask));
        self.take_lease(LeaseRecord { lease, pool, leaf, ask, charged, victim: None });
        self.pools[pool].pass_bursts(leaf, now);
    }

    /// Counts a lease.
    pub(crate) fn take_lease(&mut self, record: LeaseRecord) {
        let id = record.lease.id;
        let pool = &mut self.pools[record.pool];
        pool.count_lease(record.leaf, &record.ask, 1);
        if let Some(key) = victim_key(&record.lease) {
            pool.nodes[record.leaf as usize].victims.insert(key);
        }
        if !pool.spec.min_runtime.is_zero() {
            pool.admissions.insert((record.lease.admitted, id));
        }
        if let Some(length) = record.lease.request.expected_duration {
            pool.declared.0 += 1;
            pool.declared.1 += length.as_nanos();
        }
        if record.lease.expires != Time::NEVER {
            self.timers.insert((record.lease.expires, Timer::LeaseEnd(id)));
        }
        self.leases.insert(id, record);
    }

    fn confirm_lease(&mut self, now: Time, id: Id) {
        let Some(record) = self.leases.get_mut(&id) else { return };
        record.lease.confirmed = record.lease.confirmed.or(Some(now));
        self.prolong(now, id);
    }

    /// Gives a lease its whole time to live again.
    fn prolong(&mut self, now: Time, id: Id) {
        let Some(record) = self.leases.get_mut(&id) else { return };
        let expires = expiry(&self.pools[record.pool], &record.lease, now);
        if expires != record.lease.expires {
            self.timers.remove(&(record.lease.expires, Timer::LeaseEnd(id)));
            record.lease.expires = expires;
            if expires != Time::NEVER {
                self.timers.insert((expires, Timer::LeaseEnd(id)));
            }
        }
    }

    fn hear(&mut self, now: Time, id: Id, holder: Option<&Holder>) {
        if let Some(record) = self.leases.get_mut(&id) {
            record.lease.confirmed = record.lease.confirmed.or(Some(now));
            if let Some(holder) = holder
                && record.lease.holder.as_ref() != Some(holder)
            {
                let old = record.lease.holder.replace(holder.clone());
                self.hand_over(id, old.as_ref(), holder);
            }
            self.prolong(now, id);
            return;
        }
        let Some(record) = self.tickets.get_mut(&id) else { return };
        let pool = &mut self.pools[record.pool];
        let old_timers = ticket_timers(pool, &record.ticket);
        record.ticket.heard = now;
        if record.ticket.silent {
            record.ticket.silent = false;
            let (queue, shapes) = pool.queue_of(record.leaf);
            queue.order.insert(record.key);
            queue.open(shapes, &record.shape, record.key, record.waits());
            pool.pass_queue(record.leaf);
        }
        let new_timers = ticket_timers(pool, &record.ticket);
        for (at, timer) in old_timers {
            self.timers.remove(&(at, timer));
        }
        for (at, timer) in new_timers {
            self.timers.insert((at, timer));
        }
        if let Some(holder) = holder
            && record.ticket.holder.as_ref() != Some(holder)
        {
            let old = record.ticket.holder.replace(holder.clone());
            self.hand_over(id, old.as_ref(), holder);
        }
    }

    /// Its hold and its claim are judged with the others', when the pool comes to rest: nobody slips in between.
    fn silence(&mut self, id: Id) {
        let Some(record) = self.tickets.get_mut(&id) else { return };
        let pool = &mut self.pools[record.pool];
        for (at, timer) in ticket_timers(pool, &record.ticket) {
            self.timers.remove(&(at, timer));
        }
        record.ticket.silent = true;
        if let Some(claim) = record.claim {
            pool.claims.book.beware(claim);
        }
        let (queue, shapes) = pool.queue_of(record.leaf);
        queue.order.remove(&record.key);
        queue.shut(shapes, &record.shape, record.key, record.waits());
        pool.pass_queue(record.leaf);
        for (at, timer) in ticket_timers(pool, &record.ticket) {
            self.timers.insert((at, timer));
        }
    }

    fn resize(&mut self, now: Time, id: Id, resources: &Amounts, observed: Option<ReasonCode>) {
        let Some(record) = self.leases.get(&id) else { return };
        let (at, leaf, count, old, victim) =
            (record.pool, record.leaf, record.lease.count, record.ask.clone(), record.victim);
        let ask = self.pools[at].name_resources(resources, count);
        let more = Ask(ask
            .0
            .iter()
            .map(|(slot, amount)| (*slot, amount - old.of(*slot)))
            .filter(|(_, more)| *more > 0)
            .collect());
        self.charge(at, leaf, &more);
        self.take_rates(now, at, leaf, &more);
        let more = self.total(at, &more);
        let pool = &mut self.pools[at];
        pool.pass_averages(leaf, &old, now);
        pool.pass_averages(leaf, &ask, now);
        // A lease that gives way is gone from the plans already.
        let planned = victim.is_none();
        pool.add(leaf, &old, -1, true, planned, planned);
        pool.add(leaf, &ask, 1, true, planned, planned);
        if let Some(number) = victim {
            // It gives back so much less.
            let slots = old.0.iter().map(|(slot, amount)| (*slot, amount - ask.of(*slot)));
            let less = Ask(slots.filter(|(_, less)| *less != 0).collect());
            pool.write(|book, pool| book.put_back(pool, number, leaf, &less));
            pool.claims.book.lose(number);
            pool.claims.book.choose(number);
        }
        pool.pass_bursts(leaf, now);
        let Some(record) = self.leases.get_mut(&id) else { return };
        record.ask = ask;
        record.lease.resources = resources.clone();
        if observed.is_some() && record.lease.observed.is_none() {
            if let Some(key) = victim_key(&record.lease) {
                self.pools[at].nodes[leaf as usize].victims.remove(&key);
            }
            record.lease.observed = observed;
        }
        if let Some(charged) = &mut record.charged {
            let added = more.iter().filter(|(name, _)| charged.get(name.as_str()).is_none());
            let summed = charged
                .iter()
                .map(|(name, amount)| (name.clone(), amount + more.get(name.as_str()).unwrap_or(0)))
                .chain(added.map(|(name, amount)| (name.clone(), amount)))
                .collect();
            *charged = Amounts::merged(summed);
        }
        self.pools[at].unname_resources(&old);
    }

    fn end(&mut self, now: Time, id: Id, end: End) {
        let (request, holder, tenant, admitted) = if let Some(record) = self.leave_ticket(id) {
            self.pools[record.pool].unname_resources(&record.shape.ask);
            self.leave_tenants(now, record.pool, record.leaf);
            let serial = self.pools[record.pool].node(record.leaf).serial;
            (record.ticket.request, record.ticket.holder, serial, false)
        } else if let Some(record) = self.leave_lease(now, id) {
            let serial = self.pools[record.pool].node(record.leaf).serial;
            (record.lease.request, record.lease.holder, serial, true)
        } else {
            return;
        };
        if let Some(holder) = &holder {
            self.leave_holder(id, holder);
        }
        self.endings.push_back((now, id, RequestKey::of(tenant, request.id.as_str())));
        self.ended.insert(id, Ended { id, request, end, admitted, at: now });
        self.forget(now);
    }

    fn leave_lease(&mut self, now: Time, id: Id) -> Option<LeaseRecord> {
        let record = self.leases.remove(&id)?;
        let LeaseRecord { lease, pool: at, leaf, ask, .. } = &record;
        self.timers.remove(&(lease.expires, Timer::LeaseEnd(id)));
        let pool = &mut self.pools[*at];
        pool.pass_averages(*leaf, ask, now);
        if let Some(number) = record.victim {
            pool.add(*leaf, ask, -1, true, false, false);
            pool.count(*leaf, -1, 0, -1);
            pool.claims.victims.remove(&number);
            pool.claims.book.lose(number);
            pool.write(|book, pool| book.put_back(pool, number, *leaf, ask));
            pool.unmark(*leaf);
            if let Some(deadline) = lease.deadline {
                self.timers.remove(&(deadline, Timer::Deadline(id)));
                self.timers.remove(&(deadline, Timer::AtOnce(id)));
            }
        } else {
            pool.count_lease(*leaf, ask, -1);
        }
        if let Some(key) = victim_key(lease) {
            pool.nodes[*leaf as usize].victims.remove(&key);
        }
        pool.admissions.remove(&(lease.admitted, id));
        if let Some(length) = lease.request.expected_duration {
            pool.declared.0 -= 1;
            pool.declared.1 -= length.as_nanos();
        }
        let length = crate::time::nanos_of(now.since(lease.admitted));
        pool.observed_length = Some(pool.observed_length.map_or(length, |mean| mean - mean / 16 + length / 16));
        pool.pass_bursts(*leaf, now);
        if lease.confirmed.is_none()
            && let Some(charged) = &record.charged
        {
            self.refund(*at, *leaf, charged, lease.admitted);
        }
        self.pools[*at].unname_resources(ask);
        self.leave_tenants(now, *at, *leaf);
        Some(record)
    }

    // Claims.

    /// A ticket claims. A hold that it has is judged with the others', when the pool comes to rest: a claim that is
    /// dropped in the same instant is no break in its turn.
    fn claim(&mut self, now: Time, id: Id, owner: bool, by: &[Guarantee], victims: &[Victim]) {
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

    fn extend_claim(&mut self, now: Time, id: Id, by: &[Guarantee], victims: &[Victim]) {
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
    fn drop_claim(&mut self, id: Id, open: bool) {
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
        if record.victim.is_some() {
            return;
        }
        let pool = &mut self.pools[record.pool];
        if let Some(key) = victim_key(&record.lease) {
            pool.nodes[record.leaf as usize].victims.remove(&key);
        }
        record.victim = Some(number);
        record.lease.deadline = Some(deadline);
        pool.claims.victims.insert(number, lease);
        pool.claims.book.choose(number);
        pool.mark(record.leaf);
        pool.add(record.leaf, &record.ask, -1, false, true, true);
        pool.count(record.leaf, 0, 0, 1);
        self.timers.insert((deadline, timer));
    }

    fn let_off(&mut self, lease: Id) {
        let Some(record) = self.leases.get_mut(&lease) else { return };
        let Some(number) = record.victim.take() else { return };
        if let Some(deadline) = record.lease.deadline.take() {
            self.timers.remove(&(deadline, Timer::Deadline(lease)));
            self.timers.remove(&(deadline, Timer::AtOnce(lease)));
        }
        let pool = &mut self.pools[record.pool];
        pool.claims.victims.remove(&number);
        pool.claims.book.lose(number);
        let (leaf, ask) = (record.leaf, &record.ask);
        pool.write(|book, pool| book.put_back(pool, number, leaf, ask));
        pool.add(record.leaf, &record.ask, 1, false, true, true);
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

    // Holds.

    fn hold(&mut self, now: Time, id: Id, place: &Place) {
        let Some(at) = self.tickets.get(&id).map(|record| record.pool) else { return };
        let Some(node) = self.node_of(at, place) else { return };
        let Some(record) = self.tickets.get_mut(&id) else { return };
        let waits = record.waits();
        record.hold = Some(node);
        let pool = &mut self.pools[at];
        pool.set_hold(node, Some(Hold { ticket: id, since: now, waits }));
    }

    /// A hold's turn is over: its ticket goes to the back.
    fn turn(&mut self, now: Time, id: Id) {
        let Some(record) = self.tickets.get_mut(&id) else { return };
        let open = record.claim.is_none() && !record.ticket.silent;
        let (queue, shapes) = self.pools[record.pool].queue_of(record.leaf);
        queue.shut(shapes, &record.shape, record.key, record.waits());
        record.turned = Some(now);
        if open {
            queue.open(shapes, &record.shape, record.key, record.waits());
        }
        self.pools[record.pool].pass_queue(record.leaf);
    }

    fn lose_hold(&mut self, id: Id) -> Option<NodeId> {
        let record = self.tickets.get_mut(&id)?;
        let node = record.hold.take()?;
        let pool = &mut self.pools[record.pool];
        pool.set_hold(node, None);
        Some(node)
    }

    // Budgets.

    fn charge(&mut self, at: PoolIndex, leaf: NodeId, ask: &Ask) {
        if !self.pools[at].node(leaf).budgeted {
            return;
        }
        let mut charges = Vec::new();
        self.each_budget(at, leaf, ask, |_, index, number, _, amount| charges.push((index, number, amount)));
        for (index, number, amount) in charges {
            if let Some(tenant) = &mut self.tenants[index as usize] {
                let budget = &mut tenant.budgets[number];
                budget.used = budget.used.saturating_add(amount);
            }
        }
    }

    /// Gives back what was charged in the running period, to a lease that was never confirmed.
    fn refund(&mut self, at: PoolIndex, leaf: NodeId, charged: &Amounts, admitted: Time) {
        let charged = &self.pools[at].ask_of(charged, 1);
        let mut refunds = Vec::new();
        self.each_budget(at, leaf, charged, |_, index, number, budget, amount| {
            if admitted >= budget.started {
                refunds.push((index, number, amount));
            }
        });
        for (index, number, amount) in refunds {
            if let Some(tenant) = &mut self.tenants[index as usize] {
                let budget = &mut tenant.budgets[number];
                budget.used = budget.used.saturating_sub(amount);
            }
        }
    }

    fn turn_budget(&mut self, tenant: &TenantPath, name: &str, started: Time, ends: Time) {
        let Some(index) = self.by_path.get(tenant).copied() else { return };
        let Some(tenant) = &mut self.tenants[index as usize] else { return };
        let Some(number) = tenant.budgets.iter().position(|budget| budget.spec.name.as_str() == name) else { return };
        let budget = &mut tenant.budgets[number];
        self.timers.remove(&(budget.ends, Timer::BudgetTurn(index, number as u32)));
        (budget.used, budget.started, budget.ends) = (0, started, ends);
        self.timers.insert((ends, Timer::BudgetTurn(index, number as u32)));
    }

    /// What an ask names, by name.
    fn total(&self, at: PoolIndex, ask: &Ask) -> Amounts {
        let pool = &self.pools[at];
        Amounts::merged(
            ask.0
                .iter()
                .filter_map(|(slot, amount)| Some((pool.known(*slot)?.name.clone(), amount.unsigned_abs())))
                .collect(),
        )
    }

    // Tenants, holders and names.

    /// Where a request goes, and what it is known by; makes the member it is of.
    fn take_place(&mut self, request: &Request) -> Option<(PoolIndex, NodeId, RequestKey)> {
        let pool = self.pool_index(request.pool.as_str())?;
        let mut leaf = self.leaf(pool, &request.tenant).ok()?;
        if leaf.unmade.is_some() {
            self.make_member(&request.tenant)?;
            leaf = self.leaf(pool, &request.tenant).ok()?;
        }
        let serial = self.pools[pool].node(leaf.node).serial;
        Some((pool, leaf.node, RequestKey::of(serial, request.id.as_str())))
    }

    /// A request comes under its tenant and its holder.
    fn enter(&mut self, at: PoolIndex, leaf: NodeId, request: &Request, key: RequestKey, id: Id) {
        if let Some(holder) = &request.holder {
            self.holders.entry(holder.clone()).or_default().insert(id);
        }
        let node = self.pools[at].node(leaf);
        let (index, made) = (node.tenant, node.made);
        self.requests.insert(key, id);
        let mut next = index.filter(|_| made);
        while let Some(index) = next {
            let Some(tenant) = &mut self.tenants[index as usize] else { break };
            next = tenant.parent;
            if let Some(idle) = tenant.idle.take() {
                let keep = tenant.parent.and_then(|parent| self.member_keep(parent)).unwrap_or_default();
                self.timers.remove(&(idle.after(keep), Timer::MemberEnd(index)));
            }
        }
    }

    fn hand_over(&mut self, id: Id, old: Option<&Holder>, new: &Holder) {
        if let Some(old) = old {
            self.leave_holder(id, old);
        }
        self.holders.entry(new.clone()).or_default().insert(id);
    }

    fn leave_holder(&mut self, id: Id, holder: &Holder) {
        if let Some(held) = self.holders.get_mut(holder) {
            held.remove(&id);
            if held.is_empty() {
                self.holders.remove(holder);
            }
        }
    }

    /// A lease or a ticket left: a member that holds nothing any more goes after a while.
    fn leave_tenants(&mut self, now: Time, at: PoolIndex, leaf: NodeId) {
        let node = self.pools[at].node(leaf);
        let mut next = node.tenant.filter(|_| node.made);
        while let Some(index) = next {
            let idle = self.holding(index) == 0;
            let Some(tenant) = &mut self.tenants[index as usize] else { break };
            next = tenant.parent;
            if tenant.made && idle {
                tenant.idle = Some(now);
                let keep = next.and_then(|parent| self.member_keep(parent)).unwrap_or_default();
                self.timers.insert((now.after(keep), Timer::MemberEnd(index)));
            }
        }
    }

    /// Leases and tickets of a tenant's subtree, in every pool.
    pub(crate) fn holding(&self, index: TenantIndex) -> u64 {
        let nodes = self.pools.iter().filter_map(|pool| Some(pool.node((*pool.of_tenant.get(index as usize)?)?)));
        nodes.map(|node| node.running + node.waiting).sum()
    }

    pub(crate) fn member_keep(&self, parent: TenantIndex) -> Option<Duration> {
        self.tenant_at(parent)?.spec.members.as_ref().map(|members| members.keep)
    }

    pub(crate) fn make_member(&mut self, path: &TenantPath) -> Option<()> {
        let parent = self.tenant_index(path.parent()?.as_str())?;
        let members = self.tenant_at(parent)?.spec.members.clone()?;
        let mut spec = Tenant::new(path.clone());
        spec.kind = members.kind;
        spec.source = self.tenant_at(parent)?.spec.source;
        spec.rates = members.rates;
        if let Some(class) = members.class {
            let quota = crate::config::Quota { class: Some(class), ..Default::default() };
            spec.quotas = self.pools.iter().map(|pool| (pool.spec.name.clone(), quota.clone())).collect();
        }
        let says = !spec.quotas.is_empty();
        let index = self.insert_tenant(spec, true);
        let order = [];
        let Self { settings, classes, tenants, pools, .. } = self;
        let ground = Ground { settings, classes, tenants, order: &order };
        for pool in pools {
            let Some(above) = pool.of_tenant.get(parent as usize).copied().flatten() else { continue };
            let node = ground.plant(pool, index);
            // Of one that says nothing its sisters have what they had.
            if says { ground.level(pool, above) } else { pool.rebase_path(node) }
        }
        Some(())
    }

    /// Adds a tenant to the table.
    pub(crate) fn insert_tenant(&mut self, spec: Tenant, made: bool) -> TenantIndex {
        let parent = spec.path.parent().and_then(|path| self.tenant_index(path.as_str()));
        let path = spec.path.clone();
        let budgets = spec
            .budgets
            .iter()
            .map(|spec| BudgetState { spec: spec.clone(), used: 0, started: Time::EPOCH, ends: Time::EPOCH })
            .collect();
        let rates = spec.rates.iter().cloned().map(RateState::new).collect();
        let state = TenantState {
            spec,
            parent,
            children: 0,
            members: 0,
            made,
            budgets,
            rates,
            serial: TenantSerial(self.next_serial),
            idle: None,
            revision: self.posted,
        };
        let free =
            if self.by_path.len() < self.tenants.len() { self.tenants.iter().position(Option::is_none) } else { None };
        self.next_serial += 1;
        let index = match free {
            Some(free) => {
                self.tenants[free] = Some(state);
                free as TenantIndex
            }
            None => {
                self.tenants.push(Some(state));
                (self.tenants.len() - 1) as TenantIndex
            }
        };
        if let Some(parent) = parent.and_then(|parent| self.tenants[parent as usize].as_mut()) {
            parent.children += 1;
            parent.members += u32::from(made);
        }
        self.by_path.insert(path, index);
        index
    }

    fn remove_member(&mut self, path: &TenantPath) {
        let Some(index) = self.by_path.get(path).copied() else { return };
        let Some(state) = self.tenants[index as usize].take() else { return };
        self.by_path.remove(path);
        if let (Some(idle), Some(parent)) = (state.idle, state.parent) {
            let keep = self.member_keep(parent).unwrap_or_default();
            self.timers.remove(&(idle.after(keep), Timer::MemberEnd(index)));
        }
        if let Some(parent) = state.parent.and_then(|parent| self.tenants[parent as usize].as_mut()) {
            parent.children -= 1;
            parent.members -= u32::from(state.made);
        }
        let order = [];
        let Self { settings, classes, tenants, pools, .. } = self;
        let ground = Ground { settings, classes, tenants, order: &order };
        for pool in pools {
            let Some(node) = pool.of_tenant.get_mut(index as usize).and_then(Option::take) else { continue };
            let parent = pool.node(node).parent;
            pool.pass_layout(node, false);
            for slot in 0..pool.known.len() as Slot {
                pool.set_level(node, slot, 0, 0, 0);
            }
            pool.nodes[parent as usize].children.retain(|child| *child != node);
            pool.bursting.remove(&node);
            pool.burst_ends.retain(|(_, other)| *other != node);
            pool.spare.push(node);
            if state.spec.quotas.is_empty() { pool.rebase_path(parent) } else { ground.level(pool, parent) }
        }
    }

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

/// When a lease ends unless its holder is heard.
fn expiry(pool: &PoolState, lease: &Lease, now: Time) -> Time {
    let ttl = lease.request.ttl.unwrap_or(pool.spec.lease_ttl);
    let span = match lease.confirmed {
        None if !pool.spec.confirm_within.is_zero() => pool.spec.confirm_within,
        _ => ttl,
    };
    if span.is_zero() { Time::NEVER } else { now.after(span) }
}

/// What waits for a ticket.
pub(crate) fn ticket_timers(pool: &PoolState, ticket: &Ticket) -> Vec<(Time, Timer)> {
    let mut timers = Vec::new();
    if !pool.spec.max_wait.is_zero() {
        timers.push((ticket.arrived.after(pool.spec.max_wait), Timer::TicketEnd(ticket.id)));
    }
    let ttl = pool.spec.ticket_ttl;
    if !ttl.is_zero() {
        timers.push(if ticket.silent {
            (ticket.heard.after(ttl * 10), Timer::SilentEnd(ticket.id))
        } else {
            (ticket.heard.after(ttl), Timer::Silence(ticket.id))
        });
    }
    timers
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
        assert_eq!((ledger.ended.values().count(), ledger.endings.len()), (11, 11));
    }
}
