//! The shapes of pools, classes and tenants, as they stand in files, in HTTP bodies and in what `get` prints, and
//! their conversion to and from the ledger's words.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use headgate_ledger as ledger;
use headgate_ledger::{Amounts, Levels, Name, PRIORITY_MAX, QueueLimit, Resource, TenantPath};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::amount::{format_amount, format_level, format_queue_limit, parse_amount, parse_level, parse_queue_limit};
use super::calendar::check_time_zone;
use super::rate::RateShape;
use super::read::{At, Problem, Text, TextError, decimal, decimal_text, shown};
use super::span::{format_span, parse_span};

/// Above a weight of a million, shares of ordinary tenants round to nothing beside it.
pub const WEIGHT_MAX: u32 = 1_000_000;
/// Characters of a tenant's kind.
pub const KIND_CHARS_MAX: usize = 63;

/// A scalar that is parsed as it is read, and written as it is printed.
macro_rules! scalar {
    ($(#[$doc:meta])* $name:ident($inner:ty), $parse:expr, $format:expr, $schema:tt) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name(pub $inner);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let Text(text) = Text::deserialize(deserializer)?;
                let parse: fn(&str) -> Result<$inner, TextError> = $parse;
                parse(&text).map(Self).map_err(de::Error::custom)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let format: fn(&$inner) -> String = $format;
                Text(format(&self.0)).serialize(serializer)
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

fn said(error: ledger::NameError) -> TextError {
    TextError(error.to_string())
}

fn parse_weight(text: &str) -> Result<u32, TextError> {
    match decimal(text, 3).map(u32::try_from) {
        Some(Ok(thousandths)) if thousandths <= WEIGHT_MAX * 1000 => Ok(thousandths),
        _ => Err(TextError(format!(
            "weight {} is no number from 0 to {WEIGHT_MAX} with up to 3 decimals, such as 1 or 0.5",
            shown(text)
        ))),
    }
}

fn parse_part(text: &str) -> Result<u32, TextError> {
    match decimal(text, 6).map(u32::try_from) {
        Some(Ok(millionths)) if millionths <= ledger::Lifecycles::WHOLE => Ok(millionths),
        _ => {
            Err(TextError(format!("part {} is no number from 0 to 1 with up to 6 decimals, such as 0.5", shown(text))))
        }
    }
}

fn parse_priority(text: &str) -> Result<i32, TextError> {
    match text.parse::<i32>() {
        Ok(priority) if priority.abs_diff(0) <= PRIORITY_MAX.unsigned_abs() => Ok(priority),
        _ => Err(TextError(format!(
            "priority {} is no whole number from -{PRIORITY_MAX} to {PRIORITY_MAX}",
            shown(text)
        ))),
    }
}

fn parse_kind(text: &str) -> Result<String, TextError> {
    if text.chars().count() > KIND_CHARS_MAX || !text.chars().all(headgate_ledger::is_shown) {
        return Err(TextError(format!(
            "kind {} is longer than {KIND_CHARS_MAX} characters, or has a control or invisible character",
            shown(text)
        )));
    }
    Ok(text.to_owned())
}

fn parse_zone(text: &str) -> Result<String, TextError> {
    check_time_zone(text).map(|()| text.to_owned())
}

scalar! {
    /// The name of a pool, a cell, a tenant or a budget: a DNS label.
    #[derive(PartialOrd, Ord)]
    Label(Name), |text| Name::parse(text).map_err(said), |name| name.to_string(),
    {"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"}
}

scalar! {
    /// The name of a class: a DNS label, in capitals or not.
    ClassName(Name), |text| Name::parse_class(text).map_err(said), |name| name.to_string(),
    {"type": "string", "pattern": "^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$"}
}

scalar! {
    /// A tenant's path: names joined by slashes.
    Path(TenantPath), |text| TenantPath::parse(text).map_err(said), |path| path.to_string(),
    {"type": "string", "examples": ["acme/ml"]}
}

scalar! {
    /// A resource's name.
    ResourceName(Resource), |text| Resource::parse(text).map_err(said), |name| name.to_string(),
    {"type": "string", "examples": ["cpu", "memory", "nvidia.com/gpu"]}
}

scalar! {
    /// A duration: `30s`, `5m`, `2h`, `7d`, `500ms`, `1h30m`, or a bare `0`.
    Span(Duration), parse_span, |span| format_span(*span),
    {"type": ["string", "number"], "pattern": "^(0|([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?([0-9]+us)?([0-9]+ns)?)$"}
}

scalar! {
    /// A weight, in thousandths.
    Weight(u32), parse_weight, |weight| decimal_text((*weight).into(), 3),
    {"type": "number", "minimum": 0, "maximum": 1_000_000, "multipleOf": 0.001}
}

scalar! {
    /// A part of a quota, in millionths.
    Part(u32), parse_part, |part| decimal_text((*part).into(), 6),
    {"type": "number", "minimum": 0, "maximum": 1}
}

scalar! {
    /// A number of tickets, or a percentage of the pool's `max_queued`.
    QueueRoom(QueueLimit), parse_queue_limit, |limit| format_queue_limit(*limit),
    {"type": ["integer", "string"], "minimum": 0, "pattern": "^([0-9]+|[0-9]+([.][0-9]{1,3})?%)$"}
}

scalar! {
    /// A priority; higher comes first.
    Priority(i32), parse_priority, |priority| priority.to_string(),
    {"type": "integer", "minimum": -1_000_000_000, "maximum": 1_000_000_000}
}

scalar! {
    /// organization, team, project, user or any word.
    Kind(String), parse_kind, String::clone, {"type": "string", "maxLength": 63}
}

scalar! {
    /// A time zone of the tz database.
    Zone(String), parse_zone, String::clone, {"type": "string", "examples": ["UTC", "Europe/Berlin"]}
}

impl JsonSchema for Text {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "number"]})
    }
}

