//! Batches: several changes in one commit.

use std::cell::Cell;
use std::sync::Arc;

use super::keyspace::Keyspace;
use crate::engine::commit::{KeyspaceState, Op, Payload};

/// The memory of a batch is kept for the next one of the thread up to this size.
const SPARE_BYTES: usize = 1 << 20;
/// How many keyspaces back a batch looks for one that it has.
const KNOWN: usize = 8;

thread_local! {
    /// What the thread's last batch was encoded in, empty. To grow such a buffer anew for each
    /// batch copies it several times, and takes and gives back memory of the system.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Puts and deletes, in one or more keyspaces, that are committed together: whole or not at all.
/// Of several changes to a key, the last counts.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// use syncline::{Store, WriteBatch};
///
/// let store = Store::open(dir.path())?;
/// let (from, to) = (store.keyspace("from")?, store.keyspace("to")?);
/// let mut batch = WriteBatch::new();
/// batch.delete(&from, "k");
/// batch.put(&to, "k", "v");
/// store.write(batch)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct WriteBatch {
    pub(super) payload: Payload,
    /// Each at least once.
    pub(super) keyspaces: Vec<Arc<KeyspaceState>>,
    /// The longest key, to be checked against the store's limit.
    pub(super) longest_key: usize,
}

impl WriteBatch {
    /// An empty batch.
    pub fn new() -> Self {
        let mut batch = Self::default();
        batch.payload.bytes = SPARE.try_with(Cell::take).unwrap_or_default();
        batch
    }

    /// Leaves the memory of a batch that was written to the next one.
    pub(super) fn retire(self) {
        let mut bytes = self.payload.bytes;
        bytes.clear();
        if bytes.capacity() <= SPARE_BYTES {
            // Gone when the thread ends, and this may be the end of the thread.
            let _ = SPARE.try_with(|spare| spare.set(bytes));
        }
    }

    /// Gives `key` the value `value`. Limits are checked when the batch is written.
    pub fn put(&mut self, keyspace: &Keyspace, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let (key, value) = (key.as_ref(), value.as_ref());
        let id = self.enlist(keyspace);
        self.longest_key = self.longest_key.max(key.len());
        self.payload.push(Op::Put { keyspace: id, key, value });
    }

    /// Deletes `key`.
    pub fn delete(&mut self, keyspace: &Keyspace, key: impl AsRef<[u8]>) {
        let key = key.as_ref();
        let id = self.enlist(keyspace);
        self.longest_key = self.longest_key.max(key.len());
        self.payload.push(Op::Delete { keyspace: id, key });
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.payload.operations
    }

    /// Whether there is no change.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that the batch takes in the log, without its record's header.
    pub fn bytes(&self) -> usize {
        self.payload.bytes.len()
    }

    fn enlist(&mut self, keyspace: &Keyspace) -> crate::engine::commit::KeyspaceId {
        let state = keyspace.state();
        // Of many, some may be named again: that costs less than to look through all of them.
        if !self.keyspaces.iter().rev().take(KNOWN).any(|known| Arc::ptr_eq(known, state)) {
            self.keyspaces.push(Arc::clone(state));
        }
        state.id
    }
}
