//! Plots of what grows.

use std::path::Path;

use super::ledger::numbers;
use super::part::Name;
use super::record::Row;
use crate::fault::Fault;
use crate::outcome::plot::{Axis, Line, Plot};
use crate::outcome::text::{count, time};

/// Draws what there is to a part into a folder; the file's name, and what it shows, to those who do not see it.
pub(crate) fn draw(part: Name, rows: &[Row], folder: &Path) -> Result<Option<(&'static str, &'static str)>, Fault> {
    let mebibytes = |bytes: f64| format!("{} MiB", count((bytes / 1_048_576.0).round()));
    let last = |row: &Row| numbers(&row.what).last().map(|number| *number as f64);
    let held = |row: &Row| row.figures.get("held").map(|held| held.value);
    let (file, title, lines, x, y) = match part {
        Name::Ledger => (
            "growth.svg",
            "What a decision takes, as the ledger grows",
            vec![
                line("an admission, by leases", rows, "admit/", "median", &last),
                line("its release, by leases", rows, "release/", "median", &last),
                line("admits one, by tickets", rows, "release_admits_one/", "median", &last),
                line("of a victim, by claims", rows, "release_a_victim/", "median", &last),
            ],
            Axis::decades(&count),
            Axis::from_zero(&time),
        ),
        Name::Streams => (
            "streams.svg",
            "Operations a second, by operations in a message",
            vec![
                line("checks", rows, "checks,", "rate", &last),
                line("acquires and releases", rows, "acquires and releases,", "rate", &last),
            ],
            Axis::decades(&count),
            Axis::from_zero(&count),
        ),
        Name::Schedule => (
            "load.svg",
            "What a check takes, by the part of the highest rate, in hundredths",
            ["p50", "p99", "p99.9"].map(|figure| line(figure, rows, "`CheckQuota`,", figure, &last)).into(),
            Axis::linear(&count),
            Axis::from_zero(&time),
        ),
        Name::Memory => (
            "memory.svg",
            "The server's memory, by leases that are held",
            vec![line("resident", rows, "", "resident", &held)],
            Axis::linear(&count),
            Axis::from_zero(&mebibytes),
        ),
        Name::Instructions | Name::Calls | Name::Stores | Name::Kueue | Name::Peers => {
            return Ok(None);
        }
    };
    match (Plot { title, lines: &lines, x, y }).file() {
        None => Ok(None),
        Some(drawn) => super::write(&folder.join(file), &drawn).map(|()| Some((file, title))),
    }
}

/// The line of those whose names begin alike, by a number that they have.
fn line(name: &str, rows: &[Row], begins: &str, figure: &str, x: &dyn Fn(&Row) -> Option<f64>) -> Line {
    let alike = rows.iter().filter(|row| !row.is_ratio && row.what.starts_with(begins));
    let point = |row: &Row| Some((x(row)?, row.figures.get(figure)?.value));
    (name.to_owned(), alike.filter_map(point).collect())
}
