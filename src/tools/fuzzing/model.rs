//! The whole store on a disk that crashes, against a `BTreeMap`.
//!
//! The bytes are a program: each instruction is a byte, its operands the bytes after it. Every crash
//! checks the master rule:
//!
//! - the store holds the first k commits, whole and in order;
//! - every commit that was reported durable is among them;
//! - the status of each receipt is true, now and after every later crash;
//! - the store's own verification is clean.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::disk::{Keep, SimDisk};
use crate::{CommitMode, Keyspace, Lsn, Options, Receipt, Snapshot, Status, Store, WriteBatch};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;
type Change = (Vec<u8>, Option<Vec<u8>>);

/// Longer programs find nothing new.
const MOST_INSTRUCTIONS: usize = 200;

/// Lengths at which the way to store a value changes: in the leaf, on one page, on two, in frames of
/// the cache, in an eighth of it.
const EDGES: [usize; 5] = [4096 / 4 - 64, 4064, 2 * 4064, 16 * 4064, 128 << 10];

/// Runs the program in `bytes`.
pub fn store_model(bytes: &[u8]) {
    let mut program = Program { bytes, at: 0 };
    let mut store = StoreUnderTest::new();
    for _ in 0..MOST_INSTRUCTIONS {
        let Some(instruction) = program.byte() else { break };
        store.step(instruction % 20, &mut program);
    }
    store.crash(Keep::Everything);
}

/// Operands, zeros once they are used up.
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
    fn value(&mut self) -> Vec<u8> {
        let (len, byte) = (self.number(), self.byte().unwrap_or(0));
        let len = match len {
            ..230 => len,
            230..245 => EDGES[(len - 230) / 3] - 1 + len % 3,
            245..250 => (len - 244) * 400,
            _ => (len - 249) * 40_000,
        };
        vec![byte; len]
    }

    fn mode(&mut self) -> CommitMode {
        if self.number().is_multiple_of(4) { CommitMode::Sync } else { CommitMode::Async }
    }
}

/// A commit that a crash may still undo.
struct Commit {
    receipt: Receipt,
    changes: Vec<Change>,
}

struct StoreUnderTest {
    disk: SimDisk,
    store: Store,
    keys: Keyspace,
    /// The highest LSN that was reported durable.
    told: Lsn,
    /// Contents that no crash can undo.
    base: Map,
    /// The commits since, in order.
    commits: Vec<Commit>,
    /// The expected contents.
    now: Map,
    /// Tokens of commits that a crash undid.
    lost: Vec<String>,
    /// Open snapshots, each with the contents that it must show.
    snapshots: Vec<(Snapshot, Map)>,
}

impl StoreUnderTest {
    fn new() -> Self {
        let disk = SimDisk::new();
        let store = open(&disk);
        let keys = store.keyspace("k").expect("a keyspace");
        let (base, now) = (Map::new(), Map::new());
        let (commits, lost, snapshots) = (Vec::new(), Vec::new(), Vec::new());
        StoreUnderTest { disk, store, keys, told: Lsn::ZERO, base, commits, now, lost, snapshots }
    }

