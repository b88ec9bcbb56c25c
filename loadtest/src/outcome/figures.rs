//! The figures of one run, made of what its generators counted.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};
use headgate_proto::v1::Reason;
use serde::{Deserialize, Serialize};

use crate::calls::Kind;
use crate::drive::fleet::{Look, Measured};
use crate::tally::{Tally, histogram};

/// One run.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Run {
    /// How long was measured.
    pub(crate) seconds: f64,
    /// Operations that were answered.
    pub(crate) operations: u64,
    /// Operations a second.
    pub(crate) rate: f64,
    /// Operations that a schedule asked for, a second; none in a closed loop.
    pub(crate) asked_rate: Option<f64>,
    /// Operations that a schedule asked for and that were never sent.
    pub(crate) unsent: u64,
    pub(crate) latency: Latency,
    pub(crate) kinds: BTreeMap<String, Latency>,
    pub(crate) decisions: BTreeMap<String, u64>,
    pub(crate) errors: BTreeMap<String, u64>,
    /// What was said of the first of each kind of error.
    pub(crate) examples: BTreeMap<String, String>,
    /// The longest time without an answer to anybody, and when it began.
    pub(crate) longest_gap_s: f64,
    pub(crate) longest_gap_at_s: f64,
    /// The server, where it runs on this machine.
    pub(crate) server: Option<Server>,
    pub(crate) client: Client,
    pub(crate) by_second: Vec<Second>,
    /// What is to be known before the figures are believed.
    pub(crate) remarks: Vec<String>,
    /// All latencies in nanoseconds, as HdrHistogram writes them (V2, packed, base64).
    pub(crate) histogram: String,
    /// The same of each kind, where there are several; what was written before there was this has none.
    #[serde(default)]
    pub(crate) kind_histograms: BTreeMap<String, String>,
}

/// Latencies, in microseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq)]
pub(crate) struct Latency {
    pub(crate) count: u64,
    pub(crate) mean_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) p9999_us: f64,
    pub(crate) max_us: f64,
}

/// What the server used.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Server {
    pub(crate) cpu_us_per_operation: f64,
    /// What of that was spent on the threads of those who asked: the engine is one of our own. What memory and handles are
    /// told is of this process as a whole then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deciding_us_per_operation: Option<f64>,
    /// Cores that were busy on average.
    pub(crate) cores: f64,
    pub(crate) rss_bytes: u64,
    pub(crate) handles: u64,
    /// Over time.
    pub(crate) looks: Vec<Resident>,
}

/// The server's memory and handles at one time.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Resident {
    pub(crate) at_s: f64,
    pub(crate) rss_bytes: u64,
    pub(crate) handles: u64,
}

/// What the generators used.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Client {
    pub(crate) cpu_us_per_operation: f64,
    pub(crate) cores: f64,
    /// The part of the time that the busiest generator's thread was on a core.
    pub(crate) busiest: f64,
    /// How late operations were sent that there was room for.
    pub(crate) lag: Latency,
}

/// One second of a run.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Second {
    pub(crate) at_s: u64,
    pub(crate) errors: u64,
    pub(crate) latency: Latency,
    /// As of the whole run.
    pub(crate) histogram: String,
}

impl Latency {
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile| micros(histogram.value_at_quantile(quantile));
        Self {
            count: histogram.len(),
            mean_us: histogram.mean() / 1e3,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            p9999_us: at(0.9999),
            max_us: micros(histogram.max()),
        }
    }
}

fn micros(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e3
}

/// A histogram as text.
pub(crate) fn packed(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    // Writing to memory does not fail.
    let _ = V2DeflateSerializer::new().serialize(histogram, &mut bytes);
    BASE64.encode(bytes)
}

/// A histogram from text; none where it is none.
pub(crate) fn unpacked(text: &str) -> Option<Histogram<u64>> {
    let bytes = BASE64.decode(text).ok()?;
    Deserializer::new().deserialize(&mut bytes.as_slice()).ok()
}

/// Adds one histogram to another. All are of one form, so that all of it fits.
pub(crate) fn add(total: &mut Histogram<u64>, more: &Histogram<u64>) {
    let added = total.add(more);
    debug_assert!(added.is_ok());
}

