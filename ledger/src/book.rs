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

use crate::ledger::{LeaseRecord, Map};
use crate::page::{Line, Page};
use crate::pool::{Ask, Node, NodeId, PoolState, ROOT, Slot};
use crate::reclaim::{Claim, ClaimKey};
use crate::request::Id;

/// A resource at a node.
type Spot = (NodeId, Slot);
/// A guarantee of one of the nodes on a claim's path: where, and in which of the resources that it asks for.
type Guarantee = (NodeId, Vec<Slot>);

/// A page, and who is parked there.
#[derive(Clone, Debug, Default)]
struct Spread {
    page: Page,
    touched: bool,
    /// Victims that a claim needs here, each with what it would take to let it off.
    victims: BTreeMap<u64, i64>,
    /// How many of them would take so much.
    takes: BTreeMap<i64, u32>,
    /// Claims that wait here, by how much room they would take.
    claims: BTreeSet<(i64, ClaimKey)>,
}

impl Spread {
    fn park(&mut self, victim: u64, takes: i64) {
        self.victims.insert(victim, takes);
        *self.takes.entry(takes).or_insert(0) += 1;
    }

    fn leave(&mut self, victim: u64) {
        let Some(takes) = self.victims.remove(&victim) else { return };
        if let Some(count) = self.takes.get_mut(&takes) {
            *count -= 1;
            if *count == 0 {
                self.takes.remove(&takes);
            }
        }
    }

    /// Victims for whom there is enough, as so much is held now.
    fn wake(&self, usage: i64) -> Vec<u64> {
        let Some((least, _)) = self.takes.first_key_value() else { return Vec::new() };
        let mut woken = Vec::new();
        for (victim, takes) in self.victims.iter().rev() {
            // The earlier it was chosen, the more claims count on it.
            let left = self.page.slack_counting(*victim) - usage;
            if left < *least {
                break;
            }
            if *takes <= left {
                woken.push(*victim);
            }
        }
        woken
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
    /// Victims that no claim is known to need.
    free: BTreeSet<u64>,
    /// Victims that only claims with several guarantees need.
    doubtful: BTreeSet<u64>,
    parked_victims: HashMap<u64, Spot, FixedState>,
    /// Claims that nothing is known to block.
    ready: BTreeSet<ClaimKey>,
    /// Where a claim waits, for how much room, and behind which.
    parked_claims: HashMap<ClaimKey, (Spot, i64, Option<ClaimKey>), FixedState>,
    behind: HashMap<ClaimKey, Vec<ClaimKey>, FixedState>,
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
            free: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            parked_victims: HashMap::default(),
            ready: BTreeSet::new(),
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
        self.free.last().copied()
    }

    /// Claims that may be admitted, in their order.
    pub(crate) fn ready(&self) -> impl Iterator<Item = ClaimKey> + '_ {
        self.ready.iter().copied()
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
            for (slot, ask) in &claim.ask.0 {
                let page = &mut self.spreads.entry((node, *slot)).or_default().page;
                let change = page.asks_before(key) + ask - gone(node, *slot, page.asks() + ask);
                let bound = bound(pool, node, *slot, &by);
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
        self.ready.insert(key);
    }

