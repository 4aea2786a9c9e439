//! Tests that no thread waits for another thread's call of the device: meanwhile others can read, commit
//! and look at statistics.
//!
//! Before each call of the disk a thread called the witness makes its own calls of the store ("deeds"),
//! and the call of the disk waits for it. If the caller holds a lock that a deed needs, neither can go
//! on. After [`TIMEOUT`] the call is noted and goes on, and the test fails and names the call and the
//! deed. Nothing is measured: on a correct store the timeout never passes.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::engine::disk::{Call, Op, SimDisk};
use crate::{CommitMode, Keyspace, Options, Store};

/// A deed that takes longer counts as waiting for the call.
const TIMEOUT: Duration = Duration::from_secs(20);

fn options() -> Options {
    let options = Options::new().without_threads().store_id([7; 16]).page_bytes(4096);
    options.segment_bytes(1 << 20).cache_bytes(2 << 20)
}

/// A call of the store that the witness makes, with its name.
type Deed = (&'static str, Box<dyn Fn() + Send>);

/// The connection to the witness while it runs.
struct Looking {
    asks: Sender<()>,
    answers: Receiver<()>,
    doing: Arc<Mutex<&'static str>>,
    /// Whether no deed may wait for this call of the disk.
    is_watched: fn(&Call<'_>) -> bool,
}

/// A disk whose calls are witnessed.
struct Witnessed {
    disk: SimDisk,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    looking: Mutex<Option<Looking>>,
    /// The calls that were witnessed, and the deeds that had to wait.
    found: Mutex<Found>,
}

#[derive(Clone, Debug, Default)]
struct Found {
    calls: Vec<String>,
    waits: Vec<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Witnessed {
    fn new() -> Witnessed {
        let (disk, shared) = (SimDisk::new(), Arc::new(Shared::default()));
        let watcher = Arc::clone(&shared);
        disk.watch(move |_, call| watcher.before(call));
        Witnessed { disk, shared }
    }

    fn open(&self, options: Options) -> Store {
        options.open_on(Arc::new(self.disk.clone())).unwrap()
    }

    /// Does `work`, with the deeds before each watched call of the disk. Fails if a deed had to wait.
    /// Returns the names of the calls.
    fn during(
        &self,
        is_watched: fn(&Call<'_>) -> bool,
        deeds: Vec<Deed>,
        work: impl FnOnce(),
    ) -> Vec<String> {
        let doing = Arc::new(Mutex::new("nothing"));
        let (asks, asked) = channel();
        let (answer, answers) = channel();
        let witness = witness(deeds, Arc::clone(&doing), asked, answer);
        *lock(&self.shared.looking) = Some(Looking { asks, answers, doing, is_watched });
        work();
        drop(lock(&self.shared.looking).take());
        witness.join().unwrap();
        let found = std::mem::take(&mut *lock(&self.shared.found));
        assert!(found.waits.is_empty(), "{:#?}", found.waits);
        assert!(!found.calls.is_empty(), "no call was witnessed");
        found.calls
    }
}

fn witness(
    deeds: Vec<Deed>,
    doing: Arc<Mutex<&'static str>>,
    asked: Receiver<()>,
    answer: Sender<()>,
) -> JoinHandle<()> {
    let name = "witness".to_owned();
    let look = move || {
        while asked.recv().is_ok() {
            for (name, deed) in &deeds {
                *lock(&doing) = name;
                deed();
            }
            if answer.send(()).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name(name).spawn(look).unwrap()
}

impl Shared {
    fn before(&self, call: &Call<'_>) {
        if std::thread::current().name() == Some("witness") {
            return;
        }
        let mut looking = lock(&self.looking);
        let Some(look) = looking.as_ref().filter(|look| (look.is_watched)(call)) else { return };
        let name = format!("{:?} {}", call.op, call.path.rsplit('/').next().unwrap_or_default());
        lock(&self.found).calls.push(name.clone());
        look.asks.send(()).expect("the witness is there");
        if look.answers.recv_timeout(TIMEOUT).is_err() {
            let deed = *lock(&look.doing);
            lock(&self.found).waits.push(format!("{deed} waits while another is at {name}"));
            *looking = None; // one is enough
        }
    }
}

/// Calls of the store that should never wait, while `rows` has a row `hot` in memory.
fn deeds(store: &Store, rows: &Keyspace) -> Vec<Deed> {
    let mut all = looks(store, rows);
    let (store, rows) = (store.clone(), rows.clone());
    all.push((
        "a small put",
        Box::new(move || drop(rows.put_with("hot", "again", CommitMode::Async).unwrap())),
    ));
    all.push(("a snapshot", Box::new(move || drop(store.snapshot().unwrap()))));
    all
}

/// The deeds that change nothing.
fn looks(store: &Store, rows: &Keyspace) -> Vec<Deed> {
    let (a, b, c, d) = (store.clone(), store.clone(), store.clone(), rows.clone());
    vec![
        ("stats", Box::new(move || _ = a.stats())),
        ("watermarks", Box::new(move || _ = b.watermarks())),
        ("the names of the keyspaces", Box::new(move || drop(c.keyspaces()))),
        ("a get", Box::new(move || assert!(d.get("hot").unwrap().is_some()))),
    ]
}

/// Whether the call may take as long as a device does. A copy into mapped memory does not.
fn is_at_the_device(call: &Call<'_>) -> bool {
    call.op != Op::MapWrite
}

fn filled(witnessed: &Witnessed, options: Options, count: u32, bytes: usize) -> (Store, Keyspace) {
    let store = witnessed.open(options);
    let rows = store.keyspace("rows").unwrap();
    rows.put("hot", "value").unwrap();
    for row in 0..count {
        rows.put_with(row.to_be_bytes(), vec![7; bytes], CommitMode::Async).unwrap();
    }
    (store, rows)
}

#[test]
fn nobody_waits_while_a_checkpoint_is_at_the_device() {
    let witnessed = Witnessed::new();
    let (store, rows) = filled(&witnessed, options(), 500, 500);
    let calls = witnessed.during(is_at_the_device, deeds(&store, &rows), || {
        store.checkpoint().unwrap();
    });
    assert!(calls.contains(&"Sync data".to_owned()), "{calls:?}");
    store.close().unwrap();
}

#[test]
fn nobody_waits_while_the_log_is_flushed() {
    let witnessed = Witnessed::new();
    let (store, rows) = filled(&witnessed, options(), 10, 500);
    let calls = witnessed.during(
        |call| call.op == Op::MapSync,
        deeds(&store, &rows),
        || {
            store.flush().unwrap();
        },
    );
    assert_eq!(calls.len(), 1);
    store.close().unwrap();
}

#[test]
fn nobody_waits_while_a_segment_grows_or_is_prepared() {
    // More than half of the allocated part of the segment is used: of its first part, then of all of it.
    for (rows, expected) in [(300, "Allocate log-"), (1100, "Create log-")] {
        let witnessed = Witnessed::new();
        let (store, rows) = filled(&witnessed, options(), rows, 500);
        let calls = witnessed.during(is_at_the_device, deeds(&store, &rows), || {
            store.keep_log().unwrap();
        });
        assert!(calls.iter().any(|call| call.starts_with(expected)), "{calls:?}");
        assert!(calls.iter().any(|call| call.starts_with("Sync log-")), "{calls:?}");
        store.close().unwrap();
    }
}

/// Log files are removed while others are prepared.
#[test]
fn nobody_waits_for_log_files_to_be_removed() {
    let witnessed = Witnessed::new();
    let (store, rows) = filled(&witnessed, options(), 20_000, 500);
    let (large, keeper) = (rows.clone(), store.clone());
    let mut deeds = deeds(&store, &rows);
    deeds.push(("the log's preallocator", Box::new(move || keeper.keep_log().unwrap())));
    deeds.push((
        "a large put",
        Box::new(move || {
            drop(large.put_with("large", vec![1; 80_000], CommitMode::Async).unwrap())
        }),
    ));
    let is_removed = |call: &Call<'_>| call.op == Op::Remove;
    witnessed.during(is_removed, deeds, || {
        store.checkpoint().unwrap();
    });
    store.close().unwrap();
}

/// A store much larger than its cache, with as many clean pages in memory as dirty ones.
fn larger_than_its_cache(witnessed: &Witnessed) -> (Store, Keyspace) {
    // One segment for all: a put that needs the next one waits for the thread that makes it.
    let options = options().segment_bytes(64 << 20);
    let (store, rows) = filled(witnessed, options, 20_000, 500);
    // With a cleaner, as in a store with threads. The test evicts pages itself.
    store.cache().on_short_of_frames(|| ());
    store.checkpoint().unwrap();
    for row in (0..20_000_u32).step_by(8) {
        rows.get(row.to_be_bytes()).unwrap();
    }
    for row in (0..2000_u32).step_by(8) {
        rows.put_with(row.to_be_bytes(), [8; 500], CommitMode::Async).unwrap();
    }
    (store, rows)
}

/// CACHE-11: a read takes the frame of a clean page while another thread writes dirty ones.
#[test]
fn nobody_waits_for_the_write_back_of_another_thread() {
    let witnessed = Witnessed::new();
    let (store, rows) = larger_than_its_cache(&witnessed);
    let mut deeds = deeds(&store, &rows);
    let (cold, next) = (rows.clone(), std::cell::Cell::new(2000_u32));
    deeds.push((
        "gets of rows that are not in memory",
        Box::new(move || {
            for _ in 0..60 {
                assert!(cold.get(next.get().to_be_bytes()).unwrap().is_some());
                next.set(2000 + (next.get() + 8) % 18_000);
            }
        }),
    ));
    let is_write = |call: &Call<'_>| call.op == Op::Write;
    let misses = store.stats().cache_misses;
    witnessed.during(is_write, deeds, || {
        for _ in 0..10 {
            store.cache().evict(10_000).unwrap();
            for row in (0..2000_u32).step_by(8) {
                rows.put_with(row.to_be_bytes(), [9; 500], CommitMode::Async).unwrap();
            }
        }
    });
    assert!(store.stats().cache_misses > misses + 100, "the gets needed frames");
    store.close().unwrap();
}

#[test]
fn nobody_waits_while_a_store_is_verified() {
    let witnessed = Witnessed::new();
    let (store, rows) = larger_than_its_cache(&witnessed);
    let calls = witnessed.during(
        |call| call.op == Op::Read,
        deeds(&store, &rows),
        || {
            let found = store.verify().unwrap();
            assert!(found.is_clean(), "{found:?}");
            assert_eq!(found.keys, 20_001);
        },
    );
    assert!(calls.len() > 1000, "{} reads", calls.len());
    store.close().unwrap();
}

#[test]
fn nobody_waits_while_a_dropped_keyspace_is_taken_apart() {
    let witnessed = Witnessed::new();
    let (store, rows) = larger_than_its_cache(&witnessed);
    drop(rows);
    let kept = store.keyspace("kept").unwrap();
    kept.put("hot", "value").unwrap();
    let before = store.verify().unwrap().pages;
    let is_read = |call: &Call<'_>| call.op == Op::Read;
    let calls = witnessed.during(is_read, deeds(&store, &kept), || {
        store.drop_keyspace("rows").unwrap();
    });
    assert!(calls.len() > 10, "{} reads", calls.len());
    let after = store.verify().unwrap();
    assert!(after.is_clean() && after.pages < 8 && before > 1000, "{before}, {after:?}");
    store.close().unwrap();
}

/// The check sees the store as of its beginning, whatever changes meanwhile.
#[test]
fn a_store_that_changes_while_it_is_verified_is_clean() {
    let witnessed = Witnessed::new();
    let (store, rows) = filled(&witnessed, options(), 2500, 500);
    for row in (0..200_u32).step_by(3) {
        rows.put_with(row.to_be_bytes(), vec![7; 20_000], CommitMode::Async).unwrap();
    }
    // Checked last. The witness needs other pages than those that are being read.
    let changed = store.keyspace("rows to be changed").unwrap();
    for row in 0..300_u32 {
        changed.put_with(row.to_be_bytes(), [7; 500], CommitMode::Async).unwrap();
    }
    store.checkpoint().unwrap();
    for row in 400..800_u32 {
        rows.delete_with(row.to_be_bytes(), CommitMode::Async).unwrap();
    }
    // Makes page ids free, to be reused.
    store.checkpoint().unwrap();
    let (witness, next) = (changed.clone(), std::cell::Cell::new(0_u32));
    let deed = Box::new(move || {
        let at = next.get();
        next.set(at + 1);
        let value = vec![9; [10, 900, 3000, 30_000][at as usize % 4]];
        witness.put_with((at * 7 % 300).to_be_bytes(), value, CommitMode::Async).unwrap();
        witness.put_with((1000 + at % 200).to_be_bytes(), [1; 500], CommitMode::Async).unwrap();
        witness.delete_with((at * 11 % 300).to_be_bytes(), CommitMode::Async).unwrap();
    });
    let counted = rows.len().unwrap() + changed.len().unwrap();
    let is_read = |call: &Call<'_>| call.op == Op::Read;
    let calls = witnessed.during(is_read, vec![("commits", deed)], || {
        let found = store.verify().unwrap();
        assert!(found.is_clean(), "{found:?}");
        assert_eq!(found.keys, counted, "as of the beginning of the check");
    });
    assert!(calls.len() > 300, "{} reads", calls.len());
    assert!(store.verify().unwrap().is_clean());
    store.close().unwrap();
}
