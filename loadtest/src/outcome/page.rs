//! Outcomes as one page: figures and plots, in one HTML file that needs nothing else.

use super::Outcome;
use super::figures::{Run, unpacked};
use super::plot::{Axis, Line, Plot, escaped};
use super::text::{count, middle, time};

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8885;--dim:#888}\
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}pre{overflow-x:auto;font-size:.85rem}\
svg{width:100%;height:auto}.grid{stroke:var(--line)}svg text{font-size:11px;fill:var(--dim)}.key{margin-right:1rem}";
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
    let mut plot = |title: &str, lines: Vec<Line>, x: Axis<'_>, y: Axis<'_>| {
        page.push_str(&Plot { title, lines: &lines, x, y }.part());
    };
    plot(
        "Latency, of the slowest operations",
        each("latency", &by_percentile),
        Axis::linear(&nines),
        Axis::decades(&time),
    );
    let mut latencies = each("p50", &|run| seconds(&|second| second.latency.p50_us, run));
    latencies.extend(each("p99", &|run| seconds(&|second| second.latency.p99_us, run)));
    latencies.extend(each("max", &|run| seconds(&|second| second.latency.max_us, run)));
    let at = |x: f64| format!("{x:.0} s");
    plot("Latency, by second", latencies, Axis::linear(&at), Axis::decades(&time));
    let mut rates = each("answered", &|run| seconds(&|second| second.latency.count as f64, run));
    rates.extend(each("errors", &|run| seconds(&|second| second.errors as f64, run)));
    plot("Operations, by second", rates, Axis::linear(&at), Axis::from_zero(&count));
    let looks = |of: &dyn Fn(&super::figures::Resident) -> f64, run: &Run| {
        run.server.iter().flat_map(|server| &server.looks).map(|look| (look.at_s, of(look))).collect()
    };
    let memory = each("resident", &|run| looks(&|look| look.rss_bytes as f64 / 1_048_576.0, run));
    plot("The server's memory, in MiB", memory, Axis::linear(&at), Axis::from_zero(&count));
    let handles = each("open", &|run| looks(&|look| look.handles as f64, run));
    plot("The server's handles", handles, Axis::linear(&at), Axis::from_zero(&count));
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
