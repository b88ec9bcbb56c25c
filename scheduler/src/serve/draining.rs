//! Tenants that the configuration file does not name any more, and that have leases or tickets still: nothing new is
//! admitted to them, and they go when they are empty. Whoever took them out of the file by mistake is to learn of it.

use std::fmt;

use headgate_ledger::{Ledger, Source, TenantPath};

use crate::config::format_amount;
use crate::engine::Engine;

/// Tenants that are told of by name; the rest is counted.
const TOLD_MAX: usize = 20;

/// A tenant that is being drained, and what it and those below it have still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draining {
    /// Its path.
    pub tenant: TenantPath,
    /// What it has, by pool.
    pub left: Vec<Left>,
}

/// What is left of a tenant in a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The pool.
    pub pool: String,
    /// Leases that have not ended.
    pub leases: u64,
    /// Tickets that wait, in vain by now.
    pub tickets: u64,
    /// What the leases hold, as people write it: `cpu 4`.
    pub held: Vec<String>,
}

impl fmt::Display for Draining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tenant, left } = self;
        write!(f, "tenant {tenant} is not in the file any more and is drained: it has ")?;
        for (nth, Left { pool, leases, tickets, held }) in left.iter().enumerate() {
            if nth > 0 {
                f.write_str(", ")?;
            }
            let some = |count: &u64, one: &str| format!("{count} {one}{}", if *count == 1 { "" } else { "s" });
            write!(f, "{} and {} in pool {pool}", some(leases, "lease"), some(tickets, "ticket"))?;
            if !held.is_empty() {
                write!(f, " (holding {})", held.join(", "))?;
            }
        }
        f.write_str("; nothing new is admitted to it, and it goes when they have ended: to keep it, put it back")
    }
}

/// The tenants of the file that are being drained, of all cells; those below one of them are told with it.
pub(super) async fn draining(engine: &Engine) -> Vec<Draining> {
    let mut all: Vec<Draining> = Vec::new();
    for cell in engine.cells() {
        // A cell that cannot be looked at tells of nothing.
        let Ok(found) = engine.read(cell, |view| draining_in(view, view.now())).await else { continue };
        for found in found {
            match all.iter_mut().find(|known| known.tenant == found.tenant) {
                Some(known) => known.left.extend(found.left),
                None => all.push(found),
            }
        }
    }
    all.retain(|draining| !draining.left.is_empty());
    all.sort_by(|a, b| a.tenant.cmp(&b.tenant));
    all
}

fn draining_in(ledger: &Ledger, now: headgate_ledger::Time) -> Vec<Draining> {
    let mut all: Vec<Draining> = Vec::new();
    for tenant in ledger.tenants().filter(|tenant| tenant.draining && tenant.source == Source::File) {
        // In the order of their paths, those above come first.
        if all.iter().any(|above| above.tenant.covers(tenant.path.as_str())) {
            continue;
        }
        let left = ledger.pools().filter_map(|pool| {
            let standing = ledger.standing(now, pool.name.as_str(), tenant.path.as_str())?;
            let held = standing.holdings.iter().filter(|holding| holding.usage > 0);
            let held = held.map(|holding| {
                format!("{} {}", holding.resource, format_amount(holding.usage, holding.resource.as_str()))
            });
            let left = Left {
                pool: pool.name.to_string(),
                leases: standing.running,
                tickets: standing.waiting,
                held: held.collect(),
            };
            (left.leases > 0 || left.tickets > 0).then_some(left)
        });
        all.push(Draining { tenant: tenant.path.clone(), left: left.collect() });
    }
    all
}

/// Tells of them in the log.
pub(super) fn tell(file: &str, draining: &[Draining]) {
    for draining in draining.iter().take(TOLD_MAX) {
        tracing::warn!(file, "{draining}");
    }
    if let Some(more) = draining.len().checked_sub(TOLD_MAX).filter(|more| *more > 0) {
        tracing::warn!(file, "and {more} more tenants are drained: `headgate get tenants` shows them");
    }
}
