//! [`Store`], the handle to an open store.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::batch::WriteBatch;
use super::keyspace::{Keyspace, SizeLimits};
use super::open_store::OpenStore;
use super::receipt::{Receipt, Status};
use super::snapshot::Snapshot;
use super::stats::{Stats, stats};
use super::status::status;
use super::verify::{Verification, verify};
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::{Lsn, StoreId};
use crate::engine::base::progress::OperationProgress;
use crate::engine::commit::{Engine, KeyspaceId, Op, Payload, Watermarks, check_name};
use crate::engine::options::{CommitMode, Options};

/// A handle to an open store: a directory that holds keyspaces.
///
/// A handle is cheap to clone, and can be shared between threads.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let store = syncline::Store::open(dir.path())?;
/// store.keyspace("users")?.put("ada", "1815")?;
/// store.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Closing
///
/// [`Store::close`] closes the store and returns any error. Otherwise the store is closed when its last
/// handle (a store, keyspace, snapshot or range) is dropped, and errors go to the [`log`] crate. The
/// last handle may be dropped anywhere: in a waker, during a panic, or when a thread ends.
///
/// # Forks
///
/// A store belongs to the process that opened it. In a forked child every call fails with
/// [`Error::Forked`], and dropping a handle does nothing.
///
/// The child shares the operating system's lock on the directory. If the parent is killed, the store
/// cannot be opened until the child has ended or executed another program. Until then the child should
/// not open any other store either: it has inherited locks whose threads it does not have.
#[derive(Clone, Debug)]
pub struct Store {
    open: Arc<OpenStore>,
}

