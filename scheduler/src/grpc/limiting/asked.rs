//! What a gateway asks, as it lies in its message.

use headgate_ledger::{AMOUNT_MAX, Amount, HITS_MAX};
use headgate_proto::envoy::{RateLimitDescriptor, RateLimitRequest};

use crate::config::{KEYS_MAX, WORD_BYTES_MAX};
use crate::grpc::fault::{Fault, Violations};
use crate::protobuf::{InOrder, NotPlain};

/// Bytes of what a gateway says of a call by one word, such as its path.
const VALUE_BYTES_MAX: usize = 8192;
/// The most that one call may count: far more than anybody counts by calls, bytes of a body included.
pub(super) const HITS_ADDEND_MAX: Amount = 1 << 40;
const _: () = assert!(HITS_ADDEND_MAX <= AMOUNT_MAX);

/// What a gateway asks of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked<'a> {
    pub(super) domain: &'a str,
    pub(super) descriptors: Vec<Descriptor<'a>>,
    hits_addend: u32,
}

/// What a call is, in some of its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Descriptor<'a> {
    pub(super) words: Vec<(&'a str, &'a str)>,
    /// Whether it brings a limit of its own.
    has_limit: bool,
    hits_addend: Option<Amount>,
}

impl<'a> Asked<'a> {
    /// Reads a message about which nothing is out of the ordinary.
    pub(super) fn plain(message: &'a [u8]) -> Result<Self, NotPlain> {
        let mut fields = InOrder::new(message);
        let domain = text(fields.said_bytes(1)?)?;
        let mut descriptors = Vec::with_capacity(1);
        while let Some(descriptor) = fields.said_bytes(2)? {
            descriptors.push(Descriptor::plain(descriptor)?);
        }
        let hits_addend = fields.short(3)?;
        fields.end()?;
        Ok(Self { domain, descriptors, hits_addend })
    }

    /// The same of one that the library read.
    pub(super) fn of(wire: &'a RateLimitRequest) -> Self {
        let RateLimitRequest { domain, descriptors, hits_addend } = wire;
        let descriptor = |wire: &'a RateLimitDescriptor| {
            let RateLimitDescriptor { entries, limit, hits_addend } = wire;
            let words = entries.iter().map(|entry| (&entry.key[..], &entry.value[..])).collect();
            Descriptor { words, has_limit: limit.is_some(), hits_addend: *hits_addend }
        };
        Self { domain, descriptors: descriptors.iter().map(descriptor).collect(), hits_addend: *hits_addend }
    }

    /// How much a descriptor counts.
    pub(super) fn addend(&self, descriptor: &Descriptor<'_>) -> Amount {
        descriptor.hits_addend.unwrap_or_else(|| self.hits_addend.max(1).into())
    }

    /// Everything that makes a call malformed.
    pub(super) fn check(&self) -> Result<(), Fault> {
        let mut wrong = Violations::default();
        let Self { domain, descriptors, hits_addend: _ } = self;
        if domain.is_empty() || domain.len() > WORD_BYTES_MAX {
            wrong.add("domain", format!("it is not 1 to {WORD_BYTES_MAX} bytes long: name one that is configured"));
        }
        if descriptors.is_empty() || descriptors.len() > HITS_MAX {
            wrong.add("descriptors", format!("{} are given: 1 to {HITS_MAX} are decided together", descriptors.len()));
            return wrong.or(None);
        }
        for (nth, descriptor) in descriptors.iter().enumerate() {
            let at = |part: &str| format!("descriptors[{nth}].{part}");
            let Descriptor { words, has_limit, hits_addend: _ } = descriptor;
            if words.is_empty() || words.len() > KEYS_MAX {
                wrong.add(at("entries"), format!("{} are given: 1 to {KEYS_MAX} make a descriptor", words.len()));
            }
            for (nth, (key, value)) in words.iter().enumerate().take(KEYS_MAX) {
                if key.is_empty() || key.len() > WORD_BYTES_MAX {
                    wrong
                        .add(at(&format!("entries[{nth}].key")), format!("it is not 1 to {WORD_BYTES_MAX} bytes long"));
                }
                if value.len() > VALUE_BYTES_MAX {
                    wrong.add(
                        at(&format!("entries[{nth}].value")),
                        format!("it is longer than {VALUE_BYTES_MAX} bytes"),
                    );
                }
            }
            if *has_limit {
                let why = "limits are the configuration's alone: leave it out, and configure another tenant for it";
                wrong.add(at("limit"), why);
            }
            let addend = self.addend(descriptor);
            if addend > HITS_ADDEND_MAX {
                wrong.add(at("hits_addend"), format!("{addend} is more than one call may count, {HITS_ADDEND_MAX}"));
            }
        }
        wrong.or(Some(()))
    }
}

impl<'a> Descriptor<'a> {
    fn plain(bytes: &'a [u8]) -> Result<Self, NotPlain> {
        let mut fields = InOrder::new(bytes);
        let mut words = Vec::with_capacity(2);
        while let Some(entry) = fields.said_bytes(1)? {
            let mut entry = InOrder::new(entry);
            words.push((text(entry.said_bytes(1)?)?, text(entry.said_bytes(2)?)?));
            entry.end()?;
        }
        let own = |own| {
            let mut own = InOrder::new(own);
            let addend = own.number(1)?;
            own.end().map(|()| addend)
        };
        let hits_addend = fields.said_bytes(3)?.map(own).transpose()?;
        fields.end()?;
        Ok(Self { words, has_limit: false, hits_addend })
    }
}

fn text(bytes: Option<&[u8]>) -> Result<&str, NotPlain> {
    std::str::from_utf8(bytes.unwrap_or_default()).map_err(|_| NotPlain)
}