impl Run {
    /// Of what was measured; `asked` is how many operations a schedule asked for.
    pub(crate) fn of(measured: &Measured, asked: Option<f64>) -> Self {
        let Measured { tallies, seconds, busy, deciding, gap, looks } = measured;
        let mut total = histogram();
        let (mut kinds, mut kind_histograms) = (BTreeMap::new(), BTreeMap::new());
        for kind in Kind::ALL {
            let mut of_kind = histogram();
            tallies.iter().for_each(|tally| add(&mut of_kind, &tally.latencies[kind as usize]));
            if !of_kind.is_empty() {
                kinds.insert(kind.word().to_owned(), Latency::of(&of_kind));
                kind_histograms.insert(kind.word().to_owned(), packed(&of_kind));
                add(&mut total, &of_kind);
            }
        }
        if kinds.len() < 2 {
            kind_histograms.clear();
        }
        let mut lag = histogram();
        tallies.iter().for_each(|tally| add(&mut lag, &tally.lag));
        let operations = total.len();
        let each = |cores: f64| cores * seconds * 1e6 / (operations as f64).max(1.0);
        // Deciding is the engine's, whatever thread it is done on.
        let cores = busy.iter().sum::<f64>() - deciding.unwrap_or(0.0);
        let mut examples = BTreeMap::new();
        for (what, said) in tallies.iter().flat_map(|tally| &tally.examples) {
            examples.entry((*what).to_owned()).or_insert_with(|| said.clone());
        }
        Self {
            seconds: *seconds,
            operations,
            rate: operations as f64 / seconds,
            asked_rate: asked.map(|asked| asked / seconds),
            unsent: tallies.iter().map(|tally| tally.unsent).sum(),
            latency: Latency::of(&total),
            kinds,
            decisions: decisions(tallies),
            errors: counted(tallies.iter().flat_map(|tally| tally.errors.iter().map(|(what, count)| (*what, *count)))),
            examples,
            longest_gap_s: gap.0,
            longest_gap_at_s: gap.1,
            server: server(looks, operations).map(|server| server.deciding(deciding.map(|cores| (each(cores), cores)))),
            client: Client {
                cpu_us_per_operation: each(cores),
                cores,
                busiest: busy.iter().copied().fold(0.0, f64::max),
                lag: Latency::of(&lag),
            },
            by_second: by_second(tallies),
            remarks: Vec::new(),
            histogram: packed(&total),
            kind_histograms,
        }
    }

    /// The histograms of its kinds, by their names; of one kind alone it is that of all.
    pub(crate) fn by_kind(&self) -> impl Iterator<Item = (&str, &str)> {
        let only = self.kinds.keys().filter(|_| self.kinds.len() == 1).map(|kind| (kind.as_str(), &*self.histogram));
        let each = self.kind_histograms.iter().map(|(kind, histogram)| (kind.as_str(), histogram.as_str()));
        only.chain(each)
    }

    /// Whether it was an engine of our own that was driven.
    pub(crate) fn is_embedded(&self) -> bool {
        self.server.as_ref().is_some_and(|server| server.deciding_us_per_operation.is_some())
    }

    /// Calls and operations that failed.
    pub(crate) fn failures(&self) -> u64 {
        self.errors.values().sum()
    }
}

impl Server {
    /// With what was spent on the threads of those who asked: microseconds of each operation, and cores.
    fn deciding(self, spent: Option<(f64, f64)>) -> Self {
        let Some((each_us, cores)) = spent else { return self };
        Self {
            cpu_us_per_operation: self.cpu_us_per_operation + each_us,
            deciding_us_per_operation: Some(each_us),
            cores: self.cores + cores,
            ..self
        }
    }
}

fn counted<'a>(counts: impl Iterator<Item = (&'a str, u64)>) -> BTreeMap<String, u64> {
    let mut total = BTreeMap::new();
    for (what, count) in counts.filter(|(_, count)| *count > 0) {
        *total.entry(what.to_owned()).or_default() += count;
    }
    total
}

fn decisions(tallies: &[Tally]) -> BTreeMap<String, u64> {
    let named = tallies.iter().flat_map(|tally| {
        let plain = [
            ("allow", tally.allowed),
            ("queue", tally.queued),
            ("done", tally.done),
            ("within-limit", tally.within_limit),
            ("over-limit", tally.over_limit),
        ];
        let denied = tally.denied.iter().enumerate().map(|(reason, count)| {
            // A webhook gives no reason that programs read.
            let word = Reason::try_from(reason as i32).ok().filter(|reason| *reason != Reason::Unspecified);
            (word.map_or_else(|| "deny".to_owned(), |reason| format!("deny: {}", reason.word())), *count)
        });
        plain.map(|(what, count)| (what.to_owned(), count)).into_iter().chain(denied).collect::<Vec<_>>()
    });
    let named: Vec<(String, u64)> = named.collect();
    counted(named.iter().map(|(what, count)| (what.as_str(), *count)))
}

