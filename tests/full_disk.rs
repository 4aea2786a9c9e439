//! Stores on a full disk, with any cache and any shape of batch.
//!
//! - A commit that finds no space is refused and leaves no trace.
//! - Everything can be read, rows can be deleted, and checkpoints made.
//! - A store that was closed or killed on the full disk can be opened there.
//! - Once there is space, the store works without reopening. A full disk never poisons it.
//!
//! `SYNCLINE_SEED=n cargo test --test full_disk` replays one life, `SYNCLINE_SEEDS=n` runs n lives.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use support::random::SplitMix64;
use syncline::disk::{Disk, Fault, FaultError, Keep, Op, Persistence, SimDisk};
use syncline::{CommitMode, Error, Keyspace, Options, Result, Snapshot, Store, WriteBatch};

const SEEDS: u64 = 24;
const STEPS: usize = 60;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// A store on a disk that is full now and then, and its expected contents.
struct Life {
    rng: SplitMix64,
    disk: SimDisk,
    options: Options,
    mode: CommitMode,
    keys: u64,
    store: Option<(Store, Keyspace)>,
    rows: Rows,
    held: Vec<(Snapshot, Rows)>,
    is_full: bool,
    refused: usize,
    /// Whether a write succeeded since the store was opened.
    has_written: bool,
}

impl Life {
    fn new(seed: u64) -> Life {
        let mut rng = SplitMix64::new(seed);
        let mut pick = |items: &[u64]| items[rng.below(items.len() as u64) as usize];
        let options = Options::new()
            .without_threads()
            .store_id([7; 16])
            .cache_bytes(pick(&[1 << 20, 1 << 20, 2 << 20, 8 << 20, 32 << 20]))
            .page_bytes(pick(&[4096, 4096, 8192, 16384, 32768]) as u32)
            .segment_bytes(pick(&[64 << 10, 256 << 10, 1 << 20, 64 << 20]))
            .checkpoint_log_bytes(pick(&[64 << 10, 1 << 20, 16 << 20]));
        let mode = [CommitMode::Sync, CommitMode::Async][pick(&[0, 1]) as usize];
        let keys = pick(&[10, 300, 3000, 20_000]);
        let disk = SimDisk::new();
        let (rows, held) = (Rows::new(), Vec::new());
        let (store, is_full, refused, has_written) = (None, false, 0, false);
        Life { rng, disk, options, mode, keys, store, rows, held, is_full, refused, has_written }
    }

    fn below(&mut self, n: u64) -> u64 {
        self.rng.below(n)
    }

    fn rows(&self) -> &Keyspace {
        &self.store.as_ref().expect("the store is open").1
    }

    fn store(&self) -> &Store {
        &self.store.as_ref().expect("the store is open").0
    }

    fn open(&mut self) {
        let store = self.options.clone().open_on(Arc::new(self.disk.clone())).unwrap();
        let rows = match store.open_keyspace("rows").unwrap() {
            Some(rows) => rows,
            None => store.create_keyspace("rows").unwrap(),
        };
        self.store = Some((store, rows));
        self.has_written = false;
        self.check();
    }

    fn key(&mut self) -> Vec<u8> {
        let key = self.below(self.keys);
        let mut key = format!("{:x}-{key}", key % 7).into_bytes();
        key.resize(key.len() + key.len() % 3 * 20, b'.');
        key
    }

    /// A value of any size class; long ones only in small batches.
    fn value(&mut self, batch: usize) -> Vec<u8> {
        let page = 4096;
        let most = match self.below(8) {
            0 => 0,
            1..5 => 120,
            5 => page / 4,
            6 if batch <= 100 => 2 * page,
            7 if batch <= 4 => 60 * page,
            _ => 40,
        };
        let len = if most == 0 { 0 } else { self.below(most) };
        vec![self.below(256) as u8; len as usize]
    }

    fn batch_size(&mut self) -> usize {
        let most = [1, 1, 4, 20, 100, 1000][self.below(6) as usize];
        1 + self.below(most) as usize
    }

