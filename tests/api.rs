//! The behaviour of the store's handles, one aspect per test.

mod support;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use support::{assert_sound, read_all};
use syncline::disk::{Disk, Fault, FaultError, Keep, Op, Persistence, SimDisk};
use syncline::{CommitMode, Error, Keyspace, Options, RecoveryProgress, Status, Store, WriteBatch};

fn small() -> Options {
    Options::new().cache_bytes(1 << 20).page_bytes(4096).segment_bytes(64 << 10)
}

/// Options of a store without threads.
fn still() -> Options {
    small().without_threads().store_id([7; 16])
}

fn on_sim(options: Options) -> (SimDisk, Store) {
    let disk = SimDisk::new();
    let store = options.open_on(Arc::new(disk.clone())).unwrap();
    (disk, store)
}

/// The keys that an iterator returns.
macro_rules! keys_of {
    ($range:expr) => {
        $range.map(|entry| entry.unwrap().key().to_vec()).collect::<Vec<_>>()
    };
}

/// Tells a thread to stop when this is dropped, also after a failed assertion.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

// --- receipts ---

/// A waker that counts, and unparks a thread.
struct Alarm {
    woken: AtomicU64,
    thread: std::thread::Thread,
}

impl Alarm {
    fn new() -> Arc<Self> {
        Arc::new(Alarm { woken: AtomicU64::new(0), thread: std::thread::current() })
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.woken.fetch_add(1, Ordering::SeqCst);
        self.thread.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Alarm::new());
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park_timeout(Duration::from_secs(20)),
        }
    }
}

#[test]
fn a_receipt_is_a_future_that_needs_no_runtime() {
    let dir = tempfile::tempdir().unwrap();
    // Only the wait itself causes a flush within the hour.
    let options = small().flush_interval(Duration::from_secs(3600));
    let store = options.open(dir.path()).unwrap();
    let keyspace = store.keyspace("k").unwrap();

    let mut receipt = keyspace.put_with("a", "1", CommitMode::Async).unwrap();
    assert!(!receipt.is_durable());
    assert_eq!(store.status(&receipt.token()).unwrap(), Status::Pending);
    let alarm = Alarm::new();
    let waker = Waker::from(Arc::clone(&alarm));
    let deadline = Instant::now() + Duration::from_secs(20);
    while Pin::new(&mut receipt).poll(&mut Context::from_waker(&waker)).is_pending() {
        assert!(Instant::now() < deadline, "woken {} times", alarm.woken.load(Ordering::SeqCst));
        std::thread::park_timeout(Duration::from_secs(20));
        assert!(alarm.woken.load(Ordering::SeqCst) > 0, "parked until the timeout");
    }
    assert!(receipt.is_durable());
    // Polled again, it is still ready.
    assert!(Pin::new(&mut receipt).poll(&mut Context::from_waker(&waker)).is_ready());

    block_on(keyspace.put_with("b", "2", CommitMode::Async).unwrap()).unwrap();
    let waiters: Vec<_> = (0..8u8)
        .map(|n| keyspace.put_with([n], [n], CommitMode::Async).unwrap())
        .map(|receipt| std::thread::spawn(move || block_on(receipt)))
        .collect();
    waiters.into_iter().for_each(|waiter| waiter.join().unwrap().unwrap());
}

#[test]
fn a_future_without_threads_is_ready_after_the_flush_that_it_asks_for() {
    let (_disk, store) = on_sim(still());
    let keyspace = store.keyspace("k").unwrap();
    let receipt = keyspace.put_with("a", "1", CommitMode::Async).unwrap();
    block_on(receipt.clone()).unwrap();
    assert!(receipt.is_durable());
}

#[test]
fn waiting_asks_for_a_flush_and_reports_its_failure() {
    let (disk, store) = on_sim(still());
    let keyspace = store.keyspace("k").unwrap();
    let receipt = keyspace.put_with("a", "1", CommitMode::Async).unwrap();
    assert!(!receipt.is_durable());
    assert!(receipt.wait_timeout(Duration::from_secs(20)).unwrap());
    assert!(receipt.is_durable());
    assert!(receipt.wait_timeout(Duration::ZERO).unwrap());

    let receipt = keyspace.put_with("a", "2", CommitMode::Async).unwrap();
    disk.fail_sync(0);
    assert!(matches!(receipt.wait(), Err(Error::Poisoned { .. })));
    assert!(matches!(receipt.wait_timeout(Duration::ZERO), Err(Error::Poisoned { .. })));
    assert!(matches!(block_on(receipt.clone()), Err(Error::Poisoned { .. })));
    assert!(!receipt.is_durable());
}

