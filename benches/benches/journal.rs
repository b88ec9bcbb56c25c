//! What it costs to write something down: records encoded and decoded, and batches of them made durable.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use headgate_benches::{Cell, Size, record, sizes};
use headgate_scheduler::persist::{Record, RecordReader, RecordWriter};
use headgate_scheduler::store::{Batch, CellName, FileOptions, FileStore, Journal, Store};
use tempfile::TempDir;

/// What is written before another directory is taken, so that no run fills a disk.
const BYTES_MAX: usize = 256 * 1024 * 1024;

fn one() -> Record {
    record(&mut Cell::new(Size { leaves: 16, leases: 32, ..Size::default() }), 1)
}

/// A record to bytes, and back.
fn records(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("record");
    let record = one();
    let mut writer = RecordWriter::default();
    group.throughput(Throughput::Bytes(record.encoded_len() as u64));
    group.bench_function("encode", |bencher| bencher.iter(|| writer.write(black_box(&record)).len()));
    let mut bytes = Vec::new();
    record.encode(&mut bytes);
    group.bench_function("decode", |bencher| {
        let mut reader = RecordReader::default();
        bencher.iter(|| reader.read(black_box(&bytes)).expect("a record"));
    });
    group.finish();
}

/// A journal in a directory of its own.
struct Written {
    journal: Box<dyn Journal>,
    bytes: usize,
    _store: FileStore,
    _directory: TempDir,
}

impl Written {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let store = FileStore::open(directory.path(), FileOptions::default()).expect("a store");
        let mut journal = store.open(&CellName::parse("main").expect("a name")).expect("a journal").journal;
        let epoch = journal.epoch().next();
        journal.lead(epoch).expect("nobody else leads");
        Self { journal, bytes: 0, _store: store, _directory: directory }
    }

    fn append(&mut self, batch: &Batch) {
        self.bytes += batch.bytes();
        let after = self.journal.last();
        self.journal.append(self.journal.epoch(), after, batch).expect("appended");
    }
}

/// One write and one sync, of so many records.
fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append");
    group.sample_size(20);
    let mut bytes = Vec::new();
    one().encode(&mut bytes);
    for records in sizes([1, 16, 256, 4_096, 16_384], 16) {
        let mut batch = Batch::default();
        for _ in 0..records {
            batch.push(&bytes).expect("a batch takes as many");
        }
        group.throughput(Throughput::Elements(records));
        group.bench_function(BenchmarkId::new("records", records), |bencher| {
            bencher.iter_custom(|times| {
                let (mut written, mut spent) = (Written::new(), Duration::ZERO);
                for _ in 0..times {
                    if written.bytes > BYTES_MAX {
                        written = Written::new();
                    }
                    let started = Instant::now();
                    written.append(&batch);
                    spent += started.elapsed();
                }
                spent
            });
        });
    }
    group.finish();
}

criterion_group!(benches, records, append);
criterion_main!(benches);
