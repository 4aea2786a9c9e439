//! The distribution of latencies: ours above the floor as curves, all engines as bands.
//!
//! Each step along x is ten times rarer (90 %, 99 %, 99.9 %). A curve that stays flat to the right is
//! that of a store whose worst operations are like the others.

use maud::{Markup, html};

use super::super::engine::Guarantee;
use super::super::record::{Record, Row, SYNCLINE};
use super::cards::{Measure, beside, card, cards};
use super::comparison::{Comparison, is_like_except_threads};
use super::plot::{LOOKS, Plane, Point, Series, Signs};
use super::scale::Scale;
use crate::tools::present::figures::{time, time_tick};
use crate::tools::present::html;

/// The section, if commits were measured.
pub(super) fn section(record: &Record) -> Markup {
    let Some(first) = record.results.iter().find(|row| is_commit(row)) else {
        return Markup::default();
    };
    let rows: Vec<&Row> = record
        .results
        .iter()
        .filter(|row| is_commit(row) && is_like_except_threads(row, first))
        .collect();
    let most = rows.iter().map(|row| row.threads).max().unwrap_or(1);
    let groups: Vec<Comparison<'_>> = Comparison::all(&rows)
        .into_iter()
        .filter(|group| [1, most].contains(&group.rows[0].threads) && group.rows.len() > 1)
        .collect();
    let charts = html! {
        (beside([curves(&rows)]))
        @if !groups.is_empty() {
            p.soft {
                "Side by side: the dot is the median, then bands to p90, p99, p99.9 and to the "
                "longest, the rarer the thinner."
            }
            (cards(&groups, Measure::Percentiles, record))
        }
    };
    html::section(
        "How long do commits take, and how evenly?",
        "The middle says what is usual, the rare ones what users notice.",
        &charts,
    )
}

fn is_commit(row: &Row) -> bool {
    row.workload == "commit"
        && row.batch <= 1
        && row.rate.is_none()
        && (row.engine != SYNCLINE || !row.latency.is_empty())
}

/// Ours in one thread and in most, and the fastest floor of each guarantee.
fn curves(rows: &[&Row]) -> Markup {
    let mut floors: Vec<&Row> = Vec::new();
    for floor in rows.iter().copied().filter(|row| row.is_floor()) {
        match floors.iter_mut().find(|row| row.guarantee == floor.guarantee) {
            Some(row) if floor.p50_us < row.p50_us => *row = floor,
            Some(_) => {}
            None => floors.push(floor),
        }
    }
    let ours = || rows.iter().copied().filter(|row| row.engine == SYNCLINE);
    let is_end = |row: &&Row| {
        let same = ours().filter(|other| other.mode == row.mode);
        row.threads == 1 || same.map(|other| other.threads).max() == Some(row.threads)
    };
    let shown = ours().filter(is_end).chain(floors);
    let shown: Vec<&Row> = shown.filter(|row| row.latency.len() > 1).collect();
    if shown.is_empty() {
        return Markup::default();
    }
    let nines = shown.iter().flat_map(|row| &row.latency).map(|(q, _)| *q).filter(|q| *q < 1.0);
    let nines = nines.map(rarity).fold(3.0, f64::max).ceil().min(6.0);
    let series: Vec<Series> = shown
        .iter()
        .enumerate()
        .map(|(index, row)| Series {
            name: name(row),
            look: look(row, index),
            points: row.latency.iter().map(|(q, us)| point(*q, *us, nines)).collect(),
            signs: Signs::AtTicks,
        })
        .collect();
    let plane = Plane {
        about: "Latency of commits at each percentile, for each mode",
        x_ticks: ticks(nines),
        x_unit: "percent of all commits took no longer",
        y: Scale::decades(series.iter().flat_map(|series| series.points.iter().map(|p| p.y))),
        y_tick: time_tick,
        y_unit: "latency, logarithmic",
    };
    card("How rare are long commits? Ours, beside bare writes", None, &plane.draw(&series))
}

fn name(row: &Row) -> String {
    let threads = if row.threads == 1 { "thread" } else { "threads" };
    let floor = if row.is_floor() { "floor: " } else { "" };
    format!("{floor}{}, {} {threads}", row.mode, row.threads)
}

/// Our rows take the first looks, floors the last ones.
fn look(row: &Row, index: usize) -> usize {
    match row.guarantee {
        _ if !row.is_floor() => index % (LOOKS - 2),
        Some(Guarantee::PowerLoss) => LOOKS - 2,
        _ => LOOKS - 1,
    }
}

/// The number of nines of a quantile.
fn rarity(quantile: f64) -> f64 {
    -(1.0 - quantile).max(1e-12).log10()
}

/// The place along x. The longest latency is one step beyond the last nine.
fn place(quantile: f64, nines: f64) -> f64 {
    if quantile >= 1.0 { 1.0 } else { rarity(quantile).min(nines) / (nines + 1.0) }
}

fn point(quantile: f64, us: f64, nines: f64) -> Point {
    let told = match quantile {
        q if q >= 1.0 => format!("the longest: {}", time(us)),
        q => format!("{} %: {}", percent(q), time(us)),
    };
    Point { x: place(quantile, nines), y: us, spread: None, told }
}

fn ticks(nines: f64) -> Vec<(f64, String)> {
    let quantiles = (0..=nines as i32).map(|count| 1.0 - 10f64.powi(-count));
    quantiles.map(|q| (place(q, nines), percent(q))).chain([(1.0, "all".into())]).collect()
}

fn percent(quantile: f64) -> String {
    if quantile == 0.0 {
        return "0".into();
    }
    let text = format!("{:.4}", quantile * 100.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_nine_is_a_step() {
        let places: Vec<f64> =
            [0.0, 0.9, 0.99, 0.999, 1.0].iter().map(|q| place(*q, 3.0)).collect();
        for (place, expected) in places.iter().zip([0.0, 0.25, 0.5, 0.75, 1.0]) {
            assert!((place - expected).abs() < 1e-6, "{places:?}");
        }
        let labels: Vec<String> = ticks(3.0).into_iter().map(|(_, label)| label).collect();
        assert_eq!(labels, ["0", "90", "99", "99.9", "all"]);
    }
}
