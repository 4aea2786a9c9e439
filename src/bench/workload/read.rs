//! Random gets from a store that holds every row, alone and beside a writer.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::{load, putter};
use crate::bench::floor::map_of;
use crate::bench::measure::{Clock, Sample, Timing, drive};
use crate::bench::report::{Case, Engine, Ratio};
use crate::bench::rows::{Draws, VALUE_BYTES};
use crate::bench::{BenchError, Settings, Suite};
use crate::{CommitMode, Keyspace, Store};

/// Random gets.
pub(in crate::bench) struct ReadSuite {
    store: Store,
    keyspace: Keyspace,
    map: BTreeMap<Vec<u8>, Vec<u8>>,
    keys: u64,
    cases: Vec<Case>,
}

impl ReadSuite {
    pub(in crate::bench) fn new(dir: &Path, settings: &Settings) -> Result<ReadSuite, BenchError> {
        let case = |workload, engine, mode, threads, single| Case {
            workload,
            engine,
            mode,
            threads,
            ratio: Ratio::Throughput,
            floor: 0,
            single,
        };
        let (store, keyspace) = load(&dir.join("reads"), settings)?;
        Ok(ReadSuite {
            store,
            keyspace,
            map: map_of(settings.keys),
            keys: settings.keys,
            cases: vec![
                case("read", Engine::Floor, "btreemap", 1, 0),
                case("read", Engine::Syncline, "get", 1, 1),
                case("read", Engine::Syncline, "get", 2, 1),
                case("read-while-writing", Engine::Syncline, "get", 1, 1),
            ],
        })
    }

    /// Gets from the store, in `threads` threads.
    fn measure_gets(&self, threads: usize, timing: &Timing) -> Result<Sample, BenchError> {
        let getter = |thread: usize| {
            let mut draws = Draws::new(thread, self.keys);
            move || {
                let value = self.keyspace.get(draws.next_key())?;
                black_box(ends(&value.expect("every key was put")));
                Ok(())
            }
        };
        drive((0..threads).map(getter).collect(), Clock::EveryEighth, timing)
    }

    fn measure_map(&self, timing: &Timing) -> Result<Sample, BenchError> {
        let mut draws = Draws::new(0, self.keys);
        let worker = move || {
            let value = self.map.get(&draws.next_key()[..]);
            black_box(ends(value.expect("every key was put")));
            Ok(())
        };
        drive(vec![worker], Clock::EveryEighth, timing)
    }

    /// Gets in one thread while another one commits as fast as it can.
    fn measure_gets_beside_writer(&self, timing: &Timing) -> Result<Sample, BenchError> {
        let stop = AtomicBool::new(false);
        let sample = thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut put = putter(&self.keyspace, CommitMode::Async, 0, 1, self.keys);
                while !stop.load(Ordering::Relaxed) {
                    put()?;
                }
                Ok::<(), BenchError>(())
            });
            let sample = self.measure_gets(1, timing);
            stop.store(true, Ordering::Relaxed);
            writer.join().expect("the writer panicked")?;
            sample
        })?;
        // The next measurement must not pay for what was written in this one.
        self.store.checkpoint()?;
        Ok(sample)
    }
}

impl Suite for ReadSuite {
    fn cases(&self) -> &[Case] {
        &self.cases
    }

    fn measure(&mut self, case: usize, timing: &Timing) -> Result<Sample, BenchError> {
        let case = &self.cases[case];
        match (case.workload, case.engine) {
            (_, Engine::Floor) => self.measure_map(timing),
            ("read-while-writing", _) => self.measure_gets_beside_writer(timing),
            _ => self.measure_gets(case.threads, timing),
        }
    }
}

/// Something of both ends of a value, so that it is really read.
fn ends(value: &[u8]) -> u8 {
    value[0] ^ value[VALUE_BYTES - 1]
}
