//! Whatever reads what others wrote, one function for each kind: it takes any bytes, and panics where it finds a fault.
//!
//! What is parsed is written and parsed again, where there is a way back, and must be the same. The fuzzer of
//! `scheduler/fuzz` calls these for as long as it is let; the tests here call them with what is whole, and with what was
//! garbled on the way.

use crate::config::{self, ClassShape, Config, ConfigShape, Objects, PoolShape, TenantShape, write_yaml};
use crate::persist::{Record, RecordReader, SnapshotReader, rewritten_by_library, write_snapshot};
use crate::simulate::Trace;
use crate::{grpc, scenario};

#[cfg(test)]
mod tests;

/// A configuration file.
pub fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let checked = config::check("fuzz.yaml", text);
    let parsed = Config::parse("fuzz.yaml", text);
    assert!(parsed.is_ok() || !checked.errors.is_empty(), "it is refused without a reason");
    if let Ok(Config { objects, .. }) = parsed {
        let yaml = written(&objects);
        let again = Config::parse("again.yaml", &yaml).unwrap_or_else(|problems| panic!("{problems}\n{yaml}"));
        same(&again.objects, &objects);
    }
}

/// The file that says the same.
fn written(objects: &Objects) -> String {
    let shape = ConfigShape {
        pools: objects.pools.iter().map(PoolShape::from).collect(),
        classes: objects.classes.iter().map(|class| (class.name.to_string(), ClassShape::from(class).into())).collect(),
        tenants: TenantShape::tree(&objects.tenants),
        ..ConfigShape::default()
    };
    write_yaml(&shape).unwrap_or_else(|error| panic!("{error}"))
}

/// Apart from the order in which sisters are written.
fn same(again: &Objects, objects: &Objects) {
    assert_eq!(again.pools, objects.pools);
    let by_name = |objects: &Objects| {
        let (mut classes, mut tenants) = (objects.classes.clone(), objects.tenants.clone());
        classes.sort_by(|a, b| a.name.cmp(&b.name));
        tenants.sort_by(|a, b| a.path.cmp(&b.path));
        (classes, tenants)
    };
    assert_eq!(by_name(again), by_name(objects));
}

/// A scenario file.
pub fn scenario(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        scenario::garbled::text(text);
    }
}

/// A message of the wire; its first byte stands for its kind.
pub fn message(bytes: &[u8]) {
    grpc::garbled::message(bytes);
}

/// A record of the journal. What is read and written by hand is as the library reads and writes it.
pub fn record(bytes: &[u8]) {
    let mut reader = RecordReader::default();
    let read = reader.read(bytes);
    assert_eq!(read, Record::by_library(bytes));
    if let Ok(record) = read {
        let mut written = Vec::new();
        record.encode(&mut written);
        assert_eq!(written.len(), record.encoded_len());
        assert_eq!(written, record.written_by_library());
        // Now by one who knows the names.
        assert_eq!(reader.read(&written), Ok(record));
    }
}

/// Parts of a snapshot, each after its length in two bytes, the lower first. What is read and written by hand is as the
/// library reads and writes it.
pub fn snapshot(bytes: &[u8]) {
    let (mut reader, mut library) = (SnapshotReader::default(), SnapshotReader::default());
    for part in parts(bytes) {
        let taken = reader.take(part);
        assert_eq!(taken, library.take_by_library(part));
        if taken.is_err() {
            return;
        }
    }
    let read = reader.finish();
    assert_eq!(read, library.finish());
    let Ok((header, snapshot)) = read else { return };
    let mut again = SnapshotReader::default();
    let taken = write_snapshot(&header, &snapshot, |part| {
        assert_eq!(part, rewritten_by_library(part));
        again.take(part)
    });
    assert_eq!(taken, Ok(()));
    assert_eq!(again.finish(), Ok((header, snapshot)));
}

fn parts(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk()?;
        let (part, rest) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
        bytes = rest;
        Some(part)
    })
}

/// A trace; the first byte says which format.
pub fn trace(bytes: &[u8]) {
    let Some((format, text)) = bytes.split_first() else { return };
    let trace = match format % 2 {
        0 => Trace::read_swf("fuzz.swf", text),
        _ => Trace::read_csv("fuzz.csv", text),
    };
    match trace {
        Ok(trace) => assert!(trace.jobs.is_sorted_by_key(|job| job.submit)),
        Err(problems) => assert!(!problems.problems.is_empty(), "it is refused without a reason"),
    }
}
