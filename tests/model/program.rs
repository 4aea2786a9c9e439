//! Any bytes as a program: what the fuzz target `store_model` runs.
//!
//! Each instruction is a byte, and its operands are the bytes after it. After every crash and close
//! the store is compared with the model: it holds the first k commits, whole and in order, with every
//! commit that was reported durable among them; the status of each token is right; its check of
//! itself is clean; and backward iteration gives what forward iteration gives.

use std::sync::Arc;

use syncline::disk::{Keep, SimDisk};
use syncline::{CommitMode, Keyspace, Options, Receipt, Snapshot, Store, WriteBatch};

use crate::contents::contents;
use crate::model::{Change, Map, Model};

/// More instructions than this find nothing new.
const MOST_INSTRUCTIONS: usize = 200;

/// The name of the only keyspace.
const NAME: &str = "k";

/// Lengths at which the store changes how it stores a value: in the leaf, on one page, on two, in
/// frames of the cache, and an eighth of it.
const EDGES: [usize; 5] = [4096 / 4 - 64, 4064, 2 * 4064, 16 * 4064, 128 << 10];

/// Runs the program in `bytes`.
pub(crate) fn run(bytes: &[u8]) {
    let mut program = Program { bytes, at: 0 };
    let mut tested = StoreUnderTest::new();
    for _ in 0..MOST_INSTRUCTIONS {
        let Some(instruction) = program.byte() else { break };
        tested.step(instruction % 20, &mut program);
    }
    tested.crash(Keep::Everything);
}

/// Operands: zeros once the bytes are used up.
struct Program<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Program<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied();
        self.at += 1;
        byte
    }

    fn number(&mut self) -> usize {
        usize::from(self.byte().unwrap_or(0))
    }

    fn key(&mut self) -> Vec<u8> {
        let (len, byte) = (self.number() % 24, self.byte().unwrap_or(0));
        let mut key = vec![byte & 3; len];
        key.push(byte);
        key
    }

    /// Mostly short, sometimes out of line, often at an edge.
    fn value(&mut self) -> Arc<[u8]> {
        let (len, byte) = (self.number(), self.byte().unwrap_or(0));
        let len = match len {
            ..230 => len,
            230..245 => EDGES[(len - 230) / 3] - 1 + len % 3,
            245..250 => (len - 244) * 400,
            _ => (len - 249) * 40_000,
        };
        vec![byte; len].into()
    }

    fn mode(&mut self) -> CommitMode {
        if self.number().is_multiple_of(4) { CommitMode::Sync } else { CommitMode::Async }
    }
}

fn put(key: Vec<u8>, value: Arc<[u8]>) -> Change {
    Change::Put { keyspace: NAME.to_owned(), key, value }
}

fn delete(key: Vec<u8>) -> Change {
    Change::Delete { keyspace: NAME.to_owned(), key }
}

struct StoreUnderTest {
    disk: SimDisk,
    store: Store,
    keys: Keyspace,
    model: Model,
    /// Open snapshots, each with the contents that it must show.
    snapshots: Vec<(Snapshot, Arc<Map>)>,
}

impl StoreUnderTest {
    fn new() -> Self {
        let disk = SimDisk::new();
        let store = open(&disk);
        let keys = store.keyspace(NAME).expect("a keyspace");
        let mut model = Model::default();
        let created = vec![Change::Create { keyspace: NAME.to_owned() }];
        model.committed_durably(store.watermarks().durable, created);
        StoreUnderTest { disk, store, keys, model, snapshots: Vec::new() }
    }

    fn now(&self) -> &Arc<Map> {
        &self.model.now()[NAME]
    }

    fn step(&mut self, instruction: u8, program: &mut Program<'_>) {
        match instruction {
            0..=4 => {
                let (key, value, mode) = (program.key(), program.value(), program.mode());
                let receipt = self.keys.put_with(&key, &value, mode).expect("a put");
                self.committed(&receipt, vec![put(key, value)], mode);
            }
            5 | 6 => {
                let (key, mode) = (program.key(), program.mode());
                let receipt = self.keys.delete_with(&key, mode).expect("a delete");
                self.committed(&receipt, vec![delete(key)], mode);
            }
            7 | 8 => self.batch(program),
            9 => {
                let key = program.key();
                let found = self.keys.get(&key).expect("a get");
                assert_eq!(found.as_deref(), self.now().get(&key).map(|value| &value[..]));
            }
            10 => self.check_contents(),
            11 => {
                let durable = self.store.flush().expect("a flush");
                assert_eq!(durable, self.store.watermarks().appended);
                self.model.durable(durable);
            }
            12 => {
                self.store.checkpoint().expect("a checkpoint");
            }
            13 => self.reopen(),
            14 => self.crash(Keep::Everything),
            15 | 16 => {
                let snapshot = self.store.snapshot().expect("a snapshot");
                self.snapshots.push((snapshot, Arc::clone(self.now())));
            }
            17 if !self.snapshots.is_empty() => {
                let which = program.number() % self.snapshots.len();
                let (snapshot, then) = self.snapshots.swap_remove(which);
                check_snapshot(&snapshot, &self.keys, &then);
            }
            _ => {
                let seed = program.number() as u64;
                self.crash(if seed == 0 { Keep::Nothing } else { Keep::Seeded(seed) });
            }
        }
    }

