//! Damaged, foreign, missing and forbidden input: each gets its own error, and no acknowledged commit is
//! lost.

mod support;

use std::io::{BufRead, BufReader};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use support::{Contents, assert_sound, named_file, open, options, read_all};
use syncline::disk::{Disk, Fault, FaultError, Keep, Op, Persistence, SimDisk};
use syncline::{CommitMode, Error, Keyspace, Options, Result, Status, Store, WriteBatch};

/// Fills a store with data of every kind. Returns its contents after each of the last commits.
fn fill(store: &Store) -> Vec<Contents> {
    let (a, b) = (store.keyspace("a").unwrap(), store.keyspace("b").unwrap());
    for n in 0..300u32 {
        a.put_with(n.to_be_bytes(), vec![n as u8; n as usize], CommitMode::Async).unwrap();
    }
    a.put("long", vec![1; 30_000]).unwrap();
    store.checkpoint().unwrap();
    let mut after = Vec::new();
    for n in 0..60u32 {
        let mut batch = WriteBatch::new();
        batch.put(&b, n.to_be_bytes(), vec![n as u8; 1800]);
        batch.delete(&a, (n * 5).to_be_bytes());
        store.write(batch).unwrap();
        after.push(read_all(store).unwrap());
    }
    after
}

fn closed() -> (SimDisk, Contents) {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    let contents = fill(&store).pop().unwrap();
    store.close().unwrap();
    (disk, contents)
}

/// A store after a power loss, and its possible contents: the last commit may be missing only if its
/// own record is damaged.
fn crashed() -> (SimDisk, Vec<Contents>) {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    let mut after = fill(&store);
    (disk.crash(Keep::Nothing), after.split_off(after.len() - 2))
}

fn assert_contents(disk: &SimDisk, expected: &Contents) {
    let store = open(disk).unwrap();
    assert!(read_all(&store).unwrap() == *expected);
    assert_sound(&store);
    store.keyspace("a").unwrap().put("more", "1").unwrap();
}

/// The segments, oldest first.
fn segments(disk: &SimDisk) -> Vec<String> {
    disk.list().unwrap().into_iter().filter(|name| name.starts_with("log-")).collect()
}

/// A segment full of records that recovery needs, with another one after it.
fn needed(disk: &SimDisk) -> String {
    let is_used = |name: &String| disk.read_file(name)[4096..].iter().any(|byte| *byte != 0);
    let used: Vec<String> = segments(disk).into_iter().filter(is_used).collect();
    used[used.len() - 2].clone()
}

fn open_and_read(disk: &SimDisk) -> Result<Contents> {
    read_all(&open(disk)?)
}

/// Asserts that the damage is refused with an error that names `file`, and that everything is there once
/// it is undone.
fn assert_refused(disk: &SimDisk, file: &str, expected: &Contents, damage: impl Fn(&SimDisk)) {
    let before = disk.read_file(file);
    damage(disk);
    let error = open_and_read(disk).expect_err("damage is refused");
    let named = named_file(&error).unwrap_or_else(|| panic!("{error:?} names no file"));
    assert!(named.ends_with(file), "{error} instead of {file}");
    let message = error.to_string();
    match &error {
        Error::Corrupt { offset, expected, found, .. } => {
            assert!(message.contains(&offset.to_string()), "{message}");
            assert!(!expected.is_empty() && !found.is_empty(), "{message}");
        }
        Error::Missing { expected, .. } => assert!(!expected.is_empty(), "{message}"),
        Error::Version { .. } | Error::WrongStore { .. } => {}
        _ => panic!("{error:?}"),
    }
    disk.write_file(file, &before);
    assert_contents(disk, expected);
}

// --- every file, every few bytes ---

