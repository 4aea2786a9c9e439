//! Nobody waits for the device for somebody else: while one thread is inside a call of the disk,
//! others read, commit and look.
//!
//! Before each call of the disk a witness, a thread of its own, does its deeds, and the call waits
//! for it. If the caller holds a lock that a deed needs, neither can go on: after [`PATIENCE`] the
//! call is noted and goes on alone, and the test fails and names the call and the deed. Nothing is
//! measured: on a sound store no time ever passes.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::disk::{Call, Op, SimDisk};
use crate::{CommitMode, Keyspace, Options, Store};

/// A deed that takes longer waits for the call.
const PATIENCE: Duration = Duration::from_secs(20);

fn options() -> Options {
    let options = Options::new().without_threads().store_id([7; 16]).page_bytes(4096);
    options.segment_bytes(1 << 20).cache_bytes(2 << 20)
}

/// What the witness does at each call.
type Deed = (&'static str, Box<dyn Fn() + Send>);

/// The thread that looks on, while it looks.
struct Looking {
    asks: Sender<()>,
    answers: Receiver<()>,
    doing: Arc<Mutex<&'static str>>,
    /// Whether the call is one at which nobody may have to wait.
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
    /// Which calls were witnessed, and where a deed had to wait.
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

    /// Does `work`, with the deeds before each call of the disk that is watched. Fails if one had
    /// to wait. Returns what calls there were.
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
        if look.answers.recv_timeout(PATIENCE).is_err() {
            let deed = *lock(&look.doing);
            lock(&self.found).waits.push(format!("{deed} waits while another is at {name}"));
            *looking = None; // one is enough
        }
    }
}

/// What nobody who uses the store should wait for, while `rows` has a row `hot` in memory.
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

/// Those that change nothing.
fn looks(store: &Store, rows: &Keyspace) -> Vec<Deed> {
    let (a, b, c, d) = (store.clone(), store.clone(), store.clone(), rows.clone());
    vec![
        ("stats", Box::new(move || drop(a.stats()))),
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
