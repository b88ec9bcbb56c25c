//! Traces: jobs as they were submitted, from the Standard Workload Format or CSV.
//!
//! The Standard Workload Format is described at <https://www.cs.huji.ac.il/labs/parallel/workload/swf.html>: a job a
//! line, 18 numbers, -1 for what is not known, comments after `;`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::Duration;

use flate2::bufread::MultiGzDecoder;
use headgate_ledger::{Amounts, PRIORITY_MAX, Resource, SPAN_MAX, TenantPath, Time};

use crate::config::{Place, Problem, Problems, decimal, parse_amount, shown};

/// Bytes of one line; the longest of real traces, comments included, have some hundreds.
pub const LINE_BYTES_MAX: usize = 64 << 10;
/// Bytes of a whole trace, unpacked.
pub const TRACE_BYTES_MAX: u64 = 4 << 30;
/// Jobs of one trace: a hundred times the largest that are published.
pub const JOBS_MAX: usize = 10_000_000;
/// Bad lines that are named before reading gives up.
const BAD_LINES_MAX: usize = 10;

/// A job of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// On whose quota.
    pub tenant: TenantPath,
    /// When it was submitted, after the start of the trace.
    pub submit: Duration,
    /// How long it runs.
    pub duration: Duration,
    /// How long it was declared to run.
    pub declared: Duration,
    /// Higher comes first.
    pub priority: i32,
    /// What it asks for.
    pub resources: Amounts,
}

/// A trace, parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// When it starts, where it says so.
    pub start: Option<Time>,
    /// Its jobs, in the order of submission.
    pub jobs: Vec<Job>,
    /// Jobs that never ran, by what the trace says of them: without a run time, or without processors.
    pub skipped: usize,
}

impl Trace {
    /// Reads a `.swf` or `.csv` file, packed by gzip or not.
    pub fn read(path: &Path) -> Result<Self, Problems> {
        let name = path.display().to_string();
        let unreadable = |error: std::io::Error| Problems::whole(&name, format!("the file cannot be read: {error}"));
        let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
        let packed = file.fill_buf().map_err(unreadable)?.starts_with(&[0x1f, 0x8b]);
        let reader: Box<dyn BufRead> =
            if packed { Box::new(BufReader::new(MultiGzDecoder::new(file))) } else { Box::new(file) };
        let plain = name.strip_suffix(".gz").unwrap_or(&name);
        if plain.ends_with(".swf") {
            Self::read_swf(&name, reader)
        } else if plain.ends_with(".csv") {
            Self::read_csv(&name, reader)
        } else {
            Err(Problems::whole(&name, "a trace is a .swf or .csv file, or one of these with .gz after it"))
        }
    }

    /// Reads the Standard Workload Format; `file` is what it is called in errors.
    pub fn read_swf(file: &str, reader: impl BufRead) -> Result<Self, Problems> {
        Self::read_lines(file, reader, |trace, line| trace.swf_line(line))
    }

    /// Reads CSV; `file` is what it is called in errors.
    pub fn read_csv(file: &str, reader: impl BufRead) -> Result<Self, Problems> {
        let mut columns = None;
        Self::read_lines(file, reader, |trace, line| match &columns {
            None => {
                columns = Some(csv_header(line)?);
                Ok(())
            }
            Some(columns) => trace.csv_line(line, columns),
        })
    }

    fn read_lines(
        file: &str,
        reader: impl BufRead,
        mut take: impl FnMut(&mut Self, &str) -> Result<(), String>,
    ) -> Result<Self, Problems> {
        let mut reader = reader.take(TRACE_BYTES_MAX);
        let (mut trace, mut problems) = (Self::default(), Vec::new());
        let mut bytes = Vec::new();
        for line in 1_u64.. {
            let at = |what: String| Problem { place: Some(Place { line, column: 1 }), what };
            bytes.clear();
            let limit = LINE_BYTES_MAX as u64 + 1;
            let read = reader.by_ref().take(limit).read_until(b'\n', &mut bytes);
            let fatal = match read {
                Err(error) => Some(format!("the file cannot be read on: {error}")),
                Ok(0) if reader.limit() == 0 => Some(format!("the trace is longer than {} GiB", TRACE_BYTES_MAX >> 30)),
                Ok(0) => break,
                Ok(_) if bytes.len() > LINE_BYTES_MAX => {
                    Some(format!("this line is longer than {LINE_BYTES_MAX} bytes"))
                }
                Ok(_) if trace.jobs.len() >= JOBS_MAX => Some(format!("the trace has more than {JOBS_MAX} jobs")),
                Ok(_) => None,
            };
            if let Some(what) = fatal {
                problems.push(at(what));
                break;
            }
            let text = std::str::from_utf8(&bytes).map_err(|_| "this line is not UTF-8 text".to_owned());
            if let Err(what) = text.and_then(|text| take(&mut trace, text.trim_end_matches(['\n', '\r']))) {
                problems.push(at(what));
                if problems.len() >= BAD_LINES_MAX {
                    break;
                }
            }
        }
        if problems.is_empty() && trace.jobs.is_empty() {
            problems.push(Problem::whole("there is no job in this trace"));
        }
        if !problems.is_empty() {
            return Err(Problems { file: file.to_owned(), problems });
        }
        trace.jobs.sort_by_key(|job| job.submit);
        Ok(trace)
    }

