//! How a figure of one target is to that of another, pair by pair, and how sure that is.
//!
//! Both of a pair were measured one after the other, so what disturbs both falls out of their ratio. Of the logarithms of
//! the ratios Student's t gives an interval (W. S. Gosset, "The Probable Error of a Mean", 1908): ratios multiply, and a
//! half is as far from one as a double. It takes pairs to be independent of each other. Of few it is wide, as it should be.

use serde::{Deserialize, Serialize};

use super::named::Figure;
use super::{Median, Outcome};

/// How often, of many intervals that are made in this way, the true ratio lies within.
pub(crate) const CONFIDENCE: f64 = 0.95;
/// Student's t for that, by degrees of freedom, from one on.
const T: [f64; 30] = [
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010, 2.1788, 2.1604, 2.1448,
    2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860, 2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484,
    2.0452, 2.0423,
];
/// The same of a normal distribution, which Student's comes near to.
const Z: f64 = 1.959_964;

/// A ratio, of several pairs.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Ratio {
    /// What it is of, in the words of assertions.
    pub(crate) figure: String,
    /// The pairs' own ratios.
    #[serde(flatten)]
    pub(crate) pairs: Median,
    /// Their geometric mean.
    pub(crate) mean: f64,
    /// Where the true one lies.
    pub(crate) within: Option<Interval>,
}

/// From where to where something is, with [`CONFIDENCE`].
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Interval {
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Ratio {
    /// Of pairs; none where there is none, or a figure is missing or zero in one of them.
    pub(crate) fn of(figure: Figure, pairs: &[f64]) -> Option<Self> {
        if pairs.iter().any(|ratio| !ratio.is_finite() || *ratio <= 0.0) {
            return None;
        }
        let logarithms: Vec<f64> = pairs.iter().map(|ratio| ratio.ln()).collect();
        let (mean, error) = mean_and_error(&logarithms)?;
        let within = error.map(|error| Interval { low: (mean - error).exp(), high: (mean + error).exp() });
        Some(Self {
            figure: figure.word().to_owned(),
            pairs: Median::of(pairs.iter().copied())?,
            mean: mean.exp(),
            within,
        })
    }
}

/// All ratios of one target to another, of runs that were measured in pairs.
pub(crate) fn ratios(a: &Outcome, b: &Outcome) -> Vec<Ratio> {
    let of = |figure: Figure| {
        let pair = |(a, b)| figure.of(a).zip(figure.of(b)).map_or(f64::NAN, |(a, b)| a / b);
        let pairs: Vec<f64> = a.runs.iter().zip(&b.runs).map(pair).collect();
        Ratio::of(figure, &pairs)
    };
    Figure::COMPARED.into_iter().filter_map(of).collect()
}

/// The mean, and how far the true one may be from it; of a single value nobody knows how far.
fn mean_and_error(values: &[f64]) -> Option<(f64, Option<f64>)> {
    let count = values.len() as f64;
    if values.is_empty() {
        return None;
    }
    let mean = values.iter().sum::<f64>() / count;
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    let error = t(values.len() - 1).map(|t| t * (squares / (count - 1.0) / count).sqrt());
    Some((mean, error))
}

/// Student's t of so many degrees of freedom; beyond the table the first terms of its expansion (Abramowitz and Stegun,
/// 26.7.5), which are right to the fourth decimal there.
fn t(freedom: usize) -> Option<f64> {
    let place = freedom.checked_sub(1)?;
    let expanded = || {
        let freedom = freedom as f64;
        let first = (Z.powi(3) + Z) / 4.0;
        let second = (5.0 * Z.powi(5) + 16.0 * Z.powi(3) + 3.0 * Z) / 96.0;
        Z + first / freedom + second / freedom.powi(2)
    };
    Some(T.get(place).copied().unwrap_or_else(expanded))
}

#[cfg(test)]
mod tests {
    use super::{Figure, Interval, Ratio, t};

    #[test]
    fn an_interval_is_as_wide_as_the_tables_say() {
        // The logarithms are -d, 0 and d, or -d and d: their mean is 0, their standard error d/√3, or d; t of 2 degrees of
        // freedom is 4.3027, and of 1, 12.706.
        let d = 0.1_f64;
        for (pairs, error) in
            [(vec![(-d).exp(), 1.0, d.exp()], 4.3027 * d / 3_f64.sqrt()), (vec![(-d).exp(), d.exp()], 12.706 * d)]
        {
            let ratio = Ratio::of(Figure::Rate, &pairs).expect("a ratio");
            let Interval { low, high } = ratio.within.expect("an interval");
            assert!((ratio.mean - 1.0).abs() < 1e-9, "{ratio:?}");
            assert!((high.ln() - error).abs() < 1e-4 && (low.ln() + error).abs() < 1e-4, "{ratio:?}");
        }
    }

    #[test]
    fn beyond_the_table_it_goes_on_as_in_larger_ones() {
        assert_eq!(t(0), None);
        for (freedom, expected) in
            [(1, 12.7062), (30, 2.0423), (31, 2.0395), (60, 2.0003), (120, 1.9799), (999, 1.9623)]
        {
            let got = t(freedom).expect("a number");
            assert!((got - expected).abs() < 1e-4, "{freedom}: {got}");
        }
    }

    #[test]
    fn a_half_is_as_far_as_a_double() {
        let ratio = Ratio::of(Figure::P99, &[0.5, 2.0, 0.5, 2.0]).expect("a ratio");
        let turned = Ratio::of(Figure::P99, &[2.0, 0.5, 2.0, 0.5]).expect("a ratio");
        assert!((ratio.mean - 1.0).abs() < 1e-12, "{ratio:?}");
        assert_eq!(ratio.within, turned.within);
    }

    #[test]
    fn one_pair_says_nothing_of_how_sure_it_is() {
        let ratio = Ratio::of(Figure::Rate, &[3.0]).expect("a ratio");
        assert!((ratio.mean - 3.0).abs() < 1e-9 && ratio.within.is_none(), "{ratio:?}");
    }

    #[test]
    fn what_was_not_measured_has_no_ratio() {
        for pairs in [&[][..], &[1.0, f64::NAN], &[1.0, f64::INFINITY], &[1.0, 0.0]] {
            assert_eq!(Ratio::of(Figure::ServerCpu, pairs), None, "{pairs:?}");
        }
    }
}
