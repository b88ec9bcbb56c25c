//! A server that allows everything: what the checker is there to find.

use std::io::Write as _;

use crate::harness::{Yardstick, drive, run};

const NARROW: &str = "
scenario: narrow
pool: {capacity: {cpu: 100}}
tenants: [{path: loadtest/a, limit: {cpu: 3}}]
mix: {acquire: 1}
sizes: {cpu: 1}
holds: 50ms
";

#[test]
fn one_that_allows_more_than_a_limit_is_caught() {
    let server = Yardstick::start("h2");
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(NARROW.as_bytes()).expect("written");
    let path = file.path().to_str().expect("a path");
    for target in [format!("http://{}", server.url), format!("stream+http://{}", server.url)] {
        let ran = drive(&target, &["--scenario", path]);
        assert_eq!(ran.code, Some(1), "{}", ran.out);
        assert!(ran.err.contains("loadtest/a: more than its 3 of cpu was allowed"), "{}", ran.err);
    }
}

#[test]
fn one_that_does_nothing_does_it_without_an_error() {
    let (fast, ordinary) = (Yardstick::start("h2"), Yardstick::start("tonic"));
    for target in [
        format!("http://{}", fast.url),
        format!("stream+http://{}?batch=4", fast.url),
        format!("ratelimit+http://{}", fast.url),
        format!("http://{}", ordinary.url),
        format!("stream+http://{}?batch=4", ordinary.url),
    ] {
        let ran = drive(&target, &["--setup", "--assert", "errors=0"]);
        assert_eq!(ran.code, Some(0), "{target}: {}{}", ran.out, ran.err);
    }
}

#[test]
fn more_than_can_be_driven_is_said_to_be() {
    let server = Yardstick::start("h2");
    let target = format!("http://{}", server.url);
    let ran = run(&["run", &target, "-d", "300ms", "--warm-up", "0s", "-r", "50_000_000", "-n", "2", "-c", "1"]);
    assert_eq!(ran.code, Some(1), "{}", ran.out);
    assert!(ran.err.contains("50000000/s were asked for, and "), "{}", ran.err);
}
