//! Which tenant's a descriptor is.

use headgate_ledger::{LEVELS_MAX, Name, Resource, TenantPath};

use crate::auth::Glob;

use super::made;

/// A domain of descriptors: those of one gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct Domain {
    /// What the gateway calls it.
    pub name: String,
    /// Whether answers have headers that tell callers how they stand.
    pub headers: bool,
    /// In the order in which they are tried.
    pub rules: Vec<Rule>,
}

/// Whose a descriptor is that has these words and no others.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Keys, sorted, each with what its value has to look like.
    pub(crate) words: Vec<(String, Glob)>,
    /// The tenant.
    pub(crate) tenant: Vec<PathPart>,
    /// Out of which pool.
    pub(crate) pool: Name,
    /// What is counted.
    pub(crate) resource: Resource,
}

/// One level of a tenant's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPart {
    /// This.
    Name(Name),
    /// What the value of a key says.
    Value(String),
}

/// Whose a descriptor is, and what it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// The tenant.
    pub tenant: TenantPath,
    /// Out of which pool.
    pub pool: &'a Name,
    /// What is counted.
    pub resource: &'a Resource,
}

impl Rule {
    /// Whose a descriptor is, by its words in the order of their keys; nobody's by this rule where it has others.
    fn find(&self, words: &[(&str, &str)]) -> Option<Found<'_>> {
        let same = self.words.len() == words.len()
            && self.words.iter().zip(words).all(|((key, glob), (word, value))| key == word && glob.matches(value));
        if !same {
            return None;
        }
        let value = |key: &str| words.iter().find(|(word, _)| *word == key).map_or("", |(_, value)| *value);
        let names = self.tenant.iter().map(|part| match part {
            PathPart::Name(name) => name.clone(),
            PathPart::Value(key) => made::name(value(key)),
        });
        let path = names.map(|name| name.to_string()).collect::<Vec<_>>().join("/");
        // It has no more levels than a path may: that was seen when the rule was read.
        let tenant = TenantPath::parse(&path).ok()?;
        Some(Found { tenant, pool: &self.pool, resource: &self.resource })
    }

    /// The tenant, where no value has a say in it.
    pub(crate) fn only_tenant(&self) -> Option<TenantPath> {
        let names = self.tenant.iter().map(|part| match part {
            PathPart::Name(name) => Some(name.as_str()),
            PathPart::Value(_) => None,
        });
        let names: Vec<&str> = names.collect::<Option<_>>()?;
        TenantPath::parse(&names.join("/")).ok()
    }

    /// Whether every descriptor of the other rule is one of this, so that the other is never tried.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        // What it is mapped to may be nobody, and then the next rule is tried.
        self.tenant.iter().all(|part| matches!(part, PathPart::Name(_)))
            && self.words.len() == other.words.len()
            && self
                .words
                .iter()
                .zip(&other.words)
                .all(|((key, glob), (word, pattern))| key == word && (glob == pattern || *glob == Glob::new("*")))
    }
}

/// Every domain that is configured; swapped whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules(Vec<Domain>);

impl Rules {
    /// These domains.
    pub fn new(domains: Vec<Domain>) -> Self {
        Self(domains)
    }

    /// Whether none is configured.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A domain.
    pub fn domain(&self, name: &str) -> Option<&Domain> {
        self.0.iter().find(|domain| domain.name == name)
    }
}

impl Domain {
    /// A domain whose one rule takes any values of these keys, as tenants' names where a path has room for them.
    pub(crate) fn taking_all(words: &[(&str, &str)], pool: &Name, resource: &Resource) -> Self {
        let mut keys: Vec<&str> = words.iter().map(|(key, _)| *key).collect();
        keys.sort_unstable();
        let rule = Rule {
            words: keys.iter().map(|key| ((*key).to_owned(), Glob::new("*"))).collect(),
            tenant: keys.iter().take(LEVELS_MAX).map(|key| PathPart::Value((*key).to_owned())).collect(),
            pool: pool.clone(),
            resource: resource.clone(),
        };
        Self { name: String::new(), headers: false, rules: vec![rule] }
    }

    /// All that a descriptor may be taken for, in the order of the rules. Keys that are there twice match no rule.
    pub fn find<'a>(&'a self, mut words: Vec<(&'a str, &'a str)>) -> impl Iterator<Item = Found<'a>> {
        words.sort_unstable();
        self.rules.iter().filter_map(move |rule| rule.find(&words))
    }
}

#[cfg(test)]
mod tests {
    use super::{Domain, Found};
    use crate::config::Config;

    fn domain(descriptors: &str) -> Domain {
        let text = format!("rate_limit_service: [{{domain: edge, descriptors: [{descriptors}]}}]");
        let mut config = Config::parse("f", &text).unwrap_or_else(|problems| panic!("{problems}"));
        config.gateways.remove(0)
    }

    fn found(domain: &Domain, words: &[(&str, &str)]) -> Vec<String> {
        let told = |Found { tenant, pool, resource }: Found<'_>| format!("{tenant} {pool} {resource}");
        domain.find(words.to_vec()).map(told).collect()
    }

    #[test]
    fn the_words_of_a_descriptor_are_those_of_its_rule_and_no_others() {
        let domain = domain(
            "{match: {path: /api, method: GET}, tenant: acme/reads},
             {match: {path: /api*}, tenant: acme/api, pool: edge, resource: calls},
             {match: {path: \"*\"}, tenant: acme/rest}",
        );
        let both = [("path", "/api"), ("method", "GET")];
        assert_eq!(found(&domain, &both), ["acme/reads default requests"], "in any order");
        assert_eq!(found(&domain, &[("method", "PUT"), ("path", "/api")]), [""; 0]);
        assert_eq!(found(&domain, &[("path", "/api/7")]), ["acme/api edge calls", "acme/rest default requests"]);
        assert_eq!(found(&domain, &[("path", "/")]), ["acme/rest default requests"]);
        assert_eq!(found(&domain, &[("path", "/"), ("path", "/api")]), [""; 0], "nobody says which is meant");
        assert_eq!(found(&domain, &[("Path", "/")]), [""; 0]);
        assert_eq!(found(&domain, &[]), [""; 0]);
    }

    #[test]
    fn a_value_may_be_a_tenants_name() {
        let domain = domain("{match: {org: \"*\", user: \"*\"}, tenant: \"acme/${org}/${user}\"}");
        assert_eq!(found(&domain, &[("org", "ml"), ("user", "ann")]), ["acme/ml/ann default requests"]);
        let made = found(&domain, &[("org", "../root"), ("user", "")]);
        let names: Vec<_> = made[0].split('/').collect();
        assert!(names.len() == 3 && names[1].starts_with("root-"), "{made:?}");
    }
}
