//! A result as one page that needs nothing else.
//!
//! ```text
//!   mod        the head, the order of the sections
//!   ladder     floor -> Async -> floor -> Sync: what a commit costs
//!   standing   each of our figures against the best of the others
//!   latency    percentiles as curves and bands        threads   throughput against threads
//!   cards      each workload, engines side by side    special   flushes, device bytes, opening,
//!   table      everything as text                               window of loss, bare device
//!   net        a store that is served
//!   method     how the figures were made
//!     group    what belongs side by side, and what it is called
//!     lanes    bars, dots and bands in lanes          plot      lines in a plane
//!     scale    from values to places, ticks
//! ```
//!
//! What all pages share is in `present` (HTML-1 to HTML-3). Besides:
//!
//! - CHARTS-1 The page is made from the record alone (RESULTS-1).
//! - CHARTS-2 A chart of what was not measured is left out, not empty.
//! - CHARTS-3 Bars begin at zero. Where a scale is logarithmic there are dots, curves and bands, and it
//!   says so.
//! - CHARTS-4 Only what survives the same is drawn on one scale for comparison; what it loses besides
//!   stands with it.
//! - CHARTS-5 No chart hides a figure: all are in the tables.
//!
//! To look at it, `SYNCLINE_PAGES=dir cargo test --features cli bench::page` writes the pages of
//! the tests into a directory.

mod cards;
mod group;
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

use self::cards::{Measure, cards};
use self::group::{Group, Usual};
use super::record::{Machine, Record, Row};
use crate::tools::present::escape::{Prose, Text};
use crate::tools::present::figures::{bytes, date, plain};
use crate::tools::present::html::{begin, close, end, open, put};
use crate::tools::present::text::{count, counted};

const STYLE: &str = include_str!("style.css");

/// The page.
pub fn render(record: &Record) -> String {
    let mut out = String::new();
    begin("Syncline benchmarks", STYLE, &mut out);
    head(record, &mut out);
    ladder::section(record, &mut out);
    standing::section(record, &mut out);
    table::engines(record, &mut out);
    latency::section(record, &mut out);
    threads::section(record, &mut out);
    special::group_commit(record, &mut out);
    workloads(record, &mut out);
    net::sections(record, &mut out);
    special::device(record, &mut out);
    special::recover(record, &mut out);
    special::window(record, &mut out);
    special::flush(record, &mut out);
    table::figures_of_all(record, &mut out);
    method::section(record, &mut out);
    end(&mut out);
    out
}

fn head(record: &Record, out: &mut String) {
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
    put(
        out,
        format_args!(
            "<header>\n<h1>Syncline benchmarks</h1>\n<p class=\"soft\">{}</p>\n<p>{}. Every figure \
             is of one run.</p>\n</header>\n",
            Text(&when.join(", ")),
            Text(&what),
        ),
    );
    warnings(record, out);
    machine(&record.machine, out);
}

fn warnings(record: &Record, out: &mut String) {
    let mut warnings = record.run.warnings.clone();
    let file_system = &*record.machine.file_system;
    if matches!(file_system, "tmpfs" | "ramfs") && !warnings.iter().any(|w| w.contains("memory")) {
        warnings.push(format!(
            "{file_system} is a file system in memory: flushing costs nothing there, and nothing \
             survives a power loss. Figures of `Sync` commits mean nothing."
        ));
    }
    for warning in warnings {
        put(
            out,
            format_args!(
                "<p class=\"warning\" role=\"note\"><strong>Warning</strong> {}</p>\n",
                Prose(&warning)
            ),
        );
    }
}

fn machine(machine: &Machine, out: &mut String) {
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
    out.push_str("<dl class=\"machine\">\n");
    for (what, fact) in facts.iter().filter(|(_, fact)| !fact.is_empty()) {
        put(out, format_args!("<div><dt>{what}</dt><dd>{}</dd></div>\n", Text(fact)));
    }
    put(
        out,
        format_args!(
            "<div class=\"whole\"><dt>power loss</dt><dd>{}</dd></div>\n",
            caveat(machine)
        ),
    );
    out.push_str("</dl>\n");
}

/// What a flush is worth here.
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

/// What is told elsewhere than among the workloads.
const APART: [&str; 4] = ["recover", "window", "flush", "hot"];

/// Titles of the workloads, and what is done in them.
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

fn workloads(record: &Record, out: &mut String) {
    let mut names: Vec<&str> = WORKLOADS.iter().map(|(name, ..)| *name).collect();
    for row in &record.results {
        if !names.contains(&&*row.workload) {
            names.push(&row.workload);
        }
    }
    let is_apart = |name: &&str| APART.contains(name) || net::WORKLOADS.contains(name);
    for name in names.into_iter().filter(|name| !is_apart(name)) {
        let rows: Vec<&Row> = record.results.iter().filter(|row| row.workload == name).collect();
        if rows.is_empty() {
            continue;
        }
        let known = WORKLOADS.iter().find(|(known, ..)| *known == name);
        let (title, about) = known.map_or((name, ""), |(_, title, about)| (title, about));
        open(title, about, out);
        let (paced, free): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row: &&Row| row.rate.is_some());
        cards(&Group::all(&free), Measure::Throughput, record, out);
        if !paced.is_empty() {
            out.push_str(
                "<p class=\"soft\">At a rate that was asked for, latencies from when each \
                 operation was due: median, p90, p99, p99.9, longest.</p>\n",
            );
            cards(&Group::all(&paced), Measure::Percentiles, record, out);
        }
        close(out);
    }
}

#[cfg(test)]
mod tests;
