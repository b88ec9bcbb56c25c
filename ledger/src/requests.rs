//! Which leases, tickets and ended requests a caller's id may stand for.
//!
//! One table for all tenants, of hashes: an id that is new is told from those that are known by one look, whatever tenant
//! asks; and what is forgotten is taken out without its text being read again. Two ids may have one hash, so whoever finds
//! something here compares the text with what stands there. The table is in parts, so that it grows a little at a time.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;

use crate::request::Id;

/// A tenant as long as it is configured. Never used again, so what is still remembered of one that is gone is not taken
/// for another's of the same name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TenantSerial(pub(crate) u64);

/// Parts of the table. With a million ids one of them is made larger in a fraction of a millisecond.
const PARTS: usize = 64;

/// A tenant and a caller's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RequestKey {
    hash: u64,
    tenant: TenantSerial,
}

impl RequestKey {
    pub(crate) fn of(tenant: TenantSerial, request: &str) -> Self {
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
        // Neither the bits by which a map finds a place nor those by which it tells neighbours apart.
        (self.hash >> 40) as usize % PARTS
    }
}

/// By hash; with the tenant, so that others' need not be looked at.
type Part = HashMap<u64, (TenantSerial, Id), AsItIs>;

/// What may be known by tenant and the caller's id.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    parts: Box<[Part]>,
    /// Those whose hash another one has, too.
    others: BTreeSet<(RequestKey, Id)>,
}

impl Default for Requests {
    fn default() -> Self {
        Self { parts: vec![Part::default(); PARTS].into(), others: BTreeSet::new() }
    }
}

impl Requests {
    /// All that the key may stand for.
    pub(crate) fn candidates(&self, key: RequestKey) -> impl Iterator<Item = Id> + '_ {
        let first = self.parts[key.part()].get(&key.hash).filter(|(tenant, _)| *tenant == key.tenant);
        let others = (!self.others.is_empty()).then(|| self.others.range((key, Id(0))..=(key, Id(u64::MAX))));
        first.map(|(_, id)| *id).into_iter().chain(others.into_iter().flatten().map(|(_, id)| *id))
    }

    pub(crate) fn insert(&mut self, key: RequestKey, id: Id) {
        let before = self.parts[key.part()].insert(key.hash, (key.tenant, id));
        if let Some((tenant, before)) = before.filter(|before| *before != (key.tenant, id)) {
            self.others.insert((RequestKey { tenant, ..key }, before));
        }
    }

    /// Forgets that the key may stand for this.
    pub(crate) fn remove(&mut self, key: RequestKey, id: Id) {
        let part = &mut self.parts[key.part()];
        if part.get(&key.hash) != Some(&(key.tenant, id)) {
            self.others.remove(&(key, id));
            return;
        }
        part.remove(&key.hash);
        // One that had to make way comes back into its place.
        let least = (RequestKey { tenant: TenantSerial(0), ..key }, Id(0));
        let next = self.others.range(least..).next().copied().filter(|(other, _)| other.hash == key.hash);
        if let Some((other, id)) = next {
            self.others.remove(&(other, id));
            self.parts[key.part()].insert(other.hash, (other.tenant, id));
        }
    }
}

/// What is a hash already is not hashed again.
#[derive(Clone, Copy, Debug, Default)]
struct AsItIs;

impl BuildHasher for AsItIs {
    type Hasher = Hash;

    fn build_hasher(&self) -> Hash {
        Hash(0)
    }
}

struct Hash(u64);

impl Hasher for Hash {
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("the keys of the table are hashes");
    }

    fn finish(&self) -> u64 {
        self.0
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
        let [one, other] = [1, 2].map(|tenant| RequestKey::of(TenantSerial(tenant), "r"));
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
        let keys = [3, 1, 2].map(|tenant| RequestKey { hash: 99, tenant: TenantSerial(tenant) });
        for (id, key) in keys.into_iter().enumerate() {
            requests.insert(key, Id(id as u64));
            requests.insert(key, Id(10 + id as u64));
        }
        for (id, key) in keys.into_iter().enumerate() {
            assert_eq!(known(&requests, key), [id as u64, 10 + id as u64]);
        }
        for (gone, key) in keys.into_iter().enumerate() {
            requests.remove(key, Id(10 + gone as u64));
            assert_eq!(known(&requests, key), [gone as u64]);
            requests.remove(key, Id(gone as u64));
            let left = keys[gone + 1..].iter().all(|key| known(&requests, *key).len() == 2);
            assert!(left && known(&requests, key).is_empty());
        }
        assert!(requests.parts.iter().all(|part| part.is_empty()) && requests.others.is_empty());
    }
}