/// Quantities by resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AmountMap(pub Amounts);

/// Quantities, or percentages of the pool's capacity, by resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LevelMap(pub Levels);

/// Reads a mapping of resources, each value in the light of its key.
struct ByResource<V> {
    expected: &'static str,
    parse: fn(&str, &str) -> Result<V, TextError>,
}

impl<'de, V> de::Visitor<'de> for ByResource<V> {
    type Value = Vec<(Resource, V)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(ResourceName(resource)) = map.next_key()? {
            let value = map.next_value_seed(Amount { resource: &resource, parse: self.parse })?;
            values.push((resource, value));
        }
        Ok(values)
    }
}

/// One value of such a mapping. It is parsed as it is read, so that an error has its place.
struct Amount<'a, V> {
    resource: &'a Resource,
    parse: fn(&str, &str) -> Result<V, TextError>,
}

impl<'de, V> de::DeserializeSeed<'de> for Amount<'_, V> {
    type Value = V;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<V, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        (self.parse)(&text, self.resource.as_str()).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for AmountMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "amounts by resource, such as {cpu: 4, memory: 16Gi}";
        let amounts = deserializer.deserialize_map(ByResource { expected, parse: parse_amount })?;
        Amounts::new(amounts).map(Self).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for LevelMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "amounts or percentages by resource, such as {cpu: 4, memory: 50%}";
        let levels = deserializer.deserialize_map(ByResource { expected, parse: parse_level })?;
        Levels::new(levels).map(Self).map_err(de::Error::custom)
    }
}

impl Serialize for AmountMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = |(name, amount): (&Resource, _)| (name.to_string(), Text(format_amount(amount, name.as_str())));
        serializer.collect_map(self.0.iter().map(text))
    }
}

impl Serialize for LevelMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = |(name, level): (&Resource, _)| (name.to_string(), Text(format_level(level, name.as_str())));
        serializer.collect_map(self.0.iter().map(text))
    }
}

impl JsonSchema for AmountMap {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Amounts".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Kubernetes quantities by resource, such as 500m, 4 or 16Gi.",
            "type": "object",
            "additionalProperties": {"type": ["string", "number"]}
        })
    }
}

impl JsonSchema for LevelMap {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Levels".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Kubernetes quantities, or percentages of the pool's capacity, by resource.",
            "type": "object",
            "additionalProperties": {"type": ["string", "number"]}
        })
    }
}

