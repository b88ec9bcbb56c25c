//! What every call passes first: who calls, whether they may, and whether there is room.

use std::sync::Arc;
use std::time::Instant;

use tonic::codegen::http::HeaderValue;
use tonic::{Code, Request};

use crate::auth::{Caller, Peer, Registry};
use crate::config::Permission;

use super::deadline::{Arrival, Deadline};
use super::fault::Fault;

/// What every call passes first.
#[derive(Clone, Debug)]
pub(super) struct Door {
    callers: Arc<Registry>,
}

/// A call that passed: its caller and its deadline.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) caller: Arc<Caller>,
    pub(super) deadline: Deadline,
}

impl Door {
    pub(super) fn new(callers: Arc<Registry>) -> Self {
        Self { callers }
    }

    /// Who calls, where they may do this at all. Whether they may for a tenant is seen where the tenant is known.
    pub(super) fn enter<T>(&self, request: &Request<T>, permission: Permission) -> Result<Call, Fault> {
        let extensions = request.extensions();
        let unknown = Peer::plain(None);
        let peer = extensions.get::<Peer>().unwrap_or(&unknown);
        let arrival = extensions.get::<Arrival>().map_or_else(Instant::now, |arrival| arrival.0);
        let said = |name| request.metadata().as_ref().get(name);
        let deadline = Deadline::of(said("grpc-timeout").map(HeaderValue::as_bytes), arrival);
        self.admit(peer, said("authorization"), permission, deadline)
    }

    /// The same, for a call of which this is known.
    pub(super) fn admit(
        &self,
        peer: &Peer,
        authorization: Option<&HeaderValue>,
        permission: Permission,
        deadline: Deadline,
    ) -> Result<Call, Fault> {
        let authorization = match authorization.map(HeaderValue::to_str) {
            None => None,
            Some(Ok(text)) => Some(text),
            Some(Err(_)) => return Err(Fault::new(Code::Unauthenticated, "the authorization is no text")),
        };
        let caller = self.callers.now().identify(peer, authorization)?;
        if !caller.may(permission) {
            return Err(Fault::forbidden(&caller, permission));
        }
        Ok(Call { caller, deadline })
    }
}
