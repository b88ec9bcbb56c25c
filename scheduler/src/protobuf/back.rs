//! Messages of protobuf, written from their end to their beginning: so a message's length is known where it is to be
//! written, before the message.

use prost::Message;
use prost::encoding::WireType;

/// Bytes to begin with.
const PIECE_BYTES: usize = 16 * 1024;
/// Bytes that are kept to write into: one long answer does not keep its room for ever.
const KEPT_BYTES_MAX: usize = 256 * 1024;

/// Bytes that are written from their end to their beginning.
#[derive(Debug, Default)]
pub(crate) struct Back {
    bytes: Vec<u8>,
    /// What is before this is free.
    begin: usize,
}

impl Back {
    pub(crate) fn clear(&mut self) {
        if self.bytes.len() > KEPT_BYTES_MAX {
            self.bytes = Vec::new();
        }
        self.begin = self.bytes.len();
    }

    /// How many bytes have been written.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.begin
    }

    pub(crate) fn written(&self) -> &[u8] {
        &self.bytes[self.begin..]
    }

    /// Takes back so many bytes of those that were written last.
    pub(crate) fn take_first(&mut self, count: usize) -> Vec<u8> {
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
    pub(crate) fn byte(&mut self, byte: u8) {
        if self.begin == 0 {
            self.grow(1);
        }
        self.begin -= 1;
        self.bytes[self.begin] = byte;
    }

    #[inline]
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).copy_from_slice(bytes);
    }

    #[inline]
    fn varint(&mut self, number: u64) {
        if number < 0x80 { self.byte(number as u8) } else { self.long_varint(number) }
    }

    fn long_varint(&mut self, mut number: u64) {
        let bits = u64::BITS - number.leading_zeros();
        let room = self.room(bits.div_ceil(7) as usize);
        for byte in &mut *room {
            *byte = number as u8 | 0x80;
            number >>= 7;
        }
        if let Some(last) = room.last_mut() {
            *last &= 0x7f;
        }
    }

    #[inline]
    fn key(&mut self, field: u32, wire: WireType) {
        self.varint(u64::from(field << 3 | wire as u32));
    }

    /// A field's key, and its number, or the length of what it has.
    #[inline]
    fn led(&mut self, field: u32, wire: WireType, number: u64) {
        let key = field << 3 | wire as u32;
        if key < 0x80 && number < 0x80 && self.begin >= 2 {
            // One by one: a copy is a call where the compiler does not see how short it is.
            self.begin -= 2;
            self.bytes[self.begin] = key as u8;
            self.bytes[self.begin + 1] = number as u8;
        } else {
            self.varint(number);
            self.varint(key.into());
        }
    }

    /// A number; nothing, where it is 0.
    #[inline]
    pub(crate) fn number(&mut self, field: u32, number: u64) {
        self.said_number(field, (number != 0).then_some(number));
    }

    /// A number; nothing, where none is said.
    #[inline]
    pub(crate) fn said_number(&mut self, field: u32, number: Option<u64>) {
        if let Some(number) = number {
            self.led(field, WireType::Varint, number);
        }
    }

    /// A number of fixed size; nothing, where it is 0.
    #[inline]
    pub(crate) fn fixed(&mut self, field: u32, number: u64) {
        self.said_fixed(field, (number != 0).then_some(number));
    }

    /// A number of fixed size; nothing, where none is said.
    #[inline]
    pub(crate) fn said_fixed(&mut self, field: u32, number: Option<u64>) {
        if let Some(number) = number {
            self.bytes(&number.to_le_bytes());
            self.key(field, WireType::SixtyFourBit);
        }
    }

    /// A number that is small whatever its sign; nothing, where it is 0.
    pub(crate) fn zigzag(&mut self, field: u32, number: i64) {
        self.number(field, ((number << 1) ^ (number >> 63)) as u64);
    }

    /// Whether something is so; nothing, where it is not.
    #[inline]
    pub(crate) fn flag(&mut self, field: u32, flag: bool) {
        self.number(field, flag.into());
    }

    #[inline]
    pub(crate) fn signed(&mut self, field: u32, number: i64) {
        self.number(field, number as u64);
    }

    /// One of a closed set of words.
    #[inline]
    pub(crate) fn word(&mut self, field: u32, word: i32) {
        self.signed(field, word.into());
    }

    /// Text; nothing, where it is empty.
    #[inline]
    pub(crate) fn text(&mut self, field: u32, text: &str) {
        if !text.is_empty() {
            let before = self.len();
            self.bytes(text.as_bytes());
            self.frame(field, before);
        }
    }

    /// Makes all that was written since `before` a field.
    #[inline]
    pub(crate) fn frame(&mut self, field: u32, before: usize) {
        self.led(field, WireType::LengthDelimited, (self.len() - before) as u64);
    }

    /// A message, as the library writes it.
    pub(crate) fn message(&mut self, message: &impl Message) {
        let mut room = self.room(message.encoded_len());
        message.encode_raw(&mut room);
    }
}
