//! The cost of calls in memory, system calls and pages, as the documents promise it. No test measures time.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{SecureComputingMode, gettid, set_secure_computing_mode};
use syncline::{CommitMode, Keyspace, Options, Store, WriteBatch};

struct Counting;

thread_local! {
    /// How often this thread allocated memory.
    static GIVEN: Cell<usize> = const { Cell::new(0) };
}

/// Allocated bytes of all threads.
static HELD: AtomicUsize = AtomicUsize::new(0);
/// The maximum of `HELD`.
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = GIVEN.try_with(|given| given.set(given.get() + 1));
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        let _ = GIVEN.try_with(|given| given.set(given.get() + 1));
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        let held = HELD.fetch_add(bytes, Ordering::Relaxed) + bytes;
        MOST.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.realloc(at, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `work` allocates memory.
fn allocations<T>(work: impl FnOnce() -> T) -> usize {
    let before = GIVEN.get();
    black_box(work());
    GIVEN.get() - before
}

const ROWS: u32 = 20_000;

/// A store with short rows.
fn filled(dir: &Path) -> (Store, Keyspace) {
    let store = Options::new().cache_bytes(64 << 20).open(dir).unwrap();
    let rows = store.keyspace("rows").unwrap();
    for n in 0..ROWS {
        rows.put_with(n.to_be_bytes(), [7; 100], CommitMode::Async).unwrap();
    }
    (store, rows)
}

/// Runs this test again in a child process, which calls `child`.
fn in_a_child(test: &str, child: impl FnOnce(&Path)) {
    const CHILD: &str = "SYNCLINE_TEST_CHILD";
    if let Some(dir) = std::env::var_os(CHILD) {
        return child(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let exe = std::env::current_exe().unwrap();
    let run = Command::new(exe).args(["--exact", test]).env(CHILD, dir.path()).output().unwrap();
    let told = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{}: {told}", run.status);
}

#[test]
fn reads_and_asynchronous_puts_make_no_system_call() {
    in_a_child("reads_and_asynchronous_puts_make_no_system_call", |dir| {
        let (store, rows) = filled(dir);
        let receipt = rows.put("durable", "1").unwrap();
        let work = |count: u32| {
            for n in 0..count {
                assert!(rows.get(n.to_be_bytes()).unwrap().is_some());
                rows.put_with(n.to_be_bytes(), [8; 100], CommitMode::Async).unwrap();
                assert!(receipt.is_durable());
                black_box((store.watermarks(), rows.len().unwrap()));
                black_box(rows.contains_key(n.to_be_bytes()).unwrap());
            }
        };
        // Warm up: lazy initialization is done, and the log has room for the rest.
        work(ROWS);
        let (thread, is_done) = (AtomicI32::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                thread.store(gettid().as_raw_nonzero().get(), Ordering::SeqCst);
                work(2);
                // From now on the kernel kills the thread for any call except read and write.
                set_secure_computing_mode(SecureComputingMode::Strict).unwrap();
                work(1000);
                is_done.store(true, Ordering::SeqCst);
                loop {
                    std::hint::spin_loop(); // ending the thread needs a system call
                }
            });
            while !is_done.load(Ordering::SeqCst) {
                let thread = thread.load(Ordering::SeqCst);
                let is_killed =
                    thread != 0 && !Path::new(&format!("/proc/self/task/{thread}")).exists();
                if is_killed {
                    println!("it made a system call, and was killed for it");
                    std::process::exit(1);
                }
                std::thread::yield_now();
            }
            std::process::exit(0);
        });
    });
}

