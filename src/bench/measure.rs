//! Threads, clock and histograms: one measurement.
//!
//! ```text
//!   barrier   warm-up           measured              end
//!   |---------|-----------------|---------------------|
//!             start             from here on operations and latencies count
//! ```

use std::sync::{Barrier, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::BenchError;

/// How long one measurement takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    warm_up: Duration,
    measure: Duration,
}

impl Timing {
    /// Measures for `measure`, after a quarter of that as warm-up.
    pub(super) fn of(measure: Duration) -> Timing {
        Timing { warm_up: measure / 4, measure }
    }
}

/// Which operations are timed one by one. All are counted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Clock {
    /// Each one.
    EveryOperation,
    /// Every eighth, where reading the clock would cost a good part of the operation.
    EveryEighth,
}

/// What one measurement found.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) ops_per_s: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) p999_us: f64,
    pub(super) max_us: f64,
    pub(super) commits_per_flush: Option<f64>,
    pub(super) device_bytes_per_user_byte: Option<f64>,
    /// Operations from the start of the warm-up to the end.
    pub(super) ops_in_all: u64,
}

/// What one thread found.
struct ThreadRun {
    ops_in_all: u64,
    ops: u64,
    elapsed: Duration,
    latency_ns: Histogram<u64>,
}

/// Runs each worker on a thread of its own until the time is up. A worker does one operation
/// when called.
pub(super) fn drive<W>(workers: Vec<W>, clock: Clock, timing: &Timing) -> Result<Sample, BenchError>
where
    W: FnMut() -> Result<(), BenchError> + Send,
{
    let barrier = Barrier::new(workers.len());
    // One clock for all: on few cores, the last thread passes the barrier long after the first.
    let start = OnceLock::new();
    let runs: Vec<Result<ThreadRun, BenchError>> = thread::scope(|scope| {
        let threads: Vec<_> = workers
            .into_iter()
            .map(|mut worker| {
                let (barrier, start) = (&barrier, &start);
                scope.spawn(move || {
                    let latency_ns = new_histogram();
                    barrier.wait();
                    let start = *start.get_or_init(Instant::now);
                    run_thread(&mut worker, clock, start, timing, latency_ns)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a worker panicked")).collect()
    });
    Ok(merge(runs.into_iter().collect::<Result<_, _>>()?))
}

fn run_thread<W>(
    worker: &mut W,
    clock: Clock,
    start: Instant,
    timing: &Timing,
    mut latency_ns: Histogram<u64>,
) -> Result<ThreadRun, BenchError>
where
    W: FnMut() -> Result<(), BenchError>,
{
    let warm = start + timing.warm_up;
    let end = warm + timing.measure;
    let mut ops_in_all = 0;
    while Instant::now() < warm {
        worker()?;
        ops_in_all += 1;
    }

    let measured_from = Instant::now();
    let mut before = measured_from;
    let mut ops = 0;
    loop {
        if let Clock::EveryEighth = clock {
            for _ in 0..7 {
                worker()?;
            }
            ops += 7;
            before = Instant::now();
        }
        worker()?;
        ops += 1;
        // The end of one operation is the start of the next, so that the clock is read once.
        let now = Instant::now();
        latency_ns.saturating_record((now - before).as_nanos() as u64);
        before = now;
        if now >= end {
            break;
        }
    }
    ops_in_all += ops;
    Ok(ThreadRun { ops_in_all, ops, elapsed: before - measured_from, latency_ns })
}

/// From 1 ns to one minute with three digits.
fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("valid bounds")
}

fn merge(runs: Vec<ThreadRun>) -> Sample {
    let mut all = new_histogram();
    let (mut ops_per_s, mut ops_in_all) = (0.0, 0);
    for run in runs {
        all.add(&run.latency_ns).expect("the same bounds");
        ops_per_s += run.ops as f64 / run.elapsed.as_secs_f64();
        ops_in_all += run.ops_in_all;
    }
    let us = |ns: u64| ns as f64 / 1000.0;
    Sample {
        ops_per_s,
        p50_us: us(all.value_at_quantile(0.5)),
        p99_us: us(all.value_at_quantile(0.99)),
        p999_us: us(all.value_at_quantile(0.999)),
        max_us: us(all.max()),
        commits_per_flush: None,
        device_bytes_per_user_byte: None,
        ops_in_all,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_counted_and_timed() {
        let timing = Timing::of(Duration::from_millis(40));
        let worker = || {
            thread::sleep(Duration::from_millis(1));
            Ok(())
        };
        let sample = drive(vec![worker; 3], Clock::EveryOperation, &timing).unwrap();
        assert!(sample.p50_us >= 999.0, "{sample:?}");
        assert!(sample.max_us >= sample.p99_us && sample.p99_us >= sample.p50_us);
        assert!(sample.ops_per_s <= 3.0 * 1001.0, "{sample:?}");
        assert!(sample.ops_in_all >= 3, "{sample:?}");
    }

    #[test]
    fn a_failure_ends_the_measurement() {
        let timing = Timing::of(Duration::from_millis(4));
        let worker = || Err(BenchError::Output(std::io::ErrorKind::Other.into()));
        assert!(drive(vec![worker; 2], Clock::EveryEighth, &timing).is_err());
    }
}
