//! The options of a store.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::base::error::{Error, Result};

/// When a commit is acknowledged: that is, when the call that makes it returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CommitMode {
    /// Acknowledged once the device has confirmed a flush that covers it: the commit survives a power
    /// loss. Commits that wait at the same time share one flush.
    #[default]
    Sync,
    /// Acknowledged once it is in the operating system's cache: the commit survives a kill of the
    /// process. It survives a power loss too once a later flush is done. That flush begins after at most
    /// [`Options::flush_interval`] or [`Options::max_unsynced_bytes`], whichever comes first. The
    /// commit's [`Receipt`](crate::Receipt) says when it is durable.
    Async,
}

/// The progress of recovery.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RecoveryProgress {
    /// "replay" or "checkpoint".
    pub phase: &'static str,
    /// Bytes of log replayed so far.
    pub done_bytes: u64,
    /// An upper bound of the bytes of log to replay.
    pub total_bytes: u64,
}

/// Called with the progress of recovery.
pub(crate) type RecoveryCallback = Arc<dyn Fn(RecoveryProgress) + Send + Sync>;

/// The options of a store. Every option has a default that suits most uses.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// use syncline::{CommitMode, Options};
///
/// let store = Options::new()
///     .cache_bytes(64 << 20)
///     .commit_mode(CommitMode::Async)
///     .open(dir.path())?;
/// store.keyspace("users")?.put("ada", "1815")?;
/// store.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Options {
    pub(crate) cache_bytes: u64,
    pub(crate) page_bytes: u32,
    pub(crate) segment_bytes: u64,
    pub(crate) flush_interval: Duration,
    pub(crate) max_unsynced_bytes: u64,
    pub(crate) commit_mode: CommitMode,
    pub(crate) checkpoint_log_bytes: u64,
    pub(crate) checkpoint_interval: Duration,
    pub(crate) max_value_bytes: u64,
    pub(crate) create: bool,
    pub(crate) read_only: bool,
    pub(crate) background: bool,
    pub(crate) store_id: Option<[u8; 16]>,
    pub(crate) on_recovery: Option<RecoveryCallback>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            cache_bytes: 256 << 20,
            page_bytes: 8192,
            segment_bytes: 64 << 20,
            flush_interval: Duration::from_millis(10),
            max_unsynced_bytes: 16 << 20,
            commit_mode: CommitMode::Sync,
            checkpoint_log_bytes: 256 << 20,
            checkpoint_interval: Duration::from_secs(60),
            max_value_bytes: 1 << 30,
            create: true,
            read_only: false,
            background: true,
            store_id: None,
            on_recovery: None,
        }
    }
}

impl Options {
    /// The default options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Memory for cached pages, in bytes. The default is 256 MiB, the minimum 1 MiB, the maximum 2^31
    /// pages.
    pub fn cache_bytes(mut self, bytes: u64) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Size of a page in bytes, fixed when the store is created: 4096, 8192 (the default), 16384 or
    /// 32768. A key may be an eighth of a page long.
    pub fn page_bytes(mut self, bytes: u32) -> Self {
        self.page_bytes = bytes;
        self
    }

    /// Size of a log segment in bytes, fixed when the store is created: a multiple of 4096. The default is
    /// 64 MiB, the minimum 64 KiB, the maximum 2 GiB.
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// The longest time until the flush of an asynchronous commit begins; a flush that is running then
    /// ends first. The default is 10 ms. The flush begins earlier when half of
    /// [`Options::max_unsynced_bytes`] is unflushed, or when a caller waits for durability.
    pub fn flush_interval(mut self, interval: Duration) -> Self {
        self.flush_interval = interval;
        self
    }

    /// The most bytes of asynchronous commits that a power loss may undo. The default is 16 MiB. Above the
    /// limit, commits wait for a flush. A commit that begins below it is let in whole, so the limit may be
    /// exceeded by one commit per committing thread, of any size.
    pub fn max_unsynced_bytes(mut self, bytes: u64) -> Self {
        self.max_unsynced_bytes = bytes;
        self
    }

    /// The mode of commits that do not choose one. The default is [`CommitMode::Sync`].
    pub fn commit_mode(mut self, mode: CommitMode) -> Self {
        self.commit_mode = mode;
        self
    }

    /// The bytes of log after which a checkpoint is made. The default is 256 MiB. The log takes up to about
    /// four times as much space, in whole segments, plus one commit per committing thread. Recovery
    /// replays at most that.
    pub fn checkpoint_log_bytes(mut self, bytes: u64) -> Self {
        self.checkpoint_log_bytes = bytes;
        self
    }

