//! Leases, close together: there may be a million of them, and two copies of each.
//!
//! What many have in common is kept once, and what few have lies apart.

use std::fmt;
use std::sync::Arc;

use crate::amount::Amounts;
use crate::ask::Ask;
use crate::name::Holder;
use crate::request::{Id, ReasonCode, Request, State};
use crate::time::Time;

/// A lease: capacity in use.
#[derive(Clone)]
pub struct Lease {
    /// Its number.
    pub id: Id,
    /// What was asked for.
    pub request: Arc<Request>,
    /// When the request arrived.
    pub arrived: Time,
    /// When it was admitted.
    pub admitted: Time,
    /// When it ends unless it is renewed or confirmed; [`Time::NEVER`] where it has no time to live.
    pub expires: Time,
    /// [`Time::NEVER`] while it is provisional.
    confirmed: Time,
    pub(crate) held: Arc<Held>,
    rare: Option<Box<Rare>>,
}

/// What is held, as many leases hold it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    /// Per instance.
    pub(crate) resources: Amounts,
    pub(crate) count: u32,
    /// Of all instances together, by the pool's places; nothing before the lease stands in a pool.
    pub(crate) ask: Ask,
}

/// What few leases have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rare {
    /// Who keeps it alive, where that is not as the request says.
    holder: Option<Option<Holder>>,
    pub(crate) deadline: Option<Time>,
    pub(crate) observed: Option<ReasonCode>,
    /// Its number among the victims of its pool, where it gives way. It is the ledger's own, and the next too.
    pub(crate) victim: Option<u64>,
    /// What was charged for it, where that is not what it holds.
    pub(crate) charged: Option<Amounts>,
}

/// All that is to be said of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseParts {
    /// Its number.
    pub id: Id,
    /// What was asked for.
    pub request: Arc<Request>,
    /// Per instance, as held now.
    pub resources: Amounts,
    /// Instances held.
    pub count: u32,
    /// When the request arrived.
    pub arrived: Time,
    /// When it was admitted.
    pub admitted: Time,
    /// When its holder confirmed it; none while it is provisional.
    pub confirmed: Option<Time>,
    /// Who keeps it alive.
    pub holder: Option<Holder>,
    /// When it ends unless it is renewed or confirmed; [`Time::NEVER`] where it has no time to live.
    pub expires: Time,
    /// When it is revoked, where it must give way.
    pub deadline: Option<Time>,
    /// The reason for which it would have been queued or denied, had that been enforced.
    pub observed: Option<ReasonCode>,
}

impl Lease {
    /// A provisional lease without a time to live, held as the request says.
    pub(crate) fn new(id: Id, request: Arc<Request>, held: Arc<Held>, arrived: Time, admitted: Time) -> Self {
        Self { id, request, arrived, admitted, expires: Time::NEVER, confirmed: Time::NEVER, held, rare: None }
    }

    /// Per instance, as held now.
    pub fn resources(&self) -> &Amounts {
        &self.held.resources
    }

    /// Instances held.
    pub fn count(&self) -> u32 {
        self.held.count
    }

    /// When its holder confirmed it; none while it is provisional.
    pub fn confirmed(&self) -> Option<Time> {
        (self.confirmed != Time::NEVER).then_some(self.confirmed)
    }

    /// Who keeps it alive.
    pub fn holder(&self) -> Option<&Holder> {
        let other = self.rare.as_ref().and_then(|rare| rare.holder.as_ref());
        other.unwrap_or(&self.request.holder).as_ref()
    }

    /// When it is revoked, where it must give way.
    pub fn deadline(&self) -> Option<Time> {
        self.rare()?.deadline
    }

    /// The reason for which it would have been queued or denied, had that been enforced.
    pub fn observed(&self) -> Option<ReasonCode> {
        self.rare()?.observed
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        match (self.deadline(), self.confirmed()) {
            (Some(_), _) => State::Reclaiming,
            (None, None) => State::Provisional,
            (None, Some(_)) => State::Active,
        }
    }

    /// All that is to be said of it.
    pub fn parts(&self) -> LeaseParts {
        LeaseParts {
            id: self.id,
            request: Arc::clone(&self.request),
            resources: self.resources().clone(),
            count: self.count(),
            arrived: self.arrived,
            admitted: self.admitted,
            confirmed: self.confirmed(),
            holder: self.holder().cloned(),
            expires: self.expires,
            deadline: self.deadline(),
            observed: self.observed(),
        }
    }

