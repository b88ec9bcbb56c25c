//! Plots, as SVG: in a page, or each as a file of its own.

use std::fmt::Write as _;

/// A plot's width and height, in its own units, and the room for its numbers.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 200.0;
const MARGIN: f64 = 70.0;
/// The room above and below, in a file of its own: for what it is, and for which line is which.
const HEAD: f64 = 34.0;
const FOOT: f64 = 48.0;

/// Colours of lines, told apart by the colour-blind too (Okabe and Ito).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
/// How a file looks that stands alone; a page has a style of its own. Grey is read on white and on black.
const STYLE: &str = "svg{font:12px system-ui,sans-serif}text{fill:#777}.grid{stroke:#888;stroke-opacity:.35}.title{font-size:14px;font-weight:600}";
/// Points that are marked one by one, at most: of more the line alone says enough.
const MARKED_MAX: usize = 12;

/// A line of a plot: its name, and its points.
pub(crate) type Line = (String, Vec<(f64, f64)>);

/// One direction of a plot.
#[derive(Clone, Copy)]
pub(crate) struct Axis<'a> {
    scale: Scale,
    show: &'a dyn Fn(f64) -> String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scale {
    /// From the least to the most.
    Linear,
    /// From zero to the most.
    FromZero,
    /// By powers of ten.
    Decades,
}

impl<'a> Axis<'a> {
    pub(crate) fn linear(show: &'a dyn Fn(f64) -> String) -> Self {
        Self { scale: Scale::Linear, show }
    }

    pub(crate) fn from_zero(show: &'a dyn Fn(f64) -> String) -> Self {
        Self { scale: Scale::FromZero, show }
    }

    pub(crate) fn decades(show: &'a dyn Fn(f64) -> String) -> Self {
        Self { scale: Scale::Decades, show }
    }

    fn scaled(&self, value: f64) -> f64 {
        if self.scale == Scale::Decades { value.max(0.1).log10() } else { value }
    }

    /// From where to where it goes, scaled, and the values that are written beside it.
    fn reach(&self, values: impl Iterator<Item = f64>) -> Reach {
        let (low, high) = values
            .map(|value| self.scaled(value))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high, ticks) = match self.scale {
            Scale::Linear => (low, high, 4),
            Scale::FromZero => (0.0, high * 1.05, 4),
            Scale::Decades => (low.floor(), high.ceil(), (high.ceil() - low.floor()) as usize),
        };
        Reach { low, high, ticks }
    }

    fn shown(&self, scaled: f64) -> String {
        (self.show)(if self.scale == Scale::Decades { 10_f64.powf(scaled) } else { scaled })
    }
}

struct Reach {
    low: f64,
    high: f64,
    ticks: usize,
}

impl Reach {
    /// The part of the way.
    fn part(&self, scaled: f64) -> f64 {
        (scaled - self.low) / (self.high - self.low).max(1e-9)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        (0..=self.ticks).map(|at| self.low + (self.high - self.low) * at as f64 / self.ticks.max(1) as f64)
    }
}

/// A plot.
#[derive(Clone, Copy)]
pub(crate) struct Plot<'a> {
    pub(crate) title: &'a str,
    pub(crate) lines: &'a [Line],
    pub(crate) x: Axis<'a>,
    pub(crate) y: Axis<'a>,
}

// Writing to a string does not fail: its results are of no interest below.

