//! The tables: the guarantees of each engine, and every figure behind the charts.

use maud::{Markup, html};

use super::super::record::{Record, Row};
use super::cards::loss;
use super::comparison::{Usual, grouped, survives};
use crate::tools::present::figures::{bytes, digits, many, plain, time, times};
use crate::tools::present::html::section;
use crate::tools::present::prose::Prose;

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
    section(
        "What each store promises",
        "Figures of different guarantees are not compared: a store that loses more has done less.",
        &modes,
    )
}

/// A column: its heading, and its cell for a row.
type Column = (&'static str, fn(&Row) -> String);

const COLUMNS: &[Column] = &[
    ("store", |row| row.engine.clone()),
    ("mode", |row| row.mode.clone()),
    ("survives", |row| survives(row.guarantee).trim_start_matches("survives ").into()),
    ("threads", |row| row.threads.to_string()),
    ("ops/s", |row| many(row.ops_per_s)),
    ("min \u{2026} max", spread),
    ("p50", |row| known(row.p50_us)),
    ("p90", |row| known(row.p90_us)),
    ("p99", |row| known(row.p99_us)),
    ("p99.9", |row| known(row.p999_us)),
    ("longest", |row| known(row.max_us)),
    ("commits per flush", |row| row.commits_per_flush.map_or(String::new(), digits)),
    ("device B/B", |row| row.device_bytes_per_user_byte.map_or(String::new(), digits)),
    ("to floor", |row| row.ratio_to_floor.map_or(String::new(), times)),
    ("to 1 thread", |row| row.ratio_to_1_thread.map_or(String::new(), times)),
    ("to best of others", best),
    ("besides", figures),
];

/// The number of columns of words; the others are figures.
const WORDS: usize = 3;

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
    section(
        "All figures",
        "Everything that the charts are made of. Medians over the rounds; latencies of one \
         operation; `to` columns are ratios within a round.",
        &tables,
    )
}

fn table(rows: &[&Row], record: &Record) -> Markup {
    let usual = Usual::of(record);
    let has_losses = rows.iter().any(|row| row.guarantee.is_some());
    // A column without any text is left out.
    let is_told = |(_, cell): &&Column| rows.iter().any(|row| !cell(row).is_empty());
    let columns: Vec<&Column> = COLUMNS.iter().filter(is_told).collect();
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
                                td.n[is_figure(column)] { (column.1(row)) }
                            }
                            @if has_losses {
                                td.lost { (Prose(&loss(row, record).unwrap_or_default())) }
                            }
                        }
                    }
                }
            }
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

fn best(row: &Row) -> String {
    let Some(ratio) = row.ratio_to_best_peer else { return String::new() };
    format!("{} {}", times(ratio), row.best_peer.as_deref().unwrap_or_default())
}

/// The figures that only this workload has, in words.
pub(super) fn figures(row: &Row) -> String {
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
