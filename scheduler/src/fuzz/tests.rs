//! Each of the functions here, with what is whole and with what was garbled on the way.

use std::fs;
use std::path::Path;
use std::time::Duration;

use headgate_ledger::{Amounts, Ledger, Name, Request, RequestId, Resource, TenantPath, Time, UtcDays, default_cell};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;

use crate::config::{Config, EMBEDDED, EMBEDDED_CLASSES};
use crate::grpc::garbled::tests::messages;
use crate::persist::tests::generated;
use crate::persist::{SnapshotHeader, write_snapshot};

/// A kind of what is read.
struct Target {
    /// Its name among the fuzzer's targets.
    name: &'static str,
    /// What reads it.
    read: fn(&[u8]),
    /// Some that are whole.
    whole: fn() -> Vec<Vec<u8>>,
    /// How often one of them is garbled and read: less where it takes longer.
    times: usize,
}

const TARGETS: [Target; 6] = [
    Target { name: "configuration", read: super::configuration, whole: configurations, times: 100 },
    Target { name: "scenario", read: super::scenario, whole: scenarios, times: 300 },
    Target { name: "message", read: super::message, whole: messages, times: 20_000 },
    Target { name: "record", read: super::record, whole: records, times: 5_000 },
    Target { name: "snapshot", read: super::snapshot, whole: snapshots, times: 300 },
    Target { name: "trace", read: super::trace, whole: traces, times: 2_000 },
];

fn configurations() -> Vec<Vec<u8>> {
    [EMBEDDED, EMBEDDED_CLASSES].map(|text| text.as_bytes().to_vec()).into()
}

fn scenarios() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/examples/scenarios");
    let files = fs::read_dir(folder).expect("a folder").map(|file| file.expect("a file").path());
    let mut stories: Vec<_> = files.filter(|file| file.extension().is_some_and(|kind| kind == "yaml")).collect();
    stories.sort();
    stories.into_iter().map(|file| fs::read(file).expect("a story")).collect()
}

fn records() -> Vec<Vec<u8>> {
    let mut runner = TestRunner::deterministic();
    let record = generated::record();
    let encoded = (0..200).map(|_| {
        let mut bytes = Vec::new();
        record.new_tree(&mut runner).expect("a record").current().encode(&mut bytes);
        bytes
    });
    encoded.collect()
}

/// A ledger with leases, and one more request than there is room for.
fn snapshots() -> Vec<Vec<u8>> {
    let config = Config::embedded().expect("a configuration");
    let mut ledger = Ledger::new();
    let mut now = Time::EPOCH;
    let configured = ledger.configure(now, config.to_changes()).expect("configured");
    ledger.post(now, &configured.entry);
    for n in 0..40 {
        now = now.after(Duration::from_secs(1));
        let amounts = Amounts::new([(Resource::parse("cpu").expect("a resource"), 4000)]).expect("amounts");
        let id = RequestId::parse(&format!("r-{n}")).expect("an id");
        let tenant = TenantPath::parse(["acme/ml", "acme/data"][n % 2]).expect("a path");
        let request = Request::new(id, tenant, Name::parse("default").expect("a name"), amounts);
        if let Ok(entry) = ledger.admit(now, &request.into()).map(|decision| decision.entry) {
            entry.iter().for_each(|entry| ledger.post(now, entry));
        }
        while let Some(entry) = ledger.due(now, &UtcDays) {
            ledger.post(now, &entry);
        }
    }
    let header = SnapshotHeader { cell: default_cell(), sequence: 99, time: now, digest: ledger.digest() };
    let mut parts = Vec::new();
    let written = write_snapshot(&header, &ledger.snapshot(), |part| {
        let length = u16::try_from(part.len())?;
        parts.extend(length.to_le_bytes());
        parts.extend(part);
        Ok::<_, std::num::TryFromIntError>(())
    });
    written.expect("a small snapshot");
    vec![parts]
}

fn traces() -> Vec<Vec<u8>> {
    let swf = "\0; UnixStartTime: 749457803\n1 10.5 -1 10 -1 -1 -1 8 -1 -1 1 7 -1 -1 -1 -1 -1 -1\n\
               2 20 -1 10 4 -1 -1 8 60 -1 1 3 1 -1 -1 -1 -1 -1\n";
    let csv =
        "\u{1}id,tenant,submit,duration,priority,cpu,nvidia.com/gpu\na,acme/ml,0,90.5,5,500m,1\n\"b\",acme,1,10,,2,\n";
    [swf, csv].map(|text| text.as_bytes().to_vec()).into()
}

/// The same numbers every time (xorshift64*, Vigna 2016).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize
    }

    fn garble(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.next() % 4 {
            let at = self.next() % bytes.len();
            match self.next() % 3 {
                0 => bytes[at] = self.next() as u8,
                1 => bytes[at] ^= 1 << (self.next() % 8),
                _ => bytes.insert(at, [0xff, 0x80, 0x7f, 0][self.next() % 4]),
            }
        }
    }
}

#[test]
fn what_is_whole_is_read_and_what_is_garbled_is_read_or_refused() {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for Target { name: _, read, whole, times } in TARGETS {
        let whole = whole();
        whole.iter().for_each(|bytes| read(bytes));
        for n in 0..times {
            let mut bytes = whole[n % whole.len()].clone();
            numbers.garble(&mut bytes);
            read(&bytes);
        }
    }
}

/// What the fuzzer begins with.
#[test]
#[ignore = "writes files, for `just fuzz`"]
fn seeds() {
    let folder = std::env::var("HEADGATE_FUZZ_SEEDS").expect("HEADGATE_FUZZ_SEEDS names a folder");
    for Target { name, whole, .. } in TARGETS {
        let folder = Path::new(&folder).join(name);
        fs::create_dir_all(&folder).expect("a folder");
        for (n, bytes) in whole().iter().enumerate() {
            fs::write(folder.join(format!("seed-{n}")), bytes).expect("a file");
        }
    }
}
