use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use headgate_ledger::TenantPath;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use super::{Callers, Limits, Peer, Share};
use crate::config::{Anonymous, At, Auth, Caller, Jwt, Match, Permission, Subtree};

const TOKEN: &str = "0123456789abcdef";

fn path(tenant: &str) -> TenantPath {
    TenantPath::parse(tenant).expect("a path")
}

fn caller(matches: Match, may: &[Permission], tenants: &[&str]) -> At<Caller> {
    let subtree = |tenant: &&str| Subtree(if *tenant == "*" { TenantPath::root() } else { path(tenant) });
    At::from(Caller { matches, may: may.to_vec(), tenants: tenants.iter().map(subtree).collect(), max_priority: None })
}

fn load(callers: Vec<At<Caller>>, anonymous: Anonymous) -> Callers {
    let limits = Limits::new(Share::ONE, Share::ALL);
    Callers::load(&Auth { anonymous, callers }, &limits, None).expect("callers")
}

fn written(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).expect("written");
    path
}

fn local() -> Peer {
    Peer::plain(Some(([127, 0, 0, 1], 1).into()))
}

fn remote() -> Peer {
    Peer::plain(Some(([10, 0, 0, 1], 1).into()))
}

fn certified(uri: &str) -> Peer {
    let mut params = rcgen::CertificateParams::default();
    params.subject_alt_names = vec![rcgen::SanType::URI(uri.try_into().expect("a URI"))];
    let key = rcgen::KeyPair::generate().expect("a key");
    Peer::certified(Some(([10, 0, 0, 1], 1).into()), params.self_signed(&key).expect("a certificate").der())
}

#[test]
fn who_shows_nothing_is_anonymous_on_this_machine_only() {
    let open = load(Vec::new(), Anonymous::Loopback);
    let caller = open.identify(&local(), None).expect("known");
    assert!(caller.may(Permission::Admin) && caller.sees_all());
    assert!(open.identify(&remote(), None).is_err());
    assert!(open.identify(&Peer::plain(None), None).is_err());
    assert!(load(Vec::new(), Anonymous::Deny).identify(&local(), None).is_err());
}

#[test]
fn a_credential_that_is_nobodys_is_refused_where_none_would_do() {
    let open = load(Vec::new(), Anonymous::Loopback);
    for authorization in ["Bearer nonsense", "Basic abc", "Bearer", "Bearer  ", "", "Bearer a.b.c"] {
        assert!(open.identify(&local(), Some(authorization)).is_err(), "{authorization}");
    }
    assert!(open.identify(&certified("spiffe://acme/x"), None).is_err());
}

#[test]
fn a_token_of_a_file_tells_its_caller() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = written(dir.path(), "token", &format!("an-older-token-0123\n{TOKEN}\n"));
    let callers =
        load(vec![caller(Match::TokenFile(file), &[Permission::Acquire], &["acme/ml", "acme/web"])], Anonymous::Deny);
    let known = callers.identify(&remote(), Some(&format!("bearer {TOKEN}"))).expect("known");
    assert!(known.may(Permission::Check) && known.may(Permission::Acquire) && !known.may(Permission::Admin));
    for (tenant, sees) in [("acme/ml", true), ("acme/ml/x", true), ("acme/mlx", false), ("acme", false), ("", false)] {
        assert_eq!(known.sees(tenant), sees, "{tenant}");
    }
    assert!(known.sees_above(&path("acme/ml/x")) && !known.sees_above(&path("acme/ml")));
    assert!(callers.identify(&remote(), Some("Bearer 0123456789abcdeg")).is_err());
    assert!(!format!("{callers:?}").contains(TOKEN), "no token is ever shown");
}

