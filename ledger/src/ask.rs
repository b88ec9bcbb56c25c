//! What is asked for: by the names of resources, and by their places in a pool.

use std::sync::Arc;

use crate::amount::{Amount, Amounts};
use crate::granted::Held;
use crate::name::Resource;
use crate::pool::{CLIMB, Known, PoolState, ROOT, Slot};
use crate::request::Request;

/// What is asked for or held, of all instances together: by resource, in the order of names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ask(pub(crate) Arc<[(Slot, i64)]>);

impl Ask {
    pub(crate) fn of(&self, slot: Slot) -> i64 {
        self.0.iter().find(|(s, _)| *s == slot).map_or(0, |(_, amount)| *amount)
    }

    /// Of `count` times as many instances.
    pub(crate) fn times(&self, count: u32) -> Self {
        Self(self.0.iter().map(|(slot, amount)| (*slot, amount.saturating_mul(i64::from(count)))).collect())
    }
}

/// The same of a few resources, where it is needed for a moment only.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terms {
    few: [(Slot, i64); CLIMB],
    len: usize,
}

impl Terms {
    /// Adds a resource; none where nothing is asked of it, or there is no room for it.
    fn push(&mut self, slot: Slot, amount: Amount, count: u32) -> Option<()> {
        let term = self.few.get_mut(self.len).filter(|_| amount > 0)?;
        *term = (slot, (amount as i64).saturating_mul(count.into()));
        self.len += 1;
        Some(())
    }

    pub(crate) fn as_slice(&self) -> &[(Slot, i64)] {
        self.few.get(..self.len).unwrap_or(&[])
    }
}

/// The place of a resource among those of the greatest names, which are what is left after it.
#[inline(never)]
fn skip_to(rest: &mut &[(Resource, Slot)], name: &Resource) -> Option<Slot> {
    let at = match rest {
        [_, (next, _), ..] if next == name => 1,
        _ => rest.binary_search_by(|(known, _)| known.cmp(name)).ok()?,
    };
    let slot = rest[at].1;
    *rest = &rest[at + 1..];
    Some(slot)
}

impl PoolState {
    pub(crate) fn slot(&self, resource: &str) -> Option<Slot> {
        let at = self.slots.binary_search_by(|(name, _)| name.as_str().cmp(resource)).ok()?;
        Some(self.slots[at].1)
    }

    /// The places of resources, in the order of names; none for those that are not known.
    fn places<'a>(&'a self, resources: &'a Amounts) -> impl Iterator<Item = (Option<Slot>, Amount)> + 'a {
        let mut rest = self.slots.as_slice();
        resources.iter().map(move |(name, amount)| match rest {
            // Mostly the next that is asked for is the next that is known.
            [(next, slot), after @ ..] if next == name => {
                rest = after;
                (Some(*slot), amount)
            }
            _ => (skip_to(&mut rest, name), amount),
        })
    }

    /// What so many instances ask for. A resource that the pool does not know binds nobody, and is left out.
    pub(crate) fn ask_of(&self, resources: &Amounts, count: u32) -> Ask {
        let mut ask = Vec::with_capacity(resources.len());
        for (slot, amount) in self.places(resources) {
            if let Some(slot) = slot.filter(|_| amount > 0) {
                ask.push((slot, (amount as i64).saturating_mul(count.into())));
            }
        }
        Ask(ask.into())
    }

    /// Adds what so many instances ask for, in the order of names; none where a resource is not known, nothing is asked of
    /// it, or they are too many.
    fn take_terms(&self, resources: &Amounts, count: u32, terms: &mut Terms) -> Option<()> {
        for (slot, amount) in self.places(resources) {
            terms.push(slot?, amount, count)?;
        }
        Some(())
    }

    /// The same with what the pool adds, which comes last.
    pub(crate) fn take_all_terms(&self, resources: &Amounts, count: u32, terms: &mut Terms) -> Option<()> {
        self.take_terms(resources, count, terms)?;
        for (name, amount) in self.spec.implied.iter().filter(|(name, _)| resources.get(name.as_str()).is_none()) {
            terms.push(self.slot(name.as_str())?, amount, count)?;
        }
        Some(())
    }

