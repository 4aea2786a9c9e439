//! Threads, clock and histograms: one measurement.
//!
//! ```text
//!   barrier   warm-up           measured              end
//!   |---------|-----------------|---------------------|
//!             start             from here on operations and latencies count
//! ```
//!
//! Two loops:
//!
//! - closed: each thread issues its next operation when the last one is done. That finds the highest
//!   throughput, but an operation that was never issued because another one stalled is not slow;
//! - open (`--rate`): operations are due at fixed times, even if earlier ones are late. Latency
//!   counts from when an operation was due, so a stall shows in all operations that were due
//!   meanwhile. Operations that are due before the end are still done, for up to as long again. The
//!   rest count as having waited until then, and the figure `overdue` says how many they are.
//!
//! A worker's call that touches no row was preparation (a file made anew, rows put back that can be
//! removed again). It does not count, and the clock stands still meanwhile.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::course::Course;
use super::device::Written;
use super::error::BenchError;
use super::gauge::{Counter, Gauge};
use super::record::{Figure, Moment};
use super::rows::row_bytes;
use crate::Watermarks;

/// The length of a measurement and of its warm-up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    warm_up: Duration,
    pub(super) measure: Duration,
}

impl Timing {
    /// Measures from the first operation on.
    pub(super) fn at_once(measure: Duration) -> Timing {
        Timing { warm_up: Duration::ZERO, measure }
    }

    /// Measures for `measure`, after a quarter of that as warm-up.
    pub(super) fn of(measure: Duration) -> Timing {
        Timing { warm_up: measure / 4, measure }
    }
}

/// The operations that are timed one by one. All are counted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Clock {
    /// Each one.
    EveryOperation,
    /// Every eighth, where reading the clock would cost a good part of the operation.
    EveryEighth,
}

/// How operations are issued, and the gauge that shows progress.
#[derive(Clone, Copy)]
pub(super) struct Load<'a> {
    pub(super) clock: Clock,
    pub(super) timing: Timing,
    /// Operations per second over all threads; a closed loop without it.
    pub(super) rate: Option<f64>,
    pub(super) gauge: &'a Gauge,
    /// The store's watermarks, for the display of progress.
    pub(super) watermarks: &'a dyn Fn() -> Option<Watermarks>,
    /// The length of the parts of which [`Sample::course`] is made, if it is wanted.
    pub(super) course: Option<Duration>,
    /// The number of operations after which a thread of a closed loop ends before its time.
    pub(super) enough: Option<u64>,
}

/// The result of one measurement.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) ops_per_s: f64,
    pub(super) rows_per_op: f64,
    pub(super) latency_ns: Histogram<u64>,
    pub(super) commits_per_flush: Option<f64>,
    /// Processor time of the process for each operation.
    pub(super) cpu_us_per_op: Option<f64>,
    pub(super) device_bytes_per_user_byte: Option<f64>,
    pub(super) dirtied_bytes_per_user_byte: Option<f64>,
    pub(super) course: Vec<Moment>,
    /// Rows from the start of the warm-up to the end.
    pub(super) rows_in_all: u64,
    pub(super) figures: Vec<Figure>,
}

impl Sample {
    /// The sample of `ops` operations on `rows` rows that took `elapsed` together.
    pub(super) fn once(ops: u64, rows: u64, elapsed: Duration) -> Sample {
        let mut latency_ns = new_histogram();
        let each = elapsed.as_nanos() as u64 / ops.max(1);
        latency_ns.saturating_record_n(each, ops);
        Sample {
            ops_per_s: ops as f64 / elapsed.as_secs_f64().max(1e-9),
            rows_per_op: rows as f64 / ops.max(1) as f64,
            rows_in_all: rows,
            ..Sample::of(latency_ns)
        }
    }

