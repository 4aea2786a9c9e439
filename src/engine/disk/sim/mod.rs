//! A simulated disk that can crash.
//!
//! ```text
//!             SimDisk  one lock
//!                |
//!     State -----+----- Faults        failures to come
//!       |        `----- trace         hash of the operations so far
//!     Names             directory: seen, durable, the changes between
//!     Inode             file: seen, durable, dirty sectors with all their versions
//!       Pages           bytes: sparse, shared between copies
//!
//!     crash(Keep) ----- Chooser ----> a fresh State with the survivors
//! ```
//!
//! It keeps the promises of POSIX and takes every liberty that POSIX leaves:
//!
//! - **Kill of the process** ([`Keep::Everything`]): every write and every store into a mapping
//!   is still seen, durable or not. A crash may come between any two operations, before any page
//!   of a long write, and before any sector of a store into a mapping.
//! - **Power loss**: any subset of the unsynced changes survives, in any order across files.
//!   The unit is a sector of 512 bytes, never torn. It may show any version that it has had since
//!   it was last synced. `Mapping::sync` covers whole pages of 4 KiB, as real ones do.
//!   Lengths, creations, renames and removals survive independently of the bytes, until the file
//!   (for its length) or the directory (for names) is synced. For each name a later change
//!   survives only with the earlier ones; a rename is one change to two names. Syncing a file
//!   does not make its name durable. Space that was added but not synced shows zeros or stale
//!   bytes: noise, or those of a removed file.
//! - **Failed flush**: the cache takes the covered sectors for clean although the device may not have
//!   them, until they are written again, even with the same bytes. The next flush succeeds and
//!   proves nothing. Sectors of a page that was never written durably stay in doubt even when they are
//!   written again, until they leave the cache ([`DiskFile::forget_cached`]): so does ext4 with space
//!   that was allocated and not yet written (seen with Linux 6.18). A length likewise stays in doubt
//!   until the file is made longer, or as far as bytes are written again. [`SimDisk::evict`] drops
//!   such sectors from the cache, so that reads see older bytes.
//! - **Full disk**: creating, allocating and growing fail beyond a capacity; allocated space stays.
//! - **Failing calls**: any kind of operation fails at its n-th time, once or from then on. A
//!   failed write may have written a part, any other failed call changes nothing.
//! - **Rot and misplacement**: any bit flipped, a file truncated, removed or replaced, the next
//!   write lost, misdirected or torn, an older one repeated.
//!
//! Left out: torn sectors (devices promise that much), reads that miss earlier writes, and loss of
//! synced bytes.
//!
//! Nothing depends on a clock, on the operating system's randomness or on addresses: the same
//! operations and the same seeds give the same disk and the same [`SimDisk::trace_hash`].

mod crash;
mod damage;
mod fault;
mod file;
mod inode;
mod names;
mod pages;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};

use self::file::SimFile;
use self::inode::Inode;
use self::names::FileId;
use self::state::State;
use super::{DirLock, Disk, DiskFile};
use crate::engine::base::error::{Error, Result};
use crate::engine::base::sync::{Mutex, MutexGuard};

pub use self::crash::{Choice, Keep};
pub use self::fault::{Fault, FaultError, Op, Persistence};

/// The id that traces operations on the directory itself.
const DIR: FileId = FileId(0);

/// A simulated directory. Clones are handles to the same one.
///
/// ```
/// use syncline::disk::{Disk, Keep, SimDisk};
///
/// let disk = SimDisk::new();
/// let file = disk.create("log", 4096)?;
/// file.sync()?;
/// disk.sync_dir()?;
///
/// file.write_at(0, b"durable")?;
/// file.sync()?;
/// file.write_at(512, b"perhaps")?;
///
/// // The second write is one unsynced sector: a power loss keeps it or not.
/// assert_eq!(disk.dirty(), 1);
/// let kept = disk.fork(Keep::Mask(vec![true])).read_file("log");
/// assert_eq!(&kept[512..519], b"perhaps");
///
/// let disk = disk.crash(Keep::Nothing);
/// let left = disk.read_file("log");
/// assert_eq!((&left[..7], &left[512..519]), (&b"durable"[..], &[0; 7][..]));
/// assert!(file.sync().is_err(), "files of a crashed disk are dead");
/// # Ok::<(), syncline::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct SimDisk {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Called with no lock held.
    watcher: OnceLock<Watcher>,
}