#[test]
fn a_receipt_outlives_its_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = small().open(dir.path()).unwrap();
    let receipt = store.keyspace("k").unwrap().put_with("a", "1", CommitMode::Async).unwrap();
    store.close().unwrap();
    assert!(receipt.is_durable(), "closing made it durable");
    receipt.wait().unwrap();
    block_on(receipt.clone()).unwrap();
    let store = small().open(dir.path()).unwrap();
    assert_eq!(store.status(&receipt.token()).unwrap(), Status::Durable);
}

// --- watermarks ---

#[test]
fn watermarks_are_ordered_and_waiting_for_them_wakes() {
    let dir = tempfile::tempdir().unwrap();
    let options = small().flush_interval(Duration::from_secs(3600));
    let store = options.open(dir.path()).unwrap();
    let keyspace = store.keyspace("k").unwrap();
    let (store, keyspace) = (&store, &keyspace);
    let seen = store.watermarks();
    assert!(seen.checkpoint <= seen.durable && seen.durable <= seen.appended);
    assert!(seen.visible <= seen.appended);

    let begun = Instant::now();
    let same = store.wait_watermarks(&seen, Some(Duration::from_millis(30))).unwrap();
    assert_eq!(same, seen, "nothing has moved");
    assert!(begun.elapsed() >= Duration::from_millis(30));

    std::thread::scope(|scope| {
        let waiter =
            scope.spawn(move || store.wait_watermarks(&seen, Some(Duration::from_secs(20))));
        std::thread::sleep(Duration::from_millis(20));
        let written = keyspace.put_with("a", "1", CommitMode::Async).unwrap().lsn();
        let moved = waiter.join().unwrap().unwrap();
        assert!(moved.appended > seen.appended);

        let mut before = store.watermarks();
        assert_eq!(before.visible, written);
        assert!(before.durable < written);
        let waiter = scope.spawn(move || {
            while before.durable < written {
                before = store.wait_watermarks(&before, None).unwrap();
            }
        });
        std::thread::sleep(Duration::from_millis(20));
        assert!(store.flush().unwrap() >= written);
        waiter.join().unwrap();
    });
    assert_eq!(store.checkpoint().unwrap(), store.watermarks().checkpoint);
}

#[test]
fn closing_wakes_a_thread_that_waits_for_watermarks() {
    let dir = tempfile::tempdir().unwrap();
    let store = small().open(dir.path()).unwrap();
    store.keyspace("k").unwrap().put("a", "1").unwrap();
    store.checkpoint().unwrap();
    let waiting = store.clone();
    let waiter = std::thread::spawn(move || {
        loop {
            let seen = waiting.watermarks();
            if let Err(error) = waiting.wait_watermarks(&seen, None) {
                return error;
            }
        }
    });
    std::thread::sleep(Duration::from_millis(20));
    store.close().unwrap();
    assert!(matches!(waiter.join().unwrap(), Error::Closed));
}

// --- values and iterators ---

#[test]
fn a_held_value_does_not_change() {
    let dir = tempfile::tempdir().unwrap();
    let store = small().commit_mode(CommitMode::Async).open(dir.path()).unwrap();
    let keyspace = store.keyspace("k").unwrap();
    keyspace.put("held", [1; 500]).unwrap();
    keyspace.put("long", [2; 30_000]).unwrap();
    let held = keyspace.get("held").unwrap().unwrap();
    let long = keyspace.get("long").unwrap().unwrap();
    // Many times the size of the cache.
    for round in 0..40u32 {
        for n in 0..500u32 {
            keyspace.put(n.to_be_bytes(), [round as u8; 300]).unwrap();
        }
        keyspace.put("held", [3; 500]).unwrap();
        keyspace.delete("long").unwrap();
        assert_eq!(held, [1; 500]);
    }
    store.checkpoint().unwrap();
    assert_eq!((&held[..], &long[..]), (&[1; 500][..], &[2; 30_000][..]));
    assert_eq!(held.into_vec(), [1; 500]);
    assert_eq!(keyspace.get("held").unwrap().unwrap(), [3; 500]);
    assert_eq!(keyspace.get("long").unwrap(), None);
    assert_sound(&store);
}

