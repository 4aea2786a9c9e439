//! Which store for which need: an answer that follows from the figures alone.
//!
//! Each need names the rows that decide it and the figure that counts. One rule decides all of them:
//!
//! - NEED-1 The best store is the one with the best median.
//! - NEED-2 Stores are level with it if the spreads of both over the rounds overlap. Where the record has
//!   no spread of that figure, they are level if they differ by less than a twentieth.
//! - NEED-3 The lead is the factor between the best store and the first one that is not level with it.
//! - NEED-4 A need that fewer than two stores were measured for has no answer.

mod list;

use self::list::needs;
use super::compared::Compared;
use super::comparison::{Usual, is_like, survives};
use super::modes::{marked, risks_store};
use crate::tools::bench::engine::Guarantee;
use crate::tools::bench::record::{Record, Row, SYNCLINE, Spread};

pub(super) use self::list::is_window;

/// Figures without a spread that differ by less are level.
const LEVEL: f64 = 0.05;

/// Which of several sizes or numbers of threads decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Least,
    Most,
}

/// A need, and the rows that decide it.
struct Need {
    what: &'static str,
    picks: fn(&Row) -> bool,
    guarantee: Option<Guarantee>,
    threads: End,
    value: End,
    compared: Compared,
    /// Only modes that leave a store which can be opened.
    must_open: bool,
}

/// The answer to a need.
#[derive(Clone, Debug)]
pub(in crate::tools::bench) struct Answer {
    pub(in crate::tools::bench) need: &'static str,
    /// The rows that decide it, in words, and the figure that counts.
    pub(in crate::tools::bench) decided_by: String,
    /// The best store, then those level with it.
    pub(in crate::tools::bench) best: Vec<Place>,
    /// The first one that is not level with the best.
    pub(in crate::tools::bench) next: Option<Place>,
    /// Our own store, if it is neither.
    pub(in crate::tools::bench) ours: Option<Place>,
}

/// A store among the others.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::tools::bench) struct Place {
    pub(in crate::tools::bench) engine: String,
    pub(in crate::tools::bench) mode: String,
    /// The figure with its unit.
    pub(in crate::tools::bench) figure: String,
    /// How many times as good the best one is.
    pub(in crate::tools::bench) behind_best: f64,
    /// From 1 on; stores that are level have ranks of their own.
    pub(in crate::tools::bench) rank: usize,
}

/// The rule, for readers.
pub(in crate::tools::bench) const RULE: &str = "One rule decides every line, and it looks at nothing but the figures: the best median wins. A store \
     is level with it if the spreads of both over the rounds overlap; where a figure has no spread, if \
     they differ by less than a twentieth. The factor is that between the best store and the first one \
     that is not level with it. Each line is one point of one workload on one machine: measure your own.";

/// The answers that the record has.
pub(in crate::tools::bench) fn answers(record: &Record) -> Vec<Answer> {
    needs().iter().filter_map(|need| answer(need, record)).collect()
}

fn answer(need: &Need, record: &Record) -> Option<Answer> {
    let mut rows = deciding(need, record);
    if need.must_open {
        let before = rows.len();
        rows.retain(|row| !risks_store(row, record));
        // The answer without that condition is the same one.
        if rows.len() == before {
            return None;
        }
    }
    let by = need.compared;
    let figure = |row: &Row| by.figure(row).expect("only rows with the figure");
    rows.sort_by(|a, b| by.times_as_good(figure(b), figure(a)).total_cmp(&1.0));
    let engines = || rows.iter().map(|row| &row.engine);
    let (first, best) = (*rows.first()?, figure(rows.first()?));
    if engines().all(|engine| *engine == first.engine) {
        return None;
    }
    let places: Vec<(Place, bool)> = rows
        .iter()
        .enumerate()
        .map(|(index, row)| {
            let place = Place {
                engine: row.engine.clone(),
                mode: if row.guarantee.is_some() { marked(row, record) } else { String::new() },
                figure: by.text(row),
                behind_best: by.times_as_good(best, figure(row)),
                rank: index + 1,
            };
            (place, is_level(by, first, row))
        })
        .collect();
    // A store that is level although a better one is not has a wide spread. It is level all the same.
    let (level, rest): (Vec<_>, Vec<_>) = places.into_iter().partition(|(_, level)| *level);
    let best: Vec<Place> = level.into_iter().map(|(place, _)| place).collect();
    let mut rest: Vec<Place> = rest.into_iter().map(|(place, _)| place).collect();
    let is_ours = |place: &Place| place.engine == SYNCLINE;
    let ours = rest.iter().position(is_ours).filter(|_| !best.iter().any(is_ours));
    let ours = ours.filter(|index| *index > 0).map(|index| rest[index].clone());
    let next = (!rest.is_empty()).then(|| rest.remove(0));
    let decided_by = format!("{}, by {}", described(first, record), by.name);
    Some(Answer { need: need.what, decided_by, best, next, ours })
}

