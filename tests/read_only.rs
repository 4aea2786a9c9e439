//! Stores opened read-only: no file changes, and no file need be writable.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use support::{assert_sound, read_all};
use syncline::disk::{Keep, SimDisk};
use syncline::{CommitMode, Error, Options, Store, WriteBatch};

fn options() -> Options {
    Options::new().cache_bytes(1 << 20).page_bytes(4096).segment_bytes(64 << 10)
}

fn fill(store: &Store) {
    let rows = store.keyspace("rows").unwrap();
    for n in 0..2000u32 {
        rows.put_with(n.to_be_bytes(), [n as u8; 300], CommitMode::Async).unwrap();
        if n == 700 {
            store.checkpoint().unwrap();
        }
    }
    rows.put_with("long", vec![1; 100_000], CommitMode::Async).unwrap();
    rows.delete(3u32.to_be_bytes()).unwrap();
    store.flush().unwrap();
}

fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entry = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
    };
    fs::read_dir(directory).unwrap().map(entry).collect()
}

/// Asserts that every call that would change the store is refused.
fn assert_refuses(store: &Store) {
    let rows = store.open_keyspace("rows").unwrap().unwrap();
    let mut batch = WriteBatch::new();
    batch.put(&rows, "key", "value");
    let refused = [
        rows.put("key", "value").map(drop),
        rows.delete("key").map(drop),
        store.write(batch).map(drop),
        store.keyspace("new").map(drop),
        store.create_keyspace("new").map(drop),
        store.drop_keyspace("rows").map(drop),
        store.checkpoint().map(drop),
    ];
    for result in refused {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::ReadOnly { .. }), "{error}");
        assert!(error.to_string().contains("opened read-only"), "{error}");
    }
    store.flush().unwrap();
}

#[test]
fn a_store_that_is_read_stays_as_it_is() {
    for is_closed in [true, false] {
        let temp = tempfile::tempdir().unwrap();
        let written = options().open(temp.path()).unwrap();
        fill(&written);
        let expected = read_all(&written).unwrap();
        let place = tempfile::tempdir().unwrap();
        if is_closed {
            written.close().unwrap();
        }
        support::copy(temp.path(), place.path());
        let before = files(place.path());
        // A reader needs no lock file either.
        for has_lock in [true, false] {
            if !has_lock {
                fs::remove_file(place.path().join("LOCK")).unwrap();
            }
            let store = options().read_only().open(place.path()).unwrap();
            assert_eq!(store.stats().recovery.was_clean, is_closed);
            let beside = options().read_only().open(place.path()).unwrap();
            assert!(matches!(options().open(place.path()), Err(Error::Locked { .. })));
            assert_eq!(read_all(&store).unwrap(), expected);
            assert_eq!(read_all(&beside).unwrap(), expected);
            assert_sound(&store);
            assert_refuses(&store);
            store.close().unwrap();
            drop(beside);
            fs::write(place.path().join("LOCK"), "").unwrap();
            assert_eq!(files(place.path()), before);
        }
        // The store can be written afterwards.
        let store = options().open(place.path()).unwrap();
        assert!(matches!(options().read_only().open(place.path()), Err(Error::Locked { .. })));
        assert_eq!(read_all(&store).unwrap(), expected);
        store.keyspace("rows").unwrap().put("key", "value").unwrap();
        store.close().unwrap();
    }
}

/// From several states that a power loss can leave.
#[test]
fn a_store_that_crashed_is_recovered_in_memory() {
    let options = || options().without_threads().store_id([7; 16]);
    for seed in 0..20 {
        let disk = SimDisk::new();
        let store = options().open_on(Arc::new(disk.clone())).unwrap();
        fill(&store);
        let rows = store.keyspace("rows").unwrap();
        for n in 0..50u32 {
            rows.put_with((5000 + n).to_be_bytes(), "unsynced", CommitMode::Async).unwrap();
        }
        let crashed = disk.crash(Keep::Seeded(seed));
        let names = |disk: &SimDisk| syncline::disk::Disk::list(disk).unwrap();
        let contents = |disk: &SimDisk| -> Vec<_> {
            names(disk).iter().map(|name| (name.clone(), disk.read_file(name))).collect()
        };
        let before = contents(&crashed);
        let store = options().read_only().open_on(Arc::new(crashed.clone())).unwrap();
        let read = read_all(&store).unwrap();
        assert_sound(&store);
        assert_refuses(&store);
        store.close().unwrap();
        assert_eq!(contents(&crashed), before, "seed {seed}");
        let store = options().open_on(Arc::new(crashed)).unwrap();
        assert_eq!(read_all(&store).unwrap(), read, "seed {seed}: the same as a normal recovery");
    }
}

/// Runs as another user if the tests run as root, whom permissions do not stop.
#[cfg(all(target_os = "linux", feature = "cli"))]
#[test]
fn the_command_line_reads_a_store_that_it_may_not_write() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    let temp = tempfile::tempdir().unwrap();
    let allow = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    allow(temp.path(), 0o755);
    let (source, place) = (temp.path().join("source"), temp.path().join("place"));
    let store = options().open(&source).unwrap();
    fill(&store);
    fs::create_dir(&place).unwrap();
    support::copy(&source, &place); // one that was not closed
    for name in files(&place).keys() {
        allow(&place.join(name), 0o444);
    }
    allow(&place, 0o555);
    let before = files(&place);
    let is_everybody = fs::metadata(&place).unwrap().uid() == 0;
    let directory = place.to_str().unwrap();
    for (args, expected) in [
        (vec!["dump-log", directory, "--limit", "1"], "sync line"),
        (vec!["get", directory, "long", "--keyspace", "rows"], "\u{1}\u{1}"),
        (vec!["info", directory], "keys: 2000"),
        (vec!["scan", directory, "--keyspace", "rows", "--limit", "1"], "\t"),
        (vec!["verify", directory], "clean: 2000 keys"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
        command.args(&args);
        if is_everybody {
            command.uid(65534).gid(65534);
        }
        let output = match command.output() {
            Ok(output) => output,
            Err(error) => {
                println!("skipped: another user cannot start the program: {error}");
                break;
            }
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {said}");
        assert!(String::from_utf8_lossy(&output.stdout).contains(expected), "{args:?}");
    }
    assert_eq!(files(&place), before);
    allow(&place, 0o755);
}
