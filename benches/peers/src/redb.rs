//! redb: a copy-on-write B+-tree in one file, one writer at a time.
//!
//! | mode | what a commit does |
//! |---|---|
//! | `Immediate` | writes its pages and one `fsync`, then it is acknowledged |
//! | `None` | leaves its pages in a buffer of the process until an `Immediate` one |
//!
//! Nothing between the two: what survives the end of the process without a flush does not exist.
//! `Durability`: "Commits with this durability level [None] will not be persisted to disk unless
//! followed by a commit with Durability::Immediate"; the documentation of the concurrency modes
//! speaks of "a commit held only in this process's memory".
//!
//! Commits are in one phase, the default, which is the faster of two; `set_quick_repair`, which
//! would make each commit slower and an open after a kill quicker, is off, as by default.

use std::path::Path;
use std::time::Instant;

use redb::{
    Database, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition,
    TableError,
};
use syncline::bench::BenchError;
use syncline::bench::engine::{self, Engine, Guarantee, Mode, Session, Sizes};

use crate::common::{failed, locked_version};
use crate::flushes;
use crate::turn::{Kept, Turns};

const NAME: &str = "redb";
const TABLE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("bench");

const MODES: &[Mode] = &[
    Mode {
        name: "Immediate",
        guarantee: Guarantee::PowerLoss,
        lost_on_kill: "nothing",
        lost_on_power_loss: "nothing",
    },
    Mode {
        name: "None",
        guarantee: Guarantee::Nothing,
        lost_on_kill: "everything since the last Immediate commit or clean close",
        lost_on_power_loss: "everything since the last Immediate commit or clean close",
    },
];

const ABOUT: &str = "A copy-on-write B+-tree in one file, in safe Rust, with transactions, several \
    tables and no log. One writer at a time; a durable commit writes its pages and flushes them once. Set \
    up with its defaults: one-phase commits, no quick repair. Made for simple and sound embedding, for \
    reads and for large transactions. It has no mode between a flush at each commit and none: `None` keeps \
    commits in the process, and gives up all of them since the last `Immediate` one when the process ends.";

/// The engine.
pub(crate) struct Redb;

impl Engine for Redb {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> String {
        locked_version("redb").to_owned()
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
    ) -> Result<Box<dyn engine::Database>, BenchError> {
        flushes::forget();
        std::fs::create_dir_all(dir).map_err(failed(NAME))?;
        let database = Database::builder()
            .set_cache_size(usize::try_from(sizes.cache_bytes).unwrap_or(usize::MAX))
            .create(dir.join("redb"))
            .map_err(failed(NAME))?;
        let durability = match mode.guarantee {
            Guarantee::PowerLoss => Durability::Immediate,
            Guarantee::Nothing | Guarantee::ProcessEnd => Durability::None,
        };
        let store = Store { database, durability, turns: Turns::default() };
        if !store.has_table()? {
            store.write(Durability::Immediate, |_| Ok(()))?;
        }
        Ok(Box::new(store))
    }
}

struct Store {
    database: Database,
    durability: Durability,
    turns: Turns,
}

type Table<'txn> = redb::Table<'txn, &'static [u8], &'static [u8]>;

impl Store {
    fn write(
        &self,
        durability: Durability,
        change: impl FnOnce(&mut Table<'_>) -> Result<(), redb::StorageError>,
    ) -> Result<(), BenchError> {
        let mut transaction = self.database.begin_write().map_err(failed(NAME))?;
        transaction.set_durability(durability).map_err(failed(NAME))?;
        {
            let mut table = transaction.open_table(TABLE).map_err(failed(NAME))?;
            change(&mut table).map_err(failed(NAME))?;
        }
        transaction.commit().map_err(failed(NAME))?;
        self.turns.advance();
        Ok(())
    }

    /// Readers need it. To make it is a commit, which no open of a store that has it should pay for.
    fn has_table(&self) -> Result<bool, BenchError> {
        let transaction = self.database.begin_read().map_err(failed(NAME))?;
        match transaction.open_table(TABLE) {
            Ok(_) => Ok(true),
            Err(TableError::TableDoesNotExist(_)) => Ok(false),
            Err(error) => Err(failed(NAME)(error)),
        }
    }

    fn table(&self) -> Result<ReadOnlyTable<&'static [u8], &'static [u8]>, BenchError> {
        let transaction = self.database.begin_read().map_err(failed(NAME))?;
        transaction.open_table(TABLE).map_err(failed(NAME))
    }
}

impl engine::Database for Store {
    fn session(&self) -> Box<dyn Session + '_> {
        Box::new(Reader { store: self, table: Kept::new() })
    }

    fn settle(&self) -> Result<(), BenchError> {
        // Takes every earlier commit with it.
        self.write(Durability::Immediate, |_| Ok(()))
    }

    fn flushed_until(&self) -> Option<Instant> {
        flushes::until()
    }

    fn sees_flushes(&self) -> bool {
        flushes::ARE_SEEN
    }
}

struct Reader<'store> {
    store: &'store Store,
    table: Kept<ReadOnlyTable<&'static [u8], &'static [u8]>>,
}

impl Session for Reader<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), BenchError> {
        self.put_batch(&[(key, value)])
    }

    fn put_batch(&mut self, rows: &[(&[u8], &[u8])]) -> Result<(), BenchError> {
        self.table.end();
        self.store.write(self.store.durability, |table| {
            for (key, value) in rows {
                table.insert(*key, *value)?;
            }
            Ok(())
        })
    }

    fn delete_batch(&mut self, keys: &[&[u8]]) -> Result<(), BenchError> {
        self.table.end();
        self.store.write(self.store.durability, |table| {
            for key in keys {
                table.remove(*key)?;
            }
            Ok(())
        })
    }

    fn get(&mut self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Result<bool, BenchError> {
        let table = self.table.current(&self.store.turns, || self.store.table())?;
        let found = ReadableTable::get(table, key).map_err(failed(NAME))?;
        if let Some(value) = &found {
            seen(value.value());
        }
        Ok(found.is_some())
    }

    fn scan(
        &mut self,
        from: &[u8],
        limit: usize,
        seen: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<usize, BenchError> {
        let table = self.table.current(&self.store.turns, || self.store.table())?;
        let mut rows = 0;
        let range = ReadableTable::range::<&[u8]>(table, from..).map_err(failed(NAME))?;
        for row in range.take(limit) {
            let (key, value) = row.map_err(failed(NAME))?;
            seen(key.value(), value.value());
            rows += 1;
        }
        Ok(rows)
    }

    fn read_modify_write(
        &mut self,
        key: &[u8],
        change: &mut dyn FnMut(&mut Vec<u8>),
    ) -> Result<(), BenchError> {
        self.table.end();
        self.store.write(self.store.durability, |table| {
            let found = table.get(key)?;
            let mut value = found.map(|value| value.value().to_vec()).unwrap_or_default();
            change(&mut value);
            table.insert(key, value.as_slice())?;
            Ok(())
        })
    }
}