/// Flips a bit in every few bytes of every file: each gives right data, or an error that names a file.
fn sweep(disk: &SimDisk, allowed: &[Contents], step: usize) {
    let (mut refused, mut right) = (0, 0);
    for file in disk.list().unwrap() {
        let bytes = disk.read_file(&file);
        // In long runs of zeros a few bytes are enough.
        let is_zero = |at: usize| bytes[at & !511..].iter().take(512).all(|byte| *byte == 0);
        let mut at = 0;
        while at < bytes.len() {
            let bit = (at / step % 8) as u8;
            let damaged = disk.fork(Keep::Everything);
            damaged.flip(&file, at as u64, bit);
            let what = format!("bit {bit} at offset {at} of {file}");
            let result = catch_unwind(AssertUnwindSafe(|| open_and_read(&damaged)));
            match result.unwrap_or_else(|_| panic!("panicked: {what}")) {
                Ok(contents) => {
                    assert!(allowed.contains(&contents), "wrong data: {what}");
                    right += 1;
                }
                Err(error) => {
                    assert!(named_file(&error).is_some(), "{what}: {error:?}");
                    refused += 1;
                    if refused % 16 == 0 {
                        damaged.flip(&file, at as u64, bit);
                        let contents = open_and_read(&damaged);
                        let contents = contents.unwrap_or_else(|e| panic!("undone: {what}: {e}"));
                        assert!(allowed.last() == Some(&contents), "undone: {what}");
                    }
                }
            }
            at += if is_zero(at) { 8209 } else { step };
        }
    }
    println!("{refused} refused, {right} right");
    assert!(refused > 100 && right > 10);
}

#[test]
fn a_flipped_bit_in_a_closed_store_is_detected_or_harmless() {
    let (disk, contents) = closed();
    sweep(&disk, &[contents], 131);
}

#[test]
fn a_flipped_bit_in_a_crashed_store_is_detected_or_harmless() {
    let (disk, allowed) = crashed();
    sweep(&disk, &allowed, 257);
}

// --- the data file ---

#[test]
fn a_data_file_of_any_length_is_refused_or_right() {
    let (disk, contents) = closed();
    let bytes = disk.read_file("data").len();
    for len in [0, 1, 4095, 4096, 8191, 8192, 8193, 12_288, 40_000, bytes / 2] {
        let damaged = disk.fork(Keep::Everything);
        assert_refused(&damaged, "data", &contents, |disk| disk.truncate("data", len as u64));
    }
    // Blocks behind the last one in use may be cut off.
    for len in [bytes - 4096, bytes - 1] {
        let damaged = disk.fork(Keep::Everything);
        damaged.truncate("data", len as u64);
        match open_and_read(&damaged) {
            Ok(found) => assert!(found == contents),
            Err(error) => assert!(named_file(&error).unwrap().ends_with("data")),
        }
    }
}

#[test]
fn both_superblocks_gone_are_refused_and_one_is_enough() {
    let (disk, contents) = closed();
    for slot in [0, 4096] {
        let damaged = disk.fork(Keep::Everything);
        damaged.flip("data", slot + 60, 3);
        assert_eq!(open_and_read(&damaged).unwrap(), contents);
    }
    assert_refused(&disk, "data", &contents, |disk| {
        disk.flip("data", 60, 3);
        disk.flip("data", 4096 + 60, 3);
    });
}

#[test]
fn a_missing_data_file_is_not_created_again() {
    for (disk, contents) in [closed(), crashed_whole()] {
        let bytes = disk.read_file("data");
        disk.remove_file("data");
        let error = open(&disk).unwrap_err();
        assert!(matches!(&error, Error::Missing { file, .. } if file.ends_with("data")), "{error}");
        disk.write_file("data", &bytes);
        assert_contents(&disk, &contents);
    }
}

fn crashed_whole() -> (SimDisk, Contents) {
    let (disk, mut allowed) = crashed();
    (disk, allowed.pop().unwrap())
}

#[test]
fn newer_formats_are_distinguished_from_damage() {
    let (disk, contents) = crashed_whole();
    assert_refused(&disk.fork(Keep::Everything), "data", &contents, |disk| {
        let mut bytes = disk.read_file("data");
        for slot in [0, 4096] {
            bytes[slot + 12..slot + 16].copy_from_slice(&9u32.to_le_bytes());
            let crc = crc(&[&bytes[slot..slot + 8], &bytes[slot + 12..slot + 4096]]);
            bytes[slot + 8..slot + 12].copy_from_slice(&crc);
        }
        disk.write_file("data", &bytes);
        let error = open(disk).unwrap_err();
        assert!(matches!(error, Error::Version { found: 9, supported: 2, .. }), "{error}");
    });
    let segment = needed(&disk);
    assert_refused(&disk, &segment, &contents, |disk| {
        let mut bytes = disk.read_file(&segment);
        bytes[8..12].copy_from_slice(&9u32.to_le_bytes());
        let crc = crc(&[&bytes[..12], &bytes[16..4096]]);
        bytes[12..16].copy_from_slice(&crc);
        disk.write_file(&segment, &bytes);
        let error = open(disk).unwrap_err();
        assert!(matches!(error, Error::Version { found: 9, supported: 2, .. }), "{error}");
    });
}