/// One of the ledger's closed sets of words, as it is written.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($word:ident),+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "lowercase")]
        #[allow(missing_docs)] // the words are the ledger's, and told there
        pub enum $name { $($word),+ }

        impl From<$name> for ledger::$name {
            fn from(word: $name) -> Self {
                match word { $($name::$word => Self::$word),+ }
            }
        }

        impl From<ledger::$name> for $name {
            fn from(word: ledger::$name) -> Self {
                match word { $(ledger::$name::$word => Self::$word),+ }
            }
        }
    };
}

words! {
    /// Which tickets of one tenant may pass each other.
    Order { Backfill, Strict }
}
words! {
    /// What a share is made of.
    ShareOf { Borrowed, Usage }
}
words! {
    /// What becomes of a decision.
    Enforce { Deny, Warn, Observe }
}
words! {
    /// A tenant's state of life.
    Lifecycle { Active, Maintenance, Suspended, Archived }
}
words! {
    /// The calendar period of a budget.
    Period { Day, Week, Month }
}
words! {
    /// What becomes of a request that exceeds a budget.
    OnExceed { Deny, Queue }
}

/// A body of capacity, and the rules by which it is queued for, shared and taken back. What is not said is the
/// default, or in a change stays as it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Pool")]
pub struct PoolShape {
    /// Its name.
    pub name: At<Label>,
    /// The cell that decides on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cell: Option<Label>,
    /// Capacity per resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<AmountMap>,
    /// What of the capacity is not available just now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<AmountMap>,
    /// Added to each instance that does not name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub implied: Option<AmountMap>,
    /// Order of a tenant's own tickets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// What a share is made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_of: Option<ShareOf>,
    /// Above zero: shares are taken of decayed usage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub half_life: Option<Span>,
    /// How much earlier one point of priority counts; 0s: priority first, then arrival.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_step: Option<Span>,
    /// From when freed capacity is held for a waiting ticket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_after: Option<Span>,
    /// When the turn of a hold is over; 0s: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_for: Option<Span>,
    /// When a ticket ends with deny; 0s: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_wait: Option<Span>,
    /// Tickets that may wait in the pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_queued: Option<u32>,
    /// Tickets of its own that a tenant may have waiting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_queued_per_tenant: Option<QueueRoom>,
    /// Whether borrowed capacity is taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reclaim: Option<bool>,
    /// Notice before a lease is revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace: Option<Span>,
    /// A lease younger than this is nobody's victim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_runtime: Option<Span>,
    /// Time to live of a lease, renewed by its holder; 0s: until released.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_ttl: Option<Span>,
    /// Life of a provisional lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm_within: Option<Span>,
    /// Above zero: a ticket whose holder is silent so long is passed over, and ends after ten times as long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket_ttl: Option<Span>,
    /// Whether tenants may be guaranteed more than their parent is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overcommit: Option<bool>,
    /// What becomes of a decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforce: Option<Enforce>,
    /// Nothing new is admitted; what runs stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
}

impl PoolShape {
    /// The pool, with what is not said taken from `pool`.
    pub fn over(self, pool: ledger::Pool) -> ledger::Pool {
        let Self {
            name: _,
            cell,
            capacity,
            unavailable,
            implied,
            order,
            share_of,
            half_life,
            age_step,
            hold_after,
            hold_for,
            max_wait,
            max_queued,
            max_queued_per_tenant,
            reclaim,
            grace,
            min_runtime,
            lease_ttl,
            confirm_within,
            ticket_ttl,
            overcommit,
            enforce,
            paused,
        } = self;
        let span = |said: Option<Span>, else_: Duration| said.map_or(else_, |Span(span)| span);
        let amounts = |said: Option<AmountMap>, else_: Amounts| said.map_or(else_, |AmountMap(amounts)| amounts);
        ledger::Pool {
            cell: cell.map_or(pool.cell, |Label(cell)| cell),
            capacity: amounts(capacity, pool.capacity),
            unavailable: amounts(unavailable, pool.unavailable),
            implied: amounts(implied, pool.implied),
            order: order.map_or(pool.order, Into::into),
            share_of: share_of.map_or(pool.share_of, Into::into),
            half_life: span(half_life, pool.half_life),
            age_step: span(age_step, pool.age_step),
            hold_after: span(hold_after, pool.hold_after),
            hold_for: span(hold_for, pool.hold_for),
            max_wait: span(max_wait, pool.max_wait),
            max_queued: max_queued.unwrap_or(pool.max_queued),
            max_queued_per_tenant: max_queued_per_tenant.map_or(pool.max_queued_per_tenant, |QueueRoom(room)| room),
            reclaim: reclaim.unwrap_or(pool.reclaim),
            grace: span(grace, pool.grace),
            min_runtime: span(min_runtime, pool.min_runtime),
            lease_ttl: span(lease_ttl, pool.lease_ttl),
            confirm_within: span(confirm_within, pool.confirm_within),
            ticket_ttl: span(ticket_ttl, pool.ticket_ttl),
            overcommit: overcommit.unwrap_or(pool.overcommit),
            enforce: enforce.map_or(pool.enforce, Into::into),
            paused: paused.unwrap_or(pool.paused),
            name: pool.name,
            source: pool.source,
        }
    }
}

