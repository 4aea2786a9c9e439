//! The store's interface for simulations and tests, which run it without threads and look inside.

#[cfg(feature = "cli")]
use std::sync::Arc;

use super::handle::Store;
#[cfg(feature = "cli")]
use super::{open_store::OpenStore, status::token_of};
use crate::engine::base::error::Result;
#[cfg(feature = "cli")]
use crate::engine::base::lsn::{Incarnation, Lsn};
#[cfg(feature = "cli")]
use crate::engine::{disk::Disk, options::Options};

impl Store {
    /// Opens a store with sizes below the limits of [`Options::open_on`], so that little data
    /// fills segments and caches.
    ///
    /// # Errors
    /// As [`Options::open`].
    #[cfg(feature = "cli")]
    pub(crate) fn open_on(disk: Arc<dyn Disk>, options: Options) -> Result<Store> {
        Ok(Store::new(OpenStore::open(disk, options)?))
    }

    /// Provides blocks and log space, so that many commits need not wait for them.
    #[cfg(all(test, feature = "server"))]
    pub(crate) fn provide(&self, blocks: u64, log_bytes: usize) -> Result<()> {
        let engine = self.engine();
        engine.cache().provide_blocks(blocks, crate::engine::space::Claim::More)?;
        engine.live()?;
        engine.log().expect("it has begun").reserve(log_bytes)
    }

    #[cfg(test)]
    pub(crate) fn cache(&self) -> &crate::engine::cache::Cache {
        self.engine().cache()
    }

    /// Whether no thread holds the commit lock. A simulation commits while the disk is in the middle
    /// of a call.
    #[cfg(feature = "cli")]
    pub(crate) fn is_free_to_commit(&self) -> bool {
        self.engine().try_lock_commits().is_some()
    }

    /// Whether a commit of `operations` operations needs frames that an eviction in progress is about
    /// to free. A simulation would wait for it in vain.
    #[cfg(feature = "cli")]
    pub(crate) fn waits_for_frames(&self, operations: usize) -> bool {
        let cache = self.engine().cache();
        cache.is_evicting() && !cache.has_room_for(operations)
    }

    /// Whether a segment is being created, which a commit may have to wait for.
    #[cfg(feature = "cli")]
    pub(crate) fn is_log_being_kept(&self) -> bool {
        self.engine().log().is_some_and(|log| log.is_preallocating())
    }

    /// Whether this life has begun its log. The first write begins it, and other writes wait for that.
    #[cfg(feature = "cli")]
    pub(crate) fn has_begun(&self) -> bool {
        self.engine().log().is_some()
    }

    /// One round of the thread that prepares the log.
    ///
    /// # Errors
    /// Any error of the round; the next round tries again.
    pub(crate) fn keep_log(&self) -> Result<()> {
        self.engine().log().map_or(Ok(()), |log| log.preallocate())
    }

    /// Notes the sync line in the superblock, as the log does after it was idle for a while.
    ///
    /// # Errors
    /// The superblock could not be written: the store is poisoned.
    #[cfg(feature = "cli")]
    pub(crate) fn note_sync_line(&self) -> Result<()> {
        self.engine().log().map_or(Ok(()), |log| log.note_sync_line())
    }

    /// The token of a commit, from its incarnation and LSN: the crash suite's witness keeps no marks.
    #[cfg(feature = "cli")]
    pub(crate) fn token_of(&self, incarnation: Incarnation, lsn: Lsn) -> Result<String> {
        token_of(self.engine(), incarnation, lsn)
    }
}
