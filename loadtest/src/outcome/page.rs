//! Outcomes as one page: figures and plots, in one HTML file that needs nothing else.

use std::fmt::Write as _;

use super::Outcome;
use super::figures::{Run, unpacked};
use super::text::{count, middle, time};

/// A plot's width and height, in its own units, and the room for its numbers.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 200.0;
const MARGIN: f64 = 70.0;

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8885;--dim:#888}\
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}pre{overflow-x:auto;font-size:.85rem}\
svg{width:100%;height:auto}svg text{font-size:11px;fill:var(--dim)}.key{margin-right:1rem}";
/// Colours of lines, told apart by the colour-blind too (Okabe and Ito).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// A line of a plot: its name, and its points.
type Line = (String, Vec<(f64, f64)>);

// Writing to a string does not fail: its results are of no interest below.

/// The page of one or several outcomes, whose plots lie over each other; `text` is what is said of them in words.
pub(crate) fn of(title: &str, outcomes: &[Outcome], text: &str) -> String {
    let title = escaped(title);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n<h1>{title}</h1>\n<pre>{}</pre>\n",
        escaped(text)
    );
    let runs: Vec<(&Outcome, &Run)> = outcomes.iter().filter_map(|one| middle(one).map(|run| (one, run))).collect();
    let name = |outcome: &Outcome, what: &str| {
        if outcomes.len() > 1 { format!("{} {what}", outcome.target) } else { what.to_owned() }
    };
    let each = |what: &str, of: &dyn Fn(&Run) -> Vec<(f64, f64)>| {
        runs.iter().map(|(outcome, run)| (name(outcome, what), of(run))).collect::<Vec<Line>>()
    };
    let seconds = |of: &dyn Fn(&super::figures::Second) -> f64, run: &Run| {
        run.by_second.iter().map(|second| (second.at_s as f64, of(second))).collect()
    };
    let nines = |x: f64| match x {
        _ if x < 0.5 => "50 %".to_owned(),
        _ => format!("{} %", 100.0 - 100.0 / 10_f64.powf(x)),
    };
    plot("Latency, of the slowest operations", &each("latency", &by_percentile), &nines, &time, true, &mut page);
    let mut latencies = each("p50", &|run| seconds(&|second| second.latency.p50_us, run));
    latencies.extend(each("p99", &|run| seconds(&|second| second.latency.p99_us, run)));
    latencies.extend(each("max", &|run| seconds(&|second| second.latency.max_us, run)));
    let at = |x: f64| format!("{x:.0} s");
    plot("Latency, by second", &latencies, &at, &time, true, &mut page);
    let mut rates = each("answered", &|run| seconds(&|second| second.latency.count as f64, run));
    rates.extend(each("errors", &|run| seconds(&|second| second.errors as f64, run)));
    plot("Operations, by second", &rates, &at, &count, false, &mut page);
    let looks = |of: &dyn Fn(&super::figures::Resident) -> f64, run: &Run| {
        run.server.iter().flat_map(|server| &server.looks).map(|look| (look.at_s, of(look))).collect()
    };
    let memory = each("resident", &|run| looks(&|look| look.rss_bytes as f64 / 1_048_576.0, run));
    plot("The server's memory, in MiB", &memory, &at, &count, false, &mut page);
    let handles = each("open", &|run| looks(&|look| look.handles as f64, run));
    plot("The server's handles", &handles, &at, &count, false, &mut page);
    page.push_str("</html>\n");
    page
}

/// Latency over how many nines of all operations were faster.
fn by_percentile(run: &Run) -> Vec<(f64, f64)> {
    let Some(histogram) = unpacked(&run.histogram).filter(|histogram| !histogram.is_empty()) else { return Vec::new() };
    let most = (histogram.len() as f64).log10().max(0.1);
    (0..=100)
        .map(|at| {
            let nines = most * f64::from(at) / 100.0;
            (nines, histogram.value_at_quantile(1.0 - 10_f64.powf(-nines)) as f64 / 1e3)
        })
        .collect()
}

fn plot(
    title: &str,
    lines: &[Line],
    show_x: &dyn Fn(f64) -> String,
    show_y: &dyn Fn(f64) -> String,
    logarithmic: bool,
    page: &mut String,
) {
    let points = || lines.iter().flat_map(|(_, points)| points);
    if points().count() < 2 {
        return;
    }
    let scaled = |y: f64| if logarithmic { y.max(0.1).log10() } else { y };
    let reach = |of: &dyn Fn(&(f64, f64)) -> f64| {
        points()
            .map(of)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
    };
    let (left, right) = reach(&|point| point.0);
    let (low, high) = reach(&|point| scaled(point.1));
    let (low, high) = if logarithmic { (low.floor(), high.ceil()) } else { (0.0, high * 1.05) };
    let x = |value: f64| MARGIN + (value - left) / (right - left).max(1e-9) * (WIDTH - MARGIN);
    let y = |value: f64| HEIGHT - (value - low) / (high - low).max(1e-9) * HEIGHT;
    let _ = writeln!(page, "<h2>{title}</h2>\n<svg viewBox=\"0 -10 {WIDTH} {}\" role=\"img\">", HEIGHT + 30.0);
    let ticks = if logarithmic { (high - low) as usize } else { 4 };
    for at in 0..=ticks {
        let value = low + (high - low) * at as f64 / ticks.max(1) as f64;
        let shown = show_y(if logarithmic { 10_f64.powf(value) } else { value });
        let at = y(value);
        let _ = writeln!(
            page,
            "<line x1=\"{MARGIN}\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"var(--line)\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{shown}</text>",
            MARGIN - 6.0,
            at + 4.0
        );
    }
    for at in 0..=4 {
        let value = left + (right - left) * f64::from(at) / 4.0;
        let _ = writeln!(
            page,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            x(value).min(WIDTH - 20.0),
            HEIGHT + 16.0,
            show_x(value)
        );
    }
    for (at, (_, points)) in lines.iter().enumerate() {
        let path: Vec<String> =
            points.iter().map(|point| format!("{:.1},{:.1}", x(point.0), y(scaled(point.1)))).collect();
        let _ = writeln!(
            page,
            "<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"1.5\" points=\"{}\"/>",
            COLOURS[at % COLOURS.len()],
            path.join(" ")
        );
    }
    page.push_str("</svg>\n<p>");
    for (at, (name, _)) in lines.iter().enumerate() {
        let _ = write!(
            page,
            "<span class=\"key\" style=\"color:{}\">{}</span>",
            COLOURS[at % COLOURS.len()],
            escaped(name)
        );
    }
    page.push_str("</p>\n");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
