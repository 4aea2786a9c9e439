//! What is done to the store.

mod commit;
mod read;
mod scan;

use std::path::Path;

use super::rows::{key, value, value_template};
use super::{BenchError, Settings};
use crate::{CommitMode, Keyspace, Options, Store, WriteBatch};

pub(super) use commit::CommitSuite;
pub(super) use read::ReadSuite;
pub(super) use scan::ScanSuite;

const KEYSPACE: &str = "bench";

/// A store that holds every row, with nothing left to write.
fn load(dir: &Path, settings: &Settings) -> Result<(Store, Keyspace), BenchError> {
    const ROWS_PER_BATCH: u64 = 1000;
    let store = Options::new().cache_bytes(settings.cache_bytes).open(dir)?;
    let keyspace = store.keyspace(KEYSPACE)?;
    let mut first = 0;
    while first < settings.keys {
        let end = settings.keys.min(first + ROWS_PER_BATCH);
        let mut batch = WriteBatch::new();
        for number in first..end {
            batch.put(&keyspace, key(number), value(number));
        }
        store.write_with(batch, CommitMode::Async)?;
        first = end;
    }
    store.checkpoint()?;
    Ok((store, keyspace))
}

/// Puts the rows `first`, `first + step`, ... of `keys`, one to a commit.
fn putter(
    keyspace: &Keyspace,
    mode: CommitMode,
    first: u64,
    step: u64,
    keys: u64,
) -> impl FnMut() -> Result<(), BenchError> + Send + use<'_> {
    let mut number = first % keys;
    let mut value = value_template();
    move || {
        value[..8].copy_from_slice(&number.to_le_bytes());
        keyspace.put_with(key(number), value, mode)?;
        number += step;
        if number >= keys {
            number %= keys;
        }
        Ok(())
    }
}
