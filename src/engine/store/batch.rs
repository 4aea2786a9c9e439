//! [`WriteBatch`], several changes in one commit.

use std::cell::Cell;
use std::sync::Arc;

use super::keyspace::Keyspace;
use crate::engine::commit::{KeyspaceState, Op, Payload};

/// The largest buffer that is kept for the thread's next batch.
const SPARE_BYTES: usize = 1 << 20;
/// How many of its last keyspaces a batch searches before it adds one.
const KNOWN: usize = 8;

thread_local! {
    /// The empty buffer of the thread's last batch. Growing a new one for each batch would copy it
    /// several times, and allocate and free memory of the system.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Puts and deletes in one or more keyspaces that are committed together: all of them or none.
///
/// Fill a batch, then pass it to [`Store::write`](crate::Store::write). If it changes a key several
/// times, the last change counts.
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
    /// Each keyspace of the batch, at least once.
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

    /// Keeps the memory of a written batch for the thread's next one.
    pub(super) fn retire(self) {
        let mut bytes = self.payload.bytes;
        bytes.clear();
        if bytes.capacity() <= SPARE_BYTES {
            // The variable is gone while the thread ends, and a destructor may write a batch then.
            let _ = SPARE.try_with(|spare| spare.set(bytes));
        }
    }

    /// Adds a put. The lengths of `key` and `value` are checked when the batch is written.
    pub fn put(&mut self, keyspace: &Keyspace, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let (key, value) = (key.as_ref(), value.as_ref());
        let id = self.enlist(keyspace);
        self.longest_key = self.longest_key.max(key.len());
        self.payload.push(Op::Put { keyspace: id, key, value });
    }

    /// Adds a delete. The key need not exist.
    pub fn delete(&mut self, keyspace: &Keyspace, key: impl AsRef<[u8]>) {
        let key = key.as_ref();
        let id = self.enlist(keyspace);
        self.longest_key = self.longest_key.max(key.len());
        self.payload.push(Op::Delete { keyspace: id, key });
    }

    /// The number of changes.
    pub fn len(&self) -> usize {
        self.payload.operations
    }

    /// Whether the batch has no change.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The size of the batch in the log, in bytes, without the header of its record.
    pub fn bytes(&self) -> usize {
        self.payload.bytes.len()
    }

    fn enlist(&mut self, keyspace: &Keyspace) -> crate::engine::commit::KeyspaceId {
        let state = keyspace.state();
        // With many keyspaces one may be listed twice: that costs less than a search of all.
        if !self.keyspaces.iter().rev().take(KNOWN).any(|known| Arc::ptr_eq(known, state)) {
            self.keyspaces.push(Arc::clone(state));
        }
        state.id
    }
}
