//! A message whose fields are asked for one after another, in the order in which they are written.

use prost::encoding::WireType;

use super::fields::{Fields, NotPlain};

/// A message, to be read from its beginning to its end. A field that is not asked for, or that lies elsewhere than in its
/// order, is still there at the end, and then the message is not plain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InOrder<'a>(Fields<'a>);

impl<'a> InOrder<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self(Fields(message))
    }

    /// A number, where it is said.
    #[inline]
    pub(crate) fn said_number(&mut self, field: u32) -> Result<Option<u64>, NotPlain> {
        if self.begins(field, WireType::Varint) { self.0.number().ok_or(NotPlain).map(Some) } else { Ok(None) }
    }

    /// A number; 0, where it is not there.
    #[inline]
    pub(crate) fn number(&mut self, field: u32) -> Result<u64, NotPlain> {
        Ok(self.said_number(field)?.unwrap_or(0))
    }

    /// A number of 32 bits; 0, where it is not there.
    #[inline]
    pub(crate) fn short(&mut self, field: u32) -> Result<u32, NotPlain> {
        u32::try_from(self.number(field)?).map_err(|_| NotPlain)
    }

    /// A number of 32 bits that is small whatever its sign; 0, where it is not there.
    #[inline]
    pub(crate) fn short_zigzag(&mut self, field: u32) -> Result<i32, NotPlain> {
        let number = self.short(field)?;
        Ok((number >> 1) as i32 ^ -((number & 1) as i32))
    }

    /// A number that is small whatever its sign; 0, where it is not there.
    #[inline]
    pub(crate) fn zigzag(&mut self, field: u32) -> Result<i64, NotPlain> {
        let number = self.number(field)?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// Whether something is so.
    #[inline]
    pub(crate) fn flag(&mut self, field: u32) -> Result<bool, NotPlain> {
        match self.number(field)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(NotPlain),
        }
    }

    /// One of a closed set of words, where it is said.
    #[inline]
    pub(crate) fn said_word(&mut self, field: u32) -> Result<Option<i32>, NotPlain> {
        let word = self.said_number(field)?;
        word.map(|word| i32::try_from(word).map_err(|_| NotPlain)).transpose()
    }

    /// A number of fixed size, where it is said.
    #[inline]
    pub(crate) fn said_fixed(&mut self, field: u32) -> Result<Option<u64>, NotPlain> {
        if !self.begins(field, WireType::SixtyFourBit) {
            return Ok(None);
        }
        let (number, rest) = self.0.0.split_first_chunk().ok_or(NotPlain)?;
        self.0.0 = rest;
        Ok(Some(u64::from_le_bytes(*number)))
    }

    /// A number of fixed size; 0, where it is not there.
    #[inline]
    pub(crate) fn fixed(&mut self, field: u32) -> Result<u64, NotPlain> {
        Ok(self.said_fixed(field)?.unwrap_or(0))
    }

    /// Text, or a message, where it is said.
    #[inline]
    pub(crate) fn said_bytes(&mut self, field: u32) -> Result<Option<&'a [u8]>, NotPlain> {
        if !self.begins(field, WireType::LengthDelimited) {
            return Ok(None);
        }
        let length = self.0.number().and_then(|length| usize::try_from(length).ok()).ok_or(NotPlain)?;
        self.0.bytes(length).ok_or(NotPlain).map(Some)
    }

    /// A message that must be there.
    #[inline]
    pub(crate) fn message(&mut self, field: u32) -> Result<&'a [u8], NotPlain> {
        self.said_bytes(field)?.ok_or(NotPlain)
    }

    /// The bytes that `read` goes on by, as they lie there, keys and all.
    #[inline]
    pub(crate) fn span(&mut self, read: impl FnOnce(&mut Self) -> Result<(), NotPlain>) -> Result<&'a [u8], NotPlain> {
        let before = self.0.0;
        read(self)?;
        Ok(&before[..before.len() - self.0.0.len()])
    }

    /// The bytes of all of a field that is there any number of times, as they lie there, keys and all.
    #[inline]
    pub(crate) fn all(&mut self, field: u32) -> Result<&'a [u8], NotPlain> {
        self.span(|fields| {
            while fields.said_bytes(field)?.is_some() {}
            Ok(())
        })
    }

    /// The bytes of what has not been read, as they lie there, keys and all.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0.0
    }

    /// That there is nothing more.
    #[inline]
    pub(crate) fn end(self) -> Result<(), NotPlain> {
        if self.0.0.is_empty() { Ok(()) } else { Err(NotPlain) }
    }

    /// Whether a field of this kind is next; then its key is read.
    #[inline(always)]
    fn begins(&mut self, field: u32, wire: WireType) -> bool {
        let key = field << 3 | wire as u32;
        let rest = match self.0.0 {
            [only, rest @ ..] if key < 0x80 && u32::from(*only) == key => rest,
            [low, high, rest @ ..]
                if key >= 0x80 && u32::from(*low) == key & 0x7f | 0x80 && u32::from(*high) == key >> 7 =>
            {
                rest
            }
            _ => return false,
        };
        self.0.0 = rest;
        true
    }
}

