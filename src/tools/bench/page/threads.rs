//! Throughput against the number of threads, and against the number of keys: one chart for each load
//! and guarantee.

use maud::{Markup, html};

use super::super::record::{Record, Row, SYNCLINE};
use super::cards::folded;
use super::comparison::{
    SERVED, Usual, grouped, is_like_except_threads, is_like_except_threads_and_keys,
};
use super::lines::Along;
use crate::tools::present::figures::many_tick;
use crate::tools::present::html;

/// The number of charts that are not folded.
const OPEN: usize = 6;

const THREADS: Along =
    Along { of: |row| row.threads as u64, label: |threads| threads.to_string(), unit: "threads" };

const KEYS: Along =
    Along { of: |row| row.keys, label: |keys| many_tick(keys as f64), unit: "keys" };

/// The section, if anything of ours was measured with several numbers of threads.
pub(super) fn section(record: &Record) -> Markup {
    let rows = record.results.iter();
    let rows = rows.filter(|row| {
        row.threads > 0
            && !row.is_floor()
            && row.workload != "growth"
            && !SERVED.contains(&&*row.workload)
    });
    let like = |a: &Row, b: &Row| a.guarantee == b.guarantee && is_like_except_threads(a, b);
    let mut charts = grouped(rows, like);
    charts.retain(|chart| is_ours(chart) && THREADS.values(chart).len() > 1);
    if charts.is_empty() {
        return Markup::default();
    }
    let usual = Usual::of(record);
    let card = |rows: &Vec<&Row>| {
        let title = format!("{}: does it scale?", usual.load_without_threads(rows[0]));
        THREADS.card(&title, rows, record)
    };
    html::section(
        "Do more threads do more?",
        "All threads together. Rates begin at zero; whiskers span the rounds. Lines join what was \
         measured: between the points nothing was. More threads than cores wait for each other, and \
         gain only where they share a flush.",
        &folded(&charts, OPEN, card),
    )
}

/// The same work on stores of several sizes.
pub(super) fn growth(record: &Record) -> Markup {
    let rows = record.results.iter().filter(|row| row.workload == "growth" && !row.is_floor());
    let like = |a: &Row, b: &Row| {
        a.guarantee == b.guarantee
            && a.threads == b.threads
            && is_like_except_threads_and_keys(a, b)
    };
    let charts = grouped(rows, like);
    if charts.is_empty() {
        return Markup::default();
    }
    let card = |rows: &Vec<&Row>| {
        let title = format!("{}s: how much does size cost?", rows[0].variant);
        KEYS.card(&title, rows, record)
    };
    html::section(
        "Does the rate hold as the store grows?",
        "The same work on stores of more and more keys, with the same cache: where a line drops, the \
         data or the index no longer fits.",
        &html! { (folded(&charts, OPEN, card)) },
    )
}

fn is_ours(rows: &[&Row]) -> bool {
    rows.iter().any(|row| row.engine == SYNCLINE)
}
