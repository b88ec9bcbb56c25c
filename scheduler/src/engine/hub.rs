//! Who is told what: the recent events of a cell, and those who watch.
//!
//! One side tells, a batch at a time, of what is durable; it never waits for those who listen. Each of them has a queue
//! of its own, which it is cut off from when it does not keep up. What was told lately is kept for those who resume; where
//! nobody has watched for as long as that goes back, there is nobody to resume, and nothing is told or kept.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use headgate_ledger::{Holder, Id, TenantPath};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::caller::Scope;
use super::events::{Event, Happened};

/// Ids that one watch may name.
pub const WATCHED_IDS_MAX: usize = 1024;

/// What is watched: that which matches all that is said.
#[derive(Clone, Debug)]
pub struct Filter {
    /// This tenant, and all below it.
    pub tenant: Option<TenantPath>,
    /// What this holder holds, or held until just now.
    pub holder: Option<Holder>,
    /// These; empty: any.
    pub ids: Vec<Id>,
    /// What the caller may see.
    pub scope: Scope,
}

impl Filter {
    /// All that may be seen.
    pub fn all(scope: Scope) -> Self {
        Self { tenant: None, holder: None, ids: Vec::new(), scope }
    }

    pub(super) fn matches(&self, id: Id, tenant: &TenantPath, holders: [Option<&Holder>; 2]) -> bool {
        (self.ids.is_empty() || self.ids.contains(&id))
            && self.holder.as_ref().is_none_or(|holder| holders.contains(&Some(holder)))
            && self.tenant.as_ref().is_none_or(|path| path.covers(tenant.as_str()))
            && self.scope.covers(tenant)
    }

    fn matches_event(&self, event: &Event) -> bool {
        let after = &event.after;
        self.matches(after.id(), after.tenant(), [after.holder(), event.held_before.as_ref()])
    }

    /// What of it is watched. Where that is all of it, as it mostly is, many who watch share it: each of them may be a thousand
    /// messages behind.
    fn of(&self, happened: &Arc<Happened>) -> Option<Arc<Happened>> {
        let watched = happened.events.iter().filter(|event| self.matches_event(event));
        let count = watched.clone().count();
        match count {
            0 => None,
            _ if count == happened.events.len() => Some(happened.clone()),
            _ => Some(Arc::new(Happened { sequence: happened.sequence, events: watched.cloned().collect() })),
        }
    }
}

/// Why a watch was ended by the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// It did not keep up. It may resume after what it has received.
    Slow,
    /// The cell is not served here any more.
    Closing,
}

/// A cell's events and those who watch.
#[derive(Debug)]
pub(super) struct Hub {
    inner: Mutex<Inner>,
    /// All up to this number has been told.
    told: AtomicU64,
    events_max: usize,
    queued_max: usize,
}

#[derive(Debug)]
struct Inner {
    recent: VecDeque<Arc<Happened>>,
    /// Events in `recent`.
    events: usize,
    /// Events since anybody watched last.
    unwatched: usize,
    /// All that happened after this number is in `recent`.
    floor: u64,
    watchers: HashMap<u64, Watcher>,
    next: u64,
    /// By the narrowest thing that each names.
    by_id: HashMap<Id, Vec<u64>>,
    by_holder: HashMap<Holder, Vec<u64>>,
    by_tenant: HashMap<TenantPath, Vec<u64>>,
    closed: bool,
}

#[derive(Debug)]
struct Watcher {
    filter: Filter,
    /// What happened up to here it has been told otherwise.
    after: u64,
    queue: mpsc::Sender<Arc<Happened>>,
    dropped: Arc<OnceLock<Dropped>>,
}

/// What cannot be resumed after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLongAgo {
    /// The oldest number that can be.
    pub(super) oldest: u64,
}

