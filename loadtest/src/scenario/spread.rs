//! Distributions, as scenario files say them.

use std::fmt;
use std::marker::PhantomData;

use headgate_scheduler::config::Text;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use crate::random::{Random, Weighted};

/// A distribution of amounts or durations. A value alone is always that value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Spread<T> {
    /// Always this.
    Constant(T),
    /// Anything between the two, ends included, as likely as anything else.
    Uniform(T, T),
    /// Exponential, with this mean.
    Exponential(T),
    /// The logarithm is normal: half are below the median; `sigma` is the deviation of the logarithm.
    Lognormal(T, f64),
    /// One of these, by weight.
    OneOf(Vec<(T, f64)>),
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Shape {
    Uniform(Text, Text),
    Exponential(Text),
    Lognormal(Lognormal),
    #[serde(rename = "one_of")]
    OneOf(Vec<Weight>),
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Lognormal {
    median: Text,
    sigma: f64,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Weight {
    value: Text,
    weight: f64,
}

impl<'de> Deserialize<'de> for Spread<Text> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SpreadVisitor(PhantomData))
    }
}

struct SpreadVisitor(PhantomData<()>);

impl<'de> Visitor<'de> for SpreadVisitor {
    type Value = Spread<Text>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, or a distribution such as {uniform: [1, 4]}")
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Spread::Constant(Text(value.to_string())))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Spread::Constant(Text(value.to_string())))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Spread::Constant(Text(value.to_string())))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Spread::Constant(Text(value.to_owned())))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Ok(match Shape::deserialize(MapAccessDeserializer::new(map))? {
            Shape::Uniform(least, most) => Spread::Uniform(least, most),
            Shape::Exponential(mean) => Spread::Exponential(mean),
            Shape::Lognormal(Lognormal { median, sigma }) => Spread::Lognormal(median, sigma),
            Shape::OneOf(values) => {
                Spread::OneOf(values.into_iter().map(|Weight { value, weight }| (value, weight)).collect())
            }
        })
    }
}

impl Spread<Text> {
    /// Parses what stands for the values, and checks that they make a distribution.
    pub(crate) fn parse(&self, mut value: impl FnMut(&str) -> Result<u64, String>) -> Result<Spread<u64>, String> {
        Ok(match self {
            Self::Constant(constant) => Spread::Constant(value(&constant.0)?),
            Self::Uniform(least, most) => {
                let (low, high) = (value(&least.0)?, value(&most.0)?);
                if low > high {
                    return Err(format!(
                        "uniform: [{}, {}] ends before it begins: give the smaller one first",
                        least.0, most.0
                    ));
                }
                Spread::Uniform(low, high)
            }
            Self::Exponential(mean) => Spread::Exponential(value(&mean.0)?),
            Self::Lognormal(median, sigma) => {
                if !(0.0..=10.0).contains(sigma) {
                    return Err(format!("sigma: {sigma} is not from 0 to 10"));
                }
                Spread::Lognormal(value(&median.0)?, *sigma)
            }
            Self::OneOf(values) => {
                let weights = values.iter().map(|(_, weight)| *weight);
                if !weights.clone().all(|weight| (0.0..=1e9).contains(&weight)) || weights.sum::<f64>() <= 0.0 {
                    return Err("one_of needs weights that are not negative, and one above 0".to_owned());
                }
                let parsed = values.iter().map(|(text, weight)| Ok((value(&text.0)?, *weight)));
                Spread::OneOf(parsed.collect::<Result<_, String>>()?)
            }
        })
    }
}

impl Spread<u64> {
    /// Draws one.
    pub(crate) fn draw(&self, random: &mut Random) -> u64 {
        match self {
            Self::Constant(value) => *value,
            Self::Uniform(least, most) => least + random.below(most - least + 1),
            Self::Exponential(mean) => (*mean as f64 * random.exponential()).round() as u64,
            Self::Lognormal(median, sigma) => (*median as f64 * (sigma * random.normal()).exp()).round() as u64,
            Self::OneOf(values) => {
                let weights: Vec<f64> = values.iter().map(|(_, weight)| *weight).collect();
                values[Weighted::new(&weights).draw(random)].0
            }
        }
    }

    /// Whether it is always the same.
    pub(crate) fn is_constant(&self) -> bool {
        matches!(self, Self::Constant(_))
    }
}

#[cfg(test)]
mod tests {
    use headgate_scheduler::config::{Text, read_yaml};

    use super::Spread;
    use crate::random::Random;

    fn parsed(yaml: &str) -> Result<Spread<u64>, String> {
        let spread: Spread<Text> = read_yaml("test", yaml).map_err(|problems| problems.to_string())?;
        spread.parse(|text| text.parse().map_err(|_| format!("{text} is no number")))
    }

    #[test]
    fn every_distribution_is_read() {
        for (yaml, expected) in [
            ("4", Spread::Constant(4)),
            ("{uniform: [1, 4]}", Spread::Uniform(1, 4)),
            ("{exponential: 9}", Spread::Exponential(9)),
            ("{lognormal: {median: 8, sigma: 0.5}}", Spread::Lognormal(8, 0.5)),
            ("{one_of: [{value: 1, weight: 3}, {value: 2, weight: 1}]}", Spread::OneOf(vec![(1, 3.0), (2, 1.0)])),
        ] {
            assert_eq!(parsed(yaml), Ok(expected), "{yaml}");
        }
    }

    #[test]
    fn what_is_none_says_why() {
        for (yaml, expected) in [
            ("{uniform: [4, 1]}", "ends before it begins"),
            ("{normal: 1}", "unknown word"),
            ("{lognormal: {median: 8, sigma: 99}}", "sigma"),
            ("{lognormal: {median: 8, sigma: 1, mean: 1}}", "unknown key"),
            ("{one_of: []}", "one above 0"),
            ("x", "no number"),
        ] {
            let refused = parsed(yaml).expect_err(yaml);
            assert!(refused.contains(expected), "{yaml}: {refused}");
        }
    }

    #[test]
    fn what_is_drawn_is_within_and_has_its_mean() {
        let mut random = Random::new(1, 0);
        let mut mean =
            |spread: Spread<u64>| (0..50_000).map(|_| spread.draw(&mut random) as f64).sum::<f64>() / 50_000.0;
        for (spread, expected) in [
            (Spread::Constant(5), 5.0),
            (Spread::Uniform(1, 3), 2.0),
            (Spread::Exponential(1000), 1000.0),
            (Spread::Lognormal(1000, 0.5), 1000.0 * f64::exp(0.125)),
            (Spread::OneOf(vec![(0, 1.0), (10, 1.0)]), 5.0),
        ] {
            let got = mean(spread.clone());
            assert!((got / expected - 1.0).abs() < 0.03, "{spread:?}: {got}");
        }
    }
}
