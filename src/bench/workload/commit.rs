//! One-put commits, each time to a fresh store.

use std::fs;
use std::path::{Path, PathBuf};

use super::{KEYSPACE, putter};
use crate::bench::floor::{FloorFile, Flush, RECORD_BYTES};
use crate::bench::measure::{Clock, Sample, Timing, drive};
use crate::bench::report::{Case, Engine, Ratio};
use crate::bench::rows::ROW_BYTES;
use crate::bench::{BenchError, Settings, Suite};
use crate::{CommitMode, Options};

/// One-put commits.
pub(in crate::bench) struct CommitSuite {
    floor: FloorFile,
    store_dir: PathBuf,
    keys: u64,
    cache_bytes: u64,
    cases: Vec<Case>,
}

impl CommitSuite {
    pub(in crate::bench) fn new(
        dir: &Path,
        settings: &Settings,
    ) -> Result<CommitSuite, BenchError> {
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
