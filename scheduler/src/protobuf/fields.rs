//! The fields of a message of protobuf, as they lie in its bytes: for what is looked at before it is parsed.

/// A field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field<'a> {
    /// A whole number.
    Number(u64),
    /// Text, or a message.
    Bytes(&'a [u8]),
    /// A number of fixed size.
    Fixed,
}

/// A message is malformed, or has what no message here has; the library says in what way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotPlain;

/// Fields in the order in which they lie there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Field<'a>), NotPlain>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        // Almost all are text or messages of less than 128 bytes, in one of the first fifteen fields.
        match *self.0 {
            [] => None,
            [key @ 0x08..0x80, length @ 0..0x80, ref rest @ ..]
                if key & 7 == 2
                    && let Some((bytes, rest)) = rest.split_at_checked(usize::from(length)) =>
            {
                self.0 = rest;
                Some(Ok((u32::from(key >> 3), Field::Bytes(bytes))))
            }
            _ => Some(self.any()),
        }
    }
}

impl<'a> Fields<'a> {
    /// The next field, whatever it is. After one that is malformed there is none.
    #[inline(never)]
    fn any(&mut self) -> Result<(u32, Field<'a>), NotPlain> {
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        field.ok_or(NotPlain)
    }

    fn field(&mut self) -> Option<(u32, Field<'a>)> {
        let key = u32::try_from(self.number()?).ok()?;
        let value = match key & 7 {
            0 => Field::Number(self.number()?),
            1 => self.fixed(8)?,
            2 => {
                let length = usize::try_from(self.number()?).ok()?;
                Field::Bytes(self.bytes(length)?)
            }
            5 => self.fixed(4)?,
            _ => return None,
        };
        (key >> 3 != 0).then_some((key >> 3, value))
    }

    /// A number, as keys and lengths are too.
    #[inline]
    pub(crate) fn number(&mut self) -> Option<u64> {
        // Almost all keys and lengths, and most numbers, are one byte.
        match self.0 {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.0 = rest;
                Some(u64::from(*byte))
            }
            // The number of an operation in its stream, and the length of a message, are mostly two.
            [low, high, rest @ ..] if *high < 0x80 => {
                self.0 = rest;
                Some(u64::from(*low & 0x7f) | u64::from(*high) << 7)
            }
            _ => self.long_number(),
        }
    }

    #[inline(never)]
    fn long_number(&mut self) -> Option<u64> {
        let mut number = 0;
        for (at, byte) in self.0.iter().take(10).enumerate() {
            // The tenth byte has room for one bit.
            if at == 9 && *byte > 1 {
                return None;
            }
            number |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                self.0 = &self.0[at + 1..];
                return Some(number);
            }
        }
        None
    }

    /// So many bytes.
    #[inline]
    pub(crate) fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn fixed(&mut self, length: usize) -> Option<Field<'a>> {
        self.bytes(length).map(|_| Field::Fixed)
    }
}

/// The one field of a message that has no other, where it is a message itself.
pub(crate) fn single(message: &[u8], number: u32) -> Option<&[u8]> {
    let mut fields = Fields(message);
    match (fields.next(), fields.next()) {
        (Some(Ok((found, Field::Bytes(inner)))), None) if found == number => Some(inner),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use headgate_proto::v1;
    use prost::Message as _;

    use super::{Field, Fields, NotPlain, single};

    #[test]
    fn fields_lie_as_the_library_writes_them() {
        let operation = v1::Operation {
            tag: u64::MAX,
            operation: Some(v1::operation::Operation::Release(v1::ReleaseRequest {
                ids: vec!["main-1".into()],
                holder: String::new(),
            })),
        };
        let bytes = operation.encode_to_vec();
        let fields: Vec<_> = Fields(&bytes).collect::<Result<_, _>>().expect("fields");
        let [(1, Field::Number(u64::MAX)), (7, Field::Bytes(release))] = fields[..] else { panic!("{fields:?}") };
        assert_eq!(single(release, 1), Some(&b"main-1"[..]));
        assert_eq!((single(release, 2), single(&bytes, 1), single(&[], 1)), (None, None, None));
    }

    #[test]
    fn what_is_malformed_is_told_once() {
        for bytes in
            [&[8][..], &[10, 2, 0], &[0, 0], &[11], &[8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2], &[9, 0]]
        {
            assert_eq!(Fields(bytes).collect::<Vec<_>>(), [Err(NotPlain)], "{bytes:?}");
        }
    }
}