    /// Writes a batch, which may name a key more than once.
    fn write(&mut self, count: usize, deletes: bool) -> Result<()> {
        let mut batch = WriteBatch::new();
        let mut after = self.rows.clone();
        for _ in 0..count {
            let key = self.key();
            if deletes || self.below(10) == 0 {
                let at = after.range(key.clone()..).next().map_or(key, |(key, _)| key.clone());
                batch.delete(self.rows(), &at);
                after.remove(&at);
            } else {
                let value = self.value(count);
                batch.put(self.rows(), &key, &value);
                after.insert(key, value);
            }
        }
        let result = self.store().write_with(batch, self.mode);
        if result.is_ok() {
            self.rows = after;
            self.has_written = true;
        }
        result.map(|_| ())
    }

    fn put(&mut self) {
        let count = self.batch_size();
        match self.write(count, false) {
            Ok(()) => {}
            Err(Error::DiskFull { .. }) if self.is_full => self.refused += 1,
            Err(error) => panic!("a batch of {count} rows, full: {}: {error:?}", self.is_full),
        }
    }

    fn delete(&mut self) {
        let count = if self.is_full { 1 } else { 1 + self.below(40) as usize };
        match self.write(count, true) {
            Ok(()) => {}
            // The first write of a life begins its log, and a closed store has little space for one.
            Err(Error::DiskFull { file, .. })
                if self.is_full && !self.has_written && file.contains("log-") => {}
            Err(error) => panic!("a delete of {count} rows, full: {}: {error:?}", self.is_full),
        }
    }

    /// Puts small rows, one by one, until there is no space for another.
    fn trickle(&mut self) {
        let bytes = 1 + self.below(90) as usize;
        for _ in 0..3000 {
            let (key, value) = (self.key(), vec![self.below(256) as u8; bytes]);
            match self.rows().put_with(&key, &value, self.mode) {
                Ok(_) => self.rows.insert(key, value),
                Err(Error::DiskFull { .. }) if self.is_full => return self.refused += 1,
                Err(error) => panic!("a row of {bytes} bytes, full: {}: {error:?}", self.is_full),
            };
            self.has_written = true;
        }
    }

    /// Deletes as many rows, one by one. There is always space for that, unless a snapshot keeps them.
    fn drain(&mut self) {
        self.held.clear();
        let first = self.key();
        let keys: Vec<_> =
            self.rows.range(first..).map(|(key, _)| key.clone()).take(3000).collect();
        if !self.has_written {
            self.delete();
        }
        for key in keys.into_iter().filter(|_| self.has_written) {
            self.rows().delete_with(&key, self.mode).unwrap();
            self.rows.remove(&key);
        }
    }

    /// Reads everything, in every way.
    fn check(&self) {
        let rows = self.rows();
        let all: Rows = rows.iter().unwrap().map(pair).collect::<Result<_>>().unwrap();
        assert!(all == self.rows, "the store has {} rows, not {}", all.len(), self.rows.len());
        let back = rows.iter().unwrap().rev().map(pair).collect::<Result<Vec<_>>>().unwrap();
        assert!(back.iter().map(|(key, _)| key).eq(self.rows.keys().rev()));
        for (key, value) in self.rows.iter().step_by(1 + self.rows.len() / 20) {
            assert_eq!(rows.get(key).unwrap().as_deref(), Some(&value[..]));
        }
        assert_eq!(rows.get(b"nothing").unwrap(), None);
        for (snapshot, then) in &self.held {
            let found: Rows =
                snapshot.iter(rows).unwrap().map(pair).collect::<Result<_>>().unwrap();
            assert!(found == *then, "a snapshot at {} has changed", snapshot.lsn());
        }
    }

    fn hold(&mut self) {
        if self.held.len() < 2 && self.below(2) == 0 {
            let snapshot = self.store().snapshot().unwrap();
            self.held.push((snapshot, self.rows.clone()));
        } else {
            self.held.clear();
        }
    }

    fn fill(&mut self) {
        let free = [0, 10 << 10, 300 << 10, 2 << 20][self.below(4) as usize];
        let free = if free == 0 { 0 } else { self.below(free) };
        self.disk.set_capacity(Some(self.disk.used_bytes() + free));
        self.is_full = true;
    }