impl From<&ledger::Pool> for PoolShape {
    fn from(pool: &ledger::Pool) -> Self {
        let ledger::Pool {
            name,
            cell,
            capacity,
            unavailable,
            implied,
            order,
            share_of,
            half_life,
            age_step,
            hold_after,
            hold_for,
            max_wait,
            max_queued,
            max_queued_per_tenant,
            reclaim,
            grace,
            min_runtime,
            lease_ttl,
            confirm_within,
            ticket_ttl,
            overcommit,
            enforce,
            paused,
            source: _,
        } = pool.clone();
        Self {
            name: Label(name).into(),
            cell: Some(Label(cell)),
            capacity: Some(AmountMap(capacity)),
            unavailable: (!unavailable.is_empty()).then_some(AmountMap(unavailable)),
            implied: Some(AmountMap(implied)),
            order: Some(order.into()),
            share_of: Some(share_of.into()),
            half_life: Some(Span(half_life)),
            age_step: Some(Span(age_step)),
            hold_after: Some(Span(hold_after)),
            hold_for: Some(Span(hold_for)),
            max_wait: Some(Span(max_wait)),
            max_queued: Some(max_queued),
            max_queued_per_tenant: Some(QueueRoom(max_queued_per_tenant)),
            reclaim: Some(reclaim),
            grace: Some(Span(grace)),
            min_runtime: Some(Span(min_runtime)),
            lease_ttl: Some(Span(lease_ttl)),
            confirm_within: Some(Span(confirm_within)),
            ticket_ttl: Some(Span(ticket_ttl)),
            overcommit: Some(overcommit),
            enforce: Some(enforce.into()),
            paused: Some(paused),
        }
    }
}

/// How long a tenant may stay above its guarantee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Burst")]
pub struct BurstShape {
    /// After so long without a break there is no further borrowing,
    #[serde(rename = "for")]
    pub span: Span,
    /// until it has been within its guarantee for so long.
    pub cooldown: Span,
}

impl From<BurstShape> for ledger::Burst {
    fn from(BurstShape { span: Span(span), cooldown: Span(cooldown) }: BurstShape) -> Self {
        Self { span, cooldown }
    }
}

impl From<ledger::Burst> for BurstShape {
    fn from(ledger::Burst { span, cooldown }: ledger::Burst) -> Self {
        Self { span: Span(span), cooldown: Span(cooldown) }
    }
}

/// What a tenant has in one pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Quota")]
pub struct QuotaShape {
    /// A named quota; a field said beside it replaces the class's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<ClassName>,
    /// Its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guaranteed: Option<LevelMap>,
    /// Never exceeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<LevelMap>,
    /// How much of its idle guarantee others may use; all, where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lendable: Option<LevelMap>,
    /// How long it may borrow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<BurstShape>,
    /// Where it differs from the pool's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforce: Option<Enforce>,
}

