//! What becomes of decisions when the store fails, stalls, or is somebody else's.

use std::sync::Arc;
use std::time::Duration;

use headgate_ledger::{End, State};

use super::flaky::{FlakyStore, Mood};
use super::stage::{Stage, begin, main_cell, open, request};
use crate::engine::{Durability, EngineError, EngineSettings, OnStoreFailure, Outage, StoreHealth};
use crate::store::{CellName, Store};

fn quick() -> EngineSettings {
    EngineSettings { reopen_after: (Duration::from_millis(1), Duration::from_millis(4)), ..EngineSettings::default() }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn serving(stage: &Stage) -> bool {
    stage.engine.health()[0].serving
}

/// The same story for every way in which a store can fail.
async fn nothing_is_told_that_is_not_durable_and_nothing_is_lost(mood: Mood) {
    let store = FlakyStore::default();
    let stage = begin(quick(), &store).await;
    let before = stage.allowed("a", "before", 1).await;
    let mut watch = stage
        .engine
        .watch(&main_cell(), crate::engine::Filter::all(crate::engine::Scope::All), None)
        .await
        .expect("a watch");
    let _present = watch.next().await.expect("a present state");

    store.be(mood);
    let failed = stage.try_acquire("a", "during", 2).await.expect_err("not answered");
    assert!(matches!(failed, EngineError::Unavailable { why: Outage::StoreDown { .. }, .. }), "{failed}");
    let refused = stage.try_acquire("a", "while-down", 1).await.expect_err("refused at the door");
    assert!(matches!(refused, EngineError::Unavailable { why: Outage::StoreDown { .. }, .. }), "{refused}");
    assert!(matches!(stage.engine.health()[0].store, StoreHealth::Down { .. }));
    // Readers go on to see what is durable, and that alone.
    assert_eq!(stage.state(&before).await, Some(State::Active));
    assert_eq!(stage.usage("a").await, 1);
    // Time does not count: nobody can renew.
    stage.pass(Duration::from_secs(3600));

    store.be(Mood::Well);
    until("it serves again", || serving(&stage)).await;
    assert_eq!(stage.engine.health()[0].store, StoreHealth::Up);
    let retried = stage.allowed("a", "during", 2).await;
    assert_eq!(stage.state(&before).await, Some(State::Active), "it has its whole time to live again");
    assert_eq!(stage.usage("a").await, 3);
    let told = watch.next().await.expect("an event");
    let crate::engine::Told::Happened(happened) = told else { panic!("{told:?}") };
    assert_eq!(happened.events[0].after.id(), retried.number, "told once, when it was durable");
    stage.check().await;

    stage.engine.shutdown().await;
    let (again, _) = open(quick(), &store, stage.clock.clone());
    assert_eq!(again.state(&retried).await, Some(State::Active));
    again.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_refuses() {
    nothing_is_told_that_is_not_durable_and_nothing_is_lost(Mood::Refusing).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_fails_before_it_has_written() {
    nothing_is_told_that_is_not_durable_and_nothing_is_lost(Mood::FailingBefore).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_fails_after_it_has_written() {
    nothing_is_told_that_is_not_durable_and_nothing_is_lost(Mood::FailingAfter).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_may_go_on_without_the_store_and_are_written_when_it_is_back() {
    let store = FlakyStore::default();
    let settings = EngineSettings { on_store_failure: OnStoreFailure::Continue, ..quick() };
    let stage = begin(settings.clone(), &store).await;
    store.be(Mood::FailingBefore);
    let first = stage.allowed("a", "one", 1).await;
    let second = stage.allowed("a", "two", 1).await;
    assert!(matches!(stage.engine.health()[0].store, StoreHealth::Detached { given_up: false, .. }));
    assert_eq!(stage.usage("a").await, 2);
    store.be(Mood::Well);
    until("the store is back", || stage.engine.health()[0].store == StoreHealth::Up).await;
    stage.release(&first).await;
    stage.engine.shutdown().await;
    let (again, _) = open(settings, &store, stage.clock.clone());
    assert_eq!(again.state(&first).await, Some(State::Ended(End::Released)));
    assert_eq!(again.state(&second).await, Some(State::Active));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_much_to_remember_gives_the_journal_up() {
    let store = FlakyStore::default();
    let on_store_failure = OnStoreFailure::Continue;
    let settings = EngineSettings { on_store_failure, detached_bytes_max: 10_000, ..quick() };
    let stage = begin(settings, &store).await;
    store.be(Mood::Refusing);
    for nth in 0..100 {
        stage.acquire("a", &format!("r{nth}"), 1).await;
    }
    assert!(matches!(stage.engine.health()[0].store, StoreHealth::Detached { given_up: true, .. }));
    assert_eq!(stage.engine.health()[0].unjournaled_bytes, 0, "nobody is turned away for it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_while_the_store_does_not_keep_up_is_turned_away() {
    let store = FlakyStore::default();
    let settings = EngineSettings { journal_buffer_bytes_max: 4000, ..quick() };
    let stage = begin(settings, &store).await;
    let appends = store.appends();
    store.be(Mood::Stalling);
    let mut asked = Vec::new();
    let refused = loop {
        let (engine, caller) = (stage.engine.clone(), stage.caller.clone());
        let nth = asked.len();
        let mut answer =
            Box::pin(
                async move { engine.acquire(&caller, Arc::new(request("a", &format!("r{nth}"), 1)), false).await },
            );
        // Either it waits for the store or it is turned away at once.
        match tokio::time::timeout(Duration::from_millis(20), &mut answer).await {
            Ok(turned_away) => break turned_away.expect_err("not answered"),
            Err(_) => asked.push(answer),
        }
    };
    assert!(matches!(refused, EngineError::Unavailable { why: Outage::Overloaded { .. }, .. }), "{refused}");
    assert!(!asked.is_empty());
    assert_eq!(stage.engine.metrics().shed.count(), 1);
    store.wait_for_appends(appends + 1);
    store.be(Mood::Well);
    for asked in asked {
        asked.await.expect("answered when the store had it");
    }
    stage.acquire("a", "after", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relaxed_answers_do_not_wait_and_are_seen_at_once() {
    let store = FlakyStore::default();
    let settings = EngineSettings { durability: Durability::Relaxed, ..quick() };
    let stage = begin(settings, &store).await;
    let appends = store.appends();
    let mut watch = stage
        .engine
        .watch(&main_cell(), crate::engine::Filter::all(crate::engine::Scope::All), None)
        .await
        .expect("a watch");
    let _present = watch.next().await;
    store.be(Mood::Stalling);
    let id = stage.allowed("a", "one", 1).await;
    assert_eq!(stage.usage("a").await, 1);
    store.wait_for_appends(appends + 1);
    let second = stage.allowed("a", "two", 2).await;
    assert_eq!(stage.state(&second).await, Some(State::Active));
    // Watchers can resume, so they are told only what is durable.
    let early = tokio::time::timeout(Duration::from_millis(20), watch.next()).await;
    assert!(early.is_err(), "{early:?}");
    store.be(Mood::Well);
    let told = watch.next().await.expect("an event");
    let crate::engine::Told::Happened(happened) = told else { panic!("{told:?}") };
    assert_eq!(happened.events[0].after.id(), id.number);
    stage.engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_forgotten_is_decided_shown_and_told_and_never_written_down() {
    let store = FlakyStore::default();
    let settings = EngineSettings { durability: Durability::Forgotten, snapshot_after_bytes: 1, ..quick() };
    let stage = begin(settings, &store).await;
    let all = || crate::engine::Filter::all(crate::engine::Scope::All);
    let mut watch = stage.engine.watch(&main_cell(), all(), None).await.expect("a watch");
    let _present = watch.next().await;
    // Nobody waits for the store, not even watchers.
    store.be(Mood::Stalling);
    let mut last = 0;
    for name in ["one", "two", "three"] {
        let id = stage.allowed("a", name, 1).await;
        assert_eq!(stage.state(&id).await, Some(State::Active));
        let told = watch.next().await.expect("an event");
        let crate::engine::Told::Happened(happened) = told else { panic!("{told:?}") };
        assert_eq!(happened.events[0].after.id(), id.number);
        assert!(happened.sequence > last);
        last = happened.sequence;
    }
    assert_eq!(stage.usage("a").await, 3);
    let health = &stage.engine.health()[0];
    assert_eq!((health.posted, health.durable, health.unjournaled_bytes), (last, last, 0));
    assert_eq!((store.appends(), stage.engine.metrics().snapshots.count()), (0, 0));
    // Who comes back is told what happened meanwhile.
    let mut again = stage.engine.watch(&main_cell(), all(), Some(last - 1)).await.expect("resumed");
    let told = again.next().await.expect("an event");
    assert!(matches!(told, crate::engine::Told::Happened(happened) if happened.sequence == last));
    stage.engine.shutdown().await;
    assert_eq!(store.appends(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cell_that_somebody_else_leads_decides_nothing_more() {
    let store = FlakyStore::default();
    let stage = begin(quick(), &store).await;
    let id = stage.allowed("a", "one", 1).await;
    let mut other = store.open(&CellName::parse("main").expect("a cell")).expect("opened").journal;
    let epoch = other.epoch().next();
    other.lead(epoch).expect("leads");
    for late in ["two", "three"] {
        let refused = stage.try_acquire("a", late, 1).await.expect_err("not answered");
        assert!(matches!(refused, EngineError::Unavailable { why: Outage::NotLeading { .. }, .. }), "{refused}");
    }
    assert_eq!(stage.state(&id).await, Some(State::Active), "what was published is still seen");
    stage.engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_of_the_programs_own_stops_the_cell_and_leaves_nobody_waiting() {
    let store = FlakyStore::default();
    let stage = begin(quick(), &store).await;
    let id = stage.allowed("a", "one", 1).await;
    let all = crate::engine::Filter::all(crate::engine::Scope::All);
    let mut watch = stage.engine.watch(&main_cell(), all, None).await.expect("a watch");
    let _present = watch.next().await;
    store.be(Mood::Panicking);
    for late in ["two", "three"] {
        let refused = stage.try_acquire("a", late, 1).await.expect_err("not answered");
        assert!(matches!(refused, EngineError::Unavailable { why: Outage::Broken { .. }, .. }), "{refused}");
        until("it does not serve", || !serving(&stage)).await;
    }
    assert_eq!(watch.next().await, Err(crate::engine::Dropped::Closing));
    assert_eq!(stage.state(&id).await, Some(State::Active));
    stage.engine.shutdown().await;
}
