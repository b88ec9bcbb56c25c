//! All of a ledger that is not derived, in terms that outlive its tables.

use std::time::Duration;

use crate::amount::Amounts;
use crate::ask::Ask;
use crate::average::Average;
use crate::burst::BurstState;
use crate::claim::take_claim;
use crate::config::{Class, Pool, Settings, Tenant};
use crate::ended::EndedRecord;
use crate::entry::{Guarantee, Place};
use crate::granted::Lease;
use crate::hold::Hold;
use crate::ledger::{LeaseRecord, Ledger, TicketRecord, Timer};
use crate::name::{Name, Resource};
use crate::pool::{NodeId, PoolState, Slot};
use crate::queue::{Shape, TicketKey};
use crate::rate::Taken;
use crate::reclaim::{Claim, ClaimKey};
use crate::request::{Ended, Id, Request, Ticket};
use crate::requests::{NOBODY, RequestKey, TenantSerial};
use crate::time::Time;

/// A ledger as it is kept between runs: what was posted, without what follows from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The settings.
    pub settings: Settings,
    /// Every class, with the number of the posting that changed it last.
    pub classes: Vec<(Class, u64)>,
    /// Every pool.
    pub pools: Vec<PoolSnapshot>,
    /// Every tenant.
    pub tenants: Vec<TenantSnapshot>,
    /// Every lease, with what was charged for it where a budget was.
    pub leases: Vec<(Lease, Option<Amounts>)>,
    /// Every ticket.
    pub tickets: Vec<TicketSnapshot>,
    /// Every request that is gone and still known, the oldest first.
    pub ended: Vec<Ended>,
    /// The number of the next lease or ticket.
    pub next_id: u64,
    /// Entries posted.
    pub posted: u64,
}

/// What is kept of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSnapshot {
    /// As configured.
    pub spec: Pool,
    /// The number of the posting that changed it last.
    pub revision: u64,
    /// Bursts that are running or over.
    pub bursts: Vec<BurstSnapshot>,
    /// Decayed averages of usage.
    pub averages: Vec<AverageSnapshot>,
    /// Who has its hold where.
    pub holds: Vec<HoldSnapshot>,
    /// Claims.
    pub claims: Vec<ClaimSnapshot>,
    /// Leases that give way, with their numbers in the order chosen.
    pub victims: Vec<(u64, Id)>,
    /// The number of the next claim.
    pub next_claim: u64,
    /// The number of the next victim.
    pub next_victim: u64,
    /// How long leases lived that ended, as a running mean.
    pub observed_length: Option<Duration>,
}

impl PoolSnapshot {
    /// Of a pool that holds nothing yet.
    pub(crate) fn of(spec: Pool) -> Self {
        Self {
            spec,
            revision: 0,
            bursts: Vec::new(),
            averages: Vec::new(),
            holds: Vec::new(),
            claims: Vec::new(),
            victims: Vec::new(),
            next_claim: 0,
            next_victim: 0,
            observed_length: None,
        }
    }
}

/// A burst that is running or over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BurstSnapshot {
    /// Whose.
    pub place: Place,
    /// Since when it is above its guarantee.
    pub above: Option<Time>,
    /// When the burst was over.
    pub over: Option<Time>,
    /// Since when it is within its guarantee, after that.
    pub within: Option<Time>,
}

/// A decayed average of usage, in its fixed-point parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AverageSnapshot {
    /// Whose.
    pub place: Place,
    /// Of what.
    pub resource: Resource,
    /// As of the end of the last whole step.
    pub value: i128,
    /// Usage times nanoseconds, since then.
    pub gathered: i128,
    /// When the last change was taken in.
    pub seen: Time,
}

/// A ticket that has its hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldSnapshot {
    /// Where.
    pub place: Place,
    /// Which.
    pub ticket: Id,
    /// Since when without a break.
    pub since: Time,
    /// From when it counts as waiting there.
    pub waits: Time,
}

/// A claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimSnapshot {
    /// Whose.
    pub ticket: Id,
    /// Whether it stayed within its leaf's guarantee.
    pub owner: bool,
    /// Its number in the order made.
    pub made: u64,
    /// The guarantees it claims by.
    pub by: Vec<Guarantee>,
    /// It counts on the victims before this number.
    pub counts_on: u64,
}

/// What is kept of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantSnapshot {
    /// As configured, or as made.
    pub spec: Tenant,
    /// Whether it is a member, made on first use.
    pub member: bool,
    /// Since when a member has held nothing.
    pub idle: Option<Time>,
    /// The number of the posting that changed it last.
    pub revision: u64,
    /// What is charged to its budgets.
    pub budgets: Vec<BudgetSnapshot>,
    /// What is taken of its rates.
    pub rates: Vec<RateSnapshot>,
}

/// What is taken of a rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateSnapshot {
    /// Which.
    pub name: Name,
    /// What is taken, in parts of a unit: as many as the rate's `per` has nanoseconds.
    pub taken: u128,
    /// When that was.
    pub at: Time,
}

