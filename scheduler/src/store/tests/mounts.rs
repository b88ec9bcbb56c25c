//! A disk that is really full, and one that is really read only. They need leave to mount; where there is none, they
//! say that they were skipped.

use std::io::ErrorKind;
use std::process::Command;

use super::super::ReadOnlyFileStore;
use super::*;

struct Mount(PathBuf);

impl Mount {
    fn new(test: &str, arguments: &[&str], path: &Path) -> Option<Self> {
        let mounted = Command::new("mount").args(arguments).arg(path).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(path.to_owned())),
            other => {
                eprintln!("SKIPPED {test}: cannot mount here: {other:?}");
                None
            }
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let place = Place::new();
    let test = "a_full_disk_refuses_and_loses_nothing";
    let Some(_mount) = Mount::new(test, &["-t", "tmpfs", "-o", "size=600k", "tmpfs"], place.path()) else {
        return;
    };
    put(&place.path().join("filler"), &[1; 100_000]);
    let mut journal = place.journal();
    let record = "x".repeat(900);
    let error = loop {
        match append(&mut *journal, &[&record, &record]) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    let acknowledged = journal.last();
    let StoreError::Io { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.kind(), ErrorKind::StorageFull);
    assert!(error.to_string().ends_with("; make room there"), "{error}");
    assert!(append(&mut *journal, &[&record, &record]).is_err(), "it is still full");
    assert_eq!(journal.last(), acknowledged);
    let archive = journal.archive();
    assert_eq!(texts(&*archive, 0).unwrap().len() as u64, acknowledged.0);
    let snapshot = write_snapshot(&*archive, acknowledged.0, &[&"y".repeat(100_000)]).unwrap_err();
    assert!(matches!(snapshot, StoreError::Io { .. }), "{snapshot}");
    assert_eq!(place.names("snapshots"), [""; 0]);
    fs::remove_file(place.path().join("filler")).unwrap();
    append(&mut *journal, &[&record, &record]).unwrap();
    drop((journal, archive));
    let recovered = place.recover().unwrap();
    assert_eq!(recovered.len() as u64, acknowledged.0 + 2);
    assert!(recovered.iter().all(|found| *found == record));
}

#[test]
fn a_read_only_disk_can_be_looked_at() {
    let place = Place::new();
    append(&mut *place.journal(), &["one"]).unwrap();
    let path = place.path().to_str().unwrap().to_owned();
    let test = "a_read_only_disk_can_be_looked_at";
    let Some(_mount) = Mount::new(test, &["--bind", "-o", "ro", &path], place.path()) else {
        return;
    };
    let refused = FileStore::open(place.path(), place.options).map(drop).unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!(
            "cannot open {path}/LOCK: Read-only file system (os error 30); the store needs a place that can be written to"
        )
    );
    let store = ReadOnlyFileStore::open(place.path()).unwrap();
    let (past, _) = store.past(&cell()).unwrap();
    assert_eq!(recover(&*past).unwrap(), ["one"]);
}