    fn batch(&mut self, program: &mut Program<'_>) {
        let mut batch = WriteBatch::new();
        let (mut changes, mut last) = (Vec::new(), None);
        let (count, kind) = (program.number() % 20, program.number());
        for _ in 0..count {
            let key = match last.take() {
                Some(key) if kind & 1 == 1 && program.number() & 1 == 1 => key,
                _ => program.key(),
            };
            last = Some(key.clone());
            if kind & 2 == 2 || !program.number().is_multiple_of(3) {
                let value = program.value();
                batch.put(&self.keys, &key, &value);
                changes.push(put(key, value));
            } else {
                batch.delete(&self.keys, &key);
                changes.push(delete(key));
            }
        }
        let mode = program.mode();
        let receipt = self.store.write_with(batch, mode).expect("a batch");
        self.committed(&receipt, changes, mode);
    }

    fn committed(&mut self, receipt: &Receipt, changes: Vec<Change>, mode: CommitMode) {
        self.model.committed(receipt, changes);
        if mode == CommitMode::Sync {
            self.model.durable(receipt.lsn());
        }
    }

    /// Closes the store and opens it again: nothing may be missing.
    fn reopen(&mut self) {
        self.check_snapshots();
        self.store.clone().close().expect("a close");
        self.model.durable(self.store.watermarks().durable);
        assert_eq!(self.store.watermarks().durable, self.store.watermarks().appended);
        self.store = open(&self.disk);
        assert!(self.store.stats().recovery.was_clean);
        self.check_recovered();
    }

    /// Crashes, and opens the rest.
    fn crash(&mut self, keep: Keep) {
        self.check_snapshots();
        // A kill takes nothing that was appended.
        let marks = self.store.watermarks();
        let survives = if keep == Keep::Everything { marks.appended } else { marks.durable };
        self.model.durable(survives);
        self.disk = self.disk.crash(keep);
        self.store = open(&self.disk);
        self.check_recovered();
    }

    fn check_recovered(&mut self) {
        self.snapshots.clear();
        self.keys = self.store.open_keyspace(NAME).expect("keyspaces").expect("it is durable");
        self.model.recovered(&self.store).expect("recovery");
        self.model.check_tokens(&self.store).expect("tokens");
        self.model.thin_tokens();
        self.check_contents();
        let verification = self.store.verify().expect("a verification");
        assert!(verification.is_clean(), "{verification:?}");
    }

    fn check_contents(&mut self) {
        let found = contents(&self.store).expect("contents");
        self.model.compare(&found).expect("contents");
        let backward = self.keys.iter().expect("a range").rev().map(|entry| entry.expect("entry"));
        let keys = backward.map(|entry| entry.key().to_vec());
        assert!(keys.eq(self.now().keys().rev().cloned()), "backward");
    }

    fn check_snapshots(&self) {
        for (snapshot, then) in &self.snapshots {
            check_snapshot(snapshot, &self.keys, then);
        }
    }
}

fn check_snapshot(snapshot: &Snapshot, keys: &Keyspace, expected: &Map) {
    let pairs =
        snapshot.iter(keys).expect("a range").map(|entry| entry.expect("entry").into_pair());
    let found: Map = pairs.map(|(key, value)| (key, value.into())).collect();
    assert_eq!(&found, expected, "as of LSN {}", snapshot.lsn());
    assert_eq!(snapshot.len(keys).expect("a count"), expected.len() as u64);
}

/// Small pages and segments, and no threads: the program alone determines the run.
fn open(disk: &SimDisk) -> Store {
    Options::new()
        .cache_bytes(1 << 20)
        .page_bytes(4096)
        .segment_bytes(64 << 10)
        .checkpoint_log_bytes(128 << 10)
        .store_id([1; 16])
        .without_threads()
        .open_on(Arc::new(disk.clone()))
        .expect("the store opens after any crash")
}
