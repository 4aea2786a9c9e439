//! Objects that a user holds cost only their bytes, and neither stop nor slow other calls, in any
//! number and for any time.
//!
//! Held values once kept the frames of their pages: `iter()?.collect()` over more than the cache took
//! minutes, blocked every commit meanwhile, and failed.

use std::mem::forget;
use std::sync::Arc;

use syncline::disk::SimDisk;
use syncline::{CommitMode, Entry, Keyspace, Options, Range, Receipt, Snapshot, Store, Value};

/// More rows than fit into the cache.
const ROWS: u32 = 8_000;
/// More iterators than frames.
const ITERATORS: u32 = 600;

/// A store whose cache has 254 frames.
fn store() -> (SimDisk, Store, Keyspace) {
    let disk = SimDisk::new();
    let options = Options::new().cache_bytes(1 << 20).page_bytes(4096).without_threads();
    let store = options.open_on(Arc::new(disk.clone())).unwrap();
    let rows = store.keyspace("rows").unwrap();
    fill(&rows, 0);
    (disk, store, rows)
}

fn fill(rows: &Keyspace, version: u32) {
    for number in 0..ROWS {
        rows.put_with(key(number), value(number, version), CommitMode::Async).unwrap();
    }
}

fn key(number: u32) -> [u8; 4] {
    number.to_be_bytes()
}

/// Values of every kind: empty, short, medium, long in the page, out of line.
fn value(number: u32, version: u32) -> Vec<u8> {
    let len = match number % 50 {
        0 => 0,
        1..5 => number as usize % 30,
        5..45 => 100 + number as usize % 200,
        45..49 => 900,
        _ => 5000,
    };
    vec![(number ^ version) as u8; len]
}

fn drop_in_order<T>(mut held: Vec<T>, order: u32) {
    match order {
        0 => held.into_iter().for_each(drop),
        1 => held.into_iter().rev().for_each(drop),
        _ => {
            let mut at = 7;
            while !held.is_empty() {
                at = (at * 31 + 11) % held.len();
                drop(held.swap_remove(at));
            }
        }
    }
}

/// Asserts that commits, reads, snapshots and checkpoints still work.
fn goes_on(store: &Store, rows: &Keyspace) {
    for number in (0..ROWS).step_by(97) {
        rows.put_with(key(number), value(number, 9), CommitMode::Async).unwrap();
        assert_eq!(rows.get(key(number)).unwrap().unwrap(), value(number, 9));
    }
    rows.put_with("new", "row", CommitMode::Sync).unwrap();
    store.checkpoint().unwrap();
    assert_eq!(store.snapshot().unwrap().len(rows).unwrap(), u64::from(ROWS) + 1);
    assert_eq!(rows.iter().unwrap().count(), ROWS as usize + 1);
    rows.delete("new").unwrap();
    assert!(store.verify().unwrap().is_clean());
}

#[test]
fn more_values_than_the_cache_holds_are_collected_without_blocking_other_calls() {
    for order in 0..3 {
        let (_, store, rows) = store();
        let entries: Vec<Entry> = rows.iter().unwrap().map(Result::unwrap).collect();
        let values: Vec<Value> =
            (0..ROWS).map(|number| rows.get(key(number)).unwrap().unwrap()).collect();
        let snapshot = store.snapshot().unwrap();
        fill(&rows, 3);
        let old: Vec<Option<Value>> =
            (0..ROWS).map(|number| snapshot.get(&rows, key(number)).unwrap()).collect();
        goes_on(&store, &rows);
        for number in 0..ROWS {
            let (at, expected) = (number as usize, value(number, 0));
            assert_eq!((entries[at].key(), entries[at].value()), (&key(number)[..], &expected[..]));
            assert_eq!(values[at], expected);
            assert_eq!(old[at].as_deref(), Some(&expected[..]));
        }
        drop_in_order(entries, order);
        drop_in_order(values, order);
        drop_in_order(old, order);
        drop(snapshot);
        goes_on(&store, &rows);
    }
}

