//! What is asserted of a run: `p99<5ms`, `rate>=10000`, `errors=0`, `acquire.p99.9<20ms`.

use std::fmt;
use std::str::FromStr;

use super::Outcome;
use super::figures::{Latency, Run};

/// An assertion.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Assertion {
    text: String,
    /// The kind of operation; none: all.
    kind: Option<String>,
    figure: Figure,
    order: Order,
    /// Microseconds, or a number.
    value: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Figure {
    Mean,
    P50,
    P90,
    P99,
    P999,
    P9999,
    Max,
    Gap,
    ServerCpu,
    Rate,
    Errors,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Less,
    AtMost,
    More,
    AtLeast,
    Equal,
}

const FIGURES: [(&str, Figure); 11] = [
    ("mean", Figure::Mean),
    ("p50", Figure::P50),
    ("p90", Figure::P90),
    ("p99", Figure::P99),
    ("p99.9", Figure::P999),
    ("p99.99", Figure::P9999),
    ("max", Figure::Max),
    ("gap", Figure::Gap),
    ("server-cpu", Figure::ServerCpu),
    ("rate", Figure::Rate),
    ("errors", Figure::Errors),
];

impl Figure {
    /// Whether it is a time.
    fn is_time(self) -> bool {
        !matches!(self, Self::Rate | Self::Errors)
    }

    fn of_latency(self, latency: &Latency) -> f64 {
        match self {
            Self::Mean => latency.mean_us,
            Self::P50 => latency.p50_us,
            Self::P90 => latency.p90_us,
            Self::P99 => latency.p99_us,
            Self::P999 => latency.p999_us,
            Self::P9999 => latency.p9999_us,
            Self::Max => latency.max_us,
            Self::Gap | Self::ServerCpu | Self::Rate | Self::Errors => f64::NAN,
        }
    }
}

impl FromStr for Assertion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let example = "write one such as p99<5ms, acquire.p99.9<20ms, rate>=10000, gap<1s, server-cpu<10us or errors=0";
        let orders = [
            ("<=", Order::AtMost),
            (">=", Order::AtLeast),
            ("<", Order::Less),
            (">", Order::More),
            ("=", Order::Equal),
        ];
        let split =
            orders.iter().find_map(|(sign, order)| text.split_once(sign).map(|(left, right)| (left, *order, right)));
        let (left, order, right) = split.ok_or_else(|| format!("\"{text}\" asserts nothing: {example}"))?;
        let (left, right) = (left.trim(), right.trim());
        let named = |name: &str| FIGURES.iter().find(|(known, _)| *known == name).map(|(_, figure)| *figure);
        let (kind, figure) = match (named(left), left.split_once('.')) {
            (Some(figure), _) => (None, figure),
            (None, Some((kind, name))) => (Some(kind.to_owned()), named(name).ok_or_else(|| unknown(left, example))?),
            (None, None) => return Err(unknown(left, example)),
        };
        if let Some(kind) = &kind
            && (figure.of_latency(&Latency::default()).is_nan()
                || !crate::calls::Kind::ALL.iter().any(|known| known.word() == kind))
        {
            return Err(unknown(left, example));
        }
        let value = if figure.is_time() { micros(right) } else { right.replace('_', "").parse().ok() };
        let value = value.filter(|value: &f64| *value >= 0.0);
        let value =
            value.ok_or_else(|| format!("\"{right}\" is nothing that {left} can be compared with: {example}"))?;
        Ok(Self { text: text.to_owned(), kind, figure, order, value })
    }
}

fn unknown(left: &str, example: &str) -> String {
    format!("nothing is measured that is called \"{left}\": {example}")
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
    /// Whether it holds; else what was measured instead. Counted is the median of the repetitions, of errors and gaps the
    /// worst.
    pub(crate) fn check(&self, outcome: &Outcome) -> Result<(), String> {
        let of = |run: &Run| match (self.figure, &self.kind) {
            (Figure::Gap, _) => run.longest_gap_s * 1e6,
            (Figure::Rate, _) => run.rate,
            (Figure::Errors, _) => run.failures() as f64,
            (Figure::ServerCpu, _) => run.server.as_ref().map_or(f64::NAN, |server| server.cpu_us_per_operation),
            (latency, None) => latency.of_latency(&run.latency),
            (latency, Some(kind)) => run.kinds.get(kind).map_or(f64::NAN, |of| latency.of_latency(of)),
        };
        let median = outcome.median(of).ok_or_else(|| format!("{self} cannot be told: nothing was measured"))?;
        let got = match self.figure {
            Figure::Gap | Figure::Errors => median.most,
            _ => median.median,
        };
        let holds = match self.order {
            Order::Less => got < self.value,
            Order::AtMost => got <= self.value,
            Order::More => got > self.value,
            Order::AtLeast => got >= self.value,
            Order::Equal => (got - self.value).abs() < 1e-9,
        };
        if holds {
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
}

impl fmt::Display for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::{Assertion, Figure, Order};

    #[test]
    fn an_assertion_is_read() {
        for (text, kind, figure, order, value) in [
            ("p99<5ms", None, Figure::P99, Order::Less, 5000.0),
            ("p99.9 <= 250us", None, Figure::P999, Order::AtMost, 250.0),
            ("acquire.p99.9<1s", Some("acquire"), Figure::P999, Order::Less, 1e6),
            ("rate>=10_000", None, Figure::Rate, Order::AtLeast, 10_000.0),
            ("errors=0", None, Figure::Errors, Order::Equal, 0.0),
            ("server-cpu<3.5us", None, Figure::ServerCpu, Order::Less, 3.5),
        ] {
            let read: Assertion = text.parse().expect(text);
            let kind = kind.map(str::to_owned);
            assert_eq!(read, Assertion { text: text.to_owned(), kind, figure, order, value });
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
        ] {
            let refused = text.parse::<Assertion>().expect_err(text);
            assert!(refused.contains(expected), "{text}: {refused}");
        }
    }
}
