//! The store's handle.

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

/// An open store: a directory of keyspaces.
///
/// Cheap to clone and to share between threads. The store is closed by [`Store::close`], or when
/// the last handle to it (a store, keyspace, snapshot or range) is dropped; errors of the latter
/// go to the [`log`] crate. That may happen anywhere: in a waker, while a thread panics or ends.
///
/// A store belongs to the process that opened it. In one that this process forks, every call is
/// refused with [`Error::Forked`], and handles that are dropped do nothing. The operating system's
/// lock on the directory is shared with it: after a kill of this process nobody can open the store
/// before the forked one has ended, or has become another program. Nor should it open another
/// store before: it has inherited the locks of threads that it does not have.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let store = syncline::Store::open(dir.path())?;
/// store.keyspace("users")?.put("ada", "1815")?;
/// store.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Store {
    open: Arc<OpenStore>,
}

impl Store {
    /// Opens the store in `directory` with the default options; makes one if there is none.
    ///
    /// # Errors
    /// As [`Options::open`].
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        Options::new().open(directory)
    }

    /// The default options, to be changed before [`Options::open`].
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

    /// The directory of the store, as messages name it.
    pub fn directory(&self) -> String {
        self.engine().disk().path("")
    }

    /// The keyspace `name`, made if there is none. It is there durably when this returns, also if
    /// somebody else is making it.
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

    /// Waits until a keyspace is there durably: whoever makes it may still be waiting for that.
    fn wait_until_created(&self, keyspace: &Keyspace) -> Result<()> {
        let made = keyspace.state().created();
        match self.engine().log() {
            Some(log) if made > log.durable() => log.wait_durable(made, None).map(drop),
            _ => Ok(()),
        }
    }

    /// The keyspace `name`, if there is one. It may not be durable yet, if somebody is making it.
    ///
    /// # Errors
    /// [`Error::InvalidName`], [`Error::Closed`].
    pub fn open_keyspace(&self, name: &str) -> Result<Option<Keyspace>> {
        check_name(name)?;
        self.engine().check_open()?;
        let state = self.engine().keyspace(name);
        Ok(state.map(|state| Keyspace::new(Arc::clone(&self.open), state)))
    }

    /// Makes the keyspace `name`, durably.
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

    /// Makes a keyspace. Returns where that is in the log.
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

    /// Drops the keyspace `name` with all that is in it. Snapshots that are open still show it.
    /// Its space is given back in the background, after a crash or a close by a later life; without
    /// threads, by this call and the next ones. If more than eight dropped keyspaces wait for that, the
    /// call takes some of them apart first.
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
            // It is dropped; what stays behind is trimmed by the next that comes by.
            self.finish_drops();
        }
        engine.limit_dropped();
        Ok(self.open.receipt(lsn.expect("a payload was built")))
    }

    /// Commits a batch in the store's default commit mode.
    ///
    /// # Errors
    /// [`Error::ForeignKeyspace`], and as [`Keyspace::put`]: nothing was changed.
    pub fn write(&self, batch: WriteBatch) -> Result<Receipt> {
        self.write_with(batch, self.engine().options().commit_mode)
    }

    /// Commits a batch.
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

    /// The whole store as of now.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn snapshot(&self) -> Result<Snapshot> {
        self.engine().check_open()?;
        Ok(Snapshot::new(Arc::clone(&self.open)))
    }

    /// The receipt of the commit that failed with `error`, if its record was in the log before
    /// ([`Error::Poisoned`]). Its token tells what has become of it once the store was opened anew.
    pub fn receipt_of(&self, error: &Error) -> Option<Receipt> {
        match error {
            Error::Poisoned { appended: Some(lsn), .. } => Some(self.open.receipt(*lsn)),
            _ => None,
        }
    }

    /// Takes dropped keyspaces apart, as far as possible, where no thread does.
    pub(crate) fn finish_drops(&self) {
        while self.engine().trim_dropped().unwrap_or(false) {}
    }

    /// What has become of the commit whose receipt has this token. Any process that has the store
    /// open can tell, however long ago the commit was.
    ///
    /// # Errors
    /// [`Error::InvalidToken`] if the text is no token, or a part of one, or one of another store, or
    /// names a position at which no commit can have ended; [`Error::UnknownLife`] if it is a token
    /// of this store, but of an incarnation that this copy of it never had, such as one of before
    /// a backup was restored; [`Error::Poisoned`] if a flush failed and the commit is
    /// neither durable nor lost until recovery has judged it.
    pub fn status(&self, token: &str) -> Result<Status> {
        self.engine().check_open()?;
        status(self.engine(), token)
    }

    /// How far the store is. Makes no system call.
    pub fn watermarks(&self) -> Watermarks {
        self.engine().watermarks()
    }

    /// Waits until any watermark is not what `seen` says, at most for `timeout`, and returns
    /// them as they are then. Asks for no flush.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn wait_watermarks(
        &self,
        seen: &Watermarks,
        timeout: Option<Duration>,
    ) -> Result<Watermarks> {
        let engine = self.engine();
        // A time too long to be added to the clock is for ever.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        engine
            .background()
            .watch(deadline, || engine.watermarks() != *seen || engine.check_open().is_err());
        engine.check_open()?;
        Ok(engine.watermarks())
    }

    /// Makes every commit so far durable, and returns the sync line.
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

    /// Writes everything so far to the data file, so that recovery need not replay it, and
    /// returns up to where that is. Commits go on meanwhile.
    ///
    /// # Errors
    /// [`Error::DiskFull`]: nothing is lost, try again; [`Error::Poisoned`], [`Error::Closed`].
    pub fn checkpoint(&self) -> Result<Lsn> {
        self.engine().check_writable()?;
        self.engine().checkpoint()
    }

    /// As [`Store::checkpoint`]; `None` if it was cancelled before it was in the superblock, and
    /// nothing has changed then.
    #[cfg_attr(not(feature = "server"), allow(dead_code))]
    pub(crate) fn checkpoint_on(&self, progress: &OperationProgress) -> Result<Option<Lsn>> {
        self.engine().check_writable()?;
        self.engine().checkpoint_on(progress)
    }

    /// Checks everything as of now: every page, every tree, every count, every block, both superblocks.
    /// What is damaged is noted, and the check goes on past it. O(size of the store). Commits go on; checkpoints wait meanwhile, so that the log grows, and commits wait as
    /// well once it is four times [`Options::checkpoint_log_bytes`].
    ///
    /// # Errors
    /// What keeps the check from going on, such as a page that the device refuses to read; what is
    /// merely wrong, such as a checksum that does not fit, is in the result.
    pub fn verify(&self) -> Result<Verification> {
        let found = self.verify_on(&OperationProgress::default(), &|_| true)?;
        Ok(found.expect("nobody has cancelled it"))
    }

    /// As [`Store::verify`], but counts only the keyspaces whose names `counts` takes; `None` if
    /// it was cancelled.
    pub(crate) fn verify_on(
        &self,
        progress: &OperationProgress,
        counts: &dyn Fn(&str) -> bool,
    ) -> Result<Option<Verification>> {
        self.engine().check_open()?;
        verify(self.engine(), progress, counts)
    }

    /// What the store has done since it was opened.
    pub fn stats(&self) -> Stats {
        stats(self.engine(), self.open.recovery())
    }

    /// Closes the store for all its handles: commits that have begun are finished, everything is
    /// made durable, and a last checkpoint is written, so that the next open has nothing to do.
    /// If another handle closes it already, this waits for that and returns the same.
    ///
    /// # Errors
    /// [`Error::Poisoned`] if a flush had failed, and what the last checkpoint may meet. The store
    /// is closed all the same, and the next open recovers it. [`Error::Forked`]: nothing was done.
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
    fn the_last_number_of_a_keyspace_is_given_once() {
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
