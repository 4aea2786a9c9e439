//! `commit`: the cost of a commit in each mode, each time on a fresh store.
//!
//! By default the ladder is measured: one put by 1 and 2 threads in modes that do not wait for the
//! device; by 1, 16 and 64 threads in modes that do, since these share flushes; larger values;
//! batches. Threads, value sizes or batch sizes on the command line select all their combinations.

use crate::tools::bench::case::{Case, CaseSuite, Contender};
use crate::tools::bench::device::DeviceBytes;
use crate::tools::bench::engine::{Guarantee, Session};
use crate::tools::bench::error::BenchError;
use crate::tools::bench::floor::Flush;
use crate::tools::bench::measure::{Clock, Sample, drive};
use crate::tools::bench::record::Ratio;
use crate::tools::bench::rows::{Order, user_bytes};
use crate::tools::bench::settings::Settings;
use crate::tools::bench::stage::{BATCH_ROWS, Stage, batches, puts};

/// Commits.
pub(in crate::tools::bench) struct CommitSuite<'a> {
    stage: &'a Stage<'a>,
    cases: Vec<Case>,
}

/// One point of the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point {
    threads: usize,
    value_bytes: usize,
    batch: usize,
    order: Order,
}

impl<'a> CommitSuite<'a> {
    pub(in crate::tools::bench) fn new(stage: &'a Stage<'a>) -> CommitSuite<'a> {
        let mut cases = Vec::new();
        for guarantee in [Guarantee::ProcessEnd, Guarantee::PowerLoss, Guarantee::Nothing] {
            for point in points(stage, guarantee) {
                add(stage, &mut cases, guarantee, point);
            }
        }
        CommitSuite { stage, cases }
    }

    fn measure_floor(&self, case: &Case) -> Result<Sample, BenchError> {
        let floor = self.stage.floor()?;
        let flush = Flush::named(case.mode);
        let before = DeviceBytes::now(&self.stage.dir);
        let workers = vec![floor.writer(flush, case.batch, case.value_bytes)];
        let load = self.stage.load(Clock::EveryOperation, case.rate, &|| None);
        let mut sample = drive(workers, &load)?;
        floor.settle()?;
        let user_bytes = user_bytes(sample.rows_in_all, case.value_bytes);
        sample.device_bytes_per_user_byte =
            before.since(&self.stage.floor_path()).map(|bytes| bytes / user_bytes);
        Ok(sample)
    }

    fn measure_store(&self, case: &Case, engine: usize) -> Result<Sample, BenchError> {
        let (stage, keys) = (self.stage, self.stage.settings.keys);
        let dir = stage.fresh_dir();
        let mode = stage.mode(engine, case.mode);
        let before = DeviceBytes::now(&self.stage.dir);
        let database = stage.open(engine, &dir, mode, &stage.sizes(case.value_bytes))?;
        let counts_before = database.commits_and_flushes();
        let mut sample = {
            let mut sessions: Vec<Box<dyn Session>> =
                (0..case.threads).map(|_| database.session()).collect();
            let workers = sessions.iter_mut().enumerate();
            let workers =
                workers.map(|(thread, session)| worker(case, &mut **session, thread, keys));
            let watermarks = || database.watermarks();
            let load = stage.load(Clock::EveryOperation, case.rate, &watermarks);
            drive(workers.collect(), &load)?
        };
        let counts = database.commits_and_flushes();
        database.settle()?;
        drop(database);
        let user_bytes = user_bytes(sample.rows_in_all, case.value_bytes);
        sample.device_bytes_per_user_byte = before.since(&dir).map(|bytes| bytes / user_bytes);
        sample.commits_per_flush = commits_per_flush(counts_before, counts);
        stage.remove(&dir)?;
        Ok(sample)
    }
}

impl CaseSuite for CommitSuite<'_> {
    fn cases(&self) -> &[Case] {
        &self.cases
    }

    fn measure(&mut self, case: usize) -> Result<Sample, BenchError> {
        let case = &self.cases[case];
        match case.contender {
            Contender::Floor => self.measure_floor(case),
            Contender::Engine(engine) => self.measure_store(case, engine),
        }
    }
}

