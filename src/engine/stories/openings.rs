//! Tests of opening: what recovery reports, and how directories that are no store are refused.

use std::sync::{Arc, Mutex};

use crate::engine::commit::{Engine, KeyspaceState, Op, Payload};
use crate::engine::disk::{Disk, Fault, FaultError, Keep, Op as Call, Persistence, SimDisk};
use crate::engine::log::segment_number;
use crate::engine::recovery::open;
use crate::engine::space::DATA_FILE;
use crate::{CommitMode, Error, Incarnation, Lsn, Options, Status, Store};

const S: u64 = 64 << 10;

fn options() -> Options {
    let options = Options::new().without_threads().store_id([7; 16]);
    options.page_bytes(4096).segment_bytes(S).cache_bytes(1 << 20)
}

fn on(disk: &SimDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

fn fill(store: &Store, from: u64, until: u64) -> Lsn {
    let rows = store.keyspace("rows").unwrap();
    let put = |n| rows.put_with(format!("{n:06}"), [n as u8; 300], CommitMode::Async).unwrap();
    (from..until).fold(Lsn::ZERO, |_, n| put(n).lsn())
}

fn commit(engine: &Engine, keyspace: &Arc<KeyspaceState>, op: Op<'_>) {
    let mut payload = Payload::default();
    payload.push(op);
    engine.commit(&mut payload, std::slice::from_ref(keyspace), CommitMode::Async).unwrap();
}

/// A checkpoint amid a segment, and 400 commits of one operation after it; the process is killed.
fn killed() -> (SimDisk, Lsn, Lsn) {
    let disk = SimDisk::new();
    let store = options().open_on(on(&disk)).unwrap();
    fill(&store, 0, 1500);
    let checkpoint = store.checkpoint().unwrap();
    assert_ne!(checkpoint.get() % S, 0);
    let end = fill(&store, 1500, 1900);
    (disk.crash(Keep::Everything), checkpoint, end)
}

fn segments(disk: &SimDisk) -> Vec<u64> {
    on(disk).list().unwrap().iter().filter_map(|name| segment_number(name)).collect()
}

#[test]
fn a_data_file_that_its_log_has_outlived_is_refused() {
    let disk = SimDisk::new();
    let store = options().open_on(on(&disk)).unwrap();
    fill(&store, 0, 10);
    store.close().unwrap();
    let older = disk.read_file(DATA_FILE);
    for from in [10, 20] {
        let store = options().open_on(on(&disk)).unwrap();
        fill(&store, from, from + 10);
        store.close().unwrap();
    }
    let newest = disk.read_file(DATA_FILE);
    disk.write_file(DATA_FILE, &older);
    let error = options().open_on(on(&disk)).map(drop).unwrap_err();
    assert!(matches!(&error, Error::Corrupt { file, .. } if file.ends_with(DATA_FILE)), "{error}");
    disk.write_file(DATA_FILE, &newest);
    let store = options().open_on(on(&disk)).unwrap();
    assert_eq!(store.keyspace("rows").unwrap().len().unwrap(), 30, "the refusal lost nothing");
}

#[test]
fn recovery_reports_consistent_numbers() {
    let (disk, checkpoint, end) = killed();
    let numbers = segments(&disk);
    let first = checkpoint.get() / S;
    assert!(numbers.iter().any(|number| *number < first), "spares lie below");
    let after = numbers.iter().filter(|number| **number >= first).count() as u64;
    assert!(after > 2);

    let told = Arc::new(Mutex::new(Vec::new()));
    let teller = Arc::clone(&told);
    let options = options().on_recovery(move |progress| teller.lock().unwrap().push(progress));
    let store = options.open_on(on(&disk)).unwrap();
    let found = store.stats().recovery;
    assert!(!found.was_clean);
    assert_eq!((found.records_replayed, found.operations_replayed), (400, 400));
    assert_eq!((found.recovered_to, found.former), (end, Incarnation::new(1)));
    let bytes = end.get() - checkpoint.get();
    assert_eq!((found.bytes_replayed, found.bytes_cut), (bytes, 0));

    let told = told.lock().unwrap();
    let (last, replayed) = told.split_last().unwrap();
    assert_eq!((last.phase, last.done_bytes, last.total_bytes), ("checkpoint", bytes, bytes));
    // A group is 16 KiB of operations: each group is reported once.
    assert!((6..=12).contains(&replayed.len()), "{} groups", replayed.len());
    let total = after * S - checkpoint.get() % S;
    let mut done = 0;
    for step in replayed {
        assert_eq!((step.phase, step.total_bytes), ("replay", total));
        assert!(step.done_bytes > done && step.done_bytes <= total);
        done = step.done_bytes;
    }
    assert_eq!(done, bytes);

    let rows = store.keyspace("rows").unwrap();
    assert_eq!((rows.len().unwrap(), rows.iter().unwrap().count()), (1900, 1900));
    assert!(store.verify().unwrap().is_clean());
}

#[test]
fn recovery_with_threads_ends() {
    let (disk, _, end) = killed();
    let options = Options { background: true, ..options() };
    let store = options.open_on(on(&disk)).unwrap();
    assert_eq!(store.stats().recovery.recovered_to, end);
    assert_eq!(store.keyspace("rows").unwrap().len().unwrap(), 1900);
    store.close().unwrap();
}

#[test]
fn a_clean_store_has_nothing_to_recover() {
    let (disk, ..) = killed();
    options().open_on(on(&disk)).unwrap().close().unwrap();
    let tell = |_| panic!("a clean store has nothing to recover");
    let store = options().on_recovery(tell).open_on(on(&disk)).unwrap();
    let found = store.stats().recovery;
    assert!(found.was_clean);
    assert_eq!((found.records_replayed, found.bytes_replayed, found.bytes_cut), (0, 0, 0));
    assert_eq!(store.keyspace("rows").unwrap().len().unwrap(), 1900);
}

/// An incarnation that begins and is killed before its first checkpoint, after each kind of end.
#[test]
fn receipts_of_all_incarnations_have_a_status() {
    let mut disk = SimDisk::new();
    let mut kept = Vec::new();
    let mut lost = Vec::new();
    for life in 0..6 {
        let store = options().open_on(on(&disk)).unwrap();
        let rows = store.keyspace("rows").unwrap();
        kept.push(rows.put_with(format!("{life}"), "kept", CommitMode::Sync).unwrap().token());
        match life % 3 {
            0 => store.close().unwrap(),
            1 => {
                lost.push(rows.put_with("lost", "lost", CommitMode::Async).unwrap().token());
                disk = disk.crash(Keep::Nothing);
            }
            _ => disk = disk.crash(Keep::Everything),
        }
    }
    // A crash right after a recovery.
    let recovered = options().open_on(on(&disk)).unwrap();
    let disk = disk.crash(Keep::Nothing);
    drop(recovered);
    let store = options().open_on(on(&disk)).unwrap();
    for token in &kept {
        assert_eq!(store.status(token).unwrap(), Status::Durable, "{token}");
    }
    for token in &lost {
        assert_eq!(store.status(token).unwrap(), Status::Lost, "{token}");
    }
    assert_eq!(store.keyspace("rows").unwrap().len().unwrap(), 6);
    assert!(store.verify().unwrap().is_clean());
}

/// The first write of an incarnation may fail at any of its reads. The next one begins another incarnation.
#[test]
fn a_failed_first_write_forgets_no_former_incarnation() {
    let disk = SimDisk::new();
    let store = options().open_on(on(&disk)).unwrap();
    fill(&store, 0, 6000);
    let token = store.keyspace("rows").unwrap().put("kept", "kept").unwrap().token();
    store.close().unwrap();
    let mut failed = 0;
    for reads in 0.. {
        let disk = disk.fork(Keep::Everything);
        let store = options().open_on(on(&disk)).unwrap();
        let rows = store.open_keyspace("rows").unwrap().unwrap();
        assert_eq!(rows.iter().unwrap().count(), 6001); // the catalog is not in memory any more
        let mut is_over = false;
        for _ in 0..3 {
            let (op, error, persistence) = (Call::Read, FaultError::Io, Persistence::Forever);
            disk.fail(Fault { op, after: reads, error, persistence });
            is_over |= rows.put("key", "value").is_ok();
            disk.clear_faults();
        }
        rows.put("key", "value").unwrap();
        for disk in [disk.fork(Keep::Everything), disk.fork(Keep::Nothing)] {
            let store = options().open_on(on(&disk)).unwrap();
            assert_eq!(store.status(&token).unwrap(), Status::Durable, "after {reads} reads");
        }
        assert_eq!(store.status(&token).unwrap(), Status::Durable, "after {reads} reads");
        if is_over {
            break;
        }
        failed += 1;
    }
    assert!(failed > 2, "{failed} reads");
}

/// A store that is opened again after it was killed right at the end of its recovery.
#[test]
fn a_kill_right_after_recovery_changes_nothing() {
    let (disk, _, end) = killed();
    let opened = options().open_on(on(&disk)).unwrap();
    let again = disk.fork(Keep::Nothing);
    drop(opened);
    let store = options().open_on(on(&again)).unwrap();
    let found = store.stats().recovery;
    assert_eq!((found.records_replayed, found.bytes_replayed, found.bytes_cut), (0, 0, 0));
    assert!(found.recovered_to == end && !found.was_clean);
    assert_eq!(store.keyspace("rows").unwrap().len().unwrap(), 1900);
    assert!(store.verify().unwrap().is_clean());
}

#[test]
fn a_dropped_keyspace_is_taken_apart_by_a_later_life() {
    for is_closed in [true, false] {
        let disk = SimDisk::new();
        let store = options().open_on(on(&disk)).unwrap();
        fill(&store, 0, 6000);
        store.keyspace("other").unwrap().put("key", "value").unwrap();
        store.close().unwrap();
        // Dropped, and not yet taken apart.
        let (engine, _) = open(on(&disk), options()).unwrap();
        let engine = Arc::new(engine);
        let rows = engine.keyspace("rows").unwrap();
        commit(&engine, &rows, Op::Drop { keyspace: rows.id });
        if is_closed {
            engine.close().unwrap();
        } else {
            engine.checkpoint().unwrap();
        }
        let disk = disk.crash(Keep::Everything);

        let (engine, _) = open(on(&disk), options()).unwrap();
        let engine = Arc::new(engine);
        // Closing takes a small keyspace apart.
        let dropped = engine.lock_commits().trees.catalog.doomed.len();
        assert_eq!(dropped, usize::from(!is_closed));
        assert_eq!(engine.keyspaces(), ["other"]);
        let mut steps = 0;
        while engine.trim_dropped().unwrap() {
            steps += 1;
        }
        assert!(is_closed || steps > 1, "256 pages at a time: {steps}");
        assert!(engine.lock_commits().trees.catalog.doomed.is_empty());
        engine.close().unwrap();
        drop(engine);
        let store = options().open_on(on(&disk)).unwrap();
        assert!(store.verify().unwrap().is_clean());
        assert_eq!(store.keyspaces(), ["other"]);
    }
}

#[test]
fn a_later_life_takes_a_dropped_keyspace_apart_by_itself() {
    let disk = SimDisk::new();
    let store = options().open_on(on(&disk)).unwrap();
    fill(&store, 0, 6000);
    store.close().unwrap();
    let (engine, _) = open(on(&disk), options()).unwrap();
    let engine = Arc::new(engine);
    let rows = engine.keyspace("rows").unwrap();
    commit(&engine, &rows, Op::Drop { keyspace: rows.id });
    let disk = disk.crash(Keep::Everything);
    // Without a write, and without waiting for the time of a checkpoint.
    let interval = std::time::Duration::from_secs(3600);
    let store = Options { background: true, ..options() }.checkpoint_interval(interval);
    let store = store.open_on(on(&disk)).unwrap();
    let begun = std::time::Instant::now();
    while store.verify().unwrap().pages > 8 {
        assert!(begun.elapsed().as_secs() < 60, "the keyspace is not taken apart");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn dropping_many_keyspaces_takes_some_apart() {
    let disk = SimDisk::new();
    let store = options().open_on(on(&disk)).unwrap();
    for number in 0..40 {
        store.keyspace(&format!("rows {number}")).unwrap().put("key", "value").unwrap();
    }
    store.close().unwrap();
    let (engine, _) = open(on(&disk), options()).unwrap();
    let engine = Arc::new(engine);
    for number in 0..40 {
        let rows = engine.keyspace(&format!("rows {number}")).unwrap();
        commit(&engine, &rows, Op::Drop { keyspace: rows.id });
    }
    let dropped = || engine.lock_commits().trees.catalog.doomed.len();
    assert_eq!(dropped(), 40);
    engine.limit_dropped();
    assert_eq!(dropped(), 8);
}

#[test]
fn a_directory_that_is_no_store_is_left_alone() {
    let refused = |disk: &SimDisk, options: Options| match options.open_on(on(disk)) {
        Err(Error::NotAStore { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    let empty = SimDisk::new();
    assert_eq!(refused(&empty, options().must_exist()), "holds no store");
    let foreign = SimDisk::new();
    foreign.create("letter.txt", 10).unwrap();
    let expected = "holds \"letter.txt\", but no store; a new store needs an empty directory";
    assert_eq!(refused(&foreign, options()), expected);
    assert_eq!(refused(&foreign, options().must_exist()), expected);
    assert_eq!(foreign.list().unwrap(), ["letter.txt"]);
    // Neither the rest of an unfinished creation nor other files beside a store prevent an open.
    let begun = SimDisk::new();
    begun.create("data.new", 10).unwrap();
    options().open_on(on(&begun)).unwrap().close().unwrap();
    begun.create("letter.txt", 10).unwrap();
    options().must_exist().open_on(on(&begun)).unwrap().close().unwrap();
}

#[test]
fn a_log_without_its_data_file_is_no_new_store() {
    let (disk, ..) = killed();
    on(&disk).remove(DATA_FILE).unwrap();
    match options().open_on(on(&disk)) {
        Err(Error::Missing { file, .. }) => assert!(file.ends_with(DATA_FILE), "{file}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_closed_store_keeps_only_a_mark_of_its_log() {
    let disk = SimDisk::new();
    for life in 1..4 {
        let store = options().open_on(on(&disk)).unwrap();
        fill(&store, 0, 1500);
        assert!(segments(&disk).len() > 3);
        store.close().unwrap();
        assert_eq!(segments(&disk).len(), 1, "life {life}");
        let name = crate::engine::log::format::segment_name(segments(&disk)[0]);
        assert_eq!(disk.read_file(&name).len(), 16384);
    }
    let disk = disk.crash(Keep::Nothing);
    let store = options().open_on(on(&disk)).unwrap();
    assert!(store.stats().recovery.was_clean && store.verify().unwrap().is_clean());
    fill(&store, 1500, 1600);
    let disk = disk.crash(Keep::Everything);
    let store = options().open_on(on(&disk)).unwrap();
    assert_eq!(store.keyspace("rows").unwrap().len().unwrap(), 1600);
}

#[test]
fn a_crash_while_closing_loses_nothing_that_was_durable() {
    for seed in 0..400 {
        let disk = SimDisk::new();
        let store = options().open_on(on(&disk)).unwrap();
        fill(&store, 0, 400);
        store.flush().unwrap();
        disk.crash_after(seed / 3);
        let closed = store.close();
        let is_over = !disk.is_gone();
        assert!(closed.is_ok() || !is_over, "seed {seed}: {closed:?}");
        let keep = [Keep::Nothing, Keep::Everything, Keep::Seeded(seed)];
        let disk = disk.crash(keep[(seed % 3) as usize].clone());
        let store = options().open_on(on(&disk)).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        assert_eq!(store.keyspace("rows").unwrap().len().unwrap(), 400, "seed {seed}");
        assert!(store.verify().unwrap().is_clean(), "seed {seed}");
        if is_over {
            return;
        }
    }
    panic!("no close ended before its crash in 400 attempts");
}