fn crc(parts: &[&[u8]]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().to_le_bytes()
}

// --- the log ---

#[test]
fn a_damaged_log_is_refused() {
    let (disk, contents) = crashed_whole();
    let fork = || disk.fork(Keep::Everything);
    let segment = needed(&disk);
    let used = disk.read_file(&segment).iter().rposition(|byte| *byte != 0).unwrap() as u64;
    // In the header, in the first record, in the middle.
    for at in [0, 20, 45, 100, 4096, 4100, 4200, used / 2] {
        assert_refused(&fork(), &segment, &contents, |disk| disk.flip(&segment, at, 1));
    }
    for len in [0, 1, 4096, 4097, used / 2] {
        assert_refused(&fork(), &segment, &contents, |disk| disk.truncate(&segment, len));
    }
    let before = disk.read_file(&segment);
    let damaged = fork();
    damaged.remove_file(&segment);
    let error = open(&damaged).unwrap_err();
    assert!(named_file(&error).unwrap().ends_with(&segment), "{error}");
    assert!(matches!(error, Error::Missing { .. }), "{error}");
    damaged.write_file(&segment, &before);
    assert_contents(&damaged, &contents);
}

#[test]
fn a_damaged_torn_tail_is_cut() {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    let keyspace = store.keyspace("a").unwrap();
    keyspace.put("sync", "1").unwrap();
    let durable = store.watermarks().durable;
    let receipt = keyspace.put_with("async", vec![9; 500], CommitMode::Async).unwrap();
    let disk = disk.crash(Keep::Everything);
    let segment = segments(&disk).remove((receipt.lsn().get() / (64 << 10)) as usize - 1);
    let at = receipt.lsn().get() % (64 << 10) - 100;
    disk.flip(&segment, at, 0);
    let store = open(&disk).unwrap();
    let keyspace = store.keyspace("a").unwrap();
    assert_eq!(keyspace.get("sync").unwrap().unwrap(), b"1");
    assert_eq!(keyspace.get("async").unwrap(), None);
    let recovery = store.stats().recovery;
    assert!(recovery.recovered_to >= durable && recovery.bytes_cut > 0, "{recovery:?}");
    assert_eq!(store.status(&receipt.token()).unwrap(), Status::Lost);
}

#[test]
fn files_of_another_store_are_refused() {
    let (disk, contents) = crashed_whole();
    let other = SimDisk::new();
    let store = options().store_id([8; 16]).open_on(Arc::new(other.clone())).unwrap();
    fill(&store);
    let other = other.crash(Keep::Nothing);

    let fork = disk.fork(Keep::Everything);
    let segment = needed(&disk);
    let theirs = other.read_file(&needed(&other));
    assert_refused(&fork, &segment, &contents, |disk| {
        disk.write_file(&segment, &theirs);
        let error = open(disk).unwrap_err();
        assert!(matches!(error, Error::WrongStore { .. }), "{error}");
    });
    // Their data file with our log: the data file determines the store, and the log is refused.
    let fork = disk.fork(Keep::Everything);
    fork.write_file("data", &other.read_file("data"));
    let error = open(&fork).unwrap_err();
    assert!(matches!(error, Error::WrongStore { .. }), "{error}");
    fork.write_file("data", &disk.read_file("data"));
    assert_contents(&fork, &contents);
}

// --- the directory ---

#[test]
fn a_store_is_opened_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }) && error.is_retryable(), "{error}");
    drop(store);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "holder", "--nocapture"])
        .env("SYNCLINE_HOLD", dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "held\n");
    assert!(matches!(Store::open(dir.path()), Err(Error::Locked { .. })));
    child.kill().unwrap();
    child.wait().unwrap();
    Store::open(dir.path()).unwrap();
}

/// The child process of the test above; as a test it does nothing.
#[test]
fn holder() {
    let Some(dir) = std::env::var_os("SYNCLINE_HOLD") else { return };
    let _store = Store::open(Path::new(&dir)).unwrap();
    eprintln!("held");
    let _ = std::io::stdin().lines().next();
}

