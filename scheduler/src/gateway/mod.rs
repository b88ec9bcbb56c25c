//! What gateways ask of a call before they let it pass, and which tenant's it is: the `rate_limit_service` section of the
//! configuration, at work. It finds tenants, and decides nothing.

mod made;
mod rules;

pub use rules::{Domain, Found, PathPart, Rule, Rules};
