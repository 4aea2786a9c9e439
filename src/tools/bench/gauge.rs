//! The progress of a measurement while it runs.
//!
//! A measuring thread pays two plain stores per timed operation, to memory of its own, watched or
//! not: a watched run measures the same as any other. Only the watermarks are read while somebody
//! watches, ten times per second, by the thread that waits for the others.
//!
//! Latencies are counted in buckets, four per power of two: precise enough for a moving display, not
//! for a result.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::Watermarks;
use crate::tools::present::figures::many;

/// The state of a run. Shared by all threads.
#[derive(Debug, Default)]
pub struct Gauge {
    watched: AtomicBool,
    /// Whether each finished measurement writes a line.
    tells: AtomicBool,
    done: AtomicU64,
    total: AtomicU64,
    label: Mutex<String>,
    /// The counters of the running measurement, one per thread.
    threads: Mutex<Vec<Arc<Counter>>>,
    watermarks: Mutex<Option<Watermarks>>,
}

impl Gauge {
    /// Says that somebody watches.
    pub fn watch(&self) {
        self.watched.store(true, Ordering::Relaxed);
    }

    /// Whether somebody watches.
    pub fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }

    /// Operations of the running measurement so far.
    pub fn ops(&self) -> u64 {
        self.counters().iter().map(|counter| counter.ops.load(Ordering::Relaxed)).sum()
    }

    /// The latencies of the running measurement so far, in buckets; see [`quantile_us`].
    pub fn latencies(&self) -> [u64; BUCKETS] {
        let mut sums = [0; BUCKETS];
        for counter in self.counters() {
            for (sum, bucket) in sums.iter_mut().zip(&counter.buckets) {
                *sum += bucket.load(Ordering::Relaxed);
            }
        }
        sums
    }

    /// The name of the running case.
    pub fn label(&self) -> String {
        self.label.lock().expect("no thread panics with this lock").clone()
    }

    /// Finished measurements, and the total of this part of the run; the total is 0 during its
    /// preparation.
    pub fn done_and_total(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }

    /// The watermarks of the store under measurement, if it has any.
    pub fn watermarks(&self) -> Option<Watermarks> {
        *self.watermarks.lock().expect("no thread panics with this lock")
    }

    pub(super) fn now(&self, label: impl Into<String>) {
        *self.label.lock().expect("no thread panics with this lock") = label.into();
    }

    pub(super) fn expect_measurements(&self, total: u64) {
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
    }

    pub(super) fn measured(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        if self.tells.load(Ordering::Relaxed) {
            let (label, ops) = (self.label(), many(self.ops() as f64));
            let total = self.total.load(Ordering::Relaxed);
            // A closed standard error must not end the run.
            let _ = writeln!(io::stderr(), "{done}/{total}  {label}: {ops} operations");
        }
    }

    /// From now on each finished measurement writes a line: the display without a terminal.
    pub(super) fn tell(&self) {
        self.tells.store(true, Ordering::Relaxed);
    }

    pub(super) fn set_watermarks(&self, found: Option<Watermarks>) {
        *self.watermarks.lock().expect("no thread panics with this lock") = found;
    }

    /// Begins a measurement with `threads` threads.
    pub(super) fn start(&self, threads: usize) -> Vec<Arc<Counter>> {
        let counters: Vec<_> = (0..threads).map(|_| Arc::default()).collect();
        self.threads.lock().expect("no thread panics with this lock").clone_from(&counters);
        counters
    }

    fn counters(&self) -> Vec<Arc<Counter>> {
        self.threads.lock().expect("no thread panics with this lock").clone()
    }
}

/// The number of buckets: enough for latencies of a minute.
pub const BUCKETS: usize = 160;

/// The counters of one thread. No other thread writes to them.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Counter {
    ops: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

impl Default for Counter {
    fn default() -> Self {
        Counter { ops: AtomicU64::new(0), buckets: [const { AtomicU64::new(0) }; BUCKETS] }
    }
}

impl Counter {
    /// Counts `ops` operations, the last of which took `ns`.
    #[inline]
    pub(super) fn count(&self, ops: u64, ns: u64) {
        let add = |to: &AtomicU64, more: u64| {
            to.store(to.load(Ordering::Relaxed) + more, Ordering::Relaxed);
        };
        add(&self.ops, ops);
        add(&self.buckets[bucket(ns)], 1);
    }
}

fn bucket(ns: u64) -> usize {
    let ns = ns.max(4);
    let power = ns.ilog2();
    let quarter = (ns >> (power - 2)) & 3;
    (power as usize * 4 + quarter as usize - 8).min(BUCKETS - 1)
}

/// The latency at `quantile` of the counted operations; `None` if there are none.
pub fn quantile_us(buckets: &[u64; BUCKETS], quantile: f64) -> Option<f64> {
    let all: u64 = buckets.iter().sum();
    let wanted = (all as f64 * quantile).ceil() as u64;
    let mut sum = 0;
    let found = buckets.iter().position(|count| {
        sum += count;
        sum >= wanted.max(1)
    })?;
    // The upper end of the bucket.
    let (power, quarter) = ((found + 8) / 4, (found + 8) % 4);
    Some((1u64 << power) as f64 * (1.0 + (quarter as f64 + 1.0) / 4.0) / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_exact_to_a_quarter() {
        let gauge = Gauge::default();
        let counters = gauge.start(2);
        for _ in 0..98 {
            counters[0].count(8, 1_000);
        }
        counters[1].count(1, 1_000_000);
        counters[1].count(1, u64::MAX);
        assert_eq!(gauge.ops(), 98 * 8 + 2);
        let buckets = gauge.latencies();
        let p50 = quantile_us(&buckets, 0.5).unwrap();
        assert!((1.0..=1.25).contains(&p50), "{p50}");
        let p99 = quantile_us(&buckets, 0.99).unwrap();
        assert!((1000.0..=1250.0).contains(&p99), "{p99}");
        assert_eq!(quantile_us(&[0; BUCKETS], 0.5), None);
        gauge.start(1);
        assert_eq!(gauge.ops(), 0);
    }
}
