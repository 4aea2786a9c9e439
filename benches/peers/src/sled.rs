//! sled: a lock-free tree over a log-structured page cache.
//!
//! | mode | what a commit does |
//! |---|---|
//! | `flush` | puts, then `Db::flush` |
//! | `buffered` | puts into a buffer of the process; a thread empties it every 500 ms: the default |
//!
//! `Tree::flush` promises that "all previous writes will be recovered if the system crashes", and so
//! it is compared with modes that survive a power loss: it pays for a wait for the device. On Linux
//! it writes the buffer and calls `sync_file_range` (`pagecache/iobuf.rs`), which waits until the
//! device has the pages, but neither asks the device to empty its own cache nor writes the metadata
//! of a file that grew (its manual page warns of both; spacejam/sled#1452, #1351). The thread that
//! runs every 500 ms does end with an `fsync`.
//!
//! No mode survives the end of the process without that wait: a commit is in a buffer of the process
//! until it is flushed.
//!
//! The version is the newest that is stable; 1.0 has been in alpha for years.

use std::path::Path;
use std::time::Instant;

use syncline::bench::BenchError;
use syncline::bench::engine::{Database, Engine, Guarantee, Mode, Session, Sizes};

use crate::common::{failed, locked_version};
use crate::flushes;

const NAME: &str = "sled";

const MODES: &[Mode] = &[
    Mode {
        name: "flush",
        guarantee: Guarantee::PowerLoss,
        lost_on_kill: "nothing",
        lost_on_power_loss: "nothing by its documentation; on Linux what the device has in its \
                             cache, about 500 ms at most: flush is sync_file_range there",
    },
    Mode {
        name: "buffered",
        guarantee: Guarantee::Nothing,
        lost_on_kill: "up to 500 ms",
        lost_on_power_loss: "up to about 500 ms",
    },
];

const ABOUT: &str = "A concurrent tree over a log-structured page cache, in Rust, with atomic updates \
    of one key and no lock for readers. Set up for throughput (`Mode::HighThroughput`); the version is \
    the newest stable one, of 2021. Made for many threads that change small values in memory. `flush` after \
    each commit is its durable mode by its documentation; on Linux it calls `sync_file_range`, which does \
    not empty the cache of the device. `buffered`, the default, flushes every 500 ms and gives up what came \
    since, at the end of the process too.";

/// The engine.
pub(crate) struct Sled;

impl Engine for Sled {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> String {
        locked_version("sled").to_owned()
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
        // `Mode::HighThroughput`: "preserve high throughput at the cost of disk space".
        let database = sled::Config::new()
            .path(dir)
            .cache_capacity(sizes.cache_bytes)
            .mode(sled::Mode::HighThroughput)
            .open()
            .map_err(failed(NAME))?;
        Ok(Box::new(Store { database, flushes: mode.guarantee == Guarantee::PowerLoss }))
    }
}

struct Store {
    database: sled::Db,
    /// After each commit.
    flushes: bool,
}

impl Store {
    fn committed(&self) -> Result<(), BenchError> {
        if self.flushes {
            self.database.flush().map_err(failed(NAME))?;
        }
        Ok(())
    }
}

impl Database for Store {
    fn session(&self) -> Box<dyn Session + '_> {
        Box::new(Worker { store: self })
    }

    fn settle(&self) -> Result<(), BenchError> {
        self.database.flush().map_err(failed(NAME))?;
        Ok(())
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
        self.database.flush().expect("sled can flush");
    }
}

struct Worker<'store> {
    store: &'store Store,
}

impl Session for Worker<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), BenchError> {
        self.store.database.insert(key, value).map_err(failed(NAME))?;
        self.store.committed()
    }

    fn put_batch(&mut self, rows: &[(&[u8], &[u8])]) -> Result<(), BenchError> {
        let mut batch = sled::Batch::default();
        for (key, value) in rows {
            batch.insert(*key, *value);
        }
        self.store.database.apply_batch(batch).map_err(failed(NAME))?;
        self.store.committed()
    }

    fn delete_batch(&mut self, keys: &[&[u8]]) -> Result<(), BenchError> {
        let mut batch = sled::Batch::default();
        for key in keys {
            batch.remove(*key);
        }
        self.store.database.apply_batch(batch).map_err(failed(NAME))?;
        self.store.committed()
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), BenchError> {
        self.store.database.remove(key).map_err(failed(NAME))?;
        self.store.committed()
    }

    fn get(&mut self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Result<bool, BenchError> {
        let found = self.store.database.get(key).map_err(failed(NAME))?;
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
        for row in self.store.database.range::<&[u8], _>(from..).take(limit) {
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
        // Atomic for one key, and cheaper than a transaction; may try several times.
        let changed = |old: Option<&[u8]>| {
            let mut value = old.map(<[u8]>::to_vec).unwrap_or_default();
            change(&mut value);
            Some(value)
        };
        self.store.database.fetch_and_update(key, changed).map_err(failed(NAME))?;
        self.store.committed()
    }
}
