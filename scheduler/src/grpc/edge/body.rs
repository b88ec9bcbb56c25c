//! A call's message, gathered from the frames that it comes in, and taken out of what gRPC puts around it.

use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use h2::RecvStream;
use headgate_proto::limits::OPERATIONS_BYTES_MAX;
use tonic::Code;

use crate::grpc::fault::Fault;

/// What gRPC puts before a message: whether it is compressed, and how long it is.
pub(super) const PREFIX_BYTES: usize = 5;

/// The message of a call that takes one, as it comes.
#[derive(Debug)]
pub(super) struct Gathering {
    body: RecvStream,
    bytes: Pieces,
}

impl Gathering {
    pub(super) fn new(body: RecvStream) -> Self {
        Self { body, bytes: Pieces::default() }
    }

    /// The message, when it is whole and nothing comes after it.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes, Fault>> {
        while !self.body.is_end_stream() {
            match ready!(self.body.poll_data(context)) {
                Some(Ok(data)) => {
                    release(&mut self.body, data.len());
                    self.bytes.add(data);
                    // What is too long is refused before it has come.
                    if let Err(fault) = self.bytes.whole() {
                        return Poll::Ready(Err(fault));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Err(broken(&error))),
                None => break,
            }
        }
        Poll::Ready(self.bytes.only())
    }
}

/// Says that so many bytes were taken, so that more may come.
pub(super) fn release(body: &mut RecvStream, bytes: usize) {
    // What fails here is that the stream has ended, which is told next.
    let _ = body.flow_control().release_capacity(bytes);
}

/// What is said of a call that was broken off: mostly to nobody.
pub(super) fn broken(error: &h2::Error) -> Fault {
    Fault::new(Code::Cancelled, format!("the call was broken off: {error}"))
}

/// Bytes that have come and are no whole message yet. Mostly a message is one frame, and is not copied.
#[derive(Debug, Default)]
pub(super) struct Pieces(Bytes);

impl Pieces {
    pub(super) fn add(&mut self, data: Bytes) {
        if self.0.is_empty() {
            self.0 = data;
            return;
        }
        // Where nobody else has them, bytes are added in place.
        let mut together =
            std::mem::take(&mut self.0).try_into_mut().unwrap_or_else(|bytes| BytesMut::from(&bytes[..]));
        together.extend_from_slice(&data);
        self.0 = together.freeze();
    }

    /// How many bytes the next message takes with its prefix, where it is here.
    fn whole(&self) -> Result<Option<usize>, Fault> {
        let Some((&[compressed, a, b, c, d], rest)) = self.0.split_first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        match compressed {
            0 => {}
            1 => return Err(Fault::new(Code::Internal, "a message is compressed, and the call does not say how")),
            flag => {
                let why = format!("a message begins with {flag}: 0 says that it is not compressed, and 1 that it is");
                return Err(Fault::new(Code::Internal, why));
            }
        }
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > OPERATIONS_BYTES_MAX {
            let why =
                format!("the message is too large: it has {length} bytes, the limit is: {OPERATIONS_BYTES_MAX} bytes");
            return Err(Fault::new(Code::InvalidArgument, why));
        }
        Ok((rest.len() >= length).then_some(PREFIX_BYTES + length))
    }

    /// The next message, where it is here.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        let Some(length) = self.whole()? else { return Ok(None) };
        let mut message = self.0.split_to(length);
        message.advance(PREFIX_BYTES);
        Ok(Some(message))
    }

    /// The one message, when nothing more comes.
    fn only(&mut self) -> Result<Bytes, Fault> {
        match self.next()? {
            Some(message) if self.0.is_empty() => Ok(message),
            // gRPC's table of status codes has this for too few and too many messages.
            Some(_) => Err(Fault::new(Code::Unimplemented, "this call takes one message, and more came")),
            None if self.0.is_empty() => {
                Err(Fault::new(Code::Unimplemented, "this call takes one message, and none came"))
            }
            None => Err(self.cut_off()),
        }
    }

    /// What is wrong where nothing more comes.
    pub(super) fn end(&self) -> Result<(), Fault> {
        if self.0.is_empty() { Ok(()) } else { Err(self.cut_off()) }
    }

    fn cut_off(&self) -> Fault {
        Fault::new(Code::Internal, format!("a message is cut off after {} bytes of it", self.0.len()))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tonic::Code;

    use super::Pieces;
    use crate::grpc::fault::Fault;

    fn only(pieces: &[&[u8]]) -> Result<Vec<u8>, (Code, String)> {
        let told = |fault: Fault| (fault.code(), fault.to_string());
        let mut gathered = Pieces::default();
        for piece in pieces {
            gathered.add(Bytes::copy_from_slice(piece));
            gathered.whole().map_err(told)?;
        }
        gathered.only().map(|message| message.to_vec()).map_err(told)
    }

    #[test]
    fn a_message_may_come_in_any_pieces() {
        let framed = [0, 0, 0, 0, 3, 7, 8, 9];
        for cut in 0..=framed.len() {
            let (first, rest) = framed.split_at(cut);
            assert_eq!(only(&[first, rest]), Ok(vec![7, 8, 9]), "cut after {cut}");
        }
        let bytes: Vec<_> = framed.chunks(1).collect();
        assert_eq!(only(&bytes), Ok(vec![7, 8, 9]));
        assert_eq!(only(&[&[0, 0, 0, 0, 0]]), Ok(Vec::new()), "one that says nothing");
    }

    #[test]
    fn what_is_no_single_message_is_told_so() {
        for (bytes, code, says) in [
            (&[][..], Code::Unimplemented, "none came"),
            (&[0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0], Code::Unimplemented, "more came"),
            (&[0, 0, 0, 0, 1, 1, 0], Code::Unimplemented, "more came"),
            (&[0, 0, 0], Code::Internal, "cut off after 3 bytes"),
            (&[0, 0, 0, 0, 2, 1], Code::Internal, "cut off after 6 bytes"),
            (&[1, 0, 0, 0, 1, 1], Code::Internal, "does not say how"),
            (&[9, 0, 0, 0, 1, 1], Code::Internal, "begins with 9"),
            (&[0, 0, 16, 0, 1], Code::InvalidArgument, "it has 1048577 bytes, the limit is: 1048576 bytes"),
            (&[0, 255, 255, 255, 255], Code::InvalidArgument, "it has 4294967295 bytes"),
        ] {
            let (found, why) = only(&[bytes]).expect_err("no message");
            assert!(found == code && why.contains(says), "{bytes:?}: {found:?} {why}");
        }
    }

    #[test]
    fn several_messages_of_a_stream_are_taken_one_by_one() {
        let mut pieces = Pieces::default();
        pieces.add(Bytes::from_static(&[0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 2, 2]));
        assert_eq!(pieces.next().expect("good").as_deref(), Some(&[1][..]));
        assert_eq!(pieces.next().expect("good"), None);
        assert_eq!(pieces.end().expect_err("cut off").code(), Code::Internal);
        pieces.add(Bytes::from_static(&[3]));
        assert_eq!(pieces.next().expect("good").as_deref(), Some(&[2, 3][..]));
        assert!(pieces.end().is_ok());
    }
}
