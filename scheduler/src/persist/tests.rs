//! Every record reads back as it was written, and a wrong one is refused with the place that is wrong.

pub(crate) mod generated;

use std::sync::Arc;

use headgate_ledger::{Amounts, Entry, Found, Holder, Id, Name, Request, RequestId, Resource, TenantPath, Time};
use headgate_proto::journal::v1 as journal;
use proptest::prelude::{ProptestConfig, proptest};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use proptest::{prop_assert, prop_assert_eq};
use prost::Message as _;

use super::{Origin, Record, RecordReader, RecordWriter, Surface, What};
use crate::protobuf::NotPlain;
use generated::record;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_record_reads_back_as_it_was_written(record in record()) {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        prop_assert_eq!(bytes.len(), record.encoded_len());
        prop_assert_eq!(Record::decode(&bytes), Ok(record));
    }

    #[test]
    fn a_cut_record_is_refused_or_another_but_never_a_panic(record in record(), cut in 0.0..1.0) {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        let cut = (bytes.len() as f64 * cut) as usize;
        if let Ok(read) = Record::decode(&bytes[..cut]) {
            prop_assert!(read != record);
        }
    }
}

/// Records of every kind, the same every time.
fn some(count: usize) -> Vec<Record> {
    let mut runner = TestRunner::deterministic();
    let record = record();
    (0..count).map(|_| record.new_tree(&mut runner).expect("a record").current()).collect()
}

#[test]
fn what_is_written_and_read_by_hand_is_as_the_library_has_it() {
    let (mut writer, mut reader) = (RecordWriter::default(), RecordReader::default());
    let mut by_hand = 0;
    for record in some(4000) {
        let bytes = writer.write(&record);
        assert_eq!(bytes, record.written_by_library(), "{record:?}");
        let plain = reader.plain(bytes);
        assert_eq!(plain.is_ok(), is_plain(&record), "{record:?}");
        by_hand += usize::from(plain.is_ok());
        assert_eq!(reader.read(bytes).as_ref(), Ok(&record));
        assert_eq!(Record::by_library(bytes), Ok(record));
    }
    assert!(by_hand > 1000, "{by_hand} of them are of the kinds that are read by hand");
}

fn is_plain(record: &Record) -> bool {
    match &record.what {
        What::Entry(entry) => match entry {
            Entry::Admitted { .. }
            | Entry::Queued { .. }
            | Entry::Dispatched { .. }
            | Entry::Confirmed { .. }
            | Entry::Renewed { .. }
            | Entry::Ended { .. }
            | Entry::Hit { .. } => true,
            Entry::Configured(_)
            | Entry::Resized { .. }
            | Entry::Claimed { .. }
            | Entry::ClaimExtended { .. }
            | Entry::ClaimDropped { .. }
            | Entry::LetOff { .. }
            | Entry::HoldsPassed { .. }
            | Entry::Silenced { .. }
            | Entry::BudgetTurned { .. }
            | Entry::BurstOver { .. }
            | Entry::MemberGone { .. }
            | Entry::Drained { .. }
            | Entry::Resumed => false,
        },
        What::Digest { .. } => false,
    }
}

#[test]
fn names_that_come_again_are_in_memory_once() {
    let (mut writer, mut reader) = (RecordWriter::default(), RecordReader::default());
    let request = |id: &str| {
        let resources = Amounts::new([(Resource::parse("cpu").expect("a resource"), 4)]).expect("amounts");
        let tenant = TenantPath::parse("acme/ml").expect("a path");
        let id = RequestId::parse(id).expect("an id");
        let mut request = Request::new(id, tenant, Name::parse("default").expect("a name"), resources);
        request.holder = Some(Holder::parse("runner-1").expect("a holder"));
        request
    };
    let mut read = |id: &str| {
        let entry = Entry::Admitted {
            id: Id(1),
            request: Arc::new(request(id)),
            count: 1,
            observed: None,
            found: Found::default(),
        };
        let origin = Arc::new(Origin { actor: "ci".into(), surface: Surface::Grpc, reason: "".into() });
        let written = Record { time: Time::from_nanos(1), origin, what: What::Entry(entry) };
        let record = reader.read(writer.write(&written)).expect("a record");
        let What::Entry(Entry::Admitted { request, .. }) = record.what else { panic!("{:?}", record.what) };
        (record.origin, request)
    };
    let ((origin, one), (again, two)) = (read("one"), read("two"));
    assert!(Arc::ptr_eq(&origin, &again));
    assert_eq!((one.id.as_str(), two.id.as_str()), ("one", "two"));
    let texts = |request: &Request| {
        let (resource, _) = request.resources.iter().next().expect("one");
        let holder = request.holder.as_ref().expect("a holder");
        [request.tenant.as_str(), request.pool.as_str(), resource.as_str(), holder.as_str()].map(str::as_ptr)
    };
    assert_eq!(texts(&one), texts(&two));
}

