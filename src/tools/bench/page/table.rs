//! The tables: the guarantees of each engine, and every figure behind the charts.

use maud::{Markup, html};

use super::super::record::{Ratio, Record, Row};
use super::compared::{Compared, of_floor, ratio, word, written};
use super::comparison::{Usual, grouped, survives};
use super::modes::loss;
use crate::tools::present::figures::{bytes, digits, many, plain, time, times};
use crate::tools::present::html::section;
use crate::tools::present::prose::Prose;
use crate::tools::present::text::counted;

/// The losses of each mode.
pub(super) fn engines(record: &Record) -> Markup {
    if record.engines.iter().all(|engine| engine.modes.is_empty()) {
        return Markup::default();
    }
    let modes = html! {
        div.scroll {
            table {
                thead {
                    tr {
                        th { "store" }
                        th { "mode" }
                        th { "an acknowledged commit" }
                        th { "lost on a kill" }
                        th { "lost on a power loss" }
                    }
                }
                tbody {
                    @for engine in &record.engines {
                        @for mode in &engine.modes {
                            tr {
                                th scope="row" {
                                    b { (engine.name) } " " span.soft { (engine.version) }
                                }
                                td { (mode.name) }
                                td { (survives(Some(mode.guarantee))) }
                                td.wide { (Prose(&mode.lost_on_kill)) }
                                td.wide { (Prose(&mode.lost_on_power_loss)) }
                            }
                        }
                    }
                }
            }
        }
    };
    let told = record.engines.iter().filter(|engine| !engine.about.is_empty());
    let abouts = html! {
        dl.method {
            @for engine in told {
                dt { (engine.name) " " span.soft { (engine.version) } }
                dd { (Prose(&engine.about)) }
            }
        }
    };
    section(
        "What is each store, and what does it promise?",
        "Figures of different guarantees are not compared: a store that loses more has done less.",
        &html! { (modes) (abouts) },
    )
}

/// A column: its heading, and its cell for a row.
pub(in crate::tools::bench) type Column = (&'static str, fn(&Row) -> String);

pub(in crate::tools::bench) const COLUMNS: &[Column] = &[
    ("store", |row| row.engine.clone()),
    ("mode", |row| row.mode.clone()),
    ("survives", |row| survives(row.guarantee).trim_start_matches("survives ").into()),
    ("threads", |row| row.threads.to_string()),
    ("ops/s", |row| if row.ops_per_s > 0.0 { rate(row.ops_per_s) } else { String::new() }),
    ("min \u{2026} max", spread),
    ("rows/s", |row| match row.rows_per_op {
        one if one == 1.0 || row.ops_per_s <= 0.0 => String::new(),
        many => rate(row.ops_per_s * many),
    }),
    ("p50", |row| known(row.p50_us)),
    ("p90", |row| known(row.p90_us)),
    ("p99", |row| known(row.p99_us)),
    ("p99.9", |row| known(row.p999_us)),
    ("longest", |row| known(row.max_us)),
    ("processor per op", |row| row.cpu_us_per_op.map_or(String::new(), known)),
    ("commits per flush", |row| row.commits_per_flush.map_or(String::new(), digits)),
    ("device B/B", |row| row.device_bytes_per_user_byte.map_or(String::new(), digits)),
    ("own B/B", |row| written(row).1.map_or(String::new(), digits)),
    ("as good as the floor", |row| of_floor(row, "\u{d7}", "\u{2013}")),
    ("compared, floor", |row| match (row.of_floor(), &row.floor) {
        (None, _) => String::new(),
        (_, None) => Compared::by(row.ratio_is).name.into(),
        (_, Some(floor)) => format!("{}, {floor}", Compared::by(row.ratio_is).name),
    }),
    ("of 1 thread", |row| row.ratio_to_1_thread.map_or(String::new(), times)),
    ("as good as the best of others", best),
    ("measured again", |row| match row.disturbed {
        0 => String::new(),
        rounds => counted(rounds as u64, "round"),
    }),
    ("besides", figures),
];

/// The number of columns of words; the others are figures.
pub(in crate::tools::bench) const WORDS: usize = 3;

/// What the columns say.
pub(in crate::tools::bench) const ALL_ABOUT: &str = "Everything that the charts are made of. Medians over the rounds; latencies of one operation. \
         Ratios are taken within a round, with their spread over the rounds, and say how many times as \
         good a row is: more is better, whatever is compared. The floor is the fastest of several bare \
         ways in that round; its name is that of the way which was fastest in most rounds. Processor \
         time is that of the whole process, background threads included. Device B/B is what the device \
         counted; own B/B is the process's account, where it differs by more than a tenth. Rounds were \
         measured again where something else took the processors.";

/// The notes of `rows`, each once: footnotes of their table.
pub(in crate::tools::bench) fn notes<'a>(rows: &[&'a Row]) -> Vec<&'a str> {
    let mut notes: Vec<&str> = Vec::new();
    for row in rows {
        if !row.note.is_empty() && !notes.contains(&&*row.note) {
            notes.push(&row.note);
        }
    }
    notes
}

