//! What others rely on: the services and their methods, the words, and the bytes that are on disks.

use std::collections::{BTreeMap, BTreeSet};

use headgate_proto::FILE_DESCRIPTOR_SET;
use headgate_proto::journal::v1 as journal;
use headgate_proto::v1;
use prost::Message as _;
use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};

/// The files of the wire's own package.
fn wire() -> Vec<FileDescriptorProto> {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("a descriptor set");
    set.file.into_iter().filter(|file| file.package() == "headgate.v1").collect()
}

/// The methods of a service, with an arrow for each side: `->` for one message, `->>` for a stream.
fn methods(service: &str) -> BTreeSet<String> {
    let files = wire();
    let service = files.iter().flat_map(|file| &file.service).find(|each| each.name() == service).expect("a service");
    let arrow = |streaming| if streaming { "->>" } else { "->" };
    let method = |method: &prost_types::MethodDescriptorProto| {
        format!("{}{}{}", arrow(method.client_streaming()), method.name(), arrow(method.server_streaming()))
    };
    service.method.iter().map(method).collect()
}

fn message(name: &str) -> DescriptorProto {
    let mut messages = wire().into_iter().flat_map(|file| file.message_type);
    messages.find(|message| message.name() == name).expect("a message")
}

#[test]
fn the_services_have_their_methods() {
    let unary = |names: &[&str]| names.iter().map(|name| format!("->{name}->")).collect::<BTreeSet<_>>();

    let mut quota =
        unary(&["CheckQuota", "Acquire", "Confirm", "Renew", "Resize", "Release", "Cancel", "Get", "Await"]);
    quota.insert("->>AcquireStream->>".into());
    quota.insert("->Watch->>".into());
    assert_eq!(methods("QuotaService"), quota);

    let mut admin = unary(&["Apply", "SetCapacity", "SetPaused", "SetEnforce", "Explain"]);
    for object in ["Tenant", "Pool", "Class"] {
        admin.extend(unary(&[&format!("Put{object}"), &format!("Get{object}"), &format!("Delete{object}")]));
    }
    admin.extend(unary(&["ListTenants", "ListPools", "ListClasses", "ListUsage", "ListQueue", "ListLeases"]));
    assert_eq!(methods("AdminService"), admin);
}

#[test]
fn the_descriptor_set_is_whole() {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("a descriptor set");
    let names: BTreeSet<_> = set.file.iter().map(|file| file.name()).collect();
    for file in &set.file {
        for import in &file.dependency {
            assert!(names.contains(import.as_str()), "{} imports {import}, which is not there", file.name());
        }
    }
}