#[test]
fn reads_in_memory_allocate_only_what_they_return() {
    let dir = tempfile::tempdir().unwrap();
    let (store, rows) = filled(dir.path());
    let each = |work: &dyn Fn(u32)| {
        work(0);
        allocations(|| (0..1000).for_each(work))
    };
    assert_eq!(each(&|n| drop(black_box(rows.get((ROWS + n).to_be_bytes()).unwrap()))), 0);
    assert_eq!(each(&|n| assert!(rows.contains_key(n.to_be_bytes()).unwrap())), 0);
    let marks =
        each(&|_| assert!(store.watermarks().appended.get() > 0 && rows.len().unwrap() > 0));
    assert_eq!(marks, 0);
    let values = each(&|n| assert!(rows.get(n.to_be_bytes()).unwrap().is_some()));
    assert!(values <= 1000, "{values} allocations for 1,000 values");
}

#[test]
fn next_ref_allocates_only_for_long_values() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, rows) = filled(dir.path());
    let mut range = rows.iter().unwrap();
    range.next_ref().unwrap();
    let mut count = 1;
    let taken = allocations(|| {
        while range.next_ref().unwrap().is_some() {
            count += 1;
        }
    });
    assert_eq!((count, taken), (ROWS, 0));
}

/// The number of pages that `work` looks at. All of them must be in memory.
fn pages<T>(store: &Store, work: impl FnOnce() -> T) -> u64 {
    let before = store.stats();
    black_box(work());
    let after = store.stats();
    assert_eq!(after.cache_misses, before.cache_misses);
    after.cache_hits - before.cache_hits
}

/// A store without threads, with `count` short rows and one row whose value is out of line.
fn still(dir: &Path, count: u32) -> (Store, Keyspace) {
    let options = Options::new().cache_bytes(64 << 20).page_bytes(4096).without_threads();
    let store = options.open(dir).unwrap();
    let rows = store.keyspace("rows").unwrap();
    for n in 0..count {
        rows.put_with(n.to_be_bytes(), [7; 100], CommitMode::Async).unwrap();
    }
    rows.put_with("long", vec![7; 3000], CommitMode::Async).unwrap();
    (store, rows)
}

#[test]
fn a_get_looks_at_a_page_of_each_level_and_twice_at_them_for_a_value_out_of_line() {
    // A leaf has room for some 35 rows and is at least half full; an inner node, for hundreds of keys.
    for (count, height) in [(10, 1), (1000, 2), (100_000, 3)] {
        let dir = tempfile::tempdir().unwrap();
        let (store, rows) = still(dir.path(), count);
        for n in (0..count).step_by(7) {
            assert_eq!(
                pages(&store, || rows.get(n.to_be_bytes()).unwrap()),
                height,
                "{count}, {n}"
            );
        }
        assert_eq!(pages(&store, || rows.get("absent").unwrap()), height);
        // Both walks, and the page with the value.
        assert_eq!(pages(&store, || rows.get("long").unwrap()), 2 * height + 1, "{count}");
    }
}

#[test]
fn the_number_of_keys_is_known_without_looking_at_any_page() {
    for count in [10, 100_000] {
        let dir = tempfile::tempdir().unwrap();
        let (store, rows) = still(dir.path(), count);
        let snapshot = store.snapshot().unwrap();
        rows.put("more", "value").unwrap();
        let told = || assert_eq!(rows.len().unwrap(), u64::from(count) + 2);
        assert_eq!(pages(&store, told), 0);
        let told = || assert_eq!(snapshot.len(&rows).unwrap(), u64::from(count) + 1);
        assert_eq!(pages(&store, told), 0);
    }
}

#[test]
fn a_batch_takes_its_bytes_and_70_for_each_row() {
    in_a_child("a_batch_takes_its_bytes_and_70_for_each_row", |dir| {
        const COUNT: u32 = 200_000;
        let (store, rows) = filled(dir);
        // The second round does not count the memory that the store keeps for new pages.
        for _ in 0..2 {
            MOST.store(HELD.load(Ordering::Relaxed), Ordering::Relaxed);
            let before = HELD.load(Ordering::Relaxed);
            let mut batch = WriteBatch::new();
            for n in 0..COUNT {
                batch.put(&rows, n.to_be_bytes(), [9; 100]);
            }
            store.write_with(batch, CommitMode::Async).unwrap();
            let most = (MOST.load(Ordering::Relaxed) - before) as u32;
            println!("{most} bytes for {COUNT} rows of 104");
            // A buffer that doubles has allocated at most twice its bytes; unwritten bytes take no memory.
            assert!(most <= COUNT * (104 + 104 + 70), "{most} bytes");
        }
    });
}

