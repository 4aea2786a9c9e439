//! `scan`: rows in key order, from a store that holds every row.
//!
//! | variant | one operation | floor |
//! |---|---|---|
//! | `full` | a pass over everything | as many bytes of memory, read once |
//! | `100 rows` | 100 rows, or up to the end, from a random row on | the same from a `BTreeMap` |

use std::hint::black_box;
use std::ops::Bound;

use crate::tools::bench::case::{Case, CaseSuite, Contender};
use crate::tools::bench::draws::Chance;
use crate::tools::bench::engine::Database;
use crate::tools::bench::error::BenchError;
use crate::tools::bench::floor::{Map, memory_of};
use crate::tools::bench::measure::{Clock, Sample, drive};
use crate::tools::bench::put::scan_all;
use crate::tools::bench::record::Ratio;
use crate::tools::bench::rows::key;
use crate::tools::bench::stage::Stage;

/// Scans.
pub(in crate::tools::bench) struct ScanSuite<'a> {
    stage: &'a Stage<'a>,
    memory: Vec<u8>,
    cases: Vec<Case>,
}

const FULL: &str = "full";
const SHORT: &str = "100 rows";
const SHORT_ROWS: usize = 100;

impl<'a> ScanSuite<'a> {
    pub(in crate::tools::bench) fn new(stage: &'a Stage<'a>) -> ScanSuite<'a> {
        let mut cases: Vec<Case> = Vec::new();
        for (variant, floor, mode) in [(FULL, "memory", "next"), (SHORT, "btreemap", "range")] {
            // A pass over everything has no schedule.
            let rate = stage.settings.rate.filter(|_| variant == SHORT);
            let ratio = if rate.is_some() { Ratio::MedianLatency } else { Ratio::Throughput };
            let case = Case {
                distribution: if variant == SHORT { "uniform" } else { "sorted" },
                rate,
                ratio,
                peer_ratio: ratio,
                floors: vec![cases.len()],
                ..Case::new("scan", variant, stage.value_bytes())
            };
            cases.push(case.by_floor(floor));
            for threads in stage.threads(&[1]) {
                cases.extend(stage.by_all_reading(&Case { threads, ..case.clone() }, mode));
            }
        }
        ScanSuite { stage, memory: memory_of(stage.settings.keys, stage.value_bytes()), cases }
    }

    fn measure_memory(&self, case: &Case) -> Result<Sample, BenchError> {
        let rows = self.stage.settings.keys as usize;
        let memory: &[u8] = &self.memory;
        let worker = move || {
            black_box(sum(black_box(memory)));
            Ok(rows)
        };
        drive(vec![worker], &self.stage.load(Clock::EveryOperation, case.rate, &|| None))
    }

    fn measure_map(&self, case: &Case) -> Result<Sample, BenchError> {
        let map = self.stage.map();
        let map: &Map = &map;
        let mut chance = self.chance(0);
        let keys = self.stage.settings.keys;
        let worker = move || {
            let from = key(chance.below(keys));
            let from = (Bound::Included(&from[..]), Bound::Unbounded);
            let (mut total, mut rows) = (0u64, 0);
            for (key, value) in map.range::<[u8], _>(from).take(SHORT_ROWS) {
                total = total.wrapping_add(sum(key)).wrapping_add(sum(value));
                rows += 1;
            }
            black_box(total);
            Ok(rows)
        };
        drive(vec![worker], &self.stage.load(Clock::EveryOperation, case.rate, &|| None))
    }

    fn measure_store(&self, case: &Case, engine: usize) -> Result<Sample, BenchError> {
        let stage = self.stage;
        let mode = stage.light_mode(engine);
        let (database, rows) = stage.open_usual(engine, mode)?;
        let rows = rows.load(std::sync::atomic::Ordering::Relaxed) as usize;
        let workers =
            (0..case.threads).map(|thread| self.worker(case, engine, &*database, thread, rows));
        let watermarks = || database.watermarks();
        let load = stage.load(Clock::EveryOperation, case.rate, &watermarks);
        drive(workers.collect(), &load)
    }

    fn worker<'d>(
        &'d self,
        case: &Case,
        engine: usize,
        database: &'d dyn Database,
        thread: usize,
        all_rows: usize,
    ) -> impl FnMut() -> Result<usize, BenchError> + Send + use<'d> {
        let mut session = database.session();
        let mut chance = self.chance(thread);
        let (keys, is_full) = (self.stage.settings.keys, case.variant == FULL);
        let name = self.stage.engines[engine].name();
        move || {
            let mut total = 0u64;
            let mut add = |key: &[u8], value: &[u8]| {
                total = total.wrapping_add(sum(key)).wrapping_add(sum(value));
            };
            let rows = if is_full {
                scan_all(&mut *session, &mut add)?
            } else {
                session.scan(&key(chance.below(keys)), SHORT_ROWS, &mut add)?
            };
            black_box(total);
            if rows == 0 || is_full && rows != all_rows {
                let message = format!("a scan gave {rows} rows of {all_rows}");
                return Err(BenchError::Engine { engine: name, message });
            }
            Ok(rows)
        }
    }

    fn chance(&self, thread: usize) -> Chance {
        Chance::new(self.stage.settings.seed, thread)
    }
}

impl CaseSuite for ScanSuite<'_> {
    fn cases(&self) -> &[Case] {
        &self.cases
    }

    fn measure(&mut self, case: usize) -> Result<Sample, BenchError> {
        let case = &self.cases[case];
        match (case.contender, case.variant) {
            (Contender::Floor, FULL) => self.measure_memory(case),
            (Contender::Floor, _) => self.measure_map(case),
            (Contender::Engine(engine), _) => self.measure_store(case, engine),
        }
    }
}

/// The sum of all bytes, eight at a time.
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let words = words.iter().fold(0u64, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)));
    rest.iter().fold(words, |sum, byte| sum.wrapping_add(u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_take_every_byte() {
        assert_eq!(sum(&[1, 0, 0, 0, 0, 0, 0, 0, 2, 3]), 6);
    }
}