#[cfg(test)]
mod tests {
    use headgate_proto::journal::v1 as journal;
    use prost::Message as _;

    use super::{InOrder, NotPlain};

    #[test]
    fn fields_are_read_as_the_library_writes_them() {
        let request = journal::Request {
            id: "one".into(),
            resources: vec![journal::Amount::default(), journal::Amount { resource: "cpu".into(), amount: 300 }],
            count: u32::MAX,
            priority: i32::MIN,
            grace_ns: Some(0),
            wait: true,
            enforce: Some(3),
            ..journal::Request::default()
        };
        let bytes = request.encode_to_vec();
        let mut fields = InOrder::new(&bytes);
        assert_eq!(fields.message(1), Ok(&b"one"[..]));
        assert_eq!(fields.said_bytes(2), Ok(None));
        assert_eq!(fields.all(4), Ok(&[34, 0, 34, 8, 10, 3, b'c', b'p', b'u', 16, 172, 2][..]));
        assert_eq!((fields.short(5), fields.short(6)), (Ok(u32::MAX), Ok(0)));
        assert_eq!((fields.short_zigzag(7), fields.flag(9)), (Ok(i32::MIN), Ok(true)));
        assert_eq!((fields.said_number(11), fields.said_number(12)), (Ok(Some(0)), Ok(None)));
        assert_eq!(fields.end(), Err(NotPlain));
        assert_eq!((fields.said_word(16), fields.end()), (Ok(Some(3)), Ok(())));
    }

    #[test]
    fn what_is_out_of_the_ordinary_is_not_plain() {
        let read = |bytes, read: fn(&mut InOrder<'_>) -> Result<(), NotPlain>| read(&mut InOrder::new(bytes));
        // Cut off, too large for its kind, in another kind, in another order.
        assert_eq!(read(&[8], |fields| fields.number(1).map(drop)), Err(NotPlain));
        assert_eq!(read(&[10, 2, 0], |fields| fields.message(1).map(drop)), Err(NotPlain));
        assert_eq!(read(&[9, 0, 0], |fields| fields.fixed(1).map(drop)), Err(NotPlain));
        assert_eq!(read(&[8, 0xff, 0xff, 0xff, 0xff, 0x7f], |fields| fields.short(1).map(drop)), Err(NotPlain));
        assert_eq!(read(&[8, 2], |fields| fields.flag(1).map(drop)), Err(NotPlain));
        assert_eq!(read(&[10, 0], |fields| fields.number(1).and_then(|_| fields.end())), Err(NotPlain));
        let other =
            |fields: &mut InOrder<'_>| fields.number(1).and_then(|_| fields.number(2)).and_then(|_| fields.end());
        assert_eq!((read(&[8, 1, 16, 1], other), read(&[16, 1, 8, 1], other)), (Ok(()), Err(NotPlain)));
    }
}
