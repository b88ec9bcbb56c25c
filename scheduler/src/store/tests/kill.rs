//! A process that is killed while it appends.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::*;

const PATH: &str = "HEADGATE_STORE_OF_CHILD";

/// What the killed process does; it is no test of its own.
#[test]
#[ignore = "started by the test below"]
fn child() {
    let path = std::env::var(PATH).unwrap();
    let store = FileStore::open(Path::new(&path), FileOptions { segment_bytes_max: 100_000 }).unwrap();
    let mut journal = store.open(&cell()).unwrap().journal;
    let mut random = Random(journal.last().0);
    loop {
        let next = journal.last().0 + 1;
        let records = (next..next + 1 + random.below(20)).map(record);
        journal.append(Epoch(1), journal.last(), &batch(records)).unwrap();
        println!("\ndurable {}", journal.last());
    }
}

fn record(sequence: u64) -> Vec<u8> {
    let mut random = Random(sequence);
    let length = random.below(3000);
    random.bytes(length)
}

#[test]
fn what_was_acknowledged_before_a_kill_is_there() {
    let place = Place { directory: TempDir::new().unwrap(), options: FileOptions::default() };
    let mut durable = 0;
    for round in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::tests::kill::child", "--ignored", "--nocapture"])
            .env(PATH, place.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut acknowledged = || lines.find_map(|line| line.strip_prefix("durable ")?.parse::<u64>().ok());
        for _ in 0..20 + 30 * round {
            durable = acknowledged().unwrap();
        }
        let refused = FileStore::open(place.path(), place.options).map(drop).unwrap_err();
        assert!(refused.to_string().contains(&format!("in use by process {};", child.id())), "{refused}");
        child.kill().unwrap();
        child.wait().unwrap();
        while let Some(sequence) = acknowledged() {
            durable = sequence;
        }
        let journal = place.journal();
        assert!(journal.last() >= Sequence(durable), "{} of {durable} are there", journal.last());
        for found in journal.archive().read_after(Sequence(0)).unwrap() {
            let found = found.unwrap();
            assert_eq!(found.bytes, record(found.sequence.0), "sequence {}", found.sequence);
        }
    }
}
