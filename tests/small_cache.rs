//! Reads of whole values while many, especially long ones, are replaced in a cache too small for them:
//! pages are written out, evicted and freed, and their ids and frames are reused.
//!
//! `SYNCLINE_SECONDS=600 cargo test --features cli --release --test small_cache` runs for 600 seconds;
//! `SYNCLINE_SEED=n` repeats the random choices.

mod support;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use support::random::SplitMix64;
use syncline::{CommitMode, Keyspace, Options, Store, WriteBatch};

const WRITERS: u64 = 4;
const READERS: u64 = 2;
/// Keys of each writer in each keyspace.
const KEYS: u64 = 24;
/// The default of `SYNCLINE_SECONDS`.
const SECONDS: u64 = 6;

/// A value that shows whether it is whole: its number, its length, and bytes that follow from the number.
fn value(rng: &mut SplitMix64) -> Vec<u8> {
    let len = match rng.below(100) {
        0..18 => 1000 + rng.below(3000),
        18..22 => 4060 + rng.below(40), // about the bytes of a page
        _ => 16 + rng.below(150),
    };
    let (number, len) = (rng.below(u64::MAX), len as usize);
    let mut value = [number.to_le_bytes(), (len as u64).to_le_bytes()].concat();
    value.resize(len, number as u8);
    value
}

fn is_whole(value: &[u8]) -> bool {
    value[8..16] == (value.len() as u64).to_le_bytes()
        && value[16..].iter().all(|byte| *byte == value[0])
}

fn write(store: &Store, keyspaces: &[Keyspace; 2], writer: u64, rng: &mut SplitMix64) {
    let mode = match writer == 0 || writer == 2 && rng.below(6) == 0 {
        true => CommitMode::Sync,
        false => CommitMode::Async,
    };
    let most = match rng.below(40) {
        0 => 60,
        1..16 => 8,
        _ => 0,
    };
    let mut batch = WriteBatch::new();
    for _ in 0..1 + rng.below(most + 1) {
        let keyspace = &keyspaces[rng.below(2) as usize];
        let key = [writer as u8, rng.below(KEYS) as u8];
        match rng.below(5) {
            0 if most == 0 => drop(keyspace.delete_with(key, mode).unwrap()),
            _ if most == 0 => drop(keyspace.put_with(key, value(rng), mode).unwrap()),
            0 => batch.delete(keyspace, key),
            _ => batch.put(keyspace, key, value(rng)),
        }
    }
    if most > 0 {
        store.write_with(batch, mode).unwrap();
    }
    if rng.below(4) == 0 {
        std::thread::sleep(Duration::from_micros(50)); // lets other threads run
    }
}

/// Reads everything in a snapshot, and again a little later. Returns the number of rows.
fn read(store: &Store, keyspaces: &[Keyspace; 2], rng: &mut SplitMix64) -> u64 {
    let snapshot = store.snapshot().unwrap();
    let rows = |keyspace: &Keyspace| {
        let mut rows = Vec::new();
        for entry in snapshot.iter(keyspace).unwrap() {
            let entry = entry.expect("nothing is damaged");
            assert!(is_whole(entry.value()), "{:?}: {:?}", entry.key(), &entry.value()[..16]);
            rows.push((entry.key().to_vec(), entry.value()[..16].to_vec()));
        }
        assert_eq!(snapshot.len(keyspace).unwrap(), rows.len() as u64);
        rows
    };
    let first = keyspaces.each_ref().map(rows);
    std::thread::sleep(Duration::from_micros(rng.below(2000)));
    assert_eq!(keyspaces.each_ref().map(rows), first, "a snapshot does not change");
    first.iter().map(|rows| rows.len() as u64).sum()
}

#[test]
fn values_are_whole_while_their_pages_are_evicted_and_reloaded() {
    let seconds = std::env::var("SYNCLINE_SECONDS").map_or(SECONDS, |text| text.parse().unwrap());
    let seed = support::seed();
    println!("SYNCLINE_SEED={seed}");
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().cache_bytes(1 << 20).page_bytes(4096).segment_bytes(64 << 10);
    let options = options.checkpoint_log_bytes(256 << 10).max_unsynced_bytes(128 << 10);
    let store = options.flush_interval(Duration::from_millis(2)).open(dir.path()).unwrap();
    let keyspaces = ["a", "b"].map(|name| store.keyspace(name).unwrap());
    let read_rows = AtomicU64::new(0);
    let (store, keyspaces) = (&store, &keyspaces);
    std::thread::scope(|scope| {
        let until = Instant::now() + Duration::from_secs(seconds);
        let goes_on = move || Instant::now() < until;
        for writer in 0..WRITERS {
            let mut rng = SplitMix64::new(seed.wrapping_add(writer));
            scope.spawn(move || {
                while goes_on() {
                    write(store, keyspaces, writer, &mut rng);
                }
            });
        }
        for reader in 0..READERS {
            let (mut rng, read_rows) =
                (SplitMix64::new(seed.wrapping_add(WRITERS + reader)), &read_rows);
            scope.spawn(move || {
                while goes_on() {
                    read_rows.fetch_add(read(store, keyspaces, &mut rng), Relaxed);
                }
            });
        }
    });
    assert!(read_rows.into_inner() > 1000);
    assert!(store.verify().unwrap().is_clean());
}
