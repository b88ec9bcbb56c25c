//! The scenario format, its errors, and the runner.

use super::{Report, TestResult, test_files, test_text};

fn report(text: &str) -> Report {
    Report { scenarios: test_text("s.yaml", text), unreadable: Vec::new() }
}

/// Every scenario of a text passes.
fn passes(text: &str) {
    let report = report(text);
    assert_eq!(report.exit_status(), 0, "{}", report.for_people());
}

/// What the only scenario of a text is told to be wrong.
fn told(text: &str) -> Vec<String> {
    let report = report(text);
    let [tested] = &report.scenarios[..] else { panic!("one scenario in {text}") };
    match &tested.result {
        TestResult::Passed => Vec::new(),
        TestResult::Broken { problems } => problems.clone(),
        TestResult::Failed { failure } => failure
            .mismatches
            .iter()
            .map(|found| format!("{}: {}: expected {}, got {}", failure.line, found.what, found.expected, found.got))
            .collect(),
    }
}

const TWO: &str = "\
pools: [{name: default, capacity: {cpu: 10}, grace: 30s}]
tenants:
  - {name: a, quota: {default: {guaranteed: {cpu: 5}}}}
  - {name: b, quota: {default: {guaranteed: {cpu: 5}}}}
steps:
";

#[test]
fn the_rules_scenarios_hold() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/examples/scenarios");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).expect("the scenarios").map(|entry| entry.expect("a file").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    assert!(paths.len() > 20, "{} files", paths.len());
    let report = test_files(&paths);
    assert_eq!(report.exit_status(), 0, "{}", report.for_people());
}

#[test]
fn a_failure_says_where_what_and_why() {
    let text = format!(
        "# a comment\nscenario: borrow\n{TWO}  - acquire: {{id: x, tenant: a, resources: {{cpu: 1}}, repeat: 8}}
    expect: {{allow: 8}}
  - at: 10s
    acquire: {{id: y, tenant: b, resources: {{cpu: 4}}}}
    expect: allow
---
scenario: fine
pools: []
steps: []
"
    );
    let expected = "\
FAILED s.yaml:1: borrow
  step 2, line 10, at 10s: acquire y on b: cpu 4
    decision
      expected  allow
      got       queue
    why, of y: queue
      no-capacity at the pool: cpu 8 used, 4 requested, 10 at most
      node      resource  usage  after  guaranteed  limit  borrowed  held  share
      b         cpu       0      4      5           -      0         0     0.000
      the pool  cpu       8      12     10          10     0         0     0.000  stands against it

2 scenarios: 1 passed, 1 failed
";
    let report = report(&text);
    assert_eq!(report.for_people(), expected);
    assert_eq!((report.exit_status(), report.passed(), report.failed()), (1, 1, 1));
    let json = report.to_json();
    assert_eq!((json["total"].as_u64(), json["failed"].as_u64()), (Some(2), Some(1)));
    assert_eq!(json["scenarios"][0]["result"], "failed");
    assert_eq!(json["scenarios"][0]["line"], 1);
    assert_eq!(json["scenarios"][0]["failure"]["mismatches"][0]["expected"], "allow");
    assert_eq!(json["scenarios"][1]["result"], "passed");
}