    /// Gives space again: the store works without reopening.
    fn heal(&mut self) {
        self.disk.set_capacity(None);
        self.is_full = false;
        self.write(3, false).unwrap();
    }

    /// Fails one call to the disk of a kind that makes files longer.
    fn fail_growth(&mut self) {
        let op = [Op::Allocate, Op::Create][self.below(2) as usize];
        let (error, persistence) = (FaultError::Io, Persistence::Once);
        self.disk.fail(Fault { op, after: 0, error, persistence });
        let count = self.batch_size();
        match self.write(count, false) {
            Ok(()) | Err(Error::Io { .. }) => {}
            Err(Error::DiskFull { .. }) if self.is_full => {}
            Err(error) => panic!("a batch of {count} rows, while {op:?} fails: {error:?}"),
        }
        self.disk.clear_faults();
    }

    /// Ends the store by a close, a kill or a power loss, and opens it on the disk as it is.
    fn reopen(&mut self) {
        self.held.clear();
        let (store, rows) = self.store.take().unwrap();
        drop(rows);
        let keep = match self.below(3) {
            0 => {
                store.close().unwrap();
                None
            }
            1 if self.mode == CommitMode::Sync => Some(Keep::Seeded(self.below(1 << 32))),
            _ => Some(Keep::Everything),
        };
        if let Some(keep) = keep {
            self.disk = self.disk.crash(keep);
        }
        let before = (self.disk.list().unwrap(), self.disk.used_bytes());
        self.open();
        if self.is_full {
            let grown = self.disk.used_bytes().saturating_sub(before.1);
            assert!(grown <= 64 << 20, "{before:?}");
        }
    }

    fn step(&mut self) {
        match self.below(20) {
            0..6 => self.put(),
            6..8 => self.delete(),
            8 => drop(self.store().checkpoint().unwrap()),
            9 => self.hold(),
            10 | 11 if self.is_full => self.heal(),
            10..13 => self.fill(),
            13 => self.reopen(),
            14 => self.fail_growth(),
            15 | 16 => self.trickle(),
            17 | 18 => self.drain(),
            _ => self.check(),
        }
        if self.below(4) == 0 {
            self.check();
        }
    }

    fn end(&mut self) {
        self.heal();
        self.held.clear();
        let verified = self.store().verify().unwrap();
        assert!(verified.is_clean(), "{:#?}", verified.problems);
        self.reopen();
    }
}

fn pair(entry: Result<syncline::Entry>) -> Result<(Vec<u8>, Vec<u8>)> {
    entry.map(|entry| (entry.key().to_vec(), entry.value().to_vec()))
}

/// Prints how to replay the seed if its life fails.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("SYNCLINE_SEED={} cargo test --test full_disk replays this", self.0);
        }
    }
}

#[test]
fn a_full_disk_refuses_puts_and_everything_else_still_works() {
    let number = |name| std::env::var(name).ok().map(|n| n.parse::<u64>().expect("a number"));
    let seeds = match number("SYNCLINE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SYNCLINE_SEEDS").unwrap_or(SEEDS),
    };
    let many = seeds.end - seeds.start >= SEEDS;
    let mut refused = 0;
    for seed in seeds {
        let _replay = Replay(seed);
        let mut life = Life::new(seed);
        life.open();
        (0..STEPS).for_each(|_| life.step());
        life.end();
        refused += life.refused;
    }
    assert!(!many || refused > 0, "no disk was ever full");
}

