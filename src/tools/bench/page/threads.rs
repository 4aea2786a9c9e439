//! Throughput against the number of threads: one chart per load and guarantee.

use std::collections::BTreeSet;

use maud::Markup;

use super::super::record::{FLOOR, Record, Row, SYNCLINE};
use super::cards::{card, folded};
use super::comparison::{Usual, grouped, is_like_except_threads};
use super::plot::{LOOKS, Plane, Point, Series, Signs, evenly};
use super::scale::Scale;
use crate::tools::present::figures::{many, many_tick};
use crate::tools::present::html;

/// The number of charts that are not folded.
const OPEN: usize = 4;

/// The section, if anything of ours was measured with several numbers of threads.
pub(super) fn section(record: &Record) -> Markup {
    let charts = charts(record);
    if charts.is_empty() {
        return Markup::default();
    }
    html::section(
        "Throughput against threads",
        "From zero. Whiskers span the rounds. Lines join what was measured; between the points \
         nothing was.",
        &folded(&charts, OPEN, |chart| draw(chart, record)),
    )
}

/// Groups of rows that differ only in the engine and the number of threads.
fn charts(record: &Record) -> Vec<Vec<&Row>> {
    let rows = record.results.iter().filter(|row| row.threads > 0 && row.workload != "flush");
    let mut charts =
        grouped(rows, |a, b| a.guarantee == b.guarantee && is_like_except_threads(a, b));
    charts
        .retain(|chart| threads(chart).len() > 1 && chart.iter().any(|row| row.engine == SYNCLINE));
    charts
}

fn threads(rows: &[&Row]) -> Vec<usize> {
    rows.iter().map(|row| row.threads).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The engines of a chart, ours first.
fn names(rows: &[&Row]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for row in rows {
        if !names.contains(&row.engine) {
            names.push(row.engine.clone());
        }
    }
    names.sort_by_key(|name| name != SYNCLINE);
    names
}

fn draw(rows: &[&Row], record: &Record) -> Markup {
    let threads = threads(rows);
    let place = |count| {
        let index = threads.iter().position(|known| *known == count).unwrap_or(0);
        evenly(index, threads.len())
    };
    let series: Vec<Series> = names(rows)
        .into_iter()
        .map(|name| {
            let mut own: Vec<&&Row> = rows.iter().filter(|row| row.engine == name).collect();
            own.sort_by_key(|row| row.threads);
            let mode = &own[0].mode;
            Series {
                look: look(&name, record),
                name: format!("{name} {mode}"),
                points: own.iter().map(|row| point(row, place(row.threads))).collect(),
                signs: Signs::Every,
            }
        })
        .collect();
    let values = rows.iter().flat_map(|row| [row.ops_per_s, row.ops_per_s_spread.max]);
    let plane = Plane {
        about: "Operations per second against the number of threads",
        x_ticks: threads.iter().map(|count| (place(*count), count.to_string())).collect(),
        x_unit: "threads",
        y: Scale::from_zero(values, 5),
        y_tick: many_tick,
        y_unit: "operations per second",
    };
    let title = Usual::of(record).load_without_threads(rows[0]);
    card(&title, rows[0].guarantee, &plane.draw(&series))
}

fn point(row: &Row, x: f64) -> Point {
    let spread = row.ops_per_s_spread;
    Point {
        x,
        y: row.ops_per_s,
        spread: (spread.max > 0.0).then_some((spread.min, spread.max)),
        told: format!("{} {}, {}: {} /s", row.engine, row.mode, row.threads, many(row.ops_per_s)),
    }
}

/// The look of an engine, the same in every chart.
fn look(name: &str, record: &Record) -> usize {
    if name == SYNCLINE {
        return 0;
    }
    let peers = record.engines.iter().filter(|engine| engine.name != SYNCLINE);
    let index = peers.filter(|engine| engine.name != FLOOR).position(|engine| engine.name == name);
    index.map_or(LOOKS - 1, |index| 1 + index % (LOOKS - 1))
}
