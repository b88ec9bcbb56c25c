//! The command line as it is typed.

use std::ffi::OsString;

use super::{Cli, USAGE, parse};

fn parsed(line: &str) -> Result<Cli, clap::Error> {
    let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
    parse(&args)
}

#[test]
fn the_command_line_is_well_formed() {
    super::command(None).debug_assert();
}

#[test]
fn what_is_typed_is_understood_or_refused() {
    for (line, understood) in [
        ("headgate acquire --tenant acme/ml --cpu 2 --memory 4Gi", true),
        ("headgate acquire -t acme/ml --resource nvidia.com/gpu=1 --resource jobs=1 --wait -o json", true),
        ("headgate acquire -t acme --wait=10m", true),
        ("headgate acquire -t acme --wait=soon", false),
        ("headgate acquire -t acme --wait --no-wait", false),
        ("headgate acquire -t acme --now", true),
        ("headgate acquire --cpu 2", false),
        ("headgate acquire -t acme --count 0", false),
        ("headgate acquire -t acme --priority -5", true),
        ("headgate acquire -t acme --resource cpu", false),
        ("headgate acquire -t acme --label run=42 --label empty=", true),
        ("headgate --server http://10.0.0.1:7070 check -t acme", true),
        ("headgate check -t acme --server http://10.0.0.1:7070", true),
        ("headgate check -t acme -o yaml", false),
        ("headgate confirm a b", true),
        ("headgate confirm --holder runner", true),
        ("headgate confirm a --holder runner", false),
        ("headgate confirm", false),
        ("headgate renew a --holder runner", true),
        ("headgate resize a --cpu 4", true),
        ("headgate release --holder runner", true),
        ("headgate cancel a --cert x", false),
        ("headgate test a.yaml b.yaml -o json", true),
        ("headgate test", false),
        ("headgate config check headgate.yaml", true),
        ("headgate config schema", true),
        ("headgate completions zsh", true),
        ("headgate man --dir out", true),
        ("headgate", false),
    ] {
        let result = parsed(line);
        assert_eq!(result.is_ok(), understood, "{line}: {:?}", result.err().map(|error| error.to_string()));
    }
    assert_eq!(parsed("headgate").err().map(|error| error.exit_code()), Some(i32::from(USAGE)));
}

#[test]
fn a_plugin_of_kubectl_says_so() {
    for (called, shown) in [("/usr/bin/kubectl-headgate", "kubectl headgate"), ("headgate", "headgate")] {
        let error = parse(&[called.into(), "acquire".into(), "--help".into()]).expect_err("help");
        assert!(error.to_string().contains(&format!("Usage: {shown} acquire")), "{error}");
    }
}

mod answers {
    use headgate_proto::v1;
    use serde_json::json;

    use super::super::{admin, json, text};

    fn timestamp(seconds: i64) -> prost_types::Timestamp {
        prost_types::Timestamp { seconds, nanos: 0 }
    }

    fn denied() -> v1::Answer {
        v1::Answer {
            decision: v1::Decision::Deny.into(),
            reasons: vec![v1::ReasonDetail {
                code: v1::Reason::ExceedsLimit.into(),
                tenant: "acme/ml".into(),
                resource: "cpu".into(),
                used: 3500,
                requested: 2000,
                limit: 4000,
                ..Default::default()
            }],
            enforce: v1::Enforce::Deny.into(),
            ..Default::default()
        }
    }

    #[test]
    fn a_denial_in_json_has_the_wires_names_and_short_words() {
        assert_eq!(
            json::answer_to("r1", &denied()),
            json!({
                "request_id": "r1",
                "decision": "deny",
                "enforce": "deny",
                "reasons": [{
                    "code": "exceeds-limit", "tenant": "acme/ml", "resource": "cpu",
                    "used": 3500, "requested": 2000, "limit": 4000,
                }],
            })
        );
    }

