//! What starts and what ends.

use super::config::{Amounts, lineage};
use super::{Cause, Charge, Event, Gone, Lease, Model, Moment, Request, Ticket, audit};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Admission {
    AtOnce { observed: bool },
    FromQueue { stood: Moment },
}

impl Model {
    /// Everything that starts to hold capacity passes here. Answers with how many instances were
    /// taken.
    pub(crate) fn admit(&mut self, request: &Request, arrived: Moment, admission: Admission) -> i64 {
        let least = request.least();
        let (observed, confirmed) = match admission {
            Admission::AtOnce { observed } => (observed, !request.provisional),
            Admission::FromQueue { .. } => (false, false),
        };
        let lease = Lease {
            request: request.clone(),
            resources: self.with_implied(&request.pool, &request.resources),
            count: if observed { request.count } else { least },
            arrived,
            admitted: self.now,
            confirmed,
            heard: self.now,
            observed,
            victim: None,
        };
        let leaf = self.tree(&request.pool).leaf(&request.tenant);
        if !observed {
            assert_eq!(audit::no_over_admission(self, &request.pool, leaf, &lease.holds()), None);
        }
        self.charge(&request.tenant, &request.id, &lease.holds());
        self.leases.push(lease);
        if !observed {
            self.take_more(request, arrived, admission);
        }
        self.watch_bursts();
        let lease = self.leases.last().expect("pushed above");
        let count = lease.count;
        if let Admission::FromQueue { .. } = admission {
            self.note(Event::Admitted { id: request.id.clone(), count });
        }
        count
    }

    /// "on admission as many more are taken as fit and are not held". Read as: one more at a time,
    /// each asked for as by a request of its own that has no claim and arrived when this one did.
    fn take_more(&mut self, request: &Request, arrived: Moment, admission: Admission) {
        let stood = match admission {
            Admission::AtOnce { .. } => arrived,
            Admission::FromQueue { stood } => stood,
        };
        let mut asking = self.asking(request, arrived);
        asking.ask = self.with_implied(&request.pool, &request.resources);
        asking.stood = stood;
        while self.leases.last().expect("just admitted").count < request.count && self.against(&asking).is_none() {
            self.charge(&request.tenant, &request.id, &asking.ask);
            self.leases.last_mut().expect("just admitted").count += 1;
        }
    }

    pub(crate) fn charge(&mut self, tenant: &str, lease: &str, amounts: &Amounts) {
        self.take_rates(tenant, amounts);
        for above in lineage(tenant) {
            for budget in self.config.tenant(above).into_iter().flat_map(|tenant| &tenant.budgets) {
                let amount = amounts.get(&budget.resource).copied().unwrap_or(0);
                let charge = Charge {
                    tenant: above.to_owned(),
                    budget: budget.name.clone(),
                    lease: lease.to_owned(),
                    at: self.now,
                    amount,
                };
                self.charges.push(charge);
            }
        }
    }

    pub(crate) fn end_lease(&mut self, id: &str, cause: Cause) {
        let index = self.leases.iter().position(|lease| lease.request.id == id).expect("a lease");
        let lease = self.leases.remove(index);
        // "given back only where a lease is never confirmed". A charge of a period that is over
        // counts no more anyway.
        let confirmed = lease.confirmed;
        if !confirmed {
            self.charges.retain(|charge| charge.lease != id);
        }
        // The next lease of that id is another one.
        for charge in self.charges.iter_mut().filter(|charge| charge.lease == id) {
            charge.lease.clear();
        }
        self.gone.push(Gone { request: lease.request, at: self.now });
        self.note(Event::Ended { id: id.to_owned(), cause });
    }

    pub(crate) fn end_ticket(&mut self, id: &str, cause: Cause) {
        let ticket = self.take_ticket(id);
        self.gone.push(Gone { request: ticket.request, at: self.now });
        self.note(Event::Ended { id: id.to_owned(), cause });
    }

    /// Out of the queue, with its claim and its hold.
    pub(crate) fn take_ticket(&mut self, id: &str) -> Ticket {
        let index = self.tickets.iter().position(|ticket| ticket.request.id == id).expect("a waiting ticket");
        self.claims.retain(|claim| claim.ticket != id);
        self.holds.retain(|hold| hold.ticket != id);
        self.tickets.remove(index)
    }
}
