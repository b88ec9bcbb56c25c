//! The sections about the server itself: where it listens, whom it knows, where it keeps what it decided.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use headgate_ledger::TenantPath;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::read::{At, Problem, Text, shown};
use super::shape::Priority;

/// Where each surface listens; one left out is not started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// gRPC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<Address>,
    /// HTTP for people, dashboards and Prometheus.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<Address>,
    /// Kubernetes' admission webhook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Address>,
    /// Threads that serve gRPC, each its part of the connections; left out, as many as there are cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc_threads: Option<Threads>,
}

impl Default for Listen {
    /// Where the section is left out: gRPC and HTTP on the loopback interface, at the ports that clients try first.
    fn default() -> Self {
        const GRPC_PORT: u16 = 7070;
        const HTTP_PORT: u16 = 7080;
        Self {
            grpc: Some(Address(([127, 0, 0, 1], GRPC_PORT).into())),
            http: Some(Address(([127, 0, 0, 1], HTTP_PORT).into())),
            webhook: None,
            grpc_threads: None,
        }
    }
}

impl Listen {
    /// Every surface that is started, by name.
    pub fn surfaces(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        [("grpc", &self.grpc), ("http", &self.http), ("webhook", &self.webhook)]
            .into_iter()
            .filter_map(|(name, address)| address.as_ref().map(|Address(address)| (name, *address)))
    }
}

/// An IP address and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub SocketAddr);

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|_| {
            de::Error::custom(format!(
                "address {} is none: write an IP address and a port, such as 127.0.0.1:7070 or [::1]:7070",
                shown(&text)
            ))
        })
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl JsonSchema for Address {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Address".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "examples": ["127.0.0.1:7070", "[::1]:7070"]})
    }
}

/// A number of threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threads(pub NonZeroUsize);

impl Threads {
    /// More than any machine has cores.
    pub const MAX: usize = 1024;
}

impl<'de> Deserialize<'de> for Threads {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        let threads = usize::try_from(number).ok().filter(|threads| *threads <= Self::MAX).and_then(NonZeroUsize::new);
        threads.map(Self).ok_or_else(|| {
            de::Error::custom(format!(
                "{number} threads cannot be had: write 1 to {}, or leave it out for one on each core",
                Self::MAX
            ))
        })
    }
}

impl Serialize for Threads {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl JsonSchema for Threads {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Threads".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "minimum": 1, "maximum": Self::MAX})
    }
}

/// Whether an address is reached from this machine only.
pub fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Files of certificates and keys, read again when they change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The server's certificate, and those between it and its root (PEM).
    pub cert: PathBuf,
    /// The server's key (PEM).
    pub key: PathBuf,
    /// Whose certificates callers are known by (PEM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
}

/// Who may call, and do what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// What becomes of a caller whom nothing matches.
    #[serde(default)]
    pub anonymous: Anonymous,
    /// Those who are known; the first that matches counts.
    #[serde(default)]
    pub callers: Vec<At<Caller>>,
}

/// What becomes of a caller whom nothing matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Anonymous {
    /// From the loopback interface it may do all; from elsewhere nothing.
    #[default]
    Loopback,
    /// It may do nothing.
    Deny,
}

/// A caller, what it may do and for whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Caller {
    /// How it is known.
    #[serde(rename = "match")]
    pub matches: Match,
    /// What it may do.
    pub may: Vec<Permission>,
    /// The tenants, with all under them, that it may do it for; `*` for all.
    pub tenants: Vec<Subtree>,
    /// The highest priority that it may ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_priority: Option<Priority>,
}

/// How a caller is known: one of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Match {
    /// By a name in its certificate; a `*` stands for any text.
    San(String),
    /// By the token that stands in this file, read again when it changes.
    TokenFile(PathBuf),
    /// By a signed token.
    Jwt(Jwt),
}

/// A token that an issuer signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// Who signs.
    pub issuer: String,
    /// For whom the token must be made out.
    pub audience: String,
    /// Where the issuer's keys are: a URL or a file.
    pub jwks: String,
    /// A claim of the token,
    pub claim: String,
    /// that has, or lists, this value.
    pub value: String,
}

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Permission {
    /// Ask, look and watch.
    Check,
    /// Take leases and tickets, and keep them.
    Acquire,
    /// Change the configuration.
    Admin,
}

/// A tenant and all under it, or all there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subtree(pub TenantPath);

impl<'de> Deserialize<'de> for Subtree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        if text == "*" {
            return Ok(Self(TenantPath::root()));
        }
        TenantPath::parse(&text).map(Self).map_err(|error| {
            de::Error::custom(format!("{error}; all under a tenant is meant by its path alone, all tenants by \"*\""))
        })
    }
}

impl Serialize for Subtree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0.is_root() { "*" } else { self.0.as_str() })
    }
}

