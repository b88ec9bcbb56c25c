//! What time alone does.

use super::config::Time;
use super::{Cause, Lease, Model, Ticket};

impl Model {
    /// "what falls on one instant (ends, then deadlines, then tickets' own ends) is applied first".
    /// Answers whether anything fell on this one. Read as: ends and tickets' ends by arrival,
    /// deadlines in the order in which victims were chosen.
    pub(crate) fn lapse(&mut self) -> bool {
        let ended = self.end_what_has_lived();
        let revoked = self.revoke_at_deadline();
        let given_up = self.end_tickets();
        self.watch_bursts();
        ended || revoked || given_up
    }

    fn end_what_has_lived(&mut self) -> bool {
        let mut due: Vec<(super::Moment, String, Cause)> = Vec::new();
        for lease in &self.leases {
            let (ends, cause) = self.end_of(lease);
            if ends.is_some_and(|ends| ends <= self.now) {
                due.push((lease.arrived, lease.request.id.clone(), cause));
            }
        }
        due.sort_by_key(|(arrived, ..)| *arrived);
        for (_, id, cause) in &due {
            self.end_lease(id, *cause);
        }
        !due.is_empty()
    }

    /// "It has a time to live, renewed by its holder", "confirm_within: life of a provisional
    /// lease". Read as: of one that nobody has confirmed yet the other does not run.
    fn end_of(&self, lease: &Lease) -> (Option<Time>, Cause) {
        let pool = self.pool(&lease.request.pool);
        if !lease.confirmed {
            return (Some(lease.admitted + pool.confirm_within), Cause::Unconfirmed);
        }
        let ttl = lease.request.ttl.unwrap_or(pool.lease_ttl);
        ((ttl > 0).then(|| lease.heard + ttl), Cause::Expired)
    }

    /// "At the deadline … every other is revoked."
    fn revoke_at_deadline(&mut self) -> bool {
        let mut due: Vec<(u64, String)> = Vec::new();
        for lease in &self.leases {
            if let Some(victim) = lease.victim.filter(|victim| victim.deadline <= self.now) {
                due.push((victim.chosen, lease.request.id.clone()));
            }
        }
        due.sort();
        for (_, id) in &due {
            self.end_lease(id, Cause::Revoked);
        }
        !due.is_empty()
    }

    /// "max_wait: then the ticket ends with deny", "ticket_ttl: a ticket whose holder is silent so
    /// long is passed over; after ten times as long it ends".
    fn end_tickets(&mut self) -> bool {
        let mut due: Vec<(super::Moment, String, Cause)> = Vec::new();
        for ticket in &self.tickets {
            for (ends, cause) in self.ends_of(ticket) {
                if ends <= self.now {
                    due.push((ticket.arrived, ticket.request.id.clone(), cause));
                    break;
                }
            }
        }
        due.sort_by_key(|(arrived, ..)| *arrived);
        for (_, id, cause) in &due {
            self.end_ticket(id, *cause);
        }
        !due.is_empty()
    }

    /// Read as: where both fall on one instant, it has waited too long.
    fn ends_of(&self, ticket: &Ticket) -> Vec<(Time, Cause)> {
        let pool = self.pool(&ticket.request.pool);
        let mut ends = Vec::new();
        if pool.max_wait > 0 {
            ends.push((ticket.arrived.at + pool.max_wait, Cause::WaitedTooLong));
        }
        if pool.ticket_ttl > 0 {
            ends.push((ticket.heard + 10 * pool.ticket_ttl, Cause::Silent));
        }
        ends
    }

    /// "passed over": not admitted, no claim, no hold, and before nobody.
    pub(crate) fn is_passed_over(&self, ticket: &Ticket) -> bool {
        let ttl = self.pool(&ticket.request.pool).ticket_ttl;
        ttl > 0 && ticket.heard + ttl <= self.now
    }

    /// "when time passes something that a rule names": the next instant after now at which one
    /// does.
    pub(crate) fn next_due(&self) -> Option<Time> {
        let mut instants = self.burst_instants();
        for lease in &self.leases {
            instants.extend(self.end_of(lease).0);
            instants.extend(lease.victim.map(|victim| victim.deadline));
            instants.push(lease.admitted + self.pool(&lease.request.pool).min_runtime);
        }
        for ticket in &self.tickets {
            let pool = self.pool(&ticket.request.pool);
            instants.extend(self.ends_of(ticket).into_iter().map(|(ends, _)| ends));
            instants.push(ticket.heard + pool.ticket_ttl);
            instants.push(ticket.arrived.at + pool.hold_after);
            let counting = self.rates_counting(&ticket.request.tenant, &self.ask(&ticket.request));
            instants.extend(counting.iter().filter_map(|counted| self.passes_at(counted)));
        }
        for hold in &self.holds {
            instants.push(hold.since + self.pool(&hold.pool).hold_for);
        }
        for tenant in &self.config.tenants {
            instants.extend(tenant.budgets.iter().flat_map(|budget| budget.period_ends.iter().copied()));
        }
        instants.into_iter().filter(|instant| *instant > self.now).min()
    }
}
