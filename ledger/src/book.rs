//! The book of claims: what changes with a change, and nothing else, is judged anew.
//!
//! Whether the claims of a pool stand, whom they need and whose turn it is could be found out by going through all of
//! them in their order after every change, and `reclaim` does so where it must. The book keeps, for every node and
//! resource that claims ask for, a [`Page`] that tells by its least line whether all of them stand there; and it
//! *parks* whoever waits for something at the page that says so: a victim where a claim needs it, a claim where its
//! ticket is blocked, with how much it would take. A change looks at the pages on its way alone, and at those parked
//! there for whom it was enough.
//!
//! It holds for pools in which everything is lendable. Where something is not, what an ask raises depends on where it
//! is made, and the book is not kept.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use foldhash::fast::FixedState;

use crate::ask::Ask;
use crate::ids::IdMap;
use crate::ledger::LeaseRecord;
use crate::node::Node;
use crate::page::{Line, Page};
use crate::pool::{NodeId, PoolState, ROOT, Slot};
use crate::reclaim::{Claim, ClaimKey};

/// A resource at a node.
type Spot = (NodeId, Slot);
/// A guarantee of one of the nodes on a claim's path: where, and in which of the resources that it asks for.
type Guarantee = (NodeId, Vec<Slot>);

/// A page, and who is parked there: of those who would take the same, the first to have it first.
#[derive(Clone, Debug, Default)]
struct Spread {
    page: Page,
    touched: bool,
    /// Victims that a claim needs here, by what it would take to let them off.
    victims: BTreeMap<i64, BTreeSet<u64>>,
    /// Claims that wait here, by how much room they would take.
    claims: BTreeMap<i64, BTreeSet<ClaimKey>>,
}

impl Spread {
    /// Victims of whom one may be let off, as so much is held now: the last chosen of those who would take the same. The
    /// earlier one was chosen, the more claims count on it; so where it is none, it is nobody.
    fn spare(&self, usage: i64) -> Vec<u64> {
        let last = |victims: &BTreeSet<u64>| victims.last().copied();
        let Some(latest) = self.victims.values().filter_map(last).max() else { return Vec::new() };
        let most = self.page.slack_counting(latest) - usage;
        let some = self.victims.range(..=most).filter_map(|(takes, victims)| Some((*takes, last(victims)?)));
        some.filter(|(takes, victim)| *takes <= self.page.slack_counting(*victim) - usage).map(|(_, it)| it).collect()
    }

    /// Claims of which one may be admitted, as there is so much room: the first of those who would take the same, and
    /// with those that something else may stand against, those after them.
    fn ready(&self, room: i64, wary: &BTreeSet<ClaimKey>) -> Vec<ClaimKey> {
        let mut ready = Vec::new();
        for claims in self.claims.range(..=room).map(|(_, claims)| claims) {
            let first = claims.iter().position(|key| !wary.contains(key)).unwrap_or(claims.len());
            ready.extend(claims.iter().take(first + 1));
        }
        ready
    }

    fn is_blank(&self) -> bool {
        self.page.is_empty() && self.victims.is_empty() && self.claims.is_empty()
    }
}

/// Takes one out of those who would take so much.
fn leave<T: Ord>(parked: &mut BTreeMap<i64, BTreeSet<T>>, takes: i64, one: &T) {
    if let Some(others) = parked.get_mut(&takes) {
        others.remove(one);
        if others.is_empty() {
            parked.remove(&takes);
        }
    }
}

/// What is known of the claims and victims of a pool.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    /// It can be kept.
    open: bool,
    /// What it was written from has changed: it is to be written anew.
    stale: bool,
    spreads: HashMap<Spot, Spread, FixedState>,
    touched: Vec<Spot>,
    /// Where some claim does not stand.
    short: BTreeSet<Spot>,
    /// Claims that stand by one of several guarantees.
    choosy: BTreeSet<ClaimKey>,
    /// Claims whose tickets may come to claim no more with time, or by what others of their tenant do.
    wary: BTreeSet<ClaimKey>,
    /// Victims that no claim is known to need, each with where one needed it before.
    free: BTreeMap<u64, Option<Spot>>,
    /// Victims that only claims with several guarantees need.
    doubtful: BTreeSet<u64>,
    /// Where a victim is needed, and what it would take.
    parked_victims: HashMap<u64, (Spot, i64), FixedState>,
    /// Claims that nothing is known to block, each with where it was blocked before.
    ready: BTreeMap<ClaimKey, Option<Spot>>,
    /// Where a claim waits, for how much room, and behind which.
    parked_claims: HashMap<ClaimKey, (Spot, i64, Option<ClaimKey>), FixedState>,
    behind: HashMap<ClaimKey, BTreeSet<ClaimKey>, FixedState>,
}

