//! Messages of protobuf, written and read by hand: only the fields that a load test says or looks at.

/// Writes a number.
pub(crate) fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The bytes that a number takes.
pub(crate) fn varint_bytes(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

/// Writes a field that is a number.
pub(crate) fn number(field: u8, value: u64, out: &mut Vec<u8>) {
    out.push(field << 3);
    varint(value, out);
}

/// Writes a field that is text, or a message that is already written.
pub(crate) fn bytes(field: u8, value: &[u8], out: &mut Vec<u8>) {
    out.push(field << 3 | 2);
    varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

/// A field, as it lies in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field<'a> {
    /// A whole number.
    Number(u64),
    /// Text, or a message.
    Bytes(&'a [u8]),
    /// A number of fixed size: nothing that is looked at.
    Fixed,
}

/// The fields of a message, in the order in which they lie there. Ends early where the message is malformed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u32, Field<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.varint()?;
        let field = (key >> 3) as u32;
        let value = match key & 7 {
            0 => Field::Number(self.varint()?),
            1 => self.skip(8)?,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                let (value, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                Field::Bytes(value)
            }
            5 => self.skip(4)?,
            _ => return None,
        };
        Some((field, value))
    }
}

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for (at, byte) in self.0.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                self.0 = &self.0[at + 1..];
                return Some(value);
            }
        }
        None
    }

    fn skip(&mut self, length: usize) -> Option<Field<'a>> {
        self.0 = self.0.get(length..)?;
        Some(Field::Fixed)
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::{Field, Fields, bytes, number, varint, varint_bytes};

    #[test]
    fn it_is_what_prost_writes_and_reads() {
        let mut ours = Vec::new();
        bytes(1, b"id", &mut ours);
        bytes(2, b"a/b", &mut ours);
        number(9, 1, &mut ours);
        let read = headgate_proto::v1::Request::decode(ours.as_slice()).expect("a request");
        assert_eq!((read.request_id.as_str(), read.tenant.as_str(), read.wait), ("id", "a/b", Some(true)));
        assert_eq!(read.encode_to_vec(), ours);
        let fields: Vec<_> = Fields(&ours).collect();
        assert_eq!(fields, [(1, Field::Bytes(b"id")), (2, Field::Bytes(b"a/b")), (9, Field::Number(1))]);
    }

    #[test]
    fn a_number_takes_as_many_bytes_as_it_is_said_to() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            varint(value, &mut out);
            assert_eq!(out.len(), varint_bytes(value), "{value}");
            assert_eq!(Fields(&[&[8], out.as_slice()].concat()).next(), Some((1, Field::Number(value))));
        }
    }
}
