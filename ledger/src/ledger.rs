//! The ledger: what it is asked. What is posted to it is in `post`, what is shown of it in `views`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::amount::{Amount, Amounts};
use crate::ask::Ask;
use crate::config::{Budget, Class, Enforce, Settings, Tenant};
use crate::configure::POOLS_MAX;
use crate::decide::{allow, check_total, invalid};
use crate::decision::{Amendment, Decision, Refusal};
use crate::dispatch::{Asker, Finding};
use crate::ended::{EndedRecord, Endings};
use crate::entry::Entry;
use crate::granted::Lease;
use crate::ids::IdMap;
use crate::name::{Holder, Name, TenantPath};
use crate::pool::{Leaf, NodeId, PoolState};
use crate::queue::{Shape, TicketKey};
use crate::rate::RateState;
use crate::rated::RateIndex;
use crate::reclaim::ClaimKey;
use crate::request::{End, Id, ReasonCode, Request, Ticket};
use crate::requests::{RequestKey, Requests, TenantSerial};
use crate::rows::Rows;
use crate::time::Time;

/// A pool's place in the ledger's table.
pub(crate) type PoolIndex = usize;
/// A tenant's place in the ledger's table.
pub(crate) type TenantIndex = u32;
/// A map without randomness: the same on every machine.
pub(crate) type Map<K, V> = HashMap<K, V, FixedState>;

/// Ended requests that are remembered at once; beyond that the oldest are forgotten before their time.
pub(crate) const ENDED_MAX: usize = 1_000_000;

/// How a holder gives something up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Close {
    /// Its work is done.
    Release,
    /// It does not want it any more.
    Cancel,
}

/// A lease, and where it stands in its pool.
#[derive(Clone, Debug)]
pub(crate) struct LeaseRecord {
    pub(crate) lease: Lease,
    pub(crate) leaf: NodeId,
    /// There are fewer pools than this can say.
    pool: u16,
    /// Whether budgets were charged for it: what it holds, or what is said apart.
    pub(crate) charged: bool,
}

impl LeaseRecord {
    pub(crate) fn new(lease: Lease, pool: PoolIndex, leaf: NodeId, charged: bool) -> Self {
        const { assert!(POOLS_MAX <= u16::MAX as usize) };
        Self { lease, leaf, pool: pool as u16, charged }
    }

    pub(crate) fn pool(&self) -> PoolIndex {
        self.pool.into()
    }

    /// Of all instances together.
    pub(crate) fn ask(&self) -> &Ask {
        &self.lease.held.ask
    }

    /// Its number among the victims of its pool, where it gives way.
    pub(crate) fn victim(&self) -> Option<u64> {
        self.lease.rare()?.victim
    }
}

/// A ticket, and where it stands in its pool.
#[derive(Clone, Debug)]
pub(crate) struct TicketRecord {
    pub(crate) ticket: Ticket,
    pub(crate) pool: PoolIndex,
    pub(crate) leaf: NodeId,
    pub(crate) shape: Shape,
    pub(crate) key: TicketKey,
    pub(crate) claim: Option<ClaimKey>,
    /// Where it has its hold.
    pub(crate) hold: Option<NodeId>,
    /// When its last turn of a hold was over.
    pub(crate) turned: Option<Time>,
}

impl TicketRecord {
    /// By what holds tell who waits longest: its arrival, or as if it had arrived when its last turn was over.
    pub(crate) fn waits(&self) -> (Time, Id) {
        (self.turned.unwrap_or(self.ticket.arrived), self.ticket.id)
    }
}

/// A budget, and what is charged to it.
#[derive(Clone, Debug)]
pub(crate) struct BudgetState {
    pub(crate) spec: Budget,
    pub(crate) used: Amount,
    pub(crate) started: Time,
    pub(crate) ends: Time,
}

/// A tenant of the tree that all pools share.
#[derive(Clone, Debug)]
pub(crate) struct TenantState {
    pub(crate) spec: Tenant,
    pub(crate) parent: Option<TenantIndex>,
    /// Tenants right under it.
    pub(crate) children: u32,
    /// Members among them, made on first use.
    pub(crate) members: u32,
    /// It is a member, made on first use.
    pub(crate) made: bool,
    pub(crate) budgets: Vec<BudgetState>,
    pub(crate) rates: Vec<RateState>,
    pub(crate) serial: TenantSerial,
    /// Since when a member has held nothing.
    pub(crate) idle: Option<Time>,
    pub(crate) revision: u64,
}

/// What happens to something when its time comes; what falls on one instant goes in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A lease's time to live, or to be confirmed.
    LeaseEnd(Id),
    /// A lease that gives way is revoked.
    Deadline(Id),
    /// A ticket waited as long as one may.
    TicketEnd(Id),
    /// A ticket's holder was silent for too long.
    SilentEnd(Id),
    /// A ticket is passed over.
    Silence(Id),
    /// A budget's period turns.
    BudgetTurn(TenantIndex, u32),
    /// A member goes.
    MemberEnd(TenantIndex),
    /// A lease that gives way without notice is revoked, once what it gave way for has come to rest.
    AtOnce(Id),
}

