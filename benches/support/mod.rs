//! Helpers of the benchmarks: rows, and a store filled with them.
//!
//! Row `n` has a key of 24 random bytes, made from `n` by SplitMix64, and a value of 150 bytes that
//! begins with `n`. `syncline bench` has the same rows, so that figures can be compared. All numbers are
//! fixed: two runs do the same.
#![allow(dead_code, reason = "no benchmark needs all of it")]

#[path = "../../tests/support/random.rs"]
mod random;

use std::path::Path;
use std::sync::Arc;

use random::SplitMix64;
use syncline::disk::SimDisk;
use syncline::{CommitMode, Keyspace, Options, Store, WriteBatch};
use tempfile::TempDir;

pub(crate) const KEY_BYTES: usize = 24;
pub(crate) const VALUE_BYTES: usize = 150;
/// Rows per batch, in measurements of batches and when a store is filled.
pub(crate) const BATCH_ROWS: usize = 1000;

pub(crate) type Key = [u8; KEY_BYTES];

/// The key of row `number`, at a random position in the key order. No two rows have the same key.
pub(crate) fn key(number: usize) -> Key {
    let mut key = [0; KEY_BYTES];
    let mut words = SplitMix64::new((number as u64 * 3).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    for chunk in key.chunks_mut(8) {
        chunk.copy_from_slice(&words.next().to_le_bytes());
    }
    key
}

/// A key that no row has, next to the key of row `number`.
pub(crate) fn missing_key(number: usize) -> Key {
    let mut key = key(number);
    key[KEY_BYTES - 1] ^= 1;
    key
}

/// The value of row `number`.
pub(crate) fn value(number: usize) -> [u8; VALUE_BYTES] {
    let mut value = [0x5a; VALUE_BYTES];
    value[..8].copy_from_slice(&(number as u64).to_le_bytes());
    value
}

/// An endless sequence of scattered row numbers below `rows`. A draw costs one multiplication, which is
/// negligible beside the measured operation.
pub(crate) struct Draws {
    rows: u64,
    drawn: u64,
}

impl Draws {
    pub(crate) fn below(rows: usize) -> Draws {
        Draws { rows: rows as u64, drawn: 0 }
    }

    pub(crate) fn next(&mut self) -> usize {
        self.drawn = self.drawn.wrapping_add(0x9e37_79b9_7f4a_7c15);
        ((u128::from(self.drawn) * u128::from(self.rows)) >> 64) as usize
    }
}

/// An open store with its one keyspace.
pub(crate) struct Filled {
    pub(crate) store: Store,
    pub(crate) keyspace: Keyspace,
    /// Removed when the store has been closed: fields are dropped in order.
    _directory: Option<TempDir>,
}

impl Filled {
    /// In a temporary directory, with the default options except for `change`.
    pub(crate) fn in_a_directory(rows: usize, change: impl FnOnce(Options) -> Options) -> Filled {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut filled = Filled::at(directory.path(), rows, change);
        filled._directory = Some(directory);
        filled
    }

    /// In `directory`, which stays.
    pub(crate) fn at(
        directory: &Path,
        rows: usize,
        change: impl FnOnce(Options) -> Options,
    ) -> Filled {
        let options = change(Options::new().store_id([7; 16]));
        Filled::from(options.open(directory).expect("the store opens"), rows)
    }

    /// On a simulated disk.
    pub(crate) fn on(disk: &SimDisk, rows: usize, options: Options) -> Filled {
        let options = options.store_id([7; 16]);
        Filled::from(options.open_on(Arc::new(disk.clone())).expect("the store opens"), rows)
    }

    fn from(store: Store, rows: usize) -> Filled {
        let keyspace = store.keyspace("bench").expect("a keyspace");
        let filled = Filled { store, keyspace, _directory: None };
        for from in (0..rows).step_by(BATCH_ROWS) {
            filled.write(from..rows.min(from + BATCH_ROWS));
        }
        filled
    }

    /// Commits the rows of these numbers together, asynchronously.
    pub(crate) fn write(&self, numbers: impl IntoIterator<Item = usize>) {
        let batch = self.batch(numbers);
        self.store.write_with(batch, CommitMode::Async).expect("a commit");
    }

    /// A batch of the rows of these numbers.
    pub(crate) fn batch(&self, numbers: impl IntoIterator<Item = usize>) -> WriteBatch {
        let mut batch = WriteBatch::new();
        for number in numbers {
            batch.put(&self.keyspace, key(number), value(number));
        }
        batch
    }

    pub(crate) fn put(&self, number: usize, mode: CommitMode) {
        self.keyspace.put_with(key(number), value(number), mode).expect("a commit");
    }
}
