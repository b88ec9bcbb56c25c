//! What can be asked of the model. Each call first lets time pass, then does its own, then what is
//! due at once because of it.

use super::config::{Amounts, Enforce, Lifecycle, Tenant, Time};
use super::post::Admission;
use super::view::times;
use super::{Cause, Code, Error, Model, Outcome, PutTenant, Reason, Request, Standing, Ticket};

impl Model {
    pub(crate) fn acquire(&mut self, now: Time, request: &Request) -> Outcome {
        self.advance(now);
        if let Some(error) = self.malformed(request) {
            return Outcome::Error(error);
        }
        if let Some(outcome) = self.known(request) {
            return outcome;
        }
        let arrived = self.moment();
        let asking = self.asking(request, arrived);
        let Some(reason) = self.against(&asking) else {
            let count = self.admit(request, arrived, Admission::AtOnce { observed: false });
            self.settle();
            return Outcome::Allow { count, observed: None };
        };
        // "Where enforce is warn or observe …, what would have been queued or denied is allowed all
        // the same". Read as: all of it, whatever stands against it, and in its full count.
        if self.config.enforce(&request.pool, &request.tenant) != Enforce::Deny {
            let count = self.admit(request, arrived, Admission::AtOnce { observed: true });
            self.settle();
            return Outcome::Allow { count, observed: Some(reason) };
        }
        let outcome = self.queue_or_deny(request, &asking, reason);
        if matches!(outcome, Outcome::Queue(_)) {
            let (place, heard) = (asking.place, self.now);
            let ticket = Ticket {
                resources: self.with_implied(&request.pool, &request.resources),
                request: request.clone(),
                arrived,
                place,
                stood: arrived,
                heard,
            };
            self.tickets.push(ticket);
            // "A queued ticket tries at once", and "After every change … claims are judged anew".
            // Read as: judged first.
            self.judge_claims(&request.pool);
            self.try_to_claim(&request.id);
            self.settle();
        }
        outcome
    }

    /// Read as: of a lease that is confirmed it changes nothing, and it does not count as a
    /// renewal.
    pub(crate) fn confirm(&mut self, now: Time, id: &str) -> Outcome {
        self.advance(now);
        let at = self.now;
        let Some(lease) = self.leases.iter_mut().find(|lease| lease.request.id == id) else {
            return self.no_lease(id);
        };
        if !lease.confirmed {
            lease.confirmed = true;
            lease.heard = at;
        }
        self.settle();
        Outcome::Done
    }

    /// "the first Confirm or Renew confirms"; a ticket is kept alive so too. "Renewing moves no
    /// deadline."
    pub(crate) fn renew(&mut self, now: Time, id: &str) -> Outcome {
        self.advance(now);
        let at = self.now;
        if let Some(ticket) = self.tickets.iter_mut().find(|ticket| ticket.request.id == id) {
            ticket.heard = at;
        } else if let Some(lease) = self.leases.iter_mut().find(|lease| lease.request.id == id) {
            lease.confirmed = true;
            lease.heard = at;
        } else {
            return self.no_lease(id);
        }
        self.settle();
        Outcome::Done
    }

    /// "Cancel of an admitted ticket, or of a lease's id, releases the lease." Read as: and so the
    /// other way round.
    pub(crate) fn release(&mut self, now: Time, id: &str) -> Outcome {
        self.advance(now);
        if self.leases.iter().any(|lease| lease.request.id == id) {
            self.end_lease(id, Cause::Released);
        } else if self.tickets.iter().any(|ticket| ticket.request.id == id) {
            self.end_ticket(id, Cause::Cancelled);
        } else {
            // "Of what is gone: Release and Cancel are fine"
            return if self.standing(id).is_some() { Outcome::Done } else { Outcome::Error(Error::NotFound) };
        }
        self.watch_bursts();
        self.settle();
        Outcome::Done
    }

    pub(crate) fn cancel(&mut self, now: Time, id: &str) -> Outcome {
        self.release(now, id)
    }

    /// "Smaller: always. Larger: decided like a request for the difference that may not wait;
    /// refused, the lease is as it was." Read as: what is not named stays as it is;
    /// where some of it grows and some shrinks, what grows is decided before anything shrinks.
    pub(crate) fn resize(&mut self, now: Time, id: &str, resources: &Amounts) -> Outcome {
        self.advance(now);
        let Some(lease) = self.leases.iter().find(|lease| lease.request.id == id).cloned() else {
            return self.no_lease(id);
        };
        if resources.values().any(|amount| *amount < 0) {
            return Outcome::Error(Error::Invalid);
        }
        let mut named = lease.resources.clone();
        named.extend(resources.clone());
        let resources = named;
        let grown = |(resource, amount): (&String, &i64)| {
            let more = amount - lease.resources.get(resource).copied().unwrap_or(0);
            (more > 0).then(|| (resource.clone(), more))
        };
        let difference: Amounts = resources.iter().filter_map(grown).collect();
        let mut observed = None;
        if !difference.is_empty() {
            // "A lease in reclaim only gets smaller (larger is denied as held-for-another)."
            if lease.victim.is_some() {
                return Outcome::Deny(Reason::plain(Code::HeldForAnother));
            }
            let request =
                Request { resources: difference.clone(), count: lease.count, min_count: None, ..lease.request.clone() };
            let arrived = self.moment();
            let mut asking = self.asking(&request, arrived);
            asking.ask = times(&difference, lease.count);
            if let Some(reason) = self.against(&asking) {
                if self.config.enforce(&request.pool, &request.tenant) == Enforce::Deny {
                    return Outcome::Deny(reason);
                }
                observed = Some(reason);
            }
            self.charge(&request.tenant, id, &asking.ask);
        }
        let lease = self.leases.iter_mut().find(|lease| lease.request.id == id).expect("found above");
        lease.resources = resources;
        lease.observed |= observed.is_some();
        let count = lease.count;
        self.watch_bursts();
        self.settle();
        Outcome::Allow { count, observed }
    }

