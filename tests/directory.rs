//! Changes to the directory of an open store: another working directory, a rename, a removal, another
//! directory in its place, removed files.
//!
//! A store is the directory that was opened, not a path. After any change to the path, commits go to the
//! same directory as before, or are refused; no foreign file is touched.

#![cfg(unix)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use syncline::disk::{Disk, RealDisk};
use syncline::inspect::{describe, dump_log};
use syncline::{CommitMode, Error, Options, Store};

fn options() -> Options {
    Options::new().cache_bytes(1 << 20).page_bytes(4096).segment_bytes(64 << 10)
}

/// Commits until the log has changed its segment a few times.
fn fill(store: &Store, from: u32) -> u32 {
    let rows = store.keyspace("rows").unwrap();
    for n in from..from + 500 {
        rows.put_with(n.to_be_bytes(), vec![7; 600], CommitMode::Async).unwrap();
    }
    store.checkpoint().unwrap();
    from + 500
}

fn assert_holds(directory: &Path, count: u32) {
    let store = options().must_exist().open(directory).unwrap();
    let rows = store.keyspace("rows").unwrap();
    assert_eq!(rows.iter().unwrap().count(), count as usize);
    assert!(store.verify().unwrap().is_clean(), "{directory:?}");
    store.close().unwrap();
}

fn files(directory: &Path) -> Vec<(String, u64)> {
    let entry = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len())
    };
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(entry).collect();
    files.sort();
    files
}

/// The only test here that uses the working directory, which belongs to the whole process.
#[test]
fn a_store_opened_by_a_relative_path_stays_where_it_is_after_a_change_of_directory() {
    let temp = tempfile::tempdir().unwrap();
    let (here, there) = (temp.path().join("here"), temp.path().join("there"));
    for place in [&here, &there] {
        fs::create_dir(place).unwrap();
    }
    // Another store has the same name in the other directory.
    let other = options().open(there.join("store")).unwrap();
    fill(&other, 0);
    other.close().unwrap();
    let others = files(&there.join("store"));

    std::env::set_current_dir(&here).unwrap();
    fs::create_dir("store").unwrap();
    let store = options().open("store").unwrap();
    let mut count = fill(&store, 0);
    std::env::set_current_dir(&there).unwrap();
    count = fill(&store, count);
    assert!(store.directory().starts_with('/'), "{}", store.directory());
    store.close().unwrap();
    assert_eq!(files(&there.join("store")), others);
    assert_holds(&here.join("store"), count);
}

#[test]
fn a_directory_that_is_renamed_takes_its_store_along() {
    let temp = tempfile::tempdir().unwrap();
    let (old, new) = (temp.path().join("old"), temp.path().join("new"));
    let store = options().open(&old).unwrap();
    let mut count = fill(&store, 0);
    fs::rename(&old, &new).unwrap();
    count = fill(&store, count);
    // Another store at the old path makes no difference.
    let other = options().open(&old).unwrap();
    fill(&other, 0);
    count = fill(&store, count);
    other.close().unwrap();
    store.close().unwrap();
    assert_holds(&new, count);
    assert_holds(&old, 500);
}

#[test]
fn a_symbolic_link_that_is_switched_leaves_the_store_where_it_was() {
    let temp = tempfile::tempdir().unwrap();
    let (first, second, link) =
        (temp.path().join("first"), temp.path().join("second"), temp.path().join("link"));
    for place in [&first, &second] {
        fs::create_dir(place).unwrap();
    }
    symlink(&first, &link).unwrap();
    let store = options().open(&link).unwrap();
    let count = fill(&store, 0);
    fs::remove_file(&link).unwrap();
    symlink(&second, &link).unwrap();
    let count = fill(&store, count);
    store.close().unwrap();
    assert_eq!(files(&second), []);
    assert_holds(&first, count);
}

/// The cause of a poisoned store, or the error itself.
fn cause(error: &Error) -> &Error {
    match error {
        Error::Poisoned { source, .. } => source,
        error => error,
    }
}

