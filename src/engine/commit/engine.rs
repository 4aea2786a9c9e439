//! The engine: everything that one open store has, and the locks that guard it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, MutexGuard};

use super::background::Background;
use super::combine::CommitQueue;
use super::group::Trees;
use super::keyspaces::{KeyspaceNames, KeyspaceState};
use super::ops::Payload;
use super::watermarks::Watermarks;
use crate::engine::base::durations::DurationCounter;
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::{Life, Lsn, StoreId, Watermark};
use crate::engine::base::process::Process;
use crate::engine::cache::{Cache, Writer};
use crate::engine::commit::checkpoint::CheckpointStats;
use crate::engine::disk::{DirLock, Disk};
use crate::engine::log::{Appender, Log, LogThreads};
use crate::engine::options::{CommitMode, Options, RecoveryCallback};
use crate::engine::space::Space;

/// An open store.
pub(crate) struct Engine {
    // Constant after construction.
    pub(super) disk: Arc<dyn Disk>,
    pub(super) options: Options,
    pub(super) space: Arc<Space>,
    pub(super) cache: Cache,
    /// `None` once the store is closed.
    pub(super) lock: Mutex<Option<Locks>>,

    /// The log. Set by the first write.
    pub(super) live: OnceLock<LiveLog>,
    /// The catalog's index of keyspaces by name.
    names: KeyspaceNames,
    /// The commit lock: its holder may append and apply.
    pub(super) commit: Mutex<CommitState>,
    /// The number of keyspaces, readable without the commit lock.
    pub(super) keyspaces: Arc<AtomicU64>,
    /// Commits that wait for the commit lock.
    pub(super) queue: CommitQueue,
    /// Pages up to here are in the data file.
    pub(super) checkpointed: Watermark,
    /// Held by the one checkpoint that runs.
    pub(super) checkpointing: Mutex<crate::engine::commit::checkpoint::CheckpointState>,
    /// What the last checkpoint did. Held for a moment.
    pub(super) last_checkpoint: Mutex<Option<CheckpointStats>>,
    pub(super) counts: CommitCounts,
    pub(super) background: Background,
    pub(super) closed: AtomicBool,
    /// The store takes no commit and writes nothing. Set once recovery has ended.
    pub(super) is_read_only: bool,
    /// The result of closing. Locked while one thread closes the store; others wait for its result.
    pub(super) outcome: Mutex<Option<Result<()>>>,
    /// The process that opened the store.
    pub(super) process: Process,
}

/// The locks that keep other processes out. They are released in this order: the next holder of the
/// directory's lock finds the data file free.
#[derive(Debug)]
pub(crate) struct Locks {
    #[expect(dead_code, reason = "held")]
    pub(crate) data: Box<dyn DirLock>,
    #[expect(dead_code, reason = "held")]
    pub(crate) directory: Box<dyn DirLock>,
}

/// The log of this life, and its threads.
#[derive(Debug)]
pub(crate) struct LiveLog {
    pub(super) log: Arc<Log>,
    pub(super) threads: Mutex<Option<LogThreads>>,
}

/// What the commit lock guards.
#[derive(Debug)]
pub(crate) struct CommitState {
    pub(crate) writer: Writer,
    pub(crate) trees: Trees,
    /// Set by the first write.
    pub(crate) appender: Option<Appender>,
    /// The store is being closed, and refuses commits.
    pub(crate) sealed: bool,
}

/// Counters of commits, beside those of each layer. Changed under the commit lock, read without it.
#[derive(Debug, Default)]
pub(crate) struct CommitCounts {
    pub(crate) sync_commits: AtomicU64,
    pub(crate) async_commits: AtomicU64,
    /// Asynchronous commits that a server's client waits for. Changed without the lock.
    pub(crate) awaited: AtomicU64,
    pub(crate) operations: AtomicU64,
    pub(crate) user_bytes: AtomicU64,
    /// How long writers waited for space or a checkpoint. Changed without the lock.
    pub(crate) stalls: DurationCounter,
    /// Changed without the lock.
    pub(crate) checkpoints: AtomicU64,
    /// Changed without the lock.
    pub(crate) checkpoint_durations: DurationCounter,
}

impl CommitCounts {
    /// Counts a commit. The caller has the commit lock.
    pub(crate) fn add(&self, payload: &Payload) {
        // One thread at a time adds: no atomic read-modify-write is needed.
        let add = |count: &AtomicU64, more: u64| {
            count.store(count.load(Ordering::Relaxed) + more, Ordering::Relaxed);
        };
        match payload.mode {
            CommitMode::Sync => add(&self.sync_commits, 1),
            CommitMode::Async => add(&self.async_commits, 1),
        }
        add(&self.operations, payload.operations as u64);
        add(&self.user_bytes, payload.user_bytes);
    }
}

