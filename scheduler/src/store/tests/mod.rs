//! What a store promises, told as stories, then tried at every byte and with random streams.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod batches;
mod damage;
mod faults;
mod files;
mod kill;
mod measure;
mod mounts;
mod power;
mod random;
mod stories;
mod torn;

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{
    Archive, Batch, CellName, Epoch, FileOptions, FileStore, Journal, Opened, Past, Sequence, Store, StoreError,
};

fn cell() -> CellName {
    CellName::parse("main").unwrap()
}

fn batch<R: AsRef<[u8]>>(records: impl IntoIterator<Item = R>) -> Batch {
    let mut batch = Batch::default();
    for record in records {
        batch.push(record.as_ref()).unwrap();
    }
    batch
}

/// Appends to the journal's end, in its epoch.
fn append(journal: &mut dyn Journal, records: &[&str]) -> Result<Sequence, StoreError> {
    let (epoch, last) = (journal.epoch(), journal.last());
    journal.append(epoch, last, &batch(records))
}

/// The records after a sequence, as text.
fn texts(past: &dyn Past, after: u64) -> Result<Vec<String>, StoreError> {
    let mut next = after;
    past.read_after(Sequence(after))?
        .map(|record| {
            let record = record?;
            next += 1;
            assert_eq!(record.sequence, Sequence(next), "no gap, no repeat");
            Ok(String::from_utf8(record.bytes).unwrap())
        })
        .collect()
}

fn write_snapshot(archive: &dyn Archive, at: u64, chunks: &[&str]) -> Result<(), StoreError> {
    let mut writer = archive.write_snapshot(Sequence(at))?;
    for chunk in chunks {
        writer.write(chunk.as_bytes())?;
    }
    writer.finish()
}

fn read_snapshot(past: &dyn Past, at: u64) -> Result<Vec<String>, StoreError> {
    past.read_snapshot(Sequence(at))?.map(|chunk| Ok(String::from_utf8(chunk?).unwrap())).collect()
}

/// A place for a file store, with segments so small that a few records fill one.
struct Place {
    directory: TempDir,
    options: FileOptions,
}

impl Place {
    fn new() -> Self {
        Self::with_segments_of(64 * 1024)
    }

    fn with_segments_of(segment_bytes_max: u64) -> Self {
        Self { directory: directory(), options: FileOptions { segment_bytes_max } }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn store(&self) -> FileStore {
        FileStore::open(self.path(), self.options).unwrap()
    }

    fn open(&self) -> Result<Opened, StoreError> {
        self.store().open(&cell())
    }

    fn journal(&self) -> Box<dyn Journal> {
        self.open().unwrap().journal
    }

    /// Everything, as recovery reads it: the newest snapshot's chunks, then the records after it.
    fn recover(&self) -> Result<Vec<String>, StoreError> {
        let archive = self.open()?.journal.archive();
        recover(archive.as_ref())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join("main").join(name)
    }

    fn segment(&self, first: u64) -> PathBuf {
        self.file(&format!("journal/{first:020}.seg"))
    }

    fn snapshot(&self, at: u64) -> PathBuf {
        self.file(&format!("snapshots/{at:020}.snap"))
    }

    fn mark(&self) -> PathBuf {
        self.file("journal/DURABLE")
    }

    fn names(&self, directory: &str) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.file(directory))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// The same files in another place.
    fn copy(&self) -> Self {
        let copy = Self::with_segments_of(self.options.segment_bytes_max);
        for (path, bytes) in files(self.path()) {
            put(&copy.path().join(path), &bytes);
        }
        copy
    }
}

/// In memory where there is such a place: most stories open and sync thousands of times, and need no real disk.
fn directory() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

fn recover(past: &dyn Past) -> Result<Vec<String>, StoreError> {
    let newest = past.snapshots()?.last().copied().unwrap_or_default();
    let mut all = if newest == Sequence(0) { Vec::new() } else { read_snapshot(past, newest.0)? };
    all.extend(texts(past, newest.0)?);
    Ok(all)
}

/// All files below a directory, by their path in it.
fn files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push((path.strip_prefix(directory).unwrap().to_owned(), fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// The corruption that an opening or reading was refused for: its file, and its words.
fn corruption<T>(result: Result<T, StoreError>) -> super::Corruption {
    match result {
        Ok(_) => panic!("damage was not found"),
        Err(StoreError::Corrupt(corruption)) => *corruption,
        Err(other) => panic!("not told as damage: {other}"),
    }
}

/// Numbers that look random and come again with the same seed (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn bytes(&mut self, length: u64) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}

/// Runs `story` for some seeds, or for the one in HEADGATE_SEED; a failure prints the command that repeats it.
fn with_seeds(test: &str, count: u64, story: impl Fn(&mut Random)) {
    struct Told<'a>(&'a str, u64);
    impl Drop for Told<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                let Self(test, seed) = self;
                eprintln!(
                    "to repeat: HEADGATE_SEED={seed} cargo test -p headgate-scheduler --lib store::tests::{test}"
                );
            }
        }
    }
    let seeds = match std::env::var("HEADGATE_SEED") {
        Ok(seed) => {
            let seed = seed.parse().unwrap();
            seed..seed + 1
        }
        Err(_) => 0..count,
    };
    for seed in seeds {
        let _told = Told(test, seed);
        story(&mut Random(seed));
    }
}