    /// The time after which a checkpoint is made if anything has changed. The default is 60 s.
    pub fn checkpoint_interval(mut self, interval: Duration) -> Self {
        self.checkpoint_interval = interval;
        self
    }

    /// The longest accepted value, in bytes. The default is 1 GiB, which is also the maximum.
    pub fn max_value_bytes(mut self, bytes: u64) -> Self {
        self.max_value_bytes = bytes;
        self
    }

    /// Never creates a store: where there is none, opening fails with [`Error::NotAStore`] and leaves the
    /// directory unchanged.
    pub fn must_exist(mut self) -> Self {
        self.create = false;
        self
    }

    /// Opens the store read-only, and changes nothing on disk. Neither the files nor the directory need
    /// to be writable.
    ///
    /// - Several processes may have the store open read-only at the same time. While one does, opening it
    ///   for writing fails with [`Error::Locked`], and the other way round.
    /// - A store that was not closed is recovered in memory, each time that it is opened read-only. That
    ///   takes memory for every page that has changed since its last checkpoint, besides the cache.
    /// - Where there is no store, opening fails with [`Error::NotAStore`].
    /// - A call that would change the store fails with [`Error::ReadOnly`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # syncline::Store::open(dir.path())?.keyspace("users")?.put("ada", "1815")?;
    /// let store = syncline::Options::new().read_only().open(dir.path())?;
    /// let users = store.open_keyspace("users")?.expect("it was made before");
    /// assert_eq!(users.get("ada")?.as_deref(), Some(&b"1815"[..]));
    /// assert!(users.put("ada", "1852").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self.create = false;
        self
    }

    /// A callback for the progress of recovery. The thread that opens the store calls it now and then, and
    /// drops it once the store is open. A panic in it is logged, and recovery goes on.
    pub fn on_recovery(
        mut self,
        callback: impl Fn(RecoveryProgress) + Send + Sync + 'static,
    ) -> Self {
        self.on_recovery = Some(Arc::new(callback));
        self
    }

    /// Starts no threads: flushes, checkpoints and eviction happen in the calls that need them, and
    /// [`CommitMode::Async`] commits become durable only then. The behaviour depends on the calls alone,
    /// as a simulation needs.
    pub fn without_threads(mut self) -> Self {
        self.background = false;
        self
    }

    /// The id of a newly created store, instead of a random one. For simulations.
    pub fn store_id(mut self, id: [u8; 16]) -> Self {
        self.store_id = Some(id);
        self
    }

    /// # Errors
    /// [`Error::InvalidOption`].
    pub(crate) fn validate(&self) -> Result<()> {
        let invalid =
            |option, reason: &str| Err(Error::InvalidOption { option, reason: reason.to_owned() });
        if self.cache_bytes < 1 << 20 {
            return invalid("cache_bytes", "at least 1 MiB");
        }
        if self.cache_bytes / u64::from(self.page_bytes.max(1)) > 1 << 31 {
            return invalid("cache_bytes", "at most 2^31 pages");
        }
        if ![4096, 8192, 16384, 32768].contains(&self.page_bytes) {
            return invalid("page_bytes", "4096, 8192, 16384 or 32768");
        }
        let is_segment = (64 << 10..=2 << 30).contains(&self.segment_bytes);
        if !is_segment || !self.segment_bytes.is_multiple_of(4096) {
            return invalid(
                "segment_bytes",
                "a multiple of 4096, at least 64 KiB and at most 2 GiB",
            );
        }
        if self.max_unsynced_bytes < 4096 {
            return invalid("max_unsynced_bytes", "at least 4096");
        }
        if self.checkpoint_log_bytes < 4096 {
            return invalid("checkpoint_log_bytes", "at least 4096");
        }
        if self.max_value_bytes > 1 << 30 {
            return invalid("max_value_bytes", "at most 1 GiB");
        }
        Ok(())
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("cache_bytes", &self.cache_bytes)
            .field("page_bytes", &self.page_bytes)
            .field("segment_bytes", &self.segment_bytes)
            .field("flush_interval", &self.flush_interval)
            .field("max_unsynced_bytes", &self.max_unsynced_bytes)
            .field("commit_mode", &self.commit_mode)
            .field("checkpoint_log_bytes", &self.checkpoint_log_bytes)
            .field("checkpoint_interval", &self.checkpoint_interval)
            .field("max_value_bytes", &self.max_value_bytes)
            .field("create", &self.create)
            .field("read_only", &self.read_only)
            .field("background", &self.background)
            .finish_non_exhaustive()
    }
}
