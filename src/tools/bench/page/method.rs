//! How the figures were made, so that a reader can doubt them in the right places.

use maud::{Markup, html};

use super::super::record::Record;
use crate::tools::present::figures::{bytes, plain};
use crate::tools::present::html::{self, definitions};
use crate::tools::present::text::{count, counted};

pub(in crate::tools::bench) const METHOD: &[(&str, &str)] = &[
    (
        "Closed loop, open loop",
        "Without a rate, each thread issues its next operation when the last one is done. An \
         operation that was never issued because another one stalled does not count as slow. With a \
         rate, operations have a schedule, and each latency counts from when the operation was \
         due, not from when a thread got to it: a stall delays every operation that was due \
         meanwhile (no coordinated omission).",
    ),
    (
        "Warm-up and time",
        "Threads start together at a barrier, work for a warm-up that is not counted, and then for \
         the measured time.",
    ),
    (
        "Rounds in turns",
        "Machines drift and share their disks, so nothing is compared across runs. All cases are \
         measured in turns, round after round, in another shuffled order each round. A ratio is \
         taken within a round; the figures are medians over the rounds, and whiskers span from \
         the least round to the greatest.",
    ),
    (
        "Same work for all",
        "Every engine runs in the same loop with the same keys and values, the same cache size, and \
         the settings that its own documentation says are fastest for the guarantee. Modes are \
         compared only with modes of the same guarantee.",
    ),
    (
        "The floor",
        "The same work without a store, the fastest of several bare ways measured in the run. A durable \
         commit, for one, is written and flushed with `fdatasync`, with `O_DSYNC`, with `O_DIRECT` and \
         `O_DSYNC`, and through a map: one preallocated file whose blocks are written, no format, no \
         checksum, no index. Another way may be faster still, and a store that shares flushes between \
         threads, or that answers from a better structure than the floor's, is above it.",
    ),
    (
        "Device bytes",
        "Per byte of keys and values, with an untimed checkpoint or its like at the end, in two \
         counters. The device's own counts sectors: it includes the journal and the metadata of the \
         file system, and writes of other processes. The process's account counts pages that became \
         dirty, less those that were removed before they were written: it has no journal, and a large \
         page counts whole. Within the device, more may be written than either says.",
    ),
    (
        "Processor time",
        "That of the whole process for each operation, background threads and the harness included. A \
         store may be fast on idle processors and costly on busy ones.",
    ),
    (
        "Ahead, level, behind",
        "A ratio to the best of the others is taken in each round, against the one that was best in that \
         round. Above 1 in every round is ahead, below 1 in every round is behind, anything else is \
         level.",
    ),
    (
        "Disturbed rounds",
        "Where the host or another process took the processors during a measurement, it was made \
         again; the tables say how often.",
    ),
    (
        "Latencies",
        "One histogram per thread with three exact digits, merged at the end. The longest is one \
         operation of millions: expect it to differ from run to run.",
    ),
    (
        "Power loss",
        "A flush is as good as the device. A disk with a volatile cache that lies, or a virtual disk \
         whose host does not pass flushes on, loses commits whatever a store does; it also makes \
         flushes look cheap. Figures of a virtual machine are those of its host.",
    ),
];

/// The section.
pub(super) fn section(record: &Record) -> Markup {
    let run = &record.run;
    let method = html! {
        dl.method {
            (definitions(METHOD))
            @if run.rounds > 0 {
                dt { "This run" }
                dd {
                    (counted(run.rounds.into(), "round")) ", " (plain(run.seconds)) " s each; "
                    (count(run.keys)) " keys; a cache of " (bytes(run.cache_bytes))
                    " per engine; seed " (run.seed) "."
                    @if !run.command.is_empty() { pre { code { (run.command) } } }
                }
            }
        }
    };
    html::section("Method", "What these figures say, and what they do not.", &method)
}