#[test]
fn a_store_in_a_removed_directory_acknowledges_no_commit() {
    let temp = tempfile::tempdir().unwrap();
    let place = temp.path().join("store");
    let store = options().open(&place).unwrap();
    fill(&store, 0);
    let rows = store.keyspace("rows").unwrap();
    fs::remove_dir_all(&place).unwrap();
    // A new directory at that path stays untouched.
    fs::create_dir(&place).unwrap();
    let error = rows.put_with("key", "value", CommitMode::Sync).unwrap_err();
    assert!(matches!(cause(&error), Error::Missing { .. }), "{error:?}");
    assert!(error.to_string().contains("removed"), "{error}");
    let error = store.checkpoint().unwrap_err();
    assert!(matches!(cause(&error), Error::Missing { .. }), "{error:?}");
    assert!(rows.get(1u32.to_be_bytes()).unwrap().is_some(), "reads still work");
    let error = store.close().unwrap_err();
    assert!(matches!(cause(&error), Error::Missing { .. }), "{error:?}");
    assert_eq!(files(&place), []);
}

#[test]
fn a_store_with_a_removed_or_replaced_file_acknowledges_no_commit() {
    for is_replaced in [false, true] {
        for name in ["data", "log-"] {
            let temp = tempfile::tempdir().unwrap();
            let store = options().open(temp.path()).unwrap();
            fill(&store, 0);
            let rows = store.keyspace("rows").unwrap();
            for (file, _) in files(temp.path()).iter().filter(|(file, _)| file.starts_with(name)) {
                fs::write(temp.path().join("another"), "of somebody").unwrap();
                fs::remove_file(temp.path().join(file)).unwrap();
                if is_replaced {
                    fs::rename(temp.path().join("another"), temp.path().join(file)).unwrap();
                }
            }
            let error = rows.put_with("key", "value", CommitMode::Sync).unwrap_err();
            assert!(matches!(cause(&error), Error::Missing { .. }), "{name}: {error:?}");
            store.close().unwrap_err();
        }
    }
}

#[test]
fn inspection_reads_the_directory_that_was_opened() {
    let temp = tempfile::tempdir().unwrap();
    let (old, new) = (temp.path().join("old"), temp.path().join("new"));
    let store = options().open(&old).unwrap();
    let disk: std::sync::Arc<dyn Disk> = std::sync::Arc::new(RealDisk::open(&old).unwrap());
    let id = store.id();
    store.keyspace("rows").unwrap().put("key", "value").unwrap();
    fs::rename(&old, &new).unwrap();
    fs::create_dir(&old).unwrap();
    assert_eq!(describe(&disk).unwrap().id, id);
    let mut records = 0;
    dump_log(disk, &mut |_| {
        records += 1;
        true
    })
    .unwrap();
    assert!(records >= 2, "{records} records");
}

// --- the lock ---

/// The directory that the child opens.
const TASK: &str = "SYNCLINE_DIRECTORY_TASK";

/// The child process; as a test it does nothing.
#[test]
fn child() {
    let Some(directory) = std::env::var_os(TASK) else { return };
    let opened = options().open(directory);
    assert!(matches!(opened, Err(Error::Locked { .. })), "{opened:?}");
}

fn assert_locked(directory: &Path) {
    let opened = options().open(directory);
    match &opened {
        Err(Error::Locked { directory: named }) => {
            assert_eq!(Path::new(named), directory, "the error names the directory");
        }
        other => panic!("{other:?}"),
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(TASK, directory)
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"));
}

#[test]
fn a_store_stays_locked_when_its_lock_file_is_removed() {
    let temp = tempfile::tempdir().unwrap();
    for life in 0..3u32 {
        let store = options().open(temp.path()).unwrap();
        assert_locked(temp.path());
        // Before the first write, and after. A refused open makes no new lock file.
        fs::remove_file(temp.path().join("LOCK")).unwrap();
        assert_locked(temp.path());
        let rows = store.keyspace("rows").unwrap();
        rows.put(life.to_be_bytes(), "value").unwrap();
        assert_locked(temp.path());
        assert!(!temp.path().join("LOCK").exists());
        // Closed by name, with handles left, or by the last handle.
        if life == 1 {
            store.close().unwrap();
            options().open(temp.path()).unwrap();
        }
    }
    assert_holds(temp.path(), 3);
}
