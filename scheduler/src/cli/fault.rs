//! Why a verb failed, in one sentence that says what and what would help.

use std::error::Error as _;
use std::time::Duration;
use std::{fmt, io};

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{FAILED, USAGE};
use crate::config::format_span;

/// Why a verb failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The command line says what cannot be.
    Usage(String),
    /// It failed, and this is why.
    Failed(String),
    /// It failed here: a file, a process.
    Broken(io::Error),
    /// The server could not be reached.
    Unreachable {
        /// Where it was looked for.
        server: String,
        /// Why not, as the system says it.
        why: String,
    },
    /// The server answered with an error.
    Refused(Box<Status>),
    /// Nobody reads what is printed any more: nothing is wrong.
    Unread,
}

impl Fault {
    /// What a call came to, of the server at this address.
    pub(super) fn of(status: Status, server: &str) -> Self {
        match transport(&status) {
            Some(why) => Self::Unreachable { server: server.to_owned(), why },
            None => Self::Refused(Box::new(status)),
        }
    }

    /// The exit status that tells of it.
    pub(super) fn status(&self) -> u8 {
        match self {
            Self::Usage(_) => USAGE,
            Self::Failed(_) | Self::Broken(_) | Self::Unreachable { .. } | Self::Refused(_) => FAILED,
            Self::Unread => super::DONE,
        }
    }

    /// The server's code, where it answered.
    pub(super) fn code(&self) -> Option<Code> {
        match self {
            Self::Refused(status) => Some(status.code()),
            Self::Usage(_) | Self::Failed(_) | Self::Broken(_) | Self::Unreachable { .. } | Self::Unread => None,
        }
    }

    /// Whether the same call, with the same id, may succeed in a moment.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused(status) => matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded),
            Self::Usage(_) | Self::Failed(_) | Self::Broken(_) | Self::Unread => false,
        }
    }

    /// When the server asked to be called again.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(status) => status.get_details_retry_info().and_then(|info| info.retry_delay),
            Self::Usage(_) | Self::Failed(_) | Self::Broken(_) | Self::Unreachable { .. } | Self::Unread => None,
        }
    }

    /// The same, with what helps in the verb at hand.
    pub(super) fn but(self, help: impl fmt::Display) -> Self {
        match self {
            Self::Unread => Self::Unread,
            Self::Usage(_) => self,
            Self::Failed(_) | Self::Broken(_) | Self::Unreachable { .. } | Self::Refused(_) => {
                Self::Failed(format!("{self}; {help}"))
            }
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::Unread } else { Self::Broken(error) }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(why) | Self::Failed(why) => f.write_str(why),
            Self::Broken(error) => f.write_str(&plain(error)),
            Self::Unreachable { server, why } if why.contains("certificate") => {
                write!(
                    f,
                    "cannot trust the server at {server}: {why}; --ca names the file of whoever signed its certificate"
                )
            }
            // What rustls says where the other side answers in plain text.
            Self::Unreachable { server, why } if why.contains("InvalidContentType") => {
                write!(
                    f,
                    "cannot reach the server at {server}: it speaks no TLS; does http:// in place of https:// help?"
                )
            }
            Self::Unreachable { server, why } => write!(
                f,
                "cannot reach the server at {server}: {why}; is `headgate serve` running? --server names another"
            ),
            Self::Refused(status) => refused(f, status),
            Self::Unread => f.write_str("nobody reads the output"),
        }
    }
}

/// The code's word and the message, then what its details add.
fn refused(f: &mut fmt::Formatter<'_>, status: &Status) -> fmt::Result {
    write!(f, "{}", code_word(status.code()))?;
    if !status.message().is_empty() {
        write!(f, ": {}", status.message())?;
    }
    let details = status.get_error_details();
    if let Some(info) = details.error_info().filter(|info| !info.reason.is_empty()) {
        write!(f, " ({})", info.reason)?;
    }
    let told = status.message().contains("try again in");
    if let Some(delay) = details.retry_info().and_then(|info| info.retry_delay).filter(|_| !told) {
        write!(f, "; try again in {}", format_span(delay))?;
    }
    if let Some(bad) = details.bad_request() {
        for violation in &bad.field_violations {
            let told = status.message().contains(&violation.description) && status.message().contains(&violation.field);
            if !told {
                write!(f, "\n  {}: {}", violation.field, violation.description)?;
            }
        }
    }
    Ok(())
}

/// A code, in the words of everything else here.
pub(super) fn code_word(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "cancelled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid-argument",
        Code::DeadlineExceeded => "deadline-exceeded",
        Code::NotFound => "not-found",
        Code::AlreadyExists => "already-exists",
        Code::PermissionDenied => "permission-denied",
        Code::ResourceExhausted => "resource-exhausted",
        Code::FailedPrecondition => "failed-precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out-of-range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data-loss",
        Code::Unauthenticated => "unauthenticated",
    }
}

/// Why the server was not reached; none where it was, and answered.
fn transport(status: &Status) -> Option<String> {
    let mut found = None;
    let mut broken = false;
    let mut source = status.source();
    while let Some(error) = source {
        broken |= error.is::<tonic::transport::Error>();
        found = Some(error.downcast_ref::<io::Error>().map_or_else(|| error.to_string(), plain));
        source = error.source();
    }
    if broken { found } else { None }
}

/// What the system says, as a part of a sentence.
pub(super) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    let first = letters.next().map(char::to_lowercase).into_iter().flatten();
    first.chain(letters).collect()
}
