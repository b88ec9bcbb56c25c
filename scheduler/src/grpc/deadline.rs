//! The time that a caller gives a call: `grpc-timeout`, counted from the call's arrival.

use std::future::Future;
use std::time::{Duration, Instant};

use super::fault::Fault;

/// The longest time that is meant: the header can say more than a clock can.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);
/// Digits of the header's number, as gRPC's specification has it.
const DIGITS_MAX: usize = 8;

/// When a call arrived. It is noted before the transport begins its own count, so that a call that is late is answered
/// here, with the right status, and not there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival(pub(super) Instant);

/// When a call must be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deadline(Option<Instant>);

impl Deadline {
    /// The deadline of a call whose `grpc-timeout` says this.
    pub(super) fn of(timeout: Option<&[u8]>, arrival: Instant) -> Self {
        let timeout = timeout.and_then(parse);
        Self(timeout.map(|timeout| arrival + timeout.min(LONGEST)))
    }

    /// When that is; none where the call may take as long as it takes.
    pub(super) fn at(self) -> Option<Instant> {
        self.0
    }

    /// Waits for something until then at most. What is under way goes on: only the answer is not waited for.
    pub(super) async fn bound<T>(self, work: impl Future<Output = T>) -> Result<T, Fault> {
        match self.0 {
            None => Ok(work.await),
            Some(at) => tokio::time::timeout_at(at.into(), work).await.map_err(|_| Fault::deadline()),
        }
    }

    /// Waits until then; for ever where there is none.
    pub(super) async fn passed(self) {
        match self.0 {
            None => std::future::pending().await,
            Some(at) => tokio::time::sleep_until(at.into()).await,
        }
    }
}

fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > DIGITS_MAX || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0_u64, |number, digit| number * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(number * 3600)),
        b'M' => Some(Duration::from_secs(number * 60)),
        b'S' => Some(Duration::from_secs(number)),
        b'm' => Some(Duration::from_millis(number)),
        b'u' => Some(Duration::from_micros(number)),
        b'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::parse;

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("99999999M", Some(Duration::from_secs(5_999_999_940))),
            ("5S", Some(Duration::from_secs(5))),
            ("100m", Some(Duration::from_millis(100))),
            ("7u", Some(Duration::from_micros(7))),
            ("0n", Some(Duration::ZERO)),
            ("999999999S", None),
            ("S", None),
            ("", None),
            ("-1S", None),
            ("1s", None),
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        }
    }
}