#[test]
fn an_iterator_keeps_its_point_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = small().commit_mode(CommitMode::Async).open(dir.path()).unwrap();
    let keyspace = store.keyspace("k").unwrap();
    let count = 4000u32;
    for n in 0..count {
        keyspace.put(n.to_be_bytes(), [0; 200]).unwrap();
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stops = Stops(&stop);
        let (keyspace, stop, store) = (&keyspace, &stop, &store);
        scope.spawn(move || {
            let mut round = 1u32;
            while !stop.load(Ordering::Relaxed) {
                for n in 0..count {
                    match (n + round) % 5 {
                        0 => keyspace.delete(n.to_be_bytes()).unwrap(),
                        _ => keyspace.put(n.to_be_bytes(), [round as u8; 200]).unwrap(),
                    };
                }
                round += 1;
            }
        });
        for _ in 0..5 {
            let snapshot = store.snapshot().unwrap();
            let (mut forward, mut backward) = (0u64, 0u64);
            for entry in snapshot.iter(keyspace).unwrap() {
                entry.unwrap();
                forward += 1;
            }
            for entry in snapshot.iter(keyspace).unwrap().rev() {
                entry.unwrap();
                backward += 1;
            }
            let len = snapshot.len(keyspace).unwrap();
            assert_eq!((forward, backward), (len, len), "at {}", snapshot.lsn());

            let mut sum = 0u64;
            let mut range = keyspace.iter().unwrap();
            while let Some((key, value)) = range.next_ref().unwrap() {
                assert_eq!((key.len(), value.len()), (4, 200));
                assert!(value.iter().all(|byte| *byte == value[0]), "a value in pieces");
                sum += 1;
            }
            assert!(sum <= u64::from(count));
        }
    });
    assert_sound(&store);
}

#[test]
fn the_ends_of_a_range_meet_in_the_middle() {
    let (_disk, store) = on_sim(still());
    let keyspace = store.keyspace("k").unwrap();
    for count in [0u32, 1, 2, 3, 500] {
        for n in 0..count {
            keyspace.put_with(n.to_be_bytes(), [9; 50], CommitMode::Async).unwrap();
        }
        let mut range = keyspace.iter().unwrap();
        let (mut front, mut back) = (Vec::new(), Vec::new());
        while let Some(entry) = range.next() {
            front.push(entry.unwrap().key().to_vec());
            // Two entries from the back per entry from the front.
            let two = [range.next_back(), range.next_back()];
            let was_last = two[1].is_none();
            back.extend(two.into_iter().flatten().map(|entry| entry.unwrap().key().to_vec()));
            if was_last {
                break;
            }
        }
        assert!(
            range.next().is_none() && range.next_back().is_none(),
            "an ended range stays ended"
        );
        front.extend(back.into_iter().rev());
        let all: Vec<Vec<u8>> = (0..count).map(|n| n.to_be_bytes().to_vec()).collect();
        assert_eq!(front, all);
    }
}