    /// Every tenant that has a job.
    pub fn tenants(&self) -> BTreeSet<&TenantPath> {
        self.jobs.iter().map(|job| &job.tenant).collect()
    }

    fn swf_line(&mut self, line: &str) -> Result<(), String> {
        const FIELDS: usize = 18;
        let line = line.trim();
        if let Some(comment) = line.strip_prefix(';') {
            if let Some(seconds) = comment.trim().strip_prefix("UnixStartTime:") {
                self.start =
                    seconds.trim().parse::<u64>().ok().map(|seconds| Time::EPOCH.after(Duration::from_secs(seconds)));
            }
            return Ok(());
        }
        if line.is_empty() {
            return Ok(());
        }
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        if fields.len() != FIELDS {
            return Err(format!("a job has {FIELDS} fields, this line has {}", fields.len()));
        }
        let seconds = |at: usize, what: &str| seconds_or_unknown(fields[at - 1]).map_err(|why| field(at, what, &why));
        let number = |at: usize, what: &str| {
            let text = fields[at - 1];
            text.parse::<i64>().map_err(|_| field(at, what, &format!("{} is no whole number", shown(text))))
        };
        let submit = seconds(2, "submit time")?;
        let run = seconds(4, "run time")?;
        let (allocated, requested) = (number(5, "allocated processors")?, number(8, "requested processors")?);
        let declared = seconds(9, "requested time")?;
        let (user, group) = (number(12, "user")?, number(13, "group")?);
        let processors = if allocated > 0 { allocated } else { requested };
        let (Some(duration), true) = (run, processors > 0) else {
            self.skipped += 1;
            return Ok(());
        };
        let submit = submit.ok_or_else(|| field(2, "submit time", "it is not known"))?;
        let path = format!("g{group}/u{user}");
        let cpu = Resource::parse("cpu").map_err(|error| error.to_string())?;
        let millicores = u64::try_from(processors).unwrap_or(0).saturating_mul(1000);
        self.jobs.push(Job {
            tenant: TenantPath::parse(&path).map_err(|error| error.to_string())?,
            submit,
            duration,
            declared: declared.unwrap_or(duration),
            priority: 0,
            resources: Amounts::new([(cpu, millicores)]).map_err(|error| field(5, "processors", &error.to_string()))?,
        });
        Ok(())
    }

    fn csv_line(&mut self, line: &str, resources: &[Resource]) -> Result<(), String> {
        if line.is_empty() {
            return Ok(());
        }
        let record = csv_record(line)?;
        let expected = COLUMNS.len() + resources.len();
        if record.len() != expected {
            return Err(format!("the header has {expected} columns, this line has {}", record.len()));
        }
        let text = |at: usize| record.get(at).unwrap_or("").trim();
        let span = |at: usize| match seconds_or_unknown(text(at)) {
            Ok(Some(span)) => Ok(span),
            Ok(None) => Err(format!("{}: it is not known", COLUMNS[at])),
            Err(why) => Err(format!("{}: {why}", COLUMNS[at])),
        };
        let priority = match text(4) {
            "" => 0,
            text => match text.parse::<i32>() {
                Ok(priority) if priority.unsigned_abs() <= PRIORITY_MAX.unsigned_abs() => priority,
                _ => return Err(format!("priority: {} is no whole number within a billion of 0", shown(text))),
            },
        };
        let mut amounts = Vec::new();
        for (resource, at) in resources.iter().zip(COLUMNS.len()..) {
            if !text(at).is_empty() {
                let amount = parse_amount(text(at), resource.as_str()).map_err(|error| error.to_string())?;
                amounts.push((resource.clone(), amount));
            }
        }
        let duration = span(3)?;
        self.jobs.push(Job {
            tenant: TenantPath::parse(text(1)).map_err(|error| error.to_string())?,
            submit: span(2)?,
            duration,
            declared: duration,
            priority,
            resources: Amounts::new(amounts).map_err(|error| error.to_string())?,
        });
        Ok(())
    }
}

/// What a CSV trace starts with; resources follow.
const COLUMNS: [&str; 5] = ["id", "tenant", "submit", "duration", "priority"];

