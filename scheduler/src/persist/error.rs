//! What is wrong in a record, and where.

use std::fmt;

/// Why something persisted was not understood: where in it, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// Fields from the inside out.
    path: Vec<Step>,
    why: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(&'static str),
    Item(usize),
}

impl RecordError {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self { path: Vec::new(), why: why.into() }
    }

    /// Something that is always written is not there: nothing, or of a kind that a later version knows.
    pub(super) fn missing() -> Self {
        Self::new("is not there, or of a kind that this version does not know: read it with the version that wrote it")
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, step) in self.path.iter().rev().enumerate() {
            match step {
                Step::Field(name) if nth == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Item(index) => write!(f, "[{index}]")?,
            }
        }
        if !self.path.is_empty() {
            f.write_str(": ")?;
        }
        f.write_str(&self.why)
    }
}

impl std::error::Error for RecordError {}

/// Says in which field something went wrong.
pub(super) trait At<T> {
    fn at(self, field: &'static str) -> Result<T, RecordError>;
    fn at_item(self, field: &'static str, index: usize) -> Result<T, RecordError>;
}

impl<T, E: Into<RecordError>> At<T> for Result<T, E> {
    fn at(self, field: &'static str) -> Result<T, RecordError> {
        self.map_err(|error| {
            let mut error = error.into();
            error.path.push(Step::Field(field));
            error
        })
    }

    fn at_item(self, field: &'static str, index: usize) -> Result<T, RecordError> {
        self.map_err(|error| {
            let mut error = error.into();
            error.path.extend([Step::Item(index), Step::Field(field)]);
            error
        })
    }
}

impl From<headgate_ledger::NameError> for RecordError {
    fn from(error: headgate_ledger::NameError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<headgate_ledger::AmountsError> for RecordError {
    fn from(error: headgate_ledger::AmountsError) -> Self {
        Self::new(error.to_string())
    }
}
