//! What becomes of a lease: it is counted, heard of, made larger or smaller, and ends.

use std::sync::Arc;

use crate::amount::Amounts;
use crate::ask::Ask;
use crate::ended::EndedRecord;
use crate::found::Found;
use crate::granted::Lease;
use crate::ledger::{LeaseRecord, Ledger, PoolIndex, Timer};
use crate::name::Holder;
use crate::pool::{NodeId, PoolState};
use crate::request::{End, Ended, Id, ReasonCode, Request, Ticket};
use crate::ticket::ticket_timers;
use crate::time::Time;
use crate::victims::victim_key;

impl Ledger {
    pub(crate) fn admit_new(
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
        let held = self.pools[pool].hold_resources(&resources, count);
        let mut lease = Lease::new(id, Arc::clone(request), held, now, now);
        if !request.provisional {
            lease.confirm(now);
        }
        if observed.is_some() {
            lease.set(|rare| rare.observed = observed);
        }
        self.enter(pool, leaf, request, key, id);
        self.grant(now, pool, leaf, lease);
    }

    pub(crate) fn dispatch(&mut self, now: Time, id: Id, count: u32) {
        let Some(record) = self.leave_ticket(id) else { return };
        let Ticket { id, request, resources, arrived, holder, .. } = record.ticket;
        // They were named when it was queued.
        let held = self.pools[record.pool].held(&resources, count);
        let mut lease = Lease::new(id, request, held, arrived, now);
        lease.hand_over(holder);
        self.grant(now, record.pool, record.leaf, lease);
    }

    /// Counts a new lease, and charges it.
    pub(crate) fn grant(&mut self, now: Time, pool: PoolIndex, leaf: NodeId, mut lease: Lease) {
        lease.expires = expiry(&self.pools[pool], &lease, now);
        let ask = &lease.held.ask;
        self.charge(pool, leaf, ask);
        self.take_rates(now, pool, leaf, ask);
        self.pools[pool].pass_averages(leaf, ask, now);
        let charged = self.pools[pool].node(leaf).budgeted;
        self.take_lease(LeaseRecord::new(lease, pool, leaf, charged));
        self.pools[pool].pass_bursts(leaf, now);
    }

