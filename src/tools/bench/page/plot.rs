//! Lines in a plane, with axes.
//!
//! Places along x are parts of the width, places along y are pixels: the chart is as wide as
//! there is room while its text keeps its size. Lines are drawn in a picture within the picture,
//! which is stretched without its strokes being stretched; signs and texts stand beside it.

use super::scale::Scale;
use crate::tools::present::escape::Text;
use crate::tools::present::html::put;

const HEIGHT: f64 = 260.0;
/// Of the stretched picture.
const WIDTH: f64 = 1000.0;

/// How many series look different.
pub(super) const LOOKS: usize = 8;

/// One line. Its look is a colour, a pattern of dashes and a sign, all of which differ.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: String,
    /// Below [`LOOKS`]; ours are 0.
    pub(super) look: usize,
    pub(super) points: Vec<Point>,
    /// Whether points have signs: few have, a curve has not.
    pub(super) signs: Signs,
}

/// Where signs are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signs {
    /// At each point.
    Every,
    /// Only at these points along x.
    AtTicks,
}

/// A point: its place along x, from 0 to 1, its value, and what is told when it is pointed at.
#[derive(Clone, Debug)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) spread: Option<(f64, f64)>,
    pub(super) told: String,
}

/// The plane.
#[derive(Clone, Debug)]
pub(super) struct Plane<'a> {
    /// Read aloud in place of the picture.
    pub(super) about: &'a str,
    /// Places and labels along x.
    pub(super) x_ticks: Vec<(f64, String)>,
    pub(super) x_unit: &'a str,
    pub(super) y: Scale,
    pub(super) y_tick: fn(f64) -> String,
    pub(super) y_unit: &'a str,
}

impl Plane<'_> {
    /// Draws the legend and the lines; the first series last, so that it covers the others.
    pub(super) fn draw(&self, series: &[Series], out: &mut String) {
        legend(series, out);
        put(
            out,
            format_args!(
                "<div class=\"unit\">{}</div>\n<div class=\"frame\"><svg class=\"plane\" \
                 width=\"100%\" height=\"{HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
                Text(self.y_unit),
                Text(self.about)
            ),
        );
        self.axes(out);
        for series in series.iter().rev() {
            self.line(series, out);
        }
        put(
            out,
            format_args!("</svg></div>\n<div class=\"unit below\">{}</div>\n", Text(self.x_unit)),
        );
    }

    fn height(&self, value: f64) -> f64 {
        HEIGHT * (1.0 - self.y.place(value))
    }

    fn axes(&self, out: &mut String) {
        for tick in self.y.ticks(7) {
            let y = HEIGHT * (1.0 - tick.place);
            let class = if tick.value.is_some() { "grid" } else { "grid fine" };
            put(
                out,
                format_args!(
                    "<line class=\"{class}\" x1=\"0\" x2=\"100%\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"
                ),
            );
            if let Some(value) = tick.value {
                put(
                    out,
                    format_args!(
                        "<text x=\"-8\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
                        y + 4.5,
                        Text(&(self.y_tick)(value))
                    ),
                );
            }
        }
        for (place, label) in &self.x_ticks {
            let x = place * 100.0;
            put(
                out,
                format_args!(
                    "<line class=\"grid\" x1=\"{x:.2}%\" x2=\"{x:.2}%\" y1=\"0\" y2=\"{:.0}\"/>\
                     <text x=\"{x:.2}%\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>\n",
                    HEIGHT + 5.0,
                    HEIGHT + 20.0,
                    Text(label)
                ),
            );
        }
    }

    fn line(&self, series: &Series, out: &mut String) {
        put(
            out,
            format_args!(
                "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" \
                 width=\"100%\" height=\"{HEIGHT}\"><path class=\"line s{}\" d=\"",
                series.look
            ),
        );
        for (index, point) in series.points.iter().enumerate() {
            let command = if index == 0 { 'M' } else { 'L' };
            put(out, format_args!("{command}{:.1} {:.1}", point.x * WIDTH, self.height(point.y)));
        }
        out.push_str("\"/></svg>\n");
        let is_tick =
            |point: &Point| self.x_ticks.iter().any(|(place, _)| (place - point.x).abs() < 1e-6);
        for point in &series.points {
            if series.signs == Signs::Every || is_tick(point) {
                self.point(point, series.look, out);
            }
        }
    }

    fn point(&self, point: &Point, look: usize, out: &mut String) {
        let (x, y) = (point.x * 100.0, self.height(point.y));
        if let Some((least, greatest)) = point.spread {
            put(
                out,
                format_args!(
                    "<line class=\"whisker\" x1=\"{x:.2}%\" x2=\"{x:.2}%\" y1=\"{:.1}\" \
                     y2=\"{:.1}\"/>",
                    self.height(least),
                    self.height(greatest)
                ),
            );
        }
        put(
            out,
            format_args!(
                "<svg x=\"{x:.2}%\" y=\"{y:.1}\" class=\"over\"><path class=\"sign s{look}\" \
                 d=\"{}\"><title>{}</title></path></svg>\n",
                sign(look),
                Text(&point.told)
            ),
        );
    }
}

