//! Figures side by side, one lane for each, on a common scale.
//!
//! ```text
//!   syncline          |=============|--|        1.23 M/s
//!   async             |             :           
//!   other             |====|-|      :            345 k/s
//!   its mode          |      :      :           
//!                     0     500 k   1 M
//! ```
//!
//! - LANES-1 Places are parts of the width, and heights are pixels: a lane is as wide as there is room,
//!   and its text stays as large as it is. On a telephone, the words stand above the lane.
//! - LANES-2 The figure itself stands at the end of its lane: nothing must be read off a scale.
//! - LANES-3 Ours are bold, with a sign; floors are outlines: neither by colour alone.

use super::scale::Scale;
use crate::tools::present::escape::{Prose, Text};
use crate::tools::present::html::put;

/// So many labels have room beneath a narrow lane.
const LABELS: u32 = 4;

/// Whose lane it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Who {
    Ours,
    Floor,
    #[default]
    Peer,
}

/// What is drawn in a lane.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// From zero to `value`, with whiskers over `spread`.
    Bar { value: f64, spread: Option<(f64, f64)> },
    /// At `value`, with a band from `from`, and whiskers over `spread`.
    Dot { value: f64, from: Option<f64>, spread: Option<(f64, f64)> },
    /// Percentiles, ascending: bands between them, the paler the rarer; the first is a dot.
    Bands(Vec<f64>),
}

/// One lane.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    pub(super) who: Who,
    pub(super) name: String,
    pub(super) note: String,
    pub(super) figure: String,
    pub(super) shape: Shape,
}

/// The scale of all lanes, and how its ticks are told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub(super) scale: Scale,
    pub(super) tick: fn(f64) -> String,
    pub(super) unit: &'static str,
    /// A value that divides the good from the bad.
    pub(super) line: Option<f64>,
}

impl Axis {
    /// From zero to the greatest that is drawn.
    pub(super) fn bars(lanes: &[Lane], tick: fn(f64) -> String, unit: &'static str) -> Axis {
        let scale = Scale::from_zero(lanes.iter().flat_map(Lane::values), 4);
        Axis { scale, tick, unit, line: None }
    }

    /// Decades around everything that is drawn.
    pub(super) fn decades(lanes: &[Lane], tick: fn(f64) -> String, unit: &'static str) -> Axis {
        let scale = Scale::decades(lanes.iter().flat_map(Lane::values));
        Axis { scale, tick, unit, line: None }
    }
}

impl Lane {
    fn values(&self) -> Vec<f64> {
        let ends = |spread: &Option<(f64, f64)>| spread.map_or(Vec::new(), |(a, b)| vec![a, b]);
        match &self.shape {
            Shape::Bar { value, spread } => [ends(spread), vec![*value]].concat(),
            Shape::Dot { value, from, spread } => {
                [ends(spread), from.iter().copied().collect(), vec![*value]].concat()
            }
            Shape::Bands(values) => values.clone(),
        }
    }
}

/// Draws them.
pub(super) fn draw(lanes: &[Lane], axis: &Axis, out: &mut String) {
    out.push_str("<div class=\"lanes\">\n");
    for lane in lanes {
        let (class, sign) = match lane.who {
            Who::Ours => ("lane ours", "<span class=\"sign\">\u{25b6}</span> "),
            Who::Floor => ("lane floor", ""),
            Who::Peer => ("lane", ""),
        };
        put(
            out,
            format_args!(
                "<div class=\"{class}\"><div class=\"who\">{sign}<b>{}</b> <span>{}</span></div>\
                 <svg width=\"100%\" aria-hidden=\"true\">",
                Text(&lane.name),
                Prose(&lane.note),
            ),
        );
        grid(axis, out);
        shape(&lane.shape, axis.scale, out);
        put(out, format_args!("</svg><div class=\"fig\">{}</div></div>\n", Text(&lane.figure)));
    }
    foot(axis, out);
    out.push_str("</div>\n");
}

fn percent(scale: Scale, value: f64) -> f64 {
    scale.place(value) * 100.0
}

fn grid(axis: &Axis, out: &mut String) {
    for tick in axis.scale.ticks(LABELS) {
        let class = if tick.value.is_some() { "grid" } else { "grid fine" };
        full(class, tick.place * 100.0, out);
    }
    if let Some(value) = axis.line {
        full("parting", percent(axis.scale, value), out);
    }
}

/// A line as high as the lane, whose words may need several lines: the style cuts it off.
fn full(class: &str, x: f64, out: &mut String) {
    put(
        out,
        format_args!("<line class=\"{class}\" x1=\"{x:.2}%\" x2=\"{x:.2}%\" y1=\"0\" y2=\"999\"/>"),
    );
}

fn vertical(class: &str, x: f64, (y1, y2): (i32, i32), out: &mut String) {
    put(
        out,
        format_args!(
            "<line class=\"{class}\" x1=\"{x:.2}%\" x2=\"{x:.2}%\" y1=\"{y1}\" y2=\"{y2}\"/>"
        ),
    );
}

