//! The head of the page: what was measured, when, on which machine, and what to distrust.

use maud::{Markup, html};

use super::super::record::{Machine, Record, RunInfo, SYNCLINE};
use super::comparison::Usual;
use super::net;
use crate::tools::present::figures::{bytes, date, plain};
use crate::tools::present::prose::Prose;
use crate::tools::present::text::{self, count, counted};

/// The head.
pub(super) fn section(record: &Record) -> Markup {
    let facts = run_facts(record).into_iter().filter(|(_, fact)| !fact.is_empty());
    let when: Vec<String> = facts.map(|(_, fact)| fact).collect();
    let others = record.engines.iter().filter(|engine| engine.name != SYNCLINE);
    let others: Vec<&str> = others.map(|engine| &*engine.name).collect();
    let beside =
        if others.is_empty() { String::new() } else { format!(", beside {}", others.join(", ")) };
    let what = match net::is_all(record) {
        true => "What a store costs that is served by a process of its own, on this machine".into(),
        false => format!(
            "What each commit mode of Syncline costs on this machine, against bare writes and \
             reads{beside}"
        ),
    };
    html! {
        header {
            h1 { "Syncline benchmarks" }
            p.soft { (when.join(", ")) }
            p { (what) ". Every figure is of one run." }
        }
        (warnings(record))
        (machine(&record.machine, &record.run))
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

/// What was run and when. Absent facts are empty.
pub(in crate::tools::bench) fn run_facts(record: &Record) -> [(&'static str, String); 6] {
    let run = &record.run;
    let unless = |absent: bool, text: String| if absent { String::new() } else { text };
    let usual = Usual::of(record).value_bytes;
    let rounds = format!("{} of {} s", counted(run.rounds.into(), "round"), plain(run.seconds));
    let values = format!("values of {} unless said otherwise", bytes(usual as u64));
    let cache = format!("{} of cache for each store", bytes(run.cache_bytes));
    [
        ("version", unless(run.version.is_empty(), format!("Syncline {}", run.version))),
        ("day", unless(run.started_unix_s == 0, date(run.started_unix_s))),
        ("measured", unless(run.rounds == 0, rounds)),
        ("keys", unless(run.keys == 0, format!("{} keys", count(run.keys)))),
        ("values", unless(usual == 0, values)),
        ("cache", unless(run.cache_bytes == 0, cache)),
    ]
}

/// Whether the machine was quiet: its load before, and what its host took. Absent facts are empty.
pub(in crate::tools::bench) fn quiet(run: &RunInfo) -> [(&'static str, String); 3] {
    let took = if run.took_s > 0.0 { text::time(run.took_s) } else { String::new() };
    let steal = run.steal_percent.map_or(String::new(), |share| format!("{share:.1} %"));
    let load = run.load_before.map_or(String::new(), |load| format!("{load:.2}"));
    [("the run took", took), ("taken by the host (steal)", steal), ("load average before", load)]
}

fn machine(machine: &Machine, run: &RunInfo) -> Markup {
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
            @for (what, fact) in facts.iter().chain(&quiet(run)).filter(|(_, fact)| !fact.is_empty()) {
                div { dt { (what) } dd { (fact) } }
            }
            div.whole { dt { "power loss" } dd { (caveat(machine)) } }
        }
    }
}

/// The limits of a flush on this machine.
pub(in crate::tools::bench) fn caveat(machine: &Machine) -> &'static str {
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
