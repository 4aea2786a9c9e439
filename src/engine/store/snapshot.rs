//! [`Snapshot`], the whole store as of one point in time.

use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use super::keyspace::Keyspace;
use super::open_store::OpenStore;
use super::range::{At, Range, prefix_bounds};
use super::receipt::Receipt;
use super::value::{Entry, Value};
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::Lsn;
use crate::engine::commit::Engine;
use crate::engine::mutants::mutant;
use crate::engine::space::PageId;
use crate::engine::tree::{self, ReadAt, blob, lookup, touch};

/// A consistent view of the whole store, all keyspaces, as of one point in time.
///
/// Taking a snapshot waits for no other thread, however large the store is. The store keeps the page
/// versions that a snapshot needs until its last clone is dropped, on disk if they outgrow memory.
/// Dropping it costs in proportion to the versions that are freed with it. A clone is cheap.
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
    inner: Arc<Registered>,
}

/// A point in time whose page versions are kept until this is dropped.
#[derive(Debug)]
pub(super) struct Registered {
    store: Arc<OpenStore>,
    at: Lsn,
}

impl Registered {
    /// Registers a snapshot of the commits that are visible now.
    pub(super) fn new(store: Arc<OpenStore>) -> Self {
        let at = store.engine().cache().snapshot().into_lsn();
        Registered { store, at }
    }

    pub(super) fn lsn(&self) -> Lsn {
        self.at
    }

    #[inline]
    pub(super) fn engine(&self) -> &Engine {
        self.store.engine()
    }

    /// The value of `key` in the tree under `root`.
    pub(super) fn read(&self, root: PageId, key: &[u8]) -> Result<Option<Value>> {
        let cache = self.engine().cache();
        let found = lookup(cache, root, key, ReadAt::Snapshot(self.at), |value| match value? {
            tree::Value::Inline(value) => Some(Ok(Value::copy(value))),
            tree::Value::Blob(found) => Some(Err(found)),
        })?;
        Ok(match found {
            None => None,
            Some(Ok(value)) => Some(value),
            Some(Err(found)) => Some(Value::owned(blob::read(cache, found, self.at)?)),
        })
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.engine().cache().unregister(self.at);
    }
}

impl Snapshot {
    pub(super) fn new(store: Arc<OpenStore>) -> Self {
        Snapshot { inner: Arc::new(Registered::new(store)) }
    }

    /// The position of the snapshot: it shows every commit at or below this LSN, and no other.
    pub fn lsn(&self) -> Lsn {
        self.inner.at
    }

    /// A receipt that is durable once every commit that the snapshot shows is. If you must not act on
    /// data that could still be lost, wait for it.
    pub fn receipt(&self) -> Receipt {
        mutant!(SnapshotReceiptEarly => {
            let checkpoint = self.inner.store.engine().watermarks().checkpoint;
            return self.inner.store.receipt(self.inner.at.min(checkpoint));
        });
        self.inner.store.receipt(self.inner.at)
    }

    /// The value of `key`, or `None` if there was no such key.
    ///
    /// # Errors
    /// [`Error::NoSuchKeyspace`] if the keyspace did not exist at that time,
    /// [`Error::ForeignKeyspace`] if it belongs to another store, and as [`Keyspace::get`].
    pub fn get(&self, keyspace: &Keyspace, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.check(keyspace)?;
        self.inner.read(keyspace.state().root, key.as_ref())
    }