    pub(super) fn of(latency_ns: Histogram<u64>) -> Sample {
        Sample {
            ops_per_s: 0.0,
            rows_per_op: 0.0,
            latency_ns,
            commits_per_flush: None,
            cpu_us_per_op: None,
            device_bytes_per_user_byte: None,
            dirtied_bytes_per_user_byte: None,
            course: Vec::new(),
            rows_in_all: 0,
            figures: Vec::new(),
        }
    }

    /// Takes what has been written for all its rows.
    pub(super) fn wrote(&mut self, written: Written, value_bytes: usize) {
        let user_bytes = (self.rows_in_all * row_bytes(value_bytes) as u64).max(1) as f64;
        self.device_bytes_per_user_byte = written.device.map(|bytes| bytes as f64 / user_bytes);
        self.dirtied_bytes_per_user_byte = written.dirtied.map(|bytes| bytes as f64 / user_bytes);
    }

    pub(super) fn quantile_us(&self, quantile: f64) -> f64 {
        self.latency_ns.value_at_quantile(quantile) as f64 / 1000.0
    }

    pub(super) fn add_figure(&mut self, name: impl Into<String>, value: f64, unit: &str) {
        self.figures.push(Figure { name: name.into(), value, unit: unit.to_owned() });
    }
}

/// The figures of one thread.
struct ThreadRun {
    rows_in_all: u64,
    rows: u64,
    ops: u64,
    overdue: u64,
    elapsed: Duration,
    latency_ns: Histogram<u64>,
}

/// Runs each worker on its own thread until the time is up. A call of a worker does one operation
/// and returns how many rows it touched.
pub(super) fn drive<W>(workers: Vec<W>, load: &Load<'_>) -> Result<Sample, BenchError>
where
    W: FnMut() -> Result<usize, BenchError> + Send,
{
    let threads = workers.len();
    let barrier = Barrier::new(threads);
    // One clock for all: on few cores, the last thread passes the barrier long after the first.
    let start = OnceLock::new();
    let processor = Processor::default();
    let (running, all_done) = mpsc::channel::<()>();
    let (clock, timing, rate) = (load.clock, load.timing, load.rate);
    let enough = load.enough.unwrap_or(u64::MAX);
    let mut course = Vec::new();
    let runs: Vec<Result<ThreadRun, BenchError>> = thread::scope(|scope| {
        let spawn = |(index, (mut worker, counter)): (usize, (W, Arc<Counter>))| {
            let (barrier, start, running) = (&barrier, &start, running.clone());
            let processor = &processor;
            scope.spawn(move || {
                let latency_ns = new_histogram();
                barrier.wait();
                let start = *start.get_or_init(Instant::now);
                let counter = &counter;
                let is_alone = threads == 1;
                let run = Loop { timing, start, latency_ns, counter, processor, enough, is_alone };
                let found = match rate {
                    None => run.closed(&mut worker, clock),
                    Some(rate) => run.open(&mut worker, &Schedule::new(rate, index, threads)),
                };
                drop(running);
                found
            })
        };
        let counters = load.gauge.start(threads);
        let handles: Vec<_> = workers.into_iter().zip(counters).enumerate().map(spawn).collect();
        drop(running);
        course = look_on(load, &all_done);
        handles.into_iter().map(|thread| thread.join().expect("a worker panicked")).collect()
    });
    let sample = merge(runs.into_iter().collect::<Result<_, _>>()?, processor.used());
    Ok(Sample { course, ..sample })
}

/// Calls one worker `operations` times on this thread, and times each call. Ends before, if a call
/// touches no row.
pub(super) fn repeat<W>(
    mut worker: W,
    operations: u64,
    load: &Load<'_>,
) -> Result<Sample, BenchError>
where
    W: FnMut() -> Result<usize, BenchError>,
{
    const LOOK: Duration = Duration::from_millis(100);
    let counters = load.gauge.start(1);
    let mut latency_ns = new_histogram();
    let processor = processor_time();
    let begun = Instant::now();
    let (mut ops, mut rows, mut before, mut looked) = (0, 0, begun, begun);
    for _ in 0..operations {
        let touched = worker()? as u64;
        if touched == 0 {
            break;
        }
        rows += touched;
        ops += 1;
        let now = Instant::now();
        let ns = (now - before).as_nanos() as u64;
        latency_ns.saturating_record(ns);
        counters[0].count(1, ns);
        before = now;
        if now - looked > LOOK && load.gauge.is_watched() {
            load.gauge.set_watermarks((load.watermarks)());
            looked = now;
        }
    }
    let used = processor_time().zip(processor).map(|(now, then)| now.saturating_sub(then));
    let cpu_us_per_op = used.map(|used| used.as_secs_f64() * 1e6 / ops.max(1) as f64);
    let sample = Sample::once(ops, rows, before - begun);
    load.gauge.set_watermarks(None);
    Ok(Sample { latency_ns, cpu_us_per_op, ..sample })
}

/// Waits for the workers. In a watched run it reads the store's watermarks meanwhile. Returns the course
/// of the measurement, if it is wanted.
fn look_on(load: &Load<'_>, all_done: &mpsc::Receiver<()>) -> Vec<Moment> {
    const OFTEN: Duration = Duration::from_millis(100);
    const SELDOM: Duration = Duration::from_secs(1);
    let idle = if load.gauge.is_watched() { OFTEN } else { SELDOM };
    let mut course = load.course.map(|every| Course::new(load.gauge, every));
    loop {
        let wait = course.as_ref().map_or(idle, |course| course.wait().min(idle));
        if let Err(RecvTimeoutError::Disconnected) = all_done.recv_timeout(wait) {
            load.gauge.set_watermarks(None);
            return course.map_or_else(Vec::new, |course| course.moments);
        }
        if let Some(course) = &mut course {
            course.look();
        }
        if load.gauge.is_watched() {
            load.gauge.set_watermarks((load.watermarks)());
        }
    }
}

/// One thread at work.
struct Loop<'a> {
    timing: Timing,
    start: Instant,
    latency_ns: Histogram<u64>,
    counter: &'a Counter,
    processor: &'a Processor,
    enough: u64,
    /// Whether no other thread measures.
    is_alone: bool,
}

