//! Scans of a store that holds every row.

use std::hint::black_box;
use std::path::Path;

use super::load;
use crate::bench::floor::memory_of;
use crate::bench::measure::{Clock, Sample, Timing, drive};
use crate::bench::report::{Case, Engine, Ratio};
use crate::bench::{BenchError, Settings, Suite};
use crate::{Keyspace, Store};

/// Scans of everything. One operation is one pass.
pub(in crate::bench) struct ScanSuite {
    /// Keeps the store open.
    _store: Store,
    keyspace: Keyspace,
    memory: Vec<u8>,
    keys: u64,
    cases: Vec<Case>,
}

impl ScanSuite {
    pub(in crate::bench) fn new(dir: &Path, settings: &Settings) -> Result<ScanSuite, BenchError> {
        let case = |engine, mode, single| Case {
            workload: "scan",
            engine,
            mode,
            threads: 1,
            ratio: Ratio::Throughput,
            floor: 0,
            single,
        };
        let (store, keyspace) = load(&dir.join("scans"), settings)?;
        Ok(ScanSuite {
            _store: store,
            keyspace,
            memory: memory_of(settings.keys),
            keys: settings.keys,
            cases: vec![case(Engine::Floor, "memory", 0), case(Engine::Syncline, "next_ref", 1)],
        })
    }

    fn measure_store(&self, timing: &Timing) -> Result<Sample, BenchError> {
        let worker = || {
            let mut range = self.keyspace.iter()?;
            let (mut total, mut rows) = (0u64, 0);
            while let Some((key, value)) = range.next_ref()? {
                total = total.wrapping_add(sum(key)).wrapping_add(sum(value));
                rows += 1;
            }
            black_box(total);
            assert_eq!(rows, self.keys, "the scan has every row");
            Ok(())
        };
        drive(vec![worker], Clock::EveryOperation, timing)
    }

    fn measure_memory(&self, timing: &Timing) -> Result<Sample, BenchError> {
        let worker = || {
            black_box(sum(black_box(&self.memory)));
            Ok(())
        };
        drive(vec![worker], Clock::EveryOperation, timing)
    }
}

impl Suite for ScanSuite {
    fn cases(&self) -> &[Case] {
        &self.cases
    }

    fn measure(&mut self, case: usize, timing: &Timing) -> Result<Sample, BenchError> {
        match self.cases[case].engine {
            Engine::Floor => self.measure_memory(timing),
            Engine::Syncline => self.measure_store(timing),
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
