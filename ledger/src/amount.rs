//! Amounts: whole base units of named resources.

use std::fmt;
use std::sync::Arc;

use crate::name::Resource;

/// Whole base units: millicores of cpu, bytes of memory, counts of the rest.
pub type Amount = u64;

/// The largest amount that anything may name. Sums of eight of them still fit the ledger's counters.
pub const AMOUNT_MAX: Amount = 1 << 60;
/// Resources that one request, quota or pool may name: a request is checked in time linear in it.
pub const RESOURCES_MAX: usize = 32;

/// Amounts by resource, sorted by name, each named once.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Amounts(Arc<[(Resource, Amount)]>);

/// Why amounts were refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AmountsError {
    /// More resources than [`RESOURCES_MAX`].
    TooMany(usize),
    /// A resource named twice.
    Twice(Resource),
    /// An amount above [`AMOUNT_MAX`].
    TooLarge(Resource, Amount),
}

impl fmt::Display for AmountsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany(count) => write!(f, "{count} resources are named, at most {RESOURCES_MAX} may be"),
            Self::Twice(resource) => write!(f, "resource {resource} is named twice"),
            Self::TooLarge(resource, amount) => {
                write!(f, "{amount} of {resource} is more than the largest amount, {AMOUNT_MAX}")
            }
        }
    }
}

impl std::error::Error for AmountsError {}

impl Amounts {
    /// Sorts and checks amounts.
    pub fn new(amounts: impl IntoIterator<Item = (Resource, Amount)>) -> Result<Self, AmountsError> {
        let mut amounts: Vec<_> = amounts.into_iter().take(RESOURCES_MAX * 64).collect();
        if amounts.len() > RESOURCES_MAX {
            return Err(AmountsError::TooMany(amounts.len()));
        }
        amounts.sort_unstable();
        if let Some(pair) = amounts.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(AmountsError::Twice(pair[0].0.clone()));
        }
        if let Some((resource, amount)) = amounts.iter().find(|(_, amount)| *amount > AMOUNT_MAX) {
            return Err(AmountsError::TooLarge(resource.clone(), *amount));
        }
        Ok(Self(amounts.into()))
    }

    /// What a request names together with what its pool adds: each checked before, none named twice.
    pub(crate) fn merged(mut amounts: Vec<(Resource, Amount)>) -> Self {
        amounts.sort_unstable();
        Self(amounts.into())
    }

    /// The amount of a resource; none where it is not named.
    pub fn get(&self, resource: &str) -> Option<Amount> {
        let at = self.0.binary_search_by(|(name, _)| name.as_str().cmp(resource)).ok()?;
        Some(self.0[at].1)
    }

    /// Every amount, by name.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&Resource, Amount)> + ExactSizeIterator + Clone {
        self.0.iter().map(|(name, amount)| (name, *amount))
    }

    /// How many resources are named.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Amounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// An amount of a quota: in units, or a part of the pool's capacity as that comes and goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// Whole base units.
    Units(Amount),
    /// Hundred-thousandths of the pool's capacity (`80%` is 80,000), rounded down.
    Part(u32),
}

/// A whole, in the unit of [`Level::Part`].
pub const WHOLE: u32 = 100_000;

impl Level {
    /// Units, where the pool has `capacity` of the resource.
    pub fn of(self, capacity: Amount) -> Amount {
        match self {
            Self::Units(amount) => amount,
            Self::Part(part) => {
                let amount = u128::from(capacity) * u128::from(part) / u128::from(WHOLE);
                Amount::try_from(amount).unwrap_or(AMOUNT_MAX).min(AMOUNT_MAX)
            }
        }
    }
}

/// Levels by resource, sorted by name, each named once.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Levels(Box<[(Resource, Level)]>);

impl Levels {
    /// Sorts and checks levels.
    pub fn new(levels: impl IntoIterator<Item = (Resource, Level)>) -> Result<Self, AmountsError> {
        let mut levels: Vec<_> = levels.into_iter().take(RESOURCES_MAX * 64).collect();
        if levels.len() > RESOURCES_MAX {
            return Err(AmountsError::TooMany(levels.len()));
        }
        levels.sort_by(|a, b| a.0.cmp(&b.0));
        if let Some(pair) = levels.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(AmountsError::Twice(pair[0].0.clone()));
        }
        for (resource, level) in &levels {
            match level {
                Level::Units(amount) if *amount > AMOUNT_MAX => {
                    return Err(AmountsError::TooLarge(resource.clone(), *amount));
                }
                Level::Units(_) | Level::Part(_) => {}
            }
        }
        Ok(Self(levels.into()))
    }

    /// The level of a resource; none where it is not named.
    pub fn get(&self, resource: &str) -> Option<Level> {
        let at = self.0.binary_search_by(|(name, _)| name.as_str().cmp(resource)).ok()?;
        Some(self.0[at].1)
    }

    /// Every level, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Resource, Level)> + Clone {
        self.0.iter().map(|(name, level)| (name, *level))
    }

    /// Whether none is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{AMOUNT_MAX, Amounts, AmountsError, Level, RESOURCES_MAX};
    use crate::name::Resource;

    fn named(name: &str) -> Resource {
        Resource::parse(name).expect("a resource")
    }

    #[test]
    fn amounts_are_sorted_and_named_once() {
        let amounts = Amounts::new([(named("memory"), 2), (named("cpu"), 1)]).expect("amounts");
        assert_eq!(amounts.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["cpu", "memory"]);
        assert_eq!((amounts.get("cpu"), amounts.get("gpu")), (Some(1), None));
        let twice = Amounts::new([(named("cpu"), 1), (named("cpu"), 1)]);
        assert_eq!(twice, Err(AmountsError::Twice(named("cpu"))));
    }

    #[test]
    fn amounts_have_limits() {
        let many = (0..=RESOURCES_MAX).map(|n| (named(&format!("r{n}")), 1));
        assert_eq!(Amounts::new(many), Err(AmountsError::TooMany(RESOURCES_MAX + 1)));
        assert!(Amounts::new([(named("cpu"), AMOUNT_MAX)]).is_ok());
        assert!(Amounts::new([(named("cpu"), AMOUNT_MAX + 1)]).is_err());
    }

    #[test]
    fn a_part_of_the_capacity_is_rounded_down() {
        assert_eq!(Level::Part(80_000).of(9), 7);
        assert_eq!(Level::Part(100_000).of(AMOUNT_MAX), AMOUNT_MAX);
        assert_eq!(Level::Units(5).of(9), 5);
    }
}
