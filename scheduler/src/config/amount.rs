//! Amounts as people write them: Kubernetes quantities, and percentages of a pool's capacity.
//!
//! The grammar is that of `k8s.io/apimachinery/pkg/api/resource`: digits with an optional fraction, then a suffix
//! (`n u m k M G T P E`, `Ki Mi Gi Ti Pi Ei`) or a decimal exponent (`e3`, `E-3`). All of it is exact: integers
//! only, and what is not whole in the resource's base unit is an error.

use headgate_ledger::{AMOUNT_MAX, Amount, Level, QueueLimit, WHOLE};

use super::read::{TextError, decimal, decimal_text, shown};

/// Characters of an amount; the longest that is meant has 20 digits and a suffix.
const AMOUNT_CHARS_MAX: usize = 64;
/// Decimals of a percentage: a [`Level::Part`] is in hundred-thousandths.
const PERCENT_DECIMALS: u32 = 3;

/// Whether a resource is cpu, whose base unit is the millicore.
pub fn is_cpu(resource: &str) -> bool {
    matches!(resource, "cpu" | "requests.cpu" | "limits.cpu")
}

/// Whether a resource is counted in bytes, and best read with a suffix.
fn is_bytes(resource: &str) -> bool {
    let last = resource.rsplit(['.', '/']).next().unwrap_or(resource);
    last.ends_with("memory") || last.ends_with("storage") || resource.starts_with("hugepages-")
}

/// Base units of `resource` in a quantity: `4` of cpu is 4,000, `4` of jobs is 4.
pub fn parse_amount(text: &str, resource: &str) -> Result<Amount, TextError> {
    let refuse = |why: String| Err(TextError(format!("amount {} of {resource} {why}", shown(text))));
    if text.is_empty() {
        return Err(TextError(format!("the amount of {resource} is empty: write one such as 500m, 4 or 16Gi")));
    }
    if text.len() > AMOUNT_CHARS_MAX {
        return refuse(format!("is longer than {AMOUNT_CHARS_MAX} characters"));
    }
    if text.ends_with('%') {
        return refuse("is a percentage: only a tenant's quota may be a part of the pool's capacity".into());
    }
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    if unsigned.starts_with('-') {
        return refuse("is negative: an amount is zero or more".into());
    }
    let Some((whole, fraction, suffix)) = split_number(unsigned) else {
        return refuse("is no quantity: write one such as 500m, 4 or 16Gi".into());
    };
    let Some(scale) = Scale::of(suffix) else {
        return refuse(format!("has the unknown suffix {}: {}", shown(suffix), suffix_hint(suffix)));
    };
    let Some(number) = Number::of(whole, fraction) else {
        return refuse("has more digits than can be meant: 38 are the most".into());
    };
    match number.scaled(scale, is_cpu(resource)) {
        Scaled::Whole(amount) if amount <= AMOUNT_MAX => Ok(amount),
        Scaled::Whole(_) | Scaled::TooLarge => refuse(format!("is more than the largest amount, {AMOUNT_MAX}")),
        Scaled::Broken if is_cpu(resource) => refuse("is finer than a millicore: 1m is the least".into()),
        Scaled::Broken if suffix == "m" => {
            refuse("is not whole: m stands for thousandths, M and Mi for millions".into())
        }
        Scaled::Broken => refuse("is not whole: it is counted in whole units".into()),
    }
}

/// The canonical quantity of base units of `resource`.
pub fn format_amount(amount: Amount, resource: &str) -> String {
    if is_cpu(resource) {
        return if amount.is_multiple_of(1000) { (amount / 1000).to_string() } else { format!("{amount}m") };
    }
    let plain = amount.to_string();
    if amount == 0 || !is_bytes(resource) {
        return plain;
    }
    let largest = |suffixes: &[&str], step: Amount| {
        let (mut left, mut suffix) = (amount, "");
        for next in suffixes {
            if !left.is_multiple_of(step) {
                break;
            }
            (left, suffix) = (left / step, next);
        }
        format!("{left}{suffix}")
    };
    let decimal = largest(&["k", "M", "G", "T", "P", "E"], 1000);
    let binary = largest(&["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"], 1024);
    if decimal.len() < binary.len() { decimal } else { binary }
}

