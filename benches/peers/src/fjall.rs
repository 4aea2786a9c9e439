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
//! single-writer flavour on the same keyspace, which no workload mixes with plain puts. Key-value
//! separation is off, as by default.

use std::path::Path;

use fjall::{
    KeyspaceCreateOptions, PersistMode, SingleWriterTxDatabase, SingleWriterTxKeyspace, Slice,
};
use syncline::bench::BenchError;
use syncline::bench::engine::{Database, Engine, Guarantee, Mode, Session, Sizes};

use crate::common::{WRITE_BUFFER_BYTES, failed, locked_version};

const NAME: &str = "fjall";

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

    fn open(
        &self,
        dir: &Path,
        mode: &Mode,
        sizes: &Sizes,
    ) -> Result<Box<dyn Database>, BenchError> {
        let database = SingleWriterTxDatabase::builder(dir)
            .cache_size(sizes.cache_bytes)
            .open()
            .map_err(failed(NAME))?;
        let options =
            || KeyspaceCreateOptions::default().max_memtable_size(WRITE_BUFFER_BYTES as u64);
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

impl Database for Store {
    fn session(&self) -> Box<dyn Session + '_> {
        Box::new(Worker { store: self })
    }

    fn settle(&self) -> Result<(), BenchError> {
        self.keyspace.inner().rotate_memtable_and_wait().map_err(failed(NAME))?;
        self.database.persist(PersistMode::SyncAll).map_err(failed(NAME))
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
        match self.store.sync {
            Some(mode) => self.store.database.persist(mode).map_err(failed(NAME)),
            None => Ok(()),
        }
    }

    fn put_batch(&mut self, rows: &[(&[u8], &[u8])]) -> Result<(), BenchError> {
        let keyspace = self.store.keyspace.inner();
        let mut batch = self.store.database.inner().batch();
        if self.store.sync.is_some() {
            batch = batch.durability(self.store.sync);
        }
        for (key, value) in rows {
            batch.insert(keyspace, *key, *value);
        }
        batch.commit().map_err(failed(NAME))
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