impl Store {
    /// Opens the store in `directory` with the default options, and creates one if there is none.
    ///
    /// # Errors
    /// As [`Options::open`].
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        Options::new().open(directory)
    }

    /// The default options. Change them, then call [`Options::open`].
    pub fn options() -> Options {
        Options::new()
    }

    pub(super) fn new(open: OpenStore) -> Store {
        Store { open: Arc::new(open) }
    }

    /// The random id that every file of the store carries.
    pub fn id(&self) -> StoreId {
        self.engine().store_id()
    }

    /// The directory of the store, as error messages name it.
    pub fn directory(&self) -> String {
        self.engine().disk().path("")
    }

    /// The keyspace `name`, created if there is none. When this returns, its creation survives a power
    /// loss, even if another thread created it.
    ///
    /// # Errors
    /// [`Error::InvalidName`], and as [`Keyspace::put`].
    pub fn keyspace(&self, name: &str) -> Result<Keyspace> {
        loop {
            if let Some(keyspace) = self.open_keyspace(name)? {
                self.wait_until_created(&keyspace)?;
                return Ok(keyspace);
            }
            match self.create_keyspace(name) {
                Err(Error::KeyspaceExists { .. }) => {}
                result => return result,
            }
        }
    }

    /// Waits until the creation of a keyspace is durable: the thread that creates it may still wait too.
    fn wait_until_created(&self, keyspace: &Keyspace) -> Result<()> {
        let made = keyspace.state().created();
        match self.engine().log() {
            Some(log) if made > log.durable() => log.wait_durable(made, None).map(drop),
            _ => Ok(()),
        }
    }

    /// The keyspace `name`, if there is one. If another thread is creating it, that may not be durable yet.
    ///
    /// # Errors
    /// [`Error::InvalidName`], [`Error::Closed`].
    pub fn open_keyspace(&self, name: &str) -> Result<Option<Keyspace>> {
        check_name(name)?;
        self.engine().check_open()?;
        let state = self.engine().keyspace(name);
        Ok(state.map(|state| Keyspace::new(Arc::clone(&self.open), state)))
    }

    /// Creates the keyspace `name`. When this returns, that survives a power loss.
    ///
    /// # Errors
    /// [`Error::KeyspaceExists`], [`Error::InvalidName`], [`Error::TooManyKeyspaces`], and as
    /// [`Keyspace::put`].
    pub fn create_keyspace(&self, name: &str) -> Result<Keyspace> {
        self.commit_keyspace(name, CommitMode::Sync)?;
        let gone = || Error::NoSuchKeyspace { name: name.to_owned() };
        let state = self.engine().keyspace(name).ok_or_else(gone)?;
        Ok(Keyspace::new(Arc::clone(&self.open), state))
    }

    /// Creates a keyspace, and returns the LSN of that commit.
    pub(super) fn commit_keyspace(&self, name: &str, mode: CommitMode) -> Result<Lsn> {
        check_name(name)?;
        let engine = self.engine();
        engine.check_open()?;
        let lsn = engine.commit_built(mode, |state| {
            if state.sealed {
                return Err(Error::Closed);
            }
            if state.trees.catalog.named(name).is_some() {
                return Err(Error::KeyspaceExists { name: name.to_owned() });
            }
            if state.trees.next_keyspace == u32::MAX {
                return Err(Error::TooManyKeyspaces);
            }
            let mut payload = Payload::default();
            let keyspace = KeyspaceId(state.trees.next_keyspace);
            payload.push(Op::Create { keyspace, name });
            Ok(Some(payload))
        })?;
        Ok(lsn.expect("a payload was built"))
    }

    /// The names of all keyspaces, sorted.
    pub fn keyspaces(&self) -> Vec<String> {
        self.engine().keyspaces()
    }

    /// Drops the keyspace `name` with all its keys, in the store's default commit mode. Open snapshots
    /// still show it.
    ///
    /// A background thread frees its space. If the store is closed or crashes first, that goes on once
    /// the reopened store is written to. Without threads, calls of this function free it. If more than
    /// eight dropped keyspaces wait to be freed, the call first frees some of them.
    ///
    /// # Errors
    /// [`Error::NoSuchKeyspace`], and as [`Keyspace::put`].
    pub fn drop_keyspace(&self, name: &str) -> Result<Receipt> {
        self.drop_keyspace_with(name, self.engine().options().commit_mode)
    }

    /// As [`Store::drop_keyspace`], in a commit mode.
    pub(super) fn drop_keyspace_with(&self, name: &str, mode: CommitMode) -> Result<Receipt> {
        let engine = self.engine();
        engine.check_open()?;
        let lsn = engine.commit_built(mode, |state| {
            if state.sealed {
                return Err(Error::Closed);
            }
            let keyspace = state.trees.catalog.named(name);
            let keyspace =
                keyspace.ok_or_else(|| Error::NoSuchKeyspace { name: name.to_owned() })?.id;
            let mut payload = Payload::default();
            payload.push(Op::Drop { keyspace });
            Ok(Some(payload))
        })?;
        engine.background().wake_checkpointer();
        if !engine.options().background {
            // It is dropped all the same if this fails: a later call trims the rest.
            self.finish_drops();
        }
        engine.limit_dropped();
        Ok(self.open.receipt(lsn.expect("a payload was built")))
    }

    /// Commits a batch in the store's default commit mode: all of its changes or none.
    ///
    /// # Errors
    /// [`Error::ForeignKeyspace`] if a keyspace belongs to another store, and as [`Keyspace::put`].
    pub fn write(&self, batch: WriteBatch) -> Result<Receipt> {
        self.write_with(batch, self.engine().options().commit_mode)
    }

    /// Commits a batch in the given commit mode.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn write_with(&self, mut batch: WriteBatch, mode: CommitMode) -> Result<Receipt> {
        let engine = self.engine();
        SizeLimits::of(engine).check_batch(&batch)?;
        for state in &batch.keyspaces {
            let ours = engine.keyspace(&state.name);
            if !ours.is_some_and(|ours| Arc::ptr_eq(&ours, state)) {
                state.check()?;
                return Err(Error::ForeignKeyspace { name: state.name.clone() });
            }
        }
        let lsn = engine.commit(&mut batch.payload, &batch.keyspaces, mode)?;
        batch.retire();
        Ok(self.open.receipt(lsn))
    }

    /// A consistent view of the whole store as of now.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn snapshot(&self) -> Result<Snapshot> {
        self.engine().check_open()?;
        Ok(Snapshot::new(Arc::clone(&self.open)))
    }

    /// The receipt of the commit that failed with `error`, if its record was already in the log
    /// ([`Error::Poisoned`]). Once the store is reopened, its token gives the commit's [`Status`].
    pub fn receipt_of(&self, error: &Error) -> Option<Receipt> {
        match error {
            Error::Poisoned { appended: Some(lsn), .. } => Some(self.open.receipt(*lsn)),
            _ => None,
        }
    }

    /// Takes all dropped keyspaces apart, for a store without threads.
    pub(crate) fn finish_drops(&self) {
        while self.engine().trim_dropped().unwrap_or(false) {}
    }

    /// The status of the commit with this [token](Receipt::token). Any process that has the store open
    /// can ask, however long ago the commit was.
    ///
    /// # Errors
    /// - [`Error::InvalidToken`] if the text is no whole token, belongs to another store, or names a
    ///   position at which no commit can end.
    /// - [`Error::UnknownLife`] if the token names an incarnation that this copy of the store never had,
    ///   for example because a backup was restored.
    /// - [`Error::Poisoned`] if a flush failed: only the recovery at the next open decides whether the
    ///   commit is durable or lost.
    /// - Errors of reading a page, above all [`Error::Corrupt`]: a token of an earlier incarnation is
    ///   looked up in the data file.
    pub fn status(&self, token: &str) -> Result<Status> {
        self.engine().check_open()?;
        status(self.engine(), token)
    }

    /// The current watermarks. Makes no system call.
    pub fn watermarks(&self) -> Watermarks {
        self.engine().watermarks()
    }

    /// Waits until any watermark differs from `seen`, for at most `timeout`, and returns the current
    /// watermarks. `None` waits without a limit. Requests no flush.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn wait_watermarks(
        &self,
        seen: &Watermarks,
        timeout: Option<Duration>,
    ) -> Result<Watermarks> {
        let engine = self.engine();
        // A timeout too long for the clock has no limit.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        engine
            .background()
            .watch(deadline, || engine.watermarks() != *seen || engine.check_open().is_err());
        engine.check_open()?;
        Ok(engine.watermarks())
    }

    /// Makes every commit so far durable, and returns the sync line: every commit at or below that LSN
    /// survives a power loss.
    ///
    /// # Errors
    /// [`Error::Poisoned`], [`Error::Closed`].
    pub fn flush(&self) -> Result<Lsn> {
        let engine = self.engine();
        engine.check_open()?;
        match engine.log() {
            Some(log) => log.flush(),
            None => Ok(engine.durable()),
        }
    }

    /// Writes every commit so far to the data file, so that recovery need not replay it. Returns the LSN
    /// of the last one. Other threads can commit meanwhile.
    ///
    /// # Errors
    /// [`Error::DiskFull`]: nothing is lost, try again once there is space. [`Error::Poisoned`],
    /// [`Error::ReadOnly`], [`Error::Closed`].
    pub fn checkpoint(&self) -> Result<Lsn> {
        self.engine().check_writable()?;
        self.engine().checkpoint()
    }

    /// As [`Store::checkpoint`]; `None` if it was cancelled in time, and then nothing has changed.
    #[cfg_attr(not(feature = "server"), allow(dead_code))]
    pub(crate) fn checkpoint_on(&self, progress: &OperationProgress) -> Result<Option<Lsn>> {
        self.engine().check_writable()?;
        self.engine().checkpoint_on(progress)
    }

    /// Checks the whole store as of now: every page, tree, key count and block, and both superblocks.
    /// The check goes on past damage, and the result lists it. O(size of the store).
    ///
    /// Other threads can commit meanwhile, but checkpoints wait, so the log grows. Once it is four times
    /// [`Options::checkpoint_log_bytes`] long, commits wait too.
    ///
    /// # Errors
    /// An error means that the check could not go on, for example because the device refuses to read a
    /// page. Damage, such as a wrong checksum, is no error: [`Verification::problems`] lists it.
    pub fn verify(&self) -> Result<Verification> {
        let found = self.verify_on(&OperationProgress::default(), &|_| true)?;
        Ok(found.expect("it is never cancelled"))
    }

    /// As [`Store::verify`], but counts only keyspaces whose names `counts` accepts; `None` if it was
    /// cancelled.
    pub(crate) fn verify_on(
        &self,
        progress: &OperationProgress,
        counts: &dyn Fn(&str) -> bool,
    ) -> Result<Option<Verification>> {
        self.engine().check_open()?;
        verify(self.engine(), progress, counts)
    }

    /// Counters and durations since the store was opened. Waits for no commit and no checkpoint.
    pub fn stats(&self) -> Stats {
        stats(self.engine(), self.open.recovery())
    }

    /// Closes the store for all its handles. It finishes running commits, makes every commit durable and
    /// writes a last checkpoint, so that the next open need not recover. If another handle is closing
    /// the store already, this call waits for that and returns its result.
    ///
    /// # Errors
    /// [`Error::Poisoned`] if a flush failed before, or an error of the last checkpoint: the store is
    /// closed all the same, and the next open recovers it. [`Error::Forked`]: nothing was done.
    pub fn close(self) -> Result<()> {
        self.engine().close()
    }

    #[cfg(feature = "server")]
    pub(super) fn open_store(&self) -> &OpenStore {
        &self.open
    }

    pub(super) fn engine(&self) -> &Engine {
        self.open.engine()
    }
}

