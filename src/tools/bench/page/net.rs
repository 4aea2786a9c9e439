//! A store that is served: throughput against connections, ways to wait, bytes of a request, and
//! what a crowd costs.
//!
//! All of them are ours, so that nobody is compared with anybody else: what differs is how it was
//! asked for.

use std::collections::BTreeSet;

use super::super::record::{Record, Row};
use super::cards::{begin, end};
use super::group::Usual;
use super::lanes::{Axis, Lane, Shape, Who, draw};
use super::plot::{LOOKS, Plane, Point, Series, Signs, evenly};
use super::scale::Scale;
use super::table::figures;
use crate::tools::present::escape::Text;
use crate::tools::present::figures::{bytes, digits, many, many_tick, plain, time, time_tick};
use crate::tools::present::html::{close, open, put};

/// The workloads that are told here.
pub(super) const WORKLOADS: [&str; 3] = ["server", "patterns", "crowd"];

/// Whether nothing but a server was measured.
pub(super) fn is_all(record: &Record) -> bool {
    let is_net = |row: &Row| WORKLOADS.contains(&&*row.workload);
    !record.results.is_empty() && record.results.iter().all(is_net)
}

/// The sections, if there is anything to tell.
pub(super) fn sections(record: &Record, out: &mut String) {
    server(record, out);
    patterns(record, out);
    codecs(record, out);
    crowd(record, out);
}

fn of<'a>(record: &'a Record, workload: &str) -> Vec<&'a Row> {
    record.results.iter().filter(|row| row.workload == workload).collect()
}

/// Rows that differ in who asked and over how many connections, in the order in which they come.
fn by_variant<'a>(rows: &[&'a Row]) -> Vec<Vec<&'a Row>> {
    let mut groups: Vec<Vec<&Row>> = Vec::new();
    for row in rows {
        match groups.iter_mut().find(|group| group[0].variant == row.variant) {
            Some(group) => group.push(row),
            None => groups.push(vec![row]),
        }
    }
    groups
}

fn in_cards(count: usize, out: &mut String, draw: impl FnOnce(&mut String)) {
    put(out, format_args!("<div class=\"{}\">\n", if count == 1 { "cards one" } else { "cards" }));
    draw(out);
    out.push_str("</div>\n");
}

fn server(record: &Record, out: &mut String) {
    let rows = of(record, "server");
    if rows.is_empty() {
        return;
    }
    open(
        "A server, against connections",
        "From zero. Whiskers span the rounds. The lean load sends packets and nothing else; with \
         the client there are as many connections as it says, or one for all requests.",
        out,
    );
    let groups = by_variant(&rows);
    let connections: BTreeSet<usize> = rows.iter().map(|row| row.threads).collect();
    in_cards(groups.len(), out, |out| {
        for group in &groups {
            begin(&group[0].variant, group[0].guarantee, out);
            if connections.len() > 1 {
                against_connections(group, &connections, out);
            } else {
                let lanes: Vec<Lane> = group.iter().map(|row| rate_lane(row)).collect();
                draw(&lanes, &Axis::bars(&lanes, many_tick, "per second"), out);
            }
            end(out);
        }
    });
    let most = connections.last().copied().unwrap_or(1);
    put(
        out,
        format_args!(
            "<p class=\"soft\">Latencies over {most} connections: the dot is the median, then bands \
             to p90, p99, p99.9 and to the longest.</p>\n"
        ),
    );
    in_cards(groups.len(), out, |out| {
        for group in &groups {
            let lanes: Vec<Lane> = group
                .iter()
                .filter(|row| row.threads == most)
                .filter_map(|row| bands(row, who_asks(&row.engine), String::new()))
                .collect();
            card(&group[0].variant, &lanes, Axis::decades(&lanes, time_tick, "median"), out);
        }
    });
    close(out);
}

/// The load generators, in words.
fn who_asks(engine: &str) -> &str {
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
        who: Who::Ours,
        name: who_asks(&row.engine).to_owned(),
        note: String::new(),
        figure: format!("{} /s", many(row.ops_per_s)),
        shape: Shape::Bar { value: row.ops_per_s, spread },
    }
}

fn against_connections(rows: &[&Row], connections: &BTreeSet<usize>, out: &mut String) {
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
            told: format!("{}, {}: {} /s", who_asks(&row.engine), row.threads, many(row.ops_per_s)),
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
            let (name, look) = (who_asks(engine).to_owned(), index % LOOKS);
            Series { name, look, points, signs: Signs::Every }
        })
        .collect();
    let values = rows.iter().flat_map(|row| [row.ops_per_s, row.ops_per_s_spread.max]);
    Plane {
        about: "Operations per second for each number of connections",
        x_ticks: connections.iter().map(|count| (place(*count), count.to_string())).collect(),
        x_unit: "connections",
        y: Scale::from_zero(values, 5),
        y_tick: many_tick,
        y_unit: "operations per second",
    }
    .draw(&series, out);
}