/// A field twice, in another order, or one that this version does not know: as the library takes it.
#[test]
fn what_another_would_have_written_otherwise_is_read_all_the_same() {
    let ended = journal::Entry { entry: Some(journal::entry::Entry::Ended(journal::Ended { id: 7, end: 1 })) };
    let entry = ended.encode_to_vec();
    let framed = [&[42, entry.len() as u8][..], &entry].concat();
    let (time, source) = ([9, 1, 0, 0, 0, 0, 0, 0, 0], [26, 4, b'g', b'r', b'p', b'c']);
    let plain = [&time[..], &source, &framed].concat();
    let expected = Record::by_library(&plain).expect("a record");
    let mut reader = RecordReader::default();
    assert_eq!(reader.plain(&plain).as_ref(), Ok(&expected));
    for other in [
        [&source[..], &time, &framed].concat(),
        [&framed[..], &source, &time].concat(),
        [&[9, 2, 0, 0, 0, 0, 0, 0, 0][..], &plain].concat(),
        [&plain[..], &[0xf8, 0x01, 3]].concat(),
    ] {
        assert_eq!(reader.plain(&other), Err(NotPlain), "{other:?}");
        assert_eq!(reader.read(&other).as_ref(), Ok(&expected), "{other:?}");
    }
}

fn refused(what: journal::record::What) -> String {
    let form = journal::Record {
        time_ns: 1,
        actor: String::new(),
        source: "grpc".into(),
        reason: String::new(),
        what: Some(what),
    };
    Record::decode(&form.encode_to_vec()).expect_err("refused").to_string()
}

fn entry(entry: journal::entry::Entry) -> journal::record::What {
    journal::record::What::Entry(journal::Entry { entry: Some(entry) })
}

#[test]
fn an_error_says_where_in_the_record_it_is() {
    let request = journal::Request {
        id: "one".into(),
        tenant: "acme".into(),
        pool: "default".into(),
        resources: vec![journal::Amount { resource: "c p u".into(), amount: 1 }],
        count: 1,
        min_count: 1,
        ..journal::Request::default()
    };
    let error = refused(entry(journal::entry::Entry::Queued(journal::Queued { id: 1, request: Some(request) })));
    assert!(error.starts_with("entry.queued.request.resources: resource \"c p u\""), "{error}");

    let guarantee = journal::Guarantee { place: None, resources: vec!["cpu".into()] };
    let claimed = journal::Claimed { id: 1, owner: true, by: vec![guarantee], victims: vec![] };
    let error = refused(entry(journal::entry::Entry::Claimed(claimed)));
    assert!(error.starts_with("entry.claimed.by[0].place: is not there"), "{error}");

    let error = refused(entry(journal::entry::Entry::Ended(journal::Ended { id: 1, end: 99 })));
    assert!(error.starts_with("entry.ended.end: 99 is a word that this version does not know"), "{error}");

    let quota = journal::Quota { class: Some("N O".into()), ..journal::Quota::default() };
    let tenant = journal::Tenant {
        path: "acme".into(),
        lifecycle: 1,
        quotas: vec![journal::PoolQuota { pool: "default".into(), quota: Some(quota) }],
        source: 1,
        ..journal::Tenant::default()
    };
    let changes = vec![journal::Change { change: Some(journal::change::Change::PutTenant(tenant)) }];
    let error = refused(entry(journal::entry::Entry::Configured(journal::Configured { changes })));
    assert!(error.starts_with("entry.configured.changes[0].put_tenant.quotas[0].quota.class: name \"n o\""), "{error}");
}

#[test]
fn what_a_later_version_says_is_refused() {
    let error = refused(journal::record::What::Entry(journal::Entry { entry: None }));
    assert!(error.starts_with("entry: is not there, or of a kind that this version does not know"), "{error}");
    assert!(Record::decode(&[]).is_err());
    assert!(Record::decode(b"not a record").is_err());
}