    fn step(&mut self, instruction: u8, program: &mut Program<'_>) {
        match instruction {
            0..=4 => {
                let (key, value, mode) = (program.key(), program.value(), program.mode());
                let receipt = self.keys.put_with(&key, &value, mode).expect("a put");
                self.committed(receipt, vec![(key, Some(value))], mode);
            }
            5 | 6 => {
                let (key, mode) = (program.key(), program.mode());
                let receipt = self.keys.delete_with(&key, mode).expect("a delete");
                self.committed(receipt, vec![(key, None)], mode);
            }
            7 | 8 => self.batch(program),
            9 => {
                let key = program.key();
                let found = self.keys.get(&key).expect("a get");
                assert_eq!(found.as_deref(), self.now.get(&key).map(|value| &value[..]));
            }
            10 => check_contents(&self.keys, &self.now),
            11 => {
                let durable = self.store.flush().expect("a flush");
                assert!(self.commits.iter().all(|commit| commit.receipt.lsn() <= durable));
            }
            12 => {
                self.store.checkpoint().expect("a checkpoint");
            }
            13 => self.reopen(),
            14 => self.crash(Keep::Everything),
            15 | 16 => {
                let snapshot = self.store.snapshot().expect("a snapshot");
                self.snapshots.push((snapshot, self.now.clone()));
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
        let mut changes: Vec<Change> = Vec::new();
        let (count, kind) = (program.number() % 20, program.number());
        for _ in 0..count {
            let key = match changes.last() {
                Some((last, _)) if kind & 1 == 1 && program.number() & 1 == 1 => last.clone(),
                _ => program.key(),
            };
            let is_put = kind & 2 == 2 || !program.number().is_multiple_of(3);
            let value = is_put.then(|| program.value());
            match &value {
                Some(value) => batch.put(&self.keys, &key, value),
                None => batch.delete(&self.keys, &key),
            }
            changes.push((key, value));
        }
        let mode = program.mode();
        let receipt = self.store.write_with(batch, mode).expect("a batch");
        self.committed(receipt, changes, mode);
    }

    fn committed(&mut self, receipt: Receipt, changes: Vec<Change>, mode: CommitMode) {
        if mode == CommitMode::Sync {
            self.told = receipt.lsn();
        }
        apply(&mut self.now, &changes);
        self.commits.push(Commit { receipt, changes });
    }

    /// Closes the store and opens it again: nothing may be missing.
    fn reopen(&mut self) {
        self.check_snapshots();
        self.store.clone().close().expect("a close");
        self.store = open(&self.disk);
        assert!(self.store.stats().recovery.was_clean);
        self.recovered(Lsn::MAX);
    }

    fn check_snapshots(&self) {
        for (snapshot, then) in &self.snapshots {
            check_snapshot(snapshot, &self.keys, then);
        }
    }

    /// Crashes, and opens the remains.
    fn crash(&mut self, keep: Keep) {
        self.check_snapshots();
        let durable = match keep {
            Keep::Everything => Lsn::MAX,
            _ => self.told.max(self.store.watermarks().durable),
        };
        self.disk = self.disk.crash(keep);
        self.store = open(&self.disk);
        self.recovered(durable);
    }

    /// Compares the recovered store with the model: all commits up to `durable` must be there.
    fn recovered(&mut self, durable: Lsn) {
        self.snapshots.clear();
        self.keys = self.store.open_keyspace("k").expect("keyspaces").expect("was made durably");
        let mut ended = false;
        for commit in self.commits.drain(..) {
            let token = commit.receipt.token();
            match self.store.status(&token).expect("a status") {
                Status::Durable => {
                    assert!(!ended, "a commit after a lost one");
                    apply(&mut self.base, &commit.changes);
                }
                Status::Lost => {
                    assert!(commit.receipt.lsn() > durable, "a durable commit was lost");
                    ended = true;
                    self.lost.push(token);
                }
                Status::Pending => panic!("recovery has judged every commit before it"),
            }
        }
        for token in &self.lost {
            assert_eq!(self.store.status(token).expect("a status"), Status::Lost);
        }
        self.now = self.base.clone();
        check_contents(&self.keys, &self.now);
        let verification = self.store.verify().expect("a verification");
        assert!(verification.is_clean(), "{verification:?}");
    }
}

fn apply(map: &mut Map, changes: &[Change]) {
    for (key, value) in changes {
        match value {
            Some(value) => map.insert(key.clone(), value.clone()),
            None => map.remove(key),
        };
    }
}

fn check_snapshot(snapshot: &Snapshot, keys: &Keyspace, expected: &Map) {
    let pairs = snapshot.iter(keys).expect("a range");
    let found: Map = pairs.map(|entry| entry.expect("an entry").into_pair()).collect();
    assert_eq!(&found, expected, "as of LSN {}", snapshot.lsn());
    assert_eq!(snapshot.len(keys).expect("a count"), expected.len() as u64);
}

fn check_contents(keys: &Keyspace, expected: &Map) {
    let pairs = keys.iter().expect("a range").map(|entry| entry.expect("an entry").into_pair());
    let found: Map = pairs.collect();
    assert_eq!(&found, expected);
    assert_eq!(keys.len().expect("a count"), expected.len() as u64);
    let backward = keys.iter().expect("a range").rev().map(|entry| entry.expect("an entry"));
    assert!(backward.map(|entry| entry.key().to_vec()).eq(expected.keys().rev().cloned()));
}

/// Opens the store with small pages and segments, and without threads: only the program acts.
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
