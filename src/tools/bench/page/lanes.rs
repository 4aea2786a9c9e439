//! Figures side by side, one lane each, on a common scale.
//!
//! ```text
//!   syncline          |=============|--|        1.23 M/s
//!   async             |             :           
//!   other             |====|-|      :            345 k/s
//!   its mode          |      :      :           
//!                     0     500 k   1 M
//! ```
//!
//! - LANES-1 Places are parts of the width, and heights are pixels: a lane fills its width, and its text
//!   keeps its size. On a narrow screen, the words stand above the lane.
//! - LANES-2 The figure itself stands at the end of its lane: nothing must be read off a scale.
//! - LANES-3 Ours are bold, with a sign; floors are outlines: neither by colour alone.

use maud::{Markup, html};

use super::scale::Scale;
use crate::tools::present::prose::Prose;

/// The labels that have room beneath a narrow lane.
const LABELS: u32 = 3;

/// The owner of a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LaneOwner {
    Ours,
    Floor,
    /// Of ours, and neither better nor worse than another.
    Level,
    #[default]
    Peer,
}

/// The shape in a lane.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// From zero to `value`, with whiskers over `spread`.
    Bar { value: f64, spread: Option<(f64, f64)> },
    /// At `value`, with a band from `from`, and whiskers over `spread`.
    Dot { value: f64, from: Option<f64>, spread: Option<(f64, f64)> },
    /// Percentiles, ascending. The first is a dot; the bands between them get paler and thinner.
    Bands(Vec<f64>),
}

/// One lane.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    pub(super) owner: LaneOwner,
    pub(super) name: String,
    pub(super) note: String,
    pub(super) figure: String,
    pub(super) shape: Shape,
}

/// The scale of all lanes, and the labels of its ticks.
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
        let scale = Scale::from_zero(lanes.iter().flat_map(Lane::values), 3);
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

/// Draws the lanes.
pub(super) fn draw(lanes: &[Lane], axis: &Axis) -> Markup {
    html! {
        div.lanes {
            @for lane in lanes {
                div.lane.ours[lane.owner == LaneOwner::Ours].floor[lane.owner == LaneOwner::Floor]
                    .level[lane.owner == LaneOwner::Level] {
                    div.who {
                        @if let Some(sign) = sign(lane.owner) { span.sign { (sign) } " " }
                        b { (lane.name) } " " span { (Prose(&lane.note)) }
                    }
                    svg width="100%" aria-hidden="true" {
                        (grid(axis))
                        (shape(&lane.shape, axis.scale))
                    }
                    div.fig { (lane.figure) }
                }
            }
            (foot(axis))
        }
    }
}

/// The sign before a name: no meaning is in a colour alone.
fn sign(owner: LaneOwner) -> Option<&'static str> {
    match owner {
        LaneOwner::Ours => Some("\u{25b6}"),
        LaneOwner::Level => Some("="),
        LaneOwner::Floor | LaneOwner::Peer => None,
    }
}

/// A part of the width.
pub(super) fn percent(part: f64) -> String {
    format!("{:.2}%", part * 100.0)
}

/// Lines as high as the lane, whose words may need several lines: the style cuts them off.
fn grid(axis: &Axis) -> Markup {
    let full = |class, place| vertical(class, place, (0, 999));
    html! {
        @for tick in axis.scale.ticks(LABELS) { (full(tick.class(), tick.place)) }
        @if let Some(value) = axis.line { (full("parting", axis.scale.place(value))) }
    }
}

fn vertical(class: &str, place: f64, (y1, y2): (i32, i32)) -> Markup {
    let x = percent(place);
    html! { line class=(class) x1=(x) x2=(x) y1=(y1) y2=(y2) {} }
}

