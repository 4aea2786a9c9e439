//! Which store for which need.

use super::grid::Grid;
use crate::tools::bench::page::modes::{RISK, RISK_MEANS};
use crate::tools::bench::page::needs::{Place, RULE, answers};
use crate::tools::bench::record::Record;
use crate::tools::present::figures::times;

pub(super) fn section(record: &Record) -> String {
    let answers = answers(record);
    if answers.is_empty() {
        return String::new();
    }
    let behind = |place: &Place| format!("{}, {} behind", place.text(), times(place.behind_best));
    let mut grid = Grid::new(&[
        ("need", false),
        ("best, and level with it", false),
        ("the next one", false),
        ("Syncline, if it is neither", false),
        ("decided by", false),
    ]);
    for answer in answers {
        let best: Vec<String> = answer.best.iter().map(Place::text).collect();
        grid.row([
            answer.need.to_owned(),
            best.join("; "),
            answer.next.as_ref().map_or(String::new(), behind),
            answer.ours.as_ref().map_or(String::new(), behind),
            answer.decided_by,
        ]);
    }
    let table = grid.text();
    let mark = if table.contains(RISK) { format!("\n{RISK_MEANS}\n") } else { String::new() };
    format!("{RULE}\n\n{table}{mark}")
}
