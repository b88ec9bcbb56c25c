//! What the engine makes of the ledger's speed: many callers at one lock, their commits together, and readers beside them.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use headgate_benches::{Served, is_test, main_cell, sizes};
use headgate_ledger::{Id, Ledger};
use headgate_scheduler::engine::{Durability, EngineSettings};
use headgate_scheduler::store::{FileOptions, FileStore, MemoryStore, Store};
use headgate_sync::Sequence;
use tokio::runtime::Runtime;
use tokio::sync::watch;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime")
}

/// Who comes together, and how many leases each acquires and releases at once.
#[derive(Clone, Copy)]
struct Callers {
    callers: u64,
    batch: u64,
}

impl Callers {
    /// So many rounds, shared out among them. Each goes on with the next as soon as the last was answered.
    async fn share_out(self, served: &Served, next: &AtomicU64, rounds: u64) -> Duration {
        let each = rounds.div_ceil(self.callers);
        let first = next.fetch_add(each, Ordering::Relaxed);
        let started = Instant::now();
        let task = |caller| {
            let served = served.clone();
            tokio::spawn(async move { served.rounds(caller, first..first + each, self.batch).await })
        };
        let tasks: Vec<_> = (0..self.callers).map(task).collect();
        for task in tasks {
            task.await.expect("joined");
        }
        // As if it had been as many as were asked for.
        started.elapsed().mul_f64(rounds as f64 / (each * self.callers) as f64)
    }

    /// The time of a round, and the records that came to a commit.
    fn measure(self, group: &mut BenchmarkGroup<'_, WallTime>, durability: Durability, store: &dyn Store) {
        let Self { callers, batch } = self;
        let runtime = runtime();
        let settings = EngineSettings { durability, ..EngineSettings::default() };
        let served = runtime.block_on(Served::open(settings, store));
        let next = AtomicU64::new(0);
        group.throughput(Throughput::Elements(2 * batch));
        let id = BenchmarkId::new(format!("{durability:?}").to_lowercase(), format!("{callers}_of_{batch}"));
        group.bench_function(id, |bencher| {
            bencher.iter_custom(|rounds| runtime.block_on(self.share_out(&served, &next, rounds)));
        });
        let metrics = served.engine.metrics();
        let (records, commits) = (metrics.records.count(), metrics.commits.count());
        if commits > 0 && next.into_inner() > 0 && !is_test() {
            println!("{:>30} records a commit", records / commits);
        }
        runtime.block_on(served.engine.shutdown());
    }
}

/// Every kind of callers, and when they are answered.
fn each_of(durabilities: &[Durability], mut measure: impl FnMut(Callers, Durability)) {
    for (callers, batch) in sizes([(1, 1), (4, 1), (64, 1), (1_000, 1), (1, 256), (4, 256)], (4, 4)) {
        durabilities.iter().for_each(|durability| measure(Callers { callers, batch }, *durability));
    }
}

/// Callers who contend for the one lock, over a store that takes no time, and over none.
fn contention(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("contention");
    each_of(&[Durability::Forgotten, Durability::Relaxed, Durability::Journaled], |callers, durability| {
        callers.measure(&mut group, durability, &MemoryStore::default());
    });
    group.finish();
}

/// Callers whose decisions are made durable together, by one sync after another.
fn group_commit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("group_commit");
    each_of(&[Durability::Relaxed, Durability::Journaled], |callers, durability| {
        let directory = tempfile::tempdir().expect("a directory");
        let store = FileStore::open(directory.path(), FileOptions::default()).expect("a store");
        callers.measure(&mut group, durability, &store);
    });
    group.finish();
}

/// An engine with leases, and a writer who goes on deciding until it is told to end; or none.
struct Beside {
    served: Served,
    runtime: Runtime,
    done: Arc<AtomicBool>,
    writer: Option<tokio::task::JoinHandle<()>>,
}

impl Beside {
    fn new(leases: u64, writes: bool) -> Self {
        let runtime = runtime();
        let served = runtime.block_on(async {
            let served = Served::open(EngineSettings::default(), &MemoryStore::default()).await;
            for first in (0..leases).step_by(1_000) {
                served.acquire(0, first, (leases - first).min(1_000)).await;
            }
            served
        });
        let done = Arc::new(AtomicBool::new(false));
        let writer = writes.then(|| {
            let (served, done) = (served.clone(), done.clone());
            runtime.spawn(async move {
                for round in 0.. {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    served.rounds(1, round..round + 1, 64).await;
                }
            })
        });
        Self { served, runtime, done, writer }
    }

    fn end(self) {
        self.done.store(true, Ordering::Relaxed);
        self.runtime.block_on(async {
            if let Some(writer) = self.writer {
                writer.await.expect("the writer wrote");
            }
            self.served.engine.shutdown().await;
        });
    }
}

