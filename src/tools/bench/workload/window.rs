//! `window`: the number of acknowledged commits that a power loss at a random moment would lose.
//!
//! One thread commits asynchronously, as fast as it can or at `--rate`. Another looks, at random
//! moments, how many of the commits that have been acknowledged lie beyond the durable watermark.
//! Measured for several [`Options::flush_interval`]s:
//!
//! ```text
//!   ---- durable ============= appended --->         lost: the commits in between, as a count,
//!                 a   a   a  a  ^                    as bytes of the log, and as the age of
//!                 acknowledged  a power loss now     the oldest of them
//! ```
//!
//! - WINDOW-1 The watermark is read before the commits are counted: commits that are flushed in between
//!   count as lost. The figures are never too good.
//! - WINDOW-2 The figures count commits without a promise to survive. The device may hold more of them.
//!
//! `max_unsynced_bytes` bounds the window as well: with its default, 16 MiB, back-pressure slows a fast
//! writer before a long interval is over.
//!
//! The relaxed modes of the peers, as they are by default (`by default`): none of them reports how far
//! it is durable, but the flushes that they ask the system for can be seen.
//!
//! - WINDOW-3 Commits that were acknowledged since the last flush that has ended began count as lost. The
//!   flush may have been one of another file than the log, so the figures are never too bad for the
//!   peer. What the kernel has written back by itself does not count: nobody promises it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::tools::bench::case::{Case, CaseSuite, Contender};
use crate::tools::bench::draws::Chance;
use crate::tools::bench::engine::Guarantee;
use crate::tools::bench::error::BenchError;
use crate::tools::bench::measure::{Clock, Load, Sample, Timing, drive, new_histogram};
use crate::tools::bench::put::puts;
use crate::tools::bench::record::Ratio;
use crate::tools::bench::rows::{key, row_bytes};
use crate::tools::bench::stage::Stage;
use crate::tools::bench::values::Value;
use crate::{CommitMode, Options};

/// The window of loss.
pub(in crate::tools::bench) struct WindowSuite<'a> {
    stage: &'a Stage<'a>,
    cases: Vec<Case>,
}

const INTERVALS: [(&str, u64); 4] = [
    ("flush_interval 1 ms", 1),
    ("flush_interval 10 ms", 10),
    ("flush_interval 100 ms", 100),
    ("flush_interval 1000 ms", 1000),
];

/// More commits than 16 MiB of log can hold.
const REMEMBERED: usize = 1 << 20;

/// The longest pause between two looks.
const PAUSE_US: u64 = 4000;

impl<'a> WindowSuite<'a> {
    pub(in crate::tools::bench) fn new(stage: &'a Stage<'a>) -> WindowSuite<'a> {
        let case = |(variant, _)| Case {
            contender: Contender::SYNCLINE,
            mode: "async",
            guarantee: Some(Guarantee::ProcessEnd),
            distribution: "random order",
            rate: stage.settings.rate,
            ratio: Ratio::Throughput,
            ..Case::new("window", variant, stage.value_bytes())
        };
        let mut cases = INTERVALS.map(case).to_vec();
        let by_default = case((BY_DEFAULT, 0));
        let peers = [Guarantee::ProcessEnd, Guarantee::Nothing].into_iter();
        let peers = peers.flat_map(|guarantee| stage.by_all_with(&by_default, guarantee));
        cases.extend(peers.filter(|case| case.contender != Contender::SYNCLINE));
        WindowSuite { stage, cases }
    }

    fn ours(&self, case: &Case, interval_ms: u64) -> Result<Sample, BenchError> {
        let (stage, keys) = (self.stage, self.stage.settings.keys);
        let interval = Duration::from_millis(interval_ms);
        let dir = stage.fresh_dir();
        let store = Options::new()
            .cache_bytes(stage.settings.cache_bytes)
            .flush_interval(interval)
            .open(&dir)?;
        let keyspace = store.keyspace("bench")?;
        let ledger = Ledger::new();
        let mut value = Value::of(case.value_bytes);
        let mut number = 0;
        let worker = || {
            let row = value.row(number % keys);
            let receipt = keyspace.put_with(key(number % keys), row, CommitMode::Async)?;
            ledger.acknowledge(receipt.lsn().get());
            number += 1;
            Ok(1)
        };
        let watermarks = || Some(store.watermarks());
        let mut load = stage.load(Clock::EveryOperation, case.rate, &watermarks);
        load.timing = Timing::of(long_enough(stage.settings.measure_time, interval));
        let (mut sample, window) = watched(worker, &load, stage.settings.seed, |_| {
            ledger.beyond(store.watermarks().durable.get())
        })?;
        drop(keyspace);
        store.close()?;
        stage.remove(&dir)?;
        sample.add_figure("flush_interval_ms", interval_ms as f64, "ms");
        window.tell(&mut sample);
        Ok(sample)
    }

    fn peers(&self, case: &Case, engine: usize) -> Result<Sample, BenchError> {
        let (stage, keys) = (self.stage, self.stage.settings.keys);
        let dir = stage.fresh_dir();
        let sizes = stage.sizes(stage.contents(case.value_bytes));
        let database = stage.open(engine, &dir, stage.mode(engine, case.mode), &sizes)?;
        if !database.sees_flushes() {
            return Err(stage.wrong(engine, "its flushes cannot be seen".to_owned()));
        }
        let acknowledged = AtomicU64::new(0);
        let mut history = History::new();
        let mut session = database.session();
        let mut put = puts(&mut *session, 0, 1, keys, case.value_bytes);
        let worker = || {
            let rows = put()?;
            acknowledged.fetch_add(1, Ordering::Relaxed);
            Ok(rows)
        };
        let none = || None;
        let mut load = stage.load(Clock::EveryOperation, case.rate, &none);
        load.timing = Timing::of(stage.settings.measure_time * 3);
        let row_bytes = row_bytes(case.value_bytes) as u64;
        let (mut sample, window) = watched(worker, &load, stage.settings.seed, |now| {
            let flushed = database.flushed_until();
            history.look(now, acknowledged.load(Ordering::Relaxed));
            history.since(flushed, now, row_bytes)
        })?;
        drop(put);
        drop(session);
        drop(database);
        stage.remove(&dir)?;
        window.tell(&mut sample);
        Ok(sample)
    }
}

