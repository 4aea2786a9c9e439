//! How the figures were made: what a reader must know in order to doubt them in the right places.

use super::super::record::Record;
use crate::tools::present::escape::Text;
use crate::tools::present::figures::{bytes, plain};
use crate::tools::present::html::{close, open, put, terms};
use crate::tools::present::text::{count, counted};

const METHOD: &[(&str, &str)] = &[
    (
        "Closed loop, open loop",
        "Without a rate, each thread issues its next operation when the last one is done. An \
         operation that nobody issued because another one stalled is then not counted as slow. \
         With a rate, operations have a schedule, and each latency is counted from when the \
         operation was due, not from when somebody got round to it: a stall is felt by all that \
         it held up (no coordinated omission).",
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
         taken within a round; what is shown is the median over the rounds, and whiskers span \
         from the least round to the greatest.",
    ),
    (
        "Same work for all",
        "Every engine runs in the same loop with the same keys and values, the same cache size, and \
         is used as its own documentation says is fastest for the guarantee. Modes are compared \
         only with modes of the same guarantee.",
    ),
    (
        "The floor",
        "The best case without a store: one preallocated file whose blocks are written and in the \
         page cache, no format, no checksum, no index.",
    ),
    (
        "Device bytes",
        "What the process had written to the device over the whole life of the store, with a \
         checkpoint or its like at the end that is not timed, for each byte of keys and values. A \
         device may write more: it knows only sectors and pages.",
    ),
    (
        "Latencies",
        "One histogram for each thread with three exact digits, put together at the end. The \
         longest is one operation of millions: expect it to differ from run to run.",
    ),
    (
        "Power loss",
        "A flush is worth what the device makes of it. A disk with a volatile cache that lies, or a \
         virtual disk whose host does not pass flushes on, loses commits whatever a store does; it \
         also makes flushes look cheap. Figures of a virtual machine are those of its host.",
    ),
];

/// The section.
pub(super) fn section(record: &Record, out: &mut String) {
    open("Method", "What these figures say, and what they do not.", out);
    out.push_str("<dl class=\"method\">\n");
    terms(METHOD, out);
    let run = &record.run;
    if run.rounds > 0 {
        put(
            out,
            format_args!(
                "<dt>This run</dt><dd>{}, {} s each; {} keys; a cache of {} for each engine; seed \
                 {}.",
                counted(run.rounds.into(), "round"),
                plain(run.seconds),
                count(run.keys),
                bytes(run.cache_bytes),
                run.seed,
            ),
        );
        if !run.command.is_empty() {
            put(out, format_args!("\n<pre><code>{}</code></pre>", Text(&run.command)));
        }
        out.push_str("</dd>\n");
    }
    out.push_str("</dl>\n");
    close(out);
}