fn server(looks: &[Look], operations: u64) -> Option<Server> {
    let (first, last) = (looks.first()?, looks.last()?);
    let (cpu_s, seconds) = (last.usage.cpu_s - first.usage.cpu_s, last.at_s - first.at_s);
    let resident =
        |look: &Look| Resident { at_s: look.at_s, rss_bytes: look.usage.rss_bytes, handles: look.usage.handles };
    Some(Server {
        cpu_us_per_operation: cpu_s * 1e6 / (operations as f64).max(1.0),
        deciding_us_per_operation: None,
        cores: if seconds > 0.0 { cpu_s / seconds } else { 0.0 },
        rss_bytes: last.usage.rss_bytes,
        handles: last.usage.handles,
        looks: looks.iter().map(resident).collect(),
    })
}

fn by_second(tallies: &[Tally]) -> Vec<Second> {
    let mut seconds: BTreeMap<u64, (Histogram<u64>, u64)> = BTreeMap::new();
    for second in tallies.iter().flat_map(|tally| &tally.seconds) {
        let (latencies, errors) = seconds.entry(second.at).or_insert_with(|| (histogram(), 0));
        if let Ok(read) = Deserializer::new().deserialize(&mut second.latencies.as_slice()) {
            add(latencies, &read);
        }
        *errors += second.errors;
    }
    let made = |(at_s, (latencies, errors)): (u64, (Histogram<u64>, u64))| Second {
        at_s,
        errors,
        latency: Latency::of(&latencies),
        histogram: packed(&latencies),
    };
    seconds.into_iter().map(made).collect()
}

#[cfg(test)]
mod tests {
    use super::{Run, unpacked};
    use crate::calls::Kind;
    use crate::drive::fleet::{Look, Measured};
    use crate::process::Usage;
    use crate::tally::{Outcome, Tally};

    fn tally(latencies: &[u64]) -> Tally {
        let mut tally = Tally::new();
        for (at, latency) in latencies.iter().enumerate() {
            tally.answered(Kind::Acquire, at as u64 * 500_000_000, *latency, Outcome::Allow);
        }
        tally.answered(Kind::Check, 1, 1_000, Outcome::Deny(3));
        tally.finish()
    }

    #[test]
    fn generators_are_counted_together() {
        let look = |at_s, cpu_s| Look { at_s, usage: Usage { cpu_s, rss_bytes: 7, handles: 8 } };
        let measured = Measured {
            tallies: vec![tally(&[1_000_000, 2_000_000, 3_000_000]), tally(&[4_000_000])],
            seconds: 2.0,
            busy: vec![0.5, 0.25],
            deciding: None,
            gap: (0.5, 1.0),
            looks: vec![look(0.0, 1.0), look(2.0, 1.5)],
        };
        let run = Run::of(&measured, Some(8.0));
        assert_eq!((run.operations, run.rate, run.asked_rate), (6, 3.0, Some(4.0)));
        assert_eq!((run.kinds["acquire"].count, run.kinds["check"].count), (4, 2));
        assert_eq!((run.decisions["allow"], run.decisions["deny: no-capacity"]), (4, 2));
        assert!((run.latency.max_us / 4000.0 - 1.0).abs() < 0.01, "{:?}", run.latency);
        assert_eq!(run.by_second.iter().map(|second| second.latency.count).collect::<Vec<_>>(), [5, 1]);
        let server = run.server.expect("looked at");
        assert!((server.cpu_us_per_operation - 0.5e6 / 6.0).abs() < 1.0 && server.cores == 0.25, "{server:?}");
        assert_eq!((run.client.cores, run.client.busiest), (0.75, 0.5));
        // Half a core of the generators was an engine of our own.
        let embedded = Run::of(&Measured { deciding: Some(0.5), ..measured }, Some(8.0));
        let server = embedded.server.expect("looked at");
        assert!((server.cpu_us_per_operation - 1.5e6 / 6.0).abs() < 1.0 && server.cores == 0.75, "{server:?}");
        assert!(server.deciding_us_per_operation.is_some_and(|each| (each - 1e6 / 6.0).abs() < 1.0), "{server:?}");
        assert_eq!((embedded.client.cores, embedded.client.busiest), (0.25, 0.5));
        assert_eq!(unpacked(&run.histogram).expect("a histogram").len(), 6);
    }
}
