//! A replay as one page: figures, plots and a table, in one HTML file that needs nothing else.

use std::fmt::Write as _;

use super::replay::{Replayed, Timelines};
use super::summary::{Spread, Summary};

/// Tenants that the table has; with more, those with the most jobs.
const TENANTS_SHOWN_MAX: usize = 200;
/// A plot's width and height, in its own units.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 180.0;

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8885;--dim:#888}\
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}\
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(9rem,1fr));gap:.5rem 1rem}\
dt{color:var(--dim);font-size:.85rem}dd{margin:0;font-size:1.1rem}\
svg{width:100%;height:auto;overflow:visible}svg text{font-size:11px;fill:var(--dim)}\
table{border-collapse:collapse;width:100%}th,td{text-align:right;padding:.2rem .5rem;border-bottom:1px solid var(--line)}\
th:first-child,td:first-child{text-align:left}.key{margin-right:1rem}";
/// Colours of lines, told apart by the colour-blind too (Okabe and Ito).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// The page; `title` names the trace and the configuration.
pub fn html(title: &str, replayed: &Replayed) -> String {
    let Replayed { summary, violations: _, timelines, waits_s } = replayed;
    let title = escaped(title);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n<h1>{title}</h1>\n"
    );
    figures(summary, &mut page);
    plots(timelines, waits_s, &mut page);
    tenants(summary, &mut page);
    page.push_str("</html>\n");
    page
}

// Writing to a string does not fail: its results are of no interest below.

fn figures(summary: &Summary, page: &mut String) {
    let Summary { jobs, admitted, denied, makespan_s, utilisation, wait_s, slowdown, jain_index, reclaims, .. } =
        summary;
    let mut figures = vec![
        ("jobs", jobs.to_string()),
        ("admitted", admitted.to_string()),
        ("denied", denied.to_string()),
        ("makespan", span(*makespan_s)),
        ("wait, mean", span(wait_s.mean)),
        ("wait, p95", span(wait_s.p95)),
        ("slowdown, mean", format!("{:.2}", slowdown.mean)),
        ("slowdown, p95", format!("{:.2}", slowdown.p95)),
        ("Jain's index", format!("{jain_index:.4}")),
        ("reclaims", reclaims.to_string()),
    ];
    let named: Vec<_> =
        utilisation.iter().map(|(resource, part)| (format!("utilisation, {resource}"), percent(*part))).collect();
    figures.extend(named.iter().map(|(name, part)| (name.as_str(), part.clone())));
    page.push_str("<dl>\n");
    for (name, value) in figures {
        let _ = writeln!(page, "<div><dt>{}</dt><dd>{value}</dd></div>", escaped(name));
    }
    page.push_str("</dl>\n");
}

fn plots(timelines: &Timelines, waits_s: &[f64], page: &mut String) {
    let seconds = |line: &[f64]| line.len() as f64 * timelines.line.step_s();
    let used: Vec<(String, Vec<f64>)> = timelines.utilisation();
    let long = used.first().map_or(0.0, |(_, line)| seconds(line));
    plot("Utilisation over time", &used, 1.0, &percent, ("0", &span(long)), page);
    let (waiting, running) = (timelines.waiting(), timelines.running());
    let most = waiting.iter().chain(&running).copied().fold(1.0, f64::max);
    let count = |value: f64| format!("{value:.0}");
    let lines = [("waiting".to_owned(), waiting), ("running".to_owned(), running)];
    plot("Jobs over time", &lines, most, &count, ("0", &span(long)), page);
    let most = waits_s.last().copied().unwrap_or(0.0).max(1.0);
    let lines = [("wait of the part of jobs below".to_owned(), waits_s.to_vec())];
    plot("How long jobs waited", &lines, most, &span, ("0 %", "100 %"), page);
}

/// A plot of lines from 0 to `most`, with the ends of its horizontal axis.
fn plot(
    title: &str,
    lines: &[(String, Vec<f64>)],
    most: f64,
    text: &dyn Fn(f64) -> String,
    ends: (&str, &str),
    page: &mut String,
) {
    let _ = writeln!(page, "<h2>{title}</h2>\n<p>");
    for ((name, _), colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let _ = writeln!(page, "<span class=\"key\"><span style=\"color:{colour}\">■</span> {}</span>", escaped(name));
    }
    let (left, bottom) = (60.0, HEIGHT + 16.0);
    let _ = writeln!(
        page,
        "</p>\n<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{title}\">",
        WIDTH + left,
        HEIGHT + 24.0
    );
    for part in [0.0, 0.5, 1.0] {
        let y = HEIGHT * (1.0 - part);
        let _ = writeln!(
            page,
            "<path d=\"M{left} {y}H{}\" stroke=\"var(--line)\"/><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            WIDTH + left,
            left - 6.0,
            y + 4.0,
            text(most * part)
        );
    }
    let _ = writeln!(page, "<text x=\"{left}\" y=\"{bottom}\">{}</text>", ends.0);
    let _ = writeln!(page, "<text x=\"{}\" y=\"{bottom}\" text-anchor=\"end\">{}</text>", WIDTH + left, ends.1);
    for ((_, line), colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let wide = WIDTH / (line.len().max(2) - 1) as f64;
        let point = |(at, value): (usize, &f64)| {
            format!("{:.1},{:.1}", left + at as f64 * wide, HEIGHT * (1.0 - (value / most).clamp(0.0, 1.0)))
        };
        let points: Vec<_> = line.iter().enumerate().map(point).collect();
        let _ = writeln!(
            page,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" points=\"{}\"/>",
            points.join(" ")
        );
    }
    page.push_str("</svg>\n");
}

fn tenants(summary: &Summary, page: &mut String) {
    let mut tenants: Vec<_> = summary.tenants.iter().collect();
    tenants.sort_by_key(|(path, tenant)| (std::cmp::Reverse(tenant.jobs), *path));
    page.push_str("<h2>Tenants</h2>\n<table>\n<tr><th>tenant<th>jobs<th>denied<th>share<th>wait, mean<th>wait, p95<th>slowdown, mean<th>slowdown, p95</tr>\n");
    for (path, tenant) in tenants.iter().take(TENANTS_SHOWN_MAX) {
        let Spread { mean, p95, .. } = tenant.wait_s;
        let _ = writeln!(
            page,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{:.2}<td>{:.2}</tr>",
            escaped(path),
            tenant.jobs,
            tenant.denied,
            percent(tenant.share),
            span(mean),
            span(p95),
            tenant.slowdown.mean,
            tenant.slowdown.p95
        );
    }
    page.push_str("</table>\n");
    if let Some(more) = tenants.len().checked_sub(TENANTS_SHOWN_MAX).filter(|more| *more > 0) {
        let _ = writeln!(page, "<p>And {more} more with fewer jobs.</p>");
    }
}

fn percent(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}

/// Seconds, in the unit that suits them.
fn span(seconds: f64) -> String {
    let (unit, name) = match seconds {
        s if s >= 2.0 * 86_400.0 => (86_400.0, "d"),
        s if s >= 2.0 * 3_600.0 => (3_600.0, "h"),
        s if s >= 120.0 => (60.0, "min"),
        _ => (1.0, "s"),
    };
    format!("{:.1} {name}", seconds / unit)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
