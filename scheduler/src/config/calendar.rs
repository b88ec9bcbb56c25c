//! The calendar of budgets: days, weeks from Monday and months, in any time zone of the tz database.

use headgate_ledger::{Calendar, Period, Time};
use jiff::Timestamp;
use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;

use super::read::{TextError, shown};

/// The calendar by the tz database: the system's where it has one, else the one built in. Days of 23 and 25 hours
/// and days without a midnight are as long as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct CivilCalendar;

/// Whether a time zone is known by this name.
pub fn check_time_zone(name: &str) -> Result<(), TextError> {
    match TimeZone::get(name) {
        Ok(_) => Ok(()),
        Err(_) => Err(TextError(format!(
            "there is no time zone {}: use a name of the tz database, such as UTC or Europe/Berlin",
            shown(name)
        ))),
    }
}

impl Calendar for CivilCalendar {
    /// A time zone that is not known (any more) counts as UTC: a budget's period has to turn some time.
    fn period(&self, period: Period, time_zone: &str, now: Time) -> (Time, Time) {
        let zone = match time_zone {
            "UTC" => TimeZone::UTC,
            name => TimeZone::get(name).unwrap_or(TimeZone::UTC),
        };
        // Every instant of `Time` lies before the year 2555, which any calendar reaches; were it not so, one period
        // would be all of time.
        bounds(period, &zone, now).unwrap_or((Time::EPOCH, Time::NEVER))
    }
}

fn bounds(period: Period, zone: &TimeZone, now: Time) -> Option<(Time, Time)> {
    let instant = Timestamp::from_nanosecond(now.nanos().into()).ok()?;
    let day = zone.to_datetime(instant).date();
    let (first, next) = match period {
        Period::Day => (day, day.tomorrow().ok()?),
        Period::Week => {
            let first = back_to_monday(day)?;
            (first, first.checked_add(jiff::Span::new().days(7)).ok()?)
        }
        Period::Month => {
            let first = day.first_of_month();
            (first, first.last_of_month().tomorrow().ok()?)
        }
    };
    let (start, end) = (midnight(zone, first)?, midnight(zone, next)?);
    // Where clocks go back over midnight, `now` may lie in the hour before it that is had twice: the period then
    // ends at the second midnight.
    let end = if end <= instant { later_midnight(zone, next)? } else { end };
    Some((time_of(start), time_of(end)))
}

fn back_to_monday(day: Date) -> Option<Date> {
    let back = day.weekday().since(Weekday::Monday);
    day.checked_sub(jiff::Span::new().days(i64::from(back))).ok()
}

/// The first instant of a day: midnight, the first of two, or where there is none the end of the gap.
fn midnight(zone: &TimeZone, day: Date) -> Option<Timestamp> {
    zone.to_ambiguous_timestamp(day.at(0, 0, 0, 0)).compatible().ok()
}

fn later_midnight(zone: &TimeZone, day: Date) -> Option<Timestamp> {
    zone.to_ambiguous_timestamp(day.at(0, 0, 0, 0)).later().ok()
}

/// What lies before the epoch begins with it.
fn time_of(instant: Timestamp) -> Time {
    Time::from_nanos(u64::try_from(instant.as_nanosecond()).unwrap_or(if instant < Timestamp::UNIX_EPOCH {
        0
    } else {
        u64::MAX
    }))
}

/// The instant of a text such as `2026-01-31T23:00:00Z`.
pub fn parse_instant(text: &str) -> Result<Time, TextError> {
    let instant: Timestamp = text
        .parse()
        .map_err(|_| TextError(format!("{} is no instant: write one such as 2026-01-31T23:00:00Z", shown(text))))?;
    if instant < Timestamp::UNIX_EPOCH {
        return Err(TextError(format!("{} lies before 1970, where time starts", shown(text))));
    }
    match u64::try_from(instant.as_nanosecond()) {
        Ok(nanos) if nanos <= INSTANT_NANOS_MAX => Ok(Time::from_nanos(nanos)),
        _ => Err(TextError(format!("{} lies after 2400, too late to be meant", shown(text)))),
    }
}

/// 2400-01-01: leaves room for a hundred years and more before nanoseconds run out in 2554.
const INSTANT_NANOS_MAX: u64 = 13_569_465_600_000_000_000;

/// The text of an instant.
pub fn format_instant(time: Time) -> String {
    match Timestamp::from_nanosecond(time.nanos().into()) {
        Ok(instant) => instant.to_string(),
        Err(_) => "never".into(),
    }
}

#[cfg(test)]
mod tests {
    use headgate_ledger::{Calendar, Period, Time};
    use proptest::prelude::*;

    use super::{CivilCalendar, check_time_zone, format_instant, parse_instant};

    fn period(period: Period, zone: &str, now: &str) -> (String, String, f64) {
        let now = parse_instant(now).expect("an instant");
        let (start, end) = CivilCalendar.period(period, zone, now);
        (format_instant(start), format_instant(end), end.since(start).as_secs_f64() / 3600.0)
    }

