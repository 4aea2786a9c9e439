//! Tests of checkpoints: when one is made, and what it reports.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::engine::base::progress::OperationProgress;
use crate::engine::commit::{Engine, KeyspaceState, Op, Payload};
use crate::engine::disk::recorder::Recorder;
use crate::engine::disk::{self, Disk, Fault, FaultError, Keep, Persistence, SimDisk};
use crate::engine::recovery;
use crate::{CommitMode, Error, Lsn, Options, Store, WriteBatch};

fn options() -> Options {
    let options = Options::new().without_threads().store_id([7; 16]);
    options.page_bytes(4096).segment_bytes(64 << 10).cache_bytes(1 << 20)
}

fn on(disk: &SimDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

/// An engine over a store that has a keyspace.
fn engine(disk: &SimDisk) -> (Arc<Engine>, Arc<KeyspaceState>) {
    let store = options().open_on(on(disk)).unwrap();
    store.keyspace("rows").unwrap().put("first", "value").unwrap();
    store.close().unwrap();
    let (engine, _) = recovery::open(on(disk), options()).unwrap();
    let keyspace = engine.keyspace("rows").unwrap();
    (Arc::new(engine), keyspace)
}

fn commit(engine: &Engine, keyspace: &Arc<KeyspaceState>, op: Op<'_>) -> Lsn {
    let mut payload = Payload::default();
    payload.push(op);
    engine.commit(&mut payload, std::slice::from_ref(keyspace), CommitMode::Async).unwrap()
}

fn made(engine: &Engine) -> u64 {
    engine.counts().checkpoints.load(Ordering::Relaxed)
}

#[test]
fn a_cancelled_checkpoint_leaves_all_changes_to_the_next_one() {
    let disk = SimDisk::new();
    let (engine, rows) = engine(&disk);
    let value = [7; 1000];
    let mut last = Lsn::ZERO;
    for key in 0..100_u8 {
        last = commit(&engine, &rows, Op::Put { keyspace: rows.id, key: &[key], value: &value });
    }
    let before = engine.watermarks().checkpoint;
    let cancelled = OperationProgress::default();
    cancelled.cancel();
    assert_eq!(engine.checkpoint_on(&cancelled).unwrap(), None);
    assert_eq!((made(&engine), engine.watermarks().checkpoint), (0, before));

    let progress = OperationProgress::default();
    let at = engine.checkpoint_on(&progress).unwrap().expect("nobody has cancelled it");
    assert!(at >= last && engine.watermarks().checkpoint == at);
    let (_, pages) = progress.done_of_total();
    assert!(pages >= 25, "all changed pages");
    assert_eq!(progress.done(), pages, "each page is counted once");
}

#[test]
fn a_checkpoint_whose_flush_fails_poisons_the_log() {
    let disk = SimDisk::new();
    let (engine, rows) = engine(&disk);
    let put = Op::Put { keyspace: rows.id, key: b"a", value: b"value" };
    commit(&engine, &rows, put);
    let (error, persistence) = (FaultError::Io, Persistence::Once);
    disk.fail(Fault { op: disk::Op::Sync, after: 0, error, persistence });
    assert!(matches!(engine.checkpoint(), Err(Error::Poisoned { .. })));
    let mut payload = Payload::default();
    payload.push(put);
    let refused = engine.commit(&mut payload, &[rows], CommitMode::Async);
    assert!(matches!(refused, Err(Error::Poisoned { .. })), "{refused:?}");
}

#[test]
fn a_checkpoint_is_made_if_pages_have_changed() {
    let disk = SimDisk::new();
    let (engine, rows) = engine(&disk);
    // Nothing has been written yet: there is no log either.
    let before = engine.watermarks().checkpoint;
    engine.checkpoint_if_changed().unwrap();
    assert_eq!(engine.checkpoint().unwrap(), before);
    assert_eq!((made(&engine), engine.watermarks().checkpoint), (0, before));
    assert!(engine.last_checkpoint().is_none());

    let put = |key| Op::Put { keyspace: rows.id, key, value: b"value" };
    let lsn = commit(&engine, &rows, put(b"a"));
    engine.checkpoint_if_changed().unwrap();
    assert_eq!(made(&engine), 1);
    assert!(engine.watermarks().checkpoint >= lsn);
    engine.checkpoint_if_changed().unwrap();
    assert_eq!(made(&engine), 1);
    // A commit that changes no page only advances `visible`.
    let lsn = commit(&engine, &rows, Op::Delete { keyspace: rows.id, key: b"absent" });
    assert!(engine.cache().visible() == lsn && engine.watermarks().checkpoint < lsn);
    engine.checkpoint_if_changed().unwrap();
    assert_eq!(made(&engine), 1);
    commit(&engine, &rows, put(b"b"));
    engine.checkpoint_if_changed().unwrap();
    assert_eq!(made(&engine), 2);
    engine.close().unwrap();
}

/// Too little is written for the length of the log to cause one.
#[test]
fn a_checkpoint_is_made_after_its_interval() {
    let interval = Duration::from_millis(20);
    let options = Options { background: true, ..options() }.checkpoint_interval(interval);
    let store = options.open_on(on(&SimDisk::new())).unwrap();
    let rows = store.keyspace("rows").unwrap();
    for key in ["a", "b"] {
        let lsn = rows.put(key, "value").unwrap().lsn();
        let begun = Instant::now();
        while store.watermarks().checkpoint < lsn {
            assert!(begun.elapsed() < Duration::from_secs(60), "no checkpoint after {key}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    assert!(store.stats().checkpoints >= 2);
}

/// A check holds up checkpoints. Commits go on until the log has reached its limit.
#[test]
fn commits_wait_for_a_check_once_the_log_has_four_times_the_checkpoint_limit() {
    const LIMIT: u64 = 64 << 10;
    const RECORD: u64 = 4 << 10;
    let options = Options { background: true, ..options() }.checkpoint_log_bytes(LIMIT);
    let store = options.cache_bytes(16 << 20).open_on(on(&SimDisk::new())).unwrap();
    let rows = store.keyspace("rows").unwrap();
    rows.put("first", "value").unwrap();
    store.checkpoint().unwrap();
    let (is_held, most) = (AtomicBool::new(false), AtomicU64::new(0));
    let log = || {
        let marks = store.watermarks();
        marks.appended.get() - marks.checkpoint.get()
    };
    std::thread::scope(|scope| {
        let write = || {
            for key in 0..1000_u32 {
                rows.put_with(key.to_be_bytes(), [7; RECORD as usize], CommitMode::Async).unwrap();
                let log = log();
                if is_held.load(Ordering::SeqCst) {
                    most.fetch_max(log, Ordering::SeqCst);
                }
            }
        };
        // Called while the check holds checkpoints up.
        let counts = |_: &str| {
            is_held.store(true, Ordering::SeqCst);
            let writer = scope.spawn(write);
            let begun = Instant::now();
            while log() <= 4 * LIMIT {
                assert!(begun.elapsed() < Duration::from_secs(60), "commits do not go on");
                std::thread::sleep(Duration::from_millis(1));
            }
            // A writer that does not wait would append more in this time.
            std::thread::sleep(Duration::from_millis(50));
            assert!(!writer.is_finished());
            is_held.store(false, Ordering::SeqCst);
            true
        };
        assert!(
            store.verify_on(&OperationProgress::default(), &counts).unwrap().unwrap().is_clean()
        );
    });
    let most = most.load(Ordering::SeqCst);
    assert!((4 * LIMIT..4 * LIMIT + 2 * RECORD).contains(&most), "{most} bytes");
    store.close().unwrap();
}

/// Each step is a commit of limited size, so that it holds up other commits only briefly.
#[test]
fn a_checkpoint_commits_many_counts_in_steps() {
    let store = options().cache_bytes(16 << 20).open_on(on(&SimDisk::new())).unwrap();
    let mut batch = WriteBatch::new();
    for n in 0..1100 {
        batch.put(&store.keyspace(&format!("rows {n}")).unwrap(), "key", "value");
    }
    store.write(batch).unwrap();
    let commits = || store.stats().async_commits;
    let before = commits();
    store.checkpoint().unwrap();
    assert_eq!(commits() - before, 3, "two of 512, and the rest");
    store.checkpoint().unwrap();
    assert_eq!(commits() - before, 3, "no count has changed since");
    assert!(store.verify().unwrap().is_clean());
    store.close().unwrap();
}

#[test]
fn a_checkpoint_reports_its_pages_and_bytes() {
    let store = options().open_on(on(&SimDisk::new())).unwrap();
    let rows = store.keyspace("rows").unwrap();
    for n in 0..100 {
        rows.put_with(format!("{n:04}"), [7; 500], CommitMode::Async).unwrap();
    }
    store.checkpoint().unwrap();
    rows.put_with("0000", [8; 500], CommitMode::Async).unwrap();
    let before = store.stats();
    assert!(before.data_bytes_written > 0);
    let lsn = store.checkpoint().unwrap();
    let after = store.stats();
    let told = after.last_checkpoint.unwrap();
    assert_eq!((told.lsn, after.watermarks.checkpoint, after.checkpoints), (lsn, lsn, 2));
    assert_eq!(told.pages, 1, "one leaf changed, and no count");
    assert_eq!(told.bytes, after.data_bytes_written - before.data_bytes_written);
    assert!(told.bytes >= 3 * 4096, "the leaf, and a page of each map");
    // Another checkpoint finds neither a changed page nor a changed count: it logs nothing.
    assert_eq!(store.checkpoint().unwrap(), lsn);
    assert_eq!(store.watermarks().appended, lsn);
    assert_eq!(store.stats().last_checkpoint.unwrap().pages, 0);
}

#[test]
fn a_checkpoint_has_the_counts_of_its_moment() {
    let disk = SimDisk::new();
    let store = options().open_on(on(&disk)).unwrap();
    let rows = store.keyspace("rows").unwrap();
    let gone = store.keyspace("gone").unwrap();
    for n in 0..50 {
        rows.put_with([n], "value", CommitMode::Async).unwrap();
        gone.put_with([n], "value", CommitMode::Async).unwrap();
    }
    store.drop_keyspace("gone").unwrap();
    let lsn = store.checkpoint().unwrap();
    assert_eq!(store.watermarks().durable, lsn);
    let store = options().open_on(on(&disk.fork(Keep::Nothing))).unwrap();
    assert_eq!(store.stats().recovery.records_replayed, 0);
    assert_eq!(store.keyspace("rows").unwrap().len().unwrap(), 50);
    assert!(store.verify().unwrap().is_clean());
}

#[test]
fn freed_pages_are_removed_once_no_snapshot_can_reach_them() {
    let disk = SimDisk::new();
    let (engine, rows) = engine(&disk);
    for n in 0..100u32 {
        let (key, value) = (n.to_be_bytes(), [7; 500]);
        commit(&engine, &rows, Op::Put { keyspace: rows.id, key: &key, value: &value });
    }
    engine.checkpoint().unwrap();
    let snapshot = engine.cache().snapshot();
    for n in 0..100u32 {
        commit(&engine, &rows, Op::Delete { keyspace: rows.id, key: &n.to_be_bytes() });
    }
    engine.checkpoint().unwrap();
    let waiting = engine.hold_checkpoints().1.len();
    assert!(waiting > 5, "{waiting} pages wait for the snapshot");
    drop(snapshot);
    engine.checkpoint().unwrap();
    assert!(engine.hold_checkpoints().1.is_empty());
    engine.close().unwrap();
}

#[test]
fn a_store_that_takes_no_commits_takes_nothing_apart() {
    let disk = SimDisk::new();
    let (engine, rows) = engine(&disk);
    assert!(!engine.trim_dropped().unwrap(), "nothing before the first write");
    commit(&engine, &rows, Op::Delete { keyspace: rows.id, key: b"absent" });
    assert!(!engine.trim_dropped().unwrap(), "nothing was dropped");
    commit(&engine, &rows, Op::Drop { keyspace: rows.id });
    disk.fail_sync(0);
    engine.log().unwrap().flush().unwrap_err();
    assert!(!engine.trim_dropped().unwrap(), "poisoned");
    engine.close().unwrap_err();
}

/// A long checkpoint flushes after each 32 MiB, so that other writes queue behind no more than that.
#[test]
fn a_long_checkpoint_flushes_every_32_mib() {
    let recorder = Recorder::new(Arc::new(SimDisk::new()));
    let options = options().cache_bytes(256 << 20).page_bytes(32768).segment_bytes(64 << 20);
    let store: Store = options.open_on(recorder.disk()).unwrap();
    let rows = store.keyspace("rows").unwrap();
    let value = [7; 8000];
    let flushes = |mib: u32| {
        for n in 0..mib * (1 << 20) / 8000 {
            rows.put_with(n.to_be_bytes(), value, CommitMode::Async).unwrap();
        }
        store.flush().unwrap();
        recorder.take();
        store.checkpoint().unwrap();
        let written = store.stats().last_checkpoint.unwrap().bytes >> 20;
        assert!(written >= u64::from(mib), "{written} MiB");
        recorder.take().lines().filter(|line| line.trim().starts_with("sync data")).count()
    };
    let short = flushes(8);
    assert_eq!(flushes(40), short + 1);
}
