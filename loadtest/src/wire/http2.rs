//! One client connection of HTTP/2 (RFC 9113) for gRPC, and for bodies of JSON, without I/O: bytes in, answers out, and bytes to be written.
//!
//! It is our own because a client that measures must cost less than what it measures. A request is two frames written into
//! one buffer, an answer is handed on where it lies in the bytes that came, and nothing is spawned, locked or woken between.

use std::collections::VecDeque;

use super::hpack::{Content, Decoder, Encoder, Meaning};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER_BYTES: usize = 9;
/// What gRPC puts before a message: whether it is packed, and its length.
const PREFIX_BYTES: usize = 5;
/// Bytes of one frame, ours and theirs, where nothing else is said.
const FRAME_BYTES_MAX: usize = 16_384;
/// Bytes that a server may send on a stream, or on the connection, before it hears from us: so much that none ever waits.
const WINDOW_BYTES: u32 = 1 << 30;
const WINDOW_BYTES_DEFAULT: u32 = 65_535;
/// Bytes after which a server is told that it may send as many more.
const WINDOW_STEP_BYTES: u32 = 1 << 24;
/// Bytes of one answer: where a million leases are given back at once, each is named.
const MESSAGE_BYTES_MAX: usize = 128 << 20;
/// Bytes of one body: as an API server takes of a webhook's answer, and some.
const BODY_BYTES_MAX: usize = 4 << 20;
/// Bytes of a body that says what is wrong, as far as they are told.
const SAID_BYTES_MAX: usize = 200;
/// The last stream that a connection may open.
const STREAM_MAX: u32 = i32::MAX as u32;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

/// Why a connection is no more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    /// It speaks, but not HTTP/2.
    #[error("answers, but not in HTTP/2: {0}")]
    NotHttp2(String),
    /// It breaks the rules of HTTP/2.
    #[error("breaks HTTP/2: {0}")]
    Rules(&'static str),
    /// It said that it ends the connection.
    #[error("ended the connection ({code}){}", if .said.is_empty() { String::new() } else { format!(": {said}") })]
    GoneAway { code: u32, said: String },
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With a status of gRPC, and what was said of it.
    Status(i32, String),
    /// The server reset the stream, with this code of HTTP/2.
    Reset(u32),
    /// It answered in HTTP, but not in gRPC.
    NotGrpc(String),
    /// It answered a body with this status of HTTP, and what it said of it.
    Http(u16, String),
}

/// Who is told of answers. A token is what the caller gave when it opened a stream.
pub(crate) trait Answers {
    /// A message came.
    fn message(&mut self, token: u32, message: &[u8]);
    /// The call is over.
    fn ended(&mut self, token: u32, end: End);
}

/// What a server said of itself.
#[derive(Clone, Copy, Debug)]
struct Peer {
    streams_max: usize,
    window: i64,
    frame_bytes_max: usize,
}

#[derive(Debug)]
struct Stream {
    token: u32,
    /// What has come of a message that is not whole yet.
    partial: Vec<u8>,
    /// Bytes that may be sent on it.
    window: i64,
    /// Bytes that came on it and that the server has not been told of.
    taken: u32,
    open: bool,
    /// Whether its first headers have come.
    answered: bool,
    /// The status of HTTP that was answered; 0: none yet.
    http: u16,
}

/// Bytes of a stream that wait until the server takes them.
#[derive(Debug)]
struct Held {
    stream: u32,
    bytes: Vec<u8>,
    from: usize,
    last: bool,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Http2 {
    /// What is to be written.
    pub(crate) out: Vec<u8>,
    input: Vec<u8>,
    content: Content,
    decoder: Decoder,
    encoder: Encoder,
    /// The streams since the oldest that is open, in the order of their numbers.
    streams: VecDeque<Stream>,
    /// The number of the first of these.
    first: u32,
    next: u32,
    open: usize,
    peer: Option<Peer>,
    window: i64,
    taken: u32,
    held: VecDeque<Held>,
    /// The stream, flags and bytes of a block of headers that is not whole yet.
    block: Option<(u32, u8, Vec<u8>)>,
    scratch: Vec<u8>,
}

impl Http2 {
    /// Begins a connection: says who we are.
    pub(crate) fn new(encoder: Encoder, content: Content) -> Self {
        let mut out = PREFACE.to_vec();
        frame(&mut out, SETTINGS, 0, 0, 12);
        for (setting, value) in [(2_u16, 0_u32), (4, WINDOW_BYTES)] {
            out.extend_from_slice(&setting.to_be_bytes());
            out.extend_from_slice(&value.to_be_bytes());
        }
        window_update(&mut out, 0, WINDOW_BYTES - WINDOW_BYTES_DEFAULT);
        Self {
            out,
            input: Vec::new(),
            content,
            decoder: Decoder::new(),
            encoder,
            streams: VecDeque::new(),
            first: 1,
            next: 1,
            open: 0,
            peer: None,
            window: i64::from(WINDOW_BYTES_DEFAULT),
            taken: 0,
            held: VecDeque::new(),
            block: None,
            scratch: Vec::new(),
        }
    }

