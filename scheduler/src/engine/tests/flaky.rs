//! A store that fails when it is told to.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::store::{
    Archive, Batch, CellName, Epoch, Journal, MemoryStore, Opened, Repair, Sequence, Store, StoreError,
};

/// What the store does with the next appends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mood {
    /// It takes them.
    #[default]
    Well,
    /// It refuses them; nothing of them is there.
    Refusing,
    /// It fails, and what of them is there is found out at reopening: all of it.
    FailingAfter,
    /// It fails, and nothing of them is there.
    FailingBefore,
    /// It does not come back.
    Stalling,
}

#[derive(Default)]
struct Orders {
    mood: Mutex<(Mood, u64)>,
    changed: Condvar,
}

/// A memory store in a mood.
#[derive(Clone, Default)]
pub(super) struct FlakyStore {
    inside: MemoryStore,
    orders: Arc<Orders>,
}

impl FlakyStore {
    /// From now on the store is in this mood.
    pub(super) fn be(&self, mood: Mood) {
        self.orders.mood.lock().0 = mood;
        self.orders.changed.notify_all();
    }

    /// Waits until this many appends have been tried in all.
    pub(super) fn wait_for_appends(&self, count: u64) {
        let mut mood = self.orders.mood.lock();
        while mood.1 < count {
            self.orders.changed.wait(&mut mood);
        }
    }

    pub(super) fn appends(&self) -> u64 {
        self.orders.mood.lock().1
    }
}

impl Store for FlakyStore {
    fn open(&self, cell: &CellName) -> Result<Opened, StoreError> {
        let Opened { journal, repairs } = self.inside.open(cell)?;
        let journal = Box::new(FlakyJournal { inside: journal, orders: self.orders.clone(), poisoned: false });
        Ok(Opened { journal, repairs })
    }
}

struct FlakyJournal {
    inside: Box<dyn Journal>,
    orders: Arc<Orders>,
    poisoned: bool,
}

fn io() -> StoreError {
    StoreError::Io {
        operation: crate::store::Operation::Write,
        path: "flaky".into(),
        source: std::io::Error::from(std::io::ErrorKind::StorageFull),
    }
}

impl Journal for FlakyJournal {
    fn last(&self) -> Sequence {
        self.inside.last()
    }

    fn epoch(&self) -> Epoch {
        self.inside.epoch()
    }

    fn lead(&mut self, epoch: Epoch) -> Result<(), StoreError> {
        self.inside.lead(epoch)
    }

    fn append(&mut self, epoch: Epoch, after: Sequence, batch: &Batch) -> Result<Sequence, StoreError> {
        let mut mood = self.orders.mood.lock();
        mood.1 += 1;
        self.orders.changed.notify_all();
        while mood.0 == Mood::Stalling {
            self.orders.changed.wait(&mut mood);
        }
        let poisoned = |durable| StoreError::Poisoned { durable, cause: "told to fail".into() };
        if self.poisoned {
            return Err(poisoned(self.last()));
        }
        match mood.0 {
            Mood::Well | Mood::Stalling => self.inside.append(epoch, after, batch),
            Mood::Refusing => Err(io()),
            Mood::FailingAfter => {
                self.poisoned = true;
                self.inside.append(epoch, after, batch)?;
                Err(poisoned(after))
            }
            Mood::FailingBefore => {
                self.poisoned = true;
                Err(poisoned(after))
            }
        }
    }

    fn seal_now(&mut self) -> Result<Sequence, StoreError> {
        self.inside.seal_now()
    }

    fn reopen(&mut self) -> Result<Vec<Repair>, StoreError> {
        match self.orders.mood.lock().0 {
            Mood::Well | Mood::Stalling => {
                self.poisoned = false;
                self.inside.reopen()
            }
            Mood::Refusing | Mood::FailingAfter | Mood::FailingBefore => Err(io()),
        }
    }

    fn archive(&self) -> Arc<dyn Archive> {
        self.inside.archive()
    }

    fn close(self: Box<Self>) -> Result<(), StoreError> {
        self.inside.close()
    }
}