impl Plot<'_> {
    /// As a part of a page; nothing, where there are too few points.
    pub(crate) fn part(&self) -> String {
        if self.is_empty() {
            return String::new();
        }
        let mut page = format!(
            "<h2>{}</h2>\n<svg viewBox=\"0 -10 {WIDTH} {}\" role=\"img\">\n{}</svg>\n<p>",
            escaped(self.title),
            HEIGHT + 30.0,
            self.drawn()
        );
        for (name, colour) in self.keys() {
            let _ = write!(page, "<span class=\"key\" style=\"color:{colour}\">{}</span>", escaped(name));
        }
        page.push_str("</p>\n");
        page
    }

    /// As a file that stands alone; none, where there are too few points.
    pub(crate) fn file(&self) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        let mut file = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 {} {} {}\" role=\"img\">\n<style>{STYLE}</style>\n<text \
             class=\"title\" x=\"{MARGIN}\" y=\"-14\">{}</text>\n{}",
            -HEAD,
            WIDTH + 20.0,
            HEAD + HEIGHT + FOOT,
            escaped(self.title),
            self.drawn()
        );
        let each = (WIDTH - MARGIN) / self.lines.len().max(1) as f64;
        for (at, (name, colour)) in self.keys().enumerate() {
            let _ = writeln!(
                file,
                "<text style=\"fill:{colour}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                MARGIN + each * at as f64,
                HEIGHT + 38.0,
                escaped(name)
            );
        }
        file.push_str("</svg>\n");
        Some(file)
    }

    fn points(&self) -> impl Iterator<Item = &(f64, f64)> {
        self.lines.iter().flat_map(|(_, points)| points)
    }

    fn is_empty(&self) -> bool {
        self.points().count() < 2
    }

    fn keys(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.lines.iter().zip(COLOURS.iter().cycle()).map(|((name, _), colour)| (name.as_str(), *colour))
    }

    /// The axes' numbers, and the lines.
    fn drawn(&self) -> String {
        let (across, up) =
            (self.x.reach(self.points().map(|point| point.0)), self.y.reach(self.points().map(|point| point.1)));
        let x = |scaled: f64| MARGIN + across.part(scaled) * (WIDTH - MARGIN);
        let y = |scaled: f64| HEIGHT - up.part(scaled) * HEIGHT;
        let mut drawn = String::new();
        for value in up.ticks() {
            let _ = writeln!(
                drawn,
                "<line class=\"grid\" x1=\"{MARGIN}\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                MARGIN - 6.0,
                y(value) + 4.0,
                self.y.shown(value),
                at = y(value)
            );
        }
        for value in across.ticks() {
            let _ = writeln!(
                drawn,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                x(value).min(WIDTH - 20.0),
                HEIGHT + 16.0,
                self.x.shown(value)
            );
        }
        for ((_, points), (_, colour)) in self.lines.iter().zip(self.keys()) {
            let at = |point: &(f64, f64)| (x(self.x.scaled(point.0)), y(self.y.scaled(point.1)));
            let path: Vec<String> = points.iter().map(at).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let _ = writeln!(
                drawn,
                "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" points=\"{}\"/>",
                path.join(" ")
            );
            for (x, y) in points.iter().map(at).filter(|_| points.len() <= MARKED_MAX) {
                let _ = writeln!(drawn, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
            }
        }
        drawn
    }
}

/// Text, as it may stand in HTML and SVG.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::{Axis, Plot};

    #[test]
    fn a_line_goes_from_corner_to_corner() {
        let lines = [("a < b".to_owned(), vec![(1.0, 10.0), (10.0, 100.0), (100.0, 1000.0)])];
        let shown = |value: f64| format!("{value:.0}");
        let plot = Plot { title: "growth & more", lines: &lines, x: Axis::decades(&shown), y: Axis::decades(&shown) };
        let file = plot.file().expect("there are points");
        assert!(file.contains("points=\"70.0,200.0 395.0,100.0 720.0,0.0\""), "{file}");
        assert!(
            file.contains(">1000</text>") && file.contains("a &lt; b") && file.contains("growth &amp; more"),
            "{file}"
        );
        assert!(file.starts_with("<svg xmlns=") && plot.part().starts_with("<h2>growth &amp; more</h2>"));
    }

    #[test]
    fn too_few_points_are_no_plot() {
        let lines = [("a".to_owned(), vec![(1.0, 1.0)])];
        let shown = |value: f64| format!("{value}");
        let plot = Plot { title: "a", lines: &lines, x: Axis::linear(&shown), y: Axis::from_zero(&shown) };
        assert_eq!((plot.file(), plot.part().as_str()), (None, ""));
    }
}
