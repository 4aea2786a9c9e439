//! `commit`: the cost of a commit in each mode, on a store that holds every row.
//!
//! By default the ladder is measured: one put by 1 to 64 threads; one removal; larger values; batches.
//! Threads, value sizes or batch sizes on the command line select all their combinations.
//!
//! | variant | rows of a commit |
//! |---|---|
//! | `put` | one, drawn at random, with a new value |
//! | `batch`, uniform | as many, each drawn at random |
//! | `batch`, in key order | as many that follow each other, from a random one on |
//! | `delete` | one, removed in random order; when half of them are gone, they are put back untimed |

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::tools::bench::case::{Case, CaseSuite, Contender};
use crate::tools::bench::device::DeviceBytes;
use crate::tools::bench::draws::Chance;
use crate::tools::bench::engine::{Guarantee, Session};
use crate::tools::bench::error::BenchError;
use crate::tools::bench::floor::BareWrite;
use crate::tools::bench::measure::{Clock, Sample, drive};
use crate::tools::bench::put::{put_back, put_some};
use crate::tools::bench::record::Ratio;
use crate::tools::bench::rows::key;
use crate::tools::bench::settings::Settings;
use crate::tools::bench::stage::{BATCH_ROWS, Stage};
use crate::tools::bench::values::Value;

/// Commits.
pub(in crate::tools::bench) struct CommitSuite<'a> {
    stage: &'a Stage<'a>,
    cases: Vec<Case>,
}

/// One point of the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point {
    variant: &'static str,
    threads: usize,
    value_bytes: usize,
    batch: usize,
    distribution: &'static str,
}

const PUT: &str = "put";
const BATCH: &str = "batch";
const DELETE: &str = "delete";

const UNIFORM: &str = "uniform";
const KEY_ORDER: &str = "in key order";

impl<'a> CommitSuite<'a> {
    pub(in crate::tools::bench) fn new(stage: &'a Stage<'a>) -> CommitSuite<'a> {
        let mut cases = Vec::new();
        for guarantee in [Guarantee::ProcessEnd, Guarantee::PowerLoss, Guarantee::Nothing] {
            for point in points(stage) {
                let case = case(stage, guarantee, point);
                stage.above_floors(&mut cases, &case, guarantee);
            }
        }
        CommitSuite { stage, cases }
    }

    fn measure_floor(&self, case: &Case) -> Result<Sample, BenchError> {
        let floor = self.stage.floor()?;
        let before = DeviceBytes::now(&self.stage.dir);
        // A removal has no value to write.
        let value_bytes = if case.variant == DELETE { 0 } else { case.value_bytes };
        let way = BareWrite::named(case.mode);
        let workers = vec![floor.writer(way, case.batch, value_bytes)?];
        let load = self.stage.load(Clock::EveryOperation, case.rate, &|| None);
        let mut sample = drive(workers, &load)?;
        floor.settle()?;
        sample.wrote(before.since(&self.stage.floor_path()), value_bytes);
        Ok(sample)
    }

    fn measure_store(&self, case: &Case, engine: usize) -> Result<Sample, BenchError> {
        let stage = self.stage;
        let contents = stage.contents(case.value_bytes);
        let dir = stage.stock(engine, contents)?.dir;
        let before = DeviceBytes::now(&stage.dir);
        let mode = stage.mode(engine, case.mode);
        let (database, _) = stage.open_stock(engine, mode, contents, &stage.sizes(contents))?;
        let counts_before = database.commits_and_flushes();
        let gone = AtomicU64::new(0);
        let mut sample = {
            let mut sessions: Vec<Box<dyn Session>> =
                (0..case.threads).map(|_| database.session()).collect();
            let workers = sessions.iter_mut().enumerate();
            let workers =
                workers.map(|(thread, session)| self.worker(case, &mut **session, thread, &gone));
            let watermarks = || database.watermarks();
            let load = stage.load(Clock::EveryOperation, case.rate, &watermarks);
            drive(workers.collect(), &load)?
        };
        let counts = database.commits_and_flushes();
        put_back(&mut *database.session(), gone.into_inner(), case.value_bytes)?;
        database.settle()?;
        drop(database);
        if case.variant != DELETE {
            sample.wrote(before.since(&dir), case.value_bytes);
        }
        sample.commits_per_flush = commits_per_flush(counts_before, counts);
        Ok(sample)
    }

    /// The work of one thread.
    fn worker<'s>(
        &self,
        case: &Case,
        session: &'s mut dyn Session,
        thread: usize,
        gone: &'s AtomicU64,
    ) -> Box<dyn FnMut() -> Result<usize, BenchError> + Send + 's> {
        let value_bytes = case.value_bytes;
        let keys = self.stage.contents(value_bytes).keys;
        let mut chance = Chance::new(self.stage.settings.seed, thread);
        if case.variant == DELETE {
            return Box::new(move || delete_next(session, gone, keys, value_bytes));
        }
        if case.batch == 1 {
            let mut value = Value::of(value_bytes);
            return Box::new(move || {
                let row = chance.below(keys);
                session.put(&key(row), value.row(row))?;
                Ok(1)
            });
        }
        let sorted = (case.distribution == KEY_ORDER).then(|| self.stage.sorted_rows());
        let mut next_rows = move |rows: &mut [u64]| match &sorted {
            None => rows.fill_with(|| chance.below(keys)),
            Some(sorted) => follow(sorted, chance.below(keys), keys, rows),
        };
        Box::new(put_some(session, case.batch, value_bytes, move |rows| next_rows(rows)))
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

    fn end(&mut self) -> Result<(), BenchError> {
        self.stage.forget_special_stocks()
    }
}