/// A callback before each operation.
type Watcher = Box<dyn Fn(&SimDisk, &Call<'_>) + Send + Sync>;

/// An operation that is about to happen, or a part of one before which a crash can come.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The kind of operation.
    pub op: Op,
    /// How messages name the file, or the directory.
    pub path: &'a str,
    /// The part: 0 for the call itself, then the later pages or sectors of a write.
    pub part: usize,
}

impl SimDisk {
    /// An empty directory on a device without limit.
    pub fn new() -> SimDisk {
        SimDisk::default()
    }

    // --- crashing ---

    /// Crashes: returns the surviving disk, unlocked and without faults. Every handle, file and
    /// mapping of this one fails from now on.
    pub fn crash(&self, keep: Keep) -> SimDisk {
        let mut state = self.state();
        state.gone = true;
        SimDisk::with(state.survivor(&keep))
    }

    /// The disk that would survive a crash now, while this one goes on. With [`Keep::Everything`] a full
    /// copy.
    pub fn fork(&self, keep: Keep) -> SimDisk {
        SimDisk::with(self.state().survivor(&keep))
    }

    /// Lets `operations` more counted operations happen and freezes the disk before the next
    /// one: from then on everything fails, and stores into mappings are ignored. Then
    /// [`SimDisk::crash`] returns the surviving disk.
    pub fn crash_after(&self, operations: u64) {
        self.state().countdown = Some(operations);
    }

    /// Whether the disk has crashed or is frozen.
    pub fn is_gone(&self) -> bool {
        self.state().gone
    }

    /// The number of [`SimDisk::choices`].
    pub fn dirty(&self) -> usize {
        self.state().dirty()
    }

    /// The choices that a power loss would make now, in the order of a [`Keep::Mask`].
    pub fn choices(&self) -> Vec<Choice> {
        self.state().choices()
    }

    // --- observing ---

    /// Calls `watcher` before each operation from now on, and before each part of one where a crash can
    /// come. No lock of the disk is held: the watcher may look at the disk, arm a fault, or use the
    /// store, as other threads do while this one waits for the device. The disk that survives a crash is
    /// not watched.
    ///
    /// # Panics
    /// If the disk is being watched already.
    pub fn watch(&self, watcher: impl Fn(&SimDisk, &Call<'_>) + Send + Sync + 'static) {
        let is_first = self.shared.watcher.set(Box::new(watcher)).is_ok();
        assert!(is_first, "a disk has one watcher");
    }

    /// How many operations have been counted: those before which a crash makes a difference
    /// ([`Op::is_counted`]). A write counts once per page of 4 KiB, a store into a mapping once per
    /// sector.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// A hash over all operations so far, in order and with their bytes, also before the last crash.
    pub fn trace_hash(&self) -> u64 {
        self.state().trace
    }

    /// Records from now on which pages of 4 KiB are read.
    pub fn note_reads(&self) {
        self.state().reads = Some(BTreeSet::new());
    }

    /// Whether a page of a file has been read since [`SimDisk::note_reads`]. The file has the name `name`
    /// on `origin`, of which this disk is a fork.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn has_read(&self, origin: &SimDisk, name: &str, page: u64) -> bool {
        let id = origin.state().lookup(name).unwrap_or_else(|_| panic!("no file {name}"));
        self.state().reads.as_ref().is_some_and(|reads| reads.contains(&(id, page)))
    }

    /// Sets the seed of [`Disk::random`]. After the same operations two copies of a disk draw the same
    /// bytes, unless their seeds differ.
    pub fn set_seed(&self, seed: u64) {
        self.state().seed = seed;
    }

    /// How many bytes the files occupy.
    pub fn used_bytes(&self) -> u64 {
        self.state().used_bytes()
    }

    // --- failing ---

    /// Lets an operation fail.
    pub fn fail(&self, fault: Fault) {
        let Fault { op, after, error, persistence } = fault;
        self.state().faults.arm(&[op], after, error, persistence);
    }

    /// Lets `after` more flushes succeed, of files and of mappings alike, and the next one fail.
    pub fn fail_sync(&self, after: u64) {
        let ops = [Op::Sync, Op::MapSync];
        self.state().faults.arm(&ops, after, FaultError::Io, Persistence::Once);
    }

    /// Drops the clean pages from the cache. Sectors that a failed flush covered then read as the device
    /// has them; nothing else changes.
    pub fn evict(&self) {
        self.state().evict();
    }

    /// Removes every fault that is still to come.
    pub fn clear_faults(&self) {
        self.state().faults = fault::Faults::default();
    }

    /// How many faults have happened since they were last cleared.
    pub fn faults_happened(&self) -> u64 {
        self.state().faults.happened
    }

