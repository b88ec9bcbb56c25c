//! Servers that ask who comes: TLS, certificates and tokens.

use std::path::Path;

use crate::harness::{Headgate, drive, run};

/// Whom certificates are of.
const CALLER: &str = "spiffe://load/test";

/// Certificates that vouch for themselves: `NAME.pem`, and its key.
fn certify(folder: &Path, names: &[&str]) {
    for name in names {
        let mut about = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
        about.subject_alt_names.push(rcgen::SanType::URI(CALLER.try_into().expect("a URI")));
        let key = rcgen::KeyPair::generate().expect("a key");
        let made = about.self_signed(&key).expect("a certificate");
        std::fs::write(folder.join(format!("{name}.pem")), made.pem()).expect("written");
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).expect("written");
    }
}

/// A server that is `ours`, and its port.
fn serve(folder: &Path, tls: &str, more: &str) -> (Headgate, String) {
    let path = |name: &str| folder.join(name).display().to_string();
    let server =
        Headgate::start(&format!("tls: {{cert: {}, key: {}{tls}}}\n{more}", path("ours.pem"), path("ours.key")));
    let port = server.url.rsplit(':').next().expect("a port").to_owned();
    (server, port)
}

#[test]
fn over_tls_all_is_the_same_and_strangers_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("a path").to_owned();
    certify(folder.path(), &["ours", "strange"]);
    let (_server, port) = serve(folder.path(), "", "");
    for protocol in ["https", "stream+https"] {
        let target = format!("{protocol}://localhost:{port}");
        let ran = drive(&target, &["--setup", "--ca", &path("ours.pem"), "--assert", "errors=0"]);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
    }
    let target = format!("https://localhost:{port}");
    let ran = drive(&target, &["--setup", "--ca", &path("strange.pem")]);
    assert_eq!(ran.code, Some(1), "{}", ran.out);
    assert!(ran.err.contains("cannot be reached: invalid peer certificate"), "{}", ran.err);

    let ran = run(&["herd", &target, "--ca", &path("ours.pem"), "-c", "20", "--rounds", "2", "-o", "json"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let round = &ran.json()[1];
    assert_eq!(round["answered"]["count"].as_u64(), Some(20), "{round}");
    assert_eq!(round["connected"]["count"].as_u64(), Some(20), "{round}");
    assert!(round["server"]["cpu_us_per_client"].as_f64().is_some(), "{round}");
    let ran = run(&["herd", &target, "--ca", &path("strange.pem"), "-c", "2", "--rounds", "1"]);
    assert_eq!(ran.code, Some(1), "{}", ran.out);
    assert!(ran.err.contains("cannot be reached: invalid peer certificate"), "{}", ran.err);

    let few = ["--cohorts", "1", "--queues", "2", "--part", "0.02"];
    let ran = run(&[&["kueue", &target, "--ca", &path("ours.pem"), "-o", "json"], &few[..]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(ran.json()["violations"].as_u64(), Some(0), "{}", ran.out);
    let ran = run(&[&["kueue", &target, "--ca", &path("strange.pem")], &few[..]].concat());
    assert_eq!(ran.code, Some(1), "{}", ran.out);
    assert!(ran.err.contains("cannot be reached: invalid peer certificate"), "{}", ran.err);
}

#[test]
fn a_server_that_asks_for_a_certificate_is_shown_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("a path").to_owned();
    certify(folder.path(), &["ours", "mine"]);
    let who = format!("{{match: {{san: \"{CALLER}\"}}, may: [admin, acquire, check], tenants: [\"*\"]}}");
    let more = format!(", client_ca: {}", path("mine.pem"));
    let (_server, port) = serve(folder.path(), &more, &format!("auth: {{callers: [{who}]}}\n"));
    let target = format!("https://localhost:{port}");
    let (ours, mine, key) = (path("ours.pem"), path("mine.pem"), path("mine.key"));
    let shown = ["--ca", &ours, "--cert", &mine, "--key", &key];
    let ran = run(&[&["herd", &target, "-c", "5", "--rounds", "1"], &shown[..]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let ran = run(&[&["kueue", &target, "--cohorts", "1", "--queues", "1", "--part", "0.02"], &shown[..]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    for (verb, wrong, expected) in [
        ("herd", vec!["--ca", &mine, "--cert", &mine], "--key"),
        ("kueue", vec!["--ca", &path("none.pem")], "none.pem cannot be used"),
        ("herd", vec!["--ca", &ours, "--cert", &mine, "--key", &mine], "mine.pem cannot be used"),
        ("kueue", vec![], "https needs --ca"),
    ] {
        let ran = run(&[&[verb, &target], &wrong[..]].concat());
        assert_eq!(ran.code, Some(2), "{wrong:?}: {}", ran.err);
        assert!(ran.err.contains(expected), "{wrong:?}: {}", ran.err);
    }
}

#[test]
fn a_server_that_asks_for_a_token_is_shown_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("a path").to_owned();
    let token = "a-token-that-nobody-guesses-0123456789abcdef";
    std::fs::write(path("token"), format!("{token}\n")).expect("written");
    std::fs::write(path("empty"), "\n").expect("written");
    let who = format!("{{match: {{token_file: {}}}, may: [admin, acquire, check], tenants: [\"*\"]}}", path("token"));
    let server = Headgate::start(&format!("auth: {{anonymous: deny, callers: [{who}]}}\n"));
    let target = format!("http://{}", server.url);
    let few = ["--cohorts", "1", "--queues", "2", "--part", "0.02"];
    let ran = run(&[&["kueue", &target, "--token-file", &path("token")], &few[..]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let ran = run(&["herd", &target, "--token-file", &path("token"), "-c", "5", "--rounds", "1"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let ran = run(&[&["kueue", &target], &few[..]].concat());
    assert_eq!(ran.code, Some(1), "{}", ran.out);
    assert!(ran.err.contains("refuses to be set up: UNAUTHENTICATED"), "{}", ran.err);
    let ran = drive(&target, &["--token-file", &path("empty")]);
    assert_eq!(ran.code, Some(2), "{}", ran.out);
    assert!(ran.err.contains("empty cannot be used: a token is one word"), "{}", ran.err);
}
