//! Histograms of durations, with buckets that double from 16 microseconds.
//!
//! Adding a duration costs three locked instructions and no lock, so it suits operations of microseconds,
//! not of nanoseconds. A reader does not see all numbers as of the same moment.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The bound of the first bucket, in microseconds; each further bound is twice the one before.
const FIRST_US: u64 = 16;
/// The last bucket, above 16.8 s, has no bound.
const BUCKETS: usize = 22;

/// How often an operation was done, and how long it took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    counts: [u64; BUCKETS],
    total: Duration,
}

impl Durations {
    /// How often the operation was done.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all durations.
    pub fn total(&self) -> Duration {
        self.total
    }

    /// Each bucket's upper bound and how many durations are in it: up to this bound, and above the one
    /// before. The last bucket has no bound.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        let bound = |at: usize| Duration::from_micros(FIRST_US << at);
        self.counts
            .iter()
            .enumerate()
            .map(move |(at, count)| ((at + 1 < BUCKETS).then(|| bound(at)), *count))
    }

    /// The sum of both histograms.
    pub(crate) fn and(mut self, other: &Durations) -> Durations {
        self.counts.iter_mut().zip(&other.counts).for_each(|(ours, theirs)| *ours += theirs);
        self.total += other.total;
        self
    }
}

/// Counts durations, from any thread.
#[derive(Debug, Default)]
pub(crate) struct DurationCounter {
    counts: [AtomicU64; BUCKETS],
    total_ns: AtomicU64,
    longest_ns: AtomicU64,
}

impl DurationCounter {
    pub(crate) fn add(&self, duration: Duration) {
        self.add_many(duration, 1);
    }

    /// Adds `duration`, `times` times.
    pub(crate) fn add_many(&self, duration: Duration, times: u64) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(duration)].fetch_add(times, Ordering::Relaxed);
        self.total_ns.fetch_add(ns.saturating_mul(times), Ordering::Relaxed);
        if ns > self.longest_ns.load(Ordering::Relaxed) {
            self.longest_ns.fetch_max(ns, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self) -> Durations {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Durations {
            counts: std::array::from_fn(|at| read(&self.counts[at])),
            total: Duration::from_nanos(read(&self.total_ns)),
        }
    }

    /// The longest duration since the last call.
    #[cfg_attr(not(feature = "server"), allow(dead_code))]
    pub(crate) fn take_longest(&self) -> Duration {
        Duration::from_nanos(self.longest_ns.swap(0, Ordering::Relaxed))
    }
}

/// The first bucket whose bound is not below `duration`.
fn bucket(duration: Duration) -> usize {
    let us = u64::try_from(duration.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX);
    let parts = us.div_ceil(FIRST_US).max(1);
    // The exponent of the next power of two.
    let exponent = u64::BITS - (parts - 1).leading_zeros();
    (exponent as usize).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_below_the_first_bound_that_is_not_below_it() {
        let counter = DurationCounter::default();
        let us = Duration::from_micros;
        let times = [us(0), us(16), us(17), us(32), us(33), us(16_777_216), us(16_777_217)];
        times.iter().for_each(|time| counter.add(*time));
        counter.add_many(Duration::from_nanos(16_001), 3);
        let read = counter.read();
        let full: Vec<_> = read.buckets().filter(|(_, count)| *count > 0).collect();
        let bound = |bound: u64| Some(us(bound));
        assert_eq!(
            full,
            [(bound(16), 2), (bound(32), 5), (bound(64), 1), (bound(16_777_216), 1), (None, 1)]
        );
        assert_eq!((read.count(), read.buckets().count()), (10, BUCKETS));
        assert_eq!(read.total(), times.iter().sum::<Duration>() + Duration::from_nanos(48_003));
        assert_eq!(counter.take_longest(), us(16_777_217));
        assert_eq!(counter.take_longest(), Duration::ZERO);
        assert_eq!(read.clone().and(&read).count(), 20);
    }
}