impl Engine {
    /// An engine over the pages in `space`, at its last checkpoint.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        lock: Locks,
        options: Options,
        space: Arc<Space>,
        cache: Cache,
        trees: Trees,
    ) -> Self {
        let checkpoint = space.superblock().head.checkpoint;
        let keyspaces = trees.catalog.count();
        Engine {
            disk,
            options,
            space,
            cache,
            lock: Mutex::new(Some(lock)),
            live: OnceLock::new(),
            names: trees.catalog.names(),
            commit: Mutex::new(CommitState {
                writer: Writer::new(checkpoint),
                trees,
                appender: None,
                sealed: false,
            }),
            queue: CommitQueue::default(),
            checkpointed: Watermark::new(checkpoint),
            checkpointing: Mutex::default(),
            last_checkpoint: Mutex::default(),
            counts: CommitCounts::default(),
            keyspaces,
            background: Background::default(),
            closed: AtomicBool::new(false),
            is_read_only: false,
            outcome: Mutex::default(),
            process: Process::current(),
        }
    }

    pub(crate) fn store_id(&self) -> StoreId {
        self.space.store_id()
    }

    /// The present life, or the last one if nothing has been written since the store was opened.
    pub(crate) fn life(&self) -> Life {
        self.live.get().map_or_else(|| self.space.superblock().life(), |live| live.log.life())
    }

    /// Fails once the store is closed, and in a process that did not open it (FORK-1).
    pub(crate) fn check_open(&self) -> Result<()> {
        self.process.check()?;
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        Ok(())
    }

    /// As [`Engine::check_open`]; also fails if the store is read-only.
    pub(crate) fn check_writable(&self) -> Result<()> {
        self.check_open()?;
        match self.is_read_only {
            true => Err(Error::opened_read_only(self.disk.path(""))),
            false => Ok(()),
        }
    }

    /// The log; `None` before the first write of this life.
    #[inline]
    pub(crate) fn log(&self) -> Option<&Arc<Log>> {
        self.live.get().map(|live| &live.log)
    }

    /// Ends the threads of the log.
    pub(crate) fn end_log_threads(&self) {
        if let Some(live) = self.live.get() {
            *live.threads.lock() = None;
        }
    }

    /// The error that poisoned the log, if one did.
    pub(crate) fn poisoned(&self) -> Option<Error> {
        self.log().and_then(|log| log.poisoned())
    }

    /// The sync line.
    pub(crate) fn durable(&self) -> Lsn {
        self.log().map_or_else(|| self.checkpointed.load(), |log| log.durable())
    }

    /// All watermarks, read in an order that keeps LSN-1 and LSN-2 true among them.
    pub(crate) fn watermarks(&self) -> Watermarks {
        let checkpoint = self.checkpointed.load();
        let visible = self.cache.visible();
        let (durable, appended) = match self.log() {
            Some(log) => {
                let durable = log.durable();
                (durable, log.appended())
            }
            None => (checkpoint, checkpoint),
        };
        let incarnation = self.life().incarnation;
        Watermarks { incarnation, appended, visible, durable, checkpoint }
    }

    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn space(&self) -> &Space {
        &self.space
    }

    #[inline]
    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    pub(crate) fn counts(&self) -> &CommitCounts {
        &self.counts
    }

    pub(crate) fn background(&self) -> &Background {
        &self.background
    }

    /// Takes the commit lock: the holder may append and apply.
    pub(crate) fn lock_commits(&self) -> MutexGuard<'_, CommitState> {
        self.commit.lock()
    }

    /// As [`Engine::lock_commits`], if nobody holds the lock.
    #[cfg(feature = "cli")]
    pub(crate) fn try_lock_commits(&self) -> Option<MutexGuard<'_, CommitState>> {
        self.commit.try_lock()
    }

    /// How many keyspaces there are. Waits for no commit.
    pub(crate) fn keyspace_count(&self) -> u64 {
        self.keyspaces.load(Ordering::Relaxed)
    }

    /// Whether the calling process opened the store (FORK-1).
    pub(crate) fn is_in_its_process(&self) -> bool {
        self.process.is_here()
    }

    /// Ends recovery: from now on the store is served, and takes commits unless it is read-only.
    /// Returns the progress callback, which is not called again.
    pub(crate) fn finish_recovery(&mut self) -> Option<RecoveryCallback> {
        self.cache.open();
        self.disk.keep_lock();
        self.is_read_only = self.options.read_only;
        self.options.on_recovery.take()
    }

    /// The keyspace of this name. Waits for no commit.
    pub(crate) fn keyspace(&self, name: &str) -> Option<Arc<KeyspaceState>> {
        let found = self.names.read().get(name).cloned();
        found.filter(|keyspace| self.is_visible(keyspace))
    }

    /// The names of all keyspaces, sorted. Waits for no commit.
    pub(crate) fn keyspaces(&self) -> Vec<String> {
        let names = self.names.read();
        let visible = names.values().filter(|keyspace| self.is_visible(keyspace));
        visible.map(|keyspace| keyspace.name.clone()).collect()
    }

    /// Whether the commit that created the keyspace is visible. Before that its tree cannot be read.
    fn is_visible(&self, keyspace: &KeyspaceState) -> bool {
        keyspace.was_made_by(self.cache.visible())
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("disk", &self.disk).finish_non_exhaustive()
    }
}
