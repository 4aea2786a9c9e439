//! The needs, and the rows that decide each.

use super::{End, Need};
use crate::tools::bench::engine::Guarantee;
use crate::tools::bench::page::compared::Compared;
use crate::tools::bench::record::{Ratio, Row};
use crate::tools::present::figures::time;

const SORTED: &str = "sorted";

/// The interval of our window that stands beside the modes of others: the default.
const DEFAULT_INTERVAL_MS: f64 = 10.0;

/// An age that counts as nothing lost.
const NOTHING_MS: f64 = 1e-3;

/// The needs, in the order in which they are shown.
pub(super) fn needs() -> Vec<Need> {
    [commits(), loads_and_reads(), long_runs()].into_iter().flatten().collect()
}

fn need(what: &'static str, picks: fn(&Row) -> bool) -> Need {
    Need {
        what,
        picks,
        guarantee: None,
        threads: End::Least,
        value: End::Least,
        compared: Compared::by(Ratio::Throughput),
        must_open: false,
    }
}

fn durable(what: &'static str, picks: fn(&Row) -> bool) -> Need {
    Need { guarantee: Some(Guarantee::PowerLoss), ..need(what, picks) }
}

fn relaxed(what: &'static str, picks: fn(&Row) -> bool) -> Need {
    Need { guarantee: Some(Guarantee::ProcessEnd), ..need(what, picks) }
}

fn commits() -> Vec<Need> {
    vec![
        Need { threads: End::Most, ..durable("Many small commits at once, each durable", is_put) },
        durable("One writer, small commits, each durable", is_put),
        durable("Large batches in random order, each durable", is_random_batch),
        Need { value: End::Most, ..durable("Large values, each durable", is_put) },
        relaxed("Commits that need not survive a power loss, one writer", is_put),
        Need {
            must_open: true,
            ..relaxed("The same, where a power loss must leave a store that opens", is_put)
        },
        Need {
            threads: End::Most,
            ..relaxed("Commits that need not survive a power loss, many writers", is_put)
        },
        Need { value: End::Most, ..relaxed("Large values, which need not survive it", is_put) },
    ]
}

fn loads_and_reads() -> Vec<Need> {
    vec![
        relaxed("Bulk loading, sorted", |row| row.workload == "load" && row.distribution == SORTED),
        relaxed("Bulk loading, unsorted", |row| {
            row.workload == "load" && row.distribution != SORTED
        }),
        need("Reads from memory, one thread", |row| is(row, "read", "hit")),
        Need {
            threads: End::Most,
            ..need("Reads from memory, many threads", |row| is(row, "read", "hit"))
        },
        need("Reads of absent keys", |row| is(row, "read", "miss")),
        relaxed("Reads beside a writer", |row| is(row, "read", "beside writer")),
        relaxed("Half reads, half updates", |row| is(row, "mixed", "A")),
        need("Short scans", |row| is(row, "scan", "100 rows")),
        need("Scans of everything", |row| is(row, "scan", "full")),
        need("More data than memory: reads", |row| is(row, "large", "get, data 16 x memory")),
        relaxed("More data than memory: writes", |row| is(row, "large", "put, data 16 x memory")),
        need("Reads from a cold cache", |row| is(row, "read", "cold")),
    ]
}

/// Rates over a minute, space, opening, and what is lost.
fn long_runs() -> Vec<Need> {
    let device = Compared::by(Ratio::DeviceBytes);
    let p999 = Compared::less("p99.9", |row| Some(row.p999_us), time);
    let disk = Compared::disk_bytes();
    vec![
        durable("Durable commits for a minute, their rate", |row| row.workload == "steady"),
        Need {
            compared: p999,
            ..durable("Durable commits for a minute, evenly", |row| row.workload == "steady")
        },
        relaxed("Commits for a minute, their rate", |row| row.workload == "steady"),
        Need {
            compared: disk,
            ..need("Least disk space, once loaded", |row| is(row, "space", "loaded"))
        },
        Need {
            compared: disk,
            ..need("Least disk space, after overwriting", |row| is(row, "space", "overwritten"))
        },
        Need {
            compared: disk,
            ..need("Least disk space, after deleting", |row| is(row, "space", "deleted"))
        },
        Need {
            compared: device,
            ..durable("Least written to the device, small durable commits", is_put)
        },
        Need {
            compared: device,
            ..relaxed("Least written to the device, commits that need not survive", is_put)
        },
        Need {
            compared: Compared::by(Ratio::MedianLatency),
            ..relaxed("Opening fast after a kill", |row| is(row, "recover", "after kill"))
        },
        Need {
            compared: lost_ms(),
            ..relaxed("Least lost in a power loss, without waiting for the device", is_window)
        },
        Need {
            compared: lost_ms(),
            must_open: true,
            ..relaxed("The same, where the store must still open", is_window)
        },
    ]
}

fn is(row: &Row, workload: &str, variant: &str) -> bool {
    row.workload == workload && row.variant == variant
}

fn is_put(row: &Row) -> bool {
    is(row, "commit", "put") && row.batch <= 1
}

fn is_random_batch(row: &Row) -> bool {
    row.workload == "commit" && row.batch > 1 && row.distribution == "uniform"
}

/// The relaxed modes of all stores, ours as it is by default.
pub(in crate::tools::bench::page) fn is_window(row: &Row) -> bool {
    let interval = row.figure("flush_interval_ms");
    row.workload == "window" && interval.is_none_or(|ms| ms == DEFAULT_INTERVAL_MS)
}

/// How old the oldest commit was that a power loss would have taken.
fn lost_ms() -> Compared {
    let age = |row: &Row| {
        let ms = row.figure("lost_ms_p99").or_else(|| row.figure("lost_ms_max"))?;
        // A mode that lost nothing is the best, not one that was not measured.
        Some(ms.max(NOTHING_MS))
    };
    let shown = |ms| if ms <= NOTHING_MS { "nothing".into() } else { time(ms * 1000.0) };
    Compared::less("age of what is lost, p99", age, shown)
}
