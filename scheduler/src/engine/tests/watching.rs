//! What watchers are told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use headgate_ledger::{Holder, State};

use super::stage::{begin, main_cell, path, request};
use crate::engine::{Dropped, EngineError, EngineSettings, EventKind, Filter, Scope, Target, Told, Watch};
use crate::store::MemoryStore;

async fn kinds(watch: &mut Watch, count: usize) -> Vec<(EventKind, u64)> {
    let mut told = Vec::new();
    while told.len() < count {
        match watch.next().await.expect("told") {
            Told::Happened(happened) => {
                told.extend(happened.events.iter().map(|event| (event.kind, event.after.id().0)));
            }
            Told::Present { stands, .. } => assert!(stands.is_empty()),
        }
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_is_told_what_is_and_then_what_happens() {
    let stage = begin(EngineSettings::default(), &MemoryStore::default()).await;
    let first = stage.allowed("a", "one", 10).await;
    let filter = Filter { tenant: Some(path("a")), ..Filter::all(Scope::All) };
    let mut watch = stage.engine.watch(&main_cell(), filter, None).await.expect("a watch");
    let Told::Present { sequence, stands, complete: true } = watch.next().await.expect("told") else {
        panic!("not the present state")
    };
    assert_eq!(stands.iter().map(|stands| stands.state()).collect::<Vec<_>>(), [State::Active]);
    assert_eq!(watch.up_to(), Some(sequence));

    let ticket = stage.queued("a", "two", 5).await;
    let waits = stage.queued("b", "other", 5).await;
    stage.release(&first).await;
    stage.engine.confirm(&stage.caller, Target::One(ticket.clone())).await.expect("confirmed");
    stage.release(&ticket).await;
    let told = kinds(&mut watch, 6).await;
    // The owner's claim has the borrower give way; when that is released, both are admitted.
    assert_eq!(
        told,
        [
            (EventKind::Queued, ticket.number.0),
            (EventKind::Reclaiming, first.number.0),
            (EventKind::Ended, first.number.0),
            (EventKind::Admitted, ticket.number.0),
            (EventKind::Confirmed, ticket.number.0),
            (EventKind::Ended, ticket.number.0),
        ]
    );
    assert_eq!(stage.state(&waits).await, Some(State::Provisional));
    assert!(watch.up_to() > Some(sequence));
    stage.engine.shutdown().await;
    assert_eq!(watch.next().await, Err(Dropped::Closing));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hand_over_is_told_to_both_holders() {
    let stage = begin(EngineSettings::default(), &MemoryStore::default()).await;
    let holder = |name: &str| Holder::parse(name).expect("a holder");
    let watch = |name: &str| Filter { holder: Some(holder(name)), ..Filter::all(Scope::All) };
    let mut old = stage.engine.watch(&main_cell(), watch("old"), None).await.expect("a watch");
    let mut new = stage.engine.watch(&main_cell(), watch("new"), None).await.expect("a watch");
    let mut asked = request("a", "one", 1);
    asked.holder = Some(holder("old"));
    let answer = stage.engine.acquire(&stage.caller, Arc::new(asked), false).await.expect("decided");
    let id = answer.id().expect("a lease");
    stage.engine.renew(&stage.caller, Target::One(id.clone()), Some(holder("new"))).await.expect("renewed");
    stage.release(&id).await;
    let number = id.number.0;
    assert_eq!(kinds(&mut old, 2).await, [(EventKind::Admitted, number), (EventKind::HandedOver, number)]);
    assert_eq!(kinds(&mut new, 2).await, [(EventKind::HandedOver, number), (EventKind::Ended, number)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_resumes_where_it_was_cut_off_also_after_a_restart() {
    let store = MemoryStore::default();
    let settings = EngineSettings { watcher_messages_max: 2, ..EngineSettings::default() };
    let stage = begin(settings.clone(), &store).await;
    let all = || Filter::all(Scope::All);
    let mut watch = stage.engine.watch(&main_cell(), all(), None).await.expect("a watch");
    let mut ids = Vec::new();
    for nth in 0..6 {
        ids.push(stage.allowed("a", &format!("r{nth}"), 1).await.number);
    }
    stage.told().await;
    let mut seen = Vec::new();
    let mut last = 0;
    let dropped = loop {
        match watch.next().await {
            Ok(Told::Present { sequence, .. }) => last = sequence,
            Ok(Told::Happened(happened)) => {
                last = happened.sequence;
                seen.extend(happened.events.iter().map(|event| event.after.id()));
            }
            Err(dropped) => break dropped,
        }
    };
    assert_eq!(dropped, Dropped::Slow);
    stage.engine.shutdown().await;
    let (again, _) = super::stage::open(settings, &store, stage.clock.clone());
    let mut watch = again.engine.watch(&main_cell(), all(), Some(last)).await.expect("resumed");
    while seen.len() < ids.len() {
        let Told::Happened(happened) = watch.next().await.expect("told") else { panic!("a present state") };
        seen.extend(happened.events.iter().map(|event| event.after.id()));
    }
    assert_eq!(seen, ids, "without a gap and without a repeat");
    let far = again.engine.watch(&main_cell(), all(), Some(1_000_000)).await;
    assert!(matches!(far, Err(EngineError::OutOfRange { .. })), "{far:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_wait_and_each_is_told_of_its_own() {
    let stage = begin(EngineSettings::default(), &MemoryStore::default()).await;
    let lease = stage.allowed("a", "big", 10).await;
    let mut waits = Vec::new();
    for nth in 0..20 {
        let id = stage.queued("a", &format!("r{nth}"), 1).await;
        let (engine, caller) = (stage.engine.clone(), stage.caller.clone());
        waits.push(tokio::spawn(async move { (id.clone(), engine.wait_for(&caller, &id).await) }));
    }
    stage.release(&lease).await;
    stage.pass(Duration::from_secs(61));
    for waits in waits {
        let (id, answer) = waits.await.expect("joined");
        assert_eq!(answer.expect("admitted").id(), Some(id));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_watcher_makes_of_what_it_is_told_is_what_is_there() {
    for seed in 0..6 {
        let settings = EngineSettings { watcher_messages_max: 100_000, ..EngineSettings::default() };
        let stage = begin(settings, &MemoryStore::default()).await;
        super::restart::work(&stage, seed, 30).await;
        let mut watch = stage.engine.watch(&main_cell(), Filter::all(Scope::All), None).await.expect("a watch");
        super::restart::work(&stage, seed + 100, 60).await;
        let (sequence, there) = stage
            .engine
            .read(&main_cell(), |view| {
                let leases = view.leases().map(|lease| (lease.id, (lease.state(), lease.holder().cloned())));
                let tickets = view.tickets().map(|ticket| (ticket.id, (State::Waiting, ticket.holder.clone())));
                (view.sequence(), leases.chain(tickets).collect::<BTreeMap<_, _>>())
            })
            .await
            .expect("a cell");
        // Else it may wait for the next thing to happen, where what is not told yet is nothing that watchers hear of.
        stage.told().await;
        let mut made = BTreeMap::new();
        let mut last = 0;
        while watch.up_to().is_none_or(|up_to| up_to < sequence) {
            let (at, stands) = match watch.next().await.expect("told") {
                Told::Present { sequence, stands, .. } => (sequence, stands),
                Told::Happened(happened) => {
                    assert!(happened.sequence > last, "in order, and once");
                    (happened.sequence, happened.events.iter().map(|event| event.after.clone()).collect())
                }
            };
            last = at;
            if at > sequence {
                break; // what fell due after the ledger was looked at
            }
            for stands in stands {
                match stands.state() {
                    State::Ended(_) => made.remove(&stands.id()),
                    state => made.insert(stands.id(), (state, stands.holder().cloned())),
                };
            }
        }
        assert_eq!(made, there, "seed {seed}");
    }
}