/// An operator makes space on a full disk, any number of times: after deletes and a checkpoint, puts
/// work again.
#[test]
fn deletes_and_a_checkpoint_lead_out_of_a_full_disk() {
    const SEGMENT: u64 = 64 << 20;
    for (cache_bytes, segment_bytes, batch, space) in [
        (1 << 20, 256 << 10, 20, 4 << 20),
        (1 << 20, 256 << 10, 1000, 24 << 20),
        (16 << 20, 256 << 10, 100, 6 << 20),
        (16 << 20, SEGMENT, 1, 3 << 20),
        (4 << 20, 1 << 20, 1, 4 << 20),
        (16 << 20, SEGMENT, 50, 20 << 20),
    ] {
        let disk = SimDisk::new();
        let options = Options::new().without_threads().store_id([7; 16]).cache_bytes(cache_bytes);
        let store = options.segment_bytes(segment_bytes).open_on(Arc::new(disk.clone())).unwrap();
        let rows = store.keyspace("rows").unwrap();
        disk.set_capacity(Some(disk.used_bytes() + space));
        let key = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        let put = |from: u64| {
            let mut puts = WriteBatch::new();
            (from..from + batch).for_each(|number| puts.put(&rows, key(number), [1; 60]));
            store.write_with(puts, CommitMode::Async)
        };
        let (mut first, mut next) = (0, 0);
        for round in 0..6 {
            let refused = loop {
                match put(next) {
                    Ok(_) => next += batch,
                    Err(error) => break error,
                }
            };
            assert!(matches!(refused, Error::DiskFull { .. }), "{refused:?}");
            assert_eq!(rows.len().unwrap(), next - first, "a refused put left a trace");
            let gone = first..first + (next - first) / 3 * 2;
            for number in gone.clone() {
                rows.delete_with(key(number), CommitMode::Async)
                    .unwrap_or_else(|error| panic!("round {round}, {number} of {gone:?}: {error}"));
            }
            first = gone.end;
            store.checkpoint().unwrap();
            rows.put_with(key(next), [1; 60], CommitMode::Async).unwrap();
            rows.delete_with(key(next), CommitMode::Async).unwrap();
        }
        assert!(store.verify().unwrap().is_clean());
        // Everything is read back after a kill.
        let disk = disk.crash(Keep::Everything);
        let store = Options::new().without_threads().open_on(Arc::new(disk)).unwrap();
        assert_eq!(store.open_keyspace("rows").unwrap().unwrap().len().unwrap(), next - first);
        assert!(store.verify().unwrap().is_clean());
    }
}

/// As above, while the store's own threads make checkpoints, and other threads write and delete.
#[test]
fn deletes_succeed_on_a_full_disk_during_checkpoints_and_other_writes() {
    const WRITERS: u64 = 4;
    const DELETERS: u64 = 4;
    let disk = SimDisk::new();
    let options = Options::new().store_id([7; 16]).cache_bytes(2 << 20);
    let options = options.segment_bytes(1 << 20).checkpoint_log_bytes(64 << 10);
    let store = options.open_on(Arc::new(disk.clone())).unwrap();
    let rows = store.keyspace("rows").unwrap();
    disk.set_capacity(Some(disk.used_bytes() + (8 << 20)));
    let key = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    let write = &|writer: u64, from: u64| {
        let mut refused = 0;
        for number in (from..from + 2000).filter(|number| number % WRITERS == writer) {
            match rows.put_with(key(number), [1; 60], CommitMode::Async) {
                Ok(_) => {}
                Err(Error::DiskFull { .. }) => refused += 1,
                Err(error) => panic!("{number}: {error}"),
            }
        }
        refused
    };
    let delete = &|numbers: &mut dyn Iterator<Item = u64>| {
        let delete = |number| rows.delete_with(key(number), CommitMode::Async);
        let refused: Vec<_> = numbers.filter_map(|number| delete(number).err()).collect();
        assert!(refused.is_empty(), "{} deletes: {}", refused.len(), refused[0]);
    };
    let (mut first, mut next) = (0, 0);
    for _ in 0..4 {
        let mut refused = 0;
        while refused < 20 {
            refused = std::thread::scope(|scope| {
                let writers: Vec<_> =
                    (0..WRITERS).map(|writer| scope.spawn(move || write(writer, next))).collect();
                writers.into_iter().map(|writer| writer.join().unwrap()).sum()
            });
            next += 2000;
        }
        std::thread::scope(|scope| {
            scope.spawn(|| write(0, next));
            for deleter in 0..DELETERS {
                let numbers = first..first + (next - first) / 2;
                scope.spawn(move || {
                    delete(&mut numbers.filter(|number| number % DELETERS == deleter))
                });
            }
        });
        first += (next - first) / 2;
        next += 2000;
    }
    assert!(store.verify().unwrap().is_clean());
}

