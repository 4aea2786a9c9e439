//! Foreign code around a store: wakers and callbacks that panic, block, call the store or drop its last
//! handle; a logger that panics; destructors of threads; options and times of any size; closing twice.
//!
//! None of that ends a thread of the store, blocks other calls, or breaks a promise.

#[path = "support/random.rs"]
mod random;

use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, Once};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};
use std::thread;
use std::time::Duration;

use random::SplitMix64;
use syncline::disk::{Op, SimDisk};
use syncline::{CommitMode, Error, Keyspace, Options, Receipt, Store};

/// Longer than any call takes that works.
const PATIENCE: Duration = Duration::from_secs(60);
const FOR_EVER: Duration = Duration::from_secs(1 << 40);

fn options() -> Options {
    listen();
    Options::new().cache_bytes(1 << 20).page_bytes(4096).segment_bytes(64 << 10)
}

fn open(disk: &SimDisk) -> (Store, Keyspace) {
    let store = options().open_on(Arc::new(disk.clone())).unwrap();
    let rows = store.keyspace("rows").unwrap();
    (store, rows)
}

/// Installs a logger that panics at every message.
fn listen() {
    struct Panics;
    impl log::Log for Panics {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            panic!("the logger panics at {}", record.args());
        }
        fn flush(&self) {}
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Panics).unwrap();
        log::set_max_level(log::LevelFilter::Warn);
    });
}