fn shape(shape: &Shape, scale: Scale) -> Markup {
    match shape {
        Shape::Bar { value, spread } => html! {
            (band("bar", (0.0, scale.place(*value)), (6, 14)))
            (whiskers(*spread, scale))
        },
        Shape::Dot { value, from, spread } => {
            let at = scale.place(*value);
            html! {
                @if let Some(from) = from.map(|from| scale.place(from)) {
                    (band("rise", (at.min(from), at.max(from)), (8, 10)))
                }
                (whiskers(*spread, scale))
                (dot(at))
            }
        }
        Shape::Bands(values) => html! {
            @for (index, pair) in values.windows(2).enumerate() {
                // Bands get thinner towards the rare values, like half a violin plot.
                @let height = [16, 12, 8, 3].get(index).copied().unwrap_or(2);
                @let class = ["b0", "b1", "b2", "b3"].get(index).unwrap_or(&"b3");
                @let ends = (scale.place(pair[0]), scale.place(pair[1]));
                (band(&format!("band {class}"), ends, (13 - height / 2, height)))
            }
            @if let Some(first) = values.first() { (dot(scale.place(*first))) }
        },
    }
}

fn band(class: &str, (from, to): (f64, f64), (y, height): (i32, i32)) -> Markup {
    let width = percent((to - from).max(0.0));
    html! { rect class=(class) x=(percent(from)) width=(width) y=(y) height=(height) {} }
}

fn dot(place: f64) -> Markup {
    html! { circle.dot cx=(percent(place)) cy="13" r="5.5" {} }
}

fn whiskers(spread: Option<(f64, f64)>, scale: Scale) -> Markup {
    let Some((least, greatest)) = spread else { return Markup::default() };
    let (a, b) = (scale.place(least), scale.place(greatest));
    html! {
        line.whisker x1=(percent(a)) x2=(percent(b)) y1="13" y2="13" {}
        (vertical("whisker", a, (9, 17)))
        (vertical("whisker", b, (9, 17)))
    }
}

fn foot(axis: &Axis) -> Markup {
    // Labels at the ends stay within the lane.
    let anchor = |place: f64| match place {
        _ if place < 0.03 => "start",
        _ if place > 0.97 => "end",
        _ => "middle",
    };
    html! {
        div.lane.foot {
            div.who {}
            svg width="100%" height="20" aria-hidden="true" {
                @for tick in axis.scale.ticks(LABELS) {
                    @if let Some(value) = tick.value {
                        text x=(percent(tick.place)) y="14" text-anchor=(anchor(tick.place)) {
                            ((axis.tick)(value))
                        }
                    }
                }
            }
            div.fig { (axis.unit) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::present::figures::many_tick;

    fn bar(value: f64) -> Lane {
        Lane {
            owner: LaneOwner::Ours,
            name: "a <b>".into(),
            note: "\"mode\"".into(),
            figure: "x & y".into(),
            shape: Shape::Bar { value, spread: Some((value / 2.0, value)) },
        }
    }

    fn drawn(lanes: &[Lane]) -> String {
        let out = draw(lanes, &Axis::bars(lanes, many_tick, "per second")).into_string();
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
    fn names_and_notes_are_escaped() {
        let out = drawn(&[bar(1.0)]);
        assert!(out.contains("a &lt;b&gt;") && out.contains("&quot;mode&quot;"), "{out}");
        assert!(out.contains("x &amp; y") && out.contains('\u{25b6}'), "{out}");
    }

    #[test]
    fn percentiles_get_thinner() {
        let lane = Lane { shape: Shape::Bands(vec![1.0, 2.0, 4.0, 8.0, 16.0]), ..bar(1.0) };
        let lanes = std::slice::from_ref(&lane);
        let out = draw(lanes, &Axis::decades(lanes, many_tick, "")).into_string();
        let heights: Vec<&str> = out
            .split("class=\"band")
            .skip(1)
            .map(|part| part.split("height=\"").nth(1).unwrap().split('"').next().unwrap())
            .collect();
        assert_eq!(heights, ["16", "12", "8", "3"]);
    }
}
