//! Curves, as an SVG image. By value.

use std::fmt::Write as _;

/// Curves in one field: how something grows.
#[derive(Clone, Debug)]
pub struct Panel {
    /// What the curves show, with its unit.
    pub title: String,
    /// The curves, by name.
    pub curves: Vec<(String, Vec<(f64, f64)>)>,
}

/// A field's width and height, with room for text, and how many stand beside each other.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 260.0;
const COLUMNS: usize = 2;
/// The room for text around the curves: left, top, right, below.
const ROOM: [f64; 4] = [52.0, 34.0, 16.0, 44.0];
/// A colour for each curve, apart for people who see few.
const COLOURS: [&str; 4] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"];

/// All panels in one image. The horizontal axis is logarithmic, the vertical one is not and begins at nothing: what is linear bends upward, what is flat is flat.
#[must_use]
pub fn svg(panels: &[Panel]) -> String {
    let rows = panels.len().div_ceil(COLUMNS);
    let (width, height) = (WIDTH * float(COLUMNS), HEIGHT * float(rows));
    let mut image = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for (number, panel) in panels.iter().enumerate() {
        let (x, y) = (WIDTH * float(number % COLUMNS), HEIGHT * float(number / COLUMNS));
        let _ = writeln!(image, "<g transform=\"translate({x} {y})\">\n{}</g>", panel.svg());
    }
    image + "</svg>\n"
}

// === impl Panel ===

impl Panel {
    fn svg(&self) -> String {
        let points = || self.curves.iter().flat_map(|(_, points)| points.iter().copied());
        let first = points().map(|(x, _)| x).fold(f64::INFINITY, f64::min);
        let last = points().map(|(x, _)| x).fold(1.0, f64::max);
        let top = round_up(points().map(|(_, y)| y).fold(0.0, f64::max));
        let [left, above, right, below] = ROOM;
        let (wide, high) = (WIDTH - left - right, HEIGHT - above - below);
        let across = |x: f64| {
            let share = if last > first {
                (x / first).log10() / (last / first).log10()
            } else {
                0.5
            };
            left + wide * share
        };
        let down = |y: f64| above + high * (1.0 - y / top);
        let mut image = format!(
            "<text x=\"{left}\" y=\"20\" font-weight=\"bold\">{}</text>\n",
            escape(&self.title)
        );
        for share in [0.0, 0.5, 1.0] {
            let (y, value) = (down(top * share), number(top * share));
            let _ = writeln!(
                image,
                "<path d=\"M{left} {y:.1}h{wide}\" stroke=\"#ccc\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>",
                left - 6.0,
                y + 4.0
            );
        }
        let mut named: Vec<_> = points().map(|(x, _)| x).collect();
        named.sort_unstable_by(f64::total_cmp);
        named.dedup();
        for x in named {
            let (at, y) = (across(x), HEIGHT - below + 16.0);
            let _ = writeln!(
                image,
                "<text x=\"{at:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{}</text>",
                number(x)
            );
        }
        let mut name_at = left;
        for ((name, points), colour) in self.curves.iter().zip(COLOURS.iter().cycle()) {
            let line: Vec<_> = points
                .iter()
                .map(|(x, y)| format!("{:.1},{:.1}", across(*x), down(*y)))
                .collect();
            let _ = writeln!(
                image,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                line.join(" ")
            );
            let _ = writeln!(
                image,
                "<text x=\"{name_at:.1}\" y=\"{:.1}\" fill=\"{colour}\">{}</text>",
                HEIGHT - 8.0,
                escape(name)
            );
            name_at += wide / 3.0;
        }
        image
    }
}

/// The next value from `value` up that reads well: one, two or five, and noughts.
fn round_up(value: f64) -> f64 {
    let magnitude = 10_f64.powf(value.max(0.01).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * magnitude);
    steps
        .into_iter()
        .find(|step| *step >= value)
        .unwrap_or(10.0 * magnitude)
}

fn number(value: f64) -> String {
    if value >= 10.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

fn float(count: usize) -> f64 {
    crate::stats::float(count as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(points: &[(f64, f64)]) -> Panel {
        Panel {
            title: "a < b".to_owned(),
            curves: vec![("one".to_owned(), points.to_vec())],
        }
    }

    #[test]
    fn curve_spans_its_field() {
        let image = svg(&[panel(&[(10.0, 0.0), (100.0, 1.0), (1000.0, 2.0)])]);
        assert!(
            image.contains("points=\"52.0,216.0 228.0,125.0 404.0,34.0\""),
            "{image}"
        );
        assert!(image.contains("a &lt; b") && !image.contains("a < b"));
    }

    #[test]
    fn axis_ends_at_a_value_that_reads_well() {
        let ends = [0.3, 1.0, 1.1, 42.0, 50.0, 730.0].map(|value| number(round_up(value)));
        assert_eq!(ends, ["0.50", "1", "2", "50", "50", "1000"]);
    }

    #[test]
    fn nothing_and_one_point_can_be_drawn() {
        for image in [svg(&[]), svg(&[panel(&[])]), svg(&[panel(&[(10.0, 0.0)])])] {
            assert!(
                image.ends_with("</svg>\n") && !image.contains("NaN") && !image.contains("inf"),
                "{image}"
            );
        }
    }
}