    #[test]
    fn an_allowed_request_in_json_has_its_lease() {
        let answer = v1::Answer {
            decision: v1::Decision::Allow.into(),
            lease_id: "main-7".into(),
            state: v1::State::Reclaiming.into(),
            charged: [("cpu".to_owned(), 2000), ("memory".to_owned(), 4 << 30)].into(),
            count: 1,
            expires_at: Some(timestamp(60)),
            deadline: Some(timestamp(30)),
            ..Default::default()
        };
        assert_eq!(
            json::answer(&answer),
            json!({
                "decision": "allow",
                "lease_id": "main-7",
                "state": "reclaiming",
                "charged": {"cpu": 2000, "memory": 4_294_967_296_i64},
                "count": 1,
                "reasons": [],
                "expires_at": "1970-01-01T00:01:00Z",
                "deadline": "1970-01-01T00:00:30Z",
            })
        );
        assert_eq!(
            text::answer(&answer, false),
            "allowed: lease main-7, reclaiming, holds cpu 2, memory 4Gi; renew by 1970-01-01T00:01:00Z; must give way by \
             1970-01-01T00:00:30Z\n"
        );
    }

    #[test]
    fn a_queued_request_says_where_it_stands() {
        let answer = v1::Answer {
            decision: v1::Decision::Queue.into(),
            ticket_id: "main-8".into(),
            state: v1::State::Waiting.into(),
            position: 3,
            expected_wait: Some(prost_types::Duration { seconds: 90, nanos: 500_000_000 }),
            ..Default::default()
        };
        assert_eq!(
            json::answer(&answer),
            json!({
                "decision": "queue", "ticket_id": "main-8", "state": "waiting", "position": 3,
                "expected_wait": "90.500s", "reasons": [],
            })
        );
        assert_eq!(text::answer(&answer, false), "queued: ticket main-8, position 3, expected wait 1m31s\n");
        assert_eq!(
            text::answer(&denied(), true),
            "would be denied\n  exceeds-limit at acme/ml: cpu 3500m used, 2 requested, 4 at most\n"
        );
        let told =
            |code: v1::Reason| text::reason(&v1::ReasonDetail { code: code.into(), ..denied().reasons[0].clone() });
        assert_eq!(told(v1::Reason::NeverFits), "never-fits at acme/ml: cpu 2 requested, 4 at most");
        assert_eq!(told(v1::Reason::WouldBorrow), "would-borrow at acme/ml: cpu 3500m used, 2 requested, 4 guaranteed");
    }

    #[test]
    fn an_event_in_json_stands_under_its_number() {
        let ended = v1::Ended {
            id: "main-7".into(),
            request_id: "r1".into(),
            tenant: "acme".into(),
            pool: "default".into(),
            admitted: true,
            cause: v1::EndCause::Revoked.into(),
            ended_at: Some(timestamp(0)),
            ..Default::default()
        };
        let event = v1::Event {
            kind: v1::EventKind::Revoked.into(),
            time: Some(timestamp(0)),
            after: Some(v1::event::After::Ended(ended)),
        };
        assert_eq!(
            json::event(12, &event),
            json!({
                "sequence": 12, "kind": "revoked", "time": "1970-01-01T00:00:00Z",
                "ended": {
                    "id": "main-7", "request_id": "r1", "tenant": "acme", "pool": "default", "admitted": true,
                    "cause": "revoked", "ended_at": "1970-01-01T00:00:00Z",
                },
            })
        );
    }

    #[test]
    fn a_change_says_what_differs() {
        let effect = v1::Effect {
            differences: vec![v1::Difference {
                object: "tenant/acme".into(),
                kind: v1::DifferenceKind::Changed.into(),
                fields: vec![v1::FieldDifference { field: "weight".into(), before: "1".into(), after: "2".into() }],
            }],
            reclaimed: Vec::new(),
            warnings: vec!["more is guaranteed than there is".into()],
        };
        assert_eq!(
            admin::effect_text(&effect, true),
            "tenant/acme: changed\n  weight: 1 -> 2\nwarning: more is guaranteed than there is\nnothing was changed: this was a \
             dry run\n"
        );
        assert_eq!(
            json::effect(&effect)["differences"][0]["fields"][0],
            json!({"field": "weight", "before": "1", "after": "2"})
        );
        assert_eq!(admin::effect_text(&v1::Effect::default(), false), "nothing differs\n");
    }
}