#[test]
fn a_path_without_a_store_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let not_a_store = |path: &Path, options: Options| {
        let error = options.open(path).unwrap_err();
        assert!(matches!(error, Error::NotAStore { .. }), "{error}");
    };
    not_a_store(&file, Options::new());
    not_a_store(dir.path(), Options::new());
    assert!(std::fs::read_dir(dir.path()).unwrap().all(|e| e.unwrap().file_name() != "data"));
    let none = dir.path().join("none");
    not_a_store(&none, Options::new().must_exist());
    assert!(!none.exists());
    std::fs::create_dir(&none).unwrap();
    not_a_store(&none, Options::new().must_exist());
    Store::open(&none).unwrap().close().unwrap();
    Options::new().must_exist().open(&none).unwrap();
}

#[cfg(unix)]
#[test]
fn a_data_file_that_cannot_be_written_is_reported() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    Store::open(dir.path()).unwrap().keyspace("k").unwrap().put("a", "1").unwrap();
    let allow = |name: &str, mode| {
        std::fs::set_permissions(dir.path().join(name), PermissionsExt::from_mode(mode)).unwrap();
    };
    allow("data", 0o444);
    if std::fs::OpenOptions::new().write(true).open(dir.path().join("data")).is_ok() {
        println!("skipped: permissions do not stop this user");
        return;
    }
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, Error::ReadOnly { .. }), "{error}");
    allow("data", 0o644);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.keyspace("k").unwrap().get("a").unwrap().unwrap(), b"1");
}

// --- the device ---

/// Commits until the disk is full, and returns how many were acknowledged.
fn fill_up(keyspace: &Keyspace, from: u32) -> u32 {
    for n in from.. {
        let mode = if n % 10 == 0 { CommitMode::Sync } else { CommitMode::Async };
        match keyspace.put_with(n.to_be_bytes(), [n as u8; 1000], mode) {
            Ok(_) => {}
            Err(Error::DiskFull { file, .. }) => {
                assert!(!file.is_empty());
                return n;
            }
            Err(error) => panic!("commit {n}: {error}: {error:?}"),
        }
    }
    unreachable!()
}

fn assert_filled(keyspace: &Keyspace, count: u32) {
    assert_eq!(keyspace.len().unwrap(), u64::from(count));
    for n in 0..count {
        assert_eq!(keyspace.get(n.to_be_bytes()).unwrap().unwrap(), [n as u8; 1000]);
    }
    assert_eq!(keyspace.get(count.to_be_bytes()).unwrap(), None, "refused, hence absent");
}

#[test]
fn a_full_disk_loses_nothing_and_heals() {
    let disk = SimDisk::new();
    // Large enough that the log grows rather than being recycled.
    let store = options().checkpoint_log_bytes(64 << 20);
    let store = store.open_on(Arc::new(disk.clone())).unwrap();
    let keyspace = store.keyspace("k").unwrap();
    let mut count = 0;
    for _ in 0..3 {
        disk.set_capacity(Some(disk.used_bytes() + (200 << 10)));
        count = fill_up(&keyspace, count);
        assert_filled(&keyspace, count);
        disk.set_capacity(Some(disk.used_bytes()));
        match store.checkpoint() {
            Ok(_) => {}
            Err(error) => assert!(matches!(error, Error::DiskFull { .. }), "{error}"),
        }
        assert_filled(&keyspace, count);
        disk.set_capacity(None);
        keyspace.put(count.to_be_bytes(), [count as u8; 1000]).unwrap();
        count += 1;
        assert_sound(&store);
    }

    // During recovery: refused, and healed.
    let left = disk.crash(Keep::Nothing);
    drop((keyspace, store));
    left.set_capacity(Some(left.used_bytes()));
    // With a cache that holds everything, so that only disk space is short.
    let open = |disk: &SimDisk| options().cache_bytes(8 << 20).open_on(Arc::new(disk.clone()));
    match open(&left) {
        Ok(store) => assert_filled(&store.keyspace("k").unwrap(), count),
        Err(error) => assert!(matches!(error, Error::DiskFull { .. }), "{error}"),
    }
    left.set_capacity(None);
    let store = open(&left).unwrap();
    let keyspace = store.keyspace("k").unwrap();
    assert_filled(&keyspace, count);

    // At close: reported, and the next open recovers.
    for n in count..count + 20 {
        keyspace.put_with(n.to_be_bytes(), [n as u8; 1000], CommitMode::Async).unwrap();
    }
    keyspace.put("long", vec![1; 200_000]).unwrap();
    keyspace.delete("long").unwrap();
    left.set_capacity(Some(0));
    let closed = store.close();
    drop(keyspace);
    left.set_capacity(None);
    let store = open(&left).unwrap();
    assert_eq!(store.stats().recovery.was_clean, closed.is_ok(), "{closed:?}");
    assert_filled(&store.keyspace("k").unwrap(), count + 20);
    assert_sound(&store);
}

