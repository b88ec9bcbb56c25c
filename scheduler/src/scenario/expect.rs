//! What a step of a scenario may expect, and its parsing.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use headgate_ledger::{Amounts, Outcome, ReasonCode};
use serde::{Deserialize, Deserializer, de};

use super::file::{Action, DEFAULT_POOL};
use crate::config::{AmountMap, Span, Text, nearest, shown};

/// What a step expects; what is not said is not looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Expect {
    pub(super) pool: String,
    pub(super) outcome: Option<Outcome>,
    pub(super) counts: Option<[u32; 3]>,
    pub(super) reason: Option<ReasonCode>,
    pub(super) tenant: Option<String>,
    pub(super) resource: Option<String>,
    pub(super) position: Option<u64>,
    /// From when the first rule that stands against it will let it pass, since the start.
    pub(super) until: Option<Duration>,
    pub(super) error: Option<ErrorWord>,
    pub(super) admitted: Option<Vec<String>>,
    pub(super) revoked: Option<Vec<String>>,
    pub(super) reclaiming: Option<Vec<String>>,
    pub(super) running: BTreeMap<String, u64>,
    pub(super) waiting: BTreeMap<String, u64>,
    pub(super) usage: BTreeMap<String, Amounts>,
    pub(super) borrowed: BTreeMap<String, Amounts>,
    pub(super) share: BTreeMap<String, f64>,
    pub(super) leases: BTreeMap<String, LeaseWord>,
    pub(super) budget: BTreeMap<String, BTreeMap<String, BudgetExpect>>,
    pub(super) rate: BTreeMap<String, BTreeMap<String, RateExpect>>,
}

/// The kinds of error that a step may expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ErrorWord {
    NotFound,
    Invalid,
    Exists,
    Gone,
}

impl ErrorWord {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::NotFound => "not-found",
            Self::Invalid => "invalid",
            Self::Exists => "exists",
            Self::Gone => "gone",
        }
    }
}

/// Where a request may be expected to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum LeaseWord {
    Waiting,
    Provisional,
    Active,
    Reclaiming,
    Gone,
}

impl LeaseWord {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Provisional => "provisional",
            Self::Active => "active",
            Self::Reclaiming => "reclaiming",
            Self::Gone => "gone",
        }
    }
}

/// What of a budget is expected to be used and left, as quantities of its resource.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BudgetExpect {
    #[serde(default)]
    pub(super) used: Option<Text>,
    #[serde(default)]
    pub(super) left: Option<Text>,
}

/// What of a rate is expected to be left, as a quantity of its resource.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RateExpect {
    pub(super) left: Text,
}

/// A decision, or everything that may be expected.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectFields {
    #[serde(default)]
    pool: Option<String>,
    #[serde(default)]
    decision: Option<OutcomeWord>,
    #[serde(default)]
    allow: Option<u32>,
    #[serde(default)]
    queue: Option<u32>,
    #[serde(default)]
    deny: Option<u32>,
    #[serde(default)]
    reason: Option<ReasonWord>,
    #[serde(default)]
    tenant: Option<String>,
    #[serde(default)]
    resource: Option<String>,
    #[serde(default)]
    position: Option<u64>,
    #[serde(default)]
    until: Option<Span>,
    #[serde(default)]
    error: Option<ErrorWord>,
    #[serde(default)]
    admitted: Option<Vec<Text>>,
    #[serde(default)]
    revoked: Option<Vec<Text>>,
    #[serde(default)]
    reclaiming: Option<Vec<Text>>,
    #[serde(default)]
    running: BTreeMap<String, u64>,
    #[serde(default)]
    waiting: BTreeMap<String, u64>,
    #[serde(default)]
    usage: BTreeMap<String, AmountMap>,
    #[serde(default)]
    borrowed: BTreeMap<String, AmountMap>,
    #[serde(default)]
    share: BTreeMap<String, f64>,
    #[serde(default)]
    leases: BTreeMap<String, LeaseWord>,
    #[serde(default)]
    budget: BTreeMap<String, BTreeMap<String, BudgetExpect>>,
    #[serde(default)]
    rate: BTreeMap<String, BTreeMap<String, RateExpect>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OutcomeWord {
    Allow,
    Queue,
    Deny,
}