#[test]
fn every_operation_of_a_stream_has_its_result() {
    let fields = |name| {
        let fields = message(name).field.into_iter();
        fields.filter(|field| field.oneof_index.is_some()).map(|field| field.name().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(fields("Operation"), fields("OperationResult"));
}

#[test]
fn a_request_has_the_fields_that_callers_know() {
    let fields: Vec<_> = message("Request").field.into_iter().map(|field| field.name().to_owned()).collect();
    let known = "request_id tenant pool resources count min_count priority expected_duration wait borrow grace ttl \
                 provisional holder labels explain";
    assert_eq!(fields, known.split_whitespace().collect::<Vec<_>>());
}

#[test]
fn every_value_has_the_word_that_its_name_says() {
    let mut values = BTreeMap::new();
    for each in wire().iter().flat_map(|file| &file.enum_type) {
        let names = each.value.iter().map(|value| value.name().to_owned());
        values.insert(each.name().to_owned(), names.collect::<Vec<_>>());
    }

    macro_rules! check {
        ($($name:ident)+) => {$({
            let names = values.remove(stringify!($name)).expect("an enumeration");
            let (unspecified, names) = names.split_first().expect("a value");
            assert_eq!(v1::$name::Unspecified.as_str_name(), unspecified);
            assert_eq!(v1::$name::Unspecified.word(), "unspecified");
            assert_eq!(v1::$name::from_word("unspecified"), None);

            assert_eq!(v1::$name::ALL.iter().map(|value| value.as_str_name()).collect::<Vec<_>>(), *names);
            let prefix = unspecified.strip_suffix("UNSPECIFIED").expect("a first value that says nothing");
            for value in v1::$name::ALL {
                let name = value.as_str_name().strip_prefix(prefix).expect("a name with its prefix");
                assert_eq!(value.word(), name.to_lowercase().replace('_', "-"));
                assert_eq!(v1::$name::from_word(value.word()), Some(*value));
            }
        })+};
    }
    check! {
        Decision State Reason EndCause EventKind DifferenceKind Source Order ShareOf Enforce Lifecycle Period OnExceed
    }
    assert!(values.is_empty(), "without a word: {:?}", values.keys());
}

#[test]
fn reasons_are_the_thirteen_words_that_are_fixed() {
    let words: Vec<_> = v1::Reason::ALL.iter().map(|reason| reason.word()).collect();
    let fixed = "never-fits exceeds-limit no-capacity behind-earlier held-for-another burst-over would-borrow \
                 budget-used-up inactive paused queue-full waited-too-long rate-exceeded";
    assert_eq!(words, fixed.split_whitespace().collect::<Vec<_>>());
}

#[test]
fn the_journal_knows_every_reason_and_end() {
    for reason in v1::Reason::ALL {
        let kept = journal::Reason::try_from(*reason as i32).expect("a reason that is kept");
        assert_eq!(kept.as_str_name(), reason.as_str_name());
    }
    for cause in v1::EndCause::ALL {
        let kept = journal::End::try_from(*cause as i32).expect("an end that is kept");
        assert_eq!(kept.as_str_name().strip_prefix("END_"), cause.as_str_name().strip_prefix("END_CAUSE_"));
    }
}

/// A record as the first version wrote it.
fn first_record() -> journal::Record {
    let request = journal::Request {
        id: "r-1".into(),
        tenant: "acme/ml".into(),
        pool: "default".into(),
        resources: vec![journal::Amount { resource: "cpu".into(), amount: 2000 }],
        count: 4,
        min_count: 2,
        priority: -1,
        expected_duration_ns: Some(60_000_000_000),
        wait: true,
        borrow: true,
        grace_ns: None,
        ttl_ns: Some(0),
        provisional: false,
        holder: Some("runner".into()),
        labels: vec![journal::Label { name: "job".into(), value: "7".into() }],
        enforce: Some(journal::Enforce::Warn.into()),
    };
    let admitted = journal::Admitted {
        id: 42,
        request: Some(request),
        count: 3,
        observed: Some(journal::Reason::ExceedsLimit.into()),
    };
    journal::Record {
        time_ns: 1_700_000_000_000_000_000,
        actor: "spiffe://acme/ci/runner".into(),
        source: "grpc".into(),
        reason: String::new(),
        what: Some(journal::record::What::Entry(journal::Entry {
            entry: Some(journal::entry::Entry::Admitted(admitted)),
        })),
    }
}

/// The bytes of [`first_record`], as they are on disks.
const FIRST_RECORD: &str = "\
    0900002a36fe9c971712177370696666653a2f2f61636d652f63692f72756e6e65721a04677270632a531251082a12490a03\
    722d31120761636d652f6d6c1a0764656661756c7422080a0363707510d00f2804300238014080b09dc2df01480150016000\
    720672756e6e65727a080a036a6f6212013780010218032002";

#[test]
fn what_the_first_version_wrote_is_read_and_written_the_same() {
    let written: String = first_record().encode_to_vec().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(written, FIRST_RECORD);
    let bytes: Vec<u8> = (0..FIRST_RECORD.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&FIRST_RECORD[at..at + 2], 16).expect("a byte"))
        .collect();
    assert_eq!(journal::Record::decode(&*bytes).expect("a record"), first_record());
}
