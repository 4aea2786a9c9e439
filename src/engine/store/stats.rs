//! [`Stats`], the counters of a store.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::base::durations::Durations;
use crate::engine::commit::checkpoint::CheckpointStats;
use crate::engine::commit::{Engine, Watermarks};
use crate::engine::recovery::RecoverySummary;

/// Counters, durations and sizes of a store since it was opened, as of one call of
/// [`Store::stats`](crate::Store::stats).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// The watermarks.
    pub watermarks: Watermarks,
    /// Commits that waited for the device, including those that a server's client waited for.
    pub sync_commits: u64,
    /// Commits that did not wait for the device.
    pub async_commits: u64,
    /// Puts and deletes in all commits.
    pub operations: u64,
    /// Flushes of the log.
    pub flushes: u64,
    /// How long flushes took at the device.
    pub flush_durations: Durations,
    /// How long writers waited: for a flush because too much was unsynced, for space in the log, for a
    /// checkpoint, or for back-pressure.
    pub stalls: Durations,
    /// Commits per flush.
    pub commits_per_flush: f64,
    /// Page accesses that found the page in memory.
    pub cache_hits: u64,
    /// Pages that were read from the data file.
    pub cache_misses: u64,
    /// Pages that the cache holds.
    pub cache_frames: u64,
    /// Pages changed in memory and not yet written.
    pub dirty_pages: u64,
    /// Page versions kept for open snapshots.
    pub old_versions: u64,
    /// Pages evicted from memory.
    pub evictions: u64,
    /// Bytes appended to the log.
    pub log_bytes_written: u64,
    /// Bytes written to the data file.
    pub data_bytes_written: u64,
    /// The size of the data file, in bytes.
    pub data_file_bytes: u64,
    /// Bytes of the data file that are free for new pages; `None` before the first write.
    pub data_free_bytes: Option<u64>,
    /// Bytes of keys and values committed.
    pub user_bytes_written: u64,
    /// Checkpoints made.
    pub checkpoints: u64,
    /// How long checkpoints took.
    pub checkpoint_durations: Durations,
    /// The last checkpoint since the store was opened.
    pub last_checkpoint: Option<CheckpointStats>,
    /// What opening the store found and did.
    pub recovery: RecoverySummary,
    /// Number of keyspaces.
    pub keyspaces: u64,
}

/// Takes neither the commit lock nor the checkpoint's, only locks that are held for a moment. So
/// monitoring never waits for the work of the store.
pub(super) fn stats(engine: &Engine, recovery: &RecoverySummary) -> Stats {
    let (cache, counts) = (engine.cache().stats(), engine.counts());
    let log = engine.log().map(|log| log.stats()).unwrap_or_default();
    let space = engine.space().stats();
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let awaited = count(&counts.awaited);
    let sync_commits = count(&counts.sync_commits) + awaited;
    let async_commits = count(&counts.async_commits).saturating_sub(awaited);
    let commits = (sync_commits + async_commits) as f64;
    let page_bytes = engine.cache().page_bytes() as u64;
    Stats {
        watermarks: engine.watermarks(),
        sync_commits,
        async_commits,
        operations: count(&counts.operations),
        flushes: log.flushes,
        flush_durations: log.flush_durations,
        stalls: counts.stalls.read().and(&log.stalls),
        commits_per_flush: if log.flushes == 0 { 0.0 } else { commits / log.flushes as f64 },
        cache_hits: cache.hits,
        cache_misses: cache.misses,
        cache_frames: cache.frames,
        dirty_pages: cache.dirty_pages,
        old_versions: cache.old_versions,
        evictions: cache.evictions,
        log_bytes_written: log.bytes_appended,
        data_bytes_written: space.bytes_written,
        data_file_bytes: space.blocks * page_bytes,
        data_free_bytes: space.free.map(|blocks| blocks * page_bytes),
        user_bytes_written: count(&counts.user_bytes),
        checkpoints: count(&counts.checkpoints),
        checkpoint_durations: counts.checkpoint_durations.read(),
        last_checkpoint: engine.last_checkpoint(),
        recovery: recovery.clone(),
        keyspaces: engine.keyspace_count(),
    }
}
