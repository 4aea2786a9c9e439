//! A test for each fixed bug.

use std::sync::Arc;

use syncline::disk::{Fault, FaultError, Keep, Op, Persistence, SimDisk};
use syncline::{CommitMode, Error, Options, Store, WriteBatch};

/// Opens the store on a simulated disk, without threads.
fn open(disk: &SimDisk) -> Result<Store, Error> {
    let options = Options::new().cache_bytes(1 << 20).page_bytes(4096).segment_bytes(64 << 10);
    options.without_threads().store_id([7; 16]).open_on(Arc::new(disk.clone()))
}

fn put(store: &Store, from: u32, to: u32) -> Result<(), Error> {
    let keyspace = store.keyspace("k")?;
    (from..to).try_for_each(|i| keyspace.put(i.to_be_bytes(), [7; 500]).map(drop))
}

fn count(store: &Store) -> usize {
    store.open_keyspace("k").unwrap().map_or(0, |keyspace| keyspace.iter().unwrap().count())
}

/// A range looked for its end in every leaf on its way. In a leaf whose keys share a prefix, it cut the
/// prefix off an end that does not begin with it, and compared the rest. So it could end too early.
#[test]
fn a_range_goes_on_past_leaves_that_do_not_hold_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let store = Options::new().page_bytes(4096).open(dir.path()).unwrap();
    let keyspace = store.keyspace("k").unwrap();
    for i in 0..500 {
        keyspace.put_with(format!("user/{i:05}"), [0; 60], CommitMode::Async).unwrap();
    }
    keyspace.put("zone", "end").unwrap();
    assert_eq!(keyspace.range(.."zone").unwrap().count(), 500);
    assert_eq!(keyspace.range("user/00017"..="zone").unwrap().count(), 484);
    assert_eq!(keyspace.range("a".."v").unwrap().rev().count(), 500);
}

/// The first write after an open makes a segment. The segment's flush failed, which failed the write.
/// The next write recycled that file, which looked long enough, and rewrote its header. But its length
/// was never flushed, and a power loss cut it.
#[test]
fn a_segment_that_could_not_be_flushed_is_not_recycled() {
    for (after, reopens) in (0..6).flat_map(|after| [(after, false), (after, true)]) {
        let disk = SimDisk::new();
        let mut store = open(&disk).unwrap();
        // One of the first write's flushes fails, in turn also that of the segment.
        disk.fail_sync(after);
        let _ = put(&store, 0, 1);
        disk.clear_faults();
        if reopens {
            let _ = store.close();
            store = open(&disk).unwrap();
        }
        match put(&store, 0, 100) {
            Err(Error::Poisoned { .. }) if !reopens => continue,
            result => result.unwrap(),
        }
        for keep in [Keep::Nothing, Keep::Seeded(1), Keep::Seeded(2)] {
            let left = open(&disk.fork(keep)).unwrap_or_else(|error| panic!("{after}: {error}"));
            assert_eq!(count(&left), 100, "{after}");
        }
    }
}

/// A recovery, right after a failed flush of a data file that had grown, found the file long enough and
/// wrote a superblock that relies on that length.
#[test]
fn a_data_file_that_grew_but_was_not_flushed_grows_again() {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    put(&store, 0, 2000).unwrap();
    let op = Op::Sync;
    disk.fail(Fault { op, after: 0, error: FaultError::Io, persistence: Persistence::Forever });
    while store.checkpoint().is_ok() {}
    store.close().unwrap_err();
    disk.clear_faults();
    let store = open(&disk).unwrap();
    assert_eq!(count(&store), 2000);
    for keep in [Keep::Nothing, Keep::Seeded(1), Keep::Seeded(2)] {
        assert_eq!(count(&open(&disk.fork(keep)).unwrap()), 2000);
    }
}

/// The last flush of closing failed: the superblock of the closed store was only in the cache. The next
/// open trusted it, and its first write recycled the log, which the superblock on the device needs.
#[test]
fn a_store_that_only_looks_closed_keeps_its_log() {
    let grown = |disk: &SimDisk| {
        let store = open(disk).unwrap();
        put(&store, 0, 100).unwrap();
        store
    };
    let mut failed = 0;
    for after in 0.. {
        // Each flush of closing fails in turn, also that of the superblock.
        let disk = SimDisk::new();
        let store = grown(&disk);
        disk.fail(Fault {
            op: Op::Sync,
            after,
            error: FaultError::Io,
            persistence: Persistence::Once,
        });
        if store.close().is_ok() {
            break;
        }
        failed += 1;
        for operations in 0..60 {
            let disk = disk.fork(Keep::Everything);
            disk.crash_after(operations);
            let _ = open(&disk).and_then(|store| put(&store, 100, 101));
            let left = disk.crash(Keep::Nothing);
            let store = open(&left).unwrap_or_else(|e| panic!("{after}, {operations}: {e}"));
            assert!(count(&store) >= 100, "{after}, {operations}");
        }
    }
    assert!(failed >= 2, "{failed}");
}