impl Hub {
    /// A hub that has told all up to `told`, and keeps up to `events_max` events for those who resume; a watcher may be
    /// `queued_max` messages behind.
    pub(super) fn new(told: u64, events_max: usize, queued_max: usize) -> Self {
        let inner = Inner {
            recent: VecDeque::new(),
            events: 0,
            unwatched: 0,
            floor: told,
            watchers: HashMap::new(),
            next: 0,
            by_id: HashMap::new(),
            by_holder: HashMap::new(),
            by_tenant: HashMap::new(),
            closed: false,
        };
        Self { inner: Mutex::new(inner), told: AtomicU64::new(told), events_max, queued_max }
    }

    /// Begins with what happens after `told`.
    pub(super) fn begin(&self, told: u64) {
        self.inner.lock().floor = told;
        self.told.store(told, Ordering::Release);
    }

    /// Tells of all that happened up to `last`. Returns how many were cut off.
    pub(super) fn tell(&self, happened: Vec<Happened>, last: u64) -> u64 {
        let mut inner = self.inner.lock();
        let mut dropped = 0;
        for happened in happened.into_iter().map(Arc::new) {
            dropped += inner.send(&happened);
            inner.keep(happened, self.events_max);
        }
        // Under the lock: whoever comes next finds all up to here in `recent`.
        self.told.store(last, Ordering::Release);
        dropped
    }

    /// Whether what happens up to `last` is to be told. Where it is not, nobody can resume before it.
    pub(super) fn notes(&self, last: u64) -> bool {
        let mut inner = self.inner.lock();
        let notes = !inner.watchers.is_empty() || inner.unwatched <= self.events_max;
        if !notes {
            (inner.recent, inner.events, inner.floor) = (VecDeque::new(), 0, last);
        }
        notes
    }

    /// Somebody is going to look, and then to listen to what happens after what it sees.
    pub(super) fn expect(&self) {
        self.inner.lock().unwatched = 0;
    }

    /// Whether anybody watches.
    pub(super) fn is_watched(&self) -> bool {
        !self.inner.lock().watchers.is_empty()
    }

    /// All up to this number has been told.
    pub(super) fn told(&self) -> u64 {
        self.told.load(Ordering::Acquire)
    }

    /// Listens to what happens after `after`, without a gap and without a repeat. `known` is the last number that
    /// anybody can have seen.
    pub(super) fn listen(self: &Arc<Self>, filter: Filter, after: u64, known: u64) -> Result<Listening, TooLongAgo> {
        let mut inner = self.inner.lock();
        let told = self.told.load(Ordering::Acquire);
        if after < inner.floor || after > known.max(told) {
            return Err(TooLongAgo { oldest: inner.floor });
        }
        let from = inner.recent.partition_point(|happened| happened.sequence <= after);
        let missed = inner.recent.range(from..).filter_map(|happened| filter.of(happened)).collect();
        let (queue, receiver) = mpsc::channel(self.queued_max);
        let dropped = Arc::new(OnceLock::new());
        let key = inner.next;
        if inner.closed {
            let _ = dropped.set(Dropped::Closing);
        } else {
            inner.next += 1;
            inner.index(key, &filter);
            inner.watchers.insert(key, Watcher { filter, after, queue, dropped: dropped.clone() });
        }
        Ok(Listening { hub: self.clone(), key, missed, receiver, dropped })
    }

    /// Cuts off all who watch.
    pub(super) fn close(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        for watcher in std::mem::take(&mut inner.watchers).into_values() {
            let _ = watcher.dropped.set(Dropped::Closing);
        }
        inner.by_id.clear();
        inner.by_holder.clear();
        inner.by_tenant.clear();
    }
}

impl Inner {
    fn keep(&mut self, happened: Arc<Happened>, events_max: usize) {
        self.events += happened.events.len();
        self.unwatched = if self.watchers.is_empty() { self.unwatched + happened.events.len() } else { 0 };
        self.recent.push_back(happened);
        while self.events > events_max
            && let Some(oldest) = self.recent.pop_front()
        {
            self.events -= oldest.events.len();
            self.floor = oldest.sequence;
        }
    }

