//! RocksDB: a log-structured merge tree with a write-ahead log.
//!
//! | mode | what a commit does |
//! |---|---|
//! | `sync` | writes to the log, `fdatasync`; threads that wait share it |
//! | `no sync` | writes to the log file: the default |
//!
//! `WriteOptions::sync`: "If this flag is false, and the machine crashes, some recent writes may
//! be lost. Note that if it is just the process that crashes (i.e., the machine does not reboot),
//! no writes will be lost even if sync==false." `manual_wal_flush`, which would keep the log in
//! the process, is off, as by default.
//!
//! Settings beyond the defaults, from RocksDB's "Setup Options and Basic Tuning": a Bloom filter
//! of ten bits, index and filter blocks in the cache with those of level 0 pinned, six background
//! jobs, writes of files synced every MiB. The cache is the `HyperClockCache`, which `cache.h`
//! calls "generally preferred" for many threads. Blocks have the default 4 KiB, which is quicker
//! for gets than the guide's 16 KiB. Large values go to blob files, which compactions do not copy.
//!
//! It is opened as an optimistic transaction database, whose puts and batches go straight to the
//! store, so that read-modify-write can be a transaction.

use std::path::Path;
use std::time::Instant;

use rocksdb::{
    BlockBasedOptions, Cache, DBCompressionType, ErrorKind, OptimisticTransactionDB,
    OptimisticTransactionOptions, Options, ReadOptions, WaitForCompactOptions,
    WriteBatchWithTransaction, WriteOptions,
};
use syncline::bench::BenchError;
use syncline::bench::engine::{Database, Engine, Guarantee, Mode, Session, Sizes};

use crate::common::{failed, locked_version};
use crate::flushes;

const NAME: &str = "rocksdb";

/// Values from this size on are kept in blob files.
const BLOB_BYTES: usize = 4 << 10;

const MODES: &[Mode] = &[
    Mode {
        name: "sync",
        guarantee: Guarantee::PowerLoss,
        lost_on_kill: "nothing",
        lost_on_power_loss: "nothing",
    },
    Mode {
        name: "no sync",
        guarantee: Guarantee::ProcessEnd,
        lost_on_kill: "nothing",
        lost_on_power_loss: "what the kernel has not written back of the logs of memtables not \
                             yet flushed (64 MiB each)",
    },
];

const ABOUT: &str = "A log-structured merge tree with a write-ahead log, in C++, made for flash \
    devices and many cores. Set up by its tuning guide: a Bloom filter of ten bits, index and filter \
    blocks in a HyperClockCache, six background jobs, blob files for values of 4 KiB and more. Threads that \
    commit at the same time share a write and a flush. Made for heavy writing and data much larger than \
    memory, with settings for most trade-offs. Opened as an optimistic transaction database, for \
    read-modify-write. `no sync` gives up what the kernel has not written back of the log.";

/// The engine.
pub(crate) struct RocksDb;

impl Engine for RocksDb {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> String {
        // As in 0.19.0+11.8.1: the bindings' version, then RocksDB's.
        let bindings = locked_version("librocksdb-sys");
        let rocksdb = bindings.split_once('+').map_or(bindings, |(_, rocksdb)| rocksdb);
        format!("{rocksdb} (rust-rocksdb {})", locked_version("rocksdb"))
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
        let database = OptimisticTransactionDB::open(&options(sizes), dir).map_err(failed(NAME))?;
        Ok(Box::new(Store { database, syncs: mode.guarantee == Guarantee::PowerLoss }))
    }
}

fn options(sizes: &Sizes) -> Options {
    let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    // An estimated charge of 0 lets the cache find out.
    let cache = Cache::new_hyper_clock_cache(bytes(sizes.cache_bytes), 0);
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&cache);
    table.set_bloom_filter(10.0, false);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);

    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::None);
    options.set_write_buffer_size(bytes(sizes.write_buffer_bytes));
    options.set_max_background_jobs(6);
    options.set_bytes_per_sync(1 << 20);
    options.set_stats_dump_period_sec(0);
    if sizes.value_bytes >= BLOB_BYTES {
        options.set_enable_blob_files(true);
        options.set_min_blob_size(BLOB_BYTES as u64);
        options.set_enable_blob_gc(true);
        options.set_blob_cache(&cache);
    }
    options
}

struct Store {
    database: OptimisticTransactionDB,
    /// At each commit.
    syncs: bool,
}

impl Store {
    fn write_options(&self) -> WriteOptions {
        let mut options = WriteOptions::default();
        options.set_sync(self.syncs);
        options
    }
}

impl Database for Store {
    fn session(&self) -> Box<dyn Session + '_> {
        let write = self.write_options();
        Box::new(Worker { store: self, write, read: ReadOptions::default() })
    }

    fn settle(&self) -> Result<(), BenchError> {
        let mut options = WaitForCompactOptions::default();
        options.set_flush(true);
        self.database.wait_for_compact(&options).map_err(failed(NAME))
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
        // RocksDB closes without a flush of the log.
        self.database.flush().expect("RocksDB can flush");
    }
}

struct Worker<'store> {
    store: &'store Store,
    write: WriteOptions,
    read: ReadOptions,
}

impl Session for Worker<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), BenchError> {
        self.store.database.put_opt(key, value, &self.write).map_err(failed(NAME))
    }

    fn put_batch(&mut self, rows: &[(&[u8], &[u8])]) -> Result<(), BenchError> {
        let mut batch = WriteBatchWithTransaction::<true>::default();
        for (key, value) in rows {
            batch.put(key, value);
        }
        self.store.database.write_opt(batch, &self.write).map_err(failed(NAME))
    }

    fn delete_batch(&mut self, keys: &[&[u8]]) -> Result<(), BenchError> {
        let mut batch = WriteBatchWithTransaction::<true>::default();
        for key in keys {
            batch.delete(key);
        }
        self.store.database.write_opt(batch, &self.write).map_err(failed(NAME))
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), BenchError> {
        self.store.database.delete_opt(key, &self.write).map_err(failed(NAME))
    }

    fn get(&mut self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Result<bool, BenchError> {
        let found = self.store.database.get_pinned_opt(key, &self.read).map_err(failed(NAME))?;
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
        let mut cursor = self.store.database.raw_iterator_opt(ReadOptions::default());
        cursor.seek(from);
        while rows < limit
            && let Some((key, value)) = cursor.item()
        {
            seen(key, value);
            rows += 1;
            cursor.next();
        }
        cursor.status().map_err(failed(NAME))?;
        Ok(rows)
    }

    fn read_modify_write(
        &mut self,
        key: &[u8],
        change: &mut dyn FnMut(&mut Vec<u8>),
    ) -> Result<(), BenchError> {
        loop {
            let options = OptimisticTransactionOptions::default();
            let transaction = self.store.database.transaction_opt(&self.write, &options);
            let found = transaction.get_for_update(key, true).map_err(failed(NAME))?;
            let mut value = found.unwrap_or_default();
            change(&mut value);
            transaction.put(key, &value).map_err(failed(NAME))?;
            match transaction.commit() {
                Err(error) if matches!(error.kind(), ErrorKind::Busy | ErrorKind::TryAgain) => {}
                ended => return ended.map_err(failed(NAME)),
            }
        }
    }
}
