//! Envoy's `RateLimitService`, on the engine: descriptors are found their tenants, and decided together as hits.
//!
//! A descriptor that no rule of its domain matches, or whose tenant nobody is, counts nowhere and stands against nothing, as
//! gateways expect it; so does what no rate and no budget counts.

use std::sync::Arc;

use arc_swap::ArcSwap;
use headgate_ledger::{Hit, Name, Resource};
use headgate_proto::envoy::rate_limit_service_server::RateLimitService;
use headgate_proto::envoy::{RateLimitRequest, RateLimitResponse};
use prost::Message as _;
use tonic::{Code, Request, Response, Status};

use super::door::Call;
use super::fault::Fault;
use super::service::{Service, asker};
use crate::config::Permission;
use crate::engine::HitCall;
use crate::gateway::{Domain, Found, Rules};
use crate::protobuf::NotPlain;

mod answer;
mod asked;

use answer::response;
pub(super) use answer::write;
use asked::{Asked, HITS_ADDEND_MAX};

/// `RateLimitService`, on the engine.
#[derive(Clone, Debug)]
pub(super) struct Limiting {
    pub(super) service: Service,
    /// Swapped whole where the configuration is read again.
    pub(super) rules: Arc<ArcSwap<Rules>>,
}

#[tonic::async_trait]
impl RateLimitService for Limiting {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let call = self.service.door.enter(&request, Permission::Acquire)?;
        Ok(Response::new(self.answer(&call, &request.into_inner()).await?))
    }
}

/// What is asked of one call, and how it is answered.
#[derive(Clone, Debug)]
pub(super) struct Limited {
    pub(super) hits: HitCall,
    /// Whether the answer has headers.
    pub(super) headers: bool,
}

impl Limiting {
    async fn answer(&self, call: &Call, wire: &RateLimitRequest) -> Result<RateLimitResponse, Fault> {
        let _room = call.caller.meter().operation()?;
        let Limited { hits, headers } = self.understand(&Asked::of(wire))?;
        let decided = self.service.engine.hit(&asker(&call.caller), &[hits]).pop();
        let decided = decided.unwrap_or_else(|| unreachable!("one call has one answer"));
        let told = |error| Fault::engine(&error, "");
        let answer = call.deadline.bound(decided.map_err(told)?.told()).await?.map_err(told)?;
        Ok(response(&answer, headers))
    }

    /// Takes a message apart.
    pub(super) fn parse(&self, message: &[u8]) -> Result<Limited, Fault> {
        match Asked::plain(message) {
            Ok(asked) => self.understand(&asked),
            Err(NotPlain) => {
                let wire = RateLimitRequest::decode(message);
                let wire = wire.map_err(|error| Fault::new(Code::Internal, error.to_string()))?;
                self.understand(&Asked::of(&wire))
            }
        }
    }

    /// Whose the descriptors are, by the rules of their domain.
    fn understand(&self, asked: &Asked<'_>) -> Result<Limited, Fault> {
        let rules = self.rules.load();
        if rules.is_empty() {
            let why = "no domain is configured: name one under rate_limit_service";
            return Err(Fault::new(Code::Unimplemented, why));
        }
        asked.check()?;
        let Some(domain) = rules.domain(asked.domain) else {
            return Ok(Limited { hits: HitCall(vec![Vec::new(); asked.descriptors.len()]), headers: false });
        };
        let each = asked.descriptors.iter().map(|descriptor| {
            let hit = |Found { tenant, pool, resource }: Found<'_>| {
                let amount = asked.addend(descriptor);
                Hit { pool: pool.clone(), tenant, resource: resource.clone(), amount }
            };
            domain.find(descriptor.words.clone()).map(hit).collect()
        });
        Ok(Limited { hits: HitCall(each.collect()), headers: domain.headers })
    }
}

/// Takes a message as a stranger may send it: what is well-formed is looked for in a domain that takes anything.
pub(super) fn garbled(message: &[u8]) {
    let wire = RateLimitRequest::decode(message);
    if let Ok(plain) = Asked::plain(message) {
        assert_eq!(wire.as_ref().map(Asked::of), Ok(plain), "it is read by hand as by the library");
    }
    let Ok(wire) = wire else { return };
    let asked = Asked::of(&wire);
    if asked.check().is_err() {
        return;
    }
    let (Ok(pool), Ok(resource)) = (Name::parse("default"), Resource::parse("requests")) else { return };
    for descriptor in &asked.descriptors {
        let domain = Domain::taking_all(&descriptor.words, &pool, &resource);
        for found in domain.find(descriptor.words.clone()) {
            assert!(found.tenant.depth() > 0 && asked.addend(descriptor) <= HITS_ADDEND_MAX);
        }
    }
}

/// A request that is whole, to begin with.
#[cfg(test)]
pub(super) fn whole() -> RateLimitRequest {
    use headgate_proto::envoy::RateLimitDescriptor;
    use headgate_proto::envoy::rate_limit_descriptor::Entry;
    let entry = |key: &str, value: &str| Entry { key: key.to_owned(), value: value.to_owned() };
    let entries = vec![entry("path", "/api"), entry("remote_address", "10.0.0.1")];
    let descriptor = RateLimitDescriptor { entries, limit: None, hits_addend: Some(3) };
    RateLimitRequest { domain: "edge".to_owned(), descriptors: vec![descriptor], hits_addend: 1 }
}
