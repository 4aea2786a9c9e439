//! A store that is served: throughput against connections, ways to wait, bytes of a request, and the
//! cost of a crowd.
//!
//! Every row is ours: rows differ in the way of asking, not in the engine.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::super::record::{Record, Row};
use super::cards::{beside, card};
use super::comparison::{SERVED, Usual, grouped};
use super::lanes::{Axis, Lane, LaneOwner, Shape, draw};
use super::plot::{LOOKS, Plane, Point, Series, Signs, evenly};
use super::scale::Scale;
use super::table::figures;
use crate::tools::present::figures::{bytes, digits, many, many_tick, plain, time, time_tick};
use crate::tools::present::html::section;

/// Whether only a server was measured.
pub(super) fn is_all(record: &Record) -> bool {
    let is_net = |row: &Row| SERVED.contains(&&*row.workload);
    !record.results.is_empty() && record.results.iter().all(is_net)
}

/// The sections of the rows that there are.
pub(super) fn sections(record: &Record) -> Markup {
    html! { (server(record)) (patterns(record)) (codecs(record)) (crowd(record)) }
}

fn of<'a>(record: &'a Record, workload: &str) -> Vec<&'a Row> {
    record.results.iter().filter(|row| row.workload == workload).collect()
}

/// Groups of rows that differ only in the load and its connections, in order.
fn by_variant<'a>(rows: &[&'a Row]) -> Vec<Vec<&'a Row>> {
    grouped(rows.iter().copied(), |a, b| a.variant == b.variant)
}

fn server(record: &Record) -> Markup {
    let rows = of(record, "server");
    if rows.is_empty() {
        return Markup::default();
    }
    let groups = by_variant(&rows);
    let connections: BTreeSet<usize> = rows.iter().map(|row| row.threads).collect();
    let rates = |group: &[&Row]| match connections.len() {
        0 | 1 => {
            let lanes: Vec<Lane> = group.iter().map(|row| rate_lane(row)).collect();
            draw(&lanes, &Axis::bars(&lanes, many_tick, "per second"))
        }
        _ => against_connections(group, &connections),
    };
    let most = connections.last().copied().unwrap_or(1);
    let latencies = |group: &[&Row]| {
        let rows = group.iter().filter(|row| row.threads == most);
        let lanes: Vec<Lane> =
            rows.filter_map(|row| bands(row, load_name(&row.engine), String::new())).collect();
        lanes_card(&group[0].variant, &lanes, Axis::decades(&lanes, time_tick, "median"))
    };
    let charts = html! {
        (beside(groups.iter().map(|group| {
            card(&group[0].variant, group[0].guarantee, &rates(group))
        })))
        p.soft {
            "Latencies over " (most) " connections: the dot is the median, then bands to p90, p99, "
            "p99.9 and to the longest."
        }
        (beside(groups.iter().map(|group| latencies(group))))
    };
    section(
        "A server, against connections",
        "From zero. Whiskers span the rounds. The lean load sends packets and nothing else; with \
         the client there are as many connections as it says, or one for all requests.",
        &charts,
    )
}

/// The load generators, in words.
fn load_name(engine: &str) -> &str {
    match engine {
        "lean" => "lean load",
        "pool" => "client",
        "one" => "client, one connection",
        other => other,
    }
}

fn rate_lane(row: &Row) -> Lane {
    let spread = row.ops_per_s_spread;
    let spread = (spread.max > 0.0).then_some((spread.min, spread.max));
    Lane {
        owner: LaneOwner::Ours,
        name: load_name(&row.engine).to_owned(),
        note: String::new(),
        figure: format!("{} /s", many(row.ops_per_s)),
        shape: Shape::Bar { value: row.ops_per_s, spread },
    }
}

