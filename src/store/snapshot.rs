//! Snapshots: the whole store as of one point in time.

use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use super::handle::Closer;
use super::keyspace::Keyspace;
use super::range::{Range, prefix_bounds, read_blob};
use super::receipt::Receipt;
use super::value::{Entry, Value};
use crate::error::{Error, Result};
use crate::lsn::Lsn;
use crate::mutants::{Mutant, broken};
use crate::tree::{ReadAt, lookup, touch};
use crate::txn::{Engine, KeyspaceState};

/// The whole store, all keyspaces, as of one point in time.
///
/// Page versions that a snapshot needs are kept until it is dropped, on disk if they outgrow
/// memory. Cheap to clone.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let store = syncline::Store::open(dir.path())?;
/// let users = store.keyspace("users")?;
/// users.put("ada", "1815")?;
/// let snapshot = store.snapshot()?;
/// users.delete("ada")?;
/// assert!(snapshot.contains_key(&users, "ada")?);
/// assert!(!users.contains_key("ada")?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Snapshot {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Arc<Closer>,
    at: Lsn,
    counts: Vec<(Arc<KeyspaceState>, u64)>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.store.engine().cache.unregister(self.at);
    }
}

impl Snapshot {
    pub(super) fn new(store: Arc<Closer>) -> Self {
        let (at, counts) = {
            let (snapshot, counts) = store.engine().snapshot();
            (snapshot.into_lsn(), counts)
        };
        Snapshot { inner: Arc::new(Inner { store, at, counts }) }
    }

    /// The snapshot shows every commit at or below this, and no other.
    pub fn lsn(&self) -> Lsn {
        self.inner.at
    }

    /// The receipt of what the snapshot shows: durable once all of it is. A reader that must not
    /// act on what could still be lost waits for it.
    pub fn receipt(&self) -> Receipt {
        if broken(Mutant::SnapshotReceiptEarly) {
            let checkpoint = self.inner.store.engine().checkpointed.load();
            return self.inner.store.receipt(self.inner.at.min(checkpoint));
        }
        self.inner.store.receipt(self.inner.at)
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// [`Error::NoSuchKeyspace`] if the keyspace was not there at the time, and as
    /// [`Keyspace::get`].
    pub fn get(&self, keyspace: &Keyspace, key: impl AsRef<[u8]>) -> Result<Option<Value<'_>>> {
        let engine = self.check(keyspace)?;
        let at = ReadAt::Snapshot(self.inner.at);
        let found = lookup(&engine.cache, keyspace.state().root, key.as_ref(), at)?;
        found.map(|found| read_blob(&engine.cache, found, self.inner.at)).transpose()
    }

    /// Whether there is `key`.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn contains_key(&self, keyspace: &Keyspace, key: impl AsRef<[u8]>) -> Result<bool> {
        let engine = self.check(keyspace)?;
        let at = ReadAt::Snapshot(self.inner.at);
        touch(&engine.cache, keyspace.state().root, key.as_ref(), at)
    }

    /// The entries whose keys are in `bounds`, in order.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn range<K: AsRef<[u8]>>(
        &self,
        keyspace: &Keyspace,
        bounds: impl RangeBounds<K>,
    ) -> Result<Range<'_>> {
        let bound = |bound: Bound<&K>| bound.map(|key| key.as_ref().to_vec());
        self.between(keyspace, bound(bounds.start_bound()), bound(bounds.end_bound()))
    }

    /// The entries whose keys begin with `prefix`, in order.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn prefix(&self, keyspace: &Keyspace, prefix: impl AsRef<[u8]>) -> Result<Range<'_>> {
        let (from, to) = prefix_bounds(prefix.as_ref());
        self.between(keyspace, from, to)
    }

    /// All entries, in order.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn iter(&self, keyspace: &Keyspace) -> Result<Range<'_>> {
        self.between(keyspace, Bound::Unbounded, Bound::Unbounded)
    }

    /// The entry with the least key.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn first(&self, keyspace: &Keyspace) -> Result<Option<Entry<'_>>> {
        self.iter(keyspace)?.next().transpose()
    }

    /// The entry with the greatest key.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn last(&self, keyspace: &Keyspace) -> Result<Option<Entry<'_>>> {
        self.iter(keyspace)?.next_back().transpose()
    }

    /// The number of keys, exactly. O(number of keyspaces).
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn len(&self, keyspace: &Keyspace) -> Result<u64> {
        self.check(keyspace)?;
        if broken(Mutant::SnapshotCountsNewest) {
            return Ok(keyspace.state().count.latest());
        }
        Ok(self.count(keyspace).expect("checked"))
    }

    /// Whether there is no key.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn is_empty(&self, keyspace: &Keyspace) -> Result<bool> {
        self.len(keyspace).map(|len| len == 0)
    }

    fn between(
        &self,
        keyspace: &Keyspace,
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
    ) -> Result<Range<'_>> {
        let engine = self.check(keyspace)?;
        let newest = broken(Mutant::SnapshotRangeReadsNewest);
        let at = if newest { None } else { Some(self.inner.at) };
        Ok(Range::new(engine, keyspace.state().root, at, from, to))
    }

    fn count(&self, keyspace: &Keyspace) -> Option<u64> {
        let state = keyspace.state();
        self.inner.counts.iter().find(|(known, _)| Arc::ptr_eq(known, state)).map(|(_, n)| *n)
    }

    fn check(&self, keyspace: &Keyspace) -> Result<&Engine> {
        let engine = self.inner.store.engine();
        engine.check_open()?;
        if !std::ptr::eq(keyspace.engine(), engine) {
            return Err(Error::ForeignKeyspace { name: keyspace.name().to_owned() });
        }
        if self.count(keyspace).is_none() {
            return Err(Error::NoSuchKeyspace { name: keyspace.name().to_owned() });
        }
        Ok(engine)
    }
}
