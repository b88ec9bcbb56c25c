//! The headers of HTTP/2 (HPACK, RFC 7541), as far as a gRPC client needs them.
//!
//! A server says the same few headers in almost every answer. A block that added nothing to the table means the same
//! whenever its bytes come again, until something is added: so its meaning is remembered by its bytes.

use std::collections::{HashMap, VecDeque};

use super::huffman;

/// The bytes of a table that neither side has said anything else about.
const TABLE_BYTES: usize = 4096;
/// Blocks whose meaning is remembered: more than a server has kinds of answer.
const MEANINGS_MAX: usize = 64;

/// What matters of a block of headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meaning {
    /// The status of HTTP, in an answer's first block.
    pub(crate) http: Option<u16>,
    /// The status of gRPC, where the block says it.
    pub(crate) grpc: Option<i32>,
    /// What gRPC says of it, for people.
    pub(crate) message: String,
    /// What kind of content follows, where it is not gRPC's.
    pub(crate) content: Option<String>,
}

/// Why a block cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a block of headers that is malformed")]
pub(crate) struct Malformed;

/// Reads blocks of headers, in the order in which they come.
#[derive(Debug)]
pub(crate) struct Decoder {
    table: VecDeque<(Vec<u8>, Vec<u8>)>,
    bytes: usize,
    bytes_max: usize,
    meanings: HashMap<Box<[u8]>, Meaning>,
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Self { table: VecDeque::new(), bytes: 0, bytes_max: TABLE_BYTES, meanings: HashMap::new() }
    }

    /// What a block means.
    pub(crate) fn decode(&mut self, block: &[u8]) -> Result<Meaning, Malformed> {
        if let Some(meaning) = self.meanings.get(block) {
            return Ok(meaning.clone());
        }
        let mut rest = Rest(block);
        let mut meaning = Meaning::default();
        let mut changed = false;
        while let Some(&first) = rest.0.first() {
            changed |= self.field(first, &mut rest, &mut meaning)?;
        }
        if changed {
            self.meanings.clear();
        } else if self.meanings.len() < MEANINGS_MAX {
            self.meanings.insert(block.into(), meaning.clone());
        }
        Ok(meaning)
    }

    /// Takes the next field; says whether the table is another now.
    fn field(&mut self, first: u8, rest: &mut Rest<'_>, meaning: &mut Meaning) -> Result<bool, Malformed> {
        if first & 0x80 != 0 {
            let index = rest.integer(7)?;
            let (name, value) = self.entry(index)?;
            note(name, value, meaning);
            return Ok(false);
        }
        if first & 0xe0 == 0x20 {
            self.bytes_max = rest.integer(5)?.min(TABLE_BYTES);
            self.evict(0);
            return Ok(true);
        }
        let kept = first & 0xc0 == 0x40;
        let index = rest.integer(if kept { 6 } else { 4 })?;
        let name = if index == 0 { rest.string()? } else { self.entry(index)?.0.to_vec() };
        let value = rest.string()?;
        note(&name, &value, meaning);
        if kept {
            self.keep(name, value);
        }
        Ok(kept)
    }

    fn entry(&self, index: usize) -> Result<(&[u8], &[u8]), Malformed> {
        if let Some((name, value)) = index.checked_sub(1).and_then(|at| STATIC.get(at)) {
            return Ok((name.as_bytes(), value.as_bytes()));
        }
        let at = index.checked_sub(STATIC.len() + 1).ok_or(Malformed)?;
        self.table.get(at).map(|(name, value)| (name.as_slice(), value.as_slice())).ok_or(Malformed)
    }

    fn keep(&mut self, name: Vec<u8>, value: Vec<u8>) {
        let bytes = entry_bytes(&name, &value);
        self.evict(bytes);
        if bytes <= self.bytes_max {
            self.bytes += bytes;
            self.table.push_front((name, value));
        }
    }

    /// Makes room for so many bytes.
    fn evict(&mut self, bytes: usize) {
        while self.bytes + bytes > self.bytes_max {
            let Some((name, value)) = self.table.pop_back() else { return };
            self.bytes -= entry_bytes(&name, &value);
        }
    }
}

fn entry_bytes(name: &[u8], value: &[u8]) -> usize {
    name.len() + value.len() + 32
}

fn note(name: &[u8], value: &[u8], meaning: &mut Meaning) {
    let text = || String::from_utf8_lossy(value).into_owned();
    match name {
        b":status" => meaning.http = text().parse().ok(),
        // A status that is no number is as bad as none.
        b"grpc-status" => meaning.grpc = Some(text().parse().unwrap_or(2)),
        b"grpc-message" => meaning.message = unescaped(value),
        b"content-type" if !value.starts_with(b"application/grpc") => meaning.content = Some(text()),
        _ => {}
    }
}

