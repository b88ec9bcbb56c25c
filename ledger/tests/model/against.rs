//! The ledger against the model: after every operation of a stream both say the same.

use crate::model::cell::Cell;
use crate::model::config::Config;
use crate::model::rng::seeds;
use crate::model::stream::Stream;
use crate::model::subject::{Divergence, Observed, Op, Subject, smallest, tell};
use crate::model::{Event, Model};

/// What ends in one instant ends in any order: only then is anything decided.
fn ends_in_any_order(mut observed: Observed) -> Observed {
    for run in observed
        .events
        .chunk_by_mut(|a, b| a.0 == b.0 && matches!((&a.1, &b.1), (Event::Ended { .. }, Event::Ended { .. })))
    {
        run.sort_by_key(|(_, event)| format!("{event:?}"));
    }
    observed
}

/// Where they first differ, or where the ledger's own audit finds something.
fn difference(config: &Config, ops: &[Op]) -> Option<String> {
    let (mut model, mut cell) = (Model::new(config.clone()), Cell::new(config));
    for (step, op) in ops.iter().enumerate() {
        let expected = ends_in_any_order(model.apply(op));
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| cell.apply(op)));
        let Ok(got) = run.map(ends_in_any_order) else {
            return Some(format!("step {step}, {op:?}: the ledger panics"));
        };
        if expected != got {
            return Some(Divergence { step, op: op.clone(), one: expected, other: got }.to_string());
        }
        if let Some(violation) = cell.violations.first() {
            return Some(format!("step {step}, {op:?}: {violation}"));
        }
    }
    let again = cell.replayed();
    if again.digest() != cell.ledger.digest() || again.snapshot() != cell.ledger.snapshot() {
        return Some("the journal makes another ledger".to_owned());
    }
    let restored = headgate_ledger::Ledger::restore(again.snapshot());
    if restored.snapshot() != again.snapshot() {
        return Some(format!("a snapshot makes another ledger\n{:#?}\n{:#?}", again.snapshot(), restored.snapshot()));
    }
    let found = restored.audit(headgate_ledger::Time::from_nanos(cell.now), &[]);
    found.first().map(|violation| format!("restored: {violation}"))
}

#[test]
fn the_ledger_says_what_the_model_says() {
    for seed in seeds(500) {
        let Stream { config, ops } = Stream::of(seed);
        if difference(&config, &ops).is_some() {
            let hook = std::panic::take_hook();
            std::panic::set_hook(Box::new(|_| {}));
            let ops = smallest(&config, &ops, |config, ops| difference(config, ops).is_some());
            std::panic::set_hook(hook);
            let told = difference(&config, &ops).unwrap_or_default();
            let test = "--test model against::the_ledger_says_what_the_model_says";
            panic!("seed {seed}: {told}\n{}", tell(&config, &ops, seed, test));
        }
    }
}
