//! Headgate, driven.

use std::io::Write as _;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Headgate, drive, run, spawn, wait};

#[test]
fn pairs_are_taken_and_given_back_by_calls_and_by_a_stream() {
    let server = Headgate::start("");
    for (target, more) in [
        (format!("http://{}", server.url), &[][..]),
        (format!("stream+http://{}?batch=4", server.url), &[]),
        (format!("http://{}", server.url), &["--calls-per-connection", "3"]),
        (format!("http://{}", server.url), &["-r", "50", "--arrivals", "constant"]),
        (
            format!("stream+http://{}", server.url),
            &["--steps", "20:100ms,50:1s", "--bursts", "5:100ms", "--threads", "2"],
        ),
    ] {
        let ran = drive(&target, &[&["--setup", "-o", "json", "--assert", "errors=0"], more].concat());
        assert_eq!(ran.code, Some(0), "{target}: {}", ran.err);
        let outcome = ran.json();
        let run = &outcome["runs"][0];
        assert!(run["decisions"]["allow"].as_u64() > Some(0), "{target}: {outcome}");
        assert!(run["kinds"]["release"]["count"].as_u64() > Some(0), "{target}: {outcome}");
        let checked = &outcome["checked"];
        assert_eq!((checked["violations"].as_u64(), checked["left"].as_u64()), (Some(0), Some(0)), "{outcome}");
        assert_eq!(checked["limits"].as_u64(), Some(11), "{outcome}");
    }
    // What was set up is gone, so that the same may be set up again, and nothing is left to be driven.
    let ran = drive(&format!("http://{}", server.url), &[]);
    assert_eq!(ran.code, Some(1), "{}", ran.out);
    assert!(ran.err.contains("there is no pool loadtest: run with --setup"), "{}", ran.err);
}

const CROWDED: &str = "
scenario: crowded
pool: {capacity: {cpu: 6, memory: 1Gi}, max_queued: 10}
tenants:
  - {path: loadtest/team, load: 0, limit: {cpu: 5}}
  - {path: loadtest/team/a, count: 3, zipf: 1, limit: {cpu: 3}}
  - {path: loadtest/b}
mix: {acquire: 4, check: 1, renew: 1}
sizes: {cpu: {uniform: [500m, 2]}, memory: {one_of: [{value: 1Mi, weight: 1}, {value: 64Mi, weight: 2}]}}
holds: {exponential: 2ms}
population: 1
wait: true
";

#[test]
fn where_much_is_refused_and_queued_no_limit_is_exceeded() {
    let server = Headgate::start("");
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(CROWDED.as_bytes()).expect("written");
    let path = file.path().to_str().expect("a path");
    for target in [format!("http://{}", server.url), format!("stream+http://{}", server.url)] {
        let ran = drive(&target, &["--setup", "--scenario", path, "-o", "json"]);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        let outcome = ran.json();
        let run = &outcome["runs"][0];
        for (decision, word) in [("allow", "allow"), ("queue", "queue"), ("done", "done")] {
            assert!(run["decisions"][word].as_u64() > Some(0), "{decision}: {outcome}");
        }
        assert!(run["kinds"]["renew"]["count"].as_u64() > Some(0), "{outcome}");
        assert_eq!(outcome["checked"]["violations"].as_u64(), Some(0), "{outcome}");
    }
}

#[test]
fn what_is_asserted_and_does_not_hold_fails() {
    let server = Headgate::start("");
    let ran = drive(&format!("http://{}", server.url), &["--setup", "--assert", "p50<1ns", "--assert", "rate>0"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("p50<1ns does not hold: it is ") && !ran.err.contains("rate"), "{}", ran.err);
    assert!(ran.out.contains("longest gap"), "{}", ran.out);
}

#[test]
fn nothing_is_written_where_others_work() {
    let server = Headgate::start("");
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"scenario: x\nmix: {acquire: 1}\nsizes: {cpu: 1}\ntenants: [{path: acme}]\n").expect("written");
    let path = file.path().to_str().expect("a path");
    let ran = drive(&format!("http://{}", server.url), &["--setup", "--scenario", path]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("tenant acme is not the load test's own"), "{}", ran.err);
}

