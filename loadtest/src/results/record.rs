//! What was measured, as it is kept: for the page, and for whoever compares two of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::part::Name;
use crate::fault::Fault;
use crate::outcome::Outcome;
use crate::outcome::named::Figure;
use crate::outcome::ratio::Ratio;

/// The version of the form; another one is refused.
const VERSION: u32 = 1;
/// More than that is no record.
const BYTES_MAX: u64 = 16 << 20;

/// All parts that were measured, each when it was.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Record {
    version: u32,
    pub(crate) parts: BTreeMap<Name, Measured>,
}

/// One part, measured.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Measured {
    pub(crate) machine: Machine,
    /// What was measured, as git names it.
    pub(crate) revision: Option<String>,
    /// Whether it was measured briefly.
    pub(crate) quick: bool,
    /// The part of all cores' time that others used meanwhile.
    pub(crate) others: Option<f64>,
    /// What whoever measured has said of it.
    pub(crate) note: Option<String>,
    pub(crate) rows: Vec<Row>,
    /// What the load test remarked, each thing once.
    pub(crate) remarks: BTreeSet<String>,
    /// What could not be measured, and why.
    pub(crate) skipped: Vec<String>,
    /// What failed, and why.
    pub(crate) failed: Vec<String>,
}

/// A line of a table.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Row {
    pub(crate) what: String,
    /// How it was measured: lines of a shell, with the ports that servers have where nothing else is said.
    pub(crate) command: Vec<String>,
    /// Whether its figures are ratios of the line before the last one to the last.
    pub(crate) is_ratio: bool,
    pub(crate) figures: BTreeMap<String, Value>,
}

/// A figure.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Value {
    pub(crate) value: f64,
    /// From where to where: what was seen, or for a ratio or a benchmark, with 95 % confidence.
    pub(crate) within: Option<(f64, f64)>,
}

impl Value {
    pub(crate) fn exact(value: f64) -> Self {
        Self { value, within: None }
    }
}

impl Record {
    pub(crate) fn new() -> Self {
        Self { version: VERSION, parts: BTreeMap::new() }
    }

    /// The one of a file; an empty one where there is no file.
    pub(crate) fn read(path: &Path) -> Result<Self, Fault> {
        let refuse = |what: String| {
            Fault::Usage(format!("{} is no record of results: {what}; remove it to begin anew", path.display()))
        };
        match std::fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::new()),
            Err(error) => return Err(refuse(error.to_string())),
            Ok(file) if file.len() > BYTES_MAX => return Err(refuse(format!("it has more than {BYTES_MAX} bytes"))),
            Ok(_) => {}
        }
        let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
        let record: Self = serde_json::from_str(&text).map_err(|error| refuse(error.to_string()))?;
        if record.version != VERSION {
            return Err(refuse(format!("it is of version {}, and only {VERSION} is known", record.version)));
        }
        Ok(record)
    }

    /// Written so that a change of one figure changes one line.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Fault> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Fault::Failed(format!("no JSON can be made of what was measured: {error}")))?;
        super::write(path, &format!("{text}\n"))
    }

    /// A figure that was measured, by its part, its line and its name.
    pub(crate) fn figure(&self, part: Name, what: &str, figure: &str) -> Option<Value> {
        let row = self.parts.get(&part)?.rows.iter().find(|row| row.what == what && !row.is_ratio)?;
        row.figures.get(figure).copied()
    }
}

impl Row {
    /// A line of one figure.
    pub(crate) fn single(what: &str, command: &str, figure: &str, value: Value) -> Self {
        let figures = BTreeMap::from([(figure.to_owned(), value)]);
        Self { what: what.to_owned(), command: vec![command.to_owned()], is_ratio: false, figures }
    }

    /// What came of a target: the median of each figure, and the least and the most.
    pub(crate) fn of_outcome(what: &str, command: Vec<String>, outcome: &Outcome) -> Self {
        let value = |figure: Figure| {
            let median = outcome.median(|run| figure.of(run).unwrap_or(f64::NAN)).filter(|of| of.median.is_finite())?;
            let value = Value { value: median.median, within: Some((median.least, median.most)) };
            Some((figure.word().to_owned(), value))
        };
        let figures = Figure::COMPARED.into_iter().filter_map(value).collect();
        Self { what: what.to_owned(), command, is_ratio: false, figures }
    }

    /// How two targets compare.
    pub(crate) fn of_ratios(ratios: &[Ratio]) -> Self {
        let value = |ratio: &Ratio| {
            let within = ratio.within.map(|within| (within.low, within.high));
            (ratio.figure.clone(), Value { value: ratio.mean, within })
        };
        let figures = ratios.iter().map(value).collect();
        Self { what: "the first to the second".to_owned(), command: Vec::new(), is_ratio: true, figures }
    }
}

#[cfg(test)]
mod tests {
    use super::{Record, Row, Value};
    use crate::fault::Fault;

    #[test]
    fn a_record_reads_back_and_what_is_none_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("record.json");
        assert!(Record::read(&path).expect("none yet").parts.is_empty());
        Record::new().write(&path).expect("written");
        assert!(Record::read(&path).expect("read").parts.is_empty());
        for (text, expected) in [("{\"version\": 7, \"parts\": {}}", "of version 7"), ("[", "is no record of results")]
        {
            std::fs::write(&path, text).expect("written");
            let refused = Record::read(&path).expect_err(expected);
            assert!(matches!(&refused, Fault::Usage(what) if what.contains(expected)), "{refused}");
        }
    }

    #[test]
    fn a_line_of_one_figure_has_it() {
        let row = Row::single("admit", "just counts", "instructions", Value::exact(7.0));
        assert_eq!(row.figures["instructions"], Value { value: 7.0, within: None });
    }
}