/// The variant of the peers.
const BY_DEFAULT: &str = "by default";

/// Drives one worker, and samples what `loss` tells at random moments.
fn watched<W>(
    worker: W,
    load: &Load<'_>,
    seed: u64,
    mut loss: impl FnMut(Instant) -> Loss + Send,
) -> Result<(Sample, Window), BenchError>
where
    W: FnMut() -> Result<usize, BenchError> + Send,
{
    let stop = AtomicBool::new(false);
    let (sample, window) = thread::scope(|scope| {
        let looker = scope.spawn(|| {
            let mut chance = Chance::new(seed, 1);
            let mut window = Window::new();
            while !stop.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_micros(chance.below(PAUSE_US)));
                window.note(loss(Instant::now()));
            }
            window
        });
        let sample = drive(vec![worker], load);
        stop.store(true, Ordering::Relaxed);
        (sample, looker.join().expect("the looker panicked"))
    });
    Ok((sample?, window))
}

/// How many commits were acknowledged at which moment.
struct History {
    looks: Vec<(Instant, u64)>,
}

impl History {
    fn new() -> History {
        History { looks: vec![(Instant::now(), 0)] }
    }

    fn look(&mut self, now: Instant, acknowledged: u64) {
        self.looks.push((now, acknowledged));
    }

    /// What has been acknowledged since the moment `flushed`, or since the start. Between two looks the
    /// later one counts: never too many (WINDOW-3).
    fn since(&self, flushed: Option<Instant>, now: Instant, row_bytes: u64) -> Loss {
        let from = flushed.map_or(0, |flushed| self.looks.partition_point(|look| look.0 < flushed));
        let (Some((begun, before)), Some((_, last))) = (self.looks.get(from), self.looks.last())
        else {
            return Loss::default();
        };
        let commits = last - before;
        let ns = if commits == 0 { 0 } else { (now - *begun).as_nanos() as u64 };
        Loss { commits, bytes: commits * row_bytes, ns }
    }
}

impl CaseSuite for WindowSuite<'_> {
    fn cases(&self) -> &[Case] {
        &self.cases
    }

    fn measure(&mut self, case: usize) -> Result<Sample, BenchError> {
        let known = &self.cases[case];
        match (known.contender, INTERVALS.get(case)) {
            (_, Some((_, interval_ms))) => self.ours(known, *interval_ms),
            (Contender::Engine(engine), None) => self.peers(known, engine),
            (Contender::Floor, None) => unreachable!("there is no floor"),
        }
    }
}

/// Three intervals, so that the window opens and closes during the measurement, but at most three
/// times the requested time.
fn long_enough(measure_time: Duration, interval: Duration) -> Duration {
    measure_time.max((interval * 3).min(measure_time * 3))
}

/// The latest commits with their times, in a ring. One thread writes, another reads.
struct Ledger {
    begun: Instant,
    /// The number of acknowledged commits. Written after the entry that it counts.
    acknowledged: AtomicU64,
    lsns: Vec<AtomicU64>,
    times_ns: Vec<AtomicU64>,
}