fn against_connections(rows: &[&Row], connections: &BTreeSet<usize>) -> Markup {
    let place = |count: usize| {
        let index = connections.iter().position(|known| *known == count).unwrap_or(0);
        evenly(index, connections.len())
    };
    let mut engines: Vec<&str> = Vec::new();
    for row in rows {
        if !engines.contains(&&*row.engine) {
            engines.push(&row.engine);
        }
    }
    let point = |row: &&Row| {
        let spread = row.ops_per_s_spread;
        Point {
            x: place(row.threads),
            y: row.ops_per_s,
            spread: (spread.max > 0.0).then_some((spread.min, spread.max)),
            told: format!(
                "{}, {}: {} /s",
                load_name(&row.engine),
                row.threads,
                many(row.ops_per_s)
            ),
        }
    };
    let series: Vec<Series> = engines
        .iter()
        .enumerate()
        .map(|(index, engine)| {
            let mut own: Vec<&Row> =
                rows.iter().copied().filter(|row| row.engine == *engine).collect();
            own.sort_by_key(|row| row.threads);
            let points = own.iter().map(point).collect();
            let (name, look) = (load_name(engine).to_owned(), index % LOOKS);
            Series { name, look, points, signs: Signs::Every }
        })
        .collect();
    let values = rows.iter().flat_map(|row| [row.ops_per_s, row.ops_per_s_spread.max]);
    Plane {
        about: "Operations per second against the number of connections",
        x_ticks: connections.iter().map(|count| (place(*count), count.to_string())).collect(),
        x_unit: "connections",
        y: Scale::from_zero(values, 5),
        y_tick: many_tick,
        y_unit: "operations per second",
    }
    .draw(&series)
}

fn bands(row: &Row, name: &str, note: String) -> Option<Lane> {
    let all = [row.p50_us, row.p90_us, row.p99_us, row.p999_us, row.max_us];
    let known: Vec<f64> = all.into_iter().filter(|us| us.is_finite() && *us > 0.0).collect();
    (!known.is_empty()).then(|| Lane {
        owner: LaneOwner::Ours,
        name: name.to_owned(),
        note,
        figure: time(row.p50_us),
        shape: Shape::Bands(known),
    })
}

fn lanes_card(title: &str, lanes: &[Lane], axis: Axis) -> Markup {
    if lanes.is_empty() { Markup::default() } else { card(title, None, &draw(lanes, &axis)) }
}

/// One lane per row that has the figure.
fn bars(rows: &[&Row], figure: &str, told: fn(f64) -> String) -> Vec<Lane> {
    let lane = |row: &&Row| {
        let value = row.figure(figure)?;
        Some(Lane {
            owner: if row.mode == "codec" && row.engine != "bincode" {
                LaneOwner::Peer
            } else {
                LaneOwner::Ours
            },
            name: if row.mode == "codec" { row.engine.clone() } else { row.mode.clone() },
            note: String::new(),
            figure: told(value),
            shape: Shape::Bar { value, spread: None },
        })
    };
    rows.iter().filter_map(lane).collect()
}

fn as_bytes(value: f64) -> String {
    bytes(value.max(0.0) as u64)
}

fn patterns(record: &Record) -> Markup {
    let mut rows = of(record, "patterns");
    rows.retain(|row| row.mode != "codec");
    let Some(first) = rows.first() else { return Markup::default() };
    let waits: Vec<Lane> =
        rows.iter().filter_map(|row| bands(row, &row.mode, String::new())).collect();
    let known = |row: &&Row| {
        let (p50, p99) = (row.figure("durable to known p50")?, row.figure("durable to known p99")?);
        Some(Lane {
            owner: LaneOwner::Ours,
            name: row.mode.clone(),
            note: format!("median {}", time(p50)),
            figure: time(p99),
            // A median of zero has no place on this scale.
            shape: Shape::Dot { value: p99.max(1.0), from: Some(p50.max(1.0)), spread: None },
        })
    };
    let known: Vec<Lane> = rows.iter().filter_map(known).collect();
    let cost = |title: &str, figure: &str, told: fn(f64) -> String, unit: &'static str| {
        let lanes = bars(&rows, figure, told);
        let tick: fn(f64) -> String = if unit == "time" { time_tick } else { plain };
        lanes_card(title, &lanes, Axis::bars(&lanes, tick, unit))
    };
    let charts = html! {
        (beside([lanes_card(
            &first.variant, &waits, Axis::decades(&waits, time_tick, "median"))]))
        div.cards {
            (lanes_card(
                "from durable to known, p99", &known, Axis::decades(&known, time_tick, "p99")))
            (cost("requests per put", "requests each", digits, "requests"))
            (cost("bytes per put, both ways", "bytes each", as_bytes, "bytes"))
            (cost("server CPU per put", "server CPU each", time, "time"))
            (cost("client CPU per put", "client CPU each", time, "time"))
        }
    };
    section(
        "Ways to wait",
        "The same asynchronous put, and the ways to learn that it is durable. The dot is the \
         median, then bands to p90, p99, p99.9 and to the longest, the rarer the thinner.",
        &charts,
    )
}

