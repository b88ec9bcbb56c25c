//! What an API server asks a webhook before it creates a pod, and what it is answered: Kubernetes' `AdmissionReview`
//! (`admission.k8s.io/v1`), as JSON.
//!
//! A tenant's pods are in a namespace of its own: its path, with hyphens for slashes (`loadtest-t-0`). Whoever drives a
//! webhook makes these, with the label that says whose they are.

use headgate_scheduler::config::format_amount;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::calls::ID_BYTES;
use crate::scenario::{Amounts, Scenario};

const VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";
const TENANT: &str = "headgate.dev/tenant";
const POOL: &str = "headgate.dev/pool";
/// Bytes of a label's value.
const LABEL_BYTES_MAX: usize = 63;
/// What stands in a review where an id belongs: nothing that JSON or a name may have.
const HERE: &str = "\u{1}";
/// What stands where the size belongs.
const SIZE: &str = "\u{2}";
/// Bytes of a denial's own words that are told.
const SAID_MAX: usize = 200;

/// Reviews of the creation of a pod, written beforehand.
#[derive(Clone, Debug)]
pub(crate) struct Reviews {
    /// By tenant: what stands before, between and after what differs.
    tenants: Vec<Vec<Part>>,
    /// By size: what a pod's container asks for.
    shapes: Vec<String>,
}

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    /// The id of the request, in the form of a UUID.
    Id,
    Size,
}

impl Reviews {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let pool = &scenario.pool.name;
        let shape = |amounts: &Amounts| {
            let quantity = |(name, amount): (&String, &u64)| (name.clone(), format_amount(*amount, name).into());
            let quantities: Map<String, Value> = amounts.iter().map(quantity).collect();
            json!({"requests": quantities, "limits": quantities}).to_string()
        };
        Self {
            tenants: scenario.tenants.iter().map(|tenant| parts(&review(&tenant.path, pool).to_string())).collect(),
            shapes: scenario.shapes.iter().map(shape).collect(),
        }
    }

    /// Writes one.
    pub(crate) fn write(&self, tenant: u32, shape: u32, id: &[u8; ID_BYTES], out: &mut Vec<u8>) {
        for part in &self.tenants[tenant as usize] {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Id => out.extend_from_slice(&uid(id)),
                Part::Size => out.extend_from_slice(self.shapes[shape as usize].as_bytes()),
            }
        }
    }
}

/// The review of a tenant's pod, with the places in it that differ.
fn review(path: &str, pool: &str) -> Value {
    let (namespace, name, tenant) = (path.replace('/', "-"), format!("pod-{HERE}"), path.replace('/', "."));
    let of_pod = json!({"group": "", "version": "v1", "kind": "Pod"});
    let of_pods = json!({"group": "", "version": "v1", "resource": "pods"});
    let (mut labels, mut annotations) = (json!({POOL: pool}), json!({"headgate.dev/priority": "0"}));
    let place = if tenant.len() > LABEL_BYTES_MAX { &mut annotations } else { &mut labels };
    place[TENANT] = tenant.into();
    json!({
        "apiVersion": VERSION,
        "kind": KIND,
        "request": {
            "uid": HERE,
            "kind": of_pod,
            "resource": of_pods,
            "requestKind": of_pod,
            "requestResource": of_pods,
            "name": name,
            "namespace": namespace,
            "operation": "CREATE",
            "userInfo": {
                "username": "system:serviceaccount:kube-system:job-controller",
                "groups": ["system:serviceaccounts", "system:authenticated"],
            },
            "object": {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": name, "namespace": namespace, "uid": HERE, "labels": labels, "annotations": annotations,
                },
                "spec": {
                    "containers": [{"name": "main", "image": "example.com/job:1", "resources": SIZE}],
                    "restartPolicy": "Never",
                },
            },
            "oldObject": null,
            "dryRun": false,
            "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
        },
    })
}

/// Takes a review apart at the places in it that differ. What stands for a size is no text, and its quotes go with it.
fn parts(text: &str) -> Vec<Part> {
    let (here, size) = (escaped(HERE), format!("\"{}\"", escaped(SIZE)));
    let mut parts = Vec::new();
    for (at, text) in text.split(&size).enumerate() {
        if at > 0 {
            parts.push(Part::Size);
        }
        for (at, text) in text.split(&here).enumerate() {
            if at > 0 {
                parts.push(Part::Id);
            }
            parts.push(Part::Text(text.to_owned()));
        }
    }
    parts
}

/// Text as it stands within quotes in JSON.
fn escaped(text: &str) -> String {
    Value::from(text).to_string().trim_matches('"').to_owned()
}

/// An id in the form of a UUID (version 4), as an API server gives them.
fn uid(id: &[u8; ID_BYTES]) -> [u8; 36] {
    let mut uid = *b"00000000-0000-4000-8000-000000000000";
    let mut digits = id.iter();
    for place in (0..8).chain(9..13).chain(15..18).chain(20..23).chain(24..30) {
        if let Some(digit) = digits.next() {
            uid[place] = *digit;
        }
    }
    uid
}

