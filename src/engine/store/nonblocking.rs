//! The store's interface for a server: reads and commits that never block, and waiting for the sync
//! line without requesting a flush.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use super::batch::WriteBatch;
use super::handle::Store;
use super::keyspace::{Keyspace, SizeLimits};
use super::receipt::{Receipt, Token};
use super::status::judge_life;
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::Lsn;
use crate::engine::commit::{GatheredCommit, Op};
use crate::engine::options::CommitMode;
use crate::engine::tree::{ReadAt, Value, lookup, peek};

/// The size of a write, as far as it determines the space that it needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BatchSize {
    pub(crate) operations: usize,
    /// Bytes of keys and values.
    pub(crate) bytes: usize,
    /// Bytes of the longest value.
    pub(crate) longest: usize,
}

impl BatchSize {
    /// The larger of each field.
    pub(crate) fn max(self, other: BatchSize) -> BatchSize {
        BatchSize {
            operations: self.operations.max(other.operations),
            bytes: self.bytes.max(other.bytes),
            longest: self.longest.max(other.longest),
        }
    }

    /// The smaller of each field.
    pub(crate) fn min(self, other: BatchSize) -> BatchSize {
        BatchSize {
            operations: self.operations.min(other.operations),
            bytes: self.bytes.min(other.bytes),
            longest: self.longest.min(other.longest),
        }
    }

    /// Lengths of values that a write of this size might have: at least one.
    fn values(self) -> impl Iterator<Item = usize> {
        let others = self.operations.saturating_sub(1);
        let each = self.bytes.saturating_sub(self.longest) / others.max(1);
        std::iter::once(self.longest).chain(std::iter::repeat_n(each, others))
    }
}

impl WriteBatch {
    pub(crate) fn size(&self) -> BatchSize {
        BatchSize {
            operations: self.payload.operations,
            bytes: usize::try_from(self.payload.user_bytes).unwrap_or(usize::MAX),
            longest: self.payload.longest_value,
        }
    }
}

/// Puts and deletes, each a commit of its own, to be committed in one hold of the commit lock.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// Entries behind `len` are empty and keep their memory.
    commits: Vec<GatheredCommit>,
    len: usize,
}

impl Gathered {
    /// The answers, in order: `None`, and nothing done, if this write or one before it would have to
    /// wait.
    pub(crate) fn answers(&self) -> impl Iterator<Item = &Result<Option<Lsn>>> {
        self.commits[..self.len].iter().map(|commit| &commit.answer)
    }

    /// Forgets them, and keeps their memory.
    pub(crate) fn clear(&mut self) {
        self.commits[..self.len].iter_mut().for_each(GatheredCommit::clear);
        self.len = 0;
    }

    fn push(&mut self, keyspace: &Keyspace, op: Op<'_>) {
        if self.len == self.commits.len() {
            self.commits.push(GatheredCommit::default());
        }
        let commit = &mut self.commits[self.len];
        commit.payload.push(op);
        commit.keyspaces.push(Arc::clone(keyspace.state()));
        self.len += 1;
    }
}

impl Keyspace {
    /// Shows the value of `key` to `look`; `None` if a page would have to be read for it, or the
    /// value is out of line. `look` must be brief: it pins the epoch, so no page version is freed.
    ///
    /// # Errors
    /// As [`Keyspace::get`].
    #[inline]
    pub(crate) fn peek<R>(
        &self,
        key: &[u8],
        look: impl FnOnce(Option<&[u8]>) -> R,
    ) -> Result<Option<R>> {
        let engine = self.check()?;
        let seen = peek(engine.cache(), self.state().root, key, |value| match value {
            None => Some(look(None)),
            Some(Value::Inline(bytes)) => Some(look(Some(bytes))),
            Some(Value::Blob(_)) => None,
        });
        Ok(seen.flatten())
    }

    /// The length of the value of `key`, in bytes. Reads no value that is out of line.
    ///
    /// # Errors
    /// As [`Keyspace::get`].
    pub(crate) fn value_len(&self, key: &[u8]) -> Result<Option<u64>> {
        let engine = self.check()?;
        lookup(engine.cache(), self.state().root, key, ReadAt::Newest, |value| {
            value.map(|value| match value {
                Value::Inline(bytes) => bytes.len() as u64,
                Value::Blob(blob) => blob.bytes,
            })
        })
    }