/// What is charged to a budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetSnapshot {
    /// Which.
    pub name: Name,
    /// Charged in the running period.
    pub used: u64,
    /// When the period started.
    pub started: Time,
    /// When it ends.
    pub ends: Time,
}

/// What is kept of a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketSnapshot {
    /// The ticket.
    pub ticket: Ticket,
    /// Its place in the order of tickets, fixed on arrival.
    pub rank: i128,
    /// When its last turn of a hold was over.
    pub turned: Option<Time>,
}

impl Ledger {
    /// All of the ledger that is not derived.
    pub fn snapshot(&self) -> Snapshot {
        let tenants = self
            .order()
            .into_iter()
            .filter_map(|index| self.tenant_at(index))
            .map(|tenant| TenantSnapshot {
                spec: tenant.spec.clone(),
                member: tenant.made,
                idle: tenant.idle,
                revision: tenant.revision,
                budgets: tenant
                    .budgets
                    .iter()
                    .map(|budget| BudgetSnapshot {
                        name: budget.spec.name.clone(),
                        used: budget.used,
                        started: budget.started,
                        ends: budget.ends,
                    })
                    .collect(),
                rates: tenant
                    .rates
                    .iter()
                    .map(|rate| RateSnapshot {
                        name: rate.spec.name.clone(),
                        taken: rate.taken.parts,
                        at: rate.taken.at,
                    })
                    .collect(),
            })
            .collect();
        let mut leases: Vec<_> =
            self.leases.values().map(|record| (record.lease.clone(), self.charged(record))).collect();
        leases.sort_unstable_by_key(|(lease, _)| lease.id);
        let mut tickets: Vec<_> = self
            .tickets
            .values()
            .map(|record| TicketSnapshot {
                ticket: record.ticket.clone(),
                rank: record.key.rank(),
                turned: record.turned,
            })
            .collect();
        tickets.sort_unstable_by_key(|ticket| ticket.ticket.id);
        Snapshot {
            settings: self.settings.clone(),
            classes: self.classes.values().cloned().collect(),
            pools: self.pools.iter().map(|pool| self.pool_snapshot(pool)).collect(),
            tenants,
            leases,
            tickets,
            ended: self.endings.iter().map(EndedRecord::ended).collect(),
            next_id: self.next_id,
            posted: self.posted,
        }
    }

    /// The ledger that a snapshot was taken of: every counter derived anew.
    pub fn restore(snapshot: Snapshot) -> Self {
        let mut ledger = Self::new();
        ledger.settings = snapshot.settings;
        ledger.classes =
            snapshot.classes.into_iter().map(|(class, revision)| (class.name.clone(), (class, revision))).collect();
        for TenantSnapshot { spec, member, idle, revision, budgets, rates } in snapshot.tenants {
            let index = ledger.insert_tenant(spec, member);
            let Some(tenant) = &mut ledger.tenants[index as usize] else { continue };
            (tenant.idle, tenant.revision) = (idle, revision);
            for BudgetSnapshot { name, used, started, ends } in budgets {
                if let Some(budget) = tenant.budgets.iter_mut().find(|budget| budget.spec.name == name) {
                    (budget.used, budget.started, budget.ends) = (used, started, ends);
                }
            }
            for RateSnapshot { name, taken, at } in rates {
                if let Some(rate) = tenant.rates.iter_mut().find(|rate| rate.spec.name == name) {
                    rate.taken = Taken { parts: taken, at };
                }
            }
        }
        // Where leases and tickets stand is found as the trees are grown.
        for (mut lease, charged) in snapshot.leases {
            let id = lease.id;
            ledger.know(&lease.request, id);
            if let Some(holder) = lease.holder() {
                ledger.holders.entry(holder.clone()).or_default().insert(id);
            }
            let is_charged = charged.is_some();
            lease.set(|rare| rare.charged = charged);
            ledger.leases.insert(id, LeaseRecord::new(lease, 0, 0, is_charged));
        }
        for TicketSnapshot { ticket, rank, turned } in snapshot.tickets {
            let (id, arrived, borrow) = (ticket.id, ticket.arrived, ticket.request.borrow);
            ledger.know(&ticket.request, id);
            if let Some(holder) = &ticket.holder {
                ledger.holders.entry(holder.clone()).or_default().insert(id);
            }
            let record = TicketRecord {
                ticket,
                pool: 0,
                leaf: 0,
                shape: Shape { ask: Ask::default(), borrow },
                key: TicketKey::from_rank(rank, arrived, id),
                claim: None,
                hold: None,
                turned,
            };
            ledger.tickets.insert(id, record);
        }
        for ended in snapshot.ended {
            let tenant = ledger.know(&ended.request, ended.id);
            ledger.endings.push(EndedRecord::new(ended, tenant));
        }
        (ledger.next_id, ledger.posted) = (snapshot.next_id, snapshot.posted);
        ledger.pool_revisions = snapshot.pools.iter().map(|pool| (pool.spec.name.clone(), pool.revision)).collect();
        ledger.grow(snapshot.pools);
        ledger
    }