#[test]
fn bounds_and_prefixes_select_the_right_keys() {
    let (_disk, store) = on_sim(still());
    let keyspace = store.keyspace("k").unwrap();
    let all: [&[u8]; 9] =
        [b"", b"a", b"a\xfe", b"a\xff", b"a\xff\x00", b"a\xff\xff", b"b", b"\xff", b"\xff\xff"];
    all.iter().for_each(|key| drop(keyspace.put(key, key).unwrap()));
    for prefix in all.iter().chain(&[&b"\xff\xff\xff"[..], b"c", b"a\xff\xff\xff"]) {
        let expected: Vec<&[u8]> =
            all.iter().copied().filter(|key| key.starts_with(prefix)).collect();
        assert_eq!(keys_of!(keyspace.prefix(prefix).unwrap()), expected, "{prefix:?}");
        let mut back = keys_of!(keyspace.prefix(prefix).unwrap().rev());
        back.reverse();
        assert_eq!(back, expected, "{prefix:?}, backward");
        let snapshot = store.snapshot().unwrap();
        assert_eq!(keys_of!(snapshot.prefix(&keyspace, prefix).unwrap()), expected);
    }
    use std::ops::Bound::{Excluded, Included, Unbounded};
    let count = |from, to| keyspace.range::<&[u8]>((from, to)).unwrap().count();
    assert_eq!(count(Included(&b"a"[..]), Excluded(&b"b"[..])), 5);
    assert_eq!(count(Excluded(&b"a"[..]), Included(&b"b"[..])), 5);
    assert_eq!(count(Excluded(&b""[..]), Unbounded), 8);
    assert_eq!(count(Unbounded, Excluded(&b""[..])), 0);
    assert_eq!(count(Unbounded, Included(&b""[..])), 1);
    assert_eq!(count(Excluded(&b"a"[..]), Excluded(&b"a"[..])), 0);
    assert_eq!(count(Included(&b"a"[..]), Included(&b"a"[..])), 1);
    assert_eq!(count(Included(&b"b"[..]), Included(&b"a"[..])), 0, "reversed bounds: empty");
    assert_eq!(keyspace.first().unwrap().unwrap().key(), b"");
    assert_eq!(keyspace.last().unwrap().unwrap().key(), b"\xff\xff");
}

#[test]
fn a_long_value_comes_back_through_a_small_cache() {
    let dir = tempfile::tempdir().unwrap();
    let long: Vec<u8> = (0..64u32 << 18).flat_map(|n| (n ^ n >> 7).to_le_bytes()).collect();
    let options = || small().segment_bytes(256 << 10).max_unsynced_bytes(1 << 20);
    let store = options().open(dir.path()).unwrap();
    let keyspace = store.keyspace("k").unwrap();
    keyspace.put("short", "1").unwrap();
    keyspace.put("long", &long).unwrap();
    assert!(keyspace.get("long").unwrap().unwrap() == long);
    assert_eq!(keyspace.get("short").unwrap().unwrap(), b"1");
    drop(keyspace);
    store.close().unwrap();
    let store = options().open(dir.path()).unwrap();
    let keyspace = store.keyspace("k").unwrap();
    assert!(keyspace.get("long").unwrap().unwrap() == long);
    let mut range = keyspace.iter().unwrap();
    assert!(range.next_ref().unwrap().is_some_and(|(key, value)| key == b"long" && value == long));
    drop(range);
    keyspace.put("long", "short now").unwrap();
    store.checkpoint().unwrap();
    assert_sound(&store);
}

// --- batches, keyspaces, snapshots ---

#[test]
fn the_last_change_in_a_batch_wins() {
    let (_disk, store) = on_sim(still());
    let (a, b) = (store.keyspace("a").unwrap(), store.keyspace("b").unwrap());
    let long = vec![5; 20_000];
    let mut batch = WriteBatch::new();
    assert!(batch.is_empty());
    batch.put(&a, "x", "1");
    batch.put(&b, "x", "2");
    batch.delete(&a, "x");
    batch.put(&a, "y", &long);
    batch.put(&a, "y", "short");
    batch.delete(&a, "z");
    batch.put(&a, "z", "1");
    batch.put(&a, "z", &long);
    batch.put(&b, "w", &long);
    batch.delete(&b, "w");
    assert_eq!(batch.len(), 10);
    let before = store.watermarks().visible;
    let receipt = store.write(batch.clone()).unwrap();
    assert!(receipt.lsn() > before && receipt.is_durable());
    for _ in 0..2 {
        assert_eq!(a.get("x").unwrap(), None);
        assert_eq!(b.get("x").unwrap().unwrap(), b"2");
        assert_eq!(a.get("y").unwrap().unwrap(), b"short");
        assert_eq!(a.get("z").unwrap().unwrap(), long);
        assert_eq!(b.get("w").unwrap(), None);
        assert_eq!((a.len().unwrap(), b.len().unwrap()), (2, 1));
        store.checkpoint().unwrap();
        assert_sound(&store);
        store.write(batch.clone()).unwrap();
    }
    store.write(WriteBatch::new()).unwrap();
}

