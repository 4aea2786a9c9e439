//! LMDB, by way of heed: a copy-on-write B+-tree in a memory map, one writer at a time.
//!
//! | mode | what a commit does |
//! |---|---|
//! | `default` | writes its pages, `fdatasync`, then its meta page with `O_DSYNC` |
//! | `NOSYNC, WRITEMAP` | has changed the pages in the shared map |
//!
//! `MDB_NOSYNC`: "a system crash can corrupt the database or lose the last transactions if buffers
//! are not yet flushed to disk"; the end of the process leaves the kernel's pages as they are.
//! `MDB_WRITEMAP`: "This is faster and uses fewer mallocs". `MDB_NOMETASYNC` is no mode of its own
//! here: "a system crash may undo the last committed transaction", at the price of a flush.
//!
//! The feature `lmdb1` puts LMDB's branch of version 1.0 (`mdb.master3`) in place of the released line,
//! under a name of its own. The bindings of both have the same functions, and so have the two C
//! libraries: hence never both in one program.
//!
//! The cache is the kernel's, and `Sizes::cache_bytes` does not bound it. Locking within a process
//! is what writers wait for each other with.

// Opening a map of a file is unsafe, and there is no other way to open LMDB.
#![allow(unsafe_code)]

use std::ops::Bound;
use std::path::Path;
use std::time::Instant;

#[cfg(all(feature = "lmdb", not(feature = "lmdb1")))]
use heed as bindings;
#[cfg(feature = "lmdb1")]
use heed3 as bindings;

use bindings::types::Bytes;
use bindings::{CommitOrAbort, Env, EnvFlags, EnvOpenOptions, RoTxn, RwTxn, WithoutTls};
use syncline::bench::BenchError;
use syncline::bench::engine::{Database, Engine, Guarantee, Mode, Session, Sizes};

use crate::common::{failed, locked_version};
use crate::flushes;
use crate::turn::{Kept, Turns};

const NAME: &str = if cfg!(feature = "lmdb1") { "lmdb1" } else { "lmdb" };
const BINDINGS: &str = if cfg!(feature = "lmdb1") { "heed3" } else { "heed" };

/// Sessions at a time, at most: each may keep a reader.
const READERS: u32 = 1024;

const MODES: &[Mode] = &[
    Mode {
        name: "default",
        guarantee: Guarantee::PowerLoss,
        lost_on_kill: "nothing",
        lost_on_power_loss: "nothing",
    },
    Mode {
        name: "NOSYNC, WRITEMAP",
        guarantee: Guarantee::ProcessEnd,
        lost_on_kill: "nothing",
        lost_on_power_loss: "possibly the whole database: it may be corrupt",
    },
];

const ABOUT: &str = "A copy-on-write B+-tree in a memory map: reads copy nothing, take no lock and \
    scale with the processors; there is no log and no recovery. One writer at a time; each durable commit \
    writes its pages and flushes them, with a second write for the root. Set up with a map that is large \
    enough, and without thread-local readers. Made for reading much more than writing. Its cache is the \
    operating system's, and not bounded by the benchmark. `NOSYNC, WRITEMAP` writes into the map and \
    flushes nothing: the fastest it has, and a power loss may corrupt the database.";

/// The engine.
pub(crate) struct Lmdb;

impl Engine for Lmdb {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> String {
        let lmdb = bindings::lmdb_version();
        format!(
            "{}.{}.{} ({BINDINGS} {})",
            lmdb.major,
            lmdb.minor,
            lmdb.patch,
            locked_version(BINDINGS)
        )
    }

    fn modes(&self) -> &'static [Mode] {
        MODES
    }

    fn about(&self) -> &'static str {
        ABOUT
    }

    fn open(
        &self,
        dir: &Path,
        mode: &Mode,
        sizes: &Sizes,
    ) -> Result<Box<dyn Database>, BenchError> {
        flushes::forget();
        std::fs::create_dir_all(dir).map_err(failed(NAME))?;
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(map_bytes(sizes.expected_bytes)).max_readers(READERS);
        if mode.guarantee == Guarantee::ProcessEnd {
            // SAFETY: `NO_SYNC` and `WRITE_MAP` endanger the file at a power loss, and from stray
            // writes of the process, of which safe Rust has none.
            unsafe { options.flags(EnvFlags::NO_SYNC | EnvFlags::WRITE_MAP) };
        }
        // SAFETY: the directory belongs to the benchmark, and nobody else changes the file.
        let environment = unsafe { options.open(dir) }.map_err(failed(NAME))?;
        let transaction = environment.write_txn().map_err(failed(NAME))?;
        let table = environment
            .create_databases_and_commit(transaction, |opener, transaction| {
                let table = opener.create_database::<Bytes, Bytes>(transaction, None)?;
                Ok::<_, bindings::Error>(CommitOrAbort::<_, ()>::Commit(table))
            })
            .map_err(failed(NAME))?
            .unwrap_commit();
        Ok(Box::new(Store { table, environment, turns: Turns::default() }))
    }
}