    pub(crate) fn set_capacity(&mut self, now: Time, pool: &str, capacity: &Amounts, unavailable: &Amounts) -> Outcome {
        self.advance(now);
        let Some(pool) = self.config.pools.iter_mut().find(|has| has.name == pool) else {
            return Outcome::Error(Error::NotFound);
        };
        pool.capacity.extend(capacity.clone());
        pool.unavailable.extend(unavailable.clone());
        self.reconfigured()
    }

    /// Only what is named changes; a pool's quota is replaced whole.
    pub(crate) fn put_tenant(&mut self, now: Time, put: &PutTenant) -> Outcome {
        self.advance(now);
        let mut config = self.config.clone();
        if config.tenant(&put.path).is_none() {
            config.tenants.push(Tenant::new(&put.path));
        }
        let tenant = config.tenants.iter_mut().find(|tenant| tenant.path == put.path).expect("put above");
        tenant.weight = put.weight.unwrap_or(tenant.weight);
        tenant.lifecycle = put.lifecycle.unwrap_or(tenant.lifecycle);
        tenant.quota.extend(put.quota.clone());
        if config.refused().is_some() {
            return Outcome::Error(Error::Invalid);
        }
        self.config = config;
        self.reconfigured()
    }

    pub(crate) fn set_lifecycle(&mut self, now: Time, path: &str, lifecycle: Lifecycle) -> Outcome {
        self.advance(now);
        if self.config.tenant(path).is_none() {
            return Outcome::Error(Error::NotFound);
        }
        let lifecycle = Some(lifecycle);
        self.put_tenant(now, &PutTenant { path: path.to_owned(), lifecycle, ..PutTenant::default() })
    }

    pub(crate) fn pause(&mut self, now: Time, pool: &str, paused: bool) -> Outcome {
        self.advance(now);
        let Some(pool) = self.config.pools.iter_mut().find(|has| has.name == pool) else {
            return Outcome::Error(Error::NotFound);
        };
        pool.paused = paused;
        self.reconfigured()
    }

    fn reconfigured(&mut self) -> Outcome {
        self.evaluate();
        self.watch_bursts();
        self.settle();
        Outcome::Done
    }

    /// From one instant at which something is due to the next, up to and including the one that is
    /// named.
    pub(crate) fn advance(&mut self, to: Time) {
        assert!(to >= self.now, "time never runs back");
        while let Some(next) = self.next_due().filter(|next| *next <= to) {
            self.now = next;
            self.lapse();
            self.settle();
        }
        self.now = to;
    }

    /// "Unknown tenant or pool, tenant with no quota in the pool, malformed amounts: an error, not
    /// a decision."
    fn malformed(&self, request: &Request) -> Option<Error> {
        if self.config.pool(&request.pool).is_none() || self.config.tenant(&request.tenant).is_none() {
            return Some(Error::NotFound);
        }
        let least = request.least();
        let amounts = request.resources.values().all(|amount| *amount >= 0);
        let quota = self.config.may_use(&request.pool, &request.tenant);
        (!amounts || !quota || least < 1 || least > request.count).then_some(Error::Invalid)
    }

    /// "Repeating a request id is answered by where it stands now …; with other contents
    /// ALREADY_EXISTS."
    fn known(&self, request: &Request) -> Option<Outcome> {
        let waiting = self.tickets.iter().map(|ticket| &ticket.request);
        let running = self.leases.iter().map(|lease| &lease.request);
        let gone = self.gone.iter().rev().filter(|gone| self.now < gone.at + self.config.remember);
        let same = |other: &&Request| other.tenant == request.tenant && other.id == request.id;
        let before = waiting.chain(running).chain(gone.map(|gone| &gone.request)).find(same)?;
        if before != request {
            return Some(Outcome::Error(Error::Exists));
        }
        self.standing(&request.id).map(Outcome::Known)
    }

    /// What Confirm, Renew and Resize say of what has no lease. Read as: of a waiting ticket, that
    /// it is no lease.
    fn no_lease(&self, id: &str) -> Outcome {
        Outcome::Error(match self.standing(id) {
            Some(Standing::Gone) => Error::Gone,
            Some(_) => Error::Invalid,
            None => Error::NotFound,
        })
    }
}
