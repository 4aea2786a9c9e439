//! Throughput against the number of threads: one chart for each load and guarantee.

use std::collections::BTreeSet;

use super::super::record::{FLOOR, Record, Row, SYNCLINE};
use super::cards::{begin, end};
use super::group::{Usual, is_like_but_for_threads};
use super::plot::{LOOKS, Plane, Point, Series, Signs, evenly};
use super::scale::Scale;
use crate::tools::present::figures::{many, many_tick};
use crate::tools::present::html::{close, open, put};

/// So many charts stand open; the others are folded.
const OPEN: usize = 4;

/// The section, if anything of ours was measured with several numbers of threads.
pub(super) fn section(record: &Record, out: &mut String) {
    let charts = charts(record);
    if charts.is_empty() {
        return;
    }
    open(
        "Throughput against threads",
        "From zero. Whiskers span the rounds. Lines join what was measured; between the points \
         nothing was.",
        out,
    );
    let open = charts.len().min(OPEN);
    draw_all(&charts[..open], record, out);
    if open < charts.len() {
        put(out, format_args!("<details><summary>{} more</summary>\n", charts.len() - open));
        draw_all(&charts[open..], record, out);
        out.push_str("</details>\n");
    }
    close(out);
}

/// Rows that differ in who did it and with how many threads.
fn charts(record: &Record) -> Vec<Vec<&Row>> {
    let mut charts: Vec<Vec<&Row>> = Vec::new();
    for row in record.results.iter().filter(|row| row.threads > 0 && row.workload != "flush") {
        let known = charts.iter_mut().find(|chart| {
            chart[0].guarantee == row.guarantee && is_like_but_for_threads(chart[0], row)
        });
        match known {
            Some(chart) => chart.push(row),
            None => charts.push(vec![row]),
        }
    }
    charts
        .retain(|chart| threads(chart).len() > 1 && chart.iter().any(|row| row.engine == SYNCLINE));
    charts
}

fn threads(rows: &[&Row]) -> Vec<usize> {
    rows.iter().map(|row| row.threads).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Who is in a chart, ours first.
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

fn draw_all(charts: &[Vec<&Row>], record: &Record, out: &mut String) {
    let class = if charts.len() == 1 { "cards one" } else { "cards" };
    put(out, format_args!("<div class=\"{class}\">\n"));
    charts.iter().for_each(|chart| draw(chart, record, out));
    out.push_str("</div>\n");
}

fn draw(rows: &[&Row], record: &Record, out: &mut String) {
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
    begin(&Usual::of(record).load_but_for_threads(rows[0]), rows[0].guarantee, out);
    Plane {
        about: "Operations per second for each number of threads",
        x_ticks: threads.iter().map(|count| (place(*count), count.to_string())).collect(),
        x_unit: "threads",
        y: Scale::from_zero(values, 5),
        y_tick: many_tick,
        y_unit: "operations per second",
    }
    .draw(&series, out);
    end(out);
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

/// The same for an engine in every chart.
fn look(name: &str, record: &Record) -> usize {
    if name == SYNCLINE {
        return 0;
    }
    let peers = record.engines.iter().filter(|engine| engine.name != SYNCLINE);
    let index = peers.filter(|engine| engine.name != FLOOR).position(|engine| engine.name == name);
    index.map_or(LOOKS - 1, |index| 1 + index % (LOOKS - 1))
}
