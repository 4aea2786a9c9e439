//! Opening a store: after it was closed, and after a crash with N commits to replay.
//!
//! | benchmark | what is opened |
//! |---|---|
//! | `open/closed` | a store of 100,000 rows that was closed: nothing to replay, and nothing is read but the roots |
//! | `open/N commits to replay` | a store whose process was killed after N asynchronous one-put commits since its checkpoint |
//!
//! ```text
//!   commits ... --> disk ----- fork(Keep::Everything) ----> a copy for each open
//!                   (what a kill leaves: all that was written, flushed or not)
//! ```
//!
//! The disk is the simulated one, whose copies share their bytes until one of them is changed: an
//! open changes what it finds, so that each needs a fresh one. What is measured is hence the work
//! of the recovery, scan and replay; a real disk's share shows in `syncline bench --workload
//! recover`. Making the copy and closing the store are not part of the time.

mod support;

use std::sync::Arc;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use support::{Draws, Filled};
use syncline::disk::{Keep, SimDisk};
use syncline::{CommitMode, Options, Store};

const ROWS: usize = 100_000;
/// How many rows the puts to be replayed go to.
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

/// What a kill of the process would leave now.
fn copy(disk: &SimDisk) -> SimDisk {
    disk.fork(Keep::Everything)
}

fn open(disk: SimDisk) -> Store {
    options().open_on(Arc::new(disk)).expect("the store opens")
}

/// No thread makes a checkpoint while there is something to replay.
fn options() -> Options {
    Options::new().without_threads().cache_bytes(64 << 20).segment_bytes(8 << 20)
}