/// Takes back what gRPC escapes with percent signs.
fn unescaped(value: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut at = 0;
    while let Some(&byte) = value.get(at) {
        let hex = value.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(escaped) if byte == b'%' => {
                bytes.push(escaped);
                at += 3;
            }
            _ => {
                bytes.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What is left of a block.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn byte(&mut self) -> Result<u8, Malformed> {
        let (&first, rest) = self.0.split_first().ok_or(Malformed)?;
        self.0 = rest;
        Ok(first)
    }

    fn integer(&mut self, prefix_bits: u32) -> Result<usize, Malformed> {
        let mask = (1_usize << prefix_bits) - 1;
        let mut value = usize::from(self.byte()?) & mask;
        if value < mask {
            return Ok(value);
        }
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    fn string(&mut self) -> Result<Vec<u8>, Malformed> {
        let coded = self.0.first().ok_or(Malformed)? & 0x80 != 0;
        let length = self.integer(7)?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        if coded { huffman::decode(text).ok_or(Malformed) } else { Ok(text.to_vec()) }
    }
}

/// Writes blocks of headers that are the same for every request of a path: in full the first time, by their places in the
/// table after that.
#[derive(Debug)]
pub(crate) struct Encoder {
    scheme: u8,
    /// What every request says, besides its path.
    common: Vec<(&'static str, String)>,
    paths: Vec<String>,
    /// The entries of the table, the oldest first: a common header by its place, or a path by its number.
    kept: Vec<Kept>,
    blocks: Vec<Option<Vec<u8>>>,
    /// Whether the server keeps a table that is large enough.
    keeps: bool,
}

/// What requests carry, and are answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Messages of gRPC.
    Grpc,
    /// One body of JSON.
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Common(usize),
    Path(usize),
}

impl Encoder {
    pub(crate) fn new(tls: bool, authority: &str, authorization: Option<&str>, content: Content) -> Self {
        let (name, value, kind) = match content {
            Content::Grpc => ("te", "trailers", "application/grpc"),
            Content::Json => ("accept", "application/json", "application/json"),
        };
        let mut common = vec![
            (":authority", authority.to_owned()),
            (name, value.to_owned()),
            ("content-type", kind.to_owned()),
            ("user-agent", concat!("headgate-loadtest/", env!("CARGO_PKG_VERSION")).to_owned()),
        ];
        common.extend(authorization.map(|value| ("authorization", value.to_owned())));
        let scheme = if tls { 0x87 } else { 0x86 };
        Self { scheme, common, paths: Vec::new(), kept: Vec::new(), blocks: Vec::new(), keeps: false }
    }

    /// Says how large a table the server keeps. Only before the first block.
    pub(crate) fn peer_table(&mut self, bytes: usize) {
        self.keeps = bytes >= TABLE_BYTES;
    }

    /// Adds a path; returns its number.
    pub(crate) fn path(&mut self, path: &str) -> usize {
        self.paths.push(path.to_owned());
        self.blocks.push(None);
        self.paths.len() - 1
    }

    /// Writes the block of a path's request.
    pub(crate) fn write(&mut self, path: usize, out: &mut Vec<u8>) {
        match &self.blocks[path] {
            Some(block) => out.extend_from_slice(block),
            None => self.write_first(path, out),
        }
    }

    fn write_first(&mut self, path: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&[0x83, self.scheme]);
        let fields = std::iter::once(Kept::Path(path)).chain((0..self.common.len()).map(Kept::Common));
        for field in fields.collect::<Vec<_>>() {
            match self.place(field) {
                Some(place) => integer(7, 0x80, place, out),
                None => self.literal(field, out),
            }
        }
        if self.keeps {
            for path in 0..self.paths.len() {
                self.blocks[path] = self.indexed(path);
            }
        }
    }

    fn literal(&mut self, field: Kept, out: &mut Vec<u8>) {
        let (name, value) = match field {
            Kept::Common(at) => (self.common[at].0, self.common[at].1.clone()),
            Kept::Path(at) => (":path", self.paths[at].clone()),
        };
        let (bits, pattern) = if self.keeps { (6, 0x40) } else { (4, 0) };
        match STATIC.iter().position(|(known, _)| *known == name) {
            Some(at) => integer(bits, pattern, at + 1, out),
            None => {
                out.push(pattern);
                integer(7, 0, name.len(), out);
                out.extend_from_slice(name.as_bytes());
            }
        }
        integer(7, 0, value.len(), out);
        out.extend_from_slice(value.as_bytes());
        if self.keeps {
            self.kept.push(field);
        }
    }

    /// The place of a field in the table, where it stands there. The newest has the first place.
    fn place(&self, field: Kept) -> Option<usize> {
        let at = self.kept.iter().position(|kept| *kept == field)?;
        Some(STATIC.len() + self.kept.len() - at)
    }

    fn indexed(&self, path: usize) -> Option<Vec<u8>> {
        let mut block = vec![0x83, self.scheme];
        integer(7, 0x80, self.place(Kept::Path(path))?, &mut block);
        for at in 0..self.common.len() {
            integer(7, 0x80, self.place(Kept::Common(at))?, &mut block);
        }
        Some(block)
    }
}

fn integer(prefix_bits: u32, pattern: u8, value: usize, out: &mut Vec<u8>) {
    let mask = (1_usize << prefix_bits) - 1;
    if value < mask {
        out.push(pattern | value as u8);
        return;
    }
    out.push(pattern | mask as u8);
    let mut left = value - mask;
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

/// The entries that every table begins with (appendix A).
#[rustfmt::skip]
const STATIC: [(&str, &str); 61] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"),
    (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"),
    (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""),
    ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""), ("cache-control", ""),
    ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""), ("date", ""), ("etag", ""),
    ("expect", ""), ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""), ("if-modified-since", ""),
    ("if-none-match", ""), ("if-range", ""), ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""),
    ("location", ""), ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""), ("via", ""),
    ("www-authenticate", ""),
];