#[test]
fn a_failed_flush_is_final_until_the_store_is_reopened() {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    let keyspace = store.keyspace("k").unwrap();
    let durable = keyspace.put("durable", "1").unwrap();
    let pending = keyspace.put_with("pending", "2", CommitMode::Async).unwrap();
    disk.fail_sync(0);
    assert!(matches!(keyspace.put("failed", "3"), Err(Error::Poisoned { .. })));
    for _ in 0..2 {
        assert!(matches!(keyspace.put("x", "4"), Err(Error::Poisoned { .. })));
        let result = keyspace.put_with("x", "4", CommitMode::Async);
        assert!(matches!(result, Err(Error::Poisoned { .. })));
        assert!(matches!(store.flush(), Err(Error::Poisoned { .. })));
        assert!(matches!(store.checkpoint(), Err(Error::Poisoned { .. })));
        assert!(matches!(store.create_keyspace("y"), Err(Error::Poisoned { .. })));
        assert!(matches!(pending.wait(), Err(Error::Poisoned { .. })));
        assert!(!pending.is_durable() && durable.is_durable());
        assert!(matches!(store.status(&pending.token()), Err(Error::Poisoned { .. })));
        assert_eq!(store.status(&durable.token()).unwrap(), Status::Durable);
        assert_eq!(keyspace.get("durable").unwrap().unwrap(), b"1");
        assert_eq!(keyspace.get("pending").unwrap().unwrap(), b"2");
        assert_eq!(keyspace.get("x").unwrap(), None);
    }
    assert!(matches!(store.close(), Err(Error::Poisoned { .. })));
    drop(keyspace);

    let after = open(&disk.fork(Keep::Everything)).unwrap();
    let keyspace = after.keyspace("k").unwrap();
    assert_eq!(keyspace.get("durable").unwrap().unwrap(), b"1");
    let is_there = keyspace.get("pending").unwrap().is_some();
    let status = after.status(&pending.token()).unwrap();
    assert_eq!(status, if is_there { Status::Durable } else { Status::Lost });
    keyspace.put("more", "5").unwrap();
    assert_sound(&after);
    // Without the cache, the commit that was not durable may be lost, and the status says so.
    let lost = open(&disk.crash(Keep::Nothing)).unwrap();
    assert_eq!(lost.status(&durable.token()).unwrap(), Status::Durable);
    let is_there = lost.keyspace("k").unwrap().get("pending").unwrap().is_some();
    let status = lost.status(&pending.token()).unwrap();
    assert_eq!(status, if is_there { Status::Durable } else { Status::Lost });
}

// --- arguments ---

#[test]
fn keys_values_and_names_have_limits() {
    let disk = SimDisk::new();
    let store = options().max_value_bytes(10_000).open_on(Arc::new(disk)).unwrap();
    let keyspace = store.keyspace("k").unwrap();
    for len in [0, 1, 511, 512] {
        keyspace.put(vec![7; len], vec![8; len]).unwrap();
        assert_eq!(keyspace.get(vec![7; len]).unwrap().unwrap(), vec![8; len]);
    }
    keyspace.put("v", vec![1; 10_000]).unwrap();
    let before = store.watermarks();
    let (key, value) = (vec![7; 513], vec![8; 10_001]);
    assert!(matches!(keyspace.put(&key, ""), Err(Error::KeyTooLong { len: 513, max: 512 })));
    assert!(matches!(keyspace.delete(&key), Err(Error::KeyTooLong { len: 513, max: 512 })));
    let error = keyspace.put("x", &value).unwrap_err();
    assert!(matches!(error, Error::ValueTooLong { len: 10_001, max: 10_000 }), "{error}");
    let mut batch = WriteBatch::new();
    batch.put(&keyspace, "x", "1");
    let mut with_key = batch.clone();
    with_key.delete(&keyspace, &key);
    assert!(matches!(store.write(with_key), Err(Error::KeyTooLong { .. })));
    batch.put(&keyspace, "y", &value);
    assert!(matches!(store.write(batch), Err(Error::ValueTooLong { .. })));
    assert_eq!(keyspace.get("x").unwrap(), None);
    assert_eq!(keyspace.get(&key).unwrap(), None, "a key too long to exist is absent");
    assert_eq!(store.watermarks(), before, "nothing was changed");

    for name in ["", "a\nb", "\0", &"x".repeat(256)] {
        assert!(matches!(store.keyspace(name), Err(Error::InvalidName { .. })), "{name:?}");
        assert!(matches!(store.open_keyspace(name), Err(Error::InvalidName { .. })));
        assert!(matches!(store.create_keyspace(name), Err(Error::InvalidName { .. })));
    }
    for name in ["é/..", " ", &"x".repeat(255)] {
        store.keyspace(name).unwrap().put("a", name).unwrap();
    }
    assert_eq!(store.keyspaces().len(), 4);
}

