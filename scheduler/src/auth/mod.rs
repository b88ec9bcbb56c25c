//! Who calls, and what may they: the `auth` section of the configuration, at work.
//!
//! [`Callers`] is the section with its files read; it is swapped whole when the section or a file changes. It tells who a
//! [`Peer`] is by its certificate or its bearer token, and hands out a [`Caller`], who knows what it may do and see. A
//! credential that matches nobody is refused, never taken for none.

mod glob;
mod jwt;
mod limits;
mod peer;
mod token;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use headgate_ledger::TenantPath;

use crate::config::{Anonymous, Auth, Match, Permission};

pub(crate) use self::glob::Glob;
use self::jwt::{Claims, Issuers};
pub use self::limits::{Admitted, Busy, Limits, Meter, Share};
pub use self::peer::Peer;
use self::token::Tokens;

/// Callers that a configuration may name: a new connection is compared with each.
pub const CALLERS_MAX: usize = 10_000;

/// What a caller may do, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Grant {
    /// The most of it: who may acquire may check, who may administer may do all.
    most: Permission,
    /// The tenants, with all under them.
    tenants: Arc<[TenantPath]>,
    max_priority: Option<i32>,
}

impl Grant {
    /// What one may do whom nothing binds.
    fn everything() -> Self {
        Self { most: Permission::Admin, tenants: Arc::from([TenantPath::root()]), max_priority: None }
    }
}

/// Somebody who calls.
#[derive(Debug)]
pub struct Caller {
    /// Who it is, for the journal and the logs.
    name: Arc<str>,
    grant: Grant,
    meter: Arc<Meter>,
}

impl Caller {
    /// One whom nothing binds: the server itself, and anonymous callers on its own machine.
    pub fn unbound(name: &str, limits: &Arc<Limits>) -> Self {
        Self { name: name.into(), grant: Grant::everything(), meter: Meter::new(limits) }
    }

    /// The same, but for a highest priority.
    #[cfg(test)]
    pub(crate) fn at_most_priority(&self, most: i32) -> Self {
        let grant = Grant { max_priority: Some(most), ..self.grant.clone() };
        Self { name: self.name.clone(), grant, meter: self.meter.clone() }
    }

    /// Who it is, for the journal and the logs.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether it may do this at all.
    pub fn may(&self, permission: Permission) -> bool {
        permission <= self.grant.most
    }

    /// Whether it may see a tenant, by its path; the root is nobody's but theirs who see all.
    pub fn sees(&self, tenant: &str) -> bool {
        self.grant.tenants.iter().any(|subtree| subtree.covers(tenant))
    }

    /// Whether it may see every tenant.
    pub fn sees_all(&self) -> bool {
        self.grant.tenants.iter().any(TenantPath::is_root)
    }

    /// Whether it may see this tenant as one below another that it sees: its own place is set by those above it.
    pub fn sees_above(&self, tenant: &TenantPath) -> bool {
        tenant.parent().is_some_and(|parent| self.sees(parent.as_str()))
    }

    /// The tenants that it may see, each with all under it.
    pub fn subtrees(&self) -> &Arc<[TenantPath]> {
        &self.grant.tenants
    }

    /// The highest priority that it may ask for.
    pub fn max_priority(&self) -> Option<i32> {
        self.grant.max_priority
    }

    /// What it may use of the server, and uses.
    pub fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }
}

/// Why a caller was not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown(String);

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unknown {}

/// Why the `auth` section cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// A file of it.
    #[error("auth: {} {why}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it, and what would help.
        why: String,
    },
    /// More callers than are taken.
    #[error("auth: {0} callers are named, at most {CALLERS_MAX} may be")]
    TooMany(usize),
}

/// How one caller is known.
#[derive(Debug)]
enum Known {
    /// By a URI in its certificate.
    San(Glob),
    /// By one of the tokens of a file.
    Token(Tokens),
    /// By a claim of a signed token, checked by an issuer's keys.
    Jwt { issuer: usize, claim: String, value: String },
}

#[derive(Debug)]
struct Rule {
    known: Known,
    /// Tells it from the others, and stays the same when the section is read again.
    key: String,
    grant: Grant,
    meter: Arc<Meter>,
}

/// The `auth` section with its files read.
#[derive(Debug)]
pub struct Callers {
    /// Differs from that of every other: what a connection remembers of its caller holds for this only.
    generation: u64,
    anonymous: Anonymous,
    rules: Vec<Rule>,
    issuers: Issuers,
    /// Of all who are anonymous together.
    nobody: Arc<Caller>,
    files: Vec<PathBuf>,
}

/// Who somebody is, and until when that is known (seconds since the Unix epoch).
type Identified = (Arc<Caller>, u64);