impl JsonSchema for Subtree {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Subtree".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "examples": ["acme/ml", "*"]})
    }
}

/// Where what was decided is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// In files of a directory.
    File {
        /// The directory.
        path: PathBuf,
    },
    /// In Redis.
    Redis {
        /// Where it is.
        url: String,
        /// What its keys begin with.
        prefix: String,
    },
    /// Nowhere: a restart forgets.
    Memory,
}

impl Default for Store {
    fn default() -> Self {
        Self::File { path: "./headgate-data".into() }
    }
}

/// A store, as it is written: what belongs to another kind is a mistake.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Store")]
pub struct StoreShape {
    /// Which.
    pub kind: StoreKind,
    /// The directory of a file store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<At<PathBuf>>,
    /// Where Redis is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<At<String>>,
    /// What the keys in Redis begin with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<At<String>>,
}

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// Files of a directory.
    File,
    /// Redis.
    Redis,
    /// Nothing.
    Memory,
}

impl At<StoreShape> {
    /// The store that is meant.
    pub(super) fn into_store(self) -> Result<Store, Problem> {
        const PREFIX: &str = "headgate";
        let StoreShape { kind, path, url, prefix } = self.value.clone();
        let foreign = |key: Option<Problem>| key.map_or(Ok(()), Err);
        let path_is =
            |kind| path.as_ref().map(|path| path.problem(format!("a {kind} store has no path: leave it out")));
        let redis_is = |kind| {
            let only = |key: &str| format!("a {kind} store has no {key}: only one of kind redis has");
            let url = url.as_ref().map(|url| url.problem(only("url")));
            url.or_else(|| prefix.as_ref().map(|prefix| prefix.problem(only("prefix"))))
        };
        match kind {
            StoreKind::Memory => {
                foreign(path_is("memory"))?;
                foreign(redis_is("memory"))?;
                Ok(Store::Memory)
            }
            StoreKind::File => {
                foreign(redis_is("file"))?;
                match path {
                    Some(path) if path.value.as_os_str().is_empty() => {
                        Err(path.problem("the path is empty: name a directory"))
                    }
                    Some(path) => Ok(Store::File { path: path.value }),
                    None => Ok(Store::default()),
                }
            }
            StoreKind::Redis => {
                foreign(path_is("redis"))?;
                let Some(url) = url else {
                    return Err(self.problem("a redis store needs its url, such as redis://127.0.0.1:6379"));
                };
                if !["redis://", "rediss://", "redis+sentinel://"].iter().any(|scheme| url.value.starts_with(scheme)) {
                    return Err(url.problem("the url of a redis store starts with redis:// or, over TLS, rediss://"));
                }
                if let Some(prefix) = prefix.as_ref().filter(|prefix| prefix.value.contains(['{', '}', ' '])) {
                    return Err(prefix.problem("a prefix has no braces and no spaces: the braces are for the cell"));
                }
                let prefix = prefix.map_or_else(|| PREFIX.to_owned(), |prefix| prefix.value);
                Ok(Store::Redis { url: url.value, prefix })
            }
        }
    }
}

/// When an answer is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// When the store has it.
    #[default]
    Journaled,
    /// At once; a crash may forget the last of them.
    Relaxed,
}

/// What becomes of admission when the store fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnStoreFailure {
    /// It stops until the store is back.
    #[default]
    Stop,
    /// It goes on, and what is decided meanwhile may be forgotten.
    Continue,
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// The least that is logged.
    #[serde(default)]
    pub level: LogLevel,
    /// How.
    #[serde(default)]
    pub format: LogFormat,
}

/// The least that is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // the usual words
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// How lines are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why the server must not start: an address that others reach needs TLS, and callers to be known.
pub fn exposed(listen: &Listen, tls: Option<&Tls>, auth: &Auth) -> Vec<Problem> {
    listen
        .surfaces()
        .filter(|(_, address)| !is_loopback(*address))
        .filter_map(|(surface, address)| {
            let missing = match (tls.is_some(), auth.callers.is_empty()) {
                (true, false) => return None,
                (false, false) => "tls",
                (true, true) => "auth with callers",
                (false, true) => "tls, and auth with callers",
            };
            Some(Problem::whole(format!(
                "{surface} listens on {address}, beyond loopback, without {missing}: add it, or listen on 127.0.0.1"
            )))
        })
        .collect()
}

/// Two surfaces that would listen on one address: the second could not.
pub(super) fn clashing(listen: &Listen) -> Option<Problem> {
    let surfaces: Vec<_> = listen.surfaces().filter(|(_, address)| address.port() != 0).collect();
    surfaces.iter().enumerate().find_map(|(place, (surface, address))| {
        let (other, _) = surfaces[..place].iter().find(|(_, other)| other == address)?;
        Some(Problem::whole(format!("{other} and {surface} both listen on {address}: give each a port of its own")))
    })
}

