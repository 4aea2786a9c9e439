//! `mixed`: the core workloads of YCSB (Cooper and others, 2010), on a store that holds every row.
//!
//! | | one operation is | rows |
//! |---|---|---|
//! | A | get 50 %, overwrite 50 % | zipfian |
//! | B | get 95 %, overwrite 5 % | zipfian |
//! | C | get | zipfian |
//! | D | get 95 %, insert 5 % | latest |
//! | E | scan of 1 to 100 rows 95 %, insert 5 % | zipfian |
//! | F | get 50 %, get and overwrite 50 % | zipfian |
//!
//! In each mode of each engine; A with 1 to 8 threads and one for each processor. Unlike in YCSB, a row has
//! one field, and the sizes of this benchmark. An operation of F is one transaction; of an engine that
//! has none the row has a note, and is compared with nobody. Rows that D and E insert stay in the store, which
//! grows a little from one measurement to the next.
//!
//! There is no floor: a mix of everything has no bare counterpart.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use super::read::ends;
use crate::tools::bench::case::{Case, CaseSuite};
use crate::tools::bench::contenders::up_to_cores;
use crate::tools::bench::draws::{Chance, Zipfian};
use crate::tools::bench::engine::Session;
use crate::tools::bench::error::BenchError;
use crate::tools::bench::measure::{Clock, Sample, drive};
use crate::tools::bench::record::Ratio;
use crate::tools::bench::rows::key;
use crate::tools::bench::stage::Stage;
use crate::tools::bench::values::{Value, is_of};

/// The mixes of YCSB.
pub(in crate::tools::bench) struct MixedSuite<'a> {
    stage: &'a Stage<'a>,
    zipfian: Zipfian,
    cases: Vec<Case>,
}

/// The less frequent operation of a mix.
#[derive(Clone, Copy, Debug)]
enum Change {
    Nothing,
    Overwrite,
    Insert,
    ReadAndOverwrite,
}

/// The more frequent operation of a mix.
#[derive(Clone, Copy, Debug)]
enum Most {
    Get,
    Scan,
}

/// One of the mixes.
#[derive(Clone, Copy, Debug)]
struct Mix {
    name: &'static str,
    most: Most,
    change: Change,
    /// Per hundred operations.
    changes: u64,
}

impl Mix {
    const fn new(name: &'static str, most: Most, change: Change, changes: u64) -> Mix {
        Mix { name, most, change, changes }
    }
}

const MIXES: [Mix; 6] = [
    Mix::new("A", Most::Get, Change::Overwrite, 50),
    Mix::new("B", Most::Get, Change::Overwrite, 5),
    Mix::new("C", Most::Get, Change::Nothing, 0),
    Mix::new("D", Most::Get, Change::Insert, 5),
    Mix::new("E", Most::Scan, Change::Insert, 5),
    Mix::new("F", Most::Get, Change::ReadAndOverwrite, 50),
];

const LONGEST_SCAN: u64 = 100;

impl<'a> MixedSuite<'a> {
    pub(in crate::tools::bench) fn new(stage: &'a Stage<'a>) -> MixedSuite<'a> {
        let rate = stage.settings.rate;
        let ratio = if rate.is_some() { Ratio::MedianLatency } else { Ratio::Throughput };
        let mut cases = Vec::new();
        for mix in MIXES {
            let threads = if mix.name == "A" { up_to_cores() } else { vec![1] };
            for threads in stage.threads(&threads) {
                let case = Case {
                    threads,
                    distribution: if mix.name == "D" { "latest" } else { "zipfian" },
                    rate,
                    ratio,
                    peer_ratio: ratio,
                    ..Case::new("mixed", mix.name, stage.value_bytes())
                };
                cases.extend(match mix.change {
                    Change::Nothing => stage.by_all_reading(&case, "get"),
                    Change::ReadAndOverwrite => stage.noting_what_is_not_atomic(&case),
                    _ => stage.by_all(&case),
                });
            }
        }
        MixedSuite { stage, zipfian: Zipfian::new(stage.settings.keys), cases }
    }
}