    /// Whether `key` existed.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn contains_key(&self, keyspace: &Keyspace, key: impl AsRef<[u8]>) -> Result<bool> {
        let engine = self.check(keyspace)?;
        let at = ReadAt::Snapshot(self.inner.at);
        touch(engine.cache(), keyspace.state().root, key.as_ref(), at)
    }

    /// Iterates over the entries whose keys are in `bounds`, in order.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn range<K: AsRef<[u8]>>(
        &self,
        keyspace: &Keyspace,
        bounds: impl RangeBounds<K>,
    ) -> Result<Range> {
        let bound = |bound: Bound<&K>| bound.map(|key| key.as_ref().to_vec());
        self.between(keyspace, bound(bounds.start_bound()), bound(bounds.end_bound()))
    }

    /// Iterates over the entries whose keys begin with `prefix`, in order.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn prefix(&self, keyspace: &Keyspace, prefix: impl AsRef<[u8]>) -> Result<Range> {
        let (from, to) = prefix_bounds(prefix.as_ref());
        self.between(keyspace, from, to)
    }

    /// Iterates over all entries, in order.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn iter(&self, keyspace: &Keyspace) -> Result<Range> {
        self.between(keyspace, Bound::Unbounded, Bound::Unbounded)
    }

    /// The entry with the smallest key.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn first(&self, keyspace: &Keyspace) -> Result<Option<Entry>> {
        self.iter(keyspace)?.next().transpose()
    }

    /// The entry with the largest key.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn last(&self, keyspace: &Keyspace) -> Result<Option<Entry>> {
        self.iter(keyspace)?.next_back().transpose()
    }

    /// The exact number of keys. O(log n) in the number of open snapshots.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn len(&self, keyspace: &Keyspace) -> Result<u64> {
        self.check(keyspace)?;
        mutant!(SnapshotCountsNewest => return Ok(keyspace.state().count.latest()));
        Ok(keyspace.state().count.at(self.inner.at))
    }

    /// Whether the keyspace had no key.
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
    ) -> Result<Range> {
        self.check(keyspace)?;
        let at = mutant!(SnapshotRangeReadsNewest: At::Shared(Arc::clone(&self.inner)) =>
            At::Own(Registered::new(Arc::clone(&self.inner.store))));
        Ok(Range::new(at, keyspace.state().root, from, to))
    }

    fn check(&self, keyspace: &Keyspace) -> Result<&Engine> {
        let engine = self.inner.store.engine();
        engine.check_open()?;
        if !std::ptr::eq(keyspace.engine(), engine) {
            return Err(Error::ForeignKeyspace { name: keyspace.name().to_owned() });
        }
        if !keyspace.state().was_there(self.inner.at) {
            return Err(Error::NoSuchKeyspace { name: keyspace.name().to_owned() });
        }
        Ok(engine)
    }
}

#[cfg(all(test, not(syncline_shuttle)))]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::time::Duration;

    use crate::Options;
    use crate::engine::disk::SimDisk;

    #[test]
    fn a_snapshot_is_taken_and_read_while_the_commit_lock_is_held() {
        let store = Options::new().open_on(Arc::new(SimDisk::new())).unwrap();
        let rows = store.keyspace("rows").unwrap();
        rows.put("a", "1").unwrap();
        let (done, is_done) = mpsc::channel();
        std::thread::scope(|scope| {
            let held = store.engine().lock_commits();
            scope.spawn(|| {
                let snapshot = store.snapshot().unwrap();
                assert_eq!(snapshot.get(&rows, "a").unwrap().unwrap(), b"1");
                assert_eq!(snapshot.len(&rows).unwrap(), 1);
                assert_eq!(rows.iter().unwrap().count(), 1);
                assert_eq!(store.open_keyspace("rows").unwrap().unwrap().name(), "rows");
                assert_eq!(store.keyspaces(), ["rows"]);
                done.send(()).unwrap();
            });
            let told = is_done.recv_timeout(Duration::from_secs(30));
            drop(held);
            told.expect("it waits for the commit lock");
        });
    }

    #[test]
    fn a_snapshot_shows_the_keyspaces_and_counts_of_its_time() {
        let store = Options::new().open_on(Arc::new(SimDisk::new())).unwrap();
        let (a, b) = (store.keyspace("a").unwrap(), store.keyspace("b").unwrap());
        let mut held = Vec::new();
        for round in 0..50_u8 {
            a.put([round], "1").unwrap();
            if round % 3 == 0 {
                b.put([round], "1").unwrap();
            }
            held.push((round, store.snapshot().unwrap()));
        }
        store.drop_keyspace("a").unwrap();
        let later = store.keyspace("a").unwrap();
        let last = store.snapshot().unwrap();
        for (round, snapshot) in &held {
            assert_eq!(snapshot.len(&a).unwrap(), u64::from(*round) + 1);
            assert_eq!(snapshot.len(&b).unwrap(), u64::from(*round) / 3 + 1);
            assert!(snapshot.len(&later).is_err(), "made after it");
        }
        assert!(last.get(&a, "k").is_err(), "dropped before it");
        assert_eq!(last.len(&later).unwrap(), 0);
    }
}