    /// Limits the bytes that all files may occupy, or lifts the limit. Existing files stay.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    // --- for the rest of the simulator ---

    fn with(state: State) -> SimDisk {
        SimDisk { shared: Arc::new(Shared { state: Mutex::new(state), ..Shared::default() }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock()
    }

    /// The state, for an operation, after a call of the watcher.
    fn enter(&self, op: Op, path: &str, part: usize) -> MutexGuard<'_, State> {
        if let Some(watcher) = self.shared.watcher.get() {
            watcher(self, &Call { op, path, part });
        }
        self.state()
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("SimDisk")
            .field("files", &state.names.list())
            .field("operations", &state.operations)
            .field("gone", &state.gone)
            .finish_non_exhaustive()
    }
}

impl Disk for SimDisk {
    fn lock(&self) -> Result<Box<dyn DirLock>> {
        let mut state = self.enter(Op::Lock, &self.path(""), 0);
        state
            .step(Op::Lock, DIR, 0, &[])
            .map_err(|error| Error::io("lock", &self.path(""), 0, error))?;
        if std::mem::replace(&mut state.locked, true) {
            return Err(Error::Locked { directory: self.path("") });
        }
        Ok(Box::new(SimLock { disk: self.clone() }))
    }

    fn list(&self) -> Result<Vec<String>> {
        let mut state = self.enter(Op::List, &self.path(""), 0);
        state
            .step(Op::List, DIR, 0, &[])
            .map_err(|error| Error::io("list", &self.path(""), 0, error))?;
        Ok(state.names.list())
    }

    fn create(&self, name: &str, bytes: u64) -> Result<Arc<dyn DiskFile>> {
        let failed = |error| Error::io("create", &self.path(name), bytes, error);
        let mut state = self.enter(Op::Create, &self.path(name), 0);
        state.step(Op::Create, DIR, bytes, name.as_bytes()).map_err(failed)?;
        if state.lookup(name).is_ok() {
            return Err(failed(io::ErrorKind::AlreadyExists.into()));
        }
        let id = state.add(Inode::default());
        if let Err(error) = state.grow(id, bytes) {
            state.collect();
            return Err(failed(error));
        }
        state.names.create(name, id);
        Ok(Arc::new(SimFile::open(self, &mut state, id, self.path(name))))
    }

    fn open(&self, name: &str) -> Result<Arc<dyn DiskFile>> {
        let failed = |error| Error::io("open", &self.path(name), 0, error);
        let mut state = self.enter(Op::Open, &self.path(name), 0);
        state.step(Op::Open, DIR, 0, name.as_bytes()).map_err(failed)?;
        let id = state.lookup(name).map_err(failed)?;
        Ok(Arc::new(SimFile::open(self, &mut state, id, self.path(name))))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let failed = |error| Error::io(format!("rename to {to}"), &self.path(from), 0, error);
        let mut state = self.enter(Op::Rename, &self.path(from), 0);
        let names = format!("{from}/{to}");
        state.step(Op::Rename, DIR, 0, names.as_bytes()).map_err(failed)?;
        let id = state.lookup(from).map_err(failed)?;
        state.names.rename(from, to, id);
        state.collect();
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<()> {
        let failed = |error| Error::io("remove", &self.path(name), 0, error);
        let mut state = self.enter(Op::Remove, &self.path(name), 0);
        state.step(Op::Remove, DIR, 0, name.as_bytes()).map_err(failed)?;
        state.lookup(name).map_err(failed)?;
        state.names.remove(name);
        state.collect();
        Ok(())
    }

    fn sync_dir(&self) -> Result<()> {
        let failed = |error| Error::io("sync the directory", &self.path(""), 0, error);
        let mut state = self.enter(Op::SyncDir, &self.path(""), 0);
        match state.begin(Op::SyncDir, DIR, 0, &[]).map_err(failed)? {
            Ok(()) => state.names.sync(),
            Err(error) => {
                state.names.fail_sync();
                return Err(failed(error));
            }
        }
        state.collect();
        Ok(())
    }

    fn random(&self, bytes: &mut [u8]) -> Result<()> {
        let mut state = self.state();
        for chunk in bytes.chunks_mut(8) {
            let word = state.draw().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(())
    }

    fn path(&self, name: &str) -> String {
        if name.is_empty() { "sim:".to_owned() } else { format!("sim:/{name}") }
    }
}

/// Holds the lock of a simulated directory.
#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
}

impl DirLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.state().locked = false;
    }
}
