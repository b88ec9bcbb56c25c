//! What is said to an engine, and what is read of its answers: the ledger's own words.

use std::sync::Arc;
use std::time::Duration;

use headgate_ledger::{
    Amounts, Demand, Holder, Name, Outcome, Request, RequestId, Resource, State, TenantPath, default_cell,
};
use headgate_proto::v1::Reason;
use headgate_scheduler::engine::{Done, EngineError, LeaseId, Operation, Target};
use headgate_scheduler::grpc;

use crate::calls::{About, ID_BYTES, Kind, Mark, Said};
use crate::fault::Fault;
use crate::scenario::Scenario;

/// What tenants ask for of each size, kept in memory once for each up to so many, as a server does of what it is asked again.
const DEMANDS_MAX: usize = 1 << 16;

/// Requests, made beforehand as far as they have things in common.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    /// By tenant, of nothing yet.
    tenants: Vec<Request>,
    shapes: Vec<Amounts>,
    /// By tenant and size; empty where there are too many.
    demands: Vec<Arc<Demand>>,
    /// Where ids are of, mostly.
    cell: Name,
}

impl Requests {
    pub(crate) fn new(scenario: &Scenario, mark: &Mark) -> Result<Self, Fault> {
        let refuse = |error: &dyn std::fmt::Display| Fault::Usage(error.to_string());
        let pool = Name::parse(&scenario.pool.name).map_err(|error| refuse(&error))?;
        let holder = Holder::parse(&mark.holder).map_err(|error| refuse(&error))?;
        let tenant = |path: &str| {
            let path = TenantPath::parse(path).map_err(|error| refuse(&error))?;
            let id = RequestId::parse("0").map_err(|error| refuse(&error))?;
            let mut request = Request::new(id, path, pool.clone(), Amounts::default());
            request.wait = scenario.wait;
            request.ttl = Some(Duration::from_secs(mark.ttl_s));
            request.holder = Some(holder.clone());
            Ok::<_, Fault>(request)
        };
        let tenants = scenario.tenants.iter().map(|one| tenant(&one.path)).collect::<Result<Vec<_>, _>>()?;
        let shapes = scenario.shapes.iter().map(amounts).collect::<Result<Vec<_>, _>>()?;
        let demand = |tenant: &Request, resources: &Amounts| {
            Arc::new(Demand { resources: resources.clone(), ..Demand::clone(&tenant.demand) })
        };
        let of_tenant = |tenant| shapes.iter().map(move |resources| demand(tenant, resources));
        let few = tenants.len().saturating_mul(shapes.len()) <= DEMANDS_MAX;
        let demands = if few { tenants.iter().flat_map(of_tenant).collect() } else { Vec::new() };
        Ok(Self { tenants, shapes, demands, cell: default_cell() })
    }

    /// The request of a tenant, of a size; without an id of its own it has one that all have who only ask.
    pub(crate) fn request(&self, tenant: u32, shape: u32, id: Option<&[u8; ID_BYTES]>) -> Request {
        let (nameless, shape) = (&self.tenants[tenant as usize], shape as usize);
        let mut request = match self.demands.get(tenant as usize * self.shapes.len() + shape) {
            Some(demand) => Request { id: nameless.id.clone(), demand: demand.clone() },
            None => {
                let mut request = nameless.clone();
                request.resources = self.shapes[shape].clone();
                request
            }
        };
        if let Some(id) = id {
            let id = std::str::from_utf8(id).ok().and_then(|id| RequestId::parse(id).ok());
            request.id = id.unwrap_or_else(|| unreachable!("ids are written here, of digits"));
        }
        request
    }

    /// An operation.
    pub(crate) fn operation(&self, kind: Kind, about: About<'_>) -> Operation {
        let explain = false;
        match (kind, about) {
            (Kind::Check, About::Request { tenant, shape, id }) => {
                Operation::Check { request: Arc::new(self.request(tenant, shape, id)), explain }
            }
            (_, About::Request { tenant, shape, id }) => {
                Operation::Acquire { request: Arc::new(self.request(tenant, shape, id)), explain }
            }
            (kind, About::Lease(id)) => {
                let id = std::str::from_utf8(id).ok().and_then(|id| LeaseId::parse_near(id, Some(&self.cell)).ok());
                let Some(id) = id else { unreachable!("an engine gave it out") };
                let target = Target::One(id);
                if kind == Kind::Renew { Operation::Renew { target, holder: None } } else { Operation::Release(target) }
            }
        }
    }
}

