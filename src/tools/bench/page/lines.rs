//! Operations per second of each engine against something that grows: threads, keys.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::super::record::{Record, Row};
use super::cards::{card, footnotes};
use super::comparison::{look, owner};
use super::lanes::LaneOwner;
use super::modes::marked;
use super::plot::{Plane, Point, Series, Signs, evenly};
use super::scale::Scale;
use crate::tools::present::figures::{many, many_tick};

/// What grows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Along {
    /// How much of it a row has.
    pub(super) of: fn(&Row) -> u64,
    /// The label of a value.
    pub(super) label: fn(u64) -> String,
    /// What it counts.
    pub(super) unit: &'static str,
}

impl Along {
    /// The different values, ascending.
    pub(super) fn values(&self, rows: &[&Row]) -> Vec<u64> {
        rows.iter().map(|row| (self.of)(row)).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// A card with a line for each engine and mode, ours first. The floor has one point at most, and no
    /// line.
    pub(super) fn card(&self, title: &str, rows: &[&Row], record: &Record) -> Markup {
        let rows: Vec<&Row> = rows.iter().copied().filter(|row| !row.is_floor()).collect();
        let values = self.values(&rows);
        let place = |row: &Row| {
            let index = values.iter().position(|known| *known == (self.of)(row)).unwrap_or(0);
            evenly(index, values.len())
        };
        let mut series: Vec<(LaneOwner, Series)> = Vec::new();
        for first in &rows {
            let mode = marked(first, record);
            let name = format!("{} {mode}", first.engine);
            if series.iter().any(|(_, known)| known.name == name) {
                continue;
            }
            let is_own = |row: &&&Row| row.engine == first.engine && row.mode == first.mode;
            let mut own: Vec<&&Row> = rows.iter().filter(is_own).collect();
            own.sort_by_key(|row| (self.of)(row));
            let points = own.iter().map(|row| self.point(row, place(row))).collect();
            let line =
                Series { look: look(&first.engine, record), name, points, signs: Signs::Every };
            series.push((owner(first), line));
        }
        series.sort_by_key(|(owner, _)| *owner != LaneOwner::Ours);
        let series: Vec<Series> = series.into_iter().map(|(_, series)| series).collect();
        let ends = rows.iter().flat_map(|row| [row.ops_per_s, row.ops_per_s_spread.max]);
        let label = |value: &u64| (self.label)(*value);
        let ticks = values.iter().enumerate();
        let plane = Plane {
            about: &format!("Operations per second against {}", self.unit),
            x_ticks: ticks
                .map(|(index, value)| (evenly(index, values.len()), label(value)))
                .collect(),
            x_unit: self.unit,
            y: Scale::from_zero(ends, 5),
            y_tick: many_tick,
            y_unit: "operations per second",
        };
        let chart = html! { (plane.draw(&series)) (footnotes(&rows, record)) };
        let guarantee = rows.first().and_then(|row| row.guarantee);
        card(title, guarantee, &chart)
    }

    fn point(&self, row: &Row, x: f64) -> Point {
        let spread = row.ops_per_s_spread;
        let value = (self.label)((self.of)(row));
        Point {
            x,
            y: row.ops_per_s,
            spread: (spread.max > 0.0).then_some((spread.min, spread.max)),
            told: format!(
                "{} {}, {value} {}: {}/s",
                row.engine,
                row.mode,
                self.unit,
                many(row.ops_per_s)
            ),
        }
    }
}