/// Room for pages that are half empty, and for the old versions that readers keep. Only what is
/// used takes space on the device.
fn map_bytes(expected_bytes: u64) -> usize {
    const GIB: u64 = 1 << 30;
    let bytes = expected_bytes.saturating_mul(4).saturating_add(GIB).next_multiple_of(GIB);
    usize::try_from(bytes).expect("a 64-bit machine")
}

struct Store {
    table: bindings::Database<'static, Bytes, Bytes>,
    environment: Env<WithoutTls>,
    turns: Turns,
}

impl Store {
    fn write(
        &self,
        change: impl FnOnce(&mut RwTxn<'_>) -> Result<(), bindings::Error>,
    ) -> Result<(), BenchError> {
        let mut transaction = self.environment.write_txn().map_err(failed(NAME))?;
        change(&mut transaction).map_err(failed(NAME))?;
        transaction.commit().map_err(failed(NAME))?;
        self.turns.advance();
        Ok(())
    }
}

impl Database for Store {
    fn session(&self) -> Box<dyn Session + '_> {
        Box::new(Reader { store: self, transaction: Kept::new() })
    }

    fn settle(&self) -> Result<(), BenchError> {
        self.environment.force_sync().map_err(failed(NAME))
    }

    fn flushed_until(&self) -> Option<Instant> {
        flushes::until()
    }

    fn sees_flushes(&self) -> bool {
        flushes::ARE_SEEN
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.environment.force_sync().expect("LMDB can flush");
    }
}

struct Reader<'store> {
    store: &'store Store,
    transaction: Kept<RoTxn<'store, WithoutTls>>,
}

impl<'store> Reader<'store> {
    fn transaction(&mut self) -> Result<&RoTxn<'store, WithoutTls>, BenchError> {
        let begin = || self.store.environment.read_txn().map_err(failed(NAME));
        Ok(self.transaction.current(&self.store.turns, begin)?)
    }
}

impl Session for Reader<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), BenchError> {
        self.put_batch(&[(key, value)])
    }

    fn put_batch(&mut self, rows: &[(&[u8], &[u8])]) -> Result<(), BenchError> {
        self.transaction.end();
        let table = self.store.table;
        self.store.write(|transaction| {
            rows.iter().try_for_each(|(key, value)| table.put(transaction, key, value))
        })
    }

    fn delete_batch(&mut self, keys: &[&[u8]]) -> Result<(), BenchError> {
        self.transaction.end();
        let table = self.store.table;
        self.store.write(|transaction| {
            keys.iter().try_for_each(|key| table.delete(transaction, key).map(|_| ()))
        })
    }

    fn get(&mut self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Result<bool, BenchError> {
        let table = self.store.table;
        let found = table.get(self.transaction()?, key).map_err(failed(NAME))?;
        if let Some(value) = found {
            seen(value);
        }
        Ok(found.is_some())
    }

    fn scan(
        &mut self,
        from: &[u8],
        limit: usize,
        seen: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<usize, BenchError> {
        let table = self.store.table;
        let mut rows = 0;
        // No key of LMDB is empty, not even one to begin at.
        let from = if from.is_empty() { Bound::Unbounded } else { Bound::Included(from) };
        let bounds = (from, Bound::Unbounded);
        let range = table.range(self.transaction()?, &bounds).map_err(failed(NAME))?;
        for row in range.take(limit) {
            let (key, value) = row.map_err(failed(NAME))?;
            seen(key, value);
            rows += 1;
        }
        Ok(rows)
    }

    fn read_modify_write(
        &mut self,
        key: &[u8],
        change: &mut dyn FnMut(&mut Vec<u8>),
    ) -> Result<(), BenchError> {
        self.transaction.end();
        let table = self.store.table;
        self.store.write(|transaction| {
            let mut value = table.get(transaction, key)?.map(<[u8]>::to_vec).unwrap_or_default();
            change(&mut value);
            table.put(transaction, key, &value)
        })
    }
}
