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
    let server = Yardstick::start();
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
fn one_that_does_nothing_is_fast_and_within_wide_limits() {
    let server = Yardstick::start();
    for target in ["http", "stream+http", "ratelimit+http"] {
        let ran = drive(&format!("{target}://{}", server.url), &["--assert", "errors=0"]);
        assert_eq!(ran.code, Some(0), "{target}: {}{}", ran.out, ran.err);
    }
}

#[test]
fn what_cannot_be_set_up_says_so() {
    let server = Yardstick::start();
    // It answers whatever it is told to set up, but a rate that nobody can drive is more than it takes.
    let target = format!("http://{}", server.url);
    let ran = run(&["run", &target, "-d", "300ms", "--warm-up", "0s", "-r", "50_000_000", "-n", "2", "-c", "1"]);
    assert_eq!(ran.code, Some(1), "{}", ran.out);
    assert!(ran.err.contains("50000000/s were asked for, and "), "{}", ran.err);
}
