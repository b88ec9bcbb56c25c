//! The rules once more, as simply as they can be written: lists of leases, tickets, claims and
//! holds, and everything else counted anew from them whenever it is asked for. Slow, and meant to
//! be seen to be right by reading it beside the text of the rules, whose sentences are quoted at
//! the functions that keep them.
//!
//! What the text leaves open and the model decides is said where it is decided, in comments that
//! begin with "Read as".

#![allow(dead_code)] // each test binary that includes the model uses a part of it

pub(crate) mod audit;
pub(crate) mod burst;
pub(crate) mod cell;
pub(crate) mod config;
pub(crate) mod decide;
pub(crate) mod dispatch;
pub(crate) mod holds;
pub(crate) mod lapse;
pub(crate) mod reclaim;
pub(crate) mod rng;
pub(crate) mod share;
pub(crate) mod stream;
pub(crate) mod subject;
pub(crate) mod tree;
pub(crate) mod view;

use std::collections::{BTreeMap, BTreeSet};

use burst::BurstClock;
use config::{Amounts, Config, Enforce, Lifecycle, Quota, Tenant, Time};
use decide::Asking;
use reclaim::{Claim, Victim};
use share::Share;
use tree::Tree;
use view::{View, times};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) id: String,
    pub(crate) tenant: String,
    pub(crate) pool: String,
    /// Per instance.
    pub(crate) resources: Amounts,
    pub(crate) count: i64,
    pub(crate) min_count: Option<i64>,
    pub(crate) priority: i64,
    pub(crate) wait: bool,
    pub(crate) borrow: bool,
    pub(crate) provisional: bool,
    /// In place of the pool's; 0: until released.
    pub(crate) ttl: Option<Time>,
    /// Notice it needs, up to the pool's.
    pub(crate) grace: Option<Time>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// How many instances; where it was only allowed because nothing is enforced, what stood
    /// against it.
    Allow {
        count: i64,
        observed: Option<Reason>,
    },
    Queue(Reason),
    Deny(Reason),
    /// The same request id again: where it stands.
    Known(Standing),
    Done,
    Error(Error),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) code: Code,
    /// "" is the root.
    pub(crate) tenant: Option<String>,
    pub(crate) resource: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Inactive,
    NeverFits,
    BudgetUsedUp,
    BehindEarlier,
    WouldBorrow,
    BurstOver,
    ExceedsLimit,
    NoCapacity,
    HeldForAnother,
    Paused,
    QueueFull,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    NotFound,
    Invalid,
    Exists,
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Waiting,
    Provisional,
    Active,
    Reclaiming,
    Gone,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// From the queue, and with how many instances.
    Admitted {
        id: String,
        count: i64,
    },
    Ended {
        id: String,
        cause: Cause,
    },
    Claimed {
        ticket: String,
    },
    ClaimDropped {
        ticket: String,
    },
    Reclaiming {
        id: String,
        deadline: Time,
    },
    LetOff {
        id: String,
    },
    Holds {
        ticket: String,
        node: String,
    },
    HoldsNoMore {
        ticket: String,
        node: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Released,
    Cancelled,
    Expired,
    Unconfirmed,
    Revoked,
    WaitedTooLong,
    Silent,
}

#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) request: Request,
    /// Per instance, as it is now.
    pub(crate) resources: Amounts,
    pub(crate) count: i64,
    pub(crate) arrived: Moment,
    pub(crate) admitted: Time,
    pub(crate) confirmed: bool,
    /// When its holder last spoke.
    pub(crate) heard: Time,
    /// Allowed only because nothing is enforced.
    pub(crate) observed: bool,
    pub(crate) victim: Option<Victim>,
}

#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    pub(crate) request: Request,
    pub(crate) arrived: Moment,
    /// Its place in the order of tickets.
    pub(crate) place: Place,
    /// For holds: when it arrived, or when its last turn was over.
    pub(crate) stood: Moment,
    pub(crate) heard: Time,
}

