//! The model under streams of operations: its invariants hold after every step, and nothing happens
//! but at instants that it named.

use std::collections::BTreeMap;

use crate::model::config::Config;
use crate::model::rng::seeds;
use crate::model::stream::Stream;
use crate::model::subject::{EverySecond, Op, Subject, agree, smallest, tell};
use crate::model::{Event, Model, Outcome, audit};

fn broken(config: &Config, ops: &[Op]) -> Option<String> {
    let mut model = Model::new(config.clone());
    let as_they_are = !ops.iter().any(reconfigures);
    for (step, op) in ops.iter().enumerate() {
        model.apply(op);
        let found = audit::work_conserving(&model)
            .or_else(|| audit::at_rest(&model))
            .or_else(|| audit::guarantees_add_up(&model))
            .or_else(|| audit::guarantee(&model).filter(|_| as_they_are));
        if let Some(broken) = found {
            return Some(format!("after step {step}, {op:?}: {broken}"));
        }
    }
    None
}

/// "while capacity, limits and guarantees stay as they are"
fn reconfigures(op: &Op) -> bool {
    matches!(op, Op::SetCapacity { .. } | Op::PutTenant(_) | Op::SetLifecycle { .. } | Op::Pause { .. })
}

#[test]
fn the_invariants_hold_after_every_step() {
    for seed in seeds(150) {
        let Stream { config, ops } = Stream::of(seed);
        if broken(&config, &ops).is_some() {
            let ops = smallest(&config, &ops, |config, ops| broken(config, ops).is_some());
            let what = broken(&config, &ops).expect("it still fails");
            let test = "--test model open::the_invariants_hold_after_every_step";
            panic!("seed {seed}: {what}\n{}", tell(&config, &ops, seed, test));
        }
    }
}

#[test]
fn nothing_happens_but_at_instants_that_a_rule_names() {
    let test = "--test model open::nothing_happens_but_at_instants_that_a_rule_names";
    agree(150, test, |config| EverySecond(Model::new(config.clone())));
}

/// A stream that never meets a rule tests nothing.
#[test]
fn streams_meet_every_rule() {
    let mut met: BTreeMap<String, usize> = BTreeMap::new();
    for seed in 0..200 {
        let Stream { config, ops } = Stream::of(seed);
        let mut model = Model::new(config);
        let outcomes: Vec<Outcome> = ops.iter().map(|op| model.apply(op).outcome).collect();
        let events = model.log.iter().map(|(_, event)| name_of_event(event));
        for name in outcomes.iter().map(name_of).chain(events) {
            *met.entry(name).or_default() += 1;
        }
    }
    for (name, times) in &met {
        println!("{times:6} {name}");
    }
    let rules = [
        "Allow",
        "Queue BehindEarlier",
        "Queue WouldBorrow",
        "Queue BurstOver",
        "Queue BudgetUsedUp",
        "Queue RateExceeded",
        "Queue ExceedsLimit",
        "Queue NoCapacity",
        "Queue HeldForAnother",
        "Queue Paused",
        "Deny Inactive",
        "Deny NeverFits",
        "Deny BudgetUsedUp",
        "Deny RateExceeded",
        "Deny HeldForAnother",
        "Deny QueueFull",
        "Hits pass",
        "Hits NeverFits",
        "Hits BudgetUsedUp",
        "Hits RateExceeded",
        "Observed NoCapacity",
        "Known Waiting",
        "Known Active",
        "Known Gone",
        "Error Exists",
        "Error Gone",
        "Admitted",
        "Claimed",
        "ClaimDropped",
        "Reclaiming",
        "LetOff",
        "Holds",
        "HoldsNoMore",
        "Ended Released",
        "Ended Cancelled",
        "Ended Expired",
        "Ended Unconfirmed",
        "Ended Revoked",
        "Ended WaitedTooLong",
        "Ended Silent",
    ];
    let missed: Vec<&str> = rules.into_iter().filter(|rule| !met.contains_key(*rule)).collect();
    assert!(missed.is_empty(), "no stream meets {missed:?}");
}

fn name_of(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Allow { observed: None, .. } => "Allow".to_owned(),
        Outcome::Allow { observed: Some(reason), .. } => format!("Observed {:?}", reason.code),
        Outcome::Queue(reason) => format!("Queue {:?}", reason.code),
        Outcome::Deny(reason) => format!("Deny {:?}", reason.code),
        Outcome::Known(standing) => format!("Known {standing:?}"),
        Outcome::Hits { pass: true, .. } => "Hits pass".to_owned(),
        Outcome::Hits { pass: false, reasons } => {
            let first = reasons.iter().flatten().next().expect("a reason");
            format!("Hits {:?}", first.code)
        }
        Outcome::Done => "Done".to_owned(),
        Outcome::Error(error) => format!("Error {error:?}"),
    }
}

fn name_of_event(event: &Event) -> String {
    match event {
        Event::Admitted { .. } => "Admitted".to_owned(),
        Event::Ended { cause, .. } => format!("Ended {cause:?}"),
        Event::Claimed { .. } => "Claimed".to_owned(),
        Event::ClaimDropped { .. } => "ClaimDropped".to_owned(),
        Event::Reclaiming { .. } => "Reclaiming".to_owned(),
        Event::LetOff { .. } => "LetOff".to_owned(),
        Event::Holds { .. } => "Holds".to_owned(),
        Event::HoldsNoMore { .. } => "HoldsNoMore".to_owned(),
    }
}
