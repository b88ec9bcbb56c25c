//! What is printed, and where. Only what was asked for goes to standard output.

use std::io::{self, Write as _};

use clap::ValueEnum;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use serde_json::Value;

/// What is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// Where answers are printed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    /// How.
    pub(super) format: Format,
}

impl Output {
    pub(super) fn new(format: Format) -> Self {
        Self { format }
    }

    /// Prints an answer, in whichever form was asked for.
    pub(super) fn print(self, json: impl FnOnce() -> Value, text: impl FnOnce() -> String) -> io::Result<()> {
        match self.format {
            Format::Json => line(&json().to_string()),
            Format::Text => raw(text().as_bytes()),
        }
    }
}

/// Prints a line.
pub(super) fn line(text: &str) -> io::Result<()> {
    raw(format!("{text}\n").as_bytes())
}

/// Prints bytes as they are.
pub(super) fn raw(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// Says something beside the answer, on standard error. Nobody is held up where that is closed.
pub(super) fn complain(what: &str) {
    let _ = writeln!(io::stderr().lock(), "headgate: {what}");
}

/// Which side of its column a table's cell stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A text as it may stand in a terminal: whatever a server says, nothing of it moves what stands around it.
fn shown(text: &str) -> String {
    let one = |char: char| -> String {
        if headgate_ledger::is_shown(char) { char.into() } else { char.escape_unicode().collect() }
    };
    text.chars().map(one).collect()
}

/// Lays rows out under their headings, without borders.
pub(super) fn table(columns: &[(&str, Side)], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|(name, _)| *name));
    table.add_rows(rows.into_iter().map(|row| row.into_iter().map(|cell| shown(&cell))));
    for (at, (_, side)) in columns.iter().enumerate() {
        if let Some(column) = table.column_mut(at) {
            column.set_padding((0, 2));
            column.set_cell_alignment(match side {
                Side::Left => CellAlignment::Left,
                Side::Right => CellAlignment::Right,
            });
        }
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
