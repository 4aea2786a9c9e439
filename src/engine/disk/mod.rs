//! The disk: every byte that the store reads or writes passes through here.
//!
//! ```text
//!   log            space (data file)      recovery
//!    \                 |                    /
//!     `------------ Disk, DiskFile, Mapping
//!                  /                   \
//!          RealDisk: a directory     SimDisk: memory that can crash
//! ```
//!
//! A [`Disk`] is one flat directory that holds one store. It promises what POSIX promises, no more:
//!
//! - a write is in the operating system's cache when the call returns, and survives the process;
//! - it survives a power loss once `sync` of its file (or of its part of a mapping) has returned;
//!   until then each 512-byte sector may independently be old or new;
//! - a creation, rename or removal survives a power loss once [`Disk::sync_dir`] has returned;
//! - after a failed `sync` it is unknown what survives of the writes since the last good one, and a
//!   later successful `sync` proves nothing.
//!
//! Errors name the file and what was being done to it.

#[cfg(all(test, not(syncline_shuttle)))]
pub(crate) mod golden;
pub(crate) mod overlay;
mod real;
#[cfg(all(test, not(syncline_shuttle)))]
pub(crate) mod recorder;
pub(crate) mod sim;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod watched;

use std::fmt::Debug;
use std::sync::Arc;

use crate::engine::base::error::Result;

pub use real::RealDisk;
pub use sim::{Call, Choice, Fault, FaultError, Keep, Op, Persistence, SimDisk};

/// A directory that holds one store.
pub trait Disk: Debug + Send + Sync {
    /// Takes the exclusive lock on the directory, held until the returned value is dropped.
    ///
    /// # Errors
    /// [`Error::Locked`](crate::Error::Locked) if it is held.
    fn lock(&self) -> Result<Box<dyn DirLock>>;

    /// Says that a store is open here: a file that [`Disk::lock`] has made stays. Otherwise it is
    /// removed with the lock, so that a refused directory is left as it was. Does nothing by default.
    fn keep_lock(&self) {}

    /// The names of all files, sorted.
    fn list(&self) -> Result<Vec<String>>;

    /// The names of entries that no store puts into its directory, sorted: anything except plain files,
    /// such as directories and links, and a lock file that is not empty. None by default.
    fn strangers(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Notes durably that a store is being made here: after a crash the remaining files are known to be
    /// a store's, whatever the crash has made of their bytes. Does nothing by default.
    fn claim(&self) -> Result<()> {
        Ok(())
    }

    /// Takes back [`Disk::claim`]: no store is half made here.
    fn disclaim(&self) -> Result<()> {
        Ok(())
    }

    /// Whether a store was being made here when its process ended. True by default, for disks that hold
    /// no foreign files.
    fn is_claimed(&self) -> Result<bool> {
        Ok(true)
    }

    /// Creates a file of `bytes` bytes that read as zeros and whose blocks exist. Removes the file again
    /// if that fails.
    fn create(&self, name: &str, bytes: u64) -> Result<Arc<dyn DiskFile>>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) of kind `NotFound` if there is no such file,
    /// [`Error::ReadOnly`](crate::Error::ReadOnly) if it cannot be written.
    fn open(&self, name: &str) -> Result<Arc<dyn DiskFile>>;

    /// Renames a file, replacing a file named `to`.
    fn rename(&self, from: &str, to: &str) -> Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> Result<()>;

    /// Makes creations, renames and removals durable.
    fn sync_dir(&self) -> Result<()>;

    /// Fills `bytes` with unpredictable bytes. On a simulated disk they follow from the operations so
    /// far and from its seed.
    fn random(&self, bytes: &mut [u8]) -> Result<()>;

    /// How messages name the file `name`, or the directory itself if it is empty.
    fn path(&self, name: &str) -> String;
}

/// Holds the exclusive lock on a directory, or on a file, until dropped.
pub trait DirLock: Debug + Send + Sync {}

/// The lock on a file where only directories are locked.
#[derive(Debug)]
struct NoLock;

impl DirLock for NoLock {}

/// One file.
pub trait DiskFile: Debug + Send + Sync {
    /// How messages name the file.
    fn path(&self) -> &str;

    /// The length of the file in bytes.
    fn bytes(&self) -> Result<u64>;

    /// Grows the file to at least `bytes` bytes, with blocks that exist. Never shrinks it. The
    /// new bytes read as zeros and must not be written meanwhile. A failure may leave it partly grown.
    fn allocate(&self, bytes: u64) -> Result<()>;

    /// Punches a hole: frees the blocks of `offset..offset + len`, whole pages of 4096 bytes. Returns
    /// whether the disk can. The range reads as zeros; after a crash, as zeros or as before. It must not
    /// be written again. Does nothing by default.
    fn deallocate(&self, _offset: u64, _len: u64) -> Result<bool> {
        Ok(false)
    }

    /// Fills `buf` from `offset`. A file that ends before that is [`Error::Corrupt`](crate::Error::Corrupt).
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()>;

    /// Writes all of `bytes` at `offset`, into the operating system's cache.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()>;

    /// Makes everything written to this file so far durable, the length included.
    fn sync(&self) -> Result<()>;

    /// Gives up what the operating system's cache holds of the file and has not to write any more. A cache
    /// whose flush has failed may hold bytes that the device lacks, and some never write them, however
    /// often they are written again: afterwards reads tell what the device has, and writes reach it. Only
    /// advice: it changes nothing that is yet to be written. Does nothing by default.
    fn forget_cached(&self) {}

    /// Fails if the file has been removed or replaced since it was opened: flushed bytes are then lost
    /// with the last descriptor. Does nothing by default.
    ///
    /// # Errors
    /// [`Error::Missing`](crate::Error::Missing).
    fn check_named(&self) -> Result<()> {
        Ok(())
    }

    /// Takes the exclusive lock on the file, held until the returned value is dropped. The caller has
    /// the directory's lock already; this one also keeps out a process that finds the lock file removed
    /// and makes a new one. Does nothing by default.
    ///
    /// # Errors
    /// [`Error::Locked`](crate::Error::Locked) if it is held.
    fn lock(&self) -> Result<Box<dyn DirLock>> {
        Ok(Box::new(NoLock))
    }

    /// Maps the first `bytes` bytes of the file, which may be shorter: the mapping beyond its end must
    /// not be used before [`Mapping::grown`]. The file must not become shorter afterwards.
    fn map(&self, bytes: u64) -> Result<Box<dyn Mapping>>;
}

/// A file mapped into memory, shared with the operating system's cache.
///
/// Callers must not write a byte from two threads at once, nor read it while it is written.
pub trait Mapping: Debug + Send + Sync {
    /// Says that the file has been allocated up to `bytes`.
    fn grown(&self, bytes: usize);

    /// Copies `bytes` to `offset`. Makes no system call. Panics outside the mapping, and beyond the
    /// end of the file.
    fn write(&self, offset: usize, bytes: &[u8]);

    /// Hints that `offset..offset + len` is written next, so that the processor can prefetch it. May lie
    /// outside the mapping.
    fn will_write(&self, _offset: usize, _len: usize) {}

    /// Makes `offset..offset + len` durable, and the file's length up to there.
    fn sync(&self, offset: usize, len: usize) -> Result<()>;

    /// Brings `offset..offset + len` into memory, ready to be written without a page fault.
    /// Leaves the bytes as they are. After an error the range must not be written.
    fn prefault(&self, offset: usize, len: usize) -> Result<()>;
}