#[test]
fn every_expectation_can_fail() {
    for (steps, expected) in [
        (
            "  - acquire: {id: x, tenant: a, resources: {cpu: 1}}\n    expect: {allow: 2}\n",
            "6: decisions: expected allow 2, queue 0, deny 0, got allow 1, queue 0, deny 0",
        ),
        (
            "  - acquire: {id: x, tenant: a, resources: {cpu: 11}}\n    expect: {decision: deny, reason: no-capacity}\n",
            "6: reason: expected no-capacity, got never-fits",
        ),
        (
            "  - acquire: {id: x, tenant: a, resources: {cpu: 11}}\n    expect: {deny: 1, tenant: a}\n",
            "6: tenant: expected a, got the pool",
        ),
        (
            "  - acquire: {id: x, tenant: a, resources: {cpu: 11}}\n    expect: {deny: 1, tenant: '', resource: memory}\n",
            "6: resource: expected memory, got cpu",
        ),
        (
            "  - acquire: {id: x, tenant: a, resources: {cpu: 1}}\n    expect: {position: 1}\n",
            "6: position: expected 1, got none: it does not wait",
        ),
        (
            "  - acquire: {id: x, tenant: a, resources: {cpu: 1}}\n    expect: {error: invalid}\n",
            "6: error: expected invalid, got none",
        ),
        (
            "  - acquire: {id: x, tenant: c, resources: {cpu: 1}}\n",
            "6: error: expected none, got not-found: there is no tenant c",
        ),
        (
            "  - acquire: {id: x, tenant: c, resources: {cpu: 1}}\n    expect: {error: gone}\n",
            "6: error: expected gone, got not-found: there is no tenant c",
        ),
        (
            "  - acquire: {id: x, tenant: a, resources: {cpu: 1x}}\n",
            "6: error: expected none, got invalid: amount \"1x\" of cpu has the unknown suffix \"x\": use m, k, M, G, T, P, E or Ki, Mi, Gi, Ti, Pi, Ei",
        ),
        (
            "  - acquire: {id: x, tenant: a, resources: {cpu: 1}}\n  - expect: {running: {a: 2}}\n",
            "7: running of a: expected 2, got 1",
        ),
        ("  - expect: {waiting: {'': 2}}\n", "6: waiting of the pool: expected 2, got 0"),
        ("  - expect: {running: {c: 0}}\n", "6: running of c: expected a number, got there is no tenant c"),
        ("  - expect: {running: {a: 0}, pool: p}\n", "6: running of a: expected a number, got there is no pool p"),
        (
            "  - acquire: {id: x, tenant: a, resources: {cpu: 1500m}}\n  - expect: {usage: {a: {cpu: 2}}}\n",
            "7: usage of a: expected cpu 2, got cpu 1500m",
        ),
        (
            "  - acquire: {id: x, tenant: a, resources: {cpu: 6}}\n  - expect: {borrowed: {a: {cpu: 0}}}\n",
            "7: borrowed of a: expected cpu 0, got cpu 1",
        ),
        (
            "  - acquire: {id: x, tenant: a, resources: {cpu: 6}}\n  - expect: {share: {a: 0.2}}\n",
            "7: share of a: expected 0.2, got 0.1",
        ),
        ("  - expect: {admitted: [x]}\n", "6: admitted, in order: expected [x], got []"),
        ("  - expect: {revoked: [x]}\n", "6: revoked: expected [x], got []"),
        ("  - expect: {reclaiming: [x]}\n", "6: reclaiming: expected [x], got []"),
        ("  - expect: {leases: {x: gone}}\n", "6: lease x: expected gone, got never seen: no step has acquired it"),
        (
            "  - acquire: {id: x, tenant: a, resources: {cpu: 1}}\n  - expect: {leases: {x: waiting}}\n",
            "7: lease x: expected waiting, got active",
        ),
        (
            "  - expect: {budget: {a: {m: {used: 1}}}}\n",
            "6: budget m of a: expected used and left, got there is no such budget",
        ),
        ("  - expect: {rate: {a: {m: {left: 1}}}}\n", "6: rate m of a: expected left, got there is no such rate"),
        (
            "  - acquire: {id: x, tenant: a, resources: {cpu: 99}}\n    expect: {decision: deny, until: 1s}\n",
            "6: until: expected 1s, got none",
        ),
        ("  - release: x\n", "6: error: expected none, got not-found: no step has acquired x"),
        ("  - delete_tenant: x\n", "6: error: expected none, got not-found: there is no tenant x"),
        (
            "  - capacity: {pool: x, resources: {cpu: 1}}\n",
            "6: error: expected none, got not-found: there is no pool x",
        ),
        (
            "  - put_tenant: {path: x/y}\n",
            "6: error: expected none, got invalid: tenant x/y: there is no tenant x above it",
        ),
    ] {
        assert_eq!(told(&format!("{TWO}{steps}")), [expected], "{steps}");
    }
}