/// One cell: its pools, tenants and budgets, the leases and the tickets.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub(crate) settings: Settings,
    /// Each with the number of the posting that changed it last.
    pub(crate) classes: BTreeMap<Name, (Class, u64)>,
    /// By name.
    pub(crate) pools: Vec<PoolState>,
    pub(crate) pool_revisions: BTreeMap<Name, u64>,
    pub(crate) tenants: Vec<Option<TenantState>>,
    pub(crate) by_path: Map<TenantPath, TenantIndex>,
    /// Tenants that go when they are empty.
    pub(crate) draining: BTreeSet<TenantPath>,
    pub(crate) leases: IdMap<LeaseRecord>,
    pub(crate) tickets: IdMap<TicketRecord>,
    pub(crate) endings: Endings,
    /// Leases, tickets and ended requests by the callers' ids.
    pub(crate) requests: Requests,
    /// The serial of the next tenant.
    pub(crate) next_serial: u64,
    pub(crate) holders: Map<Holder, Rows<Id>>,
    pub(crate) timers: Rows<(Time, Timer)>,
    /// Rates that tickets wait for, by when they let pass one more; what is over is not found out yet.
    pub(crate) rate_turns: BTreeSet<(Time, RateIndex)>,
    /// Leases that give way without notice are being revoked, all of one instant before anything is decided.
    pub(crate) revoking: bool,
    pub(crate) next_id: u64,
    /// Entries posted.
    pub(crate) posted: u64,
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new()
    }
}

impl Ledger {
    /// An empty ledger.
    pub fn new() -> Self {
        Self {
            settings: Settings::default(),
            classes: BTreeMap::new(),
            pools: Vec::new(),
            pool_revisions: BTreeMap::new(),
            tenants: Vec::new(),
            by_path: Map::default(),
            draining: BTreeSet::new(),
            leases: IdMap::default(),
            tickets: IdMap::default(),
            endings: Endings::default(),
            requests: Requests::default(),
            next_serial: 0,
            holders: Map::default(),
            timers: Rows::default(),
            rate_turns: BTreeSet::new(),
            revoking: false,
            next_id: 1,
            posted: 0,
        }
    }

    pub(crate) fn pool_at(&self, at: PoolIndex) -> &PoolState {
        &self.pools[at]
    }

    pub(crate) fn pool_index(&self, name: &str) -> Option<PoolIndex> {
        self.pools.binary_search_by(|pool| pool.spec.name.as_str().cmp(name)).ok()
    }

    pub(crate) fn tenant_at(&self, index: TenantIndex) -> Option<&TenantState> {
        self.tenants.get(index as usize).and_then(Option::as_ref)
    }

    pub(crate) fn tenant_index(&self, path: &str) -> Option<TenantIndex> {
        self.by_path.get(path).copied()
    }

    /// Asks whether a request may start. The same request again is answered by where it stands.
    pub fn admit(&self, now: Time, request: &Arc<Request>) -> Result<Decision, Refusal> {
        self.ask_for::<true>(now, request)
    }

    /// Asks what would become of a request: what [`admit`](Self::admit) says, with nothing to post.
    pub fn check(&self, now: Time, request: &Arc<Request>) -> Result<Decision, Refusal> {
        self.ask_for::<false>(now, request)
    }

    fn ask_for<const TAKES: bool>(&self, now: Time, request: &Arc<Request>) -> Result<Decision, Refusal> {
        let (at, leaf) = self.place(request)?;
        let pool = self.pool_at(at);
        pool.announce(&leaf);
        // Of a member that is not made yet nothing is known.
        let made = leaf.unmade.is_none().then(|| pool.node(leaf.node));
        let key = made.map(|node| RequestKey::of(node.serial, request.id.as_bytes()));
        if let Some(key) = key
            && let Some(known) = self.decided(now, &leaf, at, request, key)?
        {
            return Ok(known);
        }
        self.check_request(at, &leaf, request)?;
        let mut decision = match self.plainly(at, &leaf, request) {
            // An entry is some of the cost of a check, though nothing comes of it.
            Some(enforce) if !TAKES => return Ok(Decision::allowed(enforce)),
            Some(enforce) => allow(Id(self.next_id), request, request.count, enforce),
            None => {
                let resources = self.with_implied(at, &request.resources);
                check_total("resources", &resources, request.count)?;
                let ask = pool.ask_of(&resources, request.min_count);
                self.check_countable(at, &resources, request.count, &ask)?;
                self.decide(now, at, &leaf, request, &resources, &ask, Id(self.next_id))
            }
        };
        if let (Some(Entry::Admitted { found, .. }), Some(key)) = (&mut decision.entry, key) {
            *found = self.found(at, leaf.node, key);
        }
        if !TAKES {
            (decision.id, decision.entry) = (None, None);
        }
        Ok(decision)
    }

