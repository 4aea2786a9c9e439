//! The course of a long measurement: its rate, and its longest operations, over time.
//!
//! Made from the gauge, which the measuring threads write in any case: nobody measures more slowly for
//! it. The longest operation of a part is known to a quarter of a power of two.

use std::time::{Duration, Instant};

use super::gauge::{BUCKETS, Gauge, quantile_us};
use super::record::Moment;

/// The course so far.
pub(super) struct Course<'a> {
    gauge: &'a Gauge,
    every: Duration,
    begun: Instant,
    looked: Instant,
    ops: u64,
    latencies: [u64; BUCKETS],
    pub(super) moments: Vec<Moment>,
}

impl<'a> Course<'a> {
    /// In parts of `every`.
    pub(super) fn new(gauge: &'a Gauge, every: Duration) -> Course<'a> {
        let begun = Instant::now();
        Course {
            gauge,
            every,
            begun,
            looked: begun,
            ops: 0,
            latencies: [0; BUCKETS],
            moments: Vec::new(),
        }
    }

    /// Until the part ends.
    pub(super) fn wait(&self) -> Duration {
        self.every.saturating_sub(self.looked.elapsed())
    }

    /// Ends a part, if it is time.
    pub(super) fn look(&mut self) {
        let now = Instant::now();
        let length = now - self.looked;
        if length < self.every {
            return;
        }
        let (ops, latencies) = (self.gauge.ops(), self.gauge.latencies());
        let mut since = latencies;
        for (bucket, before) in since.iter_mut().zip(&self.latencies) {
            *bucket -= before;
        }
        self.moments.push(Moment {
            at_s: (now - self.begun).as_secs_f64(),
            ops_per_s: (ops - self.ops) as f64 / length.as_secs_f64(),
            // An operation that lasts longer than the part is seen in the one in which it ends.
            max_us: quantile_us(&since, 1.0).unwrap_or(0.0),
        });
        (self.looked, self.ops, self.latencies) = (now, ops, latencies);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_has_its_own_rate_and_its_own_longest() {
        let gauge = Gauge::default();
        let counters = gauge.start(1);
        let mut course = Course::new(&gauge, Duration::from_millis(1));
        let mut part = |ops: u64, ns: u64| {
            counters[0].count(ops, ns);
            std::thread::sleep(course.wait());
            course.look();
            *course.moments.last().unwrap()
        };
        let (slow, fast) = (part(10, 1_000_000), part(1000, 1000));
        assert!(fast.ops_per_s > slow.ops_per_s && fast.at_s > slow.at_s, "{slow:?} {fast:?}");
        assert!(slow.max_us >= 1000.0 && fast.max_us <= 1.25, "{slow:?} {fast:?}");
    }
}