#[test]
fn what_cannot_be_read_names_its_line() {
    for (text, expected) in [
        ("step: []", "s.yaml:1:1: unknown key \"step\": did you mean \"steps\"?"),
        ("scenario: x\nsteps:\n  - aquire: {id: a}\n", "s.yaml:3:5: unknown key \"aquire\": did you mean \"acquire\"?"),
        ("steps:\n  - acquire: {id: a}\n", "s.yaml:2:15: key \"tenant\" is missing: it must be said here"),
        ("steps:\n  - expect: alow\n", "s.yaml:2:13: unknown decision \"alow\": allow, queue or deny may stand here"),
        ("steps:\n  - expect: {runing: {a: 1}}\n", "s.yaml:2:14: unknown key \"runing\": did you mean \"running\"?"),
        (
            "steps:\n  - expect: {reason: no-capasity}\n",
            "s.yaml:2:22: unknown reason \"no-capasity\": did you mean \"no-capacity\"?",
        ),
        ("steps:\n  - expect: queue\n", "s.yaml:2:13: a decision can be expected of acquire, hit and resize only"),
        (
            "steps:\n  - release: a\n    expect: {allow: 1}\n",
            "s.yaml:3:13: counts of decisions and a position can be expected of acquire and hit only",
        ),
        (
            "steps:\n  - acquire: {id: a, tenant: a}\n    expect: {allow: 1, decision: allow}\n",
            "s.yaml:3:13: either a decision or counts of decisions can be expected",
        ),
        (
            "steps:\n  - acquire: {id: a, tenant: a}\n    expect: {error: gone, decision: allow}\n",
            "s.yaml:3:13: what ends in an error decides nothing: expect one or the other",
        ),
        (
            "steps:\n  - {at: 1s}\n  - {release: a, cancel: a}\n",
            "s.yaml:3:5: a step does one thing: make a step of each",
        ),
        ("steps:\n  - {}\n", "s.yaml:2:5: this step does nothing and expects nothing"),
        (
            "steps:\n  - at: 10s\n  - at: 5s\n",
            "s.yaml:3:5: time never runs back: this step is earlier than the one before",
        ),
        ("steps:\n  - acquire: {id: a, tenant: a, repeat: 0}\n", "s.yaml:2:41: repeat is from 1 to 100000"),
        (
            "start: yesterday\nsteps: []",
            "s.yaml:1:8: \"yesterday\" is no instant: write one such as 2026-01-31T23:00:00Z",
        ),
        (
            "pools: [{name: p, capacity: {cpu: x}}]",
            "s.yaml:1:35: amount \"x\" of cpu is no quantity: write one such as 500m, 4 or 16Gi",
        ),
        ("# only a comment\n", "s.yaml: there is no scenario in this file"),
        ("steps:\n  - restart: false\n", "s.yaml:2:5: restart: false does nothing: leave it out"),
        ("steps:\n  - release: {a: b}\n", "s.yaml:2:14: an id or a list of ids is expected, not map"),
    ] {
        assert_eq!(told(text), [expected], "{text}");
    }
}

#[test]
fn a_refused_configuration_is_told_at_its_line() {
    let text = "scenario: fine\n---\nscenario: refused\npools: [{name: default, capacity: {cpu: 10}}]\ntenants:\n  - {name: a, quota: {other: {}}}\n";
    let report = report(text);
    assert_eq!(report.passed(), 1);
    let TestResult::Broken { problems } = &report.scenarios[1].result else { panic!("{}", report.for_people()) };
    assert_eq!(problems[..], ["s.yaml:6:12: tenant a: it has a quota in pool other, which there is not"]);
}

#[test]
fn one_broken_document_hides_no_other() {
    let text = "--- # the first\nscenario: one\n---\nsteps: [\n---\n# nothing here\n---\nscenario: two\nsteps:\n  - expect: {running: {a: 1}}\n...\nscenario: three\n";
    let report = report(text);
    let told: Vec<_> = report
        .scenarios
        .iter()
        .map(|tested| (tested.line, tested.scenario.as_str(), matches!(tested.result, TestResult::Passed)))
        .collect();
    assert_eq!(told, [(1, "one", true), (3, "(cannot be read)", false), (7, "two", false), (12, "three", true)]);
    let TestResult::Broken { problems } = &report.scenarios[1].result else { panic!("broken") };
    assert_eq!(problems[..], ["s.yaml:4:8: unclosed bracket '['"]);
    let TestResult::Failed { failure } = &report.scenarios[2].result else { panic!("failed") };
    assert_eq!((failure.step, failure.line), (1, 10));
}