    pub(crate) fn rare(&self) -> Option<&Rare> {
        self.rare.as_deref()
    }

    /// Changes what few leases have.
    pub(crate) fn set(&mut self, change: impl FnOnce(&mut Rare)) {
        let mut rare = self.rare.take().unwrap_or_default();
        change(&mut rare);
        self.rare = (*rare != Rare::default()).then_some(rare);
    }

    /// Its holder was heard: the first such word confirms it.
    pub(crate) fn confirm(&mut self, at: Time) {
        self.confirmed = self.confirmed.min(at);
    }

    /// Somebody keeps it alive from now on, or nobody.
    pub(crate) fn hand_over(&mut self, holder: Option<Holder>) {
        let as_asked = holder == self.request.holder;
        if !as_asked || self.rare.is_some() {
            self.set(|rare| rare.holder = (!as_asked).then_some(holder));
        }
    }
}

impl From<LeaseParts> for Lease {
    fn from(parts: LeaseParts) -> Self {
        let LeaseParts {
            id,
            request,
            resources,
            count,
            arrived,
            admitted,
            confirmed,
            holder,
            expires,
            deadline,
            observed,
        } = parts;
        let held = Arc::new(Held { resources, count, ask: Ask::default() });
        let mut lease = Self::new(id, request, held, arrived, admitted);
        (lease.expires, lease.confirmed) = (expires, confirmed.unwrap_or(Time::NEVER));
        lease.hand_over(holder);
        if deadline.is_some() || observed.is_some() {
            lease.set(|rare| (rare.deadline, rare.observed) = (deadline, observed));
        }
        lease
    }
}

impl PartialEq for Lease {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Lease {}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Lease, LeaseParts};
    use crate::Amounts;
    use crate::ledger::LeaseRecord;
    use crate::name::{Holder, Name, RequestId, TenantPath};
    use crate::request::{Id, ReasonCode, Request, State};
    use crate::time::Time;

    fn parts(holder: Option<&str>) -> LeaseParts {
        let (tenant, pool) = (TenantPath::parse("a").expect("a path"), Name::parse("p").expect("a name"));
        let mut request = Request::new(RequestId::parse("r").expect("an id"), tenant, pool, Amounts::default());
        request.holder = holder.map(|holder| Holder::parse(holder).expect("a holder"));
        LeaseParts {
            id: Id(1),
            holder: request.holder.clone(),
            request: Arc::new(request),
            resources: Amounts::default(),
            count: 3,
            arrived: Time::from_nanos(1),
            admitted: Time::from_nanos(2),
            confirmed: None,
            expires: Time::from_nanos(9),
            deadline: None,
            observed: None,
        }
    }

    #[test]
    fn a_lease_is_what_it_is_made_of_and_few_have_more_than_all() {
        assert_eq!((size_of::<Lease>(), size_of::<Option<LeaseRecord>>()), (64, 72));
        for holder in [None, Some("one")] {
            let plain = parts(holder);
            let lease = Lease::from(plain.clone());
            assert!(lease.parts() == plain && lease.rare.is_none() && lease.state() == State::Provisional);
            for other in [None, Some("two")] {
                let other = other.map(|other| Holder::parse(other).expect("a holder"));
                let observed = Some(ReasonCode::NoCapacity);
                let confirmed = Some(Time::from_nanos(5));
                let deadline = Some(Time::from_nanos(7));
                let rich = LeaseParts { holder: other, confirmed, deadline, observed, ..plain.clone() };
                let mut lease = Lease::from(rich.clone());
                assert!(lease.parts() == rich && lease.state() == State::Reclaiming);
                lease.hand_over(plain.holder.clone());
                lease.set(|rare| (rare.deadline, rare.observed) = (None, None));
                assert!(
                    lease.rare.is_none() && lease.state() == State::Active && lease.holder() == plain.holder.as_ref()
                );
                lease.confirm(Time::from_nanos(6));
                assert_eq!(lease.confirmed(), Some(Time::from_nanos(5)));
            }
        }
    }
}
