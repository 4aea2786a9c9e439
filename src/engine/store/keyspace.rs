//! [`Keyspace`], an ordered map from keys to values.

use std::cell::RefCell;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use super::batch::WriteBatch;
use super::open_store::OpenStore;
use super::range::{At, Range, prefix_bounds};
use super::receipt::Receipt;
use super::snapshot::Registered;
use super::value::{Entry, Value};
use crate::engine::base::error::{Error, Result};
use crate::engine::commit::{Engine, KeyspaceState, Op, Payload};
use crate::engine::options::CommitMode;
use crate::engine::tree::{self, ReadAt, lookup, max_key, touch};

/// A named, ordered map from keys to values.
///
/// A keyspace is a handle: cheap to clone, and to be shared between threads. [`Store::keyspace`]
/// creates or opens one.
///
/// - A **key** is 0 bytes to an eighth of a page long: at most 1 KiB by default. Keys are ordered bytewise.
/// - A **value** is at most [`Options::max_value_bytes`](crate::Options::max_value_bytes) long.
/// - A read sees every commit that was acknowledged before the read began.
///
/// [`Store::keyspace`]: crate::Store::keyspace
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let store = syncline::Store::open(dir.path())?;
/// let users = store.keyspace("users")?;
/// users.put("ada", "1815")?;
/// users.put("alan", "1912")?;
/// assert_eq!(users.get("ada")?.as_deref(), Some(&b"1815"[..]));
/// let names: Vec<_> = users.prefix("a")?.map(|e| e.map(|e| e.key().to_vec())).collect::<Result<_, _>>()?;
/// assert_eq!(names, [b"ada".to_vec(), b"alan".to_vec()]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Keyspace {
    store: Arc<OpenStore>,
    state: Arc<KeyspaceState>,
}

thread_local! {
    /// The buffer for this thread's next single put or delete.
    static PAYLOAD: RefCell<Payload> = RefCell::default();
}

impl Keyspace {
    pub(super) fn new(store: Arc<OpenStore>, state: Arc<KeyspaceState>) -> Self {
        Keyspace { store, state }
    }

    pub(super) fn state(&self) -> &Arc<KeyspaceState> {
        &self.state
    }

    pub(super) fn engine(&self) -> &Engine {
        self.store.engine()
    }

    /// The name of the keyspace.
    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// The value of `key`, or `None` if there is no such key.
    ///
    /// Accesses one page per level of the tree, 3 or 4 in most stores. A value that is stored out of line
    /// takes as many again, and its own pages. If the pages are in memory and the value is in its leaf,
    /// the call takes no lock and makes no system call, with one exception: a thread that is changing
    /// that leaf in place was interrupted half-way.
    ///
    /// # Errors
    /// [`Error::NoSuchKeyspace`] once the keyspace has been dropped, [`Error::Closed`], or an error of
    /// reading a page, such as [`Error::Corrupt`].
    #[inline]
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.find(key.as_ref())
    }

    /// As [`Keyspace::get`]. Not generic: it is compiled in this crate, where its callees can be inlined.
    fn find(&self, key: &[u8]) -> Result<Option<Value>> {
        let engine = self.check()?;
        let copied = lookup(engine.cache(), self.state.root, key, ReadAt::Newest, |value| {
            Some(match value {
                None => None,
                Some(tree::Value::Inline(value)) => Some(Value::copy(value)),
                Some(tree::Value::Blob(_)) => return None,
            })
        });
        match copied? {
            Some(found) => Ok(found),
            None => self.get_blob(key),
        }
    }

    /// Whether `key` exists. Reads no value.
    ///
    /// # Errors
    /// As [`Keyspace::get`].
    pub fn contains_key(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let engine = self.check()?;
        touch(engine.cache(), self.state.root, key.as_ref(), ReadAt::Newest)
    }

    /// Sets the value of `key`, in the store's default commit mode.
    ///
    /// # Errors
    /// [`Error::KeyTooLong`], [`Error::ValueTooLong`], [`Error::NoSuchKeyspace`], [`Error::DiskFull`],
    /// [`Error::ReadOnly`], [`Error::Closed`]: nothing was changed. [`Error::Poisoned`] once a flush has
    /// failed: a commit that waited for that flush may or may not survive ([`Store::receipt_of`]).
    ///
    /// [`Store::receipt_of`]: crate::Store::receipt_of
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Receipt> {
        self.put_with(key, value, self.engine().options().commit_mode)
    }

    /// Sets the value of `key`, in the given commit mode.
    ///
    /// # Errors
    /// As [`Keyspace::put`].
    pub fn put_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        mode: CommitMode,
    ) -> Result<Receipt> {
        let (key, value) = (key.as_ref(), value.as_ref());
        self.commit(self.put_of(key, value)?, mode)
    }

    /// Deletes `key`, in the store's default commit mode. The key need not exist.
    ///
    /// # Errors
    /// As [`Keyspace::put`].
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<Receipt> {
        self.delete_with(key, self.engine().options().commit_mode)
    }

    /// Deletes `key`, in the given commit mode. The key need not exist.
    ///
    /// # Errors
    /// As [`Keyspace::put`].
    pub fn delete_with(&self, key: impl AsRef<[u8]>, mode: CommitMode) -> Result<Receipt> {
        let key = key.as_ref();
        self.commit(self.delete_of(key)?, mode)
    }

    /// Iterates over the entries whose keys are in `bounds`, in order, as of now: it does not show later
    /// commits.
    ///
    /// # Errors
    /// As [`Keyspace::get`].
    pub fn range<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> Result<Range> {
        let bound = |bound: Bound<&K>| bound.map(|key| key.as_ref().to_vec());
        let (from, to) = (bound(bounds.start_bound()), bound(bounds.end_bound()));
        self.between(from, to)
    }

    /// Iterates over the entries whose keys begin with `prefix`, in order, as of now.
    ///
    /// # Errors
    /// As [`Keyspace::get`].
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Result<Range> {
        let (from, to) = prefix_bounds(prefix.as_ref());
        self.between(from, to)
    }

    /// Iterates over all entries, in order, as of now.
    ///
    /// # Errors
    /// As [`Keyspace::get`].
    pub fn iter(&self) -> Result<Range> {
        self.range::<&[u8]>(..)
    }

    /// The entry with the smallest key.
    ///
    /// # Errors
    /// As [`Keyspace::get`].
    pub fn first(&self) -> Result<Option<Entry>> {
        self.iter()?.next().transpose()
    }

    /// The entry with the largest key.
    ///
    /// # Errors
    /// As [`Keyspace::get`].
    pub fn last(&self) -> Result<Option<Entry>> {
        self.iter()?.next_back().transpose()
    }

    /// The exact number of keys. O(1).
    ///
    /// # Errors
    /// [`Error::NoSuchKeyspace`], [`Error::Closed`].
    pub fn len(&self) -> Result<u64> {
        let engine = self.check()?;
        Ok(self.state.count.visible(|| engine.cache().visible()))
    }

    /// Whether the keyspace has no key.
    ///
    /// # Errors
    /// As [`Keyspace::len`].
    pub fn is_empty(&self) -> Result<bool> {
        self.len().map(|len| len == 0)
    }

    pub(super) fn check(&self) -> Result<&Engine> {
        let engine = self.engine();
        engine.check_open()?;
        self.state.check()?;
        Ok(engine)
    }

    /// A put, after a check of its lengths.
    pub(super) fn put_of<'a>(&self, key: &'a [u8], value: &'a [u8]) -> Result<Op<'a>> {
        let limits = SizeLimits::of(self.engine());
        limits.check_key(key.len())?;
        limits.check_value(value.len())?;
        Ok(Op::Put { keyspace: self.state.id, key, value })
    }

    /// A delete, after a check of its length.
    pub(super) fn delete_of<'a>(&self, key: &'a [u8]) -> Result<Op<'a>> {
        SizeLimits::of(self.engine()).check_key(key.len())?;
        Ok(Op::Delete { keyspace: self.state.id, key })
    }

    fn commit(&self, op: Op<'_>, mode: CommitMode) -> Result<Receipt> {
        let engine = self.engine();
        // Taken, not borrowed: a waker or logger that runs meanwhile may commit too. The variable is
        // gone while the thread ends, and a destructor may commit then.
        let mut payload = PAYLOAD.try_with(RefCell::take).unwrap_or_default();
        payload.clear();
        payload.push(op);
        let lsn = engine.commit(&mut payload, std::slice::from_ref(&self.state), mode);
        let _ = PAYLOAD.try_with(|kept| kept.replace(payload));
        Ok(self.store.receipt(lsn?))
    }

    fn between(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>) -> Result<Range> {
        self.check()?;
        let at = At::Own(Registered::new(Arc::clone(&self.store)));
        Ok(Range::new(at, self.state.root, from, to))
    }

    /// Reads an out-of-line value through a snapshot, which keeps its pages.
    #[cold]
    fn get_blob(&self, key: &[u8]) -> Result<Option<Value>> {
        Registered::new(Arc::clone(&self.store)).read(self.state.root, key)
    }
}

