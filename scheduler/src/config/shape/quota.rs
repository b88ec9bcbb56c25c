//! The shapes of what a tenant has in a pool, and of classes of it.

use super::amounts::LevelMap;
use super::scalar::{ClassName, Span};
use super::words::Enforce;
use headgate_ledger as ledger;
use headgate_ledger::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
