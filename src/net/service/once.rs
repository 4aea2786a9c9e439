//! Idempotency keys: a write that is sent again is applied once (SERVICE-2).
//!
//! The key is written into a keyspace of the server, in the same commit as the write. A later write
//! with this key gets the present position. That is at or above the position of the first write, so
//! the first write is durable whenever that position is.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `$once` | length of the caller's name (1 byte), the name, the idempotency key | unix seconds, 8 bytes |
//! | `$once by time` | unix seconds, 8 bytes big-endian; the key above | |
//!
//! Both are written in one commit. So a sweep finds old keys without reading the others: it begins with
//! the oldest and ends with the first that is kept. A sweep forgets at most [`MOST`] keys, and the next
//! one follows soon. In a store that is older than the second keyspace, a sweep first adds the entries
//! that are missing there.
//!
//! The name is that of the caller's token: a renamed token has no keys yet.
//!
//! Concurrent writes with the same key meet at a lock, one of [`STRIPES`].

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, MutexGuard};

use crate::engine::base::error::Result;
use crate::engine::mutants::mutant;
use crate::{CommitMode, Keyspace, Store, WriteBatch};

/// Locks for keys that are being written.
const STRIPES: usize = 64;
/// The keyspace of the keys.
pub(super) const KEYSPACE: &str = "$once";
/// The keyspace of the same keys by their age.
const BY_TIME: &str = "$once by time";
/// Keys that are forgotten in one commit, and in one sweep.
const SWEEP: usize = 1000;
const MOST: usize = 50 * SWEEP;

/// The keys, and the locks of those that are being written.
#[derive(Debug)]
pub(super) struct Once {
    stripes: [Mutex<()>; STRIPES],
    keyspaces: OnceLock<Keyspaces>,
}

/// The keyspaces of the keys: by name, and by age.
#[derive(Debug)]
pub(super) struct Keyspaces {
    pub(super) keys: Keyspace,
    by_time: Keyspace,
}

impl Keyspaces {
    /// Adds a key to `batch`.
    pub(super) fn remember(&self, batch: &mut WriteBatch, key: &[u8]) {
        mutant!(OnceUnrecorded => return);
        let now = now();
        batch.put(&self.keys, key, now.to_le_bytes());
        batch.put(&self.by_time, time_key(now, key), []);
    }
}

/// The result of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Swept {
    /// Keys that were forgotten.
    pub(crate) keys: u64,
    /// More keys are too old.
    pub(crate) is_unfinished: bool,
}

impl Default for Once {
    fn default() -> Self {
        Once { stripes: [const { Mutex::new(()) }; STRIPES], keyspaces: OnceLock::new() }
    }
}

impl Once {
    /// The keyspaces of the keys, created if there are none.
    pub(super) fn keyspaces(&self, store: &Store) -> Result<&Keyspaces> {
        if let Some(keyspaces) = self.keyspaces.get() {
            return Ok(keyspaces);
        }
        // They are in the log before the first write with a key, so they are durable when it is.
        let made = |name| store.find_or_append_keyspace(name).map(|(keyspace, _)| keyspace);
        let keyspaces = Keyspaces { keys: made(KEYSPACE)?, by_time: made(BY_TIME)? };
        Ok(self.keyspaces.get_or_init(|| keyspaces))
    }

    /// The same, if they were opened before.
    pub(super) fn known(&self) -> Option<&Keyspaces> {
        self.keyspaces.get()
    }

    /// Locks a key against other writes.
    pub(super) fn lock(&self, key: &[u8]) -> MutexGuard<'_, ()> {
        self.stripe(key).lock()
    }

    /// The same, if no other write holds the lock.
    pub(super) fn try_lock(&self, key: &[u8]) -> Option<MutexGuard<'_, ()>> {
        self.stripe(key).try_lock()
    }

    fn stripe(&self, key: &[u8]) -> &Mutex<()> {
        &self.stripes[crc32fast::hash(key) as usize % STRIPES]
    }

    /// Forgets keys that are older than `age`, at most [`MOST`].
    pub(super) fn sweep(&self, store: &Store, age: Duration) -> Result<Swept> {
        let Keyspaces { keys, by_time } = self.keyspaces(store)?;
        if by_time.len()? < keys.len()? {
            add_times(store, keys, by_time)?;
        }
        let limit = now().saturating_sub(age.as_secs());
        let mut swept = 0;
        while swept < MOST as u64 {
            let mut batch = WriteBatch::new();
            let mut oldest = by_time.range(..time_key(limit, &[]))?;
            while batch.len() < 2 * SWEEP
                && let Some((entry, _)) = oldest.next_ref()?
            {
                batch.delete(by_time, entry);
                batch.delete(keys, &entry[8..]);
            }
            drop(oldest);
            if batch.is_empty() {
                return Ok(Swept { keys: swept, is_unfinished: false });
            }
            swept += batch.len() as u64 / 2;
            store.write_with(batch, CommitMode::Async)?;
        }
        Ok(Swept { keys: swept, is_unfinished: true })
    }
}

