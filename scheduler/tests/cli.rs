//! The command line against a server, each a process of its own.

#[path = "cli/outage.rs"]
mod outage;
#[path = "cli/served.rs"]
mod served;
#[path = "cli/trust.rs"]
mod trust;

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use served::{Served, answer, headgate, json, said};

/// How long leases and tickets live in `TWO`.
const LIFE: Duration = Duration::from_secs(6);
/// Two tenants who own half of ten processors each.
const TWO: &str = "
pools: [{name: default, capacity: {cpu: 10}, grace: 2s, lease_ttl: 6s, confirm_within: 6s, ticket_ttl: 6s}]
classes: {SMALL: {guaranteed: {cpu: 1}}}
tenants:
  - {name: a, quota: {default: {guaranteed: {cpu: 5}}}}
  - {name: b, quota: {default: {guaranteed: {cpu: 5}, limit: {cpu: 8}}}}
";

/// The same, with a time to live that a loaded machine does not use up while a server starts.
const PATIENT: &str = "
pools: [{name: default, capacity: {cpu: 10}, grace: 2s, lease_ttl: 20s, confirm_within: 6s, ticket_ttl: 6s}]
classes: {SMALL: {guaranteed: {cpu: 1}}}
tenants:
  - {name: a, quota: {default: {guaranteed: {cpu: 5}}}}
  - {name: b, quota: {default: {guaranteed: {cpu: 5}, limit: {cpu: 8}}}}
";

/// Waits until something holds, at most as long as a loaded machine may take.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < end, "{what} did not come to be");
        sleep(Duration::from_millis(50));
    }
}

/// Waits until the first of a listing was renewed after the end that it has now: it outlived that, as its holder did.
fn until_it_outlives_its_end(server: &Served, listing: &str) {
    let end = || {
        let listed = answer(server, listing).1;
        listed["items"][0]["expires_at"].as_str().and_then(|end| end.parse::<jiff::Timestamp>().ok())
    };
    let first = end().expect("one that ends");
    until("a renewal after its end", || end().is_some_and(|end| end >= first + LIFE));
}

fn signal(child: &std::process::Child, signal: Signal) {
    let pid = i32::try_from(child.id()).expect("a process id");
    kill(Pid::from_raw(pid), signal).expect("a signal");
}

#[test]
fn what_is_lent_comes_back_to_its_owner() {
    let server = Served::start(TWO);
    let (status, allowed) = answer(&server, "acquire -t a --cpu 8 --ttl 1h --id big -o json");
    assert_eq!((status, said(&allowed, "decision"), said(&allowed, "state")), (0, "allow", "active"));
    assert_eq!((allowed["charged"]["cpu"].as_i64(), said(&allowed, "request_id")), (Some(8000), "big"));
    let lease = said(&allowed, "lease_id").to_owned();
    let explained = server.run(&format!("explain lease/{lease}"));
    let explained = String::from_utf8_lossy(&explained.stdout);
    assert!(explained.contains(&lease) && !explained.contains("allowed:"), "where it stands is said once: {explained}");

    // The same id is the same request.
    let (status, again) = answer(&server, "acquire -t a --cpu 8 --ttl 1h --id big -o json");
    assert_eq!((status, said(&again, "lease_id")), (0, lease.as_str()));
    let other = server.run("acquire -t a --cpu 7 --ttl 1h --id big");
    assert_eq!(other.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&other.stderr).starts_with("headgate: already-exists: "));

    let (status, denied) = answer(&server, "acquire -t b --cpu 9 -o json");
    let reason = &denied["reasons"][0];
    assert_eq!((status, said(&denied, "decision")), (1, "deny"));
    assert_eq!((said(reason, "code"), said(reason, "tenant"), said(reason, "resource")), ("never-fits", "b", "cpu"));
    assert_eq!(
        (reason["used"].as_i64(), reason["requested"].as_i64(), reason["limit"].as_i64()),
        (Some(0), Some(9000), Some(8000))
    );

    let (status, checked) = answer(&server, "check -t b --cpu 4 -o json");
    assert_eq!((status, said(&checked, "decision")), (3, "queue"));
    let (status, refused) = answer(&server, "acquire -t b --cpu 4 --no-wait -o json");
    assert_eq!((status, said(&refused, "decision")), (1, "deny"));

    // Queued, it claims what is its own; when the notice is over, it has it.
    let (status, queued) = answer(&server, "acquire -t b --cpu 4 --ttl 1h --id owner -o json");
    assert_eq!((status, said(&queued, "decision"), said(&queued, "state")), (3, "queue", "waiting"));
    let (_, leases) = answer(&server, "get leases -o json");
    assert_eq!(said(&leases["items"][0], "state"), "reclaiming");
    let (_, queue) = answer(&server, "get queue -o json");
    assert_eq!(said(&queue["items"][0], "request_id"), "owner");
    let (status, admitted) = answer(&server, "acquire -t b --cpu 4 --ttl 1h --id owner --wait -o json");
    assert_eq!((status, said(&admitted, "decision"), said(&admitted, "state")), (0, "allow", "active"));

    let gone = server.run(&format!("renew {lease}"));
    assert_eq!(gone.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&gone.stderr).contains("LEASE_GONE"));

    let owned = said(&admitted, "lease_id").to_owned();
    let (status, resized) = answer(&server, &format!("resize {owned} --cpu 9 -o json"));
    assert_eq!((status, said(&resized["outcomes"][0]["answer"], "decision")), (1, "deny"));
    let (status, resized) = answer(&server, &format!("resize {owned} --cpu 2 -o json"));
    assert_eq!((status, resized["outcomes"][0]["answer"]["charged"]["cpu"].as_i64()), (0, Some(2000)));
    let (status, released) = answer(&server, &format!("release {owned} -o json"));
    assert_eq!((status, said(&released["outcomes"][0], "id")), (0, owned.as_str()));
    assert_eq!(server.run(&format!("release {owned}")).status.code(), Some(0));
    let (_, leases) = answer(&server, "get leases -o json");
    assert_eq!(leases["items"].as_array().map(Vec::len), Some(0));

    // What was decided is kept, and sound.
    let folder = server.folder();
    drop(server);
    let verified = headgate()
        .args(["verify", "-o", "json", "--config"])
        .arg(folder.path().join("headgate.yaml"))
        .output()
        .expect("headgate");
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");
    assert_eq!(json(&verified.stdout)["items"][0]["sound"].as_bool(), Some(true));
}

