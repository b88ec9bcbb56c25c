//! Operations: what callers ask of leases and tickets, one by one or many under one lock.

use std::sync::Arc;

use headgate_ledger::{
    Amounts, Close, Decision, Enforce, Entry, Explanation, Holder, Id, Ledger, Name, Outcome, Reason, Refusal, Request,
    State, Time,
};
use std::time::Duration;

use super::Each;
use super::caller::{Caller, Scope};
use super::cell::{Cell, Turn};
use super::error::EngineError;
use super::id::LeaseId;
use super::stands::Footing;
use crate::persist::Origin;

/// Operations after which others have a turn: some hundred microseconds' worth.
const AT_ONCE_MAX: usize = 128;

/// What a caller asks for.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Decide a request, and take.
    Acquire {
        /// The request.
        request: Arc<Request>,
        /// Whether the answer carries the whole explanation.
        explain: bool,
    },
    /// Decide a request only.
    Check {
        /// The request.
        request: Arc<Request>,
        /// Whether the answer carries the whole explanation.
        explain: bool,
    },
    /// Confirm provisional leases; of a holder, all its leases.
    Confirm(Target),
    /// Keep leases and tickets alive.
    Renew {
        /// Which; of a holder, all its leases and tickets.
        target: Target,
        /// Who holds them from now on; none: as before.
        holder: Option<Holder>,
    },
    /// Change what each instance of leases holds.
    Resize {
        /// Which; of a holder, all its leases.
        target: Target,
        /// What is not named stays as it is.
        resources: Amounts,
        /// Whether the answers carry the whole explanation.
        explain: bool,
    },
    /// End leases; of a holder, all its leases.
    Release(Target),
    /// End tickets; of a holder, all its tickets.
    Cancel(Target),
}

impl Operation {
    /// What is done to the leases and tickets that it is about; none where it is about a request.
    pub(super) fn verb(&self) -> Option<(Verb<'_>, &Target)> {
        match self {
            Self::Acquire { .. } | Self::Check { .. } => None,
            Self::Confirm(target) => Some((Verb::Confirm, target)),
            Self::Renew { target, holder } => Some((Verb::Renew(holder.as_ref()), target)),
            Self::Resize { target, resources, .. } => Some((Verb::Resize(resources), target)),
            Self::Release(target) => Some((Verb::Release, target)),
            Self::Cancel(target) => Some((Verb::Cancel, target)),
        }
    }

    /// The leases and tickets that it is about; none where it is about a request.
    pub(super) fn target(&self) -> Option<&Target> {
        self.verb().map(|(_, target)| target)
    }
}

/// What an operation is about.
#[derive(Clone, Debug)]
pub enum Target {
    /// This one.
    One(LeaseId),
    /// These.
    Ids(Vec<LeaseId>),
    /// All of a holder's.
    Holder(Holder),
}

/// What became of an operation.
#[derive(Clone, Debug)]
pub enum Done {
    /// Of an acquire or a check.
    Decided(Answer),
    /// Of one that names a single lease or ticket.
    One((LeaseId, Result<Answer, EngineError>)),
    /// Of all others: what became of each, in the order of the ids, or of a holder's by id.
    Each(Each),
}

impl Done {
    /// What became of each lease or ticket.
    pub fn each(&self) -> &[(LeaseId, Result<Answer, EngineError>)] {
        match self {
            Self::Decided(_) => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Each(each) => each,
        }
    }

    /// The same, for keeps.
    pub fn into_each(self) -> Each {
        match self {
            Self::Decided(_) => Each::new(),
            Self::One(one) => vec![one],
            Self::Each(each) => each,
        }
    }

    pub(super) fn each_mut(&mut self) -> &mut [(LeaseId, Result<Answer, EngineError>)] {
        match self {
            Self::Decided(_) => &mut [],
            Self::One(one) => std::slice::from_mut(one),
            Self::Each(each) => each,
        }
    }
}

/// What was decided, and where the request stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The cell that decided.
    pub cell: Name,
    /// What was decided; of what was decided before, as it stands.
    pub outcome: Outcome,
    /// Where it stands; none: it was denied, or only checked.
    pub stands: Option<Footing>,
    /// Whether the same request had been decided before.
    pub repeated: bool,
    /// Every rule that stands against it, the one that decided first.
    pub reasons: Vec<Reason>,
    /// What it would have been, had that been enforced.
    pub would_be: Option<Outcome>,
    /// How the decision is enforced.
    pub enforce: Enforce,
    /// Its place in its pool in the order of dispatch, counted from 1, where it waits.
    pub position: Option<u64>,
    /// How long it will probably wait, where it waits and that can be told.
    pub expected_wait: Option<Duration>,
    /// The numbers it was decided from, where these were asked for.
    pub explanation: Option<Box<Explanation>>,
}

impl Answer {
    /// Its id; none where it stands nowhere.
    pub fn id(&self) -> Option<LeaseId> {
        self.stands.as_ref().map(|stands| LeaseId { cell: self.cell.clone(), number: stands.id() })
    }