/// The processor time of the process while all threads measure: from the last warm-up that ends to the
/// first measurement that does.
#[derive(Default)]
struct Processor {
    begun: Mutex<Option<Duration>>,
    ended: OnceLock<Option<Duration>>,
}

impl Processor {
    fn begin(&self) {
        *self.begun.lock().expect("no thread panics with this lock") = processor_time();
    }

    fn end(&self) {
        self.ended.get_or_init(processor_time);
    }

    fn used(&self) -> Option<Duration> {
        let begun = *self.begun.lock().expect("no thread panics with this lock");
        Some((*self.ended.get()?)?.saturating_sub(begun?))
    }
}

impl Loop<'_> {
    fn closed<W>(mut self, worker: &mut W, clock: Clock) -> Result<ThreadRun, BenchError>
    where
        W: FnMut() -> Result<usize, BenchError>,
    {
        let warm = self.start + self.timing.warm_up;
        let end = warm + self.timing.measure;
        let mut rows_before = 0;
        while Instant::now() < warm {
            rows_before += worker()? as u64;
        }

        self.processor.begin();
        let measured_from = Instant::now();
        let mut before = measured_from;
        let (mut ops, mut rows, mut aside) = (0, 0, Duration::ZERO);
        loop {
            let mut untimed = 0;
            if let Clock::EveryEighth = clock {
                untimed = 7;
                for _ in 0..untimed {
                    rows += worker()? as u64;
                }
                before = Instant::now();
            }
            let touched = worker()? as u64;
            // The end of one operation is the start of the next, so that the clock is read once.
            let now = Instant::now();
            if touched > 0 {
                rows += touched;
                ops += untimed + 1;
                let ns = (now - before).as_nanos() as u64;
                self.latency_ns.saturating_record(ns);
                self.counter.count(untimed + 1, ns);
            } else {
                aside += now - before;
            }
            before = now;
            if now >= end || ops >= self.enough {
                break;
            }
        }
        self.processor.end();
        // Of several threads, one that waits for a processor when the warm-up ends would measure only the
        // time that it has one for itself, and the sum of their rates would be more than there was.
        let from = if self.is_alone { measured_from } else { warm };
        let elapsed = (before - from).saturating_sub(aside);
        let rows_in_all = rows_before + rows;
        let latency_ns = self.latency_ns;
        Ok(ThreadRun { rows_in_all, rows, ops, overdue: 0, elapsed, latency_ns })
    }

    fn open<W>(mut self, worker: &mut W, schedule: &Schedule) -> Result<ThreadRun, BenchError>
    where
        W: FnMut() -> Result<usize, BenchError>,
    {
        let warm = self.start + self.timing.warm_up;
        let end = warm + self.timing.measure;
        let give_up = end + self.timing.measure;
        let (mut ops, mut rows, mut rows_in_all, mut overdue) = (0, 0, 0, 0);
        let mut now = Instant::now();
        self.processor.begin();
        for number in 0.. {
            let due = self.start + schedule.due(number);
            if due >= end {
                break;
            }
            if now >= give_up {
                if due >= warm {
                    overdue += 1;
                    self.latency_ns.saturating_record((now - due).as_nanos() as u64);
                }
                continue;
            }
            wait_until(due);
            let mut touched = 0;
            while touched == 0 {
                touched = worker()? as u64;
            }
            rows_in_all += touched;
            now = Instant::now();
            if due < warm {
                continue;
            }
            ops += 1;
            rows += touched;
            let ns = (now - due).as_nanos() as u64;
            self.latency_ns.saturating_record(ns);
            self.counter.count(1, ns);
        }
        self.processor.end();
        let elapsed = now.max(end) - warm;
        Ok(ThreadRun { rows_in_all, rows, ops, overdue, elapsed, latency_ns: self.latency_ns })
    }
}

