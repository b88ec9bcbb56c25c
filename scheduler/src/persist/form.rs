//! The two directions, and the forms that many things share.

use std::time::Duration;

use headgate_ledger::{Holder, Name, NameError, RequestId, Resource, TenantPath, Time};

use super::error::{At, RecordError};

/// Something with a persisted form.
pub(super) trait Persisted: Sized {
    /// What stands in the journal for it.
    type Form;

    /// Its form.
    fn form(&self) -> Self::Form;

    /// What the form stands for.
    fn parse(form: Self::Form) -> Result<Self, RecordError>;
}

/// The forms of a list.
pub(super) fn forms<'a, T: Persisted + 'a>(items: impl IntoIterator<Item = &'a T>) -> Vec<T::Form> {
    items.into_iter().map(Persisted::form).collect()
}

/// A list from its forms.
pub(super) fn parse_all<T: Persisted>(forms: Vec<T::Form>, field: &'static str) -> Result<Vec<T>, RecordError> {
    forms.into_iter().enumerate().map(|(index, form)| T::parse(form).at_item(field, index)).collect()
}

/// What is always written.
pub(super) fn parse_there<T: Persisted>(form: Option<T::Form>, field: &'static str) -> Result<T, RecordError> {
    form.ok_or_else(RecordError::missing).and_then(T::parse).at(field)
}

/// What is written where it is said.
pub(super) fn parse_said<T: Persisted>(form: Option<T::Form>, field: &'static str) -> Result<Option<T>, RecordError> {
    form.map(T::parse).transpose().at(field)
}

/// Names stand for themselves.
macro_rules! text {
    ($($name:ty: $parse:expr),* $(,)?) => {$(
        impl Persisted for $name {
            type Form = String;

            fn form(&self) -> String {
                self.as_str().to_owned()
            }

            fn parse(form: String) -> Result<Self, RecordError> {
                let parse: fn(&str) -> Result<$name, NameError> = $parse;
                Ok(parse(&form)?)
            }
        }
    )*};
}

text! {
    Name: Name::parse,
    Resource: Resource::parse,
    TenantPath: TenantPath::parse,
    RequestId: RequestId::kept,
    Holder: Holder::kept,
}

/// A tenant's path where the root may stand too.
pub(super) fn parse_place(form: &str) -> Result<TenantPath, RecordError> {
    if form.is_empty() { Ok(TenantPath::root()) } else { Ok(TenantPath::parse(form)?) }
}

/// A span in nanoseconds. All that the ledger takes can be written so.
pub(super) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

impl Persisted for Time {
    type Form = u64;

    fn form(&self) -> u64 {
        self.nanos()
    }

    fn parse(form: u64) -> Result<Self, RecordError> {
        Ok(Self::from_nanos(form))
    }
}

/// A closed set of words, each with its number.
macro_rules! words {
    ($ours:ty = $theirs:ident { $($our:ident <=> $their:ident),* $(,)? }) => {
        impl Persisted for $ours {
            type Form = i32;

            fn form(&self) -> i32 {
                (match self { $(Self::$our => headgate_proto::journal::v1::$theirs::$their),* }) as i32
            }

            fn parse(form: i32) -> Result<Self, RecordError> {
                use headgate_proto::journal::v1::$theirs;
                match $theirs::try_from(form) {
                    $(Ok($theirs::$their) => Ok(Self::$our),)*
                    Ok($theirs::Unspecified) => Err(RecordError::missing()),
                    Err(_) => Err(RecordError::new(format!(
                        "{form} is a word that this version does not know: read it with the version that wrote it"
                    ))),
                }
            }
        }
    };
}
pub(super) use words;