/// The longest key and value of a store.
#[derive(Clone, Copy, Debug)]
pub(super) struct SizeLimits {
    key: usize,
    value: u64,
}

impl SizeLimits {
    pub(super) fn of(engine: &Engine) -> Self {
        let key = max_key(engine.cache().page_bytes());
        SizeLimits { key, value: engine.options().max_value_bytes }
    }

    /// Checks the longest key and value of a batch.
    pub(super) fn check_batch(self, batch: &WriteBatch) -> Result<()> {
        self.check_key(batch.longest_key)?;
        self.check_value(batch.payload.longest_value)
    }

    fn check_key(self, len: usize) -> Result<()> {
        if len > self.key { Err(Error::KeyTooLong { len, max: self.key }) } else { Ok(()) }
    }

    fn check_value(self, len: usize) -> Result<()> {
        let (len, max) = (len as u64, self.value);
        if len > max { Err(Error::ValueTooLong { len, max }) } else { Ok(()) }
    }
}

#[cfg(all(test, not(syncline_shuttle)))]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use crate::engine::disk::SimDisk;
    use crate::{Error, Options};

    /// The panic comes from an assertion of the commit path: the key count goes below zero.
    #[test]
    fn a_panic_in_a_commit_poisons_the_store_and_keeps_nobody_waiting() {
        let store = Options::new().open_on(Arc::new(SimDisk::new())).unwrap();
        let keys = store.keyspace("keys").unwrap();
        for key in 0..5 {
            keys.put([key], "1").unwrap();
        }
        let visible = store.engine().cache().visible();
        keys.state().count.set(0, visible, |_, _| false);
        let held = store.engine().lock_commits();
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..4)
                .map(|writer| {
                    let keys = &keys;
                    scope.spawn(move || keys.delete([writer]))
                })
                .collect();
            std::thread::sleep(Duration::from_millis(100));
            drop(held);
            for writer in writers {
                // The thread that serves the commits panics; the others get the error.
                if let Ok(told) = writer.join() {
                    assert!(matches!(told, Err(Error::Poisoned { .. })));
                }
            }
        });
        assert!(matches!(keys.put("c", "3"), Err(Error::Poisoned { .. })));
        assert_eq!(&*keys.get([4]).unwrap().unwrap(), b"1", "reads go on");
    }
}
