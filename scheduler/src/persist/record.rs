//! A record of the journal: something that happened, when, and who caused it through what and why.

use std::fmt;
use std::sync::Arc;

use headgate_ledger::{Entry, Time};
use headgate_proto::journal::v1 as journal;
use headgate_proto::journal::v1::record::What as Form;
use prost::Message as _;

use super::error::{At, RecordError};
use super::form::{Persisted, parse_there};
use super::reader::RecordReader;
use super::writer::RecordWriter;

/// One thing that the journal says. Its number is the store's to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When it was posted.
    pub time: Time,
    /// Who caused it.
    pub origin: Arc<Origin>,
    /// What it says.
    pub what: What,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Something happened.
    Entry(Entry),
    /// What the ledger was after the record of this number.
    Digest {
        /// The number of a record before this one.
        sequence: u64,
        /// The ledger's digest there; none: it is being taken, and follows in a later record.
        value: Option<u64>,
    },
}

/// Who caused something, through which surface, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Who, as the surface knows them; empty: nobody, by time and state alone.
    pub actor: Arc<str>,
    /// Through what.
    pub surface: Surface,
    /// Why, in the actor's words.
    pub reason: Arc<str>,
}

/// What something came in through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Surface {
    /// Nothing: time and state alone.
    Ledger,
    /// The configuration file.
    File,
    /// gRPC.
    Grpc,
    /// HTTP.
    Http,
    /// The admission webhook.
    Webhook,
    /// The Kubernetes controller.
    Controller,
}

impl Surface {
    /// Every surface.
    pub const ALL: [Self; 6] = [Self::Ledger, Self::File, Self::Grpc, Self::Http, Self::Webhook, Self::Controller];

    /// The word for it, the same everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ledger => "ledger",
            Self::File => "file",
            Self::Grpc => "grpc",
            Self::Http => "http",
            Self::Webhook => "webhook",
            Self::Controller => "controller",
        }
    }
}

impl fmt::Display for Surface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Persisted for Surface {
    type Form = String;

    fn form(&self) -> String {
        self.word().to_owned()
    }

    fn parse(form: String) -> Result<Self, RecordError> {
        Self::ALL
            .into_iter()
            .find(|surface| surface.word() == form)
            .ok_or_else(|| RecordError::new(format!("{form:?} is no surface that this version knows")))
    }
}

impl Record {
    /// Appends the bytes that stand for it. Who has many to write has a [`RecordWriter`].
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(RecordWriter::default().write(self));
    }

    /// How many bytes stand for it.
    pub fn encoded_len(&self) -> usize {
        RecordWriter::default().write(self).len()
    }

    /// What the bytes stand for. Who has many to read has a [`RecordReader`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        RecordReader::default().read(bytes)
    }

    /// What the bytes stand for, as the library reads them.
    pub(crate) fn by_library(bytes: &[u8]) -> Result<Self, RecordError> {
        Self::parse(journal::Record::decode(bytes).map_err(|error| RecordError::new(error.to_string()))?)
    }

    /// The bytes that stand for it, as the library writes them.
    pub(crate) fn written_by_library(&self) -> Vec<u8> {
        self.form().encode_to_vec()
    }
}

impl Persisted for Record {
    type Form = journal::Record;

    fn form(&self) -> Self::Form {
        let Self { time, origin, what } = self;
        let Origin { actor, surface, reason } = &**origin;
        let what = match what {
            What::Entry(entry) => Form::Entry(entry.form()),
            What::Digest { sequence, value } => Form::Digest(journal::Digest { sequence: *sequence, value: *value }),
        };
        journal::Record {
            time_ns: time.form(),
            actor: (**actor).to_owned(),
            source: surface.form(),
            reason: (**reason).to_owned(),
            what: Some(what),
        }
    }

    fn parse(form: Self::Form) -> Result<Self, RecordError> {
        let journal::Record { time_ns, actor, source, reason, what } = form;
        let what = match what.ok_or_else(RecordError::missing).at("what")? {
            Form::Entry(entry) => What::Entry(parse_there(Some(entry), "entry")?),
            Form::Digest(journal::Digest { sequence, value }) => What::Digest { sequence, value },
        };
        let surface = Surface::parse(source).at("source")?;
        Ok(Self {
            time: Time::parse(time_ns)?,
            origin: Arc::new(Origin { actor: actor.into(), surface, reason: reason.into() }),
            what,
        })
    }
}