/// A sign around the origin.
fn sign(look: usize) -> &'static str {
    const SIGNS: [&str; LOOKS] = [
        "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z",
        "M-4.5 -4.5h9v9h-9z",
        "M0 -5.5l5.5 9.5h-11z",
        "M0 -6l6 6-6 6-6-6z",
        "M0 5.5l5.5 -9.5h-11z",
        "M-2 -5.5h4v3.5h3.5v4h-3.5v3.5h-4v-3.5h-3.5v-4h3.5z",
        "M-6 -2.5h12v5h-12z",
        "M-2.5 -6h5v12h-5z",
    ];
    SIGNS[look % LOOKS]
}

fn legend(series: &[Series], out: &mut String) {
    out.push_str("<ul class=\"legend\">\n");
    for series in series {
        put(
            out,
            format_args!(
                "<li><svg viewBox=\"0 -7 34 14\" aria-hidden=\"true\"><path class=\"line s{}\" \
                 d=\"M1 0H33\"/><g transform=\"translate(17 0)\"><path class=\"sign s{}\" \
                 d=\"{}\"/></g></svg>{}</li>\n",
                series.look,
                series.look,
                sign(series.look),
                Text(&series.name)
            ),
        );
    }
    out.push_str("</ul>\n");
}

/// Places along x for so many things: evenly, with half a step at both ends.
pub(super) fn evenly(index: usize, count: usize) -> f64 {
    (index as f64 + 0.5) / count.max(1) as f64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::tools::present::figures::many_tick;

    #[test]
    fn lines_go_up_with_their_values() {
        let point = |x, y| Point { x, y, spread: Some((y, y + 1.0)), told: "a <b>".into() };
        let series = Series {
            name: "<us>".into(),
            look: 0,
            points: vec![point(0.25, 1.0), point(0.75, 4.0)],
            signs: Signs::Every,
        };
        let plane = Plane {
            about: "more \"threads\"",
            x_ticks: vec![(0.25, "1".into()), (0.75, "2".into())],
            x_unit: "threads",
            y: Scale::from_zero([4.0], 4),
            y_tick: many_tick,
            y_unit: "per second",
        };
        let mut out = String::new();
        plane.draw(&[series], &mut out);
        crate::tools::present::html::check("plane", &out);
        assert!(out.contains("d=\"M250.0 195.0L750.0 0.0\""), "{out}");
        assert!(out.contains("&lt;us&gt;") && out.contains("a &lt;b&gt;"), "{out}");
        assert!(out.contains("more &quot;threads&quot;"), "{out}");
    }

    #[test]
    fn signs_differ() {
        assert_eq!((0..LOOKS).map(sign).collect::<BTreeSet<_>>().len(), LOOKS);
        assert_eq!((evenly(0, 2), evenly(1, 2)), (0.25, 0.75));
    }
}
