//! The model under streams of operations: its invariants hold after every step, and nothing happens
//! but at instants that it named.

use crate::model::Model;
use crate::model::audit;
use crate::model::config::Config;
use crate::model::rng::seeds;
use crate::model::stream::Stream;
use crate::model::subject::{EverySecond, Op, Subject, first_divergence, smallest};

fn broken(config: &Config, ops: &[Op]) -> Option<String> {
    let mut model = Model::new(config.clone());
    for (step, op) in ops.iter().enumerate() {
        model.apply(op);
        let found = audit::work_conserving(&model)
            .or_else(|| audit::at_rest(&model))
            .or_else(|| audit::guarantees_add_up(&model));
        if let Some(broken) = found {
            return Some(format!("after step {step}, {op:?}: {broken}"));
        }
    }
    None
}

#[test]
fn open_streams_keep_the_invariants() {
    for seed in seeds(200) {
        let Stream { config, ops } = Stream::of(seed);
        if let Some(what) = broken(&config, &ops) {
            let ops = smallest(&config, &ops, |config, ops| broken(config, ops).is_some());
            panic!(
                "seed {seed}: {what}\nshortest: {config:#?}\n{ops:#?}\n{:?}\nto repeat: HEADGATE_SEED={seed} cargo test \
                 -p headgate-ledger --test model open_streams_keep",
                broken(&config, &ops)
            );
        }
    }
}

#[test]
fn open_streams_do_nothing_but_at_instants_that_a_rule_names() {
    for seed in seeds(200) {
        let Stream { config, ops } = Stream::of(seed);
        let diverges = |config: &Config, ops: &[Op]| {
            let mut often = EverySecond(Model::new(config.clone()));
            first_divergence(&mut Model::new(config.clone()), &mut often, ops)
        };
        if diverges(&config, &ops).is_some() {
            let ops = smallest(&config, &ops, |config, ops| diverges(config, ops).is_some());
            panic!(
                "seed {seed}: looked at every second, it does something else\n{config:#?}\n{ops:#?}\n{:#?}\nto repeat: \
                 HEADGATE_SEED={seed} cargo test -p headgate-ledger --test model open_streams_do",
                diverges(&config, &ops)
            );
        }
    }
}
