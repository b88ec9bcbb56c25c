//! Values that are parsed as they are read, and written as they are printed.

use std::time::Duration;

use headgate_ledger as ledger;
use headgate_ledger::{Name, PRIORITY_MAX, QueueLimit, Resource, TenantPath};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::config::amount::{format_queue_limit, parse_queue_limit};
use crate::config::calendar::check_time_zone;
use crate::config::read::{Text, TextError, decimal, decimal_text, shown};
use crate::config::span::{format_span, parse_span};

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
