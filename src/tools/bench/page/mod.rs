//! A result as one self-contained page.
//!
//! ```text
//!   mod        the order of the sections          head      machine, time, warnings
//!   choice     which store for which need         needs     the rule behind it
//!   ladder     floor -> Async -> floor -> Sync: the cost of a commit
//!   standing   each of our figures against the best of the others
//!   latency    percentiles as curves and bands    threads   rates against threads and keys
//!   course     the rate over a minute             window    what a power loss would take
//!   cards      each workload, engines side by side    special   flushes, device bytes, space, opening
//!   table      everything as text
//!   net        a store that is served
//!   method     how the figures were made
//!     compared     what a ratio compares, its unit and its direction
//!     comparison   rows that belong side by side, their titles        modes   what a mode loses
//!     lanes    bars, dots and bands in lanes      plot, lines   lines in a plane
//!     scale    from values to places, ticks
//! ```
//!
//! `compared`, `comparison`, `modes`, `needs` and the columns of some tables also serve the table for
//! terminals and the Markdown.
//!
//! `present` has the parts that all pages share (HTML-1 to HTML-3). Besides:
//!
//! - CHARTS-1 The page is made from the record alone (RESULTS-1).
//! - CHARTS-2 A chart without figures is left out, not empty.
//! - CHARTS-3 Bars begin at zero. A logarithmic scale says so, and has dots, curves and bands instead.
//! - CHARTS-4 Only figures of the same guarantee share a scale for comparison; the losses of each mode
//!   stand beside them.
//! - CHARTS-5 No chart hides a figure: all are in the tables.
//! - CHARTS-6 A chart answers one question, which its title or that of its section asks.
//! - CHARTS-7 A ratio says how many times as good: more is better everywhere.
//!
//! To look at it, `SYNCLINE_PAGES=dir cargo test --features cli bench::page` writes the pages of
//! the tests into a directory.

mod cards;
mod choice;
pub(super) mod compared;
pub(super) mod comparison;
pub(super) mod course;
pub(super) mod head;
mod ladder;
mod lanes;
mod latency;
mod lines;
pub(super) mod method;
pub(super) mod modes;
pub(super) mod needs;
mod net;
mod plot;
mod scale;
mod special;
mod standing;
pub(super) mod table;
mod threads;
pub(super) mod window;

use maud::{Markup, html};

use self::cards::{Measure, cards};
use self::comparison::{Comparison, SERVED};
use super::record::Record;
use crate::tools::present::html::{page, section};

const STYLE: &str = include_str!("style.css");

/// The page.
pub fn render(record: &Record) -> String {
    let content = html! {
        (head::section(record))
        (choice::section(record))
        (standing::section(record))
        (table::engines(record))
        (ladder::section(record))
        (latency::section(record))
        (course::section(record))
        (window::section(record))
        (threads::section(record))
        (threads::growth(record))
        (special::group_commit(record))
        (workloads(record))
        (net::sections(record))
        (special::device(record))
        (special::space(record))
        (special::recover(record))
        (special::flush(record))
        (table::figures_of_all(record))
        (method::section(record))
    };
    page("Syncline benchmarks", STYLE, &content)
}

/// Workloads that have sections of their own.
const APART: [&str; 7] = ["recover", "window", "flush", "hot", "steady", "growth", "space"];

/// Names, titles and descriptions of the workloads.
const WORKLOADS: &[(&str, &str, &str)] = &[
    (
        "commit",
        "How many commits a second?",
        "Puts or deletes, one or many to a commit, on a store that holds every row.",
    ),
    ("load", "How fast does an empty store fill?", "Every row, many to a commit."),
    (
        "read",
        "How many gets a second?",
        "One row by its key, from a store that holds every row. Cold: the first gets of a store whose \
         files are in no cache of the machine.",
    ),
    ("scan", "How many rows a second does a scan see?", "Rows in the order of their keys."),
    (
        "mixed",
        "How do mixed loads fare? YCSB A to F",
        "A: half reads, half updates. B: 95 % reads. C: reads only. D: reads of what was put \
         lately. E: short scans and some inserts. F: reads, each followed by a write of the same \
         row. Compared at the same guarantee.",
    ),
    (
        "large",
        "What if there are more data than memory?",
        "Gets and puts on a store 4 and 16 times as large as all memory that its process may have, the \
         system's cache of its files included.",
    ),
];

fn workloads(record: &Record) -> Markup {
    let mut names: Vec<&str> = WORKLOADS.iter().map(|(name, ..)| *name).collect();
    for row in &record.results {
        if !names.contains(&&*row.workload) {
            names.push(&row.workload);
        }
    }
    names.retain(|name| !APART.contains(name) && !SERVED.contains(name));
    html! { @for name in names { (workload(name, record)) } }
}

fn workload(name: &str, record: &Record) -> Markup {
    let rows = record.results.iter().filter(|row| row.workload == name);
    let (paced, free): (Vec<_>, Vec<_>) = rows.partition(|row| row.rate.is_some());
    if paced.is_empty() && free.is_empty() {
        return Markup::default();
    }
    let known = WORKLOADS.iter().find(|(known, ..)| *known == name);
    let (title, about) = known.map_or((name, ""), |(_, title, about)| (title, about));
    let charts = html! {
        (cards(&Comparison::all(&free), Measure::Throughput, record))
        @if !paced.is_empty() {
            p.soft {
                "At a rate that was asked for, latencies from when each operation was due: median, "
                "p90, p99, p99.9, longest."
            }
            (cards(&Comparison::all(&paced), Measure::Percentiles, record))
        }
    };
    section(title, about, &charts)
}

#[cfg(test)]
mod tests;
