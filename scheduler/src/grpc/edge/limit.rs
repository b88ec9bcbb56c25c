//! What gateways ask before they let calls pass, decided together as it comes.

use std::sync::Arc;

use bytes::Bytes;
use h2::server::SendResponse;

use super::{Edge, reply};
use crate::auth::Admitted;
use crate::engine::{self, EngineError, HitAnswer};
use crate::grpc::deadline::Deadline;
use crate::grpc::fault::Fault;
use crate::grpc::limiting::Limited;

/// A call that asks it.
#[derive(Debug)]
pub(super) struct Limit {
    pub(super) limited: Limited,
    pub(super) respond: SendResponse<Bytes>,
    pub(super) deadline: Deadline,
    /// Its room among all that is under way, where it did not get it with others.
    pub(super) room: Option<Admitted>,
}

impl Edge {
    /// Has calls decided, and answers them: at once, or when what was counted is durable.
    pub(super) fn limit(self: &Arc<Self>, asker: &engine::Caller, limits: Vec<Limit>, room: &mut Option<Admitted>) {
        let mut calls = Vec::with_capacity(limits.len());
        let mut waits = Vec::with_capacity(limits.len());
        for Limit { limited: Limited { hits, headers }, respond, deadline, room } in limits {
            calls.push(hits);
            waits.push((headers, respond, deadline, room));
        }
        let mut later = Vec::new();
        for (decided, (headers, respond, deadline, room)) in
            self.service.engine.hit(asker, &calls).into_iter().zip(waits)
        {
            match decided.map(engine::HitDecided::known) {
                Ok(Ok(answer)) => self.tell_limit(respond, headers, Ok(answer)),
                Ok(Err(decided)) => later.push((decided, headers, respond, deadline, room)),
                Err(error) => self.tell_limit(respond, headers, Err(error)),
            }
        }
        if later.is_empty() {
            return;
        }
        // They wait for one commit, so one after another: who has the least time first.
        later.sort_by_key(|(_, _, _, deadline, _)| (deadline.at().is_none(), deadline.at()));
        let kept = room.as_mut().and_then(|room| room.split(later.len()));
        let edge = self.clone();
        tokio::spawn(async move {
            for (decided, headers, respond, deadline, room) in later {
                match deadline.bound(decided.told()).await {
                    Ok(told) => edge.tell_limit(respond, headers, told),
                    Err(fault) => reply::refuse(respond, fault),
                }
                drop(room);
            }
            drop(kept);
        });
    }

    fn tell_limit(&self, respond: SendResponse<Bytes>, headers: bool, told: Result<HitAnswer, EngineError>) {
        match told {
            Ok(answer) => {
                let message = self.desk.lock().answers.limited(&answer, headers);
                reply::answer(respond, message);
            }
            Err(error) => reply::refuse(respond, Fault::engine(&error, "")),
        }
    }
}