#[cfg(test)]
#[cfg(not(syncline_shuttle))]
mod tests {
    use super::*;
    use crate::engine::disk::{Keep, SimDisk};

    #[test]
    fn the_last_keyspace_id_is_used_once() {
        let disk = SimDisk::new();
        let open = |disk: &SimDisk| {
            crate::Options::new().without_threads().open_on(Arc::new(disk.clone())).unwrap()
        };
        let store = open(&disk);
        let rows = store.create_keyspace("rows").unwrap();
        store.engine().lock_commits().trees.next_keyspace = u32::MAX - 1;
        let last = store.create_keyspace("last").unwrap();
        last.put("key", "of the last").unwrap();
        for _ in 0..2 {
            let refused = store.create_keyspace("one more");
            assert!(matches!(refused, Err(Error::TooManyKeyspaces)), "{refused:?}");
        }
        rows.put("key", "of rows").unwrap();
        let store = open(&disk.crash(Keep::Nothing));
        assert!(matches!(store.create_keyspace("one more"), Err(Error::TooManyKeyspaces)));
        let last = store.keyspace("last").unwrap();
        assert_eq!(last.get("key").unwrap().as_deref(), Some(&b"of the last"[..]));
        assert!(store.drop_keyspace("last").is_ok() && store.create_keyspace("last").is_err());
    }
}