impl Default for Book {
    fn default() -> Self {
        Self {
            open: true,
            stale: false,
            spreads: HashMap::default(),
            touched: Vec::new(),
            short: BTreeSet::new(),
            choosy: BTreeSet::new(),
            wary: BTreeSet::new(),
            free: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            parked_victims: HashMap::default(),
            ready: BTreeMap::new(),
            parked_claims: HashMap::default(),
            behind: HashMap::default(),
        }
    }
}

impl Book {
    /// Whether it is kept, and says what is.
    pub(crate) fn is_open(&self) -> bool {
        self.open && !self.stale
    }

    /// Whether it is to be written anew.
    pub(crate) fn is_stale(&self) -> bool {
        self.stale
    }

    /// Whether nothing is written in it.
    pub(crate) fn is_blank(&self) -> bool {
        self.spreads.is_empty() && self.free.is_empty() && self.doubtful.is_empty() && self.ready.is_empty()
    }

    /// Something that it takes for granted has changed: a limit, a guarantee, who stands where.
    pub(crate) fn spoil(&mut self) {
        self.stale = true;
    }

    /// Whether all claims stand, as far as that follows from what is held.
    pub(crate) fn all_stand(&self, pool: &PoolState) -> bool {
        self.short.is_empty() && self.choosy.iter().all(|key| self.keeps(pool, *key, None))
    }

