//! Idempotency keys: a write that is tried again is applied once (S2).
//!
//! The key is written into a keyspace of the server's own, in the same commit as the write. Who
//! comes with a key that is there already is told the position of the present: it is at or above
//! the first write's, so what is said of it is never too much.
//!
//! | entry | |
//! |---|---|
//! | key | length of the caller's name (1 byte), the name, the idempotency key |
//! | value | unix seconds, 8 bytes |
//!
//! Two that come with the same key at the same time meet at a lock, one of [`STRIPES`].

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, MutexGuard};

use crate::error::Result;
use crate::{CommitMode, Keyspace, Store, WriteBatch};

/// Locks for keys that are being written.
const STRIPES: usize = 64;
/// The keyspace of the keys.
pub(super) const KEYSPACE: &str = "$once";
/// Keys that are forgotten in one commit.
const SWEEP: usize = 1000;

/// The keys, and who is writing them.
#[derive(Debug)]
pub(super) struct Once {
    stripes: [Mutex<()>; STRIPES],
    keyspace: OnceLock<Keyspace>,
}

impl Default for Once {
    fn default() -> Self {
        Once { stripes: [const { Mutex::new(()) }; STRIPES], keyspace: OnceLock::new() }
    }
}

impl Once {
    /// The keyspace of the keys, made if there is none.
    pub(super) fn keyspace(&self, store: &Store) -> Result<&Keyspace> {
        if let Some(keyspace) = self.keyspace.get() {
            return Ok(keyspace);
        }
        let keyspace = store.keyspace(KEYSPACE)?;
        Ok(self.keyspace.get_or_init(|| keyspace))
    }

    /// The same, if it has been asked for before.
    pub(super) fn known(&self) -> Option<&Keyspace> {
        self.keyspace.get()
    }

    /// Keeps others with the same key out.
    pub(super) fn lock(&self, key: &[u8]) -> MutexGuard<'_, ()> {
        self.stripe(key).lock()
    }

    /// The same if nobody is there.
    pub(super) fn try_lock(&self, key: &[u8]) -> Option<MutexGuard<'_, ()>> {
        self.stripe(key).try_lock()
    }

    fn stripe(&self, key: &[u8]) -> &Mutex<()> {
        &self.stripes[crc32fast::hash(key) as usize % STRIPES]
    }

    /// Forgets keys that are older than `age`, and returns how many there were.
    pub(super) fn sweep(&self, store: &Store, age: Duration) -> Result<u64> {
        let Some(keyspace) = store.open_keyspace(KEYSPACE)? else { return Ok(0) };
        let limit = now().saturating_sub(age.as_secs());
        let mut swept = 0;
        let snapshot = store.snapshot()?;
        let mut entries = snapshot.iter(&keyspace)?;
        loop {
            let mut batch = WriteBatch::new();
            while let Some((key, value)) = entries.next_ref()? {
                let written = value.try_into().map(u64::from_le_bytes).unwrap_or(0);
                if written < limit {
                    batch.delete(&keyspace, key);
                }
                if batch.len() == SWEEP {
                    break;
                }
            }
            if batch.is_empty() {
                return Ok(swept);
            }
            swept += batch.len() as u64;
            store.write_with(batch, CommitMode::Async)?;
        }
    }
}

/// The entry's key: callers do not share keys.
pub(super) fn entry_key(caller: &str, once: &[u8]) -> Vec<u8> {
    let name = &caller.as_bytes()[..caller.len().min(255)];
    let mut key = Vec::with_capacity(1 + name.len() + once.len());
    key.push(name.len() as u8);
    key.extend_from_slice(name);
    key.extend_from_slice(once);
    key
}

/// The entry's value.
pub(super) fn entry_value() -> [u8; 8] {
    now().to_le_bytes()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