/// Runs a closure once, when it is woken.
struct Does(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Wake for Does {
    fn wake(self: Arc<Self>) {
        let act = self.0.lock().unwrap().take();
        act.into_iter().for_each(|act| act());
    }
}

fn waker(act: impl FnOnce() + Send + 'static) -> Waker {
    Waker::from(Arc::new(Does(Mutex::new(Some(Box::new(act))))))
}

fn poll(receipt: &mut Receipt, waker: &Waker) -> Poll<Result<(), Error>> {
    Pin::new(receipt).poll(&mut Context::from_waker(waker))
}

/// Commits asynchronously until a receipt has to wait, and gives it the waker.
fn register(rows: &Keyspace, waker: &Waker) {
    loop {
        let mut receipt = rows.put_with("key", "value", CommitMode::Async).unwrap();
        if poll(&mut receipt, waker).is_pending() {
            return;
        }
    }
}

/// Receives a message, with patience.
fn heard<T>(from: &Receiver<T>) -> T {
    from.recv_timeout(PATIENCE).expect("no message came")
}

fn assert_flushes(rows: &Keyspace) {
    let receipt = rows.put_with("after", "value", CommitMode::Async).unwrap();
    assert!(receipt.wait_timeout(PATIENCE).unwrap(), "nobody flushes any more");
    let (tell, told) = channel();
    register(rows, &waker(move || tell.send(()).unwrap()));
    heard(&told);
}

#[test]
fn wakers_that_panic_end_no_thread_and_do_not_stop_other_wakers() {
    let (store, rows) = open(&SimDisk::new());
    for _ in 0..20 {
        let (tell, told) = channel();
        for n in 0..5 {
            let tell = tell.clone();
            register(
                &rows,
                &waker(move || {
                    tell.send(n).unwrap();
                    panic!("waker {n} panics");
                }),
            );
        }
        (0..5).for_each(|_| {
            heard(&told);
        });
        assert_flushes(&rows);
    }
    store.close().unwrap();
}

/// A waker that panics when it is cloned, woken or dropped, as `panics_at` says.
fn hostile(panics_at: &'static str) -> Waker {
    fn at(data: *const (), what: &str) {
        let panics_at: &&str = [&"clone", &"wake", &"drop"][data as usize - 1];
        assert_ne!(*panics_at, what, "the waker panics");
    }
    static TABLE: RawWakerVTable = RawWakerVTable::new(
        |data| {
            at(data, "clone");
            RawWaker::new(data, &TABLE)
        },
        |data| at(data, "wake"),
        |data| at(data, "wake"),
        |data| at(data, "drop"),
    );
    let number = ["clone", "wake", "drop"].iter().position(|name| *name == panics_at).unwrap() + 1;
    let raw = RawWaker::new(std::ptr::without_provenance(number), &TABLE);
    // SAFETY: the data is a number that owns nothing, so any thread may use it in any way.
    #[allow(unsafe_code)]
    unsafe {
        Waker::from_raw(raw)
    }
}

#[test]
fn a_waker_that_panics_when_cloned_or_dropped_does_not_stop_flushes() {
    let (store, rows) = open(&SimDisk::new());
    for panics_at in ["clone", "wake", "drop"] {
        let waker = std::mem::ManuallyDrop::new(hostile(panics_at));
        for _ in 0..50 {
            let mut receipt = rows.put_with("key", "value", CommitMode::Async).unwrap();
            // Twice, so that the second waker is not needed and is dropped.
            for _ in 0..2 {
                let _ = catch_unwind(AssertUnwindSafe(|| poll(&mut receipt, &waker)));
            }
        }
        assert_flushes(&rows);
    }
    store.close().unwrap();
}

#[test]
fn a_waker_may_call_the_store() {
    let disk = SimDisk::new();
    let (store, rows) = open(&disk);
    for round in 0..6u32 {
        let (tell, told) = channel();
        let (its_store, its_rows) = (store.clone(), rows.clone());
        register(
            &rows,
            &waker(move || {
                its_rows.put_with(round.to_be_bytes(), "waker", CommitMode::Sync).unwrap();
                its_rows.put(round.to_be_bytes(), "again").unwrap().wait().unwrap();
                its_store.flush().unwrap();
                its_store.checkpoint().unwrap();
                let snapshot = its_store.snapshot().unwrap();
                assert!(snapshot.get(&its_rows, round.to_be_bytes()).unwrap().is_some());
                its_store.verify().unwrap();
                if round == 5 {
                    its_store.close().unwrap();
                }
                tell.send(()).unwrap();
            }),
        );
        heard(&told);
    }
    drop((store, rows));
    let (store, rows) = open(&disk);
    assert_eq!(&*rows.get(5u32.to_be_bytes()).unwrap().unwrap(), b"again");
    assert!(store.verify().unwrap().is_clean());
}

#[test]
fn the_last_handle_may_be_dropped_in_a_waker() {
    let disk = SimDisk::new();
    for round in 0..20u32 {
        let (store, rows) = open(&disk);
        rows.put("round", round.to_be_bytes()).unwrap();
        let mut receipt = rows.put_with("last", round.to_be_bytes(), CommitMode::Async).unwrap();
        let (tell, told) = channel();
        let handles = Mutex::new(Some((store, rows)));
        let waker = waker(move || {
            drop(handles.lock().unwrap().take());
            tell.send(()).unwrap();
        });
        if poll(&mut receipt, &waker).is_pending() {
            heard(&told);
        } else {
            waker.wake();
        }
        // The store is closed, and its directory is unlocked.
        let (_, rows) = open(&disk);
        assert_eq!(&*rows.get("last").unwrap().unwrap(), round.to_be_bytes());
    }
}

#[test]
fn a_waker_that_blocks_delays_neither_commits_nor_closing() {
    let disk = SimDisk::new();
    let (store, rows) = open(&disk);
    let ((tell, told), (release, released)) = (channel(), channel::<()>());
    let (end, ended) = channel();
    register(
        &rows,
        &waker(move || {
            tell.send(()).unwrap();
            let _ = released.recv();
            end.send(()).unwrap();
        }),
    );
    heard(&told);
    for n in 0..100u32 {
        rows.put(n.to_be_bytes(), "value").unwrap();
    }
    store.checkpoint().unwrap();
    store.close().unwrap();
    drop(rows);
    // The thread whose waker returns late must not touch the reopened store.
    let (next, rows) = open(&disk);
    rows.put("next", "value").unwrap();
    release.send(()).unwrap();
    heard(&ended);
    assert!(rows.len().unwrap() > 100);
    next.close().unwrap();
}

#[test]
fn a_waker_may_close_the_store_while_another_thread_does() {
    for _ in 0..20 {
        let (store, rows) = open(&SimDisk::new());
        let (tell, told) = channel();
        let its_store = store.clone();
        register(&rows, &waker(move || tell.send(its_store.close()).unwrap()));
        store.close().unwrap();
        heard(&told).unwrap();
    }
}

#[test]
fn receipts_that_are_dropped_while_they_wait_leave_no_waker_behind() {
    let (store, rows) = open(&SimDisk::new());
    let waker = Arc::new(Does(Mutex::new(None)));
    let receipt = rows.put_with("key", "value", CommitMode::Async).unwrap();
    for n in 0..20_000u32 {
        let mut receipt = match n % 2 {
            0 => receipt.clone(),
            _ => rows.put_with("key", "value", CommitMode::Async).unwrap(),
        };
        let _ = poll(&mut receipt, &Waker::from(Arc::clone(&waker)));
        // A receipt that is done is still done when it is polled again.
        if n % 100 == 0 {
            receipt.wait().unwrap();
            assert!(poll(&mut receipt, Waker::noop()).is_ready());
            assert!(poll(&mut receipt, Waker::noop()).is_ready());
        }
    }
    store.close().unwrap();
    while Arc::strong_count(&waker) > 1 {
        thread::yield_now(); // the flusher may still hold some
    }
}

#[test]
fn a_callback_that_panics_does_not_stop_recovery() {
    let disk = SimDisk::new();
    let (store, rows) = open(&disk);
    (0..100u32).for_each(|n| drop(rows.put(n.to_be_bytes(), "value").unwrap()));
    let left = disk.crash(syncline::disk::Keep::Everything);
    drop((store, rows));
    struct Bomb(Arc<AtomicUsize>);
    impl Drop for Bomb {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
            panic!("the callback panics when it is dropped");
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let bomb = Bomb(Arc::clone(&dropped));
    let options = options().on_recovery(move |_| panic!("the callback panics {:p}", &bomb));
    let store = options.open_on(Arc::new(left)).unwrap();
    assert_eq!(dropped.load(Ordering::SeqCst), 1, "the callback is dropped once");
    assert_eq!(store.keyspace("rows").unwrap().len().unwrap(), 100);
}

// --- closing ---

/// A disk whose next flush, once `armed`, sends a message and waits for one.
fn held_disk() -> (SimDisk, Arc<AtomicBool>, Receiver<()>, Sender<()>) {
    let disk = SimDisk::new();
    let armed = Arc::new(AtomicBool::new(false));
    let ((tell, told), (release, released)) = (channel(), channel());
    let (is_armed, channels) = (Arc::clone(&armed), Mutex::new((tell, released)));
    disk.watch(move |_, call| {
        if call.op == Op::Sync && is_armed.swap(false, Ordering::SeqCst) {
            let channels = channels.lock().unwrap();
            channels.0.send(()).unwrap();
            let _ = channels.1.recv();
        }
    });
    (disk, armed, told, release)
}

#[test]
fn a_second_close_waits_for_the_first_and_returns_the_same() {
    for fails in [false, true] {
        let (disk, armed, told, release) = held_disk();
        // Without threads, so that the held flush, which may fail, is that of closing.
        let store = options().without_threads().open_on(Arc::new(disk.clone())).unwrap();
        let rows = store.keyspace("rows").unwrap();
        rows.put("key", "value").unwrap();
        let released = AtomicBool::new(false);
        thread::scope(|scope| {
            armed.store(true, Ordering::SeqCst);
            let close = || {
                let result = store.clone().close();
                (released.load(Ordering::SeqCst), result)
            };
            let first = scope.spawn(close);
            heard(&told);
            if fails {
                disk.fail_sync(0);
            }
            let others: Vec<_> = (0..3).map(|_| scope.spawn(close)).collect();
            thread::sleep(Duration::from_millis(20)); // time to return too early
            released.store(true, Ordering::SeqCst);
            release.send(()).unwrap();
            let first = first.join().unwrap();
            assert_eq!(first.1.is_err(), fails, "{first:?}");
            for other in others {
                let other = other.join().unwrap();
                assert!(other.0, "it returned before the store was closed");
                assert_eq!(format!("{:?}", other.1), format!("{:?}", first.1));
            }
        });
        // A later close returns the same.
        assert_eq!(store.close().is_err(), fails);
    }
}

#[test]
fn closing_reports_that_the_first_flush_of_a_life_failed() {
    let disk = SimDisk::new();
    let (store, rows) = open(&disk);
    rows.put("key", "value").unwrap();
    drop(rows);
    store.close().unwrap();
    for after in 0..3 {
        let (store, rows) = open(&disk);
        disk.fail_sync(after);
        let Err(error) = rows.put("another", "value") else {
            disk.clear_faults();
            continue;
        };
        if !matches!(error, Error::Poisoned { .. }) {
            // The failed segment was not in use yet: another one is made.
            rows.put("another", "value").unwrap();
            store.close().unwrap();
            continue;
        }
        rows.put("another", "value").unwrap_err();
        let error = store.close().unwrap_err();
        assert!(matches!(error, Error::Poisoned { .. }), "{error:?}");
    }
    let (_, rows) = open(&disk);
    assert_eq!(&*rows.get("key").unwrap().unwrap(), b"value");
}

#[test]
fn a_thread_that_panics_may_drop_the_last_handle() {
    let disk = SimDisk::new();
    let its_disk = disk.clone();
    thread::spawn(move || {
        let (_store, rows) = open(&its_disk);
        rows.put("key", "value").unwrap();
        panic!("on purpose");
    })
    .join()
    .unwrap_err();
    assert!(open(&disk).1.get("key").unwrap().is_some());
}

// --- threads that end ---

/// Uses a store for the last time when its thread ends.
struct AtTheEnd(Option<(Store, Keyspace, u32)>, Sender<()>);

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        let (store, rows, round) = self.0.take().unwrap();
        let key = round.to_be_bytes();
        for mode in [CommitMode::Async, CommitMode::Sync] {
            rows.put_with(key, [round as u8; 3000], mode).unwrap();
            assert!(rows.get(key).unwrap().is_some());
        }
        let mut batch = syncline::WriteBatch::new();
        batch.put(&rows, "batch", "value");
        store.write(batch).unwrap().wait().unwrap();
        let snapshot = store.snapshot().unwrap();
        assert!(snapshot.iter(&rows).unwrap().count() > 1);
        store.checkpoint().unwrap();
        let (mut receipt, waker) = (rows.delete("batch").unwrap(), waker(|| ()));
        let _ = poll(&mut receipt, &waker);
        let _ = receipt.wait_timeout(PATIENCE).unwrap();
        drop((rows, store, snapshot)); // the snapshot is the last handle
        self.1.send(()).unwrap();
    }
}

