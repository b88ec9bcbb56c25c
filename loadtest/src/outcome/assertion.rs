//! What is asserted of a run: `p99<5ms`, `rate>=10000`, `errors=0`, `acquire.p99.9<20ms`; or of a comparison:
//! `ratio.rate>=3.5`.

use std::fmt;
use std::str::FromStr;

use super::Outcome;
use super::named::Figure;
use super::ratio::Ratio;

const EXAMPLE: &str = "write one such as p99<5ms, acquire.p99.9<20ms, rate>=10000, gap<1s, server-cpu<10us or errors=0, or of \
                       a comparison ratio.rate>=3.5";
/// What stands before a figure that is a ratio.
const RATIO: &str = "ratio";

/// An assertion.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Assertion {
    text: String,
    of: Of,
    figure: Figure,
    order: Order,
    /// Microseconds, or a number.
    value: f64,
}

/// What an assertion is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Of {
    /// All operations.
    All,
    /// Those of a kind.
    Kind(String),
    /// How one target compares to another.
    Ratio,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Less,
    AtMost,
    More,
    AtLeast,
    Equal,
}

impl Order {
    const SIGNS: [(&str, Self); 5] =
        [("<=", Self::AtMost), (">=", Self::AtLeast), ("<", Self::Less), (">", Self::More), ("=", Self::Equal)];

    fn holds(self, got: f64, value: f64) -> bool {
        match self {
            Self::Less => got < value,
            Self::AtMost => got <= value,
            Self::More => got > value,
            Self::AtLeast => got >= value,
            Self::Equal => (got - value).abs() < 1e-9,
        }
    }
}

impl FromStr for Assertion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let split = Order::SIGNS
            .iter()
            .find_map(|(sign, order)| text.split_once(sign).map(|(left, right)| (left, *order, right)));
        let (left, order, right) = split.ok_or_else(|| format!("\"{text}\" asserts nothing: {EXAMPLE}"))?;
        let (left, right) = (left.trim(), right.trim());
        let (of, figure) = about(left).ok_or_else(|| unknown(left))?;
        if of == Of::Ratio && order == Order::Equal {
            return Err(format!("\"{text}\" can never be told: a ratio is known within an interval; assert < or >"));
        }
        let is_time = of != Of::Ratio && figure.is_time();
        let value = if is_time { micros(right) } else { right.replace('_', "").parse().ok() };
        let value = value.filter(|value: &f64| *value >= 0.0);
        let value =
            value.ok_or_else(|| format!("\"{right}\" is nothing that {left} can be compared with: {EXAMPLE}"))?;
        Ok(Self { text: text.to_owned(), of, figure, order, value })
    }
}

/// What the left side of an assertion says.
fn about(left: &str) -> Option<(Of, Figure)> {
    if let Some(figure) = Figure::named(left) {
        return Some((Of::All, figure));
    }
    let (of, figure) = left.split_once('.')?;
    let figure = Figure::named(figure)?;
    if of == RATIO {
        return Figure::COMPARED.contains(&figure).then_some((Of::Ratio, figure));
    }
    let known = crate::calls::Kind::ALL.iter().any(|kind| kind.word() == of);
    let is_latency = figure.of_latency(&super::figures::Latency::default()).is_some();
    (known && is_latency).then(|| (Of::Kind(of.to_owned()), figure))
}

fn unknown(left: &str) -> String {
    format!("nothing is measured that is called \"{left}\": {EXAMPLE}")
}

/// Microseconds of a time such as `5ms`.
pub(crate) fn micros(text: &str) -> Option<f64> {
    let units = [("ns", 1e-3), ("us", 1.0), ("µs", 1.0), ("ms", 1e3), ("s", 1e6), ("m", 6e7)];
    let (number, unit) =
        units.iter().find_map(|(unit, micros)| text.strip_suffix(unit).map(|number| (number, micros)))?;
    let number: f64 = number.parse().ok()?;
    (0.0..1e12).contains(&number).then_some(number * unit)
}

impl Assertion {
    /// Whether it is about how two targets compare.
    pub(crate) fn is_of_ratio(&self) -> bool {
        self.of == Of::Ratio
    }