#[test]
fn a_snapshot_shows_a_dropped_keyspace_and_not_its_successor() {
    let (_disk, store) = on_sim(still());
    let keyspace = store.keyspace("k").unwrap();
    let long = vec![1; 50_000];
    for n in 0..2000u32 {
        keyspace.put_with(n.to_be_bytes(), [1; 100], CommitMode::Async).unwrap();
    }
    keyspace.put("long", &long).unwrap();
    let snapshot = store.snapshot().unwrap();
    store.drop_keyspace("k").unwrap();
    assert!(matches!(store.drop_keyspace("k"), Err(Error::NoSuchKeyspace { .. })));
    assert!(matches!(keyspace.get("long"), Err(Error::NoSuchKeyspace { .. })));
    assert!(matches!(keyspace.put("a", "1"), Err(Error::NoSuchKeyspace { .. })));
    assert!(matches!(keyspace.len(), Err(Error::NoSuchKeyspace { .. })));
    let mut batch = WriteBatch::new();
    batch.put(&keyspace, "a", "1");
    assert!(matches!(store.write(batch), Err(Error::NoSuchKeyspace { .. })));
    assert_eq!(store.keyspaces(), [""; 0]);
    assert!(store.open_keyspace("k").unwrap().is_none());

    let again = store.create_keyspace("k").unwrap();
    assert!(matches!(store.create_keyspace("k"), Err(Error::KeyspaceExists { .. })));
    assert!(again.is_empty().unwrap());
    again.put("new", "1").unwrap();
    store.checkpoint().unwrap();
    assert_eq!(snapshot.len(&keyspace).unwrap(), 2001);
    assert_eq!(snapshot.iter(&keyspace).unwrap().count(), 2001);
    assert_eq!(snapshot.get(&keyspace, "long").unwrap().unwrap(), long);
    assert!(matches!(snapshot.get(&again, "new"), Err(Error::NoSuchKeyspace { .. })));
    assert_sound(&store);
    drop(snapshot);
    store.checkpoint().unwrap();
    store.checkpoint().unwrap();
    let found = store.verify().unwrap();
    assert!(found.is_clean() && found.keys == 1, "{found:?}");
    assert!(found.pages < 20, "the space was given back: {found:?}");
}

/// The counts in a checkpoint must match its pages, also during commits.
#[test]
fn counts_are_right_after_a_kill_during_checkpoints() {
    let (disk, store) = on_sim(still());
    let keyspace = store.keyspace("k").unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stops = Stops(&stop);
        scope.spawn(|| {
            for n in 0u32.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let key = (n % 500).to_be_bytes();
                match n / 500 % 2 {
                    0 => keyspace.put_with(key, "v", CommitMode::Async).unwrap(),
                    _ => keyspace.delete_with(key, CommitMode::Async).unwrap(),
                };
            }
        });
        for _ in 0..30 {
            store.checkpoint().unwrap();
            let killed = disk.fork(Keep::Everything);
            let recovered = still().open_on(Arc::new(killed)).unwrap();
            assert_sound(&recovered);
            read_all(&recovered).unwrap();
        }
    });
}

/// The log has a noted count between two changes that cancel each other out.
#[test]
fn counts_are_right_when_replayed_changes_cancel_out() {
    let (disk, store) = on_sim(still());
    let keyspace = store.keyspace("k").unwrap();
    store.checkpoint().unwrap();
    keyspace.put("a", "1").unwrap();
    // The checkpoint notes the count in the log, and then fails.
    disk.set_capacity(Some(disk.used_bytes()));
    disk.fail(Fault {
        op: Op::Write,
        after: 0,
        error: FaultError::NoSpace,
        persistence: Persistence::Forever,
    });
    store.checkpoint().unwrap_err();
    disk.clear_faults();
    disk.set_capacity(None);
    keyspace.delete("a").unwrap();
    let disk = disk.crash(Keep::Nothing);
    drop((keyspace, store));
    for _ in 0..2 {
        let store = still().open_on(Arc::new(disk.clone())).unwrap();
        assert_eq!(store.keyspace("k").unwrap().len().unwrap(), 0);
        assert_sound(&store);
        store.close().unwrap();
    }
}

// --- opening and closing ---