#[test]
fn a_thread_local_destructor_may_use_and_close_a_store() {
    thread_local! {
        static FIRST: RefCell<Option<AtTheEnd>> = const { RefCell::new(None) };
        static SECOND: RefCell<Option<AtTheEnd>> = const { RefCell::new(None) };
    }
    let disk = SimDisk::new();
    for round in 0..4 {
        let disk = disk.clone();
        let (tell, told) = channel();
        let thread = thread::spawn(move || {
            // Initialized before or after the store's own thread locals: the order decides which
            // destructors run first.
            let (cell, _) = (&FIRST, FIRST.with(|_| ()));
            let cell = if round % 2 == 0 { cell } else { &SECOND };
            let (store, rows) = match round {
                0 | 1 => open(&disk),
                // The thread has never used the store itself.
                _ => thread::spawn(move || open(&disk)).join().unwrap(),
            };
            if round < 2 {
                rows.put("key", "value").unwrap();
            }
            cell.set(Some(AtTheEnd(Some((store, rows, round)), tell)));
        });
        heard(&told);
        thread.join().unwrap();
    }
    let (store, rows) = open(&disk);
    assert!((0..4u32).all(|n| rows.get(n.to_be_bytes()).unwrap().is_some()));
    assert!(store.verify().unwrap().is_clean());
}