    /// Whether it holds of a target; else what was measured instead. Counted is the median of the repetitions, of errors
    /// and gaps the worst.
    pub(crate) fn check(&self, outcome: &Outcome) -> Result<(), String> {
        let of = |run: &super::figures::Run| match &self.of {
            Of::Kind(kind) => run.kinds.get(kind).and_then(|latency| self.figure.of_latency(latency)),
            Of::All | Of::Ratio => self.figure.of(run),
        };
        let median = outcome.median(|run| of(run).unwrap_or(f64::NAN));
        let median = median.ok_or_else(|| format!("{self} cannot be told: nothing was measured"))?;
        let got = match self.figure {
            Figure::Gap | Figure::Errors => median.most,
            _ => median.median,
        };
        if self.order.holds(got, self.value) {
            return Ok(());
        }
        let got = if got.is_nan() {
            "not measured".to_owned()
        } else if self.figure.is_time() {
            super::text::time(got)
        } else {
            format!("{got:.0}")
        };
        Err(format!("{self} does not hold: it is {got}"))
    }

    /// Whether it surely holds of how two targets compare: all of the interval must be on its side.
    pub(crate) fn check_ratio(&self, ratios: &[Ratio]) -> Result<(), String> {
        let ratio = ratios.iter().find(|ratio| ratio.figure == self.figure.word());
        let ratio = ratio.ok_or_else(|| format!("{self} cannot be told: it was not measured of both"))?;
        let within =
            ratio.within.ok_or_else(|| format!("{self} cannot be told of one pair: say --pairs 3, or more"))?;
        if self.order.holds(within.low, self.value) && self.order.holds(within.high, self.value) {
            return Ok(());
        }
        Err(format!("{self} is not sure: it is {:.3}, within {:.3} to {:.3}", ratio.mean, within.low, within.high))
    }
}

impl fmt::Display for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::{Assertion, Figure, Of, Order};
    use crate::outcome::ratio::Ratio;

    #[test]
    fn an_assertion_is_read() {
        for (text, of, figure, order, value) in [
            ("p99<5ms", Of::All, Figure::P99, Order::Less, 5000.0),
            ("p99.9 <= 250us", Of::All, Figure::P999, Order::AtMost, 250.0),
            ("acquire.p99.9<1s", Of::Kind("acquire".to_owned()), Figure::P999, Order::Less, 1e6),
            ("rate>=10_000", Of::All, Figure::Rate, Order::AtLeast, 10_000.0),
            ("errors=0", Of::All, Figure::Errors, Order::Equal, 0.0),
            ("server-cpu<3.5us", Of::All, Figure::ServerCpu, Order::Less, 3.5),
            ("ratio.p99.9<0.5", Of::Ratio, Figure::P999, Order::Less, 0.5),
        ] {
            let read: Assertion = text.parse().expect(text);
            assert_eq!(read, Assertion { text: text.to_owned(), of, figure, order, value });
        }
    }

    #[test]
    fn what_asserts_nothing_says_why() {
        for (text, expected) in [
            ("p99", "asserts nothing"),
            ("p98<5ms", "called \"p98\""),
            ("p99<5", "\"5\" is nothing that p99 can be compared with"),
            ("rate>fast", "\"fast\" is nothing"),
            ("lunch.p99<5ms", "called \"lunch.p99\""),
            ("acquire.rate>5", "called \"acquire.rate\""),
            ("ratio.errors<1", "called \"ratio.errors\""),
            ("ratio.rate=2", "can never be told"),
            ("ratio.p99<5ms", "\"5ms\" is nothing"),
        ] {
            let refused = text.parse::<Assertion>().expect_err(text);
            assert!(refused.contains(expected), "{text}: {refused}");
        }
    }

    #[test]
    fn a_ratio_holds_where_all_of_its_interval_does() {
        let steady = Ratio::of(Figure::Rate, &[3.6, 3.7, 3.65]).expect("a ratio");
        let vague = Ratio::of(Figure::Rate, &[2.0, 6.0, 4.0]).expect("a ratio");
        let single = Ratio::of(Figure::Rate, &[9.0]).expect("a ratio");
        let asserted: Assertion = "ratio.rate>=3.5".parse().expect("an assertion");
        assert_eq!(asserted.check_ratio(&[steady]), Ok(()));
        for (ratios, expected) in
            [(vec![vague], "is not sure: it is 3.634"), (vec![single], "of one pair"), (vec![], "not measured of both")]
        {
            let refused = asserted.check_ratio(&ratios).expect_err(expected);
            assert!(refused.contains(expected), "{refused}");
        }
    }
}