impl From<QuotaShape> for ledger::Quota {
    fn from(QuotaShape { class, guaranteed, limit, lendable, burst, enforce }: QuotaShape) -> Self {
        let levels = |said: Option<LevelMap>| said.map(|LevelMap(levels)| levels);
        Self {
            class: class.map(|ClassName(class)| class),
            guaranteed: levels(guaranteed),
            limit: levels(limit),
            lendable: levels(lendable),
            burst: burst.map(Into::into),
            enforce: enforce.map(Into::into),
        }
    }
}

impl From<ledger::Quota> for QuotaShape {
    fn from(ledger::Quota { class, guaranteed, limit, lendable, burst, enforce }: ledger::Quota) -> Self {
        Self {
            class: class.map(ClassName),
            guaranteed: guaranteed.map(LevelMap),
            limit: limit.map(LevelMap),
            lendable: lendable.map(LevelMap),
            burst: burst.map(Into::into),
            enforce: enforce.map(Into::into),
        }
    }
}

/// A named quota.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Class")]
pub struct ClassShape {
    /// What a tenant of this class has of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guaranteed: Option<LevelMap>,
    /// Never exceeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<LevelMap>,
    /// How much of its idle guarantee others may use; all, where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lendable: Option<LevelMap>,
    /// How long it may borrow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<BurstShape>,
    /// Where it differs from the pool's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforce: Option<Enforce>,
}

impl ClassShape {
    /// The class of this name.
    pub fn into_class(self, name: Name, source: ledger::Source) -> ledger::Class {
        let Self { guaranteed, limit, lendable, burst, enforce } = self;
        let quota = QuotaShape { class: None, guaranteed, limit, lendable, burst, enforce }.into();
        ledger::Class { name, quota, source }
    }
}

impl From<&ledger::Class> for ClassShape {
    fn from(class: &ledger::Class) -> Self {
        let QuotaShape { class: _, guaranteed, limit, lendable, burst, enforce } = class.quota.clone().into();
        Self { guaranteed, limit, lendable, burst, enforce }
    }
}

/// An amount per calendar period, charged when work is admitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Budget")]
pub struct BudgetShape {
    /// Its name, unique in its tenant.
    pub name: At<Label>,
    /// What is counted: a request's own amounts of it.
    pub resource: ResourceName,
    /// The amount per period.
    pub amount: At<Text>,
    /// The period.
    pub period: Period,
    /// The time zone whose calendar turns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<Zone>,
    /// What becomes of a request that exceeds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_exceed: Option<OnExceed>,
}

impl BudgetShape {
    fn into_budget(self) -> Result<ledger::Budget, Problem> {
        let Self { name, resource: ResourceName(resource), amount, period, time_zone, on_exceed } = self;
        Ok(ledger::Budget {
            amount: parse_amount(&amount.value.0, resource.as_str())
                .map_err(|error| amount.problem(error.to_string()))?,
            name: name.value.0,
            resource,
            period: period.into(),
            time_zone: time_zone.map_or_else(|| "UTC".into(), |Zone(zone)| zone),
            on_exceed: on_exceed.map_or(ledger::OnExceed::Deny, Into::into),
        })
    }
}

impl From<&ledger::Budget> for BudgetShape {
    fn from(budget: &ledger::Budget) -> Self {
        let ledger::Budget { name, resource, amount, period, time_zone, on_exceed } = budget.clone();
        Self {
            name: Label(name).into(),
            amount: Text(format_amount(amount, resource.as_str())).into(),
            resource: ResourceName(resource),
            period: period.into(),
            time_zone: Some(Zone(time_zone)),
            on_exceed: Some(on_exceed.into()),
        }
    }
}

/// Tenants under this one are made when a request of theirs is first admitted or queued.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Members")]
pub struct MembersShape {
    /// Their kind; `user`, if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// The class of their quota in every pool that their parent may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<ClassName>,
    /// How many there may be at once; 1,000, if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    /// They go after holding nothing for so long; an hour, if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<Span>,
    /// The rates of each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rates: Option<Vec<RateShape>>,
}

/// Members that a tenant may have where nothing is said.
const MEMBERS_MAX: u32 = 1000;
/// How long members are kept where nothing is said.
const MEMBERS_KEPT: Duration = Duration::from_secs(3600);

