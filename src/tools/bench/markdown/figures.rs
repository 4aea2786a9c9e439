//! Every row, with its spreads: a table for each workload (MARKDOWN-2).

use std::fmt::Write;

use super::grid::{Grid, plain};
use crate::tools::bench::page::comparison::{Usual, grouped};
use crate::tools::bench::page::table::{ALL_ABOUT, COLUMNS, WORDS, notes};
use crate::tools::bench::record::{Record, Row};

pub(super) fn section(record: &Record) -> String {
    let workloads = grouped(&record.results, |a, b| a.workload == b.workload);
    if workloads.is_empty() {
        return String::new();
    }
    let mut text = format!("{ALL_ABOUT}\n");
    for rows in &workloads {
        let _ = write!(text, "\n### {}\n\n{}", plain(&rows[0].workload), table(rows, record));
    }
    text
}

fn table(rows: &[&Row], record: &Record) -> String {
    let usual = Usual::of(record);
    let notes = notes(rows);
    let mut headings = vec![("what", false)];
    headings.extend(COLUMNS.iter().enumerate().map(|(index, (name, _))| (*name, index >= WORDS)));
    headings.push(("note", false));
    let mut grid = Grid::new(&headings);
    let mut before = String::new();
    for row in rows {
        // The work stands in the first of its rows.
        let work = usual.load(row);
        let first = if work == before { String::new() } else { work.clone() };
        let note = notes.iter().position(|note| *note == row.note);
        let cells = COLUMNS.iter().map(|(_, cell)| cell(row));
        let note = note.map_or(String::new(), |index| (index + 1).to_string());
        grid.row([first].into_iter().chain(cells).chain([note]));
        before = work;
    }
    let mut text = grid.text();
    if !notes.is_empty() {
        text += "\nNotes:\n\n";
    }
    for (index, note) in notes.iter().enumerate() {
        let _ = writeln!(text, "{}. {}", index + 1, plain(note));
    }
    text
}
