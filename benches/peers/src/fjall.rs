//! fjall: a log-structured merge tree with a journal.
//!
//! | mode | what a commit does |
//! |---|---|
//! | `SyncData` | writes to the journal, `fdatasync` under the journal's lock |
//! | `Buffer` | writes to the journal file: the default |
//!
//! README, "Durability": "By default, any operation will flush to OS buffers, but not to disk",
//! and one may call `Database::persist` after a write. `PersistMode::Buffer`: "This allows the OS
//! to write out data in case of an application crash". A journal that is full is flushed when it
//! is sealed.
//!
//! Puts and batches are those of the plain database; read-modify-write is a transaction of the
//! single-writer flavour on the same keyspace, which no workload mixes with plain puts.
//!
//! Key-value separation is on if values are as large as its own threshold. It saves compactions the
//! copying of values, and costs a second read.

use std::path::Path;
use std::time::Instant;

use fjall::{
    KeyspaceCreateOptions, KvSeparationOptions, OwnedWriteBatch, PersistMode,
    SingleWriterTxDatabase, SingleWriterTxKeyspace, Slice,
};
use syncline::bench::BenchError;
use syncline::bench::engine::{Database, Engine, Guarantee, Mode, Session, Sizes};

use crate::common::{failed, locked_version};
use crate::flushes;

const NAME: &str = "fjall";

/// Values from this size on are kept apart from the keys: the threshold of fjall's own options.
const SEPARATE_BYTES: usize = 1 << 10;

const MODES: &[Mode] = &[
    Mode {
        name: "SyncData",
        guarantee: Guarantee::PowerLoss,
        lost_on_kill: "nothing",
        lost_on_power_loss: "nothing",
    },
    Mode {
        name: "Buffer",
        guarantee: Guarantee::ProcessEnd,
        lost_on_kill: "nothing",
        lost_on_power_loss: "what the kernel has not written back of the last journal (64 MiB)",
    },
];

const ABOUT: &str = "A log-structured merge tree with a journal, in Rust, as a set of keyspaces. Set up \
    with its defaults; values of a KiB and more are kept apart from the keys, as its options for large \
    values are. A durable commit is a put followed by `persist(SyncData)`, or a batch with that \
    durability. Made for heavy writing and large data sets in little memory. Commits flush one after the \
    other, under the lock of the journal, so threads do not share a flush. `Buffer` gives up what the \
    kernel has not written back of the journal.";

/// The engine.
pub(crate) struct Fjall;

impl Engine for Fjall {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> String {
        locked_version("fjall").to_owned()
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
        let database = SingleWriterTxDatabase::builder(dir)
            .cache_size(sizes.cache_bytes)
            .open()
            .map_err(failed(NAME))?;
        let options = || {
            let separation = KvSeparationOptions::default();
            KeyspaceCreateOptions::default()
                .max_memtable_size(sizes.write_buffer_bytes)
                .with_kv_separation((sizes.value_bytes >= SEPARATE_BYTES).then_some(separation))
        };
        let keyspace = database.keyspace("bench", options).map_err(failed(NAME))?;
        let sync = (mode.guarantee == Guarantee::PowerLoss).then_some(PersistMode::SyncData);
        Ok(Box::new(Store { keyspace, database, sync }))
    }
}

struct Store {
    keyspace: SingleWriterTxKeyspace,
    database: SingleWriterTxDatabase,
    /// What a commit waits for, beyond the write to the journal.
    sync: Option<PersistMode>,
}

impl Store {
    /// Flushes the journal after a commit, in the mode that does.
    fn committed(&self) -> Result<(), BenchError> {
        let Some(mode) = self.sync else { return Ok(()) };
        self.database.persist(mode).map_err(failed(NAME))
    }

    fn batch(&self) -> OwnedWriteBatch {
        let batch = self.database.inner().batch();
        if self.sync.is_some() { batch.durability(self.sync) } else { batch }
    }
}

impl Database for Store {
    fn session(&self) -> Box<dyn Session + '_> {
        Box::new(Worker { store: self })
    }

    fn settle(&self) -> Result<(), BenchError> {
        self.keyspace.inner().rotate_memtable_and_wait().map_err(failed(NAME))?;
        self.database.persist(PersistMode::SyncAll).map_err(failed(NAME))
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
        // "when dropped, the database will try to persist the journal to disk": here errors show.
        self.database.persist(PersistMode::SyncAll).expect("fjall's journal can be flushed");
    }
}

struct Worker<'store> {
    store: &'store Store,
}

impl Session for Worker<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), BenchError> {
        self.store.keyspace.inner().insert(key, value).map_err(failed(NAME))?;
        self.store.committed()
    }

    fn put_batch(&mut self, rows: &[(&[u8], &[u8])]) -> Result<(), BenchError> {
        let keyspace = self.store.keyspace.inner();
        let mut batch = self.store.batch();
        for (key, value) in rows {
            batch.insert(keyspace, *key, *value);
        }
        batch.commit().map_err(failed(NAME))
    }

    fn delete_batch(&mut self, keys: &[&[u8]]) -> Result<(), BenchError> {
        let keyspace = self.store.keyspace.inner();
        let mut batch = self.store.batch();
        for key in keys {
            batch.remove(keyspace, *key);
        }
        batch.commit().map_err(failed(NAME))
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), BenchError> {
        self.store.keyspace.inner().remove(key).map_err(failed(NAME))?;
        self.store.committed()
    }

    fn get(&mut self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Result<bool, BenchError> {
        let found = self.store.keyspace.inner().get(key).map_err(failed(NAME))?;
        if let Some(value) = &found {
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
        let mut rows = 0;
        for row in self.store.keyspace.inner().range::<&[u8], _>(from..).take(limit) {
            let (key, value) = row.into_inner().map_err(failed(NAME))?;
            seen(&key, &value);
            rows += 1;
        }
        Ok(rows)
    }

    fn read_modify_write(
        &mut self,
        key: &[u8],
        change: &mut dyn FnMut(&mut Vec<u8>),
    ) -> Result<(), BenchError> {
        let mut transaction = self.store.database.write_tx();
        if self.store.sync.is_some() {
            transaction = transaction.durability(self.store.sync);
        }
        let changed = |old: Option<&Slice>| {
            let mut value = old.map(|value| value.to_vec()).unwrap_or_default();
            change(&mut value);
            Some(Slice::from(value))
        };
        transaction.update_fetch(&self.store.keyspace, key, changed).map_err(failed(NAME))?;
        transaction.commit().map_err(failed(NAME))
    }
}