#[test]
fn the_last_handle_closes_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = small().open(dir.path()).unwrap();
    let keyspace = store.keyspace("k").unwrap();
    let snapshot = store.snapshot().unwrap();
    drop(store);
    assert!(matches!(small().open(dir.path()), Err(Error::Locked { .. })));
    keyspace.put_with("a", "1", CommitMode::Async).unwrap();
    drop(keyspace);
    assert!(matches!(small().open(dir.path()), Err(Error::Locked { .. })));
    drop(snapshot);
    let store = small().open(dir.path()).unwrap();
    let recovery = store.stats().recovery;
    assert!(recovery.was_clean, "{recovery:?}");
    assert_eq!(recovery.records_replayed, 0);
    assert_eq!(store.keyspace("k").unwrap().get("a").unwrap().unwrap(), b"1");
}

#[test]
fn closing_closes_the_other_handles_and_unlocks_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let store = small().open(dir.path()).unwrap();
    let keyspace = store.keyspace("k").unwrap();
    let receipt = keyspace.put_with("a", "1", CommitMode::Async).unwrap();
    let snapshot = store.snapshot().unwrap();
    let held = keyspace.get("a").unwrap().unwrap();
    let mut range = keyspace.iter().unwrap();
    let mut batch = WriteBatch::new();
    batch.put(&keyspace, "b", "2");
    store.clone().close().unwrap();

    let reopened = small().open(dir.path()).unwrap();
    assert!(reopened.stats().recovery.was_clean);
    reopened.keyspace("k").unwrap().put("a", "2").unwrap();
    assert_eq!(held, b"1", "a read value stays");
    assert!(receipt.is_durable());
    assert!(matches!(keyspace.get("a"), Err(Error::Closed)));
    assert!(matches!(keyspace.contains_key("a"), Err(Error::Closed)));
    assert!(matches!(keyspace.put("a", "3"), Err(Error::Closed)));
    assert!(matches!(keyspace.put_with("a", "3", CommitMode::Async), Err(Error::Closed)));
    assert!(matches!(keyspace.delete("a"), Err(Error::Closed)));
    assert!(matches!(keyspace.len(), Err(Error::Closed)));
    assert!(matches!(keyspace.iter(), Err(Error::Closed)));
    assert!(matches!(range.next(), Some(Err(Error::Closed))));
    assert!(matches!(snapshot.get(&keyspace, "a"), Err(Error::Closed)));
    assert!(matches!(store.write(batch), Err(Error::Closed)));
    assert!(matches!(store.snapshot(), Err(Error::Closed)));
    assert!(matches!(store.keyspace("k"), Err(Error::Closed)));
    assert!(matches!(store.open_keyspace("k"), Err(Error::Closed)));
    assert!(matches!(store.create_keyspace("l"), Err(Error::Closed)));
    assert!(matches!(store.drop_keyspace("k"), Err(Error::Closed)));
    assert!(matches!(store.flush(), Err(Error::Closed)));
    assert!(matches!(store.checkpoint(), Err(Error::Closed)));
    assert!(matches!(store.verify(), Err(Error::Closed)));
    assert!(matches!(store.status(&receipt.token()), Err(Error::Closed)));
    let seen = store.watermarks();
    assert!(matches!(store.wait_watermarks(&seen, None), Err(Error::Closed)));
    store.stats();
    store.clone().close().unwrap();
    drop((range, held));
    drop((snapshot, keyspace, store));
    assert_eq!(reopened.keyspace("k").unwrap().get("a").unwrap().unwrap(), b"2");
}

#[test]
fn reading_changes_no_file() {
    let (disk, store) = on_sim(still());
    store.keyspace("k").unwrap().put("a", "1").unwrap();
    store.close().unwrap();
    let names = disk.list().unwrap();
    let before: Vec<_> = names.iter().map(|name| disk.read_file(name)).collect();
    let store = still().open_on(Arc::new(disk.clone())).unwrap();
    assert_eq!(store.keyspace("k").unwrap().get("a").unwrap().unwrap(), b"1");
    read_all(&store).unwrap();
    store.checkpoint().unwrap();
    store.flush().unwrap();
    store.close().unwrap();
    assert_eq!(disk.list().unwrap(), names);
    let after: Vec<_> = names.iter().map(|name| disk.read_file(name)).collect();
    assert!(before == after);
}