#[test]
fn more_iterators_than_the_cache_has_frames_block_no_other_call() {
    for order in 0..3 {
        let (_, store, rows) = store();
        let mut held: Vec<(u32, Range)> = Vec::new();
        for number in 0..ITERATORS {
            let from = number * (ROWS / ITERATORS);
            let mut range = rows.range(key(from)..).unwrap();
            assert_eq!(range.next().unwrap().unwrap().key(), key(from));
            assert_eq!(range.next_back().unwrap().unwrap().key(), key(ROWS - 1));
            held.push((from, range));
        }
        fill(&rows, 3);
        goes_on(&store, &rows);
        for (from, range) in &mut held {
            for number in *from + 1..(*from + 40).min(ROWS - 1) {
                let (found, read) = range.next_ref().unwrap().unwrap();
                assert_eq!((found, read), (&key(number)[..], &value(number, 0)[..]));
            }
            let last = range.next_back().unwrap().unwrap();
            assert_eq!((last.key(), last.value()), (&key(ROWS - 2)[..], &value(ROWS - 2, 0)[..]));
        }
        drop_in_order(held, order);
        assert_eq!(store.stats().old_versions, 0, "nobody needs them");
        goes_on(&store, &rows);
    }
}

#[test]
fn leaked_objects_block_no_other_call() {
    let (_, store, rows) = store();
    for number in 0..ITERATORS {
        let mut range = rows.range(key(number)..).unwrap();
        forget(range.next().unwrap().unwrap());
        forget(rows.get(key(number)).unwrap());
        forget(range);
        if number % 50 == 0 {
            forget(store.snapshot().unwrap());
            fill(&rows, number);
        }
    }
    goes_on(&store, &rows);
    // Values of one page once pinned it, and could overflow its pin count, far above this number.
    let first = rows.get(key(7)).unwrap().unwrap();
    (0..1_000_000).for_each(|_| forget(rows.get(key(7)).unwrap()));
    goes_on(&store, &rows);
    assert_eq!(*first, value(7, 550)[..]);
}

#[test]
fn snapshots_dropped_in_any_order_free_their_versions() {
    for order in 0..3 {
        let (_, store, rows) = store();
        let mut held: Vec<(u32, Snapshot, Receipt)> = Vec::new();
        for round in 0..300 {
            for number in (round..ROWS).step_by(701) {
                rows.put_with(key(number), value(number, round), CommitMode::Async).unwrap();
            }
            let snapshot = store.snapshot().unwrap();
            held.push((round, snapshot.clone(), snapshot.receipt()));
        }
        goes_on(&store, &rows);
        for (round, snapshot, receipt) in &held {
            assert!(receipt.is_durable());
            assert_eq!(snapshot.len(&rows).unwrap(), u64::from(ROWS));
            let found = snapshot.get(&rows, key(*round)).unwrap().unwrap();
            assert_eq!(found, value(*round, *round));
            let later = snapshot.get(&rows, key(round + 1)).unwrap().unwrap();
            assert_eq!(later, value(round + 1, 0));
        }
        drop_in_order(held, order);
        assert_eq!(store.stats().old_versions, 0, "nobody needs them");
        goes_on(&store, &rows);
    }
}

#[test]
fn results_of_reads_own_their_data_and_can_be_sent_to_other_threads() {
    fn is_owned<T: Send + 'static>() {}
    fn is_shared<T: Sync>() {}
    is_owned::<Value>();
    is_owned::<Entry>();
    is_owned::<Range>();
    is_owned::<Snapshot>();
    is_owned::<Receipt>();
    is_owned::<Keyspace>();
    is_shared::<Value>();
    is_shared::<Entry>();
    is_shared::<Range>();
    // A handler of a web server: its result outlives the function's store.
    fn handler() -> impl Iterator<Item = syncline::Result<Entry>> + Send + 'static {
        let (_, store, rows) = store();
        rows.put("a", "1").unwrap();
        drop(store);
        rows.prefix("a").unwrap()
    }
    let answer = std::thread::spawn(|| handler().map(|entry| entry.unwrap().into_pair()));
    let answer: Vec<_> = answer.join().unwrap().collect();
    assert_eq!(answer, [(b"a".to_vec(), b"1".to_vec())]);
}

#[test]
fn a_range_is_a_handle_that_keeps_the_store_open() {
    let (disk, store, rows) = store();
    let mut range = rows.iter().unwrap();
    range.next().unwrap().unwrap();
    drop((store, rows));
    assert_eq!(range.next().unwrap().unwrap().key(), key(1));
    let open = || Options::new().open_on(Arc::new(disk.clone()));
    assert!(open().is_err(), "the range keeps it open");
    drop(range);
    let store = open().unwrap();
    assert!(store.stats().recovery.was_clean, "the range closed it");
    let mut range = store.keyspace("rows").unwrap().iter().unwrap();
    range.next().unwrap().unwrap();
    let value = store.keyspace("rows").unwrap().get(key(7)).unwrap().unwrap();
    store.close().unwrap();
    assert!(range.next().unwrap().is_err(), "closed for all handles");
    assert!(range.next().is_none(), "an error ends it");
    assert_eq!(value, self::value(7, 0));
}