/// The points that are measured of modes with this guarantee.
fn points(stage: &Stage<'_>, guarantee: Guarantee) -> Vec<Point> {
    let single = Point { threads: 1, value_bytes: 150, batch: 1, order: Order::Random };
    let Settings { threads, value_bytes, batches, .. } = stage.settings;
    if threads.is_empty() && value_bytes.is_empty() && batches.is_empty() {
        let threads: &[usize] =
            if guarantee == Guarantee::PowerLoss { &[1, 16, 64] } else { &[1, 2] };
        let mut points: Vec<Point> =
            threads.iter().map(|threads| Point { threads: *threads, ..single }).collect();
        points.extend([1 << 10, 16 << 10].map(|value_bytes| Point { value_bytes, ..single }));
        points.extend(Order::BOTH.map(|order| Point { batch: BATCH_ROWS, order, ..single }));
        return points;
    }
    let mut points = Vec::new();
    let batches = if batches.is_empty() { &[1][..] } else { batches };
    for value_bytes in stage.all_value_bytes(&[single.value_bytes]) {
        for batch in batches.iter().copied() {
            let orders = if batch == 1 { &[Order::Random][..] } else { &Order::BOTH };
            for order in orders.iter().copied() {
                let threads = stage.threads(&[single.threads]);
                let point = |threads| Point { threads, value_bytes, batch, order };
                points.extend(threads.into_iter().map(point));
            }
        }
    }
    points
}

/// Adds the cases of all engines that have a mode with this guarantee, and their floor.
fn add(stage: &Stage<'_>, cases: &mut Vec<Case>, guarantee: Guarantee, point: Point) {
    let flush = match guarantee {
        Guarantee::PowerLoss => Flush::EachRecord,
        Guarantee::ProcessEnd | Guarantee::Nothing => Flush::Never,
    };
    let rate = stage.settings.rate;
    let is_latency = guarantee == Guarantee::PowerLoss || rate.is_some();
    let case = Case {
        threads: point.threads,
        batch: point.batch,
        distribution: point.order.name(),
        rate,
        ratio: if is_latency { Ratio::MedianLatency } else { Ratio::Throughput },
        peer_ratio: if rate.is_some() { Ratio::MedianLatency } else { Ratio::Throughput },
        ..Case::new("commit", if point.batch == 1 { "put" } else { "batch" }, point.value_bytes)
    };
    let with_mode = (0..stage.engines.len()).filter_map(|engine| {
        let mut modes = stage.engines[engine].modes().iter();
        let mode = modes.find(|mode| mode.guarantee == guarantee)?;
        Some(case.in_mode(engine, mode))
    });
    let with_mode: Vec<Case> = with_mode.collect();
    if with_mode.is_empty() {
        return;
    }
    // One floor serves all numbers of threads and both orders.
    let is_floor = |other: &Case| {
        let sizes = |case: &Case| (case.value_bytes, case.batch);
        other.contender == Contender::Floor
            && other.mode == flush.name()
            && sizes(other) == sizes(&case)
    };
    let known = cases.iter().position(is_floor);
    let floor = known.unwrap_or_else(|| {
        cases.push(case.by_writing(flush));
        cases.len() - 1
    });
    cases[floor].floor = Some(floor);
    cases.extend(with_mode.into_iter().map(|case| Case { floor: Some(floor), ..case }));
}

/// The work of one thread.
fn worker<'s>(
    case: &Case,
    session: &'s mut dyn Session,
    thread: usize,
    keys: u64,
) -> Box<dyn FnMut() -> Result<usize, BenchError> + Send + 's> {
    let (first, step) = (thread as u64, case.threads as u64);
    if case.batch == 1 {
        return Box::new(puts(session, first, step, keys, case.value_bytes));
    }
    let sorted = case.distribution == Order::Sorted.name();
    let order = if sorted { Order::Sorted } else { Order::Random };
    Box::new(batches(session, order, first, step, case.batch, keys, case.value_bytes))
}

fn commits_per_flush(before: Option<(u64, u64)>, after: Option<(u64, u64)>) -> Option<f64> {
    let ((commits_before, flushes_before), (commits, flushes)) = (before?, after?);
    let flushes = flushes - flushes_before;
    (flushes > 0).then(|| (commits - commits_before) as f64 / flushes as f64)
}
