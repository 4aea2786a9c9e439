//! README's table of limits, and the costs of opening, iterating and logging.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use support::{open, options};
use syncline::disk::{Disk, Fault, FaultError, Keep, Op, Persistence, SimDisk};
use syncline::{CommitMode, Error, Options, Store, WriteBatch};

#[test]
fn values_around_the_border_of_a_page_come_back_whole() {
    for page_bytes in [4096_u32, 8192, 16384, 32768] {
        let disk = SimDisk::new();
        let options = || options().page_bytes(page_bytes).open_on(Arc::new(disk.clone())).unwrap();
        let border = page_bytes as usize / 4 - 64;
        let lengths = || border - 40..border + 140;
        let value = |len: usize| -> Vec<u8> { (0..len).map(|at| (at ^ len) as u8).collect() };
        let store = options();
        let rows = store.keyspace("rows").unwrap();
        let mut batch = WriteBatch::new();
        for len in lengths() {
            rows.put(len.to_be_bytes(), value(len)).unwrap();
            batch.put(&rows, [&b"again"[..], &len.to_be_bytes()].concat(), value(len));
        }
        store.write(batch).unwrap();
        store.close().unwrap();
        let rows = options().keyspace("rows").unwrap();
        for len in lengths() {
            for key in [len.to_be_bytes().to_vec(), [&b"again"[..], &len.to_be_bytes()].concat()] {
                assert!(
                    rows.get(&key).unwrap().unwrap() == value(len)[..],
                    "{len} of {page_bytes}"
                );
            }
        }
    }
}

#[test]
fn a_store_keeps_the_sizes_that_it_was_created_with() {
    let disk = SimDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let made = options().page_bytes(8192).segment_bytes(128 << 10);
    made.open_on(Arc::clone(&shared)).unwrap().keyspace("rows").unwrap();
    for (page_bytes, segment_bytes) in [(4096, 64 << 10), (32768, 1 << 20)] {
        let other = options().page_bytes(page_bytes).segment_bytes(segment_bytes);
        let store = other.open_on(Arc::clone(&shared)).unwrap();
        store.keyspace("rows").unwrap().put("key", "value").unwrap();
        store.close().unwrap();
        let is = syncline::inspect::describe(&shared).unwrap();
        assert_eq!((is.page_bytes, is.segment_bytes), (8192, 128 << 10));
    }
}

#[test]
fn a_batch_takes_as_many_bytes_of_log_as_it_reports() {
    let store = open(&SimDisk::new()).unwrap();
    let rows = store.keyspace("rows").unwrap();
    let mut beside = None;
    for rows_of_it in [1, 2, 10, 100] {
        let mut batch = WriteBatch::new();
        for row in 0..rows_of_it {
            batch.put(&rows, format!("key {row}"), vec![7; row % 50]);
            batch.delete(&rows, format!("gone {row}"));
        }
        let (says, before) = (batch.bytes() as u64, store.watermarks().appended.get());
        let after = store.write_with(batch, CommitMode::Async).unwrap().lsn().get();
        let header = (after - before - says) / 8 * 8;
        assert_eq!(*beside.get_or_insert(header), header, "a header, and up to 7 bytes");
    }
}

#[test]
fn a_checkpoint_is_made_after_the_configured_bytes_of_log() {
    const LOG: u64 = 64 << 10;
    let store = options().checkpoint_log_bytes(LOG).open_on(Arc::new(SimDisk::new())).unwrap();
    let rows = store.keyspace("rows").unwrap();
    let first = store.watermarks().appended.get(); // the little before it is ignored
    for number in 0..5000_u32 {
        let before = store.stats().checkpoints;
        let since = |store: &Store| {
            let marks = store.watermarks();
            marks.appended.get() - marks.checkpoint.get().max(first)
        };
        let had = since(&store);
        rows.put_with(number.to_be_bytes(), [1; 50], CommitMode::Async).unwrap();
        let came = store.stats().checkpoints > before;
        assert!(since(&store) < LOG, "of {} since the last", since(&store));
        // 200 bytes for a record, 4096 for the header of a segment.
        assert!(!came || had + 200 + 4096 > LOG, "after {had}, too early");
    }
    assert!(store.stats().checkpoints > 4);
}