    /// Claims whose tickets are to be asked whether they may claim still.
    pub(crate) fn wary(&self) -> impl Iterator<Item = ClaimKey> + '_ {
        self.wary.iter().copied()
    }

    /// The last chosen of the victims whom no claim needs.
    pub(crate) fn spare(&self) -> Option<u64> {
        self.free.last_key_value().map(|(victim, _)| *victim)
    }

    /// Claims that may be admitted, in their order.
    pub(crate) fn ready(&self) -> impl Iterator<Item = ClaimKey> + '_ {
        self.ready.keys().copied()
    }

    /// Whether a claim before this one is blocked where its ticket asks.
    pub(crate) fn earlier_against(&self, pool: &PoolState, leaf: NodeId, ask: &Ask, key: ClaimKey) -> Option<Spot> {
        self.behind_whom(pool, leaf, ask, key).map(|(spot, _)| spot)
    }

    // What happens.

    /// What is held under a leaf changed.
    pub(crate) fn touch(&mut self, nodes: &[Node], leaf: NodeId, ask: &Ask) {
        if self.spreads.is_empty() {
            return;
        }
        let mut next = Some(leaf);
        while let Some(node) = next {
            ask.0.iter().for_each(|(slot, _)| self.touch_spot((node, *slot)));
            next = (node != ROOT).then(|| nodes[node as usize].parent);
        }
    }

    fn touch_spot(&mut self, spot: Spot) {
        if let Some(spread) = self.spreads.get_mut(&spot)
            && !spread.touched
        {
            spread.touched = true;
            self.touched.push(spot);
        }
    }

    /// A claim was made; what it asks for is counted in the plans already.
    pub(crate) fn make(&mut self, pool: &PoolState, key: ClaimKey, claim: &Claim, wary: bool) {
        if self.is_open() {
            self.enter(pool, key, claim, wary, |node, slot, asks| victims_under(pool, node, slot, asks));
        }
    }

    /// Takes in a claim; `gone` is what of a resource at a node the victims hold that it counts on.
    fn enter(
        &mut self,
        pool: &PoolState,
        key: ClaimKey,
        claim: &Claim,
        wary: bool,
        gone: impl Fn(NodeId, Slot, i64) -> i64,
    ) {
        let by = weakest(pool, claim);
        for node in pool.up(claim.leaf) {
            for (slot, ask) in claim.ask.0.iter() {
                let page = &mut self.spreads.entry((node, *slot)).or_default().page;
                let change = page.asks_before(key) + ask - gone(node, *slot, page.asks() + ask);
                let bound = bound(pool, claim, (node, *slot), &by);
                page.insert(Line { key, ask: *ask, counts_on: claim.counts_on, bound, change });
                self.touch_spot((node, *slot));
            }
        }
        if is_choosy(claim, &by) {
            self.choosy.insert(key);
        }
        if wary {
            self.wary.insert(key);
        }
        self.ready.insert(key, None);
    }

    /// A claim took further victims, and counts on all.
    pub(crate) fn extend(&mut self, pool: &PoolState, key: ClaimKey, claim: &Claim) {
        if !self.is_open() {
            return;
        }
        let by = weakest(pool, claim);
        for node in pool.up(claim.leaf) {
            for (slot, ask) in claim.ask.0.iter() {
                let Some(spread) = self.spreads.get_mut(&(node, *slot)) else { continue };
                let page = &mut spread.page;
                let change = page.asks_before(key) + ask - victims_under(pool, node, *slot, page.asks());
                let bound = bound(pool, claim, (node, *slot), &by);
                page.replace(Line { key, ask: *ask, counts_on: claim.counts_on, bound, change });
                self.touch_spot((node, *slot));
            }
        }
        if is_choosy(claim, &by) {
            self.choosy.insert(key);
        } else {
            self.choosy.remove(&key);
        }
    }

    /// A claim is gone.
    pub(crate) fn end(&mut self, pool: &PoolState, key: ClaimKey, claim: &Claim) {
        if !self.is_open() {
            return;
        }
        for node in pool.up(claim.leaf) {
            for (slot, _) in claim.ask.0.iter() {
                if let Some(spread) = self.spreads.get_mut(&(node, *slot)) {
                    spread.page.remove(key);
                    self.touch_spot((node, *slot));
                }
            }
        }
        self.choosy.remove(&key);
        self.wary.remove(&key);
        self.unpark_claim(key);
        self.ready.remove(&key);
        for later in self.behind.remove(&key).unwrap_or_default() {
            if self.parked_claims.get(&later).is_some_and(|(_, _, behind)| *behind == Some(key)) {
                self.unpark_claim(later);
                self.ready.insert(later, None);
            }
        }
    }

    /// The ticket of a claim may come to claim no more.
    pub(crate) fn beware(&mut self, key: ClaimKey) {
        if self.is_open() {
            self.wary.insert(key);
        }
    }

    /// A lease gives way.
    pub(crate) fn choose(&mut self, victim: u64) {
        if self.is_open() {
            self.free.insert(victim, None);
        }
    }

    /// A victim is one no more, or gives back so much less.
    pub(crate) fn put_back(&mut self, pool: &PoolState, victim: u64, leaf: NodeId, ask: &Ask) {
        if !self.is_open() {
            return;
        }
        for node in pool.up(leaf) {
            for (slot, amount) in ask.0.iter() {
                if let Some(spread) = self.spreads.get_mut(&(node, *slot)) {
                    spread.page.put_back(victim, *amount);
                    self.touch_spot((node, *slot));
                }
            }
        }
    }

    /// Nothing is to be known of a victim any more.
    pub(crate) fn lose(&mut self, victim: u64) {
        self.free.remove(&victim);
        self.doubtful.remove(&victim);
        self.unpark_victim(victim);
    }

    fn unpark_victim(&mut self, victim: u64) {
        if let Some((spot, takes)) = self.parked_victims.remove(&victim)
            && let Some(spread) = self.spreads.get_mut(&spot)
        {
            leave(&mut spread.victims, takes, &victim);
        }
    }

    fn unpark_claim(&mut self, key: ClaimKey) {
        if let Some((spot, room, _)) = self.parked_claims.remove(&key)
            && let Some(spread) = self.spreads.get_mut(&spot)
        {
            leave(&mut spread.claims, room, &key);
        }
    }

    // What follows.

    /// Takes in all that changed: who stands, who is needed, who may be admitted.
    pub(crate) fn settle(&mut self, pool: &PoolState, leases: &IdMap<LeaseRecord>) {
        if !self.is_open() {
            return;
        }
        let doubtful = std::mem::take(&mut self.doubtful);
        self.free.extend(doubtful.into_iter().map(|victim| (victim, None)));
        let mut spots = std::mem::take(&mut self.touched);
        loop {
            for spot in std::mem::take(&mut spots) {
                self.settle_spot(pool, spot);
            }
            // Whoever is needed or blocked elsewhere after all leaves his turn to the next where he was before.
            if let Some(before) = self.park_a_victim(pool, leases).or_else(|| self.park_a_claim(pool)) {
                spots.extend(before);
            } else {
                return;
            }
        }
    }

    /// Parks the first of the free victims where a claim needs it; none where it is free indeed. Where it was before.
    fn park_a_victim(&mut self, pool: &PoolState, leases: &IdMap<LeaseRecord>) -> Option<Option<Spot>> {
        let (victim, before) = self.free.last_key_value().map(|(victim, before)| (*victim, *before))?;
        let record = pool.claims.victims.get(&victim).and_then(|lease| leases.get(lease))?;
        match self.needed_at(pool, victim, record) {
            Needed::No => return None,
            Needed::Somewhere => {
                self.doubtful.insert(victim);
            }
            Needed::At(spot, takes) => {
                self.parked_victims.insert(victim, (spot, takes));
                self.spreads.entry(spot).or_default().victims.entry(takes).or_default().insert(victim);
            }
        }
        self.free.remove(&victim);
        Some(before)
    }

    /// Parks the first of the claims that are ready where it is blocked; none where it is ready indeed. Where it was
    /// before.
    fn park_a_claim(&mut self, pool: &PoolState) -> Option<Option<Spot>> {
        let (key, before) = self.ready.first_key_value().map(|(key, before)| (*key, *before))?;
        let (spot, room, behind) = self.blocked_at(pool, key, pool.claims.order.get(&key)?)?;
        self.ready.remove(&key);
        self.parked_claims.insert(key, (spot, room, behind));
        self.spreads.entry(spot).or_default().claims.entry(room).or_default().insert(key);
        if let Some(behind) = behind {
            self.behind.entry(behind).or_default().insert(key);
        }
        Some(before)
    }

    fn settle_spot(&mut self, pool: &PoolState, spot: Spot) {
        let Some(spread) = self.spreads.get_mut(&spot) else { return };
        spread.touched = false;
        let usage = usage(pool, spot);
        if spread.page.slack() < usage {
            self.short.insert(spot);
        } else {
            self.short.remove(&spot);
        }
        for victim in spread.spare(usage) {
            if let Some((_, takes)) = self.parked_victims.remove(&victim) {
                leave(&mut spread.victims, takes, &victim);
            }
            self.free.insert(victim, Some(spot));
        }
        for key in spread.ready(room(pool, spot), &self.wary) {
            if let Some((_, takes, _)) = self.parked_claims.remove(&key) {
                leave(&mut spread.claims, takes, &key);
            }
            self.ready.insert(key, Some(spot));
        }
        if spread.is_blank() {
            self.spreads.remove(&spot);
        }
    }

    /// Whether a claim needs a victim, and where.
    fn needed_at(&self, pool: &PoolState, victim: u64, record: &LeaseRecord) -> Needed {
        let path: Vec<NodeId> = pool.up(record.leaf).collect();
        // The root is where most are blocked.
        for node in path.iter().rev() {
            for (slot, amount) in record.ask().0.iter() {
                let spot = (*node, *slot);
                if let Some(spread) = self.spreads.get(&spot)
                    && spread.page.slack_counting(victim) - usage(pool, spot) < *amount
                {
                    return Needed::At(spot, *amount);
                }
            }
        }
        let counting =
            self.choosy.iter().filter(|key| pool.claims.order.get(*key).is_some_and(|claim| claim.counts_on > victim));
        let back = Some((path.as_slice(), record.ask()));
        if counting.into_iter().any(|key| !self.keeps(pool, *key, back)) { Needed::Somewhere } else { Needed::No }
    }

    /// Whether a claim stays within one of its guarantees, with a victim put back.
    fn keeps(&self, pool: &PoolState, key: ClaimKey, back: Option<(&[NodeId], &Ask)>) -> bool {
        let Some(claim) = pool.claims.order.get(&key) else { return true };
        let by = weakest(pool, claim);
        if by.is_empty() {
            return !claim.by.is_empty();
        }
        by.iter().any(|(node, slots)| {
            slots.iter().all(|slot| {
                let back = back.filter(|(path, _)| path.contains(node)).map_or(0, |(_, ask)| ask.of(*slot));
                let line = self.spreads.get(&(*node, *slot)).and_then(|spread| spread.page.line(key));
                line.is_none_or(|line| {
                    usage(pool, (*node, *slot)) + line.change + back <= pool.node(*node).cell(*slot).guarantee
                })
            })
        })
    }

    /// Where a claim's ticket is blocked, itself or behind another: for want of how much room.
    fn blocked_at(&self, pool: &PoolState, key: ClaimKey, claim: &Claim) -> Option<(Spot, i64, Option<ClaimKey>)> {
        let path: Vec<NodeId> = pool.up(claim.leaf).collect();
        for node in path.iter().rev() {
            for (slot, ask) in claim.ask.0.iter() {
                if *ask > room(pool, (*node, *slot)) {
                    return Some(((*node, *slot), *ask, None));
                }
            }
        }
        self.behind_whom(pool, claim.leaf, &claim.ask, key).map(|(spot, (other, takes))| (spot, takes, Some(other)))
    }

    fn behind_whom(&self, pool: &PoolState, leaf: NodeId, ask: &Ask, key: ClaimKey) -> Option<(Spot, (ClaimKey, i64))> {
        let spots = pool.up(leaf).flat_map(|node| ask.0.iter().map(move |(slot, _)| (node, *slot)));
        spots.into_iter().find_map(|spot| {
            let page = &self.spreads.get(&spot)?.page;
            Some((spot, page.blocked_before(key, room(pool, spot))?))
        })
    }

    /// Writes it anew, from the claims and the victims as they stand.
    pub(crate) fn rewrite(pool: &PoolState, leases: &IdMap<LeaseRecord>, wary: &BTreeSet<ClaimKey>) -> Self {
        let mut book = Self { open: !pool.node(ROOT).stiff, ..Self::default() };
        if !book.open {
            return book;
        }
        for (key, claim) in &pool.claims.order {
            book.enter(pool, *key, claim, wary.contains(key), |_, _, _| 0);
        }
        for (victim, lease) in &pool.claims.victims {
            let Some(record) = leases.get(lease) else { continue };
            book.choose(*victim);
            let gone = Ask(record.ask().0.iter().map(|(slot, amount)| (*slot, -amount)).collect());
            book.put_back(pool, *victim, record.leaf, &gone);
        }
        book.settle(pool, leases);
        book
    }
}

