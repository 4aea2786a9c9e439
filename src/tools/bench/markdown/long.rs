//! What a power loss would take, and the rate over a minute.

use super::grid::Grid;
use crate::tools::bench::page::compared::ratio;
use crate::tools::bench::page::comparison::{Usual, survives};
use crate::tools::bench::page::course::{percent, slowest};
use crate::tools::bench::page::modes::marked;
use crate::tools::bench::page::window::{ABOUT, COLUMNS, PROMISE, cells, promise, rows};
use crate::tools::bench::record::{Record, Row};
use crate::tools::present::figures::{many, time};

/// All relaxed modes.
pub(super) fn window(record: &Record) -> String {
    let rows = rows(record);
    if rows.is_empty() {
        return String::new();
    }
    let mut headings: Vec<(&str, bool)> =
        COLUMNS.iter().enumerate().map(|(index, name)| (*name, index > 1)).collect();
    headings.extend([(PROMISE, false), ("note", false)]);
    let mut grid = Grid::new(&headings);
    for row in rows {
        let more = [promise(row, record), row.note.clone()];
        grid.row(cells(row, record).into_iter().chain(more));
    }
    format!("{ABOUT}\n\n{}", grid.text())
}

const STEADY: &str = "\
Each engine commits for at least a minute, as fast as it can, through its checkpoints and compactions. The \
slowest moment is the part of the course with the lowest rate, against the rate over all.";

/// Rows with a course.
pub(super) fn steady(record: &Record) -> String {
    let usual = Usual::of(record);
    let rows: Vec<&Row> = record.results.iter().filter(|row| row.course.len() > 1).collect();
    let mut grid = Grid::new(&[
        ("work", false),
        ("survives", false),
        ("store", false),
        ("commits/s", true),
        ("slowest moment", true),
        ("p50", true),
        ("p99.9", true),
        ("longest", true),
        ("to the best of the others", true),
        ("note", false),
    ]);
    for row in &rows {
        let best = row.ratio_to_best_peer.map(|median| {
            let spread = row.ratio_to_best_peer_spread;
            let peer = row.best_peer.as_deref().unwrap_or_default();
            format!("{} {peer}", ratio(median, spread, "\u{d7}", "\u{2013}"))
        });
        grid.row([
            usual.load(row),
            survives(row.guarantee).trim_start_matches("survives ").to_owned(),
            format!("{} {}", row.engine, marked(row, record)),
            format!("{}/s", many(row.ops_per_s)),
            slowest(row).map_or(String::new(), percent),
            time(row.p50_us),
            time(row.p999_us),
            time(row.max_us),
            best.unwrap_or_default(),
            row.note.clone(),
        ]);
    }
    if grid.is_empty() { String::new() } else { format!("{STEADY}\n\n{}", grid.text()) }
}