impl Callers {
    /// Reads the section and its files. Meters go on where a caller was there `before`.
    pub fn load(auth: &Auth, limits: &Arc<Limits>, before: Option<&Self>) -> Result<Self, AuthError> {
        static GENERATION: AtomicU64 = AtomicU64::new(1);
        let Auth { anonymous, callers } = auth;
        if callers.len() > CALLERS_MAX {
            return Err(AuthError::TooMany(callers.len()));
        }
        let mut issuers = Issuers::default();
        let mut files = Vec::new();
        let mut rules = Vec::with_capacity(callers.len());
        for caller in callers {
            let crate::config::Caller { matches, may, tenants, max_priority } = &caller.value;
            let (known, key) = match matches {
                Match::San(pattern) => (Known::San(Glob::new(pattern)), format!("san {pattern}")),
                Match::TokenFile(path) => {
                    files.push(path.clone());
                    (Known::Token(Tokens::read(path)?), format!("token {}", path.display()))
                }
                Match::Jwt(jwt) => {
                    let crate::config::Jwt { issuer, audience, jwks, claim, value } = jwt;
                    let at = issuers.add(issuer, audience, jwks)?;
                    files.push(jwks.into());
                    let key = format!("jwt {issuer} {audience} {claim}={value}");
                    (Known::Jwt { issuer: at, claim: claim.clone(), value: value.clone() }, key)
                }
            };
            let grant = Grant {
                most: may.iter().copied().max().unwrap_or(Permission::Check),
                tenants: tenants.iter().map(|subtree| subtree.0.clone()).collect(),
                max_priority: max_priority.as_ref().map(|priority| priority.0),
            };
            let meter = before
                .and_then(|before| before.rules.iter().find(|rule| rule.key == key))
                .map_or_else(|| Meter::new(limits), |rule| rule.meter.clone());
            rules.push(Rule { known, key, grant, meter });
        }
        files.sort();
        files.dedup();
        let nobody =
            before.map_or_else(|| Arc::new(Caller::unbound("anonymous", limits)), |before| before.nobody.clone());
        let generation = GENERATION.fetch_add(1, Ordering::Relaxed);
        Ok(Self { generation, anonymous: *anonymous, rules, issuers, nobody, files })
    }

    /// The files that it was read from.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Who a peer is that shows `bearer`, the value of its `authorization` header.
    pub fn identify(&self, peer: &Peer, authorization: Option<&str>) -> Result<Arc<Caller>, Unknown> {
        if let Some(caller) = peer.remembered(self.generation, authorization) {
            return Ok(caller);
        }
        let (caller, until) = self.find(peer, authorization)?;
        peer.remember(self.generation, authorization, &caller, until);
        Ok(caller)
    }

    fn find(&self, peer: &Peer, authorization: Option<&str>) -> Result<Identified, Unknown> {
        let bearer = authorization.map(bearer_of).transpose()?;
        if bearer.is_none() && peer.names().is_none() {
            return match self.anonymous {
                Anonymous::Loopback if peer.is_loopback() => Ok((self.nobody.clone(), u64::MAX)),
                Anonymous::Loopback | Anonymous::Deny => Err(Unknown(
                    "no credentials were given: send a bearer token, or show a client certificate".to_owned(),
                )),
            };
        }
        let mut claims: Option<Vec<Result<Claims, String>>> = None;
        for rule in &self.rules {
            let found = match &rule.known {
                Known::San(glob) => peer
                    .names()
                    .unwrap_or_default()
                    .iter()
                    .find(|name| glob.matches(name))
                    .map(|name| (name.clone(), u64::MAX)),
                Known::Token(tokens) => {
                    bearer.filter(|bearer| tokens.has(bearer)).map(|_| (rule.key.clone(), u64::MAX))
                }
                Known::Jwt { issuer, claim, value } => bearer.and_then(|bearer| {
                    let claims = claims.get_or_insert_with(|| self.issuers.verify(bearer));
                    let claims = claims.get(*issuer)?.as_ref().ok()?;
                    claims.has(claim, value).then(|| (claims.who(), claims.until()))
                }),
            };
            if let Some((name, until)) = found {
                let caller = Caller { name: name.into(), grant: rule.grant.clone(), meter: rule.meter.clone() };
                return Ok((Arc::new(caller), until));
            }
        }
        Err(match (bearer, claims) {
            (Some(_), Some(claims)) => {
                let why = claims.into_iter().filter_map(Result::err).next();
                Unknown(why.unwrap_or_else(|| "the token is good, but none of its claims is a caller's".to_owned()))
            }
            (Some(_), None) => Unknown("the bearer token is nobody's".to_owned()),
            (None, _) => Unknown(format!(
                "the client certificate is good, but none of its URI names is a caller's: {}",
                peer.names()
                    .filter(|names| !names.is_empty())
                    .map_or("it has none".to_owned(), |names| names.join(", "))
            )),
        })
    }
}

fn bearer_of(authorization: &str) -> Result<&str, Unknown> {
    let (scheme, token) = authorization.split_once(' ').unwrap_or((authorization, ""));
    let token = token.trim();
    if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() {
        Ok(token)
    } else {
        Err(Unknown("the authorization is not of the form \"Bearer TOKEN\"".to_owned()))
    }
}

/// The callers as they are known now; swapped whole.
#[derive(Debug)]
pub struct Registry(ArcSwap<Callers>);

impl Registry {
    /// Begins with these.
    pub fn new(callers: Callers) -> Self {
        Self(ArcSwap::from_pointee(callers))
    }

    /// As they are known now.
    pub fn now(&self) -> arc_swap::Guard<Arc<Callers>> {
        self.0.load()
    }

    /// Knows these from now on.
    pub fn swap(&self, callers: Callers) {
        self.0.store(Arc::new(callers));
    }
}

#[cfg(test)]
mod tests;
