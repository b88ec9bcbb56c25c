//! What a snapshot has many of is written and read by hand, as the library does it.

use headgate_ledger::{
    Amounts, End, Ended, Lease, LeaseParts, ReasonCode, Snapshot, Ticket, TicketSnapshot, Time, default_cell,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::{ProptestConfig, any, proptest};
use proptest::sample::select;
use proptest::{prop_assert, prop_assert_eq, prop_compose};

use super::{SnapshotHeader, SnapshotReader, rewritten_by_library, write_snapshot};
use crate::persist::known::Known;
use crate::persist::snapshot::plain::Plain;
use crate::persist::tests::generated::{amounts, holder, id, request, time};

prop_compose! {
    fn lease()(
        (id, request, resources, count, charged) in (id(), request(), amounts(), any::<u32>(), of(amounts())),
        (arrived, admitted, confirmed, deadline) in (time(), time(), of(time()), of(time())),
        (holder, expires, observed) in (of(holder()), of(time()), of(select(ReasonCode::ALL.to_vec()))),
    ) -> (Lease, Option<Amounts>) {
        let expires = expires.unwrap_or(Time::NEVER);
        (LeaseParts { id, request, resources, count, arrived, admitted, confirmed, holder, expires, deadline, observed }.into(), charged)
    }
}

prop_compose! {
    fn ticket()(
        (id, request, resources, arrived) in (id(), request(), amounts(), time()),
        (holder, heard, silent, rank, turned) in (of(holder()), time(), any::<bool>(), any::<i128>(), of(time())),
    ) -> TicketSnapshot {
        TicketSnapshot { ticket: Ticket { id, request, resources, arrived, holder, heard, silent }, rank, turned }
    }
}

prop_compose! {
    fn ended()(
        (id, request, end, admitted, at) in (id(), request(), select(End::ALL.to_vec()), any::<bool>(), time()),
    ) -> Ended {
        Ended { id, request, end, admitted, at }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_is_written_and_read_by_hand_is_as_the_library_has_it(
        leases in vec(lease(), 0..6),
        tickets in vec(ticket(), 0..6),
        ended in vec(ended(), 0..6),
    ) {
        let snapshot = Snapshot { leases, tickets, ended, next_id: 7, ..Snapshot::default() };
        let header = SnapshotHeader { cell: default_cell(), sequence: 9, time: Time::from_nanos(3), digest: 1 };
        let (mut reader, mut library) = (SnapshotReader::default(), SnapshotReader::default());
        let mut parts = Vec::new();
        write_snapshot(&header, &snapshot, |part| {
            parts.push(part.to_vec());
            Ok::<_, std::convert::Infallible>(())
        }).expect("there is room");
        for part in &parts {
            prop_assert_eq!(&rewritten_by_library(part), part);
            let plain = Plain::of(part, &mut Known::default());
            prop_assert!(plain.is_ok_and(|plain| plain.leases == snapshot.leases && plain.ended == snapshot.ended));
            prop_assert_eq!(reader.take(part), Ok(()));
            prop_assert_eq!(library.take_by_library(part), Ok(()));
        }
        let read = reader.finish();
        prop_assert_eq!(&read, &library.finish());
        prop_assert_eq!(read, Ok((header, snapshot)));
    }
}