/// A batch of puts excluded readers while it changed its leaves in place. If it named a key twice, and
/// the first value was out of line, it freed that value's pages only then. For that it released its
/// guard and took another one, and so waited for itself for ever.
#[test]
fn a_batch_that_names_a_key_twice_ends_with_values_of_any_size() {
    let (page, inline) = (4096 - 32, 4096 / 4);
    let sizes = [
        0,
        inline - 1,
        inline,
        inline + 1,
        page - 1,
        page,
        page + 1,
        16 * page - 1,
        16 * page,
        16 * page + 1,
        128 << 10, // an eighth of the cache
        200_000,
        9 << 20, // thousands of pages, two levels of index
    ];
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    let keyspace = store.keyspace("k").unwrap();
    for (round, first) in sizes.into_iter().enumerate() {
        let seconds = if first > 1 << 20 { &[5, 2000, 200_000][..] } else { &sizes[..12] };
        for &second in seconds {
            let mut batch = WriteBatch::new();
            let key = format!("key {}", (first ^ second) % 7);
            batch.put(&keyspace, format!("key {}", round % 5), "beside");
            batch.put(&keyspace, &key, vec![1; first]);
            batch.put(&keyspace, &key, vec![2; second]);
            batch.put(&keyspace, "z", "behind");
            store.write_with(batch, CommitMode::Async).unwrap();
            let found = keyspace.get(&key).unwrap().expect("was just put");
            assert!(found.len() == second && found.iter().all(|&byte| byte == 2), "{first}");
        }
    }
    assert_eq!(store.verify().unwrap().problems, Vec::<String>::new());
    drop((keyspace, store));
    let store = open(&disk.crash(Keep::Everything)).unwrap();
    assert!(store.verify().unwrap().is_clean());
}

/// An empty leaf was freed only if its right neighbour was in memory. So when a reopened store's rows
/// were deleted in order, all leaves stayed, and a queue grew for ever.
#[test]
fn leaves_that_lost_their_rows_are_freed_before_and_after_a_crash() {
    const ROWS: u32 = 12_000;
    let key = |n: u32| n.to_be_bytes();
    for step in [1, 100] {
        let mut disk = SimDisk::new();
        let store = open(&disk).unwrap();
        let keyspace = store.keyspace("k").unwrap();
        for from in (0..ROWS).step_by(200) {
            let mut batch = WriteBatch::new();
            (from..from + 200).for_each(|n| batch.put(&keyspace, key(n), [7; 150]));
            store.write_with(batch, CommitMode::Async).unwrap();
        }
        drop(keyspace);
        store.close().unwrap();
        let mut store = open(&disk).unwrap();
        let full = store.verify().unwrap().pages;
        for from in (0..ROWS - 10).step_by(step) {
            let keyspace = store.keyspace("k").unwrap();
            let mut batch = WriteBatch::new();
            (from..(from + step as u32).min(ROWS - 10))
                .for_each(|n| batch.delete(&keyspace, key(n)));
            store.write_with(batch, CommitMode::Async).unwrap();
            if from == ROWS / 2 {
                disk = disk.crash(Keep::Everything);
                store = open(&disk).unwrap();
                let found = store.verify().unwrap();
                assert_eq!(found.problems, Vec::<String>::new());
                assert!(found.pages < full * 6 / 10, "{} of {full} pages", found.pages);
            }
        }
        store = open(&disk.crash(Keep::Everything)).unwrap();
        let found = store.verify().unwrap();
        assert_eq!((found.keys, found.problems), (10, Vec::new()));
        assert!(found.pages < 16, "{} of {full} pages for ten rows", found.pages);
    }
}

/// Each operation searched all keyspaces of its batch.
#[test]
fn a_batch_over_many_keyspaces_changes_each() {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    let all: Vec<_> = (0..100).map(|n| store.keyspace(&format!("k{n}")).unwrap()).collect();
    let mut batch = WriteBatch::new();
    for round in 0..4 {
        for at in 0..100 {
            let keyspace = &all[at * [1, 3, 9, 7][round] % 100];
            match round {
                3 if at % 2 == 0 => batch.delete(keyspace, "1"),
                _ => batch.put(keyspace, format!("{round}"), "value"),
            }
        }
    }
    store.write(batch).unwrap();
    let store = open(&disk.crash(Keep::Everything)).unwrap();
    let lens: Vec<u64> = all
        .iter()
        .map(|keyspace| store.open_keyspace(keyspace.name()).unwrap().unwrap().len().unwrap())
        .collect();
    // Keyspaces with an even number lost a key, the others got one more.
    assert!(lens.iter().enumerate().all(|(n, len)| *len == [2, 4][n % 2]), "{lens:?}");
    assert!(store.verify().unwrap().is_clean());
}

/// Only a thread freed the pages of dropped keyspaces, after a while. A shorter life left them to the
/// next one, which began to free them only when another keyspace was dropped.
#[test]
fn short_lives_leave_no_dropped_keyspace_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut sizes = Vec::new();
    for _ in 0..6 {
        let store = Options::new().page_bytes(4096).open(dir.path()).unwrap();
        let rows = store.keyspace("rows").unwrap();
        for n in 0..5000u32 {
            rows.put_with(n.to_be_bytes(), [7; 1000], CommitMode::Async).unwrap();
        }
        store.drop_keyspace("rows").unwrap();
        sizes.push(store.stats().data_file_bytes);
        store.close().unwrap();
    }
    assert!(sizes[5] <= sizes[2], "it grows with each life: {sizes:?}");
}
