//! What answers write beside numbers and texts.

use headgate_ledger::{Id, Name, Time};

use crate::grpc::render;
use crate::protobuf::Back;

impl Back {
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
}
