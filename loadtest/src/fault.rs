//! Why a load test failed, in one sentence that says what and what would help.

use std::process::ExitCode;

/// Why it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The command line, or a file that it names, says what cannot be.
    Usage(String),
    /// It could not be done, or what was asserted does not hold.
    Failed(String),
}

impl Fault {
    pub(crate) fn exit(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Usage(_) => 2,
            Self::Failed(_) => 1,
        })
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Usage(what) | Self::Failed(what) => f.write_str(what),
        }
    }
}

impl From<headgate_scheduler::config::Problems> for Fault {
    fn from(problems: headgate_scheduler::config::Problems) -> Self {
        Self::Usage(problems.to_string())
    }
}