    /// Whether the server has said that it speaks HTTP/2.
    pub(crate) fn is_agreed(&self) -> bool {
        self.peer.is_some()
    }

    /// Adds a path that can be called; returns its number.
    pub(crate) fn path(&mut self, path: &str) -> usize {
        self.encoder.path(path)
    }

    /// Calls that the server takes at once on this connection.
    pub(crate) fn streams_max(&self) -> usize {
        self.peer.map_or(0, |peer| peer.streams_max)
    }

    /// Whether so many streams have been opened, or none can ever be opened again.
    pub(crate) fn is_used_up(&self, streams: u32) -> bool {
        self.next / 2 >= streams.min(STREAM_MAX / 2)
    }

    /// Calls that are not over.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    /// Opens a stream with one message; `last` says that it is the only one.
    pub(crate) fn call(&mut self, path: usize, token: u32, last: bool, write: impl FnOnce(&mut Vec<u8>)) -> u32 {
        let stream = self.begin(path, token);
        self.message(stream, last, write);
        stream
    }

    /// Opens a stream.
    pub(crate) fn begin(&mut self, path: usize, token: u32) -> u32 {
        let stream = self.next;
        self.next += 2;
        self.open += 1;
        let window = self.peer.map_or(i64::from(WINDOW_BYTES_DEFAULT), |peer| peer.window);
        self.streams.push_back(Stream {
            token,
            partial: Vec::new(),
            window,
            taken: 0,
            open: true,
            answered: false,
            http: 0,
        });
        let at = self.out.len();
        frame(&mut self.out, HEADERS, END_HEADERS, stream, 0);
        self.encoder.write(path, &mut self.out);
        patch_length(&mut self.out, at);
        stream
    }

