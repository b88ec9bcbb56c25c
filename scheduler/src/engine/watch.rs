//! Watching: the present state, then what happens.

use std::collections::VecDeque;
use std::sync::Arc;

use headgate_ledger::{Holder, Name};

use super::cell::Cell;
use super::error::EngineError;
use super::events::Happened;
use super::hub::{Dropped, Filter, Listening, TooLongAgo};
use super::stands::Stands;
use super::view::View;

/// What a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A part of the present state, as of this number.
    Present {
        /// The number.
        sequence: u64,
        /// Where what is watched stands.
        stands: Vec<Stands>,
        /// Whether it is the last part.
        complete: bool,
    },
    /// All that happened to what is watched at one number.
    Happened(Arc<Happened>),
}

/// Leases and tickets in one part of the present state.
const PART_MAX: usize = 256;

/// What is watched of one cell: the present state, then what happens, each thing once and in order.
#[derive(Debug)]
pub struct Watch {
    cell: Name,
    present: VecDeque<Told>,
    /// The present state is as of this number.
    since: u64,
    listening: Listening,
}

impl Watch {
    /// The cell.
    pub fn cell(&self) -> &Name {
        &self.cell
    }

    /// What comes next; or why nothing more does. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Told, Dropped> {
        if let Some(part) = self.present.pop_front() {
            return Ok(part);
        }
        self.listening.next().await.map(Told::Happened)
    }

    /// The number that this has told everything up to, for a heartbeat; none while there is something to be told.
    pub fn up_to(&self) -> Option<u64> {
        let told = self.listening.up_to()?;
        self.present.is_empty().then_some(told.max(self.since))
    }

    /// The present state, then what happens after it.
    pub(super) async fn from_now(cell: &Arc<Cell>, filter: Filter) -> Result<Self, EngineError> {
        loop {
            cell.hub.expect();
            cell.fresh().await;
            let (sequence, stands) = {
                let view = View::long(cell);
                (view.sequence(), present(&view, &filter))
            };
            // Where it fails, so much has happened since the look that it is forgotten: look again.
            if let Ok(listening) = cell.hub.listen(filter.clone(), sequence, sequence) {
                let present = parts(sequence, stands);
                return Ok(Self { cell: cell.name.clone(), present, since: sequence, listening });
            }
        }
    }

    /// What happened after `after`, and what happens.
    pub(super) fn resumed(cell: &Arc<Cell>, filter: Filter, after: u64) -> Result<Self, EngineError> {
        let known = cell.published.reached();
        match cell.hub.listen(filter, after, known) {
            Ok(listening) => Ok(Self { cell: cell.name.clone(), present: VecDeque::new(), since: after, listening }),
            Err(TooLongAgo { oldest }) => Err(EngineError::OutOfRange { after, oldest }),
        }
    }
}

fn parts(sequence: u64, stands: Vec<Stands>) -> VecDeque<Told> {
    let mut parts = VecDeque::new();
    let mut rest = stands.into_iter().peekable();
    loop {
        let stands: Vec<_> = rest.by_ref().take(PART_MAX).collect();
        let complete = rest.peek().is_none();
        parts.push_back(Told::Present { sequence, stands, complete });
        if complete {
            return parts;
        }
    }
}

/// Where what is watched stands now. What is gone is told only where it was named.
fn present(view: &View<'_>, filter: &Filter) -> Vec<Stands> {
    let watched = |stands: &Stands| filter.matches(stands.id(), stands.tenant(), [stands.holder(), None]);
    let ids: Vec<_> = match (&filter.ids[..], &filter.holder) {
        ([_, ..], _) => filter.ids.clone(),
        ([], Some(holder)) => view.held_by(Holder::as_str(holder)).collect(),
        ([], None) => {
            let mine = |tenant| filter.tenant.as_ref().is_none_or(|path| path.covers(tenant));
            let leases = view.leases().filter(|lease| mine(lease.request.tenant.as_str())).map(|lease| lease.id);
            let tickets = view.tickets().filter(|ticket| mine(ticket.request.tenant.as_str())).map(|ticket| ticket.id);
            leases.chain(tickets).collect()
        }
    };
    ids.into_iter().filter_map(|id| view.stands(id)).filter(watched).collect()
}
