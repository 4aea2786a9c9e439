//! Benchmarks of parts of the hot paths: an append to the log, a search in a node, a packet of the
//! server's protocol.
//!
//! | benchmark | one operation | part of |
//! |---|---|---|
//! | `log/append N bytes` | checksum, header and copy of one record with N bytes of payload, into a mapped segment that is ready | every commit |
//! | `node/search a leaf` | an existing key, among about thirty | every get and put |
//! | `node/search an inner node` | the child for a key, among some hundreds | each level of every get and put |
//! | `codec/get packet encode` ... | a request or an answer of the server's protocol, in its own encoding, JSON and RESP | every request to a server |
//!
//! The library exports these parts in `src/tools/internals.rs`, which needs the feature `cli`:
//!
//! ```sh
//! cargo bench --features cli --bench internals
//! ```
//!
//! The nodes are pages from the data file of a real store, which is filled on a simulated disk and closed.

mod support;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use support::{Draws, Filled};
use syncline::Options;
use syncline::bench::codec::{Codec, Encoding, Message};
use syncline::disk::{Disk, RealDisk, SimDisk};
use syncline::internals::{LogEnd, NodePage};

/// Rows in the store that the nodes are taken from: hundreds of leaves under one inner node.
const ROWS: usize = 10_000;
const PAGE_BYTES: usize = 8192;
/// Records appended between two pauses. In a pause the log is flushed and its segments are recycled:
/// otherwise a run would fill the disk.
const APPENDS: u64 = 10_000;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    log(&mut criterion);
    node(&mut criterion);
    codec(&mut criterion);
    criterion.final_summary();
}

fn log(c: &mut Criterion) {
    let mut group = c.benchmark_group("log");
    for bytes in [32, 180, 4096] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let disk = RealDisk::open(directory.path()).expect("a directory");
        let mut log = LogEnd::begin(Arc::new(disk)).expect("the log begins");
        let payload = vec![0x5a; bytes];
        group.throughput(Throughput::Bytes(bytes as u64));
        let name = BenchmarkId::from_parameter(format!("append {bytes} bytes"));
        group.bench_function(name, |b| {
            b.iter_custom(|appends| append(&mut log, &payload, appends));
        });
    }
    group.finish();
}

/// The time of `appends` appends, without the pauses.
fn append(log: &mut LogEnd, payload: &[u8], appends: u64) -> Duration {
    let mut taken = Duration::ZERO;
    let mut left = appends;
    while left > 0 {
        let now = left.min(APPENDS);
        let begun = Instant::now();
        for _ in 0..now {
            black_box(log.append(black_box(payload)).expect("an append"));
        }
        taken += begun.elapsed();
        log.settle().expect("the log settles");
        left -= now;
    }
    taken
}

fn node(c: &mut Criterion) {
    let pages = pages();
    let fullest = |is_leaf| {
        let of_kind = pages.iter().filter(|page| page.is_leaf() == is_leaf);
        of_kind.max_by_key(|page| page.count()).expect("a node of each kind")
    };
    let mut group = c.benchmark_group("node");
    for (name, page) in [("search a leaf", fullest(true)), ("search an inner node", fullest(false))]
    {
        let keys: Vec<Vec<u8>> = (0..page.count()).map(|slot| page.key(slot)).collect();
        let mut draws = Draws::below(keys.len());
        group.bench_function(name, |b| {
            b.iter(|| {
                let slot = draws.next();
                assert_eq!(page.search(black_box(&keys[slot])), Some(slot));
            });
        });
    }
    group.finish();
}

/// `src/tools/bench/codec.rs` describes the encodings that are compared.
fn codec(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec");
    for message in Message::ALL {
        for encoding in Encoding::ALL {
            let mut codec = Codec::new(message, encoding, 100);
            let name = format!("{} {}", message.name(), encoding.name());
            group.throughput(Throughput::Bytes(codec.encode() as u64));
            group.bench_function(format!("{name} encode"), |b| b.iter(|| codec.encode()));
            group.bench_function(format!("{name} decode"), |b| b.iter(|| codec.decode()));
        }
    }
    group.finish();
}

/// The nodes of a store, from its data file.
fn pages() -> Vec<NodePage> {
    let disk = SimDisk::new();
    let filled = Filled::on(&disk, ROWS, Options::new().without_threads().segment_bytes(1 << 20));
    filled.store.close().expect("the store closes");
    let names = disk.list().expect("names");
    let files = names.iter().map(|name| disk.read_file(name));
    files
        .flat_map(|file| {
            let blocks = file.chunks_exact(PAGE_BYTES).map(<[u8]>::to_vec);
            blocks.filter_map(NodePage::new).collect::<Vec<_>>()
        })
        .collect()
}