    /// Sends a message on a stream that is open.
    pub(crate) fn message(&mut self, stream: u32, last: bool, write: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        match self.content {
            Content::Json => write(&mut bytes),
            Content::Grpc => {
                bytes.extend_from_slice(&[0; PREFIX_BYTES]);
                write(&mut bytes);
                let length = (bytes.len() - PREFIX_BYTES) as u32;
                bytes[1..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
            }
        }
        let sent = if self.held.is_empty() { self.send(stream, &bytes, last) } else { 0 };
        if sent < bytes.len() {
            self.held.push_back(Held { stream, bytes, from: sent, last });
        } else {
            self.scratch = bytes;
        }
    }

    /// Sends what the server takes just now; returns how much that was.
    fn send(&mut self, stream: u32, bytes: &[u8], last: bool) -> usize {
        let most = self.peer.map_or(FRAME_BYTES_MAX, |peer| peer.frame_bytes_max);
        let Some(state) = place(self.first, stream).and_then(|at| self.streams.get_mut(at)) else {
            return bytes.len(); // it is over: nobody reads this any more
        };
        let mut sent = 0;
        while sent < bytes.len() {
            let room = self.window.min(state.window).max(0) as usize;
            let part = room.min(most).min(bytes.len() - sent);
            if part == 0 {
                return sent;
            }
            let ends = last && sent + part == bytes.len();
            frame(&mut self.out, DATA, if ends { END_STREAM } else { 0 }, stream, part);
            self.out.extend_from_slice(&bytes[sent..sent + part]);
            self.window -= part as i64;
            state.window -= part as i64;
            sent += part;
        }
        sent
    }

    /// Sends what had to wait.
    fn send_held(&mut self) {
        while let Some(mut held) = self.held.pop_front() {
            held.from += self.send(held.stream, &held.bytes[held.from..], held.last);
            if held.from < held.bytes.len() {
                self.held.push_front(held);
                return;
            }
        }
    }

    /// Takes what came.
    pub(crate) fn receive(&mut self, bytes: &[u8], answers: &mut impl Answers) -> Result<(), Broken> {
        if self.input.is_empty() {
            let used = self.frames(bytes, answers)?;
            self.input.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        let mut input = std::mem::take(&mut self.input);
        input.extend_from_slice(bytes);
        let used = self.frames(&input, answers)?;
        input.drain(..used);
        self.input = input;
        Ok(())
    }

    /// Takes all whole frames; returns how many bytes they are.
    fn frames(&mut self, bytes: &[u8], answers: &mut impl Answers) -> Result<usize, Broken> {
        let mut at = 0;
        while let Some(header) = bytes.get(at..at + FRAME_HEADER_BYTES) {
            let length = usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
            let (kind, flags) = (header[3], header[4]);
            let stream = number(&header[5..9]) & STREAM_MAX;
            // A server begins with its settings; whatever else comes first is another protocol.
            if self.peer.is_none() && (kind != SETTINGS || flags & ACK != 0 || length > 1024) {
                return Err(Broken::NotHttp2(shown(&bytes[at..])));
            }
            if length > FRAME_BYTES_MAX {
                return Err(Broken::Rules("a frame is longer than we take"));
            }
            let from = at + FRAME_HEADER_BYTES;
            let Some(payload) = bytes.get(from..from + length) else { break };
            self.frame(kind, flags, stream, payload, answers)?;
            at = from + length;
        }
        if self.peer.is_none() && bytes.len() > at && bytes.len() - at < FRAME_HEADER_BYTES && !bytes.starts_with(&[0])
        {
            return Err(Broken::NotHttp2(shown(&bytes[at..])));
        }
        Ok(at)
    }

    fn frame(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
        answers: &mut impl Answers,
    ) -> Result<(), Broken> {
        match kind {
            DATA => self.data(flags, stream, payload, answers),
            HEADERS => {
                let mut block = unpadded(flags, payload)?;
                if flags & PRIORITY != 0 {
                    block = block.get(5..).ok_or(Broken::Rules("headers are too short"))?;
                }
                if flags & END_HEADERS != 0 {
                    return self.headers(stream, flags, block, answers);
                }
                self.block = Some((stream, flags, block.to_vec()));
                Ok(())
            }
            CONTINUATION => {
                let (of, first, mut block) =
                    self.block.take().ok_or(Broken::Rules("headers go on that never began"))?;
                block.extend_from_slice(payload);
                if flags & END_HEADERS != 0 {
                    return self.headers(of, first, &block, answers);
                }
                self.block = Some((of, first, block));
                Ok(())
            }
            RST_STREAM => {
                let code = payload.first_chunk().map(|code| u32::from_be_bytes(*code));
                self.end(stream, End::Reset(code.unwrap_or(0)), answers);
                Ok(())
            }
            SETTINGS if flags & ACK == 0 => self.settings(payload),
            PING if flags & ACK == 0 => {
                frame(&mut self.out, PING, ACK, 0, payload.len());
                self.out.extend_from_slice(payload);
                Ok(())
            }
            GOAWAY => {
                let code = payload.get(4..8).map_or(0, number);
                let said = String::from_utf8_lossy(payload.get(8..).unwrap_or_default()).into_owned();
                Err(Broken::GoneAway { code, said })
            }
            WINDOW_UPDATE => {
                let more = payload.first_chunk().map_or(0, |more| i64::from(u32::from_be_bytes(*more) & STREAM_MAX));
                if stream == 0 {
                    self.window += more;
                } else if let Some(state) = self.stream(stream) {
                    state.window += more;
                }
                self.send_held();
                Ok(())
            }
            PUSH_PROMISE => Err(Broken::Rules("it pushes, though it was told not to")),
            // Priorities, acknowledgements, and what is not known, are passed over, as the standard says.
            _ => Ok(()),
        }
    }

    fn settings(&mut self, payload: &[u8]) -> Result<(), Broken> {
        let first = self.peer.is_none();
        let mut peer = self.peer.unwrap_or(Peer {
            streams_max: usize::MAX,
            window: i64::from(WINDOW_BYTES_DEFAULT),
            frame_bytes_max: FRAME_BYTES_MAX,
        });
        let (mut table, before) = (4096, peer.window);
        for setting in payload.chunks_exact(6) {
            let value = number(&setting[2..]);
            match u16::from_be_bytes([setting[0], setting[1]]) {
                1 => table = value as usize,
                3 => peer.streams_max = value as usize,
                4 => peer.window = i64::from(value),
                5 => peer.frame_bytes_max = value as usize,
                _ => {}
            }
        }
        if first {
            self.encoder.peer_table(table);
        } else if table < 4096 {
            return Err(Broken::Rules(
                "it makes its table smaller while it is in use, which this client does not follow",
            ));
        }
        for stream in &mut self.streams {
            stream.window += peer.window - before;
        }
        self.peer = Some(peer);
        frame(&mut self.out, SETTINGS, ACK, 0, 0);
        self.send_held();
        Ok(())
    }

    fn data(&mut self, flags: u8, stream: u32, payload: &[u8], answers: &mut impl Answers) -> Result<(), Broken> {
        self.taken += payload.len() as u32;
        if self.taken >= WINDOW_STEP_BYTES {
            window_update(&mut self.out, 0, self.taken);
            self.taken = 0;
        }
        let bytes = unpadded(flags, payload)?;
        let Some(state) = place(self.first, stream).and_then(|at| self.streams.get_mut(at)) else { return Ok(()) };
        if !state.open {
            return Ok(());
        }
        state.taken += payload.len() as u32;
        if state.taken >= WINDOW_STEP_BYTES {
            window_update(&mut self.out, stream, state.taken);
            state.taken = 0;
        }
        if self.content == Content::Json {
            if state.partial.len() + bytes.len() > BODY_BYTES_MAX {
                return Err(Broken::Rules("a body is longer than 4 MiB"));
            }
            state.partial.extend_from_slice(bytes);
            if flags & END_STREAM != 0 {
                self.end_body(stream, answers);
            }
            return Ok(());
        }
        if state.partial.is_empty() {
            let used = messages(bytes, state.token, answers)?;
            state.partial.extend_from_slice(&bytes[used..]);
        } else {
            // A long message comes in thousands of parts: what is there of it stays where it is.
            state.partial.extend_from_slice(bytes);
            let used = messages(&state.partial, state.token, answers)?;
            state.partial.drain(..used);
        }
        if flags & END_STREAM != 0 {
            self.end(stream, End::NotGrpc("it ended without a status of gRPC".to_owned()), answers);
        }
        Ok(())
    }

    fn headers(&mut self, stream: u32, flags: u8, block: &[u8], answers: &mut impl Answers) -> Result<(), Broken> {
        let meaning = self.decoder.decode(block).map_err(|_| Broken::Rules("its headers cannot be read"))?;
        let content = self.content;
        let Some(state) = self.stream(stream) else { return Ok(()) };
        if content == Content::Json {
            // Of several heads the last counts: those before it only announce it.
            state.http = meaning.http.unwrap_or(state.http);
            if flags & END_STREAM != 0 {
                self.end_body(stream, answers);
            }
            return Ok(());
        }
        let first = !std::mem::replace(&mut state.answered, true);
        // What is no gRPC may go on for long; nothing of it is of interest.
        let foreign = meaning.content.is_some() || meaning.http.is_some_and(|http| http != 200);
        if flags & END_STREAM != 0 || (first && foreign) {
            self.end(stream, end_of(meaning), answers);
        }
        Ok(())
    }

    /// A body has come whole.
    fn end_body(&mut self, stream: u32, answers: &mut impl Answers) {
        let Some(state) = self.stream(stream) else { return };
        let (token, status, body) = (state.token, state.http, std::mem::take(&mut state.partial));
        if status == 200 {
            answers.message(token, &body);
            return self.end(stream, End::Status(0, String::new()), answers);
        }
        let said = String::from_utf8_lossy(&body[..body.len().min(SAID_BYTES_MAX)]).trim().escape_debug().collect();
        self.end(stream, End::Http(status, said), answers);
    }

    fn stream(&mut self, stream: u32) -> Option<&mut Stream> {
        let at = place(self.first, stream)?;
        self.streams.get_mut(at).filter(|state| state.open)
    }

    fn end(&mut self, stream: u32, end: End, answers: &mut impl Answers) {
        let Some(state) = self.stream(stream) else { return };
        state.open = false;
        let token = state.token;
        self.open -= 1;
        while self.streams.front().is_some_and(|state| !state.open) {
            self.streams.pop_front();
            self.first += 2;
        }
        answers.ended(token, end);
    }
}

/// Where a stream stands among those from `first` on.
fn place(first: u32, stream: u32) -> Option<usize> {
    Some((stream.checked_sub(first)? / 2) as usize)
}

fn end_of(meaning: Meaning) -> End {
    let Meaning { http, grpc, message, content } = meaning;
    match (grpc, http, content) {
        (Some(code), _, None) => End::Status(code, message),
        (_, Some(http), _) if http != 200 => End::NotGrpc(format!("status {http} of HTTP")),
        (_, _, Some(content)) => End::NotGrpc(format!("content of the type {content}")),
        (_, _, None) => End::NotGrpc("it ended without a status of gRPC".to_owned()),
    }
}

/// Hands on all whole messages; returns how many bytes they are.
fn messages(bytes: &[u8], token: u32, answers: &mut impl Answers) -> Result<usize, Broken> {
    let mut at = 0;
    while let Some(prefix) = bytes.get(at..at + PREFIX_BYTES) {
        let length = number(&prefix[1..]) as usize;
        if prefix[0] != 0 {
            return Err(Broken::Rules("its messages are packed, though that was not asked for"));
        }
        if length > MESSAGE_BYTES_MAX {
            return Err(Broken::Rules("a message is longer than 128 MiB"));
        }
        let from = at + PREFIX_BYTES;
        let Some(message) = bytes.get(from..from + length) else { break };
        answers.message(token, message);
        at = from + length;
    }
    Ok(at)
}

fn unpadded(flags: u8, payload: &[u8]) -> Result<&[u8], Broken> {
    if flags & PADDED == 0 {
        return Ok(payload);
    }
    let too_long = Broken::Rules("padding is longer than its frame");
    let (&padding, rest) = payload.split_first().ok_or(too_long.clone())?;
    let length = rest.len().checked_sub(usize::from(padding)).ok_or(too_long)?;
    Ok(&rest[..length])
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, length: usize) {
    let length = (length as u32).to_be_bytes();
    let number = stream.to_be_bytes();
    out.extend_from_slice(&[length[1], length[2], length[3], kind, flags, number[0], number[1], number[2], number[3]]);
}

fn patch_length(out: &mut [u8], at: usize) {
    let length = ((out.len() - at - FRAME_HEADER_BYTES) as u32).to_be_bytes();
    out[at..at + 3].copy_from_slice(&length[1..]);
}

fn window_update(out: &mut Vec<u8>, stream: u32, more: u32) {
    frame(out, WINDOW_UPDATE, 0, stream, 4);
    out.extend_from_slice(&more.to_be_bytes());
}

/// The beginning of what is not HTTP/2, for people.
fn shown(bytes: &[u8]) -> String {
    if bytes.starts_with(&PREFACE[..FRAME_HEADER_BYTES]) {
        return "it sends back what it is sent".to_owned();
    }
    let line = bytes.split(|byte| *byte == b'\r' || *byte == b'\n').next().unwrap_or_default();
    let text: String = String::from_utf8_lossy(&line[..line.len().min(60)]).escape_debug().collect();
    format!("it began with \"{text}\"")
}

#[cfg(test)]
mod tests {
    use super::{Answers, Broken, End, Http2, frame};
    use crate::wire::hpack::{Content, Encoder};

    #[derive(Default)]
    struct Heard(Vec<String>);

    impl Answers for Heard {
        fn message(&mut self, token: u32, message: &[u8]) {
            self.0.push(format!("{token}: {}", String::from_utf8_lossy(message)));
        }

        fn ended(&mut self, token: u32, end: End) {
            self.0.push(format!("{token} ended: {end:?}"));
        }
    }

    fn agreed(settings: &[(u16, u32)]) -> (Http2, usize) {
        agreed_on(Content::Grpc, settings)
    }

    fn agreed_on(content: Content, settings: &[(u16, u32)]) -> (Http2, usize) {
        let mut encoder = Encoder::new(false, "host:1", None, content);
        let path = encoder.path("/a/B");
        let mut http2 = Http2::new(encoder, content);
        let mut bytes = Vec::new();
        frame(&mut bytes, 4, 0, 0, settings.len() * 6);
        for (setting, value) in settings {
            bytes.extend_from_slice(&setting.to_be_bytes());
            bytes.extend_from_slice(&value.to_be_bytes());
        }
        http2.receive(&bytes, &mut Heard::default()).expect("settings");
        http2.out.clear();
        (http2, path)
    }

    fn data(stream: u32, message: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame(&mut bytes, 0, 0, stream, message.len() + 5);
        bytes.push(0);
        bytes.extend_from_slice(&(message.len() as u32).to_be_bytes());
        bytes.extend_from_slice(message);
        bytes
    }

    fn trailers(stream: u32, status: &str) -> Vec<u8> {
        let mut block = vec![0, 11];
        block.extend_from_slice(b"grpc-status");
        block.push(status.len() as u8);
        block.extend_from_slice(status.as_bytes());
        let mut bytes = Vec::new();
        frame(&mut bytes, 1, 5, stream, block.len());
        bytes.extend_from_slice(&block);
        bytes
    }

    #[test]
    fn an_answer_may_come_byte_by_byte() {
        let (mut http2, path) = agreed(&[]);
        let stream = http2.call(path, 7, true, |out| out.extend_from_slice(b"hi"));
        let mut heard = Heard::default();
        for byte in [data(stream, b"hello"), trailers(stream, "0")].concat() {
            http2.receive(&[byte], &mut heard).expect("taken");
        }
        assert_eq!(heard.0, ["7: hello", "7 ended: Status(0, \"\")"]);
        assert_eq!(http2.open(), 0);
    }

    #[test]
    fn calls_may_end_in_any_order_and_be_reset() {
        let (mut http2, path) = agreed(&[]);
        let streams: Vec<_> = (0..3).map(|token| http2.call(path, token, true, |_| {})).collect();
        let mut reset = Vec::new();
        frame(&mut reset, 3, 0, streams[0], 4);
        reset.extend_from_slice(&8_u32.to_be_bytes());
        let bytes = [trailers(streams[2], "0"), reset, trailers(streams[1], "14"), trailers(streams[1], "0")].concat();
        let mut heard = Heard::default();
        http2.receive(&bytes, &mut heard).expect("taken");
        let expected = ["2 ended: Status(0, \"\")", "0 ended: Reset(8)", "1 ended: Status(14, \"\")"];
        assert_eq!(heard.0, expected);
    }

    #[test]
    fn what_a_server_does_not_take_yet_waits_for_its_window() {
        let (mut http2, path) = agreed(&[(4, 10)]);
        let stream = http2.begin(path, 0);
        http2.out.clear();
        http2.message(stream, true, |out| out.extend_from_slice(&[1; 20]));
        assert_eq!(http2.out.len(), 9 + 10);
        http2.out.clear();
        let mut update = Vec::new();
        super::window_update(&mut update, stream, 100);
        http2.receive(&update, &mut Heard::default()).expect("taken");
        assert_eq!(http2.out.len(), 9 + 15);
        assert_eq!(http2.out[4], 1, "the last of it ends the stream");
    }

    fn body(stream: u32, status: &str, parts: &[&[u8]]) -> Vec<u8> {
        // The status by its name in the table that all begin with, and its value in full.
        let block = [&[8, status.len() as u8][..], status.as_bytes()].concat();
        let mut bytes = Vec::new();
        frame(&mut bytes, 1, 4, stream, block.len());
        bytes.extend_from_slice(&block);
        for (at, part) in parts.iter().enumerate() {
            frame(&mut bytes, 0, u8::from(at + 1 == parts.len()), stream, part.len());
            bytes.extend_from_slice(part);
        }
        bytes
    }

    #[test]
    fn a_body_is_handed_on_when_it_is_whole_and_has_no_prefix() {
        let (mut http2, path) = agreed_on(Content::Json, &[]);
        let stream = http2.call(path, 3, true, |out| out.extend_from_slice(b"{}"));
        assert!(http2.out.ends_with(b"\0\0\x02\0\x01\0\0\0\x01{}"), "{:?}", http2.out);
        let other = http2.call(path, 4, true, |_| {});
        let mut heard = Heard::default();
        let bytes = [body(stream, "200", &[b"{\"a\"", b":1}"]), body(other, "503", &[b"not now\n"])].concat();
        for byte in bytes {
            http2.receive(&[byte], &mut heard).expect("taken");
        }
        assert_eq!(heard.0, ["3: {\"a\":1}", "3 ended: Status(0, \"\")", "4 ended: Http(503, \"not now\")"]);
    }

    #[test]
    fn another_protocol_is_named() {
        let mut http2 = Http2::new(Encoder::new(false, "host:1", None, Content::Grpc), Content::Grpc);
        let refused = http2.receive(b"HTTP/1.1 400 Bad Request\r\n\r\n", &mut Heard::default());
        assert_eq!(refused, Err(Broken::NotHttp2("it began with \"HTTP/1.1 400 Bad Request\"".to_owned())));
    }
}