#[test]
fn a_command_runs_under_its_lease() {
    let server = Served::start(TWO);
    let ran = server.command("run -t a --cpu 2 -- sh -c").arg("echo $HEADGATE_TENANT $HEADGATE_COUNT; exit 7").output();
    let ran = ran.expect("headgate");
    assert_eq!((ran.status.code(), &*ran.stdout), (Some(7), &b"a 1\n"[..]), "{ran:?}");
    for (command, status) in
        [("run -t a --cpu 2 -- no-such-command", 127), ("run -t a --cpu 2 -- /", 126), ("run -t b --cpu 9 -- true", 1)]
    {
        assert_eq!(server.run(command).status.code(), Some(status), "{command}");
    }

    // Kept alive, and ended by a signal that is passed on.
    let script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done";
    let mut child =
        server.command("run -t a --cpu 8 -- sh -c").arg(script).stdout(Stdio::piped()).spawn().expect("headgate");
    let mut ready = String::new();
    BufReader::new(child.stdout.take().expect("its output")).read_line(&mut ready).expect("a line");
    until_it_outlives_its_end(&server, "get leases -o json");
    let (_, leases) = answer(&server, "get leases -o json");
    assert_eq!(said(&leases["items"][0], "state"), "active");
    signal(&child, Signal::SIGTERM);
    assert_eq!(child.wait().expect("a status").code(), Some(5));
    let (_, leases) = answer(&server, "get leases -o json");
    assert_eq!(leases["items"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_command_whose_lease_is_revoked_is_ended() {
    let server = Served::start(TWO);
    let script = "trap '' TERM; echo ready; while :; do sleep 0.1; done";
    let mut command = server.command("run -t a --cpu 8 --kill-after 1s -- sh -c");
    let mut child = command.arg(script).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("headgate");
    let mut ready = String::new();
    BufReader::new(child.stdout.take().expect("its output")).read_line(&mut ready).expect("a line");
    let (status, admitted) = answer(&server, "acquire -t b --cpu 5 --wait=20s -o json");
    assert_eq!((status, said(&admitted, "decision")), (0, "allow"));
    let output = child.wait_with_output().expect("a status");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(143), "{told}");
    assert!(told.contains("must give way by") && told.contains("was revoked"), "{told}");
}

#[test]
fn a_signal_ends_waiting_and_the_ticket() {
    let server = Served::start(TWO);
    let (status, _) = answer(&server, "acquire -t a --cpu 5 --ttl 1h -o json");
    assert_eq!(status, 0);
    let mut child = server.command("run -t a --cpu 9 -- true").stderr(Stdio::null()).spawn().expect("headgate");
    let waits = || answer(&server, "get queue -o json").1["items"].as_array().map(Vec::len);
    until("the ticket", || waits() == Some(1));
    // A silent holder's ticket would be passed over.
    until_it_outlives_its_end(&server, "get queue -o json");
    assert_eq!(answer(&server, "get queue -o json").1["items"][0]["silent"].as_bool(), None);
    signal(&child, Signal::SIGINT);
    assert_eq!(child.wait().expect("a status").code(), Some(130));
    assert_eq!(waits(), Some(0));
}

#[test]
fn a_server_that_comes_back_finds_its_runners() {
    let mut server = Served::start(PATIENT);
    let child = server.command("run -t a --cpu 2 -- sleep 8").stderr(Stdio::piped()).spawn().expect("headgate");
    let leases = |server: &Served| answer(server, "get leases -o json").1["items"].as_array().map(Vec::len);
    until("the lease", || leases(&server) == Some(1));
    server.restart();
    until("the lease after it", || leases(&server) == Some(1));
    let output = child.wait_with_output().expect("a status");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(leases(&server), Some(0));
}

#[test]
fn what_happens_is_watched_and_taken_up_again() {
    let server = Served::start(TWO);
    let (_, before) = answer(&server, "acquire -t a --cpu 1 --ttl 1h -o json");
    let watched = |extra: &str, lines: usize| -> Vec<serde_json::Value> {
        let mut child =
            server.command(&format!("watch -t a -o json {extra}")).stdout(Stdio::piped()).spawn().expect("headgate");
        let reader = BufReader::new(child.stdout.take().expect("its output"));
        let mut taken = Vec::new();
        for line in reader.lines().take(lines) {
            taken.push(json(line.expect("a line").as_bytes()));
            if taken.len() == 2 && lines > 2 {
                answer(&server, "acquire -t a --cpu 1 --ttl 1h --id later -o json");
            }
        }
        child.kill().expect("its end");
        child.wait().expect("a status");
        taken
    };
    let lines = watched("", 3);
    assert_eq!((said(&lines[0], "kind"), said(&lines[0]["lease"], "lease_id")), ("present", said(&before, "lease_id")));
    assert_eq!(lines[1]["complete"].as_bool(), Some(true));
    assert_eq!((said(&lines[2], "kind"), said(&lines[2]["lease"], "request_id")), ("admitted", "later"));
    let after = lines[1]["sequence"].as_u64().expect("a sequence number");
    let again = watched(&format!("--after {after}"), 1);
    assert_eq!(again[0], lines[2]);
}

#[test]
fn a_configuration_is_applied_whole_or_not_at_all() {
    let server = Served::start(TWO);
    let more =
        server.file("more.yaml", "tenants: [{name: c, kind: team, weight: 2, quota: {default: {limit: {cpu: 2}}}}]");
    let apply = |extra: &str, file: &std::path::Path| {
        server.command(&format!("apply {extra} -o json -f")).arg(file).output().expect("headgate")
    };
    let dry = apply("--dry-run", &more);
    assert_eq!(dry.status.code(), Some(0), "{dry:?}");
    let difference = &json(&dry.stdout)["differences"][0];
    assert_eq!((said(difference, "object"), said(difference, "kind")), ("tenant/c", "made"));
    assert_eq!(server.run("acquire -t c --cpu 1").status.code(), Some(1));
    assert_eq!(apply("", &more).status.code(), Some(0));
    assert_eq!(server.run("acquire -t c --cpu 1").status.code(), Some(0));
    assert_eq!(json(&apply("", &more).stdout)["differences"].as_array().map(Vec::len), Some(0));

    // What the server's own file says is nobody's change.
    let same = apply("--dry-run", &server.folder().path().join("headgate.yaml"));
    assert_eq!(same.status.code(), Some(0), "{same:?}");
    assert_eq!(json(&same.stdout)["differences"].as_array().map(Vec::len), Some(0));

    let others = server.file("others.yaml", "tenants: [{name: a, weight: 3, quota: {default: {}}}]");
    let refused = apply("", &others);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("OTHER_SOURCE"), "{refused:?}");

    assert_eq!(server.run("pause default").status.code(), Some(0));
    let (_, paused) = answer(&server, "check -t a --cpu 1 -o json");
    assert_eq!(said(&paused["reasons"][0], "code"), "paused");
    assert_eq!(server.run("pause default --resume").status.code(), Some(0));
    assert_eq!(server.run("enforce observe -t b").status.code(), Some(0));
    let (_, observed) = answer(&server, "check -t b --cpu 9 -o json");
    assert_eq!((said(&observed, "decision"), said(&observed, "would_be")), ("allow", "deny"));
    for listing in
        ["get tenants", "get pools", "get classes", "get usage", "get leases", "get queue", "why a", "explain tenant/a"]
    {
        let (text, json) = (server.run(listing), server.run(&format!("{listing} -o json")));
        assert_eq!((text.status.code(), json.status.code()), (Some(0), Some(0)), "{listing}: {text:?}");
        assert!(!text.stdout.is_empty());
    }
}

#[test]
fn errors_say_what_would_help() {
    let nowhere = tempfile::tempdir().expect("a folder");
    for (line, status, told) in [
        (
            "acquire -t a --server http://127.0.0.1:1",
            1,
            "headgate: cannot reach the server at http://127.0.0.1:1: connection refused; is `headgate serve` running? --server names another\n",
        ),
        ("run -t a --server http://127.0.0.1:1 -- true", 1, "headgate: cannot reach the server"),
        (
            "acquire -t a --server https://127.0.0.1:1",
            1,
            "headgate: cannot reach the server at https://127.0.0.1:1: conn",
        ),
        ("acquire -t a --cpu 0.0001", 2, "headgate: amount \"0.0001\" of cpu is finer than a millicore"),
        ("acquire -t a --cpu -1", 2, "headgate: amount \"-1\" of cpu is negative"),
        ("resize x", 2, "headgate: nothing is said of what each instance is to hold"),
        ("explain pod/x", 2, "headgate: pod/x cannot be explained"),
        ("acquire", 2, "error: the following required arguments were not provided"),
        (
            "explain pod/default/x",
            2,
            "headgate: pod/default/x cannot be explained: name tenant/PATH, ticket/ID or lease/ID",
        ),
        (
            "verify",
            1,
            "headgate: there is no store in ./headgate-data: --config names the configuration of the one that is meant\n",
        ),
        ("config check no-such-file.yaml", 1, ""),
        ("test no-such-file.yaml", 2, ""),
    ] {
        let output = headgate().args(line.split_whitespace()).current_dir(&nowhere).output().expect("headgate");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{line}: {error}");
        assert!(error.starts_with(told), "{line}: {error}");
    }
}

#[test]
fn what_needs_no_server_needs_none() {
    let embedded = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/examples/headgate.yaml");
    for args in
        [&["config", "schema"][..], &["config", "check", embedded], &["completions", "bash"], &["man"], &["--help"]]
    {
        let output = headgate().args(args).output().expect("headgate");
        assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
        assert!(!output.stdout.is_empty(), "{args:?}");
    }
    let pages = tempfile::tempdir().expect("a folder");
    assert!(headgate().args(["man", "--dir"]).arg(pages.path()).status().expect("headgate").success());
    assert!(pages.path().join("headgate-acquire.1").exists());
}

#[test]
fn what_speaks_another_protocol_is_told_for_what_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("headgate.yaml");
    let text = "listen: {grpc: 127.0.0.1:0, http: 127.0.0.1:0}\nstore: {kind: memory}\n";
    std::fs::write(&config, format!("{text}{TWO}")).expect("a configuration");
    let mut server = headgate()
        .arg("serve")
        .arg("--config")
        .arg(&config)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a server");
    let mut lines = BufReader::new(server.stdout.take().expect("its output")).lines();
    let url = lines.find_map(|line| {
        let line = line.expect("a line");
        line.trim().strip_prefix("HTTP").map(|url| url.trim().to_owned())
    });
    let url = url.expect("where it serves HTTP");
    for line in ["get pools", "acquire -t a --cpu 1", "run -t a --cpu 1 -- true"] {
        let output = headgate().args(line.split_whitespace()).env("HEADGATE_SERVER", &url).output().expect("headgate");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{line}: {told}");
        assert!(told.contains(&format!("the server at {url} speaks HTTP/1 and no gRPC")), "{line}: {told}");
        assert!(told.contains("listen.grpc"), "{line}: {told}");
    }
    server.kill().expect("its end");
    server.wait().expect("a status");
}