#[test]
fn keyspaces_of_other_stores_are_refused() {
    let (one, two) = (open(&SimDisk::new()).unwrap(), open(&SimDisk::new()).unwrap());
    let (ours, theirs) = (one.keyspace("k").unwrap(), two.keyspace("k").unwrap());
    let mut batch = WriteBatch::new();
    batch.put(&ours, "a", "1");
    batch.put(&theirs, "a", "1");
    assert!(matches!(one.write(batch), Err(Error::ForeignKeyspace { .. })));
    assert!(ours.is_empty().unwrap() && theirs.is_empty().unwrap());
    let snapshot = one.snapshot().unwrap();
    assert!(matches!(snapshot.get(&theirs, "a"), Err(Error::ForeignKeyspace { .. })));
}

#[test]
fn invalid_options_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let none = dir.path().join("none");
    for (name, options) in [
        ("cache_bytes", Options::new().cache_bytes(1000)),
        ("page_bytes", Options::new().page_bytes(0)),
        ("page_bytes", Options::new().page_bytes(5000)),
        ("page_bytes", Options::new().page_bytes(65536)),
        ("segment_bytes", Options::new().segment_bytes(0)),
        ("segment_bytes", Options::new().segment_bytes(65537)),
        ("segment_bytes", Options::new().segment_bytes(1 << 40)),
        ("segment_bytes", Options::new().segment_bytes((1 << 31) + 4096)),
        ("max_unsynced_bytes", Options::new().max_unsynced_bytes(0)),
        ("checkpoint_log_bytes", Options::new().checkpoint_log_bytes(0)),
        ("max_value_bytes", Options::new().max_value_bytes(u64::MAX)),
    ] {
        let error = options.open(&none).unwrap_err();
        assert!(matches!(error, Error::InvalidOption { option, .. } if option == name), "{error}");
    }
}

#[test]
fn tokens_that_this_store_never_made_are_refused() {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    let receipt = store.keyspace("k").unwrap().put("a", "1").unwrap();
    let token = receipt.token();
    let id = store.id();
    let (incarnation, lsn) = (receipt.incarnation().get(), receipt.lsn().get());
    for bad in [
        String::new(),
        "x".into(),
        token.to_uppercase() + "G",
        format!("{token}-1"),
        format!("{id}-{incarnation:x}-{:x}", lsn + (1 << 40)),
        format!("{id}-{incarnation:x}-{:x}", u64::MAX),
        format!("{id}-{incarnation:x}-1{:x}", u64::MAX),
        format!("{id}-{:x}-{lsn:x}", incarnation + 1),
        format!("{id}-{:x}-{lsn:x}", u32::MAX),
        format!("{id}-0-{lsn:x}"),
        format!("{}-{incarnation:x}-{lsn:x}", "0".repeat(32)),
    ] {
        let result = store.status(&bad);
        let is_refused =
            matches!(result, Err(Error::InvalidToken { .. } | Error::UnknownLife { .. }));
        assert!(is_refused, "{bad}: {result:?}");
    }
    assert_eq!(store.status(&token).unwrap(), Status::Durable);
}

/// A failed read is not damage: the check fails with the device's error.
#[test]
fn verify_distinguishes_unreadable_from_damaged() {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    fill(&store);
    store.checkpoint().unwrap();
    let mut refused = 0;
    for after in 0.. {
        let (op, error, persistence) = (Op::Read, FaultError::Io, Persistence::Once);
        disk.fail(Fault { op, after, error, persistence });
        let before = disk.faults_happened();
        let found = store.verify();
        if disk.faults_happened() == before {
            break;
        }
        refused += 1;
        assert!(matches!(found, Err(Error::Io { .. })), "read {after}: {found:?}");
    }
    assert!(refused > 20, "{refused} reads");
    disk.clear_faults();
    assert!(store.verify().unwrap().is_clean());
}
