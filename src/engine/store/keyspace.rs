//! A keyspace: an ordered map from keys to values.

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

/// An ordered map from keys to values, with a name, in a store.
///
/// Cheap to clone and to share between threads. Reads see every commit that was acknowledged
/// before they began. [`Keyspace::get`] takes no lock and makes no system call if the pages are in
/// memory and the value in its leaf, but for when a commit that changes that leaf in place was
/// interrupted half-way.
///
/// Keys are bytes, up to an eighth of a page long (1 KiB by default), the empty key included, and
/// ordered bytewise. Values are bytes, up to [`Options::max_value_bytes`](crate::Options) long.
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
    /// The payload that this thread's next single put or delete is encoded in.
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

    /// The value of `key`. Height of the tree page accesses, 3 or 4 in most stores; a value that is
    /// stored out of line takes as many again, and its own pages.
    ///
    /// # Errors
    /// [`Error::NoSuchKeyspace`] once the keyspace has been dropped, [`Error::Closed`], and
    /// whatever reading a page may meet, [`Error::Corrupt`] above all.
    #[inline]
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.find(key.as_ref())
    }

    /// As [`Keyspace::get`]. Compiled here, where all that it calls can be inlined.
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

    /// Whether there is `key`. As [`Keyspace::get`].
    ///
    /// # Errors
    /// As [`Keyspace::get`].
    pub fn contains_key(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let engine = self.check()?;
        touch(engine.cache(), self.state.root, key.as_ref(), ReadAt::Newest)
    }

    /// Gives `key` the value `value`, in the store's default commit mode.
    ///
    /// # Errors
    /// [`Error::KeyTooLong`], [`Error::ValueTooLong`], [`Error::NoSuchKeyspace`],
    /// [`Error::DiskFull`], [`Error::Closed`]: nothing was changed. [`Error::Poisoned`] once a
    /// flush has failed: a commit that was waiting for it may or may not survive.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Receipt> {
        self.put_with(key, value, self.engine().options().commit_mode)
    }

    /// Gives `key` the value `value`.
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

    /// Deletes `key`, in the store's default commit mode. It need not be there.
    ///
    /// # Errors
    /// As [`Keyspace::put`].
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<Receipt> {
        self.delete_with(key, self.engine().options().commit_mode)
    }

    /// Deletes `key`. It need not be there.
    ///
    /// # Errors
    /// As [`Keyspace::put`].
    pub fn delete_with(&self, key: impl AsRef<[u8]>, mode: CommitMode) -> Result<Receipt> {
        let key = key.as_ref();
        self.commit(self.delete_of(key)?, mode)
    }

    /// The entries whose keys are in `bounds`, in order, as of now: later commits do not show.
    ///
    /// # Errors
    /// As [`Keyspace::get`].
    pub fn range<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> Result<Range> {
        let bound = |bound: Bound<&K>| bound.map(|key| key.as_ref().to_vec());
        let (from, to) = (bound(bounds.start_bound()), bound(bounds.end_bound()));
        self.between(from, to)
    }

    /// The entries whose keys begin with `prefix`, in order, as of now.
    ///
    /// # Errors
    /// As [`Keyspace::get`].
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Result<Range> {
        let (from, to) = prefix_bounds(prefix.as_ref());
        self.between(from, to)
    }

    /// All entries, in order, as of now.
    ///
    /// # Errors
    /// As [`Keyspace::get`].
    pub fn iter(&self) -> Result<Range> {
        self.range::<&[u8]>(..)
    }

    /// The entry with the least key.
    ///
    /// # Errors
    /// As [`Keyspace::get`].
    pub fn first(&self) -> Result<Option<Entry>> {
        self.iter()?.next().transpose()
    }

    /// The entry with the greatest key.
    ///
    /// # Errors
    /// As [`Keyspace::get`].
    pub fn last(&self) -> Result<Option<Entry>> {
        self.iter()?.next_back().transpose()
    }

    /// The number of keys, exactly. O(1).
    ///
    /// # Errors
    /// [`Error::NoSuchKeyspace`], [`Error::Closed`].
    pub fn len(&self) -> Result<u64> {
        let engine = self.check()?;
        Ok(self.state.count.visible(|| engine.cache().visible()))
    }

    /// Whether there is no key.
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

    /// A put, whose key and value are not too long.
    pub(super) fn put_of<'a>(&self, key: &'a [u8], value: &'a [u8]) -> Result<Op<'a>> {
        let limits = SizeLimits::of(self.engine());
        limits.check_key(key.len())?;
        limits.check_value(value.len())?;
        Ok(Op::Put { keyspace: self.state.id, key, value })
    }

    /// A delete, whose key is not too long.
    pub(super) fn delete_of<'a>(&self, key: &'a [u8]) -> Result<Op<'a>> {
        SizeLimits::of(self.engine()).check_key(key.len())?;
        Ok(Op::Delete { keyspace: self.state.id, key })
    }

    fn commit(&self, op: Op<'_>, mode: CommitMode) -> Result<Receipt> {
        let engine = self.engine();
        // Taken rather than borrowed: a waker or logger that runs meanwhile may commit too.
        // Gone when the thread ends, and this may be the end of the thread.
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

    /// Reads a value that is out of line, at a snapshot, which keeps its pages.
    #[cold]
    fn get_blob(&self, key: &[u8]) -> Result<Option<Value>> {
        Registered::new(Arc::clone(&self.store)).read(self.state.root, key)
    }
}

/// How long keys and values may be.
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

    /// Checks what a batch has of the longest.
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

    /// The count of keys goes below zero, which is a bug that the commit path asserts.
    #[test]
    fn a_panic_amid_a_commit_poisons_the_store_and_keeps_nobody_waiting() {
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
                // One of them panics, in whose hands it is; the others are told.
                if let Ok(told) = writer.join() {
                    assert!(matches!(told, Err(Error::Poisoned { .. })));
                }
            }
        });
        assert!(matches!(keys.put("c", "3"), Err(Error::Poisoned { .. })));
        assert_eq!(&*keys.get([4]).unwrap().unwrap(), b"1", "reads go on");
    }
}
