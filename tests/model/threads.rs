//! Many threads on a store in a real directory, with the store's own threads running.
//!
//! Each writer owns a range of keys, and writes each key to two keyspaces with the same value in one
//! batch. A reader of both in one snapshot must find them equal.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use syncline::{CommitMode, Keyspace, Options, Status, Store, WriteBatch};

use crate::random::SplitMix64;

const WRITERS: u64 = 4;
const KEYS: u64 = 150;
const COMMITS: u64 = 500;

type Written = BTreeMap<Vec<u8>, Vec<u8>>;

fn options() -> Options {
    Options::new()
        .cache_bytes(1 << 20)
        .page_bytes(4096)
        .segment_bytes(256 << 10)
        .checkpoint_log_bytes(512 << 10)
}

#[test]
fn writers_and_readers_agree() {
    let dir = tempfile::tempdir().unwrap();
    let store = options().open(dir.path()).unwrap();
    let pair = [store.keyspace("left").unwrap(), store.keyspace("right").unwrap()];
    let big = store.keyspace("big").unwrap();
    let stop = AtomicBool::new(false);
    let written: Vec<(Written, Vec<String>)> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (store, pair) = (&store, &pair);
                scope.spawn(move || write(store, pair, writer))
            })
            .collect();
        for reader in 0..2 {
            let (store, pair, stop) = (&store, &pair, &stop);
            scope.spawn(move || read(store, pair, stop, reader));
        }
        let (store_of_big, stop_big, big) = (&store, &stop, &big);
        scope.spawn(move || write_big(store_of_big, big, stop_big));
        let (checked, halt) = (&store, &stop);
        scope.spawn(move || {
            while !halt.load(Ordering::Relaxed) {
                checked.checkpoint().unwrap();
                checked.flush().unwrap();
                let found = checked.verify().unwrap();
                assert!(found.is_clean(), "{:#?}", found.problems);
            }
        });
        let written: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        stop.store(true, Ordering::Relaxed);
        written.into_iter().map(|written| written.expect("a writer")).collect()
    });
    check(&store, &written);
    drop((pair, big));
    store.close().unwrap();
    let store = options().open(dir.path()).unwrap();
    check(&store, &written);
}

/// Writes, reads its own writes, and returns the expected contents and the tokens.
fn write(store: &Store, pair: &[Keyspace; 2], writer: u64) -> (Written, Vec<String>) {
    let mut rng = SplitMix64::new(writer);
    let (mut written, mut tokens) = (Written::new(), Vec::new());
    let alone = store.keyspace("alone").unwrap();
    for _ in 0..COMMITS {
        let mut batch = WriteBatch::new();
        // Few keys, or so many that most batches name none twice.
        let keys = if rng.once_in(4) { 3 } else { KEYS };
        for _ in 0..rng.spread(1, 8) {
            let key = format!("{writer}/{}", rng.below(keys)).into_bytes();
            if rng.once_in(4) {
                pair.iter().for_each(|keyspace| batch.delete(keyspace, &key));
                written.remove(&key);
            } else {
                let mut value = vec![writer as u8; rng.spread(8, 6000) as usize];
                value[..8].copy_from_slice(&rng.next().to_le_bytes());
                pair.iter().for_each(|keyspace| batch.put(keyspace, &key, &value));
                written.insert(key, value);
            }
        }
        let mode = if rng.once_in(10) { CommitMode::Sync } else { CommitMode::Async };
        let receipt = store.write_with(batch, mode).unwrap();
        if mode == CommitMode::Sync {
            assert!(receipt.is_durable());
        }
        if rng.once_in(50) {
            receipt.wait().unwrap();
        }
        tokens.push(receipt.token());
        if rng.once_in(4) {
            write_alone(store, &alone, writer, &mut rng);
        }
        let key = format!("{writer}/{}", rng.below(KEYS)).into_bytes();
        let found = pair[rng.below(2) as usize].get(&key).unwrap();
        assert_eq!(found.as_deref(), written.get(&key).map(|value| &value[..]), "own writes");
    }
    (written, tokens)
}