#[test]
fn files_that_cannot_be_read_are_another_matter() {
    let report = test_files(&["/nowhere/s.yaml"]);
    assert_eq!(report.exit_status(), 2);
    assert!(report.for_people().starts_with("/nowhere/s.yaml: the file cannot be read: "), "{}", report.for_people());
    assert_eq!(test_files::<&str>(&[]).exit_status(), 2, "nothing was tested");
}

#[test]
fn lists_hold_what_happened_since_a_step_moved_time_or_acted() {
    passes(&format!(
        "{TWO}  - acquire: {{id: x, tenant: a, resources: {{cpu: 10}}, runs: 10s}}
  - acquire: {{id: y, tenant: b, resources: {{cpu: 1}}}}
    expect: queue
  - at: 10s
    expect: {{admitted: [y]}}
  - at: 10s
    expect: {{admitted: [y]}}
  - expect: {{admitted: [y]}}
  - release: y
    expect: {{admitted: []}}
  - at: 20s
    expect: {{admitted: []}}
"
    ));
}

#[test]
fn ids_may_look_like_anything() {
    passes(&format!(
        "{TWO}  - acquire: {{id: 1, tenant: a, resources: {{cpu: 1}}}}
    expect: allow
  - acquire: {{id: y, tenant: a, resources: {{cpu: 1}}, repeat: 2}}
    expect: allow
  - acquire: {{id: no, tenant: a, resources: {{cpu: 1}}}}
    expect: {{decision: allow, leases: {{1: active, y-1: active, no: active}}}}
  - release: [1, y-2]
    expect: {{leases: {{1: gone, y-2: gone}}}}
  - release: no
    expect: {{running: {{a: 1}}}}
"
    ));
}

#[test]
fn a_restart_changes_nothing() {
    passes(&format!(
        "{TWO}  - acquire: {{id: x, tenant: a, resources: {{cpu: 8}}, runs: 1m}}
  - acquire: {{id: y, tenant: b, resources: {{cpu: 4}}}}
    expect: {{decision: queue, reclaiming: [x]}}
  - at: 10s
    restart: true
    expect: {{running: {{a: 1}}, waiting: {{b: 1}}, reclaiming: [x]}}
  - at: 30s
    expect: {{revoked: [x], admitted: [y]}}
  - restart: true
    expect: {{leases: {{x: gone, y: active}}}}
"
    ));
}

#[test]
fn leases_are_confirmed_when_admitted_unless_asked() {
    passes(&format!(
        "{TWO}  - acquire: {{id: x, tenant: a, resources: {{cpu: 4}}}}
    expect: {{leases: {{x: active}}}}
  - acquire: {{id: p, tenant: a, resources: {{cpu: 6}}, confirm: false}}
    expect: {{decision: allow, leases: {{p: provisional}}}}
  - acquire: {{id: q, tenant: a, resources: {{cpu: 1}}, confirm: false}}
    expect: queue
  - acquire: {{id: r, tenant: a, resources: {{cpu: 1}}}}
    expect: queue
  - at: 60s
    expect: {{leases: {{x: active, p: gone, q: provisional, r: active}}}}
  - at: 90s
    confirm: q
    expect: {{leases: {{q: active}}}}
  - confirm: p
    expect: {{error: gone}}
  - at: 10h
    expect: {{leases: {{x: active, q: active, r: active}}}}
"
    ));
}

#[test]
fn no_text_makes_the_runner_panic() {
    use proptest::prelude::*;
    proptest!(ProptestConfig::with_cases(64), |(text in "\\PC{0,200}", yamlish in "[a-z:{}\\[\\], \n*&!<>|\"'#%@0-9-]{0,160}")| {
        test_text("f", &text);
        test_text("f", &yamlish);
        test_text("f", &format!("steps:\n  - {yamlish}\n"));
        test_text("f", &format!("steps:\n  - acquire: {{id: a, tenant: a, {yamlish}}}\n"));
    });
}