/// An amount of a quota: a quantity, or a percentage of the pool's capacity.
pub fn parse_level(text: &str, resource: &str) -> Result<Level, TextError> {
    match text.strip_suffix('%') {
        Some(percent) => Ok(Level::Part(parse_percent(text, percent)?)),
        None => Ok(Level::Units(parse_amount(text, resource)?)),
    }
}

/// The canonical text of an amount of a quota.
pub fn format_level(level: Level, resource: &str) -> String {
    match level {
        Level::Units(amount) => format_amount(amount, resource),
        Level::Part(part) => format_percent(part),
    }
}

/// How many tickets a tenant may have waiting: a number, or a percentage of the pool's `max_queued`.
pub fn parse_queue_limit(text: &str) -> Result<QueueLimit, TextError> {
    match text.strip_suffix('%') {
        Some(percent) => Ok(QueueLimit::Part(parse_percent(text, percent)?)),
        None => match text.parse() {
            Ok(count) => Ok(QueueLimit::Count(count)),
            Err(_) => Err(TextError(format!(
                "{} is neither a number of tickets, such as 1000, nor a percentage of max_queued, such as 10%",
                shown(text)
            ))),
        },
    }
}

/// The canonical text of such a limit.
pub fn format_queue_limit(limit: QueueLimit) -> String {
    match limit {
        QueueLimit::Count(count) => count.to_string(),
        QueueLimit::Part(part) => format_percent(part),
    }
}

/// Hundred-thousandths of the whole; more than the whole is refused, as a slip of "of what": nothing can be more
/// than all of the pool's capacity.
fn parse_percent(text: &str, percent: &str) -> Result<u32, TextError> {
    let Some(part) = decimal(percent, PERCENT_DECIMALS) else {
        return Err(TextError(format!(
            "{} is no percentage: write a number with up to {PERCENT_DECIMALS} decimals, such as 12.5%",
            shown(text)
        )));
    };
    match u32::try_from(part) {
        Ok(part) if part <= WHOLE => Ok(part),
        _ => Err(TextError(format!("{} is more than the whole that it is a part of: 100% is the most", shown(text)))),
    }
}

fn format_percent(part: u32) -> String {
    format!("{}%", decimal_text(part.into(), PERCENT_DECIMALS))
}

/// A decimal number: `digits` times ten to the power of `exponent`. `digits` does not end in 0.
struct Number {
    digits: u128,
    exponent: i32,
}

/// What a suffix multiplies by: 10^decimal × 2^binary.
#[derive(Clone, Copy)]
struct Scale {
    decimal: i32,
    binary: u32,
}

enum Scaled {
    Whole(u64),
    Broken,
    TooLarge,
}

/// The number off the front, as its whole part and its fraction, and what follows it; none where there is no number.
fn split_number(text: &str) -> Option<(&str, &str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let none = fraction.contains('.') || (whole.is_empty() && fraction.is_empty());
    (!none).then_some((whole, fraction, suffix))
}

impl Scale {
    fn of(suffix: &str) -> Option<Self> {
        const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
        const DECIMAL: [(&str, i32); 10] =
            [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
        if let Some((_, decimal)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
            return Some(Self { decimal: *decimal, binary: 0 });
        }
        if let Some(power) = (1_u32..).zip(BINARY).find(|(_, name)| *name == suffix).map(|(power, _)| power) {
            return Some(Self { decimal: 0, binary: 10 * power });
        }
        let exponent = suffix.strip_prefix(['e', 'E'])?;
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        // An exponent that does not fit is as good as a very large one.
        let size: i32 = digits.parse().unwrap_or(i32::MAX / 2).min(i32::MAX / 2);
        Some(Self { decimal: if exponent.starts_with('-') { -size } else { size }, binary: 0 })
    }
}

impl Number {
    /// The number with these digits; none where they are more than can be reckoned with.
    fn of(whole: &str, fraction: &str) -> Option<Self> {
        let fraction = fraction.trim_end_matches('0');
        let mut digits: u128 = 0;
        for byte in whole.bytes().chain(fraction.bytes()) {
            digits = digits.checked_mul(10)?.checked_add(u128::from(byte - b'0'))?;
        }
        let mut exponent = -i32::try_from(fraction.len()).ok()?;
        while digits != 0 && digits.is_multiple_of(10) {
            digits /= 10;
            exponent += 1;
        }
        Some(Self { digits, exponent })
    }

