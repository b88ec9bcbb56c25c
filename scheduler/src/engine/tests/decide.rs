//! What callers are answered.

use std::sync::Arc;
use std::time::Duration;

use headgate_ledger::{Change, End, Holder, Outcome, ReasonCode, State};

use super::stage::{START, Stage, begin, configuration, cpu, main_cell, name, open, path, request};
use crate::engine::{
    Answer, Caller, Configure, Done, EngineError, EngineSettings, LeaseId, ManualClock, ObjectName, Operation, Scope,
    Stands, Target,
};
use crate::persist::Surface;
use crate::store::MemoryStore;

async fn stage() -> Stage {
    begin(EngineSettings::default(), &MemoryStore::default()).await
}

fn held_by(holder: &str, tenant: &str, id: &str, amount: u64) -> Arc<headgate_ledger::Request> {
    let mut request = request(tenant, id, amount);
    request.holder = Holder::parse(holder).ok();
    Arc::new(request)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_allowed_queued_and_admitted() {
    let stage = stage().await;
    let first = stage.allowed("a", "one", 8).await;
    assert_eq!(first.to_string(), "main-1");
    let ticket = stage.acquire("a", "two", 4).await;
    assert_eq!((ticket.outcome, ticket.position), (Outcome::Queue, Some(1)));
    let waits = {
        let (engine, caller, id) = (stage.engine.clone(), stage.caller.clone(), ticket.id().expect("a ticket"));
        tokio::spawn(async move { engine.wait_for(&caller, &id).await })
    };
    let released = stage.release(&first).await;
    assert_eq!(released.stands.map(|stands| stands.state()), Some(State::Ended(End::Released)));
    let admitted = waits.await.expect("joined").expect("admitted");
    assert_eq!(admitted.outcome, Outcome::Allow);
    assert_eq!(stage.usage("a").await, 4);
    stage.check().await;
    stage.engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_request_is_charged_once_and_answered_by_where_it_stands() {
    let stage = stage().await;
    let id = stage.allowed("a", "one", 3).await;
    assert_eq!(stage.allowed("a", "one", 3).await, id);
    assert_eq!(stage.usage("a").await, 3);
    assert_eq!(stage.try_acquire("a", "one", 4).await, Err(EngineError::Exists(id.clone())));
    stage.release(&id).await;
    stage.release(&id).await;
    let again = stage.acquire("a", "one", 3).await;
    assert_eq!(again.stands.map(|stands| stands.state()), Some(State::Ended(End::Released)));
    let confirmed = stage.engine.confirm(&stage.caller, Target::One(id.clone())).await.expect("answered");
    assert_eq!(confirmed, [(id.clone(), Err(EngineError::Gone(id)))]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denial_says_why_and_is_counted() {
    let stage = stage().await;
    let answer = stage.acquire("a", "one", 11).await;
    assert_eq!((answer.outcome, answer.stands), (Outcome::Deny, None));
    assert_eq!(answer.reasons.first().map(|reason| reason.code), Some(ReasonCode::NeverFits));
    let pool = stage.engine.metrics().pool(&name("default"));
    assert_eq!(pool.decisions().collect::<Vec<_>>(), [(Outcome::Deny, Some(ReasonCode::NeverFits), 1)]);
    let wrong = stage.try_acquire("nobody", "one", 1).await;
    assert_eq!(wrong, Err(EngineError::NoTenant(path("nobody"))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_reserves_nothing_and_sees_what_was_answered() {
    let stage = stage().await;
    for nth in 0..10 {
        let mut asked = request("a", "checked", 1);
        asked.wait = false;
        let check = stage.engine.check(&stage.caller, Arc::new(asked), true).await.expect("checked");
        assert_eq!((check.outcome, check.stands.is_none()), (Outcome::Allow, true));
        let levels = check.explanation.expect("an explanation").levels;
        assert_eq!(levels.last().map(|level| level.usage_after[0].1), Some(nth + 1));
        stage.allowed("a", &format!("r{nth}"), 1).await;
    }
    let check = stage.engine.check(&stage.caller, Arc::new(request("a", "last", 1)), false).await.expect("checked");
    assert_eq!(check.outcome, Outcome::Queue);
}

/// Operations that are all of one cell, and each about one thing, are done as they stand there; with one among them that
/// names several, each is gathered. Both ways come to the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_done_as_it_stands_is_done_as_what_is_gathered() {
    let id = |number| LeaseId { cell: main_cell(), number: headgate_ledger::Id(number) };
    let acquire = |id: &str, amount| Operation::Acquire { request: Arc::new(request("a", id, amount)), explain: false };
    let plain = vec![
        acquire("one", 6),
        Operation::Check { request: Arc::new(request("a", "check", 5)), explain: false },
        Operation::Check { request: Arc::new(request("a", "one", 6)), explain: false },
        Operation::Resize { target: Target::One(id(1)), resources: cpu(2), explain: false },
        Operation::Resize { target: Target::One(id(1)), resources: cpu(100), explain: false },
        Operation::Release(Target::One(id(99))),
        acquire("two", 8),
        acquire("three", 4),
        Operation::Cancel(Target::One(id(3))),
        Operation::Renew { target: Target::One(id(2)), holder: None },
        Operation::Confirm(Target::One(id(2))),
        Operation::Release(Target::One(id(1))),
        acquire("four", 9),
        Operation::Acquire { request: Arc::new(request("nobody", "x", 1)), explain: false },
    ];
    let (stage, other) = (stage().await, stage().await);
    assert!(stage.engine.cell_of_all(&plain).is_some());
    let mut mixed = plain.clone();
    mixed.push(Operation::Renew { target: Target::Ids(vec![id(99), id(2)]), holder: None });
    assert!(other.engine.cell_of_all(&mixed).is_none());
    let done = stage.engine.operate(&stage.caller, plain).await;
    let mut gathered = other.engine.operate(&other.caller, mixed).await;
    let last = gathered.pop().expect("the last").expect("done");
    assert_eq!(last.each()[0].1, Err(EngineError::NoLease(id(99))));
    assert_eq!(last.each()[1].1.as_ref().map(|answer| answer.outcome), Ok(Outcome::Allow));
    assert_eq!(format!("{done:?}"), format!("{gathered:?}"));
    let queued = |done: &Result<Done, EngineError>| matches!(done, Ok(Done::Decided(Answer { position: Some(1), .. })));
    assert_eq!(done.iter().filter(|done| queued(done)).count(), 1, "{done:?}");
    stage.check().await;
}

/// Checks alone take no lock where all that was posted is shown, and see what was posted before them where it is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_alone_are_answered_as_among_others() {
    let stage = stage().await;
    let check = |id: &str, amount| Operation::Check { request: Arc::new(request("a", id, amount)), explain: false };
    for round in 0..50 {
        let id = format!("round-{round}");
        let acquire = Operation::Acquire { request: Arc::new(request("a", &id, 6)), explain: false };
        let mut taken = stage.engine.operate(&stage.caller, vec![acquire]).await;
        let Some(Ok(Done::Decided(lease))) = taken.pop() else { panic!("{taken:?}") };
        let lease = lease.id().expect("a lease");
        let checks = vec![check("small", 1), check(&id, 6), check("large", 5), check("nobody's", 100)];
        let mut among_others = checks.clone();
        among_others.push(Operation::Release(Target::One(lease)));
        let alone = stage.engine.operate(&stage.caller, checks.clone()).await;
        let mut among_others = stage.engine.operate(&stage.caller, among_others).await;
        among_others.pop();
        assert_eq!(format!("{alone:?}"), format!("{among_others:?}"));
        let released = stage.engine.operate(&stage.caller, checks).await;
        let outcome = |done: &Result<Done, EngineError>| match done {
            Ok(Done::Decided(answer)) => Some(answer.outcome),
            _ => None,
        };
        let outcomes = [&alone, &released].map(|done| outcome(&done[2]));
        assert_eq!(outcomes, [Some(Outcome::Queue), Some(Outcome::Allow)], "{alone:?} {released:?}");
    }
    // More than are answered by one look.
    let many = stage.engine.operate(&stage.caller, vec![check("small", 1); 300]).await;
    let allowed = |done: &Result<Done, EngineError>| matches!(done, Ok(Done::Decided(answer)) if answer.outcome == Outcome::Allow);
    assert!(many.len() == 300 && many.iter().all(allowed));
    stage.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_operations_are_done_in_order_and_each_answered_by_itself() {
    let stage = stage().await;
    let id = |number| LeaseId { cell: main_cell(), number: headgate_ledger::Id(number) };
    let acquire = |id: &str, amount| Operation::Acquire { request: Arc::new(request("a", id, amount)), explain: false };
    let one = Target::One(id(1));
    let operations = vec![
        acquire("one", 6),
        Operation::Check { request: Arc::new(request("a", "check", 5)), explain: false },
        Operation::Resize { target: one.clone(), resources: cpu(2), explain: false },
        Operation::Check { request: Arc::new(request("a", "check", 5)), explain: false },
        Operation::Resize { target: one.clone(), resources: cpu(100), explain: false },
        Operation::Release(Target::Ids(vec![id(1), id(99), id(1)])),
        acquire("two", 10),
        acquire("three", 4),
        Operation::Acquire { request: Arc::new(request("nobody", "x", 1)), explain: false },
    ];
    let done = stage.engine.operate(&stage.caller, operations).await;
    let outcomes: Vec<_> = done
        .into_iter()
        .map(|done| match done {
            Ok(Done::Decided(answer)) => vec![Ok((answer.outcome, answer.position))],
            Ok(done @ (Done::One(_) | Done::Each(_))) => {
                done.into_each().into_iter().map(|(_, answer)| answer.map(|answer| (answer.outcome, None))).collect()
            }
            Err(error) => vec![Err(error)],
        })
        .collect();
    let (allow, queue, deny) = (Outcome::Allow, Outcome::Queue, Outcome::Deny);
    assert_eq!(
        outcomes,
        [
            vec![Ok((allow, None))],
            vec![Ok((queue, None))],
            vec![Ok((allow, None))],
            vec![Ok((allow, None))],
            vec![Ok((deny, None))],
            vec![Ok((allow, None)), Err(EngineError::NoLease(id(99))), Ok((allow, None))],
            vec![Ok((allow, None))],
            vec![Ok((queue, Some(1)))],
            vec![Err(EngineError::NoTenant(path("nobody")))],
        ]
    );
    stage.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_a_holders_are_renewed_released_and_cancelled_in_one_call() {
    let stage = stage().await;
    let engine = &stage.engine;
    for (id, amount) in [("one", 4), ("two", 5), ("three", 6), ("four", 7)] {
        engine.acquire(&stage.caller, held_by("runner", "a", id, amount), false).await.expect("decided");
    }
    let holder = || Target::Holder(Holder::parse("runner").expect("a holder"));
    stage.pass(Duration::from_secs(50));
    let renewed = engine.renew(&stage.caller, holder(), None).await.expect("renewed");
    assert_eq!(renewed.len(), 4);
    stage.pass(Duration::from_secs(50));
    let cancelled = engine.cancel(&stage.caller, holder()).await.expect("cancelled");
    assert_eq!(cancelled.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>(), ["main-3", "main-4"]);
    let released = engine.release(&stage.caller, holder()).await.expect("released");
    assert!(released.iter().all(|(_, answer)| answer.is_ok()));
    assert_eq!((released.len(), stage.usage("a").await), (2, 0));
    assert!(engine.get_held(&stage.caller, &Holder::parse("runner").expect("a holder")).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_sees_or_touches_what_is_not_theirs() {
    let stage = stage().await;
    let id = stage.allowed("a", "one", 3).await;
    let stranger = Caller { scope: Scope::Subtrees([path("b")].into()), ..Caller::new("stranger", Surface::Grpc) };
    let engine = &stage.engine;
    assert!(engine.get(&stranger, std::slice::from_ref(&id)).await.is_empty());
    let released = engine.release(&stranger, Target::One(id.clone())).await.expect("answered");
    assert_eq!(released, [(id.clone(), Err(EngineError::NoLease(id.clone())))]);
    assert_eq!(engine.wait_for(&stranger, &id).await, Err(EngineError::NoLease(id.clone())));
    let acquired = engine.acquire(&stranger, Arc::new(request("a", "two", 1)), false).await;
    assert_eq!(acquired, Err(EngineError::NoTenant(path("a"))));
    let found = engine.get(&stage.caller, std::slice::from_ref(&id)).await;
    assert!(matches!(&found[..], [(found, Stands::Lease(_))] if *found == id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_due_happens_though_nobody_asks() {
    let stage = stage().await;
    let lease = stage.allowed("a", "one", 10).await;
    let ticket = stage.queued("a", "two", 10).await;
    stage.pass(Duration::from_secs(61));
    stage.until(&ticket, State::Provisional).await;
    assert_eq!(stage.state(&lease).await, Some(State::Ended(End::Expired)));
    stage.pass(Duration::from_secs(61));
    stage.until(&ticket, State::Ended(End::Unconfirmed)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn borrowed_capacity_is_given_back_after_its_notice() {
    let stage = stage().await;
    let mut leases = Vec::new();
    for nth in 0..2 {
        let mut asked = request("a", &format!("r{nth}"), 5);
        asked.ttl = Some(Duration::ZERO);
        let answer = stage.engine.acquire(&stage.caller, Arc::new(asked), false).await.expect("decided");
        leases.push(answer.id().expect("a lease"));
    }
    let owner = stage.queued("b", "own", 5).await;
    assert_eq!(stage.state(&leases[1]).await, Some(State::Reclaiming));
    assert_eq!(stage.engine.metrics().pool(&name("default")).reclaims.count(), 1);
    stage.pass(Duration::from_secs(30));
    stage.until(&owner, State::Provisional).await;
    assert_eq!(stage.state(&leases[1]).await, Some(State::Ended(End::Revoked)));
    stage.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configuration_is_changed_whole_by_its_owner_and_by_who_has_seen_it() {
    let stage = stage().await;
    let file = Caller::new("file", Surface::File);
    let pause = vec![Change::Pause { pool: name("default"), paused: true }];
    let pool = ObjectName::Pool(name("default"));
    let ask = |changes: Vec<Change>| Configure { changes, ..Configure::default() };

    // Another source may pause, but not put.
    let put = stage.engine.configure(&stage.caller, ask(configuration())).await.expect_err("refused");
    assert!(put.to_string().contains("tenant a: it belongs to the configuration file: change it there"), "{put}");
    let asked = Configure { expected: vec![(pool.clone(), 99)], ..ask(pause.clone()) };
    let conflict = stage.engine.configure(&stage.caller, asked).await.expect_err("refused");
    let EngineError::Conflict { object, expected: 99, found } = conflict else { panic!("{conflict}") };
    assert_eq!(object, "pool default");

    let asked = Configure { expected: vec![(pool.clone(), found)], dry_run: true, ..ask(pause.clone()) };
    let dry = stage.engine.configure(&stage.caller, asked).await.expect("would be fine");
    assert_eq!(dry.revisions, [(pool.clone(), found)]);
    stage.allowed("a", "one", 1).await;
    let asked = Configure { expected: vec![(pool.clone(), found)], ..ask(pause) };
    let done = stage.engine.configure(&stage.caller, asked).await.expect("paused");
    assert!(done.revisions[0].1 > found);
    let denied = stage.acquire("a", "two", 1).await;
    assert_eq!(denied.reasons[0].code, ReasonCode::Paused);

    let broken = vec![Change::DeletePool(name("nothing")), Change::DeletePool(name("default"))];
    assert!(stage.engine.configure(&file, ask(broken)).await.is_err());
    assert!(
        stage.engine.peek(&main_cell(), |view| view.pool("default").is_some()).expect("a cell"),
        "nothing was done"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_says_who_would_be_reclaimed() {
    let stage = stage().await;
    let lease = stage.allowed("a", "one", 5).await;
    let borrowed = stage.allowed("a", "two", 5).await;
    stage.configure(vec![Change::Pause { pool: name("default"), paused: true }]).await;
    stage.queued("b", "own", 5).await;
    let unpause = vec![Change::Pause { pool: name("default"), paused: false }];
    let asked = Configure { changes: unpause.clone(), dry_run: true, ..Configure::default() };
    let dry = stage.engine.configure(&stage.caller, asked).await.expect("would be fine");
    assert_eq!(dry.reclaimed, std::slice::from_ref(&borrowed));
    assert_eq!(stage.state(&borrowed).await, Some(State::Active));
    let asked = Configure { changes: unpause, ..Configure::default() };
    let done = stage.engine.configure(&stage.caller, asked).await.expect("done");
    assert_eq!(done.reclaimed, std::slice::from_ref(&borrowed));
    assert_eq!(
        (stage.state(&borrowed).await, stage.state(&lease).await),
        (Some(State::Reclaiming), Some(State::Active))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_cells_answer_as_one() {
    let store = MemoryStore::default();
    let cells = [name("east"), name("west")];
    let clock = Arc::new(ManualClock::new(START));
    let calendar = Arc::new(headgate_ledger::UtcDays);
    let (engine, _) =
        crate::engine::Engine::open(EngineSettings::default(), &store, &cells, clock, calendar).expect("an engine");
    let mut changes = Vec::new();
    let mut tenant = headgate_ledger::Tenant::new(path("a"));
    for cell in &cells {
        let mut pool = headgate_ledger::Pool::new(cell.clone());
        (pool.cell, pool.capacity) = (cell.clone(), cpu(10));
        tenant.quotas.push((cell.clone(), headgate_ledger::Quota::default()));
        changes.push(Change::PutPool(pool));
    }
    changes.push(Change::PutTenant(tenant));
    let file = Caller::new("file", Surface::File);
    engine.configure(&file, Configure { changes, ..Configure::default() }).await.expect("configured");

    let acquire = |pool: &str, id: &str| {
        let mut asked = request("a", id, 1);
        (asked.pool, asked.holder) = (name(pool), Holder::parse("runner").ok());
        Operation::Acquire { request: Arc::new(asked), explain: false }
    };
    let caller = Caller::new("tester", Surface::Grpc);
    let operations =
        vec![acquire("west", "one"), acquire("east", "two"), acquire("nowhere", "three"), acquire("west", "four")];
    let ids: Vec<_> = engine
        .operate(&caller, operations)
        .await
        .into_iter()
        .map(|done| match done {
            Ok(Done::Decided(answer)) => Ok(answer.id().expect("a lease").to_string()),
            Ok(done) => panic!("{done:?}"),
            Err(error) => Err(error),
        })
        .collect();
    let nowhere = EngineError::NoPool(name("nowhere"));
    assert_eq!(ids, [Ok("west-1".into()), Ok("east-1".into()), Err(nowhere), Ok("west-2".into())]);
    let holder = Holder::parse("runner").expect("a holder");
    let renewed = engine.renew(&caller, Target::Holder(holder), None).await.expect("renewed");
    assert_eq!(renewed.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>(), ["east-1", "west-1", "west-2"]);
    let moved =
        Change::PutPool(headgate_ledger::Pool { cell: name("east"), ..headgate_ledger::Pool::new(name("west")) });
    let moved = engine.configure(&file, Configure { changes: vec![moved], ..Configure::default() }).await;
    assert!(moved.expect_err("refused").to_string().contains("pool west: it is in cell west"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_shutdown_nothing_is_decided_and_what_was_is_answered() {
    let store = MemoryStore::default();
    let stage = begin(EngineSettings::default(), &store).await;
    let asked: Vec<_> = (0..50)
        .map(|nth| {
            let (engine, caller) = (stage.engine.clone(), stage.caller.clone());
            tokio::spawn(
                async move { engine.acquire(&caller, Arc::new(request("a", &format!("r{nth}"), 1)), false).await },
            )
        })
        .collect();
    stage.engine.shutdown().await;
    let mut answered = Vec::new();
    for asked in asked {
        match asked.await.expect("joined") {
            Ok(answer) => answered.push(answer.id().expect("a lease")),
            Err(EngineError::Unavailable { why, .. }) => assert_eq!(why, crate::engine::Outage::Closing),
            Err(error) => panic!("{error}"),
        }
    }
    assert!(stage.try_acquire("a", "late", 1).await.is_err());
    let (again, _) = open(EngineSettings::default(), &store, stage.clock.clone());
    for id in answered {
        let state = again.state(&id).await;
        assert!(matches!(state, Some(State::Active | State::Waiting)), "{id} is {state:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_in_which_nobody_could_renew_does_not_count() {
    let stage = stage().await;
    let lease = stage.allowed("a", "one", 1).await;
    stage.clock.jump(Duration::from_secs(3600));
    stage.allowed("a", "two", 1).await;
    assert_eq!(stage.state(&lease).await, Some(State::Active));
    stage.pass(Duration::from_secs(61));
    stage.until(&lease, State::Ended(End::Expired)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_who_stays_holds_up_nobody_who_decides() {
    let stage = stage().await;
    let (leave, stays) = std::sync::mpsc::channel::<()>();
    let (came, comes) = std::sync::mpsc::channel::<u64>();
    let reader = {
        let engine = stage.engine.clone();
        std::thread::spawn(move || {
            engine
                .peek(&main_cell(), |view| {
                    came.send(view.sequence()).expect("said");
                    let _ = stays.recv();
                    view.sequence()
                })
                .expect("a cell")
        })
    };
    let seen = comes.recv().expect("it looks");
    for nth in 0..10 {
        stage.allowed("a", &format!("r{nth}"), 1).await;
    }
    assert!(stage.engine.health()[0].durable > seen);
    leave.send(()).expect("it stays until now");
    assert_eq!(reader.join().expect("joined"), seen, "what it saw did not change");
    assert_eq!(stage.usage("a").await, 10);
}
