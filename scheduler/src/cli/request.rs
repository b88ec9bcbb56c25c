//! A request, as the command line says it.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use headgate_ledger::{PRIORITY_MAX, RESOURCES_MAX};
use headgate_proto::v1;

use super::fault::Fault;
use crate::config::{TextError, parse_amount, parse_span};

/// What each instance takes.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "What each instance takes")]
pub(super) struct ResourceArgs {
    /// Processors: 2, 500m
    #[arg(long, value_name = "AMOUNT", allow_negative_numbers = true)]
    cpu: Option<String>,
    /// Memory: 4Gi, 512M
    #[arg(long, value_name = "AMOUNT", allow_negative_numbers = true)]
    memory: Option<String>,
    /// Storage: 100Gi
    #[arg(long, value_name = "AMOUNT", allow_negative_numbers = true)]
    storage: Option<String>,
    /// Graphics processors; short for --resource nvidia.com/gpu=N
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    gpu: Option<String>,
    /// Any other resource; may be given often
    #[arg(long = "resource", value_name = "NAME=AMOUNT", value_parser = pair)]
    resources: Vec<(String, String)>,
}

impl ResourceArgs {
    /// In the wire's form. Amounts are read here already, so that a slip is told before anything is asked.
    pub(super) fn into_wire(self) -> Result<Vec<v1::Resource>, Fault> {
        let Self { cpu, memory, storage, gpu, resources } = self;
        let named = [("cpu", cpu), ("memory", memory), ("storage", storage), ("nvidia.com/gpu", gpu)];
        let named = named.into_iter().filter_map(|(name, amount)| Some((name.to_owned(), amount?)));
        let all: Vec<(String, String)> = named.chain(resources).collect();
        if all.len() > RESOURCES_MAX {
            return Err(Fault::Usage(format!("{} resources are named, at most {RESOURCES_MAX} may be", all.len())));
        }
        let mut wire: Vec<v1::Resource> = Vec::with_capacity(all.len());
        for (name, quantity) in all {
            if wire.iter().any(|resource| resource.name == name) {
                return Err(Fault::Usage(format!("resource {name} is named twice")));
            }
            parse_amount(&quantity, &name).map_err(|error| Fault::Usage(error.to_string()))?;
            wire.push(v1::Resource { name, amount_kind: Some(v1::resource::AmountKind::Quantity(quantity)) });
        }
        Ok(wire)
    }
}

/// What is to be started, and for whom.
#[derive(Clone, Debug, Args)]
pub(super) struct RequestArgs {
    /// On whose quota it starts: acme/ml
    #[arg(short, long, value_name = "PATH")]
    pub(super) tenant: String,
    /// Whose capacity it takes
    #[arg(short, long, value_name = "NAME", default_value = "default")]
    pub(super) pool: String,
    #[command(flatten)]
    resources: ResourceArgs,
    /// How many instances are admitted together, all or nothing
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..), help_heading = REQUEST)]
    count: u32,
    /// The fewest that are worth starting with; of the rest as many as fit are had. All, if not said
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = REQUEST)]
    min_count: Option<u32>,
    /// The higher, the earlier it is served, within its tenant and where all else is equal
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true, help_heading = REQUEST,
          value_parser = clap::value_parser!(i32).range(-(PRIORITY_MAX as i64)..=PRIORITY_MAX as i64))]
    priority: i32,
    /// How long it is expected to run; ends nothing, but tells others how long they wait
    #[arg(long, value_name = "DURATION", value_parser = span, help_heading = REQUEST)]
    expect: Option<Duration>,
    /// Take no more than the tenant's guarantee, and so never be reclaimed
    #[arg(long, help_heading = REQUEST)]
    no_borrow: bool,
    /// The notice that it needs when it must give way, up to the pool's
    #[arg(long, value_name = "DURATION", value_parser = span, help_heading = REQUEST)]
    pub(super) grace: Option<Duration>,
    /// How long its lease lives without being renewed; 0 until it is released. The pool's, if not said
    #[arg(long, value_name = "DURATION", value_parser = span, help_heading = REQUEST)]
    ttl: Option<Duration>,
    /// Who keeps its lease or ticket alive: any name
    #[arg(long, value_name = "NAME", help_heading = REQUEST)]
    holder: Option<String>,
    /// Kept for listings, usage and cost; may be given often
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label, help_heading = REQUEST)]
    labels: Vec<(String, String)>,
    /// The caller's own id of the request, unique in its tenant: asking again with it finds the same answer. A new one
    /// is made, if not said
    #[arg(long, value_name = "ID", help_heading = REQUEST)]
    pub(super) id: Option<String>,
}

const REQUEST: &str = "Request";

/// Whether a request may wait, whether its lease must be confirmed, and whether the answer is to be explained.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asking {
    pub(super) wait: bool,
    pub(super) provisional: bool,
    pub(super) explain: bool,
}

impl RequestArgs {
    /// In the wire's form.
    pub(super) fn into_wire(self, asking: Asking) -> Result<v1::Request, Fault> {
        let Self {
            tenant,
            pool,
            resources,
            count,
            min_count,
            priority,
            expect,
            no_borrow,
            grace,
            ttl,
            holder,
            labels,
            id,
        } = self;
        if min_count.is_some_and(|least| least > count) {
            return Err(Fault::Usage(format!("--min-count is more than --count, which is {count}")));
        }
        let mut by_key = BTreeMap::new();
        for (key, value) in labels {
            if by_key.insert(key.clone(), value).is_some() {
                return Err(Fault::Usage(format!("label {key} is given twice")));
            }
        }
        Ok(v1::Request {
            request_id: id.unwrap_or_else(new_id),
            tenant,
            pool,
            resources: resources.into_wire()?,
            count,
            min_count: min_count.unwrap_or_default(),
            priority,
            expected_duration: expect.and_then(wire_span),
            wait: Some(asking.wait),
            borrow: Some(!no_borrow),
            grace: grace.and_then(wire_span),
            ttl: ttl.and_then(wire_span),
            provisional: asking.provisional,
            holder: holder.unwrap_or_default(),
            labels: by_key,
            explain: asking.explain,
        })
    }
}

/// A request id that nobody else makes, later ones after earlier ones.
pub(super) fn new_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// A duration on the wire. What the command line takes, at most a hundred years, always is one.
pub(super) fn wire_span(span: Duration) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(span).ok()
}

/// A duration, as clap takes it.
pub(super) fn span(text: &str) -> Result<Duration, TextError> {
    parse_span(text)
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=AMOUNT, such as nvidia.com/gpu=1".into()),
    }
}

/// A label; its value may be empty.
pub(super) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE, such as run=42".into()),
    }
}