    /// The number times `scale`, and times a thousand where it is cpu.
    fn scaled(&self, scale: Scale, cpu: bool) -> Scaled {
        if self.digits == 0 {
            return Scaled::Whole(0);
        }
        let exponent = self.exponent.saturating_add(scale.decimal).saturating_add(if cpu { 3 } else { 0 });
        let (mut digits, mut binary) = (self.digits, i64::from(scale.binary));
        if let Ok(up) = u32::try_from(exponent) {
            let Some(power) = 10_u128.checked_pow(up) else { return Scaled::TooLarge };
            let Some(product) = digits.checked_mul(power) else { return Scaled::TooLarge };
            digits = product;
        } else {
            // Down by 10^n = 5^n × 2^n: the fives have to divide the digits, the twos may come out of the scale.
            let down = exponent.unsigned_abs();
            for _ in 0..down {
                if !digits.is_multiple_of(5) {
                    return Scaled::Broken;
                }
                digits /= 5;
            }
            binary -= i64::from(down);
        }
        let twos = u32::try_from(binary.unsigned_abs()).unwrap_or(u32::MAX);
        if binary < 0 {
            return if digits.trailing_zeros() < twos { Scaled::Broken } else { whole(digits >> twos) };
        }
        if digits.leading_zeros() <= twos { Scaled::TooLarge } else { whole(digits << twos) }
    }
}

fn whole(amount: u128) -> Scaled {
    u64::try_from(amount).map_or(Scaled::TooLarge, Scaled::Whole)
}

fn suffix_hint(suffix: &str) -> String {
    let meant = match suffix {
        "K" | "KB" | "kB" | "kb" | "KiB" => Some("k or Ki"),
        "MB" | "Mb" | "mb" | "MiB" => Some("M or Mi"),
        "g" | "GB" | "Gb" | "gb" | "GiB" => Some("G or Gi"),
        "t" | "TB" | "Tb" | "tb" | "TiB" => Some("T or Ti"),
        _ => None,
    };
    match meant {
        Some(meant) => format!("did you mean {meant}?"),
        None => "use m, k, M, G, T, P, E or Ki, Mi, Gi, Ti, Pi, Ei".into(),
    }
}

#[cfg(test)]
mod tests {
    use headgate_ledger::{AMOUNT_MAX, Level, QueueLimit};
    use proptest::prelude::*;

    use super::{format_amount, format_level, format_queue_limit, parse_amount, parse_level, parse_queue_limit};

    #[test]
    fn quantities_are_whole_base_units() {
        for (text, resource, expected) in [
            ("4", "cpu", 4_000),
            ("500m", "cpu", 500),
            ("0.5", "cpu", 500),
            (".5", "cpu", 500),
            ("1.", "cpu", 1_000),
            ("+1", "cpu", 1_000),
            ("1e3", "cpu", 1_000_000),
            ("1000u", "cpu", 1),
            ("1000000n", "cpu", 1),
            ("0.001", "requests.cpu", 1),
            ("2", "limits.cpu", 2_000),
            ("0", "cpu", 0),
            ("0.0000", "cpu", 0),
            ("007", "jobs", 7),
            ("4", "jobs", 4),
            ("4000m", "jobs", 4),
            ("1e3", "jobs", 1_000),
            ("1E3", "jobs", 1_000),
            ("1e+3", "jobs", 1_000),
            ("1000e-3", "jobs", 1),
            ("2k", "jobs", 2_000),
            ("16Gi", "memory", 16 << 30),
            ("4G", "memory", 4_000_000_000),
            ("0.5Gi", "memory", 1 << 29),
            ("1.5Mi", "memory", 3 << 19),
            ("0.0009765625Ki", "memory", 1),
            ("1E", "memory", 1_000_000_000_000_000_000),
            ("1Ei", "memory", AMOUNT_MAX),
            ("1", "nvidia.com/gpu", 1),
            ("0e999999999999", "memory", 0),
        ] {
            assert_eq!(parse_amount(text, resource), Ok(expected), "{text} of {resource}");
        }
    }