#[test]
fn a_file_of_tokens_must_have_good_ones() {
    let dir = tempfile::tempdir().expect("a directory");
    let limits = Limits::new(Share::ONE, Share::ALL);
    for (text, expected) in [("", "has 0 tokens"), ("short\n", "16 to 4096 bytes"), ("\n \n", "has 0 tokens")] {
        let file = written(dir.path(), "token", text);
        let auth = Auth {
            anonymous: Anonymous::Deny,
            callers: vec![caller(Match::TokenFile(file.clone()), &[Permission::Check], &["*"])],
        };
        let error = Callers::load(&auth, &limits, None).expect_err("refused").to_string();
        assert!(error.contains(expected) && error.contains(&file.display().to_string()), "{error}");
    }
}

#[test]
fn a_name_in_a_certificate_tells_its_caller_and_the_first_counts() {
    let san = |pattern: &str| Match::San(pattern.to_owned());
    let callers = load(
        vec![
            caller(san("spiffe://acme/ci/*"), &[Permission::Check], &["acme/ci"]),
            caller(san("spiffe://acme/*"), &[Permission::Admin], &["*"]),
        ],
        Anonymous::Loopback,
    );
    let ci = callers.identify(&certified("spiffe://acme/ci/runner"), None).expect("known");
    assert_eq!((&**ci.name(), ci.may(Permission::Acquire)), ("spiffe://acme/ci/runner", false));
    assert!(callers.identify(&certified("spiffe://acme/ops"), None).expect("known").sees_all());
    let error = callers.identify(&certified("spiffe://other/ci"), None).expect_err("refused").to_string();
    assert!(error.contains("spiffe://other/ci"), "{error}");
}

struct Issuer {
    key: EncodingKey,
    jwks: PathBuf,
}

impl Issuer {
    fn new(dir: &Path) -> Self {
        let pair = rcgen::KeyPair::generate().expect("a key"); // ECDSA on P-256
        let key = EncodingKey::from_ec_der(&pair.serialize_der());
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).expect("a key");
        jwk.common.key_id = Some("one".to_owned());
        let set = serde_json::to_string(&JwkSet { keys: vec![jwk] }).expect("JSON");
        Self { key, jwks: written(dir, "jwks.json", &set) }
    }

    fn callers(&self) -> Callers {
        let jwt = |claim: &str, value: &str| {
            Match::Jwt(Jwt {
                issuer: "https://id.example".to_owned(),
                audience: "headgate".to_owned(),
                jwks: self.jwks.display().to_string(),
                claim: claim.to_owned(),
                value: value.to_owned(),
            })
        };
        load(
            vec![
                caller(jwt("groups", "platform"), &[Permission::Admin], &["*"]),
                caller(jwt("sub", "ci"), &[Permission::Acquire], &["acme/ci"]),
            ],
            Anonymous::Deny,
        )
    }

    fn token(&self, change: impl FnOnce(&mut serde_json::Value)) -> String {
        let mut claims = json!({"iss": "https://id.example", "aud": "headgate", "sub": "ci", "exp": now() + 600});
        change(&mut claims);
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some("one".to_owned());
        let token = jsonwebtoken::encode(&header, &claims, &self.key).expect("a token");
        format!("Bearer {token}")
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after the epoch").as_secs()
}

#[test]
fn a_signed_token_tells_its_caller_by_a_claim() {
    let dir = tempfile::tempdir().expect("a directory");
    let issuer = Issuer::new(dir.path());
    let callers = issuer.callers();
    let ci = callers.identify(&remote(), Some(&issuer.token(|_| {}))).expect("known");
    assert_eq!((&**ci.name(), ci.may(Permission::Admin)), ("https://id.example#ci", false));
    let admin = issuer.token(|claims| claims["groups"] = json!(["web", "platform"]));
    assert!(callers.identify(&remote(), Some(&admin)).expect("known").may(Permission::Admin));
    let several = issuer.token(|claims| claims["aud"] = json!(["other", "headgate"]));
    assert!(callers.identify(&remote(), Some(&several)).is_ok());
}