    /// Asks for the confirmation of a lease; nothing to post where it was confirmed before.
    pub fn confirm(&self, now: Time, id: Id) -> Result<Option<Entry>, Refusal> {
        let record = self.live_lease(now, id)?;
        Ok(record.lease.confirmed().is_none().then_some(Entry::Confirmed { id }))
    }

    /// Asks for the renewal of a lease or ticket, by its holder or by another who takes it over.
    pub fn renew(&self, now: Time, id: Id, holder: Option<&Holder>) -> Result<Option<Entry>, Refusal> {
        if !self.tickets.contains_key(&id) {
            self.live_lease(now, id)?;
        }
        Ok(Some(Entry::Renewed { id, holder: holder.cloned() }))
    }

    /// Asks for the end of a lease or a ticket; nothing to post where it has ended.
    pub fn close(&self, now: Time, id: Id, how: Close) -> Result<Option<Entry>, Refusal> {
        if self.tickets.contains_key(&id) {
            return Ok(Some(Entry::Ended { id, end: End::Cancelled }));
        }
        if self.leases.contains_key(&id) {
            let end = match how {
                Close::Release => End::Released,
                Close::Cancel => End::Cancelled,
            };
            return Ok(Some(Entry::Ended { id, end }));
        }
        if self.remembered(now, id).is_some() { Ok(None) } else { Err(Refusal::NoLease(id)) }
    }

    /// Asks for another size of a lease, per instance; a resource not named stays as it is.
    pub fn amend(&self, now: Time, id: Id, resources: &Amounts) -> Result<Amendment, Refusal> {
        let record = self.live_lease(now, id)?;
        let held = record.lease.resources();
        let merged: Vec<_> = held
            .iter()
            .filter(|(name, _)| resources.get(name.as_str()).is_none())
            .chain(resources.iter())
            .map(|(name, amount)| (name.clone(), amount))
            .collect();
        let wanted = Amounts::merged(merged);
        check_total("resources", &wanted, record.lease.count())?;
        if wanted == *held {
            return Ok(Amendment { entry: None, reasons: Vec::new() });
        }
        let more = Amounts::new(wanted.iter().filter_map(|(name, amount)| {
            let more = amount.saturating_sub(held.get(name.as_str()).unwrap_or(0));
            (more > 0).then(|| (name.clone(), more))
        }))
        .map_err(|error| invalid("resources", &error))?;
        let resized = |observed| Some(Entry::Resized { id, resources: wanted.clone(), observed });
        if more.is_empty() {
            return Ok(Amendment { entry: resized(None), reasons: Vec::new() });
        }
        let leaf = Leaf::at(record.leaf);
        let ask = self.pool_at(record.pool()).ask_of(&more, record.lease.count());
        self.check_countable(record.pool(), &more, record.lease.count(), &ask)?;
        if record.victim().is_some() {
            let mut finding = Finding::of(ReasonCode::HeldForAnother, record.leaf);
            finding.slot = ask.0.first().map(|(slot, _)| *slot);
            let reasons = vec![self.reason(record.pool(), &leaf, &finding)];
            return Ok(Amendment { entry: None, reasons });
        }
        let request = &record.lease.request;
        let next = Id(self.next_id);
        let asker = Asker {
            leaf: &leaf,
            ask: &ask,
            borrow: request.borrow,
            waits: (now, next),
            key: Some(TicketKey::new(now, request.priority, self.pool_at(record.pool()).spec.age_step, next)),
            claim: None,
            own_claim: None,
        };
        let (findings, _) = self.against(record.pool(), &asker, now);
        let reasons: Vec<_> = findings.iter().map(|finding| self.reason(record.pool(), &leaf, finding)).collect();
        let enforced = self.enforced(record.pool(), &leaf, request) == Enforce::Deny;
        let observed = reasons.first().map(|reason| reason.code);
        let entry = if observed.is_none() || !enforced { resized(observed) } else { None };
        Ok(Amendment { entry, reasons })
    }

    fn live_lease(&self, now: Time, id: Id) -> Result<&LeaseRecord, Refusal> {
        if let Some(record) = self.leases.get(&id) {
            return Ok(record);
        }
        if self.tickets.contains_key(&id) {
            return Err(Refusal::Waits(id));
        }
        Err(if self.remembered(now, id).is_some() { Refusal::Gone(id) } else { Refusal::NoLease(id) })
    }

    /// A request that is gone and still known.
    pub(crate) fn remembered(&self, now: Time, id: Id) -> Option<&EndedRecord> {
        self.endings.get(id).filter(|ended| ended.at().after(self.settings.remember) > now)
    }
}
