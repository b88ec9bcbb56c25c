//! Messages of protobuf, written from their end to their beginning: so a message's length is known where it is to be
//! written, before the message.

use headgate_ledger::{Id, Name, Time};
use prost::Message;
use prost::encoding::WireType;

use crate::grpc::render;

/// Bytes to begin with.
const PIECE_BYTES: usize = 16 * 1024;
/// Bytes that are kept to write into: one long answer does not keep its room for ever.
const KEPT_BYTES_MAX: usize = 256 * 1024;

/// Bytes that are written from their end to their beginning.
#[derive(Debug, Default)]
pub(super) struct Back {
    bytes: Vec<u8>,
    /// What is before this is free.
    begin: usize,
}

impl Back {
    pub(super) fn clear(&mut self) {
        if self.bytes.len() > KEPT_BYTES_MAX {
            self.bytes = Vec::new();
        }
        self.begin = self.bytes.len();
    }

    /// How many bytes have been written.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.begin
    }

    pub(super) fn written(&self) -> &[u8] {
        &self.bytes[self.begin..]
    }

    /// Takes back so many bytes of those that were written last.
    pub(super) fn take_first(&mut self, count: usize) -> Vec<u8> {
        let first = self.written()[..count].to_vec();
        self.begin += count;
        first
    }

    /// Room for so many bytes before those that have been written.
    #[inline]
    fn room(&mut self, count: usize) -> &mut [u8] {
        if self.begin < count {
            self.grow(count);
        }
        self.begin -= count;
        &mut self.bytes[self.begin..self.begin + count]
    }

    #[cold]
    fn grow(&mut self, count: usize) {
        let (written, length) = (self.len(), (self.len() + count).next_power_of_two().max(PIECE_BYTES));
        let mut bytes = vec![0; length];
        bytes[length - written..].copy_from_slice(self.written());
        (self.bytes, self.begin) = (bytes, length - written);
    }

    #[inline]
    fn byte(&mut self, byte: u8) {
        if self.begin == 0 {
            self.grow(1);
        }
        self.begin -= 1;
        self.bytes[self.begin] = byte;
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).copy_from_slice(bytes);
    }

    #[inline]
    fn varint(&mut self, number: u64) {
        if number < 0x80 { self.byte(number as u8) } else { self.long_varint(number) }
    }

    fn long_varint(&mut self, number: u64) {
        let mut buffer = [0; 10];
        let mut free = &mut buffer[..];
        prost::encoding::encode_varint(number, &mut free);
        let used = 10 - free.len();
        self.bytes(&buffer[..used]);
    }

    #[inline]
    fn key(&mut self, field: u32, wire: WireType) {
        self.varint(u64::from(field << 3 | wire as u32));
    }

    /// A number; nothing, where it is 0.
    pub(super) fn number(&mut self, field: u32, number: u64) {
        if number != 0 {
            self.varint(number);
            self.key(field, WireType::Varint);
        }
    }

    pub(super) fn signed(&mut self, field: u32, number: i64) {
        self.number(field, number as u64);
    }

    /// One of a closed set of words.
    pub(super) fn word(&mut self, field: u32, word: i32) {
        self.signed(field, word.into());
    }

    pub(super) fn text(&mut self, field: u32, text: &str) {
        let before = self.len();
        self.bytes(text.as_bytes());
        self.frame(field, before);
    }

    /// An id, as [`LeaseId`](crate::engine::LeaseId) is written.
    pub(super) fn id(&mut self, field: u32, cell: &Name, number: Id) {
        let before = self.len();
        let mut rest = number.0;
        loop {
            self.byte(b'0' + (rest % 10) as u8);
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.byte(b'-');
        self.bytes(cell.as_str().as_bytes());
        self.frame(field, before);
    }

    pub(super) fn time(&mut self, field: u32, time: Option<Time>) {
        if let Some(prost_types::Timestamp { seconds, nanos }) = time.and_then(render::time) {
            let before = self.len();
            self.signed(2, nanos.into());
            self.signed(1, seconds);
            self.frame(field, before);
        }
    }

    /// Makes all that was written since `before` a field.
    pub(super) fn frame(&mut self, field: u32, before: usize) {
        self.varint((self.len() - before) as u64);
        self.key(field, WireType::LengthDelimited);
    }

    /// A message, as the library writes it.
    pub(super) fn message(&mut self, message: &impl Message) {
        let mut room = self.room(message.encoded_len());
        message.encode_raw(&mut room);
    }
}
