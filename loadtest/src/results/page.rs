//! The page: tables, plots, the commands, and what the figures do not say.

use std::fmt::Write as _;
use std::path::Path;

use super::ledger::numbers;
use super::part::{Column, Name, Unit};
use super::plots;
use super::record::{Measured, Record, Row, Value};
use super::servers::Kind;
use crate::fault::Fault;
use crate::outcome::text::{count, time};

const HEAD: &str = "\
# Results

`just results` measures all of this, and writes this page, its plots and their figures (`results.json`, beside the plots), on
any Linux machine with Rust; `just results --quick` takes minutes. Nothing here is written by hand. Where a figure matters to
you, measure it on your own machine.
";

const LIMITS: &str = "\
## What these figures do not say

- Nothing of a network: client and server are on one machine and share its cores, so that either waits at times for the other
  to be run. On a machine of few cores the server gets what the client leaves it: read the server's CPU for each operation
  rather than the rate.
- Where everything goes as fast as it can, a latency is what the operations in flight make of the rate (Little's law), not
  what a caller waits who asks now and then: that is told where a schedule begins them.
- The load is ten tenants in a flat tree, one resource, and requests that fit. What depth, width, waiting and reclaim cost is
  told by the ledger's figures, and not on the wire.
- One cell. What many of them would do on a machine of many cores is reckoned in ARCHITECTURE.md, not measured.
- A peer is asked what it can be asked, which is not the same question: a counter says less than a tree of quotas.
- An interval of a ratio says how far the same command would differ on the same machine at the time, not how far another
  machine would.
";

/// Writes the page of a record; plots go beside it.
pub(crate) fn write(record: &Record, page: &Path, beside: &Path) -> Result<(), Fault> {
    let mut plots = Vec::new();
    for (part, measured) in &record.parts {
        if let Some((file, title)) = plots::draw(*part, &measured.rows, beside)? {
            let folder = beside.file_name().unwrap_or_default().to_string_lossy();
            plots.push((*part, format!("![{title}]({folder}/{file})\n")));
        }
    }
    super::write(page, &of(record, &plots))
}

// Writing to a string does not fail: its results are of no interest below.

fn of(record: &Record, plots: &[(Name, String)]) -> String {
    let mut page = HEAD.to_owned();
    let mut machine = None;
    for (part, measured) in &record.parts {
        let _ = write!(page, "\n## {}\n\n{}\n", part.title(), folded(part.text()));
        let measured_on = measured_on(measured);
        // Said again only where it is another.
        if machine.as_ref() != Some(&measured_on) {
            let _ = write!(page, "\n{}\n", folded(&measured_on));
            machine = Some(measured_on);
        }
        page.push_str(&table(*part, measured));
        for (_, plot) in plots.iter().filter(|(of, _)| of == part) {
            let _ = write!(page, "\n{plot}");
        }
        page.push_str(&commands(&measured.rows));
        page.push_str(&notes(measured));
    }
    page.push_str(&servers(record));
    let _ = write!(page, "\n{LIMITS}");
    page
}

fn measured_on(measured: &Measured) -> String {
    let machine = &measured.machine;
    let quick = if measured.quick { "; measured briefly (`--quick`)" } else { "" };
    let revision = measured.revision.as_ref().map_or_else(String::new, |revision| format!(" Revision `{revision}`."));
    let note = measured.note.as_ref().map_or_else(String::new, |note| format!(" {note}"));
    format!(
        "Measured on {}, {} cores, {} GiB, Linux {}, {}{quick}.{revision}{note}",
        machine.processor,
        machine.cores,
        machine.memory_gib,
        machine.kernel,
        machine.compiler.as_deref().unwrap_or("no rustc at hand")
    )
}

fn table(part: Name, measured: &Measured) -> String {
    if measured.rows.is_empty() {
        return String::new();
    }
    let columns = part.columns();
    let mut table = String::from("\n| |");
    columns.iter().for_each(|(heading, _, _)| {
        let _ = write!(table, " {heading} |");
    });
    let _ = write!(table, "\n| --- |{}\n", " ---: |".repeat(columns.len()));
    for row in &measured.rows {
        let _ = write!(table, "| {} |", what(part, row));
        for (at, column) in columns.iter().enumerate() {
            let _ = write!(table, " {} |", cell(row, *column, at == 0));
        }
        table.push('\n');
    }
    table
}

/// A row's name: of a benchmark, its sizes as they are read.
fn what(part: Name, row: &Row) -> String {
    if part != Name::Ledger {
        return row.what.clone();
    }
    let mut parts = row.what.split('/');
    let (group, names, sizes) = (parts.next(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let sizes = numbers(sizes);
    let each = names.split('_').zip(sizes).map(|(name, size)| format!("{} {name}", count(size as f64)));
    format!("`{}`: {}", group.unwrap_or_default(), each.collect::<Vec<_>>().join(", "))
}

fn cell(row: &Row, (_, figure, unit): Column, is_first: bool) -> String {
    let Some(Value { value, within }) = row.figures.get(figure) else { return String::new() };
    if row.is_ratio {
        let within = within.map_or_else(String::new, |(low, high)| format!(" ({} to {})", ratio(low), ratio(high)));
        return format!("**× {}**{within}", ratio(*value));
    }
    let show = |value: f64| match unit {
        Unit::Time => time(value),
        Unit::Count => count(value),
        Unit::Mebibytes => format!("{} MiB", count((value / 1_048_576.0).round())),
        Unit::Part => format!("{:.1} %", value * 100.0),
    };
    let within = within.filter(|_| is_first);
    let within = within.map_or_else(String::new, |(low, high)| format!(" ({} to {})", show(low), show(high)));
    format!("{}{within}", show(*value))
}

/// Three digits of what is about one, and no more than anybody can know of what is far from it.
fn ratio(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { format!("{value:.1}") }
}

fn commands(rows: &[Row]) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for line in rows.iter().flat_map(|row| &row.command) {
        if !lines.contains(&line.as_str()) {
            lines.push(line);
        }
    }
    if lines.is_empty() { String::new() } else { format!("\n```sh\n{}\n```\n", lines.join("\n")) }
}

fn notes(measured: &Measured) -> String {
    let others = measured.others.filter(|others| *others >= 0.02);
    let others = others.map(|part| format!("Others used {:.0} % of the cores' time meanwhile.", part * 100.0));
    let remarks = measured.remarks.iter().map(|remark| format!("The load test remarks: {remark}."));
    let skipped = measured.skipped.iter().map(|why| format!("SKIPPED: {why}."));
    let failed = measured.failed.iter().map(|why| format!("FAILED: {why}."));
    let all: Vec<String> = others.into_iter().chain(remarks).chain(skipped).chain(failed).collect();
    if all.is_empty() {
        String::new()
    } else {
        format!("\n{}\n", all.iter().map(|note| format!("- {note}")).collect::<Vec<_>>().join("\n"))
    }
}

/// The configurations that commands name.
fn servers(record: &Record) -> String {
    let commands = || record.parts.values().flat_map(|part| &part.rows).flat_map(|row| &row.command);
    let mut text = String::new();
    for kind in Kind::CONFIGURED {
        if let Some(file) = kind.file().filter(|file| commands().any(|line| line.contains(file))) {
            let _ = write!(text, "# {file}\n{}", kind.yaml(kind.port()));
        }
    }
    if commands().any(|line| line.contains("held.yaml")) {
        let _ = write!(text, "# held.yaml\n{}", super::memory::scenario(1_000_000));
    }
    if text.is_empty() {
        return text;
    }
    format!(
        "\n## The files that commands name\n\nThe ports are those of the commands; the run itself took free ones.\n\n```yaml\n{text}```\n"
    )
}

/// A paragraph in lines.
fn folded(text: &str) -> String {
    const WIDTH: usize = 125;
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::{Measured, Name, Record, Row, Value};
    use crate::results::machine::Machine;

    fn measured(rows: Vec<Row>) -> Measured {
        let none = Vec::new;
        Measured {
            machine: Machine::here(),
            revision: Some("abc".to_owned()),
            quick: true,
            others: Some(0.25),
            note: Some("Two cores were shared.".to_owned()),
            rows,
            remarks: BTreeSet::from(["the client was slow".to_owned()]),
            skipped: vec!["no peer was named".to_owned()],
            failed: none(),
        }
    }

    fn row(what: &str, is_ratio: bool, figure: &str, value: f64, within: Option<(f64, f64)>) -> Row {
        let figures = BTreeMap::from([(figure.to_owned(), Value { value, within })]);
        Row { what: what.to_owned(), command: vec!["headgate-loadtest run".to_owned()], is_ratio, figures }
    }

    #[test]
    fn a_page_tells_what_was_measured_and_how() {
        let mut record = Record::new();
        let calls = vec![
            row("`CheckQuota`", false, "rate", 200_000.0, Some((190_000.0, 210_000.0))),
            row("the yardstick", false, "server-cpu", 4.25, None),
            row("the first to the second", true, "rate", 0.9, Some((0.85, 0.95))),
        ];
        record.parts.insert(Name::Calls, measured(calls));
        let grown = [(100, 0.7), (1_000, 1.0)];
        let grown = grown.map(|(size, median)| {
            row(&format!("admit/tenants_leases/{size}_{}", size * 10), false, "median", median, None)
        });
        record.parts.insert(Name::Ledger, measured(grown.into()));
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("RESULTS.md");
        super::write(&record, &path, folder.path()).expect("written");
        let page = std::fs::read_to_string(&path).expect("read");
        for expected in [
            "| `CheckQuota` | 200,000 (190,000 to 210,000) |  |",
            "| the first to the second | **× 0.90** (0.85 to 0.95) |",
            "| the yardstick |  | 4.25 us |",
            "| `admit`: 1,000 tenants, 10,000 leases | 1.00 us |",
            "Others used 25 % of the cores' time meanwhile",
            "SKIPPED: no peer was named",
            "Two cores were shared.",
            "/growth.svg)",
            "```sh\nheadgate-loadtest run\n```",
            "## What these figures do not say",
        ] {
            assert!(page.contains(expected), "{expected}\n{page}");
        }
        assert_eq!(page.matches("Measured on").count(), 1, "{page}");
        assert!(std::fs::read_to_string(folder.path().join("growth.svg")).expect("drawn").contains("<circle"));
    }
}
