//! A result as one self-contained page.
//!
//! ```text
//!   mod        the head, the order of the sections
//!   ladder     floor -> Async -> floor -> Sync: the cost of a commit
//!   standing   each of our figures against the best of the others
//!   latency    percentiles as curves and bands        threads   throughput against threads
//!   cards      each workload, engines side by side    special   flushes, device bytes, opening,
//!   table      everything as text                               window of loss, bare device
//!   net        a store that is served
//!   method     how the figures were made
//!     comparison   rows that belong side by side, and their titles
//!     lanes    bars, dots and bands in lanes          plot      lines in a plane
//!     scale    from values to places, ticks
//! ```
//!
//! `present` has the parts that all pages share (HTML-1 to HTML-3). Besides:
//!
//! - CHARTS-1 The page is made from the record alone (RESULTS-1).
//! - CHARTS-2 A chart without figures is left out, not empty.
//! - CHARTS-3 Bars begin at zero. A logarithmic scale says so, and has dots, curves and bands instead.
//! - CHARTS-4 Only figures of the same guarantee share a scale for comparison; the losses of each mode
//!   stand beside them.
//! - CHARTS-5 No chart hides a figure: all are in the tables.
//!
//! To look at it, `SYNCLINE_PAGES=dir cargo test --features cli bench::page` writes the pages of
//! the tests into a directory.

mod cards;
mod comparison;
mod ladder;
mod lanes;
mod latency;
mod method;
mod net;
mod plot;
mod scale;
mod special;
mod standing;
mod table;
mod threads;

use maud::{Markup, html};

use self::cards::{Measure, cards};
use self::comparison::{Comparison, SERVED, Usual};
use super::record::{Machine, Record};
use crate::tools::present::figures::{bytes, date, plain};
use crate::tools::present::html::{page, section};
use crate::tools::present::prose::Prose;
use crate::tools::present::text::{count, counted};

const STYLE: &str = include_str!("style.css");

/// The page.
pub fn render(record: &Record) -> String {
    let content = html! {
        (head(record))
        (ladder::section(record))
        (standing::section(record))
        (table::engines(record))
        (latency::section(record))
        (threads::section(record))
        (special::group_commit(record))
        (workloads(record))
        (net::sections(record))
        (special::device(record))
        (special::recover(record))
        (special::window(record))
        (special::flush(record))
        (table::figures_of_all(record))
        (method::section(record))
    };
    page("Syncline benchmarks", STYLE, &content)
}

fn head(record: &Record) -> Markup {
    let run = &record.run;
    let mut when = Vec::new();
    if !run.version.is_empty() {
        when.push(format!("Version {}", run.version));
    }
    if run.started_unix_s > 0 {
        when.push(date(run.started_unix_s));
    }
    if run.rounds > 0 {
        when.push(format!("{} of {} s", counted(run.rounds.into(), "round"), plain(run.seconds)));
        when.push(format!("{} keys", count(run.keys)));
    }
    let usual = Usual::of(record).value_bytes;
    if usual > 0 {
        when.push(format!("values of {} unless said otherwise", bytes(usual as u64)));
    }
    let others = record.engines.iter().filter(|engine| engine.name != super::record::SYNCLINE);
    let others: Vec<&str> = others.map(|engine| &*engine.name).collect();
    let beside =
        if others.is_empty() { String::new() } else { format!(", beside {}", others.join(", ")) };
    let what = match net::is_all(record) {
        true => "What a store costs that is served by a process of its own, on this machine".into(),
        false => format!(
            "What each commit mode of Syncline costs on this machine, against the floor of its \
             hardware{beside}"
        ),
    };
    html! {
        header {
            h1 { "Syncline benchmarks" }
            p.soft { (when.join(", ")) }
            p { (what) ". Every figure is of one run." }
        }
        (warnings(record))
        (machine(&record.machine))
    }
}

fn warnings(record: &Record) -> Markup {
    let mut warnings = record.run.warnings.clone();
    let file_system = &*record.machine.file_system;
    if matches!(file_system, "tmpfs" | "ramfs") && !warnings.iter().any(|w| w.contains("memory")) {
        warnings.push(format!(
            "{file_system} is a file system in memory: flushing costs nothing there, and nothing \
             survives a power loss. Figures of `Sync` commits mean nothing."
        ));
    }
    html! {
        @for warning in &warnings {
            p.warning role="note" { strong { "Warning" } " " (Prose(warning)) }
        }
    }
}

fn machine(machine: &Machine) -> Markup {
    let unless_zero = |number: u64, text: String| if number == 0 { String::new() } else { text };
    let facts = [
        ("processor", machine.cpu.clone()),
        ("cores", unless_zero(machine.cores as u64, machine.cores.to_string())),
        ("memory", unless_zero(machine.memory_bytes, bytes(machine.memory_bytes))),
        ("system", machine.os.clone()),
        ("kernel", machine.kernel.clone()),
        ("file system", machine.file_system.clone()),
        ("mount options", machine.mount_options.clone()),
        ("mounted from", machine.mount_source.clone()),
        ("disk", machine.device.clone()),
    ];
    html! {
        dl.machine {
            @for (what, fact) in facts.iter().filter(|(_, fact)| !fact.is_empty()) {
                div { dt { (what) } dd { (fact) } }
            }
            div.whole { dt { "power loss" } dd { (caveat(machine)) } }
        }
    }
}

/// The limits of a flush on this machine.
fn caveat(machine: &Machine) -> &'static str {
    if machine.device.contains("write through") {
        "The disk tells the kernel that it caches no writes, or the kernel was told so: then a \
         flush sends it no command. Whether that is true, only a pulled plug tells."
    } else if machine.device.contains("write back") {
        "The disk caches writes, and says so: a flush has to empty that cache. Whether it does, \
         only a pulled plug tells."
    } else {
        "What survives a power loss depends on the disk, and on every layer above it, to pass a \
         flush on. Nothing here could check that."
    }
}

/// Workloads that have sections of their own.
const APART: [&str; 4] = ["recover", "window", "flush", "hot"];

/// Names, titles and descriptions of the workloads.
const WORKLOADS: &[(&str, &str, &str)] = &[
    ("commit", "Commits", "Puts in random order, one or many to a commit, on a fresh store."),
    ("load", "Loading", "Filling an empty store with every row."),
    ("read", "Gets", "One row by its key, from a store that holds every row."),
    ("scan", "Scans", "Rows in the order of their keys."),
    (
        "mixed",
        "YCSB A to F",
        "A: half reads, half updates. B: 95 % reads. C: reads only. D: reads of what was put \
         lately. E: short scans and some inserts. F: reads, each followed by a write of the same \
         row. Compared at the same guarantee.",
    ),
    ("large", "More data than cache", "Gets and puts on a store that the cache cannot hold."),
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
