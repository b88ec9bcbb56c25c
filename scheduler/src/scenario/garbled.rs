//! Scenario files as a stranger may write them.

use super::cell::VirtualCell;
use super::file::{self, Action, Document, Scenario};

/// Requests of one document that are asked: enough to queue, to borrow and to reclaim.
const ASKED_MAX: usize = 64;

/// Reads a scenario file. What its documents ask for is asked at the start, without letting time pass: a hold that turns
/// every nanosecond for a hundred years is a story too, but a long one.
pub(crate) fn text(text: &str) {
    for Document { line: _, scenario } in file::parse(text) {
        if let Ok(scenario) = scenario {
            ask(&scenario);
        }
    }
}

fn ask(scenario: &Scenario) {
    let mut cell = VirtualCell::new(scenario.start, true);
    if cell.configure(scenario.objects.to_changes()).is_err() {
        return;
    }
    let acquires = scenario.steps.iter().filter_map(|step| match &step.action {
        Some(Action::Acquire(acquire)) => Some(acquire),
        Some(_) | None => None,
    });
    let requests = acquires.flat_map(|acquire| {
        let requests = acquire.requests.iter().flatten();
        requests.map(|(_, request)| (request, acquire.work))
    });
    for (request, work) in requests.take(ASKED_MAX) {
        // A refusal is an answer.
        let _ = cell.acquire(request, work);
    }
    cell.restart();
    let violations = cell.take_violations();
    assert!(violations.is_empty(), "{violations:?}");
}