/// Amounts as a ledger has them.
pub(super) fn amounts(of: &crate::scenario::Amounts) -> Result<Amounts, Fault> {
    let refuse = |error: &dyn std::fmt::Display| Fault::Usage(error.to_string());
    let named = of.iter().map(|(name, amount)| Ok((Resource::parse(name).map_err(|error| refuse(&error))?, *amount)));
    Amounts::new(named.collect::<Result<Vec<_>, Fault>>()?).map_err(|error| refuse(&error))
}

/// Hands on what an engine answered, in the words of the wire.
pub(crate) fn answered<R>(done: &Result<Done, EngineError>, hear: impl FnOnce(Said<'_>) -> R) -> R {
    let answer = match done {
        Err(error) => return failed(error, hear),
        Ok(done @ (Done::One(_) | Done::Each(_))) => {
            return match done.each().first() {
                Some((_, Err(error))) => failed(error, hear),
                Some((_, Ok(_))) | None => hear(Said::Done),
            };
        }
        Ok(Done::Decided(answer)) => answer,
    };
    if answer.stands.as_ref().is_some_and(|stands| matches!(stands.state(), State::Ended(_))) {
        return hear(Said::Ended);
    }
    let id = answer.id().map_or_else(String::new, |id| id.to_string());
    match answer.outcome {
        Outcome::Allow => hear(Said::Allow(id.as_bytes())),
        Outcome::Queue => hear(Said::Queue(id.as_bytes())),
        Outcome::Deny => {
            let reason = answer.reasons.first().and_then(|reason| Reason::from_word(reason.code.word()));
            hear(Said::Deny(reason.map_or(0, |reason| reason as u8)))
        }
    }
}

fn failed<R>(error: &EngineError, hear: impl FnOnce(Said<'_>) -> R) -> R {
    hear(Said::Failed(grpc::code(error).into(), error.to_string().as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use headgate_scheduler::engine::{EngineError, LeaseId, Operation, Target};

    use super::{Requests, answered};
    use crate::calls::{About, ID_BYTES, Kind, Mark, Said};
    use crate::codes;
    use crate::scenario::Scenario;

    const ID: [u8; ID_BYTES] = *b"0123456789abcdef01234567";

    fn requests() -> Requests {
        let yaml = "scenario: x\nwait: true\nmix: {acquire: 1}\nsizes: {cpu: 2, gpu: 1}\ntenants: [{path: loadtest/a}]";
        let scenario = Scenario::parse("x", yaml, Path::new(".")).expect("read");
        Requests::new(&scenario, &Mark { holder: "me".to_owned(), ttl_s: 300 }).expect("requests")
    }

    #[test]
    fn what_is_asked_is_what_is_meant() {
        let asked = requests().operation(Kind::Acquire, About::Request { tenant: 0, shape: 0, id: Some(&ID) });
        let Operation::Acquire { request, .. } = asked else { panic!("{asked:?}") };
        assert_eq!((request.id.as_str().as_bytes(), request.tenant.as_str()), (&ID[..], "loadtest/a"));
        assert_eq!((request.pool.as_str(), request.wait), ("loadtest", true));
        assert_eq!(request.holder.as_ref().map(|holder| holder.as_str()), Some("me"));
        assert_eq!(request.ttl.map(|ttl| ttl.as_secs()), Some(300));
        assert_eq!((request.resources.get("cpu"), request.resources.get("gpu")), (Some(2000), Some(1)));
        let asked = requests().operation(Kind::Release, About::Lease(b"main-7"));
        let Operation::Release(Target::One(id)) = asked else { panic!("{asked:?}") };
        assert_eq!(id, LeaseId::parse("main-7").expect("an id"));
    }

    #[test]
    fn an_error_has_the_code_that_the_wire_has_for_it() {
        let gone = EngineError::Gone(LeaseId::parse("main-7").expect("an id"));
        let code = answered(&Err(gone), |said| match said {
            Said::Failed(code, _) => code,
            said => panic!("{said:?}"),
        });
        assert_eq!(code, codes::FAILED_PRECONDITION);
    }
}