/// A table for each workload.
pub(super) fn figures_of_all(record: &Record) -> Markup {
    let workloads = grouped(&record.results, |a, b| a.workload == b.workload);
    let tables = html! {
        @for rows in &workloads {
            details {
                summary { (rows[0].workload) " " span.soft { (rows.len()) " rows" } }
                (table(rows, record))
            }
        }
    };
    section("All figures", ALL_ABOUT, &tables)
}

fn table(rows: &[&Row], record: &Record) -> Markup {
    let usual = Usual::of(record);
    let has_losses = rows.iter().any(|row| row.guarantee.is_some());
    // A column without any text is left out.
    let is_told = |(_, cell): &&Column| rows.iter().any(|row| !cell(row).is_empty());
    let columns: Vec<&Column> = COLUMNS.iter().filter(is_told).collect();
    let notes = notes(rows);
    let footnote = |row: &Row| {
        let index = notes.iter().position(|note| *note == row.note);
        html! { @if let Some(index) = index { " " sup { (index + 1) } } }
    };
    let is_figure = |column: &Column| COLUMNS[WORDS..].iter().any(|(name, _)| *name == column.0);
    html! {
        div.scroll {
            table.all {
                thead {
                    tr {
                        th { "what" }
                        @for column in &columns { th.n[is_figure(column)] { (column.0) } }
                        @if has_losses { th { "what is lost" } }
                    }
                }
                tbody {
                    @for row in rows {
                        tr {
                            th scope="row" { (usual.load(row)) }
                            @for column in &columns {
                                td.n[is_figure(column)] {
                                    (column.1(row))
                                    @if column.0 == COLUMNS[0].0 { (footnote(row)) }
                                }
                            }
                            @if has_losses {
                                td.lost { (Prose(&loss(row, record).unwrap_or_default())) }
                            }
                        }
                    }
                }
            }
        }
        @for (index, note) in notes.iter().enumerate() {
            p.note { sup { (index + 1) } " " (Prose(note)) }
        }
    }
}

fn known(us: f64) -> String {
    if us > 0.0 { time(us) } else { String::new() }
}

fn spread(row: &Row) -> String {
    let spread = row.ops_per_s_spread;
    if spread.max <= 0.0 {
        return String::new();
    }
    format!("{} \u{2026} {}", many(spread.min), many(spread.max))
}

fn rate(per_s: f64) -> String {
    format!("{}/s", many(per_s))
}

fn best(row: &Row) -> String {
    let (Some(median), Some(standing)) = (row.ratio_to_best_peer, row.standing()) else {
        return String::new();
    };
    let ratio = ratio(median, row.ratio_to_best_peer_spread, "\u{d7}", "\u{2013}");
    let (word, peer) = (word(standing), row.best_peer.as_deref().unwrap_or_default());
    match row.peer_ratio_is {
        Ratio::Throughput => format!("{word}, {ratio} {peer}"),
        other => format!("{word}, {ratio} {peer}, by {}", Compared::by(other).name),
    }
}

/// The figures that only this workload has, in words.
pub(in crate::tools::bench) fn figures(row: &Row) -> String {
    let one = |figure: &super::super::record::Figure| {
        let name = figure.name.replace('_', " ");
        let value = match &*figure.unit {
            "us" => time(figure.value),
            "ms" => time(figure.value * 1000.0),
            "bytes" => bytes(figure.value.max(0.0) as u64),
            "" if figure.value >= 1000.0 => many(figure.value),
            "" => plain(figure.value),
            unit => format!("{} {unit}", digits(figure.value)),
        };
        format!("{name} {value}")
    };
    row.figures.iter().map(one).collect::<Vec<_>>().join("; ")
}