#[cfg(test)]
mod tests {
    use super::{Content, Decoder, Encoder, Malformed, Meaning};

    fn block(fields: &[(&str, &str)]) -> Vec<u8> {
        let mut block = Vec::new();
        for (name, value) in fields {
            block.push(0x40);
            for text in [name, value] {
                block.push(text.len() as u8);
                block.extend_from_slice(text.as_bytes());
            }
        }
        block
    }

    #[test]
    fn what_matters_is_found_and_by_its_place_found_again() {
        let mut decoder = Decoder::new();
        let said = [("grpc-status", "5"), ("grpc-message", "no such%20tenant%3A x"), ("x", "y")];
        let expected = Meaning { grpc: Some(5), message: "no such tenant: x".to_owned(), ..Meaning::default() };
        assert_eq!(decoder.decode(&block(&said)), Ok(expected.clone()));
        for _ in 0..2 {
            assert_eq!(
                decoder.decode(&[0x88, 62 | 0x80, 63 | 0x80, 64 | 0x80]),
                Ok(Meaning { http: Some(200), ..expected.clone() })
            );
        }
        // What is added moves all places on, so nothing may be remembered across it.
        decoder.decode(&block(&[("a", "b")])).expect("read");
        let moved = decoder.decode(&[62 | 0x80, 63 | 0x80, 64 | 0x80, 65 | 0x80]);
        assert_eq!(moved, Ok(expected));
    }

    #[test]
    fn a_block_that_is_cut_or_names_nothing_is_malformed() {
        for bad in [&[0x40, 5, b'a'][..], &[0xff][..], &[0x80 | 62][..], &[0x40][..]] {
            assert_eq!(Decoder::new().decode(bad), Err(Malformed), "{bad:?}");
        }
    }

    #[test]
    fn headers_are_said_in_full_once_and_by_their_places_after() {
        let mut encoder = Encoder::new(false, "host:1", Some("Bearer x"), Content::Grpc);
        encoder.peer_table(4096);
        let (first, second) = (encoder.path("/a/B"), encoder.path("/a/C"));
        let mut decoder = Decoder::new();
        let mut lengths = Vec::new();
        for path in [first, second, first, second, first] {
            let mut out = Vec::new();
            encoder.write(path, &mut out);
            decoder.decode(&out).expect("read");
            lengths.push(out.len());
        }
        assert!(lengths[0] > 60 && lengths[1] < 20, "{lengths:?}");
        assert_eq!(lengths[2..], [8, 8, 8], "{lengths:?}");
        let names: Vec<_> = decoder.table.iter().rev().map(|(_, value)| String::from_utf8_lossy(value)).collect();
        assert_eq!((&*names[0], &*names[6]), ("/a/B", "/a/C"));
    }

    #[test]
    fn a_server_without_a_table_is_told_everything_every_time() {
        let mut encoder = Encoder::new(true, "host:1", None, Content::Grpc);
        encoder.peer_table(0);
        let path = encoder.path("/a/B");
        let (mut first, mut second) = (Vec::new(), Vec::new());
        encoder.write(path, &mut first);
        encoder.write(path, &mut second);
        assert_eq!(first, second);
        let mut decoder = Decoder::new();
        decoder.decode(&first).expect("read");
        assert!(decoder.table.is_empty());
    }
}
