//! Hits of many calls, decided together.

use std::sync::Arc;
use std::time::Duration;

use headgate_ledger::{Change, Hit, OnExceed, Quota, Rate, Resource, Tenant};

use super::stage::{Stage, begin, name, path};
use crate::engine::{Caller, EngineError, EngineSettings, HitCall, Scope};
use crate::store::MemoryStore;

/// Two requests an hour pass for `a`, and ten for `b`.
async fn stage() -> Stage {
    let stage = begin(EngineSettings::default(), &MemoryStore::default()).await;
    let tenant = |path_: &str, amount| {
        let rate = Rate {
            name: name("calls"),
            resource: Resource::parse("requests").expect("a resource"),
            amount,
            per: Duration::from_secs(3600),
            burst: amount,
            on_exceed: OnExceed::Deny,
        };
        let quotas = vec![(name("default"), Quota::default())];
        Change::PutTenant(Tenant { quotas, rates: vec![rate], ..Tenant::new(path(path_)) })
    };
    stage.configure(vec![tenant("a", 2), tenant("b", 10)]).await;
    stage
}

fn hit(tenant: &str, amount: u64) -> Hit {
    Hit { pool: name("default"), tenant: path(tenant), resource: Resource::parse("requests").expect("a name"), amount }
}

/// A call of hits that are meant for one tenant each.
fn call(hits: &[Hit]) -> HitCall {
    HitCall(hits.iter().map(|hit| vec![hit.clone()]).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_come_together_are_decided_one_after_another() {
    let stage = stage().await;
    let calls = [
        call(&[hit("a", 1), hit("b", 1)]),
        call(&[hit("a", 2)]),
        call(&[hit("a", 1), hit("b", 9)]),
        call(&[hit("b", 1)]),
    ];
    let mut allowed = Vec::new();
    for (nth, decided) in stage.engine.hit(&stage.caller, &calls).into_iter().enumerate() {
        let answer = match decided.expect("decided").known() {
            Ok(answer) => {
                assert!(!answer.allowed, "what was counted is told when it is durable: {nth}");
                answer
            }
            Err(decided) => decided.told().await.expect("durable"),
        };
        allowed.push(answer.allowed);
    }
    assert_eq!(allowed, [true, false, true, false], "each sees what those before it have counted");
    stage.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_are_decided_at_once_are_all_decided() {
    let stage = stage().await;
    let calls: Vec<_> = (0..300).map(|_| call(&[hit("b", 1), hit("b", 0)])).collect();
    let decided = stage.engine.hit(&stage.caller, &calls);
    let mut allowed = 0;
    for decided in decided {
        allowed += u32::from(decided.expect("decided").told().await.expect("told").allowed);
    }
    assert_eq!(allowed, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hit_is_meant_for_the_first_who_is_somebody() {
    let stage = stage().await;
    let meant = HitCall(vec![vec![hit("nobody", 5), hit("b", 4), hit("a", 3)], vec![hit("nobody/here", 1)], vec![]]);
    let [decided] = &mut stage.engine.hit(&stage.caller, &[meant])[..] else { panic!("one answer") };
    let decided = std::mem::replace(decided, Err(EngineError::NoPool(name("taken"))));
    let answer = decided.expect("decided").told().await.expect("told");
    let left: Vec<_> = answer.hits.iter().map(|one| one.as_ref()?.bound.as_ref().map(|bound| bound.left)).collect();
    assert_eq!((answer.allowed, left), (true, vec![Some(6), None, None]));

    let nowhere = [HitCall(vec![vec![hit("nobody", 1)]]), HitCall::default()];
    for decided in stage.engine.hit(&stage.caller, &nowhere) {
        let known = decided.expect("decided").known();
        assert!(known.is_ok_and(|answer| answer.allowed && answer.hits.iter().all(Option::is_none)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_call_that_may_not_be_asked_keeps_no_other_from_being_decided() {
    let stage = stage().await;
    let scope = Scope::Subtrees(Arc::new([path("b")]));
    let caller = Caller { scope, ..stage.caller.clone() };
    let elsewhere = Hit { pool: name("nowhere"), ..hit("b", 1) };
    let calls = [call(&[hit("b", 1)]), call(&[hit("b", 1), hit("a", 1)]), call(&[elsewhere]), call(&[hit("b", 1)])];
    let mut left = Vec::new();
    for decided in stage.engine.hit(&caller, &calls) {
        left.push(match decided {
            Ok(decided) => {
                let answer = decided.told().await.expect("told");
                answer.hits[0].as_ref().and_then(|one| one.bound.as_ref()).map(|bound| bound.left)
            }
            Err(EngineError::NoTenant(_) | EngineError::NoPool(_)) => None,
            Err(error) => panic!("{error:?}"),
        });
    }
    assert_eq!(left, [Some(9), None, None, Some(8)], "what was refused was not counted");
}
