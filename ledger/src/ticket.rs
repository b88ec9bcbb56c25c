//! What becomes of a ticket: it is put into its queue and taken out, passed over, and has its turns of a hold.

use std::sync::Arc;

use crate::entry::Place;
use crate::hold::Hold;
use crate::ledger::{Ledger, TicketRecord, Timer};
use crate::pool::{NodeId, PoolState};
use crate::queue::{Shape, TicketKey};
use crate::request::{Id, Request, Ticket};
use crate::time::Time;

impl Ledger {
    pub(crate) fn queue_new(&mut self, now: Time, id: Id, request: &Arc<Request>) {
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
    pub(crate) fn leave_ticket(&mut self, id: Id) -> Option<TicketRecord> {
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

    /// Its hold and its claim are judged with the others', when the pool comes to rest: nobody slips in between.
    pub(crate) fn silence(&mut self, id: Id) {
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

    pub(crate) fn hold(&mut self, now: Time, id: Id, place: &Place) {
        let Some(at) = self.tickets.get(&id).map(|record| record.pool) else { return };
        let Some(node) = self.node_of(at, place) else { return };
        let Some(record) = self.tickets.get_mut(&id) else { return };
        let waits = record.waits();
        record.hold = Some(node);
        let pool = &mut self.pools[at];
        pool.set_hold(node, Some(Hold { ticket: id, since: now, waits }));
    }

    /// A hold's turn is over: its ticket goes to the back.
    pub(crate) fn turn(&mut self, now: Time, id: Id) {
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

    pub(crate) fn lose_hold(&mut self, id: Id) -> Option<NodeId> {
        let record = self.tickets.get_mut(&id)?;
        let node = record.hold.take()?;
        let pool = &mut self.pools[record.pool];
        pool.set_hold(node, None);
        Some(node)
    }
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