    fn send(&mut self, happened: &Arc<Happened>) -> u64 {
        if self.watchers.is_empty() {
            return 0;
        }
        let mut keys = Vec::new();
        for event in &happened.events {
            let after = &event.after;
            keys.extend(self.by_id.get(&after.id()).into_iter().flatten());
            for holder in [after.holder(), event.held_before.as_ref()].into_iter().flatten() {
                keys.extend(self.by_holder.get(holder).into_iter().flatten());
            }
            let mut path = after.tenant().as_str();
            loop {
                keys.extend(self.by_tenant.get(path).into_iter().flatten());
                if path.is_empty() {
                    break;
                }
                path = path.rfind('/').map_or("", |slash| &path[..slash]);
            }
        }
        keys.sort_unstable();
        keys.dedup();
        let mut dropped = 0;
        for key in keys {
            let Some(watcher) = self.watchers.get(&key) else { continue };
            if happened.sequence <= watcher.after {
                continue;
            }
            let Some(message) = watcher.filter.of(happened) else { continue };
            match watcher.queue.try_send(message) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(_)) => {
                    let _ = watcher.dropped.set(Dropped::Slow);
                    self.forget(key);
                    dropped += 1;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => self.forget(key),
            }
        }
        dropped
    }

    fn index(&mut self, key: u64, filter: &Filter) {
        if !filter.ids.is_empty() {
            for id in &filter.ids {
                self.by_id.entry(*id).or_default().push(key);
            }
        } else if let Some(holder) = &filter.holder {
            self.by_holder.entry(holder.clone()).or_default().push(key);
        } else {
            let tenant = filter.tenant.clone().unwrap_or_else(TenantPath::root);
            self.by_tenant.entry(tenant).or_default().push(key);
        }
    }

    fn forget(&mut self, key: u64) {
        fn remove<K: std::hash::Hash + Eq>(index: &mut HashMap<K, Vec<u64>>, at: &K, key: u64) {
            if let Some(keys) = index.get_mut(at) {
                keys.retain(|each| *each != key);
                if keys.is_empty() {
                    index.remove(at);
                }
            }
        }
        let Some(Watcher { filter, .. }) = self.watchers.remove(&key) else { return };
        if !filter.ids.is_empty() {
            for id in &filter.ids {
                remove(&mut self.by_id, id, key);
            }
        } else if let Some(holder) = &filter.holder {
            remove(&mut self.by_holder, holder, key);
        } else {
            let tenant = filter.tenant.unwrap_or_else(TenantPath::root);
            remove(&mut self.by_tenant, &tenant, key);
        }
    }
}

/// One who listens.
#[derive(Debug)]
pub(super) struct Listening {
    hub: Arc<Hub>,
    key: u64,
    /// What happened before it came.
    missed: VecDeque<Arc<Happened>>,
    receiver: mpsc::Receiver<Arc<Happened>>,
    dropped: Arc<OnceLock<Dropped>>,
}

impl Listening {
    /// What happens next; or why nothing more is told.
    pub(super) async fn next(&mut self) -> Result<Arc<Happened>, Dropped> {
        if let Some(happened) = self.missed.pop_front() {
            return Ok(happened);
        }
        match self.receiver.recv().await {
            Some(happened) => Ok(happened),
            None => Err(self.dropped.get().copied().unwrap_or(Dropped::Closing)),
        }
    }

