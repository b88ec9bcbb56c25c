//! Logs of HdrHistogram (version 2 of its interval log): a histogram a second, for its own tools.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::IntervalLogWriterBuilder;

use super::Outcome;
use super::figures::unpacked;

/// Latencies in these logs are in nanoseconds, and shown in milliseconds.
const SHOWN_IN_NS: f64 = 1e6;

/// Writes all seconds of all repetitions, each tagged with its repetition's number.
pub(crate) fn write(outcome: &Outcome, began: SystemTime, out: &mut impl Write) -> io::Result<()> {
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder
        .add_comment(&outcome.target)
        .with_start_time(began)
        .with_base_time(began)
        .with_max_value_divisor(SHOWN_IN_NS);
    let mut log = builder.begin_log_with(out, &mut serializer)?;
    let mut before = Duration::ZERO;
    for (at, run) in outcome.runs.iter().enumerate() {
        let tag = format!("run-{}", at + 1);
        for second in &run.by_second {
            let Some(latencies) = unpacked(&second.histogram) else { continue };
            let start = before + Duration::from_secs(second.at_s);
            let tag = hdrhistogram::serialization::interval_log::Tag::new(&tag);
            log.write_histogram(&latencies, start, Duration::from_secs(1), tag)
                .map_err(|error| io::Error::other(format!("{error:?}")))?;
        }
        before += Duration::from_secs_f64(run.seconds.ceil());
    }
    Ok(())
}