impl MembersShape {
    fn into_members(self, problems: &mut Vec<Problem>) -> ledger::Members {
        let Self { kind, class, max, keep, rates } = self;
        ledger::Members {
            kind: kind.map_or_else(|| "user".into(), |Kind(kind)| kind),
            class: class.map(|ClassName(class)| class),
            max: max.unwrap_or(MEMBERS_MAX),
            keep: keep.map_or(MEMBERS_KEPT, |Span(keep)| keep),
            rates: RateShape::into_rates(rates.unwrap_or_default(), problems),
        }
    }
}

impl From<ledger::Members> for MembersShape {
    fn from(ledger::Members { kind, class, max, keep, rates }: ledger::Members) -> Self {
        Self {
            kind: Some(Kind(kind)),
            class: class.map(ClassName),
            max: Some(max),
            keep: Some(Span(keep)),
            rates: RateShape::of(&rates),
        }
    }
}

/// A node of the tree, with what stands under it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Tenant")]
pub struct TenantShape {
    /// The last name of its path.
    pub name: At<Label>,
    /// organization, team, project, user or any word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Its weight among its sisters; 1, if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
    /// Its state of life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
    /// What it has, by pool.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub quota: BTreeMap<Label, QuotaShape>,
    /// Its budgets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budgets: Option<Vec<BudgetShape>>,
    /// Its rates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rates: Option<Vec<RateShape>>,
    /// A request's higher priority is an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_priority: Option<Priority>,
    /// Whether tenants under it are made on first use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<MembersShape>,
    /// Those under it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<TenantShape>,
}

/// A tenant by its path. In a change only what is named changes, and a pool's quota is replaced whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "TenantAtPath")]
pub struct TenantChange {
    /// Its place in the tree.
    pub path: At<Path>,
    /// organization, team, project, user or any word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Its weight among its sisters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
    /// Its state of life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
    /// What it has, by pool.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub quota: BTreeMap<Label, QuotaShape>,
    /// Its budgets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budgets: Option<Vec<BudgetShape>>,
    /// Its rates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rates: Option<Vec<RateShape>>,
    /// A request's higher priority is an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_priority: Option<Priority>,
    /// Whether tenants under it are made on first use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<MembersShape>,
}

impl TenantChange {
    /// The tenant, with what is not said taken from `tenant`.
    pub fn over(self, mut tenant: ledger::Tenant) -> Result<ledger::Tenant, Vec<Problem>> {
        let Self { path: _, kind, weight, lifecycle, quota, budgets, rates, max_priority, members } = self;
        let mut problems = Vec::new();
        if let Some(Kind(kind)) = kind {
            tenant.kind = kind;
        }
        if let Some(Weight(weight)) = weight {
            tenant.weight = weight;
        }
        if let Some(lifecycle) = lifecycle {
            tenant.lifecycle = lifecycle.into();
        }
        for (Label(pool), quota) in quota {
            match tenant.quotas.binary_search_by(|(name, _)| name.cmp(&pool)) {
                Ok(at) => tenant.quotas[at].1 = quota.into(),
                Err(at) => tenant.quotas.insert(at, (pool, quota.into())),
            }
        }
        if let Some(budgets) = budgets {
            tenant.budgets.clear();
            for budget in budgets {
                let name = budget.name.clone();
                if tenant.budgets.iter().any(|other| other.name == name.value.0) {
                    problems.push(name.problem(format!("budget {} is given twice", name.value.0)));
                    continue;
                }
                match budget.into_budget() {
                    Ok(budget) => tenant.budgets.push(budget),
                    Err(problem) => problems.push(problem),
                }
            }
        }
        if let Some(rates) = rates {
            tenant.rates = RateShape::into_rates(rates, &mut problems);
        }
        if let Some(Priority(max)) = max_priority {
            tenant.max_priority = Some(max);
        }
        if let Some(members) = members {
            tenant.members = Some(members.into_members(&mut problems));
        }
        if problems.is_empty() { Ok(tenant) } else { Err(problems) }
    }
}

