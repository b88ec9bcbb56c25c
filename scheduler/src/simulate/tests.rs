//! Small traces whose figures can be reckoned by hand.

use super::{Replay, Replayed, Summary, Trace, html, replay};
use crate::config::Config;

fn replayed(config: &str, jobs: &str) -> Summary {
    replayed_whole(config, jobs).summary
}

fn replayed_whole(config: &str, jobs: &str) -> Replayed {
    let config = Config::parse("f", config).unwrap_or_else(|problems| panic!("{problems}"));
    let text = format!("id,tenant,submit,duration,priority,cpu\n{jobs}");
    let trace = Trace::read_csv("t", text.as_bytes()).unwrap_or_else(|problems| panic!("{problems}"));
    // Checking all invariants after every instant takes long in a debug build.
    let options = Replay { audits: jobs.lines().count() < 20, ..Replay::of(&config.objects).expect("a pool") };
    let replayed = replay(&config.objects, &trace, &options).expect("a replay");
    assert_eq!(replayed.violations, []);
    replayed
}

const FOUR: &str = "pools: [{name: default, capacity: {cpu: 4}}]";

#[test]
fn waits_slowdowns_and_utilisation_are_what_they_are_called() {
    // Two jobs fill the pool for 100 s; the third waits 90 s, the fourth 80 s and then runs for a second.
    let summary = replayed(FOUR, "1,a,0,100,0,2\n2,a,0,100,0,2\n3,b,10,50,0,4\n4,b,20,1,0,1\n");
    assert_eq!((summary.jobs, summary.admitted, summary.denied, summary.reclaims), (4, 4, 0, 0));
    assert_eq!(summary.makespan_s, 151.0);
    let used = 2.0 * 200.0 + 4.0 * 50.0 + 1.0;
    assert!((summary.utilisation["cpu"] - used / (4.0 * 151.0)).abs() < 1e-6);
    assert_eq!((summary.wait_s.p50, summary.wait_s.max), (0.0, 130.0));
    assert_eq!(summary.slowdown.max, 13.1, "131 s for a job of one, which counts as ten");
    let b = &summary.tenants["b"];
    assert_eq!((b.jobs, b.wait_s.mean, b.slowdown.p50), (2, 110.0, 2.8));
    assert!((b.share - 201.0 / 604.0).abs() < 1e-6);
}

#[test]
fn what_never_fits_is_denied() {
    let summary = replayed(FOUR, "1,a,0,10,0,5\n2,a,0,10,0,4\n");
    assert_eq!((summary.jobs, summary.admitted, summary.denied), (2, 1, 1));
}

#[test]
fn what_waits_in_vain_is_denied_and_ends() {
    let paused = "pools: [{name: default, capacity: {cpu: 4}, paused: true, max_wait: 0s}]\n\
        tenants: [{name: a, quota: {default: {}}, budgets: [{name: m, resource: cpu, amount: 9, period: day}]}]";
    let summary = replayed(paused, "1,a,0,10,0,4\n");
    assert_eq!((summary.jobs, summary.admitted, summary.denied), (1, 0, 1));
}

#[test]
fn what_is_revoked_asks_again_and_starts_over() {
    let config = "pools: [{name: default, capacity: {cpu: 4}, grace: 30s}]\n\
        tenants: [{name: owner, quota: {default: {guaranteed: {cpu: 4}}}}, {name: guest, quota: {default: {}}}]";
    // The guest is told at 100, revoked at 130; the owner runs from 130 to 190, then the guest again, for 200 s.
    let summary = replayed(config, "1,guest,0,200,0,4\n2,owner,100,60,0,4\n");
    assert_eq!((summary.admitted, summary.reclaims, summary.makespan_s), (2, 1, 390.0));
    assert_eq!(summary.tenants["guest"].wait_s.max, 190.0);
    assert_eq!(summary.tenants["owner"].wait_s.max, 30.0);
    assert_eq!(summary.utilisation["cpu"], 1.0);
}

#[test]
fn tenants_that_are_not_configured_are_made() {
    let config = "pools: [{name: default, capacity: {cpu: 4}}]\n\
        tenants: [{name: known, quota: {default: {limit: {cpu: 1}}}}]";
    let summary =
        replayed(config, "1,a,0,1,0,1\n2,b/c,0,1,0,1\n3,b/d/e,0,1,0,1\n4,known/x,0,1,0,1\n5,known/y,0,1,0,2\n");
    assert_eq!((summary.admitted, summary.denied), (4, 1), "what is configured still binds");
    assert_eq!(summary.tenants.keys().collect::<Vec<_>>(), ["a", "b/c", "b/d/e", "known/x", "known/y"]);
}

#[test]
fn a_replay_is_the_same_each_time() {
    let jobs: String =
        (0..120).map(|n| format!("{n},g{}/u{},{},{},0,{}\n", n % 3, n % 7, n / 2, 1 + n * 7 % 40, 1 + n % 4)).collect();
    let (one, two) = (replayed(FOUR, &jobs), replayed(FOUR, &jobs));
    assert_eq!(Summary { events_per_second: 0.0, ..one.clone() }, Summary { events_per_second: 0.0, ..two });
    let json = serde_json::to_string_pretty(&one).expect("JSON");
    let last = json.lines().rev().nth(1).expect("a line");
    assert!(last.trim_start().starts_with("\"events_per_second\""), "{last}");
}

#[test]
fn timelines_and_waits_are_what_happened() {
    let replayed = replayed_whole(FOUR, "1,a,100,2,0,4\n2,a,101,2,0,2\n");
    let timelines = &replayed.timelines;
    assert_eq!(timelines.utilisation(), [("cpu".to_owned(), vec![1.0, 1.0, 0.5, 0.5])]);
    assert_eq!(timelines.waiting(), [0.0, 1.0, 0.0, 0.0]);
    assert_eq!(timelines.running(), [1.0; 4]);
    assert_eq!(replayed.waits_s.len(), 101);
    assert_eq!((replayed.waits_s[0], replayed.waits_s[100]), (0.0, 1.0));
}

#[test]
fn the_report_is_one_page_that_needs_nothing_else() {
    let jobs: String = (0..205).map(|n| format!("{n},t{n},{n},3,0,1\n")).collect();
    let page = html("<trace> & co", &replayed_whole(FOUR, &jobs));
    assert!(page.starts_with("<!doctype html>") && page.contains("<title>&lt;trace&gt; &amp; co</title>"));
    assert_eq!(page.matches("<svg").count(), 3);
    assert_eq!(page.matches("<polyline").count(), 4);
    assert!(page.contains("And 5 more with fewer jobs."));
    for outside in ["http:", "https:", "<script", "<link", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    let nothing = replayed_whole(FOUR, "1,a,0,10,0,9\n");
    assert!(html("nothing", &nothing).contains("Jobs over time"), "also where nothing ran");
}

#[test]
fn jobs_ask_the_pool_that_is_meant() {
    for (pools, expected) in [
        ("[{name: default}, {name: b}]", Some("default")),
        ("[{name: b}]", Some("b")),
        ("[{name: a}, {name: b}]", None),
        ("[]", None),
    ] {
        let config = Config::parse("f", &format!("pools: {pools}")).expect("a configuration");
        let pool = Replay::of(&config.objects).map(|replay| replay.pool);
        assert_eq!(pool.as_ref().map(|pool| pool.as_str()), expected, "{pools}");
    }
}