fn csv_record(line: &str) -> Result<csv::StringRecord, String> {
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).buffer_capacity(line.len().max(1)).from_reader(line.as_bytes());
    let mut record = csv::StringRecord::new();
    reader.read_record(&mut record).map_err(|error| error.to_string())?;
    Ok(record)
}

fn csv_header(line: &str) -> Result<Vec<Resource>, String> {
    let record = csv_record(line.trim_start_matches('\u{feff}'))?;
    let names: Vec<&str> = record.iter().map(str::trim).collect();
    let expected = COLUMNS.join(",");
    let Some(resources) = names.strip_prefix(&COLUMNS) else {
        return Err(format!("the header is not {expected} and then names of resources"));
    };
    if resources.is_empty() {
        return Err(format!("no resource is named after {expected}: add one, such as cpu"));
    }
    let mut seen = BTreeSet::new();
    let parse = |name: &&str| {
        let resource = Resource::parse(name).map_err(|error| error.to_string())?;
        if seen.insert(resource.clone()) { Ok(resource) } else { Err(format!("resource {resource} is named twice")) }
    };
    resources.iter().map(parse).collect()
}

fn field(at: usize, what: &str, why: &str) -> String {
    format!("field {at}, {what}: {why}")
}

/// Seconds, with decimals or not; none for -1, which stands for what is not known.
fn seconds_or_unknown(text: &str) -> Result<Option<Duration>, String> {
    const NANO_DECIMALS: u32 = 9;
    if text.starts_with('-') {
        return match text.trim_end_matches(['0', '.']) {
            "-1" => Ok(None),
            _ => Err(format!("{} is negative: seconds are zero or more, -1 where they are not known", shown(text))),
        };
    }
    match decimal(text, NANO_DECIMALS).map(Duration::from_nanos) {
        Some(span) if span <= SPAN_MAX => Ok(Some(span)),
        Some(_) => Err(format!("{} seconds are more than a hundred years", shown(text))),
        None => Err(format!("{} is no number of seconds", shown(text))),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{LINE_BYTES_MAX, Trace};

    fn swf(text: &str) -> Result<Trace, String> {
        Trace::read_swf("t.swf", text.as_bytes()).map_err(|problems| problems.to_string())
    }

    fn csv(text: &str) -> Result<Trace, String> {
        Trace::read_csv("t.csv", text.as_bytes()).map_err(|problems| problems.to_string())
    }

    #[test]
    fn the_standard_workload_format_is_read() {
        let trace = swf("; UnixStartTime: 749457803\n;  Note: x\n\n\
            2 20 -1 10 4 -1 -1 8 60 -1 1 3 1 -1 -1 -1 -1 -1\n\
            1 10.5 -1 10 -1 -1 -1 8 -1 -1 1 7 -1 -1 -1 -1 -1 -1\r\n\
            3 30 -1 -1 4 -1 -1 8 60 -1 5 3 1 -1 -1 -1 -1 -1\n\
            4 30 -1 10 0 -1 -1 -1 60 -1 5 3 1 -1 -1 -1 -1 -1")
        .expect("a trace");
        assert_eq!((trace.jobs.len(), trace.skipped), (2, 2));
        let [first, second] = &trace.jobs[..] else { panic!("two jobs") };
        assert_eq!(first.submit, Duration::from_millis(10_500), "in the order of submission");
        assert_eq!((first.tenant.as_str(), first.resources.get("cpu")), ("g-1/u7", Some(8_000)));
        assert_eq!(first.declared, first.duration, "what is not known is the run time");
        assert_eq!((second.tenant.as_str(), second.resources.get("cpu")), ("g1/u3", Some(4_000)));
        assert_eq!(second.declared, Duration::from_secs(60));
        assert_eq!(trace.start.map(|start| start.nanos()), Some(749_457_803_000_000_000));
    }

    #[test]
    fn csv_is_read() {
        let trace = csv("id,tenant,submit,duration,priority,cpu,nvidia.com/gpu\n\
            a,acme/ml,0,90.5,5,500m,1\n\
            \"b\",acme,1,10,,2,\n")
        .expect("a trace");
        assert_eq!(trace.jobs[0].resources.get("cpu"), Some(500));
        assert_eq!((trace.jobs[0].duration, trace.jobs[0].priority), (Duration::from_millis(90_500), 5));
        assert_eq!((trace.jobs[1].resources.get("nvidia.com/gpu"), trace.jobs[1].priority), (None, 0));
    }

    #[test]
    fn bad_lines_are_named() {
        for (text, expected) in [
            ("1 2 3\n", "t.swf:1:1: a job has 18 fields, this line has 3"),
            (
                "; x\n1 x -1 10 4 -1 -1 8 60 -1 1 3 1 -1 -1 -1 -1 -1\n",
                "t.swf:2:1: field 2, submit time: \"x\" is no number of seconds",
            ),
            ("1 -1 -1 10 4 -1 -1 8 60 -1 1 3 1 -1 -1 -1 -1 -1\n", "t.swf:1:1: field 2, submit time: it is not known"),
            (
                "1 0 -1 -7 4 -1 -1 8 60 -1 1 3 1 -1 -1 -1 -1 -1\n",
                "t.swf:1:1: field 4, run time: \"-7\" is negative: seconds are zero or more, -1 where they are not known",
            ),
            (
                "1 0 -1 99999999999 4 -1 -1 8 60 -1 1 3 1 -1 -1 -1 -1 -1\n",
                "t.swf:1:1: field 4, run time: \"99999999999\" is no number of seconds",
            ),
            (
                "1 0 -1 1 9999999999999999999 -1 -1 8 60 -1 1 3 1 -1 -1 -1 -1 -1\n",
                "t.swf:1:1: field 5, allocated processors: \"9999999999999999999\" is no whole number",
            ),
            ("; nothing\n", "t.swf: there is no job in this trace"),
        ] {
            assert_eq!(swf(text).expect_err(text), expected);
        }
        for (text, expected) in [
            ("", "t.csv: there is no job in this trace"),
            (
                "id,tenant,submit\n",
                "t.csv:1:1: the header is not id,tenant,submit,duration,priority and then names of resources",
            ),
            (
                "id,tenant,submit,duration,priority\n",
                "t.csv:1:1: no resource is named after id,tenant,submit,duration,priority: add one, such as cpu",
            ),
            ("id,tenant,submit,duration,priority,cpu,cpu\n", "t.csv:1:1: resource cpu is named twice"),
            (
                "id,tenant,submit,duration,priority,cpu\na,a,0,1\n",
                "t.csv:2:1: the header has 6 columns, this line has 4",
            ),
            (
                "id,tenant,submit,duration,priority,cpu\na,A,0,1,0,1\n",
                "t.csv:2:1: name \"A\" is not 1 to 63 of a-z, 0-9 and -, with a letter or digit at both ends",
            ),
            (
                "id,tenant,submit,duration,priority,cpu\na,a,0,1,0,1x\n",
                "t.csv:2:1: amount \"1x\" of cpu has the unknown suffix \"x\": use m, k, M, G, T, P, E or Ki, Mi, Gi, Ti, Pi, Ei",
            ),
            (
                "id,tenant,submit,duration,priority,cpu\na,a,0,,0,1\n",
                "t.csv:2:1: duration: \"\" is no number of seconds",
            ),
            (
                "id,tenant,submit,duration,priority,cpu\na,a,0,1,high,1\n",
                "t.csv:2:1: priority: \"high\" is no whole number within a billion of 0",
            ),
        ] {
            assert_eq!(csv(text).expect_err(text).lines().next(), Some(expected));
        }
        let told = swf(&"x\n".repeat(100)).expect_err("bad lines");
        assert_eq!(told.lines().count(), 10, "no more than ten are told");
        let long = swf(&format!("; {}\n", "x".repeat(LINE_BYTES_MAX))).expect_err("a long line");
        assert_eq!(long, "t.swf:1:1: this line is longer than 65536 bytes");
        assert!(Trace::read_swf("t", &b"\xff\xfe\n"[..]).is_err());
    }

    #[test]
    fn packed_files_are_read_and_other_kinds_are_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("t.swf.gz");
        let file = std::fs::File::create(&path).expect("a file");
        let mut packer = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        packer.write_all(b"1 0 -1 10 4 -1 -1 8 60 -1 1 3 1 -1 -1 -1 -1 -1\n").expect("written");
        packer.finish().expect("packed");
        assert_eq!(Trace::read(&path).expect("a trace").jobs.len(), 1);
        let other = folder.path().join("t.txt");
        std::fs::write(&other, "x").expect("written");
        let told = Trace::read(&other).expect_err("no trace").to_string();
        assert!(told.ends_with("a trace is a .swf or .csv file, or one of these with .gz after it"), "{told}");
        std::fs::write(&path, b"\x1f\x8bbroken").expect("written");
        assert!(Trace::read(&path).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_text_makes_the_readers_panic(text in "\\PC{0,200}", numbers in "([0-9.; -]{1,12}[ \n]){0,40}", line in "[a-z0-9,\".\n-]{0,80}") {
            let _ = (swf(&text), swf(&numbers), csv(&text));
            let _ = csv(&format!("id,tenant,submit,duration,priority,cpu\n{line}"));
        }
    }
}
