//! The engine as a library, driven with no wire.

use std::path::Path;

use serde_json::Value;

use crate::harness::{Headgate, Ran, drive, run};

fn sound(ran: &Ran) -> Value {
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let outcome = ran.json();
    let checked = &outcome["checked"];
    assert_eq!((checked["violations"].as_u64(), checked["left"].as_u64()), (Some(0), Some(0)), "{outcome}");
    outcome
}

#[test]
fn it_is_driven_as_servers_are_and_needs_none() {
    for (target, more) in [
        ("embedded", &[][..]),
        ("embedded?batch=4", &["-r", "50", "--arrivals", "constant"]),
        ("embedded?batch=4&connections=3&in-flight=24", &["--threads", "2"]),
        ("embedded", &["--call", "check"]),
    ] {
        // What is said for servers does not count where the target says otherwise.
        let told = ["run", target, "-d", "300ms", "--warm-up", "50ms", "-o", "json", "--assert", "errors=0"];
        let outcome = sound(&run(&[&told[..], more].concat()));
        let run = &outcome["runs"][0];
        assert!(run["decisions"]["allow"].as_u64() > Some(0), "{target}: {outcome}");
        assert_eq!(outcome["checked"]["limits"].as_u64(), Some(11), "{outcome}");
        // Deciding is the engine's, and neither is all of it nor all of what the generators did.
        let deciding = run["server"]["deciding_us_per_operation"].as_f64().expect("a figure");
        let all = run["server"]["cpu_us_per_operation"].as_f64().expect("a figure");
        assert!(0.0 < deciding && deciding <= all, "{target}: {outcome}");
        assert!(run["client"]["cpu_us_per_operation"].as_f64() > Some(0.0), "{target}: {outcome}");
    }
}

fn configuration(folder: &Path) -> String {
    let path = folder.join("server.yaml");
    let store = folder.join("data");
    let yaml = format!("listen: {{grpc: 127.0.0.1:1}}\nstore: {{kind: file, path: {}}}\n", store.display());
    std::fs::write(&path, yaml).expect("written");
    format!("embedded:{}", path.display())
}

#[test]
fn on_files_what_it_answers_is_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let target = configuration(folder.path());
    for more in [&["-n", "16", "-c", "2"][..], &["-n", "16", "-c", "2", "-r", "100"]] {
        let told = ["run", &target, "-d", "300ms", "--warm-up", "50ms", "-o", "json", "--setup"];
        let outcome = sound(&run(&[&told[..], more].concat()));
        assert!(outcome["runs"][0]["kinds"]["release"]["count"].as_u64() > Some(0), "{outcome}");
    }
    assert!(std::fs::read_dir(folder.path().join("data")).expect("a store").next().is_some());
    // What was set up is gone, and what others configured is not made here unless that is said.
    let ran = run(&["run", &target, "-d", "300ms"]);
    assert_eq!(ran.code, Some(1), "{}", ran.out);
    assert!(ran.err.contains("there is no pool loadtest: run with --setup"), "{}", ran.err);
}

const CROWDED: &str = "
scenario: crowded
pool: {capacity: {cpu: 6}, max_queued: 10}
tenants: [{path: loadtest/team/a, count: 3, zipf: 1, limit: {cpu: 3}}, {path: somebody/b}]
mix: {acquire: 4, check: 1, renew: 1}
sizes: {cpu: {uniform: [500m, 2]}}
holds: {exponential: 2ms}
population: 1
wait: true
";

#[test]
fn where_much_is_refused_and_queued_no_limit_is_exceeded() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("crowded.yaml");
    std::fs::write(&path, CROWDED).expect("written");
    let path = path.to_str().expect("a path");
    // Tenants that are not the load test's own are nobody's here.
    let told = ["-d", "300ms", "--warm-up", "50ms", "-o", "json", "-n", "16", "-c", "2", "--scenario", path];
    let outcome = sound(&run(&[&["run", "embedded"], &told[..]].concat()));
    let run = &outcome["runs"][0];
    for word in ["allow", "queue", "done"] {
        assert!(run["decisions"][word].as_u64() > Some(0), "{word}: {outcome}");
    }
    assert!(run["kinds"]["renew"]["count"].as_u64() > Some(0), "{outcome}");
}

#[test]
fn it_is_compared_with_a_server_and_with_itself() {
    let server = Headgate::start("");
    for other in [format!("http://{}", server.url), "embedded?batch=8".to_owned()] {
        let told = ["-d", "150ms", "--warm-up", "20ms", "--setup", "--pairs", "2", "-o", "json"];
        let ran = run(&[&["compare", "embedded", &other], &told[..]].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        assert_eq!(ran.json()["ratios"][0]["figure"].as_str(), Some("rate"), "{}", ran.out);
    }
    assert_eq!(server.pools(), 0);
}

#[test]
fn what_it_cannot_do_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bad.yaml");
    std::fs::write(&path, "store: {kind: cloud}\n").expect("written");
    let bad = format!("embedded:{}", path.display());
    for (target, more, code, expected) in [
        ("embedded", &["--watchers", "1"][..], 2, "embedded has nothing to watch"),
        ("embedded:nowhere.yaml", &[], 2, "nowhere.yaml: the file cannot be read"),
        (bad.as_str(), &[], 2, "bad.yaml:1:"),
        ("embedded?size=1", &[], 2, "may not stand in a target"),
    ] {
        let ran = drive(target, more);
        assert_eq!(ran.code, Some(code), "{target}: {}{}", ran.out, ran.err);
        assert!(ran.err.contains(expected), "{target}: {}", ran.err);
    }
    for verb in ["kueue", "herd"] {
        let ran = run(&[verb, "embedded"]);
        assert_eq!(ran.code, Some(2), "{verb}: {}", ran.err);
        assert!(ran.err.contains("http://HOST:PORT"), "{verb}: {}", ran.err);
    }
}