/// Puts to one keyspace may change leaves in place. These put one key several times, with values in
/// the leaf and out of line.
fn write_alone(store: &Store, alone: &Keyspace, writer: u64, rng: &mut SplitMix64) {
    let (key, mut batch, mut last) = (format!("{writer}"), WriteBatch::new(), Vec::new());
    for _ in 0..rng.spread(2, 6) {
        let len = *rng.pick(&[8, 900, 2000, 80_000]) + rng.below(200) as usize;
        last = vec![rng.below(256) as u8; len];
        batch.put(alone, &key, &last);
    }
    store.write_with(batch, CommitMode::Async).unwrap();
    assert_eq!(alone.get(&key).unwrap().as_deref(), Some(&last[..]));
}

/// Transactions larger than the cache: all keys of a keyspace get the same value in one batch. A
/// reader must see one value.
fn write_big(store: &Store, big: &Keyspace, stop: &AtomicBool) {
    let mut round = 0_u8;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let snapshot = store.snapshot().unwrap();
                let mut values = snapshot.iter(big).unwrap().map(|entry| entry.unwrap().value()[0]);
                let first = values.next();
                assert!(values.all(|value| Some(value) == first), "at {}", snapshot.lsn());
            }
        });
        while !stop.load(Ordering::Relaxed) {
            round = round.wrapping_add(1);
            let mut batch = WriteBatch::new();
            for key in 0..3000_u32 {
                batch.put(big, key.to_be_bytes(), [round; 600]);
            }
            store.write_with(batch, CommitMode::Async).unwrap();
        }
    });
}

/// Compares the two keyspaces, in snapshots.
fn read(store: &Store, [left, right]: &[Keyspace; 2], stop: &AtomicBool, reader: u64) {
    let mut rng = SplitMix64::new(100 + reader);
    while !stop.load(Ordering::Relaxed) {
        let snapshot = store.snapshot().unwrap();
        for _ in 0..20 {
            let key = format!("{}/{}", rng.below(WRITERS), rng.below(KEYS));
            let (a, b) = (snapshot.get(left, &key).unwrap(), snapshot.get(right, &key).unwrap());
            assert_eq!(a.as_deref(), b.as_deref(), "{key} at {}", snapshot.lsn());
        }
        let from = format!("{}/", rng.below(WRITERS));
        let a = snapshot.prefix(left, &from).unwrap().map(|entry| entry.unwrap().into_pair());
        let b = snapshot.prefix(right, &from).unwrap().map(|entry| entry.unwrap().into_pair());
        assert!(a.eq(b), "{from} at {}", snapshot.lsn());
        let mut counted = 0;
        for entry in snapshot.iter(left).unwrap() {
            entry.unwrap();
            counted += 1;
        }
        assert_eq!(counted, snapshot.len(left).unwrap());
        assert_eq!(counted, snapshot.len(right).unwrap());
    }
}

fn check(store: &Store, written: &[(Written, Vec<String>)]) {
    let found = store.verify().unwrap();
    assert!(found.is_clean(), "{:#?}", found.problems);
    store.flush().unwrap();
    for name in ["left", "right"] {
        let keyspace = store.keyspace(name).unwrap();
        let found: Written = keyspace.iter().unwrap().map(|e| e.unwrap().into_pair()).collect();
        let wanted: Written = written.iter().flat_map(|(map, _)| map.clone()).collect();
        assert!(found == wanted, "{name}: {} keys, not {}", found.len(), wanted.len());
        assert_eq!(keyspace.len().unwrap(), wanted.len() as u64);
    }
    for token in written.iter().flat_map(|(_, tokens)| tokens) {
        assert_eq!(store.status(token).unwrap(), Status::Durable);
    }
}
