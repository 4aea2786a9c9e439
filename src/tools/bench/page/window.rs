//! What a power loss would take: all relaxed modes side by side, and ours at each interval.

use maud::{Markup, html};

use super::super::record::{Record, Row};
use super::cards::{beside, card, footnotes};
use super::comparison::owner;
use super::lanes::{Axis, Lane, Shape, draw};
use super::modes::{loss, marked};
use super::needs::is_window;
use super::plot::{Plane, Point, Series, Signs, evenly};
use super::scale::Scale;
use crate::tools::present::figures::{bytes, many, many_tick, plain, time, time_tick};
use crate::tools::present::html;
use crate::tools::present::prose::Prose;

/// What the figures say and what not.
pub(in crate::tools::bench) const ABOUT: &str = "One thread commits as fast as it can, without waiting for the device. At random moments, another \
     one looks which acknowledged commits lie after the last flush that has ended: a power loss at \
     that moment may take them. The device may hold more of them, so this is the most that is lost, not \
     what surely is. A kill of the process alone takes none of them, unless the table says so. Age is \
     that of the oldest commit which is lost.";

/// The section, if the window was measured.
pub(super) fn section(record: &Record) -> Markup {
    let rows = rows(record);
    if rows.is_empty() {
        return Markup::default();
    }
    let compared: Vec<&Row> = rows.iter().copied().filter(|row| is_window(row)).collect();
    let cards = [ages(&compared, record), intervals(record)].into_iter().flatten();
    let cards: Vec<Markup> = cards.collect();
    let content = html! { (beside(cards.into_iter())) (table(&rows, record)) };
    html::section("What would a power loss take?", ABOUT, &content)
}

/// All rows with losses; ours by interval.
pub(in crate::tools::bench) fn rows(record: &Record) -> Vec<&Row> {
    let is_one = |row: &&Row| row.workload == "window" && row.figure("lost_commits_p50").is_some();
    let mut rows: Vec<&Row> = record.results.iter().filter(is_one).collect();
    rows.sort_by(|a, b| {
        let key = |row: &Row| row.figure("flush_interval_ms").unwrap_or(f64::MAX);
        key(a).total_cmp(&key(b))
    });
    rows
}

/// The mode, and our interval where it is one of several.
pub(in crate::tools::bench) fn setting(row: &Row, record: &Record) -> String {
    match row.figure("flush_interval_ms") {
        Some(ms) => format!("{}, interval {} ms", row.mode, plain(ms)),
        None => marked(row, record),
    }
}

/// The headings of the table, and the cells of a row.
pub(in crate::tools::bench) const COLUMNS: [&str; 9] = [
    "store",
    "mode",
    "commits/s",
    "lost commits, median",
    "p99",
    "most",
    "lost bytes, p99",
    "age, p99",
    "age, most",
];

pub(in crate::tools::bench) fn cells(row: &Row, record: &Record) -> [String; COLUMNS.len()] {
    let shown = |name: &str, show: fn(f64) -> String| row.figure(name).map_or(String::new(), show);
    let ms = |ms: f64| time(ms * 1000.0);
    [
        row.engine.clone(),
        setting(row, record),
        format!("{}/s", many(row.ops_per_s)),
        shown("lost_commits_p50", many),
        shown("lost_commits_p99", many),
        shown("lost_commits_max", many),
        shown("lost_bytes_p99", |count| bytes(count.max(0.0) as u64)),
        shown("lost_ms_p99", ms),
        shown("lost_ms_max", ms),
    ]
}

/// The heading of [`promise`].
pub(in crate::tools::bench) const PROMISE: &str = "what may be lost, as described";

/// What a mode may lose, as its engine describes it, and by which end.
pub(in crate::tools::bench) fn promise(row: &Row, record: &Record) -> String {
    loss(row, record).unwrap_or_default()
}

fn table(rows: &[&Row], record: &Record) -> Markup {
    html! {
        div.scroll {
            table {
                thead {
                    tr {
                        @for (index, heading) in COLUMNS.iter().enumerate() {
                            th.n[index > 1] { (heading) }
                        }
                        th { (PROMISE) }
                    }
                }
                tbody {
                    @for row in rows {
                        tr {
                            @for (index, cell) in cells(row, record).iter().enumerate() {
                                td.n[index > 1] { (cell) }
                            }
                            td.wide { (Prose(&promise(row, record))) }
                        }
                    }
                }
            }
        }
    }
}

/// How old the commits are, of each engine.
fn ages(rows: &[&Row], record: &Record) -> Option<Markup> {
    let lane = |row: &&Row| {
        let named = |name: &str| row.figure(name).filter(|ms| *ms > 0.0).map(|ms| ms * 1000.0);
        let (p99, most) = (named("lost_ms_p99").or(named("lost_ms_max"))?, named("lost_ms_max"));
        let least = named("lost_ms_p50").unwrap_or(p99);
        Some(Lane {
            owner: owner(row),
            name: row.engine.clone(),
            note: setting(row, record),
            figure: time(p99),
            shape: Shape::Dot {
                value: p99,
                from: None,
                spread: Some((least, most.unwrap_or(p99).max(p99))),
            },
        })
    };
    let lanes: Vec<Lane> = rows.iter().filter_map(lane).collect();
    let axis = Axis::decades(&lanes, time_tick, "p99");
    let chart = html! {
        (draw(&lanes, &axis))
        p.note { "The dot is p99 of all moments, the whisker spans from the median to the most." }
        (footnotes(rows, record))
    };
    (!lanes.is_empty()).then(|| card("How far back does a power loss reach?", None, &chart))
}

/// Ours, by the interval.
fn intervals(record: &Record) -> Option<Markup> {
    const LINES: [(&str, &str); 3] =
        [("lost_commits_max", "most"), ("lost_commits_p99", "p99"), ("lost_commits_p50", "median")];
    let interval = |row: &Row| row.figure("flush_interval_ms").unwrap_or(0.0);
    let rows: Vec<&Row> = rows(record).into_iter().filter(|row| interval(row) > 0.0).collect();
    let place = |index| evenly(index, rows.len());
    let line = |(look, (figure, name)): (usize, &(&str, &str))| {
        let points = rows.iter().enumerate().filter_map(|(index, row)| {
            // Zero has no place on a logarithmic scale; it is in the table.
            let lost = row.figure(figure).filter(|lost| *lost > 0.0)?;
            let told = format!("{} ms, {name}: {} commits", plain(interval(row)), many(lost));
            Some(Point { x: place(index), y: lost, spread: None, told })
        });
        let (name, points) = (format!("{name} of all moments"), points.collect());
        Series { name, look, points, signs: Signs::Every }
    };
    let mut series: Vec<Series> = LINES.iter().enumerate().map(line).collect();
    series.retain(|series| !series.points.is_empty());
    if series.is_empty() {
        return None;
    }
    let ticks = rows.iter().enumerate();
    let plane = Plane {
        about: "Commits that a power loss would take back, for each flush interval",
        x_ticks: ticks.map(|(index, row)| (place(index), plain(interval(row)))).collect(),
        x_unit: "flush interval in ms",
        y: Scale::decades(series.iter().flat_map(|s| s.points.iter().map(|p| p.y))),
        y_tick: many_tick,
        y_unit: "commits, logarithmic",
    };
    let title = "How many Async commits does Syncline lose, by its interval?";
    Some(card(title, None, &plane.draw(&series)))
}