/// What readers see, beside a writer and without one.
fn readers(criterion: &mut Criterion) {
    let leases = if is_test() { 100 } else { 100_000 };
    let mut group = criterion.benchmark_group("readers");
    for (beside, writes) in [("beside_nobody", false), ("beside_a_writer", true)] {
        let stage = Beside::new(leases, writes);
        let (engine, cell) = (&stage.served.engine, main_cell());
        group.bench_function(BenchmarkId::new("look", beside), |bencher| {
            bencher.iter(|| engine.peek(&cell, |view| view.sequence()).expect("a cell"));
        });
        group.bench_function(BenchmarkId::new("lease", beside), |bencher| {
            bencher.iter(|| engine.peek(&cell, |view| view.lease(black_box(Id(50))).is_some()).expect("a cell"));
        });
        let asked = Served::request(2, 0);
        group.bench_function(BenchmarkId::new("check", beside), |bencher| {
            bencher.iter(|| engine.peek(&cell, |view| view.check(view.now(), &asked).is_ok()).expect("a cell"));
        });
        stage.end();
    }
    group.finish();
}

/// What is done to a whole ledger while it serves: digests, copies, snapshots, audits.
fn whole(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("whole");
    group.sample_size(10);
    for leases in sizes([10_000, 100_000], 100) {
        let stage = Beside::new(leases, false);
        let (engine, cell) = (&stage.served.engine, main_cell());
        group.bench_function(BenchmarkId::new("digest", leases), |bencher| {
            bencher.iter(|| engine.peek(&cell, |view| view.digest()).expect("a cell"));
        });
        group.bench_function(BenchmarkId::new("copy", leases), |bencher| {
            bencher.iter_with_large_drop(|| engine.peek(&cell, |view| Ledger::clone(view)).expect("a cell"));
        });
        group.bench_function(BenchmarkId::new("snapshot", leases), |bencher| {
            bencher.iter_with_large_drop(|| engine.peek(&cell, |view| view.snapshot()).expect("a cell"));
        });
        group.bench_function(BenchmarkId::new("audit", leases), |bencher| {
            bencher.iter(|| engine.peek(&cell, |view| view.audit(view.now(), &[])).expect("a cell"));
        });
        // What is looked at in one reading at most.
        group.bench_function(BenchmarkId::new("audit_of_counters", leases), |bencher| {
            bencher.iter(|| engine.peek(&cell, |view| view.audit_pool("default")).expect("a cell"));
        });
        stage.end();
    }
    group.finish();
}

/// Something that reaches numbers, and those who wait for it.
trait Reached: Send + Sync + 'static {
    fn advance(&self, number: u64);
    fn reach(self: Arc<Self>, number: u64) -> impl Future<Output = ()> + Send;
}

impl Reached for Sequence {
    fn advance(&self, number: u64) {
        Self::advance(self, number);
    }

    async fn reach(self: Arc<Self>, number: u64) {
        Self::reach(&self, number).await.expect("reached");
    }
}

impl Reached for watch::Sender<u64> {
    fn advance(&self, number: u64) {
        self.send_replace(number);
    }

    async fn reach(self: Arc<Self>, number: u64) {
        self.subscribe().wait_for(|reached| *reached >= number).await.expect("reached");
    }
}

/// So many who wait for the next of `commits` numbers each, all woken in turn. How long that took, from the first number on.
async fn wake(reached: Arc<impl Reached>, base: u64, waiters: u64, commits: u64) -> Duration {
    let ready = Arc::new(tokio::sync::Barrier::new(waiters as usize + 1));
    let wait = |waiter| {
        let (reached, ready) = (reached.clone(), ready.clone());
        tokio::spawn(async move {
            ready.wait().await;
            reached.reach(base + 1 + waiter % commits).await;
        })
    };
    let tasks: Vec<_> = (0..waiters).map(wait).collect();
    ready.wait().await;
    let started = Instant::now();
    (base + 1..=base + commits).for_each(|number| reached.advance(number));
    for task in tasks {
        task.await.expect("joined");
    }
    started.elapsed()
}

/// What wakes those who wait for a commit: our sequence against the library's watch.
fn waking(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("waking");
    let runtime = runtime();
    for (waiters, commits) in sizes([(1_000, 1), (1_000, 10)], (10, 2)) {
        let each = format!("{waiters}_over_{commits}");
        let base = AtomicU64::new(0);
        let next = || base.fetch_add(commits, Ordering::Relaxed);
        let ours = Arc::new(Sequence::new(0));
        let theirs = Arc::new(watch::Sender::new(0));
        group.throughput(Throughput::Elements(waiters));
        group.bench_function(BenchmarkId::new("sequence", &each), |bencher| {
            bencher.iter_custom(|times| {
                (0..times).map(|_| runtime.block_on(wake(ours.clone(), next(), waiters, commits))).sum()
            });
        });
        group.bench_function(BenchmarkId::new("watch", &each), |bencher| {
            bencher.iter_custom(|times| {
                (0..times).map(|_| runtime.block_on(wake(theirs.clone(), next(), waiters, commits))).sum()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, contention, group_commit, readers, whole, waking);
criterion_main!(benches);