    pub(super) fn standing(cell: Name, stands: Footing) -> Self {
        Self {
            cell,
            outcome: stands.outcome(),
            stands: Some(stands),
            repeated: false,
            reasons: Vec::new(),
            would_be: None,
            enforce: Enforce::default(),
            position: None,
            expected_wait: None,
            explanation: None,
        }
    }

    pub(super) fn decided(cell: Name, decision: Decision, stands: Option<Footing>) -> Self {
        let Decision { outcome, id: _, known, entry: _, reasons, would_be, enforce } = decision;
        let outcome = stands.as_ref().map_or(outcome, Footing::outcome);
        Self {
            cell,
            outcome,
            stands,
            repeated: known.is_some(),
            reasons,
            would_be,
            enforce,
            position: None,
            expected_wait: None,
            explanation: None,
        }
    }
}

/// What is done to one lease or ticket.
#[derive(Clone, Copy, Debug)]
pub(super) enum Verb<'a> {
    Confirm,
    Renew(Option<&'a Holder>),
    Resize(&'a Amounts),
    Release,
    Cancel,
}

impl Verb<'_> {
    /// Whether it is done to a holder's lease or ticket that stands so.
    fn concerns(self, state: State) -> bool {
        match (self, state) {
            (_, State::Ended(_)) => false,
            (Self::Renew(_), State::Waiting | State::Provisional | State::Active | State::Reclaiming) => true,
            (Self::Cancel, state) => state == State::Waiting,
            (Self::Confirm | Self::Resize(_) | Self::Release, state) => state != State::Waiting,
        }
    }
}

