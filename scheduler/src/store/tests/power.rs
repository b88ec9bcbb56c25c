//! Power cuts, on a model of a disk that keeps of what was not synced whatever it likes: any sectors of any write,
//! any first part of the changes to directories; and that loses for good, though memory still shows it, what it
//! failed to sync.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use super::super::file::disk::{Change, watch};
use super::*;

/// Contents of one file, whatever its name.
#[derive(Clone, Default)]
struct Inode {
    durable: Vec<u8>,
    pending: Vec<Write>,
}

#[derive(Clone)]
enum Write {
    Bytes(u64, Vec<u8>),
    Length(u64),
}

#[derive(Clone)]
enum Naming {
    Add(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

#[derive(Default)]
struct Disk {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    pending_names: Vec<Naming>,
}

impl Disk {
    fn perform(&mut self, change: &Change<'_>) {
        match *change {
            Change::CreateDirectory { path } => assert!(path.parent().is_some_and(Path::is_dir)),
            Change::Create { path } => {
                self.inodes.push(Inode::default());
                self.name(Naming::Add(path.to_owned(), self.inodes.len() - 1));
            }
            Change::Rename { from, to } => self.name(Naming::Rename(from.to_owned(), to.to_owned())),
            Change::Remove { path } => self.name(Naming::Remove(path.to_owned())),
            Change::Write { path, offset, bytes, .. } => {
                self.inode(path).pending.push(Write::Bytes(offset, bytes.to_owned()));
            }
            Change::SetLen { path, length } => self.inode(path).pending.push(Write::Length(length)),
            Change::Sync { path } => {
                let inode = self.inode(path);
                let pending = std::mem::take(&mut inode.pending);
                pending.iter().for_each(|write| write.apply(&mut inode.durable));
            }
            Change::SyncDirectory { path } => {
                let (synced, others) =
                    std::mem::take(&mut self.pending_names).into_iter().partition(|naming| naming.within(path));
                let synced: Vec<Naming> = synced;
                synced.iter().for_each(|naming| naming.apply(&mut self.durable_names));
                self.pending_names = others;
            }
        }
    }

    fn name(&mut self, naming: Naming) {
        naming.apply(&mut self.names);
        self.pending_names.push(naming);
    }

    fn inode(&mut self, path: &Path) -> &mut Inode {
        &mut self.inodes[self.names[path]]
    }

    /// A sync that fails: parts of what was pending get through, the rest never will.
    fn fail_to_sync(&mut self, path: &Path, random: &mut Random) {
        let inode = self.inode(path);
        inode.durable = inode.torn(random);
        inode.pending.clear();
    }

    /// What a power cut leaves.
    fn cut(&self, random: &mut Random) -> Vec<(PathBuf, Vec<u8>)> {
        let mut names = self.durable_names.clone();
        let kept = random.below(self.pending_names.len() as u64 + 1) as usize;
        self.pending_names[..kept].iter().for_each(|naming| naming.apply(&mut names));
        names.iter().map(|(path, inode)| (path.clone(), self.inodes[*inode].torn(random))).collect()
    }
}

impl Inode {
    fn torn(&self, random: &mut Random) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        // Nothing, everything, or anything.
        let mood = random.below(4);
        let mut kept = || match mood {
            0 => false,
            1 => true,
            _ => random.below(2) == 0,
        };
        for write in &self.pending {
            match write {
                Write::Length(_) => {
                    if kept() {
                        write.apply(&mut bytes);
                    }
                }
                Write::Bytes(offset, written) => {
                    let mut at = 0;
                    while at < written.len() {
                        let sector = 512 - (*offset as usize + at) % 512;
                        let end = (at + sector).min(written.len());
                        if kept() {
                            Write::Bytes(offset + at as u64, written[at..end].to_vec()).apply(&mut bytes);
                        }
                        at = end;
                    }
                }
            }
        }
        bytes
    }
}

impl Write {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Length(length) => to.resize(*length as usize, 0),
            Self::Bytes(offset, bytes) => {
                let end = *offset as usize + bytes.len();
                to.resize(to.len().max(end), 0);
                to[*offset as usize..end].copy_from_slice(bytes);
            }
        }
    }
}

