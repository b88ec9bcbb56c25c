//! How fast it is: figures for people, not a test. `cargo test --release -p headgate-scheduler --lib -- --ignored
//! --nocapture engine::tests::measure --test-threads 1`

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use headgate_ledger::{Change, Pool, Quota, Tenant, UtcDays};

use super::stage::{cpu, main_cell, name, path, request};
use crate::engine::{
    Caller, Configure, Done, Durability, Engine, EngineSettings, LeaseId, Operation, SystemClock, Target,
};
use crate::persist::Surface;
use crate::store::{FileOptions, FileStore, MemoryStore, Store};

const TENANTS: u64 = 100;

async fn engine(settings: EngineSettings, store: &dyn Store) -> Arc<Engine> {
    let clock = Arc::new(SystemClock::new());
    let (engine, _) = Engine::open(settings, store, &[main_cell()], clock, Arc::new(UtcDays)).expect("an engine");
    let mut pool = Pool::new(name("default"));
    pool.capacity = cpu(1_000_000_000);
    pool.lease_ttl = Duration::ZERO;
    let mut changes = vec![Change::PutPool(pool)];
    for nth in 0..TENANTS {
        if nth % 10 == 0 {
            changes.push(Change::PutTenant(Tenant::new(path(&format!("org{}", nth / 10)))));
        }
        let mut tenant = Tenant::new(path(&format!("org{}/team{nth}", nth / 10)));
        tenant.quotas = vec![(name("default"), Quota::default())];
        changes.push(Change::PutTenant(tenant));
    }
    let file = Caller::new("file", Surface::File);
    engine.configure(&file, Configure { changes, ..Configure::default() }).await.expect("configured");
    engine
}

fn acquire(worker: u64, nth: u64) -> Operation {
    let tenant = (worker * 31 + nth) % TENANTS;
    let asked = request(&format!("org{}/team{tenant}", tenant / 10), &format!("{worker}-{nth}"), 1);
    Operation::Acquire { request: Arc::new(asked), explain: false }
}

fn ids(done: Vec<Result<Done, crate::engine::EngineError>>) -> Vec<LeaseId> {
    let id = |done| match done {
        Ok(Done::Decided(answer)) => crate::engine::Answer::id(&answer),
        Ok(Done::Each(_)) | Err(_) => None,
    };
    done.into_iter().filter_map(id).collect()
}

