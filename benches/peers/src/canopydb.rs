//! canopydb: a copy-on-write B+-tree with a write-ahead log.
//!
//! | mode | what a commit does |
//! |---|---|
//! | `sync` | writes to the log, `fdatasync` |
//! | `async` | writes to the log file: the default |
//!
//! `EnvOptions::wal_background_sync_interval`: "In practice application crashes do not cause data
//! loss, only device crashes. This is because successful WAL writes (even if not fsyn'ed) are
//! retained by the OS in case the application crashes." The same text gives a default of one
//! second, but the code's is `None`: nothing is flushed until a checkpoint, which comes after 30
//! seconds or 64 MiB. That is left as it is, being the fastest.
//!
//! A commit waits for its flush inside `commit_with(true)`. `Database::sync` after an unsynced
//! commit would let several sessions share a flush, but it may return while another thread's flush
//! of the same bytes has not ended (`wal.rs`, `sync_up_to`), so it promises less.
//!
//! Write transactions are exclusive. Concurrent ones prepare their pages side by side, but commit and
//! flush one after the other, under the same lock, and keys in one page conflict. With 16 threads of
//! synced puts they reached a quarter of the throughput, and with one thread a third.

use std::path::Path;
use std::time::Instant;

use canopydb::{Database, DbOptions, EnvOptions, ReadTransaction, Tree, TreeOptions};
use syncline::bench::BenchError;
use syncline::bench::engine::{self, Engine, Guarantee, Mode, Session, Sizes};

use crate::common::{failed, locked_version};
use crate::flushes;
use crate::turn::{Kept, Turns};

const NAME: &str = "canopydb";
const TREE: &[u8] = b"bench";

const MODES: &[Mode] = &[
    Mode {
        name: "sync",
        guarantee: Guarantee::PowerLoss,
        lost_on_kill: "nothing",
        lost_on_power_loss: "nothing",
    },
    Mode {
        name: "async",
        guarantee: Guarantee::ProcessEnd,
        lost_on_kill: "nothing",
        lost_on_power_loss: "what the kernel has not written back since the last checkpoint (30 s \
                             or 64 MiB)",
    },
];

const ABOUT: &str = "A copy-on-write B+-tree with a write-ahead log, several trees and serializable \
    transactions. Set up with its defaults, except that large values are not compressed: write \
    transactions are exclusive, and `sync` flushes the log inside the commit. Made for reads and for \
    read-modify-write, with short recovery and little write amplification; its author recommends a \
    log-structured store for writes above all. `async` gives up what the kernel has not written back: \
    by default nothing is flushed between checkpoints.";

/// The engine.
pub(crate) struct Canopydb;

impl Engine for Canopydb {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> String {
        locked_version("canopydb").to_owned()
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
        let mut environment = EnvOptions::new(dir);
        environment.page_cache_size = usize::try_from(sizes.cache_bytes).unwrap_or(usize::MAX);
        let database =
            Database::with_options(environment, DbOptions::default()).map_err(failed(NAME))?;
        let syncs = mode.guarantee == Guarantee::PowerLoss;
        let store = Store { database, syncs, turns: Turns::default() };
        if !store.has_tree()? {
            store.write(|_| Ok(()))?;
        }
        Ok(Box::new(store))
    }
}

struct Store {
    database: Database,
    /// At each commit.
    syncs: bool,
    turns: Turns,
}

impl Store {
    /// Readers need it. To make it is a commit, which no open of a store that has it should pay for.
    fn has_tree(&self) -> Result<bool, BenchError> {
        let transaction = self.database.begin_read().map_err(failed(NAME))?;
        Ok(transaction.get_tree(TREE).map_err(failed(NAME))?.is_some())
    }

    fn write(
        &self,
        change: impl FnOnce(&mut Tree<'_>) -> Result<(), canopydb::Error>,
    ) -> Result<(), BenchError> {
        let transaction = self.database.begin_write().map_err(failed(NAME))?;
        {
            let mut options = TreeOptions::default();
            options.compress_overflow_values = None;
            let tree = transaction.get_or_create_tree_with(TREE, options);
            change(&mut tree.map_err(failed(NAME))?).map_err(failed(NAME))?;
        }
        transaction.commit_with(self.syncs).map_err(failed(NAME))?;
        self.turns.advance();
        Ok(())
    }
}

impl engine::Database for Store {
    fn session(&self) -> Box<dyn Session + '_> {
        Box::new(Reader { store: self, transaction: Kept::new() })
    }

    fn settle(&self) -> Result<(), BenchError> {
        self.database.checkpoint().map_err(failed(NAME))
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
        self.database.checkpoint().expect("canopydb can write a checkpoint");
    }
}

struct Reader<'store> {
    store: &'store Store,
    transaction: Kept<ReadTransaction>,
}

impl Reader<'_> {
    fn transaction(&mut self) -> Result<&ReadTransaction, BenchError> {
        let begin = || self.store.database.begin_read().map_err(failed(NAME));
        Ok(self.transaction.current(&self.store.turns, begin)?)
    }
}

fn tree(transaction: &ReadTransaction) -> Result<Tree<'_>, BenchError> {
    let found = transaction.get_tree(TREE).map_err(failed(NAME))?;
    Ok(found.expect("made when the store was opened"))
}

impl Session for Reader<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), BenchError> {
        self.put_batch(&[(key, value)])
    }

    fn put_batch(&mut self, rows: &[(&[u8], &[u8])]) -> Result<(), BenchError> {
        self.transaction.end();
        self.store.write(|tree| rows.iter().try_for_each(|(key, value)| tree.insert(key, value)))
    }

    fn delete_batch(&mut self, keys: &[&[u8]]) -> Result<(), BenchError> {
        self.transaction.end();
        self.store.write(|tree| keys.iter().try_for_each(|key| tree.delete(key).map(|_| ())))
    }

    fn get(&mut self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Result<bool, BenchError> {
        let tree = tree(self.transaction()?)?;
        let found = tree.get(key).map_err(failed(NAME))?;
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
        let tree = tree(self.transaction()?)?;
        let mut rows = 0;
        for row in tree.range(from..).map_err(failed(NAME))?.take(limit) {
            let (key, value) = row.map_err(failed(NAME))?;
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
        self.transaction.end();
        self.store.write(|tree| {
            let mut value = tree.get(key)?.map(|value| value.to_vec()).unwrap_or_default();
            change(&mut value);
            tree.insert(key, &value)
        })
    }
}