/// One step of an operation, in one cell.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'a> {
    Acquire(&'a Arc<Request>),
    Check(&'a Arc<Request>),
    One(Verb<'a>, Id),
    Holder(Verb<'a>, &'a Holder),
}

impl<'a> Step<'a> {
    /// Of an operation that is about one thing.
    pub(super) fn of(operation: &'a Operation) -> Option<Self> {
        match operation {
            Operation::Acquire { request, .. } => Some(Self::Acquire(request)),
            Operation::Check { request, .. } => Some(Self::Check(request)),
            other => match other.verb()? {
                (verb, Target::One(id)) => Some(Self::One(verb, id.number)),
                (_, Target::Ids(_) | Target::Holder(_)) => None,
            },
        }
    }
}

/// What became of a step.
pub(super) enum Stepped {
    /// Of one request, lease or ticket.
    One(Result<Answer, EngineError>),
    /// Of all of a holder's.
    Each(Vec<(Id, Result<Answer, EngineError>)>),
}

/// Decides operations that are checks alone, as long as what is shown to readers is all that has been posted: then it is what
/// the ledger that decides has, and nobody who decides need be waited for. Returns how many it decided, the first of them
/// first.
pub(super) fn check_steps(
    cell: &Cell,
    caller: &Caller,
    operations: &[Operation],
    done: &mut Vec<Result<Done, EngineError>>,
) -> usize {
    fn request(operation: &Operation) -> Option<&Arc<Request>> {
        match operation {
            Operation::Check { request, .. } => Some(request),
            _ => None,
        }
    }
    if !operations.iter().all(|operation| request(operation).is_some()) {
        return 0;
    }
    let name = own_name(cell);
    let before = done.len();
    // Between two parts the publisher comes in.
    for part in operations.chunks(AT_ONCE_MAX) {
        let Some(view) = cell.look_at_all() else { break };
        let checked = part.iter().filter_map(request);
        done.extend(checked.map(|request| check(&view, view.now(), caller, &name, request).map(Done::Decided)));
    }
    done.len() - before
}

/// Says what would become of a request.
pub(super) fn check(
    ledger: &Ledger,
    now: Time,
    caller: &Caller,
    cell: &Name,
    request: &Arc<Request>,
) -> Result<Answer, EngineError> {
    if !caller.scope.covers(&request.tenant) {
        return Err(EngineError::NoTenant(request.tenant.clone()));
    }
    let decision = ledger.check(now, request).map_err(|refusal| EngineError::from_refusal(refusal, cell))?;
    Ok(Answer::decided(cell.clone(), decision, None))
}

/// The name of a cell, in memory of its own: answers are made and dropped by all lanes at once, and one name would be
/// counted in one place.
fn own_name(cell: &Cell) -> Name {
    Name::parse(cell.name.as_str()).unwrap_or_else(|_| cell.name.clone())
}

/// Takes steps in order, each of them seeing what those before it did, and tells what became of each. Returns the number
/// that must be durable before any of it may be told; 0: nothing must.
pub(super) fn take_steps<'a, P: Copy + 'a>(
    cell: &Cell,
    caller: &Caller,
    steps: impl IntoIterator<Item = (P, Step<'a>)>,
    mut tell: impl FnMut(P, Stepped),
) -> Result<u64, EngineError> {
    let origin = &caller.origin("");
    let name = own_name(cell);
    cell.turn(|turn| {
        let mut steps_taken = StepsTaken { turn, caller, origin, name, relies_on: 0, taken: 0, over: None };
        for (place, step) in steps {
            tell(place, steps_taken.take(step));
        }
        steps_taken.relies_on
    })
}

struct StepsTaken<'a, 'b> {
    turn: &'a mut Turn<'b>,
    caller: &'a Caller,
    origin: &'a Arc<Origin>,
    /// The cell's.
    name: Name,
    /// What was answered relies on all up to this number.
    relies_on: u64,
    taken: usize,
    /// Nothing more is decided: it was over when the others had had their turn.
    over: Option<EngineError>,
}

impl StepsTaken<'_, '_> {
    fn take(&mut self, step: Step<'_>) -> Stepped {
        match step {
            Step::Acquire(request) => Stepped::One(self.may_go_on().and_then(|()| self.acquire(request))),
            Step::Check(request) => Stepped::One(
                self.may_go_on()
                    .and_then(|()| check(self.turn.ledger(), self.turn.now(), self.caller, &self.name, request)),
            ),
            Step::One(verb, id) => Stepped::One(self.one(verb, id)),
            Step::Holder(verb, holder) => {
                let ids: Vec<_> = self.turn.ledger().held_by(holder.as_str()).collect();
                let each = ids.into_iter().filter_map(|id| {
                    // What was done to those before may have changed how it stands.
                    let state = self.turn.ledger().state(id)?;
                    let seen = self.tenant_is_seen(id);
                    (seen && verb.concerns(state)).then(|| (id, self.one(verb, id)))
                });
                Stepped::Each(each.collect())
            }
        }
    }

    fn may_go_on(&mut self) -> Result<(), EngineError> {
        self.taken += 1;
        if self.over.is_none() && self.taken.is_multiple_of(AT_ONCE_MAX) {
            self.over = self.turn.let_others().err();
        }
        match &self.over {
            None => Ok(()),
            Some(error) => Err(error.clone()),
        }
    }

    fn refused(&self, refusal: Refusal) -> EngineError {
        EngineError::from_refusal(refusal, &self.turn.cell.name)
    }

    fn acquire(&mut self, request: &Arc<Request>) -> Result<Answer, EngineError> {
        if !self.caller.scope.covers(&request.tenant) {
            return Err(EngineError::NoTenant(request.tenant.clone()));
        }
        let mut decision = self.turn.ledger().admit(self.turn.now(), request).map_err(|r| self.refused(r))?;
        if let Some(entry) = decision.entry.take() {
            self.turn.post(self.origin, entry);
        }
        let stands = decision.id.and_then(|id| Footing::of(self.turn.ledger(), id));
        if stands.is_some() {
            self.relies_on = self.turn.posted();
        }
        Ok(Answer::decided(self.name.clone(), decision, stands))
    }

    fn tenant_is_seen(&self, id: Id) -> bool {
        if let Scope::All = self.caller.scope {
            return true;
        }
        self.turn.ledger().request(id).is_some_and(|request| self.caller.scope.covers(&request.tenant))
    }

    fn one(&mut self, verb: Verb<'_>, id: Id) -> Result<Answer, EngineError> {
        self.may_go_on()?;
        if !self.tenant_is_seen(id) {
            return Err(self.refused(Refusal::NoLease(id)));
        }
        let (entry, reasons) = self.ask(verb, id).map_err(|refusal| self.refused(refusal))?;
        let denied = entry.is_none() && !reasons.is_empty();
        // A ledger may forget at once what ends; it is told all the same.
        let ending = match &entry {
            Some(Entry::Ended { end, .. }) => Some(Footing::ending(self.turn.ledger(), id, *end)),
            Some(_) | None => None,
        };
        if let Some(entry) = entry {
            self.turn.post(self.origin, entry);
        }
        // Also where nothing was to be posted: that it stands so may itself not be durable yet.
        self.relies_on = self.turn.posted();
        let stands = ending.or_else(|| Footing::of(self.turn.ledger(), id));
        let stands = stands.ok_or_else(|| self.refused(Refusal::NoLease(id)))?;
        let mut answer = Answer::standing(self.name.clone(), stands);
        answer.reasons = reasons;
        if denied {
            answer.outcome = Outcome::Deny;
        }
        Ok(answer)
    }

    fn ask(&self, verb: Verb<'_>, id: Id) -> Result<(Option<Entry>, Vec<Reason>), Refusal> {
        let (ledger, now) = (self.turn.ledger(), self.turn.now());
        let plain = |entry| (entry, Vec::new());
        match verb {
            Verb::Confirm => ledger.confirm(now, id).map(plain),
            Verb::Renew(holder) => ledger.renew(now, id, holder).map(plain),
            Verb::Resize(resources) => {
                ledger.amend(now, id, resources).map(|amendment| (amendment.entry, amendment.reasons))
            }
            Verb::Release => ledger.close(now, id, Close::Release).map(plain),
            Verb::Cancel => ledger.close(now, id, Close::Cancel).map(plain),
        }
    }
}