    /// Counts a lease.
    pub(crate) fn take_lease(&mut self, record: LeaseRecord) {
        let id = record.lease.id;
        let pool = &mut self.pools[record.pool()];
        pool.count_lease(record.leaf, record.ask(), 1);
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

    pub(crate) fn confirm_lease(&mut self, now: Time, id: Id) {
        let Some(record) = self.leases.get_mut(&id) else { return };
        record.lease.confirm(now);
        self.prolong(now, id);
    }

    /// Gives a lease its whole time to live again.
    pub(crate) fn prolong(&mut self, now: Time, id: Id) {
        let Some(record) = self.leases.get_mut(&id) else { return };
        let expires = expiry(&self.pools[record.pool()], &record.lease, now);
        if expires != record.lease.expires {
            self.timers.remove(&(record.lease.expires, Timer::LeaseEnd(id)));
            record.lease.expires = expires;
            if expires != Time::NEVER {
                self.timers.insert((expires, Timer::LeaseEnd(id)));
            }
        }
    }

    pub(crate) fn hear(&mut self, now: Time, id: Id, holder: Option<&Holder>) {
        if let Some(record) = self.leases.get_mut(&id) {
            record.lease.confirm(now);
            if let Some(holder) = holder
                && record.lease.holder() != Some(holder)
            {
                let old = record.lease.holder().cloned();
                record.lease.hand_over(Some(holder.clone()));
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

    pub(crate) fn resize(&mut self, now: Time, id: Id, resources: &Amounts, observed: Option<ReasonCode>) {
        let Some(record) = self.leases.get(&id) else { return };
        let (at, leaf, count, old, victim) =
            (record.pool(), record.leaf, record.lease.count(), record.ask().clone(), record.victim());
        let before = self.charged(record);
        let held = self.pools[at].hold_resources(resources, count);
        let ask = &held.ask;
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
        pool.pass_averages(leaf, ask, now);
        // A lease that gives way is gone from the plans already.
        let planned = victim.is_none();
        pool.add(leaf, &old, -1, true, planned, planned);
        pool.add(leaf, ask, 1, true, planned, planned);
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
        record.lease.held = held;
        if observed.is_some() && record.lease.observed().is_none() {
            if let Some(key) = victim_key(&record.lease) {
                self.pools[at].nodes[leaf as usize].victims.remove(&key);
            }
            record.lease.set(|rare| rare.observed = observed);
        }
        if let Some(charged) = before {
            let added = more.iter().filter(|(name, _)| charged.get(name.as_str()).is_none());
            let summed = charged
                .iter()
                .map(|(name, amount)| (name.clone(), amount + more.get(name.as_str()).unwrap_or(0)))
                .chain(added.map(|(name, amount)| (name.clone(), amount)))
                .collect();
            record.lease.set(|rare| rare.charged = Some(Amounts::merged(summed)));
        }
        self.pools[at].unname_resources(&old);
    }

    pub(crate) fn end(&mut self, now: Time, id: Id, end: End) {
        let (request, holder, tenant, admitted) = if let Some(record) = self.leave_ticket(id) {
            self.pools[record.pool].unname_resources(&record.shape.ask);
            self.leave_tenants(now, record.pool, record.leaf);
            let serial = self.pools[record.pool].node(record.leaf).serial;
            (record.ticket.request, record.ticket.holder, serial, false)
        } else if let Some(record) = self.leave_lease(now, id) {
            let serial = self.pools[record.pool()].node(record.leaf).serial;
            let holder = record.lease.holder().cloned();
            (record.lease.request, holder, serial, true)
        } else {
            return;
        };
        if let Some(holder) = &holder {
            self.leave_holder(id, holder);
        }
        self.endings.push(EndedRecord::new(Ended { id, request, end, admitted, at: now }, tenant));
        self.forget(now);
    }

    pub(crate) fn leave_lease(&mut self, now: Time, id: Id) -> Option<LeaseRecord> {
        let record = self.leases.remove(&id)?;
        let (lease, at, leaf, ask) = (&record.lease, record.pool(), record.leaf, record.ask());
        self.timers.remove(&(lease.expires, Timer::LeaseEnd(id)));
        let pool = &mut self.pools[at];
        pool.pass_averages(leaf, ask, now);
        if let Some(number) = record.victim() {
            pool.add(leaf, ask, -1, true, false, false);
            pool.count(leaf, -1, 0, -1);
            pool.claims.victims.remove(&number);
            pool.claims.book.lose(number);
            pool.write(|book, pool| book.put_back(pool, number, leaf, ask));
            pool.unmark(leaf);
            if let Some(deadline) = lease.deadline() {
                self.timers.remove(&(deadline, Timer::Deadline(id)));
                self.timers.remove(&(deadline, Timer::AtOnce(id)));
            }
        } else {
            pool.count_lease(leaf, ask, -1);
        }
        if let Some(key) = victim_key(lease) {
            pool.nodes[leaf as usize].victims.remove(&key);
        }
        pool.admissions.remove(&(lease.admitted, id));
        if let Some(length) = lease.request.expected_duration {
            pool.declared.0 -= 1;
            pool.declared.1 -= length.as_nanos();
        }
        let length = crate::time::nanos_of(now.since(lease.admitted));
        pool.observed_length = Some(pool.observed_length.map_or(length, |mean| mean - mean / 16 + length / 16));
        pool.pass_bursts(leaf, now);
        if lease.confirmed().is_none()
            && let Some(charged) = self.charged(&record)
        {
            self.refund(at, leaf, &charged, lease.admitted);
        }
        self.pools[at].unname_resources(ask);
        self.leave_tenants(now, at, leaf);
        Some(record)
    }
}

impl Ledger {
    /// What was charged for a lease, where a budget was.
    pub(crate) fn charged(&self, record: &LeaseRecord) -> Option<Amounts> {
        let apart = || record.lease.rare().and_then(|rare| rare.charged.clone());
        record.charged.then(|| apart().unwrap_or_else(|| self.total(record.pool(), record.ask())))
    }
}

/// When a lease ends unless its holder is heard.
fn expiry(pool: &PoolState, lease: &Lease, now: Time) -> Time {
    let ttl = lease.request.ttl.unwrap_or(pool.spec.lease_ttl);
    let span = match lease.confirmed() {
        None if !pool.spec.confirm_within.is_zero() => pool.spec.confirm_within,
        _ => ttl,
    };
    if span.is_zero() { Time::NEVER } else { now.after(span) }
}