/// Adds the missing entries by time, in a store that is older than that keyspace.
fn add_times(store: &Store, keys: &Keyspace, by_time: &Keyspace) -> Result<()> {
    let snapshot = store.snapshot()?;
    let mut entries = snapshot.iter(keys)?;
    loop {
        let mut batch = WriteBatch::new();
        while batch.len() < SWEEP
            && let Some((key, value)) = entries.next_ref()?
        {
            let written = value.try_into().map(u64::from_le_bytes).unwrap_or(0);
            batch.put(by_time, time_key(written, key), []);
        }
        if batch.is_empty() {
            return Ok(());
        }
        store.write_with(batch, CommitMode::Async)?;
    }
}

/// The key of an entry by time.
fn time_key(written: u64, key: &[u8]) -> Vec<u8> {
    [&written.to_be_bytes()[..], key].concat()
}

/// The key of an entry: callers do not share idempotency keys.
pub(super) fn entry_key(caller: &str, once: &[u8]) -> Vec<u8> {
    let name = &caller.as_bytes()[..caller.len().min(255)];
    let mut key = Vec::with_capacity(1 + name.len() + once.len());
    key.push(name.len() as u8);
    key.extend_from_slice(name);
    key.extend_from_slice(once);
    key
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Options;
    use crate::engine::disk::SimDisk;

    const HOUR: Duration = Duration::from_secs(3600);

    fn store() -> (Store, Once) {
        let store = Options::new().open_on(Arc::new(SimDisk::new())).unwrap();
        let once = Once::default();
        once.keyspaces(&store).unwrap();
        (store, once)
    }

    /// Adds keys that were written `ago`.
    fn remember(store: &Store, once: &Once, ago: Duration, count: u64) {
        let Keyspaces { keys, by_time } = once.keyspaces(store).unwrap();
        let written = now() - ago.as_secs();
        let mut batch = WriteBatch::new();
        for number in 0..count {
            let key = format!("{ago:?} {number}");
            batch.put(keys, &key, written.to_le_bytes());
            batch.put(by_time, time_key(written, key.as_bytes()), []);
        }
        store.write_with(batch, CommitMode::Async).unwrap();
    }

    #[test]
    fn sweep_forgets_old_keys_and_keeps_the_others() {
        let (store, once) = store();
        remember(&store, &once, 3 * HOUR, 2500);
        remember(&store, &once, HOUR, 2500);
        let swept = once.sweep(&store, 2 * HOUR).unwrap();
        assert_eq!(swept, Swept { keys: 2500, is_unfinished: false });
        let Keyspaces { keys, by_time } = once.keyspaces(&store).unwrap();
        assert_eq!((keys.len().unwrap(), by_time.len().unwrap()), (2500, 2500));
        assert!(keys.contains_key(format!("{HOUR:?} 7")).unwrap());
        assert_eq!(once.sweep(&store, 2 * HOUR).unwrap().keys, 0);
        // An age before the epoch forgets nothing.
        assert_eq!(once.sweep(&store, Duration::MAX).unwrap().keys, 0);
    }

    #[test]
    fn sweep_forgets_a_bounded_number_and_says_that_there_are_more() {
        let (store, once) = store();
        remember(&store, &once, 3 * HOUR, MOST as u64);
        remember(&store, &once, 4 * HOUR, 10);
        let first = once.sweep(&store, HOUR).unwrap();
        assert_eq!(first, Swept { keys: MOST as u64, is_unfinished: true });
        let second = once.sweep(&store, HOUR).unwrap();
        assert_eq!(second, Swept { keys: 10, is_unfinished: false });
    }

    #[test]
    fn keys_without_an_entry_by_time_are_swept_too() {
        let (store, once) = store();
        let Keyspaces { keys, .. } = once.keyspaces(&store).unwrap();
        for number in 0..1500_u64 {
            let written = now() - 3600 * (number % 2) * 5;
            keys.put_with(number.to_be_bytes(), written.to_le_bytes(), CommitMode::Async).unwrap();
        }
        assert_eq!(once.sweep(&store, HOUR).unwrap().keys, 750);
        assert_eq!(keys.len().unwrap(), 750);
    }
}
