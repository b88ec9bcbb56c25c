//! The other end of a connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use subtle::ConstantTimeEq;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Caller;

/// URI names of a certificate that are looked at: SPIFFE allows one.
const NAMES_MAX: usize = 64;

/// The other end of a connection: where it is, what its certificate says, and who it was found to be.
#[derive(Clone, Debug)]
pub struct Peer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    address: Option<SocketAddr>,
    /// The URI names of its certificate, which was checked; none where it showed none.
    names: Option<Vec<String>>,
    /// One connection is mostly one caller's: who it was last is not looked for again.
    last: Mutex<Option<Last>>,
}

struct Last {
    generation: u64,
    authorization: Option<Box<str>>,
    caller: Arc<Caller>,
    until: u64,
}

impl std::fmt::Debug for Last {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Last").field("caller", &self.caller).finish_non_exhaustive()
    }
}

impl Peer {
    /// A peer at an address that showed no certificate.
    pub fn plain(address: Option<SocketAddr>) -> Self {
        Self(Arc::new(Inner { address, names: None, last: Mutex::new(None) }))
    }

    /// A peer that showed a certificate (DER), which was checked.
    pub fn certified(address: Option<SocketAddr>, certificate: &[u8]) -> Self {
        Self(Arc::new(Inner { address, names: Some(uri_names(certificate)), last: Mutex::new(None) }))
    }

    /// Where it is.
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.address
    }

    /// The URI names of its certificate; none where it showed none.
    pub fn names(&self) -> Option<&[String]> {
        self.0.names.as_deref()
    }

    /// Whether it is on this machine.
    pub fn is_loopback(&self) -> bool {
        self.0.address.is_some_and(crate::config::is_loopback)
    }

    pub(super) fn remembered(&self, generation: u64, authorization: Option<&str>) -> Option<Arc<Caller>> {
        let last = self.0.last.lock();
        let last = last.as_ref().filter(|last| last.generation == generation)?;
        let same = match (&last.authorization, authorization) {
            (None, None) => true,
            (Some(known), Some(shown)) => bool::from(known.as_bytes().ct_eq(shown.as_bytes())),
            (None, Some(_)) | (Some(_), None) => false,
        };
        // The clock is looked at only where it matters.
        (same && (last.until == u64::MAX || seconds() < last.until)).then(|| last.caller.clone())
    }

    pub(super) fn remember(&self, generation: u64, authorization: Option<&str>, caller: &Arc<Caller>, until: u64) {
        let authorization = authorization.map(Into::into);
        *self.0.last.lock() = Some(Last { generation, authorization, caller: caller.clone(), until });
    }
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn uri_names(certificate: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let uri = |name: &GeneralName<'_>| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None, // names of other kinds tell no caller
    };
    extension.value.general_names.iter().filter_map(uri).take(NAMES_MAX).collect()
}