impl CaseSuite for MixedSuite<'_> {
    fn cases(&self) -> &[Case] {
        &self.cases
    }

    fn measure(&mut self, case: usize) -> Result<Sample, BenchError> {
        let case = &self.cases[case];
        let engine = case.engine();
        let mix = *MIXES.iter().find(|mix| mix.name == case.variant).expect("one of them");
        let stage = self.stage;
        let mode = match case.guarantee {
            Some(_) => stage.mode(engine, case.mode),
            None => stage.light_mode(engine),
        };
        let (database, rows) = stage.open_usual(engine, mode)?;
        let sample = {
            let mut sessions: Vec<Box<dyn Session>> =
                (0..case.threads).map(|_| database.session()).collect();
            let thread = |(thread, session)| {
                let session: &mut Box<dyn Session> = session;
                let mut worker = Worker {
                    session: &mut **session,
                    mix,
                    chance: Chance::new(stage.settings.seed, thread),
                    zipfian: &self.zipfian,
                    rows: &rows,
                    value: Value::of(case.value_bytes),
                    value_bytes: case.value_bytes,
                    engine: stage.engines[engine].name(),
                };
                move || worker.operation()
            };
            let workers = sessions.iter_mut().enumerate().map(thread).collect();
            let watermarks = || database.watermarks();
            drive(workers, &stage.load(Clock::EveryOperation, case.rate, &watermarks))?
        };
        database.settle()?;
        Ok(sample)
    }
}

/// One thread at work.
struct Worker<'a> {
    session: &'a mut dyn Session,
    mix: Mix,
    chance: Chance,
    zipfian: &'a Zipfian,
    /// The number of rows, including those that are being inserted.
    rows: &'a AtomicU64,
    value: Value,
    value_bytes: usize,
    engine: &'static str,
}

impl Worker<'_> {
    fn operation(&mut self) -> Result<usize, BenchError> {
        if self.chance.below(100) >= self.mix.changes {
            return match self.mix.most {
                Most::Get => self.get(),
                Most::Scan => self.scan(),
            };
        }
        match self.mix.change {
            Change::Nothing => unreachable!("workload C changes nothing"),
            Change::Overwrite => {
                let row = self.row();
                self.session.put(&key(row), self.value.row(row))?;
            }
            Change::Insert => {
                let row = self.rows.fetch_add(1, Ordering::Relaxed);
                self.session.put(&key(row), self.value.row(row))?;
            }
            Change::ReadAndOverwrite => {
                let row = self.row();
                let (bytes, new) = (self.value_bytes, self.value.row(row));
                let mut is_right = false;
                self.session.read_modify_write(&key(row), &mut |value| {
                    is_right = is_of(row, value, bytes);
                    value.clear();
                    value.extend_from_slice(new);
                })?;
                self.expect(is_right, row)?;
            }
        }
        Ok(1)
    }

    fn get(&mut self) -> Result<usize, BenchError> {
        let row = self.row();
        let (bytes, mut is_right) = (self.value_bytes, true);
        let found =
            self.session.get(&key(row), &mut |value| is_right = is_of(row, value, bytes))?;
        // The latest rows may still be missing: another thread is about to insert them.
        let may_be_missing = matches!(self.mix.change, Change::Insert);
        self.expect(is_right && (found || may_be_missing), row)?;
        Ok(1)
    }

    fn expect(&self, is_right: bool, row: u64) -> Result<(), BenchError> {
        if is_right {
            return Ok(());
        }
        let message = format!("row {row} is missing, or is not as it was put");
        Err(BenchError::Engine { engine: self.engine, message })
    }

    fn scan(&mut self) -> Result<usize, BenchError> {
        let limit = 1 + self.chance.below(LONGEST_SCAN);
        let from = key(self.row());
        self.session.scan(&from, limit as usize, &mut |key, value| {
            black_box(ends(key) ^ ends(value));
        })
    }

    /// A row from before the start; in workload D one of the latest.
    fn row(&mut self) -> u64 {
        let rank = self.zipfian.rank(&mut self.chance);
        match (self.mix.most, self.mix.change) {
            (Most::Get, Change::Insert) => {
                self.rows.load(Ordering::Relaxed).saturating_sub(1 + rank)
            }
            _ => rank,
        }
    }
}
