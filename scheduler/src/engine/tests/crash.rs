//! A server that is killed at any point has kept all that it answered.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use headgate_ledger::{End, Id, State, UtcDays};

use super::stage::{configuration, main_cell, path, request};
use crate::engine::{
    Caller, Configure, Done, Engine, EngineSettings, LeaseId, Operation, Scope, SystemClock, Target, verify,
};
use crate::persist::Surface;
use crate::store::{CellName, FileOptions, FileStore, ReadOnlyFileStore};

/// Where the child finds its store.
const STORE: &str = "HEADGATE_TEST_CRASH_STORE";
/// How often the child is killed. More with the environment variable of this name.
const ROUNDS: &str = "HEADGATE_TEST_CRASH_ROUNDS";

fn settings() -> EngineSettings {
    EngineSettings { snapshot_after_bytes: 60_000, ..EngineSettings::default() }
}

/// The child: asks its own engine for as long as it lives, and says what it was answered.
#[test]
#[ignore = "started by the test below, and killed by it"]
fn child() {
    let Some(directory) = std::env::var_os(STORE).map(PathBuf::from) else { return };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store = FileStore::open(&directory, FileOptions { segment_bytes_max: 40_000 }).expect("a store");
        let clock = Arc::new(SystemClock::new());
        let (engine, recoveries) =
            Engine::open(settings(), &store, &[main_cell()], clock, Arc::new(UtcDays)).expect("an engine");
        let first = recoveries[0].sequence;
        if first == 0 {
            let file = Caller::new("file", Surface::File);
            let asked = Configure { changes: configuration(), ..Configure::default() };
            engine.configure(&file, asked).await.expect("configured");
        }
        let workers: Vec<_> = (0..8).map(|worker| tokio::spawn(ask(engine.clone(), first, worker))).collect();
        for worker in workers {
            worker.await.expect("joined");
        }
    });
}

async fn ask(engine: Arc<Engine>, first: u64, worker: u64) {
    let caller = Caller { scope: Scope::All, ..Caller::new("tester", Surface::Grpc) };
    let mut held: Vec<LeaseId> = Vec::new();
    for nth in 0.. {
        let tenant = if worker.is_multiple_of(2) { "a" } else { "b" };
        let mut asked = request(tenant, &format!("{first}-{worker}-{nth}"), 1 + nth % 3);
        asked.ttl = Some(Duration::ZERO);
        asked.wait = nth % 5 == 0;
        let acquire = Operation::Acquire { request: Arc::new(asked), explain: false };
        let mut operations = vec![acquire];
        if held.len() > 2 {
            operations.insert(0, Operation::Release(Target::One(held.remove(0))));
        }
        let mut said = String::new();
        for done in engine.operate(&caller, operations).await {
            match done.expect("done") {
                Done::Decided(answer) => {
                    if let Some(id) = answer.id() {
                        held.push(id.clone());
                        said += &format!("\n+{}\n", id.number);
                    }
                }
                done @ (Done::One(_) | Done::Each(_)) => {
                    for (id, answer) in done.into_each() {
                        answer.expect("released");
                        said += &format!("\n-{}\n", id.number);
                    }
                }
            }
        }
        let mut out = std::io::stdout().lock();
        out.write_all(said.as_bytes()).and_then(|()| out.flush()).expect("said");
    }
}

/// From when on a child is let be for a while, and then killed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Since {
    /// Its start: it may be killed while it opens its store.
    Start,
    /// Its first answer, however long a slow machine takes to get there.
    FirstAnswer,
}

/// Starts the child, lets it be for a while, and kills it. What it said it had been answered.
fn live_and_die(directory: &Path, since: Since, span: Duration) -> Vec<(bool, Id)> {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["engine::tests::crash::child", "--exact", "--ignored", "--nocapture"])
        .env(STORE, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a child");
    let out = child.stdout.take().expect("its output");
    let (begun, begin) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut said = Vec::new();
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            // Only whole lines count; the last may have been cut off.
            let Some(number) = line.get(1..).and_then(|number| number.parse().ok()).map(Id) else { continue };
            match line.as_bytes()[0] {
                b'+' => said.push((true, number)),
                b'-' => said.push((false, number)),
                _ => continue,
            }
            let _ = begun.send(());
        }
        said
    });
    if since == Since::FirstAnswer {
        begin.recv().expect("a child that is answered");
    }
    std::thread::sleep(span);
    child.kill().expect("killed");
    child.wait().expect("gone");
    let mut said = reader.join().expect("read");
    // A number that was cut off may be another's.
    said.pop();
    said
}

#[test]
fn every_answer_survives_a_kill_at_any_point() {
    let rounds = std::env::var(ROUNDS).ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(4u64);
    let directory = tempfile::tempdir().expect("a directory");
    let mut answered: BTreeMap<Id, bool> = BTreeMap::new();
    let mut sequence = 0;
    for round in 0..rounds {
        let span = Duration::from_millis((round * 7919) % 700);
        let since = if round % 4 == 0 { Since::Start } else { Since::FirstAnswer };
        for (acquired, id) in live_and_die(directory.path(), since, span) {
            // A lease is acquired once, and released at most once.
            assert!(acquired || answered.get(&id) == Some(&true), "{id} was released and never acquired");
            assert!(answered.insert(id, acquired) != Some(acquired), "{id} was answered twice");
        }
        let store = ReadOnlyFileStore::open(directory.path()).expect("a store");
        let cell = CellName::parse("main").expect("a cell");
        if !store.cells().expect("cells").contains(&cell) {
            // It died before there was a journal.
            assert!(answered.is_empty(), "{} were answered, and the journal is not there", answered.len());
            continue;
        }
        let (past, _) = store.past(&cell).expect("a past");
        let report = verify(&*past, &main_cell(), &UtcDays).expect("verified");
        assert!(report.is_sound(), "{report:?}");
        assert!(report.sequence >= sequence, "the journal has become shorter");
        sequence = report.sequence;
        let recovered = crate::engine::recover::recover(&*past, &main_cell(), None).expect("recovered");
        let ledger = &recovered.ledger;
        for (id, acquired) in &answered {
            let state = ledger.state(*id);
            if *acquired {
                assert!(state.is_some(), "{id} was answered, and is not there");
            } else {
                // One that still waited was cancelled.
                let ended = matches!(state, Some(State::Ended(End::Released | End::Cancelled)));
                assert!(ended, "{id} was released, and is {state:?}");
            }
        }
        for tenant in ["a", "b"] {
            let standing = ledger.standing(recovered.time, "default", tenant).expect("a tenant");
            let held = ledger.leases().filter(|lease| lease.request.tenant == path(tenant));
            let sum: u64 = held.map(|lease| lease.resources().get("cpu").unwrap_or(0)).sum();
            let usage = standing.holdings.iter().find(|holding| holding.resource.as_str() == "cpu");
            assert_eq!(usage.map(|holding| holding.usage), Some(sum));
        }
        let total: u64 = ledger.leases().map(|lease| lease.resources().get("cpu").unwrap_or(0)).sum();
        assert!(total <= 10, "{total} of 10 are held");
    }
    assert!(!answered.is_empty());
}