    #[test]
    fn what_is_no_amount_is_told_why() {
        for (text, resource, expected) in [
            ("", "cpu", "the amount of cpu is empty: write one such as 500m, 4 or 16Gi"),
            ("-1", "cpu", "amount \"-1\" of cpu is negative: an amount is zero or more"),
            ("abc", "cpu", "amount \"abc\" of cpu is no quantity: write one such as 500m, 4 or 16Gi"),
            (".", "cpu", "amount \".\" of cpu is no quantity: write one such as 500m, 4 or 16Gi"),
            ("1.2.3", "cpu", "amount \"1.2.3\" of cpu is no quantity: write one such as 500m, 4 or 16Gi"),
            ("16GB", "memory", "amount \"16GB\" of memory has the unknown suffix \"GB\": did you mean G or Gi?"),
            ("4K", "memory", "amount \"4K\" of memory has the unknown suffix \"K\": did you mean k or Ki?"),
            (
                "4 Gi",
                "memory",
                "amount \"4 Gi\" of memory has the unknown suffix \" Gi\": use m, k, M, G, T, P, E or Ki, Mi, Gi, Ti, Pi, Ei",
            ),
            (
                "1_000",
                "jobs",
                "amount \"1_000\" of jobs has the unknown suffix \"_000\": use m, k, M, G, T, P, E or Ki, Mi, Gi, Ti, Pi, Ei",
            ),
            ("0.5m", "cpu", "amount \"0.5m\" of cpu is finer than a millicore: 1m is the least"),
            (
                "1.0000000000000001",
                "cpu",
                "amount \"1.0000000000000001\" of cpu is finer than a millicore: 1m is the least",
            ),
            (
                "500m",
                "memory",
                "amount \"500m\" of memory is not whole: m stands for thousandths, M and Mi for millions",
            ),
            ("0.5", "nvidia.com/gpu", "amount \"0.5\" of nvidia.com/gpu is not whole: it is counted in whole units"),
            ("2Ei", "memory", "amount \"2Ei\" of memory is more than the largest amount, 1152921504606846976"),
            (
                "1e999999999999",
                "memory",
                "amount \"1e999999999999\" of memory is more than the largest amount, 1152921504606846976",
            ),
            (
                "80%",
                "cpu",
                "amount \"80%\" of cpu is a percentage: only a tenant's quota may be a part of the pool's capacity",
            ),
            (
                "1e-999999999999",
                "jobs",
                "amount \"1e-999999999999\" of jobs is not whole: it is counted in whole units",
            ),
        ] {
            let error = parse_amount(text, resource).expect_err(text).to_string();
            assert_eq!(error, expected);
        }
        for text in ["1e", "e3", "1e3m", "0x10", "१", "1Gi1", "∞", "NaN", "1 ", " 1", "--1", "+-1", "1e1.5"] {
            assert!(parse_amount(text, "jobs").is_err(), "{text:?}");
        }
        assert!(parse_amount(&"9".repeat(64), "jobs").is_err());
        assert!(parse_amount(&"9".repeat(65), "jobs").is_err());
        assert!(parse_amount(&format!("0.{}1", "0".repeat(60)), "jobs").is_err());
        assert_eq!(parse_amount(&format!("{}4", "0".repeat(60)), "jobs"), Ok(4));
    }

    #[test]
    fn amounts_are_written_as_people_would() {
        for (amount, resource, expected) in [
            (1500, "cpu", "1500m"),
            (2000, "cpu", "2"),
            (0, "cpu", "0"),
            (1, "requests.cpu", "1m"),
            (16 << 30, "memory", "16Gi"),
            (3 << 29, "memory", "1536Mi"),
            (18_000_000_000, "memory", "18G"),
            (1 << 40, "storage", "1Ti"),
            (1023, "memory", "1023"),
            (0, "memory", "0"),
            (AMOUNT_MAX, "memory", "1Ei"),
            (1024, "jobs", "1024"),
            (1024, "ephemeral-storage", "1Ki"),
            (2 << 20, "hugepages-2Mi", "2Mi"),
        ] {
            assert_eq!(format_amount(amount, resource), expected);
        }
    }

