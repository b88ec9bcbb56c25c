//! Requests that were parsed before.
//!
//! Callers ask the same again and again: the same tenant, the same amounts, the same holder, and nothing but the id is
//! another. So the bytes of a request without its id are remembered with what was parsed of them, and whoever sends them
//! again gets that, with the id put in; names are not read, checked and kept in memory again each time. What is
//! remembered is what the parser said of the same bytes, so nothing can pass here that would not pass there.

use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;

use foldhash::quality::RandomState;
use headgate_ledger::{Name, Request, RequestId};
use headgate_proto::v1;
use prost::{DecodeError, Message};
use tonic::Code;

use crate::auth::Caller;
use crate::engine::LeaseId;
use crate::grpc::fault::Fault;
use crate::grpc::operations::{self, Kind, Parsed};
use crate::grpc::parse::{self, Asked, Named};
use crate::protobuf::{Field, Fields, single};

/// Requests that are remembered: some for each of a thousand tenants.
const REMEMBERED_MAX: usize = 4_096;
/// Bytes of a request that is remembered.
const BYTES_MAX: usize = 512;

/// Requests that were parsed before, each in the place that its bytes hash to: what comes later takes the place.
pub(super) struct Remembered {
    hasher: RandomState,
    places: Box<[Place]>,
    /// The cell of the last id: ids mostly are of one.
    cell: Option<Name>,
}

#[derive(Default)]
struct Place {
    /// The hash of what came last and found no entry. What comes once is not remembered: most of what is new never comes
    /// again.
    seen: u64,
    entry: Option<Entry>,
}

struct Entry {
    bytes: Box<[u8]>,
    /// With an id that is nobody's.
    asked: Asked,
}

impl Default for Remembered {
    fn default() -> Self {
        let places = std::iter::repeat_with(Place::default).take(REMEMBERED_MAX).collect();
        Self { hasher: RandomState::default(), places, cell: None }
    }
}

impl std::fmt::Debug for Remembered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remembered").finish_non_exhaustive()
    }
}

/// A request's bytes, parted where its id lies.
#[derive(Clone, Copy, Debug)]
struct Parted<'a> {
    before: &'a [u8],
    id: &'a [u8],
    after: &'a [u8],
}

impl<'a> Parted<'a> {
    /// None where it has its id twice, or is malformed.
    fn of(request: &'a [u8]) -> Option<Self> {
        const ID: u32 = 1;
        let mut parted = Self { before: &[], id: &[], after: request };
        let mut fields = Fields(request);
        let mut named = false;
        loop {
            let at = request.len() - fields.0.len();
            match (fields.next(), named) {
                (None, _) => return Some(parted),
                (Some(Ok((ID, Field::Bytes(id)))), false) => {
                    named = true;
                    parted = Self { before: &request[..at], id, after: fields.0 };
                }
                (Some(Ok((ID, _)) | Err(_)), _) => return None,
                (Some(Ok(_)), _) => {}
            }
        }
    }

    fn is(self, bytes: &[u8]) -> bool {
        bytes
            .split_at_checked(self.before.len())
            .is_some_and(|(before, after)| before == self.before && after == self.after)
    }
}

impl Remembered {
    /// Parses the message of a call of its own, or of an operation; what does not decode is no message of its kind.
    pub(super) fn parse(
        &mut self,
        kind: Kind,
        message: &[u8],
        caller: &Caller,
    ) -> Result<Result<Parsed, Fault>, DecodeError> {
        if let Some(parsed) = self.one(kind, message) {
            return Ok(Ok(parsed));
        }
        Ok(match kind {
            Kind::Acquire => match self.plain(message, Named::Required, caller) {
                Some(asked) => Ok(operations::to_acquire(asked)),
                None => operations::acquire(Message::decode(message)?, caller),
            },
            Kind::Check => match self.plain(message, Named::Optional, caller) {
                Some(asked) => Ok(operations::to_check(asked)),
                None => operations::check(Message::decode(message)?, caller),
            },
            Kind::Confirm => operations::confirm(Message::decode(message)?),
            Kind::Renew => operations::renew(Message::decode(message)?),
            Kind::Resize => operations::resize(Message::decode(message)?),
            Kind::Release => operations::release(Message::decode(message)?),
            Kind::Cancel => operations::cancel(Message::decode(message)?),
        })
    }

    /// What names one lease or ticket, and says nothing else; else the parser says what it is.
    fn one(&mut self, kind: Kind, message: &[u8]) -> Option<Parsed> {
        if matches!(kind, Kind::Acquire | Kind::Check | Kind::Resize) {
            return None;
        }
        let id = std::str::from_utf8(single(message, 1)?).ok()?;
        let id = LeaseId::parse_near(id, self.cell.as_ref()).ok()?;
        if self.cell.as_ref() != Some(&id.cell) {
            self.cell = Some(id.cell.clone());
        }
        operations::plain(kind, id)
    }

    /// A request, where nothing about it or its message is out of the ordinary; else the parser says what is.
    fn plain(&mut self, message: &[u8], named: Named, caller: &Caller) -> Option<Asked> {
        let request = single(message, 1)?;
        let parted = Parted::of(request)?;
        let length = parted.before.len() + parted.after.len();
        if length > BYTES_MAX {
            return None;
        }
        let mut hasher = self.hasher.build_hasher();
        hasher.write(parted.before);
        hasher.write(parted.after);
        let hash = hasher.finish();
        let place = &mut self.places[hash as usize % REMEMBERED_MAX];
        if let Some(Entry { asked, .. }) = place.entry.as_ref().filter(|entry| parted.is(&entry.bytes)) {
            return with_id(asked, parted.id, named, caller);
        }
        if place.seen != hash {
            place.seen = hash;
            return None;
        }
        let asked = parse::request(Some(v1::Request::decode(request).ok()?), named, caller).ok()?;
        let bytes = [parted.before, parted.after].concat().into_boxed_slice();
        let nameless = Request { id: parse::nameless(), demand: Arc::clone(&asked.request.demand) };
        place.entry = Some(Entry { bytes, asked: Asked { request: Arc::new(nameless), explain: asked.explain } });
        Some(asked)
    }
}

/// What was asked, by the name that it has this time; none where the name or the caller is one that it cannot be asked by.
fn with_id(asked: &Asked, id: &[u8], named: Named, caller: &Caller) -> Option<Asked> {
    let Asked { request, explain } = asked;
    if caller.max_priority().is_some_and(|most| request.priority > most) {
        return None;
    }
    if id.is_empty() {
        return (named == Named::Optional).then(|| asked.clone());
    }
    let id = RequestId::parse(std::str::from_utf8(id).ok()?).ok()?;
    Some(Asked { request: Arc::new(Request { id, demand: Arc::clone(&request.demand) }), explain: *explain })
}

/// What is said of bytes that are no message of the kind that was expected.
pub(super) fn undecodable(error: &DecodeError) -> Fault {
    Fault::new(Code::Internal, error.to_string())
}

#[cfg(test)]
mod tests;
