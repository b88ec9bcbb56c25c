//! Every record reads back as it was written, and a wrong one is refused with the place that is wrong.

pub(crate) mod generated;

use headgate_proto::journal::v1 as journal;
use proptest::prelude::{ProptestConfig, proptest};
use proptest::{prop_assert, prop_assert_eq};
use prost::Message as _;

use super::Record;
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