    #[test]
    fn percentages_are_parts_of_a_whole() {
        for (text, expected) in [("80%", 80_000), ("0%", 0), ("100%", 100_000), ("12.345%", 12_345), ("0.001%", 1)] {
            assert_eq!(parse_level(text, "cpu"), Ok(Level::Part(expected)), "{text}");
            assert_eq!(format_level(Level::Part(expected), "cpu"), text);
        }
        for (text, expected) in [
            ("150%", "\"150%\" is more than the whole that it is a part of: 100% is the most"),
            ("100.001%", "\"100.001%\" is more than the whole that it is a part of: 100% is the most"),
            ("0.0001%", "\"0.0001%\" is no percentage: write a number with up to 3 decimals, such as 12.5%"),
            ("%", "\"%\" is no percentage: write a number with up to 3 decimals, such as 12.5%"),
            ("-1%", "\"-1%\" is no percentage: write a number with up to 3 decimals, such as 12.5%"),
            ("1Gi%", "\"1Gi%\" is no percentage: write a number with up to 3 decimals, such as 12.5%"),
        ] {
            assert_eq!(parse_level(text, "memory").expect_err(text).to_string(), expected);
        }
        assert_eq!(parse_level("2", "cpu"), Ok(Level::Units(2_000)));
    }

    #[test]
    fn a_queue_limit_is_a_number_or_a_part() {
        for (text, expected) in
            [("1000", QueueLimit::Count(1000)), ("0", QueueLimit::Count(0)), ("10%", QueueLimit::Part(10_000))]
        {
            assert_eq!(parse_queue_limit(text), Ok(expected));
            assert_eq!(format_queue_limit(expected), text);
        }
        for text in ["", "-1", "1.5", "4294967296", "many", "101%"] {
            assert!(parse_queue_limit(text).is_err(), "{text:?}");
        }
    }

    fn resources() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["cpu", "memory", "requests.storage", "jobs", "nvidia.com/gpu"])
    }

    proptest! {
        #[test]
        fn amounts_are_read_as_they_are_written(amount in 0..=AMOUNT_MAX, shift in 0..60_u32, resource in resources()) {
            let amount = amount >> shift << shift;
            prop_assert_eq!(parse_amount(&format_amount(amount, resource), resource), Ok(amount));
        }

        #[test]
        fn a_fraction_is_what_it_says(whole in 0..1_000_000_u64, thousandths in 0..1000_u64) {
            let text = format!("{whole}.{thousandths:03}");
            prop_assert_eq!(parse_amount(&text, "cpu"), Ok(whole * 1000 + thousandths));
            let grown = format!("{text}k");
            prop_assert_eq!(parse_amount(&grown, "jobs"), Ok(whole * 1000 + thousandths));
        }

        #[test]
        fn a_suffix_is_what_it_stands_for(number in 0..1000_u64, power in 1..5_u32) {
            let (binary, decimal) = (["Ki", "Mi", "Gi", "Ti"], ["k", "M", "G", "T"]);
            let at = power as usize - 1;
            prop_assert_eq!(parse_amount(&format!("{number}{}", binary[at]), "memory"), Ok(number << (10 * power)));
            prop_assert_eq!(parse_amount(&format!("{number}{}", decimal[at]), "memory"), Ok(number * 1000_u64.pow(power)));
            prop_assert_eq!(parse_amount(&format!("{number}e{}", 3 * power), "memory"), Ok(number * 1000_u64.pow(power)));
        }

        #[test]
        fn no_text_makes_the_parsers_panic(text in "\\PC{0,80}", resource in resources()) {
            let _ = (parse_amount(&text, resource), parse_level(&text, resource), parse_queue_limit(&text));
        }

        #[test]
        fn no_quantity_like_text_makes_the_parsers_panic(text in "[+-]?[0-9.]{0,50}[eEkMGTPinum+-]{0,3}[0-9]{0,12}%?", resource in resources()) {
            let _ = (parse_amount(&text, resource), parse_level(&text, resource), parse_queue_limit(&text));
        }
    }
}
