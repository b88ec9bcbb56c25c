//! Who asks, and what they may see.

use std::sync::Arc;

use headgate_ledger::{Source, TenantPath};

use crate::persist::{Origin, Surface};

/// Who asks.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who, as the surface knows them.
    pub actor: Arc<str>,
    /// Through what.
    pub surface: Surface,
    /// Whose leases and tickets they may see and touch.
    pub scope: Scope,
}

/// The tenants that somebody may see.
#[derive(Clone, Debug)]
pub enum Scope {
    /// All.
    All,
    /// These, and all under them.
    Subtrees(Arc<[TenantPath]>),
}

impl Scope {
    /// Whether a tenant is in it.
    pub fn covers(&self, tenant: &TenantPath) -> bool {
        match self {
            Self::All => true,
            Self::Subtrees(paths) => paths.iter().any(|path| path.covers(tenant.as_str())),
        }
    }
}

impl Caller {
    /// Somebody who may see everything.
    pub fn new(actor: &str, surface: Surface) -> Self {
        Self { actor: actor.into(), surface, scope: Scope::All }
    }

    /// Who the objects belong to that this caller makes.
    pub fn source(&self) -> Source {
        match self.surface {
            Surface::Ledger | Surface::File => Source::File,
            Surface::Grpc | Surface::Http => Source::Api,
            Surface::Webhook | Surface::Controller => Source::Kubernetes,
        }
    }

    /// What the journal keeps of the caller, with a reason in their own words.
    pub(super) fn origin(&self, reason: &str) -> Arc<Origin> {
        Arc::new(Origin { actor: self.actor.clone(), surface: self.surface, reason: reason.into() })
    }
}

/// Of what follows from time and state alone.
pub(super) fn ledger_origin() -> Arc<Origin> {
    Arc::new(Origin { actor: "".into(), surface: Surface::Ledger, reason: "".into() })
}