    /// An id is known from now on, where its tenant is still there. Returns whose it is.
    fn know(&mut self, request: &Request, id: Id) -> TenantSerial {
        let index = self.by_path.get(&request.tenant).copied();
        let Some(serial) = index.and_then(|index| self.tenant_at(index)).map(|tenant| tenant.serial) else {
            return NOBODY;
        };
        self.requests.insert(RequestKey::of(serial, request.id.as_bytes()), id);
        serial
    }

    pub(crate) fn pool_snapshot(&self, pool: &PoolState) -> PoolSnapshot {
        let bursts = pool.bursting.iter().map(|node| {
            let BurstState { above, over, within } = pool.node(*node).bursting;
            BurstSnapshot { place: place_of(pool, *node), above, over, within }
        });
        let holds = pool.held.iter().filter_map(|node| {
            let hold = pool.node(*node).hold?;
            Some(HoldSnapshot {
                place: place_of(pool, *node),
                ticket: hold.ticket,
                since: hold.since,
                waits: hold.waits.0,
            })
        });
        let claims = pool.claims.order.iter().map(|(key, claim)| ClaimSnapshot {
            ticket: claim.ticket,
            owner: !key.borrower,
            made: key.made,
            by: crate::reclaim::guarantees(pool, &claim.by),
            counts_on: claim.counts_on,
        });
        let mut averages = Vec::new();
        if !pool.spec.half_life.is_zero() {
            for node in (0..pool.nodes.len() as NodeId).filter(|node| !pool.spare.contains(node)) {
                for (slot, average) in pool.node(node).averages.iter().enumerate() {
                    let Some(known) = pool.known(slot as Slot) else { continue };
                    let (value, gathered, seen) = average.parts();
                    averages.push(AverageSnapshot {
                        place: place_of(pool, node),
                        resource: known.name.clone(),
                        value,
                        gathered,
                        seen: Time::from_nanos(seen),
                    });
                }
            }
        }
        PoolSnapshot {
            spec: pool.spec.clone(),
            revision: self.pool_revisions.get(&pool.spec.name).copied().unwrap_or(0),
            bursts: bursts.collect(),
            averages,
            holds: holds.collect(),
            claims: claims.collect(),
            victims: pool.claims.victims.iter().map(|(number, lease)| (*number, *lease)).collect(),
            next_claim: pool.claims.next_claim,
            next_victim: pool.claims.next_victim,
            observed_length: pool.observed_length.map(Duration::from_nanos),
        }
    }

    /// Puts back into a pool what of it is not derived; the leases and the tickets are there.
    pub(crate) fn take_pool(&mut self, at: usize, kept: PoolSnapshot) {
        for BurstSnapshot { place, above, over, within } in kept.bursts {
            if let Some(node) = self.node_of(at, &place) {
                self.pools[at].set_burst(node, BurstState { above, over, within });
            }
        }
        for AverageSnapshot { place, resource, value, gathered, seen } in kept.averages {
            if let (Some(node), Some(slot)) = (self.node_of(at, &place), self.pools[at].slot(resource.as_str())) {
                let averages = &mut self.pools[at].nodes[node as usize].averages;
                if averages.len() <= usize::from(slot) {
                    averages.resize(usize::from(slot) + 1, Average::default());
                }
                averages[usize::from(slot)] = Average::from_parts((value, gathered, seen.nanos()));
            }
        }
        self.pools[at].observed_length = kept.observed_length.map(crate::time::nanos_of);
        for (number, lease) in kept.victims {
            let deadline = self.leases.get(&lease).and_then(|record| record.lease.deadline());
            if let Some(deadline) = deadline {
                self.give_way(lease, deadline, number, Timer::Deadline(lease));
            }
        }
        for ClaimSnapshot { ticket, owner, made, by, counts_on } in kept.claims {
            let by = self.nodes_of(at, &by);
            let Some(record) = self.tickets.get_mut(&ticket) else { continue };
            let key = ClaimKey { borrower: !owner, made };
            record.claim = Some(key);
            let (leaf, shape) = (record.leaf, &record.shape);
            let pool = &mut self.pools[at];
            let (queue, shapes) = pool.queue_of(leaf);
            queue.shut(shapes, shape, record.key, record.waits());
            pool.pass_queue(leaf);
            take_claim(pool, key, Claim { ticket, leaf, ask: shape.ask.clone(), borrow: shape.borrow, by, counts_on });
        }
        (self.pools[at].claims.next_claim, self.pools[at].claims.next_victim) = (kept.next_claim, kept.next_victim);
        self.pools[at].claims.book.spoil();
        for HoldSnapshot { place, ticket, since, waits } in kept.holds {
            let Some(node) = self.node_of(at, &place) else { continue };
            let Some(record) = self.tickets.get_mut(&ticket) else { continue };
            record.hold = Some(node);
            self.pools[at].set_hold(node, Some(Hold { ticket, since, waits: (waits, ticket) }));
        }
    }
}

pub(crate) fn place_of(pool: &PoolState, node: NodeId) -> Place {
    let node = pool.node(node);
    Place { tenant: node.path.clone(), own: node.own }
}
