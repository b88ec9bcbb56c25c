//! Durations as people write them: `30s`, `5m`, `2h`, `7d`, `500ms`, `1h30m`, and a bare `0`.

use std::time::Duration;

use headgate_ledger::SPAN_MAX;

use super::read::{TextError, shown};

/// Units, the longest first, in nanoseconds.
const UNITS: [(&str, u128); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Reads a duration of at most a hundred years.
pub fn parse_span(text: &str) -> Result<Duration, TextError> {
    let refuse = |why: &str| Err(TextError(format!("duration {} {why}", shown(text))));
    if text.is_empty() {
        return refuse("is empty: write one such as 30s, 5m or 7d");
    }
    if text.bytes().all(|byte| byte == b'0') {
        return Ok(Duration::ZERO);
    }
    if text.starts_with('-') {
        return refuse("is negative: a duration is zero or more");
    }
    let (mut rest, mut nanos, mut units) = (text, 0_u128, &UNITS[..]);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(letters);
        if number.is_empty() || (unit.is_empty() && !after.is_empty()) {
            return refuse("is none: write whole numbers with units, such as 30s, 1h30m or 500ms");
        }
        if unit.is_empty() {
            return refuse(&format!("has no unit: did you mean {number}s?"));
        }
        let Some(at) = units.iter().position(|(name, _)| *name == unit) else {
            return if UNITS.iter().any(|(name, _)| *name == unit) {
                refuse("names a unit twice or a smaller one first: write the largest first, each once")
            } else {
                refuse(&format!("has the unknown unit {}: use d, h, m, s or ms", shown(unit)))
            };
        };
        let Some(sum) = number
            .parse::<u128>()
            .ok()
            .and_then(|number| number.checked_mul(units[at].1))
            .and_then(|part| nanos.checked_add(part))
            .filter(|sum| *sum <= SPAN_MAX.as_nanos())
        else {
            return refuse("is more than a hundred years, the longest that is meant");
        };
        (rest, nanos, units) = (after, sum, &units[at + 1..]);
    }
    u64::try_from(nanos).map_or_else(
        |_| refuse("is more than a hundred years, the longest that is meant"),
        |nanos| Ok(Duration::from_nanos(nanos)),
    )
}

/// The canonical text of a duration: `90s` is `1m30s`, nothing is `0s`.
pub fn format_span(span: Duration) -> String {
    let mut nanos = span.as_nanos();
    if nanos == 0 {
        return "0s".into();
    }
    let mut text = String::new();
    for (name, unit) in UNITS {
        if nanos >= unit {
            text.push_str(&format!("{}{name}", nanos / unit));
            nanos %= unit;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use headgate_ledger::SPAN_MAX;
    use proptest::prelude::*;

    use super::{format_span, parse_span};

    #[test]
    fn durations_are_sums_of_units() {
        for (text, millis, canonical) in [
            ("30s", 30_000, "30s"),
            ("5m", 300_000, "5m"),
            ("2h", 7_200_000, "2h"),
            ("7d", 604_800_000, "7d"),
            ("500ms", 500, "500ms"),
            ("1h30m", 5_400_000, "1h30m"),
            ("90s", 90_000, "1m30s"),
            ("24h", 86_400_000, "1d"),
            ("0", 0, "0s"),
            ("0s", 0, "0s"),
            ("1d2h3m4s5ms", 93_784_005, "1d2h3m4s5ms"),
        ] {
            assert_eq!(parse_span(text), Ok(Duration::from_millis(millis)), "{text}");
            assert_eq!(format_span(Duration::from_millis(millis)), canonical);
        }
        assert_eq!(parse_span("36600d"), Ok(SPAN_MAX));
    }

    #[test]
    fn what_is_no_duration_is_told_why() {
        for (text, expected) in [
            ("", "duration \"\" is empty: write one such as 30s, 5m or 7d"),
            ("30", "duration \"30\" has no unit: did you mean 30s?"),
            ("1h30", "duration \"1h30\" has no unit: did you mean 30s?"),
            ("-5s", "duration \"-5s\" is negative: a duration is zero or more"),
            ("1.5h", "duration \"1.5h\" is none: write whole numbers with units, such as 30s, 1h30m or 500ms"),
            ("soon", "duration \"soon\" is none: write whole numbers with units, such as 30s, 1h30m or 500ms"),
            ("5w", "duration \"5w\" has the unknown unit \"w\": use d, h, m, s or ms"),
            ("5S", "duration \"5S\" has the unknown unit \"S\": use d, h, m, s or ms"),
            ("5m1h", "duration \"5m1h\" names a unit twice or a smaller one first: write the largest first, each once"),
            ("5m5m", "duration \"5m5m\" names a unit twice or a smaller one first: write the largest first, each once"),
            ("36601d", "duration \"36601d\" is more than a hundred years, the longest that is meant"),
            (
                "99999999999999999999999999999999999999999d",
                "duration \"99999999999999999999999999999999999999999d\" is more than a hundred years, the longest that is meant",
            ),
        ] {
            assert_eq!(parse_span(text).expect_err(text).to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn durations_are_read_as_they_are_written(nanos in 0..=3_162_240_000_000_000_000_u64, shift in 0..60_u32) {
            let span = Duration::from_nanos(nanos >> shift);
            prop_assert_eq!(parse_span(&format_span(span)), Ok(span));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,60}", near in "[0-9]{0,30}[dhms]{0,3}[0-9]{0,3}[a-z]{0,2}") {
            let _ = (parse_span(&text), parse_span(&near));
        }
    }
}