impl From<OutcomeWord> for Outcome {
    fn from(word: OutcomeWord) -> Self {
        match word {
            OutcomeWord::Allow => Self::Allow,
            OutcomeWord::Queue => Self::Queue,
            OutcomeWord::Deny => Self::Deny,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct ReasonWord(ReasonCode);

impl<'de> Deserialize<'de> for ReasonWord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(word) = Text::deserialize(deserializer)?;
        let words = ReasonCode::ALL.map(ReasonCode::word);
        let code = ReasonCode::ALL.into_iter().find(|code| code.word() == word);
        code.map(Self).ok_or_else(|| {
            let help = nearest(&word, words).map_or_else(
                || format!("one of {} may stand here", words.join(", ")),
                |near| format!("did you mean \"{near}\"?"),
            );
            de::Error::custom(format!("unknown reason {}: {help}", shown(&word)))
        })
    }
}

#[derive(Clone, Debug)]
pub(super) struct ExpectShape(pub(super) ExpectFields);

impl<'de> Deserialize<'de> for ExpectShape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrFields;
        impl<'de> de::Visitor<'de> for WordOrFields {
            type Value = ExpectFields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("allow, queue, deny or a mapping of what is expected")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<ExpectFields, E> {
                let decision = match word {
                    "allow" => OutcomeWord::Allow,
                    "queue" => OutcomeWord::Queue,
                    "deny" => OutcomeWord::Deny,
                    _ => {
                        return Err(E::custom(format!(
                            "unknown decision {}: allow, queue or deny may stand here",
                            shown(word)
                        )));
                    }
                };
                Ok(ExpectFields { decision: Some(decision), ..ExpectFields::default() })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<ExpectFields, A::Error> {
                ExpectFields::deserialize(de::value::MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_any(WordOrFields).map(Self)
    }
}

impl ExpectFields {
    /// Whether all of it can be expected of what the step does.
    pub(super) fn check(self, action: Option<&Action>) -> Result<Self, String> {
        let counts = self.allow.is_some() || self.queue.is_some() || self.deny.is_some();
        let answer = self.reason.is_some() || self.tenant.is_some() || self.resource.is_some();
        let acquires = matches!(action, Some(Action::Acquire(_) | Action::Hit(_)));
        let decides = acquires || matches!(action, Some(Action::Resize { .. }));
        if (self.decision.is_some() || answer) && !decides {
            return Err("a decision can be expected of acquire, hit and resize only".into());
        }
        if (counts || self.position.is_some()) && !acquires {
            return Err("counts of decisions and a position can be expected of acquire and hit only".into());
        }
        if counts && self.decision.is_some() {
            return Err("either a decision or counts of decisions can be expected".into());
        }
        if self.error.is_some() && (self.decision.is_some() || counts || answer || self.position.is_some()) {
            return Err("what ends in an error decides nothing: expect one or the other".into());
        }
        if self.error.is_some() && action.is_none() {
            return Err("an error can be expected of a step that does something".into());
        }
        Ok(self)
    }

    pub(super) fn parse(self) -> Expect {
        let Self {
            pool,
            decision,
            allow,
            queue,
            deny,
            reason,
            tenant,
            resource,
            position,
            until,
            error,
            admitted,
            revoked,
            reclaiming,
            running,
            waiting,
            usage,
            borrowed,
            share,
            leases,
            budget,
            rate,
        } = self;
        let ids = |said: Option<Vec<Text>>| said.map(|ids| ids.into_iter().map(|Text(id)| id).collect());
        let amounts =
            |said: BTreeMap<String, AmountMap>| said.into_iter().map(|(tenant, AmountMap(of))| (tenant, of)).collect();
        let counted = allow.is_some() || queue.is_some() || deny.is_some();
        Expect {
            pool: pool.unwrap_or_else(|| DEFAULT_POOL.into()),
            outcome: decision.map(Into::into),
            counts: counted.then(|| [allow, queue, deny].map(Option::unwrap_or_default)),
            reason: reason.map(|ReasonWord(code)| code),
            tenant,
            resource,
            position,
            until: until.map(|Span(until)| until),
            error,
            admitted: ids(admitted),
            revoked: ids(revoked),
            reclaiming: ids(reclaiming),
            running,
            waiting,
            usage: amounts(usage),
            borrowed: amounts(borrowed),
            share,
            leases,
            budget,
            rate,
        }
    }
}
