//! Benchmarks of opening a store: after a close, and after a crash with N commits to replay.
//!
//! | benchmark | opens |
//! |---|---|
//! | `open/closed` | a closed store of 100,000 rows: nothing to replay, and only the roots are read |
//! | `open/N commits to replay` | a store whose process was killed after N asynchronous one-put commits since its checkpoint |
//!
//! ```text
//!   commits ... --> disk ----- fork(Keep::Everything) ----> a copy for each open
//!                   (the files after a kill: all writes, flushed or not)
//! ```
//!
//! An open changes the disk, so each open needs a fresh copy. The disk is the simulated one, whose copies
//! share their bytes until one is changed. So these benchmarks measure the recovery's own work, scan and
//! replay; `syncline bench --workload recover` includes a real disk. The time does not include making
//! the copy and closing the store.

mod support;

use std::sync::Arc;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use support::{Draws, Filled};
use syncline::disk::{Keep, SimDisk};
use syncline::{CommitMode, Options, Store};

const ROWS: usize = 100_000;
/// The number of rows that the replayed puts change.
const REPLAY_ROWS: usize = 10_000;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    closed(&mut criterion);
    replay(&mut criterion);
    criterion.final_summary();
}

fn closed(c: &mut Criterion) {
    let disk = SimDisk::new();
    let filled = Filled::on(&disk, ROWS, options());
    filled.store.close().expect("the store closes");
    let mut group = c.benchmark_group("open");
    group.sample_size(20);
    group.bench_function("closed", |b| {
        b.iter_batched(|| copy(&disk), open, BatchSize::PerIteration);
    });
    group.finish();
}

fn replay(c: &mut Criterion) {
    let mut group = c.benchmark_group("open");
    group.sample_size(10);
    for commits in [1000, 10_000, 100_000] {
        let disk = SimDisk::new();
        let filled = Filled::on(&disk, 0, options());
        let mut draws = Draws::below(REPLAY_ROWS);
        for _ in 0..commits {
            filled.put(draws.next(), CommitMode::Async);
        }
        let left = copy(&disk);
        group.throughput(Throughput::Elements(commits as u64));
        let name = BenchmarkId::from_parameter(format!("{commits} commits to replay"));
        group.bench_function(name, |b| {
            b.iter_batched(|| copy(&left), open, BatchSize::PerIteration);
        });
    }
    group.finish();
}

/// The disk as a kill of the process would leave it now.
fn copy(disk: &SimDisk) -> SimDisk {
    disk.fork(Keep::Everything)
}

fn open(disk: SimDisk) -> Store {
    options().open_on(Arc::new(disk)).expect("the store opens")
}

/// Without threads, so that no checkpoint shortens the log to replay.
fn options() -> Options {
    Options::new().without_threads().cache_bytes(64 << 20).segment_bytes(8 << 20)
}