#[test]
fn two_targets_are_compared_and_outcomes_merged() {
    let server = Headgate::start("");
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("a path").to_owned();
    let (page, log) = (path("page.html"), path("log.hlog"));
    let (a, b) = (format!("http://{}", server.url), format!("stream+http://{}?batch=4", server.url));
    let briefly = ["-d", "150ms", "--warm-up", "20ms", "-n", "8", "-c", "2", "--setup"];
    let wanted = ["--pairs", "2", "-o", "json", "--report", &page, "--hdr-log", &log];
    // Both set up the same, one after the other: the second finds it there.
    let ran = run(&[&["compare", &a, &b], &briefly[..], &wanted[..]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let json = ran.json();
    assert_eq!(json["ratios"][0]["figure"].as_str(), Some("rate"), "{json}");
    assert_eq!(json["a"]["runs"].as_array().map(Vec::len), Some(2), "{json}");
    assert!(std::fs::read_to_string(&page).expect("written").contains("<svg"));
    assert!(std::fs::read_to_string(&log).expect("written").contains("run-2"));

    let (one, two) = (path("one.json"), path("two.json"));
    std::fs::write(&one, json["a"].to_string()).expect("written");
    std::fs::write(&two, json["b"].to_string()).expect("written");
    let merged = run(&["merge", &one, &two, "-o", "json"]);
    assert_eq!(merged.code, Some(0), "{}", merged.err);
    let operations = |outcome: &serde_json::Value| outcome["runs"][0]["latency"]["count"].as_u64().expect("a number");
    let merged = merged.json();
    assert_eq!(operations(&merged), operations(&json["a"]) + operations(&json["b"]));
    let acquires =
        |outcome: &serde_json::Value| outcome["runs"][0]["kinds"]["acquire"]["count"].as_u64().expect("a number");
    assert_eq!(acquires(&merged), acquires(&json["a"]) + acquires(&json["b"]));
    let refused = run(&["merge", &page]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("is no outcome of a run"), "{}", refused.err);
}

#[test]
fn a_ramp_finds_a_rate_that_holds() {
    let server = Headgate::start("");
    let target = format!("http://{}", server.url);
    let briefly = ["-d", "100ms", "--warm-up", "10ms", "-n", "8", "-c", "2", "--setup", "-o", "json"];
    let ran = run(&[&["ramp", &target, "--p99", "30s", "--from", "20", "--within", "0.5"], &briefly[..]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.json()["highest_rate"].as_f64() >= Some(20.0), "{}", ran.out);
}

#[test]
fn runners_work_off_the_workload_of_a_peers_benchmark() {
    let server = Headgate::start("");
    let target = format!("http://{}", server.url);
    let ran = run(&["kueue", &target, "--cohorts", "2", "--queues", "2", "--part", "0.02", "-o", "json"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let json = ran.json();
    assert_eq!((json["workloads"].as_u64(), json["violations"].as_u64()), (Some(40), Some(0)), "{json}");
    assert!(json["nominal_in_use"].as_f64() > Some(0.0) && json["total_s"].as_f64() >= Some(1.0), "{json}");
    assert_eq!(json["time_to_admission"]["small"]["count"].as_u64(), Some(28), "{json}");
}

#[test]
fn watchers_are_told_of_what_a_load_does() {
    let server = Headgate::start("");
    let ran = drive(&format!("http://{}", server.url), &["--setup", "--watchers", "20", "-r", "40", "-o", "json"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let watched = &ran.json()["watched"];
    assert!(watched["events"].as_u64() >= Some(20), "{watched}");
    assert_eq!((watched["watchers"].as_u64(), watched["cut_off"].as_u64()), (Some(20), Some(0)), "{watched}");
}

#[test]
fn a_herd_is_answered() {
    let server = Headgate::start("");
    let ran = run(&["herd", &format!("http://{}", server.url), "-c", "30", "--rounds", "2", "-o", "json"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(ran.json()[1]["answered"]["count"].as_u64(), Some(30), "{}", ran.out);
}

#[test]
fn one_that_is_interrupted_gives_back_what_it_took() {
    let server = Headgate::start("");
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    let scenario = CROWDED.replace("exponential: 2ms", "exponential: 60s");
    file.write_all(scenario.as_bytes()).expect("written");
    let path = file.path().to_str().expect("a path");
    let target = format!("http://{}", server.url);
    let child = spawn(&["run", &target, "--setup", "--scenario", path, "-d", "10m", "-r", "100"]);
    server.wait_for_a_lease();
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).expect("it is ours");
    let ran = wait(child);
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("it was interrupted; what had been taken was given back"), "{}", ran.err);
    assert!(ran.out.contains("nothing left"), "{}", ran.out);
    assert_eq!(server.pools(), 0);
}
