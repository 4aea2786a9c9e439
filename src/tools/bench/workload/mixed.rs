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
//! Commits are in the light mode of each engine: they survive the process. Unlike in YCSB, a row has
//! one field, and the sizes of this benchmark. Rows that D and E insert stay in the store, which
//! grows a little from one measurement to the next.
//!
//! There is no floor: a mix of everything has no bare counterpart.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use super::read::ends;
use crate::tools::bench::case::{Case, CaseSuite, Contender};
use crate::tools::bench::draws::{Chance, Zipfian};
use crate::tools::bench::engine::Session;
use crate::tools::bench::error::BenchError;
use crate::tools::bench::measure::{Clock, Sample, drive};
use crate::tools::bench::record::Ratio;
use crate::tools::bench::rows::{Value, key};
use crate::tools::bench::stage::Stage;

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
            for threads in stage.threads(&[1]) {
                cases.extend(stage.by_all(&Case {
                    threads,
                    distribution: if mix.name == "D" { "latest" } else { "zipfian" },
                    rate,
                    ratio,
                    peer_ratio: ratio,
                    ..Case::new("mixed", mix.name, stage.value_bytes())
                }));
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
        let Contender::Engine(engine) = case.contender else { unreachable!("there is no floor") };
        let mix = *MIXES.iter().find(|mix| mix.name == case.variant).expect("one of them");
        let stage = self.stage;
        let mode = stage.mode(engine, case.mode);
        let (database, rows) = stage.open_stock(engine, mode, &stage.sizes(case.value_bytes))?;
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
                self.session.put(&key(row), self.value.row(row ^ self.chance.word()))?;
            }
            Change::Insert => {
                let row = self.rows.fetch_add(1, Ordering::Relaxed);
                self.session.put(&key(row), self.value.row(row))?;
            }
            Change::ReadAndOverwrite => {
                let word = self.chance.word();
                let change = &mut |value: &mut Vec<u8>| {
                    let changed = value.len().min(8);
                    value[..changed].copy_from_slice(&word.to_le_bytes()[..changed]);
                };
                let row = self.row();
                self.session.read_modify_write(&key(row), change)?;
            }
        }
        Ok(1)
    }

    fn get(&mut self) -> Result<usize, BenchError> {
        let row = self.row();
        let found = self.session.get(&key(row), &mut |value| {
            black_box(ends(value));
        })?;
        // The latest rows may still be missing: another thread is about to insert them.
        let may_be_missing = matches!(self.mix.change, Change::Insert);
        if !found && !may_be_missing {
            let message = format!("row {row} is missing");
            return Err(BenchError::Engine { engine: self.engine, message });
        }
        Ok(1)
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