    #[test]
    fn periods_are_civil_ones() {
        for (kind, zone, now, start, end, hours) in [
            (Period::Day, "UTC", "2026-01-31T23:00:00Z", "2026-01-31T00:00:00Z", "2026-02-01T00:00:00Z", 24.0),
            (
                Period::Month,
                "UTC",
                "2026-01-31T23:59:59.999999999Z",
                "2026-01-01T00:00:00Z",
                "2026-02-01T00:00:00Z",
                744.0,
            ),
            (Period::Month, "UTC", "2026-02-01T00:00:00Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z", 672.0),
            (Period::Month, "UTC", "2024-02-29T12:00:00Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z", 696.0),
            (Period::Month, "UTC", "2026-12-31T12:00:00Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z", 744.0),
            // A Sunday belongs to the week before, a Monday starts one.
            (Period::Week, "UTC", "2026-11-22T12:00:00Z", "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z", 168.0),
            (Period::Week, "UTC", "2026-11-23T00:00:00Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z", 168.0),
            (Period::Week, "UTC", "1970-01-01T12:00:00Z", "1970-01-01T00:00:00Z", "1970-01-05T00:00:00Z", 96.0),
            // Clocks go forward: 23 hours; back: 25.
            (
                Period::Day,
                "Europe/Berlin",
                "2026-03-29T10:00:00Z",
                "2026-03-28T23:00:00Z",
                "2026-03-29T22:00:00Z",
                23.0,
            ),
            (
                Period::Day,
                "Europe/Berlin",
                "2026-10-25T10:00:00Z",
                "2026-10-24T22:00:00Z",
                "2026-10-25T23:00:00Z",
                25.0,
            ),
            (
                Period::Week,
                "Europe/Berlin",
                "2026-10-25T10:00:00Z",
                "2026-10-18T22:00:00Z",
                "2026-10-25T23:00:00Z",
                169.0,
            ),
            (
                Period::Month,
                "America/New_York",
                "2026-03-20T10:00:00Z",
                "2026-03-01T05:00:00Z",
                "2026-04-01T04:00:00Z",
                743.0,
            ),
            // Midnight is skipped: the day starts at one o'clock.
            (
                Period::Day,
                "America/Sao_Paulo",
                "2015-10-18T12:00:00Z",
                "2015-10-18T03:00:00Z",
                "2015-10-19T02:00:00Z",
                23.0,
            ),
            (Period::Day, "Asia/Beirut", "2022-03-27T12:00:00Z", "2022-03-26T22:00:00Z", "2022-03-27T21:00:00Z", 23.0),
            // Midnight is had twice: the first starts the day.
            (
                Period::Day,
                "America/Havana",
                "2022-11-06T12:00:00Z",
                "2022-11-06T04:00:00Z",
                "2022-11-07T05:00:00Z",
                25.0,
            ),
            // Clocks went back from 0:01 to 23:01 of the day before: in the hour had twice, the second midnight is next.
            (
                Period::Day,
                "America/St_Johns",
                "2010-11-07T03:00:00Z",
                "2010-11-06T02:30:00Z",
                "2010-11-07T03:30:00Z",
                25.0,
            ),
            // A day that never was, and a zone half an hour off.
            (Period::Day, "Pacific/Apia", "2011-12-30T09:00:00Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z", 24.0),
            (Period::Day, "Asia/Kolkata", "2026-11-24T12:00:00Z", "2026-11-23T18:30:00Z", "2026-11-24T18:30:00Z", 24.0),
            (Period::Day, "No/Where", "2026-11-24T12:00:00Z", "2026-11-24T00:00:00Z", "2026-11-25T00:00:00Z", 24.0),
        ] {
            let found = period(kind, zone, now);
            assert_eq!(found, (start.to_owned(), end.to_owned(), hours), "{kind:?} in {zone} at {now}");
        }
    }

    #[test]
    fn time_zones_are_those_of_the_tz_database() {
        for name in ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires"] {
            assert_eq!(check_time_zone(name), Ok(()));
        }
        for name in ["", "Mars/Olympus", "../etc/passwd", "Europe"] {
            assert!(check_time_zone(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn instants_have_bounds() {
        assert_eq!(parse_instant("1970-01-01T00:00:01Z"), Ok(Time::from_nanos(1_000_000_000)));
        assert_eq!(parse_instant("1970-01-01T01:00:00+01:00"), Ok(Time::EPOCH));
        for text in ["", "2026-01-31", "1969-12-31T23:59:59Z", "2400-01-02T00:00:00Z", "9999-01-01T00:00:00Z", "soon"] {
            assert!(parse_instant(text).is_err(), "{text:?}");
        }
        assert_eq!(format_instant(Time::NEVER), "2554-07-21T23:34:33.709551615Z");
    }

    proptest! {
        #[test]
        fn now_lies_in_its_period_and_the_next_begins_where_it_ends(
            seconds in 0..5_000_000_000_u64,
            nanos in 0..1_000_000_000_u64,
            zone in prop::sample::select(vec![
                "UTC", "Europe/Berlin", "America/Sao_Paulo", "America/Havana", "America/St_Johns", "Asia/Beirut",
                "Pacific/Apia", "Australia/Lord_Howe", "Africa/Casablanca", "Atlantic/Azores", "Asia/Gaza",
            ]),
            period in prop::sample::select(vec![Period::Day, Period::Week, Period::Month]),
        ) {
            let now = Time::from_nanos(seconds * 1_000_000_000 + nanos);
            let (start, end) = CivilCalendar.period(period, zone, now);
            prop_assert!(start <= now && now < end, "{start:?} {now:?} {end:?}");
            let (next, after) = CivilCalendar.period(period, zone, end);
            prop_assert!(next <= end && end < after, "{next:?} {end:?} {after:?}");
        }
    }
}