    /// Adds a put, to be committed with [`Store::commit_gathered`].
    ///
    /// # Errors
    /// [`Error::KeyTooLong`], [`Error::ValueTooLong`].
    pub(crate) fn gather_put(&self, key: &[u8], value: &[u8], to: &mut Gathered) -> Result<()> {
        self.put_of(key, value).map(|op| to.push(self, op))
    }

    /// Adds a delete, to be committed with [`Store::commit_gathered`].
    ///
    /// # Errors
    /// [`Error::KeyTooLong`].
    pub(crate) fn gather_delete(&self, key: &[u8], to: &mut Gathered) -> Result<()> {
        self.delete_of(key).map(|op| to.push(self, op))
    }

    /// The LSN of its creation; 0 if it existed when the store was opened.
    pub(crate) fn made_at(&self) -> Lsn {
        self.state().created()
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.state().is_dropped()
    }
}

impl Store {
    /// Commits a batch asynchronously; `None`, and the batch as it was, if that would have to wait. The
    /// caller makes sure that its keyspaces are this store's.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub(crate) fn write_at_once(&self, batch: &mut WriteBatch) -> Result<Option<Lsn>> {
        SizeLimits::of(self.engine()).check_batch(batch)?;
        let (payload, keyspaces) =
            (std::mem::take(&mut batch.payload), std::mem::take(&mut batch.keyspaces));
        let mut alone = GatheredCommit::new(payload, keyspaces);
        self.engine().try_commit_each(std::slice::from_mut(&mut alone));
        (batch.payload, batch.keyspaces) = (alone.payload, alone.keyspaces);
        alone.answer
    }

    /// Commits the gathered writes to this store's keyspaces, and sets their answers.
    pub(crate) fn commit_gathered(&self, gathered: &mut Gathered) {
        let len = gathered.len;
        self.engine().try_commit_each(&mut gathered.commits[..len]);
    }

    /// Creates the keyspace `name`, and returns the LSN of that commit. Does not wait until it is durable.
    ///
    /// # Errors
    /// As [`Store::create_keyspace`].
    pub(crate) fn append_keyspace(&self, name: &str) -> Result<Lsn> {
        self.commit_keyspace(name, CommitMode::Async)
    }

    /// The keyspace `name`, created if there is none, and whether this call created it. Does not wait until
    /// that is durable.
    ///
    /// # Errors
    /// As [`Store::keyspace`].
    pub(crate) fn find_or_append_keyspace(&self, name: &str) -> Result<(Keyspace, bool)> {
        let mut is_made = false;
        loop {
            if let Some(keyspace) = self.open_keyspace(name)? {
                return Ok((keyspace, is_made));
            }
            is_made = match self.append_keyspace(name) {
                Ok(_) => true,
                Err(Error::KeyspaceExists { .. }) => false,
                Err(error) => return Err(error),
            };
        }
    }

    /// Drops the keyspace `name`, and returns the LSN of that commit. Does not wait until it is durable.
    ///
    /// # Errors
    /// As [`Store::drop_keyspace`].
    pub(crate) fn append_drop(&self, name: &str) -> Result<Lsn> {
        Ok(self.drop_keyspace_with(name, CommitMode::Async)?.lsn())
    }

    /// Begins an incarnation, as the first write does.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub(crate) fn begin(&self) -> Result<()> {
        self.engine().check_writable()?;
        self.engine().live().map(|_| ())
    }

    /// Fails unless `token` is from the present or a former life of this copy of the store.
    pub(crate) fn check_life(&self, token: &Token, text: &str) -> Result<()> {
        judge_life(self.engine(), token, text).map(|_| ())
    }

    /// Whether some page may have to be read from the device.
    pub(crate) fn is_partial(&self) -> bool {
        self.engine().cache().is_partial()
    }

    /// The sync line.
    pub(crate) fn durable(&self) -> Lsn {
        self.engine().durable()
    }

    /// Whether the log is poisoned: it takes no commit until the store is reopened.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned().is_some()
    }

    /// The error that poisoned the log, if any.
    pub(crate) fn poisoned(&self) -> Option<Error> {
        self.engine().poisoned()
    }

    /// Fails if a write of this size would be refused now. Waits where the write would wait, and commits
    /// nothing.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub(crate) fn try_room_for_write(&self, size: BatchSize) -> Result<()> {
        self.engine().try_room_for_write(size.values())
    }

    /// Counts commits that are asynchronous for the engine, but that a client waits for.
    pub(crate) fn count_awaited(&self, commits: u64) {
        self.engine().counts().awaited.fetch_add(commits, Ordering::Relaxed);
    }

    /// How long the running flush of the log has been at the device, if there is one.
    pub(crate) fn flushing_for(&self) -> Option<Duration> {
        self.engine().log().and_then(|log| log.flushing_for())
    }

    /// The duration of the longest flush that has ended since the last call.
    pub(crate) fn take_longest_flush(&self) -> Duration {
        self.engine().log().map_or(Duration::ZERO, |log| log.take_longest_flush())
    }

    /// The receipt of a commit of this incarnation.
    pub(crate) fn receipt_at(&self, lsn: Lsn) -> Receipt {
        self.open_store().receipt(lsn)
    }
}

