//! The rules once more, as simply as they can be written: lists of leases, tickets, claims and
//! holds, and everything else counted anew from them whenever it is asked for. Slow, and meant to
//! be seen to be right by reading it beside the text of the rules, whose sentences are quoted at
//! the functions that keep them.
//!
//! What the text leaves open and the model decides is said where it is decided, in comments that
//! begin with "Read as".

#![allow(dead_code)] // each test binary that includes the model uses a part of it

pub(crate) mod ask;
pub(crate) mod audit;
pub(crate) mod burst;
pub(crate) mod cell;
pub(crate) mod config;
pub(crate) mod decide;
pub(crate) mod dispatch;
pub(crate) mod hits;
pub(crate) mod holds;
pub(crate) mod lapse;
pub(crate) mod post;
pub(crate) mod rates;
pub(crate) mod reclaim;
pub(crate) mod rng;
pub(crate) mod share;
pub(crate) mod stream;
pub(crate) mod subject;
pub(crate) mod tree;
pub(crate) mod view;
pub(crate) mod words;

use std::collections::{BTreeMap, BTreeSet};

use burst::BurstClock;
use config::{Amounts, Config, Time};
use decide::Asking;
use reclaim::Claim;
use share::Share;
use tree::Tree;
use view::{View, times};
pub(crate) use words::{
    Cause, Code, Error, Event, Hit, Hold, Lease, Moment, Outcome, Place, PutTenant, Reason, Request, Standing, Ticket,
};
use words::{Charge, Gone};

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
    takes: Vec<rates::Take>,
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
            takes: Vec::new(),
            bursts: BTreeMap::new(),
            numbers: 0,
        };
        model.evaluate();
        model
    }

    // What can be looked at.

    pub(crate) fn usage(&self, pool: &str, tenant: &str, resource: &str) -> i64 {
        let view = self.actual(pool);
        view.usage(self.tree(pool).node(tenant).expect("a configured tenant"), resource)
    }

    pub(crate) fn borrowed(&self, pool: &str, tenant: &str, resource: &str) -> i64 {
        let view = self.actual(pool);
        view.borrowed(self.tree(pool).node(tenant).expect("a configured tenant"), resource)
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
        let leases = self.leases.iter().filter(|lease| lease.request.pool == pool);
        leases.filter(|lease| config::lineage(&lease.request.tenant).contains(&tenant)).count()
    }

    pub(crate) fn waiting(&self, pool: &str, tenant: &str) -> usize {
        let tickets = self.tickets.iter().filter(|ticket| ticket.request.pool == pool);
        tickets.filter(|ticket| config::lineage(&ticket.request.tenant).contains(&tenant)).count()
    }

    pub(crate) fn standing(&self, id: &str) -> Option<Standing> {
        if self.tickets.iter().any(|ticket| ticket.request.id == id) {
            return Some(Standing::Waiting);
        }
        if let Some(lease) = self.leases.iter().find(|lease| lease.request.id == id) {
            return Some(lease.standing());
        }
        let remembered = |gone: &Gone| self.now < gone.at + self.config.remember;
        self.gone.iter().any(|gone| gone.request.id == id && remembered(gone)).then_some(Standing::Gone)
    }

    pub(crate) fn reclaiming(&self) -> BTreeSet<String> {
        let victims = self.leases.iter().filter(|lease| lease.victim.is_some());
        victims.map(|lease| lease.request.id.clone()).collect()
    }

    /// What of a budget is used in the period that runs.
    pub(crate) fn budget_used(&self, tenant: &str, name: &str) -> i64 {
        let budgets = self.config.tenant(tenant).into_iter().flat_map(|tenant| &tenant.budgets);
        let Some(budget) = budgets.into_iter().find(|budget| budget.name == name) else {
            return 0;
        };
        let period = |at: Time| budget.period_ends.iter().filter(|end| **end <= at).count();
        let charges = self.charges.iter().filter(|charge| charge.tenant == tenant && charge.budget == name);
        charges.filter(|charge| period(charge.at) == period(self.now)).map(|charge| charge.amount).sum()
    }

    /// What it was that is gone.
    pub(crate) fn request_gone(&self, id: &str) -> Option<Request> {
        let mut gone = self.gone.iter().rev();
        gone.find(|gone| gone.request.id == id).map(|gone| gone.request.clone())
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
        self.trees = pools.map(|pool| (pool.clone(), Tree::of(&self.config, &pool))).collect();
    }

    /// The ledger as it is.
    pub(crate) fn actual(&self, pool: &str) -> View<'_> {
        self.view_of(pool, |_| true)
    }

    fn view_of(&self, pool: &str, counts: impl Fn(&Lease) -> bool) -> View<'_> {
        let tree = self.tree(pool);
        let mut view = View::empty(tree);
        for lease in self.leases.iter().filter(|lease| lease.request.pool == pool && counts(lease)) {
            view.hold(tree.leaf(&lease.request.tenant), &lease.resources, lease.count);
        }
        view
    }

    pub(crate) fn ticket(&self, id: &str) -> &Ticket {
        self.tickets.iter().find(|ticket| ticket.request.id == id).expect("a waiting ticket")
    }

    /// In the order of tickets.
    pub(crate) fn tickets_in_order(&self, pool: &str) -> Vec<&Ticket> {
        let mut tickets: Vec<&Ticket> = self.tickets.iter().filter(|ticket| ticket.request.pool == pool).collect();
        tickets.sort_by_key(|ticket| ticket.place);
        tickets
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn moment(&mut self) -> Moment {
        Moment { at: self.now, number: self.number() }
    }

    fn note(&mut self, event: Event) {
        self.log.push((self.now, event));
    }

    fn with_implied(&self, pool: &str, resources: &Amounts) -> Amounts {
        let mut all = self.config.pool(pool).map(|pool| pool.implied.clone()).unwrap_or_default();
        all.extend(resources.clone());
        all
    }

    /// "With min_count everything above asks for that many".
    fn ask(&self, request: &Request) -> Amounts {
        let resources = self.with_implied(&request.pool, &request.resources);
        times(&resources, request.least())
    }

    fn asking(&self, request: &Request, arrived: Moment) -> Asking {
        Asking {
            pool: request.pool.clone(),
            tenant: request.tenant.clone(),
            leaf: self.tree(&request.pool).leaf(&request.tenant),
            ask: self.ask(request),
            borrow: request.borrow,
            place: Place { rank: self.rank(request, arrived), arrived },
            stood: arrived,
            claim: None,
        }
    }

    fn asking_of(&self, ticket: &Ticket) -> Asking {
        let claim = self.claims.iter().find(|claim| claim.ticket == ticket.request.id);
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
            age_step => i128::from(arrived.at) - i128::from(request.priority) * i128::from(age_step),
        }
    }
}
