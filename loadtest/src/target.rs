//! What is driven: where it listens, and what it is asked in.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// The port that a server listens on where none is said.
const PORT: u16 = 7070;
/// The port, and the path, of a webhook where none is said.
const REVIEW_PORT: u16 = 7443;
const REVIEW_PATH: &str = "/validate";

/// How a target begins that is the engine as a library.
const EMBEDDED: &str = "embedded";
const EXAMPLE: &str = "write one such as http://127.0.0.1:7070, stream+http://127.0.0.1:7070?batch=64, \
                       ratelimit+http://127.0.0.1:8081, review+https://127.0.0.1:7443/validate or embedded";

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Protocol {
    /// `headgate.v1.QuotaService`, a call for each operation.
    Quota,
    /// `AcquireStream`: many operations on one call.
    Stream,
    /// Envoy's `RateLimitService`.
    RateLimit,
    /// Kubernetes' `AdmissionReview`, as an API server asks a webhook.
    Review,
    /// Nothing: the engine is a library in this process.
    Embedded,
}

/// A server, and how it is driven where that differs from the command line's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) protocol: Protocol,
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Of an embedded engine, its configuration; empty: none. Of a webhook, its path.
    pub(crate) path: String,
    pub(crate) connections: Option<usize>,
    pub(crate) in_flight: Option<usize>,
    pub(crate) batch: Option<usize>,
}

impl Target {
    /// Where it listens, as others write it; of a webhook, without its path.
    pub(crate) fn url(&self) -> String {
        match self.protocol {
            Protocol::Embedded if self.path.is_empty() => EMBEDDED.to_owned(),
            Protocol::Embedded => format!("{EMBEDDED}:{}", self.path),
            Protocol::Quota | Protocol::Stream | Protocol::RateLimit | Protocol::Review => {
                format!("{}://{}", if self.tls { "https" } else { "http" }, self.authority())
            }
        }
    }

    /// The configuration of an embedded engine, where one is named.
    pub(crate) fn file(&self) -> Option<&Path> {
        (self.protocol == Protocol::Embedded && !self.path.is_empty()).then(|| Path::new(&self.path))
    }

    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Quota => "",
            Protocol::Stream => "stream+",
            Protocol::RateLimit => "ratelimit+",
            Protocol::Review => "review+",
            Protocol::Embedded => "",
        };
        let path = if self.protocol == Protocol::Review { &*self.path } else { "" };
        write!(f, "{protocol}{}{path}", self.url())?;
        let said = [("connections", self.connections), ("in-flight", self.in_flight), ("batch", self.batch)];
        let said = said.iter().filter_map(|(name, value)| value.map(|value| format!("{name}={value}")));
        let said = said.collect::<Vec<_>>().join("&");
        if said.is_empty() { Ok(()) } else { write!(f, "?{said}") }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (place, query) = text.split_once('?').unwrap_or((text, ""));
        let (word, path) = place.split_once(':').unwrap_or((place, ""));
        if word == EMBEDDED {
            return Self { path: path.to_owned(), ..Self::new(Protocol::Embedded) }.asked(query);
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(|| format!("\"{text}\" is no target: {EXAMPLE}"))?;
        let (protocol, scheme) = scheme.split_once('+').unwrap_or(("quota", scheme));
        let protocol = match protocol {
            "quota" => Protocol::Quota,
            "stream" => Protocol::Stream,
            "ratelimit" => Protocol::RateLimit,
            "review" => Protocol::Review,
            other => return Err(format!("nothing speaks \"{other}\" here: {EXAMPLE}")),
        };
        let tls = match scheme {
            "http" => false,
            "https" => true,
            other => return Err(format!("\"{other}\" is neither http nor https: {EXAMPLE}")),
        };
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path, port) = if protocol == Protocol::Review {
            let (authority, path) = place.find('/').map_or((place, ""), |at| place.split_at(at));
            (authority, if path.len() > 1 { path } else { REVIEW_PATH }, REVIEW_PORT)
        } else {
            (place.trim_end_matches('/'), "", PORT)
        };
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("\"{path}\" is no path: {EXAMPLE}"));
        }
        let (host, port) =
            host_and_port(authority, port).ok_or_else(|| format!("\"{authority}\" is no host and port: {EXAMPLE}"))?;
        Self { tls, host, port, path: path.to_owned(), ..Self::new(protocol) }.asked(query)
    }
}

impl Target {
    fn new(protocol: Protocol) -> Self {
        let (host, path) = (String::new(), String::new());
        Self { protocol, tls: false, host, port: 0, path, connections: None, in_flight: None, batch: None }
    }

    /// With what is said after a question mark.
    fn asked(mut self, query: &str) -> Result<Self, String> {
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let place = match name {
                "connections" => &mut self.connections,
                "in-flight" => &mut self.in_flight,
                "batch" => &mut self.batch,
                _ => {
                    return Err(format!("\"{name}\" may not stand in a target: only connections, in-flight and batch"));
                }
            };
            let number = value.parse().ok().filter(|number| *number > 0);
            *place = Some(number.ok_or_else(|| format!("\"{pair}\" in a target needs a number above 0"))?);
        }
        Ok(self)
    }
}

/// A host, and its port or the one that it has where none is said.
fn host_and_port(authority: &str, or: u16) -> Option<(String, u16)> {
    if let Some(bracketed) = authority.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']')?;
        let port = rest.strip_prefix(':').map_or(Some(or), |port| port.parse().ok())?;
        return Some((host.to_owned(), port));
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (authority, or),
    };
    (!host.is_empty() && !host.contains(['/', ':'])).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::{Protocol, Target};

    #[test]
    fn a_target_is_read_and_written_the_same() {
        for text in [
            "http://127.0.0.1:7070",
            "https://[::1]:443",
            "stream+http://host:1?connections=2&in-flight=1024&batch=64",
            "ratelimit+http://host:8081",
            "review+https://host:443/validate/pods?in-flight=9",
            "embedded",
            "embedded?batch=64",
            "embedded:some/server.yaml?connections=2",
        ] {
            assert_eq!(text.parse::<Target>().map(|target| target.to_string()), Ok(text.to_owned()));
        }
        let target: Target = "quota+http://host/".parse().expect("a target");
        assert_eq!((target.protocol, target.port, target.host.as_str()), (Protocol::Quota, 7070, "host"));
        let target: Target = "review+https://host".parse().expect("a target");
        assert_eq!(
            (target.port, target.path.as_str(), target.url().as_str()),
            (7443, "/validate", "https://host:7443")
        );
    }

    #[test]
    fn what_is_none_says_why() {
        for (text, expected) in [
            ("127.0.0.1:7070", "is no target"),
            ("smtp+http://host", "nothing speaks \"smtp\""),
            ("ftp://host", "neither http nor https"),
            ("http://host:port", "no host and port"),
            ("http://:7070", "no host and port"),
            ("http://host?batch=0", "needs a number above 0"),
            ("http://host?size=1", "may not stand in a target"),
        ] {
            let refused = text.parse::<Target>().expect_err(text);
            assert!(refused.contains(expected), "{text}: {refused}");
        }
    }
}