    /// The number that this has been told everything up to; none while something is still to be received.
    pub(super) fn up_to(&self) -> Option<u64> {
        // First the number, then the queue: what is told up to the number is in the queue before it is the number.
        let told = self.hub.told();
        (self.missed.is_empty() && self.receiver.is_empty() && self.dropped.get().is_none()).then_some(told)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.hub.inner.lock().forget(self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use headgate_ledger::{Amounts, End, Ended, Holder, Id, Name, Request, RequestId, TenantPath, Time};

    use super::super::caller::Scope;
    use super::super::events::{Event, EventKind, Happened};
    use super::super::stands::Stands;
    use super::{Dropped, Filter, Hub, TooLongAgo};

    fn path(text: &str) -> TenantPath {
        TenantPath::parse(text).expect("a path")
    }

    fn happened(sequence: u64, id: u64, tenant: &str, holder: &str) -> Happened {
        let holder = Holder::parse(holder).ok();
        let pool = Name::parse("default").expect("a name");
        let request = Request::new(RequestId::parse("r").expect("an id"), path(tenant), pool, Amounts::default());
        let ended =
            Ended { id: Id(id), request: Arc::new(request), end: End::Released, admitted: true, at: Time::EPOCH };
        let after = Stands::Ended { ended, holder };
        let event = Event { kind: EventKind::Ended, time: Time::EPOCH, after, held_before: None };
        Happened { sequence, events: vec![event] }
    }

    fn all() -> Filter {
        Filter::all(Scope::All)
    }

    #[tokio::test]
    async fn each_is_told_what_it_watches() {
        let hub = Arc::new(Hub::new(0, 100, 100));
        let mut everything = hub.listen(all(), 0, 0).expect("listening");
        let subtree = Filter { tenant: Some(path("acme")), ..all() };
        let mut subtree = hub.listen(subtree, 0, 0).expect("listening");
        let holder = Filter { holder: Holder::parse("runner").ok(), ..all() };
        let mut holder = hub.listen(holder, 0, 0).expect("listening");
        let mut one = hub.listen(Filter { ids: vec![Id(3)], ..all() }, 0, 0).expect("listening");
        let scope = Scope::Subtrees([path("acme/ml")].into());
        let mut scoped = hub.listen(Filter::all(scope), 0, 0).expect("listening");

        let told = vec![happened(1, 1, "acme/ml", ""), happened(2, 2, "other", "runner"), happened(5, 3, "acme", "x")];
        hub.tell(told, 7);
        for (listening, sequences) in [
            (&mut everything, vec![1, 2, 5]),
            (&mut subtree, vec![1, 5]),
            (&mut holder, vec![2]),
            (&mut one, vec![5]),
            (&mut scoped, vec![1]),
        ] {
            assert_eq!(listening.up_to(), None);
            for sequence in sequences {
                assert_eq!(listening.next().await.map(|happened| happened.sequence), Ok(sequence));
            }
            assert_eq!(listening.up_to(), Some(7));
        }
    }

    #[tokio::test]
    async fn who_watches_all_of_it_shares_it_and_others_are_told_their_part() {
        let hub = Arc::new(Hub::new(0, 100, 100));
        let mut both = [hub.listen(all(), 0, 0).expect("listening"), hub.listen(all(), 0, 0).expect("listening")];
        let mut part = hub.listen(Filter { tenant: Some(path("acme")), ..all() }, 0, 0).expect("listening");
        let (mut told, other) = (happened(1, 1, "acme", ""), happened(1, 2, "other", ""));
        told.events.extend(other.events);
        hub.tell(vec![told], 1);
        let [first, second] = &mut both;
        let (first, second) = (first.next().await.expect("told"), second.next().await.expect("told"));
        assert!(Arc::ptr_eq(&first, &second) && first.events.len() == 2);
        let part = part.next().await.expect("told");
        assert_eq!(part.events.iter().map(|event| event.after.id()).collect::<Vec<_>>(), [Id(1)]);
    }

    #[tokio::test]
    async fn a_watch_resumes_without_a_gap_or_a_repeat_or_not_at_all() {
        let hub = Arc::new(Hub::new(10, 3, 100));
        hub.tell((11..=15).map(|sequence| happened(sequence, 1, "acme", "")).collect(), 16);
        assert_eq!(hub.listen(all(), 11, 16).map(|_| ()), Err(TooLongAgo { oldest: 12 }));
        assert_eq!(hub.listen(all(), 17, 16).map(|_| ()), Err(TooLongAgo { oldest: 12 }), "nobody has seen that yet");
        for after in 12..=16 {
            let mut listening = hub.listen(all(), after, 16).expect("listening");
            hub.tell(Vec::new(), 16);
            for sequence in after + 1..=15 {
                assert_eq!(listening.next().await.map(|happened| happened.sequence), Ok(sequence));
            }
            assert_eq!(listening.up_to(), Some(16));
        }
        // A present state may be ahead of what has been told.
        let mut ahead = hub.listen(all(), 18, 18).expect("listening");
        hub.tell((17..=19).map(|sequence| happened(sequence, 1, "acme", "")).collect(), 19);
        assert_eq!(ahead.next().await.map(|happened| happened.sequence), Ok(19));
    }

    #[tokio::test]
    async fn what_nobody_can_resume_after_is_not_told() {
        let hub = Arc::new(Hub::new(0, 3, 100));
        let events = |sequences: std::ops::RangeInclusive<u64>| {
            let last = *sequences.end();
            hub.tell(sequences.map(|sequence| happened(sequence, 1, "acme", "")).collect(), last);
        };
        // At the start somebody may resume who watched before it.
        assert!(hub.notes(1));
        events(1..=4);
        assert!(!hub.notes(9), "it would have been forgotten");
        assert_eq!(hub.listen(all(), 8, 9).map(|_| ()), Err(TooLongAgo { oldest: 9 }));

        hub.expect();
        assert!(hub.notes(10));
        let mut listening = hub.listen(all(), 9, 9).expect("listening");
        events(10..=20);
        assert!(hub.notes(20));
        for sequence in 10..=20 {
            assert_eq!(listening.next().await.map(|happened| happened.sequence), Ok(sequence));
        }

        drop(listening);
        events(21..=23);
        assert!(hub.notes(23));
        let mut resumed = hub.listen(all(), 20, 23).expect("listening");
        assert_eq!(resumed.next().await.map(|happened| happened.sequence), Ok(21));
        drop(resumed);
        events(24..=27);
        assert!(!hub.notes(27));
    }

    #[tokio::test]
    async fn who_does_not_keep_up_is_cut_off_after_what_it_was_told() {
        let hub = Arc::new(Hub::new(0, 100, 2));
        let mut slow = hub.listen(all(), 0, 0).expect("listening");
        assert_eq!(hub.tell((1..=4).map(|sequence| happened(sequence, 1, "acme", "")).collect(), 4), 1);
        assert_eq!(slow.next().await.map(|happened| happened.sequence), Ok(1));
        assert_eq!(slow.next().await.map(|happened| happened.sequence), Ok(2));
        assert_eq!(slow.next().await.map(|happened| happened.sequence), Err(Dropped::Slow));
        let mut again = hub.listen(all(), 2, 4).expect("listening");
        assert_eq!(again.next().await.map(|happened| happened.sequence), Ok(3));
    }

    #[tokio::test]
    async fn who_leaves_or_is_sent_away_leaves_nothing_behind() {
        let hub = Arc::new(Hub::new(0, 100, 2));
        let filters =
            [all(), Filter { ids: vec![Id(1), Id(2)], ..all() }, Filter { holder: Holder::parse("x").ok(), ..all() }];
        let listening: Vec<_> = filters.map(|filter| hub.listen(filter, 0, 0).expect("listening")).into();
        drop(listening);
        {
            let inner = hub.inner.lock();
            assert!(inner.watchers.is_empty() && inner.by_id.is_empty());
            assert!(inner.by_holder.is_empty() && inner.by_tenant.is_empty());
        }
        let mut last = hub.listen(all(), 0, 0).expect("listening");
        hub.close();
        assert_eq!(last.next().await.map(|happened| happened.sequence), Err(Dropped::Closing));
        let mut late = hub.listen(all(), 0, 0).expect("listening");
        assert_eq!(late.next().await.map(|happened| happened.sequence), Err(Dropped::Closing));
    }
}