/// What is wrong with callers in themselves.
pub(super) fn check_callers(auth: &Auth, tls: Option<&Tls>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for caller in &auth.callers {
        let Caller { matches, may, tenants, max_priority: _ } = &caller.value;
        if may.is_empty() {
            problems
                .push(caller.problem("this caller may do nothing: name one of check, acquire, admin, or leave it out"));
        }
        if tenants.is_empty() {
            problems.push(caller.problem("this caller has no tenants: name some, or \"*\" for all"));
        }
        match matches {
            Match::San(pattern) if pattern.is_empty() => {
                problems.push(caller.problem("the san is empty: write one such as \"spiffe://acme/ci/*\""));
            }
            Match::San(_) if tls.is_none_or(|tls| tls.client_ca.is_none()) => problems.push(
                caller.problem("a san is read from a caller's certificate: set tls with client_ca, or match by token"),
            ),
            Match::San(_) => {}
            Match::TokenFile(path) if path.as_os_str().is_empty() => {
                problems.push(caller.problem("the token_file is empty: name a file"));
            }
            Match::TokenFile(_) => {}
            Match::Jwt(Jwt { issuer, audience, jwks, claim, value }) => {
                let fields =
                    [("issuer", issuer), ("audience", audience), ("jwks", jwks), ("claim", claim), ("value", value)];
                for (name, _) in fields.into_iter().filter(|(_, text)| text.is_empty()) {
                    problems.push(caller.problem(format!("the jwt's {name} is empty: each part must be said")));
                }
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::{Address, Auth, Caller, Listen, Match, Permission, Subtree, Threads, Tls, exposed};
    use crate::config::read::At;

    fn listen(grpc: &str) -> Listen {
        Listen { grpc: Some(Address(grpc.parse().expect("an address"))), http: None, webhook: None, grpc_threads: None }
    }

    fn known() -> Auth {
        let caller = Caller {
            matches: Match::TokenFile("/run/token".into()),
            may: vec![Permission::Acquire],
            tenants: vec![Subtree(headgate_ledger::TenantPath::root())],
            max_priority: None,
        };
        Auth { callers: vec![At::from(caller)], ..Auth::default() }
    }

    #[test]
    fn an_address_beyond_loopback_needs_tls_and_auth() {
        let tls = Tls { cert: "cert.pem".into(), key: "key.pem".into(), client_ca: None };
        for (address, with_tls, with_auth, missing) in [
            ("127.0.0.1:7070", false, false, None),
            ("127.9.9.9:7070", false, false, None),
            ("[::1]:7070", false, false, None),
            ("[::ffff:127.0.0.1]:7070", false, false, None),
            ("0.0.0.0:7070", false, false, Some("without tls, and auth with callers:")),
            ("[::]:7070", true, false, Some("without auth with callers:")),
            ("10.0.0.1:7070", false, true, Some("without tls:")),
            ("10.0.0.1:7070", true, true, None),
        ] {
            let auth = if with_auth { known() } else { Auth::default() };
            let found = exposed(&listen(address), with_tls.then_some(&tls), &auth);
            match missing {
                None => assert_eq!(found, [], "{address}"),
                Some(missing) => {
                    let [problem] = &found[..] else { panic!("{address}: {found:?}") };
                    assert!(
                        problem.what.starts_with(&format!("grpc listens on {address}, beyond loopback, {missing}")),
                        "{}",
                        problem.what
                    );
                }
            }
        }
    }

    #[test]
    fn threads_are_some_and_not_too_many() {
        let parsed = |number: &str| {
            let yaml = format!("listen: {{grpc: \"127.0.0.1:0\", grpc_threads: {number}}}");
            crate::config::Config::parse("test.yaml", &yaml).map(|config| config.listen.grpc_threads)
        };
        for (number, threads) in [("1", 1), ("1024", 1024)] {
            assert_eq!(parsed(number).expect("parsed").map(|Threads(threads)| threads.get()), Some(threads));
        }
        for number in ["0", "1025", "18446744073709551615"] {
            let refused = parsed(number).expect_err("refused").to_string();
            assert!(refused.contains("test.yaml:1:") && refused.contains("write 1 to 1024"), "{refused}");
        }
        for number in ["-1", "1.5", "many"] {
            assert!(parsed(number).is_err(), "{number}");
        }
    }

    #[test]
    fn every_surface_is_looked_at() {
        let mut listen = listen("0.0.0.0:1");
        listen.http = Some(Address("127.0.0.1:2".parse().expect("an address")));
        listen.webhook = Some(Address("0.0.0.0:3".parse().expect("an address")));
        let found = exposed(&listen, None, &Auth::default());
        assert_eq!(
            found.iter().map(|problem| problem.what.split(' ').next().unwrap_or("")).collect::<Vec<_>>(),
            ["grpc", "webhook"]
        );
    }
}
