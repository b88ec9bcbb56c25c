//! Errors, as a call of its own has them and as one operation among many has them.

use std::fmt;
use std::time::Duration;

use headgate_ledger::Problem;
use headgate_proto::{errors, v1};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use crate::auth::{Busy, Caller, Unknown};
use crate::config::Permission;
use crate::engine::{EngineError, Outage};

/// Offending fields that one error names: enough to mend a message by, and a bound on what a malformed one costs.
pub(super) const VIOLATIONS_MAX: usize = 32;

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Violation {
    field: String,
    why: String,
}

/// What is wrong with the fields of a message.
#[derive(Debug, Default)]
pub(super) struct Violations(Vec<Violation>);

impl Violations {
    /// Adds what is wrong with a field, by its path from the message.
    pub(super) fn add(&mut self, field: impl Into<String>, why: impl fmt::Display) {
        if self.0.len() < VIOLATIONS_MAX {
            self.0.push(Violation { field: field.into(), why: why.to_string() });
        }
    }

    /// Takes a value out of what parsed it, or adds why it was refused.
    pub(super) fn take<T, E: fmt::Display>(&mut self, field: &str, parsed: Result<T, E>) -> Option<T> {
        parsed.map_err(|why| self.add(field, why)).ok()
    }

    /// What was parsed, where nothing is wrong with the message.
    pub(super) fn or<T>(self, parsed: Option<T>) -> Result<T, Fault> {
        match parsed {
            Some(parsed) if self.0.is_empty() => Ok(parsed),
            _ => Err(Fault::invalid(self)),
        }
    }
}

/// Why something was not done.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    code: Code,
    message: String,
    /// For programs, where one branches on it.
    reason: Option<&'static str>,
    fields: Vec<Violation>,
    retry_after: Option<Duration>,
}

impl Fault {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), reason: None, fields: Vec::new(), retry_after: None }
    }

    pub(super) fn code(&self) -> Code {
        self.code
    }

    /// A message with something wrong in it.
    pub(super) fn invalid(Violations(fields): Violations) -> Self {
        let message = match &fields[..] {
            [] => "the message is malformed".to_owned(),
            [Violation { field, why }] => format!("{field}: {why}"),
            [Violation { field, why }, rest @ ..] => format!("{field}: {why}; and {} more", rest.len()),
        };
        Self { fields, ..Self::new(Code::InvalidArgument, message) }
    }

    /// A message with one thing wrong in it.
    pub(super) fn field(field: impl Into<String>, why: impl fmt::Display) -> Self {
        let mut violations = Violations::default();
        violations.add(field, why);
        Self::invalid(violations)
    }

    /// What does not exist, or what the caller may not see: nobody can tell the two apart.
    pub(super) fn not_found(what: impl fmt::Display) -> Self {
        Self::new(Code::NotFound, format!("there is no {what}"))
    }

    /// A caller that may not do this at all.
    pub(super) fn forbidden(caller: &Caller, permission: Permission) -> Self {
        let word = match permission {
            Permission::Check => "check",
            Permission::Acquire => "acquire",
            Permission::Admin => "admin",
        };
        let message = format!("{} may not do this: it takes {word} under `may` in the configuration", caller.name());
        Self::new(Code::PermissionDenied, message)
    }

    /// Something of the wrong state; `reason` tells programs which.
    pub(super) fn precondition(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason: Some(reason), ..Self::new(Code::FailedPrecondition, message) }
    }

    /// Not now.
    pub(super) fn unavailable(message: impl Into<String>, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(Code::Unavailable, message) }
    }

    /// A call's own deadline came first.
    pub(super) fn deadline() -> Self {
        Self::new(Code::DeadlineExceeded, "the call's deadline came first: ask again with the same request id")
    }

    /// What the engine did not answer, of a message whose fields stand under `at` (`request.`).
    pub(super) fn engine(error: &EngineError, at: &str) -> Self {
        let message = error.to_string();
        match error {
            EngineError::NoTenant(_)
            | EngineError::NoPool(_)
            | EngineError::NoQuota(..)
            | EngineError::NoLease(_)
            | EngineError::NoRequest { .. }
            | EngineError::NoCell(_) => Self::new(Code::NotFound, message),
            EngineError::Invalid { field, why } => Self::field(format!("{at}{field}"), why),
            EngineError::MembersFull { .. } => Self::precondition(errors::MEMBERS_FULL, message),
            EngineError::Exists(_) => Self::new(Code::AlreadyExists, message),
            EngineError::Gone(_) => Self::precondition(errors::LEASE_GONE, message),
            EngineError::Waits(_) => Self::precondition(errors::STILL_WAITING, message),
            EngineError::Conflict { .. } => Self::precondition(errors::VERSION_CHANGED, message),
            EngineError::Refused(problems) => Self::problems(problems),
            EngineError::OutOfRange { .. } => Self::new(Code::OutOfRange, message),
            EngineError::Unavailable { why, retry_after } => match why {
                // Where the store does not keep up, the same request may pass in a moment.
                Outage::StoreDown { .. }
                | Outage::Overloaded { .. }
                | Outage::NotLeading { .. }
                | Outage::Closing
                | Outage::Broken { .. } => Self::unavailable(message, *retry_after),
            },
        }
    }

    /// What is wrong with a change of configuration.
    pub(super) fn problems(problems: &[Problem]) -> Self {
        let mut wrong = Violations::default();
        for Problem { object, why } in problems {
            wrong.add(object, why);
        }
        Self::invalid(wrong)
    }

    /// The status of one operation among many.
    pub(super) fn into_wire(self) -> v1::Status {
        let Self { code, message, reason, fields, retry_after } = self;
        v1::Status {
            code: code.into(),
            message,
            reason: reason.unwrap_or_default().to_owned(),
            field_violations: fields
                .into_iter()
                .map(|Violation { field, why }| v1::FieldViolation { field, description: why })
                .collect(),
            retry_after: retry_after.and_then(|after| after.try_into().ok()),
        }
    }
}

impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        let Fault { code, message, reason, fields, retry_after } = fault;
        let mut details = ErrorDetails::new();
        if let Some(reason) = reason {
            details.set_error_info(reason, errors::DOMAIN, std::collections::HashMap::new());
        }
        if !fields.is_empty() {
            let violation = |Violation { field, why }| FieldViolation::new(field, why);
            details.set_bad_request(fields.into_iter().map(violation).collect::<Vec<_>>());
        }
        if retry_after.is_some() {
            details.set_retry_info(retry_after);
        }
        Self::with_error_details(code, message, details)
    }
}

impl From<Busy> for Fault {
    fn from(Busy { what, retry_after }: Busy) -> Self {
        let message = format!("too much at once: {what} are at their limit; come again in a moment");
        Self { retry_after: Some(retry_after), ..Self::new(Code::ResourceExhausted, message) }
    }
}

impl From<Unknown> for Fault {
    fn from(unknown: Unknown) -> Self {
        Self::new(Code::Unauthenticated, unknown.to_string())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
