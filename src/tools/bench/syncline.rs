//! Our own store behind the traits of every engine.

use std::ops::Bound;
use std::path::Path;

use super::engine::{Database, Engine, Guarantee, Mode, Session, Sizes};
use super::error::BenchError;
use super::record::SYNCLINE;
use crate::{CommitMode, Keyspace, Options, Store, Watermarks, WriteBatch};

/// Our own store, with its default options except the size of the cache.
#[derive(Debug)]
pub(super) struct Syncline;

const KEYSPACE: &str = "bench";

const MODES: &[Mode] = &[
    Mode {
        name: "async",
        guarantee: Guarantee::ProcessEnd,
        lost_on_kill: "nothing",
        lost_on_power_loss: "what no flush covers yet: one begins after at most 10 ms or 16 MiB",
    },
    Mode {
        name: "sync",
        guarantee: Guarantee::PowerLoss,
        lost_on_kill: "nothing",
        lost_on_power_loss: "nothing",
    },
];

/// Ours, then the peers.
pub(super) fn all_engines(peers: &[Box<dyn Engine>]) -> Vec<&dyn Engine> {
    let peers = peers.iter().map(|peer| &**peer);
    [&Syncline as &dyn Engine].into_iter().chain(peers).collect()
}

impl Engine for Syncline {
    fn name(&self) -> &'static str {
        SYNCLINE
    }

    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }

    fn modes(&self) -> &'static [Mode] {
        MODES
    }

    fn about(&self) -> &'static str {
        "An ordered store over a log and a tree of pages, with default options except the size of the \
         cache. Each commit chooses what it waits for: `Async` for the operating system, `Sync` for the \
         device. Made for many small commits whose durability matters one by one. It writes a value \
         twice, to the log and in its page, so large values and loads that need not be logged are \
         cheaper elsewhere."
    }

    /// Until it has transactions that read.
    fn changes_atomically(&self) -> bool {
        false
    }

    fn open(
        &self,
        dir: &Path,
        mode: &Mode,
        sizes: &Sizes,
    ) -> Result<Box<dyn Database>, BenchError> {
        let mode = match mode.guarantee {
            Guarantee::PowerLoss => CommitMode::Sync,
            Guarantee::ProcessEnd | Guarantee::Nothing => CommitMode::Async,
        };
        let store = Options::new().cache_bytes(sizes.cache_bytes).commit_mode(mode).open(dir)?;
        let keyspace = store.keyspace(KEYSPACE)?;
        Ok(Box::new(Open { store, keyspace }))
    }
}

struct Open {
    store: Store,
    keyspace: Keyspace,
}

impl Database for Open {
    fn session(&self) -> Box<dyn Session + '_> {
        Box::new(Thread { store: &self.store, keyspace: &self.keyspace })
    }

    fn settle(&self) -> Result<(), BenchError> {
        self.store.checkpoint()?;
        Ok(())
    }

    fn commits_and_flushes(&self) -> Option<(u64, u64)> {
        let stats = self.store.stats();
        Some((stats.sync_commits + stats.async_commits, stats.flushes))
    }

    fn watermarks(&self) -> Option<Watermarks> {
        Some(self.store.watermarks())
    }
}

struct Thread<'a> {
    store: &'a Store,
    keyspace: &'a Keyspace,
}

impl Session for Thread<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), BenchError> {
        self.keyspace.put(key, value)?;
        Ok(())
    }

    fn put_batch(&mut self, rows: &[(&[u8], &[u8])]) -> Result<(), BenchError> {
        let mut batch = WriteBatch::new();
        for (key, value) in rows {
            batch.put(self.keyspace, key, value);
        }
        self.store.write(batch)?;
        Ok(())
    }

    fn delete_batch(&mut self, keys: &[&[u8]]) -> Result<(), BenchError> {
        let mut batch = WriteBatch::new();
        for key in keys {
            batch.delete(self.keyspace, key);
        }
        self.store.write(batch)?;
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), BenchError> {
        self.keyspace.delete(key)?;
        Ok(())
    }

    fn get(&mut self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Result<bool, BenchError> {
        let value = self.keyspace.get(key)?;
        if let Some(value) = &value {
            seen(value);
        }
        Ok(value.is_some())
    }

    fn scan(
        &mut self,
        from: &[u8],
        limit: usize,
        seen: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<usize, BenchError> {
        let bounds = (Bound::Included(from), Bound::Unbounded);
        let mut range = self.keyspace.range::<&[u8]>(bounds)?;
        let mut rows = 0;
        while rows < limit
            && let Some((key, value)) = range.next_ref()?
        {
            seen(key, value);
            rows += 1;
        }
        Ok(rows)
    }

    /// A get and a put: the store has no transaction that reads and writes.
    fn read_modify_write(
        &mut self,
        key: &[u8],
        change: &mut dyn FnMut(&mut Vec<u8>),
    ) -> Result<(), BenchError> {
        let value = self.keyspace.get(key)?;
        let mut value = value.map_or_else(Vec::new, |value| value.into_vec());
        change(&mut value);
        self.keyspace.put(key, value)?;
        Ok(())
    }
}