impl From<&ledger::Tenant> for TenantChange {
    fn from(tenant: &ledger::Tenant) -> Self {
        let ledger::Tenant {
            path,
            kind,
            weight,
            lifecycle,
            quotas,
            budgets,
            rates,
            max_priority,
            members,
            draining: _,
            source: _,
        } = tenant.clone();
        Self {
            path: Path(path).into(),
            kind: (!kind.is_empty()).then_some(Kind(kind)),
            weight: Some(Weight(weight)),
            lifecycle: Some(lifecycle.into()),
            quota: quotas.into_iter().map(|(pool, quota)| (Label(pool), quota.into())).collect(),
            budgets: (!budgets.is_empty()).then(|| budgets.iter().map(Into::into).collect()),
            rates: RateShape::of(&rates),
            max_priority: max_priority.map(Priority),
            members: members.map(Into::into),
        }
    }
}

impl TenantShape {
    /// This tenant and all under it, parents first.
    pub(super) fn flatten(
        self,
        parent: &TenantPath,
        source: ledger::Source,
        tenants: &mut Vec<(ledger::Tenant, At<Label>)>,
        problems: &mut Vec<Problem>,
    ) {
        let Self { name, kind, weight, lifecycle, quota, budgets, rates, max_priority, members, tenants: children } =
            self;
        let joined = if parent.is_root() { name.value.0.to_string() } else { format!("{parent}/{}", name.value.0) };
        let path = match TenantPath::parse(&joined) {
            Ok(path) => path,
            Err(error) => return problems.push(name.problem(error.to_string())),
        };
        let change = TenantChange {
            path: Path(path.clone()).into(),
            kind,
            weight,
            lifecycle,
            quota,
            budgets,
            rates,
            max_priority,
            members,
        };
        match change.over(ledger::Tenant { source, ..ledger::Tenant::new(path.clone()) }) {
            Ok(tenant) => tenants.push((tenant, name)),
            Err(found) => problems.extend(found),
        }
        flatten_all(children, &path, source, tenants, problems);
    }

    /// The tree of these tenants; one whose parent is not among them stands at the top, by its last name.
    pub fn tree<'a>(tenants: impl IntoIterator<Item = &'a ledger::Tenant>) -> Vec<Self> {
        let mut by_path: BTreeMap<TenantPath, Self> =
            tenants.into_iter().map(|tenant| (tenant.path.clone(), Self::alone(tenant))).collect();
        let mut top = Vec::new();
        // Deepest first, so that each is whole when it is handed to its parent.
        let mut paths: Vec<TenantPath> = by_path.keys().cloned().collect();
        paths.sort_by_key(|path| std::cmp::Reverse(path.depth()));
        for path in paths {
            let Some(mut shape) = by_path.remove(&path) else { continue };
            shape.tenants.sort_by(|a, b| a.name.value.cmp(&b.name.value));
            match path.parent().and_then(|parent| by_path.get_mut(&parent)) {
                Some(parent) => parent.tenants.push(shape),
                None => top.push(shape),
            }
        }
        top.sort_by(|a, b| a.name.value.cmp(&b.name.value));
        top
    }

    fn alone(tenant: &ledger::Tenant) -> Self {
        let TenantChange { path, kind, weight, lifecycle, quota, budgets, rates, max_priority, members } =
            tenant.into();
        let name = Name::parse(path.value.0.name()).unwrap_or_else(|_| unreachable!("a path is made of names"));
        Self {
            name: Label(name).into(),
            kind,
            weight,
            lifecycle,
            quota,
            budgets,
            rates,
            max_priority,
            members,
            tenants: Vec::new(),
        }
    }
}

/// All these tenants and those under them, parents first; sisters of one name are a problem.
pub(super) fn flatten_all(
    shapes: Vec<TenantShape>,
    parent: &TenantPath,
    source: ledger::Source,
    tenants: &mut Vec<(ledger::Tenant, At<Label>)>,
    problems: &mut Vec<Problem>,
) {
    let mut seen = std::collections::BTreeSet::new();
    for shape in shapes {
        if seen.insert(shape.name.value.clone()) {
            shape.flatten(parent, source, tenants, problems);
        } else {
            let under = if parent.is_root() { "at the top".into() } else { format!("under {parent}") };
            problems.push(shape.name.problem(format!("tenant {} is given twice {under}", shape.name.value.0)));
        }
    }
}
