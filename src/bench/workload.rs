//! What is done to the store, and the rows it is done with.
//!
//! Row `n` has a key of 24 random bytes, made from `n` by SplitMix64, and a value of 150 random
//! bytes that begins with `n`. Commits put the rows 0, 1, 2, ..., hence random places of the key
//! order, and start over after the last one; gets draw them at random.

use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::floor::{FloorFile, Flush, RECORD_BYTES, map_of, memory_of};
use super::measure::{Clock, Sample, Timing, drive};
use super::report::{Case, Engine, Ratio};
use super::{BenchError, Settings, Suite};
use crate::{CommitMode, Keyspace, Options, Store, WriteBatch};

pub(super) const KEY_BYTES: usize = 24;
pub(super) const VALUE_BYTES: usize = 150;
const ROW_BYTES: f64 = (KEY_BYTES + VALUE_BYTES) as f64;

const KEYSPACE: &str = "bench";

/// The key of row `number`. No two rows share one.
pub(super) fn key(number: u64) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    fill(&mut key, number.wrapping_mul(3));
    key
}

/// The value of row `number`.
pub(super) fn value(number: u64) -> [u8; VALUE_BYTES] {
    let mut value = value_template();
    value[..8].copy_from_slice(&number.to_le_bytes());
    value
}

/// What all values share.
fn value_template() -> [u8; VALUE_BYTES] {
    let mut value = [0; VALUE_BYTES];
    fill(&mut value, u64::MAX);
    value
}

/// Fills `bytes` with the random words `first`, `first + 1`, ...
pub(super) fn fill(bytes: &mut [u8], first: u64) {
    let mut number = first;
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&split_mix_64(number).to_le_bytes()[..chunk.len()]);
        number = number.wrapping_add(1);
    }
}

/// Word `number` of the generator SplitMix64 (Steele, Lea and Flood, 2014). A bijection.
fn split_mix_64(number: u64) -> u64 {
    let mut word = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// One-put commits.
pub(super) struct CommitSuite {
    floor: FloorFile,
    store_dir: PathBuf,
    keys: u64,
    cache_bytes: u64,
    cases: Vec<Case>,
}

impl CommitSuite {
    pub(super) fn new(dir: &Path, settings: &Settings) -> Result<CommitSuite, BenchError> {
        let case = |engine, mode, threads, ratio, floor, single| Case {
            workload: "commit",
            engine,
            mode,
            threads,
            ratio,
            floor,
            single,
        };
        let cases = vec![
            case(Engine::Floor, "pwrite", 1, Ratio::Throughput, 0, 0),
            case(Engine::Floor, "pwrite+fdatasync", 1, Ratio::MedianLatency, 1, 1),
            case(Engine::Syncline, "sync", 1, Ratio::MedianLatency, 1, 2),
            case(Engine::Syncline, "sync", 16, Ratio::MedianLatency, 1, 2),
            case(Engine::Syncline, "sync", 64, Ratio::MedianLatency, 1, 2),
            case(Engine::Syncline, "async", 1, Ratio::Throughput, 0, 5),
            case(Engine::Syncline, "async", 2, Ratio::Throughput, 0, 5),
        ];
        Ok(CommitSuite {
            floor: FloorFile::create(&dir.join("floor"))?,
            store_dir: dir.join("commits"),
            keys: settings.keys,
            cache_bytes: settings.cache_bytes,
            cases,
        })
    }

    fn measure_floor(&self, flush: Flush, timing: &Timing) -> Result<Sample, BenchError> {
        let workers = vec![self.floor.worker(flush)];
        let mut sample = drive(workers, Clock::EveryOperation, timing)?;
        self.floor.settle()?;
        sample.device_bytes_per_user_byte = Some(RECORD_BYTES as f64 / ROW_BYTES);
        Ok(sample)
    }

    fn measure_store(
        &self,
        mode: CommitMode,
        threads: usize,
        timing: &Timing,
    ) -> Result<Sample, BenchError> {
        let store = Options::new().cache_bytes(self.cache_bytes).open(&self.store_dir)?;
        let keyspace = store.keyspace(KEYSPACE)?;
        let before = store.stats();
        let workers = (0..threads)
            .map(|thread| putter(&keyspace, mode, thread as u64, threads as u64, self.keys))
            .collect();
        let mut sample = drive(workers, Clock::EveryOperation, timing)?;
        let after = store.stats();
        store.checkpoint()?;
        let settled = store.stats();
        drop(keyspace);
        store.close()?;
        fs::remove_dir_all(&self.store_dir)
            .map_err(BenchError::io(format!("remove {}", self.store_dir.display())))?;

        let commits = (after.sync_commits + after.async_commits)
            - (before.sync_commits + before.async_commits);
        let flushes = after.flushes - before.flushes;
        sample.commits_per_flush = (flushes > 0).then(|| commits as f64 / flushes as f64);
        let written = (settled.log_bytes_written - before.log_bytes_written)
            + (settled.data_bytes_written - before.data_bytes_written);
        let user_bytes = sample.ops_in_all as f64 * ROW_BYTES;
        sample.device_bytes_per_user_byte = Some(written as f64 / user_bytes);
        Ok(sample)
    }
}

impl Suite for CommitSuite {
    fn cases(&self) -> &[Case] {
        &self.cases
    }

    fn measure(&mut self, case: usize, timing: &Timing) -> Result<Sample, BenchError> {
        let threads = self.cases[case].threads;
        match self.cases[case].mode {
            "pwrite" => self.measure_floor(Flush::Never, timing),
            "pwrite+fdatasync" => self.measure_floor(Flush::EachRecord, timing),
            "sync" => self.measure_store(CommitMode::Sync, threads, timing),
            "async" => self.measure_store(CommitMode::Async, threads, timing),
            mode => unreachable!("no case has mode {mode}"),
        }
    }
}

/// Puts the rows `first`, `first + step`, ... of `keys`, one to a commit.
fn putter(
    keyspace: &Keyspace,
    mode: CommitMode,
    first: u64,
    step: u64,
    keys: u64,
) -> impl FnMut() -> Result<(), BenchError> + Send + use<'_> {
    let mut number = first % keys;
    let mut value = value_template();
    move || {
        value[..8].copy_from_slice(&number.to_le_bytes());
        keyspace.put_with(key(number), value, mode)?;
        number += step;
        if number >= keys {
            number %= keys;
        }
        Ok(())
    }
}

