//! Everything as text: what each engine promises, and every figure behind the charts.

use super::super::record::{Record, Row};
use super::cards::loss;
use super::group::{Usual, survives};
use crate::tools::present::escape::{Prose, Text};
use crate::tools::present::figures::{bytes, digits, many, plain, time, times};
use crate::tools::present::html::{close, open, put};

/// What each mode loses.
pub(super) fn engines(record: &Record, out: &mut String) {
    if record.engines.iter().all(|engine| engine.modes.is_empty()) {
        return;
    }
    open(
        "What each store promises",
        "Figures of different guarantees are not compared: a store that loses more has done less.",
        out,
    );
    out.push_str(
        "<div class=\"scroll\"><table><thead><tr><th>store</th><th>mode</th><th>an acknowledged \
         commit</th><th>lost on a kill</th><th>lost on a power loss</th></tr></thead>\n<tbody>\n",
    );
    for engine in &record.engines {
        for mode in &engine.modes {
            put(
                out,
                format_args!(
                    "<tr><th scope=\"row\"><b>{}</b> <span class=\"soft\">{}</span></th>\
                     <td>{}</td><td>{}</td><td class=\"wide\">{}</td><td class=\"wide\">{}</td>\
                     </tr>\n",
                    Text(&engine.name),
                    Text(&engine.version),
                    Text(&mode.name),
                    survives(Some(mode.guarantee)),
                    Prose(&mode.lost_on_kill),
                    Prose(&mode.lost_on_power_loss),
                ),
            );
        }
    }
    out.push_str("</tbody></table></div>\n");
    close(out);
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
    ("commits a flush", |row| row.commits_per_flush.map_or(String::new(), digits)),
    ("device B/B", |row| row.device_bytes_per_user_byte.map_or(String::new(), digits)),
    ("to floor", |row| row.ratio_to_floor.map_or(String::new(), times)),
    ("to 1 thread", |row| row.ratio_to_1_thread.map_or(String::new(), times)),
    ("to best of others", best),
    ("besides", figures),
];

/// Columns of words: the others are of figures.
const WORDS: usize = 3;

/// A table for each workload.
pub(super) fn figures_of_all(record: &Record, out: &mut String) {
    open(
        "All figures",
        "Everything that the charts are made of. Medians over the rounds; latencies of one \
         operation; `to` columns are ratios within a round.",
        out,
    );
    let mut workloads: Vec<&str> = Vec::new();
    for row in &record.results {
        if !workloads.contains(&&*row.workload) {
            workloads.push(&row.workload);
        }
    }
    for workload in workloads {
        let rows: Vec<&Row> =
            record.results.iter().filter(|row| row.workload == workload).collect();
        put(
            out,
            format_args!(
                "<details><summary>{} <span class=\"soft\">{} rows</span></summary>\n",
                Text(workload),
                rows.len()
            ),
        );
        table(&rows, record, out);
        out.push_str("</details>\n");
    }
    close(out);
}

fn table(rows: &[&Row], record: &Record, out: &mut String) {
    let usual = Usual::of(record);
    let has_losses = rows.iter().any(|row| row.guarantee.is_some());
    // A column that says nothing of anything is left out.
    let is_told = |(_, cell): &&Column| rows.iter().any(|row| !cell(row).is_empty());
    let columns: Vec<&Column> = COLUMNS.iter().filter(is_told).collect();
    let is_word = |column: &Column| COLUMNS[..WORDS].iter().any(|(name, _)| *name == column.0);
    out.push_str("<div class=\"scroll\"><table class=\"all\"><thead><tr><th>what</th>");
    for column in &columns {
        let class = if is_word(column) { "" } else { " class=\"n\"" };
        put(out, format_args!("<th{class}>{}</th>", column.0));
    }
    if has_losses {
        out.push_str("<th>what is lost</th>");
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        put(out, format_args!("<tr><th scope=\"row\">{}</th>", Text(&usual.load(row))));
        for column in &columns {
            let class = if is_word(column) { "" } else { " class=\"n\"" };
            put(out, format_args!("<td{class}>{}</td>", Text(&column.1(row))));
        }
        if has_losses {
            let lost = loss(row, record).unwrap_or_default();
            put(out, format_args!("<td class=\"lost\">{}</td>", Prose(&lost)));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
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

/// What only this workload has, in words.
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
