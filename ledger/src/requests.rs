//! Which lease or ticket a caller's id stands for.
//!
//! One table for all tenants: an id that is new is told from those that are known by one look, whatever tenant asks.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};

use crate::ledger::Map;
use crate::name::RequestId;
use crate::request::Id;

/// A tenant as long as it is configured. Never used again, so what is still remembered of one that is gone is not taken
/// for another's of the same name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct TenantSerial(pub(crate) u64);

/// What is known by tenant and the caller's id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests(Map<Known, Id>);

impl Requests {
    pub(crate) fn get(&self, tenant: TenantSerial, request: &str) -> Option<Id> {
        self.0.get(&(tenant, request) as &dyn Key).copied()
    }

    pub(crate) fn insert(&mut self, tenant: TenantSerial, request: RequestId, id: Id) {
        self.0.insert(Known(tenant, request), id);
    }

    /// Forgets an id that stands for this and nothing newer.
    pub(crate) fn remove(&mut self, tenant: TenantSerial, request: &str, id: Id) {
        if self.get(tenant, request) == Some(id) {
            self.0.remove(&(tenant, request) as &dyn Key);
        }
    }
}

#[derive(Clone, Debug)]
struct Known(TenantSerial, RequestId);

/// A key, owned or borrowed.
trait Key {
    fn parts(&self) -> (TenantSerial, &str);
}

impl Key for Known {
    fn parts(&self) -> (TenantSerial, &str) {
        (self.0, self.1.as_str())
    }
}

impl Key for (TenantSerial, &str) {
    fn parts(&self) -> (TenantSerial, &str) {
        *self
    }
}

impl Hash for dyn Key + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl PartialEq for dyn Key + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for dyn Key + '_ {}

impl<'a> Borrow<dyn Key + 'a> for Known {
    fn borrow(&self) -> &(dyn Key + 'a) {
        self
    }
}

impl Hash for Known {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl PartialEq for Known {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Known {}

#[cfg(test)]
mod tests {
    use super::{Requests, TenantSerial};
    use crate::name::RequestId;
    use crate::request::Id;

    #[test]
    fn an_id_is_its_tenants_own() {
        let mut requests = Requests::default();
        let (one, other) = (TenantSerial(1), TenantSerial(2));
        requests.insert(one, RequestId::parse("r").expect("an id"), Id(7));
        assert_eq!((requests.get(one, "r"), requests.get(other, "r")), (Some(Id(7)), None));
        requests.insert(one, RequestId::parse("r").expect("an id"), Id(8));
        requests.remove(one, "r", Id(7));
        assert_eq!(requests.get(one, "r"), Some(Id(8)));
        requests.remove(one, "r", Id(8));
        assert_eq!(requests.get(one, "r"), None);
    }
}