/// Workers that acquire and release `batch` leases at a time, for a few seconds. Decisions a second, and the latency of a
/// call at two percentiles.
async fn load(engine: &Arc<Engine>, workers: u64, batch: u64) -> (f64, Duration, Duration) {
    const SPAN: Duration = Duration::from_secs(3);
    let decisions = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let tasks: Vec<_> = (0..workers)
        .map(|worker| {
            let (engine, decisions) = (engine.clone(), decisions.clone());
            tokio::spawn(async move {
                let caller = Caller::new("tester", Surface::Grpc);
                let mut took = Vec::new();
                let mut nth = 0;
                while started.elapsed() < SPAN {
                    let operations = (nth..nth + batch).map(|nth| acquire(worker, nth)).collect();
                    nth += batch;
                    let before = Instant::now();
                    let held = ids(engine.operate(&caller, operations).await);
                    took.push(before.elapsed());
                    assert_eq!(held.len() as u64, batch);
                    engine.release(&caller, Target::Ids(held)).await.expect("released");
                    decisions.fetch_add(2 * batch, Ordering::Relaxed);
                }
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await.expect("joined"));
    }
    took.sort_unstable();
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize];
    (decisions.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64(), at(0.5), at(0.99))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime")
}

#[test]
#[ignore = "a measurement"]
fn decisions() {
    runtime().block_on(async {
        for durability in [Durability::Relaxed, Durability::Journaled] {
            for (workers, batch) in [(1, 1), (64, 1), (1000, 1), (4, 256)] {
                for kind in ["memory", "file"] {
                    let directory = tempfile::tempdir().expect("a directory");
                    let store: Box<dyn Store> = match kind {
                        "memory" => Box::new(MemoryStore::default()),
                        _ => Box::new(FileStore::open(directory.path(), FileOptions::default()).expect("a store")),
                    };
                    let engine = engine(EngineSettings { durability, ..EngineSettings::default() }, &*store).await;
                    let (rate, middle, late) = load(&engine, workers, batch).await;
                    let metrics = engine.metrics();
                    let per_commit = metrics.records.count() / metrics.commits.count().max(1);
                    println!(
                        "{durability:?} {kind}: {workers} workers of {batch}: {rate:.0} decisions/s, call p50 {middle:?} \
                         p99 {late:?}, {per_commit} records a commit"
                    );
                    engine.shutdown().await;
                }
            }
        }
    });
}

#[test]
#[ignore = "a measurement"]
fn under_the_lock_and_beside_it() {
    runtime().block_on(async {
        let engine = engine(EngineSettings::default(), &MemoryStore::default()).await;
        let caller = Caller::new("tester", Surface::Grpc);
        for batch in 0..100 {
            let operations = (0..1000).map(|nth| acquire(batch, nth)).collect();
            assert_eq!(ids(engine.operate(&caller, operations).await).len(), 1000);
        }
        let cell = main_cell();
        let time = |what: &str, rounds: u32, run: &mut dyn FnMut()| {
            let started = Instant::now();
            for _ in 0..rounds {
                run();
            }
            println!("{what}: {:?}", started.elapsed() / rounds);
        };
        time("a look at 100,000 leases' ledger", 1_000_000, &mut || {
            black_box(engine.peek(&cell, |view| view.sequence())).expect("a cell");
        });
        time("a lease looked up", 1_000_000, &mut || {
            black_box(engine.peek(&cell, |view| view.lease(headgate_ledger::Id(5000)).is_some())).expect("a cell");
        });
        let asked = Arc::new(request("org1/team15", "checked", 1));
        time("a check", 100_000, &mut || {
            black_box(engine.peek(&cell, |view| view.admit(view.now(), &asked).is_ok())).expect("a cell");
        });
        time("a digest", 10, &mut || {
            black_box(engine.peek(&cell, |view| view.digest())).expect("a cell");
        });
        time("a copy", 5, &mut || {
            black_box(engine.peek(&cell, |view| headgate_ledger::Ledger::clone(view))).expect("a cell");
        });
        time("a snapshot taken", 5, &mut || {
            black_box(engine.peek(&cell, |view| view.snapshot())).expect("a cell");
        });
        time("an audit", 3, &mut || {
            black_box(engine.peek(&cell, |view| view.audit(view.now(), &[]))).expect("a cell");
        });
        time("of it, what is looked at in one reading at most: a pool's counters", 3, &mut || {
            black_box(engine.peek(&cell, |view| view.audit_pool("default"))).expect("a cell");
        });
        engine.shutdown().await;
    });
}

/// What wakes those who wait for a commit: ours against the library's.
#[test]
#[ignore = "a measurement"]
fn waking_those_who_wait() {
    const WAITERS: u64 = 1000;
    const ROUNDS: u64 = 300;
    runtime().block_on(async {
        let ours = Arc::new(headgate_sync::Sequence::new(0));
        let (theirs, _) = tokio::sync::watch::channel(0u64);
        let theirs = Arc::new(theirs);
        for spread in [1, 10] {
            for library in [false, true] {
                let done = Arc::new(AtomicU64::new(0));
                let base = ours.reached().max(*theirs.borrow());
                let tasks: Vec<_> = (0..WAITERS)
                    .map(|waiter| {
                        let (ours, theirs, done) = (ours.clone(), theirs.clone(), done.clone());
                        tokio::spawn(async move {
                            let mut receiver = theirs.subscribe();
                            for round in 1..=ROUNDS {
                                // Each waits for one of the next commits.
                                let target = base + (round - 1) * spread + 1 + waiter % spread;
                                if library {
                                    receiver.wait_for(|reached| *reached >= target).await.expect("reached");
                                } else {
                                    ours.reach(target).await.expect("reached");
                                }
                                done.fetch_add(1, Ordering::Relaxed);
                            }
                        })
                    })
                    .collect();
                let started = Instant::now();
                let (ours_too, theirs_too) = (ours.clone(), theirs.clone());
                let advances = std::thread::spawn(move || {
                    for number in base + 1..=base + ROUNDS * spread {
                        if library {
                            theirs_too.send_replace(number);
                        } else {
                            ours_too.advance(number);
                        }
                        while done.load(Ordering::Relaxed) < (number - base) / spread * WAITERS {
                            std::thread::yield_now();
                        }
                    }
                });
                for task in tasks {
                    task.await.expect("joined");
                }
                advances.join().expect("joined");
                let each = started.elapsed() / u32::try_from(WAITERS * ROUNDS).expect("few");
                let which = if library { "tokio's watch" } else { "our sequence" };
                println!("{which}, {WAITERS} waiters over {spread} commits: {each:?} a waiter");
            }
        }
    });
}