/// Opening needs no space, and leaves no file, on a disk without a free byte.
#[test]
fn a_store_that_was_killed_on_a_full_disk_can_be_read_there() {
    let options = || Options::new().without_threads().store_id([7; 16]).cache_bytes(1 << 20);
    let disk = SimDisk::new();
    let store = options().open_on(Arc::new(disk.clone())).unwrap();
    let rows = store.keyspace("rows").unwrap();
    disk.set_capacity(Some(disk.used_bytes() + (6 << 20)));
    let mut count = 0_u32;
    let mut token = String::new();
    while let Ok(receipt) =
        rows.put_with(count.to_be_bytes(), [count as u8; 500], CommitMode::Async)
    {
        (count, token) = (count + 1, receipt.token());
    }
    let lost = rows.put_with("beyond", [0; 500], CommitMode::Async);
    assert!(matches!(lost, Err(Error::DiskFull { .. })), "{lost:?}");
    let mut disk = disk.crash(Keep::Everything);
    for _ in 0..3 {
        disk.set_capacity(Some(disk.used_bytes()));
        let (names, bytes) = (disk.list().unwrap(), disk.used_bytes());
        let store = options().open_on(Arc::new(disk.clone())).unwrap();
        let rows = store.open_keyspace("rows").unwrap().unwrap();
        assert_eq!(rows.iter().unwrap().filter(|row| row.is_ok()).count(), count as usize);
        assert_eq!((disk.list().unwrap(), disk.used_bytes()), (names, bytes));
        assert_eq!(store.status(&token).unwrap(), syncline::Status::Durable);
        disk = disk.crash(Keep::Everything);
    }
    // With space it takes writes again.
    disk.set_capacity(None);
    let store = options().open_on(Arc::new(disk.clone())).unwrap();
    let rows = store.open_keyspace("rows").unwrap().unwrap();
    rows.put("more", "value").unwrap();
    assert_eq!(rows.len().unwrap(), u64::from(count) + 1);
    assert_eq!(store.status(&token).unwrap(), syncline::Status::Durable);
}

/// With segments of the default size.
#[test]
fn all_rows_are_deleted_and_put_again_in_a_store_that_fills_a_small_disk() {
    for (seed, page_bytes) in [(1, 8192), (2, 8192), (3, 16384), (4, 16384), (5, 4096)] {
        let mut rng = SplitMix64::new(seed);
        let disk = SimDisk::new();
        disk.set_capacity(Some(18 << 20));
        let open = || {
            let options = Options::new().cache_bytes(1 << 20).page_bytes(page_bytes);
            let options = options.without_threads().commit_mode(CommitMode::Async);
            options.open_on(Arc::new(disk.clone())).unwrap()
        };
        let fill = |rng: &mut SplitMix64, store: &Store| {
            let rows = store.keyspace("rows").unwrap();
            let (mut taken, mut refused) = (0, 0);
            while refused < 10 {
                let value = vec![rng.below(256) as u8; rng.below(6000) as usize];
                match rows.put(format!("{:06}", rng.below(100_000)), value) {
                    Ok(_) => taken += 1,
                    Err(Error::DiskFull { .. }) => refused += 1,
                    Err(error) => panic!("seed {seed}: {error}"),
                }
            }
            taken
        };
        let store = open();
        let first = fill(&mut rng, &store);
        for round in 0..2 {
            store.clone().close().unwrap();
            let log: u64 = disk
                .list()
                .unwrap()
                .iter()
                .filter(|name| name.starts_with("log-"))
                .map(|name| disk.open(name).unwrap().bytes().unwrap())
                .sum();
            assert!(log <= 16 << 10, "seed {seed}: a closed store keeps {log} bytes of log");
            let store = open();
            let rows = store.keyspace("rows").unwrap();
            let keys: Vec<_> =
                rows.iter().unwrap().map(|entry| entry.unwrap().into_pair().0).collect();
            for (at, key) in keys.iter().enumerate() {
                let deleted = rows.delete(key);
                assert!(deleted.is_ok(), "seed {seed}: {at} of {}: {deleted:?}", keys.len());
            }
            let again = fill(&mut rng, &store);
            assert!(again > first / 3, "seed {seed}, round {round}: {again} after {first}");
            store.close().unwrap();
        }
    }
}