/// An instant, and a number that tells apart what happens in one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    pub(crate) at: Time,
    pub(crate) number: u64,
}

/// "One comes before another by arrival minus priority times age_step (age_step: 0s: higher
/// priority, then arrival). It is fixed on arrival". Read as: where that is equal, the one that
/// arrived first comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    rank: i128,
    arrived: Moment,
}

#[derive(Clone, Debug)]
pub(crate) struct Hold {
    pub(crate) pool: String,
    pub(crate) node: String,
    pub(crate) ticket: String,
    pub(crate) resources: Vec<String>,
    pub(crate) since: Time,
}

#[derive(Clone, Debug)]
struct Gone {
    request: Request,
    at: Time,
}

/// "Budgets are charged at admission, never while waiting".
#[derive(Clone, Debug)]
struct Charge {
    tenant: String,
    budget: String,
    lease: String,
    at: Time,
    amount: i64,
}

#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) config: Config,
    pub(crate) now: Time,
    pub(crate) leases: Vec<Lease>,
    pub(crate) tickets: Vec<Ticket>,
    pub(crate) claims: Vec<Claim>,
    pub(crate) holds: Vec<Hold>,
    pub(crate) log: Vec<(Time, Event)>,
    gone: Vec<Gone>,
    charges: Vec<Charge>,
    /// By pool and tenant.
    bursts: BTreeMap<(String, String), BurstClock>,
    /// By pool; evaluated anew with every change of the configuration.
    trees: BTreeMap<String, Tree>,
    numbers: u64,
}

impl Model {
    pub(crate) fn new(config: Config) -> Model {
        assert_eq!(config.refused(), None, "a configuration that is refused");
        let mut model = Model {
            trees: BTreeMap::new(),
            config,
            now: 0,
            leases: Vec::new(),
            tickets: Vec::new(),
            claims: Vec::new(),
            holds: Vec::new(),
            log: Vec::new(),
            gone: Vec::new(),
            charges: Vec::new(),
            bursts: BTreeMap::new(),
            numbers: 0,
        };
        model.evaluate();
        model
    }