impl Naming {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Add(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Self::Remove(path) => {
                names.remove(path);
            }
        }
    }

    fn within(&self, directory: &Path) -> bool {
        let (Self::Add(path, _) | Self::Rename(_, path) | Self::Remove(path)) = self;
        path.parent() == Some(directory)
    }
}

/// What the driver has done so far, as the watcher sees it when the power goes.
#[derive(Default)]
struct Done {
    /// By sequence: what was acknowledged.
    acknowledged: Vec<Vec<u8>>,
    /// Whatever was tried at a sequence, acknowledged or not.
    tried: Vec<(u64, Vec<u8>)>,
    /// Where the newest snapshot stands that was finished.
    folded: u64,
    disk: Disk,
    cuts: Vec<Cut>,
    /// The number of failures still to come.
    failures: u64,
}

/// A power cut: the files it left, and what had been acknowledged and tried by then.
struct Cut {
    files: Vec<(PathBuf, Vec<u8>)>,
    acknowledged: usize,
    tried: usize,
    folded: u64,
}

fn watch_disk(done: &Rc<RefCell<Done>>, mut random: Random) {
    let done = done.clone();
    watch::with(move |change| {
        let mut done = done.borrow_mut();
        if random.below(6) == 0 {
            let files = done.disk.cut(&mut random);
            let (acknowledged, tried, folded) = (done.acknowledged.len(), done.tried.len(), done.folded);
            done.cuts.push(Cut { files, acknowledged, tried, folded });
        }
        if done.failures > 0 && random.below(40) == 0 {
            done.failures -= 1;
            match change {
                Change::Sync { path } => done.disk.fail_to_sync(path, &mut random),
                Change::Write { path, offset, bytes, file } => {
                    let part = &bytes[..random.below(bytes.len() as u64 + 1) as usize];
                    file.write_all_at(part, *offset)?;
                    done.disk.perform(&Change::Write { path, offset: *offset, bytes: part, file });
                }
                _ => {}
            }
            return Err(io::Error::from_raw_os_error(5));
        }
        done.disk.perform(change);
        Ok(())
    });
}

fn live(place: &Place, done: &Rc<RefCell<Done>>, random: &mut Random) {
    let mut journal = None;
    for _ in 0..40 {
        let Some(open) = &mut journal else {
            journal = open_journal(place, done);
            continue;
        };
        let archive = open.archive();
        match random.below(12) {
            0 => drop(open.seal_now()),
            1 => {
                let at = done.borrow().acknowledged.len() as u64;
                drop(fold(&*archive, at, done));
            }
            2 => {
                drop(archive);
                let journal = journal.take().unwrap();
                if random.below(2) == 0 {
                    let _ = journal.close();
                }
            }
            _ => {
                let records: Vec<_> = (0..1 + random.below(4)).map(|_| record(random)).collect();
                if append_all(&mut **open, &records, done).is_err() {
                    if open.reopen().is_ok() {
                        catch_up(&**open, done);
                    } else {
                        drop(archive);
                        journal = None;
                    }
                }
            }
        }
    }
}

fn record(random: &mut Random) -> Vec<u8> {
    let length = [10, 100, 700, 3000][random.below(4) as usize];
    let length = random.below(length);
    if random.below(6) == 0 { vec![0; length as usize] } else { random.bytes(length) }
}

fn append_all(journal: &mut dyn Journal, records: &[Vec<u8>], done: &RefCell<Done>) -> Result<(), StoreError> {
    let last = journal.last();
    for (index, record) in records.iter().enumerate() {
        done.borrow_mut().tried.push((last.0 + 1 + index as u64, record.clone()));
    }
    let epoch = journal.epoch();
    journal.append(epoch, last, &batch(records))?;
    done.borrow_mut().acknowledged.extend_from_slice(records);
    Ok(())
}

