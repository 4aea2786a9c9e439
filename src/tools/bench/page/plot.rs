//! Lines in a plane, with axes.
//!
//! Places along x are parts of the width, places along y are pixels: the chart fills its width while
//! its text keeps its size. Lines are in an inner picture, which stretches without its strokes; signs
//! and texts are outside it.

use maud::{Markup, html};

use super::lanes::percent;
use super::scale::Scale;

const HEIGHT: f64 = 260.0;
/// The width of the stretched picture, in its own units.
const WIDTH: f64 = 1000.0;

/// The number of different looks of series.
pub(super) const LOOKS: usize = 8;

/// One line. Its look is a colour, a pattern of dashes and a sign, all of which differ.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: String,
    /// Below [`LOOKS`]; ours are 0.
    pub(super) look: usize,
    pub(super) points: Vec<Point>,
    /// The points that have signs: all of a few, some of a curve.
    pub(super) signs: Signs,
}

/// The points at which signs are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signs {
    /// At each point.
    Every,
    /// Only at these points along x.
    AtTicks,
}

/// A point: its place along x, from 0 to 1, its value, and its tooltip.
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
    /// The text of the picture for screen readers.
    pub(super) about: &'a str,
    /// Places and labels along x.
    pub(super) x_ticks: Vec<(f64, String)>,
    pub(super) x_unit: &'a str,
    pub(super) y: Scale,
    pub(super) y_tick: fn(f64) -> String,
    pub(super) y_unit: &'a str,
}

impl Plane<'_> {
    /// Draws the legend and the lines. The first series comes last, so that it covers the others.
    pub(super) fn draw(&self, series: &[Series]) -> Markup {
        html! {
            (legend(series))
            div.unit { (self.y_unit) }
            div.frame {
                svg.plane width="100%" height=(HEIGHT) role="img" aria-label=(self.about) {
                    (self.axes())
                    @for series in series.iter().rev() { (self.line(series)) }
                }
            }
            div.unit.below { (self.x_unit) }
        }
    }

    fn height(&self, value: f64) -> f64 {
        HEIGHT * (1.0 - self.y.place(value))
    }

    fn axes(&self) -> Markup {
        html! {
            @for tick in self.y.ticks(7) {
                @let y = HEIGHT * (1.0 - tick.place);
                line class=(tick.class()) x1="0" x2="100%" y1=(pixels(y)) y2=(pixels(y)) {}
                @if let Some(value) = tick.value {
                    text x="-8" y=(pixels(y + 4.5)) text-anchor="end" { ((self.y_tick)(value)) }
                }
            }
            @for (place, label) in &self.x_ticks {
                @let x = percent(*place);
                line.grid x1=(x) x2=(x) y1="0" y2=(HEIGHT + 5.0) {}
                text x=(x) y=(HEIGHT + 20.0) text-anchor="middle" { (label) }
            }
        }
    }

    fn line(&self, series: &Series) -> Markup {
        let step = |(index, point): (usize, &Point)| {
            let command = if index == 0 { 'M' } else { 'L' };
            format!("{command}{:.1} {:.1}", point.x * WIDTH, self.height(point.y))
        };
        let path: String = series.points.iter().enumerate().map(step).collect();
        let class = format!("line s{}", series.look);
        let has_sign = |point: &&Point| {
            let is_at = |tick: &(f64, String)| (tick.0 - point.x).abs() < 1e-6;
            series.signs == Signs::Every || self.x_ticks.iter().any(is_at)
        };
        html! {
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" width="100%"
                height=(HEIGHT) { path class=(class) d=(path) {} }
            @for point in series.points.iter().filter(has_sign) {
                (self.point(point, series.look))
            }
        }
    }

    fn point(&self, point: &Point, look: usize) -> Markup {
        let (x, y) = (percent(point.x), |value| pixels(self.height(value)));
        html! {
            @if let Some((least, greatest)) = point.spread {
                line.whisker x1=(x) x2=(x) y1=(y(least)) y2=(y(greatest)) {}
            }
            svg.over x=(x) y=(y(point.y)) {
                path class={ "sign s" (look) } d=(sign(look)) { title { (point.told) } }
            }
        }
    }
}

fn pixels(y: f64) -> String {
    format!("{y:.1}")
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

fn legend(series: &[Series]) -> Markup {
    html! {
        ul.legend {
            @for series in series {
                li {
                    svg viewBox="0 -7 34 14" aria-hidden="true" {
                        path class={ "line s" (series.look) } d="M1 0H33" {}
                        g transform="translate(17 0)" {
                            path class={ "sign s" (series.look) } d=(sign(series.look)) {}
                        }
                    }
                    (series.name)
                }
            }
        }
    }
}

/// The place along x of one of `count` things: evenly spaced, with half a step at both ends.
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
        let out = plane.draw(&[series]).into_string();
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
