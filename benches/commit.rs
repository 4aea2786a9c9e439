//! Benchmarks of commits: asynchronous and synchronous puts, a batch, and group commit.
//!
//! | benchmark | one operation | on |
//! |---|---|---|
//! | `commit/async put` | one put, acknowledged when it is in the system's cache | real files |
//! | `commit/sync put` | one put, acknowledged when the device has flushed it | real files |
//! | `commit/batch of 1000` | 1000 puts as one asynchronous commit; the figure is per put | real files |
//! | `group flush/N threads` | one synchronous put, when N threads do nothing else | a simulated device |
//!
//! Puts go to random existing rows, so that the store does not grow. The store runs its threads and
//! makes its checkpoints as usual: they are part of the cost of a commit, and of its variance.
//!
//! `commit/sync put` mostly measures the device of the directory for temporary files (set `TMPDIR` to
//! choose; a flush of a memory file system is free). `group flush` does not: on any machine, its device
//! takes [`FLUSH`] for a flush and no time for anything else. If each commit were flushed alone, N
//! threads would commit no faster than one; with shared flushes they are N times as fast, until the
//! commit path itself is the limit.

mod support;

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use support::{BATCH_ROWS, Draws, Filled};
use syncline::disk::{Op, SimDisk};
use syncline::{CommitMode, Options};

const ROWS: usize = 100_000;
/// The least time of a flush of the simulated device: that of a good solid-state disk.
const FLUSH: Duration = Duration::from_micros(100);

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    commit(&mut criterion);
    group_flush(&mut criterion);
    criterion.final_summary();
}

fn commit(c: &mut Criterion) {
    let mut group = c.benchmark_group("commit");
    group.throughput(Throughput::Elements(1));
    let filled = Filled::in_a_directory(ROWS, |options| options);
    let mut draws = Draws::below(ROWS);

    group.bench_function("async put", |b| {
        b.iter(|| filled.put(draws.next(), CommitMode::Async));
    });
    group.bench_function("sync put", |b| {
        b.iter(|| filled.put(draws.next(), CommitMode::Sync));
    });

    group.throughput(Throughput::Elements(BATCH_ROWS as u64)).sample_size(20);
    group.bench_function("batch of 1000", |b| {
        b.iter_batched(
            || filled.batch((0..BATCH_ROWS).map(|_| draws.next())),
            |batch| filled.store.write_with(batch, CommitMode::Async).expect("a commit"),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn group_flush(c: &mut Criterion) {
    let mut group = c.benchmark_group("group flush");
    group.throughput(Throughput::Elements(1)).sample_size(10);
    for threads in [1, 8, 64] {
        let disk = SimDisk::new();
        let filled = Filled::on(&disk, 1000, small());
        // Called with no lock of the disk held, so that other threads can commit meanwhile.
        disk.watch(|_, call| {
            if call.op == Op::MapSync {
                thread::sleep(FLUSH);
            }
        });
        let name = BenchmarkId::from_parameter(format!("{threads} threads"));
        group.bench_function(name, |b| b.iter_custom(|puts| together(&filled, threads, puts)));
    }
    group.finish();
}

/// The time that `threads` threads take for a total of `puts` synchronous puts.
fn together(filled: &Filled, threads: u64, puts: u64) -> Duration {
    let barrier = Barrier::new(threads as usize + 1);
    let begun = thread::scope(|scope| {
        for number in 0..threads {
            let barrier = &barrier;
            scope.spawn(move || {
                let share = puts / threads + u64::from(number < puts % threads);
                let mut draws = Draws::below(1000);
                barrier.wait();
                for _ in 0..share {
                    filled.put(draws.next(), CommitMode::Sync);
                }
            });
        }
        barrier.wait();
        Instant::now()
    });
    begun.elapsed()
}

/// With a short log, since the simulated disk keeps everything in memory.
fn small() -> Options {
    Options::new().cache_bytes(8 << 20).segment_bytes(1 << 20).checkpoint_log_bytes(4 << 20)
}
