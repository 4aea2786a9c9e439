//! How the figures were made, so that a reader can doubt them in the right places.

use maud::{Markup, html};

use super::super::record::Record;
use crate::tools::present::figures::{bytes, plain};
use crate::tools::present::html::{self, definitions};
use crate::tools::present::text::{count, counted};

const METHOD: &[(&str, &str)] = &[
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
        "The best case without a store: one preallocated file whose blocks are written and in the \
         page cache, no format, no checksum, no index.",
    ),
    (
        "Device bytes",
        "The bytes written to the device over the whole life of the store, with an untimed checkpoint \
         or its like at the end, per byte of keys and values. A device may write more: it knows \
         only sectors and pages.",
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
