//! Tokens that an issuer signed.

use std::collections::HashMap;
use std::path::Path;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Validation};
use serde_json::Value;

use super::AuthError;

/// How far the issuer's clock and ours may be apart, in seconds.
const LEEWAY_SECONDS: u64 = 30;
/// Keys of one issuer; a token without a key's id is tried with each.
const KEYS_MAX: usize = 64;
/// Bytes of a file of keys.
const JWKS_BYTES_MAX: u64 = 1 << 20;

/// Every issuer with an audience, and its keys.
#[derive(Debug, Default)]
pub(super) struct Issuers(Vec<Issuer>);

struct Issuer {
    issuer: String,
    audience: String,
    jwks: String,
    keys: Vec<Key>,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { issuer, audience, jwks, keys } = self;
        write!(f, "Issuer({issuer} for {audience}, {} keys of {jwks})", keys.len())
    }
}

struct Key {
    id: Option<String>,
    /// None where the key does not say.
    algorithm: Option<Algorithm>,
    key: DecodingKey,
}

/// What a good token claims.
#[derive(Debug)]
pub(super) struct Claims(HashMap<String, Value>);

impl Claims {
    /// Whether a claim is `value`, or lists it.
    pub(super) fn has(&self, claim: &str, value: &str) -> bool {
        match self.0.get(claim) {
            Some(Value::Array(values)) => values.iter().any(|one| one.as_str() == Some(value)),
            Some(Value::String(one)) => one == value,
            Some(Value::Bool(one)) => value == if *one { "true" } else { "false" },
            Some(Value::Number(one)) => one.to_string() == value,
            Some(Value::Object(_) | Value::Null) | None => false,
        }
    }

    /// Whom it was made out to, for the journal and the logs.
    pub(super) fn who(&self) -> String {
        let text = |claim: &str| self.0.get(claim).and_then(Value::as_str).unwrap_or("?");
        format!("{}#{}", text("iss"), text("sub"))
    }

    /// Until when it is good, in seconds since the Unix epoch.
    pub(super) fn until(&self) -> u64 {
        self.0.get("exp").and_then(Value::as_u64).unwrap_or(0)
    }
}

impl Issuers {
    /// Adds an issuer with an audience and keys, where it is not there yet; returns its place.
    pub(super) fn add(&mut self, issuer: &str, audience: &str, jwks: &str) -> Result<usize, AuthError> {
        let same = |known: &Issuer| known.issuer == issuer && known.audience == audience && known.jwks == jwks;
        if let Some(at) = self.0.iter().position(same) {
            return Ok(at);
        }
        let keys = read_keys(jwks)?;
        self.0.push(Issuer { issuer: issuer.to_owned(), audience: audience.to_owned(), jwks: jwks.to_owned(), keys });
        Ok(self.0.len() - 1)
    }

    /// What a token claims, or why it is not good, by each issuer.
    pub(super) fn verify(&self, token: &str) -> Vec<Result<Claims, String>> {
        self.0.iter().map(|issuer| issuer.verify(token)).collect()
    }
}

impl Issuer {
    fn verify(&self, token: &str) -> Result<Claims, String> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| "the bearer token is nobody's".to_owned())?;
        let mut why = "the token is signed with a key that its issuer does not have".to_owned();
        for Key { id, algorithm, key } in &self.keys {
            let other_id = id.is_some() && header.kid.is_some() && *id != header.kid;
            // A shared secret signs as well as it checks, and nobody may choose how their token is checked.
            let family = match key.family() {
                AlgorithmFamily::Hmac => continue,
                family @ (AlgorithmFamily::Rsa | AlgorithmFamily::Ec | AlgorithmFamily::Ed) => family,
            };
            let other_algorithm = algorithm.is_some_and(|algorithm| algorithm != header.alg);
            if other_id || other_algorithm || !family.algorithms().contains(&header.alg) {
                continue;
            }
            let mut validation = Validation::new(header.alg);
            validation.leeway = LEEWAY_SECONDS;
            validation.validate_nbf = true;
            validation.set_issuer(&[&self.issuer]);
            validation.set_audience(&[&self.audience]);
            validation.set_required_spec_claims(&["exp", "iss", "aud"]);
            match jsonwebtoken::decode::<HashMap<String, Value>>(token, key, &validation) {
                Ok(data) => return Ok(Claims(data.claims)),
                Err(error) => {
                    why = match error.kind() {
                        ErrorKind::ExpiredSignature => "the token has expired".to_owned(),
                        ErrorKind::ImmatureSignature => "the token is not good yet".to_owned(),
                        ErrorKind::InvalidAudience => "the token is made out for another audience".to_owned(),
                        ErrorKind::InvalidIssuer => "the token is of another issuer".to_owned(),
                        ErrorKind::MissingRequiredClaim(claim) => format!("the token has no claim {claim}"),
                        _ => "the token's signature is not its issuer's".to_owned(),
                    };
                }
            }
        }
        Err(why)
    }
}

fn read_keys(jwks: &str) -> Result<Vec<Key>, AuthError> {
    let path = Path::new(jwks);
    let refuse = |why: String| AuthError::File { path: path.to_owned(), why };
    if jwks.starts_with("https://") || jwks.starts_with("http://") {
        return Err(refuse("is a URL: keys are read from a file, so have it fetched into one".to_owned()));
    }
    let unreadable = |error: std::io::Error| refuse(format!("cannot be read: {error}"));
    if std::fs::metadata(path).map_err(unreadable)?.len() > JWKS_BYTES_MAX {
        return Err(refuse(format!("is larger than {JWKS_BYTES_MAX} bytes, the most that is read of keys")));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let set: JwkSet =
        serde_json::from_str(&text).map_err(|error| refuse(format!("is no set of keys (RFC 7517): {error}")))?;
    let keys: Vec<Key> = set
        .keys
        .iter()
        .filter_map(|jwk| {
            let key = DecodingKey::from_jwk(jwk).ok().filter(|key| key.family() != AlgorithmFamily::Hmac)?;
            // One that is for an algorithm that checks no signatures is left out.
            let algorithm = jwk.common.key_algorithm.map(|algorithm| algorithm.to_string().parse().ok());
            let algorithm = if let Some(known) = algorithm { Some(known?) } else { None };
            Some(Key { id: jwk.common.key_id.clone(), algorithm, key })
        })
        .collect();
    if keys.is_empty() || keys.len() > KEYS_MAX {
        return Err(refuse(format!("has {} keys that check signatures: 1 to {KEYS_MAX} are needed", keys.len())));
    }
    Ok(keys)
}