fn codecs(record: &Record) -> Markup {
    let mut rows = of(record, "patterns");
    rows.retain(|row| row.mode == "codec");
    let Some(first) = rows.first() else { return Markup::default() };
    let value = as_bytes(first.value_bytes as f64);
    let chart = |what: &str, figure: &str, told: fn(f64) -> String, unit: &'static str| {
        let lanes = bars(&rows, figure, told);
        let title = format!("{what}: a value of {value}");
        lanes_card(&title, &lanes, Axis::bars(&lanes, plain, unit))
    };
    let nanoseconds = |value: f64| format!("{} ns", digits(value));
    let charts = html! {
        div.cards {
            (chart("bytes of a put", "size", as_bytes, "bytes"))
            (chart("to write it", "write", nanoseconds, "ns"))
            (chart("to read it", "read", nanoseconds, "ns"))
        }
    };
    section(
        "A request as bytes",
        "The same put in three forms. Ours has a checksum, an id, a mode and a keyspace in it, RESP \
         has none of these; in JSON bytes are hexadecimal.",
        &charts,
    )
}

fn crowd(record: &Record) -> Markup {
    let rows = of(record, "crowd");
    if rows.is_empty() {
        return Markup::default();
    }
    let (groups, usual) = (by_variant(&rows), Usual::of(record));
    let chart = |group: &[&Row]| {
        let note = |row: &Row| format!("p99 {}", time(row.p99_us));
        let lanes: Vec<Lane> =
            group.iter().filter_map(|row| bands(row, &row.mode, note(row))).collect();
        html! {
            (draw(&lanes, &Axis::decades(&lanes, time_tick, "median")))
            @for row in group.iter().filter(|row| !row.figures.is_empty()) {
                p.soft { (row.mode) ": " (figures(row)) "." }
            }
        }
    };
    let cards = groups.iter().map(|group| {
        card(&usual.load_without_threads(group[0]), group[0].guarantee, &chart(group))
    });
    section(
        "A crowd",
        "What others still get beside many connections, or a connection beside what it has in \
         flight: the dot is the median, then bands to p90, p99, p99.9 and to the longest. Of \
         watched jobs it is the time from when a put was due until it was known to be durable.",
        &beside(cards),
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::record::{Figure, Spread};
    use super::super::render;
    use super::*;
    use crate::tools::present::html;

    fn row(workload: &str, engine: &str, mode: &str, threads: usize) -> Row {
        let figure =
            |name: &str, unit: &str| Figure { name: name.into(), value: 7.5, unit: unit.into() };
        Row {
            workload: workload.into(),
            variant: format!("{workload} does it"),
            engine: engine.into(),
            mode: mode.into(),
            threads,
            value_bytes: 150,
            ops_per_s: 1000.0,
            p50_us: 10.0,
            p99_us: 100.0,
            max_us: 1000.0,
            ops_per_s_spread: Spread { min: 900.0, median: 1000.0, max: 1100.0 },
            figures: vec![
                figure("requests each", ""),
                figure("bytes each", "bytes"),
                figure("size", "bytes"),
                figure("durable to known p50", "us"),
                figure("durable to known p99", "us"),
            ],
            ..Row::default()
        }
    }

    #[test]
    fn each_benchmark_of_a_server_has_its_charts() {
        let results = vec![
            row("server", "lean", "get", 1),
            row("server", "lean", "get", 50),
            row("server", "one", "get", 50),
            row("patterns", "client", "push", 1),
            row("patterns", "bincode", "codec", 1),
            row("patterns", "JSON", "codec", 1),
            row("crowd", "lean", "alone", 16),
        ];
        let record = Record { results, ..Record::default() };
        let page = render(&record);
        html::check("net", &page);
        html::keep("bench-net", &page);
        for text in [
            "A server, against connections",
            "client, one connection",
            "Ways to wait",
            "from durable to known",
            "A request as bytes",
            "A crowd",
            "50 connections",
        ] {
            assert!(page.contains(text), "{text}");
        }
        assert_eq!(page.matches("class=\"plane\"").count(), 1);
        assert!(!page.contains("What each store promises") && !page.contains("floor of its"));
    }
}