#[test]
fn a_signed_token_is_good_for_its_audience_issuer_and_time_only() {
    let dir = tempfile::tempdir().expect("a directory");
    let issuer = Issuer::new(dir.path());
    let callers = issuer.callers();
    type Change = fn(&mut serde_json::Value);
    let cases: [(Change, &str); 7] = [
        (|claims| claims["aud"] = json!("other"), "another audience"),
        (|claims| drop(claims.as_object_mut().map(|claims| claims.remove("aud"))), "no claim aud"),
        (|claims| claims["iss"] = json!("https://evil.example"), "another issuer"),
        (|claims| claims["exp"] = json!(now() - 600), "has expired"),
        (|claims| drop(claims.as_object_mut().map(|claims| claims.remove("exp"))), "no claim exp"),
        (|claims| claims["nbf"] = json!(now() + 600), "not good yet"),
        (|claims| claims["sub"] = json!("somebody"), "none of its claims"),
    ];
    for (change, expected) in cases {
        let error = callers.identify(&remote(), Some(&issuer.token(change))).expect_err("refused").to_string();
        assert!(error.contains(expected), "{error} {expected}");
    }
}

#[test]
fn nobody_chooses_how_a_token_is_checked() {
    let dir = tempfile::tempdir().expect("a directory");
    let issuer = Issuer::new(dir.path());
    let callers = issuer.callers();
    let claims = json!({"iss": "https://id.example", "aud": "headgate", "sub": "ci", "exp": now() + 600});
    let public = std::fs::read(&issuer.jwks).expect("keys");
    let secret = EncodingKey::from_secret(&public);
    let forged = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &secret).expect("a token");
    assert!(callers.identify(&remote(), Some(&format!("Bearer {forged}"))).is_err());
    let good = issuer.token(|_| {});
    let (rest, _) = good.rsplit_once('.').expect("a signature");
    assert!(callers.identify(&remote(), Some(&format!("{rest}."))).is_err(), "without its signature");
    let other = tempfile::tempdir().expect("a directory");
    let stranger = Issuer::new(other.path());
    assert!(callers.identify(&remote(), Some(&stranger.token(|_| {}))).is_err(), "signed by another key");
}

#[test]
fn a_connection_remembers_its_caller_until_something_changes() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = written(dir.path(), "token", TOKEN);
    let limits = Limits::new(Share::ONE, Share::ALL);
    let auth = Auth {
        anonymous: Anonymous::Deny,
        callers: vec![caller(Match::TokenFile(file.clone()), &[Permission::Check], &["*"])],
    };
    let first = Callers::load(&auth, &limits, None).expect("callers");
    let peer = remote();
    let bearer = format!("Bearer {TOKEN}");
    let known = first.identify(&peer, Some(&bearer)).expect("known");
    let again = first.identify(&peer, Some(&bearer)).expect("known");
    assert!(Arc::ptr_eq(&known, &again));
    assert!(first.identify(&peer, None).is_err(), "the next call is another's");

    std::fs::write(&file, "another-token-0123456789").expect("written");
    let second = Callers::load(&auth, &limits, Some(&first)).expect("callers");
    assert!(second.identify(&peer, Some(&bearer)).is_err(), "the token was taken back");
    let other = second.identify(&peer, Some("Bearer another-token-0123456789")).expect("known");
    assert!(Arc::ptr_eq(known.meter(), other.meter()), "it goes on counting");
}

#[test]
fn a_token_that_is_remembered_expires_all_the_same() {
    let dir = tempfile::tempdir().expect("a directory");
    let issuer = Issuer::new(dir.path());
    let callers = issuer.callers();
    let peer = remote();
    let old = issuer.token(|claims| claims["exp"] = json!(now() - 10)); // within the leeway
    let first = callers.identify(&peer, Some(&old)).expect("known");
    let again = callers.identify(&peer, Some(&old)).expect("known");
    assert!(!Arc::ptr_eq(&first, &again), "it is checked again");
}
