//! Quantities and parts of the capacity, by resource.

use std::fmt;

use headgate_ledger::{Amounts, Levels, Resource};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::scalar::ResourceName;
use crate::config::amount::{format_amount, format_level, parse_amount, parse_level};
use crate::config::read::{Text, TextError};

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
