//! One caller of an engine: what it has asked, and what it has not heard yet.

use std::collections::VecDeque;
use std::future::Future;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use headgate_scheduler::engine::{Done, EngineError, Operation};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::Embedded;

type Decided = Vec<Result<Done, EngineError>>;
type Deciding = Pin<Box<dyn Future<Output = Decided> + Send>>;

/// A caller. It asks on the thread of whoever has it; what is not answered at once rings its bell when it is.
pub(crate) struct Desk {
    embedded: Arc<Embedded>,
    /// Operations that may be under way at once.
    pub(crate) room_max: usize,
    under_way: usize,
    /// What was answered at once, or by now.
    answered: VecDeque<(Vec<u32>, Decided)>,
    /// What waits, such as for the store, in the order in which it was asked.
    waits: VecDeque<(Vec<u32>, Deciding)>,
    bell: Arc<Bell>,
    waker: Waker,
    /// The time that was spent in the engine, in nanoseconds.
    pub(crate) spent_ns: u64,
}

impl Desk {
    pub(crate) fn new(embedded: &Arc<Embedded>, room_max: usize) -> Result<Self, String> {
        let event = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC);
        let event = event.map_err(|error| format!("the system gives no event: {}", error.desc().to_lowercase()))?;
        let bell = Arc::new(Bell { rung: AtomicBool::new(false), event });
        Ok(Self {
            embedded: embedded.clone(),
            room_max,
            under_way: 0,
            answered: VecDeque::new(),
            waits: VecDeque::new(),
            waker: Waker::from(bell.clone()),
            bell,
            spent_ns: 0,
        })
    }

    /// Operations that may be asked now.
    pub(crate) fn room(&self) -> usize {
        self.room_max.saturating_sub(self.under_way)
    }

    /// Asks for operations, together; each is answered by its token.
    pub(crate) fn ask(&mut self, tokens: Vec<u32>, operations: Vec<Operation>) {
        self.under_way += tokens.len();
        let embedded = self.embedded.clone();
        let mut deciding: Deciding = match alone(operations) {
            // As callers of a library do, who need not wait for those who decide.
            Ok(request) => Box::pin(async move {
                let checked = embedded.engine.check(&embedded.caller, request, false).await;
                vec![checked.map(Done::Decided)]
            }),
            Err(operations) => Box::pin(async move { embedded.engine.operate(&embedded.caller, operations).await }),
        };
        match self.poll(&mut deciding) {
            Poll::Ready(decided) => self.answered.push_back((tokens, decided)),
            Poll::Pending => self.waits.push_back((tokens, deciding)),
        }
    }

    fn poll(&mut self, deciding: &mut Deciding) -> Poll<Decided> {
        let began = Instant::now();
        let polled = deciding.as_mut().poll(&mut Context::from_waker(&self.waker));
        self.spent_ns += began.elapsed().as_nanos() as u64;
        polled
    }

    /// Whether something may be answered by now.
    pub(crate) fn has_news(&self) -> bool {
        !self.answered.is_empty() || self.bell.rung.load(Ordering::Relaxed)
    }

    /// The next of what was answered: tokens, and what became of each.
    pub(crate) fn hear(&mut self) -> Option<(Vec<u32>, Decided)> {
        if self.answered.is_empty() && self.bell.take() {
            while let Some((tokens, mut deciding)) = self.waits.pop_front() {
                match self.poll(&mut deciding) {
                    Poll::Ready(decided) => self.answered.push_back((tokens, decided)),
                    Poll::Pending => {
                        // Those behind it ring again, or are ready when they are asked.
                        self.waits.push_front((tokens, deciding));
                        break;
                    }
                }
            }
        }
        let heard = self.answered.pop_front()?;
        self.under_way -= heard.0.len();
        Some(heard)
    }
}

/// The request of a check that is all there is.
fn alone(mut operations: Vec<Operation>) -> Result<Arc<headgate_ledger::Request>, Vec<Operation>> {
    match (operations.len(), operations.pop()) {
        (1, Some(Operation::Check { request, explain: false })) => Ok(request),
        (_, last) => {
            operations.extend(last);
            Err(operations)
        }
    }
}

impl AsFd for Desk {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.event.as_fd()
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("under_way", &self.under_way).finish_non_exhaustive()
    }
}

/// Wakes whoever waits for answers, as a socket does that can be read.
struct Bell {
    rung: AtomicBool,
    event: EventFd,
}

impl Bell {
    /// Whether it was rung since this was asked last.
    fn take(&self) -> bool {
        // What was written is read first: what is written after this is found by the next.
        let _ = self.event.read();
        self.rung.swap(false, Ordering::Acquire)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rung.swap(true, Ordering::Release) {
            // It is full only when it has been written to, which will do.
            let _ = self.event.write(1);
        }
    }
}