// --- sizes and times ---

fn with_extreme(options: Options, number: u32, value: u64) -> (Options, &'static str) {
    let time = match value {
        0 => Duration::ZERO,
        u64::MAX => Duration::MAX,
        nanos => Duration::from_nanos(nanos),
    };
    match number {
        0 => (options.cache_bytes(value), "cache_bytes"),
        1 => (options.page_bytes(value as u32), "page_bytes"),
        2 => (options.segment_bytes(value), "segment_bytes"),
        3 => (options.flush_interval(time), "flush_interval"),
        4 => (options.max_unsynced_bytes(value), "max_unsynced_bytes"),
        5 => (options.checkpoint_log_bytes(value), "checkpoint_log_bytes"),
        6 => (options.checkpoint_interval(time), "checkpoint_interval"),
        _ => (options.max_value_bytes(value), "max_value_bytes"),
    }
}

const EXTREMES: [u64; 12] = [
    0,
    1,
    4095,
    4096,
    (64 << 10) + 1,
    (1 << 20) + 1,
    1 << 31,
    (1 << 32) + 4096,
    1 << 62,
    i64::MAX as u64,
    u64::MAX - 4095,
    u64::MAX,
];

/// Asserts that a store with these options works, or that opening refuses the option by name.
fn assert_works(options: Options, what: &str) {
    let store = match options.open_on(Arc::new(SimDisk::new())) {
        Ok(store) => store,
        Err(Error::InvalidOption { option, .. }) => {
            assert!(what.contains(option), "{what}: {option}");
            return;
        }
        // A cache larger than the machine's memory.
        Err(Error::Io { action, .. }) if what.contains("cache_bytes") => {
            assert!(action.starts_with("map"), "{what}: {action}");
            return;
        }
        Err(error) => panic!("{what}: {error}"),
    };
    let rows = store.keyspace("rows").unwrap();
    for n in 0..300u32 {
        let mode = if n % 50 == 0 { CommitMode::Sync } else { CommitMode::Async };
        match rows.put_with(n.to_be_bytes(), vec![7; 300], mode) {
            Ok(_) => {}
            Err(Error::ValueTooLong { .. }) if what.contains("max_value_bytes") => break,
            Err(error) => panic!("{what}: {error}"),
        }
    }
    let receipt = rows.put_with("key", "", CommitMode::Async).unwrap();
    for timeout in [Duration::ZERO, Duration::from_nanos(1)] {
        receipt.wait_timeout(timeout).unwrap();
    }
    assert!(receipt.wait_timeout(Duration::MAX).unwrap(), "{what}");
    let receipt = rows.put_with("key", "", CommitMode::Async).unwrap();
    assert!(receipt.wait_timeout(FOR_EVER).unwrap(), "{what}");
    let seen = store.watermarks();
    rows.put_with("key", "", CommitMode::Async).unwrap();
    store.wait_watermarks(&seen, Some(Duration::MAX)).unwrap();
    let seen = store.watermarks();
    store.wait_watermarks(&seen, Some(Duration::ZERO)).unwrap();
    store.checkpoint().unwrap();
    assert!(store.verify().unwrap().is_clean(), "{what}");
    drop(rows);
    store.close().unwrap();
}

#[test]
fn every_option_takes_any_value_or_refuses_it_by_name() {
    for number in 0..8 {
        for value in EXTREMES {
            for threads in [true, false] {
                let (options, name) = with_extreme(options(), number, value);
                let options = if threads { options } else { options.without_threads() };
                assert_works(options, &format!("{name}({value}), threads: {threads}"));
            }
        }
    }
}

#[test]
fn extreme_options_work_together() {
    let mut random = SplitMix64::new(5);
    let mut draw = |below| random.below(below);
    for _ in 0..60 {
        let (mut options, mut what) = (options(), String::new());
        for number in 0..8 {
            if draw(2) == 0 {
                let value = EXTREMES[draw(EXTREMES.len() as u64) as usize];
                let (changed, name) = with_extreme(options, number, value);
                options = changed;
                what += &format!("{name}({value}) ");
            }
        }
        assert_works(options, &what);
    }
}
