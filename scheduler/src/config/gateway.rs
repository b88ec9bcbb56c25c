//! The section that says whose the descriptors are that gateways send.

use std::collections::BTreeMap;

use headgate_ledger::{LEVELS_MAX, Name, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::read::{At, Problem, Text};
use super::shape::{Label, ResourceName};
use crate::auth::Glob;
use crate::gateway::{Domain, PathPart, Rule};

/// Domains that may be configured.
const DOMAINS_MAX: usize = 100;
/// Descriptors of one domain: they are tried one after another.
const DESCRIPTORS_MAX: usize = 1000;
/// Bytes of a domain's name, and of a key.
pub(crate) const WORD_BYTES_MAX: usize = 256;
/// Bytes of what a value has to look like.
const PATTERN_BYTES_MAX: usize = 1024;
/// Keys of one descriptor.
pub(crate) const KEYS_MAX: usize = 32;

/// The descriptors of one gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RateLimitDomain")]
pub struct DomainShape {
    /// What the gateway calls it.
    pub domain: At<Text>,
    /// Whether answers have `x-ratelimit-*` headers for those who call.
    #[serde(default, skip_serializing_if = "is_false")]
    pub headers: bool,
    /// Whose each is; the first that matches counts.
    pub descriptors: Vec<At<DescriptorShape>>,
}

/// Whose a descriptor is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RateLimitDescriptor")]
pub struct DescriptorShape {
    /// All keys that it has, each with its value; a `*` stands for any text.
    #[serde(rename = "match")]
    pub matches: BTreeMap<String, Text>,
    /// The tenant whose rates and budgets count it. A level `${key}` is the name that the value of that key makes.
    pub tenant: At<Text>,
    /// Out of which pool; `default`, if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<Label>,
    /// What is counted; `requests`, if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceName>,
}

/// By reference, as serde wants it.
fn is_false(said: &bool) -> bool {
    !said
}

/// The domains, or what is wrong with them.
pub(super) fn domains(shapes: Vec<DomainShape>, problems: &mut Vec<Problem>) -> Vec<Domain> {
    if shapes.len() > DOMAINS_MAX {
        let what = format!("rate_limit_service has {} domains, at most {DOMAINS_MAX} may be", shapes.len());
        problems.push(Problem::whole(what));
        return Vec::new();
    }
    let mut domains: Vec<Domain> = Vec::with_capacity(shapes.len());
    for DomainShape { domain, headers, descriptors } in shapes {
        let Text(name) = &domain.value;
        if name.is_empty() || name.len() > WORD_BYTES_MAX {
            problems.push(domain.problem(format!("the domain's name is not 1 to {WORD_BYTES_MAX} bytes long")));
        }
        if domains.iter().any(|other| other.name == *name) {
            problems.push(domain.problem(format!("domain {name} is given twice")));
        }
        if descriptors.len() > DESCRIPTORS_MAX {
            let count = descriptors.len();
            problems.push(domain.problem(format!("it has {count} descriptors, at most {DESCRIPTORS_MAX} may be")));
            continue;
        }
        let mut rules: Vec<Rule> = Vec::with_capacity(descriptors.len());
        for descriptor in descriptors {
            match descriptor.rule() {
                Ok(rule) if rules.iter().any(|earlier| earlier.covers(&rule)) => problems.push(
                    descriptor.problem("an earlier descriptor matches all that this one does: put this one before it"),
                ),
                Ok(rule) => rules.push(rule),
                Err(problem) => problems.push(problem),
            }
        }
        domains.push(Domain { name: name.clone(), headers, rules });
    }
    domains
}

impl At<DescriptorShape> {
    fn rule(&self) -> Result<Rule, Problem> {
        const RESOURCE: &str = "requests";
        const POOL: &str = "default";
        let DescriptorShape { matches, tenant, pool, resource } = &self.value;
        if matches.is_empty() || matches.len() > KEYS_MAX {
            return Err(self.problem(format!("it matches {} keys: name 1 to {KEYS_MAX}", matches.len())));
        }
        for (key, Text(value)) in matches {
            if key.is_empty() || key.len() > WORD_BYTES_MAX {
                return Err(self.problem(format!("a key that it matches is not 1 to {WORD_BYTES_MAX} bytes long")));
            }
            if value.len() > PATTERN_BYTES_MAX {
                let length = value.len();
                return Err(
                    self.problem(format!("{key} is matched by {length} bytes, at most {PATTERN_BYTES_MAX} may be"))
                );
            }
        }
        let known = |name: &str| Name::parse(name).unwrap_or_else(|_| unreachable!("{name} is a name"));
        let counted = || Resource::parse(RESOURCE).unwrap_or_else(|_| unreachable!("{RESOURCE} is a resource"));
        Ok(Rule {
            words: matches.iter().map(|(key, Text(value))| (key.clone(), Glob::new(value))).collect(),
            tenant: path(tenant, matches)?,
            pool: pool.as_ref().map_or_else(|| known(POOL), |Label(pool)| pool.clone()),
            resource: resource.as_ref().map_or_else(counted, |ResourceName(resource)| resource.clone()),
        })
    }
}

/// A tenant's path, some of whose levels values say.
fn path(tenant: &At<Text>, matches: &BTreeMap<String, Text>) -> Result<Vec<PathPart>, Problem> {
    let levels = tenant.value.0.split('/');
    if levels.clone().count() > LEVELS_MAX {
        return Err(tenant.problem(format!("the tenant has more than {LEVELS_MAX} levels")));
    }
    levels
        .map(|level| match level.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
            Some(key) if matches.contains_key(key) => Ok(PathPart::Value(key.to_owned())),
            Some(key) => {
                Err(tenant.problem(format!("the tenant names the value of {key:?}, which is not under match")))
            }
            None => Name::parse(level).map(PathPart::Name).map_err(|error| {
                let help = if level.contains('$') { "; a value stands for a whole level: acme/${user}" } else { "" };
                tenant.problem(format!("{error}{help}"))
            }),
        })
        .collect()
}