/// Whether a claim stands by one of several guarantees, or by none that is left.
fn is_choosy(claim: &Claim, by: &[Guarantee]) -> bool {
    by.len() > 1 || claim.by.is_empty()
}

/// Whether a claim needs a victim.
enum Needed {
    No,
    /// At this spot, where it would take so much to do without.
    At(Spot, i64),
    /// By one of several guarantees.
    Somewhere,
}

fn usage(pool: &PoolState, (node, slot): Spot) -> i64 {
    pool.node(node).cell(slot).now.usage
}

fn room(pool: &PoolState, (node, slot): Spot) -> i64 {
    let cell = pool.node(node).cell(slot);
    cell.limit - cell.now.usage
}

/// What the victims under a node hold: what the plan of all claims lacks, where claims ask for so much.
fn victims_under(pool: &PoolState, node: NodeId, slot: Slot, asks: i64) -> i64 {
    let here = pool.node(node);
    let planned = here.plans.get(usize::from(slot)).map_or(0, |plan| plan[0].usage);
    here.cell(slot).now.usage + asks - planned
}

/// What a claim's plan may hold at a node: no more than the limit, nor than the guarantee that it stands by, nor, of one
/// that may not borrow, than its leaf's.
fn bound(pool: &PoolState, claim: &Claim, (node, slot): Spot, by: &[Guarantee]) -> i64 {
    let cell = pool.node(node).cell(slot);
    let own = !claim.borrow && node == claim.leaf && pool.capacity(slot).is_some();
    match by {
        _ if own => cell.limit.min(cell.guarantee),
        [(at, slots)] if *at == node && slots.contains(&slot) => cell.limit.min(cell.guarantee),
        _ => cell.limit,
    }
}

/// The guarantees that a claim stands by, without those that follow from another: one of each node that asks for least.
/// None where it stands whatever is held.
fn weakest(pool: &PoolState, claim: &Claim) -> Vec<Guarantee> {
    let counts = |slot: &Slot| claim.ask.of(*slot) > 0 && pool.capacity(*slot).is_some();
    let mut by: Vec<Guarantee> = Vec::new();
    for (node, slots) in &claim.by {
        let slots: Vec<Slot> = slots.iter().copied().filter(counts).collect();
        if slots.is_empty() {
            return Vec::new();
        }
        let within = |a: &[Slot], b: &[Slot]| a.iter().all(|slot| b.contains(slot));
        if by.iter().any(|(at, other)| at == node && within(other, &slots)) {
            continue;
        }
        by.retain(|(at, other)| at != node || !within(&slots, other));
        by.push((*node, slots));
    }
    by
}