/// The points that are measured of modes with each guarantee.
fn points(stage: &Stage<'_>) -> Vec<Point> {
    let value_bytes = stage.value_bytes();
    let single = Point { variant: PUT, threads: 1, value_bytes, batch: 1, distribution: UNIFORM };
    let batched = |batch, distribution| Point { variant: BATCH, batch, distribution, ..single };
    let Settings { threads, value_bytes, batches, .. } = stage.settings;
    if threads.is_empty() && value_bytes.is_empty() && batches.is_empty() {
        let mut points = Vec::from([1, 2, 4, 16, 64].map(|threads| Point { threads, ..single }));
        points.push(Point { variant: DELETE, ..single });
        points.extend([1 << 10, 16 << 10].map(|value_bytes| Point { value_bytes, ..single }));
        points.extend([UNIFORM, KEY_ORDER].map(|order| batched(BATCH_ROWS, order)));
        return points;
    }
    let mut points = Vec::new();
    for value_bytes in stage.all_value_bytes(&[single.value_bytes]) {
        for batch in if batches.is_empty() { &[1][..] } else { batches }.iter().copied() {
            let orders = if batch == 1 { &[UNIFORM][..] } else { &[UNIFORM, KEY_ORDER] };
            for point in orders.iter().map(|order| batched(batch, order)) {
                let variant = if batch == 1 { PUT } else { BATCH };
                let threads = stage.threads(&[single.threads]).into_iter();
                points.extend(threads.map(|threads| Point {
                    variant,
                    threads,
                    value_bytes,
                    ..point
                }));
            }
        }
    }
    points
}

fn case(stage: &Stage<'_>, guarantee: Guarantee, point: Point) -> Case {
    let rate = stage.settings.rate;
    let is_latency = guarantee == Guarantee::PowerLoss || rate.is_some();
    Case {
        threads: point.threads,
        batch: point.batch,
        distribution: point.distribution,
        rate,
        ratio: if is_latency { Ratio::MedianLatency } else { Ratio::Throughput },
        peer_ratio: if rate.is_some() { Ratio::MedianLatency } else { Ratio::Throughput },
        ..Case::new("commit", point.variant, point.value_bytes)
    }
}

/// Rows that follow each other in key order, from place `start` on. A store of fewer rows than `sorted`
/// has only those below `keys`.
fn follow(sorted: &Arc<[u64]>, start: u64, keys: u64, rows: &mut [u64]) {
    let from = start as usize * sorted.len() / keys as usize;
    let there = sorted[from..].iter().chain(sorted.iter()).cycle().filter(|row| **row < keys);
    rows.iter_mut().zip(there).for_each(|(row, there)| *row = *there);
}

/// Removes one row after the other, and puts them all back when half are gone.
fn delete_next(
    session: &mut dyn Session,
    gone: &AtomicU64,
    keys: u64,
    value_bytes: usize,
) -> Result<usize, BenchError> {
    let row = gone.load(Ordering::Relaxed);
    if row >= keys.div_ceil(2) {
        put_back(session, row, value_bytes)?;
        gone.store(0, Ordering::Relaxed);
        return Ok(0);
    }
    session.delete(&key(row))?;
    gone.store(row + 1, Ordering::Relaxed);
    Ok(1)
}

fn commits_per_flush(before: Option<(u64, u64)>, after: Option<(u64, u64)>) -> Option<f64> {
    let ((commits_before, flushes_before), (commits, flushes)) = (before?, after?);
    let flushes = flushes - flushes_before;
    (flushes > 0).then(|| (commits - commits_before) as f64 / flushes as f64)
}
