//! Ours against the best of the others, and against the best of those whose store survives.

use super::grid::Grid;
use crate::tools::bench::page::compared::{Compared, Tally, ratio, word};
use crate::tools::bench::page::comparison::{Usual, is_like, survives};
use crate::tools::bench::page::modes::{RISK, RISK_MEANS, marked, risks_store};
use crate::tools::bench::record::{FLOOR, Record, Row, SYNCLINE};
use crate::tools::present::figures::times;

const ABOUT: &str = "\
How many times as good each of our figures is as the best one of the other stores in the same round, at \
the same work, with the same guarantee, and the spread of that over the rounds. Ahead is better in every \
round, behind is worse in every round, level is neither. Operations per second are compared, unless the \
unit says otherwise.";

/// Why there is a second ratio.
const OTHERS: &str = "\
A mode with that mark survives a kill as ours does, and is compared so. Where it is the best, the table \
also names the best one of the modes without the mark; that ratio is of the medians.";

pub(super) fn section(record: &Record) -> String {
    let usual = Usual::of(record);
    let mut grid = Grid::new(&[
        ("work", false),
        ("survives", false),
        ("Syncline", true),
        ("best of the others", false),
        ("ratio (spread)", true),
        ("standing", false),
        ("best without the mark", false),
        ("ratio", true),
    ]);
    for ours in record.results.iter().filter(|row| row.engine == SYNCLINE) {
        let (Some(standing), Some(median)) = (ours.standing(), ours.ratio_to_best_peer) else {
            continue;
        };
        let by = Compared::by(ours.peer_ratio_is);
        let peers = peers(ours, by, record);
        let named = |row: &&&Row| Some(&*row.engine) == ours.best_peer.as_deref();
        let peer = peers.iter().find(named).map_or_else(
            || ours.best_peer.clone().unwrap_or_default(),
            |row| told(row, by, record),
        );
        let other = peers.iter().find(|row| !risks_store(row, record));
        let other = other.filter(|_| peers.first().is_some_and(|best| risks_store(best, record)));
        let to_other = other
            .and_then(|other| Some(times(by.times_as_good(by.figure(ours)?, by.figure(other)?))));
        grid.row([
            usual.load(ours),
            survives(ours.guarantee).trim_start_matches("survives ").to_owned(),
            by.text(ours),
            peer,
            ratio(median, ours.ratio_to_best_peer_spread, "\u{d7}", "\u{2013}"),
            word(standing).to_owned(),
            other.map_or(String::new(), |row| told(row, by, record)),
            to_other.unwrap_or_default(),
        ]);
    }
    if grid.is_empty() {
        return String::new();
    }
    let (tally, table) = (Tally::of(&record.results).text(), grid.text());
    let mark = match table.contains(RISK) {
        true => format!("\n{RISK_MEANS} {OTHERS}\n"),
        false => String::new(),
    };
    format!("{ABOUT}\n\n**{tally}.**\n\n{table}{mark}")
}

/// Those that do the same work with the same guarantee, the best first.
fn peers<'a>(ours: &Row, by: Compared, record: &'a Record) -> Vec<&'a Row> {
    let is_peer = |row: &&Row| {
        ![FLOOR, SYNCLINE].contains(&&*row.engine)
            && row.guarantee == ours.guarantee
            && is_like(row, ours)
            && by.figure(row).is_some()
    };
    let mut peers: Vec<&Row> = record.results.iter().filter(is_peer).collect();
    let figure = |row: &Row| by.figure(row).unwrap_or(f64::NAN);
    peers.sort_by(|a, b| by.times_as_good(figure(b), figure(a)).total_cmp(&1.0));
    peers
}

fn told(row: &Row, by: Compared, record: &Record) -> String {
    format!("{} {} {}", row.engine, marked(row, record), by.text(row))
}
