//! Hits, as a step says them: calls that a gateway asks for.

use std::collections::BTreeMap;

use headgate_ledger::{Hit, Name, TenantPath};
use serde::Deserialize;

use super::file::{DEFAULT_POOL, REPEAT_MAX, amounts};
use crate::config::{At, Problem, Text};

/// Hits that are decided together, and how often.
#[derive(Clone, Debug)]
pub(super) struct Hits {
    /// For people: tenants and amounts.
    pub(super) what: String,
    /// Why not, where one is malformed.
    pub(super) hits: Result<Vec<Hit>, String>,
    pub(super) repeat: u32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HitShape {
    /// By tenant, what each counts.
    tenants: BTreeMap<String, BTreeMap<String, Text>>,
    #[serde(default)]
    pool: Option<String>,
    #[serde(default)]
    repeat: Option<At<u32>>,
}

impl HitShape {
    pub(super) fn parse(self) -> Result<Hits, Problem> {
        if let Some(repeat) = self.repeat.as_ref().filter(|repeat| !(1..=REPEAT_MAX).contains(&repeat.value)) {
            return Err(repeat.problem(format!("repeat is from 1 to {REPEAT_MAX}")));
        }
        let said: Vec<String> = self
            .tenants
            .iter()
            .flat_map(|(tenant, of)| of.iter().map(move |(name, Text(amount))| format!("{tenant}: {name} {amount}")))
            .collect();
        let hits = self.hits();
        Ok(Hits { what: said.join(", "), hits, repeat: self.repeat.map_or(1, |repeat| repeat.value) })
    }

    fn hits(&self) -> Result<Vec<Hit>, String> {
        let said = |error: headgate_ledger::NameError| error.to_string();
        let pool = Name::parse(self.pool.as_deref().unwrap_or(DEFAULT_POOL)).map_err(said)?;
        let mut hits = Vec::new();
        for (tenant, of) in &self.tenants {
            let tenant = TenantPath::parse(tenant).map_err(said)?;
            let hit = |(resource, amount): (&headgate_ledger::Resource, u64)| Hit {
                pool: pool.clone(),
                tenant: tenant.clone(),
                resource: resource.clone(),
                amount,
            };
            hits.extend(amounts(of)?.iter().map(hit));
        }
        Ok(hits)
    }
}