#[test]
fn a_page_that_was_looked_up_takes_16_bytes() {
    in_a_child("a_page_that_was_looked_up_takes_16_bytes", |dir| {
        let options = Options::new().cache_bytes(2 << 20);
        let store = options.clone().open(dir).unwrap();
        let rows = store.keyspace("rows").unwrap();
        for n in 0..ROWS {
            rows.put_with(n.to_be_bytes(), [7; 1500], CommitMode::Async).unwrap();
        }
        drop(rows);
        store.close().unwrap();
        let store = options.open(dir).unwrap();
        let rows = store.keyspace("rows").unwrap();
        let before = HELD.load(Ordering::Relaxed);
        assert_eq!(rows.iter().unwrap().count() as u32, ROWS);
        let more = HELD.load(Ordering::Relaxed) as i64 - before as i64;
        let pages = i64::from(ROWS) / 2;
        println!("{more} bytes for {pages} pages");
        // Entries are allocated for many neighbours at a time.
        assert!(more <= pages * 16 + (128 << 10), "{more} bytes");
    });
}

/// A flush through a reopened file would not report an earlier failed write (DISK-2).
#[test]
fn a_flush_and_a_checkpoint_open_no_file() {
    in_a_child("a_flush_and_a_checkpoint_open_no_file", |dir| {
        let (store, rows) = still(dir, 1000);
        store.checkpoint().unwrap();
        let limit = getrlimit(Resource::Nofile);
        let none = Rlimit { current: Some(0), ..limit };
        setrlimit(Resource::Nofile, none).unwrap();
        assert!(std::fs::File::open(dir.join("data")).is_err(), "the limit has no effect");
        for n in 0..100_u32 {
            rows.put_with(n.to_be_bytes(), [8; 100], CommitMode::Sync).unwrap();
        }
        let receipt = rows.put_with("last", "value", CommitMode::Async).unwrap();
        store.checkpoint().unwrap();
        assert!(receipt.is_durable());
        assert!(store.verify().unwrap().is_clean());
        setrlimit(Resource::Nofile, limit).unwrap();
        store.close().unwrap();
    });
}

/// The most memory that a command allocates. The store's cache and the mapped log are not in it: they
/// have their own limits.
#[cfg(feature = "cli")]
fn most_of(args: &[&str]) -> usize {
    let before = HELD.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let args = ["syncline"].iter().chain(args).map(std::ffi::OsString::from);
    let done = syncline::cli::main_with(args);
    assert_eq!(done, std::process::ExitCode::SUCCESS);
    MOST.load(Ordering::Relaxed) - before
}

#[cfg(feature = "cli")]
#[test]
fn memory_does_not_grow_with_what_is_imported_or_scanned() {
    in_a_child("memory_does_not_grow_with_what_is_imported_or_scanned", |dir| {
        let most = [50_000, 300_000].map(|count: u32| {
            let (file, store) = (dir.join("rows.tsv"), dir.join(format!("store {count}")));
            let rows = (0..count).map(|n| format!("key {n:08}\t{n:040}\n"));
            std::fs::write(&file, rows.collect::<String>()).unwrap();
            let (file, store) = (file.to_str().unwrap(), store.to_str().unwrap());
            let import = most_of(&["import", store, file, "--mode", "async"]);
            [import, most_of(&["scan", store]), most_of(&["scan", store, "--format", "json"])]
        });
        let [few, many] = most;
        // The larger file, and the larger output, are 13 MB longer.
        for (few, many) in few.into_iter().zip(many) {
            eprintln!("{few} bytes for few rows, {many} for many");
            assert!(many < few + (1 << 20), "{few} bytes for few rows, {many} for many");
        }
    });
}