impl Receipt {
    /// As polling the receipt, but requests no flush: `Ready` once the flush that comes anyway is done.
    pub(crate) fn poll_quietly(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match &self.log {
            Some(log) => log.poll_passed(self.token.lsn, cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::engine::disk::SimDisk;
    use crate::{Options, Status};

    fn store(options: Options) -> (Store, Keyspace) {
        let store = options.store_id([7; 16]).open_on(Arc::new(SimDisk::new())).unwrap();
        let rows = store.keyspace("rows").unwrap();
        (store, rows)
    }

    fn put_alone(store: &Store, rows: &Keyspace, key: &[u8], value: &[u8]) -> Result<Option<Lsn>> {
        let mut gathered = Gathered::default();
        rows.gather_put(key, value, &mut gathered)?;
        commit(store, &mut gathered).remove(0)
    }

    fn delete_alone(store: &Store, rows: &Keyspace, key: &[u8]) -> Result<Option<Lsn>> {
        let mut gathered = Gathered::default();
        rows.gather_delete(key, &mut gathered)?;
        commit(store, &mut gathered).remove(0)
    }

    fn copy(value: Option<&[u8]>) -> Option<Vec<u8>> {
        value.map(<[u8]>::to_vec)
    }

    #[test]
    fn keys_in_memory_are_read_and_written_without_waiting() {
        let (store, rows) = store(Options::new());
        let lsn = put_alone(&store, &rows, b"k", b"v").unwrap().expect("nothing to wait for");
        assert_eq!(store.watermarks().visible, lsn);
        assert_eq!(rows.peek(b"k", copy).unwrap(), Some(Some(b"v".to_vec())));
        let later = delete_alone(&store, &rows, b"k").unwrap().expect("nothing to wait for");
        assert!(later > lsn);
        assert_eq!(rows.peek(b"k", copy).unwrap(), Some(None));
        let mut batch = WriteBatch::new();
        batch.put(&rows, "a", "1");
        batch.put(&rows, "b", "2");
        let last = store.write_at_once(&mut batch).unwrap().expect("nothing to wait for");
        assert_eq!(rows.len().unwrap(), 2);
        let receipt = store.receipt_at(last);
        receipt.wait().unwrap();
        assert_eq!(store.status(&receipt.token()).unwrap(), Status::Durable);
    }

    #[test]
    fn a_write_that_would_have_to_wait_is_not_done() {
        // A first write begins the log, which is I/O.
        let fresh = Options::new().open_on(Arc::new(SimDisk::new())).unwrap();
        assert_eq!(fresh.write_at_once(&mut WriteBatch::new()).unwrap(), None);
        let (store, rows) = store(Options::new());
        // A long value is written to pages of its own, and read from there.
        let long = vec![7; 100_000];
        assert_eq!(put_alone(&store, &rows, b"long", &long).unwrap(), None);
        rows.put("long", &long).unwrap();
        assert_eq!(rows.peek(b"long", copy).unwrap(), None);
        // Another thread holds the commit lock for long.
        let held = store.engine().lock_commits();
        assert_eq!(put_alone(&store, &rows, b"k", b"v").unwrap(), None);
        drop(held);
        assert_eq!(rows.get("k").unwrap(), None, "GATHER-2");
        assert!(put_alone(&store, &rows, b"k", b"v").unwrap().is_some());
    }

    /// Commits the gathered writes, and returns their answers.
    fn commit(store: &Store, gathered: &mut Gathered) -> Vec<Result<Option<Lsn>>> {
        store.commit_gathered(gathered);
        let answers = gathered.answers().cloned().collect();
        gathered.clear();
        answers
    }

    #[test]
    fn gathered_writes_are_committed_in_order_and_each_on_its_own() {
        let (store, rows) = store(Options::new());
        rows.put("a", "old").unwrap();
        let mut gathered = Gathered::default();
        for _ in 0..3 {
            rows.gather_put(b"a", b"1", &mut gathered).unwrap();
            rows.gather_put(b"b", b"2", &mut gathered).unwrap();
            rows.gather_delete(b"a", &mut gathered).unwrap();
            let before = store.stats().async_commits;
            let lsns: Vec<Lsn> = commit(&store, &mut gathered)
                .into_iter()
                .map(|answer| answer.unwrap().expect("nothing to wait for"))
                .collect();
            assert!(lsns.is_sorted_by(|a, b| a < b), "a place for each: {lsns:?}");
            assert_eq!(store.stats().async_commits - before, 3);
            assert_eq!(store.watermarks().visible, lsns[2]);
            assert_eq!((rows.get("a").unwrap(), rows.len().unwrap()), (None, 1));
        }
    }

    #[test]
    fn each_gathered_write_has_its_own_answer() {
        let (store, rows) = store(Options::new());
        let dropped = store.keyspace("dropped").unwrap();
        let mut gathered = Gathered::default();
        let long = vec![7; 100_000];
        rows.gather_put(b"a", b"1", &mut gathered).unwrap();
        dropped.gather_put(b"a", b"1", &mut gathered).unwrap();
        rows.gather_put(b"long", &long, &mut gathered).unwrap();
        rows.gather_put(b"b", b"2", &mut gathered).unwrap();
        let key = vec![0; 5000];
        assert!(matches!(rows.gather_put(&key, b"", &mut gathered), Err(Error::KeyTooLong { .. })));
        store.drop_keyspace("dropped").unwrap();
        let answers = commit(&store, &mut gathered);
        assert!(matches!(
            &answers[..],
            [Ok(Some(_)), Err(Error::NoSuchKeyspace { .. }), Ok(None), Ok(None)]
        ));
        assert_eq!(rows.len().unwrap(), 1, "GATHER-2, GATHER-4");
        // Another thread holds the commit lock for long.
        rows.gather_put(b"c", b"3", &mut gathered).unwrap();
        let held = store.engine().lock_commits();
        assert!(matches!(commit(&store, &mut gathered)[..], [Ok(None)]));
        drop(held);
        assert_eq!(rows.get("c").unwrap(), None, "GATHER-2");
        rows.gather_put(b"c", b"3", &mut gathered).unwrap();
        store.clone().close().unwrap();
        assert!(matches!(commit(&store, &mut gathered)[..], [Err(Error::Closed)]));
    }

    #[test]
    fn a_write_over_a_long_value_that_is_not_in_memory_is_overtaken_by_none() {
        let (store, rows) = store(Options::new().cache_bytes(1 << 20).page_bytes(4096));
        rows.put("long", vec![7; 100_000]).unwrap();
        rows.put("short", "1").unwrap();
        for number in 0..4000_u32 {
            rows.put_with(number.to_be_bytes(), [7; 1000], CommitMode::Async).unwrap();
        }
        store.checkpoint().unwrap();
        // The leaf of both keys is in memory, the pages of the long value are not.
        rows.value_len(b"long").unwrap();
        assert!(rows.peek(b"short", copy).unwrap().is_some());
        let mut gathered = Gathered::default();
        rows.gather_put(b"long", b"2", &mut gathered).unwrap();
        rows.gather_put(b"short", b"2", &mut gathered).unwrap();
        assert!(matches!(commit(&store, &mut gathered)[..], [Ok(None), Ok(None)]), "GATHER-4");
        rows.gather_put(b"short", b"2", &mut gathered).unwrap();
        assert!(matches!(commit(&store, &mut gathered)[..], [Ok(Some(_))]), "it would not wait");
    }

    #[test]
    fn a_write_that_finds_no_room_in_the_log_is_overtaken_by_no_shorter_one() {
        let (store, rows) = store(Options::new().segment_bytes(64 << 10).without_threads());
        store.provide(10_000, 32 << 10).unwrap();
        let mut gathered = Gathered::default();
        for number in 0..1000_u32 {
            let value = vec![7; if number % 2 == 0 { 900 } else { 1 }];
            rows.gather_put(&number.to_be_bytes(), &value, &mut gathered).unwrap();
        }
        // As if others took the log space between the check and the commit lock.
        let engine = store.engine();
        let (prepared, ..) = engine.prepare(&mut gathered.commits);
        let mut state = engine.lock_commits();
        let live = engine.live().unwrap();
        engine.serve_prepared(live, &mut state, &mut gathered.commits[..prepared]);
        drop(state);
        let done: Vec<bool> =
            gathered.answers().map(|answer| answer.as_ref().unwrap().is_some()).collect();
        let first = done.iter().position(|is_done| !is_done).expect("the log is too short");
        assert!(first > 0 && !done[first..].contains(&true), "GATHER-4: {done:?}");
    }

    #[test]
    fn gathered_puts_leave_the_log_reserve_of_a_full_disk_to_deletes() {
        let disk = SimDisk::new();
        let options = Options::new().segment_bytes(64 << 10);
        let store = options.open_on(Arc::new(disk.clone())).unwrap();
        let rows = store.keyspace("rows").unwrap();
        store.provide(1000, 0).unwrap();
        disk.set_capacity(Some(disk.used_bytes()));
        let (mut gathered, mut number) = (Gathered::default(), 0_u32);
        while put_alone(&store, &rows, &number.to_be_bytes(), &[7; 100]).unwrap().is_some() {
            number += 1;
        }
        assert!(number > 20, "{number}");
        let log = store.engine().log().unwrap();
        assert!(log.has_space(log.delete_reserve()), "COMMIT-5");
        rows.gather_delete(&0_u32.to_be_bytes(), &mut gathered).unwrap();
        assert!(matches!(commit(&store, &mut gathered)[..], [Ok(Some(_))]), "a delete frees space");
    }

    #[test]
    fn a_batch_that_had_to_wait_is_written_afterwards_as_it_was() {
        let (store, rows) = store(Options::new());
        let mut batch = WriteBatch::new();
        batch.put(&rows, "k", "v");
        let held = store.engine().lock_commits();
        assert_eq!(store.write_at_once(&mut batch).unwrap(), None);
        drop(held);
        store.write_with(batch, CommitMode::Async).unwrap();
        assert_eq!(rows.get("k").unwrap().as_deref(), Some(&b"v"[..]));
    }

    #[test]
    fn an_invalid_write_is_refused_without_waiting() {
        let (store, rows) = store(Options::new());
        let key = vec![0; 5000];
        assert!(matches!(put_alone(&store, &rows, &key, b""), Err(Error::KeyTooLong { .. })));
        store.drop_keyspace("rows").unwrap();
        assert!(matches!(put_alone(&store, &rows, b"k", b""), Err(Error::NoSuchKeyspace { .. })));
        assert!(rows.is_dropped());
        store.clone().close().unwrap();
        assert!(matches!(put_alone(&store, &rows, b"k", b""), Err(Error::Closed)));
    }

    #[test]
    fn peek_does_not_wait_for_evicted_pages() {
        let (store, rows) = store(Options::new().cache_bytes(1 << 20));
        let value = [7; 1000];
        for number in 0..4000_u32 {
            rows.put_with(number.to_be_bytes(), value, CommitMode::Async).unwrap();
        }
        store.checkpoint().unwrap();
        let mut absent = 0;
        for number in 0..4000_u32 {
            let seen = rows.peek(&number.to_be_bytes(), |value| value.map(<[u8]>::len)).unwrap();
            assert!(seen.is_none_or(|len| len == Some(1000)));
            absent += u32::from(seen.is_none());
        }
        assert!(absent > 2000, "4 MB do not fit in 1: {absent}");
    }

    #[test]
    fn waiting_quietly_asks_for_no_flush() {
        let (store, rows) = store(Options::new().flush_interval(Duration::from_secs(3600)));
        let receipt = rows.put_with("k", "v", CommitMode::Async).unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(receipt.poll_quietly(&mut cx).is_pending());
        assert!(!receipt.is_durable());
        store.flush().unwrap();
        assert!(matches!(receipt.poll_quietly(&mut cx), Poll::Ready(Ok(()))));
    }
}