fn shape(shape: &Shape, scale: Scale, out: &mut String) {
    match shape {
        Shape::Bar { value, spread } => {
            band("bar", (0.0, percent(scale, *value)), (6, 14), out);
            whiskers(*spread, scale, out);
        }
        Shape::Dot { value, from, spread } => {
            if let Some(from) = from {
                let (a, b) = (percent(scale, *from), percent(scale, *value));
                band("rise", (a.min(b), a.max(b)), (8, 10), out);
            }
            whiskers(*spread, scale, out);
            dot(percent(scale, *value), out);
        }
        Shape::Bands(values) => {
            for (index, pair) in values.windows(2).enumerate() {
                let ends = (percent(scale, pair[0]), percent(scale, pair[1]));
                // The rarer, the thinner: a violin cut in half.
                let height = [16, 12, 8, 3].get(index).copied().unwrap_or(2);
                let class = ["b0", "b1", "b2", "b3"].get(index).unwrap_or(&"b3");
                band(&format!("band {class}"), ends, (13 - height / 2, height), out);
            }
            if let Some(first) = values.first() {
                dot(percent(scale, *first), out);
            }
        }
    }
}

fn band(class: &str, (from, to): (f64, f64), (y, height): (i32, i32), out: &mut String) {
    let width = (to - from).max(0.0);
    put(
        out,
        format_args!(
            "<rect class=\"{class}\" x=\"{from:.2}%\" width=\"{width:.2}%\" y=\"{y}\" \
             height=\"{height}\"/>"
        ),
    );
}

fn dot(x: f64, out: &mut String) {
    put(out, format_args!("<circle class=\"dot\" cx=\"{x:.2}%\" cy=\"13\" r=\"5.5\"/>"));
}

fn whiskers(spread: Option<(f64, f64)>, scale: Scale, out: &mut String) {
    let Some((least, greatest)) = spread else { return };
    let (a, b) = (percent(scale, least), percent(scale, greatest));
    put(
        out,
        format_args!("<line class=\"whisker\" x1=\"{a:.2}%\" x2=\"{b:.2}%\" y1=\"13\" y2=\"13\"/>"),
    );
    vertical("whisker", a, (9, 17), out);
    vertical("whisker", b, (9, 17), out);
}

fn foot(axis: &Axis, out: &mut String) {
    out.push_str(
        "<div class=\"lane foot\"><div class=\"who\"></div><svg width=\"100%\" height=\"20\" \
         aria-hidden=\"true\">",
    );
    for tick in axis.scale.ticks(LABELS) {
        let Some(value) = tick.value else { continue };
        // Those at the ends stay within.
        let anchor = match tick.place {
            place if place < 0.03 => "start",
            place if place > 0.97 => "end",
            _ => "middle",
        };
        let x = tick.place * 100.0;
        put(
            out,
            format_args!(
                "<text x=\"{x:.2}%\" y=\"14\" text-anchor=\"{anchor}\">{}</text>",
                Text(&(axis.tick)(value))
            ),
        );
    }
    put(out, format_args!("</svg><div class=\"fig\">{}</div></div>\n", Text(axis.unit)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::present::figures::many_tick;

    fn bar(value: f64) -> Lane {
        Lane {
            who: Who::Ours,
            name: "a <b>".into(),
            note: "\"mode\"".into(),
            figure: "x & y".into(),
            shape: Shape::Bar { value, spread: Some((value / 2.0, value)) },
        }
    }

    fn drawn(lanes: &[Lane]) -> String {
        let mut out = String::new();
        draw(lanes, &Axis::bars(lanes, many_tick, "per second"), &mut out);
        crate::tools::present::html::check("lanes", &out);
        out
    }

    #[test]
    fn bars_begin_at_zero_and_are_to_scale() {
        let out = drawn(&[bar(100.0), bar(25.0)]);
        assert!(out.contains("class=\"bar\" x=\"0.00%\" width=\"100.00%\""), "{out}");
        assert!(out.contains("class=\"bar\" x=\"0.00%\" width=\"25.00%\""), "{out}");
        assert!(out.contains(">0</text>") && out.contains(">100</text>"), "{out}");
    }

    #[test]
    fn what_the_record_says_is_text() {
        let out = drawn(&[bar(1.0)]);
        assert!(out.contains("a &lt;b&gt;") && out.contains("&quot;mode&quot;"), "{out}");
        assert!(out.contains("x &amp; y") && out.contains('\u{25b6}'), "{out}");
    }

    #[test]
    fn percentiles_get_thinner() {
        let lane = Lane { shape: Shape::Bands(vec![1.0, 2.0, 4.0, 8.0, 16.0]), ..bar(1.0) };
        let mut out = String::new();
        let lanes = std::slice::from_ref(&lane);
        draw(lanes, &Axis::decades(lanes, many_tick, ""), &mut out);
        let heights: Vec<&str> = out
            .split("class=\"band")
            .skip(1)
            .map(|part| part.split("height=\"").nth(1).unwrap().split('"').next().unwrap())
            .collect();
        assert_eq!(heights, ["16", "12", "8", "3"]);
    }
}