/// The rows that decide: of one guarantee, one size and one number of threads.
fn deciding<'a>(need: &Need, record: &'a Record) -> Vec<&'a Row> {
    let is_asked = |row: &&Row| {
        !row.is_floor()
            && row.rate.is_none()
            && (need.picks)(row)
            && (need.guarantee.is_none() || row.guarantee == need.guarantee)
            && need.compared.figure(row).is_some()
    };
    let mut rows: Vec<&Row> = record.results.iter().filter(is_asked).collect();
    keep(&mut rows, need.threads, |row| row.threads as u64);
    keep(&mut rows, need.value, |row| row.value_bytes as u64);
    let Some(first) = rows.first().copied() else { return rows };
    // The modes of the window differ in their variants.
    rows.retain(|row| row.workload == "window" || is_like(row, first));
    rows
}

fn keep(rows: &mut Vec<&Row>, end: End, of: fn(&Row) -> u64) {
    let all = rows.iter().map(|row| of(row));
    let wanted = match end {
        End::Least => all.min(),
        End::Most => all.max(),
    };
    rows.retain(|row| Some(of(row)) == wanted);
}

fn is_level(by: Compared, best: &Row, row: &Row) -> bool {
    match (by.spread(best), by.spread(row)) {
        (Some(a), Some(b)) => overlap(a, b),
        _ => match (by.figure(best), by.figure(row)) {
            (Some(a), Some(b)) => by.times_as_good(a, b) < 1.0 + LEVEL,
            _ => false,
        },
    }
}

fn overlap(a: Spread, b: Spread) -> bool {
    a.min <= b.max && b.min <= a.max
}

fn described(row: &Row, record: &Record) -> String {
    let work = match &*row.workload {
        "window" => "window: relaxed modes, 1 thread".to_owned(),
        _ => Usual::of(record).load(row),
    };
    match row.guarantee {
        // Modes of different guarantees are side by side there.
        Some(_) if row.workload != "window" => format!("{work}, {}", survives(row.guarantee)),
        _ => work,
    }
}

impl Place {
    /// "syncline async 1.05 M/s".
    pub(in crate::tools::bench) fn text(&self) -> String {
        let words = [&*self.engine, &*self.mode, &*self.figure];
        words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::bench::record::Figure;

    fn row(engine: &str, ops_per_s: f64, part: f64) -> Row {
        let (min, max) = (ops_per_s * (1.0 - part), ops_per_s * (1.0 + part));
        Row {
            workload: "read".into(),
            variant: "miss".into(),
            engine: engine.into(),
            threads: 1,
            rounds: 3,
            ops_per_s,
            ops_per_s_spread: Spread { min, median: ops_per_s, max },
            ..Row::default()
        }
    }

    fn of(results: Vec<Row>) -> Vec<Answer> {
        answers(&Record { results, ..Record::default() })
    }

    #[test]
    fn the_best_median_wins_and_overlapping_spreads_are_level() {
        let answers = of(vec![
            row("floor", 1000.0, 0.1),
            row(SYNCLINE, 10.0, 0.1),
            row("one", 95.0, 0.01),
            row("two", 100.0, 0.06),
            row("three", 50.0, 0.1),
        ]);
        let [answer] = &answers[..] else { panic!("{answers:?}") };
        let names: Vec<&str> = answer.best.iter().map(|place| &*place.engine).collect();
        assert_eq!(names, ["two", "one"]);
        let next = answer.next.as_ref().unwrap();
        assert_eq!((&*next.engine, next.behind_best, next.rank), ("three", 2.0, 3));
        let ours = answer.ours.as_ref().unwrap();
        assert_eq!((ours.behind_best, ours.rank), (10.0, 4));
        assert_eq!(answer.best[0].text(), "two 100/s");
        assert_eq!(answer.decided_by, "read miss, 1 thread, by operations per second");
    }

    #[test]
    fn one_store_alone_is_no_answer() {
        assert!(of(vec![row("one", 95.0, 0.01)]).is_empty());
        assert!(of(Vec::new()).is_empty());
    }

    #[test]
    fn less_is_better_where_it_is() {
        let space = |engine: &str, value| Row {
            workload: "space".into(),
            variant: "loaded".into(),
            figures: vec![Figure {
                name: "disk_bytes_per_live_byte".into(),
                value,
                unit: String::new(),
            }],
            ..row(engine, 0.0, 0.0)
        };
        let answers = of(vec![space(SYNCLINE, 2.0), space("one", 1.0), space("two", 1.04)]);
        let [answer] = &answers[..] else { panic!("{answers:?}") };
        let names: Vec<&str> = answer.best.iter().map(|place| &*place.engine).collect();
        assert_eq!(names, ["one", "two"]);
        assert_eq!(answer.next.as_ref().map(|place| place.behind_best), Some(2.0));
        assert_eq!(answer.best[0].text(), "one 1.00 B/B");
        assert!(answer.ours.is_none(), "it is the next one already");
    }
}
