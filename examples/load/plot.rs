//! Cost against the number of calls, drawn as SVG, with the straight line that it should be.

use std::fmt::Write as _;

/// One run.
#[derive(Clone, Copy)]
pub(crate) struct Point {
    pub(crate) calls: f64,
    /// Percent of a core.
    pub(crate) cpu: f64,
    /// MB of all calls together.
    pub(crate) memory: f64,
}

/// The line through `points` from which they lie the least share of their own height away, by least squares: small runs count as much as
/// large ones. Its value at zero, and its slope; level where there are fewer than two points.
pub(crate) fn line(points: &[(f64, f64)]) -> (f64, f64) {
    let weight = |point: &(f64, f64)| point.1.max(f64::MIN_POSITIVE).powi(-2);
    let all: f64 = points.iter().map(weight).sum();
    let mean =
        |of: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(|point| weight(point) * of(point)).sum::<f64>() / all;
    let (x, y) = (mean(&|point| point.0), mean(&|point| point.1));
    let (mixed, spread) = (mean(&|point| (point.0 - x) * (point.1 - y)), mean(&|point| (point.0 - x).powi(2)));
    let slope = if spread > 0.0 { mixed / spread } else { 0.0 };
    (y - slope * x, slope)
}

/// By how much, in percent of itself, the farthest point lies off the line through all.
pub(crate) fn off_line(points: &[(f64, f64)]) -> f64 {
    let (start, slope) = line(points);
    points.iter().map(|(x, y)| 100.0 * ((start + slope * x) / y - 1.0).abs()).fold(0.0, f64::max)
}

/// Two panels: processor time and memory.
pub(crate) fn svg(points: &[Point]) -> String {
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        2.0 * PANEL,
        HEIGHT + 2.0 * MARGIN
    );
    let cpu: Vec<_> = points.iter().map(|point| (point.calls, point.cpu)).collect();
    let memory: Vec<_> = points.iter().map(|point| (point.calls, point.memory)).collect();
    panel(&mut text, 0.0, "processor time, % of a core", &cpu);
    panel(&mut text, PANEL, "memory of the calls, MB", &memory);
    text + "</svg>\n"
}

fn panel(text: &mut String, left: f64, title: &str, points: &[(f64, f64)]) {
    let most = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).fold(0.0, f64::max);
    let (wide, high) = (round_up(most(|point| point.0)), round_up(most(|point| point.1) * 1.2));
    let (x, y) = (
        |value: f64| left + MARGIN + (PANEL - 2.0 * MARGIN) * value / wide,
        |value: f64| MARGIN + HEIGHT * (1.0 - value / high),
    );
    writeln!(text, "<text x=\"{:.1}\" y=\"{:.1}\">{title}</text>", left + MARGIN, MARGIN - 14.0).unwrap();
    for step in 0..=5 {
        let (across, up) = (wide * f64::from(step) / 5.0, high * f64::from(step) / 5.0);
        writeln!(
            text,
            "<path d=\"M{:.1} {:.1}H{:.1}\" stroke=\"#ddd\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{up:.0}</text>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{across:.0}</text>",
            x(0.0),
            y(up),
            x(wide),
            x(0.0) - 6.0,
            y(up) + 4.0,
            x(across),
            y(0.0) + 18.0
        )
        .unwrap();
    }
    let (start, slope) = line(points);
    for (factor, style) in [(1.0, "stroke=\"#36c\""), (0.8, DASHED), (1.2, DASHED)] {
        let end = (start + slope * wide) * factor;
        writeln!(
            text,
            "<path d=\"M{:.1} {:.1}L{:.1} {:.1}\" fill=\"none\" {style}/>",
            x(0.0),
            y(start * factor),
            x(wide),
            y(end)
        )
        .unwrap();
    }
    for (calls, value) in points {
        writeln!(
            text,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\"><title>{calls:.0} calls: {value:.1}</title></circle>",
            x(*calls),
            y(*value)
        )
        .unwrap();
    }
    let legend = format!("calls; dashed: 20 % off the line through all; farthest {:.0} % off", off_line(points));
    writeln!(text, "<text x=\"{:.1}\" y=\"{:.1}\">{legend}</text>", left + MARGIN, MARGIN + HEIGHT + 40.0).unwrap();
}

/// The next of 1, 2, 5, 10, 20, ...
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1.0).log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|step| step * power).find(|step| *step >= value).unwrap_or(10.0 * power)
}

const PANEL: f64 = 480.0;
const HEIGHT: f64 = 260.0;
const MARGIN: f64 = 52.0;
const DASHED: &str = "stroke=\"#9bd\" stroke-dasharray=\"5 4\"";