/// Under load: the length of the files, and of the log that a recovery replays.
#[test]
fn the_log_is_at_most_a_few_times_as_long_as_a_checkpoint_interval() {
    const LOG: u64 = 256 << 10;
    const SEGMENT: u64 = 64 << 10;
    let disk = SimDisk::new();
    let options = || {
        let options = Options::new().cache_bytes(4 << 20).segment_bytes(SEGMENT);
        options.checkpoint_log_bytes(LOG).store_id([7; 16])
    };
    let store = options().open_on(Arc::new(disk.clone())).unwrap();
    let rows = &store.keyspace("rows").unwrap();
    let log_bytes = |disk: &SimDisk| -> u64 {
        let names = disk.list().unwrap().into_iter().filter(|name| name.starts_with("log-"));
        names.filter_map(|name| disk.open(&name).ok()?.bytes().ok()).sum()
    };
    let mut kills = Vec::new();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4_u32)
            .map(|writer| {
                scope.spawn(move || {
                    for number in 0..8000_u32 {
                        let key = [writer.to_be_bytes(), (number * 7919).to_be_bytes()].concat();
                        rows.put_with(key, [1; 100], CommitMode::Async).unwrap();
                    }
                })
            })
            .collect();
        while !writers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            let bytes = log_bytes(&disk);
            assert!(bytes <= 4 * LOG + 10 * SEGMENT, "{bytes} bytes of log");
            if kills.len() < 20 {
                kills.push(disk.fork(Keep::Everything));
            }
            std::thread::yield_now();
        }
    });
    kills.push(disk.crash(Keep::Everything));
    // A kill right after a checkpoint replays nothing; not all of these moments are such.
    let replayed: Vec<u64> = kills
        .into_iter()
        .map(|left| options().open_on(Arc::new(left)).unwrap().stats().recovery.bytes_replayed)
        .collect();
    assert!(replayed.iter().any(|bytes| *bytes > 0), "{replayed:?}");
    assert!(replayed.iter().all(|bytes| *bytes <= 4 * LOG + 4 * 1000), "{replayed:?}");
}

#[test]
fn an_error_ends_an_iteration() {
    let disk = SimDisk::new();
    {
        let store = open(&disk).unwrap();
        let rows = store.keyspace("rows").unwrap();
        for number in 0..4000_u32 {
            rows.put_with(number.to_be_bytes(), [1; 500], CommitMode::Async).unwrap();
        }
        store.close().unwrap();
    }
    let store = open(&disk).unwrap();
    let rows = store.keyspace("rows").unwrap();
    for backwards in [false, true] {
        let mut range = rows.iter().unwrap();
        let mut step = || if backwards { range.next_back() } else { range.next() };
        assert!(step().unwrap().is_ok());
        let (op, error, persistence) = (Op::Read, FaultError::Io, Persistence::Once);
        disk.fail(Fault { op, after: 3, error, persistence });
        let error = std::iter::from_fn(&mut step).find_map(Result::err).expect("a read fails");
        assert!(matches!(error, Error::Io { .. }), "{error}");
        assert!(
            step().is_none() && step().is_none(),
            "it has ended, though the device works again"
        );
    }
    assert_eq!(rows.iter().unwrap().filter(Result::is_ok).count(), 4000);
}

#[test]
fn opening_a_closed_store_does_not_depend_on_its_size() {
    let calls_to_open = |rows_of_it: u32| {
        let disk = SimDisk::new();
        let store = open(&disk).unwrap();
        let rows = store.keyspace("rows").unwrap();
        for number in 0..rows_of_it {
            rows.put_with(number.to_be_bytes(), [1; 500], CommitMode::Async).unwrap();
        }
        store.close().unwrap();
        let calls = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&calls);
        disk.watch(move |_, _| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let store = open(&disk).unwrap();
        let rows = store.open_keyspace("rows").unwrap().unwrap();
        assert_eq!(rows.len().unwrap(), u64::from(rows_of_it));
        calls.load(Ordering::Relaxed)
    };
    let (small, large) = (calls_to_open(100), calls_to_open(20_000));
    assert!(large <= small + 2, "{small} calls of the disk for a small store, {large} for a large");
}

#[test]
fn the_engine_alone_has_seven_direct_dependencies() {
    let manifest = include_str!("../Cargo.toml");
    let (mut section, mut names) = ("", Vec::new());
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if matches!(section, "[dependencies]" | "[target.'cfg(unix)'.dependencies]")
            && let Some((name, what)) = line.split_once(" = ")
            && !line.starts_with('#')
            && !what.contains("optional = true")
        {
            names.push(name);
        }
    }
    assert_eq!(names.len(), 7, "{names:?}");
}