fn bands(row: &Row, name: &str, note: String) -> Option<Lane> {
    let all = [row.p50_us, row.p90_us, row.p99_us, row.p999_us, row.max_us];
    let known: Vec<f64> = all.into_iter().filter(|us| us.is_finite() && *us > 0.0).collect();
    (!known.is_empty()).then(|| Lane {
        who: Who::Ours,
        name: name.to_owned(),
        note,
        figure: time(row.p50_us),
        shape: Shape::Bands(known),
    })
}

fn card(title: &str, lanes: &[Lane], axis: Axis, out: &mut String) {
    if !lanes.is_empty() {
        begin(title, None, out);
        draw(lanes, &axis, out);
        end(out);
    }
}

/// A lane for each row that has the figure.
fn bars(rows: &[&Row], figure: &str, told: fn(f64) -> String) -> Vec<Lane> {
    let lane = |row: &&Row| {
        let value = row.figure(figure)?;
        Some(Lane {
            who: if row.mode == "codec" && row.engine != "bincode" { Who::Peer } else { Who::Ours },
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

fn patterns(record: &Record, out: &mut String) {
    let mut rows = of(record, "patterns");
    rows.retain(|row| row.mode != "codec");
    let Some(first) = rows.first() else { return };
    open(
        "Ways to wait",
        "The same asynchronous put, and the ways to learn that it is durable. The dot is the \
         median, then bands to p90, p99, p99.9 and to the longest, the rarer the thinner.",
        out,
    );
    in_cards(1, out, |out| {
        let lanes: Vec<Lane> =
            rows.iter().filter_map(|row| bands(row, &row.mode, String::new())).collect();
        card(&first.variant, &lanes, Axis::decades(&lanes, time_tick, "median"), out);
    });
    in_cards(4, out, |out| {
        let known = |row: &&Row| {
            let (p50, p99) =
                (row.figure("durable to known p50")?, row.figure("durable to known p99")?);
            Some(Lane {
                who: Who::Ours,
                name: row.mode.clone(),
                note: format!("median {}", time(p50)),
                figure: time(p99),
                // A median of nothing has no place on this scale.
                shape: Shape::Dot { value: p99.max(1.0), from: Some(p50.max(1.0)), spread: None },
            })
        };
        let lanes: Vec<Lane> = rows.iter().filter_map(known).collect();
        card("from durable to known, p99", &lanes, Axis::decades(&lanes, time_tick, "p99"), out);
        for (title, figure, told, unit) in [
            ("requests for each put", "requests each", digits as fn(f64) -> String, "requests"),
            ("bytes for each put, both ways", "bytes each", as_bytes, "bytes"),
            ("server's processor for each put", "server CPU each", time, "time"),
            ("client's processor for each put", "client CPU each", time, "time"),
        ] {
            let lanes = bars(&rows, figure, told);
            let tick: fn(f64) -> String = if unit == "time" { time_tick } else { plain };
            card(title, &lanes, Axis::bars(&lanes, tick, unit), out);
        }
    });
    close(out);
}

fn codecs(record: &Record, out: &mut String) {
    let mut rows = of(record, "patterns");
    rows.retain(|row| row.mode == "codec");
    let Some(first) = rows.first() else { return };
    open(
        "A request as bytes",
        "The same put in three forms. Ours has a checksum, an id, a mode and a keyspace in it, RESP \
         has none of these; in JSON bytes are hexadecimal.",
        out,
    );
    in_cards(3, out, |out| {
        let title =
            |what: &str| format!("{what}: a value of {}", as_bytes(first.value_bytes as f64));
        let nanoseconds = |value: f64| format!("{} ns", digits(value));
        for (what, figure, told, unit) in [
            ("bytes of a put", "size", as_bytes as fn(f64) -> String, "bytes"),
            ("to write it", "write", nanoseconds, "ns"),
            ("to read it", "read", nanoseconds, "ns"),
        ] {
            let lanes = bars(&rows, figure, told);
            card(&title(what), &lanes, Axis::bars(&lanes, plain, unit), out);
        }
    });
    close(out);
}

fn crowd(record: &Record, out: &mut String) {
    let rows = of(record, "crowd");
    if rows.is_empty() {
        return;
    }
    open(
        "A crowd",
        "What others still get beside many connections, or a connection beside what it has in \
         flight: the dot is the median, then bands to p90, p99, p99.9 and to the longest. Of \
         watched jobs it is the time from when a put was due until it was known to be durable.",
        out,
    );
    let (groups, usual) = (by_variant(&rows), Usual::of(record));
    in_cards(groups.len(), out, |out| {
        for group in &groups {
            let note = |row: &Row| format!("p99 {}", time(row.p99_us));
            let lanes: Vec<Lane> =
                group.iter().filter_map(|row| bands(row, &row.mode, note(row))).collect();
            begin(&usual.load_but_for_threads(group[0]), group[0].guarantee, out);
            draw(&lanes, &Axis::decades(&lanes, time_tick, "median"), out);
            for row in group.iter().filter(|row| !row.figures.is_empty()) {
                put(
                    out,
                    format_args!(
                        "<p class=\"soft\">{}: {}.</p>\n",
                        Text(&row.mode),
                        Text(&figures(row))
                    ),
                );
            }
            end(out);
        }
    });
    close(out);
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