/// When the operations of one thread are due.
struct Schedule {
    first_s: f64,
    every_s: f64,
}

impl Schedule {
    /// The threads take turns.
    fn new(rate: f64, index: usize, threads: usize) -> Schedule {
        Schedule { first_s: index as f64 / rate, every_s: threads as f64 / rate }
    }

    /// When operation `number` is due, from the start.
    fn due(&self, number: u64) -> Duration {
        Duration::from_secs_f64(self.first_s + number as f64 * self.every_s)
    }
}

/// Sleeps as long as a sleep ends early enough, and yields for the rest.
fn wait_until(due: Instant) {
    const SLEEP_ENDS_WITHIN: Duration = Duration::from_micros(150);
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        match left.checked_sub(SLEEP_ENDS_WITHIN) {
            Some(sleep) if !sleep.is_zero() => thread::sleep(sleep),
            _ => thread::yield_now(),
        }
    }
}

/// The time that all threads of this process have had on processors.
#[cfg(unix)]
fn processor_time() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

#[cfg(not(unix))]
fn processor_time() -> Option<Duration> {
    None
}

/// From 1 ns to one hour with three digits.
pub(super) fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000_000, 3).expect("valid bounds")
}

fn merge(runs: Vec<ThreadRun>, cpu: Option<Duration>) -> Sample {
    let mut latency_ns = new_histogram();
    let (mut ops_per_s, mut ops, mut rows, mut rows_in_all, mut overdue) = (0.0, 0, 0, 0, 0);
    for run in runs {
        latency_ns.add(&run.latency_ns).expect("the same bounds");
        ops_per_s += run.ops as f64 / run.elapsed.as_secs_f64();
        ops += run.ops;
        rows += run.rows;
        rows_in_all += run.rows_in_all;
        overdue += run.overdue;
    }
    let mut sample = Sample {
        ops_per_s,
        rows_per_op: rows as f64 / ops.max(1) as f64,
        cpu_us_per_op: cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / ops.max(1) as f64),
        rows_in_all,
        ..Sample::of(latency_ns)
    };
    if overdue > 0 {
        sample.add_figure("overdue", overdue as f64, "operations");
    }
    sample
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(gauge: &Gauge, ms: u64, rate: Option<f64>) -> Load<'_> {
        Load {
            clock: Clock::EveryOperation,
            timing: Timing::of(Duration::from_millis(ms)),
            rate,
            gauge,
            watermarks: &|| None,
            course: None,
            enough: None,
        }
    }

    #[test]
    fn operations_are_counted_and_timed() {
        let worker = || {
            thread::sleep(Duration::from_millis(1));
            Ok(10)
        };
        let gauge = Gauge::default();
        let sample = drive(vec![worker; 3], &load(&gauge, 40, None)).unwrap();
        assert!(sample.quantile_us(0.5) >= 999.0, "{sample:?}");
        assert!(sample.ops_per_s <= 3.0 * 1001.0, "{sample:?}");
        assert!(sample.rows_in_all >= 30, "{sample:?}");
        assert_eq!(sample.rows_per_op, 10.0);
        assert!(gauge.ops() >= 3 && gauge.ops() <= sample.rows_in_all / 10);
    }

    /// Each thread works alone for a part of the time: no thread's rate while it works is the rate of all.
    #[test]
    fn threads_that_wait_for_each_other_are_not_counted_as_if_they_did_not() {
        let turn = Mutex::new(());
        let worker = || {
            let _turn = turn.lock().unwrap();
            thread::sleep(Duration::from_millis(1));
            Ok(1)
        };
        let gauge = Gauge::default();
        let sample = drive(vec![worker; 8], &load(&gauge, 60, None)).unwrap();
        assert!(sample.ops_per_s <= 1001.0 * 1.2, "{sample:?}");
    }

    #[test]
    fn a_failure_ends_the_measurement() {
        let worker = || Err(BenchError::Output(std::io::ErrorKind::Other.into()));
        let gauge = Gauge::default();
        let load = Load { clock: Clock::EveryEighth, ..load(&gauge, 4, None) };
        assert!(drive(vec![worker; 2], &load).is_err());
    }

    /// One stall of 60 ms at 1000 operations a second: sixty of them waited, 30 ms on average.
    /// A closed loop would have seen one slow operation.
    #[test]
    fn a_stall_delays_all_operations_that_were_due_meanwhile() {
        let begun = Instant::now();
        let mut stalled = false;
        let worker = move || {
            if !stalled && begun.elapsed() > Duration::from_millis(150) {
                stalled = true;
                thread::sleep(Duration::from_millis(60));
            }
            Ok(1)
        };
        let gauge = Gauge::default();
        let sample = drive(vec![worker], &load(&gauge, 200, Some(1000.0))).unwrap();
        assert_eq!(sample.latency_ns.len(), 200, "every operation that was due");
        let late = sample.latency_ns.count_between(10_000_000, u64::MAX / 2);
        assert!(late >= 45, "{late} operations were late by 10 ms");
        assert!((800.0..=1001.0).contains(&sample.ops_per_s), "{sample:?}");
    }

    #[test]
    fn operations_that_do_not_fit_are_overdue() {
        let worker = || {
            thread::sleep(Duration::from_millis(2));
            Ok(1)
        };
        let gauge = Gauge::default();
        let sample = drive(vec![worker; 2], &load(&gauge, 40, Some(10_000.0))).unwrap();
        assert_eq!(sample.latency_ns.len(), 400, "every operation that was due");
        assert_eq!(sample.figures[0].name, "overdue");
        assert!(sample.figures[0].value > 300.0, "{:?}", sample.figures);
        // The median one was due at 20 ms and had to wait to the end, at 80.
        assert!(sample.quantile_us(0.5) > 30_000.0, "{}", sample.quantile_us(0.5));
    }
}
