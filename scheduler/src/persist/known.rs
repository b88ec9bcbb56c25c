//! Names that were read before.
//!
//! A journal says the same names again and again: tenants, pools, resources, holders. Each is checked and put into memory when
//! it is read for the first time, and shared from then on; so a ledger that was read back has one name for one thing, as
//! the one that was served had. What is known is what was read of the same bytes, so nothing can pass here that would not
//! pass there.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::quality::RandomState;
use headgate_ledger::{Amounts, Demand, Holder, Name, Resource, TenantPath};

use super::record::Origin;
use crate::protobuf::{InOrder, NotPlain};

/// Things of a kind that are known. A ledger of more tenants or holders than this reads some of them several times.
const KNOWN_MAX: usize = 262_144;
/// Of what was asked for fewer: where each has a label of its own, none comes again.
const DEMANDS_MAX: usize = 65_536;
/// Bytes of what is known: no name is longer, and amounts or an origin that are seldom come again.
const BYTES_MAX: usize = 256;

/// What was read before.
#[derive(Debug, Default)]
pub(super) struct Known {
    tenants: Table<TenantPath>,
    names: Table<Name>,
    resources: Table<Resource>,
    holders: Table<Holder>,
    amounts: Table<Amounts>,
    origins: Table<Arc<Origin>>,
    demands: Table<Arc<Demand>>,
}

impl Known {
    pub(super) fn tenant(&mut self, path: &[u8]) -> Result<TenantPath, NotPlain> {
        self.tenants.get(path, || TenantPath::parse(text(path)?).map_err(|_| NotPlain))
    }

    pub(super) fn name(&mut self, name: &[u8]) -> Result<Name, NotPlain> {
        self.names.get(name, || Name::parse(text(name)?).map_err(|_| NotPlain))
    }

    pub(super) fn resource(&mut self, name: &[u8]) -> Result<Resource, NotPlain> {
        self.resources.get(name, || Resource::parse(text(name)?).map_err(|_| NotPlain))
    }

    pub(super) fn holder(&mut self, name: &[u8]) -> Result<Holder, NotPlain> {
        self.holders.get(name, || Holder::kept(text(name)?).map_err(|_| NotPlain))
    }

    /// Amounts, as all of a field of a message.
    pub(super) fn amounts(&mut self, field: u32, all: &[u8]) -> Result<Amounts, NotPlain> {
        let Self { amounts, resources, .. } = self;
        amounts.get(all, || {
            let mut each = Vec::new();
            let mut fields = InOrder::new(all);
            while let Some(amount) = fields.said_bytes(field)? {
                let mut amount = InOrder::new(amount);
                let name = amount.said_bytes(1)?.unwrap_or_default();
                let name = resources.get(name, || Resource::parse(text(name)?).map_err(|_| NotPlain))?;
                each.push((name, amount.number(2)?));
                amount.end()?;
            }
            fields.end()?;
            Amounts::new(each).map_err(|_| NotPlain)
        })
    }

    /// What was asked for, as all of a request behind its id.
    pub(super) fn demand(
        &mut self,
        bytes: &[u8],
        read: impl FnOnce(&[u8], &mut Self) -> Result<Demand, NotPlain>,
    ) -> Result<Arc<Demand>, NotPlain> {
        if let Some(known) = self.demands.0.get(bytes) {
            return Ok(known.clone());
        }
        let demand = Arc::new(read(bytes, self)?);
        if self.demands.0.len() >= DEMANDS_MAX {
            self.demands.0.clear();
        }
        self.demands.keep(bytes, &demand);
        Ok(demand)
    }

    pub(super) fn origin(
        &mut self,
        bytes: &[u8],
        read: impl FnOnce() -> Result<Origin, NotPlain>,
    ) -> Result<Arc<Origin>, NotPlain> {
        self.origins.get(bytes, || read().map(Arc::new))
    }
}

pub(super) fn text(bytes: &[u8]) -> Result<&str, NotPlain> {
    std::str::from_utf8(bytes).map_err(|_| NotPlain)
}

/// Things of one kind, by their bytes.
#[derive(Debug)]
struct Table<T>(HashMap<Box<[u8]>, T, RandomState>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<T: Clone> Table<T> {
    #[inline]
    fn get(&mut self, bytes: &[u8], read: impl FnOnce() -> Result<T, NotPlain>) -> Result<T, NotPlain> {
        match self.0.get(bytes) {
            Some(known) => Ok(known.clone()),
            None => self.learn(bytes, read),
        }
    }

    #[cold]
    fn learn(&mut self, bytes: &[u8], read: impl FnOnce() -> Result<T, NotPlain>) -> Result<T, NotPlain> {
        let read = read()?;
        self.keep(bytes, &read);
        Ok(read)
    }

    fn keep(&mut self, bytes: &[u8], read: &T) {
        if bytes.len() <= BYTES_MAX {
            if self.0.len() >= KNOWN_MAX {
                // Those that come again are known again soon.
                self.0.clear();
            }
            self.0.insert(bytes.into(), read.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{KNOWN_MAX, Known};

    #[test]
    fn what_comes_again_is_the_same_and_no_more_is_kept_than_may_be() {
        let mut known = Known::default();
        let first = known.tenant(b"acme/ml").expect("a path");
        let again = known.tenant(b"acme/ml").expect("a path");
        assert!(std::ptr::eq(first.as_str(), again.as_str()), "one name for one thing");
        assert!(known.tenant(b"Acme").is_err() && known.tenant(b"").is_err());
        for number in 0..=KNOWN_MAX {
            let path = format!("acme/t-{number}");
            assert_eq!(known.tenant(path.as_bytes()).expect("a path").as_str(), path);
            assert!(known.tenants.0.len() <= KNOWN_MAX);
        }
        assert_eq!(known.tenant(b"acme/ml").expect("a path"), first);
    }

    #[test]
    fn amounts_of_one_shape_are_shared_and_wrong_ones_are_not_taken() {
        let mut known = Known::default();
        let cpu = [34, 8, 10, 3, b'c', b'p', b'u', 16, 172, 2];
        let amounts = known.amounts(4, &cpu).expect("amounts");
        assert_eq!(amounts.get("cpu"), Some(300));
        let twice = [cpu, cpu].concat();
        for wrong in [&cpu[..9], &twice, &[34, 0], &[26, 0], &[34, 2, 16, 1]] {
            assert!(known.amounts(4, wrong).is_err(), "{wrong:?}");
        }
        let again = known.amounts(4, &cpu).expect("amounts");
        let name = |amounts: &headgate_ledger::Amounts| amounts.iter().next().expect("one").0.as_str().as_ptr();
        assert_eq!(name(&amounts), name(&again));
        assert_eq!(known.resource(b"cpu").expect("a resource").as_str().as_ptr(), name(&amounts));
    }
}
