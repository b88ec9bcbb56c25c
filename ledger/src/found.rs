//! Where a question found what it was asked about, so that whoever posts its entry need not search again.

use std::fmt;
use std::hash::BuildHasher;

use foldhash::quality::FixedState;

use crate::ledger::{Ledger, PoolIndex};
use crate::name::{Name, TenantPath};
use crate::pool::{NodeId, PoolState, UNMADE};
use crate::request::Request;
use crate::requests::{RequestKey, TenantSerial};

/// Where a request goes: found by the question, and of use where its entry is posted to the same ledger, or to a copy in
/// which tenants stand in the same places. It is no part of what happened: all are equal, and none is written down.
#[derive(Clone, Copy)]
pub struct Found {
    /// Of the pool.
    layout: u64,
    /// Of the tenant and the caller's id.
    hash: u64,
    pool: u32,
    /// [`UNMADE`] where nothing was found.
    leaf: NodeId,
}

impl Default for Found {
    fn default() -> Self {
        Self { layout: 0, hash: 0, pool: 0, leaf: UNMADE }
    }
}

impl PartialEq for Found {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Found {}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Found")
    }
}

/// What the layout of a pool starts from.
pub(crate) fn layout_of(pool: &Name) -> u64 {
    FixedState::default().hash_one(pool)
}

/// What a tenant's requests have to do with the layout of a pool: what it grows by when they have a leaf. A sum of such
/// is the same where all have theirs in the same places, and nowhere else.
pub(crate) fn layout_of_leaf(path: &TenantPath, serial: TenantSerial, leaf: NodeId) -> u64 {
    FixedState::default().hash_one((path, serial, leaf))
}

impl Ledger {
    /// What the question found out.
    pub(crate) fn found(&self, at: PoolIndex, leaf: NodeId, key: RequestKey) -> Found {
        Found { layout: self.pool_at(at).layout, hash: key.hash(), pool: at as u32, leaf }
    }

    /// Where a request goes, and what it is known by; none where that must be looked up.
    pub(crate) fn found_again(&self, found: Found, request: &Request) -> Option<(PoolIndex, NodeId, RequestKey)> {
        let Found { layout, hash, pool, leaf } = found;
        let at = pool as PoolIndex;
        let pool = self.pools.get(at).filter(|pool| leaf != UNMADE && pool.layout == layout)?;
        let key = RequestKey::known(pool.node(leaf).serial, hash);
        debug_assert_eq!(self.place(request).ok().map(|(at, leaf)| (at, leaf.node)), Some((at, leaf)));
        debug_assert_eq!(key, RequestKey::of(key.tenant(), request.id.as_bytes()));
        Some((at, leaf, key))
    }
}

impl PoolState {
    /// A tenant is here from now on, and has a leaf if the pool may be used by it; or it is not, any more.
    pub(crate) fn pass_layout(&mut self, node: NodeId, comes: bool) {
        let here = self.node(node);
        if here.usable {
            let part = layout_of_leaf(&here.path, here.serial, here.own_child().unwrap_or(node));
            let sum = if comes { self.layout.wrapping_add(part) } else { self.layout.wrapping_sub(part) };
            self.layout = sum;
        }
    }
}
