//! Benchmarks of reads: gets that hit and miss, long and short scans.
//!
//! | benchmark | one operation | measures |
//! |---|---|---|
//! | `get/hit`, `get/miss` | a get of one random key | a descent of three levels |
//! | `get/one leaf` | the same in a tree of one leaf | the cost of a get without the descent |
//! | `get/in a snapshot` | the same, at a registered point in time | the cost of finding a version |
//! | `scan/full` | all rows, in order; the figure is per row | the cursor, page by page |
//! | `scan/100 rows` | a seek to a random key and 100 rows from there | seek and cursor |
//!
//! Everything is in the cache: no benchmark here reads a file. `syncline bench --workload read,scan`
//! measures the same with threads, with more data than cache, and against other stores.

mod support;

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use support::{Draws, Filled, Key, key, missing_key};

const ROWS: usize = 100_000;
/// Rows that fit into one leaf of 8 KiB.
const LEAF_ROWS: usize = 20;
/// Rows of a short scan.
const SCAN_ROWS: usize = 100;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    get(&mut criterion);
    scan(&mut criterion);
    criterion.final_summary();
}

fn get(c: &mut Criterion) {
    let mut group = c.benchmark_group("get");
    group.throughput(Throughput::Elements(1));
    let filled = Filled::in_a_directory(ROWS, |options| options);
    let keyspace = &filled.keyspace;
    let mut draws = Draws::below(ROWS);

    // Keys are made in advance: making one costs a tenth of a get.
    let keys: Vec<Key> = (0..ROWS).map(key).collect();
    group.bench_function("hit", |b| {
        b.iter(|| {
            let found = keyspace.get(keys[draws.next()]).expect("a read");
            assert!(found.is_some());
            found
        });
    });
    let snapshot = filled.store.snapshot().expect("a snapshot");
    group.bench_function("in a snapshot", |b| {
        b.iter(|| snapshot.get(keyspace, keys[draws.next()]).expect("a read"));
    });
    let missing: Vec<Key> = (0..ROWS).map(missing_key).collect();
    group.bench_function("miss", |b| {
        b.iter(|| {
            let found = keyspace.get(missing[draws.next()]).expect("a read");
            assert!(found.is_none());
        });
    });

    let small = Filled::in_a_directory(LEAF_ROWS, |options| options);
    let mut draws = Draws::below(LEAF_ROWS);
    group.bench_function("one leaf", |b| {
        b.iter(|| small.keyspace.get(keys[draws.next()]).expect("a read"));
    });
    group.finish();
}

fn scan(c: &mut Criterion) {
    let mut group = c.benchmark_group("scan");
    let filled = Filled::in_a_directory(ROWS, |options| options);
    let keyspace = &filled.keyspace;

    group.throughput(Throughput::Elements(ROWS as u64)).sample_size(20);
    group.bench_function("full", |b| {
        b.iter(|| {
            let mut rows = 0;
            for entry in keyspace.iter().expect("a range") {
                black_box(entry.expect("a row").value());
                rows += 1;
            }
            assert_eq!(rows, ROWS);
        });
    });

    let mut draws = Draws::below(ROWS);
    group.throughput(Throughput::Elements(SCAN_ROWS as u64));
    group.bench_function("100 rows", |b| {
        b.iter(|| {
            let from = key(draws.next());
            for entry in keyspace.range(from..).expect("a range").take(SCAN_ROWS) {
                black_box(entry.expect("a row").value());
            }
        });
    });
    group.finish();
}