    /// A claim took further victims, and counts on all.
    pub(crate) fn extend(&mut self, pool: &PoolState, key: ClaimKey, claim: &Claim) {
        if !self.is_open() {
            return;
        }
        let by = weakest(pool, claim);
        for node in pool.up(claim.leaf) {
            for (slot, ask) in &claim.ask.0 {
                let Some(spread) = self.spreads.get_mut(&(node, *slot)) else { continue };
                let page = &mut spread.page;
                let change = page.asks_before(key) + ask - victims_under(pool, node, *slot, page.asks());
                let bound = bound(pool, node, *slot, &by);
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
            for (slot, _) in &claim.ask.0 {
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
                self.ready.insert(later);
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
            self.free.insert(victim);
        }
    }

    /// A victim is one no more, or gives back so much less.
    pub(crate) fn put_back(&mut self, pool: &PoolState, victim: u64, leaf: NodeId, ask: &Ask) {
        if !self.is_open() {
            return;
        }
        for node in pool.up(leaf) {
            for (slot, amount) in &ask.0 {
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
        if let Some(spot) = self.parked_victims.remove(&victim)
            && let Some(spread) = self.spreads.get_mut(&spot)
        {
            spread.leave(victim);
        }
    }

    fn unpark_claim(&mut self, key: ClaimKey) {
        if let Some((spot, room, _)) = self.parked_claims.remove(&key)
            && let Some(spread) = self.spreads.get_mut(&spot)
        {
            spread.claims.remove(&(room, key));
        }
    }

    // What follows.

    /// Takes in all that changed: who stands, who is needed, who may be admitted.
    pub(crate) fn settle(&mut self, pool: &PoolState, leases: &Map<Id, LeaseRecord>) {
        if !self.is_open() {
            return;
        }
        for spot in std::mem::take(&mut self.touched) {
            self.settle_spot(pool, spot);
        }
        self.free.append(&mut self.doubtful);
        while let Some(victim) = self.free.last().copied() {
            let record = pool.claims.victims.get(&victim).and_then(|lease| leases.get(lease));
            let Some(record) = record else { break };
            match self.needed_at(pool, victim, record) {
                Needed::At(spot, takes) => {
                    self.free.remove(&victim);
                    self.parked_victims.insert(victim, spot);
                    self.spreads.entry(spot).or_default().park(victim, takes);
                }
                Needed::Somewhere => {
                    self.free.remove(&victim);
                    self.doubtful.insert(victim);
                }
                Needed::No => break,
            }
        }
        while let Some(key) = self.ready.first().copied() {
            let Some(claim) = pool.claims.order.get(&key) else { break };
            let Some((spot, room, behind)) = self.blocked_at(pool, key, claim) else { break };
            self.ready.remove(&key);
            self.parked_claims.insert(key, (spot, room, behind));
            self.spreads.entry(spot).or_default().claims.insert((room, key));
            if let Some(behind) = behind {
                self.behind.entry(behind).or_default().push(key);
            }
        }
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
        for victim in spread.wake(usage) {
            spread.leave(victim);
            self.parked_victims.remove(&victim);
            self.free.insert(victim);
        }
        let room = room(pool, spot);
        while let Some((takes, key)) = spread.claims.first().copied().filter(|(takes, _)| *takes <= room) {
            spread.claims.remove(&(takes, key));
            self.parked_claims.remove(&key);
            self.ready.insert(key);
        }
        if spread.page.is_empty() && spread.victims.is_empty() && spread.claims.is_empty() {
            self.spreads.remove(&spot);
        }
    }

    /// Whether a claim needs a victim, and where.
    fn needed_at(&self, pool: &PoolState, victim: u64, record: &LeaseRecord) -> Needed {
        let path: Vec<NodeId> = pool.up(record.leaf).collect();
        // The root is where most are blocked.
        for node in path.iter().rev() {
            for (slot, amount) in &record.ask.0 {
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
        let back = Some((path.as_slice(), &record.ask));
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
            for (slot, ask) in &claim.ask.0 {
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
    pub(crate) fn rewrite(pool: &PoolState, leases: &Map<Id, LeaseRecord>, wary: &BTreeSet<ClaimKey>) -> Self {
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
            let gone = Ask(record.ask.0.iter().map(|(slot, amount)| (*slot, -amount)).collect());
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

/// What a claim's plan may hold at a node: no more than the limit, nor than the guarantee that it stands by.
fn bound(pool: &PoolState, node: NodeId, slot: Slot, by: &[Guarantee]) -> i64 {
    let cell = pool.node(node).cell(slot);
    match by {
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