/// A snapshot that tells only what it stands for.
fn fold(archive: &dyn Archive, at: u64, done: &RefCell<Done>) -> Result<(), StoreError> {
    let records = done.borrow().acknowledged[..at as usize].to_vec();
    let mut writer = archive.write_snapshot(Sequence(at))?;
    for record in &records {
        // An empty chunk is left out, so that each gets something in front.
        writer.write(&[b"-", &record[..]].concat())?;
    }
    writer.finish()?;
    done.borrow_mut().folded = at;
    archive.prune()
}

fn open_journal(place: &Place, done: &RefCell<Done>) -> Option<Box<dyn Journal>> {
    let store = FileStore::open(place.path(), place.options).ok()?;
    let journal = match store.open(&cell()) {
        Ok(opened) => opened.journal,
        Err(StoreError::Corrupt(told)) => panic!("no damage was done: {told}"),
        Err(_) => return None,
    };
    catch_up(&*journal, done);
    Some(journal)
}

/// What opening finds durable counts as acknowledged from then on.
fn catch_up(journal: &dyn Journal, done: &RefCell<Done>) {
    let all = contents(&*journal.archive());
    let mut done = done.borrow_mut();
    assert!(all.starts_with(&done.acknowledged), "acknowledged records are missing");
    done.acknowledged = all;
}

fn contents(past: &dyn Past) -> Vec<Vec<u8>> {
    let newest = past.snapshots().unwrap().last().copied().unwrap_or_default();
    let mut all = Vec::new();
    if newest > Sequence(0) {
        all.extend(past.read_snapshot(newest).unwrap().map(|chunk| chunk.unwrap()[1..].to_vec()));
    }
    assert_eq!(all.len() as u64, newest.0);
    all.extend(past.read_after(newest).unwrap().map(|record| record.unwrap().bytes));
    all
}

#[test]
fn a_power_cut_at_any_moment_loses_nothing_that_was_acknowledged() {
    with_seeds("power::a_power_cut_at_any_moment_loses_nothing_that_was_acknowledged", 40, |random| {
        let place = Place::with_segments_of(300 + random.below(12_000));
        let failures = if random.below(2) == 0 { 0 } else { 10 };
        let done = Rc::new(RefCell::new(Done { failures, ..Done::default() }));
        watch_disk(&done, Random(random.next()));
        live(&place, &done, random);
        watch::none();
        let done = done.take();
        assert!(done.cuts.len() > 10);
        for cut in &done.cuts {
            check(&place, cut, &done);
        }
    });
}

fn check(place: &Place, cut: &Cut, done: &Done) {
    let after = Place::with_segments_of(place.options.segment_bytes_max);
    for (path, bytes) in &cut.files {
        put(&after.path().join(path.strip_prefix(place.path()).unwrap()), bytes);
    }
    let mut journal = after.open().unwrap_or_else(|error| panic!("it must open after a power cut: {error}")).journal;
    let all = contents(&*journal.archive());
    let newest = journal.archive().snapshots().unwrap().last().copied().unwrap_or_default();
    assert!(newest >= Sequence(cut.folded), "a snapshot that was finished is gone");
    assert!(all.len() >= cut.acknowledged, "{} of {} are there", all.len(), cut.acknowledged);
    for (index, record) in all.iter().enumerate() {
        if index < cut.acknowledged {
            assert_eq!(record, &done.acknowledged[index]);
        } else {
            let tried = &done.tried[..cut.tried];
            assert!(tried.iter().any(|(at, bytes)| *at == index as u64 + 1 && bytes == record));
        }
    }
    append(&mut *journal, &["on it goes"]).unwrap();
    journal.close().unwrap();
    let journal = after.open().unwrap();
    assert_eq!(journal.repairs, []);
    let again = contents(&*journal.journal.archive());
    assert_eq!(again.len(), all.len() + 1);
}
