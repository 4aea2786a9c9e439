//! Back-pressure: each commit is slowed a little as dirty pages or the log near their limits, so that
//! none is stopped for long.

use std::time::Duration;

use super::engine::{Engine, LiveLog};
#[cfg(feature = "server")]
use super::{KeyspaceId, Op, Payload};
use crate::engine::base::error::Result;
use crate::engine::base::lsn::Lsn;
use crate::engine::base::sync::Stopwatch;
#[cfg(feature = "server")]
use crate::engine::options::CommitMode;

/// The percentage of dirty pages in the cache above which commits slow down.
const DIRTY_SLOW: u64 = 75;
/// The log may grow to this many times `checkpoint_log_bytes` before commits slow down.
const LOG_SLOW: u64 = 2;
/// The log may grow to this many times `checkpoint_log_bytes` before commits wait for a checkpoint.
const LOG_STOP: u64 = 4;
/// The longest delay of one commit.
const LONGEST: Duration = Duration::from_millis(2);

impl Engine {
    /// Delays the caller if dirty pages or the log near their limits. No lock is held.
    pub(super) fn throttle(&self, live: &LiveLog) -> Result<()> {
        if self.cache.is_short_of_frames() {
            self.background.wake_cleaner();
        }
        let log = self.log_since_checkpoint(live.log.appended());
        let limit = self.options.checkpoint_log_bytes;
        let slow = LOG_SLOW.saturating_mul(limit);
        if log <= slow && !self.cache.is_short_of_frames() {
            return Ok(());
        }
        if !self.options.background {
            return if log > slow { self.stalled(|| self.checkpoint()).map(drop) } else { Ok(()) };
        }
        if log > LOG_STOP.saturating_mul(limit) {
            // If checkpoints fail, the commit fails with their error.
            return self.stalled(|| self.checkpoint()).map(drop);
        }
        let percent = self.slowness(log);
        if percent > 0 {
            self.stalled(|| std::thread::sleep(LONGEST * percent / 100));
        }
        Ok(())
    }

    /// Does `wait`, and counts its duration as a stall.
    pub(super) fn stalled<T>(&self, wait: impl FnOnce() -> T) -> T {
        let begun = Stopwatch::start();
        let done = wait();
        self.counts.stalls.add(begun.elapsed());
        done
    }

    /// Whether a commit would be slowed down now.
    #[cfg(feature = "server")]
    pub(super) fn is_throttled(&self, live: &LiveLog) -> bool {
        let log = self.log_since_checkpoint(live.log.appended());
        let is_short = self.cache.is_short_of_frames();
        if is_short {
            self.background.wake_cleaner();
        }
        (is_short || log > LOG_SLOW.saturating_mul(self.options.checkpoint_log_bytes))
            && self.slowness(log) > 0
    }

    /// Does the steps before the append of a commit with values of these lengths: it waits and fails as
    /// the commit would. The space that it provides stays for the next commit.
    ///
    /// # Errors
    /// As [`Engine::commit`].
    #[cfg(feature = "server")]
    pub(crate) fn try_room_for_write(&self, values: impl Iterator<Item = usize>) -> Result<()> {
        self.check_open()?;
        let live = self.live()?;
        live.log.poisoned().map_or(Ok(()), Err)?;
        self.throttle(live)?;
        let (mut payload, mut value) = (Payload::default(), Vec::new());
        for bytes in values {
            value.resize(bytes, 0);
            payload.push(Op::Put { keyspace: KeyspaceId(0), key: b"", value: &value });
        }
        self.estimate_needs(&mut payload);
        let _prepared = self.prepare_values(live, &mut payload)?;
        payload.seal(CommitMode::Async);
        self.reserve_needs(live, &payload)
    }

    fn slowness(&self, log: u64) -> u32 {
        slowness(log, self.options.checkpoint_log_bytes, self.cache.dirty_percent())
    }

    /// Wakes the checkpointer if the log has grown enough, and the watchers of the watermarks.
    pub(super) fn after_commit(&self, live: &LiveLog, lsn: Lsn) -> Result<()> {
        if self.log_since_checkpoint(lsn) >= self.options.checkpoint_log_bytes {
            if self.options.background {
                self.background.wake_checkpointer();
            } else if live.log.poisoned().is_none() {
                self.merge_all_sparse();
                // A failed checkpoint fails no commit: the next commit tries again.
                if let Err(error) = self.checkpoint() {
                    crate::engine::base::foreign::warning!(
                        "{}: checkpoint: {error}",
                        self.disk.path("")
                    );
                }
            }
        }
        self.background.moved();
        Ok(())
    }

    /// Whether the log has grown so much that a checkpoint should run.
    pub(super) fn is_checkpoint_due(&self) -> bool {
        let appended = self.live.get().map_or(Lsn::ZERO, |live| live.log.appended());
        self.log_since_checkpoint(appended) >= self.options.checkpoint_log_bytes
    }

    fn log_since_checkpoint(&self, lsn: Lsn) -> u64 {
        let log_start = self.live.get().map_or(0, |live| live.log.start().get());
        lsn.get().saturating_sub(self.checkpointed.load().get().max(log_start))
    }
}

/// The delay of a commit in percent of [`LONGEST`]: `log` is bytes since the last checkpoint, `limit` is
/// `checkpoint_log_bytes`, `dirty` is the percentage of dirty pages.
fn slowness(log: u64, limit: u64, dirty: u64) -> u32 {
    let beyond = log.saturating_sub(LOG_SLOW.saturating_mul(limit));
    let by_log = beyond.saturating_mul(100) / (LOG_STOP - LOG_SLOW).saturating_mul(limit);
    let by_dirty = dirty.saturating_sub(DIRTY_SLOW) * 100 / (100 - DIRTY_SLOW);
    by_log.max(by_dirty).min(100) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_commit_is_slowed_a_little_more_the_nearer_the_limits_are() {
        const LIMIT: u64 = 1000;
        assert_eq!((0..=2000).map(|log| slowness(log, LIMIT, 75)).max(), Some(0));
        for (log, dirty, percent) in [
            (2500, 0, 25),
            (3000, 0, 50),
            (4000, 0, 100),
            (u64::MAX, 0, 100),
            (0, 80, 20),
            (0, 90, 60),
            (0, 100, 100),
            (3000, 80, 50),
            (2100, 90, 60),
        ] {
            assert_eq!(slowness(log, LIMIT, dirty), percent, "{log} bytes, {dirty} percent");
        }
        let steps: Vec<u32> = (2000..4000).map(|log| slowness(log, LIMIT, 0)).collect();
        assert!(steps.windows(2).all(|pair| pair[1] == pair[0] || pair[1] == pair[0] + 1));
        assert_eq!(slowness(u64::MAX, u64::MAX / 2, 0), 0, "no limit");
        assert_eq!(LONGEST, Duration::from_millis(2), "a little");
    }
}