/// Random gets.
pub(super) struct ReadSuite {
    store: Store,
    keyspace: Keyspace,
    map: BTreeMap<Vec<u8>, Vec<u8>>,
    keys: u64,
    cases: Vec<Case>,
}

impl ReadSuite {
    pub(super) fn new(dir: &Path, settings: &Settings) -> Result<ReadSuite, BenchError> {
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

/// Rows drawn at random.
struct Draws {
    state: u64,
    keys: u64,
}

impl Draws {
    fn new(thread: usize, keys: u64) -> Draws {
        Draws { state: (thread as u64) << 40, keys }
    }

    fn next_key(&mut self) -> [u8; KEY_BYTES] {
        self.state += 1;
        // The high half of the product: a draw without a division.
        let draw = u128::from(split_mix_64(self.state)) * u128::from(self.keys);
        key((draw >> 64) as u64)
    }
}

/// Something of both ends of a value, so that it is really read.
fn ends(value: &[u8]) -> u8 {
    value[0] ^ value[VALUE_BYTES - 1]
}

/// Scans of everything. One operation is one pass.
pub(super) struct ScanSuite {
    /// Keeps the store open.
    _store: Store,
    keyspace: Keyspace,
    memory: Vec<u8>,
    keys: u64,
    cases: Vec<Case>,
}

impl ScanSuite {
    pub(super) fn new(dir: &Path, settings: &Settings) -> Result<ScanSuite, BenchError> {
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

/// A store that holds every row, with nothing left to write.
fn load(dir: &Path, settings: &Settings) -> Result<(Store, Keyspace), BenchError> {
    const ROWS_PER_BATCH: u64 = 1000;
    let store = Options::new().cache_bytes(settings.cache_bytes).open(dir)?;
    let keyspace = store.keyspace(KEYSPACE)?;
    let mut first = 0;
    while first < settings.keys {
        let end = settings.keys.min(first + ROWS_PER_BATCH);
        let mut batch = WriteBatch::new();
        for number in first..end {
            batch.put(&keyspace, key(number), value(number));
        }
        store.write_with(batch, CommitMode::Async)?;
        first = end;
    }
    store.checkpoint()?;
    Ok((store, keyspace))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn split_mix_64_is_the_published_generator() {
        // The first outputs for seed 0.
        assert_eq!(split_mix_64(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(split_mix_64(1), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn keys_differ_and_draws_stay_within_them() {
        let keys: BTreeSet<_> = (0..1000).map(key).collect();
        assert_eq!(keys.len(), 1000);
        let mut draws = Draws::new(1, 1000);
        let drawn: BTreeSet<_> = (0..10_000).map(|_| draws.next_key()).collect();
        assert!(drawn.is_subset(&keys));
        assert!(drawn.len() > 990);
    }

    #[test]
    fn sums_take_every_byte() {
        assert_eq!(sum(&[1, 0, 0, 0, 0, 0, 0, 0, 2, 3]), 6);
    }
}
