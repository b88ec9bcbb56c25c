//! Which leases, tickets and ended requests a caller's id may stand for.
//!
//! One table for all tenants, of hashes: an id that is new is told from those that are known by one look, whatever tenant
//! asks. Two ids may have one hash, so whoever finds something here compares the tenant and the text with what stands there.
//! The table is in parts, so that it grows a little at a time.

use std::collections::BTreeSet;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use crate::marks::Part;
use crate::request::Id;

/// A tenant as long as it is configured. Never used again, so what is still remembered of one that is gone is not taken
/// for another's of the same name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TenantSerial(pub(crate) u64);

/// Nobody's: of what is still remembered of a tenant that is gone.
pub(crate) const NOBODY: TenantSerial = TenantSerial(u64::MAX >> 16);

/// Parts of the table. With a million ids one of them is made larger in a fraction of a millisecond.
const PARTS: usize = 64;

/// A tenant and a caller's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RequestKey {
    hash: u64,
    tenant: TenantSerial,
}

impl RequestKey {
    pub(crate) fn of(tenant: TenantSerial, request: &[u8]) -> Self {
        Self { hash: FixedState::default().hash_one((tenant, request)), tenant }
    }

    /// Of a hash that was made before.
    pub(crate) fn known(tenant: TenantSerial, hash: u64) -> Self {
        Self { hash, tenant }
    }

    pub(crate) fn hash(self) -> u64 {
        self.hash
    }

    pub(crate) fn tenant(self) -> TenantSerial {
        self.tenant
    }

    fn part(self) -> usize {
        // None of the bits of its mark.
        (self.hash >> 40) as usize % PARTS
    }

    /// By what it is found in its part.
    fn mark(self) -> u32 {
        self.hash as u32
    }
}

/// What may be known by tenant and the caller's id.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    parts: Box<[Part]>,
    /// Those for which there was no place within reach: only where somebody makes up ids whose hashes are alike.
    others: BTreeSet<(u64, Id)>,
}

impl Default for Requests {
    fn default() -> Self {
        Self { parts: vec![Part::default(); PARTS].into(), others: BTreeSet::new() }
    }
}

impl Requests {
    /// All that the key may stand for, and now and then what it does not: the tenant and the text tell.
    pub(crate) fn candidates(&self, key: RequestKey) -> impl Iterator<Item = Id> + '_ {
        let others = (!self.others.is_empty()).then(|| self.others.range((key.hash, Id(0))..=(key.hash, Id(u64::MAX))));
        self.parts[key.part()].find(key.mark()).chain(others.into_iter().flatten().map(|(_, id)| *id))
    }

    /// The key stands for this from now on, too; once.
    pub(crate) fn insert(&mut self, key: RequestKey, id: Id) {
        if !self.parts[key.part()].insert(key.mark(), id) {
            self.others.insert((key.hash, id));
        }
    }

    /// Forgets that the key may stand for this.
    pub(crate) fn remove(&mut self, key: RequestKey, id: Id) {
        if !self.parts[key.part()].remove(key.mark(), id) {
            self.others.remove(&(key.hash, id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{RequestKey, Requests, TenantSerial};
    use crate::request::Id;

    fn known(requests: &Requests, key: RequestKey) -> Vec<u64> {
        let mut ids: Vec<_> = requests.candidates(key).map(|id| id.0).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn an_id_is_its_tenants_own() {
        let mut requests = Requests::default();
        let [one, other] = [1, 2].map(|tenant| RequestKey::of(TenantSerial(tenant), b"r"));
        assert_ne!(one.hash, other.hash);
        requests.insert(one, Id(7));
        assert_eq!((known(&requests, one), known(&requests, other)), (vec![7], vec![]));
        requests.insert(one, Id(8));
        requests.insert(one, Id(8));
        assert_eq!(known(&requests, one), [7, 8]);
        requests.remove(one, Id(7));
        requests.remove(one, Id(7));
        assert_eq!(known(&requests, one), [8]);
        requests.remove(one, Id(8));
        assert!(known(&requests, one).is_empty() && requests.others.is_empty());
    }

    #[test]
    fn ids_of_one_hash_do_not_hide_each_other() {
        let mut requests = Requests::default();
        let key = RequestKey { hash: 99, tenant: TenantSerial(1) };
        // Of one mark, in one part, and another all the same.
        let alike = RequestKey { hash: 99 | 1 << 63, ..key };
        for id in 0..2_000 {
            requests.insert(key, Id(2 * id));
            requests.insert(alike, Id(2 * id + 1));
        }
        // More than are within reach, and none is told twice.
        assert!(!requests.others.is_empty());
        let of = |requests: &Requests, key, odd| known(requests, key).into_iter().filter(|id| id % 2 == odd).count();
        assert_eq!((of(&requests, key, 0), of(&requests, alike, 1)), (2_000, 2_000));
        assert!(of(&requests, key, 1) < 2_000);
        for id in 0..2_000 {
            requests.remove(key, Id(2 * id));
            requests.remove(alike, Id(2 * id + 1));
        }
        assert!(known(&requests, key).is_empty() && known(&requests, alike).is_empty() && requests.others.is_empty());
    }

    #[test]
    fn ids_that_nobody_made_up_are_all_within_reach() {
        let mut requests = Requests::default();
        let key = |number: u64| RequestKey::of(TenantSerial(number % 7), format!("run-{number}").as_bytes());
        for number in 0..100_000 {
            requests.insert(key(number), Id(number));
        }
        assert!(requests.others.is_empty());
        assert!((0..100_000).step_by(99).all(|number| known(&requests, key(number)).contains(&number)));
        assert!((0..1_000).all(|number| {
            known(&requests, RequestKey::of(TenantSerial(9), format!("{number}").as_bytes())).is_empty()
        }));
    }
}
