//! The disk space that a store takes, and its behaviour under a limit on file sizes.
#![cfg(target_os = "linux")]

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use syncline::disk::SimDisk;
use syncline::{CommitMode, Error, Options, Store, WriteBatch};

/// The allocated bytes of the files whose names begin with `name`.
fn bytes_on_disk(dir: &Path, name: &str) -> u64 {
    let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    let of_name = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(name));
    of_name.map(|entry| entry.metadata().unwrap().blocks() * 512).sum()
}

#[test]
fn a_store_of_one_row_takes_less_than_a_mebibyte() {
    let dir = tempfile::tempdir().unwrap();
    let check = |when: &str| {
        let bytes = bytes_on_disk(dir.path(), "");
        assert!(bytes <= 1 << 20, "{when}: {bytes} bytes");
    };
    let store = Store::open(dir.path()).unwrap();
    check("empty");
    store.keyspace("rows").unwrap().put("a", "1").unwrap();
    check("with a row");
    store.close().unwrap();
    check("closed");
    let store = Store::open(dir.path()).unwrap();
    store.keyspace("rows").unwrap().put("b", "2").unwrap();
    check("with another row");
}

/// Whether a store with `disk_bytes` of free disk takes a batch of `BATCH` bytes.
fn takes_a_batch(disk_bytes: u64) -> bool {
    let disk = SimDisk::new();
    let options = Options::new().cache_bytes(4 << 20).segment_bytes(1 << 20).without_threads();
    let store = options.open_on(Arc::new(disk.clone())).unwrap();
    let rows = store.keyspace("rows").unwrap();
    rows.put("first", "value").unwrap();
    disk.set_capacity(Some(disk.used_bytes() + disk_bytes));
    let mut batch = WriteBatch::new();
    for n in 0..BATCH / 1000 {
        batch.put(&rows, (n as u32).to_be_bytes(), [7; 996]);
    }
    match store.write(batch) {
        Ok(_) => true,
        Err(Error::DiskFull { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

const BATCH: u64 = 16_000_000;

#[test]
fn a_batch_needs_about_five_times_its_bytes_of_disk() {
    let least = (4..32).find(|quarters| takes_a_batch(BATCH * quarters / 4)).expect("it is taken");
    println!("{least} quarters");
    assert!((16..=22).contains(&least), "{least} quarters of its bytes");
}

#[test]
fn a_closed_store_frees_the_space_of_its_log() {
    let dir = tempfile::tempdir().unwrap();
    let store = Options::new().segment_bytes(4 << 20).open(dir.path()).unwrap();
    let rows = store.keyspace("rows").unwrap();
    for n in 0..10_000u32 {
        rows.put_with(n.to_be_bytes(), [7; 1000], CommitMode::Async).unwrap();
    }
    assert!(bytes_on_disk(dir.path(), "log-") >= 10 << 20);
    // Other handles may still exist.
    store.clone().close().unwrap();
    assert!(bytes_on_disk(dir.path(), "log-") <= 16 << 10);
    drop((rows, store));
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.keyspace("rows").unwrap().iter().unwrap().count(), 10_000);
}

const LIMITED: &str = "SYNCLINE_TEST_LIMITED";
const LIMIT: u64 = 1 << 20;

/// The child process: a write beyond the limit would kill it with SIGXFSZ.
fn live_within_a_limit(dir: &Path) {
    let hard = getrlimit(Resource::Fsize).maximum;
    let limit =
        |bytes| setrlimit(Resource::Fsize, Rlimit { current: bytes, maximum: hard }).unwrap();
    limit(Some(LIMIT));
    let store = Store::open(dir).unwrap();
    let rows = store.keyspace("rows").unwrap();
    let put = |n: u32| rows.put_with(n.to_be_bytes(), [7; 1000], CommitMode::Async);
    let mut done = 0;
    let error = loop {
        match put(done) {
            Ok(_) => done += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::DiskFull { .. }), "{error}");
    assert!(u64::from(done) * 1000 > LIMIT / 2, "{done} rows");
    // A checkpoint writes to another file that may not grow.
    match store.checkpoint() {
        Ok(_) | Err(Error::DiskFull { .. }) => {}
        Err(error) => panic!("{error}"),
    }
    assert!((0..done).all(|n| rows.get(n.to_be_bytes()).unwrap().is_some()));
    limit(hard);
    for n in done..done + 5000 {
        put(n).unwrap();
    }
    // A later limit may be below the length that a file already has.
    limit(Some(LIMIT));
    match store.checkpoint() {
        Ok(_) | Err(Error::DiskFull { .. }) => {}
        Err(error) => panic!("{error}"),
    }
    limit(hard);
    store.checkpoint().unwrap();
    assert!(store.verify().unwrap().is_clean());
    assert_eq!(rows.iter().unwrap().count() as u32, done + 5000);
    store.close().unwrap();
}

#[test]
fn a_limit_on_file_sizes_refuses_commits_and_kills_no_process() {
    if let Some(dir) = std::env::var_os(LIMITED) {
        return live_within_a_limit(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let name = "a_limit_on_file_sizes_refuses_commits_and_kills_no_process";
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env(LIMITED, dir.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{}: {told}", child.status);
    assert!(told.contains("1 passed"), "{told}");
}