/// The loss that a power loss would have caused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Loss {
    commits: u64,
    bytes: u64,
    ns: u64,
}

impl Ledger {
    fn new() -> Ledger {
        let zeros = || (0..REMEMBERED).map(|_| AtomicU64::new(0)).collect();
        Ledger {
            begun: Instant::now(),
            acknowledged: AtomicU64::new(0),
            lsns: zeros(),
            times_ns: zeros(),
        }
    }

    fn acknowledge(&self, lsn: u64) {
        let number = self.acknowledged.load(Ordering::Relaxed);
        let place = number as usize % REMEMBERED;
        self.lsns[place].store(lsn, Ordering::Relaxed);
        self.times_ns[place].store(self.begun.elapsed().as_nanos() as u64, Ordering::Relaxed);
        self.acknowledged.store(number + 1, Ordering::Release);
    }

    /// The part beyond `durable`.
    fn beyond(&self, durable: u64) -> Loss {
        let end = self.acknowledged.load(Ordering::Acquire);
        // A margin for entries that the writer overwrites meanwhile.
        let start = end.saturating_sub(REMEMBERED as u64 / 2);
        let lsn = |number: u64| self.lsns[number as usize % REMEMBERED].load(Ordering::Relaxed);
        // The first lost commit: LSNs ascend.
        let (mut low, mut high) = (start, end);
        while low < high {
            let middle = low + (high - low) / 2;
            if lsn(middle) > durable { high = middle } else { low = middle + 1 }
        }
        if low == end {
            return Loss::default();
        }
        let since = self.times_ns[low as usize % REMEMBERED].load(Ordering::Relaxed);
        Loss {
            commits: end - low,
            bytes: lsn(end - 1) - durable,
            ns: (self.begun.elapsed().as_nanos() as u64).saturating_sub(since),
        }
    }
}

/// The losses at all moments.
struct Window {
    commits: Histogram<u64>,
    bytes: Histogram<u64>,
    ns: Histogram<u64>,
}

impl Window {
    fn new() -> Window {
        Window { commits: new_histogram(), bytes: new_histogram(), ns: new_histogram() }
    }

    fn note(&mut self, loss: Loss) {
        self.commits.saturating_record(loss.commits);
        self.bytes.saturating_record(loss.bytes);
        self.ns.saturating_record(loss.ns);
    }

    fn tell(&self, sample: &mut Sample) {
        let kinds = [
            ("lost_commits", &self.commits, 1.0, ""),
            ("lost_bytes", &self.bytes, 1.0, "bytes"),
            ("lost_ms", &self.ns, 1e6, "ms"),
        ];
        for (name, seen, unit_size, unit) in kinds {
            for (suffix, quantile) in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)] {
                let value = seen.value_at_quantile(quantile) as f64 / unit_size;
                sample.add_figure(format!("{name}_{suffix}"), value, unit);
            }
        }
        sample.add_figure("moments", self.commits.len() as f64, "");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_beyond_the_watermark_are_lost() {
        let ledger = Ledger::new();
        assert_eq!(ledger.beyond(0), Loss::default());
        for lsn in [100, 200, 300] {
            ledger.acknowledge(lsn);
        }
        assert_eq!((ledger.beyond(0).commits, ledger.beyond(0).bytes), (3, 300));
        assert_eq!((ledger.beyond(150).commits, ledger.beyond(150).bytes), (2, 150));
        assert_eq!(ledger.beyond(200).commits, 1);
        assert_eq!(ledger.beyond(300), Loss::default());
    }

    #[test]
    fn commits_since_the_last_flush_are_lost() {
        let mut history = History::new();
        let begun = history.looks[0].0;
        let at = |ms| begun + Duration::from_millis(ms);
        history.look(at(10), 100);
        history.look(at(20), 250);
        let lost = |flushed| history.since(flushed, at(25), 10);
        assert_eq!(lost(None), Loss { commits: 250, bytes: 2500, ns: 25_000_000 });
        assert_eq!(lost(Some(at(10))).commits, 150);
        assert_eq!(lost(Some(at(11))), Loss::default(), "generous between two looks");
        assert_eq!(lost(Some(at(24))), Loss::default());
    }

    #[test]
    fn the_ring_wraps_around() {
        let ledger = Ledger::new();
        for number in 0..REMEMBERED as u64 + 10 {
            ledger.acknowledge(number * 10);
        }
        let last = (REMEMBERED as u64 + 9) * 10;
        assert_eq!(ledger.beyond(last - 20).commits, 2);
        assert!(ledger.beyond(last - 20).ns > 0);
    }
}