/// An answer, as far as it is looked at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    #[serde(default, borrow)]
    api_version: std::borrow::Cow<'a, str>,
    #[serde(default, borrow)]
    kind: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    response: Option<Response<'a>>,
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(default, borrow)]
    uid: std::borrow::Cow<'a, str>,
    allowed: Option<bool>,
}

/// What was answered to the review with this id: whether the pod is allowed. Else a kind of error, and what is wrong.
pub(crate) fn read(body: &[u8], id: &[u8; ID_BYTES]) -> Result<bool, (&'static str, String)> {
    let garbled = |what: String| ("garbled", what);
    let answer: Answer<'_> = serde_json::from_slice(body).map_err(|error| {
        let said: String = String::from_utf8_lossy(&body[..body.len().min(SAID_MAX)]).escape_debug().collect();
        garbled(format!("it answers no {KIND} ({error}): {said}"))
    })?;
    let Answer { api_version, kind, response } = answer;
    if (&*api_version, &*kind) != (VERSION, KIND) {
        let (api_version, kind) = (api_version.escape_debug(), kind.escape_debug());
        return Err(garbled(format!("it answers \"{kind}\" of \"{api_version}\", not {KIND} of {VERSION}")));
    }
    let Response { uid: about, allowed } = response.ok_or_else(|| garbled("its answer has no response".to_owned()))?;
    let asked = uid(id);
    if about.as_bytes() != asked {
        let asked = String::from_utf8_lossy(&asked);
        return Err(("wrong uid", format!("asked about {asked}, it answers about \"{}\"", about.escape_debug())));
    }
    allowed.ok_or_else(|| garbled("its response does not say whether it is allowed".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::{Reviews, read};
    use crate::calls::ID_BYTES;
    use crate::scenario::Scenario;

    const ID: [u8; ID_BYTES] = *b"0123456789abcdef01234567";
    const UID: &str = "01234567-89ab-4cde-8f01-234567000000";

    fn written(path: &str) -> Value {
        let yaml = format!(
            "scenario: x\nmix: {{check: 1}}\nsizes: {{cpu: 500m, memory: 1Gi, nvidia.com/gpu: 2}}\ntenants: [{{path: {path}}}]"
        );
        let scenario = Scenario::parse("x", &yaml, Path::new(".")).expect("read");
        let mut out = Vec::new();
        Reviews::new(&scenario).write(0, 0, &ID, &mut out);
        serde_json::from_slice(&out).expect("JSON")
    }

    #[test]
    fn a_review_is_of_a_pod_of_a_size_in_a_namespace_of_its_tenants() {
        let review = written("loadtest/a");
        assert_eq!(
            (&review["apiVersion"], &review["kind"]),
            (&json!("admission.k8s.io/v1"), &json!("AdmissionReview"))
        );
        let request = &review["request"];
        assert_eq!((&request["uid"], &request["namespace"]), (&json!(UID), &json!("loadtest-a")));
        assert_eq!((&request["operation"], &request["dryRun"]), (&json!("CREATE"), &json!(false)));
        let pod = &request["object"];
        let labels = json!({"headgate.dev/tenant": "loadtest.a", "headgate.dev/pool": "loadtest"});
        assert_eq!(pod["metadata"]["labels"], labels);
        assert_eq!(pod["metadata"]["name"], json!(format!("pod-{UID}")));
        let sizes = json!({"cpu": "500m", "memory": "1Gi", "nvidia.com/gpu": "2"});
        let resources = json!({"requests": sizes, "limits": sizes});
        assert_eq!(pod["spec"]["containers"][0]["resources"], resources);
    }

    #[test]
    fn what_is_too_long_for_a_label_is_an_annotation() {
        let path = format!("loadtest/{0}/{0}", "a".repeat(40));
        let metadata = &written(&path)["request"]["object"]["metadata"];
        assert_eq!(metadata["annotations"]["headgate.dev/tenant"], json!(path.replace('/', ".")));
        assert_eq!(metadata["labels"].get("headgate.dev/tenant"), None);
    }

    #[test]
    fn an_answer_is_about_what_was_asked_or_an_error() {
        let answer = |uid: &str, more: Value| {
            let mut response = json!({"uid": uid});
            response["allowed"] = more;
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}).to_string()
        };
        assert_eq!(read(answer(UID, json!(true)).as_bytes(), &ID), Ok(true));
        assert_eq!(read(answer(UID, json!(false)).as_bytes(), &ID), Ok(false));
        for (body, kind, expected) in [
            (answer("another", json!(true)), "wrong uid", "it answers about \"another\""),
            (answer(UID, Value::Null), "garbled", "does not say whether it is allowed"),
            ("no JSON".to_owned(), "garbled", "it answers no AdmissionReview"),
            ("{}".to_owned(), "garbled", "it answers \"\" of \"\""),
            (
                json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}).to_string(),
                "garbled",
                "has no response",
            ),
        ] {
            let (what, said) = read(body.as_bytes(), &ID).expect_err(&body);
            assert!(what == kind && said.contains(expected), "{body}: {what}: {said}");
        }
    }
}
