//! Random use of the file kind beside the memory kind: they always say the same.

use super::super::MemoryStore;
use super::*;

#[test]
fn files_do_what_memory_does() {
    with_seeds("random::files_do_what_memory_does", 30, |random| {
        let place = Place::with_segments_of(200 + random.below(4000));
        let memory = MemoryStore::default();
        let mut files = place.journal();
        let mut model = memory.open(&cell()).unwrap().journal;
        for _ in 0..150 {
            let (epoch, last) = (model.epoch(), model.last());
            match random.below(12) {
                0..=4 => {
                    let records: Vec<_> = (0..random.below(5)).map(|_| text(random)).collect();
                    let epoch = Epoch((epoch.0 + random.below(2)).saturating_sub(u64::from(random.below(9) == 0)));
                    let after = if random.below(9) == 0 { Sequence(random.below(last.0 + 2)) } else { last };
                    let batch = batch(records);
                    same(files.append(epoch, after, &batch), model.append(epoch, after, &batch));
                }
                5 => same(files.seal_now(), model.seal_now()),
                6 => {
                    let epoch = Epoch(random.below(epoch.0 + 3));
                    same(files.lead(epoch), model.lead(epoch));
                }
                7 => {
                    let at = random.below(last.0 + 2);
                    let chunks = [text(random), text(random)];
                    let chunks = chunks.each_ref().map(String::as_str);
                    let written = write_snapshot(&*files.archive(), at, &chunks);
                    same(written, write_snapshot(&*model.archive(), at, &chunks));
                }
                // Files delete whole segments only, so they may keep more; never less.
                8 => same(files.archive().prune(), model.archive().prune()),
                9 => {
                    if random.below(2) == 0 {
                        files.close().unwrap();
                    } else {
                        drop(files);
                    }
                    let opened = place.open().unwrap();
                    assert_eq!(opened.repairs, []);
                    files = opened.journal;
                }
                10 => assert_eq!(files.reopen().unwrap(), []),
                _ => {
                    let after = random.below(last.0 + 2);
                    match texts(&*model.archive(), after) {
                        Ok(expected) => assert_eq!(texts(&*files.archive(), after).unwrap(), expected),
                        Err(_) => {
                            let _kept_or_not = texts(&*files.archive(), after);
                        }
                    }
                }
            }
            assert_eq!((files.last(), files.epoch()), (model.last(), model.epoch()));
        }
        assert_eq!(recover(&*files.archive()).unwrap(), recover(&*model.archive()).unwrap());
    });
}

fn text(random: &mut Random) -> String {
    let length = if random.below(10) == 0 { 2000 } else { 60 };
    (0..random.below(length)).map(|_| char::from(b'a' + random.below(26) as u8)).collect()
}

fn same<T: PartialEq + std::fmt::Debug>(files: Result<T, StoreError>, memory: Result<T, StoreError>) {
    match (files, memory) {
        (Ok(files), Ok(memory)) => assert_eq!(files, memory),
        (Err(files), Err(memory)) => assert_eq!(files.to_string(), memory.to_string()),
        (files, memory) => panic!("files: {files:?}; memory: {memory:?}"),
    }
}