#[test]
fn stats_add_up() {
    let dir = tempfile::tempdir().unwrap();
    let store = small().open(dir.path()).unwrap();
    let keyspace = store.keyspace("k").unwrap();
    let before = store.stats();
    for n in 0..100u32 {
        keyspace.put_with(n.to_be_bytes(), [0; 100], CommitMode::Async).unwrap();
    }
    let mut batch = WriteBatch::new();
    batch.put(&keyspace, "k", "v");
    batch.delete(&keyspace, "l");
    store.write_with(batch, CommitMode::Sync).unwrap();
    store.checkpoint().unwrap();
    keyspace.get("k").unwrap();
    let stats = store.stats();
    assert_eq!(stats.sync_commits - before.sync_commits, 1);
    assert!(stats.async_commits - before.async_commits >= 100, "{stats:#?}");
    assert!(stats.operations - before.operations >= 102, "{stats:#?}");
    assert!(stats.user_bytes_written - before.user_bytes_written >= 100 * 104, "{stats:#?}");
    assert!(stats.log_bytes_written > stats.user_bytes_written, "{stats:#?}");
    assert!(stats.flushes > 0 && stats.commits_per_flush > 0.0, "{stats:#?}");
    assert!(stats.checkpoints >= 1 && stats.data_bytes_written > 0, "{stats:#?}");
    assert_eq!(stats.last_checkpoint.unwrap().lsn, stats.watermarks.checkpoint);
    assert_eq!((stats.keyspaces, stats.old_versions), (1, 0));
    assert!(stats.cache_frames > 200 && stats.cache_hits > 0, "{stats:#?}");
    let bytes = std::fs::metadata(dir.path().join("data")).unwrap().len();
    assert!(stats.data_file_bytes <= bytes, "{stats:#?}");
    assert!(stats.recovery.was_clean);
}

#[test]
fn recovery_reports_its_progress() {
    let (disk, store) = on_sim(still().checkpoint_log_bytes(64 << 20));
    let keyspace = store.keyspace("k").unwrap();
    let mut token = String::new();
    for n in 0..30u32 {
        let receipt = keyspace.put_with(n.to_be_bytes(), [n as u8; 100_000], CommitMode::Async);
        token = receipt.unwrap().token();
    }
    store.flush().unwrap();
    let seen = Arc::new(Mutex::new(Vec::<RecoveryProgress>::new()));
    let note = Arc::clone(&seen);
    let options = still().on_recovery(move |progress| note.lock().unwrap().push(progress));
    let recovered = options.open_on(Arc::new(disk.crash(Keep::Nothing))).unwrap();
    let seen: Vec<RecoveryProgress> = seen.lock().unwrap().clone();
    assert!(seen.len() >= 3, "{seen:?}");
    assert!(seen.iter().all(|progress| progress.done_bytes <= progress.total_bytes), "{seen:?}");
    assert!(seen.is_sorted_by_key(|progress| progress.done_bytes), "{seen:?}");
    assert_eq!((seen[0].phase, seen[seen.len() - 1].phase), ("replay", "checkpoint"));
    let recovery = recovered.stats().recovery;
    assert!(!recovery.was_clean && recovery.operations_replayed >= 30, "{recovery:?}");
    assert!(recovery.records_replayed >= 30 && recovery.bytes_replayed > 3_000_000);
    assert_eq!(recovered.status(&token).unwrap(), Status::Durable);
}

#[test]
fn handles_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Store>();
    shared::<Keyspace>();
    shared::<syncline::Snapshot>();
    shared::<syncline::Receipt>();
    shared::<WriteBatch>();
    shared::<Error>();
}

/// A keyspace is visible before its creator's flush has succeeded; `keyspace` must not return it yet.
#[test]
fn a_keyspace_is_durable_when_it_is_returned_even_if_another_call_creates_it() {
    let (disk, store) = on_sim(still());
    store.keyspace("first").unwrap().put("key", "value").unwrap();
    disk.fail_sync(0);
    assert!(matches!(store.create_keyspace("new"), Err(Error::Poisoned { .. })));
    assert!(store.open_keyspace("new").unwrap().is_some(), "it can be read");
    assert!(matches!(store.keyspace("new"), Err(Error::Poisoned { .. })));
    store.keyspace("first").unwrap();
}
