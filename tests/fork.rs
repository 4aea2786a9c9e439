//! A forked process may do nothing with a store that its parent has open.
//!
//! It shares the mapped log and every descriptor, so its commits would be replayed as if the store had
//! acknowledged them; and it has none of the threads that closing waits for.

#![cfg(target_os = "linux")]
// A fork has no safe interface.
#![allow(unsafe_code)]

use std::future::Future;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use syncline::{CommitMode, Error, Keyspace, Options, Snapshot, Store, WriteBatch};

// The C library, which every program has.
unsafe extern "C" {
    fn fork() -> i32;
    fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
    fn kill(pid: i32, signal: i32) -> i32;
    fn _exit(status: i32) -> !;
}
const WNOHANG: i32 = 1;
const SIGKILL: i32 = 9;

/// One test at a time: a process forked by one test would share the descriptors of another.
static TURN: Mutex<()> = Mutex::new(());

fn options() -> Options {
    Options::new().cache_bytes(1 << 20).page_bytes(4096).segment_bytes(64 << 10)
}

/// A forked process, which runs two parts and must then end by itself.
struct Child {
    pid: i32,
    /// A byte here starts its second part.
    go_on: PipeWriter,
    /// A byte from here says that its first part is done.
    done: PipeReader,
}

impl Child {
    /// The second part begins when [`Child::end`] is called.
    fn fork(first: impl FnOnce(), second: impl FnOnce()) -> Child {
        let ((hears, go_on), (done, mut tells)) = (pipe().unwrap(), pipe().unwrap());
        // SAFETY: the child allocates and does input and output, which the C library allows after a
        // fork; it takes no lock of this test program that another thread may hold.
        match unsafe { fork() } {
            -1 => panic!("no fork: {}", std::io::Error::last_os_error()),
            0 => {
                drop((go_on, done));
                let mut hears = hears;
                let worked = catch_unwind(AssertUnwindSafe(|| {
                    first();
                    tells.write_all(&[1]).unwrap();
                    let _ = hears.read(&mut [0]);
                    second();
                }));
                // SAFETY: ends the process at once, whatever state it is in.
                unsafe { _exit(i32::from(worked.is_err())) }
            }
            pid => Child { pid, go_on, done },
        }
    }

    /// Waits for the first part.
    fn wait_first(&mut self) {
        let mut byte = [0];
        assert!(self.done.read(&mut byte).unwrap() == 1, "the child failed in its first part");
    }

    fn end(mut self) {
        self.go_on.write_all(&[1]).unwrap();
        let begun = Instant::now();
        let mut status = 0;
        // SAFETY: the call writes the status, a number.
        while unsafe { waitpid(self.pid, &raw mut status, WNOHANG) } == 0 {
            if begun.elapsed() > Duration::from_secs(60) {
                // SAFETY: the process is our child, which has not been reaped.
                unsafe { kill(self.pid, SIGKILL) };
                panic!("the child hangs");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        assert_eq!(status, 0, "the child failed");
    }
}

fn refused<T: std::fmt::Debug>(result: Result<T, Error>) {
    assert!(matches!(result, Err(Error::Forked)), "{result:?}");
}

/// Asserts that every call is refused.
fn try_everything(store: &Store, rows: &Keyspace, snapshot: Snapshot, pending: syncline::Receipt) {
    for mode in [CommitMode::Async, CommitMode::Sync] {
        refused(rows.put_with("child", "value", mode));
        refused(rows.delete_with("first", mode));
        let mut batch = WriteBatch::new();
        batch.put(rows, "child", "value");
        refused(store.write_with(batch, mode));
    }
    refused(store.keyspace("of the child"));
    refused(store.create_keyspace("of the child"));
    refused(store.drop_keyspace("rows"));
    refused(store.flush());
    refused(store.checkpoint());
    refused(store.verify());
    refused(store.snapshot());
    refused(rows.get("first"));
    refused(snapshot.get(rows, "first"));
    refused(store.wait_watermarks(&store.watermarks(), Some(Duration::MAX)));
    if !pending.is_durable() {
        refused(pending.wait());
        refused(pending.wait_timeout(Duration::MAX));
        let polled = Pin::new(&mut pending.clone()).poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Ready(Err(Error::Forked))), "{polled:?}");
    }
    drop(snapshot);
    refused(store.clone().close());
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn assert_holds(directory: &Path, count: u64) {
    let store = options().must_exist().open(directory).unwrap();
    let rows = store.keyspace("rows").unwrap();
    assert_eq!(rows.len().unwrap(), count);
    assert!(rows.get("child").unwrap().is_none());
    assert_eq!(store.keyspaces(), ["rows"]);
    assert!(store.verify().unwrap().is_clean());
}

#[test]
fn a_forked_process_can_do_nothing_with_a_store_of_its_parent() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for has_threads in [true, false] {
        let temp = tempfile::tempdir().unwrap();
        let place = temp.path().join("store");
        let plain = options;
        let options = if has_threads { plain() } else { plain().without_threads() };
        let store = options.flush_interval(Duration::from_secs(3600)).open(&place).unwrap();
        let rows = store.keyspace("rows").unwrap();
        rows.put("first", "value").unwrap();
        let pending = rows.put_with("second", "value", CommitMode::Async).unwrap();
        let snapshot = store.snapshot().unwrap();
        let handles = (store.clone(), rows.clone());
        let (in_child, its_place) = (snapshot.clone(), place.clone());
        let mut child = Child::fork(
            move || {
                let (store, rows) = handles;
                try_everything(&store, &rows, in_child, pending);
                // The parent's store stays locked.
                let again = plain().open(&its_place);
                assert!(matches!(again, Err(Error::Locked { .. })), "{again:?}");
            },
            || (),
        );
        child.wait_first();
        rows.put("third", "value").unwrap();
        // The files as a kill would leave them.
        copy(&place, &temp.path().join("killed"));
        assert_holds(&temp.path().join("killed"), 3);
        // The child still has the descriptors of the locks.
        drop((rows, snapshot));
        store.close().unwrap();
        assert_holds(&place, 3);
        child.end();
        assert_holds(&place, 3);
    }
}

#[test]
fn handles_dropped_in_a_forked_process_release_no_lock_and_wait_for_no_thread() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let temp = tempfile::tempdir().unwrap();
    let store = options().open(temp.path()).unwrap();
    let rows = store.keyspace("rows").unwrap();
    rows.put("first", "value").unwrap();
    let all = std::cell::Cell::new(Some((store, rows)));
    // The child has the same handles as the parent, each the last one of its process.
    let mut child = Child::fork(|| drop(all.take()), || ());
    child.wait_first();
    let again = options().open(temp.path());
    assert!(matches!(again, Err(Error::Locked { .. })), "{again:?}");
    std::fs::remove_file(temp.path().join("LOCK")).unwrap();
    let again = options().open(temp.path());
    assert!(matches!(again, Err(Error::Locked { .. })), "{again:?}");
    let (store, rows) = all.take().unwrap();
    rows.put("second", "value").unwrap();
    drop(rows);
    store.close().unwrap();
    child.end();
    assert_holds(temp.path(), 2);
}