    // What can be asked for. Each call first lets time pass, then does its own, then what is due at
    // once because of it.

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
            return Outcome::Allow {
                count,
                observed: None,
            };
        };
        // "Where enforce is warn or observe …, what would have been queued or denied is allowed all
        // the same". Read as: all of it, whatever stands against it, and in its full count.
        if self.config.enforce(&request.pool, &request.tenant) != Enforce::Deny {
            let count = self.admit(request, arrived, Admission::AtOnce { observed: true });
            self.settle();
            return Outcome::Allow {
                count,
                observed: Some(reason),
            };
        }
        let outcome = self.queue_or_deny(request, &asking, reason);
        if matches!(outcome, Outcome::Queue(_)) {
            let (place, heard) = (asking.place, self.now);
            let ticket = Ticket {
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
        if let Some(ticket) = self
            .tickets
            .iter_mut()
            .find(|ticket| ticket.request.id == id)
        {
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
            return if self.standing(id).is_some() {
                Outcome::Done
            } else {
                Outcome::Error(Error::NotFound)
            };
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
        let Some(lease) = self
            .leases
            .iter()
            .find(|lease| lease.request.id == id)
            .cloned()
        else {
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
            let request = Request {
                resources: difference.clone(),
                count: lease.count,
                min_count: None,
                ..lease.request.clone()
            };
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
        let lease = self
            .leases
            .iter_mut()
            .find(|lease| lease.request.id == id)
            .expect("found above");
        lease.resources = resources;
        lease.observed |= observed.is_some();
        let count = lease.count;
        self.watch_bursts();
        self.settle();
        Outcome::Allow { count, observed }
    }

    pub(crate) fn set_capacity(
        &mut self,
        now: Time,
        pool: &str,
        capacity: &Amounts,
        unavailable: &Amounts,
    ) -> Outcome {
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
        let tenant = config
            .tenants
            .iter_mut()
            .find(|tenant| tenant.path == put.path)
            .expect("put above");
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
        self.put_tenant(
            now,
            &PutTenant {
                path: path.to_owned(),
                lifecycle,
                ..PutTenant::default()
            },
        )
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

    // What can be looked at.

    pub(crate) fn usage(&self, pool: &str, tenant: &str, resource: &str) -> i64 {
        let view = self.actual(pool);
        view.usage(
            self.tree(pool).node(tenant).expect("a configured tenant"),
            resource,
        )
    }

    pub(crate) fn borrowed(&self, pool: &str, tenant: &str, resource: &str) -> i64 {
        let view = self.actual(pool);
        view.borrowed(
            self.tree(pool).node(tenant).expect("a configured tenant"),
            resource,
        )
    }

    /// The effective guarantee.
    pub(crate) fn guaranteed(&self, pool: &str, tenant: &str, resource: &str) -> i64 {
        let tree = self.tree(pool);
        tree.guaranteed(tree.node(tenant).expect("a configured tenant"), resource)
    }

    pub(crate) fn share(&self, pool: &str, tenant: &str) -> Share {
        let node = self.tree(pool).node(tenant).expect("a configured tenant");
        self.actual(pool).share(node, self.pool(pool).share_of)
    }

    /// Leases in the subtree, those in reclaim included.
    pub(crate) fn running(&self, pool: &str, tenant: &str) -> usize {
        let leases = self
            .leases
            .iter()
            .filter(|lease| lease.request.pool == pool);
        leases
            .filter(|lease| config::lineage(&lease.request.tenant).contains(&tenant))
            .count()
    }

    pub(crate) fn waiting(&self, pool: &str, tenant: &str) -> usize {
        let tickets = self
            .tickets
            .iter()
            .filter(|ticket| ticket.request.pool == pool);
        tickets
            .filter(|ticket| config::lineage(&ticket.request.tenant).contains(&tenant))
            .count()
    }

    pub(crate) fn standing(&self, id: &str) -> Option<Standing> {
        if self.tickets.iter().any(|ticket| ticket.request.id == id) {
            return Some(Standing::Waiting);
        }
        if let Some(lease) = self.leases.iter().find(|lease| lease.request.id == id) {
            return Some(lease.standing());
        }
        let remembered = |gone: &Gone| self.now < gone.at + self.config.remember;
        self.gone
            .iter()
            .any(|gone| gone.request.id == id && remembered(gone))
            .then_some(Standing::Gone)
    }

    pub(crate) fn reclaiming(&self) -> BTreeSet<String> {
        let victims = self.leases.iter().filter(|lease| lease.victim.is_some());
        victims.map(|lease| lease.request.id.clone()).collect()
    }

    /// What of a budget is used in the period that runs.
    pub(crate) fn budget_used(&self, tenant: &str, name: &str) -> i64 {
        let budgets = self
            .config
            .tenant(tenant)
            .into_iter()
            .flat_map(|tenant| &tenant.budgets);
        let Some(budget) = budgets.into_iter().find(|budget| budget.name == name) else {
            return 0;
        };
        let period = |at: Time| budget.period_ends.iter().filter(|end| **end <= at).count();
        let charges = self
            .charges
            .iter()
            .filter(|charge| charge.tenant == tenant && charge.budget == name);
        charges
            .filter(|charge| period(charge.at) == period(self.now))
            .map(|charge| charge.amount)
            .sum()
    }

    /// What it was that is gone.
    pub(crate) fn request_gone(&self, id: &str) -> Option<Request> {
        let mut gone = self.gone.iter().rev();
        gone.find(|gone| gone.request.id == id)
            .map(|gone| gone.request.clone())
    }

    // What the rules' own files share.

    fn pool(&self, pool: &str) -> &config::Pool {
        self.config.pool(pool).expect("a configured pool")
    }

    pub(crate) fn tree(&self, pool: &str) -> &Tree {
        &self.trees[pool]
    }

    fn evaluate(&mut self) {
        let pools = self.config.pools.iter().map(|pool| pool.name.clone());
        self.trees = pools
            .map(|pool| (pool.clone(), Tree::of(&self.config, &pool)))
            .collect();
    }

    /// The ledger as it is.
    pub(crate) fn actual(&self, pool: &str) -> View<'_> {
        self.view_of(pool, |_| true)
    }

    fn view_of(&self, pool: &str, counts: impl Fn(&Lease) -> bool) -> View<'_> {
        let tree = self.tree(pool);
        let mut view = View::empty(tree);
        for lease in self
            .leases
            .iter()
            .filter(|lease| lease.request.pool == pool && counts(lease))
        {
            view.hold(tree.leaf(&lease.request.tenant), &lease.holds());
        }
        view
    }

    pub(crate) fn ticket(&self, id: &str) -> &Ticket {
        self.tickets
            .iter()
            .find(|ticket| ticket.request.id == id)
            .expect("a waiting ticket")
    }

    /// In the order of tickets.
    pub(crate) fn tickets_in_order(&self, pool: &str) -> Vec<&Ticket> {
        let mut tickets: Vec<&Ticket> = self
            .tickets
            .iter()
            .filter(|ticket| ticket.request.pool == pool)
            .collect();
        tickets.sort_by_key(|ticket| ticket.place);
        tickets
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn moment(&mut self) -> Moment {
        Moment {
            at: self.now,
            number: self.number(),
        }
    }

    fn note(&mut self, event: Event) {
        self.log.push((self.now, event));
    }

    fn with_implied(&self, pool: &str, resources: &Amounts) -> Amounts {
        let mut all = self
            .config
            .pool(pool)
            .map(|pool| pool.implied.clone())
            .unwrap_or_default();
        all.extend(resources.clone());
        all
    }

    /// "With min_count everything above asks for that many".
    fn ask(&self, request: &Request) -> Amounts {
        let resources = self.with_implied(&request.pool, &request.resources);
        times(&resources, request.min_count.unwrap_or(request.count))
    }

    fn asking(&self, request: &Request, arrived: Moment) -> Asking {
        Asking {
            pool: request.pool.clone(),
            tenant: request.tenant.clone(),
            leaf: self.tree(&request.pool).leaf(&request.tenant),
            ask: self.ask(request),
            borrow: request.borrow,
            place: Place {
                rank: self.rank(request, arrived),
                arrived,
            },
            stood: arrived,
            claim: None,
        }
    }

    fn asking_of(&self, ticket: &Ticket) -> Asking {
        let claim = self
            .claims
            .iter()
            .find(|claim| claim.ticket == ticket.request.id);
        Asking {
            place: ticket.place,
            stood: ticket.stood,
            claim: claim.map(|claim| claim.ticket.clone()),
            ..self.asking(&ticket.request, ticket.arrived)
        }
    }

    fn rank(&self, request: &Request, arrived: Moment) -> i128 {
        match self.pool(&request.pool).age_step {
            0 => -i128::from(request.priority),
            age_step => {
                i128::from(arrived.at) - i128::from(request.priority) * i128::from(age_step)
            }
        }
    }

    /// "Unknown tenant or pool, tenant with no quota in the pool, malformed amounts: an error, not
    /// a decision."
    fn malformed(&self, request: &Request) -> Option<Error> {
        if self.config.pool(&request.pool).is_none()
            || self.config.tenant(&request.tenant).is_none()
        {
            return Some(Error::NotFound);
        }
        let least = request.min_count.unwrap_or(request.count);
        let amounts = request.resources.values().all(|amount| *amount >= 0);
        let quota = self.config.may_use(&request.pool, &request.tenant);
        (!amounts || !quota || least < 1 || least > request.count).then_some(Error::Invalid)
    }

    /// "Repeating a request id is answered by where it stands now …; with other contents
    /// ALREADY_EXISTS."
    fn known(&self, request: &Request) -> Option<Outcome> {
        let waiting = self.tickets.iter().map(|ticket| &ticket.request);
        let running = self.leases.iter().map(|lease| &lease.request);
        let gone = self
            .gone
            .iter()
            .rev()
            .filter(|gone| self.now < gone.at + self.config.remember);
        let same = |other: &&Request| other.tenant == request.tenant && other.id == request.id;
        let before = waiting
            .chain(running)
            .chain(gone.map(|gone| &gone.request))
            .find(same)?;
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

    /// Everything that starts to hold capacity passes here. Answers with how many instances were
    /// taken.
    fn admit(&mut self, request: &Request, arrived: Moment, admission: Admission) -> i64 {
        let least = request.min_count.unwrap_or(request.count);
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
            assert_eq!(
                audit::no_over_admission(self, &request.pool, leaf, &lease.holds()),
                None
            );
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
            self.note(Event::Admitted {
                id: request.id.clone(),
                count,
            });
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
        while self.leases.last().expect("just admitted").count < request.count
            && self.against(&asking).is_none()
        {
            self.charge(&request.tenant, &request.id, &asking.ask);
            self.leases.last_mut().expect("just admitted").count += 1;
        }
    }

    fn charge(&mut self, tenant: &str, lease: &str, amounts: &Amounts) {
        for above in config::lineage(tenant) {
            for budget in self
                .config
                .tenant(above)
                .into_iter()
                .flat_map(|tenant| &tenant.budgets)
            {
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

    fn end_lease(&mut self, id: &str, cause: Cause) {
        let index = self
            .leases
            .iter()
            .position(|lease| lease.request.id == id)
            .expect("a lease");
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
        self.gone.push(Gone {
            request: lease.request,
            at: self.now,
        });
        self.note(Event::Ended {
            id: id.to_owned(),
            cause,
        });
    }

    fn end_ticket(&mut self, id: &str, cause: Cause) {
        let ticket = self.take_ticket(id);
        self.gone.push(Gone {
            request: ticket.request,
            at: self.now,
        });
        self.note(Event::Ended {
            id: id.to_owned(),
            cause,
        });
    }

    /// Out of the queue, with its claim and its hold.
    fn take_ticket(&mut self, id: &str) -> Ticket {
        let index = self
            .tickets
            .iter()
            .position(|ticket| ticket.request.id == id)
            .expect("a waiting ticket");
        self.claims.retain(|claim| claim.ticket != id);
        self.holds.retain(|hold| hold.ticket != id);
        self.tickets.remove(index)
    }
}

/// What of a tenant is put; only what is named changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PutTenant {
    pub(crate) path: String,
    pub(crate) weight: Option<u64>,
    pub(crate) lifecycle: Option<Lifecycle>,
    pub(crate) quota: BTreeMap<String, Quota>,
}

#[derive(Clone, Copy, Debug)]
enum Admission {
    AtOnce { observed: bool },
    FromQueue { stood: Moment },
}

impl Lease {
    pub(crate) fn holds(&self) -> Amounts {
        times(&self.resources, self.count)
    }

    fn standing(&self) -> Standing {
        match (&self.victim, self.confirmed) {
            (Some(_), _) => Standing::Reclaiming,
            (None, true) => Standing::Active,
            (None, false) => Standing::Provisional,
        }
    }
}

impl Reason {
    fn plain(code: Code) -> Reason {
        Reason {
            code,
            tenant: None,
            resource: None,
        }
    }

    fn at(code: Code, tenant: &str, resource: &str) -> Reason {
        Reason {
            code,
            tenant: Some(tenant.to_owned()),
            resource: Some(resource.to_owned()),
        }
    }
}