    /// Counts resources that a ticket of so many instances names, and says what it asks for.
    pub(crate) fn name_resources(&mut self, resources: &Amounts, count: u32) -> Ask {
        let mut terms = Terms::default();
        let ask = match self.take_terms(resources, count, &mut terms) {
            Some(()) => self.asks.share(terms.as_slice()),
            None => {
                self.know_all(resources);
                self.ask_of(resources, count)
            }
        };
        self.name(&ask);
        ask
    }

    /// Counts resources that a lease of so many instances names, and says what it holds.
    pub(crate) fn hold_resources(&mut self, resources: &Amounts, count: u32) -> Arc<Held> {
        let held = self.held(resources, count);
        self.name(&held.ask);
        held
    }

    /// What a lease of so many instances holds.
    pub(crate) fn held(&mut self, resources: &Amounts, count: u32) -> Arc<Held> {
        let mut terms = Terms::default();
        if let Some(()) = self.take_terms(resources, count, &mut terms) {
            return self.asks.share_held(terms.as_slice(), resources, count);
        }
        self.know_all(resources);
        let ask = self.ask_of(resources, count);
        Arc::new(Held { resources: resources.clone(), count, ask })
    }

    fn name(&mut self, ask: &Ask) {
        for (slot, _) in ask.0.iter() {
            if let Some(known) = &mut self.known[usize::from(*slot)] {
                known.named += 1;
            }
        }
    }

    /// Gives places to what was not known.
    fn know_all(&mut self, resources: &Amounts) {
        let asked = resources.iter().filter(|(_, amount)| *amount > 0).map(|(name, _)| name);
        let new: Vec<_> = asked.filter(|name| self.slot(name.as_str()).is_none()).collect();
        new.into_iter().for_each(|name| self.know(name.clone()));
    }

    /// The places of resources that the configuration names.
    pub(crate) fn configured(&self) -> impl Iterator<Item = Slot> + '_ {
        let known = (0..).zip(&self.known);
        known.filter(|(_, known)| known.as_ref().is_some_and(|known| known.configured)).map(|(slot, _)| slot)
    }

    /// Gives a place to a resource that was not known.
    pub(crate) fn know(&mut self, name: Resource) {
        let known =
            Known { name: name.clone(), capacity: None, stored: false, configured: false, named: 0, awaited: 0 };
        let slot = match self.known.iter().position(Option::is_none) {
            Some(free) => {
                self.known[free] = Some(known);
                free
            }
            None => {
                self.known.push(Some(known));
                self.known.len() - 1
            }
        };
        let before = self.slots.partition_point(|(other, _)| *other < name);
        self.slots.insert(before, (name, slot as Slot));
    }

    /// What was asked for is named no more; what nothing names any more is forgotten.
    pub(crate) fn unname_resources(&mut self, ask: &Ask) {
        for (slot, _) in ask.0.iter() {
            let Some(known) = &mut self.known[usize::from(*slot)] else { continue };
            known.named -= 1;
            if known.named == 0 && !known.configured {
                self.unknow(*slot);
            }
        }
    }

    /// What nothing names any more is forgotten.
    pub(crate) fn forget_unnamed(&mut self) {
        for slot in 0..self.known.len() as Slot {
            if self.known(slot).is_some_and(|known| known.named == 0 && !known.configured) {
                self.unknow(slot);
            }
        }
    }

    fn unknow(&mut self, slot: Slot) {
        self.known[usize::from(slot)] = None;
        self.slots.retain(|(_, other)| *other != slot);
    }

    /// Counts what a ticket asks for, or takes it away with a negative sign. `ask` is of its least.
    pub(crate) fn count_awaited(&mut self, ask: &Ask, request: &Request, sign: i128) {
        for (slot, amount) in ask.0.iter() {
            if let Some(known) = &mut self.known[usize::from(*slot)] {
                let each = i128::from(*amount) / i128::from(request.min_count.max(1));
                known.awaited += sign * each * i128::from(request.count);
            }
        }
    }

    /// What the tickets ask for of a resource.
    pub(crate) fn awaited(&self, slot: Slot) -> i64 {
        // Nothing to look up where nobody waits, as mostly.
        let awaited = if self.node(ROOT).waiting == 0 { 0 } else { self.known(slot).map_or(0, |known| known.awaited) };
        i64::try_from(awaited).unwrap_or(i64::MAX)
    }
}
